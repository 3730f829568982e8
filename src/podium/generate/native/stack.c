/* See stack.h. The step is one program that every thread runs from the top to the bottom; its phases are handed out
   piece by piece. */
#define _GNU_SOURCE
#include "draw.h"
#include "route.h"
#include "stack.h"

#include <math.h>
#ifdef __GLIBC__
#include <malloc.h>
#endif
#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
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

/* ---- rows: the kernels of lanes.h, once per instruction set ---- */

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

/* Portable: vectors of four floats, in the compiler's own notation. */
typedef float Four __attribute__((vector_size(16)));
typedef int32_t FourInts __attribute__((vector_size(16)));

static inline Four four_load(const float *p) {
    Four v;
    memcpy(&v, p, sizeof v);
    return v;
}
static inline void four_store(float *p, Four v) { memcpy(p, &v, sizeof v); }
static inline Four four_pick(FourInts mask, Four a, Four b) {
    return (Four)((mask & (FourInts)a) | (~mask & (FourInts)b));
}

static float half_to_float(uint16_t half) {
    uint32_t sign = (uint32_t)(half & 0x8000u) << 16, exponent = (half >> 10) & 31u, fraction = half & 1023u, bits;
    if (exponent == 31) {
        bits = sign | 0x7f800000u | fraction << 13;
    } else if (exponent) {
        bits = sign | (exponent + 112) << 23 | fraction << 13;
    } else {
        float small = (float)fraction * 0x1p-24f;
        memcpy(&bits, &small, sizeof bits);
        bits |= sign;
    }
    float value;
    memcpy(&value, &bits, sizeof value);
    return value;
}

static uint16_t float_to_half(float value) {
    uint32_t bits;
    memcpy(&bits, &value, sizeof bits);
    uint32_t sign = bits >> 16 & 0x8000u, size = bits & 0x7fffffffu;
    if (size > 0x7f800000u) return (uint16_t)(sign | 0x7e00u);
    if (size >= 0x477ff000u) return (uint16_t)(sign | 0x7c00u); /* rounds to 65536 or more */
    if (size < 0x38800000u) { /* subnormal: count in 2^-24, rounded to even by the addition */
        float magnitude;
        memcpy(&magnitude, &size, sizeof magnitude);
        return (uint16_t)(sign | (uint32_t)lrintf(magnitude * 0x1p24f));
    }
    return (uint16_t)(sign | ((size + 0xfffu + (size >> 13 & 1u)) - 0x38000000u) >> 13);
}

static inline Four four_load_half(const uint16_t *p) {
    return (Four){half_to_float(p[0]), half_to_float(p[1]), half_to_float(p[2]), half_to_float(p[3])};
}
static inline void four_store_half(uint16_t *p, Four v) {
    for (int i = 0; i < 4; i++) p[i] = float_to_half(v[i]);
}
static inline float sum_portable(Four v) { return (v[0] + v[2]) + (v[1] + v[3]); }
static inline float maximum_portable(Four v) {
    float top = v[0];
    for (int i = 1; i < 4; i++) top = v[i] > top ? v[i] : top;
    return top;
}

#define LANES 4
#define NAMED(name) name##_portable
#define TARGET
#define SCORE_ROWS 2
#define VALUE_ROWS 4
#define VALUE_VECTORS 2
#define V Four
#define V_LOAD(p) four_load(p)
#define V_STORE(p, v) four_store(p, v)
#define V_LOAD_HALF(p) four_load_half(p)
#define V_STORE_HALF(p, v) four_store_half(p, v)
#define V_SET(x) ((Four){(x), (x), (x), (x)})
#define V_FMA(a, b, c) ((a) * (b) + (c))
#define V_ADD(a, b) ((a) + (b))
#define V_SUB(a, b) ((a) - (b))
#define V_MUL(a, b) ((a) * (b))
#define V_DIV(a, b) ((a) / (b))
#define V_MAX(a, b) four_pick((FourInts)((a) > (b)), a, b)
#define V_MIN(a, b) four_pick((FourInts)((a) < (b)), a, b)
#define V_SCALE(y, shifted) ((Four)((FourInts)(y) + ((FourInts)(shifted) << 23)))
#define V_ABOVE(a, b) four_pick((FourInts)((a) <= (b)), V_SET(0.0f), a) /* a where it is above b or NaN, else 0 */
#include "lanes.h"

#if defined(__x86_64__) || defined(__i386__)

#define TARGET __attribute__((target("avx2,fma,f16c")))
TARGET static inline float sum_avx2(__m256 v) {
    __m128 x = _mm_add_ps(_mm256_castps256_ps128(v), _mm256_extractf128_ps(v, 1));
    x = _mm_add_ps(x, _mm_movehl_ps(x, x));
    return _mm_cvtss_f32(_mm_add_ss(x, _mm_movehdup_ps(x)));
}
TARGET static inline float maximum_avx2(__m256 v) {
    __m128 x = _mm_max_ps(_mm256_castps256_ps128(v), _mm256_extractf128_ps(v, 1));
    x = _mm_max_ps(x, _mm_movehl_ps(x, x));
    return _mm_cvtss_f32(_mm_max_ss(x, _mm_movehdup_ps(x)));
}

#define LANES 8
#define NAMED(name) name##_avx2
#define SCORE_ROWS 3
#define VALUE_ROWS 6
#define VALUE_VECTORS 2
#define V __m256
#define V_LOAD(p) _mm256_loadu_ps(p)
#define V_STORE(p, v) _mm256_storeu_ps(p, v)
#define V_LOAD_HALF(p) _mm256_cvtph_ps(_mm_loadu_si128((const __m128i *)(p)))
#define V_STORE_HALF(p, v) _mm_storeu_si128((__m128i *)(p), _mm256_cvtps_ph(v, _MM_FROUND_TO_NEAREST_INT))
#define V_SET(x) _mm256_set1_ps(x)
#define V_FMA(a, b, c) _mm256_fmadd_ps(a, b, c)
#define V_ADD(a, b) _mm256_add_ps(a, b)
#define V_SUB(a, b) _mm256_sub_ps(a, b)
#define V_MUL(a, b) _mm256_mul_ps(a, b)
#define V_DIV(a, b) _mm256_div_ps(a, b)
#define V_MAX(a, b) _mm256_max_ps(a, b)
#define V_MIN(a, b) _mm256_min_ps(a, b)
#define V_SCALE(y, shifted)                                                                                          \
    _mm256_castsi256_ps(                                                                                             \
        _mm256_add_epi32(_mm256_castps_si256(y), _mm256_slli_epi32(_mm256_castps_si256(shifted), 23)))
#define V_ABOVE(a, b) _mm256_and_ps(a, _mm256_cmp_ps(a, b, _CMP_NLE_UQ))
#include "lanes.h"

#define TARGET __attribute__((target("avx512f,avx512bw,avx512vl,avx512dq,avx2,fma,f16c")))
TARGET static inline float sum_avx512(__m512 v) { return _mm512_reduce_add_ps(v); }
TARGET static inline float maximum_avx512(__m512 v) { return _mm512_reduce_max_ps(v); }

