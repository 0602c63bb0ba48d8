#include "passes/overlap.h"

#include <algorithm>
#include <array>
#include <vector>

namespace nnc {

namespace {

/// A value that is a contraction under views: each of its axes is one of a factor's, or several in row-major order, of
/// which a slice may be taken.
struct Product {
  struct Part {
    int factor = 0, axis = 0;
  };
  struct Axis {
    std::vector<Part> parts;
    std::optional<std::pair<std::int64_t, std::int64_t>> slice = {};  ///< start and count
    bool is_whole() const { return parts.size() == 1 && !slice; }
  };
  std::array<Value, 2> factors;
  std::array<std::vector<int>, 2> contracted;  ///< in pairs
  std::vector<Axis> axes;
};

/// Axes of a factor behind `at` move by `by`.
void shift(Product& product, int factor, int at, int by) {
  for (Product::Axis& axis : product.axes)
    for (Product::Part& part : axis.parts)
      if (part.factor == factor && part.axis > at) part.axis += by;
  for (int& axis : product.contracted[static_cast<std::size_t>(factor)])
    if (axis > at) axis += by;
}

Product of_dot(Builder& builder, const Node& node) {
  const auto& dot = std::get<Dot>(node.attributes);
  Product product{{Value{&builder, node.operands[0]}, Value{&builder, node.operands[1]}}, {dot.a, dot.b}, {}};
  for (int factor = 0; factor < 2; ++factor) {
    const auto& contracted = product.contracted[static_cast<std::size_t>(factor)];
    const int rank = product.factors[static_cast<std::size_t>(factor)].type().rank();
    for (int axis = 0; axis < rank; ++axis)
      if (std::ranges::find(contracted, axis) == contracted.end()) product.axes.push_back({{{factor, axis}}});
  }
  return product;
}

/// The axes of `to`, in order, that each axis of `from` is split into; nothing where axes are joined.
std::optional<std::vector<Shape>> split_axes(const Shape& from, const Shape& to) {
  const Extent unit{1, false};
  std::vector<Shape> parts;
  std::size_t next = 0;
  for (const Extent& whole : from) {
    Shape& part = parts.emplace_back();
    const std::size_t others = from.size() - parts.size();  // each gets one at least
    std::int64_t count = 1;
    while (next + others < to.size() && (part.empty() || count < whole.count || to[next] == unit)) {
      if (to[next].batched != whole.batched && to[next] != unit) return std::nullopt;
      count *= to[next].count;
      part.push_back(to[next++]);
    }
    if (part.empty() || count != whole.count || (whole.batched && std::ranges::find(part, whole) == part.end()))
      return std::nullopt;
  }
  return next == to.size() ? std::optional(parts) : std::nullopt;
}

/// Splits axes of the product: those of its factors.
bool split_product(Builder& builder, Product& product, const std::vector<Shape>& parts) {
  std::size_t at = 0;
  for (const Shape& part : parts) {
    const std::size_t first = at;
    at += part.size();
    if (part.size() == 1) continue;
    if (!product.axes[first].is_whole()) return false;
    const auto [number, axis] = product.axes[first].parts[0];
    Value& factor = product.factors[static_cast<std::size_t>(number)];
    Shape shape = factor.type().shape;
    shape.erase(shape.begin() + axis);
    shape.insert(shape.begin() + axis, part.begin(), part.end());
    factor = builder.reshape(factor, shape);
    shift(product, number, axis, static_cast<int>(part.size()) - 1);
    for (std::size_t k = 1; k < part.size(); ++k)
      product.axes.insert(product.axes.begin() + static_cast<std::ptrdiff_t>(first + k),
                          {{{number, axis + static_cast<int>(k)}}});
  }
  return true;
}

/// Joins neighbours of the product's axes.
bool join_product(Product& product, const std::vector<Shape>& groups) {
  std::vector<Product::Axis> axes;
  std::size_t next = 0;
  for (const Shape& group : groups) {
    Product::Axis& joined = axes.emplace_back(product.axes[next++]);
    for (std::size_t i = 1; i < group.size(); ++i) {
      const Product::Axis& other = product.axes[next++];
      if (joined.slice || other.slice) return false;
      joined.parts.insert(joined.parts.end(), other.parts.begin(), other.parts.end());
    }
  }
  product.axes = std::move(axes);
  return true;
}

bool reshape_product(Builder& builder, Product& product, const Shape& from, const Shape& to) {
  if (const auto parts = split_axes(from, to)) return split_product(builder, product, *parts);
  const auto groups = split_axes(to, from);
  return groups && join_product(product, *groups);
}

bool slice_of_axes(Product& product, const Slice& slice, const Shape& from, const Shape& to) {
  for (std::size_t i = 0; i < to.size(); ++i) {
    if (slice.steps[i] != 1 || (from[i] != to[i] && product.axes[i].slice)) return false;
    if (from[i] != to[i]) product.axes[i].slice = {slice.starts[i], to[i].count};
  }
  return true;
}

std::optional<Product> product_of(Builder& builder, Value x) {
  const Node node = builder[x.id];  // a copy: the graph grows
  if (const auto* dot = std::get_if<Dot>(&node.attributes))
    return dot->batch_a.empty() ? std::optional(of_dot(builder, node)) : std::nullopt;
  const auto* permuted = std::get_if<Transpose>(&node.attributes);
  const auto* sliced = std::get_if<Slice>(&node.attributes);
  if (!permuted && !sliced && node.op != Op::reshape) return std::nullopt;
  const Value inner{&builder, node.operands[0]};
  const Shape from = inner.type().shape;
  auto product = product_of(builder, inner);
  if (!product) return std::nullopt;
  if (sliced) return slice_of_axes(*product, *sliced, from, node.type.shape) ? product : std::nullopt;
  if (!permuted) return reshape_product(builder, *product, from, node.type.shape) ? product : std::nullopt;
  std::vector<Product::Axis> axes;
  for (int axis : permuted->permutation) axes.push_back(product->axes[static_cast<std::size_t>(axis)]);
  product->axes = std::move(axes);
  return product;
}

Value part_of(Builder& builder, Value x, int axis, std::int64_t start, std::int64_t count);

Value made(Builder& builder, const Product& product) {
  const auto place = [](const Product::Part& part) { return std::pair(part.factor, part.axis); };
  std::vector<Product::Part> all;
  for (const Product::Axis& axis : product.axes) all.insert(all.end(), axis.parts.begin(), axis.parts.end());
  std::vector<Product::Part> sorted = all;
  std::ranges::sort(sorted, {}, place);
  std::vector<int> order;
  for (const Product::Part& part : all)
    order.push_back(static_cast<int>(std::ranges::find(sorted, place(part), place) - sorted.begin()));
  const Value dot = builder.dot(product.factors[0], product.factors[1], product.contracted[0], product.contracted[1]);
  Value value = builder.transpose(dot, order);
  const Shape apart = value.type().shape;
  Shape shape;
  std::size_t next = 0;
  for (const Product::Axis& axis : product.axes) {
    Extent extent = apart[next++];
    for (std::size_t i = 1; i < axis.parts.size(); ++i, ++next)
      extent = {extent.count * apart[next].count, extent.batched || apart[next].batched};
    shape.push_back(extent);
  }
  value = builder.reshape(value, shape);
  for (std::size_t i = 0; i < product.axes.size(); ++i)
    if (const auto& slice = product.axes[i].slice)
      value = part_of(builder, value, static_cast<int>(i), slice->first, slice->second);
  return value;
}

// ---- windows, so that zeros and slices come to stand below them

/// The axis of a window's operand, and whether it is another one than that which becomes windows.
std::optional<int> beside_window(const Window& window, int axis) {
  if (axis == window.axis || axis == window.axis + 1) return std::nullopt;
  return axis < window.axis ? axis : axis - 1;
}

Value with_zeros(Builder& builder, Value x, int axis, std::int64_t low, std::int64_t high) {
  const Node node = builder[x.id];
  if (const auto* window = std::get_if<Window>(&node.attributes))
    if (const auto inner = beside_window(*window, axis))
      return builder.window(with_zeros(builder, Value{&builder, node.operands[0]}, *inner, low, high), window->axis,
                            window->size, window->stride, window->dilation);
  const std::size_t rank = node.type.shape.size();
  std::vector<std::int64_t> before(rank, 0), behind(rank, 0);
  before[static_cast<std::size_t>(axis)] = low;
  behind[static_cast<std::size_t>(axis)] = high;
  return builder.pad(x, before, behind, std::vector<std::int64_t>(rank, 0));
}

/// x[start ... start + count) along an axis; of windows, and of what has zeros around it, without computing more.
Value part_of(Builder& builder, Value x, int axis, std::int64_t start, std::int64_t count) {
  const Node node = builder[x.id];
  const auto at = static_cast<std::size_t>(axis);
  if (node.type.shape[at].count == count) return x;
  if (const auto* window = std::get_if<Window>(&node.attributes)) {
    const Value inner{&builder, node.operands[0]};
    const auto again = [&](Value part) {
      return builder.window(part, window->axis, window->size, window->stride, window->dilation);
    };
    if (const auto other = beside_window(*window, axis)) return again(part_of(builder, inner, *other, start, count));
    if (axis == window->axis && count > 0)
      return again(part_of(builder, inner, axis, start * window->stride,
                           (count - 1) * window->stride + (window->size - 1) * window->dilation + 1));
  }
  if (const auto* pad = std::get_if<Pad>(&node.attributes); pad && pad->between[at] == 0) {
    const Value inner{&builder, node.operands[0]};
    const std::int64_t low = pad->low[at], extent = inner.type().shape[at].count;
    const std::int64_t first = std::max<std::int64_t>(0, start - low), last = std::min(extent, start + count - low);
    if (first < last) {
      std::vector<std::int64_t> before = pad->low, behind = pad->high;
      before[at] = std::max<std::int64_t>(0, low - start);
      behind[at] = std::max<std::int64_t>(0, start + count - low - extent);
      return builder.pad(part_of(builder, inner, axis, first, last - first), before, behind, pad->between);
    }
  }
  Shape extents = node.type.shape;
  extents[at].count = count;
  std::vector<std::int64_t> starts(extents.size(), 0);
  starts[at] = start;
  return builder.slice(x, starts, std::vector<std::int64_t>(extents.size(), 1), extents);
}

Value turned(Builder& builder, Value x, int axis) {
  const Shape shape = x.type().shape;
  std::vector<std::int64_t> starts(shape.size(), 0), steps(shape.size(), 1);
  starts[static_cast<std::size_t>(axis)] = shape[static_cast<std::size_t>(axis)].count - 1;
  steps[static_cast<std::size_t>(axis)] = -1;
  return builder.slice(x, starts, steps, shape);
}

/// Axis of n * stride places, zeros among them if need be, as [n, stride].
Value in_phases(Builder& builder, Value x, int axis, std::int64_t stride) {
  const std::int64_t count = x.type().shape[static_cast<std::size_t>(axis)].count;
  const std::int64_t whole = (count + stride - 1) / stride;
  Shape shape = x.type().shape;
  shape[static_cast<std::size_t>(axis)].count = whole;
  shape.insert(shape.begin() + axis + 1, Extent{stride, false});
  return builder.reshape(with_zeros(builder, x, axis, 0, whole * stride - count), shape);
}

}  // namespace

std::optional<Value> overlap_of_product(Builder& builder, Value y, const OverlapAdd& overlap) {
  if (overlap.stride > 1 && overlap.dilation > 1) return std::nullopt;
  auto found = product_of(builder, y);
  if (!found) return std::nullopt;
  Product& product = *found;
  const auto at = static_cast<std::size_t>(overlap.axis);
  if (!product.axes[at].is_whole() || !product.axes[at + 1].is_whole()) return std::nullopt;
  const Product::Part of_window = product.axes[at].parts[0], inside = product.axes[at + 1].parts[0];
  if (of_window.factor == inside.factor) return std::nullopt;
  for (int axis : product.contracted[0])
    if (product.factors[0].type().shape[static_cast<std::size_t>(axis)].batched) return std::nullopt;

  if (of_window.factor == 1) {  // the factor with windows comes first
    std::swap(product.factors[0], product.factors[1]);
    std::swap(product.contracted[0], product.contracted[1]);
    for (Product::Axis& axis : product.axes)
      for (Product::Part& part : axis.parts) part.factor = 1 - part.factor;
  }
  auto& [z, w] = product.factors;
  const std::int64_t stride = overlap.stride, reach = overlap.dilation;
  const std::int64_t windows = z.type().shape[static_cast<std::size_t>(of_window.axis)].count;
  if (stride > 1) {
    w = in_phases(builder, w, inside.axis, stride);
    shift(product, 1, inside.axis, 1);
  }
  const std::int64_t size = w.type().shape[static_cast<std::size_t>(inside.axis)].count;
  const std::int64_t places = (overlap.extent + stride - 1) / stride;
  w = turned(builder, w, inside.axis);
  z = builder.window(with_zeros(builder, z, of_window.axis, (size - 1) * reach, places - windows), of_window.axis, size,
                     1, reach);
  shift(product, 0, of_window.axis, 1);
  product.contracted[0].insert(product.contracted[0].begin(), of_window.axis + 1);
  product.contracted[1].insert(product.contracted[1].begin(), inside.axis);
  product.axes.erase(product.axes.begin() + overlap.axis + 1);
  if (stride > 1) {
    product.axes[at].parts.push_back({1, inside.axis + 1});
    if (places * stride != overlap.extent) product.axes[at].slice = {0, overlap.extent};
  }
  return made(builder, product);
}

std::optional<Value> overlap_of_none(Builder& builder, Value y, const OverlapAdd& overlap) {
  const auto at = static_cast<std::size_t>(overlap.axis);
  Shape shape = y.type().shape;
  const std::int64_t windows = shape[at].count, size = shape[at + 1].count;
  if (overlap.stride < size || (overlap.dilation > 1 && size > 1)) return std::nullopt;
  y = with_zeros(builder, y, overlap.axis + 1, 0, overlap.stride - size);
  const std::int64_t places = windows * overlap.stride;
  shape[at] = {places, shape[at].batched};
  shape.erase(shape.begin() + overlap.axis + 1);
  y = builder.reshape(y, shape);
  if (places > overlap.extent) return part_of(builder, y, overlap.axis, 0, overlap.extent);
  return with_zeros(builder, y, overlap.axis, 0, overlap.extent - places);
}

std::optional<Value> slice_of_product(Builder& builder, Value x, const Slice& slice, const Shape& extents) {
  auto product = product_of(builder, x);
  if (!product || std::ranges::any_of(slice.steps, [](std::int64_t step) { return step != 1; })) return std::nullopt;
  const Shape shape = x.type().shape;
  for (std::size_t i = 0; i < shape.size(); ++i) {
    if (shape[i] == extents[i]) continue;
    if (!product->axes[i].is_whole()) return std::nullopt;
    const auto [number, axis] = product->axes[i].parts[0];
    Value& factor = product->factors[static_cast<std::size_t>(number)];
    if (number != 0 || !std::holds_alternative<Window>(builder[factor.id].attributes)) return std::nullopt;
    factor = part_of(builder, factor, axis, slice.starts[i], extents[i].count);
  }
  return made(builder, *product);
}

}  // namespace nnc
