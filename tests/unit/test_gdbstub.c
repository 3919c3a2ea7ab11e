/*
 * debug/gdbstub.c with a target made of arrays: replies to each packet, and that malformed packets
 * get an error and do no harm.
 */
#include <glib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <unistd.h>

#include "debug/gdb_packet.h"
#include "debug/gdbstub.h"

enum { N_REGS = 4, MEMORY_SIZE = 4096, PID = 0x64 };

struct target {
    GMutex lock;
    int event_fd;
    bool pending;
    struct gdb_stop stop;
    uint64_t regs[3][N_REGS]; /* of threads 1 and 2 */
    uint8_t memory[MEMORY_SIZE];
    struct gdb_action actions[8];
    unsigned n_actions, interrupts, detached, killed;
    uint64_t pass;
    GString *points;
};

static uint64_t process_id(void *opaque)
{
    return PID;
}

static void threads(void *opaque, GArray *ids)
{
    for (uint64_t i = 1; i <= 2; i++)
        g_array_append_val(ids, i);
}

static char *thread_name(void *opaque, uint64_t thread)
{
    return g_strdup_printf("thread <%u>", (unsigned)thread);
}

static char *xml(void *opaque)
{
    return g_strdup("<target>#}$*</target>");
}

static unsigned n_regs(void *opaque)
{
    return N_REGS;
}

/* Register 2 is a gap. */
static size_t read_reg(void *opaque, uint64_t thread, unsigned reg, uint8_t *buf)
{
    struct target *t = opaque;

    if (reg == 2 || thread < 1 || thread > 2)
        return 0;
    memcpy(buf, &t->regs[thread][reg], 8);
    return reg == 3 ? 4 : 8;
}

static bool write_reg(void *opaque, uint64_t thread, unsigned reg, const uint8_t *buf)
{
    struct target *t = opaque;

    memcpy(&t->regs[thread][reg], buf, reg == 3 ? 4 : 8);
    return true;
}

static size_t read_memory(void *opaque, uint64_t thread, uint64_t addr, void *buf, size_t size)
{
    struct target *t = opaque;

    if (addr >= MEMORY_SIZE)
        return 0;
    size = MIN(size, MEMORY_SIZE - addr);
    memcpy(buf, t->memory + addr, size);
    return size;
}

static bool write_memory(void *opaque, uint64_t thread, uint64_t addr, const void *buf, size_t size)
{
    struct target *t = opaque;

    if (addr >= MEMORY_SIZE || size > MEMORY_SIZE - addr)
        return false;
    memcpy(t->memory + addr, buf, size);
    return true;
}

static bool insert(void *opaque, enum gdb_break type, uint64_t addr, uint64_t size)
{
    struct target *t = opaque;

    g_string_append_printf(t->points, "+%d,%x,%x", type, (unsigned)addr, (unsigned)size);
    return addr != 0xbad;
}

static bool remove_point(void *opaque, enum gdb_break type, uint64_t addr, uint64_t size)
{
    struct target *t = opaque;

    g_string_append_printf(t->points, "-%d,%x,%x", type, (unsigned)addr, (unsigned)size);
    return true;
}

static void stop_with(struct target *t, struct gdb_stop stop)
{
    const uint64_t one = 1;

    g_mutex_lock(&t->lock);
    t->stop = stop;
    t->pending = true;
    g_mutex_unlock(&t->lock);
    g_assert_cmpint(write(t->event_fd, &one, 8), ==, 8);
}

static void resume(void *opaque, const struct gdb_action *actions, unsigned n)
{
    struct target *t = opaque;

    g_mutex_lock(&t->lock);
    t->n_actions = n;
    memcpy(t->actions, actions, MIN(n, 8) * sizeof(*actions));
    g_mutex_unlock(&t->lock);
}

static void interrupt(void *opaque, unsigned signal)
{
    struct target *t = opaque;

    t->interrupts++;
    stop_with(t, (struct gdb_stop){.kind = GDB_STOP_SIGNAL, .signal = signal, .thread = 2});
}

static bool poll_stop(void *opaque, struct gdb_stop *stop)
{
    struct target *t = opaque;
    uint64_t count;
    bool pending;

    if (read(t->event_fd, &count, 8) < 0)
        return false;
    g_mutex_lock(&t->lock);
    pending = t->pending;
    t->pending = false;
    *stop = t->stop;
    g_mutex_unlock(&t->lock);
    return pending;
}

