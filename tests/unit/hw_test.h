/*
 * What tests of devices share: a device at address 0 of a memory of its own, a manual clock,
 * recorded interrupt lines; and scripts of accesses with what they must give, which are also run
 * with the device replaced by a restored one after each step.
 */
#ifndef NANDU_TESTS_UNIT_HW_TEST_H
#define NANDU_TESTS_UNIT_HW_TEST_H

#include "control.h"
#include "hw/mmio_device.h"
#include "qapi/json.h"

enum { HW_TEST_RAM = 0x80000000, HW_TEST_RAM_SIZE = 1 << 20, HW_TEST_IRQS = 64 };

struct vm {
    unsigned shutdowns, resets;
    bool failed;
    int status;
};

struct hw_test {
    struct control control;
    struct vm vm;
    struct hw_context hw;
    struct region root, ram_region;
    struct ram_block *ram;
    const char *type, *properties;
    struct mmio_device *dev;
    bool levels[HW_TEST_IRQS];
    unsigned raised[HW_TEST_IRQS];      /* how often */
    /* Called for each new device, which is mapped and connected already; may be NULL. */
    void (*setup)(struct hw_test *t);
};

static void hw_test_shutdown(struct vm *vm, bool failed, int status)
{
    vm->shutdowns++;
    vm->failed = failed;
    vm->status = status;
}

static void hw_test_reset(struct vm *vm)
{
    vm->resets++;
}

static const struct hw_vm_ops hw_test_vm_ops = {
    .shutdown = hw_test_shutdown,
    .reset = hw_test_reset,
};

static inline void hw_test_irq(void *opaque, unsigned n, bool level)
{
    struct hw_test *t = opaque;

    g_assert_cmpuint(n, <, HW_TEST_IRQS);
    t->raised[n] += level && !t->levels[n];
    t->levels[n] = level;
}

/* t->type with t->properties ('text' for "text"); regions one after the other, 8-byte aligned. */
static inline void hw_test_make_device(struct hw_test *t)
{
    g_autoptr(json_object) properties = NULL;
    GError *error = NULL;
    uint64_t address = 0;

    properties = json_parse(t->properties ? t->properties : "{}", &error);
    g_assert_no_error(error);
    t->dev = mmio_device_new(&t->hw, t->type, t->control.root, "dev", properties, &error);
    g_assert_no_error(error);
    for (unsigned i = 0; i < t->dev->n_irqs; i++) {
        mmio_device_connect(t->dev, i, (struct irq_line){hw_test_irq, t, i});
    }
    for (unsigned i = 0; i < t->dev->n_regions; i++) {
        mmio_device_map(t->dev, i, &t->root, address);
        address += (t->dev->regions[i].size + 7) & ~7ull;
    }
    if (t->setup) {
        t->setup(t);
    }
    mmio_device_reset(t->dev);
}

static inline void hw_test_init(struct hw_test *t, const char *type, const char *properties,
                                void (*setup)(struct hw_test *t))
{
    GError *error = NULL;

    *t = (struct hw_test){.type = type, .properties = properties, .setup = setup};
    control_init(&t->control);
    clocks_set_manual(t->control.context.clocks);
    region_init_container(&t->root, "system", 0);
    t->ram = ram_block_new("ram", HW_TEST_RAM_SIZE, &error);
    g_assert_no_error(error);
    region_init_ram(&t->ram_region, "ram", t->ram, 0, HW_TEST_RAM_SIZE);
    region_add(&t->root, HW_TEST_RAM, &t->ram_region, 0);
    t->hw = (struct hw_context){
        .loop = t->control.loop,
        .clocks = t->control.context.clocks,
        .log = t->control.context.log,
        .memory = address_space_new("memory", &t->root),
        .vm = &t->vm,
        .vm_ops = &hw_test_vm_ops,
    };
    if (type) {
        hw_test_make_device(t);
    }
}

static inline void hw_test_clear(struct hw_test *t)
{
    if (t->dev) {
        object_remove(&t->dev->device.object);
    }
    /* A bottom half that was freed while it was scheduled is the loop's until its next turn. */
    while (event_loop_iterate(t->control.loop, false)) {
    }
    region_remove(&t->ram_region);
    address_space_free(t->hw.memory);
    region_clear(&t->ram_region);
    region_clear(&t->root);
    ram_block_unref(t->ram);
    control_clear(&t->control);
}

