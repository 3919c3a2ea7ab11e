/*
 * The object type "tls-creds-psk": keys that both sides have (RFC 4279, RFC 8446 4.2.11). The file
 * keys.psk has a line "name:key" for each, the key in hexadecimal digits. A server looks at the
 * file at every handshake, so that keys can be added and taken away.
 */
#include <string.h>

#include "crypto/tls_creds.h"

/* The name that other programs' clients use as well when none is configured. */
#define DEFAULT_USER "qemu"

struct tls_creds_psk {
    struct tls_creds creds;
    char *username;
};

/* The key of user, in hexadecimal digits; caller frees. */
static char *find_key(const struct tls_file *file, const char *user, GError **error)
{
    g_autofree char *text = g_strndup((const char *)file->data.data, file->data.size);
    g_auto(GStrv) lines = g_strsplit_set(text, "\r\n", -1);
    size_t length = strlen(user);
    char *key = NULL;

    for (char **line = lines; *line && !key; line++) {
        if (strncmp(*line, user, length) == 0 && (*line)[length] == ':') {
            key = g_strdup(*line + length + 1);
        }
    }
    gnutls_memset(text, 0, strlen(text));
    if (!key) {
        g_set_error(error, TLS_ERROR, 0, "Username %s not found in %s", user, file->path);
    }
    return key;
}

static bool set_client(struct tls_creds_psk *psk, struct tls_keys *keys,
                       const struct tls_file *file, GError **error)
{
    const char *user = psk->username ? psk->username : DEFAULT_USER;
    g_autofree char *key = find_key(file, user, error);
    gnutls_datum_t data = {.data = (unsigned char *)key};
    int status;

    if (!key) {
        return false;
    }
    data.size = (unsigned)strlen(key);
    gnutls_psk_allocate_client_credentials(&keys->psk_client);
    status = gnutls_psk_set_client_credentials(keys->psk_client, user, &data, GNUTLS_PSK_KEY_HEX);
    gnutls_memset(key, 0, data.size);
    if (status != GNUTLS_E_SUCCESS) {
        tls_set_error(error, status, "Unable to use the key of %s in %s", user, file->path);
        return false;
    }
    return true;
}

static bool set_server(struct tls_creds *creds, struct tls_keys *keys, const struct tls_file *file,
                       GError **error)
{
    int status;

    if (!tls_creds_read_dh(creds, keys, error)) {
        return false;
    }
    gnutls_psk_allocate_server_credentials(&keys->psk_server);
    status = gnutls_psk_set_server_credentials_file(keys->psk_server, file->path);
    if (status != GNUTLS_E_SUCCESS) {
        tls_set_error(error, status, "Unable to use %s", file->path);
        return false;
    }
    if (keys->dh) {
        gnutls_psk_set_server_dh_params(keys->psk_server, keys->dh);
    } else {
        gnutls_psk_set_server_known_dh_params(keys->psk_server, GNUTLS_SEC_PARAM_MEDIUM);
    }
    return true;
}

static bool psk_complete(struct object *obj, GError **error)
{
    struct tls_creds_psk *psk = (struct tls_creds_psk *)obj;
    auto_ptr(tls_keys) keys = NULL;
    struct tls_file file;
    bool ok;

    keys = tls_keys_new(&psk->creds, TLS_KIND_PSK, "+ECDHE-PSK:+DHE-PSK:+PSK", error);
    if (!keys) {
        return false;
    }
    if (keys->server && psk->username) {
        g_set_error(error, TLS_ERROR, 0,
                    "'username' is for endpoint=client; a server knows the "
                    "names in keys.psk");
        return false;
    }
    if (!tls_creds_read(&psk->creds, "keys.psk", true, &file, error)) {
        return false;
    }
    ok = keys->server ? set_server(&psk->creds, keys, &file, error)
                      : set_client(psk, keys, &file, error);
    tls_file_clear(&file);
    if (ok) {
        psk->creds.keys = g_steal_pointer(&keys);
    }
    return ok;
}

static const struct property psk_properties[] = {
    PROPERTY("username", tls_creds_psk, username, qapi_type_str, NULL,
             "Name of the client, whose key is in keys.psk"),
};

static const char *const psk_interfaces[] = {"user-creatable", NULL};

static const struct object_type psk_type = {
    .name = "tls-creds-psk",
    .parent = "tls-creds",
    .description = "TLS with keys that both sides have",
    .instance_size = sizeof(struct tls_creds_psk),
    .properties = psk_properties,
    .n_properties = G_N_ELEMENTS(psk_properties),
    .interfaces = psk_interfaces,
    .complete = psk_complete,
};
OBJECT_TYPE(psk_type);
