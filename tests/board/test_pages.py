"""Every page that Podium writes: one shell, nothing fetched, the main number of every table where it can be seen."""

from __future__ import annotations

import json
import multiprocessing
import os
import re
import shutil
import subprocess
from collections.abc import Callable
from html.parser import HTMLParser
from pathlib import Path

import pytest
from runs import attempt, exam_rows, make_run, settle
from typer.testing import CliRunner

import podium
from podium.board import report_or_index, write_report
from podium.board.index import find_runs, is_index, refresh_index, write_index
from podium.board.shell import table
from podium.commands.cli import app
from podium.errors import InputError
from podium.records import ExamResult, Verdict
from podium.solve.scores import score_results
from podium.solve.selecting import Choice, score_choices
from podium.storage import read_rows, write_json, write_rows

EVIL = "<img src=x onerror=alert(1)>\"'&"


def sit(folder: Path, rows: list[ExamResult], attempts: int) -> Path:
    """The folder of an exam that was sat to its end."""
    folder.mkdir(parents=True)
    write_rows(folder / "results.jsonl", rows)
    scores = score_results(rows, attempts).model_dump(mode="json")
    write_json(folder / "summary.json", {"model": "m/135M", "config": {"attempts": attempts}, "scores": scores})
    return folder


def choose(folder: Path, right: float) -> Path:
    """The folder of a selector's choices among 2 and 4 attempts at ten problems."""
    folder.mkdir(parents=True)
    choices = [
        Choice(
            problem_id=f"p{number}",
            n=n,
            attempts=tuple(range(n)),
            candidates=n,
            asked=2,
            picks=(0,),
            invalid=1,
            answer="1",
            score=float(number < 10 * right),
            vote="2",
            vote_score=float(number < 3),
            both_score=0.5,
            single=0.25,
            passed=True,
        )
        for n in (2, 4)
        for number in range(10)
    ]
    write_json(folder / "scores.json", [score.model_dump() for score in score_choices(choices)])
    write_json(folder / "select.json", {"judge": "qwq"})
    return folder


