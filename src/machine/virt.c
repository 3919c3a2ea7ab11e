/*
 * Board "virt": QEMU's machine of that name, at the same addresses, so that the same firmware,
 * kernels and device trees fit.
 */
#include <string.h>

#include "hw/intc/sifive_plic.h"
#include "hw/nvram/fw_cfg.h"
#include "hw/pci/gpex.h"
#include "machine/boot_order.h"
#include "machine/riscv_board.h"
#include "machine/riscv_boot.h"
#include "qapi/error.h"

enum {
    PLIC_BASE = 0xc000000, PLIC_SIZE = 0x600000, PLIC_SOURCES = 96,
    UART_IRQ = 10, RTC_IRQ = 11, PCIE_IRQ = 32, N_PCIE_IRQS = 4,
    TEST_POWEROFF = 0x5555, TEST_REBOOT = 0x7777,
    FLASH_BASE = 0x20000000, FLASH_SIZE = 0x2000000, N_FLASHES = 2,
};

/* The PCIe host bridge's windows. That of 64-bit memory is behind RAM, aligned to its size. */
static const uint64_t PCIE_PORTS = 0x3000000, PCIE_PORTS_SIZE = 0x10000;
static const uint64_t PCIE_ECAM = 0x30000000, PCIE_ECAM_SIZE = 0x10000000;
static const uint64_t PCIE_LOW = 0x40000000, PCIE_LOW_SIZE = 0x40000000;
static const uint64_t PCIE_HIGH_SIZE = UINT64_C(16) << 30;

struct virt_board {
    struct riscv_board board;
    char *pflash[N_FLASHES];    /* properties: the nodes of the flashes; NULL or "": none */
    struct mmio_device *plic, *fw_cfg;
    uint64_t pcie_high;         /* address */
    uint32_t plic_phandle, test_phandle;
};

/* One device: where it is, and its node in the tree. */
struct virt_device {
    const char *type, *name;    /* name: in the object tree */
    uint64_t address;
    uint64_t region_step;       /* bytes between its regions */
    unsigned irq;               /* of the PLIC; 0: none */
    const char *properties;
    const char *node, *compatible;  /* node: below /soc; NULL: described otherwise */
    uint64_t node_size;         /* bytes that its reg says */
    int serial;                 /* port + 1 of what has a chardev; 0: none */
    int flash;                  /* number + 1 of what has a drive; 0: none */
};

#define VIRTIO(n)                                                                                  \
    {"virtio-mmio", "virtio-mmio" #n, 0x10000000 + (n) * 0x1000, 0, n, NULL, "virtio_mmio",        \
     "virtio,mmio", 0x1000, 0}

#define FLASH(n)                                                                                   \
    {"cfi.pflash01", "virt.flash" #n, FLASH_BASE + (n) * FLASH_SIZE, 0, 0,                         \
     "name=virt.flash" #n                                                                          \
     ";num-blocks=128;sector-length=262144;width=4;device-width=2;id0=137;id1=24",                 \
     NULL, NULL, 0, 0, (n) + 1}

static const struct virt_device virt_devices[] = {
    VIRTIO(1), VIRTIO(2), VIRTIO(3), VIRTIO(4), VIRTIO(5), VIRTIO(6), VIRTIO(7), VIRTIO(8),
    {"riscv.sifive.test", "test", 0x100000, 0, 0, NULL, NULL, NULL, 0, 0},
    {"serial-mm", "serial", 0x10000000, 0, UART_IRQ, "regshift=0;baudbase=399193", "serial",
     "ns16550a", 0x100, 1},
    {"goldfish_rtc", "rtc", 0x101000, 0, RTC_IRQ, NULL, "rtc", "google,goldfish-rtc", 0x1000, 0},
    {"fw_cfg_mem", "fw_cfg", 0x10100000, 8, 0, NULL, NULL, NULL, 0, 0},
    FLASH(0), FLASH(1),
};

/* ---- Devices ---- */

