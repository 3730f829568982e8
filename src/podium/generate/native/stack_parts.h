/* What the files of the stack share; not for others.
 *
 *   stack.c            the program of a step, its matrix products, and the face of stack.h
 *   stack_experts.c    the experts of a layer, each over the rows that visit it
 *   stack_attention.c  keys and values into the cache, queries over it
 *   stack_memory.c     what threads and steps work in
 *   stack_threads.c    running jobs; waking, sleeping and ending threads
 *   stack_lanes.c      the passes over rows (lanes.h), once per instruction set
 *
 * Every thread runs the same program from the top to the bottom. Its phases are handed out piece by piece:
 *     struct turn turn = begin(w, pieces);
 *     while ((piece = grab(&turn)) >= 0) { (compute the piece) finish(&turn); }
 *     settle(&turn);
 */
#ifndef PODIUM_STACK_PARTS_H
#define PODIUM_STACK_PARTS_H

#ifndef _GNU_SOURCE
#define _GNU_SOURCE
#endif
#include "draw.h"
#include "route.h"
#include "stack.h"

#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>
#include <stdint.h>
#include <time.h>

#if defined(__x86_64__) || defined(__i386__)
#include <immintrin.h>
#define RELAX() _mm_pause()
#elif defined(__aarch64__)
#define RELAX() __asm__ volatile("yield")
#else
#define RELAX() ((void)0)
#endif

#define GATE_ROWS 16      /* rows of gate, then of up: a panel of 32 outputs holds both */
#define TILE_ROWS 64      /* query rows that walk over the cache together */
#define ROW_BLOCK 128     /* rows of a matrix product per piece of work */
#define CHUNK_PANELS 8    /* panels of a matrix product per piece of work, at most */
#define ALONE_ROWS 2      /* so few rows every thread prepares by itself, sooner than it could be told */
#define MOST_LANES 16
#define SPINS 300         /* of about 50 ns, before the core is offered to others */
#define IDLE_SPINS 1000   /* before a thread without a step goes to sleep */

/* Passes over rows for one instruction set. */
struct lanes {
    int lanes;
    DrawKernels draw;
    void (*rms_norm)(const float *x, const float *weight, float eps, int n, float *out);
    void (*rotate)(float *x, const float *cosine, const float *sine, int half);
    void (*gate)(const float *gate, const float *up, int n, float *out);
    void (*add)(float *to, const float *x, int n);
    void (*widen)(const uint16_t *x, int n, float *out);
    void (*remember)(const float *key, const float *value, int size, int padded, int place, int half, void *keys,
                     void *values);
    void (*attend_single)(const float *q, int rows, int size, int padded, const void *keys, const void *values,
                          int first, int seen, float *scores, float *largest, float *totals, float *mixed);
    void (*attend_half)(const float *q, int rows, int size, int padded, const void *keys, const void *values, int first,
                        int seen, float *scores, float *largest, float *totals, float *mixed);
    void (*finish)(const float *totals, const float *mixed, int size, float *out);
};

struct layer {
    int tap;    /* place of its output in a state; 0: none */
    int window; /* positions that a token sees, its own among them; 0: all up to its own */
    Linear qkv, output, gate_up, down;
    Linear router;  /* where it is packed, experts stand for gate_up and down */
    Linear *expert; /* [2 experts] gate_up and down of each; NULL where there are none */
    const float *attention_norm, *mlp_norm, *query_norm, *key_norm;
};

/* Phases that a step goes through at most. */
static inline int step_phases(const StackShape *shape) { return shape->layers * 18 + 9; }

/* One phase of a step: tickets for its pieces of work, and how many are done. A cache line pair each. */
struct phase {
    _Alignas(128) _Atomic int next;
    _Atomic int done;
    int pieces; /* of phases whose pieces the phase before them counts, see count_pieces() */
};

