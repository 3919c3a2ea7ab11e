/*
 * A RISC-V hart's registers, traps and interrupts against expectations worked out by hand from the
 * Privileged specification (20240411), and against naive models of it.
 */
#include "riscv_machine.h"

/* ---- CSRs: legal values ---- */

static void test_reset(void)
{
    struct machine *m = machine_new("rv64", true);

    g_assert_cmpuint(riscv_get_privilege(m->cpu), ==, PRIV_M);
    g_assert_cmphex(m->cpu->pc, ==, RAM_BASE);
    g_assert_cmphex(csr(m, 0x300), ==, 0xa00000000);
    g_assert_cmphex(csr(m, 0x301), ==, 0x800000000014112d);
    g_assert_cmphex(csr(m, 0x30a), ==, MENVCFG_ADUE);
    g_assert_cmphex(csr(m, 0xf14), ==, 5);
    g_assert_cmphex(csr(m, 0x180), ==, 0);
    riscv_set_irq(m->cpu, RISCV_IRQ_MTI, true);
    set_csr(m, 0x305, 0x80001000);
    set_csr(m, 0x3b3, 123);
    riscv_system_reset(m->cpu);
    g_assert_cmphex(csr(m, 0x305), ==, 0);
    g_assert_cmphex(csr(m, 0x3b3), ==, 0);
    g_assert_cmphex(csr(m, 0x344), ==, MIP_MTIP); /* a pin's */
    machine_free(m);
}

/* Whatever was written to them, after a reset all registers are those of a new hart. */
static void test_reset_all(void)
{
    static const char *const cpus[] = {"rv64", "max", "rva22s64", "sifive-u54"};
    GRand *rand = g_rand_new_with_seed(5);

    for (size_t c = 0; c < G_N_ELEMENTS(cpus); c++) {
        struct machine *m = machine_new(cpus[c], true), *fresh;
        unsigned changed = 0;

        for (unsigned n = 0; n < 4096; n++) {
            uint64_t before = 0, after = 0;

            riscv_csr_get(m->cpu, n, &before);
            riscv_csr_set(m->cpu, n, (uint64_t)g_rand_int(rand) << 32 | g_rand_int(rand));
            riscv_csr_get(m->cpu, n, &after);
            changed += before != after;
        }
        g_assert_cmpuint(changed, >, 50);
        riscv_set_privilege(m->cpu, PRIV_U);
        m->cpu->pc = 0x1234;
        riscv_system_reset(m->cpu);
        fresh = machine_new(cpus[c], true);
        g_assert_cmpuint(riscv_get_privilege(m->cpu), ==, PRIV_M);
        g_assert_cmphex(m->cpu->pc, ==, fresh->cpu->pc);
        g_assert_cmphex(m->cpu->mode, ==, fresh->cpu->mode);
        g_assert_cmphex(m->hart->tlb_context, ==, fresh->hart->tlb_context);
        for (unsigned n = 0; n < 4096; n++) {
            uint64_t x = 0, y = 0;
            bool has = riscv_csr_get(m->cpu, n, &x);

            g_assert_true(riscv_csr_get(fresh->cpu, n, &y) == has);
            if (x != y) {
                g_error("%s: CSR 0x%x is 0x%" G_GINT64_MODIFIER "x after a reset, 0x%"
                        G_GINT64_MODIFIER "x when new", cpus[c], n, x, y);
            }
        }
        machine_free(fresh);
        machine_free(m);
    }
    g_rand_free(rand);
}

