// A product of rasters: the map, one image's own picture where it has no place on Earth, and the panels about them.
import type * as L from "leaflet";
import { json, picture } from "../api.js";
import { el } from "../dom.js";
import { justBefore } from "../ids.js";
import { layerParams, rasterLayers } from "../layers.js";
import { readLink, writeLink } from "../link.js";
import { PlaneMap, type Picture } from "../map/plane.js";
import { WorldMap } from "../map/world.js";
import { attempt, say } from "../notices.js";
import { AnswerPanel } from "../panel/answer_panel.js";
import { imagesPanel } from "../panel/images_panel.js";
import { jobsTab } from "../panel/jobs_panel.js";
import { layersPanel } from "../panel/layers_panel.js";
import { legend } from "../panel/legend.js";
import { SearchPanel } from "../panel/search_panel.js";
import { Tabs } from "../panel/tabs.js";
import type { ImageFeature, Images, Match, Outline, Pixel, Product, Region } from "../types.js";

interface Flat {
  image: string;
  width: number;
  height: number;
}

export class RasterScreen {
  private readonly layers = rasterLayers();
  private readonly world: WorldMap;
  private readonly plane: PlaneMap;
  private readonly tabs: Tabs;
  private readonly search: SearchPanel;
  private readonly answer: AnswerPanel;
  private readonly flatBar = el("div", { class: "viewbar", hidden: true });
  private readonly mapHost = el("div", { class: "view" });
  private readonly flatHost = el("div", { class: "view flat", hidden: true });
  private flat: Flat | null = null;
  private phrase = "";
  private matches: readonly Match[] = [];
  private asked = 0;

  constructor(
    panel: HTMLElement,
    stage: HTMLElement,
    private readonly product: Product,
  ) {
    const { layers: shown, q } = readLink();
    if (shown !== undefined) this.layers.fromText(shown);
    stage.replaceChildren(this.mapHost, this.flatHost, this.flatBar, legend(product, this.layers));
    this.world = new WorldMap(this.mapHost, product, this.layers, (at) => this.ask({ lon: at.wrap().lng, lat: at.lat }, at));
    this.plane = new PlaneMap(this.flatHost, "Picture of one image", this.layers, (x, y) => this.askFlat(x, y));
    this.answer = new AnswerPanel(product, { similar: (region) => this.similar(region) });
    this.search = new SearchPanel(product, this.layers, {
      box: () => this.world.box(),
      found: (matches) => this.found(matches),
      visit: (match) => attempt(() => this.visit(match)),
      phrase: (words) => this.setPhrase(words),
    });
    const images = imagesPanel(product, { visit: (image) => this.show(image) });
    this.tabs = new Tabs(panel, [
      { id: "images", title: "Images", content: images.element },
      { id: "search", title: "Search", content: this.search.element },
      { id: "layers", title: "Layers", content: layersPanel(this.layers) },
      { id: "answer", title: "Answer", content: this.answer.element },
      jobsTab(),
    ]);
    attempt(() => this.open(images.first, q));
  }

  private async open(images: Promise<readonly ImageFeature[]>, words: string | undefined): Promise<void> {
    const { image } = readLink();
    if (!this.world.openLinked()) this.world.openOn((await images)[0]);
    if (image !== undefined || this.product.bounds === null) {
      const named = image === undefined ? (await images)[0] : await this.findImage(image);
      if (named) this.show(named);
    }
    if (words !== undefined) await this.search.ask(words);
  }

  private show(image: ImageFeature): void {
    if (image.geometry !== null && image.bbox) {
      this.closeFlat();
      this.world.zoomTo(image.bbox);
    } else {
      this.openFlat({ image: image.id, width: image.properties.width, height: image.properties.height });
    }
    say(`Showing ${image.id}`);
  }

  private ask(where: { lon: number; lat: number }, at: L.LatLng): void {
    this.world.mark(at);
    this.tell(json<{ pixels: Pixel[] }>("at", { product: this.product.id, ...where, all: true }));
  }

  private askFlat(x: number, y: number): void {
    if (this.flat === null) return;
    this.plane.mark(x, y);
    const where = { image: this.flat.image, row: Math.floor(y), col: Math.floor(x) };
    this.tell(json<{ pixels: Pixel[] }>("at-pixel", { product: this.product.id, ...where }));
  }

  /** Show an answer when it comes, unless another was asked for meanwhile. */
  private tell(answer: Promise<{ pixels: Pixel[] }>): void {
    const asked = ++this.asked;
    this.answer.busy(true);
    this.tabs.show("answer");
    attempt(async () => {
      try {
        const { pixels } = await answer;
        const id = pixels[0]?.region ?? null;
        const region = id === null ? null : await json<Region>("region", { product: this.product.id, id });
        if (asked !== this.asked) return;
        this.answer.show(pixels, region);
        if (this.flat === null) this.world.choose(region?.geometry ?? null);
        else this.plane.chooseShape(region?.geometry_px ?? null);
      } finally {
        if (asked === this.asked) this.answer.busy(false);
      }
    });
  }

  private similar(region: string): void {
    this.tabs.show("search");
    attempt(() => this.search.similar(region));
  }

  private setPhrase(words: string): void {
    this.phrase = words;
    this.world.setPhrase(words);
    this.plane.renew("heatmap");
  }

  private found(matches: readonly Match[]): void {
    this.matches = matches;
    this.world.outline(matches.map((match) => match.geometry));
    this.outlineFlat();
  }

  private async visit(match: Match): Promise<void> {
    if (match.geometry !== null) {
      this.closeFlat();
      this.world.visit(match.geometry);
      return;
    }
    if (this.flat?.image !== match.image) {
      const image = await this.findImage(match.image);
      if (image !== null) this.show(image);
    }
    this.plane.chooseShape(match.geometry_px);
    this.plane.visitChosen();
  }

  private openFlat(flat: Flat): void {
    this.flat = flat;
    this.mapHost.hidden = true;
    this.flatHost.hidden = false;
    this.flatBar.hidden = false;
    const back = el("button", { type: "button", on: { click: () => this.closeFlat() } }, "← Map");
    const note = el("span", { class: "detail" }, `${flat.width} × ${flat.height} px, not georeferenced`);
    this.flatBar.replaceChildren(...(this.product.bounds === null ? [] : [back]), el("h2", {}, flat.image), note);
    const pictures = new Map(this.layers.all.map((layer) => [layer.id, this.pictureOf(layer.id, flat.image)] as const));
    this.plane.open({ width: flat.width, height: flat.height, pictures });
    this.outlineFlat();
    writeLink({ image: flat.image });
  }

  private closeFlat(): void {
    if (this.flat === null) return;
    this.flat = null;
    this.flatHost.hidden = true;
    this.flatBar.hidden = true;
    this.mapHost.hidden = false;
    this.world.map.invalidateSize({ pan: false });
    writeLink({ image: null });
  }

  private pictureOf(layer: string, image: string): Picture {
    const asked = { product: this.product.id, image, layer };
    return { fetch: (size, signal) => picture("image/picture.png", { ...asked, ...layerParams(layer, this.phrase), size }, signal) };
  }

  private outlineFlat(): void {
    const shapes: Outline[] = this.matches.filter((match) => match.image === this.flat?.image).map((match) => match.geometry_px);
    this.plane.outlineShapes(shapes);
  }

  /** The image with this id; null where there is none. */
  private async findImage(id: string): Promise<ImageFeature | null> {
    const [first] = (await json<Images>("images", { product: this.product.id, limit: 1, after: justBefore(id) })).features;
    return first?.id === id ? first : null;
  }
}
