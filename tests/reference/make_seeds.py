#!/usr/bin/env python3
"""How far runs of the systems in docs/seeds.md spread: each is trained by textbook formulas in NumPy, in float64, from RUNS seeds.

Starts, orders of rows and (where there is one) the tenth of the rows that is held out are drawn anew for each seed; the runs
of a system go side by side as one more axis. Writes seeds.json beside itself: for each system and figure least, median
and greatest over the runs, and how many reached the loss at which they stop.

It reads the real rows (NNC_SHARED, or ../shared beside the checkout) and takes a quarter of an hour on one core:
  python3 tests/reference/make_seeds.py [SYSTEM...]
"""
import json
import os
import sys

import numpy as np

HERE = os.path.dirname(os.path.abspath(__file__))
DATA = os.path.join(os.environ.get("NNC_SHARED", os.path.join(HERE, "../../../shared")), "data/seeds")
RUNS = 20


def rows_of(name):
    return np.loadtxt(os.path.join(DATA, name), delimiter=",", skiprows=1)


def sigmoid(z):
    return 1 / (1 + np.exp(-z))


def softmax(z):
    e = np.exp(z - z.max(axis=-1, keepdims=True))
    return e / e.sum(axis=-1, keepdims=True)


OUTPUTS = {  # what the last layer gives, and the loss of each row; the delta is a - y for all of them
    "half_mse": (lambda z: z, lambda a, y: ((a - y) ** 2).sum(axis=-1) / 2),
    "logistic": (sigmoid, lambda a, y: -(y * np.log(a) + (1 - y) * np.log(1 - a)).sum(axis=-1)),
    "softmax": (softmax, lambda a, y: -np.log((a * y).sum(axis=-1))),
}


def forward(layers, x, output):
    values = [x]
    for i, (w, b) in enumerate(layers):
        z = values[-1] @ w + b[:, None, :]
        values.append(OUTPUTS[output][0](z) if i + 1 == len(layers) else sigmoid(z))
    return values


def loss_of(layers, x, y, output):
    return OUTPUTS[output][1](forward(layers, x, output)[-1], y).mean(axis=-1)


def step(layers, x, y, output, rate):
    """One step of every run; `rate` is zero for those that have stopped."""
    values = forward(layers, x, output)
    delta = (values[-1] - y) / x.shape[1]
    for i in reversed(range(len(layers))):
        w, b = layers[i]
        dw, db = values[i].swapaxes(1, 2) @ delta, delta.sum(axis=1)
        if i > 0:
            delta = (delta @ w.swapaxes(1, 2)) * values[i] * (1 - values[i])
        w -= rate[:, None, None] * dw
        b -= rate[:, None] * db


def train(x, y, sizes, output, rate, batch, epochs, enough, held_out=False, test=None, zero=False, runs=RUNS):
    """Of each run: epochs made, whether it got there, loss of the held-out rows (or of all), and its last weights."""
    random = np.random.default_rng(7)
    layers = []
    for a, b in zip(sizes, sizes[1:]):
        bound = 0 if zero else np.sqrt(6 / (a + b))
        layers.append((random.uniform(-bound, bound, (runs, a, b)), np.zeros((runs, b))))
    order = np.array([random.permutation(len(x)) for _ in range(runs)])
    held = len(x) // 10 if held_out else 0
    judged_x, judged_y = (x[order[:, :held]], y[order[:, :held]]) if held_out else (np.repeat(x[None], runs, 0), np.repeat(y[None], runs, 0))
    rows = order[:, held:]
    count, made, live = rows.shape[1], np.zeros(runs, int), np.ones(runs, bool)
    for _ in range(epochs):
        rows = random.permuted(rows, axis=1)
        rates = rate * live
        for first in range(0, count, batch):
            at = rows[:, first:first + batch]
            step(layers, x[at], y[at], output, rates)
        made += live
        live &= ~(loss_of(layers, judged_x, judged_y, output) < enough)
        if not live.any():
            break
    loss = loss_of(layers, judged_x, judged_y, output)
    figures = {"epochs": made, "reached": ~live, "loss": loss}
    for i, (w, b) in enumerate(layers if len(layers) == 1 else []):
        figures.update({f"w{j + 1}": w.reshape(runs, -1)[:, j] for j in range(w[0].size)})
        figures.update({f"b{j + 1}": b[:, j] for j in range(b[0].size)})
    if test is not None:
        tx, ty = test
        a = forward(layers, np.repeat(tx[None], runs, 0), output)[-1]
        if output == "half_mse":
            figures["test_r2"] = 1 - ((a - ty) ** 2).sum(axis=(1, 2)) / ((ty - ty.mean()) ** 2).sum()
        elif output == "logistic":
            figures["test_accuracy"] = ((a >= 0.5) == (ty >= 0.5)).mean(axis=(1, 2))
        else:
            figures["test_accuracy"] = (a.argmax(axis=-1) == ty.argmax(axis=-1)).mean(axis=1)
    return figures


def minmax(x, over):
    low, high = over.min(axis=0), over.max(axis=0)
    return (x - low) / (high - low)


