// nnc build: a trained model as NAME.o and NAME.h, which a C or C++ program links with nothing else of nnc. The object
// holds the weights and the code for batches of 1 to 128 rows, by powers of 2; the function works through any number of
// rows with these, and its results' bits do not depend on how many there are.
#include <fmt/format.h>

#include <algorithm>
#include <cctype>
#include <filesystem>
#include <set>

#include "codegen/tables.h"
#include "driver/commands.h"
#include "driver/trained.h"
#include "passes/pipeline.h"
#include "runtime/checkpoint.h"
#include "runtime/safetensors.h"

namespace nnc::driver {

namespace {

namespace fs = std::filesystem;

constexpr std::int64_t block_sizes[] = {128, 32, 16, 8, 4, 2, 1};

struct BuildFlags {
  TrainedFlags trained;
  std::string output;
};

/// "mnist-2" as a name in C: mnist_2.
std::string c_name(const std::string& text) {
  static const std::set<std::string> reserved{
      "auto",     "char",   "const", "do",     "double", "float",    "for",      "if",     "int",      "long",
      "register", "return", "short", "signed", "static", "union",    "unsigned", "void",   "volatile", "while",
      "rows",     "work",   "class", "new",    "this",   "template", "case",     "default"};
  std::string name;
  for (const char c : text) name += std::isalnum(static_cast<unsigned char>(c)) ? c : '_';
  if (name.empty() || std::isdigit(static_cast<unsigned char>(name[0]))) name = "_" + name;
  return reserved.contains(name) ? name + "_" : name;
}

std::string c_type(DType dtype) {
  switch (dtype) {
    case DType::f32:
      return "float";
    case DType::f64:
      return "double";
    case DType::i32:
      return "int32_t";
    case DType::boolean:
      return "uint8_t";
  }
  return "void";
}

/// An input or a result of the model as the header shows it.
struct Argument {
  std::string name;
  Type type;
};

std::vector<Argument> inputs_of(const Program& program, const Graph& graph) {
  std::vector<Argument> inputs;
  for (const Slot& slot : program.feeds)
    for (const Node& node : graph.nodes)
      if (node.op == Op::input && std::get<Named>(node.attributes).name == slot.name)
        inputs.push_back({slot.name, node.type});
  return inputs;
}
std::vector<Argument> results_of(const Graph& graph) {
  std::vector<Argument> results;
  for (const Output& output : graph.outputs)
    if (output.kind == OutputKind::result) results.push_back({output.name, graph[output.node].type});
  return results;
}

/// "x[rows][784]": the values of one call, row after row.
std::string shape_text(const Argument& argument) {
  std::string text = c_name(argument.name);
  for (const Extent& extent : argument.type.shape)
    text += extent.batched ? (extent.count == 1 ? "[rows]" : fmt::format("[{} * rows]", extent.count))
                           : fmt::format("[{}]", extent.count);
  return text;
}

std::string header_text(const std::string& prefix, const Elaborated& block, const ObjectFunction& infer,
                        const std::vector<Argument>& inputs, const std::vector<Argument>& results) {
  std::string parameters, shapes, promises;
  for (const Argument& input : inputs) {
    parameters += fmt::format("const {} *{}, ", c_type(input.type.dtype), c_name(input.name));
    shapes += " *   in:  " + shape_text(input) + "\n";
  }
  for (const Argument& result : results) {
    parameters += fmt::format("{} *{}, ", c_type(result.type.dtype), c_name(result.name));
    shapes += " *   out: " + shape_text(result) + "\n";
  }
  const auto& obligations = infer.programs.back().obligations;
  for (std::size_t i = 0; i < obligations.size(); ++i)
    promises += fmt::format(" *   {}: an element of {} is not in [{}, {})\n", i + 1, c_name(obligations[i].input),
                            obligations[i].low, obligations[i].high);
  const std::string guard = prefix + "_H";
  return fmt::format(R"(/* {block}: made by nnc {version}. Link {prefix}.o; nothing else is needed. */
#ifndef {guard}
#define {guard}

#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {{
#endif

/* Bytes of work memory that {prefix}_infer needs, for any number of rows. */
static inline size_t {prefix}_work_size(size_t rows) {{
  (void)rows;
  return {work};
}}

/* The model's results for `rows` rows, dense and row-major:
{shapes} * `work` is the caller's, {prefix}_work_size(rows) bytes; calls with different work memory may run at once.
 * Returns 0, and writes nothing where it returns something else:
{promises} */
int {prefix}_infer({parameters}size_t rows, void *work);

#ifdef __cplusplus
}}
#endif

#endif
)",
                     fmt::arg("block", block.train.models.front()), fmt::arg("version", version),
                     fmt::arg("prefix", prefix), fmt::arg("guard", guard), fmt::arg("work", work_bytes(infer)),
                     fmt::arg("shapes", shapes),
                     fmt::arg("promises", promises.empty() ? " *   (it has no reason to)\n" : promises),
                     fmt::arg("parameters", parameters));
}

