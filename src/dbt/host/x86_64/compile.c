/*
 * The x86-64 back end: compiles units, links blocks, runs them, recovers from faults.
 */
#include <asm/prctl.h>
#include <cpuid.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "dbt/host/x86_64/cg.h"

/* ---- Compilation ---- */

/* Backward: how often each value is used, which pinned register it is going to: the one of the
 * first PUT behind it, if nothing between the two could see the register or reads its old value;
 * and where each guest register is read and written last. */
static void count_uses(struct cg *g)
{
    const struct ir_unit *u = g->u;
    struct {
        ir_val v;
        uint16_t epoch;      /* counts the operations that see all registers */
    } pending[IR_MAX_REGS] = { 0 };
    uint16_t epoch = 1;

    memset(g->uses, 0, u->n_ops * sizeof(g->uses[0]));
    memset(g->hint, NO_HOME, u->n_ops);
    memset(g->skip, 0, u->n_ops);
    memset(g->last_get, 0, sizeof(g->last_get));
    memset(g->last_put, 0, sizeof(g->last_put));
    for (unsigned i = u->n_ops - 1; i > 0; i--) {
        const struct ir_op *o = &u->ops[i];
        if (o->op == IR_NOP)
            continue;
        unsigned h = g->hint[i];
        if (h != NO_HOME && (pending[h].v != i || pending[h].epoch != epoch))
            g->hint[i] = NO_HOME;
        if (ir_op_flags[o->op] & (IR_M | IR_X) || o->op == IR_HELPER)
            epoch++;
        if (o->op == IR_PUT) {
            pending[o->imm].v = o->arg[0];
            pending[o->imm].epoch = epoch;
            g->hint[o->arg[0]] = (uint8_t)o->imm;
            g->last_put[o->imm] = MAX(g->last_put[o->imm], (uint16_t)i);
        } else if (o->op == IR_GET) {
            pending[o->imm].v = 0;
            g->last_get[o->imm] = MAX(g->last_get[o->imm], (uint16_t)i);
        }
        for (unsigned k = 0; k < ir_op_nargs[o->op]; k++)
            if (o->arg[k])
                g->uses[o->arg[k]]++;
    }
}

/* "target & ~1" of an indirect jump is folded into the jump; a direct one knows where it goes. */
static void fold_targets(struct cg *g)
{
    const struct ir_unit *u = g->u;
    const struct ir_op *last = &u->ops[u->n_ops - 1];
    uint64_t c;
    if (last->op != IR_JUMP && last->op != IR_CALL && last->op != IR_RET)
        return;
    const struct ir_op *target = &u->ops[last->arg[0]];
    if (g->uses[last->arg[0]] == 1 &&
        (target->op == IR_PC ||
         (target->op == IR_AND && cg_const(g, target->arg[1], &c) && c == ~1ull)))
        g->skip[last->arg[0]] = true;
}

static void compile_op(struct cg *g, ir_val v, const struct ir_op *o)
{
    g->at = v;
    g->sext32[v] = cg_is_sext32(g, o);
    if (g->late && (ir_op_flags[o->op] & IR_X || cg_is_barrier(g, o)))
        cg_store_late(g);
    if (g->borrowed && !(ir_op_flags[o->op] & IR_X) && cg_is_barrier(g, o)) {
        cg_return_borrowed(g);
        cg_op_done(g);
    }
    switch (o->op) {
    case IR_NOP:
    case IR_CONST: return;
    case IR_INSN: g->cur_pc = o->imm; return;
    case IR_PC: {
        if (!g->uses[v])
            break;
        int d = cg_dest(g, v);
        cg_pc(g, d, o->imm);
        cg_bind(g, v, d);
        break;
    }
    case IR_GET:
        if (g->uses[v])
            cg_get(g, v, (unsigned)o->imm);
        break;
    case IR_PUT: cg_put(g, (unsigned)o->imm, o->arg[0]); break;
    case IR_BITCAST:
    case IR_BOX:
    case IR_UNBOX: cg_fp_op(g, v, o); break;
    case IR_EXIT_IF:
    case IR_JUMP:
    case IR_CALL:
    case IR_RET:
    case IR_EXIT:
    case IR_HELPER: cg_flow_op(g, v, o); break;
    default:
        if (o->op >= IR_LOAD && o->op <= IR_FENCE)
            cg_mem_op(g, v, o);
        else if (o->op == IR_LDS || o->op == IR_STS)
            cg_mem_op(g, v, o);
        else if (o->op >= IR_FADD && o->op <= IR_FSETFLAGS)
            cg_fp_op(g, v, o);
        else
            cg_int_op(g, v, o);
    }
    cg_op_done(g);
}

