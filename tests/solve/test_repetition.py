"""The repetition stop against brute force, and the same moment however the text comes in."""

import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from podium.answering.scripted import ScriptedCompleter
from podium.records import Problem
from podium.solve import attempt, get_profile
from podium.solve.repetition import LEAST, LONGEST, REPEATS, STRIDE, RepetitionWatch, period_at_end

PROBLEM = Problem(id="p", text="What is 1 + 1?", answer="2")


def repeats(text: str) -> bool:
    """By the definition: some period up to LONGEST, REPEATS times and LEAST characters at the end."""
    for period in range(1, min(LONGEST, len(text)) + 1):
        whole = max(LEAST, REPEATS * period)
        if whole > len(text):
            return False
        tail = text[-whole:]
        if tail[period:] == tail[:-period]:
            return True
    return False


@settings(max_examples=60)
@given(
    st.text("ab ", min_size=1, max_size=200),
    st.integers(0, 30),
    st.text("abc", max_size=40),
    st.text("ab ", max_size=3),
)
def test_what_is_found_repeats_and_what_repeats_is_found(period, times, before, after):
    text = before + period * times + after
    found = period_at_end(text)
    assert (found is not None) == repeats(text)


@pytest.mark.parametrize(
    "text",
    [
        "\n".join(f"Step {i}: we add {i} and get {i * (i + 1) // 2}." for i in range(400)),  # counts up
        "".join(random.Random(0).choices("01", k=20_000)),
        "1" + "0" * 1_000 + " is a googol to a power, and 0.(" + "3" * 1_000,
        "| 1 | 2 |\n" * 100 + "done",
        ("Case n: the same words as before, " * 7 + "but another end. ") * 3,
        "Let me check again. " * 50,  # 1,000 characters: still patient
    ],
)
def test_what_only_looks_like_it_goes_on(text):
    watch = RepetitionWatch()
    assert watch.push(text) is None


@pytest.mark.parametrize("period", ["0", "Wait. ", "Let me check again.\n", "x" * 63 + "y", "ab" * 500 + "c" * 700])
@pytest.mark.parametrize("size", [1, 7, 64, 10_000])
def test_a_loop_ends_in_the_same_place_however_it_is_cut(period, size):
    text = "First I think about it: 1 + 1 = 2.\n" + period * (-(-40_000 // len(period)))
    whole = RepetitionWatch()
    behind = whole.push(text)
    assert behind is not None
    moment = len(text) - behind
    assert moment <= 35 + max(LEAST, REPEATS * len(period)) + len(period) + 20 * STRIDE
    watch, taken = RepetitionWatch(), 0
    for start in range(0, len(text), size):
        taken += len(text[start : start + size])
        behind = watch.push(text[start : start + size])
        if behind is not None:
            break
    assert taken - behind == moment


async def test_an_attempt_that_repeats_itself_is_ended_and_keeps_its_answer():
    def script(size):
        def loop(prompt, sampling):
            yield "It is \\boxed{2}. "
            while True:
                yield "So the answer is two. " * size

        return loop

    profile = get_profile("kaggle", code_calls=0, repetition_stop=True, max_tokens=10**6)
    ended = [await attempt(PROBLEM, ScriptedCompleter("loop", script(size)), None, profile) for size in (1, 3, 200)]
    assert {each.stop_reason for each in ended} == {"repetition"}
    assert {each.answer for each in ended} == {"2"}
    assert len({each.text for each in ended}) == 1  # pieces may be cut in any way
    off = get_profile("kaggle", code_calls=0, max_tokens=300)
    assert (await attempt(PROBLEM, ScriptedCompleter("loop", script(1)), None, off)).stop_reason == "length"
