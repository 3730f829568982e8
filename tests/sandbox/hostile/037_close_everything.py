# expect: crashed state-lost error ok
os.closerange(0, 65536)
