"""Matrices computed, against exact arithmetic of sympy."""

import pytest
import sympy
from hypothesis import given, settings
from hypothesis import strategies as st

from podium.grading.exact import compare_exactly
from podium.grading.matrices import NotComputed, computed

CELLS = st.lists(st.integers(-5, 5), min_size=4, max_size=4)


def written(matrix: sympy.MatrixBase, kind: str = "pmatrix") -> str:
    rows = [" & ".join(map(str, matrix.row(place))) for place in range(matrix.rows)]
    return rf"\begin{{{kind}}}" + r" \\ ".join(rows) + rf"\end{{{kind}}}"


@settings(max_examples=25, deadline=None)
@given(CELLS, CELLS, st.integers(-3, 3))
def test_sums_products_powers_and_inverses(left: list[int], right: list[int], factor: int) -> None:
    a, b = sympy.Matrix(2, 2, left), sympy.Matrix(2, 2, right)
    assert compare_exactly(written(a) + written(b), written(a * b)) is True
    assert compare_exactly(f"{written(a)}-{written(b)}", written(a - b)) is True
    assert compare_exactly(f"{factor}{written(a)}^3", written(factor * a**3)) is True
    assert compare_exactly(f"{written(a)}^T", written(a.T)) is True
    assert compare_exactly(written(a, "vmatrix"), str(a.det())) is True
    if a.det():
        assert compare_exactly(f"{written(a)}^{{-1}}", written(a.inv())) is True


@pytest.mark.parametrize(
    "text",
    [
        r"\begin{pmatrix}1&2\\2&4\end{pmatrix}^{-1}",
        r"\begin{pmatrix}1&2\end{pmatrix}^2",
        r"\begin{pmatrix}1&2\end{pmatrix}+\begin{pmatrix}1\\2\end{pmatrix}",
        r"\begin{pmatrix}1&2\\3\end{pmatrix}",
        "7",
    ],
)
def test_what_has_no_value_is_not_computed(text: str) -> None:
    with pytest.raises(NotComputed):
        computed(text)
