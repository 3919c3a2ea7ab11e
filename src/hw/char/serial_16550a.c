/*
 * The PC16550D UART at an address. Type "serial-mm": properties chardev, regshift, baudbase. One
 * region of 8 registers, one output.
 *
 * Characters go out as fast as the back end takes them, on the main loop's thread: a vCPU puts them
 * into a queue that is longer than the real FIFO, and the transmitter says that it is empty as long
 * as that has room for a FIFO's worth.
 */
#include <string.h>
#include <sys/ioctl.h>

#include "chardev/chardev.h"
#include "hw/mmio_device.h"
#include "qapi/error.h"
#include "util/clock.h"
#include "util/event_loop.h"

enum { FIFO_SIZE = 16, TX_SIZE = 4096 };

enum { RBR_THR = 0, IER = 1, IIR_FCR = 2, LCR = 3, MCR = 4, LSR = 5, MSR = 6, SCR = 7 };

enum { IER_RDI = 1, IER_THRI = 2, IER_RLSI = 4, IER_MSI = 8 };
enum { IIR_NONE = 1, IIR_MSI = 0, IIR_THRI = 2, IIR_RDI = 4, IIR_RLSI = 6, IIR_TIMEOUT = 12,
       IIR_FIFOS = 0xc0 };
enum { FCR_ENABLE = 1, FCR_CLEAR_RX = 2, FCR_CLEAR_TX = 4, FCR_KEPT = 0xc9 };
enum { LCR_STOP = 4, LCR_PARITY = 8, LCR_EVEN = 16, LCR_BREAK = 64, LCR_DLAB = 128 };
enum { MCR_DTR = 1, MCR_RTS = 2, MCR_OUT1 = 4, MCR_OUT2 = 8, MCR_LOOP = 16, MCR_KEPT = 31 };
enum { LSR_DR = 1, LSR_OE = 2, LSR_FE = 8, LSR_BI = 16, LSR_THRE = 32, LSR_TEMT = 64,
       LSR_FIFO_ERROR = 128, LSR_ERRORS = 30 };
enum { MSR_TERI = 4, MSR_DELTAS = 15, MSR_CTS = 16, MSR_DSR = 32, MSR_RI = 64, MSR_DCD = 128,
       MSR_LINES = 240 };

struct serial {
    struct mmio_device dev;
    char *chardev;
    uint8_t regshift;
    uint32_t baudbase;
    struct chardev *chr;            /* NULL: nothing is connected */
    struct bottom_half *work;       /* output and line settings, on the main loop */
    bool stands;                    /* the machine is stopped: bytes wait on both sides */
    struct timer *timeout;          /* of characters that wait in the FIFO */
    struct timer *poll_lines;       /* of a back end that has modem lines */

    uint8_t ier, fcr, lcr, mcr, scr, lsr_errors, msr;
    uint16_t divisor;
    bool thr_interrupt, timeout_interrupt;
    uint64_t timeout_at;            /* of the virtual clock; 0: not to come */
    uint8_t rx[FIFO_SIZE], rx_errors[FIFO_SIZE];
    uint8_t rx_count;
    uint8_t tx[TX_SIZE];
    uint32_t tx_count;
    bool waiting;                   /* for the back end: main loop only */
    bool input_stopped;             /* the back end has been told that there is no room */
    bool line_changed, modem_changed, break_changed;
};

static bool has_fifos(const struct serial *s)
{
    return s->fcr & FCR_ENABLE;
}

static bool tx_is_empty(const struct serial *s)
{
    return s->tx_count + FIFO_SIZE <= TX_SIZE;
}

static unsigned trigger_level(const struct serial *s)
{
    static const uint8_t levels[] = {1, 4, 8, 14};

    return has_fifos(s) ? levels[s->fcr >> 6] : 1;
}

