/*
 * Programs in machine, supervisor and user mode, run by the interpreter and by translated code:
 * system instructions, what is illegal where, traps with their values, and that changes of the mode
 * hold from the next instruction on.
 */
#include "riscv_machine.h"

enum { HANDLER = RAM_BASE + 0x8000, DATA = RAM_BASE + 0x10000 };

static bool interpreter(const void *data)
{
    return GPOINTER_TO_INT(data);
}

/* All of memory for everybody, traps to HANDLER, which has an ebreak that never returns: run_to
 * stops there. */
static struct machine *start(const char *cpu, const void *data)
{
    struct machine *m = machine_new(cpu, interpreter(data));

    if (riscv_has(m->model, RISCV_EXT_PMP)) {
        set_csr(m, 0x3b0, UINT64_MAX);
        set_csr(m, 0x3a0, 0x1f);
    }
    set_csr(m, 0x305, HANDLER);
    return m;
}

static void at(struct machine *m, uint64_t code)
{
    m->code = code;
    m->cpu->pc = code;
}

/* One instruction in this privilege and mstatus; -1: executed, else mcause. Something harmless
 * follows. */
static int64_t try(struct machine *m, uint32_t insn, unsigned priv)
{
    at(m, RAM_BASE + 0x100);
    emit(m, insn);
    emit(m, EBREAK);
    dbt_invalidate_phys(m->dbt, RAM_BASE, 4096);
    at(m, RAM_BASE + 0xf8);
    emit(m, FENCE_I); /* in which the privilege doesn't matter */
    emit(m, NOP);
    riscv_set_privilege(m->cpu, priv);
    run_to(m, HANDLER);
    g_assert_cmphex(m->cpu->pc, ==, HANDLER);
    if (csr(m, 0x341) == RAM_BASE + 0x104) {
        g_assert_cmphex(csr(m, 0x342), ==, CAUSE_BREAKPOINT);
        g_assert_cmphex(csr(m, 0x343), ==, RAM_BASE + 0x104);
        return -1;
    }
    g_assert_cmphex(csr(m, 0x341), ==, RAM_BASE + 0x100);
    if (csr(m, 0x342) == CAUSE_ILLEGAL) {
        g_assert_cmphex(csr(m, 0x343), ==, insn);
    }
    return (int64_t)csr(m, 0x342);
}

static void test_csr_forms(const void *data)
{
    static const struct {
        uint32_t insn;
        uint64_t a0, result, csr; /* before it is 0xf0f0; a1 gets the old value */
    } forms[] = {
        {CSRRW(A1, 0x340, A0), 0x1234, 0xf0f0, 0x1234},
        {CSRRS(A1, 0x340, A0), 0x1234, 0xf0f0, 0xf2f4},
        {CSRRC(A1, 0x340, A0), 0x1234, 0xf0f0, 0xe0c0},
        {CSRRWI(A1, 0x340, 21), 0, 0xf0f0, 21},
        {CSRRSI(A1, 0x340, 21), 0, 0xf0f0, 0xf0f5},
        {CSRRCI(A1, 0x340, 16), 0, 0xf0f0, 0xf0e0},
        {CSRRS(A1, 0x340, ZERO), 9, 0xf0f0, 0xf0f0},
        {CSRRW(ZERO, 0x340, A0), 5, 1, 5},
        {CSRRW(A1, 0x341, A0), 0x1235, 0xf0f0, 0x1234},
        {CSRRSI(A1, 0x341, 3), 0, 0xf0f0, 0xf0f2},
        {CSRRW(A1, 0x306, A0), 0x11234, 0x70f0, 0x11234},
        {CSRRS(A1, 0x306, A0), 0x1234, 0x70f0, 0x72f4},
        {CSRRC(A1, 0x306, A0), 0x1234, 0x70f0, 0x60c0},
        {CSRRWI(A1, 0x306, 21), 0, 0x70f0, 21},
        {CSRRSI(A1, 0x306, 21), 0, 0x70f0, 0x70f5},
        {CSRRCI(A1, 0x306, 16), 0, 0x70f0, 0x70e0},
        {CSRRW(A0, 0x306, A0), 3, 1, 3},
    };

    for (size_t i = 0; i < G_N_ELEMENTS(forms); i++) {
        struct machine *m = start("rv64", data);
        unsigned number = forms[i].insn >> 20;

        set_csr(m, number, number == 0x306 ? 0x70f0 : 0xf0f0);
        emit(m, forms[i].insn);
        emit(m, CSRRS(A2, number, ZERO));
        emit(m, EBREAK);
        m->cpu->r[A0] = forms[i].a0;
        m->cpu->r[A1] = 1;
        run_to(m, HANDLER);
        g_assert_cmphex(csr(m, 0x342), ==, CAUSE_BREAKPOINT);
        g_assert_cmphex(m->cpu->r[A1], ==, forms[i].result);
        g_assert_cmphex(m->cpu->r[A0], ==, (forms[i].insn >> 7 & 31) == A0 ? 0x70f0 : forms[i].a0);
        if (number != 0x341) { /* the trap has changed mepc */
            g_assert_cmphex(csr(m, number), ==, forms[i].csr);
        }
        g_assert_cmphex(m->cpu->r[A2], ==, forms[i].csr);
        machine_free(m);
    }
}

