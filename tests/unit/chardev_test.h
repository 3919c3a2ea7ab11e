/* What the tests of character devices share: a program around them, a front end, the other end. */
#ifndef NANDU_TESTS_CHARDEV_TEST_H
#define NANDU_TESTS_CHARDEV_TEST_H

#include <errno.h>
#include <fcntl.h>
#include <glib.h>
#include <glib/gstdio.h>
#include <signal.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "chardev/chardev.h"
#include "qapi/command.h"
#include "qapi/qapi_commands.h"
#include "util/clock.h"
#include "util/event_loop_priv.h"
#include "util/fdset.h"
#include "util/log.h"

enum { WAIT_MS = 10000 };

struct fixture {
    struct event_loop *loop;
    struct clocks *clocks;
    struct log *log;
    struct fdsets *fdsets;
    struct object_context object_context;
    struct object *root;
    struct chardev_context context;
    struct qmp_context qmp;
    char *folder;
    char escaped; /* the last key that escape got */
};

/* A front end. */
struct probe {
    struct chardev *chr;
    size_t room;
    bool fills; /* room gets less */
    GByteArray *got;
    GString *events; /* a letter each */
    unsigned writable;
};

static inline size_t probe_can_receive(void *opaque)
{
    return ((struct probe *)opaque)->room;
}

static inline void probe_receive(void *opaque, const uint8_t *data, size_t size)
{
    struct probe *probe = opaque;

    g_assert_cmpuint(size, <=, probe->room);
    probe->room -= probe->fills ? size : 0;
    g_byte_array_append(probe->got, data, size);
}

static inline void probe_event(void *opaque, enum chardev_event event)
{
    g_string_append_c(((struct probe *)opaque)->events,
                      "ocbio"[event] - (event == CHARDEV_MUX_OUT ? 'o' - 'u' : 0));
}

static const struct chardev_frontend_ops probe_ops = {
    .can_receive = probe_can_receive,
    .receive = probe_receive,
    .event = probe_event,
};

static inline void probe_init(struct probe *probe, struct chardev *chr)
{
    g_autoptr(GError) error = NULL;

    *probe = (struct probe){
        .chr = chr, .room = 65536, .got = g_byte_array_new(), .events = g_string_new(NULL)};
    g_assert_true(chardev_attach(chr, &probe_ops, probe, &error));
    g_assert_no_error(error);
}

static inline void probe_clear(struct probe *probe)
{
    if (probe->chr) {
        chardev_detach(probe->chr, probe);
    }
    g_byte_array_unref(probe->got);
    g_string_free(probe->events, true);
}

static inline void count_writable(void *opaque)
{
    ((struct probe *)opaque)->writable++;
}

static inline void record_escape(void *opaque, char key)
{
    ((struct fixture *)opaque)->escaped = key;
}

static inline void set_up(struct fixture *f, gconstpointer data)
{
    g_autoptr(GError) error = NULL;

    memset(f, 0, sizeof(*f));
    signal(SIGPIPE, SIG_IGN);
    f->loop = data ? event_loop_new_with("test", &event_backend_epoll, &error)
                   : event_loop_new("test", &error);
    g_assert_no_error(error);
    f->clocks = clocks_new();
    f->log = log_new("test");
    f->fdsets = fdsets_new();
    f->object_context = (struct object_context){f->loop, f->clocks, f->log, f->fdsets};
    f->root = object_root_new(&f->object_context);
    f->context = (struct chardev_context){
        .root = f->root,
        .loop = f->loop,
        .clocks = f->clocks,
        .log = f->log,
        .fdsets = f->fdsets,
        .escape = record_escape,
        .escape_opaque = f,
    };
    f->qmp = (struct qmp_context){
        .root = f->root, .loop = f->loop, .fdsets = f->fdsets, .chardevs = &f->context};
    f->folder = g_dir_make_tmp("chardev-XXXXXX", &error);
    g_assert_no_error(error);
}

static inline void tear_down(struct fixture *f, gconstpointer data)
{
    GDir *dir;
    const char *name;

    chardev_close_all(f->root);
    for (int i = 0; i < 20; i++) {
        event_loop_iterate(f->loop, false);
    }
    object_unref(f->root);
    fdsets_free(f->fdsets);
    log_free(f->log);
    clocks_unref(f->clocks);
    event_loop_unref(f->loop);
    dir = g_dir_open(f->folder, 0, NULL);
    while ((name = g_dir_read_name(dir))) {
        g_autofree char *path = g_build_filename(f->folder, name, NULL);

        g_unlink(path);
    }
    g_dir_close(dir);
    g_rmdir(f->folder);
    g_free(f->folder);
}

static inline char *in_folder(struct fixture *f, const char *name)
{
    return g_build_filename(f->folder, name, NULL);
}

