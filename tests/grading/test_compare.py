"""Comparisons: labelled pairs under every policy in both orders, hostile strings, threads, asyncio, forks, kills."""

import asyncio
import json
import os
import random
import re
import signal
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from podium.boxes import last_box
from podium.grading import Rules, Sameness, compare, compare_async, extract_answer, grade, make_rules
from podium.grading.pool import Pool, pool
from podium.grading.sizes import fit_for_algebra
from podium.problems.exams import load_exam
from podium.records import Problem, Verdict
from tests.problems.written_exams import write_exams

PAIRS = [json.loads(line) for line in (Path(__file__).parent / "data" / "pairs.jsonl").read_text().splitlines()]
ALGEBRA = [
    (r"\int_0^1 x^2\,dx", r"\frac13", True),
    (r"\sum_{k=1}^{10} k", "55", True),
    (r"\sum_{k=1}^{10^{9}} \frac{1}{k^2}", "1", False),
    (r"\int_0^1 e^{-x^2}\sin(x^{x})\,dx", "0", False),
]
PIECES = r"\frac{ \sqrt{ \boxed{ } ) ( [ ] + - * / = ^ _ & \\ \pm , ! | 9 10^ x y . 0 \sin \text{ \{ \} $ % or é"
HANGS = (r"\int_0^{30} e^{-x^2}\sin(x^x) dx", "5a")  # no closed form, and not compared as a number


@pytest.mark.parametrize("pair", PAIRS, ids=[f"{pair['gold']} | {pair['answer']}"[:60] for pair in PAIRS])
def test_labelled_pairs_in_both_orders(pair: dict[str, object]) -> None:
    rules = make_rules(pair.get("rules") or {})  # type: ignore[arg-type]
    for gold, answer in ((pair["gold"], pair["answer"]), (pair["answer"], pair["gold"])):
        found = compare(str(gold), str(answer), rules)
        assert found.sameness.decided is pair["equivalent"], found


def test_every_gold_answer_equals_itself_and_its_other_spellings(tmp_path: Path) -> None:
    """Of exams written in the forms of published ones; benchmarks/grading.py takes the published answers."""
    checked = 0
    for name in write_exams(tmp_path):
        for task in load_exam(name, tmp_path):
            gold = task.answer
            assert gold is not None
            spellings = [gold, f" {gold} ", gold.rstrip(".") + ".", gold.replace("\\frac", "\\dfrac")]
            spellings.append(gold if "$" in gold else f"${gold}$")
            spellings.append(re.sub(r"(?<=[(,+=])", " ", gold) if not re.search(r"\d,\d{3}", gold) else gold)
            for text in spellings:
                assert grade(task, text) is Verdict.CORRECT, (name, gold, text)
                checked += 1
    assert checked > 500


def test_threads_and_asyncio_give_the_same_verdicts() -> None:
    expected = [same for _, _, same in ALGEBRA]

    def decide(number: int) -> list[bool | None]:
        # other rules each time, which change nothing here: what is compared is not found in the cache
        return [compare(gold, answer, Rules(high=number)).sameness.decided for gold, answer, _ in ALGEBRA]

    assert decide(1) == expected
    with ThreadPoolExecutor(6) as threads:  # on a busy machine some may be late, and none may be wrong
        for found in threads.map(decide, range(2, 8)):
            assert all(one in (None, other) for one, other in zip(found, expected, strict=True))

    async def many() -> list[bool | None]:
        found = await asyncio.gather(*(compare_async(gold, answer, Rules(low=1)) for gold, answer, _ in ALGEBRA))
        return [one.sameness.decided for one in found]

    assert all(one in (None, other) for one, other in zip(asyncio.run(many()), expected, strict=True))


def test_a_late_worker_is_killed_and_the_next_is_there_at_once() -> None:
    own = Pool("math", size=2)
    try:
        own.warm()
        late = own.ask({"gold": HANGS[0], "answer": HANGS[1]}, 0.3)
        assert late.status == "late"
        assert own.ask({"gold": r"\frac{x}{2}", "answer": r"\frac{2x}{4}"}, 30.0).value is True
    finally:
        own.close()


def test_a_crowd_that_hangs_is_late_together_and_not_one_after_the_other() -> None:
    own = Pool("math", size=2)
    try:
        own.warm()
        took: list[float] = []

        def ask(_: int) -> str:
            began = time.monotonic()
            status = own.ask({"gold": HANGS[0], "answer": HANGS[1]}, 2.0).status
            took.append(time.monotonic() - began)
            return status

        with ThreadPoolExecutor(64) as threads:
            assert set(threads.map(ask, range(64))) == {"late"}
        assert max(took) < 20.0  # one pair of workers for all of them in turn: 64 s
        assert own.ask({"gold": "x+1", "answer": "1+x"}, 60.0).value is True
    finally:
        own.close()


