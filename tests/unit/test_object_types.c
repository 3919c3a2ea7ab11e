/* The objects that object-add makes: their properties against the schema, memory, random bytes,
 * throttling, threads, commands. */
#include <errno.h>
#include <fcntl.h>
#include <glib.h>
#include <glib/gstdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "memory/backend.h"
#include "object/iothread.h"
#include "object/object.h"
#include "object/rng.h"
#include "object/throttle.h"
#include "qapi/error.h"
#include "qapi/qapi_commands.h"
#include "util/clock.h"
#include "util/event_loop.h"
#include "util/fdset.h"
#include "util/log.h"

struct fixture {
    struct object_context context;
    struct object *root;
    char *folder;
};

static void set_up(struct fixture *f, const void *data)
{
    g_autoptr(GError) error = NULL;

    f->context.loop = event_loop_new("test", &error);
    g_assert_no_error(error);
    f->context.clocks = clocks_new();
    f->context.log = log_new("test");
    f->context.fdsets = fdsets_new();
    f->root = object_root_new(&f->context);
    f->folder = g_dir_make_tmp("object-XXXXXX", &error);
    g_assert_no_error(error);
}

static void tear_down(struct fixture *f, const void *data)
{
    object_unref(f->root);
    fdsets_free(f->context.fdsets);
    log_free(f->context.log);
    clocks_unref(f->context.clocks);
    event_loop_unref(f->context.loop);
    g_rmdir(f->folder);
    g_free(f->folder);
}

static struct object *create(struct fixture *f, const char *options, GError **error)
{
    g_autoptr(json_object) json = json_tokener_parse(options);

    g_assert_nonnull(json);
    return object_create_user(f->root, json, false, error);
}

static struct object *must_create(struct fixture *f, const char *options)
{
    g_autoptr(GError) error = NULL;
    struct object *obj = create(f, options, &error);

    g_assert_no_error(error);
    return obj;
}

static void fails_like(struct fixture *f, const char *options, const char *pattern)
{
    g_autoptr(GError) error = NULL;

    g_assert_null(create(f, options, &error));
    g_assert_nonnull(error);
    if (!g_pattern_match_simple(pattern, error->message)) {
        g_error("'%s' isn't like '%s'", error->message, pattern);
    }
}

static bool set_json(struct object *obj, const char *name, const char *value, GError **error)
{
    g_autoptr(json_object) json = json_tokener_parse(value);

    return object_set(obj, name, json, false, error);
}

/* ---- Property tables and the schema ---- */

static void compare_branch(const struct object_type *type, const struct qapi_type *branch)
{
    g_autoptr(GPtrArray) props = object_type_properties(type);

    for (uint32_t i = 0; branch && i < branch->n_members; i++) {
        const struct qapi_member *member = &branch->members[i];
        const struct property *prop = object_type_property(type, member->name);

        if (!prop || !property_is_settable(prop) || prop->type != member->type ||
            !!(prop->flags & PROPERTY_REQUIRED) == member->optional) {
            g_error("'%s' of %s isn't the property that the schema describes", member->name,
                    type->name);
        }
    }
    for (guint i = 0; i < props->len; i++) {
        const struct property *prop = g_ptr_array_index(props, i);
        bool found = !property_is_settable(prop);

        for (uint32_t j = 0; branch && j < branch->n_members; j++) {
            found |= g_str_equal(branch->members[j].name, prop->name);
        }
        if (!found) {
            g_error("'%s' of %s isn't in the schema", prop->name, type->name);
        }
    }
}

static void test_schema(void)
{
    const struct qapi_type *options = &qapi_type_object_options;
    const struct qapi_type *names = &qapi_type_object_type;
    g_autoptr(GPtrArray) types = object_type_list("user-creatable", false);

    g_assert_cmpuint(names->n_values, ==, types->len);
    for (uint32_t i = 0; i < options->n_branches; i++) {
        const struct object_type *type = object_type_find(options->branches[i].name);

        if (!type || type->abstract || !object_type_is(type, "user-creatable")) {
            g_error("the schema has object type '%s', which isn't there",
                    options->branches[i].name);
        }
        compare_branch(type, options->branches[i].type);
    }
    for (guint i = 0; i < types->len; i++) {
        const struct object_type *type = g_ptr_array_index(types, i);

        g_assert_cmpint(qapi_enum_parse(names, type->name, NULL), >=, 0);
    }
}

/* ---- Memory ---- */

static const struct host_memory *memory_of(struct fixture *f, const char *id)
{
    g_autoptr(GError) error = NULL;
    struct memory_backend *backend = memory_backend_find(f->root, id, &error);

    g_assert_no_error(error);
    return memory_backend_memory(backend);
}

