/* Mixtures of experts: a layer's rows are sorted by the experts that they visit, and each expert's matrices multiply the
   rows of its own at once. */
#include "stack_parts.h"

#include <string.h>

/* Let the pieces of a later phase, `ahead` of the one that is next, be counted: threads that come late must find the
   count of their own layer, whatever the experts of later ones. By the calling thread, within a phase. */
static void count_pieces(struct worker *w, int ahead, int pieces) { w->stack->phase[w->phase + ahead].pieces = pieces; }

static struct turn begin_counted(struct worker *w) { return begin(w, w->stack->phase[w->phase].pieces); }

/* How many panels of an expert's matrix are one piece of work. */
static int expert_panels(const Stack *s, const Linear *linear) {
    return least(parts(parts(linear->n, LINEAR_PANEL), 4 * s->threads), CHUNK_PANELS);
}

static int expert_chunks(const Stack *s, const Linear *linear) {
    return parts(parts(linear->n, LINEAR_PANEL), expert_panels(s, linear));
}

/* The visits of a layer's rows: who visits whom with which weight, and the normalised rows laid out by expert. */
static void route(struct worker *w, const struct layer *l, int rows) {
    Stack *s = w->stack;
    const StackShape *c = &s->shape;
    size_t hidden = (size_t)c->hidden, stride = linear_scratch(&l->expert[0], 1);
    int pieces = row_pieces(s, rows), piece;
    stack_multiply(w, &l->router, (struct input){s->normed, hidden, NULL, 0}, rows, s->scores);
    struct turn turn = begin(w, pieces);
    while ((piece = grab(&turn)) >= 0) {
        for (int i = row_begin(piece, pieces, rows); i < row_begin(piece + 1, pieces, rows); i++)
            route_row(s->scores + (size_t)i * (size_t)c->experts, c->experts, c->active, c->normalised,
                      s->chosen + (size_t)i * (size_t)c->active, s->weight + (size_t)i * (size_t)c->active);
        finish(&turn);
    }
    settle(&turn);
    turn = begin(w, 1);
    while (grab(&turn) >= 0) {
        int visits = route_sort(s->chosen, rows, c->active, c->experts, ROW_BLOCK, s->visitor, s->place, s->visits, s->end);
        count_pieces(w, 0, visits);
        count_pieces(w, 1, visits * expert_chunks(s, &l->expert[0]));
        count_pieces(w, 2, visits);
        count_pieces(w, 3, visits * expert_chunks(s, &l->expert[1]));
        finish(&turn);
    }
    settle(&turn);
    turn = begin_counted(w);
    while ((piece = grab(&turn)) >= 0) {
        RouteVisit v = s->visits[piece];
        for (int i = v.first; i < v.first + v.count; i++)
            memcpy(s->visiting + (size_t)i * hidden, s->normed + (size_t)s->visitor[i] * hidden, hidden * sizeof(float));
        linear_quantise(&l->expert[2 * v.expert], s->visiting + (size_t)v.first * hidden, hidden, 0, v.count,
                        s->visit_scratch + (size_t)v.first * stride);
        finish(&turn);
    }
    settle(&turn);
    spent(w, TIME_REST);
}

void stack_visit_experts(struct worker *w, const struct layer *l, float *x, int rows) {
    Stack *s = w->stack;
    const StackShape *c = &s->shape;
    const Linear *gate_up = &l->expert[0], *down = &l->expert[1]; /* all experts have their sizes */
    size_t hidden = (size_t)c->hidden, inner = (size_t)c->expert_inner;
    size_t stride = linear_scratch(gate_up, 1), inner_stride = linear_scratch(down, 1);
    int piece, chunks = expert_chunks(s, gate_up), width = expert_panels(s, gate_up) * LINEAR_PANEL;
    stack_normalise(w, l->mlp_norm, x, rows, s->normed);
    route(w, l, rows);

    struct turn turn = begin_counted(w);
    while ((piece = grab(&turn)) >= 0) {
        RouteVisit v = s->visits[piece / chunks];
        int from = piece % chunks * width, to = least(from + width, gate_up->n);
        linear_run(&l->expert[2 * v.expert], s->visiting + (size_t)v.first * hidden, hidden,
                   s->visit_scratch + (size_t)v.first * stride, v.count, w->part - from, (size_t)width, from, to);
        for (int i = 0; i < v.count; i++)
            gate_panels(s, w->part + (size_t)i * (size_t)width, from, to, s->visit_inner + (size_t)(v.first + i) * inner,
                        c->expert_inner);
        finish(&turn);
    }
    settle(&turn);
    turn = begin_counted(w);
    while ((piece = grab(&turn)) >= 0) {
        RouteVisit v = s->visits[piece];
        linear_quantise(&l->expert[2 * v.expert + 1], s->visit_inner + (size_t)v.first * inner, inner, 0, v.count,
                        s->visit_scratch + (size_t)v.first * inner_stride);
        finish(&turn);
    }
    settle(&turn);
    chunks = expert_chunks(s, down), width = expert_panels(s, down) * LINEAR_PANEL;
    turn = begin_counted(w);
    while ((piece = grab(&turn)) >= 0) {
        RouteVisit v = s->visits[piece / chunks];
        int from = piece % chunks * width, to = least(from + width, down->n);
        linear_run(&l->expert[2 * v.expert + 1], s->visit_inner + (size_t)v.first * inner, inner,
                   s->visit_scratch + (size_t)v.first * inner_stride, v.count, s->visiting + (size_t)v.first * hidden,
                   hidden, from, to);
        finish(&turn);
    }
    settle(&turn);
    spent(w, TIME_LINEAR);
    int pieces = row_pieces(s, rows);
    turn = begin(w, pieces);
    while ((piece = grab(&turn)) >= 0) {
        for (int i = row_begin(piece, pieces, rows); i < row_begin(piece + 1, pieces, rows); i++) {
            const int32_t *place = s->place + (size_t)i * (size_t)c->active;
            const float *weight = s->weight + (size_t)i * (size_t)c->active;
            float *sum = s->visiting + (size_t)place[0] * hidden;
            for (int d = 0; d < c->hidden; d++) sum[d] *= weight[0];
            for (int j = 1; j < c->active; j++) {
                const float *out = s->visiting + (size_t)place[j] * hidden;
                for (int d = 0; d < c->hidden; d++) sum[d] += weight[j] * out[d];
            }
            s->lanes->add(x + (size_t)i * hidden, sum, c->hidden);
        }
        finish(&turn);
    }
    settle(&turn);
    spent(w, TIME_REST);
}
