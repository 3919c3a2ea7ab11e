/* pty: a pseudo-terminal, whose path is told; it is open while somebody has it open. */
#include "chardev/backend.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <poll.h>
#include <stdlib.h>
#include <termios.h>
#include <unistd.h>

#include "util/clock.h"

/* Nothing wakes the master's side when somebody opens the terminal. */
#define CHECK_INTERVAL_NS (1000 * 1000 * 1000)

struct pty_backend {
    struct fd_backend fd;
    int master;          /* fd.out's */
    struct timer *check; /* runs while nobody has it open */
    char *link;          /* a symbolic link to the terminal that was made */
};

static bool somebody_there(struct pty_backend *s)
{
    struct pollfd pfd = {.fd = s->master, .events = POLLOUT};

    return poll(&pfd, 1, 0) >= 0 && !(pfd.revents & POLLHUP);
}

static void check_again(struct pty_backend *s, int64_t ns)
{
    timer_arm(s->check, clocks_now(s->fd.base.chr->context->clocks, CLOCK_REAL) + ns);
}

static void check(void *opaque)
{
    struct pty_backend *s = opaque;
    auto_ptr(chardev_backend) keep = chardev_backend_ref(&s->fd.base);

    if (!somebody_there(s)) {
        check_again(s, CHECK_INTERVAL_NS);
        return;
    }
    s->fd.at_end = false;
    chardev_opened(&s->fd.base);
    if (!s->fd.base.closed) {
        fd_backend_accept_input(&s->fd.base);
    }
}

static void hung_up(struct fd_backend *fd)
{
    struct pty_backend *s = (struct pty_backend *)fd;

    check_again(s, CHECK_INTERVAL_NS);
    chardev_closed(&fd->base);
}

static bool check_open(struct chardev_backend *b)
{
    struct pty_backend *s = (struct pty_backend *)b;

    if (!somebody_there(s)) {
        return false;
    }
    check_again(s, 0);
    return true;
}

/* The master, non-blocking, with the other side in raw mode; name gets its path. */
static int open_master(char *name, size_t size, GError **error)
{
    int master = posix_openpt(O_RDWR | O_NOCTTY | O_CLOEXEC | O_NONBLOCK);
    struct termios modes;
    int other = -1;

    if (master >= 0 && grantpt(master) == 0 && unlockpt(master) == 0 &&
        ptsname_r(master, name, size) == 0) {
        other = open(name, O_RDWR | O_NOCTTY | O_CLOEXEC);
    }
    if (other >= 0 && tcgetattr(other, &modes) == 0) {
        cfmakeraw(&modes);
        if (tcsetattr(other, TCSANOW, &modes) == 0) {
            close(other);
            return master;
        }
    }
    chardev_error(error, "Failed to create PTY: %s", g_strerror(errno));
    if (other >= 0) {
        close(other);
    }
    if (master >= 0) {
        close(master);
    }
    return -1;
}

static bool pty_open(struct chardev_backend *b, const struct chardev_setup *setup, GError **error)
{
    struct pty_backend *s = (struct pty_backend *)b;
    const struct chardev_context *context = b->chr->context;
    const char *link = setup->config->u.pty.data->path;
    char name[PATH_MAX];

    s->master = open_master(name, sizeof(name), error);
    if (s->master < 0) {
        return false;
    }
    s->fd.hung_up = hung_up;
    fd_backend_start(&s->fd, s->master, s->master);
    s->check = timer_new(context->loop, context->clocks, CLOCK_REAL, check, s);
    if (link) {
        if (symlink(name, link) < 0) {
            return chardev_error(error, "Failed to create PTY symlink '%s': %s", link,
                                 g_strerror(errno));
        }
        s->link = g_strdup(link);
    }
    s->fd.at_end = true;
    check_again(s, 0);
    chardev_set_filename(b, "pty:%s", name);
    return true;
}

static void pty_close(struct chardev_backend *b)
{
    struct pty_backend *s = (struct pty_backend *)b;

    if (s->link) {
        unlink(s->link);
        g_free(s->link);
    }
    if (s->check) {
        timer_free(s->check);
    }
    fd_backend_close(b);
}

static const struct chardev_backend_ops pty_ops = {
    .size = sizeof(struct pty_backend),
    .open = pty_open,
    .close = pty_close,
    .write = fd_backend_write,
    .watch_writable = fd_backend_watch_writable,
    .accept_input = fd_backend_accept_input,
    .check_open = check_open,
};

static const struct object_type chardev_pty_type = {
    .name = "chardev-pty",
    .parent = "chardev",
    .description = "pseudo-terminal",
    .class_data = &pty_ops,
};
OBJECT_TYPE(chardev_pty_type);

const char *chardev_pty(const struct chardev *chr)
{
    const struct chardev_backend *b = chr->backend;

    return b->ops == &pty_ops && b->filename ? b->filename + strlen("pty:") : NULL;
}
