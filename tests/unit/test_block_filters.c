/* Nodes for tests and copies: blkdebug, blkverify, blklogwrites, quorum, preallocate, compress. */
#include <glib/gstdio.h>
#include <sys/stat.h>
#include <unistd.h>

#include "block_test.h"
#include "qapi/command.h"

enum { SIZE = 1 << 20 };

static struct block_user *use(struct block_test *t, const char *json)
{
    return block_test_open_user(t, json);
}

static int co_write_byte(struct block_user *user, uint64_t offset, uint64_t bytes, uint8_t byte)
{
    g_autofree uint8_t *data = g_malloc(bytes);

    memset(data, byte, bytes);
    return co_block_write(user, offset, bytes, BLOCK_BUFFER(data, bytes), 0);
}

static int co_read_byte(struct block_user *user, uint64_t offset, uint8_t *byte)
{
    return co_block_read(user, offset, 1, BLOCK_BUFFER(byte, 1), 0);
}

static void check_byte(struct block_user *user, uint64_t offset, uint8_t expected)
{
    uint8_t byte = 0xee;

    g_assert_cmpint(co_read_byte(user, offset, &byte), ==, 0);
    g_assert_cmpuint(byte, ==, expected);
}

static void fails_to_open(struct block_test *t, const char *json, const char *glob)
{
    g_autoptr(GError) error = NULL;

    g_assert_null(block_test_open(t, json, &error));
    if (!g_pattern_match_simple(glob, error->message)) {
        g_error("'%s' is not '%s'", error->message, glob);
    }
}

static void co_end(struct block_user *user)
{
    struct block_node *node = block_node_ref(block_user_node(user));

    block_user_free(user);
    co_block_node_unref(node);
}

/* ---- blkdebug ---- */

static void co_blkdebug_errors(void *opaque)
{
    struct block_test *t = opaque;
    struct block_node *mem = mem_open(t, "mem", SIZE, NULL, 0);
    struct block_user *user = use(
        t,
        "{\"driver\": \"blkdebug\", \"image\": \"mem\","
        " \"inject-error\": [{\"event\": \"none\", \"iotype\": \"write\", \"errno\": 28, \"sector\": 8},"
        "                    {\"event\": \"none\", \"iotype\": \"read\", \"once\": true},"
        "                    {\"event\": \"flush_to_disk\", \"iotype\": \"flush\", \"immediately\": true}]}");
    uint8_t byte;

    g_assert_cmpint(co_write_byte(user, 0, 4096, 1), ==, 0);
    g_assert_cmpint(co_write_byte(user, 4000, 200, 1), ==, -ENOSPC);
    g_assert_cmpint(co_read_byte(user, 0, &byte), ==, -EIO);
    check_byte(user, 0, 1);
    g_assert_cmpint(co_block_flush(user), ==, -EIO);
    co_end(user);
    co_block_node_unref(mem);
}

/* The second write sets a state, in which the third one fails. */
static void co_blkdebug_states(void *opaque)
{
    struct block_test *t = opaque;
    struct block_node *mem = mem_open(t, "mem", SIZE, NULL, 0);
    g_autofree char *path = NULL, *json = NULL;
    struct block_user *user;
    int fd = g_file_open_tmp("nandu-rules-XXXXXX", &path, NULL);

    close(fd);
    g_file_set_contents(
        path,
        "# rules\n[set-state]\nstate = \"1\"\nevent = \"pwritev\"\nnew_state = \"2\"\n\n"
        "[set-state \"x\"]\nstate = \"2\"\nevent = \"pwritev\"\nnew_state = \"3\"\n"
        "[inject-error]\nstate = \"3\"\nevent = \"pwritev\"\nerrno = \"5\"\nonce = \"on\"\n",
        -1, NULL);
    json =
        g_strdup_printf("{\"driver\": \"blkdebug\", \"image\": \"mem\", \"config\": \"%s\"}", path);
    user = use(t, json);
    g_assert_cmpint(co_write_byte(user, 0, 512, 1), ==, 0);
    g_assert_cmpint(co_write_byte(user, 0, 512, 1), ==, 0);
    g_assert_cmpint(co_write_byte(user, 0, 512, 1), ==, -EIO);
    g_assert_cmpint(co_write_byte(user, 0, 512, 1), ==, 0);
    co_end(user);
    g_file_set_contents(path, "[inject-error]\nevent = \"nonsense\"\n", -1, NULL);
    fails_to_open(t, json, "*nonsense*");
    g_file_set_contents(path, "[inject-error]\nevent\n", -1, NULL);
    fails_to_open(t, json, "*KEY*");
    g_file_set_contents(path, "event = \"none\"\n", -1, NULL);
    fails_to_open(t, json, "*:1:*isn't in a group*");
    unlink(path);
    co_block_node_unref(mem);
}

