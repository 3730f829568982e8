"""Rows survive every format, every kill and every full disk, and complaints say where."""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as parquet
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from podium.errors import InputError, PodiumError, StorageError
from podium.records import Maker, Message, Part, Problem, Solution, Usage, Verdict
from podium.storage import (
    ENDINGS,
    PARTIAL,
    Journal,
    atomic_file,
    iterate_objects,
    read_json,
    read_rows,
    storage_errors,
    write_json,
    write_rows,
)

AWKWARD = 'tabs\tnewlines\nnul\x00 quotes" \u2028 é 漢字 😀 </script> \\boxed{1}'


def problem(number: int, **meta: object) -> Problem:
    return Problem(id=f"p{number}", text=f"What is {number}? {AWKWARD}", answer=str(number), meta=meta)


def solution(number: int) -> Solution:
    return Solution(
        id=f"s{number}",
        problem_id=f"p{number}",
        style="tir",
        prompt=(Message(role="system", content=""), Message(role="user", content=AWKWARD)),
        parts=(Part(role="model", text="<tool_call>\nprint(1)\n</tool_call>"), Part(role="tool", text=AWKWARD)),
        answer=None if number % 2 else "1",
        verdict=None if number % 3 else Verdict.CORRECT,
        maker=Maker(model="m", sampling={"temperature": 0.7, "stop": ["a", "b"], "deep": {"x": None}}, seed=2**70),
        usage=Usage(completion_tokens=3, seconds=0.1 + 0.2),
    )


@pytest.mark.parametrize("ending", ENDINGS)
@pytest.mark.parametrize("count", [0, 1, 5, 3000])
def test_solutions_come_back_as_they_were(tmp_path: Path, ending: str, count: int) -> None:
    rows = [solution(number) for number in range(count)]
    assert write_rows(tmp_path / f"rows{ending}", rows) == count
    assert read_rows(tmp_path / f"rows{ending}", Solution) == rows


@pytest.mark.parametrize("ending", ENDINGS)
def test_free_form_dictionaries_may_differ_from_row_to_row(tmp_path: Path, ending: str) -> None:
    rows = [problem(1), problem(2, a=1), problem(3, a="text", b={"c": [1, "x", None]}), problem(4, a=[[]])]
    write_rows(tmp_path / f"rows{ending}", rows)
    assert read_rows(tmp_path / f"rows{ending}", Problem) == rows


json_values = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**60), 2**60) | st.text(st.characters(exclude_categories=["Cs"])),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.text(st.characters(exclude_categories=["Cs"]), max_size=4), inner, max_size=3)
    ),
    max_leaves=6,
)


@settings(max_examples=40, deadline=None)
@given(
    texts=st.lists(st.text(st.characters(exclude_categories=["Cs"]), min_size=1), max_size=4),
    meta=json_values,
)
def test_any_text_and_any_meta_come_back(
    tmp_path_factory: pytest.TempPathFactory, texts: list[str], meta: object
) -> None:
    folder = tmp_path_factory.mktemp("rows")
    rows = [Problem(id=str(i), text=text, meta={"value": meta}) for i, text in enumerate(texts)]
    for ending in ENDINGS:
        write_rows(folder / f"rows{ending}", rows)
        assert read_rows(folder / f"rows{ending}", Problem) == rows


def test_parquet_made_elsewhere_is_read_with_its_own_nested_types(tmp_path: Path) -> None:
    table = pa.table({"id": ["a"], "text": ["[1, 2]"], "meta": [{"level": 3}]})
    parquet.write_table(table, tmp_path / "theirs.parquet")
    (row,) = read_rows(tmp_path / "theirs.parquet", Problem)
    assert (row.text, row.meta) == ("[1, 2]", {"level": 3})


def test_a_parquet_file_is_readable_without_podium(tmp_path: Path) -> None:
    write_rows(tmp_path / "rows.parquet", [problem(7, a=1)])
    table = parquet.read_table(tmp_path / "rows.parquet")
    assert table.column("id").to_pylist() == ["p7"]
    assert json.loads(table.column("meta").to_pylist()[0]) == {"a": 1}


def test_blank_lines_are_no_rows(tmp_path: Path) -> None:
    (tmp_path / "rows.jsonl").write_text('\n{"id": "a", "text": "t"}\n\n')
    assert [number for number, _ in iterate_objects(tmp_path / "rows.jsonl")] == [2]


# -- what is wrong, and where


def complaint(path: Path, kind: type = Problem) -> InputError:
    with pytest.raises(InputError) as caught:
        read_rows(path, kind)
    assert caught.value.cure
    return caught.value


