"""The claims made about v1.0 and v1.1, computed from the shipped rounds."""

from __future__ import annotations

import io
import json
import re
from pathlib import Path

import pytest
from rich.console import Console
from runs_on_paper import stretch, write_entry, write_run
from typer.testing import CliRunner

from podium.bench.board import build_board
from podium.bench.published import Entry, load_round, own_entries, round_names, round_sources
from podium.bench.scoreboard import (
    Definition,
    best_against_best,
    first_places,
    host_ratios,
    ranked,
    same_system,
    scaling,
    tasks_of,
    unranked,
    winners,
)
from podium.bench.system_desc import host_ratio
from podium.commands.bench_board_text import print_board
from podium.commands.cli import app

OLD, NEW = load_round("v1.0"), load_round("v1.1")
BY = Definition()
WINNERS = {
    "resnet": ("Inspur NF5488A5 27.568", "NVIDIA 4320 0.347"),
    "unet3d": ("Inspur NF5688M6 23.464", "Azure 768 1.262"),
    "ssd": ("Inspur NF5488A5 7.979", "NVIDIA 1024 0.454"),
    "maskrcnn": ("Inspur NF5688M6 45.667", "NVIDIA 408 3.242"),
    "rnnt": ("Inspur NF5488A5 33.377", "NVIDIA 1536 2.375"),
    "bert": ("Inspur NF5688M6 19.389", "NVIDIA 4320 0.226"),
    "dlrm": ("Inspur NF5688M6 1.698", "NVIDIA 112 0.632"),
    "minigo": ("NVIDIA dgxa100_ngc21.09_tensorflow 264.868", "NVIDIA 1792 15.465"),
}


def find(entries: tuple[Entry, ...], system: str, task: str, division: str = "closed") -> Entry:
    (entry,) = [e for e in entries if (e.system, e.task, e.division) == (system, task, division)]
    return entry


def test_who_won_which_of_the_sixteen_lists() -> None:
    best = winners(NEW, "closed", BY)
    assert len(best) == 16
    for task, (single, cluster) in WINNERS.items():
        alone, many = best[task, "single"], best[task, "cluster"]
        assert f"{alone.submitter} {alone.system} {alone.minutes:.3f}" == single
        assert f"{many.submitter} {many.accelerators} {many.minutes:.3f}" == cluster
    assert first_places(best) == [("NVIDIA", 1, 7), ("Inspur", 7, 0), ("Azure", 0, 1)]


@pytest.mark.parametrize(
    ("task", "category", "cut"),
    [
        ("unet3d", "single", 18.1),
        ("rnnt", "single", 13.7),
        ("dlrm", "single", 11.1),
        ("bert", "single", 8.3),
        ("minigo", "single", 1.7),
        ("resnet", "single", -0.7),
        ("maskrcnn", "cluster", 17.9),
        ("rnnt", "cluster", 13.6),
        ("unet3d", "cluster", 57.9),
        ("bert", "cluster", 18.1),
    ],
)
def test_improvements_over_the_round_before(task: str, category: str, cut: float) -> None:
    found = best_against_best(NEW, OLD, "closed", BY)[task, category]  # type: ignore[index]
    assert round(100 * found.time_cut, 1) == cut
    assert found.rate_gain == pytest.approx(1 / (1 - found.time_cut) - 1)


def test_the_two_conventions_of_the_bert_claim() -> None:
    """+22 % and 18 % are the same improvement."""
    found = best_against_best(NEW, OLD, "closed", BY)["bert", "cluster"]
    assert (round(100 * found.time_cut, 1), round(100 * found.rate_gain, 1)) == (18.1, 22.1)


def test_the_same_machines_a_round_later() -> None:
    cuts = {
        (pair.new.system, pair.new.task, division): round(100 * pair.time_cut, 1)
        for division in ("closed", "open")
        for pair in same_system(NEW, OLD, division)
    }
    assert cuts["IPU-POD16", "resnet", "closed"] == 23.7
    assert cuts["IPU-POD64", "resnet", "closed"] == 41.3
    assert cuts["IPU-POD16", "bert", "closed"] == 5.2
    assert cuts["IPU-POD64", "bert", "open"] == 12.1
    assert ("IPU-POD128", "resnet", "closed") not in cuts


def test_host_ratios() -> None:
    assert find(NEW, "IPU-POD16", "resnet").ratio == "1:8"
    assert find(NEW, "IPU-POD64", "resnet").ratio == "1:8"
    assert find(NEW, "IPU-POD64", "bert").ratio == "1:32"
    assert find(NEW, "IPU-POD128", "bert").ratio == "1:32"
    assert find(NEW, "dgxa100_ngc21.09_pytorch", "bert").ratio == "1:4"
    assert find(OLD, "4-nodes-32s-8376H-pytorch", "dlrm", "open").ratio == "n/a"
    assert ("Graphcore", "1:32", "bert") in host_ratios(NEW, "closed")
    assert ("NVIDIA", "1:4", "all") in host_ratios(NEW, "closed")
    assert (host_ratio(8, 2), host_ratio(3, 8), host_ratio(None, 8)) == ("4:1", "1:2.66667", "n/a")


def test_scaling_of_the_ipu_pods() -> None:
    (points,) = scaling(NEW, "resnet", "closed", "Graphcore").values()
    assert [(point.entry.accelerators, point.entry.minutes) for point in points] == [
        (16, 28.335),
        (64, 8.504),
        (128, 5.672),
        (256, 3.795),
    ]
    assert points[0].efficiency == 1
    assert points[-1].efficiency == pytest.approx(28.335 * 16 / (3.795 * 256))
    assert points[-1].speedup == pytest.approx(7.466, abs=1e-3)


