"""Games: the network against itself for training, and against the beginner or another network to be judged. Many at a
time."""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from podium.bench.go.board import BLACK, Position
from podium.bench.go.opponent import beginner
from podium.bench.go.search import Evaluator, Node, planes, search


@dataclass(frozen=True, slots=True)
class Rules:
    """Board, and how a game is played: `rounds` of search per move; a game is scored after `longest` moves."""

    size: int
    komi: float
    rounds: int
    longest: int
    opening: int  # moves that self-play draws by visits instead of taking the best


@dataclass(slots=True)
class Experience:
    """Positions [N, 13, S, S], what search made of them [N, S² + 1], and who won [N] for the player to move."""

    planes: np.ndarray
    policy: np.ndarray
    value: np.ndarray


def self_play(rules: Rules, ask: Evaluator, games: int, draw: np.random.Generator) -> Experience:
    """Finish `games` games at once."""
    roots = [Node(Position(rules.size, rules.komi)) for _ in range(games)]
    records: list[list[tuple[np.ndarray, np.ndarray, int]]] = [[] for _ in range(games)]
    results: list[float] = [0.0] * games
    going = list(range(games))
    while going:
        search([roots[game] for game in going], ask, rules.rounds, draw)
        still = []
        for game in going:
            root = roots[game]
            shares = root.visits / root.visits.sum()
            policy = np.zeros(rules.size**2 + 1, dtype=np.float32)
            policy[root.moves] = shares
            records[game].append((planes(root.position), policy, root.position.turn))
            opening = root.position.moves < rules.opening
            choice = int(draw.choice(len(shares), p=shares)) if opening else int(root.visits.argmax())
            roots[game] = child = root.children[choice]  # the tree below the move is kept
            if child.position.over or child.position.moves >= rules.longest:
                results[game] = child.position.score()
            else:
                still.append(game)
        going = still
    return Experience(
        np.stack([shown for record in records for shown, _, _ in record]),
        np.stack([policy for record in records for _, policy, _ in record]),
        np.array(
            [
                1.0 if (result > 0) == (turn == BLACK) else -1.0
                for record, result in zip(records, results, strict=True)
                for _, _, turn in record
            ],
            dtype=np.float32,
        ),
    )


def win_rate(rules: Rules, ask: Evaluator, games: int, seed: int) -> float:
    """Share of `games` games won against the beginner, every second one as Black."""
    draws = [random.Random(f"{seed}:{game}") for game in range(games)]
    positions = [Position(rules.size, rules.komi) for _ in range(games)]
    going = list(range(games))
    won = 0
    while going:
        ours = [game for game in going if positions[game].turn == game % 2]
        nodes = [Node(positions[game]) for game in ours]
        if nodes:
            search(nodes, ask, rules.rounds)
        for game, node in zip(ours, nodes, strict=True):
            positions[game] = positions[game].play(node.moves[int(node.visits.argmax())])
        for game in set(going) - set(ours):
            positions[game] = positions[game].play(beginner(positions[game], draws[game]))
        going, more = _settled(rules, positions, going)
        won += more
    return won / games


def _settled(rules: Rules, positions: Sequence[Position], going: Sequence[int]) -> tuple[list[int], int]:
    """The games that still go on, and how many of those that ended were won by who is Black in every second one."""
    ended = [game for game in going if positions[game].over or positions[game].moves >= rules.longest]
    won = sum((positions[game].score() > 0) == (game % 2 == BLACK) for game in ended)
    return [game for game in going if game not in ended], won


def match(rules: Rules, ours: Evaluator, theirs: Evaluator, games: int, draw: np.random.Generator) -> float:
    """Share of `games` games that `ours` wins against `theirs`, every second one as Black; both search alike, and draw
    their first `rules.opening` moves by visits, so that no game is played twice."""
    positions = [Position(rules.size, rules.komi) for _ in range(games)]
    going = list(range(games))
    won = 0
    while going:
        turns = [positions[game].turn == game % 2 for game in going]
        for ask, mine in ((ours, True), (theirs, False)):
            moving = [game for game, turn in zip(going, turns, strict=True) if turn == mine]
            nodes = [Node(positions[game]) for game in moving]
            if nodes:
                search(nodes, ask, rules.rounds)
            for game, node in zip(moving, nodes, strict=True):
                opening = node.position.moves < rules.opening
                shares = node.visits / node.visits.sum()
                choice = int(draw.choice(len(shares), p=shares)) if opening else int(node.visits.argmax())
                positions[game] = node.position.play(node.moves[choice])
        going, more = _settled(rules, positions, going)
        won += more
    return won / games
