"""GenSelect: groups as the released code makes them, and choices by scripts that read what they are shown."""

import random
import re
from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from podium.answering.scripted import ScriptedCompleter
from podium.errors import CompleterError, InputError, PromptTooLong
from podium.grading import classes
from podium.records import Problem
from podium.sandbox import Sandbox
from podium.solve.genselect import (
    Candidate,
    Group,
    _fitting,
    candidates_of,
    group_size,
    longest_valid,
    pick_of,
    read_pick,
    select,
    summary_of,
    training_groups,
)

PROBLEM = Problem(id="p", text="What is 3 + 4?", answer="7")


def candidates(right: int, wrong: int) -> list[Candidate]:
    made = [(f"It is \\boxed{{7}}. ({i})", "7", True) for i in range(right)]
    made += [(f"It is \\boxed{{{i}}}.", str(i), False) for i in range(100, 100 + wrong)]
    return [Candidate(index, *each) for index, each in enumerate(made)]


@given(st.integers(0, 20), st.integers(0, 20), st.integers(0, 5))
def test_groups_are_hard_distinct_and_hold_both_kinds(right, wrong, seed):
    groups = training_groups(PROBLEM, candidates(right, wrong), seed)
    if not right or not wrong or right + wrong < 4:
        assert groups == []
        return
    assert 1 <= len(groups) <= 8
    chosen = [frozenset(each.index for each in group.candidates) for group in groups]
    assert len(set(chosen)) == len(chosen)
    assert len(frozenset().union(*chosen) & set(range(right))) <= min(right, wrong)
    for group in groups:
        assert 2 <= len(group.candidates) <= 16
        assert 0 < len(group.right) < len(group.candidates)
        text = group.messages[0].content
        assert text.count("Solution ") == len(group.candidates)
        for place, each in enumerate(group.candidates):
            assert f"Solution {place}:\n{each.text}" in text
    assert groups == training_groups(PROBLEM, candidates(right, wrong), seed)


@pytest.mark.parametrize("total", [4, 10, 20, 31, 64])
def test_sizes_follow_the_cut_normal(total):
    draw = random.Random(0)
    sizes = [group_size(total, draw) for _ in range(3000)]
    high = min(16, total)
    assert set(sizes) <= set(range(2, high + 1))
    peak = min(high, (total + 2) / 2)
    assert abs(Counter(sizes).most_common(1)[0][0] - peak) <= 1
    if total <= 20:  # not cut at the top
        assert sum(sizes) / len(sizes) == pytest.approx((total + 2) / 2, abs=0.15)


def test_what_is_shown_of_a_solution():
    assert summary_of("<think>\\boxed{1}? no</think>\nIt is \\boxed{7}.") == "It is \\boxed{7}."
    assert summary_of("It is \\boxed{7} or \\boxed{8}.") is None
    assert summary_of("I do not know.") is None
    long = "first\n\n" + "word " * 700 + "\n\nso the answer is \\boxed{7}"
    shown = summary_of(long)
    assert shown == "so the answer is \\boxed{7}"
    assert longest_valid(["\\boxed{7}", "It is \\boxed{7}.", "Surely it is \\boxed{8}."], "7") == "It is \\boxed{7}."
    assert longest_valid(["nothing"], "7") is None


@pytest.mark.parametrize(
    ("text", "place"),
    [("Judgment: 2", 2), ("judgement: 0 … no. Judgment: **1**", 1), ("Judgment: 9", None), ("the second", None)],
)
def test_the_last_judgment_counts(text, place):
    assert read_pick(text, 4) == place


def reader(prompt, sampling):
    """Picks the solution that says 7, where there is one; mumbles one time in four."""
    if random.Random(sampling.seed).random() < 0.25:
        yield "Hard to say."
        return
    found = re.findall(r"Solution (\d+):\nIt is \\boxed\{(\d+)\}", prompt[-1].content)
    yield f"Judgment: {next((place for place, answer in found if answer == '7'), 0)}"