#define LANES 16
#define NAMED(name) name##_avx512
#define SCORE_ROWS 8
#define VALUE_ROWS 6
#define VALUE_VECTORS 4
#define V __m512
#define V_LOAD(p) _mm512_loadu_ps(p)
#define V_STORE(p, v) _mm512_storeu_ps(p, v)
#define V_LOAD_HALF(p) _mm512_cvtph_ps(_mm256_loadu_si256((const __m256i *)(p)))
#define V_STORE_HALF(p, v) _mm256_storeu_si256((__m256i *)(p), _mm512_cvtps_ph(v, _MM_FROUND_TO_NEAREST_INT))
#define V_SET(x) _mm512_set1_ps(x)
#define V_FMA(a, b, c) _mm512_fmadd_ps(a, b, c)
#define V_ADD(a, b) _mm512_add_ps(a, b)
#define V_SUB(a, b) _mm512_sub_ps(a, b)
#define V_MUL(a, b) _mm512_mul_ps(a, b)
#define V_DIV(a, b) _mm512_div_ps(a, b)
#define V_MAX(a, b) _mm512_max_ps(a, b)
#define V_MIN(a, b) _mm512_min_ps(a, b)
#define V_SCALE(y, shifted)                                                                                          \
    _mm512_castsi512_ps(                                                                                             \
        _mm512_add_epi32(_mm512_castps_si512(y), _mm512_slli_epi32(_mm512_castps_si512(shifted), 23)))
#define V_ABOVE(a, b) _mm512_maskz_mov_ps(_mm512_cmp_ps_mask(a, b, _CMP_NLE_UQ), a)
#include "lanes.h"

#endif

static const struct lanes *lanes_for(LinearIsa isa) {
#if defined(__x86_64__) || defined(__i386__)
    if (isa == LINEAR_AVX512 || isa == LINEAR_AMX) return &table_avx512;
    if (isa == LINEAR_AVX2) return &table_avx2;
#endif
    (void)isa;
    return &table_portable;
}

const DrawKernels *stack_draw_kernels(void) { return &lanes_for(linear_isa())->draw; }

void stack_gate(const float *gate, const float *up, int n, float *out) {
    lanes_for(linear_isa())->gate(gate, up, n, out);
}

/* ---- the stack ---- */

struct layer {
    int tap;    /* place of its output in a state; 0: none */
    int window; /* positions that a token sees, its own among them; 0: all up to its own */
    Linear qkv, output, gate_up, down;
    Linear router;  /* where it is packed, experts stand for gate_up and down */
    Linear *expert; /* [2 experts] gate_up and down of each; NULL where there are none */
    const float *attention_norm, *mlp_norm, *query_norm, *key_norm;
};

/* Phases that a step goes through at most. */
static int step_phases(const StackShape *shape) { return shape->layers * 18 + 9; }

/* One phase of a step: tickets for its pieces of work, and how many are done. A cache line pair each. */
struct phase {
    _Alignas(128) _Atomic int next;
    _Atomic int done;
    int pieces; /* of phases whose pieces the phase before them counts, see route() */
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

    /* the experts of a layer: what is said of visits is sorted by expert */
    float *scores, *weight;                 /* [rows, experts], [rows, active] */
    int32_t *chosen, *place, *visitor, *end; /* [rows, active] twice, [visits], [experts] */
    RouteVisit *visits;
    float *visiting, *visit_inner; /* [visits, hidden] what goes in and what comes out, [visits, expert_inner] */
    char *visit_scratch;
    double seconds[3];
    double mark;
};

enum { TIME_LINEAR, TIME_ATTENTION, TIME_REST };

static size_t most(size_t a, size_t b) { return a > b ? a : b; }
static int least(int a, int b) { return a < b ? a : b; }
static size_t aligned(size_t bytes) { return (bytes + 63) & ~(size_t)63; }
static int parts(int whole, int part) { return (whole + part - 1) / part; }

