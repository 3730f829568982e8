"""Verdicts and equivalence: graded pairs, hostile strings, gym scorers and the worker's deadline."""

import threading
import time
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from podium.errors import InputError
from podium.grading import classes, equivalent, grade
from podium.grading.guard import EVALUATING_TASKS, harmless
from podium.grading.pool import Pool, pool
from podium.problems import load_problems
from podium.records import Problem, Verdict

MATH = Problem(id="m", text="?", answer="1")


def problem(answer: str | None, verifier: str = "math", **meta: object) -> Problem:
    return Problem(id="p", text="?", answer=answer, verifier=verifier, meta=meta)


SAME = [
    ("42", "042"),
    ("-7", r"$-7$"),
    ("1234567", "1,234,567"),
    ("1234567", r"1{,}234{,}567"),
    ("1/2", r"\frac{1}{2}"),
    ("1/2", r"\dfrac12"),
    ("0.5", r"\tfrac{1}{2}"),
    ("3.50", "7/2"),
    ("3 1/2", "3.5"),
    (r"3\frac{1}{2}", "7/2"),
    (r"50\%", "0.5"),
    (r"50\%", "50"),
    (r"90^\circ", "90"),
    ("12", r"12\text{ cm}"),
    (r"5\text{ m}", r"500\text{ cm}"),
    ("5", "x = 5"),
    ("3e8", r"3\times 10^{8}"),
    ("2^10", "1024"),
    (r"\text{(B)}", "B"),
    ("no solution", r"\emptyset"),
    ("(((7)))", "7"),
    ("7.", "7"),
    ("−7", "-7"),
    (r"\frac{-1}{2}", r"-\frac{1}{2}"),
    (r"2 \cdot 3", "6"),
]
DIFFERENT = [
    ("42", "43"),
    (r"\frac{1}{3}", "0.333"),
    (r"50\%", r"0.5\%"),
    (r"5\text{ m}", r"5\text{ cm}"),
    (r"5\text{ m}", r"5\text{ kg}"),
    ("A", "B"),
    ("-7", "7"),
    ("1.0", "10"),
    ("10^{10^{10}}", "10^{10^{10}}+1"),
    ("1", "9^{9^{9^{9}}}"),
]


@pytest.mark.parametrize(("gold", "answer"), SAME)
def test_same_answers_without_computer_algebra(gold: str, answer: str) -> None:
    assert grade(problem(gold), answer) is Verdict.CORRECT
    assert equivalent(MATH, answer, gold) is True


@pytest.mark.parametrize(("gold", "answer"), DIFFERENT)
def test_different_answers(gold: str, answer: str) -> None:
    assert grade(problem(gold), answer) is Verdict.WRONG
    assert equivalent(MATH, answer, gold) is False


@pytest.mark.parametrize(
    ("gold", "answer", "verdict"),
    [
        (r"\frac{1}{\sqrt{2}}", r"\frac{\sqrt{2}}{2}", Verdict.CORRECT),
        ("(x+1)^2", "x^2+2x+1", Verdict.CORRECT),
        (r"\frac{\pi}{2}", r"90^\circ", Verdict.CORRECT),
        (r"(-\infty, 2]", r"x \le 2", Verdict.CORRECT),
        ("[0,1]", "[0,1)", Verdict.WRONG),
        ("(1,2,3)", "(3,1,2)", Verdict.WRONG),
        (r"\sqrt{2}", r"\sqrt{3}", Verdict.WRONG),
    ],
)
def test_computer_algebra(gold: str, answer: str, verdict: Verdict) -> None:
    assert grade(problem(gold), answer) is verdict


@given(numerator=st.integers(-(10**12), 10**12), denominator=st.integers(1, 10**6))
def test_ways_to_write_a_fraction_are_one(numerator: int, denominator: int) -> None:
    forms = [
        f"{numerator}/{denominator}",
        rf"\frac{{{numerator}}}{{{denominator}}}",
        rf"$\dfrac{{{3 * numerator}}}{{{3 * denominator}}}$",
        f"({numerator}) / {denominator}",
    ]
    assert classes(MATH, forms) == [[0, 1, 2, 3]]
    assert equivalent(MATH, forms[0], f"{numerator + 1}/{denominator}") is False


@settings(max_examples=200)
@given(st.text(alphabet="0123456789+-*/^(){}\\.,%xab _=<>$&\x00é", max_size=60))
def test_the_cheap_rules_never_fail(text: str) -> None:
    from podium.grading.exact import compare_exactly, key_of

    assert compare_exactly(text, text) is True
    compare_exactly("1/2", text)
    key_of(text)


HOSTILE = [
    "9**9**9",
    "9^{9^{9^9}}",
    "(" * 5_000,
    "{" * 10_000,
    r"\frac{" * 500,
    "1+" * 50_000 + "1",
    "x" * 10_000_000,
    "9" * 5_000,
    "1e999999999",
    "\x00",
    "((((9!)!)!)!)",
    r"\sum_{k=1}^{10^{9}} \frac{1}{k^2}",
    "-" * 3_000 + "1",
    "2^" * 3_000 + "1",
    "__import__('os').system('true')",
]


