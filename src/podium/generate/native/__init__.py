"""The CPU engine's C kernels and what builds and calls them; everything here has a torch path beside it."""
