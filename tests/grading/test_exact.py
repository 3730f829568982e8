r"""Verdicts kind by kind, and that they are an equivalence: symmetric, and what equals the same is never different."""

from __future__ import annotations

import itertools
import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from podium.grading import Rules, classes, compare
from podium.grading.exact import Comparer, integer_of
from podium.records import Problem

MATH = Problem(id="m", text="?", answer="1")
ANY = Rules(order="any")
STRICT = Rules(units="strict", percent="strict", degrees="strict")


def verdict(one: str, other: str, rules: Rules = Rules()) -> bool | None:
    there, back = Comparer(rules).compare(one, other), Comparer(rules).compare(other, one)
    assert there is back, (one, other, there, back)
    return there


# name of the kind -> (groups of answers that are one; answers of different groups differ)
APART: dict[str, list[list[str]]] = {
    "order": [["(3,1)", "3,1", r"\left(3, 1\right)", "3, 1"], ["(1,3)"], [r"\{1,3\}", r"\{3,1\}"]],
    "order of three": [["(1,2,3)", "1,2,3", "1, 2 and 3"], ["(3,2,1)"], [r"\{3,1,2\}", r"\{1,2,3\}"]],
    "brackets": [["(1,2)"], [r"\{1,2\}", r"x\in\{2,1\}"], ["[1,2]", r"1\le x\le 2"], ["[1,2)"], ["(1,2]"]],
    "equations": [["x+y=5", "y+x=5", "5=x+y", "2x+2y=10", "y=5-x"], ["5", "z=5"], ["x-y=5"], ["x+y=6"]],
    "circles": [["x^2+y^2=25", "y^2=25-x^2"], ["25"], ["x^2+y^2=5"], ["5"]],
    "lines": [["y=2x+3", "2x-y+3=0", "2x = y-3"], ["y=3x+2", "3x+2"], ["y=2x-3"]],
    "a name's value": [["5", "y=5", "5=y", "f(2)=5", "y=3+2=5"], ["6", "y=6", "f(2)=6"]],
    "named values": [["x=1,y=2", "y=2, x=1", r"x=1\text{ and }y=2", "(x,y)=(1,2)", "(1,2)"], ["x=2,y=1", "(2,1)"],
                     ["x=1,y=3"], ["x=1", "1"]],
    "one or the other": [["x=1,y=2"], [r"x=1\text{ or }y=2", "y=2 or x=1"]],
    "functions at points": [["f(1)=2,f(2)=3", "f(2)=3,f(1)=2"], ["f(1)=3,f(2)=2"]],
    "names in order": [["a=3,b=4", "(3,4)"], ["(4,3)", "a=4,b=3"]],
    "primes": [["f'(x)=2x"], ["f(x)=2x", "2x"], ["f''(x)=2x"]],
    "dashed names": [["y'=2"], ["y=2", "2"]],
    "ellipses": [[r"1,2,\ldots,10", "1,2,...,10", "1,2,3,4,5,6,7,8,9,10"], [r"1,3,\ldots,11"], [r"1,2,\ldots,11"]],
    "endless sequences": [[r"1,2,3,\ldots", r"1,\frac42,3,\ldots"], [r"1,2,4,\ldots"], ["1,3,5"]],
    "sets of many": [[r"\{2,4,6,\ldots,10\}", r"\{2,4,6,8,10\}"], [r"\{2,4,6,8\}"], [r"\{2,4,6,\ldots,12\}"]],
    "congruences": [[r"x\equiv1\pmod 3", r"x \equiv 4 \pmod{3}", r"x\equiv 1\ (\text{mod }3)", "x ≡ 1 (mod 3)"],
                    [r"x\equiv2\pmod 3"], [r"x\not\equiv1\pmod 3"], [r"x\equiv1\pmod 6"]],
    "residues": [[r"x\equiv 1,4\pmod 5", r"x\equiv 4,1\pmod{5}", r"x\equiv \pm1\pmod 5"], [r"x\equiv1\pmod5"]],
    "divisors": [[r"3\mid n", r"n\equiv0\pmod3"], [r"3\nmid n", r"n\not\equiv 0\pmod 3"], [r"4\mid n"]],
    "letters' divisors": [[r"a\mid b"], [r"a\nmid b", r"a\not\mid b"]],
    "times": [["6 PM", "6:00 PM", r"6\text{ p.m.}", "6:00 pm", "18:00"], ["6 AM", "6:00 a.m."], ["6:30 PM"]],
    "noon": [["12:00 PM", "noon", "12 noon"], ["midnight", "12 AM"]],
    "ratios": [["3:2"], ["2:3"], ["4:3"]],
    "repeating decimals": [[r"0.\overline{3}", "1/3", "0.333...", r"0.\dot{3}", r"0.\bar3", "0.(3)", r"0.333\ldots"],
                           [r"0.\overline{4}"], ["0.3"], ["0.33"]],
    "mixed periods": [[r"0.1\overline{6}", "1/6", r"0.1\dot6", "0.1666..."], [r"0.\overline{16}", "16/99"], ["0.16"]],
    "periods of six": [[r"0.\dot14285\dot7", "1/7", "0.142857142857..."], ["0.142857"]],
    "double factorials": [["5!!", "15"], ["5!", "120"], ["(5!)!"]],
    "even double factorials": [["6!!", "48", r"6 \cdot 4 \cdot 2"], ["720", "6!"], ["720!", "(6!)!"]],
    "roots of variables": [[r"\sqrt[3]{x}", "x^{1/3}", r"x^{\frac13}"], [r"\sqrt{x}", "x^{1/2}", "x^{0.5}"], ["x/3"]],
    "powers of variables": [[r"\sqrt[3]{x^2}", "x^{2/3}", r"(\sqrt[3]{x})^2"], ["x^{3/2}", r"x\sqrt{x}"]],
    "roots of fractions": [[r"\sqrt{a/b}", r"\frac{\sqrt a}{\sqrt b}"], [r"\frac{\sqrt b}{\sqrt a}"], [r"\sqrt{ab}"]],
    "short words": [[r"\text{yes}", "yes"], [r"\text{no}", "No"]],
    "words of two letters": [[r"\text{ab}"], [r"\text{ba}"]],
    "feet and inches": [["5 ft 6 in", r"5\text{ ft }6\text{ in}", r"66\text{ in}", "66 inches", r"5.5\text{ feet}"],
                        ["6 ft 5 in", r"77\text{ in}"], [r"5\text{ ft}"]],
    "hours": [["1 hour 30 minutes", "90 minutes", r"1.5\text{ hours}"], ["1 hour 20 minutes"]],
    "units": [[r"5\text{ in}", "5 inches"], [r"5\text{ mi}", "5 miles"], [r"5\text{ lb}", "5 lbs", "5 pounds"],
              [r"5\text{ mph}", r"5\text{ mi/h}", r"5\text{ miles per hour}"], [r"5\text{ in}^2"]],
    "percent": [[r"50\text{ pct}", r"50\%", "50 percent"], [r"5\%"]],
    "ordinals": [[r"12^{\text{th}}", "12th", r"12\text{th}", "12^{th}", "12"], [r"13^{\text{th}}", "13"]],
    "remainders": [[r"17\bmod 5", "2", "17 mod 5", r"2\bmod 5"], [r"18 \bmod 5", "3"]],
    "binomials": [[r"{5 \choose 2}", r"\binom52", "C(5,2)", r"{}_5C_2", "10"], [r"{6 \choose 2}", "15"]],
    "binomials of n": [[r"{n\choose 2}", "n(n-1)/2", r"\frac{n^2-n}{2}"], [r"{n+1\choose 2}", "n(n+1)/2"]],
    "gcd and lcm": [[r"\operatorname{gcd}(12,18)", r"\gcd(12,18)", "6"], [r"\text{lcm}(12,18)", "36"],
                    [r"\gcd(100,250)", "50"]],
    "max and min": [[r"\max(3,7)", r"\max\{3,7\}", "7"], [r"\min(3,7)", "3"]],
    "unions": [[r"(-\infty,2]\cup[2,3)", r"(-\infty,3)", "x<3"], [r"(-\infty,2)\cup(2,3)"], [r"(-\infty,3]"]],
    "intersections": [[r"(1,5)\cap(2,7)", "(2,5)", "2<x<5"], ["(1,7)", r"(1,5)\cup(2,7)"]],
    "complements": [[r"\mathbb{R}\setminus\{2\}", r"x\ne2", r"(2,\infty)\cup(-\infty,2)"], [r"\mathbb R"]],
    "thousands": [["1 000", r"1\,000", "1,000", "1000", "1{,}000"], ["1 001"]],
    "sums": [[r"\sum_{k=1}^{10} k", "55", r"\sum_{i=1}^{10} i"], [r"\sum_{k=1}^{9} k", "45"]],
    "sums to n": [[r"\sum_{k=1}^{n} k", "n(n+1)/2"], ["n(n-1)/2"], [r"\sum_{k=1}^{n} k^2"]],
    "products": [[r"\prod_{k=1}^{n} k", "n!"], [r"\prod_{k=1}^{n} 2k"]],
    "logarithms": [[r"\lg 100", r"\log_{10}100", "2"], [r"\ln 100"]],
    "floors": [[r"\lfloor 3.7\rfloor", "3"], [r"\lceil 3.7\rceil", "4"]],
    "sides": [["10=m+n", "m+n=10", "n=10-m"], ["10", "m=10"]],
    "equal numbers": [["13+100=113", "113", r"\approx 113"], ["112"]],
    "or and and": [[r"x>0\text{ or }x<5"], [r"x>0\text{ and }x<5", "(0,5)"]],
    "alternatives": [[r"x=1\text{ or }x=2", r"\{1,2\}", r"x\in\{1,2\}", "x=2 or x=1"], ["1"], [r"\{1,3\}"]],
    "plus-minus": [[r"\pm5", r"\{5,-5\}", r"x=\pm5", "x=5 or x=-5"], ["5"], ["-5"]],
    "inequalities": [["x+y<5", "5>x+y", "2x+2y<10"], [r"x+y\le5"], ["x+y>5"], ["x+y=5"]],
    "letters' inequalities": [["a<b", "b>a"], [r"a\le b"], ["b<a"]],
    "points": [["(1,2),(3,4)", "(3,4),(1,2)", r"\{(1,2),(3,4)\}"], ["(2,1),(4,3)"]],
    "matrices": [[r"\begin{pmatrix}1\\2\end{pmatrix}", r"\begin{bmatrix}1\\2\end{bmatrix}"],
                 [r"\begin{pmatrix}1&2\end{pmatrix}"], [r"\begin{pmatrix}2\\1\end{pmatrix}"]],
    "large powers": [["(x+y)^{30}", "(y+x)^{30}"], ["(x+y)^{30}+1"], ["(x-y)^{30}"]],
    "tiny terms": [["x"], ["x+10^{-50}y"], ["x+10^{-70}"]],
    "absolute values": [[r"\sqrt{x^2}", "|x|"], ["x"], ["-x"]],
    "nothing": [[r"\emptyset", "no solution", r"\{\}"], ["5"], [r"\{0\}"]],
    "square brackets": [["[1,2,3]", r"[1,\frac42,3]"], ["[3,2,1]"], ["[1,2,4]"]],
    "number domains": [[r"\mathbb{Z}", r"\mathbb Z"], [r"\mathbb{N}"], [r"\mathbb{Q}"]],
    "systems": [["x+y=3, x-y=1", "x-y=1, y+x=3"]],
    "infinity": [[r"\infty"], [r"-\infty"], ["7"]],
}  # fmt: skip
UNDECIDED = [
    ("x=5", "y=5"),
    ("f(2)=5", "f(3)=5"),
    ("2x=10", "5"),
    ("3,1", "1,3"),
    ("1,3", r"\{1,3\}"),
    ("x+y=5", "5-x"),
    (r"x=1\text{ or }x=2", r"x=1\text{ and }x=2"),
    ("10:30", "10:30 AM"),
    ("3:2", "6:4"),
    (r"\sum_{k=1}^{10} 2k+1", "111"),  # 2k + 1 may be summed
    (r"17 + 4 \bmod 5", "1"),
    (r"\frac{d}{dx}x^2", "2x"),
    (r"\text{CD}", "CD"),
    ("5m", r"5\text{ m}"),
    (r"\log 100", "2"),  # of which base
    ("3.14159...", r"\pi"),
    ("2.718281828...", "2.7182818281828182"),
    ("5!!!", "10"),
    ("P(1,2)", "(1,2)"),
    ("C(10,3)", "(10,3)"),
    (r"\ln x^2", r"2\ln x"),
    (r"\sqrt{xy}", r"\sqrt x\sqrt y"),
    (r"(\sqrt x)^2", "|x|"),
    ("f(x)+1", "xf+1"),
    (r"\overline{AB}", "AB"),
    ("(-1)^n", r"\cos(\pi n)"),
    ("x+y=3, x-y=1", "x+y=3, x-2y=0"),
    ("6 PM", "6"),
]


