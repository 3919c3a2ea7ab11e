/*
 * Damaged images of vdi, vpc, vmdk, vhdx, qed and luks (whose header only is looked at): they are
 * refused with one error, or can be read, written and checked without more memory or time than
 * their files account for.
 *
 * An input is a kind of image, what is done with it, and changes of eight bytes to a good image of
 * that kind: area, how, place (2), value (4). In vhdx images the checksums are made right again, as
 * who makes such an image would do.
 */
#include "fuzz.h"

#include <stdio.h>
#include <string.h>

#include "../unit/block_test.h"
#include "block/vhdx.h"
#include "crypto/luks.h"

enum { CHANGE_SIZE = 8, MAX_CHANGES = 64, PAGE = 4096, SIZE = 5 << 20, BUFFER = 1 << 20 };

/* ---- A file in memory, with holes ---- */

struct store {
    GHashTable *pages; /* number -> PAGE bytes */
};

static uint8_t *page_of(struct store *s, uint64_t offset, bool make)
{
    uint64_t number = offset / PAGE;
    uint8_t *page = g_hash_table_lookup(s->pages, &number);

    if (!page && make) {
        uint64_t *key = g_new(uint64_t, 1);

        *key = number;
        page = g_malloc0(PAGE);
        g_hash_table_insert(s->pages, key, page);
    }
    return page;
}

static void access_store(struct store *s, uint64_t offset, uint8_t *data, uint64_t bytes,
                         bool write)
{
    while (bytes) {
        uint64_t skip = offset % PAGE, n = MIN(bytes, PAGE - skip);
        uint8_t *page = page_of(s, offset, write);

        if (write) {
            memcpy(page + skip, data, n);
        } else if (page) {
            memcpy(data, page + skip, n);
        } else {
            memset(data, 0, n);
        }
        data += n;
        offset += n;
        bytes -= n;
    }
}

static int store_read(struct block_node *node, uint64_t offset, uint64_t bytes,
                      struct block_buffer buffer, unsigned flags)
{
    g_autofree uint8_t *data = g_malloc(bytes);

    access_store(node->state, offset, data, bytes, false);
    block_buffer_from(buffer, data, bytes);
    return 0;
}

static int store_write(struct block_node *node, uint64_t offset, uint64_t bytes,
                       struct block_buffer buffer, unsigned flags)
{
    g_autofree uint8_t *data = g_malloc(bytes);

    block_buffer_to(buffer, data, bytes);
    access_store(node->state, offset, data, bytes, true);
    return 0;
}

static int store_write_zeroes(struct block_node *node, uint64_t offset, uint64_t bytes,
                              unsigned flags)
{
    struct store *s = node->state;
    GHashTableIter iter;
    gpointer key, page;

    g_hash_table_iter_init(&iter, s->pages);
    while (g_hash_table_iter_next(&iter, &key, &page)) {
        uint64_t start = *(uint64_t *)key * PAGE, from = MAX(start, offset),
                 to = MIN(start + PAGE, offset + bytes);

        if (from < to) {
            memset((uint8_t *)page + (from - start), 0, to - from);
        }
    }
    return 0;
}

static int store_truncate(struct block_node *node, uint64_t size, bool exact,
                          enum qapi_prealloc_mode prealloc, unsigned flags, GError **error)
{
    return 0;
}

static void store_close(struct block_node *node)
{
    g_hash_table_unref(((struct store *)node->state)->pages);
}

static const struct block_driver store_driver = {
    .name = "store",
    .state_size = sizeof(struct store),
    .co_close = store_close,
    .co_read = store_read,
    .co_write = store_write,
    .co_write_zeroes = store_write_zeroes,
    .co_truncate = store_truncate,
};

static struct block_node *store_open(struct block_test *t)
{
    struct block_node *node = block_node_new(t->graph, &store_driver);
    struct store *s = node->state;

    block_node_set_name(node, "file", NULL);
    node->options = json_object_new_object();
    node->filename = g_strdup("/nowhere/image");
    node->discard = QAPI_BLOCKDEV_DISCARD_OPTIONS_UNMAP;
    node->supported_zeroes_flags = BLOCK_MAY_UNMAP;
    s->pages = g_hash_table_new_full(g_int64_hash, g_int64_equal, g_free, g_free);
    block_node_refresh_limits(node);
    return node;
}

