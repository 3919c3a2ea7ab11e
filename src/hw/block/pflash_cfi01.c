#include "hw/block/pflash_cfi01.h"

#include <string.h>

#include "hw/block/pflash_drive.h"
#include "qapi/error.h"

/* Commands; the value that selects the array again is 0xff. */
enum {
    CMD_PROGRAM_10 = 0x10,
    CMD_ERASE = 0x20,
    CMD_PROGRAM = 0x40,
    CMD_CLEAR_STATUS = 0x50,
    CMD_LOCK = 0x60,
    CMD_STATUS = 0x70,
    CMD_ID = 0x90,
    CMD_QUERY = 0x98,
    CMD_CONFIRM = 0xd0,
    CMD_WRITE_BUFFER = 0xe8,
    CMD_ARRAY = 0xff,
};

enum { STATUS_READY = 0x80, STATUS_ERASE_ERROR = 0x20, STATUS_PROGRAM_ERROR = 0x10,
       STATUS_LOCKED = 0x02 };

enum { CFI_SIZE = 0x41, BUFFER_LOG2 = 11, MAX_LANES = 8 };

/* What the next write is. */
enum step { STEP_COMMAND, STEP_DATA, STEP_CONFIRM_ERASE, STEP_LOCK, STEP_COUNT, STEP_BUFFER,
            STEP_CONFIRM_BUFFER };

struct pflash {
    struct mmio_device dev;
    char *name, *drive_name;
    uint32_t num_blocks;
    uint64_t sector_length;     /* of the bank: all chips together */
    uint8_t width, device_width;
    uint16_t id0, id1;
    bool read_only;
    struct ram_block *memory;
    struct pflash_drive *drive; /* that keeps it; NULL: nothing does */
    bool loaded;                /* saved state replaced it, which the drive doesn't know yet */
    uint8_t cfi[CFI_SIZE];
    unsigned lanes;             /* chips side by side */

    uint8_t mode;               /* a command: what reading gives */
    uint8_t step;
    uint8_t status;
    uint32_t buffer_left;       /* words of the bank that are still to come */
    uint64_t buffer_start;      /* offset; where the first of them went */
    uint32_t buffer_used;       /* bytes from there */
    uint8_t buffer[MAX_LANES << BUFFER_LOG2];
};

static void set_mode(struct pflash *s, uint8_t mode)
{
    if ((mode == CMD_ARRAY) != (s->mode == CMD_ARRAY)) {
        region_set_rom_mode(&s->dev.regions[0], mode == CMD_ARRAY);
    }
    s->mode = mode;
}

static uint8_t *array(const struct pflash *s)
{
    return ram_block_host(s->memory);
}

/* ---- Reading ---- */

/* Each chip answers the same on its lanes of the bus. */
static uint64_t on_all_lanes(const struct pflash *s, uint64_t value)
{
    uint64_t all = 0;

    for (unsigned lane = 0; lane < s->lanes; lane++) {
        all |= value << lane * s->device_width * 8;
    }
    return all;
}

static uint64_t id_of(const struct pflash *s, uint64_t index)
{
    switch (index & 0xff) {
    case 0: return s->id0;
    case 1: return s->id1;
    default: return 0;          /* no block is locked */
    }
}

/* What the register at a word of the bus says. */
static uint64_t register_read(const struct pflash *s, uint64_t index)
{
    switch (s->mode) {
    case CMD_ID: return id_of(s, index);
    case CMD_QUERY: return index < CFI_SIZE ? s->cfi[index] : 0;
    default: return s->drive && pflash_drive_busy(s->drive) ? s->status & ~STATUS_READY : s->status;
    }
}

static uint64_t pflash_read(void *opaque, uint64_t offset, unsigned size)
{
    struct pflash *s = opaque;
    uint64_t value = 0, word;

    if (s->mode == CMD_ARRAY) {
        /* Another hart has changed that since this one looked up where to read. */
        memcpy(&value, array(s) + offset, size);
        return GUINT64_FROM_LE(value);
    }
    for (unsigned i = size; i-- > 0;) {
        word = on_all_lanes(s, register_read(s, (offset + i) / s->width));
        value = value << 8 | (word >> (offset + i) % s->width * 8 & 0xff);
    }
    return value;
}

/* ---- Writing ---- */

