/*
 * nandu run FILE...: looks at the files, chooses a machine (or user mode) and all of its options,
 * says what it chose in a form that can be typed, and starts it.
 */
#include "cli/run.h"

#include <errno.h>
#include <glib.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/utsname.h>
#include <unistd.h>

#include "cli/identify.h"
#include "cli/system_main.h"
#include "qapi/error.h"

static const char help[] =
    "usage: nandu run [--dry-run] FILE... [OPTION...]       a machine\n"
    "       nandu run [--dry-run] PROGRAM [ARGUMENT...]     a Linux program\n"
    "\n"
    "A FILE is recognised by what is in it; they may come in any order:\n"
    "  a Linux kernel   Image, EFI zboot, ELF, or packed by gzip or zstd; U-Boot\n"
    "  an initrd        a cpio archive, packed or not\n"
    "  a disk           raw with partitions or a file system, qcow2 and the like, ISO 9660\n"
    "  firmware         OpenSBI, UEFI, a bare program in ELF\n"
    "  a device tree    compiled (.dtb)\n"
    "A kernel's root is the first disk's Linux partition. A disk without a kernel is started by\n"
    "U-Boot (Debian's package u-boot-qemu), from an extlinux.conf or an EFI loader on it.\n"
    "The machine gets memory and processors according to this computer's, a network, a source\n"
    "of random numbers, and this terminal as its serial port: Ctrl-A x ends it, Ctrl-A c is the\n"
    "monitor. The command that does all this is printed first.\n"
    "\n"
    "OPTIONs are those of nandu-system-ARCH (its -h lists them). One that is given replaces what\n"
    "would be chosen:\n"
    "  nandu run vmlinux initrd.img disk.img -m 4G -append 'root=/dev/vda2 console=ttyS0'\n"
    "  nandu run disk.img -nic user,model=virtio-net-pci,hostfwd=tcp::2222-:22\n"
    "All that follows a PROGRAM is its own:\n"
    "  nandu run ./program --its-own-option\n"
    "\n"
    "-n, --dry-run      only print the command\n";

struct input {
    const char *path;
    struct file_identity id;
};

struct run {
    bool dry_run;
    GArray *inputs;     /* struct input */
    char **rest;        /* what follows them; borrowed */
    GPtrArray *command; /* of char *; owned */
};

static bool G_GNUC_PRINTF(2, 3) fail(GError **error, const char *format, ...)
{
    g_autofree char *text = NULL;
    va_list args;

    va_start(args, format);
    text = g_strdup_vprintf(format, args);
    va_end(args);
    g_set_error_literal(error, QAPI_ERROR, QAPI_ERROR_GENERIC, text);
    return false;
}

static void G_GNUC_PRINTF(2, 3) add(struct run *run, const char *format, ...)
{
    va_list args;

    va_start(args, format);
    g_ptr_array_add(run->command, g_strdup_vprintf(format, args));
    va_end(args);
}

static struct input *input_of(const struct run *run, enum file_kind kind)
{
    for (guint i = 0; i < run->inputs->len; i++) {
        struct input *input = &g_array_index(run->inputs, struct input, i);

        if (input->id.kind == kind) {
            return input;
        }
    }
    return NULL;
}

/* Is one of the options, separated by spaces, among those that were given? */
static bool is_given(const struct run *run, const char *options)
{
    g_auto(GStrv) names = g_strsplit(options, " ", 0);

    for (char **arg = run->rest; *arg; arg++) {
        if (**arg == '-' &&
            g_strv_contains((const char *const *)names, *arg + 1 + ((*arg)[1] == '-'))) {
            return true;
        }
    }
    return false;
}

/* ---- Programs ---- */

/* NANDU_CACHE/NAME, where the tools keep what they fetch. */
static char *cache_path(const char *name)
{
    const char *cache = g_getenv("NANDU_CACHE");

    return cache ? g_build_filename(cache, name, NULL)
                 : g_build_filename(g_get_user_cache_dir(), "nandu", name, NULL);
}

static bool has_interpreter(const char *root, const struct input *program)
{
    g_autofree char *path = g_strconcat(root, program->id.interpreter, NULL);

    return g_file_test(path, G_FILE_TEST_EXISTS);
}

/* The folder that a dynamic program's absolute paths start from: the one that it is in, as far as
 * its dynamic linker is there, or where Debian's packages of cross libraries or our own tree are.
 * NULL: there is none. */
