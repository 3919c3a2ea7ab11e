/*
 * The protocol's state machine and its packets for execution, registers, memory and breakpoints.
 * While the target runs, nothing but an interrupt is read; everything else waits for the stop.
 */
#include "debug/gdbstub.h"

#include <poll.h>
#include <string.h>

#include "debug/gdb_priv.h"

/* Numbers of "E" replies are errno values by convention; nobody looks at them. */
enum { ERR_NOT_FOUND = 3, ERR_FAULT = 14, ERR_INVALID = 22 };

void gdb_error(struct gdb_stub *s, unsigned number)
{
    g_string_printf(s->reply, "E%02x", number);
}

static void reply_ok(struct gdb_stub *s, bool ok, unsigned number)
{
    if (ok)
        g_string_assign(s->reply, "OK");
    else
        gdb_error(s, number);
}

/* ---- Threads ---- */

uint64_t gdb_current_thread(const struct gdb_stub *s)
{
    return s->thread ? s->thread : s->stop.thread;
}

void gdb_put_thread(const struct gdb_stub *s, GString *out, uint64_t thread)
{
    if (s->multiprocess)
        g_string_append_printf(out, "p%02" G_GINT64_MODIFIER "x.", s->ops->process_id(s->opaque));
    g_string_append_printf(out, "%02" G_GINT64_MODIFIER "x", thread);
}

static bool get_id(const char **text, int64_t *id)
{
    uint64_t v;

    if (gdb_get_token(text, "-1")) {
        *id = -1;
        return true;
    }
    if (!gdb_get_number(text, &v) || v > INT64_MAX)
        return false;
    *id = (int64_t)v;
    return true;
}

bool gdb_get_thread(const struct gdb_stub *s, const char **text, int64_t *thread)
{
    int64_t process;

    if (!gdb_get_token(text, "p"))
        return get_id(text, thread);
    if (!get_id(text, &process))
        return false;
    *thread = -1; /* "pPID": all of its threads */
    if (gdb_get_token(text, ".") && !get_id(text, thread))
        return false;
    return process <= 0 || (uint64_t)process == s->ops->process_id(s->opaque);
}

bool gdb_thread_exists(const struct gdb_stub *s, uint64_t thread)
{
    g_autoptr(GArray) ids = g_array_new(FALSE, FALSE, sizeof(uint64_t));

    s->ops->threads(s->opaque, ids);
    for (unsigned i = 0; i < ids->len; i++) {
        if (g_array_index(ids, uint64_t, i) == thread)
            return true;
    }
    return false;
}

static void cmd_select_thread(struct gdb_stub *s, const char *args, size_t size)
{
    char op = *args;
    int64_t thread;

    if (op != 'g' && op != 'c') {
        gdb_error(s, ERR_INVALID);
        return;
    }
    args++;
    if (!gdb_get_thread(s, &args, &thread) || *args) {
        gdb_error(s, ERR_INVALID);
        return;
    }
    if (thread > 0 && !gdb_thread_exists(s, (uint64_t)thread)) {
        gdb_error(s, ERR_NOT_FOUND);
        return;
    }
    if (op == 'c')
        s->run_thread = thread;
    else
        s->thread = thread > 0 ? (uint64_t)thread : 0;
    reply_ok(s, true, 0);
}

static void cmd_thread_alive(struct gdb_stub *s, const char *args, size_t size)
{
    int64_t thread;

    reply_ok(s,
             gdb_get_thread(s, &args, &thread) && thread > 0 &&
                 gdb_thread_exists(s, (uint64_t)thread),
             ERR_NOT_FOUND);
}

/* ---- Stops ---- */

