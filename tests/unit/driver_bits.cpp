// The compiled programs of every example give the evaluator's bits: five training steps and the smaller last batch,
// gradients and updates apart, evaluation, prediction, the preparation of data. What must not change a bit is drawn
// from a list that has every value of every axis for each example: threads, element type, schedules of three machines,
// instruction sets, layouts, fusion.
#include <fmt/format.h>

#include <array>
#include <limits>

#include "codegen/compile.h"
#include "driver/options.h"
#include "driver/session.h"
#include "frontend/elaborate.h"
#include "passes/pipeline.h"
#include "runtime/train.h"
#include "tests/support/examples.h"
#include "tests/support/random_graph.h"
#include "tests/support/run_native.h"
#include "tests/support/share_all.h"
#include "tests/unit/catch.h"

using namespace nnc;

namespace {

constexpr std::int64_t steps = 5;

/// How a program is lowered and compiled and run.
struct Setting {
  unsigned threads;
  bool double_precision;
  Machine machine;
  std::string cpu;  ///< compiled for; the host where it cannot execute that
  bool layout = true, fuse = true, in_one_piece = true;
};

const std::vector<Setting>& settings() {
  static const std::vector<Setting> list = {
      {1, false, machine_avx512(), "native"},
      {2, true, machine_avx2(), "native"},
      {3, false, machine_four_lanes(), "x86-64-v3"},
      {2, false, machine_avx512(), "x86-64-v3", false, true, false},
      {3, true, machine_avx512(), "x86-64-v4", true, false},
      {1, true, machine_four_lanes(), "x86-64-v3", false, false},
      {2, false, machine_avx2(), "x86-64-v4", true, false},
      {3, false, machine_avx2(), "native", false, true, false},
      {2, false, machine_sse2(), "x86-64"},
      {1, true, machine_avx2(), "x86-64", true, false},
  };
  return list;
}

std::string describe(const Setting& s, const Target& target) {
  return fmt::format("{} threads, {}, schedule {}, for {}, layout {}, fuse {}, in one piece {}", s.threads,
                     s.double_precision ? "f64" : "f32", s.machine.name, target.cpu, s.layout, s.fuse, s.in_one_piece);
}

Target target_of(const Setting& setting) {
  const TargetOrError named = target_named(setting.cpu);
  REQUIRE(named.error == "");
  return executes_here(named.host.target) ? named.host.target : detect_host().target;
}

/// One call of a program, with what the evaluator says it must leave.
struct Call {
  std::string what;
  std::string entry;
  const Graph* graph;
  Environment environment;
  std::map<std::string, Tensor> expected;
};

Tensor tensor_of(const DenseArray& array) {
  Tensor tensor = Tensor::zeros(array.dtype, array.dims);
  std::copy(array.bytes.data(), array.bytes.data() + tensor.data.size(), tensor.data.begin());
  return tensor;
}

/// Rows first .. first + count - 1.
Tensor rows_of(const Tensor& all, std::int64_t first, std::int64_t count) {
  std::vector<std::int64_t> dims = all.dims;
  const auto row = static_cast<std::ptrdiff_t>(all.data.size()) / dims[0];
  dims[0] = count;
  Tensor part = Tensor::zeros(all.dtype, dims);
  std::copy(all.data.begin() + first * row, all.data.begin() + (first + count) * row, part.data.begin());
  return part;
}

/// "update NAME" without its first word, or empty where it is a result.
std::string updated(const std::string& name) { return name.starts_with("update ") ? name.substr(7) : ""; }

void apply_updates(const std::map<std::string, Tensor>& results, Environment& environment) {
  for (const auto& [name, tensor] : results) {
    const std::string variable = updated(name);
    if (variable.empty()) continue;
    auto& kept = environment.params.contains(variable) ? environment.params : environment.state;
    kept.at(variable) = tensor;
  }
}

/// An example in one element type: its graphs, and all calls with what they must give, in the order of a training.
class Model {
 public:
  Model(const std::string& example, bool double_precision) {
    read(test::reduced_example(example, scratch_.path()), double_precision);
    optimise_all();
    load_columns();
    add_preparation();
    add_steps();
    add_evaluation();
  }

