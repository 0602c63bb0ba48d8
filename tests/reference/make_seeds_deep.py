#!/usr/bin/env python3
"""How far runs of the deep nets in docs/seeds.md spread: layers and their gradients by textbook formulas in NumPy, in float64.

The companion of make_seeds.py for nets of pictures, and for those with batch normalisation, dropout and residual connections.
Weights, orders of rows, held-out rows and masks are drawn anew for each run; rows are those of MNIST and Fashion-MNIST
(NNC_SHARED, or ../shared beside the checkout), or drawn by the formulas of examples/. Figures go into seeds.json likewise:
  python3 tests/reference/make_seeds_deep.py [SYSTEM...]        half an hour on one core
"""
import gzip
import os
import sys
from dataclasses import dataclass

import numpy as np

from make_seeds import DATA, minmax, one_hot, rows_of, write_spread

PICTURES = os.path.dirname(DATA)


class Dense:
    def __init__(self, inputs, outputs, random, start, bias=True):
        bound = np.sqrt(6 / (inputs + outputs))
        self.W = {"glorot": lambda: random.uniform(-bound, bound, (inputs, outputs)), "zero": lambda: np.zeros((inputs, outputs)),
                  "he": lambda: random.normal(0, np.sqrt(2 / inputs), (inputs, outputs)),
                  "material": lambda: random.normal(0, np.sqrt(2 / outputs), (inputs, outputs))}[start]()
        self.b = np.zeros(outputs)
        self.parameters = [self.W, self.b] if bias else [self.W]

    def forward(self, x, training):
        self.x = x
        return x @ self.W + self.b

    def backward(self, delta, first):
        self.gradients = [self.x.T @ delta, delta.sum(axis=0)][:len(self.parameters)]
        return None if first else delta @ self.W.T


class Activation:
    parameters, gradients = (), ()
    KINDS = {"sigmoid": (lambda z: 1 / (1 + np.exp(-z)), lambda a: a * (1 - a)), "tanh": (np.tanh, lambda a: 1 - a * a),
             "relu": (lambda z: np.maximum(z, 0), lambda a: a > 0)}

    def __init__(self, kind):
        self.f, self.slope = self.KINDS[kind]

    def forward(self, x, training):
        self.a = self.f(x)
        return self.a

    def backward(self, delta, first):
        return delta * self.slope(self.a)


class BatchNorm:
    """Ioffe and Szegedy 2015; inference by moving averages of means and of unbiased variances.

    `as_material`: scale and shift go along the sum of the rows' gradients, where all else goes along the mean."""

    def __init__(self, width, momentum=0.9, eps=1e-5, as_material=False):
        self.as_material = as_material
        self.parameters = [np.ones(width), np.zeros(width)]
        self.mean, self.variance, self.momentum, self.eps = np.zeros(width), np.ones(width), momentum, eps

    def forward(self, x, training):
        m, v = (x.mean(axis=0), x.var(axis=0)) if training else (self.mean, self.variance)
        if training:
            n, k = len(x), self.momentum
            self.mean, self.variance = k * self.mean + (1 - k) * m, k * self.variance + (1 - k) * v * n / (n - 1)
        self.deviation = np.sqrt(v + self.eps)
        self.normal = (x - m) / self.deviation
        return self.parameters[0] * self.normal + self.parameters[1]

    def backward(self, delta, first):
        rows = len(delta) if self.as_material else 1
        self.gradients = [rows * (delta * self.normal).sum(axis=0), rows * delta.sum(axis=0)]
        d = delta * self.parameters[0]
        return (d - d.mean(axis=0) - self.normal * (d * self.normal).mean(axis=0)) / self.deviation


class Dropout:
    parameters, gradients = (), ()

    def __init__(self, share, random):
        self.share, self.random = share, random

    def forward(self, x, training):
        if not training:
            return x
        self.mask = (self.random.random(x.shape) >= self.share) / (1 - self.share)
        return x * self.mask

    def backward(self, delta, first):
        return delta * self.mask


