"""Choosing over a whole exam: scores against brute force, kills, and what is refused."""

import random
import re

import pytest

from podium.answering.scripted import ScriptedCompleter
from podium.errors import InputError
from podium.folders import ChoicesFolder
from podium.records import Attempt, ExamResult, Maker, Part, Problem, Usage, Verdict
from podium.solve.selecting import Choice, SelectConfig, choose_all
from podium.storage import read_rows


def exam(problems: int, attempts: int, seed: int = 0) -> list[ExamResult]:
    """Problems whose right answer is their number; attempts say it one time in three."""
    draw = random.Random(seed)
    made = []
    for number in range(problems):
        problem = Problem(id=f"p{number}", text=f"Say {number}.", answer=str(number))
        rows = []
        for index in range(attempts):
            answer = draw.choice([str(number), "100", str(200 + draw.randrange(2)), None])
            text = "I do not know." if answer is None else f"It is \\boxed{{{answer}}}."
            verdict = (
                Verdict.NO_ANSWER if answer is None else Verdict.CORRECT if answer == str(number) else Verdict.WRONG
            )
            rows.append(
                Attempt(
                    id=f"p{number}#{index}",
                    problem_id=problem.id,
                    style="cot",
                    prompt=(),
                    parts=(Part(role="model", text=text),),
                    answer=answer,
                    verdict=verdict,
                    maker=Maker(model="m"),
                    usage=Usage(completion_tokens=5),
                    index=index,
                    stop_reason="eos",
                )
            )
        made.append(ExamResult(problem=problem, attempts=tuple(rows), votes=(), answer=None, verdict=Verdict.NO_ANSWER))
    return made


def knower(prompt, sampling):
    """Picks a solution that says the number it was asked for, where there is one."""
    text = prompt[-1].content
    wanted = re.search(r"Say (\d+)", text)[1]  # type: ignore[index]
    said = re.findall(r"Solution (\d+):\nIt is \\boxed\{(\d+)\}", text)
    yield f"Judgment: {next((place for place, answer in said if answer == wanted), 0)}"


def brute_vote(attempts: list[Attempt], answer: str) -> float:
    counts: dict[str, int] = {}
    for attempt in attempts:
        if attempt.answer is not None:
            counts[attempt.answer] = counts.get(attempt.answer, 0) + 1
    leaders = [text for text, count in counts.items() if count == max(counts.values())]
    return sum(text == answer for text in leaders) / len(leaders) if leaders else 0.0


async def test_scores_are_those_of_brute_force_at_every_n(tmp_path):
    results = exam(20, 8)
    config = SelectConfig(n=(2, 4, 8), repeats=3)
    scores = await choose_all(results, ScriptedCompleter("knower", knower), config, tmp_path)
    assert [(score.n, score.problems, score.sets) for score in scores] == [(2, 20, 80), (4, 20, 40), (8, 20, 20)]
    for score in scores:
        votes, singles, passes = [], [], []
        for result in results:
            sets = [list(result.attempts[start : start + score.n]) for start in range(0, 8, score.n)]
            votes.append(sum(brute_vote(each, result.problem.answer) for each in sets) / len(sets))
            singles.append(sum(a.verdict is Verdict.CORRECT for a in result.attempts) / 8)
            passes.append(sum(any(a.verdict is Verdict.CORRECT for a in each) for each in sets) / len(sets))
        assert score.vote.value == pytest.approx(sum(votes) / 20)
        assert score.single.value == pytest.approx(sum(singles) / 20)
        assert score.passed.value == pytest.approx(sum(passes) / 20)
        assert score.select.value == pytest.approx(score.passed.value)  # who knows finds what there is
        assert score.vote.value <= score.both.value <= score.passed.value  # the picks only add to right answers
        assert score.gain == pytest.approx(score.select.value - score.vote.value)
        assert score.gain_low <= score.gain <= score.gain_high
    assert scores[-1].gain > 0
    assert scores[-1].p < 0.05


