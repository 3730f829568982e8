"""What is taken out of a ledger, changed in it or done beside it shows."""

from __future__ import annotations

import json
import multiprocessing
import random
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from runs_on_paper import stretch, write_entry, write_run

from podium.bench.check import check_folder
from podium.bench.ledger import Ledger, declarations, entry_hash, parse_ledger, read_ledger
from podium.bench.score_folder import score_folder
from podium.errors import InputError

NAMES = {"benchmark": "resnet", "system": "s", "division": "open", "size": "smoke", "ruleset": "1.1.0"}


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    folder = write_entry(tmp_path_factory.mktemp("whole"))
    return (folder.parents[2] / "ledger.jsonl").read_bytes()


def failing(folder: Path) -> set[str]:
    return {verdict.rule for verdict in check_folder(folder).verdicts if verdict.outcome == "fail"}


def test_a_whole_entry_passes(tmp_path: Path) -> None:
    folder = write_entry(tmp_path)
    assert failing(folder) == set()
    assert score_folder(folder).score.score == pytest.approx(12.0, abs=1e-3)
    entries, _ = read_ledger(tmp_path / "ledger.jsonl")
    assert [entry.kind for entry in entries] == ["declared", *["launched", "ended"] * 5]
    assert Ledger(tmp_path / "ledger.jsonl").head() == entries[-1].hash


def test_any_line_left_out_or_moved_shows(whole: bytes) -> None:
    lines = whole.splitlines(keepends=True)
    for number in range(len(lines) - 1):
        assert parse_ledger(b"".join(lines[:number] + lines[number + 1 :]))[1], number
        assert parse_ledger(b"".join([*lines[:number], lines[number + 1], lines[number], *lines[number + 2 :]]))[1]
    assert parse_ledger(whole)[1] == []


@settings(max_examples=200)
@given(st.data())
def test_any_byte_changed_shows(whole: bytes, data: st.DataObject) -> None:
    at = data.draw(st.integers(0, len(whole) - 1))
    byte = data.draw(st.integers(0, 255).filter(lambda value: value != whole[at]))
    changed = whole[:at] + bytes([byte]) + whole[at + 1 :]
    entries, faults = parse_ledger(changed)
    # White space around JSON is the one thing that is not content.
    assert faults or entries == parse_ledger(whole)[0]


@settings(max_examples=200)
@given(st.data())
def test_any_lines_are_read_and_every_line_that_is_no_entry_in_its_place_is_a_fault(
    whole: bytes, data: st.DataObject
) -> None:
    """Lines of a ledger in any order and number, with anything between them."""
    own = whole.splitlines()
    noise = st.binary(max_size=60).filter(lambda line: b"\n" not in line and line not in own)
    start = own[: data.draw(st.integers(0, len(own)))]
    lines = start + data.draw(st.lists(st.sampled_from(own) | noise, max_size=6))
    entries, faults = parse_ledger(b"".join(line + b"\n" for line in lines))
    assert [entry.hash for entry in entries] == [json.loads(line)["hash"] for line in lines if line in own]
    # Whole are the beginnings of the ledger, and nothing else.
    assert (faults == []) == (lines == own[: len(lines)])
    assert {number for number, line in enumerate(lines, start=1) if line not in own} <= {f.line for f in faults}
    torn = data.draw(noise.filter(bool))
    assert parse_ledger(b"".join(line + b"\n" for line in start) + torn)[1][-1].line == len(start) + 1


@pytest.mark.parametrize("body", [[], {}, {"runs": "many"}, {"launch": []}, "text", None])
def test_an_entry_with_a_strange_body_is_none(whole: bytes, body: object) -> None:
    lines = whole.splitlines()
    entry = {**json.loads(lines[0]), "body": body}
    entry["hash"] = entry_hash(entry)
    lines[0] = json.dumps(entry).encode()
    entries, faults = parse_ledger(b"\n".join(lines) + b"\n")
    assert faults[0].line == 1
    assert declarations(entries) == []


def test_an_entry_that_was_forged_with_its_hash_breaks_the_next(whole: bytes) -> None:
    lines = whole.splitlines()
    entry = json.loads(lines[2])
    entry["body"]["minutes"] = 1.0
    entry["hash"] = entry_hash(entry)
    lines[2] = json.dumps(entry).encode()
    _, faults = parse_ledger(b"\n".join(lines) + b"\n")
    assert [fault.line for fault in faults] == [4]
    assert "missing or new" in faults[0].message


def test_cutting_off_the_end_leaves_fewer_runs_than_declared(tmp_path: Path) -> None:
    folder = write_entry(tmp_path)
    ledger = tmp_path / "ledger.jsonl"
    lines = ledger.read_text().splitlines(keepends=True)
    ledger.write_text("".join(lines[:-2]))
    (folder / "result_4.txt").unlink()
    assert {"declared runs", "runs"} <= failing(folder)


