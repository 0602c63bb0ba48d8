// A file, its library and its train blocks: which names there are, and what is elaborated in which order.
#include "frontend/elaborate.h"

#include <fmt/format.h>

#include <algorithm>
#include <deque>

#include "frontend/elaborate_data.h"
#include "frontend/elaborator.h"
#include "frontend/nearest.h"
#include "frontend/parser.h"
#include "frontend/primitives.h"
#include "frontend/std/embedded.h"

namespace nnc {

namespace {

/// The name that a declaration gives to expressions, or null (imports, train and test blocks).
const ast::Name* name_of(const ast::Declaration& declaration) {
  struct Visitor {
    const ast::Name* operator()(const ast::Import&) { return nullptr; }
    const ast::Name* operator()(const ast::Const& form) { return &form.name; }
    const ast::Name* operator()(const ast::Function& form) { return &form.name; }
    const ast::Name* operator()(const ast::Model& form) { return &form.name; }
    const ast::Name* operator()(const ast::Layer& form) { return &form.name; }
    const ast::Name* operator()(const ast::Optimizer& form) { return &form.name; }
    const ast::Name* operator()(const ast::Data& form) { return &form.name; }
    const ast::Name* operator()(const ast::Train&) { return nullptr; }
    const ast::Name* operator()(const ast::Test&) { return nullptr; }
  };
  return std::visit(Visitor{}, declaration.form);
}

/// A parsed file with the library behind it. Syntax and modules stay where they are: terms point into them.
struct Program {
  std::deque<Ast> files;
  Module library, user;

