// The shape rule of every op: what it makes of operands that fit, and what it says about those that do not. Elementwise
// ops share one rule but for element types, so the registry is walked for them; other classes have a table.
#include <optional>
#include <set>

#include "ir/builder.h"
#include "ir/text.h"
#include "tests/unit/catch.h"

namespace {

using namespace nnc;

const std::string leaves =
    "loop 0: 4 steps, 1 carries, 1 sequences\n"
    "  %a = input \"0\" : f32\n"
    "  %x = input \"1\" : f32[7]\n"
    "  %n : f32 = %a + sum(%x, 0)\n"
    "  result \"0\" = %n\n"
    "  result \"1\" = %x\n"
    "end\n"
    "%x = input \"x\" : f32[batch, 4]\n"
    "%y = input \"y\" : f32[batch, 5]\n"
    "%d = input \"d\" : f64[batch, 4]\n"
    "%i = input \"i\" : i32[batch, 4]\n"
    "%j = input \"j\" : i32[3]\n"
    "%b = input \"b\" : bool[batch, 4]\n"
    "%v = input \"v\" : f32[4]\n"
    "%s = input \"s\" : f32\n"
    "%c = carry \"c\" : f64[4]\n"
    "%W = param \"W\" : f32[4, 7]\n";

struct Right {
  Op op;
  std::string statement;
};
struct Wrong {
  Op op;
  std::string statement;
  std::string message;
};

const std::vector<Right> right = {
    {Op::param, "%r = param \"p\" : f64[3, 0]"},
    {Op::state, "%r = state \"p\" : bool[3]"},
    {Op::carry, "%r = carry \"p\" : f64"},
    {Op::input, "%r = input \"p\" : i32[3*batch, 2]"},
    {Op::scalar, "%r = scalar \"total_steps\" : f64"},
    {Op::constant, "%r = constant [1, 2, 3, 4, 5, 6] : i32[2, 3]"},
    {Op::size, "%r : f32[batch, 4] = %x / size(batch)"},
    {Op::iota, "%r = iota 1 : i32[batch, 4]"},
    {Op::random, "%r = random 0x1 : f64"},
    {Op::neg, "%r : i32[batch, 4] = -%i"},
    {Op::exp, "%r : f32[batch, 4] = exp(%x)"},
    {Op::expm1, "%r : f32[batch, 4] = expm1(%x)"},
    {Op::log1p, "%r : f32[batch, 4] = log1p(%x)"},
    {Op::erf, "%r : f32[batch, 4] = erf(%x)"},
    {Op::normal_cdf, "%r : f32[batch, 4] = normal_cdf(%x)"},
    {Op::log, "%r : f64[batch, 4] = log(%d)"},
    {Op::sqrt, "%r : f32 = sqrt(%s)"},
    {Op::tanh, "%r : f32[4] = tanh(%v)"},
    {Op::logistic, "%r : f32[4] = logistic(%v)"},
    {Op::softplus, "%r : f32[4] = softplus(%v)"},
    {Op::sin, "%r : f32[4] = sin(%v)"},
    {Op::cos, "%r : f32[4] = cos(%v)"},
    {Op::abs, "%r : i32[batch, 4] = abs(%i)"},
    {Op::sign, "%r : i32[batch, 4] = sign(%i)"},
    {Op::add, "%r : f32[batch, 4] = %x + %s"},
    {Op::sub, "%r : f32[batch, 4] = %s - %x"},
    {Op::mul, "%r : i32[batch, 4] = %i * 3"},
    {Op::div, "%r : f32 = %s / %s"},
    {Op::pow, "%r : f32[batch, 4] = pow(%x, 2)"},
    {Op::max, "%r : i32[batch, 4] = max(%i, 2)"},
    {Op::min, "%r : f32[batch, 4] = min(0, %x)"},
    {Op::equal, "%r : bool[batch, 4] = %i == 3"},
    {Op::less, "%r : bool[batch, 4] = %s < %x"},
    {Op::less_equal, "%r : bool = %s <= 1"},
    {Op::logical_and, "%r : bool[batch, 4] = logical_and(%b, true)"},
    {Op::logical_or, "%r : bool[batch, 4] = logical_or(%b, %b)"},
    {Op::logical_not, "%r : bool[batch, 4] = logical_not(%b)"},
    {Op::select, "%r : bool[batch, 4] = select(%s < 1, false, %b)"},
    {Op::cast, "%r : f32[batch, 4] = f32(%b)"},
    {Op::sum, "%r : f64[4] = sum(%x, %c, 0)"},
    {Op::reduce_max, "%r : i32 = reduce_max(%i, [0, 1])"},
    {Op::argmax, "%r : i32[4] = argmax(%x, 0)"},
    {Op::reshape, "%r : f32[2, 2*batch] = reshape(%x, [2, 2*batch])"},
    {Op::broadcast, "%r : f32[4, 3, batch, 4] = broadcast(%x, [4, 3, batch, 4], [2, 3])"},
    {Op::transpose, "%r : f32[4, batch] = transpose(%x, [1, 0])"},
    {Op::overlap_add, "%r : f32[batch, 3] = overlap_add(reshape(%x, [batch, 2, 2]), 1, 3)"},
    {Op::slice, "%r : f32[batch, 2] = slice(%x, [batch, 2], [0, 3], [1, -2])"},
    {Op::pad, "%r : bool[batch, 9] = pad(%b, [0, 1], [0, 1], [0, 1])"},
    {Op::concat, "%r : f32[batch, 9] = concat(%x, %y, 1)"},
    {Op::window, "%r : i32[batch, 2, 2] = window(%i, 1, 2, 1, 2)"},
    {Op::dot, "%r : f32[batch, 7] = dot(%x, %W, 1, 0)"},
    {Op::dot, "%r : f32[batch] = dot(%x, %x, 1, 1, 0, 0)"},
    {Op::dot, "%r : f32[7, 4, 2] = dot(%W, broadcast(%W, [4, 2, 7, 4], [0, 2]), 0, 3, 1, 2)"},
    {Op::gather, "%r : f32[batch, 4, 7] = gather(%W, %i)"},
    {Op::gather, "%r : f32[batch, 4] = gather(%v, %i)"},
    {Op::gather, "%r : f32[3, batch] = gather(transpose(%x, [1, 0]), %j)"},
    {Op::scatter_add, "%r : f32[9] = scatter_add(%x, %i, 9)"},
    {Op::scatter_add, "%r : f32[9, 5] = scatter_add(broadcast(%y, [batch, 4, 5], [0, 2]), %i, 9)"},
    {Op::scatter_add, "%r : f32[4] = scatter_add(%x, %i, %v, 4)"},
    {Op::stop_gradient, "%r : i32[batch, 4] = stop_gradient(%i)"},
    {Op::point, "%r : f32[batch, 4] = point(%x, 1)"},
    {Op::grad, "%r : f64[batch, 4] = grad(%s, %d)"},
    {Op::scan, "%r : f32[4, 7] = scan(%s, %W, 0, 1)"},
    {Op::solve, "%r : f32[4] = solve(broadcast(%v, [4, 4], 1), %v)"},
    {Op::solve, "%r : f32[4, 7] = solve(broadcast(%v, [4, 4], 1), %W)"},
};

const std::vector<Wrong> wrong = {
    {Op::param, "%r = param \"p\" : f64[batch]", "param: the numbers of elements do not agree"},
    {Op::state, "%r = state [1] : f64[1]", "state: its attributes do not fit it"},
    {Op::carry, "%r = carry \"p\" : f64[batch, batch]", "carry: the numbers of elements do not agree"},
    {Op::input, "%r = input \"p\" : f64[batch, batch]", "input: the numbers of elements do not agree"},
    {Op::scalar, "%r = scalar \"steps\" : f64", "scalar: its attributes do not fit it"},
    {Op::scalar, "%r = scalar \"step\" : f32", "scalar: it does not make elements of the type asked for"},
    {Op::constant, "%r = constant [1, 2] : i32[batch]", "constant: the numbers of elements do not agree"},
    {Op::size, "%r = size 3 : f32", "size: its attributes do not fit it"},
    {Op::size, "%r = size batch : i32", "size: it does not make elements of the type asked for"},
    {Op::iota, "%r = iota 2 : i32[batch, 4]", "iota: its axes do not fit its operands"},
    {Op::iota, "%r = iota 0 : bool[4]", "iota: it does not make elements of the type asked for"},
    {Op::random, "%r = random 1 : i32[4]", "random: it does not make elements of the type asked for"},
    {Op::neg, "%r : bool[batch, 4] = -%b", "neg: it does not take the element type of operand 0 (bool[batch, 4])"},
    {Op::exp, "%r : f32 = exp(%i)", "exp: it does not take the element type of operand 0 (i32[batch, 4])"},
    {Op::log, "%r : f32 = log(%i)", "log: it does not take the element type of operand 0 (i32[batch, 4])"},
    {Op::sqrt, "%r : f32 = sqrt(%i)", "sqrt: it does not take the element type of operand 0 (i32[batch, 4])"},
    {Op::tanh, "%r : f32 = tanh(%x, %x)", "tanh: it takes 1 operand, not 2"},
    {Op::logistic, "%r : f32 = logistic(%b)",
     "logistic: it does not take the element type of operand 0 (bool[batch, 4])"},
    {Op::softplus, "%r : f32 = softplus(%i)",
     "softplus: it does not take the element type of operand 0 (i32[batch, 4])"},
    {Op::sin, "%r : f32 = sin(%i)", "sin: it does not take the element type of operand 0 (i32[batch, 4])"},
    {Op::cos, "%r : f32 = cos(%i)", "cos: it does not take the element type of operand 0 (i32[batch, 4])"},
    {Op::abs, "%r : f32 = abs(%b)", "abs: it does not take the element type of operand 0 (bool[batch, 4])"},
    {Op::sign, "%r : f32 = sign(%b)", "sign: it does not take the element type of operand 0 (bool[batch, 4])"},
    {Op::add, "%r : f32 = %x + %y", "add: axis 1 of operand 0 is 4, axis 1 of operand 1 is 5"},
    {Op::sub, "%r : f32 = %x - %v", "sub: operand 1 (f32[4]) has the wrong number of axes"},
    {Op::mul, "%r : f32 = %x * %d",
     "mul: the element types of operands 0 (f32[batch, 4]) and 1 (f64[batch, 4]) differ"},
    {Op::div, "%r : f32 = %i / %i", "div: it does not take the element type of operand 0 (i32[batch, 4])"},
    {Op::pow, "%r : f32 = pow(%i, 2)", "pow: it does not take the element type of operand 0 (i32[batch, 4])"},
    {Op::max, "%r : f32 = max(%v, %x)", "max: operand 1 (f32[batch, 4]) has the wrong number of axes"},
    {Op::min, "%r : f32 = min(%b, %b)", "min: it does not take the element type of operand 0 (bool[batch, 4])"},
    {Op::equal, "%r : f32 = %b == %b", "equal: it does not take the element type of operand 0 (bool[batch, 4])"},
    {Op::less, "%r : f32 = %x < %i",
     "less: the element types of operands 0 (f32[batch, 4]) and 1 (i32[batch, 4]) differ"},
    {Op::less_equal, "%r : f32 = %x <= %y", "less_equal: axis 1 of operand 0 is 4, axis 1 of operand 1 is 5"},
    {Op::logical_and, "%r : f32 = logical_and(%x, %x)",
     "logical_and: it does not take the element type of operand 0 (f32[batch, 4])"},
    {Op::logical_or, "%r : f32 = logical_or(%b, %i)",
     "logical_or: the element types of operands 0 (bool[batch, 4]) and 1 (i32[batch, 4]) differ"},
    {Op::logical_not, "%r : f32 = logical_not(%i)",
     "logical_not: it does not take the element type of operand 0 (i32[batch, 4])"},
    {Op::select, "%r : f32 = select(%x, %x, %x)",
     "select: it does not take the element type of operand 0 (f32[batch, 4])"},
    {Op::select, "%r : f32 = select(%b, %x, %i)",
     "select: the element types of operands 1 (f32[batch, 4]) and 2 (i32[batch, 4]) differ"},
    {Op::select, "%r : f32 = select(%b, %v, 1)", "select: operand 1 (f32[4]) has the wrong number of axes"},
    {Op::cast, "%r : f32 = bool(%x)", "cast: it does not make elements of the type asked for"},
    {Op::sum, "%r : f32 = sum(%x, [])", "sum: its axes do not fit its operands"},
    {Op::sum, "%r : f32 = sum(%x, [1, 0])", "sum: its axes do not fit its operands"},
    {Op::sum, "%r : f32 = sum(%b, 0)", "sum: it does not take the element type of operand 0 (bool[batch, 4])"},
    {Op::sum, "%r : f32 = sum(%x, %v, 0)", "sum: it does not take the element type of operand 1 (f32[4])"},
    {Op::sum, "%r : f32 = sum(%x, %c, %c, 0)", "sum: it does not take 3 operands"},
    {Op::reduce_max, "%r : f32 = reduce_max(%x, %c, 0)",
     "reduce_max: it does not take the element type of operand 1 (f64[4])"},
    {Op::reduce_max, "%r : f32 = reduce_max(%x, %x, 0)",
     "reduce_max: operand 1 (f32[batch, 4]) has the wrong number of axes"},
    {Op::argmax, "%r : f32 = argmax(%x, [0, 1])", "argmax: its axes do not fit its operands"},
    {Op::reshape, "%r : f32 = reshape(%x, [8])", "reshape: the numbers of elements do not agree"},
    {Op::reshape, "%r : f32 = reshape(%x, [2*batch, 2*batch])", "reshape: the numbers of elements do not agree"},
    {Op::broadcast, "%r : f32 = broadcast(%v, [5], 0)", "broadcast: the numbers of elements do not agree"},
    {Op::broadcast, "%r : f32 = broadcast(%x, [4, batch], [1, 0])", "broadcast: its axes do not fit its operands"},
    {Op::broadcast, "%r : f32 = broadcast(%x, [4, batch], 0)",
     "broadcast: operand 0 (f32[batch, 4]) has the wrong number of axes"},
    {Op::overlap_add, "%r : f32 = overlap_add(%x, 0, 3)", "overlap_add: its axes do not fit its operands"},
    {Op::overlap_add, "%r : f32 = overlap_add(%W, 0, 9)", "overlap_add: its attributes do not fit it"},
    {Op::overlap_add, "%r : f32 = overlap_add(reshape(%b, [batch, 2, 2]), 1, 3)",
     "overlap_add: it does not take the element type of operand 0 (bool[batch, 2, 2])"},
    {Op::slice, "%r : f32 = slice(%x, [4], [0])", "slice: operand 0 (f32[batch, 4]) has the wrong number of axes"},
    {Op::slice, "%r : f32 = slice(%x, [3, 4], [0, 0])", "slice: its attributes do not fit it"},
    {Op::slice, "%r : f32 = slice(%x, [batch, 4], [0, 1])", "slice: its attributes do not fit it"},
    {Op::slice, "%r : f32 = slice(%x, [batch, 4], [0, 0], [-1, 1])", "slice: its attributes do not fit it"},
    {Op::slice, "%r : f32 = slice(%v, [2], [1], [-2])", "slice: its attributes do not fit it"},
    {Op::slice, "%r : f32 = slice(%v, [2], [1], [0])", "slice: its attributes do not fit it"},
    {Op::slice, "%r : f32 = slice(%v, [2], [0], [-9223372036854775808])", "slice: its attributes do not fit it"},
    {Op::pad, "%r : f32 = pad(%x, [1, 0], [0, 0])", "pad: its attributes do not fit it"},
    {Op::pad, "%r : f32 = pad(%v, [-1], [0])", "pad: its attributes do not fit it"},
    {Op::pad, "%r : f32 = pad(%v, [9223372036854775807], [1])", "pad: its attributes do not fit it"},
    {Op::pad, "%r : f32 = pad(%x, [1], [0])", "pad: operand 0 (f32[batch, 4]) has the wrong number of axes"},
    {Op::concat, "%r : f32 = concat(%x, %y, 0)", "concat: its axes do not fit its operands"},
    {Op::concat, "%r : f32 = concat(%v, %W, 0)", "concat: operand 1 (f32[4, 7]) has the wrong number of axes"},
    {Op::concat, "%r : f32 = concat(%W, reshape(%W, [7, 4]), 1)",
     "concat: axis 0 of operand 0 is 4, axis 0 of operand 1 is 7"},
    {Op::concat, "%r : f32 = concat(%x, %i, 1)",
     "concat: the element types of operands 0 (f32[batch, 4]) and 1 (i32[batch, 4]) differ"},
    {Op::window, "%r : f32 = window(%x, 0, 1)", "window: its axes do not fit its operands"},
    {Op::window, "%r : f32 = window(%x, 1, 5)", "window: its attributes do not fit it"},
    {Op::window, "%r : f32 = window(%x, 1, 2, 0)", "window: its attributes do not fit it"},
    {Op::window, "%r : f32 = window(%x, 1, 3, 1, 9223372036854775807)", "window: its attributes do not fit it"},
    {Op::transpose, "%r : f32 = transpose(%x, [0, 0])", "transpose: its axes do not fit its operands"},
    {Op::transpose, "%r : f32 = transpose(%x, [0])", "transpose: its axes do not fit its operands"},
    {Op::dot, "%r : f32 = dot(%x, %W, 0, 0)", "dot: axis 0 of operand 0 is batch, axis 0 of operand 1 is 4"},
    {Op::dot, "%r : f32 = dot(%x, %y, 1, 1)", "dot: axis 1 of operand 0 is 4, axis 1 of operand 1 is 5"},
    {Op::dot, "%r : f32 = dot(%x, %x, 1, 1)", "dot: operand 1 (f32[batch, 4]) has the wrong number of axes"},
    {Op::dot, "%r : f32 = dot(%x, %d, 1, 1)",
     "dot: the element types of operands 0 (f32[batch, 4]) and 1 (f64[batch, 4]) differ"},
    {Op::dot, "%r : f32 = dot(%x, %x, [], [])", "dot: its axes do not fit its operands"},
    {Op::dot, "%r : f32 = dot(%i, %i, 1, 1)", "dot: it does not take the element type of operand 0 (i32[batch, 4])"},
    {Op::dot, "%r : f32 = dot(%x, %y, 1, 1, 0)",
     "dot takes the axes of both, and the axes of both that are kept in pairs, behind its operands"},
    {Op::dot, "%r : f32 = dot(%x, %x, 1, 1, 1, 1)", "dot: its axes do not fit its operands"},
    {Op::dot, "%r : f32 = dot(%W, %W, 0, 0, 1, [])", "dot: its axes do not fit its operands"},
    {Op::dot, "%r : f32 = dot(%W, transpose(%W, [1, 0]), 0, 1, 1, 2)", "dot: its axes do not fit its operands"},
    {Op::dot, "%r : f32 = dot(%x, %W, 1, 0, 0, 1)", "dot: axis 0 of operand 0 is batch, axis 1 of operand 1 is 7"},
    {Op::gather, "%r : f32 = gather(%W, %x)", "gather: it does not take the element type of operand 1 (f32[batch, 4])"},
    {Op::gather, "%r : f32 = gather(%s, %i)", "gather: operand 0 (f32) has the wrong number of axes"},
    {Op::gather, "%r : f32 = gather(%x, %j)", "gather: operand 0 (f32[batch, 4]) has the wrong number of axes"},
    {Op::gather, "%r : f32 = gather(transpose(%x, [1, 0]), %i)",
     "gather: operand 1 (i32[batch, 4]) has the wrong number of axes"},
    {Op::gather, "%r : f32 = gather(%v, %i, 3)", "gather takes nothing behind its operands"},
    {Op::scatter_add, "%r : f32 = scatter_add(%y, %i, 3)",
     "scatter_add: axis 1 of operand 0 is 5, axis 1 of operand 1 is 4"},
    {Op::scatter_add, "%r : f32 = scatter_add(%v, %i, 3)",
     "scatter_add: operand 0 (f32[4]) has the wrong number of axes"},
    {Op::scatter_add, "%r : f32 = scatter_add(%b, %i, 3)",
     "scatter_add: it does not take the element type of operand 0 (bool[batch, 4])"},
    {Op::scatter_add, "%r : f32 = scatter_add(%x, %i, 0)", "scatter_add: the numbers of elements do not agree"},
    {Op::scatter_add, "%r : f32 = scatter_add(%x, %i, %v, 5)", "scatter_add: the numbers of elements do not agree"},
    {Op::scatter_add, "%r : f32 = scatter_add(%x, %i, %c, 4)",
     "scatter_add: it does not take the element type of operand 2 (f64[4])"},
    {Op::scatter_add, "%r : f32 = scatter_add(%x, %i, [batch])", "a number of rows is an integer"},
    {Op::stop_gradient, "%r : f32 = stop_gradient(%x, %x)", "stop_gradient: it takes 1 operand, not 2"},
    {Op::point, "%r : i32[batch, 4] = point(%i, 1)",
     "point: it does not take the element type of operand 0 (i32[batch, 4])"},
    {Op::point, "%r : f32[batch, 4] = point(%x)", "point takes a number behind its operands"},
    {Op::grad, "%r : f32 = grad(%x, %x)", "grad: operand 0 (f32[batch, 4]) has the wrong number of axes"},
    {Op::grad, "%r : f32 = grad(%s, %i)", "grad: it does not take the element type of operand 1 (i32[batch, 4])"},
    {Op::scan, "%r : f32 = scan(%s, %x, 0, 0)", "scan: operand 1 (f32[batch, 4]) has the wrong number of axes"},
    {Op::solve, "%r : f32[4] = solve(%W, %v)", "solve: axis 0 of operand 0 is 4, axis 1 of operand 0 is 7"},
    {Op::solve, "%r : f32[7] = solve(broadcast(%s, [7, 7]), %v)",
     "solve: axis 1 of operand 0 is 7, axis 0 of operand 1 is 4"},
    {Op::scan, "%r : f32 = scan(%s, 0, 0)", "scan: it does not take 1 operands"},
    {Op::scan, "%r : f32 = scan(%v, %W, 0, 0)", "scan: the element types of operands 0 (f32[4]) and 0 (f32[4]) differ"},
};

constexpr DType dtypes[] = {DType::f32, DType::f64, DType::i32, DType::boolean};
const Shape rows{batch_extent, {4}}, longer{batch_extent, {5}};

/// Every way of giving `arity` operands element types.
std::vector<std::vector<DType>> element_types(int arity) {
  std::vector<std::vector<DType>> all{{}};
  for (int i = 0; i < arity; ++i) {
    std::vector<std::vector<DType>> more;
    for (const auto& some : all)
      for (DType dtype : dtypes) {
        more.push_back(some);
        more.back().push_back(dtype);
      }
    all = more;
  }
  return all;
}

/// An op over inputs of these types: the graph, or why there is none.
struct Made {
  std::optional<Graph> graph;
  Type type;
  std::optional<ShapeError> error;
};

Made made_of(Op op, const std::vector<Type>& operands, DType wanted) {
  Builder builder;
  std::vector<NodeId> ids;
  for (std::size_t i = 0; i < operands.size(); ++i)
    ids.push_back(builder.leaf(Op::input, "x" + std::to_string(i), operands[i]).id);
  const ValueOrError made = builder.try_make(op, ids, NoAttributes{}, {wanted, {}});
  if (const auto* error = std::get_if<ShapeError>(&made)) return {std::nullopt, {}, *error};
  const Value value = std::get<Value>(made);
  const Type type = value.type();
  builder.output(OutputKind::result, "r", value);
  return {std::move(builder).finish(), type, std::nullopt};
}

std::vector<Type> with_shape(const std::vector<DType>& elements, const Shape& shape) {
  std::vector<Type> types;
  for (DType element : elements) types.push_back({element, shape});
  return types;
}

void check_made(const Made& made, const Shape& shape) {
  REQUIRE(made.graph);
  CHECK(made.type.shape == shape);
  CHECK(verify(*made.graph) == "");
  const auto again = parse_graph(print(*made.graph));
  REQUIRE(std::holds_alternative<Graph>(again));
  CHECK(same_graph(std::get<Graph>(again), *made.graph));
}

/// With element types that an elementwise op takes: equal shapes are kept, rank 0 meets every element, nothing else
/// fits.
void check_elementwise_shapes(Op op, const std::vector<DType>& elements, DType wanted) {
  check_made(made_of(op, with_shape(elements, rows), wanted), rows);
  check_made(made_of(op, with_shape(elements, {}), wanted), {});
  std::vector<Type> more = with_shape(elements, rows);
  more.push_back(more.back());
  CHECK(made_of(op, more, wanted).error->kind == ShapeError::Kind::operand_count);
  if (elements.size() < 2) return;
  for (std::size_t i = 0; i < elements.size(); ++i) {
    std::vector<Type> types = with_shape(elements, rows);
    types[i].shape = {};
    check_made(made_of(op, types, wanted), rows);
    types[i].shape = longer;
    CHECK(made_of(op, types, wanted).error->kind == ShapeError::Kind::extents_differ);
    types[i].shape = {{4}};
    CHECK(made_of(op, types, wanted).error->kind == ShapeError::Kind::rank);
  }
}

}  // namespace

