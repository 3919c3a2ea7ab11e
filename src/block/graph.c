/* Nodes, their names and their life. Main thread. */
#include <assert.h>
#include <string.h>
#include <sys/mman.h>

#include "block/block_priv.h"
#include "block/delay.h"
#include "qapi/error.h"

enum { MAX_NAME = 31 };

bool block_error(GError **error, const char *format, ...)
{
    g_autofree char *text = NULL;
    va_list args;

    va_start(args, format);
    text = g_strdup_vprintf(format, args);
    va_end(args);
    for (char *c = text; *c; c++) {
        *c = g_ascii_iscntrl(*c) ? '?' : *c;
    }
    g_set_error_literal(error, QAPI_ERROR, QAPI_ERROR_GENERIC, text);
    return false;
}

bool block_error_errno(GError **error, int ret, const char *what)
{
    return block_error(error, "%s: %s", what, g_strerror(-ret));
}

struct block_graph *block_graph_new(struct object *root)
{
    struct block_graph *graph = g_new0(struct block_graph, 1);

    graph->root = root;
    graph->tmp_dir = g_strdup("/var/tmp");
    graph->buffers = block_buffers_new();
    graph->delays = block_delays_new();
    graph->nodes = g_ptr_array_new();
    graph->by_name = g_hash_table_new(g_str_hash, g_str_equal);
    graph->users = g_ptr_array_new();
    graph->drives = g_ptr_array_new();
    graph->drains = g_ptr_array_new();
    g_mutex_init(&graph->drain_lock);
    g_queue_init(&graph->drainers);
    co_queue_init(&graph->idle);
    graph->zeroes =
        mmap(NULL, BLOCK_ZEROES, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (graph->zeroes == MAP_FAILED) {
        g_error("no memory for the block graph"); /* as g_malloc does */
    }
    return graph;
}

/* What blockdev-add made, from the top: a node that others still use stays until they are gone. */
static void drop_owned(struct block_graph *graph)
{
    bool found;

    do {
        found = false;
        for (guint i = graph->nodes->len; i-- > 0 && !found;) {
            struct block_node *node = graph->nodes->pdata[i];

            if ((node->open_flags & BLOCK_OPEN_MONITOR_OWNED) && !node->parents->len) {
                node->open_flags &= ~BLOCK_OPEN_MONITOR_OWNED;
                co_block_node_unref(node);
                found = true;
            }
        }
    } while (found);
}

void co_block_graph_free(struct block_graph *graph)
{
    while (graph->n_busy) {
        co_queue_wait(&graph->idle, NULL);
    }
    block_drives_free(graph);
    assert(!graph->users->len);
    drop_owned(graph);
    assert(!graph->nodes->len && !graph->drains->len);
    g_free(graph->tmp_dir);
    block_buffers_unref(graph->buffers);
    g_ptr_array_unref(graph->nodes);
    g_ptr_array_unref(graph->users);
    g_ptr_array_unref(graph->drives);
    g_ptr_array_unref(graph->drains);
    g_hash_table_destroy(graph->by_name);
    g_mutex_clear(&graph->drain_lock);
    block_delays_free(graph->delays);
    co_queue_clear(&graph->idle);
    munmap(graph->zeroes, BLOCK_ZEROES);
    g_free(graph);
}

void block_graph_set_events(struct block_graph *graph, struct qapi_event_sink *events)
{
    graph->events = events;
}

void block_graph_set_tmp_dir(struct block_graph *graph, const char *dir)
{
    g_free(graph->tmp_dir);
    graph->tmp_dir = g_strdup(dir);
}

struct object *block_graph_root(const struct block_graph *graph)
{
    return graph->root;
}

struct block_node *block_node_find(struct block_graph *graph, const char *name, GError **error)
{
    struct block_node *node = g_hash_table_lookup(graph->by_name, name);
    const struct block_drive *drive = node ? NULL : block_drive_find(graph, name);

    if (drive) {
        node = drive->node;
    }
    if (!node) {
        block_error(error, "Cannot find device='' nor node-name='%s'", name);
    }
    return node;
}

/* ---- Without a loop that runs ---- */

struct run {
    event_fn *fn;
    void *opaque;
    bool over;
};

static void run_it(void *opaque)
{
    struct run *run = opaque;

    run->fn(run->opaque);
    run->over = true;
}

void block_run(struct event_loop *loop, event_fn *fn, void *opaque)
{
    struct run run = {fn, opaque, false};

    assert(!coroutine_self() && !event_loop_current());
    coroutine_start(loop, run_it, &run);
    while (!run.over) {
        event_loop_iterate(loop, true);
    }
}

/* ---- Nodes ---- */

void block_graph_foreach(struct block_graph *graph, block_visit_node *fn, void *opaque)
{
    for (guint i = 0; i < graph->nodes->len; i++) {
        fn(graph->nodes->pdata[i], opaque);
    }
}

struct block_node *block_node_new(struct block_graph *graph, const struct block_driver *driver)
{
    struct block_node *node = g_new0(struct block_node, 1);

