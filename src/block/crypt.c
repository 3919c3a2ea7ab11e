/* LUKS headers in nodes (crypt.h). */
#include "block/crypt.h"

#include <string.h>

#include "crypto/secret.h"
#include "util/guest_random.h"

enum { SECTOR = 512, ERASURES = 7 };

/* The way to a thread and back takes as long as some KiB. */
enum { POOL_BYTES = 32 << 10 };

static bool complain(const struct crypt_place *place, GError **error, const char *text)
{
    return place->node ? block_error(error, "%s", text)
                       : block_error(error, "%s", text);
}

static bool co_read(const struct crypt_place *place, uint64_t offset, void *data, size_t bytes,
                    const char *what, GError **error)
{
    return format_read(place->node, place->edge, place->offset + offset, data, bytes, what, error);
}

static bool co_write(const struct crypt_place *place, uint64_t offset, const void *data,
                     size_t bytes, GError **error)
{
    int result;

    if (place->file) {
        return co_format_write(place->file, place->offset + offset, data, bytes, error);
    }
    result = co_child_write(place->edge, place->offset + offset, bytes, BLOCK_BUFFER(data, bytes),
                            BLOCK_FUA);
    return result >= 0 || complain(place, error, "could not write the LUKS header");
}

bool co_crypt_read_header(const struct crypt_place *place, struct luks_header *header,
                          GError **error)
{
    uint8_t data[LUKS_HEADER_BYTES];
    GError *why = NULL;

    if (!co_read(place, 0, data, sizeof(data), "LUKS header", error)) {
        return false;
    }
    if (!luks_parse(header, data, &why)) {
        complain(place, error, why->message);
        g_error_free(why);
        return false;
    }
    return true;
}

/* ---- Slots; what is slow is a thread's ---- */

struct slot_job {
    const struct luks_header *header;
    unsigned slot;
    GBytes *password;
    uint8_t *material, *key;
    bool opened;
};

static void open_slot(void *opaque)
{
    struct slot_job *job = opaque;
    gsize bytes;
    const void *password = g_bytes_get_data(job->password, &bytes);

    job->opened = luks_open_slot(job->header, job->slot, password, bytes, job->material, job->key);
}

/* *opened: whether the password is this slot's. False: its material can't be read. */
static bool co_try_slot(const struct crypt_place *place, const struct luks_header *header,
                        unsigned slot, GBytes *password, uint8_t *key, bool *opened, GError **error)
{
    size_t bytes = luks_material_bytes(header);
    g_autofree uint8_t *material = g_malloc(bytes);
    struct slot_job job = {header, slot, password, material, key, false};

    if (!co_read(place, (uint64_t)header->slots[slot].offset * SECTOR, material, bytes,
                 "key material", error)) {
        return false;
    }
    co_run_in_pool(open_slot, &job);
    explicit_bzero(material, bytes);
    *opened = job.opened;
    return true;
}

bool co_crypt_find_key(const struct crypt_place *place, const struct luks_header *header,
                       struct object *root, const char *secret, uint8_t *key, GError **error)
{
    g_autoptr(GBytes) password = NULL;

    if (!secret) {
        return complain(place, error, "Parameter 'key-secret' is required for cipher");
    }
    password = secret_get(root, secret, error);
    if (!password) {
        return false;
    }
    for (unsigned i = 0; i < LUKS_SLOTS; i++) {
        bool opened = false;

        if (header->slots[i].active &&
            !co_try_slot(place, header, i, password, key, &opened, error)) {
            return false;
        }
        if (opened) {
            return true;
        }
    }
    return complain(place, error, "Invalid password, cannot unlock any keyslot");
}

struct cipher *co_crypt_unlock(const struct crypt_place *place, const struct luks_header *header,
                               struct object *root, const char *secret, GError **error)
{
    struct cipher *cipher = NULL;
    uint8_t key[CIPHER_MAX_KEY];

    if (co_crypt_find_key(place, header, root, secret, key, error)) {
        cipher = cipher_new(&header->cipher, key, header->key_bytes, error);
    }
    explicit_bzero(key, sizeof(key));
    return cipher;
}

struct fill_job {
    struct luks_header *header;
    unsigned slot;
    GBytes *password;
    uint8_t *key, *material;
    uint64_t iter_ms;
    const struct qapi_qcrypto_block_create_options_luks
        *create; /* a new header first; NULL: none */
    GError *error;
    bool ok;
};

static void fill_slot(void *opaque)
{
    struct fill_job *job = opaque;
    gsize bytes;
    const void *password = g_bytes_get_data(job->password, &bytes);

    if (job->create && !luks_new(job->header, job->create, job->key, &job->error)) {
        return;
    }
    job->material = g_malloc(luks_material_bytes(job->header));
    job->ok = luks_fill_slot(job->header, job->slot, password, bytes, job->key, job->iter_ms,
                             job->material, &job->error);
}

