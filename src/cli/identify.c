/*
 * Magic numbers of what can be started. Sources: Linux Documentation/arch/{riscv,arm64}/boot*.rst
 * and include/linux/pe.h, the ELF and UEFI specifications, ECMA-119, RFC 1952, RFC 8878, and the
 * on-disk formats' own documents.
 */
#include "cli/identify.h"

#include <elf.h>
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>
#include <zlib.h>
#include <zstd.h>

#include "qapi/error.h"
#include "util/auto.h"

enum {
    HEAD_SIZE = 2 << 20, /* bytes of a file that are looked at */
    INNER_SIZE = 4096,   /* of what is packed in it */
    RAM_BASE =
        0x80000000u, /* no Linux program of a 64-bit guest is linked above it; bare programs are */
};

struct bytes {
    const uint8_t *data;
    size_t size;
};

static bool is_at(struct bytes b, size_t offset, const void *magic, size_t size)
{
    return offset + size <= b.size && !memcmp(b.data + offset, magic, size);
}

#define IS_AT(b, offset, literal) is_at(b, offset, literal, sizeof(literal) - 1)

/* Little-endian numbers; 0 beyond the end. */
static uint64_t get(struct bytes b, uint64_t offset, unsigned size)
{
    uint64_t value = 0;

    if (offset > b.size || size > b.size - offset) {
        return 0;
    }
    for (unsigned i = 0; i < size; i++) {
        value |= (uint64_t)b.data[offset + i] << (8 * i);
    }
    return value;
}

static bool has_text(struct bytes b, const char *text)
{
    return memmem(b.data, b.size, text, strlen(text)) != NULL;
}

/* ---- Executables ---- */

static const char *elf_arch(unsigned machine, bool is_64)
{
    static const struct {
        unsigned machine;
        const char *name32, *name64;
    } rows[] = {
        {EM_RISCV, "riscv32", "riscv64"}, {EM_AARCH64, "aarch64", "aarch64"},
        {EM_X86_64, "x86_64", "x86_64"},  {EM_386, "i386", "i386"},
        {EM_ARM, "arm", "arm"},           {EM_PPC64, "ppc64", "ppc64"},
        {EM_S390, "s390", "s390x"},       {EM_LOONGARCH, "loongarch32", "loongarch64"},
        {EM_MIPS, "mips", "mips64"},
    };

    for (size_t i = 0; i < G_N_ELEMENTS(rows); i++) {
        if (rows[i].machine == machine) {
            return is_64 ? rows[i].name64 : rows[i].name32;
        }
    }
    return "another architecture";
}

/* Of a 64-bit, little-endian ELF file: a Linux program or what runs on a bare machine? */
static void identify_elf64(struct bytes b, struct file_identity *id)
{
    uint64_t table = get(b, offsetof(Elf64_Ehdr, e_phoff), 8);
    unsigned count = get(b, offsetof(Elf64_Ehdr, e_phnum), 2);
    uint64_t lowest = UINT64_MAX, highest = 0;
    bool soft_float = id->arch && g_str_equal(id->arch, "riscv64") &&
                      !(get(b, offsetof(Elf64_Ehdr, e_flags), 4) & EF_RISCV_FLOAT_ABI);

    for (unsigned i = 0; i < count; i++) {
        uint64_t row = table + (uint64_t)i * sizeof(Elf64_Phdr);
        unsigned type = get(b, row + offsetof(Elf64_Phdr, p_type), 4);

        if (type == PT_INTERP) {
            uint64_t offset = get(b, row + offsetof(Elf64_Phdr, p_offset), 8);
            uint64_t size = get(b, row + offsetof(Elf64_Phdr, p_filesz), 8);

            if (offset < b.size && size <= b.size - offset && size > 1 && size < 4096) {
                id->interpreter = g_strndup((const char *)b.data + offset, size);
            }
        } else if (type == PT_LOAD) {
            lowest = MIN(lowest, get(b, row + offsetof(Elf64_Phdr, p_paddr), 8));
            highest = MAX(highest, get(b, row + offsetof(Elf64_Phdr, p_vaddr), 8));
        }
    }
    id->is_boot_loader = has_text(b, "U-Boot 20");
    if (highest >> 63 || (lowest > RAM_BASE && lowest != UINT64_MAX)) {
        /* Linux, or what else leaves room for firmware below it. */
        id->kind = FILE_KERNEL;
        id->what = "a kernel (ELF)";
    } else if (lowest == RAM_BASE || (soft_float && has_text(b, "OpenSBI v"))) {
        id->kind = FILE_FIRMWARE;
        id->what = "a program for a bare machine (ELF)";
    } else {
        id->kind = FILE_PROGRAM;
        id->what = id->interpreter ? "a dynamic Linux program" : "a static Linux program";
    }
}

