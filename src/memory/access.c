/*
 * Accesses: to RAM directly, to registers by their rules, through IOMMUs.
 *
 * Values are in the byte order of memory, little endian, here; a big-endian device's are turned
 * round at its handlers. So pieces of an access are put together by their offsets alone.
 */
#include "memory/memory_priv.h"

#include <string.h>

enum {
    /* How long a device that holds a lock waits for another's: it could be its own, or that of one
     * that waits for this one, since guests choose the addresses. */
    TRIES = 50,
    SLEEPS = 40,
    SLEEP_US = 50,
};

/* Who asks, and how. */
struct access {
    struct memory_attrs attrs;
    bool is_write;
    bool waits;         /* for locks, as long as it takes */
    unsigned iommus;    /* gone through */
};

static uint64_t mask_of(unsigned size)
{
    return UINT64_MAX >> (64 - 8 * size);
}

static enum memory_result first_error(enum memory_result a, enum memory_result b)
{
    return a != MEMORY_OK ? a : b;
}

/* ---- Registers ---- */

static uint64_t swap_if(bool swap, uint64_t value, unsigned size)
{
    return swap ? __builtin_bswap64(value) >> (64 - 8 * size) : value;
}

static enum memory_result call_read(const struct region *region, uint64_t offset, unsigned size,
                                    uint64_t *value, struct memory_attrs attrs)
{
    const struct region_ops *ops = region->ops;
    enum memory_result result = MEMORY_OK;
    uint64_t v = 0;

    if (ops->read) {
        result = ops->read(region->opaque, offset, size, &v, attrs);
    } else if (ops->read_simple) {
        v = ops->read_simple(region->opaque, offset, size);
    } else {
        result = MEMORY_DECODE_ERROR;
    }
    *value = swap_if(ops->big_endian, v & mask_of(size), size);
    return result;
}

static enum memory_result call_write(const struct region *region, uint64_t offset, unsigned size,
                                     uint64_t value, struct memory_attrs attrs)
{
    const struct region_ops *ops = region->ops;

    value = swap_if(ops->big_endian, value & mask_of(size), size);
    if (ops->write) {
        return ops->write(region->opaque, offset, size, value, attrs);
    }
    if (ops->write_simple) {
        ops->write_simple(region->opaque, offset, value, size);
        return MEMORY_OK;
    }
    return MEMORY_DECODE_ERROR;
}

static enum memory_result call(const struct region *region, uint64_t offset, unsigned size,
                               uint64_t *value, const struct access *access)
{
    return access->is_write ? call_write(region, offset, size, *value, access->attrs)
                            : call_read(region, offset, size, value, access->attrs);
}

/* An access that is narrower than what the handlers take: in the one or two units that it is in. */
static enum memory_result access_widened(const struct region *region, uint64_t offset,
                                         unsigned size, uint64_t *value,
                                         const struct access *access)
{
    unsigned unit = region->ops->impl_min, done = 0;
    uint64_t result = 0;

    while (done < size) {
        uint64_t at = (offset + done) & ~(uint64_t)(unit - 1), whole = 0;
        unsigned skip = (unsigned)(offset + done - at), n = MIN(unit - skip, size - done);
        uint64_t mask = mask_of(n) << (8 * skip);
        enum memory_result error;

        if (region->size && unit > region->size - at) {
            return MEMORY_DECODE_ERROR;
        }
        error = call_read(region, at, unit, &whole, access->attrs);
        if (error == MEMORY_OK && access->is_write) {
            whole = (whole & ~mask) | (*value >> (8 * done) << (8 * skip) & mask);
            error = call_write(region, at, unit, whole, access->attrs);
        }
        if (error != MEMORY_OK) {
            return error;
        }
        result |= (whole & mask) >> (8 * skip) << (8 * done);
        done += n;
    }
    if (!access->is_write) {
        *value = result;
    }
    return MEMORY_OK;
}

static enum memory_result access_split(const struct region *region, uint64_t offset, unsigned size,
                                       uint64_t *value, const struct access *access)
{
    unsigned unit = region->ops->impl_max;
    uint64_t result = 0;

    for (unsigned done = 0; done < size; done += unit) {
        uint64_t part = *value >> (8 * done) & mask_of(unit);
        enum memory_result error = call(region, offset + done, unit, &part, access);

        if (error != MEMORY_OK) {
            return error;
        }
        result |= part << (8 * done);
    }
    if (!access->is_write) {
        *value = result;
    }
    return MEMORY_OK;
}

static bool lock_soon(GMutex *lock)
{
    for (unsigned i = 0; i < TRIES; i++) {
        if (g_mutex_trylock(lock)) {
            return true;
        }
        g_thread_yield();
    }
    for (unsigned i = 0; i < SLEEPS; i++) {
        g_usleep(SLEEP_US);
        if (g_mutex_trylock(lock)) {
            return true;
        }
    }
    return false;
}

