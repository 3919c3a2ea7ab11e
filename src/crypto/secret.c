/*
 * The object type "secret": a password or key, given as data or as a file, raw or in base64 (RFC
 * 4648), plain or encrypted by AES-256-CBC with PKCS #7 padding (RFC 5652, 6.3) under another
 * secret.
 */
#include <errno.h>
#include <fcntl.h>
#include <nettle/aes.h>
#include <nettle/cbc.h>
#include <string.h>
#include <unistd.h>

#include "crypto/secret.h"
#include "qapi/error.h"
#include "qapi/qapi_types.h"
#include "util/fdset.h"

#define SECRET_ERROR QAPI_ERROR, QAPI_ERROR_GENERIC

enum {
    MAX_FILE = 1 << 20, /* bytes */
};

struct secret {
    struct object obj;
    char *data;
    char *file;
    enum qapi_qcrypto_secret_format format;
    char *keyid;
    char *iv;
    GByteArray *plain; /* once it is complete */
};

static void free_wiped(GByteArray *bytes)
{
    if (bytes) {
        if (bytes->len) {
            explicit_bzero(bytes->data, bytes->len);
        }
        g_byte_array_unref(bytes);
    }
}

/* Waits for the end of the file if it is a pipe. */
static GByteArray *read_file(struct secret *secret, GError **error)
{
    int fd = fdsets_open(object_context(&secret->obj)->fdsets, secret->file, O_RDONLY, 0, error);
    GByteArray *bytes;
    guint8 buffer[4096];
    ssize_t n;

    if (fd < 0) {
        return NULL;
    }
    bytes = g_byte_array_new();
    while (bytes->len <= MAX_FILE) {
        n = read(fd, buffer, sizeof(buffer));
        if (n > 0) {
            g_byte_array_append(bytes, buffer, (guint)n);
        } else if (n == 0) {
            break;
        } else if (errno != EINTR) {
            g_set_error(error, SECRET_ERROR, "Unable to read %s: %s", secret->file,
                        g_strerror(errno));
            g_clear_pointer(&bytes, free_wiped);
            break;
        }
    }
    if (bytes && bytes->len > MAX_FILE) {
        g_set_error(error, SECRET_ERROR, "Unable to read %s: a secret has at most %d bytes",
                    secret->file, MAX_FILE);
        g_clear_pointer(&bytes, free_wiped);
    }
    explicit_bzero(buffer, sizeof(buffer));
    close(fd);
    return bytes;
}

/* White space may be anywhere (files end with a newline); what says what text is, for the error. */
static GByteArray *decode_base64(const char *text, size_t size, const char *what, GError **error)
{
    static const char alphabet[] =
        "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    g_autofree char *packed = g_malloc(size + 1);
    size_t n = 0, digits;
    guchar *decoded;
    gsize length;

    for (size_t i = 0; i < size; i++) {
        if (!g_ascii_isspace(text[i])) {
            packed[n++] = text[i];
        }
    }
    packed[n] = '\0';
    digits = strspn(packed, alphabet);
    if (digits + strspn(packed + digits, "=") != n) {
        g_set_error(error, SECRET_ERROR, "Base64 data of %s contains invalid characters", what);
        return NULL;
    }
    if (n % 4 != 0 || n - digits > 2) {
        g_set_error(error, SECRET_ERROR,
                    "Base64 data of %s is cut off: its length must be a multiple of 4", what);
        return NULL;
    }
    decoded = g_base64_decode(packed, &length);
    explicit_bzero(packed, n);
    return g_byte_array_new_take(decoded, length);
}

/* The length without the padding, or false. */
static bool unpad(GByteArray *bytes)
{
    unsigned padding = bytes->len > 0 ? bytes->data[bytes->len - 1] : 0;

    if (padding < 1 || padding > AES_BLOCK_SIZE || padding > bytes->len) {
        return false;
    }
    for (unsigned i = 1; i <= padding; i++) {
        if (bytes->data[bytes->len - i] != padding) {
            return false;
        }
    }
    g_byte_array_set_size(bytes, bytes->len - padding);
    return true;
}

