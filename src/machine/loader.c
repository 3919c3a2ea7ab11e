#include "machine/loader.h"

#include <elf.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "machine/unpack.h"
#include "memory/memory.h"
#include "qapi/error.h"

/*
 * A file that stays open, so that large files needn't stay in memory: what of them is loaded as it
 * is gets read again at each reset. While it is looked at it is mapped.
 */
struct source {
    struct loader *loader; /* while it is mapped */
    char *name;
    int fd;
    uint64_t size;
    struct timespec changed;
    const uint8_t *mapping;
    unsigned refs;
};

struct blob {
    char *what; /* "kernel vmlinux" */
    uint64_t address,
        size;        /* size: in memory, at least that of what is loaded; the rest is zeroed */
    uint64_t loaded; /* bytes of data, or of source from offset on */
    GBytes *data;    /* NULL: */
    struct source *source;
    uint64_t offset;
};

struct loader {
    uint64_t ram_base, ram_size;
    GPtrArray *blobs;   /* struct blob */
    GPtrArray *sources; /* struct source, while they are mapped */
};

G_GNUC_PRINTF(2, 3)
static bool fail(GError **error, const char *format, ...)
{
    g_autofree char *text = NULL;
    va_list args;

    va_start(args, format);
    text = g_strdup_vprintf(format, args);
    va_end(args);
    g_set_error_literal(error, QAPI_ERROR, QAPI_ERROR_GENERIC, text);
    return false;
}

static void source_unref(struct source *source)
{
    if (--source->refs == 0) {
        close(source->fd);
        g_free(source->name);
        g_free(source);
    }
}

/* What is mapped goes with its last user. */
static void unmap_source(void *opaque)
{
    struct source *source = opaque;

    munmap((void *)source->mapping, source->size);
    g_ptr_array_remove_fast(source->loader->sources, source);
    source_unref(source);
}

/* The file that these bytes are mapped from, or NULL. */
static struct source *source_of(const struct loader *loader, const uint8_t *bytes)
{
    for (guint i = 0; i < loader->sources->len; i++) {
        struct source *source = loader->sources->pdata[i];

        if (bytes >= source->mapping && bytes < source->mapping + source->size) {
            return source;
        }
    }
    return NULL;
}

static void free_blob(void *opaque)
{
    struct blob *blob = opaque;

    g_free(blob->what);
    g_clear_pointer(&blob->data, g_bytes_unref);
    g_clear_pointer(&blob->source, source_unref);
    g_free(blob);
}

struct loader *loader_new(uint64_t ram_base, uint64_t ram_size)
{
    struct loader *loader = g_new0(struct loader, 1);

    loader->ram_base = ram_base;
    loader->ram_size = ram_size;
    loader->blobs = g_ptr_array_new_with_free_func(free_blob);
    loader->sources = g_ptr_array_new();
    return loader;
}

void loader_free(struct loader *loader)
{
    g_ptr_array_unref(loader->blobs);
    g_ptr_array_unref(loader->sources);
    g_free(loader);
}

static bool add(struct loader *loader, const char *what, uint64_t address, uint64_t size,
                GBytes *data, GError **error)
{
    uint64_t offset = address - loader->ram_base;
    struct source *source;
    const uint8_t *bytes;
    struct blob *blob;
    gsize loaded;

    if (address < loader->ram_base || offset > loader->ram_size ||
        size > loader->ram_size - offset) {
        return fail(error,
                    "%s: 0x%" PRIx64 " bytes at 0x%" PRIx64
                    " don't fit into the machine's memory, which is "
                    "0x%" PRIx64 " bytes at 0x%" PRIx64 " (-m gives it more)",
                    what, size, address, loader->ram_size, loader->ram_base);
    }
    for (guint i = 0; i < loader->blobs->len; i++) {
        const struct blob *other = loader->blobs->pdata[i];

        if (address < other->address + other->size && other->address < address + size) {
            return fail(error,
                        "%s: 0x%" PRIx64 " bytes at 0x%" PRIx64
                        " would be over %s, which is at 0x%" PRIx64 " (-m may give it more room)",
                        what, size, address, other->what, other->address);
        }
    }
    blob = g_new0(struct blob, 1);
    bytes = g_bytes_get_data(data, &loaded);
    source = loaded ? source_of(loader, bytes) : NULL;
    *blob =
        (struct blob){.what = g_strdup(what), .address = address, .size = size, .loaded = loaded};
    if (source) {
        source->refs++;
        blob->source = source;
        blob->offset = (uint64_t)(bytes - source->mapping);
    } else {
        blob->data = g_bytes_ref(data);
    }
    g_ptr_array_add(loader->blobs, blob);
    return true;
}

bool loader_add_bytes(struct loader *loader, const char *what, uint64_t address, GBytes *data,
                      GError **error)
{
    return add(loader, what, address, g_bytes_get_size(data), data, error);
}

