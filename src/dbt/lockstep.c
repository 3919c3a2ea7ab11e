/*
 * "-dbt lockstep=on": each block is interpreted, the vCPU and the memory that it wrote are put
 * back, then its host code is run, and what the two have left is compared. So a wrong translation
 * is found at the block that it happens in.
 *
 * Only one vCPU can be run so: another one would see memory change back and forth. Writes by the
 * host code to places where the interpreter didn't write show only when something reads them.
 */
#include <stdlib.h>
#include <string.h>

#include "dbt/dbt_priv.h"
#include "dbt/interp/interp.h"

/* Bytes that the interpreter was about to write. */
struct write_record {
    uint64_t addr;
    uint32_t size;
    uint8_t before[8], after[8];
};

/* What a block can change of a vCPU, but for the guest's registers behind struct vcpu. */
struct state {
    uint64_t r[32];
    uint64_t pc, fault_addr, excl_addr, excl_value;
    uint32_t mode, exit_reason, fp_flags, mxcsr;
    uint8_t fault_kind;
    bool fault_general;
    enum vcpu_exit reason;   /* only after a run */
    uint8_t *rest;           /* what follows struct vcpu in the guest's structure */
};

struct lockstep {
    struct vcpu *cpu;
    const struct block *b;
    GArray *writes;          /* struct write_record, in order */
    struct state start, want, got;
};

static size_t rest_size(const struct vcpu *cpu)
{
    return cpu->arch->vcpu_size - sizeof(struct vcpu);
}

static void save(const struct vcpu *cpu, struct state *s)
{
    memcpy(s->r, cpu->r, sizeof(s->r));
    s->pc = cpu->pc;
    s->fault_addr = cpu->fault_addr;
    s->fault_kind = cpu->fault_kind;
    s->fault_general = cpu->fault_general;
    s->excl_addr = cpu->excl_addr;
    s->excl_value = cpu->excl_value;
    s->mode = cpu->mode;
    s->exit_reason = cpu->exit_reason;
    s->fp_flags = cpu->fp_flags;
    s->mxcsr = cpu->mxcsr;
    g_free(s->rest);
    s->rest = g_memdup2((const uint8_t *)cpu + sizeof(*cpu), rest_size(cpu));
}

static void restore(struct vcpu *cpu, const struct state *s)
{
    memcpy(cpu->r, s->r, sizeof(s->r));
    cpu->pc = s->pc;
    cpu->fault_addr = s->fault_addr;
    cpu->fault_kind = s->fault_kind;
    cpu->fault_general = s->fault_general;
    cpu->excl_addr = s->excl_addr;
    cpu->excl_value = s->excl_value;
    cpu->mode = s->mode;
    cpu->exit_reason = s->exit_reason;
    cpu->fp_flags = s->fp_flags;
    cpu->mxcsr = s->mxcsr;
    memcpy((uint8_t *)cpu + sizeof(*cpu), s->rest, rest_size(cpu));
}

static uint64_t register_value(const struct state *s, const struct guest_reg *reg)
{
    uint64_t v = 0;
    unsigned size = MIN(ir_type_bytes(reg->type), 8);
    if (reg->offset < sizeof(s->r))
        memcpy(&v, (const uint8_t *)s->r + reg->offset, size);
    else
        memcpy(&v, s->rest + (reg->offset - sizeof(struct vcpu)), size);
    return v;
}

/* ---- Memory ---- */

static uint8_t *host_memory(const struct lockstep *l, uint64_t addr)
{
    return (uint8_t *)(uintptr_t)(addr + l->cpu->guest_base);
}

/* Reading the old value may fault: that is the fault that the write would have made. */
static void record_write(void *opaque, struct vcpu *cpu, uint64_t addr, unsigned size,
                         enum vcpu_access access)
{
    struct lockstep *l = opaque;
    struct write_record w = { .addr = addr, .size = size };
    (void)cpu;
    if (access != VCPU_WRITE)
        return;
    memcpy(w.before, host_memory(l, addr), size);
    g_array_append_val(l->writes, w);
}

/* Notes what was written and puts back what was there. Bytes that hold what they held are left
 * alone, for the last write may have faulted. */
static void undo_writes(struct lockstep *l)
{
    for (unsigned i = 0; i < l->writes->len; i++) {
        struct write_record *w = &g_array_index(l->writes, struct write_record, i);
        memcpy(w->after, host_memory(l, w->addr), w->size);
    }
    for (unsigned i = l->writes->len; i-- > 0;) {
        const struct write_record *w = &g_array_index(l->writes, struct write_record, i);
        if (memcmp(w->before, host_memory(l, w->addr), w->size) != 0)
            memcpy(host_memory(l, w->addr), w->before, w->size);
    }
}

/* ---- Comparison ---- */

static void difference(GString *text, const char *name, uint64_t start, uint64_t want, uint64_t got)
{
    g_string_append_printf(text, "  %-10s %16" PRIx64 "  interpreted %16" PRIx64
                           "  host code %16" PRIx64 "%s\n",
                           name, start, want, got, want == got ? "" : "  <--");
}

static bool same_memory(const struct lockstep *l, const struct write_record *w)
{
    return memcmp(w->after, host_memory(l, w->addr), w->size) == 0;
}

/* A fault with an address unknown to the host is looked up later; the reservation of a faulting
 * store-conditional is unspecified. */