/* bytes are decrypted in place. */
static bool decrypt(struct secret *secret, GByteArray *bytes, GError **error)
{
    struct object *root = object_root_of(&secret->obj);
    g_autoptr(GBytes) key_bytes = NULL;
    g_autoptr(GByteArray) iv_bytes = NULL;
    struct CBC_CTX(struct aes256_ctx, AES_BLOCK_SIZE) cipher;
    gsize key_size;
    const guint8 *key;

    key_bytes = secret_get(root, secret->keyid, error);
    if (!key_bytes) {
        return false;
    }
    key = g_bytes_get_data(key_bytes, &key_size);
    if (key_size != AES256_KEY_SIZE) {
        g_set_error(error, SECRET_ERROR, "Key '%s' has %zu bytes; AES-256 needs %d", secret->keyid,
                    key_size, AES256_KEY_SIZE);
        return false;
    }
    if (!secret->iv) {
        g_set_error(error, SECRET_ERROR,
                    "IV is required to decrypt the secret: give 'iv', %d bytes in base64",
                    AES_BLOCK_SIZE);
        return false;
    }
    iv_bytes = decode_base64(secret->iv, strlen(secret->iv), "'iv'", error);
    if (!iv_bytes) {
        return false;
    }
    if (iv_bytes->len != AES_BLOCK_SIZE) {
        g_set_error(error, SECRET_ERROR, "IV has %u bytes; %d are needed", iv_bytes->len,
                    AES_BLOCK_SIZE);
        return false;
    }
    if (bytes->len == 0 || bytes->len % AES_BLOCK_SIZE != 0) {
        g_set_error(error, SECRET_ERROR,
                    "The encrypted secret has %u bytes, which is not a multiple of %d", bytes->len,
                    AES_BLOCK_SIZE);
        return false;
    }
    aes256_set_decrypt_key(&cipher.ctx, key);
    CBC_SET_IV(&cipher, iv_bytes->data);
    CBC_DECRYPT(&cipher, aes256_decrypt, bytes->len, bytes->data, bytes->data);
    explicit_bzero(&cipher, sizeof(cipher));
    if (!unpad(bytes)) {
        g_set_error(error, SECRET_ERROR,
                    "Incorrect padding of the decrypted secret: wrong key '%s' or IV?",
                    secret->keyid);
        return false;
    }
    return true;
}

static bool secret_complete(struct object *obj, GError **error)
{
    struct secret *secret = (struct secret *)obj;
    GByteArray *bytes;

    if (secret->file && secret->data) {
        g_set_error(error, SECRET_ERROR, "'file' and 'data' are mutually exclusive");
        return false;
    }
    if (!secret->file && !secret->data) {
        g_set_error(error, SECRET_ERROR, "Either 'file' or 'data' must be provided");
        return false;
    }
    if (secret->file) {
        bytes = read_file(secret, error);
    } else {
        bytes = g_byte_array_new_take((guint8 *)g_strdup(secret->data), strlen(secret->data));
    }
    if (bytes && secret->format == QAPI_QCRYPTO_SECRET_FORMAT_BASE64) {
        GByteArray *text = bytes;

        bytes = decode_base64((const char *)text->data, text->len,
                              secret->file ? secret->file : "'data'", error);
        free_wiped(text);
    }
    if (bytes && secret->keyid && !decrypt(secret, bytes, error)) {
        g_clear_pointer(&bytes, free_wiped);
    }
    secret->plain = bytes;
    return bytes != NULL;
}

static void secret_finalize(struct object *obj)
{
    struct secret *secret = (struct secret *)obj;

    free_wiped(secret->plain);
}

static const struct property secret_properties[] = {
    {.name = "data",
     .offset = offsetof(struct secret, data),
     .type = &qapi_type_str,
     .flags = PROPERTY_WRITE_ONLY,
     .description = "The secret itself"},
    PROPERTY("file", secret, file, qapi_type_str, NULL, "File that holds the secret"),
    PROPERTY("format", secret, format, qapi_type_qcrypto_secret_format, "raw",
             "How it is written: raw or base64"),
    PROPERTY("keyid", secret, keyid, qapi_type_str, NULL,
             "Secret of 32 bytes that it is encrypted with"),
    PROPERTY("iv", secret, iv, qapi_type_str, NULL,
             "Initialization vector of the encryption, in base64"),
};

static const char *const secret_interfaces[] = {"user-creatable", NULL};

static const struct object_type secret_type = {
    .name = "secret",
    .parent = "object",
    .description = "Password or key",
    .instance_size = sizeof(struct secret),
    .properties = secret_properties,
    .n_properties = G_N_ELEMENTS(secret_properties),
    .interfaces = secret_interfaces,
    .complete = secret_complete,
    .finalize = secret_finalize,
};
OBJECT_TYPE(secret_type);

/* Borrowed; NULL and *error. */
static const GByteArray *find(struct object *root, const char *id, GError **error)
{
    struct object *obj = object_child(object_container(root, "/objects"), id);
    struct secret *secret = (struct secret *)obj;

    if (!obj) {
        g_set_error(error, SECRET_ERROR, "No secret with id '%s'", id);
        return NULL;
    }
    if (!object_is(obj, "secret")) {
        g_set_error(error, SECRET_ERROR, "Object with id '%s' is not a secret but of type %s", id,
                    obj->type->name);
        return NULL;
    }
    /* Not yet there in a secret that is to be decrypted with itself. */
    if (!secret->plain) {
        g_set_error(error, SECRET_ERROR, "Secret with id '%s' has no data", id);
        return NULL;
    }
    return secret->plain;
}

GBytes *secret_get(struct object *root, const char *id, GError **error)
{
    const GByteArray *plain = find(root, id, error);

    return plain ? g_bytes_new(plain->data, plain->len) : NULL;
}

char *secret_get_text(struct object *root, const char *id, GError **error)
{
    const GByteArray *plain = find(root, id, error);

    if (!plain) {
        return NULL;
    }
    /* g_utf8_validate refuses NUL within the length too. */
    if (plain->len > 0 && !g_utf8_validate((const char *)plain->data, plain->len, NULL)) {
        g_set_error(error, SECRET_ERROR, "Data from secret '%s' is not valid UTF-8", id);
        return NULL;
    }
    return g_strndup((const char *)plain->data, plain->len);
}
