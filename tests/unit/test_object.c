/* The object core: types, the tree, properties, links, completion, deletion, help, hotplug. */
#include <glib.h>
#include <string.h>

#include "object/device.h"
#include "object/hotplug.h"
#include "object/object.h"
#include "qapi/error.h"
#include "qapi/qapi_types.h"

/* ---- Types of this test ---- */

struct base {
    struct object object;
    char *label;
    int64_t level;
    bool on;
    struct object *friend;
    unsigned changes;
};

struct thing {
    struct base base;
    struct qapi_throttle_limits limits;
    struct qapi_str_list words;
    enum qapi_on_off_auto mode;
    char *secret;
    uint64_t bytes;
    bool fail, stuck;
};

struct events {
    GString *text;
};

/* What finalize and the hotplug functions tell the test. */
static struct events events;

static bool check_level(struct object *obj, const struct property *prop, const void *value,
                        GError **error)
{
    if (*(const int64_t *)value > 100) {
        g_set_error(error, QAPI_ERROR, QAPI_ERROR_GENERIC, "level is over 100");
        return false;
    }
    return true;
}

static void level_changed(struct object *obj, const struct property *prop)
{
    ((struct base *)obj)->changes++;
}

static bool get_double(struct object *obj, const struct property *prop, void *value, GError **error)
{
    *(int64_t *)value = 2 * ((struct base *)obj)->level;
    return true;
}

static bool set_double(struct object *obj, const struct property *prop, const void *value,
                       GError **error)
{
    ((struct base *)obj)->level = *(const int64_t *)value / 2;
    return true;
}

static const struct property base_properties[] = {
    PROPERTY("label", base, label, qapi_type_str, "none", "What it is called"),
    PROPERTY("level", base, level, qapi_type_int, "7", NULL, .flags = PROPERTY_RUNTIME,
             .set = check_level, .changed = level_changed),
    PROPERTY("on", base, on, qapi_type_bool, "on", NULL),
    {.name = "double", .type = &qapi_type_int, .get = get_double, .set = set_double},
    {.name = "half", .type = &qapi_type_int, .get = get_double, .description = "Not half at all"},
    PROPERTY_LINK("friend", base, friend, "test-base", "Somebody else"),
};

static void base_init(struct object *obj)
{
    g_assert_cmpstr(((struct base *)obj)->label, !=, NULL);
    ((struct base *)obj)->on = false;
}

static bool base_complete(struct object *obj, GError **error)
{
    g_string_append(events.text, "complete-base ");
    return true;
}

static void base_finalize(struct object *obj)
{
    g_string_append(events.text, "finalize-base ");
}

static const char *const base_interfaces[] = {"user-creatable", NULL};

static const struct object_type base_type = {
    .name = "test-base",
    .parent = "object",
    .abstract = true,
    .instance_size = sizeof(struct base),
    .properties = base_properties,
    .n_properties = G_N_ELEMENTS(base_properties),
    .interfaces = base_interfaces,
    .class_data = "base",
    .init = base_init,
    .complete = base_complete,
    .finalize = base_finalize,
};
OBJECT_TYPE(base_type);

static const struct property thing_properties[] = {
    PROPERTY("limits", thing, limits, qapi_type_throttle_limits, NULL, NULL),
    PROPERTY("words", thing, words, qapi_type_str_list, NULL, NULL),
    PROPERTY("mode", thing, mode, qapi_type_on_off_auto, "off", "How"),
    PROPERTY("secret", thing, secret, qapi_type_str, NULL, NULL, .flags = PROPERTY_WRITE_ONLY),
    PROPERTY("bytes", thing, bytes, qapi_type_size, NULL, NULL, .flags = PROPERTY_REQUIRED),
    PROPERTY("fail", thing, fail, qapi_type_bool, NULL, NULL),
    PROPERTY("stuck", thing, stuck, qapi_type_bool, NULL, NULL),
    /* Instead of the parent's. */
    PROPERTY("label", thing, base.label, qapi_type_str, "thing", "What it is called"),
};

static bool thing_complete(struct object *obj, GError **error)
{
    g_string_append(events.text, "complete-thing ");
    if (((struct thing *)obj)->fail) {
        g_set_error(error, QAPI_ERROR, QAPI_ERROR_GENERIC, "it was told to fail");
        return false;
    }
    return true;
}

