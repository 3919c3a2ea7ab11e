/*
 * The soft TLB: contexts, filling, flushes.
 */
#include "dbt/softmmu.h"

#include <string.h>
#include <sys/mman.h>

#include "dbt/dbt_priv.h"

static const uint64_t page_mask = ~(uint64_t)(MMU_PAGE_SIZE - 1);

enum { TAG_UNUSED = 1 };

/* ---- Entries ---- */

/* A page that is looked up elsewhere. */
static struct tlb_entry unused_entry(unsigned index)
{
    return (struct tlb_entry){ .tag = (uint64_t)(index ^ 1) << MMU_PAGE_BITS };
}

static void drop_entry(struct tlb_context *c, unsigned i)
{
    c->read[i] = c->write[i] = unused_entry(i);
    c->pages[i] = (struct tlb_page){ .tag = TAG_UNUSED };
    c->write_frames[i] = UINT32_MAX;
}

static void drop_write(struct tlb_context *c, unsigned i)
{
    c->write[i] = unused_entry(i);
    c->write_frames[i] = UINT32_MAX;
    c->pages[i].page.write = false; /* asked for anew */
}

static struct tlb_page *code_entry(struct tlb_code *c, uint64_t vaddr)
{
    return &c->pages[vaddr >> MMU_PAGE_BITS & (TLB_CODE_SIZE - 1)];
}

static bool allowed(const struct mmu_page *page, enum vcpu_access access)
{
    switch (access) {
    case VCPU_READ: return page->read;
    case VCPU_WRITE: return page->write;
    default: return page->exec;
    }
}

/* Remembers where large pages are, so that a flush of one address can find them. */
static void note_large(struct tlb_large *large, uint64_t vaddr, uint64_t size)
{
    struct tlb_range *r = &large->half[vaddr >> 63];
    uint64_t first = vaddr & ~(size - 1), last = first + (size - 1);

    if (r->first > r->last) {
        *r = (struct tlb_range){ .first = first, .last = last };
    } else {
        r->first = MIN(r->first, first);
        r->last = MAX(r->last, last);
    }
}

/* Whether the page has a watchpoint, which fast entries would pass by. Loads are seen by those for
 * reading only; but what changes memory atomically reads it, too. */
static bool has_watch(const struct vcpu *cpu, uint64_t page, enum vcpu_access access)
{
    const GArray *points = cpu->dbt->watchpoints;

    for (unsigned i = 0; i < points->len; i++) {
        const struct dbt_watch *w = &g_array_index(points, struct dbt_watch, i);

        if (w->addr <= (page | ~page_mask) && w->addr + (w->size - 1) >= page &&
            (access == VCPU_WRITE || w->access != VCPU_WRITE)) {
            return true;
        }
    }
    return false;
}

/* What the table of pages says of entry i, for translated code. */
static void set_entries(const struct vcpu *cpu, struct tlb_context *c, unsigned i)
{
    const struct tlb_page *p = &c->pages[i];

    c->read[i] = c->write[i] = unused_entry(i);
    c->write_frames[i] = UINT32_MAX;
    if (p->tag == TAG_UNUSED || !p->page.host) {
        return;
    }
    if (p->page.read && !has_watch(cpu, p->tag, VCPU_READ)) {
        c->read[i] = (struct tlb_entry){ .tag = p->tag, .host = p->page.host };
    }
    if (p->page.write && !p->page.watch_write && !has_watch(cpu, p->tag, VCPU_WRITE)) {
        c->write[i] = (struct tlb_entry){ .tag = p->tag, .host = p->page.host };
        c->write_frames[i] = (uint32_t)(p->page.phys >> MMU_PAGE_BITS);
    }
}

/* Twice the size: what was in one entry goes to it or to the one [old] further up. */
static void grow(const struct vcpu *cpu, struct tlb_context *c)
{
    unsigned old = tlb_size(c);

    c->index_mask = (2 * old - 1) * sizeof(struct tlb_entry);
    c->replaced = 0;
    for (unsigned i = 0; i < old; i++) {
        struct tlb_page p = c->pages[i];
        bool up = p.tag != TAG_UNUSED && tlb_index(c, p.tag) != i;

        drop_entry(c, old + i);
        if (up) {
            drop_entry(c, i);
            c->pages[old + i] = p;
            set_entries(cpu, c, old + i);
        }
    }
}

