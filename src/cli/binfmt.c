#include "cli/binfmt.h"

#include <glib.h>
#include <unistd.h>

/* The first 20 bytes of an ELF header: class, order, version, any OS ABI, then type (2 or 3) and
 * machine. */
static const struct {
    const char *arch, *magic, *mask;
} rows[] = {
    {"riscv64",
     "\\x7fELF\\x02\\x01\\x01\\x00\\x00\\x00\\x00\\x00\\x00\\x00\\x00\\x00\\x02\\x00\\xf3\\x00",
     "\\xff\\xff\\xff\\xff\\xff\\xff\\xff\\x00\\xff\\xff\\xff\\xff\\xff\\xff\\xff\\xff\\xfe\\xff"
     "\\xff\\xff"},
};

char *binfmt_rows(const char *family, const char *flags)
{
    g_autofree char *exe = g_file_read_link("/proc/self/exe", NULL);
    g_autofree char *dir = exe ? g_path_get_dirname(exe) : NULL;
    GString *text;

    if (!exe) {
        return NULL;
    }
    text = g_string_new(NULL);
    for (unsigned i = 0; i < G_N_ELEMENTS(rows); i++) {
        g_autofree char *named = g_strdup_printf("%s/%s-%s", dir, family, rows[i].arch);

        /* The name that the kernel passes as argv[0] says which guest it is. */
        g_string_append_printf(text, ":%s-%s:M::%s:%s:%s:%s\n", family, rows[i].arch,
                               rows[i].magic, rows[i].mask,
                               access(named, X_OK) == 0 ? named : exe, flags);
    }
    return g_string_free(text, FALSE);
}