static void identify_elf(struct bytes b, struct file_identity *id)
{
    bool is_64 = b.data[EI_CLASS] == ELFCLASS64;
    bool little = b.data[EI_DATA] == ELFDATA2LSB;
    unsigned machine = get(b, offsetof(Elf64_Ehdr, e_machine), 2);

    id->arch = elf_arch(little ? machine : GUINT16_SWAP_LE_BE(machine), is_64);
    id->kind = FILE_PROGRAM;
    id->what = "a Linux program";
    if (is_64 && little) {
        identify_elf64(b, id);
    }
}

/* UEFI 2.10, 2.1.1: the Machine of a PE32+ image. Linux kernels with an EFI stub begin so, too. */
static void identify_pe(struct bytes b, struct file_identity *id)
{
    uint64_t pe = get(b, 0x3c, 4);
    unsigned machine = get(b, pe + 4, 2);

    if (!IS_AT(b, pe, "PE\0\0")) {
        return;
    }
    id->arch = machine == 0x5064   ? "riscv64"
               : machine == 0xaa64 ? "aarch64"
               : machine == 0x8664 ? "x86_64"
                                   : NULL;
    id->kind = IS_AT(b, 4, "zimg") ? FILE_KERNEL : FILE_EFI_PROGRAM;
    id->what = id->kind == FILE_KERNEL ? "a Linux kernel (EFI zboot)" : "an EFI program";
}

/* What isn't packed, but for disks. */
static bool identify_plain(struct bytes b, struct file_identity *id)
{
    if (IS_AT(b, 0, ELFMAG) && b.size >= sizeof(Elf64_Ehdr)) {
        identify_elf(b, id);
    } else if (IS_AT(b, 0x38, "RSC\x05") || IS_AT(b, 0x38, "ARM\x64")) {
        id->kind = FILE_KERNEL;
        id->what = "a Linux kernel (Image)";
        id->arch = b.data[0x38] == 'R' ? "riscv64" : "aarch64";
    } else if (IS_AT(b, 0, "MZ")) {
        identify_pe(b, id);
    } else if (IS_AT(b, 0, "070701") || IS_AT(b, 0, "070702")) {
        id->kind = FILE_INITRD;
        id->what = "an initial RAM disk";
    } else if (IS_AT(b, 0, "\xd0\x0d\xfe\xed")) {
        id->kind = FILE_DEVICE_TREE;
        id->what = "a device tree";
    } else if (IS_AT(b, 0, "#!")) {
        id->kind = FILE_SCRIPT;
        id->what = "a script";
    } else if (IS_AT(b, 0x28, "_FVH")) {
        id->kind = FILE_FLASH;
        id->what = "UEFI firmware";
    }
    return id->kind != FILE_UNKNOWN;
}

/* ---- Packed files ---- */

static size_t inflate_head(struct bytes b, uint8_t *out, size_t size)
{
    z_stream z = {
        .next_in = (Bytef *)b.data, .avail_in = b.size, .next_out = out, .avail_out = size};

    if (inflateInit2(&z, 15 + 16) != Z_OK) {
        return 0;
    }
    inflate(&z, Z_SYNC_FLUSH);
    inflateEnd(&z);
    return size - z.avail_out;
}

static size_t unzstd_head(struct bytes b, uint8_t *out, size_t size)
{
    ZSTD_DStream *z = ZSTD_createDStream();
    ZSTD_inBuffer in = {.src = b.data, .size = b.size};
    ZSTD_outBuffer to = {.dst = out, .size = size};

    while (z && to.pos < to.size && in.pos < in.size) {
        size_t before = to.pos + in.pos;

        if (ZSTD_isError(ZSTD_decompressStream(z, &to, &in)) || to.pos + in.pos == before) {
            break;
        }
    }
    ZSTD_freeDStream(z);
    return to.pos;
}

