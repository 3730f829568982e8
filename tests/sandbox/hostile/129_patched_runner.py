# Everything the runner might call on the way out, replaced.
# limits: wall=0.4
# expect: ok error timeout crashed state-lost | ok error timeout crashed state-lost
import ast, builtins, codeop, io, linecache, traceback
def never(*args, **kwargs):
    while True:
        pass
sys.displayhook = sys.excepthook = sys.unraisablehook = never
traceback.format_exc = traceback.print_exception = traceback.walk_tb = never
traceback.TracebackException.__init__ = never
linecache.updatecache = linecache.checkcache = never
ast.parse = builtins.compile = never
io.StringIO = never
# %%
1 / 0
