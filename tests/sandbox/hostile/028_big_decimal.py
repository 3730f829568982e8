# limits: wall=0.4
# expect: timeout ok error memory state-lost
text = str(3 ** (3 * 10**7))
