"""A machine for PTX: what NVIDIA's compiler made of our kernels runs here, without a GPU.

Every register is an array with a lane for each thread. What PTX leaves undefined stops the machine
with the kernel, the instruction, its line and the thread; docs/design/ptx.md says what it checks.
"""