async def test_going_on_after_a_kill_asks_for_nothing_twice(tmp_path):
    results = exam(12, 4)
    asked: list[str] = []

    def counting(prompt, sampling):
        asked.append(prompt[-1].content)
        yield from knower(prompt, sampling)

    config = SelectConfig(n=(4,), repeats=2)
    whole = await choose_all(results, ScriptedCompleter("judge", counting), config, tmp_path / "whole")
    all_asked = len(asked)
    first = await choose_all(results, ScriptedCompleter("judge", counting), config, tmp_path / "killed")
    path = ChoicesFolder(tmp_path / "killed").choices
    lines = path.read_bytes().splitlines(keepends=True)
    path.write_bytes(b"".join(lines[:5]) + lines[5][:20])  # the sixth was being written
    left = sum(row.asked for row in read_rows(ChoicesFolder(tmp_path / "whole").choices, Choice)) - sum(
        row.asked for row in [Choice.model_validate_json(line) for line in lines[:5]]
    )
    asked.clear()
    again = await choose_all(results, ScriptedCompleter("judge", counting), config, tmp_path / "killed")
    assert whole == first == again
    assert len(asked) == left < all_asked
    assert len(read_rows(path, Choice)) == 12


async def test_a_set_without_a_pick_keeps_the_vote(tmp_path):
    results = exam(10, 6)

    def sometimes(prompt, sampling):
        if re.search(r"Say [0-4]\.", prompt[-1].content):
            yield "Hard to say."
        else:
            yield from knower(prompt, sampling)

    config = SelectConfig(repeats=2)
    (score,) = await choose_all(results, ScriptedCompleter("shy", sometimes), config, tmp_path)
    rows = {row.problem_id: row for row in read_rows(ChoicesFolder(tmp_path).choices, Choice)}
    assert 0 < score.invalid < score.asked
    for number in range(5):
        row = rows[f"p{number}"]
        assert (row.answer, row.score) == (row.vote, row.vote_score)
        assert not row.picks or row.asked == 0


async def test_a_prompt_that_would_be_too_long_shows_fewer(tmp_path):
    lengths = []

    def measured(prompt, sampling):
        lengths.append((len(prompt[-1].content), prompt[-1].content.count("\nSolution ")))
        yield "Judgment: 0"

    config = SelectConfig(repeats=1, characters=400)
    await choose_all(exam(10, 16), ScriptedCompleter("judge", measured), config, tmp_path)
    assert max(length for length, _ in lengths) <= 400
    assert all(2 <= shown < 12 for _, shown in lengths)


async def test_what_cannot_be_chosen_from_is_told(tmp_path):
    def mumbles(prompt, sampling):
        yield "Hard to say."

    judge = ScriptedCompleter("mumbler", mumbles)
    with pytest.raises(InputError, match="no results"):
        await choose_all([], judge, SelectConfig(), tmp_path / "a")
    with pytest.raises(InputError, match="among 8 attempts, but a problem of this exam has 4"):
        await choose_all(exam(3, 4), judge, SelectConfig(n=(2, 8)), tmp_path / "b")
    with pytest.raises(InputError, match="mumbler named no solution in"):
        await choose_all(exam(6, 4), judge, SelectConfig(), tmp_path / "c")
    with pytest.raises(InputError, match="another choice: seed was 0, is 1 now"):
        await choose_all(exam(6, 4), judge, SelectConfig(seed=1), tmp_path / "c")
    with pytest.raises(InputError, match="another choice: the problems are 6 as before, but with other texts"):
        await choose_all(exam(6, 4, seed=1), judge, SelectConfig(), tmp_path / "c")


async def test_a_number_given_twice_is_chosen_from_once(tmp_path):
    asked = 0

    def counting(prompt, sampling):
        nonlocal asked
        asked += 1
        yield from knower(prompt, sampling)

    once = await choose_all(exam(6, 4), ScriptedCompleter("k", knower), SelectConfig(n=(4,), repeats=2), tmp_path / "a")
    twice = SelectConfig(n=(4, 4), repeats=2)
    assert await choose_all(exam(6, 4), ScriptedCompleter("k", counting), twice, tmp_path / "b") == once
    assert asked == once[0].asked
