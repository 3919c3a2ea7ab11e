/*
 * TLS: credentials that are refused and why, and handshakes between both ends in this process:
 * names, authorities, dates, revocation, authorisation, keys, garbage.
 */
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/socket.h>

#include "control.h"
#include "crypto/tls.h"
#include "io/channel.h"
#include "tls_certs.h"

#define CA_USAGE (GNUTLS_KEY_KEY_CERT_SIGN | GNUTLS_KEY_CRL_SIGN)
/*
 * Names are told in the order in which certificates have them, and made in the reverse one (RFC
 * 4514, 2.1).
 */
#define SERVER_DN   "CN=server.example,O=Nandu"
#define SERVER_NAME "O=Nandu,CN=server.example"
#define CLIENT_DN   "CN=client,O=Nandu,C=PE"
#define CLIENT_NAME "C=PE,O=Nandu,CN=client"

/* A folder with all files of a server and a client, under one authority. */
struct pki {
    struct control c;
    struct test_cert ca, server, client;
};

static void write_end(struct pki *p, const char *end, const struct test_cert *cert)
{
    g_autofree char *cert_name = g_strdup_printf("%s-cert.pem", end);
    g_autofree char *key_name = g_strdup_printf("%s-key.pem", end);

    test_certs_write(&p->c, cert_name, cert, 1);
    test_key_write(&p->c, key_name, cert, NULL);
}

static void pki_init(struct pki *p)
{
    const struct test_cert_spec ca = {.dn = "CN=Authority", .ca = true, .usage = CA_USAGE};
    const struct test_cert_spec server = {
        .dn = SERVER_DN,
        .dns = "server.example",
        .ip = "127.0.0.1",
        .issuer = &p->ca,
        .usage = GNUTLS_KEY_DIGITAL_SIGNATURE,
        .purpose = GNUTLS_KP_TLS_WWW_SERVER,
    };
    const struct test_cert_spec client = {
        .dn = CLIENT_DN,
        .issuer = &p->ca,
        .usage = GNUTLS_KEY_DIGITAL_SIGNATURE,
        .purpose = GNUTLS_KP_TLS_WWW_CLIENT,
    };

    control_init(&p->c);
    p->ca = test_cert_make(&ca);
    p->server = test_cert_make(&server);
    p->client = test_cert_make(&client);
    test_certs_write(&p->c, "ca-cert.pem", &p->ca, 1);
    write_end(p, "server", &p->server);
    write_end(p, "client", &p->client);
}

static void pki_clear(struct pki *p)
{
    test_cert_clear(&p->ca);
    test_cert_clear(&p->server);
    test_cert_clear(&p->client);
    control_clear(&p->c);
}

/* Writes a new certificate and key of an end. */
static void replace_end(struct pki *p, const char *end, const struct test_cert_spec *spec)
{
    struct test_cert cert = test_cert_make(spec);

    write_end(p, end, &cert);
    test_cert_clear(&cert);
}

#define X509 "'qom-type': 'tls-creds-x509'"

static void add_x509(struct pki *p, const char *more)
{
    control_add(&p->c, "{" X509 ", 'id': 's', 'endpoint': 'server', 'dir': '%s'%s}", p->c.dir,
                more);
    control_add(&p->c, "{" X509 ", 'id': 'c', 'endpoint': 'client', 'dir': '%s'}", p->c.dir);
}

/* ---- Both ends of a connection ---- */

struct end {
    struct io_channel *below, *ch;
    struct object *creds;
    bool server;
    const char *hostname, *authz;
    char byte;
    bool done;
    GError *error;
};

/* After the handshake a byte each way: a TLS 1.3 client learns only then that it was refused. */
static void co_end(void *opaque)
{
    struct end *e = opaque;
    char byte = 'x';

    e->ch = io_channel_tls_new(e->below, e->creds, e->server, e->hostname, e->authz, &e->error);
    if (!e->ch) {
        io_shutdown(e->below, SHUT_RDWR);
    } else if (io_write_all(e->ch, &byte, 1, &e->error) && io_flush(e->ch, &e->error)) {
        io_read_all(e->ch, &e->byte, 1, &e->error);
    }
    e->done = true;
}

struct connection {
    struct end server, client;
};

static void connect_ends(struct control *c, struct connection *k)
{
    int fds[2];

    g_assert_cmpint(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, fds), ==, 0);
    k->server.server = true;
    if (!k->server.creds) {
        k->server.creds = object_resolve(c->root, "/objects/s", NULL, NULL);
    }
    if (!k->client.creds) {
        k->client.creds = object_resolve(c->root, "/objects/c", NULL, NULL);
    }
    k->server.below = io_channel_socket_new(c->loop, fds[0]);
    k->client.below = io_channel_socket_new(c->loop, fds[1]);
    coroutine_start(c->loop, co_end, &k->server);
    coroutine_start(c->loop, co_end, &k->client);
    control_run_until(c, &k->server.done);
    control_run_until(c, &k->client.done);
}

