/* virtio-rng, virtio-serial with its ports, virtio-balloon: as a driver sees them, and restored
 * at each step. */
#include <sys/un.h>

#include "chardev/chardev.h"
#include "qapi/qapi_commands.h"
#include "virtio_test.h"

#define V1 (1ull << VIRTIO_F_VERSION_1)

/* ---- virtio-rng ---- */

static void test_rng(void)
{
    for (int replace = 0; replace < 2; replace++) {
        struct vt v;
        struct vt_queue *q;
        unsigned zeroes = 0;

        vt_init(&v, "virtio-rng-device", NULL, replace);
        g_assert_cmpuint(vt_reg(&v, 8), ==, 4);
        vt_negotiate(&v, UINT64_MAX);
        q = vt_queue(&v, 0, 8);
        vt_go(&v);
        for (unsigned i = 0; i < 30; i++) {
            struct vt_buffer buffers[] = {{HW_TEST_RAM + VT_DATA, 1 + i * 400, true},
                                          {HW_TEST_RAM + VT_DATA + 32768, 3, true}};
            uint16_t id;
            uint32_t written;

            memset(vt_host(&v, HW_TEST_RAM + VT_DATA), 0, 40000);
            vt_add(&v, q, buffers, 2, i & 1);
            vt_set_reg(&v, 0x50, 0);
            if (replace) {
                vt_replace(&v);
            }
            hw_run_loop(&v.t);
            g_assert_true(vt_get(&v, q, &id, &written));
            g_assert_cmpuint(written, ==, MIN(4 + i * 400, 4096));
            for (unsigned j = 0; j < MIN(written, 1 + i * 400); j++) {
                zeroes += ((uint8_t *)vt_host(&v, HW_TEST_RAM + VT_DATA))[j] == 0;
            }
        }
        g_assert_cmpuint(zeroes, <, 2000);
        vt_clear(&v);
    }
}

/* 100 bytes a second. */
static void test_rng_limit(void)
{
    struct vt v;
    struct vt_queue *q;
    struct vt_buffer buffer = {HW_TEST_RAM + VT_DATA, 64, true};
    uint16_t id;
    uint32_t written;

    vt_init(&v, "virtio-rng-device", "{\"max-bytes\": 100, \"period\": 1000}", false);
    vt_negotiate(&v, UINT64_MAX);
    q = vt_queue(&v, 0, 8);
    vt_go(&v);
    for (unsigned i = 0; i < 3; i++) {
        vt_add(&v, q, &buffer, 1, false);
    }
    vt_set_reg(&v, 0x50, 0);
    hw_run_loop(&v.t);
    g_assert_true(vt_get(&v, q, &id, &written) && written == 64);
    g_assert_true(vt_get(&v, q, &id, &written) && written == 36);
    g_assert_false(vt_get(&v, q, &id, &written));
    hw_step_clock(&v.t, 999999999);
    g_assert_false(vt_get(&v, q, &id, &written));
    hw_step_clock(&v.t, 2);
    g_assert_true(vt_get(&v, q, &id, &written) && written == 64);
    vt_clear(&v);
}

static void check_refused(const char *type, const char *properties, const char *message)
{
    struct vt v;
    auto_ptr(object) obj = object_new(object_type_find(type));
    g_autoptr(json_object) json = json_parse(properties, NULL);
    struct bus *bus;
    GError *error = NULL;

    vt_init(&v, NULL, NULL, false);
    bus = bus_find(v.t.control.root, "virtio-bus", NULL, &error);
    g_assert_no_error(error);
    g_assert_true(object_set_all(obj, json, NULL, false, &error));
    g_assert_true(object_add_child(v.t.control.root, "virtio", obj, &error));
    g_assert_false(hotplug_plug(&bus->object, obj, &error));
    g_assert_nonnull(error);
    g_assert_nonnull(strstr(error->message, message));
    g_clear_error(&error);
    object_remove(obj);
    g_assert_cmpuint(bus->devices->len, ==, 0);
    g_assert_cmpuint(vt_reg(&v, 8), ==, 0);
    vt_clear(&v);
}

