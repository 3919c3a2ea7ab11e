/* RISC-V: what a handler sees of the registers, and what it changes in them. */
#define _GNU_SOURCE
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/time.h>
#include <sys/ucontext.h>
#include <unistd.h>

#define CHECK(x) printf("%s: %s\n", #x, (x) ? "ok" : "FAIL")

static ucontext_t seen;
static siginfo_t info;
static volatile int calls;
static uintptr_t frame;

static void keep(int sig, siginfo_t *si, void *context)
{
    (void)sig;
    seen = *(ucontext_t *)context;
    info = *si;
    frame = (uintptr_t)si;
    calls++;
}

/* Skips the instruction and changes registers: s2, a0, fs2 and fcsr. */
static void change(int sig, siginfo_t *si, void *context)
{
    ucontext_t *uc = context;
    uint16_t insn = *(uint16_t *)uc->uc_mcontext.__gregs[REG_PC];

    keep(sig, si, context);
    uc->uc_mcontext.__gregs[REG_PC] += (insn & 3) == 3 ? 4 : 2;
    uc->uc_mcontext.__gregs[18] = 0x1234567890abcdef;
    uc->uc_mcontext.__gregs[10] = 77;
    uc->uc_mcontext.__fpregs.__d.__f[18] = 0x4045000000000000; /* 42.0 */
    uc->uc_mcontext.__fpregs.__d.__fcsr = 0x61;                /* round up, inexact */
}

static void install(int sig, void (*fn)(int, siginfo_t *, void *), int flags)
{
    struct sigaction sa = {.sa_sigaction = fn, .sa_flags = SA_SIGINFO | flags};

    sigaction(sig, &sa, NULL);
}

static uint64_t get_fcsr(void)
{
    uint64_t v;

    __asm__ volatile("frcsr %0" : "=r"(v));
    return v;
}

/* A statement that traps at the label "1:", with known registers. */
#define TRAP(insn)                                                                                 \
    do {                                                                                           \
        register uint64_t s2 __asm__("s2") = 0x5555;                                               \
        register uint64_t a0 __asm__("a0") = 3;                                                    \
        register double fs2 __asm__("fs2") = 1.5;                                                  \
        uint64_t pc;                                                                               \
        __asm__ volatile("la %3, 1f\n fscsr %4\n1: " insn                                          \
                         : "+r"(s2), "+r"(a0), "+f"(fs2), "=&r"(pc)                                \
                         : "r"(0x25ul) : "memory");                                                \
        got_s2 = s2, got_a0 = a0, got_fs2 = fs2, got_pc = pc;                                      \
    } while (0)

static void traps(void)
{
    uint64_t got_s2, got_a0, got_pc;
    double got_fs2;

    install(SIGILL, change, 0);
    install(SIGTRAP, change, 0);
    install(SIGSEGV, change, 0);
    install(SIGBUS, change, 0);

    TRAP(".4byte 0xffffffff");
    CHECK(info.si_signo == SIGILL && info.si_code == ILL_ILLOPC);
    CHECK((uint64_t)info.si_addr == got_pc);
    CHECK(seen.uc_mcontext.__gregs[REG_PC] == got_pc);
    CHECK(seen.uc_mcontext.__gregs[18] == 0x5555 && seen.uc_mcontext.__gregs[10] == 3);
    CHECK(seen.uc_mcontext.__fpregs.__d.__f[18] == 0x3ff8000000000000);
    CHECK(seen.uc_mcontext.__fpregs.__d.__fcsr == 0x25);
    CHECK(got_s2 == 0x1234567890abcdef && got_a0 == 77 && got_fs2 == 42.0);
    CHECK(get_fcsr() == 0x61);
    {
        volatile double one = 1.0, tiny = 0x1p-60;
        CHECK(one + tiny > 1.0); /* by the mode that the handler set */
    }
    __asm__ volatile("fscsr zero");

    TRAP(".2byte 0");
    CHECK(info.si_signo == SIGILL && (uint64_t)info.si_addr == got_pc);
    TRAP(".option push\n.option norvc\nebreak\n.option pop");
    CHECK(info.si_signo == SIGTRAP && info.si_code == TRAP_BRKPT);
    CHECK((uint64_t)info.si_addr == got_pc && seen.uc_mcontext.__gregs[REG_PC] == got_pc);
    TRAP("c.ebreak");
    CHECK(info.si_signo == SIGTRAP && (uint64_t)info.si_addr == got_pc);
    TRAP("ld s2, 8(zero)");
    CHECK(info.si_signo == SIGSEGV && (uint64_t)info.si_addr == 8);
    CHECK(seen.uc_mcontext.__gregs[REG_PC] == got_pc && got_a0 == 77);
    TRAP("sd s2, -8(zero)");
    CHECK(info.si_signo == SIGSEGV && (uint64_t)info.si_addr == (uint64_t)-8);
    CHECK(info.si_code == SEGV_MAPERR);
    CHECK(seen.uc_mcontext.__gregs[18] == 0x5555 && seen.uc_mcontext.__gregs[REG_PC] == got_pc);
    TRAP("fld fs2, 16(zero)");
    CHECK(info.si_signo == SIGSEGV && (uint64_t)info.si_addr == 16);
    TRAP("amoadd.d s2, a0, (a0)");
    CHECK(info.si_signo == SIGBUS || info.si_signo == SIGSEGV);
    CHECK((uint64_t)info.si_addr == 3);
    __asm__ volatile("fscsr zero");
}