class Chain:
    def __init__(self, layers):
        self.layers = layers

    @property
    def parameters(self):
        return [p for layer in self.layers for p in layer.parameters]

    @property
    def gradients(self):
        return [g for layer in self.layers for g in layer.gradients]

    def forward(self, x, training):
        for layer in self.layers:
            x = layer.forward(x, training)
        return x

    def backward(self, delta, first=True):
        for i in reversed(range(len(self.layers))):
            delta = self.layers[i].backward(delta, first and i == 0)
        return delta


class Residual(Chain):
    def forward(self, x, training):
        return x + super().forward(x, training)

    def backward(self, delta, first):
        return delta + super().backward(delta, False)


class Sgd:
    def __init__(self, rate):
        self.rate = rate

    def step(self, parameters, gradients, step, steps):
        for p, g in zip(parameters, gradients):
            p -= self.rate * g


class Adam:
    """Kingma and Ba 2015. `warmup` None: the rate stays; else it rises for so many steps and then falls as a cosine."""

    def __init__(self, rate, warmup=None):
        self.rate, self.warmup, self.m, self.v = rate, warmup, None, None

    def step(self, parameters, gradients, step, steps):
        if self.m is None:
            self.m, self.v = [np.zeros_like(p) for p in parameters], [np.zeros_like(p) for p in parameters]
        rate = self.rate
        if self.warmup is not None:
            along = (step - self.warmup) / max(steps - self.warmup, 1)
            rate *= step / max(self.warmup, 1) if step < self.warmup else (1 + np.cos(np.pi * along)) / 2
        for p, g, m, v in zip(parameters, gradients, self.m, self.v):
            m *= 0.9
            m += 0.1 * g
            v *= 0.999
            v += 0.001 * g * g
            p -= rate * (m / (1 - 0.9 ** step)) / (np.sqrt(v / (1 - 0.999 ** step)) + 1e-8)


class Output:
    """By the last sums z: the mean loss, its gradient, and the class that is answered."""
    def loss(self, z, y):
        return {"half_mse": lambda: ((z - y) ** 2).sum(axis=1) / 2, "logistic": lambda: (np.logaddexp(0, z) - y * z).sum(axis=1),
                "softmax": lambda: np.logaddexp.reduce(z, axis=1) - (z * y).sum(axis=1)}[self.kind]().mean()

    def gradient(self, z, y):
        a = {"half_mse": lambda: z, "logistic": lambda: 1 / (1 + np.exp(-z)),
             "softmax": lambda: np.exp(z - np.logaddexp.reduce(z, axis=1, keepdims=True))}[self.kind]()
        return (a - y) / len(z)

    def right(self, z, y):
        return (z >= 0) == (y >= 0.5) if self.kind == "logistic" else z.argmax(axis=1) == y.argmax(axis=1)

    def __init__(self, kind):
        self.kind = kind


class Codes(Output):
    """Problems of two classes: +1 against -1 in a row of the code; a class with 0 takes no part (Allwein et al. 2000)."""
    def __init__(self, codes, by_votes=True):
        self.kind, self.codes, self.by_votes = "codes", np.array(codes, float), by_votes

    def of_rows(self, y):
        code = y @ self.codes.T
        return code, np.maximum(np.abs(code).sum(axis=0), 1)

    def loss(self, z, y):
        code, rows = self.of_rows(y)
        return (np.abs(code) * np.logaddexp(0, -code * z) / rows).sum()

    def gradient(self, z, y):
        code, rows = self.of_rows(y)
        return -code / (1 + np.exp(code * z)) / rows

    def right(self, z, y):
        return ((np.sign(z) @ self.codes if self.by_votes else z).argmax(axis=1)) == y.argmax(axis=1)


@dataclass
class Deep:
    rows: object  # of a random generator: x and y to train on, those held out, those to test on (or None)
    net: object  # of a random generator: the chain of layers
    output: Output
    optimizer: object
    batch: int
    epochs: int
    runs: int
    enough: float = 0.0  # training stops where the loss of the held-out rows is below this
    every: int = 0  # updates between two looks at it; 0: never


def loss_of(net, x, y, output):
    return float(output.loss(net.forward(x, False), y))


