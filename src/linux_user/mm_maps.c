/*
 * The guest's /proc/self/maps and smaps: the host's, reduced to what is the guest's, with the
 * guest's addresses and protection. Only the host's kernel knows the files that are mapped.
 */
#include <stdio.h>
#include <string.h>

#include "linux_user/mm_priv.h"

/* One line of the host's maps. */
struct host_line {
    uint64_t start, end; /* guest addresses */
    char flag;           /* 'p' or 's' */
    unsigned long long offset;
    char device[24];
    unsigned long long inode;
    const char *name; /* not terminated */
    size_t name_length;
};

/* What a mapping without a file is called; NULL: nothing. */
static const char *special_name(const struct lu_process *p, const struct mm_range *r)
{
    const struct lu_mm *mm = p->mm;

    if (r->flags & MM_STACK) {
        return "[stack]";
    }
    if (p->vdso_base && r->start == p->vdso_base) {
        return "[vdso]";
    }
    if (r->start < mm_page_up(mm->brk) && r->end > mm->brk_start) {
        return "[heap]";
    }
    return NULL;
}

/* False if [line] isn't the head of a mapping at or above the guest's base. */
static bool parse_line(const struct lu_mm *mm, const char *line, struct host_line *h)
{
    unsigned long long start, end;
    char perms[8];
    int used = 0;
    const char *eol = strchr(line, '\n');

    if (sscanf(line, "%llx-%llx %7s %llx %23s %llu%n", &start, &end, perms, &h->offset, h->device,
               &h->inode, &used) != 6 ||
        end <= mm->base || start < mm->base) {
        return false;
    }
    h->start = start - mm->base;
    h->end = end - mm->base;
    h->flag = strlen(perms) == 4 ? perms[3] : 'p';
    h->name = line + used;
    while (*h->name == ' ') {
        h->name++;
    }
    h->name_length = eol ? (size_t)(eol - h->name) : strlen(h->name);
    return true;
}

static void print_range(const struct lu_process *p, GString *text, const struct mm_range *r,
                        const struct host_line *h)
{
    struct mm_range part = *r;
    const char *name;
    size_t head = text->len;

    part.start = MAX(part.start, h->start);
    part.end = MIN(part.end, h->end);
    g_string_append_printf(text, "%08llx-%08llx %c%c%c%c %08llx %s %llu",
                           (unsigned long long)part.start, (unsigned long long)part.end,
                           r->prot & PROT_READ ? 'r' : '-', r->prot & PROT_WRITE ? 'w' : '-',
                           r->prot & PROT_EXEC ? 'x' : '-', h->flag,
                           h->inode ? h->offset + (part.start - h->start) : 0, h->device, h->inode);
    name = h->inode ? NULL : special_name(p, &part);
    if (name || (h->inode && h->name_length)) {
        /* Names are in column 74, as the kernel has them. */
        do {
            g_string_append_c(text, ' ');
        } while (text->len - head < 73);
        if (name) {
            g_string_append(text, name);
        } else {
            g_string_append_len(text, h->name, (gssize)h->name_length);
        }
    }
    g_string_append_c(text, '\n');
}

/* Without the host's /proc: what the record knows. */
static void print_record(struct lu_process *p, GString *text)
{
    const struct mm_ranges *ranges = &p->mm->ranges;

    for (uint32_t i = 0; i < ranges->n; i++) {
        const struct mm_range *r = &ranges->r[i];
        struct host_line h = {.start = r->start,
                              .end = r->end,
                              .device = "00:00",
                              .flag = r->flags & MM_SHARED ? 's' : 'p',
                              .name = ""};

        print_range(p, text, r, &h);
    }
}

/* Each head line in [host] that is the guest's, with the lines of details that follow it. */
static char *filter(struct lu_process *p, const char *host)
{
    const struct mm_ranges *ranges = &p->mm->ranges;
    GString *text = g_string_new(NULL);

    if (!host) {
        print_record(p, text);
        return g_string_free(text, FALSE);
    }
    for (const char *line = host, *next; *line; line = next) {
        const char *details;
        struct host_line h;

        next = strchr(line, '\n');
        next = next ? next + 1 : line + strlen(line);
        if (!parse_line(p->mm, line, &h)) {
            continue;
        }
        /* Details start with a capital letter: "Rss:". */
        details = next;
        while (*next >= 'A' && *next <= 'Z') {
            next = strchr(next, '\n');
            next = next ? next + 1 : details + strlen(details);
        }
        for (uint32_t i = mm_ranges_index(ranges, h.start);
             i < ranges->n && ranges->r[i].start < h.end; i++) {
            print_range(p, text, &ranges->r[i], &h);
            g_string_append_len(text, details, next - details);
        }
    }
    return g_string_free(text, FALSE);
}

static char *filtered_file(struct lu_process *p, const char *path)
{
    g_autofree char *host = NULL;
    char *text;

    mm_lock(p->mm);
    if (!g_file_get_contents(path, &host, NULL, NULL)) {
        host = NULL;
    }
    text = filter(p, host);
    mm_unlock(p->mm);
    return text;
}

char *lu_mm_maps(struct lu_process *p)
{
    return filtered_file(p, "/proc/self/maps");
}

char *lu_mm_smaps(struct lu_process *p)
{
    return filtered_file(p, "/proc/self/smaps");
}