static bool thing_can_be_deleted(struct object *obj, GError **error)
{
    if (((struct thing *)obj)->stuck) {
        g_set_error(error, QAPI_ERROR, QAPI_ERROR_GENERIC, "it is stuck");
        return false;
    }
    return true;
}

static void thing_finalize(struct object *obj)
{
    g_string_append(events.text, "finalize-thing ");
}

static const struct object_type thing_type = {
    .name = "test-thing",
    .parent = "test-base",
    .instance_size = sizeof(struct thing),
    .properties = thing_properties,
    .n_properties = G_N_ELEMENTS(thing_properties),
    .complete = thing_complete,
    .can_be_deleted = thing_can_be_deleted,
    .finalize = thing_finalize,
};
OBJECT_TYPE(thing_type);

static const struct object_type plain_type = {
    .name = "test-plain",
    .parent = "test-base",
};
OBJECT_TYPE(plain_type);

/* ---- Helpers ---- */

static struct object *new_root(void)
{
    static const struct object_context context = {0};

    g_string_truncate(events.text, 0);
    return object_root_new(&context);
}

static struct object *create(struct object *root, const char *options, GError **error)
{
    g_autoptr(json_object) json = json_tokener_parse(options);

    g_assert_nonnull(json);
    return object_create_user(root, json, false, error);
}

static struct object *must_create(struct object *root, const char *options)
{
    g_autoptr(GError) error = NULL;
    struct object *obj = create(root, options, &error);

    g_assert_no_error(error);
    g_assert_nonnull(obj);
    return obj;
}

static void fails(struct object *root, const char *options, const char *message)
{
    g_autoptr(GError) error = NULL;

    g_assert_null(create(root, options, &error));
    g_assert_nonnull(error);
    g_assert_cmpstr(error->message, ==, message);
}

static char *get(struct object *obj, const char *name)
{
    g_autoptr(GError) error = NULL;
    g_autoptr(json_object) value = object_get(obj, name, &error);

    return error ? g_strdup(error->message) :
                   g_strdup(json_object_to_json_string_ext(value, JSON_C_TO_STRING_NOSLASHESCAPE));
}

#define ASSERT_GET(obj, name, expected)                                                            \
    do {                                                                                           \
        g_autofree char *text_ = get(obj, name);                                                   \
        g_assert_cmpstr(text_, ==, expected);                                                      \
    } while (0)

static void set_fails(struct object *obj, const char *name, const char *value, const char *message)
{
    g_autoptr(GError) error = NULL;

    g_assert_false(object_set_str(obj, name, value, &error));
    g_assert_nonnull(error);
    g_assert_cmpstr(error->message, ==, message);
}

static void must_set(struct object *obj, const char *name, const char *value)
{
    g_autoptr(GError) error = NULL;

    object_set_str(obj, name, value, &error);
    g_assert_no_error(error);
}

/* ---- Types ---- */

static void test_types(void)
{
    g_autoptr(GPtrArray) all = object_type_list(NULL, true);
    g_autoptr(GPtrArray) ours = object_type_list("test-base", false);
    g_autoptr(GPtrArray) with_abstract = object_type_list("test-base", true);
    g_autoptr(GPtrArray) none = object_type_list("nothing", true);
    g_autoptr(GPtrArray) props = object_type_properties(&thing_type);
    auto_ptr(object) plain = object_new(&plain_type);

    g_assert_true(object_type_find("test-thing") == &thing_type);
    g_assert_null(object_type_find("test-thin"));
    g_assert_true(object_type_parent(&plain_type) == &base_type);
    g_assert_true(object_type_is(&thing_type, "object"));
    g_assert_true(object_type_is(&thing_type, "user-creatable"));
    g_assert_false(object_type_is(&thing_type, "test-plain"));
    for (guint i = 1; i < all->len; i++) {
        const struct object_type *a = g_ptr_array_index(all, i - 1), *b = g_ptr_array_index(all, i);

        g_assert_cmpstr(a->name, <, b->name);
    }
    g_assert_cmpuint(ours->len, ==, 2);
    g_assert_cmpuint(with_abstract->len, ==, 3);
    g_assert_cmpuint(none->len, ==, 0);
    /* "type" of object, six of test-base but for the one that test-thing has instead, eight. */
    g_assert_cmpuint(props->len, ==, 1 + 5 + 8);
    g_assert_cmpstr(((const struct property *)g_ptr_array_index(props, 0))->name, ==, "type");
    g_assert_true(object_type_property(&thing_type, "label") == &thing_properties[7]);
    g_assert_null(object_type_property(&thing_type, "nothing"));
    g_assert_cmpstr(object_class_data(plain), ==, "base");
    g_assert_true(object_is(plain, "test-base"));
}

