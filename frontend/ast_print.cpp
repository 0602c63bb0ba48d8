// The syntax tree as text: a line for each declaration and statement, indented by what it stands in; expressions in
// prefix form, (+ a (* b c)), so that what hangs on what can be seen. Places and comments are not part of it: two files
// with one text mean the same.
#include <fmt/format.h>

#include <cmath>

#include "frontend/ast.h"

namespace nnc {
namespace {

using namespace ast;

template <class... Fs>
struct Overloaded : Fs... {
  using Fs::operator()...;
};
template <class... Fs>
Overloaded(Fs...) -> Overloaded<Fs...>;

const char* spelling(BinaryOp op) {
  switch (op) {
    case BinaryOp::logical_or:
      return "or";
    case BinaryOp::logical_and:
      return "and";
    case BinaryOp::equal:
      return "==";
    case BinaryOp::not_equal:
      return "!=";
    case BinaryOp::less:
      return "<";
    case BinaryOp::less_equal:
      return "<=";
    case BinaryOp::greater:
      return ">";
    case BinaryOp::greater_equal:
      return ">=";
    case BinaryOp::add:
      return "+";
    case BinaryOp::subtract:
      return "-";
    case BinaryOp::multiply:
      return "*";
    case BinaryOp::divide:
      return "/";
    case BinaryOp::floor_divide:
      return "//";
    case BinaryOp::matmul:
      return "@";
    case BinaryOp::power:
      return "^";
  }
  return "?";
}

const char* spelling(TypeExpr::Base base) {
  switch (base) {
    case TypeExpr::Base::integer:
      return "int";
    case TypeExpr::Base::floating:
      return "float";
    case TypeExpr::Base::boolean:
      return "bool";
    case TypeExpr::Base::string:
      return "string";
    case TypeExpr::Base::f32:
      return "f32";
    case TypeExpr::Base::f64:
      return "f64";
    case TypeExpr::Base::i32:
      return "i32";
  }
  return "?";
}

const char* spelling(ast::Variable::Kind kind) {
  switch (kind) {
    case ast::Variable::Kind::param:
      return "param";
    case ast::Variable::Kind::state:
      return "state";
    case ast::Variable::Kind::carry:
      return "carry";
  }
  return "?";
}

std::string quoted(const std::string& text) {
  std::string out = "\"";
  for (const char c : text) {
    if (c == '\n')
      out += "\\n";
    else if (c == '\t')
      out += "\\t";
    else
      (out += c == '"' || c == '\\' ? "\\" : "") += c;
  }
  return out + "\"";
}

class TreePrinter {
 public:
  std::string file(const Ast& ast) {
    for (const Declaration& declaration : ast.declarations) decl(declaration);
    return std::move(out_);
  }

 private:
  // ---- expressions

  std::string expr(const ExprPtr& e) { return e ? expr(*e) : "()"; }

  std::string all(const std::vector<ExprPtr>& list) {
    std::string out;
    for (const ExprPtr& e : list) out += " " + expr(e);
    return out;
  }

  std::string expr(const Expr& e) {
    return std::visit(
        Overloaded{
            [](const ast::Number& n) {
              return n.integer ? fmt::format("{:.0f}", n.value) : fmt::format("{:#}", n.value);
            },
            [](const String& s) { return quoted(s.value); },
            [](const Boolean& b) { return std::string(b.value ? "true" : "false"); },
            [](const NameUse& n) { return n.name; }, [](const Ellipsis&) { return std::string("..."); },
            [](const NewAxis&) { return std::string("_"); },
            [&](const Slice& s) { return fmt::format("(: {} {} {})", expr(s.begin), expr(s.end), expr(s.step)); },
            [&](const Unary& u) {
              return fmt::format("({} {})", u.op == UnaryOp::negate ? "-" : "not", expr(u.operand));
            },
            [&](const Binary& b) { return fmt::format("({} {} {})", spelling(b.op), expr(b.left), expr(b.right)); },
            [&](const Pipe& p) { return fmt::format("(|> {} {})", expr(p.left), expr(p.right)); },
            [&](const Call& c) { return fmt::format("(call {}{})", expr(c.callee), arguments(c)); },
            [&](const Index& i) { return fmt::format("(index {}{})", expr(i.base), all(i.indices)); },
            [&](const Member& m) { return fmt::format("(. {} {})", expr(m.base), m.member.text); },
            [&](const ast::List& l) { return fmt::format("(list{})", all(l.elements)); },
            [&](const Comprehension& c) { return fmt::format("(list {}{})", expr(c.element), loops(c)); },
            [&](const IfExpr& i) { return fmt::format("(if {} {} {})", expr(i.condition), expr(i.yes), expr(i.no)); }},
        e.form);
  }

  std::string arguments(const Call& call) {
    std::string out;
    for (const Argument& a : call.arguments)
      out += fmt::format(" {}{}", a.name ? a.name->text + "=" : "", expr(a.value));
    return out;
  }
  std::string loops(const Comprehension& comprehension) {
    std::string out;
    for (const Comprehension::Loop& loop : comprehension.loops)
      out += fmt::format(" (for {} {})", loop.variable.text, expr(loop.over));
    return out;
  }

