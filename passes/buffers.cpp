#include "passes/buffers.h"

#include <cassert>

#include "ir/loops.h"

namespace nnc {

namespace {

/// The order of nnc_call::scalars.
std::uint64_t scalar_index(const std::string& name) {
  static const char* const order[] = {"step", "epoch", "steps_per_epoch", "total_steps", "rows"};
  for (std::uint64_t i = 0; i < 5; ++i)
    if (name == order[i]) return i;
  assert(false && "a run-time number that nnc_call does not have");
  return 0;
}

}  // namespace

Buffers::Buffers(const Graph& graph, const Clusters& clusters, const LowerOptions& options, Draft& draft)
    : graph_(graph), clusters_(clusters), options_(options), draft_(draft) {
  declare(options.params, Region::params, program().params);
  declare(options.state, Region::state, program().state);
  declare(options.carry, Region::carry, program().carry);
  declare(options.gradients, Region::grads, program().grads);
  for (NodeId id = 0; id < graph.nodes.size(); ++id) declare_leaf(id);
}

Buffers::Buffers(const Graph& step, const Clusters& clusters, const LowerOptions& options, Draft& draft,
                 const std::map<std::size_t, BufferId>& inputs, const std::map<std::string, BufferId>& results)
    : graph_(step), clusters_(clusters), options_(options), draft_(draft), results_(results) {
  for (NodeId id = 0; id < step.nodes.size(); ++id) {
    if (step[id].op == Op::input)
      leaves_[id] = inputs.at(input_position(step[id]));
    else
      declare_leaf(id);
    if (clusters_.dense[id] && leaves_.contains(id)) draft_.dense[draft_.base[leaves_[id]]] = true;
  }
  // What is stored as a result need not be stored again for those who read it in the step.
  for (const Output& output : step.outputs) {
    const bool made_here = clusters.home[output.node] >= 0 && !is_scatter(step[output.node]) &&
                           !is_scan(step[output.node]) && !leaves_.contains(output.node);
    if (made_here) arena_.try_emplace(output.node, results.at(output.name));
  }
}

BufferId Buffers::of(NodeId node) {
  if (clusters_.stored[node] || !leaves_.contains(node)) return arena(node);
  return leaves_.at(node);
}

BufferId Buffers::arena(NodeId node) {
  if (const auto found = arena_.find(node); found != arena_.end()) return found->second;
  const std::string name = graph_[node].origin.name.empty() ? "" : graph_[node].origin.name + ".";
  const BufferId id =
      add(name + std::to_string(node), graph_[node].type.dtype, dims_of(graph_[node].type), Region::arena);
  draft_.dense[id] = clusters_.dense[node];
  return arena_[node] = id;
}

BufferId Buffers::part(BufferId of, std::string name, Dims dims, std::int64_t row, std::optional<std::uint32_t> loop) {
  const BufferId id = add(std::move(name), program().buffers[of].dtype, std::move(dims), program().buffers[of].region);
  program().buffers[id].part = Part{of, row, loop};
  draft_.base[id] = draft_.base[of];
  draft_.dense[draft_.base[of]] = draft_.dense[id] = true;
  return id;
}

BufferId Buffers::output(const Output& output, const Dims& dims) {
  const Type& type = graph_[output.node].type;
  if (const auto result = results_.find(output.name); result != results_.end()) return under(result->second, dims);
  if (output.kind == OutputKind::update) {  // what is written, never read and not declared can only be state
    if (!named_.contains(output.name)) variable(output.name, type, Region::state, program().state);
    return under(named_.at(output.name), dims);
  }
  if (is_gradient(options_, output.name)) return under(named_.at(output.name), dims);
  const BufferId id = add(output.name, type.dtype, dims_of(type), Region::output);
  program().buffers[id].offset = program().outputs.size();
  program().outputs.push_back({output.name, id});
  return under(id, dims);
}

BufferId Buffers::under(BufferId id, const Dims& dims) {
  if (program().buffers[id].dims == dims) return id;
  if (!program().buffers[id].part) id = draft_.base[id];
  if (program().buffers[id].dims == dims) return id;
  const auto key = std::pair(id, dims);
  if (const auto found = aliases_.find(key); found != aliases_.end()) return found->second;
  Buffer alias = program().buffers[id];
  alias.dims = dims;
  alias.layout.strides = dense_strides(dims);
  draft_.dense[draft_.base[id]] = true;
  program().buffers.push_back(std::move(alias));
  draft_.base.push_back(draft_.base[id]);
  draft_.dense.push_back(true);
  return aliases_[key] = static_cast<BufferId>(program().buffers.size() - 1);
}

BufferId Buffers::scratch(std::string name, DType dtype, Dims dims) {
  return add(std::move(name), dtype, std::move(dims), Region::arena);
}

BufferId Buffers::add(std::string name, DType dtype, Dims dims, Region region) {
  Buffer buffer;
  buffer.name = std::move(name);
  buffer.dtype = dtype;
  buffer.layout.strides = dense_strides(dims);
  buffer.dims = std::move(dims);
  buffer.region = region;
  program().buffers.push_back(std::move(buffer));
  const auto id = static_cast<BufferId>(program().buffers.size() - 1);
  draft_.base.push_back(id);
  draft_.dense.push_back(false);
  return id;
}

void Buffers::variable(const std::string& name, const Type& type, Region region, std::vector<Slot>& slots) {
  named_[name] = add(name, type.dtype, dims_of(type), region);
  slots.push_back({name, named_[name]});
}
void Buffers::declare(const std::vector<std::pair<std::string, Type>>& variables, Region region,
                      std::vector<Slot>& slots) {
  for (const auto& [path, type] : variables) variable(path, type, region, slots);
}

void Buffers::declare_leaf(NodeId id) {
  const Node& node = graph_[id];
  if (node.op == Op::constant && !node.type.shape.empty()) {
    leaves_[id] = add("constant." + std::to_string(id), node.type.dtype, dims_of(node.type), Region::constant);
    program().buffers[leaves_[id]].values = std::get<Constant>(node.attributes).values;
    draft_.dense[leaves_[id]] = true;
  }
  const auto* named = std::get_if<Named>(&node.attributes);
  if (!named) return;
  if (node.op == Op::scalar) {
    leaves_[id] = add(named->name, DType::f64, {}, Region::scalars);
    program().buffers[leaves_[id]].offset = scalar_index(named->name);
  } else if (node.op == Op::input && !is_gradient(options_, named->name)) {
    leaves_[id] = add(named->name, node.type.dtype, dims_of(node.type), Region::feed);
    program().buffers[leaves_[id]].offset = program().feeds.size();
    program().feeds.push_back({named->name, leaves_[id]});
  } else {
    if (!named_.contains(named->name)) declare_late(node, *named);
    leaves_[id] = named_.at(named->name);
  }
  if (clusters_.dense[id] && node.op != Op::scalar) draft_.dense[leaves_[id]] = true;
}

void Buffers::declare_late(const Node& node, const Named& named) {
  if (node.op == Op::param)
    variable(named.name, node.type, Region::params, program().params);
  else if (node.op == Op::state)
    variable(named.name, node.type, Region::state, program().state);
  else
    variable(named.name, node.type, Region::carry, program().carry);
}

}  // namespace nnc