@pytest.mark.parametrize("answer", HOSTILE, ids=lambda answer: answer[:12].encode("unicode_escape").decode())
def test_hostile_answers_end_and_are_never_correct(answer: str) -> None:
    began = time.monotonic()
    assert grade(problem("1/2"), answer) in (Verdict.WRONG, Verdict.UNDECIDED)
    assert grade(problem("5", "integer"), answer) is Verdict.WRONG
    assert time.monotonic() - began < 60  # a hang, not a speed: the deadline is 3 s and starting a worker takes some


def test_integer_verifier_and_modulo() -> None:
    assert grade(problem("73", "integer"), "073") is Verdict.CORRECT
    assert grade(problem("73", "integer"), "73.0") is Verdict.CORRECT
    assert grade(problem("73", "integer"), "73.5") is Verdict.WRONG
    assert grade(problem("24", "integer", modulo=1000), "1024") is Verdict.CORRECT
    assert classes(problem("24", "integer", modulo=1000), ["1024", "24", "25", "x"]) == [[0, 1], [2], [3]]
    with pytest.raises(InputError, match="no integer"):
        grade(problem("x", "integer"), "1")


def test_no_answer_no_gold_unknown_verifier() -> None:
    assert grade(MATH, None) is Verdict.NO_ANSWER
    assert grade(MATH, "  ") is Verdict.NO_ANSWER
    assert grade(problem(None), "3") is Verdict.UNDECIDED
    with pytest.raises(InputError, match="did you mean 'math'"):
        grade(problem("1", "maths"), "1")


def test_classes_join_equal_answers_and_keep_order() -> None:
    answers = ["0.5", "x", r"\frac{1}{2}", "2", "1/2", r"\frac{\sqrt{2}}{2}", r"\frac{1}{\sqrt{2}}"]
    assert classes(MATH, answers) == [[0, 2, 4], [1], [3], [5, 6]]
    assert classes(MATH, []) == []


def test_classes_do_not_look_at_the_gold_answer() -> None:
    (task,) = load_problems("gym:countdown", size=1, options={"min_numbers": 3, "max_numbers": 3})
    assert classes(task, ["(1+2)*3", "3*(2+1)", "9", "4+5"]) == [[0, 1], [2], [3]]
    assert equivalent(task, "7", "8") is False


def test_gym_scorers_decide_from_the_stored_entry() -> None:
    puzzle = load_problems("gym:puzzle24", size=1, seed=2)[0]
    assert puzzle.answer
    assert grade(puzzle, puzzle.answer) is Verdict.CORRECT
    assert grade(puzzle, "24 * 1 + 0 * 1") is Verdict.WRONG
    fraction = load_problems("gym:fraction_simplification", size=1, options={"styles": ["latex_frac"]})[0]
    meta = fraction.meta["metadata"]
    plain = f"{meta['simplified_numerator']}/{meta['simplified_denominator']}"
    assert grade(fraction, plain) is Verdict.CORRECT
    assert grade(fraction, f"{meta['numerator']}/{meta['denominator']}") is Verdict.WRONG
    total = load_problems("gym:chain_sum", size=1)[0]
    assert total.answer
    assert grade(total, total.answer) is Verdict.CORRECT
    assert grade(total, total.answer + "0") is Verdict.WRONG
    with pytest.raises(InputError, match="not in meta"):
        grade(Problem(id="g", text="?", answer="1", verifier="gym:puzzle24"), "1")


def test_scorers_that_evaluate_run_no_code(tmp_path: Path) -> None:
    marker = tmp_path / "ran"
    attacks = [
        f"open({str(marker)!r}, 'w')",
        f"__import__('os').system('touch {marker}')",
        f"().__class__.__base__.__subclasses__() or open({str(marker)!r},'w')",
        f"[open({str(marker)!r}, 'w')]",
        "exit()",
    ]
    for name in sorted(EVALUATING_TASKS):
        task = load_problems(f"gym:{name}", size=1)[0]
        for attack in attacks:
            assert grade(task, attack) is Verdict.WRONG
            assert not harmless(attack)
    assert not marker.exists()


def test_every_scorer_that_evaluates_is_known() -> None:
    """A new reasoning-gym release may add one: this finds it."""
    import inspect
    import re

    from reasoning_gym.factory import DATASETS

    found = {
        name
        for name, (dataset, _) in DATASETS.items()
        if re.search(
            r"(?<!literal_)\beval\((?!entry)|parse_expr\(answer|sympify\(answer",
            inspect.getsource(dataset.score_answer),
        )
    }
    assert found <= EVALUATING_TASKS


def test_a_worker_that_hangs_is_killed_and_replaced() -> None:
    own = Pool("math")
    try:
        began = time.monotonic()
        # a power whose evaluation stays inside one C call, deaf to signals
        assert own.ask({"gold": "((10^{10})^{9})^{9^{9}}", "answer": "x+1"}, 0.5).status in ("late", "failed")
        assert own.ask({"gold": r"\frac{x}{2}", "answer": r"\frac{2x}{4}"}, 30.0).value is True
        assert time.monotonic() - began < 200
    finally:
        own.close()


def test_threads_share_a_worker() -> None:
    results: list[object] = []

    def ask() -> None:
        results.append(pool("math").ask({"gold": "x+1", "answer": "1+x"}, 30.0).value)

    threads = [threading.Thread(target=ask) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert results == [True] * 4