def train(system, seed):
    random = np.random.default_rng([seed, 11])
    (x, y), held, test = system.rows(random)
    net, optimizer, step = system.net(random), system.optimizer(), 0
    a_epoch = -(-len(x) // system.batch)
    reached = False
    for _ in range(system.epochs):
        order = random.permutation(len(x))
        for first in range(0, len(x), system.batch):
            at = order[first:first + system.batch]
            step += 1
            z = net.forward(x[at], True)
            net.backward(system.output.gradient(z, y[at]))
            optimizer.step(net.parameters, net.gradients, step, system.epochs * a_epoch)
            if system.every and step % system.every == 0 and loss_of(net, *held, system.output) < system.enough:
                reached = True
                break
        if reached:
            break
    figures = {"updates": step, "reached": reached}
    for name, rows in (("valid", held), ("test", test)):
        if rows is None:
            continue
        figures[name + "_loss"] = loss_of(net, *rows, system.output)
        if system.output.kind != "half_mse":
            figures[name + "_accuracy"] = float(system.output.right(net.forward(rows[0], False), rows[1]).mean())
    return figures


def idx(folder, name):
    with gzip.open(os.path.join(PICTURES, folder, name + "-ubyte.gz")) as file:
        raw = file.read()
    return np.frombuffer(raw, np.uint8, offset=16 if "images" in name else 8)


def pictures(folder, held_out, drawn=True):
    """`held_out` rows for training are not trained on: drawn ones, or the file's first, as the material takes them."""
    train_x, test_x = (idx(folder, part + "-images-idx3").reshape(-1, 784) / 255 for part in ("train", "t10k"))
    train_y, test_y = (np.eye(10)[idx(folder, part + "-labels-idx1")] for part in ("train", "t10k"))

    def rows(random):
        order = random.permutation(len(train_x)) if held_out and drawn else np.arange(len(train_x))
        held = (train_x[order[:held_out]], train_y[order[:held_out]]) if held_out else None
        return (train_x[order[held_out:]], train_y[order[held_out:]]), held, (test_x, test_y)
    return rows


def published(kind, start="he"):
    """784-64-16-10 with sigmoid and tanh; 784-128-64-32-16-10 with ReLU, also with batch normalisation before each.

    `start` "material": weights have variance 2 / outputs, the file's first twentieth is held out, and batch normalisation's scale
    and shift go along sums: as the material's program does it."""
    def net(random):
        if kind == "sigmoid":
            return Chain([Dense(784, 64, random, "glorot"), Activation("sigmoid"), Dense(64, 16, random, "glorot"), Activation("tanh"),
                          Dense(16, 10, random, "glorot")])
        layers = []
        for a, b in zip([784, 128, 64, 32], [128, 64, 32, 16]):
            layers.append(Dense(a, b, random, start, bias=kind == "relu"))
            if kind == "normalised":
                layers.append(BatchNorm(b, as_material=start == "material"))
            layers.append(Activation("relu"))
        return Chain(layers + [Dense(16, 10, random, start)])
    if kind == "sigmoid":
        return Deep(pictures("mnist", 5000), net, Output("softmax"), lambda: Sgd(0.2), 128, 40, 20)
    if start == "material":
        return Deep(pictures("mnist", 3000, drawn=False), net, Output("softmax"), lambda: Sgd(0.1), 64, 40, 10, enough=0.12, every=44)
    return Deep(pictures("mnist", 5000), net, Output("softmax"), lambda: Sgd(0.1), 64, 40, 30, enough=0.12, every=44)


def fashion():
    def block(random):
        return Residual([Dense(256, 256, random, "he", bias=False), BatchNorm(256), Activation("relu"), Dropout(0.2, random)])

    def net(random):
        return Chain([Dense(784, 256, random, "he", bias=False), BatchNorm(256), Activation("relu"), Dropout(0.2, random), block(random),
                      block(random), Dense(256, 10, random, "glorot")])
    return Deep(pictures("fashion-mnist", 0), net, Output("softmax"), lambda: Adam(3e-3, warmup=469), 128, 10, 5)


def spiral(connected):
    """Two arms that wind about each other, as in examples/residual."""
    def rows(random):
        y = (random.random((1200, 1)) < 0.5).astype(float)
        turn = random.uniform(0.5, 6, (1200, 1))
        angle = turn + np.pi * y
        x = np.hstack([turn * np.cos(angle), turn * np.sin(angle)]) / 6 + random.normal(0, 0.02, (1200, 2))
        return (x[200:], y[200:]), (x[:200], y[:200]), None

    def net(random):
        kind = Residual if connected else Chain
        blocks = [kind([Dense(24, 24, random, "glorot"), Activation("tanh"), Dropout(0.1, random)]) for _ in range(20)]
        return Chain([Dense(2, 24, random, "glorot")] + blocks + [Dense(24, 1, random, "zero")])
    return Deep(rows, net, Output("logistic"), lambda: Adam(1e-3), 50, 60, 20)


def wave(share):
    """Few rows of a bent wave, and the wave behind them to test on."""
    learnt, tested = rows_of("ch16_overfit_train.csv"), rows_of("ch16_overfit_test.csv")

    def rows(random):
        return (learnt[:, :1], learnt[:, 1:]), None, (tested[:, :1], tested[:, 1:])

    def net(random):
        def drop():
            return [Dropout(share, random)] if share else []
        return Chain([Dense(1, 64, random, "he"), Activation("tanh"), *drop(), Dense(64, 64, random, "glorot"), Activation("tanh"), *drop(),
                      Dense(64, 1, random, "glorot")])
    return Deep(rows, net, Output("half_mse"), lambda: Adam(5e-3), 25, 5000, 20)


def problems(codes, by_votes):
    """The three kingdoms by problems of two; accuracy on the rows that are learnt."""
    d = rows_of("ch07_three_kingdoms.csv")
    x, y = minmax(d[:, :-1], d[:, :-1]), one_hot(d[:, -1])
    return Deep(lambda random: ((x, y), None, (x, y)), lambda random: Chain([Dense(2, len(codes), random, "zero")]), Codes(codes, by_votes),
                lambda: Sgd(0.1), 10, 100, 20)


FIFTEEN = """+-+-+-+-+- +---++--++ -+-++-+--+ -+++--++++ -+--++++-- -+-+-+-++- +--++--++- -+++++---- +-+--+-+-+ -++--++-+- -++-+--+-+ +-----++--
+-++------ -+------++ +-++++++++"""  # Dietterich and Bakiri 1995, table 3, a row for each problem


def coded_digits():
    def rows(name):
        d = np.loadtxt(os.path.join(PICTURES, "tabular", name), delimiter=",", skiprows=1)
        return d[:, :64] / 16, np.eye(10)[d[:, 64].astype(int)]
    codes = [[1 if sign == "+" else -1 for sign in row] for row in FIFTEEN.split()]
    return Deep(lambda random: (rows("digits_train.csv"), None, rows("digits_test.csv")),
                lambda random: Chain([Dense(64, 32, random, "glorot"), Activation("tanh"), Dense(32, 15, random, "glorot")]), Codes(codes),
                lambda: Adam(1e-2), 32, 40, 12)


SYSTEMS = {
    "kingdoms_rest": lambda: problems(2 * np.eye(3) - 1, False),
    "kingdoms_pairs": lambda: problems([[1, -1, 0], [1, 0, -1], [0, 1, -1]], True), "digits_coded": coded_digits,
    "wave_plain": lambda: wave(0), "wave_dropped": lambda: wave(0.1),
    "mnist_sigmoid": lambda: published("sigmoid"), "mnist_relu": lambda: published("relu"),
    "mnist_normalised": lambda: published("normalised"), "mnist_relu_material": lambda: published("relu", "material"),
    "mnist_normalised_material": lambda: published("normalised", "material"), "fashion": fashion,
    "spiral_residual": lambda: spiral(True), "spiral_stacked": lambda: spiral(False),
}


def main():
    for name in sys.argv[1:] or SYSTEMS:
        system = SYSTEMS[name]()
        runs = [train(system, seed) for seed in range(1, system.runs + 1)]
        write_spread(name, {key: np.array([run[key] for run in runs]) for key in runs[0]})


if __name__ == "__main__":
    main()
