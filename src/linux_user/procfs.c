/*
 * Files of /proc that show the guest's process in place of Nandu's (proc(5)).
 *
 * Their content is made when they are opened, and is read from a memory file. /proc/self/mem is the
 * host's own where addresses are the same, but only for reading: through it a guest could write to
 * what is Nandu's, and change its code unseen.
 */
#include "linux_user/procfs.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "guest/riscv/riscv.h"
#include "linux_user/mm.h"

enum special {
    SPECIAL_NONE,
    SPECIAL_AUXV,
    SPECIAL_CMDLINE,
    SPECIAL_CPUINFO,
    SPECIAL_ENVIRON,
    SPECIAL_EXE,
    SPECIAL_MAPS,
    SPECIAL_MEM,
    SPECIAL_SMAPS,
    SPECIAL_STAT,
};

static const struct {
    const char *name;
    enum special special;
} names[] = {
    {"auxv", SPECIAL_AUXV},       {"cmdline", SPECIAL_CMDLINE}, {"cpuinfo", SPECIAL_CPUINFO},
    {"environ", SPECIAL_ENVIRON}, {"exe", SPECIAL_EXE},         {"maps", SPECIAL_MAPS},
    {"mem", SPECIAL_MEM},         {"smaps", SPECIAL_SMAPS},     {"stat", SPECIAL_STAT},
};

/* ---- Which file a path names ---- */

/* What is last in [path]: this alone tells almost all paths apart. */
static enum special by_name(const char *path)
{
    const char *slash = strrchr(path, '/'), *base = slash ? slash + 1 : path;

    for (unsigned i = 0; i < G_N_ELEMENTS(names); i++) {
        if (strcmp(base, names[i].name) == 0) {
            return names[i].special;
        }
    }
    return SPECIAL_NONE;
}

static char *absolute_path(int dirfd, const char *path)
{
    g_autofree char *dir = NULL;

    if (path[0] == '/') {
        return g_canonicalize_filename(path, "/");
    }
    if (dirfd == AT_FDCWD) {
        dir = g_get_current_dir();
    } else {
        g_autofree char *link = g_strdup_printf("/proc/self/fd/%d", dirfd);

        dir = g_file_read_link(link, NULL);
    }
    return dir && dir[0] == '/' ? g_canonicalize_filename(path, dir) : NULL;
}

/* A thread of this process, by its number in /proc; 0 if it is none. */
static pid_t own_thread(const char *name)
{
    g_autofree char *dir = NULL;
    char *end;
    long tid;

    if (strcmp(name, "self") == 0) {
        return getpid();
    }
    if (strcmp(name, "thread-self") == 0) {
        return gettid();
    }
    if (name[0] < '1' || name[0] > '9') {
        return 0;
    }
    tid = strtol(name, &end, 10);
    if (*end != '\0' || tid > INT32_MAX) {
        return 0;
    }
    if (tid == getpid()) {
        return (pid_t)tid;
    }
    dir = g_strdup_printf("/proc/self/task/%ld", tid);
    return access(dir, F_OK) == 0 ? (pid_t)tid : 0;
}

/* The file that [path] names; *stat_path (g_malloc'ed) is the host's file for SPECIAL_STAT. */
static enum special find_special(int dirfd, const char *path, char **stat_path)
{
    enum special special = by_name(path);
    g_autofree char *full = NULL;
    g_auto(GStrv) parts = NULL;
    const char *last;
    guint n;

    if (special == SPECIAL_NONE) {
        return SPECIAL_NONE;
    }
    full = absolute_path(dirfd, path);
    if (!full || !g_str_has_prefix(full, "/proc/")) {
        return SPECIAL_NONE;
    }
    parts = g_strsplit(full + strlen("/proc/"), "/", -1);
    n = g_strv_length(parts);
    last = parts[n - 1];
    if (special == SPECIAL_CPUINFO) {
        return n == 1 ? special : SPECIAL_NONE;
    }
    if (by_name(last) != special || (n != 2 && n != 4) || own_thread(parts[0]) == 0 ||
        (n == 4 && (strcmp(parts[1], "task") != 0 || own_thread(parts[2]) == 0))) {
        return SPECIAL_NONE;
    }
    if (stat_path) {
        *stat_path = g_steal_pointer(&full);
    }
    return special;
}

/* ---- Contents ---- */

static GString *bytes(const void *data, size_t size)
{
    return g_string_new_len(data, (gssize)size);
}

/* What the guest has in memory now, which it may have changed (setproctitle). */
static GString *guest_area(struct lu_process *p, uint64_t start, uint64_t end)
{
    GString *text = g_string_new(NULL);

    if (start >= end) {
        return text;
    }
    g_string_set_size(text, end - start);
    if (lu_copy_from_guest(p, text->str, start, end - start) < 0) {
        g_string_truncate(text, 0);
    }
    return text;
}

static GString *cpuinfo(const struct lu_process *p)
{
    g_autofree char *isa = riscv_model_isa_string(p->model);
    long n = sysconf(_SC_NPROCESSORS_ONLN);
    GString *text = g_string_new(NULL);

    for (long i = 0; i < MAX(n, 1); i++) {
        g_string_append_printf(text,
                               "processor\t: %ld\nhart\t\t: %ld\nisa\t\t: %s\n"
                               "mmu\t\t: sv48\nmvendorid\t: 0x0\nmarchid\t\t: 0x0\n"
                               "mimpid\t\t: 0x0\nhart isa\t: %s\n\n",
                               i, i, isa, isa);
    }
    return text;
}

