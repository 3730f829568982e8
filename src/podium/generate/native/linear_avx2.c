/* Linear layers with AVX2, FMA and F16C: register tiles of up to 6 rows by 16 columns.
 *
 * int8 codes are widened to 16 bits and multiplied by pairs (vpmaddwd), which cannot saturate; the byte-wise
 * vpmaddubsw needs the sign trick to be exact and then as many instructions.
 */
#if defined(__x86_64__)
#include <immintrin.h>

#define ISA __attribute__((target("avx2,fma,f16c")))

enum { WIDTH = 16, ROWS = 6, PAIRED_ROWS = 2, PREFETCH = 1024, INT8_UNIT = 2 };

typedef int Columns; /* their number; more than the tile has are all of them */

#include "linear_tiles.h"

INLINE ISA __m256i column_mask(int columns) {
    return _mm256_cmpgt_epi32(_mm256_set1_epi32(columns), _mm256_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7));
}

INLINE ISA __m256 load_columns(const float *y, int columns) {
    return columns >= 8 ? _mm256_loadu_ps(y) : _mm256_maskload_ps(y, column_mask(columns));
}

INLINE ISA void store_columns(float *y, int columns, __m256 value) {
    if (columns >= 8) _mm256_storeu_ps(y, value);
    else _mm256_maskstore_ps(y, column_mask(columns), value);
}

INLINE ISA __m256 widened(const int format, const char *w) {
    switch (format) {
    case LINEAR_FP32: return _mm256_load_ps((const float *)w);
    case LINEAR_FP16: return _mm256_cvtph_ps(_mm_load_si128((const __m128i *)w));
    case LINEAR_BF16:
        return _mm256_castsi256_ps(_mm256_slli_epi32(_mm256_cvtepu16_epi32(_mm_load_si128((const __m128i *)w)), 16));
    case LINEAR_W8A16: return _mm256_cvtepi32_ps(_mm256_cvtepi8_epi32(_mm_loadl_epi64((const __m128i *)w)));
    default: { /* e4m3: exponent and mantissa into an fp16's place, the sign from the sign extension */
        __m128i h = _mm_slli_epi16(_mm_cvtepi8_epi16(_mm_loadl_epi64((const __m128i *)w)), 7);
        return _mm256_cvtph_ps(_mm_and_si128(h, _mm_set1_epi16((short)0xbf80)));
    }
    }
}

/* Code j (0 the lowest nibble) of eight dwords. */
INLINE ISA __m256 int4_value(__m256i codes, int j) {
    return _mm256_cvtepi32_ps(_mm256_srai_epi32(_mm256_sll_epi32(codes, _mm_cvtsi32_si128(28 - 4 * j)), 28));
}

INLINE ISA void tile(const int rows, const int vectors, const int format, const Tile *t) {
    __m256 acc[ROWS][4];
    const int bytes = element_bytes((LinearFormat)format) * 8;
    const char *w = t->weights;
    const float *x = t->x;
    const char *ahead = t->ahead;
    const size_t ldx = t->ldx, neighbour = t->panel_bytes, ahead_bytes = t->ahead_bytes;
#pragma GCC unroll 6
    for (int r = 0; r < rows; r++)
#pragma GCC unroll 4
        for (int v = 0; v < vectors; v++)
            acc[r][v] = t->first ? _mm256_setzero_ps() : load_columns(t->y + r * t->ldy + 8 * v, t->columns - 8 * v);
    if (format == LINEAR_W4A16) {
        const float *group_scale = t->group_scale;
        for (int begin = 0; begin < t->k; begin += t->group, group_scale += WIDTH) {
            int end = least(t->k, begin + t->group);
            for (int k = begin; k < end; k += 8, w += 64) {
                int stop = least(8, end - k);
                _mm_prefetch(w + PREFETCH, _MM_HINT_T0);
                if (vectors > 2) _mm_prefetch(w + neighbour + PREFETCH, _MM_HINT_T0);
                for (int j = 0; j < stop; j++) {
#pragma GCC unroll 4
                    for (int v = 0; v < vectors; v++) {
                        __m256i codes = _mm256_load_si256((const __m256i *)(w + v / 2 * neighbour + v % 2 * 32));
                        __m256 scale = _mm256_load_ps(group_scale + v / 2 * t->group_scale_panel + v % 2 * 8);
                        __m256 weight = _mm256_mul_ps(int4_value(codes, j), scale);
#pragma GCC unroll 6
                        for (int r = 0; r < rows; r++)
                            acc[r][v] = _mm256_fmadd_ps(_mm256_set1_ps(x[r * ldx + k + j]), weight, acc[r][v]);
                    }
                }
            }
        }
    } else {
#pragma GCC unroll 2
        for (int k = 0; k < t->k; k++, w += 2 * bytes, ahead += ahead_bytes) {
            __m256 weight[4];
            _mm_prefetch(ahead, _MM_HINT_T0);
            if (vectors > 2) _mm_prefetch(ahead + neighbour, _MM_HINT_T0);
#pragma GCC unroll 4
            for (int v = 0; v < vectors; v++) weight[v] = widened(format, w + v / 2 * neighbour + v % 2 * bytes);
#pragma GCC unroll 6
            for (int r = 0; r < rows; r++) {
                __m256 a = _mm256_set1_ps(x[r * ldx + k]);
#pragma GCC unroll 4
                for (int v = 0; v < vectors; v++) acc[r][v] = _mm256_fmadd_ps(a, weight[v], acc[r][v]);
            }
        }
    }
#pragma GCC unroll 4
    for (int v = 0; v < vectors; v++) {
        __m256 scale = _mm256_loadu_ps(t->scale + 8 * v), bias = _mm256_loadu_ps(t->bias + 8 * v);
#pragma GCC unroll 6
        for (int r = 0; r < rows; r++) {
            __m256 value = acc[r][v];
            if (t->last) value = _mm256_add_ps(_mm256_mul_ps(value, scale), bias);
            store_columns(t->y + r * t->ldy + 8 * v, t->columns - 8 * v, value);
        }
    }
}

