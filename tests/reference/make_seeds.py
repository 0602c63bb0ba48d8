#!/usr/bin/env python3
"""How far runs of the systems in docs/seeds.md spread: each is trained by textbook formulas in NumPy, in float64, from RUNS seeds.

Starts, orders of rows and (where there is one) the tenth of the rows that is held out are drawn anew for each seed; the runs
of a system go side by side as one more axis. Writes seeds.json beside itself: for each system how many runs reached the loss
at which they stop, and for each figure over the runs least, tenth part from below, median, tenth part from above, and greatest.

It reads the real rows (NNC_SHARED, or ../shared beside the checkout) and takes three quarters of an hour on one core:
  python3 tests/reference/make_seeds.py [SYSTEM...]
"""
import json
import os
import sys
from dataclasses import dataclass

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


OUTPUTS = {  # what the last layer gives, and the loss of each row by its sum z; the delta is a - y for all of them
    "half_mse": (lambda z: z, lambda z, y: ((z - y) ** 2).sum(axis=-1) / 2),
    "logistic": (sigmoid, lambda z, y: (np.logaddexp(0, z) - y * z).sum(axis=-1)),
    "softmax": (softmax, lambda z, y: np.logaddexp.reduce(z, axis=-1) - (z * y).sum(axis=-1)),
}
HIDDEN = {  # the layers before: their activation, and its derivative by its own value
    "sigmoid": (sigmoid, lambda a: a * (1 - a)),
    "relu": (lambda z: np.maximum(z, 0), lambda a: (a > 0).astype(float)),
}


@dataclass
class System:
    x: np.ndarray
    y: np.ndarray
    sizes: list
    output: str
    rate: float
    batch: int
    epochs: int
    enough: float  # training stops below this loss
    hidden: str = "sigmoid"
    start: str = "glorot"  # or "zero", or "he": normal by the number of inputs (the material divides by outputs, a slip)
    held_out: bool = False  # a tenth of the rows is not trained on, and is what the loss that stops is of
    every: int = 0  # updates between two looks at that loss; 0: an epoch, or as many as `epochs_apart` says
    epochs_apart: int = 1
    test: tuple = None
    runs: int = RUNS
    only_reached: bool = False  # figures are those of the runs that got there
    places: np.ndarray = None  # rows whose predictions are figures, in the units of the data
    undo: tuple = (1, 0)  # what they are multiplied by, and what is added


def starts(system, random):
    layers = []
    for a, b in zip(system.sizes, system.sizes[1:]):
        shape = (system.runs, a, b)
        bound = np.sqrt(6 / (a + b))
        w = {"zero": lambda: np.zeros(shape), "glorot": lambda: random.uniform(-bound, bound, shape),
             "he": lambda: random.normal(0, np.sqrt(2 / a), shape)}[system.start]()
        layers.append((w, np.zeros((system.runs, b))))
    return layers


def forward(layers, x, system):
    """What each layer is given, and the last one's sums."""
    values = [x]
    for w, b in layers[:-1]:
        values.append(HIDDEN[system.hidden][0](values[-1] @ w + b[:, None, :]))
    w, b = layers[-1]
    return values, values[-1] @ w + b[:, None, :]


def loss_of(layers, x, y, system):
    return OUTPUTS[system.output][1](forward(layers, x, system)[1], y).mean(axis=-1)


def step(layers, x, y, system, rate):
    """One step of every run; `rate` is zero for those that have stopped."""
    values, z = forward(layers, x, system)
    delta = (OUTPUTS[system.output][0](z) - y) / x.shape[1]
    for i in reversed(range(len(layers))):
        w, b = layers[i]
        dw, db = values[i].swapaxes(1, 2) @ delta, delta.sum(axis=1)
        if i > 0:
            delta = (delta @ w.swapaxes(1, 2)) * HIDDEN[system.hidden][1](values[i])
        w -= rate[:, None, None] * dw
        b -= rate[:, None] * db


