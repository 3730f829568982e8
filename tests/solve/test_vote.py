from hypothesis import given
from hypothesis import strategies as st

from podium.records import Attempt, Maker, Problem, Usage
from podium.solve import ballots, majority

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