/* Pages of the range that are in memory. */
static size_t resident(const uint8_t *base, size_t size)
{
    size_t page = sysconf(_SC_PAGESIZE), n = size / page, count = 0;
    g_autofree unsigned char *vec = g_malloc(n);

    g_assert_cmpint(mincore((void *)base, size, vec), ==, 0);
    for (size_t i = 0; i < n; i++) {
        count += vec[i] & 1;
    }
    return count;
}

static void test_ram(struct fixture *f, const void *data)
{
    struct object *obj =
        must_create(f, "{'qom-type':'memory-backend-ram','id':'m','size':1048576}");
    const struct host_memory *memory = memory_of(f, "m");

    g_assert_cmpuint(memory->size, ==, 1 << 20);
    g_assert_cmpuint(memory->page_size, ==, sysconf(_SC_PAGESIZE));
    g_assert_cmpint(memory->fd, ==, -1);
    g_assert_false(memory->shared);
    g_assert_true(memory->writable && !memory->rom);
    memset(memory->base, 1, memory->size);

    must_create(f, "{'qom-type':'memory-backend-ram','id':'s','size':4097,'share':true}");
    memory = memory_of(f, "s");
    g_assert_cmpint(memory->fd, >=, 0);
    memory->base[4096] = 7;
    uint8_t byte = 0;
    g_assert_cmpint(pread(memory->fd, &byte, 1, 4096), ==, 1);
    g_assert_cmpint(byte, ==, 7);

    must_create(f, "{'qom-type':'memory-backend-ram','id':'t','size':8388608,'reserve':false,"
                   "'dump':false,'merge':false}");
    memory = memory_of(f, "t");
    g_assert_cmpuint((uintptr_t)memory->base % (2 << 20), ==, 0);
    g_assert_cmpuint(resident(memory->base, memory->size), ==, 0);

    must_create(f, "{'qom-type':'memory-backend-ram','id':'p','size':1048576,'prealloc':true,"
                   "'prealloc-threads':3}");
    memory = memory_of(f, "p");
    g_assert_cmpuint(resident(memory->base, memory->size), ==, (1 << 20) / memory->page_size);

    g_assert_false(set_json(obj, "size", "4096", NULL));
    g_assert_true(set_json(obj, "merge", "false", NULL));
    g_assert_true(set_json(obj, "dump", "false", NULL));
    g_assert_true(set_json(obj, "dump", "true", NULL));
    g_assert_true(set_json(obj, "prealloc", "true", NULL));
}

static void test_ram_errors(struct fixture *f, const void *data)
{
    static const struct {
        const char *options, *message;
    } rows[] = {
        {"", "Parameter 'size' is missing"},
        {",'size':0", "property 'size' of memory-backend-ram doesn't take value '0'"},
        {",'size':4611686018427387904", "cannot set up guest memory 'm': Cannot allocate memory"},
        {",'size':18446744073709551615", "cannot set up guest memory 'm': Cannot allocate memory"},
        {",'size':4096,'prealloc-threads':0",
         "property 'prealloc-threads' of memory-backend-ram doesn't take value '0'"},
        {",'size':4096,'prealloc':true,'reserve':false",
         "'prealloc=on' and 'reserve=off' are incompatible"},
        {",'size':4096,'policy':'bind'", "host-nodes must be set for policy bind"},
        {",'size':4096,'host-nodes':[0]",
         "host-nodes must be empty for policy default, or you should explicitly specify a policy "
         "other than default"},
        {",'size':4096,'host-nodes':[128],'policy':'bind'", "Invalid host-nodes value: 128"},
        {",'size':4096,'policy':'bond'", "Parameter 'policy' does not accept value 'bond'*"},
    };

    for (unsigned i = 0; i < G_N_ELEMENTS(rows); i++) {
        g_autofree char *options = g_strdup_printf("{'qom-type':'memory-backend-ram','id':'m'%s}",
                                                   rows[i].options);

        fails_like(f, options, rows[i].message);
    }
}

static void test_numa(struct fixture *f, const void *data)
{
    g_autoptr(GError) error = NULL;

    fails_like(f, "{'qom-type':'memory-backend-ram','id':'m','size':4096,'host-nodes':[127],"
                  "'policy':'bind'}",
               "cannot bind memory to host NUMA nodes: *");
    if (!create(f, "{'qom-type':'memory-backend-ram','id':'n','size':4096,'host-nodes':[0],"
                   "'policy':'bind'}", &error)) {
        g_test_skip(error->message); /* a kernel without NUMA, or a container without the call */
    }
}

