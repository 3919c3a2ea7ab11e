/*
 * RISC-V address translation: Privileged 20240411, chapters 10.3 to 10.6 (Sv39, Sv48, Sv57),
 * Svnapot, Svpbmt, Svadu, and what the translator asks about memory in system mode (dbt/mmu.h).
 */
#include <string.h>

#include "guest/riscv/system_priv.h"

#include <inttypes.h>

#include "memory/memory.h"
#include "util/log.h"

enum {
    PTE_V = 1 << 0,
    PTE_R = 1 << 1,
    PTE_W = 1 << 2,
    PTE_X = 1 << 3,
    PTE_U = 1 << 4,
    PTE_G = 1 << 5,
    PTE_A = 1 << 6,
    PTE_D = 1 << 7,
    PTE_PPN_SHIFT = 10,
    PTE_PBMT_SHIFT = 61,
    PTE_SIZE = 8,
    LEVEL_BITS = 9,
    NAPOT_SIZE = 64 << 10,
    NAPOT_PPN = 8, /* the only size there is: 64 KiB, PPN[3:0] = 1000 */
};
#define PTE_PBMT     (UINT64_C(3) << PTE_PBMT_SHIFT)
#define PTE_N        (UINT64_C(1) << 63)
#define PTE_RESERVED (UINT64_C(0x7f) << 54)
#define PTE_PPN(pte) ((pte) >> PTE_PPN_SHIFT & SATP_PPN)

/* A walk through the page tables: what is asked, and the answer. */
struct walk {
    uint64_t vaddr;
    enum vcpu_access access;
    enum riscv_priv priv;
    bool debug; /* no permissions, no changes */

    uint64_t phys; /* of vaddr */
    uint64_t size; /* of the page, bytes */
    bool global, read, write, exec;
};

enum walk_result { WALK_DONE, WALK_AGAIN, WALK_PAGE_FAULT, WALK_ACCESS_FAULT };

/* ---- What is remembered ---- */

/* Where the table that is indexed with the bits of vaddr at this level would be. */
static struct walk_cache_entry *walk_entry(struct riscv_hart *h, uint64_t vaddr, unsigned level)
{
    uint64_t prefix = vaddr >> (MMU_PAGE_BITS + LEVEL_BITS * (level + 1));

    return &h->walks.entry[level][prefix % WALK_CACHE_SIZE];
}

static void forget_walks(struct riscv_hart *h)
{
    memset(&h->walks, 0, sizeof(h->walks));
    h->walks.window.first = 1;
}

/* Of one address, in all address spaces. */
static void forget_walks_at(struct riscv_hart *h, uint64_t vaddr)
{
    for (unsigned level = 0; level < WALK_CACHE_LEVELS; level++) {
        walk_entry(h, vaddr, level)->satp = 0;
    }
}

/* The window that the page at phys is in; NULL: it isn't RAM, or protection differs in it. */
static const struct ram_window *find_window(struct riscv_hart *h, uint64_t phys)
{
    struct ram_window *w = &h->walks.window;
    uint64_t last = phys | (MMU_PAGE_SIZE - 1), above = UINT64_MAX;
    struct memory_range range;

    if (phys >= w->first && last <= w->last) {
        return w;
    }
    address_space_look_up(h->config.memory, phys, &range);
    if (!range.host || !range.ram || !range.writable || range.length < MMU_PAGE_SIZE) {
        return NULL;
    }
    above = phys + (range.length - 1);
    *w = (struct ram_window){
        .first = phys,
        .host = range.host,
        .ram = range.ram,
        .ram_offset = range.ram_offset,
    };
    w->rights = pmp_rights(h, phys, &w->first, &above);
    w->last = above;
    return last <= w->last ? w : NULL;
}

/* ---- Page tables ---- */

/* Nobody wants to know of stores to phys. */
static bool in_unwatched_ram(struct riscv_hart *h, uint64_t phys)
{
    const struct ram_window *w = find_window(h, phys & ~(uint64_t)(MMU_PAGE_SIZE - 1));

    return w && !ram_block_is_watched(w->ram, w->ram_offset + (phys - w->first));
}