/* Rows whose queries attend: in the order of the tables, so that rows with common leading blocks stand together. */
struct plan {
    int rows;
    int32_t *span, *limit; /* [rows] the row's span, and how many positions it sees */
    int32_t *order;        /* [rows] rows by span order; tiles are cut from it */
};

struct worker {
    Stack *stack;
    pthread_t thread;
    int phase;
    char *own;   /* memory of this thread alone, see reserve() */
    float *normed, *part, *queries, *scores, *largest, *totals, *mixed;
    void *scratch;
    float *weights; /* of a row that is drawn from, with the sums of its parts behind them; NULL before the first one */
};

struct Stack {
    StackShape shape;
    const struct lanes *lanes;
    struct layer *layer;
    Linear head;
    const float *last_norm, *cosine, *sine;
    const void *embedding;
    int positions;
    char *pool;
    int blocks, padded; /* padded: head_dim up to whole vectors */
    size_t key_bytes, value_bytes;

    /* threads */
    int threads;
    struct worker *worker;
    struct phase *phase;
    pthread_mutex_t lock;
    pthread_cond_t started;
    _Atomic int generation, open, inside, leaving;
    int sleepers;
    void (*job)(struct worker *); /* what an open stack's threads run */

    const StackDraw *draw;

    /* the step */
    const StackStep *step;
    float *logits, *states;
    int taps;
    int rows, wanted;
    const int32_t **tables;        /* [spans] */
    int32_t *rank, *offset;        /* [spans] place in the order of the tables; first row */
    int32_t *position, *row_span;  /* [rows] */
    int32_t *wanted_row;           /* [wanted] */
    struct plan all, last;
    size_t span_room, row_room;
    char *span_memory, *row_memory;
    float *x, *normed, *qkv, *mixed, *inner, *few; /* few: x of the wanted rows */
    char *scratch;                                 /* per block of rows */
    size_t scratch_bytes;                          /* of one block */

    /* the experts of a layer; visits are sorted by expert */
    float *scores, *weight;                  /* [rows, experts], [rows, active] */
    int32_t *chosen, *place, *visitor, *end; /* [rows, active] twice, [visits], [experts] */
    RouteVisit *visits;
    float *visiting, *visit_inner; /* [visits, hidden] what goes in and what comes out, [visits, expert_inner] */
    char *visit_scratch;
    double seconds[3];
    double mark;
};

enum { TIME_LINEAR, TIME_ATTENTION, TIME_REST };

static inline size_t most(size_t a, size_t b) { return a > b ? a : b; }
static inline int least(int a, int b) { return a < b ? a : b; }
static inline size_t aligned(size_t bytes) { return (bytes + 63) & ~(size_t)63; }
static inline int parts(int whole, int part) { return (whole + part - 1) / part; }

static inline size_t visits_of(const StackShape *s, size_t rows) { return s->experts ? rows * (size_t)s->active : 0; }

static inline int inner_rows(const StackShape *s) { return parts(s->inner, GATE_ROWS) * GATE_ROWS; }

static inline int tile_tokens(const Stack *s) {
    int group = s->shape.heads / s->shape.kv_heads;
    return group < TILE_ROWS ? TILE_ROWS / group : 1;
}

static inline char *keys_of(const Stack *s, int layer, int block) {
    size_t heads = (size_t)s->shape.kv_heads, blocks = (size_t)s->blocks;
    return s->pool + heads * ((size_t)layer * blocks * (s->key_bytes + s->value_bytes) + (size_t)block * s->key_bytes);
}

static inline char *values_of(const Stack *s, int layer, int block) {
    size_t heads = (size_t)s->shape.kv_heads, blocks = (size_t)s->blocks;
    return s->pool + heads * ((size_t)layer * blocks * (s->key_bytes + s->value_bytes) + blocks * s->key_bytes +
                              (size_t)block * s->value_bytes);
}

