"""The walk through one training step against the resident memory of a real one."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path

import pytest

from podium.errors import InputError
from podium.plan.named import find_model
from podium.plan.shapes import Shape, parse_shape
from podium.plan.trainer_memory import trainer_memory

BENCHMARK = Path(__file__).parents[2] / "benchmarks" / "plan_memory.py"


def benchmark():
    spec = importlib.util.spec_from_file_location("plan_memory", BENCHMARK)
    assert spec
    assert spec.loader
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="reads /proc")
@pytest.mark.parametrize("setting", ["adamw"])
def test_measured_peak(setting: str) -> None:
    measuring = benchmark()
    shape, settings = measuring.SHAPES["llama-small"], measuring.SETTINGS[setting]
    found = measuring.measure(shape, settings)
    predicted = measuring.predict(shape, settings, found["kernels"])
    assert predicted.peak == pytest.approx(found["measured"], rel=0.07)


@pytest.mark.slow
@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="reads /proc")
def test_measured_peak_of_all_shapes_and_settings() -> None:
    measuring = benchmark()
    for shape in measuring.SHAPES.values():
        for settings in measuring.SETTINGS.values():
            found = measuring.measure(shape, settings)
            predicted = measuring.predict(shape, settings, found["kernels"])
            assert predicted.peak == pytest.approx(found["measured"], rel=0.07)


SMALL = parse_shape("layers=4,hidden=256,heads=4,ffn=704,vocab=2048")


def test_parts() -> None:
    memory = trainer_memory(SMALL, 8, 256)
    assert memory.weights + memory.optimizer == pytest.approx(3 * memory.weights)
    assert memory.peak >= memory.weights + memory.optimizer + memory.activations
    assert trainer_memory(SMALL, 8, 256, optimizer="sgd").optimizer == memory.weights
    assert trainer_memory(SMALL, 8, 256, accumulation=2).peak > memory.peak
    assert trainer_memory(SMALL, 8, 256, kernels=False).activations > memory.activations


def test_logits_stop_growing_once_they_are_chunked() -> None:
    wide = parse_shape("layers=1,hidden=64,heads=1,ffn=128,vocab=65536")
    some, many = (trainer_memory(wide, rows, 256).logits for rows in (8, 32))
    assert many == some


def test_only_what_the_trainer_trains() -> None:
    moe = find_model("mixtral-8x7b")
    assert isinstance(moe, Shape)
    with pytest.raises(InputError, match="mixture of experts"):
        trainer_memory(moe, 1, 128)
    with pytest.raises(InputError, match="adamw"):
        trainer_memory(SMALL, 1, 128, optimizer="adam")
