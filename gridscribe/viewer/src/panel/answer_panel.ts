// What is known of the pixel that was asked about.
import { el, swatch } from "../dom.js";
import { area, metres, percent, place, when } from "../format.js";
import { say } from "../notices.js";
import type { Pixel, Product, Region } from "../types.js";
import { bar, facts, labelList } from "./facts.js";

export interface AnswerActions {
  similar: (region: string) => void;
}

export class AnswerPanel {
  readonly element = el("div", { class: "answer" });

  constructor(
    private readonly product: Product,
    private readonly actions: AnswerActions,
  ) {
    this.element.append(
      el("h2", {}, "Answer"),
      el("p", { class: "hint" }, "Click the map, or move its crosshair with the arrow keys and press Enter, to ask what is there."),
    );
  }

  busy(busy: boolean): void {
    this.element.setAttribute("aria-busy", String(busy));
  }

  /** The pixels of a place, best first, and what is stored of the first one's region. */
  show(pixels: readonly Pixel[], region: Region | null): void {
    const [best, ...others] = pixels;
    if (best === undefined) return;
    this.element.replaceChildren(el("h2", {}, "Answer"), this.headline(best), this.table(best, region), ...this.also(others));
    say(`${best.class_name ?? "No class"}. ${best.reason ?? spoken(best)}`);
  }

  private headline(pixel: Pixel): HTMLElement {
    const color = this.product.classes.find((one) => one.id === pixel.class_id)?.color;
    const name = el("p", { class: "class" }, swatch(color), el("strong", {}, pixel.class_name ?? "No class"));
    return el("div", { class: "headline" }, name, pixel.reason === null ? null : el("p", { class: "reason" }, pixel.reason));
  }

  private table(pixel: Pixel, region: Region | null): HTMLElement {
    const similar = (): HTMLElement =>
      el("button", { type: "button", on: { click: () => this.actions.similar(pixel.region!) } }, "Find similar regions");
    const known = pixel.lat !== null && pixel.lon !== null;
    return el(
      "div",
      {},
      facts([
        ["Confidence", pixel.confidence === null ? null : bar(pixel.confidence, percent(pixel.confidence))],
        ["Height", pixel.height === null ? null : metres(pixel.height)],
        ["Labels", region?.labels.length ? labelList(region.labels) : null],
        ["Region", pixel.region],
        ["Region area", region === null ? null : area(region.area_m2, region.area_px)],
        ["Place", known ? place(pixel.lat!, pixel.lon!) : null],
        ["In its CRS", pixel.crs === null || pixel.x === null ? null : `${pixel.x.toFixed(2)}, ${pixel.y!.toFixed(2)} (${pixel.crs})`],
        ["Pixel", pixel.row === null ? null : `row ${pixel.row}, column ${pixel.col}`],
        ["Pixel size", pixel.gsd === null ? null : metres(pixel.gsd)],
        ["Image", pixel.image],
        ["Source", pixel.source],
        ["Taken", when(pixel.datetime)],
        ["Notes", pixel.flags.join(", ")],
        ["Model", pixel.model],
        ["Product", pixel.product],
      ]),
      pixel.region !== null && this.product.alignment !== null ? similar() : null,
    );
  }

  private also(others: readonly Pixel[]): HTMLElement[] {
    if (others.length === 0) return [];
    const rows = others.map((pixel) => {
      const color = this.product.classes.find((one) => one.id === pixel.class_id)?.color;
      return el("li", {}, swatch(color), `${pixel.class_name ?? pixel.status} in ${pixel.image ?? "no image"}`);
    });
    return [el("h3", {}, "Other images of this place"), el("ul", { class: "also" }, ...rows)];
  }
}

function spoken(pixel: Pixel): string {
  const parts = [];
  if (pixel.confidence !== null) parts.push(`Confidence ${percent(pixel.confidence)}`);
  if (pixel.height !== null) parts.push(`height ${metres(pixel.height)}`);
  return parts.join(", ");
}
