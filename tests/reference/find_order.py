#!/usr/bin/env python3
"""Which of its hundred possible orders of rows the material's printed runs took.

The reader of the material's programs shuffles thus, each epoch: a number below 100 from NumPy's generator; the generator seeded
with it; the inputs permuted; seeded with it again; the outputs permuted. So all that is left to chance in a run that starts from
zero is its first number. Each is tried here, all hundred side by side, by the formulas of make_seeds.py, and the runs that come
nearest to the weights that the material prints are listed: the nearest one has them to the last digit. tests/seeds/repeated.cpp
repeats those runs with nnc, in the same order (tests/seeds/order.h).

It reads the real rows as make_seeds.py does, and takes from seconds to some ten minutes a system:
  python3 tests/reference/find_order.py [SYSTEM...]
"""
import sys

import numpy as np

import make_seeds as seeds

FIRSTS = 100


def orders(first, count):
    """The order of the rows in each epoch, when the first draws `first`."""
    rows = np.arange(count)
    while True:
        rows = rows[np.random.RandomState(first).permutation(count)]
        yield rows
        left = np.random.RandomState(first)
        left.permutation(count)
        first = left.randint(0, 100)


def train(system, every):
    """Updates and last weights of each run, and the loss at its last look; `every`: updates between two looks, 0 after each other one."""
    x, y, system.runs = system.x, system.y, FIRSTS
    layers = seeds.starts(system, np.random.default_rng(0))
    readers = [orders(first, len(x)) for first in range(FIRSTS)]
    whole_x, whole_y = np.repeat(x[None], FIRSTS, 0), np.repeat(y[None], FIRSTS, 0)
    live, made, seen, total = np.ones(FIRSTS, bool), np.zeros(FIRSTS, int), np.full(FIRSTS, np.nan), 0
    for _ in range(system.epochs):
        order = np.array([next(reader) for reader in readers])
        for i, first in enumerate(range(0, len(x), system.batch)):
            at = order[:, first:first + system.batch]
            seeds.step(layers, x[at], y[at], system, system.rate * live)
            made += live
            total += 1
            if (total % every if every else i % 2) == 0:
                loss = seeds.loss_of(layers, whole_x, whole_y, system)
                seen[live] = loss[live]
                live &= ~(loss < system.enough)
        if not live.any():
            break
    w, b = layers[0]
    return made, np.hstack([w.reshape(FIRSTS, -1), b.reshape(FIRSTS, -1)]), seen


def entropy_of_material(z, y):
    """Its binary cross-entropy has 1e-5 below the second logarithm."""
    return (y * np.logaddexp(0, -z) - (1 - y) * np.log(seeds.sigmoid(-z) + 1e-5)).sum(axis=-1)


def gate(y):
    seeds.OUTPUTS["logistic"] = (seeds.sigmoid, entropy_of_material)
    return seeds.gate(y)


SYSTEMS = {  # system, updates between two looks, and the weights that are printed, biases last (OR's is misprinted)
    "servers_single": lambda: (seeds.servers(0.1, 1, 100), 0, [2.003, 2.990]),
    "servers_mini": lambda: (seeds.servers(0.3, 10, 100), 0, [2.006, 2.997]),
    "houses": lambda: (seeds.houses(False), 100, [-40.2326, 399.3639, 244.3912]),
    "houses_scaled": lambda: (seeds.houses(True), 100, [-0.08149, 0.81022, 0.12802]),
    "houses_scaled_before": lambda: (seeds.houses(True), 100, [-0.08194777, 0.80973365, 0.12714971]),
    "cities": lambda: (seeds.cities(), 20, [-7.66469954, 3.15772116, 2.19442993]),
    "kingdoms": lambda: (seeds.kingdoms(), 14, [-1.43234109, -3.57409342, 5.00643451, 4.47791288, -2.88936887, -1.58854401,
                                                -1.81896724, 3.66606162, -1.84709438]),
    "not": lambda: (seeds.gate([1, 0], ((0,), (1,))), 2, [-12.46886, 6.03110]),
    "and": lambda: (gate([0, 0, 0, 1]), 4, [11.75750515, 11.75780362, -17.80473354]),
    "nand": lambda: (gate([1, 1, 1, 0]), 4, [-11.763, -11.763, 17.812]),
    "or": lambda: (gate([0, 1, 1, 1]), 4, [11.743, 11.743, -5.412]),
    "nor": lambda: (gate([1, 0, 0, 0]), 4, [-11.738, -11.738, 5.409]),
    "sine_3": lambda: (seeds.sine(3), 500, [10.49907256, -31.06694195, 20.73039288, -0.07999603]),
    "sine_4": lambda: (seeds.sine(4), 500, [8.78717, -20.55757649, 1.28964911, 10.88610303, -0.04688634]),
}


def main():
    for name in sys.argv[1:] or SYSTEMS:
        system, every, printed = SYSTEMS[name]()
        made, weights, loss = train(system, every)
        away = np.abs(weights - np.array(printed)).max(axis=1)
        for first in np.argsort(away)[:3]:
            print(f"{name}: first number {first}, {made[first]} updates, weights within {away[first]:.3g}, loss {loss[first]:.10g}", flush=True)


if __name__ == "__main__":
    main()
