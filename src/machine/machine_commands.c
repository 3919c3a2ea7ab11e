/* QMP commands on the machine and its run state. */
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "guest/riscv/riscv.h"
#include "machine/machine.h"
#include "machine/vm.h"
#include "memory/memory.h"
#include "qapi/qapi_commands.h"

static bool fail(GError **error, const char *text)
{
    g_set_error_literal(error, QAPI_ERROR, QAPI_ERROR_GENERIC, text);
    return false;
}

bool qmp_query_status(struct qmp_context *ctx, struct qapi_status_info *ret, GError **error)
{
    ret->running = vm_is_running(ctx->vm);
    ret->status = ctx->vm->state;
    return true;
}

bool qmp_query_name(struct qmp_context *ctx, struct qapi_name_info *ret, GError **error)
{
    ret->name = g_strdup(ctx->vm->name);
    return true;
}

bool qmp_query_uuid(struct qmp_context *ctx, struct qapi_uuid_info *ret, GError **error)
{
    ret->UUID = g_strdup(ctx->vm->uuid);
    return true;
}

bool qmp_query_target(struct qmp_context *ctx, struct qapi_target_info *ret, GError **error)
{
    int arch = qapi_enum_parse(&qapi_type_sys_emu_target, ctx->vm->arch, error);

    ret->arch = MAX(arch, 0);
    return arch >= 0;
}

bool qmp_query_kvm(struct qmp_context *ctx, struct qapi_kvm_info *ret, GError **error)
{
    /* Present means that this program could use it, not that the host has it: it can't yet. */
    ret->enabled = false;
    ret->present = false;
    return true;
}

bool qmp_query_machines(struct qmp_context *ctx, const struct qapi_query_machines_arg *arg,
                        struct qapi_machine_info_list *ret, GError **error)
{
    g_autoptr(GPtrArray) classes = machine_list(ctx->vm->arch);

    for (guint i = 0; i < classes->len; i++) {
        const struct machine_class *class = classes->pdata[i];
        struct qapi_machine_info *info = qapi_list_append(&qapi_type_machine_info_list, ret);

        info->name = g_strdup(class->name);
        info->alias = g_strdup(class->alias);
        info->has_is_default = info->is_default = class->is_default;
        info->cpu_max = class->max_cpus;
        info->hotpluggable_cpus = class->hotpluggable_cpus;
        info->numa_mem_supported = class->numa_mem_supported;
        info->deprecated = class->deprecated;
        info->default_cpu_type = g_strdup(class->default_cpu);
        info->default_ram_id = g_strdup(class->default_ram_id);
        info->acpi = class->acpi;
        info->has_compat_props = arg->has_compat_props && arg->compat_props;
    }
    return true;
}

bool qmp_query_current_machine(struct qmp_context *ctx, struct qapi_current_machine_params *ret,
                               GError **error)
{
    ret->wakeup_suspend_support = false;
    return true;
}

bool qmp_query_cpus_fast(struct qmp_context *ctx, struct qapi_cpu_info_fast_list *ret,
                         GError **error)
{
    const struct vm *vm = ctx->vm;
    const struct machine_ops *ops = vm->machine ? vm->machine_class->ops : NULL;

    for (unsigned i = 0; ops && i < ops->n_cpus(vm->machine); i++) {
        struct qapi_cpu_info_fast *info = qapi_list_append(&qapi_type_cpu_info_fast_list, ret);

        info->cpu_index = i;
        info->qom_path = ops->cpu_path(vm->machine, i);
        info->thread_id = ops->cpu_thread_id(vm->machine, i);
    }
    return true;
}

bool qmp_query_hotpluggable_cpus(struct qmp_context *ctx, struct qapi_hotpluggable_cpu_list *ret,
                                 GError **error)
{
    return fail(error, "machine does not support hot-plugging CPUs");
}

bool qmp_query_memory_size_summary(struct qmp_context *ctx, struct qapi_memory_info *ret,
                                   GError **error)
{
    ret->base_memory = ctx->vm->ram_size;
    return true;
}

bool qmp_query_cpu_definitions(struct qmp_context *ctx, struct qapi_cpu_definition_info_list *ret,
                               GError **error)
{
    const char *name;

    for (unsigned i = 0; (name = riscv_model_name(i)); i++) {
        struct qapi_cpu_definition_info *info =
            qapi_list_append(&qapi_type_cpu_definition_info_list, ret);

        info->name = g_strdup(name);
        info->typename = g_strdup_printf("%s-riscv-cpu", name);
        /* What rv64 and max have grows with Nandu; the others mean the same for good. */
        info->static_ = !g_str_equal(name, "rv64") && !g_str_equal(name, "max");
    }
    return true;
}

