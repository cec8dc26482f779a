"""Kernels for CUDA GPUs: a file for each concept, as in `kernels/cpu`.

Importing it needs numba-cuda; `fastmlp/spec/devices.py` says what is missing where it is
not there.
"""
