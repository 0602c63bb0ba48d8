#!/usr/bin/env bash
# Looks at the pages that nnc makes, in headless Chromium: at 360 and at 900 px nothing scrolls sideways, also with its
# details open, no line of a derivation is cut or scrolls up and down, and no two labels of a picture overlap, in light
# and in dark; nothing is fetched and nothing is said on the console. Keeps pictures.
#   look.sh NNC SOURCE_DIR PICTURES
set -euo pipefail
mkdir -p "$3"
nnc=$(realpath "$1") source_dir=$(realpath "$2") pictures=$(realpath "$3")
scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT
cd "$scratch"
export NO_COLOR=1 NNC_THREADS=1

pages=()
for template in linear logistic mlp; do
  "$nnc" new "$template" "$template" >/dev/null 2>&1
  "$nnc" train "$template/$template.nn" --out "run-$template" >/dev/null 2>&1
  cp "run-$template/report.html" "report-$template.html"
  "$nnc" derive "$template/$template.nn" --format html -o "derive-$template.html"
  pages+=("report-$template" "derive-$template")
done
"$nnc" train mlp/mlp.nn --seed 3 --set hidden=4 --out run-small >/dev/null 2>&1
"$nnc" report run-mlp run-small -o report-compared.html 2>/dev/null
cp "$source_dir"/tests/golden/derive/{two_layers,deep,residual,recurrent}.nn .
for program in two_layers deep residual recurrent; do
  "$nnc" derive $program.nn --format html -o "derive-${program/_/-}.html"
done
pages+=(report-compared derive-two-layers derive-deep derive-residual derive-recurrent)
"$nnc" derive "$source_dir/examples/batch_norm/batch_norm.nn" with --format html -o derive-batch-norm.html
"$nnc" derive "$source_dir/examples/residual/residual.nn" residual --format html -o derive-very-deep.html
pages+=(derive-batch-norm derive-very-deep)
digits=$source_dir/../shared/data/mnist
if [ -d "$digits" ]; then
  "$nnc" train "$source_dir/examples/mnist/mnist.nn" --data "$digits" --out run-digits >/dev/null 2>&1
  cp run-digits/report.html report-digits.html
  pages+=(report-digits)
fi

# The page in a frame of a given width, and a script beside it that measures.
frame() {
  cat <<HTML
<!DOCTYPE html><html><body style="margin:0"><iframe id="f" src="$1.html" style="border:0" width="$2" height="4000"></iframe><pre id="said"></pre>
<script>
addEventListener("load", () => {
  const page = document.getElementById("f").contentDocument, said = [];
  for (const details of page.querySelectorAll("details")) details.open = true;
  for (const line of page.querySelectorAll(".equation"))
    if (line.scrollHeight > line.clientHeight) said.push("cut by " + (line.scrollHeight - line.clientHeight) + " px: " + line.textContent);
  if (page.documentElement.scrollWidth > $2) said.push("is " + page.documentElement.scrollWidth + " px wide");
  for (const svg of page.querySelectorAll("svg")) {
    const boxes = [...svg.querySelectorAll("text")].map(t => [t.textContent, t.getBoundingClientRect()]).filter(b => b[1].width > 0);
    for (let i = 0; i < boxes.length; ++i) for (let k = 0; k < i; ++k) {
      const a = boxes[i][1], b = boxes[k][1];
      if (a.left < b.right && b.left < a.right && a.top < b.bottom - 1 && b.top < a.bottom - 1)
        said.push("labels overlap: " + boxes[k][0] + " and " + boxes[i][0]);
    }
  }
  const fetched = document.getElementById("f").contentWindow.performance.getEntriesByType("resource");
  for (const entry of fetched) said.push("fetches " + entry.name);
  document.getElementById("said").textContent = "looked;" + said.join(";");
});
</script></body></html>
HTML
}

browser() {
  chromium --headless --no-sandbox --disable-gpu --hide-scrollbars --allow-file-access-from-files --enable-logging=stderr \
    --user-data-dir="$scratch/profile" "$@"
}

status=0
for page in "${pages[@]}"; do
  for width in 360 900; do
    for scheme in light dark; do
      dark=$([ "$scheme" = dark ] && echo 0 || echo 1)
      frame "$page" "$width" >"frame.html"
      browser --blink-settings=preferredColorScheme="$dark" --dump-dom "file://$scratch/frame.html" >dom.html 2>log.txt
      said=$(grep -o '<pre id="said">[^<]*' dom.html | sed 's/.*>//')
      if [ "$said" != 'looked;' ] || grep -q 'CONSOLE' log.txt; then
        echo "$page at $width px, $scheme: ${said:-was not looked at} $(grep CONSOLE log.txt | head -3 || true)"
        status=1
      fi
    done
  done
done
# What stays to be looked at: PAGE WIDTH HEIGHT SCHEME
while read -r page width height scheme; do
  [ -f "$page.html" ] || continue
  dark=$([ "$scheme" = dark ] && echo 0 || echo 1)
  browser --blink-settings=preferredColorScheme="$dark" --window-size="$width,$height" \
    --screenshot="$pictures/$page-$width-$scheme.png" "file://$scratch/$page.html" >/dev/null 2>&1
done <<'PICTURES'
report-mlp 900 2000 light
report-mlp 900 2000 dark
report-mlp 500 2000 light
report-digits 900 2000 light
report-compared 900 1000 light
derive-two-layers 900 1500 light
derive-two-layers 900 1500 dark
derive-deep 900 1300 light
derive-recurrent 900 2000 light
PICTURES
[ $status = 0 ] && echo "looked at ${#pages[@]} pages"
exit $status
