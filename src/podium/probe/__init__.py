"""What this machine can do at best: matrix products, memory, disk; measured once, recorded, and read by the planner.

Knows machines, neither models nor plans. `record` needs no torch, so that planning stays light; `ceilings` is the one
place that times products and bandwidths, for the trainer's MFU, the benchmarks and `podium probe` alike.
"""