/* The entry at phys. *host: where it is, if it is in RAM that can be written; else NULL. */
static bool read_pte(struct riscv_hart *h, uint64_t phys, uint64_t *pte, uint64_t **host)
{
    const struct ram_window *window = find_window(h, phys & ~(uint64_t)(MMU_PAGE_SIZE - 1));
    struct memory_range range;
    struct memory_attrs attrs = {0};

    if (window && !(~window->rights & PMP_RW)) {
        *host = (uint64_t *)(void *)(window->host + (phys - window->first));
        *pte = GUINT64_FROM_LE(__atomic_load_n(*host, __ATOMIC_ACQUIRE));
        return true;
    }
    if (pmp_check(h, phys, PTE_SIZE, VCPU_READ, PRIV_S) != PMP_ALLOWED) {
        return false;
    }
    address_space_look_up(h->config.memory, phys, &range);
    *host = NULL;
    if (range.host && range.length >= PTE_SIZE) {
        *host = range.writable ? (uint64_t *)(void *)range.host : NULL;
        *pte = GUINT64_FROM_LE(__atomic_load_n((uint64_t *)(void *)range.host, __ATOMIC_ACQUIRE));
        return true;
    }
    return address_space_load(h->config.memory, phys, PTE_SIZE, pte, attrs) == MEMORY_OK;
}

/* 10.3.2, steps 7 and 9: sets A, and D for a store, if hardware does so here. */
static enum walk_result update_pte(struct riscv_hart *h, const struct walk *w, uint64_t phys,
                                   uint64_t pte, uint64_t *host, uint64_t *updated)
{
    uint64_t expected = GUINT64_TO_LE(pte);
    bool by_hardware = hart_has(h, RISCV_EXT_SVADU) ? (h->menvcfg & MENVCFG_ADUE) != 0
                                                    : !hart_has(h, RISCV_EXT_SVADE);

    *updated = pte | PTE_A | (w->access == VCPU_WRITE ? PTE_D : 0);
    if (*updated == pte) {
        return WALK_DONE;
    }
    if (!by_hardware) {
        return WALK_PAGE_FAULT;
    }
    if (!host || pmp_check(h, phys, PTE_SIZE, VCPU_WRITE, PRIV_S) != PMP_ALLOWED) {
        return WALK_ACCESS_FAULT;
    }
    if (!__atomic_compare_exchange_n(host, &expected, GUINT64_TO_LE(*updated), false,
                                     __ATOMIC_SEQ_CST, __ATOMIC_SEQ_CST)) {
        return WALK_AGAIN;
    }
    if (!in_unwatched_ram(h, phys)) {
        address_space_written(h->config.memory, phys, PTE_SIZE);
    }
    return WALK_DONE;
}

/* Attribute bits of an entry that are reserved on this hart, or in this place. */
static bool has_reserved_bits(const struct riscv_hart *h, uint64_t pte, bool leaf)
{
    bool pbmt = hart_has(h, RISCV_EXT_SVPBMT) && h->menvcfg & MENVCFG_PBMTE;

    if (pte & PTE_RESERVED) {
        return true;
    }
    if (!leaf) {
        return (pte & (PTE_D | PTE_A | PTE_U | PTE_PBMT | PTE_N)) != 0;
    }
    return (pte & PTE_PBMT && (!pbmt || (pte & PTE_PBMT) == PTE_PBMT)) ||
           (pte & PTE_N && !hart_has(h, RISCV_EXT_SVNAPOT));
}

static bool is_permitted(const struct riscv_hart *h, const struct walk *w, uint64_t pte)
{
    if (w->priv == PRIV_U && !(pte & PTE_U)) {
        return false;
    }
    if (w->priv == PRIV_S && pte & PTE_U &&
        (w->access == VCPU_FETCH || !(h->mstatus & MSTATUS_SUM))) {
        return false;
    }
    switch (w->access) {
    case VCPU_FETCH: return w->exec;
    case VCPU_WRITE: return w->write;
    default: return w->read;
    }
}

