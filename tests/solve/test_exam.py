"""Exams sat by scripts: real completions, real grading, real folders; time limits only as order, never as speed."""

import asyncio
import json
import os
import random
import signal
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest
from pydantic import ValidationError

from podium.answering.scripted import ScriptedCompleter
from podium.errors import CompleterError, InputError, SandboxUnavailable, StorageError
from podium.records import Attempt, ExamResult, Problem, Verdict
from podium.runlog import RunLog
from podium.sandbox import Sandbox
from podium.solve import ExamConfig, ExamSummary, Ledger, Pool, sit_exam
from podium.solve.sitting import attempt_seed
from podium.storage import read_rows


def sums(n: int) -> list[Problem]:
    return [Problem(id=f"sum-{i}", text=f"What is {i} + {i + 1}?", answer=str(2 * i + 1)) for i in range(n)]


def numbers(prompt) -> tuple[int, int]:
    words = prompt[-1].content.split()
    return int(words[2]), int(words[4].rstrip("?"))


def adder(prompt, sampling):
    """Right about two times in three, by its seed."""
    a, b = numbers(prompt)
    yield f"I add {a} and {b}. "
    yield f"\\boxed{{{a + b + (random.Random(sampling.seed).random() < 0.33)}}}"


def right(prompt, sampling):
    a, b = numbers(prompt)
    yield f"\\boxed{{{a + b}}}"


def endless(prompt, sampling):
    """Boxes the right answer and then never comes to an end."""
    a, b = numbers(prompt)
    yield f"Surely \\boxed{{{a + b}}}, but let me check. "
    while True:
        yield "Wait. "


def never(prompt, sampling):
    while True:
        yield "Hmm. "


NO_LIMIT = {"max_tokens": 10**9}


async def test_a_whole_exam(tmp_path):
    seen = []
    config = ExamConfig(attempts=6, seed=1)
    with RunLog(tmp_path) as runlog:
        summary = await sit_exam(
            sums(20),
            ScriptedCompleter("adder", adder),
            None,
            config,
            tmp_path / "exam",
            runlog=runlog,
            progress=lambda result, done, total: seen.append((result.problem.id, done, total)),
        )
    results = read_rows(tmp_path / "exam" / "results.jsonl", ExamResult)
    attempts = read_rows(tmp_path / "exam" / "attempts.jsonl", Attempt)
    assert seen == [(f"sum-{i}", i + 1, 20) for i in range(20)]
    assert (len(results), len(attempts)) == (20, 120)
    assert ExamSummary.model_validate_json((tmp_path / "exam" / "summary.json").read_text()) == summary
    share = sum(a.verdict is Verdict.CORRECT for a in attempts) / len(attempts)
    assert summary.scores.pass_1.value == pytest.approx(share)
    assert 0.4 < share < 0.9
    assert summary.scores.majority_n.value > share  # voting helps where most attempts are right
    assert summary.scores.pass_n.value >= summary.scores.majority_n.value
    for result in results:
        assert result.stop_rule == "all"
        assert result.votes[0].answer == result.answer
        assert sum(row.count for row in result.votes) == 6
    lines = [json.loads(line.split(" ", 1)[1]) for line in (tmp_path / "run.log").read_text().splitlines()]
    assert [line["key"] for line in lines] == ["eval_start", *["problem"] * 20, "eval_accuracy", "eval_stop"]
    assert lines[-2]["value"] == summary.scores.score.value


async def test_attempts_do_not_depend_on_order_number_or_neighbours(tmp_path):
    def texts(folder):
        return {(a.problem_id, a.index): a.text for a in read_rows(folder / "attempts.jsonl", Attempt)}

    completer = ScriptedCompleter("adder", adder)
    problems = sums(8)
    await sit_exam(problems, completer, None, ExamConfig(attempts=3), tmp_path / "a")
    await sit_exam(problems[::-2], completer, None, ExamConfig(attempts=5, concurrency=3), tmp_path / "b")
    one, other = texts(tmp_path / "a"), texts(tmp_path / "b")
    shared = one.keys() & other.keys()
    assert len(shared) == 12
    assert all(one[key] == other[key] for key in shared)


