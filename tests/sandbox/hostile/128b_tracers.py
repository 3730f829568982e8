# limits: wall=1
# expect: ok error timeout crashed state-lost | ok error timeout crashed state-lost
def tracer(frame, event, arg):
    frame.f_globals["__builtins__"] = {}
    raise SystemExit("traced")
sys.setprofile(tracer)
sys.settrace(tracer)
threading.settrace(tracer)
# %%
1 + 1