static void test_legality(const void *data)
{
    enum { OK = -1, ILL = CAUSE_ILLEGAL };
    static const struct {
        uint32_t insn;
        uint64_t mstatus;
        int8_t u, s, m;
    } table[] = {
        {CSRRS(A0, 0x300, ZERO), 0, ILL, ILL, OK},
        {CSRRS(A0, 0x100, ZERO), 0, ILL, OK, OK},
        {CSRRS(A0, 0xf14, ZERO), 0, ILL, ILL, OK},
        {CSRRW(A0, 0xf14, ZERO), 0, ILL, ILL, ILL},
        {CSRRS(A0, 0x180, ZERO), MSTATUS_TVM, ILL, ILL, OK},
        {SFENCE_VMA(ZERO, ZERO), 0, ILL, OK, OK},
        {SFENCE_VMA(A0, ZERO), MSTATUS_TVM, ILL, ILL, OK},
        {SFENCE_VMA(A0, A1), 0, ILL, OK, OK},
        {MRET, 0, ILL, ILL, -2},
        {SRET, MSTATUS_TSR, ILL, ILL, -2},
        {0x16000073, 0, ILL, OK, OK},
        {0x18000073, 0, ILL, OK, OK},
        {0x18100073, 0, ILL, OK, OK},
        {WFI, MSTATUS_TW, ILL, ILL, -2},
        {WFI, 0, ILL, -2, -2},
        {FADD_D(0, 0, 0), 0, ILL, ILL, ILL},
        {FADD_D(0, 0, 0), 1 << 13, OK, OK, OK},
        {FLD(0, SP, 0), 0, ILL, ILL, ILL},
        {FSD(0, SP, 0), 0, ILL, ILL, ILL},
        {FRFLAGS(A0), 0, ILL, ILL, ILL},
        {FRFLAGS(A0), 1 << 13, OK, OK, OK},
        {ECALL, 0, CAUSE_ECALL_U, CAUSE_ECALL_S, CAUSE_ECALL_M},
        {CBO(0, SP), 0, ILL, ILL, OK},
        {CBO(1, SP), 0, ILL, ILL, OK},
        {CBO(2, SP), 0, ILL, ILL, OK},
        {CBO(4, SP), 0, ILL, ILL, OK},
        {CSRRS(A0, 0xc01, ZERO), 0, ILL, ILL, OK},
        {LD(A0, GP, 0), 0, CAUSE_LOAD_ACCESS, CAUSE_LOAD_ACCESS, CAUSE_LOAD_ACCESS},
        {SD(A0, GP, 0), 0, CAUSE_STORE_ACCESS, CAUSE_STORE_ACCESS, CAUSE_STORE_ACCESS},
        {AMOADD_W(A0, A0, GP), 0, CAUSE_STORE_ACCESS, CAUSE_STORE_ACCESS, CAUSE_STORE_ACCESS},
        {LR_W(A0, GP), 0, CAUSE_LOAD_ACCESS, CAUSE_LOAD_ACCESS, CAUSE_LOAD_ACCESS},
        {LR_W(A0, TP), 0, CAUSE_LOAD_MISALIGNED, CAUSE_LOAD_MISALIGNED, CAUSE_LOAD_MISALIGNED},
        {AMOADD_W(A0, A0, TP), 0, CAUSE_STORE_MISALIGNED, CAUSE_STORE_MISALIGNED,
         CAUSE_STORE_MISALIGNED},
    };
    static const uint8_t privs[] = {PRIV_U, PRIV_S, PRIV_M};

    for (size_t i = 0; i < G_N_ELEMENTS(table); i++) {
        struct machine *m = start("rv64,svinval=on", data);
        const int8_t expected[] = {table[i].u, table[i].s, table[i].m};

        for (int k = 0; k < 3; k++) {
            int64_t got;

            if (expected[k] == -2) { /* other tests */
                continue;
            }
            m->cpu->r[SP] = DATA;
            m->cpu->r[GP] = 0x40000000;
            m->cpu->r[TP] = DATA + 2;
            riscv_set_privilege(m->cpu, PRIV_M);
            set_csr(m, 0x300, table[i].mstatus);
            got = try(m, table[i].insn, privs[k]);
            if (got != expected[k]) {
                g_error("%08x in privilege %u: %d, expected %d", table[i].insn, privs[k], (int)got,
                        expected[k]);
            }
        }
        machine_free(m);
    }
}