static inline double now(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

/* ---- phases ---- */

struct turn {
    struct phase *phase;
    int pieces, onlooker;
};

static inline struct turn begin(struct worker *w, int pieces) {
    /* A single piece is the calling thread's: nothing goes on without it anyhow. */
    return (struct turn){&w->stack->phase[w->phase++], pieces, pieces == 1 && w != w->stack->worker};
}

static inline int grab(struct turn *t) {
    if (t->onlooker) return -1;
    /* Looking first keeps late threads from pulling the line away from those that work. */
    if (atomic_load_explicit(&t->phase->next, memory_order_relaxed) >= t->pieces) return -1;
    int piece = atomic_fetch_add_explicit(&t->phase->next, 1, memory_order_acquire);
    return piece < t->pieces ? piece : -1;
}

static inline void finish(struct turn *t) { atomic_fetch_add_explicit(&t->phase->done, 1, memory_order_release); }

static inline void settle(struct turn *t) {
    for (int spins = 0; atomic_load_explicit(&t->phase->done, memory_order_acquire) < t->pieces; spins++) {
        if (spins < SPINS) RELAX();
        else sched_yield(); /* whoever holds the last piece may be waiting for this very core */
    }
}

static inline void spent(struct worker *w, int kind) {
    Stack *s = w->stack;
    if (w != s->worker) return;
    double t = now();
    s->seconds[kind] += t - s->mark;
    s->mark = t;
}

static inline int row_pieces(const Stack *s, int rows) {
    int each = parts(rows, 4 * s->threads);
    return parts(rows, least(each < 1 ? 1 : each, 16));
}

static inline int row_begin(int piece, int pieces, int rows) { return (int)((int64_t)rows * piece / pieces); }

/* What a matrix product reads: rows, and their packed form where the format has one. `stride` bytes between the
   packed forms of blocks of rows. */
struct input {
    const float *x;
    size_t width;
    const char *scratch;
    size_t stride;
};

/* Columns [from, to) of one row of gate_up, which begin at `both`, into what they open of `out` [inner]. */
static inline void gate_panels(const Stack *s, const float *both, int from, int to, float *out, int inner) {
    for (int column = from; column < to; column += LINEAR_PANEL, both += LINEAR_PANEL) {
        int first = column / 2, count = least(GATE_ROWS, inner - first);
        if (count > 0) s->lanes->gate(both, both + GATE_ROWS, count, out + first);
    }
}

/* ---- what one file does for the others ---- */

const struct lanes *stack_lanes_for(LinearIsa isa);
/* What a thread works in; needs the shapes of all packed layers. Returns a StackResult. */
int stack_worker_memory(Stack *s, struct worker *w);
/* Room for a step of so many spans and rows; what was in it is lost. Returns a StackResult. */
int stack_reserve(Stack *s, size_t spans, size_t rows);
/* Waits for late threads, which may still read phases and sizes of the job before. */
void stack_await_late(Stack *s);
/* All threads, the calling one too, run `job`, which goes through so many phases. */
void stack_run_job(Stack *s, void (*job)(struct worker *), int phases);
/* Ends the first `running` threads and frees the memory of all. */
void stack_stop_threads(Stack *s, int running);
/* Rows [from, to) of qkv: normalise and turn queries and keys, put keys and values into the cache. */
void stack_write_cache(Stack *s, int layer, int from, int to);
/* A matrix product: rows of `in` -> y [rows, n]. */
void stack_multiply(struct worker *w, const Linear *linear, struct input in, int rows, float *y);
/* RMS norm of rows of x [rows, hidden] into `out`. */
void stack_normalise(struct worker *w, const float *norm, const float *x, int rows, float *out);
/* Every row of x [rows, hidden] gets the weighted outputs of the experts it visits added, in ascending order. */
void stack_visit_experts(struct worker *w, const struct layer *l, float *x, int rows);
/* The rows of `plan` attend: queries [rows, width] -> out [rows, heads * head_dim]. */
void stack_attend(struct worker *w, int layer, const struct plan *plan, const float *queries, size_t width, float *out);

#endif
