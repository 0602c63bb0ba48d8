#include "codegen/packs.h"

#include <algorithm>
#include <bit>
#include <functional>
#include <optional>
#include <set>

namespace nnc {

namespace {

using Members = std::vector<ScalarId>;

/// So deep are two results compared before they are tried as lanes of one pack.
constexpr int depth_of_likeness = 3;

bool is_leaf(ScalarOp op) { return op == ScalarOp::input || op == ScalarOp::constant; }

/// What it costs to bring a single value into a vector, or out of one, in additions. More than one: the next step of a
/// small net waits for these values.
constexpr int moving = 2;

/// What an instruction costs, in additions.
int weight(ScalarOp op) {
  if (op == ScalarOp::div) return 4;
  return op == ScalarOp::sqrt ? 5 : 1;
}

bool all_equal(const Members& members) {
  return std::ranges::all_of(members, [&](ScalarId id) { return id == members.front(); });
}

class Packer {
 public:
  Packer(const ScalarProgram& body, const std::vector<bool>& single, int lanes)
      : body_(body), single_(single), lanes_(static_cast<std::size_t>(lanes)) {
    packs_.pack_of.assign(body.code.size(), -1);
    packs_.taken_out.assign(body.code.size(), false);
  }

  Packs run() {
    for (const Members& group : lanes_ > 1 ? groups_of_results() : std::vector<Members>())
      for (std::size_t first = 0; first + 1 < group.size(); first += lanes_)
        try_pack(filled(Members(group.begin() + static_cast<std::ptrdiff_t>(first),
                                group.begin() + static_cast<std::ptrdiff_t>(std::min(first + lanes_, group.size())))));
    note_taken_out();
    return std::move(packs_);
  }

 private:
  const ScalarInstruction& at(ScalarId id) const { return body_.code[id]; }

  bool may_pack(ScalarId id) const {
    return single_[id] && !is_leaf(at(id).op) && at(id).op != ScalarOp::philox && packs_.pack_of[id] < 0;
  }

  bool alike(ScalarId a, ScalarId b, int depth) const {
    if (at(a).type != at(b).type) return false;
    if (depth == 0 || a == b || is_leaf(at(a).op) || is_leaf(at(b).op)) return true;
    if (at(a).op != at(b).op) return false;
    for (int i = 0; i < operand_count(at(a).op); ++i)
      if (!alike(at(a).operands[i], at(b).operands[i], depth - 1)) return false;
    return true;
  }

  /// The results that are alike, those first that come last in the body: the others may be parts of them, and are then
  /// packed in their order.
  std::vector<Members> groups_of_results() const {
    std::vector<Members> groups;
    std::vector<bool> seen(body_.code.size(), false);
    for (const ScalarId id : body_.results) {
      if (seen[id] || !may_pack(id) || at(id).type == ScalarType::boolean) continue;
      seen[id] = true;
      const auto like = [&](const Members& group) {
        return at(group.front()).op == at(id).op && alike(group.front(), id, depth_of_likeness);
      };
      if (const auto group = std::ranges::find_if(groups, like); group != groups.end())
        group->push_back(id);
      else
        groups.push_back({id});
    }
    std::ranges::sort(groups, std::greater(), [](const Members& group) { return std::ranges::max(group); });
    return groups;
  }

  /// As many lanes as the smallest vector has, or a power of two of them; the last member in those left over.
  Members filled(Members members) const {
    const std::size_t smallest = 16 / size_of(at(members.front()).type);
    members.resize(std::min(lanes_, std::max(smallest, std::bit_ceil(members.size()))), members.back());
    return members;
  }

  void try_pack(const Members& members) {
    if (!std::ranges::all_of(members, [&](ScalarId id) { return may_pack(id); })) return;
    const std::size_t before = packs_.packs.size();
    const int outside = wanted_outside();
    gathered_.clear();
    const int saved = saved_by(members);
    if (packs_.packs.size() == before) return;
    if (saved <= moving * (wanted_outside() - outside) || !in_order()) forget_after(before);
  }

  void forget_after(std::size_t count) {
    for (std::size_t i = count; i < packs_.packs.size(); ++i)
      for (const ScalarId id : packs_.packs[i].members) packs_.pack_of[id] = -1;
    packs_.packs.resize(count);
  }

  bool is_pack(const Members& members) const {
    const int pack = packs_.pack_of[members.front()];
    return pack >= 0 && packs_.packs[static_cast<std::size_t>(pack)].members == members;
  }

