// nnc test: runs the `test` blocks of programs. Each test is one graph without leaves; it is evaluated by the reference
// evaluator and by native code, which must agree to the bit, and what it expects is compared here, element by element.
#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <nlohmann/json.hpp>

#include "driver/commands.h"
#include "driver/options.h"
#include "driver/tensor.h"
#include "passes/gradcheck.h"
#include "passes/pipeline.h"
#include "runtime/programs.h"
#include "runtime/weights.h"

namespace nnc::driver {

namespace {

struct TestFlags {
  std::vector<std::string> files;
  std::string filter;
  std::uint64_t seed = 0;
  bool json = false;
  ProgramOptions program;
  CompileFlags compile;
};

using Values = std::map<std::string, Tensor>;

/// What was expected and is not so.
struct Failure {
  Span span;
  std::vector<std::string> notes;
};

// ---- running -------------------------------------------------------------------------------------------------------

Values run_native(const Graph& opt, const Compilation& compilation, std::uint64_t seed) {
  LowerOptions options;
  options.machine = compilation.host.machine;
  options.threads = compilation.threads;
  const Program program = lower(opt, "test", options);
  const auto compiled = compile(program, {.target = compilation.host.target, .level = compilation.level});
  const nnc_entry& code = compiled->entry();
  std::vector<Bytes> results;
  std::vector<void*> places;
  for (const nnc_slot& slot : outputs_of(code)) results.emplace_back(slot.bytes);
  for (Bytes& result : results) places.push_back(result.data());
  Scalars scalars;
  nnc_call call{};
  call.outputs = places.data();
  call.scalars = scalars.values;
  call.seed = seed;
  Runner runner(compilation.threads);
  runner.run({&code, compilation.threads}, call);
  Values values;
  for (std::size_t i = 0; i < results.size(); ++i) {
    nnc_slot slot = outputs_of(code)[i];
    slot.offset = 0;
    values.emplace(slot.name, tensor_of(unpack(slot, results[i].data())));
  }
  return values;
}

// ---- comparing -----------------------------------------------------------------------------------------------------

bool satisfies(Expectation::Relation relation, double left, double right, double within) {
  using enum Expectation::Relation;
  const bool near = left == right || std::abs(left - right) <= within;
  switch (relation) {
    case equal:
      return near;
    case not_equal:
      return !near;
    case less:
      return left < right || left - right < within;
    case less_equal:
      return left <= right || left - right <= within;
    case greater:
      return left > right || right - left < within;
    case greater_equal:
      return left >= right || right - left <= within;
  }
  return false;
}

std::string text_of(const Tensor& tensor, std::int64_t index) {
  if (tensor.dtype == DType::boolean) return tensor.at(index) != 0 ? "true" : "false";
  if (std::isnan(tensor.at(index))) return "nan";  // whose sign means nothing
  if (tensor.dtype == DType::f32) return fmt::format("{}", static_cast<float>(tensor.at(index)));
  return fmt::format("{}", tensor.at(index));
}

/// "[1, 0]" of an element counted in row-major order; "" of a number.
std::string index_text(const std::vector<std::int64_t>& dims, std::int64_t element) {
  std::vector<std::int64_t> index(dims.size());
  for (std::size_t axis = dims.size(); axis-- > 0;) {
    index[axis] = element % dims[axis];
    element /= dims[axis];
  }
  return dims.empty() ? "" : fmt::format("[{}]", fmt::join(index, ", "));
}

/// All elements are compared; the first that fails and the worst are told.
std::optional<Failure> compare(const Expectation& expected, const Values& values) {
  const Tensor &left = values.at(expected.left), &right = values.at(expected.right);
  const Tensor& longer = left.dims.size() >= right.dims.size() ? left : right;
  const auto element = [](const Tensor& tensor, std::int64_t i) { return tensor.dims.empty() ? 0 : i; };
  const auto difference = [&](std::int64_t i) {
    const double gap = std::abs(left.at(element(left, i)) - right.at(element(right, i)));
    return std::isnan(gap) ? INFINITY : gap;
  };
  std::int64_t first = -1, worst = -1, failed = 0;
  for (std::int64_t i = 0; i < longer.count(); ++i) {
    if (satisfies(expected.relation, left.at(element(left, i)), right.at(element(right, i)), expected.within)) continue;
    ++failed;
    if (first < 0) first = i;
    if (worst < 0 || difference(i) > difference(worst)) worst = i;
  }
  if (failed == 0) return std::nullopt;
  const auto told = [&](const char* which, std::int64_t i) {
    const std::string index = longer.count() > 1 ? " " + index_text(longer.dims, i) : "";
    return fmt::format("{}{}: {} and {}, apart by {:.3g}", which, index, text_of(left, element(left, i)),
                       text_of(right, element(right, i)), difference(i));
  };
  Failure failure{.span = expected.span, .notes = {}};
  if (longer.count() > 1) failure.notes.push_back(fmt::format("{} of {} elements fail", failed, longer.count()));
  failure.notes.push_back(told(longer.count() > 1 ? "first:" : "values", first));
  if (worst != first) failure.notes.push_back(told("worst:", worst));
  if (expected.within > 0) failure.notes.push_back(fmt::format("within {}", expected.within));
  return failure;
}

/// Derived gradients against differences, at the values that the test gave.
std::optional<Failure> check_gradients(const ElaboratedTest& test, const GradientCheck& check, std::uint64_t seed) {
  GradcheckOptions options;
  options.seed = seed;
  std::set<std::string> points;
  for (const std::string& name : check.by) points.insert("point " + name);
  Environment at;
  at.seed = seed;
  for (auto& [name, value] : evaluate(optimise(with_outputs(test.graph, points)), at))
    options.points.emplace(name.substr(std::string_view("point ").size()), value);
  const GradcheckReport report =
      gradcheck_step(with_outputs(test.graph, {check.results.begin(), check.results.end()}), options);
  if (report.failures.empty()) return std::nullopt;
  Failure failure{.span = check.span, .notes = {}};
  constexpr std::size_t most = 5;
  for (std::size_t i = 0; i < std::min(report.failures.size(), most); ++i)
    failure.notes.push_back(to_string(report.failures[i]));
  if (report.failures.size() > most)
    failure.notes.push_back(fmt::format("and {} more of {}", report.failures.size() - most, report.checked));
  return failure;
}

struct TestResult {
  std::vector<Failure> failures;
  Values values;  ///< of both sides of every `expect`
};

TestResult run_test(const ElaboratedTest& test, const std::optional<ElaboratedTest>& for_gradients,
                    const TestFlags& flags, const Compilation& compilation) {
  TestResult result;
  std::vector<Failure>& failures = result.failures;
  if (!test.expectations.empty()) {
    const Graph opt = optimise(test.graph);
    Environment at;
    at.seed = flags.seed;
    const Values meant = evaluate(opt, at), native = run_native(opt, compilation, flags.seed);
    result.values = meant;
    for (const Expectation& expected : test.expectations) {
      if (auto failure = compare(expected, meant)) failures.push_back(std::move(*failure));
      for (const std::string& name : {expected.left, expected.right})
        if (!same_bits(meant.at(name), native.at(name)))
          throw std::logic_error(fmt::format("native code and evaluator differ in the test \"{}\"", test.title));
    }
  }
  if (for_gradients)
    for (const GradientCheck& check : for_gradients->gradients)
      if (auto failure = check_gradients(*for_gradients, check, flags.seed)) failures.push_back(std::move(*failure));
  return result;
}

// ---- telling -------------------------------------------------------------------------------------------------------

/// The place, its line with carets, and what was found.
std::string shown(const Failure& failure, const Diagnostics& sources) {
  const auto [line, column] = sources.position(failure.span.file, failure.span.begin);
  const auto [begin, end] = sources.line_bounds(failure.span.file, line);
  const std::string number = std::to_string(line), margin(number.size(), ' ');
  const std::size_t carets = std::max<std::size_t>(1, std::min(failure.span.end, end) - failure.span.begin);
  std::string text =
      fmt::format(" {}--> {}:{}:{}\n {} |\n {} | {}\n {} | {}{}\n", margin, sources.file(failure.span.file).path, line,
                  column, margin, number, sources.text({failure.span.file, begin, end}), margin,
                  std::string(column - 1, ' '), std::string(carets, '^'));
  for (const std::string& note : failure.notes) text += fmt::format(" {} = {}\n", margin, note);
  return text;
}

/// A number, or a row of all elements; NaN and infinities, which JSON has not, are null.
nlohmann::ordered_json json_of(const Tensor& tensor) {
  if (tensor.dims.empty()) return tensor.at(0);
  auto elements = nlohmann::ordered_json::array();
  for (std::int64_t i = 0; i < tensor.count(); ++i) elements.push_back(tensor.at(i));
  return elements;
}

nlohmann::ordered_json json_of(const std::string& file, const ElaboratedTest& test, const std::string& dtype,
                               const TestResult& result, const Diagnostics& sources) {
  const std::vector<Failure>& failures = result.failures;
  nlohmann::ordered_json json{{"schema", "nnc.test.1"},     {"file", file},
                              {"test", test.title},         {"dtype", dtype},
                              {"passed", failures.empty()}, {"failures", nlohmann::ordered_json::array()}};
  for (const Failure& failure : failures) {
    const auto [line, column] = sources.position(failure.span.file, failure.span.begin);
    json["failures"].push_back({{"line", line}, {"column", column}, {"notes", failure.notes}});
  }
  for (const Expectation& expected : test.expectations) {
    const auto [line, column] = sources.position(expected.span.file, expected.span.begin);
    json["expected"].push_back({{"line", line},
                                {"column", column},
                                {"condition", sources.text(expected.span)},
                                {"left", json_of(result.values.at(expected.left))},
                                {"right", json_of(result.values.at(expected.right))},
                                {"within", expected.within}});
  }
  return json;
}

struct Tally {
  int passed = 0, failed = 0;
};

/// The tests of one file, read in f32 or f64.
Exit test_file(const std::string& file, const TestFlags& flags, const Compilation& compilation, const Console& console,
               Tally& tally) {
  const auto options = flags.program.elaborate_options(console, "");
  if (!options) return Exit::usage;
  if (auto problem = no_program(file)) return console.show(*problem), exit_of(*problem);
  Diagnostics diagnostics;
  const ElaboratedTests found = elaborate_tests(file, *options, diagnostics);
  console.show(diagnostics);
  for (std::size_t i = 0; i < found.tests.size(); ++i) {
    const ElaboratedTest& one = found.tests[i];
    if (one.title.find(flags.filter) == std::string::npos) continue;
    const TestResult result = run_test(one, found.for_gradients[i], flags, compilation);
    const std::vector<Failure>& failures = result.failures;
    ++(failures.empty() ? tally.passed : tally.failed);
    if (flags.json) {
      fmt::print("{}\n", json_of(file, one, flags.program.dtype, result, diagnostics)
                             .dump(-1, ' ', false, nlohmann::ordered_json::error_handler_t::replace));
      continue;
    }
    fmt::print("{}  {}: {}{}\n", failures.empty() ? "ok  " : "FAIL", file, one.title,
               flags.program.dtype == "f64" ? " (f64)" : "");
    for (const Failure& failure : failures) fmt::print("{}", shown(failure, diagnostics));
  }
  return exit_of(diagnostics);
}

/// In the types that the user asked for, one after the other: f64 has nothing to add to a program that is wrong in f32.
Exit test(const TestFlags& flags, const Console& console) {
  const auto compilation = flags.compile.compilation(console, true);
  if (!compilation) return Exit::usage;
  const bool both = flags.program.dtype == "both";
  Exit status = Exit::done;
  Tally tally;
  for (const std::string& file : flags.files) {
    TestFlags once = flags;
    if (both) once.program.dtype = "f32";
    Exit of_file = test_file(file, once, *compilation, console, tally);
    if (both && of_file == Exit::done) {
      once.program.dtype = "f64";
      of_file = test_file(file, once, *compilation, console, tally);
    }
    status = std::max(status, of_file);
  }
  if (!flags.json) fmt::print("{} passed, {} failed\n", tally.passed, tally.failed);
  if (tally.passed + tally.failed == 0 && status == Exit::done) {
    console.error(flags.filter.empty() ? "there is no test"
                                       : fmt::format("no test has `{}` in its name", flags.filter));
    return Exit::usage;
  }
  return tally.failed > 0 ? std::max(status, Exit::wrong) : status;
}

}  // namespace

void add_test(CLI::App& app, Action& action) {
  auto flags = std::make_shared<TestFlags>();
  CLI::App* command = app.add_subcommand(
      "test",
      "Runs the `test` blocks of programs, by the reference evaluator and as native code, whose bits must agree.");
  command->footer(
      "Examples:\n"
      "  nnc test layers.nn\n"
      "  nnc test layers.nn --filter norm\n"
      "  nnc test *.nn --dtype both --json\n");
  command->add_option("FILE", flags->files, "programs")->required();
  command->add_option("--filter", flags->filter, "only tests with this text in their name")->type_name("TEXT");
  command->add_option("--seed", flags->seed, "of random values and initial parameters")
      ->check(whole_of_64_bits())
      ->type_name("N");
  command->add_flag("--json", flags->json, "a JSON object a test, on lines of their own");
  flags->program.add_to(*command, true);
  flags->compile.add_to(*command);
  command->callback([flags, &action] { action = [flags](const Console& console) { return test(*flags, console); }; });
}

}  // namespace nnc::driver
