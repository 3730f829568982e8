"""Where keys and values live: the slab of the running rows, and snapshots of those that are not running.

Knows tensors and slots, no tokens and no requests. The slab is one tensor per layer, rows side by side, so that one
attention call reads them all in place; a snapshot is one sequence cut to its length.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True, slots=True)
class CacheShape:
    """What one position costs and looks like."""

    layers: int
    kv_heads: int
    head_dim: int
    dtype: torch.dtype
    device: torch.device

    @property
    def bytes_per_position(self) -> int:
        return 2 * self.layers * self.kv_heads * self.head_dim * self.dtype.itemsize

    def zeros(self, rows: int, positions: int) -> Tensor:
        """One layer, [2, rows, Hkv, positions, Dh]: keys and values. Zeroed, since the value of a masked key is still
        multiplied by 0, and must be finite for that. Positions stand next to each other within a head: attention
        reads them three times as fast as with the heads in between."""
        return torch.zeros(2, rows, self.kv_heads, positions, self.head_dim, dtype=self.dtype, device=self.device)


class Snapshot:
    """Keys and values of one sequence: per layer [2, Hkv, length, Dh]."""

    __slots__ = ("layers", "length", "nbytes")

    def __init__(self, layers: list[Tensor]) -> None:
        self.layers = layers
        self.length = layers[0].shape[2]
        self.nbytes = sum(layer.nbytes for layer in layers)

    @classmethod
    def blank(cls, shape: CacheShape, length: int) -> Snapshot:
        return cls([shape.zeros(1, length)[:, 0] for _ in range(shape.layers)])


class Slab:
    """Keys and values of the running rows: per layer [2, rows, Hkv, capacity, Dh], and the mask they share."""

    def __init__(self, shape: CacheShape) -> None:
        self.shape = shape
        self.rows = 0
        self.capacity = 0
        self.layers: list[Tensor] = []
        self.resize(0, 0)

    @property
    def nbytes(self) -> int:
        return self.bytes_for(self.rows, self.capacity)

    def bytes_for(self, rows: int, capacity: int) -> int:
        return rows * capacity * self.shape.bytes_per_position

    def resize(self, rows: int, capacity: int) -> None:
        """Make room for `rows` rows of `capacity` positions; what fits both before and after is kept."""
        common_rows, common = slice(min(rows, self.rows)), slice(min(capacity, self.capacity))
        mask = torch.full((rows, capacity), float("-inf"), dtype=self.shape.dtype, device=self.shape.device)
        old = self.layers
        self.layers = []
        self.flat: list[tuple[Tensor, ...]] = []
        if old:
            mask[common_rows, common] = self.mask[common_rows, common]
        for number in range(self.shape.layers):
            new = self.shape.zeros(rows, capacity)
            if old:
                new[:, common_rows, :, common] = old[number][:, common_rows, :, common]
                old[number] = new  # the old layer is freed before the next is made
            self.layers.append(new)
        self.rows, self.capacity = rows, capacity
        self.mask = mask  # [rows, capacity]: 0 where a row has a key, -inf where not
        # Views for writing one position per row at once, by index (slot * Hkv + head) * capacity + position.
        self.flat = [layer.view(2, -1, self.shape.head_dim).unbind(0) for layer in self.layers]

    def row(self, slot: int) -> list[Tensor]:
        """Views of one row, per layer [2, Hkv, capacity, Dh]."""
        return [layer[:, slot] for layer in self.layers]

    def load(self, slot: int, snapshot: Snapshot) -> None:
        for layer, kept in zip(self.layers, snapshot.layers, strict=True):
            layer[:, slot, :, : snapshot.length] = kept
        self.show(slot, snapshot.length)

    def save(self, slot: int, length: int) -> Snapshot:
        return Snapshot([layer[:, slot, :, :length].clone() for layer in self.layers])

    def move(self, source: int, target: int, length: int) -> None:
        for layer in self.layers:
            layer[:, target, :, :length] = layer[:, source, :, :length]
        self.show(target, length)

    def show(self, slot: int, length: int) -> None:
        """Let the row see its first `length` positions and no others."""
        self.mask[slot, :length] = 0
        self.mask[slot, length:] = float("-inf")
