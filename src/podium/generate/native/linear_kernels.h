/* What linear.c and the files of one instruction set share; not for others.
 *
 * Panels hold `width` outputs interleaved along k, so that one linear stream of bytes feeds a whole register tile. An
 * element of output j, input k lies at
 *     ((j / width * (k_padded / unit) + k / unit) * width + j % width) * unit + k % unit
 * with unit 1 but for INT8 (2 on AVX2, 4 on VNNI and AMX) and BF16 on AMX (2). W4A16 holds dwords of 8 inputs, the
 * first in the lowest nibble.
 */
#ifndef PODIUM_LINEAR_KERNELS_H
#define PODIUM_LINEAR_KERNELS_H

#include "linear.h"

#define BLOCK_K 256  /* inputs whose weights are widened to fp32 at once: a panel of them stays in the L1 cache */
#define BLOCK_M 240  /* rows that share one widening: their BLOCK_K inputs stay in the L2 cache */
#define BLOCK_N 256  /* columns whose sums are carried through all of k: BLOCK_M rows of them stay in the L2 cache */
#define ROW_HEADER 64 /* a row of scratch: its scale, then, on the next cache line, its codes */

#define INLINE static inline __attribute__((always_inline))

typedef struct {
    int width;
    int unit_int8, unit_bf16;
    size_t int8_bytes; /* of one activation code in scratch */
    void (*quantise)(const Linear *, const float *x, size_t ldx, int begin, int end, void *scratch);
    void (*run)(const Linear *, const float *x, size_t ldx, const void *scratch, int m, float *y, size_t ldy,
                int n_begin, int n_end);
} LinearKernels;

extern const LinearKernels linear_portable;
#if defined(__x86_64__)
extern const LinearKernels linear_avx2, linear_avx512, linear_amx;
#endif

/* Bytes from one row of scratch to the next. */
size_t linear_stride(const Linear *l);

/* Scale of a row and the factor that maps it onto -127..127. Rows of (almost) nothing become zeros. */
static inline float int8_factor(float largest, float *scale) {
    if (largest < 1e-30f) {
        *scale = 0.0f;
        return 0.0f;
    }
    *scale = largest / 127.0f;
    return 127.0f / largest;
}

static inline float bf16_rounded(float x) {
    union { float f; uint32_t u; } v = {.f = x};
    if ((v.u & 0x7fffffffu) > 0x7f800000u) return x; /* NaN */
    v.u = (v.u + 0x7fffu + ((v.u >> 16) & 1u)) & 0xffff0000u;
    return v.f;
}

static inline int least(int a, int b) { return a < b ? a : b; }
static inline int parts(int whole, int part) { return (whole + part - 1) / part; }

#endif
