/* The kernels for any processor: vectors of four, which the compiler maps on whatever there is. */
#define ISA
#define KERNELS kernels_portable
enum { WIDTH = 4, TILE_ROWS = 6, TILE_VECTORS = 2 };
#define FMA(a, b, c) ((a) * (b) + (c))
#include "kernels_body.h"
