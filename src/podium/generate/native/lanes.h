/* What is done to single rows between the matrix products: norms, rotation, gates, and attention over cache blocks.

   Included by stack.c once per instruction set, with these defined: LANES (floats per vector), NAMED(name), V and the
   V_... operations, SCORE_ROWS and VALUE_ROWS (rows that share a loaded vector), VALUE_VECTORS.

   The contract of every function here: what is computed for a row is the same sequence of roundings whatever rows
   stand beside it. So each row has accumulators of its own, walked in the order of the positions, products are fused
   multiply-adds by name and never left to the compiler's taste. NaN goes through: maxima ignore it, exponentials keep
   it.

   A block of keys is [head_dim][BLOCK] (transposed: 32 scores come from head_dim multiply-adds without a sum across
   lanes), a block of values is [BLOCK][padded head_dim]. */

#define INLINE TARGET static inline __attribute__((always_inline))
#define BLOCK_VECTORS (BLOCK / LANES)

/* Cephes' expf, for -86.6 <= x <= 88 (clamped): within 1e-7 of the value. */
INLINE V NAMED(exponential)(V x) {
    x = V_MIN(V_SET(88.0f), V_MAX(V_SET(-86.6f), x)); /* a NaN in the second place is what MIN and MAX return */
    V shifted = V_FMA(x, V_SET(1.44269504088896341f), V_SET(12582912.0f));
    V whole = V_SUB(shifted, V_SET(12582912.0f));
    V r = V_FMA(whole, V_SET(-0.693359375f), x);
    r = V_FMA(whole, V_SET(2.12194440e-4f), r);
    V y = V_FMA(V_SET(1.9875691500e-4f), r, V_SET(1.3981999507e-3f));
    y = V_FMA(y, r, V_SET(8.3334519073e-3f));
    y = V_FMA(y, r, V_SET(4.1665795894e-2f));
    y = V_FMA(y, r, V_SET(1.6666665459e-1f));
    y = V_FMA(y, r, V_SET(5.0000001201e-1f));
    y = V_ADD(V_FMA(y, V_MUL(r, r), r), V_SET(1.0f));
    return V_SCALE(y, shifted); /* times 2^whole: the low bits of `shifted` hold the exponent */
}

/* out = x / sqrt(mean(x^2) + eps) * weight over n floats; out may be x */
TARGET static void NAMED(rms_norm)(const float *x, const float *weight, float eps, int n, float *out) {
    V s0 = V_SET(0.0f), s1 = s0, s2 = s0, s3 = s0;
    int i = 0;
    for (; i + 4 * LANES <= n; i += 4 * LANES) {
        V a = V_LOAD(x + i), b = V_LOAD(x + i + LANES), c = V_LOAD(x + i + 2 * LANES), d = V_LOAD(x + i + 3 * LANES);
        s0 = V_FMA(a, a, s0);
        s1 = V_FMA(b, b, s1);
        s2 = V_FMA(c, c, s2);
        s3 = V_FMA(d, d, s3);
    }
    for (; i + LANES <= n; i += LANES) {
        V a = V_LOAD(x + i);
        s0 = V_FMA(a, a, s0);
    }
    float sum = NAMED(sum)(V_ADD(V_ADD(s0, s1), V_ADD(s2, s3)));
    for (; i < n; i++) sum += x[i] * x[i];
    float scale = 1.0f / sqrtf(sum / (float)n + eps);
    V wide = V_SET(scale);
    for (i = 0; i + LANES <= n; i += LANES)
        V_STORE(out + i, V_MUL(V_MUL(V_LOAD(x + i), wide), V_LOAD(weight + i)));
    for (; i < n; i++) out[i] = x[i] * scale * weight[i];
}

