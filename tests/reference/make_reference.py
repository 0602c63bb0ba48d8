#!/usr/bin/env python3
"""Independent reference runs: the nets of a first course, trained by the formulas of a textbook, in float64 and float32.

Writes beside itself, for each net: NAME.csv (the rows), NAME.safetensors (start weights, float64), NAME.nn with the
batch left open, and reference.json: after plain gradient descent over the rows in file order, with batches of 1 (100
epochs), 10 and with the full batch (1,000 epochs), the last epoch's mean training loss and all weights, in float64. What
rounding adds up to in one run is chance, so float32 is looked at from STARTS start weights, the first of which are those
above: `start` of each net, where float64 ends from each, to 12 digits, and how far from that float32 does.

Run it with Debian's python3-numpy:  python3 tests/reference/make_reference.py
"""
import json
import os
import struct

import numpy as np

HERE = os.path.dirname(os.path.abspath(__file__))
EPOCHS = {1: 100, 10: 1000, 0: 1000}  # by batch; 0 is the full one
STARTS = 9


def sigmoid(z):
    return 1 / (1 + np.exp(-z))


def softmax(z):
    e = np.exp(z - z.max(axis=1, keepdims=True))
    return e / e.sum(axis=1, keepdims=True)


# Activations of hidden layers: value, and derivative by the value.
ACTIVATIONS = {"sigmoid": (sigmoid, lambda h: h * (1 - h)), "relu": (lambda z: np.maximum(z, 0), lambda h: (h > 0).astype(h.dtype))}


def classes(y, count):
    return np.eye(count, dtype=y.dtype)[y[:, 0].astype(int)]


# Heads: output of the last layer's z, loss, and the target that makes the output's delta (A - Y) / rows.
HEADS = {
    "half_mse": (lambda z: z, lambda a, t: ((a - t) ** 2).mean() / 2),
    "logistic": (sigmoid, lambda a, t: -(t * np.log(a) + (1 - t) * np.log(1 - a)).mean()),
    "softmax": (softmax, lambda a, t: -np.log(a[t == 1]).mean()),
}


def step(net, p, x, y):
    """Loss and the gradients by name: the delta of a layer is the next one's through its weights, times f'(z)."""
    output, loss_of = HEADS[net["head"]]
    hidden, slope = ACTIVATIONS[net.get("activation", "sigmoid")]
    layers, values = len(net["sizes"]) - 1, [x]
    for i in range(1, layers + 1):
        z = values[-1] @ p[f"Dense{i}.W"] + p[f"Dense{i}.b"]
        values.append(output(z) if i == layers else hidden(z))
    t = classes(y, net["sizes"][-1]) if net["head"] == "softmax" else y
    delta = (values[-1] - t) / x.dtype.type(len(x))
    grads = {}
    for i in range(layers, 0, -1):
        grads[f"Dense{i}.W"], grads[f"Dense{i}.b"] = values[i - 1].T @ delta, delta.sum(axis=0)
        if i > 1:
            delta = (delta @ p[f"Dense{i}.W"].T) * slope(values[i - 1])
    return loss_of(values[-1], t), grads


def train(net, start, x, y, batch, dtype):
    p = {name: w.astype(dtype) for name, w in start.items()}
    x, y, rate = x.astype(dtype), y.astype(dtype), dtype(net["rate"])
    rows, size = len(x), batch or len(x)
    for _ in range(EPOCHS[batch]):
        total = 0.0
        for first in range(0, rows, size):
            bx, by = x[first:first + size], y[first:first + size]
            loss, grads = step(net, p, bx, by)
            total += float(loss) * len(bx)
            for name in p:
                p[name] = (p[name] - rate * grads[name]).astype(dtype)
    return {"train.loss": total / rows, "weights": {n: w.astype(np.float64) for n, w in p.items()}}


def distance(a, b):
    """Greatest |a - b| over the loss and all weights."""
    return max([abs(a["train.loss"] - b["train.loss"])] + [abs(a["weights"][n] - w).max() for n, w in b["weights"].items()])


