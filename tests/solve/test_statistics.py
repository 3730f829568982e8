"""Statistics against brute force, scipy and simulation."""

import itertools
import math
import random

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from podium.solve.scores import estimate
from podium.solve.statistics import (
    bootstrap_interval,
    detectable_difference,
    effective_wilson,
    error_parts,
    majority_at_k,
    paired_bootstrap,
    pass_at_k,
    sign_flip_test,
    student_quantile,
)


@settings(deadline=None)
@given(st.integers(1, 8), st.data())
def test_pass_at_k_equals_counting_all_subsets(n, data):
    correct = data.draw(st.integers(0, n))
    k = data.draw(st.integers(1, n))
    marks = [True] * correct + [False] * (n - correct)
    subsets = list(itertools.combinations(marks, k))
    assert pass_at_k(n, correct, k) == pytest.approx(sum(any(s) for s in subsets) / len(subsets))


@settings(max_examples=60, deadline=None)
@given(st.lists(st.integers(1, 4), max_size=4), st.integers(0, 3), st.data())
def test_majority_at_k_equals_counting_all_subsets(counts, blank, data):
    total = sum(counts) + blank
    if total == 0:
        return
    right = [data.draw(st.booleans()) for _ in counts]
    k = data.draw(st.integers(1, total))
    attempts = [number for number, size in enumerate(counts) for _ in range(size)] + [None] * blank
    scores = []
    for subset in itertools.combinations(attempts, k):
        votes = {answer: subset.count(answer) for answer in subset if answer is not None}
        leaders = [answer for answer, count in votes.items() if count == max(votes.values())]
        scores.append(sum(right[answer] for answer in leaders) / len(leaders) if leaders else 0.0)
    assert majority_at_k(counts, right, blank, k) == pytest.approx(sum(scores) / len(scores))


def test_majority_at_k_of_many_attempts_agrees_with_resampling():
    counts, right, blank = [20, 14, 9, 5, 3], [False, True, False, True, False], 13
    attempts = [number for number, size in enumerate(counts) for _ in range(size)] + [None] * blank
    draw = random.Random(0)
    scores = []
    for _ in range(20_000):
        votes: dict = {}
        for answer in draw.sample(attempts, 16):
            if answer is not None:
                votes[answer] = votes.get(answer, 0) + 1
        leaders = [answer for answer, count in votes.items() if count == max(votes.values())]
        scores.append(sum(right[answer] for answer in leaders) / len(leaders) if leaders else 0.0)
    assert majority_at_k(counts, right, blank, 16) == pytest.approx(sum(scores) / len(scores), abs=0.012)


def test_impossible_draws_are_refused():
    for call in (lambda: pass_at_k(4, 5, 1), lambda: pass_at_k(4, 1, 5), lambda: majority_at_k([2], [True], 0, 3)):
        with pytest.raises(ValueError):
            call()


@settings(max_examples=60, deadline=None)
@given(st.floats(0.001, 0.999), st.integers(1, 400))
def test_student_quantiles_are_scipys(probability, freedom):
    assert student_quantile(probability, freedom) == pytest.approx(
        stats.t.ppf(probability, freedom), rel=1e-8, abs=1e-9
    )


@settings(max_examples=40, deadline=None)
@given(st.lists(st.sampled_from([-1.0, -0.75, -0.25, 0.0, 0.25, 0.5, 1.0]), min_size=1, max_size=10))
def test_the_sign_flip_test_equals_counting_all_patterns(differences):
    observed = abs(sum(differences))
    sums = [abs(sum(map(math.prod, zip(differences, signs, strict=True)))) for signs in _patterns(len(differences))]
    expected = sum(one >= observed - 1e-12 for one in sums) / len(sums)
    assert sign_flip_test(differences) == pytest.approx(expected)


def _patterns(n):
    return itertools.product((-1, 1), repeat=n)


def test_the_sign_flip_test_is_scipys_permutation_test_and_its_binomial_test():
    draw = random.Random(1)
    differences = [draw.randint(-3, 4) / 12 for _ in range(12)]
    found = stats.permutation_test(
        (np.asarray(differences),), lambda x, axis: x.mean(axis=axis), permutation_type="samples", n_resamples=np.inf
    )
    assert sign_flip_test(differences) == pytest.approx(found.pvalue)
    wins = [1.0] * 41 + [-1.0] * 23 + [0.0] * 200  # McNemar's exact test
    assert sign_flip_test(wins) == pytest.approx(stats.binomtest(41, 64).pvalue)


