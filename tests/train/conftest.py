"""Small models and data that training tests share."""

from __future__ import annotations

import random

import pytest
import torch

from podium.models.config import TransformerConfig
from podium.models.transformer import Transformer
from podium.train.packing import Document

VOCABULARY = 40


@pytest.fixture(autouse=True)
def one_thread():
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def tiny_model(seed: int = 0, **sizes) -> Transformer:
    shape = {
        "vocab_size": VOCABULARY,
        "hidden_size": 32,
        "intermediate_size": 48,
        "num_hidden_layers": 2,
        "num_attention_heads": 4,
        "num_key_value_heads": 2,
        "head_dim": 8,
    }
    return Transformer(TransformerConfig(**{**shape, **sizes})).initialise(seed)


def counting_documents(number: int, seed: int = 0, shortest: int = 4, longest: int = 30) -> list[Document]:
    """Runs of consecutive ids: quickly learnt. The first two tokens of each are a prompt that is not trained on."""
    draw = random.Random(seed)
    documents = []
    for _ in range(number):
        start, length = draw.randrange(VOCABULARY), draw.randint(shortest, longest)
        ids = [(start + i) % VOCABULARY for i in range(length)]
        documents.append(Document(ids, [False, False] + [True] * (length - 2)))
    return documents