static double now(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

static size_t visits_of(const StackShape *s, size_t rows) { return s->experts ? rows * (size_t)s->active : 0; }

static int inner_rows(const StackShape *s) { return parts(s->inner, GATE_ROWS) * GATE_ROWS; }

Stack *stack_new(const StackShape *shape) {
    Stack *s = NULL;
    if (posix_memalign((void **)&s, 128, sizeof *s)) return NULL;
    memset(s, 0, sizeof *s);
    s->shape = *shape;
    s->lanes = lanes_for(linear_isa());
    s->padded = parts(shape->head_dim, MOST_LANES) * MOST_LANES;
    size_t width = shape->half_cache ? sizeof(uint16_t) : sizeof(float);
    s->key_bytes = (size_t)shape->head_dim * BLOCK * width;
    s->value_bytes = (size_t)s->padded * BLOCK * width;
    s->layer = calloc((size_t)shape->layers, sizeof *s->layer);
    size_t phases = (size_t)step_phases(shape);
    if (!s->layer || posix_memalign((void **)&s->phase, 128, phases * sizeof *s->phase)) {
        free(s->layer);
        free(s);
        return NULL;
    }
    return s;
}

Linear *stack_linear(Stack *s, StackPart part, int layer) {
    switch (part) {
        case STACK_QKV: return &s->layer[layer].qkv;
        case STACK_OUTPUT: return &s->layer[layer].output;
        case STACK_GATE_UP: return &s->layer[layer].gate_up;
        case STACK_DOWN: return &s->layer[layer].down;
        case STACK_ROUTER: return &s->layer[layer].router;
        default: return &s->head;
    }
}

Linear *stack_expert(Stack *s, StackPart part, int layer, int expert) {
    struct layer *l = &s->layer[layer];
    if (!l->expert) l->expert = calloc(2 * (size_t)s->shape.experts, sizeof *l->expert);
    return l->expert ? &l->expert[2 * expert + (part == STACK_DOWN)] : NULL;
}

void stack_set_norm(Stack *s, StackNorm norm, int layer, const float *weight) {
    switch (norm) {
        case STACK_ATTENTION_NORM: s->layer[layer].attention_norm = weight; break;
        case STACK_MLP_NORM: s->layer[layer].mlp_norm = weight; break;
        case STACK_QUERY_NORM: s->layer[layer].query_norm = weight; break;
        case STACK_KEY_NORM: s->layer[layer].key_norm = weight; break;
        default: s->last_norm = weight;
    }
}

void stack_set_window(Stack *s, int layer, int window) { s->layer[layer].window = window; }

void stack_set_embedding(Stack *s, const void *table) { s->embedding = table; }

void stack_set_taps(Stack *s, int count, const int *layers) {
    s->taps = count;
    for (int layer = 0; layer < s->shape.layers; layer++) s->layer[layer].tap = 0;
    for (int i = 0; i < count; i++) s->layer[layers[i]].tap = 1 + i;
}

void stack_set_angles(Stack *s, const float *cosine, const float *sine, int positions) {
    s->cosine = cosine;
    s->sine = sine;
    s->positions = positions;
}

size_t stack_block_bytes(const Stack *s) {
    return (size_t)s->shape.layers * (size_t)s->shape.kv_heads * (s->key_bytes + s->value_bytes);
}

void stack_set_pool(Stack *s, void *pool, int blocks) {
    s->pool = pool;
    s->blocks = blocks;
}

void stack_packed(void) {
#ifdef __GLIBC__
    malloc_trim(0);
#endif
}

static char *keys_of(const Stack *s, int layer, int block) {
    size_t heads = (size_t)s->shape.kv_heads, blocks = (size_t)s->blocks;
    return s->pool + heads * ((size_t)layer * blocks * (s->key_bytes + s->value_bytes) + (size_t)block * s->key_bytes);
}

static char *values_of(const Stack *s, int layer, int block) {
    size_t heads = (size_t)s->shape.kv_heads, blocks = (size_t)s->blocks;
    return s->pool + heads * ((size_t)layer * blocks * (s->key_bytes + s->value_bytes) + blocks * s->key_bytes +
                              (size_t)block * s->value_bytes);
}

void stack_copy_block(Stack *s, int source, int target) {
    size_t heads = (size_t)s->shape.kv_heads;
    for (int layer = 0; layer < s->shape.layers; layer++) {
        memcpy(keys_of(s, layer, target), keys_of(s, layer, source), heads * s->key_bytes);
        memcpy(values_of(s, layer, target), values_of(s, layer, source), heads * s->value_bytes);
    }
}

void stack_seconds(const Stack *s, double seconds[3]) { memcpy(seconds, s->seconds, sizeof s->seconds); }

/* ---- memory ---- */

static int tile_tokens(const Stack *s) {
    int group = s->shape.heads / s->shape.kv_heads;
    return group < TILE_ROWS ? TILE_ROWS / group : 1;
}

/* The widest scratch that m rows of any layer's input need. */
static size_t scratch_for(Stack *s, int m) {
    size_t bytes = linear_scratch(&s->head, m);
    for (int layer = 0; layer < s->shape.layers; layer++) {
        struct layer *l = &s->layer[layer];
        bytes = most(bytes, most(linear_scratch(&l->qkv, m), linear_scratch(&l->output, m)));
        bytes = most(bytes, most(linear_scratch(&l->gate_up, m), linear_scratch(&l->down, m)));
        if (l->expert) bytes = most(bytes, most(linear_scratch(&l->expert[0], m), linear_scratch(&l->expert[1], m)));
    }
    return aligned(bytes);
}

static char *take(char **from, size_t bytes) {
    char *p = *from;
    *from += aligned(bytes);
    return p;
}

static int worker_memory(Stack *s, struct worker *w) {
    const StackShape *c = &s->shape;
    size_t group = (size_t)(c->heads / c->kv_heads), tile = most(TILE_ROWS, group), padded = (size_t)s->padded;
    size_t widest = most(most((size_t)c->hidden, (size_t)inner_rows(c)), (size_t)c->heads * (size_t)c->head_dim);
    size_t sizes[] = {
        ALONE_ROWS * widest * sizeof(float),
        (size_t)ROW_BLOCK * CHUNK_PANELS * LINEAR_PANEL * sizeof(float),
        tile * padded * sizeof(float),
        tile * BLOCK * sizeof(float),
        tile * sizeof(float),
        tile * MOST_LANES * sizeof(float),
        tile * padded * sizeof(float),
        scratch_for(s, ALONE_ROWS),
    };
    size_t total = 64;
    for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++) total += aligned(sizes[i]);
    if (posix_memalign((void **)&w->own, 128, total)) return STACK_NO_MEMORY;
    char *p = w->own;
    w->normed = (float *)take(&p, sizes[0]);
    w->part = (float *)take(&p, sizes[1]);
    w->queries = (float *)take(&p, sizes[2]);
    w->scores = (float *)take(&p, sizes[3]);
    w->largest = (float *)take(&p, sizes[4]);
    w->totals = (float *)take(&p, sizes[5]);
    w->mixed = (float *)take(&p, sizes[6]);
    w->scratch = take(&p, sizes[7]);
    return STACK_DONE;
}

/* Room for a step of so many spans and rows; what was in it is lost. */
static int reserve(Stack *s, size_t spans, size_t rows) {
    const StackShape *c = &s->shape;
    if (spans > s->span_room) {
        size_t room = most(2 * s->span_room, most(spans, 64));
        free(s->span_memory);
        s->span_room = 0;
        if (posix_memalign((void **)&s->span_memory, 64, room * sizeof *s->tables + 2 * room * sizeof(int32_t) + 192)) {
            s->span_memory = NULL;
            return STACK_NO_MEMORY;
        }
        char *p = s->span_memory;
        s->tables = (const int32_t **)take(&p, room * sizeof *s->tables);
        s->rank = (int32_t *)take(&p, room * sizeof(int32_t));
        s->offset = (int32_t *)take(&p, room * sizeof(int32_t));
        s->span_room = room;
    }
    if (rows > s->row_room) {
        size_t room = most(rows + rows / 4, 64), blocks = room / ROW_BLOCK + 1;
        size_t heads = (size_t)c->heads, size = (size_t)c->head_dim, hidden = (size_t)c->hidden;
        size_t wide = heads * size + 2 * (size_t)c->kv_heads * size;
        size_t ints = aligned(room * sizeof(int32_t));
        s->scratch_bytes = scratch_for(s, ROW_BLOCK);
        size_t floats = aligned(room * hidden * sizeof(float)) * 3 + aligned(room * wide * sizeof(float)) +
                        aligned(room * heads * size * sizeof(float)) +
                        aligned(room * (size_t)inner_rows(c) * sizeof(float));
        size_t visits = visits_of(c, room), experts = (size_t)c->experts, scratch = scratch_for(s, 1);
        size_t lists = visits ? (size_t)route_visits((int)room, c->active, c->experts, ROW_BLOCK) : 0;
        size_t routed = aligned(room * experts * sizeof(float)) + 4 * aligned(visits * sizeof(float)) +
                        aligned(experts * sizeof(int32_t)) + aligned(lists * sizeof(RouteVisit)) +
                        aligned(visits * hidden * sizeof(float)) +
                        aligned(visits * (size_t)c->expert_inner * sizeof(float)) + visits * scratch;
        free(s->row_memory);
        s->row_room = 0;
        if (posix_memalign((void **)&s->row_memory, 64, 9 * ints + floats + blocks * s->scratch_bytes + routed)) {
            s->row_memory = NULL;
            return STACK_NO_MEMORY;
        }
        char *p = s->row_memory;
        s->position = (int32_t *)take(&p, ints);
        s->row_span = (int32_t *)take(&p, ints);
        s->wanted_row = (int32_t *)take(&p, ints);
        for (struct plan *plan = &s->all; plan; plan = plan == &s->all ? &s->last : NULL) {
            plan->span = (int32_t *)take(&p, ints);
            plan->limit = (int32_t *)take(&p, ints);
            plan->order = (int32_t *)take(&p, ints);
        }
        s->x = (float *)take(&p, room * hidden * sizeof(float));
        s->normed = (float *)take(&p, room * hidden * sizeof(float));
        s->few = (float *)take(&p, room * hidden * sizeof(float));
        s->qkv = (float *)take(&p, room * wide * sizeof(float));
        s->mixed = (float *)take(&p, room * heads * size * sizeof(float));
        s->inner = (float *)take(&p, room * (size_t)inner_rows(c) * sizeof(float));
        s->scratch = take(&p, blocks * s->scratch_bytes);
        s->scores = (float *)take(&p, room * experts * sizeof(float));
        s->weight = (float *)take(&p, visits * sizeof(float));
        s->chosen = (int32_t *)take(&p, visits * sizeof(int32_t));
        s->place = (int32_t *)take(&p, visits * sizeof(int32_t));
        s->visitor = (int32_t *)take(&p, visits * sizeof(int32_t));
        s->end = (int32_t *)take(&p, experts * sizeof(int32_t));
        s->visits = (RouteVisit *)take(&p, lists * sizeof(RouteVisit));
        s->visiting = (float *)take(&p, visits * hidden * sizeof(float));
        s->visit_inner = (float *)take(&p, visits * (size_t)c->expert_inner * sizeof(float));
        s->visit_scratch = p;
        s->row_room = room;
    }
    return STACK_DONE;
}

