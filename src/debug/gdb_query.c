/* Packets that ask about the target: features, objects (qXfer), threads, monitor commands. */
#include <string.h>

#include "debug/gdb_priv.h"

void gdb_query_supported(struct gdb_stub *s, const char *args, size_t size)
{
    g_auto(GStrv) features = g_strsplit(*args == ':' ? args + 1 : args, ";", 0);

    for (char **f = features; *f; f++) {
        if (!strcmp(*f, "multiprocess+"))
            s->multiprocess = true;
    }
    g_string_printf(s->reply,
                    "PacketSize=%x;QStartNoAckMode+;multiprocess+;swbreak+;hwbreak+;"
                    "vContSupported+;qXfer:features:read+;qXfer:threads:read+",
                    GDB_PACKET_SIZE);
    if (s->ops->object)
        g_string_append(s->reply, ";qXfer:auxv:read+;qXfer:exec-file:read+;qXfer:siginfo:read+");
    if (s->ops->pass_signals)
        g_string_append(s->reply, ";QPassSignals+");
    if (s->ops->catch_syscalls)
        g_string_append(s->reply, ";QCatchSyscalls+");
}

/* ---- qXfer ---- */

static char *thread_text(struct gdb_stub *s, uint64_t thread)
{
    return (s->ops->thread_info ? s->ops->thread_info : s->ops->thread_name)(s->opaque, thread);
}

static GBytes *threads_xml(struct gdb_stub *s)
{
    g_autoptr(GArray) ids = g_array_new(FALSE, FALSE, sizeof(uint64_t));
    GString *xml = g_string_new("<?xml version=\"1.0\"?>\n<threads>\n");

    s->ops->threads(s->opaque, ids);
    for (unsigned i = 0; i < ids->len; i++) {
        uint64_t id = g_array_index(ids, uint64_t, i);
        g_autofree char *text = thread_text(s, id);
        g_autofree char *escaped = text ? g_markup_escape_text(text, -1) : g_strdup("");

        g_string_append(xml, "<thread id=\"");
        gdb_put_thread(s, xml, id);
        g_string_append_printf(xml, s->ops->thread_info ? "\">%s</thread>\n" : "\" name=\"%s\"/>\n",
                               escaped);
    }
    g_string_append(xml, "</threads>\n");
    return g_string_free_to_bytes(xml);
}

static GBytes *get_object(struct gdb_stub *s, const char *name, const char *annex)
{
    if (!strcmp(name, "features")) {
        char *xml = strcmp(annex, "target.xml") ? NULL : s->ops->target_xml(s->opaque);

        return xml ? g_bytes_new_take(xml, strlen(xml)) : NULL;
    }
    if (!strcmp(name, "threads"))
        return threads_xml(s);
    if (s->ops->object)
        return s->ops->object(s->opaque, name, gdb_current_thread(s));
    return NULL;
}

/* object:read:annex:offset,length. Reply: 'm' or (the end) 'l', then binary data. */
void gdb_query_xfer(struct gdb_stub *s, const char *args, size_t size)
{
    g_auto(GStrv) part = g_strsplit(args, ":", 4);
    g_autoptr(GBytes) object = NULL;
    const char *range;
    uint64_t offset, length, left;
    const char *data;
    gsize total;

    if (g_strv_length(part) != 4 || strcmp(part[1], "read"))
        return; /* the empty reply: not supported */
    range = part[3];
    if (!gdb_get_number(&range, &offset) || !gdb_get_token(&range, ",") ||
        !gdb_get_number(&range, &length) || *range) {
        g_string_assign(s->reply, "E00");
        return;
    }
    object = get_object(s, part[0], part[2]);
    if (!object) {
        g_string_assign(s->reply, "E00");
        return;
    }
    data = g_bytes_get_data(object, &total);
    left = offset < total ? total - offset : 0;
    length = MIN(length, GDB_PACKET_SIZE / 2 - 16); /* an escape doubles a byte */
    g_string_assign(s->reply, left > length ? "m" : "l");
    if (left)
        gdb_put_binary(s->reply, data + offset, MIN(left, length));
}

/* ---- Threads ---- */

void gdb_query_threads(struct gdb_stub *s, const char *args, size_t size)
{
    g_autoptr(GArray) ids = g_array_new(FALSE, FALSE, sizeof(uint64_t));

    s->ops->threads(s->opaque, ids);
    for (unsigned i = 0; i < ids->len && s->reply->len < GDB_PACKET_SIZE - 64; i++) {
        g_string_append_c(s->reply, i ? ',' : 'm');
        gdb_put_thread(s, s->reply, g_array_index(ids, uint64_t, i));
    }
    if (!ids->len)
        g_string_assign(s->reply, "l");
}

/* All went in the first reply; a list too long for it can be had by qXfer:threads. */
void gdb_query_more_threads(struct gdb_stub *s, const char *args, size_t size)
{
    g_string_assign(s->reply, "l");
}

void gdb_query_thread_info(struct gdb_stub *s, const char *args, size_t size)
{
    int64_t thread;
    g_autofree char *name = NULL;

    if (!gdb_get_thread(s, &args, &thread) || thread <= 0 ||
        !gdb_thread_exists(s, (uint64_t)thread)) {
        gdb_error(s, 3);
        return;
    }
    name = thread_text(s, (uint64_t)thread);
    if (name)
        gdb_put_hex(s->reply, name, MIN(strlen(name), GDB_PACKET_SIZE / 2 - 16));
}

/* ---- monitor ---- */

void gdb_query_monitor(struct gdb_stub *s, const char *args, size_t size)
{
    enum { CHUNK = 1024 };
    char command[GDB_PACKET_SIZE / 2] = "";
    g_autofree char *text = NULL;

    if (!s->ops->monitor)
        return;
    gdb_get_hex(&args, command, sizeof(command) - 1);
    text = s->ops->monitor(s->opaque, g_strstrip(command));
    if (!text)
        text = g_strdup("No such command; try: monitor help\n");
    for (size_t done = 0, total = strlen(text); done < total; done += CHUNK) {
        g_string_assign(s->reply, "O");
        gdb_put_hex(s->reply, text + done, MIN(total - done, CHUNK));
        gdb_conn_send(&s->conn, s->reply->str, s->reply->len);
    }
    g_string_assign(s->reply, "OK");
}
