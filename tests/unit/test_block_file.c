/* Driver file: every way of making requests, locks, holes, sizes. */
#include <errno.h>
#include <fcntl.h>
#include <glib/gstdio.h>
#include <sys/stat.h>
#include <unistd.h>

#include "block/file.h"
#include "block_test.h"

enum { SIZE = 1 << 20, MAX_BYTES = 60000, REQUESTS = 400 };

/* An empty file of SIZE bytes in the current folder; caller frees. */
static char *new_file(void)
{
    char *path = g_strdup("block-XXXXXX");
    int fd = g_mkstemp(path);

    g_assert_cmpint(fd, >=, 0);
    g_assert_cmpint(ftruncate(fd, SIZE), ==, 0);
    close(fd);
    return path;
}

static void remove_file(char *path)
{
    g_assert_cmpint(g_remove(path), ==, 0);
    g_free(path);
}

static void assert_error(GError **error, const char *text)
{
    g_assert_nonnull(*error);
    if (!strstr((*error)->message, text)) {
        g_error("'%s' isn't in '%s'", text, (*error)->message);
    }
    g_clear_error(error);
}

static bool is_missing(const GError *error)
{
    return strstr(error->message, "has no io_uring") ||
           strstr(error->message, "has no Linux AIO") ||
           strstr(error->message, "does not support O_DIRECT");
}

/* ---- Data ---- */

struct hammer {
    struct block_user *user;
    uint8_t *model;
    uint64_t start; /* of its own part */
    guint32 seed;
    unsigned *running;
    struct coroutine *waiting;
};

static void co_hammer(void *opaque)
{
    struct hammer *h = opaque;
    GRand *rand = g_rand_new_with_seed(h->seed);
    g_autofree uint8_t *data = g_malloc(MAX_BYTES);
    uint64_t part = SIZE / 4 - 100;

    for (int i = 0; i < REQUESTS; i++) {
        uint64_t offset = (uint64_t)g_rand_int_range(rand, 0, (gint32)part);
        uint64_t wanted = (uint64_t)g_rand_int_range(rand, 1, MAX_BYTES),
                 bytes = MIN(wanted, part - offset);
        uint64_t half = bytes / 2;
        struct iovec iov[] = {{data, half}, {data + half, bytes - half}};
        struct block_buffer buffer = {iov, 2, 0};

        offset += h->start;
        switch (g_rand_int_range(rand, 0, 8)) {
        case 0:
            g_assert_cmpint(
                co_block_write_zeroes(h->user, offset, bytes, i % 2 ? BLOCK_MAY_UNMAP : 0), ==, 0);
            memset(h->model + offset, 0, bytes);
            break;
        case 1: g_assert_cmpint(co_block_flush(h->user), ==, 0); break;
        case 2:
        case 3:
        case 4:
            for (uint64_t b = 0; b < bytes; b++) {
                data[b] = (uint8_t)g_rand_int(rand);
            }
            g_assert_cmpint(co_block_write(h->user, offset, bytes, buffer, i % 16 ? 0 : BLOCK_FUA),
                            ==, 0);
            memcpy(h->model + offset, data, bytes);
            break;
        default:
            g_assert_cmpint(co_block_read(h->user, offset, bytes, buffer, 0), ==, 0);
            g_assert(memcmp(data, h->model + offset, bytes) == 0);
        }
    }
    g_rand_free(rand);
    if (--*h->running == 0) {
        coroutine_wake(h->waiting);
    }
}

static const char *const modes[] = {"threads", "io_uring", "native"};

