/* execve: programs, scripts, descriptors, errors; what a new program keeps and what not. */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

static char dir[] = "/tmp/proc_exec.XXXXXX";
static char self[4096];

static void child_main(int argc, char **argv)
{
    struct sigaction sa;
    sigset_t set;

    printf("  args:");
    for (int i = 0; i < argc && i != 3; i++)
        printf(" [%s]", strncmp(argv[i], "/tmp/proc_exec.", 15) == 0 ? strrchr(argv[i], '/') : argv[i]);
    printf(" env:");
    for (char **e = environ; *e; e++)
        if (strncmp(*e, "T_", 2) == 0)
            printf(" %s", *e);
    printf("\n");
    if (argc > 2 && strcmp(argv[2], "state") == 0) {
        sigprocmask(SIG_BLOCK, NULL, &set);
        printf("  blocked:");
        for (int i = 1; i <= 64; i++)
            if (sigismember(&set, i) == 1)
                printf(" %d", i);
        printf(" ignored:");
        for (int i = 1; i <= 64; i++)
            if (sigaction(i, NULL, &sa) == 0 && sa.sa_handler == SIG_IGN)
                printf(" %d", i);
        sigpending(&set);
        printf(" pending usr1 %d same pid %d fds:", sigismember(&set, SIGUSR1),
               getpid() == atoi(argv[3]) || strcmp(argv[3], "0") == 0);
        for (int i = 3; i < 64; i++)
            if (fcntl(i, F_GETFD) >= 0)
                printf(" %d", i);
        printf("\n");
    }
    exit(77);
}

static void show(const char *what, pid_t pid)
{
    int status;

    waitpid(pid, &status, 0);
    if (WIFEXITED(status) && WEXITSTATUS(status) != 77)
        printf("%s: %s\n", what, strerrorname_np(WEXITSTATUS(status)));
    else if (WIFEXITED(status))
        printf("%s: ok\n", what);
    else
        printf("%s: signal %d\n", what, WTERMSIG(status));
}

#define CHILD(what, ...)                                                                           \
    do {                                                                                           \
        pid_t pid_ = fork();                                                                       \
        if (pid_ == 0) {                                                                           \
            __VA_ARGS__;                                                                           \
            _exit(errno);                                                                          \
        }                                                                                          \
        show(what, pid_);                                                                          \
    } while (0)

static char *put(const char *name, const char *text, int mode)
{
    char *path;
    int fd;

    if (asprintf(&path, "%s/%s", dir, name) < 0)
        exit(1);
    fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
    if (write(fd, text, strlen(text)) != (ssize_t)strlen(text))
        exit(1);
    fchmod(fd, (mode_t)mode);
    close(fd);
    return path;
}

static char *script(const char *name, const char *format, const char *interp)
{
    char text[8192];

    snprintf(text, sizeof(text), format, interp);
    return put(name, text, 0755);
}

static void programs(void)
{
    char *args[] = {"zero", "child", "two words", "", NULL}, *none[] = {NULL};
    char *env[] = {"T_A=1", "T_B=x=y", NULL};
    int fd = open(self, O_RDONLY | O_CLOEXEC);

    CHILD("execve", execve(self, args, env));
    CHILD("through /proc", execve("/proc/self/exe", args, env));
    CHILD("no environment", execve(self, args, none));
    CHILD("null environment", syscall(SYS_execve, self, args, NULL));
    CHILD("fexecve", fexecve(fd, args, env));
    CHILD("execveat", syscall(SYS_execveat, fd, "", args, env, AT_EMPTY_PATH));
    CHILD("relative", chdir(dir); execve("link", args, env));
    CHILD("directory", syscall(SYS_execveat, open(dir, O_PATH), "link", args, env, 0));
    CHILD("no follow", syscall(SYS_execveat, open(dir, O_PATH), "link", args, env, AT_SYMLINK_NOFOLLOW));
    CHILD("bad flags", syscall(SYS_execveat, AT_FDCWD, self, args, env, 1));
    CHILD("host program", execl("/bin/sh", "sh", "-c", "exit 77", NULL));
    CHILD("back again", execl("/bin/sh", "sh", "-c", "exit 77", NULL));
    close(fd);
}

