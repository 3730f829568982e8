/* See stack.h and, for how the work is divided, stack_parts.h. */
#include "stack_parts.h"

#ifdef __GLIBC__
#include <malloc.h>
#endif
#include <stdlib.h>
#include <string.h>

/* ---- the stack ---- */

Stack *stack_new(const StackShape *shape) {
    Stack *s = NULL;
    if (posix_memalign((void **)&s, 128, sizeof *s)) return NULL;
    memset(s, 0, sizeof *s);
    s->shape = *shape;
    s->lanes = stack_lanes_for(linear_isa());
    s->padded = parts(shape->head_dim, MOST_LANES) * MOST_LANES;
    size_t width = shape->half_cache ? sizeof(uint16_t) : sizeof(float);
    s->key_bytes = (size_t)shape->head_dim * BLOCK * width;
    s->value_bytes = (size_t)s->padded * BLOCK * width;
    s->layer = calloc((size_t)shape->layers, sizeof *s->layer);
    size_t phases = (size_t)step_phases(shape);
    if (!s->layer || posix_memalign((void **)&s->phase, 128, phases * sizeof *s->phase)) {
        free(s->layer);
        free(s);
        return NULL;
    }
    return s;
}

Linear *stack_linear(Stack *s, StackPart part, int layer) {
    switch (part) {
        case STACK_QKV: return &s->layer[layer].qkv;
        case STACK_OUTPUT: return &s->layer[layer].output;
        case STACK_GATE_UP: return &s->layer[layer].gate_up;
        case STACK_DOWN: return &s->layer[layer].down;
        case STACK_ROUTER: return &s->layer[layer].router;
        default: return &s->head;
    }
}

Linear *stack_expert(Stack *s, StackPart part, int layer, int expert) {
    struct layer *l = &s->layer[layer];
    if (!l->expert) l->expert = calloc(2 * (size_t)s->shape.experts, sizeof *l->expert);
    return l->expert ? &l->expert[2 * expert + (part == STACK_DOWN)] : NULL;
}

void stack_set_norm(Stack *s, StackNorm norm, int layer, const float *weight) {
    switch (norm) {
        case STACK_ATTENTION_NORM: s->layer[layer].attention_norm = weight; break;
        case STACK_MLP_NORM: s->layer[layer].mlp_norm = weight; break;
        case STACK_QUERY_NORM: s->layer[layer].query_norm = weight; break;
        case STACK_KEY_NORM: s->layer[layer].key_norm = weight; break;
        default: s->last_norm = weight;
    }
}

void stack_set_window(Stack *s, int layer, int window) { s->layer[layer].window = window; }

void stack_set_embedding(Stack *s, const void *table) { s->embedding = table; }

void stack_set_taps(Stack *s, int count, const int *layers) {
    s->taps = count;
    for (int layer = 0; layer < s->shape.layers; layer++) s->layer[layer].tap = 0;
    for (int i = 0; i < count; i++) s->layer[layers[i]].tap = 1 + i;
}

void stack_set_angles(Stack *s, const float *cosine, const float *sine, int positions) {
    s->cosine = cosine;
    s->sine = sine;
    s->positions = positions;
}

size_t stack_block_bytes(const Stack *s) {
    return (size_t)s->shape.layers * (size_t)s->shape.kv_heads * (s->key_bytes + s->value_bytes);
}

void stack_set_pool(Stack *s, void *pool, int blocks) {
    s->pool = pool;
    s->blocks = blocks;
}

void stack_packed(void) {
#ifdef __GLIBC__
    malloc_trim(0);
#endif
}

void stack_copy_block(Stack *s, int source, int target) {
    size_t heads = (size_t)s->shape.kv_heads;
    for (int layer = 0; layer < s->shape.layers; layer++) {
        memcpy(keys_of(s, layer, target), keys_of(s, layer, source), heads * s->key_bytes);
        memcpy(values_of(s, layer, target), values_of(s, layer, source), heads * s->value_bytes);
    }
}

void stack_seconds(const Stack *s, double seconds[3]) { memcpy(seconds, s->seconds, sizeof s->seconds); }

/* ---- products ---- */

