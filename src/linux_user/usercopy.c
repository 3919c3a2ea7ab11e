/*
 * The fault side of lu_usercopy, and the copies between guest and Nandu that are built on it.
 */
#include "linux_user/usercopy.h"

#include <errno.h>
#include <string.h>
#include <ucontext.h>

#include "linux_user/linux_user.h"

extern const char lu_usercopy_start[], lu_usercopy_end[], lu_usercopy_fixup[];

bool lu_usercopy_fault(void *ucontext)
{
    ucontext_t *uc = ucontext;
    uintptr_t pc = (uintptr_t)uc->uc_mcontext.gregs[REG_RIP];

    if (pc < (uintptr_t)lu_usercopy_start || pc >= (uintptr_t)lu_usercopy_end) {
        return false;
    }
    uc->uc_mcontext.gregs[REG_RIP] = (greg_t)(uintptr_t)lu_usercopy_fixup;
    return true;
}

int lu_copy_from_guest(const struct lu_process *p, void *to, uint64_t from, size_t size)
{
    if (size == 0) {
        return 0;
    }
    if (!lu_access_ok(p, from, size, LU_READ)) {
        return -EFAULT;
    }
    return lu_usercopy(to, lu_g2h(p, from), size);
}

int lu_copy_to_guest(const struct lu_process *p, uint64_t to, const void *from, size_t size)
{
    if (size == 0) {
        return 0;
    }
    if (!lu_access_ok(p, to, size, LU_WRITE)) {
        return -EFAULT;
    }
    return lu_usercopy(lu_g2h(p, to), from, size);
}

int lu_string_from_guest(const struct lu_process *p, char **string, uint64_t from, size_t max)
{
    g_autoptr(GString) text = g_string_new(NULL);
    char chunk[256];

    *string = NULL;
    while (text->len < max) {
        size_t in_page = LU_PAGE_SIZE - from % LU_PAGE_SIZE;
        size_t size = MIN(MIN(sizeof(chunk), in_page), max - text->len);
        const char *end;

        if (lu_copy_from_guest(p, chunk, from, size) < 0) {
            return -EFAULT;
        }
        end = memchr(chunk, '\0', size);
        if (end) {
            g_string_append_len(text, chunk, end - chunk);
            *string = g_string_free(g_steal_pointer(&text), FALSE);
            return 0;
        }
        g_string_append_len(text, chunk, (gssize)size);
        from += size;
    }
    return -ENAMETOOLONG;
}