/* Turn the pairs (x[i], x[i + half]) by the angles whose cosines and sines are given. */
TARGET static void NAMED(rotate)(float *x, const float *cosine, const float *sine, int half) {
    int i = 0;
    for (; i + LANES <= half; i += LANES) {
        V a = V_LOAD(x + i), b = V_LOAD(x + half + i), c = V_LOAD(cosine + i), s = V_LOAD(sine + i);
        V_STORE(x + i, V_SUB(V_MUL(a, c), V_MUL(b, s)));
        V_STORE(x + half + i, V_ADD(V_MUL(a, s), V_MUL(b, c)));
    }
    for (; i < half; i++) {
        float a = x[i], b = x[half + i];
        x[i] = a * cosine[i] - b * sine[i];
        x[half + i] = a * sine[i] + b * cosine[i];
    }
}

/* out = gate / (1 + exp(-gate)) * up over n floats; out may be gate */
TARGET static void NAMED(gate)(const float *gate, const float *up, int n, float *out) {
    V one = V_SET(1.0f), zero = V_SET(0.0f);
    int i = 0;
    for (; i + LANES <= n; i += LANES) {
        V g = V_LOAD(gate + i);
        V_STORE(out + i, V_MUL(V_DIV(g, V_ADD(one, NAMED(exponential)(V_SUB(zero, g)))), V_LOAD(up + i)));
    }
    if (i < n) {
        float g[LANES] = {0}, u[LANES] = {0};
        memcpy(g, gate + i, (size_t)(n - i) * sizeof(float));
        memcpy(u, up + i, (size_t)(n - i) * sizeof(float));
        V wide = V_LOAD(g);
        V_STORE(g, V_MUL(V_DIV(wide, V_ADD(one, NAMED(exponential)(V_SUB(zero, wide)))), V_LOAD(u)));
        memcpy(out + i, g, (size_t)(n - i) * sizeof(float));
    }
}

/* to += x over n floats */
TARGET static void NAMED(add)(float *to, const float *x, int n) {
    int i = 0;
    for (; i + LANES <= n; i += LANES) V_STORE(to + i, V_ADD(V_LOAD(to + i), V_LOAD(x + i)));
    for (; i < n; i++) to[i] += x[i];
}

/* n floats from halves */
TARGET static void NAMED(widen)(const uint16_t *x, int n, float *out) {
    int i = 0;
    for (; i + LANES <= n; i += LANES) V_STORE(out + i, V_LOAD_HALF(x + i));
    if (i < n) {
        uint16_t rest[LANES] = {0};
        float wide[LANES];
        memcpy(rest, x + i, (size_t)(n - i) * sizeof(uint16_t));
        V_STORE(wide, V_LOAD_HALF(rest));
        memcpy(out + i, wide, (size_t)(n - i) * sizeof(float));
    }
}

/* One position's key (down a column of its block) and value (along a row of it); size is head_dim. */
TARGET static void NAMED(remember)(const float *key, const float *value, int size, int padded, int place, int half,
                                   void *keys, void *values) {
    if (!half) {
        float *k = (float *)keys + place, *v = (float *)values + (size_t)place * padded;
        for (int i = 0; i < size; i++) k[(size_t)i * BLOCK] = key[i];
        memcpy(v, value, (size_t)size * sizeof(float));
        return;
    }
    uint16_t narrow[MAX_HEAD_DIM + LANES];
    float wide[MAX_HEAD_DIM + LANES];
    memset(wide + size, 0, LANES * sizeof(float));
    memcpy(wide, key, (size_t)size * sizeof(float));
    for (int i = 0; i < size; i += LANES) V_STORE_HALF(narrow + i, V_LOAD(wide + i));
    uint16_t *k = (uint16_t *)keys + place;
    for (int i = 0; i < size; i++) k[(size_t)i * BLOCK] = narrow[i];
    memcpy(wide, value, (size_t)size * sizeof(float));
    for (int i = 0; i < size; i += LANES) V_STORE_HALF(narrow + i, V_LOAD(wide + i));
    memcpy((uint16_t *)values + (size_t)place * padded, narrow, (size_t)size * sizeof(uint16_t));
}

