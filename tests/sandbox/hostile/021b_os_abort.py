# expect: crashed state-lost
os.abort()
