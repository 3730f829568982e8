/* The kernels, written once for vectors of WIDTH floats; included by the file of each instruction set, which defines
 * ISA, KERNELS, WIDTH, TILE_ROWS, TILE_VECTORS, FMA(a, b, c) = a b + c, and TRANSPOSE4 where x86 can do it. */
#include "kernels_isa.h"

#include <math.h>
#include <string.h>

#define FN static inline __attribute__((always_inline)) ISA

typedef float V __attribute__((vector_size(4 * WIDTH)));
typedef int32_t VI __attribute__((vector_size(4 * WIDTH)));
typedef float AnyV __attribute__((vector_size(4 * WIDTH), aligned(4), may_alias));

FN V splat(float x) { return x - (V){0}; }
FN V load(const float *p) { return *(const AnyV *)p; }
FN void store(float *p, V v) { *(AnyV *)p = v; }
/* The first n of a vector; the rest is 0. */
FN V load_some(const float *p, int n) {
    V v = {0};
    memcpy(&v, p, sizeof(float) * (size_t)n);
    return v;
}
FN void store_some(float *p, V v, int n) { memcpy(p, &v, sizeof(float) * (size_t)n); }
FN V choose(VI where, V yes, V no) { return (V)((where & (VI)yes) | (~where & (VI)no)); }

FN float sum_of(V v) {
    float lanes[WIDTH];
    memcpy(lanes, &v, sizeof v);
    for (int half = WIDTH / 2; half; half /= 2)
        for (int i = 0; i < half; i++) lanes[i] += lanes[i + half];
    return lanes[0];
}
FN float largest_of(V v) {
    float lanes[WIDTH];
    memcpy(lanes, &v, sizeof v);
    for (int i = 1; i < WIDTH; i++) lanes[0] = lanes[i] > lanes[0] ? lanes[i] : lanes[0];
    return lanes[0];
}

/* e^x within 2 units in the last place: e^x = 2^n e^r, |r| <= ln 2 / 2, polynomial of Cephes' expf. Below -87.3
 * it is 0, above 88.3 it stays finite; NaN stays NaN. */
FN V exponential(V x) {
    const V low = splat(-87.3f), high = splat(88.3f);
    const VI tiny = x < low;
    x = choose(x > high, high, choose(tiny, low, x));
    const V shift = splat(12582912.0f); /* 1.5 * 2^23: adding it rounds to an integer, kept in the low bits */
    const V shifted = FMA(x, splat(1.44269504f), shift);
    const V n = shifted - shift;
    V r = FMA(n, splat(-0.693359375f), x);
    r = FMA(n, splat(2.12194440e-4f), r);
    V p = splat(1.9875691500e-4f);
    p = FMA(p, r, splat(1.3981999507e-3f));
    p = FMA(p, r, splat(8.3334519073e-3f));
    p = FMA(p, r, splat(4.1665795894e-2f));
    p = FMA(p, r, splat(1.6666665459e-1f));
    p = FMA(p, r, splat(5.0000001201e-1f));
    p = FMA(p, r * r, r + splat(1.0f));
    const VI power = (((VI)shifted - (VI)shift) + 127) << 23;
    return (V)(~tiny & (VI)(p * (V)power));
}

/* ---- normalisation ------------------------------------------------------------------------------------------------ */

static ISA void norm_forward_rows(const Norm *task, int begin, int end) {
    const Norm n = *task;
    const int whole = n.size / WIDTH * WIDTH, rest = n.size - whole;
    for (int row = begin; row < end; row++) {
        const float *x = n.x + (size_t)row * n.x_stride;
        V squares[4] = {{0}};
        if (n.branch) {
            const float *branch = n.branch + (size_t)row * n.branch_stride;
            float *total = n.total + (size_t)row * (size_t)n.size;
            for (int i = 0; i < whole; i += WIDTH) store(total + i, load(x + i) + load(branch + i));
            if (rest) store_some(total + whole, load_some(x + whole, rest) + load_some(branch + whole, rest), rest);
            x = total;
        }
        int i = 0;
        for (; i + 4 * WIDTH <= whole; i += 4 * WIDTH)
            for (int j = 0; j < 4; j++) squares[j] = FMA(load(x + i + j * WIDTH), load(x + i + j * WIDTH), squares[j]);
        for (; i < whole; i += WIDTH) squares[0] = FMA(load(x + i), load(x + i), squares[0]);
        if (rest) squares[1] = FMA(load_some(x + whole, rest), load_some(x + whole, rest), squares[1]);
        const float sum = sum_of((squares[0] + squares[1]) + (squares[2] + squares[3]));
        const float scale = 1.0f / sqrtf(sum / (float)n.size + n.eps);
        n.scale[row] = scale;
        float *out = n.out + (size_t)row * (size_t)n.size;
        for (i = 0; i < whole; i += WIDTH) store(out + i, load(x + i) * splat(scale) * load(n.weight + i));
        if (rest)
            store_some(out + whole, load_some(x + whole, rest) * splat(scale) * load_some(n.weight + whole, rest), rest);
    }
}