static void detach(void *opaque)
{
    ((struct target *)opaque)->detached++;
}

static void do_kill(void *opaque)
{
    ((struct target *)opaque)->killed++;
}

static GBytes *object(void *opaque, const char *name, uint64_t thread)
{
    g_autofree char *text = g_strdup_printf("%s of %u", name, (unsigned)thread);

    return strcmp(name, "none") ? g_bytes_new(text, strlen(text)) : NULL;
}

static void pass_signals(void *opaque, uint64_t mask)
{
    ((struct target *)opaque)->pass = mask;
}

static char *monitor(void *opaque, const char *command)
{
    return strcmp(command, "hello") ? NULL : g_strdup("there\n");
}

static const struct gdb_ops ops = {
    .process_id = process_id,
    .threads = threads,
    .thread_name = thread_name,
    .target_xml = xml,
    .n_regs = n_regs,
    .n_general_regs = n_regs,
    .read_reg = read_reg,
    .write_reg = write_reg,
    .read_memory = read_memory,
    .write_memory = write_memory,
    .insert = insert,
    .remove = remove_point,
    .resume = resume,
    .interrupt = interrupt,
    .poll_stop = poll_stop,
    .detach = detach,
    .kill = do_kill,
    .object = object,
    .pass_signals = pass_signals,
    .monitor = monitor,
};

/* ---- A debugger on the other end of a socket ---- */

struct session {
    struct target target;
    int fd, server_fd;
    GThread *thread;
    struct gdb_conn conn; /* its packet layer is the same */
    GString *packet;
};

static gpointer serve(gpointer opaque)
{
    struct session *s = opaque;

    return GINT_TO_POINTER(gdb_serve(&ops, &s->target, s->server_fd, s->target.event_fd));
}

static struct session *start(void)
{
    struct session *s = g_new0(struct session, 1);
    int fds[2];

    g_assert_cmpint(socketpair(AF_UNIX, SOCK_STREAM, 0, fds), ==, 0);
    s->fd = fds[0];
    s->server_fd = fds[1];
    s->target.event_fd = eventfd(0, EFD_NONBLOCK);
    s->target.points = g_string_new(NULL);
    for (unsigned i = 0; i < MEMORY_SIZE; i++)
        s->target.memory[i] = (uint8_t)i;
    gdb_conn_init(&s->conn, s->fd);
    s->packet = g_string_new(NULL);
    stop_with(&s->target, (struct gdb_stop){.kind = GDB_STOP_SIGNAL, .signal = 5, .thread = 1});
    s->thread = g_thread_new("server", serve, s);
    return s;
}

static enum gdb_end finish(struct session *s)
{
    enum gdb_end end;

    shutdown(s->fd, SHUT_RDWR);
    end = GPOINTER_TO_INT(g_thread_join(s->thread));
    close(s->fd);
    close(s->server_fd);
    close(s->target.event_fd);
    gdb_conn_clear(&s->conn);
    g_string_free(s->packet, TRUE);
    g_string_free(s->target.points, TRUE);
    g_free(s);
    return end;
}

static void send_raw(struct session *s, const char *text)
{
    g_assert_cmpint(write(s->fd, text, strlen(text)), ==, (ssize_t)strlen(text));
}

static const char *receive(struct session *s)
{
    while (gdb_conn_next(&s->conn, s->packet, false) != GDB_INPUT_PACKET)
        g_assert_true(gdb_conn_fill(&s->conn));
    return s->packet->str;
}

static const char *ask(struct session *s, const char *packet)
{
    g_assert_true(gdb_conn_send(&s->conn, packet, strlen(packet)));
    return receive(s);
}

#define EXPECT(packet, want) g_assert_cmpstr(ask(s, packet), ==, want)