static unsigned max_size_of(const struct region_ops *ops)
{
    return ops->max_size ? ops->max_size : 8;
}

static bool takes(const struct region_ops *ops, uint64_t offset, unsigned size)
{
    return size >= ops->min_size && size <= max_size_of(ops) &&
           (ops->unaligned || !(offset & (size - 1)));
}

/* One access that lies in the region. *gave_up: its lock can't be had. */
static enum memory_result access_registers(const struct region *region, uint64_t offset,
                                           unsigned size, uint64_t *value,
                                           const struct access *access, bool *gave_up)
{
    const struct region_ops *ops = region->ops;
    enum memory_result result;

    if (!ops) {
        return MEMORY_OK;       /* a write to ROM */
    }
    if (access->attrs.memory_only) {
        *gave_up = true;
        return MEMORY_DECODE_ERROR;
    }
    if (!takes(ops, offset, size)) {
        return MEMORY_DECODE_ERROR;
    }
    if (region->lock) {
        if (access->waits) {
            g_mutex_lock(region->lock);
        } else if (!lock_soon(region->lock)) {
            *gave_up = true;
            return MEMORY_DEVICE_ERROR;
        }
    }
    if (size < ops->impl_min) {
        result = access_widened(region, offset, size, value, access);
    } else if (ops->impl_max && size > ops->impl_max) {
        result = access_split(region, offset, size, value, access);
    } else {
        result = call(region, offset, size, value, access);
    }
    if (region->lock) {
        g_mutex_unlock(region->lock);
    }
    return result;
}

/* The largest access that a region takes of what is left. */
static unsigned piece_size(const struct region_ops *ops, uint64_t offset, uint64_t left)
{
    unsigned size = ops ? max_size_of(ops) : 8;

    while (size > left || (!(ops && ops->unaligned) && offset & (size - 1))) {
        size /= 2;
    }
    return size;
}

static enum memory_result registers_bytes(const struct region *region, uint64_t offset,
                                          uint8_t *data, uint64_t size,
                                          const struct access *access)
{
    enum memory_result result = MEMORY_OK;
    bool gave_up = false;
    uint64_t done = 0;

    while (done < size && !gave_up) {
        unsigned n = piece_size(region->ops, offset + done, size - done);
        uint64_t value = 0;
        enum memory_result error;

        if (access->is_write) {
            memcpy(&value, data + done, n);
        }
        error = access_registers(region, offset + done, n, &value, access, &gave_up);
        if (!access->is_write) {
            if (error != MEMORY_OK) {
                value = UINT64_MAX;
            }
            memcpy(data + done, &value, n);
        }
        result = first_error(result, error);
        done += n;
    }
    if (!access->is_write) {
        memset(data + done, 0xff, size - done);
    }
    return result;
}

/* ---- RAM ---- */

/* In one piece where the hardware's would be: other vCPUs and devices see all of it or nothing. */
static uint64_t host_load(const uint8_t *host, unsigned size)
{
    uint64_t value = 0;

    if ((uintptr_t)host & (size - 1)) {
        memcpy(&value, host, size);
        return value;
    }
    switch (size) {
    case 1: return __atomic_load_n(host, __ATOMIC_RELAXED);
    case 2: return __atomic_load_n((const uint16_t *)(const void *)host, __ATOMIC_RELAXED);
    case 4: return __atomic_load_n((const uint32_t *)(const void *)host, __ATOMIC_RELAXED);
    default: return __atomic_load_n((const uint64_t *)(const void *)host, __ATOMIC_RELAXED);
    }
}

static void host_store(uint8_t *host, unsigned size, uint64_t value)
{
    if ((uintptr_t)host & (size - 1)) {
        memcpy(host, &value, size);
        return;
    }
    switch (size) {
    case 1: __atomic_store_n(host, (uint8_t)value, __ATOMIC_RELAXED); break;
    case 2: __atomic_store_n((uint16_t *)(void *)host, (uint16_t)value, __ATOMIC_RELAXED); break;
    case 4: __atomic_store_n((uint32_t *)(void *)host, (uint32_t)value, __ATOMIC_RELAXED); break;
    default: __atomic_store_n((uint64_t *)(void *)host, value, __ATOMIC_RELAXED); break;
    }
}

static bool is_word(uint64_t size)
{
    return size == 1 || size == 2 || size == 4 || size == 8;
}

static void was_written(struct address_space *space, const struct view_range *range,
                        uint64_t address, uint64_t size)
{
    struct ram_block *block = range->region->ram;
    uint64_t offset = range->region->ram_offset + range->offset + (address - range->start);

    if (ram_block_mark_written(block, offset, size)) {
        domain_code_written(space->domain, block, offset, size);
    }
}