static void co_blkdebug_limits(void *opaque)
{
    struct block_test *t = opaque;
    struct block_node *mem = mem_open(t, "mem", SIZE, NULL, 0);
    const struct mem_state *s = mem->state;
    struct block_user *user =
        use(t, "{\"driver\": \"blkdebug\", \"image\": \"mem\", \"align\": 4096,"
               " \"max-transfer\": 8192}");

    g_assert_cmpint(co_write_byte(user, 100, 10, 7), ==, 0);
    g_assert_cmpuint(s->reads, >, 0);
    g_assert_cmpint(co_write_byte(user, 0, 32768, 8), ==, 0);
    g_assert_cmpuint(s->writes, ==, 5);
    co_end(user);
    fails_to_open(t, "{\"driver\": \"blkdebug\", \"image\": \"mem\", \"align\": 3}", "*align 3*");
    fails_to_open(
        t, "{\"driver\": \"blkdebug\", \"image\": \"mem\", \"align\": 4096, \"max-transfer\": 512}",
        "*max-transfer 512*");
    co_block_node_unref(mem);
}

struct writer {
    struct block_user *user;
    bool done;
};

static void co_writer(void *opaque)
{
    struct writer *w = opaque;

    g_assert_cmpint(co_write_byte(w->user, 0, 512, 9), ==, 0);
    w->done = true;
}

static void co_blkdebug_break(void *opaque)
{
    struct block_test *t = opaque;
    struct block_node *mem = mem_open(t, "mem", SIZE, NULL, 0), *node;
    struct block_user *user =
        use(t, "{\"driver\": \"raw\", \"file\": {\"driver\": \"blkdebug\", \"image\": \"mem\"}}");
    struct writer w = {.user = user};
    const struct block_debug_ops *ops;
    g_autoptr(GError) error = NULL;

    node = block_debug_node(block_user_node(user));
    g_assert_nonnull(node);
    ops = node->driver->debug;
    g_assert_false(ops->set_break(node, "nonsense", "A", &error));
    g_assert_true(ops->set_break(node, "write_aio", "A", NULL));
    coroutine_start(coroutine_loop(coroutine_self()), co_writer, &w);
    g_assert_false(w.done);
    g_assert_true(ops->is_suspended(node, "A"));
    g_assert_false(ops->resume(node, "B"));
    g_assert_true(ops->resume(node, "A"));
    while (!w.done) {
        co_sleep(1000);
    }
    g_assert_false(ops->is_suspended(node, "A"));
    co_end(user);
    co_block_node_unref(mem);
}

/* ---- blkverify ---- */

static void co_blkverify(void *opaque)
{
    struct block_test *t = opaque;
    struct block_node *test = mem_open(t, "test", SIZE, NULL, 0),
                      *raw = mem_open(t, "raw", SIZE, NULL, 0);
    struct block_user *user =
        use(t, "{\"driver\": \"blkverify\", \"test\": \"test\", \"raw\": \"raw\"}");
    uint8_t byte;

    g_assert_cmpint(co_write_byte(user, 1000, 5000, 3), ==, 0);
    g_assert_cmpint(co_block_write_zeroes(user, 2000, 1000, 0), ==, 0);
    check_byte(user, 1000, 3);
    check_byte(user, 2500, 0);
    ((struct mem_state *)test->state)->data[1234] ^= 1;
    g_assert_cmpint(co_read_byte(user, 1234, &byte), ==, -EIO);
    co_end(user);
    co_block_node_unref(test);
    co_block_node_unref(raw);
}

/* ---- quorum ---- */

struct sink {
    struct qapi_event_sink sink;
    unsigned failures, bad;
};

static void emit(struct qapi_event_sink *sink, const struct qapi_event *event, json_object *data)
{
    struct sink *s = (struct sink *)sink;

    s->failures += g_str_equal(event->name, "QUORUM_FAILURE");
    s->bad += g_str_equal(event->name, "QUORUM_REPORT_BAD");
    json_object_put(data);
}