/* A leaf at this level, read from phys. */
static enum walk_result walk_leaf(struct riscv_hart *h, struct walk *w, unsigned level,
                                  uint64_t phys, uint64_t pte, uint64_t *host)
{
    uint64_t ppn = PTE_PPN(pte), updated = pte;
    enum walk_result result;

    w->size = UINT64_C(1) << (MMU_PAGE_BITS + LEVEL_BITS * level);
    if (pte & PTE_N) {
        if (level || (ppn & (2 * NAPOT_PPN - 1)) != NAPOT_PPN) {
            return WALK_PAGE_FAULT;
        }
        w->size = NAPOT_SIZE;
        ppn &= ~(uint64_t)NAPOT_PPN;
    }
    if ((ppn << MMU_PAGE_BITS) & (w->size - 1)) {
        return WALK_PAGE_FAULT;
    }
    w->read = pte & PTE_R || (pte & PTE_X && h->mstatus & MSTATUS_MXR);
    w->write = pte & PTE_W;
    w->exec = pte & PTE_X;
    w->global |= (pte & PTE_G) != 0;
    w->phys = ppn << MMU_PAGE_BITS | (w->vaddr & (w->size - 1));
    if (w->debug) {
        return WALK_DONE;
    }
    if (!is_permitted(h, w, pte)) {
        return WALK_PAGE_FAULT;
    }
    result = update_pte(h, w, phys, pte, host, &updated);
    w->write &= (updated & PTE_D) != 0; /* else the first store has to come here */
    return result;
}

/* Where the walk can begin: *levels are left, the first one in the table at *phys, *host (NULL:
 * it isn't remembered). */
static void start_walk(struct riscv_hart *h, struct walk *w, unsigned *levels, uint64_t *phys,
                       uint64_t **host)
{
    for (unsigned level = 0; level < WALK_CACHE_LEVELS && level < *levels; level++) {
        const struct walk_cache_entry *e = walk_entry(h, w->vaddr, level);

        if (e->satp == h->satp &&
            e->prefix == w->vaddr >> (MMU_PAGE_BITS + LEVEL_BITS * (level + 1))) {
            *levels = level + 1;
            *phys = e->phys;
            *host = e->host;
            w->global = e->global;
            return;
        }
    }
    *phys = (h->satp & SATP_PPN) << MMU_PAGE_BITS;
    *host = NULL;
}

/* The table that is used at this level was found; host: an entry of it, or NULL. */
static void remember_walk(struct riscv_hart *h, const struct walk *w, unsigned level,
                          uint64_t table, uint64_t phys, uint64_t *host)
{
    if (host && level < WALK_CACHE_LEVELS) {
        *walk_entry(h, w->vaddr, level) = (struct walk_cache_entry){
            .satp = h->satp,
            .prefix = w->vaddr >> (MMU_PAGE_BITS + LEVEL_BITS * (level + 1)),
            .host = host - (phys - table) / PTE_SIZE,
            .phys = table,
            .global = w->global,
        };
    }
}

/* 10.3.2. WALK_AGAIN: an entry was changed by another hart meanwhile. */
static enum walk_result walk_once(struct riscv_hart *h, struct walk *w)
{
    unsigned levels = 3 + (unsigned)(h->satp >> SATP_MODE_SHIFT) - RISCV_SATP_SV39;
    unsigned unused = 64 - MMU_PAGE_BITS - LEVEL_BITS * levels;
    uint64_t table, *known;

    w->global = false;
    /* All bits above the highest level's equal its top bit. */
    if ((uint64_t)((int64_t)(w->vaddr << unused) >> unused) != w->vaddr) {
        return WALK_PAGE_FAULT;
    }
    start_walk(h, w, &levels, &table, &known);
    for (unsigned level = levels; level-- > 0;) {
        unsigned shift = MMU_PAGE_BITS + LEVEL_BITS * level;
        unsigned index = w->vaddr >> shift & ((1 << LEVEL_BITS) - 1);
        uint64_t phys = table + index * PTE_SIZE, pte, *host;
        bool leaf;

        if (known) {
            host = known + index;
            pte = GUINT64_FROM_LE(__atomic_load_n(host, __ATOMIC_ACQUIRE));
            known = NULL;
        } else if (read_pte(h, phys, &pte, &host)) {
            remember_walk(h, w, level, table, phys, host);
        } else {
            return WALK_ACCESS_FAULT;
        }
        leaf = pte & (PTE_R | PTE_X);
        if (!(pte & PTE_V) || (!leaf && pte & PTE_W) || (pte & (PTE_R | PTE_W)) == PTE_W ||
            has_reserved_bits(h, pte, leaf)) {
            return WALK_PAGE_FAULT;
        }
        if (leaf) {
            return walk_leaf(h, w, level, phys, pte, host);
        }
        w->global |= (pte & PTE_G) != 0;
        table = PTE_PPN(pte) << MMU_PAGE_BITS;
    }
    return WALK_PAGE_FAULT;
}

