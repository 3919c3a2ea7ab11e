#include "machine/riscv_board.h"

#include <string.h>

#include "chardev/chardev.h"
#include "debug/gdb_arch.h"
#include "hw/intc/riscv_aclint.h"
#include "machine/accel.h"
#include "machine/devices.h"
#include "machine/globals.h"
#include "machine/loader_device.h"
#include "machine/riscv_boot.h"
#include "machine/riscv_hart.h"
#include "memory/backend.h"
#include "qapi/keyval.h"

enum { TIMEBASE_FREQUENCY = 10000000 };     /* Hz */

/* ---- Harts ---- */

static enum accel_run handle_exit(struct vcpu *cpu, enum vcpu_exit reason)
{
    switch (riscv_system_handle_exit(cpu, reason)) {
    case RISCV_RUN_YIELD: return ACCEL_YIELD;
    case RISCV_RUN_WFI: return ACCEL_SLEEP;
    case RISCV_RUN_DEBUG: return ACCEL_DEBUG;
    default: return ACCEL_GO_ON;
    }
}

static const struct accel_guest riscv_guest = {
    .arch = &riscv64_system_arch,
    .mmu = &riscv_system_mmu_ops,
    .handle_exit = handle_exit,
    .has_work = riscv_has_pending_interrupt,
    .reset = riscv_system_reset,
};

static uint64_t hart_time(void *opaque)
{
    return riscv_aclint_time(((struct riscv_hart_slot *)opaque)->board->mtimer);
}

static uint64_t hart_nanoseconds(void *opaque)
{
    return (uint64_t)clocks_now(((struct riscv_hart_slot *)opaque)->board->hw.clocks,
                                CLOCK_VIRTUAL);
}

static void arm_timer(void *opaque, struct vcpu *cpu, uint64_t time)
{
    struct riscv_hart_slot *hart = opaque;

    if (time == UINT64_MAX) {
        timer_disarm(hart->timer);
    } else {
        timer_arm(hart->timer, riscv_aclint_deadline(hart->board->mtimer, time));
    }
}

static void arm_overflow(void *opaque, struct vcpu *cpu, uint64_t nanoseconds)
{
    struct riscv_hart_slot *hart = opaque;

    if (nanoseconds > INT64_MAX) {
        timer_disarm(hart->overflow);
    } else {
        timer_arm(hart->overflow, (int64_t)nanoseconds);
    }
}

static void timer_due(void *opaque)
{
    riscv_timer_expired(((struct riscv_hart_slot *)opaque)->cpu);
}

/* A guest moved mtime: what harts wait for may be due now, or later. */
static void time_changed(void *opaque)
{
    struct riscv_board *board = opaque;

    for (unsigned i = 0; i < board->n_harts; i++) {
        riscv_timer_expired(board->harts[i].cpu);
    }
}

static void wake(void *opaque, struct vcpu *cpu)
{
    accel_wake(cpu);
}

static void init_hart(struct riscv_board *board, unsigned i)
{
    struct riscv_hart_slot *hart = &board->harts[i];
    struct riscv_system_config config = {
        .memory = board->hw.memory,
        .log = board->hw.log,
        .hart_id = i,
        .reset_pc = board->info->rom_base,
        .time = hart_time,
        .nanoseconds = hart_nanoseconds,
        .arm_timer = arm_timer,
        .arm_overflow = arm_overflow,
        .wake = wake,
        .opaque = hart,
    };

    riscv_system_init(hart->cpu, &config);
}

