"""Text from a session made fit to be shown: no control or direction characters, a beginning and an end.

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


def abridge(beginning: str, dropped: int, end: str, limit: int) -> tuple[str, int]:
    """At most `limit` characters of a text of which `dropped` are already missing between `beginning` and `end`.

    Returns (the text with a line in the gap that says how many characters are not shown, that number).
    """
    if not dropped and len(beginning) + len(end) <= limit:
        return beginning + end, 0
    if not dropped:
        beginning, end = beginning + end, beginning + end
        total = len(beginning)
    else:
        total = len(beginning) + dropped + len(end)
    head = beginning[: limit - limit // 2]
    tail = end[max(len(end) - limit // 2, 0) :]
    missing = total - len(head) - len(tail)
    return f"{head}\n... [{missing} characters not shown] ...\n{tail}", missing