static ISA void norm_backward_rows(const NormGradient *task, int begin, int end) {
    const NormGradient n = *task;
    const int whole = n.size / WIDTH * WIDTH, rest = n.size - whole;
    float *partial = n.partial + (size_t)(begin / NORM_CHUNK) * (size_t)n.size;
    memset(partial, 0, sizeof(float) * (size_t)n.size);
    for (int row = begin; row < end; row++) {
        const float *x = n.x + (size_t)row * n.x_stride, *grad = n.grad + (size_t)row * n.grad_stride;
        const V scale = splat(n.scale[row]);
        V sums[2] = {{0}};
        for (int i = 0; i < whole; i += WIDTH) {
            const V product = load(grad + i) * load(x + i);
            sums[i / WIDTH % 2] = FMA(product, load(n.weight + i), sums[i / WIDTH % 2]);
            store(partial + i, FMA(product, scale, load(partial + i)));
        }
        if (rest) {
            const V product = load_some(grad + whole, rest) * load_some(x + whole, rest);
            sums[0] = FMA(product, load_some(n.weight + whole, rest), sums[0]);
            store_some(partial + whole, FMA(product, scale, load_some(partial + whole, rest)), rest);
        }
        /* Along x the output does not grow: that part of the gradient is taken out. */
        const float s = n.scale[row];
        const V along = splat(-sum_of(sums[0] + sums[1]) * s * s * s / (float)n.size);
        const float *more = n.grad_total ? n.grad_total + (size_t)row * n.grad_total_stride : NULL;
        float *out = n.grad_x + (size_t)row * (size_t)n.size;
        for (int i = 0; i < whole; i += WIDTH) {
            const V mine = FMA(load(x + i), along, load(grad + i) * load(n.weight + i) * scale);
            store(out + i, more ? mine + load(more + i) : mine);
        }
        if (rest) {
            V mine = load_some(grad + whole, rest) * load_some(n.weight + whole, rest) * scale;
            mine = FMA(load_some(x + whole, rest), along, mine);
            store_some(out + whole, more ? mine + load_some(more + whole, rest) : mine, rest);
        }
    }
}

/* ---- the gate ------------------------------------------------------------------------------------------------------ */

FN V sigmoid(V x) { return splat(1.0f) / (splat(1.0f) + exponential(-x)); }

static ISA void gated_forward_rows(const Gated *task, int begin, int end) {
    const Gated g = *task;
    const int whole = g.size / WIDTH * WIDTH, rest = g.size - whole;
    for (int row = begin; row < end; row++) {
        const float *gate = g.both + (size_t)row * g.both_stride, *up = gate + g.size;
        float *inner = g.inner + (size_t)row * g.inner_stride;
        for (int i = 0; i < whole; i += WIDTH) {
            const V x = load(gate + i);
            store(inner + i, x * sigmoid(x) * load(up + i));
        }
        if (rest) {
            const V x = load_some(gate + whole, rest);
            store_some(inner + whole, x * sigmoid(x) * load_some(up + whole, rest), rest);
        }
    }
}

FN void gated_gradient(V x, V up, V grad, V *grad_gate, V *grad_up, V *inner) {
    const V s = sigmoid(x), opened = x * s;
    *inner = opened * up;
    *grad_up = grad * opened;
    *grad_gate = grad * up * FMA(opened, splat(1.0f) - s, s);
}

