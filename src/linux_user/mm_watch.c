/*
 * Looking for restartable sequences in the guest's code. Each has a handler, and in front of the
 * handler the signature that its thread registered: four bytes that programs without sequences
 * don't have in memory that they may execute. Once they are found the translator watches the stores
 * by which sequences begin.
 *
 * Memory is looked through when it becomes executable, and again where the program says that it has
 * written code (riscv_flush_icache). A program that says it by fence.i says nothing of the place:
 * then stores are watched from there on. A sequence that escapes all of this isn't a lost restart
 * but a SIGSEGV at the thread's next preemption: the kernel was given another signature, and takes
 * none of the guest's descriptors.
 */
#include <fcntl.h>
#include <string.h>
#include <unistd.h>

#include "linux_user/mm_priv.h"
#include "linux_user/usercopy.h"

#ifndef MADV_POPULATE_READ
#define MADV_POPULATE_READ 22
#endif

/* As many words as the compiler can compare at once. */
typedef uint32_t words __attribute__((vector_size(16)));

enum {
    KEEP = 2,                /* bytes of the page before, in which a word may begin */
    CHUNK = 1 << 20,
    PADDING = sizeof(words), /* in front of the page, to keep it aligned */
};

/* Instructions are at even addresses, and so are signatures. */
static bool page_has_word(const uint8_t *page, uint32_t word)
{
    const uint8_t *bytes = page - KEEP;
    words found = {0};

    for (unsigned i = 0; i < LU_PAGE_SIZE; i += sizeof(words)) {
        words even, odd;

        memcpy(&even, bytes + i, sizeof(even));
        memcpy(&odd, bytes + i + 2, sizeof(odd));
        found |= (words)(even == word) | (words)(odd == word);
    }
    for (unsigned i = 0; i < sizeof(words) / sizeof(word); i++) {
        if (found[i]) {
            return true;
        }
    }
    return false;
}

static bool search(struct lu_mm *mm, uint64_t addr, uint64_t end, uint32_t word)
{
    uint8_t buf[PADDING + LU_PAGE_SIZE] __attribute__((aligned(sizeof(words)))) = {0};
    uint8_t *page = buf + PADDING;

    if (addr >= KEEP && lu_usercopy(page - KEEP, mm_host(mm, addr - KEEP), KEEP) < 0) {
        memset(page - KEEP, 0, KEEP);
    }
    for (; addr < end; addr += LU_PAGE_SIZE) {
        /* Beyond the end of a file there is nothing. */
        if (lu_usercopy(page, mm_host(mm, addr), LU_PAGE_SIZE) < 0) {
            memset(page, 0, LU_PAGE_SIZE);
        }
        if (page_has_word(page, word)) {
            return true;
        }
        memcpy(page - KEEP, page + LU_PAGE_SIZE - KEEP, KEEP);
    }
    return false;
}

/* True if all that is at [addr, end) is as in the file that is mapped there, or nothing yet. */
static bool is_unchanged(struct lu_mm *mm, int pagemap, uint64_t addr, uint64_t end)
{
    /* Documentation/admin-guide/mm/pagemap.rst */
    const uint64_t present = (uint64_t)1 << 63, swapped = (uint64_t)1 << 62,
                   of_file = (uint64_t)1 << 61;
    uint64_t pages[CHUNK / LU_PAGE_SIZE];
    size_t size = (end - addr) / LU_PAGE_SIZE * sizeof(pages[0]);
    off_t at = (off_t)((uintptr_t)mm_host(mm, addr) / LU_PAGE_SIZE * sizeof(pages[0]));
    bool changed = false;

    if (pread(pagemap, pages, size, at) != (ssize_t)size) {
        return false;
    }
    for (size_t i = 0; i < size / sizeof(pages[0]); i++) {
        changed |= pages[i] & swapped || (pages[i] & (present | of_file)) == present;
    }
    return !changed;
}

/* A large program's code isn't all needed in memory because it was looked through. */
static bool search_range(struct lu_mm *mm, const struct mm_range *r, uint64_t addr, uint64_t end)
{
    bool read_only = !(r->prot & PROT_WRITE) && !(r->flags & MM_SHARED);
    int pagemap = read_only ? open("/proc/self/pagemap", O_RDONLY | O_CLOEXEC) : -1;
    bool found = false;

    while (addr < end && !found) {
        uint64_t stop = MIN(end, addr + CHUNK);

        madvise(mm_host(mm, addr), stop - addr, MADV_POPULATE_READ); /* faster than one by one */
        found = search(mm, addr, stop, mm->watched_word);
        if (pagemap >= 0 && is_unchanged(mm, pagemap, addr, stop)) {
            madvise(mm_host(mm, addr), stop - addr, MADV_DONTNEED);
        }
        addr = stop;
    }
    if (pagemap >= 0) {
        close(pagemap);
    }
    return found;
}

void mm_code_added(struct lu_mm *mm, uint64_t addr, uint64_t size)
{
    uint64_t end = mm_page_up(addr + size);

    /* Together with the page behind it, in which a word may end that begins in this range. */
    addr &= ~(uint64_t)(LU_PAGE_SIZE - 1);
    end += LU_PAGE_SIZE;
    for (uint32_t i = mm_ranges_index(&mm->ranges, addr);
         mm->watched_word && i < mm->ranges.n && mm->ranges.r[i].start < end; i++) {
        const struct mm_range *r = &mm->ranges.r[i];

        if (r->prot & PROT_EXEC &&
            search_range(mm, r, MAX(r->start, addr), MIN(r->end, end))) {
            mm->watched_word = 0;
            mm->word_found = true;
            dbt_watch_words(mm->dbt);
        }
    }
}

void lu_mm_watch_word(struct lu_mm *mm, uint32_t word)
{
    mm_lock(mm);
    if (mm->word_found || mm->watched_word == word) {
        /* It is known already. */
    } else if (word == 0 || mm->watched_word) {
        /* What is in each page of zeros, or a second one: no need to look. */
        mm->watched_word = 0;
        mm->word_found = true;
        dbt_watch_words(mm->dbt);
    } else {
        mm->watched_word = word;
        mm_code_added(mm, 0, mm->task_size);
    }
    mm_unlock(mm);
}

void lu_mm_code_written(struct lu_mm *mm, uint64_t addr, uint64_t size)
{
    if (__atomic_load_n(&mm->watched_word, __ATOMIC_RELAXED)) {
        mm_lock(mm);
        mm_code_added(mm, MIN(addr, mm->task_size), MIN(size, mm->task_size));
        mm_unlock(mm);
    }
}
