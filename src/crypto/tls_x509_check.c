/* The checks of X.509 credentials when they are made; every message names the file. */
#include <gnutls/x509.h>

#include "crypto/tls_creds.h"

enum role { ROLE_CA, ROLE_SERVER, ROLE_CLIENT };

static const char *const role_names[] = {"CA", "server", "client"};

struct certs {
    const char *path;
    gnutls_x509_crt_t *v;
    unsigned n;
};

static bool load_certs(const struct tls_file *file, struct certs *certs, GError **error)
{
    int status =
        gnutls_x509_crt_list_import2(&certs->v, &certs->n, &file->data, GNUTLS_X509_FMT_PEM, 0);

    certs->path = file->path;
    if (status < 0) {
        tls_set_error(error, status, "Unable to import certificates %s", file->path);
        certs->v = NULL;
        certs->n = 0;
        return false;
    }
    return true;
}

static void clear_certs(struct certs *certs)
{
    for (unsigned i = 0; i < certs->n; i++) {
        gnutls_x509_crt_deinit(certs->v[i]);
    }
    gnutls_free(certs->v);
}

static bool check_times(gnutls_x509_crt_t cert, const char *path, enum role role, int64_t now,
                        GError **error)
{
    time_t until = gnutls_x509_crt_get_expiration_time(cert);
    time_t from = gnutls_x509_crt_get_activation_time(cert);

    if (until == (time_t)-1 || from == (time_t)-1) {
        g_set_error(error, TLS_ERROR, 0, "The %s certificate %s has no valid dates",
                    role_names[role], path);
        return false;
    }
    if (until < now) {
        g_set_error(error, TLS_ERROR, 0, "The %s certificate %s has expired", role_names[role],
                    path);
        return false;
    }
    if (from > now) {
        g_set_error(error, TLS_ERROR, 0, "The %s certificate %s is not yet active",
                    role_names[role], path);
        return false;
    }
    return true;
}

/* Basic constraints: an authority must say that it is one, and nothing else may. */
static bool check_constraints(gnutls_x509_crt_t cert, const char *path, enum role role,
                              GError **error)
{
    int status = gnutls_x509_crt_get_basic_constraints(cert, NULL, NULL, NULL);

    if (status > 0 && role != ROLE_CA) {
        g_set_error(error, TLS_ERROR, 0,
                    "The certificate %s basic constraints show a CA, but we need one for a %s",
                    path, role_names[role]);
        return false;
    }
    if (status == 0 && role == ROLE_CA) {
        g_set_error(error, TLS_ERROR, 0, "The certificate %s basic constraints do not show a CA",
                    path);
        return false;
    }
    if (status == GNUTLS_E_REQUESTED_DATA_NOT_AVAILABLE && role == ROLE_CA) {
        g_set_error(error, TLS_ERROR, 0, "The certificate %s is missing basic constraints for a CA",
                    path);
        return false;
    }
    if (status < 0 && status != GNUTLS_E_REQUESTED_DATA_NOT_AVAILABLE) {
        tls_set_error(error, status, "Unable to query certificate %s basic constraints", path);
        return false;
    }
    return true;
}

/* An extension that isn't critical is advice, which TLS implementations don't enforce. */
static bool check_usage(gnutls_x509_crt_t cert, const char *path, enum role role, GError **error)
{
    unsigned need = role == ROLE_CA ? GNUTLS_KEY_KEY_CERT_SIGN : GNUTLS_KEY_DIGITAL_SIGNATURE;
    unsigned usage = 0, critical = 0;
    int status = gnutls_x509_crt_get_key_usage(cert, &usage, &critical);

    if (status == GNUTLS_E_REQUESTED_DATA_NOT_AVAILABLE) {
        return true;
    }
    if (status < 0) {
        tls_set_error(error, status, "Unable to query certificate %s key usage", path);
        return false;
    }
    if (critical && !(usage & need)) {
        g_set_error(error, TLS_ERROR, 0, "Certificate %s usage does not permit %s", path,
                    role == ROLE_CA ? "certificate signing" : "digital signature");
        return false;
    }
    return true;
}

