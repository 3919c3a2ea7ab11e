/* Parts of program loading that need no process: the first line of scripts, suggestions, the copy
 * with a fault guard. */
#include <errno.h>
#include <glib.h>
#include <signal.h>
#include <string.h>
#include <sys/mman.h>

#include "linux_user/load.h"
#include "linux_user/usercopy.h"
#include "util/nearest.h"

/* ---- Scripts ---- */

static void script(const char *head, size_t size, const char *interpreter, const char *argument)
{
    g_autofree char *i = NULL, *a = NULL;

    g_assert_cmpint(lu_parse_script(head, size, &i, &a), ==, interpreter != NULL);
    g_assert_cmpstr(i, ==, interpreter);
    g_assert_cmpstr(a, ==, argument);
}

static void test_script(void)
{
    static const struct {
        const char *head, *interpreter, *argument;
    } rows[] = {
        {"#!/bin/sh\necho", "/bin/sh", NULL},
        {"#!/bin/sh", "/bin/sh", NULL},
        {"#! /bin/sh -e\n", "/bin/sh", "-e"},
        {"#!\t /usr/bin/env  python3 -u \t\nprint", "/usr/bin/env", "python3 -u"},
        {"#!relative x\n", "relative", "x"},
        {"#!\n/bin/sh", NULL, NULL},
        {"#!   \n", NULL, NULL},
        {"#!", NULL, NULL},
        {"#", NULL, NULL},
        {"", NULL, NULL},
        {"x#!/bin/sh\n", NULL, NULL},
    };
    char longest[300] = "#!/bin/";

    for (unsigned i = 0; i < G_N_ELEMENTS(rows); i++) {
        script(rows[i].head, strlen(rows[i].head), rows[i].interpreter, rows[i].argument);
    }
    /* A name that may be cut off is refused, an argument is not. */
    memset(longest + 7, 'x', 249);
    script(longest, 256, NULL, NULL);
    longest[100] = ' ';
    longest[256] = '\0';
    script(longest, 256,
           "/bin/xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx"
           "xxxxxxxxxxxxxxxxxxxxxxxxxx",
           longest + 101);
}

/* ---- Suggestions ---- */

static void test_nearest(void)
{
    static const char *const names[] = {"strace", "seed", "cpu", "version", "L", "one-insn-per-tb"};
    const size_t n = G_N_ELEMENTS(names);
    char longest[200] = "";

    g_assert_cmpstr(util_nearest("strcae", names, n), ==, "strace");
    g_assert_cmpstr(util_nearest("trace", names, n), ==, "strace");
    g_assert_cmpstr(util_nearest("one-insn-per-bt", names, n), ==, "one-insn-per-tb");
    g_assert_cmpstr(util_nearest("cpux", names, n), ==, "cpu");
    g_assert_null(util_nearest("nothing", names, n));
    g_assert_null(util_nearest("", names, n));
    g_assert_null(util_nearest("x", names, n));
    g_assert_null(util_nearest("strace", names, 0));
    memset(longest, 's', sizeof(longest) - 1);
    g_assert_null(util_nearest(longest, names, n));
}

/* ---- Copies ---- */

static void on_fault(int sig, siginfo_t *info, void *context)
{
    (void)sig, (void)info;
    if (!lu_usercopy_fault(context)) {
        g_assert_not_reached();
    }
}

static void test_usercopy(void)
{
    struct sigaction action = {.sa_sigaction = on_fault, .sa_flags = SA_SIGINFO}, old;
    static const size_t sizes[] = {0, 1, 7, 8, 9, 31, 100, 255, 256, 257, 1000, 4096};
    char *map = mmap(NULL, 8192, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    char from[4096], to[4096];

    g_assert_true(map != MAP_FAILED && munmap(map + 4096, 4096) == 0);
    sigaction(SIGSEGV, &action, &old);
    for (unsigned i = 0; i < sizeof(from); i++) {
        from[i] = (char)g_test_rand_int();
    }
    for (unsigned i = 0; i < G_N_ELEMENTS(sizes); i++) {
        size_t size = sizes[i];

        memset(to, 0, sizeof(to));
        g_assert_cmpint(lu_usercopy(to, from, size), ==, 0);
        g_assert_cmpint(memcmp(to, from, size), ==, 0);
        g_assert_true(size == sizeof(to) || to[size] == 0);
        /* To and from the end of what is mapped, and one byte more. */
        g_assert_cmpint(lu_usercopy(map + 4096 - size, from, size), ==, 0);
        g_assert_cmpint(memcmp(map + 4096 - size, from, size), ==, 0);
        g_assert_cmpint(lu_usercopy(to, map + 4096 - size, size), ==, 0);
        if (size > 0 && size < 4096) {
            g_assert_cmpint(lu_usercopy(map + 4097 - size, from, size), ==, -EFAULT);
            g_assert_cmpint(lu_usercopy(to, map + 4097 - size, size), ==, -EFAULT);
        }
    }
    g_assert_cmpint(lu_usercopy(NULL, from, 1), ==, -EFAULT);
    sigaction(SIGSEGV, &old, NULL);
    munmap(map, 4096);
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    g_test_add_func("/load/script", test_script);
    g_test_add_func("/load/nearest", test_nearest);
    g_test_add_func("/load/usercopy", test_usercopy);
    return g_test_run();
}
