#include "monitor/hmp_debug.h"

#include <inttypes.h>
#include <string.h>

#include "accel/accel.h"
#include "dbt/mmu.h"
#include "machine/gdb_server.h"
#include "machine/vm.h"
#include "memory/memory.h"
#include "monitor/monitor_priv.h"

static bool fail(GError **error, const char *text)
{
    g_set_error_literal(error, QAPI_ERROR, QAPI_ERROR_GENERIC, text);
    return false;
}

static const struct machine_ops *ops_of(const struct hmp *hmp)
{
    const struct vm *vm = hmp->context.vm;

    return vm->machine ? vm->machine_class->ops : NULL;
}

/* NULL and *error: the machine has no vCPUs. */
static struct accel *accel_of(const struct hmp *hmp, GError **error)
{
    const struct machine_ops *ops = ops_of(hmp);

    if (!ops || !ops->accel) {
        fail(error, "No CPU available");
        return NULL;
    }
    return ops->accel(hmp->context.vm->machine);
}

/* The vCPU that the line is about. */
static unsigned cpu_of(const struct hmp *hmp)
{
    return (unsigned)MAX(hmp->cpu_index, 0);
}

/* ---- vCPUs ---- */

bool hmp_cpu(struct hmp *hmp, struct json_object *args, GError **error)
{
    const struct machine_ops *ops = ops_of(hmp);
    int64_t index = hmp_int(args, "index");

    if (!ops || index < 0 || index >= ops->n_cpus(hmp->context.vm->machine)) {
        hmp_print(hmp, "invalid CPU index\n");
        return true;
    }
    hmp->context.monitor->cpu_index = index;
    return true;
}

static void show_registers(struct hmp *hmp, struct accel *accel, unsigned index)
{
    struct vcpu *cpu = accel_cpu(accel, index);

    hmp_print(hmp, "\nCPU#%u\n", index);
    cpu->arch->dump(cpu, true, hmp->out);
}

bool hmp_info_registers(struct hmp *hmp, struct json_object *args, GError **error)
{
    struct accel *accel = accel_of(hmp, error);
    bool all = hmp_bool(args, "cpustate_all"),
         given = json_object_object_get_ex(args, "vcpu", NULL), held;
    int64_t index = given ? hmp_int(args, "vcpu") : cpu_of(hmp);

    if (!accel) {
        return false;
    }
    if (!all && (index < 0 || index >= accel_n_cpus(accel))) {
        hmp_print(hmp, "CPU#%" G_GINT64_FORMAT " not available\n", index);
        return true;
    }
    held = vm_hold(hmp->context.vm);
    for (unsigned i = 0; i < accel_n_cpus(accel); i++) {
        if (all || i == index) {
            show_registers(hmp, accel, i);
        }
    }
    vm_let_go(hmp->context.vm, held);
    return true;
}

bool hmp_nmi(struct hmp *hmp, struct json_object *args, GError **error)
{
    return hmp_call(hmp, "inject-nmi", NULL, NULL, error);
}

/* ---- Memory ---- */

/* What "/4xw" says. */
struct dump_format {
    unsigned count;
    struct memory_dump dump; /* format 'i': instructions */
};

static bool parse_format(const char *text, struct dump_format *f, GError **error)
{
    guint64 count = 1;
    char *end = (char *)text;

    *f = (struct dump_format){.dump = {.format = 'x'}};
    if (g_ascii_isdigit(*text)) {
        count = g_ascii_strtoull(text, &end, 10);
    }
    for (; *end; end++) {
        static const char sizes[] = "bhwg";
        const char *size = strchr(sizes, *end);

        if (size) {
            f->dump.size = 1u << (size - sizes);
        } else if (strchr("xduoci", *end)) {
            f->dump.format = *end;
        } else {
            g_set_error(error, QAPI_ERROR, QAPI_ERROR_GENERIC, "invalid char in format: '%c'",
                        g_ascii_isprint(*end) ? *end : '?');
            return false;
        }
    }
    if (!f->dump.size) {
        f->dump.size = f->dump.format == 'c' ? 1 : 4;
    }
    f->count = (unsigned)MIN(count, 1 << 20);
    return true;
}

/* Reads up to size bytes at address, of a vCPU (cpu < 0: guest-physical); returns how many there
 * are. */
