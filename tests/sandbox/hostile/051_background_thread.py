# A thread left behind makes no progress and no output while the model thinks.
# expect: ok | ok
# forbid@2: bleed
count = 0
stop = False
def work():
    global count
    while not stop:
        count += 1
        if count % 2000 == 0:
            print("bleed", count)
        time.sleep(0)
thread = threading.Thread(target=work, daemon=True)
thread.start()
# %% pause=0.6
stop = True
1
