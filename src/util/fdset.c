/* Sets of file descriptors that were handed to the program. */
#include "util/fdset.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <unistd.h>

static const char prefix[] = "/dev/fdset/";

struct set_fd {
    int fd;
    char *opaque;
};

struct fdset {
    int64_t id;
    GPtrArray *fds;         /* of struct set_fd */
};

struct fdsets {
    GMutex lock;
    GPtrArray *sets;        /* of struct fdset, by id; none is empty */
};

static void free_fd(gpointer data)
{
    struct set_fd *entry = data;

    close(entry->fd);
    g_free(entry->opaque);
    g_free(entry);
}

static void free_set(gpointer data)
{
    struct fdset *set = data;

    g_ptr_array_free(set->fds, TRUE);
    g_free(set);
}

struct fdsets *fdsets_new(void)
{
    struct fdsets *sets = g_new0(struct fdsets, 1);

    g_mutex_init(&sets->lock);
    sets->sets = g_ptr_array_new_with_free_func(free_set);
    return sets;
}

void fdsets_free(struct fdsets *sets)
{
    g_ptr_array_free(sets->sets, TRUE);
    g_mutex_clear(&sets->lock);
    g_free(sets);
}

/* Under the lock. NULL: there is none; *index (may be NULL) is where it would be. */
static struct fdset *find_set(struct fdsets *sets, int64_t id, guint *index)
{
    guint i = 0;

    while (i < sets->sets->len && ((struct fdset *)sets->sets->pdata[i])->id < id) {
        i++;
    }
    if (index) {
        *index = i;
    }
    if (i < sets->sets->len && ((struct fdset *)sets->sets->pdata[i])->id == id) {
        return sets->sets->pdata[i];
    }
    return NULL;
}

static struct fdset *find_or_add_set(struct fdsets *sets, int64_t id)
{
    guint index;
    struct fdset *set = find_set(sets, id, &index);

    if (!set) {
        set = g_new0(struct fdset, 1);
        set->id = id;
        set->fds = g_ptr_array_new_with_free_func(free_fd);
        g_ptr_array_insert(sets->sets, (int)index, set);
    }
    return set;
}

/* The smallest number that isn't taken. */
static int64_t new_id(struct fdsets *sets)
{
    int64_t id = 0;

    while ((guint)id < sets->sets->len && ((struct fdset *)sets->sets->pdata[id])->id == id) {
        id++;
    }
    return id;
}

int64_t fdsets_add(struct fdsets *sets, int fd, int64_t set, const char *opaque, GError **error)
{
    struct set_fd *entry;

    if (set < -1) {
        g_set_error(error, G_OPTION_ERROR, G_OPTION_ERROR_BAD_VALUE,
                    "Parameter 'fdset-id' expects a non-negative value");
        return -1;
    }
    if (fd < 0 || fcntl(fd, F_GETFD) < 0) {
        g_set_error(error, G_FILE_ERROR, G_FILE_ERROR_BADF, "File descriptor %d is not open", fd);
        return -1;
    }
    entry = g_new0(struct set_fd, 1);
    entry->fd = fd;
    entry->opaque = g_strdup(opaque);
    g_mutex_lock(&sets->lock);
    if (set < 0) {
        set = new_id(sets);
    }
    g_ptr_array_add(find_or_add_set(sets, set)->fds, entry);
    g_mutex_unlock(&sets->lock);
    return set;
}

/* Under the lock: whether there was what is to be removed. */
static bool remove_fd(struct fdsets *sets, int64_t id, int fd)
{
    guint index;
    struct fdset *set = find_set(sets, id, &index);
    bool found = false;

    if (!set) {
        return false;
    }
    for (guint i = set->fds->len; i-- > 0;) {
        if (fd < 0 || ((struct set_fd *)set->fds->pdata[i])->fd == fd) {
            g_ptr_array_remove_index(set->fds, i);
            found = true;
        }
    }
    if (!set->fds->len) {
        g_ptr_array_remove_index(sets->sets, index);
    }
    return found;
}

