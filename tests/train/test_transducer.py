"""The transducer loss against an enumeration of all alignments, and its gradient against finite differences."""

from __future__ import annotations

from itertools import combinations

import pytest
import torch

from podium.train.transducer import transducer_loss

BLANK = 3


def enumerated(chances: torch.Tensor, symbols: list[int]) -> torch.Tensor:
    """-log of the sum over every way to place the symbols before the blanks of chances [T, U + 1, V]."""
    frames, emitted = chances.shape[0], len(symbols)
    total = []
    # A path is a string of T blanks and U symbols that ends with a blank.
    for places in combinations(range(frames + emitted - 1), emitted):
        t = u = 0
        path = torch.zeros((), dtype=chances.dtype)
        for place in range(frames + emitted):
            if place in places:
                path = path + chances[t, u, symbols[u]]
                u += 1
            else:
                path = path + chances[t, u, BLANK]
                t += 1
        total.append(path)
    return -torch.stack(total).logsumexp(0)


def test_loss_is_the_sum_over_all_alignments_whatever_the_padding():
    torch.manual_seed(0)
    frames, lengths = torch.tensor([4, 2, 1, 3]), torch.tensor([3, 2, 3, 0])
    logits = torch.randn(4, 4, 4, 5)
    symbols = torch.tensor([[0, 1, 1], [2, 4, 0], [1, 0, 2], [0, 0, 0]])
    losses = transducer_loss(logits, symbols, frames, lengths, BLANK)
    for loss, sample, row, t, u in zip(losses, logits, symbols.tolist(), frames, lengths, strict=True):
        chances = sample.log_softmax(-1)[:t, : u + 1]
        torch.testing.assert_close(loss, enumerated(chances, row[:u]))


def test_gradient_is_that_of_the_enumeration():
    torch.manual_seed(1)
    logits = torch.randn(2, 3, 3, 5, requires_grad=True)
    symbols, frames, lengths = torch.tensor([[0, 4], [2, 2]]), torch.tensor([3, 2]), torch.tensor([2, 1])
    weights = torch.tensor([1.0, -2.5])
    (transducer_loss(logits, symbols, frames, lengths, BLANK) * weights).sum().backward()
    ours, logits.grad = logits.grad, None
    chances = logits.log_softmax(-1)
    truth = enumerated(chances[0], [0, 4]), enumerated(chances[1, :2, :2], [2])
    (torch.stack(truth) * weights).sum().backward()
    assert ours is not None
    torch.testing.assert_close(ours, logits.grad)


@pytest.mark.parametrize("scale", [1.0, 60.0])
def test_long_and_extreme_inputs_stay_finite(scale: float):
    torch.manual_seed(2)
    logits = (scale * torch.randn(2, 200, 41, 8)).requires_grad_()
    symbols = torch.randint(0, 3, (2, 40))
    loss = transducer_loss(logits, symbols, torch.tensor([200, 150]), torch.tensor([40, 7]), BLANK)
    loss.sum().backward()
    assert logits.grad is not None
    assert torch.isfinite(loss).all()
    assert torch.isfinite(logits.grad).all()
    # Nothing behind the end of the second sample matters.
    assert not logits.grad[1, 150:].any()
    assert not logits.grad[1, :, 8:].any()
