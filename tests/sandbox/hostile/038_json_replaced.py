# Replacing the modules that a runner might use hurts this session at most.
# expect: ok error crashed state-lost | ok error crashed state-lost
import json, struct, io, traceback, linecache, builtins
json.dumps = lambda *a, **k: 1 / 0
struct.pack = struct.pack_into = lambda *a, **k: b"\xff" * 64
os.write = lambda *a: 10**9
os.read = lambda *a: b"PODM" * 100
traceback.format_exception = traceback.print_exc = traceback.TracebackException = lambda *a, **k: ["x"] * 10**6
linecache.getlines = lambda *a: 1 / 0
sys.stdout = sys.stderr = None
print("lost")
# %%
1 / 0