  std::string type(const TypeExpr& t) {
    if (!t.tensor) return spelling(t.base);
    std::string dims;
    for (const Dim& dim : t.dims) {
      dims += dims.empty() ? "" : ", ";
      dims += dim.kind == Dim::Kind::ellipsis ? "..." : dim.kind == Dim::Kind::stretch ? "_" : expr(dim.value);
    }
    return fmt::format("{}[{}]", spelling(t.base), dims);
  }

  static std::string joined(const std::vector<ast::Name>& names, const char* between) {
    std::string out;
    for (const ast::Name& name : names) (out += out.empty() ? "" : between) += name.text;
    return out;
  }

  // ---- lines

  void line(const std::string& text) { out_ += std::string(2 * depth_, ' ') + text + "\n"; }
  template <class Body>
  void below(const std::string& head, Body&& body) {
    line(head);
    ++depth_;
    body();
    --depth_;
  }

  void block(const Block& b) {
    for (const Statement& s : b.statements) statement(s);
  }

  void let(const Let& l) {
    line(fmt::format("let {}{} = {}", joined(l.names, ", "), l.type ? ": " + type(*l.type) : "", expr(l.value)));
  }

  void statement(const Statement& s) {
    std::visit(
        Overloaded{[&](const Let& l) { let(l); },
                   [&](const If& i) {
                     below("if " + expr(i.condition), [&] { block(i.yes); });
                     if (i.no) below("else", [&] { block(*i.no); });
                   },
                   [&](const Return& r) { line("return" + all(r.values)); },
                   [&](const ast::Variable& v) {
                     line(fmt::format("{} {}: {} = {}", spelling(v.kind), v.name.text, type(v.type), expr(v.value)));
                   },
                   [&](const Update& u) { line(fmt::format("update {} = {}", u.name.text, expr(u.value))); },
                   [&](const Expect& e) { line("expect " + expr(e.value)); }},
        s.form);
  }

  // ---- declarations

  void params(const char* what, const std::vector<Param>& list) {
    for (const Param& p : list)
      line(fmt::format("{} {}: {}{}", what, p.name.text, type(p.type), p.value ? " = " + expr(p.value) : ""));
  }
  void results(const std::vector<TypeExpr>& list) {
    for (const TypeExpr& t : list) line("result " + type(t));
  }
  void setting(const Setting& s) {
    line(fmt::format("{}{} = {}", joined(s.keys, ", "), s.path.empty() ? "" : "(" + joined(s.path, ".") + ")",
                     expr(s.value)));
  }

  void decl(const Declaration& declaration) {
    std::visit(Overloaded{[&](const Import& d) { line("import " + quoted(d.path)); },
                          [&](const Const& d) { line(fmt::format("const {} = {}", d.name.text, expr(d.value))); },
                          [&](const Function& d) { body("fn", d); }, [&](const Model& d) { body("model", d); },
                          [&](const Layer& d) {
                            below("layer " + d.name.text, [&] {
                              params("setting", d.settings);
                              params("input", d.inputs);
                              results(d.results);
                              block(d.body);
                            });
                          },
                          [&](const Optimizer& d) {
                            below("optimizer " + d.name.text, [&] {
                              params("setting", d.settings);
                              params("input", d.inputs);
                              line("result " + type(d.result));
                              block(d.body);
                            });
                          },
                          [&](const Data& d) {
                            below("data " + d.name.text, [&] {
                              for (const Datum& datum : d.data) this->datum(datum);
                            });
                          },
                          [&](const Train& d) {
                            below(fmt::format("train {} on {}{}", joined(d.models, ", "), d.data.text,
                                              d.as ? " as " + d.as->text : ""),
                                  [&] {
                                    for (const Item& item : d.items) this->item(item);
                                  });
                          },
                          [&](const Test& d) {
                            below("test " + quoted(d.title), [&] {
                              for (const Check& check : d.checks) this->check(check);
                            });
                          }},
               declaration.form);
  }

  template <class F>
  void body(const char* kind, const F& d) {
    below(fmt::format("{} {}", kind, d.name.text), [&] {
      params("input", d.inputs);
      results(d.results);
      block(d.body);
    });
  }

  void datum(const Datum& d) {
    std::visit(Overloaded{[&](const Let& l) { let(l); },
                          [&](const ColumnDef& c) {
                            line(fmt::format("column {}: {} = {}", c.name.text, type(c.type), expr(c.value)));
                          },
                          [&](const Setting& s) { setting(s); }},
               d.form);
  }
  void item(const Item& i) {
    std::visit(Overloaded{[&](const Let& l) { let(l); },
                          [&](const Measure& m) {
                            line(fmt::format("{} {} = {}", m.kind == Measure::Kind::metric ? "metric" : "output",
                                             m.name.text, expr(m.value)));
                          },
                          [&](const Setting& s) { setting(s); }},
               i.form);
  }
  void check(const Check& c) {
    std::visit(
        Overloaded{[&](const Let& l) { let(l); },
                   [&](const ast::Set& s) { line(fmt::format("set {} = {}", joined(s.path, "."), expr(s.value))); },
                   [&](const Gradcheck& g) { line("gradcheck " + expr(g.value)); },
                   [&](const Expect& e) {
                     line(fmt::format("expect {}{}", expr(e.value), e.within ? " within " + expr(e.within) : ""));
                   }},
        c.form);
  }

  std::string out_;
  std::size_t depth_ = 0;
};

}  // namespace

std::string print(const Ast& ast) { return TreePrinter().file(ast); }

}  // namespace nnc
