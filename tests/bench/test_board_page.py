"""The page holds what the terminal holds, fetches nothing, and no text gets out of its place."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path

import pytest
from typer.testing import CliRunner

from podium.bench.board import build_board
from podium.bench.board_page import board_page
from podium.bench.published import load_round
from podium.commands.cli import app

OLD, NEW = load_round("v1.0"), load_round("v1.1")
HOSTILE = "</script><img src=x onerror=\"document.title='owned'\">&amp;"


class Words(HTMLParser):
    def __init__(self, page: str) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.said: list[str] = []
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        assert not any(name in ("src", "href") and not (value or "").startswith("#") for name, value in attrs)

    def handle_data(self, data: str) -> None:
        self.said.append(data)


def data_of(page: str) -> dict[str, dict[str, object]]:
    raw = re.search(r'<script type="application/json" id="data">(.*?)</script>', page, re.S)
    assert raw is not None
    return json.loads(raw[1])


@pytest.fixture(scope="module")
def page() -> str:
    return board_page(build_board(NEW, OLD), NEW, 3)


def test_the_claims_are_on_the_page(page: str) -> None:
    words = " ".join(Words(page).said)
    for claim in (
        "Of 16 closed lists: NVIDIA 8, Inspur 7, Azure 1.",
        "+18.1 %",
        "+41.3 %",
        "+23.7 %",
        "1:32",
        "23.464",
    ):
        assert claim in words
    assert "github.com/mlcommons/training_results_v1.1" in words


def test_every_place_of_a_chart_has_its_specification(page: str) -> None:
    places = set(re.findall(r'data-chart="([^"]+)"', page))
    assert places == set(data_of(page)["charts"])
    assert {f"time-closed-{task}" for task in ("resnet", "bert", "minigo")} <= places


def test_hostile_names_stay_text() -> None:
    evil = replace(NEW[3], submitter=HOSTILE, system=HOSTILE, accelerator=HOSTILE, minutes=0.001)
    page = board_page(build_board([*NEW, evil], OLD), [*NEW, evil], 3)
    parsed = Words(page)
    assert "img" not in parsed.tags
    assert HOSTILE in " ".join(parsed.said)


def test_the_command_writes_it_whole(tmp_path: Path) -> None:
    out = tmp_path / "deep" / "board.html"
    said = CliRunner().invoke(app, ["bench", "board", "--html", str(out), "--task", "bert", "--division", "closed"])
    assert said.exit_code == 0
    text = out.read_text()
    assert "time-closed-bert" in text
    assert "time-closed-resnet" not in text


def test_in_a_browser_every_chart_is_drawn(page: str, tmp_path: Path) -> None:
    browser = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
    if browser is None:
        pytest.skip("no browser here")
    path = tmp_path / "board.html"
    path.write_text(page)
    flags = ["--headless", "--no-sandbox", "--disable-gpu", "--disable-background-networking", "--no-first-run"]
    dom = subprocess.run(
        [
            browser,
            *flags,
            f"--user-data-dir={tmp_path / 'profile'}",
            "--virtual-time-budget=6000",
            "--dump-dom",
            f"file://{path}",
        ],
        capture_output=True,
        text=True,
        timeout=120,
    ).stdout
    assert dom.count("<svg") == len(data_of(page)["charts"])
