/* What kernels.c and the files of one instruction set share; not for others. */
#ifndef PODIUM_KERNELS_ISA_H
#define PODIUM_KERNELS_ISA_H

#include "kernels.h"

enum { QUERIES = 60 /* of a document, computed together: their scores stay in the cache */, LONGEST_VECTOR = 16 };

/* The parts of each job that one thread does at a time: rows, or (document, head of keys) pairs. */
typedef struct {
    void (*norm_forward)(const Norm *, int begin, int end);
    void (*norm_backward)(const NormGradient *, int begin, int end); /* [begin, end) is one chunk */
    void (*gated_forward)(const Gated *, int begin, int end);
    void (*gated_backward)(const Gated *, int begin, int end);
    void (*attention_forward)(const Attention *, int pair, float *scratch);
    void (*attention_backward)(const Attention *, int pair, float *scratch);
} Kernels;

extern const Kernels kernels_portable;
#if defined(__x86_64__)
extern const Kernels kernels_avx2, kernels_avx512;
#endif

static inline int least(int a, int b) { return a < b ? a : b; }
static inline int up_to(int whole, int part) { return (whole + part - 1) / part * part; }

#endif
