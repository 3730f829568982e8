"""Linear layers in FP8 (e4m3): weights with a scale per output, activations with a scale per token.

Both factors of a product are rounded to e4m3 (4 exponent and 3 mantissa bits, largest 448, arXiv:2209.05433),
multiplied with sums in fp32, and scaled back: y = (x̂ · ŵᵀ) · s_x · s_w with x̂ = x / s_x, s_x = max |x| of the token
/ 448 and s_w likewise of the output's row. On GPUs from compute capability 8.9 on that is one product of the tensor
cores (torch._scaled_mm); elsewhere the same numbers are multiplied in fp32. A token's scale depends on the token alone.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from podium.errors import CompleterError, InputError

E4M3 = torch.float8_e4m3fn
LARGEST = torch.finfo(E4M3).max  # 448
MULTIPLE = 16
"""The tensor cores' kernels take inputs and outputs in multiples of this."""


def quantise_rows(x: Tensor) -> tuple[Tensor, Tensor]:
    """x [M, K] -> x̂ [M, K] in e4m3 and scales [M, 1] in fp32; x is x̂ times scales up to rounding."""
    wide = x.float()
    # A row of zeros keeps a scale that can be divided by.
    scales = wide.abs().amax(-1, keepdim=True).clamp(min=torch.finfo(torch.float32).tiny * LARGEST) / LARGEST
    # Dividing may end a rounding above the largest, which e4m3 would turn into NaN.
    return (wide / scales).clamp(-LARGEST, LARGEST).to(E4M3), scales


def multiply(
    x: Tensor, x_scales: Tensor, weight: Tensor, scales: Tensor, bias: Tensor | None, to: torch.dtype
) -> Tensor:
    """What the tensor cores compute, in fp32: x [M, K] and weight [N, K] in e4m3, scales [M, 1], [1, N] -> [M, N]."""
    product = F.linear(x.float(), weight.float()) * x_scales * scales
    return (product if bias is None else product + bias.float()).to(to)


class Fp8Linear(nn.Module):
    """Stands where nn.Linear stood, with its weights rounded to FP8.

    Args:
        linear: in the highest precision there is; its weights are rounded once.
        dtype: of inputs and outputs.

    Raises:
        InputError: inputs or outputs that are not a multiple of 16.
    """

    def __init__(self, linear: nn.Linear, device: torch.device, dtype: torch.dtype) -> None:
        super().__init__()
        if linear.in_features % MULTIPLE or linear.out_features % MULTIPLE:
            raise InputError(
                f"a matrix of {linear.out_features} x {linear.in_features} cannot be multiplied in fp8",
                f"both must be multiples of {MULTIPLE}; use format bf16",
            )
        weight, scales = quantise_rows(linear.weight.detach().to(device))
        self.register_buffer("weight", weight)
        self.register_buffer("scales", scales.T.contiguous())  # [1, N]
        self.register_buffer("bias", None if linear.bias is None else linear.bias.detach().to(device, dtype))
        self.weight: Tensor
        self.scales: Tensor
        self.bias: Tensor | None

    def forward(self, x: Tensor) -> Tensor:
        """x [..., K] -> [..., N] in the dtype of x."""
        rows, scales = quantise_rows(x.reshape(-1, x.shape[-1]))
        if x.device.type == "cuda":
            y = torch.ops.aten._scaled_mm(rows, self.weight.T, scales, self.scales, bias=self.bias, out_dtype=x.dtype)
        else:
            y = multiply(rows, scales, self.weight, self.scales, self.bias, x.dtype)
        return y.view(*x.shape[:-1], -1)


def check_fp8(device: torch.device) -> None:
    """Raises InputError where a GPU cannot multiply in FP8 with these scales, with the reason."""
    if device.type != "cuda":
        return
    capability = torch.cuda.get_device_capability(device)
    name = torch.cuda.get_device_name(device)
    if capability < (8, 9):
        raise InputError(
            f"{name} (compute capability {capability[0]}.{capability[1]}) has no FP8",
            "use format bf16 or fp16; FP8 needs 8.9 (Ada, Hopper, Blackwell) or more",
        )
    version = tuple(int(part) for part in torch.__version__.split("+")[0].split(".")[:2])
    if capability == (8, 9) and version < (2, 12):
        # Before, this product left the current stream there, which a captured graph does not survive (pytorch #177651).
        raise InputError(
            f"FP8 on {name} needs PyTorch 2.12, this is {torch.__version__}", "update PyTorch, or use format bf16"
        )
    generator = torch.Generator().manual_seed(0)
    linear = nn.Linear(64, 48)
    with torch.no_grad():
        linear.weight.copy_(torch.randn(48, 64, generator=generator))
        x = torch.randn(5, 64, generator=generator).bfloat16()
        expected = Fp8Linear(linear, torch.device("cpu"), torch.bfloat16)(x)
        try:
            found = Fp8Linear(linear, device, torch.bfloat16)(x.to(device)).cpu()
        except RuntimeError as error:
            reason = str(error).splitlines()[0]
            raise InputError(f"FP8 products do not run on {name}: {reason}", "use format bf16") from error
    if not torch.allclose(found.float(), expected.float(), rtol=2e-2, atol=5e-2):
        raise CompleterError(f"FP8 products on {name} are wrong", "use format bf16, and report this")
