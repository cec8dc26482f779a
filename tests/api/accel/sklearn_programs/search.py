"""A grid search in two processes, and what it found."""

from sklearn.datasets import load_digits
from sklearn.model_selection import GridSearchCV, train_test_split
from sklearn.neural_network import MLPClassifier


def main():
    X, y = load_digits(return_X_y=True)
    X_train, X_test, y_train, y_test = train_test_split(X / 16, y, random_state=0)
    grid = {"hidden_layer_sizes": [(4,), (64,)], "activation": ["relu"]}
    search = GridSearchCV(MLPClassifier(random_state=1, max_iter=60), grid, cv=3, n_jobs=2)
    search.fit(X_train, y_train)
    print("trained by", type(search.best_estimator_).__module__.split(".")[0] + ".")
    print("best", search.best_params_)
    print(f"inner score {search.best_score_:.4f}")
    print(f"test score {search.score(X_test, y_test):.4f}")


if __name__ == "__main__":
    main()
