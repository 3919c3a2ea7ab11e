/*
 * Start-up, in this order, since each part may name what is before it: log, loop, objects,
 * chardevs, machine, monitors; then what the process gives up (terminal, user, system calls).
 * Whatever fails on the way ends in one message and clean-up of what is there.
 */
#include "cli/system_main.h"

#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/signalfd.h>
#include <unistd.h>

#include "block/block.h"
#include "chardev/chardev.h"
#include "cli/blocks.h"
#include "cli/networks.h"
#include "cli/process.h"
#include "cli/sandbox.h"
#include "cli/system_options.h"
#include "machine/devices.h"
#include "machine/gdb_server.h"
#include "machine/vm.h"
#include "monitor/monitor.h"
#include "net/net.h"
#include "qapi/qapi_commands.h"
#include "util/guest_random.h"
#include "util/trace_control.h"

struct system {
    struct system_options options;
    struct log *log;
    struct event_loop *loop;
    struct fdsets *fdsets;
    struct guest_random *random;
    struct vm *vm;
    struct block_graph *blocks;
    struct qmp_context qmp;
    struct monitors *monitors;
    struct gdb_server *gdb;
    struct chardev_context chardevs;
    GPtrArray *nics; /* json_object, of -nic and -net */
    int signal_fd, pidfile_fd, daemon_fd;
};

static bool fail(GError **error, const char *text)
{
    g_set_error_literal(error, QAPI_ERROR, QAPI_ERROR_GENERIC, text);
    return false;
}

/* ---- Signals ---- */

static void process_name(pid_t pid, char *name, size_t size)
{
    g_autofree char *path = g_strdup_printf("/proc/%d/comm", (int)pid);
    g_autofree char *text = NULL;

    g_file_get_contents(path, &text, NULL, NULL);
    g_strlcpy(name, text ? g_strchomp(text) : "<unknown process>", size);
}

static void on_signal(void *opaque)
{
    struct system *s = opaque;
    struct signalfd_siginfo info;
    char name[64];

    if (read(s->signal_fd, &info, sizeof(info)) != sizeof(info)) {
        return;
    }
    if (info.ssi_pid) {
        process_name(info.ssi_pid, name, sizeof(name));
        log_error(s->log, "terminating on signal %u from pid %u (%s)", info.ssi_signo, info.ssi_pid,
                  name);
    } else {
        log_error(s->log, "terminating on signal %u", info.ssi_signo);
    }
    vm_request_shutdown(s->vm, QAPI_SHUTDOWN_CAUSE_HOST_SIGNAL);
}

/* Before there are other threads: they inherit the mask, so that only the loop gets these signals.
 */
static bool watch_signals(struct system *s, GError **error)
{
    sigset_t set;

    sigemptyset(&set);
    sigaddset(&set, SIGTERM);
    sigaddset(&set, SIGINT);
    sigaddset(&set, SIGHUP);
    pthread_sigmask(SIG_BLOCK, &set, NULL);
    signal(SIGPIPE, SIG_IGN);
    s->signal_fd = signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK);
    if (s->signal_fd < 0) {
        return fail(error, "cannot make a signalfd");
    }
    event_loop_watch(s->loop, s->signal_fd, on_signal, NULL, s);
    return true;
}

/* ---- Parts of start-up ---- */

static bool set_up_log(struct system *s, GError **error)
{
    const struct system_options *o = &s->options;

    log_set_message_form(s->log, o->msg && o->msg->timestamp,
                         o->msg && o->msg->guest_name && o->name ? o->name->guest : NULL);
    if (o->log_file && !log_set_file(s->log, o->log_file, error)) {
        return false;
    }
    if (o->log_ranges && !log_set_ranges(s->log, o->log_ranges, error)) {
        g_prefix_error(error, "-dfilter %s: ", o->log_ranges);
        return false;
    }
    if (o->log_items && !log_set_items(s->log, o->log_items, error)) {
        return false;
    }
    for (guint i = 0; i < o->traces->len; i++) {
        const struct qapi_trace_options *t = o->traces->pdata[i];

        if ((t->file && !trace_set_file(s->log, t->file, error)) ||
            (t->events && !trace_enable_file(s->log, t->events, error)) ||
            (t->enable && !trace_enable(s->log, t->enable, error))) {
            return false;
        }
    }
    return true;
}

