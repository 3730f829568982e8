"""The player to be beaten: no search and no learning, only what a beginner is told in the first hour."""

from __future__ import annotations

import random

from podium.bench.go.board import Position


def beginner(position: Position, draw: random.Random) -> int:
    """A move: save or capture chains in atari (largest first), do not step into atari, do not fill eyes, otherwise
    anywhere; pass when nothing is left."""
    board, turn = position.grid, position.turn
    ours, theirs = position.chains(turn), position.chains(1 - turn)
    legal = [move for move in position.legal() if move != board.passing and not _own_eye(position, move)]
    captures = {liberties: chain.bit_count() for chain, liberties in theirs if liberties.bit_count() == 1}
    rescues = {liberties: chain.bit_count() for chain, liberties in ours if liberties.bit_count() == 1}
    urgent = [(size, board.points(at)[0]) for chains in (captures, rescues) for at, size in chains.items()]
    for _, move in sorted(urgent, reverse=True):
        if move in legal and (board.bits[move] in captures or _liberties_after(position, move) > 1):
            return move
    safe = [move for move in legal if _liberties_after(position, move) > 1]
    return draw.choice(safe) if safe else board.passing


def _own_eye(position: Position, move: int) -> bool:
    return not position.grid.near[move] & ~position.stones[position.turn]


def _liberties_after(position: Position, move: int) -> int:
    stones = position.after(move)
    assert stones is not None
    board = position.grid
    chain = board.connected(board.bits[move], stones[position.turn])
    return (board.grow(chain) & board.all & ~(stones[0] | stones[1])).bit_count()
