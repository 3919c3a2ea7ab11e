/*
 * What to run when a program is started by name: an ELF file, or a script with its interpreter, as
 * execve(2) and Linux's binfmt_script have it; and where the guest's files are (-L).
 */
#include <elf.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/openat2.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "linux_user/load.h"

enum { HEAD_SIZE = 256 /* BINPRM_BUF_SIZE */, MAX_DEPTH = 4 };

/* ---- -L ---- */

/* The real path of [path] taken as if [prefix] were the root, which matters where it goes through
 * absolute symbolic links; NULL if there is no such file. */
static char *resolve_in_root(const char *prefix, const char *path)
{
    struct open_how how = {.flags = O_PATH | O_CLOEXEC, .resolve = RESOLVE_IN_ROOT};
    g_autofree char *link = NULL;
    char *real = NULL;
    int root, fd;

    root = open(prefix, O_PATH | O_DIRECTORY | O_CLOEXEC);
    if (root < 0) {
        return NULL;
    }
    fd = (int)syscall(SYS_openat2, root, path, &how, sizeof(how));
    if (fd >= 0) {
        link = g_strdup_printf("/proc/self/fd/%d", fd);
        real = g_file_read_link(link, NULL);
        close(fd);
    }
    close(root);
    return real;
}

/* Files that are the host's whatever -L says. */
static bool is_host_only(const char *path)
{
    static const char *const dirs[] = {"/proc", "/sys", "/dev"};

    for (unsigned i = 0; i < G_N_ELEMENTS(dirs); i++) {
        size_t length = strlen(dirs[i]);

        if (strncmp(path, dirs[i], length) == 0 && (path[length] == '/' || path[length] == '\0')) {
            return true;
        }
    }
    return false;
}

char *lu_prefixed_path(const struct lu_process *p, const char *path)
{
    const char *prefix = p->options->prefix;
    g_autofree char *inside = NULL;
    char *real;

    if (!prefix || path[0] != '/' || is_host_only(path)) {
        return g_strdup(path);
    }
    inside = g_strconcat(prefix, path, NULL);
    if (faccessat(AT_FDCWD, inside, F_OK, 0) == 0 || (errno != ENOENT && errno != ENOTDIR)) {
        return g_steal_pointer(&inside);
    }
    /* A symbolic link there that leads nowhere from here? */
    real = resolve_in_root(prefix, path);
    return real ? real : g_strdup(path);
}

/* ---- Kinds of files ---- */

enum lu_file_kind lu_file_kind(const struct lu_process *p, int fd)
{
    union {
        char text[2];
        Elf64_Ehdr elf;
    } head = {0};
    ssize_t n = lu_read_at(fd, &head, sizeof(head), 0);

    if (n >= 2 && memcmp(head.text, "#!", 2) == 0) {
        return LU_FILE_SCRIPT;
    }
    if (n < (ssize_t)sizeof(head.elf) || memcmp(head.elf.e_ident, ELFMAG, SELFMAG) != 0) {
        return LU_FILE_OTHER;
    }
    if (head.elf.e_ident[EI_DATA] != ELFDATA2LSB) {
        return LU_FILE_OTHER;
    }
    if (head.elf.e_machine == p->abi->elf_machine && head.elf.e_ident[EI_CLASS] == ELFCLASS64) {
        return LU_FILE_GUEST;
    }
#if defined(__x86_64__)
    if (head.elf.e_machine == EM_X86_64 || head.elf.e_machine == EM_386) {
        return LU_FILE_HOST;
    }
#endif
    return LU_FILE_OTHER;
}

bool lu_parse_script(const char *head, size_t size, char **interpreter, char **argument)
{
    const char *end, *name, *name_end, *arg;

    *interpreter = *argument = NULL;
    if (size < 2 || head[0] != '#' || head[1] != '!') {
        return false;
    }
    end = memchr(head, '\n', size);
    name = head + 2;
    if (!end) {
        end = head + size;
    }
    while (end > name && (end[-1] == ' ' || end[-1] == '\t')) {
        end--;
    }
    while (name < end && (*name == ' ' || *name == '\t')) {
        name++;
    }
    name_end = name;
    while (name_end < end && *name_end != ' ' && *name_end != '\t' && *name_end != '\0') {
        name_end++;
    }
    /* The kernel refuses a name that may have been cut off. */
    if (name == name_end || (name_end == head + size && size >= HEAD_SIZE)) {
        return false;
    }
    arg = name_end;
    while (arg < end && (*arg == ' ' || *arg == '\t')) {
        arg++;
    }
    *interpreter = g_strndup(name, (gsize)(name_end - name));
    *argument = arg < end && *arg ? g_strndup(arg, (gsize)(end - arg)) : NULL;
    return true;
}

