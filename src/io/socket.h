/* Addresses of the schema (SocketAddress), listening and connecting. */
#ifndef NANDU_IO_SOCKET_H
#define NANDU_IO_SOCKET_H

#include "io/channel.h"
#include "qapi/qapi_types.h"

/*
 * One descriptor each (inet may give several, for IPv4 and IPv6 and to=PORT), listening, non-blocking.
 * Error: names the address. fds: appended; the caller closes them. get_fd (may be NULL) looks up names
 * given by getfd for type fd.
 */
typedef int socket_get_fd(void *opaque, const char *name, GError **error);
bool socket_listen(const struct qapi_socket_address *address, int backlog, socket_get_fd *get_fd, void *opaque,
                   GArray *fds, GError **error);
/* In a coroutine (names are looked up in the pool, connecting doesn't block): a connected descriptor, or -1. */
int socket_connect(const struct qapi_socket_address *address, socket_get_fd *get_fd, void *opaque, GError **error);
/* For what must be connected before the program starts (no coroutine): waits. */
int socket_connect_blocking(const struct qapi_socket_address *address, socket_get_fd *get_fd, void *opaque,
                            GError **error);
/* A datagram socket bound to local (may be NULL) and connected to remote. */
int socket_datagram(const struct qapi_socket_address *remote, const struct qapi_socket_address *local,
                    GError **error);
/* "tcp:host:port", "unix:path", "fd:name", "host:port" and so on, as QEMU reads them. Free with qapi_free. */
struct qapi_socket_address *socket_parse(const char *text, GError **error);
struct qapi_socket_address *socket_local_address(int fd, GError **error);
struct qapi_socket_address *socket_remote_address(int fd, GError **error);
/* "host:port", "[::1]:port", "unix:path"; caller frees. */
char *socket_to_text(const struct qapi_socket_address *address);
/* Removes the file of a unix socket that this process listened at. */
void socket_unlink(const struct qapi_socket_address *address);

#endif
