/*
 * Goldfish's real-time clock: nanoseconds since the epoch, and an alarm. Type "goldfish_rtc"; one
 * region, one output. It begins with the host's wall clock (or what -rtc says), then goes with the
 * virtual one; a guest can set it.
 */
#include "hw/mmio_device.h"
#include "util/clock.h"

enum {
    TIME_LOW = 0,
    TIME_HIGH = 4,
    ALARM_LOW = 8,
    ALARM_HIGH = 0xc,
    IRQ_ENABLED = 0x10,
    CLEAR_ALARM = 0x14,
    ALARM_STATUS = 0x18,
    CLEAR_INTERRUPT = 0x1c,
    SIZE = 0x24
};

struct rtc {
    struct mmio_device dev;
    struct timer *timer;
    uint64_t offset;     /* from the virtual clock to the time */
    uint64_t alarm;      /* time */
    uint32_t time_high;  /* latched by a read of TIME_LOW */
    uint32_t alarm_high; /* used by a write of ALARM_LOW */
    bool alarm_armed, irq_pending, irq_enabled;
};

static uint64_t now(const struct rtc *s)
{
    return s->offset + (uint64_t)clocks_now(s->dev.hw->clocks, CLOCK_VIRTUAL);
}

static void update_irq(struct rtc *s)
{
    irq_set(&s->dev.irqs[0], s->irq_pending && s->irq_enabled);
}

/* An alarm that is in the past goes off at once. */
static void update_alarm(struct rtc *s)
{
    uint64_t left = s->alarm - now(s);

    if (!s->alarm_armed) {
        timer_disarm(s->timer);
    } else if (now(s) >= s->alarm) {
        s->alarm_armed = false;
        s->irq_pending = true;
        timer_disarm(s->timer);
    } else {
        int64_t virtual_now = clocks_now(s->dev.hw->clocks, CLOCK_VIRTUAL);

        timer_arm(s->timer, left > (uint64_t)(INT64_MAX - virtual_now)
                                ? INT64_MAX
                                : virtual_now + (int64_t)left);
    }
    update_irq(s);
}

static void alarm_due(void *opaque)
{
    struct rtc *s = opaque;

    g_mutex_lock(&s->dev.lock);
    update_alarm(s);
    g_mutex_unlock(&s->dev.lock);
}

static uint64_t rtc_read(void *opaque, uint64_t offset, unsigned size)
{
    struct rtc *s = opaque;
    uint64_t time;

    switch (offset) {
    case TIME_LOW:
        time = now(s);
        s->time_high = (uint32_t)(time >> 32);
        return (uint32_t)time;
    case TIME_HIGH: return s->time_high;
    case ALARM_LOW: return (uint32_t)s->alarm;
    case ALARM_HIGH: return s->alarm >> 32;
    case IRQ_ENABLED: return s->irq_enabled;
    case ALARM_STATUS: return s->alarm_armed;
    default: mmio_device_guest_error(&s->dev, "read of offset 0x%x", (unsigned)offset); return 0;
    }
}

static void rtc_write(void *opaque, uint64_t offset, uint64_t value, unsigned size)
{
    struct rtc *s = opaque;
    uint64_t time = now(s);

    switch (offset) {
    case TIME_LOW: s->offset += ((time & ~(uint64_t)UINT32_MAX) | value) - time; break;
    case TIME_HIGH: s->offset += ((uint32_t)time | value << 32) - time; break;
    case ALARM_LOW:
        s->alarm = (uint64_t)s->alarm_high << 32 | value;
        s->alarm_armed = true;
        break;
    case ALARM_HIGH: s->alarm_high = (uint32_t)value; break;
    case IRQ_ENABLED: s->irq_enabled = value & 1; break;
    case CLEAR_ALARM: s->alarm_armed = false; break;
    case CLEAR_INTERRUPT: s->irq_pending = false; break;
    default: mmio_device_guest_error(&s->dev, "write to offset 0x%x", (unsigned)offset); return;
    }
    update_alarm(s);
}

static const struct region_ops ops = {
    .read_simple = rtc_read,
    .write_simple = rtc_write,
    .min_size = 4,
    .max_size = 4,
};

static bool realize(struct mmio_device *dev, GError **error)
{
    struct rtc *s = (struct rtc *)dev;

    s->timer = timer_new(dev->hw->loop, dev->hw->clocks, CLOCK_VIRTUAL, alarm_due, s);
    s->offset = (uint64_t)(clocks_now(dev->hw->clocks, CLOCK_HOST) + dev->hw->date_offset -
                           clocks_now(dev->hw->clocks, CLOCK_VIRTUAL));
    region_init_mmio(&dev->regions[0], "goldfish_rtc", &ops, s, SIZE, &dev->lock);
    dev->n_regions = 1;
    return true;
}

static void reset(struct mmio_device *dev)
{
    update_alarm((struct rtc *)dev);
}

static void unrealize(struct mmio_device *dev)
{
    g_clear_pointer(&((struct rtc *)dev)->timer, timer_free);
}

static bool after_load(void *instance, uint32_t version, GError **error)
{
    update_alarm(instance);
    return true;
}

static const struct state_field fields[] = {
    STATE_FIELD(rtc, offset, STATE_U64, .keep = true),
    STATE_FIELD(rtc, alarm, STATE_U64),
    STATE_FIELD(rtc, time_high, STATE_U32),
    STATE_FIELD(rtc, alarm_high, STATE_U32),
    STATE_FIELD(rtc, alarm_armed, STATE_BOOL),
    STATE_FIELD(rtc, irq_pending, STATE_BOOL),
    STATE_FIELD(rtc, irq_enabled, STATE_BOOL),
};

static const struct state_table state = {
    .name = "goldfish_rtc",
    .version = 1,
    .fields = fields,
    .n_fields = G_N_ELEMENTS(fields),
    .after_load = after_load,
};

static const struct mmio_device_class rtc_class = {
    .state = &state,
    .n_irqs = 1,
    .realize = realize,
    .reset = reset,
    .unrealize = unrealize,
};

static const struct object_type rtc_type = {
    .name = "goldfish_rtc",
    .parent = "mmio-device",
    .instance_size = sizeof(struct rtc),
    .class_data = &rtc_class,
};
OBJECT_TYPE(rtc_type);
