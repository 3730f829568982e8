"""The rules of Go on a board of any size: captures, no suicide, positional superko, area scoring (Tromp and Taylor).

A set of points is one whole number, a bit per point; rows are one bit longer than the board is wide, so that a shift
to the side never comes out on the next row. A position never changes; `play` makes a new one.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

BLACK, WHITE = 0, 1


@dataclass(frozen=True, slots=True)
class Grid:
    """What depends on the size alone. Points are numbered 0 .. size² - 1, row by row; `size²` is the pass."""

    size: int
    all: int
    bits: tuple[int, ...]  # of each point
    near: tuple[int, ...]  # neighbours of each point
    point: dict[int, int]  # of each bit

    @property
    def passing(self) -> int:
        return self.size**2

    def grow(self, points: int) -> int:
        """The points and their neighbours."""
        stride = self.size + 1
        return (points | points << 1 | points >> 1 | points << stride | points >> stride) & self.all

    def connected(self, seed: int, within: int) -> int:
        """All of `within` that `seed`, a part of it, is connected to."""
        while True:
            grown = self.grow(seed) & within
            if grown == seed:
                return seed
            seed = grown

    def points(self, bits: int) -> list[int]:
        """The numbers of the points in a set, ascending."""
        found = []
        while bits:
            lowest = bits & -bits
            found.append(self.point[lowest])
            bits ^= lowest
        return found


@lru_cache
def grid(size: int) -> Grid:
    bits = [1 << (row * (size + 1) + column) for row in range(size) for column in range(size)]
    board = sum(bits)
    bare = Grid(size, board, tuple(bits), (), {bit: point for point, bit in enumerate(bits)})
    near = tuple(bare.grow(bit) & ~bit for bit in bits)
    return Grid(size, board, tuple(bits), near, bare.point)


class Position:
    """Whose stones lie where, whose turn it is, and which boards have been before."""

    __slots__ = ("grid", "history", "komi", "moves", "passes", "seen", "stones", "turn")

    def __init__(self, size: int, komi: float) -> None:
        self.grid = grid(size)
        self.komi = komi
        self.stones: tuple[int, int] = (0, 0)
        self.turn = BLACK
        self.passes = 0  # in a row
        self.moves = 0
        self.seen: frozenset[tuple[int, int]] = frozenset({(0, 0)})
        self.history: tuple[tuple[int, int], ...] = ((0, 0),)  # newest first, at most eight

    def chains(self, colour: int) -> list[tuple[int, int]]:
        """Connected stones of a colour, each with its liberties."""
        rest, empty, found = self.stones[colour], self.empty, []
        while rest:
            chain = self.grid.connected(rest & -rest, rest)
            rest ^= chain
            found.append((chain, self.grid.grow(chain) & empty))
        return found

    @property
    def empty(self) -> int:
        return self.grid.all & ~(self.stones[0] | self.stones[1])

    @property
    def over(self) -> bool:
        """Two passes in a row."""
        return self.passes >= 2

    def after(self, point: int) -> tuple[int, int] | None:
        """The stones after the player to move puts one on `point`; None where the rules forbid it."""
        board = self.grid
        bit = board.bits[point]
        ours, theirs = self.stones[self.turn], self.stones[1 - self.turn]
        if bit & (ours | theirs):
            return None
        ours |= bit
        empty = board.all & ~(ours | theirs)
        attacked = board.near[point] & theirs
        while attacked:
            chain = board.connected(attacked & -attacked, theirs)
            attacked &= ~chain
            if not board.grow(chain) & empty:
                theirs &= ~chain
                empty |= chain
        if not board.near[point] & empty and not board.grow(board.connected(bit, ours)) & empty:
            return None
        stones = (ours, theirs) if self.turn == BLACK else (theirs, ours)
        return None if stones in self.seen else stones

    def legal(self) -> list[int]:
        """The points that may be played, ascending, and the pass."""
        return [point for point in self.grid.points(self.empty) if self.after(point)] + [self.grid.passing]

    def play(self, move: int) -> Position:
        """The position after a legal move or a pass.

        Raises:
            ValueError: the move is not legal.
        """
        new = object.__new__(Position)
        new.grid, new.komi, new.turn, new.moves = self.grid, self.komi, 1 - self.turn, self.moves + 1
        if move == self.grid.passing:
            new.stones, new.seen, new.passes = self.stones, self.seen, self.passes + 1
        else:
            stones = self.after(move)
            if stones is None:
                raise ValueError(f"point {move} may not be played")
            new.stones, new.seen, new.passes = stones, self.seen | {stones}, 0
        new.history = (new.stones, *self.history[:7])
        return new

    def score(self) -> float:
        """Black's area less White's and komi: stones, and empty points that reach stones of one colour only."""
        black, white = self.stones
        rest, area = self.empty, black.bit_count() - white.bit_count()
        while rest:
            region = self.grid.connected(rest & -rest, rest)
            rest ^= region
            border = self.grid.grow(region)
            if not border & white:
                area += region.bit_count() if border & black else 0
            elif not border & black:
                area -= region.bit_count()
        return area - self.komi

    def __str__(self) -> str:
        black, white = (set(self.grid.points(stones)) for stones in self.stones)
        letters = ["X" if p in black else "O" if p in white else "." for p in range(self.grid.size**2)]
        return "\n".join(" ".join(letters[r : r + self.grid.size]) for r in range(0, len(letters), self.grid.size))
