# The runner's own functions replaced from inside: the session lies or breaks, the host stays calm.
# limits: wall=0.8
# expect: ok error crashed timeout state-lost | ok error crashed timeout state-lost
# effect: rss_bounded
import podium.sandbox.protocol as protocol
import podium.sandbox.transcript as transcript
protocol.pack_reply = lambda code, request, dropped, text: b"pdm<" + os.urandom(100)
transcript.Transcript.finish = lambda self: ("\x1b[2J" * 10_000, 2**63)
transcript.Transcript.begin = lambda self, room: None
# %%
print("after")