static void changed(struct pflash *s, uint64_t offset, uint64_t size)
{
    ram_block_set_dirty(s->memory, offset, size);
    if (s->drive) {
        pflash_drive_write(s->drive, offset, array(s) + offset, size);
    }
}

/* False, with the status set: it is read-only, or the guest didn't wait until it is ready. */
static bool may_change(struct pflash *s, uint8_t error)
{
    if (s->read_only || (s->drive && pflash_drive_read_only(s->drive))) {
        s->status |= error | STATUS_LOCKED;
        return false;
    }
    if (s->drive && pflash_drive_busy(s->drive)) {
        mmio_device_guest_error(&s->dev, "changed while it isn't ready");
        s->status |= error;
        return false;
    }
    return true;
}

/* Programming turns ones into zeroes, never back. */
static void program(struct pflash *s, uint64_t offset, const uint8_t *data, uint64_t size)
{
    if (!may_change(s, STATUS_PROGRAM_ERROR)) {
        return;
    }
    for (uint64_t i = 0; i < size; i++) {
        array(s)[offset + i] &= data[i];
    }
    changed(s, offset, size);
}

static void erase(struct pflash *s, uint64_t offset)
{
    uint64_t start = offset - offset % s->sector_length;

    if (!may_change(s, STATUS_ERASE_ERROR)) {
        return;
    }
    memset(array(s) + start, 0xff, s->sector_length);
    changed(s, start, s->sector_length);
}

static void sequence_error(struct pflash *s)
{
    s->status |= STATUS_ERASE_ERROR | STATUS_PROGRAM_ERROR;
    s->step = STEP_COMMAND;
    set_mode(s, CMD_STATUS);
}

static void command(struct pflash *s, uint8_t value)
{
    static const struct {
        uint8_t command, step;
    } steps[] = {
        {CMD_PROGRAM, STEP_DATA},         {CMD_PROGRAM_10, STEP_DATA},
        {CMD_ERASE, STEP_CONFIRM_ERASE},  {CMD_LOCK, STEP_LOCK},
        {CMD_WRITE_BUFFER, STEP_COUNT},
    };

    for (size_t i = 0; i < G_N_ELEMENTS(steps); i++) {
        if (value == steps[i].command) {
            s->step = steps[i].step;
            set_mode(s, CMD_STATUS);
            return;
        }
    }
    switch (value) {
    case CMD_STATUS:
    case CMD_ID:
    case CMD_QUERY: set_mode(s, value); break;
    case CMD_CLEAR_STATUS: s->status = STATUS_READY; set_mode(s, CMD_ARRAY); break;
    case 0x00:  /* this and the next come from probes for other command sets */
    case 0xf0:
    case CMD_ARRAY: set_mode(s, CMD_ARRAY); break;
    default:
        mmio_device_guest_error(&s->dev, "command 0x%02x, which isn't there", value);
        set_mode(s, CMD_ARRAY);
    }
}

/* A word of the buffer, which begins where the first one goes and stays in one aligned piece. */
static void fill_buffer(struct pflash *s, uint64_t offset, uint64_t value, unsigned size)
{
    uint64_t buffer_size = (uint64_t)s->lanes << BUFFER_LOG2, little = GUINT64_TO_LE(value), at;

    if (s->buffer_used == 0) {
        s->buffer_start = offset;
        memset(s->buffer, 0xff, sizeof(s->buffer));
    }
    at = offset - s->buffer_start;
    if (offset < s->buffer_start || at + size > buffer_size) {
        mmio_device_guest_error(&s->dev, "write to a buffer outside of it");
        sequence_error(s);
        return;
    }
    memcpy(s->buffer + at, &little, size);
    s->buffer_used = MAX(s->buffer_used, (uint32_t)(at + size));
    if (--s->buffer_left == 0) {
        s->step = STEP_CONFIRM_BUFFER;
    }
}

static void start_buffer(struct pflash *s, uint64_t count)
{
    uint64_t words = (count & (s->device_width == 1 ? 0xff : 0xffff)) + 1;

    if (words * s->width > (uint64_t)s->lanes << BUFFER_LOG2) {
        mmio_device_guest_error(&s->dev, "write of more than a buffer holds");
        sequence_error(s);
        return;
    }
    s->buffer_left = (uint32_t)words;
    s->buffer_used = 0;
    s->step = STEP_BUFFER;
}

