/*
 * A device's state as a table of fields: the same table resets it, saves it and restores it. The
 * form (a stream of named sections with named fields) is of snapshots and migration alike.
 *
 * A section is, all integers little endian: u32 bytes that follow; name of the table, id (each a
 * u16 length and the text); u32 version; fields up to its end. A field: u8 length and text of its
 * name, u8 kind, u32 count, count elements. An element of a structure is its fields, with a u32
 * number of bytes in front.
 */
#ifndef NANDU_HW_STATE_H
#define NANDU_HW_STATE_H

#include <glib.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct object;

enum state_kind {
    STATE_U8,
    STATE_U16,
    STATE_U32,
    STATE_U64,
    STATE_BOOL,
    STATE_BYTES,
    STATE_VAR_BYTES,
    STATE_STRUCT,
};

struct state_field {
    const char *name;
    enum state_kind kind;
    uint32_t offset;
    uint32_t count;             /* elements of an array; BYTES: bytes; 1: a scalar; VAR_BYTES: how
                                   many bytes it may have at most */
    uint32_t since;             /* version of the section that has it first */
    uint64_t reset;             /* value after reset (each element); BYTES: filled with its low
                                   byte; VAR_BYTES: always empty */
    bool keep;                  /* a reset leaves it as it is */
    /*
     * Not 0: offset is that of a pointer, and at count_offset is a uint32_t that says how many
     * elements are behind it. VAR_BYTES: memory of g_malloc, or NULL, that loading replaces. Other
     * kinds: an array that the device made when it was realized; what is loaded must have as many
     * elements.
     */
    uint32_t count_offset;
    /* STRUCT: what an element has. */
    const struct state_field *fields;
    uint32_t n_fields;
    uint32_t size;              /* bytes from one element to the next */
};

#define STATE_FIELD(instance, field, kind_, ...)                                                   \
    {.name = #field, .kind = (kind_), .offset = offsetof(struct instance, field), .count = 1,      \
     ##__VA_ARGS__}
#define STATE_ARRAY(instance, field, kind_, ...)                                                   \
    {.name = #field, .kind = (kind_), .offset = offsetof(struct instance, field),                  \
     .count = G_N_ELEMENTS(((struct instance *)0)->field), ##__VA_ARGS__}
/* Elements behind a pointer, as many as the uint32_t n says. */
#define STATE_POINTER(instance, field, kind_, n, ...)                                              \
    {.name = #field, .kind = (kind_), .offset = offsetof(struct instance, field),                  \
     .count_offset = offsetof(struct instance, n), ##__VA_ARGS__}

struct state_table {
    const char *name;           /* section: the device's type */
    uint32_t version;
    const struct state_field *fields;
    size_t n_fields;
    /* Before saving, after restoring (which may refuse what can't be); may be NULL. */
    void (*before_save)(void *instance);
    bool (*after_load)(void *instance, uint32_t version, GError **error);
};

void state_reset(const struct state_table *table, void *instance);
/* Appends the section. */
void state_save(const struct state_table *table, void *instance, const char *id, GByteArray *out);
/* From data at *position, which moves on. Unknown fields, wrong sizes, a newer version: *error, and
 * the instance and *position are as they were. Fields that an older version doesn't have get their
 * reset values. */
bool state_load(const struct state_table *table, void *instance, const char *id,
                const uint8_t *data, size_t size, size_t *position, GError **error);
/* The id of the section at *position, which the caller frees. NULL and *error: there is none. */
char *state_next_id(const uint8_t *data, size_t size, size_t position, GError **error);

/*
 * How objects of a type are saved and loaded (object_type.state): one or more sections, the first
 * of which has the object's path as its id. Main thread, while the machine is stopped. After a
 * failed load the object is as it was, or reset.
 */
struct state_ops {
    void (*save)(struct object *obj, GByteArray *out);
    bool (*load)(struct object *obj, const uint8_t *data, size_t size, size_t *position,
                 GError **error);
};
/* The type's or its nearest ancestor's; NULL: it has nothing to save. */
const struct state_ops *state_ops_of(const struct object *obj);

#endif
