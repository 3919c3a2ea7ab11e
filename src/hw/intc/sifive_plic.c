#include "hw/intc/sifive_plic.h"

#include <string.h>

#include "qapi/error.h"

enum { MAX_SOURCES = 1024, MAX_CONTEXTS = 15872 };  /* PLIC 1.0.0, chapter 3 */

/*
 * The gateway of a source (chapter 6): while its line is high it makes one request (pending), and
 * no other one until the handler of the last (claimed) has said that it is complete.
 */
struct plic {
    struct mmio_device dev;
    char *hart_config;
    uint32_t hartid_base, num_sources, num_priorities, priority_base, pending_base, enable_base,
        enable_stride, context_base, context_stride, aperture_size;
    char *modes;                /* of each context */
    uint32_t *harts;
    uint32_t n_contexts, n_words, n_enable_words;
    uint32_t *priority;         /* of each source */
    uint32_t *level, *pending, *claimed;    /* bits of the sources */
    uint32_t *enable;           /* n_words of each context */
    uint32_t *threshold;
};

static bool has_bit(const uint32_t *bits, uint32_t n)
{
    return bits[n / 32] >> n % 32 & 1;
}

static void set_bit(uint32_t *bits, uint32_t n, bool value)
{
    bits[n / 32] = (bits[n / 32] & ~(1u << n % 32)) | (uint32_t)value << n % 32;
}

/* The source that a context would claim: the highest priority above the limit, the lowest number of
 * those; 0: none. */
static uint32_t best_source(const struct plic *s, uint32_t context, uint32_t limit)
{
    const uint32_t *enable = s->enable + (size_t)context * s->n_words;
    uint32_t best = 0, best_priority = limit;

    for (uint32_t word = 0; word < s->n_words; word++) {
        uint32_t bits = s->pending[word] & enable[word];

        for (; bits; bits &= bits - 1) {
            uint32_t source = word * 32 + (uint32_t)__builtin_ctz(bits);

            if (s->priority[source] > best_priority) {
                best = source;
                best_priority = s->priority[source];
            }
        }
    }
    return best;
}

static void update_context(struct plic *s, uint32_t context)
{
    irq_set(&s->dev.irqs[context], best_source(s, context, s->threshold[context]) != 0);
}

static void update(struct plic *s)
{
    for (uint32_t i = 0; i < s->n_contexts; i++) {
        update_context(s, i);
    }
}

static void gateway(struct plic *s, uint32_t source)
{
    if (has_bit(s->level, source) && !has_bit(s->claimed, source)) {
        set_bit(s->pending, source, true);
    }
}

static void set_input(void *opaque, unsigned source, bool level)
{
    struct plic *s = opaque;

    g_mutex_lock(&s->dev.lock);
    if (level != has_bit(s->level, source)) {
        set_bit(s->level, source, level);
        gateway(s, source);
        if (level) {
            update(s);
        }
    }
    g_mutex_unlock(&s->dev.lock);
}

struct irq_line sifive_plic_input(struct mmio_device *dev, unsigned source)
{
    g_assert(source > 0 && source < ((struct plic *)dev)->num_sources);
    return (struct irq_line){.fn = set_input, .opaque = dev, .n = source};
}

unsigned sifive_plic_context(struct mmio_device *dev, unsigned context, char *mode)
{
    const struct plic *s = (const struct plic *)dev;

    g_assert(context < s->n_contexts);
    *mode = s->modes[context];
    return s->harts[context];
}

static uint32_t claim(struct plic *s, uint32_t context)
{
    /* The threshold doesn't matter for a claim (chapter 8). */
    uint32_t source = best_source(s, context, 0);

    if (source) {
        set_bit(s->pending, source, false);
        set_bit(s->claimed, source, true);
        update(s);
    }
    return source;
}

static void finish(struct plic *s, uint32_t context, uint32_t source)
{
    if (source == 0 || source >= s->num_sources ||
        !has_bit(s->enable + (size_t)context * s->n_words, source)) {
        mmio_device_guest_error(&s->dev, "context %u completes source %u, which isn't its own",
                                context, source);
        return;
    }
    set_bit(s->claimed, source, false);
    gateway(s, source);
    update(s);
}

/* What a value becomes in a register of num-priorities + 1 levels. False: it is kept as it was. */
static bool legal_priority(const struct plic *s, uint64_t *value)
{
    if (((s->num_priorities + 1) & s->num_priorities) == 0) {
        *value &= s->num_priorities;
    }
    return *value <= s->num_priorities;
}

/* Which register is at offset, counted from base, stride bytes apart. */
static bool register_at(uint64_t offset, uint32_t base, uint64_t stride, uint32_t count,
                        uint32_t *index)
{
    if (offset < base || (offset - base) / stride >= count) {
        return false;
    }
    *index = (uint32_t)((offset - base) / stride);
    return true;
}