/* ---- Kinds of images ---- */

struct area {
    uint64_t offset, bytes;
};

struct kind {
    const char *driver, *options; /* NULL: text is all of it */
    const char *text;
    struct area areas[6];
};

static const struct kind kinds[] = {
    {"vdi", "", NULL, {{0x40, 16}, {0x154, 64}, {0x1a8, 32}, {512, 24}, {512, 512}}},
    {"vpc", "'force-size': true", NULL, {{0, 96}, {512, 64}, {1536, 16}, {1536, 512}, {48, 24}}},
    {"vpc", "'subformat': 'fixed'", NULL, {{SIZE, 512}, {0, 512}}},
    {"vmdk", "", NULL, {{0, 80}, {512, 400}, {21 * 512, 8}, {26 * 512, 8}, {27 * 512, 400}}},
    {"vmdk",
     "'subformat': 'streamOptimized'",
     NULL,
     {{0, 80}, {512, 400}, {26 * 512, 8}, {27 * 512, 400}, {65536, 600}}},
    {"vmdk",
     NULL,
     "# Disk DescriptorFile\nversion=1\nCID=12345678\nparentCID=ffffffff\ncreateType=\"twoGbMaxExtentFlat\"\n\n"
     "RW 0 FLAT \"/dev/null\" 0\nRW 1 SPARSE \"/dev/null\"\nRDONLY 16 VMFSSPARSE \"/dev/null\"\n"
     "ddb.adapterType = \"ide\"\n",
     {{0, 300}, {100, 200}}},
    {"vmdk", NULL, "COWD\1\0\0\0\3\0\0\0\0\40\0\0\1\0\0\0\4\0\0\0\1\0\0\0", {{0, 48}, {2048, 16}}},
    {"vhdx",
     "'block-size': 1048576",
     NULL,
     {{65536, 80},
      {192 << 10, 80},
      {2 << 20, 192},
      {(2 << 20) + 65536, 64},
      {3 << 20, 64},
      {1 << 20, 8192}}},
    {"luks", NULL, "LUKS", {{0, 592}, {8, 96}, {104, 8}, {164, 4}, {208, 48}, {208, 384}}},
    {"qed", "'cluster-size': 4096", NULL, {{0, 64}, {4096, 32}, {4096, 16384}, {20480, 64}}},
};

/* ---- One input ---- */

struct run {
    struct block_test t;
    const uint8_t *data;
    size_t size;
    struct block_node *file;
};

static void make_luks(struct run *r)
{
    struct luks_header header = {
        .cipher = {QAPI_QCRYPTO_CIPHER_ALGO_AES_256, QAPI_QCRYPTO_CIPHER_MODE_XTS,
                   QAPI_QCRYPTO_IV_GEN_ALGO_PLAIN64, true, QAPI_QCRYPTO_HASH_ALGO_SHA256},
        .hash = QAPI_QCRYPTO_HASH_ALGO_SHA256,
        .payload = 4040,
        .key_bytes = 64,
        .iterations = 1000,
    };
    uint8_t data[LUKS_HEADER_BYTES];

    for (unsigned i = 0; i < LUKS_SLOTS; i++) {
        header.slots[i] =
            (struct luks_slot){.active = i < 2, .iterations = 1000, .offset = 8 + 504 * i};
    }
    luks_format(&header, data);
    access_store(r->file->state, 0, data, sizeof(data), true);
    r->file->length = 4040 * 512 + 65536;
}

