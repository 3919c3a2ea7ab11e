/*
 * One virtual machine: its run state, clocks and what was configured. The machine itself is an
 * object at /machine.
 */
#ifndef NANDU_MACHINE_VM_H
#define NANDU_MACHINE_VM_H

#include "object/object.h"
#include "qapi/command.h"
#include "qapi/qapi_types.h"
#include "util/auto.h"
#include "util/clock.h"
#include "util/event_loop.h"
#include "util/fdset.h"
#include "util/log.h"

struct accel;
struct address_space;
struct block_graph;
struct gdb_arch;
struct gdb_server;
struct globals;
struct machine;
struct vm;

/* What a machine does; main thread. Those with a cpu are called while the vCPUs are stopped. */
struct machine_ops {
    /* Makes its memory, vCPUs and devices; a reset follows. The object is complete. */
    bool (*create)(struct vm *vm, struct machine *machine, GError **error);
    /* All devices that it starts with are there; a reset follows. May be NULL. */
    bool (*ready)(struct machine *machine, GError **error);
    /* Undoes it, also half-way. */
    void (*destroy)(struct machine *machine);
    /* Its vCPUs. */
    void (*start)(struct machine *machine);
    void (*stop)(struct machine *machine);
    /* All of it, while it is stopped. */
    void (*reset)(struct machine *machine);
    /* Takes a device that goes onto no bus, before the machine is ready. NULL: there is none. */
    bool (*plug)(struct machine *machine, struct object *device, GError **error);
    unsigned (*n_cpus)(const struct machine *machine);
    pid_t (*cpu_thread_id)(const struct machine *machine, unsigned cpu);
    /* In the tree; caller frees. */
    char *(*cpu_path)(const struct machine *machine, unsigned cpu);
    /* Where the vCPU would find a virtual address now. */
    bool (*cpu_translate)(const struct machine *machine, unsigned cpu, uint64_t vaddr,
                          uint64_t *phys);
    /* For debuggers. NULL: there are no vCPUs. */
    struct accel *(*accel)(const struct machine *machine);
    const struct gdb_arch *gdb_arch;    /* of its vCPUs (debug/gdb_arch.h) */
    /* The device tree that the guest gets; borrowed. NULL function: it has none. */
    GBytes *(*device_tree)(const struct machine *machine);
};

/* A board, as class_data of an object type that descends from "machine" (named "none-machine",
 * ...). */
struct machine_class {
    const char *name;               /* as -machine has it */
    const char *alias;              /* "virt" for the newest version; NULL */
    const char *description;
    const char *const *archs;       /* guests that it is for, NULL-terminated; NULL: all */
    const char *default_cpu;        /* NULL: none */
    const char *default_ram_id;
    const char *block_interface;    /* what -drive without if= is for: "virtio"; NULL: nothing */
    uint64_t default_ram_size;      /* bytes */
    unsigned max_cpus, default_cpus;
    bool is_default, hotpluggable_cpus, numa_mem_supported, deprecated, acpi;
    const struct machine_ops *ops;  /* NULL: a machine of nothing */
};

