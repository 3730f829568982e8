"""One linear layer on the C kernels, as a callable on tensors: for tests, benchmarks and anyone with a single matrix.

The engine's layer stack calls the same kernels from C; see linear.h for the contract (row-invariance, formats).
"""

from __future__ import annotations

import ctypes
import itertools

import torch
from torch import Tensor

from podium.errors import InputError
from podium.generate.formats import WEIGHT_FORMATS
from podium.generate.native.build import native_library

ISAS = ("portable", "avx2", "avx512", "amx")  # the order of LinearIsa


class CLinear(ctypes.Structure):
    """`Linear` of linear.h."""

    _fields_ = (
        ("format", ctypes.c_int),
        ("isa", ctypes.c_int),
        ("n", ctypes.c_int),
        ("k", ctypes.c_int),
        ("group", ctypes.c_int),
        ("k_padded", ctypes.c_int),
        ("bytes", ctypes.c_size_t),
        ("data", ctypes.c_void_p),
        ("scale", ctypes.c_void_p),
        ("bias", ctypes.c_void_p),
        ("offset", ctypes.c_void_p),
    )


def kernels() -> ctypes.CDLL:
    """The library with this file's prototypes. Raises InputError where it cannot be had."""
    native = native_library()
    if native.library is None:
        raise InputError(f"no native kernels: {native.reason}", "install gcc or clang, or use the torch runner")
    lib, pointer, size, number = native.library, ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int
    layer = ctypes.POINTER(CLinear)
    lib.linear_pack.argtypes = [layer, number, number, number, number, pointer, pointer]
    lib.linear_fill_codes.argtypes = [layer, number, number, pointer, pointer, pointer]
    lib.linear_fill_codes.restype = None
    lib.linear_free.argtypes = [layer]
    lib.linear_free.restype = None
    lib.linear_scratch.argtypes = [layer, number]
    lib.linear_scratch.restype = size
    lib.linear_quantise.argtypes = [layer, pointer, size, number, number, pointer]
    lib.linear_quantise.restype = None
    lib.linear_run.argtypes = [layer, pointer, size, pointer, number, pointer, size, number, number]
    lib.linear_run.restype = None
    return lib


def isa() -> str:
    """The instruction set that later layers are packed for."""
    return ISAS[kernels().linear_isa()]


def set_isa(name: str) -> None:
    """Packs later layers for instruction set `name`. Raises InputError where this machine lacks it."""
    if kernels().linear_set_isa(ISAS.index(name)):
        raise InputError(f"this machine cannot run {name} kernels", f"use one of {', '.join(available_isas())}")


def available_isas() -> list[str]:
    """All instruction sets of this machine, plainest first."""
    lib, current = kernels(), kernels().linear_isa()
    found = [name for number, name in enumerate(ISAS) if lib.linear_set_isa(number) == 0]
    lib.linear_set_isa(current)
    return found


def aligned(size: int) -> tuple[Tensor, int]:
    """`size` bytes on a 64-byte boundary: the tensor that owns them and their address."""
    owner = torch.empty(size + 64, dtype=torch.uint8)
    return owner, (owner.data_ptr() + 63) // 64 * 64


class PackedLinear:
    """weight [N, K], bias [N] or None, rounded to `format` and packed; called on x [M, K] gives y [M, N], all fp32."""

    def __init__(self, weight: Tensor, bias: Tensor | None, format: str, group: int = 32) -> None:
        self.layer = CLinear()  # freed in __del__ even if packing fails: all zero
        self.kernels = kernels()
        weight = weight.detach().to(torch.float32).contiguous()
        bias = None if bias is None else bias.detach().to(torch.float32).contiguous()
        n, k = weight.shape
        number, shift = WEIGHT_FORMATS[format].number, None if bias is None else bias.data_ptr()
        if self.kernels.linear_pack(self.layer, number, n, k, group, weight.data_ptr(), shift):
            raise InputError(f"cannot pack a [{n}, {k}] weight as {format} with groups of {group}", "groups: 32 or 64")

    def load_codes(self, codes: Tensor, scale: Tensor) -> None:
        """Replaces all weights by codes[N, K] (int8) * scale[N, groups], rounded elsewhere; no bias."""
        codes, scale = codes.to(torch.int8).contiguous(), scale.to(torch.float32).contiguous()
        self.kernels.linear_fill_codes(self.layer, 0, self.layer.n, codes.data_ptr(), scale.data_ptr(), None)

    def __call__(self, x: Tensor, splits: tuple[int, ...] = ()) -> Tensor:
        """x: [M, K] fp32. `splits`: the columns (multiples of 32) at which the work is cut into several calls."""
        x = x.contiguous()
        m, n, k = x.shape[0], self.layer.n, self.layer.k
        y = torch.empty(m, n)
        _owner, scratch = aligned(self.kernels.linear_scratch(self.layer, m))
        self.kernels.linear_quantise(self.layer, x.data_ptr(), k, 0, m, scratch)
        edges = (0, *splits, n)
        for begin, end in itertools.pairwise(edges):
            self.kernels.linear_run(self.layer, x.data_ptr(), k, scratch, m, y.data_ptr(), n, begin, end)
        return y

    @property
    def bytes(self) -> int:
        """Held by the packed weights, scales and bias."""
        return self.layer.bytes

    def __del__(self) -> None:
        if hasattr(self, "kernels"):
            self.kernels.linear_free(self.layer)