/* The interrupt with the highest priority (data sheet, table IV). */
static uint8_t interrupt_id(const struct serial *s)
{
    if (s->ier & IER_RLSI && s->lsr_errors) {
        return IIR_RLSI;
    }
    if (s->ier & IER_RDI && s->rx_count >= trigger_level(s)) {
        return IIR_RDI;
    }
    if (s->ier & IER_RDI && s->timeout_interrupt) {
        return IIR_TIMEOUT;
    }
    if (s->ier & IER_THRI && s->thr_interrupt) {
        return IIR_THRI;
    }
    if (s->ier & IER_MSI && s->msr & MSR_DELTAS) {
        return IIR_MSI;
    }
    return IIR_NONE;
}

static void update_irq(struct serial *s)
{
    irq_set(&s->dev.irqs[0], interrupt_id(s) != IIR_NONE);
}

static struct chardev_line line_of(const struct serial *s)
{
    unsigned speed = s->baudbase / MAX(s->divisor, 1);

    return (struct chardev_line){
        .speed = MAX(speed, 1),
        .data_bits = 5 + (s->lcr & 3),
        .stop_bits = s->lcr & LCR_STOP ? 2 : 1,
        .parity = !(s->lcr & LCR_PARITY) ? 'N' : s->lcr & LCR_EVEN ? 'E' : 'O',
    };
}

/* Four characters' time after the last one came or was read, the rest is announced, too. */
static void arm_timeout(struct serial *s)
{
    struct chardev_line line = line_of(s);
    int64_t bits = 1 + line.data_bits + (line.parity != 'N') + line.stop_bits;

    s->timeout_interrupt = false;
    s->timeout_at = 0;
    if (!has_fifos(s) || s->rx_count == 0) {
        timer_disarm(s->timeout);
        return;
    }
    s->timeout_at = (uint64_t)(clocks_now(s->dev.hw->clocks, CLOCK_VIRTUAL) +
                               4 * bits * 1000000000 / line.speed);
    timer_arm(s->timeout, (int64_t)s->timeout_at);
}

static void timeout_due(void *opaque)
{
    struct serial *s = opaque;

    g_mutex_lock(&s->dev.lock);
    if (s->rx_count && s->timeout_at) {
        s->timeout_at = 0;
        s->timeout_interrupt = true;
        update_irq(s);
    }
    g_mutex_unlock(&s->dev.lock);
}

/* Errors belong to the character that is next to be read. */
static void reveal_errors(struct serial *s)
{
    if (s->rx_count) {
        s->lsr_errors |= s->rx_errors[0];
        s->rx_errors[0] = 0;
    }
}

static void receive_one(struct serial *s, uint8_t byte, uint8_t errors)
{
    unsigned room = has_fifos(s) ? FIFO_SIZE : 1;

    if (s->rx_count < room) {
        s->rx[s->rx_count] = byte;
        s->rx_errors[s->rx_count++] = errors;
    } else {
        s->lsr_errors |= LSR_OE;
        if (!has_fifos(s)) {
            s->rx[0] = byte;
        }
    }
    reveal_errors(s);
    arm_timeout(s);
}

/* ---- The back end's side, on the main loop ---- */

static void do_work(void *opaque);

static void is_writable(void *opaque)
{
    struct serial *s = opaque;

    s->waiting = false;
    do_work(s);
}

static void write_out(struct serial *s)
{
    uint8_t data[TX_SIZE];
    uint32_t size = s->tx_count;
    ssize_t written;
    bool was_empty;

    if (!s->chr || s->waiting || s->stands || size == 0) {
        return;
    }
    /* Nobody else takes bytes out of the queue, so the first ones stay what they are. */
    memcpy(data, s->tx, size);
    g_mutex_unlock(&s->dev.lock);
    written = chardev_write(s->chr, data, size);
    if (written >= 0 && written < size) {
        s->waiting = true;
        chardev_on_writable(s->chr, is_writable, s);
    }
    g_mutex_lock(&s->dev.lock);
    /* Without anybody at the other end it is lost, as on a wire. */
    size = written < 0 ? s->tx_count : (uint32_t)written;
    was_empty = tx_is_empty(s);
    memmove(s->tx, s->tx + size, s->tx_count - size);
    s->tx_count -= size;
    if (!was_empty && tx_is_empty(s)) {
        s->thr_interrupt = true;
        update_irq(s);
    }
}