static void put_stop(struct gdb_stub *s, const struct gdb_stop *stop)
{
    static const char *const reasons[] = {
        [GDB_STOP_SWBREAK] = "swbreak",
        [GDB_STOP_HWBREAK] = "hwbreak",
        [GDB_STOP_WATCH] = "watch",
        [GDB_STOP_RWATCH] = "rwatch",
        [GDB_STOP_AWATCH] = "awatch",
        [GDB_STOP_SYSCALL_ENTRY] = "syscall_entry",
        [GDB_STOP_SYSCALL_RETURN] = "syscall_return",
    };
    GString *r = s->reply;

    g_string_truncate(r, 0);
    if (stop->kind == GDB_STOP_EXITED || stop->kind == GDB_STOP_KILLED) {
        if (stop->kind == GDB_STOP_EXITED)
            g_string_printf(r, "W%02x", (unsigned)stop->value & 0xff);
        else
            g_string_printf(r, "X%02x", gdb_signal_from_linux(stop->signal));
        if (s->multiprocess)
            g_string_append_printf(r, ";process:%" G_GINT64_MODIFIER "x",
                                   s->ops->process_id(s->opaque));
        return;
    }
    g_string_printf(r, "T%02xthread:", gdb_signal_from_linux(stop->signal));
    gdb_put_thread(s, r, stop->thread);
    g_string_append_c(r, ';');
    if (stop->kind != GDB_STOP_SIGNAL) {
        g_string_append_printf(r, "%s:", reasons[stop->kind]);
        if (stop->kind != GDB_STOP_SWBREAK && stop->kind != GDB_STOP_HWBREAK)
            g_string_append_printf(r, "%" G_GINT64_MODIFIER "x", stop->value);
        g_string_append_c(r, ';');
    }
}

static void cmd_why(struct gdb_stub *s, const char *args, size_t size)
{
    put_stop(s, &s->stop);
}

static void end(struct gdb_stub *s, enum gdb_end how)
{
    s->ended = true;
    s->end = how;
}

/* Look for a stop; send it if the debugger waits for one. */
static bool check_stop(struct gdb_stub *s)
{
    bool first = !s->have_stop, gone;

    if (!s->running || !s->ops->poll_stop(s->opaque, &s->stop))
        return true;
    gone = s->stop.kind == GDB_STOP_EXITED || s->stop.kind == GDB_STOP_KILLED;
    s->running = false;
    s->have_stop = true;
    s->thread = 0;
    s->run_thread = 0;
    if (gone)
        end(s, GDB_END_EXITED);
    if (first && !gone)
        return true;
    put_stop(s, &s->stop);
    if (!gdb_conn_send(&s->conn, s->reply->str, s->reply->len))
        return false;
    if (gone)
        gdb_conn_flush(&s->conn);
    return true;
}

/* ---- Running ---- */

static void resume(struct gdb_stub *s, GArray *actions)
{
    s->running = true;
    s->no_reply = true;
    s->ops->resume(s->opaque, (const struct gdb_action *)(void *)actions->data, actions->len);
}

/* One action of vCont: c, C sig, s, S sig, r start,end. */
static bool get_action(const char **text, struct gdb_action *action)
{
    char kind = *(*text)++;
    uint64_t sig = 0;

    *action = (struct gdb_action){.resume = kind == 'c' || kind == 'C' ? GDB_CONTINUE : GDB_STEP};
    switch (kind) {
    case 'c':
    case 's': return true;
    case 'C':
    case 'S':
        if (!gdb_get_number(text, &sig) || sig > 0xff)
            return false;
        action->signal = gdb_signal_to_linux((unsigned)sig);
        return true;
    case 'r':
        return gdb_get_number(text, &action->start) && gdb_get_token(text, ",") &&
               gdb_get_number(text, &action->end);
    default: return false;
    }
}

/*
 * vCont;action[:thread][;action[:thread]]...: for each thread the first action that fits it. The
 * signal of an action for more than one thread goes to the thread of the last stop.
 */
