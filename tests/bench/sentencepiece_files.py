"""Small vocabularies in SentencePiece's format, written by its definition (sentencepiece_model.proto)."""

from __future__ import annotations

import struct
from collections.abc import Sequence
from pathlib import Path

from tensorflow_files import number, sized

UNKNOWN, NORMAL = 2, 1


def write_pieces(path: Path, pieces: Sequence[str], scores: Sequence[float] | None = None, kind: int = 1) -> None:
    """A .model file; `<unk>` is the unknown piece, all others are normal ones. `kind` 1 is a unigram model."""
    content = b""
    for place, piece in enumerate(pieces):
        score = scores[place] if scores else -float(place)
        entry = sized(1, piece.encode()) + number(2 << 3 | 5) + struct.pack("<f", score)
        content += sized(1, entry + number(3 << 3) + number(UNKNOWN if piece == "<unk>" else NORMAL))
    path.write_bytes(content + sized(2, number(3 << 3) + number(kind)))
