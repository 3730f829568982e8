"""The Triton kernel without a GPU: in Triton's interpreter, which computes with numpy what the kernel says, and through
its compiler down to the code of several GPUs."""

import importlib.util
import os
import subprocess
import sys

import pytest

pytestmark = pytest.mark.skipif(importlib.util.find_spec("triton") is None, reason="Triton is not installed")

# In a process of its own: whether kernels are interpreted is decided when Triton is imported.
CHECK = """
import torch
from podium.generate.device.attention import Paged, first_right, gathered
from podium.generate.device.triton_attention import in_place

cpu = torch.device("cpu")
for dtype in (torch.float32, torch.float16):
    for heads, kv_heads, size in ((28, 4, 128), (17, 1, 16)):
        assert first_right([("triton", in_place)], cpu, dtype, heads, kv_heads, size)[0] == "triton"

generator = torch.Generator().manual_seed(0)
pool = torch.randn(3, 2, 2, 50, 32, 16, generator=generator)
inputs = torch.stack([torch.cat([torch.zeros(2, dtype=torch.long), torch.randperm(50, generator=generator)[:40]])
                      for _ in range(6)])
inputs[:, 1] = torch.tensor([0, 31, 511, 512, 800, 1279])  # fewer blocks than parts, as many, more, the whole table
paged = Paged(pool, inputs[:, 2:], inputs[:, 1])  # as a step has them: columns of one tensor
q = torch.randn(6, 6, 16, generator=generator)
for layer in range(3):
    torch.testing.assert_close(in_place(paged)(layer, q), gathered(paged)(layer, q), rtol=1e-4, atol=1e-5)
try:
    in_place(Paged(torch.zeros(1, 2, 1, 4, 32, 24), inputs[:, 2:], inputs[:, 1]))
except ValueError:
    print("all right")
"""


COMPILE = """
import triton
from triton.backends.compiler import GPUTarget
from triton.compiler import ASTSource
from podium.generate.device.triton_attention import _attend_part, _join_parts

def build(kernel, arguments, constants, capability):
    signature = arguments | dict.fromkeys(constants, "constexpr")
    target = GPUTarget("cuda", capability, 32)
    return triton.compile(ASTSource(kernel, signature=signature, constexprs=constants), target=target)

for capability, dtype, size in ((80, "fp16", 64), (89, "bf16", 128), (90, "bf16", 128)):
    sums = {"sums": "*fp32", "largest": "*fp32", "totals": "*fp32"}
    inputs = {"queries": f"*{dtype}", "keys": f"*{dtype}", "values": f"*{dtype}", "tables": "*i64", "positions": "*i64"}
    strides = dict.fromkeys(("table_stride", "position_stride", "head_stride", "block_stride"), "i32")
    constants = {"GROUP": 7, "PADDED": 16, "BLOCK": 32, "SIZE": size, "PARTS": 16, "PRECISION": "tf32"}
    part = build(_attend_part, inputs | sums | strides | {"scale": "fp32"}, constants, capability)
    joined = build(_join_parts, sums | {"found": f"*{dtype}"}, {"SIZE": size, "PARTS": 16}, capability)
    assert part.asm["cubin"] and joined.asm["cubin"]
    assert part.metadata.shared <= 48 << 10  # bytes every GPU gives a program
print("all right")
"""


@pytest.mark.parametrize(("check", "interpreted"), [(CHECK, "1"), (COMPILE, "0")], ids=["computes", "compiles"])
def test_the_kernel(check, interpreted, tmp_path):
    done = subprocess.run(
        [sys.executable, "-c", check],
        capture_output=True,
        text=True,
        timeout=250,
        env={**os.environ, "TRITON_INTERPRET": interpreted, "TRITON_CACHE_DIR": str(tmp_path)},
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip() == "all right"