static bool make_plic(struct virt_board *virt, GError **error)
{
    struct riscv_board *board = &virt->board;
    g_autoptr(GString) properties =
        g_string_new("num-sources=96;num-priorities=7;priority-base=0;"
                     "pending-base=4096;enable-base=8192;enable-stride=128;"
                     "context-base=2097152;context-stride=4096;aperture-size=6291456;"
                     "hart-config=");

    for (unsigned i = 0; i < board->n_harts; i++) {
        g_string_append(properties, i ? ",MS" : "MS");
    }
    virt->plic =
        riscv_board_add(board, "riscv.sifive.plic", "plic", properties->str, PLIC_BASE, 0, error);
    for (unsigned i = 0; virt->plic && i < board->n_harts; i++) {
        mmio_device_connect(virt->plic, 2 * i, riscv_board_pin(board, i, RISCV_IRQ_MEI));
        mmio_device_connect(virt->plic, 2 * i + 1, riscv_board_pin(board, i, RISCV_IRQ_SEI));
    }
    return virt->plic != NULL;
}

/* NULL: it has none. */
static const char *flash_drive(const struct virt_board *virt, unsigned n)
{
    return virt->pflash[n] && *virt->pflash[n] ? virt->pflash[n] : NULL;
}

/* The row's properties and those that the user's options set. NULL and *error. */
static char *properties_of(const struct virt_board *virt, const struct virt_device *d,
                           GError **error)
{
    const char *chardev =
        d->serial ? riscv_board_serial(&virt->board, (unsigned)d->serial - 1) : NULL;
    const char *drive = d->flash ? flash_drive(virt, (unsigned)d->flash - 1) : NULL;

    if (drive && !object_id_valid(drive)) {
        g_set_error(error, QAPI_ERROR, QAPI_ERROR_GENERIC,
                    "Property 'cfi.pflash01.drive' can't find value '%s'", drive);
        return NULL;
    }
    return drive     ? g_strdup_printf("%s;drive=%s", d->properties, drive)
           : chardev ? g_strdup_printf("%s;chardev=%s", d->properties, chardev)
                     : g_strdup(d->properties ? d->properties : "");
}

static struct mmio_device *make_device(struct virt_board *virt, const struct virt_device *d,
                                       GError **error)
{
    g_autofree char *properties = properties_of(virt, d, error);
    struct mmio_device *dev = NULL;

    if (properties) {
        dev = riscv_board_add(&virt->board, d->type, d->name, properties, d->address,
                              d->region_step, error);
    }
    if (dev && d->irq) {
        mmio_device_connect(dev, 0, sifive_plic_input(virt->plic, d->irq));
    }
    return dev;
}

static bool make_pcie(struct virt_board *virt, GError **error)
{
    struct riscv_board *board = &virt->board;
    uint64_t ram_end = board->info->ram_base + board->vm->ram_size;
    g_autofree char *properties = NULL;
    struct mmio_device *gpex;

    virt->pcie_high = (ram_end + PCIE_HIGH_SIZE - 1) / PCIE_HIGH_SIZE * PCIE_HIGH_SIZE;
    properties = g_strdup_printf(
        "x-ecam-size=%" PRIu64 ";x-below-4g-mmio-base=%" PRIu64 ";x-below-4g-mmio-size=%" PRIu64
        ";x-above-4g-mmio-base=%" PRIu64 ";x-above-4g-mmio-size=%" PRIu64,
        PCIE_ECAM_SIZE, PCIE_LOW, PCIE_LOW_SIZE, virt->pcie_high, PCIE_HIGH_SIZE);
    gpex = riscv_board_make(board, "gpex-pcihost", "pcie", properties, error);
    if (!gpex) {
        return false;
    }
    mmio_device_map(gpex, GPEX_ECAM, &board->system, PCIE_ECAM);
    mmio_device_map(gpex, GPEX_LOW, &board->system, PCIE_LOW);
    mmio_device_map(gpex, GPEX_PORTS, &board->system, PCIE_PORTS);
    mmio_device_map(gpex, GPEX_HIGH, &board->system, virt->pcie_high);
    for (unsigned i = 0; i < N_PCIE_IRQS; i++) {
        mmio_device_connect(gpex, i, sifive_plic_input(virt->plic, PCIE_IRQ + i));
    }
    return true;
}

static uint64_t flash_code(const struct riscv_board *board)
{
    return flash_drive((const struct virt_board *)board, 0) ? FLASH_BASE : 0;
}

