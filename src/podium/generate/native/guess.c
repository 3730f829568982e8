/* See guess.h. */
#include "guess.h"

#include <stdlib.h>
#include <string.h>

#define WAYS 4
#define LEAD 7
#define SURENESS 8
#define FIRST_CHANCE 0.5
#define WEIGHT 2.0
#define LONGEST_WEIGHT 200.0
#define TRUST 2.0
#define FORGET 0.95
#define EVIDENT 0.9
#define GRADES (GUESS_ORDERS * (LEAD + 1) + GUESS_DEPTH * (SURENESS + 1))

/* One n-gram: a cache line holds the four that share a place; the one that was not seen for longest makes room. */
typedef struct {
    uint64_t key; /* 0: nothing */
    int32_t token;
    uint32_t seen; /* time * 8 + lead */
} Entry;

typedef struct {
    int32_t token, grade; /* grade -1: no guess */
    double chance;
} Guess;

typedef struct {
    int32_t last[GUESS_LONGEST]; /* tokens, the newest at the end */
    int length;                  /* of them, so many are there */
    int open;                    /* guesses of which it is not known yet whether they are right … */
    Guess guess[GUESS_DEPTH], other[GUESS_DEPTH]; /* … and others in their places */
    double right, expected;
} Slot;

struct Guesser {
    int orders, order[GUESS_ORDERS], longest, depth;
    const Redraft *head;
    void *memory[GUESS_ORDERS];
    Entry *table[GUESS_ORDERS]; /* from the first line in that memory on */
    uint64_t mask; /* of a set of WAYS entries */
    uint32_t time;
    int64_t entries;
    Slot *slot;
    double share[GRADES], weight[GRADES]; /* weight 0: none was checked yet */
    /* of a round */
    int room;
    int32_t *rows, *last, *chain;
    float *states, *sure;
};

static uint64_t mix(uint64_t z) {
    z = (z ^ z >> 30) * 0xBF58476D1CE4E5B9u;
    z = (z ^ z >> 27) * 0x94D049BB133111EBu;
    return z ^ z >> 31;
}

Guesser *guess_new(int count, const int32_t *orders, int64_t entries, int slots, int depth, const Redraft *head) {
    Guesser *g = calloc(1, sizeof *g);
    if (!g) return NULL;
    g->orders = count;
    g->depth = depth;
    g->head = head;
    uint64_t sets = 1;
    while (count && sets * 2 * WAYS * (uint64_t)count <= (uint64_t)entries) sets *= 2;
    g->mask = sets - 1;
    g->slot = calloc((size_t)slots, sizeof *g->slot);
    int failed = !g->slot;
    for (int i = 0; i < count; i++) {
        g->order[i] = orders[i];
        if (orders[i] > g->longest) g->longest = orders[i];
        /* calloc gives pages that are clean and not there yet. */
        g->memory[i] = calloc(sets * WAYS + WAYS, sizeof(Entry));
        g->table[i] = (Entry *)(((uintptr_t)g->memory[i] + 63) & ~(uintptr_t)63);
        failed |= !g->memory[i];
    }
    if (failed) {
        guess_free(g);
        return NULL;
    }
    return g;
}

void guess_free(Guesser *g) {
    for (int i = 0; i < g->orders; i++) free(g->memory[i]);
    free(g->slot);
    free(g->rows);
    free(g->last);
    free(g->chain);
    free(g->states);
    free(g->sure);
    free(g);
}

int64_t guess_entries(const Guesser *g) { return g->entries; }

/* The key of the last `order` tokens; 0 where there are fewer. */
static uint64_t key_of(const int32_t *last, int length, int order, int64_t salt) {
    if (length < order) return 0;
    uint64_t key = mix((uint64_t)salt * 0x9E3779B97F4A7C15u);
    for (int i = GUESS_LONGEST - order; i < GUESS_LONGEST; i++) key = mix(key + (uint32_t)last[i] + 0x9E3779B97F4A7C15u);
    return key ? key : 1;
}

static Entry *find(const Guesser *g, int order, uint64_t key) {
    Entry *set = g->table[order] + (key & g->mask) * WAYS;
    for (int way = 0; way < WAYS; way++)
        if (set[way].key == key) return &set[way];
    return NULL;
}

static void vote(Guesser *g, int order, uint64_t key, int32_t token) {
    Entry *entry = find(g, order, key);
    uint32_t now = g->time << 3, lead = 1;
    if (!entry) {
        Entry *set = g->table[order] + (key & g->mask) * WAYS;
        entry = set;
        for (int way = 0; way < WAYS && entry->key; way++)
            if (!set[way].key || set[way].seen >> 3 < entry->seen >> 3) entry = &set[way];
        g->entries += !entry->key;
        entry->key = key;
        entry->token = token;
    } else {
        lead = entry->seen & LEAD;
        if (entry->token == token) lead += lead < LEAD;
        else if (lead > 1) lead--;
        else entry->token = token;
    }
    entry->seen = now | lead;
}