static void test_refused(void)
{
    struct vt v;
    GError *error = NULL;

    check_refused("virtio-rng-device", "{\"period\": 0}", "period");
    check_refused("virtio-rng-device", "{\"max-bytes\": 9223372036854775808}", "max-bytes");
    check_refused("virtio-serial-device", "{\"max_ports\": 0}", "max_ports");
    check_refused("virtio-serial-device", "{\"max_ports\": 512}", "max_ports");

    vt_init(&v, "virtio-rng-device", NULL, false);
    g_assert_null(bus_find(v.t.control.root, "virtio-bus", NULL, &error));
    g_clear_error(&error);
    g_assert_null(bus_find(v.t.control.root, "virtio-bus", "virtio-mmio-bus.0", &error));
    g_clear_error(&error);
    g_assert_null(bus_find(v.t.control.root, "virtio-bus", "virtio-mmio-bus.1", &error));
    g_clear_error(&error);
    g_assert_null(bus_find(v.t.control.root, "virtio-serial-bus", "virtio-mmio-bus.0", &error));
    g_clear_error(&error);
    vt_clear(&v);
}

/* ---- virtio-serial ---- */

struct terminal {
    struct vt v;
    struct chardev_context context;
    struct chardev *chr[2];
    int fd[2];
};

/* A socket whose other end is in *fd. */
static struct chardev *make_chardev(struct terminal *x, unsigned i)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    g_autofree char *path = g_strdup_printf("%s/s%u", x->v.t.control.dir, i);
    g_autofree char *option = g_strdup_printf("socket,id=s%u,path=%s,server=on,wait=off", i, path);
    GError *error = NULL;
    struct chardev *chr = chardev_new_option(&x->context, option, &error);

    g_assert_no_error(error);
    x->fd[i] = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0);
    g_strlcpy(address.sun_path, path, sizeof(address.sun_path));
    g_assert_cmpint(connect(x->fd[i], (struct sockaddr *)&address, sizeof(address)), ==, 0);
    while (!chardev_is_open(chr)) {
        event_loop_iterate(x->v.t.control.loop, true);
    }
    return chr;
}

static struct object *plug_port(struct terminal *x, const char *type, const char *name,
                                const char *properties, const char *refused)
{
    GError *error = NULL;
    struct bus *bus = bus_find(x->v.t.control.root, "virtio-serial-bus", NULL, &error);
    auto_ptr(object) obj = object_new(object_type_find(type));
    g_autoptr(json_object) json = json_parse(properties, &error);

    g_assert_no_error(error);
    obj->user_created = true;
    g_assert_true(object_set_all(obj, json, NULL, false, &error));
    g_assert_true(object_add_child(x->v.t.control.root, name, obj, &error));
    if (refused) {
        g_assert_false(hotplug_plug(&bus->object, obj, &error));
        g_assert_nonnull(strstr(error->message, refused));
        g_clear_error(&error);
        object_remove(obj);
        return NULL;
    }
    hotplug_plug(&bus->object, obj, &error);
    g_assert_no_error(error);
    return obj;
}

static void terminal_init(struct terminal *x, const char *properties)
{
    struct hw_test *t = &x->v.t;

    vt_init(&x->v, NULL, NULL, false);
    x->context = (struct chardev_context){
        .root = t->control.root, .loop = t->control.loop, .clocks = t->control.context.clocks,
        .log = t->control.context.log, .fdsets = t->control.context.fdsets};
    for (unsigned i = 0; i < 2; i++) {
        x->chr[i] = make_chardev(x, i);
    }
    x->v.type = "virtio-serial-device";
    x->v.properties = properties;
    vt_plug(&x->v);
}

static void terminal_clear(struct terminal *x)
{
    struct bus *bus =
        (struct bus *)object_resolve(x->v.t.control.root, "virtio-serial-bus.0", "bus", NULL);
    GError *error = NULL;

    while (bus->devices->len) {
        hotplug_unplug(&bus->object, bus->devices->pdata[0]);
    }
    vt_unplug(&x->v);
    for (unsigned i = 0; i < 2; i++) {
        close(x->fd[i]);
        chardev_remove(x->chr[i], &error);
        g_assert_no_error(error);
    }
    vt_clear(&x->v);
}