#define TILE(FORMAT, M, V)                                                                                             \
    static ISA void tile_##FORMAT##_##M##_##V(const Tile *t) { tile(M, V, LINEAR_##FORMAT, t); }
#define TILES(FORMAT)                                                                                                  \
    TILE(FORMAT, 1, 2)                                                                                                 \
    TILE(FORMAT, 2, 2) TILE(FORMAT, 3, 2) TILE(FORMAT, 4, 2) TILE(FORMAT, 5, 2) TILE(FORMAT, 6, 2) TILE(FORMAT, 1, 4)  \
    TILE(FORMAT, 2, 4)
#define SINGLE_OF(FORMAT)                                                                                              \
    [LINEAR_##FORMAT] = {NULL, tile_##FORMAT##_1_2, tile_##FORMAT##_2_2, tile_##FORMAT##_3_2, tile_##FORMAT##_4_2,     \
                         tile_##FORMAT##_5_2, tile_##FORMAT##_6_2}
#define PAIRED_OF(FORMAT)                                                                                              \
    [LINEAR_##FORMAT] = {NULL, tile_##FORMAT##_1_4, tile_##FORMAT##_2_4}

TILES(FP32) TILES(FP16) TILES(W8A16) TILES(W4A16) TILES(FP8) TILES(BF16)

static const TileFunction SINGLE[][ROWS + 1] = {SINGLE_OF(FP32),   SINGLE_OF(FP16), SINGLE_OF(W8A16),
                                                SINGLE_OF(W4A16), SINGLE_OF(FP8),  SINGLE_OF(BF16)};
static const TileFunction PAIRED[][PAIRED_ROWS + 1] = {PAIRED_OF(FP32),   PAIRED_OF(FP16), PAIRED_OF(W8A16),
                                                       PAIRED_OF(W4A16), PAIRED_OF(FP8),  PAIRED_OF(BF16)};

/* Inputs [begin, end) of a panel as fp32. */
INLINE ISA void widen_as(const int format, const Linear *l, const char *panel, const float *group_scale, int begin,
                         int end, float *to) {
    if (format == LINEAR_W4A16) {
        for (int k = begin; k < end; k += 8) {
            const char *w = panel + (size_t)(k / 8) * 64;
            const float *scale = group_scale + (size_t)(k / l->group) * WIDTH;
            _mm_prefetch(w + PREFETCH, _MM_HINT_T0);
            for (int j = 0; j < least(8, end - k); j++)
                for (int v = 0; v < 2; v++) {
                    __m256 value = int4_value(_mm256_load_si256((const __m256i *)(w + 32 * v)), j);
                    _mm256_store_ps(to + (size_t)(k - begin + j) * WIDTH + 8 * v,
                                    _mm256_mul_ps(value, _mm256_load_ps(scale + 8 * v)));
                }
        }
        return;
    }
    const int bytes = 8 * element_bytes((LinearFormat)format);
    const char *w = panel + (size_t)begin * 2 * bytes;
    for (int i = 0; i < 2 * (end - begin); i++, w += bytes) {
        _mm_prefetch(w + PREFETCH, _MM_HINT_T0);
        _mm256_store_ps(to + (size_t)i * 8, widened(format, w));
    }
}

static Columns columns_of(const Linear *l, int panel, int panels) {
    (void)panels;
    return l->n - panel * WIDTH;
}

INLINE ISA void int8_tile(const int rows, const int vectors, const Int8Tile *t) {
    __v8si acc[ROWS][4]; /* with __m256i, whose lanes are 64 bits, gcc keeps a copy in memory */
    const char *w = t->weights, *a = t->scratch + ROW_HEADER, *ahead = t->ahead;
    const size_t stride = t->stride, neighbour = t->panel_bytes, ahead_bytes = t->ahead_bytes;
#pragma GCC unroll 6
    for (int r = 0; r < rows; r++)
#pragma GCC unroll 4
        for (int v = 0; v < vectors; v++) acc[r][v] = (__v8si)_mm256_setzero_si256();
#pragma GCC unroll 2
    for (int k = 0; k < t->k; k += 2, w += 32, a += 4, ahead += ahead_bytes) {
        __m256i weight[4];
        _mm_prefetch(ahead, _MM_HINT_T0);
        if (vectors > 2) _mm_prefetch(ahead + neighbour, _MM_HINT_T0);
#pragma GCC unroll 4
        for (int v = 0; v < vectors; v++)
            weight[v] =
                _mm256_cvtepi8_epi16(_mm_load_si128((const __m128i *)(w + v / 2 * neighbour + v % 2 * 16)));
#pragma GCC unroll 6
        for (int r = 0; r < rows; r++) {
            __m256i codes = _mm256_set1_epi32(*(const int32_t *)(a + r * stride));
#pragma GCC unroll 4
            for (int v = 0; v < vectors; v++)
                acc[r][v] = (__v8si)_mm256_add_epi32((__m256i)acc[r][v], _mm256_madd_epi16(codes, weight[v]));
        }
    }
#pragma GCC unroll 6
    for (int r = 0; r < rows; r++) {
        __m256 row_scale = _mm256_set1_ps(*(const float *)(t->scratch + r * stride));
#pragma GCC unroll 4
        for (int v = 0; v < vectors; v++) {
            __m256 value = _mm256_mul_ps(_mm256_cvtepi32_ps((__m256i)acc[r][v]), _mm256_loadu_ps(t->scale + 8 * v));
            value = _mm256_add_ps(_mm256_mul_ps(value, row_scale), _mm256_loadu_ps(t->bias + 8 * v));
            store_columns(t->y + r * t->ldy + 8 * v, t->columns - 8 * v, value);
        }
    }
}

#define INT8(M, V)                                                                                                     \
    static ISA void int8_##M##_##V(const Int8Tile *t) { int8_tile(M, V, t); }
INT8(1, 2) INT8(2, 2) INT8(3, 2) INT8(4, 2) INT8(5, 2) INT8(6, 2) INT8(1, 4) INT8(2, 4)
static const Int8TileFunction INT8_SINGLE[ROWS + 1] = {NULL,     int8_1_2, int8_2_2, int8_3_2,
                                                       int8_4_2, int8_5_2, int8_6_2};
static const Int8TileFunction INT8_PAIRED[PAIRED_ROWS + 1] = {NULL, int8_1_4, int8_2_4};

static ISA void quantise(const Linear *l, const float *x, size_t ldx, int begin, int end, void *scratch) {
    const size_t stride = linear_stride(l);
    const __m256 sign = _mm256_set1_ps(-0.0f);
    for (int r = begin; r < end; r++) {
        char *row = (char *)scratch + r * stride;
        const float *from = x + r * ldx;
        if (l->format == LINEAR_BF16) {
            float *to = (float *)(row + ROW_HEADER);
            for (int k = 0; k < l->k; k++) to[k] = bf16_rounded(from[k]);
            continue;
        }
        __m256 most = _mm256_setzero_ps();
        for (int k = 0; k < l->k; k += 8)
            most = _mm256_max_ps(most, _mm256_andnot_ps(sign, load_columns(from + k, l->k - k)));
        __m128 half = _mm_max_ps(_mm256_castps256_ps128(most), _mm256_extractf128_ps(most, 1));
        half = _mm_max_ps(half, _mm_movehl_ps(half, half));
        half = _mm_max_ss(half, _mm_movehdup_ps(half));
        __m256 factor = _mm256_set1_ps(int8_factor(_mm_cvtss_f32(half), (float *)row));
        for (int k = 0; k < l->k_padded; k += 8) {
            __m256 values = k < l->k ? load_columns(from + k, l->k - k) : _mm256_setzero_ps();
            __m256i code = _mm256_cvtps_epi32(_mm256_mul_ps(values, factor));
            __m128i words = _mm_packs_epi32(_mm256_castsi256_si128(code), _mm256_extracti128_si256(code, 1));
            _mm_store_si128((__m128i *)(row + ROW_HEADER + 2 * (size_t)k), words);
        }
    }
}

#include "linear_run.h"

const LinearKernels linear_avx2 = {
    .width = WIDTH, .unit_int8 = 2, .unit_bf16 = 1, .int8_bytes = 2, .quantise = quantise, .run = run};
#else
typedef int podium_no_avx2; /* a translation unit may not be empty */
#endif
