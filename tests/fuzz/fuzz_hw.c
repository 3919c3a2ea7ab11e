/*
 * What a guest can do to the registers of devices: any access at any offset, interrupt inputs,
 * time, and resets. Nothing may crash or hang, and whatever state a device gets into can be saved
 * and restored.
 *
 * The first byte of an input picks a device; then steps of eight bytes: operation and size, offset
 * (2), shape of the value, value (4).
 */
#include "fuzz.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#ifndef TEST_SOURCE_DIR
#define TEST_SOURCE_DIR ""
#endif
#include "../unit/hw_test.h"
#include "hw/intc/sifive_plic.h"
#include "hw/nvram/fw_cfg.h"

enum { STEP_SIZE = 8, MAX_STEPS = 400 };

static void add_items(struct hw_test *t)
{
    g_autoptr(GBytes) bytes = g_bytes_new("0123456789", 10);

    fw_cfg_add_file(t->dev, "opt/a", bytes, NULL);
}

static const struct {
    const char *type, *properties;
    void (*setup)(struct hw_test *t);
} devices[] = {
    {"riscv.aclint.mtimer", "{\"num-harts\": 3, \"timebase-freq\": 10000000}", NULL},
    {"riscv.aclint.swi", "{\"num-harts\": 3}", NULL},
    {"riscv.sifive.plic",
     "{\"hart-config\": \"MS,MS\", \"num-sources\": 70, \"num-priorities\": 7,"
     " \"priority-base\": 0, \"pending-base\": 1024, \"enable-base\": 2048, \"enable-stride\": 128,"
     " \"context-base\": 4096, \"context-stride\": 4096, \"aperture-size\": 32768}", NULL},
    {"serial-mm", "{}", NULL},
    {"riscv_htif", "{}", NULL},
    {"riscv.sifive.test", "{}", NULL},
    {"goldfish_rtc", "{}", NULL},
    {"fw_cfg_mem", "{}", add_items},
    {"cfi.pflash01", "{\"name\": \"f\", \"num-blocks\": 2, \"sector-length\": 4096, \"width\": 4,"
     " \"device-width\": 2}", NULL},
};

/* Small numbers, single bits, all ones, addresses of RAM: what registers are sensitive to. */
static uint64_t make_value(uint8_t shape, uint32_t value)
{
    switch (shape % 8) {
    case 0: return value;
    case 1: return value & 7;
    case 2: return 1ull << value % 64;
    case 3: return UINT64_MAX;
    case 4: return HW_TEST_RAM + value % HW_TEST_RAM_SIZE;
    case 5: return GUINT64_SWAP_LE_BE((uint64_t)HW_TEST_RAM + value % HW_TEST_RAM_SIZE);
    case 6: return (uint64_t)value << 32 | (uint8_t)value;
    default: return (uint64_t)(value & 0xff) * 0x0001000100010001ull;
    }
}

static void run_step(struct hw_test *t, const uint8_t *step)
{
    unsigned size = 1u << (step[0] >> 6);
    uint64_t at = step[1] | (uint64_t)step[2] << 8;
    uint32_t raw;
    uint64_t value;
    struct irq_line line;

    memcpy(&raw, step + 4, 4);
    value = make_value(step[3], raw);
    switch (step[0] % 16) {
    case 0: hw_step_clock(t, raw); break;
    case 1: hw_run_loop(t); break;
    case 2:
        if (strcmp(t->type, "riscv.sifive.plic") == 0) {
            line = sifive_plic_input(t->dev, 1 + raw % 69);
            irq_set(&line, raw >> 31);
        }
        break;
    case 3:
        memcpy(hw_test_ram(t) + raw % (HW_TEST_RAM_SIZE - 8), &value, 8);
        break;
    case 4:
        if (raw % 16 == 0) {
            mmio_device_reset(t->dev);
        }
        break;
    case 5: case 6: case 7: case 8:
        address_space_load(t->hw.memory, at, size, &value, (struct memory_attrs){0});
        break;
    default:
        address_space_store(t->hw.memory, at, size, value, (struct memory_attrs){0});
        break;
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    g_autoptr(GByteArray) before = NULL, after = NULL;
    struct hw_test t;
    size_t i;

    if (size < 1) {
        return 0;
    }
    i = data[0] % G_N_ELEMENTS(devices);
    hw_test_init(&t, devices[i].type, devices[i].properties, devices[i].setup);
    for (size_t at = 1; at + STEP_SIZE <= size && at < STEP_SIZE * MAX_STEPS; at += STEP_SIZE) {
        run_step(&t, data + at);
    }
    hw_run_loop(&t);
    before = hw_saved(&t);
    hw_replace(&t);
    after = hw_saved(&t);
    g_assert_cmpmem(before->data, before->len, after->data, after->len);
    hw_test_clear(&t);
    return 0;
}

#ifndef NANDU_LIBFUZZER

/* Offsets are mostly of what has registers: near the start of the device, or of a page. */
void fuzz_make_input(uint64_t *state, GByteArray *out)
{
    unsigned n = (unsigned)(next_random(state) % 100);
    uint8_t first = (uint8_t)next_random(state);

    g_byte_array_append(out, &first, 1);
    for (unsigned i = 0; i < n; i++) {
        uint64_t raw = next_random(state);
        uint8_t step[STEP_SIZE];

        memcpy(step, &raw, sizeof(step));
        if (raw >> 60) {
            step[1] &= 0x3c >> (raw >> 58 & 1);
            step[2] = step[2] & 1 ? step[2] & 0x70 : 0;
        }
        g_byte_array_append(out, step, sizeof(step));
    }
}

#endif