def train(system):
    """Of each run: epochs and updates made, whether it got there, loss of the held-out rows (or of all), and its last weights."""
    random = np.random.default_rng(7)
    x, y, runs = system.x, system.y, system.runs
    layers = starts(system, random)
    order = np.array([random.permutation(len(x)) for _ in range(runs)])
    held = len(x) // 10 if system.held_out else 0
    judged_x, judged_y = (x[order[:, :held]], y[order[:, :held]]) if held else (np.repeat(x[None], runs, 0), np.repeat(y[None], runs, 0))
    rows = order[:, held:]
    count = rows.shape[1]
    made, updates, live = np.zeros(runs, int), np.zeros(runs, int), np.ones(runs, bool)

    def look():
        nonlocal live
        live &= ~(loss_of(layers, judged_x, judged_y, system) < system.enough)

    for epoch in range(system.epochs):
        rows = random.permuted(rows, axis=1)
        made += live
        for i, first in enumerate(range(0, count, system.batch)):
            at = rows[:, first:first + system.batch]
            step(layers, x[at], y[at], system, system.rate * live)
            updates += live
            if system.every and (i + 1) % system.every == 0:
                look()
        if not system.every and (epoch + 1) % system.epochs_apart == 0:
            look()
        if not live.any():
            break
    figures = {"epochs": made, "updates": updates, "reached": ~live, "loss": loss_of(layers, judged_x, judged_y, system)}
    for i, (w, b) in enumerate(layers if len(layers) == 1 else []):
        figures.update({f"w{j + 1}": w.reshape(runs, -1)[:, j] for j in range(w[0].size)})
        figures.update({f"b{j + 1}": b[:, j] for j in range(b[0].size)})
    if system.test is not None:
        figures.update(tested(layers, system))
    if held and system.output == "half_mse":
        z, mean = forward(layers, judged_x, system)[1], judged_y.mean(axis=1, keepdims=True)
        figures["valid_r2"] = 1 - ((z - judged_y) ** 2).sum(axis=(1, 2)) / ((judged_y - mean) ** 2).sum(axis=(1, 2))
    if system.places is not None:
        z = forward(layers, np.repeat(system.places[None], runs, 0), system)[1]
        answers = OUTPUTS[system.output][0](z)[..., 0] * system.undo[0] + system.undo[1]
        figures.update({f"place{i + 1}": answers[:, i] for i in range(answers.shape[1])})
        if system.output == "logistic" and len(layers) == 1:
            figures.update({"train_" + name: figure for name, figure in thresholds(layers, system).items()})
    return figures


def thresholds(layers, system, high=0.8):
    """Accuracy over all rows; precision and recall for one half and for a higher threshold."""
    a = OUTPUTS["logistic"][0](forward(layers, np.repeat(system.x[None], system.runs, 0), system)[1])[..., 0]
    truth, figures = system.y[:, 0] >= 0.5, {"accuracy": ((a >= 0.5) == (system.y[:, 0] >= 0.5)).mean(axis=1)}
    for name, least in (("", 0.5), ("high_", high)):
        said = a >= least
        right = (said & truth).sum(axis=1)
        figures.update({name + "precision": right / said.sum(axis=1), name + "recall": right / truth.sum()})
    return figures


def tested(layers, system):
    x, y = system.test
    a = OUTPUTS[system.output][0](forward(layers, np.repeat(x[None], system.runs, 0), system)[1])
    if system.output == "half_mse":
        return {"test_r2": 1 - ((a - y) ** 2).sum(axis=(1, 2)) / ((y - y.mean()) ** 2).sum()}
    if system.output == "logistic":
        return {"test_accuracy": ((a >= 0.5) == (y >= 0.5)).mean(axis=(1, 2))}
    return {"test_accuracy": (a.argmax(axis=-1) == y.argmax(axis=-1)).mean(axis=1)}


def minmax(x, over):
    low, high = over.min(axis=0), over.max(axis=0)
    return (x - low) / (high - low)


def powers(x, degree):
    return np.hstack([x ** k for k in range(1, degree + 1)])


def one_hot(y):
    return np.eye(int(y.max()))[y.astype(int) - 1]


def columns_of(*names):
    """Features and labels of a file, or of several whose features are scaled by all of their rows together."""
    all_rows = [rows_of(name) for name in names]
    both = np.vstack(all_rows)[:, :-1]
    return [(minmax(rows[:, :-1], both), rows[:, -1:]) for rows in all_rows]


def servers(rate, batch, epochs):
    d = rows_of("ch04_servers.csv")
    return System(d[:, :1], d[:, 1:], [1, 1], "half_mse", rate, batch, epochs, 0.02, start="zero", every=1)


def gate(y, x=((0, 0), (0, 1), (1, 0), (1, 1))):
    return System(np.array(x, float), np.array(y, float)[:, None], [len(x[0]), 1], "logistic", 0.5, 1, 10000, 2e-3, start="zero", runs=6)


def sine(degree):
    d = rows_of("ch08_sin_train.csv")
    return System(powers(d[:, :1], degree), d[:, 1:], [degree, 1], "half_mse", 0.2, 10, 10000, 0.005, start="zero")


def cobra(degree, epochs):
    d = rows_of("ch09_curve_train.csv")
    return System(powers(d[:, :1], degree), d[:, 1:], [degree, 1], "half_mse", 0.2, 10, epochs, 1e-3, start="zero")


def bent(name, hidden, rate, epochs, **more):
    d, t = rows_of(name + "_train.csv"), rows_of(name + "_test.csv")
    return System(d[:, :1], d[:, 1:], [1, hidden, 1], "half_mse", rate, 10, epochs, 0.001, held_out=True, test=(t[:, :1], t[:, 1:]), **more)


def xor():
    x, y = np.array([[0, 0], [0, 1], [1, 0], [1, 1]], float), np.array([[0], [1], [1], [0]], float)
    return System(x, y, [2, 2, 1], "logistic", 0.1, 1, 10000, 0.005, runs=100, only_reached=True, places=x)


