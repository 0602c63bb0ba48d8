// The text of a program: buffers with type, layout and place; kernels with their loops, how they run, and their bodies
// as expressions. A value that is used once stands where it is used; others get a name.
#include <fmt/format.h>

#include <bit>
#include <map>

#include "ir/program/calls.h"
#include "ir/program/program.h"

namespace nnc {
namespace {

std::string_view name_of(Region region) {
  switch (region) {
    case Region::params:
      return "params";
    case Region::state:
      return "state";
    case Region::grads:
      return "grads";
    case Region::carry:
      return "carry";
    case Region::arena:
      return "arena";
    case Region::feed:
      return "feed";
    case Region::output:
      return "output";
    case Region::scalars:
      return "scalars";
    case Region::constant:
      return "constant";
  }
  return "";
}

std::string_view name_of(ScalarType type) {
  switch (type) {
    case ScalarType::f32:
      return "f32";
    case ScalarType::f64:
      return "f64";
    case ScalarType::i32:
      return "i32";
    case ScalarType::i64:
      return "i64";
    case ScalarType::boolean:
      return "bool";
  }
  return "";
}

std::string list(const std::vector<std::int64_t>& numbers) { return fmt::format("[{}]", fmt::join(numbers, ", ")); }

std::string text_of(const Layout& layout) {
  if (layout.kind == Layout::Kind::panels) return fmt::format("panels of {}", layout.panel);
  return "strides " + list(layout.strides);
}

/// The row that a part begins at; s0 is the index of loop 0.
std::string text_of(const Part& part) {
  std::string row = part.loop ? fmt::format("s{}", *part.loop) : std::to_string(part.row);
  if (part.loop && part.row != 0) row += fmt::format(" + {}", part.row);
  return fmt::format(" at row {} of %{}", row, part.of);
}

std::string text_of(const Buffer& buffer) {
  std::string text = fmt::format("{}{}", name_of(buffer.dtype), list(buffer.dims));
  if (!buffer.dims.empty()) text += " " + text_of(buffer.layout);
  if (buffer.part) return text + text_of(*buffer.part);
  if (buffer.padded_rows) text += " padded";
  return text + fmt::format(" in {} at {}", name_of(buffer.region), buffer.offset);
}

/// Loop j of a kernel: o0, o1, ... outside, i0, i1, ... inside.
std::string loop_name(std::size_t loop, std::size_t outer) {
  return loop < outer ? fmt::format("o{}", loop) : fmt::format("i{}", loop - outer);
}

std::string text_of(const AffineRow& row, const std::vector<std::string>& loops) {
  std::string text;
  for (std::size_t j = 0; j < row.coefficients.size(); ++j) {
    if (row.coefficients[j] == 0) continue;
    if (!text.empty()) text += " + ";
    text += row.coefficients[j] == 1 ? loops[j] : fmt::format("{}*{}", row.coefficients[j], loops[j]);
  }
  if (row.offset != 0 || text.empty()) text += fmt::format("{}{}", text.empty() ? "" : " + ", row.offset);
  return row.divisor == 1 ? text : fmt::format("({}) / {}", text, row.divisor);
}

/// The row lies in the range, and its division leaves nothing.
std::string text_of(const std::vector<Guard>& guards, const std::vector<std::string>& loops) {
  std::vector<std::string> texts;
  for (const Guard& guard : guards)
    texts.push_back(fmt::format("0 <= {} < {}", text_of(guard.row, loops), guard.extent));
  return fmt::format("{}", fmt::join(texts, " and "));
}

std::string number(const ScalarInstruction& constant) {
  switch (constant.type) {
    case ScalarType::f32:
      return fmt::format("{}", std::bit_cast<float>(static_cast<std::uint32_t>(constant.bits)));
    case ScalarType::f64:
      return fmt::format("{}", std::bit_cast<double>(constant.bits));
    case ScalarType::i32:
      return fmt::format("{}", static_cast<std::int32_t>(constant.bits));
    case ScalarType::i64:
      return fmt::format("{}", static_cast<std::int64_t>(constant.bits));
    case ScalarType::boolean:
      return constant.bits ? "true" : "false";
  }
  return "";
}

/// How an opcode is written: between its operands, or before them in parentheses.
struct Spelling {
  std::string_view text;
  int operands;
  bool infix = false;
};

Spelling spelling(ScalarOp op) {
  switch (op) {
    case ScalarOp::input:
      return {"input", 0};
    case ScalarOp::constant:
      return {"constant", 0};
    case ScalarOp::add:
      return {"+", 2, true};
    case ScalarOp::sub:
      return {"-", 2, true};
    case ScalarOp::mul:
      return {"*", 2, true};
    case ScalarOp::div:
      return {"/", 2, true};
    case ScalarOp::fma:
      return {"fma", 3};
    case ScalarOp::sqrt:
      return {"sqrt", 1};
    case ScalarOp::neg:
      return {"-", 1};
    case ScalarOp::abs:
      return {"abs", 1};
    case ScalarOp::minimum:
      return {"minimum", 2};
    case ScalarOp::maximum:
      return {"maximum", 2};
    case ScalarOp::equal:
      return {"==", 2, true};
    case ScalarOp::less:
      return {"<", 2, true};
    case ScalarOp::less_equal:
      return {"<=", 2, true};
    case ScalarOp::select:
      return {"select", 3};
    case ScalarOp::logical_and:
      return {"and", 2, true};
    case ScalarOp::logical_or:
      return {"or", 2, true};
    case ScalarOp::logical_not:
      return {"not", 1};
    case ScalarOp::int_add:
      return {"+", 2, true};
    case ScalarOp::int_sub:
      return {"-", 2, true};
    case ScalarOp::int_mul:
      return {"*", 2, true};
    case ScalarOp::int_and:
      return {"&", 2, true};
    case ScalarOp::int_or:
      return {"|", 2, true};
    case ScalarOp::int_xor:
      return {"^", 2, true};
    case ScalarOp::shift_left:
      return {"<<", 2, true};
    case ScalarOp::shift_right:
      return {">>>", 2, true};
    case ScalarOp::shift_right_signed:
      return {">>", 2, true};
    case ScalarOp::bitcast:
      return {"bits", 1};
    case ScalarOp::convert:
      return {"to", 1};
    case ScalarOp::philox:
      return {"philox", 3};
  }
  return {"", 0};
}

class ProgramPrinter {
 public:
  explicit ProgramPrinter(const Program& program) : program_(program) {}

