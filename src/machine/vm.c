#include "machine/vm.h"

#include <string.h>
#include <unistd.h>

#include "machine/devices.h"
#include "qapi/qapi_events.h"

/* What was asked for from any thread, until the main loop gets to it. */
struct vm_requests {
    struct bottom_half *bh;
    GMutex lock;
    enum qapi_shutdown_cause shutdown, reset;   /* NONE: not asked for */
    bool powerdown;
    bool stop;
    enum qapi_run_state why;        /* of stop */
    int status;                     /* of a shutdown by the guest */
};

static const struct machine_ops *ops_of(const struct vm *vm)
{
    return vm->machine ? vm->machine_class->ops : NULL;
}

bool vm_hold(struct vm *vm)
{
    const struct machine_ops *ops = ops_of(vm);

    if (!ops || !vm_is_running(vm)) {
        return false;
    }
    ops->stop(vm->machine);
    return true;
}

void vm_let_go(struct vm *vm, bool held)
{
    if (held) {
        ops_of(vm)->start(vm->machine);
    }
}

static bool by_guest(enum qapi_shutdown_cause cause)
{
    return cause == QAPI_SHUTDOWN_CAUSE_GUEST_SHUTDOWN ||
           cause == QAPI_SHUTDOWN_CAUSE_GUEST_RESET || cause == QAPI_SHUTDOWN_CAUSE_GUEST_PANIC;
}

static void do_reset(struct vm *vm, enum qapi_shutdown_cause cause)
{
    struct qapi_reset_event event = {.guest = by_guest(cause), .reason = cause};

    if (cause != QAPI_SHUTDOWN_CAUSE_SUBSYSTEM_RESET &&
        cause != QAPI_SHUTDOWN_CAUSE_SNAPSHOT_LOAD &&
        vm->action.reboot == QAPI_REBOOT_ACTION_SHUTDOWN) {
        vm_request_shutdown(vm, cause);
        return;
    }
    if (ops_of(vm)) {
        bool held = vm_hold(vm);

        ops_of(vm)->reset(vm->machine);
        vm_let_go(vm, held);
    }
    qapi_event_reset(vm->events, &event);
    if (!vm_is_running(vm)) {
        vm->state = QAPI_RUN_STATE_PRELAUNCH;   /* whatever stopped it is over: cont may start it */
    }
}

static void do_shutdown(struct vm *vm, enum qapi_shutdown_cause cause)
{
    struct qapi_shutdown_event event = {.guest = by_guest(cause), .reason = cause};
    /* The user's own request to end the program isn't turned into a pause. */
    bool ends = vm->action.shutdown == QAPI_SHUTDOWN_ACTION_POWEROFF ||
                cause == QAPI_SHUTDOWN_CAUSE_HOST_QMP_QUIT ||
                cause == QAPI_SHUTDOWN_CAUSE_HOST_SIGNAL;

    qapi_event_shutdown(vm->events, &event);
    if (ends) {
        vm_hold(vm);    /* for good: the guest runs no further */
        g_main_loop_quit(vm->main_loop);
    } else {
        vm_stop(vm, QAPI_RUN_STATE_SHUTDOWN);
    }
}

static void handle_requests(void *opaque)
{
    struct vm *vm = opaque;
    struct vm_requests *r = vm->requests;
    enum qapi_shutdown_cause shutdown, reset;
    enum qapi_run_state why;
    bool powerdown, stop;

    g_mutex_lock(&r->lock);
    shutdown = r->shutdown;
    vm->exit_status = r->status;
    reset = r->reset;
    powerdown = r->powerdown;
    stop = r->stop;
    why = r->why;
    r->stop = false;
    r->shutdown = r->reset = QAPI_SHUTDOWN_CAUSE_NONE;
    r->powerdown = false;
    g_mutex_unlock(&r->lock);

    if (powerdown) {
        qapi_event_powerdown(vm->events);
    }
    if (stop) {
        vm_stop(vm, why);
    }
    if (reset != QAPI_SHUTDOWN_CAUSE_NONE) {
        do_reset(vm, reset);
    }
    if (shutdown != QAPI_SHUTDOWN_CAUSE_NONE) {
        do_shutdown(vm, shutdown);
    }
}

void vm_request_shutdown(struct vm *vm, enum qapi_shutdown_cause cause)
{
    g_mutex_lock(&vm->requests->lock);
    vm->requests->shutdown = cause;
    g_mutex_unlock(&vm->requests->lock);
    bottom_half_schedule(vm->requests->bh);
}

void vm_request_guest_shutdown(struct vm *vm, int status)
{
    g_mutex_lock(&vm->requests->lock);
    vm->requests->shutdown = QAPI_SHUTDOWN_CAUSE_GUEST_SHUTDOWN;
    vm->requests->status = status;
    g_mutex_unlock(&vm->requests->lock);
    bottom_half_schedule(vm->requests->bh);
}

void vm_request_reset(struct vm *vm, enum qapi_shutdown_cause cause)
{
    g_mutex_lock(&vm->requests->lock);
    vm->requests->reset = cause;
    g_mutex_unlock(&vm->requests->lock);
    bottom_half_schedule(vm->requests->bh);
}