static void co_data(void *opaque)
{
    struct block_test *t = opaque;
    g_autofree uint8_t *model = g_malloc(SIZE);

    for (int i = 0; i < 6; i++) {
        bool direct = i & 1;
        char *path = new_file();
        g_autofree char *json = g_strdup_printf(
            "{'driver': 'file', 'filename': '%s', 'aio': '%s', 'cache': {'direct': %s}, 'discard': 'unmap'}",
            path, modes[i / 2], direct ? "true" : "false");
        g_autoptr(GError) error = NULL;
        struct block_node *node = block_test_open(t, json, &error);
        struct hammer hammers[4];
        unsigned running = 4;
        g_autofree char *text = NULL;
        gsize size;

        if (!node) {
            g_assert(is_missing(error) ||
                     (i == 4 && strstr(error->message, "requires cache.direct=on")));
            g_test_message("%s, direct %d: %s", modes[i / 2], direct, error->message);
            remove_file(path);
            continue;
        }
        memset(model, 0, SIZE);
        hammers[0].user = block_test_use(t, node);
        for (unsigned h = 0; h < 4; h++) {
            /* The parts touch in the middle of a block. */
            hammers[h] = (struct hammer){hammers[0].user,    model,    h * (SIZE / 4 - 100),
                                         (guint32)i * 4 + h, &running, coroutine_self()};
            coroutine_start(t->context.loop, co_hammer, &hammers[h]);
        }
        while (running) {
            co_yield ();
        }
        block_user_free(hammers[0].user);
        g_assert(g_file_get_contents(path, &text, &size, NULL));
        g_assert(size == SIZE && memcmp(text, model, SIZE) == 0);
        remove_file(path);
    }
}

static void test_data(void)
{
    block_test_run(co_data);
}

/* ---- Locks within one process: descriptors of their own exclude each other, too ---- */

static void co_locks(void *opaque)
{
    struct block_test *t = opaque;
    char *path = new_file();
    g_autofree char *one =
        g_strdup_printf("{'driver': 'file', 'node-name': 'one', 'filename': '%s'}", path);
    g_autofree char *two =
        g_strdup_printf("{'driver': 'file', 'node-name': 'two', 'filename': '%s'}", path);
    g_autofree char *none = g_strdup_printf(
        "{'driver': 'file', 'node-name': 'none', 'filename': '%s', 'locking': 'off'}", path);
    g_autoptr(GError) error = NULL;
    struct block_node *nodes[] = {block_test_open(t, one, &error), block_test_open(t, two, &error),
                                  block_test_open(t, none, &error)};
    struct block_user *a = block_user_new(t->graph, "a", NULL, NULL),
                      *b = block_user_new(t->graph, "b", NULL, NULL);
    const unsigned read = BLOCK_PERM_CONSISTENT_READ, write = BLOCK_PERM_WRITE,
                   all = BLOCK_PERM_ALL;

    g_assert_no_error(error);
    g_assert(block_user_attach(a, nodes[0], read, read, &error));
    g_assert(!block_user_attach(b, nodes[1], read | write, all, &error));
    assert_error(&error,
                 "Failed to get \"write\" lock: another node of this process uses the image");
    g_assert(block_user_attach(b, nodes[1], read, read, &error));
    block_user_detach(b);
    g_assert(block_user_set_perm(a, read | write, all, &error));
    g_assert(!block_user_attach(b, nodes[1], read, all & ~write, &error));
    assert_error(&error, "Failed to get shared \"write\" lock");
    g_assert(block_user_attach(b, nodes[1], read | write, all, &error));
    /* What failed left nothing behind: a may narrow down what it shares once b is gone. */
    g_assert(!block_user_set_perm(a, read | write, read, &error));
    assert_error(&error, "Failed to get shared \"write\" lock");
    block_user_detach(b);
    g_assert(block_user_set_perm(a, read | write, 0, &error));
    g_assert(!block_user_attach(b, nodes[1], read, all, &error));
    assert_error(&error, "Failed to get \"consistent read\" lock");
    g_assert(block_user_attach(b, nodes[2], all, 0, &error));
    block_user_free(a);
    block_user_free(b);
    for (size_t i = 0; i < G_N_ELEMENTS(nodes); i++) {
        co_block_node_unref(nodes[i]);
    }
    remove_file(path);
}

static void test_locks(void)
{
    block_test_run(co_locks);
}

/* auto-read-only: the descriptor becomes writable when somebody writes. */
static void co_auto_read_only(void *opaque)
{
    struct block_test *t = opaque;
    char *path = new_file();
    g_autofree char *json = g_strdup_printf(
        "{'driver': 'file', 'node-name': 'n', 'filename': '%s', 'auto-read-only': true}", path);
    g_autoptr(GError) error = NULL;
    struct block_node *node = block_test_open(t, json, &error);
    struct block_user *user = block_user_new(t->graph, "u", NULL, NULL);
    struct file_state *s = node->state;
    char data[3] = "ab";
    int fd = s->fd;

    g_assert_cmpint(fcntl(s->fd, F_GETFL) & O_ACCMODE, ==, O_RDONLY);
    g_assert(block_user_attach(user, node, BLOCK_PERM_CONSISTENT_READ, BLOCK_PERM_ALL, &error));
    g_assert_cmpint(fcntl(s->fd, F_GETFL) & O_ACCMODE, ==, O_RDONLY);
    g_assert(block_user_set_perm(user, BLOCK_PERM_WRITE, BLOCK_PERM_ALL, &error));
    g_assert(s->fd == fd && (fcntl(s->fd, F_GETFL) & O_ACCMODE) == O_RDWR);
    g_assert_cmpint(co_block_write(user, 0, 2, BLOCK_BUFFER(data, 2), 0), ==, 0);
    block_user_free(user);
    co_block_node_unref(node);
    remove_file(path);
}

