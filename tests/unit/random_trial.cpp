#include "tests/unit/random_trial.h"

#include <dlfcn.h>
#include <fmt/format.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <cmath>
#include <csignal>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <sstream>
#include <stdexcept>

#include "codegen/tables.h"
#include "ir/op.h"
#include "ir/text.h"
#include "passes/laws.h"
#include "passes/passes.h"
#include "passes/pipeline.h"
#include "tests/support/random_graph.h"
#include "tests/support/reduce_graph.h"
#include "tests/support/share_all.h"
#include "tests/support/targets.h"

namespace nnc::test {

namespace {

constexpr std::size_t trials_a_graph = 4;

const char* name_of(CodegenLevel level) {
  switch (level) {
    case CodegenLevel::none:
      return "none";
    case CodegenLevel::less:
      return "less";
    case CodegenLevel::normal:
      return "default";
    case CodegenLevel::aggressive:
      return "aggressive";
  }
  return "";
}
const char* name_of(Layouts layouts) {
  switch (layouts) {
    case Layouts::own:
      return "own";
    case Layouts::dense:
      return "dense";
    case Layouts::another:
      return "another's";
  }
  return "";
}
std::string name_of(Memory memory, Guard guard) {
  if (memory == Memory::planned) return "planned";
  return guard == Guard::behind ? "apart, pages behind" : "apart, pages before";
}

/// What a configuration is, as counted for the ledger.
std::vector<std::string> axes_of(const Configuration& c) {
  return {fmt::format("code for {}", c.target.cpu),
          fmt::format("schedules {}", c.machine.name),
          fmt::format("level {}", name_of(c.level)),
          c.in_one_piece ? "in one piece where it is tiny"
          : c.fuse       ? "fused"
                         : "a kernel a node",
          fmt::format("layouts {}", name_of(c.layouts)),
          fmt::format("threads {}", c.threads),
          fmt::format("batch {}", c.batch),
          fmt::format("memory {}", name_of(c.memory, c.guard)),
          c.object ? "object" : "JIT"};
}

std::uint64_t kind_of(std::uint64_t seed) { return seed % 3; }

/// Most programs are small: that a fault meets few other things makes it no rarer, and more are tried in a second.
int most_nodes(std::uint64_t seed) {
  Random random(seed_of(seed, "nodes"));
  return random.one_of(kind_of(seed) == 2 ? std::vector<int>{2, 2, 3, 3, 4, 4, 5, 6, 8, 12}
                                          : std::vector<int>{3, 4, 4, 5, 6, 6, 8, 8, 10, 12, 16, 40});
}

Configuration random_configuration(Random& random, std::int64_t batch) {
  Configuration c;
  c.machine = random.one_of<Machine>({machine_avx512(), machine_avx2(), machine_sse2(), machine_four_lanes()});
  c.target = random.one_of(targets());
  c.level = random.one_of<CodegenLevel>({CodegenLevel::none, CodegenLevel::none, CodegenLevel::less, CodegenLevel::less,
                                         CodegenLevel::normal, CodegenLevel::aggressive});
  c.fuse = random.chance(0.75);
  c.in_one_piece = random.chance(0.25);
  c.layouts = random.one_of<Layouts>({Layouts::own, Layouts::own, Layouts::dense, Layouts::another});
  c.threads = random.one_of<unsigned>({1, 2, 3, 7});
  c.batch = batch;
  c.memory = random.chance(0.6) ? Memory::planned : Memory::apart;
  c.guard = random.chance(0.5) ? Guard::behind : Guard::before;
  c.object = random.chance(0.06);
  return c;
}

/// An object file of one entry, linked by the system's linker into this process. Nothing but libc is there to resolve
/// symbols, as for a program that embeds a model.
class Linked final : public Compiled {
 public:
  Linked(const Program& program, const CompileOptions& options) : tables_(program, load(program, options)) {}
  ~Linked() override { dlclose(library_); }
  Linked(const Linked&) = delete;
  Linked& operator=(const Linked&) = delete;
  const nnc_entry& entry() const override { return tables_.entry(); }

