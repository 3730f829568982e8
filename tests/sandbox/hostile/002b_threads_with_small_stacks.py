# Threads so small that the address space would allow thousands: the count itself is capped.
# expect: ok crashed | ok
# effect: threads_bounded
threading.stack_size(65536)
release = threading.Event()
threads = []
try:
    while len(threads) < 1500:
        thread = threading.Thread(target=release.wait, args=(3,), daemon=True)
        thread.start()
        threads.append(thread)
    time.sleep(0.5)
    print("ESCAPED", len(threads))
except (RuntimeError, MemoryError) as error:
    print("held", type(error).__name__, len(threads))
    time.sleep(0.2)
finally:
    release.set()
# %%
print("goes on")
