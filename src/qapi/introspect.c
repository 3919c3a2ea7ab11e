/*
 * What query-qmp-schema answers: the interface as data, as QEMU's SchemaInfo is. Types are found
 * from the commands and events on, so that only what a client can meet is there; as in QEMU their
 * names are numbers, which change from version to version: clients go by paths.
 */
#include "qapi/command.h"

struct introspection {
    json_object *out;
    GHashTable *numbers;  /* type -> its number + 1 */
    GQueue queue;         /* types that have a number and are not in out yet */
    GHashTable *builtins; /* names of those that are in out */
    GHashTable *arrays;
};

/* No arguments, no return value, a branch without members: the type with the number 0. */
static const struct qapi_type empty = {.name = "empty", .kind = QAPI_KIND_STRUCT};

static void add_string(json_object *object, const char *key, const char *value)
{
    json_object_object_add(object, key, json_object_new_string(value));
}

static json_object *add_info(struct introspection *in, const char *name, const char *meta_type)
{
    json_object *info = json_object_new_object();

    add_string(info, "name", name);
    add_string(info, "meta-type", meta_type);
    json_object_array_add(in->out, info);
    return info;
}

static void add_builtin(struct introspection *in, const char *name, const char *json_type)
{
    if (g_hash_table_add(in->builtins, (char *)name)) {
        add_string(add_info(in, name, "builtin"), "json-type", json_type);
    }
}

/* The type's name in the answer, and a promise that it will be there. Free with g_free. */
static char *type_name(struct introspection *in, const struct qapi_type *type)
{
    const char *name = NULL;
    gpointer number;

    switch (type->kind) {
    case QAPI_KIND_INT:
    case QAPI_KIND_UINT:
    case QAPI_KIND_SIZE:
        name = "int";
        add_builtin(in, name, "int");
        break;
    case QAPI_KIND_BOOL:
        name = "bool";
        add_builtin(in, name, "boolean");
        break;
    case QAPI_KIND_NUMBER:
        name = "number";
        add_builtin(in, name, "number");
        break;
    case QAPI_KIND_STR:
        name = "str";
        add_builtin(in, name, "string");
        break;
    case QAPI_KIND_ANY:
        name = "any";
        add_builtin(in, name, "value");
        break;
    case QAPI_KIND_NULL:
        name = "null";
        add_builtin(in, name, "null");
        break;
    case QAPI_KIND_LIST: {
        g_autofree char *element = type_name(in, type->element);
        char *array = g_strdup_printf("[%s]", element);

        if (g_hash_table_add(in->arrays, g_strdup(array))) {
            add_string(add_info(in, array, "array"), "element-type", element);
        }
        return array;
    }
    default: break;
    }
    if (name) {
        return g_strdup(name);
    }
    number = g_hash_table_lookup(in->numbers, type);
    if (!number) {
        number = GUINT_TO_POINTER(g_hash_table_size(in->numbers) + 1);
        g_hash_table_insert(in->numbers, (gpointer)type, number);
        g_queue_push_tail(&in->queue, (gpointer)type);
    }
    return g_strdup_printf("%u", GPOINTER_TO_UINT(number) - 1);
}

static void add_type(struct introspection *in, json_object *object, const char *key,
                     const struct qapi_type *type)
{
    g_autofree char *name = type_name(in, type ? type : &empty);

    add_string(object, key, name);
}

static void add_features(json_object *object, const char *const *features)
{
    json_object *array;

    if (!features) {
        return;
    }
    array = json_object_new_array();
    for (; *features; features++) {
        json_object_array_add(array, json_object_new_string(*features));
    }
    json_object_object_add(object, "features", array);
}

static void add_object(struct introspection *in, const struct qapi_type *type, const char *name)
{
    json_object *info = add_info(in, name, "object");
    json_object *members = json_object_new_array(), *variants;

    for (uint32_t i = 0; i < type->n_members; i++) {
        const struct qapi_member *member = &type->members[i];
        json_object *object = json_object_new_object();

        add_string(object, "name", member->name);
        add_type(in, object, "type", member->type);
        if (member->optional) {
            json_object_object_add(object, "default", NULL);
        }
        add_features(object, member->features);
        json_object_array_add(members, object);
    }
    json_object_object_add(info, "members", members);
    if (type->kind == QAPI_KIND_UNION) {
        add_string(info, "tag", type->tag->name);
        variants = json_object_new_array();
        for (uint32_t i = 0; i < type->n_branches; i++) {
            json_object *variant = json_object_new_object();

            add_string(variant, "case", type->branches[i].name);
            add_type(in, variant, "type", type->branches[i].type);
            json_object_array_add(variants, variant);
        }
        json_object_object_add(info, "variants", variants);
    }
    add_features(info, type->features);
}

static void add_enum(struct introspection *in, const struct qapi_type *type, const char *name)
{
    json_object *info = add_info(in, name, "enum");
    json_object *members = json_object_new_array(), *values = json_object_new_array();

    for (uint32_t i = 0; i < type->n_values; i++) {
        json_object *member = json_object_new_object();

        add_string(member, "name", type->values[i].name);
        add_features(member, type->values[i].features);
        json_object_array_add(members, member);
        json_object_array_add(values, json_object_new_string(type->values[i].name));
    }
    json_object_object_add(info, "members", members);
    json_object_object_add(info, "values", values);
    add_features(info, type->features);
}

static void add_alternate(struct introspection *in, const struct qapi_type *type, const char *name)
{
    json_object *info = add_info(in, name, "alternate");
    json_object *members = json_object_new_array();

    for (uint32_t i = 0; i < type->n_branches; i++) {
        json_object *member = json_object_new_object();

        add_type(in, member, "type", type->branches[i].type);
        json_object_array_add(members, member);
    }
    json_object_object_add(info, "members", members);
    add_features(info, type->features);
}

json_object *qapi_introspect(const struct qapi_schema *schema)
{
    struct introspection in = {
        .out = json_object_new_array(),
        .numbers = g_hash_table_new(NULL, NULL),
        .queue = G_QUEUE_INIT,
        .builtins = g_hash_table_new(g_str_hash, g_str_equal),
        .arrays = g_hash_table_new_full(g_str_hash, g_str_equal, g_free, NULL),
    };
    const struct qapi_type *type;

    g_free(type_name(&in, &empty));
    for (size_t i = 0; i < schema->n_commands; i++) {
        const struct qapi_command *command = &schema->commands[i];
        json_object *info = add_info(&in, command->name, "command");

        add_type(&in, info, "arg-type", command->arg);
        add_type(&in, info, "ret-type", command->ret);
        if (command->flags & QAPI_COMMAND_OOB) {
            json_object_object_add(info, "allow-oob", json_object_new_boolean(true));
        }
        add_features(info, command->features);
    }
    for (size_t i = 0; i < schema->n_events; i++) {
        json_object *info = add_info(&in, schema->events[i].name, "event");

        add_type(&in, info, "arg-type", schema->events[i].arg);
        add_features(info, schema->events[i].features);
    }
    while ((type = g_queue_pop_head(&in.queue))) {
        g_autofree char *name = type_name(&in, type);

        if (type->kind == QAPI_KIND_ENUM) {
            add_enum(&in, type, name);
        } else if (type->kind == QAPI_KIND_ALTERNATE) {
            add_alternate(&in, type, name);
        } else {
            add_object(&in, type, name);
        }
    }
    g_hash_table_destroy(in.numbers);
    g_hash_table_destroy(in.builtins);
    g_hash_table_destroy(in.arrays);
    return in.out;
}
