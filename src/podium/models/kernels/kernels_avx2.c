/* The kernels on AVX2 with FMA. */
#if defined(__x86_64__)
#include <immintrin.h>

#define ISA __attribute__((target("avx2,fma")))
#define KERNELS kernels_avx2
enum { WIDTH = 8, TILE_ROWS = 6, TILE_VECTORS = 2 };
#define FMA(a, b, c) _mm256_fmadd_ps(a, b, c)
#define TRANSPOSE4
#include "kernels_body.h"
#else
typedef int nothing_here;
#endif
