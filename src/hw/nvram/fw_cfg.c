#include "hw/nvram/fw_cfg.h"

#include <stdlib.h>
#include <string.h>

#include "hw/dma.h"
#include "qapi/error.h"

enum { KEY_WRITE = 0x4000 };    /* of a selector; means nothing any more */
enum { ID_TRADITIONAL = 1, ID_DMA = 2 };
enum { DMA_ERROR = 1, DMA_READ = 2, DMA_SKIP = 4, DMA_SELECT = 8, DMA_WRITE = 16 };

static const uint64_t dma_signature = 0x51454d5520434647ull;    /* "QEMU CFG" */

struct item {
    GBytes *bytes;              /* NULL: writable */
    uint8_t *data;
    uint32_t size;
    void (*written)(void *opaque);
    void *opaque;
};

struct file {
    char *name;
    uint16_t key;
    uint32_t size;
};

struct fw_cfg {
    struct mmio_device dev;
    uint16_t slots;
    GHashTable *items;          /* key -> struct item */
    GArray *files;              /* struct file, by name */
    uint16_t selector;
    uint32_t position;          /* in the selected item */
    uint32_t dma_high;          /* of the descriptor's address */
};

/* What is sent to the guest by DMA; all big endian. */
struct dma_descriptor {
    uint32_t control, length;
    uint64_t address;
};

static void free_item(void *data)
{
    struct item *item = data;

    g_clear_pointer(&item->bytes, g_bytes_unref);
    g_free(item);
}

static void clear_file(void *data)
{
    g_free(((struct file *)data)->name);
}

static void insert(struct fw_cfg *s, uint16_t key, struct item item)
{
    g_mutex_lock(&s->dev.lock);
    g_hash_table_replace(s->items, GUINT_TO_POINTER(key), g_memdup2(&item, sizeof(item)));
    g_mutex_unlock(&s->dev.lock);
}

void fw_cfg_add(struct mmio_device *dev, uint16_t key, GBytes *data)
{
    gsize size;
    const void *bytes = g_bytes_get_data(data, &size);

    g_assert(size <= UINT32_MAX && !(key & KEY_WRITE));
    insert((struct fw_cfg *)dev, key, (struct item){
        .bytes = g_bytes_ref(data),
        .data = (uint8_t *)bytes,
        .size = (uint32_t)size,
    });
}

void fw_cfg_add_integer(struct mmio_device *dev, uint16_t key, uint64_t value, unsigned size)
{
    uint64_t little = GUINT64_TO_LE(value);
    g_autoptr(GBytes) bytes = g_bytes_new(&little, size);

    fw_cfg_add(dev, key, bytes);
}

void fw_cfg_add_text(struct mmio_device *dev, uint16_t key, const char *text)
{
    g_autoptr(GBytes) bytes = g_bytes_new(text, strlen(text) + 1);

    fw_cfg_add(dev, key, bytes);
}

/* ---- Files ---- */

/* The directory: u32 number of files; for each u32 size, u16 key, u16 0, name. Big endian. */
static void update_directory(struct fw_cfg *s)
{
    g_autoptr(GByteArray) out = g_byte_array_new();
    g_autoptr(GBytes) bytes = NULL;
    uint32_t word = GUINT32_TO_BE(s->files->len);

    g_byte_array_append(out, (const uint8_t *)&word, 4);
    for (guint i = 0; i < s->files->len; i++) {
        const struct file *file = &g_array_index(s->files, struct file, i);
        char name[FW_CFG_FILE_NAME_SIZE] = {0};
        uint16_t key = GUINT16_TO_BE(file->key), zero = 0;

        memcpy(name, file->name, strlen(file->name));
        word = GUINT32_TO_BE(file->size);
        g_byte_array_append(out, (const uint8_t *)&word, 4);
        g_byte_array_append(out, (const uint8_t *)&key, 2);
        g_byte_array_append(out, (const uint8_t *)&zero, 2);
        g_byte_array_append(out, (const uint8_t *)name, sizeof(name));
    }
    bytes = g_bytes_new(out->data, out->len);
    fw_cfg_add(&s->dev, FW_CFG_FILE_DIR, bytes);
}

/* A place for a file in the directory, which is sorted; a key never changes. 0 and *error: there is
 * none. */
