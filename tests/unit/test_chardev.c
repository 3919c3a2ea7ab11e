/*
 * chardev/: each back end with a front end that records what it gets, the other end played by plain
 * system calls; options; the QMP commands.
 */
#include <errno.h>
#include <fcntl.h>
#include <glib.h>
#include <glib/gstdio.h>
#include <netinet/in.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <termios.h>
#include <unistd.h>

#include "chardev/chardev.h"
#include "chardev/telnet.h"
#include "qapi/command.h"
#include "qapi/error.h"
#include "qapi/qapi_commands.h"
#include "util/clock.h"
#include "util/coroutine.h"
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
    bool fills;                 /* room gets less */
    GByteArray *got;
    GString *events; /* a letter each */
    unsigned writable;
};

static size_t probe_can_receive(void *opaque)
{
    return ((struct probe *)opaque)->room;
}

static void probe_receive(void *opaque, const uint8_t *data, size_t size)
{
    struct probe *probe = opaque;

    g_assert_cmpuint(size, <=, probe->room);
    probe->room -= probe->fills ? size : 0;
    g_byte_array_append(probe->got, data, size);
}

static void probe_event(void *opaque, enum chardev_event event)
{
    g_string_append_c(((struct probe *)opaque)->events,
                      "ocbio"[event] - (event == CHARDEV_MUX_OUT ? 'o' - 'u' : 0));
}

static const struct chardev_frontend_ops probe_ops = {
    .can_receive = probe_can_receive,
    .receive = probe_receive,
    .event = probe_event,
};

static void probe_init(struct probe *probe, struct chardev *chr)
{
    g_autoptr(GError) error = NULL;

    *probe = (struct probe){
        .chr = chr, .room = 65536, .got = g_byte_array_new(), .events = g_string_new(NULL)};
    g_assert_true(chardev_attach(chr, &probe_ops, probe, &error));
    g_assert_no_error(error);
}

static void probe_clear(struct probe *probe)
{
    if (probe->chr) {
        chardev_detach(probe->chr, probe);
    }
    g_byte_array_unref(probe->got);
    g_string_free(probe->events, true);
}

static void count_writable(void *opaque)
{
    ((struct probe *)opaque)->writable++;
}

static void record_escape(void *opaque, char key)
{
    ((struct fixture *)opaque)->escaped = key;
}

static void set_up(struct fixture *f, gconstpointer data)
{
    g_autoptr(GError) error = NULL;

    memset(f, 0, sizeof(*f));
    signal(SIGPIPE, SIG_IGN);
    f->loop = event_loop_new("test", &error);
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

static void tear_down(struct fixture *f, gconstpointer data)
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

static char *in_folder(struct fixture *f, const char *name)
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

static void run_a_little(struct fixture *f)
{
    for (int i = 0; i < 30; i++) {
        event_loop_iterate(f->loop, false);
        g_usleep(500);
    }
}

static struct chardev *make(struct fixture *f, const char *format, ...) G_GNUC_PRINTF(2, 3);
static struct chardev *make(struct fixture *f, const char *format, ...)
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
static json_object *command(struct fixture *f, const char *name, const char *arguments,
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

static void expect(struct fixture *f, const char *name, const char *arguments, const char *answer)
{
    g_autofree char *problem = NULL;
    g_autoptr(json_object) ret = command(f, name, arguments, &problem);
    g_autofree char *text = ret ? json_print(ret, false) : g_steal_pointer(&problem);

    g_assert_cmpstr(text, ==, answer);
}

static void expect_filename(struct chardev *chr, const char *pattern)
{
    if (!g_pattern_match_simple(pattern, chardev_filename(chr))) {
        g_error("%s isn't %s", chardev_filename(chr), pattern);
    }
}

static void expect_got(struct fixture *f, struct probe *probe, const char *text)
{
    RUN_UNTIL(f, probe->got->len >= strlen(text));
    g_assert_cmpmem(probe->got->data, probe->got->len, text, strlen(text));
    g_byte_array_set_size(probe->got, 0);
}

static void expect_file(const char *path, const char *contents)
{
    g_autofree char *text = NULL;

    g_assert_true(g_file_get_contents(path, &text, NULL, NULL));
    g_assert_cmpstr(text, ==, contents);
}

/* Reads exactly the text from a descriptor while the loop runs. */
static void expect_read(struct fixture *f, int fd, const char *text)
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

static void expect_end(struct fixture *f, int fd)
{
    char byte;
    ssize_t n = -1;

    fcntl(fd, F_SETFL, fcntl(fd, F_GETFL) | O_NONBLOCK);
    RUN_UNTIL(f, (n = read(fd, &byte, 1)) == 0 || (n < 0 && errno != EAGAIN));
}

static void put(int fd, const char *text)
{
    g_assert_cmpint(write(fd, text, strlen(text)), ==, strlen(text));
}

static int connect_unix(const char *path)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);

    g_strlcpy(address.sun_path, path, sizeof(address.sun_path));
    g_assert_cmpint(connect(fd, (struct sockaddr *)&address, sizeof(address)), ==, 0);
    return fd;
}

static int listen_unix(const char *path)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);

    g_strlcpy(address.sun_path, path, sizeof(address.sun_path));
    g_assert_cmpint(bind(fd, (struct sockaddr *)&address, sizeof(address)), ==, 0);
    g_assert_cmpint(listen(fd, 4), ==, 0);
    return fd;
}

static void test_null(struct fixture *f, gconstpointer data)
{
    struct chardev *chr = make(f, "null,id=n");
    g_autoptr(GError) error = NULL;
    struct probe probe, other = {0};

    probe_init(&probe, chr);
    g_assert_cmpstr(probe.events->str, ==, "o");
    g_assert_false(chardev_attach(chr, &probe_ops, &other, &error));
    g_assert_cmpstr(error->message, ==, "chardev 'n' is already in use");
    g_assert_cmpint(chardev_write(chr, "abc", 3), ==, 3);
    expect(f, "query-chardev", NULL,
           "[{\"label\": \"n\", \"filename\": \"null\", \"frontend-open\": true}]");
    expect(f, "chardev-send-break", "{'id':'n'}", "{}");
    g_assert_cmpstr(probe.events->str, ==, "ob");
    expect(f, "chardev-remove", "{'id':'n'}", "Chardev 'n' is busy");
    chardev_on_writable(chr, count_writable, &probe);
    RUN_UNTIL(f, probe.writable == 1);
    chardev_set_frontend_open(chr, false);
    expect(f, "query-chardev", NULL,
           "[{\"label\": \"n\", \"filename\": \"null\", \"frontend-open\": false}]");
    probe_clear(&probe);
    expect(f, "chardev-remove", "{'id':'n'}", "{}");
    expect(f, "chardev-remove", "{'id':'n'}", "Chardev 'n' not found");
}

