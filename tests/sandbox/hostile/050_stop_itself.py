# limits: wall=0.4
# expect: ok error timeout state-lost crashed
os.kill(os.getpid(), signal.SIGSTOP)
print("not stopped")
