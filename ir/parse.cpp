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
#include "ir/syntax.h"
#include "ir/text.h"

namespace nnc {

namespace {

struct Token {
  enum class Kind { label, name, number, string, symbol, line_end, end } kind = Kind::end;
  std::string_view text = {};  ///< as written; of a string, with its quotes
  std::uint32_t line = 1, column = 1;
};

/// Thrown from anywhere inside the parser, caught at its surface.
struct Failure {
  TextError error;
};

[[noreturn]] void fail(const Token& at, std::string message) {
  throw Failure{{.line = at.line, .column = at.column, .message = std::move(message)}};
}

using syntax::is_digit;
using syntax::is_letter;

class Lexer {
 public:
  explicit Lexer(std::string_view text) : text_(text) {}

  Token next() {
    skip_blanks();
    Token token{.line = line_, .column = static_cast<std::uint32_t>(at_ - line_start_ + 1)};
    const std::size_t begin = at_;
    token.kind = scan(token);
    token.text = text_.substr(begin, at_ - begin);
    if (token.kind == Token::Kind::line_end) {
      ++line_;
      line_start_ = at_;
    }
    return token;
  }

 private:
  char peek(std::size_t ahead = 0) const { return at_ + ahead < text_.size() ? text_[at_ + ahead] : '\0'; }

  void skip_blanks() {
    while (at_ < text_.size()) {
      const char c = peek();
      if (c == '#') {
        while (at_ < text_.size() && peek() != '\n') ++at_;
      } else if (c == '\n' && brackets_ > 0) {
        ++at_;
        ++line_;
        line_start_ = at_;
      } else if (c == ' ' || c == '\t' || c == '\r') {
        ++at_;
      } else {
        return;
      }
    }
  }

  Token::Kind scan(const Token& token) {
    if (at_ >= text_.size()) return Token::Kind::end;
    const char c = peek();
    if (c == '\n') {
      ++at_;
      return Token::Kind::line_end;
    }
    if (c == '%') return scan_label(token);
    if (c == '"') return scan_string(token);
    if (is_letter(c)) {
      while (is_letter(peek()) || is_digit(peek())) ++at_;
      return Token::Kind::name;
    }
    if (is_digit(c)) return scan_number();
    return scan_symbol(token);
  }

  Token::Kind scan_label(const Token& token) {
    ++at_;
    if (peek() == '"') {
      scan_string(token);
      if (peek() == '.') ++at_;
      while (is_digit(peek())) ++at_;
    } else {
      while (is_letter(peek()) || is_digit(peek()) || peek() == '.') ++at_;
    }
    return Token::Kind::label;
  }

  Token::Kind scan_string(const Token& token) {
    ++at_;
    while (peek() != '"') {
      if (peek() == '\\') ++at_;
      if (at_ >= text_.size() || peek() == '\n') fail(token, "this string does not end");
      ++at_;
    }
    ++at_;
    return Token::Kind::string;
  }

  Token::Kind scan_number() {
    if (peek() == '0' && peek(1) == 'x') {
      at_ += 2;
      while (std::isxdigit(static_cast<unsigned char>(peek()))) ++at_;
      return Token::Kind::number;
    }
    while (is_digit(peek())) ++at_;
    if (peek() == '.') ++at_;
    while (is_digit(peek())) ++at_;
    const bool signed_exponent = peek(1) == '+' || peek(1) == '-';
    if (peek() == 'e' && is_digit(peek(signed_exponent ? 2 : 1))) {
      at_ += signed_exponent ? 2 : 1;
      while (is_digit(peek())) ++at_;
    }
    return Token::Kind::number;
  }

  Token::Kind scan_symbol(const Token& token) {
    const char c = peek();
    if ((c == '<' || c == '=') && peek(1) == '=') {
      at_ += 2;
      return Token::Kind::symbol;
    }
    if (std::string_view("()[],:=<+-*/~").find(c) == std::string_view::npos || c == '\0')
      fail(token, "this character has no meaning here");
    if (c == '(' || c == '[') ++brackets_;
    if ((c == ')' || c == ']') && brackets_ > 0) --brackets_;
    ++at_;
    return Token::Kind::symbol;
  }

