/* Packing, and the choice of kernels at run time; the interface and its contract are in linear.h. */
#define _GNU_SOURCE
#include "linear_kernels.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#if defined(__x86_64__)
#include <cpuid.h>
#include <sys/syscall.h>
#include <unistd.h>
#endif

#define HUGE_PAGE ((size_t)2 << 20)
#define E4M3_MAX 448.0f
#define E4M3_AS_HALF 256.0f /* e4m3 bits put into an fp16's place are the value times 2^-8 */

/* ---- instruction sets ---- */

#if defined(__x86_64__)
/* The kernel gives a process the tiles' registers only when asked. */
static int tiles_granted(void) {
#if defined(__linux__)
    enum { ARCH_REQ_XCOMP_PERM = 0x1023, XFEATURE_XTILEDATA = 18 };
    return syscall(SYS_arch_prctl, ARCH_REQ_XCOMP_PERM, XFEATURE_XTILEDATA) == 0;
#else
    return 0;
#endif
}

static int all_set(unsigned value, unsigned bits) { return (value & bits) == bits; }

/* Asked of the processor itself: __builtin_cpu_supports needs a runtime that not every compiler links. */
static int x86_isa(void) {
    unsigned a, b, c, d, basic, kept, high;
    if (!__get_cpuid(1, &a, &b, &basic, &d) || !__get_cpuid_count(7, 0, &a, &b, &c, &d)) return LINEAR_PORTABLE;
    if (!all_set(basic, bit_FMA | bit_F16C | bit_AVX | bit_OSXSAVE) || !all_set(b, bit_AVX2)) return LINEAR_PORTABLE;
    __asm__("xgetbv" : "=a"(kept), "=d"(high) : "c"(0)); /* registers that the operating system saves */
    if (!all_set(kept, 0x6)) return LINEAR_PORTABLE;
    if (!all_set(kept, 0xe6) || !all_set(b, bit_AVX512F | bit_AVX512BW | bit_AVX512DQ | bit_AVX512VL) ||
        !all_set(c, bit_AVX512VNNI))
        return LINEAR_AVX2;
    enum { AMX_BF16 = 1 << 22, AMX_TILE = 1 << 24, AMX_INT8 = 1 << 25, AVX512_BF16 = 1 << 5 };
    if (!all_set(kept, 3u << 17) || !all_set(d, AMX_BF16 | AMX_TILE | AMX_INT8)) return LINEAR_AVX512;
    if (!__get_cpuid_count(7, 1, &a, &b, &c, &d) || !all_set(a, AVX512_BF16)) return LINEAR_AVX512;
    return tiles_granted() ? LINEAR_AMX : LINEAR_AVX512;
}
#endif

static LinearIsa best_isa(void) {
    static int found = -1; /* written with the same value by whoever comes first */
#if defined(__x86_64__)
    if (found < 0) found = x86_isa();
#else
    found = LINEAR_PORTABLE;
#endif
    return (LinearIsa)found;
}

static int forced_isa = -1;

LinearIsa linear_isa(void) { return forced_isa >= 0 ? (LinearIsa)forced_isa : best_isa(); }

int linear_set_isa(LinearIsa isa) {
    if ((int)isa < 0 || isa > best_isa()) return -1;
    forced_isa = isa;
    return 0;
}

static const LinearKernels *kernels_of(const Linear *l) {
    switch (l->isa) {
#if defined(__x86_64__)
    case LINEAR_AMX: return &linear_amx;
    case LINEAR_AVX512: return &linear_avx512;
    case LINEAR_AVX2: return &linear_avx2;
#endif
    default: return &linear_portable;
    }
}

/* ---- memory ---- */

static int round_up(int value, int multiple) { return (value + multiple - 1) / multiple * multiple; }

static void *zeroed(size_t bytes) {
    size_t alignment = bytes >= HUGE_PAGE ? HUGE_PAGE : 64;
    bytes = (bytes + alignment - 1) / alignment * alignment;
    void *p = aligned_alloc(alignment, bytes);
    if (!p) return NULL;
#if defined(MADV_HUGEPAGE)
    if (alignment == HUGE_PAGE) madvise(p, bytes, MADV_HUGEPAGE); /* fewer TLB misses; without it only slower */
#endif
    return memset(p, 0, bytes);
}

static int unit_of(const Linear *l) {
    if (l->format == LINEAR_INT8) return kernels_of(l)->unit_int8;
    if (l->format == LINEAR_BF16) return kernels_of(l)->unit_bf16;
    return 1;
}

static int padded_outputs(const Linear *l) { return round_up(l->n, LINEAR_PANEL); }

