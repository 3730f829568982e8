r"""Find the answer in a text: the content of the last \boxed{...}.

Knows braces, not mathematics. Linear time, whatever the text.
"""

from __future__ import annotations

import re

# \boxed{ opens a box; "\boxed 5" is TeX's form without braces; any other escaped character is skipped, so that
# \{ and \} do not count as braces.
_TOKENS = re.compile(r"(?P<box>\\f?boxed\s*\{)|\\boxed\s*(?P<bare>-?[\w.,/]+)|\\.|[{}]", re.DOTALL)


def extract(text: str) -> str | None:
    r"""Content of the last balanced \boxed{...} (of the outermost, where boxes are nested), stripped.

    A box that is never closed is passed over. None when there is no box or the last one is empty.
    """
    starts: list[int] = []  # where the content of each open brace starts; -1 for a brace that is not a box
    found: tuple[int, int] | None = None
    for token in _TOKENS.finditer(text):
        if token["box"]:
            starts.append(token.end())
        elif token["bare"]:
            found = token.start("bare"), token.end("bare")
        elif token[0] == "{":
            starts.append(-1)
        elif token[0] == "}" and starts:
            start = starts.pop()
            if start >= 0:
                found = start, token.start()
    if found is None:
        return None
    return text[found[0] : found[1]].strip().rstrip(",.").strip() or None
