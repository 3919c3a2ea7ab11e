/*
 * chardev/: each back end but sockets with a front end that records what it gets, the other end
 * played by plain system calls; options; the QMP commands.
 */
#include <sys/stat.h>
#include <termios.h>

#include "chardev_test.h"

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

struct option_case {
    const char *text, *message; /* message NULL: it is made */
};

static void test_options(struct fixture *f, gconstpointer data)
{
    static const struct option_case cases[] = {
        {"null,id=a", NULL},
        {"null", "chardev: no id specified"},
        {"stdio,help", "options of chardev stdio: signal, logfile, logappend, id, mux"},
        {"nul,help", "'nul' is not a valid char driver name; did you mean 'null'?"},
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
        {"udp,id=a,host=127.0.0.1,port=9999", NULL},
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
        {"tcp:127.0.0.1:0,server,nowait,mux=on", "mux", NULL},
        {"pty", "pty:/dev/pts/*", NULL},
        {"tcp:127.0.0.1:0,server=on,wait=off", "disconnected:tcp:127.0.0.1:*,server=on", NULL},
        {"telnet:127.0.0.1:0,server,nowait", "disconnected:telnet:127.0.0.1:*,server=on", NULL},
        {"websocket:127.0.0.1:0,server,nowait", "disconnected:websocket:127.0.0.1:*,server=on",
         NULL},
        {"udp:127.0.0.1:9999", "udp", NULL},
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

/* Nothing but errors comes of words in any order. Only what has no effects is tried. */
static void test_garbage(struct fixture *f, gconstpointer data)
{
    static const char *const words[] = {
        "socket",     "hub",  "ringbuf", "udp",    "stdio",
        "mux",        "id",   "a",       "host",   "port",
        "path",       "size", "server",  "wait",   "chardevs.0",
        "chardevs.9", "on",   "off",     "64k",    "-1",
        ",",          ",",    ",",       "=",      "=",
        ",,",         ":",    "[",       "no",     "help",
        "\377",       ".",    "fd",      "telnet", "to",
        "delay",      "file", "{",       "@",      "99999999999999999999",
    };

    for (int i = 0; i < 5000; i++) {
        g_autoptr(GString) text = g_string_new(NULL);
        g_autoptr(GError) error = NULL;
        struct qapi_chardev_backend backend = {0};
        g_autofree char *id = NULL;
        bool mux;

        for (int n = g_test_rand_int_range(0, 14); n > 0; n--) {
            g_string_append(text, words[g_test_rand_int_range(0, G_N_ELEMENTS(words))]);
        }
        if (chardev_parse_option(text->str, &id, &backend, &mux, &error)) {
            g_assert_no_error(error);
            qapi_clear(&qapi_type_chardev_backend, &backend);
        } else {
            g_assert_nonnull(error);
        }
    }
}

static void collect_option(void *opaque, const char *name,
                           enum qapi_command_line_parameter_type type)
{
    g_string_append_printf(opaque, " %s=%s", name,
                           qapi_enum_name(&qapi_type_command_line_parameter_type, type));
}

static void test_option_list(void)
{
    g_autoptr(GString) list = g_string_new(NULL);

    chardev_foreach_option(collect_option, list);
    g_assert_true(g_str_has_prefix(list->str, " backend=string abstract=boolean append=boolean"));
    g_assert_nonnull(strstr(list->str, " path=string port=string reconnect=number"));
    g_assert_nonnull(strstr(list->str, " size=size telnet=boolean"));
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

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    TEST(null);
    TEST(ringbuf);
    TEST(file);
    TEST(pipe);
    TEST(pty);
    TEST(serial);
    TEST(mux);
    TEST(mux_timestamps);
    TEST(mux_many);
    TEST(hub);
    TEST(change);
    TEST(change_inside);
    TEST(add);
    TEST(options);
    TEST(short);
    TEST(garbage);
    TEST(stdio);
    g_test_add_func("/chardev/option_list", test_option_list);
    g_test_add_func("/chardev/help", test_help);
    return g_test_run();
}