static void set_up_names(struct system *s)
{
    const struct system_options *o = &s->options;

    if (o->name) {
        s->vm->name = g_strdup(o->name->guest);
        if (o->name->process) {
            prctl(PR_SET_NAME, o->name->process);
        }
    }
    if (o->uuid) {
        g_strlcpy(s->vm->uuid, o->uuid, sizeof(s->vm->uuid));
        s->vm->uuid_set = true;
    }
    if (o->action) {
        struct qapi_set_action_arg arg = {
            .has_reboot = o->action->has_reboot,
            .reboot = o->action->reboot,
            .has_shutdown = o->action->has_shutdown,
            .shutdown = o->action->shutdown,
            .has_panic = o->action->has_panic,
            .panic = o->action->panic,
            .has_watchdog = o->action->has_watchdog,
            .watchdog = o->action->watchdog,
        };

        qmp_set_action(&s->qmp, &arg, NULL);
    }
}

/* kvm:tcg takes the first that works. */
static bool choose_accel(struct system *s, GError **error)
{
    g_auto(GStrv) names =
        g_strsplit(s->options.accels->len ? s->options.accels->str : "tcg", ":", -1);

    for (size_t i = 0; names[i]; i++) {
        if (g_str_equal(names[i], "tcg")) {
            auto_ptr(object) accel = object_new(object_type_find("tcg-accel"));

            return (!s->options.accel_properties ||
                    object_set_all(accel, s->options.accel_properties, NULL, true, error)) &&
                   object_add_child(s->vm->root, "accel", accel, error) &&
                   object_complete(accel, error);
        }
        if (!g_str_equal(names[i], "kvm")) {
            g_set_error(error, QAPI_ERROR, QAPI_ERROR_GENERIC,
                        "invalid accelerator %s; there are tcg and kvm", names[i]);
            return false;
        }
    }
    return fail(error, "KVM is not built yet in Nandu " NANDU_VERSION "; use -accel tcg");
}

static bool add_fds(struct system *s, GError **error)
{
    for (guint i = 0; i < s->options.add_fds->len; i++) {
        const struct qapi_add_fd_options *o = s->options.add_fds->pdata[i];
        int fd;

        /* A duplicate, above the standard ones: what was inherited stays open as it was. */
        fd = o->fd > STDERR_FILENO ? fcntl(o->fd, F_DUPFD_CLOEXEC, STDERR_FILENO + 1) : -1;
        if (fd < 0) {
            g_set_error(error, QAPI_ERROR, QAPI_ERROR_GENERIC,
                        "-add-fd fd=%" G_GINT64_FORMAT ",set=%" G_GINT64_FORMAT
                        ": fd is not an open file descriptor above 2",
                        o->fd, o->set);
            return false;
        }
        if (fdsets_add(s->fdsets, fd, o->set, o->opaque, error) < 0) {
            close(fd);
            return false;
        }
    }
    /* Afterwards: one descriptor may be in several sets. */
    for (guint i = 0; i < s->options.add_fds->len; i++) {
        close(((const struct qapi_add_fd_options *)s->options.add_fds->pdata[i])->fd);
    }
    return true;
}

/* Filters come late: they name netdevs. */
static bool is_late(const struct given *given)
{
    json_object *name = NULL;
    const struct object_type *type;

    json_object_object_get_ex(given->value, "qom-type", &name);
    type = name ? object_type_find(json_object_get_string(name)) : NULL;
    return type && object_type_is(type, "netfilter");
}

static bool create_objects(struct system *s, bool late, GError **error)
{
    for (guint i = 0; i < s->options.objects->len; i++) {
        const struct given *given = s->options.objects->pdata[i];

        if (is_late(given) != late) {
            continue;
        }
        if (!object_create_user(s->vm->root, given->value, !given->is_json, error)) {
            g_prefix_error(error, "-object %s: ", given->text ? given->text : "");
            return false;
        }
    }
    return true;
}

static void put_json(void *object)
{
    json_object_put(object);
}

static bool create_networks(struct system *s, GError **error)
{
    struct netdev_context context = {.root = s->vm->root, .chardevs = &s->chardevs};

    s->nics = g_ptr_array_new_with_free_func(put_json);
    return networks_create(&s->options, &context, s->nics, error) && create_objects(s, true, error);
}