bool fdsets_remove(struct fdsets *sets, int64_t set, int fd, GError **error)
{
    bool found;

    g_mutex_lock(&sets->lock);
    found = remove_fd(sets, set, fd);
    g_mutex_unlock(&sets->lock);
    if (!found && fd < 0) {
        g_set_error(error, G_FILE_ERROR, G_FILE_ERROR_NOENT,
                    "File descriptor named 'fdset-id:%" G_GINT64_FORMAT "' not found", set);
    } else if (!found) {
        g_set_error(error, G_FILE_ERROR, G_FILE_ERROR_NOENT,
                    "File descriptor named 'fdset-id:%" G_GINT64_FORMAT ", fd:%d' not found", set,
                    fd);
    }
    return found;
}

void fdsets_foreach(struct fdsets *sets, fdsets_visit *fn, void *opaque)
{
    g_mutex_lock(&sets->lock);
    for (guint i = 0; i < sets->sets->len; i++) {
        const struct fdset *set = sets->sets->pdata[i];

        for (guint j = 0; j < set->fds->len; j++) {
            const struct set_fd *entry = set->fds->pdata[j];

            fn(opaque, set->id, entry->fd, entry->opaque);
        }
    }
    g_mutex_unlock(&sets->lock);
}

static int fail(GError **error, int number, const char *what, const char *path, const char *why)
{
    g_set_error(error, G_FILE_ERROR, g_file_error_from_errno(number), "%s '%s': %s", what, path,
                why);
    errno = number;
    return -1;
}

/* Under the lock: a duplicate of the set's descriptor with this access mode. -1 and errno. */
static int dup_from_set(struct fdsets *sets, int64_t id, int access)
{
    struct fdset *set = find_set(sets, id, NULL);

    errno = ENOENT;
    for (guint i = 0; set && i < set->fds->len; i++) {
        int fd = ((struct set_fd *)set->fds->pdata[i])->fd;
        int flags = fcntl(fd, F_GETFL);

        if (flags >= 0 && (flags & O_ACCMODE) == access) {
            return fcntl(fd, F_DUPFD_CLOEXEC, 0);
        }
        errno = EACCES;
    }
    return -1;
}

/*
 * What open() would have done, as far as it can be done afterwards. The flags are those of all
 * duplicates.
 */
static bool apply_flags(int fd, int flags)
{
    const int settable = O_APPEND | O_DIRECT | O_NOATIME | O_NONBLOCK;
    int now = fcntl(fd, F_GETFL);

    if ((flags & O_DSYNC) && !(now & O_DSYNC)) {
        errno = EINVAL;     /* can only be had when the file is opened */
        return false;
    }
    if (((flags ^ now) & settable) &&
        fcntl(fd, F_SETFL, (now & ~settable) | (flags & settable)) < 0) {
        return false;
    }
    return !(flags & O_TRUNC) || ftruncate(fd, 0) == 0;
}

static int open_from_set(struct fdsets *sets, const char *path, int flags, GError **error)
{
    const char *number = path + strlen(prefix);
    guint64 id;
    int fd;

    if (!g_ascii_string_to_unsigned(number, 10, 0, G_MAXINT64, &id, NULL)) {
        return fail(error, EINVAL, "Could not open", path,
                    "the set's number should follow /dev/fdset/");
    }
    g_mutex_lock(&sets->lock);
    fd = dup_from_set(sets, (int64_t)id, flags & O_ACCMODE);
    g_mutex_unlock(&sets->lock);
    if (fd < 0) {
        return fail(error, errno, "Could not open", path,
                    errno == ENOENT   ? "there is no such set"
                    : errno == EACCES ? "no descriptor of the set has this access mode"
                                      : g_strerror(errno));
    }
    if (!apply_flags(fd, flags)) {
        int saved = errno;

        close(fd);
        return fail(error, saved, "Could not open", path, g_strerror(saved));
    }
    return fd;
}

int fdsets_open(struct fdsets *sets, const char *path, int flags, mode_t mode, GError **error)
{
    int fd;

    if (g_str_has_prefix(path, prefix)) {
        return open_from_set(sets, path, flags, error);
    }
    do {
        fd = open(path, flags | O_CLOEXEC, mode);
    } while (fd < 0 && errno == EINTR);
    if (fd < 0) {
        return fail(error, errno, flags & O_CREAT ? "Could not create" : "Could not open", path,
                    g_strerror(errno));
    }
    return fd;
}