static ISA void gated_backward_rows(const Gated *task, int begin, int end) {
    const Gated g = *task;
    const int whole = g.size / WIDTH * WIDTH, rest = g.size - whole;
    for (int row = begin; row < end; row++) {
        const float *gate = g.both + (size_t)row * g.both_stride, *up = gate + g.size;
        float *inner = g.inner + (size_t)row * g.inner_stride;
        float *grad_gate = g.grad_both + (size_t)row * g.grad_both_stride, *grad_up = grad_gate + g.size;
        V a, b, c;
        for (int i = 0; i < whole; i += WIDTH) {
            gated_gradient(load(gate + i), load(up + i), load(inner + i), &a, &b, &c);
            store(grad_gate + i, a);
            store(grad_up + i, b);
            store(inner + i, c);
        }
        if (rest) {
            gated_gradient(load_some(gate + whole, rest), load_some(up + whole, rest), load_some(inner + whole, rest),
                           &a, &b, &c);
            store_some(grad_gate + whole, a, rest);
            store_some(grad_up + whole, b, rest);
            store_some(inner + whole, c, rest);
        }
    }
}

/* ---- attention ----------------------------------------------------------------------------------------------------- */

/* c[rows, vectors] (+)= sum over k of a[i, k] b[k, :], where a[i, k] lies at a + i * by_row + k * by_sum. */
typedef struct {
    const float *a;
    size_t by_row, by_sum;
    const float *b;
    size_t ldb;
    int k;
    float *c;
    size_t ldc;
    int add;
} Product;

FN void tile(const int rows, const int vectors, const Product *p, int column) {
    V sums[TILE_ROWS][TILE_VECTORS];
#pragma GCC unroll 6
    for (int r = 0; r < rows; r++)
#pragma GCC unroll 4
        for (int n = 0; n < vectors; n++) sums[r][n] = (V){0};
    const float *a = p->a, *b = p->b + column;
    const size_t by_row = p->by_row, by_sum = p->by_sum, ldb = p->ldb;
    for (int k = p->k; k > 0; k--, a += by_sum, b += ldb) {
        V across[TILE_VECTORS];
#pragma GCC unroll 4
        for (int n = 0; n < vectors; n++) across[n] = load(b + n * WIDTH);
#pragma GCC unroll 6
        for (int r = 0; r < rows; r++) {
            const V down = splat(a[(size_t)r * by_row]);
#pragma GCC unroll 4
            for (int n = 0; n < vectors; n++) sums[r][n] = FMA(down, across[n], sums[r][n]);
        }
    }
#pragma GCC unroll 6
    for (int r = 0; r < rows; r++)
#pragma GCC unroll 4
        for (int n = 0; n < vectors; n++) {
            float *c = p->c + (size_t)r * p->ldc + column + n * WIDTH;
            store(c, p->add ? load(c) + sums[r][n] : sums[r][n]);
        }
}

FN void tile_of(const int rows, int vectors, const Product *p, int column) {
    switch (vectors) {
    case 1: tile(rows, 1, p, column); break;
#if defined(TILE_OF_FOUR)
    case 2: tile(rows, 2, p, column); break;
    case 3: tile(rows, 3, p, column); break;
#endif
    default: tile(rows, TILE_VECTORS, p, column);
    }
}

/* Up to TILE_ROWS rows of c, `columns` (a multiple of WIDTH) wide. */
static ISA void strip(int rows, int columns, const Product *p) {
    for (int column = 0; column < columns; column += TILE_VECTORS * WIDTH) {
        const int vectors = least(TILE_VECTORS, (columns - column) / WIDTH);
        switch (rows) {
        case 1: tile_of(1, vectors, p, column); break;
        case 2: tile_of(2, vectors, p, column); break;
        case 3: tile_of(3, vectors, p, column); break;
        case 4: tile_of(4, vectors, p, column); break;
        case 5: tile_of(5, vectors, p, column); break;
        default: tile_of(6, vectors, p, column);
        }
    }
}

/* One document and one head of keys, laid out for the products. */
typedef struct {
    int first, length, size, wide, along; /* wide: size, along: length, padded to whole vectors */
    float *k, *k_across, *v, *v_across;   /* [length, wide] and, transposed, [wide, along] */
    float *grad_k, *grad_v;               /* [length, wide] */
    float *q, *mixed, *grad;              /* [QUERIES, wide] */
    float *scores, *slopes;               /* [QUERIES, along] */
} Work;

