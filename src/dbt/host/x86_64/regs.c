/*
 * Where values are: scratch registers, homes of guest registers, spill slots (see cg.h).
 */
#include "dbt/host/x86_64/cg.h"

static const int8_t scratch_gprs[] = { RAX, RCX, RDX };
static const int8_t scratch_xmms[] = { XMM0, XMM0 + 1, XMM0 + 2, XMM0 + 3 };
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

/* Before each unit. */
void cg_regs_start(struct cg *g)
{
    const struct ir_unit *u = g->u;

    g->spill_used = g->spill_free = g->age = 0;
    cg_op_done(g);
    memset(g->reg_val, 0, sizeof(g->reg_val));
    memset(g->home_val, 0, sizeof(g->home_val));
    for (unsigned i = 0; i < u->n_ops; i++)
        g->loc[i] = (struct vloc){ NO_REG, -1, NO_HOME };
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

/* Make a scratch register free; its value stays reachable. */
static void evict(struct cg *g, int reg)
{
    ir_val v = g->reg_val[reg];
    if (!v)
        return;
    if (g->uses[v] && g->loc[v].home == NO_HOME && g->loc[v].spill < 0 &&
        g->u->ops[v].op != IR_CONST)
        spill(g, v, reg);
    g->loc[v].reg = NO_REG;
    g->reg_val[reg] = 0;
}

static int alloc(struct cg *g, const int8_t *regs, unsigned n)
{
    int best = NO_REG;
    unsigned best_cost = ~0u;
    for (unsigned i = 0; i < n; i++) {
        int r = regs[i];
        ir_val v = g->reg_val[r];
        if (g->locked & 1u << r)
            continue;
        unsigned cost = 0;
        if (v && g->uses[v]) {
            bool cheap = g->loc[v].home != NO_HOME || g->loc[v].spill >= 0 ||
                         g->u->ops[v].op == IR_CONST;
            cost = (cheap ? 1u << 20 : 1u << 24) + g->reg_age[r];
        }
        if (cost < best_cost) {
            best = r;
            best_cost = cost;
        }
    }
    if (best == NO_REG) { /* an operation that locks too much: a bug, caught by the retry's end */
        g->failed = true;
        return regs[0];
    }
    evict(g, best);
    g->locked |= 1u << best;
    g->reg_age[best] = ++g->age;
    return best;
}

int cg_scratch(struct cg *g)
{
    return alloc(g, scratch_gprs, 3);
}

int cg_scratch_xmm(struct cg *g)
{
    return alloc(g, scratch_xmms, 4) - XMM0;
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

static void hold(struct cg *g, ir_val v, int reg)
{
    g->reg_val[reg] = v;
    g->loc[v].reg = (int8_t)reg;
}

int cg_gpr(struct cg *g, ir_val v)
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
    uint64_t c;
    if (imm_ok && cg_const(g, v, &c) && (int64_t)c == (int32_t)c)
        return (struct opnd){ .kind = OPND_IMM, .imm = (int32_t)c };
    unsigned unlocked = (unsigned)__builtin_popcount(~g->locked & (1u << RAX | 1u << RCX | 1u << RDX));
    if (loc_reg(g, v) == NO_REG && mem_ok && in_memory(g, v) && (g->uses[v] < 2 || unlocked < 3))
        return (struct opnd){ .kind = OPND_MEM, .mem = loc_mem(g, v) };
    return (struct opnd){ .kind = OPND_REG, .reg = cg_gpr(g, v) };
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
    if (l->reg != NO_REG) {
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
        if (i != h && g->home_val[i] == v)
            return true;
    return false;
}

/* The home of h gets a new value: what it held must be found elsewhere from now on. */
static void home_overwrite(struct cg *g, unsigned h, ir_val v)
{
    ir_val old = g->home_val[h];
    g->home_val[h] = v;
    if (!old || old == v || g->loc[old].home != h)
        return;
    g->loc[old].home = NO_HOME;
    if (!g->uses[old])
        return;
    for (unsigned i = 0; i < g->dbt->arch->n_regs; i++) {
        if (i != h && g->home_val[i] == old) {
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
    if (g->pinned & 1u << reg) {
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
    for (unsigned i = 0; i < 3; i++)
        evict(g, scratch_gprs[i]);
    for (unsigned i = 0; i < 4; i++)
        evict(g, scratch_xmms[i]);
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