/* Each type in the program: its parents are there, names are unique, defaults can be read. */
static void test_all_types(void)
{
    g_autoptr(GPtrArray) types = object_type_list(NULL, true);

    for (guint i = 0; i < types->len; i++) {
        const struct object_type *type = g_ptr_array_index(types, i);
        g_autoptr(GPtrArray) props = object_type_properties(type);
        g_autofree char *help = object_type_help(type);

        g_assert_true(object_type_find(type->name) == type);
        g_assert_true(type->abstract || object_type_is(type, "object"));
        g_assert_true(strstr(help, type->name) != NULL);
        for (guint j = 0; j < props->len; j++) {
            const struct property *prop = g_ptr_array_index(props, j);
            g_autofree char *name = property_type_name(type, prop);
            json_object *value = property_default(prop);

            g_assert_true(value || !prop->default_value || prop->type->kind == QAPI_KIND_NULL);
            json_object_put(value);
            g_assert_nonnull(name);
        }
        if (!type->abstract) {
            auto_ptr(object) obj =
                object_new(type); /* and it is freed without ever being complete */

            g_assert_false(obj->completed);
        }
    }
}

/* ---- The tree ---- */

static bool count(struct object *obj, void *opaque)
{
    return ++*(unsigned *)opaque < 2;
}

static void test_tree(void)
{
    auto_ptr(object) root = new_root();
    struct object *a = object_container(root, "/machine/a"),
                  *b = object_container(root, "/machine/b");
    auto_ptr(object) x = object_new(&plain_type);
    auto_ptr(object) y = object_new(&plain_type);
    g_autoptr(GError) error = NULL;
    g_autofree char *path = NULL, *root_path = NULL;
    bool ambiguous;
    unsigned n = 0;

    g_assert_true(object_container(root, "/machine/a") == a);
    g_assert_nonnull(object_child(root, "objects"));
    g_assert_nonnull(object_child(root, "chardevs"));
    g_assert_true(object_add_child(a, "x", x, NULL));
    g_assert_true(object_add_child(b, "x", y, NULL));
    g_assert_cmpuint(x->refs, ==, 2);
    path = object_path(x);
    root_path = object_path(root);
    g_assert_cmpstr(path, ==, "/machine/a/x");
    g_assert_cmpstr(root_path, ==, "/");
    g_assert_true(object_root_of(x) == root);

    g_assert_true(object_resolve(root, "/", NULL, NULL) == root);
    g_assert_true(object_resolve(root, "/machine/a/x", NULL, NULL) == x);
    g_assert_true(object_resolve(root, "//machine//a/x/", NULL, NULL) == x);
    g_assert_null(object_resolve(root, "/a/x", NULL, &ambiguous));
    g_assert_false(ambiguous);
    g_assert_true(object_resolve(root, "a/x", NULL, &ambiguous) == x);
    g_assert_true(object_resolve(root, "machine", NULL, &ambiguous) ==
                  object_child(root, "machine"));
    g_assert_false(ambiguous);
    g_assert_null(object_resolve(root, "x", NULL, &ambiguous));
    g_assert_true(ambiguous);
    g_assert_null(object_resolve(root, "", NULL, &ambiguous));
    g_assert_true(ambiguous);
    g_assert_null(object_resolve(root, "/machine/a/x", "device", NULL));
    g_assert_true(object_resolve(root, "/machine/a/x", "test-base", NULL) == x);
    g_assert_null(object_resolve(root, "nothing", NULL, &ambiguous));
    g_assert_false(ambiguous);

    object_foreach_child(root, count, &n);
    g_assert_cmpuint(n, ==, 2);

    auto_ptr(object) z = object_new(&plain_type);

    g_assert_false(object_add_child(a, "x", z, &error));
    g_assert_cmpstr(error->message, ==,
                    "attempt to add duplicate property 'x' to object (type 'container')");
    g_clear_error(&error);
    g_assert_false(object_add_child(x, "level", z, NULL));
    g_assert_false(object_add_child(a, "q/r", z, NULL));
    g_assert_false(object_add_child(a, "", z, NULL));
    g_assert_null(z->parent);

    object_remove(x);
    g_assert_cmpuint(x->refs, ==, 1);
    g_assert_null(object_child(a, "x"));
    g_assert_true(object_resolve(root, "x", NULL, NULL) == y);
    g_assert_true(object_add_child(a, "z", x, NULL));
    ASSERT_GET(a, "z", "\"/machine/a/z\"");
    ASSERT_GET(root, "type", "\"container\"");
}

