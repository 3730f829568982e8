# The end of the process is reported.
# expect: crashed state-lost
os._exit(0)
