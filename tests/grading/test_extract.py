"""Extraction: the last balanced box, whatever surrounds it; announced answers; option letters; whole solutions."""

import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from podium.boxes import answer_in, last_box
from podium.grading import Rules, extract_answer
from podium.grading.pairs import Pair, grade_pairs
from podium.problems import load_problems


@pytest.mark.parametrize(
    ("text", "answer"),
    [
        (r"so \boxed{42}.", "42"),
        (r"\boxed{1} then \boxed{\frac{1}{2}}", r"\frac{1}{2}"),
        (r"\boxed 5", "5"),
        (r"\boxed5.", "5"),
        (r"\boxed {7}", "7"),
        (r"\fbox{8} \boxed{\left\{1,2\right\}}", r"\left\{1,2\right\}"),
        (r"\fbox{8}", "8"),
        (r"\boxed{8\,}", "8\\,"),
        (r"first \boxed{1}, in the end \fbox{2}", "2"),
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
    assert last_box(text) == answer


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
    assert last_box(f"{before} \\boxed{{{content}}}{after}") == content


def test_ten_megabytes_of_braces() -> None:
    assert last_box("{" * 5_000_000 + r"\boxed{1}" + "}" * 5_000_000) == "1"


@pytest.mark.parametrize(
    ("text", "answer"),
    [
        ("Final Answer: The final answer is $5$. I hope it is correct.", "5"),
        ("The answer is 42", "42"),
        ("the answer is 42.", "42"),
        ("#### 42", "42"),
        ("x\n#### 1,002", "1,002"),
        ("The answer is **13**.", "13"),
        ("The answer is (B)", "(B)"),
        (r"Answer: \frac{1}{2}", r"\frac{1}{2}"),
        ("the answers vary", None),
        ("The answer is 42 because 6*7=42.", "42"),
        ("The answer is 3.5. Thus done", "3.5"),
        (r"Final Answer: $\frac{1}{2}$", r"\frac{1}{2}"),
        ("Final Answer: the final answer is $x=5$. I hope it is correct.", "x=5"),
        ("The answer is $5$ and $6$.", "$5$ and $6$"),
        (r"Final Answer: The final answer is $\boxed{5}$. I hope it is correct.", "5"),
        ("#### Step 4: compute\nfoo", None),
        ("**Answer:** 42", "42"),
        ("**Final Answer**\n\n42", "42"),
        ("Answer: 10:30 a.m. on Monday", "10:30 a.m. on Monday"),
        ("The final answer is 42 dollars. I hope it is correct.", "42 dollars"),
        ("so the answer should be 7.", "7"),
        ("Answer = 5", "5"),
        (r"The answer is \(\sqrt{2}\).", r"\sqrt{2}"),
        ("The answer is $$7$$", "7"),
        ("#### -3", "-3"),
        ("#### $18", "$18"),
        ("The answer: 42", "42"),
        ("My answer is 9!", "9!"),
        ("The answer is $[2,5)$. I hope it is correct.", "[2,5)"),
        ("Final Answer: The final answer is $3$ hours. I hope it is correct.", "$3$ hours"),
        ("The final answer is therefore 12.", "12"),
        (r"the answer is $\$5$", r"\$5"),
        ("the answer is 1.5 m. I hope", "1.5 m"),
        (r"To find the final answer in \boxed{}, let's break down the process.", None),
        (r"The final answer is in \boxed{}. Let us see.", None),
        ("The answer is 7.\nI put the final answer in \\boxed{}, as asked.", "7"),
    ],
)
def test_what_is_said_to_be_the_answer(text: str, answer: str | None) -> None:
    assert extract_answer(text, Rules(find=("final",))) == answer


@pytest.mark.parametrize(
    ("text", "letter"),
    [
        (r"\boxed{\mathrm{E}}", "E"),
        (r"\boxed{\mathrm{(E)}}", "E"),
        (r"\boxed{\textbf{(E)}\ 12}", "E"),
        (r"\boxed{\text{E}}", "E"),
        (r"\boxed{\text{(E)}}", "E"),
        ("**E**", "E"),
        ("E - because it is", "E"),
        ("E – 12", "E"),
        ("E — 12", "E"),
        ("E: 12", "E"),
        ("(E)", "E"),
        ("(E) 12", "E"),
        ("Answer: E", "E"),
        ("Answer: **E**", "E"),
        ("**Answer: E**", "E"),
        ("**Answer:** (E)", "E"),
        ("E", "E"),
        ("E.", "E"),
        ("$E$", "E"),
        (r"$\mathrm{E}$", "E"),
        (r"\textbf{(E)}", "E"),
        (r"\fbox{E}", "E"),
        (r"\fbox{\textbf{(C) }12}", "C"),
        ("e", "E"),
        ("(e)", "E"),
        ("long\n\n**E**", "E"),
        ("long story\nE", "E"),
        ("long story\n(E).", "E"),
        ("**(E) 12**", "E"),
        ("It is **E**, clearly", "E"),
        ("The correct option is (C) since", "C"),
        ("The correct choice is C.", "C"),
        ("I think A man did it", None),
        ("A: 5\nB: 6\nC: 7\nI do not know", None),
        ("(A) is false.\nSo \\boxed{E}", "E"),
        (r"\boxed{A \text{ and } B}", None),
        (r"\boxed{A, C}", None),
        (r"\boxed{(A) or (B)}", None),
        ("12", None),
        (r"\boxed{A=5}", None),
        ("Answer: A man", None),
        ("The answer is A because", "A"),
        ("It cannot be (A), so it is (B).", "B"),
        ("A long story. The answer is (D) 12 apples", "D"),
        (r"\boxed{12}", None),
        ("**A**ssume", None),
        ("Answer: I think it is (E)", "E"),
        (r"\boxed{\text{Option E}}", "E"),
        (r"\boxed{\text{E. }12}", "E"),
        (r"\boxed{\mathbf{E}}", "E"),
        (r"\boxed{\textbf{E}}", "E"),
        (r"\boxed{\text{\textbf{(E)}}}", "E"),
        ("E) 12", "E"),
        ("B. 12", "B"),
        (r"\boxed{E: 12}", "E"),
        (r"\boxed{E - 12}", "E"),
        (r"(\textbf{E})", "E"),
        (r"\text{(B)}", "B"),
        ("Answer: B\n\nExplanation: A is wrong", "B"),
        (r"\boxed{\textbf{(D)}~\frac{1}{2}}", "D"),
        (r"\boxed{f(A)}", None),
        (r"\boxed{\mathrm{ABC}}", None),
        (r"\boxed{\text{Alice}}", None),
    ],
)
def test_option_letters(text: str, letter: str | None) -> None:
    assert extract_answer(text, Rules(find=("letter",))) == letter


@pytest.mark.parametrize(
    ("column", "answer"),
    [
        ("5", "5"),
        (r"\boxed{5}", "5"),
        (r"x=\boxed{5}", "5"),
        (r"(\boxed{3},4)", r"(\boxed{3},4)"),
        (r"We have $x=3$, so the answer is $\boxed{3}$.", "3"),
        (r"2\boxed{3}", r"2\boxed{3}"),
        ("so it is <<1+1=2>>2\n#### 1,002", "1,002"),
        (r"Let $x$. Then \[x^2=4\] so \boxed{\frac{1}{2}}", r"\frac{1}{2}"),
        (r"\frac{\boxed{3}}{4}", r"\frac{\boxed{3}}{4}"),
        (r"The area is $\boxed{5}$ cm", "5"),
        ("box", "box"),
        (r"first \boxed{1} then \boxed{2}", "2"),
        (r"\text{the box}", r"\text{the box}"),
        (r"\boxed{}", r"\boxed{}"),
        (r"\boxed{3}, \boxed{4}", r"\boxed{3}, \boxed{4}"),
        (r"$\boxed{12}$.", "12"),
        (r"\[\boxed{12}\]", "12"),
        (r"\fbox{5}", "5"),
        ("x=5\n\\boxed{5}", "5"),
        (r"\boxed{5} \text{ cm}", r"\boxed{5} \text{ cm}"),
        (r"so $\boxed 5$ it is", "5"),
    ],
)
def test_an_answer_column_with_a_whole_solution(column: str, answer: str) -> None:
    assert answer_in(column) == answer


SOLUTION = r"We have $x^2 = 4$ and $x > 0$. Therefore $x = \boxed{2}$, as was asked."


def test_whole_solutions_are_read_by_their_last_box_wherever_a_gold_stands(tmp_path: Path) -> None:
    row = {"id": "p", "problem": "x?", "text": "x?", "answer": SOLUTION}
    (tmp_path / "amc23.jsonl").write_text(json.dumps(row) + "\n")
    (tmp_path / "mine.jsonl").write_text(json.dumps({"id": "p", "text": "x?", "answer": SOLUTION}) + "\n")
    assert load_problems("exam:amc23", data=tmp_path)[0].answer == "2"
    assert load_problems(f"jsonl:{tmp_path / 'mine.jsonl'}")[0].answer == "2"


async def test_whole_solutions_in_either_column_of_graded_pairs() -> None:
    rows = [
        Pair(gold=SOLUTION, answer="2"),
        Pair(gold="2", answer=SOLUTION),
        Pair(gold=SOLUTION, solution=r"\boxed{3}"),
    ]
    found = await grade_pairs(rows)
    assert [row.found.sameness.value for row in found.rows] == ["equal", "equal", "different"]