/* ---- Properties ---- */

static void test_properties(void)
{
    auto_ptr(object) root = new_root();
    struct object *obj =
        must_create(root, "{'qom-type':'test-thing','id':'t','bytes':5,'limits':{'bps-read':3},"
                          "'words':['a','b'],'secret':'s'}");
    struct thing *thing = (struct thing *)obj;

    g_assert_true(obj->completed && obj->user_created);
    g_assert_cmpstr(events.text->str, ==, "complete-base complete-thing ");
    ASSERT_GET(obj, "type", "\"test-thing\"");
    ASSERT_GET(obj, "label", "\"thing\"");
    ASSERT_GET(obj, "level", "7");
    ASSERT_GET(obj, "on", "false");         /* init came after the default */
    ASSERT_GET(obj, "double", "14");
    ASSERT_GET(obj, "mode", "\"off\"");
    ASSERT_GET(obj, "bytes", "5");
    ASSERT_GET(obj, "limits", "{\"bps-read\":3}");
    ASSERT_GET(obj, "friend", "\"\"");
    ASSERT_GET(obj, "secret", "Property 'test-thing.secret' is not readable");
    ASSERT_GET(obj, "levle", "Property 'test-thing.levle' not found; did you mean 'level'?");
    ASSERT_GET(obj, "zzzzzz", "Property 'test-thing.zzzzzz' not found");
    g_assert_cmpstr(thing->secret, ==, "s");
    g_assert_cmpuint(thing->words.n, ==, 2);

    must_set(obj, "level", "0x10");
    ASSERT_GET(obj, "level", "16");
    g_assert_cmpuint(thing->base.changes, ==, 1);
    set_fails(obj, "level", "101", "level is over 100");
    ASSERT_GET(obj, "level", "16");
    g_assert_cmpuint(thing->base.changes, ==, 1);
    set_fails(obj, "label", "x", "Property 'label' can no longer be set");
    set_fails(obj, "half", "1", "Property 'test-thing.half' is not writable");
    set_fails(obj, "type", "x", "Property 'test-thing.type' is not writable");
    set_fails(obj, "nothing", "x", "Property 'test-thing.nothing' not found");
    set_fails(object_container(root, "/objects"), "t", "x",
              "Property 'container.t' is not writable");
}

static void test_before_complete(void)
{
    auto_ptr(object) root = new_root();
    auto_ptr(object) obj = object_new(&thing_type);

    g_assert_true(object_add_child(root, "t", obj, NULL));
    must_set(obj, "label", "one");
    must_set(obj, "label", "two");
    must_set(obj, "double", "40");
    must_set(obj, "mode", "auto");
    must_set(obj, "on", "yes");
    must_set(obj, "bytes", "64k");
    ASSERT_GET(obj, "label", "\"two\"");
    ASSERT_GET(obj, "level", "20");
    ASSERT_GET(obj, "mode", "\"auto\"");
    ASSERT_GET(obj, "on", "true");
    ASSERT_GET(obj, "bytes", "65536");
    g_assert_cmpuint(((struct base *)obj)->changes, ==, 0);
    g_assert_true(object_complete(obj, NULL));
}

