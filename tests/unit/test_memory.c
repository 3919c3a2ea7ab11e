/* Guest memory: each rule of an access, RAM blocks and who tracks them, DMA, IOMMUs, texts. */
#include "memory/memory.h"

#include <string.h>

#include "control.h"
#include "memory/backend.h"
#include "qapi/json.h"

static const struct memory_attrs plain, memory_only = {.memory_only = true};

/* ---- A device that notes what its handlers are asked ---- */

struct probe {
    struct region region;
    GMutex lock;
    GString *log;
    uint8_t bytes[64];
    enum memory_result answer;
    struct address_space *space;        /* for what re-enters */
};

static uint64_t probe_value(const struct probe *probe, uint64_t offset, unsigned size)
{
    uint64_t value = 0;

    g_assert_cmpuint(offset + size, <=, sizeof(probe->bytes));
    memcpy(&value, &probe->bytes[offset], size);
    return value;
}

static enum memory_result probe_read(void *opaque, uint64_t offset, unsigned size, uint64_t *value,
                                     struct memory_attrs attrs)
{
    struct probe *probe = opaque;

    g_string_append_printf(probe->log, "r%u@%" G_GINT64_MODIFIER "x ", size, offset);
    *value = probe_value(probe, offset, size) | (size < 8 ? ~0ull << (8 * size) : 0);
    return probe->answer;
}

static enum memory_result probe_write(void *opaque, uint64_t offset, unsigned size, uint64_t value,
                                      struct memory_attrs attrs)
{
    struct probe *probe = opaque;

    g_string_append_printf(
        probe->log, "w%u@%" G_GINT64_MODIFIER "x=%" G_GINT64_MODIFIER "x ", size, offset, value);
    g_assert_cmpuint(offset + size, <=, sizeof(probe->bytes));
    memcpy(&probe->bytes[offset], &value, size);
    return probe->answer;
}

static uint64_t probe_read_simple(void *opaque, uint64_t offset, unsigned size)
{
    return probe_value(opaque, offset, size);
}

static void probe_init(struct probe *probe, const struct region_ops *ops, uint64_t size)
{
    memset(probe, 0, sizeof(*probe));
    probe->log = g_string_new(NULL);
    g_mutex_init(&probe->lock);
    for (unsigned i = 0; i < sizeof(probe->bytes); i++) {
        probe->bytes[i] = (uint8_t)(0x10 + i);
    }
    region_init_mmio(&probe->region, "probe", ops, probe, size, &probe->lock);
}

static void probe_clear(struct probe *probe)
{
    if (probe->region.parent) {
        region_remove(&probe->region);
    }
    region_clear(&probe->region);
    g_mutex_clear(&probe->lock);
    g_string_free(probe->log, TRUE);
}

static void assert_log(struct probe *probe, const char *expected)
{
    g_assert_cmpstr(probe->log->str, ==, expected);
    g_string_truncate(probe->log, 0);
}

struct fixture {
    struct region root;
    struct address_space *space;
};

static void fixture_init(struct fixture *f)
{
    region_init_container(&f->root, "system", 0);
    f->space = address_space_new("memory", &f->root);
}

static void fixture_clear(struct fixture *f)
{
    address_space_free(f->space);
    region_clear(&f->root);
}

static uint64_t load(struct fixture *f, uint64_t address, unsigned size)
{
    uint64_t value;

    g_assert_cmpint(address_space_load(f->space, address, size, &value, plain), ==, MEMORY_OK);
    return value;
}

static void refuse(struct fixture *f, uint64_t address, unsigned size, enum memory_result result)
{
    uint64_t value;

    g_assert_cmpint(address_space_load(f->space, address, size, &value, plain), ==, result);
    g_assert_cmphex(value, ==, UINT64_MAX);
    g_assert_cmpint(address_space_store(f->space, address, size, 0, plain), ==, result);
}

static void store(struct fixture *f, uint64_t address, unsigned size, uint64_t value)
{
    g_assert_cmpint(address_space_store(f->space, address, size, value, plain), ==, MEMORY_OK);
}

/* ---- Registers ---- */

static void test_sizes(void)
{
    static const struct region_ops ops = {
        .read = probe_read, .write = probe_write, .min_size = 2, .max_size = 4};
    struct fixture f;
    struct probe p;

    fixture_init(&f);
    probe_init(&p, &ops, 64);
    region_add(&f.root, 0x1000, &p.region, 0);
    g_assert_cmphex(load(&f, 0x1002, 2), ==, 0x1312);
    g_assert_cmphex(load(&f, 0x1004, 4), ==, 0x17161514);
    store(&f, 0x1004, 4, 0xffffffff01020304);
    assert_log(&p, "r2@2 r4@4 w4@4=1020304 ");
    refuse(&f, 0x1004, 1, MEMORY_DECODE_ERROR);
    refuse(&f, 0x1008, 8, MEMORY_DECODE_ERROR);
    refuse(&f, 0x1001, 2, MEMORY_DECODE_ERROR);
    refuse(&f, 0x1006, 4, MEMORY_DECODE_ERROR);
    refuse(&f, 0x103e, 4, MEMORY_DECODE_ERROR);
    refuse(&f, 0x1040, 4, MEMORY_DECODE_ERROR);
    refuse(&f, 0xfff, 1, MEMORY_DECODE_ERROR);
    assert_log(&p, "");
    p.answer = MEMORY_DEVICE_ERROR;
    refuse(&f, 0x1000, 4, MEMORY_DEVICE_ERROR);
    assert_log(&p, "r4@0 w4@0=0 ");
    probe_clear(&p);
    fixture_clear(&f);
}

