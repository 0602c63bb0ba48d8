#!/usr/bin/env python3
"""Figures that scikit-learn reaches on small real data sets: one hidden layer, ReLU, Adam, the same rows for training and for
testing, features (and a target that is a number) standardised on the training rows.

    python3 tests/reference/make_sklearn.py ../shared/data > tests/reference/sklearn.json

For each set the median and the deviation over ten seeds of the accuracy, or of R squared, on the test rows after the last
epoch. tests/unit/driver_sklearn.cpp holds nnc's figures against them. No test needs Python.
"""
import csv
import json
import statistics
import sys

import numpy
import sklearn
from sklearn.neural_network import MLPClassifier, MLPRegressor

# name, training file, test file (none: of every five rows the last), target, kind, hidden, rate, batch, epochs
SETS = [
    ("iris", "tabular/iris.csv", None, "y", "classes", 16, 1e-2, 16, 60),
    ("wine", "tabular/wine.csv", None, "y", "classes", 16, 1e-2, 16, 60),
    ("breast cancer", "tabular/breast_cancer_wdbc.csv", None, "malignant", "classes", 16, 3e-3, 32, 40),
    ("banknote", "tabular/banknote.csv", None, "y", "classes", 16, 1e-2, 32, 40),
    ("digits", "tabular/digits_train.csv", "tabular/digits_test.csv", "y", "classes", 64, 3e-3, 64, 30),
    ("diabetes", "tabular/diabetes.csv", None, "y", "number", 4, 3e-3, 32, 40),
    ("king county", "seeds/ch14_king_county_train.csv", "seeds/ch14_king_county_test.csv", "price", "number", 32, 3e-3, 64, 20),
    ("income", "seeds/ch14_income_train.csv", "seeds/ch14_income_test.csv", "y", "classes", 32, 1e-3, 128, 10),
]


def read(path, target):
    with open(path) as file:
        rows = list(csv.reader(file))
    at = rows[0].index(target)
    numbers = numpy.array([[float(cell) for cell in row] for row in rows[1:]])
    return numpy.delete(numbers, at, axis=1), numbers[:, at]


def figure(folder, entry, seed):
    _, train, test, target, kind, hidden, rate, batch, epochs = entry
    x, y = read(f"{folder}/{train}", target)
    if test:
        test_x, test_y = read(f"{folder}/{test}", target)
    else:
        held = numpy.arange(len(x)) % 5 == 4
        x, y, test_x, test_y = x[~held], y[~held], x[held], y[held]
    mean, spread = x.mean(axis=0), x.std(axis=0)
    spread[spread == 0] = 1
    x, test_x = (x - mean) / spread, (test_x - mean) / spread
    settings = dict(hidden_layer_sizes=(hidden,), solver="adam", alpha=0.0, batch_size=batch, learning_rate_init=rate,
                    max_iter=epochs, tol=0.0, n_iter_no_change=10**9, random_state=seed)
    if kind == "classes":
        return MLPClassifier(**settings).fit(x, y.astype(int)).score(test_x, test_y.astype(int))
    return MLPRegressor(**settings).fit(x, (y - y.mean()) / y.std()).score(test_x, (test_y - y.mean()) / y.std())


def main():
    import warnings

    warnings.filterwarnings("ignore")
    result = {"scikit_learn": sklearn.__version__, "numpy": numpy.__version__, "sets": []}
    for entry in SETS:
        figures = [figure(sys.argv[1], entry, seed) for seed in range(10)]
        name, train, test, target, kind, hidden, rate, batch, epochs = entry
        result["sets"].append(dict(name=name, train=train, test=test or "", target=target, kind=kind, hidden=hidden, rate=rate,
                                   batch=batch, epochs=epochs, median=round(statistics.median(figures), 6),
                                   deviation=round(statistics.stdev(figures), 6)))
        print(name, result["sets"][-1]["median"], file=sys.stderr)
    print(json.dumps(result, indent=1))


main()