/* What is read after a value was written. The register was 0, or what reset made it. */
static void test_legal_values(void)
{
    static const struct {
        const char *cpu;
        unsigned csr;
        uint64_t written, read;
    } rules[] = {
        {"rv64", 0x300, UINT64_MAX, 0x8000000a007e79aa},
        {"rv64", 0x300, 2 << 11, 0xa00000000}, /* MPP 2 isn't */
        {"rv64", 0x300, 1 << 13, 0xa00002000}, /* FS Initial, no SD */
        {"rv64,f=off,d=off,zfa=off,zcd=off", 0x300, 3 << 13, 0xa00000000},
        {"sifive-e51", 0x300, UINT64_MAX, 0x200221888},
        {"rv64", 0x100, UINT64_MAX, 0x80000002000c6122},
        {"rv64", 0x301, 0, 0x800000000014112d},
        {"rv64", 0x302, UINT64_MAX, 0xb3ff},
        {"rv64", 0x303, UINT64_MAX, 0x222},
        {"rv64,sscofpmf=on", 0x303, UINT64_MAX, 0x2222},
        {"rv64", 0x304, UINT64_MAX, 0xaaa},
        {"rv64", 0x104, UINT64_MAX, 0}, /* nothing is delegated */
        {"rv64", 0x305, 0x80000003, 0}, /* reserved mode */
        {"rv64", 0x305, 0x80000001, 0x80000001},
        {"rv64", 0x105, 0x80000002, 0},
        {"rv64", 0x306, UINT64_MAX, 0x7ffff},
        {"rv64,zihpm=off", 0x106, UINT64_MAX, 7},
        {"rv64", 0x320, UINT64_MAX, 0x7fffd},
        {"rv64", 0x323, UINT64_MAX, 0xf3ffffffffffffff},
        {"rv64", 0x33f, UINT64_MAX, 0},
        {"rv64", 0x30a, UINT64_MAX, 0xa0000000000000f1},
        {"rv64", 0x30a, 0x20, 0}, /* CBIE 2 is reserved */
        {"rv64,svpbmt=on", 0x30a, UINT64_MAX, 0xe0000000000000f1},
        {"rv64", 0x10a, UINT64_MAX, 0xf1},
        {"rv64,smstateen=on", 0x30c, UINT64_MAX, 0xc000000000000000},
        {"rv64,smstateen=on", 0x30e, UINT64_MAX, 0x8000000000000000},
        {"rv64,smstateen=on", 0x10c, UINT64_MAX, 0},
        {"rv64", 0x141, UINT64_MAX, UINT64_MAX - 1},
        {"rv64,c=off,zca=off,zcd=off", 0x341, UINT64_MAX, UINT64_MAX - 3},
        {"rv64", 0x342, UINT64_MAX, UINT64_MAX},
        {"rv64", 0x344, UINT64_MAX, 0x222},
        {"rv64", 0x144, UINT64_MAX, 0},
        {"rv64", 0x180, UINT64_MAX, 0}, /* mode 15 */
        {"rv64", 0x180, UINT64_C(10) << 60 | 5, UINT64_C(10) << 60 | 5},
        {"rv64,sv57=off", 0x180, UINT64_C(10) << 60 | 5, 0},
        {"rva22s64", 0x180, UINT64_C(8) << 60 | UINT64_C(0xffff) << 44, UINT64_C(0x8ffff) << 44},
        {"rva22s64", 0x180, UINT64_C(9) << 60, 0},
        {"rv64", 0x3b0, UINT64_MAX, 0x3fffffffffffff},
        {"rv64", 0x3a0, 0x7f7e7d7c, 0x1f1c1d1c}, /* W without R: R is missing, W goes */
        {"rv64,smepmp=on", 0x747, UINT64_MAX, 7},
        {"rv64,zkr=on", 0x747, UINT64_MAX, 0x300},
        {"rv64", 0x14d, UINT64_MAX, UINT64_MAX},
        {"rv64", 0x003, UINT64_MAX, 0xff},
        {"rv64", 0x002, UINT64_MAX, 7},
    };

    for (size_t i = 0; i < G_N_ELEMENTS(rules); i++) {
        struct machine *m = machine_new(rules[i].cpu, true);

        set_csr(m, rules[i].csr, rules[i].written);
        if (csr(m, rules[i].csr) != rules[i].read) {
            g_error("-cpu %s, CSR %03x: %" G_GINT64_MODIFIER "x, expected %" G_GINT64_MODIFIER "x",
                    rules[i].cpu, rules[i].csr, csr(m, rules[i].csr), rules[i].read);
        }
        machine_free(m);
    }
}