/* -1 and *error if it can't be loaded. */
static int open_file(const char *what, const char *path, uint64_t max, struct stat *st,
                     GError **error)
{
    /* A FIFO without a writer would block; it is refused below. */
    int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);

    if (fd < 0) {
        fail(error, "%s %s: could not be opened: %s", what, path, g_strerror(errno));
        return -1;
    }
    if (fstat(fd, st) < 0 || !S_ISREG(st->st_mode)) {
        fail(error, "%s %s: not a regular file", what, path);
    } else if ((uint64_t)st->st_size > max) {
        fail(error, "%s %s: the file has %" PRIu64 " bytes, there is room for %" PRIu64, what, path,
             (uint64_t)st->st_size, max);
    } else if (!st->st_size) {
        fail(error, "%s %s: the file is empty", what, path);
    } else {
        return fd;
    }
    close(fd);
    return -1;
}

static GBytes *read_all(int fd, const char *what, const char *path, size_t size, GError **error)
{
    g_autofree uint8_t *data = NULL;
    size_t have = 0;
    ssize_t n = 0;

    data = g_try_malloc(size + 1);
    while (data && have < size && (n = read(fd, data + have, size - have)) > 0) {
        have += (size_t)n;
    }
    if (!data || n < 0 || have < size) {
        fail(error, "%s %s: could not be read: %s", what, path,
             data && n >= 0 ? "it became shorter" : g_strerror(errno));
        return NULL;
    }
    return g_bytes_new_take(g_steal_pointer(&data), size);
}

GBytes *loader_read_file(const char *what, const char *path, uint64_t max, GError **error)
{
    struct stat st;
    int fd = open_file(what, path, max, &st, error);
    GBytes *bytes;

    if (fd < 0) {
        return NULL;
    }
    bytes = read_all(fd, what, path, (size_t)st.st_size, error);
    close(fd);
    return bytes;
}

/* The file's bytes, as long as they are looked at: what add finds in them is read again later. */
static GBytes *map_file(struct loader *loader, const char *what, const char *path, uint64_t max,
                        GError **error)
{
    struct source *source;
    struct stat st;
    int fd = open_file(what, path, max, &st, error);
    void *mapping;

    if (fd < 0) {
        return NULL;
    }
    mapping = mmap(NULL, (size_t)st.st_size, PROT_READ, MAP_PRIVATE, fd, 0);
    if (mapping == MAP_FAILED) {
        fail(error, "%s %s: could not be mapped: %s", what, path, g_strerror(errno));
        close(fd);
        return NULL;
    }
    source = g_new0(struct source, 1);
    *source = (struct source){.loader = loader,
                              .name = g_strdup_printf("%s %s", what, path),
                              .fd = fd,
                              .size = (uint64_t)st.st_size,
                              .changed = st.st_mtim,
                              .mapping = mapping,
                              .refs = 1};
    g_ptr_array_add(loader->sources, source);
    return g_bytes_new_with_free_func(mapping, (size_t)st.st_size, unmap_source, source);
}

bool loader_add_file(struct loader *loader, const char *what, const char *path, uint64_t address,
                     struct loader_image *image, GError **error)
{
    g_autoptr(GBytes) data = map_file(loader, what, path, loader->ram_size, error);
    g_autofree char *name = g_strdup_printf("%s %s", what, path);

    if (!data || !loader_add_bytes(loader, name, address, data, error)) {
        return false;
    }
    image->entry = image->start = address;
    image->end = address + g_bytes_get_size(data);
    return true;
}

/* ---- ELF (System V ABI, gABI 4.1, chapters 4 and 5) ---- */

/* [offset, offset + size) of data, or NULL if it isn't all there. */
static const uint8_t *part(GBytes *data, uint64_t offset, uint64_t size)
{
    gsize have;
    const uint8_t *bytes = g_bytes_get_data(data, &have);

    return offset <= have && size <= have - offset ? bytes + offset : NULL;
}

static bool is_elf(GBytes *data)
{
    const uint8_t *ident = part(data, 0, EI_NIDENT);

    return ident && memcmp(ident, ELFMAG, SELFMAG) == 0;
}

static bool read_header(GBytes *data, const char *name, Elf64_Ehdr *header, GError **error)
{
    const uint8_t *bytes = part(data, 0, sizeof(*header));

    if (!bytes) {
        return fail(error, "%s: the ELF header is cut off", name);
    }
    memcpy(header, bytes, sizeof(*header));
    if (header->e_ident[EI_CLASS] != ELFCLASS64 || header->e_ident[EI_DATA] != ELFDATA2LSB ||
        GUINT16_FROM_LE(header->e_machine) != EM_RISCV) {
        return fail(error, "%s: not an ELF file for 64-bit RISC-V (machine %u)", name,
                    GUINT16_FROM_LE(header->e_machine));
    }
    if (header->e_phentsize != sizeof(Elf64_Phdr) ||
        !part(data, header->e_phoff, (uint64_t)header->e_phnum * sizeof(Elf64_Phdr))) {
        return fail(error, "%s: the ELF program headers are cut off or of a wrong size", name);
    }
    return true;
}

