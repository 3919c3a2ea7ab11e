/*
 * Address spaces: when a new view is made, and when the old one goes (memory_priv.h has the rules).
 */
#include "memory/memory_priv.h"

static const uint64_t OFFLINE = UINT64_MAX;

/* ---- Domains ---- */

struct domain *domain_new(void)
{
    struct domain *domain = g_aligned_alloc0(1, sizeof(*domain), 64);

    domain->refs = 1;
    domain->spaces = g_ptr_array_new();
    domain->readers = g_ptr_array_new();
    g_queue_init(&domain->retired);
    g_rec_mutex_init(&domain->lock);
    return domain;
}

void domain_ref(struct domain *domain)
{
    __atomic_fetch_add(&domain->refs, 1, __ATOMIC_RELAXED);
}

void domain_unref(struct domain *domain)
{
    if (__atomic_fetch_sub(&domain->refs, 1, __ATOMIC_ACQ_REL) != 1) {
        return;
    }
    g_queue_clear_full(&domain->retired, g_free);
    g_ptr_array_unref(domain->spaces);
    g_ptr_array_unref(domain->readers);
    g_rec_mutex_clear(&domain->lock);
    g_aligned_free(domain);
}

/* ---- The end of old views ---- */

/* The latest epoch at which everybody had been out of every view of before. */
static uint64_t quiet_epoch(struct domain *domain)
{
    uint64_t quiet = domain->epoch;

    for (unsigned i = 0; i < DOMAIN_SLOTS; i++) {
        struct domain_slot *slot = &domain->slots[i];
        uint64_t seen;

        if (__atomic_load_n(&slot->active, __ATOMIC_SEQ_CST) == 0) {
            __atomic_store_n(&slot->quiet, domain->epoch, __ATOMIC_RELEASE);
        } else {
            seen = __atomic_load_n(&slot->quiet, __ATOMIC_ACQUIRE);
            quiet = MIN(quiet, seen);       /* of one reading */
        }
    }
    for (unsigned i = 0; i < domain->readers->len; i++) {
        const struct address_space_reader *reader = domain->readers->pdata[i];
        uint64_t seen = __atomic_load_n(&reader->seen, __ATOMIC_SEQ_CST);

        quiet = MIN(quiet, seen);
    }
    return quiet;
}

static void reclaim(struct domain *domain)
{
    uint64_t quiet = domain->retired.head ? quiet_epoch(domain) : 0;
    const struct view *oldest;

    while ((oldest = g_queue_peek_head(&domain->retired)) && oldest->retired <= quiet) {
        g_free(g_queue_pop_head(&domain->retired));
    }
    __atomic_store_n(&domain->wants_quiet, domain->retired.head || domain->waiters,
                     __ATOMIC_RELAXED);
}

static void retire(struct domain *domain, struct view *view)
{
    view->retired = domain->epoch + 1;
    g_queue_push_tail(&domain->retired, view);
    __atomic_store_n(&domain->wants_quiet, true, __ATOMIC_RELAXED);
}

static void next_epoch(struct domain *domain)
{
    __atomic_store_n(&domain->epoch, domain->epoch + 1, __ATOMIC_SEQ_CST);
}

/* ---- Changes ---- */

/* True if there is a new view. */
static bool update(struct address_space *space)
{
    struct view *view = view_new(space->root);

    space->stale = false;
    if (view_equal(view, space->view)) {
        g_free(view);
        return false;
    }
    retire(space->domain, __atomic_exchange_n(&space->view, view, __ATOMIC_SEQ_CST));
    for (unsigned i = 0; i < space->listeners->len; i++) {
        const struct space_listener *listener =
            &g_array_index(space->listeners, struct space_listener, i);

        listener->fn(listener->opaque);
    }
    return true;
}

void domain_lock(struct domain *domain)
{
    g_rec_mutex_lock(&domain->lock);
    domain->depth++;
}

void domain_unlock(struct domain *domain)
{
    bool any = false;

    g_assert(domain->depth);
    if (domain->depth == 1) {
        for (unsigned i = 0; i < domain->spaces->len; i++) {
            struct address_space *space = domain->spaces->pdata[i];

            if (space->stale && update(space)) {
                any = true;
            }
        }
        if (any) {
            /* After the listeners: who sees the new epoch sees what they asked for. */
            next_epoch(domain);
        }
        reclaim(domain);
    }
    domain->depth--;
    g_rec_mutex_unlock(&domain->lock);
}

