import { paletteCss } from './palette.js';

/** The style sheet of the report: no fonts, images or anything else from outside. */
export const STYLE = `
:root{color-scheme:light;${paletteCss('light')}}
@media (prefers-color-scheme:dark){:root:not([data-theme=light]){color-scheme:dark;${paletteCss('dark')}}}
:root[data-theme=dark]{color-scheme:dark;${paletteCss('dark')}}
*{box-sizing:border-box}
html{-webkit-text-size-adjust:100%;scroll-padding-top:4rem}
body{margin:0;background:var(--page);color:var(--ink);font:15px/1.55 Inter,system-ui,-apple-system,"Segoe UI",Roboto,"Helvetica Neue",Arial,sans-serif;font-variant-numeric:tabular-nums;-webkit-font-smoothing:antialiased}
h1,h2,h3,p,dl,dd,ul,ol,figure,pre{margin:0}
a{color:inherit}
code,pre{font:0.88em/1.5 ui-monospace,SFMono-Regular,Menlo,Consolas,"Liberation Mono",monospace}
.nowrap{white-space:nowrap}
.hidden{position:absolute;width:1px;height:1px;overflow:hidden;clip-path:inset(50%);white-space:nowrap}
:focus-visible{outline:2px solid var(--accent);outline-offset:2px;border-radius:4px}

.top{position:sticky;top:0;z-index:5;background:var(--page);border-bottom:1px solid var(--line)}
.top>div{max-width:1180px;margin:0 auto;padding:.6rem 28px;display:flex;align-items:center;gap:1.4rem}
.brand{font-weight:650;letter-spacing:-.01em;text-decoration:none}
.top nav{display:flex;gap:1.1rem;margin-left:auto;overflow-x:auto;scrollbar-width:none}
.top nav a{color:var(--ink-3);text-decoration:none;font-size:13.5px;white-space:nowrap}
.top nav a:hover{color:var(--ink)}
button{font:inherit;color:inherit;cursor:pointer}
.theme{border:1px solid var(--line);background:var(--surface);border-radius:99px;padding:.15rem .75rem;font-size:13px;color:var(--ink-2);white-space:nowrap}
.theme:hover{border-color:var(--line-strong)}

main{max-width:1180px;margin:0 auto;padding:0 28px 5rem}
.hero{padding:3.2rem 0 2.4rem}
.eyebrow{color:var(--ink-3);font-size:14px}
h1{font-size:clamp(1.9rem,4.6vw,2.9rem);line-height:1.12;letter-spacing:-.025em;font-weight:680;margin:.35rem 0 .7rem;overflow-wrap:anywhere}
h1 em{font-style:normal;color:var(--accent)}
.reason{font-size:1.1rem;line-height:1.5;color:var(--ink-2);max-width:46rem;overflow-wrap:anywhere}
.meta{color:var(--ink-3);font-size:13.5px;margin-top:1.3rem}
.banner{margin-top:1.3rem;padding:.8rem 1.05rem;border-radius:10px;background:var(--amber-soft);color:var(--ink);font-size:14.5px;max-width:60rem;border-left:4px solid var(--amber);overflow-wrap:anywhere}
.banner strong{color:var(--amber)}
.banner ul{margin:.25rem 0 0;padding-left:1.15rem}
.banner.loud{background:var(--red-soft);border-left-color:var(--red);font-size:1.02rem;padding:1.05rem 1.25rem}
.banner.loud strong{color:var(--red);display:block;font-size:1.2rem;letter-spacing:-.01em;margin-bottom:.15rem}

.tiles{display:grid;grid-template-columns:repeat(auto-fit,minmax(168px,1fr));margin-top:2rem;background:var(--surface);border:1px solid var(--line);border-radius:14px;overflow:hidden}
.tiles>div{padding:1.05rem 1.2rem 1.1rem;box-shadow:-1px -1px 0 var(--line)}
.tiles dt{font-size:13px;color:var(--ink-3)}
.figure{display:block;font-size:1.72rem;line-height:1.25;letter-spacing:-.02em;font-weight:620;white-space:nowrap}
.tiles .below{font-size:13px}
.gates{list-style:none;padding:0;display:flex;flex-wrap:wrap;gap:.35rem 1.4rem;margin-top:1rem;font-size:14px;color:var(--ink-2)}
.gates .holds span:first-child{color:var(--accent)}
.gates .fails,.gates .fails span:first-child{color:var(--red)}
.gates .unknown span:first-child{color:var(--amber)}
.gates span:first-child{font-weight:700}

.wide{padding:2.2rem 0 2.6rem;border-top:1px solid var(--line)}
section{display:grid;grid-template-columns:200px minmax(0,1fr);gap:0 40px;padding:2.4rem 0 2.6rem;border-top:1px solid var(--line)}
section.full{grid-template-columns:minmax(0,1fr);gap:1.1rem}
section.full .lead{max-width:44rem}
h2{font-size:1.16rem;line-height:1.3;letter-spacing:-.012em;font-weight:640}
.wide h2{margin-bottom:.9rem}
h3{font-size:.95rem;font-weight:620;margin:1.5rem 0 .5rem;display:flex;align-items:center;gap:.45rem}
.body>h3:first-child{margin-top:0}
.lead{color:var(--ink-3);font-size:13.5px;line-height:1.5;margin-top:.4rem}
.note{color:var(--ink-3);font-size:13px;margin-top:.7rem}

.scroll{position:relative;overflow-x:auto;margin:0 -6px;padding:0 6px 2px;scrollbar-width:thin}
table{border-collapse:separate;border-spacing:0;width:100%;font-size:14px}
th,td{padding:.5rem .8rem;text-align:right;vertical-align:baseline;border-bottom:1px solid var(--line);white-space:nowrap;font-weight:400}
th:first-child,td:first-child{padding-left:0}
th:last-child,td:last-child{padding-right:0}
tbody tr:last-child>*{border-bottom:0}
thead th{font-size:12.5px;color:var(--ink-3);border-bottom:1px solid var(--line-strong);vertical-align:bottom}
.text{text-align:left}
tbody th{font-weight:550;text-align:left}
tbody th.text{min-width:9rem}
td.chart{padding-top:.2rem;padding-bottom:.2rem;vertical-align:middle;min-width:110px}
tbody tr:hover>*{background:color-mix(in srgb,var(--sunken) 55%,transparent)}
.value{font-weight:520}
.below{display:block;font-size:12.5px;line-height:1.35;color:var(--ink-3);font-weight:400}
.below.inline{display:inline}
.good{color:var(--accent)}
.bad{color:var(--red)}
.even{color:var(--ink-3)}
.summary tbody td,.summary tbody th{padding-top:.65rem;padding-bottom:.65rem}
.summary tr.recommended>*{background:var(--accent-soft)}
.summary tr.recommended>:first-child{border-radius:8px 0 0 8px;padding-left:.7rem}
.summary tr.recommended>:last-child{border-radius:0 8px 8px 0;padding-right:.7rem}
.summary tr:not(.recommended)>:first-child{padding-left:.7rem}
.summary tr:not(.recommended)>:last-child{padding-right:.7rem}
.summary tr.recommended .even,.summary tr.recommended .below{color:var(--ink-2)}
.summary tr.refused>:not(:last-child){color:var(--ink-2)}
.summary tr.refused .bad{color:var(--red)}
.summary .bar{margin:.25rem 0 0 auto;min-width:76px;max-width:150px}
th button{all:unset;cursor:pointer;display:inline-block}
th button:focus-visible{outline:2px solid var(--accent);outline-offset:2px;border-radius:3px}
th button:hover{color:var(--ink)}
th[aria-sort] button{color:var(--ink);font-weight:600}
th[aria-sort=ascending] button::after{content:" ↑"}
th[aria-sort=descending] button::after{content:" ↓"}

.chip{display:inline-block;font-size:12.5px;line-height:1.5;padding:.04rem .55rem;border-radius:99px;font-weight:560;background:var(--sunken);color:var(--ink-2)}
.chip.recommended{background:var(--accent);color:var(--surface)}
.chip.accepted{background:var(--blue-soft);color:var(--blue)}
.chip.refused{background:var(--red-soft);color:var(--red)}
.glyph{display:inline-block;vertical-align:-2px;margin-right:.4rem;flex:none}
.legend{display:flex;flex-wrap:wrap;gap:.3rem 1.3rem;color:var(--ink-2);font-size:13px;margin-top:.9rem}
.legend span{display:inline-flex;align-items:center}
.legend svg:not(.glyph){margin-right:.4rem}
.legend i{width:10px;height:10px;border-radius:3px;margin-right:.4rem}

.charts{display:grid;grid-template-columns:repeat(auto-fit,minmax(min(100%,330px),1fr));gap:2rem 2.6rem}
svg{overflow:visible}
svg text{font-size:12px;fill:var(--ink-3);font-family:inherit}
.plot{padding:0 14px 0 62px}
.plot>svg{display:block;margin:.8rem 0 0}
.axis-title{font-size:12.5px;color:var(--ink-3);margin-left:-62px}
.axis-title.x{margin:1.7rem 0 0;text-align:right}
.grid{stroke:var(--line);stroke-width:1}
.axis{stroke:var(--line-strong);stroke-width:1}
.front{stroke:var(--ink-3);stroke-width:1.4;stroke-dasharray:4 4}
.whisker{stroke-width:1.5;stroke:var(--line-strong)}
.whisker.recommended{stroke:var(--accent)}
.whisker.accepted{stroke:var(--blue)}
.whisker.refused{stroke:var(--red)}
.whisker{opacity:.55}
.mark text{fill:var(--ink-2);paint-order:stroke;stroke:var(--page);stroke-width:4px;stroke-linejoin:round}
.mark.recommended text{fill:var(--ink);font-weight:650}
.mark.original :is(rect,path,circle){fill:var(--ink)}
.mark.recommended :is(circle,rect){fill:var(--accent)}
.mark.accepted circle{fill:var(--blue)}
.mark.refused path{stroke:var(--red);stroke-width:2.4;stroke-linecap:round;fill:none}

.bar,.dumbbell,.sparkline,.density,.split,.axis-row{display:block}
.bar rect{fill:var(--ink-3)}
.bar .track{fill:var(--sunken)}
.bar.recommended rect:not(.track){fill:var(--accent)}
tr.recommended .bar .track{fill:var(--page)}
.bar.accepted rect:not(.track){fill:var(--blue)}
.bar.refused rect:not(.track){fill:var(--red);opacity:.7}
.bar.error rect:not(.track){fill:var(--red)}
.dumbbell .track{stroke:var(--line)}
.dumbbell .change{stroke-width:2.5;stroke:var(--ink-3)}
.dumbbell circle{stroke-width:1.8;stroke:var(--ink-3);fill:var(--page)}
.dumbbell .to{fill:var(--ink-3)}
.dumbbell.worse .change,.dumbbell.worse .to{stroke:var(--red)}
.dumbbell.worse .to{fill:var(--red)}
.dumbbell.better .change,.dumbbell.better .to{stroke:var(--accent)}
.dumbbell.better .to{fill:var(--accent)}
.sparkline polyline{fill:none;stroke:var(--ink-3);stroke-width:1.4;vector-effect:non-scaling-stroke}
.latency td.chart:nth-child(2){min-width:240px;width:48%;padding:0 1rem 0 .6rem}
.latency th.chart:nth-child(2){padding:0 1rem .35rem .6rem}
.latency td.chart:last-child{min-width:64px;width:72px}
.density .rug{fill:none;stroke-width:1;opacity:.35}
.density path{fill:var(--ink-3);fill-opacity:.25;stroke:var(--ink-3);stroke-width:1.3;vector-effect:non-scaling-stroke}
.density.recommended path{fill:var(--accent);stroke:var(--accent)}
.density.accepted path{fill:var(--blue);stroke:var(--blue)}
.density.refused path{fill:var(--red);stroke:var(--red)}
.density .p50{stroke:var(--ink);stroke-width:1.5}
.density .p95{stroke:var(--ink);stroke-width:1.5;stroke-dasharray:2 3}
.latency tbody>tr>*{vertical-align:middle}
.leader{stroke:var(--ink-3);stroke-width:1;opacity:.6}
.profile{fill:none;stroke:var(--blue);stroke-width:1.3;opacity:.5;vector-effect:non-scaling-stroke}
.layer circle{fill:var(--blue)}
.layer.worst circle{fill:var(--red)}
.layer.worst text{fill:var(--red);paint-order:stroke;stroke:var(--page);stroke-width:4px}
.lines{overflow:hidden}
.lines path{fill:none;stroke-width:1.6;stroke-linejoin:round;vector-effect:non-scaling-stroke}
.lines .raw{fill:var(--ink-3);fill-opacity:.16;stroke:var(--ink-3);stroke-opacity:.3;stroke-width:1}
.lines .smooth{stroke:var(--ink);stroke-width:2}
.lines .training{stroke:var(--ink-3);stroke-dasharray:5 4}
.lines .validation{stroke:var(--blue)}
.lines .rate{fill:var(--sunken);stroke:var(--ink-3);stroke-width:1.2}
.dot circle{fill:var(--page);stroke:var(--ink-3);stroke-width:1.6}
.dot.validation circle{fill:var(--blue);stroke:var(--blue)}
.dot.kept-mark circle{fill:none;stroke:var(--accent);stroke-width:2.2;pointer-events:none}
.dot.kept-mark text{fill:var(--accent);font-weight:650;paint-order:stroke;stroke:var(--page);stroke-width:5px;stroke-linejoin:round}
.kept{stroke:var(--accent);stroke-width:1.3;stroke-dasharray:2 4}
.learning .plot+.plot{margin-top:1.15rem}
.legend i.smooth{height:2.5px;width:18px;background:var(--ink)}
.legend i.raw{background:var(--ink-3);opacity:.35;width:18px;height:8px;border-radius:2px}
.legend i.training{height:0;width:18px;border-top:2px dashed var(--ink-3);border-radius:0}
.legend i.validation{height:2.5px;width:18px;background:var(--blue)}
.legend i.kept{height:11px;width:0;border-left:2px dotted var(--accent);border-radius:0;margin-left:4px}
.told{color:var(--ink-2);font-size:14px;max-width:50rem;margin-bottom:1.1rem;overflow-wrap:anywhere}
ul.told{margin:.9rem 0 0;padding-left:1.1rem}
.epochs .chip{margin-left:.4rem}
.legend+.scroll,.legend+details{margin-top:1.3rem}
.layers td.chart,.classes td.chart{min-width:120px;width:24%}

.ends{display:flex;justify-content:space-between;min-width:110px}
.note+details{margin-top:1.2rem}
.matrices{display:grid;grid-template-columns:repeat(auto-fit,minmax(min(100%,270px),1fr));gap:1.4rem 1.8rem;margin-bottom:1.6rem}
.matrices figure{max-width:360px}
figcaption{font-size:13px;color:var(--ink-2);font-weight:560;margin-bottom:.3rem}
.matrix{display:block;width:100%;height:auto}
.matrix text{font-size:9.5px}
.matrix .back{fill:var(--sunken);opacity:.6}
.matrix .count{fill:var(--heat)}
.matrix .good{fill:var(--accent)}
.matrix .bad{fill:var(--red)}
.matrix .cell{fill:var(--ink);pointer-events:none}
.matrix .cell.on{fill:var(--surface)}

details{border-top:1px solid var(--line)}
.body>details:first-child{border-top:0}
.body>details:last-of-type{border-bottom:0}
summary .glyph{margin-right:-.15rem}
summary{cursor:pointer;padding:.6rem 0;list-style:none;font-weight:550;display:flex;flex-wrap:wrap;align-items:center;gap:.2rem .6rem}
summary::-webkit-details-marker{display:none}
summary::before{content:"";width:6px;height:6px;border-right:1.6px solid var(--ink-3);border-bottom:1.6px solid var(--ink-3);transform:rotate(-45deg);flex:none;margin:0 .15rem 0 .1rem;transition:transform .12s}
details[open]>summary::before{transform:rotate(45deg)}
.summary-text{font-weight:400;color:var(--ink-2);font-size:14px;flex:1 1 20rem;overflow-wrap:anywhere}
.recipe{padding:0 0 1.1rem 1.35rem;overflow-wrap:anywhere}
.recipe>p{color:var(--ink-2);font-size:14px}
.steps{padding-left:1.1rem;margin:.2rem 0 0}
.steps>li{margin:.5rem 0}
.steps>li::marker{color:var(--ink-3)}
.steps ul{padding-left:1rem;margin:.2rem 0;color:var(--ink-2);font-size:13.5px;list-style:"–  "}
.more{color:var(--ink-3)}
.steps details{border:0;font-size:13.5px}
.options code,.files code,.facts code{background:var(--sunken);border-radius:5px;padding:.08rem .35rem;margin-right:.15rem;white-space:pre-wrap;overflow-wrap:anywhere}
.options{margin:.15rem 0}
.options,.files,.hash{color:var(--ink-2);font-size:13px}
.files{margin-top:.6rem}
.plain{list-style:none;padding:0}
.plain li{margin:.3rem 0}

.refusals>div{padding:.75rem 0;border-bottom:1px solid var(--line)}
.refusals>div:first-child{padding-top:0}
.refusals>div:last-child{border-bottom:0}
.refusals dt{font-weight:560;overflow-wrap:anywhere}
.refusals dd{color:var(--ink-2);font-size:14.5px;margin-top:.2rem;overflow-wrap:anywhere;max-width:50rem}
.refusals details{border:0;font-size:13.5px}

.split .evaluation,.legend i.evaluation{fill:var(--blue);background:var(--blue)}
.split .calibration,.legend i.calibration{fill:var(--amber);background:var(--amber)}
.facts>div{display:grid;grid-template-columns:130px minmax(0,1fr);gap:1rem;padding:.38rem 0;border-bottom:1px solid var(--line);font-size:14px}
.facts>div:last-child{border-bottom:0}
.split+.legend+.facts{margin-top:1.1rem}
.facts dt{color:var(--ink-3)}
.facts dd{overflow-wrap:anywhere}
.code{position:relative;background:var(--sunken);border-radius:10px;margin-top:.3rem}
.code pre{padding:.85rem 1rem;overflow-x:auto;scrollbar-width:thin}
.code .copy{position:absolute;top:.45rem;right:.5rem;border:1px solid var(--line-strong);background:var(--surface);border-radius:7px;font-size:12.5px;padding:.1rem .6rem;color:var(--ink-2)}
.tip{position:fixed;z-index:9;pointer-events:none;background:var(--ink);color:var(--page);font-size:12.5px;line-height:1.45;padding:.4rem .6rem;border-radius:7px;white-space:pre-line;max-width:300px;overflow-wrap:anywhere}

@media (max-width:900px){
section{grid-template-columns:minmax(0,1fr);gap:1rem;padding:1.9rem 0 2.1rem}
.lead{max-width:40rem}
}
@media (max-width:640px){
main{padding:0 18px 4rem}
.top>div{padding:.55rem 18px}
.top nav{display:none}
.theme{margin-left:auto}
.hero{padding:2rem 0 1.7rem}
.tiles{grid-template-columns:1fr 1fr}
.tiles>div{padding:.8rem .9rem}
.tiles>div:last-child:nth-child(odd){grid-column:1/-1}
.figure{font-size:1.4rem}
.scroll{margin:0 -18px;padding:0 18px 2px}
.facts>div{grid-template-columns:104px minmax(0,1fr);gap:.6rem}
th,td{padding-left:.55rem;padding-right:.55rem}
.scroll tbody th:first-child,.scroll thead th:first-child{position:sticky;left:-18px;background:var(--page);z-index:1;max-width:46vw;white-space:normal;overflow-wrap:anywhere;padding-left:18px!important;border-radius:0!important}
.scroll tr.recommended>th:first-child{background:var(--accent-soft)}
.scroll{padding-left:0}
tbody th.text{min-width:6.5rem}
.summary-text{padding-left:1.35rem}
}
@media print{
.top{position:static}.theme,.copy{display:none}
body{background:#fff}
section,.wide{break-inside:avoid}
}
@media (prefers-reduced-motion:reduce){*{transition:none!important}}
`;
