/* Sockets: all calls over UNIX, IPv4, IPv6 and netlink sockets on this machine. */
#include "sc.h"
#include <arpa/inet.h>
#include <linux/ethtool.h>
#include <linux/filter.h>
#include <linux/netlink.h>
#include <linux/rtnetlink.h>
#include <linux/sockios.h>
#include <net/if.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/socket.h>
#include <sys/un.h>

static void pairs(void)
{
    struct ucred cred;
    socklen_t n = sizeof(cred);
    char buf[32] = "";
    int s[2], none[2], value = 1;

    SHOW(socketpair(AF_UNIX, SOCK_STREAM, 0, s));
    SHOW(socketpair(AF_UNIX, SOCK_STREAM, 0, NOWHERE));
    SHOW(socketpair(AF_INET, SOCK_STREAM, 0, none));
    SHOW(send(s[0], "hello", 5, 0));
    SHOW(recv(s[1], buf, 32, MSG_PEEK));
    SHOW(recv(s[1], buf, 32, 0));
    printf("[%s]\n", buf);
    SHOW(recv(s[1], buf, 32, MSG_DONTWAIT));
    SHOW(recv(s[1], NOWHERE, 32, MSG_DONTWAIT));
    SHOW(send(s[1], NOWHERE, 5, 0));
    SHOW(getsockopt(s[0], SOL_SOCKET, SO_PEERCRED, &cred, &n));
    printf("%d %d %d\n", cred.pid == getpid(), cred.uid == getuid(), (int)n);
    SHOW(setsockopt(s[0], SOL_SOCKET, SO_PASSCRED, &value, sizeof(value)));
    SHOW(shutdown(s[0], SHUT_WR));
    SHOW(recv(s[1], buf, 32, 0));
    SHOW(send(s[0], "x", 1, MSG_NOSIGNAL));
    SHOW(shutdown(s[0], 9));
    close(s[0]);
    close(s[1]);
    SHOW(socket(99, SOCK_STREAM, 0));
    SHOW(socket(AF_UNIX, 99, 0));
    SHOW(shutdown(0, SHUT_WR));
}

static void descriptors(void)
{
    char data[8] = "", control[64];
    struct iovec v = {data, sizeof(data)};
    struct msghdr m = {.msg_iov = &v, .msg_iovlen = 1, .msg_control = control,
                       .msg_controllen = CMSG_SPACE(2 * sizeof(int))};
    struct cmsghdr *c = CMSG_FIRSTHDR(&m);
    int s[2], pipes[2], fds[2];

    SHOW(socketpair(AF_UNIX, SOCK_DGRAM, 0, s));
    SHOW(pipe(pipes));
    memset(control, 0, sizeof(control));
    c->cmsg_level = SOL_SOCKET;
    c->cmsg_type = SCM_RIGHTS;
    c->cmsg_len = CMSG_LEN(2 * sizeof(int));
    memcpy(CMSG_DATA(c), pipes, sizeof(pipes));
    memcpy(data, "fds", 4);
    SHOW(sendmsg(s[0], &m, 0));
    memset(data, 0, sizeof(data));
    memset(control, 0, sizeof(control));
    m.msg_controllen = sizeof(control);
    SHOW(recvmsg(s[1], &m, MSG_CMSG_CLOEXEC));
    c = CMSG_FIRSTHDR(&m);
    printf("%s level %d type %d len %d controllen %d flags %x\n", data, c->cmsg_level, c->cmsg_type,
           (int)c->cmsg_len, (int)m.msg_controllen, m.msg_flags);
    memcpy(fds, CMSG_DATA(c), sizeof(fds));
    SHOW(write(fds[1], "through", 7));
    SHOW(read(pipes[0], data, 7));
    printf("%.7s\n", data);
    SHOW(fcntl(fds[0], F_GETFD));
    fds[0] = 777;
    c->cmsg_level = SOL_SOCKET;
    c->cmsg_type = SCM_RIGHTS;
    c->cmsg_len = CMSG_LEN(sizeof(int));
    memcpy(CMSG_DATA(c), fds, sizeof(int));
    m.msg_controllen = CMSG_SPACE(sizeof(int));
    SHOW(sendmsg(s[0], &m, 0));
    m.msg_control = NOWHERE;
    SHOW(sendmsg(s[0], &m, 0));
    m.msg_control = NULL;
    m.msg_controllen = 0;
    v.iov_len = 3;
    SHOW(sendmsg(s[0], &m, 0));
    v.iov_len = 2;
    SHOW(recvmsg(s[1], &m, 0));
    printf("flags %x\n", m.msg_flags);
    m.msg_iovlen = 2000;
    SHOW(sendmsg(s[0], &m, 0));
    m.msg_iovlen = 1;
    m.msg_iov = NOWHERE;
    SHOW(sendmsg(s[0], &m, 0));
    SHOW(sendmsg(s[0], NOWHERE, 0));
    SHOW(recvmsg(s[1], NOWHERE, 0));
    v.iov_base = NOWHERE;
    v.iov_len = 4;
    m.msg_iov = &v;
    SHOW(sendmsg(s[0], &m, 0));
}

