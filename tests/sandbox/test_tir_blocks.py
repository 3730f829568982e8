"""Code as it stands in tool-integrated solutions of mathematics problems runs unchanged and gives the known answer.

The cases are in tir_cases.txt: a name, blocks separated by `# %%`, and the output of all of them (`#> …`), which is
either known from the literature or follows from a line of mathematics. `...text` skips to the line that is `text`.
"""

from __future__ import annotations

import asyncio
import importlib.util
import re
from pathlib import Path

import pytest

from podium.sandbox import Limits, Sandbox

CASES = re.split(r"(?m)^## ", (Path(__file__).parent / "tir_cases.txt").read_text())[1:]
SCIPY = """
from scipy.optimize import brentq, linprog
from scipy.special import comb
from scipy.integrate import quad
import numpy as np
print(round(brentq(lambda x: x**3 - 2, 0, 2), 6), comb(10, 3, exact=True), round(quad(np.sin, 0, np.pi)[0], 6))
print(round(-linprog([-3, -5], A_ub=[[1, 1], [1, 3], [1, 0]], b_ub=[4, 6, 3]).fun, 6))
"""


def split(case: str) -> tuple[str, list[str], list[str]]:
    name, body = case.split("\n", 1)
    code = "".join(line + "\n" for line in body.splitlines() if not line.startswith("#>"))
    return name, code.split("# %%\n"), [line[3:] for line in body.splitlines() if line.startswith("#>")]


def agrees(output: str, expected: list[str]) -> bool:
    """Line by line; `...text` stands for any lines up to and including `text`."""
    lines = [line.rstrip() for line in output.splitlines()]
    for want in expected:
        if want.startswith("..."):
            while lines and lines[0] != want[3:]:
                lines.pop(0)
            want = want[3:]
        if not lines or lines.pop(0) != want.rstrip():
            return False
    return not lines


def test_there_are_fifty_cases():
    assert len({split(case)[0] for case in CASES}) >= 50


@pytest.fixture(scope="module")
def limits() -> Limits:
    return Limits(wall_seconds=20.0, cpu_seconds=20.0)


async def complaint(sandbox: Sandbox, case: str) -> str:
    """What is wrong with the run of one case; empty when nothing is."""
    name, blocks, expected = split(case)
    session = await sandbox.open(seed=0)
    results = [await session.run(block) for block in blocks]
    await session.close()
    output = "".join(result.output for result in results)
    statuses = [result.status for result in results]
    errors = sum(line.startswith("...") for line in expected)
    if agrees(output, expected) and statuses.count("ok") == len(blocks) - errors:
        return ""
    return f"{name}: {statuses}\n{output}\nexpected {expected}"


async def test_solutions_run_unchanged(limits):
    async with Sandbox(limits, warm=("numpy", "sympy")) as sandbox:
        wrong = await asyncio.gather(*(complaint(sandbox, case) for case in CASES))
    assert not any(wrong), "\n\n".join(filter(None, wrong))


@pytest.mark.skipif(importlib.util.find_spec("scipy") is None, reason="scipy is not installed")
async def test_scipy(limits):
    async with Sandbox(limits, warm=("numpy", "sympy")) as sandbox:
        result = await (await sandbox.open(seed=0)).run(SCIPY)
    assert result.status == "ok", result.output
    assert result.output.split() == ["1.259921", "120", "2.0", "14.0"]


async def test_a_plot_without_a_display_is_an_error_that_can_be_read(limits):
    """Plots have no place to go; whatever happens, the variables stay."""
    async with Sandbox(limits, warm=("numpy", "sympy")) as sandbox:
        session = await sandbox.open(seed=0)
        first = await session.run("area = 12\nimport turtle\nturtle.forward(5)")
        assert first.status == "error"
        assert "Error" in first.output
        assert (await session.run("area")).output.strip() == "12"
        await session.close()
