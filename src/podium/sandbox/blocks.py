"""A block's source, read as a notebook reads a cell.

Knows Python's grammar and the lines that only a notebook understands (`!command`, `%magic`, `name?`, prompts); runs
nothing. What is plain Python is compiled as it stands; only what does not parse is looked at for such lines.
"""

from __future__ import annotations
import __future__

import ast
import re
import types

_FUTURES = 0
for _name in __future__.all_feature_names:
    _FUTURES |= getattr(__future__, _name).compiler_flag

# One token of a logical line, as far as it decides where the line ends.
_TOKEN = re.compile(
    r"""\#[^\n]*                                   # a comment
      | (?P<quotes>\"{3}|'{3})(?:\\.|(?!(?P=quotes)).)*(?:(?P=quotes)|\Z)
      | "(?:\\.|[^"\\\n])*"? | '(?:\\.|[^'\\\n])*'?
      | \\\n                                       # the line goes on
      | [([{] | [)\]}] | \n""",
    re.VERBOSE | re.DOTALL,
)
_REST = r"(?P<rest>(?:\\\n|[^\n])*)"  # of a line, and of those that it goes on in after a backslash
_INSTALLERS = r"(?:pip3?|conda|mamba|micromamba|uv)\b"
_COMMAND = re.compile(rf"(?P<indent>[ \t]*)(?P<text>(?:!|{_INSTALLERS}[ \t]+[a-z]){_REST})")
_MAGIC = re.compile(rf"(?P<indent>[ \t]*)(?P<text>%(?P<name>%?[\w.]+)[ \t]*{_REST})")
_HELP = re.compile(
    r"(?P<indent>[ \t]*)(?P<text>\?{1,2}[^\n]*|%{0,2}(?!\d)[\w*]+(?:\.[\w*]+|\[-?\d+\])*\?{1,2})[ \t]*(?=\n|\Z)"
)
_ASSIGNED = re.compile(rf"(?P<indent>[ \t]*)(?P<text>[A-Za-z_][\w.,*\[\] \t]*=[ \t]*(?:!|%[A-Za-z]){_REST})")
_INSTALLS = re.compile(rf"[!%]*\s*(?:\S*python3?\s+-m\s+)?{_INSTALLERS}|[!%]*\s*(?:sudo\s+)?apt")
_PROMPT = re.compile(r"[ \t]*(?:>>>|\.\.\.|In \[\d+\]:|[ \t]*\.\.\.:)(?:[ \t]|$)")
_FIRST_PROMPT = re.compile(r"\s*(?:>>> |In \[\d+\]: )")
# Magics of a whole block whose block is Python, and is run once.
_PYTHON_CELLS = frozenset({"time", "timeit", "capture", "prun", "python", "python3"})
_NOTHING_INSTALLED = "nothing can be installed here; what is installed can be imported"
_SHOWN = 60  # characters of such a line in its hint


class BlockReader:
    """Compiles the blocks of one session; `from __future__` statements hold for the later ones too."""

    def __init__(self) -> None:
        self._futures = 0

    def read(self, source: str, name: str) -> tuple[types.CodeType, types.CodeType | None]:
        """(the statements, the last expression if its value is to be shown).

        A closing semicolon hides the value. Code that awaits outside of a function is a coroutine (CO_COROUTINE).
        A line that only a notebook understands prints a hint in its place. Raises SyntaxError, and what else compiling
        may raise (MemoryError, RecursionError).
        """
        source, tree = self._plain(source, name)
        last = None
        if tree.body and isinstance(tree.body[-1], ast.Expr) and not _hides_value(source, tree.body[-1]):
            last = ast.Expression(tree.body.pop().value)  # type: ignore[attr-defined]
        statements = self._compile(tree, name, "exec")
        self._futures |= statements.co_flags & _FUTURES
        return statements, None if last is None else self._compile(last, name, "eval")

    def _plain(self, source: str, name: str) -> tuple[str, ast.Module]:
        """(what Python runs of the block, the same parsed)."""
        try:
            return source, self._parse(source, name)
        except SyntaxError:
            plain = without_notebook_lines(source)
            if plain == source:
                raise
        return plain, self._parse(plain, name)

    def _parse(self, source: str, name: str) -> ast.Module:
        return self._compile(source, name, "exec", ast.PyCF_ONLY_AST)  # type: ignore[return-value]

    def _compile(self, what: str | ast.AST, name: str, mode: str, flags: int = 0) -> types.CodeType:
        # Without dont_inherit a block would have this file's own `from __future__ import annotations`.
        return compile(what, name, mode, flags | self._futures | ast.PyCF_ALLOW_TOP_LEVEL_AWAIT, dont_inherit=True)  # type: ignore[call-overload]


