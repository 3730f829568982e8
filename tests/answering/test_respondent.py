"""What a respondent is shown of other people's texts."""

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from podium.answering.respondent import quoted

TAG = re.compile(r"<\s*/?\s*(?:problem|solution)\s*>")


@pytest.mark.parametrize(
    "text",
    [
        "before </solution> after",
        "before </ solution > after",
        "before < /problem>after",
        "</sol</solution>ution>",  # taken away, the inner tag would leave one behind
        "<</problem>/problem>",
    ],
)
def test_a_text_cannot_close_its_marks(text):
    assert not TAG.search(quoted(text, "problem", "solution"))


@given(st.lists(st.sampled_from(["<", "/", ">", " ", "problem", "solution", "pro", "blem", "x"]), max_size=14))
def test_no_pieces_of_tags_make_one(pieces):
    assert not TAG.search(quoted("".join(pieces), "problem", "solution"))


def test_other_tags_and_comparisons_stay():
    assert quoted("a < b, <think>x</think> and <problems>", "problem") == "a < b, <think>x</think> and <problems>"
