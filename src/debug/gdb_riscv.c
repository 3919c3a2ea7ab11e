/*
 * RISC-V for gdb (GDB manual, G.5.11 "RISC-V Features"). gdb's numbers: x0-x31 are 0-31, pc is 32,
 * f0-f31 are 33-64, CSR n is 65 + n.
 */
#include <glib.h>
#include <string.h>

#include "dbt/dbt.h"
#include "debug/gdb_riscv.h"
#include "guest/riscv/riscv.h"

enum {
    REG_PC = GDB_RISCV_PC,
    REG_F0 = GDB_RISCV_F0,
    REG_CSR0 = GDB_RISCV_CSR0,
    REG_FFLAGS = GDB_RISCV_FFLAGS,
    REG_FRM,
    REG_FCSR = GDB_RISCV_FCSR,
    N_GDB_REGS
};

static const char *const x_names[32] = {
    "zero", "ra", "sp", "gp", "tp",  "t0",  "t1", "t2", "fp", "s1", "a0",
    "a1",   "a2", "a3", "a4", "a5",  "a6",  "a7", "s2", "s3", "s4", "s5",
    "s6",   "s7", "s8", "s9", "s10", "s11", "t3", "t4", "t5", "t6",
};

static const char *const f_names[32] = {
    "ft0", "ft1", "ft2", "ft3", "ft4",  "ft5",  "ft6", "ft7", "fs0",  "fs1",  "fa0",
    "fa1", "fa2", "fa3", "fa4", "fa5",  "fa6",  "fa7", "fs2", "fs3",  "fs4",  "fs5",
    "fs6", "fs7", "fs8", "fs9", "fs10", "fs11", "ft8", "ft9", "ft10", "ft11",
};

static const char *x_type(unsigned reg)
{
    if (reg == 1)
        return "code_ptr";
    return reg >= 2 && reg <= 4 ? "data_ptr" : "int";
}

GString *gdb_riscv_xml(const char *osabi)
{
    GString *xml = g_string_new("<?xml version=\"1.0\"?>\n"
                                "<!DOCTYPE target SYSTEM \"gdb-target.dtd\">\n"
                                "<target>\n"
                                "<architecture>riscv:rv64</architecture>\n");

    g_string_append_printf(xml,
                           "<osabi>%s</osabi>\n"
                           "<feature name=\"org.gnu.gdb.riscv.cpu\">\n",
                           osabi);
    for (unsigned i = 0; i < 32; i++)
        g_string_append_printf(xml, "<reg name=\"%s\" bitsize=\"64\" type=\"%s\" regnum=\"%u\"/>\n",
                               x_names[i], x_type(i), i);
    g_string_append_printf(xml,
                           "<reg name=\"pc\" bitsize=\"64\" type=\"code_ptr\" regnum=\"%d\"/>\n"
                           "</feature>\n"
                           "<feature name=\"org.gnu.gdb.riscv.fpu\">\n"
                           "<union id=\"riscv_double\">\n"
                           "<field name=\"float\" type=\"ieee_single\"/>\n"
                           "<field name=\"double\" type=\"ieee_double\"/>\n"
                           "</union>\n",
                           REG_PC);
    for (unsigned i = 0; i < 32; i++)
        g_string_append_printf(
            xml, "<reg name=\"%s\" bitsize=\"64\" type=\"riscv_double\" regnum=\"%u\"/>\n",
            f_names[i], REG_F0 + i);
    g_string_append_printf(xml,
                           "<reg name=\"fflags\" bitsize=\"32\" type=\"int\" regnum=\"%d\"/>\n"
                           "<reg name=\"frm\" bitsize=\"32\" type=\"int\" regnum=\"%d\"/>\n"
                           "<reg name=\"fcsr\" bitsize=\"32\" type=\"int\" regnum=\"%d\"/>\n"
                           "</feature>\n",
                           REG_FFLAGS, REG_FRM, REG_FCSR);
    return xml;
}

static char *target_xml(const struct vcpu *cpu)
{
    GString *xml = gdb_riscv_xml("GNU/Linux");

    g_string_append(xml, "</target>\n");
    return g_string_free(xml, FALSE);
}

static uint32_t read_fcsr(const struct vcpu *cpu)
{
    return dbt_fp_flags_get(cpu) | (cpu->mode & 7) << 5;
}

static void write_fcsr(struct vcpu *cpu, uint32_t fcsr)
{
    dbt_fp_flags_set(cpu, fcsr & 31);
    cpu->mode = (cpu->mode & ~7u) | (fcsr >> 5 & 7);
}

size_t gdb_riscv_read(struct vcpu *cpu, unsigned reg, uint8_t *buf)
{
    const struct riscv_vcpu *rv = (const struct riscv_vcpu *)cpu;
    uint64_t value;

    if (reg >= N_GDB_REGS || reg == REG_CSR0)
        return 0;
    if (reg < REG_PC)
        value = reg ? cpu->r[reg] : 0;
    else if (reg == REG_PC)
        value = cpu->pc;
    else if (reg < REG_CSR0)
        value = rv->f[reg - REG_F0];
    else
        value = reg == REG_FFLAGS ? read_fcsr(cpu) & 31
                : reg == REG_FRM  ? read_fcsr(cpu) >> 5
                                  : read_fcsr(cpu);
    value = GUINT64_TO_LE(value);
    memcpy(buf, &value, sizeof(value));
    return reg < REG_CSR0 ? 8 : 4;
}

bool gdb_riscv_write(struct vcpu *cpu, unsigned reg, const uint8_t *buf)
{
    struct riscv_vcpu *rv = (struct riscv_vcpu *)cpu;
    uint64_t value = 0;

    if (reg >= N_GDB_REGS || reg == REG_CSR0)
        return false;
    memcpy(&value, buf, reg < REG_CSR0 ? 8 : 4);
    value = GUINT64_FROM_LE(value);
    if (reg == 0)
        return true; /* zero stays zero */
    if (reg < REG_PC)
        cpu->r[reg] = value;
    else if (reg == REG_PC)
        cpu->pc = value & ~1ull;
    else if (reg < REG_CSR0)
        rv->f[reg - REG_F0] = value;
    else if (reg == REG_FFLAGS)
        write_fcsr(cpu, (read_fcsr(cpu) & ~31u) | (value & 31));
    else if (reg == REG_FRM)
        write_fcsr(cpu, (read_fcsr(cpu) & 31) | (value & 7) << 5);
    else
        write_fcsr(cpu, (uint32_t)value);
    return true;
}

const struct gdb_arch gdb_arch_riscv64 = {
    .name = "riscv64",
    .n_regs = N_GDB_REGS,
    .n_general_regs = N_GDB_REGS,
    .target_xml = target_xml,
    .read_reg = gdb_riscv_read,
    .write_reg = gdb_riscv_write,
};
