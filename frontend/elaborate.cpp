// A file, its library and its train blocks: which names there are, and what is elaborated in which order.
#include "frontend/elaborate.h"

#include <fmt/format.h>

#include <algorithm>
#include <set>

#include "frontend/elaborate_data.h"
#include "frontend/elaborator.h"
#include "frontend/modules.h"
#include "ir/nearest.h"

namespace nnc {

namespace {

/// What there is, for a name of the command line that is none of it.
std::string listed(std::string_view what, const std::vector<std::string>& names) {
  if (names.empty()) return fmt::format("there is no {}", what);
  return fmt::format("{}s: {}", what, fmt::join(names, ", "));
}

/// The graph of a model that is applied to leaves; `names` has a name for each result, "" where it has none.
std::optional<Graph> applied_to(Elaborator& elaborator, const Declared& declared, std::vector<Term> inputs,
                                const std::vector<std::string>& names, Scope& scope) {
  const auto& model = std::get<ast::Model>(declared.declaration->form);
  Builder& builder = *elaborator.graph().builder;
  const std::vector<Declared> self = {declared};
  const Term result = elaborator.apply(Callee{model.name.text, &self}, std::move(inputs), model.name.span, scope);
  const auto output = [&](std::size_t i, const std::string& otherwise, const Array& value) {
    const bool named = i < names.size() && !names[i].empty();
    builder.output(OutputKind::result, named ? names[i] : otherwise, elaborator.whole_node(value));
  };
  if (const Array* array = result.as<Array>()) {
    output(0, "result", *array);
  } else if (const Several* several = result.as<Several>()) {
    for (std::size_t i = 0; i < several->values.size(); ++i)
      if (const Array* one = several->values[i].as<Array>()) output(i, fmt::format("result{}", i + 1), *one);
  } else {
    return std::nullopt;
  }
  return elaborator.finish_graph();
}

/// A model alone, its inputs as declared. `touched` takes the parameters and states that it reads.
std::optional<Graph> model_graph(Elaborator& elaborator, const Module& module, const Declared& declared,
                                 bool training = false, std::set<std::string>* touched = nullptr) {
  const auto& model = std::get<ast::Model>(declared.declaration->form);
  Builder builder(model.name.text);
  GraphContext context{
      .builder = &builder, .training = training, .trains = training, .scalars = training, .stream = model.name.text};
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
  auto graph = applied_to(elaborator, declared, std::move(inputs), {}, scope);
  if (touched)
    for (const auto& [path, kind] : context.touched) touched->insert(path);
  return graph;
}

/// A model that nothing trains, as training and as prediction would see it.
void check_model(Elaborator& elaborator, const Module& module, const Declared& declared) {
  const std::size_t errors = elaborator.diagnostics.error_count();
  const auto fine = [&] { return elaborator.diagnostics.error_count() == errors && !declared.declaration->damaged; };
  std::set<std::string> trained, predicted;
  model_graph(elaborator, module, declared, true, &trained);
  if (fine()) elaborator.freeze_variables();
  model_graph(elaborator, module, declared, false, &predicted);
  if (!fine()) return;
  for (const std::string& path : trained)
    if (!predicted.contains(path))
      elaborator.error(Code::bad_variable, declared.declaration->head,
                       fmt::format("`{}` exists only where `training` is true", path), "",
                       "both values of `training` must make the same parameters and states");
}

using Applied = std::set<const ast::Declaration*>;

/// Constants that nothing uses are checked too.
void check_constants(const Module& module, Diagnostics& diagnostics, const ElaborateOptions& options,
                     Applied& applied) {
  Elaborator elaborator(diagnostics, options);
  Builder builder("constants");
  GraphContext context{.builder = &builder, .stream = {}};
  elaborator.set_graph(&context);
  for (const ast::Declaration& declaration : module.ast->declarations)
    if (const auto* form = std::get_if<ast::Const>(&declaration.form))
      elaborator.constant(module.names.at(form->name.text).front());
  applied.merge(elaborator.applied);
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

/// Test blocks, and again with f64 in place of f32 those that check gradients.
void check_tests(const Module& module, const ElaborateOptions& options, Diagnostics& diagnostics,
                 ElaboratedTests& tests, Applied& applied) {
  ElaborateOptions exact = options;
  exact.double_precision = true;
  std::set<std::string> titles;
  for (const ast::Declaration& declaration : module.ast->declarations) {
    const auto* test = std::get_if<ast::Test>(&declaration.form);
    if (!test || declaration.damaged) continue;
    if (!titles.insert(test->title).second)
      diagnostics.report({.code = Code::duplicate_name,
                          .message = fmt::format("two tests are called {}", backquoted(test->title)),
                          .primary = declaration.head});
    Elaborator elaborator(diagnostics, options);
    tests.tests.push_back(elaborate_test(elaborator, module, declaration, false));
    applied.merge(elaborator.applied);
    tests.for_gradients.emplace_back();
    if (tests.tests.back().gradients.empty()) continue;
    Elaborator again(diagnostics, exact);
    tests.for_gradients.back() = elaborate_test(again, module, declaration, true);
  }
}

/// What the values of a body's last `return` are called: names where they are no more than that, and all are different.
std::vector<std::string> returned_names(const ast::Model& model) {
  std::vector<std::string> names;
  std::set<std::string> taken;
  for (const ast::Param& input : model.inputs) taken.insert(input.name.text);
  for (const ast::Statement& statement : model.body.statements)
    if (const auto* form = std::get_if<ast::Return>(&statement.form))
      for (const ast::ExprPtr& value : form->values) {
        const auto* use = std::get_if<ast::NameUse>(&value->form);
        names.push_back(use && taken.insert(use->name).second ? use->name : "");
      }
  return names;
}

std::string block_name(const ast::Train& train) {
  if (train.as) return train.as->text;
  return train.models.empty() ? "" : train.models.front().text;
}

}  // namespace

std::optional<Graph> model_as_applied(Elaborator& elaborator, const Module& module, const Declared& declared) {
  const auto& model = std::get<ast::Model>(declared.declaration->form);
  const auto known = elaborator.model_inputs.find(model.name.text);
  if (known == elaborator.model_inputs.end()) return std::nullopt;
  Builder builder(model.name.text);
  GraphContext context{.builder = &builder, .averages = true, .stream = model.name.text};
  GraphContext* outside = elaborator.set_graph(&context);
  Scope scope(module);
  scope.define("batch", Length{{batch_extent}});
  std::vector<Term> inputs;
  for (std::size_t i = 0; i < model.inputs.size(); ++i) {
    const ArrayType& type = known->second[i];
    inputs.push_back(
        elaborator.wrap(builder.leaf(Op::input, model.inputs[i].name.text, elaborator.type_of(type)), type.axes));
  }
  auto graph = applied_to(elaborator, declared, std::move(inputs), returned_names(model), scope);
  elaborator.set_graph(outside);
  return graph;
}

namespace {

/// Everything that can be said about a program; `tests` takes its test blocks.
std::vector<Elaborated> elaborate_all(const SourceProgram& program, const std::string& path,
                                      const ElaborateOptions& options, Diagnostics& diagnostics,
                                      ElaboratedTests& tests) {
  const Module& user = program.user();
  Applied applied;
  for (const Module* module : program.modules()) check_constants(*module, diagnostics, options, applied);
  std::vector<Elaborated> blocks;
  std::vector<std::string> names, trained, tried, used;
  for (const ast::Declaration& declaration : user.ast->declarations) {
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
    for (const ast::Name& model : train->models) tried.push_back(model.text);
    Elaborator elaborator(diagnostics, options);
    auto block = elaborate_train(elaborator, user, declaration);
    applied.merge(elaborator.applied);
    if (!block) continue;
    for (const ast::Name& model : train->models) trained.push_back(model.text);
    used.push_back(train->data.text);
    block->sources = program.sources();
    for (const Module* module : program.modules()) block->source_numbers.push_back(module->ast->file);
    block->imports_from_root = program.imports_from_root();
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
  for (const ast::Declaration& declaration : user.ast->declarations) {
    const auto* data = std::get_if<ast::Data>(&declaration.form);
    if (!data) continue;
    if (std::ranges::find(data_names, data->name.text) != data_names.end())
      diagnostics.report({.code = Code::duplicate_name,
                          .message = fmt::format("two data blocks are called `{}`", data->name.text),
                          .primary = declaration.head});
    data_names.push_back(data->name.text);
    if (std::ranges::find(used, data->name.text) != used.end()) continue;
    Elaborator elaborator(diagnostics, options);
    elaborate_data(elaborator, user, declaration);
    applied.merge(elaborator.applied);
  }
  for (const ast::Declaration& declaration : user.ast->declarations) {
    const auto* model = std::get_if<ast::Model>(&declaration.form);
    if (!model || !stands_alone(*model) || std::ranges::find(trained, model->name.text) != trained.end()) continue;
    Elaborator elaborator(diagnostics, options);
    if (std::ranges::find(tried, model->name.text) == tried.end())
      check_model(elaborator, user, {&declaration, &user});
    else
      model_graph(elaborator, user, {&declaration, &user});
    applied.merge(elaborator.applied);
  }
  Applied tested;
  check_tests(user, options, diagnostics, tests, tested);
  for (const Module* module : program.modules())
    for (const ast::Declaration& declaration : module->ast->declarations) {
      check_names(*module, declaration, diagnostics);
      if (applied.contains(&declaration)) continue;
      const bool only_tested = tested.contains(&declaration);
      if (!only_tested || !module->library) check_declared(*module, declaration, options, diagnostics, only_tested);
    }
  if (diagnostics.has_errors()) return {};
  for (const Module* module : program.modules()) check_unused(*module, module == &user && !names.empty(), diagnostics);
  return blocks;
}

}  // namespace

std::vector<Elaborated> elaborate_file(const std::string& path, const ElaborateOptions& options,
                                       Diagnostics& diagnostics) {
  const SourceProgram program(path, options, diagnostics);
  ElaboratedTests tests;
  return elaborate_all(program, path, options, diagnostics, tests);
}

ElaboratedTests elaborate_tests(const std::string& path, const ElaborateOptions& options, Diagnostics& diagnostics) {
  const SourceProgram program(path, options, diagnostics);
  ElaboratedTests tests;
  elaborate_all(program, path, options, diagnostics, tests);
  if (diagnostics.has_errors()) return {};
  return tests;
}

std::optional<Graph> elaborate_model(const std::string& path, const std::string& model, const ElaborateOptions& options,
                                     Diagnostics& diagnostics) {
  const SourceProgram program(path, options, diagnostics);
  const Module& user = program.user();
  std::vector<std::string> names;
  std::optional<Graph> graph;
  for (const ast::Declaration& declaration : user.ast->declarations) {
    const auto* form = std::get_if<ast::Model>(&declaration.form);
    if (!form) continue;
    names.push_back(form->name.text);
    if (!(model.empty() ? names.size() == 1 : model == form->name.text)) continue;
    Elaborator elaborator(diagnostics, options);
    graph = model_graph(elaborator, user, {&declaration, &user});
  }
  if (names.empty() || (!model.empty() && std::ranges::find(names, model) == names.end()))
    diagnostics.report(
        {.code = Code::unknown_name,
         .message = model.empty() ? "the file has no model" : fmt::format("there is no model `{}`", model),
         .primary = {user.ast->file, 0, 0},
         .help = did_you_mean(model, names)});
  if (diagnostics.has_errors()) return std::nullopt;
  return graph;
}

}  // namespace nnc