static void close_ends(struct connection *k)
{
    for (unsigned i = 0; i < 2; i++) {
        struct end *e = i ? &k->client : &k->server;

        io_channel_unref(e->ch);
        io_channel_unref(e->below);
        g_clear_error(&e->error);
    }
    memset(k, 0, sizeof(*k));
}

static void expect_success(struct control *c, struct connection *k)
{
    connect_ends(c, k);
    g_assert_no_error(k->server.error);
    g_assert_no_error(k->client.error);
    g_assert_cmpint(k->server.byte, ==, 'x');
    g_assert_cmpint(k->client.byte, ==, 'x');
}

/* A glob for each end's message; NULL: it has none. */
static void expect_failure(struct control *c, struct connection *k, const char *server,
                           const char *client)
{
    connect_ends(c, k);
    if (server) {
        assert_error_matches(k->server.error, server);
    }
    if (client) {
        assert_error_matches(k->client.error, client);
    }
    close_ends(k);
}

/* ---- Certificates ---- */

static void test_x509(void)
{
    const char *const names[] = {"server.example", "127.0.0.1", NULL};
    struct connection k = {0};
    struct pki p;

    pki_init(&p);
    add_x509(&p, "");
    for (unsigned i = 0; i < G_N_ELEMENTS(names); i++) {
        k.client.hostname = names[i];
        expect_success(&p.c, &k);
        g_assert_cmpstr(io_channel_tls_peer(k.server.ch), ==, CLIENT_NAME);
        g_assert_cmpstr(io_channel_tls_peer(k.client.ch), ==, SERVER_NAME);
        g_assert_null(io_channel_tls_peer(k.client.below));
        close_ends(&k);
    }
    pki_clear(&p);
}

static void test_x509_versions(void)
{
    struct connection k = {0};
    struct pki p;

    pki_init(&p);
    add_x509(&p, ", 'priority': 'NORMAL:-VERS-ALL:+VERS-TLS1.2'");
    expect_success(&p.c, &k);
    close_ends(&k);
    control_delete(&p.c, "s");
    control_delete(&p.c, "c");
    add_x509(&p, ", 'priority': 'NORMAL:-VERS-ALL:+VERS-TLS1.1'");
    expect_failure(&p.c, &k, "TLS handshake failed*", "TLS handshake failed*");
    control_add_fails(&p.c, "Unable to set TLS session priority*",
                      "{" X509 ", 'id': 'x', 'dir': '%s', 'priority': 'NORMAL:+NONSENSE'}",
                      p.c.dir);
    pki_clear(&p);
}

static void test_wrong_name(void)
{
    struct connection k = {0};
    struct pki p;

    pki_init(&p);
    add_x509(&p, "");
    k.client.hostname = "other.example";
    expect_failure(&p.c, &k, NULL, "Certificate does not match the hostname other.example");
    k.client.hostname = "127.0.0.2";
    expect_failure(&p.c, &k, NULL, "Certificate does not match the hostname 127.0.0.2");
    pki_clear(&p);
}

/*
 * Each end has an authority that the other one doesn't know. They have the same name, since clients
 * don't even send a certificate of an authority that the server didn't name.
 */
static void test_unknown_authority(void)
{
    const struct test_cert_spec other_ca = {.dn = "CN=Authority", .ca = true};
    struct test_cert_spec spec = {.dn = CLIENT_DN};
    struct connection k = {0};
    struct test_cert ca;
    struct pki p;

    pki_init(&p);
    control_add(&p.c, "{" X509 ", 'id': 's', 'endpoint': 'server', 'dir': '%s'}", p.c.dir);
    ca = test_cert_make(&other_ca);
    spec.issuer = &ca;
    replace_end(&p, "client", &spec);
    test_certs_write(&p.c, "ca-cert.pem", &ca, 1);
    control_add(&p.c, "{" X509 ", 'id': 'c', 'endpoint': 'client', 'dir': '%s'}", p.c.dir);
    expect_failure(&p.c, &k, NULL, "Certificate verification failed: The certificate *");

    /* Now the client doesn't look. */
    control_delete(&p.c, "c");
    control_add(&p.c,
                "{" X509 ", 'id': 'c', 'endpoint': 'client', 'dir': '%s', 'verify-peer': false}",
                p.c.dir);
    expect_failure(&p.c, &k, "Certificate verification failed: The certificate *", NULL);
    test_cert_clear(&ca);
    pki_clear(&p);
}