@pytest.mark.parametrize("kind", APART)
def test_answers_of_one_group_are_equal_and_of_two_different(kind: str) -> None:
    groups = APART[kind]
    for place, group in enumerate(groups):
        for one, other in itertools.combinations(group, 2):
            found = verdict(one, other)
            # names and bare lists equal a common third, and are not always held to equal one another
            assert found is not False, (kind, one, other)
            if one == group[0]:
                assert found is True, (kind, one, other)
        for others in groups[place + 1 :]:
            assert verdict(group[0], others[0]) is False, (kind, group[0], others[0])
            for one, other in itertools.product(group, others):
                assert verdict(one, other) is not True, (kind, one, other)


@pytest.mark.parametrize(("one", "other"), UNDECIDED)
def test_what_is_not_shown_is_undecided(one: str, other: str) -> None:
    assert verdict(one, other) is None


def test_an_exam_may_take_several_answers_in_any_order() -> None:
    for one, other in (("3,1", "1,3"), ("1,3", r"\{3,1\}"), (r"\pm5", "5,-5"), (r"3\text{ and }1", "1, 3")):
        assert verdict(one, other) is None
        assert verdict(one, other, ANY) is True
    assert verdict("3,1", "(3,1)", ANY) is None
    assert verdict("3,1", "(3,1)") is True
    assert verdict("(1,3)", "(3,1)", ANY) is False
    task = Problem(id="p", text="Enter all the roots of $x^2-4x+3$, separated by commas.", answer="1,3")
    assert classes(task, ["1,3", "3, 1", "(1,3)"]) == [[0, 1], [2]]