  /// What it saves to have these as a vector, packed where that is best; less than nothing where they are gathered,
  /// which is done once.
  int saved_by(const Members& members) {
    if (all_equal(members) || is_pack(members) || gathered_.contains(members)) return 0;
    const int gathered = -moving * distinct(members);
    const std::size_t before = packs_.packs.size();
    const std::optional<int> packed = saved_by_pack(members);
    const bool only_packed = at(members.front()).type == ScalarType::boolean;
    if (packed && (only_packed || *packed > gathered)) return *packed;
    forget_after(before);
    gathered_.insert(members);
    return gathered;
  }

  static int distinct(const Members& members) {
    return static_cast<int>(std::ranges::find(members, members.back()) - members.begin()) + 1;
  }

  /// Makes a pack, with those of its operands. Nothing where it can't be: truth values are never gathered.
  std::optional<int> saved_by_pack(const Members& members) {
    const ScalarInstruction& first = at(members.front());
    for (std::size_t lane = 0; lane < members.size(); ++lane) {
      const ScalarId id = members[lane];
      const bool repeated = lane > 0 && id == members[lane - 1];
      if (!may_pack(id) || at(id).op != first.op || at(id).type != first.type) return std::nullopt;
      if (at(at(id).operands[0]).type != at(first.operands[0]).type) return std::nullopt;
      if (!repeated && std::find(members.begin(), members.begin() + static_cast<std::ptrdiff_t>(lane), id) !=
                           members.begin() + static_cast<std::ptrdiff_t>(lane))
        return std::nullopt;
    }
    int saved = weight(first.op) * (distinct(members) - 1);
    for (int i = 0; i < operand_count(first.op); ++i) {
      const Members operands = operands_of(members, i);
      saved += saved_by(operands);
      if (at(operands.front()).type == ScalarType::boolean && !all_equal(operands) && !is_pack(operands))
        return std::nullopt;
    }
    if (!std::ranges::all_of(members, [&](ScalarId id) { return may_pack(id); })) return std::nullopt;
    for (const ScalarId id : members) packs_.pack_of[id] = static_cast<int>(packs_.packs.size());
    packs_.packs.push_back({members, std::ranges::max(members)});
    return saved;
  }

  Members operands_of(const Members& members, int operand) const {
    Members operands;
    for (const ScalarId id : members) operands.push_back(at(id).operands[operand]);
    return operands;
  }

  /// Calls with each instruction that uses a member of a pack alone, and that member; results are used by the end.
  template <typename Use>
  void each_single_use(Use use) const {
    for (ScalarId id = 0; id < body_.code.size(); ++id) {
      if (packs_.pack_of[id] >= 0) continue;
      for (int i = 0; i < operand_count(at(id).op); ++i) use(id, at(id).operands[i]);
    }
    for (const Pack& pack : packs_.packs)
      for (int i = 0; i < operand_count(at(pack.members.front()).op); ++i)
        if (const Members operands = operands_of(pack.members, i); !is_pack(operands))
          for (const ScalarId operand : operands) use(pack.last, operand);
    for (const ScalarId id : body_.results) use(static_cast<ScalarId>(body_.code.size()), id);
  }

  /// Whether every member that is used alone is known by then, and no truth value is.
  bool in_order() const {
    bool known = true;
    each_single_use([&](ScalarId user, ScalarId used) {
      const int pack = packs_.pack_of[used];
      if (pack < 0) return;
      known = known && packs_.packs[static_cast<std::size_t>(pack)].last < user && at(used).type != ScalarType::boolean;
    });
    return known;
  }

  void note_taken_out() {
    packs_.taken_out.assign(body_.code.size(), false);
    each_single_use([&](ScalarId, ScalarId used) { packs_.taken_out[used] = packs_.pack_of[used] >= 0; });
  }

  int wanted_outside() {
    note_taken_out();
    return static_cast<int>(std::ranges::count(packs_.taken_out, true));
  }

  const ScalarProgram& body_;
  const std::vector<bool>& single_;
  std::size_t lanes_;
  Packs packs_;
  std::set<Members> gathered_;  ///< of the pack that is tried
};

}  // namespace

Packs pack_alike(const ScalarProgram& body, const std::vector<bool>& single, int lanes) {
  return Packer(body, single, lanes).run();
}

}  // namespace nnc
