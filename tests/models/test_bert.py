"""BERT against transformers, with the same weights."""

from __future__ import annotations

import pytest
import torch

from podium.models.bert import Bert, BertConfig, from_transformers

SHAPE = {"vocab_size": 50, "width": 32, "layers": 3, "heads": 4, "feed_forward": 64, "positions": 24}


@pytest.fixture(scope="module")
def pair():
    from transformers import BertConfig as TheirConfig
    from transformers import BertForPreTraining

    torch.manual_seed(0)
    theirs = BertForPreTraining(
        TheirConfig(
            vocab_size=50,
            hidden_size=32,
            num_hidden_layers=3,
            num_attention_heads=4,
            intermediate_size=64,
            max_position_embeddings=24,
        )
    ).eval()
    with torch.no_grad():  # biases and norms that are zero and one hide mistakes
        for parameter in theirs.parameters():
            parameter.add_(0.05 * torch.randn_like(parameter))
    ours = Bert(BertConfig(**SHAPE)).eval()
    ours.load_state_dict(from_transformers(theirs.state_dict()))
    return ours, theirs


def test_both_heads_agree_with_transformers(pair):
    ours, theirs = pair
    tokens, segments = torch.randint(0, 50, (3, 20)), torch.randint(0, 2, (3, 20))
    real = torch.arange(20) < torch.tensor([20, 13, 5])[:, None]
    with torch.no_grad():
        hidden = ours.hidden(tokens, segments, real)
        expected = theirs(tokens, token_type_ids=segments, attention_mask=real.long())
    torch.testing.assert_close(ours.words(hidden)[real], expected.prediction_logits[real], rtol=1e-4, atol=1e-4)
    torch.testing.assert_close(ours.follows(hidden), expected.seq_relationship_logits, rtol=1e-4, atol=1e-4)


def test_gradients_agree_with_transformers(pair):
    ours, theirs = pair
    tokens = torch.randint(1, 50, (2, 16))  # theirs gives the embedding of token 0 (padding) no gradient
    words = torch.where(torch.rand(2, 16) < 0.3, tokens, -100)
    ours.zero_grad()
    theirs.zero_grad()
    hidden = ours.hidden(tokens)
    chosen = words != -100
    loss = torch.nn.functional.cross_entropy(ours.words(hidden[chosen]), words[chosen])
    loss = loss + torch.nn.functional.cross_entropy(ours.follows(hidden), torch.tensor([0, 1]))
    loss.backward()
    expected = theirs(tokens, labels=words, next_sentence_label=torch.tensor([0, 1])).loss
    expected.backward()
    torch.testing.assert_close(loss, expected)
    gradients = from_transformers({n: p.grad for n, p in theirs.named_parameters() if p.grad is not None})
    for name, parameter in ours.named_parameters():
        torch.testing.assert_close(parameter.grad, gradients[name], rtol=1e-3, atol=1e-5, msg=name)


def test_flops_count_the_matrices():
    """6 per weight of a matrix and position that passes it, and 12 · layers · width · length per token of attention."""
    model = Bert(BertConfig(**SHAPE))
    block = 4 * 32 * 32 + 2 * 32 * 64
    expected = 6 * 160 * 3 * block + 12 * 160 * 3 * 32 * 16 + 6 * 24 * (32 * 32 + 32 * 50)
    assert model.flops(tokens=160, length=16, masked=24) == expected
