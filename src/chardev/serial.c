/* serial: a serial port, or another terminal, of the host. */
#include "chardev/backend.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/ioctl.h>
#include <termios.h>
#include <unistd.h>

#include "util/fdset.h"

struct serial_backend {
    struct fd_backend fd;
    int tty; /* fd.out's */
};

/* ioctl_tty(2), termios(3) */
static const struct {
    unsigned speed;
    speed_t code;
} speeds[] = {
    {50, B50},           {75, B75},           {110, B110},         {134, B134},
    {150, B150},         {200, B200},         {300, B300},         {600, B600},
    {1200, B1200},       {1800, B1800},       {2400, B2400},       {4800, B4800},
    {9600, B9600},       {19200, B19200},     {38400, B38400},     {57600, B57600},
    {115200, B115200},   {230400, B230400},   {460800, B460800},   {500000, B500000},
    {576000, B576000},   {921600, B921600},   {1000000, B1000000}, {1152000, B1152000},
    {1500000, B1500000}, {2000000, B2000000}, {2500000, B2500000}, {3000000, B3000000},
    {3500000, B3500000}, {4000000, B4000000},
};

/* A guest's divisor rarely gives a standard speed exactly. */
static speed_t nearest_speed(unsigned speed)
{
    size_t best = 0;

    for (size_t i = 1; i < G_N_ELEMENTS(speeds); i++) {
        if (ABS((int64_t)speeds[i].speed - speed) < ABS((int64_t)speeds[best].speed - speed)) {
            best = i;
        }
    }
    return speeds[best].code;
}

static bool set_line(struct chardev_backend *b, const struct chardev_line *line)
{
    static const tcflag_t sizes[] = {CS5, CS6, CS7, CS8};
    struct serial_backend *s = (struct serial_backend *)b;
    struct termios modes;

    if (tcgetattr(s->tty, &modes) < 0) {
        return false;
    }
    cfmakeraw(&modes);
    modes.c_iflag |= IGNPAR;
    modes.c_oflag |= OPOST;
    modes.c_cflag &= ~(CSIZE | PARENB | PARODD | CSTOPB | CRTSCTS);
    modes.c_cflag |= CREAD | CLOCAL | sizes[CLAMP(line->data_bits, 5, 8) - 5];
    modes.c_cflag |= line->stop_bits == 2 ? CSTOPB : 0;
    modes.c_cflag |= line->parity == 'E' ? PARENB : line->parity == 'O' ? PARENB | PARODD : 0;
    cfsetspeed(&modes, nearest_speed(line->speed));
    return tcsetattr(s->tty, TCSANOW, &modes) == 0;
}

static bool set_line_break(struct chardev_backend *b, bool on)
{
    struct serial_backend *s = (struct serial_backend *)b;

    return ioctl(s->tty, on ? TIOCSBRK : TIOCCBRK) == 0;
}

static bool get_modem_lines(struct chardev_backend *b, int *lines)
{
    struct serial_backend *s = (struct serial_backend *)b;

    return ioctl(s->tty, TIOCMGET, lines) == 0;
}

static bool set_modem_lines(struct chardev_backend *b, int lines)
{
    struct serial_backend *s = (struct serial_backend *)b;
    int now;

    if (ioctl(s->tty, TIOCMGET, &now) < 0) {
        return false;
    }
    now = (now & ~(TIOCM_RTS | TIOCM_DTR)) | (lines & (TIOCM_RTS | TIOCM_DTR));
    return ioctl(s->tty, TIOCMSET, &now) == 0;
}

static bool serial_open(struct chardev_backend *b, const struct chardev_setup *setup,
                        GError **error)
{
    static const struct chardev_line line = {115200, 8, 1, 'N'};
    struct serial_backend *s = (struct serial_backend *)b;
    const char *path = setup->config->u.serial.data->device;

    s->tty = fdsets_open(b->chr->context->fdsets, path, O_RDWR | O_NOCTTY | O_NONBLOCK, 0, error);
    if (s->tty < 0) {
        return false;
    }
    fd_backend_start(&s->fd, s->tty, s->tty);
    if (!set_line(b, &line)) {
        return chardev_error(error, "'%s' is not a serial port or terminal: %s", path,
                             g_strerror(errno));
    }
    chardev_set_filename(b, "serial");
    chardev_opened(b);
    return true;
}

static const struct chardev_backend_ops serial_ops = {
    .size = sizeof(struct serial_backend),
    .open = serial_open,
    .close = fd_backend_close,
    .write = fd_backend_write,
    .watch_writable = fd_backend_watch_writable,
    .accept_input = fd_backend_accept_input,
    .set_line = set_line,
    .set_line_break = set_line_break,
    .get_modem_lines = get_modem_lines,
    .set_modem_lines = set_modem_lines,
};

static const struct object_type chardev_serial_type = {
    .name = "chardev-serial",
    .parent = "chardev",
    .description = "serial port of the host",
    .class_data = &serial_ops,
};
OBJECT_TYPE(chardev_serial_type);