def test_who_says_equal_says_by_what() -> None:
    assert compare("1/2", "0.5").by == "rules"
    assert compare(r"\sqrt{8}", r"2\sqrt2").by == "numeric"
    assert compare("(x+1)^2", "x^2+2x+1").by == "numeric"
    assert compare(r"(\int_0^1 x^2\,dx, 2)", r"(\frac13,2)").by == "algebra"


@pytest.mark.parametrize(
    ("text", "value"),
    [("m+n=113", 113), ("13+100=113", 113), (r"\approx 113", 113), ("113", 113), (r"\binom{10}{3}", 120), ("x=7", 7),
     ("5!!", 15), ("1 000", 1000), ("x+y", None), ("m+n", None), ("12.5", None), ("=", None), ("113=m+n", None)],
)  # fmt: skip
def test_integers_that_are_written_as_something_else(text: str, value: int | None) -> None:
    assert integer_of(text) == value


_NUMBERS = st.sampled_from(["1", "2", "3", "0.5", r"\frac12", r"\sqrt2", "x", "2x", "-1"])
_NAMES = st.sampled_from(["x", "y", "f(1)", "f'(1)", "a"])
_BRACKETS = st.sampled_from(["({},{})", "{},{}", r"\{{{},{}\}}", "[{},{}]", r"{}\text{{ and }}{}", r"{}\text{{ or }}{}",
                             "x={},y={}", "y={},x={}", "a={},b={}", "x={} or x={}", "x={},x={}", "(x,y)=({},{})",
                             "(y,x)=({},{})", "{}<x<{}", r"\begin{{pmatrix}}{}\\{}\end{{pmatrix}}", "{}+y={}", "{}x={}",
                             "({},{}]", r"x\equiv {}\pmod {{{}}}", "{}:{}", r"{},{},\ldots"])  # fmt: skip
