#include "runtime/rule.h"

#include <cmath>

namespace nnc {

namespace {

/// A number; nothing where a figure is missing.
std::optional<double> value_of(const Rule& rule, const FigureOf& of) {
  using enum Rule::Kind;
  if (rule.kind == number) return rule.value;
  if (rule.kind == figure) return of(rule.figure);
  const auto a = value_of(rule.operands[0], of);
  if (rule.kind == negate) return a ? std::optional(-*a) : std::nullopt;
  const auto b = value_of(rule.operands[1], of);
  if (!a || !b) return std::nullopt;
  switch (rule.kind) {
    case add:
      return *a + *b;
    case subtract:
      return *a - *b;
    case multiply:
      return *a * *b;
    case divide:
      return *a / *b;
    case power:
      return std::pow(*a, *b);
    case number:
    case figure:
    case negate:
    case less:
    case less_equal:
    case greater:
    case greater_equal:
    case equal:
    case not_equal:
    case logical_not:
    case logical_and:
    case logical_or:
      break;
  }
  return std::nullopt;
}

std::optional<bool> compare(const Rule& rule, const FigureOf& of) {
  using enum Rule::Kind;
  const auto a = value_of(rule.operands[0], of), b = value_of(rule.operands[1], of);
  if (!a || !b) return std::nullopt;
  switch (rule.kind) {
    case less:
      return *a < *b;
    case less_equal:
      return *a <= *b;
    case greater:
      return *a > *b;
    case greater_equal:
      return *a >= *b;
    case equal:
      return *a == *b;
    case not_equal:
      return *a != *b;
    case number:
    case figure:
    case negate:
    case add:
    case subtract:
    case multiply:
    case divide:
    case power:
    case logical_not:
    case logical_and:
    case logical_or:
      break;
  }
  return std::nullopt;
}

}  // namespace

std::optional<bool> holds(const Rule& condition, const FigureOf& of) {
  if (!combines_conditions(condition.kind)) return compare(condition, of);
  const auto a = holds(condition.operands[0], of);
  if (condition.kind == Rule::Kind::logical_not) return a ? std::optional(!*a) : std::nullopt;
  const auto b = holds(condition.operands[1], of);
  const bool decides = condition.kind == Rule::Kind::logical_or;  // true decides `or`, false decides `and`
  if (a == decides || b == decides) return decides;
  return a && b ? std::optional(!decides) : std::nullopt;
}

}  // namespace nnc
