"""The rule set says what the official one says, as data."""

from __future__ import annotations

import json
import math
import re
from importlib.resources import files
from pathlib import Path

import mlperf_logging.compliance_checker as official
import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st
from mlperf_logging.benchmark_meta import get_result_file_counts
from mlperf_logging.rcp_checker import rcp_checker

from podium.bench.rcp import reference_records
from podium.bench.rules import Condition, expand_braces, load_ruleset, parse_ruleset, ruleset_versions
from podium.errors import InputError

OFFICIAL = Path(official.__file__).parent / "training_1.1.0"
RULES = load_ruleset("1.1.0")
BENCHMARKS = sorted(RULES.benchmarks)


def official_keys(name: str) -> dict[str, dict[str, str]]:
    records = yaml.load((OFFICIAL / name).read_text(), Loader=yaml.BaseLoader) or []
    return {record["KEY"]["NAME"]: record["KEY"] for record in records if "KEY" in record}


def asked(count: str) -> str:
    """The official word for a count as ours."""
    if count.startswith("AT_LEAST_ONE"):
        return "at_least_one"
    return "exactly_one" if count == "EXACTLY_ONE" else "any"


@pytest.mark.parametrize("benchmark", BENCHMARKS)
@pytest.mark.parametrize("optimizer", ["lars", "sgd"])
def test_the_same_keys_are_asked_for_as_often(benchmark: str, optimizer: str) -> None:
    names = ["common.yaml", "closed_common.yaml", f"closed_{benchmark}.yaml"]
    names += [f"closed_resnet_{optimizer}.yaml"] if benchmark == "resnet" else []
    theirs = {}
    for name in names:
        theirs |= official_keys(name)
    wanted = {key: asked(record.get("REQ", "")) for key, record in theirs.items()}
    ours: dict[str, str] = {}
    for rule in RULES.key_rules(benchmark, "closed", optimizer):
        ours[rule.key] = max(ours.get(rule.key, "any"), rule.count, key=("any", "at_least_one", "exactly_one").index)
    assert ours == wanted


@pytest.mark.parametrize("benchmark", BENCHMARKS)
def test_the_targets_are_the_official_ones(benchmark: str) -> None:
    """Their Python is run on a grid of values; our condition must agree on each."""
    test = official_keys(f"closed_{benchmark}.yaml")["eval_accuracy"]["ATLEAST_ONE_CHECK"].strip()
    numbers = sorted(float(found) for found in re.findall(r"[<>]=? *([0-9.]+)", test))
    grid = sorted({number + step for number in numbers for step in (-1e-3, -1e-9, 0.0, 1e-9, 1e-3)})
    values = [{"BBOX": a, "SEGM": b} for a in grid for b in grid] if benchmark == "maskrcnn" else grid
    for value in values:
        assert RULES.benchmark(benchmark).target.holds(value) == eval(test, {"v": {"value": value}}), value


@pytest.mark.parametrize("benchmark", BENCHMARKS)
def test_the_tensors_are_the_official_ones(benchmark: str) -> None:
    records = yaml.load((OFFICIAL / f"closed_{benchmark}.yaml").read_text(), Loader=yaml.BaseLoader)
    check = next(record["END"]["CHECK"] for record in records if "END" in record)
    names = [name for name in re.findall(r"""["']([^"']+)["']""", check) if name != "initialized_tensors"]
    assert sorted(RULES.tensors(benchmark)) == sorted(names)


@pytest.mark.parametrize("benchmark", [name for name in BENCHMARKS if name != "minigo"])
def test_the_reference_points_are_the_official_ones(benchmark: str) -> None:
    folder = Path(rcp_checker.__file__).parent / "training_1.1.0"
    theirs = json.loads((folder / f"rcps_{benchmark}.json").read_text())
    ours = {record["name"]: record for record in reference_records("1.1.0")[benchmark]}
    assert {name: (r["BS"], r["Epochs to converge"], r["Hyperparams"]) for name, r in theirs.items()} == {
        name: (r["batch"], r["epochs"], r["hyperparameters"]) for name, r in ours.items()
    }


def test_the_run_counts_are_the_official_ones() -> None:
    counts = get_result_file_counts("training")
    assert {name: rule.runs for name, rule in RULES.benchmarks.items()} == {name: counts[name] for name in BENCHMARKS}
    assert {name: (rule.drop, rule.may_fail) for name, rule in RULES.benchmarks.items() if rule.drop > 1} == {
        "unet3d": (4, 4)
    }