static const struct mmu_page *fill_data(const struct vcpu *cpu, struct tlb_context *c,
                                        uint64_t tag, const struct mmu_page *page)
{
    unsigned i = tlb_index(c, tag);

    if (c->pages[i].tag != TAG_UNUSED && c->pages[i].tag != tag &&
        ++c->replaced > tlb_size(c) / 4 && tlb_size(c) < TLB_MAX_SIZE) {
        grow(cpu, c);
        i = tlb_index(c, tag);
    }
    c->clean = false;
    c->pages[i] = (struct tlb_page){ .tag = tag, .page = *page };
    set_entries(cpu, c, i);
    if (page->size > MMU_PAGE_SIZE) {
        note_large(&c->large, tag, page->size);
    }
    return &c->pages[i].page;
}

static const struct mmu_page *fill_code(struct tlb_code *c, uint64_t tag,
                                        const struct mmu_page *page)
{
    struct tlb_page *p = code_entry(c, tag);

    c->clean = false;
    *p = (struct tlb_page){ .tag = tag, .page = *page };
    if (page->size > MMU_PAGE_SIZE) {
        note_large(&c->large, tag, page->size);
    }
    return &p->page;
}

bool softmmu_meets_watch(struct vcpu *cpu, uint64_t vaddr, unsigned size, enum vcpu_access access)
{
    struct softmmu *mmu = cpu->mmu;
    const GArray *points = cpu->dbt->watchpoints;

    for (unsigned i = 0; i < points->len; i++) {
        const struct dbt_watch *w = &g_array_index(points, struct dbt_watch, i);

        if (vaddr <= w->addr + (w->size - 1) && w->addr <= vaddr + (size - 1) &&
            (w->access < 0 || w->access == (int)access)) {
            mmu->watch.met = true;
            mmu->watch.addr = vaddr;
            mmu->watch.access = (uint8_t)access;
            return true;
        }
    }
    return false;
}

static const struct mmu_page *fill(struct vcpu *cpu, uint64_t vaddr, enum vcpu_access access)
{
    struct mmu_page page = { 0 };
    uint64_t tag = vaddr & page_mask;

    cpu->fault_kind = VCPU_FAULT_UNMAPPED;
    if (!cpu->mmu->ops->translate(cpu, vaddr, access, &page)) {
        return NULL;
    }
    /* The current context isn't looked at before: translate may have switched to another. */
    return access == VCPU_FETCH ? fill_code(cpu->mmu->code, tag, &page)
                                : fill_data(cpu, cpu->tlb, tag, &page);
}

const struct mmu_page *softmmu_page(struct vcpu *cpu, uint64_t vaddr, enum vcpu_access access)
{
    const struct tlb_page *p = access == VCPU_FETCH ? code_entry(cpu->mmu->code, vaddr)
                                                    : &cpu->tlb->pages[tlb_index(cpu->tlb, vaddr)];

    if (p->tag == (vaddr & page_mask) && allowed(&p->page, access)) {
        return &p->page;
    }
    return fill(cpu, vaddr, access);
}

void softmmu_ask_again(struct vcpu *cpu, uint64_t vaddr)
{
    unsigned i = tlb_index(cpu->tlb, vaddr);

    if (cpu->tlb->pages[i].tag == (vaddr & page_mask)) {
        drop_write(cpu->tlb, i);
    }
}

/* ---- Jump caches ---- */

/* Most flushes are of pages of data, of which there are no entries. */
static bool has_jumps_of(const struct jump_map *m, uint64_t pc)
{
    unsigned page = pc >> MMU_PAGE_BITS & (TLB_JUMP_PAGES - 1);

    return m->pages[page / 64] >> page % 64 & 1;
}

static void note_jump(struct jump_map *m, uint64_t pc)
{
    unsigned page = pc >> MMU_PAGE_BITS & (TLB_JUMP_PAGES - 1);

    m->empty = false;
    m->pages[page / 64] |= UINT64_C(1) << page % 64;
}

static void drop_jump(struct jump_map *m, unsigned i)
{
    /* A pc that is looked up elsewhere. */
    m->entry[i] = (struct jump_cache_entry){ .pc = i ? 1 : 3 };
}

