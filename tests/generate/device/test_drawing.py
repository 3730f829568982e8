"""Draws of fixed shape give the tokens of sampling.choose, row by row, from the same random numbers."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.fx.experimental.proxy_tensor import make_fx

from podium.answering import Sampling
from podium.generate.device.drawing import DrawStep, Kinds, kinds_of, uniforms_of
from podium.generate.device.runner import GraphRunner
from podium.generate.device.sampler import GraphSampler
from podium.generate.sampling import Settings, choose, repeated, uniforms
from tests.generate.conftest import random_model
from tests.generate.device.test_graph_safe import OnDevice

CPU, META = torch.device("cpu"), torch.device("meta")

samplings = st.builds(
    Sampling,
    temperature=st.sampled_from([0.0, 1e-6, 0.7, 1.0, 4.0]),
    top_k=st.sampled_from([0, 0, 1, 2, 64]),
    top_p=st.sampled_from([1.0, 0.95, 0.3, 1e-9]),
    min_p=st.sampled_from([0.0, 0.02, 0.9]),
    seed=st.integers(-(2**40), 2**70),
)


@given(
    st.lists(st.tuples(st.integers(-(2**70), 2**70), st.integers(0, 2**40)), min_size=1, max_size=20),
    st.integers(0, 9),
)
def test_random_numbers_are_the_same_to_the_last_bit(rows, attempt):
    seeds, counters = zip(*rows, strict=True)
    bits = np.array([seed & (1 << 64) - 1 for seed in seeds], np.uint64).view(np.int64)
    found = uniforms_of(torch.from_numpy(bits), torch.tensor(counters), attempt)
    assert found.tolist() == uniforms(seeds, counters, attempt).tolist()


@settings(max_examples=80, deadline=None)
@given(st.lists(samplings, min_size=1, max_size=13), st.sampled_from([3, 64, 300, 9000]), st.data())
def test_the_tokens_are_those_of_choose(rows, vocabulary, data):
    scale = data.draw(st.sampled_from([0.1, 3.0, 40.0]))
    seed = data.draw(st.integers(0, 2**32 - 1))
    logits = torch.randn(len(rows), vocabulary, generator=torch.Generator().manual_seed(seed)) * scale
    counters = data.draw(st.lists(st.integers(0, 10**6), min_size=len(rows), max_size=len(rows)))
    kinds = kinds_of(rows)
    assert kinds is not None
    # Rows of padding hold whatever was there before.
    held = torch.cat([logits, torch.full((3, vocabulary), float("nan")) if seed % 2 else torch.zeros(3, vocabulary)])
    step = DrawStep(held, kinds)
    step.set(rows)
    tokens, logprobs, through = step.draw(counters)
    expected = choose(logits, Settings(rows, CPU), counters)
    for i, row in enumerate(rows):
        if row.temperature == 0 or row.top_k or (row.top_p == 1 and not row.min_p):
            assert through[i]
        if through[i]:
            assert int(tokens[i]) == expected[0][i]
            assert abs(logprobs[i] - expected[1][i]) < 1e-5 * max(1.0, abs(expected[1][i]))
    assert len(tokens) == len(rows)


def test_nearly_all_are_drawn_in_a_few_tries():
    logits = torch.randn(1, 2000, generator=torch.Generator().manual_seed(0)).expand(128, -1).contiguous() * 3
    refused = 0
    for seed in range(0, 12_800, 128):
        rows = [Sampling(temperature=1.0, top_p=0.95, seed=seed + i) for i in range(128)]
        step = DrawStep(logits, Kinds(False, False, True))
        step.set(rows)
        refused += step.draw([0] * 128)[2].count(0.0)
    # At most 5 % of the mass is behind top-p, in three independent draws each: 1.6 of 12,800, Poisson.
    assert refused < 12


def test_damaged_logits_are_told(model):
    """NaN must reach the engine as the log-probability of whatever token, not as an index out of range."""
    for row in (Sampling(), Sampling(temperature=1.0, top_p=0.9), Sampling(temperature=1.0, top_k=5)):
        kinds = kinds_of([row])
        assert kinds is not None
        step = DrawStep(torch.full((1, 300), float("nan")), kinds)
        step.set([row])
        token, logprob, _ = step.draw([0])
        assert logprob[0] != logprob[0]
        assert 0 <= token[0] < 300


def test_what_the_runner_is_handed(tokenizer):
    """Logits of its own step, parts of them, and others; settings that change; rows that are told likeliest tokens."""
    runner = GraphRunner(random_model(tokenizer))
    runner.allocate(4)
    sampler = GraphSampler(runner)
    generator = torch.Generator().manual_seed(5)
    mixed = [
        Sampling(temperature=1.0, top_p=0.3, seed=1),
        Sampling(),
        Sampling(temperature=0.8, top_k=9, seed=2),
        Sampling(temperature=4.0, min_p=0.5, seed=3),
    ]
    told = [*mixed[:3], Sampling(temperature=1.0, seed=4, top_logprobs=3)]
    wide = [*mixed[:3], Sampling(temperature=3.0, seed=5, top_k=100)]
    for rows in (mixed, told, wide, mixed):
        sampler.set_rows(rows)
        for counts in ([1, 1, 1, 1], [2, 1, 3, 1]):
            total = sum(counts)
            runner.logits[: total + 2] = torch.randn(total + 2, tokenizer.vocab_size, generator=generator) * 4
            for logits in (
                runner.logits[:total],
                runner.logits[2 : total + 2],
                torch.randn(total, tokenizer.vocab_size, generator=generator),
                torch.randn(total, tokenizer.vocab_size, generator=generator).half().float()[:, : tokenizer.vocab_size],
            ):
                expected_logits = logits.clone()
                counters = list(range(total))
                found = sampler.sample(logits, counts, counters)
                expected = choose(expected_logits, Settings(repeated(rows, counts), CPU), counters)
                assert found[0] == expected[0]
                assert np.allclose(found[1], expected[1], rtol=1e-5, atol=1e-5)
                assert [len(top) for top in found[2]] == [len(top) for top in expected[2]]


def test_settings_are_those_of_the_rows_after_a_draw_with_penalties(tokenizer):
    """Rows with penalties are drawn elsewhere; the captured draw must not keep the settings of the rows before."""
    runner = GraphRunner(random_model(tokenizer))
    runner.allocate(4)
    sampler = GraphSampler(runner)
    logits = torch.randn(3, tokenizer.vocab_size, generator=torch.Generator().manual_seed(2)) * 4
    for seed, penalised in ((1, False), (20, True)):
        rows = [Sampling(temperature=3.0, seed=seed + i) for i in range(3)]
        sampler.set_rows(rows)
        if penalised:
            sampler.sample(logits, [1, 1, 1], [0, 0, 0], logits - 1)
        found = sampler.sample(logits, [1, 1, 1], [1, 1, 1])
        assert found[0] == choose(logits, Settings(rows, CPU), [1, 1, 1])[0]


@pytest.mark.parametrize("kinds", [Kinds(True, False, False), Kinds(False, True, False), Kinds(True, True, True)])
def test_a_draw_stays_on_the_device(kinds):
    """On PyTorch's meta device tensors have no values: what waits for one, or counts a shape by one, fails there.

    A tensor of the host is found by its device.
    """
    step = DrawStep(torch.zeros(4, 9000, device=META), kinds)
    with torch.inference_mode(), OnDevice(META) as seen:
        step.run()
    assert len(seen.operations) > 10
    with pytest.raises(RuntimeError, match="meta"):
        step.found[0, 0].item()
    step.logits = torch.zeros(4, 9000)
    with torch.inference_mode(), OnDevice(META), pytest.raises(AssertionError, match="a tensor on cpu"):
        step.run()


def test_a_recorded_draw_answers_to_new_numbers():
    rows = [Sampling(temperature=1.0, top_p=0.5), Sampling(), Sampling(temperature=0.8, top_k=9, seed=2)]
    kinds = kinds_of(rows)
    assert kinds is not None
    with torch.no_grad():
        step = DrawStep(torch.randn(3, 700, generator=torch.Generator().manual_seed(0)) * 3, kinds)
        step.set(rows)
        graph = make_fx(lambda: step.run())()
        step.logits.copy_(torch.randn(3, 700, generator=torch.Generator().manual_seed(1)) * 3)
        expected = step.draw([5, 6, 7])
        step.found.zero_()
        step.replay = graph
        assert step.draw([5, 6, 7]) == expected
