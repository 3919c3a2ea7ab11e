/*
 * hw/char/serial_16550a.c: registers by the PC16550D's data sheet, and a terminal at the other end.
 */
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>

#include "chardev/chardev.h"
#include "hw_test.h"

enum { RBR = 0, THR = 0, DLL = 0, IER = 1, DLM = 1, IIR = 2, FCR = 2, LCR = 3, MCR = 4, LSR = 5,
       MSR = 6, SCR = 7 };

static const struct hw_step register_steps[] = {
    /* After a reset (table I). */
    {'r', IER, 1, 0},
    {'r', IIR, 1, 1},
    {'r', LCR, 1, 0},
    {'r', LSR, 1, 0x60},
    {'r', MSR, 1, 0xb0},
    {'r', RBR, 1, 0},
    {'w', SCR, 1, 0xa5},
    {'r', SCR, 1, 0xa5},
    {'w', LSR, 1, 0xff},
    {'r', LSR, 1, 0x60},
    {'w', LCR, 1, 0x83},
    {'r', DLL, 1, 12},
    {'w', DLL, 1, 0x34},
    {'w', DLM, 1, 0x12},
    {'r', DLL, 1, 0x34},
    {'r', DLM, 1, 0x12},
    {'w', LCR, 1, 3},
    {'r', IER, 1, 0},
    {'w', IER, 1, 0xff},
    {'r', IER, 1, 0x0f},
    /* The transmitter is empty: an interrupt as soon as it is enabled; reading IIR ends it. */
    {'i', 0, 0, 1},
    {'r', IIR, 1, 2},
    {'i', 0, 0, 0},
    {'r', IIR, 1, 1},
    {'w', THR, 1, 'x'},
    {'i', 0, 0, 1},
    {'r', LSR, 1, 0x60},
    {'r', IIR, 1, 2},
    {'w', FCR, 1, 1},
    {'r', IIR, 1, 0xc2},
    {'w', FCR, 1, 0},
    {'r', IIR, 1, 2},
    /* Another width is one register. */
    {'r', SCR, 1, 0xa5},
    {'r', MCR, 4, 8},
    {'f', LCR, 2},
    {'R'},
    {'r', IER, 1, 0},
    {'r', SCR, 1, 0},
    {'i', 0, 0, 0},
};

static const struct hw_step loop_steps[] = {
    {'w', MCR, 1, 0x1f},
    {'r', MCR, 1, 0x1f},
    {'r', MSR, 1, 0xf0},                /* all four, and that is no change but RI's coming */
    {'w', IER, 1, 8},
    {'w', MCR, 1, 0x10},
    {'i', 0, 0, 1},
    {'r', IIR, 1, 0},
    {'r', MSR, 1, 0x0f},                /* all went down */
    {'i', 0, 0, 0},
    {'w', MCR, 1, 0x12},
    {'r', MSR, 1, 0x11},                /* RTS is CTS */
    {'w', MCR, 1, 0x11},
    {'r', MSR, 1, 0x23},                /* DTR is DSR */
    {'w', IER, 1, 1},
    /* Without FIFOs: one character, the second one overruns it. */
    {'w', THR, 1, 'a'},
    {'r', LSR, 1, 0x61},
    {'i', 0, 0, 1},
    {'r', IIR, 1, 4},
    {'w', THR, 1, 'b'},
    {'w', IER, 1, 5},
    {'r', IIR, 1, 6},
    {'r', LSR, 1, 0x63},
    {'r', IIR, 1, 4},
    {'r', RBR, 1, 'b'},
    {'r', LSR, 1, 0x60},
    {'i', 0, 0, 0},
    /* With them: the trigger level 4. */
    {'w', FCR, 1, 0x41},
    {'w', THR, 1, '1'},
    {'w', THR, 1, '2'},
    {'w', THR, 1, '3'},
    {'i', 0, 0, 0},
    {'r', LSR, 1, 0x61},
    /* Divisor 12, 5 data bits: 9600 baud, 7 bits, 4 characters are 2.9166 ms. */
    {'t', 2916000},
    {'i', 0, 0, 0},
    {'t', 1000},
    {'i', 0, 0, 1},
    {'r', IIR, 1, 0xcc},
    {'r', RBR, 1, '1'},
    {'i', 0, 0, 0},
    {'t', 2917000},
    {'r', IIR, 1, 0xcc},
    {'w', THR, 1, '4'},
    {'w', THR, 1, '5'},
    {'r', IIR, 1, 0xc4},
    {'r', RBR, 1, '2'},
    {'i', 0, 0, 0},
    {'w', FCR, 1, 0x43},                /* cleared */
    {'r', LSR, 1, 0x60},
    {'r', IIR, 1, 0xc1},
    {'w', MCR, 1, 8},
    {'r', MSR, 1, 0xb9},
};