/* Normalise `rows` rows of x (norm NULL: as they are) and pack them for `linear`. Few rows are prepared by every thread
   for itself. A late thread may then read an x that others already write to; it will find no piece of work left. */
static struct input prepare(struct worker *w, const Linear *linear, const float *norm, const float *x, int width,
                            int rows, float *normed) {
    Stack *s = w->stack;
    int packs = linear_scratch(linear, 1) > 0;
    if (!norm && !packs) return (struct input){x, (size_t)width, NULL, 0};
    size_t stride = (size_t)width;
    if (rows <= ALONE_ROWS) {
        if (norm) {
            for (int i = 0; i < rows; i++)
                s->lanes->rms_norm(x + i * stride, norm, s->shape.eps, width, w->normed + i * stride);
            x = w->normed;
        }
        if (packs) linear_quantise(linear, x, stride, 0, rows, w->scratch);
        return (struct input){x, stride, w->scratch, 0};
    }
    int pieces = row_pieces(s, rows), piece;
    struct turn t = begin(w, pieces);
    while ((piece = grab(&t)) >= 0) {
        int from = row_begin(piece, pieces, rows), to = row_begin(piece + 1, pieces, rows);
        if (norm)
            for (int i = from; i < to; i++)
                s->lanes->rms_norm(x + (size_t)i * stride, norm, s->shape.eps, width, normed + (size_t)i * stride);
        const float *source = norm ? normed : x;
        while (packs && from < to) {
            int block = from / ROW_BLOCK, base = block * ROW_BLOCK, end = least(to, base + ROW_BLOCK);
            linear_quantise(linear, source + (size_t)base * stride, stride, from - base, end - base,
                            s->scratch + (size_t)block * s->scratch_bytes);
            from = end;
        }
        finish(&t);
    }
    settle(&t);
    return (struct input){norm ? normed : x, stride, s->scratch, s->scratch_bytes};
}

/* A matrix product cut into pieces: a block of rows times a chunk of columns, columns fastest. */
struct product {
    struct turn turn;
    const Linear *linear;
    struct input in;
    int rows, chunks, width;
    int row, count, from, to; /* the piece at hand: rows [row, row + count), columns [from, to) */
};

static struct product multiply(struct worker *w, const Linear *linear, struct input in, int rows, int most_panels) {
    int panels = parts(linear->n, LINEAR_PANEL), each = parts(panels, 4 * w->stack->threads);
    each = least(each, most_panels);
    int chunks = parts(panels, each);
    return (struct product){begin(w, parts(rows, ROW_BLOCK) * chunks), linear, in, rows, chunks, each * LINEAR_PANEL,
                            0, 0, 0, 0};
}

static int next_piece(struct product *p) {
    int piece = grab(&p->turn);
    if (piece < 0) return 0;
    p->row = piece / p->chunks * ROW_BLOCK;
    p->count = least(ROW_BLOCK, p->rows - p->row);
    p->from = piece % p->chunks * p->width;
    p->to = least(p->from + p->width, p->linear->n);
    return 1;
}

/* The piece at hand into y, whose first element is row `row` and column `from`. */
static void compute(const struct product *p, float *y, size_t stride) {
    const char *scratch = p->in.scratch ? p->in.scratch + (size_t)(p->row / ROW_BLOCK) * p->in.stride : NULL;
    linear_run(p->linear, p->in.x + (size_t)p->row * p->in.width, p->in.width, scratch, p->count, y - p->from, stride,
               p->from, p->to);
}

void stack_multiply(struct worker *w, const Linear *linear, struct input in, int rows, float *y) {
    struct product p = multiply(w, linear, in, rows, 32);
    size_t n = (size_t)linear->n;
    while (next_piece(&p)) {
        compute(&p, y + (size_t)p.row * n + p.from, n);
        finish(&p.turn);
    }
    settle(&p.turn);
    spent(w, TIME_LINEAR);
}

