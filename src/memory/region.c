/*
 * The tree of regions. Every change takes the lock of the domain of address spaces that show the
 * region, if there is one, and marks those spaces stale.
 */
#include "memory/memory_priv.h"

static unsigned array_length(const GPtrArray *array)
{
    return array ? array->len : 0;
}

/* ---- Domains ---- */

/* Calls fn for each space that shows the region; stops when it returns true, and returns that. */
static bool foreach_space(struct region *region, bool (*fn)(struct address_space *, void *),
                          void *opaque)
{
    for (; region; region = region->parent) {
        for (unsigned i = 0; i < array_length(region->spaces); i++) {
            if (fn(region->spaces->pdata[i], opaque)) {
                return true;
            }
        }
        for (unsigned i = 0; i < array_length(region->aliases); i++) {
            if (foreach_space(region->aliases->pdata[i], fn, opaque)) {
                return true;
            }
        }
    }
    return false;
}

static bool take_domain(struct address_space *space, void *opaque)
{
    *(struct domain **)opaque = space->domain;
    return true;
}

static struct domain *lock_of(struct region *region)
{
    struct domain *domain = NULL;

    if (foreach_space(region, take_domain, &domain)) {
        domain_lock(domain);
    }
    return domain;
}

static void unlock(struct domain *domain)
{
    if (domain) {
        domain_unlock(domain);
    }
}

static bool mark_stale(struct address_space *space, void *opaque)
{
    /* Else they would have to be made peers when they are created. */
    g_assert(space->domain == opaque);
    space->stale = true;
    return false;
}

static void changed(struct region *region, struct domain *domain)
{
    if (domain) {
        foreach_space(region, mark_stale, domain);
    }
}

static bool find_domain(struct region *region, struct domain **domain)
{
    if (foreach_space(region, take_domain, domain) ||
        (region->target && find_domain(region->target, domain))) {
        return true;
    }
    for (unsigned i = 0; i < array_length(region->children); i++) {
        if (find_domain(region->children->pdata[i], domain)) {
            return true;
        }
    }
    return false;
}

struct domain *region_find_domain(struct region *root)
{
    struct domain *domain = NULL;

    find_domain(root, &domain);
    return domain;
}

/* ---- Making them ---- */

static void init(struct region *region, enum region_kind kind, const char *name, uint64_t size)
{
    *region = (struct region){
        .kind = kind, .name = g_strdup(name), .size = size, .enabled = true};
}

void region_init_container(struct region *region, const char *name, uint64_t size)
{
    init(region, REGION_CONTAINER, name, size);
}

static void init_ram(struct region *region, struct ram_block *block, uint64_t offset)
{
    g_assert(region->size && offset <= ram_block_size(block) &&
             region->size <= ram_block_size(block) - offset);
    region->ram = ram_block_ref(block);
    region->ram_offset = offset;
}

void region_init_ram(struct region *region, const char *name, struct ram_block *block,
                     uint64_t offset, uint64_t size)
{
    init(region, REGION_RAM, name, size);
    init_ram(region, block, offset);
}

static void check_ops(const struct region_ops *ops)
{
    uint8_t sizes[] = {ops->min_size, ops->max_size, ops->impl_min, ops->impl_max};

    for (size_t i = 0; i < G_N_ELEMENTS(sizes); i++) {
        g_assert(sizes[i] <= 8 && !(sizes[i] & (sizes[i] - 1)));
    }
    g_assert(!ops->max_size || ops->min_size <= ops->max_size);
    g_assert(!ops->impl_max || ops->impl_min <= ops->impl_max);
}

void region_init_rom(struct region *region, const char *name, struct ram_block *block,
                     uint64_t offset, uint64_t size, const struct region_ops *rom_ops, void *opaque,
                     GMutex *lock)
{
    init(region, REGION_ROM, name, size);
    init_ram(region, block, offset);
    if (rom_ops) {
        check_ops(rom_ops);
    }
    region->as_rom = true;
    region->ops = rom_ops;
    region->opaque = opaque;
    region->lock = lock;
}

