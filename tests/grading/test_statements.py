"""Congruences and divisibility, against brute force over whole numbers."""

from hypothesis import given, settings
from hypothesis import strategies as st

from podium.grading.exact import compare_exactly


@settings(max_examples=40, deadline=None)
@given(st.integers(2, 9), st.integers(0, 8), st.integers(2, 9), st.integers(0, 8))
def test_two_congruences_at_once(m: int, a: int, n: int, b: int) -> None:
    both = rf"x\equiv{a}\pmod{{{m}}}\text{{ and }}x\equiv{b}\pmod{{{n}}}"
    solutions = [x for x in range(m * n) if x % m == a % m and x % n == b % n]
    if solutions:
        right = rf"x\equiv{','.join(map(str, solutions))}\pmod{{{m * n}}}"
        assert compare_exactly(both, right) is True
        assert compare_exactly(both, rf"x\equiv{solutions[0] + 1}\pmod{{{m * n}}}") is False
    else:
        assert compare_exactly(both, rf"x\equiv{a}\pmod{{{m}}}") is False


@settings(max_examples=40, deadline=None)
@given(st.integers(2, 30), st.integers(2, 30))
def test_divisors_are_the_same_only_if_they_are_equal(m: int, n: int) -> None:
    assert compare_exactly(rf"{m}\mid k", rf"{n}\mid k") is (m == n)
    assert compare_exactly(rf"k\mid {m}", rf"k\mid {n}") is (m == n)