def test_a_log_left_out_changed_or_slipped_in_shows(tmp_path: Path) -> None:
    gone, changed, added = (write_entry(tmp_path / name) for name in ("gone", "changed", "added"))
    (gone / "result_2.txt").unlink()
    assert "launched runs" in failing(gone)
    stretch(changed / "result_1.txt", 5.0)
    assert "launched runs" in failing(changed)
    write_run(added / "result_9.txt", size="smoke", target={"at_least": 0.7}, seed=99)
    assert "logs in the ledger" in failing(added)


def test_a_log_that_names_a_ledger_needs_it(tmp_path: Path) -> None:
    folder = write_entry(tmp_path)
    (tmp_path / "ledger.jsonl").unlink()
    assert "ledger" in failing(folder)


def test_declaring_again_until_lucky_shows(tmp_path: Path) -> None:
    write_entry(tmp_path)
    folder = write_entry(tmp_path)
    assert "declared once" in failing(folder)


def test_a_killed_run_counts_as_failed(tmp_path: Path) -> None:
    """It was launched and nobody ended it: its half log does not help it."""
    ledger = Ledger(tmp_path / "ledger.jsonl")
    declaration = ledger.declare(**NAMES, runs=5)
    folder = tmp_path / "results" / "s" / "resnet"
    for number in range(5):
        launch = ledger.launch(declaration, folder)
        write_run(launch.log, size="smoke", target={"at_least": 0.7}, seed=launch.seed, tie=launch.hash)
        stretch(launch.log, 1.0 + number)
        if number == 0:
            lines = launch.log.read_text().splitlines(keepends=True)
            launch.log.write_text("".join(lines[:-1]))
        else:
            ledger.end(launch)
    score = score_folder(folder).score
    assert (score.runs, score.converged) == (5, 4)
    assert score.score == pytest.approx((3 + 4 + 5) / 3, abs=1e-3)
    said = {verdict.rule: verdict for verdict in check_folder(folder).verdicts}
    assert said["launched runs"].outcome == "warn"
    assert said["run_stop"].outcome == "fail"


def test_more_runs_than_needed_are_scored_by_the_median_window(tmp_path: Path) -> None:
    folder = write_entry(tmp_path, runs=7)
    found = score_folder(folder)
    assert found.score.windows == pytest.approx((12.0, 13.0, 14.0), abs=1e-3)
    assert found.score.window == 1
    assert found.score.score == pytest.approx(13.0, abs=1e-3)
    assert failing(folder) == set()


def test_launching_is_refused_where_it_would_be_dishonest(tmp_path: Path) -> None:
    ledger = Ledger(tmp_path / "ledger.jsonl")
    declaration = ledger.declare(**NAMES, runs=2)
    first = ledger.launch(declaration, tmp_path / "r", seed=5)
    with pytest.raises(InputError, match="seed 5 was used"):
        ledger.launch(declaration, tmp_path / "r", seed=5)
    second = ledger.launch(declaration, tmp_path / "r")
    assert {first.log.name, second.log.name} == {"result_0.txt", "result_1.txt"}
    assert second.seed != 5
    with pytest.raises(InputError, match="all 2 declared runs"):
        ledger.launch(declaration, tmp_path / "r")
    ledger.end(first)
    with pytest.raises(InputError, match="has ended before"):
        ledger.end(first)
    with pytest.raises(InputError, match="0 runs"):
        ledger.declare(**NAMES, runs=0)


def test_nothing_is_added_to_a_broken_ledger_but_a_torn_line_is_cut(tmp_path: Path) -> None:
    path = tmp_path / "ledger.jsonl"
    ledger = Ledger(path)
    ledger.declare(**NAMES, runs=1)
    ledger.declare(**NAMES, runs=2)
    with path.open("a") as file:
        file.write('{"index": 2, "ti')
    ledger.declare(**NAMES, runs=3)
    assert read_ledger(path)[1] == []
    assert len(read_ledger(path)[0]) == 3
    lines = path.read_text().splitlines(keepends=True)
    path.write_text("".join(lines[1:]))
    with pytest.raises(InputError, match=r"ledger.jsonl:1: the chain is broken"):
        ledger.declare(**NAMES, runs=4)


def _declare_some(path: Path) -> None:
    for _ in range(10):
        Ledger(path).declare(**NAMES, runs=random.randrange(1, 9))


def test_writers_side_by_side_make_one_chain(tmp_path: Path) -> None:
    path = tmp_path / "ledger.jsonl"
    writers = [multiprocessing.get_context("fork").Process(target=_declare_some, args=(path,)) for _ in range(4)]
    for writer in writers:
        writer.start()
    for writer in writers:
        writer.join()
    entries, faults = read_ledger(path)
    assert faults == []
    assert len(declarations(entries)) == 40
