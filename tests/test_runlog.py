"""The run log is what the official reader reads, survives kills, and describes this machine."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from mlperf_logging.compliance_checker import mlp_parser

from podium.errors import StorageError
from podium.runlog import RunLog, git_revision, system_description


def test_the_official_parser_reads_every_line(tmp_path: Path) -> None:
    with RunLog(tmp_path) as log:
        log.start("run_start")
        log.point("seed", 7)
        log.point("submission_benchmark", "sft", note="é 漢字 \u2028 😀\nnew line")
        log.point("eval_accuracy", 0.25, epoch_num=3)
        log.point("problem", {"nested": [1, None, True]})
        log.end("run_stop", None, status="success")
    lines, errors = mlp_parser.parse_file(str(tmp_path / "run.log"), ruleset="6.0.0")
    assert errors == []
    assert [line.key for line in lines] == [
        "run_start",
        "seed",
        "submission_benchmark",
        "eval_accuracy",
        "problem",
        "run_stop",
    ]
    assert lines[1].value["value"] == 7
    assert lines[2].value["metadata"]["note"] == "é 漢字 \u2028 😀\nnew line"
    assert lines[3].value["metadata"]["epoch_num"] == 3
    assert lines[4].value["value"] == {"nested": [1, None, True]}
    assert lines[5].value["metadata"]["status"] == "success"
    stamps = [line.timestamp for line in lines]
    assert stamps == sorted(stamps)


def test_lines_have_the_fields_and_types_of_the_official_writer(tmp_path: Path) -> None:
    """Written side by side with mlperf_logging.mllog, field for field."""
    from mlperf_logging import mllog

    theirs = mllog.get_mllogger()
    mllog.config(filename=str(tmp_path / "theirs.log"))
    theirs.start(key="run_start")
    theirs.event(key="seed", value=7, metadata={"a": 1})
    theirs.end(key="run_stop", value=None, metadata={"status": "success"})
    with RunLog(tmp_path / "ours") as log:
        log.start("run_start")
        log.point("seed", 7, a=1)
        log.end("run_stop", None, status="success")

    def shape(path: Path) -> list[dict[str, object]]:
        rows = []
        for line in path.read_text().splitlines():
            value = json.loads(line.partition(":::MLLOG ")[2])
            value["time_ms"] = type(value["time_ms"]).__name__
            value["metadata"]["file"] = type(value["metadata"]["file"]).__name__
            value["metadata"]["lineno"] = type(value["metadata"]["lineno"]).__name__
            rows.append(value)
        return rows

    assert shape(tmp_path / "ours" / "run.log") == shape(tmp_path / "theirs.log")


def test_a_value_that_holds_the_prefix_does_not_cut_its_line(tmp_path: Path) -> None:
    text = 'x :::MLLOG {"key": "fake", "time_ms": 1}'
    with RunLog(tmp_path) as log:
        log.point("note", text)
    lines, errors = mlp_parser.parse_file(str(tmp_path / "run.log"), ruleset="6.0.0")
    assert errors == []
    assert [(line.key, line.value["value"]) for line in lines] == [("note", text)]


def test_the_place_of_the_call_is_recorded(tmp_path: Path) -> None:
    with RunLog(tmp_path) as log:
        log.point("here")
    line = json.loads((tmp_path / "run.log").read_text().partition(" ")[2])
    assert line["metadata"]["file"] == "test_runlog.py"


def test_a_resumed_run_goes_on_in_the_same_files(tmp_path: Path) -> None:
    for step in (1, 2):
        with RunLog(tmp_path) as log:
            log.metrics(step, loss=1.0 / step)
            log.point("step", step)
    rows = [json.loads(line) for line in (tmp_path / "metrics.jsonl").read_text().splitlines()]
    assert [(row["step"], row["loss"]) for row in rows] == [(1, 1.0), (2, 0.5)]
    assert len((tmp_path / "run.log").read_text().splitlines()) == 2


def test_a_torn_line_of_a_killed_run_is_dropped_on_resuming(tmp_path: Path) -> None:
    with RunLog(tmp_path) as log:
        log.point("whole")
        log.metrics(1, loss=1.0)
    for name in ("run.log", "metrics.jsonl"):
        with open(tmp_path / name, "a") as file:
            file.write(':::MLLOG {"namespace": "", "time_')
    with RunLog(tmp_path) as log:
        log.point("next")
        log.metrics(2, loss=1.0)
    lines, errors = mlp_parser.parse_file(str(tmp_path / "run.log"), ruleset="6.0.0")
    assert errors == []
    assert [line.key for line in lines] == ["whole", "next"]
    assert [json.loads(row)["step"] for row in (tmp_path / "metrics.jsonl").read_text().splitlines()] == [1, 2]


def test_what_was_logged_before_a_kill_is_there(tmp_path: Path) -> None:
    code = (
        "import os, signal, sys; from podium.runlog import RunLog; log = RunLog(sys.argv[1]); log.point('a');"
        "log.metrics(1, loss=2.0); os.kill(os.getpid(), signal.SIGKILL)"
    )
    killed = subprocess.run([sys.executable, "-c", code, str(tmp_path)])
    assert killed.returncode == -signal.SIGKILL
    assert '"key": "a"' in (tmp_path / "run.log").read_text()
    assert '"loss": 2.0' in (tmp_path / "metrics.jsonl").read_text()


def test_a_file_in_the_place_of_the_folder_is_explained(tmp_path: Path) -> None:
    (tmp_path / "run").write_text("")
    with pytest.raises(StorageError) as caught:
        RunLog(tmp_path / "run")
    assert "is a file, not a folder" in caught.value.cure


def test_the_system_description_is_of_this_machine() -> None:
    about = system_description()
    json.dumps(about)
    assert about["cores"] == len(os.sched_getaffinity(0))
    meminfo = dict(line.split(":", 1) for line in Path("/proc/meminfo").read_text().splitlines())
    assert about["memory_bytes"] == int(meminfo["MemTotal"].split()[0]) * 1024
    assert about["cpu"]
    assert about["python"] == ".".join(map(str, sys.version_info[:3]))
    import numpy

    assert about["versions"]["numpy"] == numpy.__version__


def test_the_revision_is_of_this_checkout_and_of_no_other(tmp_path: Path) -> None:
    import podium

    here = Path(podium.__file__).parent
    head = subprocess.run(["git", "-C", str(here), "rev-parse", "HEAD"], capture_output=True, text=True)
    if head.returncode != 0:
        pytest.skip("not running from a git checkout")
    revision = git_revision()
    commit = revision.removesuffix("-dirty").rpartition("-g")[2]
    assert commit
    assert head.stdout.startswith(commit)
    # Installed below somebody else's repository, the package has no revision.
    subprocess.run(["git", "init", "-q", str(tmp_path)], check=True)
    (tmp_path / "podium").symlink_to(here, target_is_directory=True)
    copy = tmp_path / "site" / "podium"
    copy.mkdir(parents=True)
    for name in ("__init__.py", "errors.py", "runlog.py", "storage.py", "waiting.py"):
        (copy / name).write_text((here / name).read_text())
    env = {**os.environ, "PYTHONPATH": str(tmp_path / "site")}
    who = ["-c", "user.email=a@b", "-c", "user.name=a"]
    subprocess.run(["git", *who, "-C", str(tmp_path), "commit", "-q", "--allow-empty", "-m", "theirs"], check=True)
    code = "import podium.runlog as r; assert 'site' in r.__file__; print(r.git_revision())"
    said = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env=env, check=True)
    assert said.stdout.strip() == ""
