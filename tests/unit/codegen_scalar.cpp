// Every opcode and every scalar program of the registry: native code against the interpreter, bit for bit, over random
// bit patterns with the edges among them, in vectors of the machine's width and others, with tails; for this machine's
// instructions and for those of every x86-64.
#include <fmt/format.h>

#include "ir/op.h"
#include "tests/support/programs.h"
#include "tests/unit/catch.h"

using namespace nnc;
using namespace nnc::test;

namespace {

constexpr std::int64_t count = 1543;  // no multiple of any vector

DType dtype_of(ScalarType type) {
  switch (type) {
    case ScalarType::f32:
      return DType::f32;
    case ScalarType::f64:
      return DType::f64;
    case ScalarType::i32:
      return DType::i32;
    case ScalarType::boolean:
    case ScalarType::i64:
      return DType::boolean;  // i64 has no arrays: see the test of integers
  }
  return DType::f32;
}

template <class T>
void edges(std::vector<std::byte>& bytes, std::mt19937_64& random) {
  const T list[] = {T(0),
                    -T(0),
                    T(1),
                    -T(1),
                    T(0.5),
                    std::numeric_limits<T>::infinity(),
                    -std::numeric_limits<T>::infinity(),
                    std::numeric_limits<T>::quiet_NaN(),
                    std::numeric_limits<T>::denorm_min(),
                    -std::numeric_limits<T>::denorm_min(),
                    std::numeric_limits<T>::min(),
                    std::numeric_limits<T>::max(),
                    std::numeric_limits<T>::lowest(),
                    T(87.5),
                    T(-103.9),
                    T(3.14159265)};
  auto* values = reinterpret_cast<T*>(bytes.data());
  for (std::size_t i = 0; i < bytes.size() / sizeof(T); ++i) {
    if (random() % 3 == 0) values[i] = list[random() % std::size(list)];
    if (random() % 3 == 0) values[i] = static_cast<T>(static_cast<double>(random() >> 11) / 0x1p50 - 4.0);
  }
}

std::vector<std::byte> random_inputs(DType dtype, std::uint64_t seed) {
  std::mt19937_64 random(seed);
  std::vector<std::byte> bytes(static_cast<std::size_t>(count) * size_of(dtype));
  for (std::byte& byte : bytes) byte = static_cast<std::byte>(random());
  if (dtype == DType::f32) edges<float>(bytes, random);
  if (dtype == DType::f64) edges<double>(bytes, random);
  if (dtype == DType::boolean)
    for (std::byte& byte : bytes) byte &= std::byte{1};
  if (dtype == DType::i32) {
    auto* values = reinterpret_cast<std::int32_t*>(bytes.data());
    for (std::size_t i = 0; i < static_cast<std::size_t>(count); ++i)
      if (random() % 2 == 0) values[i] = static_cast<std::int32_t>(random() % 7) - 3;
  }
  return bytes;
}

/// Elements that differ between interpreter and native code, for inputs and results that have arrays.
std::size_t differences(const ScalarProgram& program, int lanes, const CompileOptions& how) {
  Draft draft;
  Stage stage;
  std::vector<BufferId> inputs, outputs;
  for (ScalarType type : program.inputs) {
    inputs.push_back(draft.row_major(Region::arena, dtype_of(type), {count}));
    stage.body.inputs.push_back(access(inputs.back(), {0}, 1));
  }
  stage.body.program = program;
  for (std::size_t i = 0; i < program.results.size(); ++i) {
    outputs.push_back(draft.row_major(Region::output, dtype_of(program.code[program.results[i]].type), {count}));
    stage.stores.push_back({access(outputs.back(), {0}, 1), static_cast<ScalarId>(i)});
  }
  Kernel kernel;
  kernel.name = "map";
  kernel.outer = {count};
  kernel.stages = {stage};
  kernel.schedule.vector = lanes > 1 ? Schedule::Vector::outer : Schedule::Vector::none;
  kernel.schedule.lanes = lanes;
  draft.program.kernels = {kernel};

  std::vector<std::vector<std::byte>> data, expected;
  std::vector<const void*> from;
  std::vector<void*> to;
  Arena memory(draft.program);
  for (std::size_t i = 0; i < inputs.size(); ++i) {
    data.push_back(random_inputs(dtype_of(program.inputs[i]), i + 1));
    std::memcpy(memory.at<std::byte>(inputs[i]), data.back().data(), data.back().size());
  }
  for (const auto& bytes : data) from.push_back(bytes.data());
  for (BufferId id : outputs) expected.emplace_back(draft.program.buffers[id].bytes);
  for (auto& bytes : expected) to.push_back(bytes.data());
  interpret(program, from, to, count);

  const auto compiled = compile(draft.program, how);
  memory.run(compiled->entry());
  std::size_t different = memory.guards_intact() ? 0 : 1;
  for (std::size_t i = 0; i < outputs.size(); ++i) {
    const auto n = static_cast<std::size_t>(count);
    std::byte* found = memory.at<std::byte>(outputs[i]);
    switch (draft.program.buffers[outputs[i]].dtype) {
      case DType::f32:
        different += count_different(reinterpret_cast<float*>(found), static_cast<float*>(to[i]), n);
        break;
      case DType::f64:
        different += count_different(reinterpret_cast<double*>(found), static_cast<double*>(to[i]), n);
        break;
      case DType::i32:
        different += count_different(reinterpret_cast<std::int32_t*>(found), static_cast<std::int32_t*>(to[i]), n);
        break;
      case DType::boolean:
        different += count_different(reinterpret_cast<std::uint8_t*>(found), static_cast<std::uint8_t*>(to[i]), n);
        break;
    }
  }
  return different;
}

std::vector<int> widths(const ScalarProgram& program) {
  const bool wide = program.code.size() > 200;
  return wide ? std::vector<int>{8} : std::vector<int>{1, 4, 8, 16};
}

void check(const ScalarProgram& program, const std::string& name) {
  for (int lanes : widths(program)) {
    INFO(name << " in " << lanes << " lanes");
    CHECK(differences(program, lanes, host_options()) == 0);
  }
  INFO(name << " for every x86-64");
  CHECK(differences(program, 4, {.target = target_named("x86-64").host.target}) == 0);
}

ScalarProgram program_of(std::vector<ScalarType> types, const std::function<Scalar(std::span<const Scalar>)>& make) {
  ScalarBuilder builder;
  std::vector<Scalar> inputs;
  for (ScalarType type : types) inputs.push_back(builder.input(type));
  const Scalar result = make(inputs);
  return std::move(builder).finish(std::span(&result, 1));
}

using In = std::span<const Scalar>;
constexpr ScalarType f32 = ScalarType::f32, f64 = ScalarType::f64, i32 = ScalarType::i32, i64 = ScalarType::i64,
                     boolean = ScalarType::boolean;

}  // namespace

