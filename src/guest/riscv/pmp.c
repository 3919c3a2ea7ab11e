/*
 * RISC-V physical memory protection: Privileged 20240411, 3.7, and Smepmp 1.0.
 *
 * Protection is applied to whole pages when the TLB is filled; a page in which it differs isn't put
 * into the TLB as memory, so that each access to it is checked by itself (mmu.c).
 */
#include "guest/riscv/system_priv.h"

enum {
    PMP_A = 3 << 3,
    PMP_OFF = 0,
    PMP_TOR = 1 << 3,
    PMP_NA4 = 2 << 3,
    PMP_NAPOT = 3 << 3,
    PMP_L = 1 << 7,
    PMP_CFG = PMP_RWX | PMP_A | PMP_L,

    MSECCFG_MML = 1,
    MSECCFG_MMWP = 2,
    MSECCFG_RLB = 4,
    MSECCFG_USEED = 1 << 8,
    MSECCFG_SSEED = 1 << 9,
};

#define PMPADDR_MASK ((UINT64_C(1) << 54) - 1)

/* Smepmp, table 1: what an entry allows with mseccfg.MML, by RWX and (8) L. */
static const uint8_t mml_machine[16] = {
    [2] = PMP_R | PMP_W,     [6] = PMP_R | PMP_W,     [8 + 1] = PMP_R,
    [8 + 2] = PMP_X,         [8 + 3] = PMP_R | PMP_W, [8 + 4] = PMP_X,
    [8 + 5] = PMP_R | PMP_X, [8 + 6] = PMP_R | PMP_X, [8 + 7] = PMP_R,
};
static const uint8_t mml_others[16] = {
    [1] = PMP_R,         [2] = PMP_R,   [3] = PMP_R | PMP_W, [4] = PMP_X,     [5] = PMP_R | PMP_X,
    [6] = PMP_R | PMP_W, [7] = PMP_RWX, [8 + 2] = PMP_X,     [8 + 6] = PMP_X, [8 + 7] = PMP_R,
};

static uint8_t get_cfg(const struct riscv_hart *h, unsigned entry)
{
    return (uint8_t)(h->pmpcfg[entry / 8] >> entry % 8 * 8);
}

static unsigned mml_index(uint8_t cfg)
{
    return (cfg & PMP_RWX) | (cfg & PMP_L ? 8u : 0u);
}

static uint8_t entry_rights(const struct riscv_hart *h, uint8_t cfg, enum riscv_priv priv)
{
    if (h->mseccfg & MSECCFG_MML) {
        return priv == PRIV_M ? mml_machine[mml_index(cfg)] : mml_others[mml_index(cfg)];
    }
    return priv == PRIV_M && !(cfg & PMP_L) ? PMP_RWX : cfg & PMP_RWX;
}

/* Where no entry matches. */
static uint8_t default_rights(const struct riscv_hart *h, enum riscv_priv priv)
{
    if (priv != PRIV_M) {
        return hart_has(h, RISCV_EXT_PMP) ? 0 : PMP_RWX;
    }
    if (h->mseccfg & MSECCFG_MMWP) {
        return 0;
    }
    return h->mseccfg & MSECCFG_MML ? PMP_R | PMP_W : PMP_RWX;
}

enum pmp_result pmp_check(const struct riscv_hart *h, uint64_t phys, uint64_t size,
                          enum vcpu_access access, enum riscv_priv priv)
{
    static const uint8_t wanted[] = {
        [VCPU_READ] = PMP_R, [VCPU_WRITE] = PMP_W, [VCPU_FETCH] = PMP_X};
    uint64_t last = phys + size - 1;
    uint8_t rights = default_rights(h, priv);

    for (unsigned i = 0; i < h->n_pmp; i++) {
        const struct pmp_range *r = &h->pmp[i];

        if (r->first > last || r->last < phys) {
            continue;
        }
        if (r->first > phys || r->last < last) {
            return PMP_PARTLY;
        }
        rights = entry_rights(h, r->cfg, priv);
        break;
    }
    return rights & wanted[access] ? PMP_ALLOWED : PMP_DENIED;
}

uint8_t pmp_rights(const struct riscv_hart *h, uint64_t phys, uint64_t *first, uint64_t *last)
{
    for (unsigned i = 0; i < h->n_pmp; i++) {
        const struct pmp_range *r = &h->pmp[i];

        if (phys < r->first) {
            *last = MIN(*last, r->first - 1);
        } else if (phys > r->last) {
            *first = MAX(*first, r->last + 1);
        } else {
            *first = MAX(*first, r->first);
            *last = MIN(*last, r->last);
            return entry_rights(h, r->cfg, PRIV_S);
        }
    }
    return default_rights(h, PRIV_S);
}