static void test_ringbuf(struct fixture *f, gconstpointer data)
{
    struct chardev *chr = make(f, "ringbuf,id=r,size=8");

    make(f, "memory,id=m,size=1k");
    make(f, "null,id=n");
    expect(f, "ringbuf-read", "{'device':'r','size':10}", "\"\"");
    g_assert_cmpint(chardev_write(chr, "abcde", 5), ==, 5);
    expect(f, "ringbuf-read", "{'device':'r','size':2}", "\"ab\"");
    expect(f, "ringbuf-write", "{'device':'r','data':'fghijkl'}", "{}");
    expect(f, "ringbuf-read", "{'device':'r','size':1000}", "\"efghijkl\"");
    expect(f, "ringbuf-write", "{'device':'r','data':'/////w==','format':'base64'}", "{}");
    expect(f, "ringbuf-read", "{'device':'r','size':3,'format':'base64'}", "\"////\"");
    expect(f, "ringbuf-read", "{'device':'r','size':3}", "\"\\uFFFD\"");
    expect(f, "ringbuf-write", "{'device':'r','data':'!','format':'base64'}",
           "Parameter 'data' has characters that Base64 doesn't have");
    expect(f, "ringbuf-read", "{'device':'r','size':0}", "size must be greater than zero");
    expect(f, "ringbuf-read", "{'device':'n','size':1}", "n is not a ringbuf device");
    expect(f, "ringbuf-read", "{'device':'x','size':1}", "Device 'x' not found");
}

static void test_file(struct fixture *f, gconstpointer data)
{
    g_autofree char *out = in_folder(f, "out"), *log = in_folder(f, "log"),
                    *in = in_folder(f, "in");
    struct chardev *chr;
    struct probe probe;

    g_assert_true(g_file_set_contents(in, "input", -1, NULL));
    chr = make(f, "file,id=a,path=%s,input-path=%s,logfile=%s", out, in, log);
    probe_init(&probe, chr);
    expect_got(f, &probe, "input");
    g_assert_cmpint(chardev_write(chr, "one", 3), ==, 3);
    run_a_little(f);
    /* The input's end isn't the output's. */
    g_assert_cmpint(chardev_write(chr, "two", 3), ==, 3);
    g_assert_cmpstr(probe.events->str, ==, "o");
    expect_file(out, "onetwo");
    expect_file(log, "onetwo");
    probe_clear(&probe);
    expect(f, "chardev-remove", "{'id':'a'}", "{}");

    chr = make(f, "file,id=a,path=%s,append=on,logfile=%s,logappend=on", out, log);
    g_assert_cmpint(chardev_write(chr, "3", 1), ==, 1);
    expect_file(out, "onetwo3");
    expect_file(log, "onetwo3");
    expect(f, "chardev-remove", "{'id':'a'}", "{}");
    make(f, "file,id=a,path=%s", out);
    expect_file(out, "");
}

static void test_pipe(struct fixture *f, gconstpointer data)
{
    g_autofree char *path = in_folder(f, "pipe");
    g_autofree char *in = g_strconcat(path, ".in", NULL), *out = g_strconcat(path, ".out", NULL);
    struct probe probe;
    int to, from;

    g_assert_cmpint(mkfifo(in, 0600), ==, 0);
    g_assert_cmpint(mkfifo(out, 0600), ==, 0);
    probe_init(&probe, make(f, "pipe,id=p,path=%s", path));
    to = open(in, O_WRONLY);
    from = open(out, O_RDONLY | O_NONBLOCK);
    put(to, "hello");
    expect_got(f, &probe, "hello");
    g_assert_cmpint(chardev_write(probe.chr, "world", 5), ==, 5);
    expect_read(f, from, "world");
    close(to);
    run_a_little(f);
    to = open(in, O_WRONLY);
    put(to, "again");
    expect_got(f, &probe, "again");
    close(to);
    close(from);
    probe_clear(&probe);
}

static void test_pty(struct fixture *f, gconstpointer data)
{
    g_autofree char *link = in_folder(f, "tty");
    struct chardev *chr = make(f, "pty,id=p,path=%s", link);
    struct probe probe;
    int fd;

    expect_filename(chr, "pty:/dev/pts/*");
    probe_init(&probe, chr);
    g_assert_cmpstr(probe.events->str, ==, "");
    g_assert_cmpint(chardev_write(chr, "lost", 4), ==, -1);
    g_assert_true(chardev_write_queued(chr, "lost", 4, 0));
    fd = open(link, O_RDWR | O_NOCTTY);
    g_assert_cmpint(fd, >=, 0);
    /* Noticed at once by who writes. */
    g_assert_cmpint(chardev_write(chr, "first", 5), ==, 5);
    expect_read(f, fd, "first");
    RUN_UNTIL(f, probe.events->len == 1);
    g_assert_cmpstr(probe.events->str, ==, "o");
    put(fd, "typed");
    expect_got(f, &probe, "typed");
    close(fd);
    RUN_UNTIL(f, probe.events->len == 2);
    g_assert_cmpstr(probe.events->str, ==, "oc");
    fd = open(chardev_pty(chr), O_RDWR | O_NOCTTY);
    put(fd, "more");
    expect_got(f, &probe, "more");
    g_assert_cmpstr(probe.events->str, ==, "oco");
    close(fd);
    probe_clear(&probe);
    expect(f, "chardev-remove", "{'id':'p'}", "{}");
    g_assert_false(g_file_test(link, G_FILE_TEST_IS_SYMLINK));
}

static void test_serial(struct fixture *f, gconstpointer data)
{
    int master = posix_openpt(O_RDWR | O_NOCTTY);
    struct chardev_line line = {9600, 7, 2, 'E'};
    struct termios modes;
    struct probe probe;
    int lines;

    grantpt(master);
    unlockpt(master);
    probe_init(&probe, make(f, "serial,id=s,path=%s", ptsname(master)));
    put(master, "in");
    expect_got(f, &probe, "in");
    g_assert_cmpint(chardev_write(probe.chr, "out", 3), ==, 3);
    expect_read(f, master, "out");
    g_assert_true(chardev_set_line(probe.chr, &line));
    tcgetattr(master, &modes);
    g_assert_cmpint(cfgetospeed(&modes), ==, B9600);
    g_assert_true(modes.c_cflag & CSTOPB);
    g_assert_true(chardev_set_line_break(probe.chr, true));
    g_assert_true(chardev_set_line_break(probe.chr, false));
    g_assert_false(chardev_get_modem_lines(probe.chr, &lines)); /* a pty has none */
    probe_clear(&probe);
    close(master);
}