/* A kernel or an initrd, in what the loader and Linux unpack. */
static bool identify_packed(struct bytes b, struct file_identity *id)
{
    g_autofree uint8_t *inner = g_malloc(INNER_SIZE);
    struct bytes in = {.data = inner};

    if (IS_AT(b, 0, "\x1f\x8b\x08")) {
        in.size = inflate_head(b, inner, INNER_SIZE);
    } else if (IS_AT(b, 0, "\x28\xb5\x2f\xfd")) {
        in.size = unzstd_head(b, inner, INNER_SIZE);
    } else if (IS_AT(b, 0,
                     "\xfd"
                     "7zXZ\0") ||
               IS_AT(b, 0, "\x02\x21\x4c\x18") || IS_AT(b, 0, "BZh")) {
        /* Linux unpacks these as initrd; a kernel so packed isn't in use. */
        id->kind = FILE_INITRD;
        id->what = "a packed initial RAM disk";
        return true;
    } else {
        return false;
    }
    if (in.size && identify_plain(in, id) && id->kind == FILE_KERNEL) {
        id->what = "a packed Linux kernel";
    } else if (id->kind == FILE_INITRD) {
        id->what = "a packed initial RAM disk";
    } else {
        file_identity_clear(id);
    }
    return id->kind != FILE_UNKNOWN;
}

/* ---- Disks ---- */

static const struct {
    unsigned offset;
    const char *magic;
    unsigned size;
    const char *format, *what;
} disk_formats[] = {
    {0, "QFI\xfb", 4, "qcow2", "a qcow2 disk image"},
    {0x40, "\x7f\x10\xda\xbe", 4, "vdi", "a VDI disk image"},
    {0, "KDMV", 4, "vmdk", "a VMDK disk image"},
    {0, "# Disk DescriptorFile", 21, "vmdk", "a VMDK disk image"},
    {0, "vhdxfile", 8, "vhdx", "a VHDX disk image"},
    {0, "conectix", 8, "vpc", "a VHD disk image"},
    {0, "QED\0", 4, "qed", "a QED disk image"},
    {0, "LUKS\xba\xbe", 6, "luks", "an encrypted disk image (LUKS)"},
    {0, "WithoutFreeSpace", 16, "parallels", "a Parallels disk image"},
    {0, "WithouFreSpacExt", 16, "parallels", "a Parallels disk image"},
};

static const struct {
    unsigned offset;
    const char *magic;
    unsigned size;
    const char *what;
} file_systems[] = {
    {0x438, "\x53\xef", 2, "a disk with an ext file system"},
    {0x10040, "_BHRfS_M", 8, "a disk with a btrfs file system"},
    {0, "XFSB", 4, "a disk with an XFS file system"},
    {0, "hsqs", 4, "a disk with a squashfs file system"},
    {0x400, "\xe2\xe1\xf5\xe0", 4, "a disk with an EROFS file system"},
    {0x400, "\x10\x20\xf5\xf2", 4, "a disk with an F2FS file system"},
};

/* The first partition of a Linux root: UEFI 2.10, 5.3.3, and the types of the Discoverable
 * Partitions Specification. */
static unsigned gpt_root(struct bytes b)
{
    static const uint8_t riscv64_root[16] = {0xa6, 0x70, 0xec, 0x72, 0x74, 0xcf, 0xe6, 0x40,
                                             0xbd, 0x49, 0x4b, 0xda, 0x08, 0xe8, 0xf2, 0x24};
    static const uint8_t linux_data[16] = {0xaf, 0x3d, 0xc6, 0x0f, 0x83, 0x84, 0x72, 0x47,
                                           0x8e, 0x79, 0x3d, 0x69, 0xd8, 0x47, 0x7d, 0xe4};
    uint64_t table = get(b, 512 + 72, 8) * 512;
    unsigned count = get(b, 512 + 80, 4), size = get(b, 512 + 84, 4);
    unsigned root = 0;

    for (unsigned i = 0; i < MIN(count, 128) && size >= 128; i++) {
        uint64_t row = table + (uint64_t)i * size;

        if (row > b.size || b.size - row < 128) {
            break;
        }
        if (!memcmp(b.data + row, riscv64_root, 16)) {
            return i + 1;
        }
        if (!root && !memcmp(b.data + row, linux_data, 16)) {
            root = i + 1;
        }
    }
    return root;
}

/* The active Linux partition, else the first one, of a PC's partition table. */
static unsigned mbr_root(struct bytes b)
{
    unsigned root = 0;

    for (unsigned i = 4; i-- > 0;) {
        uint64_t row = 0x1be + 16 * i;

        if (b.data[row + 4] == 0x83) {
            root = i + 1;
            if (b.data[row] == 0x80) {
                break;
            }
        }
    }
    return root;
}