/* Runs the loop until the condition holds. */
#define RUN_UNTIL(f, condition)                                \
    do {                                                       \
        gint64 end_ = g_get_monotonic_time() + WAIT_MS * 1000; \
        while (!(condition)) {                                 \
            g_assert_cmpint(g_get_monotonic_time(), <, end_);  \
            event_loop_iterate((f)->loop, false);              \
            g_usleep(200);                                     \
        }                                                      \
    } while (0)

static inline void run_a_little(struct fixture *f)
{
    for (int i = 0; i < 30; i++) {
        event_loop_iterate(f->loop, false);
        g_usleep(500);
    }
}

static inline struct chardev *make(struct fixture *f, const char *format, ...) G_GNUC_PRINTF(2, 3);
static inline struct chardev *make(struct fixture *f, const char *format, ...)
{
    g_autoptr(GError) error = NULL;
    g_autofree char *text = NULL;
    struct chardev *chr;
    va_list args;

    va_start(args, format);
    text = g_strdup_vprintf(format, args);
    va_end(args);
    chr = chardev_new_option(&f->context, text, &error);
    g_assert_no_error(error);
    g_assert_nonnull(chr);
    return chr;
}

/* Runs a command; the result, or NULL and what it says. */
static inline json_object *command(struct fixture *f, const char *name, const char *arguments,
                                   char **problem)
{
    g_autoptr(GError) error = NULL;
    g_autoptr(json_object) args = arguments ? json_parse(arguments, &error) : NULL;
    json_object *ret;

    g_assert_no_error(error);
    ret = qapi_invoke(qapi_find_command(&qapi_system_schema, name), &f->qmp, args, &error);
    if (!ret) {
        g_assert_nonnull(error);
        *problem = g_strdup(error->message);
    }
    return ret;
}

static inline void expect(struct fixture *f, const char *name, const char *arguments,
                          const char *answer)
{
    g_autofree char *problem = NULL;
    g_autoptr(json_object) ret = command(f, name, arguments, &problem);
    g_autofree char *text = ret ? json_print(ret, false) : g_steal_pointer(&problem);

    g_assert_cmpstr(text, ==, answer);
}

static inline void expect_filename(struct chardev *chr, const char *pattern)
{
    if (!g_pattern_match_simple(pattern, chardev_filename(chr))) {
        g_error("%s isn't %s", chardev_filename(chr), pattern);
    }
}

static inline void expect_got(struct fixture *f, struct probe *probe, const char *text)
{
    RUN_UNTIL(f, probe->got->len >= strlen(text));
    g_assert_cmpmem(probe->got->data, probe->got->len, text, strlen(text));
    g_byte_array_set_size(probe->got, 0);
}

static inline void expect_file(const char *path, const char *contents)
{
    g_autofree char *text = NULL;

    g_assert_true(g_file_get_contents(path, &text, NULL, NULL));
    g_assert_cmpstr(text, ==, contents);
}

/* Reads exactly the text from a descriptor while the loop runs. */
static inline void expect_read(struct fixture *f, int fd, const char *text)
{
    size_t size = strlen(text), n = 0;
    g_autofree char *data = g_malloc(size + 1);
    gint64 end = g_get_monotonic_time() + WAIT_MS * 1000;

    fcntl(fd, F_SETFL, fcntl(fd, F_GETFL) | O_NONBLOCK);
    while (n < size) {
        ssize_t got = read(fd, data + n, size - n);

        g_assert_cmpint(g_get_monotonic_time(), <, end);
        n += MAX(got, 0);
        event_loop_iterate(f->loop, false);
    }
    g_assert_cmpmem(data, n, text, size);
}

static inline void expect_end(struct fixture *f, int fd)
{
    char byte;
    ssize_t n = -1;

    fcntl(fd, F_SETFL, fcntl(fd, F_GETFL) | O_NONBLOCK);
    RUN_UNTIL(f, (n = read(fd, &byte, 1)) == 0 || (n < 0 && errno != EAGAIN));
}

static inline void put(int fd, const char *text)
{
    g_assert_cmpint(write(fd, text, strlen(text)), ==, strlen(text));
}

static inline int connect_unix(const char *path)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);

    g_strlcpy(address.sun_path, path, sizeof(address.sun_path));
    g_assert_cmpint(connect(fd, (struct sockaddr *)&address, sizeof(address)), ==, 0);
    return fd;
}

static inline int listen_unix(const char *path)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);

    g_strlcpy(address.sun_path, path, sizeof(address.sun_path));
    g_assert_cmpint(bind(fd, (struct sockaddr *)&address, sizeof(address)), ==, 0);
    g_assert_cmpint(listen(fd, 4), ==, 0);
    return fd;
}

/* Each test runs on a loop of both kinds. */
#define TEST(name)                                                                                 \
    g_test_add("/chardev/" #name, struct fixture, NULL, set_up, test_##name, tear_down);           \
    g_test_add("/chardev/epoll/" #name, struct fixture, "", set_up, test_##name, tear_down)

#endif