/* menvcfg and senvcfg let them in one after the other. */
static void test_cache_blocks(const void *data)
{
    struct machine *m = start("rv64", data);

    m->cpu->r[SP] = DATA + 7;
    memset(machine_ram(m, DATA), 0xff, 128);
    set_csr(m, 0x30a, 0x80);
    g_assert_cmpint(try(m, CBO(4, SP), PRIV_U), ==, CAUSE_ILLEGAL);
    g_assert_cmphex(*machine_ram(m, DATA), ==, UINT64_MAX);
    g_assert_cmpint(try(m, CBO(4, SP), PRIV_S), ==, -1);
    for (unsigned i = 0; i < 16; i++) {
        g_assert_cmphex(*machine_ram(m, DATA + 8 * i), ==, i < 8 ? 0 : UINT64_MAX);
    }
    set_csr(m, 0x10a, 0x80);
    g_assert_cmpint(try(m, CBO(4, SP), PRIV_U), ==, -1);
    g_assert_cmpint(try(m, CBO(2, SP), PRIV_S), ==, CAUSE_ILLEGAL);
    set_csr(m, 0x30a, 0x40);
    g_assert_cmpint(try(m, CBO(2, SP), PRIV_S), ==, -1);
    g_assert_cmpint(try(m, CBO(0, SP), PRIV_S), ==, CAUSE_ILLEGAL);
    set_csr(m, 0x30a, 0x10);
    g_assert_cmpint(try(m, CBO(0, SP), PRIV_S), ==, -1);
    /* A block that may not be accessed: as a store. */
    set_csr(m, 0x180, UINT64_C(8) << 60);
    riscv_set_privilege(m->cpu, PRIV_M);
    set_csr(m, 0x300, MSTATUS_MPRV | (uint64_t)PRIV_S << 11);
    g_assert_cmpint(try(m, CBO(1, SP), PRIV_M), ==, CAUSE_STORE_ACCESS);
    machine_free(m);
}

