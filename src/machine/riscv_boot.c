#include "machine/riscv_boot.h"

#include <string.h>
#include <unistd.h>

#include "hw/nvram/fw_cfg.h"
#include "machine/riscv_board.h"
#include "machine/unpack.h"
#include "qapi/error.h"
#include "util/guest_random.h"

#define MiB (UINT64_C(1) << 20)

/* Where Debian's package opensbi puts it. */
#define DEFAULT_FIRMWARE "/usr/lib/riscv64-linux-gnu/opensbi/generic/fw_dynamic.bin"

/* Linux wants to be at a multiple of its largest page that it maps itself with. */
static const uint64_t kernel_align = 2 * MiB;

static uint64_t align_up(uint64_t address, uint64_t to)
{
    return (address + to - 1) & ~(to - 1);
}

/* NULL: none. False: the default one isn't there. */
static bool find_firmware(const struct machine *machine, const char **path, GError **error)
{
    const char *name = machine->firmware ? machine->firmware : "default";

    *path = g_str_equal(name, "none") ? NULL
            : g_str_equal(name, "default") ? DEFAULT_FIRMWARE : name;
    if (*path == name || !*path || access(*path, R_OK) == 0) {
        return true;
    }
    g_set_error(
        error, QAPI_ERROR, QAPI_ERROR_GENERIC,
        "the firmware %s isn't there: install the package opensbi, or name another with -bios "
        "(none: start at the kernel)",
        *path);
    return false;
}

/* What is only for a kernel. */
static bool check_kernel(const struct machine *machine, GError **error)
{
    if (machine->initrd && !machine->kernel) {
        g_set_error(error, QAPI_ERROR, QAPI_ERROR_GENERIC, "-initrd needs a -kernel that takes it");
        return false;
    }
    if (machine->append && !machine->kernel) {
        g_set_error(error, QAPI_ERROR, QAPI_ERROR_GENERIC,
                    "-append only allowed with -kernel option");
        return false;
    }
    return true;
}

/* The kernel, and its initial RAM disk, behind the firmware. */
static bool load_kernel(struct riscv_board *board, uint64_t firmware_end, struct riscv_boot *boot,
                        GError **error)
{
    const struct machine *machine = &board->machine;
    uint64_t ram = board->info->ram_base, size = board->vm->ram_size, address;
    struct loader_image kernel = {0}, initrd = {0};

    if (!loader_add_executable(board->loader, machine->kernel, align_up(firmware_end, kernel_align),
                               true, board->symbols, board->n_symbols, &kernel, error)) {
        return false;
    }
    boot->kernel_entry = kernel.entry;
    if (machine->initrd) {
        /* Far behind the kernel, which takes more room once it runs. */
        address = MAX(kernel.entry, ram) + MIN(size / 2, 512 * MiB);
        address = MAX(address, align_up(kernel.end, kernel_align));
        if (!loader_add_file(board->loader, "initrd", machine->initrd, address, &initrd, error)) {
            return false;
        }
        boot->initrd_start = initrd.start;
        boot->initrd_end = initrd.end;
    }
    return true;
}

bool riscv_boot_load(struct riscv_board *board, struct riscv_boot *boot, GError **error)
{
    const struct machine *machine = &board->machine;
    uint64_t ram = board->info->ram_base;
    uint64_t flash = board->info->flash_code ? board->info->flash_code(board) : 0;
    struct loader_image firmware = {.entry = ram, .end = ram};
    const char *firmware_path;

    *boot = (struct riscv_boot){0};
    board->loader = loader_new(ram, board->vm->ram_size);
    if (!check_kernel(machine, error) || !find_firmware(machine, &firmware_path, error) ||
        (firmware_path &&
         !loader_add_executable(board->loader, firmware_path, ram, false, board->symbols,
                                board->n_symbols, &firmware, error))) {
        return false;
    }
    boot->start = flash && !firmware_path ? flash : firmware.entry;
    if (flash && firmware_path) {
        boot->kernel_entry = flash;
        return true;
    }
    return !machine->kernel || load_kernel(board, firmware.end, boot, error);
}

