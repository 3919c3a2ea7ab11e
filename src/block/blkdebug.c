/*
 * Driver blkdebug: a filter for tests. Rules wait for an event (something that a driver above does,
 * or a request to this node); then they make requests fail, change a state that other rules ask
 * for, or hold the request.
 */
#include "block/blkdebug.h"

#include <errno.h>
#include <string.h>

#include "block/block_priv.h"

/* ---- Events ---- */

static void hold(struct blkdebug *s, const struct blkdebug_rule *rule)
{
    struct blkdebug_held held = {g_strdup(rule->tag), coroutine_self(), false};

    g_queue_push_tail(&s->held, &held);
    while (!held.go) {
        g_mutex_unlock(&s->lock);
        co_yield ();
        g_mutex_lock(&s->lock);
    }
    g_free(held.tag);
}

static struct blkdebug_rule *find_break(const struct blkdebug *s, enum qapi_blkdebug_event event)
{
    for (guint i = 0; i < s->rules->len; i++) {
        struct blkdebug_rule *rule = s->rules->pdata[i];

        if (rule->action == BLKDEBUG_SUSPEND && rule->event == event) {
            return rule;
        }
    }
    return NULL;
}

/* The rules of an event decide together which errors are made from now on. */
static void take_effect(struct blkdebug *s, enum qapi_blkdebug_event event)
{
    int64_t state = s->state;
    bool injects = false;

    for (guint i = 0; i < s->rules->len; i++) {
        struct blkdebug_rule *rule = s->rules->pdata[i];

        if (rule->event != event || rule->spent || (rule->state && rule->state != s->state)) {
            continue;
        }
        if (rule->action == BLKDEBUG_SET_STATE) {
            state = rule->new_state;
        } else if (rule->action == BLKDEBUG_INJECT) {
            for (guint j = 0; !injects && j < s->rules->len; j++) {
                ((struct blkdebug_rule *)s->rules->pdata[j])->active = false;
            }
            injects = rule->active = true;
        }
    }
    s->state = state;
}

static void co_debug_event(struct block_node *node, enum qapi_blkdebug_event event)
{
    struct blkdebug *s = node->state;
    struct blkdebug_rule *rule;

    g_mutex_lock(&s->lock);
    take_effect(s, event);
    rule = coroutine_self() ? find_break(s, event) : NULL;
    if (rule) {
        struct blkdebug_rule mine = {.tag = g_strdup(rule->tag)};

        /* One request: the break is used up. */
        g_ptr_array_remove(s->rules, rule);
        hold(s, &mine);
        g_free(mine.tag);
    }
    g_mutex_unlock(&s->lock);
}

/* The error that the request gets, or 0. */
static int co_check_rules(struct block_node *node, enum qapi_blkdebug_io_type type, uint64_t offset,
                          uint64_t bytes)
{
    struct blkdebug *s = node->state;
    int error = 0;
    bool immediately = false;

    g_mutex_lock(&s->lock);
    for (guint i = 0; i < s->rules->len && !error; i++) {
        struct blkdebug_rule *rule = s->rules->pdata[i];

        if (!rule->active || !(rule->iotypes & 1u << type)) {
            continue;
        }
        if (rule->offset < 0 || (bytes && (uint64_t)rule->offset >= offset &&
                                 (uint64_t)rule->offset - offset < bytes)) {
            error = rule->error;
            immediately = rule->immediately;
            if (rule->once) {
                rule->active = false;
                rule->spent = true;
            }
            break;
        }
    }
    g_mutex_unlock(&s->lock);
    if (error && !immediately) {
        coroutine_wake(coroutine_self());
        co_yield ();
    }
    return -error;
}

/* ---- Breaks ---- */

