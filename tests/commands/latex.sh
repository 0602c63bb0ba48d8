#!/usr/bin/env bash
# Whether LaTeX takes the derivations: those of every train block of the examples, of the templates and of the golden
# programs are typeset by pdflatex, which stops at the first error. A line that runs out of its page by more than 5 pt
# is a fault too.
#   latex.sh NNC SOURCE_DIR
set -euo pipefail
nnc=$(realpath "$1") source_dir=$(realpath "$2")
scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT
cd "$scratch"

status=0 typeset=0 lines=0
for program in "$source_dir"/examples/*/*.nn "$source_dir"/driver/templates/{cnn,gpt,linear,logistic,mlp,rnn}.nn "$source_dir"/tests/golden/derive/*.nn; do
  mapfile -t blocks < <(sed -nE 's/^train ([A-Za-z0-9_]+).* on [A-Za-z0-9_]+( as ([A-Za-z0-9_]+))?.*/\1 \3/p' "$program" | awk '{ print $NF }')
  for block in "${blocks[@]}"; do
    name=${program#"$source_dir"/}:$block
    "$nnc" derive "$program" "$block" --format latex -o page.tex
    typeset=$((typeset + 1)) lines=$((lines + $(grep -c ' &= ' page.tex)))
    if ! pdflatex -halt-on-error -interaction=nonstopmode page.tex >said.txt 2>&1; then
      echo "$name: $(grep -A 2 -m 1 '^!' page.log || tail -3 said.txt)"
      status=1
    elif overfull=$(grep -E '^Overfull .hbox \(([5-9]|[0-9]{2,})\.' page.log); then
      echo "$name: $overfull"
      status=1
    fi
  done
done
[ $status = 0 ] && echo "pdflatex took $typeset derivations of $lines lines; none runs out of its page"
exit $status
