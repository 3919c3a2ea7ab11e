/*
 * Whole machines that are saved and go on in another one: what the guest prints in all of them is
 * what it prints in one. And saved machines that can't be loaded.
 */
#include <string.h>

#include "chardev/chardev.h"
#include "control.h"
#include "machine/devices.h"
#include "machine/vm.h"
#include "migration/machine_state.h"
#include "qapi/json.h"

#define OPENSBI "/usr/lib/riscv64-linux-gnu/opensbi/generic/fw_dynamic.bin"

enum { WAIT_S = 60 };

/* A machine with its serial port in a file. */
struct box {
    struct event_loop *loop;
    struct log *log;
    struct fdsets *fdsets;
    struct vm *vm;
    struct qapi_smp_configuration smp;
    struct chardev_context chardevs;
    char *path;
};

struct options {
    const char *properties;         /* of the machine, JSON with ' for " */
    unsigned cpus;
    uint64_t ram_mib;
    const char *const *devices;     /* types, NULL-terminated; NULL: none */
};

static void box_open(struct box *b, const struct options *options)
{
    g_autofree char *text = g_strdelimit(g_strdup(options->properties), "'", '"');
    g_autofree char *serial = NULL;
    g_autoptr(json_object) properties = NULL;
    GError *error = NULL;
    int fd;

    *b = (struct box){.log = log_new("test"), .fdsets = fdsets_new()};
    b->loop = event_loop_new("main", &error);
    g_assert_no_error(error);
    b->vm = vm_new("riscv64", b->loop, b->log, b->fdsets);
    b->vm->ram_size = options->ram_mib << 20;
    b->smp = (struct qapi_smp_configuration){.has_cpus = true, .cpus = options->cpus};
    b->vm->smp = &b->smp;
    b->chardevs = (struct chardev_context){
        .root = b->vm->root, .loop = b->loop, .clocks = b->vm->clocks, .log = b->log,
        .fdsets = b->fdsets,
    };
    fd = g_file_open_tmp("nandu-test-XXXXXX", &b->path, &error);
    g_assert_no_error(error);
    close(fd);
    serial = g_strconcat("file:", b->path, NULL);
    g_ptr_array_add(b->vm->serials,
                    chardev_new_short(&b->chardevs, "serial0", serial, true, &error));
    g_assert_no_error(error);
    auto_ptr(object) accel = object_new(object_type_find("tcg-accel"));
    g_assert_true(object_add_child(b->vm->root, "accel", accel, &error));
    g_assert_true(object_complete(accel, &error));
    properties = json_parse(text, &error);
    g_assert_no_error(error);
    vm_create_machine(b->vm, "virt", properties, false, &error);
    g_assert_no_error(error);
    for (unsigned i = 0; options->devices && options->devices[i]; i++) {
        g_autoptr(json_object) device = json_object_new_object();

        json_object_object_add(device, "driver", json_object_new_string(options->devices[i]));
        vm_add_device(b->vm, device, false, &error);
        g_assert_no_error(error);
    }
    vm_machine_ready(b->vm, &error);
    g_assert_no_error(error);
}

static void box_close(struct box *b)
{
    vm_close_machine(b->vm);
    chardev_close_all(b->vm->root);
    while (event_loop_iterate(b->loop, false)) {
    }
    vm_free(b->vm);
    fdsets_free(b->fdsets);
    event_loop_unref(b->loop);
    log_free(b->log);
    g_unlink(b->path);
    g_free(b->path);
}

/* What the guest has printed. */
static char *box_text(struct box *b)
{
    char *text = NULL;

    while (event_loop_iterate(b->loop, false)) {
    }
    g_assert_true(g_file_get_contents(b->path, &text, NULL, NULL));
    return text;
}

/* Lets it run for ms, or until all that was printed so far has the word. Whether it has. */
static bool box_run(struct box *b, GString *before, unsigned ms, const char *word)
{
    gint64 end = g_get_monotonic_time() + ms * G_TIME_SPAN_MILLISECOND;
    bool found = false;

    vm_start(b->vm);
    do {
        g_autofree char *text = box_text(b);
        g_autofree char *all = g_strconcat(before->str, text, NULL);

        found = strstr(all, word) != NULL;
        g_usleep(500);
    } while (!found && g_get_monotonic_time() < end);
    vm_stop(b->vm, QAPI_RUN_STATE_PAUSED);
    return found;
}