static void test_expired(void)
{
    struct test_cert_spec spec = {.dn = CLIENT_DN, .from = -10, .until = -1};
    struct connection k = {0};
    struct pki p;

    pki_init(&p);
    spec.issuer = &p.ca;
    replace_end(&p, "client", &spec);
    control_add(&p.c, "{" X509 ", 'id': 's', 'endpoint': 'server', 'dir': '%s'}", p.c.dir);
    control_add_fails(&p.c, "The client certificate *client-cert.pem has expired",
                      "{" X509 ", 'id': 'c', 'endpoint': 'client', 'dir': '%s'}", p.c.dir);
    control_add(&p.c,
                "{" X509 ", 'id': 'c', 'endpoint': 'client', 'dir': '%s', 'sanity-check': false}",
                p.c.dir);
    expect_failure(&p.c, &k, "Certificate verification failed: The certificate has expired", NULL);
    pki_clear(&p);
}

static void test_no_client_certificate(void)
{
    g_autofree char *cert = NULL, *key = NULL;
    struct connection k = {0};
    struct pki p;

    pki_init(&p);
    cert = g_build_filename(p.c.dir, "client-cert.pem", NULL);
    key = g_build_filename(p.c.dir, "client-key.pem", NULL);
    g_assert_cmpint(g_unlink(cert), ==, 0);
    control_add_fails(&p.c, "*client-key.pem is there without client-cert.pem*",
                      "{" X509 ", 'id': 'c', 'endpoint': 'client', 'dir': '%s'}", p.c.dir);
    g_assert_cmpint(g_unlink(key), ==, 0);
    add_x509(&p, "");
    expect_failure(&p.c, &k, "TLS handshake failed: *", "*");
    control_delete(&p.c, "s");
    control_add(&p.c,
                "{" X509 ", 'id': 's', 'endpoint': 'server', 'dir': '%s', 'verify-peer': false}",
                p.c.dir);
    expect_success(&p.c, &k);
    g_assert_null(io_channel_tls_peer(k.server.ch));
    close_ends(&k);
    /* A list of names can't be asked then. */
    k.server.authz = "list";
    expect_failure(&p.c, &k, "*give no name that 'list' could check*", NULL);
    pki_clear(&p);
}

static void test_revoked(void)
{
    struct connection k = {0};
    struct pki p;

    pki_init(&p);
    test_crl_write(&p.c, "ca-crl.pem", &p.ca, &p.client);
    add_x509(&p, "");
    expect_failure(&p.c, &k, "Certificate verification failed: The certificate has been revoked",
                   NULL);
    pki_clear(&p);
}

/* An authority between ours and the server's certificate, in the server's file. */
static void test_chain(void)
{
    struct test_cert_spec middle = {.dn = "CN=Middle", .ca = true, .usage = CA_USAGE};
    struct test_cert_spec server = {.dn = SERVER_DN, .dns = "server.example"};
    struct connection k = {.client.hostname = "server.example"};
    struct test_cert chain[2];
    struct pki p;

    pki_init(&p);
    middle.issuer = &p.ca;
    chain[1] = test_cert_make(&middle);
    server.issuer = &chain[1];
    chain[0] = test_cert_make(&server);
    test_certs_write(&p.c, "server-cert.pem", chain, 2);
    test_key_write(&p.c, "server-key.pem", &chain[0], NULL);
    add_x509(&p, "");
    expect_success(&p.c, &k);
    close_ends(&k);
    /* Without it nobody above is known. */
    test_certs_write(&p.c, "server-cert.pem", chain, 1);
    control_add_fails(&p.c, "Our own certificate *server-cert.pem failed validation*known issuer",
                      "{" X509 ", 'id': 'x', 'endpoint': 'server', 'dir': '%s'}", p.c.dir);
    test_cert_clear(&chain[0]);
    test_cert_clear(&chain[1]);
    pki_clear(&p);
}

static void test_encrypted_key(void)
{
    struct connection k = {0};
    struct pki p;

    pki_init(&p);
    test_key_write(&p.c, "server-key.pem", &p.server, "12345");
    control_add_fails(&p.c, "Cannot load certificate '*server-cert.pem' & key '*server-key.pem'*",
                      "{" X509 ", 'id': 's', 'endpoint': 'server', 'dir': '%s'}", p.c.dir);
    control_add(&p.c, "{'qom-type': 'secret', 'id': 'right', 'data': '12345'}");
    control_add(&p.c, "{'qom-type': 'secret', 'id': 'wrong', 'data': '54321'}");
    control_add_fails(&p.c, "Cannot load certificate '*passwordid*",
                      "{" X509
                      ", 'id': 's', 'endpoint': 'server', 'dir': '%s', 'passwordid': 'wrong'}",
                      p.c.dir);
    control_add_fails(&p.c, "No secret with id 'none'",
                      "{" X509
                      ", 'id': 's', 'endpoint': 'server', 'dir': '%s', 'passwordid': 'none'}",
                      p.c.dir);
    add_x509(&p, ", 'passwordid': 'right'");
    expect_success(&p.c, &k);
    close_ends(&k);
    pki_clear(&p);
}

