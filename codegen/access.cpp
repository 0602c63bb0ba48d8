#include "codegen/access.h"

#include <llvm/IR/Intrinsics.h>

#include <algorithm>

namespace nnc {

namespace {

Affine without_unit_loops(const AffineRow& row, std::span<const std::int64_t> extents) {
  Affine form{row.offset, std::vector<std::int64_t>(extents.size(), 0), row.divisor};
  for (std::size_t loop = 0; loop < row.coefficients.size() && loop < extents.size(); ++loop)
    if (extents[loop] != 1) form.coefficients[loop] = row.coefficients[loop];
  return form;
}

/// adds scale * (row of an affine map) to `sum`.
void add_scaled(Affine& sum, const AffineRow& row, std::int64_t scale, std::span<const std::int64_t> extents) {
  sum.offset += scale * row.offset;
  for (std::size_t loop = 0; loop < row.coefficients.size() && loop < extents.size(); ++loop)
    if (extents[loop] != 1) sum.coefficients[loop] += scale * row.coefficients[loop];
}

std::int64_t dense_stride(const Buffer& buffer, std::size_t axis) {
  std::int64_t stride = 1;
  for (std::size_t d = axis + 1; d < buffer.dims.size(); ++d) stride *= buffer.dims[d];
  return stride;
}

}  // namespace

AccessForm access_form(const Program& program, const Access& access, std::span<const std::int64_t> extents) {
  const Buffer& buffer = program.buffers[access.buffer];
  AccessForm form;
  form.buffer = access.buffer;
  form.flat = Affine{0, std::vector<std::int64_t>(extents.size(), 0)};
  form.guards = guard_forms(access.guards, extents);
  const auto add = [&](const AffineRow& row, std::int64_t scale) {
    if (row.divisor == 1)
      add_scaled(form.flat, row, scale, extents);
    else
      form.quotients.emplace_back(without_unit_loops(row, extents), scale);
  };

  if (buffer.layout.kind == Layout::Kind::panels) {
    form.panel = buffer.layout.panel;
    form.panel_rows = buffer.dims[0];
    add(access.map[0], form.panel);
    form.column = without_unit_loops(access.map[1], extents);
    return form;
  }
  const bool feed = buffer.region == Region::feed;
  if (feed) form.row = without_unit_loops(access.map[0], extents);
  const bool dense = feed || buffer.region == Region::output || buffer.layout.strides.empty();
  for (std::size_t axis = feed ? 1 : 0; axis < access.map.size(); ++axis)
    add(access.map[axis], dense ? dense_stride(buffer, axis) : buffer.layout.strides[axis]);
  return form;
}

std::vector<GuardForm> guard_forms(const std::vector<Guard>& guards, std::span<const std::int64_t> extents) {
  constexpr std::int64_t narrow = std::int64_t{1} << 30;
  std::vector<GuardForm> forms;
  for (const Guard& guard : guards) {
    const RowReach reach = reach_of(guard.row, {extents.begin(), extents.end()});
    const bool small = reach.low > -narrow && reach.high < narrow && guard.extent < narrow / guard.row.divisor;
    forms.push_back({without_unit_loops(guard.row, extents), guard.extent, small});
  }
  return forms;
}

bool AccessForm::depends(int loop) const {
  const auto quotient_depends = [&](const auto& quotient) { return quotient.first.depends(loop); };
  const auto guard_depends = [&](const GuardForm& guard) { return guard.row.depends(loop); };
  return flat.depends(loop) || (row && row->depends(loop)) || (column && column->depends(loop)) ||
         std::ranges::any_of(quotients, quotient_depends) || std::ranges::any_of(guards, guard_depends);
}

std::optional<std::int64_t> only_element(const AccessForm& form) {
  if (form.row || form.column || !form.quotients.empty() || !form.guards.empty()) return std::nullopt;
  if (std::ranges::any_of(form.flat.coefficients, [](std::int64_t by) { return by != 0; })) return std::nullopt;
  return form.flat.offset;
}

namespace {

/// Elements from the start of a panel buffer to a column.
llvm::Value* column_distance(Emitter& emit, const AccessForm& form, llvm::Value* column) {
  llvm::Value* panel = emit.index(form.panel);
  llvm::Value* first = emit.scaled(emit.ir.CreateUDiv(column, panel), form.panel_rows * form.panel);
  return emit.add(first, emit.ir.CreateURem(column, panel));
}

/// Bytes from a feed's first row to the one that stands at this place of its order.
llvm::Value* row_distance(Emitter& emit, const AccessForm& form, llvm::Value* place) {
  llvm::Type* u32 = emit.ir.getInt32Ty();
  llvm::Value* row = emit.ir.CreateLoad(u32, emit.element(u32, emit.feed_order(form.buffer), place));
  return emit.ir.CreateMul(emit.ir.CreateZExt(row, emit.ir.getInt64Ty()), emit.feed_row_stride(form.buffer));
}

}  // namespace

llvm::Value* address_of(Emitter& emit, const AccessForm& form, std::span<llvm::Value* const> indices) {
  llvm::Type* type = memory_type(emit.context, emit.program.buffers[form.buffer].dtype);
  const auto value = [&](const Affine& affine) {
    llvm::Value* sum = emit.index(affine.offset);
    for (std::size_t loop = 0; loop < indices.size(); ++loop)
      if (affine.coefficients[loop] != 0) sum = emit.add(sum, emit.scaled(indices[loop], affine.coefficients[loop]));
    return sum;
  };
  llvm::Value* at = emit.element(type, emit.base_of(form.buffer), value(form.flat));
  if (form.row) at = emit.byte_offset(at, row_distance(emit, form, value(*form.row)));
  if (form.column) at = emit.element(type, at, column_distance(emit, form, value(*form.column)));
  return at;
}

int Nest::level_of(int loop) const {
  if (const Computed* index = computed_at(loop)) return index->level;
  for (std::size_t level = levels.size(); level > 0; --level)
    if (levels[level - 1].loop == loop) return static_cast<int>(level);
  return 0;
}

int Nest::level_of(const AccessForm& form, int loops) const {
  int level = 0;
  for (int loop = 0; loop < loops; ++loop)
    if (form.depends(loop)) level = std::max(level, level_of(loop));
  return level;
}

bool Nest::depends_on_computed(const Affine& form, bool varying) const {
  for (std::size_t i = 0; i < computed.size(); ++i) {
    const auto loop = static_cast<std::size_t>(first_computed) + i;
    if (loop < form.coefficients.size() && form.coefficients[loop] != 0 && (!varying || computed[i].varying))
      return true;
  }
  return false;
}

llvm::Value* index_of(Emitter& emit, const Nest& nest, int loop) {
  llvm::Value* sum = nullptr;
  for (const Nest::Level& level : nest.levels)
    if (level.loop == loop && level.index) sum = sum ? emit.add(sum, level.index) : level.index;
  return sum ? sum : emit.index(0);
}

llvm::Value* value_of(Emitter& emit, const Nest& nest, const Affine& form, int lane) {
  llvm::Value* sum = emit.index(form.offset);
  for (std::size_t loop = 0; loop < form.coefficients.size(); ++loop) {
    if (form.coefficients[loop] == 0) continue;
    const Nest::Computed* computed = nest.computed_at(static_cast<int>(loop));
    llvm::Value* index = computed ? computed->value : index_of(emit, nest, static_cast<int>(loop));
    if (computed && computed->varying) index = emit.ir.CreateExtractElement(index, static_cast<std::uint64_t>(lane));
    if (static_cast<int>(loop) == nest.vector_loop && lane > 0) index = emit.add(index, emit.index(lane));
    sum = emit.add(sum, emit.scaled(index, form.coefficients[loop]));
  }
  // Exact wherever a guard holds; elsewhere nothing takes it.
  return form.divisor == 1 ? sum : emit.ir.CreateExactSDiv(sum, emit.index(form.divisor));
}

namespace {

/// Where what is computed from a form's indices in this block is kept; null until then.
llvm::Value*& shared(Emitter& emit, const Nest& nest, Emitter::IndexKey::Kind kind, const Affine& form, int lane,
                     std::int64_t of) {
  Emitter::IndexKey key{emit.ir.GetInsertBlock(), kind, {of, form.offset, form.divisor, lane}, {}};
  for (const Nest::Level& level : nest.levels) {
    if (level.loop < 0 || form.coefficients[static_cast<std::size_t>(level.loop)] == 0) continue;
    key.numbers.push_back(form.coefficients[static_cast<std::size_t>(level.loop)]);
    key.numbers.push_back(level.loop == nest.vector_loop ? 1 : 0);
    key.indices.push_back(level.index);
  }
  return emit.of_indices[key];
}

}  // namespace

Condition::Condition(Emitter& emit, std::vector<GuardForm> guards, const Nest& nest)
    : emit_(emit), guards_(std::move(guards)), nest_(nest), values_(guards_.size()) {}

bool Condition::varies(const GuardForm& guard) const {
  return (nest_.vector_loop >= 0 && guard.row.depends(nest_.vector_loop)) || nest_.depends_on_computed(guard.row, true);
}

bool Condition::varying() const {
  return std::ranges::any_of(guards_, [&](const GuardForm& guard) { return varies(guard); });
}

int Condition::level_of(const GuardForm& guard) const {
  int level = 0;
  for (std::size_t loop = 0; loop < guard.row.coefficients.size(); ++loop)
    if (guard.row.coefficients[loop] != 0) level = std::max(level, nest_.level_of(static_cast<int>(loop)));
  return level;
}

int Condition::level() const {
  int level = 0;
  for (const GuardForm& guard : guards_) level = std::max(level, level_of(guard));
  return level;
}

/// One comparison of unsigned numbers asks for both bounds.
llvm::Value* Condition::holds(const GuardForm& guard, llvm::Value* numerator) {
  const auto number = [&](std::int64_t value) {
    return llvm::ConstantInt::get(numerator->getType(), static_cast<std::uint64_t>(value));
  };
  const std::int64_t divisor = guard.row.divisor;
  llvm::Value* inside = emit_.ir.CreateICmpULT(numerator, number(guard.extent * divisor));
  if (divisor == 1) return inside;
  llvm::Value* left = emit_.ir.CreateURem(numerator, number(divisor));
  return emit_.ir.CreateAnd(inside, emit_.ir.CreateICmpEQ(left, number(0)));
}

/// One for each lane.
llvm::Value* Condition::numerators(const GuardForm& guard) {
  const int lanes = nest_.lanes;
  Affine uniform = guard.row;  // without what differs from lane to lane
  uniform.divisor = 1;
  for (std::size_t i = 0; i < nest_.computed.size(); ++i) {
    const auto loop = static_cast<std::size_t>(nest_.first_computed) + i;
    if (loop < uniform.coefficients.size() && nest_.computed[i].varying) uniform.coefficients[loop] = 0;
  }
  llvm::Type* type = guard.narrow ? emit_.ir.getInt32Ty() : emit_.ir.getInt64Ty();
  llvm::Value* first = value_of(emit_, nest_, uniform, 0);
  if (guard.narrow) first = emit_.ir.CreateTrunc(first, type);
  const std::int64_t step = guard.row.coefficients[static_cast<std::size_t>(nest_.vector_loop)];
  llvm::SmallVector<llvm::Constant*, 16> steps;
  for (int lane = 0; lane < lanes; ++lane)
    steps.push_back(llvm::ConstantInt::get(type, static_cast<std::uint64_t>(lane * step)));
  llvm::Value* sum = emit_.ir.CreateAdd(emit_.splat(first, lanes), llvm::ConstantVector::get(steps));
  for (std::size_t i = 0; i < nest_.computed.size(); ++i) {
    const auto loop = static_cast<std::size_t>(nest_.first_computed) + i;
    if (loop >= guard.row.coefficients.size() || guard.row.coefficients[loop] == 0 || !nest_.computed[i].varying)
      continue;
    llvm::Value* index = nest_.computed[i].value;
    if (guard.narrow) index = emit_.ir.CreateTrunc(index, lanes_type(type, lanes));
    llvm::Value* factor = llvm::ConstantInt::get(type, static_cast<std::uint64_t>(guard.row.coefficients[loop]));
    sum = emit_.ir.CreateAdd(sum, emit_.ir.CreateMul(index, emit_.splat(factor, lanes)));
  }
  return sum;
}

void Condition::enter(int level) {
  for (std::size_t i = 0; i < guards_.size(); ++i) {
    const bool later = varies(guards_[i]) || nest_.depends_on_computed(guards_[i].row, false);
    if (!later && level_of(guards_[i]) == level) values_[i] = of_guard(guards_[i], 0);
  }
}

llvm::Value* Condition::of_guard(const GuardForm& guard, int lane) {
  llvm::Value* none = nullptr;
  llvm::Value*& value = nest_.depends_on_computed(guard.row, false)
                            ? none
                            : shared(emit_, nest_, Emitter::IndexKey::Kind::guard, guard.row, lane, guard.extent);
  if (value) return value;
  Affine numerator = guard.row;
  numerator.divisor = 1;
  return value = holds(guard, value_of(emit_, nest_, numerator, lane));
}

llvm::Value* Condition::uniform() {
  llvm::Value* all = nullptr;
  for (std::size_t i = 0; i < guards_.size(); ++i) {
    if (varies(guards_[i])) continue;
    llvm::Value* here = values_[i] ? values_[i] : of_guard(guards_[i], 0);
    all = all ? emit_.ir.CreateAnd(all, here) : here;
  }
  return all;
}

llvm::Value* Condition::by_lanes() {
  llvm::Value* all = nullptr;
  for (const GuardForm& guard : guards_) {
    if (!varies(guard)) continue;
    llvm::Value* here = holds(guard, numerators(guard));
    all = all ? emit_.ir.CreateAnd(all, here) : here;
  }
  return all;
}

llvm::Value* Condition::value() {
  llvm::Value *same = uniform(), *lanes = by_lanes();
  if (!lanes) return same;
  return same ? emit_.ir.CreateAnd(emit_.splat(same, nest_.lanes), lanes) : lanes;
}

llvm::Value* Condition::of_lane(int lane) {
  llvm::Value* all = uniform();
  for (const GuardForm& guard : guards_) {
    if (!varies(guard)) continue;
    llvm::Value* here = of_guard(guard, lane);
    all = all ? emit_.ir.CreateAnd(all, here) : here;
  }
  return all;
}

Element::Element(Emitter& emit, AccessForm form, const Nest& nest)
    : emit_(emit),
      form_(std::move(form)),
      nest_(nest),
      condition_(emit, form_.guards, nest),
      buffer_(emit.program.buffers[form_.buffer]),
      element_(memory_type(emit.context, buffer_.dtype)),
      pointers_(nest.levels.size() + 1) {
  const int loops = static_cast<int>(form_.flat.coefficients.size());
  varying_ = nest.vector_loop >= 0 && nest.vector_loop < loops && form_.depends(nest.vector_loop);
  const auto computed = [&](const Affine& part) { return nest.depends_on_computed(part, true); };
  varying_ = varying_ || condition_.varying() || computed(form_.flat) || (form_.row && computed(*form_.row)) ||
             (form_.column && computed(*form_.column)) ||
             std::ranges::any_of(form_.quotients, [&](const auto& quotient) { return computed(quotient.first); });
  level_ = nest.level_of(form_, loops);
  shape_ = find_shape();
  kept_at_ = only_element(form_);
}

Element::Shape Element::find_shape() const {
  if (!varying_) return Shape::uniform;
  const int loop = nest_.vector_loop;
  if (nest_.depends_on_computed(form_.flat, true)) return Shape::scattered;
  if (form_.row && (form_.row->depends(loop) || nest_.depends_on_computed(*form_.row, true))) return Shape::scattered;
  for (const auto& [quotient, scale] : form_.quotients)
    if (quotient.depends(loop) || nest_.depends_on_computed(quotient, true)) return Shape::scattered;
  // A mask over bytes is taken apart by LLVM, and one over the columns of a panel may begin before it.
  if (condition_.varying() && (form_.column || buffer_.dtype == DType::boolean)) return Shape::scattered;
  const std::int64_t flat = form_.flat.coefficients[static_cast<std::size_t>(loop)];
  if (!form_.column) return flat == 1 ? Shape::contiguous : Shape::scattered;
  if (nest_.depends_on_computed(*form_.column, false)) return Shape::scattered;
  if (!form_.column->depends(loop)) return flat == 1 ? Shape::contiguous : Shape::scattered;

  // A vector lies inside one panel where its first column is a multiple of its lanes, and so is the panel's width.
  const Affine& column = *form_.column;
  bool aligned = flat == 0 && column.divisor == 1 && form_.panel % nest_.lanes == 0 && column.offset % nest_.lanes == 0;
  for (std::size_t other = 0; other < column.coefficients.size(); ++other)
    aligned = aligned && (static_cast<int>(other) == loop ? column.coefficients[other] == 1
                                                          : column.coefficients[other] % nest_.lanes == 0);
  return aligned ? Shape::contiguous : Shape::scattered;
}

/// Bytes from the feed's base to a row; looked up once for all that read it within a block.
llvm::Value* Element::row_term(const Affine& form, int lane) {
  llvm::Value* none = nullptr;
  llvm::Value*& term =
      condition_.empty() && !nest_.depends_on_computed(form, false)
          ? shared(emit_, nest_, Emitter::IndexKey::Kind::row, form, lane, static_cast<std::int64_t>(buffer_.offset))
          : none;
  if (term) return term;
  llvm::Value* row = affine(form, lane);
  if (!condition_.empty()) {  // the row may be none where a guard fails
    row = emit_.ir.CreateBinaryIntrinsic(llvm::Intrinsic::smax, row, emit_.index(0));
    row = emit_.ir.CreateBinaryIntrinsic(llvm::Intrinsic::smin, row, emit_.index(buffer_.dims[0] - 1));
  }
  term = row_distance(emit_, form_, row);
  return term;
}

void Element::enter(int level) {
  const auto loops = form_.flat.coefficients.size();
  const auto size = static_cast<std::int64_t>(size_of(buffer_.dtype));
  llvm::Value* pointer = nullptr;
  if (level == 0) {
    const Emitter::Place place = emit_.place_of(form_.buffer);
    pointer = place.pointer;
    bytes_ = place.bytes + form_.flat.offset * size;
  } else {
    pointer = pointers_[static_cast<std::size_t>(level) - 1];
    const Nest::Level& part = nest_.levels[static_cast<std::size_t>(level) - 1];
    const auto loop = static_cast<std::size_t>(part.loop);
    if (loop < loops && form_.flat.coefficients[loop] != 0)
      pointer = emit_.address(pointer, part.index, form_.flat.coefficients[loop] * size);
  }
  const auto complete_at = [&](const Affine& form) {
    int complete = 0;
    for (std::size_t loop = 0; loop < loops; ++loop)
      if (form.coefficients[loop] != 0) complete = std::max(complete, nest_.level_of(static_cast<int>(loop)));
    return complete;
  };
  const auto known_here = [&](const Affine& form) {
    return !by_lane(form) && !nest_.depends_on_computed(form, false) && complete_at(form) == level;
  };
  if (form_.row && known_here(*form_.row)) pointer = emit_.byte_offset(pointer, row_term(*form_.row, 0));
  if (form_.column && known_here(*form_.column))
    pointer = emit_.element(element_, pointer, column_distance(emit_, form_, affine(*form_.column, 0)));
  for (const auto& [quotient, scale] : form_.quotients)
    if (known_here(quotient)) pointer = emit_.element(element_, pointer, emit_.scaled(affine(quotient, 0), scale));
  condition_.enter(level);
  pointers_[static_cast<std::size_t>(level)] = pointer;
}

/// Whether a term that is not linear has to be computed for each lane of a scattered access.
bool Element::by_lane(const Affine& form) const {
  return shape_ == Shape::scattered && form.depends(nest_.vector_loop);
}

/// The terms of computed indices: linear ones, and rows and columns that are made of them.
llvm::Value* Element::with_computed(llvm::Value* at, int lane) {
  for (std::size_t i = 0; i < nest_.computed.size(); ++i) {
    const auto loop = static_cast<std::size_t>(nest_.first_computed) + i;
    if (loop >= form_.flat.coefficients.size() || form_.flat.coefficients[loop] == 0) continue;
    llvm::Value* index = nest_.computed[i].value;
    if (nest_.computed[i].varying) index = emit_.ir.CreateExtractElement(index, static_cast<std::uint64_t>(lane));
    at = emit_.element(element_, at, emit_.scaled(index, form_.flat.coefficients[loop]));
  }
  const auto waits = [&](const std::optional<Affine>& form) {
    return form && !by_lane(*form) && nest_.depends_on_computed(*form, false);
  };
  if (waits(form_.row)) at = emit_.byte_offset(at, row_term(*form_.row, lane));
  if (waits(form_.column)) at = emit_.element(element_, at, column_distance(emit_, form_, affine(*form_.column, lane)));
  for (const auto& [quotient, scale] : form_.quotients)
    if (waits(quotient)) at = emit_.element(element_, at, emit_.scaled(affine(quotient, lane), scale));
  return at;
}

/// The element's address, or that of the first of neighbours.
llvm::Value* Element::pointer() { return with_computed(known_pointer(), 0); }

llvm::Value* Element::known_pointer() {
  llvm::Value* pointer = pointers_[static_cast<std::size_t>(level_)];
  return bytes_ == 0 ? pointer : emit_.byte_offset(pointer, emit_.index(bytes_));
}

/// Scattered: the pointers have lane 0's linear terms, and all that are the same in all lanes.
llvm::Value* Element::lane_pointer(int lane) {
  llvm::Value* at = with_computed(known_pointer(), lane);
  const std::int64_t step = form_.flat.coefficients[static_cast<std::size_t>(nest_.vector_loop)];
  if (lane > 0 && step != 0) at = emit_.element(element_, at, emit_.index(lane * step));
  if (form_.row && by_lane(*form_.row)) at = emit_.byte_offset(at, row_term(*form_.row, lane));
  if (form_.column && by_lane(*form_.column))
    at = emit_.element(element_, at, column_distance(emit_, form_, affine(*form_.column, lane)));
  for (const auto& [quotient, scale] : form_.quotients)
    if (by_lane(quotient)) at = emit_.element(element_, at, emit_.scaled(affine(quotient, lane), scale));
  return at;
}

/// The pointer, or that of as many zeros as a vector has elements.
llvm::Value* Element::guarded(llvm::Value* pointer, llvm::Value* condition) {
  if (auto* known = llvm::dyn_cast_or_null<llvm::ConstantInt>(condition); known && known->isOne()) return pointer;
  return condition ? emit_.ir.CreateSelect(condition, pointer, emit_.zeros(lanes_type(element_, nest_.lanes)))
                   : pointer;
}

/// Whether a tail may read and write the whole vector: the vector loop goes along padded rows, from their start.
bool Element::whole_vectors_fit() const {
  if (form_.column) return true;  // panels are whole, see find_shape
  if (!buffer_.padded_rows || buffer_.dims.empty() || form_.flat.offset != 0 || !form_.quotients.empty()) return false;
  const std::int64_t lanes = nest_.lanes, length = (buffer_.dims.back() + lanes - 1) / lanes * lanes;
  std::int64_t rows = 1, stride = length;
  for (std::size_t axis = 0; axis + 1 < buffer_.dims.size(); ++axis) rows *= buffer_.dims[axis];
  if (buffer_.dims.size() >= 2 && !buffer_.layout.strides.empty())
    stride = buffer_.layout.strides[buffer_.layout.strides.size() - 2];
  for (std::size_t loop = 0; loop < form_.flat.coefficients.size(); ++loop)
    if (static_cast<int>(loop) != nest_.vector_loop && form_.flat.coefficients[loop] % stride != 0) return false;
  const auto bytes = static_cast<std::uint64_t>((rows - 1) * stride + length) * size_of(buffer_.dtype);
  return stride >= length && buffer_.bytes >= bytes;
}

/// Lanes past the end are poison, not zero: nothing takes them, and LLVM 22 holds 0 / 0 of lanes that it knows to be
/// zero for zero, so that it drops the select which leaves such lanes out (tests/unit/codegen_random_graphs.cpp, x /
/// x).
llvm::Value* Element::load_vector(llvm::Type* element) {
  const int lanes = nest_.lanes;
  llvm::Type* type = lanes_type(element, lanes);
  const llvm::Align align(size_of(buffer_.dtype));
  if (shape_ == Shape::contiguous) {
    llvm::Value* at = guarded(pointer(), condition_.uniform());
    if (condition_.varying()) return load_masked(type, at);
    if (nest_.active == lanes || whole_vectors_fit()) return emit_.ir.CreateAlignedLoad(type, at, align);
    return emit_.ir.CreateMaskedLoad(type, at, align, emit_.mask(lanes, nest_.active), llvm::PoisonValue::get(type));
  }
  llvm::Value* vector = llvm::PoisonValue::get(type);
  for (int lane = 0; lane < nest_.active; ++lane) {
    llvm::Value* at = guarded(lane_pointer(lane), condition_.of_lane(lane));
    vector = emit_.ir.CreateInsertElement(vector, emit_.ir.CreateAlignedLoad(element, at, align),
                                          static_cast<std::uint64_t>(lane));
  }
  return vector;
}

/// Zero in the lanes where a guard fails; those past the end stay poison.
llvm::Value* Element::load_masked(llvm::Type* type, llvm::Value* at) {
  const int lanes = nest_.lanes;
  llvm::Value* mask = condition_.by_lanes();
  if (nest_.active < lanes) mask = emit_.ir.CreateAnd(mask, emit_.mask(lanes, nest_.active));
  llvm::SmallVector<llvm::Constant*, 16> otherwise;
  for (int lane = 0; lane < lanes; ++lane)
    otherwise.push_back(lane < nest_.active ? llvm::Constant::getNullValue(element_)
                                            : llvm::cast<llvm::Constant>(llvm::PoisonValue::get(element_)));
  return emit_.ir.CreateMaskedLoad(type, at, llvm::Align(size_of(buffer_.dtype)), mask,
                                   llvm::ConstantVector::get(otherwise));
}

llvm::Value* Element::load() {
  llvm::Value* value = loaded();
  if (buffer_.dtype != DType::boolean) return value;
  return emit_.ir.CreateICmpNE(value, llvm::Constant::getNullValue(value->getType()));
}

/// As it lies in memory. Of a buffer without elements nothing is read: all its strides may be 0, so that the address
/// depends on no loop and the load stands before those that never run.
llvm::Value* Element::loaded() {
  if (llvm::Value** here = kept()) return *here;
  if (std::ranges::find(buffer_.dims, 0) != buffer_.dims.end())
    return llvm::Constant::getNullValue(varying_ ? lanes_type(element_, nest_.lanes) : element_);
  if (varying_) return load_vector(element_);
  return emit_.ir.CreateAlignedLoad(element_, guarded(pointer(), condition_.uniform()),
                                    llvm::Align(size_of(buffer_.dtype)));
}

void Element::store_vector(llvm::Value* value) {
  const int lanes = nest_.lanes;
  const llvm::Align align(size_of(buffer_.dtype));
  if (shape_ == Shape::scattered) {
    for (int lane = 0; lane < nest_.active; ++lane)
      emit_.ir.CreateAlignedStore(emit_.ir.CreateExtractElement(value, static_cast<std::uint64_t>(lane)),
                                  lane_pointer(lane), align);
    return;
  }
  llvm::Value* at = pointer();
  const bool tail = nest_.active < lanes;
  if (tail && !whole_vectors_fit()) {
    // LLVM 22 makes a scalar store of a masked one of a single lane, and forgets to narrow what was truncated
    // (AVX-512).
    if (nest_.active == 1)
      return void(emit_.ir.CreateAlignedStore(emit_.ir.CreateExtractElement(value, std::uint64_t{0}), at, align));
    emit_.ir.CreateMaskedStore(value, at, align, emit_.mask(lanes, nest_.active));
    return;
  }
  if (tail && form_.column)
    value =
        emit_.ir.CreateSelect(emit_.mask(lanes, nest_.active), value, llvm::Constant::getNullValue(value->getType()));
  emit_.ir.CreateAlignedStore(value, at, align);
}

void Element::store(llvm::Value* value) {
  if (buffer_.dtype == DType::boolean) {
    const bool vector = value->getType()->isVectorTy();
    value = emit_.ir.CreateZExt(value, vector ? lanes_type(element_, nest_.lanes) : element_);
  }
  if (varying_) return store_vector(value);
  if (value->getType()->isVectorTy()) value = emit_.ir.CreateExtractElement(value, std::uint64_t{0});
  if (llvm::Value** here = kept()) {
    *here = value;
    return;
  }
  emit_.ir.CreateAlignedStore(value, pointer(), llvm::Align(size_of(buffer_.dtype)));
}

}  // namespace nnc
