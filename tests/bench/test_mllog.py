"""The parser reads what the official one reads, and nothing makes it stumble."""

from __future__ import annotations

import json
import random
from contextlib import suppress
from pathlib import Path

import pytest
from mlperf_logging.compliance_checker import mlp_parser
from runs_on_paper import GOOD as GOOD_VALUES
from runs_on_paper import LOGS, RULES, write_run

from podium.bench.check import check_folder
from podium.bench.mllog import Event, Fault, parse_line, parse_log, read_log
from podium.bench.runs import result_folders
from podium.bench.score_folder import score_folder
from podium.errors import InputError

GOOD = (
    ':::MLLOG {"namespace": "", "time_ms": 1636168322050, "event_type": "POINT_IN_TIME", "key": "eval_accuracy", '
    '"value": 0.75, "metadata": {"file": "train.py", "lineno": 3, "epoch_num": 4}}'
)


def test_a_line_and_what_stands_before_it() -> None:
    event = parse_line("[1,3]<stdout>: " + GOOD, 7)
    assert isinstance(event, Event)
    assert (event.number, event.time_ms, event.key, event.value) == (7, 1636168322050, "eval_accuracy", 0.75)
    assert event.metadata["epoch_num"] == 4
    assert parse_line("loss 0.5") is None
    again = parse_line("echo :::MLLOG {} | " + GOOD)
    assert isinstance(again, Event)


@pytest.mark.parametrize(
    ("text", "why"),
    [
        (":::MLLOG ", "not JSON"),
        (":::MLLOG [1]", "not a JSON object"),
        (':::MLLOG {"key": "a"}', "without time_ms, value, metadata"),
        (GOOD.replace("1636168322050", '"noon"'), "time_ms"),
        (GOOD.replace("1636168322050", "NaN"), "time_ms"),
        (GOOD.replace("1636168322050", "true"), "time_ms"),
        (GOOD.replace("1636168322050", "9" * 400), "time_ms"),
        (GOOD.replace('"eval_accuracy"', "5"), "key must be text"),
        (GOOD[:-1], "not JSON"),
        (":::MLLOG " + "[" * 100_000, "not JSON"),
    ],
)
def test_a_line_that_is_none(text: str, why: str) -> None:
    fault = parse_line(text, 3)
    assert isinstance(fault, Fault)
    assert fault.number == 3
    assert why in fault.message


def test_files_as_they_come() -> None:
    """Carriage returns of progress bars, bytes that are no UTF-8, a last line without an end."""
    data = b"\xff\xfe noise\r\n" + b"10%\r20%\r" + GOOD.encode() + b"\r\n" + GOOD.encode()[:50]
    log = parse_log(data)
    assert [event.number for event in log.events] == [2]
    assert [fault.number for fault in log.faults] == [3]
    assert log.cut_off
    assert (
        parse_log(GOOD.replace("train", "tr\u00e4in").encode("latin-1")).events[0].metadata["file"] == "tr\u00e4in.py"
    )


def test_every_log_reads_as_with_the_official_parser(tmp_path: Path) -> None:
    """A log of every benchmark and division, as written and as a launcher of several ranks leaves it.

    The published logs are read too, where they lie beside the repository.
    """
    written = []
    for benchmark in GOOD_VALUES:
        for division in ("open", "closed"):
            path = write_run(tmp_path / f"{benchmark}-{division}.txt", benchmark, division=division)
            ranks = tmp_path / f"ranks-{path.name}"
            lines = path.read_text().splitlines()
            ranks.write_text("".join(f"{number % 8}: {line}\nstep {number}\n" for number, line in enumerate(lines)))
            written += [path, ranks]
    for path in (*written, *sorted(LOGS.rglob("result_*.txt"))):
        theirs, errors = mlp_parser.parse_file(str(path), ruleset="1.1.0")
        ours = read_log(path)
        assert (errors, ours.faults) == ([], [])
        assert [(e.key, e.time_ms, e.value, e.metadata) for e in ours.events] == [
            (line.key, line.timestamp, line.value["value"], line.value["metadata"]) for line in theirs
        ]
        lines = path.read_bytes().split(b"\n")
        assert all(b":::MLLOG" in lines[event.number - 1] for event in ours.events)