def _hides_value(source: str, last: ast.Expr) -> bool:
    """Whether a semicolon follows the last expression. After it come only spaces, comments and that."""
    assert last.end_lineno is not None
    assert last.end_col_offset is not None
    lines = _newlines(source).split("\n")[last.end_lineno - 1 :]
    rest = lines[0].encode()[last.end_col_offset :].decode() + "\n" + "\n".join(lines[1:])
    return rest.lstrip(" \t\f\n\\").startswith(";")


def _newlines(source: str) -> str:
    """The line ends that Python's own tokenizer sees."""
    return source.replace("\r\n", "\n").replace("\r", "\n")


def without_notebook_lines(source: str) -> str:
    """The block with prompts and common indentation taken off and a hint printed in place of each line that only a
    notebook understands; every line keeps its number. Text inside strings and brackets is left alone."""
    source = _dedented(_newlines(source))
    whole = re.match(r"\s*%%(?P<name>[\w.]+)", source)
    if whole and whole["name"] not in _PYTHON_CELLS:
        first = source.strip().partition("\n")[0]
        return _printed(first, "this whole block: only Python can be run here")
    pieces: list[str] = []
    place = 0
    while place < len(source):
        found = _notebook_line(source, place)
        if found is not None:
            end, text = found
            # A line that went on in others leaves as many line ends as it had.
            pieces.append(text + "\n" * source.count("\n", place, end))
        else:
            end = _end_of_logical_line(source, place)
            pieces.append(source[place:end])
        place = end
    return "".join(pieces)


def _end_of_logical_line(source: str, place: int) -> int:
    depth = 0
    for token in _TOKEN.finditer(source, place):
        if token[0] in ("(", "[", "{"):
            depth += 1
        elif token[0] in (")", "]", "}"):
            depth = max(depth - 1, 0)
        elif token[0] == "\n" and not depth:
            return token.end()
    return len(source)


def _notebook_line(source: str, place: int) -> tuple[int, str] | None:
    """(where the line ends, what Python runs instead), or None for a line of Python."""
    if found := _HELP.match(source, place):
        text = _printed(found["text"], "there is no help window here; help(name) prints it")
    elif found := _COMMAND.match(source, place):
        why = _NOTHING_INSTALLED if _INSTALLS.match(found["text"]) else "no other program can be run here"
        text = _printed(found["text"], why)
    elif found := _MAGIC.match(source, place):
        text = _magic(found["name"].lstrip("%"), found["text"], found["rest"].strip())
    elif found := _ASSIGNED.match(source, place):
        text = _printed(found["text"], "commands and magics give nothing here")
    else:
        return None
    end = found.end()
    return (end + 1 if source[end : end + 1] == "\n" else end), found["indent"] + text


def _magic(name: str, text: str, rest: str) -> str:
    if name == "time" and rest and not text.startswith("%%"):
        # Its statement belongs to the block, whatever it takes.
        hinted = f"{_printed(text, 'nothing is measured', ran=True)}; {rest}"
        for candidate in (hinted, rest):
            try:
                ast.parse(candidate)
            except SyntaxError:
                continue
            return candidate
    if text.startswith("%%"):
        return _printed(text, "nothing is measured or caught; the block runs once", ran=True)
    if _INSTALLS.match(text):
        return _printed(text, _NOTHING_INSTALLED)
    return _printed(text, "there are no magics here")


def _printed(text: str, why: str, *, ran: bool = False) -> str:
    """Python that prints a hint about this text; `ran`: its statement runs all the same."""
    line = " ".join(text.replace("\\\n", " ").split())
    shown = line if len(line) <= _SHOWN else line[:_SHOWN] + "…"
    hint = f"({shown}: {why})" if ran else f"(not run: {shown}: {why})"
    return f"print({hint!r})"


def _dedented(source: str) -> str:
    """Without the prompts of a copied dialogue, or the indentation that the first line has."""
    lines = source.split("\n")
    if _FIRST_PROMPT.match(source):
        lines = [_PROMPT.sub("", line, count=1) for line in lines]
    first = next((line for line in lines if line.strip()), "")
    indent = first[: len(first) - len(first.lstrip(" \t"))]
    return "\n".join(line.removeprefix(indent) for line in lines)
