#define _GNU_SOURCE
#include "mi_sync.h"

#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

struct mi_monitor {
    pthread_mutex_t mutex;
    pthread_cond_t condition;
};

mi_monitor *mi_monitor_create(void) {
    mi_monitor *monitor = malloc(sizeof *monitor);
    if (!monitor) return NULL;
    pthread_condattr_t attributes;
    pthread_condattr_init(&attributes);
    pthread_condattr_setclock(&attributes, CLOCK_MONOTONIC);
    pthread_mutex_init(&monitor->mutex, NULL);
    pthread_cond_init(&monitor->condition, &attributes);
    pthread_condattr_destroy(&attributes);
    return monitor;
}

void mi_monitor_destroy(mi_monitor *monitor) {
    if (!monitor) return;
    pthread_cond_destroy(&monitor->condition);
    pthread_mutex_destroy(&monitor->mutex);
    free(monitor);
}

void mi_monitor_lock(mi_monitor *monitor) { pthread_mutex_lock(&monitor->mutex); }
void mi_monitor_unlock(mi_monitor *monitor) { pthread_mutex_unlock(&monitor->mutex); }
void mi_monitor_wait(mi_monitor *monitor) { pthread_cond_wait(&monitor->condition, &monitor->mutex); }
void mi_monitor_wake_all(mi_monitor *monitor) { pthread_cond_broadcast(&monitor->condition); }

void mi_monitor_wait_for(mi_monitor *monitor, int32_t milliseconds) {
    struct timespec until;
    clock_gettime(CLOCK_MONOTONIC, &until);
    until.tv_sec += milliseconds / 1000;
    until.tv_nsec += (long)(milliseconds % 1000) * 1000000;
    if (until.tv_nsec >= 1000000000) until.tv_sec++, until.tv_nsec -= 1000000000;
    pthread_cond_timedwait(&monitor->condition, &monitor->mutex, &until);
}

struct mi_thread {
    pthread_t id;
    void (*body)(void *);
    void *context;
    char name[16];
};

static void *run(void *argument) {
    mi_thread *thread = argument;
#ifdef __linux__
    pthread_setname_np(pthread_self(), thread->name);
#endif
    thread->body(thread->context);
    return NULL;
}

int32_t mi_thread_start(mi_thread **out, const char *name, void (*body)(void *), void *context) {
    mi_thread *thread = malloc(sizeof *thread);
    if (!thread) return ENOMEM;
    thread->body = body;
    thread->context = context;
    strncpy(thread->name, name, sizeof thread->name - 1);
    thread->name[sizeof thread->name - 1] = 0;
    sigset_t all, before;
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before);
    int status = pthread_create(&thread->id, NULL, run, thread);
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    if (status != 0) {
        free(thread);
        return status;
    }
    *out = thread;
    return 0;
}

void mi_thread_join(mi_thread *thread) {
    pthread_join(thread->id, NULL);
    free(thread);
}

void mi_thread_forget(mi_thread *thread) { free(thread); }
