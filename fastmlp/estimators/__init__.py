"""Scikit-learn's MLPClassifier and MLPRegressor, trained by the compiled kernels."""

from fastmlp.estimators.classifier import MLPClassifier as MLPClassifier
from fastmlp.estimators.fallback import explain_fallback as explain_fallback
from fastmlp.estimators.regressor import MLPRegressor as MLPRegressor
