"""The command line: what a person types, put together from the rooms; no work of its own is done here."""