static void test_presence(void)
{
    static const struct {
        const char *cpu;
        unsigned csr;
        const char *name; /* NULL: there is none */
    } rows[] = {
        {"rv64", 0x300, "mstatus"},
        {"rv64", 0x332, "mhpmevent18"},
        {"rv64", 0x33f, "mhpmevent31"},
        {"rv64", 0xb12, "mhpmcounter18"},
        {"rv64", 0xb13, NULL},
        {"rv64", 0x3a0, "pmpcfg0"},
        {"rv64", 0x3a1, NULL},
        {"rv64", 0x3a2, "pmpcfg2"},
        {"rv64", 0x3bf, "pmpaddr15"},
        {"rv64", 0x3c0, NULL},
        {"rva22s64", 0x3b0, NULL},
        {"rva22s64", 0x14d, NULL},
        {"sifive-u54", 0x30a, NULL},
        {"sifive-u54", 0xf15, NULL},
        {"sifive-u54", 0x320, NULL},
        {"sifive-e51", 0x100, NULL},
        {"sifive-e51", 0x302, NULL},
        {"rv64", 0x30c, NULL},
        {"rv64,smstateen=on", 0x30f, "mstateen3"},
        {"rv64", 0xda0, NULL},
        {"max", 0xda0, "scountovf"},
        {"rv64", 0x747, NULL},
        {"rv64", 0x015, NULL},
        {"rv64", 0x7a0, NULL},
        {"rv64", 0x200, NULL},
        {"rv64", 0x600, NULL},
        {"rv64,zihpm=off", 0xc03, NULL},
    };

    for (size_t i = 0; i < G_N_ELEMENTS(rows); i++) {
        struct machine *m = machine_new(rows[i].cpu, true);
        g_autofree char *name = riscv_csr_name(m->cpu, rows[i].csr);
        uint64_t value;

        g_assert_cmpstr(name, ==, rows[i].name);
        g_assert_true(riscv_csr_get(m->cpu, rows[i].csr, &value) == (name != NULL));
        machine_free(m);
    }
}

/* Whether an access is legal: privilege, the enables, and writes to what is read-only. */
static void test_access(void)
{
    static const struct {
        const char *cpu;
        uint8_t priv;
        uint16_t number;
        bool write, legal;
        struct {
            uint16_t number;
            uint64_t value;
        } before[3];
    } rules[] = {
        {"rv64", PRIV_M, 0x300, true, true},
        {"rv64", PRIV_S, 0x300, false, false},
        {"rv64", PRIV_S, 0x100, true, true},
        {"rv64", PRIV_U, 0x100, false, false},
        {"rv64", PRIV_M, 0xf14, false, true},
        {"rv64", PRIV_M, 0xf14, true, false},
        {"rv64", PRIV_M, 0xc00, false, true},
        {"rv64", PRIV_M, 0xc00, true, false},
        {"rv64", PRIV_S, 0xc01, false, false},
        {"rv64", PRIV_S, 0xc01, false, true, {{0x306, 2}}},
        {"rv64", PRIV_U, 0xc01, false, false, {{0x306, 2}}},
        {"rv64", PRIV_U, 0xc01, false, true, {{0x306, 2}, {0x106, 2}}},
        {"rv64", PRIV_U, 0xc02, false, false, {{0x306, 2}, {0x106, 2}}},
        {"sifive-e51", PRIV_U, 0xc02, false, true, {{0x306, 4}}},
        {"rv64", PRIV_S, 0xc12, false, true, {{0x306, 1 << 18}}},
        {"rv64", PRIV_S, 0x180, true, true},
        {"rv64", PRIV_S, 0x180, false, false, {{0x300, MSTATUS_TVM}}},
        {"rv64", PRIV_M, 0x180, true, true, {{0x300, MSTATUS_TVM}}},
        {"rv64", PRIV_S, 0x14d, true, false},
        {"rv64", PRIV_S, 0x14d, true, false, {{0x30a, MENVCFG_STCE}}},
        {"rv64", PRIV_S, 0x14d, true, true, {{0x30a, MENVCFG_STCE}, {0x306, 2}}},
        {"rv64", PRIV_M, 0x14d, true, true},
        {"rv64,smstateen=on", PRIV_S, 0x10a, true, false},
        {"rv64,smstateen=on", PRIV_S, 0x10a, true, true, {{0x30c, UINT64_C(1) << 62}}},
        {"rv64,smstateen=on", PRIV_S, 0x10d, true, false},
        {"rv64,smstateen=on", PRIV_S, 0x10d, true, true, {{0x30d, UINT64_C(1) << 63}}},
        {"rv64", PRIV_M, 0x001, false, false},
        {"rv64", PRIV_M, 0x001, true, true, {{0x300, 1 << 13}}},
        {"rv64,zkr=on", PRIV_M, 0x015, true, true},
        {"rv64,zkr=on", PRIV_S, 0x015, true, false},
        {"rv64,zkr=on", PRIV_S, 0x015, true, true, {{0x747, 1 << 9}}},
        {"rv64,zkr=on", PRIV_U, 0x015, true, false, {{0x747, 1 << 9}}},
        {"rv64", PRIV_M, 0x123, false, false},
    };

    for (size_t i = 0; i < G_N_ELEMENTS(rules); i++) {
        struct machine *m = machine_new(rules[i].cpu, true);
        uint64_t old;
        bool legal;

        for (size_t k = 0; k < G_N_ELEMENTS(rules[i].before) && rules[i].before[k].number; k++) {
            set_csr(m, rules[i].before[k].number, rules[i].before[k].value);
        }
        riscv_set_privilege(m->cpu, rules[i].priv);
        legal = csr_access(m->hart, rules[i].number, rules[i].write, 0, UINT64_MAX, &old);
        if (legal != rules[i].legal) {
            g_error("row %zu, CSR %03x is %s", i, rules[i].number, legal ? "legal" : "illegal");
        }
        machine_free(m);
    }
}

