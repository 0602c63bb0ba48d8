// What a range of values says: between which bounds every element lies, whether all are whole numbers, whether none is
// 0. As mathematics has it, NaN apart: exp(x) is not 0, though it may be rounded to 0, and a bound of 1.2 may be
// rounded up. Each op says what its result's range is, given those of its operands (OpDef::range).
#pragma once

#include <algorithm>
#include <cmath>
#include <limits>
#include <numeric>
#include <span>

#include "ir/graph.h"

namespace nnc {

struct Range {
  double low = -std::numeric_limits<double>::infinity(), high = std::numeric_limits<double>::infinity();
  bool whole = false, nonzero = false;

  bool non_negative() const { return low >= 0; }
  bool positive() const { return low > 0 || (low == 0 && nonzero); }
  bool at_most_one() const { return high <= 1; }
  bool in_unit_interval() const { return low >= 0 && high <= 1; }
  bool indicator() const { return whole && in_unit_interval(); }
  bool operator==(const Range&) const = default;
};

struct RangeQuery {
  std::span<const Range> operands;
  const Attributes& attributes;
  const Type& type;  ///< of the result
};

inline Range range_of_number(double value) { return {value, value, value == std::trunc(value), value != 0}; }
inline Range range_from(double low) { return {.low = low}; }
inline Range range_between(double low, double high) { return {low, high, false, false}; }
/// The range of truth values, and of counts below a number.
inline Range range_of_counts(double high) { return {0, high, true, false}; }

/// Whatever the type can hold.
inline Range range_of_type(DType dtype) {
  switch (dtype) {
    case DType::f32:
    case DType::f64:
      return {};
    case DType::i32:
      return {-2147483648.0, 2147483647.0, true, false};
    case DType::boolean:
      return range_of_counts(1);
  }
  return {};
}

/// Values of either range.
inline Range either(const Range& a, const Range& b) {
  return {std::min(a.low, b.low), std::max(a.high, b.high), a.whole && b.whole, a.nonzero && b.nonzero};
}

inline Range operator-(const Range& a) { return {-a.high, -a.low, a.whole, a.nonzero}; }

inline Range operator+(const Range& a, const Range& b) {
  const bool away = (a.low >= 0 && b.low >= 0) || (a.high <= 0 && b.high <= 0);
  return {a.low + b.low, a.high + b.high, a.whole && b.whole, away && (a.nonzero || b.nonzero)};
}

inline Range operator*(const Range& a, const Range& b) {
  const auto times = [](double x, double y) { return x == 0 || y == 0 ? 0 : x * y; };  // a bound of inf is not reached
  const double products[] = {times(a.low, b.low), times(a.low, b.high), times(a.high, b.low), times(a.high, b.high)};
  return {std::ranges::min(products), std::ranges::max(products), a.whole && b.whole, a.nonzero && b.nonzero};
}

/// 1 / x; nothing is known where x may have either sign.
inline Range reciprocal(const Range& x) {
  constexpr double infinity = std::numeric_limits<double>::infinity();
  if (x.low > 0 || (x.low == 0 && x.nonzero)) return {1 / x.high, x.low == 0 ? infinity : 1 / x.low, false, true};
  if (x.high < 0 || (x.high == 0 && x.nonzero)) return {x.high == 0 ? -infinity : 1 / x.high, 1 / x.low, false, true};
  return {.nonzero = true};
}

/// A sum of any number of elements, and of what is carried into it.
inline Range range_of_sum(std::span<const Range> x) {
  constexpr double infinity = std::numeric_limits<double>::infinity();
  const Range all = std::accumulate(x.begin() + 1, x.end(), x.front(), either);
  return {all.low >= 0 ? 0 : -infinity, all.high <= 0 ? 0 : infinity, all.whole,
          all.nonzero && (all.low >= 0 || all.high <= 0)};
}

}  // namespace nnc