  std::string print() {
    line(fmt::format("program {} for {} rows: params {}, state {}, grads {}, carry {}, arena {} bytes", program_.entry,
                     program_.rows, program_.params_bytes, program_.state_bytes, program_.grads_bytes,
                     program_.carry_bytes, program_.arena_bytes));
    line("");
    for (std::size_t id = 0; id < program_.buffers.size(); ++id)
      line(fmt::format("%{} {} : {}", id, quoted(program_.buffers[id].name), text_of(program_.buffers[id])));
    walk(
        program_, [&](std::size_t id) { print(id, program_.kernels[id]); },
        [&](std::uint32_t id, const std::function<void()>& step) {
          const SerialLoop& loop = program_.loops[id];
          line("");
          line(fmt::format("loop {} of {} steps{}", id, loop.steps, loop.backwards ? ", backwards" : ""));
          step();
          line("");
          line(fmt::format("end of loop {}", id));
        });
    return std::move(text_);
  }

 private:
  static std::string quoted(const std::string& name) { return '"' + name + '"'; }
  void line(std::string_view text) { text_.append(text).append("\n"); }

  std::string buffer(BufferId id) const {
    const std::string& name = program_.buffers[id].name;
    return name.empty() ? fmt::format("%{}", id) : fmt::format("%{}:{}", id, name);
  }
  std::string access(const Access& access, const std::vector<std::string>& loops) const {
    std::vector<std::string> indices;
    for (const AffineRow& row : access.map) indices.push_back(text_of(row, loops));
    const std::string element = fmt::format("{}[{}]", buffer(access.buffer), fmt::join(indices, ", "));
    return access.guards.empty() ? element : fmt::format("({} if {})", element, text_of(access.guards, loops));
  }

