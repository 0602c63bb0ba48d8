#include "codegen/transposition.h"

#include <bit>

#include "codegen/access.h"
#include "codegen/kernel.h"

namespace nnc {

namespace {

/// The one element that a point reads; null where it reads more, or computes.
const Access* only_input(const Kernel& kernel) {
  if (kernel.core || kernel.stages.size() != 1) return nullptr;
  const Stage& stage = kernel.stages[0];
  const Body& body = stage.body;
  const bool moves = stage.inner.empty() && stage.folds.empty() && stage.stores.size() == 1 && !stage.stores[0].add &&
                     body.indices.empty() && body.inputs.size() == 1 && body.program.code.size() == 1;
  return moves ? std::get_if<Access>(&body.inputs[0]) : nullptr;
}

bool touches(const std::optional<Affine>& form, int loop) { return form && form->depends(loop); }

/// Whether as many elements as a vector has lie side by side along one loop, and at equal distances along the other:
/// not where they are the same ones, those of a broadcast.
bool in_squares(const AccessForm& form, int along, int lanes) {
  const auto coefficient = [&](const Affine& affine, int loop) {
    return affine.coefficients[static_cast<std::size_t>(loop)];
  };
  const int across = 1 - along;
  if (!form.guards.empty() || !form.quotients.empty() || form.row || touches(form.column, across)) return false;
  if (coefficient(form.flat, across) == 0) return false;
  if (!touches(form.column, along)) return coefficient(form.flat, along) == 1;
  return coefficient(form.flat, along) == 0 && coefficient(*form.column, along) == 1 &&
         form.column->offset % lanes == 0 && form.panel % lanes == 0;
}

/// Rows of a square become columns: of two rows whose numbers differ in one bit, the lanes whose numbers do not have
/// the row's bit change places. All bits in turn.
void turn(Emitter& emit, llvm::SmallVectorImpl<llvm::Value*>& rows) {
  const auto lanes = static_cast<int>(rows.size());
  for (int bit = lanes / 2; bit > 0; bit /= 2)
    for (int row = 0; row < lanes; ++row) {
      if ((row & bit) != 0) continue;
      llvm::Value *&low = rows[static_cast<unsigned>(row)], *&high = rows[static_cast<unsigned>(row + bit)];
      llvm::SmallVector<int, 16> of_low, of_high;
      for (int lane = 0; lane < lanes; ++lane) {
        of_low.push_back((lane & bit) == 0 ? lane : lane - bit + lanes);
        of_high.push_back((lane & bit) == 0 ? lane + bit : lane + lanes);
      }
      llvm::Value* turned = emit.ir.CreateShuffleVector(low, high, of_low);
      high = emit.ir.CreateShuffleVector(low, high, of_high);
      low = turned;
    }
}

}  // namespace

bool is_transposition(const Program& program, const Kernel& kernel) {
  const Access* input = only_input(kernel);
  const int lanes = kernel.schedule.lanes;
  if (input == nullptr || kernel.outer.size() != 2 || kernel.schedule.vector != Schedule::Vector::outer) return false;
  if (lanes < 2 || !std::has_single_bit(static_cast<unsigned>(lanes))) return false;
  if (kernel.outer[0] % lanes != 0 || kernel.outer[1] % lanes != 0) return false;
  if (program.buffers[input->buffer].dtype == DType::boolean) return false;
  return in_squares(access_form(program, *input, kernel.outer), 0, lanes) &&
         in_squares(access_form(program, kernel.stages[0].stores[0].to, kernel.outer), 1, lanes);
}

void emit_transposition(Emitter& emit, const Kernel& kernel) {
  const AccessForm from = access_form(emit.program, *only_input(kernel), kernel.outer);
  const AccessForm to = access_form(emit.program, kernel.stages[0].stores[0].to, kernel.outer);
  const std::int64_t lanes = kernel.schedule.lanes, squares = kernel.outer[0] / lanes;
  const DType dtype = emit.program.buffers[from.buffer].dtype;
  llvm::Type* element = memory_type(emit.context, dtype);
  llvm::Type* vector = lanes_type(element, static_cast<int>(lanes));
  const llvm::Align align(size_of(dtype));
  const Share share = share_of_thread(emit, squares, kernel.schedule.parallel);
  emit_loop(emit, share.begin, share.end, 1, {}, [&](llvm::Value* square, const Carried&) {
    llvm::Value* row = emit.scaled(square, lanes);
    return emit_loop(
        emit, emit.index(0), emit.index(kernel.outer[1]), lanes, {}, [&](llvm::Value* column, const Carried&) {
          llvm::SmallVector<llvm::Value*, 16> values;
          llvm::Value* const at[] = {row, column};
          llvm::Value *source = address_of(emit, from, at), *target = address_of(emit, to, at);
          for (std::int64_t i = 0; i < lanes; ++i)
            values.push_back(emit.ir.CreateAlignedLoad(
                vector, emit.element(element, source, emit.index(i * from.flat.coefficients[1])), align));
          turn(emit, values);
          for (std::int64_t i = 0; i < lanes; ++i)
            emit.ir.CreateAlignedStore(values[static_cast<unsigned>(i)],
                                       emit.element(element, target, emit.index(i * to.flat.coefficients[0])), align);
          return Carried();
        });
  });
}

}  // namespace nnc
