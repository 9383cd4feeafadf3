// The box that words are typed into.
import { el, freshId } from "../dom.js";
import { attempt } from "../notices.js";

export type Search = (words: string, signal: AbortSignal) => Promise<void>;

/** A form of a search box, a button, and `more` under them. A new search ends the one that still runs. */
export class SearchForm {
  readonly element: HTMLFormElement;
  private readonly input: HTMLInputElement;
  private readonly button = el("button", { type: "submit", class: "primary" }, "Search");
  private running = new AbortController();

  constructor(
    label: string,
    example: string,
    private readonly search: Search,
    more: HTMLElement[],
  ) {
    const id = freshId("words");
    this.input = el("input", { type: "search", id, name: "q", placeholder: example, autocomplete: "off", maxlength: 200, enterkeyhint: "search" });
    this.element = el("form", { role: "search", class: "search" }, el("label", { for: id }, label), el("div", { class: "line" }, this.input, this.button), ...more);
    this.element.addEventListener("submit", (event) => {
      event.preventDefault();
      if (this.words !== "") attempt(() => this.run(this.words));
    });
  }

  get words(): string {
    return this.input.value.trim();
  }

  /** Search for words as if they had been typed. */
  async run(words: string): Promise<void> {
    this.running.abort();
    const mine = (this.running = new AbortController());
    this.input.value = words;
    this.button.textContent = "Searching…";
    try {
      await this.search(words, mine.signal);
    } finally {
      if (mine === this.running) this.button.textContent = "Search";
    }
  }
}