def powers(x, degree):
    return np.hstack([x ** k for k in range(1, degree + 1)])


def one_hot(y):
    return np.eye(int(y.max()))[y.astype(int) - 1]


def servers(rate, batch, epochs):
    d = rows_of("ch04_servers.csv")
    return train(d[:, :1], d[:, 1:], [1, 1], "half_mse", rate, batch, epochs, 0.02, zero=True)


def gate(y, x=((0, 0), (0, 1), (1, 0), (1, 1))):
    return train(np.array(x, float), np.array(y, float)[:, None], [len(x[0]), 1], "logistic", 0.5, 1, 10000, 2e-3, zero=True, runs=6)


def sine(degree):
    d = rows_of("ch08_sin_train.csv")
    return train(powers(d[:, :1], degree), d[:, 1:], [degree, 1], "half_mse", 0.2, 10, 10000, 0.005, zero=True)


def cobra(degree, epochs):
    d = rows_of("ch09_curve_train.csv")
    return train(powers(d[:, :1], degree), d[:, 1:], [degree, 1], "half_mse", 0.2, 10, epochs, 1e-3, zero=True, runs=6)


def bent(name, hidden, rate, epochs):
    d, t = rows_of(name + "_train.csv"), rows_of(name + "_test.csv")
    return train(d[:, :1], d[:, 1:], [1, hidden, 1], "half_mse", rate, 10, epochs, 0.001, True, (t[:, :1], t[:, 1:]))


def arcs():
    d, t = rows_of("ch10_double_arc_train.csv"), rows_of("ch10_double_arc_test.csv")
    both = np.vstack([d, t])[:, :2]
    return train(minmax(d[:, :2], both), d[:, 2:], [2, 2, 1], "logistic", 0.1, 5, 10000, 0.08, True, (minmax(t[:, :2], both), t[:, 2:]))


def coin():
    d, t = rows_of("ch11_coin_train.csv"), rows_of("ch11_coin_test.csv")
    both = np.vstack([d, t])[:, :2]
    return train(minmax(d[:, :2], both), one_hot(d[:, 2]), [2, 3, 3], "softmax", 0.1, 10, 5000, 0.1, True, (minmax(t[:, :2], both), one_hot(t[:, 2])))


def houses(scaled):
    d = rows_of("ch05_house_price.csv")
    y = minmax(d[:, 2:], d[:, 2:]) if scaled else d[:, 2:]
    return train(minmax(d[:, :2], d[:, :2]), y, [2, 1], "half_mse", 0.01, 10, 200 if scaled else 500, 1e-5, zero=True)


def cities():
    d = rows_of("ch06_chu_han.csv")
    return train(d[:, :2], d[:, 2:], [2, 1], "logistic", 0.1, 10, 100, 1e-3, zero=True)


def kingdoms():
    d = rows_of("ch07_three_kingdoms.csv")
    return train(minmax(d[:, :2], d[:, :2]), one_hot(d[:, 2]), [2, 3], "softmax", 0.1, 10, 100, 1e-3, zero=True)


SYSTEMS = {
    "servers_single": lambda: servers(0.1, 1, 100), "servers_mini": lambda: servers(0.3, 10, 100), "servers_full": lambda: servers(0.5, 100, 1000),
    "houses": lambda: houses(False), "houses_scaled": lambda: houses(True), "cities": cities, "kingdoms": kingdoms,
    "not": lambda: gate([1, 0], ((0,), (1,))), "and": lambda: gate([0, 0, 0, 1]), "nand": lambda: gate([1, 1, 1, 0]),
    "or": lambda: gate([0, 1, 1, 1]), "nor": lambda: gate([1, 0, 0, 0]),
    "sine_2": lambda: sine(2), "sine_3": lambda: sine(3), "sine_4": lambda: sine(4),
    "cobra_4": lambda: cobra(4, 10000), "cobra_6": lambda: cobra(6, 50000), "cobra_8": lambda: cobra(8, 50000),
    "sine_net": lambda: bent("ch08_sin", 2, 0.05, 5000), "cobra_net": lambda: bent("ch09_curve", 3, 0.5, 10000),
    "xor": lambda: train(np.array([[0, 0], [0, 1], [1, 0], [1, 1]], float), np.array([[0], [1], [1], [0]], float), [2, 2, 1], "logistic", 0.1, 1, 10000, 0.005),
    "arcs": arcs, "coin": coin,
}


def spread(values):
    return {"least": float(np.min(values)), "median": float(np.median(values)), "greatest": float(np.max(values))}


def main():
    path = os.path.join(HERE, "seeds.json")
    known = json.load(open(path)) if os.path.exists(path) else {}
    for name in sys.argv[1:] or SYSTEMS:
        figures = SYSTEMS[name]()
        known[name] = {"runs": len(figures["loss"]), "reached": int(figures.pop("reached").sum())}
        known[name].update({figure: spread(values) for figure, values in figures.items()})
        print(name, json.dumps(known[name]), flush=True)
        with open(path, "w") as f:
            json.dump({key: known[key] for key in sorted(known)}, f, indent=1)
            f.write("\n")


if __name__ == "__main__":
    main()