static void push(int32_t *last, int32_t token) {
    memmove(last, last + 1, (GUESS_LONGEST - 1) * sizeof *last);
    last[GUESS_LONGEST - 1] = token;
}

static double share_of(const Guesser *g, const Guess *guess) {
    return g->weight[guess->grade] > 0.0 ? g->share[guess->grade] : guess->chance;
}

static int check(Guesser *g, const Guess *guess, int32_t token) {
    double *share = &g->share[guess->grade], *weight = &g->weight[guess->grade];
    int right = guess->token == token;
    if (*weight == 0.0) {
        *share = guess->chance;
        *weight = WEIGHT;
    }
    *weight = *weight + 1.0 < LONGEST_WEIGHT ? *weight + 1.0 : LONGEST_WEIGHT;
    *share += (right - *share) / *weight;
    return right;
}

static void learn(Guesser *g, const GuessAsk *ask, const int32_t *tokens) {
    Slot *s = &g->slot[ask->slot];
    int64_t place = 0;
    if (ask->skip >= 0) {
        *s = (Slot){.right = TRUST, .expected = TRUST};
        for (; place < ask->skip && place < ask->count; place++) {
            push(s->last, tokens[place]);
            if (s->length < GUESS_LONGEST) s->length++;
        }
    }
    if (place == ask->count) return;
    for (int i = 0; i < s->open && place + i < ask->count; i++) {
        int32_t token = tokens[place + i];
        if (s->other[i].grade >= 0) check(g, &s->other[i], token);
        double expected = share_of(g, &s->guess[i]);
        int right = check(g, &s->guess[i], token);
        s->right = s->right * FORGET + right;
        s->expected = s->expected * FORGET + expected;
        if (!right) break;
    }
    s->open = 0;
    for (; place < ask->count; place++) {
        g->time++;
        for (int order = 0; order < g->orders; order++) {
            uint64_t key = key_of(s->last, s->length, g->order[order], ask->salt);
            if (key) vote(g, order, key, tokens[place]);
        }
        push(s->last, tokens[place]);
        if (s->length < GUESS_LONGEST) s->length++;
    }
}

static Guess look_up(const Guesser *g, const int32_t *last, int length, int64_t salt) {
    for (int order = 0; order < g->orders; order++) {
        uint64_t key = key_of(last, length, g->order[order], salt);
        const Entry *entry = key ? find(g, order, key) : NULL;
        if (entry) return (Guess){entry->token, order * (LEAD + 1) + (int)(entry->seen & LEAD), FIRST_CHANCE};
    }
    return (Guess){0, -1, 0.0};
}

/* head, sure: the head's chain, NULL where it has none. */
static void lay_chain(Guesser *g, const GuessAsk *ask, const int32_t *head, const float *sure) {
    Slot *s = &g->slot[ask->slot];
    int32_t last[GUESS_LONGEST];
    int length = s->length, depths = head ? g->head->depth : 0, limit = ask->limit < g->depth ? (int)ask->limit : g->depth;
    memcpy(last, s->last, sizeof last);
    s->open = 0;
    for (int depth = 0; depth < limit; depth++) {
        Guess guess = {0, -1, 0.0}, other = look_up(g, last, length, ask->salt);
        if (depth < depths) {
            int grade = GUESS_ORDERS * (LEAD + 1) + depth * (SURENESS + 1) + (int)(sure[depth] * SURENESS);
            guess = (Guess){head[depth], grade, sure[depth]};
        }
        if (guess.grade < 0 || (other.grade >= 0 && share_of(g, &other) > share_of(g, &guess))) {
            Guess first = guess;
            guess = other;
            other = first;
        }
        if (guess.grade < 0) break;
        s->guess[depth] = guess;
        s->other[depth] = other;
        s->open = depth + 1;
        if (depth >= depths || head[depth] != guess.token) depths = 0;
        push(last, guess.token);
        if (length < GUESS_LONGEST) length++;
    }
}

static int make_room(Guesser *g, int64_t asks) {
    if (!g->head || asks <= g->room) return 0;
    size_t room = 2 * (size_t)asks, depth = (size_t)g->head->depth;
    free(g->rows);
    free(g->last);
    free(g->chain);
    free(g->states);
    free(g->sure);
    g->rows = malloc(room * sizeof *g->rows);
    g->last = malloc(room * sizeof *g->last);
    g->chain = malloc(room * depth * sizeof *g->chain);
    g->states = malloc(room * (size_t)(1 + g->head->taps) * (size_t)g->head->size * sizeof *g->states);
    g->sure = malloc(room * depth * sizeof *g->sure);
    int failed = !g->rows || !g->last || !g->chain || !g->states || !g->sure;
    g->room = failed ? 0 : (int)room;
    return failed;
}