static void test_links(void)
{
    auto_ptr(object) root = new_root();
    struct object *a = must_create(root, "{'qom-type':'test-plain','id':'a'}");
    struct object *b = must_create(root, "{'qom-type':'test-plain','id':'b','friend':'a'}");
    struct object *c =
        must_create(root, "{'qom-type':'test-plain','id':'c','friend':'/objects/b'}");

    g_assert_cmpuint(a->refs, ==, 2);
    g_assert_cmpuint(b->refs, ==, 2);
    g_assert_true(((struct base *)c)->friend == b);
    ASSERT_GET(b, "friend", "\"/objects/a\"");
    g_assert_true(object_resolve(root, "/objects/c/friend/friend", NULL, NULL) == a);
    fails(root, "{'qom-type':'test-plain','id':'d','friend':'x'}", "Device 'x' not found");
    fails(root, "{'qom-type':'test-plain','id':'d','friend':'objects'}",
          "Invalid parameter type for 'friend', expected: test-base; 'objects' is of type "
          "'container'");
    fails(root, "{'qom-type':'test-plain','id':'d','friend':'d'}",
          "'friend' can't be linked to 'd', which isn't set up yet");
    g_assert_cmpuint(a->refs, ==, 2);
    /* A link keeps it. */
    g_assert_true(object_delete_user(root, "a", NULL));
    ASSERT_GET(((struct base *)b)->friend, "type", "\"test-plain\"");
    g_string_truncate(events.text, 0);
    g_assert_true(object_delete_user(root, "c", NULL));
    g_assert_true(object_delete_user(root, "b", NULL));
    g_assert_cmpstr(events.text->str, ==, "finalize-base finalize-base finalize-base ");
}

static void test_create_errors(void)
{
    static const struct {
        const char *options, *message;
    } rows[] = {
        {"{}", "Parameter 'qom-type' is missing"},
        {"{'qom-type':5}", "Invalid parameter type for 'qom-type', expected: string"},
        {"{'qom-type':'test-thin','id':'x'}",
         "Parameter 'qom-type' does not accept value 'test-thin'; did you mean 'test-thing'?"},
        {"{'qom-type':'test-base','id':'x'}",
         "Parameter 'qom-type' does not accept value 'test-base'; did you mean 'test-plain'?"},
        {"{'qom-type':'container','id':'x'}",
         "Parameter 'qom-type' does not accept value 'container'"},
        {"{'qom-type':'test-plain'}", "Parameter 'id' is missing"},
        {"{'qom-type':'test-plain','id':7}", "Invalid parameter type for 'id', expected: string"},
        {"{'qom-type':'test-plain','id':''}", "Parameter 'id' expects an identifier"},
        {"{'qom-type':'test-plain','id':'1a'}", "Parameter 'id' expects an identifier"},
        {"{'qom-type':'test-plain','id':'a/b'}", "Parameter 'id' expects an identifier"},
        {"{'qom-type':'test-plain','id':'taken'}",
         "attempt to add duplicate property 'taken' to object (type 'container')"},
        {"{'qom-type':'test-plain','id':'x','lavel':1}",
         "Parameter 'lavel' is unexpected; did you mean 'label'?"},
        {"{'qom-type':'test-plain','id':'x','level':'1'}",
         "Invalid parameter type for 'level', expected: integer"},
        {"{'qom-type':'test-plain','id':'x','level':101}", "level is over 100"},
        {"{'qom-type':'test-thing','id':'x'}", "Parameter 'bytes' is missing"},
        {"{'qom-type':'test-thing','id':'x','bytes':1,'fail':true}", "it was told to fail"},
        {"{'qom-type':'test-plain','id':'x','half':1}",
         "Property 'test-plain.half' is not writable"},
    };
    auto_ptr(object) root = new_root();
    unsigned n = 0;

    must_create(root, "{'qom-type':'test-plain','id':'taken'}");
    for (unsigned i = 0; i < G_N_ELEMENTS(rows); i++) {
        fails(root, rows[i].options, rows[i].message);
        g_assert_null(object_child(object_container(root, "/objects"), "x"));
    }
    object_foreach_child(object_container(root, "/objects"), count, &n);
    g_assert_cmpuint(n, ==, 1);
}

static void test_delete(void)
{
    auto_ptr(object) root = new_root();
    g_autoptr(GError) error = NULL;

    must_create(root, "{'qom-type':'test-thing','id':'free','bytes':1}");
    must_create(root, "{'qom-type':'test-thing','id':'kept','bytes':1,'stuck':true}");
    object_container(root, "/objects/own");
    g_string_truncate(events.text, 0);
    g_assert_true(object_delete_user(root, "free", &error));
    g_assert_cmpstr(events.text->str, ==, "finalize-thing finalize-base ");
    g_assert_false(object_delete_user(root, "free", &error));
    g_assert_cmpstr(error->message, ==, "object 'free' not found");
    g_clear_error(&error);
    g_assert_false(object_delete_user(root, "kept", &error));
    g_assert_cmpstr(error->message, ==, "it is stuck");
    g_assert_false(object_delete_user(root, "own", NULL));
    g_assert_false(object_delete_user(root, "..", NULL));
}

