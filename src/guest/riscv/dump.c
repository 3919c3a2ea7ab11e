/* A hart's registers, written out for people. */
#include <inttypes.h>

#include "dbt/dbt.h"
#include "guest/riscv/system_priv.h"

enum { PER_LINE = 4 };

static const char *const x_names[32] = {
    "zero", "ra", "sp", "gp", "tp",  "t0",  "t1", "t2", "s0", "s1", "a0",
    "a1",   "a2", "a3", "a4", "a5",  "a6",  "a7", "s2", "s3", "s4", "s5",
    "s6",   "s7", "s8", "s9", "s10", "s11", "t3", "t4", "t5", "t6",
};

static const char *const f_names[32] = {
    "ft0", "ft1", "ft2", "ft3", "ft4",  "ft5",  "ft6", "ft7", "fs0",  "fs1",  "fa0",
    "fa1", "fa2", "fa3", "fa4", "fa5",  "fa6",  "fa7", "fs2", "fs3",  "fs4",  "fs5",
    "fs6", "fs7", "fs8", "fs9", "fs10", "fs11", "ft8", "ft9", "ft10", "ft11",
};

/* In the order in which they are shown. */
static const uint16_t csrs[] = {
    0xf14, 0x300, 0x344, 0x304, 0x303, 0x302, /* mhartid mstatus mip mie mideleg medeleg */
    0x305, 0x105, 0x341, 0x141, 0x342, 0x142, /* mtvec stvec mepc sepc mcause scause */
    0x343, 0x143, 0x340, 0x140, 0x180,        /* mtval stval mscratch sscratch satp */
};

static void dump_file(GString *out, char letter, const char *const names[32],
                      const uint64_t values[32])
{
    for (unsigned i = 0; i < 32; i++) {
        g_autofree char *name = g_strdup_printf("%c%u/%s", letter, i, names[i]);

        g_string_append_printf(out, " %-8s %016" PRIx64 "%s", name, values[i],
                               i % PER_LINE == PER_LINE - 1 ? "\n" : "");
    }
}

void hart_dump(struct vcpu *cpu, bool fpu, GString *out)
{
    struct riscv_hart *h = riscv_hart(cpu);

    g_string_append_printf(out, " %-8s %016" PRIx64 "\n", "pc", cpu->pc);
    for (size_t i = 0; i < G_N_ELEMENTS(csrs); i++) {
        uint64_t value;

        if (riscv_csr_get(cpu, csrs[i], &value)) {
            g_autofree char *name = riscv_csr_name(cpu, csrs[i]);

            g_string_append_printf(out, " %-8s %016" PRIx64 "\n", name, value);
        }
    }
    dump_file(out, 'x', x_names, cpu->r);
    if (fpu && hart_has(h, RISCV_EXT_F)) {
        g_string_append_printf(out, " %-8s %016" PRIx64 "\n", "fcsr",
                               (uint64_t)(cpu->mode & MODE_FRM) << 5 | dbt_fp_flags_get(cpu));
        dump_file(out, 'f', f_names, h->rv.f);
    }
}