static void test_claim(struct fixture *f, const void *data)
{
    g_autoptr(GError) error = NULL;
    struct memory_backend *backend;
    g_autofree char *name = NULL, *path = NULL;

    must_create(f, "{'qom-type':'memory-backend-ram','id':'m','size':4096}");
    must_create(f, "{'qom-type':'memory-backend-ram','id':'c','size':4096,"
                   "'x-use-canonical-path-for-ramblock-id':true}");
    backend = memory_backend_find(f->root, "m", NULL);
    name = memory_backend_block_name(backend);
    path = memory_backend_block_name(memory_backend_find(f->root, "c", NULL));
    g_assert_cmpstr(name, ==, "m");
    g_assert_cmpstr(path, ==, "/objects/c");
    g_assert_true(memory_backend_claim(backend, NULL));
    g_assert_false(memory_backend_claim(backend, &error));
    g_assert_cmpstr(error->message, ==, "can't use already busy memdev: /objects/m");
    g_clear_error(&error);
    g_assert_false(object_delete_user(f->root, "m", &error));
    g_assert_cmpstr(error->message, ==, "object 'm' is in use, can not be deleted");
    g_clear_error(&error);
    memory_backend_release(backend);
    g_assert_true(object_delete_user(f->root, "m", NULL));
    g_assert_null(memory_backend_find(f->root, "m", &error));
    g_assert_error(error, QAPI_ERROR, QAPI_ERROR_DEVICE_NOT_FOUND);
    g_assert_null(memory_backend_find(f->root, "/objects", NULL));
}

static void test_memfd(struct fixture *f, const void *data)
{
    const struct host_memory *memory;

    must_create(f, "{'qom-type':'memory-backend-memfd','id':'m','size':65536}");
    memory = memory_of(f, "m");
    g_assert_true(memory->shared);
    g_assert_cmpint(ftruncate(memory->fd, 0), ==, -1);
    g_assert_cmpint(errno, ==, EPERM);
    must_create(f, "{'qom-type':'memory-backend-memfd','id':'u','size':65536,'seal':false}");
    g_assert_cmpint(fcntl(memory_of(f, "u")->fd, F_GET_SEALS), ==, F_SEAL_SEAL);
    must_create(f, "{'qom-type':'memory-backend-memfd','id':'p','size':65536,'share':false,"
                   "'prealloc':true}");
    g_assert_false(memory_of(f, "p")->shared);
    fails_like(f, "{'qom-type':'memory-backend-memfd','id':'h','size':4096,'hugetlb':true,"
                  "'hugetlbsize':3}",
               "property 'hugetlbsize' of memory-backend-memfd must be *");
    /* There may be no huge pages here; what must not happen is a crash. */
    must_create(f,
                "{'qom-type':'memory-backend-memfd','id':'i','size':4096,'hugetlbsize':2097152}");
    create(f, "{'qom-type':'memory-backend-memfd','id':'h','size':2097152,'hugetlb':true,"
              "'prealloc':true}", NULL);
}

static struct object *create_file(struct fixture *f, const char *path, const char *more,
                                  GError **error)
{
    g_autofree char *options = g_strdup_printf(
        "{'qom-type':'memory-backend-file','id':'f','mem-path':'%s'%s}", path, more);

    return create(f, options, error);
}

static void file_fails(struct fixture *f, const char *path, const char *more, const char *pattern)
{
    g_autoptr(GError) error = NULL;

    g_assert_null(create_file(f, path, more, &error));
    g_assert_nonnull(error);
    if (!g_pattern_match_simple(pattern, error->message)) {
        g_error("'%s' isn't like '%s'", error->message, pattern);
    }
}

static void check_file(struct fixture *f, const char *path, const char *more, const char *expected)
{
    g_autoptr(GError) error = NULL;
    g_autofree char *contents = NULL;
    gsize size;

    create_file(f, path, more, &error);
    g_assert_no_error(error);
    if (memory_of(f, "f")->writable) {
        memcpy(memory_of(f, "f")->base, "hello", 5);
    }
    g_assert_true(object_delete_user(f->root, "f", NULL));
    g_assert_true(g_file_get_contents(path, &contents, &size, NULL));
    g_assert_cmpuint(size, ==, 8192);
    g_assert_cmpmem(contents, strlen(expected), expected, strlen(expected));
}

