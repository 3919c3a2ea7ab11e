/*
 * The table of system calls (linux_user/syscall_table.h) is consistent, and descriptors of Nandu's
 * own are kept apart from the guest's.
 */
#include <fcntl.h>
#include <glib.h>
#include <string.h>
#include <unistd.h>

#include "linux_user/syscall_table.h"

enum { END = 500 }; /* above all numbers */

static void test_rows(void)
{
    unsigned n = 0;

    for (uint64_t nr = 0; nr < END; nr++) {
        const struct lu_syscall_row *row = lu_syscall_row(nr);

        if (!row) {
            continue;
        }
        n++;
        g_assert_cmpuint(row->n_args, <=, 6);
        /* Exactly one of the three, and PASS needs a number: only read has 0, and it is our own. */
        if (row->missing) {
            g_assert_true(!row->handler && !row->host_nr);
            g_assert_cmpuint(strlen(row->missing), >, 10);
        } else if (row->handler) {
            g_assert_cmpint(row->host_nr, ==, 0);
        } else {
            g_assert_cmpint(row->host_nr, >, 0);
        }
        for (unsigned i = 0; i < row->n_args; i++) {
            const struct lu_arg *arg = &row->args[i];

            switch (arg->kind) {
            case LU_ARG_FLAGS:
            case LU_ARG_ENUM:
                g_assert_cmpuint(arg->index, <, LU_NAMES_COUNT);
                g_assert_nonnull(lu_names[arg->index]);
                break;
            case LU_ARG_IN_LEN:
            case LU_ARG_OUT_LEN:
            case LU_ARG_SOCKADDR:
            case LU_ARG_RANGE:
            case LU_ARG_IOVEC:
                g_assert_cmpuint(arg->index, <, row->n_args);
                g_assert_cmpuint(arg->size, >, 0);
                break;
            case LU_ARG_PTR:
            case LU_ARG_STRV:
                /* Only a handler knows what these are. */
                g_assert_true(row->handler || row->missing);
                break;
            default: g_assert_cmpuint(arg->kind, !=, LU_ARG_END); break;
            }
        }
    }
    g_assert_cmpuint(n, >=, 315);
    g_assert_null(lu_syscall_row(UINT64_MAX));
    g_assert_cmpstr(lu_syscall_row(56)->name, ==, "openat");
    g_assert_cmpstr(lu_syscall_row(462)->name, ==, "mseal");
    g_assert_null(lu_syscall_row(38)); /* renameat: not on riscv64 */
}

/* On the newer part of the table all architectures agree. */
static void test_newer_numbers(void)
{
    for (uint64_t nr = 424; nr < END; nr++) {
        const struct lu_syscall_row *row = lu_syscall_row(nr);

        if (row && !row->handler && !row->missing) {
            g_assert_cmpint(row->host_nr, ==, (int)nr);
        }
    }
}

static void test_names(void)
{
    for (unsigned i = 0; i < LU_NAMES_COUNT; i++) {
        g_assert_nonnull(lu_names[i]);
        for (const struct lu_name *name = lu_names[i]; name->name; name++) {
            /* A field's value lies in its mask, or no value would ever match. */
            g_assert_true(name->mask == 0 || (name->bits & ~name->mask) == 0);
        }
    }
    g_assert_cmpstr(lu_ioctl_name(0x5401), ==, "TCGETS");
    g_assert_cmpstr(lu_ioctl_name(0x8912), ==, "SIOCGIFCONF");
    g_assert_null(lu_ioctl_name(0x12345678));
}

static void test_own_descriptors(void)
{
    struct lu_process *p = g_new0(struct lu_process, 1);
    int fd = open("/dev/null", O_RDWR), high;

    pthread_mutex_init(&p->lock, NULL);
    g_assert_false(lu_fd_is_protected(p, fd));
    g_assert_false(lu_fd_is_protected(p, -1));
    high = lu_fd_protect(p, fd);
    g_assert_cmpint(high, >, 100);
    g_assert_true(lu_fd_is_protected(p, high));
    g_assert_false(lu_fd_is_protected(p, fd));
    g_assert_cmpint(fcntl(fd, F_GETFD), ==, -1);
    g_assert_cmpint(fcntl(high, F_GETFD), ==, FD_CLOEXEC);
    g_assert_true(lu_fd_protect_in_place(p, 2));
    g_assert_true(lu_fd_is_protected(p, 2));
    g_assert_false(lu_fd_is_protected(p, 3));
    lu_fd_unprotect(p, 2);
    g_assert_false(lu_fd_is_protected(p, 2));
    g_assert_true(lu_fd_is_protected(p, high));
    for (int i = 2000; i < 2100; i++) {
        if (!lu_fd_protect_in_place(p, i)) { /* no slot left: said, not ignored */
            g_assert_cmpint(i, >, 2008);
            break;
        }
        g_assert_cmpint(i, <, 2050);
    }
    lu_fd_unprotect(p, high);
    close(high);
    pthread_mutex_destroy(&p->lock);
    g_free(p);
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    g_test_add_func("/syscall-table/rows", test_rows);
    g_test_add_func("/syscall-table/newer-numbers", test_newer_numbers);
    g_test_add_func("/syscall-table/names", test_names);
    g_test_add_func("/syscall-table/own-descriptors", test_own_descriptors);
    return g_test_run();
}
