/* The graph: permissions, drained sections, opening by what people write, changes of size. */
#include <errno.h>
#include <glib/gstdio.h>
#include <unistd.h>

#include "block/drive.h"
#include "block_test.h"
#include "util/iothread.h"

enum { SIZE = 64 << 10 };

#define READ  BLOCK_PERM_CONSISTENT_READ
#define WRITE BLOCK_PERM_WRITE
#define ALL   BLOCK_PERM_ALL

/* ---- Permissions ---- */

static void assert_error(GError **error, const char *text)
{
    g_assert_nonnull(*error);
    if (!strstr((*error)->message, text)) {
        g_error("'%s' isn't in '%s'", text, (*error)->message);
    }
    g_clear_error(error);
}

static void co_conflicts(void *opaque)
{
    struct block_test *t = opaque;
    struct block_node *node = mem_open(t, "disk", SIZE, NULL, 0);
    struct block_user *a = block_user_new(t->graph, "a", NULL, NULL),
                      *b = block_user_new(t->graph, "b", NULL, NULL);
    g_autoptr(GError) error = NULL;
    unsigned perm, shared;

    g_assert(block_user_attach(a, node, READ | WRITE, READ, &error));
    g_assert(!block_user_attach(b, node, READ | WRITE, ALL, &error));
    assert_error(
        &error,
        "Permission conflict on node 'disk': permission 'write' is required by block device 'b'");
    g_assert(!block_user_attach(b, node, READ, ALL & ~WRITE, &error));
    assert_error(
        &error,
        "permission 'write' is required by block device 'a' (uses node 'disk' as 'root' child) and "
        "unshared by block device 'b'");
    g_assert(!block_user_node(b));
    g_assert(block_user_attach(b, node, READ, ALL, &error));
    g_assert(!block_user_set_perm(b, READ | WRITE, ALL, &error));
    assert_error(&error, "Permission conflict");
    g_assert(!block_user_set_perm(a, READ | WRITE, 0, &error));
    assert_error(&error, "permission 'consistent read' is required by block device 'b'");
    block_node_cumulative(node, &perm, &shared);
    g_assert(perm == (READ | WRITE) && shared == READ);
    block_user_detach(a);
    g_assert(block_user_set_perm(b, ALL, 0, &error));
    block_user_free(a);
    block_user_free(b);
    co_block_node_unref(node);
}

static void test_conflicts(void)
{
    block_test_run(co_conflicts);
}

/* What is needed at the top arrives at the bottom, and a refusal from there changes nothing. */
static void co_propagation(void *opaque)
{
    struct block_test *t = opaque;
    g_autoptr(GError) error = NULL;
    struct block_node *file = mem_open(t, "file", SIZE, NULL, 0), *top, *other;
    struct block_user *user = block_user_new(t->graph, "user", NULL, NULL);
    unsigned perm, shared;

    top = block_test_open(t, "{'driver': 'raw', 'node-name': 'top', 'file': 'file'}", &error);
    other = block_test_open(t, "{'driver': 'raw', 'node-name': 'other', 'file': 'file'}", &error);
    g_assert_no_error(error);
    g_assert_cmpuint(file->parents->len, ==, 2);
    g_assert(block_user_attach(user, top, READ | WRITE, READ, &error));
    block_node_cumulative(file, &perm, &shared);
    g_assert(perm == (READ | WRITE) && shared == READ);
    {
        struct block_user *second = block_user_new(t->graph, "second", NULL, NULL);

        g_assert(!block_user_attach(second, other, READ | WRITE, ALL, &error));
        assert_error(
            &error,
            "Permission conflict on node 'file': permission 'write' is required by node 'other' (uses "
            "node 'file' as 'file' child) and unshared by node 'top'");
        g_assert_cmpuint(other->parents->len, ==, 0);
        g_assert_cmpuint(other->file->perm, ==, 0);
        g_assert(block_user_attach(second, other, READ, ALL, &error));
        block_user_free(second);
    }
    block_user_detach(user);
    block_node_cumulative(file, &perm, &shared);
    g_assert(perm == 0 && shared == ALL);
    file->read_only = true;
    g_assert(!block_user_attach(user, top, WRITE, ALL, &error));
    assert_error(&error, "Block node 'file' is read-only");
    block_user_free(user);
    co_block_node_unref(top);
    co_block_node_unref(other);
    co_block_node_unref(file);
}

