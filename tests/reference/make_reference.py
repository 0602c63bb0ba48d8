#!/usr/bin/env python3
"""Independent reference runs: four small nets trained by the formulas of a textbook, in float64 and float32.

Writes beside itself, for each net: NAME.csv (the rows), NAME.safetensors (start weights, float64), NAME.nn with the
batch left open, and reference.json: after 1,000 epochs of plain gradient descent over the rows in file order, with
batches of 10 and with the full batch, the last epoch's mean training loss and all weights, in float64; and how far
float32 ends from that, for the rows of each batch in SAMPLES orders, of which the first is the file's. Orders are the same
mathematics, so their spread is what rounding alone does to a run.

Run it with Debian's python3-numpy:  python3 tests/reference/make_reference.py
"""
import json
import os
import struct

import numpy as np

HERE = os.path.dirname(os.path.abspath(__file__))
EPOCHS = 1000
SAMPLES = 17


def sigmoid(z):
    return 1 / (1 + np.exp(-z))


def softmax(z):
    e = np.exp(z - z.max(axis=1, keepdims=True))
    return e / e.sum(axis=1, keepdims=True)


# Each net: (loss of the batch, gradients by name), from the published equations: the output's delta is (A - Y) / rows.
def logistic(p, x, y):
    a = sigmoid(x @ p["Dense1.W"] + p["Dense1.b"])
    loss = -(y * np.log(a) + (1 - y) * np.log(1 - a)).mean()
    delta = (a - y) / x.dtype.type(len(x))
    return loss, {"Dense1.W": x.T @ delta, "Dense1.b": delta.sum(axis=0)}


def softmax_regression(p, x, y):
    a = softmax(x @ p["Dense1.W"] + p["Dense1.b"])
    t = np.eye(3, dtype=x.dtype)[y[:, 0].astype(int)]
    loss = -np.log(a[np.arange(len(x)), y[:, 0].astype(int)]).mean()
    delta = (a - t) / x.dtype.type(len(x))
    return loss, {"Dense1.W": x.T @ delta, "Dense1.b": delta.sum(axis=0)}


def two_layers(p, x, y, output, loss_of):
    h = sigmoid(x @ p["Dense1.W"] + p["Dense1.b"])
    a = output(h @ p["Dense2.W"] + p["Dense2.b"])
    delta2 = (a - y) / x.dtype.type(len(x))
    delta1 = (delta2 @ p["Dense2.W"].T) * h * (1 - h)
    return loss_of(a, y), {"Dense1.W": x.T @ delta1, "Dense1.b": delta1.sum(axis=0),
                           "Dense2.W": h.T @ delta2, "Dense2.b": delta2.sum(axis=0)}


def curve(p, x, y):
    return two_layers(p, x, y, lambda z: z, lambda a, t: ((a - t) ** 2).mean() / 2)


def gates(p, x, y):
    return two_layers(p, x, y, sigmoid, lambda a, t: -(t * np.log(a) + (1 - t) * np.log(1 - a)).mean())


def train(step, start, x, y, rate, batch, dtype):
    p = {name: w.astype(dtype) for name, w in start.items()}
    x, y, rate = x.astype(dtype), y.astype(dtype), dtype(rate)
    rows = len(x)
    batch = batch or rows
    for _ in range(EPOCHS):
        total = 0.0
        for first in range(0, rows, batch):
            bx, by = x[first:first + batch], y[first:first + batch]
            loss, grads = step(p, bx, by)
            total += float(loss) * len(bx)
            for name in p:
                p[name] = (p[name] - rate * grads[name]).astype(dtype)
    return {"train.loss": total / rows, "weights": {n: w.astype(np.float64).ravel().tolist() for n, w in p.items()}}


def distance(a, b):
    """Greatest |a - b| over the loss and all weights."""
    greatest = abs(a["train.loss"] - b["train.loss"])
    return max([greatest] + [abs(v - w) for n in a["weights"] for v, w in zip(a["weights"][n], b["weights"][n])])


def float32_distances(step, start, x, y, rate, batch, exact):
    """Distances of SAMPLES float32 runs from the float64 one: batches of the same rows, each time in another order."""
    random, rows = np.random.default_rng(1), len(x)
    order, distances = np.arange(rows), []
    for _ in range(SAMPLES):
        run = train(step, start, x[order], y[order], rate, batch, np.float32)
        distances.append(distance(run, exact))
        order = np.concatenate([random.permutation(part) for part in np.split(order, range(batch or rows, rows, batch or rows))])
    return distances


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


def main():
    random = np.random.default_rng(20240917)
    n = 95  # not a multiple of 10: the last batch is a tail of 5
    cases = []

    x = np.round(random.uniform(0, 1, (n, 2)), 4)
    y = (x[:, :1] - x[:, 1:] + random.normal(0, 0.15, (n, 1)) > 0).astype(float)
    cases.append(("logistic", logistic, x, y, (2, 1), 0.1, "x |> Dense(1) |> sigmoid", "binary_cross_entropy(Net(x), y)"))

    x = np.round(random.uniform(-1, 1, (n, 2)), 4)
    y = (np.digitize(np.arctan2(x[:, 1], x[:, 0]) + random.normal(0, 0.2, n), [-1, 1]).astype(float))[:, None]
    cases.append(("softmax", softmax_regression, x, y, (2, 3), 0.1, "x |> Dense(3)", "softmax_cross_entropy(Net(x), y)"))

    x = np.round(random.uniform(0, 1, (n, 1)), 4)
    y = np.round(0.4 * x**2 + 0.3 * x * np.sin(15 * x) + 0.01 * np.cos(50 * x) - 0.3, 6)
    cases.append(("curve", curve, x, y, (1, 3, 1), 0.5, "x |> Dense(3) |> sigmoid |> Dense(1)", "half_mse(Net(x), y)"))

    x = np.round(random.uniform(0, 1, (n, 2)), 4)
    y = ((x[:, :1] > 0.5) != (x[:, 1:] > 0.5)).astype(float)
    cases.append(("gates", gates, x, y, (2, 2, 1), 0.1, "x |> Dense(2) |> sigmoid |> Dense(1) |> sigmoid",
                  "binary_cross_entropy(Net(x), y)"))

    reference = {"epochs": EPOCHS, "numpy": np.__version__, "runs": []}
    for name, step, x, y, sizes, rate, body, loss in cases:
        columns = [f"x{i + 1}" for i in range(x.shape[1])]
        start = weights(random, sizes)
        save_csv(os.path.join(HERE, name + ".csv"), columns + ["y"], x, y)
        save_safetensors(os.path.join(HERE, name + ".safetensors"), start)
        label = 'i32[] = col("y")' if name == "softmax" else 'f32[1] = cols("y")'
        with open(os.path.join(HERE, name + ".nn"), "w") as f:
            f.write(PROGRAM.format(name=name, inputs=sizes[0], outputs=sizes[-1], label=label, body=body, loss=loss,
                                   columns=", ".join(f'"{c}"' for c in columns), rate=rate, epochs=EPOCHS))
        for batch in (10, 0):
            exact = train(step, start, x, y, rate, batch, np.float64)
            reference["runs"].append({"net": name, "batch": batch or "full", "f64": exact,
                                      "f32_distances": float32_distances(step, start, x, y, rate, batch, exact)})
    with open(os.path.join(HERE, "reference.json"), "w") as f:
        json.dump(reference, f, indent=1)
        f.write("\n")


main()