/* What the firmware in memory starts is in flash. */
static bool runs_from_flash(const struct virt_board *virt)
{
    return flash_code(&virt->board) && g_strcmp0(virt->board.machine.firmware, "none") != 0;
}

static bool fill_fw_cfg(struct virt_board *virt, GError **error)
{
    const struct vm *vm = virt->board.vm;
    const struct qapi_boot_options *boot = vm->boot;
    g_autofree char *digits = g_strdelimit(g_strdup(vm->uuid), "-", ' ');
    guint8 uuid[16];
    const char *at = digits;

    for (size_t i = 0; i < sizeof(uuid); i++) {
        at += strspn(at, " ");
        uuid[i] = (guint8)(g_ascii_xdigit_value(at[0]) << 4 | g_ascii_xdigit_value(at[1]));
        at += 2;
    }
    g_autoptr(GBytes) uuid_bytes = g_bytes_new(uuid, sizeof(uuid));
    fw_cfg_add(virt->fw_cfg, FW_CFG_UUID, uuid_bytes);
    fw_cfg_add_integer(virt->fw_cfg, FW_CFG_NOGRAPHIC, 0, 2);
    fw_cfg_add_integer(virt->fw_cfg, FW_CFG_BOOT_MENU, boot && boot->has_menu && boot->menu, 2);
    fw_cfg_add_integer(virt->fw_cfg, FW_CFG_NB_CPUS, virt->board.n_harts, 2);
    if (boot && boot->has_reboot_timeout) {
        guint32 ms = GUINT32_TO_LE((guint32)boot->reboot_timeout);
        g_autoptr(GBytes) bytes = g_bytes_new(&ms, sizeof(ms));

        if (!fw_cfg_add_file(virt->fw_cfg, "etc/boot-fail-wait", bytes, error)) {
            return false;
        }
    }
    return !virt->board.machine.kernel || !runs_from_flash(virt) ||
           riscv_boot_offer_kernel(&virt->board, virt->fw_cfg, error);
}

static bool ready(struct riscv_board *board, GError **error)
{
    g_autofree char *bridge = g_strdup_printf("/pci@%" PRIx64, PCIE_ECAM);
    g_autoptr(GBytes) order = boot_order_new(board->vm, bridge);

    return !order ||
           fw_cfg_add_file(((struct virt_board *)board)->fw_cfg, "bootorder", order, error);
}

static bool make_devices(struct riscv_board *board, GError **error)
{
    struct virt_board *virt = (struct virt_board *)board;

    if (!make_plic(virt, error)) {
        return false;
    }
    for (size_t i = 0; i < G_N_ELEMENTS(virt_devices); i++) {
        struct mmio_device *dev = make_device(virt, &virt_devices[i], error);

        if (!dev) {
            return false;
        }
        if (g_str_equal(virt_devices[i].type, "fw_cfg_mem")) {
            virt->fw_cfg = dev;
        }
    }
    return fill_fw_cfg(virt, error) && make_pcie(virt, error);
}

/* ---- The device tree ---- */

static void describe_plic(struct virt_board *virt)
{
    static const uint32_t irqs[] = {RISCV_IRQ_MEI, RISCV_IRQ_SEI};
    static const char *const compatible[] = {"sifive,plic-1.0.0", "riscv,plic0", NULL};
    static const char path[] = "/soc/plic@c000000";
    struct fdt *fdt = virt->board.fdt;

    virt->plic_phandle = fdt_new_phandle(fdt);
    fdt_add_node(fdt, path);
    fdt_set(fdt, path, "#interrupt-cells", 1);
    fdt_set(fdt, path, "#address-cells", 0);
    fdt_set_strings(fdt, path, "compatible", compatible);
    fdt_set_empty(fdt, path, "interrupt-controller");
    riscv_board_describe_interrupts(&virt->board, path, irqs, G_N_ELEMENTS(irqs));
    fdt_set_reg(fdt, path, PLIC_BASE, PLIC_SIZE);
    fdt_set(fdt, path, "riscv,ndev", PLIC_SOURCES - 1);
    fdt_set(fdt, path, "phandle", virt->plic_phandle);
}

/* Cells of a 64-bit number. */
#define CELLS(value) (uint32_t)((uint64_t)(value) >> 32), (uint32_t)(value)