static void test_propagation(void)
{
    block_test_run(co_propagation);
}

static void co_replace(void *opaque)
{
    struct block_test *t = opaque;
    g_autoptr(GError) error = NULL;
    struct block_node *one = mem_open(t, "one", SIZE, NULL, 0),
                      *two = mem_open(t, "two", SIZE, NULL, 0);
    struct block_node *top =
        block_test_open(t, "{'driver': 'raw', 'node-name': 'top', 'file': 'one'}", &error);
    struct block_user *user = block_user_new(t->graph, "user", NULL, NULL);
    char data[16] = "in the second";

    g_assert(block_user_attach(user, top, READ | WRITE, ALL, &error));
    co_block_drain_begin(t->graph, NULL);
    g_assert(!block_edge_replace(top->file, top, &error));
    assert_error(&error, "would create a cycle");
    two->read_only = true;
    g_assert(!block_edge_replace(top->file, two, &error));
    assert_error(&error, "Block node 'two' is read-only");
    g_assert(top->file->node == one && one->parents->len == 1 && two->parents->len == 0 &&
             two->refs == 1);
    two->read_only = false;
    g_assert(block_edge_replace(top->file, two, &error));
    block_drain_end(t->graph, NULL);
    g_assert(top->file->node == two && one->parents->len == 0 && one->refs == 1 && two->refs == 2);
    g_assert_cmpint(co_block_write(user, 0, 16, BLOCK_BUFFER(data, 16), 0), ==, 0);
    g_assert_cmpstr((char *)((struct mem_state *)two->state)->data, ==, "in the second");
    block_user_free(user);
    co_block_node_unref(top);
    co_block_node_unref(one);
    co_block_node_unref(two);
}

static void test_replace(void)
{
    block_test_run(co_replace);
}

/* ---- Drained sections, with requests of two other threads ---- */

struct load {
    struct block_user *user;
    struct iothread *thread;
    _Atomic bool stop;
    _Atomic unsigned running;
    _Atomic unsigned long requests;
};

static void co_load(void *opaque)
{
    struct load *load = opaque;
    char data[512];

    while (!load->stop) {
        g_assert_cmpint(co_block_read(load->user, 0, 512, BLOCK_BUFFER(data, 512), 0), ==, 0);
        load->requests++;
    }
    load->running--;
}

static void start_load(void *opaque)
{
    struct load *load = opaque;

    coroutine_start(iothread_loop(load->thread), co_load, load);
}

static void co_drain(void *opaque)
{
    enum { USERS = 3, EACH = 4, SECTIONS = 200 };
    struct block_test *t = opaque;
    struct block_node *node = mem_open(t, "disk", SIZE, NULL, 0);
    struct mem_state *s = node->state;
    struct load loads[USERS];
    unsigned long total = 0;

    s->slow = true;
    for (int i = 0; i < USERS; i++) {
        loads[i] = (struct load){block_user_new(t->graph, "load", NULL, NULL)};
        g_assert(block_user_attach(loads[i].user, node, READ, ALL, NULL));
        loads[i].thread = iothread_new("load", t->context.log, NULL);
        loads[i].running = EACH;
        for (int n = 0; n < EACH; n++) {
            event_loop_post(iothread_loop(loads[i].thread), start_load, &loads[i]);
        }
    }
    for (int i = 0; i < SECTIONS; i++) {
        unsigned reads;

        co_block_drain_begin(t->graph, i % 2 ? node : NULL);
        if (i % 3 == 0) {
            co_block_drain_begin(t->graph, NULL);
        }
        g_assert_cmpuint(s->under_way, ==, 0);
        reads = s->reads;
        g_usleep(100);
        g_assert_cmpuint(s->reads, ==, reads);
        if (i % 3 == 0) {
            block_drain_end(t->graph, NULL);
            g_assert_cmpuint(s->reads, ==, reads);
        }
        block_drain_end(t->graph, i % 2 ? node : NULL);
        co_sleep(200000);
    }
    for (int i = 0; i < USERS; i++) {
        loads[i].stop = true;
        while (loads[i].running) {
            co_sleep(100000);
        }
        total += loads[i].requests;
        iothread_free(loads[i].thread);
        block_user_free(loads[i].user);
    }
    g_assert_cmpuint(total, >, SECTIONS);
    co_block_node_unref(node);
}

