/*
 * RISC-V address translation and PMP: random page tables and random PMP entries against naive
 * models, which follow the text of the Privileged specification (20240411, 10.3.2 and 3.7) step by
 * step, and cases worked out by hand.
 */
#include "riscv_machine.h"

enum {
    PTE_V = 1,
    PTE_R = 2,
    PTE_W = 4,
    PTE_X = 8,
    PTE_U = 16,
    PTE_G = 32,
    PTE_A = 64,
    PTE_D = 128
};

/* ---- PMP ---- */

static unsigned naive_cfg(struct machine *m, int entry)
{
    return csr(m, entry < 8 ? 0x3a0 : 0x3a2) >> entry % 8 * 8 & 0xff;
}

static bool naive_matches(struct machine *m, int entry, uint64_t byte)
{
    uint64_t addr = csr(m, 0x3b0 + (unsigned)entry),
             below = entry ? csr(m, 0x3b0 + (unsigned)entry - 1) : 0;
    unsigned bits = 3;

    switch (naive_cfg(m, entry) >> 3 & 3) {
    case 0: return false;
    case 1: return byte >= below << 2 && byte < addr << 2;
    case 2: return byte >> 2 == addr;
    default:
        while (addr & 1) {
            addr >>= 1;
            bits++;
        }
        return byte >> bits == addr >> 1;
    }
}

/* Without Smepmp. */
static enum pmp_result naive_pmp(struct machine *m, uint64_t phys, unsigned size,
                                 enum vcpu_access access, enum riscv_priv priv)
{
    static const uint8_t wanted[] = {[VCPU_READ] = 1, [VCPU_WRITE] = 2, [VCPU_FETCH] = 4};

    for (int entry = 0; entry < PMP_ENTRIES; entry++) {
        unsigned matching = 0, cfg = naive_cfg(m, entry);

        for (unsigned i = 0; i < size; i++) {
            matching += naive_matches(m, entry, phys + i);
        }
        if (matching == 0) {
            continue;
        }
        if (matching < size) {
            return PMP_PARTLY;
        }
        return (priv == PRIV_M && !(cfg & 0x80)) || cfg & wanted[access] ? PMP_ALLOWED : PMP_DENIED;
    }
    return priv == PRIV_M ? PMP_ALLOWED : PMP_DENIED;
}

static void test_pmp_random(void)
{
    static const uint8_t privs[] = {PRIV_U, PRIV_S, PRIV_M};
    static const uint8_t sizes[] = {1, 2, 4, 8, 64};
    struct machine *m = machine_new("rv64", true);
    GRand *rand = g_rand_new_with_seed(2);

    for (int round = 0; round < 400; round++) {
        riscv_system_reset(m->cpu);
        for (unsigned i = 0; i < PMP_ENTRIES; i++) {
            /* Small numbers, so that entries meet. */
            set_csr(m, 0x3b0 + i,
                    (uint64_t)g_rand_int_range(rand, 0, 64) |
                        ((UINT64_C(1) << g_rand_int_range(rand, 0, 5)) - 1));
        }
        for (unsigned i = 0; i < 2; i++) {
            uint64_t off = g_rand_boolean(rand) ? 0 : UINT64_C(0x0018001818001800);

            set_csr(m, 0x3a0 + 2 * i, ((uint64_t)g_rand_int(rand) << 32 | g_rand_int(rand)) & ~off);
        }
        for (int k = 0; k < 100; k++) {
            uint64_t phys = (uint64_t)g_rand_int_range(rand, 0, 320);
            unsigned size = sizes[g_rand_int_range(rand, 0, 5)];
            enum vcpu_access access = (enum vcpu_access)g_rand_int_range(rand, 0, 3);
            enum riscv_priv priv = privs[g_rand_int_range(rand, 0, 3)];

            g_assert_cmpint(pmp_check(m->hart, phys, size, access, priv), ==,
                            naive_pmp(m, phys, size, access, priv));
        }
    }
    g_rand_free(rand);
    machine_free(m);
}

