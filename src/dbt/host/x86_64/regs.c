/*
 * Where values are: scratch registers, homes of guest registers, spill slots (see cg.h).
 */
#include "dbt/host/x86_64/cg.h"
#include "dbt/ir_build.h"

/* In the order in which guest registers are given homes. */
static const int8_t pin_gprs[] = { RSI, RDI, R8, RBX, R9, R10, R11, R14, R15, R13, R12 };
static const int8_t pin_xmms[] = { XMM0 + 4,  XMM0 + 5,  XMM0 + 6,  XMM0 + 7,
                                   XMM0 + 8,  XMM0 + 9,  XMM0 + 10, XMM0 + 11,
                                   XMM0 + 12, XMM0 + 13, XMM0 + 14, XMM0 + 15 };

static void pin(struct cg *g, const uint8_t *order, const int8_t *regs, unsigned n)
{
    for (unsigned i = 0; i < n && order && order[i] != 0xff; i++) {
        g->home_reg[order[i]] = regs[i];
        g->reg_home[regs[i]] = (int8_t)order[i];
        g->pinned |= 1u << regs[i];
    }
}

/* Once per dbt: the map of homes. */
void cg_regs_init(struct cg *g)
{
    const struct guest_arch *arch = g->dbt->arch;

    memset(g->home_reg, NO_REG, sizeof(g->home_reg));
    memset(g->reg_home, -1, sizeof(g->reg_home));
    for (unsigned i = 0; i < arch->n_regs; i++)
        g->home_disp[i] = (int32_t)arch->regs[i].offset - VCPU_BASE_BIAS;
    /* In system mode the last one, r12, points to the soft TLB. */
    pin(g, arch->pin_int, pin_gprs, sizeof(pin_gprs) - (g->dbt->config.mmu != NULL));
    pin(g, arch->pin_fp, pin_xmms, sizeof(pin_xmms));
}

/* Before each unit, behind one that failed, too. */
void cg_regs_start(struct cg *g)
{
    const struct ir_unit *u = g->u;

    for (int r = 0; r < XMM0; r++)
        if (g->borrowed & 1u << r)
            g->home_reg[g->reg_home[r]] = (int8_t)r;
    g->borrowed = g->barrier = 0;
    g->late = 0;
    g->n_late_stores = 0;
    g->spill_used = g->spill_free = g->age = 0;
    cg_op_done(g);
    memset(g->reg_val, 0, sizeof(g->reg_val));
    memset(g->home_val, 0, sizeof(g->home_val));
    for (unsigned i = 0; i < u->n_ops; i++)
        g->loc[i] = (struct vloc){ NO_REG, -1, NO_HOME, false };
}

static bool is_float(const struct cg *g, ir_val v)
{
    return ir_type_is_float(g->u->ops[v].type);
}

/* A register that holds v now, or NO_REG. */
static int loc_reg(const struct cg *g, ir_val v)
{
    const struct vloc *l = &g->loc[v];
    if (l->home != NO_HOME && g->home_reg[l->home] != NO_REG)
        return g->home_reg[l->home];
    return l->reg;
}

static bool in_memory(const struct cg *g, ir_val v)
{
    const struct vloc *l = &g->loc[v];
    return l->spill >= 0 || (l->home != NO_HOME && g->home_reg[l->home] == NO_REG);
}

static struct mem loc_mem(const struct cg *g, ir_val v)
{
    const struct vloc *l = &g->loc[v];
    if (l->home != NO_HOME && g->home_reg[l->home] == NO_REG)
        return cpu_mem(g->home_disp[l->home]);
    return cpu_mem(CPU_DISP(spill) + l->spill * 8);
}

static void spill(struct cg *g, ir_val v, int reg)
{
    if (g->spill_used == (1u << N_SPILL) - 1) {
        g->failed = true;
        return;
    }
    int slot = __builtin_ctz(~g->spill_used);
    g->spill_used |= 1u << slot;
    g->loc[v].spill = (int8_t)slot;
    struct mem m = cpu_mem(CPU_DISP(spill) + slot * 8);
    if (reg >= XMM0)
        as_rm(&g->s, OP_F2 | OP_0F | 0x11, false, reg - XMM0, m);
    else
        as_store(&g->s, m, reg);
}