static void co_make(struct run *r, const struct kind *kind)
{
    g_autofree char *json = NULL;
    g_autoptr(json_object) value = NULL;
    struct qapi_blockdev_create_options options;
    struct block_user *user;
    struct block_node *node;
    g_autoptr(GError) error = NULL;
    uint8_t data[512];

    if (g_str_equal(kind->driver, "luks")) {
        make_luks(r);
        return;
    }
    if (kind->text) {
        uint64_t bytes = kind->areas[0].bytes;
        g_autofree char *text = g_malloc0(bytes);

        memcpy(text, kind->text,
               MIN(bytes, memcmp(kind->text, "COWD", 4) ? strlen(kind->text) : 28));
        access_store(r->file->state, 0, (uint8_t *)text, bytes, true);
        r->file->length = memcmp(kind->text, "COWD", 4) ? bytes : 65536;
        return;
    }
    json = g_strdup_printf("{'driver': '%s', 'file': 'file', 'size': %d%s%s}", kind->driver, SIZE,
                           *kind->options ? ", " : "", kind->options);
    for (char *c = json; *c; c++) {
        *c = *c == '\'' ? '"' : *c;
    }
    value = json_parse(json, &error);
    g_assert_no_error(error);
    qapi_from_json(&qapi_type_blockdev_create_options, value, &options, &error);
    g_assert_no_error(error);
    block_driver_find(kind->driver)->co_create(r->t.graph, &options, &error);
    g_assert_no_error(error);
    qapi_clear(&qapi_type_blockdev_create_options, &options);
    /* Some data. */
    g_free(g_steal_pointer(&json));
    json = g_strdup_printf("{\"driver\": \"%s\", \"file\": \"file\"}", kind->driver);
    node = block_test_open(&r->t, json, &error);
    g_assert_no_error(error);
    user = block_user_new(r->t.graph, "fuzz", NULL, NULL);
    block_user_attach(user, node, BLOCK_PERM_CONSISTENT_READ | BLOCK_PERM_WRITE, BLOCK_PERM_ALL,
                      &error);
    g_assert_no_error(error);
    memset(data, 0x5a, sizeof(data));
    co_block_write(user, 0, sizeof(data), BLOCK_BUFFER(data, sizeof(data)), 0);
    co_block_write(user, SIZE / 2, sizeof(data), BLOCK_BUFFER(data, sizeof(data)), 0);
    block_user_free(user);
    co_block_node_unref(node);
}

static uint32_t make_value(uint8_t how, uint32_t value)
{
    switch (how % 8) {
    case 0: return value;
    case 1: return 1u << value % 32;
    case 2: return UINT32_MAX - value % 4;
    case 3: return 0;
    case 4: return GUINT32_SWAP_LE_BE(value & 0xffff);
    case 5: return value & 0xffff;
    case 6: return (value & 0xfff) << 12;
    default: return value & 0xff;
    }
}

static void change(struct run *r, const struct kind *kind, const uint8_t *step)
{
    static const uint8_t widths[] = {1, 4, 4, 8};
    unsigned n = 0, width = widths[step[1] >> 6];
    const struct area *area;
    uint16_t place;
    uint32_t value;
    uint8_t bytes[8] = {0};

    while (n < G_N_ELEMENTS(kind->areas) && kind->areas[n].bytes) {
        n++;
    }
    area = &kind->areas[step[0] % n];
    memcpy(&place, step + 2, 2);
    memcpy(&value, step + 4, 4);
    value = make_value(step[1], value);
    if (step[0] == 255) { /* cut off */
        r->file->length = value % (r->file->length + 1);
        return;
    }
    memcpy(bytes, &value, 4);
    memcpy(bytes + 4, &value, step[1] & 8 ? 4 : 0);
    access_store(r->file->state, area->offset + (place % area->bytes & ~(width == 1 ? 0u : 3u)),
                 bytes, width, true);
}

static void seal(struct store *s, uint64_t at, size_t size)
{
    g_autofree uint8_t *data = g_malloc(size);
    uint32_t checksum;

    access_store(s, at, data, size, false);
    memset(data + 4, 0, 4);
    checksum = vhdx_checksum(data, size);
    access_store(s, at + 4, (uint8_t *)&checksum, 4, true);
}

