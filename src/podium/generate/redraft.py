"""Guessing with a draft head (podium.compress.draft), for all completions of a step at once.

Knows the head and the requests; that it stays cheap beside a step of the model is what its shape is about.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch

from podium.compress.draft import DraftHead
from podium.generate.native.build import native_library
from podium.generate.native.redraft import NativeHead
from podium.generate.speculate import DraftRequest, Guess, within


class RedraftProposer:
    """Guesses with a draft head. A grade is the depth of the guess and the head's own probability in eighths."""

    needs_hidden = True

    def __init__(self, head: DraftHead) -> None:
        self.head = head.eval()
        on_cpu = head.embeddings.device.type == "cpu" and native_library().library is not None
        self._native = NativeHead(head) if on_cpu else None

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
        if self._native is not None:
            ids, sure = self._native.draft(torch.stack(hidden).float(), last)
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
