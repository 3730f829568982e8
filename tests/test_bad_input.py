"""Whatever is wrong: one error with a cure, exit code 2 (Ctrl-C: 130), nothing half-written, nothing finished lost, and
the same command goes on once it is mended.

Everything runs through the real command line.
"""

from __future__ import annotations

import json
import os
import resource
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from podium.records import ExamResult, Solution
from podium.storage import read_rows

STAGES = ("problems", "teach_cot", "teach_tir", "tokenizer", "cot", "tir", "merge", "exam")
MADE = (
    *("problems/train.jsonl", "problems/exam.jsonl", "teach_cot/solutions.jsonl", "teach_tir/solutions.jsonl"),
    "tokenizer/tokenizer.json",
    *(f"{stage}/model/model.safetensors" for stage in ("cot", "tir", "merge")),
)
LAUNCH = Path(__file__).parent / "sandbox" / "hostile" / "_launch.py"
NOBODY = 65534
MERGE = """\
name: run
stages:
  merge: {{kind: merge, inputs: {{cot: {cot}, tir: {tir}}}, weights: {{cot: 0.3, tir: 0.7}}}}
"""
TEACH = "name: run\nstages: {teach: {kind: teach, style: cot, inputs: {problems: rows.jsonl}}}\n"


def refused(said, *words: str) -> None:
    """Exit code 2, the error with all `words` and its cure in the last two lines, no traceback."""
    assert said.code == 2, said.out + said.error
    *_, error, cure = said.error.splitlines()
    assert error.startswith("error: ")
    assert cure.startswith("  cure: ")
    for word in words:
        assert word in error + cure, said.error
    assert "Traceback" not in said.out + said.error


def nothing_half_written(folder: Path) -> None:
    assert not list(folder.rglob("*.partial"))
    for mark in folder.rglob("done.json"):
        for name, output in json.loads(mark.read_text())["outputs"].items():
            assert (mark.parent / name).stat().st_size == output["bytes"]


def marks(folder: Path) -> dict[str, tuple[int, bytes]]:
    return {file.parent.name: (file.stat().st_mtime_ns, file.read_bytes()) for file in folder.glob("*/done.json")}


def as_undisturbed(folder: Path, finished) -> None:
    """All outputs are those of a run that nothing happened to."""
    for name in MADE:
        assert (folder / name).read_bytes() == (finished.folder / name).read_bytes(), name
    texts = [
        [(attempt.text, attempt.stop_reason) for result in read_rows(at, ExamResult) for attempt in result.attempts]
        for at in (folder / "exam/results.jsonl", finished.folder / "exam/results.jsonl")
    ]
    assert texts[0] == texts[1]


# -- missing file ----------------------------------------------------------------------------------------------------


def test_missing_recipe(tmp_path, podium) -> None:
    said = podium("run", tmp_path / "nowhere.yaml", "--runs", tmp_path / "runs")
    refused(said, f"{tmp_path / 'nowhere.yaml'}: no such recipe")
    assert not (tmp_path / "runs").exists()


def test_missing_input_then_given(tmp_path, podium, finished) -> None:
    recipe = tmp_path / "recipe.yaml"
    recipe.write_text(TEACH)
    refused(podium("run", recipe, "--runs", tmp_path / "runs"), "rows.jsonl", "no such")
    assert not list((tmp_path / "runs").glob("run/*/*"))
    shutil.copy(finished.folder / "problems/train.jsonl", tmp_path / "rows.jsonl")
    assert podium("run", recipe, "--runs", tmp_path / "runs").code == 0
    made = tmp_path / "runs/run/teach/solutions.jsonl"
    assert made.read_bytes() == (finished.folder / "teach_cot/solutions.jsonl").read_bytes()


def test_missing_model_folder(tmp_path, podium) -> None:
    said = podium("exam", tmp_path / "model", "--set", "gym:gcd", "--limit", 1, "--out", tmp_path / "out")
    refused(said, str(tmp_path / "model"))
    assert not (tmp_path / "out").exists()


# -- truncated JSONL -------------------------------------------------------------------------------------------------


