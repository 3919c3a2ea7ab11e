#include "hw/state.h"

#include <string.h>

#include "object/object.h"
#include "qapi/error.h"

/* Bytes of an element in the stream, and in memory. */
static uint32_t element_size(const struct state_field *field)
{
    switch (field->kind) {
    case STATE_U16: return 2;
    case STATE_U32: return 4;
    case STATE_U64: return 8;
    case STATE_STRUCT: return field->size;
    default: return 1;
    }
}

static uint32_t *count_of(const struct state_field *field, void *instance)
{
    return (uint32_t *)((uint8_t *)instance + field->count_offset);
}

/* Where the elements are and how many. */
static uint8_t *elements(const struct state_field *field, void *instance, uint32_t *count)
{
    uint8_t *at = (uint8_t *)instance + field->offset;

    if (field->count_offset) {
        *count = *count_of(field, instance);
        return *(uint8_t **)at;
    }
    *count = field->count;
    return at;
}

static uint64_t get_element(const struct state_field *field, const uint8_t *at)
{
    switch (field->kind) {
    case STATE_U16: return *(const uint16_t *)at;
    case STATE_U32: return *(const uint32_t *)at;
    case STATE_U64: return *(const uint64_t *)at;
    case STATE_BOOL: return *(const bool *)at;
    default: return *at;
    }
}

static void set_element(const struct state_field *field, uint8_t *at, uint64_t value)
{
    switch (field->kind) {
    case STATE_U16: *(uint16_t *)at = (uint16_t)value; break;
    case STATE_U32: *(uint32_t *)at = (uint32_t)value; break;
    case STATE_U64: *(uint64_t *)at = value; break;
    case STATE_BOOL: *(bool *)at = value != 0; break;
    default: *at = (uint8_t)value; break;
    }
}

static void free_var_bytes(const struct state_field *field, void *instance)
{
    g_clear_pointer((uint8_t **)((uint8_t *)instance + field->offset), g_free);
    *count_of(field, instance) = 0;
}

static void reset_fields(const struct state_field *fields, size_t n, void *instance);

static void reset_field(const struct state_field *field, void *instance)
{
    uint32_t count;
    uint8_t *at = elements(field, instance, &count);

    if (field->kind == STATE_VAR_BYTES) {
        free_var_bytes(field, instance);
        return;
    }
    for (uint32_t i = 0; i < count; i++, at += element_size(field)) {
        if (field->kind == STATE_STRUCT) {
            reset_fields(field->fields, field->n_fields, at);
        } else {
            set_element(field, at, field->reset);
        }
    }
}

static void reset_fields(const struct state_field *fields, size_t n, void *instance)
{
    for (size_t i = 0; i < n; i++) {
        if (!fields[i].keep) {
            reset_field(&fields[i], instance);
        }
    }
}

void state_reset(const struct state_table *table, void *instance)
{
    reset_fields(table->fields, table->n_fields, instance);
}

/* ---- Saving ---- */

static void put(GByteArray *out, uint64_t value, unsigned size)
{
    uint64_t little = GUINT64_TO_LE(value);

    g_byte_array_append(out, (const uint8_t *)&little, size);
}

/* Puts the number of bytes that came after it into the u32 at position. */
static void put_length(GByteArray *out, guint position)
{
    uint32_t little = GUINT32_TO_LE(out->len - position - 4);

    memcpy(out->data + position, &little, 4);
}

static void save_fields(const struct state_field *fields, size_t n, void *instance, GByteArray *out)
{
    for (size_t i = 0; i < n; i++) {
        const struct state_field *field = &fields[i];
        uint32_t count;
        uint8_t *at = elements(field, instance, &count);
        size_t length = strlen(field->name);

        g_assert(length < 256);
        put(out, length, 1);
        g_byte_array_append(out, (const uint8_t *)field->name, (guint)length);
        put(out, field->kind, 1);
        put(out, count, 4);
        if (field->kind == STATE_BYTES || field->kind == STATE_VAR_BYTES) {
            if (count) {
                g_byte_array_append(out, at, count);
            }
            continue;
        }
        for (uint32_t k = 0; k < count; k++, at += element_size(field)) {
            if (field->kind == STATE_STRUCT) {
                guint start = out->len;

                put(out, 0, 4);
                save_fields(field->fields, field->n_fields, at, out);
                put_length(out, start);
            } else {
                put(out, get_element(field, at), element_size(field));
            }
        }
    }
}

