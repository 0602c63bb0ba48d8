// A straight line of a step that hands its parameters to the next is ordered by what waits for what: chains that do not
// meet stand side by side, and memory is read and written in the order in which it was.
#include "tests/support/programs.h"
#include "tests/unit/catch.h"

using namespace nnc;
using namespace nnc::test;

namespace {

Access element(BufferId buffer, std::int64_t at) { return {buffer, {AffineRow{at, {}}}}; }

/// What is stored at one place: `make` of what lies at others.
Stage stage(const std::vector<Access>& from, const Access& to,
            const std::function<Scalar(std::span<const Scalar>)>& make) {
  std::vector<std::pair<ScalarType, BodyInput>> inputs;
  for (const Access& access : from) inputs.emplace_back(ScalarType::f64, access);
  Stage made;
  made.body = body(inputs, [&](std::span<const Scalar> values) { return std::vector{make(values)}; });
  made.stores.push_back({to, 0});
  return made;
}

void set_kernel(Draft& draft, std::vector<Stage> stages) {
  Kernel kernel;
  kernel.name = "line";
  kernel.stages = std::move(stages);
  kernel.schedule.vector = Schedule::Vector::none;
  kernel.schedule.lanes = 1;
  draft.program.kernels = {kernel};
}

/// Lines of the text from the first that holds `word` to the last one.
std::ptrdiff_t lines_with(const std::string& text, const std::string& word) {
  const std::size_t first = text.find(word), last = text.rfind(word);
  REQUIRE(first != std::string::npos);
  return std::count(text.begin() + static_cast<std::ptrdiff_t>(first), text.begin() + static_cast<std::ptrdiff_t>(last),
                    '\n');
}

}  // namespace

TEST_CASE("units of a layer are computed side by side", "[codegen]") {
  constexpr int units = 4;
  Draft draft;
  const BufferId x = draft.row_major(Region::arena, DType::f64, {units});
  const BufferId y = draft.row_major(Region::params, DType::f64, {units});
  std::vector<std::pair<ScalarType, BodyInput>> inputs;
  for (int i = 0; i < units; ++i) inputs.emplace_back(ScalarType::f64, element(x, i));
  Stage layer;
  layer.body = body(inputs, [](std::span<const Scalar> values) {
    std::vector<Scalar> results;
    for (const Scalar& value : values) results.push_back(scalar::tanh(value));
    return results;
  });
  for (int i = 0; i < units; ++i) layer.stores.push_back({element(y, i), static_cast<ScalarId>(i)});
  set_kernel(draft, {layer});
  const std::string text = emit_llvm(draft.program, {.target = detect_host().target});
  CHECK(lines_with(text, "fdiv double") < 2 * units);  // of each unit there are fifty
}

TEST_CASE("a straight line reads what was written before it, and not what is written after it", "[codegen]") {
  Draft draft;
  const BufferId x = draft.row_major(Region::arena, DType::f64, {3});
  const BufferId y = draft.row_major(Region::params, DType::f64, {2});
  const auto doubled = [](std::span<const Scalar> v) { return v[0] + v[0]; };
  const auto long_chain = [](std::span<const Scalar> v) { return sqrt(sqrt(sqrt(v[0] / v[1]) / v[1]) / v[1]); };
  // The copy of x[0] is wanted late, and what x[0] becomes then is wanted early; and the other way round.
  set_kernel(draft, {stage({element(x, 0)}, element(y, 0), doubled), stage({element(x, 1)}, element(x, 0), doubled),
                     stage({element(x, 0), element(x, 1)}, element(x, 2), long_chain),
                     stage({element(x, 2)}, element(y, 1), doubled)});
  const auto compiled = compile(draft.program, {.target = detect_host().target});
  REQUIRE(compiled->entry().repeat != nullptr);
  Arena memory(draft.program);
  memory.at<double>(x)[0] = 5, memory.at<double>(x)[1] = 3;
  memory.run(compiled->entry());
  CHECK(memory.at<double>(y)[0] == 10);
  CHECK(memory.at<double>(x)[0] == 6);
  CHECK(memory.at<double>(y)[1] == 2 * std::sqrt(std::sqrt(std::sqrt(6. / 3.) / 3.) / 3.));
}