static void hold(struct cg *g, ir_val v, int reg)
{
    g->reg_val[reg] = v;
    g->loc[v].reg = (int8_t)reg;
}

static bool lives_elsewhere(const struct cg *g, ir_val v, unsigned h);

/* ---- Narrow values, late stores ---- */

bool cg_is_narrow(const struct cg *g, ir_val v)
{
    return g->loc[v].narrow && loc_reg(g, v) == g->loc[v].reg;
}

void cg_set_narrow(struct cg *g, ir_val v)
{
    g->loc[v].narrow = true;
}

/* Flags stay as they are. */
static void widen(struct cg *g, ir_val v)
{
    struct vloc *l = &g->loc[v];

    if (l->narrow)
        as_rr(&g->s, 0x63, true, l->reg, l->reg); /* movsxd */
    l->narrow = false;
}

static bool is_late(const struct cg *g, unsigned h)
{
    return h < 64 && g->late >> h & 1;
}

static bool has_late(const struct cg *g, ir_val v)
{
    for (uint64_t m = g->late; m; m &= m - 1)
        if (g->home_val[__builtin_ctzll(m)] == v)
            return true;
    return false;
}

/* Nobody needs v any more, maybe. */
static void release_unused(struct cg *g, ir_val v)
{
    struct vloc *l = &g->loc[v];

    if (g->uses[v] || l->reg == NO_REG || has_late(g, v))
        return;
    g->reg_val[l->reg] = 0;
    l->reg = NO_REG;
}

static void store_one(struct cg *g, unsigned h)
{
    ir_val v = g->home_val[h];
    struct vloc *l = &g->loc[v];

    if (l->reg == NO_REG) {
        as_store_imm(&g->s, true, cpu_mem(g->home_disp[h]), (int32_t)g->u->ops[v].imm);
    } else {
        widen(g, v);
        as_store(&g->s, cpu_mem(g->home_disp[h]), l->reg);
        if (l->home == NO_HOME)
            l->home = (uint8_t)h;
    }
    g->late &= ~(1ull << h);
}

void cg_store_late(struct cg *g)
{
    while (g->late) {
        unsigned h = (unsigned)__builtin_ctzll(g->late);
        store_one(g, h);
        release_unused(g, g->home_val[h]);
    }
}

void cg_late_in_far(struct cg *g, struct far *f)
{
    f->late = (uint16_t)g->n_late_stores;
    for (uint64_t m = g->late; m; m &= m - 1) {
        unsigned h = (unsigned)__builtin_ctzll(m);
        ir_val v = g->home_val[h];
        if (g->n_late_stores == MAX_LATE) {
            g->failed = true;
            return;
        }
        g->late_stores[g->n_late_stores++] = (struct late_store){
            .home = (uint8_t)h,
            .reg = g->loc[v].reg,
            .narrow = g->loc[v].narrow,
            .imm = (int32_t)g->u->ops[v].imm,
        };
        f->n_late++;
    }
}

/* Can PUT of v to the home of h wait? */
static bool may_be_late(const struct cg *g, unsigned h, ir_val v)
{
    const struct ir_op *o = &g->u->ops[v];

    if (!g->dbt->config.mmu || h >= 64 || g->home_reg[h] != NO_REG || is_float(g, v))
        return false;
    if (o->op == IR_CONST && g->loc[v].reg == NO_REG)
        return ir_fits_int32((int64_t)o->imm);
    return loc_reg(g, v) != NO_REG && loc_reg(g, v) == g->loc[v].reg;
}

/* ---- Borrowing ---- */