static void test_auto_read_only(void)
{
    block_test_run(co_auto_read_only);
}

/* ---- io_uring's fixed files and buffers ---- */

/* A user of the path's node by io_uring; NULL: it isn't to be had. */
static struct block_user *open_by_ring(struct block_test *t, const char *path)
{
    g_autofree char *json =
        g_strdup_printf("{'driver': 'file', 'filename': '%s', 'aio': 'io_uring', "
                        "'auto-read-only': true}",
                        path);
    g_autoptr(GError) error = NULL;
    struct block_node *node = block_test_open(t, json, &error);
    struct block_user *user;

    if (!node) {
        g_assert(is_missing(error));
        g_test_skip(error->message);
        return NULL;
    }
    user = block_user_new(t->graph, "test", NULL, NULL);
    g_assert(block_user_attach(user, node, BLOCK_PERM_CONSISTENT_READ, BLOCK_PERM_ALL, &error));
    co_block_node_unref(node);
    return user;
}

static void co_fixed(void *opaque)
{
    struct block_test *t = opaque;
    struct event_loop *loop = t->context.loop;
    char *path = new_file();
    struct block_user *user = open_by_ring(t, path);
    g_autofree char *data = g_malloc0(65536), *other = g_malloc0(65536);
    const struct file_state *s;
    g_autoptr(GError) error = NULL;

    if (!user) {
        remove_file(path);
        return;
    }
    s = block_user_node(user)->state;
    block_register_buffer(t->graph, data, 65536);
    g_assert_cmpint(co_block_read(user, 0, 4096, BLOCK_BUFFER(data, 4096), BLOCK_REGISTERED), ==,
                    0);
    g_assert_cmpint(s->fixed[0].index, >=, 0);
    g_assert(s->fixed[0].loop == loop);
    g_assert_cmpint(block_registered_index(t->graph, loop, data + 65535, 1), >=, 0);
    g_assert_cmpint(block_registered_index(t->graph, loop, data + 65535, 2), ==, -1);
    g_assert_cmpint(block_registered_index(t->graph, loop, other, 1), ==, -1);

    /* Another open file takes the number over. */
    g_assert(block_user_set_perm(user, BLOCK_PERM_ALL, 0, &error));
    memset(data, 7, 65536);
    g_assert_cmpint(co_block_write(user, 512, 4096, BLOCK_BUFFER(data, 4096),
                                   BLOCK_REGISTERED | BLOCK_FUA),
                    ==, 0);
    g_assert_cmpint(co_block_flush(user), ==, 0);
    block_unregister_buffer(t->graph, data);
    g_assert_cmpint(block_registered_index(t->graph, loop, data, 1), ==, -1);
    g_assert_cmpint(co_block_read(user, 512, 4096, BLOCK_BUFFER(other, 4096), BLOCK_REGISTERED),
                    ==, 0);
    g_assert_cmpmem(other, 4096, data, 4096);

    /* Numbers and locks are free again at once. */
    for (unsigned i = 0; i < 100; i++) {
        struct block_node *node = block_node_ref(block_user_node(user));

        block_user_free(user);
        co_block_node_unref(node); /* closes it now */
        user = open_by_ring(t, path);
        g_assert(block_user_set_perm(user, BLOCK_PERM_ALL, 0, &error));
        block_register_buffer(t->graph, data, 65536);
        g_assert_cmpint(co_block_read(user, 0, 512, BLOCK_BUFFER(data, 512), BLOCK_REGISTERED), ==,
                        0);
        s = block_user_node(user)->state;
        g_assert_cmpint(s->fixed[0].index, >=, 0);
        g_assert_cmpint(block_registered_index(t->graph, loop, data, 1), >=, 0);
        block_unregister_buffer(t->graph, data);
    }
    block_user_free(user);
    remove_file(path);
}

