#include "machine/riscv_boot.h"

#include <string.h>
#include <unistd.h>

#include "machine/riscv_board.h"
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

bool riscv_boot_load(struct riscv_board *board, struct riscv_boot *boot, GError **error)
{
    const struct machine *machine = &board->machine;
    uint64_t ram = board->info->ram_base, size = board->vm->ram_size;
    struct loader_image firmware = {.entry = ram, .end = ram}, kernel = {0}, initrd = {0};
    const char *firmware_path;

    board->loader = loader_new(ram, size);
    if (!find_firmware(machine, &firmware_path, error) ||
        (firmware_path &&
         !loader_add_executable(board->loader, firmware_path, ram, false, board->symbols,
                                board->n_symbols, &firmware, error))) {
        return false;
    }
    if (machine->kernel &&
        !loader_add_executable(board->loader, machine->kernel, align_up(firmware.end, kernel_align),
                               true, board->symbols, board->n_symbols, &kernel, error)) {
        return false;
    }
    if (machine->initrd) {
        /* Far behind the kernel, which takes more room once it runs. */
        uint64_t address = MAX(kernel.entry, ram) + MIN(size / 2, 512 * MiB);

        address = MAX(address, align_up(kernel.end, kernel_align));
        if (!machine->kernel) {
            g_set_error(error, QAPI_ERROR, QAPI_ERROR_GENERIC,
                        "-initrd needs a -kernel that takes it");
            return false;
        }
        if (!loader_add_file(board->loader, "initrd", machine->initrd, address, &initrd, error)) {
            return false;
        }
    }
    if (machine->append && !machine->kernel) {
        g_set_error(error, QAPI_ERROR, QAPI_ERROR_GENERIC,
                    "-append only allowed with -kernel option");
        return false;
    }
    *boot = (struct riscv_boot){
        .start = firmware.entry,
        .kernel_entry = kernel.entry,
        .initrd_start = initrd.start,
        .initrd_end = initrd.end,
    };
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
    if (machine->initrd) {
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