static bool set_break(struct block_node *node, const char *event, const char *tag, GError **error)
{
    struct blkdebug *s = node->state;
    struct blkdebug_rule rule = {.action = BLKDEBUG_SUSPEND};

    while (rule.event < QAPI_BLKDEBUG_EVENT__COUNT &&
           !g_str_equal(qapi_enum_name(&qapi_type_blkdebug_event, (int)rule.event), event)) {
        rule.event++;
    }
    if (rule.event == QAPI_BLKDEBUG_EVENT__COUNT) {
        return block_error(error, "there is no event '%s'", event);
    }
    rule.tag = g_strdup(tag);
    g_mutex_lock(&s->lock);
    g_ptr_array_add(s->rules, g_memdup2(&rule, sizeof(rule)));
    g_mutex_unlock(&s->lock);
    return true;
}

/* Those of the tag (the first one only, unless all); with the lock. */
static bool let_go(struct blkdebug *s, const char *tag, bool all)
{
    bool any = false;
    GList *next;

    for (GList *link = s->held.head; link && (all || !any); link = next) {
        struct blkdebug_held *held = link->data;

        next = link->next;
        if (g_str_equal(held->tag, tag)) {
            g_queue_delete_link(&s->held, link);
            held->go = any = true;
            coroutine_wake(held->co);
        }
    }
    return any;
}

static bool remove_break(struct block_node *node, const char *tag)
{
    struct blkdebug *s = node->state;
    bool any = false;

    g_mutex_lock(&s->lock);
    for (guint i = s->rules->len; i-- > 0;) {
        const struct blkdebug_rule *rule = s->rules->pdata[i];

        if (rule->action == BLKDEBUG_SUSPEND && g_str_equal(rule->tag, tag)) {
            g_ptr_array_remove_index(s->rules, i);
            any = true;
        }
    }
    any |= let_go(s, tag, true);
    g_mutex_unlock(&s->lock);
    return any;
}

static bool resume(struct block_node *node, const char *tag)
{
    struct blkdebug *s = node->state;
    bool any;

    g_mutex_lock(&s->lock);
    any = let_go(s, tag, false);
    g_mutex_unlock(&s->lock);
    return any;
}

static bool is_suspended(struct block_node *node, const char *tag)
{
    struct blkdebug *s = node->state;
    bool any = false;

    g_mutex_lock(&s->lock);
    for (GList *link = s->held.head; link; link = link->next) {
        any |= g_str_equal(((const struct blkdebug_held *)link->data)->tag, tag);
    }
    g_mutex_unlock(&s->lock);
    return any;
}

static const struct block_debug_ops debug_ops = {
    .set_break = set_break,
    .remove_break = remove_break,
    .resume = resume,
    .is_suspended = is_suspended,
};

struct block_node *block_debug_node(struct block_node *node)
{
    while (node && !node->driver->debug) {
        struct block_edge *below = block_node_primary(node);

        below = below ? below : block_node_filtered(node);
        node = below ? below->node : NULL;
    }
    return node;
}

/* ---- Open ---- */

static bool is_power(int64_t n)
{
    return n > 0 && !(n & (n - 1));
}

static bool check_alignment(struct block_node *node, const char *name, bool has, int64_t value,
                            bool power, uint32_t align, uint32_t *limit, GError **error)
{
    if (!has || (!value && !g_str_equal(name, "align"))) {
        return true;
    }
    if (value <= 0 || value > INT32_MAX || value % align || (power && !is_power(value))) {
        return block_error(error, "Cannot meet constraints with %s %" G_GINT64_FORMAT, name,
                            value);
    }
    *limit = (uint32_t)value;
    return true;
}

static bool take_limits(struct block_node *node, const struct qapi_blockdev_options_blkdebug *o,
                        GError **error)
{
    struct blkdebug *s = node->state;
    uint32_t align = s->image->node->limits.request_align;

    if (!check_alignment(node, "align", o->has_align, o->align, true, 1, &s->limits.request_align,
                         error)) {
        return false;
    }
    if (s->limits.request_align > BLOCK_ZEROES) {
        return block_error(error,
                            "Cannot meet constraints with align %" PRIu32 ": at most %d",
                            s->limits.request_align, BLOCK_ZEROES);
    }
    align = MAX(align, s->limits.request_align);
    return check_alignment(node, "max-transfer", o->has_max_transfer, o->max_transfer, false, align,
                           &s->limits.max_transfer, error) &&
           check_alignment(node, "opt-write-zero", o->has_opt_write_zero, o->opt_write_zero, true,
                           align, &s->limits.zeroes_align, error) &&
           check_alignment(node, "max-write-zero", o->has_max_write_zero, o->max_write_zero, false,
                           MAX(s->limits.zeroes_align, align), &s->limits.max_zeroes, error) &&
           check_alignment(node, "opt-discard", o->has_opt_discard, o->opt_discard, true, align,
                           &s->limits.discard_align, error) &&
           check_alignment(node, "max-discard", o->has_max_discard, o->max_discard, false,
                           MAX(s->limits.discard_align, align), &s->limits.max_discard, error);
}

