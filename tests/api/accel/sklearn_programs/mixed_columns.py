"""A table with numbers and categories: a column transformer, a pipeline, cross-validation."""

import numpy as np
import pandas as pd
from sklearn.compose import make_column_transformer
from sklearn.datasets import load_breast_cancer
from sklearn.model_selection import cross_val_score, train_test_split
from sklearn.neural_network import MLPClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder, StandardScaler

data = load_breast_cancer(as_frame=True)
X = data.data.copy()
X["size"] = pd.cut(X["mean area"], [0, 400, 800, np.inf], labels=["small", "middle", "large"])
y = data.target_names[data.target]

columns = make_column_transformer(
    (StandardScaler(), [str(name) for name in data.feature_names]), (OneHotEncoder(), ["size"])
)
model = make_pipeline(columns, MLPClassifier(random_state=0, max_iter=150))
X_train, X_test, y_train, y_test = train_test_split(X, y, random_state=0, stratify=y)
model.fit(X_train, y_train)
print("trained by", type(model[-1]).__module__.split(".")[0] + ".")
print(f"accuracy {model.score(X_test, y_test):.4f}")
print(f"cross-validation {cross_val_score(model, X, y, cv=3).mean():.4f}")
print("classes", model.classes_, model.predict_proba(X_test).shape)