static void test_file(struct fixture *f, const void *data)
{
    g_autofree char *path = g_build_filename(f->folder, "ram", NULL);
    g_autoptr(GError) error = NULL;

    check_file(f, path, ",'size':8192,'share':true", "hello");
    g_assert_true(create_file(f, path, ",'size':8192,'share':true,'readonly':true", &error) !=
                  NULL);
    g_assert_true(memory_of(f, "f")->rom);
    g_assert_cmpmem(memory_of(f, "f")->base, 5, "hello", 5);
    g_assert_true(object_delete_user(f->root, "f", NULL));
    g_assert_true(g_file_set_contents(path, "HELLO", 5, NULL));
    g_assert_cmpint(truncate(path, 8192), ==, 0);
    check_file(f, path, ",'size':8192", "HELLO");
    check_file(f, path, ",'size':8192,'readonly':true", "HELLO");
    check_file(f, path, ",'size':8192,'readonly':true,'prealloc':true", "HELLO");
    check_file(f, path, ",'size':8192,'readonly':true,'rom':'off'", "HELLO");
    check_file(f, path, ",'size':4096,'offset':4096,'share':true", "HELLO");
    check_file(f, path, ",'size':8192,'share':true,'align':4194304", "hello");
    check_file(f, path, ",'size':8192,'share':true,'readonly':true,'discard-data':true", "hello");
    check_file(f, path, ",'size':8192,'share':true,'discard-data':true", "");

    file_fails(f, path, ",'size':8193",
               "f backing store size 0x2000 is too small for 'size' option 0x2001 "
               "plus 'offset' option 0x0");
    file_fails(f, path, ",'size':8192,'offset':4096", "f backing store size 0x2000 is too small *");
    file_fails(f, path, ",'size':4096,'offset':100", "offset 0x64 must be a multiple of *");
    file_fails(f, path, ",'size':4096,'align':3", "alignment 0x3 must be *");
    file_fails(f, path, ",'size':4096,'align':12288", "alignment 0x3000 must be *");
    file_fails(f, path, ",'size':4096,'offset':18446744073709547520",
               "'size' option * is too large for a file");
    file_fails(f, path, ",'size':4096,'rom':'on'",
               "property 'rom' = 'on' is not supported with 'readonly' = 'off'");
    file_fails(f, path, ",'size':4096,'rom':'off','readonly':true,'share':true",
               "property 'rom' = 'off' is incompatible with *");
    file_fails(f, path, ",'size':4096,'pmem':true", "property 'pmem' = 'on' is not supported: *");
    file_fails(f, "/nonexistent/x", ",'size':4096",
               "can't open backing store /nonexistent/x for guest RAM: No such file or directory");
    file_fails(f, "", ",'size':4096", "mem-path property not set");
    file_fails(f, "/dev/null", ",'size':4096", "cannot set up guest memory 'f': *");
    g_unlink(path);
    file_fails(f, path, ",'size':4096,'readonly':true",
               "can't open backing store * No such file or directory");

    /* What was made for an object that failed is gone; in a folder there is no name at all. */
    file_fails(f, path, ",'size':4096,'offset':100", "offset *");
    file_fails(f, path, ",'size':1152921504606846976", "*");
    g_assert_false(g_file_test(path, G_FILE_TEST_EXISTS));
    g_assert_nonnull(create_file(f, f->folder, ",'size':4096,'share':true", NULL));
    g_assert_cmpint(g_rmdir(f->folder), ==, 0);
}

/* ---- Random bytes ---- */

struct receiver {
    struct rng_backend *rng;
    unsigned calls, again;
    size_t bytes;
    uint8_t last[64];
};

static void receive(void *opaque, const uint8_t *bytes, size_t size)
{
    struct receiver *receiver = opaque;

    receiver->calls++;
    receiver->bytes += size;
    memcpy(receiver->last, bytes, MIN(size, sizeof(receiver->last)));
    if (receiver->again) {
        receiver->again--;
        rng_request(receiver->rng, 10, receive, receiver);
    }
}

static void turn(struct fixture *f, struct receiver *receiver, unsigned calls)
{
    for (unsigned i = 0; i < 1000 && receiver->calls < calls; i++) {
        event_loop_iterate(f->context.loop, false);
        g_usleep(100);
    }
    g_assert_cmpuint(receiver->calls, ==, calls);
}

static void check_rng(struct fixture *f, const char *id, bool is_random)
{
    g_autoptr(GError) error = NULL;
    struct receiver receiver = {.rng = rng_find(f->root, id, &error), .again = 2}, other = receiver;
    static const uint8_t zeroes[64];

    g_assert_no_error(error);
    other.again = 0;
    rng_request(receiver.rng, 64, receive, &receiver);
    g_assert_cmpuint(receiver.calls, ==, 0);
    turn(f, &receiver, 1 + 2);
    g_assert_cmpuint(receiver.bytes, ==, 64 + 2 * 10);
    g_assert_true((memcmp(receiver.last, zeroes, sizeof(zeroes)) != 0) == is_random);

    /* One is cancelled, the other one is still served; more than a chunk comes as a chunk. */
    receiver.calls = 0;
    rng_request(receiver.rng, 1 << 20, receive, &receiver);
    rng_request(receiver.rng, 1 << 20, receive, &other);
    rng_cancel(receiver.rng, &receiver);
    turn(f, &other, 1);
    g_assert_cmpuint(receiver.calls, ==, 0);
    g_assert_cmpuint(other.bytes, >, 0);
    g_assert_cmpuint(other.bytes, <=, 1 << 20);

    /* It goes with a request open. */
    rng_request(receiver.rng, 1, receive, &receiver);
    g_assert_true(object_delete_user(f->root, id, NULL));
    event_loop_iterate(f->context.loop, false);
    g_assert_cmpuint(receiver.calls, ==, 0);
}

