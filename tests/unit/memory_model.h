/*
 * A model of guest memory that looks for each byte by itself, and a machine that makes the same
 * random changes to it and to the real thing and compares. Bytes of input choose what is done, so
 * that the fuzzer and the unit test share it.
 */
#ifndef MEMORY_MODEL_H
#define MEMORY_MODEL_H

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "memory/memory.h"

enum {
    MODEL_REGIONS = 14,     /* 0 and 1 are roots */
    MODEL_SPACES = 2,
    MODEL_BLOCKS = 2,
    MODEL_BLOCK_SIZE = 4096,
    MODEL_REGISTERS = 256,
    MODEL_SMALL = 0x440,    /* where regions are: at the start and at the end of all addresses */
};

struct model_region {
    struct region region;
    unsigned index;
    bool used, enabled, as_rom, has_ops;
    enum region_kind kind;
    uint64_t size, offset, target_offset, ram_offset;
    int priority;
    unsigned sequence;                  /* of being added */
    struct model_region *parent, *target;
    unsigned block;
    uint8_t registers[MODEL_REGISTERS]; /* the device's, and what they should be */
    uint8_t expected[MODEL_REGISTERS];
};

struct model {
    struct model_region regions[MODEL_REGIONS];
    struct ram_block *blocks[MODEL_BLOCKS];
    uint8_t ram[MODEL_BLOCKS][MODEL_BLOCK_SIZE];
    struct address_space *spaces[MODEL_SPACES];
    unsigned depth, sequence, changes;
    const uint8_t *data;                /* input that is left */
    size_t size;
    uint64_t random;                    /* for what isn't worth input */
};

static inline void model_bug(const char *what, uint64_t address)
{
    fprintf(stderr, "memory: %s at %llx\n", what, (unsigned long long)address);
    abort();
}

static inline unsigned model_byte(struct model *m)
{
    if (!m->size) {
        return 0;
    }
    m->size--;
    return *m->data++;
}

static inline uint64_t model_random(struct model *m)
{
    m->random ^= m->random << 13;
    m->random ^= m->random >> 7;
    m->random ^= m->random << 17;
    return m->random * 0x2545f4914f6cdd1dull >> 16;
}

/* ---- Registers that are bytes ---- */

static inline uint64_t model_read(void *opaque, uint64_t offset, unsigned size)
{
    const struct model_region *r = opaque;
    uint64_t value = 0;

    for (unsigned i = 0; i < size; i++) {
        value |= (uint64_t)r->registers[(offset + i) % MODEL_REGISTERS] << (8 * i);
    }
    return value;
}

static inline void model_write(void *opaque, uint64_t offset, uint64_t value, unsigned size)
{
    struct model_region *r = opaque;

    for (unsigned i = 0; i < size; i++) {
        r->registers[(offset + i) % MODEL_REGISTERS] = (uint8_t)(value >> (8 * i));
    }
}

/* All must look like bytes. */
static const struct region_ops model_ops[] = {
    {.read_simple = model_read, .write_simple = model_write},
    {.read_simple = model_read, .write_simple = model_write, .unaligned = true},
    {.read_simple = model_read, .write_simple = model_write, .max_size = 2},
    {.read_simple = model_read, .write_simple = model_write, .impl_max = 2, .unaligned = true},
    {.read_simple = model_read, .write_simple = model_write, .max_size = 1},
};

/* ---- The model ---- */

struct model_place {
    struct model_region *region;    /* NULL: nothing */
    uint64_t offset;
};

static inline struct model_place model_find(struct model *m, struct model_region *r,
                                            uint64_t offset)
{
    struct model_place place = {0};
    bool tried[MODEL_REGIONS] = {false};

    if (!r || !r->enabled || (r->size && offset >= r->size)) {
        return place;
    }
    if (r->kind == REGION_ALIAS) {
        return offset > UINT64_MAX - r->target_offset
                   ? place
                   : model_find(m, r->target, r->target_offset + offset);
    }
    for (;;) {
        struct model_region *best = NULL;

        for (unsigned i = 0; i < MODEL_REGIONS; i++) {
            struct model_region *child = &m->regions[i];

            if (child->used && child->parent == r && !tried[i] &&
                (!best || child->priority > best->priority ||
                 (child->priority == best->priority && child->sequence > best->sequence))) {
                best = child;
            }
        }
        if (!best) {
            break;
        }
        tried[best->index] = true;
        if (offset >= best->offset) {
            place = model_find(m, best, offset - best->offset);
            if (place.region) {
                return place;
            }
        }
    }
    if (r->kind != REGION_CONTAINER) {
        place.region = r;
        place.offset = offset;
    }
    return place;
}

