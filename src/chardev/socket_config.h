/* What a socket chardev's configuration says. */
#ifndef NANDU_CHARDEV_SOCKET_CONFIG_H
#define NANDU_CHARDEV_SOCKET_CONFIG_H

#include "object/object.h"
#include "qapi/qapi_types.h"

/* Whether the members go together. */
bool socket_config_check(const struct qapi_chardev_socket *config, bool server, GError **error);
/* The TLS credentials, borrowed; *creds is NULL if none are asked for. */
bool socket_config_creds(const struct qapi_chardev_socket *config, struct object *root, bool server,
                         struct object **creds, GError **error);
/* "unix:/run/x", "telnet:[::1]:23": an address as query-chardev shows it. Caller frees. */
char *socket_config_text(const struct qapi_chardev_socket *config,
                         const struct qapi_socket_address *address);

#endif
