// Reads graph text. One statement a line; a line feed inside brackets is a space.
//
//   text      = ["graph" string END] {statement END} .
//   statement = ["~"] label "=" leaf ":" type              ~: derived
//             | ["~"] label ":" type "=" expression
//             | ("result" | "update") string "=" expression
//             | "require" integer "<=" string "<" integer
//             | "loop" integer ":" integer "steps" ["backwards"] "," integer "carries" "," integer "sequences" END
//               text "end" .
//   leaf      = op [string | integer | extent | "[" [element {"," element}] "]"] .
//   expression= sum [("==" | "<" | "<=") sum] .
//   sum       = product {("+" | "-") product} .
//   product   = sign {("*" | "/") sign} .
//   sign      = "-" sign | atom .
//   atom      = label | number [suffix] | "size" "(" extent ")" [suffix] | "true" | "false"
//             | name ["[" order "]"] "(" [argument {"," argument}] ")" | "(" expression ")" .
//   argument  = expression | integer | "[" [entry {"," entry}] "]" .
//   entry     = extent | "-" integer .
//   type      = dtype ["[" extent {"," extent} "]"] .
//   extent    = integer ["*" "batch"] | "batch" .
//   label     = "%" (integer | name | string) [".integer" that tells namesakes apart] .
//   suffix    = "_f32" | "_f64" | "_i32" .
//
// A number without suffix has the element type of what stands beside it. `#` begins a comment.
#include <fmt/format.h>

#include <cctype>
#include <charconv>
#include <limits>
#include <unordered_map>

#include "ir/builder.h"
#include "ir/parse_attributes.h"
#include "ir/syntax.h"
#include "ir/text.h"
#include "ir/text_tokens.h"

namespace nnc {

namespace {

using namespace graph_text;
using syntax::is_digit;

/// A value, or a number that waits for its element type: a literal as written, or a size.
struct Operand {
  std::optional<Value> value = {};
  std::string literal = {};
  Extent extent = {};  ///< of a size, if `literal` is empty
  Token at = {};
};

class Parser : private graph_text::TokenReader {
 public:
  explicit Parser(std::string_view text) : TokenReader(text) {}

  Graph parse() {
    skip_line_ends();
    if (at_name("graph")) {
      advance();
      name_ = string();
      end_line();
    }
    for (skip_line_ends(); token().kind != Token::Kind::end; skip_line_ends()) statement();
    Graph graph = builder_.graph();
    graph.name = name_;
    return graph;
  }

  /// The statements up to `end`, as a graph of their own.
  Graph body() {
    const Level level(*this);
    Builder builder;
    std::string name;
    std::unordered_map<std::string, NodeId> labels;
    std::vector<Scan> loops;
    const auto exchange = [&] {
      std::swap(builder_, builder);
      std::swap(name_, name);
      std::swap(labels_, labels);
      std::swap(loops_, loops);
    };
    exchange();
    skip_line_ends();
    if (at_name("graph")) {
      advance();
      name_ = string();
      end_line();
    }
    for (skip_line_ends(); !at_name("end"); skip_line_ends()) statement();
    Graph graph = builder_.graph();
    graph.name = name_;
    exchange();
    return graph;
  }

 private:
  // Statements.

  void statement() {
    if (at_name("result")) return output(OutputKind::result);
    if (at_name("update")) return output(OutputKind::update);
    if (at_name("require")) return obligation();
    if (at_name("loop")) return loop();
    const bool derived = accept("~");
    if (token().kind != Token::Kind::label) fail(token(), "a statement begins with a label, as in `%y`" + found());
    const Token label = token();
    if (labels_.contains(std::string(label.text))) fail(label, fmt::format("{} is there already", label.text));
    advance();
    builder_.set_derived(derived);
    const Value value = accept("=") ? leaf() : computed();
    end_line();
    labels_.emplace(label.text, value.id);
    builder_.name_node(value.id, name_of_label(label));
  }

  void loop() {
    advance();
    const Token number = token();
    if (axis() != static_cast<int>(loops_.size())) fail(number, fmt::format("this is loop {}", loops_.size()));
    expect(":");
    const std::int64_t steps = integer();
    word("steps");
    const bool backwards = at_name("backwards");
    if (backwards) advance();
    expect(",");
    const int carries = axis();
    word("carries");
    expect(",");
    const int sequences = axis();
    word("sequences");
    end_line();
    Scan scan{
        .body = ScanBody(body()), .carries = carries, .sequences = sequences, .steps = steps, .backwards = backwards};
    word("end");
    end_line();
    loops_.push_back(std::move(scan));
  }
  Value computed() {
    expect(":");
    const Token place = token();
    const Type declared = type();
    expect("=");
    const Value value = typed(expression());
    if (value.type() != declared)
      fail(place, fmt::format("the expression is {}, not {}", to_string(value.type()), to_string(declared)));
    return value;
  }