static void test_unix_server(struct fixture *f, gconstpointer data)
{
    g_autofree char *path = in_folder(f, "s");
    g_autofree char *name = g_strdup_printf("unix:%s,server=on", path);
    g_autofree char *unconnected = g_strconcat("disconnected:", name, NULL);
    struct chardev *chr = make(f, "socket,id=s,path=%s,server=on,wait=off", path);
    struct probe probe;
    int fd, second;

    expect_filename(chr, unconnected);
    probe_init(&probe, chr);
    g_assert_cmpint(chardev_write(chr, "x", 1), ==, -1);
    fd = connect_unix(path);
    RUN_UNTIL(f, probe.events->len == 1);
    expect_filename(chr, name);
    put(fd, "to the guest");
    expect_got(f, &probe, "to the guest");
    g_assert_cmpint(chardev_write(chr, "from it", 7), ==, 7);
    expect_read(f, fd, "from it");

    /* No more than it takes. */
    probe.room = 3;
    probe.fills = true;
    put(fd, "abcdefgh");
    RUN_UNTIL(f, probe.got->len >= 3);
    run_a_little(f);
    g_assert_cmpuint(probe.got->len, ==, 3);
    probe.room = 100;
    chardev_accept_input(chr);
    expect_got(f, &probe, "abcdefgh");

    /* One client at a time; the next one is served afterwards. */
    second = connect_unix(path);
    put(second, "second");
    run_a_little(f);
    g_assert_cmpuint(probe.got->len, ==, 0);
    put(fd, "last words");
    close(fd);
    expect_got(f, &probe, "last words");
    expect_got(f, &probe, "second");
    g_assert_cmpstr(probe.events->str, ==, "oco");
    close(second);
    RUN_UNTIL(f, probe.events->len == 4);
    expect_filename(chr, unconnected);
    probe_clear(&probe);
    expect(f, "chardev-remove", "{'id':'s'}", "{}");
    g_assert_false(g_file_test(path, G_FILE_TEST_EXISTS));
}

/* A client that leaves is noticed though nobody reads what it sent, and the next one is served. */
static void test_linger(struct fixture *f, gconstpointer data)
{
    g_autofree char *path = in_folder(f, "s");
    struct chardev *chr = make(f, "socket,id=s,path=%s,server=on,wait=off", path);
    struct probe probe;
    int fd;

    for (int i = 0; i < 3; i++) {
        fd = connect_unix(path);
        RUN_UNTIL(f, chardev_is_open(chr));
        close(fd);
        RUN_UNTIL(f, !chardev_is_open(chr));
    }
    probe_init(&probe, chr);
    probe.room = 0;
    fd = connect_unix(path);
    put(fd, "unread");
    RUN_UNTIL(f, chardev_is_open(chr));
    close(fd);
    run_a_little(f);
    g_assert_true(chardev_is_open(chr));
    fd = connect_unix(path);
    put(fd, "read");
    RUN_UNTIL(f, probe.events->len == 3);
    g_assert_cmpstr(probe.events->str, ==, "oco");
    probe.room = 2;
    chardev_accept_input(chr);
    expect_got(f, &probe, "read");
    close(fd);

    /* What was sent is not lost if it is wanted in the end. */
    RUN_UNTIL(f, probe.events->len == 4);
    probe.room = 0;
    fd = connect_unix(path);
    put(fd, "last");
    close(fd);
    run_a_little(f);
    probe.room = 3;
    chardev_accept_input(chr);
    expect_got(f, &probe, "last");
    RUN_UNTIL(f, probe.events->len == 6);
    probe_clear(&probe);
}

static void test_descriptor(struct fixture *f, gconstpointer data)
{
    g_autofree char *path = in_folder(f, "s");
    g_autoptr(GError) error = NULL;
    int listener = listen_unix(path), fd, pair[2];
    struct probe probe;

    probe_init(&probe, make(f, "socket,id=s,fd=%d,server=on,wait=off", listener));
    fd = connect_unix(path);
    put(fd, "hello");
    expect_got(f, &probe, "hello");
    close(fd);
    probe_clear(&probe);
    g_assert_cmpint(socketpair(AF_UNIX, SOCK_STREAM, 0, pair), ==, 0);
    probe_init(&probe, make(f, "socket,id=c,fd=%d", pair[0]));
    put(pair[1], "hello");
    expect_got(f, &probe, "hello");
    probe_clear(&probe);
    close(pair[1]);
    g_assert_null(chardev_new_option(&f->context, "socket,id=d,fd=2147483647", &error));
    g_assert_nonnull(error);
}

static void test_abstract(struct fixture *f, gconstpointer data)
{
    g_autofree char *name = g_strdup_printf("nandu-test-%d", getpid());
    struct probe one, two;

    probe_init(&one, make(f, "socket,id=s,path=%s,abstract=on,server=on,wait=off", name));
    expect_filename(one.chr, "disconnected:unix:nandu-test-*,abstract=on,tight=on,server=on");
    probe_init(&two, make(f, "socket,id=c,path=%s,abstract=on", name));
    g_assert_cmpint(chardev_write(two.chr, "hello", 5), ==, 5);
    expect_got(f, &one, "hello");
    probe_clear(&one);
    probe_clear(&two);
}

/* What doesn't fit waits, in order, up to a limit. */
static void test_queue(struct fixture *f, gconstpointer data)
{
    g_autofree char *path = in_folder(f, "s");
    struct chardev *chr = make(f, "socket,id=s,path=%s,server=on,wait=off", path);
    g_autoptr(GString) sent = g_string_new(NULL);
    struct probe probe;
    int fd = connect_unix(path);

    probe_init(&probe, chr);
    RUN_UNTIL(f, chardev_is_open(chr));
    for (int i = 0; i < 1000; i++) {
        g_autofree char *line = g_strdup_printf("%0*d\n", 1000, i);

        if (!chardev_write_queued(chr, line, strlen(line), 100000)) {
            break;
        }
        g_string_append(sent, line);
        g_assert_cmpint(i, <, 999);
    }
    g_assert_cmpint(chardev_write(chr, "x", 1), ==, 0);
    chardev_on_writable(chr, count_writable, &probe);
    run_a_little(f);
    g_assert_cmpuint(probe.writable, ==, 0);
    expect_read(f, fd, sent->str);
    RUN_UNTIL(f, probe.writable == 1);
    g_assert_cmpint(chardev_write(chr, "x", 1), ==, 1);
    expect_read(f, fd, "x");

    /* Who waits when it is closed is told, too. */
    while (chardev_write(chr, sent->str, sent->len) > 0) {
    }
    chardev_on_writable(chr, count_writable, &probe);
    close(fd);
    RUN_UNTIL(f, probe.writable == 2 && probe.events->len == 2);
    probe_clear(&probe);
}

