/* What -drive makes: names for nodes, and what a device takes over with them. Main thread. */
#include "block/block_priv.h"
#include "block/limits.h"

const struct block_drive *block_drive_find(struct block_graph *graph, const char *id)
{
    for (guint i = 0; i < graph->drives->len; i++) {
        const struct block_drive *drive = graph->drives->pdata[i];

        if (g_str_equal(drive->id, id)) {
            return drive;
        }
    }
    return NULL;
}

void block_drives_free(struct block_graph *graph)
{
    while (graph->drives->len) {
        struct block_drive *drive = g_ptr_array_steal_index(graph->drives, graph->drives->len - 1);

        co_block_node_unref(drive->node);
        block_drive_free(drive);
    }
}

void block_drive_free(struct block_drive *drive)
{
    block_accounting_free(drive->accounting);
    block_limits_drop(drive->limits);
    g_free(drive->id);
    g_free(drive);
}

/* What a drive counted stays when its device goes. */
static void swap_accounting(struct block_drive *drive, struct block_user *user)
{
    struct block_accounting *accounting = drive->accounting;

    drive->accounting = user->accounting;
    user->accounting = accounting;
}

static struct block_drive *drive_of(const struct block_user *user)
{
    for (guint i = 0; i < user->graph->drives->len; i++) {
        struct block_drive *drive = user->graph->drives->pdata[i];

        if (drive->user == user) {
            return drive;
        }
    }
    return NULL;
}

void block_drive_attach(struct block_user *user)
{
    for (guint i = 0; i < user->graph->drives->len; i++) {
        struct block_drive *drive = user->graph->drives->pdata[i];

        if (!drive->user && drive->node == user->edge->node) {
            drive->user = user;
            swap_accounting(drive, user);
            user->write_cache = drive->write_cache;
            user->limits = drive->limits ? object_ref(drive->limits) : NULL;
            if (!user->name) {
                user->name = g_strdup(drive->id);
            }
            return;
        }
    }
}

void block_drive_detach(struct block_user *user)
{
    struct block_drive *drive = drive_of(user);

    if (drive) {
        swap_accounting(drive, user);
        drive->user = NULL;
    }
}

enum qapi_blockdev_on_error block_user_on_error(const struct block_user *user, bool is_read)
{
    const struct block_drive *drive = drive_of(user);

    return !drive ? QAPI_BLOCKDEV_ON_ERROR_AUTO : is_read ? drive->read_error : drive->write_error;
}
