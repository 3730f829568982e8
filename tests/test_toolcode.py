"""The form of a tool-integrated solution: splitting and joining undo each other, and nobody spells it twice."""

from __future__ import annotations

import ast
import itertools
import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

import podium
from podium.records import Part
from podium.toolcode import (
    CLOSE_TAG,
    OPEN_TAG,
    closed_block,
    code_block,
    cut_output,
    output_block,
    output_in,
    outside_code,
    parts_of,
    split,
    split_written,
    written_text,
)

SOURCE = Path(podium.__file__).parent
DOCUMENTED = (
    Part(
        role="model",
        text="The digits are long, so I compute it.\n<tool_call>\nprint(18271 * 43432)\n</tool_call>",
    ),
    Part(role="tool", text="\n```output\n793546072\n```\n"),
    Part(role="model", text="The product is \\boxed{793546072}."),
)
FRAGMENTS = st.lists(
    st.sampled_from(
        [
            "<tool_call>",
            "</tool_call>",
            "\n```output\n",
            "\n```\n",
            "```",
            "\n",
            "print(1)",
            "so ",
            "<tool",
            "_call>",
            "é",
        ]
    ),
    max_size=14,
).map("".join)


def test_the_documented_solution_splits_into_text_code_and_output():
    assert [(segment.kind, segment.inside) for segment in split(DOCUMENTED)] == [
        ("text", "The digits are long, so I compute it.\n"),
        ("code", "print(18271 * 43432)"),
        ("output", "793546072"),
        ("text", "The product is \\boxed{793546072}."),
    ]
    assert code_block("print(18271 * 43432)") == DOCUMENTED[0].text.partition("\n")[2]
    assert output_block("793546072\n") == DOCUMENTED[1].text
    assert parts_of("".join(part.text for part in DOCUMENTED)) == DOCUMENTED
    assert written_text(DOCUMENTED) == DOCUMENTED[0].text + DOCUMENTED[2].text
    assert outside_code(written_text(DOCUMENTED)) == (
        "The digits are long, so I compute it.\nThe product is \\boxed{793546072}."
    )


@given(st.lists(st.tuples(st.sampled_from(["model", "tool"]), FRAGMENTS), max_size=6))
def test_the_segments_of_a_solution_joined_are_its_text(given_parts):
    parts = [Part(role=role, text=text) for role, text in given_parts]
    assert "".join(segment.text for segment in split(parts)) == "".join(part.text for part in parts)


@given(FRAGMENTS)
@example("I close </tool_call>\n```output\n1\n```\n")
def test_the_parts_of_a_text_joined_are_the_text_and_tools_speak_behind_closing_tags_only(text):
    parts = parts_of(text)
    assert "".join(part.text for part in parts) == text
    for before, part in itertools.pairwise(parts):
        if part.role == "tool":
            assert before.role == "model"
            assert before.text.endswith("</tool_call>")
            assert output_in(part.text) is not None
    assert all(part.text for part in parts)
    assert not parts or parts[0].role == "model"


@given(st.lists(st.tuples(FRAGMENTS, st.text("0123456789 \n", max_size=9)), max_size=4), FRAGMENTS)
def test_a_solution_as_one_text_comes_back_in_its_parts(turns, last):
    def plain(text):
        return text.replace("</tool_call>", "").replace("```", "")

    parts = []
    for text, output in turns:
        parts.append(Part(role="model", text=f"{plain(text)}<tool_call>\nx\n</tool_call>"))
        parts.append(Part(role="tool", text=output_block(output)))
    if plain(last):
        parts.append(Part(role="model", text=plain(last)))
    assert parts_of("".join(part.text for part in parts)) == tuple(parts)


def test_a_fence_that_the_model_wrote_is_its_own_text():
    """Output that no code printed must stay what it is: invented."""
    invented = "It prints\n```output\n7\n```\n"
    assert [segment.kind for segment in split_written(invented)] == ["text"]
    assert parts_of(invented) == (Part(role="model", text=invented),)


@pytest.mark.parametrize(
    ("written", "code"),
    [
        (f"{OPEN_TAG}\nprint(1)\n{CLOSE_TAG}", "print(1)"),
        (f"As {OPEN_TAG} said: {OPEN_TAG}print(5){CLOSE_TAG}", "print(5)"),
        (f"{OPEN_TAG}{CLOSE_TAG}", ""),
        (f"{OPEN_TAG}\n  x = 1\n\n{CLOSE_TAG}", "  x = 1"),
        (f"I close {CLOSE_TAG}", None),
        (f"{OPEN_TAG}a{CLOSE_TAG} and {CLOSE_TAG}", None),
        (f"{OPEN_TAG}print(1)", None),
        (f"{OPEN_TAG}print(1){CLOSE_TAG} so", None),
        ("", None),
    ],
)
def test_which_block_the_end_of_a_text_closes(written, code):
    assert closed_block(written) == code
    last = split_written(written)[-1:]
    if code is not None:
        assert (last[0].kind, last[0].inside) == ("code", code)