static bool offer_file(struct riscv_board *board, struct mmio_device *fw_cfg, const char *what,
                       const char *path, enum fw_cfg_key size, enum fw_cfg_key data,
                       GError **error)
{
    uint64_t max = MIN(board->vm->ram_size, UINT32_MAX);
    g_autoptr(GBytes) file = loader_read_file(what, path, max, error);
    g_autoptr(GBytes) bytes = NULL;

    if (!file) {
        return false;
    }
    bytes = size == FW_CFG_KERNEL_SIZE ? unpack_kernel(file, max, error) : g_bytes_ref(file);
    if (!bytes) {
        g_prefix_error(error, "%s %s: ", what, path);
        return false;
    }
    fw_cfg_add_integer(fw_cfg, size, g_bytes_get_size(bytes), 4);
    fw_cfg_add(fw_cfg, data, bytes);
    return true;
}

bool riscv_boot_offer_kernel(struct riscv_board *board, struct mmio_device *fw_cfg, GError **error)
{
    const struct machine *machine = &board->machine;

    if (!offer_file(board, fw_cfg, "kernel", machine->kernel, FW_CFG_KERNEL_SIZE,
                    FW_CFG_KERNEL_DATA, error) ||
        (machine->initrd && !offer_file(board, fw_cfg, "initrd", machine->initrd,
                                        FW_CFG_INITRD_SIZE, FW_CFG_INITRD_DATA, error))) {
        return false;
    }
    if (machine->append) {
        fw_cfg_add_integer(fw_cfg, FW_CFG_CMDLINE_SIZE, strlen(machine->append) + 1, 4);
        fw_cfg_add_text(fw_cfg, FW_CFG_CMDLINE_DATA, machine->append);
    }
    return true;
}

static void set_address(struct fdt *fdt, const char *name, uint64_t address)
{
    fdt_set(fdt, "/chosen", name, (uint32_t)(address >> 32), (uint32_t)address);
}

static void describe_boot(struct riscv_board *board, const struct riscv_boot *boot)
{
    const struct machine *machine = &board->machine;
    uint32_t seed[8];

    guest_random_fill(board->vm->object_context.random, seed, sizeof(seed));
    fdt_set_cells(board->fdt, "/chosen", "rng-seed", seed, G_N_ELEMENTS(seed));
    if (boot->initrd_end) {
        set_address(board->fdt, "linux,initrd-start", boot->initrd_start);
        set_address(board->fdt, "linux,initrd-end", boot->initrd_end);
    }
    if (machine->append && *machine->append) {
        fdt_set_string(board->fdt, "/chosen", "bootargs", machine->append);
    }
}

/* OpenSBI's include/sbi/fw_dynamic.h */
struct fw_dynamic_info {
    uint64_t magic, version;
    uint64_t next_address, next_mode;
    uint64_t options, boot_hart;
};

struct boot_rom {
    uint32_t code[6];
    uint64_t start, tree;
    struct fw_dynamic_info info;
};

static void fill_rom(struct riscv_board *board, const struct riscv_boot *boot, uint64_t tree)
{
    const struct boot_rom rom = {
        .code = {
            0x00000297,     /* auipc t0, 0 */
            0x02828613,     /* addi  a2, t0, 40: info */
            0xf1402573,     /* csrr  a0, mhartid */
            0x0202b583,     /* ld    a1, 32(t0): tree */
            0x0182b283,     /* ld    t0, 24(t0): start */
            0x00028067,     /* jr    t0 */
        },
        .start = boot->start,
        .tree = tree,
        .info = {
            .magic = 0x4942534f,    /* "OSBI" */
            .version = 2,
            .next_address = boot->kernel_entry,
            .next_mode = 1,         /* supervisor */
        },
    };

    memcpy(ram_block_host(board->rom), &rom, sizeof(rom));
}

bool riscv_boot_finish(struct riscv_board *board, const struct riscv_boot *boot, GError **error)
{
    uint64_t size, address;

    describe_boot(board, boot);
    board->dtb = fdt_to_bytes(board->fdt);
    size = g_bytes_get_size(board->dtb);
    if (size > board->vm->ram_size) {
        g_set_error(error, QAPI_ERROR, QAPI_ERROR_GENERIC,
                    "the device tree doesn't fit into the machine's memory");
        return false;
    }
    address = (board->info->ram_base + board->vm->ram_size - size) & ~(2 * MiB - 1);
    if (!loader_add_bytes(board->loader, "device tree", address, board->dtb, error)) {
        return false;
    }
    fill_rom(board, boot, address);
    return true;
}