static ISA Work work_on(const Attention *a, int document, float *scratch) {
    Work w = {.first = a->spans[2 * document], .length = a->spans[2 * document + 1], .size = a->size};
    w.wide = up_to(w.size, WIDTH);
    /* One vector more than needed: scores are cleared a little past the diagonal. */
    w.along = up_to(w.length, WIDTH) + LONGEST_VECTOR;
    const size_t matrix = (size_t)w.wide * (size_t)w.along, queries = (size_t)QUERIES * (size_t)w.wide;
    w.k = scratch, w.k_across = w.k + matrix, w.v = w.k_across + matrix, w.v_across = w.v + matrix;
    w.grad_k = w.v_across + matrix, w.grad_v = w.grad_k + matrix;
    w.q = w.grad_v + matrix, w.mixed = w.q + queries, w.grad = w.mixed + queries;
    w.scores = w.grad + queries, w.slopes = w.scores + (size_t)QUERIES * (size_t)w.along;
    return w;
}

/* to[count, wide] = rows of `from`, turned, times scale. */
static ISA void gather(float *to, int wide, const float *from, size_t stride, int first, int count, int size,
                       const float *turns, int turn_tokens, float scale) {
    for (int i = 0; i < count; i++, to += wide) {
        const float *x = from + (size_t)(first + i) * stride;
        if (turns) {
            const float *t = turns + (size_t)((first + i) % turn_tokens) * (size_t)size;
            for (int j = 0; j < size; j += 2) {
                to[j] = (x[j] * t[j] - x[j + 1] * t[j + 1]) * scale;
                to[j + 1] = (x[j] * t[j + 1] + x[j + 1] * t[j]) * scale;
            }
        } else
            for (int j = 0; j < size; j++) to[j] = x[j] * scale;
        for (int j = size; j < wide; j++) to[j] = 0.0f;
    }
}

/* The way back, of gradients: turned by the opposite angle. */
static ISA void scatter(float *to, size_t stride, int first, int count, const float *from, int wide, int size,
                        const float *turns, int turn_tokens, float scale) {
    for (int i = 0; i < count; i++, from += wide) {
        float *x = to + (size_t)(first + i) * stride;
        if (turns) {
            const float *t = turns + (size_t)((first + i) % turn_tokens) * (size_t)size;
            for (int j = 0; j < size; j += 2) {
                x[j] = (from[j] * t[j] + from[j + 1] * t[j + 1]) * scale;
                x[j + 1] = (from[j + 1] * t[j] - from[j] * t[j + 1]) * scale;
            }
        } else
            for (int j = 0; j < size; j++) x[j] = from[j] * scale;
    }
}

/* to[wide, along] = from[length, wide] transposed; columns after the length are 0. */
static ISA void transpose(float *to, int along, const float *from, int length, int wide) {
    int i = 0;
#if defined(TRANSPOSE4)
    for (; i + 4 <= length; i += 4)
        for (int j = 0; j < wide; j += 4) {
            const float *x = from + (size_t)i * (size_t)wide + j;
            __m128 a = _mm_loadu_ps(x), b = _mm_loadu_ps(x + wide), c = _mm_loadu_ps(x + 2 * wide),
                   d = _mm_loadu_ps(x + 3 * wide);
            _MM_TRANSPOSE4_PS(a, b, c, d);
            float *y = to + (size_t)j * (size_t)along + i;
            _mm_storeu_ps(y, a), _mm_storeu_ps(y + along, b), _mm_storeu_ps(y + 2 * along, c),
                _mm_storeu_ps(y + 3 * along, d);
        }
#endif
    for (int j = 0; j < wide; j++) {
        for (int at = i; at < length; at++) to[(size_t)j * (size_t)along + at] = from[(size_t)at * (size_t)wide + j];
        for (int at = length; at < up_to(length, WIDTH); at++) to[(size_t)j * (size_t)along + at] = 0.0f;
    }
}

/* The first key that one of the queries from `begin` on may see, down to a whole vector. */
FN int first_key(const Attention *a, int begin) {
    return a->window && begin >= a->window ? (begin + 1 - a->window) / WIDTH * WIDTH : 0;
}

