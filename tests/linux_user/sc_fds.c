/* Descriptors of Nandu's own: none can be used by the program. The argument is the path of its log.
 * */
#include "sc.h"
#include <dirent.h>
#include <sys/epoll.h>
#include <sys/socket.h>

/* Number of the descriptor that is open on [path], or -1. */
static int find(const char *path, int *count)
{
    char name[300], link[PATH_MAX];
    struct dirent *entry;
    DIR *dir = opendir("/proc/self/fd");
    int fd = -1;

    *count = 0;
    while (dir && (entry = readdir(dir))) {
        snprintf(name, sizeof(name), "/proc/self/fd/%s", entry->d_name);
        ssize_t n = readlink(name, link, sizeof(link) - 1);
        if (n > 0 && (link[n] = 0, strcmp(link, path)) == 0) {
            fd = atoi(entry->d_name);
            ++*count;
        }
    }
    closedir(dir);
    return fd;
}

int main(int argc, char **argv)
{
    char name[64], byte = 0, control[CMSG_SPACE(sizeof(int))] = "";
    struct iovec v = {&byte, 1};
    struct msghdr m = {.msg_iov = &v, .msg_iovlen = 1, .msg_control = control,
                       .msg_controllen = sizeof(control)};
    struct cmsghdr *c = CMSG_FIRSTHDR(&m);
    struct epoll_event e = {EPOLLIN, {.fd = 0}};
    int pair[2], ep = epoll_create1(0), count, fd = find(argc > 1 ? argv[1] : "", &count);

    printf("found %d\n", count);
    socketpair(AF_UNIX, SOCK_STREAM, 0, pair);
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
    SHOW(syscall(SYS_close_range, 3, ~0u, 0));
    puts("end");
    return 0;
}
