/* Character devices as the command line has them: -chardev's key=value text and the short form. */
#include "chardev/backend.h"

#include <stdio.h>
#include <string.h>

#include "qapi/keyval.h"
#include "util/nearest.h"

#define KIND(name) QAPI_CHARDEV_BACKEND_KIND_##name

/* An option of a kind, and the member that it becomes, below "data". */
struct option_row {
    enum qapi_chardev_backend_kind kind;
    const char *option, *member;
    enum qapi_command_line_parameter_type type;
};

#define TEXT   QAPI_COMMAND_LINE_PARAMETER_TYPE_STRING
#define BOOL   QAPI_COMMAND_LINE_PARAMETER_TYPE_BOOLEAN
#define NUMBER QAPI_COMMAND_LINE_PARAMETER_TYPE_NUMBER
#define SIZE   QAPI_COMMAND_LINE_PARAMETER_TYPE_SIZE

static const struct option_row rows[] = {
    {KIND(FILE), "path", "out", TEXT},
    {KIND(FILE), "input-path", "in", TEXT},
    {KIND(FILE), "append", "append", BOOL},
    {KIND(SERIAL), "path", "device", TEXT},
    {KIND(PIPE), "path", "device", TEXT},
    {KIND(SOCKET), "path", "addr.data.path", TEXT},
    {KIND(SOCKET), "abstract", "addr.data.abstract", BOOL},
    {KIND(SOCKET), "tight", "addr.data.tight", BOOL},
    {KIND(SOCKET), "host", "addr.data.host", TEXT},
    {KIND(SOCKET), "port", "addr.data.port", TEXT},
    {KIND(SOCKET), "to", "addr.data.to", NUMBER},
    {KIND(SOCKET), "ipv4", "addr.data.ipv4", BOOL},
    {KIND(SOCKET), "ipv6", "addr.data.ipv6", BOOL},
    {KIND(SOCKET), "mptcp", "addr.data.mptcp", BOOL},
    {KIND(SOCKET), "fd", "addr.data.str", TEXT},
    {KIND(SOCKET), "server", "server", BOOL},
    {KIND(SOCKET), "wait", "wait", BOOL},
    {KIND(SOCKET), "nodelay", "nodelay", BOOL},
    {KIND(SOCKET), "delay", "delay", BOOL}, /* not a member: see socket_options */
    {KIND(SOCKET), "telnet", "telnet", BOOL},
    {KIND(SOCKET), "tn3270", "tn3270", BOOL},
    {KIND(SOCKET), "websocket", "websocket", BOOL},
    {KIND(SOCKET), "reconnect", "reconnect", NUMBER},
    {KIND(SOCKET), "reconnect-ms", "reconnect-ms", NUMBER},
    {KIND(SOCKET), "tls-creds", "tls-creds", TEXT},
    {KIND(SOCKET), "tls-authz", "tls-authz", TEXT},
    {KIND(UDP), "host", "remote.data.host", TEXT},
    {KIND(UDP), "port", "remote.data.port", TEXT},
    {KIND(UDP), "ipv4", "remote.data.ipv4", BOOL},
    {KIND(UDP), "ipv6", "remote.data.ipv6", BOOL},
    {KIND(UDP), "localaddr", "local.data.host", TEXT},
    {KIND(UDP), "localport", "local.data.port", TEXT},
    {KIND(PTY), "path", "path", TEXT},
    {KIND(MUX), "chardev", "chardev", TEXT},
    {KIND(HUB), "chardevs.0", "chardevs.0", TEXT},
    {KIND(HUB), "chardevs.1", "chardevs.1", TEXT},
    {KIND(HUB), "chardevs.2", "chardevs.2", TEXT},
    {KIND(HUB), "chardevs.3", "chardevs.3", TEXT},
    {KIND(STDIO), "signal", "signal", BOOL},
    {KIND(RINGBUF), "size", "size", SIZE},
    {KIND(MEMORY), "size", "size", SIZE},
};

/* Options that all kinds have: members of ChardevCommon, and what is for the chardev itself. */
static const struct option_row common_rows[] = {
    {0, "logfile", "logfile", TEXT},
    {0, "logappend", "logappend", BOOL},
    {0, "id", NULL, TEXT},
    {0, "mux", NULL, BOOL},
};