static void ram_bytes(struct address_space *space, const struct view_range *range,
                      uint64_t address, uint8_t *data, uint64_t size, bool is_write)
{
    uint8_t *host = range->host + (address - range->start);

    if (is_write) {
        if (is_word(size)) {
            uint64_t value = 0;

            memcpy(&value, data, size);
            host_store(host, (unsigned)size, value);
        } else {
            memcpy(host, data, size);
        }
        was_written(space, range, address, size);
    } else if (is_word(size)) {
        uint64_t value = host_load(host, (unsigned)size);

        memcpy(data, &value, size);
    } else {
        memcpy(data, host, size);
    }
}

/* ---- Any number of bytes ---- */

static enum memory_result access_bytes(struct address_space *space, uint64_t address,
                                       uint8_t *data, uint64_t size, const struct access *access);

/* Up to *size bytes at an offset of an IOMMU's region; says in *size how many were done. */
static enum memory_result iommu_bytes(const struct region *region, uint64_t offset, uint8_t *data,
                                      uint64_t *size, const struct access *access)
{
    struct access inner = *access;
    struct iommu_target target = {0};
    enum memory_result result = MEMORY_DECODE_ERROR;

    if (inner.iommus++ < MAX_IOMMUS) {
        result = region->iommu_ops->translate(region->opaque, offset, access->is_write,
                                              access->attrs, &target);
    }
    if (result == MEMORY_OK) {
        *size = CLAMP(target.length, 1, *size);
        return access_bytes(target.space, target.address, data, *size, &inner);
    }
    if (!access->is_write) {
        memset(data, 0xff, *size);
    }
    return result;
}

/* Up to *size bytes at an address, all in range (NULL: nothing is there). */
static enum memory_result range_bytes(struct address_space *space, const struct view_range *range,
                                      uint64_t address, uint8_t *data, uint64_t *size,
                                      const struct access *access)
{
    uint64_t offset = range ? range->offset + (address - range->start) : 0;

    if (!range) {
        if (!access->is_write) {
            memset(data, 0xff, *size);
        }
        return MEMORY_DECODE_ERROR;
    }
    if (access->is_write ? range->writable : range->host != NULL) {
        ram_bytes(space, range, address, data, *size, access->is_write);
        return MEMORY_OK;
    }
    if (range->region->kind == REGION_IOMMU) {
        return iommu_bytes(range->region, offset, data, size, access);
    }
    return registers_bytes(range->region, offset, data, *size, access);
}

static enum memory_result access_bytes(struct address_space *space, uint64_t address,
                                       uint8_t *data, uint64_t size, const struct access *access)
{
    struct domain_slot *slot = domain_enter(space->domain);
    enum memory_result result = MEMORY_OK;

    while (size) {
        uint64_t last, n = size;
        const struct view_range *range = space_find(space, &slot->hint, address, &last);
        enum memory_result error;

        if (n - 1 > last - address) {
            n = last - address + 1;
        }
        error = range_bytes(space, range, address, data, &n, access);
        result = first_error(result, error);
        data += n;
        size -= n;
        if (address + n < address && size) {
            /* Beyond the end of all addresses. */
            if (!access->is_write) {
                memset(data, 0xff, size);
            }
            result = first_error(result, MEMORY_DECODE_ERROR);
            break;
        }
        address += n;
    }
    domain_leave(space->domain, slot);
    return result;
}

enum memory_result address_space_read(struct address_space *space, uint64_t address, void *data,
                                      uint64_t size, struct memory_attrs attrs)
{
    struct access access = {.attrs = attrs};

    return access_bytes(space, address, data, size, &access);
}

enum memory_result address_space_write(struct address_space *space, uint64_t address,
                                       const void *data, uint64_t size, struct memory_attrs attrs)
{
    struct access access = {.attrs = attrs, .is_write = true};

    return access_bytes(space, address, (uint8_t *)data, size, &access);
}

/* ---- One access ---- */

/* Over the end of a range, or through an IOMMU. */
static enum memory_result word_in_pieces(struct address_space *space,
                                         const struct view_range *range, uint64_t address,
                                         unsigned size, uint64_t *value,
                                         const struct access *access)
{
    uint8_t data[8];
    enum memory_result result;

    /* Registers are never accessed in part. */
    if (!range || !(range->host || range->region->kind == REGION_IOMMU)) {
        return MEMORY_DECODE_ERROR;
    }
    memcpy(data, value, sizeof(data));
    result = access_bytes(space, address, data, size, access);
    if (!access->is_write) {
        *value = 0;
        memcpy(value, data, size);
    }
    return result;
}