static void cmd_vcont(struct gdb_stub *s, const char *args, size_t size)
{
    g_autoptr(GArray) ids = g_array_new(FALSE, FALSE, sizeof(uint64_t));
    g_autoptr(GArray) actions = g_array_new(FALSE, TRUE, sizeof(struct gdb_action));
    g_autofree bool *set = NULL;
    const uint64_t none = 0;
    bool any = false;

    s->ops->threads(s->opaque, ids);
    g_array_append_val(ids, none);
    g_array_set_size(actions, ids->len);
    set = g_new0(bool, ids->len);
    for (unsigned i = 0; i < ids->len; i++)
        g_array_index(actions, struct gdb_action, i).thread = g_array_index(ids, uint64_t, i);

    while (gdb_get_token(&args, ";")) {
        struct gdb_action a;
        int64_t thread = -1;

        any = true;
        if (!get_action(&args, &a) ||
            (gdb_get_token(&args, ":") && !gdb_get_thread(s, &args, &thread))) {
            gdb_error(s, ERR_INVALID);
            return;
        }
        for (unsigned i = 0; i < ids->len; i++) {
            struct gdb_action *to = &g_array_index(actions, struct gdb_action, i);
            bool fits = thread == -1 || (thread == 0 && to->thread == s->stop.thread) ||
                        (uint64_t)thread == to->thread;

            if (!fits || set[i] || (thread != -1 && !to->thread))
                continue;
            set[i] = true;
            a.thread = to->thread;
            *to = a;
            if (thread == -1 && to->thread != s->stop.thread)
                to->signal = 0;
            if (!to->thread && a.resume == GDB_STEP)
                to->resume = GDB_CONTINUE;
        }
    }
    if (*args || !any) { /* without an action it would wait for ever */
        gdb_error(s, ERR_INVALID);
        return;
    }
    resume(s, actions);
}

/* c [addr], s [addr], C sig[;addr], S sig[;addr]: the thread of Hc, the others go on. */
static void cmd_run(struct gdb_stub *s, const char *args, bool step, bool has_signal)
{
    uint64_t sig = 0;
    g_autofree char *text = NULL;
    int64_t thread = s->run_thread > 0 ? s->run_thread : (int64_t)s->stop.thread;

    if (has_signal && (!gdb_get_number(&args, &sig) || sig > 0xff)) {
        gdb_error(s, ERR_INVALID);
        return;
    }
    if (*args) { /* with an address: gdb writes pc instead */
        gdb_error(s, ERR_INVALID);
        return;
    }
    text = g_strdup_printf(";%c%02x:%" G_GINT64_MODIFIER "x%s", step ? 'S' : 'C', (unsigned)sig,
                           (uint64_t)thread, s->run_thread > 0 ? "" : ";c");
    cmd_vcont(s, text, strlen(text));
}

static void cmd_continue(struct gdb_stub *s, const char *args, size_t size)
{
    cmd_run(s, args, false, false);
}

static void cmd_continue_signal(struct gdb_stub *s, const char *args, size_t size)
{
    cmd_run(s, args, false, true);
}

static void cmd_step(struct gdb_stub *s, const char *args, size_t size)
{
    cmd_run(s, args, true, false);
}

static void cmd_step_signal(struct gdb_stub *s, const char *args, size_t size)
{
    cmd_run(s, args, true, true);
}

static void cmd_vcont_actions(struct gdb_stub *s, const char *args, size_t size)
{
    g_string_assign(s->reply, "vCont;c;C;s;S;r");
}

static void cmd_detach(struct gdb_stub *s, const char *args, size_t size)
{
    reply_ok(s, true, 0);
    end(s, GDB_END_DETACHED);
}

static void cmd_kill(struct gdb_stub *s, const char *args, size_t size)
{
    s->no_reply = true;
    end(s, GDB_END_KILLED);
}

static void cmd_vkill(struct gdb_stub *s, const char *args, size_t size)
{
    reply_ok(s, true, 0);
    end(s, GDB_END_KILLED);
}

/* ---- Registers ---- */

static void cmd_read_registers(struct gdb_stub *s, const char *args, size_t size)
{
    uint8_t buf[16];

    for (unsigned i = 0; i < s->ops->n_general_regs(s->opaque); i++) {
        size_t n = s->ops->read_reg(s->opaque, gdb_current_thread(s), i, buf);

        gdb_put_hex(s->reply, buf, n);
    }
    if (!s->reply->len)
        gdb_error(s, ERR_NOT_FOUND);
}

static void cmd_write_registers(struct gdb_stub *s, const char *args, size_t size)
{
    uint64_t thread = gdb_current_thread(s);
    uint8_t buf[16];

    for (unsigned i = 0; i < s->ops->n_general_regs(s->opaque) && *args; i++) {
        size_t n = s->ops->read_reg(s->opaque, thread, i, buf);

        if (!n)
            continue;
        if (gdb_get_hex(&args, buf, n) != n || !s->ops->write_reg(s->opaque, thread, i, buf)) {
            gdb_error(s, ERR_INVALID);
            return;
        }
    }
    reply_ok(s, !*args, ERR_INVALID);
}