struct vm {
    const char *arch;               /* "riscv64": what nandu-system-ARCH says */
    struct object *root;
    struct object_context object_context;
    struct event_loop *loop;        /* main */
    struct clocks *clocks;
    struct log *log;
    struct fdsets *fdsets;
    struct block_graph *blocks;     /* borrowed */
    struct qapi_event_sink *events; /* NULL until there are monitors */
    const struct machine_class *machine_class;
    struct machine *machine;        /* /machine, once it is made; borrowed */
    struct address_space *memory;   /* its guest-physical memory, and its bus; NULL: none */
    const char *cpu_model;          /* -cpu; NULL: the machine's default. Borrowed */
    const struct qapi_smp_configuration *smp;   /* -smp; NULL: the machine's default */
    const struct qapi_boot_options *boot;       /* -boot; NULL: not given. Borrowed */
    int64_t date_offset;            /* -rtc: ns that the clock of the day is ahead of the host's */
    unsigned n_cpus;                /* that the machine was started with */
    GPtrArray *serials;             /* struct chardev or NULL: of each serial port; borrowed */
    char *name;                     /* -name; NULL: none */
    char uuid[37];                  /* text; all zeroes if not set */
    bool uuid_set;
    enum qapi_run_state state;
    struct vm_actions {             /* -action, set-action */
        enum qapi_reboot_action reboot;
        enum qapi_shutdown_action shutdown;
        enum qapi_panic_action panic;
        enum qapi_watchdog_action watchdog;
    } action;
    bool migration_events;          /* the capability "events" of migration is switched on */
    bool preconfig;                 /* --preconfig: the machine isn't made yet */
    bool autostart;                 /* not -S */
    struct globals *globals;        /* -global (machine/globals.h); NULL: none. Borrowed */
    bool ready;                     /* the machine has the devices that it starts with */
    uint64_t ram_size;              /* bytes; 0: the machine's default */
    GMainLoop *main_loop;
    int exit_status;
    bool done;                      /* nothing is to be run: dumpdtb */
    struct vm_requests *requests;
    GArray *listeners;              /* of its run state */
    struct gdb_server *gdb;         /* NULL until there are monitors; borrowed */
    /* Makes the machine and starts it: what --preconfig puts off. */
    bool (*finish_start)(struct vm *vm, GError **error);
    void *start_opaque;
    /* Answers query-command-line-options: the table of options is above this layer. */
    bool (*list_options)(const char *option, struct qapi_command_line_option_info_list *ret,
                         GError **error);
};

/* Ends the machine's vCPUs and devices. vm_free does, too; before that back ends may be closed. */
void vm_close_machine(struct vm *vm);
/* Takes references of loop; log and fdsets must outlive it. The state is prelaunch. */
struct vm *vm_new(const char *arch, struct event_loop *loop, struct log *log,
                  struct fdsets *fdsets);
void vm_free(struct vm *vm);
DEFINE_AUTO_PTR(vm, vm_free)

/*
 * Makes the machine: an object of type "NAME-machine" at /machine with the given properties (JSON
 * or key=value strings; NULL: none). False and *error: no such machine or property.
 */
bool vm_create_machine(struct vm *vm, const char *name, json_object *properties, bool keyval,
                       GError **error);
/* The machine type of this name (or alias) for the guest, or NULL; the default one if name is
 * NULL. */
const struct machine_class *machine_find(const char *arch, const char *name);
/* All machine types for a guest, by name. Free the array with g_ptr_array_unref. */
GPtrArray *machine_list(const char *arch);

/* Run states. Main thread. Events STOP and RESUME are sent when it changes. */
void vm_start(struct vm *vm);
void vm_stop(struct vm *vm, enum qapi_run_state state);
bool vm_is_running(const struct vm *vm);
/* As vm_start, but the virtual clock stands still: for a debugger's steps. */
void vm_start_without_clock(struct vm *vm);
/* fn is called after the machine was started or stopped (which a moment's vm_hold isn't), from
 * inside the function that does it; vm_is_running tells which. */
void vm_add_listener(struct vm *vm, void (*fn)(void *opaque), void *opaque);
void vm_remove_listener(struct vm *vm, void *opaque);
/* Holds the vCPUs for a moment, without any event, if they run; what it returns goes to
 * vm_let_go. */
bool vm_hold(struct vm *vm);
void vm_let_go(struct vm *vm, bool held);

/* Ask for it; it happens at the main loop's next turn, with its event. Any thread, also a signal
 * handler's thread that isn't the main one. */
void vm_request_shutdown(struct vm *vm, enum qapi_shutdown_cause cause);
/* The guest ends the machine; status is the program's exit status. */
void vm_request_guest_shutdown(struct vm *vm, int status);
void vm_request_reset(struct vm *vm, enum qapi_shutdown_cause cause);
/* A device can't go on until the user has seen to it. */
void vm_request_stop(struct vm *vm, enum qapi_run_state why);
void vm_request_powerdown(struct vm *vm);

/* Runs the main loop until a shutdown that isn't turned into a pause; returns the exit status. */
int vm_run(struct vm *vm);

#endif
