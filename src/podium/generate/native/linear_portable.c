/* Linear layers in plain C: written so that a compiler's vectoriser finds the loops over the columns of a panel. */
#include "linear_kernels.h"

#include <math.h>
#include <string.h>

enum { WIDTH = 16, ROWS = 4 };

static float widened_half(uint16_t h) {
    union { uint32_t u; float f; } v = {.u = (uint32_t)(h & 0x7fffu) << 13}, s;
    s.f = v.f * 0x1p112f;
    s.u |= (uint32_t)(h & 0x8000u) << 16;
    return s.f;
}

/* Inputs [begin, end) of one panel as fp32; what is left of the value is the scale of the epilogue. */
static void widen(const Linear *l, int panel, int begin, int end, float *restrict to) {
    size_t at = ((size_t)panel * l->k_padded + begin) * WIDTH, count = (size_t)(end - begin) * WIDTH;
    switch (l->format) {
    case LINEAR_FP16: {
        const uint16_t *w = (const uint16_t *)l->data + at;
        for (size_t i = 0; i < count; i++) to[i] = widened_half(w[i]);
        break;
    }
    case LINEAR_BF16: {
        const uint16_t *w = (const uint16_t *)l->data + at;
        union { uint32_t u; float f; } v;
        for (size_t i = 0; i < count; i++) v.u = (uint32_t)w[i] << 16, to[i] = v.f;
        break;
    }
    case LINEAR_W8A16: {
        const int8_t *w = (const int8_t *)l->data + at;
        for (size_t i = 0; i < count; i++) to[i] = w[i];
        break;
    }
    case LINEAR_FP8: {
        const uint8_t *w = (const uint8_t *)l->data + at;
        for (size_t i = 0; i < count; i++) to[i] = widened_half((uint16_t)((w[i] & 0x80u) << 8 | (w[i] & 0x7fu) << 7));
        break;
    }
    case LINEAR_W4A16:
        for (int k = begin; k < end; k++) {
            const uint32_t *w = (const uint32_t *)l->data + ((size_t)panel * (l->k_padded / 8) + k / 8) * WIDTH;
            const float *scale = l->scale + ((size_t)panel * (l->k_padded / l->group) + k / l->group) * WIDTH;
            int shift = 28 - 4 * (k % 8);
            for (int c = 0; c < WIDTH; c++)
                to[(size_t)(k - begin) * WIDTH + c] = (float)((int32_t)(w[c] << shift) >> 28) * scale[c];
        }
        break;
    default: memcpy(to, (const float *)l->data + at, count * sizeof(float));
    }
}

static float multiply_add(float a, float b, float c) {
#if defined(__FP_FAST_FMAF)
    return fmaf(a, b, c);
#else
    return a * b + c;
#endif
}

INLINE void tile(const int rows, const float *restrict w, int k, const float *restrict x, size_t ldx,
                 float (*restrict sum)[WIDTH]) {
    float acc[ROWS][WIDTH];
    memcpy(acc, sum, sizeof(float) * WIDTH * rows);
    for (int i = 0; i < k; i++, w += WIDTH)
        for (int r = 0; r < rows; r++)
            for (int c = 0; c < WIDTH; c++) acc[r][c] = multiply_add(x[r * ldx + i], w[c], acc[r][c]);
    memcpy(sum, acc, sizeof(float) * WIDTH * rows);
}

static void run_float(const Linear *l, const float *x, size_t ldx, int m, float *y, size_t ldy, int panel) {
    float block[BLOCK_K * WIDTH], sum[BLOCK_M][WIDTH];
    int first = panel * WIDTH, columns = least(WIDTH, l->n - first);
    int scaled = l->format != LINEAR_W4A16;
    for (int row = 0; row < m; row += BLOCK_M) {
        int rows = least(BLOCK_M, m - row);
        memset(sum, 0, sizeof *sum * rows);
        for (int begin = 0; begin < l->k; begin += BLOCK_K) {
            int end = least(l->k, begin + BLOCK_K), r = 0;
            widen(l, panel, begin, end, block);
            const float *from = x + row * ldx + begin;
            for (; r + ROWS <= rows; r += ROWS) tile(ROWS, block, end - begin, from + r * ldx, ldx, sum + r);
            for (; r < rows; r++) tile(1, block, end - begin, from + r * ldx, ldx, sum + r);
        }
        for (int r = 0; r < rows; r++)
            for (int c = 0; c < columns; c++) {
                float value = scaled ? sum[r][c] * l->scale[first + c] : sum[r][c];
                y[(row + r) * ldy + first + c] = value + l->bias[first + c];
            }
    }
}

static void run_int8(const Linear *l, const char *scratch, int m, float *y, size_t ldy, int panel) {
    size_t stride = linear_stride(l);
    const int8_t *w = (const int8_t *)l->data + (size_t)panel * l->k_padded * WIDTH;
    int first = panel * WIDTH, columns = least(WIDTH, l->n - first);
    for (int r = 0; r < m; r++) {
        const char *row = scratch + r * stride;
        const int8_t *a = (const int8_t *)(row + ROW_HEADER);
        int32_t sum[WIDTH] = {0};
        for (int k = 0; k < l->k; k++)
            for (int c = 0; c < WIDTH; c++) sum[c] += (int16_t)a[k] * (int16_t)w[k * WIDTH + c];
        for (int c = 0; c < columns; c++) {
            float value = (float)sum[c] * l->scale[first + c];
            value = value * *(const float *)row;
            y[r * ldy + first + c] = value + l->bias[first + c];
        }
    }
}

static void quantise(const Linear *l, const float *x, size_t ldx, int begin, int end, void *scratch) {
    size_t stride = linear_stride(l);
    for (int r = begin; r < end; r++) {
        char *row = (char *)scratch + r * stride;
        const float *from = x + r * ldx;
        if (l->format == LINEAR_BF16) {
            float *to = (float *)(row + ROW_HEADER);
            for (int k = 0; k < l->k; k++) to[k] = bf16_rounded(from[k]);
            continue;
        }
        float largest = 0;
        for (int k = 0; k < l->k; k++) largest = fmaxf(largest, fabsf(from[k]));
        float factor = int8_factor(largest, (float *)row);
        int8_t *to = (int8_t *)(row + ROW_HEADER);
        for (int k = 0; k < l->k; k++) {
            float code = rintf(from[k] * factor);
            to[k] = (int8_t)(code > -127.0f ? code < 127.0f ? code : 127.0f : -127.0f);
        }
    }
}

static void run(const Linear *l, const float *x, size_t ldx, const void *scratch, int m, float *y, size_t ldy,
                int n_begin, int n_end) {
    for (int panel = n_begin / WIDTH; panel < parts(n_end, WIDTH); panel++) {
        if (l->format == LINEAR_INT8) run_int8(l, scratch, m, y, ldy, panel);
        else if (l->format == LINEAR_BF16)
            run_float(l, (const float *)((const char *)scratch + ROW_HEADER), linear_stride(l) / sizeof(float), m, y,
                      ldy, panel);
        else run_float(l, x, ldx, m, y, ldy, panel);
    }
}

const LinearKernels linear_portable = {
    .width = WIDTH, .unit_int8 = 1, .unit_bf16 = 1, .int8_bytes = 1, .quantise = quantise, .run = run};
