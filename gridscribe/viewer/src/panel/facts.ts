// Facts as a list of terms and values; what is not known is left out.
import { el } from "../dom.js";
import type { Label } from "../types.js";

export type Fact = readonly [term: string, value: string | Node | null | undefined];

export function facts(rows: readonly Fact[]): HTMLElement {
  const known = rows.filter(([, value]) => value !== null && value !== undefined && value !== "");
  return el("dl", { class: "facts" }, ...known.flatMap(([term, value]) => [el("dt", {}, term), el("dd", {}, value!)]));
}

export function labelList(labels: readonly Label[]): HTMLElement {
  const chips = labels.map(({ text, score }) => el("li", {}, text, " ", el("small", {}, score.toFixed(2))));
  return el("ul", { class: "chips" }, ...chips);
}

/** A share of one as a bar beside its number. */
export function bar(share: number, text: string): HTMLElement {
  const fill = el("span", { class: "fill" });
  fill.style.width = `${Math.max(0, Math.min(1, share)) * 100}%`;
  return el("span", { class: "bar" }, el("span", { class: "track", "aria-hidden": "true" }, fill), el("span", { class: "number" }, text));
}
