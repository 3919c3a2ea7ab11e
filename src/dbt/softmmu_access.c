/*
 * Accesses to guest memory in system mode, made in C: by the interpreter, by helpers, and by
 * translated code for what it doesn't find in its tables.
 */
#include <string.h>

#include "dbt/dbt_priv.h"
#include "dbt/interp/memory.h"
#include "dbt/ir_eval.h"
#include "dbt/softmmu.h"

static unsigned page_offset(uint64_t vaddr)
{
    return vaddr & (MMU_PAGE_SIZE - 1);
}

/* Watchpoints are rare. */
static bool is_watched(struct vcpu *cpu, uint64_t vaddr, unsigned size, enum vcpu_access access)
{
    return G_UNLIKELY(cpu->dbt->watchpoints->len) && softmmu_meets_watch(cpu, vaddr, size, access);
}

/* ---- Within a page ---- */

static bool load_in_page(struct vcpu *cpu, uint64_t vaddr, const struct mmu_page *page,
                         unsigned size, uint64_t *value)
{
    if (page->host) {
        *value = interp_load(page->host + page_offset(vaddr), size);
        return true;
    }
    return cpu->mmu->ops->load(cpu, vaddr, page->phys + page_offset(vaddr), size, value);
}

/* Whether stores of a page may go to its host memory. */
static bool stores_to_host(const struct mmu_page *page)
{
    return page->host && page->write;
}

/* A store went to the page's host memory. */
static void stored(struct vcpu *cpu, uint64_t vaddr, const struct mmu_page *page, unsigned size)
{
    if (page->watch_write) {
        code_pages_stored(cpu, page->phys + page_offset(vaddr), size);
        softmmu_ask_again(cpu, vaddr);
    }
}

static bool store_in_page(struct vcpu *cpu, uint64_t vaddr, const struct mmu_page *page,
                          unsigned size, uint64_t value)
{
    uint64_t phys = page->phys + page_offset(vaddr);

    if (stores_to_host(page)) {
        interp_store(page->host + page_offset(vaddr), size, value);
        stored(cpu, vaddr, page, size);
        return true;
    }
    bool memory = page->host != NULL;
    if (!cpu->mmu->ops->store(cpu, vaddr, phys, size, value)) {
        return false;
    }
    if (memory) { /* flash, or a page of which only parts may be written */
        dbt_invalidate_phys(cpu->dbt, phys, size);
    }
    return true;
}

/* ---- Loads and stores ---- */

/* Both pages of an access that crosses; copies, for asking for one may change the table. */
static bool two_pages(struct vcpu *cpu, uint64_t vaddr, enum vcpu_access access,
                      struct mmu_page pages[2])
{
    uint64_t next = (vaddr | (MMU_PAGE_SIZE - 1)) + 1;
    const struct mmu_page *p = softmmu_page(cpu, vaddr, access);

    if (!p) {
        return false;
    }
    pages[0] = *p;
    p = softmmu_page(cpu, next, access);
    if (!p) {
        return false;
    }
    pages[1] = *p;
    return true;
}

static bool load_crossing(struct vcpu *cpu, uint64_t vaddr, unsigned size, uint64_t *value)
{
    unsigned in_first = MMU_PAGE_SIZE - page_offset(vaddr);
    struct mmu_page pages[2];

    if (!two_pages(cpu, vaddr, VCPU_READ, pages)) {
        return false;
    }
    *value = 0;
    for (unsigned i = 0; i < size; i++) {
        uint64_t byte;

        if (!load_in_page(cpu, vaddr + i, &pages[i >= in_first], 1, &byte)) {
            return false;
        }
        *value |= (byte & 0xff) << i * 8;
    }
    return true;
}

static bool store_crossing(struct vcpu *cpu, uint64_t vaddr, unsigned size, uint64_t value)
{
    unsigned in_first = MMU_PAGE_SIZE - page_offset(vaddr);
    struct mmu_page pages[2];

    if (!two_pages(cpu, vaddr, VCPU_WRITE, pages)) {
        return false;
    }
    for (unsigned i = 0; i < size; i++) {
        if (!store_in_page(cpu, vaddr + i, &pages[i >= in_first], 1, value >> i * 8)) {
            return false;
        }
    }
    return true;
}

bool dbt_load(struct vcpu *cpu, uint64_t vaddr, unsigned size, uint64_t *value)
{
    const struct mmu_page *page;

    if (is_watched(cpu, vaddr, size, VCPU_READ)) {
        return false;
    }
    if (page_offset(vaddr) + size > MMU_PAGE_SIZE) {
        return load_crossing(cpu, vaddr, size, value);
    }
    page = softmmu_page(cpu, vaddr, VCPU_READ);
    return page && load_in_page(cpu, vaddr, page, size, value);
}

