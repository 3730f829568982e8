/* The threads of a stack sleep between jobs, and a job waits for none of them that has no piece of work. */
#include "stack_parts.h"

#include <stdlib.h>

void stack_await_late(Stack *s) {
    for (int spins = 0; atomic_load(&s->inside); spins++) {
        if (spins < SPINS) RELAX();
        else sched_yield();
    }
}

void stack_run_job(Stack *s, void (*job)(struct worker *), int phases) {
    for (int i = 0; i < phases; i++) {
        atomic_store_explicit(&s->phase[i].next, 0, memory_order_relaxed);
        atomic_store_explicit(&s->phase[i].done, 0, memory_order_relaxed);
    }
    s->job = job;
    if (s->threads > 1) {
        atomic_store(&s->open, 1);
        pthread_mutex_lock(&s->lock);
        atomic_fetch_add(&s->generation, 1);
        if (s->sleepers) pthread_cond_broadcast(&s->started);
        pthread_mutex_unlock(&s->lock);
    }
    job(s->worker);
    atomic_store(&s->open, 0);
}

static void *work(void *argument) {
    struct worker *w = argument;
    Stack *s = w->stack;
    int seen = 0;
    for (;;) {
        for (int spins = 0; spins < IDLE_SPINS && atomic_load_explicit(&s->generation, memory_order_acquire) == seen; spins++)
            RELAX();
        if (atomic_load(&s->generation) == seen) {
            pthread_mutex_lock(&s->lock);
            s->sleepers++;
            while (atomic_load(&s->generation) == seen) pthread_cond_wait(&s->started, &s->lock);
            s->sleepers--;
            pthread_mutex_unlock(&s->lock);
        }
        seen = atomic_load(&s->generation);
        if (atomic_load(&s->leaving)) return NULL;
        /* Whoever is inside keeps the next step from beginning; who finds the step over stays out. */
        atomic_fetch_add(&s->inside, 1);
        if (atomic_load(&s->open)) s->job(w);
        atomic_fetch_sub(&s->inside, 1);
    }
}

static void forget_threads(Stack *s) {
    for (int i = 0; i < s->threads; i++) {
        free(s->worker[i].own);
        free(s->worker[i].weights);
    }
    free(s->worker);
    s->worker = NULL;
    s->threads = 0;
}

void stack_stop_threads(Stack *s, int running) {
    if (running > 1) {
        atomic_store(&s->leaving, 1);
        pthread_mutex_lock(&s->lock);
        atomic_fetch_add(&s->generation, 1);
        pthread_cond_broadcast(&s->started);
        pthread_mutex_unlock(&s->lock);
        for (int i = 1; i < running; i++) pthread_join(s->worker[i].thread, NULL);
    }
    forget_threads(s);
}

int stack_start_threads(Stack *s, int threads) {
    forget_threads(s); /* after a fork there is memory of threads but no threads */
    pthread_mutex_init(&s->lock, NULL);
    pthread_cond_init(&s->started, NULL);
    atomic_store(&s->generation, 0);
    atomic_store(&s->open, 0);
    atomic_store(&s->inside, 0);
    atomic_store(&s->leaving, 0);
    s->sleepers = 0;
    s->worker = calloc((size_t)threads, sizeof *s->worker);
    if (!s->worker) return STACK_NO_MEMORY;
    s->threads = threads;
    for (int i = 0; i < threads; i++) {
        s->worker[i].stack = s;
        int failed = stack_worker_memory(s, &s->worker[i]) != STACK_DONE;
        if (!failed && i) failed = pthread_create(&s->worker[i].thread, NULL, work, &s->worker[i]);
        if (failed) {
            stack_stop_threads(s, i);
            return STACK_NO_MEMORY;
        }
    }
    return STACK_DONE;
}