static void test_pass_fds(struct fixture *f, gconstpointer data)
{
    g_autofree char *path = in_folder(f, "s");
    struct chardev *chr = make(f, "socket,id=s,path=%s,server=on,wait=off", path);
    char control[CMSG_SPACE(2 * sizeof(int))], text[8] = "fd";
    struct iovec iov = {text, 2};
    struct msghdr message = {.msg_iov = &iov,
                             .msg_iovlen = 1,
                             .msg_control = control,
                             .msg_controllen = CMSG_SPACE(2 * sizeof(int))};
    struct cmsghdr *cmsg = (struct cmsghdr *)control;
    int fd = connect_unix(path), pipes[2], received;
    struct probe probe;

    probe_init(&probe, chr);
    g_assert_cmpint(pipe(pipes), ==, 0);
    memset(control, 0, sizeof(control));
    cmsg->cmsg_level = SOL_SOCKET;
    cmsg->cmsg_type = SCM_RIGHTS;
    cmsg->cmsg_len = CMSG_LEN(2 * sizeof(int));
    memcpy(CMSG_DATA(cmsg), pipes, sizeof(pipes));
    g_assert_cmpint(sendmsg(fd, &message, 0), ==, 2);
    expect_got(f, &probe, "fd");
    received = chardev_take_fd(chr);
    g_assert_cmpint(received, >=, 0);
    put(pipes[1], "through");
    expect_read(f, received, "through");
    close(received);
    /* The other one is closed with the connection. */

    g_assert_true(chardev_set_fds(chr, pipes, 1));
    g_assert_cmpint(chardev_write(chr, "here", 4), ==, 4);
    iov.iov_len = sizeof(text);
    message.msg_controllen = sizeof(control);
    fcntl(fd, F_SETFL, O_NONBLOCK);
    RUN_UNTIL(f, recvmsg(fd, &message, MSG_CMSG_CLOEXEC) == 4);
    cmsg = CMSG_FIRSTHDR(&message);
    g_assert_nonnull(cmsg);
    g_assert_cmpuint(cmsg->cmsg_len, ==, CMSG_LEN(sizeof(int)));
    memcpy(&received, CMSG_DATA(cmsg), sizeof(int));
    put(pipes[1], "back");
    expect_read(f, received, "back");
    close(received);
    close(pipes[0]);
    close(pipes[1]);
    close(fd);
    probe_clear(&probe);
}

static void test_client(struct fixture *f, gconstpointer data)
{
    g_autofree char *path = in_folder(f, "s");
    int listener, fd;
    struct probe probe;
    struct chardev *chr = make(f, "socket,id=c,path=%s,reconnect-ms=50", path);

    probe_init(&probe, chr);
    run_a_little(f);
    g_assert_cmpstr(probe.events->str, ==, "");
    listener = listen_unix(path);
    fcntl(listener, F_SETFL, O_NONBLOCK);
    RUN_UNTIL(f, (fd = accept(listener, NULL, NULL)) >= 0);
    put(fd, "hello");
    expect_got(f, &probe, "hello");
    close(fd);
    RUN_UNTIL(f, (fd = accept(listener, NULL, NULL)) >= 0);
    put(fd, "again");
    expect_got(f, &probe, "again");
    g_assert_cmpstr(probe.events->str, ==, "oco");

    /* Without reconnect it is connected at once, or not made. */
    make(f, "socket,id=d,path=%s", path);
    close(accept(listener, NULL, NULL));
    expect(f, "query-yank", NULL,
           "[{\"type\": \"chardev\", \"id\": \"c\"}, {\"type\": \"chardev\", \"id\": \"d\"}]");
    expect(f, "yank", "{'instances':[{'type':'chardev','id':'c'},{'type':'chardev','id':'x'}]}",
           "Instance not found");
    run_a_little(f);
    g_assert_cmpstr(probe.events->str, ==, "oco");
    expect(f, "yank", "{'instances':[{'type':'chardev','id':'c'}]}", "{}");
    expect_end(f, fd);
    RUN_UNTIL(f, probe.events->len == 5);
    close(fd);
    close(listener);
    probe_clear(&probe);
}

static void test_tcp(struct fixture *f, gconstpointer data)
{
    struct chardev *server =
        make(f, "socket,id=s,host=127.0.0.1,port=0,server=on,wait=off,nodelay");
    const char *port = strchr(strchr(chardev_filename(server), '.'), ':') + 1;
    struct probe one, two;

    expect_filename(server, "disconnected:tcp:127.0.0.1:*,server=on");
    probe_init(&one, server);
    probe_init(&two, make(f, "socket,id=c,host=127.0.0.1,port=%d", atoi(port)));
    RUN_UNTIL(f, chardev_is_open(server));
    expect_filename(server, "tcp:127.0.0.1:*,server=on <-> 127.0.0.1:*");
    expect_filename(two.chr, "tcp:127.0.0.1:* <-> 127.0.0.1:*");
    g_assert_cmpint(chardev_write(one.chr, "ping", 4), ==, 4);
    expect_got(f, &two, "ping");
    g_assert_cmpint(chardev_write(two.chr, "pong", 4), ==, 4);
    expect_got(f, &one, "pong");
    probe_clear(&two);
    expect(f, "chardev-remove", "{'id':'c'}", "{}");
    RUN_UNTIL(f, !chardev_is_open(server));
    probe_clear(&one);
}

static void test_telnet(struct fixture *f, gconstpointer data)
{
    g_autofree char *path = in_folder(f, "s");
    struct chardev *chr = make(f, "socket,id=s,path=%s,server=on,wait=off,telnet=on", path);
    struct probe probe;
    int fd = connect_unix(path);

    probe_init(&probe, chr);
    expect_read(f, fd, "\377\373\1\377\373\3");
    run_a_little(f);
    g_assert_cmpint(read(fd, (char[16]){0}, 16), ==, telnet_greeting_size - 6);
    g_assert_cmpint(chardev_write(chr, "a\377b\377", 4), ==, 4);
    expect_read(f, fd, "a\377\377b\377\377");
    put(fd, "x\377\375\1y\377\372\30\1v\377\360z\377\363\377\377!");
    expect_got(f, &probe, "xyz\377!");
    g_assert_cmpstr(probe.events->str, ==, "ob");
    close(fd);
    probe_clear(&probe);
}

/* Any split of the input gives the same. */
static void test_telnet_filter(void)
{
    static const char input[] =
        "ab\377\377c\377\373\1d\377\372\37\377\377xy\377\360e\377\361f\377\363";

    for (size_t cut = 0; cut < sizeof(input); cut++) {
        struct telnet telnet = {0};
        uint8_t data[sizeof(input)];
        size_t size = sizeof(input) - 1, n, m;
        bool one, two;

        memcpy(data, input, sizeof(input));
        cut = MIN(cut, size);
        n = telnet_filter(&telnet, data, cut, &one);
        m = telnet_filter(&telnet, data + cut, size - cut, &two);
        memmove(data + n, data + cut, m);
        g_assert_cmpmem(data, n + m, "ab\377cdef", 7);
        g_assert_true(one != two);
        if (cut == size) {
            break;
        }
    }
}

