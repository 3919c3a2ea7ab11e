/* The configuration of socket chardevs. */
#include "chardev/socket_config.h"

#include <string.h>

#include "chardev/backend.h"

static bool flag(bool has, bool value)
{
    return has && value;
}

static bool check_client_config(const struct qapi_chardev_socket *c, GError **error)
{
    if (c->has_wait) {
        return chardev_error(error,
                             "'wait' option is incompatible with socket in client connect mode");
    }
    if (c->tls_authz) {
        return chardev_error(
            error, "'tls-authz' option is incompatible with socket in client connect mode");
    }
    if (flag(c->has_websocket, c->websocket)) {
        return chardev_error(error, "Websocket client is not implemented");
    }
    if ((c->has_reconnect && c->reconnect < 0) || (c->has_reconnect_ms && c->reconnect_ms < 0) ||
        (c->has_reconnect && c->reconnect > G_MAXINT32) ||
        (c->has_reconnect_ms && c->reconnect_ms > G_MAXINT32)) {
        return chardev_error(error, "Parameter '%s' must be between 0 and %d",
                             c->has_reconnect ? "reconnect" : "reconnect-ms", G_MAXINT32);
    }
    return true;
}

bool socket_config_check(const struct qapi_chardev_socket *c, bool server, GError **error)
{
    bool reconnects = c->has_reconnect || c->has_reconnect_ms;

    if (c->has_reconnect && c->has_reconnect_ms) {
        return chardev_error(error, "'reconnect' and 'reconnect-ms' are mutually exclusive");
    }
    if (reconnects && (server || c->addr->type == QAPI_SOCKET_ADDRESS_TYPE_FD)) {
        return chardev_error(error, "'%s' option is incompatible with %s",
                             c->has_reconnect ? "reconnect" : "reconnect-ms",
                             server ? "socket in server listen mode" : "'fd' address type");
    }
    if (flag(c->has_tn3270, c->tn3270)) {
        return chardev_error(error, "'tn3270' isn't supported: there is no 3270 console");
    }
    if (flag(c->has_telnet, c->telnet) && flag(c->has_websocket, c->websocket)) {
        return chardev_error(error, "'telnet' and 'websocket' are mutually exclusive");
    }
    if (c->tls_authz && !c->tls_creds) {
        return chardev_error(error, "'tls-authz' option requires 'tls-creds' option");
    }
    return server || check_client_config(c, error);
}

bool socket_config_creds(const struct qapi_chardev_socket *config, struct object *root, bool server,
                         struct object **creds, GError **error)
{
    const char *id = config->tls_creds;
    g_autoptr(json_object) endpoint = NULL;

    *creds = NULL;
    if (!id) {
        return true;
    }
    *creds = object_child(object_container(root, "/objects"), id);
    if (!*creds) {
        return chardev_error(error, "No TLS credentials with id '%s'", id);
    }
    if (!object_is(*creds, "tls-creds")) {
        return chardev_error(error, "Object with id '%s' is not TLS credentials", id);
    }
    endpoint = object_get(*creds, "endpoint", NULL);
    if (endpoint &&
        g_strcmp0(json_object_get_string(endpoint), server ? "server" : "client") != 0) {
        return chardev_error(error, "Expected TLS credentials for a %s endpoint",
                             server ? "server" : "client");
    }
    return true;
}

char *socket_config_text(const struct qapi_chardev_socket *config,
                         const struct qapi_socket_address *address)
{
    const char *protocol = flag(config->has_telnet, config->telnet)         ? "telnet"
                           : flag(config->has_websocket, config->websocket) ? "websocket"
                                                                            : "tcp";

    switch (address->type) {
    case QAPI_SOCKET_ADDRESS_TYPE_INET: {
        const char *host = address->u.inet.host;
        bool v6 = strchr(host, ':') != NULL;

        return g_strdup_printf("%s:%s%s%s:%s", protocol, v6 ? "[" : "", host, v6 ? "]" : "",
                               address->u.inet.port);
    }
    case QAPI_SOCKET_ADDRESS_TYPE_UNIX: {
        const struct qapi_unix_socket_address *u = &address->u.unix_;
        bool abstract = flag(u->has_abstract, u->abstract);

        return g_strdup_printf("unix:%s%s%s", u->path, abstract ? ",abstract=on" : "",
                               abstract && !flag(u->has_tight, !u->tight) ? ",tight=on" : "");
    }
    case QAPI_SOCKET_ADDRESS_TYPE_VSOCK:
        return g_strdup_printf("vsock:%s:%s", address->u.vsock.cid, address->u.vsock.port);
    default: return g_strdup_printf("fd:%s", address->u.fd.str);
    }
}

void chardev_flatten_address(const struct qapi_socket_address_legacy *legacy,
                             struct qapi_socket_address *address)
{
    *address = (struct qapi_socket_address){.type = legacy->type};
    switch (legacy->type) {
    case QAPI_SOCKET_ADDRESS_TYPE_INET:
        qapi_copy(&qapi_type_inet_socket_address, legacy->u.inet.data, &address->u.inet);
        break;
    case QAPI_SOCKET_ADDRESS_TYPE_UNIX:
        qapi_copy(&qapi_type_unix_socket_address, legacy->u.unix_.data, &address->u.unix_);
        break;
    case QAPI_SOCKET_ADDRESS_TYPE_VSOCK:
        qapi_copy(&qapi_type_vsock_socket_address, legacy->u.vsock.data, &address->u.vsock);
        break;
    case QAPI_SOCKET_ADDRESS_TYPE_FD:
        qapi_copy(&qapi_type_fd_socket_address, legacy->u.fd.data, &address->u.fd);
        break;
    case QAPI_SOCKET_ADDRESS_TYPE__COUNT: break;
    }
}