static char *find_root(const struct input *program, const char *arch)
{
    g_autofree char *here = realpath(program->path, NULL);
    g_autofree char *name = g_strdup_printf("guest-%s-trixie", arch);
    char *others[] = {g_strdup_printf("/usr/%s-linux-gnu", arch), cache_path(name)};
    char *root = NULL;

    for (char *slash; here && !root && (slash = strrchr(here, '/'));) {
        *slash = '\0';
        /* In usr there is a lib as well; the root is above. */
        if (has_interpreter(here, program) && !g_str_has_suffix(here, "/usr")) {
            root = g_strdup(*here ? here : "/");
        }
    }
    for (size_t i = 0; i < G_N_ELEMENTS(others); i++) {
        if (!root && has_interpreter(others[i], program)) {
            root = g_strdup(others[i]);
        }
        g_free(others[i]);
    }
    return root;
}

/* Beside this executable there are nandu-user and its names. */
static char *find_user_mode(const char *arch, GError **error)
{
    g_autofree char *self = g_file_read_link("/proc/self/exe", NULL);
    g_autofree char *folder = self ? g_path_get_dirname(self) : NULL;
    g_autofree char *name = g_strconcat("nandu-", arch, NULL);
    g_autofree char *path = folder ? g_build_filename(folder, name, NULL) : NULL;

    if (!path || !g_file_test(path, G_FILE_TEST_IS_EXECUTABLE)) {
        g_free(path);
        path = g_find_program_in_path(name);
    }
    if (!path) {
        fail(error, "%s is not installed beside nandu", name);
    }
    return g_steal_pointer(&path);
}

static bool choose_program(struct run *run, GError **error)
{
    const struct input *program = &g_array_index(run->inputs, struct input, 0);
    g_autofree char *user_mode = NULL, *root = NULL;

    user_mode = find_user_mode(program->id.arch, error);
    if (!user_mode) {
        return false;
    }
    add(run, "%s", user_mode);
    if (program->id.interpreter) {
        root = find_root(program, program->id.arch);
        if (!root) {
            return fail(error,
                        "%s needs %s: install libc6-%s-cross, or name the folder that has it: "
                        "nandu-%s -L FOLDER %s",
                        program->path, program->id.interpreter, program->id.arch, program->id.arch,
                        program->path);
        }
        if (!g_str_equal(root, "/")) {
            add(run, "-L");
            add(run, "%s", root);
        }
    }
    add(run, "%s", program->path);
    for (char **arg = run->rest; *arg; arg++) {
        add(run, "%s", *arg);
    }
    return true;
}

/* ---- Machines ---- */

/* A quarter of this computer's memory, from 512 MiB to 2 GiB; MiB. */
static unsigned choose_memory(void)
{
    long pages = sysconf(_SC_PHYS_PAGES), size = sysconf(_SC_PAGESIZE);
    uint64_t mib = pages > 0 && size > 0 ? (uint64_t)pages * size >> 20 : 0;

    return CLAMP(mib / 4 & ~(uint64_t)127, 512, 2048);
}

/* In values of key=value options a comma is doubled. */
static char *escape_commas(const char *path)
{
    g_auto(GStrv) parts = g_strsplit(path, ",", 0);

    return g_strjoinv(",,", parts);
}

static void add_disks(struct run *run)
{
    for (guint i = 0; i < run->inputs->len; i++) {
        const struct input *input = &g_array_index(run->inputs, struct input, i);
        g_autofree char *path = escape_commas(input->path);
        bool iso = input->id.kind == FILE_ISO;

        if (iso || input->id.kind == FILE_DISK) {
            add(run, "-drive");
            add(run, "file=%s,format=%s,if=virtio%s", path, input->id.format,
                iso ? ",readonly=on" : "");
        } else if (input->id.kind == FILE_FLASH) {
            add(run, "-drive");
            add(run, "file=%s,format=raw,if=pflash,readonly=on", path);
        }
    }
}

/* The loader that starts what is on a disk: installed, or fetched by tools/fetch-guest-packages. */
static char *find_boot_loader(GError **error)
{
    static const char name[] = "usr/lib/u-boot/qemu-riscv64_smode/u-boot.bin";
    g_autofree char *fetched = cache_path("packages-riscv64-trixie/u-boot-qemu");
    const char *const folders[] = {"/", fetched};

    for (size_t i = 0; i < G_N_ELEMENTS(folders); i++) {
        g_autofree char *path = g_build_filename(folders[i], name, NULL);

        if (g_file_test(path, G_FILE_TEST_EXISTS)) {
            return g_steal_pointer(&path);
        }
    }
    fail(error, "a disk without a kernel is started by U-Boot: install the package u-boot-qemu, or "
                "name a kernel as well");
    return NULL;
}

