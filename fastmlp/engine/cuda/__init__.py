"""The engine of a CUDA GPU: the same calls as the CPU's."""