/* out[i, j] = q[i] . across[:, j] for the queries [begin, begin + count) and the keys j from `start` on that their tile
   may see. */
FN void scores_of(float *out, const float *q, const float *across, const Work *w, int start, int begin, int count) {
    for (int i = 0; i < count; i += TILE_ROWS) {
        const int rows = least(TILE_ROWS, count - i);
        const Product p = {q + (size_t)i * (size_t)w->wide, (size_t)w->wide, 1, across + start, (size_t)w->along,
                           w->size, out + (size_t)i * (size_t)w->along + start, (size_t)w->along, 0};
        strip(rows, up_to(begin + i + rows, WIDTH) - start, &p);
    }
}

/* out[i, :] = sum over the keys j from `start` up to query i of weights[i, j] rows[j, :]; weights past the diagonal and
   before the window are 0. */
FN void mix(float *out, const float *weights, const float *rows_of, const Work *w, int start, int begin, int count) {
    for (int i = 0; i < count; i += TILE_ROWS) {
        const int rows = least(TILE_ROWS, count - i);
        const Product p = {weights + (size_t)i * (size_t)w->along + start, (size_t)w->along, 1,
                           rows_of + (size_t)start * (size_t)w->wide, (size_t)w->wide,
                           begin + i + rows - start, out + (size_t)i * (size_t)w->wide, (size_t)w->wide, 0};
        strip(rows, w->wide, &p);
    }
}

/* out[j, :] += sum over the queries i from key j on of weights[i, j] rows[i, :], for the keys j from `start` on. */
FN void mix_back(float *out, const float *weights, const float *rows_of, const Work *w, int start, int begin,
                 int count) {
    for (int j = start; j < begin + count; j += TILE_ROWS) {
        const int rows = least(TILE_ROWS, begin + count - j), from = j > begin ? j - begin : 0;
        const Product p = {weights + (size_t)from * (size_t)w->along + j, 1, (size_t)w->along,
                           rows_of + (size_t)from * (size_t)w->wide, (size_t)w->wide, count - from,
                           out + (size_t)j * (size_t)w->wide, (size_t)w->wide, 1};
        strip(rows, w->wide, &p);
    }
}

FN void fill(float *row, int from, int to, float value) {
    for (int j = from; j < to; j++) row[j] = value;
}

static ISA void attention_forward_pair(const Attention *a, int pair, float *scratch) {
    const int head = pair % a->kv_heads, group = a->heads / a->kv_heads;
    const Work w = work_on(a, pair / a->kv_heads, scratch);
    const float scale = 1.0f / sqrtf((float)w.size);
    gather(w.k, w.wide, a->k + head * w.size, a->k_stride, w.first, w.length, w.size, a->turns, a->turn_tokens, 1.0f);
    transpose(w.k_across, w.along, w.k, w.length, w.wide);
    gather(w.v, w.wide, a->v + head * w.size, a->v_stride, w.first, w.length, w.size, NULL, 1, 1.0f);
    for (int query_head = head * group; query_head < (head + 1) * group; query_head++)
        for (int begin = 0; begin < w.length; begin += QUERIES) {
            const int count = least(QUERIES, w.length - begin), first = w.first + begin, start = first_key(a, begin);
            float sums[QUERIES];
            gather(w.q, w.wide, a->q + query_head * w.size, a->q_stride, first, count, w.size, a->turns,
                   a->turn_tokens, scale);
            scores_of(w.scores, w.q, w.k_across, &w, start, begin, count);
            for (int i = 0; i < count; i++) {
                float *row = w.scores + (size_t)i * (size_t)w.along;
                const int seen = begin + i + 1, padded = up_to(seen, WIDTH);
                fill(row, seen, padded, -INFINITY);
                if (a->window) fill(row, start, seen - a->window, -INFINITY);
                V most = load(row + start), sum = {0};
                for (int j = start + WIDTH; j < padded; j += WIDTH) most = choose(load(row + j) > most, load(row + j), most);
                const float top = largest_of(most);
                for (int j = start; j < padded; j += WIDTH) {
                    const V weight = exponential(load(row + j) - splat(top));
                    store(row + j, weight);
                    sum += weight;
                }
                fill(row, padded, seen + TILE_ROWS, 0.0f);
                sums[i] = sum_of(sum);
                a->logsumexp[(size_t)(first + i) * (size_t)a->heads + (size_t)query_head] = top + logf(sums[i]);
            }
            mix(w.mixed, w.scores, w.v, &w, start, begin, count);
            for (int i = 0; i < count; i++)
                scatter(a->out + query_head * w.size, a->out_stride, first + i, 1, w.mixed + (size_t)i * (size_t)w.wide,
                        w.wide, w.size, NULL, 1, 1.0f / sums[i]);
        }
}

