/* Values by their tables: names of enumerations, to JSON, copies, freeing. */
#include "qapi/type.h"

#include <assert.h>
#include <string.h>

#include "qapi/error.h"
#include "qapi/type_priv.h"

/* ---- Built-in types ---- */

#define BUILTIN(name_, kind_, ctype)             \
    const struct qapi_type qapi_type_##name_ = { \
        .name = #name_, .kind = QAPI_KIND_##kind_, .size = sizeof(ctype)};

BUILTIN(bool, BOOL, bool)
BUILTIN(str, STR, char *)
BUILTIN(number, NUMBER, double)
BUILTIN(int, INT, int64_t)
BUILTIN(int8, INT, int8_t)
BUILTIN(int16, INT, int16_t)
BUILTIN(int32, INT, int32_t)
BUILTIN(int64, INT, int64_t)
BUILTIN(uint8, UINT, uint8_t)
BUILTIN(uint16, UINT, uint16_t)
BUILTIN(uint32, UINT, uint32_t)
BUILTIN(uint64, UINT, uint64_t)
BUILTIN(size, SIZE, uint64_t)
BUILTIN(any, ANY, json_object *)
BUILTIN(null, NULL, bool)

#define BUILTIN_LIST(name_)                                                                        \
    const struct qapi_type qapi_type_##name_##_list = {.name = #name_ "List",                      \
                                                       .kind = QAPI_KIND_LIST,                     \
                                                       .size = sizeof(struct qapi_##name_##_list), \
                                                       .element = &qapi_type_##name_};

BUILTIN_LIST(str)
BUILTIN_LIST(int)
BUILTIN_LIST(size)
BUILTIN_LIST(uint8)
BUILTIN_LIST(uint16)
BUILTIN_LIST(uint32)
BUILTIN_LIST(uint64)
BUILTIN_LIST(bool)
BUILTIN_LIST(number)
BUILTIN_LIST(any)

/* ---- Parts of values (type_priv.h) ---- */

bool qapi_type_is_struct(const struct qapi_type *type)
{
    return type->kind == QAPI_KIND_STRUCT || type->kind == QAPI_KIND_UNION ||
           type->kind == QAPI_KIND_ALTERNATE;
}

int64_t qapi_load_int(const struct qapi_type *type, const void *value)
{
    switch (type->size) {
    case 1: return *(const int8_t *)value;
    case 2: return *(const int16_t *)value;
    case 4: return *(const int32_t *)value;
    default: return *(const int64_t *)value;
    }
}

uint64_t qapi_load_uint(const struct qapi_type *type, const void *value)
{
    switch (type->size) {
    case 1: return *(const uint8_t *)value;
    case 2: return *(const uint16_t *)value;
    case 4: return *(const uint32_t *)value;
    default: return *(const uint64_t *)value;
    }
}

void qapi_store_int(const struct qapi_type *type, void *value, uint64_t number)
{
    switch (type->size) {
    case 1: *(uint8_t *)value = (uint8_t)number; break;
    case 2: *(uint16_t *)value = (uint16_t)number; break;
    case 4: *(uint32_t *)value = (uint32_t)number; break;
    default: *(uint64_t *)value = number; break;
    }
}

void *qapi_branch_value(const struct qapi_type *type, const void *value,
                        const struct qapi_branch **branch)
{
    /* An alternate's kind is its first member. */
    const void *tag = (const char *)value + (type->tag ? type->tag->offset : 0);
    unsigned index = *(const unsigned *)tag;

    assert(index < type->n_branches);
    *branch = &type->branches[index];
    return (char *)value + (*branch)->offset;
}

/* The value of a member, or NULL if it is absent. */
static void *member_value(const struct qapi_member *member, const void *parent)
{
    char *at = (char *)parent + member->offset;

    if (member->has_offset >= 0) {
        return *(const bool *)((const char *)parent + member->has_offset) ? at : NULL;
    }
    if (qapi_type_is_struct(member->type)) {
        assert(*(void **)at || member->optional);
        return *(void **)at;
    }
    return member->optional && !*(void **)at ? NULL : at;
}

/* ---- Enumerations ---- */

int qapi_enum_find(const struct qapi_type *type, const char *name)
{
    for (uint32_t i = 0; i < type->n_values; i++) {
        if (strcmp(type->values[i].name, name) == 0) {
            return (int)i;
        }
    }
    return -1;
}

int qapi_enum_parse(const struct qapi_type *type, const char *name, GError **error)
{
    int value = qapi_enum_find(type, name);

    if (value < 0) {
        g_autofree char *hint = qapi_enum_hint(type, name);

        g_set_error(error, QAPI_ERROR, QAPI_ERROR_GENERIC, "'%s' is not a value of %s%s", name,
                    type->name, hint);
    }
    return value;
}

const char *qapi_enum_name(const struct qapi_type *type, int value)
{
    assert(value >= 0 && (uint32_t)value < type->n_values);
    return type->values[value].name;
}

/* ---- To JSON ---- */

static void members_to_json(const struct qapi_type *type, const void *value, json_object *object)
{
    for (uint32_t i = 0; i < type->n_members; i++) {
        const struct qapi_member *member = &type->members[i];
        const void *at = member_value(member, value);

        if (at) {
            json_object_object_add(object, member->name, qapi_to_json(member->type, at));
        }
    }
    if (type->kind == QAPI_KIND_UNION) {
        const struct qapi_branch *branch;
        const void *at = qapi_branch_value(type, value, &branch);

        if (branch->type) {
            members_to_json(branch->type, at, object);
        }
    }
}

static json_object *list_to_json(const struct qapi_type *type, const void *value)
{
    const struct qapi_any_list *list = value;
    json_object *array = json_object_new_array();

    for (size_t i = 0; i < list->n; i++) {
        json_object_array_add(array, qapi_to_json(type->element,
                                                  (const char *)list->v + i * type->element->size));
    }
    return array;
}

json_object *qapi_to_json(const struct qapi_type *type, const void *value)
{
    const struct qapi_branch *branch;
    json_object *object;

    switch (type->kind) {
    case QAPI_KIND_BOOL: return json_object_new_boolean(*(const bool *)value);
    case QAPI_KIND_INT: return json_object_new_int64(qapi_load_int(type, value));
    case QAPI_KIND_UINT:
    case QAPI_KIND_SIZE: return json_object_new_uint64(qapi_load_uint(type, value));
    case QAPI_KIND_NUMBER: return json_object_new_double(*(const double *)value);
    case QAPI_KIND_STR: {
        const char *text = *(char *const *)value;

        return json_object_new_string(text ? text : "");
    }
    case QAPI_KIND_ANY: return json_object_get(*(json_object *const *)value);
    case QAPI_KIND_NULL: return NULL;
    case QAPI_KIND_ENUM: return json_object_new_string(qapi_enum_name(type, *(const int *)value));
    case QAPI_KIND_LIST: return list_to_json(type, value);
    case QAPI_KIND_ALTERNATE:
        value = qapi_branch_value(type, value, &branch);
        return qapi_to_json(branch->type, value);
    case QAPI_KIND_STRUCT:
    case QAPI_KIND_UNION:
        object = json_object_new_object();
        members_to_json(type, value, object);
        return object;
    }
    return NULL;
}

/* ---- Freeing ---- */

static void clear_contents(const struct qapi_type *type, void *value);

static void clear_member(const struct qapi_member *member, void *value)
{
    char *at = (char *)value + member->offset;

    if (qapi_type_is_struct(member->type)) {
        qapi_free(member->type, *(void **)at);
    } else {
        clear_contents(member->type, at);
    }
}

/* Frees what the value owns and leaves its bytes as they are. */
static void clear_contents(const struct qapi_type *type, void *value)
{
    const struct qapi_branch *branch;

    switch (type->kind) {
    case QAPI_KIND_STR: g_free(*(char **)value); break;
    case QAPI_KIND_ANY: json_object_put(*(json_object **)value); break;
    case QAPI_KIND_LIST: {
        struct qapi_any_list *list = value;

        for (size_t i = 0; i < list->n; i++) {
            clear_contents(type->element, (char *)list->v + i * type->element->size);
        }
        g_free(list->v);
        break;
    }
    case QAPI_KIND_STRUCT:
    case QAPI_KIND_UNION:
    case QAPI_KIND_ALTERNATE:
        if (type->n_branches) {
            void *at = qapi_branch_value(type, value, &branch);

            if (branch->type) {
                clear_contents(branch->type, at);
            }
        }
        for (uint32_t i = 0; i < type->n_members; i++) {
            clear_member(&type->members[i], value);
        }
        break;
    default: break;
    }
}

void qapi_clear(const struct qapi_type *type, void *value)
{
    clear_contents(type, value);
    memset(value, 0, type->size);
}

void qapi_free(const struct qapi_type *type, void *value)
{
    if (value) {
        clear_contents(type, value);
        g_free(value);
    }
}

/* ---- Copies ---- */

/* *value holds the bytes of another value: what it points to is made its own. */
static void own_contents(const struct qapi_type *type, void *value)
{
    const struct qapi_branch *branch;

    switch (type->kind) {
    case QAPI_KIND_STR: *(char **)value = g_strdup(*(char **)value); break;
    case QAPI_KIND_ANY: json_object_get(*(json_object **)value); break;
    case QAPI_KIND_LIST: {
        struct qapi_any_list *list = value;

        list->v = g_memdup2(list->v, list->n * type->element->size);
        for (size_t i = 0; i < list->n; i++) {
            own_contents(type->element, (char *)list->v + i * type->element->size);
        }
        break;
    }
    case QAPI_KIND_STRUCT:
    case QAPI_KIND_UNION:
    case QAPI_KIND_ALTERNATE:
        if (type->n_branches) {
            void *at = qapi_branch_value(type, value, &branch);

            if (branch->type) {
                own_contents(branch->type, at);
            }
        }
        for (uint32_t i = 0; i < type->n_members; i++) {
            const struct qapi_member *member = &type->members[i];
            char *at = (char *)value + member->offset;

            if (!qapi_type_is_struct(member->type)) {
                own_contents(member->type, at);
            } else if (*(void **)at) {
                *(void **)at = g_memdup2(*(void **)at, member->type->size);
                own_contents(member->type, *(void **)at);
            }
        }
        break;
    default: break;
    }
}

void qapi_copy(const struct qapi_type *type, const void *value, void *out)
{
    memcpy(out, value, type->size);
    own_contents(type, out);
}

/* ---- Lists ---- */

void *qapi_list_append(const struct qapi_type *list_type, void *list)
{
    struct qapi_any_list *any = list;
    size_t size = list_type->element->size;
    void *element;

    /* Not by a growing capacity: the list may have been made to measure by somebody else. */
    any->v = g_realloc_n(any->v, any->n + 1, size);
    element = (char *)any->v + any->n * size;
    any->n++;
    return memset(element, 0, size);
}