async def test_a_selector_finds_what_the_vote_does_not():
    pool = candidates(2, 0) + [
        Candidate(10 + i, f"It is \\boxed{{{a}}}.", str(a), False) for i, a in enumerate([8] * 5)
    ]
    chosen = await select(PROBLEM, pool, ScriptedCompleter("reader", reader), repeats=16, most=7)
    assert chosen.answer == "7"
    assert set(chosen.picks) <= {0, 1}
    assert len(chosen.picks) + chosen.invalid == 16
    assert 0 < chosen.invalid < 12
    again = await select(PROBLEM, pool[::1], ScriptedCompleter("reader", reader), repeats=16, most=7)
    assert again == chosen


async def test_nobody_is_asked_where_there_is_nothing_to_choose():
    def never(prompt, sampling):
        raise AssertionError
        yield ""

    completer = ScriptedCompleter("never", never)
    assert (await select(PROBLEM, [], completer)).answer is None
    assert (await select(PROBLEM, candidates(3, 0), completer)).answer == "7"
    with pytest.raises(InputError):
        await select(PROBLEM, candidates(1, 1), completer, repeats=0)


async def test_failed_requests_are_invalid_picks_unless_all_fail():
    def shaky(prompt, sampling):
        if sampling.seed % 2:
            raise OSError("lost")
        yield "Judgment: 0"

    def gone(prompt, sampling):
        raise OSError("gone")
        yield ""

    chosen = await select(PROBLEM, candidates(1, 3), ScriptedCompleter("shaky", shaky), repeats=12)
    assert 0 < chosen.invalid < 12
    with pytest.raises(CompleterError):
        await select(PROBLEM, candidates(1, 3), ScriptedCompleter("gone", gone), repeats=3)


async def test_code_of_a_selector_is_run_and_what_it_prints_goes_back():
    def computes(prompt, sampling):
        printed = yield "<tool_call>\nprint(3 + 4)\n</tool_call>"
        value = re.search(r"\d+", printed)[0]
        found = re.findall(r"Solution (\d+):\nIt is \\boxed\{(\d+)\}", prompt[-1].content)
        yield f"Judgment: {next(place for place, answer in found if answer == value)}"

    pool = candidates(1, 5)
    async with Sandbox() as sandbox:
        chosen = await select(PROBLEM, pool, ScriptedCompleter("computes", computes), repeats=3, sandbox=sandbox)
    assert (chosen.answer, chosen.picks, chosen.invalid) == ("7", (0, 0, 0), 0)


async def test_a_judge_whose_context_is_short_is_shown_fewer():
    shown = []

    def short(prompt, sampling):
        shown.append(prompt[-1].content.count("\nSolution "))
        yield "Judgment: 0"

    class Short(ScriptedCompleter):
        async def start(self, prompt, sampling):
            if prompt[-1].content.count("\nSolution ") > 3:
                raise PromptTooLong("too long", "shorten it")
            return await super().start(prompt, sampling)

    chosen = await select(PROBLEM, candidates(3, 9), Short("short", short), repeats=4)
    assert (len(chosen.picks), chosen.invalid, shown) == (4, 0, [3, 3, 3, 3])

    class Shorter(ScriptedCompleter):
        async def start(self, prompt, sampling):
            raise PromptTooLong("too long", "shorten it")

    chosen = await select(PROBLEM, candidates(3, 9), Shorter("shorter", short), repeats=4)
    assert (chosen.asked, chosen.picks, chosen.invalid, chosen.answer) == (0, (), 0, None)  # nobody could be asked


@given(
    st.lists(st.integers(0, 3_000), min_size=2, max_size=16),
    st.lists(st.integers(1, 2_000), min_size=16, max_size=16),
    st.integers(1, 9_000),
)
def test_a_group_is_made_smaller_until_it_fits_or_nothing_is_left(lengths, answers, characters):
    shown = tuple(Candidate(i, "x" * n, "7" * answers[i]) for i, n in enumerate(lengths))
    group = _fitting(Group(PROBLEM, shown), characters)
    assert len(group.candidates) >= 2
    written = group.messages[0].content
    least = len(_fitting(Group(PROBLEM, shown), 0).messages[0].content)
    assert len(written) <= characters or len(written) == least
    assert all(each.answer == "7" * answers[each.index] for each in group.candidates)  # what is voted with stays whole


