/*
 * System V and POSIX inter-process communication.
 */
#include "linux_user/sys.h"

#include <signal.h>
#include <string.h>
#include <sys/ipc.h>
#include <sys/msg.h>
#include <sys/sem.h>
#include <sys/shm.h>

#include "linux_user/syscall_args.h"

/* ---- Message queues ---- */

static const struct lu_subcall msgctl_commands[] = {
    SUB(IPC_RMID, msgctl, INT, INT, HEX),
    SUB(IPC_SET, msgctl, INT, INT, IN(sizeof(struct msqid_ds))),
    SUB(IPC_STAT, msgctl, INT, INT, OUT(sizeof(struct msqid_ds))),
    SUB(MSG_STAT, msgctl, INT, INT, OUT(sizeof(struct msqid_ds))),
    SUB(MSG_STAT_ANY, msgctl, INT, INT, OUT(sizeof(struct msqid_ds))),
    SUB(IPC_INFO, msgctl, INT, INT, OUT(sizeof(struct msginfo))),
    SUB(MSG_INFO, msgctl, INT, INT, OUT(sizeof(struct msginfo))),
};

int64_t sys_msgctl(struct lu_thread *t, const uint64_t a[6])
{
    return lu_pass_sub(t, msgctl_commands, G_N_ELEMENTS(msgctl_commands), (uint32_t)a[1],
                       "msgctl command", a);
}

/* A message is a type of 8 bytes and then [size] bytes. */
static void *message_ptr(const struct lu_process *p, uint64_t addr, uint64_t size, unsigned access)
{
    /* A size that is too large is refused, but the type is read before. */
    return lu_ptr(p, addr, size > INT64_MAX - 8 ? 8 : size + 8, access);
}

int64_t sys_msgsnd(struct lu_thread *t, const uint64_t a[6])
{
    return lu_no_restart(
        LU_BLOCK(t, SYS_msgsnd, a[0], message_ptr(t->process, a[1], a[2], LU_READ), a[2], a[3]));
}

int64_t sys_msgrcv(struct lu_thread *t, const uint64_t a[6])
{
    return lu_no_restart(LU_BLOCK(t, SYS_msgrcv, a[0],
                                  message_ptr(t->process, a[1], a[2], LU_WRITE), a[2], a[3], a[4]));
}

/* ---- Semaphores ---- */

/* struct semid64_ds of the generic system call interface; x86-64's has gaps. */
struct guest_semid {
    struct ipc_perm perm;
    int64_t otime;
    int64_t ctime;
    uint64_t nsems;
    uint64_t unused[2];
};
G_STATIC_ASSERT(sizeof(struct ipc_perm) == 48 && sizeof(struct guest_semid) == 88);

static int64_t semaphore_stat(struct lu_thread *t, const uint64_t a[6])
{
    struct semid_ds host;
    int64_t result = LU_HOST(SYS_semctl, a[0], a[1], a[2], &host);
    struct guest_semid guest;

    if (result < 0) {
        return result;
    }
    memset(&guest, 0, sizeof(guest));
    guest.perm = host.sem_perm;
    guest.otime = host.sem_otime;
    guest.ctime = host.sem_ctime;
    guest.nsems = host.sem_nsems;
    return lu_copy_to_guest(t->process, a[3], &guest, sizeof(guest)) ?: result;
}

static int64_t semaphore_set(struct lu_thread *t, const uint64_t a[6])
{
    struct semid_ds host;
    struct guest_semid guest;
    int error = lu_copy_from_guest(t->process, &guest, a[3], sizeof(guest));

    if (error) {
        return error;
    }
    memset(&host, 0, sizeof(host));
    host.sem_perm = guest.perm;
    return LU_HOST(SYS_semctl, a[0], a[1], a[2], &host);
}

/* GETALL and SETALL: as many values of 2 bytes as the set has semaphores. */
static int64_t semaphore_values(struct lu_thread *t, const uint64_t a[6])
{
    bool get = (int)a[2] == GETALL;
    struct semid_ds ds;
    struct seminfo info;
    uint64_t count;

    if (LU_HOST(SYS_semctl, a[0], 0, IPC_STAT, &ds) == 0) {
        count = ds.sem_nsems;
    } else if (get || LU_HOST(SYS_semctl, 0, 0, IPC_INFO, &info) < 0) {
        /* What may not be looked at can't be got either. */
        return LU_HOST(SYS_semctl, a[0], a[1], a[2], LU_BAD_POINTER);
    } else {
        /* It may be set without the right to look at it: the largest size that there is. */
        count = (uint64_t)info.semmsl;
    }
    g_autofree uint16_t *values = g_try_new0(uint16_t, count + 1);
    if (!values) {
        return -ENOMEM;
    }
    if (!get) {
        int64_t size = lu_copy_some_from_guest(t->process, values, a[3], count * 2);

        return size < 0 ? size : LU_HOST(SYS_semctl, a[0], a[1], a[2], values);
    }
    int64_t result = LU_HOST(SYS_semctl, a[0], a[1], a[2], values);
    return result < 0 ? result : (lu_copy_to_guest(t->process, a[3], values, count * 2) ?: result);
}