TEST_CASE("opcodes of floats are exact", "[codegen]") {
  for (ScalarType t : {f32, f64}) {
    check(program_of({t, t}, [](In x) { return x[0] + x[1]; }), "add");
    check(program_of({t, t}, [](In x) { return x[0] - x[1]; }), "sub");
    check(program_of({t, t}, [](In x) { return x[0] * x[1]; }), "mul");
    check(program_of({t, t}, [](In x) { return x[0] / x[1]; }), "div");
    check(program_of({t, t, t}, [](In x) { return fma(x[0], x[1], x[2]); }), "fma");
    check(program_of({t, t, t}, [](In x) { return -fma(-x[0], x[1], -x[2]); }), "negated fma");
    check(program_of({t, t, t}, [](In x) { return x[0] * x[1] + x[2]; }), "uncontracted");
    check(program_of({t, t}, [](In x) { return (x[0] + x[1]) - x[0]; }), "unassociated");
    check(program_of({t}, [](In x) { return x[0] / x[0].builder->constant(3, x[0].type()); }), "division by 3");
    check(program_of({t}, [](In x) { return x[0] + x[0].builder->constant(0, x[0].type()); }), "plus zero");
    check(program_of({t}, [](In x) { return x[0] * x[0].builder->constant(0, x[0].type()); }), "times zero");
    check(program_of({t}, [](In x) { return sqrt(x[0]); }), "sqrt");
    check(program_of({t}, [](In x) { return -x[0]; }), "neg");
    check(program_of({t}, [](In x) { return abs(x[0]); }), "abs");
    check(program_of({t, t}, [](In x) { return minimum(x[0], x[1]); }), "minimum");
    check(program_of({t, t}, [](In x) { return maximum(x[0], x[1]); }), "maximum");
    check(program_of({t}, [](In x) { return maximum(x[0], x[0].builder->constant(0, x[0].type())); }), "maximum 0");
    check(program_of({t, t}, [](In x) { return equal(x[0], x[1]); }), "equal");
    check(program_of({t, t}, [](In x) { return less(x[0], x[1]); }), "less");
    check(program_of({t, t}, [](In x) { return less_equal(x[0], x[1]); }), "less_equal");
    check(program_of({t, t, t, t}, [](In x) { return select(less(x[0], x[1]), x[2], x[3]); }), "select");
    check(program_of({t, t}, [](In x) { return select(less(x[0], x[1]), x[0], x[1]); }), "select as a minimum");
    // The pair of comparisons that LLVM's mid level gets wrong.
    check(program_of({t},
                     [](In x) {
                       const Scalar c = x[0].builder->constant(1.5, x[0].type());
                       const Scalar m = select(logical_not(less(c, x[0])), x[0], c);
                       return select(logical_not(less_equal(m, c)), c, m);
                     }),
          "comparisons that are true on NaN");
  }
}

