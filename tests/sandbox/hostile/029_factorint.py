# A factorisation that never ends: soft timeout, variables kept, next block works.
# limits: wall=0.6
# expect: timeout | ok
# require: kept 41
kept = 41
from sympy import factorint, nextprime
factorint(nextprime(10**45) * nextprime(10**46 + 12345))
# %%
print("kept", kept)
