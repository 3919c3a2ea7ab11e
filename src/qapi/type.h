/*
 * Types of the schema, as const tables that src/qapi/generate.py writes, and what works on any
 * value by its table: from and to JSON, from key=value, copy, free.
 *
 *   schema                     C
 *   str                        char *, owned; NULL if optional and absent
 *   bool intN uintN number     bool, intN_t, uintN_t, double; optional: bool has_NAME first
 *   int size                   int64_t, uint64_t
 *   any                        json_object *, a reference
 *   null                       bool (always true)
 *   enum Foo                   enum qapi_foo { QAPI_FOO_BAR, ..., QAPI_FOO__COUNT }
 *   struct Foo                 struct qapi_foo; as a member: a pointer, owned, NULL if absent
 *   ['Foo']                    struct qapi_foo_list { size_t n; struct qapi_foo *v; }, elements
 *                              inline; as a member: inline, with has_NAME if optional
 *   union Foo                  struct qapi_foo: members of the base, then
 *                              union { struct qapi_bar bar; } u; by the tag, branches inline
 *   alternate Foo              struct qapi_foo { enum qapi_foo_kind kind; union { ... } u; }
 *   command foo-bar            arguments: struct qapi_foo_bar_arg
 *   event FOO                  struct qapi_foo_event
 * Names of types: CamelCase becomes snake_case (a run of capitals is one word: IOThreadInfo is
 * qapi_io_thread_info); "-" and "." become "_"; a C keyword, and what is a macro (unix, linux,
 * errno), gets a "_" at its end.
 */
#ifndef NANDU_QAPI_TYPE_H
#define NANDU_QAPI_TYPE_H

#include <glib.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "qapi/json.h"

enum qapi_kind {
    QAPI_KIND_BOOL, QAPI_KIND_INT, QAPI_KIND_UINT, QAPI_KIND_SIZE, QAPI_KIND_NUMBER, QAPI_KIND_STR,
    QAPI_KIND_ANY, QAPI_KIND_NULL, QAPI_KIND_ENUM, QAPI_KIND_STRUCT, QAPI_KIND_UNION,
    QAPI_KIND_ALTERNATE, QAPI_KIND_LIST,
};

struct qapi_type;

struct qapi_member {
    const char *name;                   /* as in JSON */
    const struct qapi_type *type;
    uint32_t offset;
    int32_t has_offset;                 /* of has_NAME; -1: none (required, or absent is NULL) */
    bool optional;
    const char *const *features;        /* NULL-terminated, or NULL */
};

struct qapi_enum_value {
    const char *name;
    const char *const *features;
};

/* A union's or alternate's branch; type NULL: this tag value has no members of its own. */
struct qapi_branch {
    const char *name;
    const struct qapi_type *type;
    uint32_t offset;
};

struct qapi_type {
    const char *name;                   /* as in the schema; lists: the element's, with "List" */
    enum qapi_kind kind;
    uint32_t size;                      /* of the C value, in bytes */
    const struct qapi_member *members;  /* struct, union: the base's first */
    uint32_t n_members;
    const struct qapi_member *tag;      /* union: its enum member */
    const struct qapi_branch *branches; /* union: one per tag value, in their order; alternate */
    uint32_t n_branches;
    const struct qapi_enum_value *values;
    uint32_t n_values;
    const struct qapi_type *element;    /* list */
    const char *const *features;
};

/* Built-in types. */
extern const struct qapi_type qapi_type_bool, qapi_type_str, qapi_type_number, qapi_type_int,
    qapi_type_int8, qapi_type_int16, qapi_type_int32, qapi_type_int64, qapi_type_uint8,
    qapi_type_uint16, qapi_type_uint32, qapi_type_uint64, qapi_type_size, qapi_type_any,
    qapi_type_null, qapi_type_str_list, qapi_type_int_list, qapi_type_size_list,
    qapi_type_uint8_list, qapi_type_uint16_list, qapi_type_uint32_list, qapi_type_uint64_list,
    qapi_type_bool_list, qapi_type_number_list, qapi_type_any_list;

struct qapi_str_list { size_t n; char **v; };
struct qapi_int_list { size_t n; int64_t *v; };
struct qapi_size_list { size_t n; uint64_t *v; };
struct qapi_uint8_list { size_t n; uint8_t *v; };
struct qapi_uint16_list { size_t n; uint16_t *v; };
struct qapi_uint32_list { size_t n; uint32_t *v; };
struct qapi_uint64_list { size_t n; uint64_t *v; };
struct qapi_bool_list { size_t n; bool *v; };
struct qapi_number_list { size_t n; double *v; };
struct qapi_any_list { size_t n; json_object **v; };

/*
 * Errors of input have the domain and codes of qapi/error.h; messages name the member's path
 * ("Parameter 'data.addr.port' is missing") and the nearest valid name.
 */

/* *out (type->size bytes, filled with zeroes here first) gets the value; on failure it is clear. */
bool qapi_from_json(const struct qapi_type *type, struct json_object *json, void *out,
                    GError **error);
/*
 * The same for what keyval_parse made: scalars are strings ("on", "4k", "0x10"), a list of integers
 * may be a string with ranges ("0-3,5").
 */
bool qapi_from_keyval(const struct qapi_type *type, struct json_object *keyval, void *out,
                      GError **error);
/* A new value. A required string may be NULL, which is "". */
json_object *qapi_to_json(const struct qapi_type *type, const void *value);
/* Frees what the value owns and fills it with zeroes; qapi_free also frees value itself. */
void qapi_clear(const struct qapi_type *type, void *value);
void qapi_free(const struct qapi_type *type, void *value);
/* *out becomes a deep copy. */
void qapi_copy(const struct qapi_type *type, const void *value, void *out);

/* -1 and *error (with the nearest name) if there is no such value. */
int qapi_enum_parse(const struct qapi_type *type, const char *name, GError **error);
const char *qapi_enum_name(const struct qapi_type *type, int value);

/* Makes room for one more element of a list of the given element type; returns it, zeroed. */
void *qapi_list_append(const struct qapi_type *list_type, void *list);

#endif