/* Kinds that others have, and why they aren't here. */
static const struct {
    const char *name, *reason;
} absent[] = {
    {"vc", "there is no display to show it on; use stdio, pty or socket"},
    {"parallel", "no machine has a parallel port"},
    {"msmouse", "there are no mouse devices"},
    {"wctablet", "there are no tablet devices"},
    {"braille", "there are no braille displays"},
    {"testdev", "no machine has a device that uses it"},
    {"spicevmc", "there is no SPICE server"},
    {"spiceport", "there is no SPICE server"},
    {"dbus", "there is no D-Bus display"},
    {"qemu-vdagent", "there is no clipboard to share"},
};

/* An option's value; NULL: it isn't given. */
static const char *get(json_object *options, const char *name)
{
    json_object *value;

    return json_object_object_get_ex(options, name, &value) ? json_object_get_string(value) : NULL;
}

static void put(json_object *options, const char *name, const char *value)
{
    json_object_object_add(options, name, json_object_new_string(value));
}

/* The value at a.b.c, in objects that are made as needed. */
static void put_path(json_object *object, const char *path, const char *value)
{
    g_auto(GStrv) parts = g_strsplit(path, ".", -1);
    guint i;

    for (i = 0; parts[i + 1]; i++) {
        json_object *child;

        if (!json_object_object_get_ex(object, parts[i], &child)) {
            child = json_object_new_object();
            json_object_object_add(object, parts[i], child);
        }
        object = child;
    }
    put(object, parts[i], value);
}

static const struct option_row *find_row(enum qapi_chardev_backend_kind kind, const char *option)
{
    for (size_t i = 0; i < G_N_ELEMENTS(rows); i++) {
        if (rows[i].kind == kind && strcmp(rows[i].option, option) == 0) {
            return &rows[i];
        }
    }
    return NULL;
}

static bool is_common(const char *option)
{
    for (size_t i = 0; i < G_N_ELEMENTS(common_rows); i++) {
        if (common_rows[i].member && strcmp(common_rows[i].option, option) == 0) {
            return true;
        }
    }
    return false;
}

/* All options of a kind; free the array. */
static GPtrArray *options_of(enum qapi_chardev_backend_kind kind)
{
    GPtrArray *names = g_ptr_array_new();

    for (size_t i = 0; i < G_N_ELEMENTS(rows); i++) {
        if (rows[i].kind == kind) {
            g_ptr_array_add(names, (void *)rows[i].option);
        }
    }
    for (size_t i = 0; i < G_N_ELEMENTS(common_rows); i++) {
        g_ptr_array_add(names, (void *)common_rows[i].option);
    }
    return names;
}

static bool find_kind(const char *name, int *kind, GError **error)
{
    const char *names[KIND(_COUNT)];
    const char *nearest;

    for (size_t i = 0; i < G_N_ELEMENTS(absent); i++) {
        if (strcmp(absent[i].name, name) == 0) {
            return chardev_error(error, "chardev backend '%s' isn't supported: %s", name,
                                 absent[i].reason);
        }
    }
    for (*kind = 0; *kind < KIND(_COUNT); ++*kind) {
        names[*kind] = qapi_enum_name(&qapi_type_chardev_backend_kind, *kind);
        if (strcmp(names[*kind], name) == 0) {
            return true;
        }
    }
    nearest = util_nearest(name, names, G_N_ELEMENTS(names));
    return nearest
               ? chardev_error(error, "'%s' is not a valid char driver name; did you mean '%s'?",
                               name, nearest)
               : chardev_error(
                     error, "'%s' is not a valid char driver name; -chardev help lists them", name);
}

/* Defaults and combinations of options that the members don't have. */