def in_digits(run):
    """Of a run far more than float32 has."""
    return {"train.loss": float(f"{run['train.loss']:.12g}"),
            "weights": {n: [float(f"{v:.12g}") for v in w.ravel()] for n, w in run["weights"].items()}}


def save_safetensors(path, tensors):
    header, blobs, at = {}, [], 0
    for name, w in tensors.items():
        raw = np.ascontiguousarray(w, dtype="<f8").tobytes()
        header[name] = {"dtype": "F64", "shape": list(w.shape), "data_offsets": [at, at + len(raw)]}
        blobs.append(raw)
        at += len(raw)
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % 8)
    with open(path, "wb") as f:
        f.write(struct.pack("<Q", len(text)) + text + b"".join(blobs))


def save_csv(path, names, x, y):
    with open(path, "w") as f:
        f.write(",".join(names) + "\n")
        for row in np.hstack([x, y]):
            f.write(",".join(repr(float(v)) if v != int(v) else str(int(v)) for v in row) + "\n")


def weights(random, sizes):
    p = {}
    for i, (rows, columns) in enumerate(zip(sizes, sizes[1:]), 1):
        bound = np.sqrt(6 / (rows + columns))
        p[f"Dense{i}.W"] = random.uniform(-bound, bound, (rows, columns))
        p[f"Dense{i}.b"] = np.zeros(columns)
    return p


PROGRAM = """# One of the reference runs of make_reference.py, which writes this file.
const batch_rows = 10

data rows {{
  train = csv("{name}.csv")
  x: f32[{inputs}] = cols({columns})
  y: {label}
}}

model Net(x: f32[batch, {inputs}]) -> f32[batch, {outputs}] {{
  return {body}
}}

train Net on rows {{
  loss = {loss}
  optimizer = sgd(lr = {rate})
  batch_size = batch_rows
  shuffle = false
  epochs = {epochs}
}}
"""

LOSSES = {"half_mse": "half_mse", "logistic": "binary_cross_entropy", "softmax": "softmax_cross_entropy"}


def body_of(net):
    layers = f" |> {net.get('activation', 'sigmoid')} |> ".join(f"Dense({size})" for size in net["sizes"][1:])
    return "x |> " + layers + (" |> sigmoid" if net["head"] == "logistic" else "")


