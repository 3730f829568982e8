"""Go: the rules, a player to be beaten, and search with a network. `board` knows rules alone."""
