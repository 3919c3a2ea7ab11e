/* System V and POSIX inter-process communication. */
#include "sc.h"
#include <mqueue.h>
#include <sys/ipc.h>
#include <sys/msg.h>
#include <sys/sem.h>
#include <sys/shm.h>

static void messages(void)
{
    struct {
        long type;
        char text[16];
    } m = {3, "hello"};
    struct msqid_ds ds;
    struct msginfo info;
    int q;

    OK(q = msgget(IPC_PRIVATE, IPC_CREAT | 0600));
    SHOW(msgsnd(q, &m, 6, 0));
    m.type = 5;
    strcpy(m.text, "other");
    SHOW(msgsnd(q, &m, 6, IPC_NOWAIT));
    SHOW(msgctl(q, IPC_STAT, &ds));
    printf("qnum %d bytes %d mode %o lspid %d\n", (int)ds.msg_qnum, (int)ds.__msg_cbytes,
           ds.msg_perm.mode, ds.msg_lspid == getpid());
    SHOW(msgrcv(q, &m, 16, 5, 0));
    printf("%ld %s\n", m.type, m.text);
    SHOW(msgrcv(q, &m, 2, 0, 0));
    SHOW(msgrcv(q, &m, 2, 0, MSG_NOERROR));
    SHOW(msgrcv(q, &m, 16, 0, IPC_NOWAIT));
    SHOW(msgsnd(q, NOWHERE, 6, 0));
    m.type = 0;
    SHOW(msgsnd(q, &m, 6, 0));
    SHOW(msgsnd(q, &m, -1, 0));
    ds.msg_perm.mode = 0640;
    SHOW(msgctl(q, IPC_SET, &ds));
    SHOW(msgctl(q, IPC_STAT, &ds));
    printf("mode %o\n", ds.msg_perm.mode);
    SHOW(msgctl(0, IPC_INFO, (void *)&info) >= 0);
    SHOW(msgctl(q, IPC_STAT, NOWHERE));
    SHOW(msgctl(q, 99, &ds));
    SHOW(msgctl(q, IPC_RMID, NULL));
    SHOW(msgctl(q, IPC_RMID, NULL));
}

static void semaphores(void)
{
    struct sembuf up = {0, 2, 0}, down = {0, -1, IPC_NOWAIT}, zero = {1, 0, IPC_NOWAIT};
    struct sembuf both[2] = {{0, 1, 0}, {1, 1, SEM_UNDO}};
    struct timespec soon = {0, 1000000};
    unsigned short values[3] = {7, 8, 9};
    struct semid_ds ds;
    struct seminfo info;
    int s;

    OK(s = semget(IPC_PRIVATE, 3, IPC_CREAT | 0600));
    SHOW(semop(s, &up, 1));
    SHOW(semop(s, &down, 1));
    SHOW(semop(s, &zero, 1));
    SHOW(semop(s, both, 2));
    SHOW(semctl(s, 0, GETVAL));
    SHOW(semctl(s, 1, GETVAL));
    SHOW(semctl(s, 0, GETPID) == getpid());
    SHOW(semctl(s, 0, GETNCNT));
    SHOW(semctl(s, 0, GETZCNT));
    SHOW(semctl(s, 0, SETALL, values));
    values[0] = values[1] = values[2] = 0;
    SHOW(semctl(s, 0, GETALL, values));
    printf("%d %d %d\n", values[0], values[1], values[2]);
    SHOW(semctl(s, 2, SETVAL, 0));
    down.sem_num = 2;
    SHOW(semop(s, &down, 1));
    down.sem_flg = 0;
    SHOW(semtimedop(s, &down, 1, &soon));
    SHOW(semctl(s, 0, IPC_STAT, &ds));
    printf("nsems %d mode %o otime %d ctime %d\n", (int)ds.sem_nsems, ds.sem_perm.mode,
           ds.sem_otime > 0, ds.sem_ctime > 0);
    ds.sem_perm.mode = 0666;
    SHOW(semctl(s, 0, IPC_SET, &ds));
    SHOW(semctl(s, 0, IPC_STAT, &ds));
    printf("mode %o\n", ds.sem_perm.mode);
    SHOW(semctl(0, 0, IPC_INFO, &info) >= 0);
    SHOW(semctl(0, 0, SEM_INFO, &info) >= 0);
    SHOW(semctl(s, 0, GETALL, NOWHERE));
    SHOW(semctl(s, 0, SETALL, NOWHERE));
    SHOW(semctl(s, 0, IPC_STAT, NOWHERE));
    SHOW(semctl(s, 9, GETVAL));
    SHOW(semctl(s, 0, 99));
    SHOW(semop(s, NOWHERE, 1));
    SHOW(semop(s, &up, 0));
    SHOW(syscall(SYS_semop, s, &up, 100000));
    SHOW(semctl(s, 0, IPC_RMID));
    SHOW(semop(s, &up, 1));
    SHOW(semget(12345678, 1, 0));
}