static ISA void attention_backward_pair(const Attention *a, int pair, float *scratch) {
    const int head = pair % a->kv_heads, group = a->heads / a->kv_heads;
    const Work w = work_on(a, pair / a->kv_heads, scratch);
    const float scale = 1.0f / sqrtf((float)w.size);
    gather(w.k, w.wide, a->k + head * w.size, a->k_stride, w.first, w.length, w.size, a->turns, a->turn_tokens, 1.0f);
    transpose(w.k_across, w.along, w.k, w.length, w.wide);
    gather(w.v, w.wide, a->v + head * w.size, a->v_stride, w.first, w.length, w.size, NULL, 1, 1.0f);
    transpose(w.v_across, w.along, w.v, w.length, w.wide);
    memset(w.grad_k, 0, sizeof(float) * (size_t)w.length * (size_t)w.wide);
    memset(w.grad_v, 0, sizeof(float) * (size_t)w.length * (size_t)w.wide);
    for (int query_head = head * group; query_head < (head + 1) * group; query_head++)
        for (int begin = 0; begin < w.length; begin += QUERIES) {
            const int count = least(QUERIES, w.length - begin), first = w.first + begin, start = first_key(a, begin);
            gather(w.q, w.wide, a->q + query_head * w.size, a->q_stride, first, count, w.size, a->turns,
                   a->turn_tokens, scale);
            gather(w.grad, w.wide, a->grad + query_head * w.size, a->grad_stride, first, count, w.size, NULL, 1, 1.0f);
            scores_of(w.scores, w.q, w.k_across, &w, start, begin, count);
            scores_of(w.slopes, w.grad, w.v_across, &w, start, begin, count);
            for (int i = 0; i < count; i++) {
                float *weights = w.scores + (size_t)i * (size_t)w.along;
                float *slopes = w.slopes + (size_t)i * (size_t)w.along;
                const int seen = begin + i + 1, padded = up_to(seen, WIDTH);
                const V total = splat(a->logsumexp[(size_t)(first + i) * (size_t)a->heads + (size_t)query_head]);
                fill(weights, seen, padded, -INFINITY);
                if (a->window) fill(weights, start, seen - a->window, -INFINITY);
                V mean = {0};
                for (int j = start; j < padded; j += WIDTH) {
                    const V weight = exponential(load(weights + j) - total);
                    store(weights + j, weight);
                    mean = FMA(weight, load(slopes + j), mean);
                }
                const V middle = splat(sum_of(mean));
                for (int j = start; j < padded; j += WIDTH)
                    store(slopes + j, load(weights + j) * (load(slopes + j) - middle));
                fill(weights, padded, seen + TILE_ROWS, 0.0f);
                fill(slopes, padded, seen + TILE_ROWS, 0.0f);
            }
            mix(w.mixed, w.slopes, w.k, &w, start, begin, count);
            scatter(a->grad_q + query_head * w.size, a->grad_q_stride, first, count, w.mixed, w.wide, w.size, a->turns,
                    a->turn_tokens, scale);
            mix_back(w.grad_k, w.slopes, w.q, &w, start, begin, count);
            mix_back(w.grad_v, w.scores, w.grad, &w, start, begin, count);
        }
    scatter(a->grad_k + head * w.size, a->grad_k_stride, w.first, w.length, w.grad_k, w.wide, w.size, a->turns,
            a->turn_tokens, 1.0f);
    scatter(a->grad_v + head * w.size, a->grad_v_stride, w.first, w.length, w.grad_v, w.wide, w.size, NULL, 1, 1.0f);
}

const Kernels KERNELS = {
    norm_forward_rows,       norm_backward_rows,      gated_forward_rows,
    gated_backward_rows,     attention_forward_pair,  attention_backward_pair,
};