/* ---- A stream in memory ---- */

struct memory_stream {
    GByteArray *bytes;
    size_t position;
};

static bool append(void *opaque, const void *data, size_t size, GError **error)
{
    g_byte_array_append(((struct memory_stream *)opaque)->bytes, data, (guint)size);
    return true;
}

static bool take(void *opaque, void *data, size_t size, GError **error)
{
    struct memory_stream *s = opaque;

    if (size > s->bytes->len - s->position) {
        g_set_error(error, G_FILE_ERROR, 0, "the end");
        return false;
    }
    memcpy(data, s->bytes->data + s->position, size);
    s->position += size;
    return true;
}

static struct machine_state state_of(struct box *b)
{
    return (struct machine_state){object_child(b->vm->root, "machine"), b->vm->memory,
                                  b->vm->clocks};
}

static GByteArray *box_save(struct box *b)
{
    struct memory_stream s = {.bytes = g_byte_array_new()};
    struct state_writer out = {append, &s};
    struct machine_state machine = state_of(b);
    GError *error = NULL;

    machine_state_save(&machine, &out, &error);
    g_assert_no_error(error);
    return s.bytes;
}

static bool box_load(struct box *b, GByteArray *bytes, GError **error)
{
    struct memory_stream s = {.bytes = bytes};
    struct state_reader in = {take, &s};
    struct machine_state machine = state_of(b);

    return machine_state_load(&machine, &in, error) && s.position == bytes->len;
}

/* ---- Going on ---- */

/*
 * Runs a guest until it has printed the word: in one machine for some time, then in the next, and
 * so on. Returns what all of them printed.
 */
static GString *relay(const struct options *options, unsigned ms, unsigned max, const char *word,
                      unsigned *n_machines)
{
    GString *all = g_string_new(NULL);
    g_autoptr(GByteArray) saved = NULL;
    bool found = false;

    for (*n_machines = 0; !found; ++*n_machines) {
        g_autoptr(GByteArray) again = NULL;
        g_autofree char *text = NULL;
        GError *error = NULL;
        struct box b;

        box_open(&b, options);
        if (saved) {
            g_assert_true(box_load(&b, saved, &error));
            g_assert_no_error(error);
            /* Nothing of it is lost or made anew. */
            again = box_save(&b);
            g_assert_cmpmem(again->data, again->len, saved->data, saved->len);
            g_byte_array_unref(saved);
        }
        found = box_run(&b, all, *n_machines + 1 < max ? ms : WAIT_S * 1000, word);
        if (!found && *n_machines + 1 >= max) {
            g_error("no '%s' in: %s", word, all->str);
        }
        saved = box_save(&b);
        text = box_text(&b);
        g_string_append(all, text);
        box_close(&b);
    }
    return all;
}

static void test_opensbi(void)
{
    /* With one hart: of several any may be the one that boots. */
    static const struct options options = {"{}", 1, 64, NULL};
    static const char end[] = "Boot HART MEDELEG";
    g_autoptr(GString) once = NULL, many = NULL;
    unsigned n;

    if (access(OPENSBI, R_OK)) {
        g_test_skip("Debian's package opensbi is not installed");
        return;
    }
    once = relay(&options, 0, 1, end, &n);
    g_assert_cmpuint(n, ==, 1);
    many = relay(&options, 1, 50, end, &n);
    g_assert_cmpuint(n, >, 1);
    g_string_truncate(once, (gsize)(strstr(once->str, end) - once->str));
    g_string_truncate(many, (gsize)(strstr(many->str, end) - many->str));
    for (size_t i = 0; once->str[i] || many->str[i]; i++) {
        if (once->str[i] != many->str[i]) {
            g_error("at %zu: '%.200s' is not '%.200s'", i, many->str + i, once->str + i);
        }
    }
}

static char *kernel_path(void)
{
    const char *cache = g_getenv("NANDU_CACHE");

    return cache ? g_build_filename(cache, "kernel-riscv64-trixie", "vmlinux", NULL)
                 : g_build_filename(g_get_home_dir(), ".cache", "nandu", "kernel-riscv64-trixie",
                                    "vmlinux", NULL);
}

