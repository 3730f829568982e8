"""The families of decoders that Podium knows: one file each, listed in registry.py.

Importing the package loads nothing; none of its files imports torch.
"""