/* sie, sip and mip are views of the same bits. */
static void test_pending(void)
{
    struct machine *m = machine_new("rv64", true);
    uint64_t old;

    set_csr(m, 0x303, 0x222);
    set_csr(m, 0x104, UINT64_MAX);
    g_assert_cmphex(csr(m, 0x304), ==, 0x222);
    set_csr(m, 0x304, UINT64_MAX);
    set_csr(m, 0x104, 0);
    g_assert_cmphex(csr(m, 0x304), ==, 0x888);

    set_csr(m, 0x144, UINT64_MAX); /* of sip only SSIP can be written */
    g_assert_cmphex(csr(m, 0x344), ==, MIP_SSIP);
    riscv_set_irq(m->cpu, RISCV_IRQ_SEI, true);
    g_assert_cmphex(csr(m, 0x144), ==, MIP_SSIP | MIP_SEIP);
    /* Setting another bit doesn't make the pin's level the software's. */
    g_assert_true(csr_access(m->hart, 0x344, true, UINT64_MAX, MIP_STIP, &old));
    g_assert_cmphex(old, ==, MIP_SSIP | MIP_SEIP);
    riscv_set_irq(m->cpu, RISCV_IRQ_SEI, false);
    g_assert_cmphex(csr(m, 0x344), ==, MIP_SSIP | MIP_STIP);
    /* And clearing it doesn't clear the pin. */
    riscv_set_irq(m->cpu, RISCV_IRQ_SEI, true);
    set_csr(m, 0x344, 0);
    g_assert_cmphex(csr(m, 0x344), ==, MIP_SEIP);
    riscv_set_irq(m->cpu, RISCV_IRQ_SSI, true); /* an edge */
    riscv_set_irq(m->cpu, RISCV_IRQ_SSI, false);
    g_assert_cmphex(csr(m, 0x344), ==, MIP_SEIP | MIP_SSIP);
    machine_free(m);
}

/* ---- Traps ---- */