static void many(void)
{
    char text[4][8] = {"a", "bb", "ccc", ""}, in[4][8];
    struct mmsghdr m[4];
    struct iovec v[4];
    struct timespec t = {1, 0};
    int s[2];

    memset(in, 0, sizeof(in));
    memset(m, 0, sizeof(m));
    SHOW(socketpair(AF_UNIX, SOCK_DGRAM, 0, s));
    for (int i = 0; i < 4; i++) {
        v[i] = (struct iovec){text[i], strlen(text[i]) + 1};
        m[i].msg_hdr.msg_iov = &v[i];
        m[i].msg_hdr.msg_iovlen = 1;
    }
    SHOW(sendmmsg(s[0], m, 3, 0));
    printf("%u %u %u\n", m[0].msg_len, m[1].msg_len, m[2].msg_len);
    for (int i = 0; i < 4; i++)
        v[i] = (struct iovec){in[i], 8};
    SHOW(recvmmsg(s[1], m, 4, MSG_DONTWAIT, &t));
    printf("%s %s %s %u %u\n", in[0], in[1], in[2], m[0].msg_len, m[2].msg_len);
    SHOW(recvmmsg(s[1], m, 4, MSG_DONTWAIT, NULL));
    SHOW(sendmmsg(s[0], NOWHERE, 1, 0));
    SHOW(sendmmsg(s[0], m, 0, 0));
    v[1].iov_base = NOWHERE;
    SHOW(sendmmsg(s[0], m, 3, 0));
    SHOW(recvmmsg(s[1], m, 1, 0, NOWHERE));
}

static void names(void)
{
    struct sockaddr_un un = {.sun_family = AF_UNIX}, out;
    socklen_t n = sizeof(out);
    int s = socket(AF_UNIX, SOCK_STREAM, 0), c = socket(AF_UNIX, SOCK_STREAM, 0), a;

    strcpy(un.sun_path, "sock");
    SHOW(connect(c, (void *)&un, sizeof(un)));
    SHOW(bind(s, (void *)&un, sizeof(un)));
    SHOW(bind(s, (void *)&un, sizeof(un)));
    SHOW(listen(s, 5));
    SHOW(connect(c, (void *)&un, sizeof(un)));
    memset(&out, 0, sizeof(out));
    OK(a = accept4(s, (void *)&out, &n, SOCK_NONBLOCK | SOCK_CLOEXEC));
    printf("family %d len %d flags %d\n", out.sun_family, (int)n, fcntl(a, F_GETFL) & O_NONBLOCK);
    n = sizeof(out);
    SHOW(getpeername(c, (void *)&out, &n));
    printf("%s %d\n", out.sun_path, (int)n);
    n = 4;
    memset(&out, 0, sizeof(out));
    SHOW(getsockname(s, (void *)&out, &n));
    printf("%.2s %d\n", out.sun_path, (int)n);
    n = -1;
    SHOW(getsockname(s, (void *)&out, &n));
    n = 4;
    SHOW(getsockname(s, NOWHERE, &n));
    SHOW(getsockname(s, (void *)&out, NOWHERE));
    SHOW(getsockname(777, (void *)&out, &n));
    SHOW(getsockname(0, (void *)&out, &n));
    SHOW(connect(c, NOWHERE, 10));
    SHOW(connect(c, (void *)&un, 2000));
    SHOW(fcntl(s, F_SETFL, O_NONBLOCK));
    SHOW(accept(s, NULL, NULL));
    close(s);
    close(c);
    close(a);
}

