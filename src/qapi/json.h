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
 * One value from text (single quotes and trailing space allowed, nothing else after it). Errors,
 * with line and column: syntax, a key twice in an object, nesting over 1024, invalid UTF-8 or a
 * character that isn't one, a number that no double holds. Integers beyond int64_t and uint64_t
 * become doubles. NULL is also JSON's null: *error tells.
 */
json_object *json_parse(const char *text, GError **error);
/*
 * On one line, or one member a line when pretty. All of it is ASCII: what isn't UTF-8 in a string
 * becomes U+FFFD. Caller frees with g_free.
 */
char *json_print(struct json_object *value, bool pretty);

/* Sets a member of a member: "a.b" is b of object's a, which is made if it isn't an object. Takes
 * over value. */
void json_put_path(json_object *object, const char *path, json_object *value);

/* A stream of values, as QMP's: bytes go in, values and errors come out in their order. */
struct json_stream;
/* A value or an error, both fn's to free. */
typedef void json_stream_fn(void *opaque, json_object *value, GError *error);
/*
 * max_bytes: limit of one value (QMP: 64 MiB), beyond which it is an error. So are 2M tokens, where
 * an object or list counts as 16, so that memory stays in proportion.
 */
struct json_stream *json_stream_new(size_t max_bytes, json_stream_fn *fn, void *opaque);
/*
 * fn is called, also several times, from inside; it must not feed or free the stream. After an
 * error input is skipped to the next line, or to a byte that JSON can't have (0xff, or a control
 * character that isn't space): such a byte is an error by itself, and brings the stream back to its
 * beginning at once.
 */
void json_stream_feed(struct json_stream *stream, const char *data, size_t length);
void json_stream_free(struct json_stream *stream);
DEFINE_AUTO_PTR(json_stream, json_stream_free)

#endif
