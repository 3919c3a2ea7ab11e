#include "migration/machine_state.h"

#include <string.h>

#include "memory/memory.h"
#include "migration/state_walk.h"
#include "qapi/error.h"
#include "util/clock.h"

enum { MAGIC_SIZE = 8, VERSION = 1, PAGE_SIZE = 4096 };

static const char magic[MAGIC_SIZE] = "NanduVM";
static const uint64_t end_of_block = UINT64_MAX;
static const uint64_t max_sections = 1 << 30;   /* bytes; more is no machine's */

static bool fail(GError **error, const char *format, ...) G_GNUC_PRINTF(2, 3);

static bool fail(GError **error, const char *format, ...)
{
    g_autofree char *text = NULL;
    va_list args;

    va_start(args, format);
    text = g_strdup_vprintf(format, args);
    va_end(args);
    g_set_error(error, QAPI_ERROR, QAPI_ERROR_GENERIC, "The saved machine can't be loaded: %s",
                text);
    return false;
}

static bool is_zero(const uint8_t *data, size_t size)
{
    return data[0] == 0 && memcmp(data, data + 1, size - 1) == 0;
}

static uint64_t page_size(const struct ram_block *block, uint64_t offset)
{
    return MIN(PAGE_SIZE, ram_block_size(block) - offset);
}

/* ---- Saving ---- */

static bool put(const struct state_writer *out, const void *data, size_t size, GError **error)
{
    return out->write(out->opaque, data, size, error);
}

static bool put_int(const struct state_writer *out, uint64_t value, unsigned size, GError **error)
{
    uint64_t little = GUINT64_TO_LE(value);

    return put(out, &little, size, error);
}

static bool save_block(const struct ram_block *block, const struct state_writer *out,
                       GError **error)
{
    const char *name = ram_block_name(block);
    const uint8_t *host = ram_block_host(block);

    if (!put_int(out, strlen(name), 2, error) || !put(out, name, strlen(name), error) ||
        !put_int(out, ram_block_size(block), 8, error)) {
        return false;
    }
    for (uint64_t offset = 0; offset < ram_block_size(block); offset += PAGE_SIZE) {
        uint64_t n = page_size(block, offset);

        if (!is_zero(host + offset, n) &&
            (!put_int(out, offset, 8, error) || !put(out, host + offset, n, error))) {
            return false;
        }
    }
    return put_int(out, end_of_block, 8, error);
}

bool machine_state_save(const struct machine_state *machine, const struct state_writer *out,
                        GError **error)
{
    g_autoptr(GPtrArray) blocks = address_space_ram_blocks(machine->memory);
    g_autoptr(GByteArray) sections = g_byte_array_new();
    int64_t now = clocks_now(machine->clocks, CLOCK_VIRTUAL);

    if (!put(out, magic, MAGIC_SIZE, error) || !put_int(out, VERSION, 4, error) ||
        !put_int(out, (uint64_t)now, 8, error)) {
        return false;
    }
    for (guint i = 0; i < blocks->len; i++) {
        if (!save_block(blocks->pdata[i], out, error)) {
            return false;
        }
    }
    state_walk_save(machine->root, sections);
    return put_int(out, 0, 2, error) && put_int(out, sections->len, 8, error) &&
           put(out, sections->data, sections->len, error);
}

/* ---- Loading ---- */

static bool get(const struct state_reader *in, void *data, size_t size, GError **error)
{
    return in->read(in->opaque, data, size, error);
}

static bool get_int(const struct state_reader *in, unsigned size, uint64_t *value, GError **error)
{
    uint64_t little = 0;

    if (!get(in, &little, size, error)) {
        return false;
    }
    *value = GUINT64_FROM_LE(little);
    return true;
}

/* Untouched pages stay so: they take no memory. */
static bool store_page(struct address_space *memory, struct ram_block *block, uint64_t offset,
                       const uint8_t *data, GError **error)
{
    uint64_t n = page_size(block, offset);

    return memcmp(ram_block_host(block) + offset, data, n) == 0 ||
           address_space_restore(memory, block, offset, data, n) ||
           fail(error, "memory '%s' can't be written and has other bytes", ram_block_name(block));
}

