"""The eight tasks of MLPerf Training v1.1: a file each, called as its task is. podium.bench.registry finds them."""
