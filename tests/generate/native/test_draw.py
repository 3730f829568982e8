"""Drawing in C against transformers' distributions and against the torch implementation."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from podium.answering import Sampling
from podium.generate.layered import layered
from podium.generate.native.build import native_library
from podium.generate.native.linear import available_isas, isa, set_isa
from podium.generate.native.runner import NativeRunner
from podium.generate.native.sampler import NativeSampler
from podium.generate.sampling import Chosen, Settings, choose
from podium.models import Transformer, TransformerConfig
from tests.generate.test_sampling import wanted_distribution

pytestmark = pytest.mark.skipif(native_library().library is None, reason=native_library().reason)
CPU = torch.device("cpu")


def sample(
    vocabulary: int,
    logits: Tensor,
    rows: Sequence[Sampling],
    counts: Sequence[int],
    counters: Sequence[int],
    adjusted: Tensor | None = None,
    threads: int = 1,
) -> Chosen:
    sampler = NativeSampler(runner_of(vocabulary, threads).stack)
    sampler.set_rows(rows)
    return sampler.sample(logits, counts, counters, adjusted)


def runner_of(vocabulary: int, threads: int) -> NativeRunner:
    config = TransformerConfig(
        kind="llama",
        vocab_size=vocabulary,
        hidden_size=16,
        intermediate_size=16,
        num_hidden_layers=1,
        num_attention_heads=1,
        num_key_value_heads=1,
        head_dim=16,
        max_position_embeddings=64,
    )
    return NativeRunner(layered(Transformer(config).initialise(0)), format="fp32", threads=threads)


@pytest.fixture(params=available_isas() if native_library().library else ())
def each_isa(request: pytest.FixtureRequest) -> Iterator[None]:
    before = isa()
    set_isa(request.param)
    yield
    set_isa(before)


@pytest.mark.usefixtures("each_isa")
@pytest.mark.parametrize(
    "sampling",
    [
        {"temperature": 1.0},
        {"temperature": 0.6},
        {"temperature": 1.0, "top_p": 0.8},
        {"temperature": 1.3, "min_p": 0.1},
        {"temperature": 5.0, "top_p": 0.95},
        {"temperature": 5.0, "top_p": 0.05},  # nearly every try is refused: bisection
        {"temperature": 6.0, "min_p": 0.3},
        {"temperature": 3.0, "top_p": 0.05, "min_p": 0.6},
        {"temperature": 0.9, "top_k": 20, "top_p": 0.7},  # torch's rows beside C's
    ],
)
def test_tokens_are_drawn_as_often_as_transformers_would(sampling: dict[str, float]) -> None:
    logits = torch.randn(200, generator=torch.Generator().manual_seed(0)) * 2
    wanted = wanted_distribution(logits, sampling)
    count = 20_000
    rows = [Sampling(**sampling, seed=seed) for seed in range(count)]  # pyright: ignore[reportArgumentType]
    drawn, logprobs, _ = sample(200, logits.expand(count, -1), rows, [1] * count, [0] * count)
    found = torch.bincount(torch.tensor(drawn), minlength=200)
    assert not found[wanted == 0].any(), "a filtered token was drawn"
    expected = wanted * count
    common = expected >= 10
    # Pearson's statistic, against its mean plus six standard deviations.
    statistic = (((found - expected) ** 2) / expected)[common].sum()
    freedom = int(common.sum()) - 1
    assert statistic < freedom + 6 * (2 * max(freedom, 1)) ** 0.5
    torch.testing.assert_close(torch.tensor(logprobs), logits.log_softmax(-1)[drawn], atol=2e-6, rtol=1e-6)


@pytest.mark.usefixtures("each_isa")
@pytest.mark.parametrize("vocabulary", [3, 127, 128, 1000, 32_001])
def test_it_draws_what_torch_draws(vocabulary: int) -> None:
    """The same numbers of the same seeds: other tokens only where a number falls within rounding of a border."""
    generator = torch.Generator().manual_seed(vocabulary)
    count = 60
    logits = torch.randn(count, vocabulary, generator=generator) * 3
    logits[0, -1] = logits[1, 0] = 50.0
    rows = [
        Sampling(
            temperature=(0.0, 0.7, 1.0, 1.0)[i % 4],
            top_p=(1.0, 0.9)[i // 4 % 2],
            min_p=(0.0, 0.01)[i // 8 % 2],
            top_logprobs=(0, 3)[i // 16 % 2],
            seed=i - 5 if i % 3 else 2**64 + i,
        )
        for i in range(count)
    ]
    counters = [7 * i for i in range(count)]
    adjusted = logits.clone()
    adjusted[:, : vocabulary // 3] = float("-inf")
    for drawn_from in (None, adjusted):
        found = sample(vocabulary, logits, rows, [1] * count, counters, drawn_from, threads=2)
        wanted = choose(logits, Settings(rows, CPU), counters, drawn_from)
        same = [i for i in range(count) if found[0][i] == wanted[0][i]]
        assert len(same) >= count - 1
        assert all(i in same for i in range(0, count, 4)), "greedy rows leave no choice"
        assert [found[1][i] for i in same] == pytest.approx([wanted[1][i] for i in same], abs=1e-5)
        assert [[token for token, _ in top] for top in found[2]] == [[token for token, _ in top] for top in wanted[2]]
        if drawn_from is not None:
            assert min(found[0]) >= vocabulary // 3


@settings(max_examples=60, deadline=None)
@given(st.data())
def test_a_row_does_not_depend_on_the_rows_beside_it(data: st.DataObject) -> None:
    vocabulary = data.draw(st.sampled_from([3, 64, 65, 300]))
    number = data.draw(st.integers(2, 9))
    rows = [
        Sampling(
            temperature=data.draw(st.sampled_from([0.0, 1e-40, 1e-6, 0.7, 1.0, 4.0])),
            top_k=data.draw(st.sampled_from([0, 0, 1, 70])),
            top_p=data.draw(st.sampled_from([1.0, 0.95, 0.3, 1e-9])),
            min_p=data.draw(st.sampled_from([0.0, 0.02, 0.9])),
            seed=data.draw(st.integers(-(2**40), 2**70)),
        )
        for _ in range(number)
    ]
    scale = data.draw(st.sampled_from([0.1, 3.0, 40.0]))
    logits = torch.randn(number, vocabulary, generator=torch.Generator().manual_seed(number)) * scale
    counters = data.draw(st.lists(st.integers(0, 10**6), min_size=number, max_size=number))
    together = sample(vocabulary, logits, rows, [1] * number, counters, threads=2)
    for i in range(number):
        alone = sample(vocabulary, logits[i : i + 1], rows[i : i + 1], [1], counters[i : i + 1])
        assert (together[0][i], together[1][i]) == (alone[0][0], alone[1][0])
        if rows[i].temperature < 1e-30 or rows[i].top_k == 1 or rows[i].top_p == 1e-9:
            assert logits[i, together[0][i]] == logits[i].max()


def test_logits_that_are_not_numbers_show_in_the_log_probability() -> None:
    logits = torch.zeros(3, 300)
    logits[0, 299] = logits[1, 5] = float("nan")
    logits[2, 7] = float("inf")
    for temperature in (0.0, 0.8):
        _, logprobs, _ = sample(300, logits, [Sampling(temperature=temperature)] * 3, [1] * 3, [0] * 3)
        assert all(logprob != logprob for logprob in logprobs)


def test_a_completion_may_have_several_rows() -> None:
    logits = torch.randn(6, 300, generator=torch.Generator().manual_seed(0))
    rows = [Sampling(temperature=1.0, seed=1), Sampling(temperature=0.8, seed=2, top_k=9), Sampling(seed=3)]
    spread = [rows[0], rows[0], rows[0], rows[1], rows[1], rows[2]]
    counters = [4, 5, 6, 0, 1, 9]
    together = sample(300, logits, rows, [3, 2, 1], counters)
    assert together == sample(300, logits, spread, [1] * 6, counters)
