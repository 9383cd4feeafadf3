// The documents of a product.
import { json } from "../api.js";
import { el } from "../dom.js";
import { count } from "../format.js";
import type { DocumentInfo, Documents, Product } from "../types.js";
import { PagedList } from "./paged_list.js";

const PAGE = 200;

export function documentList(product: Product, open: (chosen: DocumentInfo) => void): PagedList<DocumentInfo> {
  const load = async (after: string | null) => {
    const answer = await json<Documents>("documents", { product: product.id, limit: PAGE, after });
    return { rows: answer.documents, total: answer.total, next: answer.next };
  };
  const row = (one: DocumentInfo): HTMLElement =>
    el(
      "button",
      { type: "button", "data-document": one.document, on: { click: () => open(one) } },
      el("span", { class: "title" }, one.source),
      el("span", { class: "detail" }, about(one)),
    );
  return new PagedList("document", load, (one) => `${one.document} ${one.source}`, row);
}

function about({ pages }: DocumentInfo): string {
  const kept = pages.reduce((sum, page) => sum + page.kept, 0);
  const cells = pages.reduce((sum, page) => sum + page.grid_h * page.grid_w, 0);
  const share = cells === 0 ? "" : ` · ${Math.round((100 * kept) / cells)} % of cells kept`;
  return `${count(pages.length, "page")}${share}`;
}
