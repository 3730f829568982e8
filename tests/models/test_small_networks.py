"""RNN-T, DLRM and the Go network against plain restatements of what they compute."""

from __future__ import annotations

import torch

from podium.models.dlrm import DLRM, DLRMConfig
from podium.models.minigo import DualConfig, DualNet
from podium.models.rnnt import RNNT, RNNTConfig

SPEECH = RNNTConfig(
    features=6,
    symbols=5,
    encoder=8,
    before=1,
    after=1,
    prediction=7,
    prediction_layers=2,
    joint=9,
    encoder_dropout=0.0,
    prediction_dropout=0.0,
    joint_dropout=0.0,
)


def test_padding_of_frames_changes_nothing():
    model = RNNT(SPEECH).initialise(0).eval()
    frames = torch.randn(2, 9, 6)
    alone, length = model.encode(frames[:1, :5], torch.tensor([5]))
    together, lengths = model.encode(frames, torch.tensor([5, 9]))
    assert lengths.tolist() == [3, 5]
    assert length.tolist() == [3]
    torch.testing.assert_close(together[:1, :3], alone)


def test_symbols_are_predicted_from_those_before_them_only():
    model = RNNT(SPEECH).initialise(1).eval()
    symbols = torch.tensor([[0, 3, 2]])
    whole, _ = model.predict(symbols)
    assert whole.shape == (1, 4, 7)
    step, state = model.predict(None)
    torch.testing.assert_close(step[:, 0], whole[:, 0])
    for place in range(3):
        step, state = model.predict(symbols[:, place : place + 1], state)
        torch.testing.assert_close(step[:, 0], whole[:, place + 1])


def test_transcripts_of_a_batch_are_those_of_a_plain_loop():
    torch.manual_seed(0)
    model = RNNT(SPEECH).initialise(2).eval()
    with torch.no_grad():
        model.output.weight.mul_(6)  # decided enough to emit and to stop
        model.output.bias[SPEECH.blank] = 0.8
    frames, lengths = torch.randn(4, 12, 6), torch.tensor([12, 7, 3, 10])
    batch = model.transcribe(frames, lengths, most_per_step=4)
    assert any(batch)
    for row, real, found in zip(frames, lengths.tolist(), batch, strict=True):
        encoded, _ = model.encode(row[None, :real], torch.tensor([real]))
        symbols: list[int] = []
        for state in encoded[0]:
            for _ in range(4):
                predicted, _ = model.predict(torch.tensor([symbols], dtype=torch.long).reshape(1, -1))
                best = int(model.join(state, predicted[0, -1]).argmax())
                if best == SPEECH.blank:
                    break
                symbols.append(best)
        assert found == symbols


def test_dlrm_multiplies_every_pair_of_vectors_once():
    config = DLRMConfig(dense=4, tables=(5, 3, 7), bottom=(6, 4), top=(8,))
    model = DLRM(config).initialise(0)
    dense, categories = torch.randn(2, 4), torch.tensor([[4, 0, 6], [1, 2, 3]])
    rows = model.embedding.weight.split(config.tables)
    expected = []
    for sample in range(2):
        x = model.bottom(dense[sample])
        vectors = [x] + [table[categories[sample, i]] for i, table in enumerate(rows)]
        products = [vectors[i] @ vectors[j] for i in range(4) for j in range(i)]
        expected.append(model.top(torch.cat([x, torch.stack(products)]))[0])
    torch.testing.assert_close(model(dense, categories), torch.stack(expected))


def test_go_network_sees_the_board_alone_and_answers_for_the_player():
    model = DualNet(DualConfig(size=5, width=8, blocks=1, hidden=8)).initialise(0).eval()
    moves, value = model(torch.rand(3, 13, 5, 5))
    assert moves.shape == (3, 26)
    assert value.shape == (3,)
    assert (value.abs() < 1).all()
    assert (moves.softmax(-1).max(-1).values < 0.2).all()  # no opinion to begin with


def test_the_same_seed_draws_the_same_weights():
    for make in (lambda s: RNNT(SPEECH).initialise(s), lambda s: DualNet(DualConfig(size=3, blocks=1)).initialise(s)):
        first, again, other = (make(seed).state_dict() for seed in (1, 1, 2))
        assert all(torch.equal(first[name], again[name]) for name in first)
        assert any(not torch.equal(first[name], other[name]) for name in first)
