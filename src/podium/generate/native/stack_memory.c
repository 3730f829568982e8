/* What threads and steps work in: see stack_parts.h. Memory grows with the largest step and is kept. */
#include "stack_parts.h"

#include <stdlib.h>

/* The widest scratch that m rows of any layer's input need. */
static size_t scratch_for(Stack *s, int m) {
    size_t bytes = linear_scratch(&s->head, m);
    for (int layer = 0; layer < s->shape.layers; layer++) {
        struct layer *l = &s->layer[layer];
        bytes = most(bytes, most(linear_scratch(&l->qkv, m), linear_scratch(&l->output, m)));
        bytes = most(bytes, most(linear_scratch(&l->gate_up, m), linear_scratch(&l->down, m)));
        if (l->expert) bytes = most(bytes, most(linear_scratch(&l->expert[0], m), linear_scratch(&l->expert[1], m)));
    }
    return aligned(bytes);
}

static char *take(char **from, size_t bytes) {
    char *p = *from;
    *from += aligned(bytes);
    return p;
}

int stack_worker_memory(Stack *s, struct worker *w) {
    const StackShape *c = &s->shape;
    size_t group = (size_t)(c->heads / c->kv_heads), tile = most(TILE_ROWS, group), padded = (size_t)s->padded;
    size_t widest = most(most((size_t)c->hidden, (size_t)inner_rows(c)), (size_t)c->heads * (size_t)c->head_dim);
    size_t sizes[] = {
        ALONE_ROWS * widest * sizeof(float),
        (size_t)ROW_BLOCK * CHUNK_PANELS * LINEAR_PANEL * sizeof(float),
        tile * padded * sizeof(float),
        tile * BLOCK * sizeof(float),
        tile * sizeof(float),
        tile * MOST_LANES * sizeof(float),
        tile * padded * sizeof(float),
        scratch_for(s, ALONE_ROWS),
    };
    size_t total = 64;
    for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++) total += aligned(sizes[i]);
    if (posix_memalign((void **)&w->own, 128, total)) return STACK_NO_MEMORY;
    char *p = w->own;
    w->normed = (float *)take(&p, sizes[0]);
    w->part = (float *)take(&p, sizes[1]);
    w->queries = (float *)take(&p, sizes[2]);
    w->scores = (float *)take(&p, sizes[3]);
    w->largest = (float *)take(&p, sizes[4]);
    w->totals = (float *)take(&p, sizes[5]);
    w->mixed = (float *)take(&p, sizes[6]);
    w->scratch = take(&p, sizes[7]);
    return STACK_DONE;
}

int stack_reserve(Stack *s, size_t spans, size_t rows) {
    const StackShape *c = &s->shape;
    if (spans > s->span_room) {
        size_t room = most(2 * s->span_room, most(spans, 64));
        free(s->span_memory);
        s->span_room = 0;
        if (posix_memalign((void **)&s->span_memory, 64, room * sizeof *s->tables + 2 * room * sizeof(int32_t) + 192)) {
            s->span_memory = NULL;
            return STACK_NO_MEMORY;
        }
        char *p = s->span_memory;
        s->tables = (const int32_t **)take(&p, room * sizeof *s->tables);
        s->rank = (int32_t *)take(&p, room * sizeof(int32_t));
        s->offset = (int32_t *)take(&p, room * sizeof(int32_t));
        s->span_room = room;
    }
    if (rows > s->row_room) {
        size_t room = most(rows + rows / 4, 64), blocks = room / ROW_BLOCK + 1;
        size_t heads = (size_t)c->heads, size = (size_t)c->head_dim, hidden = (size_t)c->hidden;
        size_t wide = heads * size + 2 * (size_t)c->kv_heads * size;
        size_t ints = aligned(room * sizeof(int32_t));
        s->scratch_bytes = scratch_for(s, ROW_BLOCK);
        size_t floats = aligned(room * hidden * sizeof(float)) * 3 + aligned(room * wide * sizeof(float)) +
                        aligned(room * heads * size * sizeof(float)) +
                        aligned(room * (size_t)inner_rows(c) * sizeof(float));
        size_t visits = visits_of(c, room), experts = (size_t)c->experts, scratch = scratch_for(s, 1);
        size_t lists = visits ? (size_t)route_visits((int)room, c->active, c->experts, ROW_BLOCK) : 0;
        size_t routed = aligned(room * experts * sizeof(float)) + 4 * aligned(visits * sizeof(float)) +
                        aligned(experts * sizeof(int32_t)) + aligned(lists * sizeof(RouteVisit)) +
                        aligned(visits * hidden * sizeof(float)) +
                        aligned(visits * (size_t)c->expert_inner * sizeof(float)) + visits * scratch;
        free(s->row_memory);
        s->row_room = 0;
        if (posix_memalign((void **)&s->row_memory, 64, 9 * ints + floats + blocks * s->scratch_bytes + routed)) {
            s->row_memory = NULL;
            return STACK_NO_MEMORY;
        }
        char *p = s->row_memory;
        s->position = (int32_t *)take(&p, ints);
        s->row_span = (int32_t *)take(&p, ints);
        s->wanted_row = (int32_t *)take(&p, ints);
        for (struct plan *plan = &s->all; plan; plan = plan == &s->all ? &s->last : NULL) {
            plan->span = (int32_t *)take(&p, ints);
            plan->limit = (int32_t *)take(&p, ints);
            plan->order = (int32_t *)take(&p, ints);
        }
        s->x = (float *)take(&p, room * hidden * sizeof(float));
        s->normed = (float *)take(&p, room * hidden * sizeof(float));
        s->few = (float *)take(&p, room * hidden * sizeof(float));
        s->qkv = (float *)take(&p, room * wide * sizeof(float));
        s->mixed = (float *)take(&p, room * heads * size * sizeof(float));
        s->inner = (float *)take(&p, room * (size_t)inner_rows(c) * sizeof(float));
        s->scratch = take(&p, blocks * s->scratch_bytes);
        s->scores = (float *)take(&p, room * experts * sizeof(float));
        s->weight = (float *)take(&p, visits * sizeof(float));
        s->chosen = (int32_t *)take(&p, visits * sizeof(int32_t));
        s->place = (int32_t *)take(&p, visits * sizeof(int32_t));
        s->visitor = (int32_t *)take(&p, visits * sizeof(int32_t));
        s->end = (int32_t *)take(&p, experts * sizeof(int32_t));
        s->visits = (RouteVisit *)take(&p, lists * sizeof(RouteVisit));
        s->visiting = (float *)take(&p, visits * hidden * sizeof(float));
        s->visit_inner = (float *)take(&p, visits * (size_t)c->expert_inner * sizeof(float));
        s->visit_scratch = p;
        s->row_room = room;
    }
    return STACK_DONE;
}
