"""Vocabularies of SentencePiece (a .model file, unigram kind): text to piece numbers and back.

The file is a protocol buffer (sentencepiece_model.proto: ModelProto). A text is cut into the pieces whose scores have
the largest sum (Kudo 2018, arXiv:1804.10959, equation 3). Knows no normalisation: give it text that needs none.
"""

from __future__ import annotations

import struct
from pathlib import Path

from podium.bench.formats.protobuf import WireError, fields
from podium.errors import InputError

SPACE = "\u2581"
NORMAL, USER_DEFINED, UNIGRAM = 1, 4, 1


class Pieces:
    """The pieces of a vocabulary: text [N] and score [N] by number; `usable` are those that text is cut into."""

    def __init__(self, pieces: list[str], scores: list[float], usable: list[bool]) -> None:
        self.pieces, self.scores = pieces, scores
        self.numbers = {piece: number for number, piece in enumerate(pieces) if usable[number]}
        self.longest = max(map(len, self.numbers), default=0)

    def __len__(self) -> int:
        return len(self.pieces)

    def encode(self, text: str) -> list[int]:
        """Numbers of the best cut of `text`.

        Raises:
            ValueError: a character that no piece holds.
        """
        marked = SPACE + text.replace(" ", SPACE)
        best: list[tuple[float, int, int]] = [(0.0, 0, -1)]  # score up to here, where its last piece begins, number
        for end in range(1, len(marked) + 1):
            chosen = (float("-inf"), 0, -1)
            for begin in range(max(0, end - self.longest), end):
                number = self.numbers.get(marked[begin:end])
                if number is not None and (score := best[begin][0] + self.scores[number]) > chosen[0]:
                    chosen = (score, begin, number)
            best.append(chosen)
        if best[-1][0] == float("-inf"):
            strange = sorted(set(marked) - {letter for piece in self.numbers for letter in piece})
            raise ValueError(f"no pieces for {''.join(strange) or text}")
        found = []
        end = len(marked)
        while end:
            _, begin, number = best[end]
            found.append(number)
            end = begin
        return found[::-1]

    def decode(self, numbers: list[int]) -> str:
        return "".join(self.pieces[number] for number in numbers).replace(SPACE, " ").strip()


def read_pieces(path: Path) -> Pieces:
    """The vocabulary in a .model file.

    Raises:
        InputError: missing, no such file, cut off, or of another kind than unigram.
    """
    pieces: list[str] = []
    scores: list[float] = []
    usable: list[bool] = []
    kind_of_model = UNIGRAM
    try:
        for number, value in fields(path.read_bytes()):
            if number == 1 and not isinstance(value, int):
                entry = dict(fields(value))
                text, score, kind = entry.get(1, b""), entry.get(2, b"\0\0\0\0"), entry.get(3, NORMAL)
                if isinstance(text, int) or isinstance(score, int):
                    raise WireError("a piece without text")
                pieces.append(bytes(text).decode())
                scores.append(struct.unpack("<f", score)[0])
                usable.append(kind in (NORMAL, USER_DEFINED))
            elif number == 2 and not isinstance(value, int):
                kind = dict(fields(value)).get(3, UNIGRAM)
                kind_of_model = kind if isinstance(kind, int) else 0
    except FileNotFoundError:
        raise InputError(f"{path}: missing", "make it with the reference's create_sentencepieces.sh") from None
    except (WireError, struct.error, UnicodeDecodeError) as error:
        raise InputError(f"{path}: no SentencePiece model, or one that is cut off ({error})", "make it again") from None
    if not any(usable) or kind_of_model != UNIGRAM:
        raise InputError(f"{path}: no unigram model of SentencePiece", "train it with model_type='unigram'")
    return Pieces(pieces, scores, usable)