static void test_pmp_locks(void)
{
    struct machine *m = machine_new("rv64", true);

    set_csr(m, 0x3b0, 0x100);
    set_csr(m, 0x3b1, 0x200);
    set_csr(m, 0x3b2, 0x300);
    set_csr(m, 0x3a0, 0x1f0b8918 & ~0xff0000u); /* 1: TOR, locked, R */
    g_assert_cmphex(csr(m, 0x3a0), ==, 0x1f008918);
    set_csr(m, 0x3a0, 0);
    g_assert_cmphex(csr(m, 0x3a0), ==, 0x8900);
    set_csr(m, 0x3b1, 0x999);
    set_csr(m, 0x3b0, 0x999); /* the bottom of a locked range */
    set_csr(m, 0x3b2, 0x999);
    g_assert_cmphex(csr(m, 0x3b0), ==, 0x100);
    g_assert_cmphex(csr(m, 0x3b1), ==, 0x200);
    g_assert_cmphex(csr(m, 0x3b2), ==, 0x999);
    /* A locked entry binds machine mode too. */
    g_assert_cmpint(pmp_check(m->hart, 0x400, 8, VCPU_READ, PRIV_M), ==, PMP_ALLOWED);
    g_assert_cmpint(pmp_check(m->hart, 0x400, 8, VCPU_WRITE, PRIV_M), ==, PMP_DENIED);
    g_assert_cmpint(pmp_check(m->hart, 0x7fc, 8, VCPU_READ, PRIV_M), ==, PMP_PARTLY);
    g_assert_cmpint(pmp_check(m->hart, 0x800, 8, VCPU_WRITE, PRIV_M), ==, PMP_ALLOWED);
    riscv_system_reset(m->cpu);
    g_assert_cmphex(csr(m, 0x3a0), ==, 0);
    machine_free(m);
}

/* Smepmp 1.0, table 1, as letters: rights of machine mode, and of the others. */
static void test_pmp_mml(void)
{
    static const struct {
        uint8_t cfg;
        const char *machine, *others;
    } table[] = {
        {0x00, "", ""},  {0x04, "", "x"},  {0x02, "rw", "r"}, {0x06, "rw", "rw"},
        {0x01, "", "r"}, {0x05, "", "rx"}, {0x03, "", "rw"},  {0x07, "", "rwx"},
        {0x80, "", ""},  {0x84, "x", ""},  {0x82, "x", "x"},  {0x86, "rx", "x"},
        {0x81, "r", ""}, {0x85, "rx", ""}, {0x83, "rw", ""},  {0x87, "r", "r"},
    };
    static const char letters[] = "rwx";

    for (size_t i = 0; i < G_N_ELEMENTS(table); i++) {
        struct machine *m = machine_new("rv64,smepmp=on", true);

        set_csr(m, 0x747, 5); /* MML, and RLB so that machine mode may be given code */
        set_csr(m, 0x3b0, 0x1fff);
        set_csr(m, 0x3a0, table[i].cfg | 0x18u);
        g_assert_cmphex(csr(m, 0x3a0), ==, table[i].cfg | 0x18u);
        for (int access = VCPU_READ; access <= VCPU_FETCH; access++) {
            bool machine = strchr(table[i].machine, letters[access]),
                 others = strchr(table[i].others, letters[access]);

            g_assert_true((pmp_check(m->hart, 0x100, 4, access, PRIV_M) == PMP_ALLOWED) == machine);
            g_assert_true((pmp_check(m->hart, 0x100, 4, access, PRIV_S) == PMP_ALLOWED) == others);
            g_assert_true((pmp_check(m->hart, 0x100, 4, access, PRIV_U) == PMP_ALLOWED) == others);
        }
        /* Where nothing matches machine mode has no code. */
        g_assert_cmpint(pmp_check(m->hart, 1 << 20, 4, VCPU_FETCH, PRIV_M), ==, PMP_DENIED);
        g_assert_cmpint(pmp_check(m->hart, 1 << 20, 4, VCPU_READ, PRIV_M), ==, PMP_ALLOWED);
        set_csr(m, 0x747, 2); /* MML stays, MMWP comes, RLB goes */
        g_assert_cmphex(csr(m, 0x747), ==, 3);
        g_assert_cmpint(pmp_check(m->hart, 1 << 20, 4, VCPU_READ, PRIV_M), ==, PMP_DENIED);
        set_csr(m, 0x3a0,
                0x9d00 | (table[i].cfg | 0x18u)); /* a new rule with code for machine mode: no */
        g_assert_cmphex(csr(m, 0x3a0), ==, table[i].cfg | 0x18u);
        machine_free(m);
    }
}

/* ---- Page tables ---- */

struct naive {
    struct machine *m;
    uint64_t vaddr, phys, size, pte_at, pte;
    bool page_fault, access_fault, global;
};