static bool socket_options(json_object *options, GError **error)
{
    const char *host = get(options, "host"), *delay = get(options, "delay");
    int n = (host != NULL) + (get(options, "path") != NULL) + (get(options, "fd") != NULL);
    bool server = false, delayed;

    if (n != 1) {
        return chardev_error(error, "chardev: socket: one of 'path', 'host' or 'fd' is needed%s",
                             n ? ", and only one" : "");
    }
    if (host && !get(options, "port")) {
        return chardev_error(error, "chardev: socket: no port given");
    }
    if (!get(options, "server")) {
        put(options, "server", "off");
    } else if (!keyval_parse_bool(get(options, "server"), &server, NULL)) {
        return chardev_error(error, "Parameter 'server' expects 'on' or 'off'");
    }
    if (server && !get(options, "wait")) {
        put(options, "wait", "on");
    }
    if (delay) {
        if (get(options, "nodelay")) {
            return chardev_error(error, "'delay' and 'nodelay' are mutually exclusive");
        }
        if (!keyval_parse_bool(delay, &delayed, NULL)) {
            return chardev_error(error, "Parameter 'delay' expects 'on' or 'off'");
        }
        put(options, "nodelay", delayed ? "off" : "on");
        json_object_object_del(options, "delay");
    }
    return true;
}

static bool udp_options(json_object *options, GError **error)
{
    if (!get(options, "port")) {
        return chardev_error(error, "chardev: udp: remote port not specified");
    }
    if (!get(options, "host") || !*get(options, "host")) {
        put(options, "host", "localhost");
    }
    if (get(options, "localaddr") && !get(options, "localport")) {
        put(options, "localport", "0");
    } else if (get(options, "localport") && !get(options, "localaddr")) {
        put(options, "localaddr", "");
    }
    return true;
}

static bool ringbuf_options(json_object *options, GError **error)
{
    const char *text = get(options, "size");
    uint64_t size;

    if (text) {
        if (!keyval_parse_size(text, 'B', &size, error)) {
            return false;
        }
        if (size > G_MAXINT64) {
            return chardev_error(error, "Parameter 'size' is too large");
        }
        g_autofree char *bytes = g_strdup_printf("%" PRIu64, size);

        put(options, "size", bytes);
    }
    return true;
}

static bool complete_options(int kind, json_object *options, GError **error)
{
    switch (kind) {
    case KIND(SOCKET): return socket_options(options, error);
    case KIND(UDP): return udp_options(options, error);
    case KIND(RINGBUF):
    case KIND(MEMORY): return ringbuf_options(options, error);
    default: return true;
    }
}

/* What the options don't say but the members must. */
static void complete_members(int kind, json_object *options, json_object *data)
{
    if (kind == KIND(SOCKET)) {
        put_path(data, "addr.type",
                 get(options, "path")   ? "unix"
                 : get(options, "host") ? "inet"
                                        : "fd");
    } else if (kind == KIND(UDP)) {
        put_path(data, "remote.type", "inet");
        if (get(options, "localaddr")) {
            put_path(data, "local.type", "inet");
        }
    } else if (kind == KIND(HUB)) {
        json_object *by_number = NULL, *list = json_object_new_array();
        char number[] = "0";

        json_object_object_get_ex(data, "chardevs", &by_number);
        for (; by_number && get(by_number, number); number[0]++) {
            json_object_array_add(list, json_object_new_string(get(by_number, number)));
        }
        json_object_object_add(data, "chardevs", list);
    }
}

/* Names options in place of members in a message. */
static void rename_members(enum qapi_chardev_backend_kind kind, GError *error)
{
    GString *text = g_string_new(error->message);

    for (size_t i = 0; i < G_N_ELEMENTS(rows); i++) {
        if (rows[i].kind == kind) {
            g_autofree char *member = g_strdup_printf("'data.%s'", rows[i].member);
            g_autofree char *option = g_strdup_printf("'%s'", rows[i].option);

            g_string_replace(text, member, option, 0);
        }
    }
    g_string_replace(text, "'data.", "'", 0);
    g_free(error->message);
    error->message = g_string_free(text, false);
}

static bool unknown_option(int kind, const char *option, GError **error)
{
    g_autoptr(GPtrArray) names = options_of(kind);
    const char *nearest = util_nearest(option, (const char *const *)names->pdata, names->len);
    const char *name = qapi_enum_name(&qapi_type_chardev_backend_kind, kind);

    return nearest
               ? chardev_error(error, "Invalid parameter '%s' for chardev %s; did you mean '%s'?",
                               option, name, nearest)
               : chardev_error(error, "Invalid parameter '%s' for chardev %s", option, name);
}

