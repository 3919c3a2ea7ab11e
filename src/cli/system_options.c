#include "cli/system_rows.h"

#include <string.h>

#include "chardev/chardev.h"
#include "machine/globals.h"
#include "qapi/command.h"
#include "util/nearest.h"

bool option_fail(GError **error, const char *format, ...)
{
    g_autofree char *text = NULL;
    va_list args;

    va_start(args, format);
    text = g_strdup_vprintf(format, args);
    va_end(args);
    g_set_error_literal(error, QAPI_ERROR, QAPI_ERROR_GENERIC, text);
    return false;
}

void option_keep(void *slot, const struct qapi_type *type, void **typed)
{
    void **pointer = slot;

    qapi_free(type, *pointer);
    *pointer = g_steal_pointer(typed);
}

bool option_is_help(const char *text)
{
    return g_str_equal(text, "help") || g_str_equal(text, "?");
}

/* In the order of the help; NULL: there are no more. */
static const struct option_row *nth_row(size_t n)
{
    static const struct option_table *const tables[] = {
        &system_machine_options, &system_device_options, &system_process_options};

    for (size_t i = 0; i < G_N_ELEMENTS(tables); i++) {
        if (n < tables[i]->n_rows) {
            return &tables[i]->rows[n];
        }
        n -= tables[i]->n_rows;
    }
    return NULL;
}

static const struct option_row *find_row(const char *name)
{
    const struct option_row *row;

    for (size_t i = 0; (row = nth_row(i)); i++) {
        if (g_str_equal(row->name, name)) {
            break;
        }
    }
    return row;
}

static const struct option_row *find_group(const char *group)
{
    const struct option_row *row;

    for (size_t i = 0; (row = nth_row(i)); i++) {
        if (g_strcmp0(row->group, group) == 0) {
            break;
        }
    }
    return row;
}

static bool unknown_option(const char *word, const char *name, GError **error)
{
    g_autoptr(GPtrArray) names = g_ptr_array_new();
    const struct option_row *row;
    const char *nearest;

    for (size_t i = 0; (row = nth_row(i)); i++) {
        g_ptr_array_add(names, (gpointer)row->name);
    }
    nearest = util_nearest(name, (const char *const *)names->pdata, names->len);
    return option_fail(error, "%s: invalid option%s%s%s", word, nearest ? "; did you mean -" : "",
                       nearest ? nearest : "", nearest ? "?" : "");
}

static void free_given(void *pointer)
{
    struct given *given = pointer;

    g_free(given->text);
    json_object_put(given->value);
    g_free(given);
}

/* The use of a row whose uses count as one, or NULL. */
static struct given *find_given(const struct system_options *options, const struct option_row *row)
{
    for (guint i = 0; i < options->given->len; i++) {
        struct given *given = options->given->pdata[i];

        if (given->row == row) {
            return given;
        }
    }
    return NULL;
}

/* Takes value. */
static void collect(struct system_options *options, const struct option_row *row, const char *text,
                    json_object *value, bool is_json)
{
    struct given *given = row->merge ? find_given(options, row) : NULL;

    if (given && given->value && value && given->is_json == is_json) {
        json_object_object_foreach(value, key, member)
        {
            json_object_object_add(given->value, key, json_object_get(member));
        }
        json_object_put(value);
        g_free(given->text);
        given->text = g_strdup(text);
        return;
    }
    given = g_new0(struct given, 1);
    given->row = row;
    given->text = g_strdup(text);
    given->value = value;
    given->is_json = is_json;
    g_ptr_array_add(options->given, given);
}

static bool collect_argument(struct system_options *options, const struct option_row *row,
                             const char *text, GError **error)
{
    json_object *value = NULL;
    bool is_json = false, help = false;

    if (row->form == OPTION_VALUE) {
        value = keyval_parse_option(text, row->implied_key, &help, &is_json, error);
    } else if (row->form == OPTION_FLAT) {
        value = keyval_parse_flat(text, row->implied_key, &help, error);
    } else {
        collect(options, row, text, NULL, false);
        return true;
    }
    if (!value) {
        g_prefix_error(error, "-%s %s: ", row->name, text);
        return false;
    }
    if (help) {
        /* The handler knows what to print; a typed row's help is its members. */
        json_object_object_add(value, "help", json_object_new_string("on"));
    }
    collect(options, row, text, value, is_json);
    return true;
}