/* ---- phases ---- */

struct turn {
    struct phase *phase;
    int pieces, onlooker;
};

static struct turn begin(struct worker *w, int pieces) {
    /* A single piece is the calling thread's: nothing goes on without it anyhow. */
    return (struct turn){&w->stack->phase[w->phase++], pieces, pieces == 1 && w != w->stack->worker};
}

static int grab(struct turn *t) {
    if (t->onlooker) return -1;
    /* Looking first keeps late threads from pulling the line away from those that work. */
    if (atomic_load_explicit(&t->phase->next, memory_order_relaxed) >= t->pieces) return -1;
    int piece = atomic_fetch_add_explicit(&t->phase->next, 1, memory_order_acquire);
    return piece < t->pieces ? piece : -1;
}

static void finish(struct turn *t) { atomic_fetch_add_explicit(&t->phase->done, 1, memory_order_release); }

static void settle(struct turn *t) {
    for (int spins = 0; atomic_load_explicit(&t->phase->done, memory_order_acquire) < t->pieces; spins++) {
        if (spins < SPINS) RELAX();
        else sched_yield(); /* whoever holds the last piece may be waiting for this very core */
    }
}

static void spent(struct worker *w, int kind) {
    Stack *s = w->stack;
    if (w != s->worker) return;
    double t = now();
    s->seconds[kind] += t - s->mark;
    s->mark = t;
}

static int row_pieces(const Stack *s, int rows) {
    int each = parts(rows, 4 * s->threads);
    return parts(rows, least(each < 1 ? 1 : each, 16));
}

static int row_begin(int piece, int pieces, int rows) { return (int)((int64_t)rows * piece / pieces); }

/* What a matrix product reads: rows, and their packed form where the format has one. `stride` bytes between the
   packed forms of blocks of rows. */
struct input {
    const float *x;
    size_t width;
    const char *scratch;
    size_t stride;
};

/* Normalise `rows` rows of x (norm NULL: as they are) and pack them for `linear`. Few rows are prepared by every thread
   for itself. A late thread may then read an x that others already write to; it will find no piece of work left. */
static struct input prepare(struct worker *w, const Linear *linear, const float *norm, const float *x, int width,
                            int rows, float *normed) {
    Stack *s = w->stack;
    int packs = linear_scratch(linear, 1) > 0;
    if (!norm && !packs) return (struct input){x, (size_t)width, NULL, 0};
    size_t stride = (size_t)width;
    if (rows <= ALONE_ROWS) {
        if (norm) {
            for (int i = 0; i < rows; i++)
                s->lanes->rms_norm(x + i * stride, norm, s->shape.eps, width, w->normed + i * stride);
            x = w->normed;
        }
        if (packs) linear_quantise(linear, x, stride, 0, rows, w->scratch);
        return (struct input){x, stride, w->scratch, 0};
    }
    int pieces = row_pieces(s, rows), piece;
    struct turn t = begin(w, pieces);
    while ((piece = grab(&t)) >= 0) {
        int from = row_begin(piece, pieces, rows), to = row_begin(piece + 1, pieces, rows);
        if (norm)
            for (int i = from; i < to; i++)
                s->lanes->rms_norm(x + (size_t)i * stride, norm, s->shape.eps, width, normed + (size_t)i * stride);
        const float *source = norm ? normed : x;
        while (packs && from < to) {
            int block = from / ROW_BLOCK, base = block * ROW_BLOCK, end = least(to, base + ROW_BLOCK);
            linear_quantise(linear, source + (size_t)base * stride, stride, from - base, end - base,
                            s->scratch + (size_t)block * s->scratch_bytes);
            from = end;
        }
        finish(&t);
    }
    settle(&t);
    return (struct input){norm ? normed : x, stride, s->scratch, s->scratch_bytes};
}

/* A matrix product cut into pieces: a block of rows times a chunk of columns, columns fastest. */
struct product {
    struct turn turn;
    const Linear *linear;
    struct input in;
    int rows, chunks, width;
    int row, count, from, to; /* the piece at hand: rows [row, row + count), columns [from, to) */
};

static struct product multiply(struct worker *w, const Linear *linear, struct input in, int rows, int most_panels) {
    int panels = parts(linear->n, LINEAR_PANEL), each = parts(panels, 4 * w->stack->threads);
    each = least(each, most_panels);
    int chunks = parts(panels, each);
    return (struct product){begin(w, parts(rows, ROW_BLOCK) * chunks), linear, in, rows, chunks, each * LINEAR_PANEL,
                            0, 0, 0, 0};
}

static int next_piece(struct product *p) {
    int piece = grab(&p->turn);
    if (piece < 0) return 0;
    p->row = piece / p->chunks * ROW_BLOCK;
    p->count = least(ROW_BLOCK, p->rows - p->row);
    p->from = piece % p->chunks * p->width;
    p->to = least(p->from + p->width, p->linear->n);
    return 1;
}

/* The piece at hand into y, whose first element is row `row` and column `from`. */
static void compute(const struct product *p, float *y, size_t stride) {
    const char *scratch = p->in.scratch ? p->in.scratch + (size_t)(p->row / ROW_BLOCK) * p->in.stride : NULL;
    linear_run(p->linear, p->in.x + (size_t)p->row * p->in.width, p->in.width, scratch, p->count, y - p->from, stride,
               p->from, p->to);
}

