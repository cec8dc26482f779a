"""Time of a whole fit of every data set that is bundled, the network made anew."""

from __future__ import annotations

import numpy as np

import fastmlp


class BundledData:
    """20 epochs on the standardised table."""

    params = (["digits", "breast_cancer", "wine", "iris", "diabetes"],)
    param_names = ("data",)

    def setup(self, name: str) -> None:
        from sklearn import datasets

        X, y = getattr(datasets, f"load_{name}")(return_X_y=True)
        scale = X.std(axis=0)
        self.X = ((X - X.mean(axis=0)) / np.where(scale > 0, scale, 1)).astype(np.float32)
        self.y = (y - y.mean()) / y.std() if name == "diabetes" else y
        self.loss = "squared_error" if name == "diabetes" else "cross_entropy"
        self.n_outputs = 1 if name == "diabetes" else int(y.max()) + 1
        self.time_fit(name)

    def time_fit(self, name: str) -> None:
        net = fastmlp.Network([self.X.shape[1], 128, 64, self.n_outputs], loss=self.loss)
        net.fit(self.X, self.y, epochs=20, batch_size=32, verbose=False)
