"""What an engine in another process and its router say to each other, in batches.

Knows no transport. `request` is a number that the router chose for a completion or a scored text.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields
from operator import attrgetter
from typing import Any, TypeAlias

from podium.answering.protocol import CompletionUsage, Piece, Prompt, PromptScore, Sampling
from podium.errors import PodiumError

# -- to the replica --------------------------------------------------------------------------------------------------


@dataclass(slots=True)
class Start:
    """Begin a completion. Answered by Started or Refused, then PieceWritten and at last Finished or Failed."""

    request: int
    prompt: Prompt
    sampling: Sampling


@dataclass(slots=True)
class Extend:
    """Append text to a completion that paused at a stop string."""

    request: int
    text: str


@dataclass(slots=True)
class Cancel:
    """End a completion. Answered by Cancelled, after Finished where there was something to end."""

    request: int


@dataclass(slots=True)
class Score:
    """Score a text. Answered by Scored or Refused."""

    request: int
    tokens: Sequence[int]
    top_logprobs: int


@dataclass(slots=True)
class AskFigures:
    """Answered by Figures."""

    request: int


ToReplica: TypeAlias = Start | Extend | Cancel | Score | AskFigures

# -- from the replica ------------------------------------------------------------------------------------------------


@dataclass(slots=True)
class Ready:
    """The engine is loaded; a completion may span `context` tokens."""

    context: int


@dataclass(slots=True)
class Broken:
    """The engine cannot be loaded, or answers nothing any more."""

    failure: PodiumError


@dataclass(slots=True)
class Started:
    request: int


@dataclass(slots=True)
class Refused:
    """A completion or a scoring that did not begin."""

    request: int
    failure: PodiumError


@dataclass(slots=True)
class PieceWritten:
    request: int
    piece: Piece

    def __reduce__(self) -> tuple[Any, ...]:
        # These are nearly all messages, and a frozen dataclass takes six times as long to pickle as its fields.
        return _piece_written, (self.request, *_fields_of_piece(self.piece))


_fields_of_piece = attrgetter(*[each.name for each in fields(Piece)])


def _piece_written(request: int, *values: Any) -> PieceWritten:
    return PieceWritten(request, Piece(*values))


@dataclass(slots=True)
class Finished:
    """A completion is over, and this is what it used."""

    request: int
    usage: CompletionUsage


@dataclass(slots=True)
class Failed:
    """A completion that had begun is lost."""

    request: int
    failure: PodiumError


@dataclass(slots=True)
class Cancelled:
    request: int


@dataclass(slots=True)
class Scored:
    request: int
    score: PromptScore


@dataclass(slots=True)
class Figures:
    """What the replica has done since its start."""

    request: int
    figures: dict[str, float]


FromReplica: TypeAlias = (
    Ready | Broken | Started | Refused | PieceWritten | Finished | Failed | Cancelled | Scored | Figures
)