static bool make_harts(struct riscv_board *board, GError **error)
{
    struct vm *vm = board->vm;
    const struct tcg_accel *tcg = (struct tcg_accel *)object_child(vm->root, "accel");
    struct accel_config config = {
        .guest = &riscv_guest,
        .memory = board->hw.memory,
        .log = board->hw.log,
        .cache_size = tcg->tb_size * 1024 * 1024,
        .interpreter = tcg->interpreter,
        .one_insn = tcg->one_insn_per_tb,
    };
    struct object *objects;

    board->model = riscv_model_parse_machine(vm->cpu_model ? vm->cpu_model : "rv64", error);
    board->n_harts = vm->n_cpus;
    objects = board->model ? riscv_harts_new(&board->machine.object, board->n_harts, error) : NULL;
    if (!objects) {
        return false;
    }
    config.model = board->model;
    config.n_cpus = board->n_harts;
    board->accel = accel_new(&config, error);
    if (!board->accel) {
        return false;
    }
    board->harts = g_new0(struct riscv_hart_slot, board->n_harts);
    for (unsigned i = 0; i < board->n_harts; i++) {
        struct riscv_hart_slot *hart = &board->harts[i];

        hart->board = board;
        hart->cpu = accel_cpu(board->accel, i);
        riscv_hart_connect(objects, i, hart->cpu);
        hart->timer = timer_new(vm->loop, vm->clocks, CLOCK_VIRTUAL, timer_due, hart);
        hart->overflow = timer_new(vm->loop, vm->clocks, CLOCK_VIRTUAL, timer_due, hart);
    }
    return true;
}

struct irq_line riscv_board_pin(struct riscv_board *board, unsigned hart, enum riscv_irq irq)
{
    return (struct irq_line){.fn = riscv_set_irq, .opaque = board->harts[hart].cpu, .n = irq};
}

/* ---- Memory and devices ---- */

static bool make_memory(struct riscv_board *board, GError **error)
{
    const struct riscv_board_info *info = board->info;
    struct memory_backend *backend = (struct memory_backend *)board->machine.memory_backend;

    if (board->vm->ram_size > info->max_ram_size) {
        g_set_error(error, QAPI_ERROR, QAPI_ERROR_GENERIC,
                    "this machine takes at most %" G_GUINT64_FORMAT " MiB of memory",
                    info->max_ram_size >> 20);
        return false;
    }
    board->ram = ram_block_new_backend(info->ram_name, backend, error);
    board->rom = board->ram ? ram_block_new(info->rom_name, info->rom_size, error) : NULL;
    if (!board->rom) {
        return false;
    }
    region_init_ram(&board->ram_region, info->ram_name, board->ram, 0, ram_block_size(board->ram));
    region_init_rom(&board->rom_region, info->rom_name, board->rom, 0, info->rom_size, NULL, NULL,
                    NULL);
    region_add(&board->system, info->ram_base, &board->ram_region, 0);
    region_add(&board->system, info->rom_base, &board->rom_region, 0);
    return true;
}

struct mmio_device *riscv_board_make(struct riscv_board *board, const char *type, const char *name,
                                     const char *properties, GError **error)
{
    g_auto(GStrv) pairs = g_strsplit(properties ? properties : "", ";", -1);
    g_autoptr(json_object) json = json_object_new_object();
    struct mmio_device *dev;

    /* Numbers as numbers, the rest as text. */
    for (size_t i = 0; pairs[i] && *pairs[i]; i++) {
        char *value = strchr(pairs[i], '=');
        guint64 number;

        *value++ = '\0';
        json_object_object_add(json, pairs[i],
                               g_ascii_string_to_unsigned(value, 10, 0, G_MAXUINT64, &number, NULL)
                                   ? json_object_new_uint64(number)
                                   : json_object_new_string(value));
    }
    if (!globals_apply_json(board->vm->globals, object_type_find(type), json, error)) {
        return NULL;
    }
    dev = mmio_device_new(&board->hw, type, &board->machine.object, name, json, error);
    if (dev) {
        g_ptr_array_add(board->devices, dev);
    }
    return dev;
}

struct mmio_device *riscv_board_add(struct riscv_board *board, const char *type, const char *name,
                                    const char *properties, uint64_t address, uint64_t step,
                                    GError **error)
{
    struct mmio_device *dev = riscv_board_make(board, type, name, properties, error);

    for (unsigned i = 0; dev && i < dev->n_regions; i++) {
        mmio_device_map(dev, i, &board->system, address + i * step);
    }
    return dev;
}

