#!/usr/bin/env bash
# Two commits by turns: microseconds of a step of each program as the one and the other compile it, round after round,
# so that what else the machine does meets both. Prints the least of each, the median of the rounds' ratios (NEW / OLD)
# and between which the middle half of these lies.
#   bench/turns.sh OLD NEW [FILE.nn[:ROWS]...] [-- OPTION...]
# OLD and NEW are commits, or nnc commands that are built already. A commit is built in a worktree of its own; the
# command stays in build/turns/COMMIT for the next time. Options are those of `nnc bench`; without any: --threads 1.
#   bench/turns.sh main~10 main bench/mnist_made.nn:128 -- --threads 2
# ROUNDS (15) and SECONDS_OF_ROUND (0.2) may be set.
set -euo pipefail
shopt -s inherit_errexit
cd "$(dirname "${BASH_SOURCE[0]}")/.."
[ $# -ge 2 ] || { sed -n '2,/^set/{/^set/d;s/^# \{0,1\}//;p}' "$0"; exit 2; }
old=$1 new=$2
shift 2
files=() options=(--threads 1)
while [ $# -gt 0 ] && [ "$1" != -- ]; do files+=("$1"); shift; done
[ $# -le 1 ] || options=("${@:2}")
[ ${#files[@]} -gt 0 ] || files=(bench/mnist_made.nn)

# command_of COMMIT|COMMAND: the path of its nnc.
command_of() {
  [ ! -x "$1" ] || [ -d "$1" ] || { realpath "$1"; return; }
  local commit tree kept
  commit=$(git rev-parse --verify --quiet "$1^{commit}") || { echo "turns.sh: $1 is no commit and no command" >&2; exit 1; }
  kept=$PWD/build/turns/$commit/nnc
  if [ ! -x "$kept" ]; then
    tree=$(mktemp -d)
    # However this subshell ends: a worktree that stayed behind would be in git's list for ever.
    trap 'git worktree remove --force "'"$tree"'/nnc" 2>/dev/null || true; rmdir "'"$tree"'"' EXIT
    git worktree add --quiet --detach "$tree/nnc" "$commit"
    (cd "$tree/nnc" && NNC_BUILD_DIR=build ./dev build >&2)
    mkdir -p "$(dirname "$kept")"
    cp "$tree/nnc/build/nnc" "$kept"
  fi
  echo "$kept"
}

# nanoseconds COMMAND FILE[:ROWS]: of a step, at the moments that took least.
nanoseconds() {
  local rows=()
  [[ $2 != *:* ]] || rows=(--rows "${2##*:}")
  "$1" bench "${2%%:*}" "${rows[@]}" "${options[@]}" --seconds "${SECONDS_OF_ROUND:-0.2}" --json |
    sed -n '1s/.*"ns_undisturbed": \([0-9.]*\).*/\1/p'
}

old=$(command_of "$old")
new=$(command_of "$new")
printf '%-32s %10s %10s %8s   %s\n' "microseconds" old new ratio "middle half"
for file in "${files[@]}"; do
  for ((round = 0; round < ${ROUNDS:-15}; round++)); do
    if ((round % 2)); then
      b=$(nanoseconds "$new" "$file") a=$(nanoseconds "$old" "$file")
    else
      a=$(nanoseconds "$old" "$file") b=$(nanoseconds "$new" "$file")
    fi
    [ -n "$a" ] && [ -n "$b" ] || { echo "turns.sh: no figure of $file" >&2; exit 1; }
    echo "$a $b"
  done | awk '{ print $2 / $1, $1, $2 }' | sort -g | awk -v file="$file" '
    END { if (NR == 0) exit 1 }
    { ratio[NR] = $1; if (NR == 1 || $2 < old) old = $2; if (NR == 1 || $3 < new) new = $3 }
    END {
      quarter = int((NR + 3) / 4)
      printf "%-32s %10.2f %10.2f %8.3f   %.3f to %.3f\n", file, old / 1e3, new / 1e3, ratio[int((NR + 1) / 2)],
        ratio[quarter], ratio[NR + 1 - quarter]
    }'
done
