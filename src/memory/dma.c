/*
 * DMA: devices that work in guest memory for a while; and who is told that code was written.
 */
#include "memory/memory_priv.h"

/* What all devices of peers may hold in bounce buffers at a time, and one at most. */
enum { MAX_BOUNCE = 4096, MAX_BOUNCE_ALL = 256 * 1024 };

static bool map_at(uint64_t address, uint64_t size, struct dma_map *map, unsigned iommus);

/* Takes room for a bounce buffer. */
static bool charge(struct domain *domain, uint64_t size)
{
    uint64_t before = __atomic_fetch_add(&domain->bounce_bytes, size, __ATOMIC_RELAXED);

    if (before + size <= MAX_BOUNCE_ALL) {
        return true;
    }
    __atomic_fetch_sub(&domain->bounce_bytes, size, __ATOMIC_RELAXED);
    return false;
}

static void drop_bounce(struct dma_map *map)
{
    __atomic_fetch_sub(&map->space->domain->bounce_bytes, map->size, __ATOMIC_RELAXED);
    g_free(map->host);
}

static bool map_bounce(struct address_space *space, uint64_t address, uint64_t size,
                       struct dma_map *map)
{
    map->size = MIN(size, MAX_BOUNCE);
    map->address = address;
    if (!charge(space->domain, map->size)) {
        return false;
    }
    map->host = g_malloc0(map->size);
    if (!map->is_write &&
        address_space_read(space, address, map->host, map->size, map->attrs) != MEMORY_OK) {
        drop_bounce(map);
        return false;
    }
    return true;
}

/* Goes on at the address where an IOMMU sends the access. */
static bool map_iommu(const struct region *region, uint64_t offset, uint64_t size,
                      struct dma_map *map, unsigned iommus)
{
    struct iommu_target target = {0};

    if (iommus == MAX_IOMMUS ||
        region->iommu_ops->translate(region->opaque, offset, map->is_write, map->attrs, &target) !=
            MEMORY_OK) {
        return false;
    }
    map->space = target.space;
    return map_at(target.address, CLAMP(target.length, 1, size), map, iommus + 1);
}

static bool map_at(uint64_t address, uint64_t size, struct dma_map *map, unsigned iommus)
{
    struct address_space *space = map->space;
    struct domain_slot *slot = domain_enter(space->domain);
    uint64_t last;
    const struct view_range *range = space_find(space, &slot->hint, address, &last);
    uint64_t skip = range ? address - range->start : 0;
    bool ok = false;

    size = MIN(size - 1, last - address) + 1;
    if (range && range->region->kind == REGION_IOMMU) {
        ok = map_iommu(range->region, range->offset + skip, size, map, iommus);
    } else if (range && (map->is_write ? range->writable : range->host != NULL)) {
        map->host = range->host + skip;
        map->size = size;
        map->ram = ram_block_ref(range->region->ram);
        map->address = range->region->ram_offset + range->offset + skip;
        ok = true;
    } else if (range && !map->attrs.memory_only) {
        ok = map_bounce(space, address, size, map);
    }
    domain_leave(space->domain, slot);
    return ok;
}

bool address_space_map(struct address_space *space, uint64_t address, uint64_t size, bool is_write,
                       struct memory_attrs attrs, struct dma_map *map)
{
    *map = (struct dma_map){.space = space, .attrs = attrs, .is_write = is_write};
    if (size && map_at(address, size, map, 0)) {
        return true;
    }
    map->host = NULL;
    map->size = 0;
    return false;
}

enum memory_result address_space_unmap(struct dma_map *map, uint64_t written)
{
    enum memory_result result = MEMORY_OK;

    g_assert(map->host && written <= (map->is_write ? map->size : 0));
    if (map->ram) {
        if (written && ram_block_mark_written(map->ram, map->address, written)) {
            domain_code_written(map->space->domain, map->ram, map->address, written);
        }
        ram_block_unref(map->ram);
    } else {
        if (written) {
            result = address_space_write(map->space, map->address, map->host, written, map->attrs);
        }
        drop_bounce(map);
    }
    *map = (struct dma_map){0};
    return result;
}

/* ---- Code ---- */

void address_space_set_code_listener(struct address_space *space, address_space_code_written *fn,
                                     void *opaque)
{
    domain_lock(space->domain);
    space->code_written = fn;
    space->code_opaque = opaque;
    domain_unlock(space->domain);
}

/* Where a part of the block is in the space; RAM is at several places if there are aliases. */
static void tell_code(const struct address_space *space, const struct ram_block *block,
                      uint64_t offset, uint64_t size)
{
    const struct view *view = space_view(space);

    for (size_t i = 0; i < view->n; i++) {
        const struct view_range *range = &view->ranges[i];
        uint64_t first = range->region->ram_offset + range->offset;     /* in the block */
        uint64_t from, to;                                              /* inclusive */

        if (!range->host || range->region->ram != block) {
            continue;
        }
        from = MAX(offset, first);
        to = MIN(offset + size - 1, first + (range->last - range->start));
        if (from <= to) {
            space->code_written(space->code_opaque, range->start + (from - first), to - from + 1);
        }
    }
}

void domain_code_written(struct domain *domain, const struct ram_block *block, uint64_t offset,
                         uint64_t size)
{
    domain_lock(domain);
    for (unsigned i = 0; i < domain->spaces->len; i++) {
        const struct address_space *space = domain->spaces->pdata[i];

        if (space->code_written) {
            tell_code(space, block, offset, size);
        }
    }
    domain_unlock(domain);
}
