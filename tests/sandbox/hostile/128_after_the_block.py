# Code that runs when nobody asked: finalisers, exit functions, tracers, collectors.
# expect: ok error | ok error
# forbid@2: bleed
import atexit, gc, weakref
class Last:
    def __del__(self):
        while True:
            try:
                print("bleed")
                time.sleep(0.01)
            except BaseException:
                break
atexit.register(lambda: print("bleed"))
gc.callbacks.append(lambda phase, info: None)
keep = Last()
weakref.finalize(keep, lambda: os.write(1, b"bleed"))
# %% pause=0.2
"second"
