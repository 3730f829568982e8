/* What linear_avx2.c and linear_avx512.c have in common, around the register tiles that each writes for itself: the tiles
 * differ in how many sums they keep in flight and in how they fetch, and that is what makes them fast.
 *
 * Included after WIDTH (columns of a panel), ROWS and PAIRED_ROWS (rows of a tile over one panel and over two), PREFETCH,
 * ISA and Columns (how a tile is told which columns to write) are defined; linear_run.h follows behind the tiles.
 */
#include "linear_kernels.h"

/* One register tile: rows of x times one panel, or times two neighbours at once (fewer rows: more sums in flight). */
typedef struct {
    const char *weights;
    size_t panel_bytes; /* to the neighbour */
    const float *group_scale;
    size_t group_scale_panel; /* floats to the neighbour's */
    int group;
    const float *x;
    size_t ldx;
    int k;
    float *y;
    size_t ldy;
    const float *scale, *bias;
    Columns columns;    /* that are to be written */
    const char *ahead;  /* weights wanted soon: fetched while this tile computes, */
    size_t ahead_bytes; /* so many per input */
    int first, last;    /* y begins as zero, is finished with scale and bias */
} Tile;

typedef void (*TileFunction)(const Tile *);

typedef struct {
    const char *weights;
    size_t panel_bytes;
    const int32_t *offset; /* read where codes are unsigned */
    const float *scale, *bias;
    const char *scratch;
    size_t stride;
    int k;
    float *y;
    size_t ldy;
    Columns columns;
    const char *ahead;  /* weights wanted soon, */
    size_t ahead_bytes; /* so many per unit of inputs */
} Int8Tile;

typedef void (*Int8TileFunction)(const Int8Tile *);

/* The scale of formats that have none. */
static const float ONES[2 * WIDTH] = {[0 ... 2 * WIDTH - 1] = 1};

static int element_bytes(LinearFormat format) {
    return format == LINEAR_FP32 ? 4 : format == LINEAR_FP16 || format == LINEAR_BF16 ? 2 : 1;
}
