#include "runtime/metrics.h"

#include <fmt/format.h>

#include <array>
#include <charconv>
#include <cmath>

namespace nnc {

namespace {

using NumberText = std::string (*)(double value, DType dtype);

std::string nested(const DenseArray& array, std::size_t axis, std::int64_t& at, NumberText number = number_text) {
  if (axis == array.dims.size()) return number(array.at(at++), array.dtype);
  std::string text = "[";
  for (std::int64_t i = 0; i < array.dims[axis]; ++i) text += (i > 0 ? ", " : "") + nested(array, axis + 1, at, number);
  return text + "]";
}

}  // namespace

std::string number_text(double value, DType dtype) {
  if (dtype == DType::boolean) return value != 0 ? "true" : "false";
  if (!std::isfinite(value)) return "null";
  std::array<char, 64> text;
  auto end = dtype == DType::f32 ? std::to_chars(text.begin(), text.end(), static_cast<float>(value))
                                 : std::to_chars(text.begin(), text.end(), value);
  return std::string(text.begin(), end.ptr);
}

std::string number_shown(double value, DType dtype) {
  if (std::isnan(value)) return "nan";
  if (std::isinf(value)) return value < 0 ? "-inf" : "inf";
  return number_text(value, dtype);
}

std::string shown_text(const DenseArray& array) {
  std::int64_t at = 0;
  return nested(array, 0, at, number_shown);
}

std::string json_text(const DenseArray& array) {
  std::int64_t at = 0;
  return nested(array, 0, at);
}

std::string json_row_text(const DenseArray& array, std::int64_t row) {
  std::int64_t at = row * (array.count() / array.dims[0]);
  return nested(array, 1, at);
}

std::string json_members(std::span<const NamedArray> figures) {
  std::string text;
  for (const NamedArray& figure : figures) text += fmt::format(", \"{}\": {}", figure.name, json_text(figure.array));
  return text;
}

std::string epoch_line(const EpochReport& report) {
  return fmt::format("{{\"schema\": \"nnc.epoch.1\", \"epoch\": {}, \"step\": {}{}}}", report.at.epoch, report.at.step,
                     json_members(report.figures));
}

std::string step_line(const Cursor& at, std::span<const std::string> names, std::span<const double> losses) {
  std::string text = fmt::format("{{\"schema\": \"nnc.step.1\", \"epoch\": {}, \"step\": {}", at.epoch, at.step);
  for (std::size_t i = 0; i < names.size(); ++i)
    text += fmt::format(", \"{}\": {}", names[i], number_text(losses[i], DType::f64));
  return text + "}";
}

}  // namespace nnc
