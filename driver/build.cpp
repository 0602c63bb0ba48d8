// nnc build: a trained model as NAME.o and NAME.h, which a C or C++ program links with nothing else of nnc: the data
// block, each model, and the outputs of the train block. The object
// holds the weights and the code for batches of powers of 2 up to 128 rows; a function works through any number of rows
// with these, and its results' bits do not depend on how many there are. With --train it also holds the training step
// for the rows of a whole and of the last batch; parameters and states are then memory of the program that links it.
#include <fmt/format.h>

#include <algorithm>
#include <filesystem>
#include <set>

#include "codegen/tables.h"
#include "driver/build_header.h"
#include "driver/commands.h"
#include "driver/trained.h"
#include "driver/units.h"
#include "passes/pipeline.h"
#include "runtime/checkpoint.h"
#include "runtime/metrics.h"
#include "runtime/safetensors.h"
#include "runtime/train.h"

namespace nnc::driver {

namespace {

namespace fs = std::filesystem;
using Function = ObjectFunction;

constexpr std::int64_t model_blocks[] = {128, 32, 16, 8, 4, 2, 1}, output_blocks[] = {128, 8, 1},
                       feed_blocks[] = {128, 1};

struct BuildFlags {
  TrainedFlags trained;
  std::string output;
  bool train = false;
  std::vector<std::int64_t> batches;
};

/// A line of a text, counted from 1, without its margin and its comment.
std::string line_of(std::string_view text, std::uint32_t line) {
  for (; line > 1; --line) text.remove_prefix(std::min(text.find('\n'), text.size() - 1) + 1);
  text = text.substr(0, std::min(text.find('\n'), text.size()));
  text.remove_prefix(std::min(text.find_first_not_of(" \t"), text.size()));
  return std::string(text.substr(0, text.find_last_not_of(" \t\r") + 1));
}

Problem data_problem(std::string message, std::string expected, std::string found, std::string help) {
  return {.kind = Problem::Kind::data,
          .message = std::move(message),
          .place = {},
          .expected = std::move(expected),
          .found = std::move(found),
          .notes = help.empty() ? std::vector<std::string>{} : std::vector<std::string>{"help: " + help}};
}

/// Makes the functions of one object, all over one place of parameters and states.
class Maker {
 public:
  Maker(const Trained& trained, const BuildFlags& flags)
      : trained_(trained), block_(trained.block), train_(flags.train), flags_(flags) {
    header_.prefix = c_name(fs::path(flags.output).filename().string());
    header_.source = fmt::format("{}", fmt::join(block_.train.models, ", "));
    header_.cpu = trained.compilation.host.target.cpu;
    header_.trains = train_;
  }

  std::optional<Problem> make() {
    if (auto problem = find_batches()) return problem;
    for (const std::string& model : block_.train.models)
      if (!block_.models.contains(model))
        return data_problem(fmt::format("`{}` is not applied in the train block `{}`", model, block_.train.name),
                            "a model that the block's loss or outputs read", "one that is only named", "");
    feed_ = optimise(train_ ? block_.feed : with_outputs(block_.feed, inputs_of(block_.predict)));
    predict_ = optimise(block_.predict);
    for (const auto& [model, graph] : block_.models) models_.emplace(model, optimise(graph));
    choose_places();
    if (auto problem = add_feed()) return problem;
    for (const std::string& model : block_.train.models)
      if (auto problem = add_model(model)) return problem;
    if (auto problem = add_outputs()) return problem;
    if (train_) add_training();
    return add_weights();
  }

  const CHeader& header() const { return header_; }
  const ObjectFile& object() const { return object_; }

 private:
  /// How many rows steps have: those of the command line, of the run, or of the block.
  std::optional<Problem> find_batches() {
    const TrainJob& job = block_.train;
    batches_ = flags_.batches;
    const auto rows = trained_.rows.find("train");
    if (!batches_.empty()) return std::nullopt;
    if (rows != trained_.rows.end() && rows->second > 0) {
      const Batches of_run(job.batch_size, rows->second);
      batches_ = {of_run.size};
      if (of_run.tail != of_run.size) batches_.push_back(of_run.tail);
    } else if (job.batch_size > 0) {
      batches_ = {job.batch_size};
    } else if (train_) {
      return data_problem("the block trains on all rows at once, and how many there are is not known",
                          "a run, which remembers that, or --batch ROWS", "a program", "");
    } else {
      batches_ = {model_blocks[0]};
    }
    return std::nullopt;
  }

