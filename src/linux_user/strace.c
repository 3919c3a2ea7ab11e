/*
 * -strace: one line for each system call, "PID name(args) = result" with strings in quotation marks
 * and flags by name.
 */
#include "linux_user/syscall_table.h"

#include <arpa/inet.h>
#include <fcntl.h>
#include <inttypes.h>
#include <linux/netlink.h>
#include <netinet/in.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/sysmacros.h>
#include <sys/un.h>

enum {
    MAX_STRING = 4096, /* bytes of a path */
    MAX_DATA = 32,     /* bytes of a buffer */
    MAX_VECTOR = 8,    /* entries of an iovec or of argv */
};

static void append_quoted(GString *line, const char *text, size_t size)
{
    g_string_append_c(line, '"');
    for (size_t i = 0; i < size; i++) {
        unsigned char c = text[i];

        switch (c) {
        case '"': g_string_append(line, "\\\""); break;
        case '\\': g_string_append(line, "\\\\"); break;
        case '\n': g_string_append(line, "\\n"); break;
        case '\t': g_string_append(line, "\\t"); break;
        case '\r': g_string_append(line, "\\r"); break;
        default:
            if (c < 32 || c > 126) {
                g_string_append_printf(line, "\\%03o", c);
            } else {
                g_string_append_c(line, (char)c);
            }
            break;
        }
    }
    g_string_append_c(line, '"');
}

static void append_pointer(GString *line, uint64_t addr)
{
    if (addr == 0) {
        g_string_append(line, "NULL");
    } else {
        g_string_append_printf(line, "0x%016" PRIx64, addr);
    }
}

static void append_string(GString *line, const struct lu_process *p, uint64_t addr)
{
    g_autofree char *text = NULL;

    if (addr == 0 || lu_string_from_guest(p, &text, addr, MAX_STRING) != 0) {
        append_pointer(line, addr);
    } else {
        append_quoted(line, text, strlen(text));
    }
}

static void append_data(GString *line, const struct lu_process *p, uint64_t addr, uint64_t size)
{
    char data[MAX_DATA];
    size_t shown = MIN(size, sizeof(data));

    if (addr == 0 || lu_copy_from_guest(p, data, addr, shown) != 0) {
        append_pointer(line, addr);
        return;
    }
    append_quoted(line, data, shown);
    if (shown < size) {
        g_string_append(line, "...");
    }
}

static void append_flags(GString *line, const struct lu_name *names, uint64_t value)
{
    uint64_t left = value;
    bool any = false;
    const char *zero = NULL;

    for (const struct lu_name *n = names; n->name; n++) {
        uint64_t mask = n->mask ? n->mask : n->bits;

        if (mask == 0) {
            zero = n->name;
            continue;
        }
        /* A field of several bits also has a name for 0. */
        if ((value & mask) == n->bits && (left & mask || n->bits == 0)) {
            g_string_append_printf(line, "%s%s", any ? "|" : "", n->name);
            left &= ~mask;
            any = true;
        }
    }
    if (left) {
        g_string_append_printf(line, "%s0x%" PRIx64, any ? "|" : "", left);
    } else if (!any) {
        g_string_append(line, zero ? zero : "0");
    }
}

static void append_enum(GString *line, const struct lu_name *names, uint64_t value)
{
    for (const struct lu_name *n = names; n->name; n++) {
        if ((uint32_t)value == (uint32_t)n->bits) {
            g_string_append(line, n->name);
            return;
        }
    }
    g_string_append_printf(line, "%d", (int32_t)value);
}

static void append_times(GString *line, const struct lu_process *p, uint64_t addr, unsigned pairs,
                         const char *fraction)
{
    int64_t v[4];

    if (addr == 0 || lu_copy_from_guest(p, v, addr, pairs * 16) != 0) {
        append_pointer(line, addr);
        return;
    }
    for (unsigned i = 0; i < pairs; i++) {
        g_string_append_printf(line, "%s{tv_sec = %" PRId64 ",%s = %" PRId64 "}",
                               pairs == 1 ? ""
                               : i        ? ",it_value="
                                          : "{it_interval=",
                               v[i * 2], fraction, v[i * 2 + 1]);
    }
    if (pairs > 1) {
        g_string_append_c(line, '}');
    }
}