def test_the_definition_decides() -> None:
    """With POD64, one node of 64 accelerators, as a single machine, Inspur no longer leads resnet and bert."""
    wide = Definition(max_accelerators=64)
    best = winners(NEW, "closed", wide)
    assert best["resnet", "single"].system == "IPU-POD64"
    assert best["bert", "single"].system == "IPU-POD64"
    on_sale = Definition(availability=("available",))
    assert winners(NEW, "closed", on_sale)["unet3d", "cluster"].submitter == "NVIDIA"
    assert any("cloud is not ranked" in reason for _, reason in unranked(NEW, "closed", on_sale))


def test_divisions_never_mix_and_unlike_models_are_not_ranked() -> None:
    for task in tasks_of(NEW):
        for category in ("single", "cluster"):
            for division in ("closed", "open"):
                rows = ranked(NEW, task, category, division, BY)  # type: ignore[arg-type]
                assert {entry.division for entry in rows} <= {division}
    assert "Google" not in {entry.submitter for entry in ranked(NEW, "bert", "cluster", "open", BY)}
    assert {entry.submitter for entry, _ in unranked(NEW, "open", BY)} == {"Google"}


def test_the_rounds_are_complete_and_say_where_they_come_from() -> None:
    assert round_names() == ["v1.0", "v1.1"]
    sources = round_sources()
    for name, closed, opened in (("v1.0", 144, 5), ("v1.1", 180, 6)):
        entries = load_round(name)
        assert len(entries) == sources["rounds"][name]["entries"] == closed + opened
        assert sum(entry.division == "closed" for entry in entries) == closed
        assert {entry.source for entry in entries} <= set(sources["sources"])
        assert all((entry.minutes is None) == (entry.source == "absent") for entry in entries)


def test_own_runs_are_marked_and_small_ones_rank_nowhere(tmp_path: Path) -> None:
    small = write_entry(tmp_path / "small")
    for number in range(5):
        path = tmp_path / "big" / "results" / "box" / "resnet" / f"result_{number}.txt"
        stretch(write_run(path, division="closed", seed=number), 20.0 + number)
    own = [*own_entries(small), *own_entries(tmp_path / "big")]
    assert [(entry.size, entry.minutes, entry.label) for entry in own] == [
        ("smoke", pytest.approx(12.0, abs=1e-3), "MLPerf-style, unverified"),
        ("full", pytest.approx(22.0, abs=1e-3), "MLPerf-style, unverified"),
    ]
    first = ranked([*NEW, *own], "resnet", "single", "closed", BY)[0]
    assert (first.round, first.size) == ("own", "full")
    said = CliRunner().invoke(app, ["bench", "board", str(tmp_path), "--json"])
    found = json.loads(said.stdout)
    assert {entry["label"] for entry in found["own"]} == {"MLPerf-style, unverified"}
    places = found["divisions"]["closed"]["first_places"]
    assert places[0] == {"submitter": "NVIDIA", "single": 1, "cluster": 7}  # published places stay published


def test_the_terminal_shows_the_claims() -> None:
    said = CliRunner().invoke(app, ["bench", "board"])
    assert said.exit_code == 0
    for words in (
        "single machine: 1 node and up to 16 accelerators",
        "first places (16 lists): NVIDIA 1 single + 7 cluster; Inspur 7 single; Azure 1 cluster",
        "+18.1 %",
        "+13.7 %",
        "+11.1 %",
        "+8.3 %",
        "16: 28.335 (100%)  64: 8.504 (83%)  128: 5.672 (62%)  256: 3.795 (47%)",
        "1:32 (bert)",
    ):
        assert words in said.stdout


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (["--round", "v9"], "round 'v9' is unknown"),
        (["--against", "v9"], "round 'v9' is unknown"),
        (["--task", "resnet50"], "did you mean 'resnet'?"),
        (["--division", "ajar"], "closed or open"),
        (["--availability", "soon"], "availability class 'soon'"),
        (["/nowhere"], "no such folder"),
    ],
)
def test_misuse_of_the_board(options: list[str], words: str) -> None:
    said = CliRunner().invoke(app, ["bench", "board", *options])
    assert said.exit_code == 2
    assert words in said.stderr


@pytest.mark.parametrize("width", [80, 100, 120, 130, 160])
def test_no_name_is_broken_within_a_word(width: int, tmp_path: Path) -> None:
    """Whatever the width: no line is longer, and every word of every name that is shown stands somewhere as a whole."""
    folder = write_entry(tmp_path / "small")
    board = build_board(NEW, OLD, own=own_entries(folder), definition=BY, divisions=("closed", "open"))
    console = Console(width=width, record=True, file=io.StringIO())
    print_board(board, console, 3)
    lines = console.export_text().splitlines()
    assert max(map(len, lines)) <= width
    # A list of what stands between blanks; a joint belongs to what is before it.
    words = {word for line in lines for word in line.split()}
    pieces = {piece for word in words for piece in re.split(r"(?<=[-_+])", word)}
    shown = [entry for one in board.divisions for rows in one.lists.values() for entry in rows[:3]]
    shown += [improvement.new for one in board.divisions for improvement in one.same_system]
    assert len({entry.system for entry in shown}) > 30
    for entry in shown:
        for piece in re.split(r"(?<=[-_+ ])", entry.system):
            assert piece.strip() in pieces, (entry.system, piece)
    for one in board.divisions:
        for _, _, _, points in one.scaling:
            for point in points:  # an item of a row is not torn apart
                said = f"{point.entry.accelerators}: {point.entry.minutes:g} ({point.efficiency:.0%})"
                assert any(said in line for line in lines)