static void test_fixed(void)
{
    block_test_run(co_fixed);
}

/* ---- Reopening ---- */

static bool co_reopen_with(struct block_test *t, const char *path, const char *more, GError **error)
{
    g_autofree char *text = g_strdup_printf(
        "{'driver': 'file', 'node-name': 'file0', 'filename': '%s'%s}", path, more);
    g_autoptr(json_object) json = json_parse(text, error);
    struct qapi_blockdev_options options;
    bool ok;

    g_assert(json && qapi_from_json(&qapi_type_blockdev_options, json, &options, error));
    ok = co_block_reopen(t->graph, &options, 1, error);
    qapi_clear(&qapi_type_blockdev_options, &options);
    return ok;
}

static void co_reopen(void *opaque)
{
    struct block_test *t = opaque;
    char *path = new_file();
    g_autofree char *json = g_strdup_printf(
        "{'driver': 'raw', 'file': {'driver': 'file', 'node-name': 'file0', 'filename': '%s'}}",
        path);
    struct block_user *user = block_test_open_user(t, json);
    struct block_node *file = block_user_node(user)->file->node;
    const struct file_state *s = file->state;
    char data[1000] = {5}, read[1000];
    g_autoptr(GError) error = NULL;

    g_assert(!co_reopen_with(t, path, ", 'aio': 'native'", &error));
    assert_error(&error, "requires cache.direct=on");
    g_assert(!co_reopen_with(t, path, ", 'locking': 'off'", &error));
    assert_error(&error, "Cannot change the option 'locking' of node 'file0'");
    g_assert(!co_reopen_with(t, "/dev/null", "", &error));
    assert_error(&error, "Cannot change the option 'filename' of node 'file0'");
    g_assert(!s->direct && s->aio == QAPI_BLOCKDEV_AIO_OPTIONS_THREADS);
    if (!co_reopen_with(t, path, ", 'aio': 'native', 'cache': {'direct': true}", &error)) {
        g_test_skip(error->message);
    } else {
        g_assert(s->direct && file->direct && s->aio == QAPI_BLOCKDEV_AIO_OPTIONS_NATIVE);
        g_assert(fcntl(s->fd, F_GETFL) & O_DIRECT);
        g_assert_cmpint(file->limits.request_align, >, 1);
        g_assert_cmpint(block_user_limits(user)->memory_align, ==, file->limits.memory_align);
        g_assert_cmpint(co_block_write(user, 3, 1000, BLOCK_BUFFER(data, 1000), 0), ==, 0);
        /* What comes after it fails: it is as before. */
        g_assert(!co_reopen_with(t, path, ", 'read-only': true", &error));
        g_clear_error(&error);
        g_assert(s->direct && file->direct && s->aio == QAPI_BLOCKDEV_AIO_OPTIONS_NATIVE);
        g_assert(fcntl(s->fd, F_GETFL) & O_DIRECT);
        g_assert(co_reopen_with(t, path, "", &error));
        g_assert(!s->direct && !(fcntl(s->fd, F_GETFL) & O_DIRECT));
        g_assert_cmpint(block_user_limits(user)->memory_align, ==, 1);
        g_assert_cmpint(co_block_read(user, 3, 1000, BLOCK_BUFFER(read, 1000), 0), ==, 0);
        g_assert_cmpmem(read, 1000, data, 1000);
    }
    block_user_free(user);
    remove_file(path);
}

static void test_reopen(void)
{
    block_test_run(co_reopen);
}

/* ---- Holes and sizes ---- */

