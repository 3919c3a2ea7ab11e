/*
 * Loading of ELF programs: System V gABI, chapters 4 and 5; the RISC-V ELF psABI; and what Linux
 * does where they leave a choice (fs/binfmt_elf.c).
 *
 * Nothing in a file is believed: sizes and addresses are checked before they are used, and a file
 * that can't run is refused with one line that says why and, if there is one, a way out.
 */
#include <elf.h>
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "linux_user/load.h"
#include "linux_user/mm.h"

#ifndef MAP_FIXED_NOREPLACE
#define MAP_FIXED_NOREPLACE 0x100000
#endif
#ifndef EM_LOONGARCH
#define EM_LOONGARCH 258
#endif

enum { MAX_PHDRS_SIZE = 65536, RISCV_EF_RVE = 8 };

/* An ELF file whose headers have been read and checked. */
struct elf_file {
    int fd;
    const char *path;
    uint64_t size; /* of the file */
    Elf64_Ehdr header;
    Elf64_Phdr *phdrs;  /* header.e_phnum of them; g_malloc'ed */
    uint64_t low, high; /* page-aligned span of its segments, without the bias */
    uint64_t align;     /* the largest alignment of a segment */
    uint64_t bias;      /* address in memory = address in the file + bias */
};

G_DEFINE_QUARK(nandu - load - error, lu_load_error)

static uint64_t page_down(uint64_t addr)
{
    return addr & ~(uint64_t)(LU_PAGE_SIZE - 1);
}

static uint64_t page_up(uint64_t addr)
{
    return page_down(addr + LU_PAGE_SIZE - 1);
}

G_GNUC_PRINTF(3, 4)
static bool bad_image(GError **error, const char *path, const char *format, ...)
{
    g_autofree char *text = NULL;
    va_list args;

    va_start(args, format);
    text = g_strdup_vprintf(format, args);
    va_end(args);
    g_set_error(error, LU_LOAD_ERROR, LU_LOAD_BAD_IMAGE, "%s: %s", path, text);
    return false;
}

ssize_t lu_read_at(int fd, void *buf, size_t size, off_t offset)
{
    size_t done = 0;

    while (done < size) {
        ssize_t n = pread(fd, (char *)buf + done, size - done, offset + (off_t)done);

        if (n < 0 && errno == EINTR) {
            continue;
        }
        if (n < 0) {
            return -1;
        }
        if (n == 0) {
            break;
        }
        done += (size_t)n;
    }
    return (ssize_t)done;
}

/* ---- Headers ---- */

static const char *machine_name(const Elf64_Ehdr *h)
{
    bool wide = h->e_ident[EI_CLASS] == ELFCLASS64;

    switch (h->e_machine) {
    case EM_386: return "i386";
    case EM_X86_64: return wide ? "x86-64" : "x32";
    case EM_ARM: return "arm";
    case EM_AARCH64: return "aarch64";
    case EM_RISCV: return wide ? "riscv64" : "riscv32";
    case EM_PPC: return "powerpc";
    case EM_PPC64: return "powerpc64";
    case EM_S390: return "s390x";
    case EM_MIPS: return "mips";
    case EM_SPARCV9: return "sparc64";
    case EM_LOONGARCH: return "loongarch64";
    default: return NULL;
    }
}