bool dbt_store(struct vcpu *cpu, uint64_t vaddr, unsigned size, uint64_t value)
{
    const struct mmu_page *page;

    if (is_watched(cpu, vaddr, size, VCPU_WRITE)) {
        return false;
    }
    if (page_offset(vaddr) + size > MMU_PAGE_SIZE) {
        return store_crossing(cpu, vaddr, size, value);
    }
    page = softmmu_page(cpu, vaddr, VCPU_WRITE);
    return page && store_in_page(cpu, vaddr, page, size, value);
}

/* ---- Atomics ---- */

/* The page of an atomic access, which may not cross into another one. */
static const struct mmu_page *atomic_page(struct vcpu *cpu, uint64_t vaddr, unsigned size)
{
    if (page_offset(vaddr) + size > MMU_PAGE_SIZE) {
        cpu->fault_addr = vaddr;
        cpu->fault_access = VCPU_WRITE;
        cpu->fault_kind = VCPU_FAULT_ALIGN;
        return NULL;
    }
    if (is_watched(cpu, vaddr, size, VCPU_READ) || is_watched(cpu, vaddr, size, VCPU_WRITE)) {
        return NULL;
    }
    return softmmu_page(cpu, vaddr, VCPU_WRITE);
}

bool softmmu_amo(struct vcpu *cpu, uint64_t vaddr, enum ir_amo kind, enum ir_type type,
                 uint64_t operand, uint64_t *old)
{
    unsigned size = ir_type_bytes(type);
    const struct mmu_page *p = atomic_page(cpu, vaddr, size);

    if (!p) {
        return false;
    }
    struct mmu_page page = *p;
    if (stores_to_host(&page)) {
        *old = interp_atomic(kind, type, page.host + page_offset(vaddr), operand);
        stored(cpu, vaddr, &page, size);
        return true;
    }
    /* A device has no atomics: an access of each kind. */
    return load_in_page(cpu, vaddr, &page, size, old) &&
           store_in_page(cpu, vaddr, &page, size, interp_atomic_result(kind, type, *old, operand));
}

bool softmmu_compare_swap(struct vcpu *cpu, uint64_t vaddr, unsigned size, uint64_t *expected,
                          uint64_t desired, bool *swapped)
{
    const struct mmu_page *p = atomic_page(cpu, vaddr, size);
    uint64_t old;

    if (!p) {
        return false;
    }
    struct mmu_page page = *p;
    if (stores_to_host(&page)) {
        *swapped = interp_compare_swap(page.host + page_offset(vaddr), size, expected, desired);
        if (*swapped) {
            stored(cpu, vaddr, &page, size);
        }
        return true;
    }
    if (!load_in_page(cpu, vaddr, &page, size, &old)) {
        return false;
    }
    *swapped = old == ir_zero_extend(*expected, size * 8);
    *expected = old;
    return !*swapped || store_in_page(cpu, vaddr, &page, size, desired);
}

#ifdef __x86_64__
static bool compare_swap_16(void *host, uint64_t expected[2], const uint64_t desired[2])
{
    bool swapped;

    __asm__ volatile("lock cmpxchg16b %1"
                     : "=@ccz"(swapped), "+m"(*(uint64_t (*)[2])host), "+a"(expected[0]),
                       "+d"(expected[1])
                     : "b"(desired[0]), "c"(desired[1])
                     : "memory");
    return swapped;
}
#endif

bool dbt_compare_swap_16(struct vcpu *cpu, uint64_t vaddr, uint64_t expected[2],
                         const uint64_t desired[2])
{
    const struct mmu_page *p = atomic_page(cpu, vaddr, 16);
    uint64_t old[2];

    if (!p) {
        return false;
    }
    struct mmu_page page = *p;
    if (stores_to_host(&page)) {
        if (compare_swap_16(page.host + page_offset(vaddr), expected, desired)) {
            stored(cpu, vaddr, &page, 16);
        }
        return true;
    }
    if (!load_in_page(cpu, vaddr, &page, 8, &old[0]) ||
        !load_in_page(cpu, vaddr + 8, &page, 8, &old[1])) {
        return false;
    }
    bool equal = memcmp(old, expected, sizeof(old)) == 0;
    memcpy(expected, old, sizeof(old));
    return !equal || (store_in_page(cpu, vaddr, &page, 8, desired[0]) &&
                      store_in_page(cpu, vaddr + 8, &page, 8, desired[1]));
}

/* ---- Code ---- */

size_t softmmu_fetch(struct vcpu *cpu, uint64_t pc, void *buf, size_t size)
{
    size_t done = 0;

    while (done < size) {
        uint64_t at = pc + done;
        size_t n = MIN(size - done, MMU_PAGE_SIZE - page_offset(at));
        const struct mmu_page *page = softmmu_page(cpu, at, VCPU_FETCH);

        if (!page) {
            break;
        }
        if (!page->host) { /* the guest architecture refuses it, if it does as mmu.h says */
            cpu->fault_addr = at;
            cpu->fault_access = VCPU_FETCH;
            cpu->fault_kind = VCPU_FAULT_BUS;
            break;
        }
        memcpy((uint8_t *)buf + done, page->host + page_offset(at), n);
        done += n;
    }
    return done;
}
