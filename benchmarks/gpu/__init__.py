"""What is measured and checked of the CUDA engine; `python -m benchmarks.gpu` runs it on a GPU."""