std::optional<Problem> not_by_rows(const std::vector<Argument>& arguments, const std::string& model) {
  for (const Argument& argument : arguments)
    if (argument.type.shape.empty() || !argument.type.shape[0].batched)
      return Problem{.kind = Problem::Kind::data,
                     .message = fmt::format("`{}` of `{}` is not made of rows", argument.name, model),
                     .place = {},
                     .expected = "inputs and results whose first dimension is the batch",
                     .found = to_string(argument.type),
                     .notes = {}};
  return std::nullopt;
}

/// The model's forward graph for every block size, over one layout of its weights.
ObjectFunction lower_model(const Graph& opt, const std::string& symbol, const Trained& trained) {
  ObjectFunction function{symbol, {}};
  LowerOptions options;
  options.machine = trained.compilation.host.machine;
  for (const Variable& variable : trained.block.variables)
    (variable.is_state ? options.state : options.params).emplace_back(variable.path, variable.type);
  VariableLayouts layouts;
  for (const std::int64_t rows : block_sizes) {
    options.rows = rows;
    function.programs.push_back(lower(opt, "infer", options));
    if (options.obey == nullptr) layouts = layouts_of(function.programs.front());
    options.obey = &layouts;
  }
  return function;
}

/// Parameters that have an average are evaluated, and built, by it.
void use_averages(TensorFile& file) {
  for (NamedArray& tensor : file.tensors)
    if (const DenseArray* average = file.find(average_path(tensor.name))) tensor.array = *average;
}

Exit build(const BuildFlags& flags, const Console& console) {
  Exit status = Exit::done;
  auto trained = Trained::open(flags.trained, console, status);
  if (!trained) return status;
  if (trained->block.train.models.size() > 1)
    return console.error(fmt::format("`{}` trains several models: {}; an object file holds one",
                                     trained->block.train.name, fmt::join(trained->block.train.models, ", "))),
           Exit::wrong;
  const std::string& model = trained->block.train.models.front();
  Diagnostics diagnostics;
  auto graph = elaborate_model(trained->file, model, trained->options, diagnostics);
  if (!graph) return console.show(diagnostics), exit_of(diagnostics);

  const std::string prefix = c_name(fs::path(flags.output).filename().string());
  ObjectFile object;
  object.functions.push_back(lower_model(optimise(*graph), prefix + "_infer", *trained));
  const ObjectFunction& infer = object.functions.front();
  const std::vector<Argument> inputs = inputs_of(infer.programs.back(), *graph), results = results_of(*graph);
  for (const auto& arguments : {inputs, results})
    if (auto problem = not_by_rows(arguments, model)) return console.show(*problem), exit_of(*problem);

  const EntryTables tables(infer.programs.back(), nullptr);
  Weights weights(tables.entry());
  auto file = trained->read_weights();
  if (!file) return console.show(file.problem()), exit_of(file.problem());
  use_averages(*file);
  if (auto problem = restore(*file, trained->weights_path, weights)) return console.show(*problem), exit_of(*problem);
  object.params.assign(weights.params.data(), weights.params.data() + weights.params.size());
  object.state.assign(weights.state.data(), weights.state.data() + weights.state.size());

  const std::string code = emit_object(object, {trained->compilation.host.target, trained->compilation.level});
  if (auto problem = write_text(flags.output + ".o", code)) return console.show(*problem), exit_of(*problem);
  if (auto problem = write_text(flags.output + ".h", header_text(prefix, trained->block, infer, inputs, results)))
    return console.show(*problem), exit_of(*problem);
  console.note(fmt::format("wrote {0}.o ({1} KiB, for {2}) and {0}.h", flags.output, (code.size() + 1023) / 1024,
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
      "  nnc build mlp.nn --weights runs/Mlp-1/last.safetensors -o mlp\n");
  flags->trained.to_run = false;
  flags->trained.add_to(*command);
  command->add_option("-o,--output", flags->output, "where to write: NAME.o and NAME.h")->required()->type_name("NAME");
  command->callback([flags, &action] { action = [flags](const Console& console) { return build(*flags, console); }; });
}

}  // namespace nnc::driver