  Value leaf() {
    const Token name = token();
    const auto op = name.kind == Token::Kind::name ? op_named(name.text) : std::nullopt;
    if (!op || definition(*op).arity != 0)
      fail(name, "a leaf is expected here, as in `param \"W\"` or `constant [1, 2]`" + found());
    advance();
    std::vector<std::string> elements;
    Attributes attributes = leaf_attributes(*op, elements);
    expect(":");
    const Type declared = type();
    if (auto* constant = std::get_if<Constant>(&attributes))
      for (const std::string& element : elements) constant->values.push_back(parsed(element, declared.dtype, name));
    return make(*op, {}, std::move(attributes), declared, name);
  }

  Attributes leaf_attributes(Op op, std::vector<std::string>& elements) {
    if (token().kind == Token::Kind::string) return Named{string()};
    if (op == Op::iota) return Iota{axis()};
    if (op == Op::size) return Size{extent()};
    if (op == Op::random) return Random{stream()};
    expect("[");
    if (accept("]")) return Constant{};
    do elements.push_back(element());
    while (accept(","));
    expect("]");
    return Constant{};
  }

  std::string element() {
    std::string text = accept("-") ? "-" : "";
    if (token().kind != Token::Kind::number && token().kind != Token::Kind::name)
      fail(token(), "a number is expected here" + found());
    text += token().text;
    advance();
    return text;
  }

  std::uint64_t stream() {
    std::uint64_t value = 0;
    const std::string_view text = token().text;
    const bool hexadecimal = token().kind == Token::Kind::number && text.starts_with("0x");
    const char* begin = text.data() + (hexadecimal ? 2 : 0);
    const auto [end, error] = std::from_chars(begin, text.data() + text.size(), value, hexadecimal ? 16 : 10);
    if (token().kind != Token::Kind::number || error != std::errc{} || end != text.data() + text.size())
      fail(token(), "a 64-bit number is expected here" + found());
    advance();
    return value;
  }

  void output(OutputKind kind) {
    advance();
    std::string name = string();
    expect("=");
    builder_.set_derived(false);
    builder_.output(kind, std::move(name), typed(expression()));
    end_line();
  }

  void obligation() {
    advance();
    Obligation obligation;
    obligation.low = integer();
    expect("<=");
    obligation.input = string();
    expect("<");
    obligation.high = integer();
    builder_.oblige(std::move(obligation));
    end_line();
  }

  /// The name that a label stands for: none for a number, without the number that tells namesakes apart.
  std::string name_of_label(const Token& label) const {
    std::string_view text = label.text.substr(1);
    if (text.empty()) fail(label, "a label has a name or a number");
    if (text.front() == '"') return unquoted(text.substr(0, text.rfind('"') + 1), label);
    if (is_digit(text.front())) {
      if (text.find_first_not_of("0123456789") != std::string_view::npos)
        fail(label, "a label's name does not begin with a digit");
      return "";
    }
    const std::size_t dot = text.rfind('.');
    const bool counted = dot != std::string_view::npos && dot > 0 &&
                         text.find_first_not_of("0123456789", dot + 1) == std::string_view::npos;
    return std::string(text.substr(0, counted ? dot : text.size()));
  }

  // Expressions. A guard keeps hostile nesting from using up the stack.

  struct Level {
    explicit Level(Parser& owner) : parser(owner) {
      if (++parser.depth_ > 200) fail(parser.token(), "this is nested too deeply");
    }
    ~Level() { --parser.depth_; }
    Level(const Level&) = delete;
    Level& operator=(const Level&) = delete;
    Parser& parser;
  };

  Operand expression() {
    const Level level(*this);
    Operand left = sum();
    if (!at_infix(syntax::Binding::comparison)) return left;
    return infix(std::move(left), [this] { return sum(); });
  }
  Operand sum() {
    Operand left = product();
    while (at_infix(syntax::Binding::sum)) left = infix(std::move(left), [this] { return product(); });
    return left;
  }
  Operand product() {
    Operand left = sign();
    while (at_infix(syntax::Binding::product)) left = infix(std::move(left), [this] { return sign(); });
    return left;
  }

