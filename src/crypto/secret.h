/* Secrets: objects of type "secret" (data or file, raw or base64, AES-256-CBC with keyid). */
#ifndef NANDU_CRYPTO_SECRET_H
#define NANDU_CRYPTO_SECRET_H

#include "object/object.h"

/* The secret's bytes; free with g_bytes_unref. */
GBytes *secret_get(struct object *root, const char *id, GError **error);
/* The same, which must be valid UTF-8 without NUL; free with g_free. */
char *secret_get_text(struct object *root, const char *id, GError **error);

#endif
