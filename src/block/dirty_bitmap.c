#include "block/dirty_bitmap.h"

#include <string.h>

#include "block/block_priv.h"
#include "qapi/qapi_commands.h"

enum { WORD = 64, MIN_GRANULARITY = 512, MAX_GRANULARITY_BITS = 31 };

static GPtrArray **list_of(const struct block_node *node)
{
    return &node->requests->bitmaps;
}

static uint64_t granules(const struct dirty_bitmap *b, uint64_t size)
{
    return size / b->granularity + !!(size % b->granularity);
}

/* ---- Bits ---- */

/* Bits first to last (inclusive) of the words. */
static void change(struct dirty_bitmap *b, uint64_t first, uint64_t last, bool set)
{
    uint64_t w;

    for (w = first / WORD; w <= last / WORD; w++) {
        uint64_t mask = UINT64_MAX;

        if (w == first / WORD) {
            mask &= UINT64_MAX << first % WORD;
        }
        if (w == last / WORD) {
            mask &= UINT64_MAX >> (WORD - 1 - last % WORD);
        }
        if (!set) {
            atomic_fetch_and_explicit(&b->words[w], ~mask, memory_order_relaxed);
        } else if ((atomic_load_explicit(&b->words[w], memory_order_relaxed) & mask) != mask) {
            atomic_fetch_or_explicit(&b->words[w], mask, memory_order_relaxed);
        }
    }
}

static void change_range(struct dirty_bitmap *b, uint64_t offset, uint64_t bytes, bool set)
{
    if (offset >= b->size || !bytes) {
        return;
    }
    bytes = MIN(bytes, b->size - offset);
    change(b, offset / b->granularity, (offset + bytes - 1) / b->granularity, set);
}

void dirty_bitmap_set(struct dirty_bitmap *bitmap, uint64_t offset, uint64_t bytes)
{
    change_range(bitmap, offset, bytes, true);
}

void dirty_bitmap_clear(struct dirty_bitmap *bitmap, uint64_t offset, uint64_t bytes)
{
    change_range(bitmap, offset, bytes, false);
}

bool dirty_bitmap_get(const struct dirty_bitmap *bitmap, uint64_t offset)
{
    uint64_t granule = offset / bitmap->granularity;

    return offset < bitmap->size && bitmap->words[granule / WORD] >> granule % WORD & 1;
}

/* The first granule from i on that is set (or clear); the number of granules if there is none. */
static uint64_t find(const struct dirty_bitmap *b, uint64_t i, bool set)
{
    uint64_t n = granules(b, b->size);

    while (i < n) {
        uint64_t word = atomic_load_explicit(&b->words[i / WORD], memory_order_relaxed);

        word = (set ? word : ~word) >> i % WORD;
        if (word) {
            return MIN(i + __builtin_ctzll(word), n);
        }
        i = (i / WORD + 1) * WORD;
    }
    return n;
}

bool dirty_bitmap_next(const struct dirty_bitmap *b, uint64_t *offset, uint64_t *bytes)
{
    uint64_t end = *bytes && *bytes < b->size - MIN(*offset, b->size) ? *offset + *bytes : b->size,
             first, last;

    if (*offset >= b->size) {
        return false;
    }
    first = find(b, *offset / b->granularity, true);
    if (first * b->granularity >= end) {
        return false;
    }
    last = find(b, first, false);
    *offset = MAX(*offset, first * b->granularity);
    *bytes = MIN(last * b->granularity, end) - *offset;
    return true;
}

uint64_t dirty_bitmap_count(const struct dirty_bitmap *b)
{
    uint64_t offset = 0, bytes = 0, count = 0;

    while (dirty_bitmap_next(b, &offset, &bytes)) {
        count += bytes;
        offset += bytes;
        bytes = 0;
    }
    return count;
}

void dirty_bitmaps_record(struct block_node *node, uint64_t offset, uint64_t bytes)
{
    const GPtrArray *list = *list_of(node);
    guint i;

    for (i = 0; list && i < list->len; i++) {
        struct dirty_bitmap *b = list->pdata[i];

        if (b->enabled) {
            change_range(b, offset, bytes, true);
        }
    }
}

/* ---- The list ---- */

uint32_t dirty_bitmap_default_granularity(const struct block_node *node)
{
    uint32_t cluster = node->limits.discard_align;

    return cluster ? CLAMP(cluster, 4096, 65536) : 65536;
}

