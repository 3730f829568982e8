"""A chain does what is not done, once; changes reach as far as they matter; nothing finished is lost."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from io import StringIO
from pathlib import Path

import pytest
import yaml
from mlperf_logging.compliance_checker import mlp_parser
from rich.console import Console

from podium.errors import InputError, StorageError
from podium.recipe import registry
from podium.recipe.chain import estimates, plan
from podium.recipe.document import read_recipe
from podium.recipe.execute import execute
from podium.recipe.view import View, chain_table

CHAIN = """\
name: run
seed: 1
stages:
  sums: {kind: numbers, rows: 6}
  other: {kind: numbers, rows: 3}
  train: {kind: fold, inputs: {data: sums}, steps: 7}
  all: {kind: collect, inputs: {a: train, b: other/numbers.jsonl}}
"""


@pytest.fixture
def traced(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    path = tmp_path / "trace"
    path.write_text("")
    monkeypatch.setenv("PODIUM_TEST_TRACE", str(path))
    return path


def quiet() -> View:
    return View(Console(file=StringIO()))


def run(path: Path, *overrides: str, **keywords):
    return execute(read_recipe(path, overrides), path.parent / "runs", view=quiet(), **keywords)


def made(folder: Path) -> dict[str, str]:
    """What the stages of a run made: name -> content hash, from their marks."""
    return {
        f"{done.parent.name}/{name}": output["sha256"]
        for done in sorted(folder.glob("*/done.json"))
        for name, output in json.loads(done.read_text())["outputs"].items()
    }


def test_a_run_leaves_what_it_promises(write) -> None:
    result = run(write(CHAIN))
    assert result.ran == ("sums", "other", "train", "all")
    folder = result.folder
    assert {file.name for file in folder.iterdir()} == {
        "recipe.yaml",
        "run.log",
        "metrics.jsonl",
        "system.json",
        "sums",
        "other",
        "train",
        "all",
    }
    assert yaml.safe_load((folder / "recipe.yaml").read_text())["stages"]["sums"]["rows"] == 6
    lines, errors = mlp_parser.parse_file(str(folder / "run.log"), ruleset="6.0.0")
    assert errors == []
    assert [line.key for line in lines] == ["run_start", *["stage_start", "stage_stop"] * 4, "run_stop"]
    done = json.loads((folder / "train" / "done.json").read_text())
    assert set(done["outputs"]) == {"sub/digest.txt"}
    assert done["metrics"]["steps"] == 7
    assert done["wall_seconds"] >= 0
    assert not (folder / "train" / ".state").exists()


def test_a_second_run_does_nothing(write, traced: Path) -> None:
    path = write(CHAIN)
    before = made(run(path).folder)
    traced.write_text("")
    result = run(path)
    assert (result.ran, result.skipped) == ((), ("sums", "other", "train", "all"))
    assert traced.read_text() == ""
    assert made(result.folder) == before


def test_a_changed_parameter_reruns_its_stage_and_those_after_it(write) -> None:
    path = write(CHAIN)
    run(path)
    assert run(path, "other.rows=4").ran == ("other", "all")
    assert run(path, "other.rows=4", "train.steps=8").ran == ("train", "all")


def test_a_parameter_that_changes_no_result_reruns_nothing_and_is_shown(write, traced: Path) -> None:
    path = write(CHAIN)
    before = made(run(path).folder)
    traced.write_text("")
    result = run(path, "train.every=2")
    assert result.ran == ()
    assert traced.read_text() == ""
    assert made(result.folder) == before
    assert yaml.safe_load((result.folder / "recipe.yaml").read_text())["stages"]["train"]["every"] == 2
    assert "made with every=3" in shown(path, "train.every=2")
    assert "made with" not in shown(path)


def test_an_unfinished_stage_goes_on_with_a_parameter_that_changes_no_result(
    write, traced: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = write(CHAIN)
    undisturbed = made(run(path).folder)
    shutil.rmtree(path.parent / "runs")
    kind = registry.find_kind("fold", "test")

    def stopped(context, params, inputs):
        kind.run(context, params.model_copy(update={"steps": 4}), inputs)
        raise KeyboardInterrupt

    monkeypatch.setitem(registry.KINDS._things, "fold", replace(kind, run=stopped))
    with pytest.raises(KeyboardInterrupt):
        run(path)
    monkeypatch.setitem(registry.KINDS._things, "fold", kind)
    traced.write_text("")
    result = run(path, "train.every=2")
    assert result.ran == ("train", "all")
    assert traced.read_text().count("train step") < 7
    assert made(result.folder) == undisturbed


def test_a_changed_seed_reruns_everything(write) -> None:
    path = write(CHAIN)
    run(path)
    assert run(path, "seed=2").ran == ("sums", "other", "train", "all")


def test_a_changed_input_file_reruns_what_reads_it_and_a_touched_one_does_not(write, tmp_path: Path) -> None:
    rows = tmp_path / "rows.jsonl"
    rows.write_text('{"id": "a", "text": "t", "answer": "1"}\n')
    path = write("name: run\nstages: {train: {kind: fold, inputs: {data: rows.jsonl}}, other: {kind: numbers}}")
    run(path)
    rows.touch()
    assert run(path).ran == ()
    rows.write_text('{"id": "a", "text": "t", "answer": "2"}\n')
    assert run(path).ran == ("train",)


def test_a_file_renamed_inside_an_input_folder_is_a_change(write, tmp_path: Path) -> None:
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "a.txt").write_text("1")
    path = write("name: run\nstages: {all: {kind: collect, inputs: {x: data/}}}")
    run(path)
    (tmp_path / "data" / "a.txt").rename(tmp_path / "data" / "b.txt")
    assert run(path).ran == ("all",)


def test_a_raised_code_version_reruns_the_stage(write, monkeypatch: pytest.MonkeyPatch) -> None:
    from dataclasses import replace

    path = write(CHAIN)
    run(path)
    monkeypatch.setitem(registry.KINDS._things, "fold", replace(registry.find_kind("fold", ""), version="2"))
    assert run(path).ran == ("train", "all")


def test_going_back_to_earlier_parameters_computes_nothing(write, traced: Path) -> None:
    path = write(CHAIN)
    before = made(run(path).folder)
    run(path, "sums.rows=5")
    traced.write_text("")
    result = run(path)
    assert traced.read_text() == ""
    assert result.ran == ()
    assert made(result.folder) == before


def test_a_kept_unfinished_stage_comes_back_and_goes_on(write, traced: Path) -> None:
    path = write("name: run\nstages: {sums: {kind: numbers, rows: 4}, stop: {kind: fail, inputs: {after: sums}}}")
    with pytest.raises(InputError):
        run(path)
    with pytest.raises(ZeroDivisionError):
        run(path, "stop.how=defect")
    assert (path.parent / "runs/run/stop/begun.txt").exists()
    kept = list((path.parent / "runs/run/.kept").iterdir())
    assert [folder.name[:5] for folder in kept] == ["stop-"]
    (kept[0] / "mine.txt").write_text("work so far")
    with pytest.raises(InputError):
        run(path)
    assert (path.parent / "runs/run/stop/mine.txt").exists()


@pytest.mark.parametrize("damage", ["delete", "shorten", "change"])
def test_a_damaged_output_is_noticed_and_made_again(write, damage: str) -> None:
    path = write(CHAIN)
    folder = run(path).folder
    before = made(folder)
    output = folder / "train/sub/digest.txt"
    if damage == "delete":
        output.unlink()
    elif damage == "shorten":
        output.write_text("x")
    else:
        output.write_text("x" * len(output.read_text()))
    assert run(path).ran == ("train",)
    assert made(folder) == before


def test_a_copied_run_is_still_finished(write, tmp_path: Path) -> None:
    path = write(CHAIN)
    run(path)
    shutil.copytree(tmp_path / "runs/run", tmp_path / "runs/copy", copy_function=shutil.copyfile)
    assert run(path, "name=copy").ran == ()


def test_a_mark_changed_by_hand_is_not_believed(write) -> None:
    path = write(CHAIN)
    folder = run(path).folder
    (folder / "train/done.json").write_text("{")
    assert run(path).ran == ("train",)


def test_until_runs_only_what_is_needed(write) -> None:
    path = write(CHAIN)
    assert run(path, until="train").ran == ("sums", "train")
    assert run(path).ran == ("other", "all")
    with pytest.raises(InputError) as caught:
        run(path, until="trian")
    assert caught.value.cure == "did you mean 'train'?"


def test_fresh_starts_over_and_keeps_the_old_run(write, traced: Path) -> None:
    path = write(CHAIN)
    first = made(run(path).folder)
    assert len(run(path, fresh=True).ran) == 4
    assert len(run(path, fresh=True).ran) == 4
    runs = path.parent / "runs"
    assert made(runs / "run.old-1") == made(runs / "run.old-2") == made(runs / "run") == first


def test_a_mistaken_fresh_run_moves_nothing(write) -> None:
    path = write(CHAIN)
    run(path)
    with pytest.raises(InputError):
        run(path, fresh=True, until="nothing")
    assert not (path.parent / "runs/run.old-1").exists()


def test_a_missing_file_of_an_earlier_stage_is_named(write) -> None:
    path = write(CHAIN.replace("other/numbers.jsonl", "other/none.jsonl"))
    with pytest.raises(StorageError) as caught:
        run(path)
    assert "stage 'all': its input 'b' is not there" in caught.value.message


def test_a_failed_stage_keeps_what_was_finished_and_its_own_folder(write, traced: Path) -> None:
    path = write("name: run\nstages: {sums: {kind: numbers}, stop: {kind: fail, inputs: {after: sums}}}")
    with pytest.raises(InputError, match="the sky is green"):
        run(path)
    traced.write_text("")
    with pytest.raises(InputError):
        run(path)
    assert traced.read_text() == ""
    folder = path.parent / "runs/run"
    assert (folder / "stop/begun.txt").read_text() == "half"
    lines, errors = mlp_parser.parse_file(str(folder / "run.log"), ruleset="6.0.0")
    assert errors == []
    assert lines[-1].value["metadata"]["reason"] == "the sky is green"


def test_a_file_in_the_place_of_the_run_folder_is_explained(write, tmp_path: Path) -> None:
    (tmp_path / "runs").mkdir()
    (tmp_path / "runs/run").write_text("")
    with pytest.raises(StorageError, match="is a file, not a run folder"):
        run(write(CHAIN))


def test_a_folder_of_somebody_else_is_moved_aside_not_used(write, tmp_path: Path) -> None:
    (tmp_path / "runs/run/train").mkdir(parents=True)
    (tmp_path / "runs/run/train/precious.txt").write_text("mine")
    folder = run(write(CHAIN)).folder
    assert not (folder / "train/precious.txt").exists()
    assert (folder / ".kept/train-unknown/precious.txt").read_text() == "mine"


# -- what a person sees


def shown(path: Path, *overrides: str) -> str:
    recipe = read_recipe(path, overrides)
    console = Console(file=StringIO(), width=160)
    console.print(chain_table("run", plan(recipe, path.parent / "runs/run"), estimates(recipe)))
    assert isinstance(console.file, StringIO)
    return console.file.getvalue()


def test_the_dry_run_tells_status_and_cost_and_writes_nothing(write, tmp_path: Path) -> None:
    path = write(CHAIN)
    text = shown(path)
    assert not (tmp_path / "runs").exists()
    rows = {line.split()[0]: line for line in text.splitlines() if line.strip()}
    assert "to do" in rows["sums"]
    assert "~3.0 s" in rows["sums"]
    # The estimate of a stage is made from those of its inputs.
    assert rows["train"].split()[-4:] == ["6", "2", "TFLOP", "?"]
    assert "still to do: at least 4.5 s" in text
    run(path, until="train")
    rows = {line.split()[0]: line for line in shown(path).splitlines() if line.strip()}
    assert "done" in rows["train"]
    assert "taken" in rows["train"]
    assert "to do" in rows["all"]
    rows = {line.split()[0]: line for line in shown(path, "train.steps=8").splitlines() if line.strip()}
    assert "to do" in rows["train"]
    assert "changed since it last ran" in rows["train"]


def test_plain_lines_tell_of_stages_and_figures(write) -> None:
    console = Console(file=StringIO(), width=120)
    path = write(CHAIN)
    execute(read_recipe(path), path.parent / "runs", view=View(console))
    assert isinstance(console.file, StringIO)
    text = console.file.getvalue()
    assert "[1/4] sums  starts" in text
    assert "✓ [3/4] train" in text
    assert "steps 7" in text
    assert "\x1b" not in text


def test_a_terminal_gets_a_live_line(write) -> None:
    console = Console(file=StringIO(), width=120, force_terminal=True)
    path = write(CHAIN)
    execute(read_recipe(path), path.parent / "runs", view=View(console))
    assert isinstance(console.file, StringIO)
    assert "counting" in console.file.getvalue()


# -- the registry guards its own rules


def test_a_stage_without_a_parameter_model_is_refused() -> None:
    with pytest.raises(TypeError, match="annotate"):

        @registry.stage("bad", version=1)
        def bad(context, params, inputs):
            return registry.StageReport()


def test_a_kind_is_registered_once() -> None:
    with pytest.raises(InputError, match=r"stage kind .numbers. is .* already"):

        @registry.stage("numbers", version=1)
        def again(context, params: registry.Params, inputs):
            return registry.StageReport()


def test_a_stage_that_returns_something_else_is_a_defect_not_a_success(write, monkeypatch: pytest.MonkeyPatch) -> None:
    from dataclasses import replace

    wrong = replace(registry.find_kind("numbers", ""), run=lambda context, params, inputs: None)
    monkeypatch.setitem(registry.KINDS._things, "numbers", wrong)
    with pytest.raises(TypeError, match="not a StageReport"):
        run(write("name: run\nstages: {a: {kind: numbers}}"))
    assert not (Path(write("", "x").parent) / "runs/run/a/done.json").exists()