static void test_split(void)
{
    static const struct region_ops ops = {
        .read = probe_read, .write = probe_write, .impl_max = 2};
    struct fixture f;
    struct probe p;

    fixture_init(&f);
    probe_init(&p, &ops, 64);
    region_add(&f.root, 0, &p.region, 0);
    g_assert_cmphex(load(&f, 8, 8), ==, 0x1f1e1d1c1b1a1918);
    assert_log(&p, "r2@8 r2@a r2@c r2@e ");
    store(&f, 4, 4, 0xa1b2c3d4);
    assert_log(&p, "w2@4=c3d4 w2@6=a1b2 ");
    g_assert_cmphex(load(&f, 5, 1), ==, 0xc3);
    assert_log(&p, "r1@5 ");
    p.answer = MEMORY_DEVICE_ERROR;
    refuse(&f, 0, 8, MEMORY_DEVICE_ERROR);
    assert_log(&p, "r2@0 w2@0=0 ");
    probe_clear(&p);
    fixture_clear(&f);
}

static void test_widen(void)
{
    static const struct region_ops ops = {
        .read = probe_read, .write = probe_write, .impl_min = 4, .impl_max = 4, .unaligned = true};
    struct fixture f;
    struct probe p;

    fixture_init(&f);
    probe_init(&p, &ops, 62);
    region_add(&f.root, 0, &p.region, 0);
    g_assert_cmphex(load(&f, 6, 1), ==, 0x16);
    g_assert_cmphex(load(&f, 7, 2), ==, 0x1817);
    assert_log(&p, "r4@4 r4@4 r4@8 ");
    store(&f, 6, 1, 0xee);
    assert_log(&p, "r4@4 w4@4=17ee1514 ");
    store(&f, 3, 2, 0xaabb);
    assert_log(&p, "r4@0 w4@0=bb121110 r4@4 w4@4=17ee15aa ");
    g_assert_cmphex(load(&f, 3, 4), ==, 0xee15aabb);
    assert_log(&p, "r4@3 ");
    refuse(&f, 60, 2, MEMORY_DECODE_ERROR);     /* the unit isn't all in the region */
    assert_log(&p, "");
    probe_clear(&p);
    fixture_clear(&f);
}

static void test_big_endian(void)
{
    static const struct region_ops ops = {.read = probe_read,
                                          .write = probe_write,
                                          .impl_min = 2,
                                          .impl_max = 4,
                                          .big_endian = true};
    struct fixture f;
    struct probe p;
    uint8_t data[4];

    fixture_init(&f);
    probe_init(&p, &ops, 64);
    region_add(&f.root, 0, &p.region, 0);
    g_assert_cmphex(load(&f, 4, 4), ==, 0x14151617);
    store(&f, 4, 4, 0x01020304);
    assert_log(&p, "r4@4 w4@4=4030201 ");
    g_assert_cmphex(load(&f, 0, 8), ==, 0x0102030410111213);
    assert_log(&p, "r4@0 r4@4 ");
    /* The byte at offset 8 is the high one of the 16-bit register there. */
    g_assert_cmphex(load(&f, 8, 1), ==, 0x19);
    g_assert_cmphex(load(&f, 9, 1), ==, 0x18);
    store(&f, 8, 1, 0x77);
    assert_log(&p, "r2@8 r2@8 r2@8 w2@8=7718 ");
    g_assert_cmpint(address_space_read(f.space, 4, data, 4, plain), ==, MEMORY_OK);
    g_assert_cmpmem(data, 4, "\4\3\2\1", 4);
    probe_clear(&p);
    fixture_clear(&f);
}

static void test_simple(void)
{
    static const struct region_ops ops = {.read_simple = probe_read_simple};
    struct fixture f;
    struct probe p;

    fixture_init(&f);
    probe_init(&p, &ops, 64);
    region_add(&f.root, 0, &p.region, 0);
    g_assert_cmphex(load(&f, 0, 2), ==, 0x1110);
    g_assert_cmpint(address_space_store(f.space, 0, 2, 0, plain), ==, MEMORY_DECODE_ERROR);
    probe_clear(&p);
    fixture_clear(&f);
}

