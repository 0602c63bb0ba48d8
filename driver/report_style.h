// How a report looks: one column, hairlines, two schemes of colour, nothing that a phone must be turned for. Colours of
// series keep their order of hue and a contrast of 4.5 and more to the paper in both schemes.
#pragma once

namespace nnc::driver {

inline constexpr const char* report_style =
    ":root{color-scheme:light dark;--ink:#1b1b1f;--paper:#fdfdfb;--card:#f5f5f1;--soft:#5f5f68;--line:#dcdcd6;"
    "--c0:#1f6fb4;--c1:#b8470f;--c2:#2f7d32;--c3:#7a3fa0;--c4:#806000;--c5:#b0275f;--c6:#00757a;--c7:#555}"
    "@media(prefers-color-scheme:dark){:root{--ink:#e6e6ea;--paper:#17171a;--card:#202024;--soft:#a0a0aa;--line:#"
    "36363c;"
    "--c0:#6db3f2;--c1:#f29a6d;--c2:#7ccf80;--c3:#c79be8;--c4:#d9bd5b;--c5:#ee86b0;--c6:#5fd0d4;--c7:#bbb}}"
    "*{box-sizing:border-box}html{scroll-padding-top:1rem;-webkit-text-size-adjust:100%}"
    "body{margin:0 auto;padding:clamp(1rem,4vw,2.5rem);max-width:66rem;color:var(--ink);background:var(--paper);"
    "font:1rem/1.5 system-ui,sans-serif}"
    "h1{font-size:1.6rem;line-height:1.2;margin:0 0 .2rem}h3{font-size:.95rem;margin:0 0 .4rem;font-weight:600}"
    "h2{font-size:1.15rem;margin:2.5rem 0 .8rem;padding-top:1rem;border-top:1px solid var(--line)}"
    "p{margin:.2rem 0 .8rem}.soft,figcaption .soft{color:var(--soft)}a{color:inherit}"
    ":focus-visible{outline:2px solid var(--c0);outline-offset:2px;border-radius:3px}"
    "nav{display:flex;flex-wrap:wrap;gap:.1rem 1.1rem;margin:.8rem 0;font-size:.9rem}nav a{color:var(--c0)}"
    // figures
    ".tiles{display:grid;grid-template-columns:repeat(auto-fill,minmax(9.7rem,1fr));gap:.7rem;margin:1rem 0}"
    ".tile{background:var(--card);border-radius:10px;padding:.6rem .9rem .7rem}.tile span{color:var(--soft);"
    "font-size:.85rem}.tile b{display:block;font-size:1.08rem;white-space:nowrap;line-height:1.3;font-weight:600;"
    "font-variant-numeric:tabular-nums}"
    // tables
    ".wide{overflow-x:auto;max-width:100%}table{border-collapse:collapse;font-variant-numeric:tabular-nums;"
    "font-size:.92rem}th,td{padding:.25rem .9rem .25rem 0;text-align:right;border-bottom:1px solid var(--line);"
    "white-space:nowrap}th:first-child,td:first-child{text-align:left}th{color:var(--soft);font-weight:normal}"
    "tr:last-child td{border-bottom:0}td.words{white-space:normal;overflow-wrap:anywhere;min-width:9rem}"
    "td.bar{min-width:5rem;padding-right:.9rem}td.bar i{display:block;height:.55rem;border-radius:2px;"
    "background:var(--c0);min-width:1px}"
    "table.classes{border-collapse:separate;border-spacing:2px;font-size:.85rem}"
    ".classes td,.classes th{border:0;padding:.2rem .45rem;text-align:center;border-radius:4px}"
    ".classes td:first-child,.classes th:first-child{text-align:left;padding-left:0}"
    ".many{font-size:.74rem;letter-spacing:-.01em}.many td,.many th{padding:.2rem .14rem}.classes+p{margin:0}"
    "figure>p{font-size:.85rem;margin:0 0 "
    ".4rem}figure+figure{margin-top:1.2rem}.plots>figure+figure,.pictures>figure+figure{margin-top:0}"
    ".classes td.count{background:color-mix(in srgb,var(--k,var(--c1)) calc(var(--s,0)*42%),transparent)}"
    ".classes td.hit{--k:var(--c2);font-weight:600}"
    // pictures
    ".plots{display:grid;grid-template-columns:repeat(auto-fit,minmax(min(100%,21rem),1fr));gap:1.6rem 2rem}"
    ".plots>figure.broad{grid-column:1/-1}figure{margin:0;min-width:0}figcaption{display:flex;flex-wrap:wrap;gap:.1rem "
    "1rem;align-items:baseline;"
    "font-size:.9rem;margin-bottom:.3rem}figcaption b{font-weight:600}"
    "svg{width:100%;height:auto;display:block}svg "
    "text{fill:var(--soft);font-size:11px;font-family:system-ui,sans-serif}"
    ".axis{stroke:var(--line);fill:none}.mark{stroke:var(--soft);stroke-dasharray:2 3;fill:none}"
    ".line{fill:none;stroke-width:1.8;stroke-linejoin:round}"
    ".dot{stroke:var(--paper);stroke-width:.8}"
    ".key{display:inline-flex;flex-wrap:wrap;gap:.1rem .9rem;color:var(--soft)}"
    ".key span::before{content:'';display:inline-block;width:.9rem;height:.25rem;border-radius:2px;margin-right:.35rem;"
    "vertical-align:middle;background:var(--k)}.key .thin::before{opacity:.5}"
    ".scales>input{margin:0 .3rem 0 0;accent-color:var(--c0)}.scales>label{margin-right:1rem;font-size:.9rem}"
    ".scales>.plots{margin-top:.7rem}.scales>.log{display:none}"
    "#log:checked~.log{display:grid}#log:checked~.linear{display:none}"
    ".pictures{display:grid;grid-template-columns:repeat(auto-fill,minmax(5rem,1fr));gap:.7rem;margin-bottom:.5rem}"
    ".pictures svg{background:var(--card);border-radius:4px}.pictures figcaption{margin:.2rem 0 0;gap:0 .4rem;"
    "font-size:.8rem;line-height:1.3}"
    // the model
    "svg.model{max-width:none;margin:0 auto}.model .box{fill:var(--card);stroke:var(--line)}"
    ".model .column{stroke:var(--c0);stroke-dasharray:4 3}.model .learns{stroke:var(--c1);stroke-width:1.4}"
    ".model text{text-anchor:middle}.model .what{fill:var(--ink);font-size:13px;font-weight:600}"
    ".model .flow{fill:none;stroke:var(--soft);stroke-width:1.2}.model .tip{fill:var(--soft)}"
    ".model a{text-decoration:none}.model a:hover .box,.model a:focus-visible .box{stroke:var(--c0);stroke-width:2.2}"
    // the program
    "details{margin-top:1rem}summary{cursor:pointer}"
    ".program{overflow-x:auto;font-size:.85rem;line-height:1.45;counter-reset:line;background:var(--card);"
    "border-radius:10px;padding:.8rem 0;margin:0}.program span{display:block;padding:0 1rem 0 3.4rem;min-height:1.45em;"
    "width:max-content;min-width:100%;position:relative}.program span::before{counter-increment:line;"
    "content:counter(line);position:absolute;left:0;width:2.6rem;text-align:right;color:var(--soft)}"
    ".program span:target{background:color-mix(in srgb,var(--c0) 22%,transparent)}";

}  // namespace nnc::driver
