"""The model on an accelerator: decode steps of fixed shape that are captured once and replayed, and FP8 weights.

Everything here is PyTorch and runs on any device; what only a GPU can do (capturing, the kernels of FlashAttention and
Triton, FP8 products) stands behind one function each, with a path beside it that computes the same anywhere.
"""
