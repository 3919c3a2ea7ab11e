/*
 * One TLS connection. The transport never waits; what GnuTLS could not send yet stays in it, and
 * what a caller wrote and GnuTLS does not have yet stays in `unsent`, so that a write which was
 * answered with a number of bytes is a promise.
 */
#include <assert.h>
#include <arpa/inet.h>
#include <errno.h>
#include <gnutls/x509.h>
#include <string.h>

#include "crypto/authz.h"
#include "crypto/tls_creds.h"

enum { RECORD = 16384 }; /* bytes of a record at most (RFC 8446, 5.1) */

struct tls_session {
    gnutls_session_t handle;
    struct tls_keys *keys;
    struct object *root; /* for authz; only until the handshake is over */
    char *hostname;
    char *authz;
    struct tls_transport transport;
    char *peer;
    bool ready; /* the handshake is over, and the peer checked */
    GByteArray *unsent;
    bool in_flight; /* GnuTLS has a record of unsent's first bytes */
};

/* ---- Transport ---- */

static ssize_t pull(gnutls_transport_ptr_t opaque, void *data, size_t size)
{
    struct tls_session *session = opaque;
    ssize_t result = session->transport.read(session->transport.opaque, data, size);

    if (result < 0) {
        gnutls_transport_set_errno(session->handle, errno);
    }
    return result;
}

static ssize_t push(gnutls_transport_ptr_t opaque, const void *data, size_t size)
{
    struct tls_session *session = opaque;
    ssize_t result = session->transport.write(session->transport.opaque, data, size);

    if (result < 0) {
        gnutls_transport_set_errno(session->handle, errno);
    }
    return result;
}

/* ---- Making one ---- */

static int set_credentials(gnutls_session_t handle, const struct tls_keys *keys)
{
    switch (keys->kind) {
    case TLS_KIND_X509: return gnutls_credentials_set(handle, GNUTLS_CRD_CERTIFICATE, keys->x509);
    case TLS_KIND_PSK:
        return gnutls_credentials_set(handle, GNUTLS_CRD_PSK,
                                      keys->server ? (void *)keys->psk_server
                                                   : (void *)keys->psk_client);
    case TLS_KIND_ANON:
        return gnutls_credentials_set(handle, GNUTLS_CRD_ANON,
                                      keys->server ? (void *)keys->anon_server
                                                   : (void *)keys->anon_client);
    }
    return GNUTLS_E_INTERNAL_ERROR;
}

static bool is_address(const char *hostname)
{
    char buffer[sizeof(struct in6_addr)];

    return inet_pton(AF_INET, hostname, buffer) == 1 || inet_pton(AF_INET6, hostname, buffer) == 1;
}

static int set_up(struct tls_session *session)
{
    struct tls_keys *keys = session->keys;
    gnutls_session_t handle;
    int status;

    status = gnutls_init(&session->handle, (keys->server ? GNUTLS_SERVER : GNUTLS_CLIENT) |
                                               GNUTLS_NONBLOCK | GNUTLS_NO_SIGNAL);
    if (status != GNUTLS_E_SUCCESS) {
        session->handle = NULL;
        return status;
    }
    handle = session->handle;
    status = gnutls_priority_set(handle, keys->priority);
    if (status == GNUTLS_E_SUCCESS) {
        status = set_credentials(handle, keys);
    }
    if (status == GNUTLS_E_SUCCESS && !keys->server && session->hostname &&
        !is_address(session->hostname)) {
        /* RFC 6066, 3: a name, not an address. */
        status = gnutls_server_name_set(handle, GNUTLS_NAME_DNS, session->hostname,
                                        strlen(session->hostname));
    }
    if (keys->kind == TLS_KIND_X509 && keys->server) {
        gnutls_certificate_server_set_request(handle, keys->verify_peer ? GNUTLS_CERT_REQUIRE
                                                                        : GNUTLS_CERT_IGNORE);
    }
    gnutls_transport_set_ptr(handle, session);
    gnutls_transport_set_pull_function(handle, pull);
    gnutls_transport_set_push_function(handle, push);
    /* The caller's affair; and without this GnuTLS would wait in the transport. */
    gnutls_handshake_set_timeout(handle, GNUTLS_INDEFINITE_TIMEOUT);
    return status;
}