/* FS becomes Dirty when something changes, and not before. */
static void test_fp_dirty(const void *data)
{
    struct machine *m = start("rv64", data);

    m->cpu->r[SP] = DATA;
    set_csr(m, 0x300, 1 << 13);
    g_assert_cmpint(try(m, FSD(0, SP, 0), PRIV_M), ==, -1);
    g_assert_cmphex(csr(m, 0x300) & (MSTATUS_FS | MSTATUS_SD), ==, 1 << 13);
    g_assert_cmpint(try(m, FADD_D(1, 2, 3), PRIV_M), ==, -1);
    g_assert_cmphex(csr(m, 0x300) & (MSTATUS_FS | MSTATUS_SD), ==, MSTATUS_FS | MSTATUS_SD);
    set_csr(m, 0x300, 2 << 13);
    m->cpu->r[A0] = 1;
    g_assert_cmpint(try(m, FSRM(A0), PRIV_M), ==, -1);
    g_assert_cmphex(csr(m, 0x300) & MSTATUS_FS, ==, MSTATUS_FS);
    g_assert_cmphex(csr(m, 0x002), ==, 1);
    /* The rounding mode is kept through traps and changes of privilege. */
    g_assert_cmpint(try(m, ECALL, PRIV_U), ==, CAUSE_ECALL_U);
    g_assert_cmphex(csr(m, 0x002), ==, 1);
    /* Switched off in the middle of a block: the next instruction notices. */
    set_csr(m, 0x300, MSTATUS_FS);
    riscv_set_privilege(m->cpu, PRIV_M);
    at(m, RAM_BASE + 0x2000);
    m->cpu->r[A0] = MSTATUS_FS;
    emit(m, FADD_D(1, 2, 3));
    emit(m, CSRRC(ZERO, 0x300, A0));
    emit(m, FADD_D(1, 2, 3));
    run_to(m, HANDLER);
    g_assert_cmphex(csr(m, 0x341), ==, RAM_BASE + 0x2008);
    g_assert_cmphex(csr(m, 0x342), ==, CAUSE_ILLEGAL);
    machine_free(m);
}

/* From machine mode down to user mode by mret and sret, and up again by ecalls, one delegated. */
static void test_down_and_up(const void *data)
{
    struct machine *m = start("rv64", data);
    uint64_t s_code = RAM_BASE + 0x1000, u_code = RAM_BASE + 0x2000, s_handler = RAM_BASE + 0x3000;

    m->cpu->r[A0] = s_code;
    m->cpu->r[A1] = (uint64_t)PRIV_S << 11;
    m->cpu->r[A2] = 1 << 8;
    m->cpu->r[A3] = s_handler;
    m->cpu->r[A4] = u_code;
    emit(m, CSRRW(ZERO, 0x341, A0));
    emit(m, CSRRS(ZERO, 0x300, A1));
    emit(m, CSRRW(ZERO, 0x302, A2));
    emit(m, MRET);
    m->code = s_code;
    emit(m, CSRRW(ZERO, 0x105, A3));
    emit(m, CSRRW(ZERO, 0x141, A4));
    emit(m, SRET);
    m->code = u_code;
    emit(m, ADDI(A5, A5, 1));
    emit(m, ECALL);
    emit(m, ADDI(A5, A5, 2));
    emit(m, CSRRS(A6, 0x142, ZERO)); /* illegal, and not delegated */
    m->code = s_handler;
    emit(m, CSRRS(A6, 0x142, ZERO));
    emit(m, CSRRS(A7, 0x141, ZERO));
    emit(m, ADDI(A7, A7, 4));
    emit(m, CSRRW(ZERO, 0x141, A7));
    emit(m, SRET);
    run_to(m, HANDLER);
    g_assert_cmphex(m->cpu->pc, ==, HANDLER);
    g_assert_cmphex(csr(m, 0x342), ==, CAUSE_ILLEGAL);
    g_assert_cmphex(csr(m, 0x341), ==, u_code + 12);
    g_assert_cmphex(csr(m, 0x343), ==, CSRRS(A6, 0x142, ZERO));
    g_assert_cmphex(csr(m, 0x300) & MSTATUS_MPP, ==, 0);
    g_assert_cmpuint(m->cpu->r[A5], ==, 3);
    g_assert_cmpuint(m->cpu->r[A6], ==, CAUSE_ECALL_U);
    machine_free(m);
}