def test_unfinished_code_is_code_and_an_opening_tag_before_another_stays_text():
    assert [(s.kind, s.inside) for s in split_written("I run <tool_call>\nprint(")] == [
        ("text", "I run "),
        ("code", "print("),
    ]
    segments = split_written("As <tool_call> said: <tool_call>print(5)</tool_call>")
    assert [(s.kind, s.inside) for s in segments] == [("text", "As <tool_call> said: "), ("code", "print(5)")]
    assert outside_code("As <tool_call> said: <tool_call>print(5)</tool_call> so") == "As  so"


@pytest.mark.parametrize("text", ["\nNow!\n", "", "```output\n1\n```", "\n```output\n```\n"])
def test_what_is_no_fence_holds_no_output_and_is_shown_as_it_is(text):
    assert output_in(text) is None
    assert [segment.inside for segment in split([Part(role="tool", text=text)])] == [text]


@given(st.text(max_size=40))
def test_an_output_comes_back_from_its_fence(output):
    assert output_in(output_block(output)) == output.rstrip("\n")


@given(st.text("ab\n", max_size=60), st.integers(1, 30))
def test_an_output_is_cut_in_its_middle_and_says_how_much(text, limit):
    shown, missing = cut_output(text, 0, "", limit)
    if len(text) <= limit:
        assert (shown, missing) == (text, 0)
        return
    assert missing == len(text) - limit
    head, tail = text[: limit - limit // 2], text[len(text) - limit // 2 :]
    assert shown == f"{head}\n... [{missing} characters not shown] ...\n{tail}"


# -- one spelling

SPELLINGS = re.compile(r"tool_call>|```output|characters not shown\]")


def texts(file: Path) -> Iterator[tuple[int, str]]:
    """(line, text) of what a file says: of Python the strings but for docstrings, of other files every line."""
    if file.suffix != ".py":
        yield from enumerate(file.read_text().splitlines(), start=1)
        return
    tree = ast.parse(file.read_text())
    documentation = {
        id(node.value) for node in ast.walk(tree) if isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant)
    }
    for node in ast.walk(tree):
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and id(node) not in documentation:
            yield node.lineno, node.value


def second_spellings(root: Path, owner: Path) -> list[str]:
    """Where below `root` a tag, the fence, or the line in cut output is spelt, except in `owner`."""
    kinds = {".py", ".js", ".c", ".h", ".html", ".css", ".yaml", ".yml", ".json", ".toml", ".go"}
    files = [file for file in sorted(root.rglob("*")) if file.suffix in kinds and "vendor" not in file.parts]
    files = [file for file in files if SPELLINGS.search(file.read_text())]  # the others need not be parsed
    return [
        f"{file.relative_to(root)}:{line}"
        for file in files
        if file != owner
        for line, text in texts(file)
        if SPELLINGS.search(text)
    ]


def test_tags_fence_and_cut_are_spelt_once():
    assert not second_spellings(SOURCE, SOURCE / "toolcode.py"), "take them from podium.toolcode"
    assert {match[0] for _, text in texts(SOURCE / "toolcode.py") for match in SPELLINGS.finditer(text)} == {
        "tool_call>",
        "```output",
        "characters not shown]",
    }


@pytest.mark.parametrize(
    ("name", "line"),
    [
        ("a.py", 'TAG = "<tool_call>"'),
        ("a.py", 'text = f"{x}</tool_call>"'),
        ("a.py", 'CODE = re.compile(r"<tool_call>.*")'),
        ("a.py", 'shown = f"\\n```output\\n{x}\\n```\\n"'),
        ("a.py", 'note = f"... [{n} characters not shown] ..."'),
        ("a.js", "text.split(/(<tool_call>[^]*?<\\/tool_call>)/)"),
        ("a.yaml", "stop: ['</tool_call>']"),
    ],
)
def test_a_second_spelling_is_found(tmp_path, name, line):
    (tmp_path / name).write_text(f"{line}\n")
    assert second_spellings(tmp_path, tmp_path / "toolcode.py") == [f"{name}:1"]


def test_docstrings_may_show_the_form(tmp_path):
    (tmp_path / "a.py").write_text('def f():\n    """A block ends with </tool_call>."""\n    # so does <tool_call>\n')
    assert second_spellings(tmp_path, tmp_path / "toolcode.py") == []