/* Any bytes: the largest accesses that the device takes; the first error; ones where nothing is. */
static void test_bytes(void)
{
    static const struct region_ops ops = {
        .read = probe_read, .write = probe_write, .max_size = 4};
    static const struct region_ops words = {
        .read = probe_read, .write = probe_write, .min_size = 4, .max_size = 4};
    struct fixture f;
    struct probe p, q;
    uint8_t data[16];

    fixture_init(&f);
    probe_init(&p, &ops, 16);
    probe_init(&q, &words, 16);
    region_add(&f.root, 0x10, &p.region, 0);
    region_add(&f.root, 0x24, &q.region, 0);
    g_assert_cmpint(address_space_read(f.space, 0x11, data, 10, plain), ==, MEMORY_OK);
    assert_log(&p, "r1@1 r2@2 r4@4 r2@8 r1@a ");
    g_assert_cmpmem(data, 10, "\x11\x12\x13\x14\x15\x16\x17\x18\x19\x1a", 10);
    g_assert_cmpint(address_space_read(f.space, 0x1c, data, 16, plain), ==, MEMORY_DECODE_ERROR);
    g_assert_cmpmem(data, 16,
                    "\x1c\x1d\x1e\x1f\xff\xff\xff\xff\x10\x11\x12\x13\x14\x15\x16\x17", 16);
    assert_log(&p, "r4@c ");
    assert_log(&q, "r4@0 r4@4 ");
    g_assert_cmpint(address_space_read(f.space, 0x24, data, 6, plain), ==, MEMORY_DECODE_ERROR);
    g_assert_cmpmem(data, 6, "\x10\x11\x12\x13\xff\xff", 6);
    p.answer = MEMORY_DEVICE_ERROR;
    g_assert_cmpint(address_space_write(f.space, 0x1c, "0123456789abcdef", 16, plain), ==,
                    MEMORY_DEVICE_ERROR);
    assert_log(&p, "w4@c=33323130 ");
    g_assert_cmpint(address_space_read(f.space, UINT64_MAX, data, 2, plain), ==,
                    MEMORY_DECODE_ERROR);
    g_assert_cmpint(address_space_read(f.space, 0x24, data, 0, plain), ==, MEMORY_OK);
    probe_clear(&p);
    probe_clear(&q);
    fixture_clear(&f);
}

/* A guest makes a device write to its own registers: no deadlock, an error, and in finite time. */
static enum memory_result reenter(void *opaque, uint64_t offset, unsigned size, uint64_t value,
                                  struct memory_attrs attrs)
{
    struct probe *p = opaque;
    uint8_t data[4096] = {0};

    g_string_append(p->log, "w ");
    return address_space_write(p->space, 0, data, sizeof(data), attrs);
}

static void test_reentry(void)
{
    static const struct region_ops ops = {.write = reenter};
    struct fixture f;
    struct probe p;

    fixture_init(&f);
    probe_init(&p, &ops, 4096);
    p.space = f.space;
    region_add(&f.root, 0, &p.region, 0);
    g_assert_cmpint(address_space_store(f.space, 0, 4, 0, plain), ==, MEMORY_DEVICE_ERROR);
    assert_log(&p, "w ");
    probe_clear(&p);
    fixture_clear(&f);
}

/* ---- RAM, ROM ---- */

static void test_ram(void)
{
    auto_ptr(ram_block) block = ram_block_new("ram", 0x3000, NULL);
    struct region low, high, rom;
    struct memory_range range;
    struct fixture f;
    uint8_t data[8];

    fixture_init(&f);
    region_init_ram(&low, "low", block, 0, 0x1000);
    region_init_ram(&high, "high", block, 0x1000, 0x1000);
    region_init_rom(&rom, "rom", block, 0x2000, 0x1000, NULL, NULL, NULL);
    region_add(&f.root, 0x80000000, &low, 0);
    region_add(&f.root, 0x80001000, &high, 0);
    region_add(&f.root, 0x80002000, &rom, 0);

    for (unsigned size = 1; size <= 8; size *= 2) {
        for (uint64_t at = 0x80000ff0; at < 0x80001008; at++) {
            store(&f, at, size, 0x1122334455667788 + at);
            g_assert_cmphex(load(&f, at, size), ==,
                            (0x1122334455667788 + at) & (~0ull >> (64 - 8 * size)));
        }
    }
    store(&f, 0x80000ffc, 8, 0x8877665544332211);
    g_assert_cmpmem(ram_block_host(block) + 0xffc, 8, "\x11\x22\x33\x44\x55\x66\x77\x88", 8);

    ram_block_host(block)[0x2000] = 0x5a;
    store(&f, 0x80002000, 4, 0);
    g_assert_cmphex(load(&f, 0x80002000, 4), ==, 0x5a);
    g_assert_cmpint(address_space_write(f.space, 0x80001fff, "ab", 2, plain), ==, MEMORY_OK);
    g_assert_cmpint(address_space_read(f.space, 0x80001fff, data, 2, plain), ==, MEMORY_OK);
    g_assert_cmpmem(data, 2, "a\x5a", 2);

    address_space_look_up(f.space, 0x80001800, &range);
    g_assert_true(range.region == &high && range.ram == block && range.writable);
    g_assert_cmphex(range.offset, ==, 0x800);
    g_assert_cmphex(range.ram_offset, ==, 0x1800);
    g_assert_cmphex(range.length, ==, 0x800);
    g_assert_true(range.host == ram_block_host(block) + 0x1800);
    address_space_look_up(f.space, 0x80002fff, &range);
    g_assert_true(range.region == &rom && range.host && !range.writable && range.length == 1);
    address_space_look_up(f.space, 0x80003000, &range);
    g_assert_true(!range.region && !range.host);
    g_assert_cmphex(range.length, ==, 0 - 0x80003000ull);
    fixture_clear(&f);
    region_clear(&low);
    region_clear(&high);
    region_clear(&rom);
}