static void co_status(void *opaque)
{
    struct block_test *t = opaque;
    char *path = new_file();
    g_autofree char *json =
        g_strdup_printf("{'driver': 'raw', 'offset': 65536, 'file': {'driver': 'file', 'filename': "
                        "'%s'}}",
                        path);
    struct block_user *user = block_test_open_user(t, json);
    struct block_node *file = block_user_node(user)->file->node;
    g_autofree char *data = g_malloc(65536);
    struct block_status status;

    memset(data, 1, 65536);
    g_assert_cmpint(co_block_status(user, 0, SIZE, &status), ==, 0);
    if (!(status.flags & BLOCK_STATUS_ZERO)) {
        g_test_skip("this file system has no holes");
    } else {
        g_assert(status.bytes == SIZE - 65536 && (status.flags & BLOCK_STATUS_EOF));
        g_assert(status.file == file && status.offset == 65536);
        g_assert_cmpint(co_block_write(user, 131072, 65536, BLOCK_BUFFER(data, 65536), 0), ==, 0);
        g_assert_cmpint(co_block_status(user, 512, SIZE, &status), ==, 0);
        g_assert(status.bytes == 131072 - 512 && (status.flags & BLOCK_STATUS_ZERO));
        g_assert(!(status.flags & (BLOCK_STATUS_EOF | BLOCK_STATUS_DATA)));
        g_assert_cmpint(co_block_status(user, 131072, SIZE, &status), ==, 0);
        g_assert(status.bytes == 65536 && (status.flags & BLOCK_STATUS_DATA) &&
                 status.offset == 196608);
        g_assert_cmpint(co_block_status(user, SIZE - 65536, 1, &status), ==, 0);
        g_assert(status.bytes == 0 && (status.flags & BLOCK_STATUS_EOF));
    }
    block_user_free(user);
    remove_file(path);
}

static void test_status(void)
{
    block_test_run(co_status);
}

static off_t size_of(const char *path)
{
    struct stat st;

    g_assert_cmpint(stat(path, &st), ==, 0);
    return st.st_size;
}

static void co_sizes(void *opaque)
{
    struct block_test *t = opaque;
    char *path = new_file();
    g_autofree char *json =
        g_strdup_printf("{'driver': 'file', 'filename': '%s', 'discard': 'unmap'}", path);
    struct block_user *user = block_test_open_user(t, json);
    struct block_node *node = block_user_node(user);
    g_autoptr(GError) error = NULL;
    g_autofree char *data = g_malloc(SIZE);
    int64_t before;

    memset(data, 1, SIZE);
    g_assert_cmpint(co_block_truncate(user, 2 * SIZE, true, QAPI_PREALLOC_MODE_FULL, 0, &error), ==,
                    0);
    g_assert(size_of(path) == 2 * SIZE && block_user_length(user) == 2 * SIZE);
    g_assert_cmpint(co_block_allocated_size(node), >=, SIZE);
    g_assert_cmpint(co_block_truncate(user, SIZE, true, QAPI_PREALLOC_MODE_FULL, 0, &error), ==,
                    -ENOTSUP);
    assert_error(&error, "Preallocation can't be used for shrinking files");
    g_assert_cmpint(co_block_truncate(user, 3 * SIZE, true, QAPI_PREALLOC_MODE_METADATA, 0, &error),
                    ==, -ENOTSUP);
    assert_error(&error, "Unsupported preallocation mode 'metadata'");
    g_assert_cmpint(co_block_truncate(user, UINT64_MAX, true, QAPI_PREALLOC_MODE_OFF, 0, &error),
                    ==, -EFBIG);
    g_clear_error(&error);
    g_assert_cmpint(co_block_truncate(user, SIZE, true, QAPI_PREALLOC_MODE_OFF, 0, &error), ==, 0);
    g_assert(size_of(path) == SIZE);
    /* Discards and unmapping zeroes give space back, where the file system can do that. */
    g_assert_cmpint(co_block_write(user, 0, SIZE, BLOCK_BUFFER(data, SIZE), 0), ==, 0);
    g_assert_cmpint(co_block_flush(user), ==, 0);
    before = co_block_allocated_size(node);
    g_assert_cmpint(co_block_write_zeroes(user, 0, SIZE / 2, BLOCK_MAY_UNMAP), ==, 0);
    g_assert_cmpint(co_block_discard(user, SIZE / 2, SIZE / 2), ==, 0);
    if (((struct file_state *)node->state)->discards_ok) {
        g_assert_cmpint(co_block_allocated_size(node), <, before);
    }
    g_assert_cmpint(co_block_read(user, 0, SIZE / 2, BLOCK_BUFFER(data, SIZE), 0), ==, 0);
    g_assert(block_buffer_is_zero(BLOCK_BUFFER(data, SIZE), SIZE / 2));
    g_assert(size_of(path) == SIZE);
    block_user_free(user);
    remove_file(path);
}

static void test_sizes(void)
{
    block_test_run(co_sizes);
}

