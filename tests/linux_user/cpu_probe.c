/*
 * RISC-V: which instructions there are, and what the kernel tells about them. It is made of the
 * base ISA alone and without a C library, so that any CPU runs it:
 *   -march=rv64i -mabi=lp64 -nostdlib -static
 * Prints "hwcap HEX", "ima HEX" (the bits of riscv_hwprobe's key 4), "insns NAME...".
 */
typedef unsigned long u64;
typedef unsigned int u32;

enum {
    SYS_write = 64,
    SYS_exit_group = 94,
    SYS_rt_sigaction = 134,
    SYS_riscv_hwprobe = 258,
    SIGILL = 4,
    SA_SIGINFO = 4,
    AT_HWCAP = 16,
    KEY_IMA_EXT_0 = 4,
    CONTEXT_PC = 176, /* offset of pc in ucontext_t */
};

static volatile int illegal;

static long call(long nr, long a, long b, long c, long d, long e)
{
    register long a0 __asm__("a0") = a, a1 __asm__("a1") = b, a2 __asm__("a2") = c;
    register long a3 __asm__("a3") = d, a4 __asm__("a4") = e, a7 __asm__("a7") = nr;

    __asm__ volatile("ecall" : "+r"(a0) : "r"(a1), "r"(a2), "r"(a3), "r"(a4), "r"(a7) : "memory");
    return a0;
}

static void print(const char *s)
{
    long n = 0;

    while (s[n])
        n++;
    call(SYS_write, 1, (long)s, n, 0, 0);
}

static void print_hex(u64 v)
{
    char text[18];
    int i = 17;

    text[i] = 0;
    do {
        text[--i] = "0123456789abcdef"[v & 15];
        v >>= 4;
    } while (v);
    print(text + i);
}

static void on_illegal(int sig, void *info, char *context)
{
    (void)sig, (void)info;
    illegal = 1;
    *(u64 *)(context + CONTEXT_PC) += 4;
}

/*
 * One instruction of 4 bytes, or one of 2 and a NOP; x8 to x15 may be changed, x10 points to
 * memory.
 */
#define PROBE(name, insn)                                                                         \
    do {                                                                                          \
        illegal = 0;                                                                              \
        __asm__ volatile(".option push\n.option norvc\n.balign 4\nmv x10, %0\nli x11, 1\n"        \
                         "li x12, 1\n.4byte " #insn "\n.option pop\n"                             \
                         :                                                                        \
                         : "r"(memory)                                                            \
                         : "x8", "x9", "x10", "x11", "x12", "x13", "x14", "x15", "memory");       \
        if (!illegal)                                                                             \
            print(" " name);                                                                      \
    } while (0)

static u64 memory[16] __attribute__((aligned(64)));

static void probe(void)
{
    PROBE("m", 0x02c586b3);          /* mul x13, x11, x12 */
    PROBE("mdiv", 0x02c5c6b3);       /* div */
    PROBE("a-lr", 0x100536af);       /* lr.d x13, (x10) */
    PROBE("a-amo", 0x00c536af);      /* amoadd.d x13, x12, (x10) */
    PROBE("f", 0x00052007);          /* flw f0, (x10) */
    PROBE("f-add", 0x00007053);      /* fadd.s f0, f0, f0 */
    PROBE("d", 0x00053007);          /* fld */
    PROBE("d-add", 0x02007053);      /* fadd.d */
    PROBE("c", 0x00010001);          /* c.nop; c.nop */
    PROBE("c-fld", 0x00012100);      /* c.fld f8, (x10); c.nop */
    PROBE("zcb", 0x00019c61);        /* c.zext.b x8; c.nop */
    PROBE("zicsr", 0xc00026f3);      /* csrr x13, cycle */
    PROBE("zicntr-time", 0xc01026f3);
    PROBE("zifencei", 0x0000100f);   /* fence.i */
    PROBE("zba", 0x20c5a6b3);        /* sh1add */
    PROBE("zbb", 0x60059693);        /* clz */
    PROBE("zbb-andn", 0x40c5f6b3);
    PROBE("zbc", 0x0ac5a6b3);        /* clmulr */
    PROBE("zbkc", 0x0ac596b3);       /* clmul */
    PROBE("zbs", 0x28c596b3);        /* bset */
    PROBE("zbkb", 0x68755693);       /* brev8 x13, x10 */
    PROBE("zbkx", 0x28c5a6b3);       /* xperm4 */
    PROBE("zknd", 0x3ec586b3);       /* aes64dsm */
    PROBE("zkne", 0x36c586b3);       /* aes64esm */
    PROBE("zknh", 0x10051693);       /* sha256sum0 */
    PROBE("zksed", 0x30c586b3);      /* sm4ed */
    PROBE("zksh", 0x10851693);       /* sm3p0 */
    PROBE("zicond", 0x0ec5d6b3);     /* czero.eqz */
    PROBE("zfa", 0xf0108053);        /* fli.s f0, 1 */
    PROBE("zfa-d", 0xf2108053);
    PROBE("zfhmin", 0x00051007);     /* flh */
    PROBE("zfh", 0x04007053);        /* fadd.h */
    PROBE("zacas", 0x28c536af);      /* amocas.d x13, x12, (x10) */
    PROBE("zabha", 0x00c506af);      /* amoadd.b */
    PROBE("zawrs", 0x00d00073);      /* wrs.nto */
    PROBE("zicbom", 0x0015200f);     /* cbo.clean (x10) */
    PROBE("zicboz", 0x0045200f);     /* cbo.zero (x10) */
    PROBE("zimop", 0x81c0c6f3);      /* mop.r.0 */
    PROBE("zcmop", 0x00016081);      /* c.mop.1; c.nop */
}

void start_c(u64 *sp)
{
    struct {
        u64 handler, flags, mask;
    } action = {(u64)on_illegal, SA_SIGINFO, 0};
    struct {
        long key;
        u64 value;
    } pair = {KEY_IMA_EXT_0, 0};
    u64 *p = sp + 1 + sp[0] + 1, hwcap = 0;

    while (*p++)
        ;
    for (; p[0]; p += 2)
        if (p[0] == AT_HWCAP)
            hwcap = p[1];
    call(SYS_rt_sigaction, SIGILL, (long)&action, 0, 8, 0);
    call(SYS_riscv_hwprobe, (long)&pair, 1, 0, 0, 0);
    print("hwcap ");
    print_hex(hwcap);
    print("\nima ");
    print_hex(pair.value);
    print("\ninsns");
    probe();
    print("\n");
    call(SYS_exit_group, 0, 0, 0, 0, 0);
}

__asm__(".globl _start\n_start:\n"
        ".option push\n.option norelax\nla gp, __global_pointer$\n.option pop\n"
        "mv a0, sp\nandi sp, sp, -16\ncall start_c\n");