static unsigned permissions(const struct qapi_block_permission_list *list)
{
    static const unsigned bits[] = {
        [QAPI_BLOCK_PERMISSION_CONSISTENT_READ] = BLOCK_PERM_CONSISTENT_READ,
        [QAPI_BLOCK_PERMISSION_WRITE] = BLOCK_PERM_WRITE,
        [QAPI_BLOCK_PERMISSION_WRITE_UNCHANGED] = BLOCK_PERM_WRITE_UNCHANGED,
        [QAPI_BLOCK_PERMISSION_RESIZE] = BLOCK_PERM_RESIZE,
    };
    unsigned all = 0;

    for (size_t i = 0; i < list->n; i++) {
        all |= bits[list->v[i]];
    }
    return all;
}

static bool co_open(struct block_node *node, const struct qapi_blockdev_options *options,
                    GError **error)
{
    const struct qapi_blockdev_options_blkdebug *o = &options->u.blkdebug;
    struct blkdebug *s = node->state;

    g_mutex_init(&s->lock);
    s->locked = true;
    s->rules = g_ptr_array_new_with_free_func((GDestroyNotify)blkdebug_rule_free);
    s->state = 1;
    s->take_perms = permissions(&o->take_child_perms);
    s->unshare_perms = permissions(&o->unshare_child_perms);
    if (!blkdebug_read_rules(node, o, error)) {
        return false;
    }
    s->image = co_block_open_child(node, "image", o->image,
                                   BLOCK_ROLE_FILTERED | BLOCK_ROLE_PRIMARY, error);
    if (!s->image || !take_limits(node, o, error)) {
        return false;
    }
    node->length = s->image->node->length;
    node->supported_write_flags =
        s->image->node->supported_write_flags & ~(unsigned)BLOCK_REGISTERED;
    node->supported_zeroes_flags = s->image->node->supported_zeroes_flags;
    take_effect(s, QAPI_BLKDEBUG_EVENT_NONE);
    return true;
}

static void co_close(struct block_node *node)
{
    struct blkdebug *s = node->state;

    if (s->locked) {
        g_ptr_array_unref(s->rules);
        g_mutex_clear(&s->lock);
    }
}

static void refresh_limits(struct block_node *node)
{
    const struct blkdebug *s = node->state;
    struct block_limits *to = &node->limits;

    *to = s->image->node->limits;
    to->request_align = MAX(to->request_align, s->limits.request_align);
    to->max_transfer = s->limits.max_transfer ? s->limits.max_transfer : to->max_transfer;
    to->zeroes_align = s->limits.zeroes_align ? s->limits.zeroes_align : to->zeroes_align;
    to->max_zeroes = s->limits.max_zeroes ? s->limits.max_zeroes : to->max_zeroes;
    to->discard_align = s->limits.discard_align ? s->limits.discard_align : to->discard_align;
    to->max_discard = s->limits.max_discard ? s->limits.max_discard : to->max_discard;
}

static void child_perm(const struct block_node *node, const struct block_edge *edge, unsigned perm,
                       unsigned shared, unsigned *need, unsigned *share)
{
    const struct blkdebug *s = node->state;

    *need = perm | s->take_perms;
    *share = shared & ~s->unshare_perms;
}

