// What a file declares and does not use: mostly something else was meant to be used, or a part of the program was
// forgotten. Only names are looked at, in a file that has no errors. A name that begins with `_` is meant not to be
// used.
//
// An argument that is not named in the body is used where its shape is: `fn ones_like(x: float[..., C]) -> float[C]`.
// Names of parts of several results, of comprehensions and of states (which a test or another file may read) are left
// alone, and so are the inputs of an optimizer, which are not its choice, and of overloads, which may be there to
// choose.
#include <fmt/format.h>

#include <algorithm>
#include <map>
#include <set>

#include "frontend/elaborator.h"
#include "frontend/modules.h"
#include "frontend/walk.h"

namespace nnc {

namespace {

/// Every name that stands somewhere in a tree as one that is used; "..." where the axes are that it stands for.
class Uses {
 public:
  std::set<std::string> names;

  void operator()(const ast::Let& form) {
    if (form.type) type(*form.type);
    expr(*form.value);
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
  }
  void operator()(const ast::Update& form) { expr(*form.value); }
  void operator()(const ast::ColumnDef& form) {
    type(form.type);
    expr(*form.value);
  }
  void operator()(const ast::Setting& form) {
    if (!form.path.empty()) names.insert(form.path.front().text);
    expr(*form.value);
  }
  void operator()(const ast::Measure& form) { expr(*form.value); }
  void operator()(const ast::Set& form) {
    names.insert(form.path.front().text);
    expr(*form.value);
  }
  void operator()(const ast::Gradcheck& form) { expr(*form.value); }
  void operator()(const ast::Expect& form) {
    expr(*form.value);
    if (form.within) expr(*form.within);
  }

  // Declarations.
  void operator()(const ast::Import&) {}
  void operator()(const ast::Const& form) { expr(*form.value); }
  void operator()(const ast::Function& form) {
    params(form.inputs);
    for (const ast::TypeExpr& result : form.results) type(result);
    block(form.body);
  }
  void operator()(const ast::Model& form) {
    params(form.inputs);
    for (const ast::TypeExpr& result : form.results) type(result);
    block(form.body);
  }
  void operator()(const ast::Layer& form) {
    params(form.settings);
    params(form.inputs);
    for (const ast::TypeExpr& result : form.results) type(result);
    block(form.body);
  }
  void operator()(const ast::Optimizer& form) {
    params(form.settings);
    params(form.inputs);
    type(form.result);
    block(form.body);
  }
  void operator()(const ast::Data& form) { all(form.data); }
  void operator()(const ast::Train& form) {
    for (const ast::Name& model : form.models) names.insert(model.text);
    names.insert(form.data.text);
    all(form.items);
  }
  void operator()(const ast::Test& form) { all(form.checks); }

  void expr(const ast::Expr& expr) {
    if (const auto* name = std::get_if<ast::NameUse>(&expr.form)) names.insert(name->name);
    if (std::holds_alternative<ast::Ellipsis>(expr.form)) names.insert("...");
    const bool indexes = std::holds_alternative<ast::Index>(expr.form);
    for_each_part(expr, [&](const ast::Expr& part) {
      if (indexes && std::holds_alternative<ast::Ellipsis>(part.form)) return;  // axes of what is indexed
      this->expr(part);
    });
  }
  void type(const ast::TypeExpr& declared) {
    for (const ast::Dim& dim : declared.dims) {
      if (dim.kind == ast::Dim::Kind::ellipsis) names.insert("...");
      if (dim.value) expr(*dim.value);
    }
  }
  void block(const ast::Block& block) { all(block.statements); }
  void params(const std::vector<ast::Param>& params) {
    for (const ast::Param& param : params) {
      type(param.type);
      if (param.value) expr(*param.value);
    }
  }
  template <class Form>
  void all(const std::vector<Form>& forms) {
    for (const Form& form : forms) std::visit(*this, form.form);
  }
};

class UnusedCheck {
 public:
  UnusedCheck(const Module& module, Diagnostics& diagnostics) : module_(module), diagnostics_(diagnostics) {}

  void declaration(const ast::Declaration& declaration) {
    if (declaration.damaged) return;
    if (const auto* function = std::get_if<ast::Function>(&declaration.form)) {
      const bool chosen = module_.names.at(function->name.text).size() > 1;  // by the types of its arguments
      chosen ? lets_of(*function) : signature({}, function->inputs, function->results, function->body);
    } else if (const auto* model = std::get_if<ast::Model>(&declaration.form)) {
      signature({}, model->inputs, model->results, model->body);
    } else if (const auto* layer = std::get_if<ast::Layer>(&declaration.form)) {
      signature(layer->settings, layer->inputs, layer->results, layer->body);
    } else if (const auto* optimizer = std::get_if<ast::Optimizer>(&declaration.form)) {
      signature(optimizer->settings, {}, {}, optimizer->body);
    } else if (const auto* data = std::get_if<ast::Data>(&declaration.form)) {
      columns(*data);
    } else if (const auto* train = std::get_if<ast::Train>(&declaration.form)) {
      lets(train->items);
    } else if (const auto* test = std::get_if<ast::Test>(&declaration.form)) {
      lets(test->checks, true);
    }
  }