static inline bool model_is_ram(const struct model_region *r)
{
    return r->kind == REGION_RAM || (r->kind == REGION_ROM && r->as_rom);
}

/* The byte that a read gives; NULL: there is none. */
static inline uint8_t *model_byte_of(struct model *m, struct model_place place)
{
    if (!place.region) {
        return NULL;
    }
    if (model_is_ram(place.region)) {
        return &m->ram[place.region->block][place.region->ram_offset + place.offset];
    }
    return &place.region->expected[place.offset % MODEL_REGISTERS];
}

static inline void model_write_byte(struct model *m, struct model_place place, uint8_t value)
{
    struct model_region *r = place.region;

    if (!r || (r->kind == REGION_ROM && !r->has_ops)) {
        return;
    }
    if (r->kind == REGION_ROM) {
        r->expected[place.offset % MODEL_REGISTERS] = value;
    } else {
        *model_byte_of(m, place) = value;
    }
}

/* ---- Comparing ---- */

static inline uint64_t model_address(struct model *m)
{
    uint64_t small = model_random(m) % MODEL_SMALL;

    return model_random(m) % 4 ? small : UINT64_MAX - small;
}

static inline struct model_place model_at(struct model *m, unsigned space, uint64_t address)
{
    return model_find(m, &m->regions[space], address);
}

static inline void model_check_look_up(struct model *m, unsigned space, uint64_t address)
{
    struct memory_range range;
    struct model_place place = model_at(m, space, address), next;
    uint64_t last, steps[3];

    address_space_look_up(m->spaces[space], address, &range);
    if (range.region != (place.region ? &place.region->region : NULL) ||
        (place.region && range.offset != place.offset)) {
        model_bug("another region", address);
    }
    if ((range.host != NULL) != (place.region && model_is_ram(place.region))) {
        model_bug("RAM or not", address);
    }
    if (range.host &&
        (range.host != ram_block_host(range.ram) + range.ram_offset ||
         range.ram_offset != place.region->ram_offset + place.offset ||
         range.writable != (place.region->kind == REGION_RAM))) {
        model_bug("another place in RAM", address);
    }
    if (!range.length || range.length - 1 > UINT64_MAX - address) {
        model_bug("an impossible length", address);
    }
    last = range.length - 1;
    steps[0] = last;
    steps[1] = last / 2;
    steps[2] = last ? model_random(m) % last : 0;
    for (unsigned i = 0; i < 3; i++) {
        next = model_at(m, space, address + steps[i]);
        if (next.region != place.region ||
            (place.region && next.offset != place.offset + steps[i])) {
            model_bug("too long", address);
        }
    }
    if (address + last < UINT64_MAX - 1) {
        next = model_at(m, space, address + last + 1);
        if (next.region == place.region &&
            (!place.region || next.offset == place.offset + last + 1)) {
            model_bug("too short", address);
        }
    }
}

static inline void model_check_access(struct model *m, unsigned space)
{
    uint8_t data[80], expected[80];
    uint64_t address = model_address(m), size = model_random(m) % sizeof(data);
    bool is_write = model_random(m) % 2, missing = false;
    struct memory_attrs attrs = {0};
    enum memory_result result;

    for (unsigned i = 0; i < size; i++) {
        data[i] = (uint8_t)model_random(m);
    }
    if (is_write) {
        result = address_space_write(m->spaces[space], address, data, size, attrs);
    } else {
        result = address_space_read(m->spaces[space], address, data, size, attrs);
    }
    for (unsigned i = 0; i < size; i++) {
        struct model_place place = {0};

        if (address <= UINT64_MAX - i) {
            place = model_at(m, space, address + i);
        }
        missing |= !place.region;
        if (is_write) {
            model_write_byte(m, place, data[i]);
        } else {
            expected[i] = place.region ? *model_byte_of(m, place) : 0xff;
        }
    }
    if (result != (missing ? MEMORY_DECODE_ERROR : MEMORY_OK)) {
        model_bug("another result", address);
    }
    if (!is_write && memcmp(data, expected, size) != 0) {
        model_bug("other bytes", address);
    }
}