  std::string_view text_;
  std::size_t at_ = 0, line_start_ = 0;
  std::uint32_t line_ = 1;
  int brackets_ = 0;
};

/// A value, or a number that waits for its element type: a literal as written, or a size.
struct Operand {
  std::optional<Value> value = {};
  std::string literal = {};
  Extent extent = {};  ///< of a size, if `literal` is empty
  Token at = {};
};

/// What an argument in brackets or a bare integer says: extents or axes.
using List = std::vector<Extent>;

class Parser {
 public:
  explicit Parser(std::string_view text) : lexer_(text) {
    token_ = lexer_.next();
    ahead_ = lexer_.next();
  }

  Graph parse() {
    skip_line_ends();
    if (at_name("graph")) {
      advance();
      name_ = string();
      end_line();
    }
    for (skip_line_ends(); token_.kind != Token::Kind::end; skip_line_ends()) statement();
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
  // Tokens.

  void advance() {
    token_ = ahead_;
    ahead_ = lexer_.next();
  }
  bool at(std::string_view symbol) const { return token_.kind == Token::Kind::symbol && token_.text == symbol; }
  bool at_name(std::string_view name) const { return token_.kind == Token::Kind::name && token_.text == name; }
  bool accept(std::string_view symbol) {
    if (!at(symbol)) return false;
    advance();
    return true;
  }
  void expect(std::string_view symbol) {
    if (!accept(symbol)) fail(token_, fmt::format("`{}` is expected here{}", symbol, found()));
  }
  std::string found() const {
    if (token_.kind == Token::Kind::end) return ", not the end of the text";
    if (token_.kind == Token::Kind::line_end) return ", not the end of the line";
    return fmt::format(", not `{}`", token_.text.substr(0, 40));
  }
  void skip_line_ends() {
    while (token_.kind == Token::Kind::line_end) advance();
  }
  void end_line() {
    if (token_.kind != Token::Kind::line_end && token_.kind != Token::Kind::end)
      fail(token_, "the statement should end here" + found());
    skip_line_ends();
  }
  std::string string() {
    if (token_.kind != Token::Kind::string) fail(token_, "a string is expected here" + found());
    std::string text = unquoted(token_.text);
    advance();
    return text;
  }
  std::string unquoted(std::string_view quoted) const {
    std::string text;
    for (std::size_t i = 1; i + 1 < quoted.size(); ++i) {
      if (quoted[i] != '\\') {
        text += quoted[i];
      } else if (quoted[++i] == 'x') {
        unsigned char code = 0;
        const char* begin = quoted.data() + i + 1;
        const auto [end, error] =
            std::from_chars(begin, std::min(begin + 2, quoted.data() + quoted.size() - 1), code, 16);
        if (error != std::errc{} || end != begin + 2) fail(token_, "`\\x` is followed by two hexadecimal digits");
        text += static_cast<char>(code);
        i += 2;
      } else {
        text += quoted[i];
      }
    }
    return text;
  }
  /// An integer with an optional sign.
  std::int64_t integer() {
    const bool negative = accept("-");
    if (token_.kind != Token::Kind::number) fail(token_, "an integer is expected here" + found());
    const std::string text = (negative ? "-" : "") + std::string(token_.text);
    std::int64_t value = 0;
    const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
    if (error != std::errc{} || end != text.data() + text.size()) fail(token_, "this is no 64-bit integer");
    advance();
    return value;
  }
  int axis() {
    const Token place = token_;
    const std::int64_t value = integer();
    if (value < 0 || value > std::numeric_limits<int>::max()) fail(place, "this is no axis");
    return static_cast<int>(value);
  }

  // Types.

  std::optional<DType> dtype_named(std::string_view name) const {
    for (DType dtype : {DType::f32, DType::f64, DType::i32, DType::boolean})
      if (name_of(dtype) == name) return dtype;
    return std::nullopt;
  }
  Extent extent() {
    const Token place = token_;
    const Extent result = entry();
    if (result.count < 0) fail(place, "an extent is not negative");
    return result;
  }
  /// What a list may hold: an extent, or a number that may be negative.
  Extent entry() {
    if (at_name("batch")) {
      advance();
      return batch_extent;
    }
    Extent result{integer(), false};
    if (!accept("*")) return result;
    if (!at_name("batch")) fail(token_, "`batch` is expected here" + found());
    advance();
    return {result.count, true};
  }
  List bracket_list() {
    List list;
    expect("[");
    if (accept("]")) return list;
    do list.push_back(entry());
    while (accept(","));
    expect("]");
    return list;
  }
  Shape shape(const List& list, const Token& place) const {
    for (const Extent& extent : list)
      if (extent.count < 0) fail(place, "an extent is not negative");
    return list;
  }
  Type type() {
    const auto dtype = token_.kind == Token::Kind::name ? dtype_named(token_.text) : std::nullopt;
    if (!dtype) fail(token_, "a type is expected here" + found());
    advance();
    const Token place = token_;
    return {*dtype, at("[") ? shape(bracket_list(), place) : Shape{}};
  }

  // Statements.

  void statement() {
    if (at_name("result")) return output(OutputKind::result);
    if (at_name("update")) return output(OutputKind::update);
    if (at_name("require")) return obligation();
    if (at_name("loop")) return loop();
    const bool derived = accept("~");
    if (token_.kind != Token::Kind::label) fail(token_, "a statement begins with a label, as in `%y`" + found());
    const Token label = token_;
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
    const Token number = token_;
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
  void word(std::string_view name) {
    if (!at_name(name)) fail(token_, fmt::format("`{}` is expected here{}", name, found()));
    advance();
  }

  Value computed() {
    expect(":");
    const Token place = token_;
    const Type declared = type();
    expect("=");
    const Value value = typed(expression());
    if (value.type() != declared)
      fail(place, fmt::format("the expression is {}, not {}", to_string(value.type()), to_string(declared)));
    return value;
  }

  Value leaf() {
    const Token name = token_;
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
    if (token_.kind == Token::Kind::string) return Named{string()};
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
    if (token_.kind != Token::Kind::number && token_.kind != Token::Kind::name)
      fail(token_, "a number is expected here" + found());
    text += token_.text;
    advance();
    return text;
  }

  std::uint64_t stream() {
    std::uint64_t value = 0;
    const std::string_view text = token_.text;
    const bool hexadecimal = token_.kind == Token::Kind::number && text.starts_with("0x");
    const char* begin = text.data() + (hexadecimal ? 2 : 0);
    const auto [end, error] = std::from_chars(begin, text.data() + text.size(), value, hexadecimal ? 16 : 10);
    if (token_.kind != Token::Kind::number || error != std::errc{} || end != text.data() + text.size())
      fail(token_, "a 64-bit number is expected here" + found());
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
    if (text.front() == '"') return unquoted(text.substr(0, text.rfind('"') + 1));
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
      if (++parser.depth_ > 200) fail(parser.token_, "this is nested too deeply");
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
    return token_.kind == Token::Kind::symbol && syntax::binding_of(token_.text, 2) == binding &&
           infix_op(token_.text, 2);
  }
  template <class Right>
  Operand infix(Operand left, Right&& right) {
    const Token symbol = token_;
    advance();
    std::vector<Operand> operands{std::move(left)};
    operands.push_back(right());
    return elementwise(*infix_op(symbol.text, 2), std::move(operands), {}, symbol);
  }

  Operand sign() {
    const Level level(*this);
    const Token symbol = token_;
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
    return token_.kind == Token::Kind::number || (token_.kind == Token::Kind::name && is_not_finite(token_.text));
  }

  Operand atom() {
    const Token begin = token_;
    if (at_literal()) return literal("");
    if (accept("(")) {
      Operand inside = expression();
      expect(")");
      return inside;
    }
    if (token_.kind == Token::Kind::label) {
      const auto known = labels_.find(std::string(token_.text));
      if (known == labels_.end()) fail(token_, fmt::format("{} is not defined before this", token_.text));
      advance();
      return {.value = Value{&builder_, known->second}, .at = begin};
    }
    if (token_.kind != Token::Kind::name) fail(token_, "a value is expected here" + found());
    if (at_name("true") || at_name("false")) {
      advance();
      return {.value = builder_.constant(begin.text == "true", DType::boolean), .at = begin};
    }
    if (at_name("size")) return size();
    return call();
  }

  Operand literal(std::string_view sign) {
    Operand operand{.at = token_};
    std::string_view text = token_.text, suffix;
    const std::size_t underscore = text.find('_');
    if (token_.kind == Token::Kind::name && underscore != std::string_view::npos) {
      suffix = text.substr(underscore);
      text = text.substr(0, underscore);
    }
    operand.literal = std::string(sign) + std::string(text);
    advance();
    return suffix.empty() ? suffixed(std::move(operand)) : typed_by(std::move(operand), suffix);
  }

  Operand size() {
    Operand operand{.at = token_};
    advance();
    expect("(");
    operand.extent = extent();
    expect(")");
    return suffixed(std::move(operand));
  }

  Operand suffixed(Operand operand) {
    if (token_.kind != Token::Kind::name || !token_.text.starts_with('_')) return operand;
    const std::string_view suffix = token_.text;
    operand.at = token_;
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
    if (!serial && !at_name("lanes")) fail(token_, "`serial` or `lanes` is expected here" + found());
    advance();
    expect("]");
    return serial ? Order::serial : Order::lanes;
  }

  Operand call() {
    const Token name = token_;
    const auto to = dtype_named(name.text);
    const std::optional<Op> op = to ? Op::cast : op_named(name.text);
    if (!op || definition(*op).arity == 0) fail(name, fmt::format("`{}` is no op that is called", name.text));
    advance();
    const Token order_place = token_;
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
    Attributes attributes = call_attributes(*op, order, lists, wanted.shape, name);
    return {.value = make(*op, ids, std::move(attributes), wanted, name), .at = name};
  }

  /// Among the arguments of a call that has attributes, a bare integer is an axis and never an operand.
  void argument(bool plain, std::vector<Operand>& operands, std::vector<List>& lists) {
    const bool bare = token_.kind == Token::Kind::number && ahead_.kind == Token::Kind::symbol &&
                      (ahead_.text == "," || ahead_.text == ")");
    if (!plain && (bare || at("["))) {
      lists.push_back(bare ? List{{integer(), false}} : bracket_list());
      return;
    }
    if (!lists.empty()) fail(token_, "operands stand before axes and shapes");
    operands.push_back(expression());
  }

  std::vector<int> axes(const List& list, const Token& place) const {
    std::vector<int> result;
    for (const Extent& entry : list) {
      if (entry.batched || entry.count < 0 || entry.count > std::numeric_limits<int>::max())
        fail(place, "axes are small integers");
      result.push_back(static_cast<int>(entry.count));
    }
    return result;
  }

  std::vector<std::int64_t> numbers(const List& list, const Token& place) const {
    std::vector<std::int64_t> result;
    for (const Extent& entry : list) {
      if (entry.batched) fail(place, "numbers are expected here, not the batch");
      result.push_back(entry.count);
    }
    return result;
  }
  /// The number that stands alone as argument `index`, or what it is where it is not written.
  std::int64_t single(const std::vector<List>& lists, std::size_t index, std::int64_t usual, const Token& place) const {
    if (index >= lists.size()) return usual;
    const std::vector<std::int64_t> all = numbers(lists[index], place);
    if (all.size() != 1) fail(place, "a single number is expected here");
    return all[0];
  }
  int single_axis(const List& list, const Token& place) const {
    const std::vector<int> all = axes(list, place);
    if (all.size() != 1) fail(place, "a single axis is expected here");
    return all[0];
  }

  /// slice: extents, starts and steps (1 where they are not written); pad: low, high and between (0).
  Attributes part_attributes(Op op, const std::vector<List>& lists, Shape& shape, const Token& place) const {
    if (lists.size() < 2 || lists.size() > 3)
      fail(place, fmt::format("{} takes two or three lists behind its operand", place.text));
    const std::vector<std::int64_t> second = numbers(lists[1], place);
    const std::vector<std::int64_t> third = lists.size() == 3
                                                ? numbers(lists[2], place)
                                                : std::vector<std::int64_t>(second.size(), op == Op::slice ? 1 : 0);
    if (op == Op::pad) return Pad{numbers(lists[0], place), second, third};
    shape = this->shape(lists[0], place);
    return Slice{second, third};
  }

  Attributes call_attributes(Op op, Order order, const std::vector<List>& lists, Shape& shape,
                             const Token& place) const {
    const auto expect_lists = [&](std::size_t least, std::size_t most, std::string_view what) {
      if (lists.size() < least || lists.size() > most)
        fail(place, fmt::format("{} takes {} behind its operands", place.text, what));
    };
    if (order != Order::unset && op != Op::sum && op != Op::dot)
      fail(place, fmt::format("{} has no order", place.text));
    const OpClass cls = definition(op).cls;
    if (op == Op::overlap_add) {
      expect_lists(2, 4, "an axis, an extent, a stride and a dilation");
      return OverlapAdd{single_axis(lists[0], place), single(lists, 1, 1, place), single(lists, 2, 1, place),
                        single(lists, 3, 1, place)};
    }
    if (cls == OpClass::loop) {
      expect_lists(2, 2, "a loop and a result");
      const std::vector<int> loop = axes(lists[0], place), result = axes(lists[1], place);
      if (loop.size() != 1 || result.size() != 1 || loop[0] < 0 || loop[0] >= static_cast<int>(loops_.size()))
        fail(place, "this loop does not stand before it");
      Scan scan = loops_[static_cast<std::size_t>(loop[0])];
      scan.result = result[0];
      return scan;
    }
    if (cls == OpClass::reduce) {
      expect_lists(1, 1, "axes");
      return Reduce{axes(lists[0], place), order};
    }
    if (cls == OpClass::contract) {
      if (lists.size() != 4) expect_lists(2, 2, "the axes of both, and the axes of both that are kept in pairs,");
      Dot dot{.a = axes(lists[0], place), .b = axes(lists[1], place), .order = order};
      if (lists.size() == 4) dot.batch_a = axes(lists[2], place), dot.batch_b = axes(lists[3], place);
      return dot;
    }
    if (op == Op::scatter_add) {
      expect_lists(1, 1, "a number of rows");
      if (lists[0].size() != 1 || lists[0][0].batched) fail(place, "a number of rows is an integer");
      return Scatter{lists[0][0].count};
    }
    if (op == Op::point) {
      expect_lists(1, 1, "a number");
      return Numbered{single(lists, 0, 0, place)};
    }
    if (op == Op::transpose) {
      expect_lists(1, 1, "the order of axes");
      return Transpose{axes(lists[0], place)};
    }
    if (op == Op::concat) {
      expect_lists(1, 1, "an axis");
      return Concat{single_axis(lists[0], place)};
    }
    if (op == Op::slice || op == Op::pad) return part_attributes(op, lists, shape, place);
    if (op == Op::window) {
      expect_lists(2, 4, "an axis, a size, a stride and a dilation");
      return Window{single_axis(lists[0], place), single(lists, 1, 1, place), single(lists, 2, 1, place),
                    single(lists, 3, 1, place)};
    }
    if (op == Op::reshape || op == Op::broadcast) {
      expect_lists(1, op == Op::broadcast ? 2 : 1, "a shape");
      shape = this->shape(lists[0], place);
    } else {
      expect_lists(0, 0, "nothing");
    }
    if (op != Op::broadcast) return NoAttributes{};
    return Broadcast{lists.size() == 2 ? axes(lists[1], place) : std::vector<int>{}};
  }

  Lexer lexer_;
  Token token_, ahead_;
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
