/* Namespaces and mounts. What is not permitted here is not permitted natively either. */
#include "sc.h"
#include <sys/mount.h>

static void in_namespaces(void)
{
    char text[64] = "";
    int fd, fs, mnt;

    SHOW(mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL));
    SHOW(mkdir("mnt", 0700));
    SHOW(mount("tmpfs", "mnt", "tmpfs", MS_NOSUID, "size=1m,mode=711"));
    SHOW(access("mnt/file", F_OK));
    fd = open("mnt/file", O_CREAT | O_RDWR, 0600);
    SHOW(fd >= 0);
    SHOW(write(fd, "x", 1));
    close(fd);
    SHOW(mount("nothing", "mnt", "no-such-fs", 0, NULL));
    SHOW(mount("tmpfs", "mnt", "tmpfs", 0, "size=bad"));
    SHOW(mount("tmpfs", NOWHERE, "tmpfs", 0, NULL));
    SHOW(mount("mnt", "mnt", NULL, MS_BIND | MS_REMOUNT | MS_RDONLY, NULL));
    SHOW(open("mnt/other", O_CREAT | O_RDWR, 0600));
    SHOW(umount2("mnt", MNT_DETACH));
    SHOW(umount2("mnt", 0));
    SHOW(umount2("mnt", 0x4000));
    SHOW((fs = syscall(SYS_fsopen, "tmpfs", 1)) >= 0);
    SHOW(syscall(SYS_fsopen, "no-such-fs", 0));
    SHOW(syscall(SYS_fsconfig, fs, 1, "size", "2m", 0));
    SHOW(syscall(SYS_fsconfig, fs, 1, "size", NOWHERE, 0));
    SHOW(syscall(SYS_fsconfig, fs, 0, "nothing", NULL, 0));
    SHOW(syscall(SYS_fsconfig, fs, 6, NULL, NULL, 0));
    SHOW((mnt = syscall(SYS_fsmount, fs, 1, 0)) >= 0);
    SHOW(syscall(SYS_move_mount, mnt, "", AT_FDCWD, "mnt", 4));
    struct {
        uint64_t set, clear, propagation, userns;
    } attr = {1 /* MOUNT_ATTR_RDONLY */, 0, 0, 0};
    SHOW(syscall(SYS_mount_setattr, mnt, "", AT_EMPTY_PATH, &attr, sizeof(attr)));
    SHOW(syscall(SYS_mount_setattr, mnt, "", AT_EMPTY_PATH, NOWHERE, sizeof(attr)));
    SHOW(open("mnt/other", O_CREAT | O_RDWR, 0600));
    SHOW(syscall(SYS_open_tree, AT_FDCWD, "mnt", 1) >= 0);
    SHOW(umount2("mnt", MNT_DETACH));
    SHOW(sethostname("nandu-test", 10));
    SHOW(gethostname(text, sizeof(text)));
    printf("%s\n", text);
    SHOW(chroot("mnt"));
    SHOW(chdir("/"));
    SHOW(access("/etc", F_OK));
}

int main(void)
{
    int status, fd = open("/proc/self/ns/uts", O_RDONLY);

    fflush(stdout);
    if (fork() == 0) {
        int flags = CLONE_NEWNS | CLONE_NEWUTS | CLONE_NEWIPC;

        if (geteuid() != 0)
            flags |= CLONE_NEWUSER;
        SHOW(unshare(flags));
        in_namespaces();
        SHOW(setns(fd, CLONE_NEWUTS) == 0 || errno == EPERM);
        fflush(stdout);
        _exit(0);
    }
    wait(&status);
    printf("status %d\n", status);
    SHOW(unshare(0x12345678));
    SHOW(unshare(0));
    SHOW(setns(fd, CLONE_NEWNET));
    SHOW(setns(0, 0));
    fflush(stdout);
    if (fork() == 0) {
        if (unshare(CLONE_NEWPID | (geteuid() ? CLONE_NEWUSER : 0)) == 0) {
            fflush(stdout);
            if (fork() == 0) {
                printf("pid %d\n", getpid());
                exit(0);
            }
            wait(NULL);
        }
        exit(0);
    }
    wait(NULL);
    if (fork() == 0) {
        SHOW(unshare(CLONE_FILES | CLONE_FS | CLONE_SYSVSEM));
        exit(0);
    }
    wait(NULL);
    return 0;
}