def test_truncated_rows(tmp_path, podium, finished) -> None:
    recipe = tmp_path / "recipe.yaml"
    recipe.write_text(TEACH)
    whole = (finished.folder / "problems/train.jsonl").read_bytes()
    end = whole.index(b"\n", len(whole) // 2)
    (tmp_path / "rows.jsonl").write_bytes(whole[: end + 30])
    line = whole[: end + 1].count(b"\n") + 1
    refused(podium("run", recipe, "--runs", tmp_path / "runs"), f"rows.jsonl:{line}: not JSON", "cut off")
    nothing_half_written(tmp_path / "runs")
    assert not (tmp_path / "runs/run/teach/solutions.jsonl").exists()
    assert not (tmp_path / "runs/run/teach/done.json").exists()


def test_a_finished_output_that_was_truncated_is_made_again(tmp_path, podium, tiny, finished) -> None:
    folder = finished.copy(tmp_path)
    file = folder / "teach_cot/solutions.jsonl"
    os.truncate(file, file.stat().st_size - 100)
    said = podium("run", tiny, "--runs", tmp_path)
    assert said.code == 0, said.error
    assert "solutions.jsonl has" in said.out
    assert said.out.count("done before") == len(STAGES) - 1
    as_undisturbed(folder, finished)


# -- wrong field -----------------------------------------------------------------------------------------------------


def test_wrong_field_in_a_row(tmp_path, podium, finished) -> None:
    recipe = tmp_path / "recipe.yaml"
    recipe.write_text(TEACH)
    first, second, *_ = (finished.folder / "problems/train.jsonl").read_text().splitlines()
    (tmp_path / "rows.jsonl").write_text(first + "\n" + second.replace('"text"', '"txt"') + "\n")
    refused(podium("run", recipe, "--runs", tmp_path / "runs"), "rows.jsonl:2: field 't", "a Problem has: id, text")
    assert not (tmp_path / "runs/run/teach/solutions.jsonl").exists()


@pytest.mark.parametrize(
    ("setting", "words"),
    [
        ("cot.stpes=3", ("stpes", "did you mean 'steps'?")),
        ("cot.steps=many", ("cot", "steps", "integer")),
        ("cot.shape.hidden=2", ("cot", "shape.hidden", "greater than or equal to 8")),
        ("exam.policy=first_k_agre:2", ("exam.policy", "did you mean 'first_k_agree'?")),
        ("exam.policy=first_k_agree:4", ("exam.policy", "3")),
        ("exam.profile=kagle", ("exam.profile", "did you mean 'kaggle'?")),
    ],
)
def test_wrong_field_in_a_recipe(setting, words, tmp_path, podium, tiny) -> None:
    """Also what only the last stage needs is checked before the first one runs."""
    refused(podium("run", tiny, "--runs", tmp_path / "runs", "--set", setting), *words)
    assert not (tmp_path / "runs").exists()


# -- unknown stage ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (("--until", "merg"), ("merg", "did you mean 'merge'?")),
        (("--set", "exma.attempts=2"), ("exma", "did you mean 'exam'?")),
        (("--set", "exam.inputs.model=mrege/model"), ("exam.inputs.model", "mrege/model", "check the path")),
    ],
)
def test_unknown_stage(options, words, tmp_path, podium, tiny) -> None:
    refused(podium("run", tiny, "--runs", tmp_path / "runs", *options), *words)
    assert not (tmp_path / "runs/tiny").exists()


def test_unknown_kind(tmp_path, podium) -> None:
    recipe = tmp_path / "recipe.yaml"
    recipe.write_text("name: run\nstages:\n  one:\n    kind: problms\n")
    refused(podium("run", recipe, "--runs", tmp_path / "runs"), "recipe.yaml:4", "did you mean 'problems'?")
    assert not (tmp_path / "runs").exists()


# -- NaN in weights --------------------------------------------------------------------------------------------------


def put_nan(folder: Path) -> str:
    """Write NaN over the first weight of some tensor of a model folder; returns the tensor's name."""
    path = folder / "model.safetensors"
    data = bytearray(path.read_bytes())
    size = int.from_bytes(data[:8], "little")
    header = json.loads(data[8 : 8 + size])
    name = next(name for name in header if name.endswith("down_proj.weight"))
    start = 8 + size + header[name]["data_offsets"][0]
    data[start : start + 4] = b"\x00\x00\xc0\x7f"
    path.write_bytes(data)
    return name


def test_nan_in_weights(tmp_path, podium, finished) -> None:
    for stage in ("cot", "tir"):
        shutil.copytree(finished.folder / stage / "model", tmp_path / stage)
    name = put_nan(tmp_path / "tir")
    recipe = tmp_path / "recipe.yaml"
    recipe.write_text(MERGE.format(cot="cot", tir="tir"))
    refused(podium("run", recipe, "--runs", tmp_path / "runs"), str(tmp_path / "tir/model.safetensors"), name, "NaN")
    assert not list((tmp_path / "runs/run/merge").glob("*model*"))
    assert not (tmp_path / "runs/run/merge/done.json").exists()
    said = podium("exam", tmp_path / "tir", "--set", "gym:gcd", "--limit", 1, "--out", tmp_path / "out")
    refused(said, name, "NaN")
    assert not (tmp_path / "out").exists()
    shutil.copy(finished.folder / "tir/model/model.safetensors", tmp_path / "tir")
    assert podium("run", recipe, "--runs", tmp_path / "runs").code == 0
    made = tmp_path / "runs/run/merge/model/model.safetensors"
    assert made.read_bytes() == (finished.folder / "merge/model/model.safetensors").read_bytes()