@pytest.fixture(scope="module")
def pages(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Every page maker's page."""
    place = tmp_path_factory.mktemp("pages")
    runs = place / "runs"
    made = {"run": write_report(make_run(runs / "demo", 12, 4))}
    exam = sit(runs / "exams" / "cot-gsm8k", exam_rows(10, 4, 0.5, 1.0, True, 3), 4)
    made["exam"] = write_report(exam)
    made["selection"] = write_report(choose(exam / "genselect" / "qwq", 0.9))
    made["index"] = runs / "index.html"
    commands = {
        "comparison": ["compare", str(runs / "demo/exam_cot"), str(runs / "demo/exam_tir")],
        "scoreboard": ["bench", "board", "--task", "bert"],
        "plan": ["plan", "train", "--model", "gpt2", "--tokens", "1B", "--gpus", "8xH100"],
    }
    for name, words in commands.items():
        made[name] = place / f"{name}.html"
        done = CliRunner().invoke(app, [*words, "--html", str(made[name])])
        assert done.exit_code == 0, done.output
    made["frontier"] = place / "frontier.html"
    words = ["exam", "replay", "simulated:12", "--policy", "winner", "--exams", "10", "--plot", str(made["frontier"])]
    assert CliRunner().invoke(app, words).exit_code == 0
    return made


class Tree(HTMLParser):
    """A page's elements; fails on what is closed and not open."""

    VOID = ("meta", "br")

    def __init__(self, page: str) -> None:
        super().__init__()
        self.open: list[tuple[str, dict[str, str | None]]] = []
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.tables: list[list[str]] = []  # classes of the headings
        self.bare_tables = 0
        self.styles: list[str] = []
        self.words = ""
        self.feed(page)
        assert self.open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        found = dict(attrs)
        self.tags.append((tag, found))
        if tag == "table":
            self.tables.append([])
            self.bare_tables += not any((each.get("class") or "") == "scroll" for _, each in self.open)
        if tag == "th":
            self.tables[-1].append(found.get("class") or "")
        if tag not in self.VOID:
            self.open.append((tag, found))

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop()[0] == tag

    def handle_data(self, data: str) -> None:
        if self.open and self.open[-1][0] == "style":
            self.styles.append(data)
        elif not self.open or self.open[-1][0] != "script":
            self.words += data


NAMES = ("run", "exam", "selection", "index", "comparison", "scoreboard", "plan", "frontier")


@pytest.mark.parametrize("name", NAMES)
def test_a_page_is_whole_and_fetches_nothing(name: str, pages: dict[str, Path]) -> None:
    tree = Tree(pages[name].read_text())
    for tag, attributes in tree.tags:
        assert tag not in ("link", "iframe", "img", "object", "embed", "base")
        assert not any(key.startswith("on") for key in attributes)
        for key in ("src", "href", "action"):
            value = attributes.get(key) or "#"
            assert value.startswith("#") or (name == "index" and value.startswith("./")), (tag, value)
    for style in tree.styles:
        assert "@import" not in style
        assert all(address.startswith("data:") for address in re.findall(r"url\(([^)]*)", style))
    (policy,) = [a["content"] for t, a in tree.tags if t == "meta" and a.get("http-equiv")]
    assert str(policy).startswith("default-src 'none'")


@pytest.mark.parametrize("name", NAMES)
def test_the_main_number_of_every_table_stands_first_or_second(name: str, pages: dict[str, Path]) -> None:
    tree = Tree(pages[name].read_text())
    assert tree.tables
    assert tree.bare_tables == 0  # what is wider than the window scrolls by itself, not the page
    for headings in tree.tables:
        assert [number for number, kind in enumerate(headings) if "main" in kind.split()] in ([0], [1])
    (width,) = [a["content"] for t, a in tree.tags if t == "meta" and a.get("name") == "viewport"]
    assert width == "width=device-width, initial-scale=1"
    with pytest.raises(AssertionError, match="first or second"):
        table([("a", ""), ("b", ""), ("c", "main")], [])


def test_in_a_browser_no_page_is_wider_than_a_telephone(pages: dict[str, Path], tmp_path: Path) -> None:
    """All pages side by side in frames of 390 px, with what is folded opened; each tells what sticks out."""
    browser = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
    if browser is None:
        pytest.skip("no browser here")
    probe = """<script>addEventListener("load", () => setTimeout(() => {
      document.querySelectorAll("details").forEach(node => { node.open = true; });
      setTimeout(() => {
        const right = node => node.getBoundingClientRect().right;
        const out = [...document.querySelectorAll(".main")].filter(node => right(node) > innerWidth + 1);
        const wide = document.documentElement.scrollWidth - document.documentElement.clientWidth;
        parent.postMessage([NAME, wide, out.map(n => n.textContent)], "*");
      }, 1500);
    }, 500));</script>"""
    frames = ""
    for name, path in pages.items():
        script = probe.replace("NAME", json.dumps(name))
        (tmp_path / f"{name}.html").write_text(path.read_text().replace("</body>", script + "</body>"))
        frames += f'<iframe src="{name}.html" style="width:390px;height:800px;border:0"></iframe>'
    said = "<script>addEventListener('message', e => { said.textContent += JSON.stringify(e.data) + '\\n'; });</script>"
    (tmp_path / "all.html").write_text(f'<pre id="said"></pre>{said}{frames}')
    flags = ["--headless", "--no-sandbox", "--disable-gpu", "--disable-background-networking", "--no-first-run"]
    flags += ["--disable-component-update", "--disable-sync", f"--user-data-dir={tmp_path / 'profile'}"]
    dom = subprocess.run(
        [browser, *flags, "--virtual-time-budget=9000", "--dump-dom", f"file://{tmp_path / 'all.html'}"],
        capture_output=True,
        text=True,
        timeout=200,
    ).stdout
    found = re.search(r'<pre id="said">(.*?)</pre>', dom, re.S)
    assert found is not None
    told = [json.loads(line) for line in found[1].splitlines()]
    assert sorted(told) == sorted([name, 0, []] for name in pages)


# -- what a report says first


def unanswered(rows: list[ExamResult], reason: Callable[[int], str]) -> list[ExamResult]:
    """The same problems, but three attempts in four gave no answer."""
    return [
        settle(
            row.problem,
            [
                one.model_copy(
                    update={"answer": None, "verdict": Verdict.NO_ANSWER, "stop_reason": reason(one.index)}
                    if one.index % 4
                    else {}
                )
                for one in row.attempts
            ],
        )
        for row in rows
    ]


def test_a_report_begins_with_attempts_that_gave_no_answer(tmp_path: Path) -> None:
    rows = exam_rows(6, 4, 0.99, 0.0, False, 0)
    page = write_report(sit(tmp_path / "a", unanswered(rows, lambda _: "eos"), 4)).read_text()
    words = Tree(page).words
    assert re.search(r"a: 1[89] of 24 attempts have no answer: 1[89] ended without one", words)
    assert page.index("attempts have no answer") < page.index('id="result"')
    assert "--prompt boxed" in page
    assert "--max-tokens" not in words
    ended = write_report(sit(tmp_path / "b", unanswered(rows, lambda _: "length"), 4)).read_text()
    assert "cut off at the token limit" in Tree(ended).words
    repeated = write_report(sit(tmp_path / "c", unanswered(rows, lambda _: "repetition"), 4)).read_text()
    assert "18 attempts ended for repeating the same text" in Tree(repeated).words
    fine = write_report(sit(tmp_path / "d", rows, 4)).read_text()
    assert 'class="warning"' not in fine


def test_maj_at_n_is_one_number_under_one_name(tmp_path: Path) -> None:
    """A tie is answered with one of its answers, and is split in maj@n: two numbers under two names."""
    import random

    first = exam_rows(1, 4, 0.5, 0.0, False, 0)[0].problem
    rows = []
    for number in range(4):
        problem = first.model_copy(update={"id": f"p{number}", "answer": "8"})
        attempts = []
        for index, answer in enumerate(("8", "8", "9", "9")):
            base = attempt(problem, index, random.Random(0), 1.0, 0.0, False)
            verdict = Verdict.CORRECT if answer == "8" else Verdict.WRONG
            attempts.append(base.model_copy(update={"answer": answer, "verdict": verdict}))
        rows.append(settle(problem, attempts))
    page = write_report(sit(tmp_path / "tied", rows, 4)).read_text()
    scores = score_results(rows, 4)
    assert (scores.score.value, scores.majority_n.value) == (1.0, 0.5)
    cells = re.findall(r'<span class="score">(\d+%)</span>', page)
    assert re.findall(r"<th[^>]*>(score|maj@4|pass@1|pass@4)</th>", page) == [
        "score",
        "maj@4",
        "pass@1",
        "pass@4",
    ]
    assert cells == ["100%", "50%", "50%", "100%"]
    # … and the table under the chart says the same of maj@4.
    numbers = re.search(r"tied, maj@k</td><td[^>]*>(\d+%)", page)
    assert numbers is not None
    assert numbers[1] == "50%"


def test_exams_with_other_numbers_of_attempts_share_no_column_of_one_number(tmp_path: Path) -> None:
    folder = make_run(tmp_path / "demo", 6, 4)
    write_rows(folder / "exam_cot" / "results.jsonl", exam_rows(6, 2, 0.5, 0.0, False, 0))
    page = write_report(folder).read_text()
    assert "<th>maj@n</th>" in page
    assert "maj@4</th>" not in page


def test_what_is_not_right_comes_first_and_one_problem_stands_open(pages: dict[str, Path]) -> None:
    page = pages["exam"].read_text()
    rows = read_rows(pages["exam"].parent / "results.jsonl", ExamResult)
    example, listed = page.split('id="problems"')
    order = [int(number) for number in re.findall(r'<details class="problem"[^>]*data-problem="(\d+)"', listed)]
    right = [rows[number].verdict == Verdict.CORRECT for number in order]
    assert right == sorted(right)
    assert sorted(order) == list(range(len(rows)))
    assert order == sorted(order, key=lambda number: (rows[number].verdict == Verdict.CORRECT, number))
    opened = re.findall(r'data-problem="(\d+)"[^>]* open data-shown="([\d ]+)"', example)
    assert len(opened) == 1
    problem, shown = rows[int(opened[0][0])], [int(index) for index in opened[0][1].split()]
    verdicts = [problem.attempts[index].verdict for index in shown]
    assert verdicts[0] == Verdict.CORRECT
    assert problem.attempts[shown[0]].usage.code_calls > 0
    assert all(verdict != Verdict.CORRECT for verdict in verdicts[1:])
    assert " open" not in "".join(re.findall(r'<details class="problem"[^>]*>', listed))


def test_a_selectors_report_begins_with_its_own_result(pages: dict[str, Path]) -> None:
    page = pages["selection"].read_text()
    words = " ".join(Tree(page).words.split())
    assert (
        "Of 4 attempts a problem qwq chose a right answer for 90% of 10 problems, the vote over the same for 30%."
        in words
    )
    assert page.index('id="choice"') < page.index('id="result"')
    assert "+60.0" in words
    assert ">Attempts</h2>" in page  # the exam that was chosen from
    # The exam's own report tells of it too, and one of a run with a stage that selects.
    exam = pages["selection"].parent.parent.parent
    assert 'id="choice"' in write_report(exam, exam / "again.html").read_text()


def test_a_run_that_selects_begins_with_the_choice(tmp_path: Path) -> None:
    folder = make_run(tmp_path / "choosing", 4, 2)
    recipe = folder / "recipe.yaml"
    recipe.write_text(recipe.read_text() + "  select: {kind: select, inputs: {exam: exam_tir}}\n")
    choose(folder / "select", 0.2)
    write_json(folder / "select" / "done.json", {"wall_seconds": 1.0, "sessions": 1, "metrics": {"select@4": 0.2}})
    page = write_report(folder).read_text()
    assert page.index('id="choice"') < page.index('id="result"')
    (line,) = [line for line in find_runs(tmp_path) if line.what == "select"]
    assert (line.share, line.measure) == (0.2, "chosen among 4")


# -- the index


def test_the_index_lists_every_run_and_exam_with_its_number(pages: dict[str, Path]) -> None:
    runs = pages["index"].parent
    page = pages["index"].read_text()
    words = " ".join(Tree(page).words.split())
    scores = json.loads((runs / "exams/cot-gsm8k/summary.json").read_text())["scores"]["score"]
    assert f"{100 * scores['value']:.1f}%" in words
    assert f"{100 * scores['low']:.1f} to {100 * scores['high']:.1f}" in words
    assert "m/135M" in words
    assert sorted(re.findall(r'href="\./([^"]+)"', page)) == ["demo/report.html"] * 3 + ["exams/cot-gsm8k/report.html"]
    assert is_index(pages["index"])
    assert not is_index(pages["run"])


def test_names_of_folders_and_models_stay_text_and_links_stay_inside(tmp_path: Path) -> None:
    name = "javascript:alert(1) #?%<b>\"'"
    folder = sit(tmp_path / "runs" / name, exam_rows(2, 2, 0.5, 0.0, False, 0), 2)
    summary = json.loads((folder / "summary.json").read_text())
    write_json(folder / "summary.json", {**summary, "model": EVIL})
    write_report(folder)
    tree = Tree((tmp_path / "runs" / "index.html").read_text())
    assert EVIL in tree.words
    assert name in tree.words
    (link,) = [str(a["href"]) for t, a in tree.tags if t == "a"]
    assert re.fullmatch(r"\./[\w%().]+/report\.html", link.replace("-", ""))
    assert not [t for t, _ in tree.tags if t == "img"]


def test_a_damaged_or_unfinished_run_stands_in_the_index_as_that(tmp_path: Path) -> None:
    rows = exam_rows(3, 2, 0.5, 0.0, False, 0)
    (sit(tmp_path / "broken", rows, 2) / "summary.json").write_text("{")
    (sit(tmp_path / "odd", rows, 2) / "summary.json").write_text('{"scores": 3}')
    (sit(tmp_path / "half", rows, 2) / "summary.json").unlink()
    (tmp_path / "torn").mkdir()
    (tmp_path / "torn" / "recipe.yaml").write_text("stages: [")
    (tmp_path / "empty").mkdir()
    said = {line.folder.name: line.note for line in find_runs(tmp_path)}
    assert said.keys() == {"broken", "odd", "half", "torn"}
    assert said["half"] == "not finished: 3 problems so far"
    assert all(said[name].startswith("cannot be read") for name in ("broken", "odd", "torn"))
    assert report_or_index(tmp_path) == ("index", tmp_path / "index.html")


def test_no_page_of_somebody_else_is_written_over(tmp_path: Path) -> None:
    runs = tmp_path / "runs"
    folder = sit(runs / "a", exam_rows(2, 2, 0.5, 0.0, False, 0), 2)
    (runs / "index.html").write_text("mine")
    write_report(folder)
    assert (runs / "index.html").read_text() == "mine"
    with pytest.raises(InputError, match="not written by podium"):
        write_index(runs)
    assert write_index(runs, tmp_path / "other.html").exists()
    # Outside of a folder named runs nothing is written beside an exam, until somebody asks for it there.
    elsewhere = sit(tmp_path / "home" / "a", exam_rows(2, 2, 0.5, 0.0, False, 0), 2)
    write_report(elsewhere)
    assert sorted(path.name for path in (tmp_path / "home").iterdir()) == ["a"]
    write_index(tmp_path / "home")
    sit(tmp_path / "home" / "b", exam_rows(2, 2, 0.5, 0.0, False, 0), 2)
    assert refresh_index(tmp_path / "home" / "b") == tmp_path / "home" / "index.html"
    assert "<b>b</b>" in (tmp_path / "home" / "index.html").read_text()
    with pytest.raises(InputError, match="neither a run nor an exam"):
        write_index(tmp_path / "runs" / "a")
    assert not (tmp_path / "runs" / "a" / ".index.lock").exists()  # a folder that is refused stays as it was


def _end(folder: str, start: float) -> None:
    import time

    time.sleep(max(0.0, start - time.time()))
    for number in range(6):
        place = Path(folder) / f"{os.getpid()}-{number}"
        place.mkdir(parents=True)
        (place / "results.jsonl").write_text("")
        assert refresh_index(place) is not None


def test_runs_that_end_together_are_all_in_the_index(tmp_path: Path) -> None:
    import time

    runs = tmp_path / "runs"
    context = multiprocessing.get_context("fork")
    start = time.time() + 0.5
    workers = [context.Process(target=_end, args=(str(runs), start)) for _ in range(3)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join(60)
        assert worker.exitcode == 0
    page = (runs / "index.html").read_text()
    assert all(f"<b>{folder.name}</b>" in page for folder in runs.iterdir() if folder.is_dir())
    assert page.count("<b>") == 18


# -- compare


def test_the_comparison_says_what_the_terminal_says(pages: dict[str, Path]) -> None:
    demo = pages["run"].parent
    said = CliRunner().invoke(app, ["compare", str(demo / "exam_cot"), str(demo / "exam_tir"), "--json"])
    found = json.loads(said.stdout)
    words = " ".join(Tree(pages["comparison"].read_text()).words.split())
    for contrast in found["contrasts"]:
        value = 100 * contrast["difference"]["value"]
        shown = f"{value:+.1f}".replace("-", "−") if round(value, 1) else "0.0"
        assert f"{contrast['measure']}{shown}" in words.replace(" ", "")
    assert "demo/exam_cot against demo/exam_tir" in words
    assert all(caution in words for caution in found["cautions"])
    first = found["contrasts"][0]["difference"]
    assert ("no difference showed" in words) == (first["low"] <= 0 <= first["high"])


def test_hostile_answers_and_problems_stay_text_in_a_comparison(tmp_path: Path) -> None:
    rows = exam_rows(4, 2, 0.5, 0.0, False, 0)
    sides: list[list[ExamResult]] = [[], []]
    for number, row in enumerate(rows):
        problem = row.problem.model_copy(update={"id": f"{EVIL}{number}", "text": EVIL, "answer": EVIL})
        for side, verdict in zip(sides, (Verdict.CORRECT, Verdict.WRONG), strict=True):
            side.append(row.model_copy(update={"problem": problem, "answer": EVIL, "verdict": verdict}))
    a, b = (sit(tmp_path / name, side, 2) for name, side in zip("ab", sides, strict=True))
    out = tmp_path / "out.html"
    done = CliRunner().invoke(app, ["compare", str(a), str(b), "--html", str(out)])
    assert done.exit_code == 0, done.output
    tree = Tree(out.read_text())
    assert "img" not in [tag for tag, _ in tree.tags]
    assert tree.words.count(EVIL) >= 4 * 5  # id, text, gold and both answers of four problems


def test_what_every_page_and_chart_begins_with_stands_in_the_shell_alone() -> None:
    source = Path(podium.__file__).parent
    for words in ("vega-lite/v6.json", "<!DOCTYPE html>", "Content-Security-Policy"):
        holders = [file.name for file in source.rglob("*.py") if words in file.read_text()]
        assert holders == ["shell.py"], words