static void test_drain(void)
{
    block_test_run(co_drain);
}

struct told {
    int begins, ends, resizes;
};

static void told_begin(void *opaque)
{
    ((struct told *)opaque)->begins++;
}

static void told_end(void *opaque)
{
    ((struct told *)opaque)->ends++;
}

static void told_resize(void *opaque)
{
    ((struct told *)opaque)->resizes++;
}

static const struct block_user_ops told_ops = {
    .resized = told_resize,
    .drain_begin = told_begin,
    .drain_end = told_end,
};

/*
 * Only users above the node; one that comes in the middle is held, too; one may go in the middle.
 */
static void co_who_is_drained(void *opaque)
{
    struct block_test *t = opaque;
    struct block_node *one = mem_open(t, "one", SIZE, NULL, 0),
                      *two = mem_open(t, "two", SIZE, NULL, 0);
    struct told told[3] = {0};
    struct block_user *users[3];

    for (int i = 0; i < 3; i++) {
        users[i] = block_user_new(t->graph, NULL, &told_ops, &told[i]);
    }
    block_user_attach(users[0], one, READ, ALL, NULL);
    block_user_attach(users[1], two, READ, ALL, NULL);
    co_block_drain_begin(t->graph, one);
    g_assert(told[0].begins == 1 && told[1].begins == 0);
    block_user_attach(users[2], one, READ, ALL, NULL);
    g_assert_cmpint(told[2].begins, ==, 1);
    block_user_free(users[0]);
    block_drain_end(t->graph, one);
    g_assert(told[0].ends == 0 && told[1].begins == 0 && told[2].ends == 1);
    block_user_free(users[1]);
    block_user_free(users[2]);
    co_block_node_unref(one);
    co_block_node_unref(two);
}

static void test_who_is_drained(void)
{
    block_test_run(co_who_is_drained);
}

/* ---- Opening ---- */

static void expect(struct block_test *t, const char *filename, const char *options, unsigned flags,
                   const char *failure, const char *driver, const char *child)
{
    g_autoptr(json_object) value = options ? json_parse(options, NULL) : NULL;
    g_autoptr(GError) error = NULL;
    struct block_node *node = co_block_open_loose(t->graph, filename, value, flags, &error);

    if (failure) {
        g_assert_null(node);
        assert_error(&error, failure);
        return;
    }
    g_assert_no_error(error);
    g_assert_cmpstr(node->driver->name, ==, driver);
    g_assert_cmpstr(node->file ? node->file->node->driver->name : NULL, ==, child);
    co_block_node_unref(node);
}