const char *riscv_board_serial(const struct riscv_board *board, unsigned port)
{
    const GPtrArray *serials = board->vm->serials;

    return port < serials->len && serials->pdata[port] ? chardev_id(serials->pdata[port]) : NULL;
}

/* Software interrupts and timers, in the order of a CLINT's registers. */
static bool make_clint(struct riscv_board *board, GError **error)
{
    g_autofree char *swi_properties = g_strdup_printf("num-harts=%u", board->n_harts);
    g_autofree char *timer_properties =
        g_strdup_printf("num-harts=%u;timebase-freq=%u;aperture-size=%u;time-base=%u",
                        board->n_harts, TIMEBASE_FREQUENCY, 0x8000, 0x7ff8);
    struct mmio_device *swi = riscv_board_add(board, "riscv.aclint.swi", "mswi", swi_properties,
                                              board->info->clint_base, 0, error);

    board->mtimer = swi ? riscv_board_add(board, "riscv.aclint.mtimer", "mtimer", timer_properties,
                                          board->info->clint_base + 0x4000, 0, error) : NULL;
    if (!board->mtimer) {
        return false;
    }
    for (unsigned i = 0; i < board->n_harts; i++) {
        mmio_device_connect(swi, i, riscv_board_pin(board, i, RISCV_IRQ_MSI));
        mmio_device_connect(board->mtimer, i, riscv_board_pin(board, i, RISCV_IRQ_MTI));
    }
    riscv_aclint_on_change(board->mtimer, time_changed, board);
    return true;
}

/* ---- The device tree ---- */

void riscv_board_describe_interrupts(struct riscv_board *board, const char *path,
                                     const uint32_t *irqs, size_t n)
{
    g_autofree uint32_t *cells = g_new(uint32_t, board->n_harts * n * 2);
    uint32_t *cell = cells;

    for (unsigned i = 0; i < board->n_harts; i++) {
        for (size_t j = 0; j < n; j++) {
            *cell++ = board->intc_phandles[i];
            *cell++ = irqs[j];
        }
    }
    fdt_set_cells(board->fdt, path, "interrupts-extended", cells, board->n_harts * n * 2);
}

static void describe_isa(struct riscv_board *board, const char *path)
{
    g_autofree char *isa = riscv_model_machine_isa_string(board->model);
    g_auto(GStrv) parts = g_strsplit(isa, "_", -1);
    g_autoptr(GPtrArray) names = g_ptr_array_new_with_free_func(g_free);

    for (const char *letter = parts[0] + strlen("rv64"); *letter; letter++) {
        g_ptr_array_add(names, g_strndup(letter, 1));
    }
    for (size_t i = 1; parts[i]; i++) {
        g_ptr_array_add(names, g_strdup(parts[i]));
    }
    g_ptr_array_add(names, NULL);
    fdt_set_string(board->fdt, path, "riscv,isa", isa);
    fdt_set_string(board->fdt, path, "riscv,isa-base", "rv64i");
    fdt_set_strings(board->fdt, path, "riscv,isa-extensions", (const char *const *)names->pdata);
}

static const char *mmu_type(const struct riscv_model *model)
{
    switch (model->satp_mode) {
    case RISCV_SATP_SV39: return "riscv,sv39";
    case RISCV_SATP_SV48: return "riscv,sv48";
    case RISCV_SATP_SV57: return "riscv,sv57";
    default: return "riscv,none";
    }
}