/* What came out at the other end, exactly. */
static void expect(struct terminal *x, unsigned i, const char *text)
{
    char got[256] = "";
    size_t n = 0;

    for (unsigned tries = 0; tries < 2000 && n < strlen(text); tries++) {
        ssize_t r;

        hw_run_loop(&x->v.t);
        r = read(x->fd[i], got + n, sizeof(got) - 1 - n);
        n += r > 0 ? (size_t)r : 0;
        if (r <= 0) {
            g_usleep(100);
        }
    }
    g_assert_cmpstr(got, ==, text);
}

static void send_text(struct vt *v, struct vt_queue *q, const char *text)
{
    struct vt_buffer out = {HW_TEST_RAM + VT_DATA, (uint32_t)strlen(text)};
    uint16_t id;
    uint32_t written;

    memcpy(vt_host(v, out.address), text, out.size);
    vt_add(v, q, &out, 1, false);
    vt_set_reg(v, 0x50, q->index);
    hw_run_loop(&v->t);
    g_assert_true(vt_get(v, q, &id, &written));
}

static void test_console(void)
{
    struct terminal x;
    struct vt_queue *in, *out;
    struct vt_buffer buffer = {HW_TEST_RAM + VT_DATA + 4096, 16, true};
    uint16_t id;
    uint32_t written;

    terminal_init(&x, "{\"max_ports\": 1}");
    plug_port(&x, "virtconsole", "console", "{\"chardev\": \"s0\"}", NULL);
    g_assert_cmpuint(vt_reg(&x.v, 8), ==, 3);
    g_assert_cmphex(vt_offered(&x.v) & 7, ==, 4);
    /* Before anything is set up. */
    hw_write(&x.v.t, 0x108, 4, 'E');
    expect(&x, 0, "E");
    vt_negotiate(&x.v, V1);
    in = vt_queue(&x.v, 0, 64);
    out = vt_queue(&x.v, 1, 64);
    vt_go(&x.v);
    send_text(&x.v, out, "hello");
    expect(&x, 0, "hello");

    /* Input that comes before there is a buffer, and then more than one takes. */
    g_assert_cmpint(write(x.fd[0], "0123456789abcdefXYZ", 19), ==, 19);
    hw_run_loop(&x.v.t);
    for (unsigned i = 0; i < 2; i++) {
        vt_add(&x.v, in, &buffer, 1, false);
        vt_set_reg(&x.v, 0x50, 0);
        while (!vt_get(&x.v, in, &id, &written)) {
            event_loop_iterate(x.v.t.control.loop, true);
        }
        g_assert_cmpuint(written, ==, i ? 3 : 16);
        g_assert_cmpint(
            memcmp(vt_host(&x.v, buffer.address), i ? "XYZ" : "0123456789abcdef", written), ==, 0);
    }
    terminal_clear(&x);
}

struct message {
    uint32_t port;
    uint16_t event, value;
    char name[16];
};

/* The next control message to the driver. */
static struct message next_message(struct vt *v, struct vt_queue *q)
{
    struct message message = {0};
    uint16_t id;
    uint32_t written;

    hw_run_loop(&v->t);
    g_assert_true(vt_get(v, q, &id, &written));
    g_assert_cmpuint(written, >=, 8);
    g_assert_cmpuint(written, <, sizeof(message));
    memcpy(&message, vt_host(v, HW_TEST_RAM + VT_DATA + 0x10000 + id * 64ull), written);
    /* Offered again. */
    vt_add(v, q,
           &(struct vt_buffer){HW_TEST_RAM + VT_DATA + 0x10000 + q->next_desc * 64ull, 64, true}, 1,
           false);
    return message;
}

static void expect_message(struct vt *v, struct vt_queue *q, uint32_t port, unsigned event,
                           unsigned value, const char *name)
{
    struct message m = next_message(v, q);

    g_assert_cmpuint(m.port, ==, port);
    g_assert_cmpuint(m.event, ==, event);
    g_assert_cmpuint(m.value, ==, value);
    g_assert_cmpstr(m.name, ==, name ? name : "");
}

