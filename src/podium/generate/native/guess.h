/* Guesses of what comes next for all completions of a step: podium.generate.guess says what they are; its Guesser and
 * this give the same ones, as long as no n-gram is forgotten.
 */
#ifndef PODIUM_GUESS_H
#define PODIUM_GUESS_H

#include "redraft.h"

#define GUESS_ORDERS 4  /* lengths of n-grams at most */
#define GUESS_LONGEST 8 /* n-gram */
#define GUESS_DEPTH 16  /* guesses in a row at most */

typedef struct Guesser Guesser;

/* orders [count], the longest first; entries: n-grams remembered, over all orders; slots: completions; head may be
 * NULL. NULL when memory is short. Pages are taken from the system when they are first written. */
Guesser *guess_new(int count, const int32_t *orders, int64_t entries, int slots, int depth, const Redraft *head);
void guess_free(Guesser *);
int64_t guess_entries(const Guesser *);

typedef struct {
    int64_t slot;
    int64_t skip;  /* >= 0: another completion begins in the slot, and its first `skip` tokens are not learnt */
    int64_t count; /* tokens that are new */
    int64_t row;   /* of states, or -1 */
    int64_t limit; /* guesses that it can use */
    int64_t salt;  /* keeps n-grams of different prompts apart */
} GuessAsk;

typedef struct {
    int64_t asks;          /* completions: the first `guessing` of them are to be continued, the others only learnt */
    int64_t guessing;
    const GuessAsk *ask;   /* [asks] */
    const int32_t *tokens; /* the new ones of each, one after the other */
    const float *states;   /* [., (1 + taps) * size of the head] */
    int64_t room;          /* guesses in all */
    const double *times;   /* [most + 1] or NULL: see Guessing.guess */
    int64_t most;
    double margin;
    int32_t *counts;       /* [guessing] filled */
    int32_t *guesses;      /* [guessing, depth] filled */
} GuessRound;

/* How many guesses there are; -1 when memory is short. */
int guess_round(Guesser *, const GuessRound *round);

#endif
