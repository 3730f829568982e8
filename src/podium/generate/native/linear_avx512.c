/* Linear layers with AVX-512 and VNNI: register tiles of up to 14 rows by 32 columns. */
#if defined(__x86_64__)
#include <immintrin.h>
#include <stdint.h>

#define ISA __attribute__((target("avx512f,avx512bw,avx512dq,avx512vl,avx512vnni,avx2,fma,f16c")))

enum { WIDTH = 32, ROWS = 14, PAIRED_ROWS = 3, PREFETCH = 2048, INT8_UNIT = 4 };

typedef uint64_t Columns; /* a bit for each */

#include "linear_tiles.h"

INLINE ISA __m512 widened(const int format, const char *w) {
    switch (format) {
    case LINEAR_FP32: return _mm512_load_ps((const float *)w);
    case LINEAR_FP16: return _mm512_cvtph_ps(_mm256_load_si256((const __m256i *)w));
    case LINEAR_BF16:
        return _mm512_castsi512_ps(
            _mm512_slli_epi32(_mm512_cvtepu16_epi32(_mm256_load_si256((const __m256i *)w)), 16));
    case LINEAR_W8A16: return _mm512_cvtepi32_ps(_mm512_cvtepi8_epi32(_mm_load_si128((const __m128i *)w)));
    default: { /* e4m3: exponent and mantissa into an fp16's place, the sign from the sign extension */
        __m256i h = _mm256_slli_epi16(_mm256_cvtepi8_epi16(_mm_load_si128((const __m128i *)w)), 7);
        return _mm512_cvtph_ps(_mm256_and_si256(h, _mm256_set1_epi16((short)0xbf80)));
    }
    }
}

INLINE ISA __m512 int4_values(void) {
    return _mm512_setr_ps(0, 1, 2, 3, 4, 5, 6, 7, -8, -7, -6, -5, -4, -3, -2, -1);
}

INLINE ISA void tile(const int rows, const int vectors, const int format, const Tile *t) {
    __m512 acc[ROWS][4];
    const int bytes = element_bytes((LinearFormat)format) * 16;
    const char *w = t->weights;
    const float *x = t->x;
    const char *ahead = t->ahead;
    const size_t ldx = t->ldx, neighbour = t->panel_bytes, ahead_bytes = t->ahead_bytes;
#pragma GCC unroll 14
    for (int r = 0; r < rows; r++)
#pragma GCC unroll 4
        for (int v = 0; v < vectors; v++)
            acc[r][v] = t->first ? _mm512_setzero_ps()
                                 : _mm512_maskz_loadu_ps((__mmask16)(t->columns >> (16 * v)), t->y + r * t->ldy + 16 * v);
    if (format == LINEAR_W4A16) {
        const __m512 values = int4_values();
        const float *group_scale = t->group_scale;
        for (int begin = 0; begin < t->k; begin += t->group, group_scale += WIDTH) {
            __m512 scale[4];
#pragma GCC unroll 4
            for (int v = 0; v < vectors; v++)
                scale[v] = _mm512_load_ps(group_scale + v / 2 * t->group_scale_panel + v % 2 * 16);
            int end = least(t->k, begin + t->group);
            for (int k = begin; k < end; k += 8, w += 2 * 64) {
                __m512i codes[4];
                _mm_prefetch(w + PREFETCH, _MM_HINT_T0);
                _mm_prefetch(w + PREFETCH + 64, _MM_HINT_T0);
#pragma GCC unroll 4
                for (int v = 0; v < vectors; v++)
                    codes[v] = _mm512_load_si512(w + v / 2 * neighbour + v % 2 * 64);
                int stop = least(8, end - k);
                for (int j = 0; j < stop; j++) {
#pragma GCC unroll 4
                    for (int v = 0; v < vectors; v++) {
                        __m512 weight = _mm512_mul_ps(_mm512_permutexvar_ps(codes[v], values), scale[v]);
                        codes[v] = _mm512_srli_epi32(codes[v], 4);
#pragma GCC unroll 14
                        for (int r = 0; r < rows; r++)
                            acc[r][v] = _mm512_fmadd_ps(_mm512_set1_ps(x[r * ldx + k + j]), weight, acc[r][v]);
                    }
                }
            }
        }
    } else {
        const int lines = 2 * bytes >= 64 ? 2 * bytes / 64 : 1;
#pragma GCC unroll 2
        for (int k = 0; k < t->k; k++, w += 2 * bytes, ahead += ahead_bytes) {
            __m512 weight[4];
#pragma GCC unroll 2
            for (int line = 0; line < lines; line++) {
                _mm_prefetch(ahead + 64 * line, _MM_HINT_T0);
                if (vectors > 2) _mm_prefetch(ahead + neighbour + 64 * line, _MM_HINT_T0);
            }
#pragma GCC unroll 4
            for (int v = 0; v < vectors; v++) weight[v] = widened(format, w + v / 2 * neighbour + v % 2 * bytes);
#pragma GCC unroll 14
            for (int r = 0; r < rows; r++) {
                __m512 a = _mm512_set1_ps(x[r * ldx + k]);
#pragma GCC unroll 4
                for (int v = 0; v < vectors; v++) acc[r][v] = _mm512_fmadd_ps(a, weight[v], acc[r][v]);
            }
        }
    }
#pragma GCC unroll 4
    for (int v = 0; v < vectors; v++) {
        __m512 scale = _mm512_loadu_ps(t->scale + 16 * v), bias = _mm512_loadu_ps(t->bias + 16 * v);
        __mmask16 columns = (__mmask16)(t->columns >> (16 * v));
#pragma GCC unroll 14
        for (int r = 0; r < rows; r++) {
            __m512 value = acc[r][v];
            if (t->last) value = _mm512_add_ps(_mm512_mul_ps(value, scale), bias);
            _mm512_mask_storeu_ps(t->y + r * t->ldy + 16 * v, columns, value);
        }
    }
}