static void do_work(void *opaque)
{
    struct serial *s = opaque;
    struct chardev_line line;
    bool line_changed, modem_changed, break_changed, accept;
    uint8_t lcr, mcr;

    g_mutex_lock(&s->dev.lock);
    write_out(s);
    line = line_of(s);
    lcr = s->lcr;
    mcr = s->mcr;
    line_changed = s->line_changed;
    modem_changed = s->modem_changed;
    break_changed = s->break_changed;
    accept = s->input_stopped && !s->stands && s->rx_count < (has_fifos(s) ? FIFO_SIZE : 1);
    s->line_changed = s->modem_changed = s->break_changed = false;
    s->input_stopped &= !accept;
    g_mutex_unlock(&s->dev.lock);
    if (!s->chr) {
        return;
    }
    if (line_changed) {
        chardev_set_line(s->chr, &line);
    }
    if (break_changed) {
        chardev_set_line_break(s->chr, lcr & LCR_BREAK);
    }
    if (modem_changed) {
        chardev_set_modem_lines(s->chr, (mcr & MCR_DTR ? TIOCM_DTR : 0) |
                                            (mcr & MCR_RTS ? TIOCM_RTS : 0));
    }
    if (accept) {
        chardev_accept_input(s->chr);
    }
}

/* What was sent goes out before the machine's state is anybody's. */
static void run_changed(struct mmio_device *dev, bool runs)
{
    struct serial *s = (struct serial *)dev;

    if (runs) {
        bottom_half_schedule(s->work);
    } else {
        do_work(s);
    }
    g_mutex_lock(&dev->lock);
    s->stands = !runs;
    g_mutex_unlock(&dev->lock);
}

static size_t can_receive(void *opaque)
{
    struct serial *s = opaque;
    size_t room = 0;

    g_mutex_lock(&s->dev.lock);
    if (!(s->mcr & MCR_LOOP) && !s->stands) {
        room = (has_fifos(s) ? FIFO_SIZE : 1) - MIN(s->rx_count, has_fifos(s) ? FIFO_SIZE : 1);
    }
    s->input_stopped = room == 0;
    g_mutex_unlock(&s->dev.lock);
    return room;
}

static void receive(void *opaque, const uint8_t *data, size_t size)
{
    struct serial *s = opaque;

    g_mutex_lock(&s->dev.lock);
    for (size_t i = 0; i < size; i++) {
        receive_one(s, data[i], 0);
    }
    update_irq(s);
    g_mutex_unlock(&s->dev.lock);
}

static void event(void *opaque, enum chardev_event what)
{
    struct serial *s = opaque;

    if (what != CHARDEV_BREAK) {
        return;
    }
    g_mutex_lock(&s->dev.lock);
    if (!(s->mcr & MCR_LOOP)) {
        receive_one(s, 0, LSR_BI | LSR_FE);
        update_irq(s);
    }
    g_mutex_unlock(&s->dev.lock);
}

static const struct chardev_frontend_ops frontend_ops = {
    .can_receive = can_receive,
    .receive = receive,
    .event = event,
};

/* ---- Modem lines ---- */

/* New states of the inputs; what changed is remembered (data sheet, 8.8). */
static void set_lines(struct serial *s, uint8_t lines)
{
    uint8_t changed = (lines ^ s->msr) & MSR_LINES;

    s->msr = (s->msr & MSR_DELTAS) | lines | (changed & (MSR_CTS | MSR_DSR | MSR_DCD)) >> 4;
    if (changed & MSR_RI && !(lines & MSR_RI)) {
        s->msr |= MSR_TERI;
    }
}

static uint8_t looped_lines(const struct serial *s)
{
    return (s->mcr & MCR_RTS ? MSR_CTS : 0) | (s->mcr & MCR_DTR ? MSR_DSR : 0) |
           (s->mcr & MCR_OUT1 ? MSR_RI : 0) | (s->mcr & MCR_OUT2 ? MSR_DCD : 0);
}

