/* nandu: the name that it is called by, or its first word, picks the program. */
#include <glib.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "cli/img.h"
#include "cli/io.h"
#include "cli/run.h"
#include "cli/system_main.h"

static const char *const guests[] = {"riscv64"};

/* The guest of "nandu-system-ARCH" or "qemu-system-ARCH", or NULL. */
static const char *guest_of(const char *name)
{
    static const char *const prefixes[] = {"nandu-system-", "qemu-system-"};

    for (size_t p = 0; p < G_N_ELEMENTS(prefixes); p++) {
        if (!g_str_has_prefix(name, prefixes[p])) {
            continue;
        }
        for (size_t i = 0; i < G_N_ELEMENTS(guests); i++) {
            if (g_str_equal(name + strlen(prefixes[p]), guests[i])) {
                return guests[i];
            }
        }
    }
    return NULL;
}

/* "img" or "io" of "nandu-img" or "qemu-img"; NULL: another program. */
static const char *tool_of(const char *name)
{
    static const char *const prefixes[] = {"nandu-", "qemu-"};

    for (size_t i = 0; i < G_N_ELEMENTS(prefixes); i++) {
        const char *rest = name + strlen(prefixes[i]);

        if (g_str_has_prefix(name, prefixes[i]) &&
            (g_str_equal(rest, "img") || g_str_equal(rest, "io"))) {
            return rest;
        }
    }
    return NULL;
}

static int run_tool(const char *tool, int argc, char **argv)
{
    return g_str_equal(tool, "io") ? io_main(argc, argv) : img_main(argc, argv);
}

static int usage(FILE *out, int status)
{
    fputs(
        "Nandu " NANDU_VERSION ": a machine emulator\n"
        "usage: nandu run FILE... [OPTION...]      a kernel, a disk image or a program\n"
        "       nandu system GUEST [OPTION...]     a machine; also called nandu-system-GUEST\n"
        "       nandu img COMMAND [OPTION...]      disk images; also called nandu-img\n"
        "       nandu io [OPTION...] [FILE]        reads and writes of one; also called nandu-io\n"
        "       nandu help [run|system|img|io]     their options\n"
        "guests: riscv64\n"
        "Linux programs of other architectures are also run by nandu-GUEST; -h lists its options.\n"
        "Manual pages: nandu(1), nandu-system-riscv64(1), nandu-riscv64(1), nandu-img(1), nandu-io(1).\n",
        out);
    return status;
}

/* nandu help [COMMAND] */
static int help(int argc, char **argv)
{
    char *run_help[] = {argv[0], "--help", NULL};
    char *io_help[] = {"nandu-io", "--help", NULL};
    char *img_help[] = {"nandu-img", "--help", NULL};
    char *system_help[] = {"nandu-system-riscv64", "-h", NULL};

    if (argc > 1 && g_str_equal(argv[1], "run")) {
        return run_main(2, run_help);
    }
    if (argc > 1 && g_str_equal(argv[1], "system")) {
        return system_main(guests[0], 2, system_help);
    }
    if (argc > 1 && g_str_equal(argv[1], "img")) {
        return img_main(2, img_help);
    }
    if (argc > 1 && g_str_equal(argv[1], "io")) {
        return io_main(2, io_help);
    }
    return usage(stdout, EXIT_SUCCESS);
}

int main(int argc, char **argv)
{
    const char *slash = argc ? strrchr(argv[0], '/') : NULL;
    const char *name = slash ? slash + 1 : argc ? argv[0] : "nandu";
    const char *guest = guest_of(name);

    if (guest) {
        return system_main(guest, argc, argv);
    }
    if (tool_of(name)) {
        return run_tool(tool_of(name), argc, argv);
    }
    if (argc > 1 && (g_str_equal(argv[1], "help") || g_str_equal(argv[1], "--help") ||
                     g_str_equal(argv[1], "-h"))) {
        return help(argc - 1, argv + 1);
    }
    if (argc > 1 && g_str_equal(argv[1], "run")) {
        return run_main(argc - 1, argv + 1);
    }
    if (argc > 1 && g_str_equal(argv[1], "--version")) {
        puts("Nandu " NANDU_VERSION);
        return EXIT_SUCCESS;
    }
    if (argc > 1 && (g_str_equal(argv[1], "img") || g_str_equal(argv[1], "io"))) {
        const char *tool = argv[1];
        g_autofree char *full = g_strconcat("nandu-", tool, NULL);

        argv[1] = full;
        return run_tool(tool, argc - 1, argv + 1);
    }
    if (argc > 2 && g_str_equal(argv[1], "system")) {
        g_autofree char *full = g_strconcat("nandu-system-", argv[2], NULL);

        guest = guest_of(full);
        if (guest) {
            argv[2] = full;
            return system_main(guest, argc - 2, argv + 2);
        }
        fprintf(stderr, "nandu: there are no machines for \"%s\"; guests: riscv64\n", argv[2]);
        return EXIT_FAILURE;
    }
    return usage(stderr, EXIT_FAILURE);
}
