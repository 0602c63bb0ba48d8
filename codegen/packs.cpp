#include "codegen/packs.h"

#include <algorithm>
#include <bit>
#include <functional>
#include <limits>
#include <map>
#include <optional>
#include <set>

namespace nnc {

namespace {

using Members = std::vector<ScalarId>;

/// So deep are two results compared before they are tried as lanes of one pack.
constexpr int depth_of_likeness = 3;

constexpr ScalarId nobody = std::numeric_limits<ScalarId>::max();

bool is_leaf(ScalarOp op) { return op == ScalarOp::input || op == ScalarOp::constant; }

/// What it costs to bring a single value into a vector, or out of one, or to change the order of lanes, in additions.
/// More than one: the next step of a small net waits for these values.
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
  Packer(const ScalarProgram& body, const SingleValues& values, int lanes)
      : body_(body), known_(values), lanes_(static_cast<std::size_t>(lanes)), homes_(homes_of_all()) {
    packs_.pack_of.assign(body.code.size(), -1);
    packs_.taken_out.assign(body.code.size(), false);
  }

  Packs run() {
    for (const Members& group : lanes_ > 1 ? groups_of_results() : std::vector<Members>())
      for (const Members& members : in_lanes(group)) try_pack(members);
    note_taken_out();
    return std::move(packs_);
  }

 private:
  const ScalarInstruction& at(ScalarId id) const { return body_.code[id]; }