/* key=value behind what there is, where a comma is written twice. */
static void append_word(GString *text, const char *key, const char *value)
{
    g_auto(GStrv) parts = g_strsplit(value, ",", -1);
    g_autofree char *doubled = g_strjoinv(",,", parts);

    g_string_append_printf(text, "%s%s=%s", text->len ? "," : "", key, doubled);
}

/* Of a row that is taken as text: what a file said, as it would be on a command line. */
static void make_text(struct given *given)
{
    g_autoptr(GString) text = NULL;

    if (given->row->form != OPTION_TEXT || !given->value || given->text) {
        return;
    }
    text = g_string_new(NULL);
    json_object_object_foreach(given->value, key, member)
    {
        append_word(text, key, json_object_get_string(member));
    }
    given->text = g_string_free(g_steal_pointer(&text), FALSE);
}

static bool has_id(const struct given *given, const char *id)
{
    g_autoptr(json_object) parsed = NULL;
    json_object *value = given->value, *found;

    if (!value && given->text && *given->text != '{') {
        value = parsed = keyval_parse_flat(given->text, "type", NULL, NULL);
    }
    return value && json_object_object_get_ex(value, "id", &found) &&
           g_strcmp0(json_object_get_string(found), id) == 0;
}

static void set_member(struct given *given, const char *key, const char *value)
{
    GString *text;

    if (given->value) {
        json_object_object_add(given->value, key, json_object_new_string(value));
        return;
    }
    text = g_string_new(given->text);
    append_word(text, key, value);
    g_free(given->text);
    given->text = g_string_free(text, FALSE);
}

/* -set group.id.key=value */
static bool set_in_group(struct system_options *options, const char *text, GError **error)
{
    const char *equals = strchr(text, '=');
    g_autofree char *left = equals ? g_strndup(text, equals - text) : NULL;
    g_auto(GStrv) parts = g_strsplit(left ? left : "", ".", 3);
    const struct option_row *row;

    if (g_strv_length(parts) != 3) {
        return option_fail(error, "-set %s: expected GROUP.ID.KEY=VALUE", text);
    }
    row = find_group(parts[0]);
    if (!row) {
        return option_fail(error, "-set %s: there is no option group \"%s\"", text, parts[0]);
    }
    for (guint i = 0; i < options->given->len; i++) {
        struct given *given = options->given->pdata[i];

        if (given->row == row && has_id(given, parts[1])) {
            set_member(given, parts[2], equals + 1);
            return true;
        }
    }
    return option_fail(error, "-set %s: there is no %s \"%s\" before it", text, parts[0], parts[1]);
}

/*
 * A file of -readconfig: sections [group] or [group "id"], then key = "value" lines; # starts a
 * comment.
 */
static bool read_config_line(struct system_options *options, char *line,
                             const struct option_row **row, json_object **value, GError **error)
{
    size_t length = strlen(line);

    if (*line == '[') {
        g_autofree char *group = NULL;
        char *quote = strchr(line, '"');

        if (line[length - 1] != ']') {
            return option_fail(error, "expected [GROUP] or [GROUP \"ID\"]");
        }
        group = g_strndup(line + 1, (quote ? quote : line + length - 1) - line - 1);
        g_strstrip(group);
        *row = find_group(group);
        if (!*row || (*row)->form == OPTION_LATER) {
            return option_fail(error, "there is no option group \"%s\"%s", group,
                               *row ? " yet in Nandu " NANDU_VERSION : "");
        }
        *value = json_object_new_object();
        if (quote) {
            char *end = strchr(quote + 1, '"');

            if (!end) {
                return option_fail(error, "the id has no closing quote");
            }
            json_object_object_add(*value, "id",
                                   json_object_new_string_len(quote + 1, end - quote - 1));
        }
        collect(options, *row, NULL, *value, false);
        /* A group whose uses count as one has been merged into the earlier one. */
        *value = find_given(options, *row)->value;
        if (!(*row)->merge) {
            *value = ((struct given *)options->given->pdata[options->given->len - 1])->value;
        }
        return true;
    }
    char *equals = strchr(line, '=');
    char *quoted = equals ? g_strstrip(equals + 1) : NULL;
    size_t n = quoted ? strlen(quoted) : 0;

    if (n < 2 || quoted[0] != '"' || quoted[n - 1] != '"') {
        return option_fail(error, "expected KEY = \"VALUE\"");
    }
    if (!*value) {
        return option_fail(error, "no [GROUP] before it");
    }
    *equals = '\0';
    quoted[n - 1] = '\0';
    json_object_object_add(*value, g_strstrip(line), json_object_new_string(quoted + 1));
    return true;
}

