/* See draw.h. */
#include "draw.h"

#include <math.h>
#include <string.h>

#define GOLDEN 0x9E3779B97F4A7C15u

static uint64_t mix(uint64_t z) {
    z = (z ^ z >> 30) * 0xBF58476D1CE4E5B9u;
    z = (z ^ z >> 27) * 0x94D049BB133111EBu;
    return z ^ z >> 31;
}

/* SplitMix64 started from the seed's own hash: see podium.generate.sampling.uniforms. */
static double uniform(const DrawAsk *ask, uint64_t attempt) {
    uint64_t output = mix(mix(ask->seed + GOLDEN) + (ask->number + 1) * GOLDEN);
    if (attempt) output = mix(output + attempt * GOLDEN);
    return (double)(output >> 11) * 0x1p-53;
}

/* The token at which the weights up to it pass `target`. Sums within a part and of whole parts round differently: where
   the target falls between them the last weight of the part is taken; never one that is 0. */
static int pick(const float *weights, const double *ends, int parts, double target) {
    int low = 0, high = parts - 1;
    while (low < high) {
        int middle = (low + high) / 2;
        if (ends[middle] > target) high = middle;
        else low = middle + 1;
    }
    while (low > 0 && !(ends[low] > ends[low - 1])) low--;
    const float *part = weights + (size_t)low * DRAW_PART;
    double sum = low ? ends[low - 1] : 0.0;
    int last = 0;
    for (int i = 0; i < DRAW_PART; i++) {
        if (part[i] <= 0.0f) continue;
        last = i;
        sum += part[i];
        if (sum > target) break;
    }
    return low * DRAW_PART + last;
}

static float from_bits(uint32_t bits) {
    float value;
    memcpy(&value, &bits, sizeof value);
    return value;
}

/* One draw among the weights that top-p and min-p let through. */
static int draw_among(const DrawKernels *kernels, const DrawAsk *ask, const float *weights, int parts, double whole,
                      float heaviest) {
    int n = parts * DRAW_PART;
    /* Weights are positive floats, ordered as their bits: the least that less than top-p of the whole outweighs. */
    uint32_t low = 0, high;
    memcpy(&high, &heaviest, sizeof high);
    while (ask->top_p < 1.0f && low < high) {
        uint32_t middle = low + (high - low) / 2;
        if (kernels->above(weights, n, from_bits(middle)) < (double)ask->top_p * whole) high = middle;
        else low = middle + 1;
    }
    float least = from_bits(low);
    if (least < ask->min_p * heaviest) least = ask->min_p * heaviest;
    double kept = 0.0, sum = 0.0;
    for (int i = 0; i < n; i++)
        if (weights[i] >= least) kept += weights[i];
    double target = uniform(ask, DRAW_TRIES) * kept;
    int last = 0;
    for (int i = 0; i < n; i++) {
        if (weights[i] < least || weights[i] <= 0.0f) continue;
        last = i;
        sum += weights[i];
        if (sum > target) break;
    }
    return last;
}

static int draw_weighed(const DrawKernels *kernels, const DrawAsk *ask, const float *weights, const double *ends,
                        int parts, float heaviest) {
    double whole = ends[parts - 1];
    if (!(whole > 0.0)) return 0; /* NaN: whoever asked sees it in the log-probability */
    for (uint64_t attempt = 0; attempt < DRAW_TRIES; attempt++) {
        int token = pick(weights, ends, parts, uniform(ask, attempt) * whole);
        float own = weights[token];
        if (own >= ask->min_p * heaviest &&
            (ask->top_p >= 1.0f ||
             kernels->above(weights, parts * DRAW_PART, own) < (double)ask->top_p * whole))
            return token;
    }
    return draw_among(kernels, ask, weights, parts, whole, heaviest);
}

int32_t draw_row(const DrawKernels *kernels, const DrawAsk *ask, const float *logits, const float *plain, int n,
                 float *weights, double *ends, float *logprob, float *logsum) {
    int part, parts = draw_parts(n), token;
    float largest = kernels->largest(logits, n, &part);
    float scale = ask->temperature > 0.0f ? 1.0f / ask->temperature : 0.0f;
    if (scale > 1e30f) scale = 1e30f; /* infinity times the 0 of the largest would be NaN */
    if (ask->temperature > 0.0f) {
        kernels->weigh(logits, n, largest, scale, weights, ends);
        token = draw_weighed(kernels, ask, weights, ends, parts, 1.0f);
    } else {
        int end = (part + 1) * DRAW_PART < n ? (part + 1) * DRAW_PART : n;
        token = part * DRAW_PART;
        while (token + 1 < end && logits[token] != largest) token++;
    }
    if (plain != logits) largest = kernels->largest(plain, n, &part);
    if (plain != logits || scale != 1.0f) kernels->weigh(plain, n, largest, 1.0f, weights, ends);
    *logsum = (float)log(ends[parts - 1]);
    *logprob = plain[token] - largest - *logsum;
    return token;
}
