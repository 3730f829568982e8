"""Two exams side by side: paired by problem, with everything that must be known beside a score."""

import random

import pytest
from scipy import stats

from podium.errors import InputError
from podium.records import Attempt, Event, ExamResult, Maker, Problem, Usage, Verdict
from podium.solve import ballots, majority
from podium.solve.comparing import answer_seconds, answer_tokens, compare_exams, levels


def sat(number, answers, *, gold="1", text="", limit=100, tokens=10, truncated=False):
    """One problem sat with these answers; attempt i knew its answer after (i + 1) * tokens tokens and i + 1 seconds."""
    problem = Problem(id=f"p{number}", text=text or f"Problem {number}?", answer=gold)
    verdict = {None: Verdict.NO_ANSWER, gold: Verdict.CORRECT, "?": Verdict.UNDECIDED}
    attempts = tuple(
        Attempt(
            id=f"{problem.id}#{index}",
            problem_id=problem.id,
            style="cot",
            prompt=(),
            parts=(),
            answer=answer,
            verdict=verdict.get(answer, Verdict.WRONG),
            maker=Maker(model="m", sampling={"max_tokens": limit}),
            usage=Usage(completion_tokens=(index + 1) * tokens + 5),
            index=index,
            stop_reason="length" if truncated else "eos",
            events=(
                Event(time=0.0, kind="start"),
                *(
                    [Event(time=index + 1, kind="answer", tokens=(index + 1) * tokens, answer=answer)]
                    if answer is not None
                    else []
                ),
            ),
        )
        for index, answer in enumerate(answers)
    )
    vote = majority(problem, ballots(attempts), by_text)
    return ExamResult(
        problem=problem,
        attempts=attempts,
        votes=vote.classes,
        answer=vote.answer,
        verdict=verdict.get(vote.answer, Verdict.WRONG),
        tie=vote.tie,
        used_seconds=2.0,
    )


def by_text(problem, texts):
    return [[i for i, text in enumerate(texts) if text == value] for value in dict.fromkeys(texts)]


def test_differences_are_of_the_same_problems():
    draw = random.Random(0)
    a = [sat(i, draw.choices(["1", "2"], [3, 1], k=4)) for i in range(30)]
    b = [sat(i, draw.choices(["1", "2", None], [1, 2, 1], k=4)) for i in range(5, 40)]
    found = compare_exams(a, list(reversed(b)))
    assert (found.shared, found.only_a, found.only_b, found.reworded) == (25, 5, 10, 0)
    rows = {row.measure: row for row in found.contrasts}
    assert list(rows) == ["score", "pass@1", "maj@4", "pass@4"]
    left = {r.problem.id: sum(x.verdict is Verdict.CORRECT for x in r.attempts) / 4 for r in a}
    right = {r.problem.id: sum(x.verdict is Verdict.CORRECT for x in r.attempts) / 4 for r in b}
    differences = [left[key] - right[key] for key in left if key in right]
    row = rows["pass@1"]
    assert row.difference.value == pytest.approx(sum(differences) / 25)
    assert row.difference.low < row.difference.value < row.difference.high
    assert row.a.value - row.b.value == pytest.approx(row.difference.value)
    assert row.p < 0.05
    assert row.p == pytest.approx(stats.wilcoxon(differences).pvalue, abs=0.02)
    assert found == compare_exams(a, list(reversed(b)))


def test_swapping_the_exams_swaps_the_signs():
    a = [sat(i, ["1", "1", "2"]) for i in range(6)] + [sat(9, ["2", "2", "2"])]
    b = [sat(i, ["1", "2", "2"]) for i in range(6)] + [sat(9, ["1", "1", "2"])]
    one, other = compare_exams(a, b), compare_exams(b, a)
    for x, y in zip(one.contrasts, other.contrasts, strict=True):
        assert x.difference.value == pytest.approx(-y.difference.value)
        assert (x.p, x.detectable) == pytest.approx((y.p, y.detectable))
    assert [flip.won for flip in one.flips] == ["a"] * 6 + ["b"]
    assert [flip.won for flip in other.flips] == ["b"] * 6 + ["a"]


def test_what_stands_beside_the_score():
    a = [sat(0, ["1", "?"], truncated=True), sat(1, [None, None])]
    b = [sat(0, ["1"], limit=200, gold="1"), sat(1, ["1"], limit=200)]
    found = compare_exams(a, b)
    side = found.sides[0]
    assert (side.attempts, side.token_limits, side.unanswered, side.ties) == (2, (100,), 1, 1)
    assert (side.truncated, side.undecided, side.seconds) == (0.5, 0.25, 4.0)
    said = " ".join(found.cautions)
    for word in ("attempts per problem differ", "token limits differ", "undecided", "ran into the token limit"):
        assert word in said


def test_another_text_or_gold_answer_under_one_id_is_noticed():
    a = [sat(0, ["1"]), sat(1, ["1"]), sat(2, ["1"])]
    b = [sat(0, ["1"], text="Another?"), sat(1, ["1"]), sat(2, ["1"], gold="5")]
    found = compare_exams(a, b)
    assert (found.shared, found.reworded) == (2, 1)
    assert any("another gold answer" in caution for caution in found.cautions)
    with pytest.raises(InputError, match="share 0 problems"):
        compare_exams(a, [sat(7, ["1"]), sat(8, ["1"])])


def test_scores_within_a_budget_are_those_of_what_was_known_by_then():
    results = [sat(0, ["2", "1", "1", "1"]), sat(1, ["1", "1", "2", "2"])]
    row = {level.budget: level for level in levels(results, answer_tokens, [5.0, 10.0, 20.0, 30.0, 40.0])}
    assert (row[5.0].pass_1, row[5.0].majority) == (0.0, 0.0)
    assert row[10.0].majority == 0.5  # "2" on the first, "1" on the second
    assert row[20.0].majority == pytest.approx((0.5 + 1) / 2)  # one each: a tie is split
    assert row[30.0].majority == 1.0
    assert row[40.0].majority == pytest.approx((1 + 0.5) / 2)
    assert row[40.0].pass_1 == pytest.approx((3 / 4 + 2 / 4) / 2)
    seconds = levels(results, answer_seconds, [1.0, 4.0])
    assert seconds[0].majority == row[10.0].majority
    assert seconds[1] == row[40.0].__class__(4.0, row[40.0].pass_1, row[40.0].majority)


def test_an_answer_is_known_from_the_moment_it_last_changed_to_what_it_stayed():
    (attempt,) = sat(0, ["1"]).attempts
    changes = [(1.0, 10, "1"), (2.0, 20, "2"), (3.0, 30, "1"), (4.0, 40, "1")]
    events = tuple(Event(time=t, kind="answer", tokens=n, answer=answer) for t, n, answer in changes)
    changed = attempt.model_copy(update={"events": events})
    assert (answer_seconds(changed), answer_tokens(changed)) == (3.0, 30.0)
    bare = attempt.model_copy(update={"events": ()})
    assert answer_tokens(bare) == bare.usage.completion_tokens
