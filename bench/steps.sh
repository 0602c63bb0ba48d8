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

# field NAME: of a JSON line on stdin.
field() { sed -n "s/.*\"$1\": \([0-9.]*\).*/\1/p"; }
# bench FILE ROWS THREADS [PREFIX...]: ns and GFLOP/s of the best of several runs.
bench() {
  local file=$1 rows=$2 threads=$3 line ns peak best=''
  shift 3
  for _ in 1 2 3 4 5; do
    line=$("$@" "$nnc" bench "$file" --rows "$rows" --threads "$threads" --seconds 0.3 --json | sed 's/"kernels".*//')
    ns=$(field ns <<<"$line") peak=$(field peak_gflops <<<"$line") share=$(field share_of_peak <<<"$line")
    best=$(printf '%s\n%s' "$best" "$ns $peak $share" | sed '/^$/d' | sort -g | head -1)
  done
  echo "$best"
}

# verdict VALUE least|most GOAL: the goal, and whether it is reached.
verdict='function verdict(value, bound, goal) {
  return sprintf("goal: at %s %s, %s", bound, goal, (bound == "least" ? value >= goal : value <= goal) ? "reached" : "NOT REACHED")
}'

shares() {
  printf 'one thread, %% of the fma peak\n%8s %10s %10s\n' rows SGD Adam
  for rows in 10 32 128 512; do
    sgd=$(bench "$folder/sgd.nn" $rows 1) adam=$(bench $net $rows 1)
    awk -v r=$rows -v s="${sgd##* }" -v a="${adam##* }" "$verdict"' BEGIN {
      printf "%8d %9.1f%% %9.1f%%", r, 100 * s, 100 * a
      if (r == 128) printf "   SGD, %s; Adam, %s", verdict(100 * s, "least", 80), verdict(100 * a, "least", 70)
      print "" }'
  done
}

threads() {
  printf 'threads, Adam: us a step, gain over one thread, gain of an fma loop, and the one as a share of the other\n'
  printf '%8s %8s %10s %8s %8s %8s\n' rows threads us gain fma share
  for rows in 128 512; do
    one=$(bench $net $rows 1)
    for threads in 2 4; do
      [ "$threads" -le "$processors" ] || continue
      several=$(bench $net $rows $threads)
      awk -v r=$rows -v t=$threads -v one="$one" -v several="$several" "$verdict"' BEGIN {
        split(one, a, " "); split(several, b, " "); gain = a[1] / b[1]; fma = b[2] / a[2]
        printf "%8d %8d %10.1f %8.2f %8.2f %7.1f%%", r, t, b[1] / 1000, gain, fma, 100 * gain / fma
        if (t == 2) printf "   %s", verdict(100 * gain / fma, "least", 85)
        print "" }'
    done
  done
  [ "$processors" -ge 2 ] || return 0
  two=$(bench $net 512 2 taskset -c 0,1) seven=$(bench $net 512 7 taskset -c 0,1)
  awk -v a="${two%% *}" -v b="${seven%% *}" "$verdict"' BEGIN {
    printf "7 threads on 2 processors: %.1f us, 2 threads on them: %.1f us, ratio %.2f   %s\n",
           b / 1000, a / 1000, b / a, verdict(b / a, "most", 1.5) }'
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
