"""Guessing with a draft head (podium.compress.draft), for all completions of a step at once.

Knows the head and the requests; that it stays cheap beside a step of the model is what its shape is about.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch

from podium.compress.draft import DraftHead
from podium.generate.speculate import DraftRequest, Guess, within


class ArrayHead:
    """DraftHead.draft in NumPy, for CPUs: with one or a few rows, PyTorch takes longer to start the products than to
    do them (83 µs against 214 µs a chain at 160 wide, one row)."""

    def __init__(self, head: DraftHead) -> None:
        self.depth = head.config.depth
        self.embeddings = head.embeddings.numpy()
        self.ids = np.array(head.config.vocabulary)
        with torch.no_grad():
            weights = {name: value.detach().float().cpu().numpy() for name, value in head.named_parameters()}
            # One product gives what the state adds to the features and to the next state.
            self.of_state = np.concatenate([weights["join_state.weight"], weights["state.weight"]])
        self.weights = weights
        self.blocks = [
            (weights[f"blocks.{i}.weight"].T, weights[f"blocks.{i}.bias"]) for i in range(head.config.layers)
        ]

    def draft(self, hidden: np.ndarray, tokens: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        weights, size = self.weights, hidden.shape[1]
        joined = hidden @ weights["join_hidden.weight"].T + weights["join_hidden.bias"]
        chain = np.empty((len(tokens), self.depth), dtype=np.int64)
        sure = np.empty((len(tokens), self.depth), dtype=np.float32)
        carried: np.ndarray | None = None
        for depth in range(self.depth):
            state = self.embeddings[tokens] @ weights["input.weight"].T + weights["input.bias"]
            if carried is not None:
                state += carried
            state = _silu(state)
            both = state @ self.of_state.T
            carried = both[:, size:]
            x = joined + both[:, :size]
            for weight, bias in self.blocks:
                x = x + _silu(x @ weight + bias)
            logits = x @ weights["head.weight"].T
            place = logits.argmax(-1)
            logits -= logits.max(-1, keepdims=True)
            sure[:, depth] = 1 / np.exp(logits).sum(-1)
            tokens = chain[:, depth] = self.ids[place]
        return chain, sure


def _silu(x: np.ndarray) -> np.ndarray:
    with np.errstate(over="ignore"):  # exp(-x) of a very negative x is infinite, and the result 0 as it should be
        return x / (1 + np.exp(-x))


class RedraftProposer:
    """Guesses with a draft head. A grade is the depth of the guess and the head's own probability in eighths."""

    needs_hidden = True

    def __init__(self, head: DraftHead) -> None:
        self.head = head.eval()
        self._array = ArrayHead(head) if head.embeddings.device.type == "cpu" else None

    def rests(self, rows: int) -> bool:
        return False

    def propose(self, requests: Sequence[DraftRequest], budget: int) -> list[list[int]]:
        return within(self.draft(requests), budget)

    def observe(self, request: DraftRequest, new_tokens: Sequence[int]) -> None:
        """Nothing is learnt while running."""

    def timed(self, rows: int, seconds: float) -> None:
        """Guesses cost what they cost: see Adaptive."""

    def expect(self, seconds: Sequence[float]) -> None:
        """As `timed`."""

    def draft(self, requests: Sequence[DraftRequest]) -> list[list[Guess]]:
        chains: list[list[Guess]] = [[] for _ in requests]
        hidden, last, places = [], [], []
        for place, request in enumerate(requests):
            if request.hidden is not None and request.limit > 0:
                hidden.append(request.hidden)
                last.append(request.tokens[-1])
                places.append(place)
        if not places:
            return chains
        if self._array is not None:
            states = np.stack([state.float().numpy() for state in hidden])
            ids, sure = self._array.draft(states, np.array(last))
        else:
            weight = self.head.input.weight
            drafted = self.head.draft(
                torch.stack(hidden).to(weight.device, weight.dtype), torch.tensor(last, device=weight.device)
            )
            ids, sure = (part.cpu().numpy() for part in drafted)
        for place, tokens, chances in zip(places, ids.tolist(), sure.tolist(), strict=True):
            limit = requests[place].limit
            chains[place] = [
                Guess(token, (depth, int(chance * 8)), chance)
                for depth, (token, chance) in enumerate(zip(tokens[:limit], chances, strict=False))
            ]
        return chains