/* The options of a back end without id and mux; changes them. */
static bool backend_from_options(json_object *options, struct qapi_chardev_backend *backend,
                                 GError **error)
{
    g_autofree char *type = g_strdup(get(options, "backend"));
    g_autoptr(json_object) nested = json_object_new_object();
    json_object *data = json_object_new_object();
    GError *problem = NULL;
    int kind = 0;

    if (!type) {
        json_object_put(data);
        return chardev_error(error, "chardev: no backend given; -chardev help lists them");
    }
    put(nested, "type", type);
    json_object_object_add(nested, "data", data);
    json_object_object_del(options, "backend");
    if (!find_kind(type, &kind, error)) {
        return false;
    }
    json_object_object_foreach(options, name, ignored)
    {
        (void)ignored;
        if (!find_row(kind, name) && !is_common(name)) {
            return unknown_option(kind, name, error);
        }
    }
    if (!complete_options(kind, options, error)) {
        return false;
    }
    json_object_object_foreach(options, option, value)
    {
        const struct option_row *row = find_row(kind, option);

        put_path(data, row ? row->member : option, json_object_get_string(value));
    }
    complete_members(kind, options, data);
    if (!qapi_from_keyval(&qapi_type_chardev_backend, nested, backend, &problem)) {
        rename_members(kind, problem);
        g_propagate_error(error, problem);
        return false;
    }
    return true;
}

/* Takes a boolean out of options. */
static bool take_bool(json_object *options, const char *name, bool *value, GError **error)
{
    const char *text = get(options, name);

    *value = false;
    if (text && !keyval_parse_bool(text, value, NULL)) {
        return chardev_error(error, "Parameter '%s' expects 'on' or 'off'", name);
    }
    json_object_object_del(options, name);
    return true;
}

/* "-chardev socket,help": the options, as an error. */
static bool options_help(json_object *options, GError **error)
{
    const char *type = options ? get(options, "backend") : NULL;
    g_autoptr(GPtrArray) names = NULL;
    g_autofree char *list = NULL;
    int kind;

    if (!type) {
        return chardev_error(error, "-chardev help lists the backends");
    }
    if (!find_kind(type, &kind, error)) {
        return false;
    }
    names = options_of(kind);
    g_ptr_array_add(names, NULL);
    list = g_strjoinv(", ", (char **)names->pdata);
    return chardev_error(error, "options of chardev %s: %s", type, list);
}

bool chardev_parse_option(const char *text, char **id, struct qapi_chardev_backend *backend,
                          bool *mux, GError **error)
{
    bool help = false, with_mux;
    g_autoptr(json_object) options = keyval_parse_flat(text, "backend", &help, error);
    g_autofree char *name = NULL;

    *id = NULL;
    if (!options && !help) {
        return false;
    }
    if (help) {
        return options_help(options, error);
    }
    name = g_strdup(get(options, "id"));
    json_object_object_del(options, "id");
    if (!take_bool(options, "mux", &with_mux, error)) {
        return false;
    }
    if (with_mux && !mux) {
        return chardev_error(error, "Parameter 'mux' isn't possible here");
    }
    if (!backend_from_options(options, backend, error)) {
        return false;
    }
    if (mux) {
        *mux = with_mux;
    }
    *id = g_steal_pointer(&name);
    return true;
}

static struct chardev *new_mux(const struct chardev_context *context, const char *id,
                               const char *below, GError **error)
{
    struct qapi_chardev_mux mux = {.chardev = (char *)below};
    struct qapi_chardev_backend backend = {.type = KIND(MUX), .u.mux.data = &mux};

    return chardev_new(context, id, &backend, error);
}

/* What was asked for on the command line: says where a pty is, waits for clients. */
static struct chardev *new_from_command_line(const struct chardev_context *context, const char *id,
                                             const struct qapi_chardev_backend *backend,
                                             bool with_mux, GError **error)
{
    g_autofree char *base_id = with_mux ? g_strconcat(id, "-base", NULL) : g_strdup(id);
    struct chardev *base = chardev_new(context, base_id, backend, error);
    struct chardev *mux;

    if (!base) {
        return NULL;
    }
    if (chardev_pty(base)) {
        printf("char device redirected to %s (label %s)\n", chardev_pty(base), base_id);
        fflush(stdout);
    }
    if (!chardev_wait_connected(base, error)) {
        chardev_remove(base, NULL);
        return NULL;
    }
    if (!with_mux) {
        return base;
    }
    mux = new_mux(context, id, base_id, error);
    if (!mux) {
        chardev_remove(base, NULL);
    }
    return mux;
}