def fuzzed(rng: random.Random, line: str) -> str:
    """One of several ways in which a line is broken."""
    way = rng.randrange(6)
    at = rng.randrange(len(line))
    if way == 0:
        return line[:at]
    if way == 1:
        return line[:at] + chr(rng.randrange(0x110000 - 0x800)) + line[at + 1 :]
    if way == 2:
        return line[:at] + line[rng.randrange(len(line)) :]
    if way == 3:
        event = json.loads(line[len(":::MLLOG ") :])
        name = rng.choice(sorted(event))
        values = [
            None,
            True,
            -1,
            1e308,
            10**400,
            "",
            "x",
            [],
            {},
            [[]],
            {"epoch_num": None},
            float("nan"),
            float("inf"),
        ]
        event[name] = rng.choice(values)
        return ":::MLLOG " + json.dumps(event)
    if way == 4:
        return "".join(chr(rng.randrange(32, 127)) for _ in range(rng.randrange(60))) + line
    return line.replace(rng.choice('{}",:'), rng.choice(["", "\x00", "\u2028", '"', "{{"]), rng.randrange(1, 4))


def test_a_hundred_thousand_broken_lines(tmp_path: Path) -> None:
    rng = random.Random(0)
    whole = write_run(tmp_path / "r.txt", division="closed").read_text().splitlines()
    kinds = {Event: 0, Fault: 0, type(None): 0}
    for number in range(100_000):
        kinds[type(parse_line(fuzzed(rng, rng.choice(whole)), number))] += 1
    assert min(kinds.values()) > 1000


def test_broken_logs_are_judged_and_scored_without_a_traceback(tmp_path: Path) -> None:
    rng = random.Random(1)
    folder = tmp_path / "results" / "none" / "resnet"
    folder.mkdir(parents=True)
    written = [write_run(tmp_path / f"{number}.txt", division="closed", seed=number) for number in range(5)]
    whole = [path.read_text().splitlines() for path in written]
    broken = 0
    for _ in range(25):
        for number, lines in enumerate(whole):
            bad = [fuzzed(rng, line) if rng.random() < 0.03 else line for line in lines]
            rng.random() < 0.2 and rng.shuffle(bad)
            text = "\n".join(bad) + "\n" * rng.randrange(2)
            (folder / f"result_{number}.txt").write_text(text, encoding="utf-8", errors="surrogatepass")
        checked = check_folder(folder)
        broken += not checked.passed
        assert all(verdict.where for verdict in checked.verdicts if verdict.outcome == "fail")
        json.dumps(checked.to_json(), allow_nan=False)
        # A benchmark that was mangled beyond recognition has no score, and is told so.
        with suppress(InputError):
            json.dumps(score_folder(folder).to_json(), allow_nan=False)
    assert broken > 12


def test_a_whole_round_is_read_as_it_is_laid_out(tmp_path: Path) -> None:
    """Organisations with results/<system>/<benchmark>, next to what else lies in a round."""
    entries = {("a", "resnet", "closed"), ("a", "ssd", "closed"), ("b", "bert", "open"), ("b", "bert", "closed")}
    for org, benchmark, division in entries:
        folder = tmp_path / org / "results" / f"box-{division}" / benchmark
        for number in range(2):
            write_run(folder / f"result_{number}.txt", benchmark, division=division, seed=number)
        (folder / "scaling.json").write_text("{}")
        (tmp_path / org / "README.md").write_text("result_0.txt")
    folders = result_folders(tmp_path)
    found = [
        (folder.parts[-4], check_folder(folder).benchmark, score_folder(folder, RULES).division) for folder in folders
    ]
    assert sorted(found) == sorted(entries)