static void use(struct run *r, struct block_node *node, bool write)
{
    unsigned perm = BLOCK_PERM_CONSISTENT_READ | (write ? BLOCK_PERM_WRITE : 0);
    struct block_user *user = block_user_new(r->t.graph, "fuzz", NULL, NULL);
    g_autofree uint8_t *buffer = g_malloc0(BUFFER);
    struct qapi_image_check result = {0};
    struct qapi_image_info info;
    uint64_t length, places[4];

    co_block_image_info(node, false, &info, NULL);
    qapi_clear(&qapi_type_image_info, &info);
    if (block_user_attach(user, node, perm, BLOCK_PERM_ALL, NULL)) {
        length = block_user_length(user);
        places[0] = 0;
        places[1] = length / 2;
        places[2] = length > BUFFER ? length - BUFFER : 0;
        places[3] = length / 3;
        for (size_t i = 0; i < G_N_ELEMENTS(places); i++) {
            uint64_t bytes = MIN(BUFFER, length - places[i]);
            struct block_status status;

            co_block_read(user, places[i], bytes, BLOCK_BUFFER(buffer, bytes), 0);
            co_block_status(user, places[i], length - places[i], &status);
            if (write && bytes > 70000) {
                co_block_write(user, places[i] + 1000, 66000, BLOCK_BUFFER(buffer, 66000), 0);
                co_block_write_zeroes(user, places[i], 66000, BLOCK_MAY_UNMAP);
            }
        }
        co_block_flush(user);
    }
    if (node->driver->co_check && node->length < 1ull << 32) {
        node->driver->co_check(node, write ? BLOCK_FIX_ERRORS : 0, &result, NULL);
    }
    block_user_free(user);
}

/* A locked image is opened to be looked at. */
static struct block_node *co_open(struct run *r, const struct kind *kind, bool write,
                                  GError **error)
{
    g_autofree char *json =
        g_strdup_printf("{\"driver\": \"%s\", \"file\": \"file\", \"read-only\": %s}", kind->driver,
                        write ? "false" : "true");
    bool locked = g_str_equal(kind->driver, "luks");
    g_autoptr(json_object) value = json_parse(json, NULL);
    struct qapi_blockdev_options options;
    struct block_node *node;

    g_assert_true(qapi_from_json(&qapi_type_blockdev_options, value, &options, error));
    node = co_block_open(r->t.graph, &options, locked ? BLOCK_OPEN_NO_IO : 0, error);
    qapi_clear(&qapi_type_blockdev_options, &options);
    return node;
}

static void co_run(void *opaque)
{
    struct run *r = opaque;
    const struct kind *kind = &kinds[r->data[0] % G_N_ELEMENTS(kinds)];
    bool write = r->data[1] & 1 && !(kind->text && *kind->text == '#');
    g_autoptr(GError) error = NULL;
    struct block_node *node;

    r->file = store_open(&r->t);
    co_make(r, kind);
    for (size_t at = 2; at + CHANGE_SIZE <= r->size && at < CHANGE_SIZE * MAX_CHANGES;
         at += CHANGE_SIZE) {
        change(r, kind, r->data + at);
    }
    if (g_str_equal(kind->driver, "vhdx") && r->data[1] & 2) {
        seal(r->file->state, VHDX_HEADER_1, VHDX_HEADER_BYTES);
        seal(r->file->state, VHDX_HEADER_2, VHDX_HEADER_BYTES);
        seal(r->file->state, VHDX_REGIONS_1, VHDX_REGIONS_BYTES);
        seal(r->file->state, VHDX_MIB, 2 * VHDX_LOG_SECTOR);
    }
    node = co_open(r, kind, write, &error);
    g_assert_true(node || error);
    g_assert_true(!error || !strchr(error->message, '\n'));
    if (node) {
        use(r, node, write);
        co_block_node_unref(node);
    }
    co_block_node_unref(r->file);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct run r = {.data = data, .size = size};

    if (size >= 2) {
        block_test_init(&r.t);
        block_run(r.t.context.loop, co_run, &r);
        block_test_clear(&r.t);
    }
    return 0;
}

#ifndef NANDU_LIBFUZZER

void fuzz_make_input(uint64_t *state, GByteArray *out)
{
    unsigned n = 2 + CHANGE_SIZE * (1 + next_random(state) % 4);

    for (unsigned i = 0; i < n; i++) {
        uint8_t byte = (uint8_t)(next_random(state) >> 24);

        g_byte_array_append(out, &byte, 1);
    }
}

#endif
