#include "cli/process.h"

#include <cap-ng.h>
#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <pwd.h>
#include <sched.h>
#include <signal.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "qapi/error.h"

static bool fail_errno(GError **error, const char *what, const char *name)
{
    int e = errno;

    g_set_error(error, QAPI_ERROR, QAPI_ERROR_GENERIC, "%s%s%s: %s", what, name ? " " : "",
                name ? name : "", g_strerror(e));
    return false;
}

/* The parent's part: exits as the child says, or fails if it ends without a word. */
static G_NORETURN void wait_for_child(int from_child, pid_t pid)
{
    char status = 1;
    ssize_t n;
    int how;

    do {
        n = read(from_child, &status, 1);
    } while (n < 0 && errno == EINTR);
    if (n == 1) {
        _exit(status);
    }
    while (waitpid(pid, &how, 0) < 0 && errno == EINTR) {
    }
    _exit(1);
}

bool daemon_start(int *ready, GError **error)
{
    int fds[2];
    pid_t pid;

    if (pipe2(fds, O_CLOEXEC) < 0) {
        return fail_errno(error, "-daemonize: cannot make a pipe", NULL);
    }
    pid = fork();
    if (pid < 0) {
        fail_errno(error, "-daemonize: cannot fork", NULL);
        close(fds[0]);
        close(fds[1]);
        return false;
    }
    if (pid > 0) {
        close(fds[1]);
        wait_for_child(fds[0], pid);
    }
    close(fds[0]);
    setsid();
    /* Once more: one that doesn't lead its session never gets a terminal. */
    pid = fork();
    if (pid > 0) {
        _exit(0);
    }
    umask(027);
    signal(SIGTSTP, SIG_IGN);
    signal(SIGTTOU, SIG_IGN);
    signal(SIGTTIN, SIG_IGN);
    *ready = fds[1];
    return pid == 0 || fail_errno(error, "-daemonize: cannot fork", NULL);
}

bool daemon_ready(int ready, GError **error)
{
    int null = open("/dev/null", O_RDWR | O_CLOEXEC);
    char status = 0;

    if (null < 0 || chdir("/") < 0 || dup2(null, 0) < 0 || dup2(null, 1) < 0 || dup2(null, 2) < 0) {
        return fail_errno(error, "-daemonize: cannot leave the terminal", NULL);
    }
    if (null > 2) {
        close(null);
    }
    while (write(ready, &status, 1) < 0 && errno == EINTR) {
    }
    close(ready);
    return true;
}

bool pidfile_create(const char *path, int *fd, GError **error)
{
    struct flock lock = {.l_type = F_WRLCK, .l_whence = SEEK_SET};
    g_autofree char *text = g_strdup_printf("%d\n", (int)getpid());
    struct stat opened, named;

    for (;;) {
        *fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0644);
        if (*fd < 0) {
            return fail_errno(error, "cannot create PID file", path);
        }
        if (fcntl(*fd, F_SETLK, &lock) < 0) {
            fail_errno(error, "cannot lock PID file (is another process using it?)", path);
            goto bad;
        }
        /* The one that held the lock may have removed the file between our two calls. */
        if (fstat(*fd, &opened) == 0 && stat(path, &named) == 0 && opened.st_ino == named.st_ino &&
            opened.st_dev == named.st_dev) {
            break;
        }
        close(*fd);
    }
    if (ftruncate(*fd, 0) < 0 || write(*fd, text, strlen(text)) != (ssize_t)strlen(text)) {
        fail_errno(error, "cannot write PID file", path);
        goto bad;
    }
    return true;

bad:
    close(*fd);
    *fd = -1;
    return false;
}