# -- vocabulary mismatch ---------------------------------------------------------------------------------------------


def test_vocabulary_mismatch(tmp_path, podium, finished) -> None:
    """Models of two tokenizers cannot be merged; a tokenizer larger than the model's cannot be trained with."""
    from podium.text import train_tokenizer

    for stage in ("cot", "tir"):
        shutil.copytree(finished.folder / stage / "model", tmp_path / stage)
    solutions = finished.folder / "teach_tir/solutions.jsonl"
    other = train_tokenizer([row.text for row in read_rows(solutions, Solution)], 400)
    assert other.vocab_size > 320
    other.save(tmp_path / "other")
    recipe = tmp_path / "recipe.yaml"
    recipe.write_text(
        MERGE.format(cot="cot", tir="tir")
        + f"  train: {{kind: train, steps: 2, inputs: {{solutions: {solutions}, model: merge, tokenizer: other}}}}\n"
    )
    shutil.copy(tmp_path / "other/tokenizer.json", tmp_path / "tir")
    refused(podium("run", recipe, "--runs", tmp_path / "runs"), str(tmp_path / "tir"), "tokenizer")
    assert not list((tmp_path / "runs/run/merge").glob("*model*"))
    shutil.copy(finished.folder / "tir/model/tokenizer.json", tmp_path / "tir")
    refused(podium("run", recipe, "--runs", tmp_path / "runs"), "token id", "vocabulary ends at 319")
    assert (tmp_path / "runs/run/merge/done.json").exists()
    assert not list((tmp_path / "runs/run/train").glob("*model*"))
    assert not (tmp_path / "runs/run/train/done.json").exists()


# -- full disk -------------------------------------------------------------------------------------------------------


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of its own whose size the test changes with `resize`."""
    folder = tmp_path / "disk"
    folder.mkdir()
    made = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=64k", "podium-test", folder], capture_output=True)
    if made.returncode != 0:
        pytest.skip("a small file system can be mounted by root only")
    try:
        yield folder
    finally:
        subprocess.run(["umount", "--lazy", folder], check=True)


def resize(disk: Path, kilobytes: int) -> None:
    subprocess.run(["mount", "-o", f"remount,size={kilobytes}k", disk], check=True)


def fill_up(disk: Path, sizes: Iterator[int] | list[int], podium, tiny, finished) -> set[str]:
    """Run the chain on a disk that grows after each failure; returns the stages it was full in."""
    hit = set()
    for kilobytes in sizes:
        resize(disk, kilobytes)
        before = marks(disk / "tiny")
        said = podium("run", tiny, "--runs", disk)
        if said.code == 0:
            break
        refused(said, "no space left", "free some space")
        nothing_half_written(disk)
        now = marks(disk / "tiny")
        assert {name: now.get(name) for name in before} == before
        hit.add(STAGES[len(now)] if len(now) < len(STAGES) else "")
    assert said.code == 0, said.error
    as_undisturbed(disk / "tiny", finished)
    return hit


def test_full_disk(small_disk, podium, tiny, finished) -> None:
    assert fill_up(small_disk, [900, 65536], podium, tiny, finished) >= {"cot"}


@pytest.mark.slow
@pytest.mark.timeout(3600)
def test_full_disk_at_every_size(small_disk, podium, tiny, finished) -> None:
    hit = fill_up(small_disk, iter(range(16, 65536, 60)), podium, tiny, finished)
    assert hit >= {"problems", "teach_cot", "teach_tir", "tokenizer", "cot", "tir"}


def test_a_file_larger_than_allowed(tmp_path, podium, tiny, finished) -> None:
    """The same for a quota, where no file system can be mounted."""
    limit = 100_000
    assert (finished.folder / "problems/train.jsonl").stat().st_size < limit
    assert (finished.folder / "teach_cot/solutions.jsonl").stat().st_size > limit

    def confine() -> None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (limit, resource.RLIM_INFINITY))

    command = ("run", tiny, "--runs", tmp_path, "--until", "teach_cot")
    refused(podium(*command, preexec_fn=confine), "solutions.jsonl", "no space left")
    nothing_half_written(tmp_path)
    assert set(marks(tmp_path / "tiny")) == {"problems"}
    said = podium(*command)
    assert said.code == 0, said.error
    assert "goes on" in said.out
    assert (tmp_path / MADE[2].replace("teach_cot", "tiny/teach_cot")).stat().st_size > limit


# -- no write permission ---------------------------------------------------------------------------------------------


@pytest.fixture
def public() -> Iterator[Path]:
    """A folder that everybody may read: pytest's own are private to the user."""
    with tempfile.TemporaryDirectory(prefix="podium-public-", dir="/tmp") as folder:
        os.chmod(folder, 0o755)
        yield Path(folder)


