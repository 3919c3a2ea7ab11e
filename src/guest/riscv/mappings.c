/* What a hart's page tables map, written out for people (Privileged 20240411, 10.3 to 10.6). */
#include <inttypes.h>

#include "guest/riscv/system_priv.h"
#include "memory/memory.h"

enum {
    LEVEL_BITS = 9,
    ENTRIES = 1 << LEVEL_BITS,
    PTE_SIZE = 8,
    PTE_PPN_SHIFT = 10,
    PTE_V = 1,
    PTE_LEAF = 0xe,     /* R, W, X */
    PTE_SHOWN = 0xfe,   /* all but V */
    MAX_TABLES = 20000, /* a guest may make its tables lead to themselves */
};

/* Pages of which each follows the one before, with the same attributes. */
struct run {
    uint64_t vaddr, phys, size; /* size 0: none */
    unsigned attributes;
};

struct listing {
    struct riscv_hart *h;
    GString *out;
    struct run run;
    unsigned unused; /* bits of an address, which equal the one below them */
    unsigned tables; /* that were looked at */
};

static void put_run(struct listing *l)
{
    static const char letters[] = "rwxugad";
    char text[sizeof(letters)] = {0};

    if (!l->run.size) {
        return;
    }
    for (unsigned i = 0; letters[i]; i++) {
        text[i] = l->run.attributes >> (i + 1) & 1 ? letters[i] : '-';
    }
    g_string_append_printf(l->out, "%016" PRIx64 " %016" PRIx64 " %016" PRIx64 " %s\n",
                           l->run.vaddr, l->run.phys, l->run.size, text);
}

static void add_page(struct listing *l, uint64_t vaddr, uint64_t phys, uint64_t size,
                     unsigned attributes)
{
    struct run *run = &l->run;

    if (run->size && run->vaddr + run->size == vaddr && run->phys + run->size == phys &&
        run->attributes == attributes) {
        run->size += size;
        return;
    }
    put_run(l);
    *run = (struct run){vaddr, phys, size, attributes};
}

/* Recursion is as deep as there are levels. */
static void list_table(struct listing *l, uint64_t table, unsigned level, uint64_t vaddr)
{
    unsigned shift = MMU_PAGE_BITS + LEVEL_BITS * level;
    struct memory_attrs attrs = {.memory_only = true};

    for (unsigned i = 0; i < ENTRIES && l->tables < MAX_TABLES; i++) {
        uint64_t at = vaddr | (uint64_t)i << shift, pte, phys;

        if (address_space_load(l->h->config.memory, table + i * PTE_SIZE, PTE_SIZE, &pte, attrs) !=
                MEMORY_OK ||
            !(pte & PTE_V)) {
            continue;
        }
        phys = (pte >> PTE_PPN_SHIFT & SATP_PPN) << MMU_PAGE_BITS;
        if (pte & PTE_LEAF) {
            at = (uint64_t)((int64_t)(at << l->unused) >> l->unused);
            add_page(l, at, phys, UINT64_C(1) << shift, pte & PTE_SHOWN);
        } else if (level) {
            l->tables++;
            list_table(l, phys, level - 1, at);
        }
    }
}

void hart_list_mappings(struct vcpu *cpu, GString *out)
{
    struct riscv_hart *h = riscv_hart(cpu);
    struct listing l = {.h = h, .out = out};
    uint64_t mode = h->satp >> SATP_MODE_SHIFT, root = (h->satp & SATP_PPN) << MMU_PAGE_BITS;
    unsigned levels;

    if (mode == RISCV_SATP_BARE) {
        g_string_append(out, "No translation or protection\n");
        return;
    }
    levels = 3 + (unsigned)mode - RISCV_SATP_SV39;
    l.unused = 64 - MMU_PAGE_BITS - LEVEL_BITS * levels;
    g_string_append(out, "vaddr            paddr            size             attr\n"
                         "---------------- ---------------- ---------------- -------\n");
    list_table(&l, root, levels - 1, 0);
    put_run(&l);
    if (l.tables >= MAX_TABLES) {
        g_string_append(out, "... and more\n");
    }
}
