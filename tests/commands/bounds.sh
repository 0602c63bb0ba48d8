#!/usr/bin/env bash
# Fails where a figure is below its bound. Standard input has a line `NAME|FIGURE|BOUND` for each; none at all is a fault.
#   bounds.sh < FIGURES
#   bounds.sh --test         sees that it does
set -euo pipefail

if [ "${1-}" = --test ]; then
  passes() { printf "$1" | "$0" 2>/dev/null || { echo "refused: $1"; exit 1; }; }
  fails() { ! printf "$1" | "$0" 2>/dev/null || { echo "let through: $1"; exit 1; }; }
  passes 'MNIST|98.30|98.3\n'
  passes 'MNIST|98.54|98.3\nFashion|90.06|89.0\n'
  passes 'a loss|-0.5|-1\n'
  fails 'MNIST|98.29|98.3\n'
  fails 'MNIST|98.54|98.3\nFashion|88.99|89.0\n'
  fails 'MNIST|9.9|98.3\n'
  fails 'MNIST|nan|98.3\n'
  fails 'MNIST||98.3\n'
  fails 'MNIST|98.54|\n'
  fails ''
  exit
fi

awk -F'|' '
  function number(text) { return text ~ /^-?[0-9]+(\.[0-9]*)?(e-?[0-9]+)?$/ }
  { ++lines }
  NF != 3 || !number($2) || !number($3) { printf "no figure and its bound: %s\n", $0 >"/dev/stderr"; bad = 1; next }
  $2 + 0 < $3 + 0 { printf "%s is %s, below %s\n", $1, $2, $3 >"/dev/stderr"; bad = 1 }
  END { if (!lines) print "there are no figures" >"/dev/stderr"; exit bad || !lines }'
