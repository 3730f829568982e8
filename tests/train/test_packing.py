"""Packing: nothing lost, nothing leaks between documents, the stream goes on where it stopped."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from podium.errors import TrainingError
from podium.models.families.family import Mixture
from podium.train.attention import ByDocument, Dense
from podium.train.objective import NextToken
from podium.train.packing import Document, PackedSource, first_fit, make_batch

from .conftest import counting_documents, tiny_model


def naive_first_fit(lengths, capacity, order):
    bins, room = [], []
    for item in order:
        for index, left in enumerate(room):
            if left >= lengths[item]:
                bins[index].append(item)
                room[index] -= lengths[item]
                break
        else:
            bins.append([item])
            room.append(capacity - lengths[item])
    return bins


@given(st.lists(st.integers(1, 20), min_size=1, max_size=60), st.randoms(use_true_random=False))
def test_first_fit_agrees_with_the_definition(lengths, random):
    order = list(range(len(lengths)))
    random.shuffle(order)
    assert first_fit(lengths, 20, order) == naive_first_fit(lengths, 20, order)


def loss_and_gradients(model, batches):
    model.zero_grad()
    total = weight = 0.0
    for batch in batches:
        loss = NextToken()(model, batch)
        loss.total.backward()
        total, weight = total + float(loss.total.detach()), weight + loss.weight
    return total / weight, {name: p.grad / weight for name, p in model.named_parameters()}


@pytest.mark.parametrize(("row_length", "longest"), [(64, 30), (420, 400)])
@pytest.mark.parametrize(
    "sizes",
    [
        {},
        {"kind": "qwen3", "num_key_value_heads": 4, "tie_word_embeddings": True},
        {"kind": "mistral", "sliding_window": 10},
        {"kind": "qwen3", "sliding_window": 50, "full_attention_layers": (0,)},
        {"kind": "qwen3_moe", "mixture": Mixture(4, 2, 24, dense_layers=(0,))},
    ],
)
def test_packed_rows_give_the_loss_and_gradients_of_single_documents(row_length, longest, sizes):
    documents = counting_documents(24, longest=longest)
    source = PackedSource(documents, row_length=row_length, rows_per_batch=100)
    rows = [source._rows[i] for i in range(len(source._rows))]
    packed = make_batch([[documents[i] for i in row] for row in rows], row_length)
    assert max(len(row) for row in packed.layout) > 1
    model = tiny_model(**sizes).double()
    # The oracle sees one document at a time under plain causal attention.
    total = weight = 0.0
    model.zero_grad()
    for ids, mask in documents:
        tokens = torch.tensor(ids)[None]
        logprobs = model(tokens).log_softmax(-1)
        trained = torch.tensor(mask)[1:]
        losses = -logprobs[0, :-1].gather(1, tokens[0, 1:, None])[:, 0]
        (losses * trained).sum().backward()
        total, weight = total + float((losses * trained).sum().detach()), weight + int(trained.sum())
    alone = {name: p.grad / weight for name, p in model.named_parameters()}
    model = tiny_model(**sizes)
    for attend in (packed.attend, Dense(packed.layout, row_length)):
        packed.attend = attend
        mean, gradients = loss_and_gradients(model, [packed])
        assert mean == pytest.approx(total / weight, rel=1e-6)
        for name, gradient in gradients.items():
            error = (gradient.double() - alone[name]).norm() / alone[name].norm()
            assert error <= 1e-6, (name, type(attend).__name__, float(error))


@settings(max_examples=25, deadline=None)
@given(
    st.lists(
        st.lists(st.integers(1, 40), max_size=6).filter(lambda row: sum(row) <= 150), min_size=1, max_size=4
    ).filter(lambda rows: any(rows)),
    st.sampled_from([(4, 4), (4, 2), (3, 1)]),
    st.sampled_from([0, 5, 40]),
)
def test_attention_by_document_equals_the_dense_mask(layout, heads, window):
    q = torch.randn(len(layout), 150, heads[0], 8, dtype=torch.double, requires_grad=True)
    k, v = (torch.randn(len(layout), 150, heads[1], 8, dtype=torch.double, requires_grad=True) for _ in range(2))
    real = torch.zeros(len(layout), 150, 1, 1, dtype=torch.double)
    for row, lengths in enumerate(layout):
        real[row, : sum(lengths)] = 1
    weight = torch.randn(q.shape, dtype=torch.double) * real
    results = []
    for attend in (ByDocument(layout, 150), Dense(layout, 150)):
        out = attend(0, q, k, v, window) * real
        results.append((out, *torch.autograd.grad((out * weight).sum(), (q, k, v))))
    for ours, dense in zip(*results, strict=True):
        torch.testing.assert_close(ours, dense, rtol=1e-9, atol=1e-9)


def test_changing_one_document_leaves_the_others_alone():
    documents = counting_documents(6, longest=12)
    model = tiny_model()
    batch = make_batch([documents], 128)
    changed = make_batch([[Document([7] * len(documents[0].ids), documents[0].mask), *documents[1:]]], 128)
    before, after = (model.hidden(b.tokens, positions=b.positions, attend=b.attend) for b in (batch, changed))
    edge, end = len(documents[0].ids), sum(len(d.ids) for d in documents)
    assert not torch.equal(before[:, :edge], after[:, :edge])
    assert torch.equal(before[:, edge:end], after[:, edge:end])


@pytest.mark.parametrize("method", ["first-fit-decreasing", "first-fit-shuffled"])
def test_an_epoch_shows_every_document_once_and_epochs_differ(method):
    documents = counting_documents(100)
    source = PackedSource(documents, row_length=64, rows_per_batch=1, method=method)

    def epoch():
        seen, order = [], []
        while len(seen) < len(documents):
            batch = source.next()
            start = 0
            for length in batch.layout[0]:
                seen.append(tuple(batch.tokens[0, start : start + length].tolist()))
                start += length
            order.append(batch.layout[0])
        return seen, order

    first, first_order = epoch()
    second, second_order = epoch()
    assert sorted(first) == sorted(second) == sorted(tuple(d.ids) for d in documents)
    assert first_order != second_order
    assert source.report.fill > 0.9


def test_only_marked_tokens_are_targets():
    batch = make_batch([[Document([5, 6, 7, 8], [True, False, True, True]), Document([9, 10], [True, True])]], 8)
    assert batch.targets.tolist() == [7, 8, 10]  # the first token of a document has no predictor
    assert batch.predicting.tolist() == [1, 2, 4]
    assert batch.positions[0].tolist()[:6] == [0, 1, 2, 3, 0, 1]
    assert batch.count == 6


def test_long_and_untrained_documents_are_counted():
    documents = [
        ([1] * 20, [True] * 20),
        ([2] * 5, [True] * 5),
        ([3] * 5, [False] * 5),
        ([4] * 9, [True] + [False] * 8),
    ]
    dropped = PackedSource(documents, row_length=10, rows_per_batch=1).report
    assert (dropped.documents, dropped.dropped, dropped.cut, dropped.untrained) == (1, 1, 0, 2)
    cut = PackedSource(documents, row_length=10, rows_per_batch=1, overlong="cut").report
    assert (cut.documents, cut.dropped, cut.cut, cut.tokens, cut.trained_tokens) == (2, 0, 1, 15, 13)


@pytest.mark.parametrize(
    ("documents", "says"),
    [
        ([], "no documents"),
        ([([1] * 20, [True] * 20)], "1 are longer than row_length 10"),
        ([([1] * 5, [False] * 5)], "1 have no trained token"),
        ([([1] * 5, [True] * 4)], "document 1: 5 token ids but a mask of 4"),
    ],
)
def test_nothing_to_train_on_is_said(documents, says):
    with pytest.raises(TrainingError, match=says) as caught:
        PackedSource(documents, row_length=10, rows_per_batch=1)
    assert caught.value.cure


@settings(max_examples=10, deadline=None)
@given(st.integers(0, 60))
def test_a_stream_goes_on_where_its_state_was_taken(position):
    documents = counting_documents(40)
    source = PackedSource(documents, row_length=64, rows_per_batch=3, seed=5)
    for _ in range(position):
        source.next()
    state = source.state_dict()
    again = PackedSource(documents, row_length=64, rows_per_batch=3, seed=5)
    again.load_state_dict(state)
    for _ in range(10):
        assert torch.equal(source.next().tokens, again.next().tokens)


def test_a_state_of_other_data_is_refused():
    state = PackedSource(counting_documents(10), row_length=64, rows_per_batch=1).state_dict()
    with pytest.raises(TrainingError, match="row_length"):
        PackedSource(counting_documents(10), row_length=32, rows_per_batch=1).load_state_dict(state)
    with pytest.raises(TrainingError, match="documents"):
        PackedSource(counting_documents(11), row_length=64, rows_per_batch=1).load_state_dict(state)