bool cg_is_barrier(const struct cg *g, const struct ir_op *o)
{
    switch (o->op) {
    case IR_NOP:
    case IR_CONST:
    case IR_INSN:
    case IR_PC:
    case IR_GET:
    case IR_PUT:
    case IR_LOAD:
    case IR_STORE:
    case IR_EXIT_IF: return false;
    default: return !cg_is_native_int(g, o);
    }
}

/* How many operations from the current one on a borrowed register can be used. */
static unsigned borrow_distance(struct cg *g)
{
    if (g->barrier < g->at) {
        g->barrier = g->at;
        while (g->barrier < g->u->n_ops && !cg_is_barrier(g, &g->u->ops[g->barrier]))
            g->barrier++;
    }
    return g->barrier - g->at;
}

/*
 * A register more, for a store here and a load at the end: that of a guest register that is neither
 * read nor written any more, or NO_REG.
 */
static int borrow(struct cg *g)
{
    enum { NEAR = 32 }; /* it isn't worth it for fewer operations */

    if (borrow_distance(g) < (g->dbt->config.far_paths ? 1 : NEAR))
        return NO_REG;
    for (unsigned i = 0; i < sizeof(pin_gprs); i++) {
        int r = pin_gprs[i], h = g->reg_home[r];
        if (!cg_is_home(g, r) || g->locked & 1u << r || g->last_get[h] > g->at ||
            g->last_put[h] >= g->at)
            continue;
        if (g->home_val[h] && !lives_elsewhere(g, g->home_val[h], (unsigned)h))
            continue;
        as_store(&g->s, cpu_mem(g->home_disp[h]), r);
        g->home_reg[h] = NO_REG;
        g->borrowed |= 1u << r;
        g->reg_val[r] = 0;
        return r;
    }
    return NO_REG;
}

/* A free borrowed register, or NO_REG. */
static int free_borrowed(struct cg *g)
{
    for (int r = 0; r < XMM0; r++)
        if (g->borrowed & ~g->locked & 1u << r && !g->reg_val[r])
            return r;
    return borrow(g);
}

/* Is the value in this scratch register lost with it? */
static bool needed(const struct cg *g, int reg)
{
    ir_val v = g->reg_val[reg];

    return v && g->uses[v] && g->loc[v].home == NO_HOME && g->loc[v].spill < 0 &&
           g->u->ops[v].op != IR_CONST;
}

/* Make a scratch register free. Its value stays reachable: in the vCPU. */
static void evict_to_memory(struct cg *g, int reg)
{
    ir_val v = g->reg_val[reg];

    if (!v)
        return;
    for (uint64_t m = g->late; m; m &= m - 1)
        if (g->home_val[__builtin_ctzll(m)] == v)
            store_one(g, (unsigned)__builtin_ctzll(m));
    if (needed(g, reg)) {
        widen(g, v);
        spill(g, v, reg);
    }
    g->loc[v].reg = NO_REG;
    g->loc[v].narrow = false;
    g->reg_val[reg] = 0;
}

/* The same, or in a borrowed register. */
static void evict(struct cg *g, int reg)
{
    ir_val v = g->reg_val[reg];
    int r = reg < XMM0 && needed(g, reg) ? free_borrowed(g) : NO_REG;

    if (r == NO_REG || r == reg) {
        evict_to_memory(g, reg);
        return;
    }
    as_mov_rr(&g->s, true, r, reg);
    g->reg_val[reg] = 0;
    hold(g, v, r);
    g->reg_age[r] = g->reg_age[reg];
}

void cg_load_homes(struct cg *g, uint32_t regs)
{
    for (int r = 0; r < XMM0; r++)
        if (regs & 1u << r)
            as_load(&g->s, r, cpu_mem(g->home_disp[g->reg_home[r]]));
}

void cg_return_borrowed(struct cg *g)
{
    for (int r = 0; r < XMM0; r++) {
        if (!(g->borrowed & 1u << r))
            continue;
        evict_to_memory(g, r);
        g->home_reg[g->reg_home[r]] = (int8_t)r;
    }
    cg_load_homes(g, g->borrowed);
    g->borrowed = 0;
}