static void test_rng(struct fixture *f, const void *data)
{
    g_autoptr(GError) error = NULL;

    must_create(f, "{'qom-type':'rng-builtin','id':'b'}");
    must_create(f, "{'qom-type':'rng-random','id':'u'}");
    must_create(f, "{'qom-type':'rng-random','id':'z','filename':'/dev/zero'}");
    check_rng(f, "b", true);
    check_rng(f, "u", true);
    check_rng(f, "z", false);
    fails_like(f, "{'qom-type':'rng-random','id':'n','filename':'/nonexistent'}",
               "*'/nonexistent'*No such file or directory");
    g_assert_null(rng_find(f->root, "none", &error));
    g_assert_cmpstr(error->message, ==, "Device 'none' not found");
    g_assert_null(rng_find(f->root, "/objects", NULL));
}

static void test_rng_end(struct fixture *f, const void *data)
{
    g_autofree char *path = g_build_filename(f->folder, "fifo", NULL);
    g_autofree char *options =
        g_strdup_printf("{'qom-type':'rng-random','id':'r','filename':'%s'}", path);
    struct receiver receiver = {0};
    int fd;

    g_assert_cmpint(mkfifo(path, 0600), ==, 0);
    must_create(f, options);
    receiver.rng = rng_find(f->root, "r", NULL);
    fd = open(path, O_WRONLY | O_CLOEXEC);
    g_assert_cmpint(fd, >=, 0);
    rng_request(receiver.rng, 10, receive, &receiver);
    for (unsigned i = 0; i < 5; i++) {
        event_loop_iterate(f->context.loop, false);
    }
    g_assert_cmpuint(receiver.calls, ==, 0);
    g_assert_cmpint(write(fd, "abc", 3), ==, 3);
    turn(f, &receiver, 1);
    g_assert_cmpmem(receiver.last, receiver.bytes, "abc", 3);
    rng_request(receiver.rng, 10, receive, &receiver);
    close(fd);
    for (unsigned i = 0; i < 20; i++) {
        event_loop_iterate(f->context.loop, false);
    }
    g_assert_cmpuint(receiver.calls, ==, 1);
    g_unlink(path);
}

/* ---- Throttling ---- */

enum { S = 1000000000 };

/* How many requests get through in so many seconds if there are always more. */
static uint64_t pump(struct throttle *throttle, bool is_write, uint64_t bytes, int64_t *now,
                     double seconds)
{
    int64_t end = *now + (int64_t)(seconds * S);
    uint64_t done = 0;

    for (;;) {
        int64_t wait = throttle_wait(throttle, is_write, *now);

        if (!wait) {
            throttle_account(throttle, is_write, bytes);
            done++;
            continue;
        }
        *now += wait;
        if (*now > end) {
            *now = end;
            return done;
        }
    }
}

static void test_throttle_rates(void)
{
    struct throttle_config config;
    struct throttle throttle;
    int64_t now = 5 * (int64_t)S;
    uint64_t n;

    throttle_config_init(&config);
    g_assert_false(throttle_config_is_limiting(&config));
    throttle_init(&throttle, &config, now);
    for (unsigned i = 0; i < 1000; i++) {
        g_assert_cmpint(throttle_wait(&throttle, i & 1, now), ==, 0);
        throttle_account(&throttle, i & 1, 1 << 20);
    }

    /* 100 requests a second, a tenth of a second ahead. */
    config.rates[THROTTLE_OPS_TOTAL].average = 100;
    g_assert_true(throttle_config_check(&config, NULL) && throttle_config_is_limiting(&config));
    throttle_init(&throttle, &config, now);
    n = pump(&throttle, false, 512, &now, 10);
    g_assert_cmpuint(n, >=, 1000);
    g_assert_cmpuint(n, <=, 1012);
    /* After a rest it isn't more than that ahead. */
    now += 60 * (int64_t)S;
    n = pump(&throttle, true, 512, &now, 1);
    g_assert_cmpuint(n, <=, 112);

    /* Large requests count as several. */
    config.op_size = 4096;
    throttle_init(&throttle, &config, now);
    n = pump(&throttle, false, 40960, &now, 10);
    g_assert_cmpuint(n, >=, 100);
    g_assert_cmpuint(n, <=, 103);

    /* Reads and writes apart, by bytes. */
    throttle_config_init(&config);
    config.rates[THROTTLE_BYTES_READ].average = 1 << 20;
    throttle_init(&throttle, &config, now);
    n = pump(&throttle, false, 65536, &now, 10);
    g_assert_cmpuint(n, >=, 160);
    g_assert_cmpuint(n, <=, 164);
    g_assert_cmpint(throttle_wait(&throttle, true, now), ==, 0);
    /* Time that goes back doesn't help. */
    g_assert_cmpint(throttle_wait(&throttle, false, now - S), >, 0);
}