static bool has_mbr(struct bytes b)
{
    unsigned used = 0;

    if (!IS_AT(b, 0x1fe, "\x55\xaa")) {
        return false;
    }
    /* A FAT file system has the same signature, and code where the table would be. */
    for (unsigned i = 0; i < 4; i++) {
        uint64_t row = 0x1be + 16 * i;

        if (b.data[row] & 0x7f) {
            return false;
        }
        used += b.data[row + 4] && get(b, row + 12, 4);
    }
    return used > 0;
}

static bool identify_disk(struct bytes b, struct file_identity *id)
{
    id->format = "raw";
    for (size_t i = 0; i < G_N_ELEMENTS(disk_formats); i++) {
        if (is_at(b, disk_formats[i].offset, disk_formats[i].magic, disk_formats[i].size)) {
            id->kind = FILE_DISK;
            id->format = disk_formats[i].format;
            id->what = disk_formats[i].what;
            return true;
        }
    }
    if (IS_AT(b, 0x8001, "CD001")) {
        id->kind = FILE_ISO;
        id->what = "an ISO 9660 image";
        return true;
    }
    if (IS_AT(b, 512, "EFI PART") || has_mbr(b)) {
        id->kind = FILE_DISK;
        id->what = "a disk with partitions";
        id->has_partitions = true;
        id->root = IS_AT(b, 512, "EFI PART") ? gpt_root(b) : mbr_root(b);
        return true;
    }
    for (size_t i = 0; i < G_N_ELEMENTS(file_systems); i++) {
        if (is_at(b, file_systems[i].offset, file_systems[i].magic, file_systems[i].size)) {
            id->kind = FILE_DISK;
            id->what = file_systems[i].what;
            return true;
        }
    }
    if (IS_AT(b, 0x1fe, "\x55\xaa") && (IS_AT(b, 0x36, "FAT") || IS_AT(b, 0x52, "FAT32"))) {
        id->kind = FILE_DISK;
        id->what = "a disk with a FAT file system";
        return true;
    }
    id->format = NULL;
    return false;
}

/* Flat firmware has no magic number; what is known names itself. */
static bool identify_firmware(struct bytes b, struct file_identity *id)
{
    if (has_text(b, "OpenSBI v")) {
        id->kind = FILE_FIRMWARE;
        id->what = "OpenSBI firmware";
        id->arch = "riscv64";
    } else if (has_text(b, "U-Boot 20")) {
        /* It is started as a kernel is, by OpenSBI. */
        id->kind = FILE_KERNEL;
        id->what = "the U-Boot loader";
        id->is_boot_loader = true;
    }
    return id->kind != FILE_UNKNOWN;
}

/* ---- The file ---- */

static bool fail(GError **error, const char *path, const char *reason)
{
    g_set_error(error, QAPI_ERROR, QAPI_ERROR_GENERIC, "%s: %s", path, reason);
    return false;
}

static bool read_head(const char *path, uint8_t *data, size_t *size, GError **error)
{
    struct stat st;
    int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK); /* not to wait for a pipe's writer */
    ssize_t n = 0;
    bool ok = false;

    *size = 0;
    if (fd < 0 || fstat(fd, &st) < 0) {
        fail(error, path, g_strerror(errno));
    } else if (S_ISDIR(st.st_mode)) {
        fail(error, path, "is a folder; name a kernel, a disk image or a program");
    } else if (!S_ISREG(st.st_mode) && !S_ISBLK(st.st_mode)) {
        fail(error, path, "is neither a file nor a disk");
    } else {
        while (*size < HEAD_SIZE && (n = read(fd, data + *size, HEAD_SIZE - *size)) > 0) {
            *size += n;
        }
        ok = n >= 0 || fail(error, path, g_strerror(errno));
        if (ok && !*size) {
            ok = fail(error, path, "is empty");
        }
    }
    if (fd >= 0) {
        close(fd);
    }
    return ok;
}

bool file_identify(const char *path, struct file_identity *identity, GError **error)
{
    g_autofree uint8_t *data = g_malloc(HEAD_SIZE);
    struct bytes b = {.data = data};

    *identity = (struct file_identity){.kind = FILE_UNKNOWN};
    if (!read_head(path, data, &b.size, error)) {
        return false;
    }
    /* Disks come last but for firmware: a first sector may begin with anything. */
    if (!identify_plain(b, identity) && !identify_packed(b, identity) &&
        !identify_disk(b, identity)) {
        identify_firmware(b, identity);
    }
    return true;
}

void file_identity_clear(struct file_identity *identity)
{
    g_free(identity->interpreter);
    *identity = (struct file_identity){.kind = FILE_UNKNOWN};
}
