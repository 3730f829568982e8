/* Which experts of a mixture the rows of a step visit, and in which order that makes the least work.
 *
 * Contract
 *  - Row-invariant: the experts and weights of a row depend on its logits alone, and they come in ascending order of the
 *    experts, so that what they give is added in one order whatever else is in the step.
 *  - Nothing allocates or locks.
 */
#ifndef PODIUM_ROUTE_H
#define PODIUM_ROUTE_H

#include <stdint.h>

/* Rows [first, first + count) of those sorted by expert: all visit `expert`, and are multiplied together. */
typedef struct {
    int32_t expert, first, count;
} RouteVisit;

/* The `active` likeliest of `experts` for one row, of equally likely ones the first, in ascending order, with their
 * probabilities under a softmax over all; where `normalised`, divided by their sum. NaN among the logits shows in the
 * weights. */
void route_row(const float *logits, int experts, int active, int normalised, int32_t *expert, float *weight);

/* Sorts the visits expert[rows * active] by expert, each expert's in the order of the rows: visitor[place] is the row,
 * place[row * active + i] where its i-th visit stands. Fills `visits`, of at most `most` rows each, and returns how many
 * there are: at most route_visits(). end[experts] is scratch. */
int route_sort(const int32_t *expert, int rows, int active, int experts, int most, int32_t *visitor, int32_t *place,
               RouteVisit *visits, int32_t *end);
int route_visits(int rows, int active, int experts, int most);

#endif