  static std::string run(const Schedule& schedule, bool core) {
    std::string text;
    if (core) {
      text = fmt::format("tiles of {} rows x {} vectors of {}, {} outside", schedule.tile_rows, schedule.tile_vectors,
                         schedule.lanes, schedule.panels_outside ? "panels" : "rows");
      if (schedule.tile_steps > 1) text += fmt::format(", {} steps a turn", schedule.tile_steps);
      if (schedule.block_tiles > 0) text += fmt::format(", blocks of {} tiles", schedule.block_tiles);
      if (schedule.block_k > 0) text += fmt::format(" x {} steps", schedule.block_k);
      if (schedule.packed_for > 0) text += fmt::format(" packed for {} panels", schedule.packed_for);
      if (schedule.fetch_ahead) text += ", fetching ahead";
      if (schedule.fetch_steps > 0) text += fmt::format(", rows {} steps ahead", schedule.fetch_steps);
    } else {
      switch (schedule.vector) {
        case Schedule::Vector::outer:
          text = fmt::format("outer vectors of {}", schedule.lanes);
          break;
        case Schedule::Vector::inner:
          text = fmt::format("inner vectors of {}", schedule.lanes);
          break;
        case Schedule::Vector::none:
          text = "one element at a time";
          break;
      }
    }
    if (schedule.widest_bytes > 0) text += fmt::format(" in registers of {} bytes", schedule.widest_bytes);
    if (schedule.parallel > 1) text += fmt::format(", {} pieces", schedule.parallel);
    return schedule.parallel > 1 && core ? fmt::format("{} of {}", text, units_of(schedule.shared)) : text;
  }

  static const char* units_of(Schedule::Shared shared) {
    switch (shared) {
      case Schedule::Shared::tiles:
        return "tiles";
      case Schedule::Shared::panels:
        return "panels";
      case Schedule::Shared::stack:
        return "the stack";
    }
    return "";
  }

  /// Several loops that m or k counts are m0, m1, ... and k0, k1, ...
  void print(const Contract& core, bool stack) {
    using Names = std::vector<std::string>;
    Names of_a = stack ? Names{"o0"} : Names{};
    const auto add = [&](const std::vector<std::int64_t>& loops, const std::string& whole, char digit) {
      if (loops.empty()) of_a.push_back(whole);
      for (std::size_t i = 0; i < loops.size(); ++i) of_a.push_back(fmt::format("{}{}", digit, i));
    };
    add(core.rows, stack ? "o1" : "o0", 'm');
    add(core.steps, "k", 'k');
    std::string split;
    if (!core.rows.empty()) split = fmt::format(", m in {}, k in {}", list(core.rows), list(core.steps));
    line(fmt::format("  core = sum over k < {} of {} * {}{}", core.k, access(core.a, of_a),
                     access(core.b, stack ? Names{"o0", "k", "o2"} : Names{"k", "o1"}), split));
  }

  void print(std::size_t id, const Kernel& kernel) {
    line("");
    line(fmt::format("kernel {} {} over {}: {}", id, quoted(kernel.name), list(kernel.outer),
                     run(kernel.schedule, kernel.core.has_value())));
    if (kernel.core) print(*kernel.core, kernel.outer.size() == 3);
    if (kernel.work) line(fmt::format("  work in {}", buffer(*kernel.work)));
    for (std::size_t stage = 0; stage < kernel.stages.size(); ++stage) print(kernel, stage);
  }

  void print(const Kernel& kernel, std::size_t index) {
    const Stage& stage = kernel.stages[index];
    std::vector<std::string> loops;
    for (std::size_t j = 0; j < kernel.outer.size() + stage.inner.size(); ++j)
      loops.push_back(loop_name(j, kernel.outer.size()));
    for (std::size_t j = 0; j < stage.body.indices.size(); ++j) loops.push_back(fmt::format("c{}", j));
    line(fmt::format("  stage {}{}", index, stage.inner.empty() ? "" : " over " + list(stage.inner)));
    const std::vector<std::string> values = body(stage.body, loops);
    for (std::size_t i = 0; i < stage.folds.size(); ++i) {
      const Fold& fold = stage.folds[i];
      line(fmt::format("    f{}.{} = {}", index, i, fold_text(fold, values, loops)));
    }
    for (const Store& store : stage.stores)
      line(fmt::format("    {} {} {}", access(store.to, loops), store.add ? "+=" : "=", values[store.value]));
  }

  std::string fold_text(const Fold& fold, const std::vector<std::string>& values,
                        const std::vector<std::string>& loops) const {
    const std::string_view order = fold.order == Order::lanes    ? " in lanes"
                                   : fold.order == Order::serial ? " serially"
                                                                 : "";
    std::string text;
    switch (fold.op) {
      case FoldOp::sum:
        text = fmt::format("sum{} of {}", order, values[fold.value]);
        break;
      case FoldOp::product:
        text = fmt::format("sum{} of {} * {}", order, values[fold.value], values[fold.factor]);
        break;
      case FoldOp::maximum:
        text = fmt::format("maximum of {}", values[fold.value]);
        break;
      case FoldOp::argmax:
        text = fmt::format("argmax of {}", values[fold.value]);
        break;
    }
    return fold.carry ? text + " carried in " + access(*fold.carry, loops) : text;
  }