/* Each row is a server's certificate, or the authority, and what is said about it. */
static void test_sanity(void)
{
    static const struct {
        bool is_ca;
        struct test_cert_spec spec;
        const char *message;
    } rows[] = {
        {false,
         {.dn = SERVER_DN, .from = -9, .until = -3},
         "The server certificate *server-cert.pem has expired"},
        {false,
         {.dn = SERVER_DN, .from = 3, .until = 9},
         "The server certificate * is not yet active"},
        {false,
         {.dn = SERVER_DN, .ca = true},
         "The certificate *server-cert.pem basic constraints show a CA*"},
        {false,
         {.dn = SERVER_DN, .usage = GNUTLS_KEY_KEY_AGREEMENT},
         "Certificate * usage does not permit digital signature"},
        {false,
         {.dn = SERVER_DN, .purpose = GNUTLS_KP_TLS_WWW_CLIENT, .critical_purpose = true},
         "Certificate * purpose does not allow use with a TLS server"},
        {false, {.dn = SERVER_DN, .purpose = GNUTLS_KP_TLS_WWW_CLIENT}, NULL},
        {false, {.dn = SERVER_DN, .purpose = GNUTLS_KP_ANY, .critical_purpose = true}, NULL},
        {false, {.dn = SERVER_DN, .no_constraints = true}, NULL},
        {true,
         {.dn = "CN=CA", .ca = true, .from = -9, .until = -3},
         "The CA certificate *ca-cert.pem has expired"},
        {true,
         {.dn = "CN=CA", .ca = true, .from = 3, .until = 9},
         "The CA certificate *ca-cert.pem is not yet active"},
        {true, {.dn = "CN=CA"}, "The certificate *ca-cert.pem basic constraints do not show a CA"},
        {true,
         {.dn = "CN=CA", .no_constraints = true},
         "The certificate *ca-cert.pem is missing basic constraints for a CA"},
        {true,
         {.dn = "CN=CA", .ca = true, .usage = GNUTLS_KEY_DIGITAL_SIGNATURE},
         "Certificate *ca-cert.pem usage does not permit certificate signing"},
        {true, {.dn = "CN=CA", .ca = true}, NULL},
    };
    struct pki p;

    pki_init(&p);
    for (unsigned i = 0; i < G_N_ELEMENTS(rows); i++) {
        struct test_cert_spec leaf = {.dn = SERVER_DN}, authority = {.dn = "CN=CA", .ca = true};
        struct test_cert ca;

        *(rows[i].is_ca ? &authority : &leaf) = rows[i].spec;
        ca = test_cert_make(&authority);
        leaf.issuer = &ca;
        test_certs_write(&p.c, "ca-cert.pem", &ca, 1);
        replace_end(&p, "server", &leaf);
        if (rows[i].message) {
            control_add_fails(&p.c, rows[i].message,
                              "{" X509 ", 'id': 's', 'endpoint': 'server', 'dir': '%s'}", p.c.dir);
        } else {
            control_add(&p.c, "{" X509 ", 'id': 's', 'endpoint': 'server', 'dir': '%s'}", p.c.dir);
            control_delete(&p.c, "s");
        }
        test_cert_clear(&ca);
    }
    pki_clear(&p);
}

/* An unusable authority in a bundle is no reason, if another one is above our certificate. */
static void test_bundle(void)
{
    const struct test_cert_spec old = {.dn = "CN=Old", .ca = true, .from = -9, .until = -3};
    struct connection k = {0};
    struct test_cert bundle[2];
    struct pki p;

    pki_init(&p);
    bundle[0] = test_cert_make(&old);
    bundle[1] = p.ca;
    test_certs_write(&p.c, "ca-cert.pem", bundle, 2);
    add_x509(&p, "");
    expect_success(&p.c, &k);
    close_ends(&k);
    test_cert_clear(&bundle[0]);
    pki_clear(&p);
}

