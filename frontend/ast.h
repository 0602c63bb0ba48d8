// The syntax tree of the whole grammar as plain values: what was written, with its places, and nothing that was
// concluded from it. A node owns its children; a form that has alternatives is a variant whose members bear the names
// of the grammar's rules.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <variant>
#include <vector>

#include "frontend/diagnostics.h"

namespace nnc::ast {

struct Name {
  std::string text;
  Span span;
};

/// name {"." name}: the path of an instance or a parameter.
using Path = std::vector<Name>;

// ---- expressions -------------------------------------------------------------------------------------------------

struct Expr;
using ExprPtr = std::unique_ptr<Expr>;

struct Number {
  double value = 0;
  bool integer = false;  ///< written without point and exponent; `value` is then exact and below 2^53
};
struct String {
  std::string value;
};
struct Boolean {
  bool value = false;
};
struct NameUse {
  std::string name;
};
/// "...": only as an argument, as an element of a list and in an index.
struct Ellipsis {};
/// "_" in an index: a new axis of extent 1.
struct NewAxis {};
/// [begin] ":" [end] [":" step], only in an index; what was left out is null.
struct Slice {
  ExprPtr begin, end, step;
};

enum class UnaryOp : std::uint8_t { negate, logical_not };
struct Unary {
  UnaryOp op{};
  Span op_span;
  ExprPtr operand;
};

enum class BinaryOp : std::uint8_t {
  logical_or,
  logical_and,
  equal,
  not_equal,
  less,
  less_equal,
  greater,
  greater_equal,
  add,
  subtract,
  multiply,
  divide,
  floor_divide,
  matmul,
  power
};
struct Binary {
  BinaryOp op{};
  Span op_span;
  ExprPtr left, right;
};

/// left |> right: `right` is a postfix expression whose last call gets `left` as its first argument (a name or a member
/// without a call is called).
struct Pipe {
  Span op_span;
  ExprPtr left, right;
};

struct Argument {
  std::optional<Name> name;
  ExprPtr value;  ///< may be Ellipsis
};
struct Call {
  ExprPtr callee;
  std::vector<Argument> arguments;
};
/// base[...]: each index is an expression, a Slice, an Ellipsis or a NewAxis.
struct Index {
  ExprPtr base;
  std::vector<ExprPtr> indices;
};
struct Member {
  ExprPtr base;
  Name member;
};
struct List {
  std::vector<ExprPtr> elements;  ///< may be Ellipsis
};
struct Comprehension {
  struct Loop {
    Name variable;
    ExprPtr over;
  };
  ExprPtr element;
  std::vector<Loop> loops;
};
struct IfExpr {
  ExprPtr condition, yes, no;
};

struct Expr {
  Span span;  ///< with its parentheses, where it stands in some
  bool parenthesised = false;
  std::uint16_t depth = 1;  ///< height of the tree below; the parser keeps it under max_expression_depth
  std::variant<Number, String, Boolean, NameUse, Ellipsis, NewAxis, Slice, Unary, Binary, Pipe, Call, Index, Member,
               List, Comprehension, IfExpr>
      form;
};

/// So deep may an expression be that every walk over it can be a plain recursion.
inline constexpr int max_expression_depth = 1000;

// ---- types -------------------------------------------------------------------------------------------------------

struct Dim {
  enum class Kind : std::uint8_t { ellipsis, stretch, expression } kind{};  ///< "...", "_", expr
  Span span;
  ExprPtr value;  ///< only of an expression
};

struct TypeExpr {
  enum class Base : std::uint8_t { integer, floating, boolean, string, f32, f64, i32 } base{};
  bool tensor = false;  ///< has brackets; `floating` and `boolean` occur with and without
  std::vector<Dim> dims;
  Span span;
};

// ---- statements --------------------------------------------------------------------------------------------------

struct Statement;
struct Block {
  std::vector<Statement> statements;
  Span span;  ///< with its braces
};

struct Let {
  std::vector<Name> names;
  std::optional<TypeExpr> type;
  ExprPtr value;
  bool reported = false;  ///< written without `let`, which is an error: no second one about its name
};
struct If {
  ExprPtr condition;
  Block yes;
  std::optional<Block> no;  ///< `else if` is a block of one statement
};
struct Return {
  std::vector<ExprPtr> values;
};
/// param, state, carry.
struct Variable {
  enum class Kind : std::uint8_t { param, state, carry } kind{};
  Name name;
  TypeExpr type;
  ExprPtr value;
};
struct Update {
  Name name;
  ExprPtr value;
};

/// In a test what a result shows, in a body what its settings must be.
struct Expect {
  ExprPtr value;
  ExprPtr within;  ///< or null; null in a body
};

struct Statement {
  Span span;
  std::variant<Let, If, Return, Variable, Update, Expect> form;
};

// ---- declarations ------------------------------------------------------------------------------------------------

struct Param {
  Name name;
  TypeExpr type;
  ExprPtr value;  ///< the default, or null
  Span span;
};

struct Import {
  std::string path;
  Span path_span;
};
struct Const {
  Name name;
  ExprPtr value;
};
struct Function {
  Name name;
  std::vector<Param> inputs;
  std::vector<TypeExpr> results;  ///< one, or several in parentheses
  Block body;
};
struct Model {
  Name name;
  std::vector<Param> inputs;
  std::vector<TypeExpr> results;
  Block body;
};
struct Layer {
  Name name;
  std::vector<Param> settings, inputs;
  std::vector<TypeExpr> results;
  Block body;
};
struct Optimizer {
  Name name;
  std::vector<Param> settings, inputs;
  TypeExpr result;
  Block body;
};

/// key {"," key} "=" expr in a data block; key ["(" path ")"] "=" expr in a train block.
struct Setting {
  std::vector<Name> keys;
  Path path;  ///< empty where there is none
  ExprPtr value;
};

/// A column: name ":" type "=" expr.
struct ColumnDef {
  Name name;
  TypeExpr type;
  ExprPtr value;
};
struct Datum {
  Span span;
  std::variant<Let, ColumnDef, Setting> form;
};
struct Data {
  Name name;
  std::vector<Datum> data;
};

/// ("metric"|"output") name "=" expr.
struct Measure {
  enum class Kind : std::uint8_t { metric, output } kind{};
  Name name;
  ExprPtr value;
};
struct Item {
  Span span;
  std::variant<Let, Measure, Setting> form;
};
struct Train {
  std::vector<Name> models;
  Name data;
  std::optional<Name> as;
  std::vector<Item> items;
};

struct Set {
  Path path;
  ExprPtr value;
};
struct Gradcheck {
  ExprPtr value;
};
struct Check {
  Span span;
  std::variant<Let, Set, Gradcheck, Expect> form;
};
struct Test {
  std::string title;
  std::vector<Check> checks;
};

struct Declaration {
  Span span;             ///< all of it
  Span head;             ///< the keyword and the name, for messages about the declaration as such
  std::string doc;       ///< the `##` lines before it, without marks, joined by newlines
  bool damaged = false;  ///< a part of it had a syntax error and is missing: draw no conclusion from absence
  std::variant<Import, Const, Function, Model, Layer, Optimizer, Data, Train, Test> form;
};

}  // namespace nnc::ast

namespace nnc {

/// One file.
struct Ast {
  std::uint32_t file = 0;
  std::vector<ast::Declaration> declarations;
  std::vector<std::string> lost;  ///< names whose declarations or statements did not parse: using them is no second
                                  ///< error; "" may be any name
};

/// The tree as text, a line for each declaration and statement. Files that mean the same have the same text, however
/// they are laid out.
std::string print(const Ast& ast);

}  // namespace nnc