static void append_sockaddr(GString *line, const struct lu_process *p, uint64_t addr, uint64_t size)
{
    union {
        struct sockaddr sa;
        struct sockaddr_in in;
        struct sockaddr_in6 in6;
        struct sockaddr_un un;
        struct sockaddr_nl nl;
    } u;
    char text[INET6_ADDRSTRLEN] = "";

    memset(&u, 0, sizeof(u));
    size = MIN((uint32_t)size, sizeof(u));
    if (addr == 0 || size < sizeof(u.sa.sa_family) || lu_copy_from_guest(p, &u, addr, size) != 0) {
        append_pointer(line, addr);
        return;
    }
    switch (u.sa.sa_family) {
    case AF_UNIX: {
        size_t length = size - sizeof(u.sa.sa_family);
        const char *path = u.un.sun_path;

        if (length && path[0]) {
            length = strnlen(path, MIN(length, sizeof(u.un.sun_path)));
        }
        g_string_append(line, "{sun_family=AF_UNIX,sun_path=");
        append_quoted(line, path, MIN(length, sizeof(u.un.sun_path)));
        g_string_append_c(line, '}');
        break;
    }
    case AF_INET:
        inet_ntop(AF_INET, &u.in.sin_addr, text, sizeof(text));
        g_string_append_printf(line, "{sin_family=AF_INET,sin_port=htons(%u),sin_addr=\"%s\"}",
                               ntohs(u.in.sin_port), text);
        break;
    case AF_INET6:
        inet_ntop(AF_INET6, &u.in6.sin6_addr, text, sizeof(text));
        g_string_append_printf(line, "{sin6_family=AF_INET6,sin6_port=htons(%u),sin6_addr=\"%s\"}",
                               ntohs(u.in6.sin6_port), text);
        break;
    case AF_NETLINK:
        g_string_append_printf(line, "{nl_family=AF_NETLINK,nl_pid=%u,nl_groups=0x%x}", u.nl.nl_pid,
                               u.nl.nl_groups);
        break;
    default:
        g_string_append(line, "{sa_family=");
        append_enum(line, lu_names[LU_NAMES_AF], u.sa.sa_family);
        g_string_append_c(line, '}');
        break;
    }
}

static void append_vector(GString *line, const struct lu_process *p, uint64_t addr, uint64_t count,
                          bool strings)
{
    uint64_t entry[2];
    size_t stride = strings ? 8 : 16;

    if (addr == 0 || lu_copy_from_guest(p, entry, addr, stride) != 0) {
        append_pointer(line, addr);
        return;
    }
    g_string_append_c(line, strings ? '{' : '[');
    for (uint64_t i = 0; i < count; i++) {
        if (i == MAX_VECTOR) {
            g_string_append(line, ",...");
            break;
        }
        if (lu_copy_from_guest(p, entry, addr + i * stride, stride) != 0 ||
            (strings && entry[0] == 0)) {
            break;
        }
        g_string_append(line, i ? "," : "");
        if (strings) {
            append_string(line, p, entry[0]);
        } else {
            g_string_append_printf(line, "{0x%016" PRIx64 ",%" PRIu64 "}", entry[0], entry[1]);
        }
    }
    g_string_append(line, strings ? ",NULL}" : "]");
}

static void append_sigset(GString *line, const struct lu_process *p, uint64_t addr)
{
    lu_sigset set;
    bool any = false;

    if (addr == 0 || lu_copy_from_guest(p, &set, addr, sizeof(set)) != 0) {
        append_pointer(line, addr);
        return;
    }
    g_string_append_c(line, '[');
    for (int sig = 1; sig <= LU_NSIG; sig++) {
        if (set >> (sig - 1) & 1) {
            const char *name = sigabbrev_np(sig);

            g_string_append(line, any ? " " : "");
            if (name) {
                g_string_append_printf(line, "SIG%s", name);
            } else {
                g_string_append_printf(line, "%d", sig);
            }
            any = true;
        }
    }
    g_string_append_c(line, ']');
}

static void append_pointer_arg(GString *line, const struct lu_process *p, const struct lu_arg *arg,
                               const uint64_t a[6], uint64_t value)
{
    switch (arg->kind) {
    case LU_ARG_PATH:
    case LU_ARG_PATHX:
    case LU_ARG_STR: append_string(line, p, value); break;
    case LU_ARG_IN_LEN:
        if (arg->size == 1) {
            append_data(line, p, value, a[arg->index]);
        } else {
            append_pointer(line, value);
        }
        break;
    case LU_ARG_TIMESPEC: append_times(line, p, value, 1, "tv_nsec"); break;
    case LU_ARG_TIMEVAL: append_times(line, p, value, 1, "tv_usec"); break;
    case LU_ARG_ITIMERSPEC: append_times(line, p, value, 2, "tv_nsec"); break;
    case LU_ARG_SOCKADDR: append_sockaddr(line, p, value, a[arg->index]); break;
    case LU_ARG_IOVEC: append_vector(line, p, value, a[arg->index], false); break;
    case LU_ARG_STRV: append_vector(line, p, value, UINT64_MAX, true); break;
    case LU_ARG_SIGSET: append_sigset(line, p, value); break;
    default: append_pointer(line, value); break;
    }
}

