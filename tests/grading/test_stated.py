"""Which integer a box of an integer exam states: what is written around it, and what states nothing."""

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from podium.grading import Rules, classes, extract_answer, find_answer, grade
from podium.grading.stated import stated_integer
from podium.records import Problem, Verdict

AIME = Rules(low=0, high=999)
TASK = Problem(id="p", text="?", answer="113", verifier="integer", meta={"rules": {"low": 0, "high": 999}})

STATED = [
    "m+n=113",
    "13+100=113",
    r"\approx 113",
    "113.0",
    "113.",
    "x = 113",
    r"113^\circ",
    r"113^{\circ}",
    r"n=113 \text{ cm}",
    r"n=113\ \mathrm{cm}^2",
    r"113\text{ students}",
    "113 students",
    r"\mathbf{113}",
    r"\textbf{113}",
    r"\mathrm{113}",
    r"\underline{113}",
    r"\textcolor{red}{113}",
    r"\color{blue}{113}",
    r"\sqrt{12769}",
    "113_{10}",
    r"\text{The answer is }113",
    "The answer is 113",
    r"\text{Answer: } 113",
    r"\$113",
    "m+n = 100+13 = 113",
    "f(2,3)=113",
    "x=y=113",
    "113=m+n",
    r"\frac{226}{2}",
    r"\frac{339}{3} = 113",
    r"\lfloor 113.7 \rfloor",
    r"\lfloor x \rfloor = 113",
    r"m+n\approx 113",
    r"112.97 \approx 113",
    r"N \equiv 113 \pmod{1000}",
    r"113 \pmod{1000}",
    r"1113 \bmod 1000",
    r"113 (\text{mod } 1000)",
    "m=100, n=13, m+n=113",
    r"m=100,\ n=13 \Rightarrow m+n=113",
    r"m+n=113 \text{ where } m=100",
    r"113 \ (m=100, n=13)",
    r"\text{Area} = 113",
    "|S| = 113",
    r"\text{maximum} = 113",
    r"\angle ABC = 113^\circ",
    r"\begin{aligned} m+n &= 100+13 \\ &= 113 \end{aligned}",
    r"113^{\text{th}}",
    r"113\text{th}",
    "113th",
    "+113",
    "0113",
    r"\mathbf{m+n=113}",
    r"\textbf{(B) } 113",
    r"113 \quad \text{(approximately)}",
    r"1.13\times10^2",
    r"113 \blacksquare",
    r"\text{There are }113\text{ ways}",
    r"\text{The value of } m+n \text{ is } 113",
    r"113\,",
    r"113^{\circ}\text{C}",
    r"\lvert S \rvert = 113",
    "113,",
    r"\sum_{k=1}^{n} a_k = 113",
    r"\therefore 113",
    r"a+b+c=113\text{ units}",
    "x^2+y^2=113",
    r"\left(113\right)",
    r"113 \text{ (since } m=100)",
    "p+q+r = 113.00",
    r"\;113\;",
    r"\displaystyle 113",
    "{113}",
    r"\{113\}",
    r"AB = 113\text{ cm}",
    r"\$ m + n = 113 \$",
    r"113\,\text{m}",
    r"k = \boxed{113}",
    r"\text{So } m+n=113",
    r"m + n = \mathbf{113}",
    r"113 \text{ degrees}",
    "113 degrees",
    r"113\%",
    "a_{10} = 113",
    r"n = 113\quad",
    "113 = 113",
    r"\frac{m}{n} = \frac{113}{1}",
    r"T = 113 \text{ minutes}",
    r"100 + 13 = \textbf{113}",
    r"\frac{100}{13} \to 100 + 13 = 113",
    r"m+n=\tfrac{226}{2}=113",
    r"113 \cdot 1",
    r"\approx113.0",
]
NOT_STATED = [
    r"113 \text{ or more}",
    r"113 \text{ or } 114",
    "113 or 114",
    r"\text{at least } 113",
    r"n \ge 113",
    "n < 113",
    r"\le 113",
    r"x \ne 113",
    r"113\pi",
    "113x",
    "113 n",
    "113i",
    r"\pm 113",
    "113.5",
    "m = 100, n = 13",
    "(100, 13)",
    r"x = 100 \text{ or } x=113",
    r"\text{not } 113",
    "113 + n",
    r"x \in 113",
    "113/2",
    r"\frac{100}{13}",
    "m+n",
    "5 ft 6 in",
    "x - 113 = 0",
    r"113 \text{ factorial}",
    "113_7",
    "113.1...",
    r"113 \mid n",
    "m=100, n=13, m+n=114",
    r"113 \text{ and } 114",
    "n=113, n=114",
    r"\text{unknown}",
    r"2^{n} = 113 \text{ or } 5",
    "113:100",
    r"\infty",
    r"\text{no solution}",
    r"\text{more than } 113",
    r"\text{between } 112 \text{ and } 113",
    "x=113+y",
    r"\approx 113.4",
    r"113 \pm 2",
    r"\text{for } n=113",
    "x^2-113=0",
    "113^{x}",
    "f(113)",
    r"\sqrt{113}",
    "0.113",
    r"1.13 \times 10^{1}",
]


