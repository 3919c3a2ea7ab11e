/*
 * LUKS: images of driver luks and encrypted qcow2 images, by Nandu and by qemu-img (if it is
 * there), of many kinds of ciphers; key slots that come and go; wrong passwords.
 */
#include <unistd.h>

#include "block_test.h"

enum { SIZE = 300 << 10 };

struct kind {
    const char *name, *format, *options;
    bool qemu; /* qemu-img can do it: it fails with keys of 24 bytes */
};

static const struct kind kinds[] = {
    {"default", "luks", "", true},
    {"aes-cbc-essiv", "luks",
     "cipher-alg=aes-256,cipher-mode=cbc,ivgen-alg=essiv,ivgen-hash-alg=sha256", true},
    {"aes-128-plain", "luks", "cipher-alg=aes-128,cipher-mode=xts,ivgen-alg=plain,hash-alg=sha1",
     true},
    {"aes-192-cbc", "luks", "cipher-alg=aes-192,cipher-mode=cbc,ivgen-alg=plain64,hash-alg=sha512",
     false},
    {"aes-256-ecb", "luks", "cipher-alg=aes-256,cipher-mode=ecb", true},
    {"serpent", "luks", "cipher-alg=serpent-256,cipher-mode=xts,hash-alg=sha512", true},
    {"twofish", "luks",
     "cipher-alg=twofish-128,cipher-mode=cbc,ivgen-alg=plain64,hash-alg=ripemd160", true},
    {"qcow2", "qcow2", "", true},
    {"qcow2-512", "qcow2", "cluster-size=512", true},
    {"qcow2-cbc", "qcow2",
     "encrypt.cipher-alg=aes-256,encrypt.cipher-mode=cbc,encrypt.ivgen-alg=essiv", true},
};

struct test {
    struct block_test t;
    const struct kind *kind;
    char *dir, *image, *raw;
    uint8_t *model, *buffer;
    struct block_node *node;
    struct block_user *user;
};

static bool is_qcow2(const struct test *t)
{
    return g_str_equal(t->kind->format, "qcow2");
}

static void add_secret(struct test *t, const char *id, const char *data)
{
    g_autofree char *text =
        g_strdup_printf("{\"qom-type\": \"secret\", \"id\": \"%s\", \"data\": \"%s\"}", id, data);
    g_autoptr(json_object) json = NULL;
    g_autoptr(GError) error = NULL;

    json = json_parse(text, &error);
    g_assert_no_error(error);
    object_create_user(t->t.root, json, false, &error);
    g_assert_no_error(error);
}

static void put_nested(json_object *json, const char *name, const char *value)
{
    const char *dot = strchr(name, '.');
    g_autofree char *first = dot ? g_strndup(name, (gsize)(dot - name)) : NULL;
    json_object *inner;

    if (!dot) {
        json_object_object_add(json, name, json_object_new_string(value));
        return;
    }
    if (!json_object_object_get_ex(json, first, &inner)) {
        inner = json_object_new_object();
        json_object_object_add(json, first, inner);
    }
    put_nested(inner, dot + 1, value);
}

static void co_create(struct test *t)
{
    const char *prefix = is_qcow2(t) ? "encrypt." : "";
    g_auto(GStrv) options = g_strsplit(t->kind->options, ",", -1);
    g_autoptr(json_object) json = json_object_new_object();
    g_autofree char *size = g_strdup_printf("%d", SIZE),
                    *secret = g_strconcat(prefix, "key-secret", NULL);
    g_autofree char *iter = g_strconcat(prefix, "iter-time", NULL);
    struct qapi_blockdev_create_options create;
    g_autoptr(GError) error = NULL;

    g_file_set_contents(t->image, "", 0, &error);
    put_nested(json, "driver", t->kind->format);
    put_nested(json, "size", size);
    put_nested(json, "file.driver", "file");
    put_nested(json, "file.filename", t->image);
    put_nested(json, secret, "s");
    put_nested(json, iter, "10");
    if (is_qcow2(t)) {
        put_nested(json, "encrypt.format", "luks");
    }
    for (char **option = options; *option && **option; option++) {
        g_auto(GStrv) pair = g_strsplit(*option, "=", 2);

        put_nested(json, pair[0], pair[1]);
    }
    qapi_from_keyval(&qapi_type_blockdev_create_options, json, &create, &error);
    g_assert_no_error(error);
    block_driver_find(t->kind->format)->co_create(t->t.graph, &create, &error);
    g_assert_no_error(error);
    qapi_clear(&qapi_type_blockdev_create_options, &create);
}

