/*
 * Files that a machine starts with: kernels and firmware (ELF, packed, in an EFI zboot program,
 * flat), an initial RAM disk, a device tree; damaged, cut off or too big. They are refused with an
 * error or loaded into memory that is big enough for them.
 *
 * The first byte of an input says what the rest is taken for.
 */
#include "fuzz.h"

#include <elf.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>
#include <zlib.h>

#include "machine/fdt.h"
#include "machine/loader.h"
#include "memory/memory.h"

enum { RAM_BASE = 0x80000000, RAM_SIZE = 1 << 20 };

static void load_tree(const uint8_t *data, size_t size)
{
    g_autoptr(GError) error = NULL;
    auto_ptr(fdt) fdt = fdt_new_from(data, size, &error);
    g_autoptr(GBytes) bytes = NULL;

    g_assert_true(fdt || error);
    if (fdt) {
        fdt_add_node(fdt, "/chosen");
        fdt_set_string(fdt, "/chosen", "bootargs", "console=ttyS0");
        fdt_set(fdt, "/chosen", "linux,initrd-start", 0, 1);
        bytes = fdt_to_bytes(fdt);
    }
}

/* The machine's memory, into which all that was accepted must fit. */
static void write_all(const struct loader *loader)
{
    struct region root = {0}, ram_region = {0};
    auto_ptr(ram_block) ram = ram_block_new("ram", RAM_SIZE, NULL);
    struct address_space *space;

    region_init_container(&root, "system", 0);
    region_init_ram(&ram_region, "ram", ram, 0, RAM_SIZE);
    region_add(&root, RAM_BASE, &ram_region, 0);
    space = address_space_new("memory", &root);
    loader_write(loader, space, NULL);
    region_remove(&ram_region);
    address_space_free(space);
    region_clear(&ram_region);
    region_clear(&root);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct loader_symbol symbols[] = {{.name = "tohost"}, {.name = "fromhost"}};
    auto_ptr(loader) loader = NULL;
    g_autofree char *path = NULL;
    g_autoptr(GError) error = NULL;
    struct loader_image image = {0};
    bool loaded;
    int fd;

    if (size < 1) {
        return 0;
    }
    if (data[0] % 4 == 0) {
        load_tree(data + 1, size - 1);
        return 0;
    }
    fd = memfd_create("input", MFD_CLOEXEC);
    g_assert_cmpint(fd, >=, 0);
    g_assert_cmpint(write(fd, data + 1, size - 1), ==, size - 1);
    path = g_strdup_printf("/proc/self/fd/%d", fd);
    loader = loader_new(RAM_BASE, RAM_SIZE);
    loaded = data[0] % 4 == 1 ? loader_add_file(loader, "initrd", path, RAM_BASE, &image, &error)
                              : loader_add_executable(loader, path, RAM_BASE, data[0] % 4 == 2,
                                                      symbols, G_N_ELEMENTS(symbols), &image,
                                                      &error);
    g_assert_true(loaded == !error);
    if (loaded) {
        g_assert_true(image.start >= RAM_BASE && image.start <= image.end &&
                      image.end <= (uint64_t)RAM_BASE + RAM_SIZE);
        write_all(loader);
    }
    close(fd);
    return 0;
}

#ifndef NANDU_LIBFUZZER

