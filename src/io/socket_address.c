/* Socket addresses as text, and as the kernel has them. */
#include <errno.h>
#include <linux/vm_sockets.h>
#include <netdb.h>
#include <netinet/in.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>

#include "io/socket.h"
#include "qapi/keyval.h"

/* ---- From text ---- */

static bool parse_flag(const char *key, const char *value, bool *has, bool *flag, GError **error)
{
    *has = true;
    if (!value) {
        *flag = true;
        return true;
    }
    if (!keyval_parse_bool(value, flag, NULL)) {
        io_set_error(error, 0, "Parameter '%s' expects 'on' or 'off', not '%s'", key, value);
        return false;
    }
    return true;
}

/* "key" or "key=value" behind host and port. */
static bool parse_option(struct qapi_inet_socket_address *inet, char *key, GError **error)
{
    char *value = strchr(key, '=');
    guint64 to;

    if (value) {
        *value++ = '\0';
    }
    if (g_str_equal(key, "to")) {
        if (!value || !g_ascii_string_to_unsigned(value, 10, 0, UINT16_MAX, &to, NULL)) {
            io_set_error(error, 0, "Parameter 'to' expects a port number");
            return false;
        }
        inet->has_to = true;
        inet->to = (uint16_t)to;
        return true;
    }
    if (g_str_equal(key, "ipv4")) {
        return parse_flag(key, value, &inet->has_ipv4, &inet->ipv4, error);
    }
    if (g_str_equal(key, "ipv6")) {
        return parse_flag(key, value, &inet->has_ipv6, &inet->ipv6, error);
    }
    if (g_str_equal(key, "numeric")) {
        return parse_flag(key, value, &inet->has_numeric, &inet->numeric, error);
    }
    if (g_str_equal(key, "keep-alive")) {
        return parse_flag(key, value, &inet->has_keep_alive, &inet->keep_alive, error);
    }
    if (g_str_equal(key, "mptcp")) {
        return parse_flag(key, value, &inet->has_mptcp, &inet->mptcp, error);
    }
    io_set_error(error, 0,
                 "Invalid parameter '%s' of an address "
                 "(to, ipv4, ipv6, numeric, keep-alive, mptcp)",
                 key);
    return false;
}

/* "host:port", "[host]:port", ":port". */
static bool parse_host_port(struct qapi_inet_socket_address *inet, const char *text, GError **error)
{
    const char *colon;

    if (*text == '[') {
        const char *end = strchr(text, ']');

        colon = end && end[1] == ':' ? end + 1 : NULL;
        inet->host = end ? g_strndup(text + 1, (gsize)(end - text - 1)) : NULL;
    } else {
        colon = strchr(text, ':');
        inet->host = colon ? g_strndup(text, (gsize)(colon - text)) : NULL;
    }
    if (!colon || !colon[1]) {
        io_set_error(error, 0, "error parsing address '%s': it must be HOST:PORT", text);
        return false;
    }
    if (strchr(colon + 1, ':')) {
        io_set_error(error, 0,
                     "error parsing address '%s': an IPv6 address must be in brackets, as "
                     "[::1]:PORT",
                     text);
        return false;
    }
    inet->port = g_strdup(colon + 1);
    return true;
}

static bool parse_inet(struct qapi_inet_socket_address *inet, const char *text, GError **error)
{
    g_auto(GStrv) parts = g_strsplit(text, ",", -1);

    if (!parse_host_port(inet, parts[0] ? parts[0] : "", error)) {
        return false;
    }
    for (char **part = parts + 1; *part; part++) {
        if (!parse_option(inet, *part, error)) {
            return false;
        }
    }
    return true;
}

static bool parse(struct qapi_socket_address *address, const char *text, GError **error)
{
    const char *rest;

    if (g_str_has_prefix(text, "unix:")) {
        address->type = QAPI_SOCKET_ADDRESS_TYPE_UNIX;
        address->u.unix_.path = g_strdup(text + strlen("unix:"));
        if (!*address->u.unix_.path) {
            io_set_error(error, 0, "invalid Unix socket address '%s': it must be unix:PATH", text);
            return false;
        }
        return true;
    }
    if (g_str_has_prefix(text, "fd:")) {
        address->type = QAPI_SOCKET_ADDRESS_TYPE_FD;
        address->u.fd.str = g_strdup(text + strlen("fd:"));
        if (!*address->u.fd.str) {
            io_set_error(error, 0, "invalid file descriptor address '%s': it must be fd:NAME",
                         text);
            return false;
        }
        return true;
    }
    if (g_str_has_prefix(text, "vsock:")) {
        address->type = QAPI_SOCKET_ADDRESS_TYPE_VSOCK;
        rest = strchr(text + strlen("vsock:"), ':');
        if (!rest || !rest[1]) {
            io_set_error(error, 0, "error parsing address '%s': it must be vsock:CID:PORT", text);
            return false;
        }
        text += strlen("vsock:");
        address->u.vsock.cid = g_strndup(text, (gsize)(rest - text));
        address->u.vsock.port = g_strdup(rest + 1);
        return true;
    }
    address->type = QAPI_SOCKET_ADDRESS_TYPE_INET;
    rest = g_str_has_prefix(text, "tcp:") ? text + strlen("tcp:") : text;
    return parse_inet(&address->u.inet, rest, error);
}