static bool add_segment(struct loader *loader, GBytes *data, const char *name,
                        const Elf64_Phdr *segment, struct loader_image *image, GError **error)
{
    g_autoptr(GBytes) bytes = NULL;

    if (segment->p_filesz > segment->p_memsz || !part(data, segment->p_offset, segment->p_filesz)) {
        return fail(error, "%s: an ELF segment is cut off", name);
    }
    bytes = g_bytes_new_from_bytes(data, segment->p_offset, segment->p_filesz);
    if (!add(loader, name, segment->p_paddr, segment->p_memsz, bytes, error)) {
        return false;
    }
    image->start = MIN(image->start, segment->p_paddr);
    image->end = MAX(image->end, segment->p_paddr + segment->p_memsz);
    return true;
}

/* The symbol table's section header; false: there is none that is whole. */
static bool find_symbols(GBytes *data, const Elf64_Ehdr *header, Elf64_Shdr *symbols,
                         Elf64_Shdr *strings)
{
    const uint8_t *sections =
        part(data, header->e_shoff, (uint64_t)header->e_shnum * sizeof(Elf64_Shdr));

    for (unsigned i = 0;
         sections && header->e_shentsize == sizeof(Elf64_Shdr) && i < header->e_shnum; i++) {
        memcpy(symbols, sections + i * sizeof(Elf64_Shdr), sizeof(*symbols));
        if (symbols->sh_type == SHT_SYMTAB && symbols->sh_link < header->e_shnum) {
            memcpy(strings, sections + symbols->sh_link * sizeof(Elf64_Shdr), sizeof(*strings));
            return strings->sh_size && part(data, symbols->sh_offset, symbols->sh_size) &&
                   part(data, strings->sh_offset, strings->sh_size);
        }
    }
    return false;
}

static void look_up_symbols(GBytes *data, const Elf64_Ehdr *header, struct loader_symbol *wanted,
                            size_t n_wanted)
{
    Elf64_Shdr symbols, strings;
    const uint8_t *table;
    const char *names;

    if (!n_wanted || !find_symbols(data, header, &symbols, &strings)) {
        return;
    }
    table = part(data, symbols.sh_offset, symbols.sh_size);
    names = (const char *)part(data, strings.sh_offset, strings.sh_size);
    for (uint64_t i = 0; i < symbols.sh_size / sizeof(Elf64_Sym); i++) {
        Elf64_Sym symbol;

        memcpy(&symbol, table + i * sizeof(symbol), sizeof(symbol));
        if (symbol.st_name >= strings.sh_size) {
            continue;
        }
        for (size_t w = 0; w < n_wanted; w++) {
            size_t length = strlen(wanted[w].name) + 1;

            if (!wanted[w].found && length <= strings.sh_size - symbol.st_name &&
                memcmp(names + symbol.st_name, wanted[w].name, length) == 0) {
                wanted[w].found = true;
                wanted[w].value = symbol.st_value;
            }
        }
    }
}

static bool add_elf(struct loader *loader, GBytes *data, const char *name,
                    struct loader_symbol *symbols, size_t n_symbols, struct loader_image *image,
                    GError **error)
{
    const uint8_t *segments;
    Elf64_Ehdr header;
    bool any = false;

    if (!read_header(data, name, &header, error)) {
        return false;
    }
    *image = (struct loader_image){.entry = header.e_entry, .start = UINT64_MAX};
    segments = part(data, header.e_phoff, (uint64_t)header.e_phnum * sizeof(Elf64_Phdr));
    for (unsigned i = 0; i < header.e_phnum; i++) {
        Elf64_Phdr segment;

        memcpy(&segment, segments + i * sizeof(segment), sizeof(segment));
        if (segment.p_type == PT_LOAD && segment.p_memsz) {
            any = true;
            if (!add_segment(loader, data, name, &segment, image, error)) {
                return false;
            }
        }
    }
    if (!any) {
        return fail(error, "%s: the ELF file has nothing to load", name);
    }
    look_up_symbols(data, &header, symbols, n_symbols);
    return true;
}

/* ---- Flat files ---- */

/* Linux' Documentation/arch/riscv/boot-image-header.rst */
struct linux_image_header {
    uint32_t code[2];
    uint64_t text_offset;
    uint64_t image_size; /* in memory */
    uint64_t flags;
    uint32_t version, reserved[3];
    uint64_t magic;  /* "RISCV" */
    uint32_t magic2; /* "RSC\x05" */
    uint32_t reserved2;
};

