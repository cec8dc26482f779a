"""What a program of this folder found wrong."""


class Failed(Exception):
    """One sentence about it; the exit code is 1."""
