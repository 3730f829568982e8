"""A decode step of fixed shape: so many rows, block tables of such a width, the same tensors every time.

Knows the model, the pool and one attention kernel. Nothing in `run` leaves the device, waits, or depends on a value: it
can be captured. A row is one token: its keys and values are written before any are read, so that several rows may be
neighbours in one sequence.
"""

from __future__ import annotations

import torch
from torch import Tensor

from podium.generate.device.attention import Kernel, Paged
from podium.generate.device.replay import Mailbox
from podium.models.transformer import Transformer


class DecodeStep:
    """`run` computes what `inputs` says.

    Attributes:
        inputs: [R, 2 + W] int64: token, position, and the blocks of the table. Rows that nobody needs are padding:
            token 0 at position 0 of a block that belongs to nobody.
        logits: [R, V] and
        states: [R, (1 + taps) * D], fp32, what `run` writes.
    """

    def __init__(
        self,
        model: Transformer,
        pool: Tensor,
        kernel: Kernel,
        width: int,
        logits: Tensor,
        states: Tensor,
        taps: tuple[int, ...],
    ) -> None:
        self.model, self.pool, self.kernel, self.taps = model, pool, kernel, taps
        self.logits, self.states = logits, states
        self.inputs = Mailbox((len(logits), 2 + width), torch.int64, pool.device)

    def run(self) -> None:
        inputs, pool = self.inputs.device, self.pool
        _, _, kv_heads, _, block_size, head_dim = pool.shape
        tokens, positions, tables = inputs[:, 0], inputs[:, 1], inputs[:, 2:]
        blocks = tables.gather(1, (positions // block_size)[:, None])[:, 0]
        slots = blocks * block_size + positions % block_size
        attend_rows = self.kernel(Paged(pool, tables, positions))

        def attend(layer: int, q: Tensor, k: Tensor, v: Tensor, window: int) -> Tensor:
            keys, values = pool[layer].view(2, kv_heads, -1, head_dim).unbind(0)
            keys.index_copy_(1, slots, k[0].transpose(0, 1))
            values.index_copy_(1, slots, v[0].transpose(0, 1))
            return attend_rows(layer, q[0])[None]

        states = self.model.hidden(tokens[None], positions=positions[None], attend=attend, taps=self.taps)[0]
        self.states.copy_(states)
        self.logits.copy_(self.model.head(states[:, : self.model.config.hidden_size]))