static void tell(struct vt *v, struct vt_queue *q, uint32_t port, uint16_t event, uint16_t value)
{
    struct vt_buffer out = {HW_TEST_RAM + VT_DATA, 8};
    struct message m = {port, event, value, ""};
    uint16_t id;
    uint32_t written;

    memcpy(vt_host(v, out.address), &m, 8);
    vt_add(v, q, &out, 1, false);
    vt_set_reg(v, 0x50, q->index);
    hw_run_loop(&v->t);
    g_assert_true(vt_get(v, q, &id, &written));
}

static void test_ports(void)
{
    struct terminal x;
    struct vt *v = &x.v;
    struct vt_queue *control_in, *control_out, *in, *out;
    struct vt_buffer buffer = {HW_TEST_RAM + VT_DATA + 4096, 16, true};
    struct object *port;
    uint16_t id;
    uint32_t written;

    terminal_init(&x, "{\"max_ports\": 3}");
    g_assert_cmphex(vt_offered(v) & 7, ==, 6);
    g_assert_cmphex(hw_read(&v->t, 0x104, 4), ==, 3);
    plug_port(&x, "virtserialport", "p0", "{\"nr\": 0}", "reserved for virtconsole");
    plug_port(&x, "virtserialport", "p0", "{\"nr\": 3}", "Out-of-range port id");
    plug_port(&x, "virtserialport", "p0", "{\"chardev\": \"none\"}", "can't find value 'none'");
    port =
        plug_port(&x, "virtserialport", "p1", "{\"chardev\": \"s0\", \"name\": \"org.a.b\"}", NULL);
    plug_port(&x, "virtserialport", "p2", "{\"nr\": 1}", "already exists at id 1");
    vt_negotiate(v, UINT64_MAX & ~(1ull << VIRTIO_F_EVENT_IDX));
    control_in = vt_queue(v, 2, 16);
    control_out = vt_queue(v, 3, 16);
    in = vt_queue(v, 4, 16);
    out = vt_queue(v, 5, 16);
    vt_go(v);
    for (unsigned i = 0; i < 8; i++) {
        vt_add(v, control_in,
               &(struct vt_buffer){HW_TEST_RAM + VT_DATA + 0x10000 + i * 64ull, 64, true}, 1,
               false);
    }
    tell(v, control_out, 0, 0, 1);
    expect_message(v, control_in, 1, 1, 1, NULL);
    tell(v, control_out, 1, 3, 1);
    expect_message(v, control_in, 1, 7, 1, "org.a.b");
    expect_message(v, control_in, 1, 6, 1, NULL);
    /* Data is kept back until the guest opens the port. */
    g_assert_cmpint(write(x.fd[0], "abc", 3), ==, 3);
    vt_add(v, in, &buffer, 1, false);
    vt_set_reg(v, 0x50, 4);
    hw_run_loop(&v->t);
    g_assert_false(vt_get(v, in, &id, &written));
    tell(v, control_out, 1, 6, 1);
    while (!vt_get(v, in, &id, &written)) {
        event_loop_iterate(v->t.control.loop, true);
    }
    g_assert_cmpuint(written, ==, 3);
    send_text(v, out, "to the host");
    expect(&x, 0, "to the host");

    /* The host hangs up: what the guest writes is lost, and it is told. */
    close(x.fd[0]);
    while (chardev_is_open(x.chr[0])) {
        event_loop_iterate(v->t.control.loop, true);
    }
    expect_message(v, control_in, 1, 6, 0, NULL);
    send_text(v, out, "lost");

    /* Another port comes; the first goes. Nonsense is ignored. */
    plug_port(&x, "virtconsole", "console", "{\"chardev\": \"s1\"}", NULL);
    expect_message(v, control_in, 0, 1, 1, NULL);
    tell(v, control_out, 0, 3, 1);
    expect_message(v, control_in, 0, 4, 1, NULL);
    expect_message(v, control_in, 0, 6, 1, NULL);
    tell(v, control_out, 77, 3, 1);
    tell(v, control_out, 2, 3, 1);
    tell(v, control_out, 2, 6, 1);
    tell(v, control_out, 1, 99, 1);
    hotplug_unplug(&bus_find(v->t.control.root, "virtio-serial-bus", NULL, NULL)->object, port);
    expect_message(v, control_in, 1, 2, 1, NULL);
    send_text(v, out, "nobody");
    vt_set_reg(v, 0x70, 0);
    hw_run_loop(&v->t);
    x.fd[0] = dup(x.fd[1]);
    terminal_clear(&x);
}