#define TILE(FORMAT, M, V)                                                                                             \
    static ISA void tile_##FORMAT##_##M##_##V(const Tile *t) { tile(M, V, LINEAR_##FORMAT, t); }
#define SMALL(FORMAT)                                                                                                  \
    TILE(FORMAT, 1, 2)                                                                                                 \
    TILE(FORMAT, 2, 2) TILE(FORMAT, 3, 2) TILE(FORMAT, 4, 2) TILE(FORMAT, 1, 4) TILE(FORMAT, 2, 4) TILE(FORMAT, 3, 4)
#define MIDDLE(FORMAT)                                                                                                 \
    TILE(FORMAT, 5, 2) TILE(FORMAT, 6, 2) TILE(FORMAT, 7, 2) TILE(FORMAT, 8, 2) TILE(FORMAT, 9, 2)
#define LARGE(FORMAT)                                                                                                  \
    MIDDLE(FORMAT)                                                                                                     \
    TILE(FORMAT, 10, 2) TILE(FORMAT, 11, 2) TILE(FORMAT, 12, 2) TILE(FORMAT, 13, 2) TILE(FORMAT, 14, 2)
#define SMALL_OF(FORMAT)                                                                                               \
    NULL, tile_##FORMAT##_1_2, tile_##FORMAT##_2_2, tile_##FORMAT##_3_2, tile_##FORMAT##_4_2
#define MIDDLE_OF(FORMAT)                                                                                              \
    tile_##FORMAT##_5_2, tile_##FORMAT##_6_2, tile_##FORMAT##_7_2, tile_##FORMAT##_8_2, tile_##FORMAT##_9_2
#define LARGE_OF(FORMAT)                                                                                               \
    MIDDLE_OF(FORMAT), tile_##FORMAT##_10_2, tile_##FORMAT##_11_2, tile_##FORMAT##_12_2, tile_##FORMAT##_13_2,         \
        tile_##FORMAT##_14_2

/* More rows than a format has tiles for: its panel is widened once into a block and computed as fp32. */
SMALL(FP32) LARGE(FP32) SMALL(FP16) LARGE(FP16) SMALL(W8A16) LARGE(W8A16) SMALL(W4A16) MIDDLE(W4A16)
SMALL(FP8) LARGE(FP8) SMALL(BF16)

