// Derived arithmetic as algebra: a value is a sum of terms, a term is a rational coefficient times powers of atoms, and
// each factor says by index where its atom's axes lie in the value. So broadcasts vanish (an index that a factor does
// not have), a transpose is an order of indices, and what is constant along a summed index can be seen and pulled out.
//
// Atoms are nodes, sums over indices, and sums of terms that are kept together as one factor. Equal atoms are one
// number, so equal terms are found by comparing numbers.
//
// The laws of floats that this allows itself, on derived nodes only: real arithmetic on what a derivative is made of.
// Terms are reordered and merged, factors cancel (x * (y / x) is y, its continuous extension where x is 0, inf or NaN),
// 0 * x is 0 and x + 0 is x. None of these is applied to what a user wrote: there x + 0 is not x (-0), x * 0 is not 0
// (NaN, inf), and (x - m) + m is not x. A user's node is an atom. Only a product, a quotient, a sign, a sum over axes
// and 1 - x may be read as what they say, to cancel against derived factors.
#pragma once

#include <compare>
#include <cstdint>
#include <map>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include "ir/builder.h"
#include "passes/facts.h"
#include "passes/passes.h"
#include "passes/record.h"
#include "passes/view.h"

namespace nnc {

/// An exact fraction in lowest terms with a positive denominator. Overflow throws BudgetSpent: the value stays as it
/// was.
struct Rational {
  std::int64_t numerator = 0, denominator = 1;
  auto operator<=>(const Rational&) const = default;
};
Rational operator+(Rational a, Rational b);
Rational operator*(Rational a, Rational b);
Rational reciprocal(Rational a);
inline Rational negated(Rational a) { return {-a.numerator, a.denominator}; }
/// The fraction that a floating-point number is, where numerator and denominator are small.
std::optional<Rational> as_rational(double value);

/// An expression has become too large to be worth it.
struct BudgetSpent {};

struct Factor {
  int atom = 0;
  std::vector<int> at;  ///< for each axis of the atom, the index it follows; -1 for an axis of extent 1
  int power = 1;
  auto operator<=>(const Factor&) const = default;
};

/// Whether two factors are the same atom in the same place, whatever their powers.
inline bool same_place(const Factor& a, const Factor& b) { return a.atom == b.atom && a.at == b.at; }

struct Term {
  Rational coefficient{1, 1};
  std::vector<Factor> factors;  ///< sorted
  auto operator<=>(const Term&) const = default;
};

/// A sum of terms, sorted; no terms are 0. Its indices are the axes of the value that it stands for.
using Poly = std::vector<Term>;

struct Atom {
  enum class Kind : std::uint8_t { node, sum, unit };
  Kind kind{};
  NodeId node = 0;          ///< of a node: its id in the builder
  Poly inner;               ///< of a sum: what is summed; of a unit: its terms
  Shape frame;              ///< extents of the inner's indices
  std::vector<int> summed;  ///< of a sum: the indices that are summed, ascending
  Shape shape;              ///< the atom's own axes: those of the node, the kept ones of a sum, the frame of a unit
  std::int64_t terms = 0;   ///< how many the inner has in all
};

/// The algebra over the nodes of one builder.
class Algebra {
 public:
  Algebra(Builder& builder, const SimplifyOptions& options, const std::vector<Obligation>& obligations);

  /// What a node is: its view, sign, product, quotient or sum over axes where a law lets it be read so, else an atom.
  const Poly& read(NodeId id);

  Poly number(Rational value) const;
  Poly add(const Poly& a, const Poly& b);
  /// a - b, as one factor where nothing of it cancels: 1 - t t is computed first, whatever it is added to.
  Poly subtract(const Poly& a, const Poly& b, const Shape& frame);
  Poly negate(const Poly& a) const;
  Poly multiply(const Poly& a, const Poly& b, const Shape& frame);
  Poly divide(const Poly& a, const Poly& b, const Shape& frame);
  Poly power(const Poly& a, int exponent, const Shape& frame);
  Poly view(const Poly& a, const View& step) const;
  Poly sum(const Poly& a, const Shape& frame, const std::vector<int>& axes, DType dtype);

  /// The terms multiplied out, but for the atoms that stay `closed`; with `complements`, 1 - x and s(-x) are opened
  /// too. Nothing where it is the same. Adds to `opened_atoms`, if given, the atoms that were opened.
  std::optional<Poly> multiplied_out(const Poly& a, bool complements, const std::set<int>& closed = {},
                                     std::set<int>* opened_atoms = nullptr);

  /// The cheapest nodes that this knows for a value of that type.
  Value build(const Poly& a, Type type);

  /// Whether all terms share a factor or a number, which `build` takes out of them.
  bool has_common_factor(const Poly& a) const {
    return a.size() > 1 && law("factor-out") && common_factor(a) != Term{};
  }
  /// How many terms it has in all, those of its factors that are sums of terms included.
  std::int64_t term_count(const Poly& a) const;
  /// The value as nodes of the record, plainly: each term a quotient of two products. Of that type, or of as many axes
  /// as it has indices.
  NodeId told(const Poly& a, const Type& type);
  const Atom& atom(int number) const { return atoms_[number]; }

