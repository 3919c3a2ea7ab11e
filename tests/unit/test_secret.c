/* Objects of type "secret": data, files, base64, encryption, and what is refused. */
#include <fcntl.h>
#include <string.h>

#include "control.h"
#include "crypto/secret.h"

static void check(struct control *c, const char *id, const char *expected, size_t size)
{
    GError *error = NULL;
    g_autoptr(GBytes) bytes = secret_get(c->root, id, &error);
    gsize length;
    const void *data;

    g_assert_no_error(error);
    data = g_bytes_get_data(bytes, &length);
    g_assert_cmpmem(data, length, expected, size);
    control_delete(c, id);
}

static void test_data(void)
{
    g_autofree char *path = NULL, *base64_path = NULL;
    struct control c;

    control_init(&c);
    path = control_file(&c, "s", "from a file\n", -1);
    base64_path = control_file(&c, "b", "Zm9v\nYmFy\n", -1);
    control_add(&c, "{'qom-type': 'secret', 'id': 's', 'data': 'letmein'}");
    check(&c, "s", "letmein", 7);
    control_add(&c, "{'qom-type': 'secret', 'id': 's', 'data': ''}");
    check(&c, "s", "", 0);
    control_add(&c, "{'qom-type': 'secret', 'id': 's', 'data': 'Zm9vAA==', 'format': 'base64'}");
    check(&c, "s", "foo", 4);
    control_add(&c, "{'qom-type': 'secret', 'id': 's', 'file': '%s'}", path);
    check(&c, "s", "from a file\n", 12);
    control_add(&c, "{'qom-type': 'secret', 'id': 's', 'file': '%s', 'format': 'base64'}",
                base64_path);
    check(&c, "s", "foobar", 6);
    control_clear(&c);
}

static void test_fdset(void)
{
    g_autofree char *path = NULL;
    GError *error = NULL;
    struct control c;
    int64_t set;

    control_init(&c);
    path = control_file(&c, "s", "by descriptor", -1);
    set = fdsets_add(c.context.fdsets, open(path, O_RDONLY | O_CLOEXEC), -1, NULL, &error);
    g_assert_no_error(error);
    control_add(&c, "{'qom-type': 'secret', 'id': 's', 'file': '/dev/fdset/%d'}", (int)set);
    check(&c, "s", "by descriptor", 13);
    control_clear(&c);
}

/*
 * The vectors are openssl's: printf TEXT | openssl enc -aes-256-cbc -base64 -K KEY -iv IV
 * with KEY = 00 01 ... 1f and IV = f0 f1 ... ff.
 */
#define KEY   "AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8="
#define IV    "8PHy8/T19vf4+fr7/P3+/w=="
#define HELLO "3ivmqo6aJpVqNC9Pg0eSqw=="
#define LONG  "zZURRsx0BGpWyTow5KfNUOVkSxR0IMsJAinWx7kO1hY="