static void test_exceptions(void)
{
    struct machine *m = machine_new("rv64", true);

    for (unsigned cause = 0; cause < 16; cause++) {
        for (unsigned i = 0; i < 12; i++) {
            static const uint8_t privs[] = {PRIV_U, PRIV_S, PRIV_M};
            unsigned priv = privs[i % 3], enabled = i / 3 & 1, delegated = i / 6;
            bool to_s = delegated && priv != PRIV_M && (0xb3ff >> cause & 1);
            uint64_t status = MSTATUS_UXL | MSTATUS_SXL | (enabled ? MSTATUS_MIE | MSTATUS_SIE : 0);

            riscv_system_reset(m->cpu);
            set_csr(m, 0x302, delegated ? UINT64_MAX : 0);
            set_csr(m, 0x305, 0x1001); /* vectored: exceptions all go to the base */
            set_csr(m, 0x105, 0x2001);
            set_csr(m, 0x300, status);
            riscv_set_privilege(m->cpu, priv);
            m->cpu->pc = 0x80001234;
            hart_trap(m->hart, cause, 0xabc);
            if (to_s) {
                status = (status & ~MSTATUS_SIE) | (enabled ? MSTATUS_SPIE : 0) |
                         (priv == PRIV_S ? MSTATUS_SPP : 0);
            } else {
                status =
                    (status & ~MSTATUS_MIE) | (enabled ? MSTATUS_MPIE : 0) | (uint64_t)priv << 11;
            }
            g_assert_cmphex(csr(m, 0x300), ==, status);
            g_assert_cmpuint(riscv_get_privilege(m->cpu), ==, to_s ? PRIV_S : PRIV_M);
            g_assert_cmphex(m->cpu->pc, ==, to_s ? 0x2000 : 0x1000);
            g_assert_cmphex(csr(m, to_s ? 0x142 : 0x342), ==, cause);
            g_assert_cmphex(csr(m, to_s ? 0x141 : 0x341), ==, 0x80001234);
            g_assert_cmphex(csr(m, to_s ? 0x143 : 0x343), ==, 0xabc);
            g_assert_cmphex(csr(m, to_s ? 0x342 : 0x142), ==, 0);
        }
    }
    machine_free(m);
}

/* 3.1.9 said once more, bit by bit. */
static int naive_interrupt(uint64_t mip, uint64_t mie, uint64_t mideleg, uint64_t mstatus,
                           unsigned priv)
{
    static const int order[] = {11, 3, 7, 9, 1, 5, 13};

    for (int machine = 1; machine >= 0; machine--) {
        for (size_t k = 0; k < G_N_ELEMENTS(order); k++) {
            int i = order[k];
            bool delegated = mideleg >> i & 1;

            if (!(mip >> i & 1) || !(mie >> i & 1) || delegated == machine) {
                continue;
            }
            if (machine && (priv < PRIV_M || mstatus & MSTATUS_MIE)) {
                return i;
            }
            if (!machine && (priv < PRIV_S || (priv == PRIV_S && mstatus & MSTATUS_SIE))) {
                return i;
            }
        }
    }
    return -1;
}

static void test_interrupts(void)
{
    static const uint8_t privs[] = {PRIV_U, PRIV_S, PRIV_M};
    static const uint8_t pins[] = {3, 7, 9, 11};
    struct machine *m = machine_new("rv64,sscofpmf=on", true);
    GRand *rand = g_rand_new_with_seed(1);

    for (int round = 0; round < 20000; round++) {
        unsigned priv = privs[g_rand_int_range(rand, 0, 3)];
        uint64_t status = g_rand_int(rand) & (MSTATUS_MIE | MSTATUS_SIE), pending;
        int expected;

        riscv_set_privilege(m->cpu, PRIV_M);
        set_csr(m, 0x300, status);
        set_csr(m, 0x303, g_rand_int(rand));
        set_csr(m, 0x304, g_rand_int(rand));
        set_csr(m, 0x344, g_rand_int(rand));
        set_csr(m, 0x305, 0x1001);
        set_csr(m, 0x105, 0x2000);
        for (size_t i = 0; i < G_N_ELEMENTS(pins); i++) {
            riscv_set_irq(m->cpu, pins[i], g_rand_boolean(rand));
        }
        riscv_set_privilege(m->cpu, priv);
        m->cpu->pc = 0x4000;
        pending = csr(m, 0x344);
        expected = naive_interrupt(pending, csr(m, 0x304), csr(m, 0x303), status, priv);
        g_assert_cmpint(hart_next_interrupt(m->hart), ==, expected);
        g_assert_true(riscv_has_pending_interrupt(m->cpu) == ((pending & csr(m, 0x304)) != 0));
        g_assert_cmpint(riscv_system_handle_exit(m->cpu, VCPU_EXIT_INTERRUPT), ==, RISCV_RUN_GO_ON);
        if (expected < 0) {
            g_assert_cmphex(m->cpu->pc, ==, 0x4000);
        } else if (csr(m, 0x303) >> expected & 1) {
            g_assert_cmphex(csr(m, 0x142), ==, CAUSE_INTERRUPT | (uint64_t)expected);
            g_assert_cmphex(m->cpu->pc, ==, 0x2000);
        } else {
            g_assert_cmphex(csr(m, 0x342), ==, CAUSE_INTERRUPT | (uint64_t)expected);
            g_assert_cmphex(m->cpu->pc, ==, 0x1000 + 4 * expected);
        }
    }
    g_rand_free(rand);
    machine_free(m);
}

