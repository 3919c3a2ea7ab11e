/* Listening and connecting: unix and vsock sockets, descriptors, and what all kinds share. */
#include <errno.h>
#include <fcntl.h>
#include <glib-unix.h>
#include <linux/vm_sockets.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "io/socket_priv.h"

/* A unix socket whose queue is full can't be waited for (unix(7)): it is tried again. */
enum { FULL_QUEUE_TRIES = 500, FULL_QUEUE_NS = 10 * 1000 * 1000 };

/* ---- Connecting ---- */

/* 0 or an errno value. */
static int wait_connected(int fd, enum socket_waiting waiting)
{
    struct pollfd poll_fd = {.fd = fd, .events = POLLOUT};
    socklen_t size = sizeof(int);
    int err = 0;

    if (waiting == SOCKET_WAITS_IN_COROUTINE) {
        if (!co_wait_fd(fd, POLLOUT)) {
            return ECANCELED;
        }
    } else {
        while (poll(&poll_fd, 1, -1) < 0) {
            if (errno != EINTR) {
                return errno;
            }
        }
    }
    return getsockopt(fd, SOL_SOCKET, SO_ERROR, &err, &size) < 0 ? errno : err;
}

int socket_finish_connect(int fd, const struct sockaddr *addr, socklen_t size,
                          enum socket_waiting waiting)
{
    for (unsigned i = 0; i < FULL_QUEUE_TRIES; i++) {
        if (connect(fd, addr, size) == 0) {
            return 0;
        }
        if (errno == EINPROGRESS || errno == EINTR) {
            return wait_connected(fd, waiting);
        }
        if (errno != EAGAIN) {
            return errno;
        }
        if (waiting == SOCKET_WAITS_IN_COROUTINE) {
            co_sleep(FULL_QUEUE_NS);
        } else {
            g_usleep(FULL_QUEUE_NS / 1000);
        }
    }
    return EAGAIN;
}

static int new_socket(int family, GError **error)
{
    int fd = socket(family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);

    if (fd < 0) {
        io_set_error(error, errno, "Failed to create socket");
    }
    return fd;
}

/* Takes fd. */
static int connect_to(int fd, const struct sockaddr *addr, socklen_t size,
                      enum socket_waiting waiting, const char *text, GError **error)
{
    int err;

    if (fd < 0) {
        return -1;
    }
    err = socket_finish_connect(fd, addr, size, waiting);
    if (err) {
        io_set_error(error, err, "Failed to connect to '%s'", text);
        close(fd);
        return -1;
    }
    return fd;
}

/* Takes fd. */
static bool listen_at(int fd, const struct sockaddr *addr, socklen_t size, int backlog,
                      const char *text, GArray *fds, GError **error)
{
    if (fd < 0) {
        return false;
    }
    if (bind(fd, addr, size) < 0) {
        io_set_error(error, errno, "Failed to bind socket to %s", text);
    } else if (listen(fd, backlog) < 0) {
        io_set_error(error, errno, "Failed to listen on socket %s", text);
    } else {
        g_array_append_val(fds, fd);
        return true;
    }
    close(fd);
    return false;
}

/* ---- Unix sockets ---- */

static bool unix_address(const struct qapi_unix_socket_address *address, struct sockaddr_un *un,
                         socklen_t *size, GError **error)
{
    bool tight = !address->has_tight || address->tight;
    size_t length = strlen(address->path);
    size_t offset = address->abstract ? 1 : 0;

    memset(un, 0, sizeof(*un));
    un->sun_family = AF_UNIX;
    if (length == 0) {
        io_set_error(error, 0, "A unix socket needs a path");
        return false;
    }
    if (offset + length > sizeof(un->sun_path)) {
        io_set_error(error, 0, "UNIX socket path '%s' is too long: it must be at most %zu bytes",
                     address->path, sizeof(un->sun_path) - offset);
        return false;
    }
    memcpy(un->sun_path + offset, address->path, length);
    *size = sizeof(*un);
    if (address->abstract && tight) {
        *size = (socklen_t)(offsetof(struct sockaddr_un, sun_path) + offset + length);
    }
    return true;
}

/* What is no socket stays: a path that was given by mistake must not cost a file. */
static void unlink_socket(const struct qapi_unix_socket_address *address)
{
    struct stat st;

    if (!address->abstract && lstat(address->path, &st) == 0 && S_ISSOCK(st.st_mode)) {
        unlink(address->path);
    }
}

static bool unix_listen(const struct qapi_unix_socket_address *address, int backlog, GArray *fds,
                        GError **error)
{
    struct sockaddr_un un;
    socklen_t size;

    if (!unix_address(address, &un, &size, error)) {
        return false;
    }
    /* A file that another process left would be in the way. */
    unlink_socket(address);
    return listen_at(new_socket(AF_UNIX, error), (struct sockaddr *)&un, size, backlog,
                     address->path, fds, error);
}

static int unix_connect(const struct qapi_unix_socket_address *address, enum socket_waiting waiting,
                        GError **error)
{
    struct sockaddr_un un;
    socklen_t size;

    if (!unix_address(address, &un, &size, error)) {
        return -1;
    }
    return connect_to(new_socket(AF_UNIX, error), (struct sockaddr *)&un, size, waiting,
                      address->path, error);
}