static void test_tls(struct fixture *f, gconstpointer data)
{
    static const char *const creds[] = {
        "{'qom-type':'tls-creds-anon','id':'server','endpoint':'server'}",
        "{'qom-type':'tls-creds-anon','id':'client','endpoint':'client'}",
    };
    g_autofree char *path = in_folder(f, "s");
    g_autoptr(GError) error = NULL;
    struct probe one, two;
    int garbage;

    for (size_t i = 0; i < G_N_ELEMENTS(creds); i++) {
        g_autoptr(json_object) options = json_parse(creds[i], NULL);

        object_create_user(f->root, options, false, &error);
        g_assert_no_error(error);
    }
    probe_init(&one, make(f, "socket,id=s,path=%s,server=on,wait=off,tls-creds=server", path));
    garbage = connect_unix(path);
    put(garbage, "GET / HTTP/1.0\r\n\r\n");
    expect_end(f, garbage);
    close(garbage);
    g_assert_cmpstr(one.events->str, ==, "");
    probe_init(&two, make(f, "socket,id=c,path=%s,tls-creds=client,reconnect-ms=100", path));
    RUN_UNTIL(f, one.events->len == 1 && two.events->len == 1);
    g_assert_cmpint(chardev_write(one.chr, "secret", 6), ==, 6);
    expect_got(f, &two, "secret");
    g_assert_cmpint(chardev_write(two.chr, "answer", 6), ==, 6);
    expect_got(f, &one, "answer");
    probe_clear(&two);
    expect(f, "chardev-remove", "{'id':'c'}", "{}");
    RUN_UNTIL(f, one.events->len == 2);

    g_assert_null(
        chardev_new_option(&f->context, "socket,id=x,path=/y,server=on,tls-creds=client", &error));
    g_assert_cmpstr(error->message, ==, "Expected TLS credentials for a server endpoint");
    g_clear_error(&error);
    g_assert_null(
        chardev_new_option(&f->context, "socket,id=x,path=/y,server=on,tls-creds=nope", &error));
    g_assert_cmpstr(error->message, ==, "No TLS credentials with id 'nope'");

    /* Removed in the middle of a handshake. */
    garbage = connect_unix(path);
    run_a_little(f);
    probe_clear(&one);
    expect(f, "chardev-remove", "{'id':'s'}", "{}");
    expect_end(f, garbage);
    close(garbage);
}

static void test_udp(struct fixture *f, gconstpointer data)
{
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t size = sizeof(address);
    int fd = socket(AF_INET, SOCK_DGRAM, 0);
    struct probe probe;
    char text[16];

    g_assert_cmpint(bind(fd, (struct sockaddr *)&address, size), ==, 0);
    getsockname(fd, (struct sockaddr *)&address, &size);
    probe_init(&probe, make(f, "udp,id=u,host=127.0.0.1,port=%d,localaddr=127.0.0.1",
                            ntohs(address.sin_port)));
    g_assert_cmpint(chardev_write(probe.chr, "datagram", 8), ==, 8);
    g_assert_cmpint(recvfrom(fd, text, sizeof(text), 0, (struct sockaddr *)&address, &size), ==, 8);
    probe.room = 3;
    g_assert_cmpint(sendto(fd, "received", 8, 0, (struct sockaddr *)&address, size), ==, 8);
    g_assert_cmpint(sendto(fd, "", 0, 0, (struct sockaddr *)&address, size), ==, 0);
    g_assert_cmpint(sendto(fd, "more", 4, 0, (struct sockaddr *)&address, size), ==, 4);
    expect_got(f, &probe, "receivedmore");
    close(fd);
    /* Nobody there: not an error. */
    for (int i = 0; i < 5; i++) {
        g_assert_cmpint(chardev_write(probe.chr, "lost", 4), ==, 4);
        run_a_little(f);
    }
    probe_clear(&probe);
}

static void test_mux(struct fixture *f, gconstpointer data)
{
    g_autofree char *path = in_folder(f, "s");
    struct chardev *chr = make(f, "socket,id=m,mux=on,path=%s,server=on,wait=off", path);
    struct probe one, two;
    int fd;

    probe_init(&one, chr);
    probe_init(&two, chr);
    g_assert_cmpstr(one.events->str, ==, "iu");
    g_assert_cmpstr(two.events->str, ==, "i");
    fd = connect_unix(path);
    RUN_UNTIL(f, one.events->len == 3);
    g_assert_cmpstr(two.events->str, ==, "io");
    g_assert_cmpint(chardev_write(chr, "both write\n", 11), ==, 11);
    expect_read(f, fd, "both write\n");
    put(fd, "second\1cfirst\1c\1\1\1b");
    expect_got(f, &one, "first");
    RUN_UNTIL(f, two.events->len == 5);
    expect_got(f, &two, "second\1");
    g_assert_cmpstr(one.events->str, ==, "iuoiu");
    g_assert_cmpstr(two.events->str, ==, "iouib");

    /* What is typed ahead is kept, and the keys still work. */
    two.room = 0;
    put(fd, "typed ahead");
    run_a_little(f);
    put(fd, "\1c");
    RUN_UNTIL(f, one.events->len == 6);
    put(fd, "first");
    expect_got(f, &one, "first");
    two.room = 100;
    chardev_accept_input(chr);
    g_assert_cmpuint(two.got->len, ==, 0);
    expect_got(f, &two, "typed ahead");

    put(fd, "\1h\1s\1?");
    expect_read(f, fd, "\n\rCtrl-A h    this list\n\r");
    RUN_UNTIL(f, f->escaped == 's');
    put(fd, "\1x");
    RUN_UNTIL(f, f->escaped == 'x');
    expect(f, "chardev-remove", "{'id':'m'}", "Chardev 'm' is busy");
    expect(f, "chardev-remove", "{'id':'m-base'}", "Chardev 'm-base' is busy");
    expect(f, "chardev-change", "{'id':'m','backend':{'type':'null','data':{}}}",
           "Failed to change chardev 'm': Chardev 'm' can't be changed from or to a mux");

    /* Who goes leaves the focus to another one. */
    probe_clear(&one);
    put(fd, "rest");
    expect_got(f, &two, "rest");
    probe_clear(&two);
    close(fd);
    expect(f, "chardev-remove", "{'id':'m'}", "{}");
    expect(f, "chardev-remove", "{'id':'m-base'}", "{}");
}

static void test_mux_timestamps(struct fixture *f, gconstpointer data)
{
    g_autofree char *path = in_folder(f, "s");
    struct chardev *chr = make(f, "socket,id=m,mux=on,path=%s,server=on,wait=off", path);
    struct probe probe;
    char text[256] = "";
    int fd = connect_unix(path);
    ssize_t n;

    probe_init(&probe, chr);
    put(fd, "\1tx");
    expect_got(f, &probe, "x");
    g_assert_cmpint(chardev_write(chr, "rest\none\ntwo", 12), ==, 12);
    run_a_little(f);
    n = read(fd, text, sizeof(text) - 1);
    g_assert_cmpint(n, >, 0);
    if (!g_regex_match_simple(
            "^rest\n\\[00:00:0\\d\\.\\d{3}\\] one\n\\[00:00:0\\d\\.\\d{3}\\] two$", text, 0, 0)) {
        g_error("got %s", text);
    }
    close(fd);
    probe_clear(&probe);
}