static bool create_chardevs(struct system *s, GError **error)
{
    for (guint i = 0; i < s->options.chardevs->len; i++) {
        const char *text = s->options.chardevs->pdata[i];
        struct chardev *chr = chardev_new_option(&s->chardevs, text, error);

        if (!chr || !chardev_wait_connected(chr, error)) {
            g_prefix_error(error, "-chardev %s: ", text);
            return false;
        }
    }
    return true;
}

/*
 * -serial; before the machine, whose devices attach to them. A monitor on the same back end
 * attaches before that: who comes last gets the keyboard.
 */
static bool create_serials(struct system *s, GError **error)
{
    for (guint i = 0; i < s->options.consoles->len; i++) {
        const struct console *console = &g_array_index(s->options.consoles, struct console, i);
        g_autofree char *label = g_strdup_printf("serial%u", s->vm->serials->len);
        struct chardev *chr = NULL;

        if (console->kind != CONSOLE_SERIAL) {
            continue;
        }
        if (!g_str_equal(console->text, "none")) {
            chr = chardev_new_short(&s->chardevs, label, console->text, true, error);
            if (!chr || !chardev_wait_connected(chr, error)) {
                g_prefix_error(error, "-serial %s: ", console->text);
                return false;
            }
        }
        g_ptr_array_add(s->vm->serials, chr);
        if (g_str_has_prefix(console->text, "mon:") &&
            !monitor_add_hmp(s->monitors, chr, true, error)) {
            g_prefix_error(error, "-serial %s: ", console->text);
            return false;
        }
    }
    return true;
}

/* -monitor and -qmp. */
static bool create_console(struct system *s, const struct console *console, unsigned *n_monitor,
                           GError **error)
{
    static const char *const names[] = {"serial", "monitor", "qmp", "qmp-pretty"};
    g_autofree char *label = NULL;
    struct chardev *chr;
    bool ok;

    if (console->kind == CONSOLE_SERIAL) {
        return true;
    }
    label = g_strdup_printf("compat_monitor%u", (*n_monitor)++);
    if (g_str_equal(console->text, "none")) {
        return true;
    }
    chr = chardev_new_short(&s->chardevs, label, console->text, true, error);
    ok = chr && chardev_wait_connected(chr, error) &&
         (console->kind == CONSOLE_HMP
              ? monitor_add_hmp(s->monitors, chr, true, error)
              : monitor_add_qmp(s->monitors, chr, console->kind == CONSOLE_QMP_PRETTY, error));
    if (!ok) {
        g_prefix_error(error, "-%s %s: ", names[console->kind], console->text);
    }
    return ok;
}

/*
 * Without -nodefaults and options for them the first serial port and a monitor share the terminal.
 * A machine of nothing has a monitor only.
 */
static void add_default_consoles(struct system_options *o)
{
    const struct machine_class *class = machine_find(o->arch, o->machine);
    bool serial = !class || !class->ops, monitor = o->mons->len > 0;
    struct console console = {.kind = CONSOLE_SERIAL};

    for (guint i = 0; i < o->consoles->len; i++) {
        const struct console *c = &g_array_index(o->consoles, struct console, i);

        serial |= c->kind == CONSOLE_SERIAL;
        monitor |= c->kind != CONSOLE_SERIAL || g_str_has_prefix(c->text, "mon:");
    }
    if (o->no_defaults || o->daemonize || (o->display && !o->nographic)) {
        return;
    }
    if (!serial && (!monitor || o->nographic)) {
        console.text = monitor ? "stdio" : "mon:stdio";
    } else if (!monitor) {
        console = (struct console){CONSOLE_HMP, class && class->ops ? "stdio" : "mon:stdio"};
    }
    if (console.text) {
        g_array_append_val(o->consoles, console);
    }
}

