"""fastmlp: one `fit`."""

from __future__ import annotations

import fastmlp

from .names import BETA1, BETA2, MOMENTUM
from .problem import Problem


class FastmlpPeer:
    def __init__(self, problem: Problem, n_threads: int) -> None:
        self.X, self.y = problem.data()
        self.batch_size = problem.case.batch_size
        self.optimizer: fastmlp.optim.Optimizer = {
            "adam": fastmlp.optim.Adam(problem.lr, BETA1, BETA2, problem.eps),
            "momentum": fastmlp.optim.SGD(problem.lr, momentum=MOMENTUM),
            "sgd": fastmlp.optim.SGD(problem.lr),
        }[problem.optimizer]
        self.net = fastmlp.Network(
            problem.case.sizes,
            activation=problem.activation,
            loss=problem.case.loss,
            dtype=problem.dtype,
            n_threads=n_threads,
        )
        self.net.set_parameters(*problem.parameters())

    def train(self, n_epochs: int, shuffle: bool) -> list[float]:
        history = self.net.fit(
            self.X, self.y, optimizer=self.optimizer, epochs=n_epochs,
            batch_size=self.batch_size, shuffle=shuffle, verbose=False,
        )  # fmt: skip
        return [float(loss) for loss in history.loss]


make = FastmlpPeer
versions = {"fastmlp": fastmlp.__version__}
