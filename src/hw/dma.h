/*
 * What devices read and write in guest memory, with their own lock held or not; any thread. A
 * device's registers count as memory, too, unless their device is busy (memory/memory.h).
 */
#ifndef NANDU_HW_DMA_H
#define NANDU_HW_DMA_H

#include "memory/memory.h"

/* False: part of it isn't there, or can't be written. */
static inline bool dma_read(struct address_space *space, uint64_t address, void *data,
                            uint64_t size)
{
    return address_space_read(space, address, data, size, (struct memory_attrs){0}) == MEMORY_OK;
}

static inline bool dma_write(struct address_space *space, uint64_t address, const void *data,
                             uint64_t size)
{
    return address_space_write(space, address, data, size, (struct memory_attrs){0}) == MEMORY_OK;
}

/* Zeroes. */
static inline bool dma_clear(struct address_space *space, uint64_t address, uint64_t size)
{
    static const uint8_t zeroes[4096];
    uint64_t n;

    for (; size; size -= n, address += n) {
        n = MIN(size, sizeof(zeroes));
        if (!dma_write(space, address, zeroes, n)) {
            return false;
        }
    }
    return true;
}

#endif
