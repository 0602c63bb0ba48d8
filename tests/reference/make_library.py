#!/usr/bin/env python3
"""The library against NumPy: every activation, layer, loss, metric and optimizer in a small net that takes 20 steps in float64.

Each case is an .nn program and the same program in NumPy, written from the formula that the library cites (PyTorch's
published semantics where LIBRARY.md takes them). Gradients are not derived: they are taken by complex steps,
d f/d p = Im f(p + i h) / h with h = 1e-30, which is exact to rounding because nothing is subtracted. So `where` decides by
real parts, and nothing takes an absolute value of a complex number.

Writes library.json beside itself: for each case the program, its start weights, the loss before each step, the metrics
after it, and the last weights.

Run it with Debian's python3-numpy:  python3 tests/reference/make_library.py
"""
import json
import math
import os

import numpy as np

HERE = os.path.dirname(os.path.abspath(__file__))
STEPS = 20
ROWS = 8
random = np.random.default_rng(20)


# ---- functions of complex arguments, decided by real parts ----------------------------------------------------------

def where(condition, a, b):
    return np.where(condition, a, b)


def absolute(x):
    return where(x.real < 0, -x, x)


def greatest(a, b):
    return where(np.real(a) >= np.real(b), a, b)


def sigmoid(x):
    return 1 / (1 + np.exp(-x))


def softplus(x):
    return np.log(1 + np.exp(x))


def erf(x):
    """2/sqrt(pi) sum (-1)^n x^(2n+1) / (n! (2n+1)), which converges everywhere and loses nothing for |x| below 2."""
    term, total = x, x
    for n in range(1, 80):
        term = term * (-x * x) / n
        total = total + term / (2 * n + 1)
    return 2 / math.sqrt(math.pi) * total


def softmax(z):
    e = np.exp(z - z.real.max(axis=-1, keepdims=True))
    return e / e.sum(axis=-1, keepdims=True)


def log_softmax(z):
    return np.log(softmax(z))


def one_hot(y, n):
    return np.eye(n)[y]


def mse(a, y):
    return ((a - y) ** 2).mean()


# ---- optimizers: from (p, g, state, t) to p, t from 1 -------------------------------------------------------------

def sgd(lr):
    return lambda p, g, s, t: p - lr * g


def momentum(lr, beta=0.9):
    def step(p, g, s, t):
        s["v"] = beta * s.get("v", 0) + g
        return p - lr * s["v"]
    return step


def nesterov(lr, beta=0.9):
    def step(p, g, s, t):
        s["v"] = beta * s.get("v", 0) + g
        return p - lr * (g + beta * s["v"])
    return step


def rmsprop(lr, alpha=0.99, eps=1e-8):
    def step(p, g, s, t):
        s["v"] = alpha * s.get("v", 0) + (1 - alpha) * g * g
        return p - lr * g / (np.sqrt(s["v"]) + eps)
    return step


def adagrad(lr, eps=1e-10):
    def step(p, g, s, t):
        s["v"] = s.get("v", 0) + g * g
        return p - lr * g / (np.sqrt(s["v"]) + eps)
    return step


def adadelta(lr=1.0, rho=0.9, eps=1e-6):
    def step(p, g, s, t):
        s["v"] = rho * s.get("v", 0) + (1 - rho) * g * g
        d = np.sqrt(s.get("u", 0) + eps) / np.sqrt(s["v"] + eps) * g
        s["u"] = rho * s.get("u", 0) + (1 - rho) * d * d
        return p - lr * d
    return step


def adam(lr, beta1=0.9, beta2=0.999, eps=1e-8, weight_decay=0.0):
    def step(p, g, s, t):
        s["m"] = beta1 * s.get("m", 0) + (1 - beta1) * g
        s["v"] = beta2 * s.get("v", 0) + (1 - beta2) * g * g
        p = p * (1 - lr * weight_decay)
        return p - lr * (s["m"] / (1 - beta1 ** t)) / (np.sqrt(s["v"] / (1 - beta2 ** t)) + eps)
    return step


def nadam(lr, beta1=0.9, beta2=0.999, eps=1e-8, decay=0.004):
    def step(p, g, s, t):
        mu = beta1 * (1 - 0.5 * 0.96 ** (t * decay))
        mu_next = beta1 * (1 - 0.5 * 0.96 ** ((t + 1) * decay))
        s["product"] = s.get("product", 1) * mu
        s["m"] = beta1 * s.get("m", 0) + (1 - beta1) * g
        s["v"] = beta2 * s.get("v", 0) + (1 - beta2) * g * g
        m = mu_next * s["m"] / (1 - s["product"] * mu_next) + (1 - mu) * g / (1 - s["product"])
        return p - lr * m / (np.sqrt(s["v"] / (1 - beta2 ** t)) + eps)
    return step