/*
 * In front of each block's entry is a call, to which the entry is sent when it has become invalid:
 * its first two bytes are overwritten with a jump there. The call may be replaced by a jump. It
 * starts at a multiple of 8, so that either takes one store.
 */
enum { REDIRECT_SIZE = 6 };

static void emit_redirect(struct cg *g)
{
    as_nops(&g->s, (unsigned)(-(uintptr_t)g->s.p & 7));
    as_call(&g->s, g->dbt->cache.rw + g->dbt->thunks.redirect);
    as_nops(&g->s, 1);
}

bool host_compile(struct dbt *dbt, const struct ir_unit *u, struct block *b, bool *too_big)
{
    struct cg *g = dbt->host;

    *too_big = false;
    g->u = u;
    g->b = b;
    g->failed = g->in_far = false;
    g->n_far = g->n_faults = 0;
    g->cur_pc = u->pc;
    g->s = (struct as){ .p = dbt->cache.rw + dbt->cache.used, .start = dbt->cache.rw,
                        .end = dbt->cache.rw + dbt->cache.size - 16 * OP_ROOM };
    if (g->s.p >= g->s.end)
        return false;
    cg_regs_start(g);
    count_uses(g);
    fold_targets(g);
    emit_redirect(g);
    b->code = (uint32_t)(g->s.p - dbt->cache.rw);
    for (unsigned i = 1; i < u->n_ops && !g->failed && g->s.p < g->s.end; i++)
        if (!g->skip[i])
            compile_op(g, (ir_val)i, &u->ops[i]);
    b->code_far = (uint32_t)(g->s.p - dbt->cache.rw);
    if (!g->failed)
        cg_emit_far(g);
    if (g->s.p >= g->s.end || g->failed) {
        *too_big = g->failed;
        return false;
    }
    b->code_end = (uint32_t)(g->s.p - dbt->cache.rw);
    b->n_faults = (uint16_t)g->n_faults;
    if (g->n_faults) {
        b->faults = dbt_arena_alloc(dbt, g->n_faults * sizeof(g->faults[0]));
        memcpy(b->faults, g->faults, g->n_faults * sizeof(g->faults[0]));
    }
    dbt->cache.used = b->code_end;
    return true;
}

/* ---- Linking. Other threads execute the code meanwhile: each change is one aligned store. ---- */

/* What far code says of an exit; the distance is behind it, in 2 bytes if that is enough. */
struct exit_code {
    uint32_t block;          /* index */
    uint16_t back : 15;
    uint16_t wide : 1;
} __attribute__((packed));

uint8_t *exit_encode(uint8_t *p, const struct block *from, uint64_t to, unsigned back)
{
    int64_t distance = (int64_t)(to - from->pc);
    struct exit_code c = { .block = from->index,
                           .back = (uint16_t)back & EXIT_MAX_BACK,
                           .wide = distance != (int16_t)distance };
    size_t size = c.wide ? 8 : 2;

    memcpy(p, &c, sizeof(c));
    memcpy(p + sizeof(c), &distance, size);
    return p + sizeof(c) + size;
}