static bool in_ram(uint64_t phys)
{
    return phys >= RAM_BASE && phys < RAM_BASE + (uint64_t)RAM_SIZE;
}

/* 10.3.2 with what Svnapot and Svpbmt add. */
static void naive_walk(struct naive *n, enum vcpu_access access, unsigned priv)
{
    struct machine *m = n->m;
    uint64_t satp = csr(m, 0x180), status = csr(m, 0x300),
             a = (satp & ((UINT64_C(1) << 44) - 1)) * 4096, ppn;
    int levels = satp >> 60 == 8   ? 3
                 : satp >> 60 == 9 ? 4
                                   : 5,
        i = levels - 1, bits = 12 + 9 * levels;
    int64_t top = (int64_t)n->vaddr >> (bits - 1);
    bool pbmte = csr(m, 0x30a) >> 62 & 1, napot = riscv_has(m->model, RISCV_EXT_SVNAPOT);

    n->page_fault = true;
    if (top != 0 && top != -1) {
        return;
    }
    for (;; i--) {
        n->pte_at = a + (n->vaddr >> (12 + 9 * i) & 511) * 8;
        if (!in_ram(n->pte_at)) {
            n->page_fault = false;
            n->access_fault = true;
            return;
        }
        n->pte = *machine_ram(m, n->pte_at);
        if (!(n->pte & PTE_V) || (!(n->pte & PTE_R) && n->pte & PTE_W) || n->pte >> 54 & 0x7f) {
            return;
        }
        n->global |= (n->pte & PTE_G) != 0;
        ppn = n->pte >> 10 & ((UINT64_C(1) << 44) - 1);
        if (n->pte & (PTE_R | PTE_X)) {
            break;
        }
        if (n->pte & (PTE_A | PTE_D | PTE_U) || n->pte >> 61 || i == 0) {
            return;
        }
        a = ppn * 4096;
    }
    if ((n->pte >> 61 & 3 && !pbmte) || (n->pte >> 61 & 3) == 3 ||
        (n->pte >> 63 && (!napot || i > 0 || (ppn & 15) != 8))) {
        return;
    }
    if (access == VCPU_FETCH && !(n->pte & PTE_X)) {
        return;
    }
    if (access == VCPU_WRITE && !(n->pte & PTE_W)) {
        return;
    }
    if (access == VCPU_READ && !(n->pte & PTE_R) && !(status & MSTATUS_MXR && n->pte & PTE_X)) {
        return;
    }
    if (priv == PRIV_U ? !(n->pte & PTE_U)
                       : n->pte & PTE_U && (access == VCPU_FETCH || !(status & MSTATUS_SUM))) {
        return;
    }
    n->size = n->pte >> 63 ? 65536 : UINT64_C(4096) << 9 * i;
    if (n->pte >> 63) {
        ppn &= ~UINT64_C(15);
    }
    if (ppn * 4096 % n->size) {
        return;
    }
    if ((!(n->pte & PTE_A) || (access == VCPU_WRITE && !(n->pte & PTE_D))) &&
        !(csr(m, 0x30a) >> 61 & 1)) {
        return;
    }
    n->page_fault = false;
    n->pte |= PTE_A | (access == VCPU_WRITE ? PTE_D : 0);
    n->phys = ppn * 4096 + n->vaddr % n->size;
    n->access_fault = !in_ram(n->phys);
}

/* Tables from 1 MiB on, of which each entry is something that is nearly right. */
static void random_tables(struct machine *m, GRand *rand, unsigned tables)
{
    uint64_t first = RAM_BASE + (1 << 20);

    for (unsigned t = 0; t < tables; t++) {
        for (unsigned i = 0; i < 4; i++) { /* entries 0, 1, 510, 511 */
            uint64_t *entry = machine_ram(m, first + t * 4096) + (i < 2 ? i : 508 + i);
            uint64_t ppn = (first >> 12) + (uint64_t)g_rand_int_range(rand, 0, (int)tables),
                     flags = PTE_V;

            if (g_rand_int_range(rand, 0, 3) == 0) { /* a leaf */
                flags |= (unsigned)g_rand_int_range(rand, 0, 256) | PTE_V | PTE_R;
                if (g_rand_boolean(rand)) {
                    ppn = (RAM_BASE >> 12) + ((uint64_t)g_rand_int_range(rand, 0, 4096) &
                                              (g_rand_boolean(rand) ? 0xe00 : 0xfff));
                }
                if (g_rand_int_range(rand, 0, 8) == 0) {
                    flags |= UINT64_C(1) << 63;
                    ppn = (ppn & ~UINT64_C(15)) | 8;
                }
                if (g_rand_int_range(rand, 0, 8) == 0) {
                    flags |= (uint64_t)g_rand_int_range(rand, 0, 4) << 61;
                }
            } else if (g_rand_int_range(rand, 0, 10) == 0) {
                flags = (unsigned)g_rand_int_range(rand, 0, 256);
            }
            if (g_rand_int_range(rand, 0, 50) == 0) {
                flags |= UINT64_C(1) << g_rand_int_range(rand, 0, 64);
            }
            *entry = ppn << 10 | flags;
        }
    }
}