static void add_kernel_command_line(struct run *run)
{
    const struct input *disk = input_of(run, FILE_DISK);

    if (is_given(run, "append")) {
        return;
    }
    add(run, "-append");
    if (!disk) {
        add(run, "console=ttyS0");
    } else if (disk->id.has_partitions || !g_str_equal(disk->id.format, "raw")) {
        add(run, "root=/dev/vda%u rw console=ttyS0", disk->id.root ? disk->id.root : 1);
    } else {
        add(run, "root=/dev/vda rw console=ttyS0");
    }
}

static bool add_software(struct run *run, GError **error)
{
    static const struct {
        enum file_kind kind;
        const char *option, *name;
    } rows[] = {
        {FILE_FIRMWARE, "-bios", "bios"},
        {FILE_KERNEL, "-kernel", "kernel"},
        {FILE_INITRD, "-initrd", "initrd"},
        {FILE_DEVICE_TREE, "-dtb", "dtb"},
    };
    bool boots_disk = !input_of(run, FILE_KERNEL) && !input_of(run, FILE_FIRMWARE) &&
                      !input_of(run, FILE_FLASH) && !is_given(run, "kernel bios pflash");

    for (size_t i = 0; i < G_N_ELEMENTS(rows); i++) {
        const struct input *input = input_of(run, rows[i].kind);

        if (input && !is_given(run, rows[i].name)) {
            add(run, "%s", rows[i].option);
            add(run, "%s", input->path);
        }
    }
    if (boots_disk) {
        g_autofree char *loader = find_boot_loader(error);

        if (!loader) {
            return false;
        }
        add(run, "-kernel");
        add(run, "%s", loader);
    } else if (input_of(run, FILE_KERNEL) && !input_of(run, FILE_KERNEL)->id.is_boot_loader) {
        add_kernel_command_line(run);
    }
    return true;
}

static bool choose_machine(struct run *run, const char *arch, GError **error)
{
    add(run, "nandu-system-%s", arch);
    if (!is_given(run, "machine M")) {
        add(run, "-machine");
        add(run, "virt");
    }
    if (!is_given(run, "smp") && g_get_num_processors() > 1) {
        add(run, "-smp");
        add(run, "%u", MIN(g_get_num_processors(), 4));
    }
    if (!is_given(run, "m")) {
        add(run, "-m");
        add(run, "%u", choose_memory());
    }
    if (!is_given(run, "nographic display serial daemonize")) {
        add(run, "-nographic");
    }
    if (!add_software(run, error)) {
        return false;
    }
    add_disks(run);
    if (!is_given(run, "nic netdev net nodefaults")) {
        add(run, "-nic");
        add(run, "user,model=virtio-net-pci");
    }
    if (!is_given(run, "nodefaults")) {
        add(run, "-device");
        add(run, "virtio-rng-pci");
    }
    for (char **arg = run->rest; *arg; arg++) {
        add(run, "%s", *arg);
    }
    return true;
}

/* ---- Choosing ---- */

static bool check_input(const struct input *input, bool alone, GError **error)
{
    static const char *const guests[] = {"riscv64"};
    const char *arch = input->id.arch;
    bool known = !arch;

    for (size_t i = 0; arch && i < G_N_ELEMENTS(guests); i++) {
        known |= g_str_equal(arch, guests[i]);
    }
    switch (input->id.kind) {
    case FILE_UNKNOWN:
        return fail(
            error,
            "%s is none of what can be started (nandu run --help lists it); a raw disk or "
            "firmware that isn't recognised is given by -drive file=...,format=raw,if=virtio or -bios",
            input->path);
    case FILE_SCRIPT:
        return fail(error,
                    "%s is a script; name the program that runs it: nandu run INTERPRETER %s",
                    input->path, input->path);
    case FILE_EFI_PROGRAM:
        return fail(error,
                    "%s is an EFI program: it starts from a disk with UEFI firmware, not by itself",
                    input->path);
    case FILE_PROGRAM:
        if (!alone) {
            return fail(error,
                        "%s is a Linux program, and can't go with other files into a machine",
                        input->path);
        }
        break;
    default: break;
    }
    if (!known) {
        struct utsname host;

        if (input->id.kind == FILE_PROGRAM && !uname(&host) && g_str_equal(host.machine, arch)) {
            return fail(error,
                        "%s is %s of this computer's own architecture (%s); it needs no emulator",
                        input->path, input->id.what, arch);
        }
        return fail(error, "%s is %s for %s, and there is no such guest yet (riscv64 is there)",
                    input->path, input->id.what, arch);
    }
    return true;
}