static bool check_header(const struct lu_process *p, const struct elf_file *f, GError **error)
{
    const Elf64_Ehdr *h = &f->header;
    const char *other;

    if (h->e_ident[EI_CLASS] != ELFCLASS64 || h->e_ident[EI_DATA] != ELFDATA2LSB ||
        h->e_machine != p->abi->elf_machine) {
        other = h->e_ident[EI_DATA] == ELFDATA2LSB ? machine_name(h) : NULL;
        return bad_image(error, f->path,
                         "Invalid ELF image for this architecture (it is for %s, "
                         "this runs programs for %s)",
                         other ? other : "another machine", p->abi->name);
    }
    if (h->e_ident[EI_VERSION] != EV_CURRENT || h->e_version != EV_CURRENT) {
        return bad_image(error, f->path, "corrupt ELF header: version %u", h->e_version);
    }
    if (h->e_type != ET_EXEC && h->e_type != ET_DYN) {
        return bad_image(error, f->path, "Invalid ELF image: it is %s, not a program",
                         h->e_type == ET_REL    ? "an object file that is not linked yet"
                         : h->e_type == ET_CORE ? "a core dump"
                                                : "of an unknown type");
    }
    if (h->e_machine == EM_RISCV && h->e_flags & RISCV_EF_RVE) {
        return bad_image(error, f->path,
                         "it uses the embedded ABI (RV64E), which is not "
                         "supported");
    }
    if (h->e_phentsize != sizeof(Elf64_Phdr) || h->e_phnum == 0 ||
        h->e_phnum > MAX_PHDRS_SIZE / sizeof(Elf64_Phdr)) {
        return bad_image(error, f->path, "corrupt ELF header: %u program headers of %u bytes",
                         h->e_phnum, h->e_phentsize);
    }
    return true;
}

static bool read_headers(const struct lu_process *p, struct elf_file *f, GError **error)
{
    size_t size;
    struct stat st;
    ssize_t n;

    n = lu_read_at(f->fd, &f->header, sizeof(f->header), 0);
    if (n < 0 || fstat(f->fd, &st) < 0) {
        g_set_error(error, LU_LOAD_ERROR, LU_LOAD_CANT_EXECUTE, "Error while loading %s: %s",
                    f->path, g_strerror(errno));
        return false;
    }
    f->size = (uint64_t)st.st_size;
    if (n < SELFMAG || memcmp(f->header.e_ident, ELFMAG, SELFMAG) != 0) {
        g_set_error(error, LU_LOAD_ERROR, LU_LOAD_CANT_EXECUTE,
                    "Error while loading %s: %s (it is "
                    "neither an ELF program nor a script)",
                    f->path, g_strerror(ENOEXEC));
        return false;
    }
    if ((size_t)n < sizeof(f->header)) {
        g_set_error(error, LU_LOAD_ERROR, LU_LOAD_CANT_EXECUTE,
                    "Error while loading %s: %s (the "
                    "file is truncated: it ends in the ELF header)",
                    f->path, g_strerror(ENOEXEC));
        return false;
    }
    if (!check_header(p, f, error)) {
        return false;
    }
    size = f->header.e_phnum * sizeof(Elf64_Phdr);
    f->phdrs = g_malloc(size);
    if (f->header.e_phoff > f->size ||
        lu_read_at(f->fd, f->phdrs, size, (off_t)f->header.e_phoff) != (ssize_t)size) {
        return bad_image(error, f->path,
                         "the file is truncated: it ends before its program "
                         "headers");
    }
    return true;
}

/* Checks each PT_LOAD and finds the span of all. */
static bool check_segments(const struct lu_process *p, struct elf_file *f, GError **error)
{
    uint64_t task_size = lu_mm_task_size(p->mm);

    f->low = UINT64_MAX;
    f->high = 0;
    f->align = LU_PAGE_SIZE;
    for (unsigned i = 0; i < f->header.e_phnum; i++) {
        const Elf64_Phdr *ph = &f->phdrs[i];

        if (ph->p_type != PT_LOAD || ph->p_memsz == 0) {
            continue;
        }
        if (ph->p_filesz > ph->p_memsz || ph->p_memsz > task_size ||
            ph->p_vaddr > task_size - ph->p_memsz) {
            return bad_image(error, f->path,
                             "corrupt program header %u: address 0x%llx, size "
                             "0x%llx, 0x%llx of them in the file",
                             i, (unsigned long long)ph->p_vaddr, (unsigned long long)ph->p_memsz,
                             (unsigned long long)ph->p_filesz);
        }
        if (ph->p_filesz && (ph->p_vaddr - ph->p_offset) % LU_PAGE_SIZE != 0) {
            return bad_image(error, f->path,
                             "program header %u: address 0x%llx and file offset "
                             "0x%llx differ within a page of %d bytes, so it can't be mapped",
                             i, (unsigned long long)ph->p_vaddr, (unsigned long long)ph->p_offset,
                             LU_PAGE_SIZE);
        }
        if (ph->p_offset > f->size || ph->p_filesz > f->size - ph->p_offset) {
            return bad_image(error, f->path,
                             "the file is truncated: it has %llu bytes, program "
                             "header %u needs %llu",
                             (unsigned long long)f->size, i,
                             (unsigned long long)(ph->p_offset + ph->p_filesz));
        }
        if (ph->p_align > f->align && (ph->p_align & (ph->p_align - 1)) == 0 &&
            ph->p_align <= (uint64_t)1 << 30) {
            f->align = ph->p_align;
        }
        f->low = MIN(f->low, page_down(ph->p_vaddr));
        f->high = MAX(f->high, page_up(ph->p_vaddr + ph->p_memsz));
    }
    if (f->low >= f->high) {
        return bad_image(error, f->path, "it has no segment to load");
    }
    return true;
}