static bool read_config(struct system_options *options, const char *path, GError **error)
{
    g_autofree char *text = NULL;
    g_auto(GStrv) lines = NULL;
    const struct option_row *row = NULL;
    json_object *value = NULL;

    if (!g_file_get_contents(path, &text, NULL, error)) {
        g_prefix_error(error, "-readconfig %s: ", path);
        return false;
    }
    lines = g_strsplit(text, "\n", -1);
    for (size_t i = 0; lines[i]; i++) {
        char *line = g_strstrip(lines[i]);

        if (!*line || *line == '#') {
            continue;
        }
        if (!read_config_line(options, line, &row, &value, error)) {
            g_prefix_error(error, "-readconfig %s:%zu: ", path, i + 1);
            return false;
        }
    }
    return true;
}

static bool write_config(const struct system_options *options, const char *path, GError **error)
{
    g_autoptr(GString) text = g_string_new("# nandu config file\n");

    for (guint i = 0; i < options->given->len; i++) {
        const struct given *given = options->given->pdata[i];
        json_object *id = NULL;

        if (!given->row->group || !given->value) {
            continue;
        }
        json_object_object_get_ex(given->value, "id", &id);
        g_string_append_printf(text, "\n[%s", given->row->group);
        if (id) {
            g_string_append_printf(text, " \"%s\"", json_object_get_string(id));
        }
        g_string_append(text, "]\n");
        json_object_object_foreach(given->value, key, member)
        {
            if (member == id) {
                continue;
            }
            if (!json_object_is_type(member, json_type_string)) {
                return option_fail(
                    error,
                    "-writeconfig %s: \"%s\" of -%s was given as JSON, which the file's "
                    "form can't hold",
                    path, key, given->row->name);
            }
            g_string_append_printf(text, "  %s = \"%s\"\n", key, json_object_get_string(member));
        }
    }
    if (g_str_equal(path, "-")) {
        fputs(text->str, stdout);
        return true;
    }
    if (!g_file_set_contents(path, text->str, -1, error)) {
        g_prefix_error(error, "-writeconfig %s: ", path);
        return false;
    }
    return true;
}

/* What one word of argv (with its argument) says. */
static bool take_option(struct system_options *options, const char *word, const char *argument,
                        bool *used, const char **config_out, GError **error)
{
    const char *name = word + (word[1] == '-' ? 2 : 1);
    const struct option_row *row = find_row(name);

    *used = false;
    if (!row) {
        return unknown_option(word, name, error);
    }
    if (row->form == OPTION_FLAG) {
        collect(options, row, NULL, NULL, false);
        return true;
    }
    if (row->form == OPTION_LATER_FLAG) {
        return option_fail(error, "-%s: %s not built yet in Nandu " NANDU_VERSION, row->name,
                           row->argument);
    }
    if (!argument) {
        return option_fail(error, "%s: requires an argument", word);
    }
    *used = true;
    if (g_str_equal(name, "readconfig")) {
        return read_config(options, argument, error);
    }
    if (g_str_equal(name, "set")) {
        return set_in_group(options, argument, error);
    }
    if (g_str_equal(name, "writeconfig")) {
        *config_out = argument;
        return true;
    }
    if (row->form == OPTION_LATER && !row->handle) {
        return option_fail(error, "-%s: %s not built yet in Nandu " NANDU_VERSION, row->name,
                           row->argument);
    }
    return collect_argument(options, row, argument, error);
}

/* As it is called where a command line has only text. */
static const char *text_type_name(const struct qapi_type *type)
{
    switch (type->kind) {
    case QAPI_KIND_BOOL: return "bool (on/off)";
    case QAPI_KIND_INT:
    case QAPI_KIND_UINT: return "num";
    case QAPI_KIND_SIZE: return "size";
    default: return "str";
    }
}

static gint by_text(gconstpointer a, gconstpointer b)
{
    return strcmp(*(const char *const *)a, *(const char *const *)b);
}