static void test_throttle_bursts(void)
{
    struct throttle_config config;
    struct throttle throttle;
    int64_t now = 0;
    uint64_t n;

    /* 100 a second, 1000 a second for one second. */
    throttle_config_init(&config);
    config.rates[THROTTLE_OPS_TOTAL] =
        (struct throttle_rate){.average = 100, .max = 1000, .burst_length = 1};
    throttle_init(&throttle, &config, now);
    n = pump(&throttle, false, 512, &now, 0.001);
    g_assert_cmpuint(n, >=, 1000);
    g_assert_cmpuint(n, <=, 1002);
    n = pump(&throttle, false, 512, &now, 10);
    g_assert_cmpuint(n, >=, 999);
    g_assert_cmpuint(n, <=, 1002);

    /* For five seconds: 1000 in each of them, not 5000 at once; then 100. */
    config.rates[THROTTLE_OPS_TOTAL].burst_length = 5;
    throttle_init(&throttle, &config, now);
    n = pump(&throttle, false, 512, &now, 0.001);
    g_assert_cmpuint(n, <=, 103);
    n = pump(&throttle, false, 512, &now, 3);
    g_assert_cmpuint(n, >=, 2990);
    g_assert_cmpuint(n, <=, 3110);
    pump(&throttle, false, 512, &now, 10);
    n = pump(&throttle, false, 512, &now, 10);
    g_assert_cmpuint(n, >=, 990);
    g_assert_cmpuint(n, <=, 1010);
}

static void test_throttle_group(struct fixture *f, const void *data)
{
    static const struct {
        const char *limits, *message;
    } rows[] = {
        {"'iops-total':10,'iops-read':5",
         "bps/iops/max total values and read/write values cannot be used at the same time"},
        {"'bps-total':1,'bps-total-max':2,'bps-write':1,'bps-write-max':2",
         "bps/iops/max total values and read/write values cannot be used at the same time"},
        {"'iops-total':10,'iops-total-max':5", "bps_max/iops_max cannot be lower than bps/iops"},
        {"'iops-total-max':5", "bps_max/iops_max require corresponding bps/iops values"},
        {"'iops-total':10,'iops-total-max-length':5", "burst length set without burst rate"},
        {"'iops-total':10,'iops-total-max':20,'iops-total-max-length':0",
         "the burst length cannot be 0"},
        {"'iops-total':1,'iops-total-max':100000000000000,'iops-total-max-length':100",
         "burst length too high for this burst rate"},
        {"'iops-size':10", "iops size requires an iops value to be set"},
        {"'iops-total':-10", "bps/iops/max values must be within [0, 1000000000000000]"},
        {"'iops-total':10000000000000000",
         "bps/iops/max values must be within [0, 1000000000000000]"},
        {"'foo':1", "Parameter 'limits.foo' is unexpected"},
        {"'iops-totl':1", "Parameter 'limits.iops-totl' is unexpected*"},
    };
    g_autoptr(GError) error = NULL;
    struct object *group;
    g_autoptr(json_object) value = NULL, limits = NULL;
    int64_t now;

    for (unsigned i = 0; i < G_N_ELEMENTS(rows); i++) {
        g_autofree char *options =
            g_strdup_printf("{'qom-type':'throttle-group','id':'t','limits':{%s}}", rows[i].limits);

        fails_like(f, options, rows[i].message);
    }
    fails_like(f, "{'qom-type':'throttle-group','id':'t','x-iops-total':-1}",
               "x-iops-total value must be *");
    must_create(f,
                "{'qom-type':'throttle-group','id':'t','limits':{'iops-total':10},'x-bps-read':5}");
    group = throttle_group_find(f->root, "t", &error);
    g_assert_no_error(error);
    value = object_get(group, "x-bps-read", NULL);
    g_assert_cmpint(json_object_get_int64(value), ==, 5);
    limits = object_get(group, "limits", NULL);
    g_assert_cmpint(json_object_object_length(limits), ==, 19);
    g_assert_cmpint(json_object_get_int64(json_object_object_get(limits, "iops-total")), ==, 10);
    g_assert_cmpint(json_object_get_int64(json_object_object_get(limits, "iops-total-max-length")),
                    ==, 1);

    now = clocks_now(f->context.clocks, CLOCK_REAL);
    g_assert_cmpint(throttle_group_admit(group, true, 1, now), ==, 0);
    g_assert_cmpint(throttle_group_admit(group, true, 1, now), ==, 0);
    g_assert_cmpint(throttle_group_admit(group, true, 1, now), >, 0);

    g_assert_false(set_json(group, "limits", "{'iops-read':1}", NULL));
    g_assert_false(set_json(group, "x-iops-total", "1", &error));
    g_assert_cmpstr(error->message, ==, "Property 'x-iops-total' can no longer be set");
    g_assert_true(set_json(group, "limits", "{'iops-total':0,'bps-read':0}", NULL));
    for (unsigned i = 0; i < 100; i++) {
        g_assert_cmpint(throttle_group_admit(group, i & 1, 1, now), ==, 0);
    }
    object_ref(group);
    g_assert_false(object_delete_user(f->root, "t", NULL));
    object_unref(group);
    g_assert_true(object_delete_user(f->root, "t", NULL));
    g_assert_null(throttle_group_find(f->root, "t", NULL));
}