struct qapi_socket_address *socket_parse(const char *text, GError **error)
{
    struct qapi_socket_address *address = g_new0(struct qapi_socket_address, 1);

    if (!parse(address, text, error)) {
        qapi_socket_address_free(address);
        return NULL;
    }
    return address;
}

/* ---- To text ---- */

char *socket_to_text(const struct qapi_socket_address *address)
{
    const struct qapi_inet_socket_address *inet = &address->u.inet;

    switch (address->type) {
    case QAPI_SOCKET_ADDRESS_TYPE_INET:
        return g_strdup_printf(strchr(inet->host, ':') ? "[%s]:%s" : "%s:%s", inet->host,
                               inet->port);
    case QAPI_SOCKET_ADDRESS_TYPE_UNIX:
        return g_strdup_printf("unix:%s%s", address->u.unix_.abstract ? "@" : "",
                               address->u.unix_.path);
    case QAPI_SOCKET_ADDRESS_TYPE_VSOCK:
        return g_strdup_printf("vsock:%s:%s", address->u.vsock.cid, address->u.vsock.port);
    case QAPI_SOCKET_ADDRESS_TYPE_FD: return g_strdup_printf("fd:%s", address->u.fd.str);
    default: g_assert_not_reached();
    }
}

/* ---- From the kernel ---- */

static bool from_inet(struct qapi_socket_address *address, const struct sockaddr *addr,
                      socklen_t size, GError **error)
{
    struct qapi_inet_socket_address *inet = &address->u.inet;
    char host[NI_MAXHOST], port[NI_MAXSERV];
    int status = getnameinfo(addr, size, host, sizeof(host), port, sizeof(port),
                             NI_NUMERICHOST | NI_NUMERICSERV);

    if (status != 0) {
        io_set_error(error, 0, "Cannot format socket address: %s", gai_strerror(status));
        return false;
    }
    address->type = QAPI_SOCKET_ADDRESS_TYPE_INET;
    inet->host = g_strdup(host);
    inet->port = g_strdup(port);
    if (addr->sa_family == AF_INET) {
        inet->has_ipv4 = inet->ipv4 = true;
    } else {
        inet->has_ipv6 = inet->ipv6 = true;
    }
    return true;
}

static void from_unix(struct qapi_socket_address *address, const struct sockaddr_un *un,
                      socklen_t size)
{
    struct qapi_unix_socket_address *to = &address->u.unix_;
    size_t length = size - offsetof(struct sockaddr_un, sun_path);

    address->type = QAPI_SOCKET_ADDRESS_TYPE_UNIX;
    if (length > 1 && un->sun_path[0] == '\0') {
        to->path = g_strndup(un->sun_path + 1, length - 1);
        to->has_abstract = to->abstract = true;
        to->has_tight = true;
        to->tight = size < sizeof(*un);
    } else {
        /* Without a name: the other end of one that has, or a pair. */
        to->path = g_strndup(un->sun_path, length);
    }
}

static struct qapi_socket_address *from_kernel(const struct sockaddr *addr, socklen_t size,
                                               GError **error)
{
    auto_ptr(qapi_socket_address) address = g_new0(struct qapi_socket_address, 1);
    const struct sockaddr_vm *vm = (const struct sockaddr_vm *)addr;

    switch (addr->sa_family) {
    case AF_INET:
    case AF_INET6: return from_inet(address, addr, size, error) ? g_steal_pointer(&address) : NULL;
    case AF_UNIX:
        from_unix(address, (const struct sockaddr_un *)addr, size);
        return g_steal_pointer(&address);
    case AF_VSOCK:
        address->type = QAPI_SOCKET_ADDRESS_TYPE_VSOCK;
        address->u.vsock.cid = g_strdup_printf("%u", vm->svm_cid);
        address->u.vsock.port = g_strdup_printf("%u", vm->svm_port);
        return g_steal_pointer(&address);
    default:
        io_set_error(error, 0, "Socket family %d is not supported", addr->sa_family);
        return NULL;
    }
}

struct qapi_socket_address *socket_local_address(int fd, GError **error)
{
    struct sockaddr_storage addr = {0};
    socklen_t size = sizeof(addr);

    if (getsockname(fd, (struct sockaddr *)&addr, &size) < 0) {
        io_set_error(error, errno, "Unable to query local socket address");
        return NULL;
    }
    return from_kernel((struct sockaddr *)&addr, size, error);
}

struct qapi_socket_address *socket_remote_address(int fd, GError **error)
{
    struct sockaddr_storage addr = {0};
    socklen_t size = sizeof(addr);

    if (getpeername(fd, (struct sockaddr *)&addr, &size) < 0) {
        io_set_error(error, errno, "Unable to query remote socket address");
        return NULL;
    }
    return from_kernel((struct sockaddr *)&addr, size, error);
}
