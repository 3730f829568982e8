"""The report tells what the rows say, opens without a network, and no text of a model gets out of its place."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from html.parser import HTMLParser
from io import StringIO
from pathlib import Path

import pytest
from rich.console import Console
from runs import CHAIN, EXAMS, attempt, exam_rows, make_run, settle

from podium.board import print_summary, write_report
from podium.board.exam import read_exam
from podium.board.summary import print_exams
from podium.errors import InputError
from podium.records import ExamResult as Result
from podium.records import Part, Problem
from podium.storage import read_rows, write_rows

HOSTILE = [
    "</script><script>document.title='owned'</script>",
    "<img src=x onerror=\"document.title='owned'\">",
    "<!--<script>",
    "]]>\u2028\u2029'\"`${document.title='owned'}",
    "&lt;b&gt; &amp;amp; \\u003c \x00",
    "<svg/onload=document.title='owned'>",
]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_run(tmp_path_factory.mktemp("runs") / "demo", problems=16, attempts=5)


class Page(HTMLParser):
    """Elements, attributes and texts as a browser would see them."""

    def __init__(self, text: str) -> None:
        super().__init__(convert_charrefs=True)
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.texts: list[str] = []
        self.scripts: list[str] = []
        self._inside = ""
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))
        self._inside = tag

    def handle_endtag(self, tag: str) -> None:
        self._inside = ""

    def handle_data(self, data: str) -> None:
        if self._inside == "script":
            self.scripts.append(data)
        elif self._inside != "style":
            self.texts.append(data)

    @property
    def text(self) -> str:
        return " ".join(" ".join(self.texts).split())

    @property
    def data(self) -> dict:
        return json.loads(self.scripts[0])


def test_scores_stand_in_the_page_without_javascript(folder: Path) -> None:
    page = Page(write_report(folder).read_text())
    for name in EXAMS:
        rows = read_rows(folder / name / "results.jsonl", Result)
        right = sum(row.verdict == "correct" for row in rows)
        assert f"{100 * right / len(rows):.0f}%" in page.text
    assert "Code beats mental arithmetic" in page.text
    for stage in CHAIN:
        assert stage in page.text
    assert "1 min 58 s" in page.text  # the 118 s of the first training stage
    assert "stopped and continued 1 time" in page.text
    for row in read_rows(folder / "exam_tir" / "results.jsonl", Result):
        assert row.problem.text in page.text


def test_every_attempt_is_in_the_page(folder: Path) -> None:
    data = Page(write_report(folder).read_text()).data
    for exam, name in zip(data["exams"], EXAMS, strict=True):
        for row, attempts in zip(read_rows(folder / name / "results.jsonl", Result), exam["problems"], strict=True):
            assert [one["segments"] for one in attempts] == [[shown(part) for part in a.parts] for a in row.attempts]


def shown(part: Part) -> list[str]:
    """What the page is given for a part of the runs of this folder, each of which is text, one block or one output."""
    if part.role == "tool":
        return ["output", part.text.splitlines()[2]]
    code = re.fullmatch(r"<tool_call>\n(.*)\n</tool_call>", part.text, re.DOTALL)
    return ["text", part.text] if code is None else ["code", code[1]]


def test_the_page_needs_nothing_from_outside(folder: Path) -> None:
    page = Page(write_report(folder).read_text())
    for tag, attributes in page.elements:
        assert tag not in ("link", "iframe", "img", "object", "embed", "base")
        for name, value in attributes.items():
            assert not name.startswith("on")
            if name in ("src", "href", "action"):
                assert value is not None
                assert value.startswith("#"), (tag, name, value)
    policy = next(a["content"] for t, a in page.elements if t == "meta" and a.get("http-equiv"))
    assert policy is not None
    assert policy.startswith("default-src 'none'")
    styles = re.search(r"<style>(.*?)</style>", (folder / "report.html").read_text(), re.S)
    assert styles is not None
    assert "url(" not in styles[1]
    assert "@import" not in styles[1]


def hostile_run(folder: Path) -> Path:
    """An exam whose every text tries to leave its place."""
    import random

    draw = random.Random(0)
    rows = []
    for number, evil in enumerate(HOSTILE):
        problem = Problem(id=f"{evil}{number}", text=evil, answer=evil, source=evil, meta={"task": evil})
        attempts = []
        for index, one in enumerate(HOSTILE):
            base = attempt(problem.model_copy(update={"answer": "1"}), index, draw, 1.0, 1.0, True)
            parts = (
                Part(role="model", text=f"{one}<tool_call>\n{one}\n</tool_call>"),
                Part(role="tool", text=f"\n```output\n{one}\n```\n"),
                Part(role="model", text=f"\\boxed{{{one}}}"),
            )
            attempts.append(base.model_copy(update={"parts": parts, "answer": one}))
        rows.append(settle(problem, attempts).model_copy(update={"stop_rule": evil}))
    folder.mkdir(parents=True, exist_ok=True)
    write_rows(folder / "results.jsonl", rows)
    return folder


def test_hostile_text_stays_text(folder: Path, tmp_path: Path) -> None:
    honest = Page(write_report(folder, tmp_path / "honest.html").read_text())
    out = write_report(hostile_run(tmp_path / "exam"))
    text = out.read_text()
    page = Page(text)
    # Exactly the scripts that an honest page has, and no element it does not have.
    assert len([t for t, _ in page.elements if t == "script"]) == len([t for t, _ in honest.elements if t == "script"])
    assert {tag for tag, _ in page.elements} <= {tag for tag, _ in honest.elements}
    assert not [name for _, attributes in page.elements for name in attributes if name.startswith("on")]
    # … and still every text is there, unharmed.
    data = page.data
    assert [one["answer"] for one in data["exams"][0]["problems"][0]] == HOSTILE
    raw = re.search(r'<script type="application/json" id="data">(.*?)</script>', text, re.S)
    assert raw is not None
    assert not re.search("[<>&\u2028\u2029]", raw[1])
    for evil in (HOSTILE[0], HOSTILE[1]):
        assert " ".join(evil.split()) in page.text


def chromium() -> str:
    for name in ("chromium", "chromium-browser", "google-chrome"):
        if path := shutil.which(name):
            return path
    pytest.skip("no browser here")


def in_browser(page: Path, tmp_path: Path, script: str) -> str:
    """The page's DOM after its own scripts and then `script` have run, network off."""
    path = tmp_path / "driven.html"
    path.write_text(page.read_text().replace("</body>", f"<script>{script}</script></body>"))
    return subprocess.run(
        [
            chromium(),
            "--headless",
            "--no-sandbox",
            "--disable-gpu",
            "--disable-background-networking",
            "--disable-component-update",
            "--disable-sync",
            "--no-first-run",
            f"--user-data-dir={tmp_path / 'profile'}",
            "--virtual-time-budget=6000",
            "--dump-dom",
            f"file://{path}",
        ],
        capture_output=True,
        text=True,
        timeout=120,
    ).stdout


