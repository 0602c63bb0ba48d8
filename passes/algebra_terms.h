// Terms and the indices that their factors have: what the files of passes/algebra share and nobody else needs.
#pragma once

#include <algorithm>
#include <iterator>
#include <vector>

#include "passes/algebra.h"

namespace nnc {

inline bool contains(const std::vector<int>& list, int value) { return std::ranges::find(list, value) != list.end(); }

/// Two ascending lists of indices as one.
inline std::vector<int> united(const std::vector<int>& a, const std::vector<int>& b) {
  std::vector<int> all;
  std::ranges::set_union(a, b, std::back_inserter(all));
  return all;
}

inline std::vector<int> indices_of(const Factor& factor) {
  std::vector<int> indices;
  for (int index : factor.at)
    if (index >= 0) indices.push_back(index);
  std::ranges::sort(indices);
  indices.erase(std::ranges::unique(indices).begin(), indices.end());
  return indices;
}

inline std::vector<int> indices_of(const Term& term) {
  std::vector<int> indices;
  for (const Factor& factor : term.factors) indices = united(indices, indices_of(factor));
  return indices;
}

inline std::vector<int> indices_of(const Poly& poly) {
  std::vector<int> indices;
  for (const Term& term : poly) indices = united(indices, indices_of(term));
  return indices;
}

template <class Renumber>
void renumber(Term& term, Renumber&& to) {
  for (Factor& factor : term.factors)
    for (int& index : factor.at)
      if (index >= 0) index = to(index);
  std::ranges::sort(term.factors);
}
template <class Renumber>
void renumber(Poly& poly, Renumber&& to) {
  for (Term& term : poly) renumber(term, to);
  std::ranges::sort(poly);
}

/// Indices 0, 1, ... in place of `indices`.
inline int place_in(const std::vector<int>& indices, int index) {
  return static_cast<int>(std::ranges::lower_bound(indices, index) - indices.begin());
}

/// The extents of some of a frame's indices.
inline Shape shape_of(const Shape& frame, const std::vector<int>& indices) {
  Shape shape;
  for (int index : indices) shape.push_back(frame[index]);
  return shape;
}

}  // namespace nnc
