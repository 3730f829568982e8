"""Solutions end to end with the real sandbox: what is kept, what is dropped and why, kill and resume."""

import json
from collections.abc import Generator
from pathlib import Path
from typing import Any

import pytest

from podium.answering.prompts import TRAINING_PROMPTS, make_prompt
from podium.answering.protocol import Sampling
from podium.answering.scripted import ScriptedCompleter
from podium.curate import make_solutions, programmatic_teacher, solve_with_teacher
from podium.curate.sessions import ReusedSessions
from podium.curate.solutions import SolutionReport
from podium.errors import CompleterError, InputError
from podium.problems import load_problems
from podium.records import Problem, Solution, Verdict
from podium.sandbox import Limits, Sandbox
from podium.storage import read_rows


def products(size: int) -> list[Problem]:
    return load_problems("gym:products", size=size, seed=1, options={"max_digits": 3})


def test_a_kept_solution_has_the_documented_form(tmp_path: Path) -> None:
    problems = products(3)
    report = make_solutions(problems, tmp_path / "tir.jsonl", "tir")
    rows = read_rows(tmp_path / "tir.jsonl", Solution)
    assert [row.problem_id for row in rows] == [problem.id for problem in problems]
    for problem, row in zip(problems, rows, strict=True):
        a, b = problem.text.split(":")[1].split(".")[0].split(" * ")
        written, shown, closing = row.parts
        assert written.text == f"I compute it.\n<tool_call>\nprint({a.strip()} * {b.strip()})\n</tool_call>"
        assert (shown.role, shown.text) == ("tool", f"\n```output\n{int(a) * int(b)}\n```\n")
        assert closing.text == f"The answer is \\boxed{{{int(a) * int(b)}}}."
        assert row.verdict is Verdict.CORRECT
        assert row.usage.code_calls == 1
        assert row.maker.prompt_version == "plain/1"
    assert (report.kept, report.code_calls) == (3, 3)
    assert json.loads((tmp_path / "tir.jsonl.report.json").read_text())["kept"] == 3


def test_the_same_problems_give_the_same_file(tmp_path: Path) -> None:
    problems = products(6) + load_problems("gym:gcd", size=6)
    for name in ("a", "b"):
        for style in ("cot", "tir"):
            make_solutions(problems, tmp_path / f"{name}.{style}.jsonl", style, concurrency=3 if name == "a" else 8)
    for style in ("cot", "tir"):
        assert (tmp_path / f"a.{style}.jsonl").read_bytes() == (tmp_path / f"b.{style}.jsonl").read_bytes()


def test_drops_are_counted_by_reason(tmp_path: Path) -> None:
    problems = [
        *products(2),
        *load_problems("gym:count_bits", size=2, options={"min_n": 2**30, "max_n": 2**31 - 1}),
        *load_problems("gym:maze", size=1),
        products(3)[2].model_copy(update={"answer": "0"}),
    ]
    report = make_solutions(problems, tmp_path / "cot.jsonl", "cot")
    assert report.kept == 2
    assert report.dropped == {
        "gym:count_bits: declined: too long to reason in the head": 2,
        "gym:maze: declined: no writer knows the task": 1,
        "gym:products: answer wrong": 1,
    }


@pytest.mark.parametrize("prompt", TRAINING_PROMPTS)
def test_every_prompt_reaches_the_teacher(prompt: str, tmp_path: Path) -> None:
    problems = [
        *products(1),
        *load_problems("gym:simple_equations", size=1, seed=1),
        *load_problems("gym:spell_backward", size=1),
    ]
    assert make_solutions(problems, tmp_path / "s.jsonl", "cot", prompt=prompt).kept == 3
    for row, problem in zip(read_rows(tmp_path / "s.jsonl", Solution), problems, strict=True):
        assert row.prompt[0].content.startswith(problem.text)
        assert row.maker.prompt_version == f"{prompt}/1"
    with pytest.raises(InputError, match="no prompt"):
        make_prompt(problems[0], "tirr")


def completer(*texts: str) -> ScriptedCompleter:
    def script(prompt: Any, sampling: Sampling) -> Generator[str, str, None]:
        for text in texts:  # noqa: UP028 - a tuple takes no sent value, as `yield from` needs
            yield text

    return ScriptedCompleter("someone", script)


CALL = "<tool_call>\n{}\n</tool_call>"


