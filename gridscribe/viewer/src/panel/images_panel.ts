// The images of a product.
import { json } from "../api.js";
import { el } from "../dom.js";
import { when } from "../format.js";
import type { ImageFeature, Images, Product } from "../types.js";
import { PagedList } from "./paged_list.js";

const PAGE = 200;

export interface ImagesActions {
  visit: (image: ImageFeature) => void;
}

/** The panel, and the first images that it lists. */
export function imagesPanel(product: Product, actions: ImagesActions): { element: HTMLElement; first: Promise<readonly ImageFeature[]> } {
  const load = async (after: string | null) => {
    const images = await json<Images>("images", { product: product.id, limit: PAGE, after });
    return { rows: images.features, total: images.total, next: images.next };
  };
  const row = (image: ImageFeature): HTMLElement =>
    el(
      "button",
      { type: "button", "data-image": image.id, on: { click: () => actions.visit(image) } },
      el("span", { class: "title" }, image.id),
      el("span", { class: "detail" }, about(image)),
    );
  const list = new PagedList("image", load, (image) => `${image.id} ${image.properties.source}`, row);
  return { element: el("div", {}, el("h2", {}, "Images"), list.element), first: list.open() };
}

function about({ geometry, properties }: ImageFeature): string {
  const size = `${properties.width} × ${properties.height} px`;
  const grain = properties.gsd === null ? "" : ` · ${properties.gsd.toPrecision(3)} m`;
  const taken = properties.datetime === null ? "" : ` · ${when(properties.datetime)}`;
  return `${size}${grain}${taken}${geometry === null ? " · not georeferenced" : ""}`;
}
