#include "guest/riscv/helpers.h"

#include <sys/random.h>
#include <time.h>

#include "dbt/fp.h"
#include "dbt/vcpu.h"

static uint64_t monotonic_ns(void)
{
    struct timespec ts;

    clock_gettime(CLOCK_MONOTONIC, &ts);
    return (uint64_t)ts.tv_sec * 1000000000 + (uint64_t)ts.tv_nsec;
}

static uint64_t read_time(struct vcpu *cpu, uint64_t a, uint64_t b, uint64_t c, uint64_t d)
{
    return monotonic_ns() / 100;
}

const struct ir_helper riscv_helper_time = {"time", read_time, 0};

static uint64_t read_cycle(struct vcpu *cpu, uint64_t a, uint64_t b, uint64_t c, uint64_t d)
{
    return monotonic_ns();
}

const struct ir_helper riscv_helper_cycle = {"cycle", read_cycle, 0};

/* Cryptography Extensions Volume I 1.0.1, 4.1: bits 31:30 are the status, 01 = WAIT, 10 = ES16. */
static uint64_t read_seed(struct vcpu *cpu, uint64_t a, uint64_t b, uint64_t c, uint64_t d)
{
    enum { SEED_WAIT = 1, SEED_ES16 = 2 };
    uint16_t entropy;

    if (getrandom(&entropy, sizeof(entropy), GRND_NONBLOCK) != sizeof(entropy)) {
        return (uint64_t)SEED_WAIT << 30;
    }
    /* CSRs of 32 bits aren't sign-extended. */
    return (uint64_t)SEED_ES16 << 30 | entropy;
}

const struct ir_helper riscv_helper_seed = {"seed", read_seed, 0};

/* A pair of registers as one number; x0 stands for a pair of zeros. */
static unsigned __int128 get_pair(const struct vcpu *cpu, unsigned reg)
{
    return reg ? (unsigned __int128)cpu->r[reg + 1] << 64 | cpu->r[reg] : 0;
}

#ifdef __x86_64__
__attribute__((target("cx16")))
#endif
static uint64_t
amocas_q(struct vcpu *cpu, uint64_t addr, uint64_t rd, uint64_t rs2, uint64_t d)
{
    unsigned __int128 *p = (unsigned __int128 *)(uintptr_t)(addr + cpu->guest_base);
    unsigned __int128 old;

    if (addr % 16) {
        cpu->fault_addr = addr;
        cpu->fault_kind = VCPU_FAULT_ALIGN;
        cpu->fault_access = VCPU_WRITE;
        cpu->exit_reason = VCPU_EXIT_FAULT;
        return 0;
    }
    if (cpu->section
            .on) { /* section_commit has no store of 16 bytes: better loud than unprotected */
        cpu->exit_reason = VCPU_EXIT_ILLEGAL;
        return 0;
    }
    old = __sync_val_compare_and_swap(p, get_pair(cpu, (unsigned)rd), get_pair(cpu, (unsigned)rs2));
    if (rd) {
        cpu->r[rd] = (uint64_t)old;
        cpu->r[rd + 1] = (uint64_t)(old >> 64);
    }
    return 0;
}

const struct ir_helper riscv_helper_amocas_q = {"amocas.q", amocas_q,
                                                IR_HELPER_SYNC | IR_HELPER_MAY_EXIT};

static uint64_t fcvtmod_w_d(struct vcpu *cpu, uint64_t a, uint64_t b, uint64_t c, uint64_t d)
{
    unsigned flags = 0;
    uint64_t result = fp_to_int_modular(a, &flags);

    cpu->fp_flags |= flags;
    return result;
}

const struct ir_helper riscv_helper_fcvtmod_w_d = {"fcvtmod.w.d", fcvtmod_w_d, IR_HELPER_FPFLAGS};
