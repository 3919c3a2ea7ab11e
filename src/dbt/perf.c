/*
 * What perf needs to give translated code names: a map of symbols (/tmp/perf-PID.map, perf's
 * jit-interface.txt), or a dump with the code itself (./jit-PID.dump, perf's
 * jitdump-specification.txt, version 1), which "perf inject --jit" puts into a recording.
 */
#include <elf.h>
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <time.h>
#include <unistd.h>

#include "dbt/dbt_priv.h"

enum { FIRST_OWN_FD = 500 }; /* descriptors from here on are rarely the guest's */

struct perf_files {
    int map, jitdump; /* -1: none */
    void *mark;       /* perf records that a process maps its dump as code, and so finds it */
    pid_t pid;
    uint64_t n_codes;
};

enum { JITDUMP_MAGIC = 0x4a695444, JITDUMP_VERSION = 1, JIT_CODE_LOAD = 0, JIT_CODE_CLOSE = 3 };

struct jitdump_header {
    uint32_t magic, version, size, elf_machine, pad, pid;
    uint64_t timestamp, flags;
};

struct jitdump_record {
    uint32_t id, size;
    uint64_t timestamp;
};

struct jitdump_load {
    struct jitdump_record record;
    uint32_t pid, tid;
    uint64_t vma, address, size, index;
    /* then the name with its NUL, and the code */
};

/* Of the clock that "perf record -k mono" uses, in ns. */
static uint64_t now(void)
{
    struct timespec ts;

    clock_gettime(CLOCK_MONOTONIC, &ts);
    return (uint64_t)ts.tv_sec * 1000000000 + (uint64_t)ts.tv_nsec;
}

/* Open a file on [at], which may be open, or on a high descriptor if that is -1. Profiles are not
 * worth failing for: -1 after a line in the log. */
static int open_file(struct dbt *dbt, const char *path, int at)
{
    int fd = open(path, O_RDWR | O_CREAT | O_TRUNC | O_APPEND | O_CLOEXEC, 0666);
    int moved;

    if (fd < 0) {
        fprintf(dbt->config.log_file, "nandu: can't write '%s' for perf: %s\n", path,
                g_strerror(errno));
        if (at >= 0)
            close(at); /* the parent's */
        return -1;
    }
    moved = at >= 0 ? dup3(fd, at, O_CLOEXEC) : fcntl(fd, F_DUPFD_CLOEXEC, FIRST_OWN_FD);
    if (moved < 0)
        return fd;
    close(fd);
    return moved;
}

static void open_jitdump(struct dbt *dbt, int at)
{
    struct perf_files *p = dbt->perf;
    g_autofree char *path = g_strdup_printf("./jit-%d.dump", (int)p->pid);
    const struct jitdump_header header = {
        .magic = JITDUMP_MAGIC,
        .version = JITDUMP_VERSION,
        .size = sizeof(header),
        .elf_machine = EM_X86_64,
        .pid = (uint32_t)p->pid,
        .timestamp = now(),
    };

    p->jitdump = open_file(dbt, path, at);
    if (p->jitdump < 0 || write(p->jitdump, &header, sizeof(header)) != sizeof(header))
        return;
    p->mark = mmap(NULL, sizeof(header), PROT_READ | PROT_EXEC, MAP_PRIVATE, p->jitdump, 0);
}

static void open_all(struct dbt *dbt, int map, int jitdump)
{
    struct perf_files *p = dbt->perf;

    p->pid = getpid();
    if (dbt->config.perf_map) {
        g_autofree char *path = g_strdup_printf("/tmp/perf-%d.map", (int)p->pid);

        p->map = open_file(dbt, path, map);
    }
    if (dbt->config.jitdump)
        open_jitdump(dbt, jitdump);
}

static void unmap_mark(struct perf_files *p)
{
    if (p->mark != MAP_FAILED)
        munmap(p->mark, sizeof(struct jitdump_header));
    p->mark = MAP_FAILED;
}

void perf_open(struct dbt *dbt)
{
    if (!dbt->config.perf_map && !dbt->config.jitdump)
        return;
    dbt->perf = g_new0(struct perf_files, 1);
    dbt->perf->map = dbt->perf->jitdump = -1;
    dbt->perf->mark = MAP_FAILED;
    open_all(dbt, -1, -1);
}

void perf_close(struct dbt *dbt)
{
    struct perf_files *p = dbt->perf;

    if (!p)
        return;
    dbt_perf_finish(dbt);
    unmap_mark(p);
    if (p->map >= 0)
        close(p->map);
    if (p->jitdump >= 0)
        close(p->jitdump);
    g_clear_pointer(&dbt->perf, g_free);
}

void perf_after_fork(struct dbt *dbt)
{
    struct perf_files *p = dbt->perf;

    if (!p)
        return;
    unmap_mark(p);
    p->n_codes = 0;
    open_all(dbt, p->map, p->jitdump);
    for (uint32_t i = 0; i < dbt->n_blocks; i++) {
        if (!dbt->blocks[i]->invalid)
            perf_block(dbt, dbt->blocks[i]);
    }
}

static void dump_block(struct dbt *dbt, const struct block *b)
{
    struct perf_files *p = dbt->perf;
    g_autofree char *name = g_strdup_printf("guest_0x%" PRIx64, b->pc);
    size_t name_size = strlen(name) + 1, code_size = b->code_end - b->code;
    struct jitdump_load load = {
        .record = {JIT_CODE_LOAD, (uint32_t)(sizeof(load) + name_size + code_size), now()},
        .pid = (uint32_t)p->pid,
        .tid = (uint32_t)syscall(SYS_gettid),
        .vma = (uintptr_t)(dbt->cache.rx + b->code),
        .address = (uintptr_t)(dbt->cache.rx + b->code),
        .size = code_size,
        .index = p->n_codes++,
    };
    struct iovec parts[] = {
        {&load, sizeof(load)},
        {name, name_size},
        {dbt->cache.rw + b->code, code_size},
    };

    if (writev(p->jitdump, parts, G_N_ELEMENTS(parts)) < 0) { /* no space: it ends here */
        close(p->jitdump);
        p->jitdump = -1;
    }
}

void perf_block(struct dbt *dbt, const struct block *b)
{
    struct perf_files *p = dbt->perf;

    if (b->interpret)
        return;
    if (p->map >= 0)
        dprintf(p->map, "%" PRIxPTR " %x guest_0x%" PRIx64 "\n",
                (uintptr_t)dbt->cache.rx + b->code, b->code_end - b->code, b->pc);
    if (p->jitdump >= 0)
        dump_block(dbt, b);
}

void dbt_perf_fds(const struct dbt *dbt, int fds[2])
{
    fds[0] = dbt->perf ? dbt->perf->map : -1;
    fds[1] = dbt->perf ? dbt->perf->jitdump : -1;
}

void dbt_perf_finish(struct dbt *dbt)
{
    const struct jitdump_record end = {JIT_CODE_CLOSE, sizeof(end), now()};

    if (dbt->perf && dbt->perf->jitdump >= 0)
        (void)!write(dbt->perf->jitdump, &end, sizeof(end));
}