static bool check_once(const struct run *run, GError **error)
{
    static const enum file_kind once[] = {FILE_KERNEL, FILE_FIRMWARE, FILE_INITRD,
                                          FILE_DEVICE_TREE};

    for (guint i = 0; i < run->inputs->len; i++) {
        const struct input *input = &g_array_index(run->inputs, struct input, i);

        for (size_t k = 0; k < G_N_ELEMENTS(once); k++) {
            const struct input *first = input_of(run, once[k]);

            if (input->id.kind == once[k] && first != input) {
                return fail(error, "%s and %s: a machine takes one %s", first->path, input->path,
                            once[k] == FILE_KERNEL     ? "kernel"
                            : once[k] == FILE_FIRMWARE ? "firmware"
                            : once[k] == FILE_INITRD   ? "initrd"
                                                       : "device tree");
            }
        }
    }
    if (!input_of(run, FILE_KERNEL) && !is_given(run, "kernel") && input_of(run, FILE_INITRD)) {
        return fail(error, "%s is an initrd; name its kernel as well",
                    input_of(run, FILE_INITRD)->path);
    }
    return true;
}

/* Files up to the first option. A program's arguments are its own. */
static bool look_at_files(struct run *run, char **argv, GError **error)
{
    bool separated = *argv && g_str_equal(*argv, "--");

    for (argv += separated; *argv && (**argv != '-' || separated); argv++) {
        struct input input = {.path = *argv};

        if (!file_identify(input.path, &input.id, error)) {
            return false;
        }
        g_array_append_val(run->inputs, input);
        if (!check_input(&input, run->inputs->len == 1, error)) {
            return false;
        }
        if (input.id.kind == FILE_PROGRAM) {
            argv++;
            break;
        }
        separated = false;
    }
    run->rest = argv + (*argv && g_str_equal(*argv, "--"));
    return run->inputs->len ||
           fail(error, "name a kernel, a disk image or a program (nandu run --help says more)");
}

static bool choose(struct run *run, char **argv, GError **error)
{
    const char *arch = NULL;

    if (!look_at_files(run, argv, error) || !check_once(run, error)) {
        return false;
    }
    if (g_array_index(run->inputs, struct input, 0).id.kind == FILE_PROGRAM) {
        return choose_program(run, error);
    }
    for (guint i = 0; i < run->inputs->len && !arch; i++) {
        arch = g_array_index(run->inputs, struct input, i).id.arch;
    }
    return choose_machine(run, arch ? arch : "riscv64", error);
}

/* As it can be typed in a shell. */
static void print_command(const struct run *run, FILE *out)
{
    static const char safe[] =
        "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_=+,./:@%";

    for (guint i = 0; i < run->command->len; i++) {
        const char *word = run->command->pdata[i];
        g_autofree char *quoted = g_shell_quote(word);

        fprintf(out, "%s%s", i ? " " : "", *word && !word[strspn(word, safe)] ? word : quoted);
    }
    fputc('\n', out);
}

static int start(struct run *run, bool is_program)
{
    g_ptr_array_add(run->command, NULL);
    if (!is_program) {
        const char *arch = (const char *)run->command->pdata[0] + strlen("nandu-system-");

        return system_main(arch, run->command->len - 1, (char **)run->command->pdata);
    }
    execv(run->command->pdata[0], (char **)run->command->pdata);
    fprintf(stderr, "nandu: %s: %s\n", (const char *)run->command->pdata[0], g_strerror(errno));
    return EXIT_FAILURE;
}

static void clear_input(gpointer data)
{
    struct input *input = data;

    file_identity_clear(&input->id);
}

int run_main(int argc, char **argv)
{
    struct run run = {
        .inputs = g_array_new(FALSE, FALSE, sizeof(struct input)),
        .command = g_ptr_array_new_with_free_func(g_free),
    };
    g_autoptr(GError) error = NULL;
    int status = EXIT_FAILURE;

    g_array_set_clear_func(run.inputs, clear_input);
    for (argv++; *argv && (g_str_equal(*argv, "-n") || g_str_equal(*argv, "--dry-run")); argv++) {
        run.dry_run = true;
    }
    if (*argv &&
        (g_str_equal(*argv, "-h") || g_str_equal(*argv, "--help") || g_str_equal(*argv, "help"))) {
        fputs(help, stdout);
        status = EXIT_SUCCESS;
    } else if (*argv && **argv == '-' && !g_str_equal(*argv, "--")) {
        fprintf(stderr,
                "nandu run: the files come first, then options such as %s (see nandu run --help)\n",
                *argv);
    } else if (!choose(&run, argv, &error)) {
        fprintf(stderr, "nandu run: %s\n", error->message);
    } else if (run.dry_run) {
        print_command(&run, stdout);
        status = EXIT_SUCCESS;
    } else {
        print_command(&run, stderr);
        status = start(&run, g_array_index(run.inputs, struct input, 0).id.kind == FILE_PROGRAM);
    }
    g_array_unref(run.inputs);
    g_ptr_array_unref(run.command);
    return status;
}
