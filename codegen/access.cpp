#include "codegen/access.h"

#include <algorithm>

namespace nnc {

namespace {

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
  const Affine none{0, std::vector<std::int64_t>(extents.size(), 0)};
  form.flat = none;

  if (buffer.layout.kind == Layout::Kind::panels) {
    form.panel = buffer.layout.panel;
    form.panel_rows = buffer.dims[0];
    add_scaled(form.flat, access.map[0], form.panel, extents);
    form.column = none;
    add_scaled(*form.column, access.map[1], 1, extents);
    return form;
  }
  const bool feed = buffer.region == Region::feed;
  if (feed) {
    form.row = none;
    add_scaled(*form.row, access.map[0], 1, extents);
  }
  const bool dense = feed || buffer.region == Region::output || buffer.layout.strides.empty();
  for (std::size_t axis = feed ? 1 : 0; axis < access.map.size(); ++axis)
    add_scaled(form.flat, access.map[axis], dense ? dense_stride(buffer, axis) : buffer.layout.strides[axis], extents);
  return form;
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

llvm::Value* index_of(Emitter& emit, const Nest& nest, int loop) {
  llvm::Value* sum = nullptr;
  for (const Nest::Level& level : nest.levels)
    if (level.loop == loop && level.index) sum = sum ? emit.add(sum, level.index) : level.index;
  return sum ? sum : emit.index(0);
}

Element::Element(Emitter& emit, AccessForm form, const Nest& nest)
    : emit_(emit),
      form_(std::move(form)),
      nest_(nest),
      buffer_(emit.program.buffers[form_.buffer]),
      element_(memory_type(emit.context, buffer_.dtype)),
      pointers_(nest.levels.size() + 1) {
  const int loops = static_cast<int>(form_.flat.coefficients.size());
  varying_ = nest.vector_loop >= 0 && nest.vector_loop < loops && form_.depends(nest.vector_loop);
  varying_ = varying_ || depends_on_computed(form_.flat, true) ||
             (form_.row && depends_on_computed(*form_.row, true)) ||
             (form_.column && depends_on_computed(*form_.column, true));
  level_ = nest.level_of(form_, loops);
  shape_ = find_shape();
}

/// Whether one of the computed indices, or one that differs from lane to lane, is part of the form.
bool Element::depends_on_computed(const Affine& form, bool varying) const {
  for (std::size_t i = 0; i < nest_.computed.size(); ++i) {
    const auto loop = static_cast<std::size_t>(nest_.first_computed) + i;
    if (loop < form.coefficients.size() && form.coefficients[loop] != 0 && (!varying || nest_.computed[i].varying))
      return true;
  }
  return false;
}

Element::Shape Element::find_shape() const {
  if (!varying_) return Shape::uniform;
  const int loop = nest_.vector_loop;
  if (depends_on_computed(form_.flat, true)) return Shape::scattered;
  if (form_.row && (form_.row->depends(loop) || depends_on_computed(*form_.row, true))) return Shape::scattered;
  const std::int64_t flat = form_.flat.coefficients[static_cast<std::size_t>(loop)];
  if (!form_.column) return flat == 1 ? Shape::contiguous : Shape::scattered;
  if (depends_on_computed(*form_.column, false)) return Shape::scattered;
  if (!form_.column->depends(loop)) return flat == 1 ? Shape::contiguous : Shape::scattered;

  // A vector lies inside one panel where its first column is a multiple of its lanes, and so is the panel's width.
  const Affine& column = *form_.column;
  bool aligned = flat == 0 && form_.panel % nest_.lanes == 0 && column.offset % nest_.lanes == 0;
  for (std::size_t other = 0; other < column.coefficients.size(); ++other)
    aligned = aligned && (static_cast<int>(other) == loop ? column.coefficients[other] == 1
                                                          : column.coefficients[other] % nest_.lanes == 0);
  return aligned ? Shape::contiguous : Shape::scattered;
}

/// The value of an affine form; the vector loop's index is that of `lane`.
llvm::Value* Element::affine(const Affine& form, int lane) {
  llvm::Value* sum = emit_.index(form.offset);
  for (std::size_t loop = 0; loop < form.coefficients.size(); ++loop) {
    if (form.coefficients[loop] == 0) continue;
    const Nest::Computed* computed = nest_.computed_at(static_cast<int>(loop));
    llvm::Value* index = computed ? computed->value : index_of(emit_, nest_, static_cast<int>(loop));
    if (computed && computed->varying) index = emit_.ir.CreateExtractElement(index, static_cast<std::uint64_t>(lane));
    if (static_cast<int>(loop) == nest_.vector_loop && lane > 0) index = emit_.add(index, emit_.index(lane));
    sum = emit_.add(sum, emit_.scaled(index, form.coefficients[loop]));
  }
  return sum;
}

/// Bytes from the feed's base to a row.
llvm::Value* Element::row_term(llvm::Value* row) {
  llvm::Type* u32 = emit_.ir.getInt32Ty();
  llvm::Value* at = emit_.ir.CreateLoad(u32, emit_.element(u32, emit_.feed_order(form_.buffer), row));
  return emit_.ir.CreateMul(emit_.ir.CreateZExt(at, emit_.ir.getInt64Ty()), emit_.feed_row_stride(form_.buffer));
}

/// Elements from the start of a panel buffer to a column.
llvm::Value* Element::column_term(llvm::Value* column) {
  llvm::Value* panel = emit_.index(form_.panel);
  llvm::Value* first = emit_.scaled(emit_.ir.CreateUDiv(column, panel), form_.panel_rows * form_.panel);
  return emit_.add(first, emit_.ir.CreateURem(column, panel));
}

void Element::enter(int level) {
  const auto loops = form_.flat.coefficients.size();
  llvm::Value* pointer = nullptr;
  if (level == 0) {
    pointer = emit_.base_of(form_.buffer);
    if (form_.flat.offset != 0) pointer = emit_.element(element_, pointer, emit_.index(form_.flat.offset));
  } else {
    pointer = pointers_[static_cast<std::size_t>(level) - 1];
    const Nest::Level& part = nest_.levels[static_cast<std::size_t>(level) - 1];
    const auto loop = static_cast<std::size_t>(part.loop);
    if (loop < loops && form_.flat.coefficients[loop] != 0)
      pointer = emit_.element(element_, pointer, emit_.scaled(part.index, form_.flat.coefficients[loop]));
  }
  const auto complete_at = [&](const Affine& form) {
    int complete = 0;
    for (std::size_t loop = 0; loop < loops; ++loop)
      if (form.coefficients[loop] != 0) complete = std::max(complete, nest_.level_of(static_cast<int>(loop)));
    return complete;
  };
  const auto known_here = [&](const Affine& form) {
    return !by_lane(form) && !depends_on_computed(form, false) && complete_at(form) == level;
  };
  if (form_.row && known_here(*form_.row)) pointer = emit_.byte_offset(pointer, row_term(affine(*form_.row, 0)));
  if (form_.column && known_here(*form_.column))
    pointer = emit_.element(element_, pointer, column_term(affine(*form_.column, 0)));
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
    return form && !by_lane(*form) && depends_on_computed(*form, false);
  };
  if (waits(form_.row)) at = emit_.byte_offset(at, row_term(affine(*form_.row, lane)));
  if (waits(form_.column)) at = emit_.element(element_, at, column_term(affine(*form_.column, lane)));
  return at;
}

/// The element's address, or that of the first of neighbours.
llvm::Value* Element::pointer() { return with_computed(pointers_[static_cast<std::size_t>(level_)], 0); }

/// Scattered: the pointers have lane 0's linear terms, and all that are the same in all lanes.
llvm::Value* Element::lane_pointer(int lane) {
  llvm::Value* at = with_computed(pointers_[static_cast<std::size_t>(level_)], lane);
  const std::int64_t step = form_.flat.coefficients[static_cast<std::size_t>(nest_.vector_loop)];
  if (lane > 0 && step != 0) at = emit_.element(element_, at, emit_.index(lane * step));
  if (form_.row && by_lane(*form_.row)) at = emit_.byte_offset(at, row_term(affine(*form_.row, lane)));
  if (form_.column && by_lane(*form_.column))
    at = emit_.element(element_, at, column_term(affine(*form_.column, lane)));
  return at;
}

/// Whether a tail may read and write the whole vector: the vector loop goes along padded rows, from their start.
bool Element::whole_vectors_fit() const {
  if (form_.column) return true;  // panels are whole, see find_shape
  if (!buffer_.padded_rows || buffer_.dims.empty() || form_.flat.offset != 0) return false;
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
    llvm::Value* at = pointer();
    if (nest_.active == lanes || whole_vectors_fit()) return emit_.ir.CreateAlignedLoad(type, at, align);
    return emit_.ir.CreateMaskedLoad(type, at, align, emit_.mask(lanes, nest_.active), llvm::PoisonValue::get(type));
  }
  llvm::Value* vector = llvm::PoisonValue::get(type);
  for (int lane = 0; lane < nest_.active; ++lane)
    vector = emit_.ir.CreateInsertElement(vector, emit_.ir.CreateAlignedLoad(element, lane_pointer(lane), align),
                                          static_cast<std::uint64_t>(lane));
  return vector;
}

llvm::Value* Element::load() {
  llvm::Value* value = varying_ ? load_vector(element_)
                                : emit_.ir.CreateAlignedLoad(element_, pointer(), llvm::Align(size_of(buffer_.dtype)));
  if (buffer_.dtype != DType::boolean) return value;
  return emit_.ir.CreateICmpNE(value, llvm::Constant::getNullValue(value->getType()));
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
  emit_.ir.CreateAlignedStore(value, pointer(), llvm::Align(size_of(buffer_.dtype)));
}

}  // namespace nnc
