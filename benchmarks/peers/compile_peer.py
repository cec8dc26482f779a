"""PyTorch with `torch.compile`: forward pass, loss and backward pass compiled, fused optimizer."""

from __future__ import annotations

import shutil

import torch

from .problem import NotHereError, Problem
from .torch_peer import TorchPeer, versions


class CompilePeer(TorchPeer):
    def __init__(self, problem: Problem, n_threads: int) -> None:
        super().__init__(problem, n_threads)
        # Its own message is a page long.
        if not any(shutil.which(name) for name in ("g++", "clang++", "c++")):
            raise NotHereError(
                "torch.compile needs a C++ compiler, got none; install g++ and run again"
            )
        torch.compiler.reset()
        self.loss = torch.compile(self.loss)


make = CompilePeer
__all__ = ["make", "versions"]
