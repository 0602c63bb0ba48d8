// The files of a program: the one that was asked for, what it imports, and the library behind them. A file sees its own
// declarations, those of the files that it imports (not what they import themselves), and the library's.
#pragma once

#include <deque>
#include <string>
#include <vector>

#include "frontend/elaborator.h"

namespace nnc {

/// Syntax and modules stay where they are: terms point into them.
class SourceProgram {
 public:
  /// Parses the file, the files that it imports, and the library; gives constants the values of --set. What is wrong
  /// with a file is reported; what could be read is there.
  SourceProgram(const std::string& path, const ElaborateOptions& options, Diagnostics& diagnostics);

  const Module& user() const { return *modules_.front(); }
  /// The file itself and all files that it needs, each once, in the order in which they were first named.
  const std::vector<Module*>& modules() const { return modules_; }
  std::vector<SourceFile> sources() const;
  bool imports_from_root() const { return imports_from_root_; }

 private:
  Module& load(const std::string& path, std::uint32_t file);
  void add(const Ast& ast, Module& module);
  void load_library();
  void import(Module& module, const ast::Import& form);
  Module* import_target(const Module& module, const ast::Import& form);
  void check_clashes(const Module& module, const ast::Import& form, const Module& imported);
  void override_constants();

  const ElaborateOptions& options_;
  Diagnostics& diagnostics_;
  std::deque<Ast> files_;
  std::deque<Module> stored_;
  std::vector<Module*> modules_;
  Module library_;
  std::vector<Module*> open_;  ///< being loaded: each imports the next
  bool imports_from_root_ = false;
};

/// The name that a declaration gives to expressions, or null (imports, train and test blocks).
const ast::Name* name_of(const ast::Declaration& declaration);

}  // namespace nnc