def nets():
    """Each net with its rows: x and y. 95 of them, so that the last batch of ten is a tail of 5."""
    random, n = np.random.default_rng(20240917), 95
    made = []

    def net(name, x, y, sizes, head, rate, **more):
        made.append(({"name": name, "sizes": sizes, "head": head, "rate": rate, **more}, x, y))

    x = np.round(random.uniform(0, 1, (n, 2)), 4)
    y = (x[:, :1] - x[:, 1:] + random.normal(0, 0.15, (n, 1)) > 0).astype(float)
    net("logistic", x, y, (2, 1), "logistic", 0.1)
    x = np.round(random.uniform(-1, 1, (n, 2)), 4)
    y = (np.digitize(np.arctan2(x[:, 1], x[:, 0]) + random.normal(0, 0.2, n), [-1, 1]).astype(float))[:, None]
    net("softmax", x, y, (2, 3), "softmax", 0.1)
    x = np.round(random.uniform(0, 1, (n, 1)), 4)
    y = np.round(0.4 * x**2 + 0.3 * x * np.sin(15 * x) + 0.01 * np.cos(50 * x) - 0.3, 6)
    net("curve", x, y, (1, 3, 1), "half_mse", 0.5)
    x = np.round(random.uniform(0, 1, (n, 2)), 4)
    y = ((x[:, :1] > 0.5) != (x[:, 1:] > 0.5)).astype(float)
    net("gates", x, y, (2, 2, 1), "logistic", 0.1)
    for done, _, _ in made:
        done["start"] = weights(random, done["sizes"])

    random = np.random.default_rng(20240918)
    x = np.round(random.uniform(0, 1, (n, 1)), 4)
    net("line", x, np.round(2 * x + 3 + random.normal(0, 0.1, (n, 1)), 4), (1, 1), "half_mse", 0.1)
    x = np.round(random.normal(0, 1, (n, 2)), 4)
    net("house", x, np.round(5.05 * x[:, 1:] - 2.02 * x[:, :1] + 46.2 + random.normal(0, 1, (n, 1)), 3), (2, 1), "half_mse", 0.1)
    x = np.round(random.uniform(-1, 1, (n, 1)), 4)
    net("polynomial", np.round(np.hstack([x, x**2, x**3, x**4]), 6), np.round(np.sin(3 * x), 5), (4, 1), "half_mse", 0.2)
    x = np.round(random.uniform(0, 1, (n, 1)), 4)
    net("sine", x, np.round(0.5 + 0.4 * np.sin(2 * np.pi * x), 5), (1, 2, 1), "half_mse", 0.5)
    turn, side = random.uniform(0, np.pi, (n, 1)), random.integers(0, 2, (n, 1))
    x = np.round(np.hstack([np.cos(turn) * (1 - 2 * side) + side, np.sin(turn) * (1 - 2 * side) + side / 2]) + random.normal(0, 0.1, (n, 2)), 4)
    net("arc", x, side.astype(float), (2, 2, 1), "logistic", 0.1)
    x = np.round(random.uniform(-1, 1, (n, 2)), 4)
    y = (np.digitize(np.hypot(x[:, 0], x[:, 1]) + 0.5 * (x[:, 0] > 0), [0.7, 1.1]).astype(float))[:, None]
    net("coin", x, y, (2, 3, 3), "softmax", 0.1)
    x = np.round(random.normal(0, 1, (n, 4)), 4)
    y = (np.digitize(x[:, 0] * x[:, 1] + x[:, 2], [-0.5, 0.5]).astype(float))[:, None]
    net("deep", x, y, (4, 8, 8, 3), "softmax", 0.05, activation="relu")
    for done, _, _ in made:
        done.setdefault("start", None)
        if done["start"] is None:
            done["start"] = weights(random, done["sizes"])
    return made


def main():
    reference = {"epochs": {str(batch or "full"): epochs for batch, epochs in EPOCHS.items()}, "numpy": np.__version__, "starts": {}, "runs": []}
    for net, x, y in nets():
        name, sizes, start = net["name"], net["sizes"], net["start"]
        columns = [f"x{i + 1}" for i in range(x.shape[1])]
        save_csv(os.path.join(HERE, name + ".csv"), columns + ["y"], x, y)
        save_safetensors(os.path.join(HERE, name + ".safetensors"), start)
        label = 'i32[] = col("y")' if net["head"] == "softmax" else 'f32[1] = cols("y")'
        with open(os.path.join(HERE, name + ".nn"), "w") as f:
            f.write(PROGRAM.format(name=name, inputs=sizes[0], outputs=sizes[-1], label=label, body=body_of(net),
                                   loss=f"{LOSSES[net['head']]}(Net(x), y)", rate=net["rate"], epochs=EPOCHS[0],
                                   columns=", ".join(f'"{c}"' for c in columns)))
        starts = [start] + [weights(np.random.default_rng([20241122, seed]), sizes) for seed in range(STARTS - 1)]
        reference["starts"][name] = [{n: w.tolist() for n, w in p.items()} for p in starts]
        for batch in EPOCHS:
            ends = [train(net, p, x, y, batch, np.float64) for p in starts]
            distances = [float(distance(train(net, p, x, y, batch, np.float32), end)) for p, end in zip(starts, ends)]
            exact = {"train.loss": ends[0]["train.loss"], "weights": {n: w.ravel().tolist() for n, w in ends[0]["weights"].items()}}
            reference["runs"].append({"net": name, "batch": batch or "full", "f64": exact,
                                      "ends": [in_digits(end) for end in ends], "f32_distances": distances})
    with open(os.path.join(HERE, "reference.json"), "w") as f:
        json.dump(reference, f)
        f.write("\n")


main()
