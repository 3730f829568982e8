"""Drafters by name: who guesses tokens ahead for the engine of a stored model.

Stands above the guessers and chooses one. A package adds a drafter with `@drafter(name)` and an entry point of the
group `podium.drafters`. What a model says does not depend on its drafter, only how many steps that takes.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Hashable, Sequence
from typing import TYPE_CHECKING, Any, TypeAlias, TypeVar

from podium.generate.guess import (
    DEPTH,
    FIRST_CHANCE,
    LONGEST_WEIGHT,
    ORDERS,
    WEIGHT,
    DraftRequest,
    Guesser,
    Guessing,
    in_turn,
    worth_their_rows,
)
from podium.registry import Registry, place

if TYPE_CHECKING:
    from torch import Tensor

    from podium.compress.draft import DraftHead
    from podium.models import StoredModel

MakeDrafter: TypeAlias = "Callable[[StoredModel], Guessing | None]"
"""Makes the drafter of a model; None where this model has none."""


class _Drafters(Registry[MakeDrafter]):
    def accept(self, name: str, loaded: Any) -> None:
        drafter(name)(loaded)


DRAFTERS = _Drafters("drafter", "podium.drafters")
MakeT = TypeVar("MakeT", bound="Callable[[Any], Guessing | None]")


def drafter(name: str) -> Callable[[MakeT], MakeT]:
    """Register `make(stored_model) -> drafter` under `name`; for use as a decorator over a function, or over a class
    whose only argument is the model.

    Raises:
        InputError: the name is taken.
    """

    def register(make: MakeT) -> MakeT:
        DRAFTERS.add(name, make, place(make))
        return make

    return register


class ChainDrafter(ABC):
    """A drafter that guesses a chain of tokens for each completion. Implements Guessing.

    Who derives from it writes `chain`. How often the first, second, … guess of a chain turned out right is counted
    here, and decides how many of them a step is worth.

    Attributes:
        depth: guesses in a row at most.
        taps: layers whose outputs stand behind the target's last state.
    """

    depth: int = DEPTH
    taps: tuple[int, ...] = ()

    def __init__(self) -> None:
        self._right = [[FIRST_CHANCE, WEIGHT] for _ in range(self.depth)]  # by depth: share and its weight
        self._open: dict[Hashable, tuple[int, list[int]]] = {}  # completion -> its length then, and the guesses

    @abstractmethod
    def chain(self, tokens: Sequence[int], limit: int) -> list[int]:
        """What may come after `tokens`, the whole context of a completion: at most `limit` tokens."""

    def guess(
        self,
        requests: Sequence[DraftRequest],
        states: Tensor | None,
        room: int,
        times: Sequence[float] | None = None,
        margin: float = 1.0,
    ) -> list[list[int]]:
        before, self._open = self._open, {}
        chains: list[list[int]] = []
        for request in requests:
            if request.key in before:
                self._check(*before[request.key], request.tokens)
            limit = min(request.limit, self.depth)
            chain = self.chain(request.tokens, limit)[:limit] if limit > 0 else []
            self._open[request.key] = len(request.tokens), chain
            chains.append(chain)
        if times is None:
            turns = in_turn(chains, room)
        else:
            chances = [[self._right[depth][0] for depth in range(len(chain))] for chain in chains]
            turns = worth_their_rows(chances, room, times, margin)
        kept = [0] * len(requests)
        for number in turns:
            kept[number] += 1
        return [chain[:count] for chain, count in zip(chains, kept, strict=True)]

    def _check(self, length: int, chain: Sequence[int], tokens: Sequence[int]) -> None:
        for depth, (guess, token) in enumerate(zip(chain, tokens[length:], strict=False)):
            share = self._right[depth]
            share[1] = min(share[1] + 1, LONGEST_WEIGHT)
            share[0] += ((guess == token) - share[0]) / share[1]
            if guess != token:
                return


def guesser(
    head: DraftHead | None = None,
    *,
    depth: int = DEPTH,
    orders: Sequence[int] = ORDERS,
    siblings_only: bool = False,
) -> Guessing:
    """The C guesser where there is one and the head, if any, is on the CPU; else the one in Python. Arguments as of
    Guesser."""
    from podium.generate.native.build import native_library
    from podium.generate.native.guess import NativeGuesser

    on_cpu = head is None or head.embeddings.device.type == "cpu"
    kind = NativeGuesser if on_cpu and native_library().library is not None else Guesser
    return kind(head, depth=depth, orders=orders, siblings_only=siblings_only)


@drafter("own")
def own_drafter(stored: StoredModel) -> Guessing | None:
    """The model's draft head with n-grams, where the folder has one (`podium draft` trains it)."""
    from podium.compress import DRAFT_FOLDER, load_draft

    folder = stored.folder / DRAFT_FOLDER
    if not (folder / "config.json").exists():
        return None
    with stored.ends() as target:
        head = load_draft(folder, target)
    return guesser(head)


@drafter("ngrams")
def ngram_drafter(stored: StoredModel) -> Guessing:
    """n-grams of what was written before, without a head."""
    return guesser()


@drafter("none")
def no_drafter(stored: StoredModel) -> None:
    """Nobody guesses."""