 private:
  nnc_function load(const Program& program, const CompileOptions& options) {
    std::string stem = (std::filesystem::temp_directory_path() / "nnc-object-XXXXXX").string();
    const int file = mkstemp(stem.data());
    if (file < 0) throw std::runtime_error("no file for an object");
    close(file);
    const std::string object = stem + ".o", library = stem + ".so";
    std::ofstream(object, std::ios::binary) << emit_object({.functions = {}, .entries = {{"run", program}}}, options);
    const std::string line =
        fmt::format("ld -shared -z noexecstack -z defs -o {} {} $(cc -print-file-name=libc.so.6)", library, object);
    const bool linked = std::system(line.c_str()) == 0;
    library_ = linked ? dlopen(library.c_str(), RTLD_NOW | RTLD_LOCAL) : nullptr;
    for (const std::string& path : {stem, object, library}) std::filesystem::remove(path);
    if (!library_) throw std::runtime_error("the object does not link");
    return reinterpret_cast<nnc_function>(dlsym(library_, "run"));
  }

  void* library_ = nullptr;
  EntryTables tables_;
};

std::unique_ptr<Compiled> compiled(const Program& program, const Configuration& c) {
  const CompileOptions options{.target = c.target, .level = c.level};
  if (c.object) return std::make_unique<Linked>(program, options);
  return compile(program, options);
}

/// No page of this process may be written and executed.
bool writable_code() {
  std::ifstream maps("/proc/self/maps");
  for (std::string line; std::getline(maps, line);)
    if (line.find(" rwx") != std::string::npos || line.find(" -wx") != std::string::npos) return true;
  return false;
}

Graph prepared(const Graph& written, const Trial& trial) {
  const auto formula = [](const Node& node) { return definition(node.op).cls == OpClass::formula; };
  if (!trial.gradients) return assign_order(std::ranges::any_of(written.nodes, formula) ? expand(written) : written);
  PipelineOptions passes;
  passes.verify_each = true;
  passes.simplify.disabled_laws = trial.disabled_laws;
  return optimise(written, passes);
}

struct Expected {
  Graph graph;
  Environment environment;
  std::map<std::string, Tensor> values;
  std::map<std::string, Tensor> untouched;  ///< what nothing updates: a program that has it leaves it as it is
};
Expected expected_of(const Graph& written, const Trial& trial) {
  Expected expected{prepared(written, trial), {}, {}, {}};
  expected.environment = random_environment(expected.graph, trial.configuration.batch, trial.seed);
  expected.values = evaluate(expected.graph, expected.environment);
  const Environment& given = expected.environment;
  for (const auto* kept : {&given.params, &given.state, &given.carry})
    for (const auto& [name, tensor] : *kept)
      if (!expected.values.contains("update " + name)) expected.untouched.emplace("update " + name, tensor);
  return expected;
}

Program lowered(const Graph& graph, const Configuration& c, const Plant& plant) {
  LowerOptions options;
  options.machine = c.machine;
  options.rows = c.batch;
  options.threads = static_cast<int>(c.threads);
  options.fuse = c.fuse;
  options.in_one_piece = c.in_one_piece;
  options.layout = c.layouts != Layouts::dense;
  VariableLayouts layouts;
  if (c.layouts == Layouts::another) {
    LowerOptions other = options;
    other.rows = c.batch == 16 ? 3 : 16;
    layouts = layouts_of(lower(graph, "step", other));
    options.obey = &layouts;
  }
  Program program = lower(graph, "step", options);
  test::share_all(program, c.threads);
  if (c.memory == Memory::apart) move_apart(program, c.guard);
  if (const std::string wrong = verify(program); !wrong.empty())
    throw std::runtime_error("the program does not verify: " + wrong);
  if (plant) plant(program);
  return program;
}

std::string first_difference(const Expected& expected, const std::map<std::string, Tensor>& found) {
  std::map<std::string, Tensor> all = expected.values;
  for (const auto& [name, tensor] : expected.untouched)
    if (found.contains(name)) all.emplace(name, tensor);
  for (const auto& [name, tensor] : all) {
    if (!found.contains(name)) return "there is no " + name;
    const Tensor& other = found.at(name);
    if (other.dtype != tensor.dtype || other.dims != tensor.dims) return name + " has another type";
    if (same_bits(other, tensor)) continue;
    std::int64_t at = 0;
    const auto equal = [&](double a, double b) {
      return (a == b && std::signbit(a) == std::signbit(b)) || (std::isnan(a) && std::isnan(b));
    };
    while (equal(other.at(at), tensor.at(at))) ++at;
    return fmt::format("{}[{}] is {:a}, evaluated {:a}", name, at, other.at(at), tensor.at(at));
  }
  return "";
}

std::string difference(const Expected& expected, const Configuration& c, const Plant& plant) {
  const Program program = lowered(expected.graph, c, plant);
  const auto code = compiled(program, c);
  if (writable_code()) return "a page can be written and executed";
  const auto run = [&](Guard guard, const Program* apart) {
    return first_difference(expected, run_native(code->entry(), expected.environment, c.threads, guard, apart));
  };
  if (c.memory == Memory::apart) return run(c.guard, &program);
  for (const Guard guard : {Guard::behind, Guard::before})
    if (const std::string wrong = run(guard, nullptr); !wrong.empty()) return wrong;
  return "";
}

/// Lines that `work` writes while it runs in a process of its own, and the signal that ended it, or 0.
std::pair<std::string, int> lines_of_child(const std::function<void(int out)>& work) {
  int ends[2];
  if (pipe(ends) != 0) throw std::runtime_error("no pipe");
  const pid_t child = fork();
  if (child < 0) throw std::runtime_error("no process");
  if (child == 0) {
    close(ends[0]);
    for (const int number : {SIGSEGV, SIGABRT, SIGBUS, SIGFPE, SIGILL}) std::signal(number, SIG_DFL);
    work(ends[1]);
    _exit(0);
  }
  close(ends[1]);
  std::string text;
  char part[4096];
  for (ssize_t got = 0; (got = read(ends[0], part, sizeof part)) > 0;) text.append(part, static_cast<std::size_t>(got));
  close(ends[0]);
  int status = 0;
  waitpid(child, &status, 0);
  return {text, WIFSIGNALED(status) ? WTERMSIG(status) : 0};
}

void put(int out, std::string text) {
  for (char& c : text)
    if (c == '\n') c = ' ';
  text += '\n';
  for (std::size_t done = 0; done < text.size();) {
    const ssize_t wrote = write(out, text.data() + done, text.size() - done);
    if (wrote <= 0) _exit(1);
    done += static_cast<std::size_t>(wrote);
  }
}

std::string result_or_error(const std::function<std::string()>& check) {
  try {
    return check();
  } catch (const std::exception& error) {
    return error.what();
  }
}

/// The trials of a graph from `skip` on. Before each a line says which it is; after it one says what was wrong.
void try_graph(std::uint64_t seed, std::size_t skip, const Plant& plant, int out) {
  const Graph graph = trial_graph(seed);
  const std::vector<Trial> trials = trials_of(seed);
  std::optional<Expected> expected;
  for (std::size_t i = skip; i < trials.size(); ++i) {
    put(out, fmt::format("{} {}", seed, i));
    const Trial& trial = trials[i];
    const std::string wrong = result_or_error([&] {
      if (!expected || expected->environment.batch != trial.configuration.batch) expected = expected_of(graph, trial);
      return difference(*expected, trial.configuration, plant);
    });
    put(out, "= " + wrong);
  }
}

}  // namespace

std::string describe(const Configuration& c) {
  std::string text;
  for (const std::string& axis : axes_of(c)) text += (text.empty() ? "" : ", ") + axis;
  return text;
}

Graph trial_graph(std::uint64_t seed) {
  RandomGraphOptions options;
  options.most_nodes = most_nodes(seed);
  options.newer = true;
  options.nested_loops = kind_of(seed) == 1;
  options.gradients = kind_of(seed) == 2;
  return random_graph(seed, options);
}

std::vector<Trial> trials_of(std::uint64_t seed) {
  Random random(seed_of(seed, "configuration"));
  static const std::vector<std::int64_t> batches{1, 2, 15, 16, 17, 31, 32, 33};
  std::vector<Trial> trials;
  Trial trial{.seed = seed, .gradients = kind_of(seed) == 2, .disabled_laws = {}, .configuration = {}};
  if (trial.gradients && random.chance(0.3))
    for (const Law& law : simplify_laws())
      if (random.chance(0.3)) trial.disabled_laws.emplace_back(law.name);
  std::int64_t batch = 1;
  for (std::size_t i = 0; i < trials_a_graph; ++i) {
    if (i % 2 == 0) batch = random.one_of(batches);
    trial.configuration = random_configuration(random, batch);
    trials.push_back(trial);
  }
  return trials;
}

std::string difference(const Graph& written, const Trial& trial, const Plant& plant) {
  return difference(expected_of(written, trial), trial.configuration, plant);
}

std::string in_child(const std::function<std::string()>& check) {
  const auto [text, signal] = lines_of_child([&](int out) { put(out, result_or_error(check)); });
  if (signal != 0) return fmt::format("signal {}", signal);
  return text.empty() ? "the child failed" : text.substr(0, text.size() - 1);
}

std::vector<Finding> run_trials(std::uint64_t first, std::uint64_t last, std::map<std::string, std::uint64_t>& drawn,
                                const Plant& plant) {
  std::vector<Finding> findings;
  std::uint64_t seed = first;
  std::size_t skip = 0;
  while (seed < last) {
    const auto [text, signal] = lines_of_child([&](int out) {
      for (std::uint64_t at = seed; at < last; ++at) try_graph(at, at == seed ? skip : 0, plant, out);
    });
    std::istringstream lines(text);
    Finding at{seed, skip, ""};
    bool open = false;
    for (std::string line; std::getline(lines, line);) {
      open = !line.starts_with("= ");
      if (open) {
        std::istringstream(line) >> at.seed >> at.trial;
      } else if (line.size() > 2) {
        findings.push_back({at.seed, at.trial, line.substr(2)});
      }
    }
    if (signal == 0 && !open) break;
    findings.push_back({at.seed, at.trial, fmt::format("signal {}", signal)});
    seed = at.seed, skip = at.trial + 1;
  }
  for (std::uint64_t at = first; at < last; ++at)
    for (const Trial& trial : trials_of(at))
      for (const std::string& axis : axes_of(trial.configuration)) ++drawn[axis];
  return findings;
}

Reduced reduced(const Finding& finding, const Plant& plant) {
  Trial trial = trials_of(finding.seed)[finding.trial];
  const auto wrong = [&](const Graph& graph) { return in_child([&] { return difference(graph, trial, plant); }); };
  Reduced made{reduce_failing(trial_graph(finding.seed), [&](const Graph& graph) { return !wrong(graph).empty(); }),
               {}};
  // The simplest configuration in which it still fails.
  const auto simpler = [&](auto change) {
    const Trial before = trial;
    change(trial.configuration);
    if (wrong(made.graph).empty()) trial = before;
  };
  simpler([](Configuration& c) { c.object = false; });
  simpler([](Configuration& c) { c.threads = 1; });
  simpler([](Configuration& c) { c.memory = Memory::planned; });
  simpler([](Configuration& c) { c.layouts = Layouts::dense; });
  simpler([](Configuration& c) { c.in_one_piece = false; });
  simpler([](Configuration& c) { c.fuse = false; });
  simpler([](Configuration& c) { c.level = CodegenLevel::less; });
  simpler([](Configuration& c) { c.target = targets()[0]; });
  simpler([](Configuration& c) { c.machine = machine_avx2(); });
  simpler([](Configuration& c) { c.batch = 1; });
  made.text = fmt::format("seed {}, trial {}: {}\ncut down to\n{}{}: {}\n{}", finding.seed, finding.trial, finding.what,
                          print(made.graph), trial.gradients ? "all passes, " : "", describe(trial.configuration),
                          wrong(made.graph));
  return made;
}

}  // namespace nnc::test