/* ---- Allocation ---- */

enum { COST_STORE = 1 << 16, COST_RELOAD = 1 << 20, COST_SPILL = 1 << 24 };

/*
 * Of one with a value that is only to be stored some time. Where another PUT follows, it may turn
 * out that it needn't be.
 */
static unsigned late_cost(const struct cg *g, ir_val v, int r)
{
    unsigned cost = 0;

    for (uint64_t m = g->late; m; m &= m - 1) {
        unsigned h = (unsigned)__builtin_ctzll(m);
        if (g->home_val[h] == v)
            cost = MAX(cost, g->last_put[h] > g->at ? COST_STORE + g->reg_age[r] : 1);
    }
    return cost;
}

/* What it costs to take a register that isn't locked. */
static unsigned cost_of(const struct cg *g, int r)
{
    ir_val v = g->reg_val[r];

    if (!v)
        return 0;
    if (!g->uses[v])
        return late_cost(g, v, r);
    if (g->loc[v].home != NO_HOME || g->loc[v].spill >= 0 || g->u->ops[v].op == IR_CONST)
        return COST_RELOAD + g->reg_age[r];
    return COST_SPILL + g->reg_age[r];
}

/* The cheapest register of a mask. [may_borrow]: or one more. */
static int alloc(struct cg *g, uint32_t regs, bool may_borrow)
{
    int best = NO_REG;
    unsigned best_cost = ~0u;

    for (int r = 0; r < 32; r++) {
        if (!(regs & ~g->locked & 1u << r))
            continue;
        unsigned cost = cost_of(g, r);
        if (cost < best_cost) {
            best = r;
            best_cost = cost;
        }
    }
    if (may_borrow && best_cost >= COST_SPILL) {
        int r = borrow(g);
        if (r != NO_REG)
            best = r;
    }
    if (best == NO_REG) { /* an operation that locks too much: a bug, caught by the retry's end */
        g->failed = true;
        return __builtin_ctz(regs);
    }
    evict(g, best);
    g->locked |= 1u << best;
    g->reg_age[best] = ++g->age;
    return best;
}

enum { SCRATCH_GPRS = 1 << RAX | 1 << RCX | 1 << RDX, SCRATCH_XMMS = 0xf << XMM0 };

int cg_scratch(struct cg *g)
{
    return alloc(g, SCRATCH_GPRS | g->borrowed, true);
}

int cg_scratch_abc(struct cg *g)
{
    return alloc(g, SCRATCH_GPRS, false);
}

int cg_scratch_xmm(struct cg *g)
{
    return alloc(g, SCRATCH_XMMS, false) - XMM0;
}

void cg_take(struct cg *g, int reg)
{
    evict(g, reg);
    g->locked |= 1u << reg;
}

void cg_unlock(struct cg *g, uint32_t keep)
{
    g->locked &= keep;
    g->dying[0] = g->dying[1] = NO_REG;
}

void cg_move_borrowed(struct cg *g, ir_val v)
{
    int r = g->loc[v].reg, t;

    if (r == NO_REG || !(g->borrowed & 1u << r))
        return;
    t = cg_scratch_abc(g);
    as_mov_rr(&g->s, true, t, r);
    g->reg_val[r] = 0;
    hold(g, v, t);
}

int cg_gpr(struct cg *g, ir_val v)
{
    if (cg_is_narrow(g, v))
        widen(g, v);
    return cg_gpr_low(g, v);
}

int cg_gpr_low(struct cg *g, ir_val v)
{
    int r = loc_reg(g, v);
    uint64_t c;
    if (r == NO_REG) {
        r = cg_scratch(g);
        if (cg_const(g, v, &c))
            as_mov_imm_keep_flags(&g->s, r, c);
        else
            as_load(&g->s, r, loc_mem(g, v));
        hold(g, v, r);
    }
    g->reg_age[r] = ++g->age;
    g->locked |= 1u << r;
    return r;
}