static void co_loose(void *opaque)
{
    struct block_test *t = opaque;
    g_autofree char *path = NULL, *with_protocol = NULL, *json = NULL, *colon = NULL;
    int fd = g_file_open_tmp("disk-XXXXXX", &path, NULL);

    g_assert_cmpint(fd, >=, 0);
    close(fd);
    with_protocol = g_strconcat("file:", path, NULL);
    json = g_strdup_printf(
        "json:{\"driver\": \"raw\", \"file\": {\"driver\": \"file\", \"filename\": \"%s\"}}", path);
    colon = g_strconcat(path, ":1", NULL);

    expect(t, path, NULL, BLOCK_OPEN_PROBE, NULL, "raw", "file");
    expect(t, path, NULL, 0, "Parameter 'driver' is missing", NULL, NULL);
    expect(t, path, "{'driver': 'raw'}", 0, NULL, "raw", "file");
    expect(t, path, "{'driver': 'file'}", 0, NULL, "file", NULL);
    expect(t, with_protocol, "{'driver': 'raw'}", 0, NULL, "raw", "file");
    expect(t, with_protocol, "{'driver': 'file'}", 0, NULL, "file", NULL);
    expect(t, json, NULL, 0, NULL, "raw", "file");
    expect(t, json, "{'driver': 'null-co'}", 0, "Parameter 'file' is unexpected", NULL, NULL);
    expect(t, colon, NULL, BLOCK_OPEN_PROBE, "No such file or directory", NULL, NULL);
    expect(t, "json:[]", NULL, 0, "JSON options are an object", NULL, NULL);
    expect(t, "json:{", NULL, 0, "Could not parse the JSON options", NULL, NULL);
    expect(t, "null-co://", NULL, BLOCK_OPEN_PROBE, NULL, "raw", "null-co");
    expect(t, "null-co:x", NULL, BLOCK_OPEN_PROBE, "isn't of the form null-co://", NULL, NULL);
    expect(t, "what:ever", NULL, BLOCK_OPEN_PROBE, "Unknown protocol 'what'", NULL, NULL);
    expect(t, path, "{'driver': 'what'}", 0, "Unknown driver 'what'", NULL, NULL);
    expect(t, NULL, NULL, BLOCK_OPEN_PROBE, "A block device must be specified for \"file\"", NULL,
           NULL);
    expect(t, path, "{'file.filename': 'x'}", 0, "Cannot specify 'file' and 'file.filename'", NULL,
           NULL);
    expect(t, path, "{'file': 'x', 'file.locking': 'off'}", 0,
           "is given as a value and as a structure", NULL, NULL);
    expect(
        t, path,
        "{'driver': 'raw', 'file.locking': 'off', 'cache': {'direct': false}, 'read-only': true}",
        0, NULL, "raw", "file");
    expect(t, NULL, "{'driver': 'raw', 'file.driver': 'null-co', 'file.size': '512'}", 0, NULL,
           "raw", "null-co");
    expect(t, NULL, "{'driver': 'raw', 'file.driver': 'null-co', 'file.size': 512}", 0, NULL, "raw",
           "null-co");
    g_remove(path);
}

static void test_loose(void)
{
    block_test_run(co_loose);
}

/* What the core guessed to be raw can't be made to look like something else. */
static void co_guessed(void *opaque)
{
    struct block_test *t = opaque;
    g_autoptr(GError) error = NULL;
    g_autoptr(json_object) options = json_parse("{'file': 'mem', 'node-name': 'guess'}", NULL);
    struct block_node *mem = mem_open(t, "mem", SIZE, NULL, 0);
    struct block_node *node;
    struct block_user *user;
    uint8_t header[8] = {'Q', 'F', 'I', 0xfb, 0, 0, 0, 3};

    if (!block_driver_find("qcow2")) {
        g_test_skip("there is nothing else that it could look like");
        co_block_node_unref(mem);
        return;
    }
    node = co_block_open_loose(t->graph, NULL, options, BLOCK_OPEN_PROBE, &error);
    g_assert_no_error(error);
    g_assert_cmpstr(node->driver->name, ==, "raw");
    user = block_test_use(t, node);
    g_assert_cmpint(co_block_write(user, 0, 8, BLOCK_BUFFER(header, 8), 0), ==, -EPERM);
    g_assert_cmpint(co_block_write(user, 0, 3, BLOCK_BUFFER(header, 3), 0), ==, 0);
    g_assert_cmpint(co_block_write(user, 3, 1, BLOCK_BUFFER(header + 3, 1), 0), ==, 0);
    g_assert_cmpint(co_block_write(user, 4, 4, BLOCK_BUFFER(header + 4, 4), 0), ==, -EPERM);
    g_assert_cmpint(co_block_write(user, 512, 8, BLOCK_BUFFER(header, 8), 0), ==, 0);
    block_user_free(user);
    co_block_node_unref(mem);
}

