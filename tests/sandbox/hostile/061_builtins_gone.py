# expect: ok error crashed state-lost | ok error crashed state-lost | ok error crashed state-lost
import builtins
builtins.exec = builtins.compile = builtins.eval = builtins.print = builtins.len = builtins.repr = None
builtins.BaseException = builtins.Exception = builtins.KeyboardInterrupt = None
# %%
1 + 1
# %%
1 / 0