static uint64_t random_address(GRand *rand, int levels)
{
    static const uint16_t indices[] = {0, 1, 510, 511};
    uint64_t address = 0;

    for (int i = 0; i < levels; i++) {
        address = address << 9 | indices[g_rand_int_range(rand, 0, 4)];
    }
    address = address << 12 | (uint64_t)g_rand_int_range(rand, 0, 4096);
    if (g_rand_int_range(rand, 0, 20)) {
        address = (uint64_t)((int64_t)(address << (52 - 9 * levels)) >> (52 - 9 * levels));
    }
    return address;
}

static void test_walk_random(void)
{
    struct machine *m = machine_new("rv64,svnapot=on,svpbmt=on", true);
    GRand *rand = g_rand_new_with_seed(3);
    unsigned done = 0;

    set_csr(m, 0x3b0, UINT64_MAX);
    set_csr(m, 0x3a0, 0x1f);
    for (int round = 0; round < 3000; round++) {
        int mode = g_rand_int_range(rand, 8, 11);

        random_tables(m, rand, 6);
        dbt_tlb_flush(m->cpu);
        riscv_set_privilege(m->cpu, PRIV_M);
        set_csr(m, 0x300, g_rand_int(rand) & (MSTATUS_SUM | MSTATUS_MXR));
        set_csr(m, 0x30a, (uint64_t)g_rand_int(rand) << 32);
        set_csr(m, 0x180, (uint64_t)mode << 60 | (RAM_BASE + (1 << 20)) >> 12);
        riscv_set_privilege(m->cpu, (unsigned)g_rand_int_range(rand, 0, 2));
        for (int k = 0; k < 20; k++) {
            enum vcpu_access access = (enum vcpu_access)g_rand_int_range(rand, 0, 3);
            struct naive n = {.m = m, .vaddr = random_address(rand, mode - 5)};
            struct mmu_page page = {0};
            bool found;

            naive_walk(&n, access, riscv_get_privilege(m->cpu));
            found = riscv_system_mmu_ops.translate(m->cpu, n.vaddr, access, &page);
            if (n.page_fault || n.access_fault) {
                g_assert_false(found);
                g_assert_cmphex(m->cpu->fault_addr, ==, n.vaddr);
                g_assert_cmpint(m->cpu->fault_access, ==, access);
                g_assert_cmpint(m->cpu->fault_kind, ==,
                                n.page_fault ? VCPU_FAULT_PROT : VCPU_FAULT_BUS);
                continue;
            }
            g_assert_true(found);
            g_assert_cmphex(page.phys, ==, n.phys & ~UINT64_C(4095));
            g_assert_cmphex(page.size, ==, n.size);
            g_assert_true(page.global == n.global);
            g_assert_cmphex(*machine_ram(m, n.pte_at), ==, n.pte);
            g_assert_true(page.host == m->host + (page.phys - RAM_BASE));
            g_assert_true(access == VCPU_READ    ? page.read
                          : access == VCPU_WRITE ? page.write
                                                 : page.exec);
            /* A store that has to set D comes here; nothing else is more than the entry says. */
            g_assert_true(!page.write || (n.pte & PTE_D && n.pte & PTE_W));
            g_assert_true(!page.exec || n.pte & PTE_X);
            done++;
        }
    }
    g_assert_cmpuint(done, >, 1000);
    g_rand_free(rand);
    machine_free(m);
}