static void test_returns(void)
{
    struct machine *m = machine_new("rv64", true);

    set_csr(m, 0x300, MSTATUS_MPIE | (uint64_t)PRIV_S << 11 | MSTATUS_MPRV);
    set_csr(m, 0x341, 0x80000100);
    g_assert_true(hart_mret(m->hart));
    g_assert_cmpuint(riscv_get_privilege(m->cpu), ==, PRIV_S);
    g_assert_cmphex(m->cpu->pc, ==, 0x80000100);
    g_assert_cmphex(csr(m, 0x300), ==, MSTATUS_UXL | MSTATUS_SXL | MSTATUS_MIE | MSTATUS_MPIE);
    g_assert_false(hart_mret(m->hart));

    set_csr(m, 0x100, MSTATUS_SPIE);
    set_csr(m, 0x141, 0x80000200);
    set_csr(m, 0x300, csr(m, 0x300) | MSTATUS_TSR);
    g_assert_false(hart_sret(m->hart));
    set_csr(m, 0x300, csr(m, 0x300) & ~MSTATUS_TSR);
    g_assert_true(hart_sret(m->hart));
    g_assert_cmpuint(riscv_get_privilege(m->cpu), ==, PRIV_U);
    g_assert_cmphex(m->cpu->pc, ==, 0x80000200);
    g_assert_cmphex(csr(m, 0x100), ==, MSTATUS_UXL | MSTATUS_SIE | MSTATUS_SPIE);
    g_assert_false(hart_sret(m->hart));
    machine_free(m);
}

/* ---- Timers and counters ---- */

static void test_stimecmp(void)
{
    struct machine *m = machine_new("rv64", true);

    m->time = 1000;
    set_csr(m, 0x303, MIP_STIP);
    set_csr(m, 0x304, MIP_STIP);
    set_csr(m, 0x14d, 2000);
    g_assert_cmpuint(m->armed, ==, UINT64_MAX); /* STCE is off */
    set_csr(m, 0x344, MIP_STIP);                /* and so software has the bit */
    g_assert_cmphex(csr(m, 0x344), ==, MIP_STIP);
    set_csr(m, 0x30a, MENVCFG_STCE);
    g_assert_cmphex(csr(m, 0x344), ==, 0);
    g_assert_cmpuint(m->armed, ==, 2000);
    g_assert_false(riscv_has_pending_interrupt(m->cpu));
    m->time = 1999;
    riscv_timer_expired(m->cpu); /* too early: armed again */
    g_assert_cmpuint(m->wakes, ==, 1);
    m->armed = 0;
    g_assert_cmpint(riscv_system_handle_exit(m->cpu, VCPU_EXIT_INTERRUPT), ==, RISCV_RUN_GO_ON);
    g_assert_cmpuint(m->armed, ==, 2000);
    m->time = 2000;
    riscv_timer_expired(m->cpu);
    g_assert_true(riscv_has_pending_interrupt(m->cpu));
    g_assert_cmphex(csr(m, 0x344), ==, MIP_STIP);
    set_csr(m, 0x344, 0);
    g_assert_cmphex(csr(m, 0x344), ==, MIP_STIP);
    set_csr(m, 0x14d, UINT64_MAX);
    g_assert_cmphex(csr(m, 0x344), ==, 0);
    g_assert_cmpuint(csr(m, 0xc01), ==, 2000);
    machine_free(m);
}