static void elf_file_clear(struct elf_file *f)
{
    g_clear_pointer(&f->phdrs, g_free);
}

/* ---- Mapping ---- */

static int segment_prot(const Elf64_Phdr *ph)
{
    return (ph->p_flags & PF_R ? PROT_READ : 0) | (ph->p_flags & PF_W ? PROT_WRITE : 0) |
           (ph->p_flags & PF_X ? PROT_EXEC : 0);
}

/* Take the addresses for all segments, sets f->bias. */
static bool claim_span(struct lu_process *p, struct elf_file *f, uint64_t hint, GError **error)
{
    const int flags = MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE;
    uint64_t span = f->high - f->low, extra = f->align - LU_PAGE_SIZE, start;
    int64_t at;

    if (f->header.e_type == ET_EXEC) {
        at = lu_mmap(p, f->low, span, PROT_NONE, flags | MAP_FIXED_NOREPLACE, -1, 0);
        if (at < 0) {
            return bad_image(error, f->path,
                             "it must be at address 0x%llx, size 0x%llx, and that "
                             "can't be mapped: %s%s",
                             (unsigned long long)f->low, (unsigned long long)span,
                             g_strerror((int)-at),
                             at == -EPERM    ? " (see /proc/sys/vm/mmap_min_addr; -B 0x100000000 "
                                               "avoids it)"
                             : at == -EEXIST ? " (-B 0x100000000 avoids it)"
                                             : "");
        }
        f->bias = 0;
        return true;
    }
    hint = (hint + f->align - 1) & ~(f->align - 1);
    at = lu_mmap(p, hint, span + extra, PROT_NONE, flags, -1, 0);
    if (at < 0) {
        return bad_image(error, f->path, "no place for its 0x%llx bytes: %s",
                         (unsigned long long)span, g_strerror((int)-at));
    }
    start = ((uint64_t)at + f->align - 1) & ~(f->align - 1);
    if (start > (uint64_t)at) {
        lu_munmap(p, (uint64_t)at, start - (uint64_t)at);
    }
    if (start + span < (uint64_t)at + span + extra) {
        lu_munmap(p, start + span, (uint64_t)at + extra - start);
    }
    f->bias = start - f->low;
    return true;
}

/*
 * Pages of the file first; then, if the file's part ends in the middle of a page and zeros follow,
 * anonymous memory into which the last bytes of the file are read. (To clear the rest of a page of
 * the file by hand would fault if the file were cut off just now.)
 */
