"""Time to quality under fixed rules: tasks, rules, timed runs, checks, scores, and the published rounds beside them."""
