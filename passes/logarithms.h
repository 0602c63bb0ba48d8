// The laws of logarithms and of sums with a greatest exponent (passes/stabilise.cpp): log-exp, log-logistic,
// log-one-plus-exp, log-chosen, log-power, indicator-log and shift-first.
#pragma once

#include <map>
#include <optional>
#include <string_view>
#include <vector>

#include "passes/facts.h"
#include "passes/laws.h"
#include "passes/maximum_out.h"
#include "passes/value_reader.h"

namespace nnc {

class Logarithms : private ValueReader {
 public:
  Logarithms(Builder& builder, const std::vector<Obligation>& obligations, const SimplifyOptions& options,
             const MaximumOut& maximum_out)
      : ValueReader(builder), options_(options), facts_(obligations), maximum_out_(maximum_out) {}

  /// log x in a better form, and by which law; nothing where log x is all there is to say.
  std::optional<Value> log_of(Value x, std::string_view& law);
  /// log(1 + x).
  std::optional<Value> log_of_one_plus(Value x, std::string_view& law);
  /// i * log x, or i * -log x, where i is a truth value as a number.
  std::optional<Value> chosen_log(Value i, Value logarithm);
  /// a - b, where one of them is a shift and a logarithm.
  std::optional<Value> shift_first(Value a, Value b);
  /// A view of a shift and a logarithm is the sum of the views.
  void carry_shift(const Node& old, const std::vector<Value>& operands);

 private:
  /// m + log x, made by maximum-out.
  struct ShiftedLog {
    Value shift, log;
  };

  const ShiftedLog* shifted_log(Value x) const;
  /// A product or quotient of two values, each with a factor that is never computed; the sign of one is known, so the
  /// other's logarithm is there where the whole one's is.
  bool have_scales_of_their_own(Value x, const Node& at);
  /// log(1 - x).
  std::optional<Value> log_of_one_minus(Value x, std::string_view& law);
  /// x^a, sqrt x, and products and quotients x y where log x has a better form, and log y too or the sign of one is
  /// known: then x, or both, are positive where there is a logarithm.
  std::optional<Value> log_of_power(Value x, const Node& at, std::string_view& law);
  /// What a view, an index, or a condition that holds once along the summed axis chooses from x, where log x has a
  /// better form.
  std::optional<Value> log_of_chosen(Value x, const Node& at, std::string_view& law);
  /// (c ? x : y), where the logarithm of each has a better form or is a number: a plain one would be derived also where
  /// it is not chosen, and there x may be 0.
  std::optional<Value> log_of_either(Value x, const Node& at, std::string_view& law);
  struct Choice {
    Value condition, value;
  };
  /// (c ? x : 0), also as a product of x and c as a number, and such a choice times or by something else.
  std::optional<Choice> choice_of(Value x);
  template <class Make>
  std::optional<Value> under(std::string_view name, std::string_view& law, Make&& make) {
    if (!in_force(options_, name)) return std::nullopt;
    law = name;
    return make();
  }
  /// A logarithm that a law has led to; one along a repeated value is taken before it is repeated.
  Value log_or_better(Value x);
  bool has_exponential(Value x) const;
  /// At least one of the two is an exponential, so its sign is known and the other keeps its own.
  Value log_of_product(Value x, const Node& at);
  Value difference(Value a, Value b);

  const SimplifyOptions& options_;
  FactTable facts_;  ///< of the new graph
  const MaximumOut& maximum_out_;
  std::map<NodeId, ShiftedLog> shifted_logs_;  ///< by new node
};

}  // namespace nnc
