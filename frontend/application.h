// One call being made: arguments find their parameters, and the declared dimensions are unified with those that arrive.
//
// Dimensions are bound in this order: settings and numbers, then the axes of tensors that arrive, then what is written
// as an expression is compared; what has no shape of its own (numbers, `zeros`, lists) takes the declared type last.
#pragma once

#include <map>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "frontend/elaborator.h"

namespace nnc {

/// An argument that found its parameter.
struct Given {
  Term term;
  Span span;
};
using Matched = std::vector<std::optional<Given>>;

/// The variable that a dimension consists of, or null.
const std::string* variable_of(const ast::Dim& dim);

/// The scope of a signature, and what is needed to speak about its call.
struct Application {
  Elaborator& e;
  std::string name;   ///< "Dense"
  std::string shown;  ///< "Dense(width)"
  Span span;
  Scope& scope;  ///< of the signature and the body

  bool failed = false;
  bool damaged = false;                                ///< a part of the body did not parse: a wrong result follows
  bool returned = false;                               ///< the result is compared with what is declared
  std::map<std::string, const Provenance*> stories{};  ///< of variables bound here

  bool match(const std::vector<ast::Param>& params, std::vector<CallArgument>& arguments, Scope& caller, Matched& into);
  void bind_scalar(const ast::Param& param, const Given& given);
  void bind_number(const ast::Param& param, const Given& given);
  bool unify(const ast::TypeExpr& type, Array& array, Span at, const std::string& what, const std::string& declared);
  bool unify_axes(const ast::TypeExpr& type, std::vector<Axis>& axes, Span at, const std::string& what,
                  const std::string& declared, const std::string& seen);
  void check_expressions(const ast::TypeExpr& type, const std::vector<Axis>& axes, Span at, const std::string& what);
  void bind_place(const ast::Param& param, const Given& given);
  Array own(const Array& array);
  void bind_floating(const std::vector<ast::Param>& params, const Matched& matched, std::optional<DType> around);
  std::string repair_of_elements(const std::vector<ast::Param>& params, const Matched& matched,
                                 std::size_t wrong) const;
  bool expressible(const ast::TypeExpr& type) const;
  void inputs(const std::vector<ast::Param>& params, Matched& matched);
  Term result(std::span<const ast::TypeExpr> declared, const Term& term, Span at);
  const Provenance* bound_by(const std::string& variable, const Axis& axis);
  void bind_dimension(const std::string& variable, const Axis& axis);
  /// A stand-in for any length, in the application that checks a declaration as such: nothing was written there.
  bool as_declared(const AxisId* id) const { return id && !id->stands_for.empty() && e.frames().size() <= 2; }

 private:
  Term results(std::span<const ast::TypeExpr> declared, const Term& term, Span at);
  Term one_result(const ast::TypeExpr& declared, const Term& term, Span at);
};

}  // namespace nnc
