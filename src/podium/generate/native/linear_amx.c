/* Linear layers on AMX tiles: int8 from a few rows on (below, VNNI reads the same panels), bfloat16 always.
 *
 * A pair of 16-row tiles of activations meets a pair of 16-column tiles of weights; up to 16 rows, two panels at once
 * keep four tiles of sums in flight. A bfloat16 tile adds the products of a k pair in an order of its own, the same
 * for every row count, which keeps rows invariant.
 */
#if defined(__x86_64__)
#include "linear_kernels.h"

#include <immintrin.h>
#include <string.h>

#define ISA __attribute__((target("avx512f,avx512bw,avx512dq,avx512vl,avx512bf16,avx2,fma,amx-tile,amx-int8,amx-bf16")))

enum { WIDTH = 32, TILE_ROWS = 16, FEWEST_ROWS = 4 };

typedef struct {
    uint8_t palette, start_row, reserved[14];
    uint16_t column_bytes[16];
    uint8_t rows[16];
} TileShapes;

/* Tiles 0-3: sums [2 row tiles][2 column tiles]; 4, 5: activations; 6, 7: weights. */
static ISA void shape_tiles(int upper, int lower) {
    TileShapes shapes __attribute__((aligned(64))) = {.palette = 1};
    for (int i = 0; i < 8; i++) shapes.column_bytes[i] = 64, shapes.rows[i] = 16;
    shapes.rows[0] = shapes.rows[1] = shapes.rows[4] = (uint8_t)upper;
    shapes.rows[2] = shapes.rows[3] = shapes.rows[5] = (uint8_t)lower;
    _tile_loadconfig(&shapes);
}

typedef struct {
    const char *scratch, *weights;
    size_t stride, panel_bytes;
    int steps; /* of 64 bytes along k */
} Operands;

#define MULTIPLY(SUM, A, W)                                                                                            \
    do {                                                                                                               \
        if (bf16) _tile_dpbf16ps(SUM, A, W);                                                                           \
        else _tile_dpbusd(SUM, A, W);                                                                                  \
    } while (0)

INLINE ISA void prefetch_tile(const char *w, int lines) {
#pragma GCC unroll 32
    for (int i = 0; i < lines; i++) _mm_prefetch(w + 64 * i, _MM_HINT_T0);
}

/* Two row tiles by one panel. */
INLINE ISA void square(const int bf16, const Operands *o, int upper, int32_t (*sums)[16 * 16]) {
    const char *a0 = o->scratch + ROW_HEADER, *a1 = a0 + upper * o->stride, *w = o->weights;
    _tile_zero(0);
    _tile_zero(1);
    _tile_zero(2);
    _tile_zero(3);
    for (int i = 0; i < o->steps; i++, a0 += 64, a1 += 64, w += 2048) {
        _tile_loadd(4, a0, o->stride);
        _tile_loadd(6, w, 128);
        _tile_loadd(7, w + 64, 128);
        _tile_loadd(5, a1, o->stride);
        prefetch_tile(w + 2 * 2048, 32);
        MULTIPLY(0, 4, 6);
        MULTIPLY(1, 4, 7);
        MULTIPLY(2, 5, 6);
        MULTIPLY(3, 5, 7);
    }
    _tile_stored(0, sums[0], 64);
    _tile_stored(1, sums[1], 64);
    _tile_stored(2, sums[2], 64);
    _tile_stored(3, sums[3], 64);
}

/* One row tile by `panels` neighbouring panels; tiles 2 and 3 then have as many rows as 0 and 1. */
INLINE ISA void flat(const int bf16, const int panels, const Operands *o, int32_t (*sums)[16 * 16]) {
    const char *a = o->scratch + ROW_HEADER, *w = o->weights, *next = w + o->panel_bytes;
    _tile_zero(0);
    _tile_zero(1);
    _tile_zero(2);
    _tile_zero(3);
    for (int i = 0; i < o->steps; i++, a += 64, w += 2048, next += 2048) {
        _tile_loadd(4, a, o->stride);
        _tile_loadd(6, w, 128);
        _tile_loadd(7, w + 64, 128);
        prefetch_tile(w + 2 * 2048, 32);
        MULTIPLY(0, 4, 6);
        MULTIPLY(1, 4, 7);
        if (panels == 2) {
            _tile_loadd(6, next, 128);
            _tile_loadd(7, next + 64, 128);
            prefetch_tile(next + 2 * 2048, 32);
            MULTIPLY(2, 4, 6);
            MULTIPLY(3, 4, 7);
        }
    }
    _tile_stored(0, sums[0], 64);
    _tile_stored(1, sums[1], 64);
    if (panels == 2) {
        _tile_stored(2, sums[2], 64);
        _tile_stored(3, sums[3], 64);
    }
}

