"""A plugin that patches scikit-learn before any test module is imported.

    python -m pytest -p fastmlp.accel.pytest_plugin --pyargs sklearn.neural_network.tests.test_mlp

Scikit-learn's own tests then run on our estimators.
"""

from fastmlp.accel.patch import patch_sklearn

patch_sklearn()