OPEN_ALL = """
const open = selector => document.querySelectorAll(selector).forEach(node => { node.open = true; });
open("details.problem");
setTimeout(() => open("details.attempt"), 1500);
"""


def test_in_a_browser_charts_are_drawn_and_attempts_open(folder: Path, tmp_path: Path) -> None:
    dom = in_browser(write_report(folder), tmp_path, OPEN_ALL)
    page = Page(dom)
    data = page.data
    assert len([1 for tag, found in page.elements if tag == "svg" and found.get("class") == "marks"]) == len(
        data["charts"]
    )
    codes = [attributes for tag, attributes in page.elements if tag == "pre" and attributes.get("data-what") == "code"]
    rows = [row for name in EXAMS for row in read_rows(folder / name / "results.jsonl", Result)]
    calls = sum(one.usage.code_calls for row in rows for one in row.attempts)
    # The problem that is worked at the head of the list shows its attempts once more.
    (worked,) = [found for tag, found in page.elements if tag == "details" and "data-shown" in found]
    last = read_rows(folder / list(EXAMS)[-1] / "results.jsonl", Result)[int(str(worked["data-problem"]))]
    assert len(codes) == calls + sum(one.usage.code_calls for one in last.attempts)


def test_in_a_browser_the_filter_leaves_what_it_says(folder: Path, tmp_path: Path) -> None:
    click = (
        "document.querySelector('[data-filter=wrong]').click(); document.querySelector('[data-exam=\"0\"]').click();"
    )
    page = Page(in_browser(write_report(folder), tmp_path, click))
    rows = read_rows(folder / next(iter(EXAMS)) / "results.jsonl", Result)
    shown = [
        int(str(attributes["data-problem"]))
        for tag, attributes in page.elements
        if tag == "details" and attributes.get("data-exam") == "0" and "hidden" not in attributes
    ]
    assert shown == [number for number, row in enumerate(rows) if row.verdict != "correct"]