static void multiply_onto(struct worker *w, const Linear *linear, struct input in, int rows, float *y) {
    struct product p = multiply(w, linear, in, rows, CHUNK_PANELS);
    size_t n = (size_t)linear->n;
    while (next_piece(&p)) {
        int width = p.to - p.from;
        compute(&p, w->part, (size_t)p.width);
        for (int i = 0; i < p.count; i++)
            w->stack->lanes->add(y + (size_t)(p.row + i) * n + p.from, w->part + (size_t)i * p.width, width);
        finish(&p.turn);
    }
    settle(&p.turn);
    spent(w, TIME_LINEAR);
}

static void multiply_gated(struct worker *w, const Linear *linear, struct input in, int rows, float *y, size_t stride) {
    struct product p = multiply(w, linear, in, rows, CHUNK_PANELS);
    while (next_piece(&p)) {
        compute(&p, w->part, (size_t)p.width);
        for (int i = 0; i < p.count; i++)
            gate_panels(w->stack, w->part + (size_t)i * p.width, p.from, p.to, y + (size_t)(p.row + i) * stride,
                        (int)stride);
        finish(&p.turn);
    }
    settle(&p.turn);
    spent(w, TIME_LINEAR);
}

void stack_normalise(struct worker *w, const float *norm, const float *x, int rows, float *out) {
    Stack *s = w->stack;
    size_t hidden = (size_t)s->shape.hidden;
    int pieces = row_pieces(s, rows), piece;
    struct turn turn = begin(w, pieces);
    while ((piece = grab(&turn)) >= 0) {
        for (int i = row_begin(piece, pieces, rows); i < row_begin(piece + 1, pieces, rows); i++)
            s->lanes->rms_norm(x + (size_t)i * hidden, norm, s->shape.eps, s->shape.hidden, out + (size_t)i * hidden);
        finish(&turn);
    }
    settle(&turn);
}

/* ---- the step ---- */

static void embed(Stack *s, int row) {
    size_t hidden = (size_t)s->shape.hidden, at = (size_t)s->step->tokens[row] * hidden;
    float *x = s->x + (size_t)row * hidden;
    if (s->shape.half_embedding) s->lanes->widen((const uint16_t *)s->embedding + at, s->shape.hidden, x);
    else memcpy(x, (const float *)s->embedding + at, hidden * sizeof(float));
}

/* Part `place` of the states: rows `row` of x, or the first ones where that is NULL. */
static void lay_state(struct worker *w, int place, const float *x, const int32_t *row, int rows) {
    Stack *s = w->stack;
    size_t hidden = (size_t)s->shape.hidden, stride = hidden * (size_t)(1 + s->taps);
    struct turn turn = begin(w, 1);
    while (grab(&turn) >= 0) {
        float *state = s->states + (size_t)place * hidden;
        for (int i = 0; i < rows; i++, state += stride)
            memcpy(state, x + (size_t)(row ? row[i] : i) * hidden, hidden * sizeof(float));
        finish(&turn);
    }
    settle(&turn);
}