/* Without paging, and the privilege of loads and stores with MPRV. */
static void test_bare(void)
{
    struct machine *m = machine_new("rv64", true);
    const struct mmu_ops *ops = &riscv_system_mmu_ops;
    struct mmu_page page;
    uint64_t value, phys;

    g_assert_true(ops->translate(m->cpu, RAM_BASE + 0x1234, VCPU_READ, &page));
    g_assert_cmphex(page.phys, ==, RAM_BASE + 0x1000);
    g_assert_true(page.host == m->host + 0x1000 && page.read && page.write && !page.exec);
    g_assert_true(ops->translate(m->cpu, RAM_BASE, VCPU_FETCH, &page));
    g_assert_true(page.exec && !page.read && !page.write);
    /* Registers: no memory, and no instructions. */
    g_assert_true(ops->translate(m->cpu, IO_BASE, VCPU_WRITE, &page));
    g_assert_null(page.host);
    g_assert_true(ops->store(m->cpu, IO_BASE, IO_BASE, 4, 77));
    g_assert_true(ops->load(m->cpu, IO_BASE + 8, IO_BASE + 8, 4, &value));
    g_assert_cmpuint(value, ==, 85);
    g_assert_false(ops->translate(m->cpu, IO_BASE, VCPU_FETCH, &page));
    g_assert_cmpint(m->cpu->fault_kind, ==, VCPU_FAULT_BUS);
    /* ROM can be read in place only. */
    g_assert_true(ops->translate(m->cpu, ROM_BASE, VCPU_WRITE, &page));
    g_assert_false(page.write);
    g_assert_true(ops->translate(m->cpu, ROM_BASE, VCPU_READ, &page));
    g_assert_true(page.host && page.read && !page.write);
    /* Nothing. */
    g_assert_false(ops->translate(m->cpu, 0x40000000, VCPU_WRITE, &page));
    g_assert_cmpint(m->cpu->fault_access, ==, VCPU_WRITE);
    g_assert_cmpint(m->cpu->fault_kind, ==, VCPU_FAULT_BUS);
    g_assert_false(ops->load(m->cpu, 0x40000000, 0x40000000, 8, &value));
    g_assert_cmpint(m->cpu->fault_kind, ==, VCPU_FAULT_BUS);
    /* Supervisor mode: the PMP has no entry. */
    riscv_set_privilege(m->cpu, PRIV_S);
    g_assert_false(ops->translate(m->cpu, RAM_BASE, VCPU_READ, &page));
    riscv_set_privilege(m->cpu, PRIV_M);
    set_csr(m, 0x300, MSTATUS_MPRV | (uint64_t)PRIV_S << 11);
    g_assert_false(ops->translate(m->cpu, RAM_BASE, VCPU_READ, &page));
    g_assert_true(ops->translate(m->cpu, RAM_BASE, VCPU_FETCH, &page));
    /* A page of which it may read a part. */
    set_csr(m, 0x3b0, (RAM_BASE + 0x100) >> 2);
    set_csr(m, 0x3a0, 0x09);
    g_assert_true(ops->translate(m->cpu, RAM_BASE, VCPU_READ, &page));
    g_assert_null(page.host);
    g_assert_true(ops->load(m->cpu, RAM_BASE + 0xf8, RAM_BASE + 0xf8, 8, &value));
    g_assert_false(ops->load(m->cpu, RAM_BASE + 0xfc, RAM_BASE + 0xfc, 8, &value));
    g_assert_false(ops->store(m->cpu, RAM_BASE, RAM_BASE, 8, 0));
    g_assert_true(riscv_debug_translate(m->cpu, RAM_BASE + 0x999, &phys));
    g_assert_cmphex(phys, ==, RAM_BASE + 0x999);
    machine_free(m);
}