TEST_CASE("opcodes of integers and booleans are exact", "[codegen]") {
  check(program_of({i32, i32}, [](In x) { return int_add(x[0], x[1]); }), "int_add");
  check(program_of({i32, i32}, [](In x) { return int_sub(x[0], x[1]); }), "int_sub");
  check(program_of({i32, i32}, [](In x) { return int_mul(x[0], x[1]); }), "int_mul");
  check(program_of({i32, i32}, [](In x) { return int_and(x[0], x[1]); }), "int_and");
  check(program_of({i32, i32}, [](In x) { return int_or(x[0], x[1]); }), "int_or");
  check(program_of({i32, i32}, [](In x) { return int_xor(x[0], x[1]); }), "int_xor");
  for (int by : {0, 1, 7, 31}) {
    check(program_of({i32}, [by](In x) { return shift_left(x[0], by); }), "shift_left");
    check(program_of({i32}, [by](In x) { return shift_right(x[0], by); }), "shift_right");
    check(program_of({i32}, [by](In x) { return shift_right_signed(x[0], by); }), "shift_right_signed");
  }
  check(program_of({i32, i32}, [](In x) { return equal(x[0], x[1]); }), "equal");
  check(program_of({i32, i32}, [](In x) { return less(x[0], x[1]); }), "less");
  check(program_of({i32, i32}, [](In x) { return less_equal(x[0], x[1]); }), "less_equal");
  check(program_of({boolean, boolean}, [](In x) { return logical_and(x[0], x[1]); }), "and");
  check(program_of({boolean, boolean}, [](In x) { return logical_or(x[0], x[1]); }), "or");
  check(program_of({boolean}, [](In x) { return logical_not(x[0]); }), "not");
  check(program_of({boolean, boolean, boolean}, [](In x) { return select(x[0], x[1], x[2]); }), "select of booleans");
  // 64 bits, through f64 and back.
  const auto wide = [](Scalar x) { return bitcast(x, i64); };
  const auto narrow = [](Scalar x) { return convert(x, i32); };
  check(program_of({f64, f64}, [&](In x) { return narrow(int_add(wide(x[0]), wide(x[1]))); }), "int_add of i64");
  check(program_of({f64, f64}, [&](In x) { return narrow(shift_right(int_mul(wide(x[0]), wide(x[1])), 32)); }),
        "int_mul of i64");
  check(program_of({f64}, [&](In x) { return narrow(shift_right_signed(wide(x[0]), 37)); }), "signed shift of i64");
  check(program_of({f64, f64}, [&](In x) { return less(wide(x[0]), wide(x[1])); }), "less of i64");
  check(program_of({f64, f64}, [&](In x) { return equal(wide(x[0]), wide(x[1])); }), "equal of i64");
  check(program_of({f64}, [&](In x) { return convert(wide(x[0]), f64); }), "i64 to f64");
  check(program_of({f64}, [&](In x) { return convert(wide(x[0]), f32); }), "i64 to f32");
  check(program_of({i32}, [&](In x) { return bitcast(convert(x[0], i64), f64); }), "i32 to i64");
}

TEST_CASE("conversions are exact", "[codegen]") {
  check(program_of({f32}, [](In x) { return convert(x[0], f64); }), "f32 to f64");
  check(program_of({f64}, [](In x) { return convert(x[0], f32); }), "f64 to f32");
  check(program_of({i32}, [](In x) { return convert(x[0], f32); }), "i32 to f32");
  check(program_of({i32}, [](In x) { return convert(x[0], f64); }), "i32 to f64");
  check(program_of({boolean}, [](In x) { return convert(x[0], f32); }), "boolean to f32");
  check(program_of({boolean}, [](In x) { return convert(x[0], f64); }), "boolean to f64");
  check(program_of({boolean}, [](In x) { return convert(x[0], i32); }), "boolean to i32");
  check(program_of({f32}, [](In x) { return bitcast(x[0], i32); }), "f32 to bits");
  check(program_of({i32}, [](In x) { return bitcast(x[0], f32); }), "bits to f32");
  for (ScalarType t : {f32, f64})
    check(program_of({t},
                     [t](In x) {
                       ScalarBuilder& b = *x[0].builder;
                       const Scalar number = select(equal(x[0], x[0]), x[0], b.constant(0, t));
                       return convert(minimum(maximum(number, b.constant(-1e9, t)), b.constant(1e9, t)), i32);
                     }),
          "to i32");
}