static void test_encrypted(void)
{
    g_autofree guchar *raw = NULL;
    g_autofree char *path = NULL;
    struct control c;
    gsize size;

    control_init(&c);
    control_add(&c, "{'qom-type': 'secret', 'id': 'k', 'data': '" KEY "', 'format': 'base64'}");
    control_add(&c, "{'qom-type': 'secret', 'id': 's', 'data': '" HELLO "', 'format': 'base64', "
                    "'keyid': 'k', 'iv': '" IV "'}");
    check(&c, "s", "hello", 5);
    /* A text of 16 bytes has 16 bytes of padding. */
    control_add(&c, "{'qom-type': 'secret', 'id': 's', 'data': '" LONG "', 'format': 'base64', "
                    "'keyid': 'k', 'iv': '" IV "'}");
    check(&c, "s", "0123456789abcdef", 16);
    /* The bytes themselves, in a file. */
    raw = g_base64_decode(HELLO, &size);
    path = control_file(&c, "raw", (const char *)raw, (gssize)size);
    control_add(&c, "{'qom-type': 'secret', 'id': 's', 'file': '%s', 'keyid': 'k', 'iv': '" IV "'}",
                path);
    check(&c, "s", "hello", 5);

    control_add_fails(&c, "IV is required*",
                      "{'qom-type': 'secret', 'id': 's', 'data': '" HELLO
                      "', 'format': 'base64', 'keyid': 'k'}");
    control_add_fails(&c, "IV has 3 bytes*",
                      "{'qom-type': 'secret', 'id': 's', 'data': '" HELLO
                      "', 'format': 'base64', 'keyid': 'k', 'iv': 'Zm9v'}");
    control_add_fails(&c, "*not a multiple of 16",
                      "{'qom-type': 'secret', 'id': 's', 'data': 'Zm9v"
                      "', 'format': 'base64', 'keyid': 'k', 'iv': '" IV "'}");
    control_add_fails(&c, "Incorrect padding*",
                      "{'qom-type': 'secret', 'id': 's', 'data': '"
                      "AAAAAAAAAAAAAAAAAAAAAA==', 'format': 'base64', 'keyid': 'k', 'iv': '" IV
                      "'}");
    control_add_fails(&c, "No secret with id 'x'",
                      "{'qom-type': 'secret', 'id': 's', 'data': 'a', "
                      "'keyid': 'x', 'iv': '" IV "'}");
    /* Its own key. */
    control_add_fails(&c, "Secret with id 's' has no data",
                      "{'qom-type': 'secret', 'id': 's', "
                      "'data': 'a', 'keyid': 's', 'iv': '" IV "'}");
    control_add(&c, "{'qom-type': 'secret', 'id': 'short', 'data': 'abc'}");
    control_add_fails(&c, "Key 'short' has 3 bytes*",
                      "{'qom-type': 'secret', 'id': 's', 'data': '" HELLO
                      "', 'format': 'base64', 'keyid': 'short', 'iv': '" IV "'}");
    control_clear(&c);
}

static void test_bad(void)
{
    g_autofree char *big = g_strnfill((2 << 20), 'x'), *path = NULL;
    GError *error = NULL;
    struct control c;
    json_object *value;

    control_init(&c);
    control_add_fails(&c, "Either 'file' or 'data' must be provided",
                      "{'qom-type': 'secret', 'id': 's'}");
    control_add_fails(&c, "'file' and 'data' are mutually exclusive",
                      "{'qom-type': 'secret', 'id': 's', 'data': 'a', 'file': 'b'}");
    control_add_fails(&c, "*/nonexistent*",
                      "{'qom-type': 'secret', 'id': 's', 'file': '/nonexistent'}");
    control_add_fails(&c, "Unable to read /: *", "{'qom-type': 'secret', 'id': 's', 'file': '/'}");
    for (unsigned i = 0; i < 5; i++) {
        const char *const bad[] = {"Zm9%v", "Zm=9", "Zm9vY", "Zm9v====", "="};

        control_add_fails(&c, "Base64 data of 'data' *",
                          "{'qom-type': 'secret', 'id': 's', 'data': '%s', 'format': 'base64'}",
                          bad[i]);
    }
    path = control_file(&c, "big", big, -1);
    control_add_fails(&c, "*at most*", "{'qom-type': 'secret', 'id': 's', 'file': '%s'}", path);

    /* Not text; and not told. */
    control_add(&c, "{'qom-type': 'secret', 'id': 's', 'data': '/w==', 'format': 'base64'}");
    g_assert_null(secret_get_text(c.root, "s", &error));
    assert_error_matches(error, "*not valid UTF-8");
    g_clear_error(&error);
    value = object_get(object_resolve(c.root, "/objects/s", NULL, NULL), "data", &error);
    g_assert_null(value);
    g_assert_nonnull(error);
    g_clear_error(&error);
    control_add(&c, "{'qom-type': 'secret', 'id': 'nul', 'data': 'YQBi', 'format': 'base64'}");
    g_assert_null(secret_get_text(c.root, "nul", &error));
    g_clear_error(&error);

    /* Another kind of object. */
    control_add(&c, "{'qom-type': 'authz-simple', 'id': 'other', 'identity': 'x'}");
    g_assert_null(secret_get(c.root, "other", &error));
    assert_error_matches(error, "*is not a secret but of type authz-simple");
    g_clear_error(&error);
    control_clear(&c);
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    g_test_add_func("/secret/data", test_data);
    g_test_add_func("/secret/fdset", test_fdset);
    g_test_add_func("/secret/encrypted", test_encrypted);
    g_test_add_func("/secret/bad", test_bad);
    return g_test_run();
}
