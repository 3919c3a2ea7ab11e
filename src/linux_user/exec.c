/*
 * execve: a program for the guest's architecture is executed by executing Nandu again, with the
 * same options and the program as its argument; so is a script whose interpreter is one. Anything
 * else is the host kernel's: a program of the host's architecture, or a format that it knows.
 *
 * Nandu is executed through a descriptor that is opened at the start, so that it is found after a
 * chroot and without /proc. Where even that isn't possible, the guest's file is left to the kernel,
 * which may have Nandu registered for it (binfmt_misc).
 */
#include <elf.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/auxv.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "linux_user/procfs.h"
#include "linux_user/signals.h"
#include "linux_user/sys.h"
#include "linux_user/threads.h"

enum {
    MAX_SCRIPTS = 5,                /* nested interpreters: as BINPRM's limit */
    SCRIPT_LINE = 256,              /* BINPRM_BUF_SIZE */
    MAX_ARG_STRING = 128 * 1024,    /* MAX_ARG_STRLEN */
    MAX_ARG_TOTAL = 6 * 1024 * 1024 /* what the kernel permits at most */
};

/* ---- Finding Nandu ---- */

/* The descriptor that this process was executed through, if it has been left open: see
 * pass_nandu_fd. */
static int inherited_fd(void)
{
    const char *name = (const char *)getauxval(AT_EXECFN);
    int fd, end = 0;

    if (!name || sscanf(name, "/dev/fd/%d%n", &fd, &end) != 1 || name[end] ||
        fcntl(fd, F_GETFD) < 0) {
        return -1;
    }
    return fd;
}

void lu_exec_init(struct lu_process *p)
{
    int fd = open("/proc/self/exe", O_PATH | O_CLOEXEC);

    if (fd < 0) {
        fd = inherited_fd();
    }
    if (fd < 0 && p->nandu_path) {
        fd = open(p->nandu_path, O_PATH | O_CLOEXEC);
    }
    if (fd >= 0) {
        int high = lu_fd_protect(p, fd);

        if (high >= 0) {
            fd = high;
        } else {
            close(fd); /* no room to hide it: nandu_path has to do */
            fd = -1;
        }
    }
    p->nandu_fd = fd;
    lu_seccomp_start(lu_current()); /* the other thing that an execve hands over */
}

/* Where there is no /proc the next Nandu finds itself through this descriptor. */
static int pass_nandu_fd(const struct lu_process *p)
{
    return access("/proc/self/exe", F_OK) == 0 ? -1 : fcntl(p->nandu_fd, F_DUPFD, 100);
}

/* ---- The program ---- */

struct program {
    int fd;     /* readable; -1: only the kernel may read it */
    int kept;   /* descriptor that [path] names and that has to stay open; -1: none */
    char *path; /* for the host: where it is */
    enum lu_file_kind kind;
};

static void program_clear(struct program *prog)
{
    if (prog->fd >= 0) {
        close(prog->fd);
    }
    if (prog->kept >= 0) {
        close(prog->kept);
    }
    g_free(prog->path);
}

/* A path that leads to [fd] when nothing of the caller is left but the root directory; or, for a
 * file without a name, to a copy of the descriptor that stays open: *kept. */
static char *path_of_fd(int fd, int *kept)
{
    g_autofree char *link = g_strdup_printf("/proc/self/fd/%d", fd);
    g_autofree char *target = g_file_read_link(link, NULL);
    struct stat a, b;

    if (target && fstat(fd, &a) == 0 && stat(target, &b) == 0 && a.st_dev == b.st_dev &&
        a.st_ino == b.st_ino) {
        return g_steal_pointer(&target);
    }
    *kept = fcntl(fd, F_DUPFD, 3);
    return *kept < 0 ? NULL : g_strdup_printf("/proc/self/fd/%d", *kept);
}

/* What execve checks before it looks at the content. [fd] is opened with O_PATH. */
static int check_executable(int fd)
{
    struct stat st;
    long r;

    if (fstat(fd, &st) < 0) {
        return -errno;
    }
    if (S_ISLNK(st.st_mode)) {
        return -ELOOP;
    }
    if (!S_ISREG(st.st_mode)) {
        return -EACCES;
    }
    r = syscall(SYS_faccessat2, fd, "", X_OK, AT_EACCESS | AT_EMPTY_PATH);
    /* A kernel without the call, or a filter that forbids it, checks at the execve. */
    return r < 0 && errno != ENOSYS && errno != EPERM ? -errno : 0;
}