/* material: of the slot. */
static bool co_fill_slot(struct fill_job *job, GBytes **material, GError **error)
{
    co_run_in_pool(fill_slot, job);
    if (!job->ok) {
        g_propagate_error(error, job->error);
        g_free(job->material);
        return false;
    }
    *material = g_bytes_new_take(job->material, luks_material_bytes(job->header));
    return true;
}

bool co_crypt_prepare(const struct qapi_qcrypto_block_create_options_luks *options,
                      struct object *root, struct luks_header *header, uint8_t *key,
                      GBytes **material, GError **error)
{
    g_autoptr(GBytes) password = NULL;
    struct fill_job job = {
        .header = header,
        .key = key,
        .create = options,
        .iter_ms = options->has_iter_time ? (uint64_t)options->iter_time : LUKS_DEFAULT_ITER_MS,
    };

    if (!options->key_secret) {
        return block_error(error, "Parameter 'key-secret' is required for cipher");
    }
    password = secret_get(root, options->key_secret, error);
    if (!password) {
        return false;
    }
    job.password = password;
    return co_fill_slot(&job, material, error);
}

static bool co_write_header(const struct crypt_place *place, const struct luks_header *header,
                            GError **error)
{
    uint8_t data[LUKS_HEADER_BYTES];

    luks_format(header, data);
    return co_write(place, 0, data, sizeof(data), error);
}

bool co_crypt_write(const struct crypt_place *place, const struct luks_header *header,
                    GBytes *material, GError **error)
{
    gsize bytes;
    const void *data = g_bytes_get_data(material, &bytes);

    return co_write(place, (uint64_t)header->slots[0].offset * SECTOR, data, bytes, error) &&
           co_write_header(place, header, error);
}

/* ---- Amend ---- */

struct amend {
    const struct crypt_place *place;
    struct luks_header *header;
    struct object *root;
    const char *secret;
    const struct qapi_qcrypto_block_amend_options_luks *o;
    bool force;
};

static unsigned count_active(const struct luks_header *header)
{
    unsigned n = 0;

    for (unsigned i = 0; i < LUKS_SLOTS; i++) {
        n += header->slots[i].active;
    }
    return n;
}

static bool check_slot_number(const struct amend *a, GError **error)
{
    return !a->o->has_keyslot || (a->o->keyslot >= 0 && a->o->keyslot < LUKS_SLOTS) ||
           block_error(error, "Invalid keyslot %" G_GINT64_FORMAT ". Must be between 0 and %d",
                       a->o->keyslot, LUKS_SLOTS - 1);
}

static bool choose_slot(const struct amend *a, unsigned *slot, GError **error)
{
    if (a->o->has_keyslot) {
        *slot = (unsigned)a->o->keyslot;
        return !a->header->slots[*slot].active || a->force ||
               block_error(error, "Refusing to overwrite active keyslot %u - please erase it first",
                           *slot);
    }
    for (*slot = 0; *slot < LUKS_SLOTS; ++*slot) {
        if (!a->header->slots[*slot].active) {
            return true;
        }
    }
    return block_error(error, "Can't add a keyslot - all keyslots are in use");
}

static bool co_add(const struct amend *a, GError **error)
{
    g_autoptr(GBytes) password = NULL, material = NULL;
    uint8_t key[CIPHER_MAX_KEY];
    struct fill_job job = {
        .header = a->header,
        .key = key,
        .iter_ms = a->o->has_iter_time ? (uint64_t)a->o->iter_time : LUKS_DEFAULT_ITER_MS,
    };
    gsize bytes;
    bool ok;

    if (!a->o->new_secret) {
        return block_error(error, "'new-secret' is required to activate a keyslot");
    }
    if (a->o->old_secret) {
        return block_error(error, "'old-secret' must not be given when activating keyslots");
    }
    if (!choose_slot(a, &job.slot, error)) {
        return false;
    }
    password = secret_get(a->root, a->o->new_secret, error);
    if (!password || !co_crypt_find_key(a->place, a->header, a->root,
                                        a->o->secret ? a->o->secret : a->secret, key, error)) {
        return false;
    }
    job.password = password;
    ok = co_fill_slot(&job, &material, error);
    if (ok) {
        const void *data = g_bytes_get_data(material, &bytes);

        ok = co_write(a->place, (uint64_t)a->header->slots[job.slot].offset * SECTOR, data, bytes,
                      error) &&
             co_write_header(a->place, a->header, error);
    }
    explicit_bzero(key, sizeof(key));
    return ok;
}