int cg_xmm(struct cg *g, ir_val v)
{
    int r = loc_reg(g, v);
    uint64_t c;
    if (r == NO_REG) {
        r = cg_scratch_xmm(g) + XMM0;
        if (cg_const(g, v, &c)) {
            if (c == 0) {
                as_rr(&g->s, OP_0F | 0x57, false, r - XMM0, r - XMM0); /* xorps */
            } else {
                int t = cg_scratch(g);
                as_mov_imm_keep_flags(&g->s, t, c);
                as_rr(&g->s, OP_66 | OP_0F | 0x6e, true, r - XMM0, t); /* movq */
                g->locked &= ~(1u << t);
            }
        } else {
            as_rm(&g->s, OP_F2 | OP_0F | 0x10, false, r - XMM0, loc_mem(g, v)); /* movsd */
        }
        hold(g, v, r);
    }
    g->reg_age[r] = ++g->age;
    g->locked |= 1u << r;
    return r - XMM0;
}

struct opnd cg_opnd(struct cg *g, ir_val v, bool imm_ok, bool mem_ok)
{
    if (cg_is_narrow(g, v))
        widen(g, v);
    return cg_opnd_low(g, v, imm_ok, mem_ok);
}

struct opnd cg_opnd_low(struct cg *g, ir_val v, bool imm_ok, bool mem_ok)
{
    uint64_t c;
    if (imm_ok && cg_const(g, v, &c) && (int64_t)c == (int32_t)c)
        return (struct opnd){ .kind = OPND_IMM, .imm = (int32_t)c };
    unsigned unlocked = (unsigned)__builtin_popcount(~g->locked & (SCRATCH_GPRS | g->borrowed));
    if (loc_reg(g, v) == NO_REG && mem_ok && in_memory(g, v) && (g->uses[v] < 2 || unlocked < 3))
        return (struct opnd){ .kind = OPND_MEM, .mem = loc_mem(g, v) };
    return (struct opnd){ .kind = OPND_REG, .reg = cg_gpr_low(g, v) };
}

void cg_mov_to(struct cg *g, int reg, struct opnd o, bool w)
{
    if (o.kind == OPND_IMM)
        as_mov_imm_keep_flags(&g->s, reg, w ? (uint64_t)(int64_t)o.imm : (uint32_t)o.imm);
    else if (o.kind == OPND_MEM)
        as_rm(&g->s, 0x8b, w, reg, o.mem);
    else if (o.reg != reg)
        as_mov_rr(&g->s, w, reg, o.reg);
}

void cg_use(struct cg *g, ir_val v)
{
    if (!v || --g->uses[v])
        return;
    struct vloc *l = &g->loc[v];
    if (l->spill >= 0) {
        g->spill_free |= 1u << l->spill; /* still read by this operation */
        l->spill = -1;
    }
    if (l->reg != NO_REG && !has_late(g, v)) {
        g->reg_val[l->reg] = 0; /* stays locked until the operation is done */
        if (g->locked & 1u << l->reg && g->dying[l->reg >= XMM0] == NO_REG)
            g->dying[l->reg >= XMM0] = l->reg;
        l->reg = NO_REG;
    }
}

/* Does v live anywhere but in the home of guest register h? */
static bool lives_elsewhere(const struct cg *g, ir_val v, unsigned h)
{
    const struct vloc *l = &g->loc[v];
    if (!g->uses[v] || l->reg != NO_REG || l->spill >= 0 || g->u->ops[v].op == IR_CONST)
        return true;
    if (l->home != h && l->home != NO_HOME)
        return true;
    for (unsigned i = 0; i < g->dbt->arch->n_regs; i++)
        if (i != h && g->home_val[i] == v && !is_late(g, i))
            return true;
    return false;
}

