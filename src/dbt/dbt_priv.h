/*
 * Inside of the translator: what dbt.c, cache.c, translate.c and the host back end share.
 *
 * Threads: everything here is under dbt.lock except
 *  - the hash table of blocks, which readers walk without a lock (writers publish with release
 *    stores; blocks are freed only by a flush, when no thread is in translated code or looking one
 *    up: see "in_code" in dbt.c),
 *  - blocks[] and n_blocks, which a signal handler reads.
 *
 * What is done under dbt.lock may end in the middle (lock.h), and the C library's allocator can't
 * be taken back from the dead. So what a running vCPU does under it doesn't allocate by it.
 */
#ifndef NANDU_DBT_PRIV_H
#define NANDU_DBT_PRIV_H

#include <inttypes.h>

#include "dbt/code_pages.h"
#include "dbt/dbt.h"
#include "dbt/lock.h"

/* Side table: code from host_offset on belongs to the guest instruction at block pc + guest. */
struct fault_point {
    uint32_t host_offset;  /* in the code cache */
    int32_t guest;
    uint16_t borrowed;     /* host registers that are no homes of guest registers here */
};

enum { BLOCK_MAX_PAGES = 4, BLOCK_PAGE_SHIFT = 12 };

struct block;

/* A block is on the list of each page that its code came from; lists are by hash of the page. */
struct page_link {
    uint64_t page;           /* guest page number; physical in system mode */
    struct block *block;
    struct page_link *next;
};

/* A machine has hundreds of thousands: what is rare or follows from the rest isn't in it. */
struct block {
    uint64_t pc;             /* system mode: where its code was at first */
    uint64_t phys;           /* system mode: guest-physical address of pc; user mode: 0 */
    struct block *hash_next;
    struct page_link *pages; /* that the code came from */
    struct fault_point *faults;
    struct ir_unit *ir;      /* if it is to be interpreted, or with lockstep; else NULL */
    struct block *unstable_next;
    uint32_t size;           /* all of the block's guest code is in [pc, pc + size) */
    uint32_t mode;
    uint32_t index;          /* in dbt.blocks */
    uint32_t code;           /* offset of the entry in the code cache */
    uint32_t code_far;       /* where the out-of-line part starts */
    uint32_t code_end;
    uint16_t n_faults;
    uint16_t n_insns;
    uint8_t n_pages;
    bool relative;           /* its code may be at any address with the same offset in a page */
    bool keyed;              /* system mode: it is good for this pc only */
    bool crosses;            /* system mode: its only instruction ends in the next page. Only C may
                                lead to it, and the jump caches, for which both pages are looked up */
    bool no_debug;           /* breakpoints are left out (for a vCPU with no_debug) */
    bool invalid;            /* its entry jumps to its redirection stub */
    bool unstable;           /* guest code that may change without notice until fence.i */
    bool interpret;          /* there is no code: interpret [ir] */
};

/* Of a relative block: the page that it was lifted in; else 0. */
static inline uint64_t block_base(const struct block *b)
{
    return b->relative ? b->pc >> BLOCK_PAGE_SHIFT << BLOCK_PAGE_SHIFT : 0;
}
/* Of one that crosses: the guest-physical address of the next page. */
static inline uint64_t block_next_page(const struct block *b)
{
    return b->pages[b->n_pages - 1].page << BLOCK_PAGE_SHIFT;
}

/* A direct exit of a block. What is known of it is in the code (host_exit_at). */
struct block_exit {
    const struct block *from;
    int64_t distance;        /* from the block's guest pc to the one that it goes to */
    uint32_t patch;          /* cache offset just behind the rel32 to patch, if it may be linked */
};

/* What translated code returns to dbt_run: kind | index << 8. */
enum code_exit {
    CODE_EXIT_DIRECT,        /* cache offset of an exit that isn't linked yet */
    CODE_EXIT_POLL,          /* the same, because of vcpu.poll */
    CODE_EXIT_INDIRECT,      /* vcpu.pc isn't in the jump cache, or vcpu.poll. System mode: index - 1
                                is the entry where it was looked up, unless it is 0 */
    CODE_EXIT_REDIRECT,      /* cache offset of the entry of a block that is invalid */
    CODE_EXIT_REASON,        /* index is an enum vcpu_exit; vcpu.pc is set */
    CODE_EXIT_FAULT,         /* from the signal handler; all set */
};

/* The code cache: one memory object, mapped twice (W^X). Offsets are the same in both. */
struct code_cache {
    uint8_t *rw;             /* writable view */
    const uint8_t *rx;       /* executable view */
    size_t size;
    size_t used;             /* next free offset */
    size_t fixed;            /* end of the thunks: what a flush keeps */
    uint8_t *copy;           /* during a fork: what the child gets, writable; NULL: nothing */
};

