/*
 * The host-target interface of RISC-V's test programs: a console and the end of the run, by two
 * words in memory that a program's symbols tohost and fromhost name. Type "riscv_htif": properties
 * chardev, signature, signature-granularity, signature-begin, signature-end. Regions: 0 tohost, 1
 * fromhost.
 *
 * A word is: bits 63-56 a device, 55-48 a command, the rest is data. Device 0 is system calls (bit
 * 0 of data: exit, the rest its code), device 1 a console: command 0 read, 1 write.
 */
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "chardev/chardev.h"
#include "hw/dma.h"
#include "hw/mmio_device.h"
#include "qapi/error.h"
#include "util/clock.h"
#include "util/event_loop.h"
#include "util/log.h"

enum { DEVICE_SYSCALL = 0, DEVICE_CONSOLE = 1, CONSOLE_GETC = 0, CONSOLE_PUTC = 1 };
enum { SYSCALL_WRITE = 64 };
enum { MAX_WRITE = 64 * 1024, MAX_QUEUE = 16 * 1024 * 1024 };   /* bytes */

struct htif {
    struct mmio_device dev;
    char *chardev, *signature;
    uint32_t granularity;
    uint64_t signature_begin, signature_end;
    struct chardev *chr;            /* NULL: no console */
    struct bottom_half *work;
    GByteArray *out;                /* for the main loop to write */

    uint64_t tohost, fromhost;
    uint64_t getc_command;          /* that waits for a character */
    bool getc_waits;
};

static void flush(struct htif *s)
{
    if (s->chr && s->out->len) {
        chardev_write_queued(s->chr, s->out->data, s->out->len, MAX_QUEUE);
    }
    g_byte_array_set_size(s->out, 0);
}

static void do_work(void *opaque)
{
    struct htif *s = opaque;

    g_mutex_lock(&s->dev.lock);
    flush(s);
    g_mutex_unlock(&s->dev.lock);
    if (s->chr) {
        chardev_accept_input(s->chr);
    }
}

static void put(struct htif *s, const void *data, size_t size)
{
    if (s->out->len + size <= MAX_QUEUE) {
        g_byte_array_append(s->out, data, (guint)size);
    }
    bottom_half_schedule(s->work);
}

/* The answer to a word: its device and command, and 48 bits of data. */
static void respond(struct htif *s, uint64_t word, uint64_t data)
{
    s->fromhost = (word & ~0xffffffffffffull) | (data & 0xffffffffffffull);
}

/* ---- Console input ---- */

static size_t can_receive(void *opaque)
{
    struct htif *s = opaque;
    bool can;

    g_mutex_lock(&s->dev.lock);
    can = s->getc_waits && s->fromhost == 0 && clocks_virtual_runs(s->dev.hw->clocks);
    g_mutex_unlock(&s->dev.lock);
    return can;
}

/* Output is the back end's at once; input waits until the machine goes on. */
static void run_changed(struct mmio_device *dev, bool runs)
{
    if (runs) {
        bottom_half_schedule(((struct htif *)dev)->work);
    }
}

static void receive(void *opaque, const uint8_t *data, size_t size)
{
    struct htif *s = opaque;

    g_mutex_lock(&s->dev.lock);
    respond(s, s->getc_command, 0x100 | data[0]);
    s->getc_waits = false;
    g_mutex_unlock(&s->dev.lock);
}

static const struct chardev_frontend_ops frontend_ops = {
    .can_receive = can_receive,
    .receive = receive,
};

/* ---- The end ---- */

/* Memory from signature_begin to signature_end, granularity bytes a line, the last byte first. */
static bool write_signature(struct htif *s, GError **error)
{
    uint64_t size = s->signature_end - s->signature_begin, n;
    g_autoptr(GString) text = g_string_new(NULL);
    g_autofree uint8_t *line = g_malloc(s->granularity);

    for (uint64_t at = 0; at < size; at += n) {
        n = MIN(s->granularity, size - at);
        if (!dma_read(s->dev.hw->memory, s->signature_begin + at, line, n)) {
            g_set_error(error, QAPI_ERROR, QAPI_ERROR_GENERIC,
                        "there is no memory at 0x%" G_GINT64_MODIFIER "x", s->signature_begin + at);
            return false;
        }
        for (uint64_t i = n; i > 0; i--) {
            g_string_append_printf(text, "%02x", line[i - 1]);
        }
        g_string_append_c(text, '\n');
    }
    return g_file_set_contents(s->signature, text->str, (gssize)text->len, error);
}