static enum walk_result walk(struct riscv_hart *h, struct walk *w)
{
    enum walk_result result;

    if (w->priv == PRIV_M || h->satp >> SATP_MODE_SHIFT == RISCV_SATP_BARE) {
        w->phys = w->vaddr;
        w->size = MMU_PAGE_SIZE;
        w->read = w->write = w->exec = true;
        return WALK_DONE;
    }
    do {
        result = walk_once(h, w);
    } while (result == WALK_AGAIN);
    return result;
}

bool riscv_debug_translate(struct vcpu *cpu, uint64_t vaddr, uint64_t *phys)
{
    struct riscv_hart *h = riscv_hart(cpu);
    struct walk w = {.vaddr = vaddr, .priv = hart_data_priv(h), .debug = true};

    if (walk(h, &w) != WALK_DONE) {
        return false;
    }
    *phys = w.phys;
    return true;
}

/* ---- What the translator asks ---- */

static const char *const access_names[] = {"load", "store", "fetch"};

static void log_invalid(const struct riscv_hart *h, enum vcpu_access access, uint64_t phys)
{
    if (h->config.log) {
        log_write(h->config.log, LOG_INVALID_MEM,
                  "invalid %s: hart:%" PRIu64 ", pc:0x%016" PRIx64 ", physical address:0x%" PRIx64
                  "\n",
                  access_names[access], h->config.hart_id, h->rv.cpu.pc, phys);
    }
}

/* Page faults are told from access faults by fault_kind (system.c makes the exception of it). */
static bool fault(struct vcpu *cpu, uint64_t vaddr, enum vcpu_access access,
                  enum vcpu_fault_kind kind)
{
    cpu->fault_addr = vaddr;
    cpu->fault_access = (uint8_t)access;
    cpu->fault_kind = (uint8_t)kind;
    return false;
}

/* Instructions come from memory only. Where protection differs inside the page the first bytes
 * decide, each time. */
static bool find_code(struct riscv_hart *h, const struct walk *w, struct mmu_page *page)
{
    enum riscv_priv priv = (enum riscv_priv)h->priv;
    const struct ram_window *window = find_window(h, page->phys);
    enum pmp_result exec;
    struct memory_range range;

    if (window && window->rights & PMP_X && priv != PRIV_M) {
        page->exec = true;
        page->host = window->host + (page->phys - window->first);
        return true;
    }
    exec = pmp_check(h, page->phys, MMU_PAGE_SIZE, VCPU_FETCH, priv);
    page->exec = exec == PMP_ALLOWED;
    if (exec == PMP_PARTLY) {
        exec = pmp_check(h, w->phys, 2, VCPU_FETCH, priv);
    }
    address_space_look_up(h->config.memory, page->phys, &range);
    page->host = range.length >= MMU_PAGE_SIZE ? range.host : NULL;
    return exec == PMP_ALLOWED && page->host;
}

/*
 * What loads and stores find in the page, which may be read and written as the page tables say.
 * Without host memory each access goes to load or store: registers, pages in which protection
 * differs.
 */
static bool find_data(struct riscv_hart *h, const struct walk *w, struct mmu_page *page)
{
    enum riscv_priv priv = hart_data_priv(h);
    const struct ram_window *window = find_window(h, page->phys);
    enum pmp_result read, write;
    struct memory_range range;

    if (window && priv != PRIV_M && !(~window->rights & PMP_RW)) {
        uint64_t offset = page->phys - window->first;

        page->read = w->read;
        page->write = w->write;
        page->host = window->host + offset;
        page->watch_write = ram_block_is_watched(window->ram, window->ram_offset + offset);
        return w->access == VCPU_WRITE ? page->write : page->read;
    }
    read = pmp_check(h, page->phys, MMU_PAGE_SIZE, VCPU_READ, priv);
    write = pmp_check(h, page->phys, MMU_PAGE_SIZE, VCPU_WRITE, priv);
    page->read = w->read && read != PMP_DENIED;
    page->write = w->write && write != PMP_DENIED;
    if (!(w->access == VCPU_WRITE ? page->write : page->read)) {
        return false;
    }
    address_space_look_up(h->config.memory, page->phys, &range);
    if (range.host && range.length >= MMU_PAGE_SIZE && read != PMP_PARTLY) {
        page->host = range.host;
        page->write &= range.writable; /* ROM: stores go to store */
        page->watch_write = range.ram && ram_block_is_watched(range.ram, range.ram_offset);
        return true;
    }
    /* Where nothing is, it is known here what kind of access failed: load and store are also called
     * for the two halves of an atomic one. */
    address_space_look_up(h->config.memory, w->phys, &range);
    if (!range.region) {
        log_invalid(h, w->access, w->phys);
    }
    return range.region != NULL;
}