static void pflash_write(void *opaque, uint64_t offset, uint64_t value, unsigned size)
{
    struct pflash *s = opaque;
    uint64_t little = GUINT64_TO_LE(value), last;
    enum step step = s->step;

    s->step = STEP_COMMAND;
    switch (step) {
    case STEP_COMMAND: command(s, (uint8_t)value); break;
    case STEP_DATA: program(s, offset, (const uint8_t *)&little, size); break;
    case STEP_CONFIRM_ERASE:
        if ((uint8_t)value == CMD_CONFIRM) {
            erase(s, offset);
        } else {
            sequence_error(s);
        }
        break;
    case STEP_LOCK: break;      /* blocks have no locks: whatever is asked for is done */
    case STEP_COUNT: start_buffer(s, value); break;
    case STEP_BUFFER:
        s->step = STEP_BUFFER;
        fill_buffer(s, offset, value, size);
        break;
    case STEP_CONFIRM_BUFFER:
        last = s->buffer_start + s->buffer_used;
        if ((uint8_t)value == CMD_CONFIRM && last <= ram_block_size(s->memory)) {
            program(s, s->buffer_start, s->buffer, s->buffer_used);
        } else {
            sequence_error(s);
        }
        break;
    }
}

static const struct region_ops ops = {
    .read_simple = pflash_read,
    .write_simple = pflash_write,
    .min_size = 1,
    .max_size = 8,
    .impl_max = 4,
};

/* ---- The device ---- */

/* The query structure (JEDEC JESD68.01, chapter 3) of one chip. */
static void make_cfi(struct pflash *s)
{
    uint64_t sector = s->sector_length / s->lanes, size = sector * s->num_blocks;
    uint32_t blocks = s->num_blocks - 1, units = (uint32_t)(sector / 256);
    const uint8_t head[] = {
        'Q', 'R', 'Y', 0x01, 0x00,      /* Intel's command set, */
        0x31, 0x00,                     /* its own table is there */
        0, 0, 0, 0,                     /* there is no other command set */
        0x45, 0x55, 0, 0,               /* 4.5 to 5.5 V, no separate voltage to program */
        7, 7, 10, 0,                    /* log2 of us to program a word, a buffer; of ms to erase */
        4, 4, 4, 0,                     /* log2 of how much longer it may take */
        (uint8_t)__builtin_ctzll(size),
        2, 0,                           /* 8 and 16 bits wide */
        BUFFER_LOG2, 0,
        1,                              /* one kind of blocks: */
        (uint8_t)blocks, (uint8_t)(blocks >> 8), (uint8_t)units, (uint8_t)(units >> 8),
        'P', 'R', 'I', '1', '0',
    };

    memcpy(s->cfi + 0x10, head, sizeof(head));
    s->cfi[0x3f] = 1;                   /* protection registers */
}

static bool check(const struct pflash *s, GError **error)
{
    uint64_t size = s->sector_length * s->num_blocks;
    bool widths = (s->width == 1 || s->width == 2 || s->width == 4) &&
                  (s->device_width == 1 || s->device_width == 2 || s->device_width == 4) &&
                  s->device_width <= s->width;

    if (!s->name || !widths || s->num_blocks < 1 || s->num_blocks > 65536 ||
        s->sector_length < 4096 || s->sector_length / (s->width / s->device_width) / 256 > 65535 ||
        (s->sector_length & (s->sector_length - 1)) || (size & (size - 1))) {
        g_set_error(error, QAPI_ERROR, QAPI_ERROR_GENERIC,
                    "cfi.pflash01: name must be given, width and device-width must be 1, 2 or 4, "
                    "sector-length and the size of the whole powers of two");
        return false;
    }
    return true;
}

static bool realize(struct mmio_device *dev, GError **error)
{
    struct pflash *s = (struct pflash *)dev;
    uint64_t size = s->sector_length * s->num_blocks;

    if (s->device_width == 0) {
        s->device_width = s->width;
    }
    if (!check(s, error)) {
        return false;
    }
    s->memory = ram_block_new(s->name, size, error);
    if (!s->memory) {
        return false;
    }
    s->lanes = s->width / s->device_width;
    make_cfi(s);
    if (s->drive_name && *s->drive_name) {
        s->drive = pflash_drive_new(dev, s->drive_name, array(s), size, error);
        if (!s->drive) {
            return false;
        }
    }
    s->mode = CMD_ARRAY;
    region_init_rom(&dev->regions[0], s->name, s->memory, 0, size, &ops, s, &dev->lock);
    dev->n_regions = 1;
    return true;
}