static void scripts(void)
{
    char *one = script("one", "#!%s child\n", self), *arg = script("arg", "#! %s  child a b \n", self);
    char *nested = script("nested", "#!%s -x", one), *args[] = {"zero", "last", NULL};
    char *missing = script("missing", "#!%s/nothing\n", dir), *loop, *empty = put("empty", "#!\n", 0755);
    char *shell = put("shell", "#!/bin/sh\nexit 77\n", 0755), path[4096];

    CHILD("script", execv(one, args));
    CHILD("with argument", execv(arg, args));
    CHILD("nested", execv(nested, args));
    CHILD("shell", execv(shell, args));
    CHILD("missing interpreter", execv(missing, args));
    CHILD("empty line", execv(empty, args));
    CHILD("relative script", chdir(dir); execv("one", args));
    CHILD("by descriptor", syscall(SYS_execveat, open(one, O_PATH), "", args, environ, AT_EMPTY_PATH));
    snprintf(path, sizeof(path), "%s/loop", dir);
    loop = script("loop", "#!%s\n", path);
    CHILD("loop", execv(loop, args));
}

static void errors(void)
{
    static char big[200000];
    char *args[] = {"zero", "child", NULL}, *long_args[] = {"zero", "child", big, NULL};
    char **many = malloc(9000000 * sizeof(char *));
    char elf[64] = "\177ELF", *volatile nowhere = (char *)8;

    memset(big, 'x', sizeof(big) - 1);
    for (int i = 0; i < 9000000 - 1; i++)
        many[i] = "12345678";
    many[9000000 - 1] = NULL;
    CHILD("nothing", execv("/nonexistent/x", args));
    CHILD("empty path", execv("", args));
    CHILD("directory", execv("/tmp", args));
    CHILD("not a directory", execv("/etc/passwd/x", args));
    CHILD("not executable", execv(put("plain", "#!/bin/sh\n", 0644), args));
    CHILD("no format", execv(put("text", "hello\n", 0755), args));
    CHILD("empty file", execv(put("nil", "", 0755), args));
    CHILD("truncated", execv(put("elf", elf, 0755), args));
    CHILD("long argument", execv(self, long_args));
    CHILD("many arguments", execv(self, many));
    CHILD("bad path", execv(nowhere, args));
    CHILD("bad argv", execv(self, (char **)nowhere));
    CHILD("bad string", execv(self, (char *[]){"zero", nowhere, NULL}));
    CHILD("bad environment", execve(self, args, (char **)nowhere));
    free(many);
}

static void *exec_thread(void *arg)
{
    char pid[32];

    (void)arg;
    snprintf(pid, sizeof(pid), "%d", getpid());
    execl(self, "thread", "child", "state", pid, NULL);
    return NULL;
}

static void *wait_thread(void *arg)
{
    pause();
    return arg;
}

static void handler(int sig) { (void)sig; }

static void state(void)
{
    sigset_t set;

    CHILD("state", {
        sigemptyset(&set);
        sigaddset(&set, SIGUSR1);
        sigaddset(&set, SIGSEGV);
        sigaddset(&set, SIGRTMIN + 3);
        sigprocmask(SIG_SETMASK, &set, NULL);
        signal(SIGINT, SIG_IGN);
        signal(SIGSEGV, SIG_IGN);
        signal(SIGHUP, handler);
        raise(SIGUSR1);
        dup2(1, 40);
        dup3(1, 41, O_CLOEXEC);
        alarm(0);
        char pid[32];
        snprintf(pid, sizeof(pid), "%d", getpid());
        execl(self, "zero", "child", "state", pid, NULL);
    });
    CHILD("from a thread", {
        pthread_t th[3];
        for (int i = 0; i < 3; i++)
            pthread_create(&th[i], NULL, i < 2 ? wait_thread : exec_thread, NULL);
        pause();
    });
}

static void memory_file(void)
{
    static char buffer[1 << 16];
    char *args[] = {"zero", "child", "memory", NULL};
    int in = open(self, O_RDONLY | O_CLOEXEC), out = memfd_create("program", MFD_CLOEXEC);
    ssize_t n;

    while ((n = read(in, buffer, sizeof(buffer))) > 0)
        if (write(out, buffer, (size_t)n) != n)
            exit(1);
    CHILD("memory file", fexecve(out, args, environ));
    close(in);
    close(out);
}

int main(int argc, char **argv)
{
    char link[4096];

    setvbuf(stdout, NULL, _IONBF, 0);
    if (argc > 1 && strcmp(argv[1], "child") == 0)
        child_main(argc, argv);
    if (argc > 1 && strncmp(argv[1], "child ", 6) == 0)
        child_main(argc, argv);
    if (argc > 1 && strcmp(argv[1], "-x") == 0)
        child_main(argc, argv);
    close_range(3, ~0u, 0);
    if (readlink("/proc/self/exe", self, sizeof(self) - 1) < 0 || !mkdtemp(dir))
        return 1;
    snprintf(link, sizeof(link), "%s/link", dir);
    if (symlink(self, link) < 0)
        return 1;
    programs();
    scripts();
    errors();
    state();
    memory_file();
    snprintf(link, sizeof(link), "rm -rf %s", dir);
    return system(link);
}