static bool change_user(const char *user, GError **error)
{
    const struct passwd *entry = getpwnam(user);
    g_auto(GStrv) ids = g_strsplit(user, ":", -1);
    guint64 uid, gid;

    if (entry) {
        uid = entry->pw_uid;
        gid = entry->pw_gid;
        if (initgroups(user, gid) < 0) {
            return fail_errno(error, "-run-with user=: cannot set the groups of", user);
        }
    } else if (g_strv_length(ids) == 2 &&
               g_ascii_string_to_unsigned(ids[0], 10, 0, G_MAXUINT32 - 1, &uid, NULL) &&
               g_ascii_string_to_unsigned(ids[1], 10, 0, G_MAXUINT32 - 1, &gid, NULL)) {
        gid_t group = gid;

        if (setgroups(1, &group) < 0) {
            return fail_errno(error, "-run-with user=: cannot set the groups of", user);
        }
    } else {
        g_set_error(error, QAPI_ERROR, QAPI_ERROR_GENERIC,
                    "-run-with user=%s: there is no such user (expected a user's name or UID:GID)",
                    user);
        return false;
    }
    if (setgid(gid) < 0 || setuid(uid) < 0) {
        return fail_errno(error, "-run-with user=: cannot become", user);
    }
    if (uid != 0 && setuid(0) == 0) {
        g_set_error(error, QAPI_ERROR, QAPI_ERROR_GENERIC,
                    "-run-with user=%s: privileges could be gained back", user);
        return false;
    }
    capng_clear(CAPNG_SELECT_BOTH);
    if (capng_apply(CAPNG_SELECT_CAPS) != 0) {
        g_set_error(error, QAPI_ERROR, QAPI_ERROR_GENERIC,
                    "-run-with user=%s: capabilities can't be dropped", user);
        return false;
    }
    return true;
}

/*
 * async-teardown: a process that shares our memory outlives us for as long as the kernel needs to
 * free it, so that who waits for our end needn't. It does nothing else.
 */
static int outlive(void *opaque)
{
    pid_t parent = (pid_t)(intptr_t)opaque;
    sigset_t all, hangup;
    int sig;

    close_range(0, ~0u, 0);
    sigfillset(&all);
    sigprocmask(SIG_BLOCK, &all, NULL);
    sigemptyset(&hangup);
    sigaddset(&hangup, SIGHUP);
    prctl(PR_SET_NAME, "cleanup");
    prctl(PR_SET_PDEATHSIG, SIGHUP);
    while (getppid() == parent) {
        sigwait(&hangup, &sig);
    }
    _exit(0);
}

static bool start_async_teardown(GError **error)
{
    enum { STACK_SIZE = 64 << 10 };
    char *stack = mmap(NULL, STACK_SIZE, PROT_READ | PROT_WRITE,
                       MAP_PRIVATE | MAP_ANONYMOUS | MAP_STACK, -1, 0);

    /* The stack is the other process's for good. */
    if (stack == MAP_FAILED ||
        clone(outlive, stack + STACK_SIZE, CLONE_VM, (void *)(intptr_t)getpid()) < 0) {
        return fail_errno(error, "-run-with async-teardown=on: cannot start a process", NULL);
    }
    return true;
}

bool process_run_with(const struct qapi_run_with_options *options, GError **error)
{
    if (!options) {
        return true;
    }
    if (options->has_async_teardown && options->async_teardown && !start_async_teardown(error)) {
        return false;
    }
    if (options->chroot && (chroot(options->chroot) < 0 || chdir("/") < 0)) {
        return fail_errno(error, "-run-with chroot=: cannot change the root folder to",
                          options->chroot);
    }
    return !options->user || change_user(options->user, error);
}

bool process_lock_memory(enum qapi_mem_lock how, GError **error)
{
    int flags = MCL_CURRENT | MCL_FUTURE | (how == QAPI_MEM_LOCK_ON_FAULT ? MCL_ONFAULT : 0);

    if (how == QAPI_MEM_LOCK_OFF || mlockall(flags) == 0) {
        return true;
    }
    return fail_errno(error, "-overcommit mem-lock: memory can't be locked (see ulimit -l)", NULL);
}