  const std::vector<Call>& calls() const { return calls_; }
  const Graph& step() const { return step_; }
  /// The gradients that lie between the programs of these two graphs; none for other graphs.
  std::vector<std::pair<std::string, Type>> gradients_of(const Graph* graph) const {
    return graph == &grads_ || graph == &update_ ? gradients_ : std::vector<std::pair<std::string, Type>>{};
  }
  std::int64_t batch() const { return batch_; }
  LowerOptions options() const {
    LowerOptions options;
    for (const Variable& variable : elaborated_.variables)
      (variable.is_state ? options.state : options.params).emplace_back(variable.path, variable.type);
    return options;
  }

 private:
  void read(const std::string& path, bool double_precision) {
    ElaborateOptions options;
    options.double_precision = double_precision;
    Diagnostics diagnostics;
    std::vector<Elaborated> blocks = elaborate_file(path, options, diagnostics);
    INFO(diagnostics.render(false));
    REQUIRE(blocks.size() == 1);
    elaborated_ = std::move(blocks[0]);
  }

  void optimise_all() {
    PipelineOptions options;
    options.verify_each = true;
    init_ = optimise(elaborated_.init, options);
    feed_ = optimise(elaborated_.feed, options);
    step_ = optimise(elaborated_.step, options);
    predict_ = optimise(elaborated_.predict, options);
    fit_ = blockwise(optimise(elaborated_.fit, options));
    evaluate_ = blockwise(optimise(elaborated_.evaluate, options));
    const Separated parts = separate(elaborated_.step);
    gradients_ = parts.gradients;
    grads_ = optimise(parts.grads, options);
    update_ = optimise(parts.update, options);
  }

  /// The columns of the first split, by the runtime.
  void load_columns() {
    auto data = RawData::open(elaborated_.data, {});
    REQUIRE(data);
    batch_ = Batches(elaborated_.train.batch_size, data->rows("train")).size;
    driver::Session session(elaborated_, {.host = detect_host()}, batch_);
    Runner runner(1);
    const Programs programs = session.programs();
    Weights weights(*session.entry(EntryKind::init, 0, 1).code);
    if (session.fits()) REQUIRE_FALSE(data->fit(runner, programs, weights));
    const auto columns = data->feed("train", EntryKind::feed, runner, programs, weights, session.column_checks(),
                                    session.inputs_of_columns());
    REQUIRE(columns);
    rows_ = columns->rows;
    for (const NamedArray& column : columns->columns) columns_[column.name] = tensor_of(column.array);
  }

  void set_time(Environment& at, std::int64_t step) const {
    at.seed = 7;
    at.step = static_cast<std::uint64_t>(step);
    at.scalars = {{"step", static_cast<double>(step)},
                  {"epoch", 1},
                  {"steps_per_epoch", static_cast<double>(steps)},
                  {"total_steps", 100},
                  {"rows", static_cast<double>(at.batch)}};
  }

  void set_rows(Environment& at, std::int64_t first, std::int64_t count) const {
    at.batch = count;
    at.scalars["rows"] = static_cast<double>(count);
    at.inputs.clear();
    for (const auto& [name, column] : columns_) at.inputs[name] = rows_of(column, first, count);
  }

  std::map<std::string, Tensor> add(const std::string& what, const std::string& entry, const Graph& graph,
                                    const Environment& environment) {
    const std::map<std::string, Tensor> results = evaluate(graph, environment);
    std::map<std::string, Tensor> expected = results;
    for (const auto* kept : {&environment.params, &environment.state})
      for (const auto& [name, tensor] : *kept) expected.emplace("update " + name, tensor);  // where nothing updates it
    calls_.push_back({what, entry, &graph, environment, std::move(expected)});
    return results;
  }

