#!/usr/bin/env bash
# What `nnc train` shows in a real terminal: tmux runs it, and what stands on its screen is taken while it trains and when it
# is done. docs/progress.txt keeps it:   tests/commands/progress_in_tmux.sh build/nnc > docs/progress.txt
# With the file behind, what is shown is compared with it but for what hangs on the machine: times, rates, memory, and how
# far the epoch is. Without tmux the status is 77.
set -euo pipefail
command -v tmux >/dev/null || { echo "SKIPPED: there is no tmux"; exit 77; }
nnc=$(realpath "$1")
if [ $# -gt 1 ]; then
  without_times() { sed -E 's/memory .*//; s/[0-9.]+[kM]? rows\/s/RATE/; s/\[[=> ]*\].*/BAR/; /^ *(run runs)?\/Net-1$/d' "$1"; }
  shown=$(mktemp)
  trap 'rm -f "$shown"' EXIT
  "$0" "$nnc" >"$shown"
  grep -qE 'epoch 3/8 \[=+> *\] [0-9]+/625  loss [0-9.]+  valid.loss [0-9.]+  valid.off [0-9.]+  [0-9.]+k? rows/s  .* left$' "$shown" ||
    { echo "there is no bar of the third epoch:"; cat "$shown"; exit 1; }
  diff <(without_times "$2") <(without_times "$shown")
  exit
fi
room=$(mktemp -d)
server="nnc-$$"
trap 'tmux -L "$server" kill-server 2>/dev/null || true; rm -rf "$room"' EXIT
mkdir "$room/bin"
ln -s "$nnc" "$room/bin/nnc"
cat >"$room/net.nn" <<'PROGRAM'
data rows {
  samples = 50000
  x: f32[16] = uniform(-1, 1)
  y: f32[1] = sum(x, keep = true)
  train, valid = split(0.8, 0.2)
}
model Net(x: f32[batch, 16]) -> f32[batch, 1] { return x |> Dense(256) |> relu |> Dense(256) |> relu |> Dense(1) }
train Net on rows {
  let z = Net(x)
  loss = mse(z, y)
  metric off = mae(z, y)
  optimizer = adam(lr = 1e-3)
  batch_size = 64
  epochs = 8
}
PROGRAM
cd "$room"
tmux -L "$server" new-session -d -x 110 -y 24 "env -u CI PATH='$room/bin:$PATH' PS1='$ ' TERM=xterm bash --norc --noprofile"
screen() { tmux -L "$server" capture-pane -p | sed -e 's/ *$//' -e '/./,$!d' | sed -e :a -e '/^\n*$/{$d;N;ba' -e '}'; }
until screen | grep -q "^[$]"; do sleep 0.1; done
tmux -L "$server" send-keys "nnc train net.nn --threads 1" Enter
for _ in $(seq 600); do
  seen=$(screen)
  grep -q 'epoch 3/8 \[==' <<<"$seen" && break
  sleep 0.05
done
echo "The screen (110 characters wide) in the third epoch:"
echo
sed 's/^/    /; s/ *$//' <<<"$seen"
for _ in $(seq 1200); do
  # The prompt comes after all lines of the end: a screen taken before it may lack some.
  screen | tail -1 | grep -q '^[$]$' && break
  sleep 0.1
done
echo
echo "and when training is done:"
echo
screen | sed 's/^/    /; s/ *$//'