  /// Parameters and states lie where the training step wants them. Without --train those alone are kept that a
  /// function reads.
  void choose_places() {
    std::set<std::string> read;
    const auto note = [&](const Graph& graph) {
      for (const Node& node : graph.nodes)
        if (node.op == Op::param || node.op == Op::state) read.insert(std::get<Named>(node.attributes).name);
    };
    note(feed_), note(predict_);
    for (const auto& [name, graph] : models_) note(graph);
    LowerOptions all;
    options_.machine = all.machine = trained_.compilation.host.machine;
    for (const Variable& variable : block_.variables) {
      (variable.is_state ? all.state : all.params).emplace_back(variable.path, variable.type);
      if (train_ || read.contains(variable.path))
        (variable.is_state ? options_.state : options_.params).emplace_back(variable.path, variable.type);
    }
    all.rows = batches_.front();
    step_ = optimise(block_.step);
    layouts_ = layouts_of(lower(step_, "step", all));
    options_.obey = &layouts_;
  }

  /// A program of the optimised graph; its inputs and results come in the order of the graph as written.
  Program lowered(const Graph& opt, const Graph& written, const std::string& entry, std::int64_t rows) const {
    LowerOptions options = options_;
    options.rows = rows;
    if (entry == "pack" || entry == "unpack") options.gradients = packing(options_.params, options_.state).arrays;
    Program program = lower(opt, entry, options);
    std::map<std::string, std::size_t> inputs, results;
    for (const Node& node : written.nodes)
      if (node.op == Op::input) inputs.emplace(std::get<Named>(node.attributes).name, inputs.size());
    for (const Output& output : written.outputs) results.emplace(output.name, results.size());
    const auto by = [](const std::map<std::string, std::size_t>& order) {
      return [&](const Slot& slot) { return order.at(slot.name); };
    };
    std::ranges::sort(program.feeds, {}, by(inputs));
    std::ranges::sort(program.outputs, {}, by(results));
    return program;
  }
  template <class Numbers>
  std::vector<Program> lowered_for(const Graph& opt, const Graph& written, const std::string& entry,
                                   const Numbers& rows) const {
    std::vector<Program> programs;
    for (const std::int64_t count : rows) programs.push_back(lowered(opt, written, entry, count));
    return programs;
  }

  std::string symbol(const std::string& name) const { return header_.prefix + "_" + name; }

  /// Inputs and results in the order in which the function takes them.
  static std::vector<Argument> inputs_of_function(const Program& program, const Graph& graph) {
    std::vector<Argument> inputs;
    for (const Slot& slot : program.feeds)
      for (const Node& node : graph.nodes)
        if (node.op == Op::input && std::get<Named>(node.attributes).name == slot.name)
          inputs.push_back({c_name(slot.name), node.type});
    return inputs;
  }
  static std::vector<Argument> results_of_function(const Program& program, const Graph& graph) {
    std::vector<Argument> results;
    for (const Slot& slot : program.outputs)
      for (const Output& output : graph.outputs)
        if (output.kind == OutputKind::result && output.name == slot.name)
          results.push_back({c_name(slot.name), graph[output.node].type});
    return results;
  }
  /// Inputs and results, told apart where they are called alike.
  static void name_arguments(CFunction& function, const Graph& graph) {
    function.inputs = inputs_of_function(function.code.programs.back(), graph);
    function.results = results_of_function(function.code.programs.back(), graph);
    for (Argument& result : function.results)
      while (std::ranges::count(function.inputs, result.name, &Argument::name) > 0) result.name += "_out";
  }