  void imports() {
    std::set<std::string> used;
    for (const ast::Declaration& declaration : module_.ast->declarations)
      used.insert(uses_of(declaration).begin(), uses_of(declaration).end());
    for (std::size_t i = 0; i < module_.imports.size(); ++i) {
      const auto& names = module_.imports[i]->names;
      if (std::ranges::any_of(names, [&](const auto& known) { return used.contains(known.first); })) continue;
      diagnostics_.report(
          {.code = Code::unused_name, .message = "nothing of this file is used", .primary = module_.import_spans[i]});
    }
  }

  /// Constants, functions, layers and optimizers that nothing else names.
  void declarations() {
    for (const ast::Declaration& declaration : module_.ast->declarations) {
      const char* what = kind_of(declaration);
      if (!what) continue;
      const ast::Name& name = *name_of(declaration);
      const bool used = std::ranges::any_of(module_.ast->declarations, [&](const ast::Declaration& other) {
        const ast::Name* own = name_of(other);
        return (!own || own->text != name.text) && uses_of(other).contains(name.text);
      });
      if (!used) unused(name, what);
    }
  }

 private:
  static const char* kind_of(const ast::Declaration& declaration) {
    if (std::holds_alternative<ast::Const>(declaration.form)) return "constant";
    if (std::holds_alternative<ast::Function>(declaration.form)) return "function";
    if (std::holds_alternative<ast::Layer>(declaration.form)) return "layer";
    if (std::holds_alternative<ast::Optimizer>(declaration.form)) return "optimizer";
    return nullptr;
  }

  const std::set<std::string>& uses_of(const ast::Declaration& declaration) {
    const auto [known, fresh] = uses_.try_emplace(&declaration);
    if (fresh) {
      Uses uses;
      std::visit(uses, declaration.form);
      known->second = std::move(uses.names);
    }
    return known->second;
  }

  void unused(const ast::Name& name, const std::string& what) {
    if (name.text.starts_with("_")) return;
    diagnostics_.report({.code = Code::unused_name,
                         .message = fmt::format("nothing uses the {} {}", what, backquoted(name.text)),
                         .primary = name.span});
  }

  void signature(const std::vector<ast::Param>& settings, const std::vector<ast::Param>& inputs,
                 const std::vector<ast::TypeExpr>& results, const ast::Block& body) {
    Uses inside;
    inside.block(body);
    for (const ast::TypeExpr& result : results) inside.type(result);
    for (const std::vector<ast::Param>* params : {&settings, &inputs})
      for (const ast::Param& param : *params)
        if (param.value) inside.expr(*param.value);
    // A variable that stands alone is bound by the first input that has it; in an expression it is used.
    std::map<std::string, const ast::Param*> binder;
    for (const std::vector<ast::Param>* params : {&inputs, &settings})
      for (const ast::Param& param : *params)
        for (const ast::Dim& dim : param.type.dims) {
          const auto* use = dim.value ? std::get_if<ast::NameUse>(&dim.value->form) : nullptr;
          if (dim.kind == ast::Dim::Kind::ellipsis)
            binder.emplace("...", &param);
          else if (use && (use->name == "batch" || (use->name[0] >= 'A' && use->name[0] <= 'Z')))
            binder.emplace(use->name, &param);
          else if (dim.value)
            inside.expr(*dim.value);
        }
    for (const std::vector<ast::Param>* params : {&settings, &inputs})
      for (const ast::Param& param : *params) {
        const bool shape = std::ranges::any_of(
            binder, [&](const auto& bound) { return bound.second == &param && inside.names.contains(bound.first); });
        if (!shape && !inside.names.contains(param.name.text))
          unused(param.name, params == &settings ? "setting" : "argument");
      }
    statements(body, inside.names);
  }

  void lets_of(const ast::Function& function) {
    Uses inside;
    inside.block(function.body);
    statements(function.body, inside.names);
  }