@pytest.mark.parametrize("written", STATED)
def test_what_states_113(written: str) -> None:
    assert stated_integer(written) == 113
    found = find_answer(TASK, f"First \\boxed{{7}}. Then \\boxed{{{written}}}.")
    assert grade(TASK, found) is Verdict.CORRECT
    assert grade(TASK, written) is Verdict.CORRECT


@pytest.mark.parametrize("written", NOT_STATED)
def test_what_states_no_integer(written: str) -> None:
    assert stated_integer(written) is None
    assert extract_answer(f"\\boxed{{{written}}}", AIME) is None


@pytest.mark.parametrize(
    ("written", "value"),
    [
        (r"12+100=113", 113),  # the result is what is stated, right or wrong
        (r"113 = 112", 112),
        (r"113 \text{ thousand}", 113_000),
        (r"2 \text{ dozen}", 24),
        (r"1\,013", 1013),
        (r"1 013", 1013),
        (r"1{,}013", 1013),
        (r"\binom{10}{3}", 120),
        (r"-7 \pmod{1000}", 993),
        (r"N \equiv -887 \pmod{1000}", 113),
        (r"P(0) = 0", 0),
        (r"x = -5", -5),
    ],
)
def test_other_values(written: str, value: int) -> None:
    assert stated_integer(written) == value


def test_the_answer_of_an_integer_exam_is_the_integer_alone() -> None:
    assert extract_answer(r"\boxed{m+n=113}", AIME) == "113"
    assert extract_answer(r"\boxed{m+n=1130}", AIME) is None
    assert extract_answer(r"\boxed{m+n=1130}", Rules(modulo=1000)) == "1130"
    assert classes(TASK, ["m+n=113", "113", r"\approx 113", "114"]) == [[0, 1, 2], [3]]


@given(st.integers(-999, 999), st.integers(-999, 999), st.sampled_from(["=", r"\approx", r"\equiv", r"\implies"]))
def test_the_last_side_of_a_chain_counts(first: int, last: int, sign: str) -> None:
    assert stated_integer(f"m+n {sign} {first} {sign} {last}") == last


@given(st.text(alphabet="0123456789=+-*/^(){}\\,;.%xmn &~", max_size=40))
def test_nothing_fails(text: str) -> None:
    found = stated_integer(text)
    assert found is None or type(found) is int
    # Nothing is stated where no digit and no symbol of a number stands.
    assert found is None or re.search(r"[0-9]", text), text


@pytest.mark.parametrize(
    "text", ["9" * 5_000, "2^" * 3_000 + "1", "(" * 5_000, "1+" * 9_000 + "1", "=" * 15_000, "a," * 9_000]
)
def test_long_texts_end(text: str) -> None:
    assert stated_integer(text) in (None, 9_001)