@pytest.mark.parametrize(
    ("line", "field"),
    [
        ('{"id": "b", "text": "t", "anwser": "1"}', "anwser"),
        ('{"id": "b"}', "text"),
        ('{"id": "b", "text": ""}', "text"),
        ('{"id": 3, "text": "t"}', "id"),
        ('{"id": "b", "text": "t", "meta": []}', "meta"),
    ],
)
@pytest.mark.parametrize("ending", [".jsonl", ".jsonl.zst"])
def test_a_wrong_field_is_named_with_file_and_line(tmp_path: Path, line: str, field: str, ending: str) -> None:
    path = tmp_path / f"rows{ending}"
    text = '{"id": "a", "text": "t"}\n' + line + "\n"
    path.write_bytes(compressed(text.encode()) if ending.endswith("zst") else text.encode())
    error = complaint(path)
    assert error.message.startswith(f"{path}:2: field {field!r}")


def test_a_wrong_field_inside_a_nested_row_is_named(tmp_path: Path) -> None:
    row = solution(1).model_dump(mode="json")
    row["parts"][1]["role"] = "robot"
    (tmp_path / "rows.jsonl").write_text(json.dumps(row))
    assert "rows.jsonl:1: field 'parts.1.role'" in complaint(tmp_path / "rows.jsonl", Solution).message


def test_a_wrong_field_in_parquet_is_named_with_its_row(tmp_path: Path) -> None:
    parquet.write_table(pa.table({"id": ["a", "b"], "text": ["t", None]}), tmp_path / "rows.parquet")
    assert "rows.parquet:2: field 'text'" in complaint(tmp_path / "rows.parquet").message


def compressed(data: bytes) -> bytes:
    import zstandard

    return zstandard.ZstdCompressor().compress(data)


def test_a_cut_off_jsonl_says_so(tmp_path: Path) -> None:
    path = tmp_path / "rows.jsonl"
    write_rows(path, [problem(1), problem(2)])
    path.write_bytes(path.read_bytes()[:-9])
    error = complaint(path)
    assert error.message.startswith(f"{path}:2: not JSON")
    assert "cut off" in error.cure


@pytest.mark.parametrize("ending", [".jsonl.zst", ".parquet"])
@pytest.mark.parametrize("share", [0.0, 0.01, 0.3, 0.7, 0.99])
def test_a_cut_off_file_is_never_taken_for_a_short_one(tmp_path: Path, ending: str, share: float) -> None:
    path = tmp_path / f"rows{ending}"
    draw = random.Random(0)
    write_rows(path, [Problem(id=str(i), text=str(draw.random())) for i in range(20_000)])
    data = path.read_bytes()
    path.write_bytes(data[: int(len(data) * share)])
    assert str(path) in complaint(path).message