def test_one_long_solution_is_shortened_and_the_others_are_all_shown():
    pool = [*candidates(2, 3), Candidate(9, "word " * 590 + "\\boxed{8}", "8")]
    group = _fitting(Group(PROBLEM, tuple(pool)), 1_500)
    assert [each.index for each in group.candidates] == [each.index for each in pool]
    assert [each.text for each in group.candidates[:5]] == [each.text for each in pool[:5]]
    assert group.candidates[5].text.endswith("\\boxed{8}")
    assert len(group.messages[0].content) <= 1_500


@pytest.mark.parametrize("room", [500, 700, 2_000])
async def test_two_long_solutions_are_shortened_for_a_short_context(room):
    """Nothing can be left out of two; the selector is asked all the same."""
    pool = [Candidate(i, "word " * 500 + f"\\boxed{{{i}}}", str(i)) for i in range(2)]
    seen = []

    def picks(prompt, sampling):
        seen.append(prompt[-1].content)
        yield "Judgment: 1"

    class Short(ScriptedCompleter):
        async def start(self, prompt, sampling):
            if len(prompt[-1].content) > room:
                raise PromptTooLong("too long", "shorten it")
            return await super().start(prompt, sampling)

    chosen = await select(PROBLEM, pool, Short("short", picks), repeats=3)
    assert (chosen.asked, chosen.invalid, len(chosen.picks)) == (3, 0, 3)
    assert all(("Solution 1:" in text and "0: 0\n1: 1" in text) or "0: 1\n1: 0" in text for text in seen)


async def test_where_some_are_never_answered_the_others_count():
    tries = 0

    class Flaky(ScriptedCompleter):
        async def start(self, prompt, sampling):
            nonlocal tries
            tries += 1
            if tries == 1:
                raise CompleterError("gone", "look")
            return await super().start(prompt, sampling)

    said = iter(["Judgment: " + "9" * 5_000, "Judgment: 0", "Judgment: 0"])

    def first(prompt, sampling):
        yield next(said)

    chosen = await select(PROBLEM, candidates(2, 2), Flaky("flaky", first), repeats=4)
    assert (chosen.asked, chosen.invalid, len(chosen.picks)) == (4, 2, 2)


def test_without_a_box_what_the_exam_finds_elsewhere_is_shown():
    from podium.records import Attempt, ExamResult, Maker, Part, Verdict

    def result(meta):
        problem = PROBLEM.model_copy(update={"meta": meta})
        attempt = Attempt(
            id="p#0", problem_id="p", style="cot", prompt=(), answer="7", maker=Maker(model="m"), index=0,
            parts=(Part(role="model", text="<think>3 and 4</think>The answer is 7."),), stop_reason="eos",
        )  # fmt: skip
        return ExamResult(problem=problem, attempts=(attempt,), votes=(), answer="7", verdict=Verdict.CORRECT)

    assert candidates_of(result({})) == []
    (shown,) = candidates_of(result({"rules": {"find": ["final"]}}))
    assert (shown.text, shown.answer) == ("The answer is 7.", "7")


@pytest.mark.parametrize(
    ("text", "place"),
    [
        ("It must be \\boxed{7}.", 2),  # the first of those that say so
        ("Is it \\boxed{8}? No: \\boxed{14/2}.", 2),  # in other words
        ("I find \\boxed{9}, which nobody says.", None),
        ("Judgment: 1", None),
    ],
)
def test_a_pick_may_be_named_by_its_answer(text, place):
    shown = tuple(Candidate(10 + i, f"\\boxed{{{a}}}", a, a == "7") for i, a in enumerate(("8", "100", "7", "7")))
    assert pick_of(text, Group(PROBLEM, shown), "answer", classes) == place


async def test_who_computes_names_the_answer():
    def computes(prompt, sampling):
        yield "3 + 4 = 7, so \\boxed{7}."

    chosen = await select(
        PROBLEM, candidates(1, 8), ScriptedCompleter("computes", computes), named="answer", repeats=5, most=16
    )
    assert (chosen.answer, chosen.picks, chosen.invalid) == ("7", (0,) * 5, 0)
