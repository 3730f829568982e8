"""Memory against the papers' own figures, and against layouts that are known to run or to fail."""

from __future__ import annotations

import csv
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from podium.errors import InputError
from podium.plan.counting import parameters
from podium.plan.fitting import prepare
from podium.plan.hardware import find_device
from podium.plan.hf_config import read_config
from podium.plan.inference_memory import cache_bytes, serving_memory
from podium.plan.layouts import Layout, Layouts
from podium.plan.memory import activation_bytes, held_parameters, training_memory
from podium.plan.named import find_model
from podium.plan.recipe import Recipe
from podium.plan.runs import PUBLISHED, read_runs
from podium.plan.shapes import Experts, Shape

GIB = 2**30
MEASURED = Path(__file__).parent / "data" / "measured_b200" / "rows.csv"
UNFUSED = Recipe(precision="fp16", flash=False, dropout=True)
# arXiv 2205.05198 figure 1, GiB as profiled: parameters and optimiser, activations without and with sequence
# parallelism and selective recomputation.
PROFILED = [
    ("megatron-22b", Layout(8, 1, 1, micro_batch=4), 4, 45.5625, 59.25, 9.5625),
    ("gpt3-175b", Layout(8, 8, 1, interleave=3), 64, 45.5625, 66.84375, 12.3515625),
    ("megatron-530b", Layout(8, 35, 1, interleave=3), 280, 31.640625, 114.0234375, 23.076171875),
    ("megatron-1t", Layout(8, 64, 1), 512, 32.958984375, 131.25, 26.5625),
]


def model(name: str) -> Shape:
    found = find_model(name)
    assert isinstance(found, Shape)
    return found


def with_(layout: Layout, **changes: object) -> Layout:
    return replace(layout, **changes)  # type: ignore[arg-type]


@pytest.mark.parametrize(("name", "layout", "batch", "states", "plain", "selective"), PROFILED)
def test_profiled_memory(name: str, layout: Layout, batch: int, states: float, plain: float, selective: float) -> None:
    both = [layout, with_(layout, sequence_parallel=True, recompute="selective")]
    memory = training_memory(model(name), Layouts.of(both, batch), UNFUSED, 2048)
    held = (memory.weights + memory.gradients + memory.optimizer)[0] / GIB
    # The figure leaves out the embedding, which the last or first stage holds.
    assert held == pytest.approx(states, rel=0.09)
    assert held > states
    assert memory.activations / GIB == pytest.approx([plain, selective], rel=0.03)


def test_activations_are_korthikantis_formula() -> None:
    """arXiv 2205.05198 equations 1, 2, 4 and 6, per layer."""
    shape = model("gpt3-175b")
    s, b, h, a, t = 2048, 1, 12288, 96, 8
    layouts = Layouts.of([Layout(1), Layout(t), Layout(t, sequence_parallel=True)], 8)
    kept, inputs, selected = activation_bytes(shape, layouts, UNFUSED, s)
    unit = s * b * h
    scores = 5 * a * s / h
    assert kept == pytest.approx([unit * (34 + scores), unit * (10 + 24 / t + scores / t), unit * (34 + scores) / t])
    assert selected == pytest.approx([unit * 34, unit * (10 + 24 / t), unit * 34 / t])
    assert inputs == pytest.approx([2 * unit, 2 * unit, 2 * unit / t])


def test_zero_stages_are_those_of_the_paper() -> None:
    """arXiv 1910.02054 figure 1: 7.5 B parameters, 64 ranks, Adam: 120, 31.4, 16.6 and 1.9 GB."""
    shape = Shape("7.5b", 36, 4096, 32, 32, 128, 16384, 51200, gated=False, tied=True)
    scale = 7.5e9 / parameters(shape).total
    layouts = Layouts.of([Layout(dp=64, zero=stage) for stage in range(4)], 64)
    memory = training_memory(shape, layouts, Recipe(gradient_bytes=2.0), 1024)
    states = scale * (memory.weights + memory.gradients + memory.optimizer) / 1e9
    assert states == pytest.approx([120, 31.4, 16.6, 1.9], abs=0.05)


def test_what_ran_fits() -> None:
    """Every published run with a layout fits its devices, with some micro-batch where none is published."""
    prepared = [ready for run in read_runs(PUBLISHED) if (ready := prepare(run))]
    assert len(prepared) >= 30
    assert [ready.run.name for ready in prepared if not ready.fits] == []


