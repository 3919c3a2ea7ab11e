/*
 * Certificates for tests, made with GnuTLS: each is a file NAME-cert.pem and NAME-key.pem in a
 * folder.
 */
#ifndef NANDU_TESTS_UNIT_TLS_CERTS_H
#define NANDU_TESTS_UNIT_TLS_CERTS_H

#include <gnutls/abstract.h>
#include <gnutls/gnutls.h>
#include <gnutls/x509.h>
#include <string.h>
#include <time.h>

#include "control.h"

enum { DAY = 24 * 60 * 60 };

struct test_cert {
    gnutls_x509_crt_t cert;
    gnutls_x509_privkey_t key;
};

/* What a certificate says; zeroes are what a good one of an end entity has. */
struct test_cert_spec {
    const char *dn; /* "CN=server,O=x" */
    bool ca;
    bool no_constraints;
    const char *dns; /* subject alternative name */
    const char *ip;
    int from, until;     /* days from now; 0, 0: a day before, ten after */
    unsigned usage;      /* GNUTLS_KEY_...; 0: none is said */
    const char *purpose; /* an OID; NULL: none is said */
    bool critical_purpose;
    const struct test_cert *issuer; /* NULL: itself */
};

#define TLS_OK(call) g_assert_cmpint((call), >=, 0)

static inline struct test_cert test_cert_make(const struct test_cert_spec *spec)
{
    const struct test_cert *issuer;
    struct test_cert made;
    time_t now = time(NULL);
    guint32 serial = g_random_int() >> 1;
    const char *at;

    TLS_OK(gnutls_x509_privkey_init(&made.key));
    TLS_OK(gnutls_x509_privkey_generate(made.key, GNUTLS_PK_ECDSA,
                                        GNUTLS_CURVE_TO_BITS(GNUTLS_ECC_CURVE_SECP256R1), 0));
    TLS_OK(gnutls_x509_crt_init(&made.cert));
    TLS_OK(gnutls_x509_crt_set_version(made.cert, 3));
    TLS_OK(gnutls_x509_crt_set_serial(made.cert, &serial, sizeof(serial)));
    TLS_OK(gnutls_x509_crt_set_dn(made.cert, spec->dn, &at));
    TLS_OK(gnutls_x509_crt_set_key(made.cert, made.key));
    TLS_OK(gnutls_x509_crt_set_activation_time(made.cert,
                                               now + (spec->until ? spec->from : -1) * DAY));
    TLS_OK(gnutls_x509_crt_set_expiration_time(made.cert,
                                               now + (spec->until ? spec->until : 10) * DAY));
    if (!spec->no_constraints) {
        TLS_OK(gnutls_x509_crt_set_basic_constraints(made.cert, spec->ca, -1));
    }
    if (spec->usage) {
        TLS_OK(gnutls_x509_crt_set_key_usage(made.cert, spec->usage));
    }
    if (spec->purpose) {
        TLS_OK(
            gnutls_x509_crt_set_key_purpose_oid(made.cert, spec->purpose, spec->critical_purpose));
    }
    if (spec->dns) {
        TLS_OK(gnutls_x509_crt_set_subject_alt_name(made.cert, GNUTLS_SAN_DNSNAME, spec->dns,
                                                    (unsigned)strlen(spec->dns),
                                                    GNUTLS_FSAN_APPEND));
    }
    if (spec->ip) {
        unsigned char bytes[4];

        sscanf(spec->ip, "%hhu.%hhu.%hhu.%hhu", &bytes[0], &bytes[1], &bytes[2], &bytes[3]);
        TLS_OK(gnutls_x509_crt_set_subject_alt_name(made.cert, GNUTLS_SAN_IPADDRESS, bytes, 4,
                                                    GNUTLS_FSAN_APPEND));
    }
    issuer = spec->issuer ? spec->issuer : &made;
    TLS_OK(gnutls_x509_crt_sign2(made.cert, issuer->cert, issuer->key, GNUTLS_DIG_SHA256, 0));
    return made;
}

static inline void test_cert_clear(struct test_cert *cert)
{
    gnutls_x509_crt_deinit(cert->cert);
    gnutls_x509_privkey_deinit(cert->key);
}

/* n certificates, one after another, as a chain is written. */
static inline void test_certs_write(struct control *c, const char *file,
                                    const struct test_cert *certs, unsigned n)
{
    g_autoptr(GString) text = g_string_new(NULL);

    for (unsigned i = 0; i < n; i++) {
        gnutls_datum_t pem;

        TLS_OK(gnutls_x509_crt_export2(certs[i].cert, GNUTLS_X509_FMT_PEM, &pem));
        g_string_append_len(text, (const char *)pem.data, pem.size);
        gnutls_free(pem.data);
    }
    g_free(control_file(c, file, text->str, -1));
}

/* password NULL: not encrypted. */
static inline void test_key_write(struct control *c, const char *file, const struct test_cert *cert,
                                  const char *password)
{
    gnutls_datum_t pem;

    TLS_OK(gnutls_x509_privkey_export2_pkcs8(
        cert->key, GNUTLS_X509_FMT_PEM, password,
        password ? GNUTLS_PKCS_PBES2_AES_256 : GNUTLS_PKCS_PLAIN, &pem));
    g_free(control_file(c, file, (const char *)pem.data, pem.size));
    gnutls_free(pem.data);
}

/* A list of revoked certificates, signed by ca. */
static inline void test_crl_write(struct control *c, const char *file, const struct test_cert *ca,
                                  const struct test_cert *revoked)
{
    time_t now = time(NULL);
    gnutls_datum_t pem;
    gnutls_x509_crl_t crl;

    TLS_OK(gnutls_x509_crl_init(&crl));
    TLS_OK(gnutls_x509_crl_set_version(crl, 2));
    TLS_OK(gnutls_x509_crl_set_this_update(crl, now - DAY));
    TLS_OK(gnutls_x509_crl_set_next_update(crl, now + DAY));
    TLS_OK(gnutls_x509_crl_set_crt(crl, revoked->cert, now - DAY));
    TLS_OK(gnutls_x509_crl_set_number(crl, "\1", 1));
    TLS_OK(gnutls_x509_crl_sign2(crl, ca->cert, ca->key, GNUTLS_DIG_SHA256, 0));
    TLS_OK(gnutls_x509_crl_export2(crl, GNUTLS_X509_FMT_PEM, &pem));
    g_free(control_file(c, file, (const char *)pem.data, pem.size));
    gnutls_free(pem.data);
    gnutls_x509_crl_deinit(crl);
}

#endif
