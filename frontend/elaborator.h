// The elaborator of expressions: walks syntax and builds graph nodes. What an expression comes to is a Term: a number
// known now, a scalar or array known at run time, a value that still waits for its shape, a list, or something that can
// be applied. Functions, layers, models and optimizers are inlined where they are applied, so every shape is a number
// (or a multiple of the batch) by the time an operation is built, and every axis carries the story of its length.
//
// Errors are reported once, where the user wrote the cause; what depends on a failed term fails silently.
#pragma once

#include <any>
#include <deque>
#include <functional>
#include <initializer_list>
#include <map>
#include <memory>
#include <optional>
#include <set>
#include <span>
#include <string>
#include <unordered_map>
#include <variant>
#include <vector>

#include "frontend/ast.h"
#include "frontend/diagnostics.h"
#include "frontend/elaborate.h"
#include "frontend/outline.h"
#include "ir/builder.h"

namespace nnc {

struct FrameGuard;
struct Application;

// A name of its own for the linker: other rooms have terms, scalars and arrays too.
inline namespace elaboration {

class Elaborator;
class Scope;
struct Module;

// ---- terms -------------------------------------------------------------------------------------------------------

/// One step of the story of a number: "Dense(width)" at 6:15, which came from "const width = 256" at 1:1, ...
struct Provenance {
  std::string variable;  ///< the dimension variable that was bound there ("D"), or empty
  std::string text;      ///< what was written: "Dense(width)", "const width = 256"
  Span span;
  const Provenance* from = nullptr;
};

/// Which axis this is, whatever its length: two axes that are one (rows of x and of what is computed from x) have ids
/// that are related, so that axes of one length that have nothing to do with each other can be told from those that
/// belong together (elaborate_chance.cpp).
struct AxisId {
  const AxisId* twin_of = nullptr;      ///< an axis that a tensor has twice: related to it, not to the other twin
  std::vector<const AxisId*> any_of{};  ///< a dimension variable that was bound to several axes
  std::string stands_for{};             ///< "In", where a length is a stand-in for any (elaborate_declared.cpp)
};

/// One axis of an array as the language sees it. A `stretch` axis (from `_` or keep = true) has extent 1 and repeats to
/// any length; the graph node does not have it at all.
struct Axis {
  Extent extent;
  bool stretch = false;
  const Provenance* from = nullptr;
  const AxisId* id = nullptr;  ///< null: nothing is known; of a kept axis: the one that was reduced
};

/// A tensor type with every dimension known.
struct ArrayType {
  DType dtype = DType::f32;
  std::vector<Axis> axes;
};

/// Something went wrong and was reported.
struct Failed {};
/// A number known at compile time (`int`, `float`).
struct Number {
  double value = 0;
  const Provenance* from = nullptr;
  const AxisId* id = nullptr;  ///< the axis whose length it is
};
/// A `bool` known at compile time.
struct Flag {
  bool value = false;
};
struct Text {
  std::string value;
};
/// A `float` known at run time: rank 0, f64 (or boolean, from a comparison), no tensor yet.
struct Scalar {
  Value node;
};
/// A dimension variable as a value (`C`, `batch`): a number, or a run-time scalar where it is batched.
struct Length {
  Axis axis;
};
/// A tensor. The node's axes are those of `axes` that do not stretch, in order.
struct Array {
  Value node;
  std::vector<Axis> axes;
};
/// The array's node with an axis for each of `to` that does not stretch; rank 0 stays, since every op spreads it,
/// unless numbers are to be spread, too.
Value align(const Array& array, const std::vector<Axis>& to, bool spread_numbers);
/// The array with axis `at` in its node, as long as it is, where it stretched.
Array with_axis(Array array, std::size_t at);
/// Whether an i32 can be that number.
bool fits_i32(double value);

struct Term;

/// A value without a shape (`zeros`, `uniform(0, 1)`, `col("x")`): made when its place is known.
struct Shapeless {
  std::string what;  ///< as written, for messages
  /// An Array of exactly this type, in the elaborator's current graph; or Failed.
  std::function<Term(Elaborator&, const ArrayType&)> make;
};
struct List {
  std::vector<Term> elements;
  Span span;
};
/// Several results of one call.
struct Several {
  std::vector<Term> values;
};

/// A declaration and the module whose names its body sees.
struct Declared {
  const ast::Declaration* declaration = nullptr;
  const Module* module = nullptr;
};
/// Functions, layers, models, optimizers by name: an overload set of one kind.
struct Callee {
  std::string name;
  const std::vector<Declared>* overloads = nullptr;
};
/// A layer (or a model used inside a model) with its settings.
struct Instance {
  Declared layer;
  std::string path;  ///< "Block2.Dense1"; "" for the model of a train block
  std::vector<Term> settings;
  std::string shown;  ///< "Dense(width)"
  Span span;
};
struct OptimizerInstance {
  Declared optimizer;
  std::vector<Term> settings;
  Span span;
};

/// The arguments of a call before they are evaluated: primitives and host functions look at the syntax where they must.
struct CallArgument {
  const ast::Name* name = nullptr;
  const ast::Expr* expr = nullptr;  ///< null where the value came through a pipe
  std::shared_ptr<Term> value;      ///< the piped value
  Span span;
};
struct CallSite {
  Elaborator& elaborator;
  Scope& scope;
  std::string name;
  Span span;  ///< of the whole call
  Span callee_span;
  std::vector<CallArgument> arguments;
  std::string instance_name = {};  ///< the name that a `let` gives to the instance made here, or empty

  Term evaluate(std::size_t index);  ///< positional or named, by position in `arguments`
};
/// A function that C++ provides: a primitive, or a word that only data or train blocks know (`cols`, `split`).
struct HostFunction {
  std::string name;
  std::function<Term(CallSite&)> call;
};
/// A value that only the code that made it understands (rows of a file, a split).
struct Host {
  std::string what;  ///< "rows of a file", for messages
  std::any value;
};

struct Term {
  std::variant<Failed, Number, Flag, Text, Scalar, Length, Array, Shapeless, List, Several, Callee,
               std::shared_ptr<const Instance>, std::shared_ptr<const OptimizerInstance>,
               std::shared_ptr<const HostFunction>, Host>
      value;

  Term() = default;
  template <class T>
  Term(T v) : value(std::move(v)) {}  // NOLINT: every alternative is a term

  bool failed() const { return std::holds_alternative<Failed>(value); }
  template <class T>
  const T* as() const {
    return std::get_if<T>(&value);
  }
};

// ---- names -------------------------------------------------------------------------------------------------------

/// The declarations of a file, what it imports, and the library behind them (modules.cpp).
struct Module {
  std::string path;          ///< of the file; empty for the library, which is several
  const Ast* ast = nullptr;  ///< null for the library
  bool library = false;
  bool incomplete = false;  ///< an import could not be read, and any name may have been one of its
  std::unordered_map<std::string, std::vector<Declared>> names;  ///< its own
  std::set<std::string> lost;  ///< names whose declarations did not parse: using them is no second error
  std::vector<const Module*> imports;
  std::vector<Span> import_spans;  ///< where each of them is written
  const Module* behind = nullptr;  ///< the library's module; null for the library itself

  const std::vector<Declared>* find(const std::string& name) const;
  /// Nothing is concluded from the absence of this name.
  bool excuses(const std::string& name) const;
  void visible(std::vector<std::string>& into) const;  ///< every name that `find` finds
};

/// The names of a body, innermost block first, then the module, then the primitives.
class Scope {
 public:
  explicit Scope(const Module& module) : module_(&module) {}
  explicit Scope(Scope& outer) : module_(outer.module_), outer_(&outer) {}

  const Module& module() const { return *module_; }
  /// Binds a name here; false if this body has it already (the caller reports).
  bool define(const std::string& name, Term term);
  /// Gives a name that is bound here or outside a new value (`update`).
  void assign(const std::string& name, Term term);
  Term* find(const std::string& name);
  /// Axes that `...` stands for, and the element type of `float`, as the signature around bound them.
  const std::vector<Axis>* ellipsis() const;
  std::optional<DType> floating() const;
  void bind_ellipsis(std::vector<Axis> axes) { ellipsis_ = std::move(axes); }
  void bind_floating(DType dtype) { floating_ = dtype; }
  void names(std::vector<std::string>& into) const;  ///< all that are bound, for the nearest name

 private:
  const Module* module_;
  Scope* outer_ = nullptr;
  std::unordered_map<std::string, Term> bound_;
  std::optional<std::vector<Axis>> ellipsis_;
  std::optional<DType> floating_;
};

// ---- the elaborator ----------------------------------------------------------------------------------------------

struct LoopContext;

/// Which graph is being built, and how.
struct GraphContext {
  Builder* builder = nullptr;
  bool training = false;
  /// The step's graph: `training` is true wherever nothing is frozen.
  bool trains = false;
  /// Parameters that have an average are read as their averages.
  bool averages = false;
  /// Expressions of a data block are about one row: the batch is a leading axis that the text does not see.
  bool rows = false;
  /// Run-time scalars (step, epoch, steps_per_epoch, total_steps) exist.
  bool scalars = false;
  /// First part of the names of random streams: "step", "data/curve/x", "init/Dense1.W".
  std::string stream;
  std::map<std::string, int> streams{};   ///< random calls so far, by `stream` and the instance that they stand in
  std::map<std::string, Value> states{};  ///< the current value of every state that was read or updated
  std::map<std::string, ast::Variable::Kind> touched{};  ///< parameters and states that this graph reads
  std::map<std::string, Span> scalar_uses{};             ///< where run-time scalars were named that do not exist here
  // Of `test` blocks (elaborate_test.cpp), where parameters and states are values of the graph itself.
  bool test = false;
  bool points = false;  ///< what can be varied becomes a parameter of the graph
  std::set<std::string> point_names{};
  std::map<std::string, double> known_scalars{};           ///< run-time scalars that were `set`
  std::map<std::string, std::pair<Term, Span>> pending{};  ///< values for parameters and states that do not exist yet
  std::vector<std::string> updated{};                      ///< paths of updated states, in order of first update
  std::map<NodeId, std::vector<Value>> joint{};            ///< parameters laid end to end, and what they are made of
  LoopContext* loop = nullptr;                             ///< the innermost loop whose step is being elaborated
  WrittenCalls* written = nullptr;                         ///< where set, applications of the text are noted there
};

class Elaborator {
 public:
  Elaborator(Diagnostics& diagnostics, const ElaborateOptions& options);

  Diagnostics& diagnostics;
  const ElaborateOptions& options;
  std::set<const ast::Declaration*> applied{};                   ///< functions, layers, models, optimizers so far
  bool needs_scan = false;                                       ///< a layer with a carry was applied outside of a loop
  std::map<std::string, std::vector<ArrayType>> model_inputs{};  ///< what each model was first applied to

  // -- graphs. The usual order: init and the step graph first, then evaluate and predict over the same variables.
  /// The graph that later calls build into, until the next call. Returns the one before (swap back with set_graph).
  GraphContext* set_graph(GraphContext* graph);
  GraphContext& graph() { return *graph_; }
  Builder& builder() { return *graph_->builder; }
  /// Writes `update` outputs for the states that the current graph updated.
  void finish_updates();
  /// The current graph, finished. A run-time scalar that something in it still needs, where there is none, is reported
  /// at the place that named it (a setting that only training reads may name one: nothing needs it here).
  Graph finish_graph();
  /// From here on no graph may introduce parameters or states.
  void freeze_variables() { frozen_ = true; }
  /// Parameters and states so far, and the graph that initialises them.
  std::vector<Variable>& variables() { return variables_; }
  Builder& init() { return init_; }
  /// A new variable; `initial` is evaluated in the init graph. False and a message where it clashes with an earlier
  /// one.
  bool declare_variable(const std::string& path, const ArrayType& type, bool is_state, Span span,
                        const std::function<Term()>& initial);

  // -- the train block: how models are called. A model's path is "" unless several are trained together.
  void set_models(std::map<std::string, std::string> path_of_model) { model_paths_ = std::move(path_of_model); }

  /// Instances in which `training` is false and `update` void whatever the graph is for, by path.
  void set_frozen(std::function<bool(const std::string& path)> is_frozen) { is_frozen_ = std::move(is_frozen); }
  /// Paths of all instances that were applied.
  const std::set<std::string>& instances() const { return instances_; }

  // -- evaluation
  Term evaluate(const ast::Expr& expr, Scope& scope);
  /// let: evaluates, names nodes and instances, binds; reports a name bound twice. Several names take several results.
  void let(const ast::Let& statement, Scope& scope);
  /// A declared type in a scope; nullopt where it fails. Prepends the batch in graphs over rows.
  std::optional<ArrayType> resolve(const ast::TypeExpr& type, Scope& scope);
  /// The term as an array of this type: numbers and shapeless values fill it, lists become constants, arrays must have
  /// it. `what` names the place for messages: "column x", "W". Reports and gives nullopt where it does not fit.
  std::optional<Array> place(const Term& term, const ArrayType& type, Span span, const std::string& what);
  /// A compile-time value, or nullopt with a message ("`epochs` must be known at compile time").
  std::optional<double> number(const Term& term, Span span, const std::string& what);
  std::optional<std::int64_t> whole(const Term& term, Span span, const std::string& what);
  std::optional<bool> flag(const Term& term, Span span, const std::string& what);
  std::optional<std::string> text(const Term& term, Span span, const std::string& what);
  /// Any run-time array or scalar as an array (a number becomes rank 0 of `dtype`).
  std::optional<Array> array(const Term& term, Span span, const std::string& what, DType dtype);

  /// Elementwise op with the language's broadcasting. `spans` are the operands' places, `shown` the op as written.
  Term elementwise(Op op, std::span<const Term> operands, std::span<const Span> spans, Span span,
                   const std::string& shown);
  Term call(const Term& callee, CallSite& site);
  Term call_noted(const Term& callee, CallSite& site);
  /// A layer or a model of the user's.
  bool is_own(const ast::Declaration* declaration) const;
  /// What is written there is a step of the outline by itself, not a part of one.
  bool in_outline(Span span) const;
  /// What an outline knows the application by; nothing where it stands in a library or inside of another step.
  std::optional<std::size_t> note_call(const Term& callee, const CallSite& site);
  /// Applies a function, instance or model to terms that are at hand.
  Term apply(const Term& callee, std::vector<Term> arguments, Span span, Scope& scope);
  /// The derivative of the number `of` by `by`, of by's type; nothing where it does not depend on it.
  std::optional<Value> gradient(Value of, Value by);
  /// A value that has a name, so that `grad` can be by it and not by another that is computed alike; finish_graph drops
  /// what no gradient is by. Leaves are values of their own as they are.
  Value named(Value x);
  /// `grad` can be by this value: a leaf, or what `named` gave.
  bool has_name(Value x);
  /// What an optimizer makes of its inputs, (p, g) or p alone, its states under NAME.STATE/PATH.
  Term inline_optimizer(const OptimizerInstance& instance, const std::string& path, const std::vector<Array>& inputs);

  // -- helpers for those who build nodes themselves
  /// Node with all axes, those that stretch as 1.
  Value whole_node(const Array& array);
  Array wrap(Value node);  ///< all axes plain and without provenance
  Array wrap(Value node, std::vector<Axis> axes);
  Type type_of(const ArrayType& type) const;  ///< as the graph has it, stretched axes as 1
  DType default_float() const { return options.double_precision ? DType::f64 : DType::f32; }
  /// The node of a run-time scalar or a number as rank 0 of this element type.
  Value rank0(const Term& term, DType dtype);
  Term scan(CallSite& site);            ///< `x |> scan(Cell(64))`
  Value random(const ArrayType& type);  ///< the next stream of the current graph, uniform in [0, 1)

  /// table[ids]: the rows of a table, along its first axis, whose numbers are the ids; [ids..., rest...]. Where the ids
  /// are an input, loaders check that 0 <= id < count; elsewhere the nearest row stands in for one that is not there.
  Term rows_by_index(const Array& table, const Array& ids, Span span, Span ids_span);
  /// scatter_add: row i of the result is the sum of the rows of x whose id is i.
  Term add_rows(const Array& x, const Array& ids, std::int64_t count, Span span, Span x_span, Span ids_span);
  /// The obligation that 0 <= ids < count, where the ids are an input under another shape.
  void promise_range(Value ids, std::int64_t count, Span span);

  // -- which axis is which (elaborate_chance.cpp)
  const AxisId* new_axis();
  /// A number or an axis whose length is a stand-in for any, and what is computed from such numbers: "2 * In".
  const AxisId* standing_for(std::string name);
  const AxisId* combined(const std::string& shown, std::span<const Term> numbers);
  static bool related(const AxisId* a, const AxisId* b);
  /// Every axis has an id of its own: one that stands twice becomes two twins.
  void separate(std::vector<Axis>& axes);
  /// The id of a dimension variable that is bound to both.
  const AxisId* either(const AxisId* a, const AxisId* b);
  /// Warns where two axes of one length meet that are bound to different dimension variables; whether it did.
  bool check_meeting(const Axis& x, const Axis& y, Span span, const std::string& shown);
  /// An operand of `shown`, with the number of axes that it had as written.
  struct Operand {
    const std::vector<Axis>& axes;
    std::size_t rank;
    Span span;
    const Term& term;
  };
  /// Warns where operands line up only because axes happen to be equally long.
  void check_alignment(const Operand& a, const Operand& b, Span span, const std::string& shown);

  // -- messages
  /// Reports; a place inside the library moves to the user's call, and the library's place becomes a note.
  Failed report(Diagnostic diagnostic);
  Failed error(Code code, Span span, std::string message, std::string label = "", std::string help = "");
  Failed unknown_name(Span span, const std::string& what, const std::string& name,
                      const std::vector<std::string>& known);
  /// What stands behind the `.` of a path is neither an instance nor a parameter or state.
  Failed unknown_part(Span span, const std::string& whole, const std::string& name, std::vector<std::string> known);
  std::string source(Span span) const;           ///< the text of a place, on one line, shortened
  std::string place_text(Span span) const;       ///< "6:15", with the file's name where it is not the user's
  std::string describe(const Term& term) const;  ///< "f32[batch, 256]", "the number 3", "a list"
  std::string describe(const ArrayType& type) const;
  std::string describe(const std::vector<Axis>& axes) const;
  std::string length(const Axis& axis) const;       ///< "256", "batch", or what a stand-in stands for
  std::string story(const Axis& axis) const;        ///< "D = 256 <- Residual() 6:41 <- const width = 256 1:1"
  std::string story(const Provenance* from) const;  ///< " <- Residual() 6:41 <- const width = 256 1:1"
  const Provenance* because(std::string variable, std::string text, Span span, const Provenance* from);
  bool in_library(Span span) const;

  // -- test blocks (elaborate_test.cpp)
  /// Gives a parameter or state another value in a test; false where there is none of that path (yet).
  bool assign_variable(const std::string& path, const Term& value, Span span);
  /// The value of a new parameter or state of a test: what was set for it, or its initial value.
  void initialise_in_place(const std::string& path, const std::function<Term()>& initial);
  /// The node as a parameter of the graph, with its value as a result; as it is where it depends on one already.
  Value point(const std::string& name, Value node);

  /// 1 where the batch stands before the axes that the text sees (in a data block, which is about one row), else 0.
  int hidden_axes(const std::vector<Axis>& axes) const;

  // -- used by the parts of the elaborator
  struct Frame;
  friend struct nnc::FrameGuard;
  Term lookup(const std::string& name, Span span, Scope& scope);
  Term settle(Term term, Span span, Scope& scope);
  Term read_variable(std::size_t index);
  /// A term where a type without brackets is declared (`int`, `float`, `bool`, `string`).
  Term scalar_of(const ast::TypeExpr& type, const Term& term, Span span, const std::string& what);
  DType element_type(const ast::TypeExpr& type, Scope& scope) const;
  /// Nodes that the gradient of `e` flows to.
  std::vector<bool> reached_from(NodeId e);
  /// The path of an instance, or of a model in a train block.
  std::optional<std::string> path_of(const Term& term) const;
  /// Whether a term knows its parameters' names so far: their indices in `variables`, below that path.
  std::vector<std::size_t> parameters_below(const std::string& path) const;
  /// An instance of that path, or one around it or in it, could not be applied: what it lacks is no second error.
  bool is_broken(const std::string& path) const;
  /// Some parameter or state stands below that path.
  bool knows_below(const std::string& path) const;
  static bool is_layer(const Term& callee);
  /// A layer with the settings that it needs: "Dense(out)", "BatchNorm()".
  static std::string with_settings(const Term& layer, const std::string& name);
  /// A layer, or `repeat`: calling it makes what is then applied.
  static bool makes_applicable(const Term& callee);
  Term repeat(CallSite& site);
  static bool holds_tensors(const List& list);
  Term stack(const List& list, DType dtype, Span span);
  static bool needs_no_arguments(const Callee& callee);
  Term constant(const Declared& declared);
  Term materialise(const Term& term, const ArrayType& type);
  std::optional<Axis> dimension(const ast::Expr& expr, Scope& scope);
  /// The node belongs to the current graph; else a message ("... is computed in training").
  bool belongs_here(Value node, Span span);
  /// A tensor of these axes has a number of elements that can be counted; else a message.
  bool countable(const std::vector<Axis>& axes, Span span);
  void align_rows(std::vector<Term>& terms) const;
  Term list_to_array(const List& list, DType dtype, Span span);
  Origin origin(Span span);
  std::vector<Frame>& frames() { return frames_; }

  struct Frame {
    Span call;         ///< where it was applied
    std::string name;  ///< "Residual"
    const ast::Declaration* declaration = nullptr;
    std::string path;                     ///< prefix of the instances and parameters made here
    bool makes_instances = false;         ///< layers may be instantiated here
    std::map<std::string, int> counters;  ///< instances so far, by kind
    std::set<std::string> instances;      ///< and by name
    std::string state_suffix;             ///< "/Dense1.W" in an optimizer
    bool updates = false;                 ///< `update` counts (training, optimizers)
    std::map<std::string, std::pair<std::string, ArrayType>> states;  ///< names of this body's states
    std::set<std::string> carries;  ///< those of them that are carried from step to step
    std::vector<std::pair<std::string, const AxisId*>> dimensions;  ///< variables that the signature bound
  };

 private:
  Term evaluate_form(const ast::Expr& expr, Scope& scope);
  Term evaluate_callee(const ast::Expr& expr, Scope& scope);
  Term evaluate_unary(const ast::Expr& expr, const ast::Unary& form, Scope& scope);
  Term evaluate_binary(const ast::Expr& expr, const ast::Binary& form, Scope& scope);
  Term evaluate_pipe(const ast::Pipe& form, Scope& scope);
  Term pass_on(Term value, const ast::Pipe& form, Scope& scope);
  Term evaluate_call(const ast::Expr& expr, const ast::Call& form, Scope& scope);
  Term evaluate_index(const ast::Expr& expr, const ast::Index& form, Scope& scope);
  /// `call` is the call whose callee it is, or null.
  Term evaluate_member(const ast::Member& form, Scope& scope, const ast::Call* call = nullptr);
  Term evaluate_list(const ast::Expr& expr, const ast::List& form, Scope& scope);
  Term evaluate_comprehension(const ast::Expr& expr, const ast::Comprehension& form, Scope& scope);
  Term evaluate_if(const ast::Expr& expr, const ast::IfExpr& form, Scope& scope);
  std::optional<Term> execute(const ast::Block& block, Scope& scope);
  std::optional<Term> execute_if(const ast::If& form, Scope& scope);
  void execute_variable(const ast::Variable& form, Span span, Scope& scope);
  void execute_update(const ast::Update& form, Scope& scope);
  void execute_expect(const ast::Expect& form, Scope& scope);
  // loops (elaborate_scan.cpp)
  Term declare_carry(const std::string& path, const ArrayType& type, Span span, const std::function<Term()>& initial);
  Term update_carry(const std::string& path, Value value);
  Value state_in_loop(const std::string& path, const Type& type);
  Value random_in_loop(Type type, std::uint64_t stream);
  Term close_loop(LoopContext& loop, const std::map<std::string, Value>& states, const Term& returned,
                  const Axis& steps, Span span);
  Term matmul(const Term& left, const Term& right, Span left_span, Span right_span, Span span, Span op_span);
  Term matrix_stack(const Array& left, const Array& right, Span left_span, Span right_span, Span span, Span op_span);

  /// What a call looks like from outside, for those that are made later.
  struct CallInfo {
    std::string name, shown;
    Span span;
    std::optional<DType> around;  ///< what `float` is where the call stands
  };
  bool misnamed(const Callee& callee, const CallSite& site);
  const Declared* choose(const Callee& callee, CallSite& site);
  Term call_function(const Callee& callee, CallSite& site);
  Term inline_function(const Declared& declared, const std::vector<std::optional<std::pair<Term, Span>>>& given,
                       const CallInfo& info, const ArrayType* wanted);
  bool shape_from_place(const ast::Function& function, bool waits) const;
  Term make_instance(const Callee& callee, CallSite& site);
  Term apply_instance(const Instance& instance, CallSite& site);
  Term inline_instance(const Instance& instance, CallSite& site);
  void note_inputs(const ast::Model& model, Scope& scope);
  std::optional<std::string> instance_path(const std::string& kind, const std::string& given, Span span);
  Term make_optimizer(const Callee& callee, CallSite& site);
  bool open_already(const ast::Declaration* declaration, Span span, const std::string& name);

  friend struct nnc::Application;
  GraphContext* graph_ = nullptr;
  Builder init_{"init"};
  std::vector<Variable> variables_;
  std::vector<ArrayType> variable_types_;
  std::unordered_map<std::string, std::size_t> variable_index_;
  bool frozen_ = false;
  std::map<std::string, std::string> model_paths_;
  std::function<bool(const std::string& path)> is_frozen_;
  std::set<std::string> instances_, broken_;
  std::vector<Frame> frames_;
  std::deque<Provenance> provenance_;
  std::deque<AxisId> axis_ids_;
  std::unordered_map<const ast::Declaration*, Term> constants_;
  std::set<const ast::Declaration*> constants_open_;
  const ast::Expr* named_expr_ = nullptr;  ///< the right side of a `let` that names an instance
  std::string instance_name_;              ///< and the name
  Span returned_at_{};                     ///< the value of the `return` that was executed last
  int depth_ = 0;
  std::int64_t calls_ = 0;     ///< bodies inlined so far
  std::int64_t elements_ = 0;  ///< elements of comprehensions so far
};

}  // namespace elaboration

// ---- what nothing elaborates (check_names.cpp) ---------------------------------------------------------------------

/// Reports names in a function, layer, model or optimizer that nothing has, whether or not it is used.
void check_names(const Module& module, const ast::Declaration& declaration, Diagnostics& diagnostics);

/// Warns of what a file without errors declares and does not use: arguments, settings, `let`s and columns, imports, and
/// statements behind a `return`; in a file that trains also of constants, functions, layers and optimizers.
void check_unused(const Module& module, bool is_program, Diagnostics& diagnostics);

/// Reports what is wrong in a function, layer, model or optimizer that nothing applies; or that only tests apply
/// (`tested`): then what is wrong only where `training` is true (elaborate_declared.cpp).
void check_declared(const Module& module, const ast::Declaration& declaration, const ElaborateOptions& options,
                    Diagnostics& diagnostics, bool tested);

// ---- train and data blocks (elaborate_train.cpp, elaborate_data.cpp) -----------------------------------------------

/// One train block of the user's file; empty after an error.
ElaboratedTest elaborate_test(Elaborator& elaborator, const Module& module, const ast::Declaration& test,
                              bool gradients);
std::optional<Elaborated> elaborate_train(Elaborator& elaborator, const Module& module, const ast::Declaration& train);

/// A model alone: its inputs are those that it was applied to (elaborator.model_inputs), and its results have the names
/// that they are returned by, "result1", "result2", ... where they have none, "result" where there is one.
std::optional<Graph> model_as_applied(Elaborator& elaborator, const Module& module, const Declared& model);

}  // namespace nnc