static const TileFunction SINGLE[][ROWS + 1] = {
    [LINEAR_FP32] = {SMALL_OF(FP32), LARGE_OF(FP32)}, [LINEAR_FP16] = {SMALL_OF(FP16), LARGE_OF(FP16)},
    [LINEAR_W8A16] = {SMALL_OF(W8A16), LARGE_OF(W8A16)}, [LINEAR_W4A16] = {SMALL_OF(W4A16), MIDDLE_OF(W4A16)},
    [LINEAR_FP8] = {SMALL_OF(FP8), LARGE_OF(FP8)}, [LINEAR_BF16] = {SMALL_OF(BF16)}};

#define PAIRED_OF(FORMAT) {NULL, tile_##FORMAT##_1_4, tile_##FORMAT##_2_4, tile_##FORMAT##_3_4}
static const TileFunction PAIRED[][PAIRED_ROWS + 1] = {
    [LINEAR_FP32] = PAIRED_OF(FP32), [LINEAR_FP16] = PAIRED_OF(FP16), [LINEAR_W8A16] = PAIRED_OF(W8A16),
    [LINEAR_W4A16] = PAIRED_OF(W4A16), [LINEAR_FP8] = PAIRED_OF(FP8), [LINEAR_BF16] = PAIRED_OF(BF16)};

/* Inputs [begin, end) of a panel as fp32. */
INLINE ISA void widen_as(const int format, const Linear *l, const char *panel, const float *group_scale, int begin,
                         int end, float *to) {
    if (format == LINEAR_W4A16) {
        const __m512 values = int4_values();
        for (int k = begin; k < end; k += 8) {
            const char *w = panel + (size_t)(k / 8) * 128;
            const float *scale = group_scale + (size_t)(k / l->group) * WIDTH;
            _mm_prefetch(w + PREFETCH, _MM_HINT_T0);
            _mm_prefetch(w + PREFETCH + 64, _MM_HINT_T0);
            for (int v = 0; v < 2; v++) {
                __m512i codes = _mm512_load_si512(w + 64 * v);
                __m512 s = _mm512_load_ps(scale + 16 * v);
                for (int j = 0; j < least(8, end - k); j++) {
                    _mm512_store_ps(to + (size_t)(k - begin + j) * WIDTH + 16 * v,
                                    _mm512_mul_ps(_mm512_permutexvar_ps(codes, values), s));
                    codes = _mm512_srli_epi32(codes, 4);
                }
            }
        }
        return;
    }
    const int bytes = 16 * element_bytes((LinearFormat)format);
    const char *w = panel + (size_t)begin * 2 * bytes;
    for (int i = 0; i < 2 * (end - begin); i++, w += bytes) {
        _mm_prefetch(w + PREFETCH, _MM_HINT_T0);
        _mm512_store_ps(to + (size_t)i * 16, widened(format, w));
    }
}

static Columns columns_of(const Linear *l, int panel, int panels) {
    int columns = least(l->n - panel * WIDTH, panels * WIDTH);
    return columns >= 64 ? ~0ull : (1ull << columns) - 1;
}

/* ---- int8: unsigned codes (plus 128) times signed weights; `offset` takes the 128 off again ---- */

