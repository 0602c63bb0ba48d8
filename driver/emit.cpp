// nnc emit: one stage of the compiler, as text.
#include <fmt/format.h>

#include <algorithm>

#include "codegen/compile.h"
#include "driver/commands.h"
#include "driver/kept_files.h"
#include "driver/options.h"
#include "driver/pass_watch.h"
#include "driver/trained.h"
#include "frontend/parser.h"
#include "ir/export.h"
#include "ir/text.h"
#include "passes/pipeline.h"
#include "runtime/train.h"

namespace nnc::driver {

namespace {

struct EmitFlags {
  std::string file, model, stage = "opt", mode = "train", output = "-";
  std::int64_t rows = 0;
  PassFlags passes;
  ProgramOptions program;
  CompileFlags compile;
};

constexpr std::int64_t rows_unless_told =
    32;  // for a program that trains on the full batch: its data are not read here

/// A stage that is a graph, before or after passes, and how it is printed; dot and json print `opt`.
struct GraphStage {
  const char* name;
  const char* last_pass;  ///< nullptr: none runs
  std::string (*print)(const Graph&);
};
constexpr GraphStage graph_stages[] = {{"graph", nullptr, print},
                                       {"grad", "differentiate", print},
                                       {"opt", "assign_order", print},
                                       {"dot", "assign_order", print_dot},
                                       {"json", "assign_order", print_json}};

const GraphStage* graph_stage(const std::string& name) {
  const auto* found = std::ranges::find(graph_stages, name, &GraphStage::name);
  return found == std::end(graph_stages) ? nullptr : found;
}

std::string graph_text(const Graph& graph, const GraphStage& stage, PassWatch& watch) {
  if (!stage.last_pass) return stage.print(graph);
  return stage.print(optimise_until(graph, stage.last_pass, watch.options(graph)));
}

std::string program_text(const Program& program, const Compilation& compilation, const std::string& stage,
                         PassWatch& watch) {
  CompileOptions options{compilation.host.target, compilation.level};
  if (stage == "llvm") return watch.timed("llvm", [&] { return emit_llvm(program, options); });
  if (stage == "asm") return watch.timed("asm", [&] { return emit_assembly(program, options); });
  return print(program);
}

struct Mode {
  const char* name;
  EntryKind entry;
};
constexpr Mode modes[] = {{"train", EntryKind::step}, {"grads", EntryKind::grads},   {"update", EntryKind::update},
                          {"pack", EntryKind::pack},  {"unpack", EntryKind::unpack}, {"infer", EntryKind::predict}};

EntryKind entry_of(const std::string& mode) {
  return std::find_if(std::begin(modes), std::end(modes), [&](const Mode& m) { return m.name == mode; })->entry;
}

/// What an entry computes, as it is written.
Graph graph_of(const Elaborated& block, EntryKind entry) {
  if (entry == EntryKind::grads) return separate(block.step).grads;
  if (entry == EntryKind::update) return separate(block.step).update;
  if (entry == EntryKind::pack || entry == EntryKind::unpack) {
    std::vector<std::pair<std::string, Type>> params, state;
    for (const Variable& variable : block.variables)
      (variable.is_state ? state : params).emplace_back(variable.path, variable.type);
    const Packing made = packing(params, state);
    return entry == EntryKind::pack ? made.pack : made.unpack;
  }
  if (entry == EntryKind::predict) return block.predict.outputs.empty() ? block.evaluate : block.predict;
  return block.step;
}

Exit emit_block(const Elaborated& block, const EmitFlags& flags, const Compilation& compilation, const Console& console,
                PassWatch& watch, std::string& text) {
  const EntryKind entry = entry_of(flags.mode);
  const Graph graph = graph_of(block, entry);
  if (const GraphStage* stage = graph_stage(flags.stage)) {
    text += graph_text(graph, *stage, watch);
    return Exit::done;
  }
  if (auto problem = not_blockwise(block)) return console.show(*problem), exit_of(*problem);
  std::int64_t step_rows = block.train.batch_size > 0 ? block.train.batch_size : rows_unless_told;
  if (flags.rows > 0) step_rows = flags.rows;
  Session session(block, compilation, step_rows);
  const Graph opt = optimise(graph, watch.options(graph));
  const Program program = watch.timed("lower", [&] { return session.lower_graph(opt, entry, step_rows); });
  text += program_text(program, compilation, flags.stage, watch);
  return Exit::done;
}

/// A file without train blocks: the forward graph of one model.
Exit emit_model(const EmitFlags& flags, const ElaborateOptions& options, const Compilation& compilation,
                const Console& console, PassWatch& watch, std::string& text) {
  Diagnostics diagnostics;
  auto graph = elaborate_model(flags.file, flags.model, options, diagnostics);
  console.show(diagnostics);
  if (diagnostics.has_errors() || !graph) return Exit::wrong;
  if (const GraphStage* stage = graph_stage(flags.stage)) {
    text = graph_text(*graph, *stage, watch);
    return Exit::done;
  }
  LowerOptions lower_options;
  lower_options.machine = compilation.host.machine;
  lower_options.threads = compilation.threads;
  lower_options.rows = flags.rows > 0 ? flags.rows : rows_unless_told;
  const Graph opt = optimise(*graph, watch.options(*graph));
  const Program program = watch.timed("lower", [&] { return lower(opt, "predict", lower_options); });
  text = program_text(program, compilation, flags.stage, watch);
  return Exit::done;
}

/// What was read, before anything is concluded from it.
Exit emit_tree(const EmitFlags& flags, const Console& console) {
  Diagnostics diagnostics;
  const std::uint32_t file = read_source(flags.file, diagnostics);
  const Ast tree = parse(file, diagnostics);
  console.show(diagnostics);
  if (diagnostics.has_errors()) return exit_of(diagnostics);
  if (auto problem = write_text(flags.output, print(tree))) return console.show(*problem), exit_of(*problem);
  return Exit::done;
}

/// The message about a train block that the file does not have.
Exit no_such_block(const EmitFlags& flags, const Console& console) {
  const auto options = flags.program.elaborate_options(console, flags.model);
  if (!options) return Exit::usage;
  Diagnostics diagnostics;
  elaborate_file(flags.file, *options, diagnostics);
  console.show(diagnostics);
  return exit_of(diagnostics);
}

Exit emit(EmitFlags flags, const Console& console) {
  if (auto problem = replaces(flags.output, "-o", kept_files(flags.file)))
    return console.show(*problem), exit_of(*problem);
  const auto own = flags.program.elaborate_options(console, "");
  auto compilation = flags.compile.compilation(console, false);
  if (!own || !compilation) return Exit::usage;
  auto origin = program_or_run(flags.file, *own, flags.program);
  if (!origin) return console.show(origin.problem()), exit_of(origin.problem());
  flags.file = origin->file;
  if (flags.stage == "ast") return emit_tree(flags, console);
  const ElaborateOptions* const options = &origin->options;
  Diagnostics diagnostics;
  std::vector<Elaborated> blocks = elaborate_file(flags.file, *options, diagnostics);
  std::string text;
  PassWatch watch(flags.passes);
  Exit result = Exit::done;
  bool alone = blocks.empty() && !diagnostics.has_errors();
  if (!alone) console.show(diagnostics);
  if (diagnostics.has_errors()) return exit_of(diagnostics);
  if (alone) {
    result = emit_model(flags, *options, *compilation, console, watch, text);
  } else if (blocks.size() > 1 && flags.model.empty()) {
    console.error(fmt::format("the file has several train blocks: say which one, as in `nnc emit {} {}`", flags.file,
                              blocks[0].train.name));
    return Exit::usage;
  } else {
    const auto named = [&](const Elaborated& block) { return flags.model.empty() || block.train.name == flags.model; };
    const auto block = std::find_if(blocks.begin(), blocks.end(), named);
    if (block == blocks.end()) return no_such_block(flags, console);
    result = emit_block(*block, flags, *compilation, console, watch, text);
  }
  if (result != Exit::done) return result;
  watch.report();
  if (auto problem = write_text(flags.output, text)) return console.show(*problem), exit_of(*problem);
  return Exit::done;
}

}  // namespace

void add_emit(CLI::App& app, Action& action) {
  auto flags = std::make_shared<EmitFlags>();
  CLI::App* command = app.add_subcommand(
      "emit",
      "Prints one stage of the compiler: ast (the syntax tree), graph (as written), grad (with its derivatives), opt "
      "(simplified: what the program means), fused (kernels, buffers, layouts), llvm, asm; and dot "
      "(opt for Graphviz), json (opt for programs, schema in docs/graph-json.md).");
  command->footer(
      "Examples:\n"
      "  nnc emit mlp.nn --stage opt\n"
      "  nnc emit mlp.nn --stage fused --mode infer\n"
      "  nnc emit mlp.nn --stage asm --cpu znver3 -o step.s\n"
      "  nnc emit mlp.nn --stage dot > step.dot\n"
      "  nnc emit mlp.nn --print-after=differentiate,simplify --time-passes > passes.txt\n");
  command->add_option("FILE", flags->file, "the program")->required();
  command->add_option("MODEL", flags->model,
                      "the train block (its `as` name or its model), or a model of a file without one");
  command->add_option("--stage", flags->stage, "which stage (default: opt)")
      ->check(CLI::IsMember({"ast", "graph", "grad", "opt", "fused", "llvm", "asm", "dot", "json"}))
      ->type_name("STAGE");
  command
      ->add_option("--mode", flags->mode,
                   "the training step (whole, or its two halves: gradients, and the update from them), "
                   "or what `predict` runs")
      ->check(CLI::IsMember({"train", "grads", "update", "pack", "unpack", "infer"}))
      ->type_name("train|grads|update|infer");
  command->add_option("--rows", flags->rows, "rows of a batch (default: the program's batch_size)")
      ->check(whole_from_one())
      ->type_name("N");
  command->add_option("-o,--output", flags->output, "where to write (default: stdout)")->type_name("FILE");
  flags->passes.add_to(*command);
  flags->program.add_to(*command);
  flags->compile.add_to(*command);
  command->callback([flags, &action] { action = [flags](const Console& console) { return emit(*flags, console); }; });
}

}  // namespace nnc::driver
