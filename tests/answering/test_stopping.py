from hypothesis import given
from hypothesis import strategies as st

from podium.answering import Sampling
from podium.answering.stopping import StopWatch

LETTERS = st.text("ab<", min_size=1, max_size=4)


@given(st.text("ab<", max_size=40), st.lists(LETTERS, min_size=1, max_size=3), st.data())
def test_the_first_stop_string_is_found_however_the_text_arrives(text, stops, data):
    ends = [text.find(stop) + len(stop) for stop in stops if stop in text]
    watch = StopWatch(Sampling(stop=tuple(stops)))
    place, stopped = 0, None
    while place < len(text) and stopped is None:
        step = data.draw(st.integers(1, 5))
        stopped = watch.push(text[place : place + step], 1)
        place = min(place + step, len(text))
    if not ends:
        assert stopped is None
        return
    assert stopped is not None
    assert watch.text == text[: min(ends)]
    assert place - stopped.overhang == min(ends)
    assert watch.text.endswith(stopped.stop)
    assert len(stopped.stop) == max(len(s) for s in stops if text[: min(ends)].endswith(s))


def test_a_stop_string_does_not_reach_across_appended_text():
    watch = StopWatch(Sampling(stop=("END",)))
    assert watch.push("EN", 1) is None
    watch.restart()
    assert watch.push("D", 1) is None
    assert watch.push(" END", 1).stop == "END"


def test_repetition_counts_what_was_seen_before():
    watch = StopWatch(Sampling(repetition_window=4, repetition_count=2))
    assert watch.push("abcd", 1) is None
    assert watch.push("-abcd", 1) is None
    assert watch.push("-abc", 1) is None
    assert watch.push("d", 1).finish == "repetition"


def test_nothing_ends_before_min_tokens():
    """Text of the first three tokens; a stop string that begins there and ends later counts, as in vLLM."""
    watch = StopWatch(Sampling(stop=("END", "x"), min_tokens=3, repetition_window=2, repetition_count=1))
    assert watch.push("END", 1) is None
    assert watch.push("x", 2) is None
    assert watch.push("ababab EN", 3) is None
    stopped = watch.push("D!", 4)
    assert (stopped.stop, stopped.overhang, watch.text) == ("END", 1, "ENDxababab END")


def test_a_stop_string_complete_at_min_tokens_is_passed_over():
    watch = StopWatch(Sampling(stop=("END", "D"), min_tokens=1))
    assert watch.push("END", 1) is None
    assert watch.push(" and", 2) is None
    assert watch.push(" END", 3).stop == "END"