static bool load_block(struct address_space *memory, struct ram_block *block,
                       const struct state_reader *in, GError **error)
{
    static const uint8_t zeroes[PAGE_SIZE];
    uint64_t size, next, offset = 0;
    uint8_t page[PAGE_SIZE];

    if (!get_int(in, 8, &size, error)) {
        return false;
    }
    if (size != ram_block_size(block)) {
        return fail(error, "memory '%s' has %" G_GUINT64_FORMAT " bytes, here it has %"
                    G_GUINT64_FORMAT, ram_block_name(block), size, ram_block_size(block));
    }
    do {
        if (!get_int(in, 8, &next, error)) {
            return false;
        }
        if (next != end_of_block && (next % PAGE_SIZE || next < offset || next >= size)) {
            return fail(error, "memory '%s' has a page where none can be", ram_block_name(block));
        }
        for (; offset < MIN(next, size); offset += PAGE_SIZE) {
            if (!store_page(memory, block, offset, zeroes, error)) {
                return false;
            }
        }
        if (next != end_of_block) {
            if (!get(in, page, page_size(block, next), error) ||
                !store_page(memory, block, next, page, error)) {
                return false;
            }
            offset = next + PAGE_SIZE;
        }
    } while (next != end_of_block);
    return true;
}

/* The block that comes next, taken out of blocks; *name: of it, empty after the last. */
static bool next_block(const struct state_reader *in, GPtrArray *blocks, struct ram_block **block,
                       GError **error)
{
    g_autofree char *name = NULL;
    uint64_t length;

    *block = NULL;
    if (!get_int(in, 2, &length, error)) {
        return false;
    }
    if (length == 0) {
        return true;
    }
    name = g_malloc0(length + 1);
    if (!get(in, name, length, error)) {
        return false;
    }
    for (guint i = 0; i < blocks->len; i++) {
        if (g_str_equal(ram_block_name(blocks->pdata[i]), name)) {
            *block = g_ptr_array_steal_index(blocks, i);
            return true;
        }
    }
    return fail(error, "it has memory '%s', which this machine hasn't", name);
}

static bool load_memory(struct address_space *memory, const struct state_reader *in,
                        GError **error)
{
    g_autoptr(GPtrArray) blocks = address_space_ram_blocks(memory);

    for (;;) {
        auto_ptr(ram_block) block = NULL;

        if (!next_block(in, blocks, &block, error)) {
            return false;
        }
        if (!block) {
            break;
        }
        if (!load_block(memory, block, in, error)) {
            return false;
        }
    }
    return blocks->len == 0 ||
           fail(error, "it lacks memory '%s'", ram_block_name(blocks->pdata[0]));
}

static bool load_devices(const struct machine_state *machine, const struct state_reader *in,
                         GError **error)
{
    g_autofree uint8_t *data = NULL;
    uint64_t size;
    bool loaded;

    if (!get_int(in, 8, &size, error)) {
        return false;
    }
    data = size <= max_sections ? g_try_malloc(size + 1) : NULL;
    if (!data) {
        return fail(error, "its devices have %" G_GUINT64_FORMAT " bytes of state", size);
    }
    if (!get(in, data, size, error)) {
        return false;
    }
    address_space_begin_changes(machine->memory);
    loaded = state_walk_load(machine->root, data, size, error);
    address_space_end_changes(machine->memory);
    return loaded;
}

bool machine_state_load(const struct machine_state *machine, const struct state_reader *in,
                        GError **error)
{
    char found[MAGIC_SIZE];
    uint64_t version, now;

    if (!get(in, found, MAGIC_SIZE, error) || !get_int(in, 4, &version, error) ||
        !get_int(in, 8, &now, error)) {
        return false;
    }
    if (memcmp(found, magic, MAGIC_SIZE) != 0) {
        return fail(error, "it isn't a saved machine");
    }
    if (version != VERSION) {
        return fail(error, "it is of version %" G_GUINT64_FORMAT ", this program knows version %u",
                    version, VERSION);
    }
    if (now > INT64_MAX) {
        return fail(error, "its time can't be");
    }
    clocks_set_virtual(machine->clocks, (int64_t)now);
    return load_memory(machine->memory, in, error) && load_devices(machine, in, error);
}