INLINE ISA void int8_tile(const int rows, const int vectors, const Int8Tile *t) {
    __v16si acc[ROWS][4]; /* with __m512i, whose lanes are 64 bits, gcc keeps a copy in memory */
    const char *w = t->weights, *a = t->scratch + ROW_HEADER, *ahead = t->ahead;
    const size_t stride = t->stride, neighbour = t->panel_bytes, ahead_bytes = t->ahead_bytes;
#pragma GCC unroll 14
    for (int r = 0; r < rows; r++)
#pragma GCC unroll 4
        for (int v = 0; v < vectors; v++) acc[r][v] = (__v16si)_mm512_load_si512(t->offset + 16 * v);
    for (int k = 0; k < t->k; k += 4, w += 128, ahead += ahead_bytes) {
        __m512i weight[4];
        _mm_prefetch(ahead, _MM_HINT_T0);
        _mm_prefetch(ahead + 64, _MM_HINT_T0);
        if (vectors > 2) {
            _mm_prefetch(ahead + neighbour, _MM_HINT_T0);
            _mm_prefetch(ahead + neighbour + 64, _MM_HINT_T0);
        }
#pragma GCC unroll 4
        for (int v = 0; v < vectors; v++) weight[v] = _mm512_load_si512(w + v / 2 * neighbour + v % 2 * 64);
#pragma GCC unroll 14
        for (int r = 0; r < rows; r++) {
            __m512i codes = _mm512_set1_epi32(*(const int32_t *)(a + r * stride + k));
#pragma GCC unroll 4
            for (int v = 0; v < vectors; v++) acc[r][v] = (__v16si)_mm512_dpbusd_epi32((__m512i)acc[r][v], codes, weight[v]);
        }
    }
#pragma GCC unroll 14
    for (int r = 0; r < rows; r++) {
        __m512 row_scale = _mm512_set1_ps(*(const float *)(t->scratch + r * stride));
#pragma GCC unroll 4
        for (int v = 0; v < vectors; v++) {
            __m512 value = _mm512_mul_ps(_mm512_cvtepi32_ps((__m512i)acc[r][v]), _mm512_loadu_ps(t->scale + 16 * v));
            value = _mm512_add_ps(_mm512_mul_ps(value, row_scale), _mm512_loadu_ps(t->bias + 16 * v));
            _mm512_mask_storeu_ps(t->y + r * t->ldy + 16 * v, (__mmask16)(t->columns >> (16 * v)), value);
        }
    }
}

#define INT8(M, V)                                                                                                     \
    static ISA void int8_##M##_##V(const Int8Tile *t) { int8_tile(M, V, t); }
INT8(1, 2) INT8(2, 2) INT8(3, 2) INT8(4, 2) INT8(5, 2) INT8(6, 2) INT8(7, 2) INT8(8, 2) INT8(9, 2) INT8(10, 2)
INT8(11, 2) INT8(12, 2) INT8(13, 2) INT8(14, 2) INT8(1, 4) INT8(2, 4) INT8(3, 4)
static const Int8TileFunction INT8_SINGLE[ROWS + 1] = {NULL, int8_1_2, int8_2_2, int8_3_2, int8_4_2,
    int8_5_2, int8_6_2, int8_7_2, int8_8_2, int8_9_2, int8_10_2, int8_11_2, int8_12_2, int8_13_2, int8_14_2};
static const Int8TileFunction INT8_PAIRED[PAIRED_ROWS + 1] = {NULL, int8_1_4, int8_2_4, int8_3_4};

static ISA void quantise(const Linear *l, const float *x, size_t ldx, int begin, int end, void *scratch) {
    const size_t stride = linear_stride(l);
    for (int r = begin; r < end; r++) {
        char *row = (char *)scratch + r * stride;
        const float *from = x + r * ldx;
        if (l->format == LINEAR_BF16) {
            float *to = (float *)(row + ROW_HEADER);
            for (int k = 0; k < l->k; k++) to[k] = bf16_rounded(from[k]);
            continue;
        }
        __m512 largest = _mm512_setzero_ps();
        for (int k = 0; k < l->k; k += 16) {
            __mmask16 inside = l->k - k >= 16 ? 0xffff : (__mmask16)((1u << (l->k - k)) - 1);
            largest = _mm512_max_ps(largest, _mm512_abs_ps(_mm512_maskz_loadu_ps(inside, from + k)));
        }
        __m512 factor = _mm512_set1_ps(int8_factor(_mm512_reduce_max_ps(largest), (float *)row));
        for (int k = 0; k < l->k_padded; k += 16) {
            __mmask16 inside = l->k - k >= 16 ? 0xffff : l->k > k ? (__mmask16)((1u << (l->k - k)) - 1) : 0;
            __m512i code = _mm512_cvtps_epi32(_mm512_mul_ps(_mm512_maskz_loadu_ps(inside, from + k), factor));
            __m128i bytes = _mm_xor_si128(_mm512_cvtsepi32_epi8(code), _mm_set1_epi8((char)0x80));
            _mm_store_si128((__m128i *)(row + ROW_HEADER + k), bytes);
        }
    }
}

#include "linear_run.h"

const LinearKernels linear_avx512 = {
    .width = WIDTH, .unit_int8 = 4, .unit_bf16 = 1, .int8_bytes = 1, .quantise = quantise, .run = run};
#else
typedef int podium_no_avx512; /* a translation unit may not be empty */
#endif