def test_seeds_differ_by_each_of_their_parts():
    seeds = {attempt_seed(e, p, i) for e in (0, 1, 11) for p in ("a", "1a", "b") for i in range(50)}
    assert len(seeds) == 450
    assert all(0 <= seed < 2**31 for seed in seeds)


async def test_agreement_ends_a_problem_early_and_cancels_the_rest(tmp_path):
    def script(prompt, sampling):
        a, b = numbers(prompt)
        # Four of the eight attempts never end.
        if sampling.seed in slow:
            yield from never(prompt, sampling)
        yield f"\\boxed{{{a + b}}}"

    slow = {attempt_seed(0, "sum-3", index) for index in (0, 2, 4, 6)}
    config = ExamConfig(attempts=8, policy="first_k_agree:3", overrides=NO_LIMIT)
    summary = await sit_exam(sums(4)[3:], ScriptedCompleter("s", script), None, config, tmp_path)
    (result,) = read_rows(tmp_path / "results.jsonl", ExamResult)
    assert (result.stop_rule, result.answer, result.verdict) == ("first_k_agree:3", "7", Verdict.CORRECT)
    assert {a.index for a in result.attempts if a.stop_reason == "cancelled"} >= {0, 2, 4, 6}
    assert summary.scores.pass_1.value == 1.0  # what was cancelled is neither right nor wrong
    assert summary.scores.cancelled >= 4


async def test_at_the_deadline_what_was_boxed_is_the_answer(tmp_path):
    config = ExamConfig(attempts=3, budget_seconds=2.0, overrides=NO_LIMIT)
    summary = await sit_exam(sums(2), ScriptedCompleter("endless", endless), None, config, tmp_path)
    results = read_rows(tmp_path / "results.jsonl", ExamResult)
    assert [r.clock_hit for r in results] == [True] * 2
    assert {a.stop_reason for r in results for a in r.attempts} == {"clock"}
    assert summary.scores.score.value == 1.0
    assert summary.scores.clock_cut == 6
    for result in results:
        assert result.used_seconds >= result.granted_seconds
        for attempt in result.attempts:
            assert attempt.text.startswith("Surely")
            assert [event.kind for event in attempt.events][-1] == "end"


async def test_nothing_boxed_is_no_answer(tmp_path):
    config = ExamConfig(attempts=2, budget_seconds=0.2, overrides=NO_LIMIT)
    summary = await sit_exam(sums(1), ScriptedCompleter("never", never), None, config, tmp_path)
    (result,) = read_rows(tmp_path / "results.jsonl", ExamResult)
    assert (result.answer, result.verdict, result.votes) == (None, Verdict.NO_ANSWER, ())
    assert (summary.scores.answers_missing, summary.scores.no_answer) == (1, 2)


async def test_quick_problems_lend_their_time(tmp_path):
    def script(prompt, sampling):
        yield from (endless if numbers(prompt)[0] == 2 else right)(prompt, sampling)

    config = ExamConfig(attempts=1, budget_seconds=3.0, overrides=NO_LIMIT)
    await sit_exam(sums(3), ScriptedCompleter("s", script), None, config, tmp_path)
    results = read_rows(tmp_path / "results.jsonl", ExamResult)
    clock, ledger = Pool().scaled(3.0, 3), Ledger(3.0, 3)
    for result in results:
        assert result.granted_seconds == pytest.approx(clock.grant(ledger).seconds)
        ledger = ledger.settled(result.used_seconds)
    assert results[2].used_seconds >= results[2].granted_seconds > 1.0
    assert results[2].pool_drawn == pytest.approx(results[2].used_seconds - 1.0)
    assert sum(r.used_seconds for r in results) + results[-1].pool_after == pytest.approx(3.0)


