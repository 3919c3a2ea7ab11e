/*
 * A whole machine as a stream of bytes: time, memory, devices, vCPUs. It goes into a machine of the
 * same configuration. Main thread; the machine is stopped.
 *
 * The stream, all integers little endian: magic, u32 version, i64 virtual time in ns; for each RAM
 * block a u16 length and the name, u64 bytes, then its pages that aren't all zeroes, in their order
 * (u64 offset and the bytes: 4096, or what is left of the block), UINT64_MAX; an empty name; u64
 * bytes of sections of hw/state.h, and the sections.
 */
#ifndef NANDU_MIGRATION_MACHINE_STATE_H
#define NANDU_MIGRATION_MACHINE_STATE_H

#include <glib.h>
#include <stdbool.h>
#include <stddef.h>

struct address_space;
struct clocks;
struct object;

/* What belongs to a machine. */
struct machine_state {
    struct object *root;            /* of its devices */
    struct address_space *memory;   /* with all of its RAM */
    struct clocks *clocks;
};

/* Where the stream goes or comes from: all size bytes, or false and *error. */
struct state_writer {
    bool (*write)(void *opaque, const void *data, size_t size, GError **error);
    void *opaque;
};
struct state_reader {
    bool (*read)(void *opaque, void *data, size_t size, GError **error);
    void *opaque;
};

bool machine_state_save(const struct machine_state *machine, const struct state_writer *out,
                        GError **error);
/* Reads exactly what save wrote. False and *error: memory and devices are in no defined state, and
 * the machine is to be reset before it runs. */
bool machine_state_load(const struct machine_state *machine, const struct state_reader *in,
                        GError **error);

#endif
