/* RISC-V: instructions that can't be fetched, for a page that isn't there or isn't executable; the
 * first half of one may be (Privileged ISA 20240411, 10.1.9: stval is the portion that faulted). */
#define _GNU_SOURCE
#include <setjmp.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/ucontext.h>
#include <unistd.h>

enum { PAGE = 4096 };

static sigjmp_buf back;
static unsigned char *area;
static siginfo_t info;
static uintptr_t pc;

static void handler(int sig, siginfo_t *si, void *context)
{
    (void)sig;
    info = *si;
    pc = ((ucontext_t *)context)->uc_mcontext.__gregs[REG_PC];
    siglongjmp(back, 1);
}

/* Runs what is at area + offset: it must fault there, with this code, at area + address. */
static void check(const char *what, long offset, int sig, int code, long address)
{
    if (sigsetjmp(back, 1) == 0) {
        ((void (*)(void))(area + offset))();
        printf("%s: FAIL: no fault\n", what);
        return;
    }
    if (info.si_signo == sig && info.si_code == code &&
        (long)((unsigned char *)info.si_addr - area) == address &&
        (long)(pc - (uintptr_t)area) == offset)
        printf("%s: ok\n", what);
    else
        printf("%s: FAIL: signal %d code %d address +%ld pc +%ld\n", what, info.si_signo,
               info.si_code, (long)((unsigned char *)info.si_addr - area),
               (long)(pc - (uintptr_t)area));
}

/* A page with NOPs, and a 4-byte instruction of which half is on the next page. */
static void put_code(void)
{
    static const uint16_t nop = 0x0001, low = 0x0513; /* c.nop; addi a0, a0, ... */

    for (int i = 0; i < PAGE; i += 2)
        memcpy(area + i, &nop, 2);
    memcpy(area + PAGE - 2, &low, 2);
    __builtin___clear_cache((char *)area, (char *)area + PAGE);
}

int main(void)
{
    struct sigaction sa = {.sa_sigaction = handler, .sa_flags = SA_SIGINFO};
    FILE *file = tmpfile();

    sigaction(SIGSEGV, &sa, NULL);
    sigaction(SIGBUS, &sa, NULL);
    area = mmap(NULL, 4 * PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    put_code();
    check("not executable", 0, SIGSEGV, SEGV_ACCERR, 0);
    mprotect(area, PAGE, PROT_READ | PROT_EXEC);
    check("half is not executable", PAGE - 2, SIGSEGV, SEGV_ACCERR, PAGE);
    mprotect(area + PAGE, PAGE, PROT_NONE);
    check("half is not accessible", PAGE - 2, SIGSEGV, SEGV_ACCERR, PAGE);
    munmap(area + PAGE, PAGE);
    check("half is not there", PAGE - 2, SIGSEGV, SEGV_MAPERR, PAGE);
    check("all is not there", PAGE, SIGSEGV, SEGV_MAPERR, PAGE);
    check("odd half is not there", PAGE + 2, SIGSEGV, SEGV_MAPERR, PAGE + 2);
    if (ftruncate(fileno(file), PAGE) == 0) {
        mmap(area + 2 * PAGE, 2 * PAGE, PROT_READ | PROT_EXEC, MAP_PRIVATE | MAP_FIXED,
             fileno(file), 0);
        check("beyond the end of a file", 3 * PAGE, SIGBUS, BUS_ADRERR, 3 * PAGE);
    }
    return 0;
}
