/*
 * JSON values are json-c's (reference counted; see json-c/json_object.h). Here is what it lacks: a
 * reader for streams with QMP's limits and recovery, and GError.
 */
#ifndef NANDU_QAPI_JSON_H
#define NANDU_QAPI_JSON_H

#include <glib.h>
#include <json-c/json.h>
#include <stdbool.h>
#include <stddef.h>

#include "util/auto.h"

static inline void qapi_json_put(json_object *value)
{
    json_object_put(value);
}
G_DEFINE_AUTOPTR_CLEANUP_FUNC(json_object, qapi_json_put)

/*
 * One value from text (single quotes and trailing space allowed, nothing else after it). Errors:
 * syntax with line and column, a key twice in an object, nesting over 1024, invalid UTF-8.
 * NULL is also JSON's null: *error tells.
 */
json_object *json_parse(const char *text, GError **error);
/* Compact, or one member a line when pretty. Caller frees with g_free. */
char *json_print(struct json_object *value, bool pretty);

/* A stream of values, as QMP's: bytes go in, values and errors come out in their order. */
struct json_stream;
typedef void json_stream_fn(void *opaque, json_object *value /* taken */, GError *error /* taken */);
/* max_bytes, max_tokens: limits of one value (QMP: 64 MiB, 2M), beyond which it is an error. */
struct json_stream *json_stream_new(size_t max_bytes, json_stream_fn *fn, void *opaque);
/* fn is called, also several times, from inside. After an error input is skipped to the next line. */
void json_stream_feed(struct json_stream *stream, const char *data, size_t length);
void json_stream_free(struct json_stream *stream);
DEFINE_AUTO_PTR(json_stream, json_stream_free)

#endif
