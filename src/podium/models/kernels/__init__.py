"""The C kernels of a training step: loaded, and called on tensors.

Knows addresses and strides; what is computed stands in kernels.h, the gradients' bookkeeping in the callers
(podium.models.fused, podium.train.attention). There are none without a C compiler or without PyTorch's OpenMP
threads: `kernels()` is None then, and the callers go PyTorch's way.
"""

from __future__ import annotations

import ctypes
import functools
import os
from pathlib import Path

import torch
from torch import Tensor

from podium.native import Native, library_of

ISAS = ("portable", "avx2", "avx512")  # the order of KernelsIsa
NORM_CHUNK = 64

_int, _float, _pointer, _size = ctypes.c_int, ctypes.c_float, ctypes.c_void_p, ctypes.c_size_t


class _Norm(ctypes.Structure):
    _fields_ = (
        ("rows", _int),
        ("size", _int),
        ("eps", _float),
        *((name, _pointer) for name in ("x", "branch")),
        *((name, _size) for name in ("x_stride", "branch_stride")),
        *((name, _pointer) for name in ("weight", "total", "scale", "out")),
    )


class _NormGradient(ctypes.Structure):
    _fields_ = (
        ("rows", _int),
        ("size", _int),
        *((name, _pointer) for name in ("grad", "grad_total")),
        *((name, _size) for name in ("grad_stride", "grad_total_stride")),
        ("x", _pointer),
        ("x_stride", _size),
        *((name, _pointer) for name in ("weight", "scale", "grad_x", "grad_weight", "partial")),
    )


class _Gated(ctypes.Structure):
    _fields_ = (
        ("rows", _int),
        ("size", _int),
        ("both", _pointer),
        ("both_stride", _size),
        ("inner", _pointer),
        ("inner_stride", _size),
        ("grad_both", _pointer),
        ("grad_both_stride", _size),
    )


class _Attention(ctypes.Structure):
    _fields_ = (
        *((name, _int) for name in ("documents", "gaps")),
        ("spans", _pointer),
        *((name, _int) for name in ("heads", "kv_heads", "size", "window", "turn_tokens")),
        *((name, _pointer) for name in ("turns", "q", "k", "v")),
        *((name, _size) for name in ("q_stride", "k_stride", "v_stride")),
        ("out", _pointer),
        ("out_stride", _size),
        ("logsumexp", _pointer),
        ("grad", _pointer),
        ("grad_stride", _size),
        *((name, _pointer) for name in ("grad_q", "grad_k", "grad_v")),
        *((name, _size) for name in ("grad_q_stride", "grad_k_stride", "grad_v_stride")),
        ("longest", _int),
        ("scratch", _pointer),
    )


class Spans:
    """Where documents lie among packed tokens, and the gaps between them: [(first token, length)] each."""

    def __init__(self, documents: list[tuple[int, int]], gaps: list[tuple[int, int]]) -> None:
        # The longest first: threads that take documents as they become free then end together.
        ordered = sorted(documents, key=lambda span: -span[1])
        self.documents, self.gaps = len(ordered), len(gaps)
        self.longest = ordered[0][1] if ordered else 0
        self.table = torch.tensor([*ordered, *gaps], dtype=torch.int32).reshape(-1, 2)