static void test_counters(void)
{
    struct machine *m = machine_new("rv64,sscofpmf=on", true);
    const uint64_t of = UINT64_C(1) << 63, minh = UINT64_C(1) << 62, sinh_ = UINT64_C(1) << 61;

    m->ns = 100;
    g_assert_cmpuint(csr(m, 0xb00), ==, 100);
    set_csr(m, 0xb00, 7);
    m->ns = 150;
    g_assert_cmpuint(csr(m, 0xc00), ==, 57);
    set_csr(m, 0x320, 1);
    m->ns = 200;
    g_assert_cmpuint(csr(m, 0xb00), ==, 57);
    g_assert_cmpuint(csr(m, 0xb02), ==, 200);
    set_csr(m, 0x320, 0);
    m->ns = 210;
    g_assert_cmpuint(csr(m, 0xb00), ==, 67);

    g_assert_cmpuint(csr(m, 0xb03), ==, 0); /* counts nothing */
    set_csr(m, 0x323, 1 | sinh_);
    set_csr(m, 0xb03, UINT64_MAX - 49);
    g_assert_cmpuint(m->armed_overflow, ==, 260);
    m->ns = 230;
    riscv_set_privilege(m->cpu, PRIV_S); /* where it stands */
    g_assert_cmpuint(m->armed_overflow, ==, UINT64_MAX);
    m->ns = 1000;
    g_assert_cmpuint(csr(m, 0xb03), ==, UINT64_MAX - 29);
    riscv_set_privilege(m->cpu, PRIV_M);
    g_assert_cmpuint(m->armed_overflow, ==, 1030);
    m->ns = 1029;
    g_assert_cmphex(csr(m, 0x344) & MIP_LCOFIP, ==, 0);
    m->ns = 1030;
    g_assert_cmphex(csr(m, 0x344) & MIP_LCOFIP, ==, MIP_LCOFIP);
    g_assert_cmphex(csr(m, 0x323), ==, of | sinh_ | 1);
    g_assert_cmphex(csr(m, 0xda0), ==, 1 << 3);
    set_csr(m, 0x344, 0);
    g_assert_cmphex(csr(m, 0x344), ==, 0);
    g_assert_cmpuint(m->armed_overflow, ==, UINT64_MAX); /* OF is set: no other interrupt */
    set_csr(m, 0x324, 2 | minh);
    m->ns = 2000;
    g_assert_cmpuint(csr(m, 0xb04), ==, 0);
    machine_free(m);
}

/* ---- Garbage ---- */

/* Anything may be written to any register, and nothing is ever in a state that can't be. */
static void test_garbage(void)
{
    static const char *const cpus[] = {"rv64", "max", "rva22s64", "sifive-e51", "sifive-u54"};
    GRand *rand = g_rand_new_with_seed(9);

    for (size_t c = 0; c < G_N_ELEMENTS(cpus); c++) {
        struct machine *m = machine_new(cpus[c], true);

        for (int i = 0; i < 100000; i++) {
            uint64_t value = (uint64_t)g_rand_int(rand) << 32 | g_rand_int(rand), old;
            unsigned number = (unsigned)g_rand_int_range(rand, 0, 4096), priv;
            struct mmu_page page;

            m->time += 1000;
            m->ns += 100000;
            switch (g_rand_int_range(rand, 0, 12)) {
            case 0: riscv_set_privilege(m->cpu, value & 3); break;
            case 1: hart_trap(m->hart, value & (CAUSE_INTERRUPT | 15), value); break;
            case 2: hart_mret(m->hart); break;
            case 3: hart_sret(m->hart); break;
            case 4:
                riscv_set_irq(m->cpu, (unsigned[]){1, 3, 5, 7, 9, 11}[value % 6], value >> 32 & 1);
                riscv_system_handle_exit(m->cpu, VCPU_EXIT_INTERRUPT);
                break;
            case 5:
                riscv_system_mmu_ops.translate(m->cpu, value, (enum vcpu_access)(number % 3),
                                               &page);
                break;
            default:
                csr_access(m->hart, number, value & 1, g_rand_int(rand) * value, value, &old);
                break;
            }
            priv = riscv_get_privilege(m->cpu);
            g_assert_true(priv == PRIV_M || (priv == PRIV_S && riscv_has(m->model, RISCV_EXT_S)) ||
                          (priv == PRIV_U && riscv_has(m->model, RISCV_EXT_U)));
            g_assert_cmphex(m->cpu->mode >> MODE_PRIV_SHIFT & 3, ==, priv);
            g_assert_true((m->cpu->mode & MODE_FS_ON) == 0 || m->hart->mstatus & MSTATUS_FS);
            g_assert_cmphex(m->hart->tlb_context, ==, mmu_context(m->hart));
            g_assert_cmphex(m->hart->mstatus >> 11 & 3, !=, 2);
        }
        machine_free(m);
    }
    g_rand_free(rand);
}

