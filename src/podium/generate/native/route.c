/* See route.h. */
#include "route.h"

#include <math.h>
#include <string.h>

void route_row(const float *logits, int experts, int active, int normalised, int32_t *expert, float *weight) {
    float top = logits[0], sum = 0.0f, chosen = 0.0f;
    for (int e = 1; e < experts; e++) top = logits[e] > top ? logits[e] : top;
    for (int e = 0; e < experts; e++) sum += expf(logits[e] - top);
    for (int found = 0; found < active; found++) {
        int best = -1, at = found;
        for (int e = 0; e < experts; e++) {
            int taken = 0;
            for (int i = 0; i < found; i++) taken |= expert[i] == e;
            if (!taken && (best < 0 || logits[e] > logits[best])) best = e;
        }
        for (; at > 0 && expert[at - 1] > best; at--) expert[at] = expert[at - 1];
        expert[at] = best;
    }
    for (int i = 0; i < active; i++) chosen += weight[i] = expf(logits[expert[i]] - top) / sum;
    if (normalised)
        for (int i = 0; i < active; i++) weight[i] /= chosen;
}

int route_visits(int rows, int active, int experts, int most) {
    int all = rows * active, whole = all / most;
    return whole + (all < experts ? all : experts);
}

int route_sort(const int32_t *expert, int rows, int active, int experts, int most, int32_t *visitor, int32_t *place,
               RouteVisit *visits, int32_t *end) {
    int all = rows * active, count = 0;
    memset(end, 0, (size_t)experts * sizeof *end);
    for (int i = 0; i < all; i++) end[expert[i]]++;
    for (int e = 0, first = 0; e < experts; e++) {
        int size = end[e];
        end[e] = first;
        for (int done = 0; done < size; done += most)
            visits[count++] = (RouteVisit){e, first + done, size - done < most ? size - done : most};
        first += size;
    }
    for (int i = 0; i < all; i++) {
        int at = end[expert[i]]++;
        visitor[at] = i / active;
        place[i] = at;
    }
    return count;
}