static void multiply_into(struct worker *w, const Linear *linear, struct input in, int rows, float *y) {
    struct product p = multiply(w, linear, in, rows, 32);
    size_t n = (size_t)linear->n;
    while (next_piece(&p)) {
        compute(&p, y + (size_t)p.row * n + p.from, n);
        finish(&p.turn);
    }
    settle(&p.turn);
    spent(w, TIME_LINEAR);
}

static void multiply_onto(struct worker *w, const Linear *linear, struct input in, int rows, float *y) {
    struct product p = multiply(w, linear, in, rows, CHUNK_PANELS);
    size_t n = (size_t)linear->n;
    while (next_piece(&p)) {
        int width = p.to - p.from;
        compute(&p, w->part, (size_t)p.width);
        for (int i = 0; i < p.count; i++)
            w->stack->lanes->add(y + (size_t)(p.row + i) * n + p.from, w->part + (size_t)i * p.width, width);
        finish(&p.turn);
    }
    settle(&p.turn);
    spent(w, TIME_LINEAR);
}

/* Columns [from, to) of one row of gate_up, which begin at `both`, into what they open of `out` [inner]. */
static void gate_panels(const Stack *s, const float *both, int from, int to, float *out, int inner) {
    for (int column = from; column < to; column += LINEAR_PANEL, both += LINEAR_PANEL) {
        int first = column / 2, count = least(GATE_ROWS, inner - first);
        if (count > 0) s->lanes->gate(both, both + GATE_ROWS, count, out + first);
    }
}

static void multiply_gated(struct worker *w, const Linear *linear, struct input in, int rows, float *y, size_t stride) {
    struct product p = multiply(w, linear, in, rows, CHUNK_PANELS);
    while (next_piece(&p)) {
        compute(&p, w->part, (size_t)p.width);
        for (int i = 0; i < p.count; i++)
            gate_panels(w->stack, w->part + (size_t)i * p.width, p.from, p.to, y + (size_t)(p.row + i) * stride,
                        (int)stride);
        finish(&p.turn);
    }
    settle(&p.turn);
    spent(w, TIME_LINEAR);
}

/* ---- experts ---- */

/* Let the pieces of a later phase, `ahead` of the one that is next, be counted: threads that come late must find the
   count of their own layer, whatever the experts of later ones. By the calling thread, within a phase. */
static void count_pieces(struct worker *w, int ahead, int pieces) { w->stack->phase[w->phase + ahead].pieces = pieces; }

static struct turn begin_counted(struct worker *w) { return begin(w, w->stack->phase[w->phase].pieces); }

static void normalise_rows(struct worker *w, const float *norm, const float *x, int rows, float *out) {
    Stack *s = w->stack;
    size_t hidden = (size_t)s->shape.hidden;
    int pieces = row_pieces(s, rows), piece;
    struct turn turn = begin(w, pieces);
    while ((piece = grab(&turn)) >= 0) {
        for (int i = row_begin(piece, pieces, rows); i < row_begin(piece + 1, pieces, rows); i++)
            s->lanes->rms_norm(x + (size_t)i * hidden, norm, s->shape.eps, s->shape.hidden, out + (size_t)i * hidden);
        finish(&turn);
    }
    settle(&turn);
}

/* How many panels of an expert's matrix are one piece of work. */
static int expert_panels(const Stack *s, const Linear *linear) {
    return least(parts(parts(linear->n, LINEAR_PANEL), 4 * s->threads), CHUNK_PANELS);
}

static int expert_chunks(const Stack *s, const Linear *linear) {
    return parts(parts(linear->n, LINEAR_PANEL), expert_panels(s, linear));
}

/* The visits of a layer's rows: who visits whom with which weight, and the normalised rows laid out by expert. */
static void route(struct worker *w, const struct layer *l, int rows) {
    Stack *s = w->stack;
    const StackShape *c = &s->shape;
    size_t hidden = (size_t)c->hidden, stride = linear_scratch(&l->expert[0], 1);
    int pieces = row_pieces(s, rows), piece;
    multiply_into(w, &l->router, (struct input){s->normed, hidden, NULL, 0}, rows, s->scores);
    struct turn turn = begin(w, pieces);
    while ((piece = grab(&turn)) >= 0) {
        for (int i = row_begin(piece, pieces, rows); i < row_begin(piece + 1, pieces, rows); i++)
            route_row(s->scores + (size_t)i * (size_t)c->experts, c->experts, c->active, c->normalised,
                      s->chosen + (size_t)i * (size_t)c->active, s->weight + (size_t)i * (size_t)c->active);
        finish(&turn);
    }
    settle(&turn);
    turn = begin(w, 1);
    while (grab(&turn) >= 0) {
        int visits = route_sort(s->chosen, rows, c->active, c->experts, ROW_BLOCK, s->visitor, s->place, s->visits, s->end);
        count_pieces(w, 0, visits);
        count_pieces(w, 1, visits * expert_chunks(s, &l->expert[0]));
        count_pieces(w, 2, visits);
        count_pieces(w, 3, visits * expert_chunks(s, &l->expert[1]));
        finish(&turn);
    }
    settle(&turn);
    turn = begin_counted(w);
    while ((piece = grab(&turn)) >= 0) {
        RouteVisit v = s->visits[piece];
        for (int i = v.first; i < v.first + v.count; i++)
            memcpy(s->visiting + (size_t)i * hidden, s->normed + (size_t)s->visitor[i] * hidden, hidden * sizeof(float));
        linear_quantise(&l->expert[2 * v.expert], s->visiting + (size_t)v.first * hidden, hidden, 0, v.count,
                        s->visit_scratch + (size_t)v.first * stride);
        finish(&turn);
    }
    settle(&turn);
    spent(w, TIME_REST);
}