static void test_block_errors(void)
{
    g_autoptr(GError) error = NULL;

    g_assert_null(ram_block_new("none", 0, &error));
    g_assert_nonnull(strstr(error->message, "none"));
    g_clear_error(&error);
    g_assert_null(ram_block_new("large", UINT64_MAX, &error));
    g_assert_nonnull(error);
    g_clear_error(&error);
    g_assert_null(ram_block_new("large", (uint64_t)INT64_MAX / 2 - 1, &error));
    g_assert_nonnull(error);
}

static void test_backend(void)
{
    g_autoptr(json_object) options =
        json_parse("{'qom-type':'memory-backend-ram','id':'m','size':16384}", NULL);
    g_autoptr(GError) error = NULL;
    struct memory_backend *backend;
    struct ram_block *block;
    struct region region;
    struct fixture f;
    struct control c;

    control_init(&c);
    g_assert_nonnull(object_create_user(c.root, options, false, &error));
    g_assert_no_error(error);
    backend = memory_backend_find(c.root, "m", &error);
    block = ram_block_new_backend("m", backend, &error);
    g_assert_no_error(error);
    g_assert_cmpuint(ram_block_size(block), ==, 0x4000);
    g_assert_cmpstr(ram_block_name(block), ==, "m");
    g_assert_null(ram_block_new_backend("again", backend, &error));
    g_assert_nonnull(error);
    g_clear_error(&error);
    g_assert_false(object_delete_user(c.root, "m", &error));
    fixture_init(&f);
    region_init_ram(&region, "m", block, 0, 0x4000);
    region_add(&f.root, 0, &region, 0);
    store(&f, 0x3ff8, 8, 7);
    g_assert_cmphex(load(&f, 0x3ff8, 8), ==, 7);
    region_remove(&region);
    region_clear(&region);
    fixture_clear(&f);
    ram_block_unref(block);
    g_assert_true(object_delete_user(c.root, "m", NULL));
    control_clear(&c);
}

static void test_flash(void)
{
    static const struct region_ops ops = {.read = probe_read, .write = probe_write};
    auto_ptr(ram_block) block = ram_block_new("flash", 0x1000, NULL);
    struct memory_range range;
    struct fixture f;
    struct probe p;
    struct region rom;

    fixture_init(&f);
    probe_init(&p, &ops, 1);
    region_init_rom(&rom, "flash", block, 0, 64, &ops, &p, &p.lock);
    region_add(&f.root, 0, &rom, 0);
    ram_block_host(block)[3] = 0x33;
    g_assert_cmphex(load(&f, 3, 1), ==, 0x33);
    store(&f, 0, 1, 0x90);
    assert_log(&p, "w1@0=90 ");
    region_set_rom_mode(&rom, false);
    g_assert_cmphex(load(&f, 3, 1), ==, 0x13);
    assert_log(&p, "r1@3 ");
    address_space_look_up(f.space, 0, &range);
    g_assert_true(!range.host && !range.writable);
    region_set_rom_mode(&rom, true);
    g_assert_cmphex(load(&f, 3, 1), ==, 0x33);
    assert_log(&p, "");
    probe_clear(&p);
    fixture_clear(&f);
    region_clear(&rom);
}

static void test_dirty(void)
{
    auto_ptr(ram_block) block = ram_block_new("ram", 0x3800, NULL);
    struct region region;
    struct fixture f;

    fixture_init(&f);
    region_init_ram(&region, "ram", block, 0, 0x3800);
    region_add(&f.root, 0x10000, &region, 0);
    for (uint64_t page = 0; page < 4; page++) {
        g_assert_true(ram_block_is_dirty(block, DIRTY_MIGRATION, page));
        g_assert_false(ram_block_is_watched(block, page << 12));
        g_assert_true(ram_block_test_and_clear_dirty(block, DIRTY_MIGRATION, page));
        g_assert_false(ram_block_test_and_clear_dirty(block, DIRTY_MIGRATION, page));
        g_assert_true(ram_block_is_dirty(block, DIRTY_DISPLAY, page));
        g_assert_true(ram_block_is_watched(block, page << 12));
    }
    store(&f, 0x10ffe, 4, 0);           /* in two pages */
    g_assert_true(ram_block_is_dirty(block, DIRTY_MIGRATION, 0));
    g_assert_true(ram_block_is_dirty(block, DIRTY_MIGRATION, 1));
    g_assert_false(ram_block_is_dirty(block, DIRTY_MIGRATION, 2));
    load(&f, 0x12000, 8);
    g_assert_false(ram_block_is_dirty(block, DIRTY_MIGRATION, 2));
    address_space_write(f.space, 0x137ff, "x", 1, plain);
    g_assert_true(ram_block_is_dirty(block, DIRTY_MIGRATION, 3));
    ram_block_set_dirty(block, 0x2000, 0);
    g_assert_false(ram_block_is_dirty(block, DIRTY_MIGRATION, 2));
    address_space_written(f.space, 0x12fff, 1);
    g_assert_true(ram_block_is_dirty(block, DIRTY_MIGRATION, 2));
    fixture_clear(&f);
    region_clear(&region);
}

static void note_code(void *opaque, uint64_t address, uint64_t size)
{
    g_string_append_printf(opaque, "%" G_GINT64_MODIFIER "x+%" G_GINT64_MODIFIER "x ", address,
                           size);
}