/* Credentials that fit what they shall be used for. */
static struct tls_keys *find_keys(struct object *obj, bool server, const char *authz,
                                  GError **error)
{
    struct tls_keys *keys;

    if (!object_is(obj, "tls-creds")) {
        g_set_error(error, TLS_ERROR, 0, "Object '%s' is not TLS credentials but of type %s",
                    obj->name, obj->type->name);
        return NULL;
    }
    keys = ((struct tls_creds *)obj)->keys;
    if (!keys) {
        g_set_error(error, TLS_ERROR, 0, "TLS credentials '%s' are not complete", obj->name);
        return NULL;
    }
    if (keys->server != server) {
        g_set_error(error, TLS_ERROR, 0,
                    "Expected TLS credentials for a %s endpoint ('%s' has endpoint=%s)",
                    server ? "server" : "client", obj->name, keys->server ? "server" : "client");
        return NULL;
    }
    /* Otherwise everybody would be let in where a list of names was given. */
    if (authz && server &&
        (keys->kind == TLS_KIND_ANON || (keys->kind == TLS_KIND_X509 && !keys->verify_peer))) {
        g_set_error(
            error, TLS_ERROR, 0,
            "TLS credentials '%s' give no name that '%s' could check: use tls-creds-x509 with "
            "verify-peer=on, or tls-creds-psk",
            obj->name, authz);
        return NULL;
    }
    return keys;
}

struct tls_session *tls_session_new(struct object *creds, bool server, const char *hostname,
                                    const char *authz, const struct tls_transport *transport,
                                    GError **error)
{
    struct tls_keys *keys = find_keys(creds, server, authz, error);
    struct tls_session *session;
    int status;

    if (!keys) {
        return NULL;
    }
    session = g_new0(struct tls_session, 1);
    session->keys = tls_keys_ref(keys);
    session->root = object_ref(object_root_of(creds));
    session->hostname = g_strdup(hostname);
    session->authz = g_strdup(authz);
    session->transport = *transport;
    session->unsent = g_byte_array_new();
    status = set_up(session);
    if (status != GNUTLS_E_SUCCESS) {
        tls_set_error(error, status, "Cannot initialize TLS session");
        g_clear_pointer(&session, tls_session_free);
    }
    return session;
}

void tls_session_free(struct tls_session *session)
{
    if (!session) {
        return;
    }
    if (session->handle) {
        gnutls_deinit(session->handle);
    }
    tls_keys_unref(session->keys);
    if (session->root) {
        object_unref(session->root);
    }
    g_byte_array_unref(session->unsent);
    g_free(session->hostname);
    g_free(session->authz);
    g_free(session->peer);
    g_free(session);
}

/* ---- Handshake ---- */

static bool check_status(unsigned status, GError **error)
{
    const char *reason = "The certificate is not trusted";

    if (status == 0) {
        return true;
    }
    if (status & GNUTLS_CERT_REVOKED) {
        reason = "The certificate has been revoked";
    } else if (status & GNUTLS_CERT_SIGNER_NOT_FOUND) {
        reason = "The certificate hasn't got a known issuer";
    } else if (status & GNUTLS_CERT_EXPIRED) {
        reason = "The certificate has expired";
    } else if (status & GNUTLS_CERT_NOT_ACTIVATED) {
        reason = "The certificate is not yet active";
    } else if (status & GNUTLS_CERT_INSECURE_ALGORITHM) {
        reason = "The certificate uses an insecure algorithm";
    }
    g_set_error(error, TLS_ERROR, 0, "Certificate verification failed: %s", reason);
    return false;
}