static void test_queries(void)
{
    struct session *s = start();

    EXPECT("?", "T05thread:01;");
    g_assert_nonnull(strstr(ask(s, "qSupported:multiprocess+;swbreak+"), "multiprocess+"));
    EXPECT("?", "T05thread:p64.01;");
    EXPECT("QStartNoAckMode", "OK");
    s->conn.no_ack = true;
    EXPECT("qfThreadInfo", "mp64.01,p64.02");
    EXPECT("qsThreadInfo", "l");
    EXPECT("qC", "QCp64.01");
    EXPECT("qCRC:0,10", "");
    EXPECT("qAttached:64", "0");
    EXPECT("Tp64.2", "OK");
    EXPECT("Tp64.3", "E03");
    EXPECT("Tp65.1", "E03");
    EXPECT("Hgp64.2", "OK");
    EXPECT("Hgp64.9", "E03");
    EXPECT("Hc-1", "OK");
    EXPECT("H", "E16");
    EXPECT("Hx1", "E16");
    EXPECT("qC", "QCp64.02");
    EXPECT("qThreadExtraInfo,p64.1", "746872656164203c313e");
    EXPECT("qXfer:features:read:target.xml:0,100", "l<target>}\x03}]}\x04}\n</target>");
    EXPECT("qXfer:features:read:target.xml:0,4", "m<tar");
    EXPECT("qXfer:features:read:other.xml:0,4", "E00");
    EXPECT("qXfer:features:read:target.xml:100,4", "l");
    EXPECT("qXfer:auxv:read::0,40", "lauxv of 2");
    EXPECT("qXfer:none:read::0,40", "E00");
    EXPECT("qXfer:auxv:read::,", "E00");
    EXPECT("qXfer:auxv", "");
    EXPECT("qXfer:auxv:write::0:00", "");
    g_assert_nonnull(strstr(ask(s, "qXfer:threads:read::0,1000"), "name=\"thread &lt;1&gt;\""));
    EXPECT("QPassSignals:e;1e;zz", "E16");
    EXPECT("QPassSignals:e;1e", "OK"); /* SIGALRM, SIGUSR1 */
    g_assert_cmphex(s->target.pass, ==, 1 << 13 | 1 << 9);
    EXPECT("QCatchSyscalls:1", ""); /* this target has none */
    EXPECT("vFile:open:2f,0,0", "");
    EXPECT("qRcmd,68656c6c6f", "O74686572650a");
    g_assert_cmpstr(receive(s), ==, "OK");
    EXPECT("vMustReplyEmpty", "");
    EXPECT("nonsense", "");
    EXPECT("", "");
    g_assert_cmpint(finish(s), ==, GDB_END_LOST);
}

static void test_registers(void)
{
    struct session *s = start();

    s->target.regs[1][0] = 0x1122334455667788;
    s->target.regs[2][3] = 0xdeadbeef;
    EXPECT("g", "8877665544332211"
                "0000000000000000"
                "00000000");
    EXPECT("p0", "8877665544332211");
    EXPECT("p2", "E16");
    EXPECT("p4", "E16");
    EXPECT("pffffffffffffffffffff", "E16");
    EXPECT("P1=0100000000000000", "OK");
    g_assert_cmphex(s->target.regs[1][1], ==, 1);
    EXPECT("P1=01", "E16");
    EXPECT("P2=0100000000000000", "E16");
    EXPECT("P1", "E16");
    EXPECT("Hg2", "OK");
    EXPECT("p3", "efbeadde");
    EXPECT("G"
           "0500000000000000"
           "0600000000000000"
           "07000000",
           "OK");
    g_assert_cmphex(s->target.regs[2][0], ==, 5);
    g_assert_cmphex(s->target.regs[2][3], ==, 7);
    EXPECT("G05", "E16");
    finish(s);
}

static void test_memory(void)
{
    struct session *s = start();

    EXPECT("m10,4", "10111213");
    EXPECT("mffe,4", "feff");
    EXPECT("m1000,4", "E0e");
    EXPECT("m10", "E16");
    EXPECT("m,", "E16");
    g_assert_cmpuint(strlen(ask(s, "m0,ffffffffffffffff")), ==, 2 * MEMORY_SIZE);
    EXPECT("M20,2:abcd", "OK");
    g_assert_cmphex(s->target.memory[0x20], ==, 0xab);
    EXPECT("M20,3:abcd", "E16");
    EXPECT("M20,1:abcd", "E16");
    EXPECT("M20,2:abcx", "E16");
    EXPECT("Mfff,2:0000", "E0e");
    EXPECT("X30,3:a}\x03z", "OK");
    g_assert_cmpmem(s->target.memory + 0x30, 3, "a#z", 3);
    EXPECT("X30,0:", "OK");
    EXPECT("X30,5:a", "E16");
    EXPECT("Mfffffffffffffffff,1:00", "E16");

    EXPECT("Z0,1000,4", "OK");
    EXPECT("Z2,2000,8", "OK");
    EXPECT("Z0,bad,4", "E16");
    EXPECT("Z5,0,4", "");
    EXPECT("Z0", "E16");
    EXPECT("z0,1000,4", "OK");
    g_assert_cmpstr(s->target.points->str, ==, "+0,1000,4+2,2000,8+0,bad,4-0,1000,4");
    finish(s);
}