void socket_unlink(const struct qapi_socket_address *address)
{
    if (address->type == QAPI_SOCKET_ADDRESS_TYPE_UNIX) {
        unlink_socket(&address->u.unix_);
    }
}

/* ---- vsock ---- */

static bool parse_u32(const char *text, const char *what, uint32_t *value, GError **error)
{
    guint64 number;

    if (!g_ascii_string_to_unsigned(text, 10, 0, UINT32_MAX, &number, NULL)) {
        io_set_error(error, 0, "Failed to parse %s '%s': it must be a number below 2^32", what,
                     text);
        return false;
    }
    *value = (uint32_t)number;
    return true;
}

static bool vsock_address(const struct qapi_vsock_socket_address *address, struct sockaddr_vm *vm,
                          GError **error)
{
    memset(vm, 0, sizeof(*vm));
    vm->svm_family = AF_VSOCK;
    return parse_u32(address->cid, "vsock cid", &vm->svm_cid, error) &&
           parse_u32(address->port, "vsock port", &vm->svm_port, error);
}

/* ---- Descriptors ---- */

/* The descriptor, which is the caller's; -1 and *error. */
static int find_fd(const struct qapi_fd_socket_address *address, socket_get_fd *get_fd,
                   void *opaque, GError **error)
{
    bool named = !g_ascii_isdigit(address->str[0]);
    guint64 number;
    struct stat st;
    int fd;

    if (!named && g_ascii_string_to_unsigned(address->str, 10, 0, INT_MAX, &number, NULL)) {
        fd = (int)number;
    } else if (named && get_fd) {
        fd = get_fd(opaque, address->str, error);
        if (fd < 0) {
            return -1;
        }
    } else {
        io_set_error(error, 0, "File descriptor '%s' is not a number", address->str);
        return -1;
    }
    if (fstat(fd, &st) < 0 || !S_ISSOCK(st.st_mode)) {
        io_set_error(error, 0, "File descriptor '%s' is not a socket", address->str);
        if (named) {
            close(fd);
        }
        return -1;
    }
    fcntl(fd, F_SETFD, FD_CLOEXEC);
    g_unix_set_fd_nonblocking(fd, TRUE, NULL);
    return fd;
}

static bool fd_listen(const struct qapi_fd_socket_address *address, int backlog,
                      socket_get_fd *get_fd, void *opaque, GArray *fds, GError **error)
{
    int fd = find_fd(address, get_fd, opaque, error);

    if (fd < 0) {
        return false;
    }
    if (listen(fd, backlog) < 0) {
        io_set_error(error, errno, "Failed to listen on socket fd:%s", address->str);
        close(fd);
        return false;
    }
    g_array_append_val(fds, fd);
    return true;
}

/* ---- Any kind ---- */

bool socket_listen(const struct qapi_socket_address *address, int backlog, socket_get_fd *get_fd,
                   void *opaque, GArray *fds, GError **error)
{
    g_autofree char *text = socket_to_text(address);
    struct sockaddr_vm vm;

    switch (address->type) {
    case QAPI_SOCKET_ADDRESS_TYPE_INET:
        return socket_inet_listen(&address->u.inet, backlog, fds, error);
    case QAPI_SOCKET_ADDRESS_TYPE_UNIX: return unix_listen(&address->u.unix_, backlog, fds, error);
    case QAPI_SOCKET_ADDRESS_TYPE_VSOCK:
        return vsock_address(&address->u.vsock, &vm, error) &&
               listen_at(new_socket(AF_VSOCK, error), (struct sockaddr *)&vm, sizeof(vm), backlog,
                         text, fds, error);
    case QAPI_SOCKET_ADDRESS_TYPE_FD:
        return fd_listen(&address->u.fd, backlog, get_fd, opaque, fds, error);
    default: g_assert_not_reached();
    }
}

static int connect_any(const struct qapi_socket_address *address, socket_get_fd *get_fd,
                       void *opaque, enum socket_waiting waiting, GError **error)
{
    g_autofree char *text = socket_to_text(address);
    struct sockaddr_vm vm;

    switch (address->type) {
    case QAPI_SOCKET_ADDRESS_TYPE_INET:
        return socket_inet_connect(&address->u.inet, waiting, error);
    case QAPI_SOCKET_ADDRESS_TYPE_UNIX: return unix_connect(&address->u.unix_, waiting, error);
    case QAPI_SOCKET_ADDRESS_TYPE_VSOCK:
        if (!vsock_address(&address->u.vsock, &vm, error)) {
            return -1;
        }
        return connect_to(new_socket(AF_VSOCK, error), (struct sockaddr *)&vm, sizeof(vm), waiting,
                          text, error);
    case QAPI_SOCKET_ADDRESS_TYPE_FD: return find_fd(&address->u.fd, get_fd, opaque, error);
    default: g_assert_not_reached();
    }
}

int socket_connect(const struct qapi_socket_address *address, socket_get_fd *get_fd, void *opaque,
                   GError **error)
{
    return connect_any(address, get_fd, opaque, SOCKET_WAITS_IN_COROUTINE, error);
}

int socket_connect_blocking(const struct qapi_socket_address *address, socket_get_fd *get_fd,
                            void *opaque, GError **error)
{
    return connect_any(address, get_fd, opaque, SOCKET_BLOCKS, error);
}
