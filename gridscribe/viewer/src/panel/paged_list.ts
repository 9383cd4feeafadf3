// A list that the service hands out a page at a time, with a box that filters it by name.
import { el, freshId } from "../dom.js";
import { count } from "../format.js";
import { attempt } from "../notices.js";

export interface Page<T> {
  rows: readonly T[];
  total: number;
  next: string | null;
}

const LOADED_TO_FILTER = 5000; // rows that a filter loads by itself; beyond, "More" goes on

/** Rows are made by `row` and filtered by the text that `name` gives for them. */
export class PagedList<T> {
  readonly element: HTMLElement;
  private readonly list: HTMLElement;
  private readonly told = el("p", { class: "hint", role: "status" });
  private readonly more = el("button", { type: "button", class: "more" }, "More");
  private readonly filter: HTMLInputElement;
  private rows: T[] = [];
  private total = 0;
  private next: string | null = null;
  private busy = false;

  constructor(
    private readonly things: string,
    private readonly load: (after: string | null) => Promise<Page<T>>,
    private readonly name: (value: T) => string,
    private readonly row: (value: T) => HTMLElement,
  ) {
    const id = freshId("filter");
    this.filter = el("input", { type: "search", id, autocomplete: "off" });
    this.list = el("ul", { class: "rows", "aria-label": `${things[0]!.toUpperCase()}${things.slice(1)}s` });
    this.element = el("div", {}, el("div", { class: "line" }, el("label", { for: id }, "Filter"), this.filter), this.told, this.list, this.more);
    this.filter.addEventListener("input", () => attempt(() => this.fill()));
    this.more.addEventListener("click", () => attempt(() => this.extend().then(() => this.draw())));
  }

  /** Load anew from the start. */
  async open(): Promise<readonly T[]> {
    this.rows = [];
    this.next = null;
    await this.extend();
    this.draw();
    return this.rows;
  }

  private async extend(): Promise<void> {
    const page = await this.load(this.next);
    this.rows.push(...page.rows);
    this.total = page.total;
    this.next = page.next;
  }

  private async fill(): Promise<void> {
    this.draw();
    if (this.busy) return;
    this.busy = true;
    try {
      while (this.filter.value.trim() !== "" && this.next !== null && this.rows.length < LOADED_TO_FILTER) await this.extend();
    } finally {
      this.busy = false;
    }
    this.draw();
  }

  private draw(): void {
    const wanted = this.filter.value.trim().toLowerCase();
    const shown = wanted === "" ? this.rows : this.rows.filter((row) => this.name(row).toLowerCase().includes(wanted));
    this.list.replaceChildren(...shown.map((row) => el("li", {}, this.row(row))));
    const loaded = this.next === null ? count(this.total, this.things) : `${this.rows.length} of ${count(this.total, this.things)} loaded`;
    this.told.textContent = wanted === "" ? loaded : `${shown.length} with “${wanted}” · ${loaded}`;
    this.more.hidden = this.next === null;
  }
}
