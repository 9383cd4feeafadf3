// What the colours on the map mean; ramps only for layers that are shown.
import { el, swatch } from "../dom.js";
import { HIGH, type Layers } from "../layers.js";
import type { Product } from "../types.js";

const RAMPS: Record<string, readonly [title: string, low: string, high: string]> = {
  confidence: ["Confidence", "0 %", "100 %"],
  height: ["Height above ground", "0 m", `${HIGH} m`],
  heatmap: ["Nearness to the words", "far", "near"],
};

export function legend(product: Product, layers: Layers): HTMLElement {
  const classes = product.classes.map((one) => el("li", {}, swatch(one.color), one.name));
  const list = el("ul", { "aria-label": "Classes" }, ...classes);
  const ramps = Object.entries(RAMPS).map(([id, [title, low, high]]) => {
    const bar = el("div", { class: `ramp ramp-${id}`, "aria-hidden": "true" });
    return [id, el("div", { class: "scale" }, el("p", {}, title), bar, el("p", { class: "ends" }, el("span", {}, low), el("span", {}, high)))] as const;
  });
  const follow = (): void => {
    list.hidden = !layers.shown("mask");
    for (const [id, ramp] of ramps) ramp.hidden = !layers.shown(id);
  };
  layers.onChange(follow);
  follow();
  const roomy = window.matchMedia("(min-width: 761px)").matches;
  return el("details", { class: "legend", open: roomy }, el("summary", {}, "Legend"), list, ...ramps.map(([, ramp]) => ramp));
}