static void test_ids(void)
{
    static const char *const good[] = {"a", "A1", "a-b.c_d", "z0"};
    static const char *const bad[] = {"",    "1",   "-a",       "_a",       "a b",
                                      "a/b", "a,b", "\xc3\xa4", "a\xc3\xa4"};

    for (unsigned i = 0; i < G_N_ELEMENTS(good); i++) {
        g_assert_true(object_id_valid(good[i]));
    }
    for (unsigned i = 0; i < G_N_ELEMENTS(bad); i++) {
        g_assert_false(object_id_valid(bad[i]));
    }
}

/* ---- Help ---- */

static void test_help(void)
{
    g_autofree char *list = object_types_help("test-base", "List of things:");
    g_autofree char *help = object_type_help(&plain_type);
    g_autofree char *none = object_type_help(object_type_find("container"));

    g_assert_cmpstr(list, ==, "List of things:\n  test-plain\n  test-thing\n");
    g_assert_cmpstr(help, ==,
                    "test-plain options:\n"
                    "  double=<int>\n"
                    "  friend=<link<test-base>> - Somebody else\n"
                    "  label=<string>         - What it is called (default: \"none\")\n"
                    "  level=<int>            -  (default: 7)\n"
                    "  on=<bool>              -  (default: on)\n");
    g_assert_cmpstr(none, ==, "There are no options for container.\n");
}

/* ---- Devices and hotplug ---- */

struct test_device {
    struct device device;
    uint32_t slots;
    char *name;
    bool fail;
};

static const struct property device_properties[] = {
    PROPERTY("slots", test_device, slots, qapi_type_uint32, "4", "How many"),
    PROPERTY("label", test_device, name, qapi_type_str, NULL, NULL),
    PROPERTY("fail", test_device, fail, qapi_type_bool, NULL, NULL),
};

static bool device_complete(struct object *obj, GError **error)
{
    if (((struct test_device *)obj)->fail) {
        g_set_error(error, QAPI_ERROR, QAPI_ERROR_GENERIC, "it was told to fail");
        return false;
    }
    return true;
}

static const struct object_type device_type = {
    .name = "test-device",
    .parent = "device",
    .description = "A device of a test",
    .instance_size = sizeof(struct test_device),
    .properties = device_properties,
    .n_properties = G_N_ELEMENTS(device_properties),
    .category = "Test",
    .bus = "test-bus",
    .complete = device_complete,
};
OBJECT_TYPE(device_type);

static const struct object_type soldered_type = {
    .name = "test-soldered",
    .parent = "device",
};
OBJECT_TYPE(soldered_type);

static void test_devices(void)
{
    g_autofree char *list = device_types_help(), *help = device_type_help("test-device", NULL);
    g_autoptr(GPtrArray) props = device_type_properties(&device_type);
    g_autoptr(GError) error = NULL;
    auto_ptr(object) dev = object_new(&device_type);

    g_assert_true(strstr(
        list, "Test devices:\nname \"test-device\", bus test-bus, desc \"A device of a test\"\n"));
    g_assert_null(strstr(list, "test-soldered"));
    g_assert_cmpstr(help, ==,
                    "test-device options:\n"
                    "  fail=<bool>\n"
                    "  label=<str>\n"
                    "  slots=<uint32>         - How many (default: 4)\n");
    g_assert_cmpuint(props->len, ==, 3);
    g_assert_null(device_type_find("test-devise", &error));
    g_assert_cmpstr(error->message, ==,
                    "Device 'test-devise' not found; did you mean 'test-device'?");
    g_assert_error(error, QAPI_ERROR, QAPI_ERROR_DEVICE_NOT_FOUND);
    g_clear_error(&error);
    g_assert_null(device_type_find("test-plain", &error));
    g_assert_cmpstr(error->message, ==, "Parameter 'typename' expects a non-abstract device type");
    g_assert_null(device_type_find("device", NULL));
    ASSERT_GET(dev, "realized", "false");
    g_assert_true(object_complete(dev, NULL));
    ASSERT_GET(dev, "realized", "true");
    ASSERT_GET(dev, "hotplugged", "false");
}

