/* The object type "tls-creds-anon": nobody proves who he is (RFC 5246, F.1.1.1). */
#include "crypto/tls_creds.h"

static bool anon_complete(struct object *obj, GError **error)
{
    struct tls_creds *creds = (struct tls_creds *)obj;
    auto_ptr(tls_keys) keys = tls_keys_new(creds, TLS_KIND_ANON, "+ANON-ECDH:+ANON-DH", error);

    if (!keys) {
        return false;
    }
    if (!keys->server) {
        gnutls_anon_allocate_client_credentials(&keys->anon_client);
    } else {
        if (!tls_creds_read_dh(creds, keys, error)) {
            return false;
        }
        gnutls_anon_allocate_server_credentials(&keys->anon_server);
        if (keys->dh) {
            gnutls_anon_set_server_dh_params(keys->anon_server, keys->dh);
        } else {
            gnutls_anon_set_server_known_dh_params(keys->anon_server, GNUTLS_SEC_PARAM_MEDIUM);
        }
    }
    creds->keys = g_steal_pointer(&keys);
    return true;
}

static const char *const anon_interfaces[] = {"user-creatable", NULL};

static const struct object_type anon_type = {
    .name = "tls-creds-anon",
    .parent = "tls-creds",
    .description = "TLS without a proof of who the peer is",
    .instance_size = sizeof(struct tls_creds),
    .interfaces = anon_interfaces,
    .complete = anon_complete,
};
OBJECT_TYPE(anon_type);
