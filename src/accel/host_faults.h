/*
 * Faults of the host in vCPU threads: translated code may run into the guard pages of its
 * return-prediction stack. What isn't the translator's ends the program, as it would without this.
 */
#ifndef NANDU_ACCEL_HOST_FAULTS_H
#define NANDU_ACCEL_HOST_FAULTS_H

struct vcpu;

/* Of the process. Again does no harm. */
void host_faults_install(void);
/* The calling thread is going to run this vCPU; stack is host_faults_stack_size() bytes for the
 * handler. */
void host_faults_enter(struct vcpu *cpu, void *stack);
void host_faults_leave(void);
unsigned long host_faults_stack_size(void);

#endif
