/* Where the debugger connects, and the thread that serves it. */
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/un.h>
#include <unistd.h>

#include "linux_user/gdb_priv.h"
#include "linux_user/sys.h"

enum { SERVER_STACK = 512 * 1024 };

/* ---- The server ---- */

/* Out of the guest's sight and way, if there is room. */
static int hide_fd(struct lu_gdb *g, int fd)
{
    int hidden = fd < 0 ? -1 : lu_fd_protect(g->p, fd);

    return hidden < 0 ? fd : hidden;
}

static void close_fd(struct lu_gdb *g, int fd)
{
    if (fd < 0)
        return;
    lu_fd_unprotect(g->p, fd);
    close(fd);
}

static bool accept_debugger(struct lu_gdb *g)
{
    int fd;

    do {
        fd = accept4(g->listen_fd, NULL, NULL, SOCK_CLOEXEC);
    } while (fd < 0 && (errno == EINTR || errno == ECONNABORTED));
    g->conn_fd = hide_fd(g, fd);
    return fd >= 0;
}

static void *server(void *opaque)
{
    struct lu_gdb *g = opaque;
    const int on = 1;

    for (;;) {
        enum gdb_end end;

        /* Fails for a Unix socket, which doesn't need it. */
        setsockopt(g->conn_fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on));
        end = gdb_serve(&lu_gdb_ops, g, g->conn_fd, g->event_fd);
        close_fd(g, g->conn_fd);
        g->conn_fd = -1;
        pthread_mutex_lock(&g->lock);
        g->exit_told = g->exited;
        pthread_cond_broadcast(&g->cond);
        pthread_mutex_unlock(&g->lock);
        if (end == GDB_END_EXITED || end == GDB_END_KILLED)
            return NULL;
        /* Another debugger may come and stop the guest again. */
        if (!accept_debugger(g))
            return NULL;
        pthread_mutex_lock(&g->lock);
        g->attached = true;
        g->interrupt = SIGTRAP;
        lu_gdb_stop_all(g);
        pthread_mutex_unlock(&g->lock);
    }
}

static bool listen_unix(struct lu_gdb *g, const char *where, GError **error)
{
    struct sockaddr_un addr = {.sun_family = AF_UNIX};
    g_auto(GStrv) part = g_strsplit(where, "%d", 2);
    struct stat st;

    g->socket_path =
        part[1] ? g_strdup_printf("%s%d%s", part[0], getpid(), part[1]) : g_strdup(where);
    if (g_strlcpy(addr.sun_path, g->socket_path, sizeof(addr.sun_path)) >= sizeof(addr.sun_path)) {
        g_set_error(error, G_FILE_ERROR, G_FILE_ERROR_NAMETOOLONG,
                    "-g %s: the path of a socket has at most %zu bytes", where,
                    sizeof(addr.sun_path) - 1);
        g_clear_pointer(&g->socket_path, g_free); /* it isn't ours to remove */
        return false;
    }
    if (lstat(g->socket_path, &st) == 0 && S_ISSOCK(st.st_mode))
        unlink(g->socket_path); /* left by a process that is gone */
    g->listen_fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (g->listen_fd >= 0 && bind(g->listen_fd, (struct sockaddr *)&addr, sizeof(addr)) == 0 &&
        listen(g->listen_fd, 1) == 0)
        return true;
    g_set_error(error, G_FILE_ERROR, g_file_error_from_errno(errno), "-g %s: %s", where,
                g_strerror(errno));
    g_clear_pointer(&g->socket_path, g_free);
    return false;
}

static bool listen_tcp(struct lu_gdb *g, const char *where, GError **error)
{
    struct sockaddr_in addr = {.sin_family = AF_INET};
    const int on = 1;
    guint64 port;

    if (!g_ascii_string_to_unsigned(where, 10, 1, 65535, &port, NULL)) {
        g_set_error(error, G_FILE_ERROR, G_FILE_ERROR_INVAL,
                    "-g %s: neither a port (1 to 65535) nor a socket's path (with a '/')", where);
        return false;
    }
    addr.sin_port = htons((uint16_t)port);
    addr.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    g->listen_fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (g->listen_fd >= 0 &&
        setsockopt(g->listen_fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on)) == 0 &&
        bind(g->listen_fd, (struct sockaddr *)&addr, sizeof(addr)) == 0 &&
        listen(g->listen_fd, 1) == 0)
        return true;
    g_set_error(error, G_FILE_ERROR, g_file_error_from_errno(errno), "-g %s: %s", where,
                g_strerror(errno));
    return false;
}