/* The home of h gets a new value: what it held must be found elsewhere from now on. */
static void home_overwrite(struct cg *g, unsigned h, ir_val v)
{
    ir_val old = g->home_val[h];
    g->home_val[h] = v;
    if (is_late(g, h)) { /* what was put there last is never stored */
        g->late &= ~(1ull << h);
        release_unused(g, old);
    }
    if (!old || old == v || g->loc[old].home != h)
        return;
    g->loc[old].home = NO_HOME;
    if (!g->uses[old])
        return;
    for (unsigned i = 0; i < g->dbt->arch->n_regs; i++) {
        if (i != h && g->home_val[i] == old && !is_late(g, i)) {
            g->loc[old].home = (uint8_t)i;
            if (g->home_reg[i] != NO_REG)
                break;
        }
    }
}

/* Copy what only the home of h holds and is still needed to a scratch register. */
static void home_evacuate(struct cg *g, unsigned h)
{
    ir_val old = g->home_val[h];
    if (!old || lives_elsewhere(g, old, h))
        return;
    int r;
    if (is_float(g, old)) {
        r = cg_scratch_xmm(g) + XMM0;
        if (g->home_reg[h] != NO_REG)
            as_rr(&g->s, OP_0F | 0x28, false, r - XMM0, g->home_reg[h] - XMM0); /* movaps */
        else
            as_rm(&g->s, OP_F2 | OP_0F | 0x10, false, r - XMM0, cpu_mem(g->home_disp[h]));
    } else {
        r = cg_scratch(g);
        if (g->home_reg[h] != NO_REG)
            as_mov_rr(&g->s, true, r, g->home_reg[h]);
        else
            as_load(&g->s, r, cpu_mem(g->home_disp[h]));
    }
    hold(g, old, r);
}

static int dest(struct cg *g, ir_val v, bool fp)
{
    unsigned h = g->hint[v];
    if (h != NO_HOME && g->home_reg[h] != NO_REG && (g->home_reg[h] >= XMM0) == fp &&
        (!g->home_val[h] || lives_elsewhere(g, g->home_val[h], h))) {
        home_overwrite(g, h, 0); /* from here on a copy in a scratch register is the only one */
        g->locked |= 1u << g->home_reg[h];
        return g->home_reg[h];
    }
    /* The scratch register of an argument that died here saves a move. */
    if (g->dying[fp] != NO_REG) {
        int r = g->dying[fp];
        g->dying[fp] = NO_REG;
        return r;
    }
    return fp ? cg_scratch_xmm(g) + XMM0 : cg_scratch(g);
}

int cg_dest(struct cg *g, ir_val v)
{
    return dest(g, v, false);
}

int cg_dest_xmm(struct cg *g, ir_val v)
{
    return dest(g, v, true) - XMM0;
}

void cg_bind(struct cg *g, ir_val v, int reg)
{
    if (cg_is_home(g, reg)) {
        unsigned h = (unsigned)g->reg_home[reg];
        home_overwrite(g, h, v);
        g->loc[v].home = (uint8_t)h;
    } else {
        hold(g, v, reg);
        g->reg_age[reg] = ++g->age;
    }
}

void cg_result_in(struct cg *g, ir_val v, int scratch)
{
    unsigned h = g->hint[v];
    if (h != NO_HOME && g->home_reg[h] != NO_REG && g->home_reg[h] < XMM0 &&
        (!g->home_val[h] || lives_elsewhere(g, g->home_val[h], h))) {
        as_mov_rr(&g->s, true, g->home_reg[h], scratch);
        cg_bind(g, v, g->home_reg[h]);
    } else {
        cg_bind(g, v, scratch);
    }
}

void cg_get(struct cg *g, ir_val v, unsigned h)
{
    if (is_late(g, h)) {
        store_one(g, h);
        release_unused(g, g->home_val[h]);
    }
    home_evacuate(g, h);
    home_overwrite(g, h, v);
    g->loc[v].home = (uint8_t)h;
}