/* Of the back end; one without lines is always ready. */
static uint8_t outer_lines(const struct serial *s)
{
    int lines;

    if (!s->chr || !chardev_get_modem_lines(s->chr, &lines)) {
        return MSR_DCD | MSR_DSR | MSR_CTS;
    }
    return (lines & TIOCM_CTS ? MSR_CTS : 0) | (lines & TIOCM_DSR ? MSR_DSR : 0) |
           (lines & TIOCM_RI ? MSR_RI : 0) | (lines & TIOCM_CD ? MSR_DCD : 0);
}

static void poll_lines_due(void *opaque)
{
    struct serial *s = opaque;
    uint8_t lines = outer_lines(s);

    g_mutex_lock(&s->dev.lock);
    if (!(s->mcr & MCR_LOOP)) {
        set_lines(s, lines);
        update_irq(s);
    }
    g_mutex_unlock(&s->dev.lock);
    timer_arm(s->poll_lines, clocks_now(NULL, CLOCK_REAL) + 10000000);
}

static void write_mcr(struct serial *s, uint8_t value)
{
    bool was_loop = s->mcr & MCR_LOOP;

    s->modem_changed |= ((s->mcr ^ value) & (MCR_DTR | MCR_RTS)) != 0;
    s->mcr = value & MCR_KEPT;
    if (s->mcr & MCR_LOOP) {
        set_lines(s, looped_lines(s));
    } else if (was_loop) {
        set_lines(s, MSR_DCD | MSR_DSR | MSR_CTS);
    }
    if (s->modem_changed || was_loop) {
        bottom_half_schedule(s->work);
    }
}

/* ---- Registers ---- */

static void transmit(struct serial *s, uint8_t byte)
{
    if (s->mcr & MCR_LOOP) {
        receive_one(s, byte, 0);
    } else if (s->chr && s->tx_count < TX_SIZE) {
        s->tx[s->tx_count++] = byte;
        bottom_half_schedule(s->work);
    }
    s->thr_interrupt = tx_is_empty(s);
}

static void write_fcr(struct serial *s, uint8_t value)
{
    bool toggled = (s->fcr ^ value) & FCR_ENABLE;

    if (toggled || value & FCR_CLEAR_RX) {
        s->rx_count = 0;
        arm_timeout(s);
    }
    /* What was given to the transmitter is on the wire already: it can't be taken back. */
    if (toggled || value & FCR_CLEAR_TX) {
        s->thr_interrupt = tx_is_empty(s);
    }
    s->fcr = value & FCR_ENABLE ? value & FCR_KEPT : 0;
    if (s->input_stopped) {
        bottom_half_schedule(s->work);
    }
}

static void write_lcr(struct serial *s, uint8_t value)
{
    uint8_t changed = s->lcr ^ value;

    s->lcr = value;
    s->break_changed |= (changed & LCR_BREAK) != 0;
    s->line_changed |= (changed & 0x3f) != 0;
    if (s->chr && (s->break_changed || s->line_changed)) {
        bottom_half_schedule(s->work);
    }
}

static void write_divisor(struct serial *s, unsigned shift, uint8_t value)
{
    s->divisor = (uint16_t)((s->divisor & ~(0xff << shift)) | value << shift);
    s->line_changed = true;
    if (s->chr) {
        bottom_half_schedule(s->work);
    }
}

static void serial_write(void *opaque, uint64_t offset, uint64_t wide, unsigned size)
{
    struct serial *s = opaque;
    uint8_t value = (uint8_t)wide;

    switch (offset >> s->regshift) {
    case RBR_THR:
        if (s->lcr & LCR_DLAB) {
            write_divisor(s, 0, value);
        } else {
            transmit(s, value);
        }
        break;
    case IER:
        if (s->lcr & LCR_DLAB) {
            write_divisor(s, 8, value);
            break;
        }
        if (value & ~s->ier & IER_THRI) {
            s->thr_interrupt = tx_is_empty(s);
        }
        s->ier = value & 15;
        break;
    case IIR_FCR: write_fcr(s, value); break;
    case LCR: write_lcr(s, value); break;
    case MCR: write_mcr(s, value); break;
    case SCR: s->scr = value; break;
    default: break; /* LSR, MSR: of the factory's tests */
    }
    update_irq(s);
}

