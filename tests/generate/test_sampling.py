"""Sampling against transformers' own filters, and against counting."""

from collections import Counter

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from podium.answering import Sampling
from podium.generate.sampling import Settings, adjust, choose, uniforms

CPU = torch.device("cpu")


def draw_many(logits, sampling, count):
    """Tokens drawn from one row of logits with `count` seeds."""
    rows = [Sampling(**{**sampling, "seed": seed}) for seed in range(count)]
    return choose(logits.expand(count, -1), Settings(rows, CPU), [0] * count)[0]


def wanted_distribution(logits, sampling):
    """Probabilities according to transformers."""
    transformers = pytest.importorskip("transformers")
    scores = logits[None] / sampling["temperature"]
    for name, kind in (
        ("top_k", transformers.TopKLogitsWarper),
        ("top_p", transformers.TopPLogitsWarper),
        ("min_p", transformers.MinPLogitsWarper),
    ):
        if name in sampling:
            scores = kind(sampling[name])(None, scores)
    return scores.softmax(-1)[0]


@pytest.mark.parametrize(
    "sampling",
    [
        {"temperature": 1.0},
        {"temperature": 0.6, "top_k": 7},
        {"temperature": 1.0, "top_p": 0.8},
        {"temperature": 1.3, "min_p": 0.1},
        {"temperature": 0.9, "top_k": 20, "top_p": 0.7, "min_p": 0.05},
        {"temperature": 5.0, "top_p": 0.95},
        {"temperature": 5.0, "top_k": 100, "top_p": 0.9},
        {"temperature": 5.0, "top_p": 0.05},  # nearly every try is refused: in the end all are sorted
        {"temperature": 6.0, "min_p": 0.3},
    ],
)
def test_tokens_are_drawn_as_often_as_transformers_would(sampling):
    logits = torch.randn(200, generator=torch.Generator().manual_seed(0)) * 2
    wanted = wanted_distribution(logits, sampling)
    count = 20_000
    found = torch.bincount(torch.tensor(draw_many(logits, sampling, count)), minlength=200)
    assert not (found[wanted == 0]).any(), "a filtered token was drawn"
    expected = wanted * count
    common = expected >= 10
    # Pearson's statistic, against its mean plus six standard deviations.
    statistic = (((found - expected) ** 2) / expected)[common].sum()
    freedom = int(common.sum()) - 1
    assert statistic < freedom + 6 * (2 * freedom) ** 0.5


@settings(max_examples=60, deadline=None)
@given(st.data())
def test_a_row_does_not_depend_on_the_rows_beside_it(data):
    vocabulary = data.draw(st.sampled_from([3, 64, 65, 300]))
    number = data.draw(st.integers(2, 9))
    rows = [
        Sampling(
            temperature=data.draw(st.sampled_from([0.0, 1e-6, 0.7, 1.0, 4.0])),
            top_k=data.draw(st.sampled_from([0, 1, 2, 70])),
            top_p=data.draw(st.sampled_from([1.0, 0.95, 0.3, 1e-9])),
            min_p=data.draw(st.sampled_from([0.0, 0.02, 0.9])),
            seed=data.draw(st.integers(-(2**40), 2**70)),
        )
        for _ in range(number)
    ]
    scale = data.draw(st.sampled_from([0.1, 3.0, 40.0]))
    logits = torch.randn(number, vocabulary, generator=torch.Generator().manual_seed(number)) * scale
    counters = data.draw(st.lists(st.integers(0, 10**6), min_size=number, max_size=number))
    together = choose(logits, Settings(rows, CPU), counters)
    for i in range(number):
        alone = choose(logits[i : i + 1], Settings(rows[i : i + 1], CPU), counters[i : i + 1])
        assert (together[0][i], together[1][i]) == (alone[0][0], alone[1][0])
        if rows[i].temperature == 0 or rows[i].top_k == 1:
            assert together[0][i] == int(logits[i].argmax())


