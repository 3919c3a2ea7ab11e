/* TLS with GnuTLS: sessions over the credentials in objects tls-creds-x509, -psk, -anon. */
#ifndef NANDU_CRYPTO_TLS_H
#define NANDU_CRYPTO_TLS_H

#include <sys/types.h>

#include "object/object.h"
#include "util/auto.h"

/* Errors of TLS; the code is GnuTLS's, 0 where there is none. */
#define TLS_ERROR tls_error_quark()
GQuark tls_error_quark(void);

struct tls_session;

/* Transport below: like recv and send without waiting; -1 with errno (EAGAIN) when they would. */
struct tls_transport {
    ssize_t (*read)(void *opaque, void *data, size_t size);
    ssize_t (*write)(void *opaque, const void *data, size_t size);
    void *opaque;
};

/*
 * creds: an object of type "tls-creds", whose endpoint must fit server. hostname: what a client
 * checks the certificate against; may be NULL (a peer that no name was asked for, as at a unix
 * socket). authz: id of an authz object that a server asks about the peer; may be NULL.
 *
 * Made, and brought through its handshake, on the main thread, since it looks at objects. After
 * that it may be used and freed on another one, where creds may be gone.
 */
struct tls_session *tls_session_new(struct object *creds, bool server, const char *hostname,
                                    const char *authz, const struct tls_transport *transport,
                                    GError **error);
void tls_session_free(struct tls_session *session);
DEFINE_AUTO_PTR(tls_session, tls_session_free)

enum tls_status { TLS_DONE, TLS_WANT_READ, TLS_WANT_WRITE, TLS_FAILED };
/* Goes on with the handshake; after TLS_DONE the peer is checked (certificate, name, authz). */
enum tls_status tls_session_handshake(struct tls_session *session, GError **error);
/*
 * Like read and write: >= 0, or -1 with errno EAGAIN (tls_session_wants tells for what), or -1 with
 * another errno and *error. What write took may still be in the session: tls_session_flush sends
 * it.
 */
ssize_t tls_session_read(struct tls_session *session, void *data, size_t size, GError **error);
ssize_t tls_session_write(struct tls_session *session, const void *data, size_t size,
                          GError **error);
enum tls_status tls_session_flush(struct tls_session *session, GError **error);
bool tls_session_has_unsent(const struct tls_session *session);
enum tls_status tls_session_wants(const struct tls_session *session);
/* Bytes that can be read without the transport. */
size_t tls_session_pending(const struct tls_session *session);
/* Tells the peer that nothing more will come (RFC 8446, 6.1). */
enum tls_status tls_session_bye(struct tls_session *session);
/* The peer's distinguished name or user name; NULL if it has none. Owned by the session. */
const char *tls_session_peer(const struct tls_session *session);

#endif