static bool co_open(struct test *t, const char *secret, GError **error)
{
    g_autofree char *json =
        is_qcow2(t)
            ? g_strdup_printf(
                  "{\"driver\": \"qcow2\", \"encrypt\": {\"format\": \"luks\", \"key-secret\": \"%s\"},"
                  "\"file\": {\"driver\": \"file\", \"filename\": \"%s\"}}",
                  secret, t->image)
            : g_strdup_printf("{\"driver\": \"luks\", \"key-secret\": \"%s\","
                              "\"file\": {\"driver\": \"file\", \"filename\": \"%s\"}}",
                              secret, t->image);

    t->node = block_test_open(&t->t, json, error);
    if (!t->node) {
        return false;
    }
    t->user = block_user_new(t->t.graph, "test", NULL, NULL);
    block_user_attach(t->user, t->node, BLOCK_PERM_ALL & ~BLOCK_PERM_WRITE_UNCHANGED,
                      BLOCK_PERM_ALL, error);
    g_assert_cmpuint(block_user_length(t->user), ==, SIZE);
    return true;
}

static void co_close(struct test *t)
{
    block_user_free(t->user);
    co_block_node_unref(t->node);
}

static void co_check(struct test *t)
{
    g_assert_cmpint(co_block_read(t->user, 0, SIZE, BLOCK_BUFFER(t->buffer, SIZE), 0), ==, 0);
    g_assert_cmpmem(t->buffer, SIZE, t->model, SIZE);
    g_assert_cmpint(co_block_read(t->user, 700, 9999, BLOCK_BUFFER(t->buffer, 9999), 0), ==, 0);
    g_assert_cmpmem(t->buffer, 9999, t->model + 700, 9999);
}

static void co_write_some(struct test *t)
{
    static const uint64_t places[][2] = {
        {0, 512}, {4096, 70000}, {100000, 100001}, {SIZE - 77, 77}};

    for (size_t i = 0; i < G_N_ELEMENTS(places); i++) {
        uint64_t offset = places[i][0], bytes = places[i][1];

        for (uint64_t j = 0; j < bytes; j++) {
            t->model[offset + j] = (uint8_t)(j * 7 + j / 512 + i);
        }
        memcpy(t->buffer, t->model + offset, bytes);
        g_assert_cmpint(co_block_write(t->user, offset, bytes, BLOCK_BUFFER(t->buffer, bytes), 0),
                        ==, 0);
    }
}

static void co_ours(void *opaque)
{
    struct test *t = opaque;
    g_autoptr(GError) error = NULL;

    co_create(t);
    g_assert_true(co_open(t, "s", &error));
    /* What was never written is noise in a luks image. */
    memset(t->buffer, 0, SIZE);
    g_assert_cmpint(co_block_write(t->user, 0, SIZE, BLOCK_BUFFER(t->buffer, SIZE), 0), ==, 0);
    co_write_some(t);
    co_check(t);
    co_close(t);
    g_assert_true(co_open(t, "s", &error));
    co_check(t);
    co_close(t);
    g_assert_false(co_open(t, "wrong", &error));
    g_assert_nonnull(strstr(error->message, "Invalid password"));
}

static void co_theirs(void *opaque)
{
    struct test *t = opaque;
    g_autoptr(GError) error = NULL;

    g_assert_true(co_open(t, "s", &error));
    g_assert_no_error(error);
    co_check(t);
    co_write_some(t);
    co_check(t);
    co_close(t);
}

/* False: qemu-img isn't there. */
static bool qemu_img(const char *const *argv)
{
    g_autofree char *out = NULL, *err = NULL;
    int status;

    if (!g_spawn_sync(NULL, (char **)argv, NULL, G_SPAWN_SEARCH_PATH, NULL, NULL, &out, &err,
                      &status, NULL)) {
        return false;
    }
    if (status) {
        g_error("%s %s:\n%s%s", argv[0], argv[1], out, err);
    }
    return true;
}

static void compare(struct test *t)
{
    g_autofree char *image = g_strdup_printf("driver=%s,%s=s,file.filename=%s%s", t->kind->format,
                                             is_qcow2(t) ? "encrypt.key-secret" : "key-secret",
                                             t->image, is_qcow2(t) ? ",encrypt.format=luks" : "");
    g_autofree char *raw = g_strdup_printf("driver=raw,file.filename=%s", t->raw);
    const char *argv[] = {"qemu-img",     "compare", "--object", "secret,id=s,data=letmein",
                          "--image-opts", raw,       image,      NULL};

    g_file_set_contents(t->raw, (const char *)t->model, SIZE, NULL);
    qemu_img(argv);
}