  /// The passes of a fold over one block of rows each, and what finishes it.
  void add_fold(const std::string& what, const Blockwise& fold, Environment at) {
    for (const Graph& pass : fold.passes)
      for (const Output& output : pass.outputs) {
        std::vector<std::int64_t> dims;
        for (const Extent& extent : pass[output.node].type.shape) dims.push_back(extent.count);
        Tensor start = Tensor::zeros(pass[output.node].type.dtype, dims);
        if (pass[output.node].op == Op::reduce_max)
          for (std::int64_t i = 0; i < start.count(); ++i) start.set(i, -std::numeric_limits<double>::infinity());
        at.carry.emplace(output.name, start);
      }
    for (const Graph& pass : fold.passes)
      for (const auto& [name, total] : add(what, what, pass, at)) at.carry.insert_or_assign(updated(name), total);
    add(what + ", finished", what + "_finish", fold.finish, at);
  }

  /// Raw rows are made up, since any must do.
  void add_preparation() {
    set_time(at_, 0);
    for (const Variable& variable : elaborated_.variables) {
      std::vector<std::int64_t> dims;
      for (const Extent& extent : variable.type.shape) dims.push_back(extent.count);
      (variable.is_state ? at_.state : at_.params)[variable.path] = Tensor::zeros(variable.type.dtype, dims);
    }
    const std::int64_t raw_rows = 37;
    Environment raw = at_;
    const auto draw_inputs = [&](const Graph& graph) {
      const Environment drawn = test::random_environment(graph, raw_rows, 1);
      raw.batch = raw_rows;
      raw.scalars["rows"] = static_cast<double>(raw_rows);
      raw.inputs = drawn.inputs;
      for (const auto& [name, tensor] : drawn.state) raw.state.at(name) = tensor;
      raw.seed = drawn.seed;
      raw.row_offset = drawn.row_offset;
    };
    if (!elaborated_.fit.outputs.empty()) {
      draw_inputs(elaborated_.fit);
      add_fold("fit", fit_, raw);
    }
    draw_inputs(feed_);
    add("feed", "feed", feed_, raw);
    apply_updates(add("init", "init", init_, at_), at_);
  }

  void add_steps() {
    const std::int64_t starts = rows_ - batch_ + 1;
    for (std::int64_t step = 1; step <= steps; ++step) {
      set_rows(at_, (step - 1) * batch_ % starts, batch_);
      set_time(at_, step);
      const Environment before = at_;
      const auto results = add(fmt::format("step {}", step), "step", step_, at_);
      apply_updates(results, at_);
      if (step == 2) add_parts(before, results);
    }
    // Where batches fit evenly, a last batch is made up.
    const std::int64_t rest = rows_ % batch_, tail = rest > 0 ? rest : batch_ / 2 + 1;
    set_rows(at_, rows_ - tail, tail);
    set_time(at_, steps + 1);
    apply_updates(add("the last batch", "step", step_, at_), at_);
  }

  /// Gradients and then updates, which together are the step.
  void add_parts(const Environment& before, const std::map<std::string, Tensor>& whole) {
    std::map<std::string, Tensor> found = add("grads", "grads", grads_, before);
    Environment then = before;
    then.inputs.clear();
    CHECK_FALSE(gradients_.empty());
    for (const auto& [name, type] : gradients_) then.inputs[name] = found.at(name);
    apply_updates(found, then);
    found.merge(add("update", "update", update_, then));
    for (const auto& [name, tensor] : whole) {
      INFO(name);
      REQUIRE(found.contains(name));
      CHECK(same_bits(found.at(name), tensor));
    }
  }

  void add_evaluation() {
    set_rows(at_, 0, rows_);
    add_fold("evaluate", evaluate_, at_);
    set_rows(at_, 0, std::min<std::int64_t>(rows_, 37));
    add("predict", "predict", predict_, at_);
  }

