/* Choosing the next token of one row from its logits.
 *
 * Contract
 *  - Greedy, temperature, top-p and min-p. What is drawn depends on the row, its settings, its seed and its number
 *    alone, and is a fixed sequence of roundings for one instruction set.
 *  - Random number `number` of a seed is that of podium.generate.sampling.uniforms, bit for bit.
 *  - top-p and min-p by rejection: a token drawn from all is as likely as it should be among those let through. After
 *    DRAW_TRIES refusals the least weight that passes is found by bisection, and one draw is made among what passes.
 *    Equally likely tokens pass together.
 */
#ifndef PODIUM_DRAW_H
#define PODIUM_DRAW_H

#include <stddef.h>
#include <stdint.h>

#define DRAW_PART 128 /* weights that are summed together, whatever stands around them */
#define DRAW_TRIES 8

/* Passes over a row, one set per instruction set (lanes.h). */
typedef struct {
    /* The largest of n floats, NaN aside, and the first part that has it. */
    float (*largest)(const float *x, int n, int *part);
    /* weights[i] = exp((x[i] - largest) * scale), 0 where that is below 1e-37, and zeros up to a whole part;
       ends[p] = the sum up to the end of part p. */
    void (*weigh)(const float *x, int n, float largest, float scale, float *weights, double *ends);
    /* The sum of those weights that are above `least`; n is a whole number of parts. */
    double (*above)(const float *weights, int n, float least);
} DrawKernels;

typedef struct {
    float temperature, top_p, min_p;
    uint64_t seed, number;
} DrawAsk;

/* Parts of n weights; weights need room for as many whole ones, ends for as many sums. */
static inline int draw_parts(int n) { return (n + DRAW_PART - 1) / DRAW_PART; }

/* The token drawn from logits[n], and its log-probability under plain[n] at temperature 1 (NaN where one of them is):
   plain[token] - the largest - *logsum. plain may be logits. */
int32_t draw_row(const DrawKernels *kernels, const DrawAsk *ask, const float *logits, const float *plain, int n,
                 float *weights, double *ends, float *logprob, float *logsum);

#endif