/* The guesses of the head: rows[i] is the place of ask i in its chains, or -1. */
static int ask_head(Guesser *g, const GuessRound *r) {
    int count = 0;
    size_t size = g->head ? (size_t)(1 + g->head->taps) * (size_t)g->head->size : 0;
    if (make_room(g, r->guessing)) return -1;
    for (int64_t i = 0; g->head && i < r->guessing; i++) {
        const GuessAsk *ask = &r->ask[i];
        const Slot *s = &g->slot[ask->slot];
        g->rows[i] = -1;
        if (ask->row < 0 || ask->limit < 1 || !r->states) continue;
        Guess known = look_up(g, s->last, s->length, ask->salt);
        if (known.grade >= 0 && share_of(g, &known) > EVIDENT) continue;
        memcpy(g->states + (size_t)count * size, r->states + (size_t)ask->row * size, size * sizeof(float));
        g->last[count] = s->last[GUESS_LONGEST - 1];
        g->rows[i] = count++;
    }
    return count ? redraft(g->head, count, g->states, g->last, g->chain, g->sure) : 0;
}

/* Of all next guesses the likeliest, one after the other, for as long as that makes more tokens per second. */
static int select_by_chance(Guesser *g, const GuessRound *r) {
    int64_t rows = r->guessing, most = 0, room = r->room < r->most - rows ? r->room : r->most - rows;
    if (room < 0) return 0;
    double best = r->margin * (double)rows / r->times[rows], tokens = (double)rows;
    double *next = malloc((size_t)(rows ? rows : 1) * sizeof *next);
    int32_t *taken = malloc((size_t)(room > 0 ? room : 1) * sizeof *taken);
    int failed = !next || !taken;
    for (int64_t i = 0; !failed && i < rows; i++) {
        const Slot *s = &g->slot[r->ask[i].slot];
        double trust = s->right / s->expected;
        r->counts[i] = 0;
        next[i] = s->open ? (trust < 1.0 ? trust : 1.0) * share_of(g, &s->guess[0]) : -1.0;
    }
    for (int64_t count = 1; !failed && count <= room; count++) {
        int64_t first = -1;
        for (int64_t i = 0; i < rows; i++)
            if (next[i] >= 0.0 && (first < 0 || next[i] >= next[first])) first = i;
        if (first < 0) break;
        tokens += next[first];
        taken[count - 1] = (int32_t)first;
        const Slot *s = &g->slot[r->ask[first].slot];
        int depth = ++r->counts[first];
        next[first] = depth < s->open ? next[first] * share_of(g, &s->guess[depth]) : -1.0;
        double value = tokens / r->times[rows + count];
        if (value > best) {
            best = value;
            most = count;
        }
    }
    if (!failed) {
        memset(r->counts, 0, (size_t)rows * sizeof *r->counts);
        for (int64_t i = 0; i < most; i++) r->counts[taken[i]]++;
    }
    free(next);
    free(taken);
    return failed ? -1 : (int)most;
}

static int select_in_turn(const Guesser *g, const GuessRound *r) {
    int64_t left = r->room;
    memset(r->counts, 0, (size_t)r->guessing * sizeof *r->counts);
    for (int depth = 0; depth < g->depth; depth++)
        for (int64_t i = 0; i < r->guessing; i++)
            if (depth < g->slot[r->ask[i].slot].open && left > 0) {
                r->counts[i]++;
                left--;
            }
    return (int)(r->room - left);
}

int guess_round(Guesser *g, const GuessRound *r) {
    const int32_t *tokens = r->tokens;
    for (int64_t i = 0; i < r->asks; i++) {
        learn(g, &r->ask[i], tokens);
        tokens += r->ask[i].count;
    }
    if (ask_head(g, r)) return -1;
    for (int64_t i = 0; i < r->guessing; i++) {
        int32_t row = g->head ? g->rows[i] : -1;
        size_t place = row < 0 ? 0 : (size_t)row * (size_t)g->head->depth;
        lay_chain(g, &r->ask[i], row < 0 ? NULL : g->chain + place, row < 0 ? NULL : g->sure + place);
    }
    int kept = r->times ? select_by_chance(g, r) : select_in_turn(g, r);
    for (int64_t i = 0; i < r->guessing && kept > 0; i++)
        for (int j = 0; j < r->counts[i]; j++)
            r->guesses[i * g->depth + j] = g->slot[r->ask[i].slot].guess[j].token;
    return kept;
}
