# limits: wall=3
# expect: error crashed state-lost memory timeout
eval("(" * 90_000 + ")" * 90_000)
