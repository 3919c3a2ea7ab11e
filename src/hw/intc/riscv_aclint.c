#include "hw/intc/riscv_aclint.h"

#include <stdatomic.h>

#include "qapi/error.h"
#include "util/clock.h"

enum { NS_PER_SECOND = 1000000000 };

/* ---- Machine timer ---- */

struct mtimer;
struct mtimer_hart {
    struct mtimer *mtimer;
    uint32_t index;
    struct timer *timer;
};

struct mtimer {
    struct mmio_device dev;
    uint32_t num_harts, hartid_base, aperture_size, timecmp_base, time_base, timebase_freq;
    _Atomic uint64_t delta;     /* mtime less the ticks of the virtual clock */
    uint64_t saved_delta;
    uint64_t *timecmp;
    struct mtimer_hart *harts;
    void (*changed)(void *opaque);
    void *changed_opaque;
};

static uint64_t ticks_of(const struct mtimer *s, int64_t ns)
{
    return (uint64_t)((unsigned __int128)ns * s->timebase_freq / NS_PER_SECOND);
}

uint64_t riscv_aclint_time(void *opaque)
{
    struct mtimer *s = opaque;

    return ticks_of(s, clocks_now(s->dev.hw->clocks, CLOCK_VIRTUAL)) +
           atomic_load_explicit(&s->delta, memory_order_relaxed);
}

int64_t riscv_aclint_deadline(void *opaque, uint64_t time)
{
    struct mtimer *s = opaque;
    int64_t now = clocks_now(s->dev.hw->clocks, CLOCK_VIRTUAL);
    uint64_t present = ticks_of(s, now) + atomic_load_explicit(&s->delta, memory_order_relaxed);
    unsigned __int128 ticks, ns;

    if (time <= present) {
        return now;
    }
    ticks = (unsigned __int128)ticks_of(s, now) + (time - present);
    ns = (ticks * NS_PER_SECOND + s->timebase_freq - 1) / s->timebase_freq;
    return ns > INT64_MAX ? INT64_MAX : (int64_t)ns;
}

void riscv_aclint_on_change(struct mmio_device *dev, void (*fn)(void *opaque), void *opaque)
{
    struct mtimer *s = (struct mtimer *)dev;

    s->changed = fn;
    s->changed_opaque = opaque;
}

/* MTIP follows the comparison (ACLINT 1.0, 2.2): sets the line, and arms the timer that will raise
 * it. */
static void mtimer_update(struct mtimer *s, uint32_t i)
{
    bool due = riscv_aclint_time(s) >= s->timecmp[i];

    irq_set(&s->dev.irqs[i], due);
    if (due || s->timecmp[i] == UINT64_MAX) {
        timer_disarm(s->harts[i].timer);
    } else {
        timer_arm(s->harts[i].timer, riscv_aclint_deadline(s, s->timecmp[i]));
    }
}

static void mtimer_due(void *opaque)
{
    struct mtimer_hart *hart = opaque;

    g_mutex_lock(&hart->mtimer->dev.lock);
    mtimer_update(hart->mtimer, hart->index);
    g_mutex_unlock(&hart->mtimer->dev.lock);
}

static void mtimer_update_all(struct mtimer *s)
{
    for (uint32_t i = 0; i < s->num_harts; i++) {
        mtimer_update(s, i);
    }
}

/* The comparator at this offset, or NULL. */
static uint64_t *timecmp_at(struct mtimer *s, uint64_t offset, uint32_t *index)
{
    if (offset < s->timecmp_base || (offset - s->timecmp_base) / 8 >= s->num_harts) {
        return NULL;
    }
    *index = (uint32_t)((offset - s->timecmp_base) / 8);
    return &s->timecmp[*index];
}

/* size 4: the half of a 64-bit register that offset names. */
static uint64_t part_of(uint64_t value, uint64_t offset, unsigned size)
{
    return size == 8 ? value : (uint32_t)(value >> (offset & 4) * 8);
}

static uint64_t with_part(uint64_t old, uint64_t offset, unsigned size, uint64_t value)
{
    unsigned shift = (offset & 4) * 8;

    return size == 8 ? value : (old & ~((uint64_t)UINT32_MAX << shift)) | value << shift;
}

static uint64_t mtimer_read(void *opaque, uint64_t offset, unsigned size)
{
    struct mtimer *s = opaque;
    uint32_t index;
    uint64_t *timecmp = timecmp_at(s, offset, &index);

    if (timecmp) {
        return part_of(*timecmp, offset, size);
    }
    if (offset - s->time_base < 8) {
        return part_of(riscv_aclint_time(s), offset, size);
    }
    mmio_device_guest_error(&s->dev, "read of offset 0x%x, where no register is", (unsigned)offset);
    return 0;
}

