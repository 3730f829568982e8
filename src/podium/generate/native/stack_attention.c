/* Attention over the paged cache: keys and values of a step are written first, then queries walk over the blocks. */
#include "stack_parts.h"

#include <math.h>
#include <string.h>

void stack_write_cache(Stack *s, int layer, int from, int to) {
    const StackShape *c = &s->shape;
    const struct layer *l = &s->layer[layer];
    int size = c->head_dim, half = size / 2, turned = c->heads + c->kv_heads;
    size_t width = (size_t)(turned + c->kv_heads) * (size_t)size;
    for (int i = from; i < to; i++) {
        float *row = s->qkv + (size_t)i * width;
        int position = s->position[i], block = s->tables[s->row_span[i]][position / BLOCK];
        const float *cosine = s->cosine + (size_t)position * half, *sine = s->sine + (size_t)position * half;
        for (int head = 0; head < turned; head++) {
            float *x = row + (size_t)head * size;
            if (c->qk_norm) s->lanes->rms_norm(x, head < c->heads ? l->query_norm : l->key_norm, c->eps, size, x);
            s->lanes->rotate(x, cosine, sine, half);
        }
        char *keys = keys_of(s, layer, block), *values = values_of(s, layer, block);
        const float *key = row + (size_t)c->heads * size, *value = row + (size_t)turned * size;
        for (int head = 0; head < c->kv_heads; head++)
            s->lanes->remember(key + (size_t)head * size, value + (size_t)head * size, size, s->padded,
                               position % BLOCK, c->half_cache, keys + (size_t)head * s->key_bytes,
                               values + (size_t)head * s->value_bytes);
    }
}

/* A tile of query rows on its way over the cache. */
struct tile {
    struct worker *worker;
    const struct plan *plan;
    const int32_t *order; /* the plan's rows in this tile */
    int layer, head, group; /* the key head, and how many of its query heads */
};

static int block_at(const struct tile *t, int i, int block) {
    int row = t->order[i];
    if (t->plan->limit[row] <= block * BLOCK) return -1; /* has seen all it may */
    return t->worker->stack->tables[t->plan->span[row]][block];
}

/* The first position that row i of the tile sees. */
static int first_seen(const struct tile *t, int i) {
    int window = t->worker->stack->layer[t->layer].window, limit = t->plan->limit[t->order[i]];
    return window && limit > window ? limit - window : 0;
}

/* How many positions of a block lie before what row i sees, and where what it sees ends. */
static int hidden_in(const struct tile *t, int i, int block) {
    int before = first_seen(t, i) - block * BLOCK;
    return before < 0 ? 0 : least(before, BLOCK);
}
static int seen_in(const struct tile *t, int i, int block) {
    return least(t->plan->limit[t->order[i]] - block * BLOCK, BLOCK);
}

static void fetch(const char *from, size_t bytes) {
    for (size_t i = 0; i < bytes; i += 64) __builtin_prefetch(from + i, 0, 3);
}

/* Let rows [from, to) of the tile, which share all blocks before `block`, see that block and what comes after. Blocks
   common to all of them are read once. */
static void walk(const struct tile *t, int from, int to, int block) {
    struct worker *w = t->worker;
    const Stack *s = w->stack;
    for (;; block++) {
        if (s->layer[t->layer].window) { /* blocks that lie before everybody's window are passed over */
            int first = first_seen(t, from);
            for (int i = from + 1; i < to; i++) first = least(first, first_seen(t, i));
            if (block < first / BLOCK) block = first / BLOCK;
        }
        int id = block_at(t, from, block), same = from + 1;
        while (same < to && block_at(t, same, block) == id) same++;
        if (same < to) { /* they part here */
            walk(t, from, same, block);
            from = same;
            block--;
            continue;
        }
        if (id < 0) return;
        const char *keys = keys_of(s, t->layer, id) + (size_t)t->head * s->key_bytes;
        const char *values = values_of(s, t->layer, id) + (size_t)t->head * s->value_bytes;
        /* A block's keys fill about a page, and the processor's own prefetching ends at those. */
        int next = block_at(t, from, block + 1);
        if (next >= 0) {
            fetch(keys_of(s, t->layer, next) + (size_t)t->head * s->key_bytes, s->key_bytes);
            fetch(values_of(s, t->layer, next) + (size_t)t->head * s->value_bytes, s->value_bytes);
        }
        for (int i = from; i < to;) {
            int hidden = hidden_in(t, i, block), seen = seen_in(t, i, block), end = i + 1;
            while (end < to && hidden_in(t, end, block) == hidden && seen_in(t, end, block) == seen) end++;
            if (hidden == BLOCK) { /* their windows begin later */
                i = end;
                continue;
            }
            size_t first = (size_t)i * (size_t)t->group;
            (s->shape.half_cache ? s->lanes->attend_half : s->lanes->attend_single)(
                w->queries + first * s->padded, (end - i) * t->group, s->shape.head_dim, s->padded, keys, values,
                hidden, seen, w->scores, w->largest + first, w->totals + first * s->lanes->lanes, w->mixed + first * s->padded);
            i = end;
        }
    }
}

void stack_attend(struct worker *w, int layer, const struct plan *plan, const float *queries, size_t width, float *out) {
    Stack *s = w->stack;
    const StackShape *c = &s->shape;
    int size = c->head_dim, padded = s->padded, all = c->heads / c->kv_heads, lanes = s->lanes->lanes;
    int each = parts(plan->rows * c->kv_heads, 4 * s->threads);
    each = least(each, tile_tokens(s));
    int tiles = parts(plan->rows, each), piece;
    /* Where that makes fewer pieces than threads, the query heads of a key head are divided too. */
    int most_heads = parts(all, parts(s->threads, tiles * c->kv_heads)), slices = parts(all, most_heads);
    float scale = 1.0f / sqrtf((float)size);
    struct turn turn = begin(w, tiles * c->kv_heads * slices);
    while ((piece = grab(&turn)) >= 0) {
        /* From the end: the rows with the longest pasts of a long span first. */
        int first = (tiles - 1 - piece / (c->kv_heads * slices)) * each, count = least(each, plan->rows - first);
        int head = piece / slices % c->kv_heads, skipped = piece % slices * most_heads;
        int group = least(most_heads, all - skipped), rows = count * group, column = (head * all + skipped) * size;
        struct tile t = {w, plan, plan->order + first, layer, head, group};
        for (int r = 0; r < rows; r++) {
            const float *q = queries + (size_t)t.order[r / group] * width + column + r % group * size;
            float *scaled = w->queries + (size_t)r * padded;
            for (int d = 0; d < size; d++) scaled[d] = q[d] * scale;
            w->largest[r] = -INFINITY;
        }
        memset(w->totals, 0, (size_t)rows * lanes * sizeof(float));
        memset(w->mixed, 0, (size_t)rows * padded * sizeof(float));
        walk(&t, 0, count, 0);
        for (int r = 0; r < rows; r++)
            s->lanes->finish(w->totals + (size_t)r * lanes, w->mixed + (size_t)r * padded, size,
                             out + (size_t)t.order[r / group] * c->heads * size + column + r % group * size);
        finish(&turn);
    }
    settle(&turn);
    spent(w, TIME_ATTENTION);
}
