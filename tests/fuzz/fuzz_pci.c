/*
 * What a guest can do to PCI: any access to configuration spaces, to BARs wherever it has put them,
 * to rings of virtio devices; with every device that can be plugged without a back end. Nothing may
 * crash or hang, and what state devices get into can be saved and restored.
 *
 * The first byte of an input picks a device; then steps of eight bytes: operation and size, place
 * (2), shape of the value, value (4).
 */
#include "fuzz.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#ifndef TEST_SOURCE_DIR
#define TEST_SOURCE_DIR ""
#endif
#include "../unit/virtio_test.h"
#include "hw/pci/pci.h"
#include "migration/state_walk.h"

enum {
    STEP_SIZE = 8,
    MAX_STEPS = 300,
    SLOT = 3 << 15,             /* configuration space of slot 3 */
    WINDOW = 0x10000000,        /* where 0x40000000 of the bus is */
    WINDOW_BUS = 0x40000000,
    PORTS = 0x20000000,
    BAR_STEP = 0x100000,
};

static const char windows[] =
    "{\"x-ecam-size\": 268435456, \"x-below-4g-mmio-base\": 1073741824,"
    " \"x-below-4g-mmio-size\": 268435456, \"x-above-4g-mmio-base\": 17179869184,"
    " \"x-above-4g-mmio-size\": 268435456}";

/* Types that -device can make. */
static GPtrArray *list_types(void)
{
    g_autoptr(GPtrArray) all = object_type_list("pci-device", false);
    GPtrArray *types = g_ptr_array_new();

    for (guint i = 0; i < all->len; i++) {
        const struct object_type *type = all->pdata[i];

        while (type && !type->category) {
            type = object_type_parent(type);
        }
        if (type) {
            g_ptr_array_add(types, all->pdata[i]);
        }
    }
    return types;
}

static struct object *plug(struct vt *v, const struct object_type *type)
{
    struct bus *bus = (struct bus *)object_resolve(v->t.control.root, "pcie.0", "PCI", NULL);
    auto_ptr(object) obj = object_new(type);

    object_set_str(obj, "addr", "3", NULL);
    /* A NIC announces itself once it is loaded: it isn't to be as it was. */
    object_set_str(obj, "guest_announce", "off", NULL);
    object_add_child(v->t.control.root, "card", obj, NULL);
    if (!hotplug_plug(&bus->object, obj, NULL)) {
        object_remove(obj);     /* it needs a back end */
        return NULL;
    }
    return obj;
}

static void unplug(struct object *card)
{
    hotplug_unplug(&((struct pci_device *)card)->bus->bus.object, card);
}

static void place_bars(struct vt *v)
{
    static const uint8_t sizes[] = {4, 4, 4, 4, 4, 4};

    for (unsigned i = 0; i < G_N_ELEMENTS(sizes); i++) {
        hw_write(&v->t, SLOT + 0x10 + 4 * i, 4, i ? WINDOW_BUS + i * BAR_STEP : 0x1000);
    }
    hw_write(&v->t, SLOT + 0x24, 4, 0);
    hw_write(&v->t, SLOT + 4, 2, 7);
}

/* Of a modern virtio device; of others, some writes more. */
static void set_up_queues(struct vt *v, uint64_t features)
{
    uint64_t common = WINDOW + 4 * BAR_STEP;

    place_bars(v);
    hw_write(&v->t, common + 0x14, 1, 0);
    hw_write(&v->t, common + 0x14, 1, 3);
    for (unsigned i = 0; i < 2; i++) {
        hw_write(&v->t, common + 0, 4, i);
        hw_write(&v->t, common + 8, 4, i);
        hw_write(&v->t, common + 12, 4,
                 hw_read(&v->t, common + 4, 4) & (uint32_t)(features >> (32 * i)));
    }
    hw_write(&v->t, common + 0x14, 1, 11);
    for (unsigned i = 0; i < 4; i++) {
        uint64_t ring = HW_TEST_RAM + i * VT_QUEUE_SPACE;

        hw_write(&v->t, common + 0x16, 2, i);
        hw_write(&v->t, common + 0x18, 2, 16);
        hw_write(&v->t, common + 0x1a, 2, i & 1);
        hw_write(&v->t, common + 0x20, 8, ring);
        hw_write(&v->t, common + 0x28, 8, ring + 0x100);
        hw_write(&v->t, common + 0x30, 8, ring + 0x1000);
        hw_write(&v->t, common + 0x1c, 2, 1);
    }
    hw_write(&v->t, common + 0x14, 1, 15);
}

