# expect: ok | error | ok
print("\x1b[2J\x1b[H\x1b]0;owned\x07\x1b]8;;http://127.0.0.1/\x1b\\link\x1b]8;;\x1b\\\x1bP$q\x1b\\\x1b[6n\x9b2J\x90\x9c")
sys.stderr.write("\x1b[?1049h\x1b(0\x0e\x0f\x1bc")
# %%
raise ValueError("\x1b[31m\u202e\x00\x9b")
# %%
type("\x1b[2J\u202e", (), {})()