static uint8_t read_rbr(struct serial *s)
{
    uint8_t value = s->rx[0];

    if (s->rx_count == 0) {
        return 0;
    }
    s->rx_count--;
    memmove(s->rx, s->rx + 1, s->rx_count);
    memmove(s->rx_errors, s->rx_errors + 1, s->rx_count);
    reveal_errors(s);
    arm_timeout(s);
    if (s->input_stopped) {
        bottom_half_schedule(s->work);
    }
    return value;
}

static uint8_t read_lsr(struct serial *s)
{
    uint8_t value = s->lsr_errors;

    s->lsr_errors = 0;
    if (s->rx_count) {
        value |= LSR_DR;
    }
    if (tx_is_empty(s)) {
        value |= LSR_THRE | LSR_TEMT;
    }
    for (unsigned i = 0; has_fifos(s) && i < s->rx_count; i++) {
        value |= s->rx_errors[i] ? LSR_FIFO_ERROR : 0;
    }
    if (has_fifos(s) && value & (LSR_BI | LSR_FE)) {
        value |= LSR_FIFO_ERROR;
    }
    return value;
}

static uint64_t serial_read(void *opaque, uint64_t offset, unsigned size)
{
    struct serial *s = opaque;
    uint8_t value = 0;

    switch (offset >> s->regshift) {
    case RBR_THR:
        value = s->lcr & LCR_DLAB ? (uint8_t)s->divisor : read_rbr(s);
        break;
    case IER:
        value = s->lcr & LCR_DLAB ? (uint8_t)(s->divisor >> 8) : s->ier;
        break;
    case IIR_FCR:
        value = interrupt_id(s);
        if (value == IIR_THRI) {
            s->thr_interrupt = false;
        }
        value |= has_fifos(s) ? IIR_FIFOS : 0;
        break;
    case LCR: value = s->lcr; break;
    case MCR: value = s->mcr; break;
    case LSR: value = read_lsr(s); break;
    case MSR:
        value = s->msr;
        s->msr &= MSR_LINES;
        break;
    case SCR: value = s->scr; break;
    }
    update_irq(s);
    return value;
}

/* Wider accesses than a byte are of one register, too. */
static const struct region_ops ops = {
    .read_simple = serial_read,
    .write_simple = serial_write,
    .min_size = 1,
    .max_size = 8,
};

/* ---- The device ---- */

static bool realize(struct mmio_device *dev, GError **error)
{
    struct serial *s = (struct serial *)dev;
    int lines;

    if (s->regshift > 4 || s->baudbase == 0) {
        g_set_error(error, QAPI_ERROR, QAPI_ERROR_GENERIC,
                    "serial-mm: regshift can be 0 to 4, and baudbase can't be 0");
        return false;
    }
    s->work = bottom_half_new(dev->hw->loop, do_work, s);
    s->timeout = timer_new(dev->hw->loop, dev->hw->clocks, CLOCK_VIRTUAL, timeout_due, s);
    s->poll_lines = timer_new(dev->hw->loop, NULL, CLOCK_REAL, poll_lines_due, s);
    region_init_mmio(&dev->regions[0], "serial", &ops, s, 8ull << s->regshift, &dev->lock);
    dev->n_regions = 1;
    if (s->chardev) {
        struct chardev *chr = chardev_find(object_root_of(&dev->device.object), s->chardev);

        if (!chr) {
            g_set_error(error, QAPI_ERROR, QAPI_ERROR_GENERIC,
                        "Property 'serial-mm.chardev' can't find value '%s'", s->chardev);
            return false;
        }
        if (!chardev_attach(chr, &frontend_ops, s, error)) {
            return false;
        }
        s->chr = chr;
        if (chardev_get_modem_lines(chr, &lines)) {
            timer_arm(s->poll_lines, 0);
        }
    }
    return true;
}

