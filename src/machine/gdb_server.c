#include "machine/gdb_server.h"

#include <signal.h>
#include <string.h>

#include "chardev/chardev.h"
#include "machine/gdb_machine.h"
#include "qapi/command.h"

enum { INPUT_SIZE = 4096, MAX_WAITING = 4 << 20 }; /* bytes */

static const char label[] = "gdb";

/* ---- A connection ---- */

static bool send_bytes(void *opaque, const void *data, size_t size)
{
    struct gdb_server *server = opaque;

    return chardev_write_queued(server->chr, data, size, MAX_WAITING);
}

/* The debugger sees a machine that stands still, as if it had been stopped by it. */
static void begin(struct gdb_server *server)
{
    vm_stop(server->vm, QAPI_RUN_STATE_PAUSED);
    server->stub = gdb_stub_new(&gdb_machine_ops, server, send_bytes, server);
    server->physical = false;
    server->sstep = GDB_SSTEP_ENABLE | GDB_SSTEP_NO_IRQ | GDB_SSTEP_NO_TIMER;
    server->current = 0;
    gdb_machine_tell(server, GDB_STOP_SIGNAL, SIGTRAP, 0);
    gdb_stub_poll(server->stub);
}

static void forget(struct gdb_server *server)
{
    g_clear_pointer(&server->stub, gdb_stub_free);
    server->has_stop = false;
    gdb_machine_remove_points(server);
}

/* The connection is over, by what the debugger said. */
static void end(struct gdb_server *server)
{
    struct vm *vm = server->vm;
    enum gdb_end how = gdb_stub_end(server->stub);

    forget(server);
    if (how == GDB_END_KILLED) {
        log_error(vm->log, "terminated by the debugger");
        vm_request_guest_shutdown(vm, 0);
    } else if (how == GDB_END_DETACHED) {
        gdb_machine_continue(server);
    }
}

static void poll_stub(struct gdb_server *server)
{
    if (server->stub && !gdb_stub_poll(server->stub)) {
        end(server);
    }
}

/* ---- The character device ---- */

static size_t can_receive(void *opaque)
{
    return INPUT_SIZE;
}

static void receive(void *opaque, const uint8_t *data, size_t size)
{
    struct gdb_server *server = opaque;

    if (!server->stub) { /* the one before has detached and is still connected */
        begin(server);
    } else if (vm_is_running(server->vm) && !gdb_stub_is_running(server->stub)) {
        /* Somebody else has let it run meanwhile. */
        vm_stop(server->vm, QAPI_RUN_STATE_PAUSED);
    }
    if (!gdb_stub_receive(server->stub, data, size)) {
        end(server);
    }
}

static void chardev_event(void *opaque, enum chardev_event event)
{
    struct gdb_server *server = opaque;

    if (event == CHARDEV_OPENED) {
        if (server->stub) {
            forget(server);
        }
        begin(server);
    } else if (event == CHARDEV_CLOSED && server->stub) {
        forget(server); /* the machine stays as it is: who debugs it may come back */
    }
}

static const struct chardev_frontend_ops frontend = {
    .can_receive = can_receive,
    .receive = receive,
    .event = chardev_event,
};

/* ---- The machine ---- */

static bool is_held(const struct gdb_server *server)
{
    for (unsigned i = 0; i < accel_n_cpus(server->accel); i++) {
        if (accel_stop_of(server->accel, i)) {
            return true;
        }
    }
    return false;
}

static void on_turn(void *opaque)
{
    struct gdb_server *server = opaque;
    struct vm *vm = server->vm;

    if (!server->accel) {
        return;
    }
    if (vm_is_running(vm) && server->stub) {
        bool held = vm_hold(vm), stops = is_held(server);

        vm_let_go(vm, held);
        if (stops) {
            vm_stop(vm, QAPI_RUN_STATE_DEBUG);
        }
    } else if (vm_is_running(vm)) {
        bool held = vm_hold(vm);

        gdb_machine_release(server);
        vm_let_go(vm, held);
    }
    poll_stub(server);
}

/* Any thread. */
static void cpu_held(void *opaque)
{
    struct gdb_server *server = opaque;

    bottom_half_schedule(server->bh);
}

static void run_state_changed(void *opaque)
{
    struct gdb_server *server = opaque;

    if (!server->accel || !server->stub) {
        return;
    }
    if (!vm_is_running(server->vm)) {
        gdb_machine_stopped(server);
    }
}

/* ---- Opening and closing ---- */

static void close_device(struct gdb_server *server)
{
    struct chardev *chr = server->chr;

    if (server->stub) {
        forget(server);
    }
    if (!chr) {
        return;
    }
    accel_set_debugger(server->accel, NULL, NULL);
    server->accel = NULL;
    server->chr = NULL;
    chardev_detach(chr, server);
    if (g_str_equal(chardev_id(chr), label)) { /* else it was there before */
        chardev_remove(chr, NULL);
    }
}

bool gdb_server_open(struct gdb_server *server, const char *device, GError **error)
{
    struct vm *vm = server->vm;
    const struct machine_ops *ops = vm->machine ? vm->machine_class->ops : NULL;
    g_autofree char *full = NULL;
    struct chardev *chr;

    if (!ops || !ops->accel) {
        g_set_error_literal(error, QAPI_ERROR, QAPI_ERROR_GENERIC,
                            "gdbstub: meaningless to attach gdb to a machine without any CPU.");
        return false;
    }
    close_device(server);
    if (g_str_equal(device, "none")) {
        return true;
    }
    full = g_str_has_prefix(device, "tcp:")
               ? g_strconcat(device, ",wait=off,nodelay=on,server=on", NULL)
               : g_strdup(device);
    chr = chardev_new_short(server->chardevs, label, full, false, error);
    if (!chr) {
        return false;
    }
    server->chr = chr;
    server->accel = ops->accel(vm->machine);
    accel_set_debugger(server->accel, cpu_held, server);
    if (!chardev_attach(chr, &frontend, server, error)) {
        close_device(server);
        return false;
    }
    return true;
}

struct gdb_server *gdb_server_new(struct vm *vm, const struct chardev_context *chardevs,
                                  char *(*run_hmp)(void *opaque, const char *line), void *opaque)
{
    struct gdb_server *server = g_new0(struct gdb_server, 1);

    server->vm = vm;
    server->chardevs = chardevs;
    server->run_hmp = run_hmp;
    server->opaque = opaque;
    server->points = g_array_new(FALSE, FALSE, sizeof(struct gdb_point));
    server->bh = bottom_half_new(vm->loop, on_turn, server);
    vm_add_listener(vm, run_state_changed, server);
    return server;
}

void gdb_server_free(struct gdb_server *server)
{
    if (server->stub && gdb_stub_is_running(server->stub)) {
        gdb_machine_tell(server, GDB_STOP_EXITED, 0, (uint64_t)server->vm->exit_status);
        gdb_stub_poll(server->stub);
    }
    close_device(server);
    vm_remove_listener(server->vm, server);
    bottom_half_free(server->bh);
    g_array_unref(server->points);
    g_free(server);
}