static void co_quorum(void *opaque)
{
    struct block_test *t = opaque;
    struct block_node *mem[3];
    struct block_user *user;
    struct sink sink = {.sink.emit = emit};
    uint8_t byte;

    block_graph_set_events(t->graph, &sink.sink);
    for (unsigned i = 0; i < 3; i++) {
        g_autofree char *name = g_strdup_printf("m%u", i);

        mem[i] = mem_open(t, name, SIZE, NULL, 0);
        ((struct mem_state *)mem[i]->state)->slow = true;
    }
    user = use(
        t, "{\"driver\": \"quorum\", \"vote-threshold\": 2, \"children\": [\"m0\", \"m1\", \"m2\"],"
           " \"rewrite-corrupted\": true, \"node-name\": \"q\"}");
    g_assert_cmpint(co_write_byte(user, 0, 70000, 4), ==, 0);
    check_byte(user, 69999, 4);
    g_assert_cmpuint(sink.bad, ==, 0);
    ((struct mem_state *)mem[1]->state)->data[5] = 9;
    check_byte(user, 5, 4);
    g_assert_cmpuint(sink.bad, ==, 1);
    g_assert_cmpuint(((struct mem_state *)mem[1]->state)->data[5], ==, 4); /* written again */
    ((struct mem_state *)mem[1]->state)->data[6] = 8;
    ((struct mem_state *)mem[2]->state)->data[6] = 7;
    g_assert_cmpint(co_read_byte(user, 6, &byte), ==, -EIO);
    g_assert_cmpuint(sink.failures, ==, 1);
    co_end(user);
    user = use(t, "{\"driver\": \"quorum\", \"vote-threshold\": 1, \"children\": [\"m0\", \"m1\"],"
                  " \"read-pattern\": \"fifo\"}");
    check_byte(user, 6, 4);
    co_end(user);
    user = use(
        t,
        "{\"driver\": \"quorum\", \"vote-threshold\": 2, \"children\": [\"m0\", \"m1\"], \"blkverify\": true}");
    g_assert_cmpint(co_read_byte(user, 6, &byte), ==, -EIO);
    check_byte(user, 0, 4);
    co_end(user);
    fails_to_open(t,
                  "{\"driver\": \"quorum\", \"vote-threshold\": 3, \"children\": [\"m0\", \"m1\"]}",
                  "*threshold*");
    for (unsigned i = 0; i < 3; i++) {
        co_block_node_unref(mem[i]);
    }
    block_graph_set_events(t->graph, NULL);
}

/* ---- blklogwrites ---- */

static uint64_t number_at(const struct block_node *mem, uint64_t offset)
{
    uint64_t number;

    memcpy(&number, ((struct mem_state *)mem->state)->data + offset, sizeof(number));
    return GUINT64_FROM_LE(number);
}

static void co_blklogwrites(void *opaque)
{
    struct block_test *t = opaque;
    struct block_node *mem = mem_open(t, "mem", SIZE, NULL, 0),
                      *log = mem_open(t, "log", SIZE, NULL, 0);
    struct block_user *user =
        use(t, "{\"driver\": \"blklogwrites\", \"file\": \"mem\", \"log\": \"log\"}");

    g_assert_cmpint(co_write_byte(user, 1024, 1024, 5), ==, 0);
    g_assert_cmpint(co_block_flush(user), ==, 0);
    co_end(user);
    g_assert_cmphex(number_at(log, 0), ==, 0x6a736677736872);
    g_assert_cmpuint(number_at(log, 8), ==, 1);
    g_assert_cmpuint(number_at(log, 16), ==, 2);
    g_assert_cmpuint(number_at(log, 512), ==, 2); /* sector, how many, flags */
    g_assert_cmpuint(number_at(log, 520), ==, 2);
    g_assert_cmpuint(number_at(log, 528), ==, 0);
    g_assert_cmphex(number_at(log, 1024), ==, 0x0505050505050505);
    g_assert_cmpuint(number_at(log, 4 * 512 + 16), ==, 1); /* the flush */
    user = use(
        t,
        "{\"driver\": \"blklogwrites\", \"file\": \"mem\", \"log\": \"log\", \"log-append\": true}");
    g_assert_cmpint(co_block_discard(user, 0, 512), ==, 0);
    g_assert_cmpint(co_write_byte(user, 512, 512, 6), ==, 0);
    g_assert_cmpint(co_block_flush(user), ==, 0);
    co_end(user);
    g_assert_cmpuint(number_at(log, 16), >=, 4);
    fails_to_open(
        t,
        "{\"driver\": \"blklogwrites\", \"file\": \"mem\", \"log\": \"log\", \"log-sector-size\": 100}",
        "*sector size 100*");
    co_block_node_unref(mem);
    co_block_node_unref(log);
}

