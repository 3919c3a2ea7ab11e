#include "dbt/code_pages.h"

#include <sched.h>

#include "dbt/dbt_priv.h"
#include "dbt/softmmu.h"

static void *key(uint64_t page)
{
    return GSIZE_TO_POINTER(page);
}

void code_pages_init(struct code_pages *code)
{
    g_mutex_init(&code->watch);
    g_mutex_init(&code->lock);
    code->marked = g_hash_table_new(NULL, NULL);
    code->written = g_array_new(FALSE, FALSE, sizeof(uint64_t));
}

void code_pages_free(struct code_pages *code)
{
    if (!code->marked)
        return;
    g_hash_table_destroy(code->marked);
    g_array_free(code->written, TRUE);
    g_mutex_clear(&code->watch);
    g_mutex_clear(&code->lock);
}

/* ---- Marking ---- */

/* Lock held. */
static void request_protect(struct vcpu *cpu, uint64_t phys)
{
    struct softmmu *mmu = cpu->mmu;

    if (mmu->n_protect < TLB_MAX_PROTECT)
        mmu->protect[mmu->n_protect] = phys;
    if (mmu->n_protect <= TLB_MAX_PROTECT)
        mmu->n_protect++;
    __atomic_fetch_or(&cpu->tlb_request, TLB_REQUEST_PROTECT, __ATOMIC_SEQ_CST);
}

/*
 * Each vCPU either isn't in translated code, and will see the request before it is there again,
 * or is waited for. It is not waiting for us: a vCPU in translated code waits for no lock that is
 * held here.
 */
static void protect(struct dbt *dbt, struct vcpu *self, uint64_t phys)
{
    g_mutex_lock(&dbt->code_pages.lock);
    for (struct vcpu *cpu = dbt->vcpus; cpu; cpu = cpu->next)
        request_protect(cpu, phys);
    g_mutex_unlock(&dbt->code_pages.lock);
    for (struct vcpu *cpu = dbt->vcpus; cpu; cpu = cpu->next) {
        while (cpu != self && __atomic_load_n(&cpu->in_code, __ATOMIC_SEQ_CST) &&
               __atomic_load_n(&cpu->tlb_request, __ATOMIC_SEQ_CST) & TLB_REQUEST_PROTECT) {
            vcpu_kick(cpu);
            sched_yield();
        }
    }
}

void code_pages_mark(struct vcpu *cpu, uint64_t phys)
{
    struct code_pages *code = &cpu->dbt->code_pages;
    uint64_t page = phys >> MMU_PAGE_BITS;
    bool new;

    g_mutex_lock(&code->watch);
    g_mutex_lock(&code->lock);
    new = g_hash_table_add(code->marked, key(page));
    g_mutex_unlock(&code->lock);
    if (new)
        cpu->mmu->ops->code_page(cpu, page << MMU_PAGE_BITS);
    g_mutex_unlock(&code->watch);
    if (new)
        protect(cpu->dbt, cpu, page << MMU_PAGE_BITS);
}

/* ---- Writing ---- */

/* Lock held. */
static void note_written(struct code_pages *code, uint64_t page)
{
    if (!g_hash_table_remove(code->marked, key(page)))
        return;
    g_array_append_val(code->written, page);
    __atomic_store_n(&code->n_written, code->written->len, __ATOMIC_RELEASE);
}

void code_pages_stored(struct vcpu *cpu, uint64_t phys, unsigned size)
{
    struct code_pages *code = &cpu->dbt->code_pages;

    g_mutex_lock(&code->watch);
    cpu->mmu->ops->written(cpu, phys, size);
    g_mutex_lock(&code->lock);
    note_written(code, phys >> MMU_PAGE_BITS);
    g_mutex_unlock(&code->lock);
    g_mutex_unlock(&code->watch);
}

void dbt_invalidate_phys(struct dbt *dbt, uint64_t phys, uint64_t size)
{
    struct code_pages *code = &dbt->code_pages;
    uint64_t first = phys >> MMU_PAGE_BITS, last = (phys + (size - 1)) >> MMU_PAGE_BITS;

    if (!size)
        return;
    g_mutex_lock(&code->lock);
    if (last - first < g_hash_table_size(code->marked)) {
        for (uint64_t page = first; page <= last; page++)
            note_written(code, page);
    } else {
        g_autoptr(GList) pages = g_hash_table_get_keys(code->marked);
        for (GList *l = pages; l; l = l->next) {
            uint64_t page = GPOINTER_TO_SIZE(l->data);
            if (page >= first && page <= last)
                note_written(code, page);
        }
    }
    g_mutex_unlock(&code->lock);
}

void code_pages_drain(struct dbt *dbt)
{
    struct code_pages *code = &dbt->code_pages;

    if (!__atomic_load_n(&code->n_written, __ATOMIC_ACQUIRE))
        return;
    g_mutex_lock(&code->lock);
    for (unsigned i = 0; i < code->written->len; i++)
        block_invalidate_page(dbt, g_array_index(code->written, uint64_t, i));
    g_array_set_size(code->written, 0);
    code->n_written = 0;
    g_mutex_unlock(&code->lock);
}

void code_pages_forget(struct code_pages *code)
{
    g_mutex_lock(&code->lock);
    g_hash_table_remove_all(code->marked);
    g_array_set_size(code->written, 0);
    code->n_written = 0;
    g_mutex_unlock(&code->lock);
}
