/* The passes over rows that a step and a draw are made of: lanes.h, once per instruction set. */
#include "stack_parts.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#if defined(__x86_64__) || defined(__i386__)
#include <immintrin.h>
#endif

/* Portable: vectors of four floats, in the compiler's own notation. */
typedef float Four __attribute__((vector_size(16)));
typedef int32_t FourInts __attribute__((vector_size(16)));

static inline Four four_load(const float *p) {
    Four v;
    memcpy(&v, p, sizeof v);
    return v;
}
static inline void four_store(float *p, Four v) { memcpy(p, &v, sizeof v); }
static inline Four four_pick(FourInts mask, Four a, Four b) {
    return (Four)((mask & (FourInts)a) | (~mask & (FourInts)b));
}

static float half_to_float(uint16_t half) {
    uint32_t sign = (uint32_t)(half & 0x8000u) << 16, exponent = (half >> 10) & 31u, fraction = half & 1023u, bits;
    if (exponent == 31) {
        bits = sign | 0x7f800000u | fraction << 13;
    } else if (exponent) {
        bits = sign | (exponent + 112) << 23 | fraction << 13;
    } else {
        float small = (float)fraction * 0x1p-24f;
        memcpy(&bits, &small, sizeof bits);
        bits |= sign;
    }
    float value;
    memcpy(&value, &bits, sizeof value);
    return value;
}

static uint16_t float_to_half(float value) {
    uint32_t bits;
    memcpy(&bits, &value, sizeof bits);
    uint32_t sign = bits >> 16 & 0x8000u, size = bits & 0x7fffffffu;
    if (size > 0x7f800000u) return (uint16_t)(sign | 0x7e00u);
    if (size >= 0x477ff000u) return (uint16_t)(sign | 0x7c00u); /* rounds to 65536 or more */
    if (size < 0x38800000u) { /* subnormal: count in 2^-24, rounded to even by the addition */
        float magnitude;
        memcpy(&magnitude, &size, sizeof magnitude);
        return (uint16_t)(sign | (uint32_t)lrintf(magnitude * 0x1p24f));
    }
    return (uint16_t)(sign | ((size + 0xfffu + (size >> 13 & 1u)) - 0x38000000u) >> 13);
}

static inline Four four_load_half(const uint16_t *p) {
    return (Four){half_to_float(p[0]), half_to_float(p[1]), half_to_float(p[2]), half_to_float(p[3])};
}
static inline void four_store_half(uint16_t *p, Four v) {
    for (int i = 0; i < 4; i++) p[i] = float_to_half(v[i]);
}
static inline float sum_portable(Four v) { return (v[0] + v[2]) + (v[1] + v[3]); }
static inline float maximum_portable(Four v) {
    float top = v[0];
    for (int i = 1; i < 4; i++) top = v[i] > top ? v[i] : top;
    return top;
}

#define LANES 4
#define NAMED(name) name##_portable
#define TARGET
#define SCORE_ROWS 2
#define VALUE_ROWS 4
#define VALUE_VECTORS 2
#define V Four
#define V_LOAD(p) four_load(p)
#define V_STORE(p, v) four_store(p, v)
#define V_LOAD_HALF(p) four_load_half(p)
#define V_STORE_HALF(p, v) four_store_half(p, v)
#define V_SET(x) ((Four){(x), (x), (x), (x)})
#define V_FMA(a, b, c) ((a) * (b) + (c))
#define V_ADD(a, b) ((a) + (b))
#define V_SUB(a, b) ((a) - (b))
#define V_MUL(a, b) ((a) * (b))
#define V_DIV(a, b) ((a) / (b))
#define V_MAX(a, b) four_pick((FourInts)((a) > (b)), a, b)
#define V_MIN(a, b) four_pick((FourInts)((a) < (b)), a, b)
#define V_SCALE(y, shifted) ((Four)((FourInts)(y) + ((FourInts)(shifted) << 23)))
#define V_ABOVE(a, b) four_pick((FourInts)((a) <= (b)), V_SET(0.0f), a) /* a where it is above b or NaN, else 0 */
#include "lanes.h"

#if defined(__x86_64__) || defined(__i386__)

#define TARGET __attribute__((target("avx2,fma,f16c")))
TARGET static inline float sum_avx2(__m256 v) {
    __m128 x = _mm_add_ps(_mm256_castps256_ps128(v), _mm256_extractf128_ps(v, 1));
    x = _mm_add_ps(x, _mm_movehl_ps(x, x));
    return _mm_cvtss_f32(_mm_add_ss(x, _mm_movehdup_ps(x)));
}
TARGET static inline float maximum_avx2(__m256 v) {
    __m128 x = _mm_max_ps(_mm256_castps256_ps128(v), _mm256_extractf128_ps(v, 1));
    x = _mm_max_ps(x, _mm_movehl_ps(x, x));
    return _mm_cvtss_f32(_mm_max_ss(x, _mm_movehdup_ps(x)));
}

