/* Terminals and other ioctl requests. */
#include "sc.h"
#include <linux/fiemap.h>
#include <linux/fs.h>
#include <linux/random.h>
#include <termios.h>

int main(void)
{
    struct winsize w = {24, 80, 0, 0};
    struct termios t;
    char name[64], buf[32] = "";
    int m, s, v = 0;

    OK(m = open("/dev/ptmx", O_RDWR | O_NOCTTY));
    if (m < 0)
        return 0;
    SHOW(ioctl(m, TIOCSPTLCK, &v));
    SHOW(ioctl(m, TIOCGPTN, &v));
    snprintf(name, sizeof(name), "/dev/pts/%d", v);
    OK(s = open(name, O_RDWR | O_NOCTTY));
    if (s < 0)
        OK(s = ioctl(m, TIOCGPTPEER, O_RDWR | O_NOCTTY));
    SHOW(isatty(s));
    SHOW(ioctl(s, TIOCSWINSZ, &w));
    memset(&w, 0, sizeof(w));
    SHOW(ioctl(m, TIOCGWINSZ, &w));
    printf("%d %d\n", w.ws_row, w.ws_col);
    SHOW(tcgetattr(s, &t));
    printf("%x %x %x %x %d\n", t.c_iflag, t.c_oflag, t.c_cflag & CSIZE, t.c_lflag, t.c_cc[VEOF]);
    cfmakeraw(&t);
    SHOW(cfsetspeed(&t, B9600));
    SHOW(tcsetattr(s, TCSANOW, &t));
    SHOW(tcgetattr(s, &t));
    printf("%x %x %x %d\n", t.c_iflag, t.c_oflag, t.c_lflag, cfgetospeed(&t) == B9600);
    SHOW(write(m, "typed", 5));
    struct pollfd typed = {s, POLLIN, 0};
    SHOW(poll(&typed, 1, 1000));
    SHOW(ioctl(s, FIONREAD, &v));
    printf("%d\n", v);
    SHOW(read(s, buf, 32));
    SHOW(write(s, "shown", 5));
    SHOW(read(m, buf, 32));
    printf("%.5s\n", buf);
    SHOW(tcflush(s, TCIOFLUSH));
    SHOW(tcdrain(s));
    SHOW(tcsendbreak(s, 0));
    SHOW(ioctl(s, TIOCOUTQ, &v));
    SHOW(ioctl(s, TIOCEXCL));
    SHOW(ioctl(s, TIOCNXCL));
    SHOW(ioctl(s, TCGETS, NOWHERE));
    SHOW(ioctl(s, TIOCGWINSZ, NOWHERE));
    SHOW(ioctl(s, TIOCSWINSZ, NULL));
    SHOW(ioctl(-1, TCGETS, &t));
    SHOW(ioctl(s, TIOCGSID, &v) == 0 || errno == ENOTTY);
    SHOW(tcgetpgrp(s));
    fflush(stdout);
    if (fork() == 0) {
        setsid();
        SHOW(ioctl(s, TIOCSCTTY, 0));
        SHOW(tcgetpgrp(s) == getpid());
        SHOW(tcgetsid(s) == getpid());
        SHOW(tcsetpgrp(s, getpid()));
        int tty = open("/dev/tty", O_RDWR);
        SHOW(tty >= 0);
        signal(SIGHUP, SIG_IGN);
        SHOW(ioctl(tty, TIOCNOTTY));
        fflush(stdout);
        _exit(0);
    }
    wait(&v);
    printf("child %d\n", v);
    v = 1;
    SHOW(ioctl(m, FIONBIO, &v));
    SHOW(read(m, buf, 32));
    SHOW(ioctl(m, FIOCLEX));
    SHOW(fcntl(m, F_GETFD));
    SHOW(ioctl(m, FIONCLEX));
    SHOW(ioctl(m, TIOCPKT, &v));
    close(s);
    SHOW(read(m, buf, 32));
    close(m);

    m = open("tty-file", O_RDWR | O_CREAT | O_TRUNC, 0600);
    SHOW(write(m, "0123456789", 10));
    SHOW(ioctl(m, FIONREAD, &v));
    SHOW(ioctl(m, TCGETS, &t));
    SHOW(isatty(m));
    SHOW(ioctl(m, FIGETBSZ, &v));
    printf("%d\n", v > 0);
    SHOW(ioctl(m, 0x12345678, &v));
    s = open("tty-clone", O_RDWR | O_CREAT | O_TRUNC, 0600);
    SHOW(ioctl(s, FICLONE, m) == 0 || errno == EOPNOTSUPP || errno == EINVAL || errno == EXDEV);
    SHOW(ioctl(s, FICLONE, -1));
    SHOW(ioctl(s, FICLONERANGE, NOWHERE));
    SHOW(ioctl(m, FS_IOC_FIEMAP, NOWHERE));
    close(s);
    close(m);
    m = open("/dev/urandom", O_RDONLY);
    SHOW(ioctl(m, RNDGETENTCNT, &v));
    SHOW(v >= 0);
    SHOW(ioctl(m, RNDGETENTCNT, NOWHERE));
    SHOW(ioctl(m, RNDADDENTROPY, NOWHERE) == -1);
    close(m);
    return 0;
}
