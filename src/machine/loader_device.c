#include "machine/loader_device.h"

#include "object/device.h"
#include "qapi/error.h"
#include "qapi/qapi_types.h"

#define NO_CPU UINT32_MAX

struct loader_device {
    struct device device;
    /* Properties. */
    uint64_t addr, data;
    uint8_t data_len;               /* bytes of data */
    bool data_be, force_raw;
    char *file;
    uint32_t cpu_num;
};

static bool fail(GError **error, const char *text)
{
    g_set_error_literal(error, QAPI_ERROR, QAPI_ERROR_GENERIC, text);
    return false;
}

static bool is_data(const struct loader_device *s)
{
    return s->data || s->data_len || s->data_be;
}

static bool check(const struct loader_device *s, GError **error)
{
    if (is_data(s)) {
        if (s->file) {
            return fail(error, "Specifying a file is not supported when loading memory values");
        }
        if (s->force_raw) {
            return fail(error, "Specifying force-raw is not supported when loading memory values");
        }
        if (!s->data_len) {
            return fail(error, "Both data and data-len must be specified");
        }
        if (s->data_len > sizeof(s->data)) {
            return fail(error, "data-len cannot be greater than 8 bytes");
        }
        return true;
    }
    if (s->file) {
        return true;
    }
    if (s->force_raw || !s->addr) {
        return fail(error, "please include valid arguments: file=, or data= and data-len=, or "
                    "addr= and cpu-num=");
    }
    if (s->cpu_num == NO_CPU) {
        return fail(error, "cpu-num must be specified when setting a program counter");
    }
    return true;
}

static bool add_data(const struct loader_device *s, struct loader *loader, GError **error)
{
    uint64_t data = s->data_be ? GUINT64_TO_BE(s->data) >> 8 * (8 - s->data_len)
                               : GUINT64_TO_LE(s->data);
    g_autoptr(GBytes) bytes = g_bytes_new(&data, s->data_len);

    return loader_add_bytes(loader, "loader data", s->addr, bytes, error);
}

bool loader_device_load(struct object *device, struct loader *loader, unsigned n_cpus, int *cpu,
                        uint64_t *pc, GError **error)
{
    const struct loader_device *s = (const struct loader_device *)device;
    struct loader_image image = {.entry = s->addr};

    if (!check(s, error)) {
        return false;
    }
    if (s->cpu_num != NO_CPU && s->cpu_num >= n_cpus) {
        g_set_error(error, QAPI_ERROR, QAPI_ERROR_GENERIC, "Specified boot CPU#%u is nonexistent",
                    s->cpu_num);
        return false;
    }
    if (is_data(s)) {
        *cpu = -1;
        return add_data(s, loader, error);
    }
    *cpu = s->cpu_num == NO_CPU ? -1 : (int)s->cpu_num;
    if (s->file && s->force_raw && !loader_add_file(loader, "loader", s->file, s->addr, &image,
                                                    error)) {
        return false;
    }
    if (s->file && !s->force_raw && !loader_add_program(loader, "loader", s->file, s->addr, &image,
                                                        error)) {
        return false;
    }
    *pc = image.entry;
    return true;
}

static const struct property properties[] = {
    PROPERTY("addr", loader_device, addr, qapi_type_uint64, "0",
             "Where in memory; with cpu-num alone: where the vCPU starts"),
    PROPERTY("data", loader_device, data, qapi_type_uint64, "0", "A number to write there"),
    PROPERTY("data-len", loader_device, data_len, qapi_type_uint8, "0", "How many bytes it has"),
    PROPERTY("data-be", loader_device, data_be, qapi_type_bool, "off", "It is big endian"),
    PROPERTY("file", loader_device, file, qapi_type_str, NULL,
             "A file to load: where its ELF headers say, else as it is"),
    PROPERTY("force-raw", loader_device, force_raw, qapi_type_bool, "off",
             "Also an ELF file is loaded as it is"),
    PROPERTY("cpu-num", loader_device, cpu_num, qapi_type_uint32, "4294967295",
             "The vCPU that starts at the file's entry, or at addr"),
};

static const struct object_type loader_type = {
    .name = "loader",
    .parent = "device",
    .description = "Generic Loader",
    .category = "Misc",
    .instance_size = sizeof(struct loader_device),
    .properties = properties,
    .n_properties = G_N_ELEMENTS(properties),
};
OBJECT_TYPE(loader_type);