static void program(struct worker *w) {
    Stack *s = w->stack;
    const StackShape *c = &s->shape;
    int size = c->head_dim, hidden = c->hidden, rows = s->rows, pieces, piece;
    size_t width = (size_t)(c->heads + 2 * c->kv_heads) * (size_t)size;
    float *x = s->x;
    struct turn turn;
    w->phase = 0;

    pieces = row_pieces(s, rows);
    turn = begin(w, pieces);
    while ((piece = grab(&turn)) >= 0) {
        for (int i = row_begin(piece, pieces, rows); i < row_begin(piece + 1, pieces, rows); i++) embed(s, i);
        finish(&turn);
    }
    settle(&turn);
    for (int layer = 0; layer < c->layers; layer++) {
        const struct layer *l = &s->layer[layer];
        struct input in = prepare(w, &l->qkv, l->attention_norm, x, hidden, rows, s->normed);
        spent(w, TIME_REST);
        stack_multiply(w, &l->qkv, in, rows, s->qkv);

        pieces = row_pieces(s, rows);
        turn = begin(w, pieces);
        while ((piece = grab(&turn)) >= 0) {
            stack_write_cache(s, layer, row_begin(piece, pieces, rows), row_begin(piece + 1, pieces, rows));
            finish(&turn);
        }
        settle(&turn);
        spent(w, TIME_REST);

        const struct plan *plan = &s->all;
        const float *queries = s->qkv;
        if (layer == c->layers - 1 && s->wanted < rows) {
            /* Nobody reads what the last layer makes of the other rows. */
            rows = s->wanted;
            plan = &s->last;
            turn = begin(w, 1);
            while ((piece = grab(&turn)) >= 0) {
                for (int i = 0; i < rows; i++) {
                    size_t from = (size_t)s->wanted_row[i];
                    memcpy(s->few + (size_t)i * hidden, s->x + from * hidden, (size_t)hidden * sizeof(float));
                    if ((size_t)i != from) /* rows move up, never over one that is still to be read */
                        memcpy(s->qkv + (size_t)i * width, s->qkv + from * width,
                               (size_t)(c->heads * size) * sizeof(float));
                }
                finish(&turn);
            }
            settle(&turn);
            x = s->few;
            if (!rows) return;
        }
        stack_attend(w, layer, plan, queries, width, s->mixed);
        in = prepare(w, &l->output, NULL, s->mixed, c->heads * size, rows, NULL);
        spent(w, TIME_REST);
        multiply_onto(w, &l->output, in, rows, x);
        if (l->expert) {
            stack_visit_experts(w, l, x, rows);
        } else {
            in = prepare(w, &l->gate_up, l->mlp_norm, x, hidden, rows, s->normed);
            spent(w, TIME_REST);
            multiply_gated(w, &l->gate_up, in, rows, s->inner, (size_t)c->inner);
            in = prepare(w, &l->down, NULL, s->inner, c->inner, rows, NULL);
            spent(w, TIME_REST);
            multiply_onto(w, &l->down, in, rows, x);
        }
        if (l->tap) lay_state(w, l->tap, x, s->wanted_row, s->wanted);
    }

    stack_normalise(w, s->last_norm, x, rows, s->normed);
    lay_state(w, 0, s->normed, NULL, rows);
    struct input in = prepare(w, &s->head, NULL, s->normed, hidden, rows, NULL);
    spent(w, TIME_REST);
    stack_multiply(w, &s->head, in, rows, s->logits);
}

static int spans_by_table(const Stack *s, int a, int b) {
    int length = least(s->step->lengths[a], s->step->lengths[b]);
    for (int i = 0; i < length; i++)
        if (s->tables[a][i] != s->tables[b][i]) return s->tables[a][i] < s->tables[b][i] ? -1 : 1;
    return s->step->lengths[a] - s->step->lengths[b];
}

static int check(const Stack *s, const StackStep *step, size_t *rows) {
    *rows = 0;
    size_t blocks = 0;
    for (int i = 0; i < step->spans; i++) {
        int end = step->starts[i] + step->counts[i];
        if (step->starts[i] < 0 || step->counts[i] < 1 || end > s->positions) return STACK_BAD_POSITION;
        if ((int64_t)step->lengths[i] * BLOCK < end) return STACK_BAD_BLOCK;
        *rows += (size_t)step->counts[i];
        blocks += (size_t)step->lengths[i];
    }
    for (size_t i = 0; i < *rows; i++)
        if (step->tokens[i] < 0 || step->tokens[i] >= s->shape.vocabulary) return STACK_BAD_TOKEN;
    for (size_t i = 0; i < blocks; i++)
        if (step->blocks[i] < 0 || step->blocks[i] >= s->blocks) return STACK_BAD_BLOCK;
    return STACK_DONE;
}