/* A page is for fetching or for data, never both: they may have different privileges (MPRV), and
 * what a page of user mode allows supervisor mode differs (SUM). */
static void leave_shared_context(struct riscv_hart *h, enum vcpu_access access);

static bool find_page(struct vcpu *cpu, uint64_t vaddr, enum vcpu_access access,
                      struct mmu_page *page)
{
    struct riscv_hart *h = riscv_hart(cpu);
    struct walk w = {
        .vaddr = vaddr,
        .access = access,
        .priv = access == VCPU_FETCH ? (enum riscv_priv)h->priv : hart_data_priv(h),
    };

    switch (walk(h, &w)) {
    case WALK_DONE: break;
    case WALK_ACCESS_FAULT: return fault(cpu, vaddr, access, VCPU_FAULT_BUS);
    default: return fault(cpu, vaddr, access, VCPU_FAULT_PROT);
    }
    if (!w.global) {
        leave_shared_context(h, access);
    }
    *page = (struct mmu_page){
        .phys = w.phys & ~(uint64_t)(MMU_PAGE_SIZE - 1),
        .global = w.global,
        .size = w.size,
    };
    if (!(access == VCPU_FETCH ? find_code(h, &w, page) : find_data(h, &w, page))) {
        return fault(cpu, vaddr, access, VCPU_FAULT_BUS);
    }
    return true;
}

static bool translate(struct vcpu *cpu, uint64_t vaddr, enum vcpu_access access,
                      struct mmu_page *page)
{
    const struct riscv_hart *h = riscv_hart(cpu);
    bool found = find_page(cpu, vaddr, access, page);

    if (h->config.log && log_enabled(h->config.log, LOG_MMU)) {
        g_autofree char *to =
            found ? g_strdup_printf("0x%016" PRIx64 " (%s%s%s)", page->phys, page->read ? "r" : "",
                                    page->write ? "w" : "", page->exec ? "x" : "")
                  : g_strdup(cpu->fault_kind == VCPU_FAULT_BUS ? "access fault" : "page fault");

        log_write(h->config.log, LOG_MMU,
                  "mmu: hart:%" PRIu64 ", pc:0x%016" PRIx64 ", %s:0x%016" PRIx64 " -> %s\n",
                  h->config.hart_id, cpu->pc, access_names[access], vaddr, to);
    }
    return found;
}

static bool load(struct vcpu *cpu, uint64_t vaddr, uint64_t phys, unsigned size, uint64_t *value)
{
    struct riscv_hart *h = riscv_hart(cpu);
    struct memory_attrs attrs = {0};

    if (pmp_check(h, phys, size, VCPU_READ, hart_data_priv(h)) != PMP_ALLOWED ||
        address_space_load(h->config.memory, phys, size, value, attrs) != MEMORY_OK) {
        log_invalid(h, VCPU_READ, phys);
        return fault(cpu, vaddr, VCPU_READ, VCPU_FAULT_BUS);
    }
    return true;
}

static bool store(struct vcpu *cpu, uint64_t vaddr, uint64_t phys, unsigned size, uint64_t value)
{
    struct riscv_hart *h = riscv_hart(cpu);
    struct memory_attrs attrs = {0};

    if (pmp_check(h, phys, size, VCPU_WRITE, hart_data_priv(h)) != PMP_ALLOWED ||
        address_space_store(h->config.memory, phys, size, value, attrs) != MEMORY_OK) {
        log_invalid(h, VCPU_WRITE, phys);
        return fault(cpu, vaddr, VCPU_WRITE, VCPU_FAULT_BUS);
    }
    return true;
}

/* The translator has dealt with code already. */
static void written(struct vcpu *cpu, uint64_t phys, unsigned size)
{
    struct memory_range range;

    address_space_look_up(riscv_hart(cpu)->config.memory, phys, &range);
    if (range.ram) {
        ram_block_set_dirty(range.ram, range.ram_offset, size);
    }
}