static bool convert(struct test *t)
{
    g_autofree char *bare = g_strdup(t->kind->options);
    g_autofree char *options =
        g_strdup_printf("%s=s,%s=10%s%s%s", is_qcow2(t) ? "encrypt.key-secret" : "key-secret",
                        is_qcow2(t) ? "encrypt.iter-time" : "iter-time",
                        is_qcow2(t) ? ",encrypt.format=luks" : "", *bare ? "," : "",
                        g_str_equal(bare, "cluster-size=512") ? "cluster_size=512" : bare);
    const char *argv[] = {"qemu-img", "convert", "--object", "secret,id=s,data=letmein",
                          "-f",       "raw",     "-O",       t->kind->format,
                          "-o",       options,   t->raw,     t->image,
                          NULL};

    return qemu_img(argv);
}

static void test_init(struct test *t, const struct kind *kind)
{
    *t = (struct test){.kind = kind};
    block_test_init(&t->t);
    t->dir = g_dir_make_tmp("nandu-luks-XXXXXX", NULL);
    t->image = g_build_filename(t->dir, "image", NULL);
    t->raw = g_build_filename(t->dir, "raw", NULL);
    t->model = g_malloc0(SIZE);
    t->buffer = g_malloc0(SIZE);
    add_secret(t, "s", "letmein");
    add_secret(t, "wrong", "letmeout");
    add_secret(t, "new", "sesame");
}

static void test_clear(struct test *t)
{
    block_test_clear(&t->t);
    unlink(t->image);
    unlink(t->raw);
    rmdir(t->dir);
    g_free(t->dir);
    g_free(t->image);
    g_free(t->raw);
    g_free(t->model);
    g_free(t->buffer);
}

static void test_kind(gconstpointer data)
{
    struct test t;

    test_init(&t, data);
    block_run(t.t.context.loop, co_ours, &t);
    if (t.kind->qemu) {
        compare(&t);
    }
    /* qemu-img measures how fast it is, which takes a second: not for all. */
    if (t.kind->qemu && !strstr(t.kind->options, "aes") && convert(&t)) {
        block_run(t.t.context.loop, co_theirs, &t);
        compare(&t);
    }
    test_clear(&t);
}

/* ---- Key slots ---- */

static bool co_amend(struct test *t, const char *json, bool force, GError **error)
{
    g_autoptr(json_object) options = json_parse(json, NULL);

    return t->node->driver->co_amend(t->node, options, force, error);
}

static void co_slots(void *opaque)
{
    struct test *t = opaque;
    g_autoptr(GError) error = NULL;

    co_create(t);
    g_assert_true(co_open(t, "s", &error));
    co_write_some(t);
    g_assert_true(
        co_amend(t, "{\"state\": \"active\", \"new-secret\": \"new\", \"iter-time\": \"10\"}",
                 false, &error));
    co_close(t);
    g_assert_true(co_open(t, "new", &error));
    g_assert_false(co_amend(
        t, "{\"state\": \"active\", \"new-secret\": \"new\", \"keyslot\": \"0\"}", false, &error));
    g_clear_error(&error);
    g_assert_true(co_amend(t, "{\"state\": \"inactive\", \"old-secret\": \"s\"}", false, &error));
    g_assert_false(co_amend(t, "{\"state\": \"inactive\", \"keyslot\": \"1\"}", false, &error));
    g_clear_error(&error);
    co_close(t);
    g_assert_false(co_open(t, "s", &error));
    g_clear_error(&error);
    g_assert_true(co_open(t, "new", &error));
    g_assert_cmpint(co_block_read(t->user, 4096, 70000, BLOCK_BUFFER(t->buffer, 70000), 0), ==, 0);
    g_assert_cmpmem(t->buffer, 70000, t->model + 4096, 70000);
    co_close(t);
}

static void test_slots(void)
{
    struct test t;

    test_init(&t, &kinds[0]);
    block_run(t.t.context.loop, co_slots, &t);
    test_clear(&t);
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    for (size_t i = 0; i < G_N_ELEMENTS(kinds); i++) {
        g_autofree char *path = g_strconcat("/luks/", kinds[i].name, NULL);

        g_test_add_data_func(path, &kinds[i], test_kind);
    }
    g_test_add_func("/luks/slots", test_slots);
    return g_test_run();
}