  static std::optional<Problem> not_by_rows(const CFunction& function, const std::string& name) {
    for (const auto* arguments : {&function.inputs, &function.results})
      for (const Argument& argument : *arguments)
        if (argument.type.shape.empty() || !argument.type.shape[0].batched)
          return data_problem(fmt::format("`{}` of `{}` is not made of rows", argument.name, name),
                              "inputs and results whose first dimension is the batch", to_string(argument.type), "");
    return std::nullopt;
  }

  CFunction by_rows(std::vector<Program> programs, const std::string& name, std::string what) const {
    CFunction function;
    function.code.symbol = symbol(name);
    function.code.programs = std::move(programs);
    function.code.weights = train_ ? Function::Weights::given : Function::Weights::inside;
    function.what = std::move(what);
    return function;
  }

  /// The data block's formulas, where columns are made of what lies in files, each row by itself.
  std::optional<Problem> add_feed() {
    const bool draws = std::ranges::any_of(feed_.nodes, [](const Node& node) { return node.op == Op::random; });
    if (draws || inputs_of(feed_).empty()) return std::nullopt;
    CFunction function = by_rows(
        lowered_for(feed_, block_.feed, "feed", feed_blocks), "feed",
        fmt::format("What the data block `{}` makes of raw columns: its columns for `rows` rows.", block_.data.name));
    name_arguments(function, feed_);
    for (std::size_t i = 0; i < function.inputs.size(); ++i)
      note_raw(function.inputs[i], function.code.programs.back().feeds[i].name);
    if (auto problem = not_by_rows(function, block_.data.name)) return problem;
    header_.functions.push_back(std::move(function));
    return std::nullopt;
  }

  /// What the data block's text says of the columns that are read, and what was learnt for them: shown with the feed.
  std::string formulas(const Weights& weights) const {
    std::string text;
    std::set<std::uint32_t> told;
    const auto read = inputs_of(feed_);
    for (const RawColumn& raw : block_.data.raw)
      for (const SourceFile& source : block_.sources)
        if (std::ranges::find(read, raw.input) != read.end() && source.path == raw.place.file &&
            told.insert(raw.place.line).second)
          text += "\n *   " + line_of(source.text, raw.place.line);
    constexpr std::int64_t most = 16;
    for (const nnc_slot& slot : state_of(*weights.layout)) {
      if (!std::string_view(slot.name).starts_with("data.")) continue;
      const DenseArray values = unpack(slot, weights.state.data());
      std::string numbers;
      for (std::int64_t i = 0; i < std::min(values.count(), most); ++i)
        numbers += fmt::format("{}{}", i == 0 ? "" : ", ", number_text(values.at(i), values.dtype));
      text += fmt::format("\n *   {} = {}{}", slot.name, numbers, values.count() > most ? ", ..." : "");
    }
    return text;
  }

  /// What a raw input is in the user's files.
  void note_raw(Argument& argument, const std::string& input) {
    for (const RawColumn& raw : trained_.data.raw) {
      if (raw.input != input) continue;
      if (!raw.columns.empty()) argument.note = fmt::format(": {}", fmt::join(raw.columns, ", "));
      if (raw.missing.asked() && !raw.classes)
        argument.note += raw.type.dtype == DType::i32 ? ", INT32_MIN where it is missing" : ", NaN where it is missing";
      if (!raw.classes || !trained_.classes || !trained_.classes->contains(input)) continue;
      const std::vector<std::string>& names = trained_.classes->at(input).names;
      header_.tables.push_back({argument.name, names});
      argument.note += " as a number: ";
      for (std::size_t i = 0; i < names.size(); ++i)
        argument.note += fmt::format("{}{} {}", i == 0 ? "" : ", ", i, names[i]);
      if (const std::string& unknown = trained_.classes->at(input).unknown; !unknown.empty())
        argument.note += fmt::format("; that of {} for any other", unknown);
    }
  }

  std::optional<Problem> add_model(const std::string& model) {
    const Graph& graph = models_.at(model);
    const std::string name = block_.train.models.size() == 1 ? "infer" : c_name(model) + "_infer";
    CFunction function = by_rows(lowered_for(graph, block_.models.at(model), "infer", model_blocks), name,
                                 fmt::format("The results of `{}` for `rows` rows.", model));
    name_arguments(function, graph);
    if (auto problem = not_by_rows(function, model)) return problem;
    header_.functions.push_back(std::move(function));
    return std::nullopt;
  }