def as_nobody(*arguments: object) -> subprocess.CompletedProcess[str]:
    """`podium` as a user who does not own the files of this test."""
    start = [sys.executable, str(LAUNCH), str(NOBODY)] if os.geteuid() == 0 else []
    environment = {"PATH": "/usr/bin:/bin", "HOME": "/", "LANG": "C.UTF-8", "PYTHONDONTWRITEBYTECODE": "1"}
    probe = subprocess.run([*start, sys.executable, "-c", "import podium"], capture_output=True, env=environment)
    if probe.returncode != 0:
        pytest.skip("an unprivileged user cannot be had here")
    return subprocess.run(
        [*start, sys.executable, "-m", "podium", *map(str, arguments)], capture_output=True, text=True, env=environment
    )


def denied(said: subprocess.CompletedProcess[str], place: Path) -> None:
    assert said.returncode == 2, said.stderr
    error, cure = said.stderr.splitlines()[-2:]
    assert error.startswith(f"error: {place}")
    assert "no permission" in error
    assert "owner and mode" in cure
    assert "Traceback" not in said.stderr


def give(folder: Path, owner: int) -> None:
    """Make everything in `folder` the property of `owner`."""
    if os.geteuid() == 0:
        for path in (folder, *folder.rglob("*")):
            os.chown(path, owner, owner)


def test_no_write_permission(public, tiny, finished) -> None:
    runs = public / "runs"
    runs.mkdir(mode=0o555)
    denied(as_nobody("run", tiny, "--runs", runs), runs)
    assert list(runs.iterdir()) == []
    runs.chmod(0o755)
    give(runs, NOBODY)
    # A run in which one stage belongs to somebody else.
    folder = finished.copy(runs, without=("teach_cot",))
    before = marks(folder)
    give(folder, NOBODY)
    (folder / "teach_cot").mkdir()
    (folder / "teach_cot").chmod(0o555)
    denied(as_nobody("run", tiny, "--runs", runs, "--until", "teach_cot"), folder / "teach_cot")
    assert list((folder / "teach_cot").iterdir()) == []
    assert marks(folder) == before
    (folder / "teach_cot").chmod(0o755)
    give(folder / "teach_cot", NOBODY)
    said = as_nobody("run", tiny, "--runs", runs)
    assert said.returncode == 0, said.stderr
    assert said.stdout.count("done before") == len(STAGES) - 1
    as_undisturbed(folder, finished)


def test_no_read_permission(public, finished) -> None:
    recipe = public / "recipe.yaml"
    recipe.write_text(TEACH)
    shutil.copy(finished.folder / "problems/train.jsonl", public / "rows.jsonl")
    (public / "rows.jsonl").chmod(0)
    runs = public / "runs"
    runs.mkdir()
    give(runs, NOBODY)
    denied(as_nobody("run", recipe, "--runs", runs), public / "rows.jsonl")
    assert not list(runs.glob("run/*/*"))


# -- zero problems ---------------------------------------------------------------------------------------------------


def test_zero_problems(tmp_path, podium, tiny, finished) -> None:
    said = podium("run", tiny, "--runs", tmp_path / "runs", "--set", "problems.exam=0")
    refused(said, "problems", "exam", "greater than or equal to 1")
    assert not (tmp_path / "runs").exists()
    recipe = tmp_path / "recipe.yaml"
    recipe.write_text(
        TEACH.replace("}}}", "}}, ")
        + f"  exam: {{kind: exam, inputs: {{model: {finished.folder}/merge, problems: rows.jsonl}}}}}}\n"
    )
    (tmp_path / "rows.jsonl").write_text("\n")
    refused(podium("run", recipe, "--runs", tmp_path / "runs", "--until", "teach"), "rows.jsonl: no problems")
    refused(podium("run", recipe, "--runs", tmp_path / "runs", "--until", "exam"), "the exam has no problems")
    for stage in ("teach", "exam"):
        made = {file.name for file in (tmp_path / "runs/run" / stage).rglob("*") if file.is_file()}
        assert "done.json" not in made
        assert not made & {"solutions.jsonl", "results.jsonl", "exam.json"}
    said = podium(
        "exam", finished.folder / "merge/model", "--set", f"jsonl:{tmp_path}/rows.jsonl", "--out", tmp_path / "out"
    )
    refused(said, "rows.jsonl", "no problem in it")
    assert not (tmp_path / "out").exists()


