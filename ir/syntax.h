// What printer and parser of graph text agree on; the grammar stands in ir/parse.cpp.
#pragma once

#include <string>
#include <string_view>

#include "ir/op.h"

namespace nnc::syntax {

/// What names and numbers are made of; a letter begins a name, and so does an underscore.
constexpr bool is_letter(char c) { return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c == '_'; }
constexpr bool is_digit(char c) { return c >= '0' && c <= '9'; }

/// How tightly an operator binds its operands; within one level they group to the left, comparisons not at all.
enum class Binding { comparison = 1, sum, product, sign, atom };

constexpr Binding binding_of(std::string_view infix, int arity) {
  if (arity == 1) return Binding::sign;
  if (infix == "+" || infix == "-") return Binding::sum;
  if (infix == "*" || infix == "/") return Binding::product;
  return Binding::comparison;
}

/// Operands of an elementwise op from this one on have one element type, so that a number among them needs no suffix.
constexpr std::size_t first_of_one_type(std::size_t operands) { return operands == 3 ? 1 : 0; }

}  // namespace nnc::syntax