/* The word of enable bits at offset, or NULL. */
static uint32_t *enable_at(struct plic *s, uint64_t offset, uint32_t *context, uint32_t *word)
{
    if (!register_at(offset, s->enable_base, s->enable_stride, s->n_contexts, context)) {
        return NULL;
    }
    *word = (uint32_t)((offset - s->enable_base) % s->enable_stride / 4);
    return *word < s->n_words ? &s->enable[(size_t)*context * s->n_words + *word] : NULL;
}

static uint64_t plic_read(void *opaque, uint64_t offset, unsigned size)
{
    struct plic *s = opaque;
    uint32_t i, word, *enable;

    if (register_at(offset, s->priority_base, 4, s->num_sources, &i)) {
        return s->priority[i];
    }
    if (register_at(offset, s->pending_base, 4, s->n_words, &i)) {
        return s->pending[i];
    }
    enable = enable_at(s, offset, &i, &word);
    if (enable) {
        return *enable;
    }
    if (register_at(offset, s->context_base, s->context_stride, s->n_contexts, &i)) {
        switch ((offset - s->context_base) % s->context_stride) {
        case 0: return s->threshold[i];
        case 4: return claim(s, i);
        }
    }
    mmio_device_guest_error(&s->dev, "read of offset 0x%x, where no register is", (unsigned)offset);
    return 0;
}

static void write_context(struct plic *s, uint32_t context, uint64_t offset, uint64_t value)
{
    if (offset == 0 && legal_priority(s, &value)) {
        s->threshold[context] = (uint32_t)value;
        update_context(s, context);
    } else if (offset == 4) {
        finish(s, context, (uint32_t)value);
    } else {
        mmio_device_guest_error(&s->dev, "write of 0x%x to offset 0x%x of context %u",
                                (unsigned)value, (unsigned)offset, context);
    }
}

static void plic_write(void *opaque, uint64_t offset, uint64_t value, unsigned size)
{
    struct plic *s = opaque;
    uint32_t i, word, *enable;

    if (register_at(offset, s->priority_base, 4, s->num_sources, &i)) {
        /* Source 0 isn't there; a priority that isn't either leaves what was. */
        if (i && legal_priority(s, &value)) {
            s->priority[i] = (uint32_t)value;
            update(s);
        }
        return;
    }
    enable = enable_at(s, offset, &i, &word);
    if (enable) {
        if (word == 0) {
            value &= ~1ull;
        }
        if (word == s->n_words - 1 && s->num_sources % 32) {
            value &= (1u << s->num_sources % 32) - 1;
        }
        *enable = (uint32_t)value;
        update_context(s, i);
        return;
    }
    if (register_at(offset, s->context_base, s->context_stride, s->n_contexts, &i)) {
        write_context(s, i, (offset - s->context_base) % s->context_stride, value);
        return;
    }
    mmio_device_guest_error(&s->dev, "write to offset 0x%x, which can't be written",
                            (unsigned)offset);
}

static const struct region_ops ops = {
    .read_simple = plic_read,
    .write_simple = plic_write,
    .min_size = 4,
    .max_size = 4,
};

/* hart-config: letters of modes, a comma between harts. */
static bool parse_contexts(struct plic *s, GError **error)
{
    const char *config = s->hart_config ? s->hart_config : "";
    size_t n = 0;
    uint32_t hart = 0;

    s->modes = g_new0(char, strlen(config) + 1);
    s->harts = g_new0(uint32_t, strlen(config) + 1);
    for (const char *p = config; *p; p++) {
        if (*p == ',') {
            hart++;
        } else if (strchr("UMSH", *p) && n < MAX_CONTEXTS) {
            s->modes[n] = *p;
            s->harts[n++] = hart;
        } else {
            n = 0;
            break;
        }
    }
    if (n == 0) {
        g_set_error(error, QAPI_ERROR, QAPI_ERROR_GENERIC,
                    "riscv.sifive.plic: hart-config is '%s', it is like 'MS,MS': the modes of each "
                    "hart, at most %u in all", config, MAX_CONTEXTS);
        return false;
    }
    s->n_contexts = (uint32_t)n;
    return true;
}

static bool check_layout(const struct plic *s, GError **error)
{
    uint64_t size = s->aperture_size, words = ((uint64_t)s->num_sources + 31) / 32;

    if (s->num_sources < 2 || s->num_sources > MAX_SOURCES || s->num_priorities < 1 ||
        s->enable_stride < words * 4 || s->context_stride < 8 ||
        (s->priority_base | s->pending_base | s->enable_base | s->enable_stride | s->context_base |
         s->context_stride) % 4 ||
        s->priority_base + 4ull * s->num_sources > size || s->pending_base + 4 * words > size ||
        s->enable_base + (uint64_t)s->enable_stride * s->n_contexts > size ||
        s->context_base + (uint64_t)s->context_stride * s->n_contexts > size) {
        g_set_error(error, QAPI_ERROR, QAPI_ERROR_GENERIC,
                    "riscv.sifive.plic: %u sources of %u priorities and %u contexts don't fit into "
                    "this layout of registers", s->num_sources, s->num_priorities, s->n_contexts);
        return false;
    }
    return true;
}