static bool create_monitors(struct system *s, GError **error)
{
    unsigned n_monitor = 0;

    for (guint i = 0; i < s->options.consoles->len; i++) {
        if (!create_console(s, &g_array_index(s->options.consoles, struct console, i), &n_monitor,
                            error)) {
            return false;
        }
    }
    for (guint i = 0; i < s->options.mons->len; i++) {
        const struct qapi_monitor_options *o = s->options.mons->pdata[i];
        struct chardev *chr = chardev_find(s->vm->root, o->chardev);
        bool control = o->has_mode && o->mode == QAPI_MONITOR_MODE_CONTROL;
        bool ok;

        if (!chr) {
            g_set_error(error, QAPI_ERROR, QAPI_ERROR_GENERIC, "-mon %s: chardev \"%s\" not found",
                        o->chardev, o->chardev);
            return false;
        }
        if (o->has_pretty && o->pretty && !control) {
            return fail(error, "-mon: 'pretty' is for mode=control only");
        }
        ok = control ? monitor_add_qmp(s->monitors, chr, o->has_pretty && o->pretty, error)
                     : monitor_add_hmp(s->monitors, chr, true, error);
        if (!ok) {
            g_prefix_error(error, "-mon %s: ", o->chardev);
            return false;
        }
    }
    return true;
}

static bool make_machine(struct system *s, GError **error)
{
    if (!vm_create_machine(s->vm, s->options.machine, s->options.machine_properties, true, error)) {
        return false;
    }
    if (s->options.single_thread && s->vm->n_cpus > 1) {
        return fail(error, "-accel tcg,thread=single: several vCPUs on one thread are not built yet "
                           "in Nandu " NANDU_VERSION "; use thread=multi");
    }
    for (guint i = 0; i < s->options.devices->len; i++) {
        const struct given *given = s->options.devices->pdata[i];

        if (!vm_add_device(s->vm, given->value, !given->is_json, error)) {
            g_prefix_error(error, "-device %s: ", given->text ? given->text : "");
            return false;
        }
    }
    if (!blocks_add_devices(s->blocks, s->vm, error)) {
        return false;
    }
    if (!networks_add_nics(s->vm, s->nics, error)) {
        return false;
    }
    return vm_machine_ready(s->vm, error);
}

static bool open_gdb(struct system *s, GError **error)
{
    if (s->options.gdb && !gdb_server_open(s->gdb, s->options.gdb, error)) {
        g_prefix_error(error, "-gdb %s: ", s->options.gdb);
        return false;
    }
    return true;
}

/* What --preconfig puts off. */
static bool finish_start(struct vm *vm, GError **error)
{
    struct system *s = vm->start_opaque;

    if (!make_machine(s, error) || !open_gdb(s, error)) {
        return false;
    }
    if (vm->autostart) {
        vm_start(vm);
    }
    return true;
}

/* Takes what is there only once. */
static bool claim(struct system *s, GError **error)
{
    const struct system_options *o = &s->options;

    return (!o->pidfile || pidfile_create(o->pidfile, &s->pidfile_fd, error)) &&
           (!o->overcommit || !o->overcommit->has_mem_lock ||
            process_lock_memory(o->overcommit->mem_lock, error));
}

/* Gives up what a running machine doesn't need. */
static bool enter_running(struct system *s, GError **error)
{
    const struct system_options *o = &s->options;

    return process_run_with(o->run_with, error) && sandbox_enter(o->sandbox, error) &&
           (s->daemon_fd < 0 || daemon_ready(s->daemon_fd, error));
}

static void escape(void *opaque, char key)
{
    struct system *s = opaque;

    if (key == 'x') {
        vm_request_shutdown(s->vm, QAPI_SHUTDOWN_CAUSE_HOST_UI);
    }
}

static char *run_hmp(void *opaque, const char *line)
{
    return monitor_run_hmp(((struct system *)opaque)->monitors, line);
}