/* Page tables are protected too, and where they aren't memory there is an access fault. */
static void test_table_access(void)
{
    struct machine *m = machine_new("rv64", true);
    const struct mmu_ops *ops = &riscv_system_mmu_ops;
    uint64_t table = RAM_BASE + 0x4000, phys;
    struct mmu_page page;

    *machine_ram(m, table + 16) = RAM_BASE >> 2 | PTE_V | PTE_R | PTE_W; /* 1 GiB at 0x80000000 */
    set_csr(m, 0x180, UINT64_C(8) << 60 | table >> 12);
    set_csr(m, 0x3b0, table >> 2 | 0x1ff);
    set_csr(m, 0x3b1, UINT64_MAX);
    set_csr(m, 0x3a0, 0x1f18); /* the table's page: no rights */
    riscv_set_privilege(m->cpu, PRIV_S);
    g_assert_false(ops->translate(m->cpu, RAM_BASE, VCPU_READ, &page));
    g_assert_cmpint(m->cpu->fault_kind, ==, VCPU_FAULT_BUS);
    set_csr(m, 0x3a0, 0x1f19); /* it can be read: A can't be set */
    g_assert_false(ops->translate(m->cpu, RAM_BASE, VCPU_READ, &page));
    g_assert_cmpint(m->cpu->fault_kind, ==, VCPU_FAULT_BUS);
    g_assert_true(riscv_debug_translate(m->cpu, RAM_BASE + 0x123456, &phys));
    g_assert_cmphex(phys, ==, RAM_BASE + 0x123456);
    g_assert_cmphex(*machine_ram(m, table + 16) & (PTE_A | PTE_D), ==, 0);
    set_csr(m, 0x30a, 0); /* not by hardware: a page fault says so (Svade) */
    g_assert_false(ops->translate(m->cpu, RAM_BASE, VCPU_READ, &page));
    g_assert_cmpint(m->cpu->fault_kind, ==, VCPU_FAULT_PROT);
    set_csr(m, 0x30a, MENVCFG_ADUE);
    set_csr(m, 0x3a0, 0x1f1b);
    g_assert_true(ops->translate(m->cpu, RAM_BASE + 0x5678, VCPU_READ, &page));
    g_assert_true(page.read && !page.write && page.size == 1 << 30);
    g_assert_cmphex(*machine_ram(m, table + 16) & (PTE_A | PTE_D), ==, PTE_A);
    g_assert_true(ops->translate(m->cpu, RAM_BASE + 0x5678, VCPU_WRITE, &page));
    g_assert_true(page.write);
    g_assert_cmphex(*machine_ram(m, table + 16) & (PTE_A | PTE_D), ==, PTE_A | PTE_D);
    set_csr(m, 0x180, UINT64_C(8) << 60 | 0x40000000 >> 12);
    g_assert_false(ops->translate(m->cpu, RAM_BASE, VCPU_READ, &page));
    g_assert_cmpint(m->cpu->fault_kind, ==, VCPU_FAULT_BUS);
    machine_free(m);
}

/* One number for each view of memory, and none that makes no difference. */
static void test_contexts(void)
{
    struct machine *m = machine_new("rv64", true);
    uint64_t machine, bare, user, supervisor;

    machine = mmu_context(m->hart);
    set_csr(m, 0x300, MSTATUS_SUM | MSTATUS_MXR);
    g_assert_cmphex(mmu_context(m->hart), ==, machine);
    riscv_set_privilege(m->cpu, PRIV_S);
    bare = mmu_context(m->hart);
    g_assert_cmphex(bare, !=, machine);
    set_csr(m, 0x100, 0);
    g_assert_cmphex(mmu_context(m->hart), ==, bare);
    set_csr(m, 0x180, UINT64_C(8) << 60);
    supervisor = mmu_context(m->hart);
    g_assert_cmphex(supervisor, !=, bare);
    set_csr(m, 0x180, UINT64_C(8) << 60 | 123); /* another table of the same ASID */
    g_assert_cmphex(mmu_context(m->hart), ==, supervisor);
    set_csr(m, 0x100, MSTATUS_SUM);
    g_assert_cmphex(mmu_context(m->hart), !=, supervisor);
    riscv_set_privilege(m->cpu, PRIV_U);
    user = mmu_context(m->hart);
    set_csr(m, 0x100, 0);
    g_assert_cmphex(mmu_context(m->hart), ==, user);
    set_csr(m, 0x180, UINT64_C(8) << 60 | UINT64_C(1) << 44);
    g_assert_cmphex(mmu_context(m->hart), !=, user);
    riscv_set_privilege(m->cpu, PRIV_M);
    g_assert_cmphex(mmu_context(m->hart), ==, machine);
    g_assert_cmphex(m->hart->tlb_context, ==, machine);
    machine_free(m);
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    g_test_add_func("/riscv/pmp/random", test_pmp_random);
    g_test_add_func("/riscv/pmp/locks", test_pmp_locks);
    g_test_add_func("/riscv/pmp/mml", test_pmp_mml);
    g_test_add_func("/riscv/mmu/random", test_walk_random);
    g_test_add_func("/riscv/mmu/bare", test_bare);
    g_test_add_func("/riscv/mmu/tables", test_table_access);
    g_test_add_func("/riscv/mmu/contexts", test_contexts);
    return g_test_run();
}