/* Rows, their positions, and the order in which they attend. */
static void lay_out(Stack *s) {
    const StackStep *step = s->step;
    const int32_t *table = step->blocks;
    int row = 0, wanted = 0;
    for (int i = 0; i < step->spans; i++) {
        s->tables[i] = table;
        table += step->lengths[i];
        s->offset[i] = row;
        int first = step->counts[i] - least(step->wanted[i], step->counts[i]);
        for (int j = 0; j < step->counts[i]; j++, row++) {
            s->position[row] = step->starts[i] + j;
            s->row_span[row] = s->all.span[row] = i;
            s->all.limit[row] = step->starts[i] + j + 1;
            if (j < first) continue;
            s->wanted_row[wanted] = row;
            s->last.span[wanted] = i;
            s->last.limit[wanted++] = step->starts[i] + j + 1;
        }
        int place = 0, end = i;
        while (place < end) {
            int middle = (place + end) / 2;
            if (spans_by_table(s, s->rank[middle], i) <= 0) place = middle + 1;
            else end = middle;
        }
        memmove(s->rank + place + 1, s->rank + place, (size_t)(i - place) * sizeof *s->rank);
        s->rank[place] = i;
    }
    s->rows = s->all.rows = row;
    s->wanted = s->last.rows = wanted;
    int place = 0;
    for (int i = 0; i < step->spans; i++)
        for (int j = 0; j < step->counts[s->rank[i]]; j++) s->all.order[place++] = s->offset[s->rank[i]] + j;
    /* The wanted rows are in the order of the spans too: turn offsets into theirs. */
    wanted = 0;
    for (int i = 0; i < step->spans; i++) {
        s->offset[i] = wanted;
        wanted += least(step->wanted[i], step->counts[i]);
    }
    place = 0;
    for (int i = 0; i < step->spans; i++) {
        int span = s->rank[i], count = least(step->wanted[span], step->counts[span]);
        for (int j = 0; j < count; j++) s->last.order[place++] = s->offset[span] + j;
    }
}

int stack_step(Stack *s, const StackStep *step, float *logits, float *states) {
    size_t rows;
    int result = check(s, step, &rows);
    if (result == STACK_DONE) {
        stack_await_late(s);
        result = stack_reserve(s, (size_t)step->spans, rows);
    }
    if (result != STACK_DONE || !rows) return result;
    s->mark = now();
    s->step = step;
    s->logits = logits;
    s->states = states;
    lay_out(s);
    stack_run_job(s, program, step_phases(&s->shape));
    return STACK_DONE;
}

static void draw_rows(struct worker *w) {
    Stack *s = w->stack;
    const StackDraw *d = s->draw;
    size_t n = (size_t)s->shape.vocabulary;
    double *ends = (double *)(w->weights + (size_t)draw_parts((int)n) * DRAW_PART);
    int piece;
    w->phase = 0;
    struct turn turn = begin(w, d->parts);
    while ((piece = grab(&turn)) >= 0) {
        int right = 1;
        for (int i = d->part[piece]; i < d->part[piece + 1]; i++) {
            size_t row = (size_t)d->row[i];
            if (!right) {
                d->token[i] = -1;
                continue;
            }
            d->token[i] = draw_row(&s->lanes->draw, &d->ask[i], d->logits + row * n, d->plain + row * n, (int)n,
                                   w->weights, ends, &d->logprob[i], &d->logsum[i]);
            right = d->token[i] == d->guess[i];
        }
        finish(&turn);
    }
    settle(&turn);
}

int stack_draw(Stack *s, const StackDraw *draw) {
    size_t parts = (size_t)draw_parts(s->shape.vocabulary);
    if (!draw->rows) return STACK_DONE;
    stack_await_late(s);
    for (int i = 0; i < s->threads; i++) {
        struct worker *w = &s->worker[i];
        if (!w->weights &&
            posix_memalign((void **)&w->weights, 64, parts * (DRAW_PART * sizeof(float) + sizeof(double)))) {
            w->weights = NULL;
            return STACK_NO_MEMORY;
        }
    }
    s->draw = draw;
    stack_run_job(s, draw_rows, 1);
    return STACK_DONE;
}

void stack_free(Stack *s) {
    stack_stop_threads(s, s->threads);
    for (int i = 0; i < s->shape.layers; i++) {
        linear_free(&s->layer[i].qkv);
        linear_free(&s->layer[i].output);
        linear_free(&s->layer[i].gate_up);
        linear_free(&s->layer[i].down);
        linear_free(&s->layer[i].router);
        for (int j = 0; s->layer[i].expert && j < 2 * s->shape.experts; j++) linear_free(&s->layer[i].expert[j]);
        free(s->layer[i].expert);
    }
    linear_free(&s->head);
    free(s->layer);
    free(s->phase);
    free(s->span_memory);
    free(s->row_memory);
    free(s);
}