static void mtimer_write(void *opaque, uint64_t offset, uint64_t value, unsigned size)
{
    struct mtimer *s = opaque;
    uint32_t index;
    uint64_t *timecmp = timecmp_at(s, offset, &index);

    if (timecmp) {
        *timecmp = with_part(*timecmp, offset, size, value);
        mtimer_update(s, index);
    } else if (offset - s->time_base < 8) {
        uint64_t now = riscv_aclint_time(s);

        atomic_fetch_add_explicit(&s->delta, with_part(now, offset, size, value) - now,
                                  memory_order_relaxed);
        mtimer_update_all(s);
        if (s->changed) {
            s->changed(s->changed_opaque);
        }
    } else {
        mmio_device_guest_error(&s->dev, "write to offset 0x%x, where no register is",
                                (unsigned)offset);
    }
}

static const struct region_ops mtimer_ops = {
    .read_simple = mtimer_read,
    .write_simple = mtimer_write,
    .min_size = 4,
    .max_size = 8,
};

static bool check_harts(struct mmio_device *dev, uint32_t num_harts, GError **error)
{
    if (num_harts < 1 || num_harts > 4095) {
        g_set_error(error, QAPI_ERROR, QAPI_ERROR_GENERIC,
                    "%s: num-harts is %u, it can be 1 to 4095", dev->device.object.type->name,
                    num_harts);
        return false;
    }
    dev->n_irqs = num_harts;
    return true;
}

static bool mtimer_realize(struct mmio_device *dev, GError **error)
{
    struct mtimer *s = (struct mtimer *)dev;

    if (!check_harts(dev, s->num_harts, error)) {
        return false;
    }
    if (s->timebase_freq == 0 || s->time_base % 8 || s->timecmp_base % 8 ||
        (uint64_t)s->time_base + 8 > s->aperture_size ||
        s->timecmp_base + 8ull * s->num_harts > s->aperture_size ||
        (s->time_base < s->timecmp_base + 8ull * s->num_harts &&
         s->timecmp_base < s->time_base + 8ull)) {
        g_set_error(error, QAPI_ERROR, QAPI_ERROR_GENERIC,
                    "%s: timebase-freq must be given, time-base and timecmp-base must be multiples "
                    "of 8 within aperture-size and so that the registers don't overlap",
                    dev->device.object.type->name);
        return false;
    }
    s->timecmp = g_new(uint64_t, s->num_harts);
    s->harts = g_new0(struct mtimer_hart, s->num_harts);
    for (uint32_t i = 0; i < s->num_harts; i++) {
        s->harts[i].mtimer = s;
        s->harts[i].index = i;
        s->harts[i].timer = timer_new(dev->hw->loop, dev->hw->clocks, CLOCK_VIRTUAL, mtimer_due,
                                      &s->harts[i]);
    }
    region_init_mmio(&dev->regions[0], "riscv.aclint.mtimer", &mtimer_ops, s, s->aperture_size,
                     &dev->lock);
    dev->n_regions = 1;
    return true;
}

/* mtime begins at 0 again; what is in mtimecmp is for the implementation to say: never due. */
static void mtimer_reset(struct mmio_device *dev)
{
    struct mtimer *s = (struct mtimer *)dev;

    atomic_fetch_sub_explicit(&s->delta, riscv_aclint_time(s), memory_order_relaxed);
    mtimer_update_all(s);
    if (s->changed) {
        s->changed(s->changed_opaque);
    }
}

static void mtimer_unrealize(struct mmio_device *dev)
{
    struct mtimer *s = (struct mtimer *)dev;

    for (uint32_t i = 0; s->harts && i < s->num_harts; i++) {
        timer_free(s->harts[i].timer);
    }
    g_free(s->harts);
    g_free(s->timecmp);
}

static void mtimer_before_save(void *instance)
{
    struct mtimer *s = instance;

    s->saved_delta = atomic_load_explicit(&s->delta, memory_order_relaxed);
}

static bool mtimer_after_load(void *instance, uint32_t version, GError **error)
{
    struct mtimer *s = instance;

    atomic_store_explicit(&s->delta, s->saved_delta, memory_order_relaxed);
    mtimer_update_all(s);
    if (s->changed) {
        s->changed(s->changed_opaque);
    }
    return true;
}

static const struct state_field mtimer_fields[] = {
    STATE_FIELD(mtimer, saved_delta, STATE_U64),
    STATE_POINTER(mtimer, timecmp, STATE_U64, num_harts, .reset = UINT64_MAX),
};

static const struct state_table mtimer_state = {
    .name = "riscv.aclint.mtimer",
    .version = 1,
    .fields = mtimer_fields,
    .n_fields = G_N_ELEMENTS(mtimer_fields),
    .before_save = mtimer_before_save,
    .after_load = mtimer_after_load,
};

static const struct mmio_device_class mtimer_class = {
    .state = &mtimer_state,
    .realize = mtimer_realize,
    .reset = mtimer_reset,
    .unrealize = mtimer_unrealize,
};

