# limits: wall=3
# expect: crashed output-limit error
# effect: rss_bounded
import podium.sandbox.transcript as transcript
transcript.Transcript.finish = lambda self: ("long " * 2_000_000, 0)
