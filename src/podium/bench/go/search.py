"""Search with a network: what it is shown of a position, and Monte Carlo tree search (PUCT) over many games at once.

Each round takes one path down the tree of every game, asks the network about all the ends in one batch, and brings
the answers back up (Silver et al. 2017).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import torch
from torch import nn

from podium.bench.go.board import BLACK, Position

PLANES = 13
EXPLORATION = 1.5
Evaluator = Callable[[Sequence[Position]], tuple[np.ndarray, np.ndarray]]


def planes(position: Position) -> np.ndarray:
    """[13, S, S]: own and other stones of the last four boards, whether Black is to move, chains with one, two and
    three liberties, and points where playing captures."""
    board, turn = position.grid, position.turn
    sets: list[int] = []
    for back in range(4):
        stones = position.history[min(back, len(position.history) - 1)]
        sets += [stones[turn], stones[1 - turn]]
    sets.append(board.all if turn == BLACK else 0)
    few, capture = [0, 0, 0], 0
    for colour in (0, 1):
        for chain, liberties in position.chains(colour):
            number = liberties.bit_count()
            if number <= 3:
                few[number - 1] |= chain
                if number == 1 and colour != turn:
                    capture |= liberties
    sets += [*few, capture]
    return _unpack(sets, board.size)


def _unpack(sets: Sequence[int], size: int) -> np.ndarray:
    length = (size * (size + 1) + 7) // 8
    packed = np.frombuffer(b"".join(points.to_bytes(length, "little") for points in sets), np.uint8)
    bits = np.unpackbits(packed.reshape(len(sets), length), axis=1, bitorder="little")[:, : size * (size + 1)]
    return bits.reshape(len(sets), size, size + 1)[:, :, :size]


def network(model: nn.Module) -> Evaluator:
    """Asks `model` (a DualNet, in eval mode while asked): move logits [N, S² + 1] and values [N] for who is to move."""
    config = getattr(model, "config", None)
    for_black = bool(config and config.value_for_black)

    def ask(positions: Sequence[Position]) -> tuple[np.ndarray, np.ndarray]:
        was_training = model.training
        model.eval()
        device = next(model.parameters()).device
        with torch.no_grad():
            batch = torch.from_numpy(np.stack([planes(position) for position in positions])).float()
            logits, values = model(batch.to(device))
        model.train(was_training)
        said = values.float().cpu().numpy()
        if for_black:
            said = said * np.array([1.0 if position.turn == BLACK else -1.0 for position in positions], np.float32)
        return logits.float().cpu().numpy(), said

    return ask


class Node:
    """A position with what is known of its moves. Values are for the player to move."""

    __slots__ = ("children", "moves", "position", "prior", "total", "value", "visits")

    def __init__(self, position: Position) -> None:
        self.position = position
        self.moves: list[int] = []
        self.prior = self.visits = self.total = np.zeros(0)
        self.value = 0.0  # what the network said
        self.children: dict[int, Node] = {}

    def expand(self, logits: np.ndarray, value: float) -> None:
        self.moves, self.value = self.position.legal(), value
        chosen = logits[self.moves]
        weights = np.exp(chosen - chosen.max())
        self.prior = weights / weights.sum()
        self.visits, self.total = np.zeros(len(self.moves)), np.zeros(len(self.moves))

    def best(self) -> int:
        """Which move to follow: mean value plus what the prior promises of moves seldom tried (PUCT). A move not tried
        is worth what its position is worth."""
        tried = self.visits.sum()
        here = (self.value + self.total.sum()) / (1 + tried)
        mean = np.divide(self.total, self.visits, out=np.full(len(self.moves), here), where=self.visits > 0)
        promise = EXPLORATION * self.prior * (tried + 1) ** 0.5 / (1 + self.visits)
        return int((mean + promise).argmax())


def outcome(position: Position) -> float:
    """+1 when the player to move has won the finished game, -1 when lost."""
    won = position.score() > 0
    return 1.0 if won == (position.turn == BLACK) else -1.0


def search(roots: Sequence[Node], ask: Evaluator, rounds: int, noise: np.random.Generator | None = None) -> None:
    """Follow `rounds` paths from each root; with `noise`, roots get a quarter of Dirichlet noise in their priors."""
    fresh = [root for root in roots if not root.moves]
    if fresh:
        logits, values = ask([root.position for root in fresh])
        for root, root_logits, value in zip(fresh, logits, values, strict=True):
            root.expand(root_logits, float(value))
    if noise is not None:
        for root in roots:
            # AlphaZero's concentration: 10 over the usual number of moves.
            concentration = np.full(len(root.moves), 10 / root.position.grid.size**2)
            root.prior = 0.75 * root.prior + 0.25 * noise.dirichlet(concentration)
    for _ in range(rounds):
        paths, leaves = [], []
        for root in roots:
            path, node = _descend(root)
            if node.position.over:
                _back_up(path, outcome(node.position))
            else:
                paths.append(path)
                leaves.append(node)
        if leaves:
            logits, values = ask([leaf.position for leaf in leaves])
            for path, leaf, leaf_logits, value in zip(paths, leaves, logits, values, strict=True):
                leaf.expand(leaf_logits, float(value))
                _back_up(path, float(value))


def _descend(root: Node) -> tuple[list[tuple[Node, int]], Node]:
    path, node = [], root
    while node.moves:
        choice = node.best()
        path.append((node, choice))
        child = node.children.get(choice)
        if child is None:
            child = node.children[choice] = Node(node.position.play(node.moves[choice]))
        node = child
        if node.position.over:
            break
    return path, node


def _back_up(path: list[tuple[Node, int]], value: float) -> None:
    for node, choice in reversed(path):
        value = -value
        node.visits[choice] += 1
        node.total[choice] += value