/* ---- State ---- */

static void test_state(void)
{
    struct machine *a = machine_new("max", true), *b;
    GRand *rand = g_rand_new_with_seed(7);
    g_autoptr(GArray) saved = g_array_new(FALSE, FALSE, sizeof(uint64_t));
    uint64_t *next;

    for (unsigned n = 0; n < 4096; n++) {
        if (n != 0x747 && n >> 4 != 0x3a) {
            riscv_csr_set(a->cpu, n, (uint64_t)g_rand_int(rand) << 32 | g_rand_int(rand));
        }
    }
    set_csr(a, 0x3a0, 0x0f1f);
    set_csr(a, 0x180, UINT64_C(9) << 60 | 0x80000);
    riscv_set_privilege(a->cpu, PRIV_S);
    riscv_state_before_save(a->cpu);
    for (size_t i = 0; i < riscv_n_state_fields; i++) {
        g_array_append_vals(saved, (const char *)a->cpu + riscv_state_fields[i].offset,
                            riscv_state_fields[i].count);
    }
    b = machine_new("max", true);
    next = (uint64_t *)(void *)saved->data;
    for (size_t i = 0; i < riscv_n_state_fields; i++) {
        size_t count = riscv_state_fields[i].count;

        memcpy((char *)b->cpu + riscv_state_fields[i].offset, next, count * sizeof(uint64_t));
        next += count;
    }
    riscv_state_after_load(b->cpu);
    g_assert_cmpuint(riscv_get_privilege(b->cpu), ==, PRIV_S);
    g_assert_cmphex(a->cpu->mode, ==, b->cpu->mode);
    g_assert_cmphex(a->hart->tlb_context, ==, b->hart->tlb_context);
    g_assert_cmpmem(a->hart->pmp, sizeof(a->hart->pmp), b->hart->pmp, sizeof(b->hart->pmp));
    for (unsigned n = 0; n < 4096; n++) {
        uint64_t x = 0, y = 0;

        riscv_csr_get(a->cpu, n, &x);
        riscv_csr_get(b->cpu, n, &y);
        g_assert_cmphex(x, ==, y);
    }
    /* Nonsense is made harmless. */
    for (size_t i = 0; i < riscv_n_state_fields; i++) {
        memset((char *)b->cpu + riscv_state_fields[i].offset, 0xff,
               riscv_state_fields[i].count * sizeof(uint64_t));
    }
    riscv_state_after_load(b->cpu);
    g_assert_cmpuint(riscv_get_privilege(b->cpu), ==, PRIV_M);
    g_assert_cmphex(csr(b, 0x180), ==, 0);
    g_rand_free(rand);
    machine_free(a);
    machine_free(b);
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    g_test_add_func("/riscv/system/reset", test_reset);
    g_test_add_func("/riscv/system/reset-all", test_reset_all);
    g_test_add_func("/riscv/system/csr/legal-values", test_legal_values);
    g_test_add_func("/riscv/system/csr/presence", test_presence);
    g_test_add_func("/riscv/system/csr/access", test_access);
    g_test_add_func("/riscv/system/csr/pending", test_pending);
    g_test_add_func("/riscv/system/exceptions", test_exceptions);
    g_test_add_func("/riscv/system/interrupts", test_interrupts);
    g_test_add_func("/riscv/system/returns", test_returns);
    g_test_add_func("/riscv/system/stimecmp", test_stimecmp);
    g_test_add_func("/riscv/system/counters", test_counters);
    g_test_add_func("/riscv/system/garbage", test_garbage);
    g_test_add_func("/riscv/system/state", test_state);
    return g_test_run();
}