static void test_mux_many(struct fixture *f, gconstpointer data)
{
    struct chardev *chr = make(f, "null,id=m,mux=on");
    g_autoptr(GError) error = NULL;
    struct probe probes[33];

    for (int i = 0; i < 32; i++) {
        probe_init(&probes[i], chr);
    }
    g_assert_false(chardev_attach(chr, &probe_ops, &probes[32], &error));
    g_assert_cmpstr(error->message, ==, "too many uses of multiplexed chardev 'm' (maximum is 32)");
    for (int i = 0; i < 32; i++) {
        probe_clear(&probes[i]);
    }
}

static void test_hub(struct fixture *f, gconstpointer data)
{
    g_autofree char *path = in_folder(f, "s"), *out = in_folder(f, "out");
    g_autoptr(GString) sent = g_string_new(NULL);
    g_autofree char *contents = NULL;
    struct chardev *slow = make(f, "socket,id=s,path=%s,server=on,wait=off", path);
    struct probe probe;
    int fd;

    make(f, "file,id=f,path=%s", out);
    make(f, "ringbuf,id=r");
    probe_init(&probe, make(f, "hub,id=h,chardevs.0=s,chardevs.1=f,chardevs.2=r"));
    g_assert_cmpstr(probe.events->str, ==, "o");
    g_assert_cmpint(chardev_write(probe.chr, "early", 5), ==, 5);
    fd = connect_unix(path);
    RUN_UNTIL(f, chardev_is_open(slow));
    put(fd, "input");
    expect_got(f, &probe, "input");
    g_assert_cmpint(chardev_write(probe.chr, "all", 3), ==, 3);
    expect_read(f, fd, "all");
    expect_file(out, "earlyall");
    expect(f, "ringbuf-read", "{'device':'r','size':100}", "\"earlyall\"");

    /* The slow one gets everything, the others everything once. */
    for (int i = 0; i < 600; i++) {
        g_autofree char *line = g_strdup_printf("%0*d\n", 1000, i);

        g_string_append(sent, line);
        g_assert_true(chardev_write_queued(probe.chr, line, strlen(line), 10000000));
    }
    expect_read(f, fd, sent->str);
    run_a_little(f);
    g_assert_true(g_file_get_contents(out, &contents, NULL, NULL));
    g_assert_true(strcmp(contents + 8, sent->str) == 0);
    expect(f, "chardev-remove", "{'id':'s'}", "Chardev 's' is busy");
    expect(
        f, "chardev-add", "{'id':'g','backend':{'type':'hub','data':{'chardevs':['h']}}}",
        "Failed to add chardev 'g': hub: chardev 'h' is a mux or a hub, which can't be behind a hub");
    expect(f, "chardev-add", "{'id':'g','backend':{'type':'hub','data':{'chardevs':['s']}}}",
           "Failed to add chardev 'g': chardev 's' is already in use");
    close(fd);
    probe_clear(&probe);
    expect(f, "chardev-remove", "{'id':'h'}", "{}");
    expect(f, "chardev-remove", "{'id':'s'}", "{}");
}

static void test_change(struct fixture *f, gconstpointer data)
{
    g_autofree char *path = in_folder(f, "s");
    g_autofree char *arguments = g_strdup_printf(
        "{'id':'n','backend':{'type':'socket','data':{'addr':{'type':'unix','data':{'path':'%s'}},'wait':false}}}",
        path);
    struct probe probe;
    int fd;

    probe_init(&probe, make(f, "null,id=n"));
    expect(f, "chardev-change", arguments, "{}");
    g_assert_cmpstr(probe.events->str, ==, "oc");
    g_assert_true(object_is((struct object *)probe.chr, "chardev-socket"));
    fd = connect_unix(path);
    put(fd, "hello");
    expect_got(f, &probe, "hello");
    g_assert_cmpstr(probe.events->str, ==, "oco");
    expect(
        f, "chardev-change", "{'id':'n','backend':{'type':'file','data':{'out':'/nonexistent/x'}}}",
        "Failed to change chardev 'n': Could not create '/nonexistent/x': No such file or directory");
    g_assert_cmpint(chardev_write(probe.chr, "still", 5), ==, 5);
    expect_read(f, fd, "still");
    expect(f, "chardev-change", "{'id':'n','backend':{'type':'null','data':{}}}", "{}");
    g_assert_cmpstr(probe.events->str, ==, "ococo");
    expect_end(f, fd);
    close(fd);
    expect(f, "chardev-change", "{'id':'x','backend':{'type':'null','data':{}}}",
           "Chardev 'x' does not exist");
    probe_clear(&probe);
}

/* A front end that puts another back end behind itself while it gets data. */
static void change_receive(void *opaque, const uint8_t *bytes, size_t size)
{
    struct qapi_chardev_common common = {0};
    struct qapi_chardev_backend null = {.type = QAPI_CHARDEV_BACKEND_KIND_NULL,
                                        .u.null.data = &common};
    struct probe *probe = opaque;
    g_autoptr(GError) error = NULL;

    probe_receive(opaque, bytes, size);
    g_assert_true(chardev_change(probe->chr, &null, &error));
    g_assert_no_error(error);
}

static void test_change_inside(struct fixture *f, gconstpointer data)
{
    struct chardev_frontend_ops ops = probe_ops;
    struct probe probe = {.room = 100, .got = g_byte_array_new(), .events = g_string_new(NULL)};
    g_autofree char *path = in_folder(f, "s");
    int fd;

    ops.receive = change_receive;
    probe.chr = make(f, "socket,id=s,path=%s,server=on,wait=off", path);
    g_assert_true(chardev_attach(probe.chr, &ops, &probe, NULL));
    fd = connect_unix(path);
    put(fd, "go");
    expect_got(f, &probe, "go");
    expect_end(f, fd);
    close(fd);
    g_assert_cmpstr(probe.events->str, ==, "oco");
    probe_clear(&probe);
}

static void test_add(struct fixture *f, gconstpointer data)
{
    g_autofree char *problem = NULL;
    g_autoptr(json_object) ret =
        command(f, "chardev-add", "{'id':'p','backend':{'type':'pty','data':{}}}", &problem);
    json_object *pty;

    g_assert_nonnull(ret);
    g_assert_true(json_object_object_get_ex(ret, "pty", &pty));
    g_assert_true(g_str_has_prefix(json_object_get_string(pty), "/dev/pts/"));
    expect(f, "chardev-add", "{'id':'p','backend':{'type':'null','data':{}}}",
           "Chardev with id 'p' already exists");
    expect(f, "chardev-add", "{'id':'q','backend':{'type':'mux','data':{'chardev':'x'}}}",
           "Failed to add chardev 'q': mux: base chardev x not found");
    expect(
        f, "chardev-add",
        "{'id':'q','backend':{'type':'null','data':{'logfile':'/nonexistent/x'}}}",
        "Failed to add chardev 'q': Could not create '/nonexistent/x': No such file or directory");
    expect(f, "chardev-add", "{'id':'q','backend':{'type':'null','data':{}}}", "{}");
}

