/* stdio: standard input and output; a terminal is put into raw mode and back at the end. */
#include "chardev/backend.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <sys/signalfd.h>
#include <termios.h>
#include <unistd.h>

struct stdio_backend {
    struct fd_backend fd;
    bool is_terminal, signals, echo;
    struct termios saved;
    int saved_flags[2]; /* of descriptors 0 and 1, -1: not changed */
    int continued;      /* a signalfd for SIGCONT, -1: none */
};

static void set_modes(struct stdio_backend *s)
{
    struct termios modes = s->saved;

    if (!s->is_terminal) {
        return;
    }
    if (!s->echo) {
        modes.c_iflag &= ~(IGNBRK | BRKINT | PARMRK | ISTRIP | INLCR | IGNCR | ICRNL | IXON);
        modes.c_oflag |= OPOST;
        modes.c_lflag &= ~(ECHO | ECHONL | ICANON | IEXTEN);
        modes.c_cflag = (modes.c_cflag & ~(CSIZE | PARENB)) | CS8;
        modes.c_cc[VMIN] = 1;
        modes.c_cc[VTIME] = 0;
    }
    if (!s->signals) {
        modes.c_lflag &= ~ISIG;
    }
    tcsetattr(0, TCSANOW, &modes);
}

static void set_echo(struct chardev_backend *b, bool echo)
{
    struct stdio_backend *s = (struct stdio_backend *)b;

    s->echo = echo;
    set_modes(s);
}

/* Shells may have changed the terminal's modes while the program was stopped. */
static void was_continued(void *opaque)
{
    struct stdio_backend *s = opaque;
    struct signalfd_siginfo info;

    while (read(s->continued, &info, sizeof(info)) > 0) {
        set_modes(s);
    }
}

static void watch_continued(struct stdio_backend *s)
{
    sigset_t set;

    sigemptyset(&set);
    sigaddset(&set, SIGCONT);
    pthread_sigmask(SIG_BLOCK, &set, NULL);
    s->continued = signalfd(-1, &set, SFD_NONBLOCK | SFD_CLOEXEC);
    if (s->continued >= 0) {
        event_loop_watch(s->fd.base.chr->context->loop, s->continued, was_continued, NULL, s);
    }
}

static bool is_other_stdio(struct object *obj, void *opaque)
{
    struct chardev *chr = chardev_of_object(obj);
    bool *found = opaque;

    *found |= chr && chardev_is_kind(chr, QAPI_CHARDEV_BACKEND_KIND_STDIO);
    return !*found;
}

static bool stdio_open(struct chardev_backend *b, const struct chardev_setup *setup, GError **error)
{
    struct stdio_backend *s = (struct stdio_backend *)b;
    const struct qapi_chardev_stdio *config = setup->config->u.stdio.data;
    const struct chardev_context *context = b->chr->context;
    bool found = false;
    int fds[2];

    s->continued = s->saved_flags[0] = s->saved_flags[1] = -1;
    if (context->daemonize) {
        return chardev_error(error, "cannot use stdio with -daemonize");
    }
    object_foreach_child(object_container(context->root, "/chardevs"), is_other_stdio, &found);
    if (found) {
        return chardev_error(error, "cannot use stdio by multiple character devices");
    }
    for (int i = 0; i < 2; i++) {
        fds[i] = fcntl(i, F_DUPFD_CLOEXEC, 3);
        if (fds[i] < 0) {
            chardev_error(error, "can't use standard %s: %s", i ? "output" : "input",
                          g_strerror(errno));
            if (i) {
                close(fds[0]);
            }
            return false;
        }
        /* The flags belong to whoever else has the terminal, too. */
        s->saved_flags[i] = fcntl(i, F_GETFL);
    }
    s->is_terminal = tcgetattr(0, &s->saved) == 0;
    s->signals = !config->has_signal || config->signal;
    fd_backend_start(&s->fd, fds[0], fds[1]);
    set_modes(s);
    if (s->is_terminal) {
        watch_continued(s);
    }
    chardev_set_filename(b, "stdio");
    chardev_opened(b);
    return true;
}

static void stdio_close(struct chardev_backend *b)
{
    struct stdio_backend *s = (struct stdio_backend *)b;

    if (s->continued >= 0) {
        event_loop_watch(b->chr->context->loop, s->continued, NULL, NULL, NULL);
        close(s->continued);
    }
    if (s->is_terminal) {
        tcsetattr(0, TCSANOW, &s->saved);
    }
    for (int i = 0; i < 2; i++) {
        if (s->saved_flags[i] >= 0) {
            fcntl(i, F_SETFL, s->saved_flags[i]);
        }
    }
    fd_backend_close(b);
}

static const struct chardev_backend_ops stdio_ops = {
    .size = sizeof(struct stdio_backend),
    .open = stdio_open,
    .close = stdio_close,
    .write = fd_backend_write,
    .watch_writable = fd_backend_watch_writable,
    .accept_input = fd_backend_accept_input,
    .set_echo = set_echo,
};

static const struct object_type chardev_stdio_type = {
    .name = "chardev-stdio",
    .parent = "chardev",
    .description = "standard input and output",
    .class_data = &stdio_ops,
};
OBJECT_TYPE(chardev_stdio_type);
