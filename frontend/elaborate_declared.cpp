// A function, layer, model or optimizer that nothing applies is checked as it is declared: applied once to arguments
// whose dimension variables have lengths of their own, so that what agrees only by accident does not. The lengths are
// divisible by all small numbers, since bodies divide them; and what is wrong must be wrong for two choices of them,
// with the same code at the same place. Whether a dimension comes out whole depends on the numbers alone and is not
// judged here.
#include <fmt/format.h>

#include <algorithm>

#include "frontend/elaborator.h"
#include "frontend/modules.h"

namespace nnc {

namespace {

/// The lengths of one trial: variables are `unit` times 5, 7, 11, ..., settings small whole numbers.
struct Trial {
  std::int64_t unit;
  std::int64_t first_setting;
};
constexpr Trial trials[] = {{24, 2}, {60, 3}};
constexpr std::int64_t factors[] = {5, 7, 11, 13, 17, 19, 23, 29, 31, 37};

class DeclaredCheck {
 public:
  DeclaredCheck(Elaborator& elaborator, const Module& module, const Trial& trial)
      : e_(elaborator), builder_("declared"), trial_(trial), scope_(module) {
    context_.builder = &builder_;
    context_.stream = "declared";
    context_.training = context_.scalars = true;
    e_.set_graph(&context_);
    Elaborator::Frame root;
    root.name = "declared";
    root.makes_instances = true;
    e_.frames().push_back(std::move(root));
    scope_.define("batch", Length{{batch_extent}});
    scope_.bind_ellipsis({Axis{{10, false}}});
    scope_.bind_floating(e_.default_float());
  }
  ~DeclaredCheck() {
    e_.frames().pop_back();
    e_.set_graph(nullptr);
  }
  DeclaredCheck(const DeclaredCheck&) = delete;
  DeclaredCheck& operator=(const DeclaredCheck&) = delete;

  void apply(const Declared& declared) {
    const ast::Declaration& declaration = *declared.declaration;
    const std::vector<Declared> self = {declared};
    if (const auto* function = std::get_if<ast::Function>(&declaration.form)) {
      const Callee callee{function->name.text, &self};
      if (!arguments(function->inputs, true)) return;
      const Term made = e_.apply(callee, std::move(arguments_), function->name.span, scope_);
      if (!made.as<Shapeless>() || !bind(function->results.front())) return;
      if (const auto type = e_.resolve(function->results.front(), scope_))
        e_.place(made, *type, function->name.span, fmt::format("the result of `{}`", function->name.text));
    } else if (const auto* model = std::get_if<ast::Model>(&declaration.form)) {
      if (arguments(model->inputs, true))
        e_.apply(Callee{model->name.text, &self}, std::move(arguments_), model->name.span, scope_);
    } else if (const auto* layer = std::get_if<ast::Layer>(&declaration.form)) {
      if (!arguments(layer->settings, false)) return;
      const Term instance =
          e_.apply(Callee{layer->name.text, &self}, std::exchange(arguments_, {}), layer->name.span, scope_);
      if (!instance.failed() && arguments(layer->inputs, true))
        e_.apply(instance, std::move(arguments_), layer->name.span, scope_);
    }
  }

 private:
  /// Every variable of the type has a length; false where something else must be known first.
  bool bind(const ast::TypeExpr& type) {
    for (const ast::Dim& dim : type.dims) {
      const auto* name = dim.value ? std::get_if<ast::NameUse>(&dim.value->form) : nullptr;
      if (!name || name->name[0] < 'A' || name->name[0] > 'Z' || scope_.find(name->name)) continue;
      if (variables_ == std::size(factors)) return false;
      scope_.define(name->name, Length{{{trial_.unit * factors[variables_++], false}}});
    }
    return true;
  }

  /// One argument for each parameter up to the last that needs one; `tensors`: those with defaults get theirs.
  bool arguments(const std::vector<ast::Param>& params, bool tensors) {
    for (const ast::Param& param : params)
      if (param.type.tensor && !bind(param.type)) return false;
    for (const ast::Param& param : params) {
      if (param.value) return true;  // what comes after has defaults too, or is given by name: left to uses
      auto argument = param.type.tensor ? tensor(param, tensors) : setting(param);
      if (!argument) return false;
      if (!param.type.tensor && !scope_.find(param.name.text)) scope_.define(param.name.text, *argument);
      arguments_.push_back(std::move(*argument));
    }
    return true;
  }

  std::optional<Term> setting(const ast::Param& param) {
    using enum ast::TypeExpr::Base;
    switch (param.type.base) {
      case integer:
        return Term(Number{static_cast<double>(trial_.first_setting + settings_++ % 3)});
      case floating:
        return Term(Number{0.5});
      case boolean:
        return Term(Flag{true});
      case string:
      case f32:
      case f64:
      case i32:
        break;
    }
    return std::nullopt;
  }

  std::optional<Term> tensor(const ast::Param& param, bool inputs) {
    if (!inputs) return std::nullopt;
    const auto type = e_.resolve(param.type, scope_);
    if (!type) return std::nullopt;
    return Term(e_.wrap(builder_.leaf(Op::input, param.name.text, e_.type_of(*type)), type->axes));
  }

  Elaborator& e_;
  Builder builder_;
  GraphContext context_;
  Trial trial_;
  Scope scope_;
  std::vector<Term> arguments_;
  std::size_t variables_ = 0;
  std::int64_t settings_ = 0;
};

/// What depends on the numbers that happen to stand for dimensions and settings is left to uses.
bool is_judged(const Diagnostic& diagnostic) {
  constexpr Code by_numbers[] = {Code::not_whole, Code::bad_number, Code::bad_axis, Code::not_compile_time,
                                 Code::no_shape};
  return severity_of(diagnostic.code) == Severity::error &&
         std::ranges::find(by_numbers, diagnostic.code) == std::end(by_numbers);
}

/// What carries a value from step to step means something only where it is scanned.
bool carries(const ast::Block& block) {
  return std::ranges::any_of(block.statements, [](const ast::Statement& statement) {
    const auto* variable = std::get_if<ast::Variable>(&statement.form);
    const auto* branch = std::get_if<ast::If>(&statement.form);
    return (variable && variable->kind == ast::Variable::Kind::carry) ||
           (branch && (carries(branch->yes) || (branch->no && carries(*branch->no))));
  });
}

bool same_cause(const Diagnostic& a, const Diagnostic& b) {
  return a.code == b.code && a.primary.file == b.primary.file && a.primary.begin == b.primary.begin &&
         a.primary.end == b.primary.end;
}

}  // namespace

void check_declared(const Module& module, const ast::Declaration& declaration, const ElaborateOptions& options,
                    Diagnostics& diagnostics) {
  const auto* layer = std::get_if<ast::Layer>(&declaration.form);
  if (declaration.damaged || (layer && carries(layer->body))) return;
  std::vector<Diagnostic> said[std::size(trials)];
  for (std::size_t i = 0; i < std::size(trials); ++i)
    said[i] = diagnostics.capture([&] {
      Elaborator elaborator(diagnostics, options);
      DeclaredCheck(elaborator, module, trials[i]).apply({&declaration, &module});
    });
  for (Diagnostic& diagnostic : said[0])
    if (is_judged(diagnostic) &&
        std::ranges::any_of(said[1], [&](const Diagnostic& other) { return same_cause(diagnostic, other); })) {
      diagnostic.notes.push_back("nothing applies it: it is checked as declared, with lengths that stand for any");
      diagnostics.report(std::move(diagnostic));
    }
}

}  // namespace nnc
