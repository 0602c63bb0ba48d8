#include "passes/derive/formula.h"

#include <algorithm>
#include <functional>
#include <utility>

namespace nnc {

Formula number_formula(const std::string& digits) {
  return {.kind = Formula::Kind::number, .text = digits, .scalar = true};
}
Formula symbol_formula(std::string text, std::string super, std::string sub) {
  return {.kind = Formula::Kind::symbol, .text = std::move(text), .super = std::move(super), .sub = std::move(sub)};
}

namespace {

/// x x x as x³, where the first of them stands; numbers stay as they are.
void gather_powers(std::vector<Formula>& factors) {
  std::vector<Formula> gathered;
  for (const Formula& factor : factors) {
    if (factor.kind == Formula::Kind::number || std::ranges::find(gathered, factor) == gathered.end()) {
      gathered.push_back(factor);
    }
  }
  for (Formula& factor : gathered) {
    const auto times = std::ranges::count(factors, factor);
    if (times < 2 || factor.kind == Formula::Kind::number) continue;
    const bool scalar = factor.scalar;
    factor = {.kind = Formula::Kind::power, .parts = {factor, number_formula(std::to_string(times))}, .scalar = scalar};
  }
  factors = std::move(gathered);
}

bool is_one(const Formula& x) { return x.kind == Formula::Kind::number && x.text == "1"; }

/// The sign in front of a value, taken off.
bool take_sign(Formula& x) {
  if (x.kind == Formula::Kind::sum && x.parts.size() == 1 && x.minus[0]) {
    Formula inner = std::move(x.parts[0]);
    x = std::move(inner);
    return true;
  }
  if (x.kind == Formula::Kind::number && x.text.starts_with("-")) {
    x.text.erase(0, 1);
    return true;
  }
  return false;
}

}  // namespace

Formula negative(Formula x) {
  if (take_sign(x)) return x;
  if (x.kind == Formula::Kind::sum && std::ranges::all_of(x.minus, std::identity{})) {
    x.minus.assign(x.minus.size(), false);
    return x;
  }
  const bool scalar = x.scalar;
  return {.kind = Formula::Kind::sum, .parts = {std::move(x)}, .minus = {true}, .scalar = scalar};
}

void add_term(Formula& sum, Formula x, bool minus) {
  sum.scalar = (sum.parts.empty() || sum.scalar) && x.scalar;
  if (x.kind == Formula::Kind::sum) {
    for (std::size_t i = 0; i < x.parts.size(); ++i) {
      sum.parts.push_back(x.parts[i]);
      sum.minus.push_back(x.minus[i] != minus);
    }
    return;
  }
  if (take_sign(x)) minus = !minus;
  sum.parts.push_back(std::move(x));
  sum.minus.push_back(minus);
}

Formula product_of(std::vector<Formula> factors) {
  Formula product{.kind = Formula::Kind::product, .scalar = true};
  bool minus = false;
  for (Formula& factor : factors) {
    minus = take_sign(factor) != minus;
    product.scalar = product.scalar && factor.scalar;
    if (is_one(factor)) continue;
    if (factor.kind == Formula::Kind::product) {
      product.parts.insert(product.parts.end(), factor.parts.begin(), factor.parts.end());
    } else {
      product.parts.push_back(std::move(factor));
    }
  }
  const auto scalars_first = [](const Formula& x) { return x.scalar && x.kind != Formula::Kind::large; };
  std::ranges::stable_partition(product.parts, scalars_first);
  gather_powers(product.parts);
  if (product.parts.empty()) product = number_formula("1");
  if (product.parts.size() == 1) {
    Formula only = std::move(product.parts[0]);
    product = std::move(only);
  }
  return minus ? negative(std::move(product)) : product;
}

/// Of a sum over axes by a number the number comes first.
Formula quotient_of(Formula above, Formula below) {
  const bool minus = take_sign(above) != take_sign(below);
  const Formula& last = above.kind == Formula::Kind::product ? above.parts.back() : above;
  if (below.scalar && last.kind == Formula::Kind::large) {
    Formula share = quotient_of(number_formula("1"), std::move(below));
    Formula whole = product_of({std::move(share), std::move(above)});
    return minus ? negative(std::move(whole)) : whole;
  }
  if (is_one(below)) return minus ? negative(std::move(above)) : above;
  const bool scalar = above.scalar && below.scalar;
  Formula quotient{.kind = Formula::Kind::quotient, .parts = {std::move(above), std::move(below)}, .scalar = scalar};
  return minus ? negative(std::move(quotient)) : quotient;
}

Formula large_of(std::string sign, std::string indices, Formula x, bool scalar) {
  const bool minus = sign == "Σ" && take_sign(x);
  Formula large{.kind = Formula::Kind::large,
                .text = std::move(sign),
                .sub = std::move(indices),
                .parts = {std::move(x)},
                .scalar = scalar};
  return minus ? negative(std::move(large)) : large;
}

Formula matrix_of(Formula a, Formula b, bool scalar) {
  const bool minus = take_sign(a) != take_sign(b);
  if (b.kind == Formula::Kind::quotient && b.parts[1].scalar && !b.parts[0].scalar) {
    Formula below = b.parts[1], above = b.parts[0];
    Formula whole = quotient_of(matrix_of(std::move(a), std::move(above), scalar), std::move(below));
    return minus ? negative(std::move(whole)) : whole;
  }
  Formula product{.kind = Formula::Kind::matrix, .parts = {std::move(a), std::move(b)}, .scalar = scalar};
  return minus ? negative(std::move(product)) : product;
}

}  // namespace nnc