static void clear_jumps(struct jump_map *m)
{
    if (m->empty) {
        return;
    }
    for (unsigned i = 0; i < TLB_JUMP_SIZE; i++) {
        drop_jump(m, i);
    }
    memset(m->pages, 0, sizeof(m->pages));
    m->empty = true;
}

static void clear_all_jumps(struct tlb_code *c)
{
    for (unsigned i = 0; i < TLB_MODES; i++) {
        if (c->maps[i]) {
            clear_jumps(c->maps[i]);
        }
    }
}

/* What leads into a page, and into the one before by an instruction that crosses into it. */
static void drop_jumps(struct jump_map *m, uint64_t page)
{
    uint64_t first = page - MMU_PAGE_SIZE;

    if (!has_jumps_of(m, page) && !has_jumps_of(m, first)) {
        return;
    }
    for (unsigned i = 0; i < TLB_JUMP_SIZE; i++) {
        if (m->entry[i].pc - first < 2 * MMU_PAGE_SIZE) {
            drop_jump(m, i);
        }
    }
}

/* The context's jump cache for a mode: the one that wasn't used for longest becomes it. */
static struct jump_map *find_map(struct softmmu *mmu, struct tlb_code *c, uint32_t mode)
{
    struct jump_map **oldest = &c->maps[0];

    for (unsigned i = 0; i < TLB_MODES; i++) {
        struct jump_map **m = &c->maps[i];
        if (!*m) {
            *m = g_malloc(sizeof(**m));
            (*m)->empty = false; /* so that it is cleared */
            oldest = m;
            break;
        }
        if ((*m)->mode == mode) {
            (*m)->used = ++mmu->clock;
            return *m;
        }
        if ((*m)->used < (*oldest)->used) {
            oldest = m;
        }
    }
    clear_jumps(*oldest);
    (*oldest)->mode = mode;
    (*oldest)->used = ++mmu->clock;
    return *oldest;
}

void softmmu_fill_jump(struct vcpu *cpu, unsigned entry, const void *code)
{
    struct jump_map *m = (struct jump_map *)cpu->jumps;
    struct jump_cache_entry *e = &m->entry[entry];

    note_jump(m, cpu->pc);
    e->code = code;
    e->pc = cpu->pc;
}

void softmmu_forget_jump(struct vcpu *cpu)
{
    drop_jump((struct jump_map *)cpu->jumps, jump_index(cpu->pc));
}

/* ---- Contexts ---- */

static void clear_large(struct tlb_large *large)
{
    for (unsigned i = 0; i < TLB_LARGE; i++) {
        large->half[i] = (struct tlb_range){ .first = UINT64_MAX };
    }
}

static void clear_context(struct tlb_context *c)
{
    if (c->clean) {
        return;
    }
    for (unsigned i = 0; i < tlb_size(c); i++) {
        drop_entry(c, i);
    }
    clear_large(&c->large);
    c->replaced = 0;
    c->clean = true;
}

static void clear_code(struct tlb_code *c)
{
    if (!c->clean) {
        for (unsigned i = 0; i < TLB_CODE_SIZE; i++) {
            c->pages[i] = (struct tlb_page){ .tag = TAG_UNUSED };
        }
        clear_large(&c->large);
        c->clean = true;
    }
    clear_all_jumps(c);
}

/* All but what is of all address spaces. */
static void clear_own_data(struct tlb_context *c)
{
    for (unsigned i = 0; !c->clean && i < tlb_size(c); i++) {
        if (!c->pages[i].page.global) {
            drop_entry(c, i);
        }
    }
}

static bool is_global_code(struct tlb_code *c, uint64_t pc)
{
    const struct tlb_page *p = code_entry(c, pc);

    return p->tag == (pc & page_mask) && p->page.global;
}

static void clear_own_code(struct tlb_code *c)
{
    if (c->clean) {
        return;
    }
    for (unsigned i = 0; i < TLB_CODE_SIZE; i++) {
        if (!c->pages[i].page.global) {
            c->pages[i] = (struct tlb_page){ .tag = TAG_UNUSED };
        }
    }
    for (unsigned k = 0; k < TLB_MODES; k++) {
        struct jump_map *m = c->maps[k];
        for (unsigned i = 0; m && !m->empty && i < TLB_JUMP_SIZE; i++) {
            uint64_t pc = m->entry[i].pc;
            /* The last instruction of a page may cross into one that isn't. */
            if (!is_global_code(c, pc) || (~pc & (MMU_PAGE_SIZE - 1)) < 16) {
                drop_jump(m, i);
            }
        }
    }
}