/* Every row of x [rows, hidden] gets the weighted outputs of the experts it visits added, in ascending order. */
static void visit_experts(struct worker *w, const struct layer *l, float *x, int rows) {
    Stack *s = w->stack;
    const StackShape *c = &s->shape;
    const Linear *gate_up = &l->expert[0], *down = &l->expert[1]; /* all experts have their sizes */
    size_t hidden = (size_t)c->hidden, inner = (size_t)c->expert_inner;
    size_t stride = linear_scratch(gate_up, 1), inner_stride = linear_scratch(down, 1);
    int piece, chunks = expert_chunks(s, gate_up), width = expert_panels(s, gate_up) * LINEAR_PANEL;
    normalise_rows(w, l->mlp_norm, x, rows, s->normed);
    route(w, l, rows);

    struct turn turn = begin_counted(w);
    while ((piece = grab(&turn)) >= 0) {
        RouteVisit v = s->visits[piece / chunks];
        int from = piece % chunks * width, to = least(from + width, gate_up->n);
        linear_run(&l->expert[2 * v.expert], s->visiting + (size_t)v.first * hidden, hidden,
                   s->visit_scratch + (size_t)v.first * stride, v.count, w->part - from, (size_t)width, from, to);
        for (int i = 0; i < v.count; i++)
            gate_panels(s, w->part + (size_t)i * (size_t)width, from, to, s->visit_inner + (size_t)(v.first + i) * inner,
                        c->expert_inner);
        finish(&turn);
    }
    settle(&turn);
    turn = begin_counted(w);
    while ((piece = grab(&turn)) >= 0) {
        RouteVisit v = s->visits[piece];
        linear_quantise(&l->expert[2 * v.expert + 1], s->visit_inner + (size_t)v.first * inner, inner, 0, v.count,
                        s->visit_scratch + (size_t)v.first * inner_stride);
        finish(&turn);
    }
    settle(&turn);
    chunks = expert_chunks(s, down), width = expert_panels(s, down) * LINEAR_PANEL;
    turn = begin_counted(w);
    while ((piece = grab(&turn)) >= 0) {
        RouteVisit v = s->visits[piece / chunks];
        int from = piece % chunks * width, to = least(from + width, down->n);
        linear_run(&l->expert[2 * v.expert + 1], s->visit_inner + (size_t)v.first * inner, inner,
                   s->visit_scratch + (size_t)v.first * inner_stride, v.count, s->visiting + (size_t)v.first * hidden,
                   hidden, from, to);
        finish(&turn);
    }
    settle(&turn);
    spent(w, TIME_LINEAR);
    int pieces = row_pieces(s, rows);
    turn = begin(w, pieces);
    while ((piece = grab(&turn)) >= 0) {
        for (int i = row_begin(piece, pieces, rows); i < row_begin(piece + 1, pieces, rows); i++) {
            const int32_t *place = s->place + (size_t)i * (size_t)c->active;
            const float *weight = s->weight + (size_t)i * (size_t)c->active;
            float *sum = s->visiting + (size_t)place[0] * hidden;
            for (int d = 0; d < c->hidden; d++) sum[d] *= weight[0];
            for (int j = 1; j < c->active; j++) {
                const float *out = s->visiting + (size_t)place[j] * hidden;
                for (int d = 0; d < c->hidden; d++) sum[d] += weight[j] * out[d];
            }
            s->lanes->add(x + (size_t)i * hidden, sum, c->hidden);
        }
        finish(&turn);
    }
    settle(&turn);
    spent(w, TIME_REST);
}

/* ---- attention ---- */

/* Rows [from, to) of qkv: normalise and turn queries and keys, put keys and values into the cache. */
static void write_cache(Stack *s, int layer, int from, int to) {
    const StackShape *c = &s->shape;
    const struct layer *l = &s->layer[layer];
    int size = c->head_dim, half = size / 2, turned = c->heads + c->kv_heads;
    size_t width = (size_t)(turned + c->kv_heads) * (size_t)size;
    for (int i = from; i < to; i++) {
        float *row = s->qkv + (size_t)i * width;
        int position = s->position[i], block = s->tables[s->row_span[i]][position / BLOCK];
        const float *cosine = s->cosine + (size_t)position * half, *sine = s->sine + (size_t)position * half;
        for (int head = 0; head < turned; head++) {
            float *x = row + (size_t)head * size;
            if (c->qk_norm) s->lanes->rms_norm(x, head < c->heads ? l->query_norm : l->key_norm, c->eps, size, x);
            s->lanes->rotate(x, cosine, sine, half);
        }
        char *keys = keys_of(s, layer, block), *values = values_of(s, layer, block);
        const float *key = row + (size_t)c->heads * size, *value = row + (size_t)turned * size;
        for (int head = 0; head < c->kv_heads; head++)
            s->lanes->remember(key + (size_t)head * size, value + (size_t)head * size, size, s->padded,
                               position % BLOCK, c->half_cache, keys + (size_t)head * s->key_bytes,
                               values + (size_t)head * s->value_bytes);
    }
}

/* A tile of query rows on its way over the cache. */
struct tile {
    struct worker *worker;
    const struct plan *plan;
    const int32_t *order; /* the plan's rows in this tile */
    int layer, head, group; /* the key head, and how many of its query heads */
};

static int block_at(const struct tile *t, int i, int block) {
    int row = t->order[i];
    if (t->plan->limit[row] <= block * BLOCK) return -1; /* has seen all it may */
    return t->worker->stack->tables[t->plan->span[row]][block];
}

/* The first position that row i of the tile sees. */
static int first_seen(const struct tile *t, int i) {
    int window = t->worker->stack->layer[t->layer].window, limit = t->plan->limit[t->order[i]];
    return window && limit > window ? limit - window : 0;
}

/* How many positions of a block lie before what row i sees, and where what it sees ends. */
static int hidden_in(const struct tile *t, int i, int block) {
    int before = first_seen(t, i) - block * BLOCK;
    return before < 0 ? 0 : least(before, BLOCK);
}
static int seen_in(const struct tile *t, int i, int block) {
    return least(t->plan->limit[t->order[i]] - block * BLOCK, BLOCK);
}

static void fetch(const char *from, size_t bytes) {
    for (size_t i = 0; i < bytes; i += 64) __builtin_prefetch(from + i, 0, 3);
}

/* Let rows [from, to) of the tile, which share all blocks before `block`, see that block and what comes after. Blocks
   common to all of them are read once. */
static void walk(const struct tile *t, int from, int to, int block) {
    struct worker *w = t->worker;
    const Stack *s = w->stack;
    for (;; block++) {
        if (s->layer[t->layer].window) { /* blocks that lie before everybody's window are passed over */
            int first = first_seen(t, from);
            for (int i = from + 1; i < to; i++) first = least(first, first_seen(t, i));
            if (block < first / BLOCK) block = first / BLOCK;
        }
        int id = block_at(t, from, block), same = from + 1;
        while (same < to && block_at(t, same, block) == id) same++;
        if (same < to) { /* they part here */
            walk(t, from, same, block);
            from = same;
            block--;
            continue;
        }
        if (id < 0) return;
        const char *keys = keys_of(s, t->layer, id) + (size_t)t->head * s->key_bytes;
        const char *values = values_of(s, t->layer, id) + (size_t)t->head * s->value_bytes;
        /* A block's keys fill about a page, and the processor's own prefetching ends at those. */
        int next = block_at(t, from, block + 1);
        if (next >= 0) {
            fetch(keys_of(s, t->layer, next) + (size_t)t->head * s->key_bytes, s->key_bytes);
            fetch(values_of(s, t->layer, next) + (size_t)t->head * s->value_bytes, s->value_bytes);
        }
        for (int i = from; i < to;) {
            int hidden = hidden_in(t, i, block), seen = seen_in(t, i, block), end = i + 1;
            while (end < to && hidden_in(t, end, block) == hidden && seen_in(t, end, block) == seen) end++;
            if (hidden == BLOCK) { /* their windows begin later */
                i = end;
                continue;
            }
            size_t first = (size_t)i * (size_t)t->group;
            (s->shape.half_cache ? s->lanes->attend_half : s->lanes->attend_single)(
                w->queries + first * s->padded, (end - i) * t->group, s->shape.head_dim, s->padded, keys, values, hidden, seen,
                w->scores, w->largest + first, w->totals + first * s->lanes->lanes, w->mixed + first * s->padded);
            i = end;
        }
    }
}