/* Page tables: satp and sfence.vma in a program, faults with addresses, MPRV, SUM. */
static void test_paging(const void *data)
{
    struct machine *m = start("rv64", data);
    uint64_t table = RAM_BASE + 0x20000, low = table + 4096, lowest = table + 8192,
             code = RAM_BASE + 0x1000;

    /* 0x80000000: itself, 1 GiB, supervisor's. 0x1000: DATA, user's; 0x2000: DATA again, read-only.
     */
    *machine_ram(m, table + 16) = RAM_BASE >> 2 | 0xcf;
    *machine_ram(m, table) = low >> 2 | 1;
    *machine_ram(m, low) = lowest >> 2 | 1;
    *machine_ram(m, lowest + 8) = DATA >> 2 | 0xd7;
    *machine_ram(m, lowest + 16) = DATA >> 2 | 0xc3;
    *machine_ram(m, DATA) = 0x1122334455667788;
    *machine_ram(m, DATA + 0x1000) = 0x99;
    m->cpu->r[A0] = UINT64_C(8) << 60 | table >> 12;
    m->cpu->r[A1] = 0x1000;
    m->cpu->r[A2] = MSTATUS_SUM;
    m->cpu->r[S0] = lowest;
    m->cpu->r[S1] = (DATA + 0x1000) >> 2 | 0xd7;
    set_csr(m, 0x302, 0);
    riscv_set_privilege(m->cpu, PRIV_S);
    at(m, code);
    emit(m, CSRRW(ZERO, 0x180, A0));
    emit(m, CSRRS(ZERO, 0x100, A2));
    emit(m, LD(A3, A1, 0)); /* with SUM */
    emit(m, LD(A4, A1, 0x7f8));
    emit(m, SD(S1, S0, 8)); /* another page */
    emit(m, SFENCE_VMA(A1, ZERO));
    emit(m, LD(A4, A1, 0));
    emit(m, CSRRC(ZERO, 0x100, A2));
    emit(m, LD(A5, A1, 0)); /* without: a fault */
    run_to(m, HANDLER);
    g_assert_cmphex(m->cpu->pc, ==, HANDLER);
    g_assert_cmphex(csr(m, 0x341), ==, code + 32);
    g_assert_cmphex(csr(m, 0x342), ==, CAUSE_LOAD_PAGE);
    g_assert_cmphex(csr(m, 0x343), ==, 0x1000);
    g_assert_cmphex(m->cpu->r[A3], ==, 0x1122334455667788);
    g_assert_cmphex(m->cpu->r[A4], ==, 0x99);
    g_assert_cmphex(m->cpu->r[A5], ==, 0);

    /* Machine mode by user mode's eyes: the read-only page isn't the user's. */
    *machine_ram(m, lowest + 8) = DATA >> 2 | 0xd7;
    set_csr(m, 0x300, MSTATUS_MPRV);
    at(m, RAM_BASE + 0x5000);
    emit(m, SFENCE_VMA(ZERO, ZERO));
    emit(m, LD(A3, A1, 0));
    emit(m, ADDI(A1, A1, 0x7ff));
    emit(m, ADDI(A1, A1, 0x7fe)); /* 0x1ffd: a store across the end */
    emit(m, SD(A0, A1, 0));
    run_to(m, HANDLER);
    g_assert_cmphex(csr(m, 0x342), ==, CAUSE_STORE_PAGE);
    g_assert_cmphex(csr(m, 0x343), ==, 0x2000);
    g_assert_cmphex(csr(m, 0x341), ==, RAM_BASE + 0x5010);
    g_assert_cmphex(m->cpu->r[A3], ==, 0x1122334455667788);
    g_assert_cmphex(*machine_ram(m, DATA + 0xff8), ==, 0); /* nothing of it was stored */

    /* A fetch that isn't allowed. */
    riscv_set_privilege(m->cpu, PRIV_M);
    set_csr(m, 0x300, 0);
    riscv_set_privilege(m->cpu, PRIV_U);
    m->cpu->pc = 0x1004;
    run_to(m, HANDLER);
    g_assert_cmphex(csr(m, 0x342), ==, CAUSE_FETCH_PAGE);
    g_assert_cmphex(csr(m, 0x343), ==, 0x1004);
    g_assert_cmphex(csr(m, 0x341), ==, 0x1004);
    machine_free(m);
}

