"""Which block of the key/value pool holds what, who uses it, and which one is given up next.

Knows block numbers and digests; no tensors, no requests. A block holds `block_size` consecutive positions. Full blocks
are found by a digest of everything up to their end, so that whoever begins alike shares them; they are never written
again. A running sequence *refers* to its blocks; for one that is paused or was preempted they are *held*, which is no
promise: blocks without a reference may be reused at any time, least recently released first and the held ones last,
but can be found until then.
"""

from __future__ import annotations

import hashlib
from array import array
from collections import OrderedDict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Generic, TypeAlias, TypeVar

ROOT = b""
"""What stands before the first block of a chain."""

HeldBlocks: TypeAlias = list[tuple[int, int]]
"""Blocks that a paused sequence hopes to find again: number, and which use of that number was meant."""

Payload = TypeVar("Payload")


def link(before: bytes, tokens: Sequence[int]) -> bytes:
    """The digest of a block's content and of all that is before it.

    128 bits of a cryptographic hash over the whole chain: equal digests are equal prefixes, whoever chose the tokens.
    """
    return hashlib.blake2b(before + array("i", tokens).tobytes(), digest_size=16).digest()


@dataclass(frozen=True, slots=True)
class CachedEnding(Generic[Payload]):
    """The block that a computed prompt ends in, and what the model said there. Behind the prompt's last position the
    block may hold somebody's answer: only a copy of it may be written to."""

    block: int
    payload: Payload


class BlockPool(Generic[Payload]):
    """`count` blocks. All operations on one block take constant time.

    Args:
        endings: prompts whose ending is remembered at most, since payloads are not counted among the blocks.
    """

    def __init__(self, count: int, block_size: int, endings: int) -> None:
        self.count = count
        self.block_size = block_size
        self._references = [0] * count
        self._holds = [0] * count
        self._use = [0] * count
        # Free blocks in the order of their reuse. Those that are held for somebody come after all others.
        self._cold: OrderedDict[int, None] = OrderedDict.fromkeys(range(count))
        self._warm: OrderedDict[int, None] = OrderedDict()
        self._digests: list[bytes | None] = [None] * count
        self._blocks: dict[bytes, int] = {}
        self._most_endings = endings
        self._endings: OrderedDict[bytes, CachedEnding[Payload]] = OrderedDict()
        self._ending_in: dict[int, bytes] = {}

    @property
    def available(self) -> int:
        """Blocks without a reference, which may be taken."""
        return len(self._cold) + len(self._warm)

    @property
    def used(self) -> int:
        """Blocks that somebody refers to, or that are held for somebody."""
        return self.count - len(self._cold)

    def is_free(self, block: int) -> bool:
        return not self._references[block]

    def take(self) -> int:
        """A block to write to, with one reference; what was in it is forgotten. There must be one available."""
        block, _ = (self._cold or self._warm).popitem(last=False)
        self._use[block] += 1
        self._holds[block] = 0
        self._references[block] = 1
        digest = self._digests[block]
        if digest is not None:
            del self._blocks[digest]
            self._digests[block] = None
        ending = self._ending_in.pop(block, None)
        if ending is not None:
            del self._endings[ending]
        return block

    def refer(self, block: int) -> None:
        if not self._references[block]:
            del (self._warm if self._holds[block] else self._cold)[block]
        self._references[block] += 1

    def release(self, blocks: Sequence[int]) -> None:
        """Let go of a table. Its end is reused first: a chain is worth nothing without its beginning."""
        for block in reversed(blocks):
            self._references[block] -= 1
            if not self._references[block]:
                self._free(block)

    def _free(self, block: int) -> None:
        if self._holds[block]:
            self._warm[block] = None
            return
        self._cold[block] = None
        if self._digests[block] is None and block not in self._ending_in:
            self._cold.move_to_end(block, last=False)  # nobody can find it

    def hold(self, blocks: Sequence[int]) -> HeldBlocks:
        """Let go of a table, but as something that will be asked for again."""
        for block in blocks:
            self._holds[block] += 1
        self.release(blocks)
        return [(block, self._use[block]) for block in blocks]

    def still_there(self, held: HeldBlocks) -> list[int]:
        """The blocks from the beginning of `held` up to the first that was reused."""
        blocks: list[int] = []
        for block, use in held:
            if self._use[block] != use:
                break
            blocks.append(block)
        return blocks

    def forget(self, held: HeldBlocks) -> None:
        """`held` will not be asked for any more."""
        for block, use in reversed(held):
            if self._use[block] == use:
                self._holds[block] -= 1
                if not self._holds[block] and not self._references[block]:
                    del self._warm[block]
                    self._free(block)

    def publish(self, block: int, digest: bytes) -> None:
        """The block is full and computed: let it be found. Of equal blocks the first is."""
        if digest not in self._blocks and self._digests[block] is None:
            self._blocks[digest] = block
            self._digests[block] = digest

    def find(self, digests: Iterable[bytes]) -> list[int]:
        """Blocks of the longest beginning of a chain that is there."""
        blocks: list[int] = []
        for digest in digests:
            block = self._blocks.get(digest)
            if block is None:
                break
            blocks.append(block)
        return blocks

    def remember(self, key: bytes, block: int, payload: Payload) -> None:
        """A prompt with the digest `key` ends in `block`."""
        if key in self._endings or block in self._ending_in:
            return
        if len(self._endings) >= self._most_endings:
            _, oldest = self._endings.popitem(last=False)
            del self._ending_in[oldest.block]
        self._endings[key] = CachedEnding(block, payload)
        self._ending_in[block] = key

    def ending(self, key: bytes) -> CachedEnding[Payload] | None:
        ending = self._endings.get(key)
        if ending is not None:
            self._endings.move_to_end(key)
        return ending
