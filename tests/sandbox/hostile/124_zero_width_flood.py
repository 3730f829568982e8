# Characters without width: capped like any others.
# expect: ok output-limit error
print("a" + "\u200b" * 3_000_000)
print("e" + "\u0301" * 3_000_000)
print("\u2800" * 100_000, "\ufeff" * 100_000, "\U000e0041" * 100_000)
