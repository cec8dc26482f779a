"""A table that comes in chunks: partial_fit over several passes, then a pickle."""

import pickle

import numpy as np
from sklearn.datasets import make_regression
from sklearn.metrics import r2_score
from sklearn.neural_network import MLPRegressor

X, y = make_regression(4_000, 20, n_informative=10, noise=5.0, random_state=0)
y = (y - y.mean()) / y.std()
model = MLPRegressor(hidden_layer_sizes=(50, 25), random_state=0, learning_rate_init=5e-3)
for _ in range(5):
    for start in range(0, 3_000, 500):
        model.partial_fit(X[start : start + 500], y[start : start + 500])
print("trained by", type(model).__module__.split(".")[0] + ".")
loaded = pickle.loads(pickle.dumps(model))
assert np.array_equal(loaded.predict(X), model.predict(X))
print(f"r2 {r2_score(y[3_000:], loaded.predict(X[3_000:])):.4f}")
print(f"last loss {model.loss_curve_[-1]:.4f}", "passes", len(model.loss_curve_), model.t_)
