#!/usr/bin/env python3
"""The library against PyTorch itself: the nets of library.json, and recurrent ones, where PyTorch has the same function.

Each case takes its program, rows and start weights from library.json, is computed by torch's own functions (torch.nn.functional,
torch.optim) in float64, and takes 20 steps. Writes torch.json beside itself: for each case the loss before each step and the
last weights; and the cases that PyTorch has no function for, with the reason. The test that reads it needs no Python.

Run it after make_library.py where PyTorch is installed (pip install torch):  python3 tests/reference/make_torch.py
"""
import json
import math
import os
import re

import torch
import torch.nn.functional as F

HERE = os.path.dirname(os.path.abspath(__file__))
torch.set_default_dtype(torch.float64)

with open(os.path.join(HERE, "library.json")) as file:
    LIBRARY = json.load(file)
STEPS = LIBRARY["steps"]


# ---- the rows of a program --------------------------------------------------------------------------------------------

def rows_of(program):
    columns = {name: [float(v) for v in values.split(",")] for name, values in re.findall(r"(\w+) = \[([^\]]*)\]", program.split("\n}\n")[0])}
    def column_group(letter, element, shape):
        names = [letter] if letter in columns else [f"{letter}{i}" for i in range(len(columns)) if f"{letter}{i}" in columns]
        values = torch.tensor([columns[name] for name in names]).T
        values = values.reshape([len(values)] + [int(n) for n in shape.split(",") if n.strip()])
        return values.long() if element == "i32" else values
    return [column_group(letter, *re.search(rf"  {letter}: (\w+)\[([^\]]*)\]", program).groups()) for letter in "xy"]


# ---- layers, by torch's functions over parameters in the library's layouts ----------------------------------------------

def dense(p, x, i=1):
    return F.linear(x, p[f"Dense{i}.W"].T, p.get(f"Dense{i}.b"))


def image(f):
    """f on images of channels first."""
    return lambda x: f(x.permute(0, 3, 1, 2)).permute(0, 2, 3, 1)


def conv2d(p, x, stride=1, pad=0):
    return image(lambda x: F.conv2d(x, p["Conv2d1.W"].permute(3, 2, 0, 1), p.get("Conv2d1.b"), stride, pad))(x)


def conv_transpose2d(p, x, stride=1, pad=0):
    w = p["ConvTranspose2d1.W"].permute(2, 3, 0, 1)
    return image(lambda x: F.conv_transpose2d(x, w, p["ConvTranspose2d1.b"], stride, pad))(x)


def depthwise(p, x, stride=1, pad=0):
    w = p["DepthwiseConv2d1.W"].permute(2, 0, 1)[:, None]
    return image(lambda x: F.conv2d(x, w, p.get("DepthwiseConv2d1.b"), stride, pad, groups=len(w)))(x)


def attention(p, x, heads, causal):
    def split(name):
        return (x @ p[f"Attention1.{name}.W"]).unflatten(-1, (heads, -1)).transpose(1, 2)
    h = F.scaled_dot_product_attention(split("Q"), split("K"), split("V"), is_causal=causal).transpose(1, 2).flatten(2)
    return h @ p["Attention1.O.W"] + p["Attention1.O.b"]


def recurrent(p, x, module, name, hidden_bias):
    """torch.nn.RNN, LSTM or GRU with the library's weights; its second bias is a repetition but for one of Gru."""
    w, u, b = (p[f"{name}.Cell.{letter}"] for letter in "WUb")
    weights = {"weight_ih_l0": w.T, "weight_hh_l0": u.T, "bias_ih_l0": b, "bias_hh_l0": hidden_bias(b)}
    return torch.func.functional_call(module(w.shape[0], u.shape[0], batch_first=True), weights, x)[0]


# ---- a case -----------------------------------------------------------------------------------------------------------

