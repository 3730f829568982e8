"""When text repeats itself and nothing else: an exact period at its end, many times in a row. Knows text only.

A model that has fallen into a loop writes the same words until its token limit. What counts is an exact period: at
least REPEATS copies of at most LONGEST characters each, LEAST characters in all, with nothing between them. A count
that goes up, a table, a proof by cases are none. The moment is the same however the text comes in: it is looked at
every STRIDE characters, and not at what lies behind.
"""

from __future__ import annotations

REPEATS = 8
LEAST = 1_200  # characters of the whole repetition: a row of zeros or dashes is shorter
LONGEST = 2_000  # characters of one period
STRIDE = 64
_CANDIDATES = 8  # distances at which the last STRIDE characters are found again, and tried as a period


class RepetitionWatch:
    """Watches one stretch of text as it grows; what somebody else wrote in between begins a new one."""

    __slots__ = ("_looked", "text")

    def __init__(self) -> None:
        self.text = ""
        self._looked = 0  # characters, a multiple of STRIDE

    def push(self, text: str) -> int | None:
        """Take more text. The number of its characters that lie behind the moment at which the repetition was found;
        None: there is none."""
        self.text += text
        while self._looked + STRIDE <= len(self.text):
            self._looked += STRIDE
            if period_at_end(self.text, self._looked) is not None:
                return len(self.text) - self._looked
        return None

    def restart(self) -> None:
        """Somebody else wrote."""
        self.text = ""
        self._looked = 0


def period_at_end(text: str, end: int | None = None) -> int | None:
    """The period of the repetition that `text[:end]` ends with, in characters; None when it ends with none."""
    end = len(text) if end is None else end
    if end < LEAST:
        return None
    tail = text[end - STRIDE : end]
    found = end - STRIDE
    for _ in range(_CANDIDATES):
        # The last STRIDE characters stand one period before as well, whatever the period is.
        found = text.rfind(tail, max(0, end - STRIDE - LONGEST), found + STRIDE - 1)
        if found < 0:
            return None
        period = end - STRIDE - found
        whole = max(LEAST, REPEATS * period)
        if whole <= end and text[end - whole : end - period] == text[end - whole + period : end]:
            return period
    return None