static void check_action(struct session *s, unsigned i, uint64_t thread, enum gdb_resume resume,
                         unsigned signal)
{
    g_mutex_lock(&s->target.lock);
    g_assert_cmpuint(i, <, s->target.n_actions);
    g_assert_cmpuint(s->target.actions[i].thread, ==, thread);
    g_assert_cmpint(s->target.actions[i].resume, ==, resume);
    g_assert_cmpuint(s->target.actions[i].signal, ==, signal);
    g_mutex_unlock(&s->target.lock);
}

/* Resume with [packet]; the target stops as [stop]. */
static const char *run(struct session *s, const char *packet, struct gdb_stop stop)
{
    gdb_conn_send(&s->conn, packet, strlen(packet));
    for (unsigned n = 0; !n;) {
        g_usleep(1000);
        g_mutex_lock(&s->target.lock);
        n = s->target.n_actions;
        g_mutex_unlock(&s->target.lock);
    }
    stop_with(&s->target, stop);
    return receive(s);
}

static void test_running(void)
{
    struct session *s = start();

    EXPECT("vCont?", "vCont;c;C;s;S;r");
    g_assert_cmpstr(
        run(s, "vCont;S0b:2;c:1",
            (struct gdb_stop){.kind = GDB_STOP_WATCH, .signal = 5, .thread = 2, .value = 0x1234}),
        ==, "T05thread:02;watch:1234;");
    check_action(s, 0, 1, GDB_CONTINUE, 0);
    check_action(s, 1, 2, GDB_STEP, 11);
    check_action(s, 2, 0, GDB_STAY, 0);
    EXPECT("qC", "QC02");

    s->target.n_actions = 0;
    g_assert_cmpstr(run(s, "vCont;r10,20:2;C1e",
                        (struct gdb_stop){.kind = GDB_STOP_SWBREAK, .signal = 5, .thread = 1}),
                    ==, "T05thread:01;swbreak:;");
    check_action(s, 0, 1, GDB_CONTINUE, 0);
    check_action(s, 1, 2, GDB_STEP, 0);
    check_action(s, 2, 0, GDB_CONTINUE, 0);
    g_assert_cmphex(s->target.actions[1].end, ==, 0x20);

    s->target.n_actions = 0;
    g_assert_cmpstr(
        run(s, "c",
            (struct gdb_stop){
                .kind = GDB_STOP_SYSCALL_RETURN, .signal = 5, .thread = 1, .value = 63}),
        ==, "T05thread:01;syscall_return:3f;");
    check_action(s, 0, 1, GDB_CONTINUE, 0);
    check_action(s, 1, 2, GDB_CONTINUE, 0);

    s->target.n_actions = 0;
    EXPECT("Hc2", "OK");
    run(s, "S0f", (struct gdb_stop){.kind = GDB_STOP_SIGNAL, .signal = 64, .thread = 1});
    g_assert_cmpstr(s->packet->str, ==, "T4ethread:01;");
    check_action(s, 0, 1, GDB_STAY, 0);
    check_action(s, 1, 2, GDB_STEP, 15);

    EXPECT("vCont;q", "E16");
    EXPECT("vCont;C", "E16");
    EXPECT("vCont;c:x", "E16");
    EXPECT("vCont;cc", "E16");
    EXPECT("c1000", "E16");

    gdb_conn_send(&s->conn, "vCont;c", 7);
    send_raw(s, "\x03");
    g_assert_cmpstr(receive(s), ==, "T02thread:02;");
    g_assert_cmpuint(s->target.interrupts, ==, 1);

    s->target.n_actions = 0;
    run(s, "c", (struct gdb_stop){.kind = GDB_STOP_EXITED, .value = 0x17});
    g_assert_cmpstr(s->packet->str, ==, "W17");
    send_raw(s, "+");
    g_assert_cmpint(finish(s), ==, GDB_END_EXITED);
}