  /// The outputs of the train block: what `nnc predict` writes.
  std::optional<Problem> add_outputs() {
    if (block_.predict.outputs.empty()) return std::nullopt;
    CFunction function =
        by_rows(lowered_for(predict_, block_.predict, "predict", output_blocks), "predict",
                fmt::format("The outputs of `{}` for `rows` rows, as `nnc predict` writes them.", block_.train.name));
    name_arguments(function, predict_);
    if (function.inputs.empty()) return std::nullopt;
    if (auto problem = not_by_rows(function, block_.train.name)) return problem;
    const Program& program = function.code.programs.back();
    for (std::size_t i = 0; i < function.results.size(); ++i) {
      const auto* names = trained_.classes ? trained_.classes_of(*trained_.classes, program.outputs[i].name) : nullptr;
      if (names == nullptr) continue;
      Argument& result = function.results[i];
      result.note = fmt::format(": a class, whose name is {}[{}]", symbol(result.name + "_names"), result.name);
      header_.tables.push_back({result.name, *names});
    }
    header_.functions.push_back(std::move(function));
    return std::nullopt;
  }

  void add_training() {
    CFunction init;
    init.code.symbol = symbol("init");
    init.code.programs = {lowered(optimise(block_.init), block_.init, "init", 1)};
    init.code.rows = Function::Rows::none;
    init.code.weights = Function::Weights::begun;
    init.code.numbers = Function::Numbers::seed;
    init.what = "Parameters and states before the first step, as `nnc train --seed` draws them.";
    header_.functions.push_back(std::move(init));

    CFunction step;
    step.code.symbol = symbol("step");
    step.code.programs = lowered_for(step_, block_.step, "step", batches_);
    step.code.rows = Function::Rows::listed;
    step.code.weights = Function::Weights::given;
    step.code.numbers = Function::Numbers::progress;
    step.what = "One training step: the loss of `rows` rows, then every parameter and state updated.";
    step.inputs = inputs_of_function(step.code.programs.back(), step_);
    step.results = results_of_function(step.code.programs.back(), step_);
    header_.functions.push_back(std::move(step));

    const Packing arrays = packing(options_.params, options_.state);
    for (const bool pack : {true, false}) {
      CFunction moves;
      moves.code.symbol = symbol(pack ? "pack" : "unpack");
      const Graph& graph = pack ? arrays.pack : arrays.unpack;
      moves.code.programs = {lowered(optimise(graph), graph, pack ? "pack" : "unpack", 1)};
      moves.code.rows = Function::Rows::none;
      moves.code.weights = Function::Weights::given;
      moves.code.arrays = true;
      moves.what = pack ? "Parameters and states from `arrays`." : "Parameters and states into `arrays`.";
      header_.functions.push_back(std::move(moves));
    }
    note_arrays(header_.functions.back().code.programs.front());
  }

  void note_arrays(const Program& unpack) {
    header_.arrays_bytes = unpack.grads_bytes;
    std::vector<std::pair<std::string, Type>> variables = options_.params;
    variables.insert(variables.end(), options_.state.begin(), options_.state.end());
    for (std::size_t i = 0; i < variables.size(); ++i)
      header_.arrays.push_back(
          {variables[i].first, variables[i].second, unpack.buffers[unpack.grads[i].buffer].offset});
  }

  /// The weights as the functions want them to lie; nothing where there are none.
  std::optional<Problem> add_weights() {
    for (const CFunction& function : header_.functions) object_.functions.push_back(function.code);
    const EntryTables tables(header_.functions.back().code.programs.back(), nullptr);
    Weights weights(tables.entry());
    header_.params_bytes = weights.params.size(), header_.state_bytes = weights.state.size();
    if (!trained_.weights_path.empty()) {
      auto file = trained_.read_weights();
      if (!file) return file.problem();
      if (auto problem = restore(*file, trained_.weights_path, weights)) return problem;
    }
    if (CFunction& first = header_.functions.front(); first.code.symbol == symbol("feed"))
      first.what += formulas(weights);
    object_.params.assign(weights.params.data(), weights.params.data() + weights.params.size());
    object_.state.assign(weights.state.data(), weights.state.data() + weights.state.size());
    if (train_ && !trained_.weights_path.empty()) {
      CFunction start;
      start.code.symbol = symbol("weights");
      start.code.rows = Function::Rows::none;
      start.code.weights = Function::Weights::begun;
      start.what = fmt::format("Parameters and states of {}.", trained_.weights_path);
      header_.functions.push_back(start);
      object_.functions.push_back(start.code);
    }
    return std::nullopt;
  }

