/* Credentials: what the types tls-creds-x509, -psk and -anon and the sessions share. */
#ifndef NANDU_CRYPTO_TLS_CREDS_H
#define NANDU_CRYPTO_TLS_CREDS_H

#include <gnutls/gnutls.h>

#include "crypto/tls.h"
#include "qapi/qapi_types.h"

enum tls_kind { TLS_KIND_X509, TLS_KIND_PSK, TLS_KIND_ANON };

/*
 * What GnuTLS was given. Counted apart from the object and atomically: sessions that are on other
 * threads go on with it when the object was deleted.
 */
struct tls_keys {
    gatomicrefcount refs;
    enum tls_kind kind;
    bool server;
    bool verify_peer;
    gnutls_priority_t priority;
    gnutls_certificate_credentials_t x509;
    gnutls_psk_server_credentials_t psk_server;
    gnutls_psk_client_credentials_t psk_client;
    gnutls_anon_server_credentials_t anon_server;
    gnutls_anon_client_credentials_t anon_client;
    gnutls_dh_params_t dh;          /* from dh-params.pem; NULL: the ones of RFC 7919 */
};

/* The object, which types that descend from "tls-creds" begin with. */
struct tls_creds {
    struct object obj;
    char *dir;
    enum qapi_qcrypto_tls_creds_endpoint endpoint;
    bool verify_peer;
    char *priority;
    struct tls_keys *keys;          /* once it is complete */
};

/*
 * keys without any key yet. priority: see tls_creds.priority; algorithms: what is added to it (""
 * or "+PSK").
 */
struct tls_keys *tls_keys_new(const struct tls_creds *creds, enum tls_kind kind,
                              const char *algorithms, GError **error);
struct tls_keys *tls_keys_ref(struct tls_keys *keys);
void tls_keys_unref(struct tls_keys *keys);
DEFINE_AUTO_PTR(tls_keys, tls_keys_unref)

/* A file of the folder. */
struct tls_file {
    char *path;
    gnutls_datum_t data;
};
void tls_file_clear(struct tls_file *file);
/*
 * Reads name in creds' folder. False and *error if it can't be read; one that is not there and not
 * required is no error: data.data is NULL then.
 */
bool tls_creds_read(const struct tls_creds *creds, const char *name, bool required,
                    struct tls_file *file, GError **error);
/* Reads dh-params.pem into keys->dh, if there is one. */
bool tls_creds_read_dh(const struct tls_creds *creds, struct tls_keys *keys, GError **error);

/* *error becomes the text, ": " and GnuTLS's words for status. */
void tls_set_error(GError **error, int status, const char *format, ...) G_GNUC_PRINTF(3, 4);

/* The files of X.509 credentials; those without data aren't there. */
struct tls_x509_files {
    struct tls_file ca, crl, cert, key;
};
/*
 * Looks for what would make every connection fail, at the time now (seconds since the epoch):
 * dates, key usage and purpose of our certificate, the authorities above it (RFC 5280, 4.2.1).
 * Without a certificate of our own at least one authority must be usable.
 */
bool tls_x509_check(const struct tls_x509_files *files, bool server, int64_t now, GError **error);

#endif