_ANSWERS = st.one_of(
    _NUMBERS,
    st.builds("{}={}".format, _NAMES, _NUMBERS),
    st.builds(lambda form, a, b: form.format(a, b), _BRACKETS, _NUMBERS, _NUMBERS),
    st.sampled_from([text for groups in APART.values() for group in groups for text in group]),
    st.sampled_from([text for pair in UNDECIDED for text in pair]),
)
_FORGIVEN = frozenset(("percent", "units", "feet and inches", "hours", "ordinals"))


def assert_equivalence(answers: list[str], rules: Rules) -> None:
    table = {(a, b): verdict(a, b, rules) for a, b in itertools.combinations(answers, 2)}
    table |= {(b, a): found for (a, b), found in table.items()}
    for a, b, c in itertools.permutations(answers, 3):
        if table[a, b] and table[b, c]:
            assert table[a, c] is not False, (a, b, c)


@settings(max_examples=100, deadline=None)
@given(st.lists(_ANSWERS, min_size=3, max_size=7, unique=True), st.sampled_from(["written", "any"]))
def test_verdicts_are_an_equivalence(answers: list[str], order: str) -> None:
    assert_equivalence(answers, Rules(order=order, units="strict", percent="strict", degrees="strict"))  # type: ignore[arg-type]