static void test_bad_files(void)
{
    static const char *const files[] = {"ca-cert.pem", "server-cert.pem", "server-key.pem"};
    struct pki p;

    pki_init(&p);
    control_add_fails(&p.c, "Missing 'dir' property value*", "{" X509 ", 'id': 's'}");
    control_add_fails(&p.c, "Unable to access credentials /nonexistent/ca-cert.pem: No such file*",
                      "{" X509 ", 'id': 's', 'dir': '/nonexistent'}");
    for (unsigned i = 0; i < 2 * G_N_ELEMENTS(files); i++) {
        const char *name = files[i / 2];
        g_autofree char *glob = g_strdup_printf("*%s*", name);
        g_autofree char *good = NULL, *path = g_build_filename(p.c.dir, name, NULL);
        gsize size;

        g_assert_true(g_file_get_contents(path, &good, &size, NULL));
        if (i & 1) {
            g_assert_cmpint(g_unlink(path), ==, 0);
        } else {
            g_free(control_file(&p.c, name, "-----BEGIN nonsense", -1));
        }
        control_add_fails(&p.c, glob, "{" X509 ", 'id': 's', 'endpoint': 'server', 'dir': '%s'}",
                          p.c.dir);
        control_add_fails(&p.c, glob,
                          "{" X509 ", 'id': 's', 'endpoint': 'server', 'dir': '%s', "
                          "'sanity-check': false}",
                          p.c.dir);
        g_free(control_file(&p.c, name, good, (gssize)size));
    }
    g_free(control_file(&p.c, "dh-params.pem", "nonsense", -1));
    control_add_fails(&p.c, "Unable to load DH parameters from *dh-params.pem*",
                      "{" X509 ", 'id': 's', 'endpoint': 'server', 'dir': '%s'}", p.c.dir);
    g_free(control_file(&p.c, "ca-crl.pem", "nonsense", -1));
    control_add_fails(&p.c, "Cannot load CRL '*ca-crl.pem'*",
                      "{" X509 ", 'id': 's', 'endpoint': 'client', 'dir': '%s'}", p.c.dir);
    pki_clear(&p);
}

/* ---- Who may ---- */

static void test_authz(void)
{
    struct connection k = {0};
    struct pki p;

    pki_init(&p);
    add_x509(&p, "");
    control_add(&p.c, "{'qom-type': 'authz-list', 'id': 'yes', 'rules': ["
                      "{'match': '" CLIENT_NAME "', 'policy': 'allow'}]}");
    control_add(&p.c, "{'qom-type': 'authz-simple', 'id': 'no', 'identity': 'CN=someone else'}");
    k.server.authz = "yes";
    expect_success(&p.c, &k);
    close_ends(&k);
    k.server.authz = "no";
    expect_failure(&p.c, &k, "TLS authz check for " CLIENT_NAME " is denied", "*");
    k.server.authz = "none";
    expect_failure(&p.c, &k, "No authz object with id 'none'", "*");
    k.server.authz = "s";
    expect_failure(&p.c, &k, "*not an authz object*", "*");
    pki_clear(&p);
}

static void test_wrong_endpoint(void)
{
    struct connection k = {0};
    struct pki p;

    pki_init(&p);
    add_x509(&p, "");
    k.server.creds = object_resolve(p.c.root, "/objects/c", NULL, NULL);
    k.client.creds = object_resolve(p.c.root, "/objects/s", NULL, NULL);
    expect_failure(&p.c, &k, "Expected TLS credentials for a server endpoint*",
                   "Expected TLS credentials for a client endpoint*");
    control_add(&p.c, "{'qom-type': 'secret', 'id': 'x', 'data': ''}");
    k.server.creds = object_resolve(p.c.root, "/objects/x", NULL, NULL);
    expect_failure(&p.c, &k, "Object 'x' is not TLS credentials*", NULL);
    pki_clear(&p);
}

/* ---- Keys that both have, and no keys ---- */

#define PSK "'qom-type': 'tls-creds-psk'"

static void test_psk(void)
{
    struct connection k = {0};
    struct control c;

    control_init(&c);
    g_free(control_file(&c, "keys.psk", "alice:0123456789abcdef\nqemu:ffeeddccbbaa9988\n", -1));
    control_add(&c, "{" PSK ", 'id': 's', 'endpoint': 'server', 'dir': '%s'}", c.dir);
    control_add(&c, "{" PSK ", 'id': 'c', 'username': 'alice', 'dir': '%s'}", c.dir);
    expect_success(&c, &k);
    g_assert_cmpstr(io_channel_tls_peer(k.server.ch), ==, "alice");
    close_ends(&k);
    control_add(&c, "{" PSK ", 'id': 'default', 'dir': '%s'}", c.dir);
    k.client.creds = object_resolve(c.root, "/objects/default", NULL, NULL);
    expect_success(&c, &k);
    g_assert_cmpstr(io_channel_tls_peer(k.server.ch), ==, "qemu");
    close_ends(&k);

    control_add(&c, "{'qom-type': 'authz-simple', 'id': 'bob', 'identity': 'bob'}");
    k.server.authz = "bob";
    expect_failure(&c, &k, "TLS authz check for alice is denied", "*");

    /* The key changes under the server, which looks at each handshake. */
    g_free(control_file(&c, "keys.psk", "alice:0123456789abcdee\n", -1));
    expect_failure(&c, &k, "TLS handshake failed*", "TLS handshake failed*");

    control_add_fails(&c, "Username bob not found in *keys.psk",
                      "{" PSK ", 'id': 'x', 'username': 'bob', 'dir': '%s'}", c.dir);
    control_add_fails(&c, "'username' is for endpoint=client*",
                      "{" PSK ", 'id': 'x', 'username': 'bob', 'endpoint': 'server', 'dir': '%s'}",
                      c.dir);
    control_add_fails(&c, "Missing 'dir' property value*", "{" PSK ", 'id': 'x'}");
    control_add_fails(&c, "Unable to access credentials /nonexistent/keys.psk*",
                      "{" PSK ", 'id': 'x', 'dir': '/nonexistent'}");
    g_free(control_file(&c, "keys.psk", "alice:not hexadecimal\n", -1));
    control_add_fails(&c, "Unable to use the key of alice*",
                      "{" PSK ", 'id': 'x', 'username': 'alice', 'dir': '%s'}", c.dir);
    control_clear(&c);
}