def test_differences_without_a_common_unit_are_drawn():
    draw = random.Random(2)
    differences = [draw.gauss(0.3, 1.0) for _ in range(15)]
    exact = stats.permutation_test(
        (np.asarray(differences),), lambda x, axis: x.mean(axis=axis), permutation_type="samples", n_resamples=np.inf
    )
    assert sign_flip_test(differences) == pytest.approx(exact.pvalue, abs=0.01)
    assert sign_flip_test(differences, seed=5) == sign_flip_test(differences, seed=5)


def test_under_no_difference_p_is_no_smaller_than_it_says():
    draw = np.random.default_rng(3)
    ps = [sign_flip_test(list(draw.integers(-4, 5, size=30) / 4)) for _ in range(400)]
    assert np.mean(np.asarray(ps) <= 0.05) <= 0.08
    assert np.mean(np.asarray(ps) <= 0.2) == pytest.approx(0.2, abs=0.07)


@pytest.mark.parametrize(("n", "rate", "k"), [(30, 0.5, 1), (30, 0.8, 16), (30, 0.95, 4)])
def test_intervals_hold_the_truth_about_as_often_as_they_say(n, rate, k):
    """Problems of different hardness, k attempts each; the truth is the mean over all such problems."""
    draw = np.random.default_rng(4)
    held = 0
    for trial in range(300):
        hardness = draw.beta(2 * rate, 2 * (1 - rate), size=n)
        found = estimate(list(draw.binomial(k, hardness) / k), seed=trial)
        held += found.low <= rate <= found.high
    assert 0.92 <= held / 300 <= 0.99


@settings(deadline=None)
@given(st.integers(2, 200), st.data())
def test_of_yes_and_no_the_interval_is_wilsons_with_students_t(n, data):
    right = data.draw(st.integers(1, n - 1))
    low, high = effective_wilson([1.0] * right + [0.0] * (n - right))
    level = 2 * stats.norm.cdf(stats.t.ppf(0.975, n - 1)) - 1
    if level < 1:
        theirs = stats.binomtest(right, n).proportion_ci(level, method="wilson")
        assert (low, high) == pytest.approx((theirs.low, theirs.high), abs=1e-6)


def test_an_interval_is_scipys_but_for_its_correction():
    values = list(np.random.default_rng(5).random(200))
    ours = bootstrap_interval(values)
    theirs = stats.bootstrap((values,), np.mean, method="percentile", n_resamples=20_000, rng=6).confidence_interval
    assert ours == pytest.approx((theirs.low, theirs.high), abs=0.004)
    assert paired_bootstrap(values).value == pytest.approx(np.mean(values))


def test_the_detectable_difference_is_detected_four_times_in_five():
    draw = np.random.default_rng(7)
    spread, n = 0.5, 40
    promised = detectable_difference(list(draw.normal(0, spread, size=4_000)[:n]))
    true = detectable_difference([spread * math.sqrt((n - 1) / n) * sign for sign in (1, -1) * (n // 2)])
    assert promised == pytest.approx(true, rel=0.25)
    found = [stats.ttest_1samp(draw.normal(true, spread, size=n), 0).pvalue < 0.05 for _ in range(2_000)]
    assert np.mean(found) == pytest.approx(0.8, abs=0.04)
    with pytest.raises(ValueError):
        detectable_difference([1.0])


def test_the_error_splits_into_problems_and_attempts():
    draw = np.random.default_rng(8)
    k, n = 8, 400
    hardness = draw.beta(1, 1, size=n)
    parts = error_parts([list(draw.random(k) < p) for p in hardness])
    assert parts.error == pytest.approx(math.sqrt((1 / 12 + 1 / 6 / k) / n), rel=0.1)
    assert parts.problems_only == pytest.approx(math.sqrt(1 / 12 / n), rel=0.1)
    alike = error_parts([list(draw.random(k) < 0.5) for _ in range(n)])
    assert alike.problems_only < 0.4 * alike.error
    assert error_parts([]).error == 1.0
