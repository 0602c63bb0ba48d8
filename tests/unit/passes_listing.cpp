// The listing of a program is for people: an elementary function in a body is one call, not the thirty instructions
// that it is made of.
#include <fmt/format.h>

#include <functional>

#include "ir/builder.h"
#include "ir/program/calls.h"
#include "ir/scalar/builder.h"
#include "passes/passes.h"
#include "tests/unit/catch.h"

namespace nnc {
namespace {

std::string listing(const std::function<Value(Value)>& f, DType dtype = DType::f32) {
  Builder b("listing");
  b.output(OutputKind::result, "y", f(b.leaf(Op::input, "x", {dtype, {batch_extent, {20}}})));
  LowerOptions options;
  options.machine = machine_avx2();
  options.rows = 16;
  return print(lower(assign_order(std::move(b).finish()), "predict", options));
}

TEST_CASE("a listing names every long elementary function", "[registry]") {
  int named = 0;
  for (const Op op : all_ops()) {
    const OpDef& def = definition(op);
    if (def.cls != OpClass::elementwise || def.arity != 1 || !def.scalar || !def.gradient || op == Op::cast) continue;
    for (const DType dtype : {DType::f32, DType::f64}) {
      const std::vector<DType> operands{dtype};
      if (def.scalar(operands, dtype, NoAttributes{}).code.size() < 8) continue;
      const std::string text = listing([&](Value x) { return apply(op, x); }, dtype);
      INFO(def.name << "\n" << text);
      CHECK(text.find(fmt::format(" = {}(%", def.name)) != std::string::npos);
      CHECK(text.find("fma(") == std::string::npos);
      ++named;
    }
  }
  CHECK(named >= 14);
}

TEST_CASE("functions of functions are calls of calls, and what they share is printed once") {
  const std::string text = listing([](Value x) {
    const Value e = apply(Op::exp, apply(Op::tanh, x));
    return e * apply(Op::log, 1 + e);
  });
  INFO(text);
  CHECK(text.find("exp(tanh(%0:x[o0, o1]))") != std::string::npos);
  CHECK(text.find("exp(") == text.rfind("exp("));
  CHECK(text.find("log(") != std::string::npos);
}

TEST_CASE("what is almost a function is not called one") {
  ScalarBuilder b;
  const Scalar x = b.input(ScalarType::f32), y = b.input(ScalarType::f32);
  const Scalar e = scalar::exp(x), both = e + scalar::exp(y);
  const ScalarProgram program = std::move(b).finish(std::vector{e, both});
  const auto call = call_at(program, program.results[0]);
  REQUIRE(call);
  CHECK(call->function == "exp");
  CHECK(program.code[call->arguments[0]].op == ScalarOp::input);
  CHECK_FALSE(call_at(program, program.results[1]));
}

}  // namespace
}  // namespace nnc
