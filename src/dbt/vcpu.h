/*
 * The part of a vCPU's state that is the same for every guest. Translated code addresses it
 * relative to one host register, so the order of the first members matters (see the comments).
 *
 * A guest's own structure starts with a struct vcpu and appends its registers.
 */
#ifndef NANDU_DBT_VCPU_H
#define NANDU_DBT_VCPU_H

#include <stdalign.h>
#include <stdbool.h>
#include <stdint.h>

struct dbt;
struct guest_arch;
struct ir_unit;
struct softmmu;
struct tlb_context;

/* Why dbt_run returned. The vCPU's state is exact; pc is described for each. */
enum vcpu_exit {
    VCPU_EXIT_NONE,
    VCPU_EXIT_INTERRUPT,  /* the vCPU was kicked; pc = next instruction */
    VCPU_EXIT_SYSCALL,    /* pc = the instruction after the system call */
    VCPU_EXIT_BREAKPOINT, /* the guest's breakpoint instruction; pc = that instruction */
    VCPU_EXIT_ILLEGAL,    /* pc = the instruction */
    VCPU_EXIT_FAULT,      /* memory; pc = the instruction, fault_addr, fault_kind, fault_access */
    VCPU_EXIT_DEBUG,      /* a debugger's breakpoint at pc, a watchpoint, or a step done */
    VCPU_EXIT_FENCE_I,    /* internal to dbt: code may have been changed; pc = next instruction */
    VCPU_EXIT_MODE,       /* internal to dbt: vcpu.mode changed; pc = next instruction */
    VCPU_EXIT_YIELD,      /* the guest waits in a loop (pause, wrs); pc = next instruction */
    VCPU_EXIT_WORD,       /* a store to section.word is due; pc = it: dbt_section_store */
    VCPU_EXIT_RESTART,    /* the section was preempted and is over; pc = what wasn't done in it */
};

enum vcpu_fault_kind {
    VCPU_FAULT_UNMAPPED,  /* no mapping (SIGSEGV, SEGV_MAPERR) */
    VCPU_FAULT_PROT,      /* not permitted (SIGSEGV, SEGV_ACCERR) */
    VCPU_FAULT_ALIGN,     /* misaligned (SIGBUS, BUS_ADRALN) */
    VCPU_FAULT_BUS,       /* beyond the end of a mapped file (SIGBUS, BUS_ADRERR) */
};

enum vcpu_access { VCPU_READ, VCPU_WRITE, VCPU_FETCH };

enum {
    VCPU_JUMP_CACHE_BITS = 12,
    VCPU_JUMP_CACHE_SIZE = 1 << VCPU_JUMP_CACHE_BITS,
};

/* Guest pc -> host code, indexed by (pc >> 1) modulo the size. An unused entry has a pc that
 * belongs in another one: 3 in the first, 1 in the others. */
struct jump_cache_entry {
    uint64_t pc;
    const void *code;
};

/* Restartable sections (section.h). What is not private to dbt is said to be so. */
struct vcpu_section {
    uint64_t word;             /* guest address whose 64-bit stores are caught; ~0: none. The
                                  caller's: any time that the vCPU isn't running */
    volatile uint64_t *token;  /* the same on the host, in a section */
    uint64_t start, end;       /* guest code of the section */
    uint64_t value;            /* what was stored to the word, if [caught] */
    bool on;                   /* in a section */
    bool catching;             /* the next store to the word goes to [value] */
    bool caught;
};

struct vcpu {
    /* General registers: first, so that translated code reaches all with an 8-bit displacement.
     * A guest with fewer leaves the rest unused. */
    uint64_t r[32];

    uint64_t pc;   /* exact when not in translated code */
    uint32_t mode; /* part of the key of translated code; defined by the guest (RISC-V: frm) */

    /* Leave translated code at the next poll. Any thread or a signal handler may set it; the
     * vCPU's thread clears it when it returns VCPU_EXIT_INTERRUPT. */
    volatile uint8_t poll;
    bool single_step;          /* return VCPU_EXIT_DEBUG after each instruction */
    bool no_debug;             /* break- and watchpoints are others': they don't stop this vCPU */
    bool hold_interrupts;      /* for the guest architecture: a debugger steps, they wait */
    volatile bool in_code;     /* the vCPU's thread is inside translated code */

    uint32_t exit_reason;      /* enum vcpu_exit; set by helpers to leave translated code */
    uint32_t fp_flags;         /* sticky flags raised by software, IR order */
    uint32_t mxcsr;            /* the guest's MXCSR when not in translated code (x86-64 host) */
    uint32_t mxcsr_scratch;

    uint64_t fault_addr;       /* guest address of the last VCPU_EXIT_FAULT */
    uint8_t fault_kind;        /* enum vcpu_fault_kind */
    uint8_t fault_access;      /* enum vcpu_access */

    uint64_t excl_addr;        /* reservation of LDX: guest address, ~0 for none */
    uint64_t excl_value;       /* and the value read, zero-extended */

    /* Host side; private to dbt. */
    void *host_sp;             /* stack of the C code that called into translated code */
    void *return_stack_top;    /* where the return-prediction stack is reset to */
    void *return_stack;        /* its current position when not in translated code */
    void *return_stack_map;    /* mapping, with guard pages */
    uint64_t guest_base;       /* host address = guest address + guest_base */
    uint64_t scratch[4];       /* arguments of helpers; [3] also the result of far helpers */
    uint64_t spill[24];        /* values of a block that have no register */
    uint64_t far_save[12];     /* scratch registers while a far helper runs */
    uint64_t borrow_save[16];  /* borrowed registers while an access takes its slow way */
    void *unwind;              /* __builtin_setjmp buffer while the interpreter runs, or NULL */
    uint32_t in_helper;        /* C code called from translated code, registers are in the vCPU */
    bool fault_general;        /* the host gave no address for the last fault: not canonical */
    bool thread_ready;         /* host_thread_enter was called by the vCPU's thread */

    /* System mode (softmmu.h); NULL in user mode. */
    struct tlb_context *tlb;   /* the current one */
    struct jump_cache_entry *jumps; /* takes the place of jump_cache: of tlb and mode */
    struct softmmu *mmu;
    uint64_t code_at;          /* an address in the page of the relative code that is being run */
    volatile uint8_t tlb_request; /* what other threads ask of this vCPU's */

    struct vcpu_section section;
    struct ir_unit *step_unit; /* for single steps */
    struct dbt *dbt;
    const struct guest_arch *arch;
    const void *model;         /* the guest's CPU model (features); owned by the caller */
    void *owner;               /* of whoever runs the vCPU: linux_user's thread, a machine's CPU */
    unsigned index;            /* number of the vCPU in its dbt */
    struct vcpu *next;         /* list of the dbt's vCPUs */

    alignas(64) struct jump_cache_entry jump_cache[VCPU_JUMP_CACHE_SIZE];
};

/* The address that translated code's state register holds: displacements -128 .. 127 cover r[]. */
enum { VCPU_BASE_BIAS = 128 };

/* The page of the relative code that is being run. */
static inline uint64_t vcpu_code_page(const struct vcpu *cpu) { return cpu->code_at & ~UINT64_C(0xfff); }

/* Ask a vCPU to leave translated code soon. Async-signal-safe; from any thread. */
static inline void vcpu_kick(struct vcpu *cpu) { __atomic_store_n(&cpu->poll, 1, __ATOMIC_SEQ_CST); }

#endif
