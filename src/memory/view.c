/*
 * From a tree of regions to a sorted table of ranges.
 *
 * The tree is walked from what hides to what is hidden: children before their parent, higher
 * priorities first. Each region fills what is still free of its place. Places are computed in 128
 * bits: a region can be 2^64 bytes, and an alias can put its target's start below 0.
 */
#include "memory/memory_priv.h"

#include <string.h>

typedef __int128 place;

static const place END = (place)1 << 64;

/* What is seen of a region: [from, to). */
struct window {
    place from, to;
};

static struct window intersect(struct window a, place from, place to)
{
    return (struct window){.from = MAX(a.from, from), .to = MIN(a.to, to)};
}

static place region_size(const struct region *region)
{
    return region->size ? region->size : END;
}

static const struct view_range *range_at(const GArray *ranges, size_t i)
{
    return &g_array_index(ranges, struct view_range, i);
}

/* The first range that doesn't end before address. */
static size_t first_from(const struct view_range *ranges, size_t n, uint64_t address)
{
    size_t low = 0, high = n;

    while (low < high) {
        size_t middle = low + (high - low) / 2;

        if (ranges[middle].last < address) {
            low = middle + 1;
        } else {
            high = middle;
        }
    }
    return low;
}

static struct view_range range_of(struct region *region, uint64_t offset, uint64_t start,
                                  uint64_t last)
{
    struct view_range range = {.start = start, .last = last, .region = region, .offset = offset};

    if (region->kind == REGION_RAM || (region->kind == REGION_ROM && region->as_rom)) {
        range.host = ram_block_host(region->ram) + region->ram_offset + offset;
        range.writable = region->kind == REGION_RAM && ram_block_writable(region->ram);
    }
    return range;
}

/* Puts a region whose offset 0 is at base into what is free of the window. */
static void fill(GArray *ranges, struct region *region, place base, struct window window)
{
    uint64_t start = (uint64_t)window.from, last = (uint64_t)(window.to - 1);
    size_t i = first_from((const struct view_range *)(void *)ranges->data, ranges->len, start);

    for (;; i++) {
        bool behind = i < ranges->len && range_at(ranges, i)->start <= last;
        uint64_t next = behind ? range_at(ranges, i)->start : 0;

        if (!behind || start < next) {
            struct view_range range = range_of(region, (uint64_t)(start - base), start,
                                               behind ? next - 1 : last);

            g_array_insert_val(ranges, i, range);
            i++;
        }
        if (!behind || range_at(ranges, i)->last >= last) {
            return;
        }
        start = range_at(ranges, i)->last + 1;
    }
}

static void render(GArray *ranges, struct region *region, place base, struct window window)
{
    window = intersect(window, base, base + region_size(region));
    if (!region->enabled || window.from >= window.to) {
        return;
    }
    if (region->kind == REGION_ALIAS) {
        if (region->target) {
            render(ranges, region->target, base - region->target_offset, window);
        }
        return;
    }
    for (unsigned i = 0; region->children && i < region->children->len; i++) {
        struct region *child = region->children->pdata[i];

        render(ranges, child, base + child->offset, window);
    }
    if (region->kind != REGION_CONTAINER) {
        fill(ranges, region, base, window);
    }
}

/* b begins where a ends, in the address space and in the region. */
static bool continues(const struct view_range *a, const struct view_range *b)
{
    uint64_t length = a->last - a->start + 1;

    return a->region == b->region && a->last + 1 == b->start && a->offset + length == b->offset;
}

struct view *view_new(const struct region *root)
{
    g_autoptr(GArray) ranges = g_array_new(FALSE, FALSE, sizeof(struct view_range));
    struct view *view;

    render(ranges, (struct region *)root, 0, (struct window){.from = 0, .to = END});
    view = g_malloc(sizeof(*view) + ranges->len * sizeof(view->ranges[0]));
    *view = (struct view){.n = 0};
    for (unsigned i = 0; i < ranges->len; i++) {
        const struct view_range *range = range_at(ranges, i);

        if (view->n && continues(&view->ranges[view->n - 1], range)) {
            view->ranges[view->n - 1].last = range->last;
        } else {
            view->ranges[view->n++] = *range;
        }
    }
    return view;
}

bool view_equal(const struct view *a, const struct view *b)
{
    if (a->n != b->n) {
        return false;
    }
    for (size_t i = 0; i < a->n; i++) {
        const struct view_range *x = &a->ranges[i], *y = &b->ranges[i];

        if (x->start != y->start || x->last != y->last || x->region != y->region ||
            x->offset != y->offset || x->host != y->host || x->writable != y->writable) {
            return false;
        }
    }
    return true;
}

const struct view_range *view_find(const struct view *view, uint32_t *hint, uint64_t address,
                                   uint64_t *last)
{
    size_t i = *hint;

    if (i >= view->n || address < view->ranges[i].start || address > view->ranges[i].last) {
        i = first_from(view->ranges, view->n, address);
        if (i == view->n) {
            *last = UINT64_MAX;
            return NULL;
        }
        if (address < view->ranges[i].start) {
            *last = view->ranges[i].start - 1;
            return NULL;
        }
        *hint = (uint32_t)i;
    }
    *last = view->ranges[i].last;
    return &view->ranges[i];
}