  test::Scratch scratch_;
  Elaborated elaborated_;
  Graph init_, feed_, step_, predict_, grads_, update_;
  std::vector<std::pair<std::string, Type>> gradients_;
  Blockwise fit_, evaluate_;
  std::map<std::string, Tensor> columns_;
  std::int64_t rows_ = 0, batch_ = 0;
  Environment at_;  ///< as training goes on
  std::vector<Call> calls_;
};

/// What differs, or empty.
std::string difference(const std::map<std::string, Tensor>& expected, const std::map<std::string, Tensor>& found) {
  for (const auto& [name, tensor] : expected) {
    if (!found.contains(name)) return "there is no " + name;
    const Tensor& other = found.at(name);
    if (other.dtype != tensor.dtype || other.dims != tensor.dims) return name + " has another type";
    if (same_bits(other, tensor)) continue;
    std::int64_t at = 0;
    while (other.at(at) == tensor.at(at) || (other.at(at) != other.at(at) && tensor.at(at) != tensor.at(at))) ++at;
    return fmt::format("{}[{}] is {:a}, evaluated {:a}", name, at, other.at(at), tensor.at(at));
  }
  return "";
}

/// All calls of a model under one setting; programs are compiled once and obey the layouts that the step chose.
class Machinery {
 public:
  Machinery(const Model& model, const Setting& setting)
      : model_(model), setting_(setting), target_(target_of(setting)), options_(model.options()) {
    options_.machine = setting.machine;
    options_.threads = static_cast<int>(setting.threads);
    options_.layout = setting.layout;
    options_.fuse = setting.fuse;
    options_.in_one_piece = setting.in_one_piece;
    LowerOptions choose = options_;
    choose.rows = model.batch();
    layouts_ = layouts_of(lower(model.step(), "step", choose));
    options_.obey = &layouts_;
  }

  void check(const Call& call) {
    INFO(describe(setting_, target_) << ": " << call.what);
    std::unique_ptr<Compiled>& compiled = compiled_[{call.graph, call.environment.batch}];
    if (!compiled) compiled = compile_for(call);
    CHECK(difference(call.expected, test::run_native(compiled->entry(), call.environment, setting_.threads)) == "");
  }

 private:
  std::unique_ptr<Compiled> compile_for(const Call& call) const {
    LowerOptions options = options_;
    options.rows = call.environment.batch;
    options.gradients = model_.gradients_of(call.graph);
    Program program = lower(*call.graph, call.entry, options);
    test::share_all(program, setting_.threads);
    REQUIRE(verify(program) == "");
    return compile(program, {.target = target_});
  }

  const Model& model_;
  const Setting& setting_;
  Target target_;
  LowerOptions options_;
  VariableLayouts layouts_;
  std::map<std::pair<const Graph*, std::int64_t>, std::unique_ptr<Compiled>> compiled_;
};

/// Training under every setting, the other programs under every other one, which are others for the next example.
void check_example(const std::string& example) {
  const std::array<Model, 2> models{Model(example, false), Model(example, true)};
  const std::size_t number = static_cast<std::size_t>(
      std::find(test::example_files.begin(), test::example_files.end(), example) - test::example_files.begin());
  for (std::size_t i = 0; i < settings().size(); ++i) {
    const Model& model = models[settings()[i].double_precision ? 1 : 0];
    Machinery machinery(model, settings()[i]);
    for (const Call& call : model.calls())
      if (call.graph == &model.step() || (i + number) % 2 == 0) machinery.check(call);
  }
}

}  // namespace

TEST_CASE("the curve example: compiled code gives the evaluator's bits", "[bits]") { check_example("curve/curve.nn"); }
TEST_CASE("the linear example: compiled code gives the evaluator's bits", "[bits]") {
  check_example("linear/linear.nn");
}
TEST_CASE("the MNIST example, reduced: compiled code gives the evaluator's bits", "[bits]") {
  check_example("mnist/mnist.nn");
}
TEST_CASE("the softmax example: compiled code gives the evaluator's bits", "[bits]") {
  check_example("softmax/flowers.nn");
}
TEST_CASE("the XOR example: compiled code gives the evaluator's bits", "[bits]") { check_example("xor/xor.nn"); }