struct chardev *chardev_new_option(const struct chardev_context *context, const char *text,
                                   GError **error)
{
    struct qapi_chardev_backend backend;
    g_autofree char *id = NULL;
    struct chardev *chr = NULL;
    bool mux;

    if (!chardev_parse_option(text, &id, &backend, &mux, error)) {
        return NULL;
    }
    if (!id) {
        chardev_error(error, "chardev: no id specified");
    } else if (!object_id_valid(id)) {
        chardev_error(
            error,
            "Parameter 'id' expects an identifier, which '%s' isn't: letters, digits, '-', '.' "
            "and '_', a letter first",
            id);
    } else {
        chr = new_from_command_line(context, id, &backend, mux, error);
    }
    qapi_clear(&qapi_type_chardev_backend, &backend);
    return chr;
}

/* The short form. */

/* HOST:PORT or [HOST]:PORT up to one of the stop characters; the rest, or NULL if it isn't that. */
static const char *parse_host_port(const char *text, const char *stop, json_object *options,
                                   const char *host_option, const char *port_option)
{
    const char *host = text, *end = strpbrk(text, ":,@"), *port;
    g_autofree char *host_text = NULL, *port_text = NULL;

    if (*text == '[') {
        host++;
        end = strchr(host, ']');
    }
    if (!end) {
        return NULL;
    }
    port = *end == ']' ? end + 1 : end;
    if (*port != ':') {
        return NULL;
    }
    port++;
    host_text = g_strndup(host, end - host);
    port_text = g_strndup(port, strcspn(port, stop));
    if (!*port_text) {
        return NULL;
    }
    put(options, host_option, host_text);
    put(options, port_option, port_text);
    return port + strlen(port_text);
}

/* "tcp:HOST:PORT,server=on": what is behind the protocol's name. */
static json_object *short_tcp(const char *protocol, const char *text, GError **error)
{
    g_autoptr(json_object) address = json_object_new_object();
    const char *rest = parse_host_port(text, ",", address, "host", "port");
    json_object *options;

    if (!rest) {
        chardev_error(error, "'%s:%s' isn't of the form %s:HOST:PORT[,OPTION=VALUE...]", protocol,
                      text, protocol);
        return NULL;
    }
    options = *rest && rest[1] ? keyval_parse_flat(rest + 1, NULL, NULL, error)
                               : json_object_new_object();
    if (options) {
        put(options, "host", get(address, "host"));
        put(options, "port", get(address, "port"));
        if (strcmp(protocol, "tcp") != 0) {
            put(options, protocol, "on");
        }
        put(options, "backend", "socket");
    }
    return options;
}

/* "udp:HOST:PORT@LOCALHOST:LOCALPORT" */
static json_object *short_udp(const char *text, GError **error)
{
    g_autoptr(json_object) options = json_object_new_object();
    const char *rest = parse_host_port(text, "@,", options, "host", "port");

    if (rest && *rest == '@') {
        rest = parse_host_port(rest + 1, "@,", options, "localaddr", "localport");
    }
    if (!rest || *rest) {
        chardev_error(error, "'udp:%s' isn't of the form udp:[HOST]:PORT[@[HOST]:PORT]", text);
        return NULL;
    }
    put(options, "backend", "udp");
    return g_steal_pointer(&options);
}

static json_object *short_path(const char *backend, const char *path)
{
    json_object *options = json_object_new_object();

    put(options, "backend", backend);
    put(options, "path", path);
    return options;
}