/* "NAME,feature=on,..." from a model's properties; NULL and *error. */
static char *model_text(const struct qapi_cpu_model_info *model, GError **error)
{
    g_autoptr(GString) text = g_string_new(model->name);

    if (strchr(model->name, ',')) {
        g_set_error(error, QAPI_ERROR, QAPI_ERROR_GENERIC,
                    "The CPU type '%s' is not a known RISC-V CPU type", model->name);
        return NULL;
    }
    if (!model->props) {
        return g_string_free(g_steal_pointer(&text), FALSE);
    }
    if (!json_object_is_type(model->props, json_type_object)) {
        fail(error, "Invalid parameter type for 'model.props', expected: dict");
        return NULL;
    }
    json_object_object_foreach(model->props, key, value) {
        if (!json_object_is_type(value, json_type_boolean) || strchr(key, ',') ||
            strchr(key, '=')) {
            g_set_error(error, QAPI_ERROR, QAPI_ERROR_GENERIC,
                        "Invalid parameter type for 'model.props.%s', expected: boolean", key);
            return NULL;
        }
        g_string_append_printf(text, ",%s=%s", key, json_object_get_boolean(value) ? "on" : "off");
    }
    return g_string_free(g_steal_pointer(&text), FALSE);
}

bool qmp_query_cpu_model_expansion(struct qmp_context *ctx,
                                   const struct qapi_query_cpu_model_expansion_arg *arg,
                                   struct qapi_cpu_model_expansion_info *ret, GError **error)
{
    g_autofree char *text = NULL;
    struct riscv_model *model;
    const char *feature;
    bool on;

    if (arg->type != QAPI_CPU_MODEL_EXPANSION_TYPE_FULL) {
        return fail(error, "The requested expansion type is not supported");
    }
    text = model_text(arg->model, error);
    model = text ? riscv_model_parse_machine(text, error) : NULL;
    if (!model) {
        return false;
    }
    ret->model = g_new0(struct qapi_cpu_model_info, 1);
    ret->model->name = g_strdup(arg->model->name);
    ret->model->props = json_object_new_object();
    for (unsigned i = 0; (feature = riscv_model_feature(model, i, &on)); i++) {
        /* The single letters aren't properties that one asks for: the model implies them. */
        if (strlen(feature) > 1) {
            json_object_object_add(ret->model->props, feature, json_object_new_boolean(on));
        }
    }
    riscv_model_free(model);
    return true;
}

bool qmp_query_command_line_options(struct qmp_context *ctx,
                                    const struct qapi_query_command_line_options_arg *arg,
                                    struct qapi_command_line_option_info_list *ret, GError **error)
{
    return ctx->vm->list_options(arg->option, ret, error);
}

bool qmp_set_action(struct qmp_context *ctx, const struct qapi_set_action_arg *arg, GError **error)
{
    struct vm_actions *action = &ctx->vm->action;

    action->reboot = arg->has_reboot ? arg->reboot : action->reboot;
    action->shutdown = arg->has_shutdown ? arg->shutdown : action->shutdown;
    action->panic = arg->has_panic ? arg->panic : action->panic;
    action->watchdog = arg->has_watchdog ? arg->watchdog : action->watchdog;
    return true;
}

/* ---- Memory to files ---- */

/* size bytes from address on: of a vCPU's memory or (cpu is -1) of the machine's. */
static bool save_memory(struct vm *vm, int64_t cpu, uint64_t address, uint64_t size, FILE *file,
                        GError **error)
{
    const struct machine_ops *ops = vm->machine_class->ops;
    uint8_t page[4096];

    while (size) {
        uint64_t n = MIN(size, sizeof(page) - address % sizeof(page)), phys = address;

        if ((cpu >= 0 && !ops->cpu_translate(vm->machine, (unsigned)cpu, address, &phys)) ||
            address_space_read(vm->memory, phys, page, n, (struct memory_attrs){0}) != MEMORY_OK) {
            g_set_error(error, QAPI_ERROR, QAPI_ERROR_GENERIC,
                        "Invalid addr 0x%016" PRIx64 "/size %" PRIu64 " specified", address, size);
            return false;
        }
        if (fwrite(page, 1, n, file) != n) {
            return fail(error, "writing memory to the file failed");
        }
        address += n;
        size -= n;
    }
    return true;
}