/* RAM at two places, written through a third of another space. */
static void test_code(void)
{
    auto_ptr(ram_block) block = ram_block_new("ram", 0x4000, NULL);
    g_autoptr(GString) log = g_string_new(NULL);
    struct region region, alias, bus, window;
    struct address_space *dma;
    struct fixture f;
    struct dma_map map;

    fixture_init(&f);
    region_init_ram(&region, "ram", block, 0, 0x4000);
    region_init_alias(&alias, "alias", &region, 0x1000, 0x1000);
    region_add(&f.root, 0x10000, &region, 0);
    region_add(&f.root, 0x50000, &alias, 0);
    region_init_container(&bus, "bus", 0);
    dma = address_space_new_peer("dma", &bus, f.space);
    region_init_alias(&window, "window", &region, 0, 0x4000);
    region_add(&bus, 0, &window, 0);
    address_space_set_code_listener(f.space, note_code, log);

    store(&f, 0x11000, 4, 0);
    g_assert_cmpstr(log->str, ==, "");
    ram_block_set_code(block, 0x1234);
    g_assert_true(ram_block_is_watched(block, 0x1000));
    store(&f, 0x10ffc, 4, 0);
    g_assert_cmpstr(log->str, ==, "");
    store(&f, 0x11ffc, 4, 0);
    g_assert_cmpstr(log->str, ==, "11ffc+4 50ffc+4 ");
    g_string_truncate(log, 0);
    store(&f, 0x11ffc, 4, 0);           /* there isn't any more */
    g_assert_cmpstr(log->str, ==, "");

    ram_block_set_code(block, 0x1000);
    address_space_write(dma, 0xffe, "1234", 4, plain);
    g_assert_cmpstr(log->str, ==, "10ffe+4 50000+2 ");
    g_string_truncate(log, 0);

    ram_block_set_code(block, 0x2000);
    g_assert_true(address_space_map(dma, 0x1800, 0x1000, true, plain, &map));
    g_assert_cmphex(map.size, ==, 0x1000);
    g_assert_cmpint(address_space_unmap(&map, 0x800), ==, MEMORY_OK);
    g_assert_cmpstr(log->str, ==, "");
    g_assert_true(address_space_map(dma, 0x1800, 0x1000, true, plain, &map));
    g_assert_cmpint(address_space_unmap(&map, 0x801), ==, MEMORY_OK);
    g_assert_cmpstr(log->str, ==, "11800+801 50800+800 ");
    g_string_truncate(log, 0);

    ram_block_set_code(block, 0x1000);
    address_space_written(f.space, 0x50010, 8);
    g_assert_cmpstr(log->str, ==, "11010+8 50010+8 ");
    address_space_set_code_listener(f.space, NULL, NULL);
    ram_block_set_code(block, 0);
    store(&f, 0x10000, 8, 0);
    address_space_free(dma);
    fixture_clear(&f);
    region_clear(&window);
    region_clear(&bus);
    region_clear(&alias);
    region_clear(&region);
}

/* ---- Trees ---- */

static void count(void *opaque)
{
    (*(unsigned *)opaque)++;
}

static void test_changes(void)
{
    auto_ptr(ram_block) block = ram_block_new("ram", 0x1000, NULL);
    struct region region, bank;
    struct memory_range range;
    unsigned changes = 0, others = 0;
    struct fixture f;

    fixture_init(&f);
    address_space_add_listener(f.space, count, &changes);
    address_space_add_listener(f.space, count, &others);
    region_init_container(&bank, "bank", 0x1000);
    region_init_ram(&region, "ram", block, 0, 0x1000);
    region_add(&f.root, 0x1000, &bank, 0);
    g_assert_cmpuint(changes, ==, 0);       /* nothing is to be seen of it */
    region_add(&bank, 0, &region, 0);
    g_assert_cmpuint(changes, ==, 1);
    region_set_enabled(&bank, true);
    g_assert_cmpuint(changes, ==, 1);
    address_space_begin_changes(f.space);
    region_set_enabled(&bank, false);
    address_space_begin_changes(f.space);
    region_move(&bank, 0x8000);
    address_space_end_changes(f.space);
    region_set_enabled(&bank, true);
    address_space_look_up(f.space, 0x1000, &range);
    g_assert_true(range.region == &region);
    g_assert_cmpuint(changes, ==, 1);
    address_space_end_changes(f.space);
    g_assert_cmpuint(changes, ==, 2);
    address_space_look_up(f.space, 0x1000, &range);
    g_assert_null(range.region);
    address_space_look_up(f.space, 0x8000, &range);
    g_assert_true(range.region == &region);
    address_space_remove_listener(f.space, &changes);
    region_remove(&bank);
    g_assert_cmpuint(changes, ==, 2);
    g_assert_cmpuint(others, ==, 3);
    region_clear(&region);
    region_clear(&bank);
    fixture_clear(&f);
}

/* Aliases that lie side by side and show neighbouring parts are one range, others aren't. */
static void test_merge(void)
{
    auto_ptr(ram_block) block = ram_block_new("ram", 0x4000, NULL);
    struct region ram, parts[3];
    static const uint64_t offsets[] = {0x1000, 0x2000, 0x1000};
    struct memory_range range;
    struct fixture f;

    fixture_init(&f);
    region_init_ram(&ram, "ram", block, 0, 0x4000);
    for (unsigned i = 0; i < 3; i++) {
        region_init_alias(&parts[i], "part", &ram, offsets[i], 0x1000);
        region_add(&f.root, i * 0x1000, &parts[i], 0);
    }
    address_space_look_up(f.space, 0x10, &range);
    g_assert_cmphex(range.length, ==, 0x1ff0);
    address_space_look_up(f.space, 0x2000, &range);
    g_assert_cmphex(range.length, ==, 0x1000);
    g_assert_cmphex(range.ram_offset, ==, 0x1000);
    fixture_clear(&f);
    for (unsigned i = 0; i < 3; i++) {
        region_clear(&parts[i]);
    }
    region_clear(&ram);
}