static void append_arg(GString *line, const struct lu_process *p, const struct lu_arg *arg,
                       const uint64_t a[6], uint64_t value)
{
    const char *name;

    switch (arg->kind) {
    case LU_ARG_INT:
    case LU_ARG_FD: g_string_append_printf(line, "%d", (int32_t)value); break;
    case LU_ARG_UINT: g_string_append_printf(line, "%u", (uint32_t)value); break;
    case LU_ARG_LONG: g_string_append_printf(line, "%" PRId64, (int64_t)value); break;
    case LU_ARG_SIZE: g_string_append_printf(line, "%" PRIu64, value); break;
    case LU_ARG_HEX: g_string_append_printf(line, "0x%" PRIx64, value); break;
    case LU_ARG_OCTAL: g_string_append_printf(line, "0%o", (uint32_t)value); break;
    case LU_ARG_DEV:
        g_string_append_printf(line, "makedev(%u,%u)", major((uint32_t)value),
                               minor((uint32_t)value));
        break;
    case LU_ARG_DIRFD:
        if ((int32_t)value == AT_FDCWD) {
            g_string_append(line, "AT_FDCWD");
        } else {
            g_string_append_printf(line, "%d", (int32_t)value);
        }
        break;
    case LU_ARG_FLAGS: append_flags(line, lu_names[arg->index], value); break;
    case LU_ARG_ENUM: append_enum(line, lu_names[arg->index], value); break;
    case LU_ARG_SIGNAL:
        name = (int32_t)value > 0 ? sigabbrev_np((int32_t)value) : NULL;
        if (name) {
            g_string_append_printf(line, "SIG%s", name);
        } else {
            g_string_append_printf(line, "%d", (int32_t)value);
        }
        break;
    case LU_ARG_IOCTL:
        name = lu_ioctl_name((uint32_t)value);
        if (name) {
            g_string_append(line, name);
        } else {
            g_string_append_printf(line, "0x%x", (uint32_t)value);
        }
        break;
    default: append_pointer_arg(line, p, arg, a, value); break;
    }
}

static void write_log(const struct lu_process *p, const char *text)
{
    FILE *file = p->options->log_file ? p->options->log_file : stderr;

    fputs(text, file);
    fflush(file);
}

void lu_strace_enter(struct lu_thread *t, uint64_t nr, const struct lu_syscall_row *row,
                     const uint64_t a[6])
{
    g_autoptr(GString) line = g_string_sized_new(160);

    g_string_append_printf(line, "%d ", (int)getpid());
    if (!row) {
        g_string_append_printf(line, "Unknown syscall %" PRIu64, nr);
        write_log(t->process, line->str);
        return;
    }
    g_string_append_printf(line, "%s(", row->name);
    for (unsigned i = 0; i < row->n_args; i++) {
        g_string_append(line, i ? "," : "");
        append_arg(line, t->process, &row->args[i], a, a[i]);
    }
    g_string_append(line, row->result == LU_RESULT_NONE ? ")\n" : ")");
    write_log(t->process, line->str);
}

void lu_strace_leave(struct lu_thread *t, const struct lu_syscall_row *row, const uint64_t a[6],
                     int64_t result)
{
    g_autofree char *text = NULL;

    if (result == -LU_SIGRETURN) {
        /* Of other calls it is what a seccomp filter decided: a signal, or an error that is none.
         */
        text = g_strdup_printf(" = ? (%s)\n", row && row->handler == sys_rt_sigreturn
                                                  ? "Successful exit from sigreturn"
                                                  : "Stopped by a seccomp filter");
    } else if (result <= -LU_ERESTARTSYS && result >= -LU_ERESTARTNOHAND) {
        text = g_strdup(" = ? (To be restarted)\n");
    } else if (result < 0 && result >= -4095) {
        text = g_strdup_printf(" = -1 errno=%d (%s)\n", (int)-result, strerror((int)-result));
    } else if (row && row->result == LU_RESULT_HEX) {
        text = g_strdup_printf(" = 0x%016" PRIx64 "\n", (uint64_t)result);
    } else {
        text = g_strdup_printf(" = %" PRId64 "\n", result);
    }
    write_log(t->process, text);
}