def test_in_a_browser_hostile_text_does_nothing(tmp_path: Path) -> None:
    dom = in_browser(write_report(hostile_run(tmp_path / "exam")), tmp_path, OPEN_ALL)
    page = Page(dom)
    assert "<title>exam · Podium</title>" in dom
    assert not [tag for tag, _ in page.elements if tag == "img"]
    assert not [name for _, attributes in page.elements for name in attributes if name.startswith("on")]
    outputs = dom.count('data-what="output"')
    assert outputs == len(HOSTILE) ** 2 + len(HOSTILE)  # one problem is there twice: worked, and in the list


def test_one_exam_alone_makes_a_report(tmp_path: Path) -> None:
    folder = tmp_path / "alone"
    folder.mkdir()
    write_rows(folder / "results.jsonl", exam_rows(4, 3, 0.5, 0.0, False, 0))
    page = Page(write_report(folder).read_text())
    assert "Problem by problem" in page.text
    assert "Chain" not in page.text


def test_an_unfinished_run_makes_a_report_of_what_is_there(folder: Path, tmp_path: Path) -> None:
    half = tmp_path / "half"
    shutil.copytree(folder, half)
    (half / "exam_merged" / "done.json").unlink()
    page = Page(write_report(half).read_text())
    assert "not finished" in page.text
    assert [exam["label"] for exam in page.data["exams"]] == ["CoT", "TIR"]


def test_a_folder_without_results_is_explained(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="neither a run nor an exam"):
        write_report(tmp_path)
    with pytest.raises(InputError, match="no such folder"):
        write_report(tmp_path / "none")
    assert list(tmp_path.iterdir()) == []


def test_a_wrong_row_is_named_and_the_old_report_stays(folder: Path, tmp_path: Path) -> None:
    bad = tmp_path / "bad"
    shutil.copytree(folder, bad)
    write_report(bad)
    before = (bad / "report.html").read_text()
    with open(bad / "exam_tir" / "results.jsonl", "a") as file:
        file.write('{"answer": 1}\n')
    with pytest.raises(InputError, match=r"exam_tir/results\.jsonl:17: field"):
        write_report(bad)
    assert (bad / "report.html").read_text() == before


def test_the_terminal_summary_says_the_same(folder: Path) -> None:
    write_report(folder)
    console = Console(file=StringIO(), width=160)
    print_summary(folder, console)
    assert isinstance(console.file, StringIO)
    text = console.file.getvalue()
    for name in EXAMS:
        rows = read_rows(folder / name / "results.jsonl", Result)
        assert f"{100 * sum(row.verdict == 'correct' for row in rows) / len(rows):.0f}%" in text
    assert "346.4 s" in text
    assert "report.html" in text


@pytest.mark.parametrize("width", [80, 120])
def test_the_summary_loses_no_letter_of_its_heads(folder: Path, width: int) -> None:
    exams = [read_exam(folder / name, name) for name in EXAMS]
    assert any(exam.scores.mean_code_calls for exam in exams)
    file = StringIO()
    print_exams(exams, Console(file=file, width=width))
    assert "…" not in file.getvalue()
    assert "code calls" in file.getvalue()
    assert "s/problem" in file.getvalue()