const GPtrArray *dirty_bitmaps_of(const struct block_node *node)
{
    return *list_of(node);
}

struct dirty_bitmap *dirty_bitmap_find(const struct block_node *node, const char *name,
                                       GError **error)
{
    const GPtrArray *list = *list_of(node);
    guint i;

    for (i = 0; list && i < list->len; i++) {
        struct dirty_bitmap *b = list->pdata[i];

        if (!strcmp(b->name, name)) {
            return b;
        }
    }
    block_error(error, "Dirty bitmap '%s' not found", name);
    return NULL;
}

static bool make_words(struct dirty_bitmap *b, uint64_t size, GError **error)
{
    uint64_t n = granules(b, size) / WORD + 1;

    if (n > DIRTY_BITMAP_MAX_BYTES / sizeof(uint64_t)) {
        return block_error(error,
                           "A bitmap with this granularity would be too large: give a larger one");
    }
    b->words = g_try_malloc0(n * sizeof(uint64_t));
    if (!b->words) {
        return block_error(error, "There is no memory for the bitmap");
    }
    b->n_words = n;
    b->size = size;
    return true;
}

struct dirty_bitmap *dirty_bitmap_new(struct block_node *node, const char *name,
                                      uint32_t granularity, GError **error)
{
    GPtrArray **list = list_of(node);
    struct dirty_bitmap *b;

    if (granularity < MIN_GRANULARITY || granularity & (granularity - 1)) {
        block_error(error, granularity < MIN_GRANULARITY ? "Granularity must be at least 512"
                                                         : "Granularity must be a power of 2");
        return NULL;
    }
    if (!*name || strlen(name) > DIRTY_BITMAP_MAX_NAME) {
        block_error(error, *name ? "Bitmap name too long" : "Bitmap name cannot be empty");
        return NULL;
    }
    if (dirty_bitmap_find(node, name, NULL)) {
        block_error(error, "Bitmap already exists: %s", name);
        return NULL;
    }
    b = g_new0(struct dirty_bitmap, 1);
    b->granularity = granularity;
    if (!make_words(b, node->length, error)) {
        g_free(b);
        return NULL;
    }
    b->name = g_strdup(name);
    b->node = node;
    b->enabled = true;
    if (!*list) {
        *list = g_ptr_array_new();
    }
    g_ptr_array_add(*list, b);
    return b;
}

void dirty_bitmap_free(struct dirty_bitmap *b)
{
    if (!b) {
        return;
    }
    g_ptr_array_remove(*list_of(b->node), b);
    g_free((void *)b->words);
    g_free(b->name);
    g_free(b);
}

void dirty_bitmaps_free(struct block_node *node)
{
    GPtrArray **list = list_of(node);

    while (*list && (*list)->len) {
        dirty_bitmap_free((*list)->pdata[(*list)->len - 1]);
    }
    g_clear_pointer(list, g_ptr_array_unref);
}

void dirty_bitmap_resize(struct dirty_bitmap *b, uint64_t size)
{
    uint64_t old_n = granules(b, b->size), n = granules(b, size), n_words = n / WORD + 1;
    _Atomic uint64_t *words = g_malloc0(n_words * sizeof(*words));

    memcpy((void *)words, (void *)b->words, MIN(n_words, b->n_words) * sizeof(*words));
    g_free((void *)b->words);
    b->words = words;
    b->n_words = n_words;
    b->size = size;
    if (n < old_n) {
        change(b, n, n_words * WORD - 1, false);
    }
}

void dirty_bitmaps_resized(struct block_node *node)
{
    const GPtrArray *list = *list_of(node);
    guint i;

    for (i = 0; list && i < list->len; i++) {
        struct dirty_bitmap *b = list->pdata[i];

        if (b->size != node->length) {
            dirty_bitmap_resize(b, node->length);
        }
    }
}

void dirty_bitmaps_describe(const struct block_node *node, struct qapi_block_dirty_info_list *out)
{
    const GPtrArray *list = *list_of(node);
    guint i;

    for (i = 0; list && i < list->len; i++) {
        const struct dirty_bitmap *b = list->pdata[i];
        struct qapi_block_dirty_info *info =
            qapi_list_append(&qapi_type_block_dirty_info_list, out);

        *info = (struct qapi_block_dirty_info){
            .name = g_strdup(b->name),
            .count = dirty_bitmap_count(b),
            .granularity = b->granularity,
            .recording = b->enabled && !b->inconsistent,
            .busy = b->busy,
            .persistent = b->persistent,
            .has_inconsistent = b->inconsistent,
            .inconsistent = b->inconsistent,
        };
    }
}

