import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from podium.errors import InputError
from podium.records import Attempt, Maker, Problem, Usage
from podium.solve import ballots, majority, weigh

PROBLEM = Problem(id="p", text="What is 1/2?", answer="1/2")


def test_equivalent_wordings_are_one_class():
    vote = majority(PROBLEM, {0: "3", 1: "0.5", 2: "\\frac{1}{2}", 3: "3", 4: "1/2"})
    assert [(row.answer, row.count, row.attempts) for row in vote.classes] == [("0.5", 3, (1, 2, 4)), ("3", 2, (0, 3))]
    assert (vote.answer, vote.tie) == ("0.5", False)


def test_a_tie_goes_to_the_class_of_the_first_ballot_and_is_reported():
    vote = majority(PROBLEM, {7: "4", 2: "5", 0: "5", 1: "4", 3: "6"})
    assert (vote.answer, vote.tie) == ("4", True)
    assert [row.answer for row in vote.leaders] == ["4", "5"]


def test_ballots_are_ordered_by_length_whoever_was_done_first():
    attempts = [
        Attempt(
            id=f"p#{index}",
            problem_id="p",
            style="tir",
            prompt=(),
            parts=(),
            answer=answer,
            maker=Maker(model="m"),
            usage=Usage(completion_tokens=tokens),
            index=index,
            stop_reason="eos",
        )
        for index, answer, tokens in ((3, "5", 20), (0, "4", 30), (2, None, 1), (1, "4", 20))
    ]
    expected = [(1, "4"), (3, "5"), (0, "4")]
    assert list(ballots(attempts).items()) == expected
    assert list(ballots(attempts[::-1]).items()) == expected


def test_nobody_answered():
    vote = majority(PROBLEM, {})
    assert (vote.answer, vote.tie, vote.classes) == (None, False, ())


@given(st.lists(st.sampled_from(["1", "2", "3", "4"]), min_size=1, max_size=20))
def test_every_answer_votes_once_and_the_winner_has_the_most(answers):
    def by_string(problem, texts):
        return [[i for i, text in enumerate(texts) if text == value] for value in dict.fromkeys(texts)]

    vote = majority(PROBLEM, dict(enumerate(answers)), by_string)
    assert sorted(index for row in vote.classes for index in row.attempts) == list(range(len(answers)))
    assert abs(sum(row.weight for row in vote.classes) - 1) < 1e-9
    counts = {value: answers.count(value) for value in answers}
    assert counts[vote.answer] == max(counts.values())
    assert vote.tie == (list(counts.values()).count(max(counts.values())) > 1)


def voter(index, answer, *, tokens=10, **signals):
    return Attempt(
        id=f"p#{index}",
        problem_id="p",
        style="cot",
        prompt=(),
        parts=(),
        answer=answer,
        maker=Maker(model="m"),
        usage=Usage(completion_tokens=tokens),
        index=index,
        stop_reason="eos",
        signals=signals,
    )


def weighted(attempts, by):
    return majority(PROBLEM, ballots(attempts), weights=weigh(attempts, by))


def test_a_sure_attempt_outvotes_two_unsure_ones():
    attempts = [
        voter(0, "4", tail_entropy=1.0, mean_logprob=-1.0, verifier=0.1, tokens=90),
        voter(1, "4", tail_entropy=1.0, mean_logprob=-1.0, verifier=0.2, tokens=90),
        voter(2, "5", tail_entropy=0.1, mean_logprob=-0.1, verifier=0.9, tokens=20),
    ]
    assert weighted(attempts, "uniform").answer == "4"
    for by in ("length", "logprob", "entropy", "verifier"):
        vote = weighted(attempts, by)
        assert (vote.answer, vote.tie) == ("5", False)
        assert sum(row.weight for row in vote.classes) == pytest.approx(1.0)
        assert [row.count for row in vote.classes] == [1, 2]


def test_weights_are_what_they_are_called():
    attempts = [voter(0, "1", mean_logprob=math.log(0.5), tail_entropy=0.5, tokens=10)]
    attempts += [voter(1, "2", mean_logprob=math.log(0.25), tail_entropy=0.001, tokens=40)]
    assert weigh(attempts, "logprob")[0] / weigh(attempts, "logprob")[1] == pytest.approx(2.0)
    assert weigh(attempts, "length")[0] / weigh(attempts, "length")[1] == pytest.approx(4.0)
    # the entropy of a tail of copied text is held at 0.01
    assert weigh(attempts, "entropy")[1] / weigh(attempts, "entropy")[0] == pytest.approx(50.0)


def test_a_missing_signal_weighs_like_the_median_and_none_at_all_like_one_voice():
    attempts = [voter(0, "1", verifier=0.2), voter(1, "2"), voter(2, "3", verifier=0.4), voter(3, "4", verifier=0.6)]
    weights = weigh(attempts, "verifier")
    assert weights[1] == pytest.approx(weights[2])
    assert weigh(attempts, "entropy") == dict.fromkeys(range(4), 1.0)
    with pytest.raises(InputError, match="did you mean 'entropy'"):
        weigh(attempts, "entropie")


def test_weights_that_differ_by_rounding_are_level():
    attempts = [voter(0, "4", tokens=3), voter(1, "5", tokens=6), voter(2, "5", tokens=6)]
    vote = weighted(attempts, "length")
    assert vote.tie
    assert (vote.answer, len(vote.leaders)) == ("4", 2)


@given(st.lists(st.tuples(st.sampled_from("1234"), st.floats(0.01, 10.0)), min_size=1, max_size=12))
def test_the_heaviest_class_wins(votes):
    weights = {index: weight for index, (_, weight) in enumerate(votes)}
    vote = majority(PROBLEM, {index: answer for index, (answer, _) in enumerate(votes)}, weights=weights)
    sums: dict[str, float] = {}
    for answer, weight in votes:
        sums[answer] = sums.get(answer, 0.0) + weight
    assert sums[vote.answer] == pytest.approx(max(sums.values()))