/* The distinguished name, in the order in which the certificate has it. */
static char *name_of(gnutls_x509_crt_t cert, GError **error)
{
    g_autofree char *name = NULL;
    size_t size = 0;
    int status;

    status = gnutls_x509_crt_get_dn(cert, NULL, &size);
    if (status == GNUTLS_E_SHORT_MEMORY_BUFFER) {
        name = g_malloc0(size + 1);
        status = gnutls_x509_crt_get_dn(cert, name, &size);
    }
    if (status < 0) {
        tls_set_error(error, status, "Cannot get the client's distinguished name");
        return NULL;
    }
    return g_steal_pointer(&name);
}

static bool check_certificate(struct tls_session *session, GError **error)
{
    const gnutls_datum_t *certs;
    gnutls_x509_crt_t cert;
    unsigned status = 0, n;
    int result;
    bool ok;

    result = gnutls_certificate_verify_peers2(session->handle, &status);
    if (result < 0) {
        tls_set_error(error, result, "Certificate verification failed");
        return false;
    }
    if (!check_status(status, error)) {
        return false;
    }
    certs = gnutls_certificate_get_peers(session->handle, &n);
    if (!certs || n == 0) {
        g_set_error(error, TLS_ERROR, 0, "No certificate peers");
        return false;
    }
    result = gnutls_x509_crt_init(&cert);
    if (result == GNUTLS_E_SUCCESS) {
        result = gnutls_x509_crt_import(cert, &certs[0], GNUTLS_X509_FMT_DER);
    }
    if (result < 0) {
        tls_set_error(error, result, "Cannot import the peer's certificate");
        return false;
    }
    session->peer = name_of(cert, error);
    ok = session->peer != NULL;
    if (ok && !session->keys->server && session->hostname &&
        !gnutls_x509_crt_check_hostname(cert, session->hostname)) {
        g_set_error(error, TLS_ERROR, 0, "Certificate does not match the hostname %s",
                    session->hostname);
        ok = false;
    }
    gnutls_x509_crt_deinit(cert);
    return ok;
}

/* Who is it, and may he? */
static bool check_peer(struct tls_session *session, GError **error)
{
    const struct tls_keys *keys = session->keys;
    const char *user;
    bool allowed;

    if (keys->kind == TLS_KIND_X509 && keys->verify_peer && !check_certificate(session, error)) {
        return false;
    }
    if (keys->kind == TLS_KIND_PSK && keys->server) {
        user = gnutls_psk_server_get_username(session->handle);
        session->peer = g_strdup(user);
    }
    if (!keys->server || !session->authz) {
        return true;
    }
    if (!session->peer) {
        g_set_error(error, TLS_ERROR, 0, "The TLS peer has no name that '%s' could check",
                    session->authz);
        return false;
    }
    if (!authz_is_allowed(session->root, session->authz, session->peer, &allowed, error)) {
        return false;
    }
    if (!allowed) {
        g_set_error(error, TLS_ERROR, 0, "TLS authz check for %s is denied", session->peer);
        return false;
    }
    return true;
}

enum tls_status tls_session_wants(const struct tls_session *session)
{
    return gnutls_record_get_direction(session->handle) ? TLS_WANT_WRITE : TLS_WANT_READ;
}

static bool would_block(int status)
{
    return status == GNUTLS_E_AGAIN || status == GNUTLS_E_INTERRUPTED;
}

enum tls_status tls_session_handshake(struct tls_session *session, GError **error)
{
    int status;