def test_verdicts_within_every_kind_are_an_equivalence() -> None:
    for kind, groups in APART.items():
        answers = [text for group in groups for text in group]
        for rules in (STRICT, Rules(order="any", units="strict")) if kind in _FORGIVEN else (Rules(), ANY):
            assert_equivalence(answers, rules)


_LENIENT = st.lists(
    st.one_of(
        _ANSWERS, st.sampled_from(["5", r"5\text{ m}", r"5\text{ cm}", "5\\%", "0.05", "1011_2", "1011_3", "1011"])
    ),
    min_size=2,
    max_size=8,
)


@settings(max_examples=60, deadline=None)
@given(_LENIENT, st.randoms())
def test_classes_never_mix_and_do_not_depend_on_the_order(answers: list[str], draw: random.Random) -> None:
    groups = classes(MATH, answers)
    assert sorted(position for group in groups for position in group) == list(range(len(answers)))
    for group in groups:
        for a, b in itertools.combinations(group, 2):
            assert compare(answers[a], answers[b]).sameness.decided is not False, (answers[a], answers[b])
    turned = list(range(len(answers)))
    draw.shuffle(turned)
    again = classes(MATH, [answers[place] for place in turned])
    assert {frozenset(answers[place] for place in group) for group in groups} == {
        frozenset(answers[turned[place]] for place in group) for group in again
    }