/* "blkdebug:CONFIG:IMAGE" */
static bool parse_filename(const char *filename, json_object *options, GError **error)
{
    const char *config = filename + strlen("blkdebug:"), *image = strchr(config, ':');
    json_object *child;

    if (!image || !image[1]) {
        return block_error(
            error, "blkdebug requires both config file and image path: blkdebug:CONFIG:IMAGE");
    }
    if (image > config) {
        json_object_object_add(options, "config",
                               json_object_new_string_len(config, (int)(image - config)));
    }
    child = json_object_new_object();
    json_object_object_add(child, "driver", json_object_new_string("file"));
    json_object_object_add(child, "filename", json_object_new_string(image + 1));
    json_object_object_add(options, "image", child);
    return true;
}

/* ---- Requests ---- */

static int co_read(struct block_node *node, uint64_t offset, uint64_t bytes,
                   struct block_buffer buffer, unsigned flags)
{
    struct blkdebug *s = node->state;
    int result = co_check_rules(node, QAPI_BLKDEBUG_IO_TYPE_READ, offset, bytes);

    return result < 0 ? result : co_child_read(s->image, offset, bytes, buffer, flags);
}

static int co_write(struct block_node *node, uint64_t offset, uint64_t bytes,
                    struct block_buffer buffer, unsigned flags)
{
    struct blkdebug *s = node->state;
    int result;

    co_debug_event(node, QAPI_BLKDEBUG_EVENT_PWRITEV);
    result = co_check_rules(node, QAPI_BLKDEBUG_IO_TYPE_WRITE, offset, bytes);
    if (result >= 0) {
        result = co_child_write(s->image, offset, bytes, buffer, flags);
    }
    co_debug_event(node, QAPI_BLKDEBUG_EVENT_PWRITEV_DONE);
    return result;
}

static int co_write_zeroes(struct block_node *node, uint64_t offset, uint64_t bytes, unsigned flags)
{
    struct blkdebug *s = node->state;
    int result;

    co_debug_event(node, QAPI_BLKDEBUG_EVENT_PWRITEV_ZERO);
    result = co_check_rules(node, QAPI_BLKDEBUG_IO_TYPE_WRITE_ZEROES, offset, bytes);
    if (result >= 0) {
        result = co_child_write_zeroes(s->image, offset, bytes, flags);
    }
    co_debug_event(node, QAPI_BLKDEBUG_EVENT_PWRITEV_DONE);
    return result;
}

static int co_discard(struct block_node *node, uint64_t offset, uint64_t bytes)
{
    struct blkdebug *s = node->state;
    int result = co_check_rules(node, QAPI_BLKDEBUG_IO_TYPE_DISCARD, offset, bytes);

    return result < 0 ? result : co_child_discard(s->image, offset, bytes);
}

static int co_flush(struct block_node *node)
{
    co_debug_event(node, QAPI_BLKDEBUG_EVENT_FLUSH_TO_OS);
    co_debug_event(node, QAPI_BLKDEBUG_EVENT_FLUSH_TO_DISK);
    return co_check_rules(node, QAPI_BLKDEBUG_IO_TYPE_FLUSH, 0, 0);
}

static int co_status(struct block_node *node, uint64_t offset, uint64_t bytes,
                     struct block_status *status)
{
    struct blkdebug *s = node->state;
    int result = co_check_rules(node, QAPI_BLKDEBUG_IO_TYPE_BLOCK_STATUS, offset, bytes);

    return result < 0 ? result : co_node_status(s->image->node, offset, bytes, status);
}

static const char *const protocols[] = {"blkdebug", NULL};

static const struct block_driver blkdebug = {
    .name = "blkdebug",
    .kind = QAPI_BLOCKDEV_DRIVER_BLKDEBUG,
    .protocols = protocols,
    .is_filter = true,
    .state_size = sizeof(struct blkdebug),
    .parse_filename = parse_filename,
    .co_open = co_open,
    .co_close = co_close,
    .refresh_limits = refresh_limits,
    .child_perm = child_perm,
    .co_read = co_read,
    .co_write = co_write,
    .co_write_zeroes = co_write_zeroes,
    .co_discard = co_discard,
    .co_flush = co_flush,
    .co_status = co_status,
    .co_debug_event = co_debug_event,
    .debug = &debug_ops,
};
BLOCK_DRIVER(blkdebug);