static void test_framing(void)
{
    struct session *s = start();
    char c;

    send_raw(s, "$?#00"); /* a wrong checksum is refused */
    g_assert_cmpint(read(s->fd, &c, 1), ==, 1);
    g_assert_cmpint(c, ==, '-');
    send_raw(s, "junk$?#3f"); /* what isn't a packet is passed over */
    g_assert_cmpstr(receive(s), ==, "T05thread:01;");
    send_raw(s, "-"); /* not understood: again */
    g_assert_cmpstr(receive(s), ==, "T05thread:01;");
    send_raw(s, "$");
    g_usleep(2000);
    send_raw(s, "?#");
    g_usleep(2000);
    send_raw(s, "3f"); /* in pieces */
    g_assert_cmpstr(receive(s), ==, "T05thread:01;");
    gdb_conn_send(&s->conn, "k", 1); /* has no answer */
    g_thread_join(g_thread_ref(s->thread));
    g_assert_cmpuint(s->target.killed, ==, 1);
    g_assert_cmpint(finish(s), ==, GDB_END_KILLED);
}

static void test_ends(void)
{
    struct session *s = start();

    EXPECT("D", "OK");
    g_thread_join(g_thread_ref(s->thread));
    g_assert_cmpuint(s->target.detached, ==, 1);
    g_assert_cmpint(finish(s), ==, GDB_END_DETACHED);

    s = start();
    EXPECT("vKill;64", "OK");
    g_thread_join(g_thread_ref(s->thread));
    g_assert_cmpuint(s->target.killed, ==, 1);
    g_assert_cmpint(finish(s), ==, GDB_END_KILLED);

    /* A packet without an end is not kept for ever. */
    s = start();
    for (unsigned i = 0; i < 100; i++) {
        char block[4096];

        memset(block, '$', sizeof(block));
        if (send(s->fd, block, sizeof(block), MSG_NOSIGNAL | MSG_DONTWAIT) < 0)
            break;
    }
    g_thread_join(g_thread_ref(s->thread));
    g_assert_cmpuint(s->target.detached, ==, 1);
    g_assert_cmpint(finish(s), ==, GDB_END_LOST);
}

/* Random packets of the protocol's own characters: no crash, and still an answer afterwards. */
static void test_random(void)
{
    static const char letters[] = "?gGmMpPHTqQvXzZ0123456789abcdef,;:=-+.}#xSsCcFile";
    struct session *s = start();
    g_autoptr(GRand) rand = g_rand_new_with_seed(1);

    EXPECT("QStartNoAckMode", "OK");
    s->conn.no_ack = true;
    for (unsigned i = 0; i < 20000; i++) {
        char packet[24];
        unsigned n = (unsigned)g_rand_int_range(rand, 1, sizeof(packet));

        for (unsigned j = 0; j < n; j++)
            packet[j] = letters[g_rand_int_range(rand, 0, sizeof(letters) - 1)];
        packet[n - 1] = 0;
        if (strchr("cCsSk", packet[0]) || strchr(packet, '#'))
            continue; /* these run the target */
        ask(s, packet);
    }
    EXPECT("?", "T05thread:01;");
    finish(s);
}

static void test_signals(void)
{
    g_assert_cmpuint(gdb_signal_from_linux(7), ==, 10);  /* SIGBUS */
    g_assert_cmpuint(gdb_signal_from_linux(17), ==, 20); /* SIGCHLD */
    g_assert_cmpuint(gdb_signal_from_linux(34), ==, 46);
    g_assert_cmpuint(gdb_signal_from_linux(63), ==, 75);
    for (unsigned i = 1; i <= 64; i++) {
        if (i != 16) /* SIGSTKFLT has no number */
            g_assert_cmpuint(gdb_signal_to_linux(gdb_signal_from_linux(i)), ==, i);
    }
    g_assert_cmpuint(gdb_signal_to_linux(7), ==, 0); /* SIGEMT */
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    g_test_add_func("/gdbstub/queries", test_queries);
    g_test_add_func("/gdbstub/registers", test_registers);
    g_test_add_func("/gdbstub/memory", test_memory);
    g_test_add_func("/gdbstub/running", test_running);
    g_test_add_func("/gdbstub/framing", test_framing);
    g_test_add_func("/gdbstub/ends", test_ends);
    g_test_add_func("/gdbstub/random", test_random);
    g_test_add_func("/gdbstub/signals", test_signals);
    return g_test_run();
}