/* Returns the hart's own phandle. */
static uint32_t describe_hart(struct riscv_board *board, unsigned i)
{
    static const struct {
        enum riscv_ext ext;
        const char *name;
    } blocks[] = {
        {RISCV_EXT_ZICBOM, "riscv,cbom-block-size"},
        {RISCV_EXT_ZICBOZ, "riscv,cboz-block-size"},
        {RISCV_EXT_ZICBOP, "riscv,cbop-block-size"},
    };
    struct fdt *fdt = board->fdt;
    g_autofree char *path = g_strdup_printf("/cpus/cpu@%x", i);
    g_autofree char *intc = g_strconcat(path, "/interrupt-controller", NULL);
    uint32_t phandle = fdt_new_phandle(fdt);

    fdt_add_node(fdt, path);
    fdt_set_string(fdt, path, "mmu-type", mmu_type(board->model));
    describe_isa(board, path);
    for (size_t b = 0; b < G_N_ELEMENTS(blocks); b++) {
        if (riscv_has(board->model, blocks[b].ext)) {
            fdt_set(fdt, path, blocks[b].name, 64);
        }
    }
    fdt_set_string(fdt, path, "compatible", "riscv");
    fdt_set_string(fdt, path, "status", "okay");
    fdt_set(fdt, path, "reg", i);
    fdt_set_string(fdt, path, "device_type", "cpu");
    fdt_set(fdt, path, "phandle", phandle);
    fdt_add_node(fdt, intc);
    board->intc_phandles[i] = fdt_new_phandle(fdt);
    fdt_set(fdt, intc, "phandle", board->intc_phandles[i]);
    fdt_set_string(fdt, intc, "compatible", "riscv,cpu-intc");
    fdt_set_empty(fdt, intc, "interrupt-controller");
    fdt_set(fdt, intc, "#interrupt-cells", 1);
    return phandle;
}

static void describe_harts(struct riscv_board *board)
{
    struct fdt *fdt = board->fdt;

    fdt_add_node(fdt, "/cpus");
    fdt_set(fdt, "/cpus", "timebase-frequency", TIMEBASE_FREQUENCY);
    fdt_set(fdt, "/cpus", "#size-cells", 0);
    fdt_set(fdt, "/cpus", "#address-cells", 1);
    fdt_add_node(fdt, "/cpus/cpu-map");
    fdt_add_node(fdt, "/cpus/cpu-map/cluster0");
    board->intc_phandles = g_new(uint32_t, board->n_harts);
    for (unsigned i = board->n_harts; i-- > 0;) {
        g_autofree char *core = g_strdup_printf("/cpus/cpu-map/cluster0/core%u", i);
        uint32_t phandle = describe_hart(board, i);

        fdt_add_node(fdt, core);
        fdt_set(fdt, core, "cpu", phandle);
    }
}

static void describe_clint(struct riscv_board *board)
{
    static const uint32_t irqs[] = {RISCV_IRQ_MSI, RISCV_IRQ_MTI};
    static const char *const compatible[] = {"sifive,clint0", "riscv,clint0", NULL};
    g_autofree char *path = g_strdup_printf("/soc/clint@%" PRIx64, board->info->clint_base);

    fdt_add_node(board->fdt, path);
    fdt_set_strings(board->fdt, path, "compatible", compatible);
    fdt_set_reg(board->fdt, path, board->info->clint_base, 0x10000);
    riscv_board_describe_interrupts(board, path, irqs, G_N_ELEMENTS(irqs));
}

static void make_tree(struct riscv_board *board)
{
    struct fdt *fdt = fdt_new();
    g_autofree char *memory = g_strdup_printf("/memory@%" PRIx64, board->info->ram_base);

    board->fdt = fdt;
    fdt_set(fdt, "/", "#size-cells", 2);
    fdt_set(fdt, "/", "#address-cells", 2);
    fdt_add_node(fdt, "/soc");
    fdt_set_empty(fdt, "/soc", "ranges");
    fdt_set_string(fdt, "/soc", "compatible", "simple-bus");
    fdt_set(fdt, "/soc", "#size-cells", 2);
    fdt_set(fdt, "/soc", "#address-cells", 2);
    fdt_add_node(fdt, "/chosen");
    describe_harts(board);
    fdt_add_node(fdt, memory);
    fdt_set_reg(fdt, memory, board->info->ram_base, board->vm->ram_size);
    fdt_set_string(fdt, memory, "device_type", "memory");
    describe_clint(board);
    board->info->describe(board);
}