static void cmd_read_register(struct gdb_stub *s, const char *args, size_t size)
{
    uint64_t reg;
    uint8_t buf[16];
    size_t n = 0;

    if (gdb_get_number(&args, &reg) && !*args && reg < s->ops->n_regs(s->opaque))
        n = s->ops->read_reg(s->opaque, gdb_current_thread(s), (unsigned)reg, buf);
    if (n)
        gdb_put_hex(s->reply, buf, n);
    else
        gdb_error(s, ERR_INVALID);
}

static void cmd_write_register(struct gdb_stub *s, const char *args, size_t size)
{
    uint64_t reg, thread = gdb_current_thread(s);
    uint8_t buf[16];
    size_t n = 0;

    if (gdb_get_number(&args, &reg) && gdb_get_token(&args, "=") && reg < s->ops->n_regs(s->opaque))
        n = s->ops->read_reg(s->opaque, thread, (unsigned)reg, buf);
    reply_ok(s,
             n && gdb_get_hex(&args, buf, n) == n && !*args &&
                 s->ops->write_reg(s->opaque, thread, (unsigned)reg, buf),
             ERR_INVALID);
}

/* ---- Memory ---- */

static bool get_range(const char **text, uint64_t *addr, uint64_t *size)
{
    return gdb_get_number(text, addr) && gdb_get_token(text, ",") && gdb_get_number(text, size);
}

static void cmd_read_memory(struct gdb_stub *s, const char *args, size_t size)
{
    uint64_t addr, length;
    uint8_t buf[GDB_PACKET_SIZE / 2 - 16];
    size_t n;

    if (!get_range(&args, &addr, &length) || *args) {
        gdb_error(s, ERR_INVALID);
        return;
    }
    n = s->ops->read_memory(s->opaque, gdb_current_thread(s), addr, buf, MIN(length, sizeof(buf)));
    if (n || !length)
        gdb_put_hex(s->reply, buf, n);
    else
        gdb_error(s, ERR_FAULT);
}

static void write_memory(struct gdb_stub *s, const char *args, const char *packet_end, bool binary)
{
    uint64_t addr, length;
    uint8_t buf[GDB_PACKET_SIZE];
    size_t n;

    if (!get_range(&args, &addr, &length) || !gdb_get_token(&args, ":") || length > sizeof(buf)) {
        gdb_error(s, ERR_INVALID);
        return;
    }
    if (binary)
        n = gdb_get_binary(args, (size_t)(packet_end - args), buf, sizeof(buf));
    else
        n = gdb_get_hex(&args, buf, sizeof(buf));
    if (n != length)
        gdb_error(s, ERR_INVALID);
    else
        reply_ok(s, !n || s->ops->write_memory(s->opaque, gdb_current_thread(s), addr, buf, n),
                 ERR_FAULT);
}

static void cmd_write_memory(struct gdb_stub *s, const char *args, size_t size)
{
    write_memory(s, args, args + size, false);
}

static void cmd_write_binary(struct gdb_stub *s, const char *args, size_t size)
{
    write_memory(s, args, args + size, true);
}

/* type,addr,kind */
static void change_breakpoint(struct gdb_stub *s, const char *args, bool insert)
{
    uint64_t type, addr, length;
    bool ok;

    if (!gdb_get_number(&args, &type) || !gdb_get_token(&args, ",") ||
        !get_range(&args, &addr, &length) || *args) {
        gdb_error(s, ERR_INVALID);
        return;
    }
    if (type > GDB_WATCH_ACCESS)
        return; /* the empty reply: not supported */
    ok = (insert ? s->ops->insert : s->ops->remove)(s->opaque, (enum gdb_break)type, addr, length);
    reply_ok(s, ok, ERR_INVALID);
}

static void cmd_insert(struct gdb_stub *s, const char *args, size_t size)
{
    change_breakpoint(s, args, true);
}

static void cmd_remove(struct gdb_stub *s, const char *args, size_t size)
{
    change_breakpoint(s, args, false);
}

/* ---- Settings ---- */