static struct tlb_context *new_context(struct softmmu *mmu)
{
    struct tlb_context *c = mmap(NULL, sizeof(*c), PROT_READ | PROT_WRITE,
                                 MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);

    if (c == MAP_FAILED) {
        return NULL;
    }
    c->index_mask = ((1 << TLB_MIN_BITS) - 1) * sizeof(struct tlb_entry);
    clear_context(c);
    mmu->contexts[mmu->n_contexts++] = c;
    return c;
}

static struct tlb_code *new_code(struct softmmu *mmu)
{
    struct tlb_code *c = g_new0(struct tlb_code, 1);

    clear_code(c);
    mmu->codes[mmu->n_codes++] = c;
    return c;
}

/* To the smallest size; what the tables took of memory is given back. */
static void shrink(struct tlb_context *c)
{
    const size_t page = 4096; /* the host's */
    uint8_t *first = (uint8_t *)(((uintptr_t)c->read + page - 1) & ~(page - 1));

    if (tlb_size(c) == 1 << TLB_MIN_BITS) {
        return;
    }
    c->index_mask = ((1 << TLB_MIN_BITS) - 1) * sizeof(struct tlb_entry);
    madvise(first, (size_t)((uint8_t *)(c + 1) - first), MADV_DONTNEED);
    c->clean = false;
}

/* The one that wasn't used for longest, but for the current one; small again. */
static struct tlb_context *recycle_context(struct vcpu *cpu)
{
    struct softmmu *mmu = cpu->mmu;
    struct tlb_context *oldest = NULL;

    for (unsigned i = 0; i < mmu->n_contexts; i++) {
        struct tlb_context *c = mmu->contexts[i];
        if (c != cpu->tlb && (!oldest || c->used < oldest->used)) {
            oldest = c;
        }
    }
    if (!oldest) { /* no memory for a second one */
        oldest = cpu->tlb;
    }
    shrink(oldest);
    clear_context(oldest);
    return oldest;
}

static struct tlb_code *recycle_code(struct softmmu *mmu)
{
    struct tlb_code *oldest = NULL;

    for (unsigned i = 0; i < mmu->n_codes; i++) {
        struct tlb_code *c = mmu->codes[i];
        if (c != mmu->code && (!oldest || c->used < oldest->used)) {
            oldest = c;
        }
    }
    if (mmu->ran == oldest) {
        mmu->ran = NULL;
    }
    clear_code(oldest);
    return oldest;
}

static struct tlb_context *find_context(struct vcpu *cpu, uint64_t number)
{
    struct softmmu *mmu = cpu->mmu;
    struct tlb_context *c = NULL;

    for (unsigned i = 0; i < mmu->n_contexts; i++) {
        if (mmu->contexts[i]->number == number) {
            return mmu->contexts[i];
        }
    }
    if (mmu->n_contexts < TLB_CONTEXTS) {
        c = new_context(mmu);
    }
    if (!c) {
        c = recycle_context(cpu);
    }
    c->number = number;
    return c;
}

static struct tlb_code *find_code(struct softmmu *mmu, uint64_t number)
{
    struct tlb_code *c;

    for (unsigned i = 0; i < mmu->n_codes; i++) {
        if (mmu->codes[i]->number == number) {
            return mmu->codes[i];
        }
    }
    c = mmu->n_codes < TLB_CONTEXTS ? new_code(mmu) : recycle_code(mmu);
    c->number = number;
    return c;
}

void dbt_tlb_switch_data(struct vcpu *cpu, uint64_t context)
{
    struct tlb_context *from = cpu->tlb;

    if (from->number == context) {
        return;
    }
    if (!from->next || from->next->number != context) {
        from->next = find_context(cpu, context);
    }
    cpu->tlb = from->next;
    cpu->tlb->used = ++cpu->mmu->clock;
}