/* -dtb's tree in place of our own. */
static bool load_tree(struct riscv_board *board, GError **error)
{
    const char *path = board->machine.dtb;
    g_autoptr(GBytes) blob = loader_read_file("device tree", path, 1 << 20, error);

    if (!blob) {
        return false;
    }
    board->fdt = fdt_new_from(g_bytes_get_data(blob, NULL), g_bytes_get_size(blob), error);
    if (!board->fdt) {
        g_prefix_error(error, "device tree %s: ", path);
        return false;
    }
    fdt_add_node(board->fdt, "/chosen");
    return true;
}

static bool dump_tree(struct riscv_board *board, GError **error)
{
    const char *path = board->machine.dumpdtb;
    gsize size;
    const char *data = g_bytes_get_data(board->dtb, &size);

    if (!g_file_set_contents(path, data, (gssize)size, error)) {
        g_prefix_error(error, "dumpdtb=%s: ", path);
        return false;
    }
    log_error(board->hw.log, "dtb dumped to %s. Exiting.", path);
    return board->vm->done = true;
}

/* ---- The machine ---- */

static void request_shutdown(struct vm *vm, bool failed, int status)
{
    vm_request_guest_shutdown(vm, failed ? status : 0);
}

static void request_reset(struct vm *vm)
{
    vm_request_reset(vm, QAPI_SHUTDOWN_CAUSE_GUEST_RESET);
}

static struct qapi_event_sink *event_sink(struct vm *vm)
{
    return vm->events;
}

static const struct hw_vm_ops vm_ops = {
    .shutdown = request_shutdown,
    .reset = request_reset,
    .stop = vm_request_stop,
    .events = event_sink,
    .unplug = vm_unplug,
    .unplug_refused = vm_unplug_refused,
};

static void reset(struct machine *machine)
{
    struct riscv_board *board = (struct riscv_board *)machine;
    GError *error = NULL;

    for (guint i = 0; i < board->devices->len; i++) {
        mmio_device_reset(board->devices->pdata[i]);
    }
    if (!loader_write(board->loader, board->hw.memory, &error)) {
        log_error(board->hw.log, "%s", error->message);
        g_error_free(error);
        vm_request_shutdown(board->hw.vm, QAPI_SHUTDOWN_CAUSE_HOST_ERROR);
    }
    accel_reset(board->accel);
}

static bool create(struct vm *vm, struct machine *machine, GError **error)
{
    struct riscv_board *board = (struct riscv_board *)machine;

    board->vm = vm;
    region_init_container(&board->system, "system", 0);
    vm->memory = address_space_new("memory", &board->system);
    board->hw = (struct hw_context){
        .loop = vm->loop,
        .clocks = vm->clocks,
        .log = vm->log,
        .memory = vm->memory,
        .ram_size = vm->ram_size,
        .n_cpus = vm->n_cpus,
        .date_offset = vm->date_offset,
        .blocks = vm->blocks,
        .vm = vm,
        .vm_ops = &vm_ops,
    };
    board->devices = g_ptr_array_new();
    for (size_t i = 0; board->info->symbols && board->info->symbols[i]; i++) {
        board->symbols[board->n_symbols++].name = board->info->symbols[i];
    }
    address_space_begin_changes(vm->memory);
    bool ok = make_memory(board, error) && make_harts(board, error) && make_clint(board, error);
    struct riscv_boot boot;

    ok = ok && riscv_boot_load(board, &boot, error) && board->info->make_devices(board, error);
    address_space_end_changes(vm->memory);
    if (!ok) {
        return false;
    }
    if (!machine->dtb) {
        make_tree(board);
    } else if (!load_tree(board, error)) {
        return false;
    }
    if (!riscv_boot_finish(board, &boot, error)) {
        return false;
    }
    if (machine->dumpdtb) {
        return dump_tree(board, error);
    }
    for (unsigned i = 0; i < board->n_harts; i++) {
        init_hart(board, i);
    }
    return true;
}