static bool save_memory_to(struct vm *vm, int64_t cpu, int64_t address, int64_t size,
                           const char *path, GError **error)
{
    FILE *file;
    bool held, ok;

    if (!vm->memory) {
        return fail(error, "this machine has no memory");
    }
    if (size < 0) {
        return fail(error, "Parameter 'size' expects a number that isn't negative");
    }
    file = fopen(path, "wbe");
    if (!file) {
        g_set_error(error, QAPI_ERROR, QAPI_ERROR_GENERIC, "could not open %s: %s", path,
                    g_strerror(errno));
        return false;
    }
    held = vm_hold(vm);
    ok = save_memory(vm, cpu, (uint64_t)address, (uint64_t)size, file, error);
    vm_let_go(vm, held);
    if (fclose(file) && ok) {
        return fail(error, "writing memory to the file failed");
    }
    return ok;
}

bool qmp_inject_nmi(struct qmp_context *ctx, GError **error)
{
    return fail(error, "machine does not provide NMIs");
}

bool qmp_pmemsave(struct qmp_context *ctx, const struct qapi_pmemsave_arg *arg, GError **error)
{
    return save_memory_to(ctx->vm, -1, arg->val, arg->size, arg->filename, error);
}

bool qmp_memsave(struct qmp_context *ctx, const struct qapi_memsave_arg *arg, GError **error)
{
    const struct vm *vm = ctx->vm;
    int64_t cpu = arg->has_cpu_index ? arg->cpu_index : 0;

    if (cpu < 0 || cpu >= vm->n_cpus) {
        return fail(error, "Parameter 'cpu-index' expects a CPU number");
    }
    return save_memory_to(ctx->vm, cpu, arg->val, arg->size, arg->filename, error);
}

bool qmp_dumpdtb(struct qmp_context *ctx, const struct qapi_dumpdtb_arg *arg, GError **error)
{
    const struct vm *vm = ctx->vm;
    const struct machine_ops *ops = vm->machine ? vm->machine_class->ops : NULL;
    GBytes *tree = ops && ops->device_tree ? ops->device_tree(vm->machine) : NULL;

    if (!tree) {
        return fail(error, "This machine doesn't have an FDT");
    }
    return g_file_set_contents(arg->filename, g_bytes_get_data(tree, NULL),
                               (gssize)g_bytes_get_size(tree), error);
}

bool qmp_query_migrate_capabilities(struct qmp_context *ctx,
                                    struct qapi_migration_capability_status_list *ret,
                                    GError **error)
{
    struct qapi_migration_capability_status *status =
        qapi_list_append(&qapi_type_migration_capability_status_list, ret);

    status->capability = QAPI_MIGRATION_CAPABILITY_EVENTS;
    status->state = ctx->vm->migration_events;
    return true;
}

bool qmp_migrate_set_capabilities(struct qmp_context *ctx,
                                  const struct qapi_migrate_set_capabilities_arg *arg,
                                  GError **error)
{
    for (size_t i = 0; i < arg->capabilities.n; i++) {
        ctx->vm->migration_events = arg->capabilities.v[i].state;   /* the only one there is */
    }
    return true;
}

bool qmp_stop(struct qmp_context *ctx, GError **error)
{
    ctx->vm->autostart = false;
    vm_stop(ctx->vm, QAPI_RUN_STATE_PAUSED);
    return true;
}

bool qmp_cont(struct qmp_context *ctx, GError **error)
{
    switch (ctx->vm->state) {
    case QAPI_RUN_STATE_INTERNAL_ERROR:
    case QAPI_RUN_STATE_SHUTDOWN:
        return fail(error, "Resetting the Virtual Machine is required");
    default:
        vm_start(ctx->vm);
        return true;
    }
}

bool qmp_system_reset(struct qmp_context *ctx, GError **error)
{
    vm_request_reset(ctx->vm, QAPI_SHUTDOWN_CAUSE_HOST_QMP_SYSTEM_RESET);
    return true;
}

bool qmp_system_powerdown(struct qmp_context *ctx, GError **error)
{
    vm_request_powerdown(ctx->vm);
    return true;
}

bool qmp_system_wakeup(struct qmp_context *ctx, GError **error)
{
    return fail(error, "wake-up from suspend is not supported by this guest");
}

bool qmp_quit(struct qmp_context *ctx, GError **error)
{
    /* Also with -action shutdown=pause: this is the user's own will. */
    vm_request_shutdown(ctx->vm, QAPI_SHUTDOWN_CAUSE_HOST_QMP_QUIT);
    return true;
}

bool qmp_x_exit_preconfig(struct qmp_context *ctx, GError **error)
{
    struct vm *vm = ctx->vm;

    if (!vm->preconfig) {
        return fail(error, "The command is permitted only before machine initialization");
    }
    vm->preconfig = false;
    return vm->finish_start(vm, error);
}
