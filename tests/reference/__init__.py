"""A plain NumPy version of every kernel, in float64 and one concept a file, to compare with."""