INLINE V NAMED(stored)(const void *base, size_t index, int half) {
    return half ? V_LOAD_HALF((const uint16_t *)base + index) : V_LOAD((const float *)base + index);
}

/* scores[r][j] = sum over i of q[r][i] * key[i][j], i ascending, for `rows` rows */
INLINE void NAMED(score_rows)(const float *q, int stride, int size, const void *keys, int half, float *scores,
                              const int rows) {
    V sums[SCORE_ROWS][BLOCK_VECTORS];
#pragma GCC unroll 8
    for (int r = 0; r < rows; r++)
#pragma GCC unroll 8
        for (int j = 0; j < BLOCK_VECTORS; j++) sums[r][j] = V_SET(0.0f);
    for (int i = 0; i < size; i++) {
        V key[BLOCK_VECTORS];
#pragma GCC unroll 8
        for (int j = 0; j < BLOCK_VECTORS; j++) key[j] = NAMED(stored)(keys, (size_t)i * BLOCK + j * LANES, half);
#pragma GCC unroll 8
        for (int r = 0; r < rows; r++) {
            V x = V_SET(q[(size_t)r * stride + i]);
#pragma GCC unroll 8
            for (int j = 0; j < BLOCK_VECTORS; j++) sums[r][j] = V_FMA(x, key[j], sums[r][j]);
        }
    }
#pragma GCC unroll 8
    for (int r = 0; r < rows; r++)
#pragma GCC unroll 8
        for (int j = 0; j < BLOCK_VECTORS; j++) V_STORE(scores + r * BLOCK + j * LANES, sums[r][j]);
}

/* mixed[r][c..] += sum over first <= j < seen of weights[r][j] * value[j][c..], j ascending, for `vectors` vectors of
   columns */
INLINE void NAMED(mix_rows)(const float *weights, int first, int seen, const void *values, int half, float *mixed, int padded,
                            const int rows, const int vectors) {
    V sums[VALUE_ROWS][VALUE_VECTORS];
#pragma GCC unroll 8
    for (int r = 0; r < rows; r++)
#pragma GCC unroll 8
        for (int c = 0; c < vectors; c++) sums[r][c] = V_LOAD(mixed + (size_t)r * padded + c * LANES);
    for (int j = first; j < seen; j++) {
        V value[VALUE_VECTORS];
#pragma GCC unroll 8
        for (int c = 0; c < vectors; c++) value[c] = NAMED(stored)(values, (size_t)j * padded + c * LANES, half);
#pragma GCC unroll 8
        for (int r = 0; r < rows; r++) {
            V x = V_SET(weights[r * BLOCK + j]);
#pragma GCC unroll 8
            for (int c = 0; c < vectors; c++) sums[r][c] = V_FMA(x, value[c], sums[r][c]);
        }
    }
#pragma GCC unroll 8
    for (int r = 0; r < rows; r++)
#pragma GCC unroll 8
        for (int c = 0; c < vectors; c++) V_STORE(mixed + (size_t)r * padded + c * LANES, sums[r][c]);
}

/* Every count of rows gets code of its own: the accumulators must be registers. */
#define SCORE_CASE(n)                                                                                                 \
    case n:                                                                                                           \
        if (n <= SCORE_ROWS) NAMED(score_rows)(q, stride, size, keys, half, scores, n <= SCORE_ROWS ? n : 1);         \
        break;
#define MIX_CASE(n)                                                                                                   \
    case n:                                                                                                           \
        if (n <= VALUE_ROWS)                                                                                          \
            NAMED(mix_rows)(weights, first, seen, values, half, mixed, padded, n <= VALUE_ROWS ? n : 1, vectors);     \
        break;

