/* Addresses of the schema (SocketAddress), listening and connecting. */
#ifndef NANDU_IO_SOCKET_H
#define NANDU_IO_SOCKET_H

#include "io/channel.h"
#include "qapi/qapi_types.h"

/*
 * Looks up names given by getfd, for addresses of type fd; the descriptor is the caller's then. A
 * name that is a number is a descriptor of this process, and not asked for.
 */
typedef int socket_get_fd(void *opaque, const char *name, GError **error);

/*
 * One descriptor each (inet may give several, for IPv4 and IPv6, all with the same port: the first
 * free one from the address's up to `to`), listening, non-blocking. Error: names the address. fds:
 * appended; the caller closes them. A host that is a name is looked up in the pool if this is a
 * coroutine, and waited for otherwise; an address never waits.
 */
bool socket_listen(const struct qapi_socket_address *address, int backlog, socket_get_fd *get_fd,
                   void *opaque, GArray *fds, GError **error);
/*
 * In a coroutine (names are looked up in the pool, connecting doesn't block): a connected
 * descriptor, non-blocking, or -1.
 */
int socket_connect(const struct qapi_socket_address *address, socket_get_fd *get_fd, void *opaque,
                   GError **error);
/* For what must be connected before the program starts (no coroutine): waits. */
int socket_connect_blocking(const struct qapi_socket_address *address, socket_get_fd *get_fd,
                            void *opaque, GError **error);
/*
 * A datagram socket bound to local (may be NULL) and connected to remote, both of type inet,
 * non-blocking. An empty host is this one. Names are looked up as for socket_listen.
 */
int socket_datagram(const struct qapi_socket_address *remote,
                    const struct qapi_socket_address *local, GError **error);
/* "tcp:host:port", "unix:path", "fd:name", "vsock:cid:port", "host:port,ipv4=on,to=5999". */
struct qapi_socket_address *socket_parse(const char *text, GError **error);
struct qapi_socket_address *socket_local_address(int fd, GError **error);
struct qapi_socket_address *socket_remote_address(int fd, GError **error);
/*
 * "host:port", "[::1]:port", "unix:path" ("unix:@name": abstract), "vsock:2:1234", "fd:name";
 * caller frees.
 */
char *socket_to_text(const struct qapi_socket_address *address);
/* Removes the file of a unix socket that this process listened at. */
void socket_unlink(const struct qapi_socket_address *address);

#endif