static uint16_t add_name(struct fw_cfg *s, const char *name, uint64_t size, GError **error)
{
    struct file file = {
        .size = (uint32_t)size,
        .key = (uint16_t)(FW_CFG_FILE_FIRST + s->files->len),
    };
    guint at = 0;
    int order = 1;

    while (at < s->files->len &&
           (order = strcmp(g_array_index(s->files, struct file, at).name, name)) < 0) {
        at++;
    }
    if (*name == '\0' || strlen(name) >= FW_CFG_FILE_NAME_SIZE || size > UINT32_MAX) {
        g_set_error(error, QAPI_ERROR, QAPI_ERROR_GENERIC,
                    "fw_cfg: '%s' can't be a file: names have 1 to %d characters, files less than "
                    "4 GiB", name, FW_CFG_FILE_NAME_SIZE - 1);
        return 0;
    }
    if (at < s->files->len && order == 0) {
        g_set_error(error, QAPI_ERROR, QAPI_ERROR_GENERIC, "fw_cfg: there is a file '%s' already",
                    name);
        return 0;
    }
    if (s->files->len == s->slots) {
        g_set_error(error, QAPI_ERROR, QAPI_ERROR_GENERIC,
                    "fw_cfg: no room for '%s': there are %u files already", name, s->slots);
        return 0;
    }
    file.name = g_strdup(name);
    g_array_insert_val(s->files, at, file);
    update_directory(s);
    return file.key;
}

bool fw_cfg_add_file(struct mmio_device *dev, const char *name, GBytes *data, GError **error)
{
    uint16_t key = add_name((struct fw_cfg *)dev, name, g_bytes_get_size(data), error);

    if (key) {
        fw_cfg_add(dev, key, data);
    }
    return key != 0;
}

bool fw_cfg_add_writable_file(struct mmio_device *dev, const char *name, void *data, uint32_t size,
                              void (*written)(void *opaque), void *opaque, GError **error)
{
    struct fw_cfg *s = (struct fw_cfg *)dev;
    uint16_t key = add_name(s, name, size, error);

    if (key) {
        insert(s, key, (struct item){
            .data = data, .size = size, .written = written, .opaque = opaque,
        });
    }
    return key != 0;
}

/* ---- Reading ---- */

static struct item *selected(const struct fw_cfg *s)
{
    return g_hash_table_lookup(s->items, GUINT_TO_POINTER((unsigned)s->selector));
}

static void select_item(struct fw_cfg *s, uint64_t key)
{
    s->selector = (uint16_t)(key & ~(uint64_t)KEY_WRITE);
    s->position = 0;
}

/* What is behind the end, and items that aren't there, read as 0. */
static uint64_t data_read(void *opaque, uint64_t offset, unsigned size)
{
    struct fw_cfg *s = opaque;
    const struct item *item = selected(s);
    uint64_t value = 0;

    for (unsigned i = 0; i < size; i++) {
        value <<= 8;
        if (item && s->position < item->size) {
            value |= item->data[s->position++];
        }
    }
    return value;
}

static void data_write(void *opaque, uint64_t offset, uint64_t value, unsigned size)
{
    mmio_device_guest_error(opaque, "write to the data register: only DMA writes");
}

static enum memory_result control_read(void *opaque, uint64_t offset, unsigned size,
                                       uint64_t *value, struct memory_attrs attrs)
{
    return MEMORY_DECODE_ERROR;
}

static enum memory_result control_write(void *opaque, uint64_t offset, unsigned size,
                                        uint64_t value, struct memory_attrs attrs)
{
    select_item(opaque, value);
    return MEMORY_OK;
}

/* ---- DMA ---- */

/* length bytes from or to the selected item, or past them. */
static bool transfer(struct fw_cfg *s, uint32_t control, uint32_t length, uint64_t address)
{
    struct address_space *memory = s->dev.hw->memory;
    const struct item *item = selected(s);
    uint32_t inside = item ? MIN(length, item->size - s->position) : 0;
    bool ok = true;

    if (control & DMA_READ) {
        ok = (!inside || dma_write(memory, address, item->data + s->position, inside)) &&
             dma_clear(memory, address + inside, length - inside);
    } else if (control & DMA_WRITE) {
        ok = item && !item->bytes && inside == length &&
             dma_read(memory, address, item->data + s->position, inside);
        if (ok && item->written) {
            item->written(item->opaque);
        }
    } else if (!(control & DMA_SKIP)) {
        return true;
    }
    s->position += inside;
    return ok;
}

static void run_dma(struct fw_cfg *s, uint64_t at)
{
    struct address_space *memory = s->dev.hw->memory;
    struct dma_descriptor d;
    uint32_t control, result = GUINT32_TO_BE(DMA_ERROR);

    if (dma_read(memory, at, &d, sizeof(d))) {
        control = GUINT32_FROM_BE(d.control);
        if (control & DMA_SELECT) {
            select_item(s, control >> 16);
        }
        if (transfer(s, control, GUINT32_FROM_BE(d.length), GUINT64_FROM_BE(d.address))) {
            result = 0;
        }
    }
    if (!dma_write(memory, at, &result, sizeof(result))) {
        mmio_device_guest_error(&s->dev, "DMA descriptor at 0x%" G_GINT64_MODIFIER
                                "x, where no memory is", at);
    }
}

