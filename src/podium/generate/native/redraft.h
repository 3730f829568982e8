/* Chains of guesses of a draft head (podium.compress.draft) for some rows, on the calling thread.
 *
 * The same sums as DraftHead.draft in fp32, in another order: guesses are checked by the target, so that bits do not
 * matter here.
 */
#ifndef PODIUM_REDRAFT_H
#define PODIUM_REDRAFT_H

#include "linear.h"

typedef struct {
    int size, taps, vocabulary, depth, blocks;
    const Linear *join;   /* [last state, tapped ones brought to size 1] -> what the features begin with */
    const Linear *input;  /* embedding -> state */
    const Linear *both;   /* state -> [what it adds to the features, what it adds to the next state] */
    const Linear *block;  /* [blocks] residual: x += SiLU(block(x)) */
    const Linear *head;   /* features -> logits of the head's own vocabulary */
    const float *embeddings; /* of the target, [., size] */
    const int32_t *ids;   /* [vocabulary] the target's id of each */
} Redraft;

/* chain and sure [rows, depth]: ids, and the probability of each, for the target's states [rows, (1 + taps) * size]
 * and the last tokens [rows]. Returns -1 when memory is short. */
int redraft(const Redraft *head, int rows, const float *states, const int32_t *tokens, int32_t *chain, float *sure);

#endif