static bool start(struct system *s, GError **error)
{
    const struct system_options *o = &s->options;

    if (o->daemonize && o->nographic && !o->no_defaults) {
        return fail(
            error,
            "-nographic cannot be used with -daemonize: the terminal is left (see -nodefaults)");
    }
    add_default_consoles(&s->options);
    if (o->daemonize && !daemon_start(&s->daemon_fd, error)) {
        return false;
    }
    if (!set_up_log(s, error)) {
        return false;
    }
    s->loop = event_loop_new("main", error);
    if (!s->loop || !watch_signals(s, error)) {
        return false;
    }
    event_loop_set_log(s->loop, s->log);
    event_loop_attach(s->loop, NULL);
    s->fdsets = fdsets_new();
    s->random = guest_random_new(o->has_seed, o->seed);
    s->vm = vm_new(o->arch, s->loop, s->log, s->fdsets);
    s->vm->object_context.random = s->random;
    s->vm->ram_size = o->ram_size;
    s->vm->globals = o->globals;
    s->vm->cpu_model = o->cpu;
    s->vm->smp = o->smp;
    s->vm->boot = o->boot;
    s->vm->date_offset = o->date_offset;
    s->vm->autostart = !o->stopped;
    s->vm->preconfig = o->preconfig;
    s->vm->finish_start = finish_start;
    s->vm->start_opaque = s;
    s->vm->list_options = system_options_list;
    s->qmp = (struct qmp_context){
        .vm = s->vm,
        .root = s->vm->root,
        .loop = s->loop,
        .fdsets = s->fdsets,
        .compat = o->compat,
        .chardevs = &s->chardevs,
        .take_fd = monitor_take_fd,
    };
    s->blocks = s->qmp.blocks = s->vm->blocks = block_graph_new(s->vm->root);
    s->monitors = monitors_new(&qapi_system_schema, &s->qmp, s->vm->clocks, s->log);
    s->vm->events = monitors_event_sink(s->monitors);
    block_graph_set_events(s->blocks, s->vm->events);
    s->chardevs = (struct chardev_context){
        .root = s->vm->root,
        .loop = s->loop,
        .clocks = s->vm->clocks,
        .log = s->log,
        .fdsets = s->fdsets,
        .events = s->vm->events,
        .escape = escape,
        .escape_opaque = s,
        .escape_key = o->escape_key,
        .daemonize = o->daemonize,
    };
    s->gdb = s->vm->gdb = gdb_server_new(s->vm, &s->chardevs, run_hmp, s);
    set_up_names(s);
    return add_fds(s, error) && choose_accel(s, error) && create_objects(s, false, error) &&
           create_chardevs(s, error) && create_serials(s, error) &&
           blocks_create(s->blocks, s->loop, &s->options, error) && create_networks(s, error) &&
           (o->preconfig || make_machine(s, error)) &&
           (s->vm->done || (claim(s, error) && create_monitors(s, error) &&
                            (o->preconfig || open_gdb(s, error)) && enter_running(s, error)));
}

static void clean_up(struct system *s)
{
    g_clear_pointer(&s->gdb, gdb_server_free);
    if (s->vm) {
        s->vm->events = NULL;
        if (s->blocks) {
            block_graph_set_events(s->blocks, NULL);
        }
        vm_close_machine(s->vm);
        netdev_close_all(s->vm->root);
        chardev_close_all(s->vm->root);
    }
    g_clear_pointer(&s->monitors, monitors_free);
    if (s->blocks) {
        blocks_close(s->blocks, s->loop);
    }
    g_clear_pointer(&s->vm, vm_free);
    if (s->signal_fd >= 0) {
        event_loop_watch(s->loop, s->signal_fd, NULL, NULL, NULL);
        close(s->signal_fd);
    }
    g_clear_pointer(&s->nics, g_ptr_array_unref);
    g_clear_pointer(&s->random, guest_random_free);
    g_clear_pointer(&s->fdsets, fdsets_free);
    g_clear_pointer(&s->loop, event_loop_unref);
    if (s->pidfile_fd >= 0) {
        unlink(s->options.pidfile);
        close(s->pidfile_fd);
    }
    system_options_clear(&s->options);
    log_free(s->log);
}

int system_main(const char *arch, int argc, char **argv)
{
    struct system s = {.signal_fd = -1, .pidfile_fd = -1, .daemon_fd = -1};
    const char *slash = strrchr(argv[0], '/');
    g_autoptr(GError) error = NULL;
    int status = EXIT_FAILURE;

    s.log = log_new(slash ? slash + 1 : argv[0]);
    if (!system_options_parse(&s.options, arch, argc, argv, &error)) {
        log_error(s.log, "%s", error->message);
    } else if (s.options.print) {
        fputs(s.options.print, stdout);
        status = EXIT_SUCCESS;
    } else if (!start(&s, &error)) {
        log_error(s.log, "%s", error->message);
    } else if (s.vm->done) {
        status = EXIT_SUCCESS;
    } else {
        if (s.vm->autostart && !s.vm->preconfig) {
            vm_start(s.vm);
        }
        status = vm_run(s.vm);
    }
    clean_up(&s);
    return status;
}