/* Entry points that the back end puts at the start of the cache. Offsets. */
struct host_thunks {
    uint32_t enter;          /* uint64_t (*)(struct vcpu *, const void *code) */
    uint32_t exit;           /* eax = result: save everything, return to C */
    uint32_t exit_saved;     /* the same when registers are already in the vCPU */
    uint32_t indirect_miss;  /* rax = guest pc */
    uint32_t ret_miss;       /* rax = guest pc: reset the return stack */
    uint32_t ret_underflow;  /* bottom of the return stack */
    uint32_t helper;         /* rax = function, arguments in vcpu.scratch */
    uint32_t helper_sync;    /* the same with guest registers in the vCPU */
    uint32_t far_helper;     /* the same, preserving everything; result in vcpu.scratch[3] */
    uint32_t slow;           /* system mode: does the access that follows the call */
    uint32_t direct, poll;   /* leave by the exit that is behind the call */
    uint32_t redirect;       /* leave for the entry that is behind the call */
    uint32_t constants;
};

enum { HASH_BITS = 16, HASH_BITS_SYSTEM = 18, PAGE_HASH_BITS = 12, RETURN_STACK_SIZE = 256 * 1024 };

/* In a block's mode, besides the guest's: one instruction, to be interpreted. */
#define MODE_ONE_INSN (1u << 31)

struct dbt_watch {
    uint64_t addr, size;
    int access;
};

struct dbt_intrinsic {
    uint64_t pc;
    const struct ir_helper *helper;
    unsigned return_reg;
};

struct host_features {
    bool avx, fma, bmi1, bmi2, lzcnt, popcnt, pclmul, aes, f16c, avx512f, avx512vl;
};

struct dbt {
    struct dbt_config config;
    dbt_log_filter *log_filter;  /* NULL: all */
    const void *log_opaque;
    const struct guest_arch *arch;
    struct code_cache cache;
    struct host_thunks thunks;
    struct host_features features;
    struct perf_files *perf;     /* perf.c; NULL: none */

    struct dbt_lock lock;
    volatile bool flushing;      /* vCPUs must stay out of translated code */
    volatile uint32_t generation;/* counts flushes */
    struct ir_unit *unit;        /* being translated */
    void *host;                  /* the back end's working state */

    struct block **hash;         /* 1 << hash_bits chains */
    unsigned hash_bits;
    struct block **blocks;       /* by index, ascending code offset; reserved for max_blocks */
    volatile uint32_t n_blocks;
    uint32_t max_blocks;
    struct page_link *pages[1 << PAGE_HASH_BITS];
    struct block *unstable;      /* list by unstable_next; some are invalid */
    uint8_t *arena, *arena_end;  /* blocks and side tables; what is left of arena_chunks */
    struct arena_chunk *arena_chunks;

    struct code_pages code_pages; /* system mode */
    bool watch_words;            /* stores are compared with vcpu.section.word */
    struct vcpu *vcpus;          /* list by vcpu.next */
    unsigned n_vcpus;

    GArray *breakpoints;         /* uint64_t */
    GArray *watchpoints;         /* struct dbt_watch */
    GArray *intrinsics;          /* struct dbt_intrinsic, by pc */
    struct dbt_stats stats;
};

/* cache.c */
bool code_cache_init(struct code_cache *cache, size_t size, GError **error);
void code_cache_free(struct code_cache *cache);
/* Fork. Lock held: makes the child's copy, if that is better than starting empty. */
void code_cache_before_fork(struct code_cache *cache);
/* In the parent. */
void code_cache_after_fork(struct code_cache *cache);
/* In the child: the copy takes the place of what the parent has. False: there is none. */
bool code_cache_adopt_copy(struct code_cache *cache);
/* In the child: the same with nothing but the thunks. False: no memory. */
bool code_cache_unshare(struct code_cache *cache);

struct block *block_lookup(const struct dbt *dbt, uint64_t key, uint64_t phys, uint32_t mode);
/* The key of a block at pc, 0 or pc: in system mode code is shared by all addresses that lead to
 * it, unless a debugger cares for some. */
uint64_t block_key(const struct dbt *dbt, uint64_t pc, uint32_t mode);
/* Whether blocks of that mode are relative. */
bool block_is_relative(const struct dbt *dbt, uint32_t mode);
/*
 * Where the guest's code of a block is for the vCPU that runs it: what its base stands for, its pc.
 */