async def test_a_broken_off_exam_goes_on_where_it_was(tmp_path):
    asked = []

    def script(prompt, sampling):
        asked.append(numbers(prompt)[0])
        yield from adder(prompt, sampling)

    problems, completer = sums(6), ScriptedCompleter("adder", script)
    config = ExamConfig(attempts=2, budget_seconds=600)
    await sit_exam(problems, completer, None, config, tmp_path / "whole")

    sitting: asyncio.Task[ExamSummary]

    def stop_after_two(result, done, total):
        if done == 2:
            sitting.cancel()

    sitting = asyncio.create_task(
        sit_exam(problems, completer, None, config, tmp_path / "broken", progress=stop_after_two)
    )
    with pytest.raises(asyncio.CancelledError):
        await sitting
    first = read_rows(tmp_path / "broken" / "results.jsonl", ExamResult)
    assert [r.problem.id for r in first] == ["sum-0", "sum-1"]
    assert not (tmp_path / "broken" / "summary.json").exists()
    with open(tmp_path / "broken" / "results.jsonl", "a") as file:
        file.write('{"problem": {"id": "sum-2", "te')  # what kill -9 in the middle of a line leaves

    asked.clear()
    summary = await sit_exam(problems, completer, None, config, tmp_path / "broken")
    assert summary.resumed == 2
    assert set(asked) == {2, 3, 4, 5}
    resumed = read_rows(tmp_path / "broken" / "results.jsonl", ExamResult)
    whole = read_rows(tmp_path / "whole" / "results.jsonl", ExamResult)
    assert [[a.text for a in r.attempts] for r in resumed] == [[a.text for a in r.attempts] for r in whole]
    assert [r.answer for r in resumed] == [r.answer for r in whole]
    pool = 0.0
    for result in resumed:
        pool += 100 - result.used_seconds
        assert result.pool_after == pytest.approx(pool)

    asked.clear()
    again = await sit_exam(problems, completer, None, config, tmp_path / "broken")
    assert (asked, again.resumed, again.scores) == ([], 6, summary.scores)


CHILD = """
import asyncio, sys
from tests_exam import adder, sums
from podium.answering.scripted import ScriptedCompleter
from podium.solve import ExamConfig, sit_exam

def slow(prompt, sampling):
    for _ in range(2000):
        yield ""
    yield from adder(prompt, sampling)

try:
    asyncio.run(sit_exam(
        sums(4000), ScriptedCompleter("adder", slow), None, ExamConfig(attempts=2), sys.argv[1],
        progress=lambda result, done, total: print(done, flush=True),
    ))
except KeyboardInterrupt:
    print("stopped")
"""


