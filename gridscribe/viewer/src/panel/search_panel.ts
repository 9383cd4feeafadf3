// Words about regions: the matches in order, and a switch for the heat map.
import { json } from "../api.js";
import { el, freshId, swatch } from "../dom.js";
import { area, count, metres } from "../format.js";
import type { Layers } from "../layers.js";
import { writeLink } from "../link.js";
import { say } from "../notices.js";
import type { Match, Product } from "../types.js";
import { resultList, type Result } from "./results.js";
import { SearchForm } from "./search_form.js";

const MOST = 50;

export interface SearchActions {
  /** West, south, east, north of what is seen. */
  box: () => [number, number, number, number];
  found: (matches: readonly Match[]) => void;
  visit: (match: Match) => void;
  /** The heat map is about these words from now on. */
  phrase: (words: string) => void;
}

export class SearchPanel {
  readonly element = el("div", {});
  private readonly answers = el("div", { class: "found" });
  private readonly form: SearchForm;
  private readonly kind: HTMLSelectElement;
  private readonly here: HTMLInputElement;

  constructor(
    private readonly product: Product,
    private readonly layers: Layers,
    private readonly actions: SearchActions,
  ) {
    const [kind, here, heat] = [freshId("class"), freshId("here"), freshId("heat")];
    const classes = product.classes.map((one) => el("option", { value: one.name }, one.name));
    this.kind = el("select", { id: kind }, el("option", { value: "" }, "Any class"), ...classes);
    this.here = el("input", { type: "checkbox", id: here });
    const heatmap = el("input", { type: "checkbox", role: "switch", id: heat });
    heatmap.addEventListener("change", () => layers.change("heatmap", { on: heatmap.checked }));
    const follow = (): void => {
      heatmap.checked = layers.shown("heatmap");
      heatmap.disabled = layers.get("heatmap").blocked !== null;
    };
    layers.onChange(follow);
    follow();
    this.form = new SearchForm("Words", "swimming pool", (words, signal) => this.search(words, signal), [
      el("div", { class: "line" }, el("label", { for: kind }, "Class"), this.kind),
      el("div", { class: "choice" }, this.here, el("label", { for: here }, "Only in this view")),
      el("div", { class: "choice" }, heatmap, el("label", { for: heat }, "Heat map of these words")),
    ]);
    this.element.append(el("h2", {}, "Search"));
    if (product.alignment === null) this.element.append(el("p", { class: "hint" }, "The regions of this product are not embedded, so words find nothing in it."));
    else this.element.append(this.form.element, this.answers);
  }

  /** Search for words as if they had been typed. */
  async ask(words: string): Promise<void> {
    if (this.product.alignment !== null) await this.form.run(words);
  }

  /** Regions that resemble one. */
  async similar(region: string): Promise<void> {
    const { matches } = await json<{ matches: Match[] }>("similar", { product: this.product.id, region, top_k: MOST });
    this.show(matches, `like ${region}`);
  }

  private async search(words: string, signal: AbortSignal): Promise<void> {
    const where = this.here.checked ? this.actions.box() : null;
    const asked = { product: this.product.id, text: words, top_k: MOST, bbox: where, class_name: this.kind.value || null };
    const { matches } = await json<{ matches: Match[] }>("match", asked, signal);
    writeLink({ q: words });
    this.layers.change("heatmap", { blocked: null });
    this.actions.phrase(words);
    this.show(matches, `for “${words}”`);
  }

  private show(matches: readonly Match[], about: string): void {
    const summary = matches.length === 0 ? `No match ${about}.` : `${count(matches.length, "match", "matches")} ${about}, best first.`;
    this.answers.replaceChildren(el("p", { class: "hint" }, summary));
    if (matches.length > 0) this.answers.append(resultList(`Matches ${about}`, matches.map((match) => this.result(match))));
    this.actions.found(matches);
    say(summary);
  }

  private result(match: Match): Result {
    const color = this.product.classes.find((one) => one.id === match.class_id)?.color;
    const size = area(match.area_m2, match.area_px);
    const height = match.height_mean === null ? "" : ` · ${metres(match.height_mean)} high`;
    return {
      title: el("span", { "data-region": match.region_id }, swatch(color), match.class_name),
      spoken: `${match.class_name}, ${size}, in ${match.image}`,
      detail: `${size}${height} · ${match.image}`,
      score: match.score,
      visit: () => this.actions.visit(match),
    };
  }
}