static bool check_purpose(gnutls_x509_crt_t cert, const char *path, enum role role, GError **error)
{
    const char *need = role == ROLE_SERVER ? GNUTLS_KP_TLS_WWW_SERVER : GNUTLS_KP_TLS_WWW_CLIENT;
    unsigned critical = 0, is_critical;
    bool any = false, fits = false;
    char oid[128];
    size_t size;
    int status;

    for (unsigned i = 0;; i++) {
        size = sizeof(oid);
        status = gnutls_x509_crt_get_key_purpose_oid(cert, i, oid, &size, &is_critical);
        if (status == GNUTLS_E_REQUESTED_DATA_NOT_AVAILABLE) {
            break;
        }
        /* A longer one is none that is looked for. */
        if (status < 0 && status != GNUTLS_E_SHORT_MEMORY_BUFFER) {
            tls_set_error(error, status, "Unable to query certificate %s key purpose", path);
            return false;
        }
        any = true;
        critical |= is_critical;
        fits |= status >= 0 && (g_str_equal(oid, need) || g_str_equal(oid, GNUTLS_KP_ANY));
    }
    if (any && critical && !fits) {
        g_set_error(error, TLS_ERROR, 0, "Certificate %s purpose does not allow use with a TLS %s",
                    path, role_names[role]);
        return false;
    }
    return true;
}

static bool check_cert(gnutls_x509_crt_t cert, const char *path, enum role role, int64_t now,
                       GError **error)
{
    return check_times(cert, path, role, now, error) &&
           check_constraints(cert, path, role, error) && check_usage(cert, path, role, error) &&
           (role == ROLE_CA || check_purpose(cert, path, role, error));
}

static gnutls_x509_crt_t find_issuer(gnutls_x509_crt_t cert, const struct certs *among)
{
    for (unsigned i = 0; i < among->n; i++) {
        if (among->v[i] != cert && gnutls_x509_crt_check_issuer(cert, among->v[i])) {
            return among->v[i];
        }
    }
    return NULL;
}

/*
 * The authorities between our certificate and the first one in ca-cert.pem, and that one. Others in
 * that file may be unusable: it may be the bundle of all public ones.
 */
static bool check_chain(const struct certs *ca, const struct certs *own, int64_t now,
                        GError **error)
{
    gnutls_x509_crt_t cert = own->v[0], issuer;

    for (unsigned i = 0; i < own->n; i++) {
        issuer = find_issuer(cert, ca);
        if (issuer) {
            return check_cert(issuer, ca->path, ROLE_CA, now, error);
        }
        issuer = find_issuer(cert, own);
        if (!issuer) {
            break;
        }
        if (!check_cert(issuer, own->path, ROLE_CA, now, error)) {
            return false;
        }
        cert = issuer;
    }
    /* Nobody above it is known: check_signatures tells. */
    return true;
}

static bool check_signatures(const struct certs *ca, const struct certs *own, GError **error)
{
    unsigned status = 0;
    const char *reason = "The certificate is not trusted";
    int result;

    result = gnutls_x509_crt_list_verify(own->v, own->n, ca->v, ca->n, NULL, 0, 0, &status);
    if (result < 0) {
        tls_set_error(error, result, "Unable to verify certificate %s against %s", own->path,
                      ca->path);
        return false;
    }
    if (status == 0) {
        return true;
    }
    if (status & GNUTLS_CERT_SIGNER_NOT_FOUND) {
        reason = "The certificate hasn't got a known issuer";
    } else if (status & GNUTLS_CERT_REVOKED) {
        reason = "The certificate has been revoked";
    } else if (status & GNUTLS_CERT_INSECURE_ALGORITHM) {
        reason = "The certificate uses an insecure algorithm";
    }
    g_set_error(error, TLS_ERROR, 0, "Our own certificate %s failed validation against %s: %s",
                own->path, ca->path, reason);
    return false;
}

/* Only one needs to be usable; the error is about the first. */
static bool check_any_ca(const struct certs *ca, int64_t now, GError **error)
{
    GError *first = NULL;

    for (unsigned i = 0; i < ca->n; i++) {
        if (check_cert(ca->v[i], ca->path, ROLE_CA, now, first ? NULL : &first)) {
            g_clear_error(&first);
            return true;
        }
    }
    g_propagate_error(error, first);
    return false;
}

bool tls_x509_check(const struct tls_x509_files *files, bool server, int64_t now, GError **error)
{
    struct certs ca = {0}, own = {0};
    bool ok;

    ok = load_certs(&files->ca, &ca, error);
    if (ok && files->cert.data.data) {
        ok = load_certs(&files->cert, &own, error) &&
             check_cert(own.v[0], own.path, server ? ROLE_SERVER : ROLE_CLIENT, now, error) &&
             check_chain(&ca, &own, now, error) && check_signatures(&ca, &own, error);
    } else if (ok) {
        ok = check_any_ca(&ca, now, error);
    }
    clear_certs(&ca);
    clear_certs(&own);
    return ok;
}