/* ---- Threads ---- */

static void set_flag(void *opaque)
{
    g_atomic_int_set((int *)opaque, event_loop_current() != NULL);
}

static void test_iothread(struct fixture *f, const void *data)
{
    struct object *obj =
        must_create(f, "{'qom-type':'iothread','id':'io','poll-max-ns':1000,'thread-pool-min':70,"
                       "'thread-pool-max':80}");
    g_autoptr(GError) error = NULL;
    int flag = 0;

    g_assert_true(iothread_object_find(f->root, "io", &error) == obj);
    event_loop_post(iothread_object_loop(obj), set_flag, &flag);
    while (!g_atomic_int_get(&flag)) {
        g_usleep(1000);
    }
    g_assert_true(set_json(obj, "poll-max-ns", "0", NULL));
    g_assert_true(set_json(obj, "aio-max-batch", "8", NULL));
    g_assert_false(set_json(obj, "poll-grow", "-1", &error));
    g_assert_cmpstr(error->message, ==,
                    "poll-grow value must be in range [0, 9223372036854775807]");
    g_clear_error(&error);
    g_assert_false(set_json(obj, "thread-pool-max", "69", &error));
    g_assert_cmpstr(error->message, ==, "bad thread-pool-min/thread-pool-max values");
    g_clear_error(&error);
    g_assert_false(set_json(obj, "thread-pool-min", "81", NULL));
    g_assert_true(set_json(obj, "thread-pool-min", "80", NULL));
    g_assert_true(set_json(obj, "thread-pool-max", "2147483647", NULL));
    g_assert_false(set_json(obj, "thread-pool-min", "1025", NULL));
    object_ref(obj);
    g_assert_false(object_delete_user(f->root, "io", &error));
    g_assert_cmpstr(error->message, ==, "object 'io' is in use, can not be deleted");
    g_clear_error(&error);
    object_unref(obj);
    g_assert_true(object_delete_user(f->root, "io", NULL));
    g_assert_null(iothread_object_find(f->root, "io", &error));
    g_assert_cmpstr(error->message, ==, "Cannot find iothread io");
    fails_like(f, "{'qom-type':'iothread','id':'io','thread-pool-min':65}",
               "bad thread-pool-min/*");
    fails_like(f, "{'qom-type':'iothread','id':'io','thread-pool-max':0}", "bad thread-pool-min/*");
    fails_like(f, "{'qom-type':'iothread','id':'io','poll-max-ns':-1}",
               "poll-max-ns value must be in range *");
}

static void test_main_loop(struct fixture *f, const void *data)
{
    fails_like(f, "{'qom-type':'main-loop','id':'m','thread-pool-max':0}", "bad thread-pool-min/*");
    must_create(f, "{'qom-type':'main-loop','id':'m'}");
    fails_like(f, "{'qom-type':'main-loop','id':'n'}", "only one main-loop instance allowed");
    g_assert_false(object_delete_user(f->root, "m", NULL));
}

/* ---- Commands ---- */