  std::string input(const BodyInput& which, const std::vector<std::string>& loops) const {
    if (const auto* from = std::get_if<Access>(&which)) return access(*from, loops);
    if (const auto* fold = std::get_if<FoldResult>(&which)) return fmt::format("f{}.{}", fold->stage, fold->fold);
    if (const auto* loop = std::get_if<LoopIndex>(&which)) return loops[loop->loop];
    if (std::holds_alternative<CoreValue>(which)) return "core";
    if (const auto* inside = std::get_if<Inside>(&which)) return fmt::format("({})", text_of(inside->guards, loops));
    if (const auto* stream = std::get_if<RandomStream>(&which)) return fmt::format("stream_{:x}", stream->number);
    switch (std::get<CallValue>(which).which) {
      case CallValue::Which::seed:
        return "seed";
      case CallValue::Which::step:
        return "step";
      case CallValue::Which::row_offset:
        return "row_offset";
    }
    return "";
  }

  /// Prints the values that have more than one use; returns the results as expressions. What an elementary function
  /// is made of is one call.
  std::vector<std::string> body(const Body& body, const std::vector<std::string>& loops) {
    const auto& code = body.program.code;
    std::vector<int> uses(code.size(), 0);
    std::vector<std::optional<ScalarCall>> calls(code.size());
    for (ScalarId result : body.program.results) ++uses[result];
    for (std::size_t id = code.size(); id-- > 0;) {
      if (uses[id] == 0) continue;
      calls[id] = call_at(body.program, static_cast<ScalarId>(id));
      if (calls[id])
        for (ScalarId argument : calls[id]->arguments) ++uses[argument];
      else
        for (int i = 0; i < spelling(code[id].op).operands; ++i) ++uses[code[id].operands[i]];
    }

    std::vector<std::string> texts(code.size());
    for (std::size_t id = 0; id < code.size(); ++id) {
      const ScalarInstruction& at = code[id];
      if (uses[id] == 0) continue;
      texts[id] = at.op == ScalarOp::input      ? input(body.inputs[at.bits], loops)
                  : at.op == ScalarOp::constant ? number(at)
                  : calls[id]                   ? expression(*calls[id], texts)
                                                : expression(at, texts);
      bool index = false;
      for (std::size_t i = 0; i < body.indices.size(); ++i) {
        if (body.program.results[body.indices[i].value] != id) continue;
        line(fmt::format("    {} = {}", loops[loops.size() - body.indices.size() + i], texts[id]));
        texts[id] = loops[loops.size() - body.indices.size() + i];
        index = true;
      }
      if (index) continue;
      const bool leaf = at.op == ScalarOp::input || at.op == ScalarOp::constant;
      if (leaf || (uses[id] == 1 && texts[id].size() < 60)) continue;
      line(fmt::format("    t{} = {}", id, texts[id]));
      texts[id] = fmt::format("t{}", id);
    }
    std::vector<std::string> results;
    for (ScalarId result : body.program.results) results.push_back(texts[result]);
    return results;
  }

  static std::string expression(const ScalarCall& call, const std::vector<std::string>& texts) {
    std::string text = std::string(call.function) + '(';
    for (std::size_t i = 0; i < call.arguments.size(); ++i) text += (i ? ", " : "") + texts[call.arguments[i]];
    return text + ')';
  }

  static std::string expression(const ScalarInstruction& at, const std::vector<std::string>& texts) {
    const Spelling how = spelling(at.op);
    if (how.infix) return fmt::format("({} {} {})", texts[at.operands[0]], how.text, texts[at.operands[1]]);
    std::string text(how.text);
    if (at.op == ScalarOp::convert || at.op == ScalarOp::bitcast) text += fmt::format("_{}", name_of(at.type));
    text += '(';
    for (int i = 0; i < how.operands; ++i) text += (i ? ", " : "") + texts[at.operands[i]];
    return text + ')';
  }

  const Program& program_;
  std::string text_;
};

}  // namespace

std::string print(const Program& program) { return ProgramPrinter(program).print(); }

}  // namespace nnc
