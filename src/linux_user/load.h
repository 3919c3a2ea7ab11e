/*
 * Program loading: what elf.c, script.c, stack.c, vdso_calls.c and process.c share.
 */
#ifndef NANDU_LINUX_USER_LOAD_H
#define NANDU_LINUX_USER_LOAD_H

#include "linux_user/linux_user.h"

/* Errors of loading; the code is the exit status, as qemu-riscv64 has it. */
#define LU_LOAD_ERROR (lu_load_error_quark())
GQuark lu_load_error_quark(void);

enum {
    LU_LOAD_CANT_EXECUTE = 1, /* not there, not executable, not a program */
    LU_LOAD_BAD_IMAGE = 255,  /* an ELF file that can't be run */
};

/* Map the ELF file [fd] and its interpreter. [fd] stays the caller's. */
bool lu_load_elf(struct lu_process *p, int fd, const char *path, struct lu_image *image,
                 GError **error);

/* Read up to [size] bytes at [offset]; fewer only at the end of the file. -1 and errno. */
ssize_t lu_read_at(int fd, void *buf, size_t size, off_t offset);

/*
 * A "#!" line in the first [size] bytes of a file: *interpreter and *argument (NULL if there is
 * none) are g_malloc'ed. False if there is no interpreter in it (ENOEXEC).
 */
bool lu_parse_script(const char *head, size_t size, char **interpreter, char **argument);

/* Map the vDSO, set p->vdso_base and p->vdso_sigreturn. */
bool lu_map_vdso(struct lu_process *p, GError **error);
/* Run functions of the vDSO in Nandu: after p->dbt is there. */
void lu_vdso_add_intrinsics(struct lu_process *p);

#endif
