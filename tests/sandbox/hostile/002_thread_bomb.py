# Threads are capped per session.
# expect: ok | ok
# require: held
# effect: threads_bounded
release = threading.Event()
threads = []
try:
    while len(threads) < 3000:
        thread = threading.Thread(target=release.wait, args=(20,), daemon=True)
        thread.start()
        threads.append(thread)
    print("ESCAPED", len(threads))
except (RuntimeError, MemoryError) as error:
    print("held", type(error).__name__, len(threads) < 600)
finally:
    release.set()
# %%
print("session goes on", sum(range(10)))