INLINE void NAMED(score_some)(const float *q, int stride, int size, const void *keys, int half, float *scores,
                              int rows) {
    switch (rows) {
        SCORE_CASE(1) SCORE_CASE(2) SCORE_CASE(3) SCORE_CASE(4) SCORE_CASE(5) SCORE_CASE(6) SCORE_CASE(7) SCORE_CASE(8)
    }
}

INLINE void NAMED(mix_some)(const float *weights, int first, int seen, const void *values, int half, float *mixed,
                            int padded, int rows, const int vectors) {
    switch (rows) { MIX_CASE(1) MIX_CASE(2) MIX_CASE(3) MIX_CASE(4) MIX_CASE(5) MIX_CASE(6) }
}

/* How many of `rows` to take next, so that the parts are about equal. */
static inline int NAMED(part)(int rows, int most) {
    int parts = (rows + most - 1) / most;
    return (rows + parts - 1) / parts;
}

/* Online softmax over one block of which the positions [first, seen) are visible to all of `rows` rows. Per row: the
   largest score so far, LANES partial sums of the exponentials, and the mixed values [padded]. */
INLINE void NAMED(attend)(const float *q, int rows, int size, int padded, const void *keys, const void *values,
                          int first, int seen, int half, float *scores, float *largest, float *totals, float *mixed) {
    for (int r = 0; r < rows;) {
        int n = NAMED(part)(rows - r, SCORE_ROWS);
        NAMED(score_some)(q + (size_t)r * padded, padded, size, keys, half, scores + r * BLOCK, n);
        r += n;
    }
    for (int r = 0; r < rows; r++) {
        float *row = scores + r * BLOCK;
        for (int j = seen; j < BLOCK; j++) row[j] = -INFINITY; /* not visible, and perhaps never written */
        for (int j = 0; j < first; j++) row[j] = -INFINITY;    /* before the window */
        V high = V_SET(largest[r]);
        for (int j = 0; j < BLOCK; j += LANES) high = V_MAX(V_LOAD(row + j), high);
        float top = NAMED(maximum)(high);
        V total = V_LOAD(totals + r * LANES);
        if (top > largest[r]) {
            V shrink = NAMED(exponential)(V_SET(largest[r] - top));
            if (largest[r] == -INFINITY) shrink = V_SET(0.0f);
            largest[r] = top;
            total = V_MUL(total, shrink);
            float *sums = mixed + (size_t)r * padded;
            for (int c = 0; c < padded; c += LANES) V_STORE(sums + c, V_MUL(V_LOAD(sums + c), shrink));
        }
        V offset = V_SET(top);
        for (int j = 0; j < BLOCK; j += LANES)
            V_STORE(row + j, NAMED(exponential)(V_SUB(V_LOAD(row + j), offset)));
        for (int j = seen; j < BLOCK; j++) row[j] = 0.0f;
        for (int j = 0; j < first; j++) row[j] = 0.0f;
        for (int j = 0; j < BLOCK; j += LANES) total = V_ADD(total, V_LOAD(row + j));
        V_STORE(totals + r * LANES, total);
    }
    for (int r = 0; r < rows;) {
        int n = NAMED(part)(rows - r, VALUE_ROWS), c = 0;
        const float *weights = scores + r * BLOCK;
        float *sums = mixed + (size_t)r * padded;
        size_t width = half ? sizeof(uint16_t) : sizeof(float);
#define MIX(count)                                                                                                    \
    for (; c + (count) * LANES <= padded; c += (count) * LANES)                                                       \
        NAMED(mix_some)(weights, first, seen, (const char *)values + c * width, half, sums + c, padded, n, count);
        MIX(VALUE_VECTORS)
        MIX(1)
#undef MIX
        r += n;
    }
}

TARGET static void NAMED(attend_single)(const float *q, int rows, int size, int padded, const void *keys,
                                        const void *values, int first, int seen, float *scores, float *largest,
                                        float *totals, float *mixed) {
    NAMED(attend)(q, rows, size, padded, keys, values, first, seen, 0, scores, largest, totals, mixed);
}