# -- Ctrl-C ----------------------------------------------------------------------------------------------------------

# What shows that a stage is in the middle of its work; for the others, that it has begun.
AT_WORK = {"cot": "metrics.jsonl", "tir": "metrics.jsonl", "exam": "results.jsonl"}


def interrupt(process: subprocess.Popen[str], file: Path, delay: float = 0.0) -> tuple[int, str, str]:
    """Press Ctrl-C `delay` seconds after `file` has something in it; returns exit code, output, errors."""
    while process.poll() is None and not (file.exists() and file.stat().st_size):
        time.sleep(0.001)
    time.sleep(delay)
    if process.poll() is None:
        os.killpg(process.pid, signal.SIGINT)
    out, error = process.communicate(timeout=250)
    with pytest.raises(ProcessLookupError):
        os.killpg(process.pid, 0)  # nobody of the group is left
    return process.returncode, out, error


def check_stopped(code: int, out: str, error: str) -> None:
    assert code == 130, out + error
    assert error.splitlines()[-1].startswith("stopped; what was finished is kept, the same command continues")
    assert "Traceback" not in out + error
    assert "KeyboardInterrupt" not in out + error


@pytest.mark.parametrize(
    "stages",
    [pytest.param(("teach_tir", "cot", "exam"), id="some"), pytest.param(STAGES, id="every", marks=pytest.mark.slow)],
)
def test_ctrl_c_in_one_stage_after_another(stages, tmp_path, starting, tiny, finished) -> None:
    """Each time going on with the same command; the end is that of an undisturbed run."""
    folder = tmp_path / "tiny"
    done: dict[str, tuple[int, bytes]] = {}
    for stage in stages:
        for _ in range(5):
            process = starting("run", tiny, "--runs", tmp_path)
            stopped = interrupt(process, folder / stage / AT_WORK.get(stage, "stage.json"))
            if not (folder / stage / "done.json").exists():
                break
            shutil.rmtree(folder / stage)  # it was faster than the signal: again
        else:
            pytest.fail(f"{stage} was always faster than the signal")
        check_stopped(*stopped)
        nothing_half_written(folder)
        now = marks(folder)
        assert {name: now[name] for name in done} == done
        assert set(now) == set(STAGES[: STAGES.index(stage)])
        done = now
        if stage in ("cot", "tir"):
            assert list((folder / stage / ".state/checkpoints").glob("step-*.pt")), "a step taken is not lost"
    answered = (folder / "exam/results.jsonl").read_bytes()
    process = starting("run", tiny, "--runs", tmp_path)
    out, error = process.communicate(timeout=250)
    assert process.returncode == 0, out + error
    assert "goes on" in out
    assert (folder / "exam/results.jsonl").read_bytes().startswith(answered)
    as_undisturbed(folder, finished)


@pytest.mark.slow
@pytest.mark.timeout(3600)
@pytest.mark.parametrize("stage", STAGES)
def test_ctrl_c_at_any_moment_of_a_stage(stage, tmp_path, starting, tiny, finished) -> None:
    """Also while modules are imported, workers are started, files are written."""
    before = STAGES[: STAGES.index(stage)]
    length = json.loads((finished.folder / stage / "done.json").read_text())["wall_seconds"]
    for number in range(12):
        folder = finished.copy(tmp_path / str(number), without=tuple(set(STAGES) - set(before)))
        process = starting("run", tiny, "--runs", tmp_path / str(number), "--until", stage)
        stopped = interrupt(process, folder / stage / "stage.json", delay=number / 12 * length)
        if stopped[0] != 0:
            check_stopped(*stopped)
        nothing_half_written(folder)
        again = starting("run", tiny, "--runs", tmp_path / str(number), "--until", stage)
        out, error = again.communicate(timeout=250)
        assert again.returncode == 0, out + error
        for name in MADE:
            if (folder / name).exists():
                assert (folder / name).read_bytes() == (finished.folder / name).read_bytes()
        shutil.rmtree(tmp_path / str(number))