static inline uint8_t *hw_test_ram(struct hw_test *t)
{
    return ram_block_host(t->ram);
}

static inline uint64_t hw_read(struct hw_test *t, uint64_t address, unsigned size)
{
    uint64_t value = 0;

    g_assert_cmpint(address_space_load(t->hw.memory, address, size, &value,
                                       (struct memory_attrs){0}), ==, MEMORY_OK);
    return value;
}

static inline void hw_write(struct hw_test *t, uint64_t address, unsigned size, uint64_t value)
{
    g_assert_cmpint(address_space_store(t->hw.memory, address, size, value,
                                        (struct memory_attrs){0}), ==, MEMORY_OK);
}

/* An access that must fail. */
static inline void hw_fault(struct hw_test *t, uint64_t address, unsigned size, bool is_write)
{
    uint64_t value = 0;
    struct memory_attrs attrs = {0};

    g_assert_cmpint(is_write ? address_space_store(t->hw.memory, address, size, value, attrs)
                             : address_space_load(t->hw.memory, address, size, &value, attrs),
                    ==, MEMORY_DECODE_ERROR);
}

static inline void hw_step_clock(struct hw_test *t, int64_t ns)
{
    clocks_step(t->hw.clocks, ns);
    while (event_loop_iterate(t->control.loop, false)) {
    }
}

static inline void hw_run_loop(struct hw_test *t)
{
    while (event_loop_iterate(t->control.loop, false)) {
    }
}

/* ---- Scripts ---- */

struct hw_step {
    char op;            /* r, w: read, write; i: line's level; t: time goes on; f: fault of a read,
                           F: of a write; c: call; R: reset */
    uint64_t at;        /* address, line, ns */
    unsigned size;
    uint64_t value;     /* written, or must be read */
    void (*call)(struct hw_test *t, uint64_t argument);
};

static inline void hw_run_step(struct hw_test *t, const struct hw_step *step, size_t n)
{
    uint64_t value;

    switch (step->op) {
    case 'r':
        value = hw_read(t, step->at, step->size);
        if (value != step->value) {
            g_error("step %zu: 0x%" G_GINT64_MODIFIER "x reads as 0x%" G_GINT64_MODIFIER
                    "x, not 0x%" G_GINT64_MODIFIER "x", n, step->at, value, step->value);
        }
        break;
    case 'w': hw_write(t, step->at, step->size, step->value); break;
    case 'i':
        if (t->levels[step->at] != (step->value != 0)) {
            g_error("step %zu: line %u is %d", n, (unsigned)step->at, t->levels[step->at]);
        }
        break;
    case 't': hw_step_clock(t, (int64_t)step->at); break;
    case 'f': hw_fault(t, step->at, step->size, false); break;
    case 'F': hw_fault(t, step->at, step->size, true); break;
    case 'c': step->call(t, step->at); break;
    case 'R': mmio_device_reset(t->dev); break;
    default: g_assert_not_reached();
    }
}

/* A new device takes the place of the old one, with its state. */
static inline void hw_replace(struct hw_test *t)
{
    g_autoptr(GByteArray) saved = g_byte_array_new();
    size_t position = 0;
    GError *error = NULL;

    mmio_device_save(t->dev, saved);
    object_remove(&t->dev->device.object);
    hw_test_make_device(t);
    g_assert_true(mmio_device_load(t->dev, saved->data, saved->len, &position, &error));
    g_assert_no_error(error);
    g_assert_cmpuint(position, ==, saved->len);
}

/* As it is, and with the device replaced after each step. */
static inline void hw_run_script(const char *type, const char *properties,
                                 void (*setup)(struct hw_test *t), const struct hw_step *steps,
                                 size_t n)
{
    for (unsigned replace = 0; replace < 2; replace++) {
        struct hw_test t;

        hw_test_init(&t, type, properties, setup);
        for (size_t i = 0; i < n; i++) {
            hw_run_step(&t, &steps[i], i);
            if (replace) {
                hw_replace(&t);
            }
        }
        hw_test_clear(&t);
    }
}

#define HW_SCRIPT(type, properties, setup, steps)                                                  \
    hw_run_script(type, properties, setup, steps, G_N_ELEMENTS(steps))

/* The device's saved state. */
static inline GByteArray *hw_saved(struct hw_test *t)
{
    GByteArray *out = g_byte_array_new();

    mmio_device_save(t->dev, out);
    return out;
}

#endif