  /// Laws used since the last call, in order.
  LawLog take_log();
  /// Arithmetic steps taken in all. What follows has its own budget of them; more throws BudgetSpent.
  std::int64_t steps() const { return steps_; }
  void begin_value() { budget_end_ = steps_ + step_budget; }

 private:
  struct AtomKey {
    Poly inner;
    std::vector<std::int64_t> frame;
    std::vector<int> summed;
    auto operator<=>(const AtomKey&) const = default;
  };
  /// What is being built: the extents of its indices and its element type.
  struct Frame {
    Shape shape;
    DType dtype{};
  };
  /// A value over some of the frame's indices, ascending, one axis for each.
  struct Placed {
    Value value;
    std::vector<int> indices;
  };
  /// Factors over one set of indices: those above and those below the line.
  struct Fraction {
    std::vector<int> indices;
    std::optional<Value> numerator, denominator;
    /// Higher powers, multiplied last: a x x is 0 for a = 0 where a (x x) may be 0 * inf.
    std::vector<Value> later;
  };

  bool law(std::string_view name) const { return in_force_.count(std::string(name)) > 0; }
  /// A value as it stands in a law: terms, summed over some of their indices, times another term.
  struct Said {
    Poly terms;
    std::vector<int> summed = {};
    Term times = {};
  };
  /// Notes the use of a law. The frame says how long indices are that no factor has.
  void used(std::string_view name, const Said& before, const Said& after, const Shape& frame = {});
  void note_extents(const Poly& a, std::map<int, Extent>& extents, std::optional<DType>& dtype) const;
  Value told(const Said& a, const std::map<int, Extent>& extents, const std::vector<int>& indices, DType dtype);
  Placed told_sum(const Poly& a, DType dtype);
  Placed told_term(const Term& a, DType dtype);
  Placed told_factor(const Factor& factor, DType dtype);
  Value told_atom(int number, DType dtype);
  void step(std::size_t count = 1);

  Poly read_afresh(NodeId id);
  std::optional<Poly> read_product(NodeId id);
  std::optional<Poly> read_sum(NodeId id);
  Poly atom_of_node(NodeId id);
  int intern(Atom atom);
  Factor factor_of(int atom) const;

  Term product(const Term& a, const Term& b, int sign);
  Poly merged(std::vector<Term> terms);
  Term as_term(const Poly& a, const Shape& frame);
  Term common_factor(const Poly& a) const;
  Term without(const Term& a, const Term& common) const;
  Poly sum_of_term(const Term& a, const Shape& frame, const std::vector<int>& axes, DType dtype);
  bool is_one_hot(const std::vector<Factor>& factors, int axis);
  Poly without_axes(const Poly& a, const std::vector<int>& axes) const;
  std::optional<Poly> opened(const Factor& factor, bool complements);
  std::optional<NodeId> complement_of(NodeId id);

  Placed build_sum(const Poly& a, const Frame& frame);
  std::optional<Placed> build_grouped(const Poly& a, const Frame& frame);
  Placed build_term(Term a, std::vector<Placed> more, const Frame& frame);
  Value build_atom(int number, DType dtype);
  Placed build_factor(const Factor& factor, const Frame& frame);
  bool fills(const Factor& factor, const Frame& frame) const;
  bool take_into_sum(Term& a);
  std::optional<Factor> in_sum(const Factor& factor, const Factor& total) const;
  bool has_written_quotient(const Term& a, const Factor& divisor);
  std::optional<Placed> take_written_product(Term& a, const Frame& frame);
  std::optional<Placed> take_normalised_quotient(Term& a, const Frame& frame);
  bool is_summand(const Factor& part, const Factor& total) const;
  bool is_share(const Factor& part, const Factor& total);
  std::optional<std::vector<int>> match(const Term& pattern, const Term& in, int rank) const;
  void turn_difference(Term& a);
  void merge_into(Fraction& wider, const Fraction& narrower, const Frame& frame);
  Placed together(Op op, const Placed& a, const Placed& b, const Frame& frame);
  Value spread_to(const Placed& x, const std::vector<int>& indices, const Frame& frame);

  Builder& builder_;
  FactTable facts_;
  std::set<std::string> in_force_;
  std::vector<Atom> atoms_;
  std::map<NodeId, int> atom_of_node_;
  std::map<AtomKey, int> atom_of_key_;
  std::map<NodeId, Poly> read_;
  std::map<int, std::vector<NodeId>>
      products_of_;                     ///< written products and quotients, by the atom of their rarest factor
  std::map<int, NodeId> written_sums_;  ///< the written node that a sum is, by its atom
  Record* record_;
  Record::Reader nodes_;  ///< the builder's nodes in the record
  LawLog log_;
  static constexpr std::int64_t step_budget = 200'000;  ///< for one value
  std::int64_t steps_ = 0, budget_end_ = step_budget;
};

}  // namespace nnc