  const Trained& trained_;
  const Elaborated& block_;
  bool train_;
  const BuildFlags& flags_;
  std::vector<std::int64_t> batches_;
  Graph feed_, predict_, step_;
  std::map<std::string, Graph> models_;
  LowerOptions options_;
  VariableLayouts layouts_;
  CHeader header_;
  ObjectFile object_;
};

/// What is fitted on data is known to a run alone.
std::optional<Problem> unfitted(const Trained& trained) {
  const bool fitted = std::ranges::any_of(trained.block.variables, [](const Variable& variable) {
    return variable.is_state && variable.path.starts_with("data.");
  });
  if (!trained.weights_path.empty() || !fitted) return std::nullopt;
  return data_problem(fmt::format("`{}` is fitted on its data, and no weights say how", trained.block.data.name),
                      "a run, or --weights FILE", "a program", "");
}

/// `-o net.o`, or net.h, is net.
std::string without_ending(const std::string& name) {
  const fs::path path(name);
  const bool ours = path.extension() == ".o" || path.extension() == ".h";
  return ours ? (path.parent_path() / path.stem()).string() : name;
}

Exit build(BuildFlags flags, const Console& console) {
  flags.output = without_ending(flags.output);
  Exit status = Exit::done;
  auto trained = Trained::open(flags.trained, console, status);
  if (!trained) return status;
  Maker maker(*trained, flags);
  auto problem = unfitted(*trained);
  if (!problem) problem = maker.make();
  if (problem) return console.show(*problem), exit_of(*problem);
  const std::string code = emit_object(maker.object(), {trained->compilation.host.target, trained->compilation.level});
  if (auto failed = write_text(flags.output + ".o", code)) return console.show(*failed), exit_of(*failed);
  if (auto failed = write_text(flags.output + ".h", text_of(maker.header())))
    return console.show(*failed), exit_of(*failed);
  console.note(fmt::format("wrote {0}.o ({1}, for {2}) and {0}.h", flags.output, bytes_text(code.size()),
                           trained->compilation.host.target.cpu));
  return Exit::done;
}

}  // namespace

void add_build(CLI::App& app, Action& action) {
  auto flags = std::make_shared<BuildFlags>();
  CLI::App* command = app.add_subcommand(
      "build", "Compiles a trained model, weights and all, into an object file and a header for C and C++.");
  command->footer(
      "Examples:\n"
      "  nnc build runs/Mlp-1 -o mlp             mlp.o and mlp.h, for this machine\n"
      "  nnc build runs/Mlp-1 -o mlp --cpu znver5\n"
      "  nnc build mlp.nn --weights runs/Mlp-1/last.safetensors -o mlp\n"
      "  nnc build runs/Mlp-1 -o mlp --train     the training step too, for a program that goes on learning\n");
  flags->trained.to_run = false;
  flags->trained.models = true;
  flags->trained.add_to(*command);
  command->add_option("-o,--output", flags->output, "where to write: NAME.o and NAME.h")->required()->type_name("NAME");
  command->add_flag("--train", flags->train, "the training step as well, over weights that its caller keeps");
  command
      ->add_option("--batch", flags->batches,
                   "rows of a training step; several times for several numbers (default: the run's batches)")
      ->check(whole_from_one())
      ->type_name("ROWS");
  command->callback([flags, &action] {
    flags->trained.needs_weights = !flags->train;
    action = [flags](const Console& console) { return build(*flags, console); };
  });
}

}  // namespace nnc::driver