static bool bus_pre_plug(struct object *handler, struct object *obj, GError **error)
{
    g_string_append(events.text, "pre_plug ");
    if (((struct test_device *)obj)->slots > 4) {
        g_set_error(error, QAPI_ERROR, QAPI_ERROR_GENERIC, "no room");
        return false;
    }
    return true;
}

static void bus_plug(struct object *handler, struct object *obj)
{
    g_assert_true(obj->completed);
    g_string_append(events.text, "plug ");
}

static bool bus_unplug_request(struct object *handler, struct object *obj, GError **error)
{
    g_string_append(events.text, "unplug_request ");
    return true;
}

static void bus_unplug(struct object *handler, struct object *obj)
{
    g_string_append(events.text, "unplug ");
}

static const struct hotplug_ops bus_ops = {
    .pre_plug = bus_pre_plug,
    .plug = bus_plug,
    .unplug_request = bus_unplug_request,
    .unplug = bus_unplug,
};

static const struct hotplug_ops simple_ops = {0};

static const struct object_type bus_type = {
    .name = "test-bus", .parent = "object", .hotplug = &bus_ops};
static const struct object_type sub_bus_type = {.name = "test-sub-bus", .parent = "test-bus"};
static const struct object_type simple_bus_type = {
    .name = "test-simple-bus", .parent = "object", .hotplug = &simple_ops,
};
OBJECT_TYPE(bus_type);
OBJECT_TYPE(sub_bus_type);
OBJECT_TYPE(simple_bus_type);

static struct object *put(struct object *root, const char *slots, bool fail)
{
    auto_ptr(object) obj = object_new(&device_type);

    g_assert_true(object_add_child(root, "dev", obj, NULL));
    must_set(obj, "slots", slots);
    must_set(obj, "fail", fail ? "on" : "off");
    return obj;
}

static void test_hotplug(void)
{
    auto_ptr(object) root = new_root();
    auto_ptr(object) bus = object_new(&sub_bus_type);
    auto_ptr(object) simple = object_new(&simple_bus_type);
    g_autoptr(GError) error = NULL;
    struct object *dev = put(root, "4", false);

    g_assert_true(hotplug_plug(bus, dev, NULL));
    g_assert_true(hotplug_unplug_request(bus, dev, NULL));
    g_assert_nonnull(object_child(root, "dev"));
    hotplug_unplug(bus, dev);
    g_assert_null(object_child(root, "dev"));
    g_assert_cmpstr(events.text->str, ==, "pre_plug plug unplug_request unplug ");

    g_string_truncate(events.text, 0);
    dev = put(root, "5", false);
    g_assert_false(hotplug_plug(bus, dev, &error));
    g_assert_cmpstr(error->message, ==, "no room");
    object_remove(dev);
    dev = put(root, "4", true);
    g_assert_false(hotplug_plug(bus, dev, NULL));
    object_remove(dev);
    g_assert_cmpstr(events.text->str, ==, "pre_plug pre_plug unplug ");

    dev = put(root, "9", false);
    g_assert_true(hotplug_plug(simple, dev, NULL));
    g_assert_true(hotplug_unplug_request(simple, dev, NULL));
    g_assert_null(object_child(root, "dev"));
}

int main(int argc, char **argv)
{
    int status;

    g_test_init(&argc, &argv, NULL);
    events.text = g_string_new(NULL);
    g_test_add_func("/object/types", test_types);
    g_test_add_func("/object/all-types", test_all_types);
    g_test_add_func("/object/tree", test_tree);
    g_test_add_func("/object/properties", test_properties);
    g_test_add_func("/object/before-complete", test_before_complete);
    g_test_add_func("/object/links", test_links);
    g_test_add_func("/object/create-errors", test_create_errors);
    g_test_add_func("/object/delete", test_delete);
    g_test_add_func("/object/ids", test_ids);
    g_test_add_func("/object/help", test_help);
    g_test_add_func("/object/devices", test_devices);
    g_test_add_func("/object/hotplug", test_hotplug);
    status = g_test_run();
    g_string_free(events.text, TRUE);
    return status;
}