def lion(lr, beta1=0.9, beta2=0.99, weight_decay=0.0):
    def step(p, g, s, t):
        m = s.get("m", 0)
        update = np.sign(beta1 * m + (1 - beta1) * g)
        s["m"] = beta2 * m + (1 - beta2) * g
        return p * (1 - lr * weight_decay) - lr * update
    return step


# ---- a case ------------------------------------------------------------------------------------------------------

cases = []


def gradient(loss, p, name):
    g = np.zeros(p[name].shape)
    for i in np.ndindex(p[name].shape):
        q = {n: w.astype(complex) for n, w in p.items()}
        q[name][i] += 1e-30j
        g[i] = loss(q).imag / 1e-30
    return g


def numbers(values):
    return "[" + ", ".join(repr(float(v)) if v != int(v) else str(int(v)) for v in values) + "]"


def element_of(x):
    return "i32" if x.dtype.kind == "i" else "f32"


def table(x, y):
    """The rows as a data block; y whole numbers, or floats of one or more columns."""
    x2 = x.reshape(len(x), -1)
    columns = [f"x{i} = {numbers(x2[:, i])}" for i in range(x2.shape[1])]
    shape = ", ".join(map(str, x.shape[1:]))
    last = x2.shape[1] - 1
    text = f'  x: {element_of(x)}[{shape}] = ' + (f'reshape(cols("x0", to = "x{last}"), [{shape}])' if x.ndim > 2 else f'cols("x0", to = "x{last}")')
    if y.dtype.kind == "i":
        columns.append(f"y = {numbers(y)}")
        text += '\n  y: i32[] = col("y")'
    else:
        y2 = y.reshape(len(y), -1)
        columns += [f"y{i} = {numbers(y2[:, i])}" for i in range(y2.shape[1])]
        text += f'\n  y: f32[{y2.shape[1]}] = cols("y0", to = "y{y2.shape[1] - 1}")'
    return "data rows {\n  train = table(" + ",\n    ".join(columns) + ")\n" + text + "\n}\n"


def case(name, x, y, start, model, forward, loss_text="mse(z, y)", loss=mse, optimizer_text="sgd(0.1)", optimizer=sgd(0.1),
         metrics=None, states=None, items="", joint=None, average=None):
    """forward(p, x) is what the model text computes; metrics: text -> function of (z, y); states: their start, and how a step moves
    them; joint(x, y): all parameters after a step; average: beta of a moving average."""
    start = {n: np.array(w, dtype=float) for n, w in start.items()}
    s = {n: np.array(w, dtype=float) for n, w in (states[0] if states else {}).items()}
    z = forward({**start, **s}, x)
    shape = ", ".join(["batch"] + [str(n) for n in z.shape[1:]])
    inputs = ", ".join(["batch"] + [str(n) for n in x.shape[1:]])
    measured = metrics or {}
    program = (table(x, y) + f"\nmodel Net(x: {element_of(x)}[{inputs}]) -> f32[{shape}] {{\n  return {model}\n}}\n\n"
               "train Net on rows {\n  let z = Net(x)\n" + f"  loss = {loss_text}\n" +
               "".join(f"  metric m{i} = {text}\n" for i, text in enumerate(measured)) +
               f"  optimizer = {optimizer_text}\n{items}  batch_size = full\n  shuffle = false\n  epochs = {STEPS}\n}}\n")
    p, slots, losses, values = dict(start), {n: {} for n in start}, [], []
    averages = {n: np.zeros_like(w) for n, w in start.items()} if average else {}
    for t in range(1, STEPS + 1):
        def value(q):
            return loss(forward(q, x), y)
        losses.append(float(np.real(value({n: w.astype(complex) for n, w in p.items()}))))
        grads = {} if joint else {n: gradient(value, p, n) for n in p}
        if states:
            s = states[1](s, p, x)
        p = joint(x, y) if joint else {n: optimizer(p[n], grads[n], slots[n], t) for n in p}
        averages = {n: average * m + (1 - average) * p[n] for n, m in averages.items()}
        values.append([np.asarray(f(forward({n: w.astype(complex) for n, w in p.items()}, x).real, y)).tolist() for f in measured.values()])
    assert np.isfinite(losses).all(), name
    cases.append({"name": name, "program": program,
                  "start": {n: {"shape": list(w.shape), "values": w.ravel().tolist()} for n, w in start.items()},
                  "losses": losses, "metrics": values,
                  "weights": {n: w.ravel().tolist() for n, w in {**p, **s, **{f"average/{n}": m / (1 - average ** STEPS) for n, m in averages.items()}}.items()}})