static void test_same_root(void)
{
    static const struct region_ops ops = {.read = probe_read, .write = probe_write};
    struct address_space *cpu;
    struct fixture f;
    struct probe p;
    uint64_t value;

    fixture_init(&f);
    probe_init(&p, &ops, 64);
    cpu = address_space_new("cpu", &f.root);
    region_add(&f.root, 0x100, &p.region, 0);
    g_assert_cmpint(address_space_load(cpu, 0x100, 1, &value, plain), ==, MEMORY_OK);
    probe_clear(&p);
    address_space_free(cpu);
    fixture_clear(&f);
}

/* ---- DMA ---- */

static void test_map(void)
{
    static const struct region_ops ops = {
        .read = probe_read, .write = probe_write, .max_size = 4};
    auto_ptr(ram_block) block = ram_block_new("ram", 0x2000, NULL);
    struct dma_map map, maps[100];
    unsigned n = 0;
    struct region ram, rom;
    struct fixture f;
    struct probe p;

    fixture_init(&f);
    probe_init(&p, &ops, 16);
    region_init_ram(&ram, "ram", block, 0, 0x1000);
    region_init_rom(&rom, "rom", block, 0x1000, 0x1000, NULL, NULL, NULL);
    region_add(&f.root, 0x1000, &ram, 0);
    region_add(&f.root, 0x2000, &rom, 0);
    region_add(&f.root, 0x4000, &p.region, 0);

    g_assert_true(address_space_map(f.space, 0x1ffe, 0x1000, true, plain, &map));
    g_assert_cmphex(map.size, ==, 2);
    g_assert_true(map.host == ram_block_host(block) + 0xffe);
    ram_block_test_and_clear_dirty(block, DIRTY_DISPLAY, 0);
    g_assert_cmpint(address_space_unmap(&map, 0), ==, MEMORY_OK);
    g_assert_false(ram_block_is_dirty(block, DIRTY_DISPLAY, 0));
    g_assert_true(address_space_map(f.space, 0x2ffe, UINT64_MAX, false, plain, &map));
    g_assert_true(map.host == ram_block_host(block) + 0x1ffe && map.size == 2);
    g_assert_cmpint(address_space_unmap(&map, 0), ==, MEMORY_OK);

    g_assert_false(address_space_map(f.space, 0x3000, 1, false, plain, &map));
    g_assert_false(address_space_map(f.space, 0x3000, 1, true, plain, &map));
    g_assert_false(address_space_map(f.space, 0x1000, 0, true, plain, &map));
    g_assert_null(map.host);

    g_assert_true(address_space_map(f.space, 0x4004, 100, false, plain, &map));
    g_assert_cmphex(map.size, ==, 12);
    g_assert_cmphex(map.host[0], ==, 0x14);
    g_assert_cmpint(address_space_unmap(&map, 0), ==, MEMORY_OK);
    assert_log(&p, "r4@4 r4@8 r4@c ");
    g_assert_true(address_space_map(f.space, 0x4004, 8, true, plain, &map));
    memcpy(map.host, "abcdefgh", 8);
    assert_log(&p, "");
    g_assert_cmpint(address_space_unmap(&map, 4), ==, MEMORY_OK);
    assert_log(&p, "w4@4=64636261 ");
    p.answer = MEMORY_DEVICE_ERROR;
    g_assert_false(address_space_map(f.space, 0x4004, 8, false, plain, &map));

    p.answer = MEMORY_OK;
    g_assert_false(address_space_map(f.space, 0x4000, 8, false, memory_only, &map));
    g_assert_false(address_space_map(f.space, 0x4000, 8, true, memory_only, &map));
    g_assert_cmpint(address_space_write(f.space, 0x4000, "1234", 4, memory_only), ==,
                    MEMORY_DECODE_ERROR);
    g_assert_cmpint(address_space_write(f.space, 0x1000, "1234", 4, memory_only), ==, MEMORY_OK);
    g_assert_true(address_space_map(f.space, 0x1000, 8, false, memory_only, &map));
    g_assert_cmpmem(map.host, 4, "1234", 4);
    g_assert_cmpint(address_space_unmap(&map, 0), ==, MEMORY_OK);
    g_string_truncate(p.log, 0);

    /* What devices hold in bounce buffers is bounded, and comes back. */
    for (unsigned i = 0; i < 2; i++) {
        while (n < G_N_ELEMENTS(maps) &&
               address_space_map(f.space, 0x2000, 0x1000, true, plain, &maps[n])) {
            n++;
        }
        g_assert_cmpuint(n, ==, 64);
        while (n) {
            g_assert_cmpint(address_space_unmap(&maps[--n], 0), ==, MEMORY_OK);
        }
    }
    probe_clear(&p);
    fixture_clear(&f);
    region_clear(&ram);
    region_clear(&rom);
}

