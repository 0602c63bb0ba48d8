// Figures as JSON: numbers in the shortest form that reads back, matrices as nested lists, NaN and infinity as null.
#pragma once

#include <span>
#include <string>

#include "runtime/programs.h"
#include "runtime/train.h"

namespace nnc {

/// The shortest decimal that reads back as the same f32 (or f64); "null" where it is not finite.
std::string number_text(double value, DType dtype);
/// The same for people: "nan" and "inf" instead of null, never "-nan".
std::string number_shown(double value, DType dtype);
/// An array as a number or as nested lists; `shown` for people.
std::string json_text(const DenseArray& array);
std::string shown_text(const DenseArray& array);
/// One row of an array whose first axis is rows.
std::string json_row_text(const DenseArray& array, std::int64_t row);
/// `"name": value` pairs after one another, each with a comma before it.
std::string json_members(std::span<const NamedArray> figures);

/// {"schema": "nnc.epoch.1", "epoch": 3, "step": 12, "train.loss": ...}
std::string epoch_line(const EpochReport& report);
/// {"schema": "nnc.step.1", "epoch": 1, "step": 4, "loss": ...}, one value for each loss by its name
std::string step_line(const Cursor& at, std::span<const std::string> names, std::span<const double> losses);

}  // namespace nnc
