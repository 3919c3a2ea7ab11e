/*
 * The main thread's stack as a program finds it: strings, auxiliary vector, environment, arguments
 * (System V psABI, "Process Initialization"; RISC-V ELF psABI; Linux's fs/binfmt_elf.c).
 */
#include <elf.h>
#include <errno.h>
#include <string.h>
#include <sys/auxv.h>
#include <sys/mman.h>
#include <sys/random.h>
#include <sys/resource.h>
#include <unistd.h>

#include "linux_user/load.h"
#include "linux_user/mm.h"

#ifndef AT_HWCAP2
#define AT_HWCAP2 26
#endif
#ifndef AT_RSEQ_FEATURE_SIZE
#define AT_RSEQ_FEATURE_SIZE 27
#define AT_RSEQ_ALIGN 28
#endif
#ifndef AT_MINSIGSTKSZ
#define AT_MINSIGSTKSZ 51
#endif

enum {
    MAX_AUX = 32,
    RANDOM_SIZE = 16,
    MIN_SIGNAL_STACK = 2048,
};

#define DEFAULT_STACK   ((uint64_t)8 << 20)
#define UNLIMITED_STACK ((uint64_t)1 << 30)

/* A stack while it is made: [top] is the guest address behind bytes[size]; it grows downwards. */
struct image_stack {
    uint64_t top;
    uint8_t *bytes;
    size_t size, used;
};

static uint64_t push(struct image_stack *s, const void *data, size_t size)
{
    s->used += size;
    memcpy(s->bytes + s->size - s->used, data, size);
    return s->top - s->used;
}

static void push_align(struct image_stack *s, uint64_t align)
{
    while ((s->top - s->used) % align != 0) {
        s->bytes[s->size - ++s->used] = 0;
    }
}

static size_t strings_size(char *const *strings, size_t *n)
{
    size_t size = 0;

    *n = 0;
    for (; strings && *strings; strings++) {
        size += strlen(*strings) + 1;
        ++*n;
    }
    return size;
}

/* Strings in ascending order, the last one ending at the current top; addresses to [at]. */
static void push_strings(struct image_stack *s, char *const *strings, size_t n, uint64_t *at)
{
    for (size_t i = n; i-- > 0;) {
        at[i] = push(s, strings[i], strlen(strings[i]) + 1);
    }
}

/* ---- The auxiliary vector ---- */

struct aux {
    uint64_t pairs[MAX_AUX][2];
    unsigned n;
};

static void aux_add(struct aux *a, uint64_t type, uint64_t value)
{
    a->pairs[a->n][0] = type;
    a->pairs[a->n++][1] = value;
}

static void make_aux(struct lu_process *p, const struct lu_image *image, uint64_t random,
                     uint64_t exec_name, uint64_t platform, struct aux *a)
{
    if (p->vdso_base) {
        aux_add(a, AT_SYSINFO_EHDR, p->vdso_base);
    }
    aux_add(a, AT_HWCAP, p->abi->hwcap(p->model));
    aux_add(a, AT_PAGESZ, LU_PAGE_SIZE);
    aux_add(a, AT_CLKTCK, (uint64_t)sysconf(_SC_CLK_TCK));
    aux_add(a, AT_PHDR, image->phdr);
    aux_add(a, AT_PHENT, image->phent);
    aux_add(a, AT_PHNUM, image->phnum);
    aux_add(a, AT_BASE, image->interp_base);
    aux_add(a, AT_FLAGS, 0);
    aux_add(a, AT_ENTRY, image->program_entry);
    aux_add(a, AT_UID, getuid());
    aux_add(a, AT_EUID, geteuid());
    aux_add(a, AT_GID, getgid());
    aux_add(a, AT_EGID, getegid());
    aux_add(a, AT_SECURE, getauxval(AT_SECURE));
    aux_add(a, AT_RANDOM, random);
    aux_add(a, AT_HWCAP2, p->abi->hwcap2(p->model));
    if (getauxval(AT_RSEQ_FEATURE_SIZE)) { /* as the host's kernel fills the structure */
        aux_add(a, AT_RSEQ_FEATURE_SIZE, getauxval(AT_RSEQ_FEATURE_SIZE));
        aux_add(a, AT_RSEQ_ALIGN, getauxval(AT_RSEQ_ALIGN));
    }
    aux_add(a, AT_EXECFN, exec_name);
    if (platform) {
        aux_add(a, AT_PLATFORM, platform);
    }
    aux_add(a, AT_MINSIGSTKSZ, MIN_SIGNAL_STACK);
    aux_add(a, AT_NULL, 0);
    p->auxv_size = a->n * sizeof(a->pairs[0]);
    p->auxv = g_memdup2(a->pairs, p->auxv_size);
}

/* ---- The stack's place ---- */