/* A 16-column tile of sums, scaled, into y. */
INLINE ISA void finish(const int bf16, const Linear *l, const int32_t *sums, int rows, int column, const char *scratch,
                       size_t stride, float *y, size_t ldy) {
    if (column >= l->n) return;
    __m512 scale = _mm512_load_ps(l->scale + column), bias = _mm512_load_ps(l->bias + column);
    __m512i offset = _mm512_load_si512(l->offset + column);
    __mmask16 columns = l->n - column >= 16 ? 0xffff : (__mmask16)((1u << (l->n - column)) - 1);
    for (int r = 0; r < rows; r++) {
        __m512i sum = _mm512_load_si512(sums + 16 * r);
        __m512 value;
        if (bf16) {
            value = _mm512_castsi512_ps(sum);
        } else {
            value = _mm512_mul_ps(_mm512_cvtepi32_ps(_mm512_add_epi32(sum, offset)), scale);
            value = _mm512_mul_ps(value, _mm512_set1_ps(*(const float *)(scratch + r * stride)));
        }
        _mm512_mask_storeu_ps(y + r * ldy + column, columns, _mm512_add_ps(value, bias));
    }
}

INLINE ISA void run_tiles(const int bf16, const Linear *l, const char *scratch, int m, float *y, size_t ldy, int from,
                          int to) {
    int32_t sums[4][16 * 16] __attribute__((aligned(64)));
    const int bytes = bf16 ? 2 : 1;
    Operands o = {.stride = linear_stride(l), .panel_bytes = (size_t)l->k_padded * WIDTH * bytes,
                  .steps = l->k_padded * bytes / 64};
    /* The thread's tiles may be shaped by another library that does not look again: leave them as they were. */
    char before[64] __attribute__((aligned(64)));
    _tile_storeconfig(before);
    int shaped = 0;
    for (int row = 0; row < m; row += BLOCK_M) {
        int rows = least(BLOCK_M, m - row), pairs = parts(rows, 2 * TILE_ROWS);
        if (rows <= TILE_ROWS) {
            shape_tiles(rows, rows);
            shaped = 0;
            o.scratch = scratch + row * o.stride;
            float *out = y + row * ldy;
            for (int panel = from; panel < to; panel += 2) {
                o.weights = (const char *)l->data + panel * o.panel_bytes;
                int panels = least(2, to - panel);
                if (panels == 2) flat(bf16, 2, &o, sums);
                else flat(bf16, 1, &o, sums);
                for (int v = 0; v < 2 * panels; v++)
                    finish(bf16, l, sums[v], rows, panel * WIDTH + 16 * v, o.scratch, o.stride, out, ldy);
            }
            continue;
        }
        for (int panel = from; panel < to; panel++) {
            o.weights = (const char *)l->data + panel * o.panel_bytes;
            for (int i = 0, r = row; i < pairs; i++) {
                int count = (rows + pairs - 1 - i) / pairs, upper = parts(count, 2), lower = count - upper;
                if (shaped != count) shape_tiles(upper, lower);
                shaped = count;
                o.scratch = scratch + r * o.stride;
                square(bf16, &o, upper, sums);
                for (int v = 0; v < 4; v++) {
                    int below = v / 2 ? upper : 0;
                    finish(bf16, l, sums[v], v / 2 ? lower : upper, panel * WIDTH + v % 2 * 16,
                           o.scratch + below * o.stride, o.stride, y + (r + below) * ldy, ldy);
                }
                r += count;
            }
        }
    }
    _tile_loadconfig(before);
}

static ISA void run_bf16(const Linear *l, const char *scratch, int m, float *y, size_t ldy, int from, int to) {
    run_tiles(1, l, scratch, m, y, ldy, from, to);
}

static ISA void run_int8(const Linear *l, const char *scratch, int m, float *y, size_t ldy, int from, int to) {
    run_tiles(0, l, scratch, m, y, ldy, from, to);
}

static ISA void quantise(const Linear *l, const float *x, size_t ldx, int begin, int end, void *scratch) {
    if (l->format != LINEAR_BF16) {
        linear_avx512.quantise(l, x, ldx, begin, end, scratch);
        return;
    }
    const size_t stride = linear_stride(l);
    for (int r = begin; r < end; r++) {
        char *to = (char *)scratch + r * stride + ROW_HEADER;
        for (int k = 0; k < l->k_padded; k += 16) {
            __mmask16 inside = l->k - k >= 16 ? 0xffff : l->k > k ? (__mmask16)((1u << (l->k - k)) - 1) : 0;
            __m256bh rounded = _mm512_cvtneps_pbh(_mm512_maskz_loadu_ps(inside, x + r * ldx + k));
            memcpy(to + 2 * k, &rounded, sizeof rounded);
        }
    }
}

static void run(const Linear *l, const float *x, size_t ldx, const void *scratch, int m, float *y, size_t ldy,
                int n_begin, int n_end) {
    int from = n_begin / WIDTH, to = parts(n_end, WIDTH);
    if (l->format == LINEAR_BF16) run_bf16(l, scratch, m, y, ldy, from, to);
    else if (l->format == LINEAR_INT8 && m >= FEWEST_ROWS) run_int8(l, scratch, m, y, ldy, from, to);
    else linear_avx512.run(l, x, ldx, scratch, m, y, ldy, n_begin, n_end);
}

const LinearKernels linear_amx = {
    .width = WIDTH, .unit_int8 = 4, .unit_bf16 = 2, .int8_bytes = 1, .quantise = quantise, .run = run};
#else
typedef int podium_no_amx; /* a translation unit may not be empty */
#endif