/* The same as -chardev options, or NULL. */
static json_object *short_options(const char *text, GError **error)
{
    static const char *const alone[] = {"null", "stdio", "pty"};
    static const char *const with_path[] = {"file", "pipe", "pty"};
    static const char *const with_host[] = {"tcp", "telnet", "tn3270", "websocket"};
    const char *colon = strchr(text, ':');
    g_autofree char *word = colon ? g_strndup(text, colon - text) : g_strdup(text);
    json_object *options = NULL;

    if (*text == '/') {
        return short_path(g_str_has_prefix(text, "/dev/parport") ? "parallel" : "serial", text);
    }
    for (size_t i = 0; !colon && i < G_N_ELEMENTS(alone); i++) {
        if (strcmp(text, alone[i]) == 0) {
            options = json_object_new_object();
            put(options, "backend", text);
            return options;
        }
    }
    for (size_t i = 0; colon && i < G_N_ELEMENTS(with_path); i++) {
        if (strcmp(word, with_path[i]) == 0) {
            return short_path(word, colon + 1);
        }
    }
    for (size_t i = 0; colon && i < G_N_ELEMENTS(with_host); i++) {
        if (strcmp(word, with_host[i]) == 0) {
            return short_tcp(word, colon + 1, error);
        }
    }
    if (colon && strcmp(word, "udp") == 0) {
        return short_udp(colon + 1, error);
    }
    if (colon && strcmp(word, "unix") == 0) {
        options = keyval_parse_flat(colon + 1, "path", NULL, error);
        if (options) {
            put(options, "backend", "socket");
        }
        return options;
    }
    for (size_t i = 0; i < G_N_ELEMENTS(absent); i++) {
        if (strcmp(word, absent[i].name) == 0) {
            chardev_error(error, "'%s' isn't supported: %s", word, absent[i].reason);
            return NULL;
        }
    }
    chardev_error(error, "'%s' is not a valid char driver", text);
    return NULL;
}

struct chardev *chardev_new_short(const struct chardev_context *context, const char *label,
                                  const char *text, bool with_mux, GError **error)
{
    bool mux = g_str_has_prefix(text, "mon:"), mux_option;
    g_autoptr(json_object) options = NULL;
    struct qapi_chardev_backend backend;
    struct chardev *chr;

    if (g_str_has_prefix(text, "chardev:")) {
        chr = chardev_find(context->root, text + strlen("chardev:"));
        if (!chr) {
            chardev_error(error, "chardev \"%s\" not found", text + strlen("chardev:"));
        }
        return chr;
    }
    if (mux && !with_mux) {
        chardev_error(error, "'%s': mon: isn't possible here", text);
        return NULL;
    }
    options = short_options(mux ? text + strlen("mon:") : text, error);
    if (!options || !take_bool(options, "mux", &mux_option, error)) {
        return NULL;
    }
    if (mux && g_strcmp0(get(options, "backend"), "stdio") == 0) {
        /* Ctrl-C is for the guest, then. */
        put(options, "signal", "off");
    }
    if (!backend_from_options(options, &backend, error)) {
        return NULL;
    }
    chr = new_from_command_line(context, label, &backend, mux || mux_option, error);
    qapi_clear(&qapi_type_chardev_backend, &backend);
    return chr;
}

static int by_name(const void *a, const void *b)
{
    return strcmp(*(const char *const *)a, *(const char *const *)b);
}

char *chardev_help(void)
{
    const char *names[KIND(_COUNT)];
    GString *text = g_string_new("Available chardev backend types: \n");

    for (int i = 0; i < KIND(_COUNT); i++) {
        names[i] = qapi_enum_name(&qapi_type_chardev_backend_kind, i);
    }
    qsort(names, G_N_ELEMENTS(names), sizeof(names[0]), by_name);
    for (size_t i = 0; i < G_N_ELEMENTS(names); i++) {
        g_string_append_printf(text, "  %s\n", names[i]);
    }
    return g_string_free(text, false);
}

static int by_option(const void *a, const void *b)
{
    const struct option_row *const *one = a, *const *two = b;

    return strcmp((*one)->option, (*two)->option);
}

void chardev_foreach_option(chardev_visit_option *fn, void *opaque)
{
    const struct option_row *sorted[G_N_ELEMENTS(rows) + G_N_ELEMENTS(common_rows)];
    size_t n = 0;

    for (size_t i = 0; i < G_N_ELEMENTS(rows); i++) {
        sorted[n++] = &rows[i];
    }
    for (size_t i = 0; i < G_N_ELEMENTS(common_rows); i++) {
        sorted[n++] = &common_rows[i];
    }
    qsort(sorted, n, sizeof(sorted[0]), by_option);
    fn(opaque, "backend", TEXT);
    for (size_t i = 0; i < n; i++) {
        if (!i || strcmp(sorted[i]->option, sorted[i - 1]->option) != 0) {
            fn(opaque, sorted[i]->option, sorted[i]->type);
        }
    }
}