static bool realize(struct mmio_device *dev, GError **error)
{
    struct plic *s = (struct plic *)dev;

    if (!parse_contexts(s, error) || !check_layout(s, error)) {
        return false;
    }
    s->n_words = (s->num_sources + 31) / 32;
    s->n_enable_words = s->n_words * s->n_contexts;
    s->priority = g_new0(uint32_t, s->num_sources);
    s->level = g_new0(uint32_t, s->n_words);
    s->pending = g_new0(uint32_t, s->n_words);
    s->claimed = g_new0(uint32_t, s->n_words);
    s->enable = g_new0(uint32_t, s->n_enable_words);
    s->threshold = g_new0(uint32_t, s->n_contexts);
    dev->n_irqs = s->n_contexts;
    region_init_mmio(&dev->regions[0], "riscv.sifive.plic", &ops, s, s->aperture_size, &dev->lock);
    dev->n_regions = 1;
    return true;
}

/* level stays: it is what the devices drive. One that is high makes its request again. */
static void reset(struct mmio_device *dev)
{
    struct plic *s = (struct plic *)dev;

    for (uint32_t i = 1; i < s->num_sources; i++) {
        gateway(s, i);
    }
    update(s);
}

static void unrealize(struct mmio_device *dev)
{
    struct plic *s = (struct plic *)dev;

    g_free(s->modes);
    g_free(s->harts);
    g_free(s->priority);
    g_free(s->level);
    g_free(s->pending);
    g_free(s->claimed);
    g_free(s->enable);
    g_free(s->threshold);
}

static bool after_load(void *instance, uint32_t version, GError **error)
{
    struct plic *s = instance;
    uint32_t last = s->num_sources % 32 ? (1u << s->num_sources % 32) - 1 : UINT32_MAX;

    /* What no guest could have made is made legal. */
    s->priority[0] = 0;
    s->pending[0] &= ~1u;
    s->pending[s->n_words - 1] &= last;
    for (uint32_t i = 0; i < s->n_contexts; i++) {
        s->enable[(size_t)i * s->n_words] &= ~1u;
        s->enable[(size_t)(i + 1) * s->n_words - 1] &= last;
    }
    update(s);
    return true;
}

static const struct state_field fields[] = {
    STATE_POINTER(plic, priority, STATE_U32, num_sources),
    STATE_POINTER(plic, level, STATE_U32, n_words, .keep = true),
    STATE_POINTER(plic, pending, STATE_U32, n_words),
    STATE_POINTER(plic, claimed, STATE_U32, n_words),
    STATE_POINTER(plic, enable, STATE_U32, n_enable_words),
    STATE_POINTER(plic, threshold, STATE_U32, n_contexts),
};

static const struct state_table state = {
    .name = "riscv.sifive.plic",
    .version = 1,
    .fields = fields,
    .n_fields = G_N_ELEMENTS(fields),
    .after_load = after_load,
};

static const struct mmio_device_class plic_class = {
    .state = &state,
    .realize = realize,
    .reset = reset,
    .unrealize = unrealize,
};

#define NUMBER(name, field, default_, description)                                                 \
    PROPERTY(name, plic, field, qapi_type_uint32, default_, description)

static const struct property properties[] = {
    PROPERTY("hart-config", plic, hart_config, qapi_type_str, NULL,
             "Modes of each hart: MS,MS,..."),
    NUMBER("hartid-base", hartid_base, "0", "Id of the first hart"),
    NUMBER("num-sources", num_sources, "1", "Number of sources, with source 0"),
    NUMBER("num-priorities", num_priorities, "0", "Highest priority"),
    NUMBER("priority-base", priority_base, "0", "Offset of the priorities"),
    NUMBER("pending-base", pending_base, "0", "Offset of the pending bits"),
    NUMBER("enable-base", enable_base, "0", "Offset of the enable bits"),
    NUMBER("enable-stride", enable_stride, "0", "Bytes between those of two contexts"),
    NUMBER("context-base", context_base, "0", "Offset of thresholds and claims"),
    NUMBER("context-stride", context_stride, "0", "Bytes between those of two contexts"),
    NUMBER("aperture-size", aperture_size, "0", "Size in bytes"),
};

static const struct object_type plic_type = {
    .name = "riscv.sifive.plic",
    .parent = "mmio-device",
    .instance_size = sizeof(struct plic),
    .properties = properties,
    .n_properties = G_N_ELEMENTS(properties),
    .class_data = &plic_class,
};
OBJECT_TYPE(plic_type);
