// A `train` block under elaboration: its settings become a TrainJob, and its expressions are elaborated three times
// over one table of parameters: as the training step (with gradients and the optimizers), as the evaluation of a whole
// split (losses and metrics), and as the prediction of a row (outputs).
//
//   elaborate_train.cpp   the block and its three graphs, metrics and outputs
//   train_settings.cpp    what the words on the left mean
//   train_paths.cpp       optimizer(Net.Body) = ..., loss(Gen) = ...: which of them a parameter obeys
//   train_updates.cpp     gradients, clipping, optimizers, averages
//   train_rules.cpp       early_stop, best and stop: what is watched
#pragma once

#include <map>
#include <optional>
#include <set>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include "frontend/elaborate_data.h"
#include "frontend/elaborator.h"
#include "ir/nearest.h"

namespace nnc {

enum class TrainKey : std::uint8_t {
  loss,
  optimizer,
  batch_size,
  shuffle,
  epochs,
  seed,
  check_every,
  early_stop,
  stop,
  best,
  clip_norm,
  average
};

/// All words on the left in a train block.
void train_setting_names(std::vector<std::string>& into);

class TrainBlock {
 public:
  TrainBlock(Elaborator& elaborator, const Module& module, const ast::Declaration& declaration)
      : e_(elaborator), module_(module), declaration_(declaration), train_(std::get<ast::Train>(declaration.form)) {}

  std::optional<Elaborated> elaborate();

 private:
  enum class Which : std::uint8_t { step, evaluate, predict };

  /// One of the three graphs and the names that its expressions see.
  struct Pass {
    Which which;
    Builder builder;
    WrittenCalls written;
    GraphContext context;
    Scope around, scope;

    Pass(Which which_graph, std::string name, const Module& module)
        : which(which_graph), builder(name), around(module), scope(around) {
      context.builder = &builder;
      context.stream = std::move(name);
    }
  };

  /// A loss or an optimizer, and the part of the models that it is for: a path as parameters have it, "" for all.
  struct Governor {
    std::string path;
    std::string written;  ///< "Net.Body"; empty where no path is written
    const ast::Setting* form = nullptr;
    Span span;                   ///< of the word and its path
    std::string name;            ///< a loss: "loss", "loss(Gen)"
    bool frozen = false;         ///< an optimizer
    std::optional<Array> value;  ///< a loss, in the step's graph
  };
  /// A parameter that is trained: by which optimizer and which loss.
  struct Trained {
    std::size_t variable;
    std::string path;
    Array p;
    const Governor* optimizer;
    const Governor* loss;
    std::optional<Value> gradient;
  };

  Failed error(Code code, Span span, std::string message, std::string help = "") {
    return e_.error(code, span, std::move(message), "", std::move(help));
  }

  // elaborate_train.cpp
  bool resolve_names();
  Graph pass(Which which, const std::string& name);
  Graph undo_columns();
  void bind_columns(Pass& pass);
  Term undo_call(CallSite& site);
  void compare_variables(const Pass& pass);
  void measure(const ast::Measure& form, Pass& pass);
  void loss(const ast::Setting& form, Pass& pass);
  std::string predicted_classes(const Graph& evaluate, const Graph& predict) const;

  // train_settings.cpp
  void setting(const ast::Setting& form, Pass& pass);
  void unknown_setting(const ast::Name& name);
  void plain_setting(TrainKey key, const ast::Setting& form, Pass& pass);
  bool told_slip(const ast::NameUse& use, Span span, const std::string& word, Pass& pass);
  std::optional<std::int64_t> count(const ast::Setting& form, const ast::Expr& written, Pass& pass, std::int64_t least);
  void check_missing();
  const Span* find_let(std::string_view name) const;

  // train_paths.cpp
  void find_governors();
  std::optional<std::string> resolve_path(const ast::Setting& form);
  const Governor* governor(const std::vector<Governor>& all, const std::string& path) const;
  bool is_frozen(const std::string& path) const;
  bool names_frozen(const ast::Expr& value) const;
  void check_paths();
  void check_path(const Governor& governor);

  // train_updates.cpp
  void update(Pass& pass);
  std::vector<Trained> trained();
  void find_gradient(Trained& one);
  void set_parameter(const Trained& one, const Array& next, const Term& averager);
  void update_jointly(std::span<Trained*> all, const OptimizerInstance& optimizer, const Term& averager);
  void clip(std::vector<Trained>& all, Pass& pass);
  Term evaluate_optimizer(const ast::Setting& form, Pass& pass, std::size_t inputs, const std::string& word);
  void average(const Trained& one, const Array& next, const Term& averager);

  // train_rules.cpp
  std::optional<Watch> watch(const ast::Setting& form, Pass& pass, bool patient);
  std::optional<Rule> stop_rule(const ast::Setting& form, Pass& pass);
  std::optional<Rule> rule(const ast::Expr& expr, Pass& pass);
  std::optional<std::string> figure(const ast::Expr& expr);
  bool watches(const ast::Expr& expr) const;
  void check_figures(const Graph& evaluate);

  Elaborator& e_;
  const Module& module_;
  const ast::Declaration& declaration_;
  const ast::Train& train_;
  const ast::Declaration* data_declaration_ = nullptr;
  std::size_t errors_before_ = 0;
  ElaboratedData data_;
  TrainJob job_;
  Outline outline_;
  std::map<std::string, std::string> model_paths_;  ///< the models of the block and what their paths begin with
  std::map<TrainKey, Span> given_;
  std::set<TrainKey> meant_;  ///< by settings whose names are not quite right
  std::vector<Governor> losses_, optimizers_;
  std::set<std::string> variables_of_step_;  ///< of layers and models
  const ast::Setting *clip_norm_ = nullptr, *average_ = nullptr;
  std::map<std::string, std::pair<ast::Measure::Kind, Span>> measures_;
  std::vector<std::pair<std::string, Span>> figures_;  ///< what rules watch, checked when all metrics are known
};

}  // namespace nnc
