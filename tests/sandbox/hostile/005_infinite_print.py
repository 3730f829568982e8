# Ends at the time limit (or the output limit); what comes back is capped, the variables are kept.
# limits: wall=0.4
# expect: timeout output-limit state-lost | ok error state-lost
kept = 17
while True:
    print("x" * 100)
# %%
kept