static char *member_help(const struct option_row *row)
{
    g_autoptr(GPtrArray) lines = g_ptr_array_new_with_free_func(g_free);
    GString *text = g_string_new(NULL);

    for (uint32_t i = 0; i < row->type->n_members; i++) {
        const struct qapi_member *member = &row->type->members[i];

        g_ptr_array_add(lines, g_strdup_printf("  %s=<%s>\n", member->name,
                                               text_type_name(member->type)));
    }
    g_ptr_array_sort(lines, by_text);
    g_string_printf(text, "%s options:\n", row->group ? row->group : row->name);
    for (guint i = 0; i < lines->len; i++) {
        g_string_append(text, lines->pdata[i]);
    }
    return g_string_free(text, FALSE);
}

static bool apply(struct system_options *options, const struct given *given, GError **error)
{
    const struct option_row *row = given->row;
    g_autofree void *typed = row->type ? g_malloc0(row->type->size) : NULL;
    void *value = typed;
    bool ok = true;

    if (row->type && !options->print && json_object_object_get_ex(given->value, "help", NULL)) {
        options->print = row->handle_help ? row->handle_help() : member_help(row);
        return true;
    }
    if (row->type) {
        ok = given->is_json ? qapi_from_json(row->type, given->value, typed, error)
                            : qapi_from_keyval(row->type, given->value, typed, error);
    }
    ok = ok && row->handle(options, given, &value, error);
    if (row->type) {
        if (value) {
            qapi_clear(row->type, typed);
        } else {
            typed = NULL;
        }
    }
    if (!ok) {
        g_prefix_error(error, "-%s%s%s: ", row->name, given->text ? " " : "",
                       given->text ? given->text : "");
    }
    return ok;
}

static void free_typed(const struct qapi_type *type, GPtrArray *array)
{
    for (guint i = 0; array && i < array->len; i++) {
        qapi_free(type, array->pdata[i]);
    }
    g_clear_pointer(&array, g_ptr_array_unref);
}

bool system_options_parse(struct system_options *options, const char *arch, int argc, char **argv,
                          GError **error)
{
    const char *config_out = NULL;
    const char *slash = strrchr(argv[0], '/');

    *options = (struct system_options){
        .program = slash ? slash + 1 : argv[0],
        .arch = arch,
        .given = g_ptr_array_new_with_free_func(free_given),
        .accels = g_string_new(NULL),
        .machine_properties = json_object_new_object(),
        .add_fds = g_ptr_array_new(),
        .mons = g_ptr_array_new(),
        .traces = g_ptr_array_new(),
        .objects = g_ptr_array_new(),
        .devices = g_ptr_array_new(),
        .chardevs = g_ptr_array_new(),
        .blockdevs = g_ptr_array_new(),
        .drives = g_array_new(FALSE, FALSE, sizeof(struct drive_given)),
        .netdevs = g_ptr_array_new(),
        .nics = g_ptr_array_new(),
        .nets = g_ptr_array_new(),
        .consoles = g_array_new(FALSE, TRUE, sizeof(struct console)),
    };
    for (int i = 1; i < argc; i++) {
        bool used;

        if (argv[i][0] != '-' || !argv[i][1]) {
            return option_fail(
                error, "%s: disk images as arguments are not built yet in Nandu " NANDU_VERSION,
                argv[i]);
        }
        if (!take_option(options, argv[i], argv[i + 1], &used, &config_out, error)) {
            return false;
        }
        i += used;
    }
    for (guint i = 0; i < options->given->len && !options->print; i++) {
        make_text(options->given->pdata[i]);
        if (!apply(options, options->given->pdata[i], error)) {
            return false;
        }
    }
    return !config_out || write_config(options, config_out, error);
}

static void free_drives(GArray *drives)
{
    for (guint i = 0; i < drives->len; i++) {
        json_object_put(g_array_index(drives, struct drive_given, i).value);
    }
    g_array_unref(drives);
}

void system_options_clear(struct system_options *options)
{
    qapi_free(&qapi_type_name_options, options->name);
    qapi_free(&qapi_type_message_options, options->msg);
    qapi_free(&qapi_type_sandbox_options, options->sandbox);
    qapi_free(&qapi_type_run_with_options, options->run_with);
    qapi_free(&qapi_type_boot_options, options->boot);
    qapi_free(&qapi_type_action_options, options->action);
    qapi_free(&qapi_type_overcommit_options, options->overcommit);
    qapi_free(&qapi_type_smp_configuration, options->smp);
    qapi_free(&qapi_type_compat_policy, options->compat);
    free_typed(&qapi_type_add_fd_options, options->add_fds);
    free_typed(&qapi_type_monitor_options, options->mons);
    free_typed(&qapi_type_trace_options, options->traces);
    g_ptr_array_unref(options->objects);
    g_ptr_array_unref(options->devices);
    g_clear_pointer(&options->globals, globals_free);
    g_ptr_array_unref(options->chardevs);
    g_ptr_array_unref(options->blockdevs);
    free_drives(options->drives);
    g_ptr_array_unref(options->netdevs);
    g_ptr_array_unref(options->nics);
    g_ptr_array_unref(options->nets);
    g_array_unref(options->consoles);
    g_string_free(options->accels, TRUE);
    json_object_put(options->machine_properties);
    json_object_put(options->accel_properties);
    g_ptr_array_unref(options->given);
    g_free(options->print);
}

