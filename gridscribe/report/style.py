"""The style of a report: one column, the system's own fonts, light or dark as the reader's system is."""

from __future__ import annotations

CSS = """
:root { color-scheme: light dark; --ink: #1c2127; --soft: #5a6572; --line: #d9dee4; --sheet: #fff; --back: #f3f5f7;
  --bar: #2f6fb7; --done: #2e8b57; --skipped: #9aa5b1; --failed: #c9372c; --left: #d99a1c; --warn: #fff4d6; }
@media (prefers-color-scheme: dark) { :root { --ink: #e6e9ed; --soft: #9aa5b1; --line: #353c45; --sheet: #1b1f24;
  --back: #121518; --bar: #6aa5e8; --done: #4fb37c; --skipped: #6b7683; --failed: #ef6a5f; --left: #e3b04b; --warn: #3a3016; } }
* { box-sizing: border-box; }
body { margin: 0; background: var(--back); color: var(--ink); font: 15px/1.5 system-ui, "Segoe UI", Roboto, sans-serif; }
main { max-width: 1120px; margin: 0 auto; padding: 24px 16px 48px; }
h1 { font-size: 26px; line-height: 1.25; margin: 0 0 4px; }
h2 { font-size: 19px; margin: 0 0 12px; }
h3 { font-size: 15px; margin: 20px 0 8px; }
p { margin: 0 0 10px; }
.soft, caption, figcaption { color: var(--soft); }
section { background: var(--sheet); border: 1px solid var(--line); border-radius: 8px; padding: 20px; margin-top: 16px; }
.tiles { display: grid; grid-template-columns: repeat(auto-fit, minmax(130px, 1fr)); gap: 12px; margin: 16px 0 0; padding: 0; }
.tiles div { background: var(--sheet); border: 1px solid var(--line); border-radius: 8px; padding: 12px 14px; }
.tiles dt { color: var(--soft); font-size: 13px; }
.tiles dd { margin: 0; font-size: 22px; font-weight: 600; font-variant-numeric: tabular-nums; }
.scroll { overflow-x: auto; margin-bottom: 12px; }
table { border-collapse: collapse; width: 100%; }
caption { text-align: left; padding-bottom: 6px; font-size: 14px; }
th, td { text-align: left; vertical-align: top; padding: 6px 12px 6px 0; border-top: 1px solid var(--line); }
thead th { border-top: 0; color: var(--soft); font-weight: 500; font-size: 13px; }
tbody th { font-weight: 500; }
.reasons tbody th { width: 40%; min-width: 220px; }
.number { text-align: right; font-variant-numeric: tabular-nums; white-space: nowrap; }
.place, code { font: 13px/1.5 ui-monospace, "Cascadia Mono", Menlo, Consolas, monospace; overflow-wrap: anywhere; }
.state { display: inline-block; border-radius: 10px; padding: 0 10px; color: #fff; font-size: 13px; background: var(--done); }
.state.open { background: var(--left); color: #1c2127; }
.sum { font-size: 17px; font-variant-numeric: tabular-nums; }
.warn { background: var(--warn); border-radius: 6px; padding: 8px 12px; }
.parts { display: flex; height: 12px; border-radius: 6px; overflow: hidden; margin: 0 0 16px; background: var(--line); }
.parts .done { background: var(--done); } .parts .skipped { background: var(--skipped); }
.parts .failed { background: var(--failed); } .parts .left { background: var(--left); }
.share { width: 100%; min-width: 120px; height: 12px; margin-top: 5px; border-radius: 3px;
  background: var(--line); overflow: hidden; }
.share span { display: block; height: 100%; }
.swatch { display: inline-block; width: 12px; height: 12px; border-radius: 3px; margin-right: 8px;
  outline: 1px solid var(--line); }
.chart { display: block; width: 100%; height: auto; margin-bottom: 12px; }
.chart .bar { fill: var(--bar); } .chart .grid { stroke: var(--line); }
.chart .pause { stroke: var(--soft); stroke-dasharray: 4 4; }
.chart .label { fill: var(--soft); font-size: 12px; }
details { margin-bottom: 10px; } summary { cursor: pointer; margin-bottom: 8px; }
figure { margin: 0 0 20px; } figure img { display: block; max-width: 100%; height: auto; border: 1px solid var(--line); }
figcaption { margin-top: 6px; font-size: 14px; }
.missing { border: 1px dashed var(--soft); border-radius: 6px; padding: 20px; color: var(--soft); }
footer { margin-top: 20px; color: var(--soft); font-size: 13px; }
@media print { body { background: #fff; } section { break-inside: avoid; } }
"""
