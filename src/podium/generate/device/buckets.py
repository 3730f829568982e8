"""Which fixed shapes decode steps have: few enough to capture each of them, fine enough to waste little on padding.

Plain numbers; no tensors.
"""

from __future__ import annotations

from collections.abc import Sequence

ROWS = (1, 2, 4, 8, 12, 16, 24, 32, 48, 64, 96, 128)
"""Tokens of a step. A step that is bound by reading weights costs the same for a few rows more."""


def row_bucket(rows: int) -> int | None:
    """The least of ROWS that holds `rows`; None where none does."""
    return next((bucket for bucket in ROWS if bucket >= rows), None)


def block_buckets(most: int, least: int = 4) -> tuple[int, ...]:
    """Widths of block tables up to `most` blocks: powers of two and the middles between them, the last one `most`.

    What is gathered beyond a context's end is at most half of it, once it is longer than the first.
    """
    widths: list[int] = []
    width = least
    while width < most:
        widths.append(width)
        # 4, 6, 8, 12, 16, 24, …
        width = width * 3 // 2 if width & (width - 1) == 0 else width * 4 // 3
    return (*widths, most)


def block_bucket(blocks: int, widths: Sequence[int]) -> int:
    """The least of rising `widths` that holds `blocks`. Raises ValueError where none does."""
    for width in widths:
        if width >= blocks:
            return width
    raise ValueError(f"a context of {blocks} blocks in a pool whose widest table has {widths[-1]}")
