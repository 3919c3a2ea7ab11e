/*
 * The first process of a guest that looks at its PCI devices, and does for a slot by hand what a
 * hot-plug driver does: Debian's kernel for RISC-V has none. Commands come by the console.
 */
#include <dirent.h>
#include <fcntl.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/reboot.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#define DEVICES "/sys/bus/pci/devices"

enum { CAP_EXPRESS = 0x10, SLOT_CONTROL = 0x18, SLOT_STATUS = 0x1a, POWER_OFF = 0x400 };

static void read_text(const char *path, char *text, size_t size)
{
    int fd = open(path, O_RDONLY);
    ssize_t n = fd < 0 ? -1 : read(fd, text, size - 1);

    text[n > 0 ? n : 0] = 0;
    text[strcspn(text, "\n")] = 0;
    close(fd);
}

static void write_text(const char *path, const char *text)
{
    int fd = open(path, O_WRONLY);

    printf("%s: %s\n", path, fd >= 0 && write(fd, text, strlen(text)) > 0 ? "written" : "FAILED");
    close(fd);
}

static void attribute(const char *device, const char *name, char *text, size_t size)
{
    char path[300];

    snprintf(path, sizeof(path), DEVICES "/%s/%s", device, name);
    read_text(path, text, size);
}

static void list(void)
{
    struct dirent **names;
    int n = scandir(DEVICES, &names, NULL, alphasort);

    for (int i = 0; i < n; i++) {
        char vendor[64], device[64], class[64], link[300], driver[300];
        ssize_t size;

        if (names[i]->d_name[0] == '.') {
            continue;
        }
        attribute(names[i]->d_name, "vendor", vendor, sizeof(vendor));
        attribute(names[i]->d_name, "device", device, sizeof(device));
        attribute(names[i]->d_name, "class", class, sizeof(class));
        snprintf(link, sizeof(link), DEVICES "/%s/driver", names[i]->d_name);
        size = readlink(link, driver, sizeof(driver) - 1);
        driver[size > 0 ? size : 0] = 0;
        printf("pci %s %s %s %s %s\n", names[i]->d_name, vendor, device, class,
               *driver ? strrchr(driver, '/') + 1 : "-");
    }
    printf("end of list\n");
}

/* ---- A port's slot ---- */

static int open_config(const char *port)
{
    char path[300];

    snprintf(path, sizeof(path), DEVICES "/%s/config", port);
    return open(path, O_RDWR);
}

static uint16_t get16(int fd, off_t at)
{
    uint16_t value = 0xffff;

    return pread(fd, &value, 2, at) == 2 ? value : 0xffff;
}

static off_t express(int fd)
{
    uint8_t at = (uint8_t)get16(fd, 0x34);

    while (at && (get16(fd, at) & 0xff) != CAP_EXPRESS) {
        at = (uint8_t)(get16(fd, at) >> 8);
    }
    return at;
}

/* Status, and the bits of changes are cleared. */
static void slot_status(const char *port)
{
    int fd = open_config(port);
    off_t at = express(fd);
    uint16_t status = get16(fd, at + SLOT_STATUS);

    printf("slot status 0x%03x control 0x%04x link 0x%04x\n", status,
           get16(fd, at + SLOT_CONTROL), get16(fd, at + 0x12));
    if (pwrite(fd, &status, 2, at + SLOT_STATUS) != 2) {
        printf("FAILED\n");
    }
    close(fd);
}

/* lamp: 1 on, 2 blinks, 3 off. */
static void slot_power(const char *port, unsigned on, unsigned lamp)
{
    int fd = open_config(port);
    off_t at = express(fd);
    uint16_t control = (uint16_t)((get16(fd, at + SLOT_CONTROL) & ~0x700) |
                                  (on ? 0 : POWER_OFF) | lamp << 8);

    printf("slot power %s\n", pwrite(fd, &control, 2, at + SLOT_CONTROL) == 2 ? "set" : "FAILED");
    close(fd);
}

/* ---- Devices ---- */

static void insert_module(const char *path)
{
    int fd = open(path, O_RDONLY);

    printf("module %s: %s\n", path,
           syscall(SYS_finit_module, fd, "", 0) == 0 ? "loaded" : "FAILED");
    close(fd);
}

static void read_random(void)
{
    unsigned char bytes[64];
    char name[64];
    int fd = open("/dev/hwrng", O_RDONLY);
    ssize_t n = fd < 0 ? -1 : read(fd, bytes, sizeof(bytes));

    read_text("/sys/class/misc/hw_random/rng_current", name, sizeof(name));
    printf("random from %s: %zd bytes\n", name, n);
    close(fd);
}

static void list_folder(const char *path)
{
    struct dirent **names;
    int n = scandir(path, &names, NULL, alphasort);

    printf("%s:", path);
    for (int i = 0; i < n; i++) {
        printf(" %s", names[i]->d_name);
    }
    printf(" .\n");
}

static void head(const char *path)
{
    char text[513];

    read_text(path, text, sizeof(text));
    printf("read %s\n", text);
}

static void echo(const char *path, const char *text)
{
    int fd = open(path, O_WRONLY);
    ssize_t n = fd < 0 ? -1 : write(fd, text, strlen(text));

    fsync(fd);
    printf("wrote %zd to %s\n", n, path);
    close(fd);
}

static void run(char *line)
{
    char word[32] = "", path[200] = "", text[200] = "";
    unsigned a = 0, b = 0;

    sscanf(line, "%31s %199s %199s", word, path, text);
    if (!strcmp(word, "list")) {
        list();
    } else if (!strcmp(word, "status")) {
        slot_status(path);
    } else if (!strcmp(word, "power") && sscanf(line, "%*s %*s %u %u", &a, &b) == 2) {
        slot_power(path, a, b);
    } else if (!strcmp(word, "write")) {
        write_text(path, text);
    } else if (!strcmp(word, "insmod")) {
        insert_module(path);
    } else if (!strcmp(word, "random")) {
        read_random();
    } else if (!strcmp(word, "ls")) {
        list_folder(path);
    } else if (!strcmp(word, "head")) {
        head(path);
    } else if (!strcmp(word, "echo")) {
        echo(path, text);
    } else if (!strcmp(word, "reboot")) {
        reboot(RB_AUTOBOOT);
    } else if (!strcmp(word, "poweroff")) {
        reboot(RB_POWER_OFF);
    }
    printf("ready\n");
    fflush(stdout);
}

int main(void)
{
    char line[300];

    mkdir("/sys", 0755);
    mkdir("/dev", 0755);
    mount("sysfs", "/sys", "sysfs", 0, NULL);
    mount("devtmpfs", "/dev", "devtmpfs", 0, NULL);
    printf("init: ready\n");
    fflush(stdout);
    while (fgets(line, sizeof(line), stdin)) {
        run(line);
    }
    return 0;
}