static void frames(void)
{
    stack_t ss = {.ss_sp = aligned_alloc(16, 65536), .ss_size = 65536};
    sigset_t set;
    uintptr_t sp;

    install(SIGUSR1, keep, 0);
    sigemptyset(&set);
    sigaddset(&set, SIGUSR2);
    sigprocmask(SIG_SETMASK, &set, NULL);
    __asm__ volatile("mv %0, sp" : "=r"(sp));
    raise(SIGUSR1);
    sigprocmask(SIG_UNBLOCK, &set, NULL);
    CHECK(frame % 16 == 0 && frame < sp && sp - frame < 8192);
    CHECK(sigismember(&seen.uc_sigmask, SIGUSR2) && !sigismember(&seen.uc_sigmask, SIGUSR1));
    CHECK(seen.__uc_flags == 0 && seen.uc_link == NULL);
    CHECK(seen.uc_stack.ss_flags == SS_DISABLE);
    sigaltstack(&ss, NULL);
    install(SIGUSR1, keep, SA_ONSTACK);
    raise(SIGUSR1);
    CHECK(frame >= (uintptr_t)ss.ss_sp && frame < (uintptr_t)ss.ss_sp + ss.ss_size);
    CHECK(seen.uc_stack.ss_sp == ss.ss_sp && seen.uc_stack.ss_size == ss.ss_size);
    CHECK((char *)frame + 128 + 176 + 784 == (char *)ss.ss_sp + ss.ss_size);
}

/* A computation in registers, of that many pieces; of 0: as many as it takes to get 2000 signals, and
 * then tells how many. */
static uint64_t compute(unsigned *pieces)
{
    uint64_t x = 88172645463325252ul, bits;
    unsigned done = 0;
    double d = 1.0;

    do {
        for (unsigned n = 0; n < 10000; n++) {
            x ^= x << 13;
            x ^= x >> 7;
            x ^= x << 17;
            d = d * 1.0000000001 + (double)(x & 15) * 1e-9;
        }
        done++;
    } while (*pieces ? done < *pieces : calls < 2000);
    *pieces = done;
    memcpy(&bits, &d, 8);
    return x ^ bits;
}

/* Interrupts everywhere: a computation goes on as if nothing had been. */
static void interrupted(void)
{
    struct itimerval it = {{0, 300}, {0, 300}};
    unsigned pieces = 0;
    uint64_t x;

    install(SIGALRM, keep, SA_RESTART);
    calls = 0;
    setitimer(ITIMER_REAL, &it, NULL);
    x = compute(&pieces);
    memset(&it, 0, sizeof(it));
    setitimer(ITIMER_REAL, &it, NULL);
    CHECK(x == compute(&pieces));
}

int main(void)
{
    setvbuf(stdout, NULL, _IONBF, 0);
    traps();
    frames();
    interrupted();
    return 0;
}
