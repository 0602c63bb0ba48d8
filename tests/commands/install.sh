#!/usr/bin/env bash
# `cmake --install` puts the command, its man page, completions and editors' files in their places, and the command works from
# there; linked statically it needs no library, and trains and predicts where there is no other file.
#   install.sh CMAKE BUILD_DIR STATIC (ON or OFF)
set -euo pipefail
root=$(mktemp -d)
trap 'rm -rf "$root"' EXIT
[ -f "$2/share/man" ] || { echo "SKIPPED: install: the target \`share\` is not built"; exit 0; }
"$1" --install "$2" --prefix "$root/usr" >"$root/log" || { cat "$root/log"; exit 1; }
for file in bin/nnc share/man/man1/nnc.1 share/bash-completion/completions/nnc share/zsh/vendor-completions/_nnc \
  share/fish/vendor_completions.d/nnc.fish share/vim/vimfiles/syntax/nn.vim share/vim/vimfiles/ftdetect/nn.vim \
  share/nnc/vscode/package.json share/nnc/vscode/syntaxes/nn.tmLanguage.json share/doc/nnc/README.md share/doc/nnc/LICENSE \
  share/doc/nnc/language.md share/doc/nnc/examples/linear/linear.nn; do
  [ -s "$root/usr/$file" ] || { echo "$file was not installed"; exit 1; }
done
cd "$root"
usr/bin/nnc new linear . >/dev/null
usr/bin/nnc train linear.nn --epochs 1 --out run >log 2>&1 || { cat log; exit 1; }
usr/bin/nnc predict run --input linear.csv >/dev/null
grep -q '^\.TH NNC' usr/share/man/man1/nnc.1 || { head -3 usr/share/man/man1/nnc.1; exit 1; }

[ "$3" = ON ] || { echo "SKIPPED: install: nnc is linked dynamically"; exit 0; }
needed=$(readelf -d usr/bin/nnc | grep NEEDED || true)
[ -z "$needed" ] || { printf 'nnc needs libraries:\n%s\n' "$needed"; exit 1; }
# A root folder with the command alone: no library, no loader, no /proc, no /tmp.
mkdir empty
cp usr/bin/nnc empty/nnc
alone=(chroot empty)
[ "$(id -u)" -eq 0 ] || alone=(unshare --map-root-user chroot empty)
"${alone[@]}" /nnc --version >log 2>&1 || { echo "SKIPPED: install: no chroot here: $(cat log)"; exit 0; }
"${alone[@]}" /nnc new mlp / >log 2>&1 || { cat log; exit 1; }
"${alone[@]}" /nnc train mlp.nn --out run >log 2>&1 || { cat log; exit 1; }
"${alone[@]}" /nnc predict run --input mlp.csv >kinds
"$root/usr/bin/nnc" predict empty/run --input empty/mlp.csv | cmp - kinds
