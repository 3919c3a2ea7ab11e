/* All RAM of an address space: what is saved of a machine and restored. */
#include "memory/memory_priv.h"

#include <string.h>

static void collect(const struct region *region, GPtrArray *blocks)
{
    if (region->ram && !g_ptr_array_find(blocks, region->ram, NULL)) {
        g_ptr_array_add(blocks, ram_block_ref(region->ram));
    }
    if (region->target) {
        collect(region->target, blocks);
    }
    for (guint i = 0; region->children && i < region->children->len; i++) {
        collect(region->children->pdata[i], blocks);
    }
}

static gint compare(gconstpointer a, gconstpointer b)
{
    return strcmp(ram_block_name(*(struct ram_block *const *)a),
                  ram_block_name(*(struct ram_block *const *)b));
}

GPtrArray *address_space_ram_blocks(struct address_space *space)
{
    GPtrArray *blocks = g_ptr_array_new_with_free_func((GDestroyNotify)ram_block_unref);

    domain_lock(space->domain);
    collect(space->root, blocks);
    domain_unlock(space->domain);
    g_ptr_array_sort(blocks, compare);
    return blocks;
}

bool address_space_restore(struct address_space *space, struct ram_block *block, uint64_t offset,
                           const void *data, uint64_t size)
{
    if (!ram_block_writable(block)) {
        return false;
    }
    memcpy(ram_block_host(block) + offset, data, size);
    if (ram_block_mark_written(block, offset, size)) {
        domain_code_written(space->domain, block, offset, size);
    }
    return true;
}