// LLVM 22 rewrites a mask made of sign bits, moved to a general register, into a move of the signs and drops the mask's
// other uses (AVX-512). Masks here are used twice and come from comparisons with zero, of floats and of integers.
TEST_CASE("masks from signs keep all their uses", "[codegen]") {
  check(program_of({i32, i32, i32},
                   [](In x) {
                     const Scalar zero = x[0].builder->constant(0, i32);
                     const Scalar a = less(x[0], zero), b = less(x[1], zero);
                     const Scalar both = logical_and(a, logical_not(b)), either = logical_or(a, b);
                     return select(both, select(either, x[2], x[0]), select(logical_and(a, either), x[1], x[2]));
                   }),
        "signs of i32");
  check(program_of({f32, f32, f32},
                   [](In x) {
                     const Scalar zero = x[0].builder->constant(0, f32), bits = x[0].builder->constant(0, i32);
                     const Scalar a = less(bitcast(x[0], i32), bits), b = less(x[1], zero);
                     return select(logical_and(a, b), select(logical_or(a, b), x[0], x[2]), select(a, x[1], x[2]));
                   }),
        "signs of f32");
}

TEST_CASE("scalar functions are exact", "[codegen]") {
  for (ScalarType t : {f32, f64}) {
    check(program_of({t}, [](In x) { return scalar::exp(x[0]); }), "exp");
    check(program_of({t}, [](In x) { return scalar::expm1(x[0]); }), "expm1");
    check(program_of({t}, [](In x) { return scalar::log(x[0]); }), "log");
    check(program_of({t}, [](In x) { return scalar::log1p(x[0]); }), "log1p");
    check(program_of({t}, [](In x) { return scalar::erf(x[0]); }), "erf");
    check(program_of({t}, [](In x) { return scalar::normal_cdf(x[0]); }), "normal_cdf");
    check(program_of({t}, [](In x) { return scalar::tanh(x[0]); }), "tanh");
    check(program_of({t}, [](In x) { return scalar::sin(x[0]); }), "sin");
    check(program_of({t}, [](In x) { return scalar::cos(x[0]); }), "cos");
    check(program_of({t}, [](In x) { return scalar::logistic(x[0]); }), "logistic");
    check(program_of({t}, [](In x) { return scalar::softplus(x[0]); }), "softplus");
    check(program_of({t, t}, [](In x) { return scalar::pow(x[0], x[1]); }), "pow");
    check(program_of({i32, i32},
                     [t](In x) {
                       ScalarBuilder& b = *x[0].builder;
                       return scalar::uniform(convert(x[0], i64), convert(x[1], i64), b.constant(7, i64),
                                              b.constant(3, i64), b.bits(0x9876543210abcdefU, i64), t);
                     }),
          "uniform");
  }
}

TEST_CASE("every elementwise op of the registry is exact", "[codegen][registry]") {
  for (Op op : all_ops()) {
    const OpDef& definition_of_op = definition(op);
    if (definition_of_op.cls != OpClass::elementwise || !definition_of_op.scalar || definition_of_op.arity < 0)
      continue;
    for (DType dtype : {DType::f32, DType::f64, DType::i32, DType::boolean}) {
      std::vector<Type> operands(static_cast<std::size_t>(definition_of_op.arity), Type{dtype, {}});
      if (op == Op::select) operands[0].dtype = DType::boolean;
      for (DType wanted : {DType::f32, DType::f64, DType::i32, DType::boolean}) {
        const bool chooses = op == Op::cast;
        if (!chooses && wanted != DType::f32) continue;
        const Type wanted_type{wanted, {}};
        const Attributes none = NoAttributes{};
        const TypeOrError type = definition_of_op.shape({operands, none, wanted_type});
        if (!std::holds_alternative<Type>(type)) continue;
        std::vector<DType> dtypes;
        for (const Type& operand : operands) dtypes.push_back(operand.dtype);
        const ScalarProgram program = definition_of_op.scalar(dtypes, std::get<Type>(type).dtype, none);
        check(program, fmt::format("{} of {}", definition_of_op.name, name_of(dtype)));
      }
    }
  }
}
