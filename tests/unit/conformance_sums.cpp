// tests/conformance/sums.txt holds SHA-256 sums (every NaN as one NaN) of each scalar function on 2^20 inputs and of
// the outputs of random graphs. Every machine, every compiler of this project and every configuration of its code
// generator reproduce them: this is the promise of equal bits, across machines that never meet. NNC_BLESS=1 writes the
// file anew.
#include <fmt/format.h>

#include <bit>
#include <cmath>
#include <cstdlib>
#include <cstring>
#include <fstream>
#include <map>

#include "codegen/compile.h"
#include "ir/builder.h"
#include "ir/evaluate.h"
#include "passes/passes.h"
#include "tests/support/random.h"
#include "tests/support/random_graph.h"
#include "tests/support/run_native.h"
#include "tests/support/scalar_functions.h"
#include "tests/support/sha256.h"
#include "tests/support/targets.h"
#include "tests/unit/catch.h"

using namespace nnc;

namespace {

constexpr std::int64_t rows = 1024, columns = 1024;
constexpr std::uint64_t graphs = 500;

Tensor with_one_nan(Tensor tensor) {
  if (is_float(tensor.dtype))
    for (std::int64_t i = 0; i < tensor.count(); ++i)
      if (std::isnan(tensor.at(i))) {
        // Written as bits: conversions of a NaN need not keep them.
        const std::uint32_t single = 0x7fc00000;
        const std::uint64_t twice = 0x7ff8000000000000;
        const std::size_t size = size_of(tensor.dtype);
        std::memcpy(tensor.data.data() + static_cast<std::size_t>(i) * size,
                    tensor.dtype == DType::f32 ? static_cast<const void*>(&single) : &twice, size);
      }
  return tensor;
}

std::string sum_of(const std::map<std::string, Tensor>& tensors) {
  test::Sha256 sum;
  for (const auto& [name, tensor] : tensors) {
    sum.add(std::as_bytes(std::span(name)));
    sum.add(with_one_nan(tensor).data);
  }
  return sum.hex();
}

/// A third of all bit patterns, a third from [-2, 2), a third from [-800, 800).
Tensor arguments(const std::string& name, DType dtype) {
  Tensor tensor = Tensor::zeros(dtype, {rows, columns});
  test::Random random(test::seed_of(1, name));
  for (std::int64_t i = 0; i < tensor.count(); ++i) {
    const std::uint64_t bits = random.bits();
    const double near = random.uniform(-2, 2), far = random.uniform(-800, 800);
    const std::size_t size = size_of(dtype);
    if (i % 3 == 0)
      std::memcpy(tensor.data.data() + static_cast<std::size_t>(i) * size, &bits, size);
    else
      tensor.set(i, i % 3 == 1 ? near : far);
  }
  return tensor;
}

/// The functions as graphs: one op over inputs x and y, and the uniform numbers.
struct Case {
  std::string name;
  Graph graph;
  Environment environment;
};

Case function_case(Op op, int arity, DType dtype) {
  const std::string name = fmt::format("{} {}", definition(op).name, name_of(dtype));
  Builder builder(std::string(definition(op).name));
  const Type type{dtype, {batch_extent, {columns, false}}};
  const Value x = builder.leaf(Op::input, "x", type);
  builder.output(OutputKind::result, "r", arity == 1 ? apply(op, x) : apply(op, x, builder.leaf(Op::input, "y", type)));
  Case made{name, std::move(builder).finish(), {}};
  made.environment = test::random_environment(made.graph, rows, 1);
  for (auto& [leaf, tensor] : made.environment.inputs) tensor = arguments(name + " " + leaf, dtype);
  return made;
}

Case uniform_case(DType dtype) {
  Builder builder("uniform");
  const Value u = builder.make(Op::random, {}, Random{0x0123456789abcdef}, {dtype, {batch_extent, {columns, false}}});
  builder.output(OutputKind::result, "r", u);
  Case made{fmt::format("uniform {}", name_of(dtype)), std::move(builder).finish(), {}};
  made.environment = test::random_environment(made.graph, rows, 1);
  return made;
}

std::vector<Case> cases() {
  std::vector<Case> made;
  for (const DType dtype : {DType::f32, DType::f64}) {
    for (const Op op : {Op::exp, Op::expm1, Op::log, Op::log1p, Op::tanh, Op::sin, Op::cos, Op::erf, Op::normal_cdf,
                        Op::logistic, Op::softplus, Op::sqrt})
      made.push_back(function_case(op, 1, dtype));
    for (const Op op : {Op::pow, Op::div, Op::max, Op::min}) made.push_back(function_case(op, 2, dtype));
    made.push_back(uniform_case(dtype));
  }
  return made;
}

std::string file_name() { return std::string(NNC_SOURCE_DIR) + "/tests/conformance/sums.txt"; }

/// The file: a name, two spaces or more, a sum.
std::map<std::string, std::string> committed() {
  std::map<std::string, std::string> sums;
  std::ifstream file(file_name());
  for (std::string line; std::getline(file, line);)
    if (const std::size_t at = line.rfind(' '); !line.empty() && line[0] != '#' && at != std::string::npos)
      sums[line.substr(0, line.find("  "))] = line.substr(at + 1);
  return sums;
}

TEST_CASE("SHA-256 gives the known answers of FIPS 180-4") {
  const auto sum = [](const std::string& text) {
    test::Sha256 hash;
    hash.add(std::as_bytes(std::span(text)));
    return hash.hex();
  };
  CHECK(sum("abc") == "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
  CHECK(sum("") == "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855");
  CHECK(sum("abcdbcdecdefdefgefghfghighijhijkijkljklmklmnlmnomnopnopq") ==
        "248d6a61d20638b8e5c026930c3e6039a33ce45964ff2167f6ecedd419db06c1");
}

TEST_CASE("conformance: the evaluator reproduces the committed sums") {
  std::map<std::string, std::string> sums;
  for (const Case& c : cases()) sums[c.name] = sum_of(evaluate(c.graph, c.environment, true));
  for (std::uint64_t seed = 0; seed < graphs; ++seed) {
    const Graph graph = test::random_graph(seed);
    const Environment environment = test::random_environment(graph, test::random_batch(seed), seed);
    sums[fmt::format("random graph {:02}", seed)] = sum_of(evaluate(graph, environment, true));
  }
  if (std::getenv("NNC_BLESS")) {
    std::ofstream file(file_name());
    file << "# SHA-256 of results with every NaN as one; tests/unit/conformance_sums.cpp says of which.\n";
    for (const auto& [name, sum] : sums) file << fmt::format("{:<16}  {}\n", name, sum);
  }
  const std::map<std::string, std::string> expected = committed();
  CHECK(expected.size() == sums.size());
  for (const auto& [name, sum] : sums) {
    INFO(name);
    const auto found = expected.find(name);
    CHECK((found != expected.end() && found->second == sum));
  }
}

std::string compiled_sum(const Case& c, const Machine& machine, const CompileOptions& how) {
  LowerOptions options;
  options.machine = machine;
  options.rows = rows;
  options.threads = 2;
  const auto compiled = compile(lower(assign_order(c.graph), "infer", options), how);
  return sum_of(test::run_native(compiled->entry(), c.environment, 2));
}

TEST_CASE("conformance: compiled functions reproduce the committed sums") {
  const std::map<std::string, std::string> expected = committed();
  for (const Case& c : cases()) {
    const std::string& sum = expected.at(c.name);
    INFO(c.name);
    for (const Machine& machine : {machine_avx512(), machine_avx2(), machine_four_lanes()})
      CHECK(compiled_sum(c, machine, {test::targets()[0], CodegenLevel::less}) == sum);
    for (const CodegenLevel level : {CodegenLevel::none, CodegenLevel::aggressive})
      CHECK(compiled_sum(c, machine_avx2(), {test::targets()[0], level}) == sum);
    for (std::size_t i = 1; i < test::targets().size(); ++i)
      CHECK(compiled_sum(c, machine_avx2(), {test::targets()[i], CodegenLevel::less}) == sum);
  }
}

}  // namespace
