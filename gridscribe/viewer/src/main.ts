// The page: which products there are, which one is shown, and the screen for its kind.
import { json } from "./api.js";
import { byId, el, freshId } from "./dom.js";
import { count } from "./format.js";
import { readLink, writeLink } from "./link.js";
import { attempt } from "./notices.js";
import { jobsTab } from "./panel/jobs_panel.js";
import { Tabs } from "./panel/tabs.js";
import { DocumentsScreen } from "./screen/documents.js";
import { RasterScreen } from "./screen/raster.js";
import type { Product, Products } from "./types.js";

async function start(): Promise<void> {
  const { output, products } = await json<Products>("products");
  const name = output.replace(/\/+$/, "").split("/").pop() || output;
  byId("output").textContent = name;
  byId("output").title = output;
  document.title = `${name} · gridscribe`;
  const wanted = readLink().product;
  const product = products.find((one) => wanted !== undefined && one.id.startsWith(wanted)) ?? products[0];
  if (product === undefined) {
    showEmpty();
    return;
  }
  writeLink({ product: product.id });
  byId("chooser").replaceChildren(...chooser(products, product));
  const Screen = product.kind === "raster" ? RasterScreen : DocumentsScreen;
  new Screen(byId("panel"), byId("stage"), product);
}

/** A product's own views mean nothing in another, so that choosing one begins anew. */
function chooser(products: readonly Product[], shown: Product): HTMLElement[] {
  const id = freshId("product");
  const option = (product: Product): HTMLElement => el("option", { value: product.id, selected: product === shown }, titleOf(product));
  const select = el("select", { id }, ...products.map(option));
  select.addEventListener("change", () => {
    window.location.hash = `product=${select.value}`; // the page loads anew, below
  });
  return [el("label", { for: id }, "Product"), select];
}

function titleOf(product: Product): string {
  const things = product.kind === "raster" ? count(product.images, "image") : count(product.images, "document");
  return `${product.model.split("@")[0]} · ${things} · ${product.id.slice(0, 8)}`;
}

function showEmpty(): void {
  byId("stage").replaceChildren(el("div", { class: "empty" }, el("h2", {}, "Nothing to show yet"), el("p", {}, "No job has committed a result here. This page shows them once it is loaded again.")));
  new Tabs(byId("panel"), [jobsTab()]);
}

// the viewer writes the address without this event: it comes from the reader, by a link, the history or the chooser
window.addEventListener("hashchange", () => window.location.reload());
byId("skip").addEventListener("click", (event) => {
  event.preventDefault(); // its address would take the place of the view's
  const view = byId("stage").querySelector<HTMLElement>(".view:not([hidden]) .map");
  (view ?? byId("stage")).focus();
});
attempt(start);