    assert(!session->ready);
    do {
        status = gnutls_handshake(session->handle);
        /* Warnings of the peer's are skipped; they are few, as each needs a record. */
    } while (status < 0 && !would_block(status) && !gnutls_error_is_fatal(status));
    if (would_block(status)) {
        return tls_session_wants(session);
    }
    if (status == GNUTLS_E_FATAL_ALERT_RECEIVED) {
        const char *alert = gnutls_alert_get_name(gnutls_alert_get(session->handle));

        g_set_error(error, TLS_ERROR, status, "TLS handshake failed: the peer refused: %s",
                    alert ? alert : "unknown alert");
        return TLS_FAILED;
    }
    if (status < 0) {
        tls_set_error(error, status, "TLS handshake failed");
        /* So that the peer can tell why. */
        gnutls_alert_send_appropriate(session->handle, status);
        return TLS_FAILED;
    }
    if (!check_peer(session, error)) {
        gnutls_alert_send(session->handle, GNUTLS_AL_FATAL, GNUTLS_A_ACCESS_DENIED);
        return TLS_FAILED;
    }
    g_clear_pointer(&session->root, object_unref);
    session->ready = true;
    return TLS_DONE;
}

/* ---- Data ---- */

ssize_t tls_session_read(struct tls_session *session, void *data, size_t size, GError **error)
{
    ssize_t result;

    assert(session->ready);
    do {
        result = gnutls_record_recv(session->handle, data, size);
        /* A wish of TLS 1.2's to negotiate again is a warning, and not answered. */
    } while (result == GNUTLS_E_WARNING_ALERT_RECEIVED || result == GNUTLS_E_REHANDSHAKE);
    if (result >= 0) {
        return result;
    }
    if (would_block((int)result)) {
        errno = EAGAIN;
        return -1;
    }
    errno = result == GNUTLS_E_PREMATURE_TERMINATION ? ECONNABORTED : EIO;
    tls_set_error(error, (int)result, "Cannot read from TLS channel");
    return -1;
}

enum tls_status tls_session_flush(struct tls_session *session, GError **error)
{
    GByteArray *unsent = session->unsent;
    ssize_t result;

    while (unsent->len > 0) {
        /* Without data GnuTLS goes on with the record that it has. */
        result = session->in_flight
                     ? gnutls_record_send(session->handle, NULL, 0)
                     : gnutls_record_send(session->handle, unsent->data, unsent->len);
        if (result < 0 && would_block((int)result)) {
            session->in_flight = true;
            return tls_session_wants(session);
        }
        session->in_flight = false;
        if (result < 0) {
            tls_set_error(error, (int)result, "Cannot write to TLS channel");
            g_byte_array_set_size(unsent, 0);
            return TLS_FAILED;
        }
        g_byte_array_remove_range(unsent, 0, (guint)MIN((size_t)result, unsent->len));
    }
    return TLS_DONE;
}

ssize_t tls_session_write(struct tls_session *session, const void *data, size_t size,
                          GError **error)
{
    enum tls_status status;
    ssize_t result;

    assert(session->ready);
    status = tls_session_flush(session, error);
    if (status != TLS_DONE) {
        errno = status == TLS_FAILED ? EIO : EAGAIN;
        return -1;
    }
    if (size == 0) {
        return 0;
    }
    size = MIN(size, RECORD);
    result = gnutls_record_send(session->handle, data, size);
    if (result < 0 && would_block((int)result)) {
        g_byte_array_append(session->unsent, data, (guint)size);
        session->in_flight = true;
        return (ssize_t)size;
    }
    if (result < 0) {
        errno = EIO;
        tls_set_error(error, (int)result, "Cannot write to TLS channel");
        return -1;
    }
    return result;
}

bool tls_session_has_unsent(const struct tls_session *session)
{
    return session->unsent->len > 0;
}

size_t tls_session_pending(const struct tls_session *session)
{
    return gnutls_record_check_pending(session->handle);
}

enum tls_status tls_session_bye(struct tls_session *session)
{
    int status;

    if (!session->ready || tls_session_flush(session, NULL) != TLS_DONE) {
        return session->ready ? tls_session_wants(session) : TLS_FAILED;
    }
    status = gnutls_bye(session->handle, GNUTLS_SHUT_WR);
    if (would_block(status)) {
        return tls_session_wants(session);
    }
    return status < 0 ? TLS_FAILED : TLS_DONE;
}

const char *tls_session_peer(const struct tls_session *session)
{
    return session->peer;
}