def test_warnings_stand_beside_the_rule_they_sharpen() -> None:
    """A warning must not replace the official rule of its key."""
    for benchmark in BENCHMARKS:
        for optimizer in ("lars", "sgd"):
            rules = RULES.key_rules(benchmark, "closed", optimizer)
            for rule in rules:
                if rule.level == "warning" and rule.key != "weights_initialization":
                    assert any(other.key == rule.key and other.level == "error" for other in rules), rule


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inside: st.lists(inside, max_size=3) | st.dictionaries(st.text(max_size=5), inside, max_size=3),
    max_leaves=6,
)
CONDITIONS = [rule.value for name in BENCHMARKS for rule in RULES.key_rules(name, "closed", "lars")]
CONDITIONS += [RULES.target(name, division) for name in BENCHMARKS for division in ("closed", "open")]


@given(JSON, st.sampled_from(CONDITIONS))
def test_a_condition_judges_any_value(value: object, condition: Condition) -> None:
    assert condition.holds(value) == (condition.fault(value) == "")


@given(st.floats(allow_nan=False, allow_infinity=False))
def test_bounds_are_comparisons(value: float) -> None:
    assert Condition(at_least=0.5).holds(value) == (value >= 0.5)
    assert Condition(above=0.5).holds(value) == (value > 0.5)
    assert Condition(at_most=0.5, above=0).holds(value) == (0 < value <= 0.5)
    assert Condition(below=0.5).holds(value) == (value < 0.5)


@pytest.mark.parametrize(
    ("condition", "good", "bad"),
    [
        (Condition(multiple_of=0.02), [0.02, 0.12, 0.3], [0.021, "0.02", None, True, math.inf, math.nan, 10**400]),
        (Condition(power_of_two_times=1e-4), [1e-4, 5e-5, 4e-4], [3e-4, 0, -1e-4, math.inf, "x", 10**400, 5e-324]),
        (Condition(one_of=(1, 50)), [1, 50], [2, "1", True, [1]]),
        (Condition(equals=True), [True], [1, "true", None]),
        (Condition(one_of=(1, math.inf)), [1, math.inf], [2, math.nan]),
        (Condition(items=(Condition(multiple_of=4), Condition(multiple_of=5))), [[44, 55]], [[44], [43, 55], 4, None]),
        (Condition(fields={"A": Condition(above=0)}), [{"A": 1}], [{}, {"A": 0}, {"B": 1}, 1, [1]]),
        (Condition(at_least=0.9), [0.9], [math.nan, True, "0.95", None, [0.95]]),
    ],
)
def test_each_word_of_a_condition(condition: Condition, good: list[object], bad: list[object]) -> None:
    assert [value for value in good if not condition.holds(value)] == []
    assert [value for value in bad if condition.holds(value)] == []


def test_evaluation_schedules() -> None:
    """bert: the step that Graphcore's published logs show at their two batch sizes; unet3d by hand."""
    bert, unet = RULES.benchmark("bert").evaluation, RULES.benchmark("unet3d").evaluation
    assert bert.schedule(3072) == (175_000, 175_000)
    assert bert.schedule(6144) == (200_000, 200_000)
    assert unet.schedule(2) == (1000, 20)
    assert unet.schedule(84) == (1000, 20)
    assert unet.schedule(80) == (700, 14)  # an epoch is padded to 240 samples
    assert RULES.benchmark("resnet").evaluation.schedule(1) == (7, 4)


def test_patterns_of_names() -> None:
    assert expand_braces("a{0..2}_{x,y}") == ["a0_x", "a0_y", "a1_x", "a1_y", "a2_x", "a2_y"]
    assert expand_braces("plain") == ["plain"]


def test_an_unknown_rule_set_or_word_is_refused() -> None:
    assert ruleset_versions() == ["1.1.0", "2.0.0", "2.1.0", "3.0.0", "3.1.0", "4.0.0", "4.1.0", "5.0.0", "5.1.0"]
    with pytest.raises(InputError, match=r"'1.1' is unknown"):
        load_ruleset("1.1")
    with pytest.raises(InputError, match="not in rule set"):
        RULES.benchmark("resnet50")
    text = files("podium.bench").joinpath("rulesets", "training-1.1.0.yaml").read_text(encoding="utf-8")
    with pytest.raises(InputError, match=r"events.0.eval: Extra inputs"):
        parse_ruleset(text.replace("events:\n  - {", "events:\n  - {eval: 'v > 1', ", 1))
    with pytest.raises(InputError, match="not YAML"):
        parse_ruleset("a: [")