static size_t read_memory(const struct hmp *hmp, int cpu, uint64_t address, uint8_t *data,
                          size_t size)
{
    struct vm *vm = hmp->context.vm;
    size_t done = 0;

    while (done < size) {
        uint64_t at = address + done, phys = at;
        size_t n = MIN(size - done, MMU_PAGE_SIZE - (at & (MMU_PAGE_SIZE - 1)));

        if ((cpu >= 0 && !ops_of(hmp)->cpu_translate(vm->machine, (unsigned)cpu, at, &phys)) ||
            address_space_read(vm->memory, phys, data + done, n, (struct memory_attrs){0}) !=
                MEMORY_OK) {
            break;
        }
        done += n;
    }
    return done;
}

static void dump_code(struct hmp *hmp, struct accel *accel, int cpu, uint64_t address,
                      unsigned count)
{
    const struct guest_arch *arch = accel_cpu(accel, cpu_of(hmp))->arch;

    for (unsigned i = 0; i < count; i++) {
        uint8_t bytes[16];
        char text[128], *operands;
        size_t there = read_memory(hmp, cpu, address, bytes, 4), n;

        n = there ? arch->disassemble(bytes, there, address, text, sizeof(text)) : 0;
        if (!n || n > there) {
            hmp_print(hmp, "0x%08" PRIx64 ":  Cannot access memory\n", address);
            return;
        }
        hmp_print(hmp, "0x%08" PRIx64 ":  ", address);
        for (size_t k = n; k-- > 0;) {
            hmp_print(hmp, "%02x", bytes[k]);
        }
        operands = strchr(text, '\t');
        if (operands) {
            *operands++ = '\0';
        }
        hmp_print(hmp, operands ? "%*s%-24s%s\n" : "%*s%s%s\n", 18 - 2 * (int)n, "", text,
                  operands ? operands : "");
        address += n;
    }
}

static void dump_items(struct hmp *hmp, const struct dump_format *f, int cpu, uint64_t address)
{
    unsigned size = f->dump.size, per_line = f->dump.format != 'c' && size == 1 ? 8 : 16 / size;

    for (unsigned left = f->count; left;) {
        uint8_t data[16];
        unsigned n = MIN(left, per_line);

        if (read_memory(hmp, cpu, address, data, n * size) < n * size) {
            hmp_print(hmp, "%016" PRIx64 ": Cannot access memory\n", address);
            return;
        }
        memory_dump_text(hmp->out, &f->dump, address, data, n);
        address += n * size;
        left -= n;
    }
}

static bool dump_memory(struct hmp *hmp, struct json_object *args, bool physical, GError **error)
{
    struct accel *accel = accel_of(hmp, error);
    const char *format = hmp_str(args, "fmt");
    uint64_t address = (uint64_t)hmp_int(args, "addr");
    int cpu = physical ? -1 : (int)cpu_of(hmp);
    struct dump_format f;
    bool held;

    if (!accel || !parse_format(format ? format : "", &f, error)) {
        return false;
    }
    held = vm_hold(hmp->context.vm);
    if (f.dump.format == 'i') {
        dump_code(hmp, accel, cpu, address, f.count);
    } else {
        dump_items(hmp, &f, cpu, address);
    }
    vm_let_go(hmp->context.vm, held);
    return true;
}

bool hmp_x(struct hmp *hmp, struct json_object *args, GError **error)
{
    return dump_memory(hmp, args, false, error);
}

bool hmp_xp(struct hmp *hmp, struct json_object *args, GError **error)
{
    return dump_memory(hmp, args, true, error);
}

bool hmp_gva2gpa(struct hmp *hmp, struct json_object *args, GError **error)
{
    struct vm *vm = hmp->context.vm;
    uint64_t address = (uint64_t)hmp_int(args, "addr"), phys;
    bool held, found;

    if (!accel_of(hmp, error)) {
        return false;
    }
    held = vm_hold(vm);
    found = ops_of(hmp)->cpu_translate(vm->machine, cpu_of(hmp), address, &phys);
    vm_let_go(vm, held);
    if (found) {
        hmp_print(hmp, "gpa: 0x%" PRIx64 "\n", phys);
    } else {
        hmp_print(hmp, "Unmapped\n");
    }
    return true;
}

