/*
 * The object type "tls-creds-x509": certificates (RFC 5280) in PEM files. A server has
 * server-cert.pem and server-key.pem, a client may have client-cert.pem and client-key.pem; both
 * have ca-cert.pem, the authorities that are believed, and may have ca-crl.pem, what these took
 * back.
 */
#include <string.h>

#include "crypto/secret.h"
#include "crypto/tls_creds.h"
#include "util/clock.h"

struct tls_creds_x509 {
    struct tls_creds creds;
    bool sanity_check;
    char *passwordid;
};

static void clear_files(struct tls_x509_files *files)
{
    tls_file_clear(&files->ca);
    tls_file_clear(&files->crl);
    tls_file_clear(&files->cert);
    tls_file_clear(&files->key);
}

static bool read_files(struct tls_creds *creds, bool server, struct tls_x509_files *files,
                       GError **error)
{
    const char *cert = server ? "server-cert.pem" : "client-cert.pem";
    const char *key = server ? "server-key.pem" : "client-key.pem";

    if (!tls_creds_read(creds, "ca-cert.pem", true, &files->ca, error) ||
        !tls_creds_read(creds, "ca-crl.pem", false, &files->crl, error) ||
        !tls_creds_read(creds, cert, server, &files->cert, error) ||
        !tls_creds_read(creds, key, server, &files->key, error)) {
        return false;
    }
    if (!files->cert.data.data != !files->key.data.data) {
        g_set_error(error, TLS_ERROR, 0, "%s is there without %s: a certificate needs its key",
                    files->cert.data.data ? files->cert.path : files->key.path,
                    files->cert.data.data ? key : cert);
        return false;
    }
    return true;
}

static bool load_pair(struct tls_creds_x509 *x509, struct tls_keys *keys,
                      const struct tls_x509_files *files, GError **error)
{
    g_autofree char *password = NULL;
    int status;

    if (!files->cert.data.data) {
        return true;
    }
    if (x509->passwordid) {
        password = secret_get_text(object_root_of(&x509->creds.obj), x509->passwordid, error);
        if (!password) {
            return false;
        }
    }
    status = gnutls_certificate_set_x509_key_mem2(keys->x509, &files->cert.data, &files->key.data,
                                                  GNUTLS_X509_FMT_PEM, password, 0);
    if (password) {
        gnutls_memset(password, 0, strlen(password));
    }
    if (status < 0) {
        tls_set_error(error, status, "Cannot load certificate '%s' & key '%s'%s", files->cert.path,
                      files->key.path,
                      status == GNUTLS_E_DECRYPTION_FAILED ? " (see 'passwordid')" : "");
        return false;
    }
    return true;
}

static bool load(struct tls_creds_x509 *x509, struct tls_keys *keys,
                 const struct tls_x509_files *files, GError **error)
{
    int status;

    status = gnutls_certificate_allocate_credentials(&keys->x509);
    if (status != GNUTLS_E_SUCCESS) {
        tls_set_error(error, status, "Cannot allocate credentials");
        return false;
    }
    status =
        gnutls_certificate_set_x509_trust_mem(keys->x509, &files->ca.data, GNUTLS_X509_FMT_PEM);
    if (status <= 0) {
        tls_set_error(error, status ? status : GNUTLS_E_NO_CERTIFICATE_FOUND,
                      "Cannot load CA certificate '%s'", files->ca.path);
        return false;
    }
    if (!load_pair(x509, keys, files, error)) {
        return false;
    }
    if (files->crl.data.data) {
        status =
            gnutls_certificate_set_x509_crl_mem(keys->x509, &files->crl.data, GNUTLS_X509_FMT_PEM);
        if (status <= 0) {
            tls_set_error(error, status ? status : GNUTLS_E_NO_CERTIFICATE_FOUND,
                          "Cannot load CRL '%s'", files->crl.path);
            return false;
        }
    }
    if (!keys->server) {
        return true;
    }
    if (!tls_creds_read_dh(&x509->creds, keys, error)) {
        return false;
    }
    if (keys->dh) {
        gnutls_certificate_set_dh_params(keys->x509, keys->dh);
    } else {
        gnutls_certificate_set_known_dh_params(keys->x509, GNUTLS_SEC_PARAM_MEDIUM);
    }
    return true;
}

static bool x509_complete(struct object *obj, GError **error)
{
    struct tls_creds_x509 *x509 = (struct tls_creds_x509 *)obj;
    int64_t now = clocks_now(object_context(obj)->clocks, CLOCK_HOST) / 1000000000;
    auto_ptr(tls_keys) keys = tls_keys_new(&x509->creds, TLS_KIND_X509, "", error);
    struct tls_x509_files files = {0};
    bool ok;

    if (!keys) {
        return false;
    }
    ok = read_files(&x509->creds, keys->server, &files, error) &&
         (!x509->sanity_check || tls_x509_check(&files, keys->server, now, error)) &&
         load(x509, keys, &files, error);
    clear_files(&files);
    if (ok) {
        x509->creds.keys = g_steal_pointer(&keys);
    }
    return ok;
}

static const struct property x509_properties[] = {
    PROPERTY("sanity-check", tls_creds_x509, sanity_check, qapi_type_bool, "on",
             "Whether the certificates are checked now and not at the first connection"),
    PROPERTY("passwordid", tls_creds_x509, passwordid, qapi_type_str, NULL,
             "Secret that the private key is encrypted with"),
};

static const char *const x509_interfaces[] = {"user-creatable", NULL};

static const struct object_type x509_type = {
    .name = "tls-creds-x509",
    .parent = "tls-creds",
    .description = "TLS with certificates",
    .instance_size = sizeof(struct tls_creds_x509),
    .properties = x509_properties,
    .n_properties = G_N_ELEMENTS(x509_properties),
    .interfaces = x509_interfaces,
    .complete = x509_complete,
};
OBJECT_TYPE(x509_type);
