/*
 * Random bytes: a queue of requests that a source serves from the front.
 */
#include "object/rng.h"

#include <errno.h>
#include <fcntl.h>
#include <unistd.h>

#include "qapi/error.h"
#include "util/event_loop.h"
#include "util/fdset.h"
#include "util/guest_random.h"
#include "util/log.h"

enum { MAX_CHUNK = 4096 };          /* bytes that are delivered at once */

struct rng_backend {
    struct object object;
    GQueue requests;                /* struct rng_wait */
};

struct rng_wait {
    rng_receive *receive;
    void *opaque;
    size_t size;
};

/* class_data: called when there is a first request (wanted) and when there is none any more. */
struct rng_class {
    void (*want)(struct rng_backend *rng, bool wanted);
};

static void tell(struct rng_backend *rng)
{
    const struct rng_class *class = object_class_data(&rng->object);

    class->want(rng, !g_queue_is_empty(&rng->requests));
}

struct rng_backend *rng_find(struct object *root, const char *id, GError **error)
{
    struct object *obj = object_resolve(root, id, NULL, NULL);

    if (!obj || !object_is(obj, "rng-backend") || !obj->completed) {
        g_set_error(error, QAPI_ERROR, obj ? QAPI_ERROR_GENERIC : QAPI_ERROR_DEVICE_NOT_FOUND,
                    obj ? "'%s' is not a source of random bytes" : "Device '%s' not found", id);
        return NULL;
    }
    return (struct rng_backend *)obj;
}

void rng_request(struct rng_backend *rng, size_t size, rng_receive *receive, void *opaque)
{
    struct rng_wait *request = g_new(struct rng_wait, 1);

    g_assert(size > 0);
    *request = (struct rng_wait){.receive = receive, .opaque = opaque, .size = size};
    g_queue_push_tail(&rng->requests, request);
    if (g_queue_get_length(&rng->requests) == 1) {
        tell(rng);
    }
}

void rng_cancel(struct rng_backend *rng, void *opaque)
{
    for (GList *link = rng->requests.head, *next; link; link = next) {
        next = link->next;
        if (((struct rng_wait *)link->data)->opaque == opaque) {
            g_free(link->data);
            g_queue_delete_link(&rng->requests, link);
        }
    }
    if (g_queue_is_empty(&rng->requests)) {
        tell(rng);
    }
}

/* How many bytes the first request wants now; 0: there is none. */
static size_t wanted_size(const struct rng_backend *rng)
{
    const struct rng_wait *request = g_queue_peek_head((GQueue *)&rng->requests);

    return request ? MIN(request->size, MAX_CHUNK) : 0;
}

/* Answers the first request. The receiver may ask again or cancel. */
static void deliver(struct rng_backend *rng, const uint8_t *data, size_t size)
{
    g_autofree struct rng_wait *request = g_queue_pop_head(&rng->requests);

    request->receive(request->opaque, data, size);
}

static void rng_init(struct object *obj)
{
    g_queue_init(&((struct rng_backend *)obj)->requests);
}

static void rng_finalize(struct object *obj)
{
    g_queue_clear_full(&((struct rng_backend *)obj)->requests, g_free);
}

static bool get_opened(struct object *obj, const struct property *prop, void *value, GError **error)
{
    *(bool *)value = obj->completed;
    return true;
}

static const struct property rng_properties[] = {
    {.name = "opened", .type = &qapi_type_bool, .get = get_opened},
};

static const char *const rng_interfaces[] = {"user-creatable", NULL};

static const struct object_type rng_type = {
    .name = "rng-backend",
    .parent = "object",
    .abstract = true,
    .instance_size = sizeof(struct rng_backend),
    .properties = rng_properties,
    .n_properties = G_N_ELEMENTS(rng_properties),
    .interfaces = rng_interfaces,
    .init = rng_init,
    .finalize = rng_finalize,
};
OBJECT_TYPE(rng_type);

/* rng-builtin: the kernel's bytes, or those of -seed. Neither has to be waited for. */

struct rng_builtin {
    struct rng_backend parent;
    struct guest_random *source;
    struct bottom_half *serve;
};

