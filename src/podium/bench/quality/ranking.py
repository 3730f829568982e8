"""Area under the ROC curve, exactly."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike


def area_under_curve(scores: ArrayLike, labels: ArrayLike) -> float:
    """The probability that a positive sample scores above a negative one, a tie counting one half.

    scores [N] real, labels [N] 0 or 1. By ranks (Mann-Whitney): (sum of positive ranks - P (P + 1) / 2) / (P N);
    NaN without positives, without negatives or with a score that is not finite.
    """
    values, truth = np.asarray(scores, dtype=np.float64), np.asarray(labels).astype(bool)
    positives, negatives = int(truth.sum()), int((~truth).sum())
    if not positives or not negatives or not np.isfinite(values).all():
        return float("nan")
    _, where, counts = np.unique(values, return_inverse=True, return_counts=True)
    ranks = (np.cumsum(counts) - (counts - 1) / 2)[where]  # equal scores share their mean rank
    return float((ranks[truth].sum() - positives * (positives + 1) / 2) / (positives * negatives))