#define LANES 8
#define NAMED(name) name##_avx2
#define SCORE_ROWS 3
#define VALUE_ROWS 6
#define VALUE_VECTORS 2
#define V __m256
#define V_LOAD(p) _mm256_loadu_ps(p)
#define V_STORE(p, v) _mm256_storeu_ps(p, v)
#define V_LOAD_HALF(p) _mm256_cvtph_ps(_mm_loadu_si128((const __m128i *)(p)))
#define V_STORE_HALF(p, v) _mm_storeu_si128((__m128i *)(p), _mm256_cvtps_ph(v, _MM_FROUND_TO_NEAREST_INT))
#define V_SET(x) _mm256_set1_ps(x)
#define V_FMA(a, b, c) _mm256_fmadd_ps(a, b, c)
#define V_ADD(a, b) _mm256_add_ps(a, b)
#define V_SUB(a, b) _mm256_sub_ps(a, b)
#define V_MUL(a, b) _mm256_mul_ps(a, b)
#define V_DIV(a, b) _mm256_div_ps(a, b)
#define V_MAX(a, b) _mm256_max_ps(a, b)
#define V_MIN(a, b) _mm256_min_ps(a, b)
#define V_SCALE(y, shifted)                                                                                          \
    _mm256_castsi256_ps(                                                                                             \
        _mm256_add_epi32(_mm256_castps_si256(y), _mm256_slli_epi32(_mm256_castps_si256(shifted), 23)))
#define V_ABOVE(a, b) _mm256_and_ps(a, _mm256_cmp_ps(a, b, _CMP_NLE_UQ))
#include "lanes.h"

#define TARGET __attribute__((target("avx512f,avx512bw,avx512vl,avx512dq,avx2,fma,f16c")))
TARGET static inline float sum_avx512(__m512 v) { return _mm512_reduce_add_ps(v); }
TARGET static inline float maximum_avx512(__m512 v) { return _mm512_reduce_max_ps(v); }

#define LANES 16
#define NAMED(name) name##_avx512
#define SCORE_ROWS 8
#define VALUE_ROWS 6
#define VALUE_VECTORS 4
#define V __m512
#define V_LOAD(p) _mm512_loadu_ps(p)
#define V_STORE(p, v) _mm512_storeu_ps(p, v)
#define V_LOAD_HALF(p) _mm512_cvtph_ps(_mm256_loadu_si256((const __m256i *)(p)))
#define V_STORE_HALF(p, v) _mm256_storeu_si256((__m256i *)(p), _mm512_cvtps_ph(v, _MM_FROUND_TO_NEAREST_INT))
#define V_SET(x) _mm512_set1_ps(x)
#define V_FMA(a, b, c) _mm512_fmadd_ps(a, b, c)
#define V_ADD(a, b) _mm512_add_ps(a, b)
#define V_SUB(a, b) _mm512_sub_ps(a, b)
#define V_MUL(a, b) _mm512_mul_ps(a, b)
#define V_DIV(a, b) _mm512_div_ps(a, b)
#define V_MAX(a, b) _mm512_max_ps(a, b)
#define V_MIN(a, b) _mm512_min_ps(a, b)
#define V_SCALE(y, shifted)                                                                                          \
    _mm512_castsi512_ps(                                                                                             \
        _mm512_add_epi32(_mm512_castps_si512(y), _mm512_slli_epi32(_mm512_castps_si512(shifted), 23)))
#define V_ABOVE(a, b) _mm512_maskz_mov_ps(_mm512_cmp_ps_mask(a, b, _CMP_NLE_UQ), a)
#include "lanes.h"

#endif

const struct lanes *stack_lanes_for(LinearIsa isa) {
#if defined(__x86_64__) || defined(__i386__)
    if (isa == LINEAR_AVX512 || isa == LINEAR_AMX) return &table_avx512;
    if (isa == LINEAR_AVX2) return &table_avx2;
#endif
    (void)isa;
    return &table_portable;
}

const DrawKernels *stack_draw_kernels(void) { return &stack_lanes_for(linear_isa())->draw; }

void stack_gate(const float *gate, const float *up, int n, float *out) {
    stack_lanes_for(linear_isa())->gate(gate, up, n, out);
}