static void shared(void)
{
    struct shmid_ds ds;
    struct shm_info info;
    int id;
    char *p, *q;

    OK(id = shmget(IPC_PRIVATE, 10000, IPC_CREAT | 0600));
    p = shmat(id, NULL, 0);
    q = shmat(id, NULL, SHM_RDONLY);
    SHOW(p != (void *)-1 && q != (void *)-1);
    strcpy(p, "shared");
    printf("%s\n", q);
    SHOW(shmctl(id, IPC_STAT, &ds));
    printf("size %d nattch %d cpid %d mode %o\n", (int)ds.shm_segsz, (int)ds.shm_nattch,
           ds.shm_cpid == getpid(), ds.shm_perm.mode);
    fflush(stdout);
    if (fork() == 0) {
        strcpy(p, "child");
        _exit(0);
    }
    wait(NULL);
    printf("%s\n", q);
    ds.shm_perm.mode = 0660;
    SHOW(shmctl(id, IPC_SET, &ds));
    SHOW(shmctl(0, SHM_INFO, (void *)&info) >= 0);
    SHOW(shmctl(id, IPC_STAT, NOWHERE));
    SHOW(shmctl(id, 99, &ds));
    SHOW(shmdt(q));
    SHOW(shmdt(q));
    SHOW(shmctl(id, IPC_RMID, NULL));
    SHOW(shmdt(p));
    SHOW((long)shmat(id, NULL, 0));
    SHOW((long)shmat(id, (void *)0x1001, 0));
    /* An attachment at an address of the caller's choice. */
    p = mmap(NULL, 1 << 20, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    munmap(p, 1 << 20);
    OK(id = shmget(IPC_PRIVATE, 4096, IPC_CREAT | 0600));
    SHOW(shmat(id, p, 0) == p);
    SHOW((long)shmat(id, p, 0));
    SHOW(shmat(id, p, SHM_REMAP) == p);
    SHOW(shmdt(p));
    SHOW(shmctl(id, IPC_RMID, NULL));
    SHOW(shmget(IPC_PRIVATE, 0, IPC_CREAT));
}

static volatile int caught;

static void handler(int sig) { caught = sig; }

static void posix(void)
{
    struct mq_attr attr = {.mq_maxmsg = 4, .mq_msgsize = 16}, old;
    struct sigevent event = {.sigev_notify = SIGEV_SIGNAL, .sigev_signo = SIGUSR1};
    struct timespec past = {1, 0};
    char buf[16] = "";
    char name[64];
    unsigned prio = 0;
    mqd_t q;

    snprintf(name, sizeof(name), "/nandu-test-%d", getpid());
    errno = 0;
    q = mq_open(name, O_RDWR | O_CREAT | O_EXCL | O_NONBLOCK, 0600, &attr);
    if (q == -1) {
        printf("mq_open: %s\n", strerrorname_np(errno));
        return;
    }
    SHOW(mq_getattr(q, &attr));
    printf("max %ld size %ld cur %ld flags %lx\n", attr.mq_maxmsg, attr.mq_msgsize, attr.mq_curmsgs,
           attr.mq_flags);
    signal(SIGUSR1, handler);
    SHOW(mq_notify(q, &event));
    SHOW(mq_send(q, "first", 6, 1));
    printf("caught %d\n", caught == SIGUSR1);
    SHOW(mq_send(q, "urgent", 7, 9));
    SHOW(mq_send(q, "this is far too long", 20, 0));
    SHOW(mq_receive(q, buf, 16, &prio));
    printf("%s %u\n", buf, prio);
    SHOW(mq_receive(q, buf, 4, &prio));
    SHOW(mq_receive(q, buf, 16, NULL));
    SHOW(mq_receive(q, buf, 16, NULL));
    attr.mq_flags = 0;
    SHOW(mq_setattr(q, &attr, &old));
    SHOW(mq_timedreceive(q, buf, 16, NULL, &past));
    SHOW(syscall(SYS_mq_timedsend, q, NOWHERE, 4, 0, NULL));
    SHOW(syscall(SYS_mq_notify, q, NOWHERE));
    event.sigev_notify = SIGEV_NONE;
    SHOW(mq_notify(q, &event));
    SHOW(mq_notify(q, NULL));
    SHOW(mq_close(q));
    SHOW(mq_unlink(name));
    SHOW(mq_unlink(name));
}

int main(void)
{
    messages();
    semaphores();
    shared();
    posix();
    return 0;
}
