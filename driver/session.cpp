#include "driver/session.h"

#include <fmt/format.h>

#include <algorithm>
#include <set>
#include <stdexcept>

#include "passes/pipeline.h"

namespace nnc::driver {

namespace {

std::string name_of(EntryKind kind) {
  switch (kind) {
    case EntryKind::init:
      return "init";
    case EntryKind::fit:
      return "fit";
    case EntryKind::fit_finish:
      return "fit_finish";
    case EntryKind::feed:
      return "feed";
    case EntryKind::step:
      return "step";
    case EntryKind::grads:
      return "grads";
    case EntryKind::update:
      return "update";
    case EntryKind::pack:
      return "pack";
    case EntryKind::unpack:
      return "unpack";
    case EntryKind::evaluate:
      return "evaluate";
    case EntryKind::evaluate_finish:
      return "evaluate_finish";
    case EntryKind::predict_feed:
      return "predict_feed";
    case EntryKind::predict:
      return "predict";
  }
  return "";
}

void add_checks(const Graph& graph, std::vector<RangeCheck>& checks) {
  for (const Obligation& obligation : graph.obligations)
    checks.push_back({obligation.input, obligation.low, obligation.high});
}

}  // namespace

int threads_of(const Program& program) {
  std::int64_t most = 1;
  for (const Kernel& kernel : program.kernels) most = std::max(most, kernel.schedule.parallel);
  return static_cast<int>(most);
}

Session::Session(const Elaborated& model, const Compilation& compilation, std::int64_t step_rows)
    : model_(model), compilation_(compilation) {
  options_.machine = compilation.host.machine;
  options_.threads = compilation.threads;
  options_.in_one_piece = true;
  for (const Variable& variable : model.variables)
    (variable.is_state ? options_.state : options_.params).emplace_back(variable.path, variable.type);
  fit_ = blockwise(optimise(model.fit));
  evaluate_ = blockwise(optimise(model.evaluate));
  for (const Blockwise* blocks : {&fit_, &evaluate_})
    carry_start_.insert(blocks->carry_start.begin(), blocks->carry_start.end());
  for (const Output& output : model.feed.outputs) {
    std::set<std::string> names = inputs_of(with_outputs(model.feed, {output.name}));
    inputs_of_columns_[output.name] = {names.begin(), names.end()};
  }
  LowerOptions choose = options_;
  choose.rows = step_rows;
  layouts_ = layouts_of(lower(optimised(EntryKind::step, 0), "step", choose));
}

Programs Session::programs() {
  Programs programs;
  programs.entry = [this](EntryKind kind, int pass, std::int64_t rows) { return entry(kind, pass, rows); };
  programs.fit_passes = static_cast<int>(fit_.passes.size());
  programs.evaluate_passes = static_cast<int>(evaluate_.passes.size());
  programs.carry_start = carry_start_;
  return programs;
}

Graph Session::graph_of(EntryKind kind, int pass) {
  switch (kind) {
    case EntryKind::init:
      return optimise(model_.init);
    case EntryKind::fit:
      return fit_.passes[static_cast<std::size_t>(pass)];
    case EntryKind::fit_finish:
      return fit_.finish;
    case EntryKind::feed:
      return optimise(model_.feed);
    case EntryKind::step:
      return optimise(model_.step);
    case EntryKind::grads:
      return optimise(separate(model_.step).grads);
    case EntryKind::update:
      return optimise(separate(model_.step).update);
    case EntryKind::pack:
      return optimise(packing(options_.params, options_.state).pack);
    case EntryKind::unpack:
      return optimise(packing(options_.params, options_.state).unpack);
    case EntryKind::evaluate:
      return evaluate_.passes[static_cast<std::size_t>(pass)];
    case EntryKind::evaluate_finish:
      return evaluate_.finish;
    case EntryKind::predict_feed:
      return optimise(with_outputs(model_.feed, inputs_of(model_.predict)));
    case EntryKind::predict:
      return optimise(model_.predict);
  }
  throw std::logic_error("an entry of no kind");
}

const Graph& Session::optimised(EntryKind kind, int pass) {
  auto found = graphs_.find({kind, pass});
  if (found == graphs_.end()) found = graphs_.emplace(std::pair(kind, pass), graph_of(kind, pass)).first;
  return found->second;
}

Program Session::lower_graph(const Graph& opt, EntryKind kind, std::int64_t rows) const {
  const std::string name = name_of(kind);
  LowerOptions options = options_;
  options.rows = rows;
  if (kind == EntryKind::grads || kind == EntryKind::update) options.gradients = separate(model_.step).gradients;
  if (kind == EntryKind::pack || kind == EntryKind::unpack)
    options.gradients = packing(options_.params, options_.state).arrays;
  options.obey = &layouts_;
  Program program = lower(opt, name, options);
  std::string fault = verify(program);
  if (!fault.empty())
    throw std::logic_error(fmt::format("the program `{}` for {} rows does not verify: {}", name, rows, fault));
  return program;
}

/// What runs once is compiled as fast as can be.
CodegenLevel level_of(EntryKind kind, CodegenLevel level) {
  return kind == EntryKind::init ? std::min(level, CodegenLevel::none) : level;
}

void Session::begin(Made& made, EntryKind kind, int pass, std::int64_t rows, std::launch where) {
  Program program = lower_graph(optimised(kind, pass), kind, rows);
  made.threads = std::min(threads_of(program), compilation_.threads);
  const CompileOptions options{compilation_.host.target, level_of(kind, compilation_.level)};
  made.coming = std::async(where, [program = std::move(program), options] { return nnc::compile(program, options); });
}

void Session::prepare(EntryKind kind, int pass, std::int64_t rows) {
  Made& made = made_[{kind, pass, rows}];
  if (compilation_.threads > 1 && !made.code && !made.coming.valid()) begin(made, kind, pass, rows, std::launch::async);
}

Entry Session::entry(EntryKind kind, int pass, std::int64_t rows) {
  Made& made = made_[{kind, pass, rows}];
  if (!made.code && !made.coming.valid()) begin(made, kind, pass, rows, std::launch::deferred);
  if (!made.code) made.code = made.coming.get();
  return {&made.code->entry(), made.threads};
}

std::vector<RangeCheck> Session::column_checks() const {
  std::vector<RangeCheck> checks;
  for (const Graph* graph : {&model_.step, &model_.evaluate, &model_.predict}) add_checks(*graph, checks);
  return checks;
}

std::vector<RangeCheck> Session::input_checks() const {
  std::vector<RangeCheck> checks;
  for (const Graph* graph : {&model_.feed, &model_.fit}) add_checks(*graph, checks);
  return checks;
}

std::vector<std::string> Session::predict_inputs() const {
  std::set<std::string> inputs;
  for (const std::string& column : inputs_of(model_.predict))
    for (const std::string& input : inputs_of_columns_.at(column)) inputs.insert(input);
  return {inputs.begin(), inputs.end()};
}

}  // namespace nnc::driver
