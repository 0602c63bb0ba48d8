// Chooses how buffers lie in memory. A contraction reads `b` by whole vectors along n for every k: panels, as wide as a
// register tile, make that one stream; `a` is read one element a row and tile, so it stays row-major, but not with a
// row stride of a multiple of 1024 bytes, which maps all rows of a tile to the same few cache sets. What a contraction
// touches has rows of whole vectors, so that no access needs a mask. Training chooses for parameters, others obey.
#include <algorithm>

#include "passes/lowering.h"

namespace nnc {
namespace {

constexpr std::int64_t row_unit = 16;  // elements: the widest vector of any machine

/// How contractions use a buffer.
struct Use {
  bool a = false, b = false;
  bool beside = false;  ///< loaded or stored by the stage after a contraction
};

bool kept(Region region) { return region == Region::params || region == Region::state; }

class LayoutChooser {
 public:
  LayoutChooser(Draft& draft, const LowerOptions& options)
      : draft_(draft), program_(draft.program), options_(options), uses_(draft.base.size()) {}

  void run() {
    find_uses();
    obey();
    if (options_.layout) {
      for (BufferId id = 0; id < uses_.size(); ++id) choose(id);
      if (!options_.obey) follow_parameters();
    }
    for (BufferId id = 0; id < uses_.size(); ++id) share(id);
  }

 private:
  void find_uses() {
    for (const Kernel& kernel : program_.kernels) {
      if (!kernel.core) continue;
      uses_[draft_.base[kernel.core->a.buffer]].a = true;
      uses_[draft_.base[kernel.core->b.buffer]].b = true;
      for (const Stage& stage : kernel.stages) {
        for (const BodyInput& input : stage.body.inputs)
          if (const auto* access = std::get_if<Access>(&input)) uses_[draft_.base[access->buffer]].beside = true;
        for (const Store& store : stage.stores) uses_[draft_.base[store.to.buffer]].beside = true;
      }
    }
  }

  void obey() {
    if (!options_.obey) return;
    for (const std::vector<Slot>* slots : {&program_.params, &program_.state})
      for (const Slot& slot : *slots)
        if (const Layout* layout = options_.obey->find(slot.name)) program_.buffers[slot.buffer].layout = *layout;
  }

  void choose(BufferId id) {
    Buffer& buffer = program_.buffers[id];
    if (draft_.base[id] != id || draft_.dense[id]) return;
    Use use = uses_[id];
    if (buffer.dims.size() != 2) use = {};  // of a stack: dense
    if (kept(buffer.region) && !options_.obey && use.b && !use.a) return set_panels(buffer);
    if (buffer.region != Region::arena || buffer.dims.empty()) return;
    if (use.b && !use.a) return set_panels(buffer);
    if ((use.a || use.b || use.beside) && buffer.dims.size() == 2 && buffer.dims[1] >= row_unit / 2) pad_rows(buffer);
  }

  void set_panels(Buffer& buffer) const {
    buffer.layout =
        Layout{.kind = Layout::Kind::panels, .strides = {}, .panel = options_.machine.panel(size_of(buffer.dtype))};
  }

  static void pad_rows(Buffer& buffer) {
    buffer.layout.strides = {padded_row(buffer.dims.back(), size_of(buffer.dtype)), 1};
    buffer.padded_rows = true;
  }

  /// What is updated beside a parameter in panels (its optimizer's state) lies in the same panels.
  void follow_parameters() {
    for (const Kernel& kernel : program_.kernels)
      for (const Stage& stage : kernel.stages)
        for (const Store& leader : stage.stores) {
          const Buffer& parameter = program_.buffers[leader.to.buffer];
          if (parameter.region != Region::params || parameter.layout.kind != Layout::Kind::panels) continue;
          for (const Store& store : stage.stores) {
            Buffer& state = program_.buffers[store.to.buffer];
            const bool alike = state.dims == parameter.dims && store.to.map == leader.to.map;
            if (state.region == Region::state && alike && !draft_.dense[store.to.buffer]) set_panels(state);
          }
        }
  }

  /// Buffers over the same memory are dense; all get their size, parts their own.
  void share(BufferId id) {
    Buffer& buffer = program_.buffers[id];
    const Buffer& base = program_.buffers[draft_.base[id]];
    buffer.bytes = bytes_of(draft_.base[id] == id || buffer.part ? buffer : base);
  }

  Draft& draft_;
  Program& program_;
  const LowerOptions& options_;
  std::vector<Use> uses_;
};

}  // namespace

std::uint64_t bytes_of(const Buffer& buffer) {
  std::int64_t elements = 1;
  if (buffer.layout.kind == Layout::Kind::panels) {
    const std::int64_t panel = buffer.layout.panel;
    elements = (buffer.dims[1] + panel - 1) / panel * panel * buffer.dims[0];
  } else if (count_of(buffer.dims) == 0) {
    elements = 0;
  } else {
    for (std::size_t i = 0; i < buffer.dims.size(); ++i) elements += (buffer.dims[i] - 1) * buffer.layout.strides[i];
    if (buffer.padded_rows) elements += buffer.layout.strides[0] - buffer.dims.back();  // the last row's padding
  }
  return static_cast<std::uint64_t>(elements) * size_of(buffer.dtype);
}

std::int64_t padded_row(std::int64_t elements, std::size_t bytes) {
  const std::int64_t row = (elements + row_unit - 1) / row_unit * row_unit;
  return row * static_cast<std::int64_t>(bytes) % thrashing_stride == 0 ? row + row_unit : row;
}

void choose_layouts(Draft& draft, const LowerOptions& options) { LayoutChooser(draft, options).run(); }

const Layout* VariableLayouts::find(const std::string& path) const {
  for (const auto& [name, layout] : layouts)
    if (name == path) return &layout;
  return nullptr;
}

VariableLayouts layouts_of(const Program& program) {
  VariableLayouts result;
  for (const std::vector<Slot>* slots : {&program.params, &program.state})
    for (const Slot& slot : *slots) result.layouts.emplace_back(slot.name, program.buffers[slot.buffer].layout);
  return result;
}

}  // namespace nnc
