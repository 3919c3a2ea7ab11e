/* A hart of a machine for gdb: CSRs (those that its model has) and the virtual register "priv". */
#include <string.h>

#include "debug/gdb_riscv.h"
#include "guest/riscv/riscv_system.h"

enum { N_CSRS = 4096, CSR_FCSR = 3 };

/* fflags, frm and fcsr are with the floating-point registers. */
static bool is_listed(unsigned csr)
{
    return csr > CSR_FCSR || csr == 0;
}

static char *target_xml(const struct vcpu *cpu)
{
    /* gdb's default, Linux, steps by breakpoints, which doesn't get across traps and wfi. */
    GString *xml = gdb_riscv_xml("none");

    g_string_append(xml, "<feature name=\"org.gnu.gdb.riscv.csr\">\n");
    for (unsigned csr = 0; csr < N_CSRS; csr++) {
        g_autofree char *name = is_listed(csr) ? riscv_csr_name(cpu, csr) : NULL;

        if (name) {
            g_string_append_printf(xml,
                                   "<reg name=\"%s\" bitsize=\"64\" type=\"int\" regnum=\"%u\"/>\n",
                                   name, GDB_RISCV_CSR0 + csr);
        }
    }
    g_string_append_printf(xml,
                           "</feature>\n"
                           "<feature name=\"org.gnu.gdb.riscv.virtual\">\n"
                           "<reg name=\"priv\" bitsize=\"64\" type=\"int\" regnum=\"%d\"/>\n"
                           "</feature>\n"
                           "</target>\n",
                           GDB_RISCV_PRIV);
    return g_string_free(xml, FALSE);
}

static size_t read_reg(struct vcpu *cpu, unsigned reg, uint8_t *buf)
{
    uint64_t value;

    if (reg <= GDB_RISCV_FCSR && reg != GDB_RISCV_CSR0) {
        return gdb_riscv_read(cpu, reg, buf);
    }
    if (reg == GDB_RISCV_PRIV) {
        value = riscv_get_privilege(cpu);
    } else if (reg > GDB_RISCV_PRIV || !riscv_csr_get(cpu, reg - GDB_RISCV_CSR0, &value)) {
        return 0;
    }
    value = GUINT64_TO_LE(value);
    memcpy(buf, &value, sizeof(value));
    return sizeof(value);
}

static bool write_reg(struct vcpu *cpu, unsigned reg, const uint8_t *buf)
{
    uint64_t value = 0;

    if (reg < GDB_RISCV_CSR0) {
        return gdb_riscv_write(cpu, reg, buf);
    }
    memcpy(&value, buf, reg >= GDB_RISCV_FFLAGS && reg <= GDB_RISCV_FCSR ? 4 : 8);
    value = GUINT64_FROM_LE(value);
    if (reg == GDB_RISCV_PRIV) {
        riscv_set_privilege(cpu, (unsigned)(value & 3));
        return riscv_get_privilege(cpu) == value;
    }
    return reg < GDB_RISCV_PRIV && riscv_csr_set(cpu, reg - GDB_RISCV_CSR0, value);
}

const struct gdb_arch gdb_arch_riscv64_system = {
    .name = "riscv64",
    .n_regs = GDB_RISCV_PRIV + 1,
    .n_general_regs = GDB_RISCV_PC + 1,
    .target_xml = target_xml,
    .read_reg = read_reg,
    .write_reg = write_reg,
};