static void destroy(struct machine *machine)
{
    struct riscv_board *board = (struct riscv_board *)machine;

    g_clear_pointer(&board->accel, accel_free);
    for (guint i = board->devices->len; i-- > 0;) {
        object_remove(board->devices->pdata[i]);
    }
    for (unsigned i = 0; board->harts && i < board->n_harts; i++) {
        timer_free(board->harts[i].timer);
        timer_free(board->harts[i].overflow);
    }
    g_clear_pointer(&board->harts, g_free);
    g_clear_pointer(&board->devices, g_ptr_array_unref);
    if (board->rom) {
        region_remove(&board->ram_region);
        region_remove(&board->rom_region);
        region_clear(&board->ram_region);
        region_clear(&board->rom_region);
    }
    address_space_free(board->hw.memory);
    region_clear(&board->system);
    g_clear_pointer(&board->ram, ram_block_unref);
    g_clear_pointer(&board->rom, ram_block_unref);
    g_clear_pointer(&board->model, riscv_model_free);
    g_clear_pointer(&board->loader, loader_free);
    g_clear_pointer(&board->fdt, fdt_free);
    g_clear_pointer(&board->dtb, g_bytes_unref);
    g_clear_pointer(&board->intc_phandles, g_free);
}

static void start(struct machine *machine)
{
    accel_start(((struct riscv_board *)machine)->accel);
}

static void stop(struct machine *machine)
{
    accel_stop(((struct riscv_board *)machine)->accel);
}

static unsigned n_cpus(const struct machine *machine)
{
    return ((const struct riscv_board *)machine)->n_harts;
}

static pid_t cpu_thread_id(const struct machine *machine, unsigned cpu)
{
    return accel_thread_id(((const struct riscv_board *)machine)->accel, cpu);
}

static char *cpu_path(const struct machine *machine, unsigned cpu)
{
    g_autofree char *name = riscv_hart_name(cpu);
    g_autofree char *path = object_path(&machine->object);

    return g_strdup_printf("%s/soc0/%s", path, name);
}

static bool cpu_translate(const struct machine *machine, unsigned cpu, uint64_t vaddr,
                          uint64_t *phys)
{
    return riscv_debug_translate(((const struct riscv_board *)machine)->harts[cpu].cpu, vaddr,
                                 phys);
}

static struct accel *board_accel(const struct machine *machine)
{
    return ((const struct riscv_board *)machine)->accel;
}

static GBytes *device_tree(const struct machine *machine)
{
    return ((const struct riscv_board *)machine)->dtb;
}

static bool plug(struct machine *machine, struct object *device, GError **error)
{
    struct riscv_board *board = (struct riscv_board *)machine;
    uint64_t pc = 0;
    int cpu = -1;

    if (!object_is(device, "loader")) {
        g_set_error(error, QAPI_ERROR, QAPI_ERROR_GENERIC, "Device '%s' needs a bus",
                    device->type->name);
        return false;
    }
    if (!loader_device_load(device, board->loader, board->n_harts, &cpu, &pc, error)) {
        return false;
    }
    if (cpu >= 0) {
        riscv_system_set_reset_pc(board->harts[cpu].cpu, pc);
    }
    return true;
}

const char *const riscv_board_archs[] = {"riscv64", NULL};

static bool ready(struct machine *machine, GError **error)
{
    struct riscv_board *board = (struct riscv_board *)machine;

    return !board->info->ready || board->info->ready(board, error);
}

const struct machine_ops riscv_board_ops = {
    .create = create,
    .ready = ready,
    .plug = plug,
    .destroy = destroy,
    .start = start,
    .stop = stop,
    .reset = reset,
    .n_cpus = n_cpus,
    .cpu_thread_id = cpu_thread_id,
    .cpu_path = cpu_path,
    .cpu_translate = cpu_translate,
    .accel = board_accel,
    .gdb_arch = &gdb_arch_riscv64_system,
    .device_tree = device_tree,
};

void riscv_board_init(struct object *obj, const struct riscv_board_info *info)
{
    ((struct riscv_board *)obj)->info = info;
}