@pytest.mark.parametrize("sent", [signal.SIGKILL, signal.SIGINT])
def test_a_killed_exam_loses_only_the_problem_in_flight(tmp_path, sent):
    (tmp_path / "child.py").write_text(CHILD)
    (tmp_path / "tests_exam.py").write_text(Path(__file__).read_text())
    child = subprocess.Popen(
        [sys.executable, str(tmp_path / "child.py"), str(tmp_path / "exam")],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert child.stdout is not None
    for _ in range(5):
        last = child.stdout.readline()
    child.send_signal(sent)
    rest, errors = child.communicate(timeout=60)
    reported = [int(line) for line in [last, *rest.split()] if line.strip().isdecimal()]
    kept = read_rows_of_torn_journal(tmp_path / "exam" / "results.jsonl")
    assert len(kept) in (reported[-1], reported[-1] + 1)
    assert len(kept) < 4000
    assert not (tmp_path / "exam" / "summary.json").exists()
    if sent == signal.SIGINT:
        assert "stopped" in rest
        assert "Traceback" not in errors


def read_rows_of_torn_journal(path: Path) -> list[ExamResult]:
    lines = path.read_bytes().split(b"\n")[:-1]
    return [ExamResult.model_validate_json(line) for line in lines]


async def test_another_exam_in_the_same_folder_is_refused(tmp_path):
    completer = ScriptedCompleter("right", right)
    await sit_exam(sums(2), completer, None, ExamConfig(attempts=1), tmp_path)
    before = (tmp_path / "results.jsonl").read_bytes()
    for problems, name, config, what in [
        (sums(3), "right", ExamConfig(attempts=1), "the problems were 2, are 3 now"),
        (sums(2)[::-1], "right", ExamConfig(attempts=1), "2 as before, but .* in another order"),
        (sums(2), "left", ExamConfig(attempts=1), "model was right, is left now"),
        (sums(2), "right", ExamConfig(attempts=2), "attempts was 1, is 2 now"),
        (sums(2), "right", ExamConfig(attempts=1, seed=4), "seed was 0, is 4 now"),
        (sums(2), "right", ExamConfig(attempts=1, fallback="0"), "fallback was not set, is 0 now"),
        (sums(2), "right", ExamConfig(attempts=1, budget_seconds=90.0), "budget_seconds was not set, is 90 now"),
        (sums(2), "right", ExamConfig(attempts=1, extract=("final", "number")), "extract was not set, is final number"),
        (sums(2), "right", ExamConfig(attempts=1, overrides={"max_tokens": 9}), "max_tokens was not set, is 9 now"),
        (sums(2), "right", ExamConfig(attempts=1, overrides={"prompt": "boxed"}), "prompt was not set, is boxed now"),
    ]:
        with pytest.raises(InputError, match=f"exam.json.*another exam: .*{what}"):
            await sit_exam(problems, ScriptedCompleter(name, right), None, config, tmp_path)
    assert (tmp_path / "results.jsonl").read_bytes() == before


async def test_an_exam_of_which_nothing_was_finished_binds_nobody(tmp_path):
    def gone(prompt, sampling):
        raise OSError("connection refused")
        yield

    with pytest.raises(CompleterError):
        await sit_exam(sums(2), ScriptedCompleter("gone", gone), None, ExamConfig(attempts=1), tmp_path)
    summary = await sit_exam(sums(3), ScriptedCompleter("right", right), None, ExamConfig(attempts=2), tmp_path)
    assert summary.scores.correct == 3
    assert json.loads((tmp_path / "exam.json").read_text())["model"] == "right"


async def test_two_exams_at_once_in_one_folder_are_one_too_many(tmp_path):
    """Another task of this process is refused as another process is; what is not there yet is held as well."""
    completer, config = ScriptedCompleter("right", right), ExamConfig(attempts=2)
    done = await asyncio.gather(
        *(sit_exam(sums(9), completer, None, config, tmp_path / name) for name in ("a", "a/../a", "b")),
        return_exceptions=True,
    )
    assert [type(each) for each in done] == [ExamSummary, StorageError, ExamSummary]
    assert f"process {os.getpid()} is working here" in str(done[1])
    assert len(read_rows(tmp_path / "a" / "results.jsonl", ExamResult)) == 9
    again = await sit_exam(sums(9), completer, None, config, tmp_path / "a")  # nothing is held any more
    assert again.resumed == 9


async def test_an_exam_in_another_process_is_told_by_its_number(tmp_path):
    code = (
        "import sys, time\nfrom pathlib import Path\nfrom podium.lock import locked_folder\n"
        "with locked_folder(Path(sys.argv[1]), 'wait'):\n    print('held', flush=True)\n    time.sleep(60)\n"
    )
    with subprocess.Popen([sys.executable, "-c", code, str(tmp_path / "e")], stdout=subprocess.PIPE) as holder:
        assert holder.stdout is not None
        holder.stdout.readline()
        with pytest.raises(StorageError, match=f"process {holder.pid} is working here"):
            await sit_exam(sums(2), ScriptedCompleter("right", right), None, ExamConfig(attempts=1), tmp_path / "e")
        assert not (tmp_path / "e").exists()
        holder.kill()
        holder.wait()
    await sit_exam(sums(2), ScriptedCompleter("right", right), None, ExamConfig(attempts=1), tmp_path / "e")


async def test_an_engine_that_is_gone_stops_the_exam_and_keeps_what_is_finished(tmp_path):
    def script(prompt, sampling):
        if numbers(prompt)[0] >= 3:
            raise OSError("connection refused")
        yield from right(prompt, sampling)

    config = ExamConfig(attempts=2)
    with pytest.raises(CompleterError, match="connection refused"):
        await sit_exam(sums(5), ScriptedCompleter("s", script), None, config, tmp_path)
    assert len(read_rows(tmp_path / "results.jsonl", ExamResult)) == 3
    summary = await sit_exam(sums(5), ScriptedCompleter("s", right), None, config, tmp_path)
    assert (summary.resumed, summary.scores.score.value) == (3, 1.0)


async def test_one_failed_attempt_is_counted_and_does_not_stop_the_exam(tmp_path):
    failing = attempt_seed(0, "sum-1", 1)

    def script(prompt, sampling):
        if sampling.seed == failing:
            raise OSError("request lost")
        yield from right(prompt, sampling)

    summary = await sit_exam(sums(3), ScriptedCompleter("s", script), None, ExamConfig(attempts=3), tmp_path)
    assert (summary.scores.errors, summary.scores.score.value) == (1, 1.0)


async def test_an_exam_with_code_runs_it_in_the_sandbox(tmp_path):
    def script(prompt, sampling):
        a, b = numbers(prompt)
        output = yield f"<tool_call>\nprint({a} + {b})\n</tool_call>"
        yield f"\\boxed{{{output.split()[1]}}}"

    try:
        async with Sandbox(warm=()) as sandbox:
            completer = ScriptedCompleter("coder", script)
            with_code = await sit_exam(sums(5), completer, sandbox, ExamConfig(attempts=3), tmp_path / "code")
            no_calls = ExamConfig(attempts=3, overrides={"code_calls": 0})
            with pytest.raises(CompleterError):  # the script went on without the output it was waiting for
                await sit_exam(sums(5), completer, sandbox, no_calls, tmp_path / "no-code")
            tier = sandbox.tier
    except SandboxUnavailable as error:
        pytest.skip(str(error))
    assert with_code.code
    assert with_code.tiers == (tier,)
    assert (with_code.scores.score.value, with_code.scores.mean_code_calls) == (1.0, 1.0)


@pytest.mark.parametrize(
    ("problems", "config", "message"),
    [
        ([], {}, "no problems"),
        (sums(2) + sums(1), {}, "'sum-0' occurs twice"),
        (sums(2), {"policy": "paper", "attempts": 2}, "can never come"),
        (sums(2), {"profile": "kagle"}, "did you mean 'kaggle'"),
        (sums(2), {"overrides": {"max_token": 5}}, "did you mean 'max_tokens'"),
        (sums(2), {"overrides": {"max_tokens": "many"}}, "'max_tokens'"),
        (sums(2), {"overrides": {"max_tokens": 0}}, "at least 1"),
        (sums(2), {"overrides": {"prompt": "polite"}}, "no prompt style"),
        (sums(2), {"budget_seconds": 5, "concurrency": 2}, "under a clock"),
    ],
)
async def test_an_exam_that_cannot_be_sat_leaves_nothing(tmp_path, problems, config, message):
    with pytest.raises(InputError) as caught:
        await sit_exam(problems, ScriptedCompleter("right", right), None, ExamConfig(**config), tmp_path / "exam")
    assert message in str(caught.value)
    assert not (tmp_path / "exam").exists()


@pytest.mark.parametrize("budget", [0, -1, float("inf"), "soon"])
def test_a_budget_must_be_a_budget(budget):
    with pytest.raises(ValidationError):
        ExamConfig(budget_seconds=budget)


@pytest.mark.parametrize("name", ["gsm8k", "comp_math_24_25"])
async def test_an_exam_in_a_published_form_with_a_trivial_model(tmp_path, name):
    from podium.problems import load_problems
    from tests.problems.written_exams import write_exams  # this file is run as a script, too

    write_exams(tmp_path)
    problems = load_problems(f"exam:{name}", data=tmp_path)
    gold = {problem.text: problem.answer for problem in problems}

    def guesser(prompt, sampling):
        yield textwrap.dedent("""
            I guess.
            \\boxed{4}""")

    def cheat(prompt, sampling):
        yield f"\\boxed{{{gold[prompt[-1].content]}}}"

    assert all(problem.answer for problem in problems)
    honest = await sit_exam(
        problems, ScriptedCompleter("guesser", guesser), None, ExamConfig(attempts=2), tmp_path / "honest"
    )
    assert honest.scores.problems == len(problems)
    assert honest.scores.score.value < 0.06
    assert honest.scores.answers_undecided == 0
    cheated = await sit_exam(
        problems, ScriptedCompleter("cheat", cheat), None, ExamConfig(attempts=1), tmp_path / "cheated"
    )
    assert cheated.scores.correct == len(problems)  # every gold answer is read and equals itself
