// A list of what a search found, best first; one of them may be the one that is looked at.
import { el } from "../dom.js";
import { bar } from "./facts.js";

export interface Result {
  title: Node | string;
  /** What a screen reader says of it, beside its score. */
  spoken: string;
  detail: string;
  score: number;
  visit: () => void;
}

/** Bars are drawn against the best score, which is what tells the results apart. */
export function resultList(label: string, results: readonly Result[]): HTMLElement {
  const best = Math.max(...results.map((result) => result.score), 1e-9);
  const list = el("ol", { class: "results", "aria-label": label });
  for (const [rank, result] of results.entries()) {
    const name = `${rank + 1}. ${result.spoken}, score ${result.score.toFixed(3)}`;
    const button = el(
      "button",
      { type: "button", "aria-label": name },
      el("span", { class: "title" }, result.title),
      bar(result.score / best, result.score.toFixed(3)),
      el("span", { class: "detail" }, result.detail),
    );
    button.addEventListener("click", () => {
      for (const other of list.querySelectorAll("[aria-current]")) other.removeAttribute("aria-current");
      button.setAttribute("aria-current", "true");
      result.visit();
    });
    list.append(el("li", {}, button));
  }
  return list;
}