/* An interrupt that comes while it is switched off is taken between csrsi and what follows. */
static void test_interrupt_window(const void *data)
{
    struct machine *m = start("rv64", data);

    set_csr(m, 0x304, MIP_MTIP);
    riscv_set_irq(m->cpu, RISCV_IRQ_MTI, true);
    emit(m, ADDI(A0, A0, 1));
    emit(m, CSRRSI(ZERO, 0x300, 8));
    emit(m, CSRRCI(ZERO, 0x300, 8));
    emit(m, EBREAK);
    run_to(m, HANDLER);
    g_assert_cmphex(csr(m, 0x342), ==, CAUSE_INTERRUPT | 7);
    g_assert_cmphex(csr(m, 0x341), ==, RAM_BASE + 8);
    g_assert_cmphex(csr(m, 0x300) & (MSTATUS_MIE | MSTATUS_MPIE), ==, MSTATUS_MPIE);
    g_assert_cmpuint(m->cpu->r[A0], ==, 1);
    machine_free(m);
}

static void test_wfi(const void *data)
{
    struct machine *m = start("rv64", data);

    set_csr(m, 0x304, MIP_MSIP);
    emit(m, WFI);
    emit(m, ADDI(A0, A0, 1));
    emit(m, WFI);
    emit(m, EBREAK);
    g_assert_cmpint(run_to(m, HANDLER), ==, RISCV_RUN_WFI);
    g_assert_cmphex(m->cpu->pc, ==, RAM_BASE + 4);
    g_assert_false(riscv_has_pending_interrupt(m->cpu));
    riscv_set_irq(m->cpu, RISCV_IRQ_MTI, true); /* not enabled in mie */
    g_assert_false(riscv_has_pending_interrupt(m->cpu));
    riscv_set_irq(m->cpu, RISCV_IRQ_MSI, true);
    g_assert_cmpuint(m->wakes, ==, 2);
    g_assert_true(riscv_has_pending_interrupt(m->cpu));
    /* mstatus.MIE is off: it goes on behind wfi, and the next one doesn't wait. */
    g_assert_cmpint(run_to(m, HANDLER), ==, RISCV_RUN_GO_ON);
    g_assert_cmphex(csr(m, 0x342), ==, CAUSE_BREAKPOINT);
    g_assert_cmphex(csr(m, 0x341), ==, RAM_BASE + 12);
    machine_free(m);
}

static void test_zacas_pair(const void *data)
{
    struct machine *m = start("max", data);
    const uint32_t amocas_q = 0x2800402fu | A0 << 7 | SP << 15 | A2 << 20;

    *machine_ram(m, DATA) = 1;
    *machine_ram(m, DATA + 8) = 2;
    m->cpu->r[SP] = DATA;
    m->cpu->r[A0] = 1;
    m->cpu->r[A1] = 2;
    m->cpu->r[A2] = 3;
    m->cpu->r[A3] = 4;
    g_assert_cmpint(try(m, amocas_q, PRIV_M), ==, -1);
    g_assert_cmphex(*machine_ram(m, DATA), ==, 3);
    g_assert_cmphex(*machine_ram(m, DATA + 8), ==, 4);
    g_assert_cmpint(try(m, amocas_q, PRIV_M), ==, -1);
    g_assert_cmphex(m->cpu->r[A0], ==, 3);
    g_assert_cmphex(m->cpu->r[A1], ==, 4);
    m->cpu->r[SP] = DATA + 8;
    g_assert_cmpint(try(m, amocas_q, PRIV_M), ==, CAUSE_STORE_MISALIGNED);
    m->cpu->r[SP] = 0x40000000;
    g_assert_cmpint(try(m, amocas_q, PRIV_M), ==, CAUSE_STORE_ACCESS);
    g_assert_cmphex(csr(m, 0x343), ==, 0x40000000);
    machine_free(m);
}

static void add(const char *name, void (*fn)(const void *))
{
    g_autofree char *interpreted = g_strdup_printf("/riscv/privileged/interpreter/%s", name);
    g_autofree char *translated = g_strdup_printf("/riscv/privileged/translated/%s", name);

    g_test_add_data_func(interpreted, GINT_TO_POINTER(true), fn);
    g_test_add_data_func(translated, GINT_TO_POINTER(false), fn);
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    add("csr-forms", test_csr_forms);
    add("legality", test_legality);
    add("cache-blocks", test_cache_blocks);
    add("fp-dirty", test_fp_dirty);
    add("down-and-up", test_down_and_up);
    add("paging", test_paging);
    add("interrupt-window", test_interrupt_window);
    add("wfi", test_wfi);
    add("zacas-pair", test_zacas_pair);
    return g_test_run();
}
