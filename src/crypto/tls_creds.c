/* The abstract type "tls-creds": the folder, the endpoint and the priorities of all credentials. */
#include <errno.h>
#include <stdarg.h>
#include <string.h>

#include "crypto/regular_file.h"
#include "crypto/tls_creds.h"

/* Without the versions that RFC 8996 retired. */
#define DEFAULT_PRIORITY "NORMAL:-VERS-TLS1.0:-VERS-TLS1.1:-VERS-DTLS-ALL"

enum { MAX_FILE = 4 << 20 }; /* bytes; a bundle with all public authorities has 0.3 MB */

GQuark tls_error_quark(void)
{
    return g_quark_from_static_string("tls-error-quark");
}

void tls_set_error(GError **error, int status, const char *format, ...)
{
    g_autofree char *text = NULL;
    va_list args;

    va_start(args, format);
    text = g_strdup_vprintf(format, args);
    va_end(args);
    g_set_error(error, TLS_ERROR, status, "%s: %s", text, gnutls_strerror(status));
}

/* ---- Keys ---- */

struct tls_keys *tls_keys_new(const struct tls_creds *creds, enum tls_kind kind,
                              const char *algorithms, GError **error)
{
    const char *base = creds->priority ? creds->priority : DEFAULT_PRIORITY;
    g_autofree char *text = g_strdup_printf("%s%s%s", base, *algorithms ? ":" : "", algorithms);
    struct tls_keys *keys = g_new0(struct tls_keys, 1);
    const char *place = "";
    int status;

    g_atomic_ref_count_init(&keys->refs);
    keys->kind = kind;
    keys->server = creds->endpoint == QAPI_QCRYPTO_TLS_CREDS_ENDPOINT_SERVER;
    keys->verify_peer = creds->verify_peer;
    status = gnutls_priority_init(&keys->priority, text, &place);
    if (status != GNUTLS_E_SUCCESS) {
        tls_set_error(error, status, "Unable to set TLS session priority '%s' at '%s'", text,
                      place);
        keys->priority = NULL;
        g_clear_pointer(&keys, tls_keys_unref);
    }
    return keys;
}

struct tls_keys *tls_keys_ref(struct tls_keys *keys)
{
    g_atomic_ref_count_inc(&keys->refs);
    return keys;
}

void tls_keys_unref(struct tls_keys *keys)
{
    if (!keys || !g_atomic_ref_count_dec(&keys->refs)) {
        return;
    }
    g_clear_pointer(&keys->x509, gnutls_certificate_free_credentials);
    g_clear_pointer(&keys->psk_server, gnutls_psk_free_server_credentials);
    g_clear_pointer(&keys->psk_client, gnutls_psk_free_client_credentials);
    g_clear_pointer(&keys->anon_server, gnutls_anon_free_server_credentials);
    g_clear_pointer(&keys->anon_client, gnutls_anon_free_client_credentials);
    g_clear_pointer(&keys->dh, gnutls_dh_params_deinit);
    g_clear_pointer(&keys->priority, gnutls_priority_deinit);
    g_free(keys);
}

/* ---- Files ---- */

void tls_file_clear(struct tls_file *file)
{
    if (file->data.data) {
        gnutls_memset(file->data.data, 0, file->data.size);
    }
    g_clear_pointer(&file->data.data, g_free);
    file->data.size = 0;
    g_clear_pointer(&file->path, g_free);
}

bool tls_creds_read(const struct tls_creds *creds, const char *name, bool required,
                    struct tls_file *file, GError **error)
{
    char *data = NULL;
    size_t size = 0;
    int err;

    memset(file, 0, sizeof(*file));
    if (!creds->dir) {
        if (required) {
            g_set_error(error, TLS_ERROR, 0, "Missing 'dir' property value: the folder with %s",
                        name);
        }
        return !required;
    }
    file->path = g_build_filename(creds->dir, name, NULL);
    err = regular_file_read(file->path, MAX_FILE, &data, &size);
    file->data.data = (unsigned char *)data;
    file->data.size = (unsigned)size;
    if (err == 0 || (err == ENOENT && !required)) {
        return true;
    }
    g_set_error(error, TLS_ERROR, 0, "Unable to access credentials %s: %s", file->path,
                g_strerror(err));
    tls_file_clear(file);
    return false;
}

bool tls_creds_read_dh(const struct tls_creds *creds, struct tls_keys *keys, GError **error)
{
    struct tls_file file;
    int status;

    if (!tls_creds_read(creds, "dh-params.pem", false, &file, error)) {
        return false;
    }
    if (!file.data.data) {
        tls_file_clear(&file);
        return true;
    }
    status = gnutls_dh_params_init(&keys->dh);
    if (status == GNUTLS_E_SUCCESS) {
        status = gnutls_dh_params_import_pkcs3(keys->dh, &file.data, GNUTLS_X509_FMT_PEM);
    }
    if (status != GNUTLS_E_SUCCESS) {
        tls_set_error(error, status, "Unable to load DH parameters from %s", file.path);
    }
    tls_file_clear(&file);
    return status == GNUTLS_E_SUCCESS;
}

/* ---- The type ---- */

static void creds_finalize(struct object *obj)
{
    tls_keys_unref(((struct tls_creds *)obj)->keys);
}

static const struct property creds_properties[] = {
    PROPERTY("verify-peer", tls_creds, verify_peer, qapi_type_bool, "on",
             "Whether the peer's credentials are checked"),
    PROPERTY("dir", tls_creds, dir, qapi_type_str, NULL, "Folder with the files"),
    PROPERTY("endpoint", tls_creds, endpoint, qapi_type_qcrypto_tls_creds_endpoint, "client",
             "Which side they are for: client or server"),
    PROPERTY("priority", tls_creds, priority, qapi_type_str, NULL,
             "Versions and algorithms, as a priority string of GnuTLS"),
};

static const struct object_type tls_creds_type = {
    .name = "tls-creds",
    .parent = "object",
    .abstract = true,
    .instance_size = sizeof(struct tls_creds),
    .properties = creds_properties,
    .n_properties = G_N_ELEMENTS(creds_properties),
    .finalize = creds_finalize,
};
OBJECT_TYPE(tls_creds_type);