static inline uint64_t block_page(const struct vcpu *cpu, const struct block *b)
{
    return b->relative ? vcpu_code_page(cpu) : 0;
}
static inline uint64_t block_pc(const struct vcpu *cpu, const struct block *b)
{
    return block_page(cpu, b) + (b->pc - block_base(b));
}
/* Another one with the same key: there may be several that cross. */
struct block *block_lookup_next(const struct block *b);
/* Lock held: publishes [b] in the hash, the page lists. */
void block_insert(struct dbt *dbt, struct block *b);
void block_invalidate(struct dbt *dbt, struct block *b);
/* All blocks with code in [start, start + size). */
void block_invalidate_range(struct dbt *dbt, uint64_t start, uint64_t size);
/* System mode: the same, whatever is there in memory. */
void block_invalidate_virtual(struct dbt *dbt, uint64_t start, uint64_t size);
/* System mode: all blocks with code from that page. */
void block_invalidate_page(struct dbt *dbt, uint64_t page);
/* The block whose code contains the given cache offset; NULL. Async-signal-safe. */
struct block *block_find_host(const struct dbt *dbt, uint32_t offset);
void *dbt_arena_alloc(struct dbt *dbt, size_t size);
void dbt_arena_reset(struct dbt *dbt);
void dbt_forget_blocks(struct dbt *dbt);

/* Whether the log is about code at pc, as far as it is about code. */
static inline bool dbt_logs(const struct dbt *dbt, uint64_t pc)
{
    return dbt->config.log && (!dbt->log_filter || dbt->log_filter(dbt->log_opaque, pc));
}

/* perf.c: what tells perf about blocks. All do nothing if nobody asked for it. */
void perf_open(struct dbt *dbt);
void perf_close(struct dbt *dbt);
void perf_block(struct dbt *dbt, const struct block *b);
/* In the child: files of its own, with the blocks that it has got. */
void perf_after_fork(struct dbt *dbt);

/* translate.c */
enum translate_result { TRANSLATE_OK, TRANSLATE_FULL, TRANSLATE_FETCH_FAULT };
/* Lock held. Lifts guest code at [pc], as the vCPU sees it, into dbt->unit; fills in what [b] says of
 * the guest's code. b->pages has room for BLOCK_MAX_PAGES. */
enum translate_result dbt_lift(struct vcpu *cpu, uint64_t pc, uint32_t mode, unsigned max_insns,
                               struct block *b);
enum translate_result dbt_translate(struct vcpu *cpu, uint64_t pc, uint32_t mode,
                                    struct block **block);
/* The guest instructions of a unit, one a line. */
void dbt_log_guest_code(struct vcpu *cpu, const struct ir_unit *u, FILE *f);

/* dbt.c: interprets one unit; a fault in it comes back here by way of the signal handler. */
struct interp_hooks;
enum vcpu_exit dbt_interpret(struct vcpu *cpu, const struct ir_unit *u,
                             const struct interp_hooks *hooks);

/*
 * lockstep.c: as host_run, but the block is first interpreted. What the two leave is compared; the
 * first difference is printed and ends the process, for it is an error of ours. Memory and vCPU are
 * then as the host code left them. Blocks with a helper that isn't pure are only run.
 */
uint64_t dbt_lockstep_run(struct vcpu *cpu, const struct block *b);

/* host/x86_64: the back end. */
bool host_init(struct dbt *dbt, GError **error);
void host_free(struct dbt *dbt);
void host_emit_thunks(struct dbt *dbt);
/* Code for dbt->unit at cache.used: sets b->code, code_end, faults. False: out of space; the unit
 * is too big when *too_big. */
bool host_compile(struct dbt *dbt, const struct ir_unit *u, struct block *b, bool *too_big);
/* The exit at the offset that CODE_EXIT_DIRECT or CODE_EXIT_POLL says. */
struct block_exit host_exit_at(const struct dbt *dbt, uint32_t offset);
void host_link_exit(struct dbt *dbt, const struct block_exit *e, const struct block *to);
void host_unlink_block(struct dbt *dbt, const struct block *b);
void host_redirect_block(struct dbt *dbt, const struct block *b, const struct block *to);
bool host_vcpu_init(struct vcpu *cpu);
void host_vcpu_free(struct vcpu *cpu);
void host_reset_return_stack(struct vcpu *cpu);
void host_set_rounding(struct vcpu *cpu, unsigned frm);
void host_thread_enter(struct dbt *dbt, struct vcpu *cpu);
void host_log_code(struct dbt *dbt, const struct block *b, FILE *f);
uint64_t host_run(struct vcpu *cpu, const struct block *b);
/* The same by the address of a block's code. */
uint64_t host_run_code(struct vcpu *cpu, const void *code);

#endif