static int open_program(struct lu_thread *t, int dirfd, const char *path, int flags,
                        struct program *prog)
{
    const struct lu_process *p = t->process;
    bool by_fd = path[0] == '\0' && (flags & AT_EMPTY_PATH);
    g_autofree char *host = by_fd ? NULL : lu_special_exe_path(t, dirfd, path);
    int fd, error;

    prog->fd = prog->kept = -1;
    prog->path = NULL;
    prog->kind = LU_FILE_OTHER;
    if (!host && !by_fd) {
        host = lu_prefixed_path(p, path);
    }
    if (by_fd) {
        fd = dirfd == AT_FDCWD ? open(".", O_PATH | O_CLOEXEC) : fcntl(dirfd, F_DUPFD_CLOEXEC, 3);
    } else {
        fd = openat(dirfd, host,
                    O_PATH | O_CLOEXEC | (flags & AT_SYMLINK_NOFOLLOW ? O_NOFOLLOW : 0));
    }
    if (fd < 0) {
        return -errno;
    }
    error = check_executable(fd);
    if (!error) {
        if (by_fd) {
            g_autofree char *link = g_strdup_printf("/proc/self/fd/%d", fd);

            prog->fd = open(link, O_RDONLY | O_CLOEXEC);
        } else {
            prog->fd = openat(dirfd, host, O_RDONLY | O_CLOEXEC);
        }
        prog->path = by_fd || (dirfd != AT_FDCWD && host[0] != '/') ? path_of_fd(fd, &prog->kept)
                                                                    : g_strdup(host);
        error = prog->path ? 0 : -ENOENT;
    }
    close(fd);
    if (!error && prog->fd >= 0) {
        prog->kind = lu_file_kind(p, prog->fd);
    }
    return error;
}

/* A program of the guest's must have its interpreter, or execve fails here and not in the new
 * process. */
static int check_guest_elf(const struct lu_process *p, int fd)
{
    Elf64_Ehdr ehdr;
    Elf64_Phdr phdr;

    if (pread(fd, &ehdr, sizeof(ehdr), 0) != sizeof(ehdr) || ehdr.e_phentsize != sizeof(phdr) ||
        ehdr.e_phnum == 0) {
        return -ENOEXEC;
    }
    for (unsigned i = 0; i < ehdr.e_phnum; i++) {
        g_autofree char *name = NULL, *path = NULL;
        int interp;
        enum lu_file_kind kind;

        if (pread(fd, &phdr, sizeof(phdr), (off_t)(ehdr.e_phoff + i * sizeof(phdr))) !=
            sizeof(phdr)) {
            return -ENOEXEC;
        }
        if (phdr.p_type != PT_INTERP) {
            continue;
        }
        if (phdr.p_filesz < 2 || phdr.p_filesz > 4096) {
            return -ENOEXEC;
        }
        name = g_malloc0(phdr.p_filesz + 1);
        if (pread(fd, name, phdr.p_filesz, (off_t)phdr.p_offset) != (ssize_t)phdr.p_filesz) {
            return -EIO;
        }
        path = lu_prefixed_path(p, name);
        interp = open(path, O_RDONLY | O_CLOEXEC);
        if (interp < 0) {
            return -errno;
        }
        kind = lu_file_kind(p, interp);
        close(interp);
        return kind == LU_FILE_GUEST ? 0 : -ELIBBAD;
    }
    return 0;
}

/* ---- Scripts ---- */

/* The first line of a script, as the kernel reads it: *interp and *arg (or NULL), in [line]. */
static bool parse_script(int fd, char line[SCRIPT_LINE + 1], char **interp, char **arg)
{
    ssize_t n = pread(fd, line, SCRIPT_LINE, 0);
    char *end, *start;

    if (n < 2) {
        return false;
    }
    line[n] = '\0';
    start = line + 2 + strspn(line + 2, " \t");
    end = start + strcspn(start, "\n");
    if (*end != '\n' && n == SCRIPT_LINE && !start[strcspn(start, " \t")]) {
        return false; /* the interpreter's name is cut off */
    }
    *end = '\0';
    while (end > start && (end[-1] == ' ' || end[-1] == '\t')) {
        *--end = '\0';
    }
    if (!*start) {
        return false;
    }
    *interp = start;
    *arg = start + strcspn(start, " \t");
    if (**arg) {
        *(*arg)++ = '\0';
        *arg += strspn(*arg, " \t");
    }
    if (!**arg) {
        *arg = NULL;
    }
    return true;
}