static enum memory_result load_word(struct address_space *space, uint32_t *hint, uint64_t address,
                                    unsigned size, uint64_t *value, struct memory_attrs attrs)
{
    struct access access = {.attrs = attrs, .waits = true};
    uint64_t last;
    const struct view_range *range = space_find(space, hint, address, &last);
    enum memory_result result = MEMORY_DECODE_ERROR;
    bool gave_up;

    g_assert(is_word(size));
    *value = 0;
    if (size - 1 > last - address || (range && range->region->kind == REGION_IOMMU)) {
        result = word_in_pieces(space, range, address, size, value, &access);
    } else if (range && range->host) {
        *value = host_load(range->host + (address - range->start), size);
        return MEMORY_OK;
    } else if (range) {
        result = access_registers(range->region, range->offset + (address - range->start), size,
                                  value, &access, &gave_up);
    }
    if (result != MEMORY_OK) {
        *value = UINT64_MAX;
    }
    return result;
}

static enum memory_result store_word(struct address_space *space, uint32_t *hint, uint64_t address,
                                     unsigned size, uint64_t value, struct memory_attrs attrs)
{
    struct access access = {.attrs = attrs, .is_write = true, .waits = true};
    uint64_t last;
    const struct view_range *range = space_find(space, hint, address, &last);
    bool gave_up;

    g_assert(is_word(size));
    if (size - 1 > last - address || (range && range->region->kind == REGION_IOMMU)) {
        return word_in_pieces(space, range, address, size, &value, &access);
    }
    if (range && range->writable) {
        host_store(range->host + (address - range->start), size, value);
        was_written(space, range, address, size);
        return MEMORY_OK;
    }
    return range ? access_registers(range->region, range->offset + (address - range->start), size,
                                    &value, &access, &gave_up)
                 : MEMORY_DECODE_ERROR;
}

static void look_up(const struct address_space *space, uint32_t *hint, uint64_t address,
                    struct memory_range *range)
{
    uint64_t last;
    const struct view_range *found = space_find(space, hint, address, &last);
    uint64_t length = last - address;

    *range = (struct memory_range){.length = length == UINT64_MAX ? length : length + 1};
    if (found) {
        uint64_t skip = address - found->start;

        range->region = found->region;
        range->offset = found->offset + skip;
        if (found->host) {
            range->host = found->host + skip;
            range->ram = found->region->ram;
            range->ram_offset = found->region->ram_offset + range->offset;
            range->writable = found->writable;
        }
    }
}

enum memory_result address_space_load(struct address_space *space, uint64_t address, unsigned size,
                                      uint64_t *value, struct memory_attrs attrs)
{
    struct domain_slot *slot = domain_enter(space->domain);
    enum memory_result result = load_word(space, &slot->hint, address, size, value, attrs);

    domain_leave(space->domain, slot);
    return result;
}

enum memory_result address_space_store(struct address_space *space, uint64_t address, unsigned size,
                                       uint64_t value, struct memory_attrs attrs)
{
    struct domain_slot *slot = domain_enter(space->domain);
    enum memory_result result = store_word(space, &slot->hint, address, size, value, attrs);

    domain_leave(space->domain, slot);
    return result;
}

void address_space_look_up(struct address_space *space, uint64_t address,
                           struct memory_range *range)
{
    struct domain_slot *slot = domain_enter(space->domain);

    look_up(space, &slot->hint, address, range);
    domain_leave(space->domain, slot);
}

enum memory_result address_space_reader_load(struct address_space_reader *reader, uint64_t address,
                                             unsigned size, uint64_t *value,
                                             struct memory_attrs attrs)
{
    return load_word(reader->space, &reader->hint, address, size, value, attrs);
}

enum memory_result address_space_reader_store(struct address_space_reader *reader,
                                              uint64_t address, unsigned size, uint64_t value,
                                              struct memory_attrs attrs)
{
    return store_word(reader->space, &reader->hint, address, size, value, attrs);
}

void address_space_reader_look_up(struct address_space_reader *reader, uint64_t address,
                                  struct memory_range *range)
{
    look_up(reader->space, &reader->hint, address, range);
}

/* ---- Written without us ---- */

void address_space_written(struct address_space *space, uint64_t address, uint64_t size)
{
    struct domain_slot *slot = domain_enter(space->domain);

    while (size) {
        uint64_t last, n = size;
        const struct view_range *range = space_find(space, &slot->hint, address, &last);

        if (n - 1 > last - address) {
            n = last - address + 1;
        }
        if (range && range->writable) {
            was_written(space, range, address, n);
        }
        address += n;
        size -= n;
    }
    domain_leave(space->domain, slot);
}