    node->graph = graph;
    node->driver = driver;
    node->state = driver->state_size ? g_malloc0(driver->state_size) : NULL;
    node->children = g_ptr_array_new();
    node->parents = g_ptr_array_new();
    node->refs = 1;
    node->limits.request_align = 1;
    node->limits.memory_align = 1;
    if (driver->is_filter) {
        node->supported_write_flags = BLOCK_FUA | BLOCK_UNCHANGED | BLOCK_REGISTERED;
        node->supported_zeroes_flags =
            BLOCK_FUA | BLOCK_MAY_UNMAP | BLOCK_NO_FALLBACK | BLOCK_UNCHANGED;
    }
    block_node_requests_init(node);
    return node;
}

/* What a user may choose; the core's own begin with "#". */
static bool is_valid(const char *name)
{
    return object_id_valid(name);
}

bool block_node_set_name(struct block_node *node, const char *name, GError **error)
{
    struct block_graph *graph = node->graph;

    if (!name) {
        do {
            g_free(node->name);
            node->name = g_strdup_printf("#block%03" G_GUINT64_FORMAT, graph->next_name++);
        } while (g_hash_table_contains(graph->by_name, node->name));
    } else if (!is_valid(name)) {
        return block_error(
            error, "Invalid node-name: '%s'; letters, digits, '-', '.' and '_', a letter first",
            name);
    } else if (strlen(name) > MAX_NAME) {
        return block_error(error, "Node name too long: '%s' has more than %d characters", name,
                           MAX_NAME);
    } else if (g_hash_table_contains(graph->by_name, name)) {
        return block_error(error, "Duplicate nodes with node-name='%s'", name);
    } else if (block_drive_find(graph, name)) {
        return block_error(error, "node-name=%s is conflicting with a device id", name);
    } else {
        node->name = g_strdup(name);
    }
    g_hash_table_insert(graph->by_name, node->name, node);
    g_ptr_array_add(graph->nodes, node);
    return true;
}

void block_node_clear_name(struct block_node *node)
{
    if (node->name && g_hash_table_lookup(node->graph->by_name, node->name) == node) {
        g_hash_table_remove(node->graph->by_name, node->name);
        g_ptr_array_remove(node->graph->nodes, node);
    }
}

struct block_node *block_node_ref(struct block_node *node)
{
    node->refs++;
    return node;
}

void co_block_node_unref(struct block_node *node)
{
    if (!node || --node->refs) {
        return;
    }
    assert(!node->parents->len);
    if (!node->read_only && node->name) {
        co_node_flush(node);
    }
    if (node->driver->co_close) {
        node->driver->co_close(node);
    }
    while (node->children->len) {
        struct block_edge *edge = node->children->pdata[node->children->len - 1];
        struct block_node *child = edge->node;

        block_edge_remove(edge);
        co_block_node_unref(child);
    }
    block_node_clear_name(node);
    block_node_requests_free(node);
    g_ptr_array_unref(node->children);
    g_ptr_array_unref(node->parents);
    json_object_put(node->options);
    g_free(node->backing_name);
    g_free(node->backing_format);
    g_free(node->filename);
    g_free(node->name);
    g_free(node->state);
    g_free(node);
}

void block_graph_enter(struct block_graph *graph)
{
    graph->n_busy++;
}

void block_graph_leave(struct block_graph *graph)
{
    if (--graph->n_busy == 0) {
        co_queue_wake_all(&graph->idle);
    }
}

static void close_later(void *opaque)
{
    struct block_node *node = opaque;
    struct block_graph *graph = node->graph;

    co_block_node_unref(node);
    block_graph_leave(graph);
}

void block_node_unref(struct block_node *node)
{
    if (node->refs > 1) {
        node->refs--;
    } else {
        block_graph_enter(node->graph);
        coroutine_start(object_context(node->graph->root)->loop, close_later, node);
    }
}

static struct block_edge *child_of_role(const struct block_node *node, unsigned role)
{
    for (guint i = 0; i < node->children->len; i++) {
        struct block_edge *edge = node->children->pdata[i];

        if (edge->role & role) {
            return edge;
        }
    }
    return NULL;
}

struct block_edge *block_node_filtered(const struct block_node *node)
{
    return node->driver->is_filter ? child_of_role(node, BLOCK_ROLE_FILTERED) : NULL;
}

struct block_edge *block_node_primary(const struct block_node *node)
{
    struct block_edge *edge = child_of_role(node, BLOCK_ROLE_PRIMARY | BLOCK_ROLE_FILTERED);

    return edge ? edge : child_of_role(node, BLOCK_ROLE_DATA);
}

char *block_user_describe(const struct block_user *user)
{
    char *text = user->ops && user->ops->describe ? user->ops->describe(user->opaque) : NULL;

    return text ? text : g_strdup(user->name ? user->name : "unnamed block device");
}

char *block_edge_describe(const struct block_edge *edge)
{
    g_autofree char *user = NULL;

    if (edge->parent) {
        return g_strdup_printf("node '%s'",
                               edge->parent->name ? edge->parent->name : "being opened");
    }
    user = block_user_describe(edge->user);
    return g_strdup_printf("block device '%s'", user);
}

bool co_block_graph_delete(struct block_graph *graph, const char *name, GError **error)
{
    struct block_node *node = g_hash_table_lookup(graph->by_name, name);

    if (!node) {
        return block_error(error, "Failed to find node with node-name='%s'", name);
    }
    if (!(node->open_flags & BLOCK_OPEN_MONITOR_OWNED)) {
        return block_error(error, "Node %s is not owned by the monitor", name);
    }
    if (node->parents->len) {
        g_autofree char *who = block_edge_describe(node->parents->pdata[0]);

        return block_error(error, "Node %s is in use: by %s", name, who);
    }
    node->open_flags &= ~BLOCK_OPEN_MONITOR_OWNED;
    co_block_node_unref(node);
    return true;
}