static void test_anon(void)
{
    struct connection k = {0};
    struct control c;

    control_init(&c);
    control_add(&c, "{'qom-type': 'tls-creds-anon', 'id': 's', 'endpoint': 'server'}");
    control_add(&c, "{'qom-type': 'tls-creds-anon', 'id': 'c'}");
    expect_success(&c, &k);
    g_assert_null(io_channel_tls_peer(k.server.ch));
    close_ends(&k);
    k.server.authz = "any";
    expect_failure(&c, &k, "*give no name that 'any' could check*", NULL);
    control_clear(&c);
}

/* ---- Data ---- */

enum { BIG = 1 << 20 };

struct transfer {
    struct io_channel *ch;
    guint8 *data;
    bool write, ok, done;
    GError *error;
};

static void co_transfer(void *opaque)
{
    struct transfer *t = opaque;

    t->ok = t->write ? io_write_all(t->ch, t->data, BIG, &t->error) && io_flush(t->ch, &t->error)
                     : io_read_all(t->ch, t->data, BIG, &t->error);
    t->done = true;
}

/* Both directions at once, more than sockets hold; then one end says good-bye. */
static void test_data(void)
{
    struct connection k = {0};
    struct transfer t[4];
    GError *error = NULL;
    struct control c;
    char byte;

    control_init(&c);
    g_free(control_file(&c, "keys.psk", "qemu:ffeeddccbbaa9988\n", -1));
    control_add(&c, "{" PSK ", 'id': 's', 'endpoint': 'server', 'dir': '%s'}", c.dir);
    control_add(&c, "{" PSK ", 'id': 'c', 'dir': '%s'}", c.dir);
    expect_success(&c, &k);
    /* The credentials aren't needed any more. */
    control_delete(&c, "s");
    for (unsigned i = 0; i < 4; i++) {
        t[i] = (struct transfer){.ch = i == 0 || i == 3 ? k.server.ch : k.client.ch,
                                 .data = g_malloc0(BIG),
                                 .write = !(i & 1)};
        for (size_t j = 0; t[i].write && j < BIG; j++) {
            t[i].data[j] = (guint8)g_test_rand_int();
        }
        coroutine_start(c.loop, co_transfer, &t[i]);
    }
    for (unsigned i = 0; i < 4; i++) {
        control_run_until(&c, &t[i].done);
        g_assert_no_error(t[i].error);
    }
    g_assert_cmpmem(t[0].data, BIG, t[1].data, BIG);
    g_assert_cmpmem(t[2].data, BIG, t[3].data, BIG);
    for (unsigned i = 0; i < 4; i++) {
        g_free(t[i].data);
    }

    io_shutdown(k.server.ch, SHUT_WR);
    g_assert_cmpint(io_try_readv(k.client.ch, &(struct iovec){&byte, 1}, 1, NULL, &error), ==, 0);
    g_assert_no_error(error);
    /* Without a good-bye it may be an attacker who cut the connection. */
    io_shutdown(k.client.below, SHUT_RDWR);
    g_assert_cmpint(io_try_readv(k.server.ch, &(struct iovec){&byte, 1}, 1, NULL, &error), ==, -1);
    assert_error_matches(error, "Cannot read from TLS channel: *");
    g_clear_error(&error);
    close_ends(&k);
    control_clear(&c);
}

struct watcher {
    struct io_channel *ch;
    size_t got;
    bool done;
};

static void on_read(void *opaque)
{
    struct watcher *w = opaque;
    char buffer[100];
    GError *error = NULL;
    ssize_t n = io_try_readv(w->ch, &(struct iovec){buffer, sizeof(buffer)}, 1, NULL, &error);

    g_assert_no_error(error);
    if (n > 0) {
        w->got += (size_t)n;
    }
    if (w->got == 10000) {
        w->done = true;
        io_watch(w->ch, NULL, NULL, NULL);
    }
}

/*
 * What is decrypted already doesn't wait for the descriptor: a record of 10000 bytes, read by 100.
 */
