#!/usr/bin/env bash
# The step of the MNIST network on made-up pictures: shares of the fma peak of the same moments, what threads gain, and
# how long it takes from exec to the first step. Prints figures and fails nothing.
#   bench/steps.sh [NNC]        the command to measure; default build/nnc
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
nnc=$(realpath "${1:-build/nnc}")
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

printf 'one thread, %% of the fma peak\n%8s %10s %10s\n' rows SGD Adam
for rows in 10 32 128 512; do
  sgd=$(bench "$folder/sgd.nn" $rows 1) adam=$(bench $net $rows 1)
  awk -v r=$rows -v s="${sgd##* }" -v a="${adam##* }" 'BEGIN { printf "%8d %9.1f%% %9.1f%%\n", r, 100 * s, 100 * a }'
done

printf '\nthreads, Adam: us a step, gain over one thread, gain of an fma loop, and the one as a share of the other\n'
printf '%8s %8s %10s %8s %8s %8s\n' rows threads us gain fma share
for rows in 128 512; do
  one=$(bench $net $rows 1)
  for threads in 2 4; do
    [ "$threads" -le "$processors" ] || continue
    several=$(bench $net $rows $threads)
    awk -v r=$rows -v t=$threads -v one="$one" -v several="$several" 'BEGIN {
      split(one, a, " "); split(several, b, " "); gain = a[1] / b[1]; fma = b[2] / a[2]
      printf "%8d %8d %10.1f %8.2f %8.2f %7.1f%%\n", r, t, b[1] / 1000, gain, fma, 100 * gain / fma }'
  done
done
if [ "$processors" -ge 2 ]; then
  two=$(bench $net 512 2 taskset -c 0,1) seven=$(bench $net 512 7 taskset -c 0,1)
  awk -v a="${two%% *}" -v b="${seven%% *}" 'BEGIN {
    printf "7 threads on 2 processors: %.1f us, 2 threads on them: %.1f us, ratio %.2f\n", b / 1000, a / 1000, b / a }'
fi

# best COMMAND...: milliseconds of the best of twenty runs.
best() {
  local begin end least=''
  for _ in $(seq 20); do
    begin=$(date +%s%N)
    "$@" >/dev/null 2>&1
    end=$(date +%s%N)
    least=$(printf '%s\n%s' "$least" $((end - begin)) | sed '/^$/d' | sort -n | head -1)
  done
  awk -v ns="$least" 'BEGIN { printf "%.1f", ns / 1e6 }'
}
first_step() {
  rm -rf "$folder/run"
  "$nnc" train $net --max-steps 1 "$@" --out "$folder/run"
}
"$nnc" emit $net --stage llvm -o "$folder/step.ll"
ours=$(best first_step) alone=$(best first_step --threads 1)
nothing=$(best "$nnc" --version)
printf '\nfrom exec to the end of a run of one step: %s ms, with one thread %s ms (nnc --version: %s ms)\n' \
  "$ours" "$alone" "$nothing"
if command -v llc-22 >/dev/null; then
  llc=$(best llc-22 -O1 -filetype=obj "$folder/step.ll" -o "$folder/step.o")
  awk -v a="$ours" -v o="$alone" -v b="$llc" 'BEGIN {
    printf "llc-22 -O1 on its --stage llvm text: %s ms; ratio %.2f, with one thread %.2f\n", b, a / b, o / b }'
fi