  bool may_pack(ScalarId id) const {
    return known_.single[id] && !is_leaf(at(id).op) && at(id).op != ScalarOp::philox && packs_.pack_of[id] < 0;
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

  /// A group's members as the lanes of packs: each in the lane in which its sums lie, where all of the group's do.
  std::vector<Members> in_lanes(const Members& group) const {
    std::map<int, Members> placed;
    bool all = true;
    for (const ScalarId id : group) {
      const Home& home = homes_[id];
      all = all && home.vector >= 0 && static_cast<std::size_t>(home.width) <= lanes_;
      if (!all) break;
      Members& members = placed[home.vector];
      members.resize(static_cast<std::size_t>(home.width), nobody);
      ScalarId& lane = members[static_cast<std::size_t>(home.lane)];
      all = lane == nobody;
      lane = id;
    }
    std::vector<Members> packs;
    if (all) {
      for (const auto& [vector, members] : placed)
        if (count_of(members) > 1) packs.push_back(members);
      return packs;
    }
    for (std::size_t first = 0; first + 1 < group.size(); first += lanes_)
      packs.push_back(
          filled(Members(group.begin() + static_cast<std::ptrdiff_t>(first),
                         group.begin() + static_cast<std::ptrdiff_t>(std::min(first + lanes_, group.size())))));
    return packs;
  }

  static std::ptrdiff_t count_of(const Members& members) {
    return std::ranges::count_if(members, [](ScalarId id) { return id != nobody; });
  }

  /// Where the first input lies that each instruction is made of and that is a lane of a vector.
  std::vector<Home> homes_of_all() const {
    std::vector<Home> homes = known_.homes;
    for (std::size_t id = 0; id < homes.size(); ++id)
      for (int i = 0; i < operand_count(body_.code[id].op) && homes[id].vector < 0; ++i)
        homes[id] = homes[body_.code[id].operands[i]];
    return homes;
  }

  /// Lanes that are nobody's repeat the one before, or the first that is somebody's.
  static Members without_gaps(Members members) {
    ScalarId last = *std::ranges::find_if(members, [](ScalarId id) { return id != nobody; });
    for (ScalarId& id : members) last = id = id == nobody ? last : id;
    return members;
  }

  /// As many lanes as the smallest vector has, or a power of two of them.
  Members filled(Members members) const {
    const std::size_t smallest = 16 / size_of(at(members.front()).type);
    members.resize(std::min(lanes_, std::max(smallest, std::bit_ceil(members.size()))), nobody);
    return members;
  }

  void try_pack(const Members& lanes) {
    nobodys_.clear();
    for (const ScalarId id : lanes) nobodys_.push_back(id == nobody);
    const Members members = without_gaps(lanes);
    if (!std::ranges::all_of(members, [&](ScalarId id) { return may_pack(id); })) return;
    const std::size_t before = packs_.packs.size(), kept = kept_.size();
    const int outside = moved_out();
    gathered_.clear();
    const int saved = saved_by(members);
    if (packs_.packs.size() == before) return;
    if (saved <= moving * (moved_out() - outside) || !in_order()) forget_after(before, kept);
  }

  /// Undoes all packs but the first, and what they keep.
  void forget_after(std::size_t count, std::size_t kept) {
    for (std::size_t i = count; i < packs_.packs.size(); ++i)
      for (const ScalarId id : packs_.packs[i].members) packs_.pack_of[id] = -1;
    packs_.packs.resize(count);
    for (; kept_.size() > kept; kept_.pop_back()) kept_homes_.erase(kept_.back());
  }

  /// Makes their lanes the homes of the kept elements that these instructions become, if all do.
  bool keep(const Members& members) {
    std::set<int> elements;
    for (std::size_t lane = 0; lane < members.size(); ++lane) {
      const int element = known_.writes[members[lane]];
      if (element < 0 || kept_homes_.contains(element)) return false;
      if (!nobodys_[lane] && !elements.insert(element).second) return false;
    }
    for (std::size_t lane = 0; lane < members.size(); ++lane) {
      if (nobodys_[lane]) continue;
      kept_.push_back(known_.writes[members[lane]]);
      kept_homes_[kept_.back()] = {static_cast<int>(lane), members.front()};
    }
    return true;
  }

  /// What it costs to put values together that are not packed. Those that lie in one vector need no more than another
  /// order.
  int cost_of_gathering(const Members& members) const {
    if (std::ranges::all_of(members, [&](ScalarId id) { return at(id).op == ScalarOp::constant; })) return 0;
    std::set<std::pair<bool, int>> vectors;
    bool in_place = true;
    for (std::size_t lane = 0; lane < members.size(); ++lane) {
      if (nobodys_[lane]) continue;
      const Home& home = known_.homes[members[lane]];
      const auto kept = kept_homes_.find(known_.reads[members[lane]]);
      const bool is_kept = kept != kept_homes_.end();
      if (!is_kept && home.vector < 0) return moving * distinct(members);
      vectors.emplace(is_kept, is_kept ? static_cast<int>(kept->second.owner) : home.vector);
      in_place = in_place && (is_kept ? kept->second.lane : home.lane) == static_cast<int>(lane);
    }
    if (vectors.size() > 1) return moving * std::min(distinct(members), 2 * static_cast<int>(vectors.size()));
    return in_place ? 0 : moving;
  }

  bool is_pack(const Members& members) const {
    const int pack = packs_.pack_of[members.front()];
    return pack >= 0 && packs_.packs[static_cast<std::size_t>(pack)].members == members;
  }

  /// What it saves to have these as a vector, packed where that is best; less than nothing where they are gathered,
  /// which is done once.
  int saved_by(const Members& members) {
    if (all_equal(members) || is_pack(members) || gathered_.contains(members)) return 0;
    const int gathered = -cost_of_gathering(members);
    const std::size_t before = packs_.packs.size(), kept = kept_.size();
    const std::optional<int> packed = saved_by_pack(members);
    const bool only_packed = at(members.front()).type == ScalarType::boolean;
    if (packed && (only_packed || *packed > gathered)) return *packed;
    forget_after(before, kept);
    gathered_.insert(members);
    return gathered;
  }

  static int distinct(const Members& members) {
    return static_cast<int>(std::set<ScalarId>(members.begin(), members.end()).size());
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
    const bool kept = keep(members);
    for (int i = 0; i < operand_count(first.op); ++i) {
      const Members operands = operands_of(members, i);
      saved += saved_by(operands);
      if (at(operands.front()).type == ScalarType::boolean && !all_equal(operands) && !is_pack(operands))
        return std::nullopt;
    }
    if (!std::ranges::all_of(members, [&](ScalarId id) { return may_pack(id); })) return std::nullopt;
    for (const ScalarId id : members) packs_.pack_of[id] = static_cast<int>(packs_.packs.size());
    packs_.packs.push_back({members, nobodys_, std::ranges::max(members), kept});
    return saved;
  }

  Members operands_of(const Members& members, int operand) const {
    Members operands;
    for (const ScalarId id : members) operands.push_back(at(id).operands[operand]);
    return operands;
  }

  /// Whether all are lanes of vectors that are no packs: none of them is taken out by itself.
  bool in_vectors(const Members& members) const {
    return std::ranges::all_of(
        members, [&](ScalarId id) { return known_.homes[id].vector >= 0 || kept_homes_.contains(known_.reads[id]); });
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
        if (const Members operands = operands_of(pack.members, i); !is_pack(operands) && !in_vectors(operands))
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

  /// How many single values are taken out of vectors: of packs, those that are not kept in them, and of what is kept.
  int moved_out() const {
    std::set<ScalarId> moved;
    each_single_use([&](ScalarId user, ScalarId used) {
      const int pack = packs_.pack_of[used];
      const bool stays = user == body_.code.size() && pack >= 0 && packs_.packs[static_cast<std::size_t>(pack)].kept;
      if ((pack >= 0 && !stays) || (known_.single[used] && kept_homes_.contains(known_.reads[used])))
        moved.insert(used);
    });
    std::ptrdiff_t elsewhere = std::ranges::count_if(
        kept_, [&](int element) { return known_.wanted_alone[static_cast<std::size_t>(element)]; });
    return static_cast<int>(moved.size()) + static_cast<int>(elsewhere);
  }

  const ScalarProgram& body_;
  const SingleValues& known_;
  std::size_t lanes_;
  std::vector<Home> homes_;  ///< of all instructions: of what they are made of
  Packs packs_;
  struct KeptHome {
    int lane = 0;
    ScalarId owner = 0;  ///< the first member of the pack
  };
  std::map<int, KeptHome> kept_homes_;  ///< of the kept elements that are lanes of packs
  std::vector<int> kept_;               ///< these elements, in the order in which they became so
  std::set<Members> gathered_;          ///< of the pack that is tried
  std::vector<bool> nobodys_;           ///< its lanes that are nobody's
};

}  // namespace

Packs pack_alike(const ScalarProgram& body, const SingleValues& values, int lanes) {
  return Packer(body, values, lanes).run();
}

}  // namespace nnc