/* The rows of `plan` attend: queries [rows, width] -> out [rows, heads * head_dim]. */
static void attend(struct worker *w, int layer, const struct plan *plan, const float *queries, size_t width,
                   float *out) {
    Stack *s = w->stack;
    const StackShape *c = &s->shape;
    int size = c->head_dim, padded = s->padded, all = c->heads / c->kv_heads, lanes = s->lanes->lanes;
    int each = parts(plan->rows * c->kv_heads, 4 * s->threads);
    each = least(each, tile_tokens(s));
    int tiles = parts(plan->rows, each), piece;
    /* Where that makes fewer pieces than threads, the query heads of a key head are divided too. */
    int most_heads = parts(all, parts(s->threads, tiles * c->kv_heads)), slices = parts(all, most_heads);
    float scale = 1.0f / sqrtf((float)size);
    struct turn turn = begin(w, tiles * c->kv_heads * slices);
    while ((piece = grab(&turn)) >= 0) {
        /* From the end: the rows with the longest pasts of a long span first. */
        int first = (tiles - 1 - piece / (c->kv_heads * slices)) * each, count = least(each, plan->rows - first);
        int head = piece / slices % c->kv_heads, skipped = piece % slices * most_heads;
        int group = least(most_heads, all - skipped), rows = count * group, column = (head * all + skipped) * size;
        struct tile t = {w, plan, plan->order + first, layer, head, group};
        for (int r = 0; r < rows; r++) {
            const float *q = queries + (size_t)t.order[r / group] * width + column + r % group * size;
            float *scaled = w->queries + (size_t)r * padded;
            for (int d = 0; d < size; d++) scaled[d] = q[d] * scale;
            w->largest[r] = -INFINITY;
        }
        memset(w->totals, 0, (size_t)rows * lanes * sizeof(float));
        memset(w->mixed, 0, (size_t)rows * padded * sizeof(float));
        walk(&t, 0, count, 0);
        for (int r = 0; r < rows; r++)
            s->lanes->finish(w->totals + (size_t)r * lanes, w->mixed + (size_t)r * padded, size,
                             out + (size_t)t.order[r / group] * c->heads * size + column + r % group * size);
        finish(&turn);
    }
    settle(&turn);
    spent(w, TIME_ATTENTION);
}

/* ---- the step ---- */

static void embed(Stack *s, int row) {
    size_t hidden = (size_t)s->shape.hidden, at = (size_t)s->step->tokens[row] * hidden;
    float *x = s->x + (size_t)row * hidden;
    if (s->shape.half_embedding) s->lanes->widen((const uint16_t *)s->embedding + at, s->shape.hidden, x);
    else memcpy(x, (const float *)s->embedding + at, hidden * sizeof(float));
}

/* Part `place` of the states: rows `row` of x, or the first ones where that is NULL. */
static void lay_state(struct worker *w, int place, const float *x, const int32_t *row, int rows) {
    Stack *s = w->stack;
    size_t hidden = (size_t)s->shape.hidden, stride = hidden * (size_t)(1 + s->taps);
    struct turn turn = begin(w, 1);
    while (grab(&turn) >= 0) {
        float *state = s->states + (size_t)place * hidden;
        for (int i = 0; i < rows; i++, state += stride)
            memcpy(state, x + (size_t)(row ? row[i] : i) * hidden, hidden * sizeof(float));
        finish(&turn);
    }
    settle(&turn);
}

static void program(struct worker *w) {
    Stack *s = w->stack;
    const StackShape *c = &s->shape;
    int size = c->head_dim, hidden = c->hidden, rows = s->rows, pieces, piece;
    size_t width = (size_t)(c->heads + 2 * c->kv_heads) * (size_t)size;
    float *x = s->x;
    struct turn turn;
    w->phase = 0;

    pieces = row_pieces(s, rows);
    turn = begin(w, pieces);
    while ((piece = grab(&turn)) >= 0) {
        for (int i = row_begin(piece, pieces, rows); i < row_begin(piece + 1, pieces, rows); i++) embed(s, i);
        finish(&turn);
    }
    settle(&turn);
    for (int layer = 0; layer < c->layers; layer++) {
        const struct layer *l = &s->layer[layer];
        struct input in = prepare(w, &l->qkv, l->attention_norm, x, hidden, rows, s->normed);
        spent(w, TIME_REST);
        multiply_into(w, &l->qkv, in, rows, s->qkv);

        pieces = row_pieces(s, rows);
        turn = begin(w, pieces);
        while ((piece = grab(&turn)) >= 0) {
            write_cache(s, layer, row_begin(piece, pieces, rows), row_begin(piece + 1, pieces, rows));
            finish(&turn);
        }
        settle(&turn);
        spent(w, TIME_REST);

        const struct plan *plan = &s->all;
        const float *queries = s->qkv;
        if (layer == c->layers - 1 && s->wanted < rows) {
            /* Nobody reads what the last layer makes of the other rows. */
            rows = s->wanted;
            plan = &s->last;
            turn = begin(w, 1);
            while ((piece = grab(&turn)) >= 0) {
                for (int i = 0; i < rows; i++) {
                    size_t from = (size_t)s->wanted_row[i];
                    memcpy(s->few + (size_t)i * hidden, s->x + from * hidden, (size_t)hidden * sizeof(float));
                    if ((size_t)i != from) /* rows move up, never over one that is still to be read */
                        memcpy(s->qkv + (size_t)i * width, s->qkv + from * width,
                               (size_t)(c->heads * size) * sizeof(float));
                }
                finish(&turn);
            }
            settle(&turn);
            x = s->few;
            if (!rows) return;
        }
        attend(w, layer, plan, queries, width, s->mixed);
        in = prepare(w, &l->output, NULL, s->mixed, c->heads * size, rows, NULL);
        spent(w, TIME_REST);
        multiply_onto(w, &l->output, in, rows, x);
        if (l->expert) {
            visit_experts(w, l, x, rows);
        } else {
            in = prepare(w, &l->gate_up, l->mlp_norm, x, hidden, rows, s->normed);
            spent(w, TIME_REST);
            multiply_gated(w, &l->gate_up, in, rows, s->inner, (size_t)c->inner);
            in = prepare(w, &l->down, NULL, s->inner, c->inner, rows, NULL);
            spent(w, TIME_REST);
            multiply_onto(w, &l->down, in, rows, x);
        }
        if (l->tap) lay_state(w, l->tap, x, s->wanted_row, s->wanted);
    }

    normalise_rows(w, s->last_norm, x, rows, s->normed);
    lay_state(w, 0, s->normed, NULL, rows);
    struct input in = prepare(w, &s->head, NULL, s->normed, hidden, rows, NULL);
    spent(w, TIME_REST);
    multiply_into(w, &s->head, in, rows, s->logits);
}