/* The header says so first; then the material is written over. */
static bool co_erase(const struct amend *a, unsigned slot, GError **error)
{
    size_t bytes = luks_material_bytes(a->header);
    g_autofree uint8_t *data = g_malloc(bytes);
    bool ok;

    a->header->slots[slot].active = false;
    a->header->slots[slot].iterations = 0;
    memset(a->header->slots[slot].salt, 0, LUKS_SALT_BYTES);
    ok = co_write_header(a->place, a->header, error);
    for (int i = 0; i < ERASURES && ok; i++) {
        kernel_random(data, bytes);
        ok = co_write(a->place, (uint64_t)a->header->slots[slot].offset * SECTOR, data, bytes,
                      error);
    }
    return ok;
}

static bool co_erase_by_password(const struct amend *a, GError **error)
{
    g_autoptr(GBytes) password = secret_get(a->root, a->o->old_secret, error);
    bool matching[LUKS_SLOTS] = {0};
    unsigned n = 0;

    if (!password) {
        return false;
    }
    for (unsigned i = 0; i < LUKS_SLOTS; i++) {
        uint8_t key[CIPHER_MAX_KEY];

        if (a->header->slots[i].active &&
            !co_try_slot(a->place, a->header, i, password, key, &matching[i], error)) {
            return false;
        }
        explicit_bzero(key, sizeof(key));
        n += matching[i];
    }
    if (!n) {
        return block_error(error, "No keyslots match given (old) password for erase operation");
    }
    if (n == count_active(a->header) && !a->force) {
        return block_error(
            error,
            "All the active keyslots match the (old) password that was given and erasing them will "
            "erase all the data in the image irreversibly - refusing operation");
    }
    for (unsigned i = 0; i < LUKS_SLOTS; i++) {
        if (matching[i] && !co_erase(a, i, error)) {
            return false;
        }
    }
    return true;
}

static bool co_remove(const struct amend *a, GError **error)
{
    unsigned slot = (unsigned)a->o->keyslot;

    if (a->o->new_secret || a->o->has_iter_time) {
        return block_error(error, "'%s' must not be given when erasing keyslots",
                           a->o->new_secret ? "new-secret" : "iter-time");
    }
    if (a->o->old_secret) {
        return co_erase_by_password(a, error);
    }
    if (!a->o->has_keyslot) {
        return block_error(
            error,
            "To erase keyslot(s), either explicit keyslot index or the password currently "
            "contained in them must be given");
    }
    if (!a->header->slots[slot].active && !a->force) {
        return block_error(error, "Given keyslot %u is already erased (inactive)", slot);
    }
    if (count_active(a->header) == 1 && a->header->slots[slot].active && !a->force) {
        return block_error(
            error,
            "Attempt to erase the only active keyslot %u which will erase all the data in the "
            "image irreversibly - refusing operation",
            slot);
    }
    return co_erase(a, slot, error);
}

bool co_crypt_amend(const struct crypt_place *place, struct luks_header *header,
                    struct object *root, const char *secret, json_object *options, bool force,
                    GError **error)
{
    struct qapi_qcrypto_block_amend_options_luks o;
    struct amend a = {place, header, root, secret, &o, force};
    bool ok;

    if (!qapi_from_keyval(&qapi_type_qcrypto_block_amend_options_luks, options, &o, error)) {
        return false;
    }
    ok = check_slot_number(&a, error) &&
         (o.state == QAPI_QCRYPTO_BLOCK_LUKS_KEYSLOT_STATE_ACTIVE ? co_add(&a, error)
                                                                  : co_remove(&a, error));
    qapi_clear(&qapi_type_qcrypto_block_amend_options_luks, &o);
    return ok;
}

/* ---- Data ---- */

struct sectors_job {
    void (*run)(const struct cipher *cipher, uint64_t sector, uint8_t *data, size_t bytes);
    const struct cipher *cipher;
    uint64_t sector;
    void *data;
    size_t bytes;
};

static void run_sectors(void *opaque)
{
    const struct sectors_job *job = opaque;

    job->run(job->cipher, job->sector, job->data, job->bytes);
}

static void co_sectors(struct sectors_job job)
{
    if (job.bytes < POOL_BYTES) {
        run_sectors(&job);
    } else {
        co_run_in_pool(run_sectors, &job);
    }
}

void co_crypt_encrypt(const struct cipher *cipher, uint64_t sector, void *data, size_t bytes)
{
    co_sectors((struct sectors_job){cipher_encrypt, cipher, sector, data, bytes});
}

void co_crypt_decrypt(const struct cipher *cipher, uint64_t sector, void *data, size_t bytes)
{
    co_sectors((struct sectors_job){cipher_decrypt, cipher, sector, data, bytes});
}
