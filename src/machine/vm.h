/*
 * One virtual machine: its run state, clocks and what was configured. The machine itself is an object
 * at /machine.
 */
#ifndef NANDU_MACHINE_VM_H
#define NANDU_MACHINE_VM_H

#include "object/object.h"
#include "qapi/command.h"
#include "qapi/qapi_types.h"
#include "util/clock.h"
#include "util/event_loop.h"
#include "util/log.h"

/* A board, as class_data of an object type that descends from "machine" (named "none-machine", ...). */
struct machine_class {
    const char *name;               /* as -machine has it */
    const char *alias;              /* "virt" for the newest version; NULL */
    const char *description;
    const char *const *archs;       /* guests that it is for, NULL-terminated; NULL: all */
    const char *default_cpu;        /* NULL: none */
    const char *default_ram_id;
    uint64_t default_ram_size;      /* bytes */
    unsigned max_cpus, default_cpus;
    bool is_default, hotpluggable_cpus, numa_mem_supported, deprecated, acpi;
};

struct vm {
    const char *arch;               /* "riscv64": what nandu-system-ARCH says */
    struct object *root;
    struct event_loop *loop;        /* main */
    struct clocks *clocks;
    struct log *log;
    struct qapi_event_sink *events; /* NULL until there are monitors */
    const struct machine_class *machine_class;
    char *name;                     /* -name; NULL: none */
    char *process_name;
    char uuid[37];                  /* text; all zeroes if not set */
    bool uuid_set;
    enum qapi_run_state state;
    struct qapi_actions {           /* -action, set-action */
        enum qapi_reboot_action reboot;
        enum qapi_shutdown_action shutdown;
        enum qapi_panic_action panic;
        enum qapi_watchdog_action watchdog;
    } action;
    GMainLoop *main_loop;
    int exit_status;
    json_object *command_line;      /* what was given, by option: for -writeconfig and introspection */
};

struct vm *vm_new(const char *arch, struct event_loop *loop, struct log *log);
void vm_free(struct vm *vm);

/* Run states: transitions are a table in vm.c; events STOP, RESUME, SHUTDOWN, RESET... are sent here. */
void vm_start(struct vm *vm);
void vm_stop(struct vm *vm, enum qapi_run_state state);
bool vm_is_running(const struct vm *vm);
/* Asks for it; happens at the main loop's next turn. Any thread. */
void vm_request_shutdown(struct vm *vm, enum qapi_shutdown_cause cause);
void vm_request_reset(struct vm *vm, enum qapi_shutdown_cause cause);
void vm_request_powerdown(struct vm *vm);

#endif