static void reset(struct mmio_device *dev)
{
    struct serial *s = (struct serial *)dev;

    arm_timeout(s);
    s->line_changed = s->modem_changed = s->break_changed = true;
    bottom_half_schedule(s->work);
    update_irq(s);
}

static void unrealize(struct mmio_device *dev)
{
    struct serial *s = (struct serial *)dev;

    if (s->chr) {
        chardev_detach(s->chr, s);
    }
    g_clear_pointer(&s->work, bottom_half_free);
    g_clear_pointer(&s->timeout, timer_free);
    g_clear_pointer(&s->poll_lines, timer_free);
}

static bool after_load(void *instance, uint32_t version, GError **error)
{
    struct serial *s = instance;

    if (s->rx_count > FIFO_SIZE || s->tx_count > TX_SIZE) {
        g_set_error(error, QAPI_ERROR, QAPI_ERROR_GENERIC,
                    "The saved state of a serial-mm has more characters than its queues hold");
        return false;
    }
    s->ier &= 15;
    s->fcr &= FCR_KEPT;
    s->mcr &= MCR_KEPT;
    if (s->timeout_at) {
        timer_arm(s->timeout, (int64_t)MIN(s->timeout_at, INT64_MAX));
    } else {
        timer_disarm(s->timeout);
    }
    s->line_changed = s->modem_changed = s->break_changed = true;
    s->input_stopped = true;
    bottom_half_schedule(s->work);
    update_irq(s);
    return true;
}

static const struct state_field fields[] = {
    STATE_FIELD(serial, ier, STATE_U8),
    STATE_FIELD(serial, fcr, STATE_U8),
    STATE_FIELD(serial, lcr, STATE_U8),
    STATE_FIELD(serial, mcr, STATE_U8, .reset = MCR_OUT2),
    STATE_FIELD(serial, scr, STATE_U8),
    STATE_FIELD(serial, lsr_errors, STATE_U8),
    STATE_FIELD(serial, msr, STATE_U8, .reset = MSR_DCD | MSR_DSR | MSR_CTS),
    STATE_FIELD(serial, divisor, STATE_U16, .reset = 12),
    STATE_FIELD(serial, thr_interrupt, STATE_BOOL),
    STATE_FIELD(serial, timeout_interrupt, STATE_BOOL),
    STATE_FIELD(serial, timeout_at, STATE_U64),
    STATE_ARRAY(serial, rx, STATE_BYTES),
    STATE_ARRAY(serial, rx_errors, STATE_BYTES),
    STATE_FIELD(serial, rx_count, STATE_U8),
    /* What the guest wrote before a reset still comes out. */
    STATE_ARRAY(serial, tx, STATE_BYTES, .keep = true),
    STATE_FIELD(serial, tx_count, STATE_U32, .keep = true),
};

static const struct state_table state = {
    .name = "serial-mm",
    .version = 1,
    .fields = fields,
    .n_fields = G_N_ELEMENTS(fields),
    .after_load = after_load,
};

static const struct mmio_device_class serial_class = {
    .state = &state,
    .n_irqs = 1,
    .realize = realize,
    .run_changed = run_changed,
    .reset = reset,
    .unrealize = unrealize,
};

static const struct property properties[] = {
    PROPERTY("chardev", serial, chardev, qapi_type_str, NULL,
             "ID of a chardev to use as a backend"),
    PROPERTY("regshift", serial, regshift, qapi_type_uint8, "0",
             "Registers are 1 << regshift apart"),
    PROPERTY("baudbase", serial, baudbase, qapi_type_uint32, "115200",
             "Bits per second with divisor 1"),
};

static const struct object_type serial_type = {
    .name = "serial-mm",
    .parent = "mmio-device",
    .instance_size = sizeof(struct serial),
    .properties = properties,
    .n_properties = G_N_ELEMENTS(properties),
    .class_data = &serial_class,
};
OBJECT_TYPE(serial_type);
