/*
 * The register by which a guest ends or restarts the machine, of SiFive's test finisher. Type
 * "riscv.sifive.test"; one region, no output.
 */
#include "hw/mmio_device.h"

enum { FINISH_FAIL = 0x3333, FINISH_PASS = 0x5555, FINISH_RESET = 0x7777 };

static uint64_t test_read(void *opaque, uint64_t offset, unsigned size)
{
    return 0;
}

/* The low half says what to do, the high one is the exit status. */
static void test_write(void *opaque, uint64_t offset, uint64_t value, unsigned size)
{
    struct mmio_device *dev = opaque;
    const struct hw_context *hw = dev->hw;
    unsigned what = value & 0xffff, status = value >> 16 & 0xffff;

    if (offset == 0 && (what == FINISH_FAIL || what == FINISH_PASS)) {
        hw->vm_ops->shutdown(hw->vm, what == FINISH_FAIL, (int)status);
    } else if (offset == 0 && what == FINISH_RESET) {
        hw->vm_ops->reset(hw->vm);
    } else {
        mmio_device_guest_error(dev, "write of 0x%x to offset 0x%x, which means nothing",
                                (unsigned)value, (unsigned)offset);
    }
}

static const struct region_ops ops = {
    .read_simple = test_read,
    .write_simple = test_write,
    .min_size = 2,
    .max_size = 4,
};

static bool realize(struct mmio_device *dev, GError **error)
{
    region_init_mmio(&dev->regions[0], "riscv.sifive.test", &ops, dev, 0x1000, &dev->lock);
    dev->n_regions = 1;
    return true;
}

static const struct state_table state = {.name = "riscv.sifive.test", .version = 1};

static const struct mmio_device_class test_class = {.state = &state, .realize = realize};

static const struct object_type test_type = {
    .name = "riscv.sifive.test",
    .parent = "mmio-device",
    .instance_size = sizeof(struct mmio_device),
    .class_data = &test_class,
};
OBJECT_TYPE(test_type);