struct connector {
    char *path;
    int fd;
};

static gpointer connect_later(gpointer opaque)
{
    struct connector *connector = opaque;

    g_usleep(50000);
    connector->fd = connect_unix(connector->path);
    return NULL;
}

static void test_wait(struct fixture *f, gconstpointer data)
{
    struct connector connector = {.path = in_folder(f, "s")};
    GThread *thread = g_thread_new("connector", connect_later, &connector);
    struct chardev *chr = make(f, "socket,id=s,path=%s,server", connector.path);

    g_assert_true(chardev_is_open(chr));
    g_thread_join(thread);
    close(connector.fd);
    g_free(connector.path);
}

struct adding {
    struct fixture *f;
    const char *arguments;
    bool done;
};

static void add_in_coroutine(void *opaque)
{
    struct adding *adding = opaque;

    expect(adding->f, "chardev-add", adding->arguments, "{}");
    adding->done = true;
}

/* In a coroutine the loop goes on while chardev-add waits for a client. */
static void test_wait_coroutine(struct fixture *f, gconstpointer data)
{
    g_autofree char *path = in_folder(f, "s");
    g_autofree char *arguments = g_strdup_printf(
        "{'id':'s','backend':{'type':'socket','data':{'addr':{'type':'unix','data':{'path':'%s'}},'wait':true}}}",
        path);
    struct adding adding = {f, arguments, false};
    int fd;

    coroutine_start(f->loop, add_in_coroutine, &adding);
    run_a_little(f);
    g_assert_false(adding.done);
    fd = connect_unix(path);
    RUN_UNTIL(f, adding.done);
    g_assert_true(chardev_is_open(chardev_find(f->root, "s")));
    close(fd);
}

struct option_case {
    const char *text, *message; /* message NULL: it is made */
};

static void test_options(struct fixture *f, gconstpointer data)
{
    static const struct option_case cases[] = {
        {"null,id=a", NULL},
        {"null", "chardev: no id specified"},
        {"id=a", "chardev: no backend given; -chardev help lists them"},
        {"nul,id=a", "'nul' is not a valid char driver name; did you mean 'null'?"},
        {"vc,id=a",
         "chardev backend 'vc' isn't supported: there is no display to show it on; use stdio, pty or socket"},
        {"null,id=a,lgfile=x",
         "Invalid parameter 'lgfile' for chardev null; did you mean 'logfile'?"},
        {"null,id=a,path=/x", "Invalid parameter 'path' for chardev null"},
        {"null,id=a,mux=maybe", "Parameter 'mux' expects 'on' or 'off'"},
        {"null,id=a,logappend=on", "Parameter 'logappend' needs 'logfile'"},
        {"file,id=a", "Parameter 'path' is missing"},
        {"file,id=a,path=/nonexistent/y",
         "Could not create '/nonexistent/y': No such file or directory"},
        {"pipe,id=a", "Parameter 'path' is missing"},
        {"pipe,id=a,path=/nonexistent/y",
         "Could not open '/nonexistent/y': No such file or directory"},
        {"serial,id=a,path=/dev/null",
         "'/dev/null' is not a serial port or terminal: Inappropriate ioctl for device"},
        {"ringbuf,id=a,size=3", "size of ringbuf chardev must be power of two"},
        {"ringbuf,id=a,size=0", "size of ringbuf chardev must be power of two"},
        {"ringbuf,id=a,size=64k", NULL},
        {"socket,id=a", "chardev: socket: one of 'path', 'host' or 'fd' is needed"},
        {"socket,id=a,path=/x,host=y,port=1",
         "chardev: socket: one of 'path', 'host' or 'fd' is needed, and only one"},
        {"socket,id=a,host=x", "chardev: socket: no port given"},
        {"socket,id=a,path=/x,server=maybe", "Parameter 'server' expects 'on' or 'off'"},
        {"socket,id=a,path=/x,telnet=maybe", "Parameter 'telnet' expects 'on' or 'off'"},
        {"socket,id=a,path=/nonexistent/x",
         "Failed to connect to '/nonexistent/x': No such file or directory"},
        {"socket,id=a,path=/x,wait=on",
         "'wait' option is incompatible with socket in client connect mode"},
        {"socket,id=a,path=/x,server=on,wait=off,reconnect=1",
         "'reconnect' option is incompatible with socket in server listen mode"},
        {"socket,id=a,path=/x,server=on,wait=off,tn3270=on",
         "'tn3270' isn't supported: there is no 3270 console"},
        {"socket,id=a,path=/x,server=on,wait=off,telnet=on,websocket=on",
         "'telnet' and 'websocket' are mutually exclusive"},
        {"socket,id=a,path=/x,reconnect=1,reconnect-ms=1",
         "'reconnect' and 'reconnect-ms' are mutually exclusive"},
        {"socket,id=a,path=/x,reconnect-ms=-1",
         "Parameter 'reconnect-ms' must be between 0 and 2147483647"},
        {"socket,id=a,path=/x,websocket=on", "Websocket client is not implemented"},
        {"socket,id=a,path=/x,server=on,wait=off,tls-authz=a",
         "'tls-authz' option requires 'tls-creds' option"},
        {"socket,id=a,path=/x,delay=off,nodelay=on",
         "'delay' and 'nodelay' are mutually exclusive"},
        {"socket,id=a,host=127.0.0.1,port=0,server,nowait,nodelay", NULL},
        {"udp,id=a", "chardev: udp: remote port not specified"},
        {"udp,id=a,port=9999", NULL},
        {"mux,id=a,chardev=b", "mux: base chardev b not found"},
        {"hub,id=a", "hub: 'chardevs' list is not defined"},
        {"hub,id=a,chardevs.0=b", "hub: chardev can't be found by id 'b'"},
    };

    for (size_t i = 0; i < G_N_ELEMENTS(cases); i++) {
        g_autoptr(GError) error = NULL;
        struct chardev *chr = chardev_new_option(&f->context, cases[i].text, &error);

        g_test_message("%s", cases[i].text);
        if (cases[i].message) {
            g_assert_null(chr);
            g_assert_nonnull(error);
            g_assert_cmpstr(error->message, ==, cases[i].message);
        } else {
            g_assert_no_error(error);
            g_assert_true(chardev_remove(chr, NULL));
        }
        expect(f, "query-chardev", NULL, "[]");
    }
}

