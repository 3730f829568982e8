"""A model of random weights that answers at once, with nonsense, for tests of what stands around models."""

from __future__ import annotations

from pathlib import Path

import torch

from podium.models import Transformer, TransformerConfig, save_model
from podium.text import train_tokenizer


def save_small_model(folder: Path) -> Path:
    """Write one layer of 32 numbers and a tokenizer of 300 entries; returns the folder."""
    tokenizer = train_tokenizer(["What is 12 + 31? It is 43.\n"] * 3, 300)
    config = TransformerConfig(
        kind="llama",
        vocab_size=tokenizer.vocab_size,
        hidden_size=32,
        intermediate_size=48,
        num_hidden_layers=1,
        num_attention_heads=2,
        num_key_value_heads=1,
        head_dim=16,
        max_position_embeddings=512,
        eos_token_id=(tokenizer.eos_id,),
    )
    torch.manual_seed(0)
    save_model(folder, Transformer(config).initialise(0, std=0.15), tokenizer)
    return folder