OPTIMIZERS = {
    "sgd": lambda lr: lambda p: torch.optim.SGD(p, lr),
    "momentum": lambda lr, beta=0.9: lambda p: torch.optim.SGD(p, lr, momentum=beta),
    "nesterov": lambda lr: lambda p: torch.optim.SGD(p, lr, momentum=0.9, nesterov=True),
    "rmsprop": lambda lr, beta=0.99, eps=1e-8: lambda p: torch.optim.RMSprop(p, lr, alpha=beta, eps=eps),
    "adagrad": lambda lr: lambda p: torch.optim.Adagrad(p, lr),
    "adadelta": lambda lr=1.0, beta=0.9, eps=1e-6: lambda p: torch.optim.Adadelta(p, lr, rho=beta, eps=eps),
    "adam": lambda lr, beta1=0.9, beta2=0.999, eps=1e-8: lambda p: torch.optim.Adam(p, lr, (beta1, beta2), eps),
    "adamw": lambda lr, weight_decay=0.01: lambda p: torch.optim.AdamW(p, lr, weight_decay=weight_decay),
    "nadam": lambda lr, beta1=0.9, beta2=0.999, eps=1e-8, decay=0.004:
        lambda p: torch.optim.NAdam(p, lr, (beta1, beta2), eps, momentum_decay=decay),
}

cases, without = [], {}


def optimizer_of(program):
    name, settings = re.search(r"optimizer = (\w+)\((.*)\)", program).groups()
    return eval(f"make({settings})", {"make": OPTIMIZERS[name]})


def train(case, forward, loss, states=None, own=False):
    x, y = rows_of(case["program"])
    p = {n: torch.tensor(w["values"]).reshape(w["shape"]).requires_grad_() for n, w in case["start"].items()}
    optimizer, losses = optimizer_of(case["program"])(list(p.values())), []
    states = {n: torch.tensor(v) for n, v in (states or {}).items()}
    for _ in range(STEPS):
        optimizer.zero_grad()
        value = loss(forward({**p, **states}, x), y)
        value.backward()
        losses.append(value.item())
        optimizer.step()
    result = {"name": case["name"], "losses": losses,
              "weights": {n: w.detach().ravel().tolist() for n, w in {**p, **states}.items()}}
    cases.append({**result, "program": case["program"], "start": case["start"]} if own else result)


BY_NAME = {case["name"]: case for case in LIBRARY["cases"]}


def case(name, forward=dense, loss=F.mse_loss, states=None):
    train(BY_NAME[name], forward, loss, states)


# ---- what PyTorch has ---------------------------------------------------------------------------------------------------

def activations():
    for text, f in {
            "relu": F.relu, "leaky_relu": F.leaky_relu, "leaky_relu(0.2)": lambda x: F.leaky_relu(x, 0.2), "elu": F.elu,
            "elu(alpha = 0.5)": lambda x: F.elu(x, 0.5), "selu": F.selu, "gelu": F.gelu, "gelu_tanh": lambda x: F.gelu(x, approximate="tanh"),
            "silu": F.silu, "softplus": F.softplus, "sigmoid": torch.sigmoid, "tanh": torch.tanh,
            "softmax": lambda x: F.softmax(x, -1), "log_softmax": lambda x: F.log_softmax(x, -1),
            "clamp(-0.5, 0.75)": lambda x: torch.clamp(x, -0.5, 0.75), "square": torch.square}.items():
        case(f"activation {text}", lambda p, x, f=f: dense(p, f(dense(p, x)), 2))
    case("flatten", lambda p, x: dense(p, x.flatten(1)))
    case("logsumexp", loss=lambda z, y: (torch.logsumexp(z, -1) - z.gather(1, y[:, None])[:, 0]).mean())