@pytest.mark.parametrize("ending", [".jsonl.zst", ".parquet"])
def test_a_damaged_file_is_an_error_not_a_crash(tmp_path: Path, ending: str) -> None:
    path = tmp_path / f"rows{ending}"
    write_rows(path, [problem(number) for number in range(500)])
    data = bytearray(path.read_bytes())
    data[: len(data) // 2] = os.urandom(len(data) // 2)
    path.write_bytes(data)
    assert str(path) in complaint(path).message


def test_frames_written_one_after_another_are_read_as_one_file(tmp_path: Path) -> None:
    path = tmp_path / "rows.jsonl.zst"
    # A row may even begin in one frame and end in the next.
    path.write_bytes(compressed(b'{"id": "a", "text": "t"}\n{"id": ') + compressed(b'"b", "text": "t"}'))
    assert [row.id for row in read_rows(path, Problem)] == ["a", "b"]


@pytest.mark.parametrize("data", [b"\xff\xfe{}\n", b"\x00" * 50 + b"\n", b"[" * 100_000 + b"\n"])
def test_bytes_that_are_no_json_are_an_error(tmp_path: Path, data: bytes) -> None:
    (tmp_path / "rows.jsonl").write_bytes(data)
    assert "rows.jsonl:1: not JSON" in complaint(tmp_path / "rows.jsonl").message


@pytest.mark.parametrize("row", ["[1, 2]", "5", "null", '"text"'])
def test_a_row_that_is_no_object_is_told_so(tmp_path: Path, row: str) -> None:
    (tmp_path / "rows.jsonl").write_text(row + "\n")
    assert complaint(tmp_path / "rows.jsonl").message.endswith("rows.jsonl:1: not a JSON object")


@pytest.mark.parametrize("ending", ENDINGS)
def test_a_missing_file_is_named(tmp_path: Path, ending: str) -> None:
    assert "no such file" in complaint(tmp_path / f"none{ending}").message


@pytest.mark.parametrize("ending", ENDINGS)
def test_a_folder_is_no_file(tmp_path: Path, ending: str) -> None:
    (tmp_path / f"rows{ending}").mkdir()
    assert "is a folder" in complaint(tmp_path / f"rows{ending}").message


def test_an_unknown_ending_is_refused_before_anything_is_written(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="unknown ending"):
        write_rows(tmp_path / "rows.csv", [problem(1)])
    assert list(tmp_path.iterdir()) == []


def test_a_file_in_place_of_a_folder_is_explained(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(StorageError) as caught:
        write_rows(tmp_path / "file" / "rows.jsonl", [problem(1)])
    assert "is a file, not a folder" in caught.value.cure


def test_json_files_come_back_and_complain(tmp_path: Path) -> None:
    write_json(tmp_path / "a.json", {"x": [1, AWKWARD]})
    assert read_json(tmp_path / "a.json") == {"x": [1, AWKWARD]}
    (tmp_path / "a.json").write_text('{"x": ')
    with pytest.raises(InputError, match=r"a\.json: not JSON"):
        read_json(tmp_path / "a.json")


# -- all or nothing


@pytest.mark.parametrize("ending", ENDINGS)
def test_a_writer_that_fails_leaves_the_old_file_and_nothing_else(tmp_path: Path, ending: str) -> None:
    path = tmp_path / f"rows{ending}"
    write_rows(path, [problem(1)])

    def rows():
        yield problem(2)
        raise RuntimeError("in the middle")

    with pytest.raises(RuntimeError):
        write_rows(path, rows())
    assert read_rows(path, Problem) == [problem(1)]
    assert list(tmp_path.iterdir()) == [path]


SLOW_WRITER = """
import sys, time
from podium.records import Problem
from podium.storage import write_rows
def rows():
    for number in range(10**9):
        yield Problem(id=str(number), text="x" * 5000)
        if number == 200:
            print("half", flush=True)
        if number >= 200:
            time.sleep(0.001)
write_rows(sys.argv[1], rows())
"""


@pytest.mark.parametrize("ending", [".jsonl", ".jsonl.zst"])
def test_kill_in_the_middle_of_writing_leaves_the_old_file(tmp_path: Path, ending: str) -> None:
    path = tmp_path / f"rows{ending}"
    write_rows(path, [problem(1)])
    writer = subprocess.Popen([sys.executable, "-c", SLOW_WRITER, str(path)], stdout=subprocess.PIPE)
    assert writer.stdout is not None
    writer.stdout.readline()
    writer.send_signal(signal.SIGKILL)
    writer.wait()
    assert read_rows(path, Problem) == [problem(1)]
    (left,) = [file.name for file in tmp_path.iterdir() if file != path]
    assert PARTIAL.fullmatch(left)


JOURNALIST = """
import sys
from podium.storage import Journal
from podium.records import Problem
with Journal(sys.argv[1], Problem) as journal:
    for number in range(10**9):
        journal.append(Problem(id=str(number), text="x" * (number % 5000 + 1)))
        print(number, flush=True)
"""


def test_a_killed_journal_keeps_every_row_it_had_acknowledged(tmp_path: Path) -> None:
    path = tmp_path / "rows.jsonl"
    draw = random.Random(1)
    for _ in range(5):
        path.unlink(missing_ok=True)
        writer = subprocess.Popen([sys.executable, "-c", JOURNALIST, str(path)], stdout=subprocess.PIPE)
        assert writer.stdout is not None
        writer.stdout.readline()
        time.sleep(draw.uniform(0.0, 0.05))
        writer.send_signal(signal.SIGKILL)
        told = [0, *map(int, writer.stdout.read().split())]
        writer.wait()
        with Journal(path, Problem) as journal:
            kept = [int(row.id) for row in read_rows(path, Problem)]
            assert kept == list(range(len(kept)))
            assert len(kept) >= told[-1] + 1
            journal.append(problem(99))
        assert read_rows(path, Problem)[-1] == problem(99)


@pytest.mark.parametrize("torn", [b'{"id": "b", "te', b"{", b"\xe2\x80", b"x" * 10_000])
def test_a_torn_last_line_is_dropped_when_the_journal_opens_again(tmp_path: Path, torn: bytes) -> None:
    path = tmp_path / "rows.jsonl"
    with Journal(path, Problem) as journal:
        journal.append(problem(1))
    path.write_bytes(path.read_bytes() + torn)
    with Journal(path, Problem) as journal:
        journal.append(problem(2))
    assert read_rows(path, Problem) == [problem(1), problem(2)]


def test_a_journal_that_is_only_a_torn_line_starts_empty(tmp_path: Path) -> None:
    path = tmp_path / "rows.jsonl"
    path.write_bytes(b'{"id"')
    with Journal(path, Problem):
        pass
    assert path.read_bytes() == b""


# -- disks that are full, places that may not be written to

FULL = """
import random, resource, signal, sys
from podium.storage import Journal, read_rows, write_rows
from podium.records import Problem
from podium.errors import PodiumError
path, what = sys.argv[1:3]
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
resource.setrlimit(resource.RLIMIT_FSIZE, (50_000, 50_000))
draw = random.Random(0)
rows = [Problem(id=str(number), text=draw.randbytes(600).hex()) for number in range(400)]
try:
    if what == "journal":
        with Journal(path, Problem) as journal:
            for row in rows:
                journal.append(row)
    else:
        write_rows(path, rows)
except PodiumError as error:
    print(type(error).__name__, error.message, "|", error.cure)
"""


@pytest.mark.parametrize("ending", [".jsonl", ".parquet"])
def test_a_full_disk_says_so_and_leaves_the_old_file(tmp_path: Path, ending: str) -> None:
    path = tmp_path / f"rows{ending}"
    write_rows(path, [problem(1)])
    said = subprocess.run([sys.executable, "-c", FULL, str(path), "rows"], capture_output=True, text=True, check=True)
    assert said.stdout.startswith(f"StorageError {path}: no space left while writing | free some space")
    assert read_rows(path, Problem) == [problem(1)]
    assert list(tmp_path.iterdir()) == [path]


def test_a_journal_on_a_full_disk_keeps_whole_rows(tmp_path: Path) -> None:
    path = tmp_path / "rows.jsonl"
    said = subprocess.run(
        [sys.executable, "-c", FULL, str(path), "journal"], capture_output=True, text=True, check=True
    )
    assert "no space left while appending" in said.stdout
    kept = read_rows(path, Problem)
    assert [row.id for row in kept] == [str(number) for number in range(len(kept))]
    assert kept


FORBIDDEN = """
import os, sys
from podium.errors import PodiumError
from podium.storage import Journal, read_rows, write_rows
from podium.records import Problem
if os.geteuid() == 0:
    # Modes mean nothing to root.
    os.setgroups([])
    os.setgid(65534)
    os.setuid(65534)
path = sys.argv[1]
for act in (lambda: write_rows(path, []), lambda: Journal(path, Problem), lambda: read_rows(path, Problem)):
    try:
        act()
        print("done")
    except PodiumError as error:
        print(type(error).__name__, error.message, "|", error.cure)
"""


def test_without_permission_the_path_and_the_cure_are_named(tmp_path: Path) -> None:
    folder = tmp_path / "closed"
    folder.mkdir()
    write_rows(folder / "rows.jsonl", [problem(1)])
    os.chmod(folder / "rows.jsonl", 0o000)
    os.chmod(folder, 0o555)
    if os.geteuid() == 0:
        # The unprivileged reader must be able to reach the folder at all.
        for parent in folder.parents[:-2]:
            os.chmod(parent, os.stat(parent).st_mode | 0o055)
    said = subprocess.run([sys.executable, "-c", FORBIDDEN, str(folder / "rows.jsonl")], capture_output=True, text=True)
    os.chmod(folder, 0o755)
    os.chmod(folder / "rows.jsonl", 0o644)
    lines = said.stdout.splitlines()
    assert len(lines) == 3, said.stderr
    for line, doing in zip(lines, ("writing", "opening", "reading"), strict=True):
        assert line.startswith(f"StorageError {folder / 'rows.jsonl'}: no permission while {doing} | check the owner")
    assert [file.name for file in folder.iterdir()] == ["rows.jsonl"]
    assert read_rows(folder / "rows.jsonl", Problem) == [problem(1)]


def test_the_full_device_is_a_full_disk() -> None:
    if not os.path.exists("/dev/full"):
        pytest.skip("no /dev/full here")
    with pytest.raises(StorageError, match="no space left"):
        with storage_errors(Path("/dev/full"), "writing"), open("/dev/full", "wb", buffering=0) as file:
            file.write(b"x")


def test_errors_inside_a_write_are_not_taken_for_storage_errors(tmp_path: Path) -> None:
    with pytest.raises(PodiumError, match="no such file") as caught:
        with atomic_file(tmp_path / "out"):
            read_rows(tmp_path / "none.jsonl", Problem)
    assert "none.jsonl" in caught.value.message
