/* See redraft.h. */
#include "redraft.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "draw.h"
#include "stack.h"

#define EPSILON 1e-6 /* that of podium.compress.draft */

static size_t most(size_t a, size_t b) { return a > b ? a : b; }

/* y[rows, n] = layer(x[rows, k]) */
static void apply(const Linear *layer, const float *x, int rows, float *y, void *scratch) {
    linear_quantise(layer, x, (size_t)layer->k, 0, rows, scratch);
    linear_run(layer, x, (size_t)layer->k, scratch, rows, y, (size_t)layer->n, 0, layer->n);
}

static void bring_to_one(float *x, size_t size) {
    double squares = 0.0;
    for (size_t i = 0; i < size; i++) squares += (double)x[i] * x[i];
    float scale = (float)(1.0 / sqrt(squares / (double)size + EPSILON));
    for (size_t i = 0; i < size; i++) x[i] *= scale;
}

int redraft(const Redraft *h, int rows, const float *states, const int32_t *tokens, int32_t *chain, float *sure) {
    size_t size = (size_t)h->size, all = (size_t)rows * size, vocabulary = (size_t)h->vocabulary;
    size_t wide = (size_t)(1 + h->taps) * size;
    size_t padded = (size_t)draw_parts(h->vocabulary) * DRAW_PART, scratch = linear_scratch(h->join, rows);
    scratch = most(scratch, most(linear_scratch(h->both, rows), linear_scratch(h->head, rows)));
    size_t floats = 7 * all + (size_t)rows * wide + size + (size_t)rows * vocabulary + padded;
    char *memory = NULL;
    if (posix_memalign((void **)&memory, 64, scratch + floats * sizeof(float) + padded * sizeof(double) + 64)) return -1;
    float *joined = (float *)(memory + ((scratch + 63) & ~(size_t)63)), *state = joined + all, *both = state + all;
    float *x = both + 2 * all, *carried = x + all, *branch = carried + all, *ones = branch + all, *logits = ones + size;
    float *weights = logits + (size_t)rows * vocabulary, *read = weights + padded;
    double *ends = malloc((size_t)draw_parts(h->vocabulary) * sizeof *ends);
    if (!ends) {
        free(memory);
        return -1;
    }
    const DrawKernels *kernels = stack_draw_kernels();
    for (size_t i = 0; i < size; i++) ones[i] = 1.0f;
    memset(carried, 0, all * sizeof(float));
    memcpy(read, states, (size_t)rows * wide * sizeof(float));
    for (int r = 0; r < rows; r++)
        for (int tap = 1; tap <= h->taps; tap++) bring_to_one(read + (size_t)r * wide + (size_t)tap * size, size);
    apply(h->join, read, rows, joined, memory);
    for (int depth = 0; depth < h->depth; depth++) {
        for (int r = 0; r < rows; r++) {
            int32_t token = depth ? chain[(size_t)r * (size_t)h->depth + (size_t)depth - 1] : tokens[r];
            memcpy(x + (size_t)r * size, h->embeddings + (size_t)token * size, size * sizeof(float));
        }
        apply(h->input, x, rows, state, memory);
        for (size_t i = 0; i < all; i++) state[i] += carried[i];
        for (int r = 0; r < rows; r++) stack_gate(state + (size_t)r * size, ones, h->size, state + (size_t)r * size);
        apply(h->both, state, rows, both, memory);
        for (int r = 0; r < rows; r++) {
            const float *own = both + 2 * (size_t)r * size;
            for (size_t i = 0; i < size; i++) x[(size_t)r * size + i] = joined[(size_t)r * size + i] + own[i];
            memcpy(carried + (size_t)r * size, own + size, size * sizeof(float));
        }
        for (int b = 0; b < h->blocks; b++) {
            apply(&h->block[b], x, rows, branch, memory);
            for (int r = 0; r < rows; r++)
                stack_gate(branch + (size_t)r * size, ones, h->size, branch + (size_t)r * size);
            for (size_t i = 0; i < all; i++) x[i] += branch[i];
        }
        apply(h->head, x, rows, logits, memory);
        for (int r = 0; r < rows; r++) {
            const float *row = logits + (size_t)r * vocabulary;
            int part, place;
            float largest = kernels->largest(row, h->vocabulary, &part);
            kernels->weigh(row, h->vocabulary, largest, 1.0f, weights, ends);
            for (place = part * DRAW_PART; place < h->vocabulary - 1 && row[place] != largest;) place++;
            chain[(size_t)r * (size_t)h->depth + (size_t)depth] = h->ids[place];
            sure[(size_t)r * (size_t)h->depth + (size_t)depth] = (float)(1.0 / ends[draw_parts(h->vocabulary) - 1]);
        }
    }
    free(ends);
    free(memory);
    return 0;
}