static void test_pending(void)
{
    struct watcher w = {0};
    struct connection k = {0};
    guint8 data[10000] = {0};
    GError *error = NULL;
    struct control c;

    control_init(&c);
    g_free(control_file(&c, "keys.psk", "qemu:ffeeddccbbaa9988\n", -1));
    control_add(&c, "{" PSK ", 'id': 's', 'endpoint': 'server', 'dir': '%s'}", c.dir);
    control_add(&c, "{" PSK ", 'id': 'c', 'dir': '%s'}", c.dir);
    expect_success(&c, &k);
    w.ch = k.client.ch;
    io_watch(w.ch, on_read, NULL, &w);
    g_assert_cmpint(io_try_writev(k.server.ch, &(struct iovec){data, sizeof(data)}, 1, NULL, 0,
                                  &error),
                    ==, sizeof(data));
    control_run_until(&c, &w.done);
    close_ends(&k);
    control_clear(&c);
}

/* ---- WebSocket on top ---- */

#define REQUEST                                                                  \
    "GET / HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n" \
    "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n"

/* Sends more than all buffers hold, and reads what came after the request. */
static void co_websocket_server(void *opaque)
{
    g_autofree guint8 *data = g_malloc0(BIG);
    auto_ptr(io_channel) tls = NULL;
    struct end *e = opaque;

    tls = io_channel_tls_new(e->below, e->creds, true, NULL, NULL, &e->error);
    e->ch = tls ? io_channel_websocket_new(tls, &e->error) : NULL;
    if (e->ch && io_write_all(e->ch, data, BIG, &e->error) && io_flush(e->ch, &e->error)) {
        io_read_all(e->ch, &e->byte, 1, &e->error);
    }
    e->done = true;
}

static void co_websocket_client(void *opaque)
{
    g_autofree guint8 *data = g_malloc0(BIG);
    struct end *e = opaque;
    ssize_t n = 1;

    e->ch = io_channel_tls_new(e->below, e->creds, false, NULL, NULL, &e->error);
    if (!e->ch ||
        !io_write_all(e->ch, REQUEST "\x82\x81\0\0\0\0x", strlen(REQUEST) + 7, &e->error)) {
        e->done = true;
        return;
    }
    for (size_t got = 0; n > 0 && got < BIG; got += (size_t)n) {
        /* Slower than the server. */
        co_sleep(100 * 1000);
        n = io_read(e->ch, data, BIG, &e->error);
    }
    e->done = true;
}

static void test_websocket(void)
{
    struct end server = {0}, client = {0};
    struct control c;
    int fds[2];

    control_init(&c);
    g_free(control_file(&c, "keys.psk", "qemu:ffeeddccbbaa9988\n", -1));
    server.creds =
        control_add(&c, "{" PSK ", 'id': 's', 'endpoint': 'server', 'dir': '%s'}", c.dir);
    client.creds = control_add(&c, "{" PSK ", 'id': 'c', 'dir': '%s'}", c.dir);
    g_assert_cmpint(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, fds), ==, 0);
    server.below = io_channel_socket_new(c.loop, fds[0]);
    client.below = io_channel_socket_new(c.loop, fds[1]);
    coroutine_start(c.loop, co_websocket_server, &server);
    coroutine_start(c.loop, co_websocket_client, &client);
    control_run_until(&c, &server.done);
    control_run_until(&c, &client.done);
    g_assert_no_error(server.error);
    g_assert_no_error(client.error);
    g_assert_cmpint(server.byte, ==, 'x');
    io_channel_unref(server.ch);
    io_channel_unref(server.below);
    io_channel_unref(client.ch);
    io_channel_unref(client.below);
    control_clear(&c);
}

/* ---- A peer that is not ours ---- */

static void co_echo(void *opaque)
{
    struct end *e = opaque;
    char buffer[5000];
    ssize_t n;

    e->ch = io_channel_tls_new(e->below, e->creds, true, NULL, NULL, &e->error);
    while (e->ch && !e->error && (n = io_read(e->ch, buffer, sizeof(buffer), &e->error)) > 0) {
        io_write_all(e->ch, buffer, (size_t)n, &e->error);
    }
    e->done = true;
}

static void co_ask(void *opaque)
{
    g_autofree guint8 *data = g_malloc0(100000), *back = g_malloc0(100000);
    struct end *e = opaque;

    memset(data, 'd', 100000);
    e->ch = io_channel_tls_new(e->below, e->creds, false, "server.example", NULL, &e->error);
    for (unsigned i = 0; i < 3 && !e->error; i++) {
        if (io_write_all(e->ch, data, 100000, &e->error) &&
            io_read_all(e->ch, back, 100000, &e->error)) {
            g_assert_cmpmem(data, 100000, back, 100000);
        }
    }
    if (!e->error) {
        io_shutdown(e->ch, SHUT_WR);
        g_assert_cmpint(io_read(e->ch, back, 1, &e->error), ==, 0);
    }
    e->done = true;
}

