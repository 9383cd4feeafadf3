// A product of documents: a page with what is stored of it laid over, and the panels about it.
import { json, picture } from "../api.js";
import { el, freshId } from "../dom.js";
import { justBefore } from "../ids.js";
import { pageLayers } from "../layers.js";
import { readLink, writeLink } from "../link.js";
import { PlaneMap, type Picture } from "../map/plane.js";
import { tinted } from "../map/tint.js";
import { attempt, say } from "../notices.js";
import { documentList } from "../panel/documents_panel.js";
import { jobsTab } from "../panel/jobs_panel.js";
import { layersPanel } from "../panel/layers_panel.js";
import { PageAnswer } from "../panel/page_answer.js";
import { PageSearch } from "../panel/page_search.js";
import { Tabs } from "../panel/tabs.js";
import type { DocumentInfo, Documents, PageFacts, PageInfo, PageMatch, PageToken, Product } from "../types.js";

const TEXT = [214, 40, 57] as const;

interface Open {
  document: string;
  page: number;
}

export class DocumentsScreen {
  private readonly layers = pageLayers();
  private readonly plane: PlaneMap;
  private readonly answer = new PageAnswer();
  private readonly search: PageSearch;
  private readonly tabs: Tabs;
  private readonly bar = el("div", { class: "viewbar" });
  private readonly documents = new Map<string, DocumentInfo>();
  private open: Open | null = null;
  private asked = 0;

  constructor(
    panel: HTMLElement,
    stage: HTMLElement,
    private readonly product: Product,
  ) {
    const { layers: shown } = readLink();
    if (shown !== undefined) this.layers.fromText(shown);
    const host = el("div", { class: "view flat page" });
    stage.replaceChildren(host, this.bar);
    this.plane = new PlaneMap(host, "Page", this.layers, (x, y) => attempt(() => this.ask(x, y)));
    this.layers.onChange(() => writeLink({ layers: this.layers.toText() }));
    const list = documentList(product, (chosen) => attempt(() => this.openPage(chosen.document, chosen.pages[0]?.page ?? 0)));
    this.search = new PageSearch(product, {
      current: () => this.open,
      found: (boxes) => this.plane.outlineBoxes(boxes),
      visit: (match) => this.visit(match),
    });
    this.tabs = new Tabs(panel, [
      { id: "documents", title: "Documents", content: el("div", {}, el("h2", {}, "Documents"), list.element) },
      { id: "search", title: "Search", content: this.search.element },
      { id: "layers", title: "Layers", content: layersPanel(this.layers) },
      { id: "answer", title: "Answer", content: this.answer.element },
      jobsTab(),
    ]);
    attempt(async () => this.start(await list.open()));
  }

  private async start(listed: readonly DocumentInfo[]): Promise<void> {
    for (const one of listed) this.documents.set(one.document, one);
    const { document = listed[0]?.document, page = "0", q } = readLink();
    if (document !== undefined) await this.openPage(document, Number(page) || 0);
    if (q !== undefined) await this.search.ask(q);
  }

  private async openPage(document: string, number: number): Promise<void> {
    const asked = { product: this.product.id, document, number };
    const facts = await json<PageFacts>("page", asked);
    this.open = { document, page: number };
    const pictures = new Map<string, Picture>([
      ["picture", { fetch: (size, signal) => picture("page/picture.png", { ...asked, size }, signal) }],
      ["tokens", { fetch: (_, signal) => picture("page/tokens.png", asked, signal), cells: true }], // the grid covers the page exactly
      ["text", { fetch: (_, signal) => picture("page/text.png", asked, signal).then((mask) => mask && tinted(mask, TEXT)), cells: true }],
    ]);
    this.layers.change("text", { blocked: facts.text_mask === null ? "This product stores no text masks" : null });
    this.plane.open({ width: facts.width, height: facts.height, pictures });
    this.answer.open(facts);
    await this.drawBar(facts);
    writeLink({ document, page: String(number) });
    say(`Page ${number + 1} of ${facts.source}`);
    await this.outlinePlaces();
  }

  /** Outline where on the open page the words stand. */
  private async outlinePlaces(): Promise<void> {
    const asked = this.open;
    if (asked === null) return;
    const places = await this.search.placesOf(asked.document, asked.page);
    if (asked === this.open) this.plane.outlineBoxes(places.map((match) => match.box));
  }

  private async ask(x: number, y: number): Promise<void> {
    if (this.open === null) return;
    const asked = ++this.asked;
    this.plane.mark(x, y);
    this.tabs.show("answer");
    const where = { product: this.product.id, document: this.open.document, number: this.open.page, x, y };
    const token = await json<PageToken>("page/at", where);
    if (asked !== this.asked) return;
    this.plane.chooseBox(token.box);
    this.answer.show(token);
  }

  private async visit(match: PageMatch): Promise<void> {
    if (this.open?.document === match.document && this.open.page === match.page) await this.outlinePlaces();
    else await this.openPage(match.document, match.page);
    this.plane.chooseBox(match.box);
    this.plane.visitChosen();
  }

  private async drawBar(facts: PageFacts): Promise<void> {
    const pages = (await this.documentOf(facts.document)).pages;
    const at = pages.findIndex((page) => page.page === facts.page);
    this.bar.replaceChildren(el("h2", {}, facts.source), ...(pages.length > 1 ? this.pager(facts.document, pages, at) : []));
  }

  private pager(document: string, pages: readonly PageInfo[], at: number): HTMLElement[] {
    const go = (number: number): void => attempt(() => this.openPage(document, number));
    const turn = (label: string, sign: string, to: PageInfo | undefined): HTMLElement =>
      el("button", { type: "button", "aria-label": label, disabled: to === undefined, on: { click: () => to && go(to.page) } }, sign);
    const id = freshId("page");
    const options = pages.map(({ page }) => el("option", { value: page, selected: page === pages[at]?.page }, String(page + 1)));
    const select = el("select", { id, on: { change: () => go(Number(select.value)) } }, ...options);
    return [
      turn("Previous page", "‹", pages[at - 1]),
      el("label", { for: id }, "Page"),
      select,
      el("span", { class: "detail" }, `of ${pages.length}`),
      turn("Next page", "›", pages[at + 1]),
    ];
  }

  /** A document, which the list may not have loaded yet. */
  private async documentOf(id: string): Promise<DocumentInfo> {
    let found = this.documents.get(id);
    if (found === undefined) {
      const asked = { product: this.product.id, limit: 1, after: justBefore(id) };
      found = (await json<Documents>("documents", asked)).documents.find((one) => one.document === id);
    }
    if (found === undefined) throw new Error(`The service lists no document ${id}`);
    this.documents.set(id, found);
    return found;
  }
}