static void put_text(GByteArray *out, const char *text)
{
    size_t length = strlen(text);

    g_assert(length < 65536);
    put(out, length, 2);
    g_byte_array_append(out, (const uint8_t *)text, (guint)length);
}

/* Without before_save. */
static void save_section(const struct state_table *table, void *instance, const char *id,
                         GByteArray *out)
{
    guint start = out->len;

    put(out, 0, 4);
    put_text(out, table->name);
    put_text(out, id);
    put(out, table->version, 4);
    save_fields(table->fields, table->n_fields, instance, out);
    put_length(out, start);
}

void state_save(const struct state_table *table, void *instance, const char *id, GByteArray *out)
{
    if (table->before_save) {
        table->before_save(instance);
    }
    save_section(table, instance, id, out);
}

/* ---- Loading ---- */

/* What is left of the stream, or of a part of it. */
struct reader {
    const uint8_t *data;
    size_t left;
    const char *id;         /* for errors */
};

static bool fail(const struct reader *in, GError **error, const char *format, ...)
    G_GNUC_PRINTF(3, 4);

static bool fail(const struct reader *in, GError **error, const char *format, ...)
{
    g_autofree char *text = NULL;
    va_list args;

    va_start(args, format);
    text = g_strdup_vprintf(format, args);
    va_end(args);
    g_set_error(error, QAPI_ERROR, QAPI_ERROR_GENERIC,
                "The saved state of '%s' can't be loaded: %s", in->id, text);
    return false;
}

static bool take(struct reader *in, size_t size, const uint8_t **data, GError **error)
{
    if (size > in->left) {
        return fail(in, error, "it ends too early");
    }
    *data = in->data;
    in->data += size;
    in->left -= size;
    return true;
}

static bool take_int(struct reader *in, unsigned size, uint64_t *value, GError **error)
{
    const uint8_t *data = NULL;
    uint64_t little = 0;

    if (!take(in, size, &data, error)) {
        return false;
    }
    memcpy(&little, data, size);
    *value = GUINT64_FROM_LE(little);
    return true;
}

/* Takes a part that has its length, a number of length_size bytes, in front. */
static bool take_part(struct reader *in, unsigned length_size, struct reader *part, GError **error)
{
    uint64_t length;

    if (!take_int(in, length_size, &length, error)) {
        return false;
    }
    part->id = in->id;
    part->left = length;
    return take(in, length, &part->data, error);
}

static bool part_is(const struct reader *part, const char *text)
{
    return part->left == strlen(text) && memcmp(part->data, text, part->left) == 0;
}

static bool load_fields(const struct state_field *fields, size_t n, uint32_t version,
                        void *instance, bool store, struct reader *in, GError **error);

/* The elements of a field whose kind and count are right. */
static bool load_elements(const struct state_field *field, uint32_t count, uint32_t version,
                          void *instance, bool store, struct reader *in, GError **error)
{
    uint32_t there;
    uint8_t *at = elements(field, instance, &there);
    struct reader part;
    const uint8_t *data = NULL;
    uint64_t value;

    if (field->kind == STATE_BYTES || field->kind == STATE_VAR_BYTES) {
        if (!take(in, count, &data, error)) {
            return false;
        }
        if (store && field->kind == STATE_VAR_BYTES) {
            free_var_bytes(field, instance);
            *(uint8_t **)((uint8_t *)instance + field->offset) = g_memdup2(data, count);
            *count_of(field, instance) = count;
        } else if (store) {
            memcpy(at, data, count);
        }
        return true;
    }
    for (uint32_t i = 0; i < count; i++, at += element_size(field)) {
        if (field->kind == STATE_STRUCT) {
            if (!take_part(in, 4, &part, error) ||
                !load_fields(field->fields, field->n_fields, version, at, store, &part, error)) {
                return false;
            }
            continue;
        }
        if (!take_int(in, element_size(field), &value, error)) {
            return false;
        }
        if (field->kind == STATE_BOOL && value > 1) {
            return fail(in, error, "'%s' is neither true nor false", field->name);
        }
        if (store) {
            set_element(field, at, value);
        }
    }
    return true;
}

