/*
 * rseq(2): restartable sequences (Linux: kernel/rseq.c, uapi/linux/rseq.h).
 *
 * The guest's structure is registered with the host's kernel, which keeps the number of the
 * processor and its kin in it. What the kernel can't do for a guest is to compare the pc with the
 * sequence that the guest's thread says it is in: that is done by dbt/section.h, for which the
 * signature that the kernel gets is not the guest's.
 */
#include <stddef.h>
#include <string.h>
#include <sys/auxv.h>
#include <sys/rseq.h>

#include "dbt/section.h"
#include "linux_user/mm.h"
#include "linux_user/sys.h"

/* A sequence's descriptor, the same for all architectures. */
struct sequence {
    uint32_t version, flags;
    uint64_t start, length, abort;
};

#ifndef AT_RSEQ_FEATURE_SIZE
#define AT_RSEQ_FEATURE_SIZE 27
#endif

enum { OWN_SIZE = 32 }; /* of a struct rseq as it was at first */

static uint64_t word_of(uint64_t area)
{
    return area + offsetof(struct rseq, rseq_cs);
}

static int64_t host_rseq(const void *area, uint32_t size, int flags)
{
    return LU_HOST(SYS_rseq, area, size, flags, SECTION_SIGNATURE);
}

/* A thread has only one structure, and the C library may have registered its own. It doesn't need
 * it: its functions look at the number in it and see that there is none. */
static void unregister_own(void)
{
    const char *own = (const char *)__builtin_thread_pointer() + __rseq_offset;
    uint32_t size = (MAX(__rseq_size, 1u) + OWN_SIZE - 1) / OWN_SIZE * OWN_SIZE;

    LU_HOST(SYS_rseq, own, size, RSEQ_FLAG_UNREGISTER, RSEQ_SIG);
}

/* The structure's address for the kernel: what the guest can't write becomes an address with the
 * same alignment that no process can. Bytes behind the kernel's fields aren't accessed. */
static void *area_ptr(const struct lu_process *p, uint64_t addr, uint32_t size)
{
    uint64_t used = MIN(size, MAX(getauxval(AT_RSEQ_FEATURE_SIZE), (unsigned long)OWN_SIZE));

    if (addr == 0 || lu_access_ok(p, addr, used, LU_READ | LU_WRITE)) {
        return addr ? lu_g2h(p, addr) : NULL;
    }
    return (char *)LU_BAD_POINTER + addr % LU_PAGE_SIZE;
}

static int64_t register_area(struct lu_thread *t, uint64_t addr, uint32_t size, uint32_t signature)
{
    struct lu_process *p = t->process;
    const uint64_t zero = 0;
    int64_t result;

    unregister_own();
    if (addr % sizeof(zero) == 0 && size >= OWN_SIZE) {
        /* What is left there from before is nothing to the kernel's newer versions. */
        lu_copy_to_guest(p, word_of(addr), &zero, sizeof(zero));
    }
    result = host_rseq(area_ptr(p, addr, size), size, 0);
    if (result == -EFAULT && addr < p->abi->task_size && size <= p->abi->task_size - addr) {
        /* The kernel finds out when it writes there, on the way back. */
        lu_force_signal(t, SIGSEGV, SI_KERNEL, 0);
        return 0;
    }
    if (result < 0 || addr == 0) {
        return result;
    }
    t->rseq = addr;
    t->rseq_size = size;
    t->rseq_signature = signature;
    t->cpu->section.word = word_of(addr);
    /* With the signature that the kernel knows, a descriptor that wasn't noticed would be good to
     * it. */
    lu_mm_watch_word(p->mm, signature == SECTION_SIGNATURE ? 0 : signature);
    return 0;
}

static int64_t unregister_area(struct lu_thread *t)
{
    int64_t result = host_rseq(lu_g2h(t->process, t->rseq), t->rseq_size, RSEQ_FLAG_UNREGISTER);

    if (result == 0) {
        t->rseq = 0;
        t->cpu->section.on = false;
        t->cpu->section.word = UINT64_MAX;
    }
    return result;
}

/* a: structure, size, flags, signature */
int64_t sys_rseq(struct lu_thread *t, const uint64_t a[6])
{
    uint32_t size = (uint32_t)a[1], signature = (uint32_t)a[3];
    int flags = (int)a[2];
    bool same = t->rseq && a[0] == t->rseq && size == t->rseq_size;

    if (t->process->options->dbt.lockstep) {
        return -ENOSYS; /* what a block stores is taken back there, and stored again */
    }
    if (flags & ~RSEQ_FLAG_UNREGISTER || (!same && (flags || t->rseq))) {
        return -EINVAL;
    }
    if (same && signature != t->rseq_signature) {
        return -EPERM;
    }
    if (flags) {
        return unregister_area(t);
    }
    return same ? -EBUSY : register_area(t, a[0], size, signature);
}

void lu_rseq_exit(struct lu_thread *t)
{
    if (t->rseq) {
        unregister_area(t);
    }
}

/* ---- Sequences ---- */

/* Read the descriptor at [addr]; false if the kernel would kill for it. */
static bool read_sequence(const struct lu_thread *t, uint64_t addr, struct sequence *s)
{
    const struct lu_process *p = t->process;
    uint64_t limit = p->abi->task_size;
    uint32_t found;

    return lu_copy_from_guest(p, s, addr, sizeof(*s)) == 0 && s->version == 0 && s->flags == 0 &&
           s->start < limit && s->length <= limit - s->start && s->abort < limit &&
           s->abort - s->start >= s->length &&
           lu_copy_from_guest(p, &found, s->abort - sizeof(found), sizeof(found)) == 0 &&
           found == t->rseq_signature;
}

/* The guest stores [addr] as the descriptor of the sequence that it begins. */
static void begin_sequence(struct lu_thread *t, uint64_t addr)
{
    struct vcpu *cpu = t->cpu;
    struct sequence s;
    bool ok;

    if (!t->rseq) {
        addr = 0; /* a vfork child has no sequences, and its parent is in none */
    }
    if (addr != 0 && !read_sequence(t, addr, &s)) {
        dbt_section_end(cpu, 0);
        lu_force_signal(t, SIGSEGV, SI_KERNEL, 0);
        return;
    }
    if (addr != 0 && cpu->pc - s.start < s.length) {
        t->rseq_abort = s.abort;
        ok = dbt_section_begin(cpu, s.start, s.start + s.length);
    } else {
        /* Outside of the sequence the kernel may take away the descriptor at any time. */
        ok = dbt_section_end(cpu, 0);
    }
    if (!ok) {
        lu_force_signal(t, SIGSEGV, SI_KERNEL, 0);
    }
}

enum vcpu_exit lu_rseq_store(struct lu_thread *t)
{
    enum vcpu_exit reason;
    uint64_t value;
    bool stored;

    if (!t->rseq && !t->vfork_child) {
        /* What was its parent's is memory like any other to a thread. Do the instruction again. */
        t->cpu->section.word = UINT64_MAX;
        return VCPU_EXIT_NONE;
    }
    reason = dbt_section_store(t->cpu, &stored, &value);
    if (stored) {
        begin_sequence(t, value);
    }
    return reason;
}

void lu_rseq_restart(struct lu_thread *t)
{
    t->cpu->pc = t->rseq_abort;
    t->cpu->excl_addr = UINT64_MAX; /* a trap ends a reservation */
}

void lu_rseq_signal(struct lu_thread *t)
{
    if (t->cpu->section.on) {
        dbt_section_end(t->cpu, 0);
        lu_rseq_restart(t);
    }
}