/* Loads and stores of RAM; of registers, too, where the model knows what they take. */
static inline void model_check_word(struct model *m, unsigned space)
{
    unsigned size = 1u << model_random(m) % 4;
    uint64_t address = model_address(m), value, expected = 0;
    bool plain = address <= UINT64_MAX - (size - 1);
    enum memory_result result;
    struct memory_attrs attrs = {0};

    for (unsigned i = 0; plain && i < size; i++) {
        struct model_place place = model_at(m, space, address + i);

        plain = place.region && model_is_ram(place.region);
        if (plain) {
            expected |= (uint64_t)*model_byte_of(m, place) << (8 * i);
        }
    }
    result = address_space_load(m->spaces[space], address, size, &value, attrs);
    if (plain && (result != MEMORY_OK || value != expected)) {
        model_bug("another word", address);
    }
    if (result != MEMORY_OK && value != UINT64_MAX) {
        model_bug("a failed load's value", address);
    }
}

static inline void model_check(struct model *m, unsigned steps)
{
    for (unsigned i = 0; i < steps; i++) {
        unsigned space = (unsigned)(model_random(m) % MODEL_SPACES);

        model_check_look_up(m, space, model_address(m));
        model_check_access(m, space);
        model_check_word(m, space);
    }
}

static inline void model_check_all(struct model *m)
{
    for (unsigned space = 0; space < MODEL_SPACES; space++) {
        g_autofree char *text = address_space_describe_all(m->spaces[space], space, true);

        if (!text[0]) {
            model_bug("no description of space", space);
        }
        for (uint64_t i = 0; i < MODEL_SMALL; i += 1 + model_random(m) % 16) {
            model_check_look_up(m, space, i);
            model_check_look_up(m, space, UINT64_MAX - i);
        }
    }
    for (unsigned i = 0; i < MODEL_BLOCKS; i++) {
        if (memcmp(ram_block_host(m->blocks[i]), m->ram[i], MODEL_BLOCK_SIZE) != 0) {
            model_bug("RAM differs in block", i);
        }
    }
    for (unsigned i = 0; i < MODEL_REGIONS; i++) {
        if (memcmp(m->regions[i].registers, m->regions[i].expected, MODEL_REGISTERS) != 0) {
            model_bug("registers differ in region", i);
        }
    }
}

/* ---- Changing ---- */

static inline bool model_reaches(struct model *m, struct model_region *from,
                                 struct model_region *to)
{
    if (from == to || (from->target && model_reaches(m, from->target, to))) {
        return true;
    }
    for (unsigned i = 0; i < MODEL_REGIONS; i++) {
        if (m->regions[i].used && m->regions[i].parent == from &&
            model_reaches(m, &m->regions[i], to)) {
            return true;
        }
    }
    return false;
}

static inline uint64_t model_offset(struct model *m)
{
    unsigned b = model_byte(m);

    switch (b % 8) {
    case 0: return UINT64_MAX - b * 4;
    case 1: return b;
    case 2: return 0;
    default: return b * 4;
    }
}

static inline void model_make(struct model *m, struct model_region *r)
{
    struct model_region *other = &m->regions[MODEL_SPACES + model_byte(m) % 6];
    unsigned b = model_byte(m);
    const struct region_ops *ops = &model_ops[b % G_N_ELEMENTS(model_ops)];

    r->kind = (enum region_kind)(model_byte(m) % REGION_IOMMU);
    r->size = b % 16 == 0 ? 0 : model_byte(m) * 3 + 1;
    r->block = b % MODEL_BLOCKS;
    r->ram_offset = (uint64_t)b * 8;
    r->target = NULL;
    r->parent = NULL;
    r->enabled = r->as_rom = true;
    r->has_ops = false;
    switch (r->kind) {
    case REGION_RAM:
        r->size = r->size ? r->size : 1;
        region_init_ram(&r->region, "ram", m->blocks[r->block], r->ram_offset, r->size);
        break;
    case REGION_ROM:
        r->size = r->size ? r->size : 1;
        r->has_ops = b & 32;
        region_init_rom(&r->region, "rom", m->blocks[r->block], r->ram_offset, r->size,
                        r->has_ops ? ops : NULL, r, NULL);
        break;
    case REGION_MMIO:
        r->has_ops = true;
        region_init_mmio(&r->region, "mmio", ops, r, r->size, NULL);
        break;
    case REGION_ALIAS:
        if (other->used && other != r) {
            r->target = other;
            r->target_offset = model_offset(m);
            region_init_alias(&r->region, "alias", &other->region, r->target_offset, r->size);
            break;
        }
        r->kind = REGION_CONTAINER;
        region_init_container(&r->region, "container", r->size);
        break;
    default:
        r->kind = REGION_CONTAINER;
        region_init_container(&r->region, "container", r->size);
        break;
    }
    r->used = true;
}