OUT_OF_MEMORY = [
    # arXiv 2205.05198 figure 1: without recomputation all four are above the line of 80 GB.
    *[(name, layout, batch, UNFUSED, 2048, "A100") for name, layout, batch, *_ in PROFILED],
    # arXiv 1910.02054 section 1: plain data parallelism ends at 1.4 B parameters on 32 GB.
    ("gpt2-xl", Layout(dp=8, micro_batch=1), 8, Recipe("fp16", flash=False, dropout=True), 1024, "V100"),
    # Full fine-tuning of 7 B with Adam on one device of 80 GB; 70 B under FSDP on one node of eight.
    ("llama-2-7b", Layout(recompute="full"), 8, Recipe(), 4096, "A100"),
    ("llama-2-70b", Layout(dp=8, zero=3, recompute="full"), 8, Recipe(), 4096, "A100"),
    # 405 B on 8 nodes of H100: 18 bytes per parameter are 114 GB each.
    ("llama-3.1-405b", Layout(tp=8, pp=8, recompute="full", sequence_parallel=True), 64, Recipe(), 8192, "H100"),
]


@pytest.mark.parametrize(("name", "layout", "batch", "recipe", "sequence", "device"), OUT_OF_MEMORY)
def test_what_ran_out_of_memory_does_not_fit(
    name: str, layout: Layout, batch: int, recipe: Recipe, sequence: int, device: str
) -> None:
    memory = training_memory(model(name), Layouts.of([layout], batch), recipe, sequence).total[0]
    assert memory > find_device(device).memory


RAN = [
    ("llama-2-7b", Layout(dp=8, zero=3), 8, Recipe(), 4096, "A100"),
    ("llama-2-70b", Layout(dp=64, zero=3, recompute="full"), 64, Recipe(), 4096, "A100"),
    ("gpt2-xl", Layout(dp=8, zero=1, recompute="full"), 8, Recipe("fp16", flash=False, dropout=True), 1024, "V100"),
    *[
        (name, with_(layout, recompute="selective", sequence_parallel=True), batch, UNFUSED, 2048, "A100")
        for name, layout, batch, *_ in PROFILED
    ],
]


@pytest.mark.parametrize(("name", "layout", "batch", "recipe", "sequence", "device"), RAN)
def test_what_is_known_to_run_fits(
    name: str, layout: Layout, batch: int, recipe: Recipe, sequence: int, device: str
) -> None:
    memory = training_memory(model(name), Layouts.of([layout], batch), recipe, sequence).total[0]
    assert memory <= find_device(device).memory


def test_each_way_to_save_memory_saves_some() -> None:
    shape = model("llama-3.1-70b")
    plain = Layout(tp=8, pp=4, dp=4)
    savings = {
        "zero 1": with_(plain, zero=1),
        "zero 2": with_(plain, zero=2),
        "zero 3": with_(plain, zero=3),
        "sequence parallel": with_(plain, sequence_parallel=True),
        "selective": with_(plain, recompute="selective"),
        "full": with_(plain, recompute="full"),
        "offload": with_(plain, offload=True),
    }
    memory = training_memory(shape, Layouts.of([plain, *savings.values()], 64), Recipe(), 8192).total
    smaller = dict(zip(savings, memory[1:] < memory[0], strict=True))
    assert all(smaller.values()), smaller
    assert memory[1] > memory[2] > memory[3]
    assert memory[5] > memory[6]


def test_context_parallelism_shares_out_activations() -> None:
    shape = model("llama-3.1-8b")
    layouts = Layouts.of([Layout(tp=8, dp=8), Layout(tp=8, dp=2, cp=4)], 8)
    memory = training_memory(shape, layouts, Recipe(), 131_072)
    assert memory.activations[1] == pytest.approx(memory.activations[0] / 4)
    assert memory.weights[1] == memory.weights[0]


def test_experts_are_shared_out() -> None:
    shape = model("qwen3-30b-a3b")
    layouts = Layouts.of([Layout(dp=8, ep=1), Layout(dp=8, ep=8)], 8)
    weights = training_memory(shape, layouts, Recipe(), 4096).weights / 2
    dense = parameters(shape).total - 48 * 128 * 3 * 2048 * 768
    assert weights == pytest.approx([parameters(shape).total, dense + 48 * 16 * 3 * 2048 * 768], rel=1e-3)