def test_the_likeliest_are_found_wherever_they_stand_in_a_large_vocabulary():
    logits = torch.randn(5, 70 * 128 + 50, generator=torch.Generator().manual_seed(0))
    logits[0, -3:] += 20
    logits[1, 256:320] += 20  # all in one part
    for top_k in (1, 3, 64):
        rows = [Sampling(temperature=1.0, top_k=top_k, seed=seed) for seed in range(5)]
        allowed = [set(ids) for ids in logits.topk(top_k).indices.tolist()]
        drawn = [set() for _ in rows]
        for counter in range(300):
            tokens = choose(logits, Settings(rows, CPU), [counter] * 5)[0]
            for seen, token in zip(drawn, tokens, strict=True):
                seen.add(token)
        assert all(seen <= fine for seen, fine in zip(drawn, allowed, strict=True))
        assert drawn[0] == allowed[0] or top_k == 64


@settings(max_examples=50, deadline=None)
@given(st.data())
def test_penalties_are_those_of_transformers_and_of_openai(data):
    transformers = pytest.importorskip("transformers")
    vocabulary = 40
    logits = torch.randn(vocabulary, generator=torch.Generator().manual_seed(1)) * 3
    context = data.draw(st.lists(st.integers(0, vocabulary - 1), min_size=1))
    written = data.draw(st.lists(st.integers(0, vocabulary - 1)))
    sampling = Sampling(
        repetition_penalty=data.draw(st.sampled_from([1.0, 1.3, 0.7])),
        presence_penalty=data.draw(st.sampled_from([0.0, 0.4, -1.0])),
        frequency_penalty=data.draw(st.sampled_from([0.0, 0.25])),
    )
    forbidden = data.draw(st.sets(st.integers(0, vocabulary - 1), max_size=3))
    expected = logits.clone()[None]
    if sampling.repetition_penalty != 1:
        processor = transformers.RepetitionPenaltyLogitsProcessor(sampling.repetition_penalty)
        expected = processor(torch.tensor([context]), expected)
    for token in range(vocabulary):  # the formula of OpenAI's API reference
        times = written.count(token)
        expected[0, token] -= times * sampling.frequency_penalty + (times > 0) * sampling.presence_penalty
    expected[0, list(forbidden)] = float("-inf")
    found = logits.clone()
    adjust(found, sampling, set(context), Counter(written), forbidden)
    torch.testing.assert_close(found, expected[0])


def test_logprobs_are_told_before_penalties_and_the_likeliest_first():
    logits = torch.randn(3, 100, generator=torch.Generator().manual_seed(2))
    adjusted = logits.clone()
    adjusted[:, int(logits[0].argmax())] = float("-inf")
    rows = [Sampling(top_logprobs=count) for count in (3, 0, 200)]
    tokens, logprobs, tops = choose(logits, Settings(rows, CPU), [0, 0, 0], adjusted)
    expected = logits.log_softmax(-1)
    assert tokens == adjusted.argmax(-1).tolist()
    assert logprobs == pytest.approx([float(expected[i, token]) for i, token in enumerate(tokens)])
    assert [len(top) for top in tops] == [3, 0, 100]
    for row, top in zip(expected, tops, strict=True):
        values, ids = row.sort(descending=True)
        assert [token for token, _ in top] == ids[: len(top)].tolist()
        assert [logprob for _, logprob in top] == pytest.approx(values[: len(top)].tolist())


def test_random_numbers_are_uniform_and_streams_differ():
    numbers = uniforms(range(50), [0] * 50)
    assert len(set(numbers)) == 50
    table = np.stack([uniforms([seed] * 2000, range(2000)) for seed in range(20)])
    assert table.min() >= 0
    assert table.max() < 1
    counts = np.histogram(table, bins=100, range=(0, 1))[0]
    assert ((counts - 400) ** 2 / 400).sum() < 99 + 6 * (2 * 99) ** 0.5
    correlations = np.corrcoef(table)[np.triu_indices(20, 1)]
    assert np.abs(correlations).max() < 0.12
    # Neighbouring seeds are not the same stream, one number later.
    assert not set(table[0][:100]) & set(table[1][:100])


def test_known_values_of_splitmix64():
    # Output of the reference implementation (prng.di.unimi.it/splitmix64.c) for the start 0.
    from podium.generate.sampling import _GOLDEN, _MASK, _mix

    states = np.array([(_GOLDEN * i) & _MASK for i in (1, 2, 3)], dtype=np.uint64)
    assert [int(z) for z in _mix(states)] == [0xE220A8397B1DCDAF, 0x6E789E6AA1B965F4, 0x06C45D188009454F]
