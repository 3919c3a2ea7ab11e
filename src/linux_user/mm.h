/*
 * The guest's address space: what program loading and /proc need beyond linux_user.h.
 */
#ifndef NANDU_LINUX_USER_MM_H
#define NANDU_LINUX_USER_MM_H

#include "linux_user/linux_user.h"

/* Where position-independent programs go if the place is free: a guest address. */
uint64_t lu_mm_pie_base(const struct lu_mm *mm);
/* End of the guest's addresses. */
uint64_t lu_mm_task_size(const struct lu_mm *mm);
/* Map the main thread's stack of [size] bytes with the protection [prot]: its start, or -errno. */
int64_t lu_mm_map_stack(struct lu_process *p, uint64_t size, int prot);
/* Where the heap starts and ends now. */
void lu_mm_get_brk(struct lu_mm *mm, uint64_t *start, uint64_t *end);
/* Bytes mapped for the guest. */
uint64_t lu_mm_size(struct lu_mm *mm);
/* Let the translator watch the stores by which restartable sequences begin as soon as there is code
 * with [word], the signature of a sequence (mm_watch.c); at once if that is 0. */
void lu_mm_watch_word(struct lu_mm *mm, uint32_t word);
/* The guest has written code there. */
void lu_mm_code_written(struct lu_mm *mm, uint64_t addr, uint64_t size);
/* The guest's /proc/self/smaps. g_malloc'ed. */
char *lu_mm_smaps(struct lu_process *p);

#endif