int linear_new(Linear *l, LinearFormat format, int n, int k, int group) {
    memset(l, 0, sizeof *l);
    if (n < 1 || k < 1 || n > (1 << 28) || k > (1 << 24) || (int)format < LINEAR_FP32 || format > LINEAR_BF16) return -1;
    if (format == LINEAR_W4A16 && group != 32 && group != 64) return -1;
    static const float element_bytes[] = {4, 2, 1, 1, 0.5f, 1, 2};
    l->format = format;
    l->isa = linear_isa();
    l->n = n;
    l->k = k;
    l->group = format == LINEAR_W4A16 ? group : k;
    l->k_padded = format == LINEAR_W4A16 ? round_up(k, group)
                  : format == LINEAR_INT8 ? round_up(k, 64)
                  : format == LINEAR_BF16 ? round_up(k, 32)
                                          : k;
    size_t outputs = padded_outputs(l), groups = format == LINEAR_W4A16 ? l->k_padded / group : 1;
    size_t data_bytes = (size_t)(outputs * l->k_padded * element_bytes[format]);
    l->data = zeroed(data_bytes);
    l->scale = zeroed(outputs * groups * sizeof(float));
    l->bias = zeroed(outputs * sizeof(float));
    l->offset = zeroed(outputs * sizeof(int32_t));
    if (!l->data || !l->scale || !l->bias || !l->offset) {
        linear_free(l);
        return -1;
    }
    for (size_t i = 0; i < outputs * groups; i++) l->scale[i] = 1.0f;
    l->bytes = data_bytes + outputs * groups * sizeof(float) + outputs * (sizeof(float) + sizeof(int32_t));
    return 0;
}

void linear_free(Linear *l) {
    free(l->data);
    free(l->scale);
    free(l->bias);
    free(l->offset);
    memset(l, 0, sizeof *l);
}

/* ---- rounding (to nearest, ties to even; too large values become the largest) ---- */

static uint16_t half_from(float x) {
    union { float f; uint32_t u; } v = {.f = x};
    uint16_t sign = (uint16_t)(v.u >> 16 & 0x8000u);
    float size = fabsf(x);
    if (!(size < 65504.0f)) return sign | (size != size ? 0x7e00u : 0x7bffu);
    if (size < 0x1p-14f) return sign | (uint16_t)lrintf(size * 0x1p24f);
    uint32_t u = v.u & 0x7fffffffu;
    u += 0xfffu + (u >> 13 & 1u);
    return sign | (uint16_t)((u >> 13) - (112u << 10));
}

static uint8_t e4m3_from(float x) {
    union { float f; uint32_t u; } v = {.f = x};
    uint8_t sign = (uint8_t)(v.u >> 24 & 0x80u);
    float size = fabsf(x);
    if (!(size < E4M3_MAX)) return sign | 0x7eu;
    if (size < 0x1p-6f) return sign | (uint8_t)lrintf(size * 0x1p9f);
    uint32_t u = v.u & 0x7fffffffu;
    u += 0x7ffffu + (u >> 20 & 1u);
    return sign | (uint8_t)((u >> 20) - (120u << 3));
}

static long clamp(long value, long low, long high) { return value < low ? low : value > high ? high : value; }

/* ---- packing ---- */

static size_t place(const Linear *l, int output, int input) {
    size_t width = kernels_of(l)->width, unit = unit_of(l);
    return ((output / width * (l->k_padded / unit) + input / unit) * width + output % width) * unit + input % unit;
}

/* Steps from one input to the next change only where a unit ends, so a row is written with two strides. */
#define SCATTER(TYPE, EXPRESSION)                                                                                      \
    do {                                                                                                               \
        size_t unit = unit_of(l), leap = kernels_of(l)->width * unit - unit + 1, inside = 0;                           \
        TYPE *to = (TYPE *)l->data + place(l, output, 0);                                                              \
        for (int i = 0; i < l->k; i++) {                                                                               \
            *to = (TYPE)(EXPRESSION);                                                                                  \
            if (++inside == unit) to += leap, inside = 0;                                                              \
            else to++;                                                                                                 \
        }                                                                                                              \
    } while (0)

static void put_nibble(Linear *l, int output, int input, int code) {
    int width = kernels_of(l)->width;
    size_t at = ((size_t)(output / width) * (l->k_padded / 8) + input / 8) * width + output % width;
    uint32_t shift = 4u * (input % 8), *word = (uint32_t *)l->data + at;
    *word = (*word & ~(15u << shift)) | ((uint32_t)code & 15u) << shift;
}

static void put_scale4(Linear *l, int output, int group, float scale) {
    int width = kernels_of(l)->width, groups = l->k_padded / l->group;
    l->scale[((size_t)(output / width) * groups + group) * width + output % width] = scale;
}

