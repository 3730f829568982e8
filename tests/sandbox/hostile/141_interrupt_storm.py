# Interrupting itself just when the reply is written.
# limits: wall=1
# expect: ok error timeout crashed state-lost | ok error timeout crashed state-lost
import _thread
def storm():
    for _ in range(2000):
        _thread.interrupt_main()
        time.sleep(0)
threading.Thread(target=storm, daemon=True).start()
# %%
1 + 1