static bool load_field(const struct state_field *field, uint32_t version, void *instance,
                       bool store, struct reader *in, GError **error)
{
    uint64_t kind, count;
    uint32_t there;

    if (!take_int(in, 1, &kind, error) || !take_int(in, 4, &count, error)) {
        return false;
    }
    if (kind != field->kind) {
        return fail(in, error, "'%s' is of another kind", field->name);
    }
    elements(field, instance, &there);
    if (field->kind == STATE_VAR_BYTES ? count > field->count : count != there) {
        return fail(in, error, "'%s' has %" G_GUINT64_FORMAT " elements, %u are right", field->name,
                    count, field->kind == STATE_VAR_BYTES ? field->count : there);
    }
    return load_elements(field, (uint32_t)count, version, instance, store, in, error);
}

/* All of them, in any order, up to the end of in. store: else they are only checked. */
static bool load_fields(const struct state_field *fields, size_t n, uint32_t version,
                        void *instance, bool store, struct reader *in, GError **error)
{
    g_autofree bool *seen = g_new0(bool, n);
    struct reader name;
    size_t i;

    while (in->left) {
        if (!take_part(in, 1, &name, error)) {
            return false;
        }
        for (i = 0; i < n && !part_is(&name, fields[i].name); i++) {
        }
        if (i == n) {
            return fail(in, error, "it has a field '%.*s', which this device hasn't",
                        (int)name.left, (const char *)name.data);
        }
        if (seen[i]) {
            return fail(in, error, "it has '%s' twice", fields[i].name);
        }
        seen[i] = true;
        if (!load_field(&fields[i], version, instance, store, in, error)) {
            return false;
        }
    }
    for (i = 0; i < n; i++) {
        if (!seen[i] && fields[i].since <= version) {
            return fail(in, error, "it lacks '%s'", fields[i].name);
        }
        if (!seen[i] && store) {
            reset_field(&fields[i], instance);
        }
    }
    return true;
}

static void load_checked(const struct state_table *table, uint32_t version, void *instance,
                         struct reader in)
{
    bool loaded = load_fields(table->fields, table->n_fields, version, instance, true, &in, NULL);

    g_assert(loaded);
}

/* Puts back what was there before a load that after_load refused. */
static void load_backup(const struct state_table *table, void *instance, const GByteArray *backup)
{
    struct reader in = {.data = backup->data, .left = backup->len, .id = table->name};

    load_checked(table, table->version, instance, in);
    if (table->after_load) {
        table->after_load(instance, table->version, NULL);
    }
}

bool state_load(const struct state_table *table, void *instance, const char *id,
                const uint8_t *data, size_t size, size_t *position, GError **error)
{
    struct reader in = {.data = data + *position, .left = size - *position, .id = id};
    g_autoptr(GByteArray) backup = g_byte_array_new();
    struct reader section, name, section_id, check;
    uint64_t version;

    if (!take_part(&in, 4, &section, error) || !take_part(&section, 2, &name, error) ||
        !take_part(&section, 2, &section_id, error) || !take_int(&section, 4, &version, error)) {
        return false;
    }
    if (!part_is(&name, table->name) || !part_is(&section_id, id)) {
        return fail(&in, error, "what is there is of '%.*s', a %.*s", (int)section_id.left,
                    (const char *)section_id.data, (int)name.left, (const char *)name.data);
    }
    if (version > table->version) {
        return fail(&in, error, "it is of version %" G_GUINT64_FORMAT
                    " and this program knows versions up to %u", version, table->version);
    }
    check = section;
    if (!load_fields(table->fields, table->n_fields, (uint32_t)version, instance, false, &check,
                     error)) {
        return false;
    }
    save_fields(table->fields, table->n_fields, instance, backup);
    load_checked(table, (uint32_t)version, instance, section);
    if (table->after_load && !table->after_load(instance, (uint32_t)version, error)) {
        load_backup(table, instance, backup);
        return false;
    }
    *position = size - in.left;
    return true;
}

char *state_next_id(const uint8_t *data, size_t size, size_t position, GError **error)
{
    struct reader in = {.data = data + position, .left = size - position, .id = "a device"};
    struct reader section, name, id;

    if (!take_part(&in, 4, &section, error) || !take_part(&section, 2, &name, error) ||
        !take_part(&section, 2, &id, error)) {
        return NULL;
    }
    return g_strndup((const char *)id.data, id.left);
}

const struct state_ops *state_ops_of(const struct object *obj)
{
    const struct object_type *type = obj->type;

    while (type && !type->state) {
        type = object_type_parent(type);
    }
    return type ? type->state : NULL;
}
