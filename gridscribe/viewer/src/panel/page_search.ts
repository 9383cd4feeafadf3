// Words on pages: of the one that is open, or of all.
import { json } from "../api.js";
import { el, freshId } from "../dom.js";
import { count } from "../format.js";
import { writeLink } from "../link.js";
import { attempt, say } from "../notices.js";
import type { Box, PageMatch, Product } from "../types.js";
import { resultList } from "./results.js";
import { SearchForm } from "./search_form.js";

const PLACES = 20;
const SHOWN = 5; // places outlined on a page that is one result of many
const PAGES = 50;

export interface PageSearchActions {
  /** The page that is open. */
  current: () => { document: string; page: number } | null;
  /** Places on the open page. */
  found: (boxes: readonly Box[]) => void;
  visit: (match: PageMatch) => Promise<void>;
}

export class PageSearch {
  readonly element = el("div", {});
  private readonly form: SearchForm;
  private readonly answers = el("div", { class: "found" });
  private readonly everywhere: HTMLInputElement;
  private searched = "";

  constructor(
    private readonly product: Product,
    private readonly actions: PageSearchActions,
  ) {
    const [name, here, all] = [freshId("scope"), freshId("here"), freshId("all")];
    this.everywhere = el("input", { type: "radio", name, id: all, checked: true });
    const scope = el(
      "fieldset",
      { class: "choice" },
      el("legend", {}, "Where"),
      this.everywhere,
      el("label", { for: all }, "All pages"),
      el("input", { type: "radio", name, id: here }),
      el("label", { for: here }, "This page"),
    );
    this.form = new SearchForm("Words", "total amount", (words, signal) => this.search(words, signal), [scope]);
    this.element.append(el("h2", {}, "Search"), this.form.element, this.answers);
  }

  /** Search for words as if they had been typed. */
  async ask(words: string): Promise<void> {
    await this.form.run(words);
  }

  /** The best places on a page of the words that were last searched for; none before the first search. */
  async placesOf(document: string, number: number): Promise<readonly PageMatch[]> {
    if (this.searched === "") return [];
    return this.places(this.searched, document, number, this.everywhere.checked ? SHOWN : PLACES);
  }

  private async search(words: string, signal: AbortSignal): Promise<void> {
    const open = this.actions.current();
    const wide = this.everywhere.checked || open === null;
    const matches = wide ? await this.pages(words, signal) : await this.places(words, open.document, open.page, PLACES, signal);
    this.searched = words;
    writeLink({ q: words });
    const things = wide ? count(matches.length, "page") : count(matches.length, "place");
    const summary = matches.length === 0 ? `Nothing like “${words}” was found.` : `${things} for “${words}”, best first.`;
    const results = matches.map((match) => ({
      title: wide ? match.source : `Place on page ${match.page + 1}`,
      spoken: `${match.source}, page ${match.page + 1}`,
      detail: `page ${match.page + 1} · at ${Math.round(match.box[0])}, ${Math.round(match.box[1])} pt`,
      score: match.score,
      visit: () => attempt(() => this.actions.visit(match)),
    }));
    this.answers.replaceChildren(el("p", { class: "hint" }, summary));
    if (results.length > 0) this.answers.append(resultList(`Places of ${words}`, results));
    if (!wide) this.actions.found(matches.map((match) => match.box));
    else if (matches[0] !== undefined) await this.actions.visit(matches[0]);
    say(summary);
  }

  private async pages(text: string, signal: AbortSignal): Promise<PageMatch[]> {
    const asked = { product: this.product.id, text, top_k: PAGES };
    return (await json<{ matches: PageMatch[] }>("match-pages", asked, signal)).matches;
  }

  private async places(text: string, document: string, number: number, most: number, signal?: AbortSignal): Promise<PageMatch[]> {
    const asked = { product: this.product.id, document, number, text, top_k: most };
    return (await json<{ matches: PageMatch[] }>("page/match", asked, signal)).matches;
  }
}