/* ---- Arguments of the new Nandu ---- */

static void add(GPtrArray *args, const char *text)
{
    g_ptr_array_add(args, g_strdup(text));
}

static void add2(GPtrArray *args, const char *option, const char *value)
{
    if (value) {
        add(args, option);
        add(args, value);
    }
}

static void add_log_options(GPtrArray *args, const struct lu_options *o)
{
    static const struct {
        unsigned bit;
        const char *name;
    } items[] = {
        {DBT_LOG_IN_ASM, "in_asm"},   {DBT_LOG_OP, "op"},     {DBT_LOG_OP_OPT, "op_opt"},
        {DBT_LOG_OUT_ASM, "out_asm"}, {DBT_LOG_EXEC, "exec"},
    };
    g_autoptr(GString) s = g_string_new("");

    for (unsigned i = 0; i < G_N_ELEMENTS(items); i++) {
        if (o->dbt.log & items[i].bit) {
            g_string_append_printf(s, ",%s", items[i].name);
        }
    }
    g_string_append(s, o->log_unimp ? ",unimp" : "");
    g_string_append(s, o->log_int ? ",int" : "");
    g_string_append(s, o->log_page ? ",page" : "");
    if (s->len) {
        add2(args, "-d", s->str + 1);
    }
}

static void add_dbt_options(GPtrArray *args, const struct dbt_config *c)
{
    g_autoptr(GString) s = g_string_new("");

    g_string_append(s, c->interpreter ? ",interp=on" : "");
    g_string_append(s, c->lockstep ? ",lockstep=on" : "");
    g_string_append(s, c->poll_always ? ",poll=always" : "");
    g_string_append(s, c->far_paths ? ",far=on" : "");
    g_string_append(s, c->no_chain ? ",no-chain=on" : "");
    g_string_append(s, c->verify ? ",verify=on" : "");
    if (c->flush_every) {
        g_string_append_printf(s, ",flush=%u", c->flush_every);
    }
    if (c->cache_size) {
        g_string_append_printf(s, ",cache-size=%zu", c->cache_size);
    }
    if (c->max_insns) {
        g_string_append_printf(s, ",max-insns=%u", c->max_insns);
    }
    if (s->len) {
        add2(args, "-dbt", s->str + 1);
    }
    if (c->one_insn) {
        add(args, "-one-insn-per-tb");
    }
    if (c->perf_map) {
        add(args, "-perfmap");
    }
    if (c->jitdump) {
        add(args, "-jitdump");
    }
}

/* The log goes on, by a descriptor that stays open: -1 if it is standard error, or there is no room
 * for it. */
static int pass_log_fd(const struct lu_process *p)
{
    enum { FIRST_OWN_FD = 500 };
    FILE *log = p->options->log_file;

    return log && log != stderr ? fcntl(fileno(log), F_DUPFD, FIRST_OWN_FD) : -1;
}

/* Nandu's options as they were given to this one (not -g, and not changes of the environment, which
 * the guest has seen already). */
static void add_options(GPtrArray *args, const struct lu_process *p, int log_fd)
{
    const struct lu_options *o = p->options;
    g_autofree char *name = g_strdup_printf("nandu-%s", p->abi->name);
    g_autofree char *stack = g_strdup_printf("%" G_GUINT64_FORMAT, o->stack_size);
    g_autofree char *base = g_strdup_printf("0x%" G_GINT64_MODIFIER "x", o->guest_base);
    g_autofree char *reserved = g_strdup_printf("0x%" G_GINT64_MODIFIER "x", o->reserved_va);
    g_autofree char *prefix = o->prefix ? g_canonicalize_filename(o->prefix, NULL) : NULL;
    g_autofree char *seed = g_strdup_printf("%" G_GUINT64_FORMAT, o->seed);
    g_autofree char *log = g_strdup_printf("%d", log_fd);

    add(args, name);
    add2(args, "-L", prefix);
    add2(args, "-cpu", o->cpu);
    add2(args, "-r", o->uname_release);
    add2(args, "-s", o->stack_size ? stack : NULL);
    add2(args, "-B", o->have_guest_base ? base : NULL);
    add2(args, "-R", o->reserved_va ? reserved : NULL);
    add2(args, "-seed", o->have_seed ? seed : NULL);
    add2(args, "-D", log_fd >= 0 ? o->log_name : NULL);
    add2(args, "-log-fd", log_fd >= 0 ? log : NULL);
    if (o->strace) {
        add(args, "-strace");
    }
    add_log_options(args, o);
    add_dbt_options(args, &o->dbt);
}