TARGET static void NAMED(attend_half)(const float *q, int rows, int size, int padded, const void *keys,
                                      const void *values, int first, int seen, float *scores, float *largest,
                                      float *totals, float *mixed) {
    NAMED(attend)(q, rows, size, padded, keys, values, first, seen, 1, scores, largest, totals, mixed);
}

/* The mixed values over the sum of the exponentials. */
TARGET static void NAMED(finish)(const float *totals, const float *mixed, int size, float *out) {
    float scale = 1.0f / NAMED(sum)(V_LOAD(totals));
    for (int i = 0; i < size; i++) out[i] = mixed[i] * scale;
}

/* The passes over a row of logits that draw.h asks for. */
TARGET static float NAMED(largest)(const float *x, int n, int *part) {
    float best = -INFINITY;
    *part = 0;
    for (int begin = 0; begin < n; begin += DRAW_PART) {
        int end = begin + DRAW_PART < n ? begin + DRAW_PART : n, i = begin;
        V top = V_SET(-INFINITY);
        for (; i + LANES <= end; i += LANES) top = V_MAX(V_LOAD(x + i), top);
        float most = NAMED(maximum)(top);
        for (; i < end; i++) most = x[i] > most ? x[i] : most;
        if (most > best) {
            best = most;
            *part = begin / DRAW_PART;
        }
    }
    return best;
}

TARGET static void NAMED(weigh)(const float *x, int n, float largest, float scale, float *weights, double *ends) {
    V top = V_SET(largest), times = V_SET(scale), tiny = V_SET(1e-37f);
    double sum = 0.0;
    for (int begin = 0; begin < n; begin += DRAW_PART) {
        V total = V_SET(0.0f);
        for (int i = begin; i < begin + DRAW_PART; i += LANES) {
            V value;
            if (i + LANES <= n) {
                value = V_LOAD(x + i);
            } else {
                float rest[LANES];
                for (int j = 0; j < LANES; j++) rest[j] = i + j < n ? x[i + j] : -INFINITY;
                value = V_LOAD(rest);
            }
            value = V_ABOVE(NAMED(exponential)(V_MUL(V_SUB(value, top), times)), tiny);
            V_STORE(weights + i, value);
            total = V_ADD(total, value);
        }
        ends[begin / DRAW_PART] = sum += (double)NAMED(sum)(total);
    }
}

TARGET static double NAMED(above)(const float *weights, int n, float least) {
    V limit = V_SET(least);
    double sum = 0.0;
    for (int begin = 0; begin < n; begin += DRAW_PART) {
        V total = V_SET(0.0f);
        for (int i = begin; i < begin + DRAW_PART; i += LANES) total = V_ADD(total, V_ABOVE(V_LOAD(weights + i), limit));
        sum += (double)NAMED(sum)(total);
    }
    return sum;
}

static const struct lanes NAMED(table) = {
    LANES, {NAMED(largest), NAMED(weigh), NAMED(above)}, NAMED(rms_norm), NAMED(rotate), NAMED(gate), NAMED(add), NAMED(widen), NAMED(remember),
    NAMED(attend_single), NAMED(attend_half), NAMED(finish),
};

#undef SCORE_CASE
#undef MIX_CASE
#undef INLINE
#undef BLOCK_VECTORS
#undef LANES
#undef NAMED
#undef TARGET
#undef SCORE_ROWS
#undef VALUE_ROWS
#undef VALUE_VECTORS
#undef V
#undef V_LOAD
#undef V_STORE
#undef V_LOAD_HALF
#undef V_STORE_HALF
#undef V_SET
#undef V_FMA
#undef V_ADD
#undef V_SUB
#undef V_MUL
#undef V_DIV
#undef V_MAX
#undef V_MIN
#undef V_SCALE
#undef V_ABOVE