/* Bytes of memory that a flat file needs: a Linux Image says that it has more than the file. */
static uint64_t flat_size(GBytes *data)
{
    const uint8_t *bytes = part(data, 0, sizeof(struct linux_image_header));
    struct linux_image_header header;
    uint64_t size = g_bytes_get_size(data);

    if (!bytes) {
        return size;
    }
    memcpy(&header, bytes, sizeof(header));
    return memcmp(&header.magic2, "RSC\x05", 4) == 0 ? MAX(size, header.image_size) : size;
}

static bool add_program(struct loader *loader, GBytes *data, const char *name, uint64_t address,
                        struct loader_symbol *symbols, size_t n_symbols, struct loader_image *image,
                        GError **error)
{
    uint64_t size;

    if (is_elf(data)) {
        return add_elf(loader, data, name, symbols, n_symbols, image, error);
    }
    size = flat_size(data);
    *image = (struct loader_image){address, address, address + size};
    return add(loader, name, address, size, data, error);
}

/* ELF files may have more that isn't loaded (debug information). */
static uint64_t max_file_size(const struct loader *loader)
{
    return MAX(loader->ram_size, 1u << 30);
}

bool loader_add_executable(struct loader *loader, const char *path, uint64_t address, bool unpack,
                           struct loader_symbol *symbols, size_t n_symbols,
                           struct loader_image *image, GError **error)
{
    const char *what = unpack ? "kernel" : "firmware";
    g_autofree char *name = g_strdup_printf("%s %s", what, path);
    g_autoptr(GBytes) data = map_file(loader, what, path, max_file_size(loader), error);

    if (data && unpack) {
        GBytes *unpacked = unpack_kernel(data, max_file_size(loader), error);

        if (!unpacked) {
            g_prefix_error(error, "%s: ", name);
            return false;
        }
        g_bytes_unref(data);
        data = unpacked;
    }
    return data && add_program(loader, data, name, address, symbols, n_symbols, image, error);
}

bool loader_add_program(struct loader *loader, const char *what, const char *path, uint64_t address,
                        struct loader_image *image, GError **error)
{
    g_autofree char *name = g_strdup_printf("%s %s", what, path);
    g_autoptr(GBytes) data = map_file(loader, what, path, max_file_size(loader), error);

    return data && add_program(loader, data, name, address, NULL, 0, image, error);
}

static bool write_from_file(const struct blob *blob, struct address_space *memory, GError **error)
{
    enum { PIECE = 256 << 10 };
    g_autofree uint8_t *buffer = g_malloc(PIECE);
    uint64_t done = 0;
    struct stat st;
    ssize_t n;

    if (fstat(blob->source->fd, &st) < 0 || (uint64_t)st.st_size != blob->source->size ||
        st.st_mtim.tv_sec != blob->source->changed.tv_sec ||
        st.st_mtim.tv_nsec != blob->source->changed.tv_nsec) {
        return fail(error,
                    "%s: the file was changed after the machine was started with it: start it anew",
                    blob->source->name);
    }
    for (; done < blob->loaded; done += (uint64_t)n) {
        n = pread(blob->source->fd, buffer, MIN(blob->loaded - done, PIECE),
                  (off_t)(blob->offset + done));
        if (n <= 0) {
            return fail(error, "%s: could not be read: %s", blob->source->name,
                        n ? g_strerror(errno) : "it became shorter");
        }
        address_space_write(memory, blob->address + done, buffer, (uint64_t)n,
                            (struct memory_attrs){0});
    }
    return true;
}

bool loader_write(const struct loader *loader, struct address_space *memory, GError **error)
{
    static const uint8_t zeroes[4096];

    for (guint i = 0; i < loader->blobs->len; i++) {
        const struct blob *blob = loader->blobs->pdata[i];

        if (blob->source && !write_from_file(blob, memory, error)) {
            return false;
        }
        if (blob->data) {
            address_space_write(memory, blob->address, g_bytes_get_data(blob->data, NULL),
                                blob->loaded, (struct memory_attrs){0});
        }
        for (uint64_t at = blob->loaded, n; at < blob->size; at += n) {
            n = MIN(blob->size - at, sizeof(zeroes));
            address_space_write(memory, blob->address + at, zeroes, n, (struct memory_attrs){0});
        }
    }
    return true;
}

void loader_describe(const struct loader *loader, GString *text)
{
    for (guint i = 0; i < loader->blobs->len; i++) {
        const struct blob *blob = loader->blobs->pdata[i];

        g_string_append_printf(text,
                               "addr=%016" PRIx64 " size=0x%06" PRIx64 " mem=ram name=\"%s\"\n",
                               blob->address, blob->size, blob->what);
    }
}