def test_caches() -> None:
    # 2 x 8 heads x 128 x 2 bytes x 32 layers, and DeepSeek-V3's 576 numbers per layer (arXiv 2405.04434 table 1).
    assert cache_bytes(model("llama-3.1-8b"), 1) == 131_072
    assert cache_bytes(model("deepseek-v3"), 1) == 2 * 576 * 61
    with pytest.raises(InputError, match="decoder"):
        cache_bytes(model("bert-base"), 1)


def test_serving_fits_fewer_sequences_as_they_grow() -> None:
    shape, device = model("qwen2.5-14b"), find_device("H100")
    found = [serving_memory(shape, device, context).sequences for context in (2048, 8192, 32768)]
    assert found[0] > 3 * found[1] > 9 * found[2] > 0
    assert serving_memory(shape, find_device("L4"), 2048).free < 0
    assert serving_memory(shape, find_device("L4"), 2048, ranks=4).free > 0
    # KV heads beyond their number are repeated, not split.
    one, many = (serving_memory(model("qwen2.5-0.5b"), device, 2048, ranks=r).cache_per_sequence for r in (2, 14))
    assert one == pytest.approx(many)
    with pytest.raises(InputError, match="divide"):
        serving_memory(shape, device, 2048, ranks=3)


def test_totals_are_sums_of_parts() -> None:
    memory = training_memory(model("llama-3.1-8b"), Layouts.of([Layout(dp=8, zero=1)], 8), Recipe(), 8192)
    assert np.isclose(sum(memory.at(0).values()), memory.total[0])


def test_stages_hold_the_layers_they_really_have() -> None:
    """Four layers, the first one dense, on two stages: the second one has two mixtures, not one and a half."""
    experts = Experts(routed=16, active=2, ffn=2048, dense_layers=1)
    shape = Shape("cut", 4, 2048, 16, 16, 128, 8192, 32000, sequence=2048, experts=experts)
    layouts = Layouts.of([Layout(pp=2, dp=4, ep=4)], 16)
    first, last = held_parameters(shape, layouts)
    one = 16 * 3 * 2048 * 2048 / 4
    assert (first.expert[0], last.expert[0]) == (one, 2 * one)
    every = parameters(replace(shape, experts=replace(experts, dense_layers=0)))
    whole = held_parameters(replace(shape, experts=replace(experts, dense_layers=0)), Layouts.of([Layout()], 16))[0]
    assert whole.total[0] == every.total - shape.hidden  # the last norm is left out
    # Interleaved, the dense layers are in the first chunk; scattered, each stage has its part of them.
    chunks = held_parameters(replace(shape, layers=8), Layouts.of([Layout(pp=2, dp=4, ep=4, interleave=2)], 16))
    assert (chunks[0].expert[0], chunks[1].expert[0]) == (3 * one, 4 * one)
    mixed = replace(shape, experts=replace(experts, dense_layers=2, scattered=True))
    assert [held.expert[0] for held in held_parameters(mixed, layouts)] == [one, one]


@pytest.mark.parametrize("stages", [1, 2, 4])
def test_a_model_of_one_kind_of_layer_is_spread_evenly(stages: int) -> None:
    shape = Shape("moe", 8, 2048, 16, 16, 128, 8192, 32000, experts=Experts(routed=16, active=2, ffn=2048))
    first, last = held_parameters(shape, Layouts.of([Layout(pp=stages, dp=4, ep=2)], 16))
    assert first.expert[0] == last.expert[0] == 8 / stages * 16 * 3 * 2048 * 2048 / 2


def test_memory_of_measured_mixtures() -> None:
    """Allocated bytes of DeepSeek-V2, cut to four layers of which one is dense, on one stage and on two."""
    found = {}
    for row in csv.DictReader(MEASURED.open()):
        if not row["model"].startswith("deepseek"):
            continue
        shape = read_config(MEASURED.parent / row["config"])
        assert isinstance(shape, Shape)
        layout = Layout(pp=int(row["pp"]), dp=int(row["dp"]), ep=int(row["ep"]), zero=1)
        memory = training_memory(shape, Layouts.of([layout], int(row["global_bs_seq"])), Recipe(), int(row["seq"]))
        found[row["pp"]] = (memory.total - memory.reserved)[0] / GIB / float(row["real_alloc_gib"])
    assert found == pytest.approx({"1": 1.0, "2": 1.0}, abs=0.03)
