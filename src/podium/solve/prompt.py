"""How a problem is asked and where its answer is looked for, as a person says it. Knows text only.

A problem is asked by a prompt of `podium.answering.prompts`, or by a template of the user's with `{problem}` in it.

Only `{problem}` is replaced, and literally: every other brace stays, because LaTeX is full of them. What looks
like another placeholder is refused, since a model would be shown its name.
"""

from __future__ import annotations

import hashlib
import re
from pathlib import Path
from typing import get_args

from podium.answering.prompts import EXAM_PROMPTS, PROBLEM, PROMPTS
from podium.errors import InputError, nearest
from podium.grading.rules import Finder
from podium.storage import storage_errors

FINDERS: dict[str, Finder] = {"boxed": "box", **{name: name for name in get_args(Finder)}}
"""What a person calls the places where an answer is looked for; see podium.grading.Rules.find."""
_STYLES_OR_FILE = f"{', '.join(EXAM_PROMPTS)}, or a file with {PROBLEM} in it"
# A word in braces that no LaTeX command, ^, _ or other brace comes before: {question}, {{question}}, { Problem }.
_PLACEHOLDER = re.compile(r"(?<![\w\\^_}\]{])\{+[ \t]*([A-Za-z_]\w+)[ \t]*(?:[.!]\w+|:[^\s{}]*)?[ \t]*\}+")


def check_template(template: str, where: str) -> str:
    """`template`, if it is one.

    Raises:
        InputError: no `{problem}` in it, or another placeholder; `where` names the template.
    """
    if PROBLEM in template:
        for found in _PLACEHOLDER.finditer(template):
            if found[0] == PROBLEM:
                continue
            line = template.count("\n", 0, found.start()) + 1
            raise InputError(
                f"{where}: line {line}: unknown placeholder {found[0]}",
                "only {problem} is replaced, in one pair of braces; take the braces away from other words",
            )
        return template
    other = _PLACEHOLDER.search(template)
    seen = f"; there is {other[0]}" if other else ""
    raise InputError(
        f"{where}: no {{problem}} in the template{seen}", "write {problem} where the problem's text belongs"
    )


def prompt_fields(text: str, folder: Path | None = None) -> dict[str, str]:
    """Fields of a Profile for what a person gave as the prompt: a style's name, or a template's file. `folder`: what
    a relative path is relative to.

    Raises:
        InputError: neither, a file that is no UTF-8 text, or a template that is none.
    """
    if text in EXAM_PROMPTS:
        return {"prompt": text}
    path = Path(text).expanduser()
    path = path if folder is None else folder / path
    if not text.strip():
        raise InputError("the prompt is empty", f"give {_STYLES_OR_FILE}")
    if not path.exists() and (Path(text).suffix or "/" in text):
        raise InputError(f"{path}: no such file", f"a prompt is {_STYLES_OR_FILE}")
    if not path.exists():
        raise InputError(f"no prompt style or file is called {text!r}", nearest(text, EXAM_PROMPTS))
    return {"template": read_template(path)}


def read_extraction(text: str) -> tuple[Finder, ...]:
    """Where an answer is looked for, in order, from `--extract final,number`.

    Raises:
        InputError: an unknown place, or none.
    """
    names = [name.strip().lower() for name in text.split(",") if name.strip()]
    for name in names:
        if name not in FINDERS:
            raise InputError(f"--extract {text}: an answer is not looked for in {name!r}", nearest(name, FINDERS))
    if not names:
        raise InputError(f"--extract {text!r}: nowhere to look for an answer", f"known: {', '.join(FINDERS)}")
    return tuple(dict.fromkeys(FINDERS[name] for name in names))


def read_template(path: Path) -> str:
    """The template in a file, without the line end that editors put behind it.

    Raises:
        InputError: no such file, no UTF-8 text, or a template that is none.
    """
    with storage_errors(path, "reading"):
        data = path.read_bytes()
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise InputError(f"{path}: not UTF-8 text (byte {error.start})", "save the prompt as UTF-8") from error
    return check_template(text.replace("\r\n", "\n").removesuffix("\n"), str(path))


def version_of(prompt: str, template: str, system: str) -> str:
    """A short name of how was asked: the style, or a digest of the template; and one of the system message."""

    def digest(text: str) -> str:
        return hashlib.blake2b(text.encode(), digest_size=4).hexdigest()

    # First versions are told without their number, as in the exams that were sat before prompts had one.
    version = PROMPTS[prompt].version
    style = prompt if version == 1 else f"{prompt}/{version}"
    name = f"template-{digest(template)}" if template else style
    return f"{name}+system-{digest(system)}" if system else name