/* ---- Loading ---- */

static bool cant_execute(GError **error, const char *path, int code, const char *more)
{
    g_set_error(error, LU_LOAD_ERROR, LU_LOAD_CANT_EXECUTE, "Error while loading %s: %s%s", path,
                g_strerror(code), more);
    return false;
}

static bool check_file(int fd, const char *path, GError **error)
{
    struct stat st;

    if (fstat(fd, &st) < 0) {
        return cant_execute(error, path, errno, "");
    }
    if (S_ISDIR(st.st_mode)) {
        return cant_execute(error, path, EISDIR, "");
    }
    if (!S_ISREG(st.st_mode)) {
        return cant_execute(error, path, EACCES, " (it is not a regular file)");
    }
    if (!(st.st_mode & 0111)) {
        return cant_execute(error, path, EACCES, " (it is not executable: chmod +x)");
    }
    return true;
}

/* argv of a script becomes: interpreter, its argument, the script, the rest. */
static void script_argv(struct lu_process *p, const char *interpreter, const char *argument,
                        const char *path)
{
    GPtrArray *argv = g_ptr_array_new();

    g_ptr_array_add(argv, g_strdup(interpreter));
    if (argument) {
        g_ptr_array_add(argv, g_strdup(argument));
    }
    g_ptr_array_add(argv, g_strdup(path));
    for (char **arg = p->guest_argv + (p->guest_argv[0] ? 1 : 0); *arg; arg++) {
        g_ptr_array_add(argv, g_strdup(*arg));
    }
    g_ptr_array_add(argv, NULL);
    g_strfreev(p->guest_argv);
    p->guest_argv = (char **)g_ptr_array_free(argv, FALSE);
}

static void set_exec_path(struct lu_process *p, int fd, const char *path)
{
    g_autofree char *link = g_strdup_printf("/proc/self/fd/%d", fd);

    g_free(p->exec_path);
    p->exec_path = g_file_read_link(link, NULL);
    if (!p->exec_path) {
        char *real = realpath(path, NULL);

        p->exec_path = g_strdup(real ? real : path);
        free(real);
    }
}

bool lu_load_program(struct lu_process *p, int fd, const char *path, struct lu_image *image,
                     GError **error)
{
    g_autofree char *name = g_strdup(path);
    bool ok = false;

    for (unsigned depth = 0;; depth++) {
        g_autofree char *interpreter = NULL, *argument = NULL, *file = NULL;
        char head[HEAD_SIZE];
        ssize_t n;
        int next;

        if (!check_file(fd, name, error)) {
            break;
        }
        n = lu_read_at(fd, head, sizeof(head), 0);
        if (n < 2 || memcmp(head, "#!", 2) != 0) {
            set_exec_path(p, fd, name);
            ok = lu_load_elf(p, fd, name, image, error);
            break;
        }
        if (!lu_parse_script(head, (size_t)n, &interpreter, &argument)) {
            cant_execute(error, name, ENOEXEC, " (there is no interpreter after \"#!\")");
            break;
        }
        if (depth == MAX_DEPTH) {
            cant_execute(error, name, ELOOP, " (too many scripts that name a script)");
            break;
        }
        script_argv(p, interpreter, argument, name);
        file = lu_prefixed_path(p, interpreter);
        next = open(file, O_RDONLY | O_CLOEXEC);
        if (next < 0) {
            g_set_error(error, LU_LOAD_ERROR, LU_LOAD_CANT_EXECUTE,
                        "Error while loading %s: its "
                        "interpreter '%s': %s",
                        name, file, g_strerror(errno));
            break;
        }
        close(fd);
        fd = next;
        g_free(name);
        name = g_steal_pointer(&file);
    }
    if (fd >= 0) {
        close(fd);
    }
    return ok;
}