static void test_short(struct fixture *f, gconstpointer data)
{
    g_autofree char *path = in_folder(f, "s");
    g_autofree char *unix_text = g_strdup_printf("unix:%s,server=on,wait=off", path);
    g_autofree char *unix_name = g_strdup_printf("disconnected:unix:%s,server=on", path);
    g_autofree char *file_text = g_strdup_printf("file:%s,x", path);
    const struct {
        const char *text, *filename, *message;
    } cases[] = {
        {"null", "null", NULL},
        {"mon:null", "mux", NULL},
        {"pty", "pty:/dev/pts/*", NULL},
        {"tcp:127.0.0.1:0,server=on,wait=off", "disconnected:tcp:127.0.0.1:*,server=on", NULL},
        {"telnet:127.0.0.1:0,server,nowait", "disconnected:telnet:127.0.0.1:*,server=on", NULL},
        {"websocket:127.0.0.1:0,server,nowait", "disconnected:websocket:127.0.0.1:*,server=on",
         NULL},
        {"udp::9999", "udp", NULL},
        {"udp:127.0.0.1:9999@127.0.0.1:0", "udp", NULL},
        {unix_text, unix_name, NULL},
        {file_text, "file", NULL},
        {"foo", NULL, "'foo' is not a valid char driver"},
        {"vc", NULL,
         "'vc' isn't supported: there is no display to show it on; use stdio, pty or socket"},
        {"vc:80Cx24C", NULL,
         "'vc' isn't supported: there is no display to show it on; use stdio, pty or socket"},
        {"msmouse", NULL, "'msmouse' isn't supported: there are no mouse devices"},
        {"/dev/parport0", NULL,
         "chardev backend 'parallel' isn't supported: no machine has a parallel port"},
        {"/dev/null", NULL,
         "'/dev/null' is not a serial port or terminal: Inappropriate ioctl for device"},
        {"tcp:x", NULL, "'tcp:x' isn't of the form tcp:HOST:PORT[,OPTION=VALUE...]"},
        {"tcp::", NULL, "'tcp::' isn't of the form tcp:HOST:PORT[,OPTION=VALUE...]"},
        {"tcp:[::1:5", NULL, "'tcp:[::1:5' isn't of the form tcp:HOST:PORT[,OPTION=VALUE...]"},
        {"udp:", NULL, "'udp:' isn't of the form udp:[HOST]:PORT[@[HOST]:PORT]"},
        {"udp:a:1@", NULL, "'udp:a:1@' isn't of the form udp:[HOST]:PORT[@[HOST]:PORT]"},
        {"mon:mon:null", NULL, "'mon:null' is not a valid char driver"},
        {"chardev:x", NULL, "chardev \"x\" not found"},
        {"", NULL, "'' is not a valid char driver"},
    };

    for (size_t i = 0; i < G_N_ELEMENTS(cases); i++) {
        g_autoptr(GError) error = NULL;
        struct chardev *chr = chardev_new_short(&f->context, "x0", cases[i].text, true, &error);

        g_test_message("%s", cases[i].text);
        if (cases[i].message) {
            g_assert_null(chr);
            g_assert_cmpstr(error->message, ==, cases[i].message);
        } else {
            g_assert_no_error(error);
            expect_filename(chr, cases[i].filename);
            g_assert_true(chardev_new_short(&f->context, "y", "chardev:x0", false, NULL) == chr);
            g_assert_true(chardev_remove(chr, NULL));
            if (chardev_find(f->root, "x0-base")) {
                g_assert_true(chardev_remove(chardev_find(f->root, "x0-base"), NULL));
            }
        }
        expect(f, "query-chardev", NULL, "[]");
    }
}

static void test_help(void)
{
    g_autofree char *help = chardev_help();

    g_assert_true(g_str_has_prefix(help, "Available chardev backend types: \n  file\n  hub\n"));
}

/* The terminal's modes are there again afterwards. */
static void test_stdio(struct fixture *f, gconstpointer data)
{
    int master = posix_openpt(O_RDWR | O_NOCTTY), in = dup(0), out = dup(1), tty;
    struct termios before, raw, after;
    g_autoptr(GError) error = NULL;
    struct probe probe;
    int flags;

    grantpt(master);
    unlockpt(master);
    tty = open(ptsname(master), O_RDWR | O_NOCTTY);
    fflush(stdout);
    dup2(tty, 0);
    dup2(tty, 1);
    tcgetattr(0, &before);
    flags = fcntl(0, F_GETFL);
    probe_init(&probe, make(f, "stdio,id=s,signal=off"));
    tcgetattr(0, &raw);
    put(master, "in\3");
    expect_got(f, &probe, "in\3");
    g_assert_cmpint(chardev_write(probe.chr, "out", 3), ==, 3);
    expect_read(f, master, "out");
    g_assert_null(chardev_new_option(&f->context, "stdio,id=t", &error));
    g_assert_cmpstr(error->message, ==, "cannot use stdio by multiple character devices");
    tcsetattr(0, TCSANOW, &before);
    kill(getpid(), SIGCONT);
    run_a_little(f);
    tcgetattr(0, &after);
    g_assert_cmpint(after.c_lflag, ==, raw.c_lflag);
    chardev_set_echo(probe.chr, true);
    tcgetattr(0, &after);
    g_assert_true(after.c_lflag & ECHO);
    probe_clear(&probe);
    chardev_close_all(f->root);
    tcgetattr(0, &after);
    g_assert_cmpint(after.c_lflag, ==, before.c_lflag);
    g_assert_cmpint(fcntl(0, F_GETFL), ==, flags);
    dup2(in, 0);
    dup2(out, 1);
    close(in);
    close(out);
    close(tty);
    close(master);
    g_assert_false(raw.c_lflag & (ICANON | ECHO | ISIG));
}

static void test_properties(struct fixture *f, gconstpointer data)
{
    g_autofree char *path = in_folder(f, "s");
    g_autofree char *answer = g_strdup_printf("{\"type\": \"unix\", \"path\": \"%s\"}", path);

    make(f, "socket,id=s,path=%s,server=on,wait=off", path);
    expect(f, "qom-get", "{'path':'/chardevs/s','property':'connected'}", "false");
    expect(f, "qom-get", "{'path':'/chardevs/s','property':'addr'}", answer);
}

#define TEST(name) \
    g_test_add("/chardev/" #name, struct fixture, NULL, set_up, test_##name, tear_down)

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    TEST(null);
    TEST(ringbuf);
    TEST(file);
    TEST(pipe);
    TEST(pty);
    TEST(serial);
    TEST(unix_server);
    TEST(linger);
    TEST(descriptor);
    TEST(abstract);
    TEST(queue);
    TEST(pass_fds);
    TEST(client);
    TEST(tcp);
    TEST(telnet);
    TEST(tls);
    TEST(udp);
    TEST(mux);
    TEST(mux_timestamps);
    TEST(mux_many);
    TEST(hub);
    TEST(change);
    TEST(change_inside);
    TEST(add);
    TEST(wait);
    TEST(wait_coroutine);
    TEST(options);
    TEST(short);
    TEST(stdio);
    TEST(properties);
    g_test_add_func("/chardev/telnet_filter", test_telnet_filter);
    g_test_add_func("/chardev/help", test_help);
    return g_test_run();
}