char *system_options_help(const char *program, const char *arch)
{
    g_autoptr(GString) s = g_string_new(NULL);
    g_autoptr(GString) later = g_string_new(NULL);
    const struct option_row *row;

    g_string_append_printf(
        s, "usage: %s [options]\n\nA %s machine.  Options (one dash or two):\n\n", program, arch);
    for (size_t i = 0; (row = nth_row(i)); i++) {
        if (row->form == OPTION_LATER || row->form == OPTION_LATER_FLAG) {
            g_string_append_printf(later, " -%s", row->name);
        } else if (row->help) {
            g_auto(GStrv) lines = g_strsplit(row->help, "\n", -1);

            g_string_append_printf(s, "-%s%s%s\n", row->name, row->argument ? " " : "",
                                   row->argument ? row->argument : "");
            for (size_t l = 0; lines[l]; l++) {
                g_string_append_printf(s, "                %s\n", lines[l]);
            }
        }
    }
    g_string_append_printf(s, "\nKnown, and not built yet:%s\n", later->str);
    return g_string_free(g_steal_pointer(&s), FALSE);
}

/* Scalars of a type as parameters; members that are structures in turn as NAME.MEMBER. */
static void list_members(const struct qapi_type *type, const char *prefix,
                         struct qapi_command_line_option_info *info)
{
    for (uint32_t i = 0; i < type->n_members; i++) {
        const struct qapi_member *member = &type->members[i];
        g_autofree char *name = g_strconcat(prefix, member->name, NULL);
        struct qapi_command_line_parameter_info *parameter;

        if (member->type->kind == QAPI_KIND_STRUCT) {
            g_autofree char *deeper = g_strconcat(name, ".", NULL);

            list_members(member->type, deeper, info);
            continue;
        }
        parameter =
            qapi_list_append(&qapi_type_command_line_parameter_info_list, &info->parameters);
        parameter->name = g_steal_pointer(&name);
        switch (member->type->kind) {
        case QAPI_KIND_BOOL: parameter->type = QAPI_COMMAND_LINE_PARAMETER_TYPE_BOOLEAN; break;
        case QAPI_KIND_INT:
        case QAPI_KIND_UINT: parameter->type = QAPI_COMMAND_LINE_PARAMETER_TYPE_NUMBER; break;
        case QAPI_KIND_SIZE: parameter->type = QAPI_COMMAND_LINE_PARAMETER_TYPE_SIZE; break;
        default: parameter->type = QAPI_COMMAND_LINE_PARAMETER_TYPE_STRING;
        }
    }
}

/* Character devices know their own. */
static void list_chardev_option(void *opaque, const char *name,
                                enum qapi_command_line_parameter_type type)
{
    struct qapi_command_line_option_info *info = opaque;
    struct qapi_command_line_parameter_info *parameter =
        qapi_list_append(&qapi_type_command_line_parameter_info_list, &info->parameters);

    parameter->name = g_strdup(name);
    parameter->type = type;
}

bool system_options_list(const char *option, struct qapi_command_line_option_info_list *ret,
                         GError **error)
{
    const struct option_row *row;

    for (size_t i = 0; (row = nth_row(i)); i++) {
        struct qapi_command_line_option_info *info;

        if (!row->group || row->form == OPTION_LATER ||
            (option && !g_str_equal(option, row->group))) {
            continue;
        }
        info = qapi_list_append(&qapi_type_command_line_option_info_list, ret);
        info->option = g_strdup(row->group);
        if (row->type) {
            list_members(row->type, "", info);
        } else if (g_str_equal(row->group, "chardev")) {
            chardev_foreach_option(list_chardev_option, info);
        }
    }
    if (option && !ret->n) {
        return option_fail(error, "invalid option name: %s", option);
    }
    return true;
}