bool hmp_gpa2hva(struct hmp *hmp, struct json_object *args, GError **error)
{
    uint64_t address = (uint64_t)hmp_int(args, "addr");
    struct memory_range range = {0};

    if (hmp->context.vm->memory) {
        address_space_look_up(hmp->context.vm->memory, address, &range);
    }
    if (!range.region) {
        hmp_print(hmp, "No memory is mapped at address 0x%" PRIx64 "\n", address);
        return true;
    }
    if (!range.host || !range.ram) {
        hmp_print(hmp, "Memory at address 0x%" PRIx64 " is not RAM\n", address);
        return true;
    }
    hmp_print(hmp, "Host virtual address for 0x%" PRIx64 " (%s) is %p\n", address,
              ram_block_name(range.ram), (void *)range.host);
    return true;
}

/* The sum of BSD's sum(1), 16 bits. */
bool hmp_sum(struct hmp *hmp, struct json_object *args, GError **error)
{
    uint64_t address = (uint64_t)hmp_int(args, "start");
    uint64_t left = (uint64_t)MAX(hmp_int(args, "size"), 0);
    unsigned sum = 0;

    if (!accel_of(hmp, error)) {
        return false;
    }
    while (left) {
        uint8_t data[4096] = {0};
        size_t n = MIN(left, sizeof(data));

        read_memory(hmp, -1, address, data, n);
        for (size_t i = 0; i < n; i++) {
            sum = ((sum >> 1 | sum << 15) + data[i]) & 0xffff;
        }
        address += n;
        left -= n;
    }
    hmp_print(hmp, "%05u\n", sum);
    return true;
}

bool hmp_memsave(struct hmp *hmp, struct json_object *args, GError **error)
{
    json_object_object_add(args, "cpu-index", json_object_new_int64(cpu_of(hmp)));
    return hmp_call(hmp, "memsave", args, NULL, error);
}

bool hmp_info_mem(struct hmp *hmp, struct json_object *args, GError **error)
{
    struct accel *accel = accel_of(hmp, error);
    struct vcpu *cpu = accel ? accel_cpu(accel, cpu_of(hmp)) : NULL;
    bool held;

    if (!accel) {
        return false;
    }
    held = vm_hold(hmp->context.vm);
    cpu->arch->list_mappings(cpu, hmp->out);
    vm_let_go(hmp->context.vm, held);
    return true;
}

bool hmp_info_mtree(struct hmp *hmp, struct json_object *args, GError **error)
{
    struct address_space *memory = hmp->context.vm->memory;
    g_autofree char *text = NULL;

    if (!memory) {
        return fail(error, "this machine has no memory");
    }
    text =
        address_space_describe_all(memory, hmp_bool(args, "flatview"), hmp_bool(args, "disabled"));
    hmp_print(hmp, "%s", text);
    return true;
}

/* ---- The translator, the debugger ---- */

bool hmp_info_jit(struct hmp *hmp, struct json_object *args, GError **error)
{
    struct accel *accel = accel_of(hmp, error);
    struct dbt_stats s;

    if (!accel) {
        return false;
    }
    dbt_get_stats(accel_dbt(accel), &s);
    hmp_print(hmp, "Translation buffer state:\n");
    hmp_print(hmp, "gen code size       %" PRIu64 "\n", s.host_bytes);
    hmp_print(hmp, "TB count            %" PRIu64 "\n", s.blocks);
    hmp_print(hmp, "TB avg instructions %.1f\n",
              s.blocks ? (double)s.guest_insns / (double)s.blocks : 0);
    hmp_print(hmp, "TB avg host size    %.0f bytes\n",
              s.blocks ? (double)s.host_bytes / (double)s.blocks : 0);
    hmp_print(hmp, "\nStatistics:\n");
    hmp_print(hmp, "TB flush count      %" PRIu64 "\n", s.flushes);
    hmp_print(hmp, "TB invalidate count %" PRIu64 "\n", s.invalidations);
    return true;
}

bool hmp_gdbserver(struct hmp *hmp, struct json_object *args, GError **error)
{
    const char *device = hmp_str(args, "device") ? hmp_str(args, "device") : "tcp::1234";

    if (!gdb_server_open(hmp->context.vm->gdb, device, error)) {
        g_prefix_error(error, "Could not open gdbserver on device '%s': ", device);
        return false;
    }
    if (g_str_equal(device, "none")) {
        hmp_print(hmp, "Disabled gdbserver\n");
    } else {
        hmp_print(hmp, "Waiting for gdb connection on device '%s'\n", device);
    }
    return true;
}
