// What handles the bodies of loops: how one is cut out of a graph under construction, how a pass reaches it, and which
// loops are one.
#pragma once

#include <functional>
#include <map>
#include <span>
#include <string>
#include <vector>

#include "ir/builder.h"
#include "ir/graph.h"

namespace nnc {

/// The position that an input leaf of a body is called by.
std::size_t input_position(const Node& leaf);

/// A body out of a graph whose input leaves have names: the input called `inputs[i]` becomes input i. A node in
/// `replaced` is read from the input of that name instead of being computed.
ScanBody loop_body(const Graph& draft, std::span<const std::string> inputs, std::span<const NodeId> results,
                   const std::map<NodeId, std::string>& replaced = {});
/// The names of the inputs that the results of such a body depend on.
std::vector<std::string> inputs_of(const Graph& draft, std::span<const NodeId> results,
                                   const std::map<NodeId, std::string>& replaced = {});

/// The same loop with more for each step to hand out; `more` are nodes of its body. The first of them is result
/// carries + (what was handed out before).
ScanBody handing_out(const ScanBody& body, std::span<const NodeId> more);

/// pass(graph) after the same was done to the bodies of all loops in it, inner ones first.
Graph with_bodies(const Graph& graph, const std::function<Graph(const Graph&)>& pass);
/// The same with another pass for bodies.
Graph with_bodies(const Graph& graph, const std::function<Graph(const Graph&)>& of_bodies,
                  const std::function<Graph(const Graph&)>& pass);

/// Loops over the same operands whose carries go the same way become one; results, carries and operands that nothing
/// asks for are dropped.
Graph share_loops(const Graph& graph);

}  // namespace nnc