static void test_guessed(void)
{
    block_test_run(co_guessed);
}

/* ---- raw: a part of another node ---- */

static void co_part(void *opaque)
{
    struct block_test *t = opaque;
    struct block_node *mem =
        mem_open(t, "mem", SIZE, &(struct block_limits){512, 512, 0, 0, 0, 0, 0, 0, 0}, 0);
    struct block_user *user =
        block_test_open_user(t, "{'driver': 'raw', 'file': 'mem', 'offset': 1000, 'size': 3000}");
    const uint8_t *data = ((struct mem_state *)mem->state)->data;
    char text[3000];

    memset(text, 'x', sizeof(text));
    g_assert_cmpuint(block_user_length(user), ==, 3000);
    g_assert_cmpint(co_block_write(user, 0, 3000, BLOCK_BUFFER(text, 3000), 0), ==, 0);
    g_assert(data[999] == 0 && data[1000] == 'x' && data[3999] == 'x' && data[4000] == 0);
    g_assert_cmpint(co_block_write(user, 2999, 2, BLOCK_BUFFER(text, 2), 0), ==, -EIO);
    g_assert_cmpint(co_block_write_zeroes(user, 1, 2998, 0), ==, 0);
    g_assert(data[1000] == 'x' && data[1001] == 0 && data[3998] == 0 && data[3999] == 'x');
    block_user_free(user);
    co_block_node_unref(mem);
}

static void test_part(void)
{
    block_test_run(co_part);
}

/* ---- Drives ---- */

static void co_drives(void *opaque)
{
    struct block_test *t = opaque;
    g_autoptr(GError) error = NULL;
    g_autoptr(json_object) options =
        json_parse("{'file': 'null-co://', 'format': 'raw', 'cache': 'writethrough', "
                   "'id': 'd', 'werror': 'stop'}",
                   NULL);
    const struct block_drive *drive =
        co_block_drive_add(t->graph, options, BLOCK_IF_VIRTIO, &error);
    struct block_user *user = block_user_new(t->graph, NULL, NULL, NULL);
    struct block_user *second = block_user_new(t->graph, "own", NULL, NULL);

    g_assert_no_error(error);
    g_assert(drive->interface == BLOCK_IF_VIRTIO && drive->unit == 0);
    g_assert(block_node_find(t->graph, "d", NULL) == drive->node);
    g_assert(block_user_attach(user, drive->node, READ, ALL, &error));
    g_assert(block_user_attach(second, drive->node, READ, ALL, &error));
    g_assert_cmpstr(block_user_name(user), ==, "d");
    g_assert_cmpstr(block_user_name(second), ==, "own");
    g_assert(!block_user_write_cache(user) && block_user_write_cache(second));
    g_assert_cmpint(block_user_on_error(user, false), ==, QAPI_BLOCKDEV_ON_ERROR_STOP);
    g_assert_cmpint(block_user_on_error(user, true), ==, QAPI_BLOCKDEV_ON_ERROR_AUTO);
    g_assert(!co_block_drive_delete(t->graph, "d", &error));
    assert_error(&error, "Device 'd' is in use");
    block_user_free(user);
    block_user_free(second);
    g_assert(co_block_drive_delete(t->graph, "d", &error));
    g_assert(!co_block_drive_delete(t->graph, "d", &error));
    assert_error(&error, "Device 'd' not found");
}

static void test_drives(void)
{
    block_test_run(co_drives);
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    g_test_add_func("/block/graph/conflicts", test_conflicts);
    g_test_add_func("/block/graph/propagation", test_propagation);
    g_test_add_func("/block/graph/replace", test_replace);
    g_test_add_func("/block/graph/drain", test_drain);
    g_test_add_func("/block/graph/who-is-drained", test_who_is_drained);
    g_test_add_func("/block/graph/loose", test_loose);
    g_test_add_func("/block/graph/guessed", test_guessed);
    g_test_add_func("/block/graph/part", test_part);
    g_test_add_func("/block/graph/drives", test_drives);
    return g_test_run();
}
