/*
 * Board "spike", as the RISC-V simulator of that name: harts, memory, a CLINT, and HTIF, by which
 * test programs write their console and end. An ELF file says by its symbols where HTIF's words
 * are.
 */
#include "machine/riscv_board.h"

enum { HTIF_BASE = 0x1000000 };

struct spike_board {
    struct riscv_board board;
    char *signature;                /* file */
    uint8_t signature_granularity;  /* bytes in a line of it */
};

enum { SYMBOL_TOHOST, SYMBOL_FROMHOST, SYMBOL_BEGIN, SYMBOL_END };
static const char *const symbols[] = {"tohost", "fromhost", "begin_signature", "end_signature",
                                      NULL};

static bool has_htif_symbols(const struct riscv_board *board)
{
    return board->symbols[SYMBOL_TOHOST].found && board->symbols[SYMBOL_FROMHOST].found;
}

static bool make_devices(struct riscv_board *board, GError **error)
{
    const struct spike_board *spike = (struct spike_board *)board;
    g_autoptr(GString) properties = g_string_new(NULL);
    uint64_t tohost = HTIF_BASE, step = 8;

    g_string_printf(properties, "signature-granularity=%u", spike->signature_granularity);
    if (riscv_board_serial(board, 0)) {
        g_string_append_printf(properties, ";chardev=%s", riscv_board_serial(board, 0));
    }
    if (spike->signature && board->symbols[SYMBOL_BEGIN].found &&
        board->symbols[SYMBOL_END].found) {
        g_string_append_printf(properties,
                               ";signature=%s;signature-begin=%" PRIu64 ";signature-end=%" PRIu64,
                               spike->signature, board->symbols[SYMBOL_BEGIN].value,
                               board->symbols[SYMBOL_END].value);
    }
    if (has_htif_symbols(board)) {
        tohost = board->symbols[SYMBOL_TOHOST].value;
        step = board->symbols[SYMBOL_FROMHOST].value - tohost;
        if (!tohost || step + 7 < 15) {
            g_set_error(error, QAPI_ERROR, QAPI_ERROR_GENERIC,
                        "the symbols tohost and fromhost name the same memory, or none");
            return false;
        }
    }
    return riscv_board_add(board, "riscv_htif", "htif", properties->str, tohost, step, error) !=
           NULL;
}

static void describe(struct riscv_board *board)
{
    struct fdt *fdt = board->fdt;

    fdt_set_string(fdt, "/", "model", "ucbbar,spike-bare,qemu");
    fdt_set_string(fdt, "/", "compatible", "ucbbar,spike-bare-dev");
    fdt_add_node(fdt, "/htif");
    fdt_set_string(fdt, "/htif", "compatible", "ucb,htif0");
    if (!has_htif_symbols(board)) {
        fdt_set_reg(fdt, "/htif", HTIF_BASE, 0x1000);
    }
    fdt_set_string(fdt, "/chosen", "stdout-path", "/htif");
}

static const struct riscv_board_info spike_info = {
    .ram_name = "riscv.spike.ram",
    .rom_name = "riscv.spike.mrom",
    RISCV_BOARD_PLACES,
    .make_devices = make_devices,
    .describe = describe,
    .symbols = symbols,
};

static void init(struct object *obj)
{
    riscv_board_init(obj, &spike_info);
}

static const struct property spike_properties[] = {
    PROPERTY("signature", spike_board, signature, qapi_type_str, NULL,
             "file for a test's signature"),
    PROPERTY("signature-granularity", spike_board, signature_granularity, qapi_type_uint8, "16",
             "bytes in a line of the signature"),
};

static const struct machine_class spike_class = {
    .name = "spike",
    .description = "RISC-V Spike board",
    RISCV_BOARD_CLASS,
    .is_default = true,
    .default_ram_id = "riscv.spike.ram",
    .max_cpus = 8,
};

static const struct object_type spike_type = {
    .name = "spike-machine",
    .parent = "machine",
    .description = "RISC-V Spike board",
    .instance_size = sizeof(struct spike_board),
    .properties = spike_properties,
    .n_properties = G_N_ELEMENTS(spike_properties),
    .init = init,
    .class_data = &spike_class,
};
OBJECT_TYPE(spike_type);