/* ---- execve ---- */

struct request {
    GPtrArray *argv; /* strings, without the final NULL; replaced by scripts */
    char *const *envp;
    const char *path; /* as the guest gave it, for scripts and -0 */
};

static int64_t exec_nandu(struct lu_thread *t, const struct program *prog, struct request *rq)
{
    const struct lu_process *p = t->process;
    g_autoptr(GPtrArray) args = g_ptr_array_new_with_free_func(g_free);
    struct lu_seccomp_pass seccomp;
    int passed = -1, log_fd;
    int64_t r = lu_seccomp_pass(t, rq->envp, &seccomp);

    if (r < 0) {
        return r;
    }
    log_fd = pass_log_fd(p);
    add_options(args, p, log_fd);
    add2(args, "-0", rq->argv->len ? rq->argv->pdata[0] : "");
    if (prog->path[0] == '-') {
        g_ptr_array_add(args, g_strconcat("./", prog->path, NULL)); /* not an option */
    } else {
        add(args, prog->path);
    }
    for (unsigned i = 1; i < rq->argv->len; i++) {
        add(args, rq->argv->pdata[i]);
    }
    g_ptr_array_add(args, NULL);
    if (p->nandu_fd >= 0) {
        passed = pass_nandu_fd(p);
        r = LU_BLOCK(t, SYS_execveat, passed >= 0 ? passed : p->nandu_fd, "", args->pdata,
                     seccomp.envp->pdata, AT_EMPTY_PATH);
        if (passed >= 0) {
            close(passed);
        }
    } else {
        r = p->nandu_path
                ? LU_BLOCK(t, SYS_execve, p->nandu_path, args->pdata, seccomp.envp->pdata)
                : -ENOENT;
    }
    if (log_fd >= 0) {
        close(log_fd);
    }
    lu_seccomp_pass_undo(t, &seccomp);
    return r;
}

/* To the kernel as the guest has it. Not with seccomp filters, which would be lost. */
static int64_t exec_host(struct lu_thread *t, int dirfd, const char *path, char *const argv[],
                         char *const envp[], int flags)
{
    g_autofree char *exe = lu_special_exe_path(t, dirfd, path);
    g_autofree char *host = exe       ? NULL
                            : path[0] ? lu_prefixed_path(t->process, path)
                                      : g_strdup("");

    if (t->filter) {
        lu_log_unimp(t->process, "execve under seccomp filters of what isn't the guest's: '%s'",
                     path);
        return -ENOEXEC;
    }
    return LU_BLOCK(t, SYS_execveat, dirfd, exe ? exe : host, argv, envp, flags);
}

/* Follow scripts to a program of the guest's: its kind, with *prog and the arguments in *rq; or
 * LU_FILE_HOST or LU_FILE_OTHER for what is the kernel's; or -errno. */
static int resolve(struct lu_thread *t, struct program *prog, struct request *rq)
{
    for (int depth = 0; prog->kind == LU_FILE_SCRIPT; depth++) {
        g_autofree char *line = g_malloc(SCRIPT_LINE + 1);
        const char *script = depth ? prog->path : rq->path;
        struct program interp;
        char *name, *arg;
        int error;

        if (depth == MAX_SCRIPTS) {
            return -ELOOP;
        }
        if (!parse_script(prog->fd, line, &name, &arg)) {
            return -ENOEXEC;
        }
        error = open_program(t, AT_FDCWD, name, 0, &interp);
        if (error < 0) {
            program_clear(&interp);
            return error;
        }
        if (rq->argv->len) {
            g_ptr_array_remove_index(rq->argv, 0);
        }
        g_ptr_array_insert(rq->argv, 0, g_strdup(script));
        if (arg) {
            g_ptr_array_insert(rq->argv, 0, g_strdup(arg));
        }
        g_ptr_array_insert(rq->argv, 0, g_strdup(name));
        program_clear(prog);
        *prog = interp;
    }
    return prog->kind;
}