#define SERIAL "{\"baudbase\": 115200}"

static void test_registers(void)
{
    HW_SCRIPT("serial-mm", SERIAL, NULL, register_steps);
    HW_SCRIPT("serial-mm", SERIAL, NULL, loop_steps);
}

static void test_fifo_overrun(void)
{
    struct hw_test t;

    hw_test_init(&t, "serial-mm", SERIAL, NULL);
    hw_write(&t, FCR, 1, 1);
    hw_write(&t, MCR, 1, 0x10);
    for (unsigned i = 0; i < 17; i++) {
        hw_write(&t, THR, 1, 'a' + i);
    }
    g_assert_cmpuint(hw_read(&t, LSR, 1), ==, 0x63);
    for (unsigned i = 0; i < 16; i++) {
        g_assert_cmpuint(hw_read(&t, LSR, 1), ==, 0x61);
        g_assert_cmpuint(hw_read(&t, RBR, 1), ==, 'a' + i);
        hw_replace(&t);
    }
    g_assert_cmpuint(hw_read(&t, LSR, 1), ==, 0x60);
    hw_test_clear(&t);
}

static void test_regshift(void)
{
    struct hw_test t;

    hw_test_init(&t, "serial-mm", "{\"regshift\": 2}", NULL);
    hw_write(&t, SCR << 2, 4, 0x5a);
    g_assert_cmpuint(hw_read(&t, SCR << 2, 1), ==, 0x5a);
    g_assert_cmpuint(hw_read(&t, LSR << 2, 4), ==, 0x60);
    hw_fault(&t, 0x20, 4, false);
    hw_test_clear(&t);
}

/* ---- With a terminal: a socket ---- */

struct terminal {
    struct hw_test t;
    struct chardev_context context;
    struct chardev *chr;
    char *path, *properties;
    int fd;
};

static void terminal_init(struct terminal *x)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    g_autofree char *option = NULL;
    GError *error = NULL;

    hw_test_init(&x->t, NULL, NULL, NULL);
    x->context = (struct chardev_context){
        .root = x->t.control.root,
        .loop = x->t.control.loop,
        .clocks = x->t.control.context.clocks,
        .log = x->t.control.context.log,
        .fdsets = x->t.control.context.fdsets,
    };
    x->path = g_build_filename(x->t.control.dir, "tty", NULL);
    option = g_strdup_printf("socket,id=s0,path=%s,server=on,wait=off", x->path);
    x->chr = chardev_new_option(&x->context, option, &error);
    g_assert_no_error(error);
    x->t.type = "serial-mm";
    x->t.properties = "{\"chardev\": \"s0\"}";
    hw_test_make_device(&x->t);
    x->fd = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0);
    g_strlcpy(address.sun_path, x->path, sizeof(address.sun_path));
    g_assert_cmpint(connect(x->fd, (struct sockaddr *)&address, sizeof(address)), ==, 0);
    while (!chardev_is_open(x->chr)) {
        event_loop_iterate(x->t.control.loop, true);
    }
}

static void terminal_clear(struct terminal *x)
{
    GError *error = NULL;

    close(x->fd);
    object_remove(&x->t.dev->device.object);
    x->t.dev = NULL;
    chardev_remove(x->chr, &error);
    g_assert_no_error(error);
    g_free(x->path);
    hw_test_clear(&x->t);
}

/* Bytes that came out, all that will. */
static size_t terminal_read(struct terminal *x, uint8_t *data, size_t size)
{
    size_t n = 0;
    ssize_t got;

    for (unsigned idle = 0; idle < 20;) {
        hw_run_loop(&x->t);
        got = read(x->fd, data + n, size - n);
        if (got > 0) {
            n += (size_t)got;
            idle = 0;
        } else {
            idle++;
            g_usleep(1000);
        }
    }
    return n;
}

