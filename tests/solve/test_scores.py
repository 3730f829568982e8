import itertools
import random

import pytest

from podium.records import Attempt, ExamResult, Maker, Problem, Usage, Verdict, VoteClass
from podium.solve import score_results, table
from podium.solve.scores import estimate, majority_of


def sat(answers, *, gold="1", reasons=None, cancelled=0, tokens=10):
    """A result whose attempts gave `answers`; attempts that were cancelled come after them."""
    problem = Problem(id=f"p{random.random()}", text="?", answer=gold)
    reasons = list(reasons or ["eos"] * len(answers)) + ["cancelled"] * cancelled
    verdicts = {None: Verdict.NO_ANSWER, gold: Verdict.CORRECT, "?": Verdict.UNDECIDED}
    attempts = tuple(
        Attempt(
            id=f"{problem.id}#{index}",
            problem_id=problem.id,
            style="tir",
            prompt=(),
            parts=(),
            answer=answer,
            verdict=verdicts.get(answer, Verdict.WRONG),
            maker=Maker(model="m"),
            usage=Usage(completion_tokens=tokens, code_calls=index),
            index=index,
            stop_reason=reasons[index],
        )
        for index, answer in enumerate([*answers, *[None] * cancelled])
    )
    votes = tuple(
        sorted(
            (
                VoteClass(
                    answer=value,
                    count=answers.count(value),
                    weight=1.0,
                    attempts=tuple(i for i, a in enumerate(answers) if a == value),
                )
                for value in dict.fromkeys(a for a in answers if a is not None)
            ),
            key=lambda row: -row.count,
        )
    )
    answer = votes[0].answer if votes else None
    return ExamResult(
        problem=problem, attempts=attempts, votes=votes, answer=answer, verdict=verdicts.get(answer, Verdict.WRONG)
    )


@pytest.mark.parametrize("k", [1, 2, 3, 5, 7])
def test_majority_at_k_equals_counting_all_subsets(k):
    answers = ["1", "1", "2", "2", "2", None, "3"]
    exact = []
    for subset in itertools.combinations(answers, k):
        counts = {a: subset.count(a) for a in subset if a is not None}
        leaders = [a for a, c in counts.items() if c == max(counts.values())]
        exact.append((("1" in leaders) / len(leaders)) if leaders else 0.0)
    got = majority_of(sat(answers), k)
    assert got == pytest.approx(sum(exact) / len(exact), abs=1e-12)


def test_a_tie_is_split_in_maj_but_not_in_the_score():
    scores = score_results([sat(["1", "2"])], n=2)
    assert scores.majority_n.value == 0.5
    assert scores.score.value == 1.0


def test_the_counts():
    results = [
        sat(["1", "1", "2"], cancelled=1),
        sat([None, "?", None], reasons=["length", "eos", "clock"]),
    ]
    scores = score_results(results, n=4)
    assert (scores.problems, scores.attempts, scores.cancelled) == (2, 6, 1)
    assert (scores.no_answer, scores.undecided, scores.truncated, scores.clock_cut) == (2, 1, 1, 1)
    assert (scores.correct, scores.answers_undecided) == (1, 1)
    assert scores.pass_1.value == pytest.approx((2 / 3 + 0) / 2)
    assert scores.pass_n.value == 0.5
    assert scores.mean_code_calls == pytest.approx(1.0)
    assert scores.total_tokens == 70


def test_at_k_starts_at_pass_1_and_ends_at_n():
    results = [sat([random.Random(i * 7 + j).choice(["1", "2", None]) for j in range(6)]) for i in range(9)]
    scores = score_results(results, n=6)
    assert list(scores.pass_at) == list(scores.majority_at) == [1, 2, 4, 6]
    assert scores.pass_at[1] == scores.pass_1
    assert scores.pass_at[6] == scores.pass_n
    assert scores.majority_at[1].value == pytest.approx(scores.pass_1.value)
    values = [row.value for row in scores.pass_at.values()]
    assert values == sorted(values)


def test_intervals_hold_the_true_rate_about_as_often_as_they_say():
    draw = random.Random(0)
    held = 0
    for trial in range(200):
        row = estimate([float(draw.random() < 0.6) for _ in range(50)], seed=trial)
        held += row.low <= 0.6 <= row.high
    assert 175 <= held <= 199


def test_a_perfect_or_empty_score_is_not_certain():
    assert estimate([0.0] * 50).high == pytest.approx(0.0711, abs=1e-3)  # Clopper-Pearson, 0 of 50
    assert estimate([1.0] * 50).low == pytest.approx(1 - 0.0711, abs=1e-3)


def test_the_same_results_give_the_same_scores():
    results = [sat(["1", "2", "1", None]), sat(["2", "2", "1", "1"])]
    assert score_results(results, 4, seed=3) == score_results(results, 4, seed=3)


def test_table_has_a_row_per_model():
    rows = table({"CoT": score_results([sat(["2", "2"])], 2), "merged": score_results([sat(["1", "1"])], 2)})
    assert [row["model"] for row in rows] == ["CoT", "merged"]
    assert rows[1]["maj@2"].startswith("100.0 [")
    assert rows[0]["pass@1"].startswith("0.0 [0.0, ")
