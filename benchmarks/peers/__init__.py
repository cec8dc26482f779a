"""fastmlp beside the libraries that a person would use instead, in one run.

python -m benchmarks.peers --help
"""