struct block_exit host_exit_at(const struct dbt *dbt, uint32_t offset)
{
    const uint8_t *p = dbt->cache.rx + offset;
    struct exit_code c;
    int64_t wide;
    int16_t distance;

    memcpy(&c, p, sizeof(c));
    memcpy(&distance, p + sizeof(c), sizeof(distance));
    if (c.wide)
        memcpy(&wide, p + sizeof(c), sizeof(wide));
    return (struct block_exit){
        .from = dbt->blocks[c.block],
        .distance = c.wide ? wide : distance,
        .patch = offset - c.back,
    };
}

void host_link_exit(struct dbt *dbt, const struct block_exit *e, const struct block *to)
{
    uint32_t *rel = (uint32_t *)(dbt->cache.rw + e->patch - 4);
    __atomic_store_n(rel, to->code - e->patch, __ATOMIC_RELEASE);
}

void host_unlink_block(struct dbt *dbt, const struct block *b)
{
    uint16_t jump = 0xeb | (uint16_t)(uint8_t)(-REDIRECT_SIZE - 2) << 8;
    __atomic_store_n((uint16_t *)(dbt->cache.rw + b->code), jump, __ATOMIC_RELEASE);
}

void host_redirect_block(struct dbt *dbt, const struct block *b, const struct block *to)
{
    uint64_t *stub = (uint64_t *)(dbt->cache.rw + b->code - REDIRECT_SIZE);
    uint32_t rel = to->code - (b->code - REDIRECT_SIZE + 5);
    uint64_t code = (*stub & 0xffffff0000000000) | (uint64_t)rel << 8 | 0xe9;
    __atomic_store_n(stub, code, __ATOMIC_RELEASE);
}

/* ---- vCPUs ---- */

enum { GUARD = 4096 };