void address_space_begin_changes(struct address_space *space)
{
    domain_lock(space->domain);
}

void address_space_end_changes(struct address_space *space)
{
    domain_unlock(space->domain);
}

/* ---- Spaces ---- */

/* Takes over the reference of the domain. */
static struct address_space *space_new(const char *name, struct region *root,
                                       struct domain *domain)
{
    struct address_space *space = g_new0(struct address_space, 1);

    domain_lock(domain);
    space->domain = domain;
    space->name = g_strdup(name);
    space->root = root;
    space->listeners = g_array_new(FALSE, FALSE, sizeof(struct space_listener));
    space->view = view_new(root);
    if (!root->spaces) {
        root->spaces = g_ptr_array_new();
    }
    g_ptr_array_add(root->spaces, space);
    g_ptr_array_add(domain->spaces, space);
    domain_unlock(domain);
    return space;
}

struct address_space *address_space_new(const char *name, struct region *root)
{
    struct domain *domain = region_find_domain(root);

    if (domain) {
        domain_ref(domain);
    } else {
        domain = domain_new();
    }
    return space_new(name, root, domain);
}

struct address_space *address_space_new_peer(const char *name, struct region *root,
                                             struct address_space *peer)
{
    const struct domain *other = region_find_domain(root);

    g_assert(!other || other == peer->domain);
    domain_ref(peer->domain);
    return space_new(name, root, peer->domain);
}

void address_space_free(struct address_space *space)
{
    struct domain *domain = space->domain;

    domain_lock(domain);
    g_ptr_array_remove(space->root->spaces, space);
    g_ptr_array_remove(domain->spaces, space);
    domain_unlock(domain);
    g_free(space->view);
    g_array_unref(space->listeners);
    g_free(space->name);
    g_free(space);
    domain_unref(domain);
}

void address_space_add_listener(struct address_space *space, address_space_changed *fn,
                                void *opaque)
{
    struct space_listener listener = {.fn = fn, .opaque = opaque};

    domain_lock(space->domain);
    g_array_append_val(space->listeners, listener);
    domain_unlock(space->domain);
}

void address_space_remove_listener(struct address_space *space, void *opaque)
{
    domain_lock(space->domain);
    for (unsigned i = space->listeners->len; i-- > 0;) {
        if (g_array_index(space->listeners, struct space_listener, i).opaque == opaque) {
            g_array_remove_index(space->listeners, i);
        }
    }
    domain_unlock(space->domain);
}

/* ---- Readers ---- */

struct address_space_reader *address_space_reader_new(struct address_space *space)
{
    struct address_space_reader *reader = g_aligned_alloc0(1, sizeof(*reader), 64);

    reader->seen = OFFLINE;
    reader->space = space;
    reader->domain = space->domain;
    domain_ref(reader->domain);
    domain_lock(reader->domain);
    g_ptr_array_add(reader->domain->readers, reader);
    domain_unlock(reader->domain);
    return reader;
}

void address_space_reader_free(struct address_space_reader *reader)
{
    struct domain *domain = reader->domain;

    domain_lock(domain);
    g_ptr_array_remove_fast(domain->readers, reader);
    domain_unlock(domain);
    g_aligned_free(reader);
    domain_unref(domain);
}

void address_space_reader_quiescent(struct address_space_reader *reader)
{
    uint64_t epoch = __atomic_load_n(&reader->domain->epoch, __ATOMIC_SEQ_CST);

    if (reader->seen != epoch) {
        /* Who comes from being offline must be seen before it looks at a view. */
        __atomic_store_n(&reader->seen, epoch, __ATOMIC_SEQ_CST);
    }
}

void address_space_reader_offline(struct address_space_reader *reader)
{
    __atomic_store_n(&reader->seen, OFFLINE, __ATOMIC_RELEASE);
}

void address_space_synchronize(struct address_space *space)
{
    struct domain *domain = space->domain;
    uint64_t wanted, quiet;

    domain_lock(domain);
    g_assert(domain->depth == 1);
    /* Also if no view was retired: an access in progress may be in a region that was. */
    next_epoch(domain);
    wanted = domain->epoch;
    domain->waiters++;
    domain_unlock(domain);
    for (;;) {
        domain_lock(domain);
        quiet = quiet_epoch(domain);
        domain->waiters -= quiet >= wanted;
        domain_unlock(domain);
        if (quiet >= wanted) {
            return;
        }
        g_usleep(20);
    }
}