/* To its panic for want of a root: timers, page tables, two harts, all of a kernel's start. */
static void test_linux(void)
{
    g_autofree char *kernel = kernel_path();
    g_autofree char *properties = g_strdup_printf("{'kernel': '%s', 'append': 'console=ttyS0'}",
                                                  kernel);
    /* Linux has drivers for these built in, or finds them on the bus. */
    static const char *const devices[] = {"virtio-serial-pci", "virtconsole", "virtio-rng-pci",
                                          "virtio-balloon-pci", "virtio-rng-device", NULL};
    struct options options = {properties, 2, 256, devices};
    g_autoptr(GString) text = NULL;
    unsigned n;

    if (access(OPENSBI, R_OK) || access(kernel, R_OK)) {
        g_test_skip("Debian's package opensbi or its kernel (tools/fetch-guest-kernel) isn't here");
        return;
    }
    text = relay(&options, 150, 5, "Unable to mount root fs", &n);
    g_test_message("%u machines", n);
    g_assert_cmpuint(n, >, 2);
    g_assert_nonnull(strstr(text->str, "Linux version"));
    g_assert_nonnull(strstr(text->str, "Brought up 1 node, 2 CPUs"));
    g_assert_null(strstr(text->str, "Oops"));
}

/* ---- What can't be loaded ---- */

static void refuse(struct box *b, GByteArray *bytes, const char *pattern)
{
    g_autoptr(GError) error = NULL;

    g_assert_false(box_load(b, bytes, &error));
    if (pattern) {
        assert_error_matches(error, pattern);
    }
}

static void test_others(void)
{
    static const struct options options = {"{'firmware': 'none'}", 1, 8, NULL};
    static const struct options two = {"{'firmware': 'none'}", 2, 8, NULL};
    static const struct options big = {"{'firmware': 'none'}", 1, 16, NULL};
    g_autoptr(GByteArray) saved = NULL, of_two = NULL;
    struct box b;

    box_open(&b, &two);
    of_two = box_save(&b);
    box_close(&b);
    box_open(&b, &options);
    saved = box_save(&b);
    refuse(&b, of_two, "*machine with a device '/machine/soc0/harts*1*");
    box_close(&b);
    box_open(&b, &big);
    refuse(&b, saved, "*has 8388608 bytes, here it has 16777216");
    box_close(&b);
    box_open(&b, &two);
    refuse(&b, saved, "*");
    box_close(&b);
}

/* Cut off anywhere, or with a byte changed: refused or loaded, and nothing else. */
static void test_damaged(void)
{
    static const struct options options = {"{'firmware': 'none'}", 1, 2, NULL};
    g_autoptr(GRand) rand = g_rand_new_with_seed(11);
    g_autoptr(GByteArray) saved = NULL;
    g_autoptr(GError) error = NULL;
    struct box b;

    box_open(&b, &options);
    saved = box_save(&b);
    for (unsigned i = 0; i < 400; i++) {
        g_autoptr(GByteArray) cut = g_byte_array_new();

        g_byte_array_append(cut, saved->data, (guint)g_rand_int_range(rand, 0, (gint)saved->len));
        refuse(&b, cut, NULL);
    }
    for (unsigned i = 0; i < 2000; i++) {
        g_autoptr(GByteArray) bad = g_byte_array_new();
        bool loaded;

        g_byte_array_append(bad, saved->data, saved->len);
        /* Mostly of the devices, which come last. */
        bad->data[i % 4 ? saved->len - 1 - (guint)g_rand_int_range(rand, 0, 20000) % saved->len
                        : (guint)g_rand_int_range(rand, 0, (gint)saved->len)] ^=
            (guint8)(1u << g_rand_int_range(rand, 0, 8));
        loaded = box_load(&b, bad, &error);
        g_assert_true(loaded || error || true);
        g_clear_error(&error);
    }
    g_assert_true(box_load(&b, saved, &error));
    g_assert_no_error(error);
    box_close(&b);
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    g_test_add_func("/machine-state/opensbi", test_opensbi);
    g_test_add_func("/machine-state/linux", test_linux);
    g_test_add_func("/machine-state/others", test_others);
    g_test_add_func("/machine-state/damaged", test_damaged);
    return g_test_run();
}
