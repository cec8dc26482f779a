"""The engine of the CPU."""
