/* Sets of file descriptors. */
#include "util/fdset.h"

#include <errno.h>
#include <fcntl.h>
#include <glib/gstdio.h>
#include <string.h>
#include <unistd.h>

static int null_fd(int flags)
{
    int fd = open("/dev/null", flags | O_CLOEXEC);

    g_assert_cmpint(fd, >=, 0);
    return fd;
}

static bool is_open(int fd)
{
    return fcntl(fd, F_GETFD) >= 0;
}

static void list(void *opaque, int64_t set, int fd, const char *fd_opaque)
{
    g_string_append_printf(opaque, "%d:%s ", (int)set, fd_opaque ? fd_opaque : "-");
}

static void assert_list(struct fdsets *sets, const char *expected)
{
    g_autoptr(GString) text = g_string_new(NULL);

    fdsets_foreach(sets, list, text);
    g_assert_cmpstr(text->str, ==, expected);
}

static void test_add_remove(void)
{
    struct fdsets *sets = fdsets_new();
    g_autoptr(GError) error = NULL;
    int fds[5];

    for (int i = 0; i < 5; i++) {
        fds[i] = null_fd(O_RDWR);
    }
    g_assert_cmpint(fdsets_add(sets, fds[0], -1, "a", NULL), ==, 0);
    g_assert_cmpint(fdsets_add(sets, fds[1], 2, NULL, NULL), ==, 2);
    g_assert_cmpint(fdsets_add(sets, fds[2], -1, "c", NULL), ==, 1);
    g_assert_cmpint(fdsets_add(sets, fds[3], -1, "d", NULL), ==, 3);
    g_assert_cmpint(fdsets_add(sets, fds[4], 2, "e", NULL), ==, 2);
    assert_list(sets, "0:a 1:c 2:- 2:e 3:d ");

    g_assert_cmpint(fdsets_add(sets, fds[4], -2, NULL, &error), ==, -1);
    g_assert_nonnull(strstr(error->message, "fdset-id"));
    g_clear_error(&error);
    g_assert_cmpint(fdsets_add(sets, 1000000, -1, NULL, &error), ==, -1);
    g_clear_error(&error);

    g_assert_false(fdsets_remove(sets, 7, -1, &error));
    g_assert_cmpstr(error->message, ==, "File descriptor named 'fdset-id:7' not found");
    g_clear_error(&error);
    g_assert_false(fdsets_remove(sets, 2, fds[0], &error));
    g_assert_nonnull(strstr(error->message, "fdset-id:2, fd:"));
    g_clear_error(&error);
    g_assert_true(fdsets_remove(sets, 2, fds[1], NULL));
    g_assert_false(is_open(fds[1]));
    g_assert_true(fdsets_remove(sets, 1, -1, NULL));
    assert_list(sets, "0:a 2:e 3:d ");
    fdsets_free(sets);
    for (int i = 0; i < 5; i++) {
        g_assert_false(is_open(fds[i]));
    }
}

static void assert_error(struct fdsets *sets, const char *path, int flags, int number,
                         const char *word)
{
    g_autoptr(GError) error = NULL;

    g_assert_cmpint(fdsets_open(sets, path, flags, 0, &error), ==, -1);
    g_assert_cmpint(errno, ==, number);
    g_assert_nonnull(strstr(error->message, path));
    g_assert_nonnull(strstr(error->message, word));
}

static void test_open(void)
{
    auto_ptr(fdsets) sets = fdsets_new();
    g_autofree char *path = NULL;
    int fd = g_file_open_tmp("nandu-fdset-XXXXXX", &path, NULL), copy;
    char c;

    close(fd);
    fd = fdsets_open(sets, path, O_RDWR, 0, NULL);
    g_assert_cmpint(fd, >=, 0);
    g_assert_true(fcntl(fd, F_GETFD) & FD_CLOEXEC);
    g_assert_cmpint(write(fd, "xyz", 3), ==, 3);
    g_assert_cmpint(fdsets_add(sets, fd, 5, NULL, NULL), ==, 5);
    fd = null_fd(O_RDONLY);
    g_assert_cmpint(fdsets_add(sets, fd, 5, NULL, NULL), ==, 5);

    copy = fdsets_open(sets, "/dev/fdset/5", O_RDWR, 0, NULL);
    g_assert_cmpint(copy, >=, 0);
    g_assert_cmpint(copy, !=, fd);
    g_assert_true(fcntl(copy, F_GETFD) & FD_CLOEXEC);
    g_assert_cmpint(pread(copy, &c, 1, 2), ==, 1);
    g_assert_cmpint(c, ==, 'z');
    close(copy);
    copy = fdsets_open(sets, "/dev/fdset/5", O_RDWR | O_TRUNC | O_NONBLOCK, 0, NULL);
    g_assert_true(fcntl(copy, F_GETFL) & O_NONBLOCK);
    g_assert_cmpint(pread(copy, &c, 1, 0), ==, 0);
    close(copy);
    copy = fdsets_open(sets, "/dev/fdset/5", O_RDONLY, 0, NULL);
    g_assert_cmpint(copy, >=, 0);
    close(copy);

    assert_error(sets, "/dev/fdset/5", O_WRONLY, EACCES, "access mode");
    assert_error(sets, "/dev/fdset/5", O_RDWR | O_DSYNC, EINVAL, "");
    assert_error(sets, "/dev/fdset/6", O_RDWR, ENOENT, "no such set");
    assert_error(sets, "/dev/fdset/", O_RDWR, EINVAL, "number");
    assert_error(sets, "/dev/fdset/5x", O_RDWR, EINVAL, "number");
    assert_error(sets, "/dev/fdset/99999999999999999999", O_RDWR, EINVAL, "number");
    assert_error(sets, "/dev/fdset/-1", O_RDWR, EINVAL, "number");
    assert_error(sets, "/nonexistent/x", O_RDWR, ENOENT, "Could not open");
    assert_error(sets, "/nonexistent/x", O_RDWR | O_CREAT, ENOENT, "Could not create");
    g_unlink(path);
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    g_test_add_func("/fdset/add-remove", test_add_remove);
    g_test_add_func("/fdset/open", test_open);
    return g_test_run();
}
