// Kernels that turn rows into columns do so square by square, whatever their operands' layouts and element types, and
// for any share of a thread; what is not made of whole squares, or computes, goes another way to the same end.
#include <sstream>

#include "codegen/compile.h"
#include "tests/support/programs.h"
#include "tests/unit/catch.h"

using namespace nnc;
using namespace nnc::test;

namespace {

enum class Side { rows, padded, panels };

enum class What { moved, doubled, broadcast };

/// out[i, j] = in[j, i], or twice that, or in[0, i].
struct Turned {
  Draft draft;
  BufferId in, out;

  Turned(DType dtype, std::int64_t rows, std::int64_t columns, Side from, Side to, int lanes, int pieces,
         What what = What::moved) {
    in = buffer(dtype, columns, rows, from, lanes);
    out = buffer(dtype, rows, columns, to, lanes);
    const ScalarType type = dtype == DType::f32   ? ScalarType::f32
                            : dtype == DType::f64 ? ScalarType::f64
                                                  : ScalarType::i32;
    Stage stage;
    Access from_access = access(in, {1, 0}, 2);
    if (what == What::broadcast) from_access.map[0].coefficients = {0, 0};
    stage.body = body({{type, from_access}},
                      [&](auto v) { return std::vector<Scalar>{what == What::doubled ? v[0] + v[0] : v[0]}; });
    stage.stores = {{access(out, {0, 1}, 2), 0}};
    Kernel kernel;
    kernel.name = "turn";
    kernel.outer = {rows, columns};
    kernel.stages = {stage};
    kernel.schedule.vector = Schedule::Vector::outer;
    kernel.schedule.lanes = lanes;
    kernel.schedule.parallel = pieces;
    draft.program.kernels = {kernel};
  }
  /// Whether lanes change places: more than one value in all of them.
  bool in_squares() const {
    std::istringstream text(emit_llvm(draft.program, {.target = detect_host().target}));
    for (std::string line; std::getline(text, line);)
      if (line.find("shufflevector") != std::string::npos && line.find("zeroinitializer") == std::string::npos)
        return true;
    return false;
  }

 private:
  BufferId buffer(DType dtype, std::int64_t rows, std::int64_t columns, Side side, int lanes) {
    if (side == Side::panels) return draft.panels(Region::arena, dtype, rows, columns, 2 * std::int64_t{lanes});
    return draft.row_major(Region::arena, dtype, {rows, columns}, side == Side::padded ? columns + 16 : 0);
  }
};

std::size_t place(const Buffer& buffer, std::int64_t row, std::int64_t column) {
  const Layout& layout = buffer.layout;
  if (layout.kind == Layout::Kind::panels)
    return static_cast<std::size_t>((column / layout.panel * buffer.dims[0] + row) * layout.panel +
                                    column % layout.panel);
  return static_cast<std::size_t>(row * layout.strides[0] + column);
}

template <class T>
void check_turned(const Turned& turned, int threads) {
  const Program& program = turned.draft.program;
  const Buffer &from = program.buffers[turned.in], &to = program.buffers[turned.out];
  const auto compiled = compile(program, {.target = detect_host().target});
  Arena memory(program);
  for (std::int64_t row = 0; row < from.dims[0]; ++row)
    for (std::int64_t column = 0; column < from.dims[1]; ++column)
      memory.at<T>(turned.in)[place(from, row, column)] = static_cast<T>(1000 * row + column);
  memory.run(compiled->entry(), threads);
  int wrong = 0;
  for (std::int64_t row = 0; row < to.dims[0]; ++row)
    for (std::int64_t column = 0; column < to.dims[1]; ++column)
      wrong += memory.at<T>(turned.out)[place(to, row, column)] != static_cast<T>(1000 * column + row);
  CAPTURE(to.dims[0], to.dims[1], program.kernels[0].schedule.lanes, threads);
  CHECK(wrong == 0);
}

constexpr Side sides[] = {Side::rows, Side::padded, Side::panels};

}  // namespace

TEST_CASE("rows become columns square by square, whatever the layouts", "[codegen]") {
  for (const int lanes : {2, 4, 8, 16})
    for (const int threads : {1, 3})
      for (const Side from : sides)
        for (const Side to : sides) {
          const auto turned = [&](DType dtype) { return Turned(dtype, 48, 80, from, to, lanes, threads); };
          CHECK(turned(DType::f32).in_squares());
          check_turned<float>(turned(DType::f32), threads);
          check_turned<std::int32_t>(turned(DType::i32), threads);
          if (lanes <= 8) check_turned<double>(turned(DType::f64), threads);
        }
}

TEST_CASE("what is not made of whole squares is turned element by element", "[codegen]") {
  for (const auto& [rows, columns] : {std::pair{47, 80}, {48, 79}, {5, 3}, {1, 32}, {32, 1}}) {
    const Turned turned(DType::f32, rows, columns, Side::panels, Side::panels, 8, 1);
    CHECK_FALSE(turned.in_squares());
    check_turned<float>(turned, 1);
  }
  CHECK_FALSE(Turned(DType::f32, 48, 80, Side::rows, Side::rows, 8, 1, What::doubled).in_squares());
}

TEST_CASE("what shows one row again and again is no transposition", "[codegen]") {
  for (const Side from : sides)
    for (const Side to : sides)
      for (const What what : {What::moved, What::broadcast})
        CHECK(Turned(DType::f32, 48, 80, from, to, 8, 1, what).in_squares() == (what == What::moved));
}