static void serve_builtin(void *opaque)
{
    struct rng_builtin *builtin = opaque;
    struct rng_backend *rng = &builtin->parent;
    size_t size = wanted_size(rng);
    uint8_t data[MAX_CHUNK];

    if (!size) {
        return;
    }
    /* One request a turn: a guest that asks without end doesn't keep the loop from other work. */
    if (g_queue_get_length(&rng->requests) > 1) {
        bottom_half_schedule(builtin->serve);
    }
    guest_random_fill(builtin->source, data, size);
    deliver(rng, data, size);
}

static void want_builtin(struct rng_backend *rng, bool wanted)
{
    struct rng_builtin *builtin = (struct rng_builtin *)rng;

    if (wanted) {
        bottom_half_schedule(builtin->serve);
    } else {
        bottom_half_cancel(builtin->serve);
    }
}

static bool builtin_complete(struct object *obj, GError **error)
{
    struct rng_builtin *builtin = (struct rng_builtin *)obj;
    const struct object_context *context = object_context(obj);

    builtin->source = context->random;
    builtin->serve = bottom_half_new(context->loop, serve_builtin, builtin);
    return true;
}

static void builtin_finalize(struct object *obj)
{
    struct rng_builtin *builtin = (struct rng_builtin *)obj;

    if (builtin->serve) {
        bottom_half_free(builtin->serve);
    }
}

static const struct rng_class builtin_class = {.want = want_builtin};

static const struct object_type builtin_type = {
    .name = "rng-builtin",
    .parent = "rng-backend",
    .instance_size = sizeof(struct rng_builtin),
    .class_data = &builtin_class,
    .complete = builtin_complete,
    .finalize = builtin_finalize,
};
OBJECT_TYPE(builtin_type);

/* rng-random: a file, watched while somebody waits for it. */

struct rng_random {
    struct rng_backend parent;
    char *filename;
    struct event_loop *loop;
    struct log *log;
    int fd;
    bool failed;
};

static void read_random(void *opaque);

static void want_random(struct rng_backend *rng, bool wanted)
{
    struct rng_random *random = (struct rng_random *)rng;

    event_loop_watch(random->loop, random->fd, wanted && !random->failed ? read_random : NULL, NULL,
                     random);
}

static void read_random(void *opaque)
{
    struct rng_random *random = opaque;
    struct rng_backend *rng = &random->parent;
    size_t size = wanted_size(rng);
    uint8_t data[MAX_CHUNK];
    ssize_t got;

    if (!size) {
        return;
    }
    got = read(random->fd, data, size);
    if (got < 0 && (errno == EAGAIN || errno == EINTR)) {
        return;
    }
    object_ref(&rng->object);       /* the receiver may be its last user */
    if (got <= 0) {
        /* The guest goes without, as with a device that is slow. */
        random->failed = true;
        log_warn(random->log, "rng-random '%s': no more bytes from '%s': %s", rng->object.name,
                 random->filename, got ? g_strerror(errno) : "end of file");
    } else {
        deliver(rng, data, got);
    }
    tell(rng);
    object_unref(&rng->object);
}

static bool random_complete(struct object *obj, GError **error)
{
    struct rng_random *random = (struct rng_random *)obj;
    const struct object_context *context = object_context(obj);

    random->loop = context->loop;
    random->log = context->log;
    random->fd = fdsets_open(context->fdsets, random->filename, O_RDONLY | O_NONBLOCK, 0, error);
    return random->fd >= 0;
}

static void random_init(struct object *obj)
{
    ((struct rng_random *)obj)->fd = -1;
}

static void random_finalize(struct object *obj)
{
    struct rng_random *random = (struct rng_random *)obj;

    if (random->fd >= 0) {
        event_loop_watch(random->loop, random->fd, NULL, NULL, NULL);
        close(random->fd);
    }
}

static const struct rng_class random_class = {.want = want_random};

static const struct property random_properties[] = {
    PROPERTY("filename", rng_random, filename, qapi_type_str, "/dev/urandom",
             "Where the bytes are read from"),
};

static const struct object_type random_type = {
    .name = "rng-random",
    .parent = "rng-backend",
    .instance_size = sizeof(struct rng_random),
    .properties = random_properties,
    .n_properties = G_N_ELEMENTS(random_properties),
    .class_data = &random_class,
    .init = random_init,
    .complete = random_complete,
    .finalize = random_finalize,
};
OBJECT_TYPE(random_type);
