/*
 * Process 1 of guests that try virtio devices: loads the modules of its initial RAM disk, then
 * obeys words from its console.
 */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/reboot.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/sysinfo.h>
#include <unistd.h>

static void load(const char *name)
{
    int fd = open(name, O_RDONLY | O_CLOEXEC);

    if (fd >= 0 && syscall(SYS_finit_module, fd, "", 0) && errno != EEXIST) {
        printf("init: %s: %m\n", name);
    }
    close(fd);
}

/* The port of this name, opened; the guest hears of it a little later than it is plugged. */
static int open_port(const char *wanted)
{
    for (int tries = 0; tries < 500; tries++, usleep(20000)) {
        DIR *ports = opendir("/sys/class/virtio-ports");
        struct dirent *entry;

        while (ports && (entry = readdir(ports))) {
            char path[512], name[64] = "";
            FILE *file;

            snprintf(path, sizeof(path), "/sys/class/virtio-ports/%s/name", entry->d_name);
            file = fopen(path, "r");
            if (!file) {
                continue;
            }
            if (fgets(name, sizeof(name), file)) {
                name[strcspn(name, "\n")] = '\0';
            }
            fclose(file);
            snprintf(path, sizeof(path), "/dev/%s", entry->d_name);
            if (strcmp(name, wanted) == 0) {
                int fd = open(path, O_RDWR);

                closedir(ports);
                return fd;
            }
        }
        if (ports) {
            closedir(ports);
        }
    }
    return -1;
}

/* Sends back what comes, until so many bytes are through. */
static void echo(const char *name, long long left)
{
    static char data[65536];
    int fd = open_port(name);

    if (fd < 0) {
        printf("init: no port %s\n", name);
        return;
    }
    printf("init: port %s is open\n", name);
    fflush(stdout);
    while (left > 0) {
        ssize_t n = read(fd, data, sizeof(data));

        if (n == 0) {
            usleep(10000);      /* nobody is at the other end */
            continue;
        }
        for (ssize_t done = 0, w; n > 0 && done < n; done += w) {
            w = write(fd, data + done, (size_t)(n - done));
            if (w <= 0) {
                printf("init: write: %m\n");
                return;
            }
        }
        if (n < 0) {
            printf("init: read: %m\n");
            return;
        }
        left -= n;
    }
    close(fd);
}

static void obey(const char *line)
{
    static char *area;
    static size_t size;
    char name[64];
    long long n;
    struct sysinfo info;

    if (sscanf(line, "echo %63s %lld", name, &n) == 2) {
        echo(name, n);
    } else if (sscanf(line, "touch %lld", &n) == 1) {
        size = (size_t)n << 20;
        area = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
        if (area == MAP_FAILED) {
            printf("init: mmap: %m\n");
            return;
        }
        memset(area, 0x5a, size);
    } else if (strncmp(line, "free", 4) == 0) {
        munmap(area, size);
    } else if (strncmp(line, "memory", 6) == 0) {
        sysinfo(&info);
        printf("init: %llu MiB\n", (unsigned long long)info.totalram * info.mem_unit >> 20);
    } else if (sscanf(line, "random %lld", &n) == 1) {
        int fd = open("/dev/hwrng", O_RDONLY);
        unsigned char data[64];
        long long got = 0;

        while (got < n) {
            ssize_t r = read(fd, data, sizeof(data) < (size_t)(n - got) ? sizeof(data)
                                                                        : (size_t)(n - got));

            if (r <= 0) {
                printf("init: hwrng: %m\n");
                break;
            }
            got += r;
        }
        close(fd);
    } else if (strncmp(line, "poweroff", 8) == 0) {
        reboot(RB_POWER_OFF);
    }
    printf("init: did %s", line);
    fflush(stdout);
}

int main(void)
{
    char line[128];
    DIR *modules;
    struct dirent *entry;

    mount("devtmpfs", "/dev", "devtmpfs", 0, NULL);
    mkdir("/sys", 0755);
    mount("sysfs", "/sys", "sysfs", 0, NULL);
    modules = opendir("/modules");
    while (modules && (entry = readdir(modules))) {
        char path[512];

        snprintf(path, sizeof(path), "/modules/%s", entry->d_name);
        if (entry->d_name[0] != '.') {
            load(path);
        }
    }
    printf("init: ready\n");
    fflush(stdout);
    while (fgets(line, sizeof(line), stdin)) {
        obey(line);
    }
    return 0;
}