def losses():
    case("loss mse")
    case("loss half_mse", loss=lambda a, y: F.mse_loss(a, y) / 2)
    case("loss mae", loss=F.l1_loss)
    case("loss huber", loss=F.huber_loss)
    case("loss huber 0.5", loss=lambda a, y: F.huber_loss(a, y, delta=0.5))
    case("loss binary_cross_entropy", lambda p, x: torch.sigmoid(dense(p, x)), F.binary_cross_entropy)
    case("loss binary_cross_entropy_logits", loss=F.binary_cross_entropy_with_logits)
    case("loss cross_entropy", loss=F.cross_entropy)  # of logits: torch has none of probabilities
    case("loss cross_entropy_bits", loss=lambda z, y: F.cross_entropy(z, y) / math.log(2))
    weight = torch.tensor([0.5, 2.0, 1.0])
    for kind in ("classes", "distributions"):
        case(f"loss softmax_cross_entropy of {kind}", loss=F.cross_entropy)
        case(f"loss softmax_cross_entropy of {kind}, smoothing", loss=lambda z, y: F.cross_entropy(z, y, label_smoothing=0.1))
        # By rows, since torch's mean over class indices divides by their weights.
        case(f"loss softmax_cross_entropy of {kind}, weights", loss=lambda z, y: F.cross_entropy(z, y, weight, reduction="none").mean())
        name = f"loss softmax_cross_entropy of {kind}, all"
        mask = (rows_of(BY_NAME[name]["program"])[0][:, 0] > 0).double()
        case(name, loss=lambda z, y, m=mask: (m * F.cross_entropy(z, y, weight, reduction="none", label_smoothing=0.2)).sum() / m.sum())
    divergence = lambda q, p: F.kl_div(q.log(), p, reduction="batchmean")
    for name in ("loss kl_divergence", "loss kl_divergence with zeros"):
        case(name, lambda p, x: F.softmax(dense(p, x), -1), divergence)
    case("loss one_vs_rest", loss=lambda z, y: 3 * F.binary_cross_entropy_with_logits(z, F.one_hot(y, 3).double()))
    case("loss hinge", loss=lambda z, y: F.margin_ranking_loss(z, torch.zeros_like(z), y, margin=1.0))
    case("metrics of classes", loss=F.cross_entropy)
    case("metrics of probabilities", lambda p, x: torch.sigmoid(dense(p, x)), F.binary_cross_entropy)
    case("metrics of numbers")


def optimizers():
    for name in BY_NAME:
        if name.startswith("optimizer ") and name.split()[1].split("(")[0] in OPTIMIZERS:
            case(name, lambda p, x: dense(p, torch.tanh(dense(p, x)), 2))


def layers():
    case("Dense without bias")
    for name, keep, eps in (("BatchNorm ", 0.9, 1e-5), ("BatchNorm momentum = 0.5, eps = 1e-2", 0.5, 1e-2)):
        case(name, lambda p, x, keep=keep, eps=eps: dense(p, F.batch_norm(
            dense(p, x), p["BatchNorm1.mu"], p["BatchNorm1.var"], p["BatchNorm1.scale"], p["BatchNorm1.shift"], True, 1 - keep, eps), 2),
            states={"BatchNorm1.mu": [0.0] * 4, "BatchNorm1.var": [1.0] * 4})
    case("LayerNorm", lambda p, x: dense(p, F.layer_norm(dense(p, x), (4,), p["LayerNorm1.scale"], p["LayerNorm1.shift"]), 2))
    case("RMSNorm", lambda p, x: dense(p, F.rms_norm(dense(p, x), (4,), p["RMSNorm1.scale"], 1e-6), 2))
    case("Embedding", lambda p, ids: dense(p, F.embedding(ids, p["Embedding1.W"]).flatten(1)))
    for heads in (1, 2):
        for causal in (False, True):
            case(f"Attention({heads}, causal = {str(causal).lower()})",
                 lambda p, x, heads=heads, causal=causal: dense(p, attention(p, x, heads, causal).flatten(1)))
    case("Rnn", lambda p, x: dense(p, recurrent(p, x, torch.nn.RNN, "Rnn1", torch.zeros_like).flatten(1)))