static void unrealize(struct mmio_device *dev)
{
    struct pflash *s = (struct pflash *)dev;

    g_clear_pointer(&s->drive, pflash_drive_free);
    g_clear_pointer(&s->memory, ram_block_unref);
}

/* Whoever looks at a stopped machine's drive finds what is in the flash. */
static void run_changed(struct mmio_device *dev, bool runs)
{
    struct pflash *s = (struct pflash *)dev;

    if (!s->drive) {
        return;
    }
    if (!runs) {
        pflash_drive_settle(s->drive);
    } else if (s->loaded) {
        s->loaded = false;
        if (!pflash_drive_read_only(s->drive)) {
            pflash_drive_write(s->drive, 0, array(s), ram_block_size(s->memory));
        }
    }
}

struct ram_block *pflash_cfi01_memory(struct mmio_device *dev)
{
    return ((struct pflash *)dev)->memory;
}

static void reset(struct mmio_device *dev)
{
    set_mode((struct pflash *)dev, CMD_ARRAY);
}

static bool after_load(void *instance, uint32_t version, GError **error)
{
    struct pflash *s = instance;
    uint64_t size = ram_block_size(s->memory);

    if (s->step > STEP_CONFIRM_BUFFER || s->buffer_start >= size ||
        s->buffer_used > (uint64_t)s->lanes << BUFFER_LOG2 ||
        (s->step == STEP_BUFFER && s->buffer_left == 0)) {
        g_set_error(error, QAPI_ERROR, QAPI_ERROR_GENERIC,
                    "The saved state of a cfi.pflash01 isn't one that it can be in");
        return false;
    }
    region_set_rom_mode(&s->dev.regions[0], s->mode == CMD_ARRAY);
    /* Until it runs the drive may still be the one that it was saved from. */
    s->loaded = true;
    return true;
}

static const struct state_field fields[] = {
    STATE_FIELD(pflash, mode, STATE_U8, .keep = true),  /* reset sees the old one */
    STATE_FIELD(pflash, step, STATE_U8),
    STATE_FIELD(pflash, status, STATE_U8, .reset = STATUS_READY),
    STATE_FIELD(pflash, buffer_left, STATE_U32),
    STATE_FIELD(pflash, buffer_start, STATE_U64),
    STATE_FIELD(pflash, buffer_used, STATE_U32),
    STATE_ARRAY(pflash, buffer, STATE_BYTES),
};

static const struct state_table state = {
    .name = "cfi.pflash01",
    .version = 1,
    .fields = fields,
    .n_fields = G_N_ELEMENTS(fields),
    .after_load = after_load,
};

static const struct mmio_device_class pflash_class = {
    .state = &state,
    .realize = realize,
    .reset = reset,
    .run_changed = run_changed,
    .unrealize = unrealize,
};

static const struct property properties[] = {
    PROPERTY("name", pflash, name, qapi_type_str, NULL, "Name of its region and memory"),
    PROPERTY("num-blocks", pflash, num_blocks, qapi_type_uint32, "0", "Number of sectors"),
    PROPERTY("sector-length", pflash, sector_length, qapi_type_uint64, "0", "Bytes of a sector"),
    PROPERTY("width", pflash, width, qapi_type_uint8, "0", "Bytes of the bank's data bus"),
    PROPERTY("device-width", pflash, device_width, qapi_type_uint8, "0",
             "Bytes of one chip's; 0: one chip"),
    PROPERTY("id0", pflash, id0, qapi_type_uint16, "0", "Maker"),
    PROPERTY("id1", pflash, id1, qapi_type_uint16, "0", "Chip"),
    PROPERTY("drive", pflash, drive_name, qapi_type_str, NULL,
             "Node name or ID of a block device to use as a backend"),
    PROPERTY("read-only", pflash, read_only, qapi_type_bool, NULL, "Nothing can be written"),
};

static const struct object_type pflash_type = {
    .name = "cfi.pflash01",
    .parent = "mmio-device",
    .instance_size = sizeof(struct pflash),
    .properties = properties,
    .n_properties = G_N_ELEMENTS(properties),
    .class_data = &pflash_class,
};
OBJECT_TYPE(pflash_type);