static uint64_t dma_register_read(void *opaque, uint64_t offset, unsigned size)
{
    return dma_signature >> (8 - offset - size) * 8;
}

/* The low half starts it. */
static enum memory_result dma_register_write(void *opaque, uint64_t offset, unsigned size,
                                             uint64_t value, struct memory_attrs attrs)
{
    struct fw_cfg *s = opaque;

    if (size == 8) {
        s->dma_high = 0;
        run_dma(s, value);
    } else if (size == 4 && offset == 0) {
        s->dma_high = (uint32_t)value;
    } else if (size == 4) {
        uint64_t at = (uint64_t)s->dma_high << 32 | value;

        s->dma_high = 0;
        run_dma(s, at);
    } else {
        return MEMORY_DECODE_ERROR;
    }
    return MEMORY_OK;
}

static const struct region_ops data_ops = {
    .read_simple = data_read,
    .write_simple = data_write,
    .min_size = 1,
    .max_size = 8,
    .unaligned = true,
    .big_endian = true,
};

static const struct region_ops control_ops = {
    .read = control_read,
    .write = control_write,
    .min_size = 2,
    .max_size = 2,
    .big_endian = true,
};

static const struct region_ops dma_ops = {
    .read_simple = dma_register_read,
    .write = dma_register_write,
    .min_size = 1,
    .max_size = 8,
    .big_endian = true,
};

/* ---- The device ---- */

static bool realize(struct mmio_device *dev, GError **error)
{
    struct fw_cfg *s = (struct fw_cfg *)dev;

    if (s->slots < 16 || s->slots >= KEY_WRITE - FW_CFG_FILE_FIRST) {
        g_set_error(error, QAPI_ERROR, QAPI_ERROR_GENERIC,
                    "fw_cfg_mem: x-file-slots is %u, it can be 16 to %u", s->slots,
                    KEY_WRITE - FW_CFG_FILE_FIRST - 1);
        return false;
    }
    s->items = g_hash_table_new_full(NULL, NULL, NULL, free_item);
    s->files = g_array_new(false, false, sizeof(struct file));
    g_array_set_clear_func(s->files, clear_file);
    region_init_mmio(&dev->regions[0], "fwcfg.data", &data_ops, s, 8, &dev->lock);
    region_init_mmio(&dev->regions[1], "fwcfg.ctl", &control_ops, s, 2, &dev->lock);
    region_init_mmio(&dev->regions[2], "fwcfg.dma", &dma_ops, s, 8, &dev->lock);
    dev->n_regions = 3;
    fw_cfg_add_integer(dev, FW_CFG_SIGNATURE, 0x554d4551, 4);   /* "QEMU" */
    fw_cfg_add_integer(dev, FW_CFG_ID, ID_TRADITIONAL | ID_DMA, 4);
    update_directory(s);
    return true;
}

static void unrealize(struct mmio_device *dev)
{
    struct fw_cfg *s = (struct fw_cfg *)dev;

    g_clear_pointer(&s->items, g_hash_table_unref);
    g_clear_pointer(&s->files, g_array_unref);
}

static bool after_load(void *instance, uint32_t version, GError **error)
{
    struct fw_cfg *s = instance;
    const struct item *item = selected(s);

    s->position = MIN(s->position, item ? item->size : 0);
    return true;
}

static const struct state_field fields[] = {
    STATE_FIELD(fw_cfg, selector, STATE_U16),
    STATE_FIELD(fw_cfg, position, STATE_U32),
    STATE_FIELD(fw_cfg, dma_high, STATE_U32),
};

static const struct state_table state = {
    .name = "fw_cfg_mem",
    .version = 1,
    .fields = fields,
    .n_fields = G_N_ELEMENTS(fields),
    .after_load = after_load,
};

static const struct mmio_device_class fw_cfg_class = {
    .state = &state,
    .realize = realize,
    .unrealize = unrealize,
};

static const struct property properties[] = {
    PROPERTY("x-file-slots", fw_cfg, slots, qapi_type_uint16, "32", "Number of files at most"),
};

static const struct object_type fw_cfg_type = {
    .name = "fw_cfg_mem",
    .parent = "mmio-device",
    .instance_size = sizeof(struct fw_cfg),
    .properties = properties,
    .n_properties = G_N_ELEMENTS(properties),
    .class_data = &fw_cfg_class,
};
OBJECT_TYPE(fw_cfg_type);