bool host_vcpu_init(struct vcpu *cpu)
{
    size_t size = RETURN_STACK_SIZE + 2 * GUARD;
    uint8_t *map = mmap(NULL, size, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (map == MAP_FAILED)
        return false;
    if (mprotect(map + GUARD, RETURN_STACK_SIZE, PROT_READ | PROT_WRITE)) {
        munmap(map, size);
        return false;
    }
    cpu->return_stack_map = map;
    cpu->return_stack_top = map + GUARD + RETURN_STACK_SIZE - 64;
    uint64_t *top = cpu->return_stack_top;
    top[0] = (uint64_t)(uintptr_t)(cpu->dbt->cache.rx + cpu->dbt->thunks.ret_underflow);
    top[1] = RETURN_SENTINEL;
    cpu->mxcsr = 0x1f80;
    host_reset_return_stack(cpu);
    return true;
}

void host_vcpu_free(struct vcpu *cpu)
{
    munmap(cpu->return_stack_map, RETURN_STACK_SIZE + 2 * GUARD);
}

void host_reset_return_stack(struct vcpu *cpu)
{
    cpu->return_stack = cpu->return_stack_top;
}

/* MXCSR.RC for enum ir_rm; software rounds to nearest away, so the host's mode doesn't matter. */
void host_set_rounding(struct vcpu *cpu, unsigned frm)
{
    static const uint8_t rc[] = { [IR_RNE] = 0, [IR_RTZ] = 3, [IR_RDN] = 1, [IR_RUP] = 2 };
    cpu->mxcsr = (cpu->mxcsr & ~0x6000u) | (frm <= IR_RUP ? (uint32_t)rc[frm] << 13 : 0);
}

unsigned dbt_fp_flags_get(const struct vcpu *cpu)
{
    uint32_t m = cpu->mxcsr;
    return cpu->fp_flags | (m & 1 ? IR_FLAG_NV : 0) | (m & 4 ? IR_FLAG_DZ : 0) |
           (m & 8 ? IR_FLAG_OF : 0) | (m & 16 ? IR_FLAG_UF : 0) | (m & 32 ? IR_FLAG_NX : 0);
}

void dbt_fp_flags_set(struct vcpu *cpu, unsigned flags)
{
    cpu->fp_flags = flags & 0x1f;
    cpu->mxcsr &= ~0x3fu;
}

/* The gs base is how translated code adds a guest base that isn't 0; glibc doesn't use it. */
void host_thread_enter(struct dbt *dbt, struct vcpu *cpu)
{
    (void)cpu;
    if (dbt->config.guest_base)
        syscall(SYS_arch_prctl, ARCH_SET_GS, dbt->config.guest_base);
}

uint64_t host_run_code(struct vcpu *cpu, const void *code)
{
    const struct dbt *dbt = cpu->dbt;
    uint64_t (*enter)(struct vcpu *, const void *) =
        (uint64_t (*)(struct vcpu *, const void *))(uintptr_t)(dbt->cache.rx + dbt->thunks.enter);
    return enter(cpu, code);
}

uint64_t host_run(struct vcpu *cpu, const struct block *b)
{
    return host_run_code(cpu, cpu->dbt->cache.rx + b->code);
}

/* ---- Faults ---- */

static void fault_details(struct vcpu *cpu, const siginfo_t *info, const ucontext_t *uc)
{
    bool write = uc->uc_mcontext.gregs[REG_ERR] & 2;
    cpu->fault_addr = (uint64_t)(uintptr_t)info->si_addr - cpu->guest_base;
    cpu->fault_access = write ? VCPU_WRITE : VCPU_READ;
    if (info->si_signo == SIGBUS)
        cpu->fault_kind = info->si_code == BUS_ADRALN ? VCPU_FAULT_ALIGN : VCPU_FAULT_BUS;
    else
        cpu->fault_kind = info->si_code == SEGV_ACCERR ? VCPU_FAULT_PROT : VCPU_FAULT_UNMAPPED;
    cpu->fault_general = info->si_signo == SIGSEGV && info->si_code == SI_KERNEL;
}

static uint64_t *greg(ucontext_t *uc, int r)
{
    static const uint8_t map[16] = { REG_RAX, REG_RCX, REG_RDX, REG_RBX, REG_RSP, REG_RBP, REG_RSI,
                                     REG_RDI, REG_R8,  REG_R9,  REG_R10, REG_R11, REG_R12, REG_R13,
                                     REG_R14, REG_R15 };
    return (uint64_t *)&uc->uc_mcontext.gregs[map[r]];
}

static void save_homes(struct vcpu *cpu, ucontext_t *uc, uint32_t but)
{
    const struct cg *g = cpu->dbt->host;
    for (int r = 0; r < 32; r++) {
        if (!(g->pinned & ~but & 1u << r))
            continue;
        uint8_t *home = (uint8_t *)cpu + VCPU_BASE_BIAS + g->home_disp[g->reg_home[r]];
        if (r >= XMM0)
            memcpy(home, uc->uc_mcontext.fpregs->_xmm[r - XMM0].element, 8);
        else
            memcpy(home, greg(uc, r), 8);
    }
}

static bool guard_page(const struct vcpu *cpu, uint64_t addr)
{
    return addr - (uint64_t)(uintptr_t)cpu->return_stack_map < GUARD;
}

/* Make the interrupted code continue at thunk exit_saved with the given result. */
static bool leave(struct vcpu *cpu, ucontext_t *uc)
{
    *greg(uc, RAX) = CODE_EXIT_FAULT;
    *greg(uc, RBP) = (uint64_t)(uintptr_t)cpu + VCPU_BASE_BIAS;
    uc->uc_mcontext.gregs[REG_RIP] =
        (greg_t)(uintptr_t)(cpu->dbt->cache.rx + cpu->dbt->thunks.exit_saved);
    return true;
}

static __attribute__((noreturn)) void unwind(void *buf)
{
    __builtin_longjmp(buf, 1);
}

bool dbt_handle_fault(struct vcpu *cpu, const siginfo_t *info, void *context)
{
    ucontext_t *uc = context;
    const struct dbt *dbt = cpu->dbt;
    uint64_t pc = (uint64_t)uc->uc_mcontext.gregs[REG_RIP];
    uint64_t offset = pc - (uint64_t)(uintptr_t)dbt->cache.rx;

    if (offset < dbt->cache.size) {
        if (info->si_signo == SIGSEGV && guard_page(cpu, (uint64_t)(uintptr_t)info->si_addr)) {
            *greg(uc, RSP) = (uint64_t)(uintptr_t)cpu->return_stack_top;
            return true;
        }
        const struct block *b = block_find_host(dbt, (uint32_t)offset);
        if (!b)
            return false;
        const struct fault_point *f = NULL;
        for (unsigned i = 0; i < b->n_faults && b->faults[i].host_offset <= offset; i++)
            f = &b->faults[i];
        if (!f)
            return false;
        save_homes(cpu, uc, f->borrowed);
        cpu->return_stack = (void *)(uintptr_t)*greg(uc, RSP);
        cpu->pc = block_pc(cpu, b) + (uint64_t)(int64_t)f->guest;
        fault_details(cpu, info, uc);
        return leave(cpu, uc);
    }
    if (cpu->in_helper) { /* a helper touched guest memory: registers are in the vCPU */
        cpu->in_helper = 0;
        cpu->return_stack = (uint64_t *)cpu->return_stack + 1; /* the call of the thunk */
        fault_details(cpu, info, uc);
        return leave(cpu, uc);
    }
    if (cpu->unwind) { /* the interpreter did */
        fault_details(cpu, info, uc);
        *greg(uc, RDI) = (uint64_t)(uintptr_t)cpu->unwind;
        *greg(uc, RSP) = ((*greg(uc, RSP) - 256) & ~15ull) - 8;
        uc->uc_mcontext.gregs[REG_RIP] = (greg_t)(uintptr_t)unwind;
        return true;
    }
    return false;
}

/* ---- Set-up ---- */

static void detect(struct host_features *f)
{
    unsigned a, b, c, d, xcr0 = 0;
    __cpuid(1, a, b, c, d);
    bool osxsave = c & bit_OSXSAVE;
    if (osxsave)
        __asm__("xgetbv" : "=a"(xcr0) : "c"(0) : "edx");
    f->avx = (c & bit_AVX) && (xcr0 & 6) == 6;
    f->fma = f->avx && (c & bit_FMA);
    f->f16c = f->avx && (c & bit_F16C);
    f->popcnt = c & bit_POPCNT;
    f->pclmul = c & bit_PCLMUL;
    f->aes = c & bit_AES;
    if (__get_cpuid_count(7, 0, &a, &b, &c, &d)) {
        f->bmi1 = f->avx && (b & bit_BMI);
        f->bmi2 = f->avx && (b & bit_BMI2);
    }
    if (__get_cpuid(0x80000001, &a, &b, &c, &d))
        f->lzcnt = c & bit_LZCNT;
}

bool host_init(struct dbt *dbt, GError **error)
{
    unsigned a, b, c, d;
    __cpuid(1, a, b, c, d);
    if (!(c & bit_SSE4_2) && !dbt->config.interpreter) {
        g_set_error_literal(error, G_OPTION_ERROR, G_OPTION_ERROR_FAILED,
                            "this host's CPU lacks SSE4.2, which the translator needs; "
                            "use the interpreter (-dbt interp=on)");
        return false;
    }
    detect(&dbt->features);
    struct cg *g = g_new0(struct cg, 1);
    g->dbt = dbt;
    dbt->host = g;
    cg_regs_init(g);
    return true;
}

void host_free(struct dbt *dbt)
{
    g_free(dbt->host);
}