static int64_t map_stack(struct lu_process *p, int prot, uint64_t *size)
{
    struct rlimit limit;
    int64_t at;

    *size = p->options->stack_size;
    if (*size == 0 && getrlimit(RLIMIT_STACK, &limit) == 0) {
        *size = limit.rlim_cur == RLIM_INFINITY ? UNLIMITED_STACK : limit.rlim_cur;
    }
    *size = MAX(*size, p->options->stack_size ? (uint64_t)LU_PAGE_SIZE : DEFAULT_STACK);
    *size = (*size + LU_PAGE_SIZE - 1) & ~(uint64_t)(LU_PAGE_SIZE - 1);
    at = lu_mm_map_stack(p, *size, prot);
    if (at < 0 && p->options->stack_size == 0 && *size > DEFAULT_STACK) {
        *size = DEFAULT_STACK;
        at = lu_mm_map_stack(p, *size, prot);
    }
    return at;
}

static void random_bytes(uint8_t bytes[RANDOM_SIZE], const struct lu_options *options)
{
    if (options->have_seed) {
        /* The same for the same seed: splitmix64. */
        uint64_t x = options->seed;

        for (unsigned i = 0; i < RANDOM_SIZE; i += 8) {
            uint64_t z = (x += 0x9e3779b97f4a7c15);

            z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9;
            z = (z ^ z >> 27) * 0x94d049bb133111eb;
            z ^= z >> 31;
            memcpy(bytes + i, &z, 8);
        }
    } else if (getrandom(bytes, RANDOM_SIZE, GRND_NONBLOCK) != RANDOM_SIZE) {
        const void *host = (const void *)getauxval(AT_RANDOM);

        /* Before the kernel has entropy: what it gave this process. */
        if (host) {
            memcpy(bytes, host, RANDOM_SIZE);
        }
    }
}

static void fill(struct lu_process *p, struct lu_image *image, struct image_stack *s, size_t argc,
                 size_t envc)
{
    const char *exec_name = p->exec_name ? p->exec_name : "";
    g_autofree uint64_t *pointers = g_new0(uint64_t, argc + envc + 3);
    uint64_t random, name, platform = 0;
    uint8_t bytes[RANDOM_SIZE] = {0};
    struct aux aux = {0};
    uint64_t end;

    s->used = 8; /* a word of zeros ends it */
    name = push(s, exec_name, strlen(exec_name) + 1);
    p->env_end = name;
    push_strings(s, p->guest_env, envc, pointers + 1 + argc + 1);
    p->env_start = p->arg_end = s->top - s->used;
    push_strings(s, p->guest_argv, argc, pointers + 1);
    p->arg_start = s->top - s->used;
    if (p->abi->platform) {
        platform = push(s, p->abi->platform, strlen(p->abi->platform) + 1);
    }
    random_bytes(bytes, p->options);
    random = push(s, bytes, sizeof(bytes));
    make_aux(p, image, random, name, platform, &aux);

    /* The stack pointer is aligned when all of this is on it. */
    push_align(s, 16);
    end = s->top - s->used - p->auxv_size - (argc + envc + 3) * sizeof(uint64_t);
    s->used += end % p->abi->stack_align;
    push(s, p->auxv, p->auxv_size);
    pointers[0] = argc;
    image->sp = push(s, pointers, (argc + envc + 3) * sizeof(uint64_t));
}

bool lu_setup_stack(struct lu_process *p, struct lu_image *image, GError **error)
{
    struct image_stack s = {0};
    uint64_t size;
    size_t argc, envc;
    int64_t at;
    bool ok;

    s.size = strings_size(p->guest_argv, &argc) + strings_size(p->guest_env, &envc) +
             (p->exec_name ? strlen(p->exec_name) : 0) + (argc + envc) * sizeof(uint64_t) +
             sizeof(struct aux) + 1024;
    at = map_stack(p, PROT_READ | PROT_WRITE | (int)image->stack_prot, &size);
    if (at < 0) {
        g_set_error(error, LU_LOAD_ERROR, LU_LOAD_CANT_EXECUTE,
                    "can't map a stack of %llu bytes: "
                    "%s (-s SIZE makes it smaller)",
                    (unsigned long long)size, g_strerror((int)-at));
        return false;
    }
    if (s.size > size - size / 4) {
        g_set_error(error, LU_LOAD_ERROR, LU_LOAD_CANT_EXECUTE,
                    "%s: arguments and environment of "
                    "%zu bytes don't fit on a stack of %llu bytes (-s SIZE makes it larger)",
                    g_strerror(E2BIG), s.size, (unsigned long long)size);
        return false;
    }
    s.top = (uint64_t)at + size;
    s.bytes = g_malloc0(s.size);
    fill(p, image, &s, argc, envc);
    p->start_stack = image->sp;
    ok = lu_copy_to_guest(p, s.top - s.used, s.bytes + s.size - s.used, s.used) == 0;
    g_free(s.bytes);
    if (!ok) {
        g_set_error_literal(error, LU_LOAD_ERROR, LU_LOAD_CANT_EXECUTE,
                            "the stack can't be written");
    }
    return ok;
}
