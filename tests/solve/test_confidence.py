"""Signals of confidence against numpy, and against an engine that tells its log-probabilities."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from podium.answering import Piece
from podium.solve.confidence import TAIL, Confidence, entropy


@settings(deadline=None)
@given(st.lists(st.floats(0.01, 10.0), min_size=1, max_size=12))
def test_entropy_is_scipys(weights):
    shares = np.asarray(weights) / sum(weights)
    assert entropy([math.log(share) for share in shares]) == pytest.approx(stats.entropy(shares), abs=1e-9)


def test_what_is_not_told_counts_as_one_more_token():
    assert entropy([math.log(0.5), math.log(0.3)]) == pytest.approx(stats.entropy([0.5, 0.3, 0.2]))
    assert entropy([0.0]) == 0.0


def test_the_tail_is_the_last_tokens_and_the_mean_all_of_them():
    seen = Confidence()
    for value in (-5.0, -1.0):
        seen.push(Piece("x", tokens=(1,) * TAIL, logprobs=(value,) * TAIL))
    assert seen.signals() == pytest.approx({"mean_logprob": -3.0, "tail_entropy": 1.0})
    sure = Confidence()
    sure.push(Piece("x", tokens=(1,), logprobs=(-9.0,), top_logprobs=(((1, 0.0),),)))
    assert sure.signals() == pytest.approx({"mean_logprob": -9.0, "tail_entropy": 0.0})


def test_without_log_probabilities_there_are_no_signals():
    seen = Confidence()
    seen.push(Piece("x", tokens=(1,)))
    seen.push(Piece("y", logprobs=(-math.inf,)))
    assert seen.signals() == {}