void lu_gdb_free(struct lu_gdb *g)
{
    const int fds[] = {g->listen_fd, g->conn_fd, g->event_fd, g->mem_fd};

    for (unsigned i = 0; i < G_N_ELEMENTS(fds); i++)
        close_fd(g, fds[i]);
    g_ptr_array_unref(g->threads);
    g_array_unref(g->points);
    g_array_unref(g->catch_numbers);
    g_free(g->socket_path);
    g_free(g);
}

/* Wait for the first debugger, then leave it to a thread that takes none of the guest's signals. */
static bool start_server(struct lu_gdb *g, GError **error)
{
    const uint64_t all = ~0ull;
    uint64_t old;
    pthread_attr_t attr;
    pthread_t thread;
    int r;

    if (!accept_debugger(g)) {
        g_set_error(error, G_FILE_ERROR, g_file_error_from_errno(errno), "-g: %s",
                    g_strerror(errno));
        return false;
    }
    pthread_attr_init(&attr);
    pthread_attr_setstacksize(&attr, SERVER_STACK);
    pthread_attr_setdetachstate(&attr, PTHREAD_CREATE_DETACHED);
    /* Not pthread_sigmask, which leaves two signals alone that are the guest's. */
    syscall(SYS_rt_sigprocmask, SIG_SETMASK, &all, &old, sizeof(all));
    r = pthread_create(&thread, &attr, server, g);
    syscall(SYS_rt_sigprocmask, SIG_SETMASK, &old, NULL, sizeof(old));
    pthread_attr_destroy(&attr);
    if (r)
        g_set_error(error, G_FILE_ERROR, g_file_error_from_errno(r), "-g: no thread: %s",
                    g_strerror(r));
    return r == 0;
}

struct lu_gdb *lu_gdb_open(struct lu_process *p, const char *where, GError **error)
{
    const struct gdb_arch *arch = gdb_arch_find(p->abi->arch->name);
    struct lu_gdb *g;

    if (!arch) {
        g_set_error(error, G_FILE_ERROR, G_FILE_ERROR_NOSYS, "-g: no support for %s",
                    p->abi->arch->name);
        return NULL;
    }
    g = g_new0(struct lu_gdb, 1);
    g->p = p;
    g->arch = arch;
    g->listen_fd = g->conn_fd = -1;
    g->event_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    g->mem_fd = open("/proc/self/mem", O_RDWR | O_CLOEXEC);
    g->threads = g_ptr_array_new_with_free_func(g_free);
    g->points = g_array_new(FALSE, FALSE, sizeof(struct lu_gdb_point));
    g->catch_numbers = g_array_new(FALSE, FALSE, sizeof(uint64_t));
    g->attached = g->stop = true;
    g->interrupt = SIGTRAP;
    g->new_mode = GDB_CONTINUE;
    pthread_mutex_init(&g->lock, NULL);
    pthread_cond_init(&g->cond, NULL);
    if (g->event_fd < 0 || g->mem_fd < 0)
        g_set_error(error, G_FILE_ERROR, g_file_error_from_errno(errno), "-g: %s",
                    g->mem_fd < 0 ? "needs /proc" : g_strerror(errno));
    else if ((strchr(where, '/') ? listen_unix : listen_tcp)(g, where, error)) {
        g->listen_fd = hide_fd(g, g->listen_fd);
        g->event_fd = hide_fd(g, g->event_fd);
        g->mem_fd = hide_fd(g, g->mem_fd);
        if (start_server(g, error))
            return g;
    }
    if (g->socket_path)
        unlink(g->socket_path);
    lu_gdb_free(g);
    return NULL;
}