/* A file that shrinks behind our back reads as zeroes; writes make it longer again. */
static void co_shrinks(void *opaque)
{
    struct block_test *t = opaque;

    for (size_t i = 0; i < G_N_ELEMENTS(modes); i++) {
        char *path = new_file();
        g_autofree char *json = g_strdup_printf(
            "{'driver': 'file', 'filename': '%s', 'aio': '%s', 'cache': {'direct': true}}", path,
            modes[i]);
        g_autoptr(GError) error = NULL;
        struct block_node *node = block_test_open(t, json, &error);
        g_autofree char *data = g_malloc(SIZE);
        struct block_user *user;

        if (!node) {
            g_assert(is_missing(error));
            remove_file(path);
            continue;
        }
        user = block_test_use(t, node);
        memset(data, 1, SIZE);
        g_assert_cmpint(truncate(path, 1000), ==, 0);
        g_assert_cmpint(co_block_read(user, 0, SIZE, BLOCK_BUFFER(data, SIZE), 0), ==, 0);
        g_assert(block_buffer_is_zero(BLOCK_BUFFER(data, SIZE), SIZE));
        memset(data, 1, SIZE);
        g_assert_cmpint(co_block_read(user, SIZE / 2, 3, BLOCK_BUFFER(data, 3), 0), ==, 0);
        g_assert(data[0] == 0 && data[2] == 0 && data[3] == 1);
        g_assert_cmpint(co_block_write(user, SIZE / 2, 10, BLOCK_BUFFER(data, 10), 0), ==, 0);
        g_assert_cmpint(size_of(path), >=, SIZE / 2 + 10);
        block_user_free(user);
        remove_file(path);
    }
}

static void test_shrinks(void)
{
    block_test_run(co_shrinks);
}

/* ---- New files ---- */

static void co_create(void *opaque)
{
    struct block_test *t = opaque;
    const struct block_driver *driver = block_driver_find("file");
    struct qapi_blockdev_create_options options = {.driver = QAPI_BLOCKDEV_DRIVER_FILE};
    g_autoptr(GError) error = NULL;
    char *path = new_file();
    g_autofree char *json = g_strdup_printf("{'driver': 'file', 'filename': '%s'}", path);
    struct block_user *user;

    options.u.file = (struct qapi_blockdev_create_options_file){
        .filename = path,
        .size = 12345,
        .has_preallocation = true,
        .preallocation = QAPI_PREALLOC_MODE_FULL,
    };
    g_assert(driver->co_create(t->graph, &options, &error));
    g_assert_no_error(error);
    g_assert_cmpint(size_of(path), ==, 12345);
    user = block_test_open_user(t, json);
    g_assert(block_user_set_perm(user, BLOCK_PERM_ALL, 0, &error));
    g_assert(!driver->co_create(t->graph, &options, &error));
    assert_error(&error, "Failed to get \"write\" lock");
    block_user_free(user);
    options.u.file.preallocation = QAPI_PREALLOC_MODE_METADATA;
    g_assert(!driver->co_create(t->graph, &options, &error));
    assert_error(&error, "Unsupported preallocation mode 'metadata'");
    options.u.file.filename = (char *)"no/such/folder/file";
    options.u.file.preallocation = QAPI_PREALLOC_MODE_OFF;
    g_assert(!driver->co_create(t->graph, &options, &error));
    assert_error(&error, "Could not create 'no/such/folder/file': No such file or directory");
    remove_file(path);
}

static void test_create(void)
{
    block_test_run(co_create);
}

int main(int argc, char **argv)
{
    char folder[] = "/var/tmp/nandu-block-XXXXXX"; /* /tmp may not have O_DIRECT */
    int result;

    g_test_init(&argc, &argv, NULL);
    if (!g_mkdtemp(folder) || g_chdir(folder) < 0) {
        g_printerr("%s: %s\n", folder, g_strerror(errno));
        return 1;
    }
    g_test_add_func("/block/file/data", test_data);
    g_test_add_func("/block/file/locks", test_locks);
    g_test_add_func("/block/file/auto-read-only", test_auto_read_only);
    g_test_add_func("/block/file/fixed", test_fixed);
    g_test_add_func("/block/file/reopen", test_reopen);
    g_test_add_func("/block/file/status", test_status);
    g_test_add_func("/block/file/sizes", test_sizes);
    g_test_add_func("/block/file/shrinks", test_shrinks);
    g_test_add_func("/block/file/create", test_create);
    result = g_test_run();
    g_rmdir(folder);
    return result;
}
