"""The native runner against the torch model, and against itself cut, mixed, shared and threaded in other ways."""

from __future__ import annotations

import ctypes
import multiprocessing
import os
import random
import time
from collections.abc import Iterator, Sequence
from itertools import pairwise
from pathlib import Path

import pytest
import torch
from torch import Tensor

from podium.errors import CompleterError, InputError
from podium.generate.formats import WEIGHT_FORMATS
from podium.generate.layered import layered
from podium.generate.native.build import native_library
from podium.generate.native.linear import PackedLinear, available_isas, isa, set_isa
from podium.generate.native.runner import BLOCK_SIZE, NativeRunner
from podium.generate.open_runner import open_runner
from podium.generate.runner import Span, TorchRunner
from podium.models import StoredModel, Transformer, TransformerConfig, save_model
from podium.models.config import RopeConfig
from podium.models.families.family import Mixture

pytestmark = pytest.mark.skipif(native_library().library is None, reason=native_library().reason)

POOL = 96


def tiny(kind: str = "qwen2", **changes: object) -> Transformer:
    values = {
        "vocab_size": 211,
        "hidden_size": 64,
        "intermediate_size": 104,
        "num_hidden_layers": 3,
        "num_attention_heads": 4,
        "num_key_value_heads": 2,
        "head_dim": 32,
        "max_position_embeddings": 512,
        **changes,
    }
    model = Transformer(TransformerConfig(kind=kind, **values)).initialise(3, std=0.12).eval()  # pyright: ignore
    generator = torch.Generator().manual_seed(5)
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if name.endswith(("norm.weight", "bias")):
                parameter += 0.3 * torch.randn(parameter.shape, generator=generator)
    return model


class Keeping(NativeRunner):
    """What a step returns stays as it is."""

    def step(self, spans: Sequence[Span]) -> tuple[Tensor, Tensor]:
        logits, hidden = super().step(spans)
        return logits.clone(), hidden.clone()


def runner_of(model: Transformer, format: str = "fp32", threads: int = 2, kv: str = "fp32") -> NativeRunner:
    runner = Keeping(layered(model), format=format, threads=threads, kv=kv)  # pyright: ignore[reportArgumentType]
    runner.allocate(POOL)
    return runner


def words(count: int, seed: int = 0) -> list[int]:
    return torch.randint(0, 211, (count,), generator=torch.Generator().manual_seed(seed)).tolist()