int64_t lu_execveat(struct lu_thread *t, int dirfd, const char *path, char *const argv[],
                    char *const envp[], int flags)
{
    g_autoptr(GPtrArray) args = g_ptr_array_new_with_free_func(g_free);
    g_autofree char *fd_path = NULL;
    struct request rq = {.argv = args, .envp = envp, .path = path};
    struct program prog;
    int64_t r = open_program(t, dirfd, path, flags, &prog);

    if (r < 0) {
        program_clear(&prog);
        return r;
    }
    if (dirfd != AT_FDCWD && path[0] != '/') {
        fd_path = g_strdup_printf("/dev/fd/%d%s%s", dirfd, path[0] ? "/" : "", path);
        rq.path = fd_path;
    }
    for (char *const *a = argv; *a; a++) {
        add(args, *a);
    }
    r = resolve(t, &prog, &rq);
    if (r == LU_FILE_GUEST) {
        r = check_guest_elf(t->process, prog.fd);
        r = r < 0 ? r : LU_FILE_GUEST;
    }
    if (r >= 0) {
        if (t->process->options->log_file) {
            fflush(t->process->options->log_file);
        }
        lu_host_before_exec(t);
        if (!t->vfork_child) {
            /* Until it fails: no other thread may give this one a filter that would be missed. */
            pthread_rwlock_rdlock(&t->process->fork_lock);
        }
        if (r == LU_FILE_GUEST) {
            r = exec_nandu(t, &prog, &rq);
            if (r == -ENOENT || r == -EACCES) {
                /* Nandu can't be reached; the kernel may know a way. */
                r = exec_host(t, dirfd, path, argv, envp, flags);
            }
        } else {
            r = exec_host(t, dirfd, path, argv, envp, flags);
        }
        if (!t->vfork_child) {
            pthread_rwlock_unlock(&t->process->fork_lock);
        }
        lu_host_exec_failed(t);
    }
    program_clear(&prog);
    /* A signal came first: its handler runs, then the call is made again. */
    return r == -LU_ERESTARTSYS ? -LU_ERESTARTNOINTR : r;
}

/* ---- The system calls ---- */

/* A vector of strings: *vector ends with NULL. A NULL pointer is an empty vector. */
static int get_strings(const struct lu_process *p, uint64_t addr, GPtrArray *vector, size_t *total)
{
    for (;; addr += sizeof(uint64_t)) {
        uint64_t string;
        char *copy;
        int error;

        if (!addr || lu_copy_from_guest(p, &string, addr, sizeof(string)) < 0) {
            return addr ? -EFAULT : (g_ptr_array_add(vector, NULL), 0);
        }
        if (!string) {
            g_ptr_array_add(vector, NULL);
            return 0;
        }
        error = lu_string_from_guest(p, &copy, string, MAX_ARG_STRING);
        if (error < 0) {
            return error == -ENAMETOOLONG ? -E2BIG : error;
        }
        g_ptr_array_add(vector, copy);
        *total += strlen(copy) + 1 + sizeof(char *);
        if (*total > MAX_ARG_TOTAL) {
            return -E2BIG;
        }
    }
}

static int64_t do_execveat(struct lu_thread *t, int dirfd, uint64_t path_addr, uint64_t argv_addr,
                           uint64_t envp_addr, int flags)
{
    g_autoptr(GPtrArray) argv = g_ptr_array_new_with_free_func(g_free);
    g_autoptr(GPtrArray) envp = g_ptr_array_new_with_free_func(g_free);
    g_autofree char *path = NULL;
    size_t total = 0;
    int error;

    if (flags & ~(AT_EMPTY_PATH | AT_SYMLINK_NOFOLLOW)) {
        return -EINVAL;
    }
    if ((error = lu_string_from_guest(t->process, &path, path_addr, PATH_MAX)) < 0) {
        return error;
    }
    if (!path[0] && !(flags & AT_EMPTY_PATH)) {
        return -ENOENT;
    }
    if ((error = get_strings(t->process, argv_addr, argv, &total)) < 0 ||
        (error = get_strings(t->process, envp_addr, envp, &total)) < 0) {
        return error;
    }
    if (argv->len == 1) {
        g_ptr_array_insert(argv, 0, g_strdup("")); /* as Linux since 5.18: no program without */
    }
    return lu_execveat(t, dirfd, path, (char *const *)argv->pdata, (char *const *)envp->pdata,
                       flags);
}

int64_t sys_execve(struct lu_thread *t, const uint64_t a[6])
{
    return do_execveat(t, AT_FDCWD, a[0], a[1], a[2], 0);
}

int64_t sys_execveat(struct lu_thread *t, const uint64_t a[6])
{
    return do_execveat(t, (int)a[0], a[1], a[2], a[3], (int)a[4]);
}