static void cmd_no_ack(struct gdb_stub *s, const char *args, size_t size)
{
    reply_ok(s, true, 0);
    gdb_conn_send(&s->conn, s->reply->str, s->reply->len);
    s->conn.no_ack = true;
    s->no_reply = true;
}

static void cmd_pass_signals(struct gdb_stub *s, const char *args, size_t size)
{
    uint64_t mask = 0, sig;

    if (!s->ops->pass_signals)
        return;
    while (*args) {
        unsigned number;

        if (!gdb_get_number(&args, &sig) || (*args && !gdb_get_token(&args, ";"))) {
            gdb_error(s, ERR_INVALID);
            return;
        }
        number = sig > 0xff ? 0 : gdb_signal_to_linux((unsigned)sig);
        if (number)
            mask |= 1ull << (number - 1);
    }
    s->ops->pass_signals(s->opaque, mask);
    reply_ok(s, true, 0);
}

static void cmd_catch_syscalls(struct gdb_stub *s, const char *args, size_t size)
{
    g_autoptr(GArray) numbers = g_array_new(FALSE, FALSE, sizeof(uint64_t));
    bool on = *args == '1';
    uint64_t number;

    if (!s->ops->catch_syscalls)
        return;
    if (*args != '0' && *args != '1') {
        gdb_error(s, ERR_INVALID);
        return;
    }
    args++;
    while (gdb_get_token(&args, ";") && gdb_get_number(&args, &number))
        g_array_append_val(numbers, number);
    if (*args) {
        gdb_error(s, ERR_INVALID);
        return;
    }
    s->ops->catch_syscalls(s->opaque, on, (const uint64_t *)(void *)numbers->data, numbers->len);
    reply_ok(s, true, 0);
}

static void cmd_current_thread(struct gdb_stub *s, const char *args, size_t size)
{
    if (*args)
        return; /* another packet, qCRC */
    g_string_assign(s->reply, "QC");
    gdb_put_thread(s, s->reply, gdb_current_thread(s));
}

/* What was started for the debugger may be killed when gdb quits. */
static void cmd_attached(struct gdb_stub *s, const char *args, size_t size)
{
    g_string_assign(s->reply, s->ops->attached ? "1" : "0");
}

/* Extended mode: gdb may detach and attach again. */
static void cmd_extended(struct gdb_stub *s, const char *args, size_t size)
{
    if (s->ops->attached)
        reply_ok(s, true, 0);
}

static void cmd_attach(struct gdb_stub *s, const char *args, size_t size)
{
    uint64_t process;

    if (!s->ops->attached)
        return;
    if (!gdb_get_number(&args, &process) || *args || process != s->ops->process_id(s->opaque))
        gdb_error(s, ERR_NOT_FOUND);
    else
        put_stop(s, &s->stop);
}

static void cmd_symbols(struct gdb_stub *s, const char *args, size_t size)
{
    reply_ok(s, true, 0); /* none are wanted */
}

/* ---- Dispatch: the first row that the packet starts with. ---- */

static const struct {
    const char *name;
    gdb_handler *run;
} commands[] = {
    {"!", cmd_extended},
    {"?", cmd_why},
    {"C", cmd_continue_signal},
    {"D", cmd_detach},
    {"G", cmd_write_registers},
    {"H", cmd_select_thread},
    {"M", cmd_write_memory},
    {"P", cmd_write_register},
    {"QStartNoAckMode", cmd_no_ack},
    {"QPassSignals:", cmd_pass_signals},
    {"QCatchSyscalls:", cmd_catch_syscalls},
    {"S", cmd_step_signal},
    {"T", cmd_thread_alive},
    {"X", cmd_write_binary},
    {"Z", cmd_insert},
    {"c", cmd_continue},
    {"g", cmd_read_registers},
    {"k", cmd_kill},
    {"m", cmd_read_memory},
    {"p", cmd_read_register},
    {"qAttached", cmd_attached},
    {"qC", cmd_current_thread},
    {"qRcmd,", gdb_query_monitor},
    {"qSupported", gdb_query_supported},
    {"qSymbol:", cmd_symbols},
    {"qThreadExtraInfo,", gdb_query_thread_info},
    {"qXfer:", gdb_query_xfer},
    {"qfThreadInfo", gdb_query_threads},
    {"qsThreadInfo", gdb_query_more_threads},
    {"s", cmd_step},
    {"vAttach;", cmd_attach},
    {"vCont?", cmd_vcont_actions},
    {"vCont", cmd_vcont},
    {"vFile:", gdb_vfile},
    {"vKill", cmd_vkill},
    {"z", cmd_remove},
};