static bool make_range(const struct riscv_hart *h, unsigned entry, struct pmp_range *r)
{
    uint64_t addr = h->pmpaddr[entry], below = entry ? h->pmpaddr[entry - 1] : 0;

    r->cfg = get_cfg(h, entry);
    switch (r->cfg & PMP_A) {
    case PMP_TOR:
        r->first = below << 2;
        r->last = (addr << 2) - 1;
        return below < addr;
    case PMP_NA4:
        r->first = addr << 2;
        r->last = r->first + 3;
        return true;
    case PMP_NAPOT: {
        uint64_t ones = addr ^ (addr + 1); /* the trailing ones and the zero above them */

        r->first = (addr & ~ones) << 2;
        r->last = ((addr | ones) << 2) + 3;
        return true;
    }
    default: return false;
    }
}

void pmp_update(struct riscv_hart *h)
{
    h->n_pmp = 0;
    for (unsigned i = 0; i < PMP_ENTRIES; i++) {
        h->n_pmp += make_range(h, i, &h->pmp[h->n_pmp]);
    }
    dbt_tlb_flush(&h->rv.cpu);
    h->flushed = true;
}

static bool is_locked(const struct riscv_hart *h, unsigned entry)
{
    return !(h->mseccfg & MSECCFG_RLB) && entry < PMP_ENTRIES && get_cfg(h, entry) & PMP_L;
}

/* The legal value that is nearest to what is written to an entry's configuration. */
static uint8_t legal_cfg(const struct riscv_hart *h, uint8_t old, uint8_t cfg)
{
    cfg &= PMP_CFG;
    if (h->mseccfg & MSECCFG_MML) {
        /* No new rule lets machine mode execute something, unless RLB says so. */
        bool adds = cfg & PMP_L && mml_machine[mml_index(cfg)] & PMP_X;

        return adds && !(h->mseccfg & MSECCFG_RLB) ? old : cfg;
    }
    /* W without R is reserved. */
    return (cfg & (PMP_R | PMP_W)) == PMP_W ? cfg & ~PMP_W : cfg;
}

uint64_t pmpcfg_read(const struct riscv_hart *h, unsigned n)
{
    return h->pmpcfg[n];
}

void pmpcfg_write(struct riscv_hart *h, unsigned n, uint64_t value)
{
    for (unsigned i = 0; i < 8; i++) {
        uint64_t byte = UINT64_C(0xff) << i * 8;
        uint8_t old = get_cfg(h, n * 8 + i);

        if (!is_locked(h, n * 8 + i)) {
            uint8_t cfg = legal_cfg(h, old, (uint8_t)(value >> i * 8));

            h->pmpcfg[n] = (h->pmpcfg[n] & ~byte) | (uint64_t)cfg << i * 8;
        }
    }
    pmp_update(h);
}

void pmpaddr_write(struct riscv_hart *h, unsigned n, uint64_t value)
{
    bool top_locked = is_locked(h, n + 1) && (get_cfg(h, n + 1) & PMP_A) == PMP_TOR;

    if (!is_locked(h, n) && !top_locked) {
        h->pmpaddr[n] = value & PMPADDR_MASK;
        pmp_update(h);
    }
}

/* MML and MMWP stay once they are set; RLB can't be set again while an entry is locked. */
void mseccfg_write(struct riscv_hart *h, uint64_t value)
{
    uint64_t legal = 0, sticky = h->mseccfg & (MSECCFG_MML | MSECCFG_MMWP);
    bool locked = false;

    for (unsigned i = 0; i < PMP_ENTRIES; i++) {
        locked |= (get_cfg(h, i) & PMP_L) != 0;
    }
    if (hart_has(h, RISCV_EXT_SMEPMP)) {
        legal |= MSECCFG_MML | MSECCFG_MMWP;
        legal |= h->mseccfg & MSECCFG_RLB || !locked ? MSECCFG_RLB : 0;
    }
    if (hart_has(h, RISCV_EXT_ZKR)) {
        legal |= MSECCFG_USEED | MSECCFG_SSEED;
    }
    h->mseccfg = (value & legal) | sticky;
    pmp_update(h);
}