/* ---- Commands ---- */

static bool check_usable(const struct dirty_bitmap *b, bool change_it, GError **error)
{
    if (b->busy) {
        return block_error(
            error, "Bitmap '%s' is currently in use by another operation and cannot be used",
            b->name);
    }
    if (b->inconsistent) {
        return block_error(
            error,
            "Bitmap '%s' is inconsistent and cannot be used: remove it (block-dirty-bitmap-remove)",
            b->name);
    }
    if (change_it && b->persistent && b->node->read_only) {
        return block_error(error, "Bitmap '%s' is readonly and cannot be modified", b->name);
    }
    return true;
}

static bool co_store(struct dirty_bitmap *b, GError **error)
{
    return !b->persistent || b->node->driver->bitmaps->co_store(b->node, b, error);
}

static bool check_can_store(struct block_node *node, const char *name, uint32_t granularity,
                            GError **error)
{
    const struct block_bitmap_ops *ops = node->driver->bitmaps;

    if (!ops) {
        return block_error(error, "Cannot store dirty bitmaps in node '%s'", node->name);
    }
    return ops->co_can_store(node, name, granularity, error);
}

static bool co_add(struct block_node *node, const char *name, uint32_t granularity, bool persistent,
                   bool disabled, GError **error)
{
    struct dirty_bitmap *b;

    if (persistent && !check_can_store(node, name, granularity, error)) {
        return false;
    }
    b = dirty_bitmap_new(node, name, granularity, error);
    if (!b) {
        return false;
    }
    b->persistent = persistent;
    b->enabled = !disabled;
    if (!co_store(b, error)) {
        dirty_bitmap_free(b);
        return false;
    }
    return true;
}

bool co_dirty_bitmap_add(struct block_node *node, const char *name, uint32_t granularity,
                         bool persistent, bool disabled, GError **error)
{
    bool ok;

    co_block_drain_begin(node->graph, node);
    ok = co_add(node, name, granularity ? granularity : dirty_bitmap_default_granularity(node),
                persistent, disabled, error);
    block_drain_end(node->graph, node);
    return ok;
}

static bool co_remove(struct block_node *node, struct dirty_bitmap *b, GError **error)
{
    if (b->busy) {
        return check_usable(b, true, error);
    }
    if (b->persistent && node->read_only) {
        return block_error(error, "Bitmap '%s' is readonly and cannot be modified", b->name);
    }
    if (b->persistent && !node->driver->bitmaps->co_remove(node, b->name, error)) {
        return false;
    }
    dirty_bitmap_free(b);
    return true;
}

bool co_dirty_bitmap_remove(struct block_node *node, const char *name, GError **error)
{
    struct dirty_bitmap *b = dirty_bitmap_find(node, name, error);
    bool ok;

    if (!b) {
        return false;
    }
    co_block_drain_begin(node->graph, node);
    ok = co_remove(node, b, error);
    block_drain_end(node->graph, node);
    return ok;
}

bool co_dirty_bitmap_clear(struct block_node *node, const char *name, GError **error)
{
    struct dirty_bitmap *b = dirty_bitmap_find(node, name, error);

    if (!b || !check_usable(b, true, error)) {
        return false;
    }
    co_block_drain_begin(node->graph, node);
    change(b, 0, b->n_words * WORD - 1, false);
    block_drain_end(node->graph, node);
    return true;
}

bool co_dirty_bitmap_enable(struct block_node *node, const char *name, bool enable, GError **error)
{
    struct dirty_bitmap *b = dirty_bitmap_find(node, name, error);
    bool old, ok;

    if (!b || !check_usable(b, true, error)) {
        return false;
    }
    co_block_drain_begin(node->graph, node);
    old = b->enabled;
    b->enabled = enable;
    ok = old == enable || co_store(b, error);
    b->enabled = ok ? enable : old;
    block_drain_end(node->graph, node);
    return ok;
}