static const struct property mtimer_properties[] = {
    PROPERTY("hartid-base", mtimer, hartid_base, qapi_type_uint32, "0", "Id of the first hart"),
    PROPERTY("num-harts", mtimer, num_harts, qapi_type_uint32, "1", "Number of harts"),
    PROPERTY("aperture-size", mtimer, aperture_size, qapi_type_uint32, "32768", "Size in bytes"),
    PROPERTY("timecmp-base", mtimer, timecmp_base, qapi_type_uint32, "0", "Offset of mtimecmp"),
    PROPERTY("time-base", mtimer, time_base, qapi_type_uint32, "32760", "Offset of mtime"),
    PROPERTY("timebase-freq", mtimer, timebase_freq, qapi_type_uint32, "0", "Ticks in a second"),
};

static const struct object_type mtimer_type = {
    .name = "riscv.aclint.mtimer",
    .parent = "mmio-device",
    .instance_size = sizeof(struct mtimer),
    .properties = mtimer_properties,
    .n_properties = G_N_ELEMENTS(mtimer_properties),
    .class_data = &mtimer_class,
};
OBJECT_TYPE(mtimer_type);

/* ---- Software interrupts ---- */

struct swi {
    struct mmio_device dev;
    uint32_t num_harts, hartid_base, sswi;
    uint32_t *msip;
};

static uint64_t swi_read(void *opaque, uint64_t offset, unsigned size)
{
    struct swi *s = opaque;

    /* SETSSIP reads as 0 (ACLINT 1.0, 4.2), as what belongs to no hart does. */
    return offset / 4 < s->num_harts && !s->sswi ? s->msip[offset / 4] : 0;
}

static void swi_write(void *opaque, uint64_t offset, uint64_t value, unsigned size)
{
    struct swi *s = opaque;
    uint32_t hart = (uint32_t)(offset / 4);

    if (hart >= s->num_harts) {
        mmio_device_guest_error(&s->dev, "write to the interrupt of hart %u, which isn't there",
                                s->hartid_base + hart);
    } else if (!s->sswi) {
        s->msip[hart] = value & 1;
        irq_set(&s->dev.irqs[hart], value & 1);
    } else if (value & 1) {
        /* An edge: the hart itself clears SSIP. */
        irq_set(&s->dev.irqs[hart], true);
    }
}

static const struct region_ops swi_ops = {
    .read_simple = swi_read,
    .write_simple = swi_write,
    .min_size = 4,
    .max_size = 4,
};

static bool swi_realize(struct mmio_device *dev, GError **error)
{
    struct swi *s = (struct swi *)dev;

    if (!check_harts(dev, s->num_harts, error)) {
        return false;
    }
    s->msip = g_new0(uint32_t, s->num_harts);
    region_init_mmio(&dev->regions[0], "riscv.aclint.swi", &swi_ops, s, 0x4000, &dev->lock);
    dev->n_regions = 1;
    return true;
}

static void swi_update(struct mmio_device *dev)
{
    struct swi *s = (struct swi *)dev;

    for (uint32_t i = 0; i < s->num_harts && !s->sswi; i++) {
        irq_set(&dev->irqs[i], s->msip[i]);
    }
}

static void swi_unrealize(struct mmio_device *dev)
{
    g_free(((struct swi *)dev)->msip);
}

static bool swi_after_load(void *instance, uint32_t version, GError **error)
{
    struct swi *s = instance;

    for (uint32_t i = 0; i < s->num_harts; i++) {
        s->msip[i] &= 1;
    }
    swi_update(&s->dev);
    return true;
}

static const struct state_field swi_fields[] = {
    STATE_POINTER(swi, msip, STATE_U32, num_harts),
};

static const struct state_table swi_state = {
    .name = "riscv.aclint.swi",
    .version = 1,
    .fields = swi_fields,
    .n_fields = G_N_ELEMENTS(swi_fields),
    .after_load = swi_after_load,
};

static const struct mmio_device_class swi_class = {
    .state = &swi_state,
    .realize = swi_realize,
    .reset = swi_update,
    .unrealize = swi_unrealize,
};

static const struct property swi_properties[] = {
    PROPERTY("hartid-base", swi, hartid_base, qapi_type_uint32, "0", "Id of the first hart"),
    PROPERTY("num-harts", swi, num_harts, qapi_type_uint32, "1", "Number of harts"),
    PROPERTY("sswi", swi, sswi, qapi_type_uint32, "0", "1: interrupts of supervisor mode"),
};

static const struct object_type swi_type = {
    .name = "riscv.aclint.swi",
    .parent = "mmio-device",
    .instance_size = sizeof(struct swi),
    .properties = swi_properties,
    .n_properties = G_N_ELEMENTS(swi_properties),
    .class_data = &swi_class,
};
OBJECT_TYPE(swi_type);
