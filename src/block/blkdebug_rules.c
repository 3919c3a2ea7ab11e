/* Rules of blkdebug, from options and from files: sections of KEY = "VALUE". */
#include <errno.h>
#include <string.h>

#include "block/blkdebug.h"

enum { MAX_CONFIG = 1 << 20, SECTOR = 512 };

void blkdebug_rule_free(struct blkdebug_rule *rule)
{
    g_free(rule->tag);
    g_free(rule);
}

static bool add_inject(struct block_node *node, const struct qapi_blkdebug_inject_error_options *o,
                       GError **error)
{
    struct blkdebug *s = node->state;
    struct blkdebug_rule rule = {
        .action = BLKDEBUG_INJECT, .event = o->event, .state = o->has_state ? o->state : 0};

    rule.error = o->has_errno ? (int)CLAMP(o->errno_, 0, 4095) : EIO;
    rule.offset = o->has_sector && o->sector >= 0 ? (int64_t)((uint64_t)o->sector * SECTOR) : -1;
    rule.once = o->has_once && o->once;
    rule.immediately = o->has_immediately && o->immediately;
    rule.iotypes = o->has_iotype ? 1u << o->iotype
                                 : (1u << QAPI_BLKDEBUG_IO_TYPE__COUNT) - 1 -
                                       (1u << QAPI_BLKDEBUG_IO_TYPE_BLOCK_STATUS);
    if (o->has_sector && (o->sector < -1 || o->sector > INT64_MAX / SECTOR)) {
        return block_error(error, "sector %" G_GINT64_FORMAT " of a rule is out of range",
                            o->sector);
    }
    g_ptr_array_add(s->rules, g_memdup2(&rule, sizeof(rule)));
    return true;
}

static void add_set_state(struct blkdebug *s, const struct qapi_blkdebug_set_state_options *o)
{
    struct blkdebug_rule rule = {
        .action = BLKDEBUG_SET_STATE,
        .event = o->event,
        .state = o->has_state ? o->state : 0,
        .new_state = o->new_state,
    };

    g_ptr_array_add(s->rules, g_memdup2(&rule, sizeof(rule)));
}

/* ---- Files ---- */

/* A section is complete. */
static bool take_section(struct block_node *node, const char *name, json_object *members,
                         GError **error)
{
    struct qapi_blkdebug_inject_error_options inject;
    struct qapi_blkdebug_set_state_options set;
    bool ok;

    if (g_str_equal(name, "inject-error")) {
        if (!qapi_from_keyval(&qapi_type_blkdebug_inject_error_options, members, &inject, error)) {
            return false;
        }
        ok = add_inject(node, &inject, error);
        qapi_clear(&qapi_type_blkdebug_inject_error_options, &inject);
        return ok;
    }
    if (g_str_equal(name, "set-state")) {
        if (!qapi_from_keyval(&qapi_type_blkdebug_set_state_options, members, &set, error)) {
            return false;
        }
        add_set_state(node->state, &set);
        qapi_clear(&qapi_type_blkdebug_set_state_options, &set);
        return true;
    }
    return block_error(error, "there is no group '%s'; there are inject-error and set-state", name);
}

/* KEY = "VALUE" */
static bool take_line(json_object *members, char *line, GError **error)
{
    char *equals = strchr(line, '='), *value, *end;

    if (!equals) {
        return block_error(error, "'%.100s' isn't of the form KEY = \"VALUE\"", line);
    }
    *equals = 0;
    value = g_strstrip(equals + 1);
    end = value + strlen(value);
    if (end - value < 2 || *value != '"' || end[-1] != '"') {
        return block_error(error, "the value of '%.100s' has to be in quotes", g_strstrip(line));
    }
    end[-1] = 0;
    json_object_object_add(members, g_strstrip(line), json_object_new_string(value + 1));
    return true;
}

/* "inject-error" of [inject-error], or [inject-error "id"]; NULL: it isn't one. */
static char *section_name(const char *line)
{
    size_t n = strcspn(line + 1, " \t\"]");

    return line[0] == '[' && strchr(line, ']') && n ? g_strndup(line + 1, n) : NULL;
}

static bool read_lines(struct block_node *node, char *text, unsigned *number, GError **error)
{
    g_autoptr(json_object) members = NULL;
    g_autofree char *section = NULL;
    char *next;

    for (char *line = text; line; line = next, ++*number) {
        g_autofree char *name = NULL;

        next = strchr(line, '\n');
        if (next) {
            *next++ = 0;
        }
        g_strstrip(line);
        if (!*line || *line == '#') {
            continue;
        }
        name = section_name(line);
        if (name) {
            if (section && !take_section(node, section, members, error)) {
                return false;
            }
            g_free(section);
            section = g_steal_pointer(&name);
            g_clear_pointer(&members, json_object_put);
            members = json_object_new_object();
        } else if (!section) {
            return block_error(error, "'%.100s' isn't in a group", line);
        } else if (!take_line(members, line, error)) {
            return false;
        }
    }
    return !section || take_section(node, section, members, error);
}

static bool read_file(struct block_node *node, const char *path, GError **error)
{
    g_autofree char *text = NULL;
    GError *why = NULL;
    unsigned number = 1;
    gsize size;

    if (!g_file_get_contents(path, &text, &size, error)) {
        return false;
    }
    if (size > MAX_CONFIG || strlen(text) != size) {
        return block_error(error, "%s isn't a file with rules", path);
    }
    if (!read_lines(node, text, &number, &why)) {
        block_error(error, "%s:%u: %s", path, number, why->message);
        g_error_free(why);
        return false;
    }
    return true;
}

bool blkdebug_read_rules(struct block_node *node, const struct qapi_blockdev_options_blkdebug *o,
                         GError **error)
{
    if (o->config && *o->config && !read_file(node, o->config, error)) {
        return false;
    }
    for (size_t i = 0; i < o->inject_error.n; i++) {
        if (!add_inject(node, &o->inject_error.v[i], error)) {
            return false;
        }
    }
    for (size_t i = 0; i < o->set_state.n; i++) {
        add_set_state(node->state, &o->set_state.v[i]);
    }
    return true;
}