/* A host that doesn't read: the guest's buffer comes back when it does, with nothing lost or
 * doubled. */
static void test_slow_host(void)
{
    enum { SIZE = 300000 };
    struct terminal x;
    struct vt_queue *out;
    struct vt_buffer buffer = {HW_TEST_RAM + VT_DATA, SIZE};
    g_autofree uint8_t *got = g_malloc(2 * SIZE);
    size_t n = 0;
    uint16_t id;
    uint32_t written;

    terminal_init(&x, "{\"max_ports\": 1}");
    plug_port(&x, "virtconsole", "console", "{\"chardev\": \"s0\"}", NULL);
    vt_negotiate(&x.v, V1);
    vt_queue(&x.v, 0, 64);
    out = vt_queue(&x.v, 1, 64);
    vt_go(&x.v);
    for (unsigned i = 0; i < SIZE; i++) {
        ((uint8_t *)vt_host(&x.v, buffer.address))[i] = (uint8_t)(i * 13 + i / 251);
    }
    vt_add(&x.v, out, &buffer, 1, false);
    vt_set_reg(&x.v, 0x50, 1);
    hw_run_loop(&x.v.t);
    g_assert_false(vt_get(&x.v, out, &id, &written));
    for (unsigned tries = 0; tries < 20000 && n < SIZE; tries++) {
        ssize_t r = read(x.fd[0], got + n, 2 * SIZE - n);

        n += r > 0 ? (size_t)r : 0;
        hw_run_loop(&x.v.t);
    }
    g_assert_cmpmem(got, n, vt_host(&x.v, buffer.address), SIZE);
    g_assert_true(vt_get(&x.v, out, &id, &written));
    terminal_clear(&x);
}

/* ---- virtio-balloon ---- */

static struct qapi_event_sink *no_events(struct vm *vm)
{
    return NULL;
}

static const struct hw_vm_ops balloon_vm_ops = {.events = no_events};