void dbt_tlb_switch_code(struct vcpu *cpu, uint64_t context)
{
    struct softmmu *mmu = cpu->mmu;

    if (mmu->code->number == context) {
        return;
    }
    mmu->code = find_code(mmu, context);
    mmu->code->used = ++mmu->clock;
    cpu->jumps = find_map(mmu, mmu->code, cpu->mode)->entry;
}

void dbt_tlb_switch(struct vcpu *cpu, uint64_t context)
{
    dbt_tlb_switch_data(cpu, context);
    dbt_tlb_switch_code(cpu, context);
}

void softmmu_sync(struct vcpu *cpu)
{
    struct softmmu *mmu = cpu->mmu;

    cpu->jumps = find_map(mmu, mmu->code, cpu->mode)->entry;
    if (mmu->ran == mmu->code && mmu->ran_mode == cpu->mode) {
        return;
    }
    /* The code behind the calls that are on the stack is of another context or mode. */
    host_reset_return_stack(cpu);
    mmu->ran = mmu->code;
    mmu->ran_mode = cpu->mode;
}

bool softmmu_init(struct vcpu *cpu, const struct mmu_ops *ops)
{
    struct softmmu *mmu = g_new0(struct softmmu, 1);

    cpu->mmu = mmu;
    mmu->ops = ops;
    cpu->tlb = new_context(mmu);
    if (!cpu->tlb) {
        softmmu_free(cpu);
        return false;
    }
    mmu->code = new_code(mmu);
    cpu->jumps = find_map(mmu, mmu->code, cpu->mode)->entry;
    return true;
}

void softmmu_free(struct vcpu *cpu)
{
    struct softmmu *mmu = cpu->mmu;

    if (!mmu) {
        return;
    }
    for (unsigned i = 0; i < mmu->n_contexts; i++) {
        munmap(mmu->contexts[i], sizeof(*mmu->contexts[i]));
    }
    for (unsigned i = 0; i < mmu->n_codes; i++) {
        for (unsigned k = 0; k < TLB_MODES; k++) {
            g_free(mmu->codes[i]->maps[k]);
        }
        g_free(mmu->codes[i]);
    }
    g_free(mmu);
    cpu->mmu = NULL;
    cpu->tlb = NULL;
}

/* ---- Flushes ---- */

/* Returns into code that isn't where it was aren't predicted any more. */
static void forget_returns(struct vcpu *cpu)
{
    cpu->mmu->ran = NULL;
}

void dbt_tlb_flush_contexts(struct vcpu *cpu, uint64_t value, uint64_t mask)
{
    struct softmmu *mmu = cpu->mmu;

    for (unsigned i = 0; i < mmu->n_contexts; i++) {
        if ((mmu->contexts[i]->number & mask) == value) {
            clear_own_data(mmu->contexts[i]);
        }
    }
    for (unsigned i = 0; i < mmu->n_codes; i++) {
        if ((mmu->codes[i]->number & mask) == value) {
            clear_own_code(mmu->codes[i]);
        }
    }
    forget_returns(cpu);
}

void dbt_tlb_flush(struct vcpu *cpu)
{
    struct softmmu *mmu = cpu->mmu;

    for (unsigned i = 0; i < mmu->n_contexts; i++) {
        clear_context(mmu->contexts[i]);
    }
    for (unsigned i = 0; i < mmu->n_codes; i++) {
        clear_code(mmu->codes[i]);
    }
    if (mmu->ops->flushed) {
        mmu->ops->flushed(cpu);
    }
    forget_returns(cpu);
}

void dbt_tlb_flush_context(struct vcpu *cpu, uint64_t context)
{
    dbt_tlb_flush_contexts(cpu, context, UINT64_MAX);
}

static bool in_large(const struct tlb_page *p, uint64_t vaddr)
{
    uint64_t size = p->page.size;

    return p->tag != TAG_UNUSED && size > MMU_PAGE_SIZE && !((p->tag ^ vaddr) & ~(size - 1));
}

static bool may_be_large(const struct tlb_large *large, uint64_t vaddr)
{
    const struct tlb_range *r = &large->half[vaddr >> 63];

    return vaddr >= r->first && vaddr <= r->last;
}