def arcs(hidden=2, epochs=10000, enough=0.08):
    (x, y), test = columns_of("ch10_double_arc_train.csv", "ch10_double_arc_test.csv")
    return System(x, y, [2, hidden, 1], "logistic", 0.1, 5, epochs, enough, held_out=True, test=test, only_reached=hidden > 2,
                  epochs_apart=10)


def coin():
    (x, y), (tx, ty) = columns_of("ch11_coin_train.csv", "ch11_coin_test.csv")
    return System(x, one_hot(y[:, 0]), [2, 3, 3], "softmax", 0.1, 10, 5000, 0.1, held_out=True, test=(tx, one_hot(ty[:, 0])))


def houses(scaled):
    (x, y), = columns_of("ch05_house_price.csv")
    place = minmax(np.array([[15.0, 93.0]]), rows_of("ch05_house_price.csv")[:, :2])
    undo = (y.max() - y.min(), y.min()) if scaled else (1, 0)
    return System(x, minmax(y, y) if scaled else y, [2, 1], "half_mse", 0.01, 10, 200 if scaled else 500, 1e-5, start="zero", places=place,
                  undo=undo)


def cities():
    d = rows_of("ch06_chu_han.csv")
    places = np.array([[0.58, 0.92], [0.62, 0.55], [0.39, 0.29]])
    return System(d[:, :2], d[:, 2:], [2, 1], "logistic", 0.1, 10, 100, 1e-3, start="zero", places=places)


def kingdoms():
    (x, y), = columns_of("ch07_three_kingdoms.csv")
    return System(x, one_hot(y[:, 0]), [2, 3], "softmax", 0.1, 10, 100, 1e-3, start="zero")


def county():
    (x, y), (tx, ty) = columns_of("ch14_king_county_train.csv", "ch14_king_county_test.csv")
    both = np.vstack([y, ty])
    return System(x, minmax(y, both), [13, 32, 16, 8, 4, 1], "half_mse", 0.1, 16, 1000, 0, hidden="relu", held_out=True,
                  test=(tx, minmax(ty, both)), runs=12)


def income():
    (x, y), test = columns_of("ch14_income_train.csv", "ch14_income_test.csv")
    return System(x, y, [14, 32, 16, 8, 4, 1], "logistic", 0.1, 16, 100, 0, hidden="relu", start="he", held_out=True, test=test)


SYSTEMS = {
    "servers_single": lambda: servers(0.1, 1, 100), "servers_mini": lambda: servers(0.3, 10, 100), "servers_full": lambda: servers(0.5, 100, 1000),
    "houses": lambda: houses(False), "houses_scaled": lambda: houses(True), "cities": cities, "kingdoms": kingdoms,
    "not": lambda: gate([1, 0], ((0,), (1,))), "and": lambda: gate([0, 0, 0, 1]), "nand": lambda: gate([1, 1, 1, 0]),
    "or": lambda: gate([0, 1, 1, 1]), "nor": lambda: gate([1, 0, 0, 0]),
    "sine_2": lambda: sine(2), "sine_3": lambda: sine(3), "sine_4": lambda: sine(4),
    "cobra_4": lambda: cobra(4, 10000), "cobra_6": lambda: cobra(6, 50000), "cobra_8": lambda: cobra(8, 50000),
    "sine_net": lambda: bent("ch08_sin", 2, 0.05, 5000), "cobra_net": lambda: bent("ch09_curve", 3, 0.5, 10000, only_reached=True, epochs_apart=100),
    "sine_one_net": lambda: bent("ch08_sin", 1, 0.05, 5000),
    "cobra_four_net": lambda: bent("ch09_curve", 4, 0.5, 10000, only_reached=True, epochs_apart=100),
    "xor": xor, "arcs": arcs, "arcs_three": lambda: arcs(3, 1000, 0.02), "coin": coin, "county": county, "income": income,
}


def spread(values):
    low, median, high = np.quantile(values, [0.1, 0.5, 0.9])
    return {"least": float(np.min(values)), "low": float(low), "median": float(median), "high": float(high), "greatest": float(np.max(values))}


def write_spread(name, figures, only_reached=False):
    """Into seeds.json: over the runs, or over those that got to the loss at which they stop."""
    path = os.path.join(HERE, "seeds.json")
    reached = figures.pop("reached")
    kept = reached if only_reached else np.ones_like(reached)
    found = {"runs": len(reached), "reached": int(reached.sum())}
    found.update({figure: spread(values[kept]) for figure, values in figures.items()})
    print(name, json.dumps(found), flush=True)
    known = json.load(open(path)) if os.path.exists(path) else {}  # another system may have been done meanwhile
    known[name] = found
    with open(path, "w") as f:
        json.dump({key: known[key] for key in sorted(known)}, f, indent=1)
        f.write("\n")


def main():
    for name in sys.argv[1:] or SYSTEMS:
        system = SYSTEMS[name]()
        write_spread(name, train(system), system.only_reached)


if __name__ == "__main__":
    main()