static bool same(const struct lockstep *l)
{
    const struct state *want = &l->want, *got = &l->got;
    bool fault = want->reason == VCPU_EXIT_FAULT;
    bool address = fault && !want->fault_general && !got->fault_general;
    if (want->reason != got->reason || want->pc != got->pc || want->mode != got->mode ||
        want->fp_flags != got->fp_flags || memcmp(want->r, got->r, sizeof(want->r)) != 0 ||
        memcmp(want->rest, got->rest, rest_size(l->cpu)) != 0)
        return false;
    if (!fault && (want->excl_addr != got->excl_addr ||
                   (want->excl_addr != UINT64_MAX && want->excl_value != got->excl_value)))
        return false;
    if (address && (want->fault_addr != got->fault_addr || want->fault_kind != got->fault_kind))
        return false;
    for (unsigned i = 0; i < l->writes->len; i++)
        if (!same_memory(l, &g_array_index(l->writes, struct write_record, i)))
            return false;
    return true;
}

static void print_states(const struct lockstep *l, FILE *f)
{
    const struct guest_arch *arch = l->cpu->arch;
    const struct state *start = &l->start, *want = &l->want, *got = &l->got;
    g_autoptr(GString) text = g_string_new("before, and after it was\n");
    difference(text, "pc", start->pc, want->pc, got->pc);
    difference(text, "exit", 0, want->reason, got->reason);
    difference(text, "mode", start->mode, want->mode, got->mode);
    difference(text, "fp flags", start->fp_flags, want->fp_flags, got->fp_flags);
    difference(text, "reserved", start->excl_addr, want->excl_addr, got->excl_addr);
    difference(text, "  value", start->excl_value, want->excl_value, got->excl_value);
    if (want->reason == VCPU_EXIT_FAULT || got->reason == VCPU_EXIT_FAULT)
        difference(text, "fault at", start->fault_addr, want->fault_addr, got->fault_addr);
    for (unsigned i = 0; i < arch->n_regs; i++)
        difference(text, arch->regs[i].name, register_value(start, &arch->regs[i]),
                   register_value(want, &arch->regs[i]), register_value(got, &arch->regs[i]));
    for (unsigned i = 0; i < l->writes->len; i++) {
        const struct write_record *w = &g_array_index(l->writes, struct write_record, i);
        g_autofree char *name = g_strdup_printf("%" PRIx64, w->addr);
        uint64_t v[3] = { 0 };
        memcpy(&v[0], w->before, w->size);
        memcpy(&v[1], w->after, w->size);
        memcpy(&v[2], host_memory(l, w->addr), w->size);
        difference(text, name, v[0], v[1], v[2]);
    }
    fputs(text->str, f);
}

static G_GNUC_NORETURN void report(const struct lockstep *l)
{
    struct dbt *dbt = l->cpu->dbt;
    FILE *f = dbt->config.log_file;
    fprintf(f, "nandu: internal error: host code and interpreter differ for the block at guest "
            "pc 0x%" PRIx64 ", mode %u\nIN:\n", l->b->pc, l->b->mode);
    dbt_log_guest_code(l->cpu, l->b->ir, f);
    fprintf(f, "OP after optimization:\n");
    ir_print(l->b->ir, f);
    host_log_code(dbt, l->b, f);
    print_states(l, f);
    fflush(f);
    if (f != stderr)
        fprintf(stderr, "nandu: internal error: host code and interpreter differ: see the log\n");
    abort();
}

/* ---- Running ---- */

static bool comparable(const struct ir_unit *u)
{
    for (unsigned i = 1; i < u->n_ops; i++) {
        const struct ir_op *o = &u->ops[i];
        if (o->op == IR_HELPER &&
            !(((const struct ir_helper *)(uintptr_t)o->imm)->flags & IR_HELPER_PURE))
            return false;
    }
    return true;
}

/* The reason that a result of host code stands for; the vCPU's pc is set. */
static enum vcpu_exit decode_result(struct vcpu *cpu, uint64_t result)
{
    uint32_t index = (uint32_t)(result >> 8);
    struct block_exit e;

    switch ((enum code_exit)(result & 0xff)) {
    case CODE_EXIT_DIRECT:
    case CODE_EXIT_POLL:
        e = host_exit_at(cpu->dbt, index);
        cpu->pc = e.from->pc + (uint64_t)e.distance;
        break;
    case CODE_EXIT_REDIRECT: cpu->pc = block_find_host(cpu->dbt, index)->pc; break;
    case CODE_EXIT_INDIRECT: break;
    case CODE_EXIT_REASON: return index;
    case CODE_EXIT_FAULT: return VCPU_EXIT_FAULT;
    }
    return VCPU_EXIT_NONE;
}

uint64_t dbt_lockstep_run(struct vcpu *cpu, const struct block *b)
{
    struct lockstep l = { .cpu = cpu, .b = b };
    struct interp_hooks hooks = { .access = record_write, .opaque = &l };
    uint64_t result;

    if (!comparable(b->ir))
        return host_run(cpu, b);
    l.writes = g_array_new(FALSE, FALSE, sizeof(struct write_record));
    save(cpu, &l.start);
    enum vcpu_exit reason = dbt_interpret(cpu, b->ir, &hooks);
    save(cpu, &l.want);
    l.want.reason = reason;
    l.want.fp_flags = dbt_fp_flags_get(cpu);
    undo_writes(&l);
    restore(cpu, &l.start);

    result = host_run(cpu, b);
    reason = decode_result(cpu, result);
    save(cpu, &l.got);
    l.got.reason = reason;
    l.got.fp_flags = dbt_fp_flags_get(cpu);
    /* A kick may make it leave before a branch that the interpreter has taken. */
    if ((result & 0xff) != CODE_EXIT_POLL && !same(&l))
        report(&l);
    g_free(l.start.rest);
    g_free(l.want.rest);
    g_free(l.got.rest);
    g_array_free(l.writes, TRUE);
    return result;
}
