// The plumbing of emission: types, base pointers, loops in final (rotated) form with their carried values as phis.
#include "codegen/emitter.h"

#include <fmt/format.h>
#include <llvm/IR/Constants.h>
#include <llvm/IR/DerivedTypes.h>

#include <algorithm>
#include <cstdio>
#include <cstdlib>

#include "runtime/abi.h"

namespace nnc {

void internal_error(const std::string& what) {
  fmt::print(stderr, "nnc: internal error: {}\n", what);
  std::abort();
}

llvm::Type* llvm_type(llvm::LLVMContext& context, ScalarType type) {
  switch (type) {
    case ScalarType::f32:
      return llvm::Type::getFloatTy(context);
    case ScalarType::f64:
      return llvm::Type::getDoubleTy(context);
    case ScalarType::i32:
      return llvm::Type::getInt32Ty(context);
    case ScalarType::i64:
      return llvm::Type::getInt64Ty(context);
    case ScalarType::boolean:
      return llvm::Type::getInt1Ty(context);
  }
  internal_error("scalar type");
}

llvm::Type* lanes_type(llvm::Type* element, int lanes) {
  return lanes == 1 ? element : llvm::FixedVectorType::get(element, static_cast<unsigned>(lanes));
}

llvm::Type* memory_type(llvm::LLVMContext& context, DType dtype) {
  return dtype == DType::boolean ? llvm::Type::getInt8Ty(context) : llvm_type(context, scalar_type(dtype));
}

Emitter::Emitter(const Program& owner, llvm::Function& target, std::vector<std::uint32_t> loops, Told told)
    : program(owner),
      function(target),
      context(target.getContext()),
      ir(context),
      entry(context),
      loops_(std::move(loops)),
      told_(std::move(told)),
      turn_ir_(context) {
  entry.SetInsertPoint(llvm::BasicBlock::Create(context, "entry", &function));
  body_ = llvm::BasicBlock::Create(context, "body", &function);
  ir.SetInsertPoint(body_);
}

void Emitter::finish(llvm::Value* result) {
  if (turn_) next_turn();
  result ? ir.CreateRet(result) : ir.CreateRetVoid();
  entry.CreateBr(turn_ ? turn_->getParent() : body_);
}

llvm::Value* Emitter::call_member(std::size_t byte_offset, llvm::Type* type) {
  llvm::Value*& member = members_[byte_offset];
  if (!member)
    member = entry.CreateLoad(type, entry.CreateConstInBoundsGEP1_64(entry.getInt8Ty(), call(), byte_offset));
  return member;
}

namespace {

/// Where nnc_call has the pointer of a region.
std::size_t region_member(Region region) {
  switch (region) {
    case Region::params:
      return offsetof(nnc_call, params);
    case Region::state:
      return offsetof(nnc_call, state);
    case Region::grads:
      return offsetof(nnc_call, grads);
    case Region::carry:
      return offsetof(nnc_call, carry);
    case Region::arena:
      return offsetof(nnc_call, arena);
    case Region::feed:
      return offsetof(nnc_call, feeds);
    case Region::output:
      return offsetof(nnc_call, outputs);
    case Region::scalars:
      return offsetof(nnc_call, scalars);
    case Region::constant:
      break;
  }
  internal_error("region of a call");
}

llvm::Constant* constant_element(llvm::LLVMContext& context, DType dtype, double value) {
  llvm::Type* type = memory_type(context, dtype);
  if (is_float(dtype)) {
    // Rounded here, as the evaluator rounds, so that no default of LLVM's has a say.
    const double rounded = dtype == DType::f32 ? static_cast<double>(static_cast<float>(value)) : value;
    return llvm::ConstantFP::get(type, rounded);
  }
  return llvm::ConstantInt::get(type, static_cast<std::uint64_t>(static_cast<std::int64_t>(value)), true);
}

}  // namespace

llvm::Value* Emitter::region(Region region) { return call_member(region_member(region), entry.getPtrTy()); }

llvm::Value* Emitter::region_of(BufferId id) {
  const auto told = told_.regions.find(id);
  return told == told_.regions.end() ? region(program.buffers[id].region) : function.getArg(told->second);
}

llvm::Value* Emitter::constant_data(const Buffer& buffer) {
  std::vector<llvm::Constant*> elements;
  for (double value : buffer.values) elements.push_back(constant_element(context, buffer.dtype, value));
  // Whole vectors past the last element may be loaded only where the buffer says so; then its size includes them.
  const std::size_t padded = buffer.bytes / size_of(buffer.dtype);
  while (elements.size() < padded) elements.push_back(constant_element(context, buffer.dtype, 0));
  auto* type = llvm::ArrayType::get(memory_type(context, buffer.dtype), elements.size());
  auto* data = new llvm::GlobalVariable(*function.getParent(), type, true, llvm::GlobalValue::PrivateLinkage,
                                        llvm::ConstantArray::get(type, elements), "constant");
  data->setAlignment(llvm::Align(64));
  return data;
}

llvm::Value* Emitter::base_of_part(const Part& part) {
  const Buffer& of = program.buffers[part.of];
  const auto row_bytes = of.layout.strides[0] * static_cast<std::int64_t>(size_of(of.dtype));
  llvm::Value* row = index(part.row % of.dims[0]);
  if (part.loop) {
    const auto place = std::ranges::find(loops_, *part.loop) - loops_.begin();
    row = entry.CreateNSWAdd(function.getArg(1 + static_cast<unsigned>(place)), index(part.row));
    // A carry's two rows, by turns; of a stack no step goes beyond the last row.
    if (part.row + program.loops[*part.loop].steps > of.dims[0]) row = entry.CreateURem(row, index(of.dims[0]));
  }
  return entry.CreateGEP(entry.getInt8Ty(), base_of(part.of), entry.CreateNSWMul(row, index(row_bytes)));
}

llvm::Value* Emitter::base_of(BufferId id) {
  llvm::Value*& base = bases_[id];
  if (base) return base;
  const Buffer& buffer = program.buffers[id];
  if (buffer.part) return base = base_of_part(*buffer.part);
  switch (buffer.region) {
    case Region::constant:
      return base = constant_data(buffer);
    case Region::feed:
      return base = feed_member(id, offsetof(nnc_feed, base), entry.getPtrTy());
    case Region::output: {
      base = entry.CreateLoad(entry.getPtrTy(),
                              entry.CreateConstInBoundsGEP1_64(entry.getPtrTy(), region_of(id), buffer.offset));
      return base = at_turn(base, buffer.bytes);
    }
    case Region::scalars: {
      base = entry.CreateConstInBoundsGEP1_64(entry.getDoubleTy(), region_of(id), buffer.offset);
      return base = at_turn(base, NNC_SCALARS * sizeof(double));
    }
    case Region::params:
    case Region::state:
    case Region::grads:
    case Region::carry:
    case Region::arena:
      return base = entry.CreateConstInBoundsGEP1_64(entry.getInt8Ty(), region_of(id), buffer.offset);
  }
  internal_error("region of a buffer");
}

Emitter::Place Emitter::place_of(BufferId id) {
  const Buffer& buffer = program.buffers[id];
  if (buffer.part) return {base_of(id), 0};
  switch (buffer.region) {
    case Region::constant:
    case Region::feed:
    case Region::output:
    case Region::scalars:
      return {base_of(id), 0};
    case Region::params:
    case Region::state:
    case Region::grads:
    case Region::carry:
    case Region::arena:
      return {region_of(id), static_cast<std::int64_t>(buffer.offset)};
  }
  internal_error("region of a buffer");
}

llvm::Value* Emitter::address(llvm::Value* pointer, llvm::Value* at, std::int64_t factor) {
  llvm::Value*& made = addresses_[{ir.GetInsertBlock(), pointer, at, factor}];
  if (!made) made = byte_offset(pointer, scaled(at, factor));
  return made;
}

llvm::Value* Emitter::feed_member(BufferId id, std::size_t member, llvm::Type* type) {
  llvm::Value*& value = feed_members_[{id, member}];
  if (value) return value;
  const std::uint64_t offset = program.buffers[id].offset * sizeof(nnc_feed) + member;
  return value = entry.CreateLoad(type, entry.CreateConstInBoundsGEP1_64(entry.getInt8Ty(), region_of(id), offset));
}

llvm::Value* Emitter::feed_row_stride(BufferId id) {
  return feed_member(id, offsetof(nnc_feed, row_stride), entry.getInt64Ty());
}
llvm::Value* Emitter::feed_order(BufferId id) {
  llvm::Value*& order = orders_[id];
  if (!order)
    order = at_turn(feed_member(id, offsetof(nnc_feed, order), entry.getPtrTy()),
                    static_cast<std::uint64_t>(program.rows) * sizeof(std::uint32_t));
  return order;
}

llvm::Value* Emitter::step_number() {
  if (step_number_) return step_number_;
  llvm::Value* step = call_member(offsetof(nnc_call, step), entry.getInt64Ty());
  return step_number_ = turn_ ? turn_ir_.CreateAdd(step, turn_) : step;
}

llvm::Value* Emitter::stream(std::uint64_t number) {
  const auto told = told_.streams.find(number);
  return told == told_.streams.end() ? static_cast<llvm::Value*>(ir.getInt64(number)) : function.getArg(told->second);
}

namespace {

/// Single values put into the lanes of a vector one by one; where there is none, the one before or the first.
llvm::Value* inserted(llvm::IRBuilder<>& ir, std::span<llvm::Value* const> scalars) {
  llvm::Value* last = *std::ranges::find_if(scalars, [](llvm::Value* scalar) { return scalar != nullptr; });
  llvm::Value* vector = llvm::PoisonValue::get(lanes_type(last->getType(), static_cast<int>(scalars.size())));
  for (std::size_t lane = 0; lane < scalars.size(); ++lane) {
    last = scalars[lane] ? scalars[lane] : last;
    vector = ir.CreateInsertElement(vector, last, lane);
  }
  return vector;
}

}  // namespace

void Emitter::repeat(llvm::Value* times, const std::vector<KeptElement>& elements) {
  times_ = times;
  turn_ir_.SetInsertPoint(llvm::BasicBlock::Create(context, "turn", &function, body_));
  turn_ = turn_ir_.CreatePHI(times->getType(), 2);
  turn_->addIncoming(index(0), entry.GetInsertBlock());
  for (const KeptElement& element : elements)
    kept_.push_back({element,
                     entry.CreateConstInBoundsGEP1_64(entry.getInt8Ty(), region(element.region), element.offset),
                     nullptr});
  wanted_alone_.assign(elements.size(), false);
}

int Emitter::kept_number(BufferId id, std::int64_t at) const {
  const Buffer& buffer = program.buffers[id];
  const std::uint64_t offset = buffer.offset + static_cast<std::uint64_t>(at) * size_of(buffer.dtype);
  const auto found = std::ranges::find_if(
      kept_, [&](const Kept& kept) { return kept.element.region == buffer.region && kept.element.offset == offset; });
  return found == kept_.end() || buffer.part ? -1 : static_cast<int>(found - kept_.begin());
}

void Emitter::keep_together(const std::vector<int>& numbers) {
  Carried loaded;
  for (const int number : numbers) {
    loaded.push_back(nullptr);
    if (number < 0) continue;
    const Kept& kept = kept_[static_cast<std::size_t>(number)];
    loaded.back() = entry.CreateLoad(memory_type(context, kept.element.dtype), kept.address);
  }
  const bool single = numbers.size() == 1;
  llvm::Value* begun = single ? loaded.front() : inserted(entry, loaded);
  llvm::IRBuilder<> phis(turn_->getParent(), turn_->getParent()->begin());
  llvm::PHINode* first = phis.CreatePHI(begun->getType(), 2);
  first->addIncoming(begun, entry.GetInsertBlock());
  for (std::size_t lane = 0; lane < numbers.size(); ++lane)
    if (numbers[lane] >= 0)
      kept_[static_cast<std::size_t>(numbers[lane])].now = single ? first : turn_ir_.CreateExtractElement(first, lane);
  kept_vectors_.push_back({first, numbers});
}

/// The end of the body of a repeated call: goes on to the next turn, and after the last one writes what was kept.
void Emitter::next_turn() {
  Carried vectors;
  for (const KeptVector& vector : kept_vectors_) {
    Carried lanes;
    for (const int number : vector.lanes)
      lanes.push_back(number < 0 ? nullptr : kept_[static_cast<std::size_t>(number)].now);
    vectors.push_back(lanes.size() == 1 ? lanes.front() : side_by_side(std::span(lanes.data(), lanes.size())));
  }
  turn_ir_.CreateBr(body_);
  llvm::Value* next = add(turn_, index(1));
  llvm::BasicBlock* after = llvm::BasicBlock::Create(context, "after", &function);
  ir.CreateCondBr(ir.CreateICmpSLT(next, times_), turn_->getParent(), after);
  turn_->addIncoming(next, ir.GetInsertBlock());
  for (std::size_t i = 0; i < vectors.size(); ++i) kept_vectors_[i].first->addIncoming(vectors[i], ir.GetInsertBlock());
  ir.SetInsertPoint(after);
  for (std::size_t i = 0; i < vectors.size(); ++i) {
    const std::vector<int>& lanes = kept_vectors_[i].lanes;
    for (std::size_t lane = 0; lane < lanes.size(); ++lane)
      if (lanes[lane] >= 0)
        ir.CreateStore(lanes.size() == 1 ? vectors[i] : ir.CreateExtractElement(vectors[i], lane),
                       kept_[static_cast<std::size_t>(lanes[lane])].address);
  }
}

llvm::Value** Emitter::kept(BufferId id, std::int64_t at) {
  const int number = kept_number(id, at);
  if (number < 0) return nullptr;
  llvm::Value*& now = kept_[static_cast<std::size_t>(number)].now;
  if (!now) keep_together({number});
  return &kept_[static_cast<std::size_t>(number)].now;
}

/// What a repeated call finds so many bytes further on than the call before.
llvm::Value* Emitter::at_turn(llvm::Value* pointer, std::uint64_t bytes) {
  if (!turn_) return pointer;
  return turn_ir_.CreateGEP(turn_ir_.getInt8Ty(), pointer, turn_ir_.CreateNSWMul(turn_, turn_ir_.getInt64(bytes)));
}

llvm::Value* Emitter::scratch(llvm::Type* type, std::int64_t count) {
  llvm::AllocaInst* memory = entry.CreateAlloca(type, index(count));
  memory->setAlignment(llvm::Align(64));
  return memory;
}

llvm::Value* Emitter::zeros(llvm::Type* type) {
  llvm::Value*& memory = zeros_[type];
  if (memory) return memory;
  memory = scratch(type, 1);
  entry.CreateAlignedStore(llvm::Constant::getNullValue(type), memory, scratch_align(type));
  return memory;
}

llvm::Align scratch_align(llvm::Type* element) {
  const std::uint64_t bytes = element->getPrimitiveSizeInBits().getFixedValue() / 8;
  return llvm::Align(bytes == 0 ? 1 : std::min<std::uint64_t>(64, bytes));
}

namespace {

/// A value that was taken out of a vector: that vector and the lane.
std::optional<std::pair<llvm::Value*, int>> lane_of_vector(llvm::Value* value) {
  auto* taken = llvm::dyn_cast<llvm::ExtractElementInst>(value);
  const auto* lane = taken ? llvm::dyn_cast<llvm::ConstantInt>(taken->getIndexOperand()) : nullptr;
  if (!lane) return std::nullopt;
  return std::pair(taken->getVectorOperand(), static_cast<int>(lane->getZExtValue()));
}

}  // namespace

llvm::Value* Emitter::splat(llvm::Value* scalar, int lanes) {
  if (lanes == 1) return scalar;
  if (const auto from = lane_of_vector(scalar))
    return ir.CreateShuffleVector(from->first,
                                  llvm::SmallVector<int, 32>(static_cast<std::size_t>(lanes), from->second));
  return ir.CreateVectorSplat(static_cast<unsigned>(lanes), scalar);
}

llvm::Value* Emitter::side_by_side(std::span<llvm::Value* const> scalars) {
  const int lanes = static_cast<int>(scalars.size());
  llvm::SmallVector<llvm::Value*, 2> vectors;
  llvm::SmallVector<int, 32> from;
  bool in_place = true;
  for (llvm::Value* scalar : scalars) {
    const int lane = static_cast<int>(from.size());
    from.push_back(-1);
    if (!scalar) continue;
    const auto place = lane_of_vector(scalar);
    if (!place || (!vectors.empty() && place->first->getType() != vectors.front()->getType()))
      return inserted(ir, scalars);
    if (!llvm::is_contained(vectors, place->first)) vectors.push_back(place->first);
    if (vectors.size() > 2) return inserted(ir, scalars);
    const int width = static_cast<int>(llvm::cast<llvm::FixedVectorType>(place->first->getType())->getNumElements());
    from.back() = place->second + (place->first == vectors.front() ? 0 : width);
    in_place = in_place && width == lanes && from.back() == lane;
  }
  return in_place ? vectors.front() : ir.CreateShuffleVector(vectors.front(), vectors.back(), from);
}

llvm::Constant* Emitter::mask(int lanes, int active) {
  llvm::SmallVector<llvm::Constant*, 32> bits;
  for (int lane = 0; lane < lanes; ++lane) bits.push_back(ir.getInt1(lane < active));
  return llvm::ConstantVector::get(bits);
}

namespace {

std::optional<std::int64_t> constant_value(llvm::Value* value) {
  if (auto* number = llvm::dyn_cast<llvm::ConstantInt>(value)) return number->getSExtValue();
  return std::nullopt;
}

llvm::BasicBlock* new_block(Emitter& emit, const char* name) {
  return llvm::BasicBlock::Create(emit.context, name, &emit.function);
}

/// The loop itself, entered with begin < end.
Carried emit_loop_that_runs(Emitter& emit, llvm::Value* begin, llvm::Value* end, std::int64_t step,
                            const Carried& initial, LoopBody body) {
  llvm::BasicBlock* before = emit.ir.GetInsertBlock();
  llvm::BasicBlock* loop = new_block(emit, "loop");
  llvm::BasicBlock* after = new_block(emit, "after");
  emit.ir.CreateBr(loop);

  emit.ir.SetInsertPoint(loop);
  llvm::PHINode* index = emit.ir.CreatePHI(emit.ir.getInt64Ty(), 2);
  index->addIncoming(begin, before);
  Carried phis;
  for (llvm::Value* value : initial) {
    llvm::PHINode* phi = emit.ir.CreatePHI(value->getType(), 2);
    phi->addIncoming(value, before);
    phis.push_back(phi);
  }
  const Carried next = body(index, phis);
  llvm::Value* next_index = emit.add(index, emit.index(step));
  emit.ir.CreateCondBr(emit.ir.CreateICmpSLT(next_index, end), loop, after);

  llvm::BasicBlock* latch = emit.ir.GetInsertBlock();
  index->addIncoming(next_index, latch);
  for (std::size_t i = 0; i < next.size(); ++i) llvm::cast<llvm::PHINode>(phis[i])->addIncoming(next[i], latch);
  emit.ir.SetInsertPoint(after);
  return next;
}

}  // namespace

Carried emit_loop(Emitter& emit, llvm::Value* begin, llvm::Value* end, std::int64_t step, const Carried& initial,
                  LoopBody body) {
  const auto first = constant_value(begin), last = constant_value(end);
  if (first && last) {
    if (*first >= *last) return initial;
    if (*first + step >= *last) return body(begin, initial);
    return emit_loop_that_runs(emit, begin, end, step, initial, body);
  }
  return emit_if(emit, emit.ir.CreateICmpSLT(begin, end), initial,
                 [&] { return emit_loop_that_runs(emit, begin, end, step, initial, body); });
}

Carried write_out(Emitter& emit, std::int64_t begin, std::int64_t end, std::int64_t step, const Carried& initial,
                  LoopBody body) {
  Carried carried(initial);
  for (std::int64_t index = begin; index < end; index += step) carried = body(emit.index(index), carried);
  return carried;
}

Carried emit_if(Emitter& emit, llvm::Value* condition, const Carried& otherwise, llvm::function_ref<Carried()> then) {
  if (auto* known = llvm::dyn_cast<llvm::ConstantInt>(condition)) return known->isOne() ? then() : otherwise;
  llvm::BasicBlock* before = emit.ir.GetInsertBlock();
  llvm::BasicBlock* inside = new_block(emit, "then");
  llvm::BasicBlock* after = new_block(emit, "after");
  emit.ir.CreateCondBr(condition, inside, after);
  emit.ir.SetInsertPoint(inside);
  const Carried values = then();
  llvm::BasicBlock* last = emit.ir.GetInsertBlock();
  emit.ir.CreateBr(after);

  emit.ir.SetInsertPoint(after);
  Carried merged;
  for (std::size_t i = 0; i < values.size(); ++i) {
    llvm::PHINode* phi = emit.ir.CreatePHI(values[i]->getType(), 2);
    phi->addIncoming(otherwise[i], before);
    phi->addIncoming(values[i], last);
    merged.push_back(phi);
  }
  return merged;
}

llvm::Value* lesser(Emitter& emit, llvm::Value* a, llvm::Value* b) {
  return emit.ir.CreateSelect(emit.ir.CreateICmpSLT(a, b), a, b);
}

llvm::Value* greater(Emitter& emit, llvm::Value* a, llvm::Value* b) {
  return emit.ir.CreateSelect(emit.ir.CreateICmpSGT(a, b), a, b);
}

}  // namespace nnc
