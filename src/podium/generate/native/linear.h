/* Linear layers y = x W^T + b on a CPU, one thread per call, weights packed once.
 *
 * Contract
 *  - Row-invariant: the bits of a row of y depend on that row of x and on the layer alone, not on m, on the other rows
 *    or on how the columns are split over calls. Float formats add the k products of an output one after the other
 *    (one fused multiply-add each); int8 sums are exact integers scaled once at the end.
 *  - LINEAR_INT8 gives the same bits on every instruction set, the float formats the same bits on all x86 sets that
 *    have FMA.
 *  - A Linear is packed for the instruction set that was current at linear_new and stays with it.
 *  - Calls on disjoint rows (quantise) or columns (run) may go on at the same time; nothing here starts threads, locks
 *    or allocates after packing.
 */
#ifndef PODIUM_LINEAR_H
#define PODIUM_LINEAR_H

#include <stddef.h>
#include <stdint.h>

#define LINEAR_PANEL 32 /* output columns that one call computes together: n_begin is a multiple of it */

/* The names and numbers of podium.generate.formats. */
typedef enum {
    LINEAR_FP32 = 0,
    LINEAR_FP16 = 1,   /* fp16 weights, fp32 activations and sums */
    LINEAR_INT8 = 2,  /* int8 weights with a scale per output, int8 activations with a scale per row, int32 sums */
    LINEAR_W8A16 = 3, /* int8 weights with a scale per output, fp32 activations and sums */
    LINEAR_W4A16 = 4, /* int4 weights with a scale per output and group of `group` inputs, fp32 activations and sums */
    LINEAR_FP8 = 5,    /* e4m3 weights with a scale per output, fp32 activations and sums */
    LINEAR_BF16 = 6   /* bfloat16 weights and activations, fp32 sums; AMX tiles where there are any */
} LinearFormat;

typedef enum { LINEAR_PORTABLE = 0, LINEAR_AVX2 = 1, LINEAR_AVX512 = 2 /* with VNNI */, LINEAR_AMX = 3 } LinearIsa;

typedef struct {
    LinearFormat format;
    LinearIsa isa;
    int n, k;     /* outputs, inputs */
    int group;    /* inputs per scale; k but for LINEAR_W4A16 */
    int k_padded; /* inputs held per output, padded with zeros */
    size_t bytes; /* held by the arrays below */
    void *data;   /* panels of outputs, interleaved along k; the layout belongs to the instruction set */
    float *scale; /* [n padded], LINEAR_W4A16: by panel, group, output; ones where a format has none */
    float *bias;  /* [n padded], zeros where there is none */
    int32_t *offset; /* LINEAR_INT8 on VNNI: -128 times the sum of an output's weights */
} Linear;

/* The best instruction set of this machine, or the one forced by linear_set_isa. */
LinearIsa linear_isa(void);
/* Later layers are packed for `isa`; returns -1 and changes nothing if the machine lacks it. */
int linear_set_isa(LinearIsa isa);

/* An all-zero layer, to be filled by rows; `group` (32 or 64) is read for LINEAR_W4A16 alone.
 * Returns 0, or -1 when memory is short or an argument is out of range (nothing is held then). */
int linear_new(Linear *l, LinearFormat format, int n, int k, int group);
/* Outputs [begin, begin + rows) from weight[rows, k] (fp32, row-major) and bias[rows] or NULL, rounded to the format. */
void linear_fill(Linear *l, int begin, int rows, const float *weight, const float *bias);
/* The same from codes that were rounded elsewhere: weight = codes[rows, k] * scale[rows, k / group]
 * (int8; int4 codes in -8..7; e4m3 bytes). For LINEAR_INT8, W8A16, W4A16, FP8. */
void linear_fill_codes(Linear *l, int begin, int rows, const int8_t *codes, const float *scale, const float *bias);
/* linear_new and linear_fill of all rows. */
int linear_pack(Linear *l, LinearFormat format, int n, int k, int group, const float *weight, const float *bias);
void linear_free(Linear *l);

/* Bytes of scratch (64-byte aligned) that m rows need; 0 where run reads x itself. Grows with m; a row's place in it
 * does not depend on m. Layers of equal format, isa and k share a scratch. */
size_t linear_scratch(const Linear *l, int m);
/* Rows [begin, end) of x[., ldx] into scratch. Nothing to do (and harmless) where linear_scratch is 0. */
void linear_quantise(const Linear *l, const float *x, size_t ldx, int begin, int end, void *scratch);
/* y[i * ldy + j] for i < m, j in [n_begin, n_end): n_begin a multiple of LINEAR_PANEL, n_end one too or n.
 * x may be NULL where linear_scratch is not 0. */
void linear_run(const Linear *l, const float *x, size_t ldx, const void *scratch, int m, float *y, size_t ldy,
                int n_begin, int n_end);

#endif
