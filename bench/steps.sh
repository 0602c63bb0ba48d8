#!/usr/bin/env bash
# The step of the MNIST network on made-up pictures: shares of the fma peak of the same moments, what threads gain, and
# how long it takes from exec to the first step. Prints figures, each with its goal and whether it is reached, and fails
# nothing.
#   bench/steps.sh [NNC [shares|threads|start]...]     the command to measure; default build/nnc; all three
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
nnc=$(realpath "${1:-build/nnc}")
[ $# -eq 0 ] || shift
parts=" ${*:-shares threads start} "
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
net=bench/mnist_made.nn
sed 's/adam(lr = 1e-3)/sgd(lr = 0.01)/' $net >"$folder/sgd.nn"
processors=$(nproc)
rounds=9

# field NAME: of a JSON line on stdin.
field() { sed -n "s/.*\"$1\": \([0-9.]*\).*/\1/p"; }
# bench FILE ROWS THREADS [PREFIX...]: ns of a step, GFLOP/s of the fma loop next to it and the step's share of that.
bench() {
  local file=$1 rows=$2 threads=$3 line
  shift 3
  line=$("$@" "$nnc" bench "$file" --rows "$rows" --threads "$threads" --seconds 0.3 --json | sed 's/"kernels".*//')
  echo "$(field ns_undisturbed <<<"$line") $(field peak_gflops <<<"$line") $(field share_of_peak <<<"$line")"
}
# middle_bench ...: that of five runs whose share is in the middle.
middle_bench() { for _ in 1 2 3 4 5; do bench "$@"; done | sort -g -k 3 | sed -n 3p; }

# verdict VALUE least|most GOAL: the goal, and whether it is reached.
verdict='function verdict(value, bound, goal) {
  return sprintf("goal: at %s %s, %s", bound, goal, (bound == "least" ? value >= goal : value <= goal) ? "reached" : "NOT REACHED")
}'

shares() {
  printf 'one thread, %% of the fma peak\n%8s %10s %10s\n' rows SGD Adam
  for rows in 10 32 128 512; do
    sgd=$(middle_bench "$folder/sgd.nn" $rows 1) adam=$(middle_bench $net $rows 1)
    awk -v r=$rows -v s="${sgd##* }" -v a="${adam##* }" "$verdict"' BEGIN {
      printf "%8d %9.1f%% %9.1f%%", r, 100 * s, 100 * a
      if (r == 128) printf "   SGD, %s; Adam, %s", verdict(100 * s, "least", 80), verdict(100 * a, "least", 70)
      print "" }'
  done
}

# One thread and several by turns: what else the machine does changes from moment to moment, and meets both. The median
# of the rounds' shares counts.
threads() {
  printf 'threads, Adam, by turns: least us a step; gains over one thread of the step and of an fma loop, and the one as\n'
  printf 'a share of the other: medians of %d rounds, and between which the middle half of the shares lies\n' $rounds
  printf '%8s %8s %10s %8s %8s %8s\n' rows threads us gain fma share
  local rows threads round
  for rows in 128 512; do
    for threads in 2 4; do
      [ "$threads" -le "$processors" ] || continue
      for ((round = 0; round < rounds; round++)); do
        echo "$(bench $net $rows 1) $(bench $net $rows $threads)"
      done | awk '{ print $1 / $4 * $2 / $5, $1 / $4, $5 / $2, $4 }' | sort -g |
        awk -v r=$rows -v t=$threads "$verdict"' {
          share[NR] = 100 * $1; gain[NR] = $2; fma[NR] = $3
          if (NR == 1 || $4 < least) least = $4
        } END {
          middle = (NR + 1) / 2; quarter = int((NR + 3) / 4)
          printf "%8d %8d %10.1f %8.2f %8.2f %7.1f%% (%.0f to %.0f)", r, t, least / 1000, gain[middle], fma[middle],
                 share[middle], share[quarter], share[NR + 1 - quarter]
          if (t == 2) printf "   %s", verdict(share[middle], "least", 85)
          print "" }'
    done
  done
  [ "$processors" -ge 2 ] || return 0
  for ((round = 0; round < rounds; round++)); do
    echo "$(bench $net 512 2 taskset -c 0,1) $(bench $net 512 7 taskset -c 0,1)"
  done | awk '{ print $4 / $1, $1, $4 }' | sort -g | awk "$verdict"' { ratio[NR] = $1; two[NR] = $2; seven[NR] = $3 } END {
    middle = (NR + 1) / 2
    printf "7 threads on 2 processors: %.1f us, 2 threads on them: %.1f us, ratio %.2f, the median of %d rounds   %s\n",
           seven[middle] / 1000, two[middle] / 1000, ratio[middle], NR, verdict(ratio[middle], "most", 1.5) }'
}

# A run until its first step is in its record; what a run makes after its last step, its page above all, is left out.
first_step() {
  rm -rf "$folder/run"
  "$nnc" train $net --max-steps 1 --log-steps "$@" --out "$folder/run" &
  until [ -s "$folder/run/metrics.jsonl" ]; do
    read -rt 0.002 <>"$folder/nothing" || kill -0 $! || break
  done
  kill -KILL $! && wait $!
}

# Commands by turns, twenty times; of each the least time and the least processor time, in ms.
start() {
  local TIMEFORMAT='%R %U %S' round which spent
  "$nnc" emit $net --stage llvm -o "$folder/step.ll"
  mkfifo "$folder/nothing"
  local commands=("first_step" "first_step --threads 1" "$nnc --version")
  ! command -v llc-22 >/dev/null || commands+=("llc-22 -O1 -filetype=obj $folder/step.ll -o $folder/step.o")
  for ((round = 0; round < 20; round++)); do
    for which in "${!commands[@]}"; do
      spent=$({ time ${commands[$which]} >/dev/null 2>&1 || true; } 2>&1)
      echo "$which $spent"
    done
  done | awk "$verdict"' {
      if (!($1 in clock) || $2 < clock[$1]) clock[$1] = $2
      if (!($1 in spent) || $3 + $4 < spent[$1]) spent[$1] = $3 + $4
    } END {
      split("the first step;the same with one thread;the end of nnc --version;the end of llc-22 -O1", names, ";")
      printf "%40s %10s %10s\n", "from exec to", "clock, ms", "processor, ms"
      for (i = 0; i in clock; i++) printf "%40s %10.0f %10.0f\n", names[i + 1], 1000 * clock[i], 1000 * spent[i]
      if (3 in clock) {
        printf "ratio to llc by the clock %.2f   %s\n", clock[0] / clock[3], verdict(clock[0] / clock[3], "most", 2)
        printf "ratio to llc in processor time, one thread %.2f   %s\n", spent[1] / spent[3], verdict(spent[1] / spent[3], "most", 2)
      }
    }'
}

for part in shares threads start; do
  [[ $parts == *" $part "* ]] || continue
  $part
  echo
done
