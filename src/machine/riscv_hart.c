#include "machine/riscv_hart.h"

#include "guest/riscv/riscv_system.h"
#include "hw/state.h"

struct hart {
    struct object object;
    struct vcpu *cpu;               /* NULL: not connected */
    struct state_field *fields;
    struct state_table table;       /* of the vCPU's structure */
};

char *riscv_hart_name(unsigned n)
{
    return g_strdup_printf("harts[%u]", n);
}

static void before_save(void *instance)
{
    riscv_state_before_save(instance);
}

static bool after_load(void *instance, uint32_t version, GError **error)
{
    struct vcpu *cpu = instance;

    cpu->r[0] = 0;
    cpu->pc &= ~UINT64_C(1);
    riscv_state_after_load(cpu);
    return true;
}

/* The guest has a list of its own, since it is below the layer of tables. */
static void init(struct object *obj)
{
    static const struct state_field registers[] = {
        {.name = "x", .kind = STATE_U64, .offset = offsetof(struct vcpu, r), .count = 32},
        {.name = "pc", .kind = STATE_U64, .offset = offsetof(struct vcpu, pc), .count = 1},
        {.name = "f", .kind = STATE_U64, .offset = offsetof(struct riscv_vcpu, f), .count = 32},
    };
    struct hart *hart = (struct hart *)obj;
    size_t n = G_N_ELEMENTS(registers);

    hart->fields = g_new0(struct state_field, n + riscv_n_state_fields);
    for (size_t i = 0; i < n; i++) {
        hart->fields[i] = registers[i];
    }
    for (size_t i = 0; i < riscv_n_state_fields; i++) {
        hart->fields[n + i] = (struct state_field){
            .name = riscv_state_fields[i].name,
            .kind = STATE_U64,
            .offset = riscv_state_fields[i].offset,
            .count = riscv_state_fields[i].count,
        };
    }
    hart->table = (struct state_table){
        .name = "riscv-cpu",
        .version = 1,
        .fields = hart->fields,
        .n_fields = n + riscv_n_state_fields,
        .before_save = before_save,
        .after_load = after_load,
    };
}

static void finalize(struct object *obj)
{
    g_free(((struct hart *)obj)->fields);
}

static void save(struct object *obj, GByteArray *out)
{
    struct hart *hart = (struct hart *)obj;
    g_autofree char *id = object_path(obj);

    state_save(&hart->table, hart->cpu, id, out);
}

static bool load(struct object *obj, const uint8_t *data, size_t size, size_t *position,
                 GError **error)
{
    struct hart *hart = (struct hart *)obj;
    g_autofree char *id = object_path(obj);

    return state_load(&hart->table, hart->cpu, id, data, size, position, error);
}

static const struct state_ops state_ops = {.save = save, .load = load};

static const struct object_type hart_type = {
    .name = "riscv-cpu",
    .parent = "object",
    .description = "a hart",
    .instance_size = sizeof(struct hart),
    .state = &state_ops,
    .init = init,
    .finalize = finalize,
};
OBJECT_TYPE(hart_type);

static const struct object_type array_type = {
    .name = "riscv.hart_array",
    .parent = "object",
    .description = "the harts of a cluster",
    .instance_size = sizeof(struct object),
};
OBJECT_TYPE(array_type);

struct object *riscv_harts_new(struct object *parent, unsigned n, GError **error)
{
    auto_ptr(object) array = object_new(&array_type);

    if (!object_add_child(parent, "soc0", array, error)) {
        return NULL;
    }
    for (unsigned i = 0; i < n; i++) {
        g_autofree char *name = riscv_hart_name(i);
        auto_ptr(object) hart = object_new(&hart_type);

        if (!object_add_child(array, name, hart, error) || !object_complete(hart, error)) {
            return NULL;
        }
    }
    return object_complete(array, error) ? array : NULL;
}

void riscv_hart_connect(struct object *harts, unsigned n, struct vcpu *cpu)
{
    g_autofree char *name = riscv_hart_name(n);

    ((struct hart *)object_child(harts, name))->cpu = cpu;
}