  static std::optional<Op> infix_op(std::string_view symbol, int arity) {
    if (symbol.empty()) return std::nullopt;
    for (Op op : all_ops())
      if (definition(op).infix == symbol && definition(op).arity == arity) return op;
    return std::nullopt;
  }
  bool at_infix(syntax::Binding binding) const {
    return token().kind == Token::Kind::symbol && syntax::binding_of(token().text, 2) == binding &&
           infix_op(token().text, 2);
  }
  template <class Right>
  Operand infix(Operand left, Right&& right) {
    const Token symbol = token();
    advance();
    std::vector<Operand> operands{std::move(left)};
    operands.push_back(right());
    return elementwise(*infix_op(symbol.text, 2), std::move(operands), {}, symbol);
  }

  Operand sign() {
    const Level level(*this);
    const Token symbol = token();
    if (!accept("-")) return atom();
    if (at_literal()) return literal("-");
    std::vector<Operand> operands;
    operands.push_back(sign());
    return elementwise(*infix_op("-", 1), std::move(operands), {}, symbol);
  }

  /// A name is a number, a size or a call; a number may begin like one: inf_f32.
  static bool is_not_finite(std::string_view name) {
    return name == "inf" || name == "nan" || name.starts_with("inf_") || name.starts_with("nan_");
  }
  bool at_literal() const {
    return token().kind == Token::Kind::number || (token().kind == Token::Kind::name && is_not_finite(token().text));
  }

  Operand atom() {
    const Token begin = token();
    if (at_literal()) return literal("");
    if (accept("(")) {
      Operand inside = expression();
      expect(")");
      return inside;
    }
    if (token().kind == Token::Kind::label) {
      const auto known = labels_.find(std::string(token().text));
      if (known == labels_.end()) fail(token(), fmt::format("{} is not defined before this", token().text));
      advance();
      return {.value = Value{&builder_, known->second}, .at = begin};
    }
    if (token().kind != Token::Kind::name) fail(token(), "a value is expected here" + found());
    if (at_name("true") || at_name("false")) {
      advance();
      return {.value = builder_.constant(begin.text == "true", DType::boolean), .at = begin};
    }
    if (at_name("size")) return size();
    return call();
  }

  Operand literal(std::string_view sign) {
    Operand operand{.at = token()};
    std::string_view text = token().text, suffix;
    const std::size_t underscore = text.find('_');
    if (token().kind == Token::Kind::name && underscore != std::string_view::npos) {
      suffix = text.substr(underscore);
      text = text.substr(0, underscore);
    }
    operand.literal = std::string(sign) + std::string(text);
    advance();
    return suffix.empty() ? suffixed(std::move(operand)) : typed_by(std::move(operand), suffix);
  }

  Operand size() {
    Operand operand{.at = token()};
    advance();
    expect("(");
    operand.extent = extent();
    expect(")");
    return suffixed(std::move(operand));
  }

  Operand suffixed(Operand operand) {
    if (token().kind != Token::Kind::name || !token().text.starts_with('_')) return operand;
    const std::string_view suffix = token().text;
    operand.at = token();
    advance();
    return typed_by(std::move(operand), suffix);
  }
  Operand typed_by(Operand operand, std::string_view suffix) {
    const auto dtype = dtype_named(suffix.substr(1));
    if (!dtype || *dtype == DType::boolean)
      fail(operand.at, fmt::format("`{}` is no element type of a number", suffix));
    operand.value = number(operand, *dtype);
    return operand;
  }

  /// An element of a type from its decimal digits: read once, to the type itself.
  double parsed(const std::string& text, DType dtype, const Token& place) const {
    const char *begin = text.data(), *stop = begin + text.size();
    const auto read = [&]<class T>(T value) {
      const auto [end, error] = std::from_chars(begin, stop, value);
      if (error != std::errc{} || end != stop)
        fail(place, fmt::format("`{}` is no element of {}", text.substr(0, 40), name_of(dtype)));
      return static_cast<double>(value);
    };
    switch (dtype) {
      case DType::f32:
        return read(float{});
      case DType::f64:
        return read(double{});
      case DType::i32:
        return read(std::int32_t{});
      case DType::boolean:
        if (text != "true" && text != "false") fail(place, "true or false is expected");
        return text == "true";
    }
    return 0;
  }