static void dispatch(struct gdb_stub *s, const GString *packet)
{
    for (unsigned i = 0; i < G_N_ELEMENTS(commands); i++) {
        const char *args = packet->str;

        if (gdb_get_token(&args, commands[i].name)) {
            commands[i].run(s, args, packet->len - (size_t)(args - packet->str));
            return;
        }
    }
    if ((packet->str[0] == 'q' || packet->str[0] == 'Q') && s->ops->query)
        s->ops->query(s->opaque, packet->str, s->reply);
}

static bool handle(struct gdb_stub *s, const GString *packet)
{
    g_string_truncate(s->reply, 0);
    s->no_reply = false;
    dispatch(s, packet);
    return s->no_reply || gdb_conn_send(&s->conn, s->reply->str, s->reply->len);
}

/* Everything that can be done without waiting. False: the connection is lost. */
static bool advance(struct gdb_stub *s, GString *packet)
{
    for (;;) {
        enum gdb_input input;

        if (!check_stop(s))
            return false;
        if (s->ended)
            return true;
        input = gdb_conn_next(&s->conn, packet, s->running);
        if (input == GDB_INPUT_NONE)
            return true;
        if (input == GDB_INPUT_INTERRUPT) {
            if (s->running)
                s->ops->interrupt(s->opaque, 2 /* SIGINT */);
        } else if (!handle(s, packet)) {
            return false;
        }
        if (s->ended)
            return true;
    }
}

/* ---- Connections ---- */

static void init(struct gdb_stub *s, const struct gdb_ops *ops, void *opaque)
{
    *s = (struct gdb_stub){.ops = ops, .opaque = opaque, .running = true, .end = GDB_END_LOST};
    s->reply = g_string_new(NULL);
    s->packet = g_string_new(NULL);
    for (unsigned i = 0; i < GDB_MAX_FILES; i++)
        s->files[i] = -1;
}

static void clear(struct gdb_stub *s)
{
    gdb_vfile_close_all(s);
    gdb_conn_clear(&s->conn);
    g_string_free(s->reply, TRUE);
    g_string_free(s->packet, TRUE);
}

enum gdb_end gdb_serve(const struct gdb_ops *ops, void *opaque, int fd, int event_fd)
{
    struct pollfd fds[2] = {{.fd = fd, .events = POLLIN}, {.events = POLLIN}};
    struct gdb_stub s;

    init(&s, ops, opaque);
    gdb_conn_init(&s.conn, fd);
    while (advance(&s, s.packet) && !s.ended) {
        fds[1].fd = s.running ? event_fd : -1;
        if (poll(fds, 2, -1) < 0)
            continue; /* EINTR: nothing else can happen to these descriptors */
        if (fds[0].revents && !gdb_conn_fill(&s.conn))
            break;
    }
    clear(&s);
    if (s.end == GDB_END_KILLED)
        ops->kill(opaque);
    else if (s.end != GDB_END_EXITED)
        ops->detach(opaque);
    return s.end;
}

struct gdb_stub *gdb_stub_new(const struct gdb_ops *ops, void *opaque, gdb_write_fn *write,
                              void *write_opaque)
{
    struct gdb_stub *s = g_new(struct gdb_stub, 1);

    init(s, ops, opaque);
    gdb_conn_init_fed(&s->conn, write, write_opaque);
    return s;
}

void gdb_stub_free(struct gdb_stub *s)
{
    clear(s);
    g_free(s);
}

bool gdb_stub_receive(struct gdb_stub *s, const void *data, size_t size)
{
    return gdb_conn_feed(&s->conn, data, size) && gdb_stub_poll(s);
}

bool gdb_stub_poll(struct gdb_stub *s)
{
    return !s->ended && advance(s, s->packet) && !s->ended;
}

bool gdb_stub_is_running(const struct gdb_stub *s)
{
    return s->running;
}

enum gdb_end gdb_stub_end(const struct gdb_stub *s)
{
    return s->end;
}
