"""A task is registered once: by its file, or by a user's package, which never edits Podium."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from typer.testing import CliRunner

from podium.bench import registry
from podium.bench.registry import benchmark_task, find_task, task_names, with_benchmark
from podium.bench.rules import Condition, load_ruleset, ruleset_versions
from podium.bench.task import MetricBound, Preset, Target, Task, at_least
from podium.commands.bench import app
from podium.errors import InputError
from podium.train.trainer import TrainConfig
from tests.packages import install, shown_files

EIGHT = ["resnet", "unet3d", "ssd", "maskrcnn", "rnnt", "bert", "dlrm", "minigo"]


@pytest.fixture
def registered() -> Iterator[dict[str, Task]]:
    """What a test registers or imports is forgotten afterwards."""
    modules = set(sys.modules)
    with registry.TASKS.isolated() as things:
        yield things
    for name in set(sys.modules) - modules:
        if not name.startswith("podium."):
            del sys.modules[name]


@pytest.fixture
def package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, registered: dict[str, Task]):
    """Installs a package of one entry point and one module, where this process finds it."""
    number = 0

    def make(point: str, code: str, *, module: str = "offered", name: str = "offering") -> None:
        nonlocal number
        number += 1
        toml = f'[project]\nname = "{name}"\nversion = "1"\n[project.entry-points."{registry.TASKS.group}"]\n{point}\n'
        folder = install(tmp_path / f"site{number}", {"pyproject.toml": toml, f"{module}.py": code})
        monkeypatch.syspath_prepend(folder)

    return make


def preset(target: Target) -> Preset:
    return Preset(network=None, data=None, batch=1, train=TrainConfig(steps=1), target=target, dataset="none")


class Whole(Task):
    """Has all that a task must have, and does nothing."""

    key = "whole"
    area = "nothing"
    presets = {"smoke": preset(at_least("accuracy", 0.5))}  # noqa: RUF012

    def prepare(self, preset, folder): ...
    def build(self, preset, seed): ...
    def objective(self, preset): ...
    def open(self, preset, folder, model, seed): ...


TASK_CODE = """
from tests_whole import Whole
from podium.bench.registry import benchmark_task
{decorator}
class Offered(Whole):
    key = "{key}"