def normal(*shape):
    return random.normal(0, 0.7, shape).round(3)


def dense(p, x, i):
    return x @ p[f"Dense{i}.W"] + p[f"Dense{i}.b"]


def dense_start(i, rows, columns):
    return {f"Dense{i}.W": normal(rows, columns), f"Dense{i}.b": normal(columns)}


# ---- activations -------------------------------------------------------------------------------------------------

ACTIVATIONS = {
    "relu": lambda x: where(x.real <= 0, 0, x),
    "leaky_relu": lambda x: where(x.real > 0, x, 0.01 * x),
    "leaky_relu(0.2)": lambda x: where(x.real > 0, x, 0.2 * x),
    "elu": lambda x: where(x.real > 0, x, np.exp(x) - 1),
    "elu(alpha = 0.5)": lambda x: where(x.real > 0, x, 0.5 * (np.exp(x) - 1)),
    "selu": lambda x: 1.0507009873554804934193349852946 * where(x.real > 0, x, 1.6732632423543772848170429916717 * (np.exp(x) - 1)),
    "gelu": lambda x: x * 0.5 * (1 + erf(x / math.sqrt(2))),
    "gelu_tanh": lambda x: 0.5 * x * (1 + np.tanh(math.sqrt(2 / math.pi) * (x + 0.044715 * x ** 3))),
    "silu": lambda x: x * sigmoid(x),
    "softplus": softplus,
    "sigmoid": sigmoid,
    "tanh": np.tanh,
    "softmax": softmax,
    "log_softmax": log_softmax,
    "clamp(-0.5, 0.75)": lambda x: where(x.real < -0.5, -0.5, where(x.real > 0.75, 0.75, x)),
    "square": lambda x: x * x,
}


def activations():
    for text, f in ACTIVATIONS.items():
        case(f"activation {text}", normal(ROWS, 3), normal(ROWS, 2), {**dense_start(1, 3, 4), **dense_start(2, 4, 2)},
             f"x |> Dense(4) |> {text} |> Dense(2)", lambda p, x, f=f: dense(p, f(dense(p, x, 1)), 2),
             optimizer_text="sgd(0.01)", optimizer=sgd(0.01))
    x, y = normal(ROWS, 2), normal(ROWS, 2)
    case("polynomial", x, y, dense_start(1, 6, 2), "polynomial(x, 3) |> Dense(2)",
         lambda p, x: dense(p, np.concatenate([x, x ** 2, x ** 3], axis=-1), 1),
         optimizer_text="sgd(0.01)", optimizer=sgd(0.01))
    case("flatten", normal(ROWS, 2, 3), y, dense_start(1, 6, 2), "x |> flatten |> Dense(2)",
         lambda p, x: dense(p, x.reshape(len(x), 6), 1))
    case("logsumexp", x, random.integers(0, 3, ROWS), dense_start(1, 2, 3), "x |> Dense(3)", lambda p, x: dense(p, x, 1),
         "mean(logsumexp(z) - take_along(z, y))",
         lambda z, y: (np.log(np.exp(z).sum(axis=-1)) - z[np.arange(len(y)), y]).mean())


# ---- losses ------------------------------------------------------------------------------------------------------

def huber(delta):
    def f(a, y):
        d = absolute(a - y)
        return where(d.real <= delta, 0.5 * d * d, delta * (d - 0.5 * delta)).mean()
    return f


def cross_entropy(p, y):
    return -(y * np.log(p)).sum(axis=-1).mean()


def codes_of_pairs(classes):
    pairs = [(i, j) for i in range(classes) for j in range(i + 1, classes)]
    return np.array([[1.0 if c == i else -1.0 if c == j else 0.0 for c in range(classes)] for i, j in pairs])


def output_codes(codes):
    def f(z, y):
        code = codes.T[y]
        own = np.abs(code)
        return sum((own[:, k] * softplus(-code[:, k] * z[:, k])).sum() / max(own[:, k].sum(), 1) for k in range(len(codes)))
    return f