def table_for(length: int, seed: int = 0) -> list[int]:
    """Physical blocks in no order."""
    return random.Random(seed).sample(range(POOL), -(-length // BLOCK_SIZE))


def whole(runner: NativeRunner, tokens: list[int], seed: int = 0) -> Tensor:
    """Logits of all tokens of one sequence, computed in one span."""
    return runner.step([Span(tokens, 0, table_for(len(tokens), seed), len(tokens))])[0]


@torch.no_grad()
def expected(model: Transformer, tokens: list[int]) -> Tensor:
    return model(torch.tensor([tokens]))[0]


# ---- the same numbers as the model ----

SHAPES = {
    "llama": {"kind": "llama"},
    "llama with all biases": {"kind": "llama", "attention_bias": True, "mlp_bias": True},
    "qwen2": {"kind": "qwen2"},
    "qwen2 tied": {"kind": "qwen2", "tie_word_embeddings": True},
    "qwen3": {"kind": "qwen3"},
    "no grouping": {"num_key_value_heads": 4},
    "one key head": {"num_key_value_heads": 1},
    "seven query heads a key head": {"num_attention_heads": 14, "num_key_value_heads": 2, "head_dim": 64},
    "more query heads than a tile": {"num_attention_heads": 72, "num_key_value_heads": 1, "head_dim": 8},
    "head_dim 8": {"head_dim": 8},
    "head_dim 40": {"kind": "qwen3", "head_dim": 40},
    "head_dim 256": {"head_dim": 256, "num_hidden_layers": 1},
    "mistral": {"kind": "mistral", "sliding_window": 40},
    "a window of a block": {"kind": "mistral", "sliding_window": 32},
    "a window of one": {"kind": "mistral", "sliding_window": 1, "num_attention_heads": 6},
    "a window longer than the text": {"kind": "mistral", "sliding_window": 400},
    "windows in some layers": {"kind": "qwen3", "sliding_window": 33, "full_attention_layers": (1,)},
    "windows, one key head": {"kind": "qwen2", "sliding_window": 7, "num_key_value_heads": 1},
    "qwen3_moe": {"kind": "qwen3_moe", "mixture": Mixture(8, 2, 40)},
    "experts in some layers": {"kind": "qwen3_moe", "mixture": Mixture(5, 3, 37, normalised=True, dense_layers=(0,))},
    "all experts": {"kind": "qwen3_moe", "mixture": Mixture(3, 3, 64, normalised=True), "hidden_size": 50},
    "one expert": {"kind": "qwen3_moe", "mixture": Mixture(1, 1, 16), "sliding_window": 9},
    "odd sizes": {"hidden_size": 50, "intermediate_size": 77, "vocab_size": 223},
    "linear": {"rope": RopeConfig(kind="linear", factor=4.0)},
    "llama3": {
        "rope": RopeConfig(
            kind="llama3",
            factor=8.0,
            low_freq_factor=1.0,
            high_freq_factor=4.0,
            original_max_position_embeddings=64,
        )
    },
    "yarn": {"rope": RopeConfig(kind="yarn", factor=4.0, original_max_position_embeddings=64)},
}


@pytest.mark.parametrize("name", SHAPES)
def test_logits_are_the_models(name: str) -> None:
    model = tiny(**SHAPES[name])  # pyright: ignore[reportArgumentType]
    tokens = words(150)
    torch.testing.assert_close(whole(runner_of(model), tokens), expected(model, tokens), atol=1e-4, rtol=0)


@pytest.mark.parametrize("taps", [(), (1,), (0, 1, 2)])
@pytest.mark.parametrize("threads", [1, 3])
def test_states_are_those_after_the_last_norm_and_of_the_tapped_layers(taps: tuple[int, ...], threads: int) -> None:
    model = tiny(num_hidden_layers=4)
    runner = runner_of(model, threads=threads)
    runner.tap(taps)
    one, other = words(70), words(40)
    blocks = table_for(6 * BLOCK_SIZE)
    spans = [Span(one, 0, blocks[:3], 5), Span(other, 0, blocks[3:5], 0), Span(other[:9], 0, blocks[5:], 9)]
    logits, states = runner.step(spans)
    with torch.no_grad():
        wanted = [(one, 5), (other[:9], 9)]
        expected = torch.cat([model.hidden(torch.tensor([text]), taps=taps)[0, -last:] for text, last in wanted])
    assert states.shape == (14, 64 * (1 + len(taps)))
    torch.testing.assert_close(states, expected, atol=1e-4, rtol=0)
    torch.testing.assert_close(logits, model.head(expected[:, :64]).detach(), atol=1e-4, rtol=0)


def test_only_layers_below_the_last_can_be_tapped() -> None:
    with pytest.raises(InputError, match="taps"):
        runner_of(tiny(num_hidden_layers=2)).tap((1,))


def test_long_prompts_are_the_models() -> None:
    # More rows than a block of a matrix product, more positions than the model was made for.
    model = tiny(max_position_embeddings=64)
    tokens = words(700)
    torch.testing.assert_close(whole(runner_of(model), tokens), expected(model, tokens), atol=1e-4, rtol=0)


@pytest.fixture(params=available_isas() if native_library().library else [])
def instruction_set(request: pytest.FixtureRequest) -> Iterator[str]:
    current = isa()
    set_isa(request.param)
    yield request.param
    set_isa(current)


@pytest.mark.parametrize("kv", ["fp32", "fp16"])
def test_every_instruction_set(instruction_set: str, kv: str) -> None:
    model = tiny("qwen3", num_attention_heads=6, head_dim=40, sliding_window=50, full_attention_layers=(0,))
    tokens = words(130)
    runner = runner_of(model, kv=kv)
    logits = whole(runner, tokens)
    torch.testing.assert_close(logits, expected(model, tokens), atol=1e-4 if kv == "fp32" else 2e-2, rtol=0)
    pieces = [
        runner.step([Span(tokens[a:b], a, table_for(130, 1), b - a)])[0] for a, b in pairwise((0, 1, 64, 129, 130))
    ]
    assert torch.equal(torch.cat(pieces), logits)


def test_experts_on_every_instruction_set(instruction_set: str) -> None:
    model = tiny("qwen3_moe", mixture=Mixture(7, 3, 44, normalised=True))
    tokens = words(300)
    runner = runner_of(model)
    logits = whole(runner, tokens)
    torch.testing.assert_close(logits, expected(model, tokens), atol=1e-4, rtol=0)
    pieces = [
        runner.step([Span(tokens[a:b], a, table_for(300, 1), b - a)])[0] for a, b in pairwise((0, 1, 64, 299, 300))
    ]
    assert torch.equal(torch.cat(pieces), logits)


def packed(weight: Tensor, format: str) -> Tensor:
    """What `weight` is once packed in `format`: the layer's outputs for unit inputs, which no format rounds."""
    return PackedLinear(weight, None, format)(torch.eye(weight.shape[1])).t().contiguous()  # pyright: ignore


def per_token(x: Tensor) -> Tensor:
    """x [..., K] on a grid of 127 steps up to each row's largest value."""
    step = x.abs().amax(-1, keepdim=True) / 127
    return (x / step).round() * step


@torch.no_grad()
def rounded(model: Transformer, format: str) -> Transformer:
    """A copy that multiplies the matrices, and where the format says so the activations, that the runner does."""
    copy = Transformer(model.config).eval()
    copy.load_state_dict(model.state_dict())
    activations = {"int8": per_token, "bf16": lambda x: x.bfloat16().float()}.get(format)
    for name, module in copy.named_modules():
        # A router is not rounded: that would send tokens to other experts.
        if isinstance(module, torch.nn.Linear) and not name.endswith("router"):
            module.weight.copy_(packed(module.weight, format))
            if activations is not None:
                module.register_forward_pre_hook(lambda _, inputs: activations(inputs[0]))
    assert copy.unembedding is not None
    if activations is not None:
        copy.norm.register_forward_hook(lambda _, __, output: activations(output))
    copy.embedding.weight.copy_(copy.embedding.weight.half())
    return copy


@pytest.mark.parametrize(
    # Activations that lie between two steps of int8 or bf16 may fall to either side, as the order of sums on this
    # processor has it; one that does moves its row a little. So many may differ by more than the tolerance.
    ("format", "tolerance", "strays"),
    [
        ("fp16", 1e-4, 0),
        ("w8a16", 1e-4, 0),
        ("w4a16", 1e-4, 0),
        ("fp8", 1e-4, 0),
        ("int8", 5e-3, 0.1),
        ("bf16", 5e-3, 0.1),
    ],
)
def test_formats_are_the_model_with_rounded_weights(format: str, tolerance: float, strays: float) -> None:
    model = tiny("qwen3", tie_word_embeddings=False)
    tokens = words(90)
    got, want = whole(runner_of(model, format), tokens), expected(rounded(model, format), tokens)
    apart = (got - want).abs()
    assert (apart > tolerance).float().mean() <= strays
    # It is the rounded model and no other: what the rounding changes is more than twice what falls to another side.
    assert apart.norm() < 0.5 * (expected(model, tokens) - want).norm()


@pytest.mark.parametrize("format", ["fp16", "w8a16", "w4a16", "fp8"])
def test_formats_of_experts_are_the_model_with_rounded_weights(format: str) -> None:
    model = tiny("qwen3_moe", mixture=Mixture(5, 2, 40), tie_word_embeddings=False)
    tokens = words(60)
    got, want = whole(runner_of(model, format), tokens), expected(rounded(model, format), tokens)
    torch.testing.assert_close(got, want, atol=1e-4, rtol=0)


@pytest.mark.parametrize("format", ["int8", "bf16"])
def test_activations_are_rounded_where_the_model_with_rounded_weights_does_it(
    instruction_set: str, format: str
) -> None:
    model = tiny("qwen3", tie_word_embeddings=False)
    # An activation that falls to another side moves the rest of its text: in short texts there is hardly any.
    texts = [words(3, seed) for seed in range(40)]
    got = runner_of(model, format).step([Span(text, 0, [block], 3) for block, text in enumerate(texts)])[0]
    copy = rounded(model, format)
    apart = (got - torch.cat([expected(copy, text) for text in texts])).abs().amax(-1)
    assert (apart > 1e-4).sum() <= 0.05 * len(apart)


def test_fp16_keys_and_values_are_nearly_the_models() -> None:
    model = tiny()
    tokens = words(100)
    logits = whole(runner_of(model, kv="fp16"), tokens)
    assert 0 < (logits - expected(model, tokens)).abs().max() < 2e-2


# ---- the same bits however it is computed ----

ways = pytest.mark.parametrize(
    ("format", "kv"), [("fp32", "fp32"), ("fp16", "fp16"), ("int8", "fp16"), ("w4a16", "fp16"), ("bf16", "fp32")]
)


# Rows begin their windows in different blocks, and visit different experts.
FAMILIES = {
    "full": {},
    "windowed": {"kind": "mistral", "sliding_window": 37},
    "experts": {"kind": "qwen3_moe", "mixture": Mixture(6, 2, 40, dense_layers=(1,))},
}
families = pytest.mark.parametrize("family", FAMILIES)


@ways
@families
def test_chunks_and_single_tokens_are_the_whole(format: str, kv: str, family: str) -> None:
    runner = runner_of(tiny(**{"kind": "qwen3", **FAMILIES[family]}), format, kv=kv)
    tokens = words(200)
    logits = whole(runner, tokens)
    for seed, cuts in enumerate(([0, 3, 67, 96, 190, 200], [0, 150, *range(151, 201)]), start=1):
        table = table_for(200, seed)
        pieces = [runner.step([Span(tokens[a:b], a, table, b - a)])[0] for a, b in pairwise(cuts)]
        assert torch.equal(torch.cat(pieces), logits)


@ways
@families
def test_a_row_is_the_same_in_every_crowd(format: str, kv: str, family: str) -> None:
    runner = runner_of(tiny(**FAMILIES[family], num_attention_heads=6), format, kv=kv)
    draw = random.Random(1)
    lengths = [draw.randrange(2, 64) for _ in range(40)]
    sequences = [words(length, seed) for seed, length in enumerate(lengths)]
    alone = [whole(runner, sequence)[-1] for sequence in sequences]
    tables = [[2 * i, 2 * i + 1] for i in range(40)]
    for sequence, table in zip(sequences, tables, strict=True):
        runner.step([Span(sequence[:-1], 0, table, 0)])
    order = draw.sample(range(40), 40)
    logits, _ = runner.step([Span(sequences[i][-1:], lengths[i] - 1, tables[i]) for i in order])
    for row, i in zip(logits, order, strict=True):
        assert torch.equal(row, alone[i])


@ways
@families
def test_mixed_spans_are_what_they_are_alone(format: str, kv: str, family: str) -> None:
    runner = runner_of(tiny(**FAMILIES[family]), format, kv=kv)
    tokens = words(170)
    logits = whole(runner, tokens)
    old, new, drafted = list(range(10, 16)), list(range(20, 26)), list(range(30, 36))
    runner.step([Span(tokens[:100], 0, old, 0), Span(tokens[:64], 0, drafted, 0)])
    got, hidden = runner.step(
        [
            Span(tokens[:140], 0, new, 0),
            Span(tokens[100:101], 100, old),
            Span(tokens[64:70], 64, drafted, 6),
            Span([7, 8, 9], 0, [40], 2),
        ]
    )
    assert got.shape == (9, 211)
    assert hidden.shape == (9, 64)
    assert torch.equal(got[0], logits[100])
    assert torch.equal(got[1:7], logits[64:70])
    assert torch.equal(got[7:], whole(runner, [7, 8, 9])[1:])
    assert torch.equal(runner.step([Span(tokens[140:], 140, new, 30)])[0], logits[140:])


def test_two_spans_of_one_sequence_in_one_step() -> None:
    runner = runner_of(tiny())
    tokens = words(100)
    logits = whole(runner, tokens)
    table = table_for(100, 4)
    later, earlier = Span(tokens[50:], 50, table, 50), Span(tokens[:50], 0, table, 50)
    assert torch.equal(runner.step([later, earlier])[0], torch.cat([logits[50:], logits[:50]]))


@ways
@families
@pytest.mark.parametrize("threads", [1, 3])
def test_siblings_sharing_blocks_are_what_they_are_alone(format: str, kv: str, threads: int, family: str) -> None:
    model = tiny(**FAMILIES[family], num_attention_heads=6)
    runner, other = runner_of(model, format, threads, kv), runner_of(model, format, 1, kv)
    system = words(64, 1)
    free = iter(random.Random(0).sample(range(POOL), POOL))
    common = [next(free), next(free)]
    runner.step([Span(system, 0, common, 0)])
    spans, alone = [], []
    for kin in range(2):
        prompt, fork = words(64, 2 + kin), [next(free), next(free)]
        runner.step([Span(prompt, 64, common + fork, 0)])
        for child in range(9):  # of different lengths
            rest = words(1 + 4 * child, 10 * (kin + 1) + child)
            table = common + fork + [next(free) for _ in range(-(-len(rest) // BLOCK_SIZE))]
            if child:
                runner.step([Span(rest[:-1], 128, table, 0)])
            spans.append(Span(rest[-1:], 127 + len(rest), table))
            alone.append(whole(other, system + prompt + rest)[-1])
    order = random.Random(1).sample(range(len(spans)), len(spans))
    logits, _ = runner.step([spans[i] for i in order])
    assert torch.equal(logits, torch.stack([alone[i] for i in order]))


@ways
def test_threads_do_not_change_bits(format: str, kv: str) -> None:
    model, tokens = tiny(), words(150)
    first = whole(runner_of(model, format, 1, kv), tokens)
    for threads in (2, 5):
        assert torch.equal(whole(runner_of(model, format, threads, kv), tokens), first)


@families
def test_many_small_steps_with_more_threads_than_cores(family: str) -> None:
    # Late threads must neither take work of a step that is over nor disturb the next.
    runner = runner_of(tiny(**FAMILIES[family]), threads=6)
    tokens = words(30)
    logits = whole(runner, tokens)
    for round in range(60 if family == "full" else 20):
        table = [round]
        rows = [runner.step([Span(tokens[i : i + 1], i, table)])[0][0] for i in range(30)]
        assert torch.equal(torch.stack(rows), logits)


# ---- blocks, errors, life ----


@pytest.mark.parametrize("kv", ["fp32", "fp16"])
def test_a_copied_block_stands_for_the_first(kv: str) -> None:
    runner = runner_of(tiny(), kv=kv)
    tokens = words(60)
    logits = whole(runner, tokens)
    runner.step([Span(tokens[:50], 0, [1, 2], 0)])
    runner.copy(2, 9)
    runner.step([Span([1] * 10, 50, [1, 2], 0)])  # goes on in the first, not in the copy
    assert torch.equal(runner.step([Span(tokens[50:], 50, [1, 9], 10)])[0], logits[50:])


def test_nan_reaches_the_logits() -> None:
    model = tiny()
    with torch.no_grad():
        model.layers[1].attention.qkv.weight[-1, 0] = float("nan")  # pyright: ignore
    assert whole(runner_of(model), words(40)).isnan().all()


@torch.no_grad()
def test_what_lies_before_the_window_is_not_seen() -> None:
    """Not even as 0 times NaN."""
    model = tiny("mistral", sliding_window=10, num_hidden_layers=1)
    tokens = [8 if token == 7 else token for token in words(100)]
    tokens[40] = 7
    sound = whole(runner_of(model), tokens)
    model.embedding.weight[7] = torch.nan
    broken = whole(runner_of(model), tokens)
    assert broken[40:50].isnan().any(-1).all()
    assert torch.equal(broken[:40], sound[:40])
    assert torch.equal(broken[50:], sound[50:])


@torch.no_grad()
def test_nan_of_one_row_reaches_no_other_row_of_its_experts() -> None:
    model = tiny("qwen3_moe", mixture=Mixture(4, 2, 24))
    texts = [words(20, seed) for seed in range(4)]
    texts = [[8 if token == 7 else token for token in text] for text in texts]
    runner = runner_of(model)
    alone = [whole(runner, text) for text in texts]
    model.embedding.weight[7] = torch.nan
    texts[2][19] = 7
    logits = runner_of(model).step([Span(text, 0, [block], 20) for block, text in enumerate(texts)])[0].split(20)
    assert logits[2][19].isnan().all()
    for got, want in ((logits[0], alone[0]), (logits[1], alone[1]), (logits[2][:19], alone[2][:19])):
        assert torch.equal(got, want)


def test_nan_of_one_token_is_not_seen_before_it() -> None:
    model = tiny()
    with torch.no_grad():
        model.embedding.weight[5] = float("nan")
    tokens = [1, 2, 3, 5, 4, 6]
    logits = whole(runner_of(model), tokens)
    assert logits[3:].isnan().all()
    torch.testing.assert_close(logits[:3], expected(tiny(), tokens[:3]), atol=1e-4, rtol=0)


@pytest.mark.parametrize(
    "span",
    [
        Span([211], 0, [0]),
        Span([-1], 0, [0]),
        Span([1], 0, [POOL]),
        Span([1], 0, [-1]),
        Span([1] * 33, 0, [0]),
        Span([1], 32, [0]),
        Span([], 0, [0]),
        Span([1], -1, [0]),
    ],
)
def test_what_lies_outside_is_refused_and_harms_nothing(span: Span) -> None:
    runner = runner_of(tiny())
    tokens = words(20)
    logits = whole(runner, tokens)
    with pytest.raises(IndexError):
        runner.step([span])
    assert torch.equal(whole(runner, tokens), logits)


def test_blocks_outside_the_pool_are_not_copied() -> None:
    runner = runner_of(tiny())
    for pair in ((0, POOL), (POOL, 0), (-1, 0)):
        with pytest.raises(IndexError):
            runner.copy(*pair)


def test_an_unsupported_shape_is_refused_by_name() -> None:
    with pytest.raises(CompleterError, match="head_dim 20"):
        NativeRunner(layered(tiny(head_dim=20)), threads=1)


def test_unknown_choices_are_refused() -> None:
    for choice in ({"format": "int3"}, {"kv": "int8"}, {"threads": 0}):
        with pytest.raises(InputError):
            NativeRunner(layered(tiny()), **{"threads": 1, **choice})  # pyright: ignore[reportArgumentType]


def test_dynamic_rope_is_left_to_torch() -> None:
    model = tiny(max_position_embeddings=64, rope=RopeConfig(kind="dynamic", factor=2.0))
    with pytest.raises(CompleterError, match="dynamic"):
        runner_of(model)
    runner, _, description = open_runner(model, "auto", None, 1)
    assert isinstance(runner, TorchRunner)
    assert "dynamic" in description
    with pytest.raises(InputError, match="dynamic"):
        open_runner(model, "graphs", None, 1)


@pytest.mark.parametrize(
    "changes",
    [{"kind": "mistral", "sliding_window": 40}, {"kind": "qwen3_moe", "mixture": Mixture(4, 2, 24)}],
    ids=["window", "experts"],
)
def test_windows_and_experts_are_computed_in_c_and_not_in_captured_steps(changes: dict) -> None:
    model = tiny(**changes)
    runner, _, description = open_runner(model, "auto", None, 1)
    assert isinstance(runner, NativeRunner)
    assert description == "native, fp16 weights"
    with pytest.raises(InputError, match=r"kernel 'graphs' with .*(window|experts)"):
        open_runner(model, "graphs", None, 1)


@pytest.mark.parametrize(("kind", "tied"), [("llama", True), ("qwen2", False), ("qwen3", False), ("qwen3_moe", False)])
def test_a_stored_model_is_packed_layer_by_layer_and_computes_the_same(kind: str, tied: bool, tmp_path: Path) -> None:
    experts = {"mixture": Mixture(4, 2, 24, dense_layers=(1,))} if kind == "qwen3_moe" else {}
    model = tiny(kind, tie_word_embeddings=tied, **experts)
    save_model(tmp_path / "model", model)
    stored = StoredModel(tmp_path / "model")
    runner = NativeRunner(layered(stored), format="fp32", threads=1, kv="fp32")
    assert all(parameter.is_meta for parameter in stored.model.parameters())
    runner.allocate(POOL)
    tokens = words(40)
    assert torch.equal(whole(runner, tokens), whole(runner_of(model), tokens))


@pytest.mark.parametrize("format", WEIGHT_FORMATS)
@pytest.mark.parametrize(("kind", "sizes"), [("qwen2", {}), ("qwen3", {"tie_word_embeddings": True})])
def test_new_weights_are_taken_in_place(kind: str, sizes: dict[str, bool], format: str, tmp_path: Path) -> None:
    """Logits are those of a fresh runner of the new weights, bit for bit, and nothing more is held."""
    old, new, tokens = tiny(kind, **sizes), tiny(kind, **sizes).initialise(7, std=0.3), words(40)
    runner, fresh = (runner_of(model, format, kv="fp16") for model in (old, new))
    before, held = whole(runner, tokens), runner.weight_bytes
    wanted = whole(fresh, tokens)
    assert not torch.equal(before, wanted)
    runner.load_weights(layered(new))
    assert torch.equal(whole(runner, tokens), wanted)
    save_model(tmp_path / "old", old)
    runner.load_weights(layered(StoredModel(tmp_path / "old")))
    assert torch.equal(whole(runner, tokens), before)
    assert runner.weight_bytes == held == fresh.weight_bytes


def test_new_weights_of_another_shape_are_refused_and_change_nothing() -> None:
    runner, tokens = runner_of(tiny()), words(40)
    before = whole(runner, tokens)
    for other in (tiny(num_hidden_layers=4), tiny("qwen3"), tiny(tie_word_embeddings=True)):
        with pytest.raises(InputError, match="another shape"):
            runner.load_weights(layered(other))
    assert torch.equal(whole(runner, tokens), before)


def test_sizes_are_reported() -> None:
    model = tiny()
    sizes = {format: NativeRunner(layered(model), format=format, threads=1) for format in WEIGHT_FORMATS}  # pyright: ignore
    assert sizes["w4a16"].weight_bytes < sizes["int8"].weight_bytes < sizes["fp16"].weight_bytes
    assert sizes["fp32"].weight_bytes >= 4 * sum(parameter.numel() for parameter in model.parameters())
    assert runner_of(model).block_bytes == 3 * 2 * 2 * BLOCK_SIZE * 32 * 4
    assert runner_of(model, kv="fp16").block_bytes == 3 * 2 * 2 * BLOCK_SIZE * 32 * 2


def _in_child(runner: NativeRunner, tokens: list[int], answer: object) -> None:
    answer.put(whole(runner, tokens).tolist())  # pyright: ignore


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
def test_a_forked_child_computes_the_same() -> None:
    runner = runner_of(tiny())
    tokens = words(40)
    logits = whole(runner, tokens)
    context = multiprocessing.get_context("fork")
    answer = context.Queue()
    child = context.Process(target=_in_child, args=(runner, tokens, answer))
    child.start()
    assert answer.get(timeout=60) == logits.tolist()
    child.join(60)
    assert child.exitcode == 0
    assert torch.equal(whole(runner, tokens), logits)


def test_threads_end_with_the_runner() -> None:
    def threads() -> int:
        return len(os.listdir("/proc/self/task"))

    before = threads()
    runner = runner_of(tiny(), threads=4)
    whole(runner, words(5))
    assert threads() == before + 3
    del runner
    assert threads() == before


def test_nothing_burns_while_nothing_runs() -> None:
    runner = runner_of(tiny(), threads=4)
    whole(runner, words(5))
    time.sleep(0.05)
    begin = time.process_time()
    time.sleep(0.5)
    assert time.process_time() - begin < 0.1  # three spinning threads would take up to 1.5


def test_the_pool_is_touched_only_where_it_is_used() -> None:
    def resident() -> int:
        return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")

    runner = NativeRunner(layered(tiny()), format="fp32", threads=1, kv="fp32")
    before = resident()
    runner.allocate(10_000)
    whole(runner, words(60))
    assert resident() - before < 10_000 * runner.block_bytes / 4


def test_the_structures_are_those_of_the_header() -> None:
    from podium.generate.native.stack import StackShape, StackStep

    assert ctypes.sizeof(StackShape) == 60
    assert ctypes.sizeof(StackStep) == 8 + 6 * ctypes.sizeof(ctypes.c_void_p)
