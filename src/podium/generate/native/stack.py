"""stack.h as an object: the C side of a model, its memory and its threads.

Knows ctypes and shapes; packing, stepping and drawing are done by those who hold a Stack.
"""

from __future__ import annotations

import ctypes
import os
import weakref
from typing import TYPE_CHECKING

from podium.errors import CompleterError
from podium.generate.native.build import native_library
from podium.generate.native.linear import CLinear

if TYPE_CHECKING:
    from podium.models import TransformerConfig


class StackShape(ctypes.Structure):
    _fields_ = (
        ("layers", ctypes.c_int),
        ("hidden", ctypes.c_int),
        ("inner", ctypes.c_int),
        ("heads", ctypes.c_int),
        ("kv_heads", ctypes.c_int),
        ("head_dim", ctypes.c_int),
        ("vocabulary", ctypes.c_int),
        ("qk_norm", ctypes.c_int),
        ("half_cache", ctypes.c_int),
        ("half_embedding", ctypes.c_int),
        ("eps", ctypes.c_float),
        ("experts", ctypes.c_int),
        ("active", ctypes.c_int),
        ("expert_inner", ctypes.c_int),
        ("normalised", ctypes.c_int),
    )


class StackStep(ctypes.Structure):
    _fields_ = (
        ("spans", ctypes.c_int),
        ("tokens", ctypes.c_void_p),
        ("starts", ctypes.c_void_p),
        ("counts", ctypes.c_void_p),
        ("wanted", ctypes.c_void_p),
        ("lengths", ctypes.c_void_p),
        ("blocks", ctypes.c_void_p),
    )


class StackDraw(ctypes.Structure):
    _fields_ = (
        ("rows", ctypes.c_int),
        ("parts", ctypes.c_int),
        ("part", ctypes.c_void_p),
        ("guess", ctypes.c_void_p),
        ("row", ctypes.c_void_p),
        ("ask", ctypes.c_void_p),
        ("logits", ctypes.c_void_p),
        ("plain", ctypes.c_void_p),
        ("token", ctypes.c_void_p),
        ("logprob", ctypes.c_void_p),
        ("logsum", ctypes.c_void_p),
    )


class Stack:
    """The C stack of a model of this shape, without weights, for `threads` threads (the caller's own and sleepers).

    Raises:
        CompleterError: no memory.
    """

    def __init__(self, config: TransformerConfig, *, half_cache: bool, half_embedding: bool, threads: int) -> None:
        library = native_library().library
        assert library is not None
        self.library = _declare(library)
        self._threads = threads
        mixture = config.mixture
        experts = (
            (mixture.experts, mixture.active, mixture.intermediate_size, mixture.normalised) if mixture else (0,) * 4
        )
        shape = StackShape(
            config.num_hidden_layers,
            config.hidden_size,
            config.intermediate_size,
            config.num_attention_heads,
            config.num_key_value_heads,
            config.head_dim,
            config.vocab_size,
            config.block(0).qk_norm,
            half_cache,
            half_embedding,
            config.rms_norm_eps,
            *experts,
        )
        stack = self.library.stack_new(ctypes.byref(shape))
        if not stack:
            raise CompleterError("no memory for the native engine", "free some, or use a smaller model")
        self.pointer = ctypes.c_void_p(stack)
        self._process = os.getpid()
        weakref.finalize(self, _free, self.library, stack, self._process)

    def own_threads(self) -> None:
        """To be called before work is handed to the threads: a fork copies their memory and not the threads."""
        if os.getpid() != self._process:
            self._process = os.getpid()
            self.start_threads()

    def start_threads(self) -> None:
        """To be called once the weights are packed: what a thread works with depends on them. Raises CompleterError."""
        if self.library.stack_start_threads(self.pointer, self._threads):
            raise CompleterError(f"cannot start {self._threads} threads", "ask for fewer")


def _declare(library: ctypes.CDLL) -> ctypes.CDLL:
    pointer, whole = ctypes.c_void_p, ctypes.c_int
    for name, arguments, result in (
        ("stack_new", (pointer,), pointer),
        ("stack_free", (pointer,), None),
        ("stack_linear", (pointer, whole, whole), ctypes.POINTER(CLinear)),
        ("stack_expert", (pointer, whole, whole, whole), ctypes.POINTER(CLinear)),
        ("stack_set_norm", (pointer, whole, whole, pointer), None),
        ("stack_set_window", (pointer, whole, whole), None),
        ("stack_set_embedding", (pointer, pointer), None),
        ("stack_set_taps", (pointer, whole, pointer), None),
        ("stack_set_angles", (pointer, pointer, pointer, whole), None),
        ("stack_set_pool", (pointer, pointer, whole), None),
        ("stack_packed", (), None),
        ("stack_block_bytes", (pointer,), ctypes.c_size_t),
        ("stack_copy_block", (pointer, whole, whole), None),
        ("stack_start_threads", (pointer, whole), whole),
        ("stack_step", (pointer, pointer, pointer, pointer), whole),
        ("stack_draw", (pointer, pointer), whole),
        ("stack_seconds", (pointer, pointer), None),
        ("linear_new", (pointer, whole, whole, whole, whole), whole),
        ("linear_fill", (pointer, whole, whole, pointer, pointer), None),
    ):
        function = getattr(library, name)
        function.argtypes, function.restype = arguments, result
    return library


def _free(library: ctypes.CDLL, stack: int, process: int) -> None:
    # In a forked child there are no threads to wait for; the pages are the parent's.
    if os.getpid() == process:
        library.stack_free(stack)
