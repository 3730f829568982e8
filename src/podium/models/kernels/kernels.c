/* Which instruction set, and which thread does what. */
#include "kernels_isa.h"

#include <stdatomic.h>
#include <string.h>
#if defined(__x86_64__)
#include <cpuid.h>
#endif

static OpenMP openmp;

void kernels_init(OpenMP parallel) { openmp = parallel; }

#if defined(__x86_64__)
/* The states the operating system saves (XCR0). */
static unsigned saved_states(void) {
    unsigned low, high;
    __asm__ volatile("xgetbv" : "=a"(low), "=d"(high) : "c"(0));
    return low;
}

static KernelsIsa x86_isa(void) {
    unsigned a, b, c, d, basic;
    if (!__get_cpuid(1, &a, &b, &basic, &d) || !__get_cpuid_count(7, 0, &a, &b, &c, &d)) return KERNELS_PORTABLE;
    const unsigned fma = 1u << 12, osxsave = 1u << 27, avx2 = 1u << 5;
    const unsigned avx512 = 1u << 16 | 1u << 17 | 1u << 30 | 1u << 31; /* F, DQ, BW, VL */
    if ((basic & (fma | osxsave)) != (fma | osxsave) || !(b & avx2) || (saved_states() & 0x6) != 0x6)
        return KERNELS_PORTABLE;
    return (b & avx512) == avx512 && (saved_states() & 0xe6) == 0xe6 ? KERNELS_AVX512 : KERNELS_AVX2;
}
#endif

static KernelsIsa best_isa(void) {
#if defined(__x86_64__)
    return x86_isa();
#else
    return KERNELS_PORTABLE;
#endif
}

static int chosen = -1;

KernelsIsa kernels_isa(void) {
    if (chosen < 0) chosen = best_isa();
    return (KernelsIsa)chosen;
}

int kernels_set_isa(KernelsIsa isa) {
    if ((int)isa < 0 || isa > best_isa()) return -1;
    chosen = isa;
    return 0;
}

static const Kernels *kernels(void) {
    switch (kernels_isa()) {
#if defined(__x86_64__)
    case KERNELS_AVX512: return &kernels_avx512;
    case KERNELS_AVX2: return &kernels_avx2;
#endif
    default: return &kernels_portable;
    }
}

/* Units are taken as threads become free: on a shared machine nobody waits for the slowest one's equal share. */
typedef struct {
    void (*part)(const void *task, int begin, int end, int member);
    const void *task;
    int units, chunk;
    atomic_int next, members;
} Job;

static void take_parts(void *data) {
    Job *job = data;
    const int member = atomic_fetch_add(&job->members, 1);
    for (;;) {
        const int begin = atomic_fetch_add(&job->next, job->chunk);
        if (begin >= job->units) return;
        job->part(job->task, begin, least(begin + job->chunk, job->units), member);
    }
}

static void share(void (*part)(const void *, int, int, int), const void *task, int units, int chunk, int threads) {
    Job job = {.part = part, .task = task, .units = units, .chunk = chunk};
    if (threads > 1 && units > chunk)
        openmp(take_parts, &job, (unsigned)threads, 0);
    else
        take_parts(&job);
}

static void part_norm_forward(const void *task, int begin, int end, int member) {
    (void)member;
    kernels()->norm_forward(task, begin, end);
}
static void part_norm_backward(const void *task, int begin, int end, int member) {
    (void)member;
    kernels()->norm_backward(task, begin, end);
}
static void part_gated_forward(const void *task, int begin, int end, int member) {
    (void)member;
    kernels()->gated_forward(task, begin, end);
}
static void part_gated_backward(const void *task, int begin, int end, int member) {
    (void)member;
    kernels()->gated_backward(task, begin, end);
}

void norm_forward(const Norm *n, int threads) { share(part_norm_forward, n, n->rows, NORM_CHUNK, threads); }

void norm_backward(const NormGradient *n, int threads) {
    share(part_norm_backward, n, n->rows, NORM_CHUNK, threads);
    memset(n->grad_weight, 0, sizeof(float) * (size_t)n->size);
    for (int chunk = 0; chunk * NORM_CHUNK < n->rows; chunk++)
        for (int i = 0; i < n->size; i++) n->grad_weight[i] += n->partial[(size_t)chunk * (size_t)n->size + (size_t)i];
}

enum { GATED_CHUNK = 16 };
void gated_forward(const Gated *g, int threads) { share(part_gated_forward, g, g->rows, GATED_CHUNK, threads); }
void gated_backward(const Gated *g, int threads) { share(part_gated_backward, g, g->rows, GATED_CHUNK, threads); }

size_t attention_scratch(int size, int longest) {
    const size_t wide = (size_t)up_to(size, LONGEST_VECTOR);
    const size_t along = (size_t)up_to(longest, LONGEST_VECTOR) + LONGEST_VECTOR;
    /* k, v (or their gradients) by token and by component; queries, what comes out, its gradient; two sets of scores */
    return 4 * wide * along + 2 * wide * along + 3 * QUERIES * wide + 2 * QUERIES * along;
}

static float *scratch_of(const Attention *a, int member) {
    return a->scratch + (size_t)member * attention_scratch(a->size, a->longest);
}

static void clear(float *rows, size_t stride, int first, int count, int width) {
    for (int i = first; i < first + count; i++) memset(rows + (size_t)i * stride, 0, sizeof(float) * (size_t)width);
}

static void part_attention_forward(const void *task, int begin, int end, int member) {
    const Attention *a = task;
    for (int pair = begin; pair < end; pair++) kernels()->attention_forward(a, pair, scratch_of(a, member));
}
static void part_attention_backward(const void *task, int begin, int end, int member) {
    const Attention *a = task;
    for (int pair = begin; pair < end; pair++) kernels()->attention_backward(a, pair, scratch_of(a, member));
}

void attention_forward(const Attention *a, int threads) {
    share(part_attention_forward, a, a->documents * a->kv_heads, 1, threads);
    for (const int32_t *gap = a->spans + 2 * a->documents; gap < a->spans + 2 * (a->documents + a->gaps); gap += 2)
        clear(a->out, a->out_stride, gap[0], gap[1], a->heads * a->size);
}

void attention_backward(const Attention *a, int threads) {
    share(part_attention_backward, a, a->documents * a->kv_heads, 1, threads);
    for (const int32_t *gap = a->spans + 2 * a->documents; gap < a->spans + 2 * (a->documents + a->gaps); gap += 2) {
        clear(a->grad_q, a->grad_q_stride, gap[0], gap[1], a->heads * a->size);
        clear(a->grad_k, a->grad_k_stride, gap[0], gap[1], a->kv_heads * a->size);
        clear(a->grad_v, a->grad_v_stride, gap[0], gap[1], a->kv_heads * a->size);
    }
}
