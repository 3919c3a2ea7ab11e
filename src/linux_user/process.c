/*
 * A guest process from the command line's options to its first instruction.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/auxv.h>
#include <unistd.h>

#include "guest/riscv/riscv.h"
#include "linux_user/gdb.h"
#include "linux_user/load.h"
#include "linux_user/mm.h"
#include "linux_user/sys.h"

/* Where this executable is; NULL if that can't be known. */
static char *own_path(const struct lu_process *p)
{
    char *path = g_file_read_link("/proc/self/exe", NULL);
    const char *name = (const char *)getauxval(AT_EXECFN);
    g_autofree char *real = NULL;
    int fd;

    if (path || !name) {
        return path;
    }
    /* No /proc: as this process was started. If binfmt_misc did that, it is the guest's name. */
    real = g_canonicalize_filename(name, NULL);
    fd = open(real, O_RDONLY | O_CLOEXEC);
    if (fd >= 0) {
        if (lu_file_kind(p, fd) == LU_FILE_HOST) {
            path = g_steal_pointer(&real);
        }
        close(fd);
    }
    return path;
}

static struct lu_process *process_new(const struct lu_options *options, const struct lu_abi *abi,
                                      const char *program, char *const *argv, char *const *envp)
{
    struct lu_process *p = g_new0(struct lu_process, 1);

    p->options = options;
    p->abi = abi;
    p->exec_fd = -1;
    p->nandu_fd = -1;
    p->exec_name = g_strdup(program);
    p->guest_argv = g_strdupv((char **)argv);
    p->guest_env = g_strdupv((char **)envp);
    p->nandu_path = own_path(p);
    pthread_mutex_init(&p->lock, NULL);
    pthread_rwlock_init(&p->fork_lock, NULL);
    return p;
}

/* The translator; with a smaller code cache where address space is short (ulimit -v), unless a size
 * was asked for. */
static struct dbt *make_dbt(struct lu_process *p, GError **error)
{
    static const size_t smaller[] = {(size_t)32 << 20, (size_t)8 << 20};
    struct dbt_config config = p->options->dbt;
    struct dbt *dbt;

    config.arch = p->abi->arch;
    config.guest_base = p->guest_base;
    config.fetch = lu_mm_fetch;
    config.opaque = p;
    dbt = dbt_new(&config, error);
    for (unsigned i = 0; !dbt && p->options->dbt.cache_size == 0 && i < G_N_ELEMENTS(smaller);
         i++) {
        g_clear_error(error);
        config.cache_size = smaller[i];
        dbt = dbt_new(&config, error);
    }
    return dbt;
}

static void protect_perf_files(struct lu_process *p)
{
    int fds[2];

    dbt_perf_fds(p->dbt, fds);
    for (unsigned i = 0; i < G_N_ELEMENTS(fds); i++) {
        if (fds[i] >= 0) {
            lu_fd_protect_in_place(p, fds[i]);
        }
    }
}

static bool make_machine(struct lu_process *p, GError **error)
{
    p->model = riscv_model_parse(p->options->cpu, error);
    if (!p->model) {
        return false;
    }
    p->mm = lu_mm_new(p->options, p->abi, &p->guest_base, error);
    if (!p->mm) {
        return false;
    }
    p->dbt = make_dbt(p, error);
    if (!p->dbt) {
        return false;
    }
    lu_mm_set_dbt(p->mm, p->dbt);
    protect_perf_files(p);
    return true;
}

static bool open_program(const char *program, int *fd, GError **error)
{
    if (*fd < 0) {
        *fd = open(program, O_RDONLY | O_CLOEXEC);
    }
    if (*fd < 0) {
        g_set_error(error, LU_LOAD_ERROR, LU_LOAD_CANT_EXECUTE, "Error while loading %s: %s",
                    program, g_strerror(errno));
        return false;
    }
    return true;
}

static bool load(struct lu_process *p, int fd, const char *program, struct lu_image *image,
                 GError **error)
{
    if (!open_program(program, &fd, error) || !lu_load_program(p, fd, program, image, error) ||
        !lu_map_vdso(p, error) || !lu_setup_stack(p, image, error)) {
        return false;
    }
    p->code_start = image->code_start;
    p->code_end = image->code_end;
    p->data_start = image->data_start;
    p->data_end = image->data_end;
    lu_vdso_add_intrinsics(p);
    return true;
}

static void log_layout(struct lu_process *p, const struct lu_image *image)
{
    g_autofree char *maps = lu_mm_maps(p);
    FILE *log = p->options->log_file ? p->options->log_file : stderr;

    fprintf(log,
            "guest_base  0x%" G_GINT64_MODIFIER "x\n%sstart_brk   0x%016" G_GINT64_MODIFIER
            "x\nstart_stack 0x%016" G_GINT64_MODIFIER "x\nentry       0x%016" G_GINT64_MODIFIER
            "x\n",
            p->guest_base, maps, image->brk, p->start_stack, image->entry);
    fflush(log);
}

int lu_main(const struct lu_options *options, const struct lu_abi *abi, int exec_fd,
            const char *program, char *const *argv, char *const *envp, GError **error)
{
    struct lu_process *p = process_new(options, abi, program, argv, envp);
    GError *failure = NULL;
    struct lu_image image;

    /* What has been made stays until the process ends. */
    if (!lu_seccomp_take(p, &failure) || !make_machine(p, &failure) ||
        !load(p, exec_fd, program, &image, &failure)) {
        int status = failure->domain == LU_LOAD_ERROR ? failure->code : EXIT_FAILURE;

        g_propagate_error(error, failure);
        return status;
    }
    if (options->log_page) {
        log_layout(p, &image);
    }
    if (options->log_file && options->log_file != stderr) {
        lu_fd_protect_in_place(p, fileno(options->log_file));
    }
    if (options->gdb) {
        p->gdb = lu_gdb_open(p, options->gdb, error);
        if (!p->gdb) {
            return EXIT_FAILURE;
        }
    }
    return lu_run(p, &image);
}