static void internet(int family)
{
    union {
        struct sockaddr sa;
        struct sockaddr_in in;
        struct sockaddr_in6 in6;
    } addr = {.sa.sa_family = family}, from;
    socklen_t n = family == AF_INET ? sizeof(addr.in) : sizeof(addr.in6), m = sizeof(from);
    int s = socket(family, SOCK_STREAM, 0), c = socket(family, SOCK_STREAM, 0), a, value = 1;
    struct linger linger = {1, 2};
    struct timeval tv = {0, 10000};
    struct tcp_info info;
    char buf[16] = "";

    printf("family %d\n", family);
    if (family == AF_INET)
        addr.in.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    else
        addr.in6.sin6_addr = in6addr_loopback;
    SHOW(setsockopt(s, SOL_SOCKET, SO_REUSEADDR, &value, sizeof(value)));
    if (bind(s, &addr.sa, n)) {
        printf("bind: %s\n", strerrorname_np(errno));
        return;
    }
    SHOW(getsockname(s, &addr.sa, &n));
    SHOW(listen(s, 1));
    SHOW(connect(c, &addr.sa, n));
    OK(a = accept(s, &from.sa, &m));
    printf("from %d len %d\n", from.sa.sa_family, (int)m);
    SHOW(setsockopt(c, IPPROTO_TCP, TCP_NODELAY, &value, sizeof(value)));
    m = sizeof(value);
    value = 0;
    SHOW(getsockopt(c, IPPROTO_TCP, TCP_NODELAY, &value, &m));
    printf("nodelay %d %d\n", value, (int)m);
    SHOW(setsockopt(c, SOL_SOCKET, SO_LINGER, &linger, sizeof(linger)));
    m = sizeof(linger);
    memset(&linger, 0, sizeof(linger));
    SHOW(getsockopt(c, SOL_SOCKET, SO_LINGER, &linger, &m));
    printf("linger %d %d\n", linger.l_onoff, linger.l_linger);
    m = sizeof(info);
    SHOW(getsockopt(c, IPPROTO_TCP, TCP_INFO, &info, &m));
    printf("state %d\n", info.tcpi_state);
    m = sizeof(value);
    SHOW(getsockopt(c, SOL_SOCKET, SO_TYPE, &value, &m));
    printf("type %d\n", value);
    SHOW(getsockopt(c, SOL_SOCKET, 9999, &value, &m));
    SHOW(getsockopt(c, SOL_SOCKET, SO_TYPE, NOWHERE, &m));
    SHOW(getsockopt(c, SOL_SOCKET, SO_TYPE, &value, NOWHERE));
    SHOW(setsockopt(c, SOL_SOCKET, SO_KEEPALIVE, NOWHERE, 4));
    SHOW(setsockopt(c, SOL_SOCKET, SO_KEEPALIVE, &value, -1));
    SHOW(setsockopt(c, SOL_SOCKET, SO_RCVTIMEO, &tv, sizeof(tv)));
    SHOW(recv(c, buf, 4, 0));
    SHOW(send(a, "ping", 4, 0));
    SHOW(recv(c, buf, 4, MSG_WAITALL));
    printf("%s\n", buf);
    SHOW(ioctl(c, FIONREAD, &value));
    printf("%d\n", value);
    SHOW(connect(c, &addr.sa, n));
    SHOW(send(c, "oob", 3, MSG_OOB));
    close(a);
    close(c);
    close(s);

    s = socket(family, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    c = socket(family, SOCK_DGRAM, 0);
    if (family == AF_INET)
        addr.in.sin_port = 0;
    else
        addr.in6.sin6_port = 0;
    SHOW(bind(s, &addr.sa, n));
    SHOW(getsockname(s, &addr.sa, &n));
    SHOW(sendto(c, "datagram", 8, 0, &addr.sa, n));
    m = sizeof(from);
    SHOW(recvfrom(s, buf, 4, MSG_TRUNC, &from.sa, &m));
    printf("%.4s family %d len %d\n", buf, from.sa.sa_family, (int)m);
    SHOW(sendto(c, "x", 1, 0, NOWHERE, n));
    SHOW(sendto(s, "reply", 5, 0, &from.sa, m));
    SHOW(recvfrom(c, buf, 16, 0, NULL, NULL));
    SHOW(recvfrom(c, buf, 16, MSG_DONTWAIT, &from.sa, NOWHERE));
    close(s);
    close(c);
}

/* A buffer that ends before the size that is given. */
static void partial(void)
{
    struct sockaddr_un from;
    socklen_t n = sizeof(from);
    char *p = mmap(NULL, 8192, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    int s[2];

    munmap(p + 4096, 4096);
    SHOW(socketpair(AF_UNIX, SOCK_STREAM, 0, s));
    SHOW(send(s[0], "0123456789", 10, 0));
    SHOW(recv(s[1], p + 4000, 4096, 0));
    SHOW(send(s[0], "0123456789", 10, 0));
    SHOW(recvfrom(s[1], p + 4000, 4096, 0, (void *)&from, &n));
    printf("%.10s %d\n", p + 4000, (int)n);
    SHOW(send(s[0], "0123456789", 10, 0));
    SHOW(recv(s[1], p + 4090, 10, 0));
    SHOW(recv(s[1], p + 4096, 10, MSG_DONTWAIT));
    SHOW(send(s[0], p + 4090, 20, 0));
    close(s[0]);
    close(s[1]);
}

static void filters(void)
{
    struct sock_filter accept2[] = {{BPF_RET | BPF_K, 0, 0, 2}};
    struct sock_fprog prog = {1, accept2};
    struct sock_filter back[4];
    socklen_t n = 4;
    char buf[16] = "";
    int s[2];

    SHOW(socketpair(AF_UNIX, SOCK_DGRAM, 0, s));
    SHOW(setsockopt(s[1], SOL_SOCKET, SO_ATTACH_FILTER, &prog, sizeof(prog)));
    SHOW(send(s[0], "filtered", 8, 0));
    SHOW(recv(s[1], buf, 16, 0));
    SHOW(getsockopt(s[1], SOL_SOCKET, SO_GET_FILTER, back, &n));
    printf("%u %d\n", n, back[0].k);
    prog.filter = NOWHERE;
    SHOW(setsockopt(s[1], SOL_SOCKET, SO_ATTACH_FILTER, &prog, sizeof(prog)));
    SHOW(setsockopt(s[1], SOL_SOCKET, SO_DETACH_FILTER, &n, sizeof(n)));
}

static void interfaces(void)
{
    struct {
        struct nlmsghdr h;
        struct rtgenmsg g;
    } req = {{sizeof(req), RTM_GETLINK, NLM_F_REQUEST | NLM_F_DUMP, 1, 0}, {AF_UNSPEC}};
    struct sockaddr_nl nl = {.nl_family = AF_NETLINK};
    struct ifreq ifr = {0}, list[20];
    struct ifconf conf = {sizeof(list), {(void *)list}};
    socklen_t n = sizeof(nl);
    static char buf[65536];
    int s;

    OK(s = socket(AF_NETLINK, SOCK_RAW, NETLINK_ROUTE));
    SHOW(bind(s, (void *)&nl, sizeof(nl)));
    SHOW(getsockname(s, (void *)&nl, &n));
    memset(&nl, 0, sizeof(nl));
    nl.nl_family = AF_NETLINK;
    SHOW(sendto(s, &req, sizeof(req), 0, (void *)&nl, sizeof(nl)) > 0);
    int size = recv(s, buf, sizeof(buf), 0), found = 0;
    for (struct nlmsghdr *h = (void *)buf; NLMSG_OK(h, (unsigned)size); h = NLMSG_NEXT(h, size))
        found += h->nlmsg_type == RTM_NEWLINK;
    SHOW(found > 0);
    close(s);
    s = socket(AF_INET, SOCK_DGRAM, 0);
    strcpy(ifr.ifr_name, "lo");
    SHOW(ioctl(s, SIOCGIFINDEX, &ifr));
    printf("index %d\n", ifr.ifr_ifindex);
    OK(ioctl(s, SIOCGIFMTU, &ifr));
    OK(ioctl(s, SIOCGIFFLAGS, &ifr));
    SHOW(ioctl(s, SIOCGIFCONF, &conf));
    SHOW(conf.ifc_len >= 0);
    conf = (struct ifconf){0, {NULL}};
    SHOW(ioctl(s, SIOCGIFCONF, &conf));
    conf = (struct ifconf){400, {NOWHERE}};
    SHOW(ioctl(s, SIOCGIFCONF, &conf) == 0 || errno == EFAULT);
    struct ethtool_value link = {ETHTOOL_GLINK, 77};
    struct ethtool_drvinfo driver = {ETHTOOL_GDRVINFO};
    ifr.ifr_data = (void *)&link;
    SHOW(ioctl(s, SIOCETHTOOL, &ifr));
    printf("link %d\n", link.data);
    ifr.ifr_data = (void *)&driver;
    SHOW(ioctl(s, SIOCETHTOOL, &ifr));
    printf("driver %s\n", driver.driver);
    ifr.ifr_data = NOWHERE;
    SHOW(ioctl(s, SIOCETHTOOL, &ifr));
    strcpy(ifr.ifr_name, "nothing");
    SHOW(ioctl(s, SIOCGIFINDEX, &ifr));
    SHOW(ioctl(s, SIOCGIFINDEX, NOWHERE));
    close(s);
}

int main(void)
{
    signal(SIGPIPE, SIG_IGN);
    pairs();
    descriptors();
    many();
    names();
    internet(AF_INET);
    internet(AF_INET6);
    partial();
    filters();
    interfaces();
    return 0;
}