static bool map_segment(struct lu_process *p, const struct elf_file *f, const Elf64_Phdr *ph,
                        GError **error)
{
    uint64_t addr = ph->p_vaddr + f->bias, start = page_down(addr);
    uint64_t file_end = addr + ph->p_filesz, mem_end = page_up(addr + ph->p_memsz);
    /* As the kernel: what is not writable keeps the file's bytes behind its end. */
    bool zeros = ph->p_memsz > ph->p_filesz && ph->p_flags & PF_W;
    uint64_t anonymous = zeros ? MAX(page_down(file_end), start) : page_up(file_end);
    int prot = segment_prot(ph);
    int64_t ret = 0;

    if (ph->p_filesz == 0) {
        anonymous = start;
    }
    if (anonymous > start) {
        ret = lu_mmap(p, start, anonymous - start, prot, MAP_PRIVATE | MAP_FIXED, f->fd,
                      page_down(ph->p_offset));
    }
    if (ret >= 0 && mem_end > anonymous) {
        ret = lu_mmap(p, anonymous, mem_end - anonymous, prot,
                      MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0);
    }
    if (ret < 0) {
        return bad_image(error, f->path, "can't map 0x%llx bytes at 0x%llx: %s",
                         (unsigned long long)ph->p_memsz, (unsigned long long)addr,
                         g_strerror((int)-ret));
    }
    if (ph->p_filesz && file_end > anonymous) {
        uint64_t from = MAX(anonymous, addr);
        ssize_t size = (ssize_t)(file_end - from);

        if (lu_read_at(f->fd, lu_g2h(p, from), (size_t)size,
                       (off_t)(ph->p_offset + (from - addr))) != size) {
            return bad_image(error, f->path, "the file changed while it was loaded");
        }
    }
    return true;
}

/* Give back pages of the span that no segment has. */
static void unmap_holes(struct lu_process *p, const struct elf_file *f)
{
    uint64_t at = f->low;

    while (at < f->high) {
        uint64_t next = f->high, covered = at;

        for (unsigned i = 0; i < f->header.e_phnum; i++) {
            const Elf64_Phdr *ph = &f->phdrs[i];
            uint64_t start = page_down(ph->p_vaddr), end = page_up(ph->p_vaddr + ph->p_memsz);

            if (ph->p_type != PT_LOAD || ph->p_memsz == 0) {
                continue;
            }
            if (start <= at && end > covered) {
                covered = end;
            } else if (start > at) {
                next = MIN(next, start);
            }
        }
        if (covered > at) {
            at = covered;
        } else {
            lu_munmap(p, at + f->bias, next - at);
            at = next;
        }
    }
}

static bool map_elf(struct lu_process *p, struct elf_file *f, uint64_t hint, GError **error)
{
    if (!check_segments(p, f, error) || !claim_span(p, f, hint, error)) {
        return false;
    }
    for (unsigned i = 0; i < f->header.e_phnum; i++) {
        if (f->phdrs[i].p_type == PT_LOAD && f->phdrs[i].p_memsz > 0 &&
            !map_segment(p, f, &f->phdrs[i], error)) {
            return false;
        }
    }
    unmap_holes(p, f);
    return true;
}

/* ---- The interpreter ---- */

/* *path is the name in PT_INTERP, NULL if there is none. */
static bool interpreter_name(const struct elf_file *f, char **path, GError **error)
{
    *path = NULL;
    for (unsigned i = 0; i < f->header.e_phnum; i++) {
        const Elf64_Phdr *ph = &f->phdrs[i];
        g_autofree char *name = NULL;

        if (ph->p_type != PT_INTERP) {
            continue;
        }
        if (ph->p_filesz < 2 || ph->p_filesz > 4096) {
            return bad_image(error, f->path, "corrupt: the name of its interpreter has %llu bytes",
                             (unsigned long long)ph->p_filesz);
        }
        name = g_malloc(ph->p_filesz);
        if (ph->p_offset > f->size ||
            lu_read_at(f->fd, name, ph->p_filesz, (off_t)ph->p_offset) != (ssize_t)ph->p_filesz) {
            return bad_image(error, f->path,
                             "the file is truncated: the name of its interpreter "
                             "is beyond its end");
        }
        if (name[ph->p_filesz - 1] != '\0') {
            return bad_image(error, f->path, "corrupt: the name of its interpreter has no end");
        }
        *path = g_steal_pointer(&name);
        return true;
    }
    return true;
}