static inline void model_unmake(struct model *m, struct model_region *r)
{
    if (r->parent) {
        region_remove(&r->region);
        r->parent = NULL;
    }
    /* No more is seen of it: make that so for aliases and for the old view. */
    while (m->depth) {
        m->depth--;
        address_space_end_changes(m->spaces[0]);
    }
    for (unsigned i = 0; i < MODEL_REGIONS; i++) {
        struct model_region *o = &m->regions[i];

        if (o->used && o->target == r) {
            o->target = NULL;
        }
        if (o->used && o->parent == r) {
            region_remove(&o->region);
            o->parent = NULL;
        }
    }
    address_space_synchronize(m->spaces[0]);
    region_clear(&r->region);
    r->used = false;
}

static inline void model_step(struct model *m)
{
    unsigned op = model_byte(m);
    struct model_region *r = &m->regions[2 + model_byte(m) % (MODEL_REGIONS - 2)];
    unsigned n = model_byte(m) % (2 * MODEL_REGIONS);
    struct model_region *parent = &m->regions[n < MODEL_REGIONS ? n : n % MODEL_SPACES];

    if (!r->used) {
        model_make(m, r);
    }
    switch (op % 8) {
    case 0:
        if (op & 8) {
            model_unmake(m, r);
        }
        break;
    case 1:
        if (r->parent && op & 8) {
            region_remove(&r->region);
            r->parent = NULL;
        }
        break;
    case 2:
        r->offset = model_offset(m);
        region_move(&r->region, r->offset);
        break;
    case 3:
        r->enabled = op & 0x18;
        region_set_enabled(&r->region, r->enabled);
        break;
    case 4:
        if (r->kind == REGION_ROM && r->has_ops) {
            r->as_rom = op & 8;
            region_set_rom_mode(&r->region, r->as_rom);
        }
        break;
    case 5:
        if ((op & 0x38) == 8 && m->depth < 3) {
            m->depth++;
            address_space_begin_changes(m->spaces[op >> 4 & 1]);
        } else if (m->depth) {
            m->depth--;
            address_space_end_changes(m->spaces[op >> 4 & 1]);
        }
        break;
    default:
        if (!r->parent && parent->used && parent->kind != REGION_ALIAS &&
            !model_reaches(m, r, parent)) {
            r->parent = parent;
            r->offset = model_offset(m);
            r->priority = (int)(model_byte(m) % 4) - 1;
            r->sequence = ++m->sequence;
            region_add(&parent->region, r->offset, &r->region, r->priority);
        }
        break;
    }
}

static inline void model_changed(void *opaque)
{
    (*(unsigned *)opaque)++;
}

static inline void model_run(const uint8_t *data, size_t size)
{
    struct model *m = g_new0(struct model, 1);

    m->data = data;
    m->size = size;
    m->random = 0x9e3779b97f4a7c15ull;
    for (unsigned i = 0; i < MODEL_BLOCKS; i++) {
        m->blocks[i] = ram_block_new("block", MODEL_BLOCK_SIZE, NULL);
    }
    for (unsigned i = 0; i < MODEL_REGIONS; i++) {
        m->regions[i].index = i;
    }
    for (unsigned i = 0; i < MODEL_SPACES; i++) {
        struct model_region *root = &m->regions[i];

        root->used = root->enabled = true;
        root->kind = REGION_CONTAINER;
        region_init_container(&root->region, "root", 0);
        m->spaces[i] = i ? address_space_new_peer("peer", &root->region, m->spaces[0])
                         : address_space_new("first", &root->region);
        address_space_add_listener(m->spaces[i], model_changed, &m->changes);
    }
    while (m->size) {
        model_step(m);
        if (!m->depth) {
            model_check(m, 4);
        }
    }
    while (m->depth) {
        m->depth--;
        address_space_end_changes(m->spaces[0]);
    }
    model_check_all(m);
    for (unsigned i = 0; i < MODEL_SPACES; i++) {
        address_space_remove_listener(m->spaces[i], &m->changes);
    }
    for (unsigned i = 0; i < MODEL_SPACES; i++) {
        address_space_free(m->spaces[i]);
    }
    for (unsigned i = 0; i < MODEL_REGIONS; i++) {
        struct model_region *r = &m->regions[i];

        if (r->used) {
            if (r->region.parent) {
                region_remove(&r->region);
            }
            region_clear(&r->region);
        }
    }
    for (unsigned i = 0; i < MODEL_BLOCKS; i++) {
        ram_block_unref(m->blocks[i]);
    }
    g_free(m);
}

#endif
