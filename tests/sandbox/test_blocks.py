"""How a block's source is read: what is plain Python stays, what only a notebook understands becomes a hint."""

from __future__ import annotations

import ast
import io
import tokenize

import pytest
from hypothesis import given
from hypothesis import strategies as st

from podium.sandbox.blocks import BlockReader, without_notebook_lines


@pytest.mark.parametrize(
    ("source", "hidden"),
    [
        ("x # a; b", False),
        ("x # a;", False),
        ("x;", True),
        ("x ; # c", True),
        ("(x);", True),
        ("'a;'", False),
        ("'a';", True),
        ("'é;'; # é", True),
        ("'''a\n;'''", False),
        ("f(1,\n  2);\n\n# the end\n", True),
        ("x \\\n;", True),
        ("x\n# a;", False),
        ("x;\r\n# b", True),
        ("y; x", False),
        ("a = '\u2028'\nx;", True),
    ],
)
def test_a_semicolon_hides_the_value_and_nothing_else_does(source, hidden):
    assert (BlockReader().read(source, "<block 1>")[1] is None) == hidden


@given(st.lists(st.sampled_from(["x", ";", " ", "# ;", "\n", "';'", "(", ")", "\\\n", "+"]), max_size=12).map("".join))
def test_the_last_token_decides(source):
    """Against Python's own tokenizer."""
    try:
        body = ast.parse(source).body
    except SyntaxError:
        return
    if not body or not isinstance(body[-1], ast.Expr):
        return
    passed = (tokenize.ENDMARKER, tokenize.NL, tokenize.NEWLINE, tokenize.COMMENT)
    tokens = [token for token in tokenize.generate_tokens(io.StringIO(source).readline) if token.type not in passed]
    assert (BlockReader().read(source, "<block 1>")[1] is None) == (tokens[-1].string == ";")


@pytest.mark.parametrize(
    ("source", "kept"),
    [
        ("!ls\nx = 1", [None, "x = 1"]),
        ("!!ls -l 'it\nx = 1", [None, "x = 1"]),
        ("%pip install numpy\nimport numpy", [None, "import numpy"]),
        ("pip install numpy\nimport numpy", [None, "import numpy"]),
        ("%%time\nx = 1", [None, "x = 1"]),
        ("%timeit f(2)\nx = 1", [None, "x = 1"]),
        ("?x\nx?\nx.y??\n??x\nx[0]?", [None] * 5),
        ("files = !ls\na, b = %sx ls\nx", [None, None, "x"]),
        ("if x:\n    !ls\nelse:\n    %who\n", ["if x:", None, "else:", None, ""]),
        ("!ls \\\n  -l\nx", [None, "", "x"]),
        ("x = 17 \\\n  % 5\n!ls", ["x = 17 \\", "  % 5", None]),
        ("x = (17\n% 5)\n!ls", ["x = (17", "% 5)", None]),
        ("s = '''\n!a\n%b\nc?\n'''\n!ls", ["s = '''", "!a", "%b", "c?", "'''", None]),
        ("s = \"#'\"  # it's (\n!ls", ["s = \"#'\"  # it's (", None]),
        ("    !ls\n    x = 1", [None, "x = 1"]),
        (">>> x = 1\n>>> for n in x:\n...     n\n", ["x = 1", "for n in x:", "    n", ""]),
        ("In [1]: x = 1\n   ...: x", ["x = 1", "x"]),
        ("  x = 1\n  x", ["x = 1", "x"]),
        ("!ls\r\nx = 1\r\n", [None, "x = 1", ""]),
    ],
)
def test_only_lines_of_a_notebook_are_replaced_and_all_keep_their_number(source, kept):
    lines = without_notebook_lines(source).split("\n")
    assert [None if line.strip().startswith("print(") else line for line in lines] == kept
    BlockReader().read(source, "<block 1>")


@pytest.mark.parametrize("source", ["x = (1,\n% 2)\n!", "x = 1?", "1 +", "say what?", "x = 5 % % 3", "def f(:\n!ls"])
def test_what_is_no_line_of_a_notebook_is_an_error_still(source):
    with pytest.raises(SyntaxError):
        BlockReader().read(source, "<block 1>")


@pytest.mark.parametrize(
    ("source", "names"), [("%time y = 3", ["y"]), ("%time for i in [1]: y = i", ["i", "y"]), ("%time", [])]
)
def test_a_timed_statement_runs(source, names, capsys):
    variables: dict[str, object] = {}
    exec(BlockReader().read(source, "<block 1>")[0], variables)
    assert sorted(set(variables) - {"__builtins__"}) == names


def test_a_block_in_another_language_is_not_run():
    statements, hint = BlockReader().read("%%bash\nx = 1\nrm -r /\n", "<block 1>")
    assert hint is not None
    assert statements.co_names + hint.co_names == ("print",)


def test_hints_are_one_short_line(capsys):
    _, last = BlockReader().read("!" + "long \\\n" * 100, "<block 1>")
    assert last is not None
    eval(last)
    printed = capsys.readouterr().out
    assert printed.count("\n") == 1
    assert len(printed) < 150