  Value number(const Operand& operand, DType dtype) {
    if (!operand.literal.empty()) return builder_.constant(parsed(operand.literal, dtype, operand.at), dtype);
    if (!is_float(dtype)) fail(operand.at, "a size is a floating-point number");
    return builder_.size(operand.extent, dtype);
  }

  Value typed(const Operand& operand) const {
    if (!operand.value)
      fail(operand.at, "the element type of this number is not clear: write it behind, as in `2_f32`");
    return *operand.value;
  }

  Value make(Op op, std::span<const NodeId> operands, Attributes attributes, const Type& wanted, const Token& place) {
    const ValueOrError made = builder_.try_make(op, operands, std::move(attributes), wanted);
    if (const auto* value = std::get_if<Value>(&made)) return *value;
    std::vector<Type> types;
    for (NodeId operand : operands) types.push_back(builder_[operand].type);
    fail(place, describe(op, std::get<ShapeError>(made), types));
  }

  /// An elementwise op: numbers among operands of one type take the type of the first that has one.
  Operand elementwise(Op op, std::vector<Operand> operands, const Type& wanted, const Token& place) {
    std::optional<DType> dtype;
    const std::size_t first = syntax::first_of_one_type(operands.size());
    for (std::size_t i = first; i < operands.size() && !dtype; ++i)
      if (operands[i].value) dtype = operands[i].value->type().dtype;
    std::vector<NodeId> ids;
    for (std::size_t i = 0; i < operands.size(); ++i)
      ids.push_back((!operands[i].value && dtype && i >= first ? number(operands[i], *dtype) : typed(operands[i])).id);
    return {.value = make(op, ids, NoAttributes{}, wanted, place), .at = place};
  }

  Order order() {
    if (!accept("[")) return Order::unset;
    const bool serial = at_name("serial");
    if (!serial && !at_name("lanes")) fail(token(), "`serial` or `lanes` is expected here" + found());
    advance();
    expect("]");
    return serial ? Order::serial : Order::lanes;
  }

  Operand call() {
    const Token name = token();
    const auto to = dtype_named(name.text);
    const std::optional<Op> op = to ? Op::cast : op_named(name.text);
    if (!op || definition(*op).arity == 0) fail(name, fmt::format("`{}` is no op that is called", name.text));
    advance();
    const Token order_place = token();
    const Order order = this->order();
    std::vector<Operand> operands;
    std::vector<List> lists;
    const bool plain = definition(*op).cls == OpClass::elementwise;
    expect("(");
    if (!at(")")) {
      do argument(plain, operands, lists);
      while (accept(","));
    }
    expect(")");
    if (operands.empty()) fail(name, fmt::format("{}: it takes operands", name.text));
    if (plain) {
      if (order != Order::unset) fail(order_place, fmt::format("{} has no order", name.text));
      if (*op == Op::cast && !to) fail(name, "a cast is written as the type that it makes, as in `f32(%x)`");
      return elementwise(*op, std::move(operands), Type{to.value_or(DType::f32), {}}, name);
    }
    std::vector<NodeId> ids;
    for (const Operand& operand : operands) ids.push_back(typed(operand).id);
    Type wanted{builder_[ids[0]].type.dtype, {}};
    Attributes attributes = call_attributes(*op, order, lists, loops_, wanted.shape, name);
    return {.value = make(*op, ids, std::move(attributes), wanted, name), .at = name};
  }

  /// Among the arguments of a call that has attributes, a bare integer is an axis and never an operand.
  void argument(bool plain, std::vector<Operand>& operands, std::vector<List>& lists) {
    const bool bare = token().kind == Token::Kind::number && ahead().kind == Token::Kind::symbol &&
                      (ahead().text == "," || ahead().text == ")");
    if (!plain && (bare || at("["))) {
      lists.push_back(bare ? List{{integer(), false}} : bracket_list());
      return;
    }
    if (!lists.empty()) fail(token(), "operands stand before axes and shapes");
    operands.push_back(expression());
  }

  Builder builder_;
  std::string name_;
  std::unordered_map<std::string, NodeId> labels_;
  std::vector<Scan> loops_;
  int depth_ = 0;
};

}  // namespace

std::variant<Graph, TextError> parse_graph(const std::string& text) {
  try {
    return Parser(text).parse();
  } catch (Failure& failure) {
    return std::move(failure.error);
  }
}

}  // namespace nnc