struct iommu {
    struct region region;
    struct address_space *to;
    bool loops;
    unsigned calls;
};

/* Swaps pairs of pages; page 4 faults; page 5 can only be read. */
static enum memory_result translate(void *opaque, uint64_t offset, bool is_write,
                                    struct memory_attrs attrs, struct iommu_target *target)
{
    struct iommu *iommu = opaque;
    uint64_t page = offset >> 12;

    iommu->calls++;
    if (page == 4 || (page == 5 && is_write) || attrs.requester == 9) {
        return MEMORY_DEVICE_ERROR;
    }
    target->space = iommu->to;
    target->address = iommu->loops ? offset : ((page ^ 1) << 12) + (offset & 0xfff);
    target->length = 0x1000 - (offset & 0xfff);
    return MEMORY_OK;
}

static void test_iommu(void)
{
    static const struct iommu_ops ops = {.translate = translate};
    auto_ptr(ram_block) block = ram_block_new("ram", 0x8000, NULL);
    struct iommu iommu = {0};
    struct fixture f, bus;
    struct dma_map map;
    struct region ram;
    uint8_t data[0x10];
    uint64_t value;

    fixture_init(&f);
    fixture_init(&bus);
    region_init_ram(&ram, "ram", block, 0, 0x8000);
    region_add(&f.root, 0, &ram, 0);
    iommu.to = f.space;
    region_init_iommu(&iommu.region, "iommu", &ops, &iommu, 0x8000);
    region_add(&bus.root, 0, &iommu.region, 0);

    memcpy(ram_block_host(block) + 0x1ff8, "12345678", 8);
    memcpy(ram_block_host(block), "abcdefgh", 8);
    g_assert_cmpint(address_space_read(bus.space, 0xff8, data, 16, plain), ==, MEMORY_OK);
    g_assert_cmpmem(data, 16, "12345678abcdefgh", 16);
    g_assert_cmphex(load(&bus, 0xff8, 4), ==, 0x34333231);
    store(&bus, 0x2000, 8, 0x1122);
    g_assert_cmphex(ram_block_host(block)[0x3000], ==, 0x22);
    g_assert_cmpint(address_space_read(bus.space, 0x4000, data, 4, plain), ==,
                    MEMORY_DEVICE_ERROR);
    g_assert_cmpmem(data, 4, "\xff\xff\xff\xff", 4);
    g_assert_cmpint(address_space_read(bus.space, 0, data, 4,
                                       (struct memory_attrs){.requester = 9}),
                    ==, MEMORY_DEVICE_ERROR);
    g_assert_true(address_space_map(bus.space, 0x5800, 0x2000, false, plain, &map));
    g_assert_true(map.host == ram_block_host(block) + 0x4800 && map.size == 0x800);
    g_assert_cmpint(address_space_unmap(&map, 0), ==, MEMORY_OK);
    g_assert_false(address_space_map(bus.space, 0x5800, 1, true, plain, &map));

    iommu.to = bus.space;
    iommu.loops = true;
    iommu.calls = 0;
    g_assert_cmpint(address_space_load(bus.space, 0, 4, &value, plain), ==, MEMORY_DECODE_ERROR);
    g_assert_false(address_space_map(bus.space, 0, 4, false, plain, &map));
    g_assert_cmpuint(iommu.calls, <, 20);
    fixture_clear(&bus);
    fixture_clear(&f);
    region_clear(&iommu.region);
    region_clear(&ram);
}

/* ---- Texts ---- */