static void end_run(struct htif *s, uint64_t code)
{
    const struct hw_context *hw = s->dev.hw;
    g_autoptr(GError) error = NULL;
    int status = (int)code;

    if (s->signature && !write_signature(s, &error)) {
        log_error(hw->log, "The signature can't be written to '%s': %s", s->signature,
                  error->message);
        status = 1;
    }
    hw->vm_ops->shutdown(hw->vm, status != 0, status);
}

/* ---- Words from the target ---- */

/* data is the address of eight words: number, arguments; the first becomes the result. */
static void system_call(struct htif *s, uint64_t data)
{
    struct address_space *memory = s->dev.hw->memory;
    uint64_t call[8], result;
    g_autofree uint8_t *text = NULL;

    if (!dma_read(memory, data, call, sizeof(call))) {
        mmio_device_guest_error(&s->dev, "system call without a frame in memory");
        return;
    }
    for (unsigned i = 0; i < 8; i++) {
        call[i] = GUINT64_FROM_LE(call[i]);
    }
    if (call[0] != SYSCALL_WRITE) {
        mmio_device_guest_error(&s->dev, "system call %u, which isn't there", (unsigned)call[0]);
        result = (uint64_t)-ENOSYS;
    } else if (call[1] != 1 && call[1] != 2) {
        result = (uint64_t)-EBADF;
    } else {
        result = MIN(call[3], MAX_WRITE);
        text = g_malloc(MAX(result, 1));
        if (dma_read(memory, call[2], text, result)) {
            put(s, text, result);
        } else {
            result = (uint64_t)-EFAULT;
        }
    }
    result = GUINT64_TO_LE(result);
    dma_write(memory, data, &result, sizeof(result));
}

static void handle(struct htif *s, uint64_t word)
{
    unsigned device = (unsigned)(word >> 56), command = word >> 48 & 0xff;
    uint64_t data = word & 0xffffffffffffull;
    uint8_t byte = (uint8_t)data;

    s->tohost = 0;
    if (device == DEVICE_SYSCALL && command == 0 && data & 1) {
        s->tohost = word;       /* what a debugger finds after the end */
        end_run(s, data >> 1);
    } else if (device == DEVICE_SYSCALL && command == 0 && data) {
        system_call(s, data);
        respond(s, word, 1);
    } else if (device == DEVICE_CONSOLE && command == CONSOLE_GETC) {
        s->getc_command = word;
        s->getc_waits = true;
        bottom_half_schedule(s->work);
    } else if (device == DEVICE_CONSOLE && command == CONSOLE_PUTC) {
        put(s, &byte, 1);
        respond(s, word, 0x100 | byte);
    } else if (word) {
        mmio_device_guest_error(&s->dev, "command %u of device %u, which isn't there", command,
                                device);
    }
}

static uint64_t tohost_read(void *opaque, uint64_t offset, unsigned size)
{
    return ((struct htif *)opaque)->tohost >> offset * 8;
}

/* In one piece, or the low half first: the high one makes it complete. */
static void tohost_write(void *opaque, uint64_t offset, uint64_t value, unsigned size)
{
    struct htif *s = opaque;

    if (size == 8) {
        handle(s, value);
    } else if (offset == 0) {
        s->tohost = value;
    } else {
        handle(s, (uint32_t)s->tohost | value << 32);
    }
}

static uint64_t fromhost_read(void *opaque, uint64_t offset, unsigned size)
{
    return ((struct htif *)opaque)->fromhost >> offset * 8;
}

static void fromhost_write(void *opaque, uint64_t offset, uint64_t value, unsigned size)
{
    struct htif *s = opaque;

    if (size == 8) {
        s->fromhost = value;
    } else {
        s->fromhost = (s->fromhost & ~(0xffffffffull << offset * 8)) | value << offset * 8;
    }
    if (s->fromhost == 0 && s->getc_waits) {
        bottom_half_schedule(s->work);
    }
}

