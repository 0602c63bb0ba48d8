// Names in bodies that nothing elaborates: functions, layers, optimizers and models that are declared and not used, and
// branches that are not taken. Only names are looked up; shapes are known where something is applied.
#include <fmt/format.h>

#include <initializer_list>
#include <set>

#include "frontend/elaborator.h"
#include "frontend/newcomers.h"
#include "frontend/primitives.h"
#include "frontend/walk.h"
#include "ir/nearest.h"

namespace nnc {

namespace {

class NameCheck {
 public:
  NameCheck(const Module& module, Diagnostics& diagnostics) : module_(module), diagnostics_(diagnostics) {
    open();
    known_.back().insert("batch");
  }

  /// The lists of one signature in their order: a default sees what stands before it, a type everything.
  void signature(std::initializer_list<const std::vector<ast::Param>*> lists) {
    for (const std::vector<ast::Param>* params : lists)
      for (const ast::Param& param : *params) variables(param.type);
    for (const std::vector<ast::Param>* params : lists)
      for (const ast::Param& param : *params) {
        if (param.value) expr(*param.value);
        known_.back().insert(param.name.text);
      }
    for (const std::vector<ast::Param>* params : lists)
      for (const ast::Param& param : *params) type(param.type);
  }
  void result(const ast::TypeExpr& declared) {
    variables(declared);
    type(declared);
  }

  void block(const ast::Block& block) {
    open();
    for (const ast::Statement& statement : block.statements) std::visit(*this, statement.form);
    known_.pop_back();
  }

  void operator()(const ast::Let& form) {
    if (form.type) type(*form.type);
    expr(*form.value);
    for (const ast::Name& name : form.names) known_.back().insert(name.text);
  }
  void operator()(const ast::If& form) {
    expr(*form.condition);
    block(form.yes);
    if (form.no) block(*form.no);
  }
  void operator()(const ast::Return& form) {
    for (const ast::ExprPtr& value : form.values) expr(*value);
  }
  void operator()(const ast::Variable& form) {
    type(form.type);
    expr(*form.value);
    known_.back().insert(form.name.text);
  }
  void operator()(const ast::Update& form) { expr(*form.value); }
  void operator()(const ast::Expect& form) { expr(*form.value); }

 private:
  void open() { known_.emplace_back(); }

  void expr(const ast::Expr& expr) {
    const Span outside = std::exchange(span_, expr.span);
    if (const auto* name = std::get_if<ast::NameUse>(&expr.form))
      use(name->name);
    else if (const auto* comprehension = std::get_if<ast::Comprehension>(&expr.form))
      this->comprehension(*comprehension);
    else
      for_each_part(expr, [&](const ast::Expr& part) { this->expr(part); });
    span_ = outside;
  }
  void comprehension(const ast::Comprehension& form) {
    open();
    for (const ast::Comprehension::Loop& loop : form.loops) {
      expr(*loop.over);
      known_.back().insert(loop.variable.text);
    }
    expr(*form.element);
    known_.pop_back();
  }

  /// Capital names that stand alone in a signature are bound by it.
  void variables(const ast::TypeExpr& declared) {
    for (const ast::Dim& dim : declared.dims)
      if (dim.value)
        if (const auto* name = std::get_if<ast::NameUse>(&dim.value->form);
            name && name->name[0] >= 'A' && name->name[0] <= 'Z')
          known_.back().insert(name->name);
  }
  void type(const ast::TypeExpr& declared) {
    for (const ast::Dim& dim : declared.dims) {
      if (!dim.value) continue;
      dimension_ = std::holds_alternative<ast::NameUse>(dim.value->form);
      expr(*dim.value);
      dimension_ = false;
    }
  }

  /// What stands alone in a type was meant as a variable, where no known name is near.
  std::string repair(const std::string& name, const std::vector<std::string>& candidates) const {
    std::string help = repair_of_name(name, candidates);
    const bool small = name[0] >= 'a' && name[0] <= 'z';
    if (!help.empty() || !dimension_ || !small) return help;
    std::string upper = name;
    upper[0] = static_cast<char>(upper[0] - 'a' + 'A');
    return fmt::format("a dimension variable begins with a capital letter: {}", backquoted(upper));
  }

  void use(const std::string& name) {
    for (const auto& level : known_)
      if (level.contains(name)) return;
    if (module_.find(name) || module_.excuses(name) || find_primitive(name) || is_run_time_scalar(name) ||
        name == "training")
      return;
    if (diagnostics_.beyond_help()) {
      diagnostics_.report(
          {.code = Code::unknown_name, .message = fmt::format("there is no {}", backquoted(name)), .primary = span_});
      return;
    }
    std::vector<std::string> candidates;
    for (const auto& level : known_) candidates.insert(candidates.end(), level.begin(), level.end());
    Scope(module_).names(candidates);
    primitive_names(candidates);
    diagnostics_.report({.code = Code::unknown_name,
                         .message = fmt::format("there is no {}", backquoted(name)),
                         .primary = span_,
                         .help = repair(name, candidates)});
  }

  const Module& module_;
  Diagnostics& diagnostics_;
  std::vector<std::set<std::string>> known_;
  Span span_;
  bool dimension_ = false;  ///< the name stands alone in a dimension
};

}  // namespace

void check_names(const Module& module, const ast::Declaration& declaration, Diagnostics& diagnostics) {
  if (declaration.damaged) return;
  NameCheck check(module, diagnostics);
  if (const auto* function = std::get_if<ast::Function>(&declaration.form)) {
    check.signature({&function->inputs});
    for (const ast::TypeExpr& result : function->results) check.result(result);
    check.block(function->body);
  } else if (const auto* model = std::get_if<ast::Model>(&declaration.form)) {
    check.signature({&model->inputs});
    for (const ast::TypeExpr& result : model->results) check.result(result);
    check.block(model->body);
  } else if (const auto* layer = std::get_if<ast::Layer>(&declaration.form)) {
    check.signature({&layer->settings, &layer->inputs});
    for (const ast::TypeExpr& result : layer->results) check.result(result);
    check.block(layer->body);
  } else if (const auto* optimizer = std::get_if<ast::Optimizer>(&declaration.form)) {
    check.signature({&optimizer->settings, &optimizer->inputs});
    check.result(optimizer->result);
    check.block(optimizer->body);
  }
}

}  // namespace nnc