bool co_dirty_bitmap_merge(struct dirty_bitmap *target, const struct dirty_bitmap *source,
                           GError **error)
{
    struct block_node *node = target->node;
    uint64_t offset = 0, bytes = 0;
    bool ok;

    if (!check_usable(target, true, error) || !check_usable(source, false, error)) {
        return false;
    }
    if (target->size != source->size) {
        return block_error(error,
                           "Bitmaps are of different sizes (destination size is %" G_GUINT64_FORMAT
                           ", source size is %" G_GUINT64_FORMAT ") and can't be merged",
                           target->size, source->size);
    }
    co_block_drain_begin(node->graph, node);
    while (dirty_bitmap_next(source, &offset, &bytes)) {
        change_range(target, offset, bytes, true);
        offset += bytes;
        bytes = 0;
    }
    ok = co_store(target, error);
    block_drain_end(node->graph, node);
    return ok;
}

/* ---- QMP ---- */

bool qmp_block_dirty_bitmap_add(struct qmp_context *ctx,
                                const struct qapi_block_dirty_bitmap_add *arg, GError **error)
{
    struct block_node *node = block_node_find(ctx->blocks, arg->node, error);

    if (arg->has_granularity && !arg->granularity) {
        return block_error(error, "Granularity must be at least 512");
    }
    return node && co_dirty_bitmap_add(node, arg->name, arg->has_granularity ? arg->granularity : 0,
                                       arg->has_persistent && arg->persistent,
                                       arg->has_disabled && arg->disabled, error);
}

bool qmp_block_dirty_bitmap_remove(struct qmp_context *ctx,
                                   const struct qapi_block_dirty_bitmap *arg, GError **error)
{
    struct block_node *node = block_node_find(ctx->blocks, arg->node, error);

    return node && co_dirty_bitmap_remove(node, arg->name, error);
}

bool qmp_block_dirty_bitmap_clear(struct qmp_context *ctx,
                                  const struct qapi_block_dirty_bitmap *arg, GError **error)
{
    struct block_node *node = block_node_find(ctx->blocks, arg->node, error);

    return node && co_dirty_bitmap_clear(node, arg->name, error);
}

bool qmp_block_dirty_bitmap_enable(struct qmp_context *ctx,
                                   const struct qapi_block_dirty_bitmap *arg, GError **error)
{
    struct block_node *node = block_node_find(ctx->blocks, arg->node, error);

    return node && co_dirty_bitmap_enable(node, arg->name, true, error);
}

bool qmp_block_dirty_bitmap_disable(struct qmp_context *ctx,
                                    const struct qapi_block_dirty_bitmap *arg, GError **error)
{
    struct block_node *node = block_node_find(ctx->blocks, arg->node, error);

    return node && co_dirty_bitmap_enable(node, arg->name, false, error);
}

static struct dirty_bitmap *find_source(struct qmp_context *ctx, struct block_node *node,
                                        const struct qapi_block_dirty_bitmap_or_str *source,
                                        GError **error)
{
    if (source->kind == QAPI_BLOCK_DIRTY_BITMAP_OR_STR_KIND_EXTERNAL) {
        struct block_node *other = block_node_find(ctx->blocks, source->u.external.node, error);

        return other ? dirty_bitmap_find(other, source->u.external.name, error) : NULL;
    }
    return dirty_bitmap_find(node, source->u.local, error);
}

bool qmp_block_dirty_bitmap_merge(struct qmp_context *ctx,
                                  const struct qapi_block_dirty_bitmap_merge *arg, GError **error)
{
    struct block_node *node = block_node_find(ctx->blocks, arg->node, error);
    struct dirty_bitmap *target = node ? dirty_bitmap_find(node, arg->target, error) : NULL;
    size_t i;

    if (!target) {
        return false;
    }
    /* All must be there, and usable, before any is merged. */
    for (i = 0; i < arg->bitmaps.n; i++) {
        struct dirty_bitmap *source = find_source(ctx, node, &arg->bitmaps.v[i], error);

        if (!source || !check_usable(source, false, error)) {
            return false;
        }
    }
    for (i = 0; i < arg->bitmaps.n; i++) {
        struct dirty_bitmap *source = find_source(ctx, node, &arg->bitmaps.v[i], error);

        if (!source || !co_dirty_bitmap_merge(target, source, error)) {
            return false;
        }
    }
    return true;
}
