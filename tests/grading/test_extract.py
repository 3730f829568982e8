"""Extraction: the last balanced box, whatever surrounds it."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from podium.grading import extract


@pytest.mark.parametrize(
    ("text", "answer"),
    [
        (r"so \boxed{42}.", "42"),
        (r"\boxed{1} then \boxed{\frac{1}{2}}", r"\frac{1}{2}"),
        (r"\boxed 5", "5"),
        (r"\boxed5.", "5"),
        (r"\boxed {7}", "7"),
        (r"\fbox{8} \boxed{\left\{1,2\right\}}", r"\left\{1,2\right\}"),
        (r"\boxed{3} and then \boxed{never closed", "3"),
        (r"\boxed{outer \boxed{5}", "5"),
        (r"\boxed{\boxed{9}}", r"\boxed{9}"),
        (r"\boxed{}", None),
        (r"no box at all { 1 }", None),
        ("", None),
        (r"} } \boxed{ 10 }", "10"),
    ],
)
def test_extract(text: str, answer: str | None) -> None:
    assert extract(text) == answer


balanced = st.recursive(
    st.text(alphabet="ab1 +", min_size=1, max_size=5),
    lambda inner: inner.map(lambda body: "x{" + body + "}y"),
    max_leaves=4,
)


@given(before=st.text(alphabet="ab{}\\ ", max_size=20), content=balanced, after=st.text(alphabet="ab {", max_size=10))
def test_the_last_balanced_box_is_found_after_any_text(before: str, content: str, after: str) -> None:
    content = content.strip().rstrip(",.").strip()
    if not content:
        return
    assert extract(f"{before} \\boxed{{{content}}}{after}") == content


def test_ten_megabytes_of_braces() -> None:
    assert extract("{" * 5_000_000 + r"\boxed{1}" + "}" * 5_000_000) == "1"
