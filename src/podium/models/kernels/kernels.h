/* What a training step computes besides matrix products, fp32, each in one pass over memory.
 *
 * Contract
 *  - Results do not depend on the number of threads: rows and (document, head) pairs are independent, and sums over
 *    rows are taken in fixed chunks. They do depend, by rounding, on the instruction set.
 *  - NaN and infinity in the input show in the output.
 *  - Threads are those of the caller's OpenMP runtime, entered through the GOMP_parallel handed to kernels_init; no
 *    other threads are started. Nothing allocates; scratch is the caller's.
 *  - Matrices are row-major; a stride counts floats from one row to the next, and rows need no alignment.
 */
#ifndef PODIUM_KERNELS_H
#define PODIUM_KERNELS_H

#include <stddef.h>
#include <stdint.h>

/* libgomp's (and, for compatibility, libomp's) entry: runs work(data) on up to `threads` threads, returns after all. */
typedef void (*OpenMP)(void (*work)(void *), void *data, unsigned threads, unsigned flags);

typedef enum { KERNELS_PORTABLE = 0, KERNELS_AVX2 = 1, KERNELS_AVX512 = 2 } KernelsIsa;

void kernels_init(OpenMP parallel);
KernelsIsa kernels_isa(void);
/* Forces an instruction set; returns -1 and changes nothing if the machine lacks it. */
int kernels_set_isa(KernelsIsa isa);

enum { NORM_CHUNK = 64 }; /* rows whose part of the weight's gradient is one partial sum */

/* total = x + branch (branch NULL: total is not written and x stands for it);
 * scale[row] = 1 / sqrt(mean(total^2) + eps); out = total * scale * weight. */
typedef struct {
    int rows, size;
    float eps;
    const float *x, *branch;
    size_t x_stride, branch_stride;
    const float *weight;
    float *total, *scale, *out; /* rows without gaps */
} Norm;
void norm_forward(const Norm *n, int threads);

/* Gradients of x (to which grad_total, if not NULL, is added) and of the weight; x is what was normalised. */
typedef struct {
    int rows, size;
    const float *grad, *grad_total;
    size_t grad_stride, grad_total_stride;
    const float *x;
    size_t x_stride;
    const float *weight, *scale;
    float *grad_x;      /* rows without gaps */
    float *grad_weight; /* [size] */
    float *partial;     /* scratch [rows / NORM_CHUNK rounded up, size] */
} NormGradient;
void norm_backward(const NormGradient *n, int threads);

/* inner = silu(gate) * up, gate and up being the two halves of a row of both[rows, 2 size]. */
typedef struct {
    int rows, size;
    const float *both;
    size_t both_stride;
    float *inner; /* backward: in grad of inner, out inner itself */
    size_t inner_stride;
    float *grad_both; /* backward only */
    size_t grad_both_stride;
} Gated;
void gated_forward(const Gated *g, int threads);
void gated_backward(const Gated *g, int threads);

/* Causal attention inside documents of packed tokens. Heads of a token lie next to each other, `size` floats each. */
typedef struct {
    int documents, gaps;
    const int32_t *spans; /* (first token, length) of every document, then of every gap between them */
    int heads, kv_heads, size;
    int window; /* tokens that a token sees, its own among them; 0: all up to its own */
    int turn_tokens;
    const float *turns; /* [turn_tokens, size]: (cos, sin) for each pair of q and k, token i taking row i % turn_tokens;
                           NULL: q and k are already turned */
    const float *q, *k, *v;
    size_t q_stride, k_stride, v_stride;
    float *out; /* forward writes, gaps 0 */
    size_t out_stride;
    float *logsumexp; /* [tokens, heads]: forward writes, backward reads */
    const float *grad;
    size_t grad_stride;
    float *grad_q, *grad_k, *grad_v; /* of the unturned q and k where turns are given; gaps 0 */
    size_t grad_q_stride, grad_k_stride, grad_v_stride;
    int longest;    /* of the documents */
    float *scratch; /* threads * attention_scratch(size, longest) floats, on a 64-byte boundary */
} Attention;
size_t attention_scratch(int size, int longest);
void attention_forward(const Attention *a, int threads);
void attention_backward(const Attention *a, int threads);

#endif
