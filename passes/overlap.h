// Sums of overlapping products are convolutions. The gradient of a convolution by its input comes out as a product of
// every gradient with every weight, of which overlap_add then sums what belongs to one place: as many numbers in memory
// as there are products. With o = (p - k) / stride,
//
//     sum_k dot(z, w)[o, k] = dot(windows of z with zeros around it, w turned round)[p]
//
// is one contraction over k as well, and stores nothing in between. With strides the places p = q stride + u go by
// phases: phase u takes the weights k = t stride + u, so phases are further columns of one product.
//
// Where no window reaches into the next one there is nothing to add: the windows lie one behind the other, and the sum
// is a view. So it is with the gradient of a pool.
#pragma once

#include <optional>

#include "ir/builder.h"

namespace nnc {

/// overlap_add(y) as a contraction; nothing where y is no product (seen through views) whose windows lie in one factor
/// and whose places in a window lie in the other, or where it has both strides and distances.
std::optional<Value> overlap_of_product(Builder& builder, Value y, const OverlapAdd& overlap);

/// overlap_add(y) as a view of y; nothing where windows overlap.
std::optional<Value> overlap_of_none(Builder& builder, Value y, const OverlapAdd& overlap);

/// A slice of such a contraction, as one that computes no more than is taken; nothing where x is none.
std::optional<Value> slice_of_product(Builder& builder, Value x, const Slice& slice, const Shape& extents);

}  // namespace nnc
