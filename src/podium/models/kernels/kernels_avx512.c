/* The kernels on AVX-512. */
#if defined(__x86_64__)
#include <immintrin.h>

#define ISA __attribute__((target("avx512f,avx512bw,avx512dq,avx512vl,avx2,fma")))
#define KERNELS kernels_avx512
enum { WIDTH = 16, TILE_ROWS = 6, TILE_VECTORS = 4 };
#define FMA(a, b, c) _mm512_fmadd_ps(a, b, c)
#define TILE_OF_FOUR
#define TRANSPOSE4
#include "kernels_body.h"
#else
typedef int nothing_here;
#endif
