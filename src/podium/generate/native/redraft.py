"""A draft head on the C kernels: chains of guesses for all completions of a step in one call."""

from __future__ import annotations

import ctypes
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor, nn

from podium.errors import CompleterError
from podium.generate.native.linear import CLinear, PackedLinear, kernels

if TYPE_CHECKING:
    from podium.compress.draft import DraftHead


class _Redraft(ctypes.Structure):
    _fields_ = (
        ("size", ctypes.c_int),
        ("taps", ctypes.c_int),
        ("vocabulary", ctypes.c_int),
        ("depth", ctypes.c_int),
        ("blocks", ctypes.c_int),
        ("join", ctypes.c_void_p),
        ("input", ctypes.c_void_p),
        ("both", ctypes.c_void_p),
        ("block", ctypes.c_void_p),
        ("head", ctypes.c_void_p),
        ("embeddings", ctypes.c_void_p),
        ("ids", ctypes.c_void_p),
    )


class NativeHead:
    """Raises InputError where there are no C kernels."""

    def __init__(self, head: DraftHead) -> None:
        config = head.config
        self.depth, self.size = config.depth, config.hidden_size
        blocks = [block for block in head.blocks if isinstance(block, nn.Linear)]
        with torch.no_grad():
            # One product gives what the state adds to the features and to the next state.
            of_state = torch.cat([head.join_state.weight, head.state.weight])
            self._kept = [
                PackedLinear(head.join_hidden.weight, head.join_hidden.bias, "int8"),
                PackedLinear(head.input.weight, head.input.bias, "int8"),
                PackedLinear(of_state, None, "int8"),
                PackedLinear(head.head.weight, None, "int8"),
                *(PackedLinear(block.weight, block.bias, "int8") for block in blocks),
            ]
            self._embeddings = np.ascontiguousarray(head.embeddings.float().numpy())
        self._ids = np.array(config.vocabulary, np.int32)
        join, state, both, last = (ctypes.addressof(packed.layer) for packed in self._kept[:4])
        self._blocks = (CLinear * max(1, len(blocks)))(*(packed.layer for packed in self._kept[4:]))
        self.shape = _Redraft(
            self.size,
            len(config.taps),
            len(self._ids),
            self.depth,
            len(blocks),
            join,
            state,
            both,
            ctypes.addressof(self._blocks),
            last,
            self._embeddings.ctypes.data,
            self._ids.ctypes.data,
        )
        self._call = kernels().redraft
        pointer = ctypes.c_void_p
        self._call.argtypes = [pointer, ctypes.c_int, pointer, pointer, pointer, pointer]

    def draft(self, states: Tensor, tokens: list[int]) -> tuple[np.ndarray, np.ndarray]:
        """Token ids [N, depth] and the probability of each, for states [N, (1 + taps) * D] fp32 and the
        last tokens [N]."""
        states, last = states.contiguous(), np.array(tokens, np.int32)
        chain = np.empty((len(tokens), self.depth), np.int32)
        sure = np.empty((len(tokens), self.depth), np.float32)
        pointers = last.ctypes.data, chain.ctypes.data, sure.ctypes.data
        if self._call(ctypes.byref(self.shape), len(tokens), states.data_ptr(), *pointers):
            raise CompleterError("no memory to guess", "free some, or do without guesses")
        return chain, sure
