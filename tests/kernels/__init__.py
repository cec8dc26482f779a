"""Tests of the kernels, and of the engine that runs them."""