/* Where PUT takes v from. Loading it may evict a copy of what the home of h holds. */
static struct opnd put_operand(struct cg *g, unsigned h, ir_val v)
{
    bool pinned = g->home_reg[h] != NO_REG;
    uint64_t c;
    if (is_float(g, v))
        return (struct opnd){ .kind = OPND_REG, .reg = cg_xmm(g, v) + XMM0 };
    if (pinned && loc_reg(g, v) == NO_REG && !cg_const(g, v, &c))
        return (struct opnd){ .kind = OPND_MEM, .mem = loc_mem(g, v) };
    if (pinned && loc_reg(g, v) == NO_REG)
        return (struct opnd){ .kind = OPND_IMM };
    return cg_opnd(g, v, true, false);
}

static void put_float(struct cg *g, unsigned h, int r)
{
    int home = g->home_reg[h];
    if (home == NO_REG)
        as_rm(&g->s, OP_F2 | OP_0F | 0x11, false, r - XMM0, cpu_mem(g->home_disp[h]));
    else
        as_rr(&g->s, OP_0F | 0x28, false, home - XMM0, r - XMM0);
}

static void put_int(struct cg *g, unsigned h, ir_val v, struct opnd o)
{
    int home = g->home_reg[h];
    if (home == NO_REG && o.kind == OPND_IMM)
        as_store_imm(&g->s, true, cpu_mem(g->home_disp[h]), o.imm);
    else if (home == NO_REG)
        as_store(&g->s, cpu_mem(g->home_disp[h]), o.reg);
    else if (o.kind == OPND_IMM)
        as_mov_imm(&g->s, home, g->u->ops[v].imm);
    else if (o.kind == OPND_MEM)
        as_load(&g->s, home, o.mem);
    else
        as_mov_rr(&g->s, true, home, o.reg);
}

void cg_put(struct cg *g, unsigned h, ir_val v)
{
    if (g->home_val[h] == v) {
        cg_use(g, v);
        return;
    }
    if (may_be_late(g, h, v)) {
        if (g->loc[v].reg != NO_REG)
            g->locked |= 1u << g->loc[v].reg;
        home_evacuate(g, h);
        home_overwrite(g, h, v);
        g->late |= 1ull << h;
        cg_use(g, v);
        return;
    }
    struct opnd o = put_operand(g, h, v);
    home_evacuate(g, h);
    if (is_float(g, v))
        put_float(g, h, o.reg);
    else
        put_int(g, h, v, o);
    home_overwrite(g, h, v);
    struct vloc *l = &g->loc[v];
    if (l->home == NO_HOME || g->home_reg[l->home] == NO_REG)
        l->home = (uint8_t)h;
    cg_use(g, v);
}

/* Scratch registers are lost in the call; with [sync] the homes may change too. */
void cg_before_helper(struct cg *g, bool sync)
{
    for (int r = 0; r < 32; r++)
        if ((SCRATCH_GPRS | SCRATCH_XMMS) & 1u << r)
            evict(g, r);
    if (!sync)
        return;
    for (unsigned h = 0; h < g->dbt->arch->n_regs; h++) {
        ir_val v = g->home_val[h];
        if (!v || !g->uses[v] || g->u->ops[v].op == IR_CONST || g->loc[v].spill >= 0)
            continue;
        int r;
        if (is_float(g, v))
            r = cg_xmm(g, v) + XMM0;
        else
            r = cg_gpr(g, v);
        spill(g, v, r);
        if (g->loc[v].reg != NO_REG)
            evict(g, g->loc[v].reg);
        g->locked = 0;
    }
}

void cg_after_helper(struct cg *g, bool sync)
{
    if (!sync)
        return;
    for (unsigned h = 0; h < g->dbt->arch->n_regs; h++) {
        if (g->home_val[h])
            g->loc[g->home_val[h]].home = NO_HOME;
        g->home_val[h] = 0;
    }
}

void cg_op_done(struct cg *g)
{
    g->locked = 0;
    g->spill_used &= ~g->spill_free;
    g->spill_free = 0;
    g->dying[0] = g->dying[1] = NO_REG;
}