static void test_output(void)
{
    g_autofree uint8_t *data = g_malloc(1 << 20);
    struct terminal x;
    unsigned written = 0;
    size_t n;

    terminal_init(&x);
    for (const char *p = "Hello"; *p; p++) {
        hw_write(&x.t, THR, 1, (uint8_t)*p);
    }
    n = terminal_read(&x, data, 100);
    g_assert_cmpmem(data, n, "Hello", 5);

    /* Until the other end is full: then the transmitter isn't empty until it is read from. */
    for (; hw_read(&x.t, LSR, 1) == 0x60; written++) {
        hw_write(&x.t, THR, 1, written & 0xff);
        if (written % 256 == 0) {
            hw_run_loop(&x.t);
        }
    }
    g_assert_cmpuint(hw_read(&x.t, LSR, 1), ==, 0);
    hw_write(&x.t, IER, 1, 2);
    g_assert_false(x.t.levels[0]);
    n = terminal_read(&x, data, 1 << 20);
    g_assert_cmpuint(n, ==, written);
    for (size_t i = 0; i < n; i++) {
        g_assert_cmpuint(data[i], ==, i & 0xff);
    }
    g_assert_true(x.t.levels[0]);
    g_assert_cmpuint(hw_read(&x.t, LSR, 1), ==, 0x60);

    /* What wasn't written yet moves with the state, and a reset doesn't lose it. */
    hw_write(&x.t, THR, 1, 'm');
    hw_replace(&x.t);
    mmio_device_reset(x.t.dev);
    n = terminal_read(&x, data, 100);
    g_assert_cmpmem(data, n, "m", 1);

    /* Nobody is there: it is lost. */
    close(x.fd);
    x.fd = -1;
    while (chardev_is_open(x.chr)) {
        event_loop_iterate(x.t.control.loop, true);
    }
    for (unsigned i = 0; i < 10000; i++) {
        hw_write(&x.t, THR, 1, 'z');
        if (i % 256 == 0) {
            hw_run_loop(&x.t);
        }
    }
    hw_run_loop(&x.t);
    g_assert_cmpuint(hw_read(&x.t, LSR, 1), ==, 0x60);
    terminal_clear(&x);
}

static void test_input(void)
{
    char text[101];
    struct terminal x;

    for (unsigned i = 0; i < 100; i++) {
        text[i] = (char)('!' + i % 90);
    }
    terminal_init(&x);
    hw_write(&x.t, FCR, 1, 0x81);
    hw_write(&x.t, IER, 1, 1);
    g_assert_cmpint(write(x.fd, text, 100), ==, 100);
    for (unsigned i = 0; i < 100; i++) {
        while (!(hw_read(&x.t, LSR, 1) & 1)) {
            event_loop_iterate(x.t.control.loop, true);
        }
        g_assert_cmpuint(hw_read(&x.t, LSR, 1), ==, 0x61);
        g_assert_cmpint((int)hw_read(&x.t, RBR, 1), ==, text[i]);
        if (i % 13 == 0) {
            hw_replace(&x.t);
        }
    }
    hw_run_loop(&x.t);
    g_assert_cmpuint(hw_read(&x.t, LSR, 1), ==, 0x60);
    g_assert_false(x.t.levels[0]);

    /* A break is a zero with its flag. */
    hw_write(&x.t, IER, 1, 4);
    chardev_send_break(x.chr);
    hw_run_loop(&x.t);
    g_assert_true(x.t.levels[0]);
    g_assert_cmpuint(hw_read(&x.t, LSR, 1), ==, 0x80 | 0x61 | 0x18);
    g_assert_cmpuint(hw_read(&x.t, LSR, 1), ==, 0x61);
    g_assert_cmpuint(hw_read(&x.t, RBR, 1), ==, 0);
    g_assert_false(x.t.levels[0]);

    /* In a loop the outside isn't heard; later it is. */
    hw_write(&x.t, MCR, 1, 0x10);
    g_assert_cmpint(write(x.fd, "k", 1), ==, 1);
    for (unsigned i = 0; i < 20; i++) {
        hw_run_loop(&x.t);
        g_usleep(1000);
    }
    g_assert_cmpuint(hw_read(&x.t, LSR, 1) & 1, ==, 0);
    hw_write(&x.t, MCR, 1, 0);
    while (!(hw_read(&x.t, LSR, 1) & 1)) {
        event_loop_iterate(x.t.control.loop, true);
    }
    g_assert_cmpuint(hw_read(&x.t, RBR, 1), ==, 'k');
    terminal_clear(&x);
}

static void test_no_chardev(void)
{
    g_autoptr(json_object) properties = json_parse("{\"chardev\": \"none\"}", NULL);
    g_autoptr(GError) error = NULL;
    struct hw_test t;

    hw_test_init(&t, NULL, NULL, NULL);
    g_assert_null(mmio_device_new(&t.hw, "serial-mm", t.control.root, "d", properties, &error));
    assert_error_matches(error, "*can't find value 'none'");
    hw_test_clear(&t);
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    g_test_add_func("/hw/serial/registers", test_registers);
    g_test_add_func("/hw/serial/fifo-overrun", test_fifo_overrun);
    g_test_add_func("/hw/serial/regshift", test_regshift);
    g_test_add_func("/hw/serial/output", test_output);
    g_test_add_func("/hw/serial/input", test_input);
    g_test_add_func("/hw/serial/no-chardev", test_no_chardev);
    return g_test_run();
}