  void statements(const ast::Block& block, const std::set<std::string>& used) {
    bool left = false;
    for (const ast::Statement& statement : block.statements) {
      if (left) {
        diagnostics_.report({.code = Code::unreachable,
                             .message = "nothing reaches this statement: the one before it returns",
                             .primary = statement.span});
        return;
      }
      if (const auto* let = std::get_if<ast::Let>(&statement.form)) this->let(*let, used);
      if (const auto* variable = std::get_if<ast::Variable>(&statement.form)) carry(*variable, block);
      if (const auto* branch = std::get_if<ast::If>(&statement.form)) {
        statements(branch->yes, used);
        if (branch->no) statements(*branch->no, used);
      }
      left = leaves(statement);
    }
  }

  static bool leaves(const ast::Statement& statement) {
    if (std::holds_alternative<ast::Return>(statement.form)) return true;
    const auto* branch = std::get_if<ast::If>(&statement.form);
    const auto all = [](const ast::Block& block) { return std::ranges::any_of(block.statements, leaves); };
    return branch && branch->no && all(branch->yes) && all(*branch->no);
  }

  void let(const ast::Let& form, const std::set<std::string>& used) {
    if (std::ranges::none_of(form.names, [&](const ast::Name& name) { return used.contains(name.text); }))
      unused(form.names.front(), "value");
  }

  /// A carry that no statement of its block changes is the same at every step.
  void carry(const ast::Variable& form, const ast::Block& block) {
    const auto changes = [&](const auto& self, const ast::Block& within) -> bool {
      return std::ranges::any_of(within.statements, [&](const ast::Statement& statement) {
        const auto* update = std::get_if<ast::Update>(&statement.form);
        const auto* branch = std::get_if<ast::If>(&statement.form);
        return (update && update->name.text == form.name.text) ||
               (branch && (self(self, branch->yes) || (branch->no && self(self, *branch->no))));
      });
    };
    if (form.kind == ast::Variable::Kind::carry && !changes(changes, block))
      diagnostics_.report({.code = Code::unused_name,
                           .message = fmt::format("nothing updates the carry `{}`", form.name.text),
                           .primary = form.name.span,
                           .help = fmt::format("`update {0} = ...` is what the next step begins with; what is the "
                                               "same at every step is a `let`",
                                               form.name.text)});
  }

  /// In a test a layer may be applied for what it does to its states.
  template <class Form>
  void lets(const std::vector<Form>& forms, bool applies = false) {
    Uses inside;
    inside.all(forms);
    for (const Form& form : forms) {
      const auto* let = std::get_if<ast::Let>(&form.form);
      const bool call = let && (std::holds_alternative<ast::Call>(let->value->form) ||
                                std::holds_alternative<ast::Pipe>(let->value->form));
      if (let && !(applies && call)) this->let(*let, inside.names);
    }
  }

  /// Of a data block that something trains on: columns are used in it, or in a block that trains.
  void columns(const ast::Data& data) {
    Uses inside;
    inside.all(data.data);
    bool trained = false;
    for (const ast::Declaration& declaration : module_.ast->declarations)
      if (const auto* train = std::get_if<ast::Train>(&declaration.form); train && train->data.text == data.name.text) {
        trained = true;
        inside.names.insert(uses_of(declaration).begin(), uses_of(declaration).end());
      }
    for (const ast::Datum& datum : data.data) {
      const auto* let = std::get_if<ast::Let>(&datum.form);
      if (let && !(is_source(*let->value) && !has_splits(data))) this->let(*let, inside.names);
      if (const auto* column = std::get_if<ast::ColumnDef>(&datum.form);
          column && trained && !inside.names.contains(column->name.text))
        unused(column->name, "column");
    }
  }

  /// Without splits all rows of the one source are `train`.
  static bool has_splits(const ast::Data& data) {
    return std::ranges::any_of(data.data, [](const ast::Datum& datum) {
      const auto* setting = std::get_if<ast::Setting>(&datum.form);
      return setting && setting->keys.front().text != "fit" && setting->keys.front().text != "samples";
    });
  }
  static bool is_source(const ast::Expr& value) {
    constexpr std::string_view readers[] = {"csv", "idx", "npy", "npz", "table"};
    const auto* call = std::get_if<ast::Call>(&value.form);
    const auto* callee = call ? std::get_if<ast::NameUse>(&call->callee->form) : nullptr;
    return callee && std::ranges::find(readers, callee->name) != std::end(readers);
  }

  const Module& module_;
  Diagnostics& diagnostics_;
  std::map<const ast::Declaration*, std::set<std::string>> uses_;
};

}  // namespace

void check_unused(const Module& module, bool is_program, Diagnostics& diagnostics) {
  UnusedCheck check(module, diagnostics);
  for (const ast::Declaration& declaration : module.ast->declarations) check.declaration(declaration);
  check.imports();
  if (is_program) check.declarations();
}

}  // namespace nnc