def losses():
    x = normal(ROWS, 3)
    real, truth, signs = normal(ROWS, 2), random.integers(0, 2, (ROWS, 2)).astype(float), random.choice([-1.0, 1.0], (ROWS, 2))
    labels = np.array([0, 1, 2, 0, 2, 2, 1, 0])
    shares = random.dirichlet([1, 1, 1], ROWS).round(3)
    shares[:, 2] = 1 - shares[:, 0] - shares[:, 1]
    with_zeros = np.eye(3)[labels] * 0.5 + np.eye(3)[(labels + 1) % 3] * 0.5
    def one(name, y, width, loss_text, loss, model="", f=lambda z: z, metrics=None, **more):
        case(f"loss {name}", x, y, dense_start(1, 3, width), f"x |> Dense({width})" + model, lambda p, x: f(dense(p, x, 1)),
             loss_text, loss, metrics=metrics, **more)
    one("mse", real, 2, "mse(z, y)", mse)
    one("half_mse", real, 2, "half_mse(z, y)", lambda a, y: 0.5 * ((a - y) ** 2).mean())
    one("mae", real, 2, "mae(z, y)", lambda a, y: absolute(a - y).mean())
    one("huber", real, 2, "huber(z, y)", huber(1))
    one("huber 0.5", real, 2, "huber(z, y, delta = 0.5)", huber(0.5))
    one("binary_cross_entropy", truth, 2, "binary_cross_entropy(z, y)",
        lambda p, y: -(y * np.log(p) + (1 - y) * np.log(1 - p)).mean(), " |> sigmoid", sigmoid)
    one("binary_cross_entropy_logits", truth, 2, "binary_cross_entropy_logits(z, y)",
        lambda z, y: -(y * np.log(sigmoid(z)) + (1 - y) * np.log(1 - sigmoid(z))).mean())
    one("cross_entropy", shares, 3, "cross_entropy(z, y)", cross_entropy, " |> softmax", softmax)
    one("cross_entropy_bits", shares, 3, "cross_entropy_bits(z, y)", lambda p, y: cross_entropy(p, y) / math.log(2), " |> softmax", softmax)
    one("softmax_cross_entropy of classes", labels, 3, "softmax_cross_entropy(z, y)", lambda z, y: cross_entropy(softmax(z), one_hot(y, 3)))
    one("softmax_cross_entropy of distributions", shares, 3, "softmax_cross_entropy(z, y)", lambda z, y: cross_entropy(softmax(z), y))
    weights = np.array([0.5, 2.0, 1.0])
    def weighted(smoothing, w, m):
        """torch.nn.functional.cross_entropy with label_smoothing and weight, but for the weights' sum, which does not divide."""
        def f(z, y):
            t = one_hot(y, 3) if y.dtype.kind == "i" else y
            t = (1 - smoothing) * t + smoothing / 3
            return (m * -(w * t * log_softmax(z)).sum(axis=-1)).sum() / m.sum()
        return f
    for y, kind in ((labels, "classes"), (shares, "distributions")):
        one(f"softmax_cross_entropy of {kind}, smoothing", y, 3, "softmax_cross_entropy(z, y, smoothing = 0.1)", weighted(0.1, 1, np.ones(ROWS)))
        one(f"softmax_cross_entropy of {kind}, weights", y, 3, "softmax_cross_entropy(z, y, weights = [0.5, 2, 1])", weighted(0, weights, np.ones(ROWS)))
        one(f"softmax_cross_entropy of {kind}, all", y, 3, "softmax_cross_entropy(z, y, 0.2, [0.5, 2, 1], float(x[:, 0] > 0))",
            weighted(0.2, weights, (x[:, 0] > 0).astype(float)))
    one("hinge", signs, 2, "hinge(z, y)", lambda z, y: greatest(0, 1 - y * z).mean())
    one("kl_divergence", shares, 3, "kl_divergence(z, y)", lambda q, p: (p * (np.log(p) - np.log(q))).sum(axis=-1).mean(), " |> softmax", softmax)
    one("kl_divergence with zeros", with_zeros, 3, "kl_divergence(z, y)",
        lambda q, p: (p * (np.log(np.where(p > 0, p, 1)) - np.log(q))).sum(axis=-1).mean(), " |> softmax", softmax)
    one("one_vs_rest", labels, 3, "one_vs_rest(z, y)",
        lambda z, y: sum((softplus(z[:, c]) - (y == c) * z[:, c]).mean() for c in range(3)))
    decoded = lambda codes: lambda z, y: float((np.argmax(np.sign(z) @ codes, axis=-1) == y).mean())
    one("one_vs_one", labels, 3, "one_vs_one(z, y, 3)", output_codes(codes_of_pairs(3)),
        metrics={"accuracy(decode_codes(z, one_vs_one_codes(3)), y)": decoded(codes_of_pairs(3))})
    codes = np.array([[1, 1, -1], [1, -1, 0], [-1, 1, 1], [0, 1, -1]], dtype=float)
    text = "[[1, 1, -1], [1, -1, 0], [-1, 1, 1], [0, 1, -1]]"
    one("output_codes", labels, 4, f"output_codes(z, y, {text})", output_codes(codes),
        metrics={f"accuracy(decode_codes(z, {text}), y)": decoded(codes)})