  void add(const Ast& ast, Module& module, Diagnostics& diagnostics);
  void load_library(Diagnostics& diagnostics);
  void override_constants(const ElaborateOptions& options, Diagnostics& diagnostics);
};

void Program::add(const Ast& ast, Module& module, Diagnostics& diagnostics) {
  module.lost.insert(ast.lost.begin(), ast.lost.end());
  for (const ast::Declaration& declaration : ast.declarations) {
    const ast::Name* name = name_of(declaration);
    if (!name) continue;
    std::vector<Declared>& known = module.names[name->text];
    const auto is_function = [](const ast::Declaration& at) { return std::holds_alternative<ast::Function>(at.form); };
    if (!known.empty() && !(is_function(declaration) && is_function(*known.front().declaration))) {
      diagnostics.report({.code = Code::duplicate_name,
                          .message = fmt::format("`{}` is declared twice", name->text),
                          .primary = name->span,
                          .labels = {{name_of(*known.front().declaration)->span, "declared here first"}}});
      continue;
    }
    known.push_back({&declaration, &module});
    if (known.size() == 1 && !module.library && (library.find(name->text) || find_primitive(name->text)))
      diagnostics.report(
          {.code = Code::shadows_library,
           .message = fmt::format("`{}` has another meaning in the library; in this file it is this one", name->text),
           .primary = name->span});
  }
}

void Program::load_library(Diagnostics& diagnostics) {
  library.library = true;
  for (const EmbeddedFile& embedded : embedded_library()) {
    const std::uint32_t file = diagnostics.add_file(
        {.path = "std/" + std::string(embedded.name), .text = std::string(embedded.text), .library = true});
    add(files.emplace_back(parse(file, diagnostics)), library, diagnostics);
  }
}

/// What there is, for a name of the command line that is none of it.
std::string listed(std::string_view what, const std::vector<std::string>& names) {
  if (names.empty()) return fmt::format("there is no {}", what);
  return fmt::format("{}s: {}", what, fmt::join(names, ", "));
}

/// --set NAME=EXPRESSION replaces the constant's expression.
void Program::override_constants(const ElaborateOptions& options, Diagnostics& diagnostics) {
  for (const auto& [name, expression] : options.overrides) {
    const auto at = user.names.find(name);
    if (at == user.names.end() || !std::holds_alternative<ast::Const>(at->second.front().declaration->form)) {
      std::vector<std::string> known;
      for (const auto& [candidate, declared] : user.names)
        if (std::holds_alternative<ast::Const>(declared.front().declaration->form)) known.push_back(candidate);
      diagnostics.report({.code = Code::unknown_override,
                          .message = fmt::format("the file has no constant `{}`", name),
                          .primary = {diagnostics.add_file({.path = "--set", .text = ""}), 0, 0},
                          .notes = {listed("constant", known)},
                          .help = did_you_mean(name, known)});
      continue;
    }
    const std::uint32_t file =
        diagnostics.add_file({.path = "--set", .text = fmt::format("const {} = {}\n", name, expression)});
    const Ast& ast = files.emplace_back(parse(file, diagnostics));
    if (ast.declarations.size() == 1) at->second = {Declared{&ast.declarations.front(), &user}};
  }
}

/// Parses; the library first, so that user files can be compared with it.
void load(Program& program, const std::string& path, const ElaborateOptions& options, Diagnostics& diagnostics) {
  const std::uint32_t file = read_source(path, diagnostics);
  program.load_library(diagnostics);
  program.user.behind = &program.library;
  const Ast& ast = program.files.emplace_back(parse(file, diagnostics));
  program.user.ast = &ast;
  program.add(ast, program.user, diagnostics);
  program.override_constants(options, diagnostics);
  for (const ast::Declaration& declaration : ast.declarations) {
    if (std::holds_alternative<ast::Import>(declaration.form))
      report_not_built(NotBuilt::import_declaration, declaration.head, diagnostics);
    if (std::holds_alternative<ast::Test>(declaration.form))
      report_not_built(NotBuilt::test_block, declaration.head, diagnostics);
  }
}

/// A model alone, its inputs as declared.
std::optional<Graph> model_graph(Elaborator& elaborator, const Module& module, const Declared& declared) {
  const auto& model = std::get<ast::Model>(declared.declaration->form);
  Builder builder(model.name.text);
  GraphContext context{.builder = &builder, .stream = model.name.text};
  elaborator.set_graph(&context);
  elaborator.set_models({{model.name.text, ""}});
  Scope scope(module);
  scope.define("batch", Length{{batch_extent}});
  std::vector<Term> inputs;
  for (const ast::Param& param : model.inputs) {
    const auto type = param.type.tensor ? elaborator.resolve(param.type, scope) : std::nullopt;
    if (!type) {
      if (!param.type.tensor) elaborator.error(Code::type_mismatch, param.span, "an input of a model is a tensor");
      return std::nullopt;
    }
    inputs.push_back(elaborator.wrap(builder.leaf(Op::input, param.name.text, elaborator.type_of(*type)), type->axes));
  }
  const std::vector<Declared> self = {declared};
  const Term result = elaborator.apply(Callee{model.name.text, &self}, std::move(inputs), model.name.span, scope);
  if (const Array* array = result.as<Array>()) {
    builder.output(OutputKind::result, "result", elaborator.whole_node(*array));
  } else if (const Several* several = result.as<Several>()) {
    for (std::size_t i = 0; i < several->values.size(); ++i)
      if (const Array* one = several->values[i].as<Array>())
        builder.output(OutputKind::result, fmt::format("result{}", i + 1), elaborator.whole_node(*one));
  } else {
    return std::nullopt;
  }
  return elaborator.finish_graph();
}

/// Constants that nothing uses are checked too.
void check_constants(const Module& module, Diagnostics& diagnostics, const ElaborateOptions& options) {
  Elaborator elaborator(diagnostics, options);
  Builder builder("constants");
  GraphContext context{.builder = &builder, .stream = {}};
  elaborator.set_graph(&context);
  for (const ast::Declaration& declaration : module.ast->declarations)
    if (const auto* form = std::get_if<ast::Const>(&declaration.form))
      elaborator.constant(module.names.at(form->name.text).front());
}

/// Whether every input's dimensions are known without a caller. (Those that a capital stands for are its caller's.)
bool stands_alone(const ast::Model& model) {
  const auto known = [](auto&& self, const ast::Expr& expr) -> bool {
    if (const auto* use = std::get_if<ast::NameUse>(&expr.form)) return !(use->name[0] >= 'A' && use->name[0] <= 'Z');
    const auto* product = std::get_if<ast::Binary>(&expr.form);
    return !product || (self(self, *product->left) && self(self, *product->right));
  };
  return std::ranges::all_of(model.inputs, [&](const ast::Param& param) {
    return std::ranges::all_of(param.type.dims, [&](const ast::Dim& dim) {
      return dim.kind == ast::Dim::Kind::expression && known(known, *dim.value);
    });
  });
}

std::string block_name(const ast::Train& train) {
  if (train.as) return train.as->text;
  return train.models.empty() ? "" : train.models.front().text;
}

}  // namespace

std::vector<Elaborated> elaborate_file(const std::string& path, const ElaborateOptions& options,
                                       Diagnostics& diagnostics) {
  Program program;
  load(program, path, options, diagnostics);
  check_constants(program.user, diagnostics, options);
  std::vector<Elaborated> blocks;
  std::vector<std::string> names, trained, used;
  for (const ast::Declaration& declaration : program.user.ast->declarations) {
    const auto* train = std::get_if<ast::Train>(&declaration.form);
    if (!train) continue;
    const std::string name = block_name(*train);
    if (std::ranges::find(names, name) != names.end())
      diagnostics.report({.code = Code::duplicate_name,
                          .message = fmt::format("two train blocks are called `{}`", name),
                          .primary = declaration.head,
                          .help = "name one of them: `train Model on data as name { ... }`"});
    names.push_back(name);
    if (!options.train_block.empty() && options.train_block != name) continue;
    Elaborator elaborator(diagnostics, options);
    auto block = elaborate_train(elaborator, program.user, declaration);
    if (!block) continue;
    for (const ast::Name& model : train->models) trained.push_back(model.text);
    used.push_back(train->data.text);
    blocks.push_back(std::move(*block));
  }
  if (!options.train_block.empty() && std::ranges::find(names, options.train_block) == names.end())
    diagnostics.report({.code = Code::unknown_name,
                        .message = fmt::format("there is no train block `{}`", options.train_block),
                        .primary = {diagnostics.add_file({.path = path, .text = ""}), 0, 0},
                        .notes = {listed("train block", names)},
                        .help = did_you_mean(options.train_block, names)});
  // What no train block uses, or only one that failed, is checked as declared.
  std::vector<std::string> data_names;
  for (const ast::Declaration& declaration : program.user.ast->declarations) {
    const auto* data = std::get_if<ast::Data>(&declaration.form);
    if (!data) continue;
    if (std::ranges::find(data_names, data->name.text) != data_names.end())
      diagnostics.report({.code = Code::duplicate_name,
                          .message = fmt::format("two data blocks are called `{}`", data->name.text),
                          .primary = declaration.head});
    data_names.push_back(data->name.text);
    if (std::ranges::find(used, data->name.text) != used.end()) continue;
    Elaborator elaborator(diagnostics, options);
    elaborate_data(elaborator, program.user, declaration);
  }
  for (const ast::Declaration& declaration : program.user.ast->declarations) {
    const auto* model = std::get_if<ast::Model>(&declaration.form);
    if (!model || !stands_alone(*model) || std::ranges::find(trained, model->name.text) != trained.end()) continue;
    Elaborator elaborator(diagnostics, options);
    model_graph(elaborator, program.user, {&declaration, &program.user});
  }
  for (const ast::Declaration& declaration : program.user.ast->declarations)
    check_names(program.user, declaration, diagnostics);
  if (diagnostics.has_errors()) return {};
  return blocks;
}

std::optional<Graph> elaborate_model(const std::string& path, const std::string& model, const ElaborateOptions& options,
                                     Diagnostics& diagnostics) {
  Program program;
  load(program, path, options, diagnostics);
  std::vector<std::string> names;
  std::optional<Graph> graph;
  for (const ast::Declaration& declaration : program.user.ast->declarations) {
    const auto* form = std::get_if<ast::Model>(&declaration.form);
    if (!form) continue;
    names.push_back(form->name.text);
    if (!(model.empty() ? names.size() == 1 : model == form->name.text)) continue;
    Elaborator elaborator(diagnostics, options);
    graph = model_graph(elaborator, program.user, {&declaration, &program.user});
  }
  if (names.empty() || (!model.empty() && std::ranges::find(names, model) == names.end()))
    diagnostics.report(
        {.code = Code::unknown_name,
         .message = model.empty() ? "the file has no model" : fmt::format("there is no model `{}`", model),
         .primary = {program.user.ast->file, 0, 0},
         .help = did_you_mean(model, names)});
  if (diagnostics.has_errors()) return std::nullopt;
  return graph;
}

}  // namespace nnc
