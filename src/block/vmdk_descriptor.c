/* vmdk's descriptor: lines of KEY=VALUE, and of extents: ACCESS SECTORS TYPE "FILE" OFFSET. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "block/vmdk.h"

static void clear_line(void *data)
{
    struct vmdk_line *line = data;

    g_free(line->access);
    g_free(line->type);
    g_free(line->filename);
}

void vmdk_descriptor_clear(struct vmdk_descriptor *d)
{
    g_free(d->create_type);
    g_free(d->parent);
    if (d->lines) {
        g_array_unref(d->lines);
    }
}

/* The value of KEY=VALUE without quotes, or NULL. */
static char *value_of(const char *line, const char *key)
{
    size_t n = strlen(key);
    char *value;

    if (g_ascii_strncasecmp(line, key, n) || line[n] != '=') {
        return NULL;
    }
    value = g_strstrip(g_strdup(line + n + 1));
    n = strlen(value);
    if (n >= 2 && value[0] == '"' && value[n - 1] == '"') {
        memmove(value, value + 1, n - 2);
        value[n - 2] = 0;
    }
    return value;
}

static bool is_access(const char *word)
{
    return g_str_equal(word, "RW") || g_str_equal(word, "RDONLY") || g_str_equal(word, "NOACCESS");
}

/* True: it isn't the line of an extent, or it was added. */
static bool take_extent(struct vmdk_descriptor *d, const char *text, GError **error)
{
    char access[12], type[20];
    struct vmdk_line line = {0};
    int at = 0;
    const char *end;

    if (sscanf(text, "%11s %" SCNu64 " %19s %n", access, &line.sectors, type, &at) < 3 ||
        !is_access(access)) {
        return true;
    }
    if (d->lines->len >= VMDK_MAX_EXTENTS) {
        return block_error(error, "more than %d extents", VMDK_MAX_EXTENTS);
    }
    end = at && text[at] == '"' ? strchr(text + at + 1, '"') : NULL;
    if (!end || !line.sectors || line.sectors > INT64_MAX / VMDK_SECTOR) {
        return block_error(error, "Invalid extent line: %.200s", text);
    }
    if (end[1] && sscanf(end + 1, " %" SCNu64, &line.offset) != 1 &&
        strspn(end + 1, " \t") != strlen(end + 1)) {
        return block_error(error, "Invalid extent line: %.200s", text);
    }
    line.access = g_strdup(access);
    line.type = g_strdup(type);
    line.filename = g_strndup(text + at + 1, (gsize)(end - text - at - 1));
    g_array_append_val(d->lines, line);
    return true;
}

static void take_cid(struct vmdk_descriptor *d, const char *text, const char *line)
{
    const char *digits = strchr(line, '=') + 1;

    d->cid = (uint32_t)strtoul(digits, NULL, 16);
    d->cid_at = (size_t)(digits - text);
    d->cid_digits = (unsigned)strspn(digits, "0123456789abcdefABCDEF");
}

bool vmdk_descriptor_parse(struct vmdk_descriptor *d, const char *text, size_t size, GError **error)
{
    g_autofree char *copy = g_strndup(text, size); /* up to a NUL */
    bool has_parent_cid = false;
    char *line, *next;

    *d = (struct vmdk_descriptor){.parent_cid = UINT32_MAX};
    d->lines = g_array_new(false, false, sizeof(struct vmdk_line));
    g_array_set_clear_func(d->lines, clear_line);
    for (line = copy; line; line = next) {
        g_autofree char *value = NULL;

        next = strchr(line, '\n');
        if (next) {
            *next++ = 0;
        }
        line[strcspn(line, "\r")] = 0;
        if (g_str_has_prefix(line, "CID=")) {
            take_cid(d, copy, line);
        } else if ((value = value_of(line, "parentCID"))) {
            d->parent_cid = (uint32_t)strtoul(value, NULL, 16);
            has_parent_cid = true;
        } else if ((value = value_of(line, "createType")) && !d->create_type) {
            d->create_type = g_steal_pointer(&value);
        } else if ((value = value_of(line, "parentFileNameHint")) && !d->parent) {
            d->parent = g_steal_pointer(&value);
        } else if (!value && !take_extent(d, line, error)) {
            return false;
        }
    }
    if (!d->create_type || !d->cid_at) {
        return block_error(error, "invalid VMDK image descriptor: it has no %s",
                           d->cid_at ? "createType" : "CID");
    }
    if (!has_parent_cid || d->parent_cid == UINT32_MAX) {
        g_clear_pointer(&d->parent, g_free);
    }
    return true;
}
