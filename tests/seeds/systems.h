// The rows of docs/seeds.md, by where their data come from.
#pragma once

#include "tests/seeds/runs.h"
#include "tests/seeds/table.h"

namespace nnc::seeds {

/// Every system on the real rows; `quick` leaves out what takes longer than a few seconds.
void add_systems(Table& table, Runs& runs, bool quick);
/// The material's own runs of nets that start from zero, repeated row by row.
void add_repeated(Table& table, Runs& runs, bool quick);
/// What needs no real rows.
void add_own_systems(Table& table, Runs& runs, bool quick);
/// Nets of many layers on the real rows: tables, pictures, dropout; the example of residual connections on its own.
void add_deep_nets(Table& table, Runs& runs, bool quick);

}  // namespace nnc::seeds