static const struct lu_subcall semctl_commands[] = {
    SUB(IPC_RMID, semctl, INT, INT, INT, HEX),
    SUB(GETPID, semctl, INT, INT, INT, HEX),
    SUB(GETVAL, semctl, INT, INT, INT, HEX),
    SUB(GETNCNT, semctl, INT, INT, INT, HEX),
    SUB(GETZCNT, semctl, INT, INT, INT, HEX),
    SUB(SETVAL, semctl, INT, INT, INT, INT),
    SUB(IPC_INFO, semctl, INT, INT, INT, OUT(sizeof(struct seminfo))),
    SUB(SEM_INFO, semctl, INT, INT, INT, OUT(sizeof(struct seminfo))),
};

int64_t sys_semctl(struct lu_thread *t, const uint64_t a[6])
{
    switch ((int)a[2]) {
    case IPC_STAT:
    case SEM_STAT:
    case SEM_STAT_ANY: return semaphore_stat(t, a);
    case IPC_SET: return semaphore_set(t, a);
    case GETALL:
    case SETALL: return semaphore_values(t, a);
    default:
        return lu_pass_sub(t, semctl_commands, G_N_ELEMENTS(semctl_commands), (uint32_t)a[2],
                           "semctl command", a);
    }
}

/* ---- Shared memory ---- */

static const struct lu_subcall shmctl_commands[] = {
    SUB(IPC_RMID, shmctl, INT, INT, HEX),
    SUB(SHM_LOCK, shmctl, INT, INT, HEX),
    SUB(SHM_UNLOCK, shmctl, INT, INT, HEX),
    SUB(IPC_SET, shmctl, INT, INT, IN(sizeof(struct shmid_ds))),
    SUB(IPC_STAT, shmctl, INT, INT, OUT(sizeof(struct shmid_ds))),
    SUB(SHM_STAT, shmctl, INT, INT, OUT(sizeof(struct shmid_ds))),
    SUB(SHM_STAT_ANY, shmctl, INT, INT, OUT(sizeof(struct shmid_ds))),
    SUB(IPC_INFO, shmctl, INT, INT, OUT(72 /* struct shminfo64 */)),
    SUB(SHM_INFO, shmctl, INT, INT, OUT(sizeof(struct shm_info))),
};

int64_t sys_shmctl(struct lu_thread *t, const uint64_t a[6])
{
    return lu_pass_sub(t, shmctl_commands, G_N_ELEMENTS(shmctl_commands), (uint32_t)a[1],
                       "shmctl command", a);
}

int64_t sys_shmat(struct lu_thread *t, const uint64_t a[6])
{
    return lu_shmat(t->process, (int)a[0], a[1], (int)a[2]);
}

int64_t sys_shmdt(struct lu_thread *t, const uint64_t a[6])
{
    return lu_shmdt(t->process, a[0]);
}

/* ---- POSIX message queues ---- */

int64_t sys_mq_notify(struct lu_thread *t, const uint64_t a[6])
{
    enum { COOKIE = 32 }; /* bytes, NOTIFY_COOKIE_LEN */
    struct lu_process *p = t->process;
    struct sigevent event;

    if (a[1] == 0) {
        return LU_HOST(SYS_mq_notify, a[0], NULL);
    }
    if (lu_copy_from_guest(p, &event, a[1], sizeof(event)) != 0) {
        return -EFAULT;
    }
    if (event.sigev_notify == SIGEV_THREAD) {
        /* The C library's helper thread reads a socket, the kernel copies this cookie to it. */
        if (lu_fd_is_protected(p, event.sigev_signo)) {
            return -EBADF;
        }
        event.sigev_value.sival_ptr =
            lu_ptr(p, (uintptr_t)event.sigev_value.sival_ptr, COOKIE, LU_READ);
    }
    return LU_HOST(SYS_mq_notify, a[0], &event);
}