# ---- metrics -----------------------------------------------------------------------------------------------------

def counts(p, y, threshold=0.5):
    said, truth = p >= threshold, y >= 0.5
    return (said & truth).sum(), said.sum(), truth.sum()


def share(a, b):
    return float(a) / float(b) if b > 0 else 0.0


def top_k(k):
    def f(z, y):
        order = np.argsort(-z, axis=-1, kind="stable")[:, :k]
        return float((order == y[:, None]).any(axis=-1).mean())
    return f


def confusion(z, y):
    table = np.zeros((4, 4))
    for taken, true in zip(np.argmax(z, axis=-1), y):
        table[true, taken] += 1
    return table


def metrics():
    x, labels = normal(ROWS, 3), random.integers(0, 4, ROWS)
    labels[:4] = range(4)
    case("metrics of classes", x, labels, dense_start(1, 3, 4), "x |> Dense(4)", lambda p, x: dense(p, x, 1), "softmax_cross_entropy(z, y)",
         lambda z, y: cross_entropy(softmax(z), one_hot(y, 4)), "sgd(0.5)", sgd(0.5), metrics={
             "accuracy(z, y)": lambda z, y: float((np.argmax(z, axis=-1) == y).mean()),
             "accuracy(argmax(z, over = -1), y)": lambda z, y: float((np.argmax(z, axis=-1) == y).mean()),
             "top_k(z, y, 1)": top_k(1), "top_k(z, y, 2)": top_k(2), "top_k(z, y, 4)": top_k(4), "confusion(z, y)": confusion})
    truth = random.integers(0, 2, (ROWS, 1)).astype(float)
    truth[:2, 0] = [0, 1]
    rates = {}
    for suffix, threshold in (("", 0.5), (", threshold = 0.7", 0.7), (", threshold = 2", 2.0)):
        rates[f"precision(z, y{suffix})"] = lambda p, y, t=threshold: share(counts(p, y, t)[0], counts(p, y, t)[1])
        rates[f"recall(z, y{suffix})"] = lambda p, y, t=threshold: share(counts(p, y, t)[0], counts(p, y, t)[2])
        rates[f"f1(z, y{suffix})"] = lambda p, y, t=threshold: share(2 * counts(p, y, t)[0], counts(p, y, t)[1] + counts(p, y, t)[2])
        rates[f"accuracy(z, y{suffix})"] = lambda p, y, t=threshold: float(((p >= t) == (y >= 0.5)).mean())
    case("metrics of probabilities", x, truth, dense_start(1, 3, 1), "x |> Dense(1) |> sigmoid", lambda p, x: sigmoid(dense(p, x, 1)),
         "binary_cross_entropy(z, y)", lambda p, y: -(y * np.log(p) + (1 - y) * np.log(1 - p)).mean(), "sgd(0.5)", sgd(0.5), metrics=rates)
    case("metrics of numbers", x, normal(ROWS, 2), dense_start(1, 3, 2), "x |> Dense(2)", lambda p, x: dense(p, x, 1), metrics={
        "rmse(z, y)": lambda a, y: math.sqrt(((a - y) ** 2).mean()), "mae(z, y)": lambda a, y: np.abs(a - y).mean(),
        "r2(z, y)": lambda a, y: 1 - ((y - a) ** 2).sum() / ((y - y.mean()) ** 2).sum()})


# ---- optimizers --------------------------------------------------------------------------------------------------

