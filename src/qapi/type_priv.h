/* What type.c and type_read.c share: values by their tables. */
#ifndef NANDU_QAPI_TYPE_PRIV_H
#define NANDU_QAPI_TYPE_PRIV_H

#include "qapi/type.h"

/* Struct, union or alternate: as a member a pointer. */
bool qapi_type_is_struct(const struct qapi_type *type);

/* Integers of type->size bytes. */
int64_t qapi_load_int(const struct qapi_type *type, const void *value);
uint64_t qapi_load_uint(const struct qapi_type *type, const void *value);
void qapi_store_int(const struct qapi_type *type, void *value, uint64_t number);

/* The branch of a union or alternate that its tag selects, and where its value is. */
void *qapi_branch_value(const struct qapi_type *type, const void *value,
                        const struct qapi_branch **branch);

/* -1: there is none. */
int qapi_enum_find(const struct qapi_type *type, const char *name);
/* "; did you mean 'x'?", or "". Free with g_free. */
char *qapi_enum_hint(const struct qapi_type *type, const char *name);
char *qapi_hint(const char *name, const char *const *names, size_t n);

#endif