static void fill_int8(Linear *l, int output, const int8_t *codes, float scale) {
    SCATTER(int8_t, codes[i]);
    int32_t sum = 0;
    for (int i = 0; i < l->k; i++) sum += codes[i];
    l->offset[output] = -128 * sum;
    l->scale[output] = scale;
}

static float largest_of(const float *x, int count) {
    float largest = 0;
    for (int i = 0; i < count; i++) largest = fmaxf(largest, fabsf(x[i]));
    return largest;
}

static void fill_row(Linear *l, int output, const float *w) {
    switch (l->format) {
    case LINEAR_FP32: SCATTER(float, w[i]); break;
    case LINEAR_FP16: SCATTER(uint16_t, half_from(w[i])); break;
    case LINEAR_BF16: {
        union { float f; uint32_t u; } v;
        SCATTER(uint16_t, (v.f = bf16_rounded(w[i]), v.u >> 16));
        break;
    }
    case LINEAR_INT8:
    case LINEAR_W8A16: {
        float factor = int8_factor(largest_of(w, l->k), &l->scale[output]);
        int32_t sum = 0;
        long code;
        SCATTER(int8_t, (code = clamp(lrintf(w[i] * factor), -127, 127), sum += (int32_t)code, code));
        l->offset[output] = -128 * sum;
        break;
    }
    case LINEAR_FP8: {
        float largest = largest_of(w, l->k), scale = largest < 1e-30f ? 1.0f : largest / E4M3_MAX;
        SCATTER(uint8_t, e4m3_from(w[i] / scale));
        l->scale[output] = scale * E4M3_AS_HALF;
        break;
    }
    case LINEAR_W4A16:
        for (int group = 0; group * l->group < l->k; group++) {
            int begin = group * l->group, end = least(l->k, begin + l->group);
            float extreme = 0; /* takes code -8, so that all sixteen codes are of use */
            for (int i = begin; i < end; i++)
                if (fabsf(w[i]) > fabsf(extreme)) extreme = w[i];
            float scale = fabsf(extreme) < 1e-30f ? 1.0f : extreme / -8.0f;
            for (int i = begin; i < end; i++) put_nibble(l, output, i, (int)clamp(lrintf(w[i] / scale), -8, 7));
            put_scale4(l, output, group, scale);
        }
        break;
    }
}

void linear_fill(Linear *l, int begin, int rows, const float *weight, const float *bias) {
    for (int r = 0; r < rows; r++) {
        fill_row(l, begin + r, weight + (size_t)r * l->k);
        l->bias[begin + r] = bias ? bias[r] : 0.0f;
    }
}

void linear_fill_codes(Linear *l, int begin, int rows, const int8_t *codes, const float *scale, const float *bias) {
    int groups = parts(l->k, l->group);
    for (int r = 0; r < rows; r++) {
        int output = begin + r;
        const int8_t *row = codes + (size_t)r * l->k;
        const float *scales = scale + (size_t)r * groups;
        if (l->format == LINEAR_W4A16) {
            for (int i = 0; i < l->k; i++) put_nibble(l, output, i, row[i]);
            for (int group = 0; group < groups; group++) put_scale4(l, output, group, scales[group]);
        } else {
            fill_int8(l, output, row, l->format == LINEAR_FP8 ? scales[0] * E4M3_AS_HALF : scales[0]);
        }
        l->bias[output] = bias ? bias[r] : 0.0f;
    }
}

int linear_pack(Linear *l, LinearFormat format, int n, int k, int group, const float *weight, const float *bias) {
    if (linear_new(l, format, n, k, group)) return -1;
    linear_fill(l, 0, n, weight, bias);
    return 0;
}

/* ---- running ---- */

size_t linear_stride(const Linear *l) {
    size_t code = l->format == LINEAR_INT8 ? kernels_of(l)->int8_bytes : unit_of(l) == 2 ? 2 : 4;
    return ROW_HEADER + ((size_t)l->k_padded * code + 63) / 64 * 64;
}

size_t linear_scratch(const Linear *l, int m) {
    return l->format == LINEAR_INT8 || l->format == LINEAR_BF16 ? m * linear_stride(l) : 0;
}

void linear_quantise(const Linear *l, const float *x, size_t ldx, int begin, int end, void *scratch) {
    if (l->format == LINEAR_INT8 || l->format == LINEAR_BF16) kernels_of(l)->quantise(l, x, ldx, begin, end, scratch);
}

void linear_run(const Linear *l, const float *x, size_t ldx, const void *scratch, int m, float *y, size_t ldy,
                int n_begin, int n_end) {
    kernels_of(l)->run(l, x, ldx, scratch, m, y, ldy, n_begin, n_end);
}