@pytest.mark.parametrize(
    ("texts", "reason"),
    [
        ((r"It is \boxed{1}.",), "no code"),
        ((CALL.format("1/0"), r"\boxed{6}"), "code ended with error"),
        ((r"\boxed{6} " + CALL.format("print(6)"), r"\boxed{6}"), "answer before the first code"),
        ((CALL.format("print(6)"), "and that is it"), "answer no_answer"),
        ((CALL.format("print(6)"), r"\boxed{7}"), "answer wrong"),
        (tuple([CALL.format("x = 1")] * 10), "too many code calls"),
        (("I close </tool_call>", CALL.format("print(6)"), r"\boxed{6}"), "code ended with not opened"),
        ((CALL.format("x = 2"), CALL.format("print(x * 3)"), r"\boxed{6}"), ""),
    ],
)
async def test_what_a_teacher_may_do_wrong(texts: tuple[str, ...], reason: str) -> None:
    problem = Problem(id="p", text="2 * 3?", answer="6", source="here")
    report = SolutionReport()
    async with Sandbox() as sandbox:
        kept = [row async for row in solve_with_teacher([problem], completer(*texts), "tir", sandbox, report=report)]
    assert [row.answer for row in kept] == ([] if reason else ["6"])
    assert dict(report.dropped) == ({f"here: {reason}": 1} if reason else {})


@pytest.mark.parametrize("style", ["cot", "tir"])
async def test_a_stop_string_of_the_callers_is_an_end_like_any_other(style: Any) -> None:
    problem = Problem(id="p", text="2 * 3?", answer="6", source="here")
    texts = (CALL.format("print(6)"), r"It is \boxed{6}.", "\n\nQuestion:")
    sampling = Sampling(stop=("\n\nQuestion:",))
    async with Sandbox() as sandbox:
        rows = [
            row async for row in solve_with_teacher([problem], completer(*texts), style, sandbox, sampling=sampling)
        ]
    assert [(row.answer, row.usage.code_calls) for row in rows] == [("6", int(style == "tir"))]


async def test_reused_sessions_are_handed_out_for_the_limits_they_were_opened_with() -> None:
    async with Sandbox(warm=()) as sandbox, ReusedSessions(sandbox, 100) as sessions:
        narrow = sandbox.limits.narrowed(Limits(output_chars=10))
        shown = []
        for limits in (sandbox.limits, narrow, sandbox.limits, narrow):
            session = await sessions.open(limits=limits)
            result = await session.run("y = globals().get('y', 0) + 1\nprint(y, '.' * 30)")
            shown.append((result.output[0], result.dropped_chars > 0))
            await session.close()
    assert shown == [("1", False), ("1", True), ("2", False), ("2", True)]


async def test_reused_sessions_give_what_fresh_ones_give() -> None:
    problems = [
        problem
        for name in ("simple_equations", "count_primes", "fraction_simplification", "base_conversion")
        for problem in load_problems(f"gym:{name}", size=5, seed=3, options={"min_value": 1} if "base" in name else {})
    ]
    teacher = programmatic_teacher("tir")
    async with Sandbox() as sandbox:
        fresh = [row async for row in solve_with_teacher(problems, teacher, "tir", sandbox)]
        async with ReusedSessions(sandbox, 100) as sessions:
            reused = [row async for row in solve_with_teacher(problems, teacher, "tir", sessions, concurrency=2)]
    assert fresh == reused
    assert len(fresh) == len(problems)


class Mortal(ScriptedCompleter):
    """A paid teacher that dies after some answers; counts what was asked of it."""

    def __init__(self, lives: int) -> None:
        super().__init__("mortal", self._script)
        self.lives = lives
        self.asked: list[str] = []

    def _script(self, prompt: Any, sampling: Sampling) -> Generator[str, str, None]:
        if len(self.asked) >= self.lives:
            raise KeyboardInterrupt
        self.asked.append(prompt[0].content)
        a, b = prompt[0].content.split(":")[1].split(".")[0].split(" * ")
        yield f"\\boxed{{{int(a) * int(b)}}}"


def test_no_answer_of_a_language_model_is_paid_twice(tmp_path: Path) -> None:
    problems = products(12)
    path = tmp_path / "llm.jsonl"
    first, second = Mortal(5), Mortal(100)
    with pytest.raises(KeyboardInterrupt):
        make_solutions(problems, path, "cot", teacher=first, concurrency=1)
    assert not path.exists()
    report = make_solutions(problems, path, "cot", teacher=second, concurrency=1)
    assert report.kept == 12
    assert not set(first.asked) & set(second.asked)
    assert len(first.asked) + len(second.asked) == 12
    assert sorted(file.name for file in tmp_path.iterdir()) == ["llm.jsonl", "llm.jsonl.report.json"]


def test_a_teacher_that_is_gone_ends_the_job(tmp_path: Path) -> None:
    def script(prompt: Any, sampling: Sampling) -> Generator[str, str, None]:
        raise OSError("connection refused")
        yield ""

    with pytest.raises(CompleterError, match="connection refused"):
        make_solutions(products(40), tmp_path / "x.jsonl", "cot", teacher=ScriptedCompleter("gone", script))
    assert not (tmp_path / "x.jsonl").exists()
