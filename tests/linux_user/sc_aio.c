/* Linux AIO by its system calls, as the library libaio makes them. */
#include "sc.h"
#include <linux/aio_abi.h>
#include <sys/eventfd.h>

static char data[8192];

int main(void)
{
    static struct iocb a, b, c, *list[4] = {&a, &b, &c, NULL};
    struct io_event events[8];
    struct timespec none = {0, 0}, soon = {0, 1000000};
    struct iovec v[2] = {{data, 4}, {data + 100, 6}};
    aio_context_t context = 0, bad = 0;
    uint64_t n = 0;
    int fd = open("aio", O_RDWR | O_CREAT | O_TRUNC, 0600), e = eventfd(0, EFD_NONBLOCK);

    SHOW(syscall(SYS_io_setup, 8, &context));
    SHOW(context != 0);
    SHOW(syscall(SYS_io_setup, 8, &context));
    SHOW(syscall(SYS_io_setup, 0, &bad));
    SHOW(syscall(SYS_io_setup, 8, NOWHERE));
    memcpy(data, "aio data", 8);
    a = (struct iocb){.aio_lio_opcode = IOCB_CMD_PWRITE, .aio_fildes = fd, .aio_data = 11,
                      .aio_buf = (uintptr_t)data, .aio_nbytes = 4096,
                      .aio_flags = IOCB_FLAG_RESFD, .aio_resfd = e};
    SHOW(syscall(SYS_io_submit, context, 1, list));
    SHOW(syscall(SYS_io_getevents, context, 1, 8, events, NULL));
    printf("data %d obj %d res %d\n", (int)events[0].data, events[0].obj == (uintptr_t)&a,
           (int)events[0].res);
    SHOW(a.aio_buf == (uintptr_t)data);
    SHOW(read(e, &n, 8));
    printf("%d\n", (int)n);
    memset(data, 0, sizeof(data));
    a = (struct iocb){.aio_lio_opcode = IOCB_CMD_PREAD, .aio_fildes = fd, .aio_data = 12,
                      .aio_buf = (uintptr_t)data + 1000, .aio_nbytes = 8};
    b = (struct iocb){.aio_lio_opcode = IOCB_CMD_PREADV, .aio_fildes = fd, .aio_data = 13,
                      .aio_buf = (uintptr_t)v, .aio_nbytes = 2};
    c = (struct iocb){.aio_lio_opcode = IOCB_CMD_FDSYNC, .aio_fildes = fd, .aio_data = 14};
    SHOW(syscall(SYS_io_submit, context, 3, list));
    int got = 0, sum = 0;
    while (got < 3) {
        int k = syscall(SYS_io_getevents, context, 1, 8, events, NULL);
        if (k <= 0)
            break;
        for (int i = 0; i < k; i++)
            sum += events[i].data;
        got += k;
    }
    printf("%d events, sum %d: %.8s %.4s %.4s\n", got, sum, data + 1000, data, data + 100);
    SHOW(syscall(SYS_io_getevents, context, 0, 8, events, &none));
    SHOW(syscall(SYS_io_getevents, context, 1, 8, events, &soon));
    SHOW(syscall(SYS_io_getevents, context, 9, 8, events, &soon));
    SHOW(syscall(SYS_io_pgetevents, context, 0, 8, events, &none, NULL));
    a.aio_buf = (uintptr_t)NOWHERE;
    SHOW(syscall(SYS_io_submit, context, 1, list));
    n = syscall(SYS_io_getevents, context, 1, 8, events, &soon);
    printf("%d %s\n", (int)n, n == 1 ? strerrorname_np(-(int)events[0].res) : "");
    a.aio_fildes = 777;
    SHOW(syscall(SYS_io_submit, context, 1, list));
    a.aio_fildes = fd;
    a.aio_lio_opcode = 99;
    SHOW(syscall(SYS_io_submit, context, 1, list));
    SHOW(syscall(SYS_io_submit, context, 0, list));
    SHOW(syscall(SYS_io_submit, context, -1, list));
    SHOW(syscall(SYS_io_submit, context, 1, NOWHERE));
    list[0] = NULL;
    SHOW(syscall(SYS_io_submit, context, 1, list));
    SHOW(syscall(SYS_io_submit, 4096, 1, list));
    SHOW(syscall(SYS_io_cancel, context, &a, events));
    SHOW(syscall(SYS_io_destroy, context));
    SHOW(syscall(SYS_io_destroy, context));
    SHOW(syscall(SYS_io_getevents, context, 0, 1, events, &none));
    return 0;
}