/* A chain for a queue where set_up_queues puts it, mostly one that can be; and the doorbell. */
static void offer(struct vt *v, uint16_t place, uint32_t value)
{
    unsigned queue = place & 3, first = place >> 2 & 15;
    uint64_t ring = HW_TEST_RAM + queue * VT_QUEUE_SPACE;
    struct vt_desc *desc = vt_host(v, ring);
    uint16_t *avail = vt_host(v, ring + 0x100);

    desc[first] = (struct vt_desc){HW_TEST_RAM + VT_DATA + (value & 0xffff), value >> 16 & 0x3ff,
                                   value >> 26 & (value >> 31 ? 7 : 2), place >> 8 & 15};
    avail[2 + avail[1] % 16] = (uint16_t)first;
    avail[1]++;
    hw_write(&v->t, WINDOW + 4 * BAR_STEP + 0x3000 + 4 * queue, 4, 0);
}

/* Another device of the type takes its place, with all its state. */
static struct object *replace(struct vt *v, struct object *card)
{
    const struct object_type *type = card->type;
    g_autoptr(GByteArray) before = g_byte_array_new(), after = g_byte_array_new();
    GError *error = NULL;

    hw_run_loop(&v->t);
    state_walk_save(v->t.control.root, before);
    unplug(card);
    card = plug(v, type);
    if (!state_walk_load(v->t.control.root, before->data, before->len, &error)) {
        g_error("%s", error->message);
    }
    state_walk_save(v->t.control.root, after);
    g_assert_cmpmem(before->data, before->len, after->data, after->len);
    return card;
}

static uint64_t make_value(uint8_t shape, uint32_t value)
{
    switch (shape % 8) {
    case 0: return value;
    case 1: return value & 7;
    case 2: return 1ull << value % 64;
    case 3: return UINT64_MAX;
    case 4: return HW_TEST_RAM + value % HW_TEST_RAM_SIZE;
    case 5: return WINDOW_BUS + (value & 0xfff0ff0);
    case 6: return (uint64_t)value << 32 | (uint8_t)value;
    default: return value & 0xff;
    }
}

/* Configuration spaces, of its own slot mostly; BARs where place_bars puts them; anywhere. */
static uint64_t make_address(uint8_t op, uint16_t place, uint32_t value)
{
    switch (op >> 4 & 3) {
    case 0: return SLOT + (place & 0xfff);
    case 1: return value % 8 ? WINDOW + (place & 7) * BAR_STEP + (place >> 3) : PORTS + place;
    case 2: return WINDOW + 4 * BAR_STEP + (place & 0x303c);
    default: return (uint64_t)place << (value & 15);
    }
}

static struct object *run_step(struct vt *v, struct object *card, const uint8_t *step)
{
    unsigned size = 1u << (step[0] >> 6);
    uint16_t place;
    uint32_t raw;
    uint64_t address, value;

    memcpy(&place, step + 1, 2);
    memcpy(&raw, step + 4, 4);
    address = make_address(step[0], place, raw) & -(uint64_t)size;
    value = make_value(step[3], raw);
    switch (step[0] % 16) {
    case 0: hw_step_clock(&v->t, raw); break;
    case 1: hw_run_loop(&v->t); break;
    case 2: return raw % 8 ? card : replace(v, card);
    case 3: set_up_queues(v, raw & 1 ? UINT64_MAX : ~((uint64_t)raw << 24) | 1ull << 32); break;
    case 4:
        if (raw % 16 == 0) {
            mmio_device_reset(v->t.dev);
        } else {
            place_bars(v);
        }
        break;
    case 5:
        memcpy(hw_test_ram(&v->t) + place % (4 * VT_QUEUE_SPACE), &value, 8);
        break;
    case 6: offer(v, place, raw); break;
    case 7:
    case 8:
        address_space_load(v->t.hw.memory, address, size, &value, (struct memory_attrs){0});
        break;
    default:
        address_space_store(v->t.hw.memory, address, size, value, (struct memory_attrs){0});
        break;
    }
    return card;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    g_autoptr(GPtrArray) types = list_types();
    struct vt v = {0};
    struct object *card;

    if (size < 1) {
        return 0;
    }
    hw_test_init(&v.t, "gpex-pcihost", windows, NULL);
    v.t.hw.ram_size = HW_TEST_RAM_SIZE;
    card = plug(&v, types->pdata[data[0] % types->len]);
    if (card) {
        set_up_queues(&v, UINT64_MAX);
        for (size_t at = 1; at + STEP_SIZE <= size && at < STEP_SIZE * MAX_STEPS; at += STEP_SIZE) {
            card = run_step(&v, card, data + at);
        }
        unplug(replace(&v, card));
    }
    hw_test_clear(&v.t);
    return 0;
}

#ifndef NANDU_LIBFUZZER

void fuzz_make_input(uint64_t *state, GByteArray *out)
{
    for (unsigned i = 0; i < 1 + 100 * STEP_SIZE; i++) {
        uint8_t byte = (uint8_t)(next_random(state) >> 24);

        g_byte_array_append(out, &byte, 1);
    }
}

#endif
