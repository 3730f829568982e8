# limits: wall=0.5
# expect: timeout memory state-lost error
from sympy import *
x, y = symbols("x y")
expand((x + y + 1) ** 400 * (x - y + 2) ** 400)
