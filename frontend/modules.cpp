#include "frontend/modules.h"

#include <fmt/format.h>

#include <algorithm>
#include <filesystem>

#include "frontend/parser.h"
#include "frontend/primitives.h"
#include "frontend/std/embedded.h"
#include "ir/nearest.h"

namespace nnc {

namespace {

namespace fs = std::filesystem;

bool is_constant(const Declared& declared) { return std::holds_alternative<ast::Const>(declared.declaration->form); }

/// Data blocks belong to the file that trains on them.
bool is_exported(const Declared& declared) { return !std::holds_alternative<ast::Data>(declared.declaration->form); }

std::string listed_constants(const std::vector<std::string>& names) {
  if (names.empty()) return "there is no constant";
  return fmt::format("constants: {}", fmt::join(names, ", "));
}

}  // namespace

namespace {

/// Whether every argument that suits a parameter of the type `narrow` suits one of the type `wide` (see `suits` in
/// elaborate_calls.cpp, where calls choose).
bool takes_all_of(const ast::TypeExpr& wide, const ast::TypeExpr& narrow) {
  using enum ast::TypeExpr::Base;
  if (wide.tensor != narrow.tensor) return false;
  if (wide.base == narrow.base) return true;
  return wide.base == floating &&
         (narrow.base == f32 || narrow.base == f64 || (!wide.tensor && narrow.base == integer));
}

/// The earlier function that every call by position which suits `declaration` finds first, or null.
const ast::Declaration* hides(const std::vector<Declared>& known, const ast::Declaration& declaration) {
  const auto* later = std::get_if<ast::Function>(&declaration.form);
  for (const Declared& declared : known) {
    const auto* earlier = std::get_if<ast::Function>(&declared.declaration->form);
    if (!later || !earlier || declared.declaration->damaged || declaration.damaged) continue;
    const std::vector<ast::Param>&a = earlier->inputs, &b = later->inputs;
    bool all = b.size() <= a.size();
    for (std::size_t i = 0; i < a.size() && all; ++i) {
      const bool needed = !a[i].value;
      all = i < b.size() ? takes_all_of(a[i].type, b[i].type) && !(needed && b[i].value) : !needed;
    }
    if (all) return declared.declaration;
  }
  return nullptr;
}

}  // namespace

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

// ---- what a file sees ----------------------------------------------------------------------------------------------

const std::vector<Declared>* Module::find(const std::string& name) const {
  if (const auto at = names.find(name); at != names.end()) return &at->second;
  for (const Module* imported : imports)
    if (const auto at = imported->names.find(name); at != imported->names.end() && is_exported(at->second.front()))
      return &at->second;
  return behind ? behind->find(name) : nullptr;
}

bool Module::excuses(const std::string& name) const {
  return incomplete || lost.contains(name) || lost.contains("") ||
         std::ranges::any_of(imports, [&](const Module* imported) { return imported->lost.contains(name); });
}

void Module::visible(std::vector<std::string>& into) const {
  for (const auto& [name, declared] : names) into.push_back(name);
  for (const Module* imported : imports)
    for (const auto& [name, declared] : imported->names)
      if (is_exported(declared.front())) into.push_back(name);
  if (behind) behind->visible(into);
}

// ---- reading -------------------------------------------------------------------------------------------------------

SourceProgram::SourceProgram(const std::string& path, const ElaborateOptions& options, Diagnostics& diagnostics)
    : options_(options), diagnostics_(diagnostics) {
  const std::uint32_t file = read_source(path, diagnostics_);
  load_library();
  load(fs::path(path).lexically_normal().string(), file);
  override_constants();
}

void SourceProgram::load_library() {
  library_.library = true;
  for (const EmbeddedFile& embedded : embedded_library()) {
    const std::uint32_t file = diagnostics_.add_file(
        {.path = "std/" + std::string(embedded.name), .text = std::string(embedded.text), .library = true});
    add(files_.emplace_back(parse(file, diagnostics_)), library_);
  }
}

void SourceProgram::add(const Ast& ast, Module& module) {
  module.lost.insert(ast.lost.begin(), ast.lost.end());
  for (const ast::Declaration& declaration : ast.declarations) {
    const ast::Name* name = name_of(declaration);
    if (!name) continue;
    std::vector<Declared>& known = module.names[name->text];
    const auto is_function = [](const ast::Declaration& at) { return std::holds_alternative<ast::Function>(at.form); };
    if (!known.empty() && !(is_function(declaration) && is_function(*known.front().declaration))) {
      diagnostics_.report({.code = Code::duplicate_name,
                           .message = fmt::format("`{}` is declared twice", name->text),
                           .primary = name->span,
                           .labels = {{name_of(*known.front().declaration)->span, "declared here first"}}});
      continue;
    }
    if (const ast::Declaration* earlier = hides(known, declaration)) {
      diagnostics_.report({.code = Code::duplicate_name,
                           .message = fmt::format("`{}` is declared twice for the same arguments", name->text),
                           .primary = name->span,
                           .primary_label = "no call would reach this one",
                           .labels = {{name_of(*earlier)->span, "this one takes them all"}},
                           .help = "overloads differ in element types or in which arguments are given, not in shapes"});
      continue;
    }
    known.push_back({&declaration, &module});
    if (known.size() == 1 && !module.library && (library_.find(name->text) || find_primitive(name->text)))
      diagnostics_.report(
          {.code = Code::shadows_library,
           .message = fmt::format("`{}` has another meaning in the library; in this file it is this one", name->text),
           .primary = name->span});
  }
}

/// The file and what it imports. While it is open, an import of it is a cycle.
Module& SourceProgram::load(const std::string& path, std::uint32_t file) {
  Module& module = stored_.emplace_back();
  module.path = path;
  module.behind = &library_;
  modules_.push_back(&module);
  const Ast& ast = files_.emplace_back(parse(file, diagnostics_));
  module.ast = &ast;
  add(ast, module);
  open_.push_back(&module);
  for (const ast::Declaration& declaration : ast.declarations)
    if (const auto* form = std::get_if<ast::Import>(&declaration.form)) import(module, *form);
  open_.pop_back();
  return module;
}

void SourceProgram::import(Module& module, const ast::Import& form) {
  Module* imported = import_target(module, form);
  if (!imported) {
    module.incomplete = true;
    return;
  }
  if (std::ranges::find(module.imports, imported) != module.imports.end()) {
    diagnostics_.report({.code = Code::unused_name,
                         .message = fmt::format("{} is imported twice", backquoted(form.path)),
                         .primary = form.path_span});
    return;
  }
  check_clashes(module, form, *imported);
  module.imports.push_back(imported);
  module.import_spans.push_back(form.path_span);
}

/// The module that an import names, read now if this is the first time; null, with a message, where that cannot be.
Module* SourceProgram::import_target(const Module& module, const ast::Import& form) {
  const bool from_root = fs::path(form.path).is_absolute();
  imports_from_root_ = imports_from_root_ || from_root;
  fs::path path = fs::path(module.path).parent_path() / form.path;
  if (from_root && !options_.import_root.empty())
    path = fs::path(options_.import_root) / fs::path(form.path).relative_path();
  const std::string name = path.lexically_normal().string();
  const auto same_file = [&](const Module* other) {
    std::error_code unknown;
    return other->path == name || fs::equivalent(other->path, name, unknown);
  };
  if (const auto circle = std::ranges::find_if(open_, same_file); circle != open_.end()) {
    std::string chain;
    for (auto at = circle; at != open_.end(); ++at) chain += (*at)->path + " -> ";
    diagnostics_.report({.code = Code::recursive,
                         .message = fmt::format("{} imports itself", backquoted((*circle)->path)),
                         .primary = form.path_span,
                         .notes = {chain + (*circle)->path},
                         .help = "put what both files need into a third one"});
    return nullptr;
  }
  for (Module* known : modules_)
    if (known->path == name) return known;
  const std::size_t errors = diagnostics_.error_count();
  const std::uint32_t file = read_source(name, diagnostics_, form.path_span);
  return diagnostics_.error_count() == errors ? &load(name, file) : nullptr;
}

/// A name of two imports is an error; one that this file gives a meaning of its own is a warning.
void SourceProgram::check_clashes(const Module& module, const ast::Import& form, const Module& imported) {
  const Module* clash = nullptr;
  std::vector<std::string> common;
  for (const auto& [name, declared] : imported.names) {
    if (!is_exported(declared.front())) continue;
    if (const auto own = module.names.find(name); own != module.names.end()) {
      diagnostics_.report({.code = Code::shadows_library,
                           .message = fmt::format("`{}` has another meaning in {}; in this file it is this one", name,
                                                  backquoted(imported.path)),
                           .primary = name_of(*own->second.front().declaration)->span});
      continue;
    }
    for (const Module* other : module.imports)
      if (const auto at = other->names.find(name);
          at != other->names.end() && is_exported(at->second.front()) && (!clash || clash == other)) {
        clash = other;
        common.push_back(fmt::format("`{}`", name));
      }
  }
  if (!clash) return;
  std::ranges::sort(common);
  diagnostics_.report({.code = Code::duplicate_name,
                       .message = fmt::format("{} and {} both declare {}", backquoted(clash->path),
                                              backquoted(imported.path), fmt::join(common, ", ")),
                       .primary = form.path_span,
                       .help = "a name can have one meaning in a file; rename it in one of the two"});
}

/// --set NAME=EXPRESSION replaces the constant's expression, in the first file that declares it.
void SourceProgram::override_constants() {
  for (const auto& [name, expression] : options_.overrides) {
    const auto has = [&](Module* module) {
      const auto at = module->names.find(name);
      return at != module->names.end() && is_constant(at->second.front());
    };
    const auto owner = std::ranges::find_if(modules_, has);
    if (owner == modules_.end()) {
      std::vector<std::string> known;
      for (const Module* module : modules_)
        for (const auto& [candidate, declared] : module->names)
          if (is_constant(declared.front())) known.push_back(candidate);
      std::ranges::sort(known);
      diagnostics_.report({.code = Code::unknown_override,
                           .message = fmt::format("the file has no constant `{}`", name),
                           .primary = {diagnostics_.add_file({.path = "--set", .text = ""}), 0, 0},
                           .notes = {listed_constants(known)},
                           .help = did_you_mean(name, known)});
      continue;
    }
    const std::uint32_t file =
        diagnostics_.add_file({.path = "--set", .text = fmt::format("const {} = {}\n", name, expression)});
    const Ast& ast = files_.emplace_back(parse(file, diagnostics_));
    if (ast.declarations.size() == 1) (*owner)->names.at(name) = {Declared{&ast.declarations.front(), *owner}};
  }
}

std::vector<SourceFile> SourceProgram::sources() const {
  std::vector<SourceFile> files;
  for (const Module* module : modules_) {
    files.push_back(diagnostics_.file(module->ast->file));
    files.back().path = module->path;
  }
  return files;
}

}  // namespace nnc