void region_init_mmio(struct region *region, const char *name, const struct region_ops *ops,
                      void *opaque, uint64_t size, GMutex *lock)
{
    init(region, REGION_MMIO, name, size);
    check_ops(ops);
    region->ops = ops;
    region->opaque = opaque;
    region->lock = lock;
}

void region_init_alias(struct region *region, const char *name, struct region *target,
                       uint64_t target_offset, uint64_t size)
{
    struct domain *domain = lock_of(target);

    init(region, REGION_ALIAS, name, size);
    region->target = target;
    region->target_offset = target_offset;
    if (!target->aliases) {
        target->aliases = g_ptr_array_new();
    }
    g_ptr_array_add(target->aliases, region);
    unlock(domain);
}

void region_init_iommu(struct region *region, const char *name, const struct iommu_ops *ops,
                       void *opaque, uint64_t size)
{
    init(region, REGION_IOMMU, name, size);
    region->iommu_ops = ops;
    region->opaque = opaque;
}

/* ---- Changing the tree ---- */

static bool reaches(const struct region *from, const struct region *to)
{
    if (from == to || (from->target && reaches(from->target, to))) {
        return true;
    }
    for (unsigned i = 0; i < array_length(from->children); i++) {
        if (reaches(from->children->pdata[i], to)) {
            return true;
        }
    }
    return false;
}

void region_add(struct region *parent, uint64_t offset, struct region *child, int priority)
{
    struct domain *domain = lock_of(parent);
    unsigned i = 0;

    g_assert(!child->parent && parent->kind != REGION_ALIAS && !reaches(child, parent));
    child->parent = parent;
    child->offset = offset;
    child->priority = priority;
    while (i < array_length(parent->children) &&
           ((struct region *)parent->children->pdata[i])->priority > priority) {
        i++;
    }
    if (!parent->children) {
        parent->children = g_ptr_array_new();
    }
    g_ptr_array_insert(parent->children, (gint)i, child);
    changed(child, domain);
    unlock(domain);
}

void region_remove(struct region *child)
{
    struct domain *domain = lock_of(child);

    g_assert(child->parent);
    changed(child, domain);
    g_ptr_array_remove(child->parent->children, child);
    child->parent = NULL;
    unlock(domain);
}

void region_move(struct region *child, uint64_t offset)
{
    struct domain *domain = lock_of(child);

    child->offset = offset;
    changed(child, domain);
    unlock(domain);
}

void region_set_enabled(struct region *region, bool enabled)
{
    struct domain *domain = lock_of(region);

    region->enabled = enabled;
    changed(region, domain);
    unlock(domain);
}

void region_set_rom_mode(struct region *region, bool as_rom)
{
    struct domain *domain = lock_of(region);

    g_assert(region->kind == REGION_ROM && region->ops);
    region->as_rom = as_rom;
    changed(region, domain);
    unlock(domain);
}

/* ---- Their end ---- */

void region_clear(struct region *region)
{
    g_assert(!array_length(region->spaces));
    if (region->parent) {
        region_remove(region);
    }
    /* Devices are freed in any order: what is left of a tree forgets the region. */
    while (array_length(region->aliases)) {
        struct region *alias = g_ptr_array_steal_index(region->aliases, 0);
        struct domain *domain = lock_of(alias);

        alias->target = NULL;
        changed(alias, domain);
        unlock(domain);
    }
    for (unsigned i = 0; i < array_length(region->children); i++) {
        ((struct region *)region->children->pdata[i])->parent = NULL;
    }
    if (region->target) {
        struct domain *domain = lock_of(region->target);

        g_ptr_array_remove(region->target->aliases, region);
        unlock(domain);
    }
    g_clear_pointer(&region->aliases, g_ptr_array_unref);
    g_clear_pointer(&region->children, g_ptr_array_unref);
    g_clear_pointer(&region->spaces, g_ptr_array_unref);
    g_clear_pointer(&region->ram, ram_block_unref);
    g_clear_pointer(&region->name, g_free);
}
