"""Whether weights are numbers: no NaN, no infinity.

One thread looks at them, a part at a time that stays in its cache. On a machine with other work, several threads that
wait for each other after every part made loading several times slower.
"""

from __future__ import annotations

import torch
from torch import Tensor

_PART = 1 << 18  # elements
# Bits without the sign, and the least of them that is not finite: an exponent of ones.
_BITS = {
    torch.float64: (torch.int64, 0x7FFFFFFFFFFFFFFF, 0x7FF0000000000000),
    torch.float32: (torch.int32, 0x7FFFFFFF, 0x7F800000),
    torch.bfloat16: (torch.int16, 0x7FFF, 0x7F80),
    torch.float16: (torch.int16, 0x7FFF, 0x7C00),
}


def all_finite(tensor: Tensor) -> bool:
    """True if no element is NaN or infinite; integers never are. Takes little memory beside the tensor's own."""
    if not tensor.is_floating_point() or not tensor.numel():
        return True
    if tensor.device.type != "cpu" or tensor.dtype not in _BITS:
        # torch has no test for 8-bit floats.
        return bool((tensor.float() if tensor.dtype.itemsize == 1 else tensor).isfinite().all())
    whole, unsigned, limit = _BITS[tensor.dtype]
    tensor = tensor.detach()
    tensor = tensor.view(-1) if tensor.is_contiguous() else tensor
    rows = max(1, _PART * len(tensor) // tensor.numel())
    return all(
        int((part.contiguous().view(whole).numpy() & unsigned).max()) < limit  # in numpy, which has one thread
        for part in tensor.split(rows)
    )
