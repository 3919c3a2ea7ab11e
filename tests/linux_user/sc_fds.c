/* Descriptors of Nandu's own, which the arguments name: none can be used by the program. */
#include "sc.h"
#include <sys/epoll.h>
#include <sys/socket.h>

int main(int argc, char **argv)
{
    char name[64], byte = 0, control[CMSG_SPACE(sizeof(int))] = "";
    struct iovec v = {&byte, 1};
    struct msghdr m = {.msg_iov = &v, .msg_iovlen = 1, .msg_control = control,
                       .msg_controllen = sizeof(control)};
    struct cmsghdr *c = CMSG_FIRSTHDR(&m);
    struct epoll_event e = {EPOLLIN, {.fd = 0}};
    int pair[2], ep = epoll_create1(0);

    socketpair(AF_UNIX, SOCK_STREAM, 0, pair);
    for (int i = 1; i < argc; i++) {
        int fd = atoi(argv[i]);

        SHOW(close(fd));
        SHOW(dup(fd));
        SHOW(dup2(1, fd));
        SHOW(fcntl(fd, F_GETFD));
        SHOW(fcntl(fd, F_SETFD, FD_CLOEXEC));
        SHOW(write(fd, "x", 1));
        SHOW(ftruncate(fd, 0));
        SHOW((long)mmap(NULL, 4096, PROT_READ, MAP_SHARED, fd, 0));
        SHOW(epoll_ctl(ep, EPOLL_CTL_ADD, fd, &e));
        snprintf(name, sizeof(name), "/proc/self/fd/%d", fd);
        SHOW(open(name, O_RDWR));
        snprintf(name, sizeof(name), "/dev/fd/%d", fd);
        SHOW(open(name, O_RDONLY));
        c->cmsg_level = SOL_SOCKET;
        c->cmsg_type = SCM_RIGHTS;
        c->cmsg_len = CMSG_LEN(sizeof(int));
        memcpy(CMSG_DATA(c), &fd, sizeof(fd));
        SHOW(sendmsg(pair[0], &m, 0));
        SHOW(syscall(SYS_pidfd_getfd, syscall(SYS_pidfd_open, getpid(), 0), fd, 0));
    }
    SHOW(syscall(SYS_close_range, 3, ~0u, 0));
    puts("end");
    return 0;
}
