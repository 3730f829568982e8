"""Text from a session made fit to be shown: it holds no control or direction characters.

Knows text only. Each character that is replaced is replaced by one character, so counts stay true.
"""

from __future__ import annotations

_REPLACEMENT = "\N{REPLACEMENT CHARACTER}"


def clean(text: str) -> str:
    """Printable characters, spaces, tabs and newlines; all else (control, format and direction characters, unassigned
    and private ones) becomes U+FFFD. A carriage return is a new line."""
    if "\r" in text:
        text = text.replace("\r\n", "\n").replace("\r", "\n")
    if all(line.isprintable() for line in text.split("\n")):
        return text
    return "".join(
        character if character in "\n\t" or character.isprintable() else " " if character.isspace() else _REPLACEMENT
        for character in text
    )