/* Which -L would help? A folder that has [name], from the usual ones. g_malloc'ed or NULL. */
static char *suggest_prefix(const struct lu_process *p, const char *name)
{
    g_autofree char *cross = g_strdup_printf("/usr/%s-linux-gnu", p->abi->name);
    g_autofree char *path = g_strconcat(cross, name, NULL);

    return access(path, R_OK) == 0 ? g_steal_pointer(&cross) : NULL;
}

static bool load_interpreter(struct lu_process *p, const struct elf_file *program, const char *name,
                             struct lu_image *image, GError **error)
{
    g_autofree char *path = lu_prefixed_path(p, name);
    struct elf_file f = {.path = path};
    bool ok;

    f.fd = open(path, O_RDONLY | O_CLOEXEC);
    if (f.fd < 0) {
        int saved = errno;
        g_autofree char *dir = suggest_prefix(p, name);

        g_set_error(error, LU_LOAD_ERROR, LU_LOAD_BAD_IMAGE,
                    "Could not open '%s': %s (the ELF "
                    "interpreter of %s%s%s; -L DIR names the folder that has the %s system: %s%s)",
                    name, g_strerror(saved), program->path,
                    p->options->prefix ? ", looked for also below " : "",
                    p->options->prefix ? p->options->prefix : "", p->abi->name,
                    dir ? "try -L " : "DIR", dir ? dir : name);
        return false;
    }
    ok = read_headers(p, &f, error) && map_elf(p, &f, 0, error);
    if (ok) {
        image->entry = f.header.e_entry + f.bias;
        image->interp_base = f.header.e_type == ET_DYN ? f.low + f.bias : f.low;
    } else if (error && *error) {
        g_prefix_error(error, "the ELF interpreter of %s: ", program->path);
    }
    elf_file_clear(&f);
    close(f.fd);
    return ok;
}

/* ---- The program ---- */

static void describe_image(const struct elf_file *f, struct lu_image *image)
{
    uint64_t phdr = 0;

    *image = (struct lu_image){
        .entry = f->header.e_entry + f->bias,
        .program_entry = f->header.e_entry + f->bias,
        .phent = sizeof(Elf64_Phdr),
        .phnum = f->header.e_phnum,
        .load_bias = f->bias,
        .code_start = UINT64_MAX,
        .brk = f->high + f->bias,
    };
    for (unsigned i = 0; i < f->header.e_phnum; i++) {
        const Elf64_Phdr *ph = &f->phdrs[i];
        uint64_t start = ph->p_vaddr + f->bias, end = start + ph->p_filesz;

        if (ph->p_type == PT_PHDR && phdr == 0) {
            phdr = start;
        }
        if (ph->p_type == PT_GNU_STACK && ph->p_flags & PF_X) {
            image->stack_prot |= PROT_EXEC;
        }
        if (ph->p_type != PT_LOAD) {
            continue;
        }
        if (f->header.e_phoff >= ph->p_offset && f->header.e_phoff < ph->p_offset + ph->p_filesz) {
            phdr = f->header.e_phoff - ph->p_offset + start;
        }
        image->code_start = MIN(image->code_start, start);
        image->data_start = MAX(image->data_start, start);
        if (ph->p_flags & PF_X) {
            image->code_end = MAX(image->code_end, end);
        }
        image->data_end = MAX(image->data_end, end);
    }
    image->phdr = phdr;
}

bool lu_load_elf(struct lu_process *p, int fd, const char *path, struct lu_image *image,
                 GError **error)
{
    struct elf_file f = {.fd = fd, .path = path};
    g_autofree char *interpreter = NULL;
    bool ok;

    ok = read_headers(p, &f, error) && interpreter_name(&f, &interpreter, error) &&
         map_elf(p, &f, lu_mm_pie_base(p->mm), error);
    if (ok) {
        describe_image(&f, image);
        lu_mm_set_brk(p->mm, image->brk);
        ok = !interpreter || load_interpreter(p, &f, interpreter, image, error);
    }
    elf_file_clear(&f);
    return ok;
}