static const struct region_ops tohost_ops = {
    .read_simple = tohost_read,
    .write_simple = tohost_write,
    .min_size = 4,
    .max_size = 8,
};

static const struct region_ops fromhost_ops = {
    .read_simple = fromhost_read,
    .write_simple = fromhost_write,
    .min_size = 4,
    .max_size = 8,
};

/* ---- The device ---- */

static bool realize(struct mmio_device *dev, GError **error)
{
    struct htif *s = (struct htif *)dev;

    if (s->granularity < 1 || s->granularity > 4096 || s->signature_end < s->signature_begin ||
        s->signature_end - s->signature_begin > 1 << 30) {
        g_set_error(error, QAPI_ERROR, QAPI_ERROR_GENERIC,
                    "riscv_htif: signature-granularity can be 1 to 4096, and a signature up to "
                    "1 GiB long");
        return false;
    }
    s->out = g_byte_array_new();
    s->work = bottom_half_new(dev->hw->loop, do_work, s);
    region_init_mmio(&dev->regions[0], "htif.tohost", &tohost_ops, s, 8, &dev->lock);
    region_init_mmio(&dev->regions[1], "htif.fromhost", &fromhost_ops, s, 8, &dev->lock);
    dev->n_regions = 2;
    if (s->chardev) {
        struct chardev *chr = chardev_find(object_root_of(&dev->device.object), s->chardev);

        if (!chr) {
            g_set_error(error, QAPI_ERROR, QAPI_ERROR_GENERIC,
                        "Property 'riscv_htif.chardev' can't find value '%s'", s->chardev);
            return false;
        }
        if (!chardev_attach(chr, &frontend_ops, s, error)) {
            return false;
        }
        s->chr = chr;
    }
    return true;
}

static void unrealize(struct mmio_device *dev)
{
    struct htif *s = (struct htif *)dev;

    if (s->chr) {
        flush(s);
        chardev_detach(s->chr, s);
    }
    g_clear_pointer(&s->work, bottom_half_free);
    g_clear_pointer(&s->out, g_byte_array_unref);
}

/* On the main loop: what the guest wrote is the back end's from now on. */
static void before_save(void *instance)
{
    flush(instance);
}

static bool after_load(void *instance, uint32_t version, GError **error)
{
    bottom_half_schedule(((struct htif *)instance)->work);
    return true;
}

static const struct state_field fields[] = {
    STATE_FIELD(htif, tohost, STATE_U64),
    STATE_FIELD(htif, fromhost, STATE_U64),
    STATE_FIELD(htif, getc_command, STATE_U64),
    STATE_FIELD(htif, getc_waits, STATE_BOOL),
};

static const struct state_table state = {
    .name = "riscv_htif",
    .version = 1,
    .fields = fields,
    .n_fields = G_N_ELEMENTS(fields),
    .before_save = before_save,
    .after_load = after_load,
};

static const struct mmio_device_class htif_class = {
    .state = &state,
    .realize = realize,
    .run_changed = run_changed,
    .unrealize = unrealize,
};

static const struct property properties[] = {
    PROPERTY("chardev", htif, chardev, qapi_type_str, NULL, "ID of a chardev to use as a backend"),
    PROPERTY("signature", htif, signature, qapi_type_str, NULL, "File for the test's signature"),
    PROPERTY("signature-granularity", htif, granularity, qapi_type_uint32, "16", "Bytes in a line"),
    PROPERTY("signature-begin", htif, signature_begin, qapi_type_uint64, "0", "Where it begins"),
    PROPERTY("signature-end", htif, signature_end, qapi_type_uint64, "0", "Where it ends"),
};

static const struct object_type htif_type = {
    .name = "riscv_htif",
    .parent = "mmio-device",
    .instance_size = sizeof(struct htif),
    .properties = properties,
    .n_properties = G_N_ELEMENTS(properties),
    .class_data = &htif_class,
};
OBJECT_TYPE(htif_type);
