"""A contest to rehearse, and a contestant to enter it with.

`rehearse` plays the organiser: it calls an entry problem by problem under the contest's rules. `Contestant` is what an
entry may consist of: model, policy and clock behind one call. Neither knows the other: an entry may be any code, and a
contestant answers whoever asks.
"""

from podium.contest.contestant import Contestant
from podium.contest.gateway import Rehearsal, Run, rehearse
from podium.contest.rules import RULES, ContestRules, draw_problems

__all__ = ["RULES", "ContestRules", "Contestant", "Rehearsal", "Run", "draw_problems", "rehearse"]
