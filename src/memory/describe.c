/*
 * "info mtree" in the form that QEMU's has.
 */
#include "memory/memory_priv.h"

#include <inttypes.h>

static const char *kind_of(const struct region *region)
{
    switch (region->kind) {
    case REGION_ALIAS: return region->target ? kind_of(region->target) : "i/o";
    case REGION_RAM: return ram_block_writable(region->ram) ? "ram" : "rom";
    case REGION_ROM: return !region->ops ? "rom" : region->as_rom ? "romd" : "i/o";
    case REGION_CONTAINER:
    case REGION_MMIO:
    case REGION_IOMMU: break;
    }
    return "i/o";
}

/* ---- Trees ---- */

struct tree_text {
    GString *out;
    GPtrArray *targets;     /* of aliases, in the order in which they were met */
    bool show_disabled;
};

/* By address; at the same one what hides the other comes first. */
static gint compare_places(gconstpointer a, gconstpointer b)
{
    const struct region *x = *(const struct region *const *)a;
    const struct region *y = *(const struct region *const *)b;

    if (x->offset != y->offset) {
        return x->offset < y->offset ? -1 : 1;
    }
    return (x->priority < y->priority) - (x->priority > y->priority);
}

static void describe_region(struct tree_text *text, struct region *region, uint64_t base,
                            unsigned depth)
{
    uint64_t start = base + region->offset;

    if (region->target && !g_ptr_array_find(text->targets, region->target, NULL)) {
        g_ptr_array_add(text->targets, region->target);
    }
    if (region->enabled || text->show_disabled) {
        g_string_append_printf(text->out, "%*s%016" PRIx64 "-%016" PRIx64 " (prio %d, %s): ",
                               2 * depth, "", start, start + region->size - 1, region->priority,
                               kind_of(region));
        if (region->kind == REGION_ALIAS) {
            g_string_append_printf(text->out, "alias %s @%s %016" PRIx64 "-%016" PRIx64,
                                   region->name, region->target ? region->target->name : "(gone)",
                                   region->target_offset,
                                   region->target_offset + region->size - 1);
        } else {
            g_string_append(text->out, region->name);
        }
        g_string_append(text->out, region->enabled ? "\n" : " [disabled]\n");
    }
    if (region->children) {
        g_autoptr(GPtrArray) children = g_ptr_array_copy(region->children, NULL, NULL);

        g_ptr_array_sort(children, compare_places);
        for (unsigned i = 0; i < children->len; i++) {
            describe_region(text, children->pdata[i], start, depth + 1);
        }
    }
}

static gint compare_names(gconstpointer a, gconstpointer b)
{
    const struct address_space *x = *(const struct address_space *const *)a;
    const struct address_space *y = *(const struct address_space *const *)b;

    return g_strcmp0(x->name, y->name);
}

/* The spaces of the list that have this root, by name. */
static GPtrArray *spaces_of(const GPtrArray *spaces, const struct region *root)
{
    GPtrArray *found = g_ptr_array_new();

    for (unsigned i = 0; i < spaces->len; i++) {
        if (((struct address_space *)spaces->pdata[i])->root == root) {
            g_ptr_array_add(found, spaces->pdata[i]);
        }
    }
    g_ptr_array_sort(found, compare_names);
    return found;
}

static void describe_trees(GString *out, const GPtrArray *spaces, const GPtrArray *roots,
                           bool show_disabled)
{
    g_autoptr(GPtrArray) targets = g_ptr_array_new();
    struct tree_text text = {.out = out, .targets = targets, .show_disabled = show_disabled};

    for (unsigned i = 0; i < roots->len; i++) {
        struct region *root = roots->pdata[i];
        g_autoptr(GPtrArray) same = spaces_of(spaces, root);

        for (unsigned j = 0; j < same->len; j++) {
            g_string_append_printf(out, "address-space: %s\n",
                                   ((struct address_space *)same->pdata[j])->name);
        }
        describe_region(&text, root, 0, 1);
        g_string_append_c(out, '\n');
    }
    /* Those may show further ones. */
    for (unsigned i = 0; i < targets->len; i++) {
        struct region *target = targets->pdata[i];

        g_string_append_printf(out, "memory-region: %s\n", target->name);
        describe_region(&text, target, 0, 1);
        g_string_append_c(out, '\n');
    }
}

/* ---- Views ---- */

static void describe_view(GString *out, const struct view *view)
{
    for (size_t i = 0; i < view->n; i++) {
        const struct view_range *range = &view->ranges[i];

        g_string_append_printf(out, "  %016" PRIx64 "-%016" PRIx64 " (prio %d, %s): %s",
                               range->start, range->last, range->region->priority,
                               kind_of(range->region), range->region->name);
        if (range->offset) {
            g_string_append_printf(out, " @%016" PRIx64, range->offset);
        }
        g_string_append_c(out, '\n');
    }
    g_string_append(out, view->n ? "\n" : "  No rendered FlatView\n\n");
}

static void describe_views(GString *out, const GPtrArray *spaces, const GPtrArray *roots)
{
    for (unsigned i = 0; i < roots->len; i++) {
        const struct region *root = roots->pdata[i];
        g_autoptr(GPtrArray) same = spaces_of(spaces, root);
        const struct view *view = space_view(same->pdata[0]);

        g_string_append_printf(out, "FlatView #%u\n", i);
        for (unsigned j = 0; j < same->len; j++) {
            g_string_append_printf(out, " AS \"%s\", root: %s\n",
                                   ((struct address_space *)same->pdata[j])->name, root->name);
        }
        g_string_append_printf(out, " Root memory region: %s\n", view->n ? root->name : "(none)");
        describe_view(out, view);
    }
}

/* ---- Both ---- */

static char *describe(struct domain *domain, const GPtrArray *spaces, bool flat,
                      bool show_disabled)
{
    GString *out = g_string_new(NULL);
    g_autoptr(GPtrArray) roots = g_ptr_array_new();

    domain_lock(domain);
    for (unsigned i = 0; i < spaces->len; i++) {
        struct region *root = ((struct address_space *)spaces->pdata[i])->root;

        if (!g_ptr_array_find(roots, root, NULL)) {
            g_ptr_array_add(roots, root);
        }
    }
    if (flat) {
        describe_views(out, spaces, roots);
    } else {
        describe_trees(out, spaces, roots, show_disabled);
    }
    domain_unlock(domain);
    return g_string_free(out, FALSE);
}

char *address_space_describe(struct address_space *space, bool flat)
{
    g_autoptr(GPtrArray) spaces = g_ptr_array_new();

    g_ptr_array_add(spaces, space);
    return describe(space->domain, spaces, flat, false);
}

char *address_space_describe_all(struct address_space *space, bool flat, bool show_disabled)
{
    return describe(space->domain, space->domain->spaces, flat, show_disabled);
}