"""


def code(key: str, *, decorator: str = "@benchmark_task") -> str:
    return TASK_CODE.format(key=key, decorator=decorator)


@pytest.fixture(autouse=True)
def _whole(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "tests_whole", sys.modules[__name__])


def test_the_worked_example_adds_a_task_without_a_change_in_podium(tmp_path: Path) -> None:
    """In processes of their own, as a user meets it: listed, run, checked, scored, on the board."""
    files = shown_files("A benchmark task")
    assert sorted(files) == ["pyproject.toml", "spirals.py"]
    site = install(tmp_path / "site", files)
    script = tmp_path / "user.py"
    # One process for all commands: importing torch is most of the time of each.
    script.write_text(
        "import json, sys\n"
        "from typer.testing import CliRunner\n"
        "from podium.commands.bench import app\n"
        "for arguments in json.loads(sys.argv[1]):\n"
        "    done = CliRunner().invoke(app, arguments)\n"
        "    print(json.dumps([done.exit_code, done.output, repr(done.exception)]))\n"
    )
    out = str(tmp_path / "out")
    page = tmp_path / "board.html"
    commands = [
        ["tasks"],
        ["run", "spirals", "--runs", "5", "--out", out],
        ["check", out],
        ["score", out, "--json"],
        ["board", out, "--json"],
        ["board", out, "--task", "spirals", "--html", str(page)],
        ["run", "spirals", "--division", "closed", "--out", out],
        ["init", str(tmp_path / "entry"), "--org", "me", "--system", "box", "--task", "spirals"],
    ]
    environment = {"PYTHONPATH": f"{site}:{Path(registry.__file__).parents[2]}", "OMP_NUM_THREADS": "1"}
    environment |= {
        "COLUMNS": "150",
        "PODIUM_BENCH_DATA": str(tmp_path / "data"),
        "PATH": "/usr/bin:/bin",
        "HOME": str(tmp_path),
    }
    done = subprocess.run(
        [sys.executable, str(script), json.dumps(commands)], capture_output=True, text=True, env=environment
    )
    assert done.returncode == 0, done.stderr
    listed, ran, checked, scored, board, html, closed, entry = map(json.loads, done.stdout.splitlines())
    assert listed[0] == 0
    assert [line.split()[0] for line in listed[1].splitlines()[1:] if line[1] != " "] == [*EIGHT, "spirals"]
    assert "accuracy >= 0.95" in listed[1]
    assert ran[0] == 0, ran[1]
    assert "5 of 5 runs reached the target" in ran[1]
    assert checked[0] == 0, checked[1]
    assert "spirals open" in checked[1]
    assert "PASS" in checked[1]
    assert scored[0] == 0
    score = json.loads(scored[1])
    assert (score["benchmark"], score["runs"], score["converged"], score["valid"]) == ("spirals", 5, 5, True)
    (own,) = json.loads(board[1])["own"]
    assert (own["task"], own["size"]) == ("spirals", "smoke")
    assert html[0] == 0, html[1:]
    assert "spirals" in page.read_text()
    assert closed[0] == 1
    assert "closed division" in closed[2]
    assert entry[0] == 0, entry[1:]
    assert "three-layer perceptron" in (tmp_path / "entry/benchmarks/spirals/box/README.md").read_text()


def test_the_eight_are_files_and_nothing_is_imported_to_list_them() -> None:
    assert task_names()[:8] == EIGHT
    said = (
        "import sys; from podium.bench.registry import task_names; print(*task_names());"
        "assert 'torch' not in sys.modules and 'podium.bench.tasks.resnet' not in sys.modules"
    )
    done = subprocess.run([sys.executable, "-c", said], capture_output=True, text=True)
    assert done.stdout.split()[:8] == EIGHT, done.stderr
    for key in EIGHT:
        assert find_task(key).key == key
    # Each is a benchmark of the round, and the round has no other.
    assert list(load_ruleset().benchmarks) == EIGHT


def test_a_wrong_name_is_answered_with_the_nearest_of_all_tasks(registered: dict[str, Task]) -> None:
    benchmark_task(type("Near", (Whole,), {"key": "sparrow"}))
    with pytest.raises(InputError, match="sparow") as error:
        find_task("sparow")
    assert "'sparrow'" in error.value.cure
    assert "sparrow" in task_names()[8:]


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ({"key": "resnet"}, "'resnet' is a benchmark of MLPerf"),
        ({"key": "llama31_8b"}, "'llama31_8b' is a benchmark of MLPerf"),  # of a later round
        ({"key": ""}, "has no key"),
        ({"key": "../up"}, "key '../up' is no name"),
        ({"key": 7}, "key 7 is no name"),
        ({"area": ""}, "has no area"),
        ({"presets": {}}, "has no presets"),
        ({"presets": {"tiny": preset(at_least("a", 1))}}, r"presets\['tiny'\]"),
        ({"presets": {"smoke": 3}}, r"presets\['smoke'\]"),
        ({"control": "no labels"}, "control 'no labels'"),
        ({"__init__": lambda self, width: None}, "without arguments"),
        ({"__abstractmethods__": frozenset({"open", "build"})}, "has no build, open"),
    ],
)
def test_a_class_that_is_no_task_is_refused(registered: dict[str, Task], fields: dict, words: str) -> None:
    chosen = type("Odd", (Whole,), {"key": "odd", **{k: v for k, v in fields.items() if k != "__abstractmethods__"}})
    if "__abstractmethods__" in fields:
        chosen.__abstractmethods__ = fields["__abstractmethods__"]  # type: ignore[attr-defined]
    before = dict(registered)
    with pytest.raises(InputError, match=words) as error:
        benchmark_task(chosen)
    assert "Odd" in error.value.message
    assert error.value.cure
    assert registered == before


def test_what_is_no_subclass_is_refused_and_two_classes_of_one_key_are(registered: dict[str, Task]) -> None:
    with pytest.raises(InputError, match="subclass of podium"):
        benchmark_task(dict)  # type: ignore[type-var]
    assert benchmark_task(Whole) is Whole
    benchmark_task(Whole)  # the same class again, as a reloaded module does
    with pytest.raises(InputError, match=r"task 'whole' is .*Whole already"):
        benchmark_task(type("Other", (Whole,), {}))


def test_an_entry_point_is_loaded_when_its_task_is_asked_for(package) -> None:
    package('late = "offered"', code("late"))
    assert "late" in task_names()
    assert "offered" not in sys.modules
    assert find_task("late").key == "late"
    assert "offered" in sys.modules


def test_an_entry_point_may_name_the_class_itself(package) -> None:
    package('bare = "offered:Offered"', code("bare", decorator=""))
    assert find_task("bare").key == "bare"


@pytest.mark.parametrize(
    ("point", "source", "words"),
    [
        ('gone = "nowhere_to_be_found"', code("gone"), "task 'gone' of package offering cannot be imported: ModuleNot"),
        ('gone = "offered:Missing"', code("gone"), "cannot be imported: AttributeError"),
        ('gone = "offered"', "1 / 0", "cannot be imported: ZeroDivisionError"),
        ('gone = "offered"', "", "offered of package offering registers no task 'gone'"),
        ('gone = "offered"', code("other"), "registers no task 'gone'"),
        ('gone = "offered"', code("resnet"), "'resnet' is a benchmark of MLPerf"),
    ],
)
def test_a_package_that_cannot_be_used_is_named_and_hides_no_other(
    package, point: str, source: str, words: str
) -> None:
    package(point, source)
    with pytest.raises(InputError, match=re.escape(words)):
        find_task("gone")
    said = CliRunner().invoke(app, ["tasks"])
    assert said.exit_code == 0
    assert "minigo" in said.stdout
    assert words[-20:] in said.stdout
    # Logs of other benchmarks are judged as ever.
    assert with_benchmark(load_ruleset(), "resnet") is load_ruleset()


def test_two_packages_with_one_name_are_both_named(package) -> None:
    package('twice = "offered"', code("twice"), name="first-one")
    package('twice = "offered2"', code("twice"), module="offered2", name="second-one")
    with pytest.raises(InputError, match="two packages offer a task 'twice'") as error:
        find_task("twice")
    assert "first-one" in error.value.message
    assert "second-one" in error.value.message


@pytest.mark.parametrize("version", ruleset_versions())
def test_every_rule_set_takes_an_unofficial_task_and_stays_as_it_is(registered: dict[str, Task], version: str) -> None:
    benchmark_task(Whole)
    rules = load_ruleset(version)
    official = set(rules.benchmarks)
    more = with_benchmark(rules, "whole")
    assert set(more.benchmarks) == official | {"whole"}
    assert set(load_ruleset(version).benchmarks) == official
    own = {rule.key: rule.value for rule in more.key_rules("whole", "open")}
    assert own["submission_benchmark"] == Condition(equals="whole")
    assert own["submission_division"].fault("closed") == "must be open"
    # The names that official logs may have are the official ones alone.
    name = next(iter(official))
    asked = {rule.key: rule.value for rule in more.key_rules(name, "closed")}["submission_benchmark"]
    assert asked.holds(name)
    assert not asked.holds("whole")
    assert with_benchmark(rules, "nobody") is rules


def test_several_metrics_of_an_unofficial_task_have_their_own_names(registered: dict[str, Task]) -> None:
    both = Target((MetricBound("recall", "max", 0.9), MetricBound("error", "min", 0.1)))
    benchmark_task(type("Two", (Whole,), {"key": "two", "presets": {"smoke": preset(both)}}))
    rules = with_benchmark(load_ruleset(), "two")
    assert both.logged({"recall": 0.95, "error": 0.05, "loss": 1.0}) == {"recall": 0.95, "error": 0.05}
    target = rules.target("two", "open")
    assert target.holds({"recall": 0.9, "error": 0.1})
    assert not target.holds({"recall": 0.9, "error": 0.2})
    (values,) = [rule.value for rule in rules.key_rules("two", "open") if rule.key == "eval_accuracy"]
    assert values.fault({"recall": 1.0}) == "must have error"
