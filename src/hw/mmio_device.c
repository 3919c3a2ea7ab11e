#include "hw/mmio_device.h"

#include "qapi/error.h"
#include "util/clock.h"
#include "util/log.h"

enum { LOG_LINES_PER_SECOND = 20 };

static const struct mmio_device_class *class_of(const struct mmio_device *dev)
{
    return object_class_data(&dev->device.object);
}

static void init(struct object *obj)
{
    g_mutex_init(&((struct mmio_device *)obj)->lock);
}

static void make_irqs(struct mmio_device *dev)
{
    if (!dev->irqs && dev->n_irqs) {
        dev->irqs = g_new0(struct irq_line, dev->n_irqs);
    }
}

static void run_changed(void *opaque, bool runs)
{
    class_of(opaque)->run_changed(opaque, runs);
}

static bool complete(struct object *obj, GError **error)
{
    struct mmio_device *dev = (struct mmio_device *)obj;

    if (!dev->hw) {
        g_set_error(error, QAPI_ERROR, QAPI_ERROR_GENERIC,
                    "Device '%s' can not be added: it is part of boards that have it",
                    obj->type->name);
        return false;
    }
    dev->n_irqs = class_of(dev)->n_irqs;
    make_irqs(dev);
    if (!class_of(dev)->realize(dev, error)) {
        return false;
    }
    make_irqs(dev);
    if (class_of(dev)->run_changed) {
        clocks_add_listener(dev->hw->clocks, run_changed, dev);
        run_changed(dev, clocks_virtual_runs(dev->hw->clocks));
    }
    return true;
}

/* No access comes to the device afterwards. */
static void remove_regions(struct mmio_device *dev)
{
    bool mapped = false;

    for (unsigned i = 0; i < dev->n_regions; i++) {
        if (dev->regions[i].parent) {
            region_remove(&dev->regions[i]);
            mapped = true;
        }
    }
    if (mapped) {
        address_space_synchronize(dev->hw->memory);
    }
}

static void finalize(struct object *obj)
{
    struct mmio_device *dev = (struct mmio_device *)obj;

    remove_regions(dev);
    if (dev->hw && class_of(dev)->run_changed) {
        clocks_remove_listener(dev->hw->clocks, dev);
    }
    if (class_of(dev)->unrealize) {
        class_of(dev)->unrealize(dev);
    }
    for (unsigned i = 0; i < dev->n_regions; i++) {
        region_clear(&dev->regions[i]);
    }
    g_free(dev->irqs);
    g_mutex_clear(&dev->lock);
}

static void save(struct object *obj, GByteArray *out)
{
    mmio_device_save((struct mmio_device *)obj, out);
}

static bool load(struct object *obj, const uint8_t *data, size_t size, size_t *position,
                 GError **error)
{
    return mmio_device_load((struct mmio_device *)obj, data, size, position, error);
}

static const struct state_ops state_ops = {.save = save, .load = load};

static const struct object_type mmio_device_type = {
    .name = "mmio-device",
    .parent = "device",
    .abstract = true,
    .instance_size = sizeof(struct mmio_device),
    .state = &state_ops,
    .init = init,
    .complete = complete,
    .finalize = finalize,
};
OBJECT_TYPE(mmio_device_type);

struct mmio_device *mmio_device_new(const struct hw_context *hw, const char *type,
                                    struct object *parent, const char *name,
                                    json_object *properties, GError **error)
{
    const struct object_type *found = object_type_find(type);
    auto_ptr(object) obj = NULL;
    struct mmio_device *dev;

    if (!found || !object_type_is(found, "mmio-device") || found->abstract) {
        g_set_error(error, QAPI_ERROR, QAPI_ERROR_GENERIC, "There is no device type '%s'", type);
        return NULL;
    }
    obj = object_new(found);
    dev = (struct mmio_device *)obj;
    dev->hw = hw;
    if (properties && !object_set_all(obj, properties, NULL, false, error)) {
        return NULL;
    }
    if (!object_add_child(parent, name, obj, error)) {
        return NULL;
    }
    if (!object_complete(obj, error)) {
        object_remove(obj);
        return NULL;
    }
    mmio_device_reset(dev);
    return dev;
}

void mmio_device_map(struct mmio_device *dev, unsigned i, struct region *memory, uint64_t address)
{
    g_assert(i < dev->n_regions);
    if (i == 0) {
        dev->base = address;
    }
    region_add(memory, address, &dev->regions[i], 0);
}

void mmio_device_connect(struct mmio_device *dev, unsigned irq, struct irq_line line)
{
    g_assert(irq < dev->n_irqs);
    dev->irqs[irq] = line;
}

void mmio_device_reset(struct mmio_device *dev)
{
    g_mutex_lock(&dev->lock);
    state_reset(class_of(dev)->state, dev);
    if (class_of(dev)->reset) {
        class_of(dev)->reset(dev);
    }
    g_mutex_unlock(&dev->lock);
}

void mmio_device_save(struct mmio_device *dev, GByteArray *out)
{
    g_autofree char *id = object_path(&dev->device.object);

    g_mutex_lock(&dev->lock);
    state_save(class_of(dev)->state, dev, id, out);
    g_mutex_unlock(&dev->lock);
}

bool mmio_device_load(struct mmio_device *dev, const uint8_t *data, size_t size, size_t *position,
                      GError **error)
{
    g_autofree char *id = object_path(&dev->device.object);
    bool loaded;

    g_mutex_lock(&dev->lock);
    loaded = state_load(class_of(dev)->state, dev, id, data, size, position, error);
    g_mutex_unlock(&dev->lock);
    return loaded;
}

void mmio_device_guest_error(struct mmio_device *dev, const char *format, ...)
{
    struct log *log = dev->hw->log;
    g_autofree char *text = NULL;
    int64_t second;
    va_list args;

    if (!log_enabled(log, LOG_GUEST_ERROR)) {
        return;
    }
    second = clocks_now(dev->hw->clocks, CLOCK_REAL) / 1000000000;
    if (second != dev->log_second) {
        dev->log_second = second;
        dev->log_lines = 0;
    }
    if (dev->log_lines++ >= LOG_LINES_PER_SECOND) {
        return;
    }
    va_start(args, format);
    text = g_strdup_vprintf(format, args);
    va_end(args);
    log_write(log, LOG_GUEST_ERROR, "%s: %s\n", dev->device.object.name, text);
}
