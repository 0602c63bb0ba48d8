#!/usr/bin/env python3
"""The small files of rows that examples/ ship, drawn here by the formulas that their README give.

Run it with Debian's python3-numpy:  python3 tests/reference/make_example_data.py
"""
import os

import numpy as np

EXAMPLES = os.path.join(os.path.dirname(os.path.abspath(__file__)), "../../examples")


def save(name, columns, rows):
    """`columns`: name and digits after the point."""
    path = os.path.join(EXAMPLES, name)
    os.makedirs(os.path.dirname(path), exist_ok=True)
    with open(path, "w") as f:
        f.write(",".join(c for c, _ in columns) + "\n")
        for row in rows:
            f.write(",".join(f"{v:.{digits}f}" for v, (_, digits) in zip(row, columns)) + "\n")


def houses(random, rows=300):
    """price = 2 (20 - distance) + 5 area + 10 + a whole number of -49 .. 49."""
    distance = random.uniform(2, 20, rows).round(2)
    area = random.integers(40, 121, rows)
    return np.c_[distance, area, 2 * (20 - distance) + 5 * area + 10 + random.integers(-49, 50, rows)]


def cities(random, rows=200):
    """Two states with a border between them; no city lies within 0.02 of it."""
    found = []
    while len(found) < rows:
        x1, x2 = random.uniform(0, 1, 2).round(4)
        side = 0.23 + 0.35 * x2 - 0.8 * x1
        if abs(side) > 0.02:
            found.append([x1, x2, float(side > 0)])
    return found


def kingdoms(random, rows=140):
    """Three states: of each point the greatest of three linear functions counts, after a little noise."""
    x = random.uniform(0, 10, (rows, 2)).round(3)
    z = np.c_[0.45 * x[:, 1] - 0.2 * x[:, 0] - 0.7, 2.6 - 0.35 * x[:, 0] - 0.2 * x[:, 1], 0.5 * x[:, 0] - 0.15 * x[:, 1] - 1.4]
    return np.c_[x, (z + random.normal(0, 0.25, z.shape)).argmax(axis=1) + 1]


save("house/houses.csv", [("distance_km", 2), ("area_m2", 0), ("price_wan", 0)], houses(np.random.default_rng(5)))
save("logistic/cities.csv", [("x1", 4), ("x2", 4), ("y", 0)], cities(np.random.default_rng(6)))
save("softmax/kingdoms.csv", [("x1", 3), ("x2", 3), ("y", 0)], kingdoms(np.random.default_rng(7)))