static void test_python(void)
{
    struct pki p;

    pki_init(&p);
    add_x509(&p, "");
    for (unsigned i = 0; i < 2; i++) {
        const char *const client[] = {"tls-client", p.c.dir, "server.example", NULL};
        const char *const server[] = {"tls-server", p.c.dir, NULL};
        struct end e = {.creds =
                            object_resolve(p.c.root, i ? "/objects/c" : "/objects/s", NULL, NULL)};
        GPid pid;

        e.below = io_channel_socket_new(p.c.loop, control_start_peer(&pid, i ? server : client));
        coroutine_start(p.c.loop, i ? co_ask : co_echo, &e);
        control_run_until(&p.c, &e.done);
        g_assert_no_error(e.error);
        io_channel_unref(e.ch);
        io_channel_unref(e.below);
        control_finish_peer(pid);
    }
    pki_clear(&p);
}

/* ---- Enemies ---- */

static void co_handshake(void *opaque)
{
    struct end *e = opaque;

    e->ch = io_channel_tls_new(e->below, e->creds, e->server, NULL, NULL, &e->error);
    e->done = true;
}

static void garbage(struct control *c, const void *data, size_t size, bool shut)
{
    struct end e = {.server = true, .creds = object_resolve(c->root, "/objects/s", NULL, NULL)};
    int fds[2];

    g_assert_cmpint(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, fds), ==, 0);
    e.below = io_channel_socket_new(c->loop, fds[0]);
    coroutine_start(c->loop, co_handshake, &e);
    g_assert_cmpint(write(fds[1], data, size), ==, size);
    if (shut) {
        close(fds[1]);
    } else {
        /* Half a message, and then nothing: the owner's patience ends. */
        event_loop_iterate(c->loop, false);
        event_loop_iterate(c->loop, false);
        if (!e.done) {
            io_shutdown(e.below, SHUT_RDWR);
        }
    }
    control_run_until(c, &e.done);
    g_assert_null(e.ch);
    g_assert_nonnull(e.error);
    g_error_free(e.error);
    io_channel_unref(e.below);
    if (!shut) {
        close(fds[1]);
    }
}

static void test_garbage(void)
{
    static const char http[] = "GET / HTTP/1.1\r\nHost: localhost\r\n\r\n";
    static const char hello[] = "\x16\x03\x01\x01\x00\x01\x00\x00\xfc\x03\x03";
    struct pki p;

    pki_init(&p);
    add_x509(&p, "");
    garbage(&p.c, http, strlen(http), true);
    garbage(&p.c, http, strlen(http), false);
    garbage(&p.c, hello, sizeof(hello), true);
    garbage(&p.c, hello, sizeof(hello), false);
    garbage(&p.c, "", 0, true);
    for (unsigned i = 0; i < 200; i++) {
        guint8 data[512];
        size_t size = (size_t)g_test_rand_int_range(1, sizeof(data));

        for (size_t j = 0; j < size; j++) {
            data[j] = (guint8)g_test_rand_int();
        }
        memcpy(data, hello, MIN(size, (size_t)g_test_rand_int_range(0, sizeof(hello))));
        garbage(&p.c, data, size, i & 1);
    }
    pki_clear(&p);
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    g_test_add_func("/tls/x509", test_x509);
    g_test_add_func("/tls/x509/versions", test_x509_versions);
    g_test_add_func("/tls/x509/wrong-name", test_wrong_name);
    g_test_add_func("/tls/x509/unknown-authority", test_unknown_authority);
    g_test_add_func("/tls/x509/expired", test_expired);
    g_test_add_func("/tls/x509/no-client-certificate", test_no_client_certificate);
    g_test_add_func("/tls/x509/revoked", test_revoked);
    g_test_add_func("/tls/x509/chain", test_chain);
    g_test_add_func("/tls/x509/encrypted-key", test_encrypted_key);
    g_test_add_func("/tls/x509/sanity", test_sanity);
    g_test_add_func("/tls/x509/bundle", test_bundle);
    g_test_add_func("/tls/x509/bad-files", test_bad_files);
    g_test_add_func("/tls/authz", test_authz);
    g_test_add_func("/tls/wrong-endpoint", test_wrong_endpoint);
    g_test_add_func("/tls/psk", test_psk);
    g_test_add_func("/tls/anon", test_anon);
    g_test_add_func("/tls/data", test_data);
    g_test_add_func("/tls/pending", test_pending);
    g_test_add_func("/tls/websocket", test_websocket);
    g_test_add_func("/tls/python", test_python);
    g_test_add_func("/tls/garbage", test_garbage);
    return g_test_run();
}