static void test_commands(struct fixture *f, const void *data)
{
    static const struct {
        const char *command, *arguments, *answer;
    } rows[] = {
        {"object-add", "{'qom-type':'iothread','id':'io','poll-max-ns':5}", "{}"},
        {"qom-list", "{'path':'/'}",
         "[{'name':'type','type':'string'},{'name':'objects','type':'child<container>'},"
         "{'name':'chardevs','type':'child<container>'}]"},
        {"qom-list", "{'path':'objects'}",
         "[{'name':'type','type':'string'},{'name':'io','type':'child<iothread>'}]"},
        {"qom-list", "{'path':''}", "Path '' is ambiguous"},
        {"qom-list", "{'path':'/x'}", "DeviceNotFound: Device '/x' not found"},
        {"qom-get", "{'path':'io','property':'poll-max-ns'}", "5"},
        {"qom-get", "{'path':'/','property':'x'}", "Property 'container.x' not found"},
        {"qom-set", "{'path':'io','property':'poll-max-ns','value':7}", "{}"},
        {"qom-set", "{'path':'io','property':'poll-max-ns','value':'7'}",
         "Invalid parameter type for 'poll-max-ns', expected: integer"},
        {"qom-set", "{'path':'/nothing','property':'poll-max-ns','value':7}",
         "DeviceNotFound: Device '/nothing' not found"},
        {"qom-get", "{'path':'/objects/io','property':'poll-max-ns'}", "7"},
        {"qom-list-types", "{'implements':'rng-backend','abstract':true}",
         "[{'name':'rng-backend','abstract':true,'parent':'object'},"
         "{'name':'rng-builtin','parent':'rng-backend'},"
         "{'name':'rng-random','parent':'rng-backend'}]"},
        {"qom-list-types", "{'implements':'foo'}", "[]"},
        {"qom-list-properties", "{'typename':'rng-random'}",
         "[{'name':'type','type':'string'},{'name':'opened','type':'bool'},"
         "{'name':'filename','type':'string','description':'Where the bytes are read from',"
         "'default-value':'/dev/urandom'}]"},
        {"qom-list-properties", "{'typename':'foo'}", "DeviceNotFound: Class 'foo' not found"},
        {"device-list-properties", "{'typename':'foo'}", "DeviceNotFound: Device 'foo' not found"},
        {"device-list-properties", "{'typename':'iothread'}",
         "Parameter 'typename' expects a non-abstract device type"},
        {"object-add", "{'qom-type':'memory-backend-ram','id':'m','size':4096}", "{}"},
        {"query-memdev", "{}",
         "[{'id':'m','size':4096,'merge':true,'dump':true,'prealloc':false,'share':false,"
         "'reserve':true,'host-nodes':[],'policy':'default'}]"},
        {"object-del", "{'id':'m'}", "{}"},
        {"object-del", "{'id':'io'}", "{}"},
        {"object-del", "{'id':'io'}", "object 'io' not found"},
        {"query-memdev", "{}", "[]"},
        {"query-iothreads", "{}", "[]"},
    };
    struct qmp_context context = {.root = f->root};

    for (unsigned i = 0; i < G_N_ELEMENTS(rows); i++) {
        g_autoptr(json_object) arguments = json_tokener_parse(rows[i].arguments);
        g_autoptr(GError) error = NULL;
        g_autoptr(json_object) answer = qapi_invoke(
            qapi_find_command(&qapi_system_schema, rows[i].command), &context, arguments, &error);
        g_autoptr(json_object) expected = error ? NULL : json_tokener_parse(rows[i].answer);

        if (!error) {
            g_assert_cmpstr(json_object_to_json_string(answer), ==,
                            json_object_to_json_string(expected));
        } else if (error->code == QAPI_ERROR_GENERIC) {
            g_assert_cmpstr(error->message, ==, rows[i].answer);
        } else {
            g_autofree char *text =
                g_strdup_printf("%s: %s", qapi_error_class(error), error->message);

            g_assert_cmpstr(text, ==, rows[i].answer);
        }
    }
}

#define ADD(path, fn) g_test_add(path, struct fixture, NULL, set_up, fn, tear_down)

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    g_test_add_func("/object-types/schema", test_schema);
    ADD("/object-types/ram", test_ram);
    ADD("/object-types/ram-errors", test_ram_errors);
    ADD("/object-types/numa", test_numa);
    ADD("/object-types/claim", test_claim);
    ADD("/object-types/memfd", test_memfd);
    ADD("/object-types/file", test_file);
    ADD("/object-types/iothread", test_iothread);
    ADD("/object-types/main-loop", test_main_loop);
    ADD("/object-types/commands", test_commands);
    ADD("/object-types/rng", test_rng);
    ADD("/object-types/rng-end", test_rng_end);
    g_test_add_func("/object-types/throttle-rates", test_throttle_rates);
    g_test_add_func("/object-types/throttle-bursts", test_throttle_bursts);
    ADD("/object-types/throttle-group", test_throttle_group);
    return g_test_run();
}