/* Fields of /proc/PID/stat that are addresses, counted from 1 as in proc(5). */
static bool stat_field(struct lu_process *p, unsigned field, uint64_t *value)
{
    uint64_t brk_start, brk;

    switch (field) {
    case 20: *value = p->n_threads; return true;
    case 23: *value = lu_mm_size(p->mm); return true;
    case 26: *value = p->code_start; return true;
    case 27: *value = p->code_end; return true;
    case 28: *value = p->start_stack; return true;
    case 29: *value = 0; return true;
    case 30: *value = 0; return true;
    case 45: *value = p->data_start; return true;
    case 46: *value = p->data_end; return true;
    case 47:
        lu_mm_get_brk(p->mm, &brk_start, &brk);
        *value = brk_start;
        return true;
    case 48: *value = p->arg_start; return true;
    case 49: *value = p->arg_end; return true;
    case 50: *value = p->env_start; return true;
    case 51: *value = p->env_end; return true;
    default: return false;
    }
}

static GString *stat_text(struct lu_process *p, const char *path)
{
    g_autofree char *host = NULL;
    g_auto(GStrv) fields = NULL;
    GString *text;
    char *rest;

    if (!g_file_get_contents(path, &host, NULL, NULL)) {
        return NULL;
    }
    rest = strrchr(host, ')'); /* the name may have anything in it */
    if (!rest || rest[1] != ' ') {
        return NULL;
    }
    text = g_string_new_len(host, rest + 1 - host);
    fields = g_strsplit(g_strchomp(rest + 2), " ", -1);
    for (unsigned i = 0; fields[i]; i++) {
        uint64_t value;

        if (stat_field(p, i + 3, &value)) {
            g_string_append_printf(text, " %" G_GUINT64_FORMAT, value);
        } else {
            g_string_append_printf(text, " %s", fields[i]);
        }
    }
    g_string_append_c(text, '\n');
    return text;
}

static GString *take(char *text)
{
    GString *s = g_string_new(text);

    g_free(text);
    return s;
}

static GString *content(struct lu_process *p, enum special special, const char *stat_path)
{
    switch (special) {
    case SPECIAL_AUXV: return bytes(p->auxv, p->auxv_size);
    case SPECIAL_CMDLINE: return guest_area(p, p->arg_start, p->arg_end);
    case SPECIAL_CPUINFO: return cpuinfo(p);
    case SPECIAL_ENVIRON: return guest_area(p, p->env_start, p->env_end);
    case SPECIAL_MAPS: return take(lu_mm_maps(p));
    case SPECIAL_SMAPS: return take(lu_mm_smaps(p));
    case SPECIAL_STAT: return stat_text(p, stat_path);
    default: return NULL;
    }
}

/* ---- Opening ---- */

static int64_t open_memory(const GString *text, int flags)
{
    int fd = memfd_create("proc", flags & O_CLOEXEC ? MFD_CLOEXEC : 0);
    size_t done = 0;

    if (fd < 0) {
        return -errno;
    }
    while (done < text->len) {
        ssize_t n = pwrite(fd, text->str + done, text->len - done, (off_t)done);

        if (n < 0 && errno != EINTR) {
            int saved = errno;

            close(fd);
            return -saved;
        }
        done += n > 0 ? (size_t)n : 0;
    }
    return fd;
}

static int64_t open_exe(const struct lu_process *p, int flags)
{
    int fd;

    if (flags & O_NOFOLLOW && !(flags & O_PATH)) {
        return -ELOOP;
    }
    if (!(flags & O_PATH) && (flags & O_ACCMODE) != O_RDONLY) {
        return -ETXTBSY;
    }
    fd = open(p->exec_path, flags & ~(O_CREAT | O_TRUNC));
    return fd < 0 ? -errno : fd;
}

int64_t lu_open_special(struct lu_thread *t, int dirfd, const char *path, int flags, mode_t mode,
                        bool *handled)
{
    struct lu_process *p = t->process;
    g_autofree char *stat_path = NULL;
    enum special special = find_special(dirfd, path, &stat_path);
    GString *text;
    int64_t ret;

    (void)mode; /* they exist */
    *handled = false;
    if (special == SPECIAL_NONE) {
        return 0;
    }
    if (special == SPECIAL_MEM) {
        if ((flags & O_ACCMODE) != O_RDONLY || p->guest_base != 0) {
            *handled = true;
            return -EACCES;
        }
        return 0;
    }
    if (special == SPECIAL_EXE) {
        if (flags & O_PATH && flags & O_NOFOLLOW) {
            return 0; /* the link itself */
        }
        *handled = true;
        return open_exe(p, flags);
    }
    if (flags & O_PATH) {
        return 0; /* nothing can be read from it */
    }
    *handled = true;
    if (flags & O_CREAT && flags & O_EXCL) {
        return -EEXIST;
    }
    if (flags & O_DIRECTORY) {
        return -ENOTDIR;
    }
    if ((flags & O_ACCMODE) != O_RDONLY) {
        return -EACCES;
    }
    text = content(p, special, stat_path);
    if (!text) {
        *handled = false; /* let the kernel say why */
        return 0;
    }
    ret = open_memory(text, flags);
    g_string_free(text, TRUE);
    return ret;
}

int64_t lu_readlink_special(struct lu_thread *t, int dirfd, const char *path, char **target,
                            bool *handled)
{
    *target = lu_special_exe_path(t, dirfd, path);
    *handled = *target != NULL;
    return 0;
}

char *lu_special_exe_path(struct lu_thread *t, int dirfd, const char *path)
{
    return find_special(dirfd, path, NULL) == SPECIAL_EXE ? g_strdup(t->process->exec_path) : NULL;
}
