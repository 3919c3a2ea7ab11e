/* What the files of socket.h share. */
#ifndef NANDU_IO_SOCKET_PRIV_H
#define NANDU_IO_SOCKET_PRIV_H

#include <sys/socket.h>

#include "io/socket.h"

/* How to wait: as a coroutine, or by blocking the thread. */
enum socket_waiting { SOCKET_WAITS_IN_COROUTINE, SOCKET_BLOCKS };

/* Connects fd, which is non-blocking, and waits for that. 0 or an errno value. */
int socket_finish_connect(int fd, const struct sockaddr *addr, socklen_t size,
                          enum socket_waiting waiting);

/* socket_inet.c: as the functions without "inet_". */
bool socket_inet_listen(const struct qapi_inet_socket_address *inet, int backlog, GArray *fds,
                        GError **error);
int socket_inet_connect(const struct qapi_inet_socket_address *inet, enum socket_waiting waiting,
                        GError **error);

#endif