/* An ELF file with a segment and, sometimes, a table of symbols. */
static void make_elf(uint64_t *state, GByteArray *out)
{
    struct {
        Elf64_Ehdr header;
        Elf64_Phdr segment;
        Elf64_Shdr sections[2];
        Elf64_Sym symbols[2];
        char names[24];
    } file = {
        .header = {.e_ident = {0x7f, 'E', 'L', 'F', ELFCLASS64, ELFDATA2LSB, EV_CURRENT},
                   .e_type = ET_EXEC, .e_machine = EM_RISCV, .e_version = EV_CURRENT,
                   .e_entry = RAM_BASE, .e_ehsize = sizeof(Elf64_Ehdr),
                   .e_phentsize = sizeof(Elf64_Phdr), .e_phnum = 1,
                   .e_shentsize = sizeof(Elf64_Shdr), .e_shnum = 2},
        .names = "\0tohost\0fromhost",
    };

    file.header.e_phoff = offsetof(__typeof__(file), segment);
    file.header.e_shoff = offsetof(__typeof__(file), sections);
    file.segment = (Elf64_Phdr){.p_type = PT_LOAD, .p_paddr = RAM_BASE, .p_vaddr = RAM_BASE,
                                .p_filesz = 100, .p_memsz = next_random(state) % 5000};
    file.sections[0] = (Elf64_Shdr){.sh_type = SHT_SYMTAB, .sh_link = 1,
                                    .sh_offset = offsetof(__typeof__(file), symbols),
                                    .sh_size = sizeof(file.symbols),
                                    .sh_entsize = sizeof(Elf64_Sym)};
    file.sections[1] = (Elf64_Shdr){.sh_type = SHT_STRTAB,
                                    .sh_offset = offsetof(__typeof__(file), names),
                                    .sh_size = sizeof(file.names)};
    file.symbols[0] = (Elf64_Sym){.st_name = 1, .st_value = RAM_BASE};
    file.symbols[1] = (Elf64_Sym){.st_name = 8, .st_value = RAM_BASE + 8};
    g_byte_array_append(out, (const uint8_t *)&file, sizeof(file));
}

/* bytes of out from start on are packed. */
static void pack(GByteArray *out, guint start)
{
    uint8_t packed[8192];
    z_stream z = {.next_in = out->data + start, .avail_in = out->len - start, .next_out = packed,
                  .avail_out = sizeof(packed)};

    g_assert_cmpint(deflateInit2(&z, 1, Z_DEFLATED, 15 + 16, 8, Z_DEFAULT_STRATEGY), ==, Z_OK);
    g_assert_cmpint(deflate(&z, Z_FINISH), ==, Z_STREAM_END);
    g_byte_array_set_size(out, start);
    g_byte_array_append(out, packed, (guint)z.total_out);
    deflateEnd(&z);
}

static void make_zboot(uint64_t *state, GByteArray *out)
{
    struct {
        char magic[8];
        uint32_t offset, size;
        uint64_t reserved;
        char kind[32];
    } header = {.magic = "MZ\0\0zimg", .offset = sizeof(header), .kind = "gzip"};
    guint start = out->len;

    g_byte_array_set_size(out, start + sizeof(header));
    make_elf(state, out);
    pack(out, start + sizeof(header));
    header.size = out->len - start - (guint)sizeof(header);
    memcpy(out->data + start, &header, sizeof(header));
}

static void make_tree(GByteArray *out)
{
    auto_ptr(fdt) fdt = fdt_new();
    g_autoptr(GBytes) bytes = NULL;

    fdt_add_node(fdt, "/chosen");
    fdt_add_node(fdt, "/soc");
    fdt_add_node(fdt, "/soc/serial@10000000");
    fdt_set_string(fdt, "/soc/serial@10000000", "compatible", "ns16550a");
    fdt_set_reg(fdt, "/soc/serial@10000000", 0x10000000, 0x100);
    bytes = fdt_to_bytes(fdt);
    g_byte_array_append(out, g_bytes_get_data(bytes, NULL), (guint)g_bytes_get_size(bytes));
}

/* Some bits and numbers of it are changed, and some of its end is missing. */
static void damage(uint64_t *state, GByteArray *out)
{
    for (uint64_t n = next_random(state) % 6; n > 0; n--) {
        uint64_t at = 1 + next_random(state) % (out->len - 1);
        uint64_t value = next_random(state) >> (next_random(state) % 64);

        if (value & 1) {
            out->data[at] ^= (uint8_t)(value >> 1);
        } else {
            memcpy(out->data + at, &value, MIN(8, out->len - at));
        }
    }
    if (next_random(state) % 8 == 0) {
        g_byte_array_set_size(out, 1 + (guint)(next_random(state) % out->len));
    }
}

void fuzz_make_input(uint64_t *state, GByteArray *out)
{
    unsigned form = (unsigned)(next_random(state) % 5);
    uint8_t kind = form == 4 ? 0 : (uint8_t)(1 + next_random(state) % 3);

    g_byte_array_append(out, &kind, 1);
    switch (form) {
    case 0:
    case 1: make_elf(state, out); break;
    case 2:
        make_elf(state, out);
        pack(out, 1);
        break;
    case 3: make_zboot(state, out); break;
    default: make_tree(out); break;
    }
    damage(state, out);
}

#endif