class Kernels:
    """The loaded library. All tensors are fp32 on the CPU, their last dimension contiguous."""

    def __init__(self, library: ctypes.CDLL, openmp_entry: int) -> None:
        self._library = library
        library.kernels_init.argtypes, library.kernels_init.restype = [_pointer], None
        library.kernels_init(openmp_entry)
        library.attention_scratch.argtypes, library.attention_scratch.restype = [_int, _int], _size
        for name, task in (("norm", _Norm), ("gated", _Gated), ("attention", _Attention)):
            for way in ("forward", "backward"):
                function = getattr(library, f"{name}_{way}")
                kind = _NormGradient if (name, way) == ("norm", "backward") else task
                function.argtypes, function.restype = [ctypes.POINTER(kind), _int], None

    @property
    def isa(self) -> str:
        return ISAS[self._library.kernels_isa()]

    def set_isa(self, name: str) -> bool:
        """Whether this machine can run instruction set `name`, which is used from now on if so."""
        return self._library.kernels_set_isa(ISAS.index(name)) == 0

    def norm_forward(self, x: Tensor, branch: Tensor | None, weight: Tensor, eps: float) -> tuple[Tensor, ...]:
        """x and branch [R, N] -> their sum (x itself without a branch), the normalised rows, their scales [R]."""
        rows, size = x.shape
        out, scale = torch.empty(rows, size), torch.empty(rows)
        total = x if branch is None else torch.empty(rows, size)
        self._library.norm_forward(
            _Norm(
                rows,
                size,
                eps,
                x.data_ptr(),
                None if branch is None else branch.data_ptr(),
                x.stride(0),
                0 if branch is None else branch.stride(0),
                weight.data_ptr(),
                total.data_ptr(),
                scale.data_ptr(),
                out.data_ptr(),
            ),
            torch.get_num_threads(),
        )
        return total, out, scale

    def norm_backward(
        self, grad: Tensor, grad_total: Tensor | None, x: Tensor, weight: Tensor, scale: Tensor
    ) -> tuple[Tensor, Tensor]:
        """Gradients of x [R, N] and weight [N]; grad_total, which reaches x past the normalisation, is added."""
        rows, size = x.shape
        grad_x, grad_weight = torch.empty(rows, size), torch.empty(size)
        partial = torch.empty(-(-rows // NORM_CHUNK), size)
        self._library.norm_backward(
            _NormGradient(
                rows,
                size,
                grad.data_ptr(),
                None if grad_total is None else grad_total.data_ptr(),
                grad.stride(0),
                0 if grad_total is None else grad_total.stride(0),
                x.data_ptr(),
                x.stride(0),
                weight.data_ptr(),
                scale.data_ptr(),
                grad_x.data_ptr(),
                grad_weight.data_ptr(),
                partial.data_ptr(),
            ),
            torch.get_num_threads(),
        )
        return grad_x, grad_weight

    def gated_forward(self, both: Tensor, inner: Tensor) -> None:
        """inner [R, F] = silu(gate) · up for both = [gate | up] [R, 2 F]."""
        rows, size = inner.shape
        self._library.gated_forward(
            _Gated(rows, size, both.data_ptr(), both.stride(0), inner.data_ptr(), inner.stride(0), None, 0),
            torch.get_num_threads(),
        )

    def gated_backward(self, both: Tensor, inner: Tensor, grad_both: Tensor) -> None:
        """From the gradient of inner, in `inner`: grad_both [R, 2 F], and in its place inner itself once more."""
        rows, size = inner.shape
        self._library.gated_backward(
            _Gated(
                rows,
                size,
                both.data_ptr(),
                both.stride(0),
                inner.data_ptr(),
                inner.stride(0),
                grad_both.data_ptr(),
                grad_both.stride(0),
            ),
            torch.get_num_threads(),
        )

    def attention_forward(
        self, spans: Spans, q: Tensor, k: Tensor, v: Tensor, turns: Tensor | None, window: int = 0
    ) -> tuple[Tensor, Tensor]:
        """q [T, H, Dh], k and v [T, Hkv, Dh], the heads of a token side by side, turns complex [T', Dh/2] (token i is
        turned by row i % T') -> [T, H, Dh] and, for the gradient, logsumexp [T, H]. A token sees `window` tokens, its
        own among them; 0: all up to its own."""
        tokens, heads, size = q.shape
        out, logsumexp = torch.empty(tokens, heads, size), torch.empty(tokens, heads)
        task, _scratch = self._attention(spans, q, k, v, turns, logsumexp, window)
        task.out, task.out_stride = out.data_ptr(), out.stride(0)
        self._library.attention_forward(task, torch.get_num_threads())
        return out, logsumexp

    def attention_backward(
        self,
        spans: Spans,
        inputs: tuple[Tensor, Tensor, Tensor],
        turns: Tensor | None,
        logsumexp: Tensor,
        grad: Tensor,
        grads: tuple[Tensor, Tensor, Tensor],
        window: int = 0,
    ) -> None:
        """Writes the gradients of the inputs q, k and v (unturned, where there are turns) into `grads`."""
        task, _scratch = self._attention(spans, *inputs, turns, logsumexp, window)
        task.grad, task.grad_stride = grad.data_ptr(), grad.stride(0)
        for name, target in zip("qkv", grads, strict=True):
            setattr(task, f"grad_{name}", target.data_ptr())
            setattr(task, f"grad_{name}_stride", target.stride(0))
        self._library.attention_backward(task, torch.get_num_threads())

    def _attention(
        self, spans: Spans, q: Tensor, k: Tensor, v: Tensor, turns: Tensor | None, logsumexp: Tensor, window: int
    ) -> tuple[_Attention, Tensor]:
        heads, size = q.shape[1:]
        scratch = torch.empty(torch.get_num_threads() * self._library.attention_scratch(size, spans.longest))
        task = _Attention(
            documents=spans.documents,
            gaps=spans.gaps,
            spans=spans.table.data_ptr(),
            heads=heads,
            kv_heads=k.shape[1],
            size=size,
            window=window,
            turn_tokens=1 if turns is None else turns.shape[0],
            turns=None if turns is None else turns.data_ptr(),
            q=q.data_ptr(),
            k=k.data_ptr(),
            v=v.data_ptr(),
            q_stride=q.stride(0),
            k_stride=k.stride(0),
            v_stride=v.stride(0),
            logsumexp=logsumexp.data_ptr(),
            longest=spans.longest,
            scratch=scratch.data_ptr(),
        )
        return task, scratch


def kernels() -> Kernels | None:
    """The kernels, or None where there are none; loaded once per process."""
    return _loaded()[0]


def why_not() -> str:
    """Why there are no kernels; empty where there are."""
    return _loaded()[1]


@functools.cache
def _loaded() -> tuple[Kernels | None, str]:
    entry = _openmp_entry()
    if entry is None:
        return None, "PyTorch's OpenMP threads were not found in this process"
    native: Native = library_of(Path(__file__).parent)
    return (None, native.reason) if native.library is None else (Kernels(native.library, entry), "")


def _openmp_entry() -> int | None:
    """Address of GOMP_parallel in the OpenMP runtime that PyTorch runs on: a second one would be a second set of
    threads that fights the first for the cores."""
    try:
        mapped = {line.split(maxsplit=5)[-1].strip() for line in Path("/proc/self/maps").read_text().splitlines()}
    except OSError:
        return None
    runtimes = [path for path in mapped if os.path.basename(path).startswith(("libgomp", "libiomp5", "libomp"))]
    own = os.path.dirname(torch.__file__)
    for path in sorted(runtimes, key=lambda path: (not path.startswith(own), path)):
        try:
            entry = ctypes.CDLL(path).GOMP_parallel
        except (OSError, AttributeError):
            continue
        return ctypes.cast(entry, ctypes.c_void_p).value
    return None