/* ---- preallocate, compress: on files ---- */

struct file_test {
    struct block_test t;
    char *path;
};

static uint64_t size_of(const char *path)
{
    struct stat st;

    g_assert_cmpint(stat(path, &st), ==, 0);
    return (uint64_t)st.st_size;
}

static void co_preallocate(void *opaque)
{
    struct file_test *f = opaque;
    g_autofree char *json =
        g_strdup_printf("{\"driver\": \"preallocate\", \"prealloc-size\": 1048576,"
                        " \"file\": {\"driver\": \"file\", \"filename\": \"%s\"}}",
                        f->path);
    struct block_user *user = use(&f->t, json);
    struct block_edge *edge;

    /* A user can't write beyond the end; a format above would. */
    g_assert_cmpuint(block_user_length(user), ==, 0);
    edge = block_user_node(user)->children->pdata[0];
    g_assert_cmpuint(edge->perm & BLOCK_PERM_RESIZE, !=, 0);
    g_assert_cmpint(co_node_write(block_user_node(user), 0, 5, BLOCK_BUFFER("hello", 5), 0), ==, 0);
    g_assert_cmpuint(block_user_length(user), ==, 5);
    g_assert_cmpuint(size_of(f->path), >=, 1 << 20);
    check_byte(user, 4, 'o');
    co_end(user);
    g_assert_cmpuint(size_of(f->path), ==, 5);
}

static void co_compress(void *opaque)
{
    struct file_test *f = opaque;
    g_autofree char *create = g_strdup_printf(
        "{\"driver\": \"qcow2\", \"size\": 1048576, \"file\": {\"driver\": \"file\","
        " \"filename\": \"%s\"}}",
        f->path);
    g_autofree char *json =
        g_strdup_printf("{\"driver\": \"compress\", \"file\": {\"driver\": \"qcow2\", \"file\":"
                        " {\"driver\": \"file\", \"filename\": \"%s\"}}}",
                        f->path);
    g_autoptr(json_object) value = json_parse(create, NULL);
    struct qapi_blockdev_create_options options;
    struct block_status status;
    struct block_user *user;
    g_autoptr(GError) error = NULL;

    qapi_from_json(&qapi_type_blockdev_create_options, value, &options, &error);
    g_assert_no_error(error);
    block_driver_find("qcow2")->co_create(f->t.graph, &options, &error);
    g_assert_no_error(error);
    qapi_clear(&qapi_type_blockdev_create_options, &options);
    user = use(&f->t, json);
    g_assert_cmpint(co_write_byte(user, 65536, 65536, 7), ==, 0);
    g_assert_cmpint(co_write_byte(user, 200000, 100, 8), ==, 0);
    check_byte(user, 70000, 7);
    check_byte(user, 200050, 8);
    check_byte(user, 200100, 0);
    g_assert_cmpint(co_block_status(user, 65536, 65536, &status), ==, 0);
    g_assert_cmpuint(status.flags & BLOCK_STATUS_COMPRESSED, !=, 0);
    co_end(user);
}

static void run_on_file(event_fn *fn)
{
    struct file_test f;
    int fd;

    block_test_init(&f.t);
    fd = g_file_open_tmp("nandu-filter-XXXXXX", &f.path, NULL);
    close(fd);
    block_run(f.t.context.loop, fn, &f);
    block_test_clear(&f.t);
    unlink(f.path);
    g_free(f.path);
}

static void test_blkdebug(void)
{
    block_test_run(co_blkdebug_errors);
    block_test_run(co_blkdebug_states);
    block_test_run(co_blkdebug_limits);
    block_test_run(co_blkdebug_break);
}

static void test_blkverify(void)
{
    block_test_run(co_blkverify);
}

static void test_quorum(void)
{
    block_test_run(co_quorum);
}

static void test_blklogwrites(void)
{
    block_test_run(co_blklogwrites);
}

static void test_preallocate(void)
{
    run_on_file(co_preallocate);
}

static void test_compress(void)
{
    run_on_file(co_compress);
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    g_test_add_func("/filters/blkdebug", test_blkdebug);
    g_test_add_func("/filters/blkverify", test_blkverify);
    g_test_add_func("/filters/quorum", test_quorum);
    g_test_add_func("/filters/blklogwrites", test_blklogwrites);
    g_test_add_func("/filters/preallocate", test_preallocate);
    g_test_add_func("/filters/compress", test_compress);
    return g_test_run();
}