def optimizers():
    for text, rule in {
            "sgd(0.1)": sgd(0.1), "momentum(0.05)": momentum(0.05), "momentum(0.05, beta = 0.5)": momentum(0.05, 0.5),
            "nesterov(0.05)": nesterov(0.05), "rmsprop(0.01)": rmsprop(0.01), "rmsprop(0.01, beta = 0.9, eps = 1e-4)": rmsprop(0.01, 0.9, 1e-4),
            "adagrad(0.1)": adagrad(0.1), "adadelta()": adadelta(), "adadelta(0.5, beta = 0.8, eps = 1e-3)": adadelta(0.5, 0.8, 1e-3),
            "adam(0.01)": adam(0.01), "adam(0.01, beta1 = 0.8, beta2 = 0.9, eps = 1e-3)": adam(0.01, 0.8, 0.9, 1e-3),
            "adamw(0.01)": adam(0.01, weight_decay=0.01), "adamw(0.01, weight_decay = 0.3)": adam(0.01, weight_decay=0.3),
            "nadam(0.01)": nadam(0.01), "nadam(0.01, beta1 = 0.8, beta2 = 0.9, eps = 1e-3, decay = 0.1)": nadam(0.01, 0.8, 0.9, 1e-3, 0.1),
            "lion(0.01)": lion(0.01), "lion(0.01, beta1 = 0.5, beta2 = 0.7, weight_decay = 0.2)": lion(0.01, 0.5, 0.7, 0.2)}.items():
        case(f"optimizer {text}", normal(ROWS, 3), normal(ROWS, 2), {**dense_start(1, 3, 4), **dense_start(2, 4, 2)},
             "x |> Dense(4) |> tanh |> Dense(2)", lambda p, x: dense(p, np.tanh(dense(p, x, 1)), 2), optimizer_text=text, optimizer=rule)
    x, y = normal(ROWS, 3), normal(ROWS, 1)
    def least_squares(x, y):
        solution = np.linalg.lstsq(np.hstack([x, np.ones((ROWS, 1))]), y, rcond=None)[0]
        return {"Dense1.W": solution[:3], "Dense1.b": solution[3]}
    case("optimizer newton()", x, y, dense_start(1, 3, 1), "x |> Dense(1)", lambda p, x: dense(p, x, 1), optimizer_text="newton()",
         joint=least_squares)
    case("average = ema(0.9)", x, y, dense_start(1, 3, 1), "x |> Dense(1)", lambda p, x: dense(p, x, 1), average=0.9,
         items="  average = ema(0.9)\n")


# ---- layers ------------------------------------------------------------------------------------------------------

def batch_norm(p, x, eps):
    m, v = x.mean(axis=0), ((x - x.mean(axis=0)) ** 2).mean(axis=0)
    return p["BatchNorm1.scale"] * (x - m) / np.sqrt(v + eps) + p["BatchNorm1.shift"]


def batch_norm_states(keep):
    def move(s, p, x):
        h = dense(p, x, 1)
        m, v = h.mean(axis=0), h.var(axis=0, ddof=1)
        return {"BatchNorm1.mu": keep * s["BatchNorm1.mu"] + (1 - keep) * m, "BatchNorm1.var": keep * s["BatchNorm1.var"] + (1 - keep) * v}
    return {"BatchNorm1.mu": np.zeros(4), "BatchNorm1.var": np.ones(4)}, move


def layers():
    x, y = normal(ROWS, 3), normal(ROWS, 2)
    case("Dense without bias", x, y, {"Dense1.W": normal(3, 2)}, "x |> Dense(2, bias = false)", lambda p, x: x @ p["Dense1.W"])
    for keep, text in ((0.9, ""), (0.5, "momentum = 0.5, eps = 1e-2")):
        eps = 1e-2 if text else 1e-5
        case(f"BatchNorm {text}", x, y, {**dense_start(1, 3, 4), "BatchNorm1.scale": normal(4), "BatchNorm1.shift": normal(4), **dense_start(2, 4, 2)},
             f"x |> Dense(4) |> BatchNorm({text}) |> Dense(2)", lambda p, x, eps=eps: dense(p, batch_norm(p, dense(p, x, 1), eps), 2),
             states=batch_norm_states(keep))
    def layer_norm(p, x):
        d = x - x.mean(axis=-1, keepdims=True)
        return p["LayerNorm1.scale"] * d / np.sqrt((d * d).mean(axis=-1, keepdims=True) + 1e-5) + p["LayerNorm1.shift"]
    case("LayerNorm", x, y, {**dense_start(1, 3, 4), "LayerNorm1.scale": normal(4), "LayerNorm1.shift": normal(4), **dense_start(2, 4, 2)},
         "x |> Dense(4) |> LayerNorm() |> Dense(2)", lambda p, x: dense(p, layer_norm(p, dense(p, x, 1)), 2))
    def rms_norm(p, x):
        return p["RMSNorm1.scale"] * x / np.sqrt((x * x).mean(axis=-1, keepdims=True) + 1e-6)
    case("RMSNorm", x, y, {**dense_start(1, 3, 4), "RMSNorm1.scale": normal(4), **dense_start(2, 4, 2)},
         "x |> Dense(4) |> RMSNorm() |> Dense(2)", lambda p, x: dense(p, rms_norm(p, dense(p, x, 1)), 2))