def gated():
    """Lstm and Gru, which make_library.py does not have: on the rows of Rnn, with weights of their own."""
    made = torch.Generator().manual_seed(21)
    def start(layer, gates):
        shapes = {f"{layer}1.Cell.W": [4, 3 * gates], f"{layer}1.Cell.U": [3, 3 * gates], f"{layer}1.Cell.b": [3 * gates]}
        if layer == "Gru":
            shapes["Gru1.Cell.c"] = [3]
        shapes |= {"Dense1.W": [9, 2], "Dense1.b": [2]}
        return {n: {"shape": s, "values": torch.randn(math.prod(s), generator=made).mul(0.7).round(decimals=3).tolist()} for n, s in shapes.items()}
    for layer, gates, module, bias in (
            ("Lstm", 4, torch.nn.LSTM, lambda p: torch.zeros_like),
            ("Gru", 3, torch.nn.GRU, lambda p: lambda b: torch.cat([torch.zeros(6), p["Gru1.Cell.c"]]))):
        program = BY_NAME["Rnn"]["program"].replace("Rnn(3)", f"{layer}(3)")
        train({"name": layer, "program": program, "start": start(layer, gates)},
              lambda p, x, layer=layer, module=module, bias=bias: dense(p, recurrent(p, x, module, f"{layer}1", bias(p)).flatten(1)),
              F.mse_loss, own=True)


def images():
    def one(name, f):
        case(name, lambda p, x: dense(p, f(p, x).flatten(1)))
    for text, settings in (("", {}), (", stride = 2, pad = 1", {"stride": 2, "pad": 1}), (", kernel = 2, stride = 3, pad = 2", {"stride": 3, "pad": 2})):
        one(f"Conv2d(3{text})", lambda p, x, s=settings: conv2d(p, x, **s))
        one(f"ConvTranspose2d(3{text})", lambda p, x, s=settings: conv_transpose2d(p, x, **s))
        one(f"DepthwiseConv2d({text[2:]})", lambda p, x, s=settings: depthwise(p, x, **s))
    one("Conv2d without bias", conv2d)
    one("DepthwiseConv2d without bias", depthwise)
    for text, size, stride, pad in (("3, stride = 1", 3, 1, 0), ("2, stride = 1", 2, 1, 0), ("2", 2, 2, 1)):
        for kind, f in (("max", F.max_pool2d), ("avg", F.avg_pool2d)):
            one(f"{kind}_pool({text})", lambda p, x, f=f, size=size, stride=stride, pad=pad:
                image(lambda x: f(x, size, stride))(conv2d(p, x, pad=pad)))


WITHOUT = {
    "polynomial": "torch has no function of powers side by side",
    "loss one_vs_one": "torch has no loss over pairs of classes",
    "loss output_codes": "torch has no loss over codes of classes",
    "optimizer lion(0.01)": "torch.optim has no Lion",
    "optimizer lion(0.01, beta1 = 0.5, beta2 = 0.7, weight_decay = 0.2)": "torch.optim has no Lion",
    "optimizer newton()": "torch.optim has no Newton step",
    "average = ema(0.9)": "torch's moving average starts at the first weights, ema at 0 and corrects for it",
}


def main():
    activations()
    losses()
    optimizers()
    layers()
    gated()
    images()
    done = {case["name"] for case in cases}
    assert set(BY_NAME) == (done & set(BY_NAME)) | set(WITHOUT), set(BY_NAME) ^ ((done & set(BY_NAME)) | set(WITHOUT))
    with open(os.path.join(HERE, "torch.json"), "w") as f:
        json.dump({"torch": torch.__version__, "steps": STEPS, "cases": cases, "without": WITHOUT}, f, indent=0)
        f.write("\n")
    worst = 0.0
    for mine in cases:
        other = BY_NAME.get(mine["name"])
        if other:
            pairs = list(zip(mine["losses"], other["losses"])) + [
                pair for n, w in other["weights"].items() for pair in zip(mine["weights"][n], w)]
            worst = max([worst] + [abs(a - b) / max(1, abs(b)) for a, b in pairs])
    print(f"{len(cases)} cases; at most {worst:.1e} from NumPy's")


main()
