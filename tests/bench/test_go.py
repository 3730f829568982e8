"""Go against Tromp's counts of legal positions, known situations, and what search must see."""

from __future__ import annotations

import random
from itertools import product

import numpy as np
import pytest

from podium.bench.go.board import BLACK, WHITE, Position
from podium.bench.go.games import Rules, self_play, win_rate
from podium.bench.go.opponent import beginner
from podium.bench.go.search import Node, planes, search
from podium.bench.tasks.minigo import turned


def set_up(rows: str, turn: int = BLACK, komi: float = 0.0) -> Position:
    """A position drawn with X, O and dots."""
    lines = rows.split()
    position = Position(len(lines), komi)
    stones = [0, 0]
    for point, letter in enumerate("".join(lines)):
        if letter != ".":
            stones["XO".index(letter)] |= position.grid.bits[point]
    position.stones, position.turn = (stones[0], stones[1]), turn
    position.seen, position.history = frozenset({position.stones}), (position.stones,)
    return position


def at(row: int, column: int, size: int) -> int:
    return row * size + column


@pytest.mark.parametrize(("size", "legal"), [(1, 1), (2, 57), (3, 12675)])
def test_as_many_positions_are_legal_as_tromp_counted(size: int, legal: int):
    """A position is legal when every chain has a liberty (Tromp and Farnebäck, Combinatorics of Go, table 1)."""
    board, count = Position(size, 0.0), 0
    for letters in product((None, BLACK, WHITE), repeat=size**2):
        stones = [
            sum(bit for bit, letter in zip(board.grid.bits, letters, strict=True) if letter == colour)
            for colour in (0, 1)
        ]
        board.stones = (stones[0], stones[1])
        count += all(liberties for colour in (0, 1) for _, liberties in board.chains(colour))
    assert count == legal


def test_captures_take_every_chain_without_liberties():
    position = set_up("OO.O. XXOX. ..X.. ..... .....")
    after = position.play(at(0, 2, 5))
    assert str(after) == ". . X O .\nX X . X .\n. . X . .\n. . . . .\n. . . . ."


def test_capture_comes_before_suicide_and_suicide_is_forbidden():
    inside_eye = set_up(".O. OO. ...")
    assert at(0, 0, 3) not in inside_eye.legal()
    with pytest.raises(ValueError, match="may not"):
        inside_eye.play(at(0, 0, 3))
    captures = set_up(".OX OX. X..")
    after = captures.play(at(0, 0, 3))
    assert str(after) == "X . X\n. X .\nX . ."


def test_ko_may_not_be_retaken_at_once_but_after_a_threat():
    ko = set_up(".XO.. X.XO. .XO.. ..... .....", turn=WHITE)
    taken = ko.play(at(1, 1, 5))
    assert not taken.stones[BLACK] & taken.grid.bits[at(1, 2, 5)]
    assert at(1, 2, 5) not in taken.legal()
    elsewhere = taken.play(at(4, 4, 5)).play(at(4, 0, 5))
    assert at(1, 2, 5) in elsewhere.legal()


def test_area_counts_stones_and_enclosed_points_less_komi():
    position = set_up(".XO. XXOO XXO. .XO.", komi=2.5)
    # Rows .XO. / XXOO / XXO. / .XO.: Black has 6 stones and the two points in its corners, White 5 stones and three.
    assert position.score() == (6 + 2) - (5 + 3) - 2.5
    assert set_up("... ... ...").score() == 0
    assert set_up("... .X. ...").score() == 9
    assert set_up("X.. ... ..O").score() == 0


def test_random_games_keep_what_always_holds():
    draw = random.Random(0)
    for size in (2, 5, 7):
        for _ in range(8):
            position = Position(size, 0.5)
            while not position.over and position.moves < 3 * size**2:
                legal = position.legal()
                for point in range(size**2):
                    assert (point in legal) == (position.after(point) is not None)
                position = position.play(draw.choice(legal))
                assert not position.stones[0] & position.stones[1]
                assert all(liberties for colour in (0, 1) for _, liberties in position.chains(colour))
            assert len(position.seen) == len(set(position.seen))


def test_planes_are_from_the_view_of_the_player_to_move():
    position = set_up("XO.. XX.. .... ....", turn=WHITE)
    shown = planes(position)
    assert shown.shape == (13, 4, 4)
    assert shown[0].tolist() == [[0, 1, 0, 0], [0, 0, 0, 0], [0] * 4, [0] * 4]
    assert shown[1].sum() == 3
    assert not shown[8].any()
    assert shown[9].sum() == 1  # White's stone in atari
    assert not shown[12].any()
    assert planes(set_up("XO.. XX.. .... ...."))[12].nonzero()[1].tolist() == [2]  # Black captures there


def test_the_beginner_captures_and_escapes():
    draw = random.Random(0)
    assert beginner(set_up("XO.. XX.. .... ...."), draw) == at(0, 2, 4)
    assert beginner(set_up(".X.. XO.. .X.. ....", turn=WHITE), draw) == at(1, 2, 4)


def flat(positions):
    """A network without opinions."""
    return np.zeros((len(positions), positions[0].grid.size ** 2 + 1)), np.zeros(len(positions))


def test_search_finds_the_pass_that_wins():
    """White has passed and Black is ahead: a second pass ends the game as won, anything else does not."""
    position = set_up("XXX X.X .XX", turn=WHITE, komi=0.5).play(9)
    root = Node(position)
    search([root], flat, 60)
    assert root.moves[int(root.visits.argmax())] == position.grid.passing
    assert root.visits.sum() == 60


def test_search_backs_values_up_with_changing_signs():
    """A network that likes every position in which White is to move leads Black anywhere and White nowhere."""
    likes = lambda positions: (flat(positions)[0], np.array([1.0 if p.turn == WHITE else -1.0 for p in positions]))  # noqa: E731
    root = Node(Position(3, 0.5))
    search([root], likes, 30)
    means = root.total[root.visits > 0] / root.visits[root.visits > 0]
    assert means.max() < 0  # each of Black's moves leaves a position that is good for White


def test_games_end_and_their_records_agree():
    rules = Rules(size=3, komi=0.5, rounds=4, longest=20, opening=2)
    played = self_play(rules, flat, 6, np.random.default_rng(0))
    assert played.planes.shape[1:] == (13, 3, 3)
    np.testing.assert_allclose(played.policy.sum(1), 1, rtol=1e-6)
    assert set(np.unique(played.value)) <= {-1.0, 1.0}
    # Occupied points get no visits.
    occupied = (played.planes[:, 0] | played.planes[:, 1]).reshape(len(played.value), -1).astype(bool)
    assert not played.policy[:, :-1][occupied].any()
    assert 0 <= win_rate(rules, flat, 4, seed=0) <= 1


def test_symmetries_turn_planes_and_policy_alike():
    import torch

    planes_ = torch.rand(2, 3, 4, 4)
    policy = torch.cat([planes_[:, 0].reshape(2, -1), torch.tensor([[0.3], [0.4]])], dim=1)
    seen = set()
    for symmetry in range(8):
        p, q = turned(planes_, policy, symmetry)
        torch.testing.assert_close(p[:, 0].reshape(2, -1), q[:, :-1])
        assert torch.equal(q[:, -1], policy[:, -1])
        seen.add(tuple(q[0].tolist()))
    assert len(seen) == 8
