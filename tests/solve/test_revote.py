"""Revoting stored exams: the recorded weight brings the recorded answer, others what brute force says."""

import random
from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from podium.answering import ScriptedCompleter
from podium.errors import InputError
from podium.records import Attempt, ExamResult, Maker, Problem, Usage, Verdict, VoteClass
from podium.solve import ExamConfig, sit_exam
from podium.solve.revote import revote, revote_all, split_score
from podium.storage import read_rows

PROBLEM = Problem(id="p", text="?", answer="1")


def stored(answers: list[str], scores: list[float], tokens: list[int]) -> ExamResult:
    attempts = tuple(
        Attempt(
            id=f"p#{i}",
            problem_id="p",
            style="cot",
            prompt=(),
            parts=(),
            answer=answer,
            verdict=Verdict.CORRECT if answer == "1" else Verdict.WRONG,
            maker=Maker(model="m"),
            usage=Usage(completion_tokens=tokens[i]),
            index=i,
            stop_reason="eos",
            signals={"verifier": scores[i]},
        )
        for i, answer in enumerate(answers)
    )
    votes = tuple(
        VoteClass(answer=value, count=len(where), weight=len(where) / len(answers), attempts=where)
        for value in dict.fromkeys(answers)
        if (where := tuple(i for i, answer in enumerate(answers) if answer == value))
    )
    return ExamResult(problem=PROBLEM, attempts=attempts, votes=votes, answer=answers[0], verdict=Verdict.WRONG)


@given(st.lists(st.tuples(st.sampled_from("123"), st.integers(1, 9), st.integers(1, 5)), min_size=1, max_size=9))
def test_every_weight_against_brute_force(rows):
    result = stored([a for a, _, _ in rows], [s / 10 for _, s, _ in rows], [t for _, _, t in rows])
    for by, weight in (
        ("uniform", lambda s, t: Fraction(1)),
        ("verifier", lambda s, t: Fraction(s, 10)),
        ("length", lambda s, t: Fraction(1, t)),
    ):
        sums: dict[str, Fraction] = {}
        for answer, score, tokens in rows:
            sums[answer] = sums.get(answer, Fraction(0)) + weight(score, tokens)
        best = {answer for answer, total in sums.items() if total == max(sums.values())}
        found = revote(result, by)
        assert found.answer in best
        assert found.tie == (len(best) > 1)
        assert found.verdict is (Verdict.CORRECT if found.answer == "1" else Verdict.WRONG)
        assert split_score(found) == pytest.approx(("1" in best) / len(best))
        assert sum(row.weight for row in found.votes) == pytest.approx(1.0)


async def test_the_recorded_weight_brings_the_recorded_exam(tmp_path):
    def script(prompt, sampling):
        draw = random.Random(sampling.seed)
        for _ in range(draw.randint(1, 9)):
            yield "so "
        yield f"\\boxed{{{draw.choice(['1/2', '0.5', '2', '3'])}}}"

    problems = [Problem(id=f"p{i}", text=f"{i}?", answer="1/2") for i in range(8)]
    for by in ("uniform", "length"):
        config = ExamConfig(attempts=7, vote=by)
        await sit_exam(problems, ScriptedCompleter("s", script), None, config, tmp_path / by)
        results = read_rows(tmp_path / by / "results.jsonl", ExamResult)
        again = next(each for each in revote_all(results) if each.vote == by)
        assert list(again.results) == results
        assert (again.changed, again.difference.value) == (0, 0.0)
    one, other = (read_rows(tmp_path / by / "results.jsonl", ExamResult) for by in ("uniform", "length"))
    # what the exam would have been
    anew = [revote(result, "length") for result in one]
    assert [(r.answer, r.verdict, r.votes, r.tie) for r in anew] == [
        (r.answer, r.verdict, r.votes, r.tie) for r in other
    ]


def test_a_problem_without_votes_keeps_its_answer_and_a_weight_must_exist():
    empty = stored(["2"], [0.5], [1]).model_copy(update={"votes": (), "answer": "0"})
    assert revote(empty, "length").answer == "0"
    with pytest.raises(InputError, match="entropy"):
        revote(empty, "entropi")