static void test_describe(void)
{
    static const struct region_ops ops = {.read = probe_read, .write = probe_write};
    auto_ptr(ram_block) block = ram_block_new("ram", 0x8000, NULL);
    struct region ram, mrom, flash, window, bus, hidden, ecam;
    struct address_space *cpu, *dma;
    struct fixture f;
    struct probe p;
    g_autofree char *tree = NULL, *flat = NULL, *all = NULL;

    fixture_init(&f);
    probe_init(&p, &ops, 0x24);
    region_init_ram(&ram, "riscv_virt_board.ram", block, 0, 0x8000);
    region_init_rom(&mrom, "riscv_virt_board.mrom", block, 0, 0x1000, NULL, NULL, NULL);
    region_init_rom(&flash, "virt.flash0", block, 0, 0x1000, &ops, &p, NULL);
    region_init_mmio(&ecam, "pcie-mmcfg-mmio", &ops, &p, 0x10000, NULL);
    region_init_alias(&window, "pcie-ecam", &ecam, 0x2000, 0x1000);
    region_init_container(&hidden, "hidden", 0x1000);
    region_init_container(&bus, "bus", 0);
    region_add(&f.root, 0x80000000, &ram, 0);
    region_add(&f.root, 0x30000000, &window, 0);
    region_add(&f.root, 0x1000, &mrom, 0);
    region_add(&f.root, 0x20000000, &flash, -1);
    region_add(&f.root, 0x101000, &p.region, 0);
    region_add(&f.root, 0x101000, &hidden, 1);
    region_set_enabled(&hidden, false);
    cpu = address_space_new("cpu-memory-0", &f.root);
    dma = address_space_new_peer("bus", &bus, cpu);

    tree = address_space_describe(f.space, false);
    g_assert_cmpstr(
        tree, ==,
        "address-space: memory\n"
        "  0000000000000000-ffffffffffffffff (prio 0, i/o): system\n"
        "    0000000000001000-0000000000001fff (prio 0, rom): riscv_virt_board.mrom\n"
        "    0000000000101000-0000000000101023 (prio 0, i/o): probe\n"
        "    0000000020000000-0000000020000fff (prio -1, romd): virt.flash0\n"
        "    0000000030000000-0000000030000fff (prio 0, i/o): alias pcie-ecam @pcie-mmcfg-mmio "
        "0000000000002000-0000000000002fff\n"
        "    0000000080000000-0000000080007fff (prio 0, ram): riscv_virt_board.ram\n"
        "\n"
        "memory-region: pcie-mmcfg-mmio\n"
        "  0000000000000000-000000000000ffff (prio 0, i/o): pcie-mmcfg-mmio\n"
        "\n");
    flat = address_space_describe_all(f.space, true, false);
    g_assert_cmpstr(
        flat, ==,
        "FlatView #0\n"
        " AS \"cpu-memory-0\", root: system\n"
        " AS \"memory\", root: system\n"
        " Root memory region: system\n"
        "  0000000000001000-0000000000001fff (prio 0, rom): riscv_virt_board.mrom\n"
        "  0000000000101000-0000000000101023 (prio 0, i/o): probe\n"
        "  0000000020000000-0000000020000fff (prio -1, romd): virt.flash0\n"
        "  0000000030000000-0000000030000fff (prio 0, i/o): pcie-mmcfg-mmio @0000000000002000\n"
        "  0000000080000000-0000000080007fff (prio 0, ram): riscv_virt_board.ram\n"
        "\n"
        "FlatView #1\n"
        " AS \"bus\", root: bus\n"
        " Root memory region: (none)\n"
        "  No rendered FlatView\n"
        "\n");
    all = address_space_describe_all(f.space, false, true);
    g_assert_true(g_str_has_prefix(all, "address-space: cpu-memory-0\naddress-space: memory\n"));
    g_assert_nonnull(strstr(all, "    0000000000101000-0000000000101fff (prio 1, i/o): hidden "
                                 "[disabled]\n    0000000000101000-"));
    address_space_free(dma);
    address_space_free(cpu);
    probe_clear(&p);
    fixture_clear(&f);
    region_clear(&window);
    region_clear(&ecam);
    region_clear(&bus);
    region_clear(&hidden);
    region_clear(&flash);
    region_clear(&mrom);
    region_clear(&ram);
}

static void assert_dump(char format, unsigned size, size_t n, const char *expected)
{
    static const uint8_t data[40] =
        "\x33\x04\x05\x00\xb3\x84\x05\x00\x33\x09\x06\x00\xef\x00\xc0\x65"
        "\x33\x08\x05\x00\x33\x05\x04\x00";
    g_autoptr(GString) out = g_string_new(NULL);
    struct memory_dump dump = {.format = format, .size = size};

    memory_dump_text(out, &dump, 0x80000000, data, n);
    g_assert_cmpstr(out->str, ==, expected);
}

static void test_dump(void)
{
    assert_dump('x', 4, 4, "0000000080000000: 0x00050433 0x000584b3 0x00060933 0x65c000ef\n");
    assert_dump('x', 8, 3,
                "0000000080000000: 0x000584b300050433 0x65c000ef00060933\n"
                "0000000080000010: 0x0004053300050833\n");
    assert_dump('x', 1, 9,
                "0000000080000000: 0x33 0x04 0x05 0x00 0xb3 0x84 0x05 0x00\n"
                "0000000080000008: 0x33\n");
    assert_dump('d', 4, 2, "0000000080000000:     328755     361651\n");
    assert_dump('u', 1, 3, "0000000080000000:  51   4   5\n");
    assert_dump('d', 1, 5, "0000000080000000:  51   4   5   0 -77\n");
    assert_dump('o', 4, 2, "0000000080000000:    01202063    01302263\n");
    assert_dump('c', 1, 10,
                "0000000080000000: '3' '\\x04' '\\x05' '\\x00' '\\xb3' '\\x84' '\\x05' '\\x00' "
                "'3' '\\x09'\n");
    assert_dump('x', 4, 0, "");
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    g_test_add_func("/memory/sizes", test_sizes);
    g_test_add_func("/memory/split", test_split);
    g_test_add_func("/memory/widen", test_widen);
    g_test_add_func("/memory/big-endian", test_big_endian);
    g_test_add_func("/memory/simple", test_simple);
    g_test_add_func("/memory/bytes", test_bytes);
    g_test_add_func("/memory/reentry", test_reentry);
    g_test_add_func("/memory/ram", test_ram);
    g_test_add_func("/memory/block-errors", test_block_errors);
    g_test_add_func("/memory/backend", test_backend);
    g_test_add_func("/memory/flash", test_flash);
    g_test_add_func("/memory/dirty", test_dirty);
    g_test_add_func("/memory/code", test_code);
    g_test_add_func("/memory/changes", test_changes);
    g_test_add_func("/memory/merge", test_merge);
    g_test_add_func("/memory/same-root", test_same_root);
    g_test_add_func("/memory/map", test_map);
    g_test_add_func("/memory/iommu", test_iommu);
    g_test_add_func("/memory/describe", test_describe);
    g_test_add_func("/memory/dump", test_dump);
    return g_test_run();
}