def attention(p, x, heads, causal):
    rows, places, width = x.shape
    def split(w):
        return (x @ p[f"Attention1.{w}.W"]).reshape(rows, places, heads, width // heads).transpose(0, 2, 1, 3)
    scores = split("Q") @ split("K").transpose(0, 1, 3, 2) / math.sqrt(width / heads)
    if causal:
        scores = where(np.tril(np.ones((places, places))) > 0, scores, -np.inf)
    h = (softmax(scores) @ split("V")).transpose(0, 2, 1, 3).reshape(rows, places, width)
    return h @ p["Attention1.O.W"] + p["Attention1.O.b"]


def rnn(p, x):
    h, all_states = np.zeros((len(x), p["Rnn1.Cell.U"].shape[0])), []
    for t in range(x.shape[1]):
        h = np.tanh(x[:, t] @ p["Rnn1.Cell.W"] + h @ p["Rnn1.Cell.U"] + p["Rnn1.Cell.b"])
        all_states.append(h)
    return np.stack(all_states, axis=1)


def sequences():
    ids, y = random.integers(0, 5, (ROWS, 3)), normal(ROWS, 2)
    case("Embedding", ids, y, {"Embedding1.W": normal(5, 4), **dense_start(1, 12, 2)}, "x |> Embedding(5, 4) |> flatten |> Dense(2)",
         lambda p, ids: dense(p, p["Embedding1.W"][ids].reshape(ROWS, 12), 1))
    x = normal(ROWS, 3, 4)
    for heads in (1, 2):
        for causal in (False, True):
            start = {f"Attention1.{w}.W": normal(4, 4) for w in "QKVO"}
            case(f"Attention({heads}, causal = {str(causal).lower()})", x, y, {**start, "Attention1.O.b": normal(4), **dense_start(1, 12, 2)},
                 f"x |> Attention({heads}, causal = {str(causal).lower()}) |> flatten |> Dense(2)",
                 lambda p, x, heads=heads, causal=causal: dense(p, attention(p, x, heads, causal).reshape(ROWS, 12), 1),
                 optimizer_text="sgd(0.02)", optimizer=sgd(0.02))
    case("Rnn", x, y, {"Rnn1.Cell.W": normal(4, 3), "Rnn1.Cell.U": normal(3, 3), "Rnn1.Cell.b": normal(3), **dense_start(1, 9, 2)},
         "x |> Rnn(3) |> flatten |> Dense(2)", lambda p, x: dense(p, rnn(p, x).reshape(ROWS, 9), 1))


# Images are [rows, H, W, C]; kernels are not flipped.

def padded(x, pad):
    return np.pad(x, ((0, 0), (pad, pad), (pad, pad), (0, 0)))


def conv2d(x, w, b, stride, pad):
    """out[p, q] = sum over i, j, c of x[p stride - pad + i, q stride - pad + j, c] w[i, j, c], as torch.nn.Conv2d."""
    x, k = padded(x, pad), w.shape[0]
    heights, widths = (x.shape[1] - k) // stride + 1, (x.shape[2] - k) // stride + 1
    out = np.zeros((len(x), heights, widths, w.shape[3]), dtype=complex)
    for p in range(heights):
        for q in range(widths):
            patch = x[:, p * stride:p * stride + k, q * stride:q * stride + k, :]
            out[:, p, q] = np.tensordot(patch, w, ([1, 2, 3], [0, 1, 2]))
    return out + b


def depthwise(x, w, b, stride, pad):
    """Every channel by its own kernel, as torch.nn.Conv2d with groups = channels."""
    channels = [conv2d(x[..., c:c + 1], w[..., c].reshape(w.shape[0], w.shape[1], 1, 1), 0, stride, pad) for c in range(x.shape[3])]
    return np.concatenate(channels, axis=-1) + b


def conv_transpose2d(x, w, b, stride, pad):
    """out[i stride - pad + k] += x[i] w[k], as torch.nn.ConvTranspose2d."""
    k = w.shape[0]
    heights, widths = (x.shape[1] - 1) * stride + k, (x.shape[2] - 1) * stride + k
    out = np.zeros((len(x), heights, widths, w.shape[3]), dtype=complex)
    for p in range(x.shape[1]):
        for q in range(x.shape[2]):
            out[:, p * stride:p * stride + k, q * stride:q * stride + k] += np.tensordot(x[:, p, q], w, ([1], [2]))
    return out[:, pad:heights - pad, pad:widths - pad] + b


def pool(x, size, stride, f):
    heights, widths = (x.shape[1] - size) // stride + 1, (x.shape[2] - size) // stride + 1
    return np.stack([np.stack([f(x[:, p * stride:p * stride + size, q * stride:q * stride + size])
                               for q in range(widths)], axis=1) for p in range(heights)], axis=1)


def greatest_of(patch):
    flat = patch.reshape(len(patch), -1, patch.shape[-1])
    at = flat.real.argmax(axis=1)
    return np.take_along_axis(flat, at[:, None, :], axis=1)[:, 0]


def images():
    x, y = normal(4, 6, 5, 2), normal(4, 2)
    def one(name, weights, model, f):
        features = f(weights, x).reshape(len(x), -1).shape[1]
        start = {**weights, "Dense1.W": normal(features, 2) * 0.3, "Dense1.b": normal(2)}
        case(name, x, y, start, f"x |> {model} |> flatten |> Dense(2)", lambda p, x: dense(p, f(p, x).reshape(len(x), -1), 1),
             optimizer_text="sgd(0.01)", optimizer=sgd(0.01))
    for text, k, stride, pad in (("", 3, 1, 0), (", stride = 2, pad = 1", 3, 2, 1), (", kernel = 2, stride = 3, pad = 2", 2, 3, 2)):
        one(f"Conv2d(3{text})", {"Conv2d1.W": normal(k, k, 2, 3), "Conv2d1.b": normal(3)}, f"Conv2d(3{text})",
            lambda p, x, stride=stride, pad=pad: conv2d(x, p["Conv2d1.W"], p["Conv2d1.b"], stride, pad))
        one(f"ConvTranspose2d(3{text})", {"ConvTranspose2d1.W": normal(k, k, 2, 3), "ConvTranspose2d1.b": normal(3)}, f"ConvTranspose2d(3{text})",
            lambda p, x, stride=stride, pad=pad: conv_transpose2d(x, p["ConvTranspose2d1.W"], p["ConvTranspose2d1.b"], stride, pad))
        settings = text[2:]
        one(f"DepthwiseConv2d({settings})", {"DepthwiseConv2d1.W": normal(k, k, 2), "DepthwiseConv2d1.b": normal(2)}, f"DepthwiseConv2d({settings})",
            lambda p, x, stride=stride, pad=pad: depthwise(x, p["DepthwiseConv2d1.W"], p["DepthwiseConv2d1.b"], stride, pad))
    one("Conv2d without bias", {"Conv2d1.W": normal(3, 3, 2, 3)}, "Conv2d(3, bias = false)",
        lambda p, x: conv2d(x, p["Conv2d1.W"], 0, 1, 0))
    one("DepthwiseConv2d without bias", {"DepthwiseConv2d1.W": normal(3, 3, 2)}, "DepthwiseConv2d(bias = false)",
        lambda p, x: depthwise(x, p["DepthwiseConv2d1.W"], 0, 1, 0))
    for text, size, stride in (("3, stride = 1", 3, 1), ("2, stride = 1", 2, 1)):
        filters = {"Conv2d1.W": normal(2, 2, 2, 2), "Conv2d1.b": normal(2)}
        one(f"max_pool({text})", filters, f"Conv2d(2, kernel = 2) |> max_pool({text})",
            lambda p, x, size=size, stride=stride: pool(conv2d(x, p["Conv2d1.W"], p["Conv2d1.b"], 1, 0), size, stride, greatest_of))
        one(f"avg_pool({text})", filters, f"Conv2d(2, kernel = 2) |> avg_pool({text})",
            lambda p, x, size=size, stride=stride: pool(conv2d(x, p["Conv2d1.W"], p["Conv2d1.b"], 1, 0), size, stride, lambda t: t.mean(axis=(1, 2))))
    x = normal(4, 6, 4, 2)
    filters = {"Conv2d1.W": normal(3, 3, 2, 2), "Conv2d1.b": normal(2)}
    one("max_pool(2)", filters, "Conv2d(2, pad = 1) |> max_pool(2)",
        lambda p, x: pool(conv2d(x, p["Conv2d1.W"], p["Conv2d1.b"], 1, 1), 2, 2, greatest_of))
    one("avg_pool(2)", filters, "Conv2d(2, pad = 1) |> avg_pool(2)",
        lambda p, x: pool(conv2d(x, p["Conv2d1.W"], p["Conv2d1.b"], 1, 1), 2, 2, lambda t: t.mean(axis=(1, 2))))


def main():
    activations()
    losses()
    metrics()
    optimizers()
    layers()
    sequences()
    images()
    with open(os.path.join(HERE, "library.json"), "w") as f:
        json.dump({"numpy": np.__version__, "steps": STEPS, "cases": cases}, f, indent=0)
        f.write("\n")


main()