TEST_CASE("every op makes the type that its rule says", "[registry]") {
  std::set<Op> seen;
  for (const auto& [op, statement] : right) {
    const auto result = parse_graph(leaves + statement + "\n");
    INFO(statement);
    if (const auto* error = std::get_if<TextError>(&result)) FAIL(error->message);
    const Graph& graph = std::get<Graph>(result);
    bool found = false;
    for (const Node& node : graph.nodes) found |= node.op == op;
    CHECK(found);
    CHECK(verify(graph) == "");
    seen.insert(op);
  }
  for (Op op : all_ops()) {
    INFO(definition(op).name);
    CHECK((seen.contains(op) || definition(op).cls == OpClass::elementwise));
  }
}

TEST_CASE("every op refuses operands that do not fit, and says why", "[registry]") {
  std::set<Op> seen;
  for (const auto& [op, statement, message] : wrong) {
    const auto result = parse_graph(leaves + statement + "\n");
    INFO(statement);
    REQUIRE(std::holds_alternative<TextError>(result));
    CHECK(std::get<TextError>(result).message == message);
    seen.insert(op);
  }
  for (Op op : all_ops()) {
    INFO(definition(op).name);
    CHECK((seen.contains(op) || definition(op).cls == OpClass::elementwise));
  }
}

TEST_CASE("every elementwise op keeps its operands' shape, and takes some element types and refuses others",
          "[registry]") {
  for (Op op : all_ops()) {
    const OpDef& def = definition(op);
    if (def.cls != OpClass::elementwise) continue;
    INFO(def.name);
    CHECK(op_named(def.name) == op);
    REQUIRE(def.arity > 0);
    int taken = 0, refused = 0;
    for (const auto& elements : element_types(def.arity))
      for (DType wanted : dtypes) {
        const Made made = made_of(op, with_shape(elements, rows), wanted);
        if (made.graph) {
          ++taken;
          check_elementwise_shapes(op, elements, wanted);
        } else {
          ++refused;
          CHECK((made.error->kind == ShapeError::Kind::element_type ||
                 made.error->kind == ShapeError::Kind::types_differ));
          CHECK(describe(op, *made.error, with_shape(elements, rows)).starts_with(std::string(def.name) + ": "));
        }
      }
    CHECK(taken > 0);
    CHECK(refused > 0);
  }
}
