"""Reference answers of the gym tasks that come without one, because they have many right answers.

reasoning-gym gives none for graph_color, propositional_logic, rubiks_cube, boxnet and rush_hour, and scores "no answer"
with 0. Here each gets one: what its metadata holds, or what a small solver finds. An answer counts as the reference
only if the task's own scorer gives it 1.0.
"""

from __future__ import annotations

import json
import re
from collections import deque
from collections.abc import Callable, Iterator
from typing import Any

_SIDE = 6  # squares of a rush hour board
_MOST_POSITIONS = 200_000  # of one board; the largest of its collection has some 25,000


def reference(name: str, dataset: Any, entry: dict[str, Any]) -> str | None:
    """The first candidate that the task's scorer accepts; None when it accepts none."""
    for candidate in REFERENCES[name](entry["metadata"]):
        if dataset.score_answer(answer=candidate, entry=entry) >= 1.0:
            return candidate
    return None


def _graph_color(metadata: dict[str, Any]) -> Iterator[str]:
    yield json.dumps({str(vertex): color for vertex, color in metadata["possible_answer"].items()})


def _propositional_logic(metadata: dict[str, Any]) -> Iterator[str]:
    """The example; where that is a single variable, which the scorer calls trivial, a premise or a weaker one."""
    yield metadata["example_answer"]
    yield from metadata["premises"]
    for premise in metadata["premises"]:
        yield from (f"({premise} ∨ {variable})" for variable in metadata["variables"])


def _rubiks_cube(metadata: dict[str, Any]) -> Iterator[str]:
    """The example, which only cubes of size 3 have, and the scrambling moves undone."""
    if metadata["example_correct_answer"]:
        yield metadata["example_correct_answer"]
    moves = reversed(metadata["scramble_moves"].split())
    yield " ".join(move.removesuffix("'") if move.endswith("'") else f"{move}'" for move in moves)


def _boxnet(metadata: dict[str, Any]) -> Iterator[str]:
    """One box after the other is carried along its column and its row to the target of its colour."""
    targets: dict[str, list[tuple[float, float]]] = {}
    boxes: list[tuple[str, tuple[float, float]]] = []
    for square, items in metadata["initial_state"].items():
        row, column = map(float, square.split("_"))
        for item in items:
            kind, colour = item.split("_", 1)
            if kind == "target":
                targets.setdefault(colour, []).append((row, column))
            else:
                boxes.append((colour, (row, column)))
    plan: list[dict[str, str]] = []
    for colour, (row, column) in boxes:
        goal = targets[colour].pop()
        while (row, column) != goal:
            agent = f"Agent[{row}, {column}]"
            if row != goal[0]:
                row += 1 if goal[0] > row else -1
            else:
                column += 1 if goal[1] > column else -1
            plan.append({agent: f"move(box_{colour}, square[{row}, {column}])"})
        plan.append({f"Agent[{row}, {column}]": f"move(box_{colour}, target_{colour})"})
    yield json.dumps(plan)


def _rush_hour(metadata: dict[str, Any]) -> Iterator[str]:
    """A shortest solution, by breadth-first search over the positions of the cars."""
    moves = solve_rush_hour(metadata["board_config"])
    if moves is not None:
        yield moves


def solve_rush_hour(board: str) -> str | None:
    """Fewest moves that bring the car A to the right edge, as "B+2 A+4"; None when there are none.

    `board` has 36 squares row by row: a letter for a car, o for an empty square, x for a wall. A position is one
    integer, three bits for each car's place on its line; squares are the bits of another.
    """
    walls = sum(1 << at for at, found in enumerate(board) if found == "x")
    labels = sorted(set(board) - {*"ox"})
    # A board that leaves a letter out is shown with the letters moved up.
    cars = [
        _Car(chr(ord("A") + number), [at for at, found in enumerate(board) if found == label])
        for number, label in enumerate(labels)
    ]
    start = sum(car.place << 3 * number for number, car in enumerate(cars))
    before: dict[int, tuple[int, int, int]] = {start: (start, 0, 0)}
    waiting = deque([start])
    while waiting and len(before) < _MOST_POSITIONS:
        position = waiting.popleft()
        places = [(position >> 3 * number) & 7 for number in range(len(cars))]
        if places[0] == _SIDE - cars[0].length:
            return _way(before, position, cars)
        taken = walls
        for car, place in zip(cars, places, strict=True):
            taken |= car.covered[place]
        for number, (car, place) in enumerate(zip(cars, places, strict=True)):
            for step, squares in ((1, car.ahead[place]), (-1, car.behind[place])):
                for distance, square in enumerate(squares, start=1):
                    if taken & square:
                        break
                    moved = position + (step * distance << 3 * number)
                    if moved not in before:
                        before[moved] = (position, number, step * distance)
                        waiting.append(moved)
    return None


class _Car:
    """A car on its line: for each place of its first square, which squares it covers and which lie on both sides."""

    def __init__(self, label: str, squares: list[int]) -> None:
        self.label, self.length = label, len(squares)
        stride = squares[1] - squares[0]
        first = squares[0] // _SIDE * _SIDE if stride == 1 else squares[0] % _SIDE
        self.place = (squares[0] - first) // stride
        line = [1 << first + stride * at for at in range(_SIDE)]
        places = range(_SIDE - self.length + 1)
        self.covered = [sum(line[place : place + self.length]) for place in places]
        self.ahead = [line[place + self.length :] for place in places]
        self.behind = [line[:place][::-1] for place in places]


def _way(before: dict[int, tuple[int, int, int]], position: int, cars: list[_Car]) -> str:
    moves: list[str] = []
    while before[position][2]:
        position, number, distance = before[position]
        moves.append(f"{cars[number].label}{distance:+d}")
    return " ".join(reversed(moves))


def are_legal_moves(board: str, answer: str) -> bool:
    """Whether an answer to rush hour is a list of moves and nothing else, each of them possible to its last square."""
    from reasoning_gym.games.rush_hour import Board

    if re.fullmatch(r"\s*(?:[A-Z][+-]\d{1,2}[\s,]*)+", answer) is None:
        return False
    playing = Board(board)
    for label, steps in re.findall(r"([A-Z])([+-]\d+)", answer):
        number = ord(label) - ord("A")
        if number >= len(playing._pieces):
            return False
        piece = playing._pieces[number]
        expected = piece.position + piece.stride * int(steps)
        playing.move(label, int(steps))
        if piece.fixed or piece.position != expected:
            return False
    return True


REFERENCES: dict[str, Callable[[dict[str, Any]], Iterator[str]]] = {
    "boxnet": _boxnet,
    "graph_color": _graph_color,
    "propositional_logic": _propositional_logic,
    "rubiks_cube": _rubiks_cube,
    "rush_hour": _rush_hour,
}