static void flush_data_page(struct tlb_context *c, uint64_t vaddr)
{
    unsigned i = tlb_index(c, vaddr);

    if (c->pages[i].tag == (vaddr & page_mask)) {
        drop_entry(c, i);
    }
    if (may_be_large(&c->large, vaddr)) { /* of which any number of pages may be in the tables */
        for (i = 0; i < tlb_size(c); i++) {
            if (in_large(&c->pages[i], vaddr)) {
                drop_entry(c, i);
            }
        }
    }
}

static void flush_code_page(struct tlb_code *c, uint64_t vaddr)
{
    uint64_t page = vaddr & page_mask;

    if (may_be_large(&c->large, vaddr)) {
        for (unsigned i = 0; i < TLB_CODE_SIZE; i++) {
            if (in_large(&c->pages[i], vaddr)) {
                c->pages[i] = (struct tlb_page){ .tag = TAG_UNUSED };
            }
        }
        /* The jump cache may know pages that the table has forgotten. */
        clear_all_jumps(c);
    }
    if (code_entry(c, vaddr)->tag == page) {
        *code_entry(c, vaddr) = (struct tlb_page){ .tag = TAG_UNUSED };
    }
    for (unsigned k = 0; k < TLB_MODES; k++) {
        if (c->maps[k]) {
            drop_jumps(c->maps[k], page);
        }
    }
}

void dbt_tlb_flush_page_in(struct vcpu *cpu, uint64_t vaddr, uint64_t value, uint64_t mask)
{
    struct softmmu *mmu = cpu->mmu;

    for (unsigned i = 0; i < mmu->n_contexts; i++) {
        if ((mmu->contexts[i]->number & mask) == value) {
            flush_data_page(mmu->contexts[i], vaddr);
        }
    }
    for (unsigned i = 0; i < mmu->n_codes; i++) {
        if ((mmu->codes[i]->number & mask) == value) {
            flush_code_page(mmu->codes[i], vaddr);
        }
    }
    forget_returns(cpu);
}

void dbt_tlb_flush_page(struct vcpu *cpu, uint64_t vaddr)
{
    dbt_tlb_flush_page_in(cpu, vaddr, 0, 0);
}

/* ---- Requests ---- */

void dbt_tlb_request_flush(struct vcpu *cpu)
{
    __atomic_fetch_or(&cpu->tlb_request, TLB_REQUEST_FLUSH, __ATOMIC_SEQ_CST);
    vcpu_kick(cpu);
}

static void protect_context(struct tlb_context *c, uint64_t phys)
{
    uint32_t frame = (uint32_t)(phys >> MMU_PAGE_BITS);

    for (unsigned i = 0; i < tlb_size(c); i++) {
        if (c->write_frames[i] == frame && c->pages[i].page.phys == phys) {
            drop_write(c, i);
        }
    }
}

static void protect_all(struct tlb_context *c)
{
    for (unsigned i = 0; i < tlb_size(c); i++) {
        drop_write(c, i);
    }
}

static void protect(struct vcpu *cpu)
{
    struct code_pages *code = &cpu->dbt->code_pages;
    struct softmmu *mmu = cpu->mmu;
    uint64_t pages[TLB_MAX_PROTECT];
    unsigned n;

    g_mutex_lock(&code->lock);
    n = mmu->n_protect;
    memcpy(pages, mmu->protect, sizeof(pages));
    mmu->n_protect = 0;
    g_mutex_unlock(&code->lock);
    for (unsigned i = 0; i < mmu->n_contexts; i++) {
        if (mmu->contexts[i]->clean) {
            continue;
        }
        if (n > TLB_MAX_PROTECT) {
            protect_all(mmu->contexts[i]);
            continue;
        }
        for (unsigned k = 0; k < n; k++) {
            protect_context(mmu->contexts[i], pages[k]);
        }
    }
}

void softmmu_handle_requests(struct vcpu *cpu)
{
    uint8_t request = __atomic_exchange_n(&cpu->tlb_request, 0, __ATOMIC_SEQ_CST);

    if (request & TLB_REQUEST_FLUSH) {
        dbt_tlb_flush(cpu);
    }
    if (request & TLB_REQUEST_PROTECT) {
        protect(cpu);
    }
    if (request & TLB_REQUEST_JUMPS) {
        for (unsigned i = 0; i < cpu->mmu->n_codes; i++) {
            clear_all_jumps(cpu->mmu->codes[i]);
        }
    }
    softmmu_sync(cpu);
}