/* Which line a pin of a slot raises (PCI Bus Binding to Open Firmware, 4.3): the four slots of the
 * table stand for all, by the mask. */
static void describe_pcie_interrupts(struct virt_board *virt, const char *path)
{
    enum { UNIT_CELLS = 3, ROW = UNIT_CELLS + 3 };
    uint32_t cells[N_PCIE_IRQS * N_PCIE_IRQS * ROW] = {0}, *row = cells;

    for (unsigned slot = 0; slot < N_PCIE_IRQS; slot++) {
        for (unsigned pin = 0; pin < N_PCIE_IRQS; pin++, row += ROW) {
            row[0] = slot << 11;
            row[UNIT_CELLS] = pin + 1;
            row[UNIT_CELLS + 1] = virt->plic_phandle;
            row[UNIT_CELLS + 2] = PCIE_IRQ + (slot + pin) % N_PCIE_IRQS;
        }
    }
    fdt_set_cells(virt->board.fdt, path, "interrupt-map", cells, G_N_ELEMENTS(cells));
    fdt_set(virt->board.fdt, path, "interrupt-map-mask", (N_PCIE_IRQS - 1) << 11, 0, 0, 7);
}

static void describe_pcie(struct virt_board *virt)
{
    enum { PORTS = 0x1000000, MEMORY_32 = 0x2000000, MEMORY_64 = 0x3000000 };
    static const char path[] = "/soc/pci@30000000";
    struct fdt *fdt = virt->board.fdt;

    fdt_add_node(fdt, path);
    fdt_set(fdt, path, "#address-cells", 3);
    fdt_set(fdt, path, "#interrupt-cells", 1);
    fdt_set(fdt, path, "#size-cells", 2);
    fdt_set_string(fdt, path, "compatible", "pci-host-ecam-generic");
    fdt_set_string(fdt, path, "device_type", "pci");
    fdt_set(fdt, path, "linux,pci-domain", 0);
    fdt_set(fdt, path, "bus-range", 0, (PCIE_ECAM_SIZE >> 20) - 1);
    fdt_set_empty(fdt, path, "dma-coherent");
    fdt_set_reg(fdt, path, PCIE_ECAM, PCIE_ECAM_SIZE);
    fdt_set(fdt, path, "ranges",
            PORTS, CELLS(0), CELLS(PCIE_PORTS), CELLS(PCIE_PORTS_SIZE),
            MEMORY_32, CELLS(PCIE_LOW), CELLS(PCIE_LOW), CELLS(PCIE_LOW_SIZE),
            MEMORY_64, CELLS(virt->pcie_high), CELLS(virt->pcie_high), CELLS(PCIE_HIGH_SIZE));
    describe_pcie_interrupts(virt, path);
}

static void describe_device(struct virt_board *virt, const struct virt_device *d)
{
    struct fdt *fdt = virt->board.fdt;
    g_autofree char *path = g_strdup_printf("/soc/%s@%" PRIx64, d->node, d->address);

    fdt_add_node(fdt, path);
    fdt_set_string(fdt, path, "compatible", d->compatible);
    fdt_set_reg(fdt, path, d->address, d->node_size);
    fdt_set(fdt, path, "interrupt-parent", virt->plic_phandle);
    fdt_set(fdt, path, "interrupts", d->irq);
    if (d->serial) {
        fdt_set(fdt, path, "clock-frequency", 3686400);
        fdt_set_string(fdt, "/chosen", "stdout-path", path);
        fdt_add_node(fdt, "/aliases");
        fdt_set_string(fdt, "/aliases", "serial0", path);
    }
}

static void describe_test_action(struct virt_board *virt, const char *path, const char *compatible,
                                 uint32_t value)
{
    struct fdt *fdt = virt->board.fdt;

    fdt_add_node(fdt, path);
    fdt_set_string(fdt, path, "compatible", compatible);
    fdt_set(fdt, path, "regmap", virt->test_phandle);
    fdt_set(fdt, path, "offset", 0);
    fdt_set(fdt, path, "value", value);
}