def test_a_request_that_hangs_gives_way_to_the_one_that_waits() -> None:
    own = Pool("math", size=1)
    try:
        own.warm()
        with ThreadPoolExecutor(2) as threads:
            hanging = threads.submit(own.ask, {"gold": HANGS[0], "answer": HANGS[1]}, 12.0)
            simple = threads.submit(own.ask, {"gold": "x+1", "answer": "1+x"}, 12.0)
            assert simple.result().value is True
            hanging.result()  # late, or answered by then: some machines get that far
        assert len(own._idle) == 1
    finally:
        own.close()


def test_a_timeout_is_not_remembered(monkeypatch: pytest.MonkeyPatch) -> None:
    gold, answer = r"\int_0^1 x^{11}\,dx", r"\frac{1}{12}"
    monkeypatch.setattr(sys.modules["podium.grading.compare"], "SECONDS", 0.0)
    assert compare(gold, answer).sameness is Sameness.TIMEOUT
    monkeypatch.setattr(sys.modules["podium.grading.compare"], "SECONDS", 60.0)
    assert compare(gold, answer).sameness is Sameness.EQUAL


def test_a_killed_nursery_is_replaced() -> None:
    own = Pool("math", size=1)
    try:
        assert own.ask({"gold": "x+1", "answer": "1+x"}, 30.0).value is True
        assert own._nursery is not None
        os.kill(own._nursery.pid, signal.SIGKILL)
        own._nursery.wait()
        replies = [own.ask({"gold": "x+1", "answer": "1+x"}, 30.0) for _ in range(2)]
        assert replies[-1].value is True
    finally:
        own.close()


def test_closing_ends_every_process() -> None:
    own = Pool("math", size=1)
    own.ask({"gold": "x+1", "answer": "1+x"}, 30.0)
    assert own._nursery is not None
    nursery, worker = own._nursery.pid, own._idle[0].pid
    own.close()
    gone = threading.Event()
    for _ in range(200):
        alive = [pid for pid in (nursery, worker) if Path(f"/proc/{pid}").exists()]
        if not alive:
            break
        gone.wait(0.05)
    assert not alive


def test_a_forked_child_grades_with_workers_of_its_own() -> None:
    assert compare(*ALGEBRA[0][:2]).sameness is Sameness.EQUAL
    parent = pool("math")._nursery
    child = os.fork()
    if child == 0:
        ok = compare(r"\int_0^1 x^3\,dx", "1/4").sameness is Sameness.EQUAL
        pool("math").close()
        os._exit(0 if ok else 1)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    assert parent is not None
    assert parent.poll() is None
    assert compare(r"\int_0^1 x^4\,dx", "1/5").sameness is Sameness.EQUAL


def test_sentences_and_wreckage_are_undecided_not_different() -> None:
    assert compare("5", "a handful").sameness is Sameness.PARSE
    assert compare(r"\frac{1}{2", "0.5").sameness is Sameness.PARSE
    assert compare("All primes $p$ with $p \\equiv 1 \\pmod 4$", "p=5").sameness is Sameness.PARSE


@pytest.mark.parametrize(
    ("text", "fit"),
    [
        (r"\sum_{k=1}^{10^{9}} \frac{1}{k^2}", True),
        (r"\int_0^1 e^{-x^2}\sin(x^{x}) dx", True),
        ("x^{x^{x^{x}}}", False),
        ("10^{10^{15}}", False),
        ("x^{x^2}", True),
        ("9!!!", False),
        ("(9!)!", False),
        (r"\binom{10^{9}}{10^{5}}", False),
        ("(x+y+z)^{100}", False),
        ("2^{100000}x", False),
        (r"\frac{1}{2", False),
        ("(1,2]", True),
        ("even or odd", False),
        ("\u4e2d", False),
        ("()", False),
    ],
)
def test_what_is_given_to_computer_algebra(text: str, fit: bool) -> None:
    assert fit_for_algebra(text) is fit


def test_hostile_strings_raise_nothing() -> None:
    """A small part of what benchmarks/grading.py does to 100,000 strings."""
    draw = random.Random(7)
    pieces = PIECES.split()
    every = make_rules({"find": ("box", "final", "letter", "number", "all")})
    for number in range(1_500):
        text = draw.choice(("", " ")).join(draw.choice(pieces) for _ in range(draw.randint(1, 25)))
        last_box(text)
        extract_answer(text, every)
        gold = draw.choice([str(pair["gold"]) for pair in PAIRS[:150]])
        assert isinstance(grade(Problem(id="i", text="?", answer="5", verifier="integer"), text), Verdict)
        if number % 5 == 0:
            assert isinstance(grade(Problem(id="m", text="?", answer=gold), text), Verdict)
