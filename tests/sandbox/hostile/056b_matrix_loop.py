# limits: wall=0.4
# expect: timeout state-lost crashed memory
import numpy as np
a = np.random.rand(2500, 2500)
while True:
    a = a @ a
    a /= a.max()