static void describe_test(struct virt_board *virt)
{
    static const char *const compatible[] = {"sifive,test1", "sifive,test0", "syscon", NULL};
    static const char path[] = "/soc/test@100000";
    struct fdt *fdt = virt->board.fdt;

    virt->test_phandle = fdt_new_phandle(fdt);
    fdt_add_node(fdt, path);
    fdt_set_strings(fdt, path, "compatible", compatible);
    fdt_set_reg(fdt, path, 0x100000, 0x1000);
    fdt_set(fdt, path, "phandle", virt->test_phandle);
    describe_test_action(virt, "/reboot", "syscon-reboot", TEST_REBOOT);
    describe_test_action(virt, "/poweroff", "syscon-poweroff", TEST_POWEROFF);
}

static void describe_flash(struct fdt *fdt)
{
    static const char path[] = "/flash@20000000";

    fdt_add_node(fdt, path);
    fdt_set_string(fdt, path, "compatible", "cfi-flash");
    fdt_set(fdt, path, "reg", 0, FLASH_BASE, 0, FLASH_SIZE, 0, FLASH_BASE + FLASH_SIZE, 0,
            FLASH_SIZE);
    fdt_set(fdt, path, "bank-width", 4);
}

static void describe_fw_cfg(struct fdt *fdt)
{
    static const char path[] = "/fw-cfg@10100000";

    fdt_add_node(fdt, path);
    fdt_set_string(fdt, path, "compatible", "qemu,fw-cfg-mmio");
    fdt_set_reg(fdt, path, 0x10100000, 0x18);
    fdt_set_empty(fdt, path, "dma-coherent");
}

/* Which counters can count what (SBI 2.0, chapter 11): cycles and instructions, by the selectors of
 * SBI's hardware events. */
static void describe_pmu(struct riscv_board *board)
{
    enum { PROGRAMMABLE = 0x7fff8, CYCLE = 1, INSTRET = 4 };

    if (riscv_has(board->model, RISCV_EXT_ZIHPM)) {
        fdt_add_node(board->fdt, "/pmu");
        fdt_set_string(board->fdt, "/pmu", "compatible", "riscv,pmu");
        fdt_set(board->fdt, "/pmu", "riscv,event-to-mhpmcounters",
                1, 1, PROGRAMMABLE | CYCLE, 2, 2, PROGRAMMABLE | INSTRET);
    }
}

static void describe(struct riscv_board *board)
{
    struct virt_board *virt = (struct virt_board *)board;
    struct fdt *fdt = board->fdt;

    fdt_set_string(fdt, "/", "model", "riscv-virtio,qemu");
    fdt_set_string(fdt, "/", "compatible", "riscv-virtio");
    describe_plic(virt);
    for (size_t i = 0; i < G_N_ELEMENTS(virt_devices); i++) {
        if (virt_devices[i].node) {
            describe_device(virt, &virt_devices[i]);
        }
    }
    describe_pcie(virt);
    describe_test(virt);
    describe_flash(fdt);
    describe_fw_cfg(fdt);
    describe_pmu(board);
}

/* ---- The type ---- */

static const struct riscv_board_info virt_info = {
    .ram_name = "riscv_virt_board.ram",
    .rom_name = "riscv_virt_board.mrom",
    RISCV_BOARD_PLACES,
    .flash_code = flash_code,
    .make_devices = make_devices,
    .ready = ready,
    .describe = describe,
};

static void init(struct object *obj)
{
    riscv_board_init(obj, &virt_info);
}

static const struct machine_class virt_class = {
    .name = "virt",
    .description = "RISC-V VirtIO board",
    RISCV_BOARD_CLASS,
    .default_ram_id = "riscv_virt_board.ram",
    .block_interface = "virtio",
    .max_cpus = 512,
};

static const struct property properties[] = {
    PROPERTY("pflash0", virt_board, pflash[0], qapi_type_str, NULL,
             "Node name or ID of a block device to use as a backend"),
    PROPERTY("pflash1", virt_board, pflash[1], qapi_type_str, NULL,
             "Node name or ID of a block device to use as a backend"),
};

static const struct object_type virt_type = {
    .name = "virt-machine",
    .parent = "machine",
    .description = "RISC-V VirtIO board",
    .instance_size = sizeof(struct virt_board),
    .properties = properties,
    .n_properties = G_N_ELEMENTS(properties),
    .init = init,
    .class_data = &virt_class,
};
OBJECT_TYPE(virt_type);