void vm_request_stop(struct vm *vm, enum qapi_run_state why)
{
    g_mutex_lock(&vm->requests->lock);
    vm->requests->stop = true;
    vm->requests->why = why;
    g_mutex_unlock(&vm->requests->lock);
    bottom_half_schedule(vm->requests->bh);
}

void vm_request_powerdown(struct vm *vm)
{
    g_mutex_lock(&vm->requests->lock);
    vm->requests->powerdown = true;
    g_mutex_unlock(&vm->requests->lock);
    bottom_half_schedule(vm->requests->bh);
}

struct listener {
    void (*fn)(void *opaque);
    void *opaque;
};

void vm_add_listener(struct vm *vm, void (*fn)(void *opaque), void *opaque)
{
    struct listener listener = {fn, opaque};

    g_array_append_val(vm->listeners, listener);
}

void vm_remove_listener(struct vm *vm, void *opaque)
{
    for (guint i = vm->listeners->len; i-- > 0;) {
        if (g_array_index(vm->listeners, struct listener, i).opaque == opaque) {
            g_array_remove_index(vm->listeners, i);
        }
    }
}

static void tell_listeners(struct vm *vm)
{
    for (guint i = 0; i < vm->listeners->len; i++) {
        const struct listener *listener = &g_array_index(vm->listeners, struct listener, i);

        listener->fn(listener->opaque);
    }
}

static void start(struct vm *vm, bool with_clock)
{
    if (vm_is_running(vm)) {
        return;
    }
    vm->state = QAPI_RUN_STATE_RUNNING;
    if (with_clock) {
        clocks_start_virtual(vm->clocks);
    }
    if (ops_of(vm)) {
        ops_of(vm)->start(vm->machine);
    }
    qapi_event_resume(vm->events);
    tell_listeners(vm);
}

void vm_start(struct vm *vm)
{
    start(vm, true);
}

void vm_start_without_clock(struct vm *vm)
{
    start(vm, false);
}

void vm_stop(struct vm *vm, enum qapi_run_state state)
{
    if (!vm_is_running(vm)) {
        /* Of a machine that stands already only the reason changes, and to "paused" not even
         * that. */
        if (state != QAPI_RUN_STATE_PAUSED) {
            vm->state = state;
        }
        return;
    }
    vm_hold(vm);
    clocks_stop_virtual(vm->clocks);
    vm->state = state;
    qapi_event_stop(vm->events);
    tell_listeners(vm);
}

bool vm_is_running(const struct vm *vm)
{
    return vm->state == QAPI_RUN_STATE_RUNNING;
}

int vm_run(struct vm *vm)
{
    g_main_loop_run(vm->main_loop);
    return vm->exit_status;
}

struct vm *vm_new(const char *arch, struct event_loop *loop, struct log *log, struct fdsets *fdsets)
{
    struct vm *vm = g_new0(struct vm, 1);
    struct object_context *context = &vm->object_context;

    vm->arch = arch;
    vm->loop = event_loop_ref(loop);
    vm->log = log;
    vm->fdsets = fdsets;
    vm->clocks = clocks_new();
    *context =
        (struct object_context){.loop = loop, .clocks = vm->clocks, .log = log, .fdsets = fdsets};
    vm->root = object_root_new(context);
    vm->state = QAPI_RUN_STATE_PRELAUNCH;
    vm->autostart = true;
    vm->serials = g_ptr_array_new();
    vm->listeners = g_array_new(FALSE, FALSE, sizeof(struct listener));
    memcpy(vm->uuid, "00000000-0000-0000-0000-000000000000", sizeof(vm->uuid));
    vm->action.reboot = QAPI_REBOOT_ACTION_RESET;
    vm->action.shutdown = QAPI_SHUTDOWN_ACTION_POWEROFF;
    vm->action.panic = QAPI_PANIC_ACTION_SHUTDOWN;
    vm->action.watchdog = QAPI_WATCHDOG_ACTION_RESET;
    vm->main_loop = g_main_loop_new(NULL, FALSE);
    vm->requests = g_new0(struct vm_requests, 1);
    g_mutex_init(&vm->requests->lock);
    vm->requests->bh = bottom_half_new(loop, handle_requests, vm);
    return vm;
}

void vm_close_machine(struct vm *vm)
{
    /* Devices finish what they have begun: the guest's last words go out. */
    vm_hold(vm);
    clocks_stop_virtual(vm->clocks);
    if (vm->machine) {
        vm_remove_all_devices(vm);
    }
    if (ops_of(vm)) {
        ops_of(vm)->destroy(vm->machine);
    }
    vm->machine = NULL;
    vm->memory = NULL;
}

void vm_free(struct vm *vm)
{
    vm_close_machine(vm);
    bottom_half_free(vm->requests->bh);
    g_mutex_clear(&vm->requests->lock);
    g_free(vm->requests);
    object_unref(vm->root);
    clocks_unref(vm->clocks);
    event_loop_unref(vm->loop);
    g_main_loop_unref(vm->main_loop);
    g_ptr_array_unref(vm->serials);
    g_array_unref(vm->listeners);
    g_free(vm->name);
    g_free(vm);
}