static void test_balloon(void)
{
    struct vt v;
    struct vt_queue *inflate, *deflate, *stats, *report;
    struct qapi_balloon_info info = {0};
    struct qapi_balloon_arg wanted = {.value = HW_TEST_RAM_SIZE / 2};
    struct qmp_context qmp = {0};
    const uint32_t pages[] = {(HW_TEST_RAM + VT_DATA) >> 12, (HW_TEST_RAM + VT_DATA + 4096) >> 12,
                              (HW_TEST_RAM + VT_DATA + 3 * 4096) >> 12, 0x70000, UINT32_MAX, 0};
    struct vt_buffer list = {HW_TEST_RAM + VT_DATA + 0x20000, sizeof(pages)};
    struct vt_buffer stat = {HW_TEST_RAM + VT_DATA + 0x21000, 20};
    struct vt_buffer free_pages = {HW_TEST_RAM + VT_DATA + 0x8800, 0x1800, true};
    json_object *value;
    GError *error = NULL;
    uint16_t id;
    uint32_t written;

    vt_init(&v, NULL, NULL, false);
    v.t.hw.ram_size = HW_TEST_RAM_SIZE;
    v.t.hw.vm_ops = &balloon_vm_ops;
    qmp.root = v.t.control.root;
    g_assert_false(qmp_query_balloon(&qmp, &info, &error));
    g_assert_cmpint(error->code, ==, QAPI_ERROR_DEVICE_NOT_ACTIVE);
    g_clear_error(&error);
    v.type = "virtio-balloon-device";
    v.properties = "{\"free-page-reporting\": true, \"guest-stats-polling-interval\": 2}";
    vt_plug(&v);
    vt_negotiate(&v, UINT64_MAX);
    inflate = vt_queue(&v, 0, 16);
    deflate = vt_queue(&v, 1, 16);
    stats = vt_queue(&v, 2, 16);
    report = vt_queue(&v, 3, 16);
    vt_go(&v);

    g_assert_true(qmp_balloon(&qmp, &wanted, &error));
    g_assert_cmpuint(vt_take_interrupt(&v), ==, VIRTIO_ISR_CONFIG);
    g_assert_cmpuint(hw_read(&v.t, 0x100, 4), ==, HW_TEST_RAM_SIZE / 2 / 4096);
    memset(vt_host(&v, HW_TEST_RAM + VT_DATA), 0xaa, 0x10000);
    memcpy(vt_host(&v, list.address), pages, sizeof(pages));
    vt_add(&v, inflate, &list, 1, false);
    vt_set_reg(&v, 0x50, 0);
    hw_run_loop(&v.t);
    g_assert_true(vt_get(&v, inflate, &id, &written));
    for (unsigned i = 0; i < 5; i++) {
        g_assert_cmphex(*(uint8_t *)vt_host(&v, HW_TEST_RAM + VT_DATA + i * 4096 + 4095), ==,
                        i < 2 || i == 3 ? 0 : 0xaa);
    }
    hw_write(&v.t, 0x104, 4, 3);
    g_assert_true(qmp_query_balloon(&qmp, &info, &error));
    g_assert_cmpint(info.actual, ==, HW_TEST_RAM_SIZE - 3 * 4096);
    vt_replace(&v);
    g_assert_true(qmp_query_balloon(&qmp, &info, &error));
    g_assert_cmpint(info.actual, ==, HW_TEST_RAM_SIZE - 3 * 4096);
    vt_add(&v, deflate, &list, 1, false);
    vt_set_reg(&v, 0x50, 1);
    hw_run_loop(&v.t);
    g_assert_true(vt_get(&v, deflate, &id, &written));

    /* Reported: whole pages only; not if the guest expects a poison there. */
    for (unsigned poison = 2; poison--;) {
        hw_write(&v.t, 0x10c, 4, poison ? 0xaaaaaaaa : 0);
        vt_add(&v, report, &free_pages, 1, true);
        vt_set_reg(&v, 0x50, 3);
        hw_run_loop(&v.t);
        g_assert_true(vt_get(&v, report, &id, &written));
        g_assert_cmphex(*(uint8_t *)vt_host(&v, HW_TEST_RAM + VT_DATA + 0x8fff), ==, 0xaa);
        g_assert_cmphex(*(uint8_t *)vt_host(&v, HW_TEST_RAM + VT_DATA + 0x9000), ==,
                        poison ? 0xaa : 0);
        g_assert_cmphex(*(uint8_t *)vt_host(&v, HW_TEST_RAM + VT_DATA + 0xa000), ==, 0xaa);
    }

    /* Statistics: a buffer that stays, and comes back every two seconds. */
    memcpy(vt_host(&v, stat.address),
           "\4\0\x15\xcd\x5b\x07\0\0\0\0"
           "\xff\xff\1\1\1\1\1\1\1\1",
           20);
    vt_add(&v, stats, &stat, 1, false);
    vt_set_reg(&v, 0x50, 2);
    hw_run_loop(&v.t);
    g_assert_false(vt_get(&v, stats, &id, &written));
    value = object_get(&v.vdev->device.object, "guest-stats", &error);
    g_assert_no_error(error);
    g_assert_nonnull(strstr(json_object_to_json_string(value), "123456789"));
    json_object_put(value);
    vt_replace(&v);
    hw_step_clock(&v.t, 1900000000);
    g_assert_false(vt_get(&v, stats, &id, &written));
    hw_step_clock(&v.t, 200000000);
    g_assert_true(vt_get(&v, stats, &id, &written));
    g_assert_false(
        object_set_str(&v.vdev->device.object, "guest-stats-polling-interval", "-1", &error));
    g_clear_error(&error);
    wanted.value = 0;
    g_assert_false(qmp_balloon(&qmp, &wanted, &error));
    g_clear_error(&error);
    vt_clear(&v);
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    g_test_add_func("/virtio/rng", test_rng);
    g_test_add_func("/virtio/rng-limit", test_rng_limit);
    g_test_add_func("/virtio/refused", test_refused);
    g_test_add_func("/virtio/console", test_console);
    g_test_add_func("/virtio/ports", test_ports);
    g_test_add_func("/virtio/slow-host", test_slow_host);
    g_test_add_func("/virtio/balloon", test_balloon);
    return g_test_run();
}