static void code_page(struct vcpu *cpu, uint64_t phys)
{
    struct memory_range range;

    address_space_look_up(riscv_hart(cpu)->config.memory, phys, &range);
    if (range.ram) {
        ram_block_set_code(range.ram, range.ram_offset);
    }
}

static void flushed(struct vcpu *cpu)
{
    forget_walks(riscv_hart(cpu));
}

const struct mmu_ops riscv_system_mmu_ops = {
    .flushed = flushed,
    .translate = translate,
    .load = load,
    .store = store,
    .written = written,
    .code_page = code_page,
};

/* ---- TLB contexts ---- */

enum { CONTEXT_SHARED = 1 << 6, CONTEXT_ASID_SHIFT = 8 }; /* and the mode above it */
#define CONTEXT_ASID (UINT64_C(0xffff) << CONTEXT_ASID_SHIFT)

/*
 * A context's number: what translation depends on besides the page tables, in a canonical form
 * (nothing that makes no difference). PPN of satp isn't part of it: an ASID stands for an address
 * space (10.1.11).
 *
 * Supervisor mode without SUM can't reach pages of users; what is left is usually the kernel's and
 * global. So one context serves all address spaces, until a page that isn't global is found in it.
 */
static uint64_t context_number(const struct riscv_hart *h, enum riscv_priv fetch,
                               enum riscv_priv data, bool sum, bool mxr)
{
    bool bare = h->satp >> SATP_MODE_SHIFT == RISCV_SATP_BARE;
    bool paged = !bare && (fetch != PRIV_M || data != PRIV_M);
    bool shared = fetch != PRIV_U && data != PRIV_U && !h->per_space;
    uint64_t number = (uint64_t)fetch | (uint64_t)data << 2, space = h->satp >> SATP_ASID_SHIFT;

    if (!paged) {
        return number;
    }
    sum &= data == PRIV_S;
    mxr &= data != PRIV_M;
    if (shared && !sum) {
        number |= CONTEXT_SHARED;
        space &= ~(uint64_t)0xffff;
    }
    return number | (uint64_t)sum << 4 | (uint64_t)mxr << 5 | space << CONTEXT_ASID_SHIFT;
}

uint64_t mmu_context(const struct riscv_hart *h)
{
    return context_number(h, (enum riscv_priv)h->priv, hart_data_priv(h),
                          (h->mstatus & MSTATUS_SUM) != 0, (h->mstatus & MSTATUS_MXR) != 0);
}

uint64_t mmu_code_context(const struct riscv_hart *h)
{
    return context_number(h, (enum riscv_priv)h->priv, (enum riscv_priv)h->priv, false, false);
}

/* A page that isn't global was found. */
static void leave_shared_context(struct riscv_hart *h, enum vcpu_access access)
{
    uint64_t context = access == VCPU_FETCH ? h->code_context : h->tlb_context;

    if (context & CONTEXT_SHARED) {
        h->per_space = true;
        hart_update_mode(h);
    }
}

void mmu_root_changed(struct riscv_hart *h)
{
    unsigned asid = h->satp >> SATP_ASID_SHIFT & 0xffff;
    uint64_t *root = &h->asid_roots[asid % ASID_ROOTS];

    if (*root == h->satp) {
        return;
    }
    *root = h->satp;
    /* ASID 0 also takes in the contexts without paging, which are filled again. */
    dbt_tlb_flush_contexts(&h->rv.cpu, (uint64_t)asid << CONTEXT_ASID_SHIFT,
                           CONTEXT_ASID | CONTEXT_SHARED);
    h->flushed = true;
}

void mmu_fence(struct riscv_hart *h, bool with_address, uint64_t vaddr, bool with_asid,
               uint64_t asid)
{
    uint64_t value = asid << CONTEXT_ASID_SHIFT & CONTEXT_ASID;

    if (with_address) {
        forget_walks_at(h, vaddr);
    } else {
        forget_walks(h);
    }
    if (with_address && with_asid) {
        dbt_tlb_flush_page_in(&h->rv.cpu, vaddr, value, CONTEXT_ASID | CONTEXT_SHARED);
    } else if (with_address) {
        dbt_tlb_flush_page(&h->rv.cpu, vaddr);
    } else if (with_asid) {
        dbt_tlb_flush_contexts(&h->rv.cpu, value, CONTEXT_ASID | CONTEXT_SHARED);
    } else {
        dbt_tlb_flush(&h->rv.cpu);
    }
    h->flushed = true;
}
