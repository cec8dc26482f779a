"""One fit: its steps, its scores, what it tells, every way to end."""