static int spans_by_table(const Stack *s, int a, int b) {
    int length = least(s->step->lengths[a], s->step->lengths[b]);
    for (int i = 0; i < length; i++)
        if (s->tables[a][i] != s->tables[b][i]) return s->tables[a][i] < s->tables[b][i] ? -1 : 1;
    return s->step->lengths[a] - s->step->lengths[b];
}

static int check(const Stack *s, const StackStep *step, size_t *rows) {
    *rows = 0;
    size_t blocks = 0;
    for (int i = 0; i < step->spans; i++) {
        int end = step->starts[i] + step->counts[i];
        if (step->starts[i] < 0 || step->counts[i] < 1 || end > s->positions) return STACK_BAD_POSITION;
        if ((int64_t)step->lengths[i] * BLOCK < end) return STACK_BAD_BLOCK;
        *rows += (size_t)step->counts[i];
        blocks += (size_t)step->lengths[i];
    }
    for (size_t i = 0; i < *rows; i++)
        if (step->tokens[i] < 0 || step->tokens[i] >= s->shape.vocabulary) return STACK_BAD_TOKEN;
    for (size_t i = 0; i < blocks; i++)
        if (step->blocks[i] < 0 || step->blocks[i] >= s->blocks) return STACK_BAD_BLOCK;
    return STACK_DONE;
}

/* Rows, their positions, and the order in which they attend. */
static void lay_out(Stack *s) {
    const StackStep *step = s->step;
    const int32_t *table = step->blocks;
    int row = 0, wanted = 0;
    for (int i = 0; i < step->spans; i++) {
        s->tables[i] = table;
        table += step->lengths[i];
        s->offset[i] = row;
        int first = step->counts[i] - least(step->wanted[i], step->counts[i]);
        for (int j = 0; j < step->counts[i]; j++, row++) {
            s->position[row] = step->starts[i] + j;
            s->row_span[row] = s->all.span[row] = i;
            s->all.limit[row] = step->starts[i] + j + 1;
            if (j < first) continue;
            s->wanted_row[wanted] = row;
            s->last.span[wanted] = i;
            s->last.limit[wanted++] = step->starts[i] + j + 1;
        }
        int place = 0, end = i;
        while (place < end) {
            int middle = (place + end) / 2;
            if (spans_by_table(s, s->rank[middle], i) <= 0) place = middle + 1;
            else end = middle;
        }
        memmove(s->rank + place + 1, s->rank + place, (size_t)(i - place) * sizeof *s->rank);
        s->rank[place] = i;
    }
    s->rows = s->all.rows = row;
    s->wanted = s->last.rows = wanted;
    int place = 0;
    for (int i = 0; i < step->spans; i++)
        for (int j = 0; j < step->counts[s->rank[i]]; j++) s->all.order[place++] = s->offset[s->rank[i]] + j;
    /* The wanted rows are in the order of the spans too: turn offsets into theirs. */
    wanted = 0;
    for (int i = 0; i < step->spans; i++) {
        s->offset[i] = wanted;
        wanted += least(step->wanted[i], step->counts[i]);
    }
    place = 0;
    for (int i = 0; i < step->spans; i++) {
        int span = s->rank[i], count = least(step->wanted[span], step->counts[span]);
        for (int j = 0; j < count; j++) s->last.order[place++] = s->offset[span] + j;
    }
}

/* A late thread may still read phases and sizes of the job before. */
static void await_late(Stack *s) {
    for (int spins = 0; atomic_load(&s->inside); spins++) {
        if (spins < SPINS) RELAX();
        else sched_yield();
    }
}

static void run_job(Stack *s, void (*job)(struct worker *), int phases) {
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

int stack_step(Stack *s, const StackStep *step, float *logits, float *states) {
    size_t rows;
    int result = check(s, step, &rows);
    if (result == STACK_DONE) {
        await_late(s);
        result = reserve(s, (size_t)step->spans, rows);
    }
    if (result != STACK_DONE || !rows) return result;
    s->mark = now();
    s->step = step;
    s->logits = logits;
    s->states = states;
    lay_out(s);
    run_job(s, program, step_phases(&s->shape));
    return STACK_DONE;
}

static void draw_rows(struct worker *w) {
    Stack *s = w->stack;
    const StackDraw *d = s->draw;
    size_t n = (size_t)s->shape.vocabulary;
    double *ends = (double *)(w->weights + (size_t)draw_parts((int)n) * DRAW_PART);
    int piece;
    w->phase = 0;
    struct turn turn = begin(w, d->parts);
    while ((piece = grab(&turn)) >= 0) {
        int right = 1;
        for (int i = d->part[piece]; i < d->part[piece + 1]; i++) {
            size_t row = (size_t)d->row[i];
            if (!right) {
                d->token[i] = -1;
                continue;
            }
            d->token[i] = draw_row(&s->lanes->draw, &d->ask[i], d->logits + row * n, d->plain + row * n, (int)n,
                                   w->weights, ends, &d->logprob[i], &d->logsum[i]);
            right = d->token[i] == d->guess[i];
        }
        finish(&turn);
    }
    settle(&turn);
}

int stack_draw(Stack *s, const StackDraw *draw) {
    size_t parts = (size_t)draw_parts(s->shape.vocabulary);
    if (!draw->rows) return STACK_DONE;
    await_late(s);
    for (int i = 0; i < s->threads; i++) {
        struct worker *w = &s->worker[i];
        if (!w->weights &&
            posix_memalign((void **)&w->weights, 64, parts * (DRAW_PART * sizeof(float) + sizeof(double)))) {
            w->weights = NULL;
            return STACK_NO_MEMORY;
        }
    }
    s->draw = draw;
    run_job(s, draw_rows, 1);
    return STACK_DONE;
}

/* ---- threads ---- */

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

static void stop_threads(Stack *s, int running) {
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
        int failed = worker_memory(s, &s->worker[i]) != STACK_DONE;
        if (!failed && i) failed = pthread_create(&s->worker[i].thread, NULL, work, &s->worker[i]);
        if (failed) {
            stop_threads(s, i);
            return STACK_NO_MEMORY;
        }
    }
    return STACK_DONE;
}

void stack_free(Stack *s) {
    stop_threads(s, s->threads);
    for (int i = 0; i < s->shape.layers; i++) {
        linear_free(&s->layer[i].qkv);
        linear_free(&s->layer[i].output);
        linear_free(&s->layer[i].gate_up);
        linear_free(&s->layer[i].down);
        linear_free(&s->layer[i].router);
        for (int j = 0; s->layer[i].expert && j < 2 * s->shape.experts; j++) linear_free(&s->layer[i].expert[j]);
        free(s->layer[i].expert);
    }
    linear_free(&s->head);
    free(s->layer);
    free(s->phase);
    free(s->span_memory);
    free(s->row_memory);
    free(s);
}
