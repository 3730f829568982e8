"""Published rounds as compact data: one CSV per round, one line per entry; `sources.yaml` says where it comes from."""
