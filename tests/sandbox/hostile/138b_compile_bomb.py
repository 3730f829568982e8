# Small text, huge constant folding and bytecode.
# limits: wall=1
# expect: ok error timeout memory state-lost crashed
# effect: rss_bounded
eval(compile("+".join(["(1,)*9999"] * 20000), "x", "eval"))
