// The map of the georeferenced images of a product: layers of tiles, footprints, what was found, what was asked.
import type { Feature } from "geojson";
import * as L from "leaflet";
import { ApiError, json, picture, type Params } from "../api.js";
import { complain } from "../notices.js";
import { place } from "../format.js";
import { el } from "../dom.js";
import { layerParams, type Layers } from "../layers.js";
import { readLink, writeLink } from "../link.js";
import type { ImageFeature, Images, Outline, Product } from "../types.js";
import { askedMarker, createMap, mapButton, outlined } from "./base.js";
import { BlobTiles } from "./blob_tiles.js";
import { addGraticule } from "./graticule.js";

const FOOTPRINTS = 500; // drawn at once; more would be a carpet, and the map says that there are more
const SPECK_PX = 12; // a footprint smaller than this is drawn as a dot
const LEGIBLE_PX = 64; // images narrower than this are not what a first view should show
const AROUND = 3; // times its own size is shown on each side of what is visited
const CLOSER = 3; // how far beyond the finest tiles one may zoom

export class WorldMap {
  readonly map: L.Map;
  private readonly tiles = new Map<string, BlobTiles>();
  private readonly footprints = L.layerGroup();
  private readonly found = L.layerGroup();
  private readonly chosen = L.layerGroup();
  private readonly asked = L.layerGroup();
  private readonly told = el("p", { class: "told" });
  private phrase = "";
  private asking = new AbortController();

  constructor(
    host: HTMLElement,
    private readonly product: Product,
    private readonly layers: Layers,
    ask: (at: L.LatLng) => void,
  ) {
    const options = { minZoom: 1, maxZoom: product.maxzoom + CLOSER, worldCopyJump: true, center: [0, 0] as L.LatLngTuple, zoom: 2 };
    this.map = createMap(host, "Map", options, ask);
    mapButton(this.map, "Show all images", "⌂", () => this.showAll());
    L.control.scale({ imperial: false, position: "bottomleft", maxWidth: 140 }).addTo(this.map);
    this.addReadout(host);
    addGraticule(this.map);
    for (const group of [this.footprints, this.found, this.chosen, this.asked]) group.addTo(this.map);
    layers.onChange(() => this.followLayers());
    this.map.on("moveend", () => this.moved());
  }

  /** Go to what the address says; false where it says nothing. */
  openLinked(): boolean {
    const [lat, lon, zoom] = (readLink().view ?? "").split(",").map(Number);
    if (lat === undefined || lon === undefined || zoom === undefined || ![lat, lon, zoom].every(Number.isFinite)) return false;
    this.map.setView([lat, lon], zoom, { animate: false });
    this.followLayers();
    return true;
  }

  /** Go to all images, or to the first one where they would be specks among emptiness. */
  openOn(first: ImageFeature | undefined): void {
    if (this.product.bounds === null) return;
    const all = boundsOf(this.product.bounds);
    const one = first?.bbox ? boundsOf(first.bbox) : all;
    const legible = this.widthOf(one, this.map.getBoundsZoom(all)) >= LEGIBLE_PX;
    this.map.fitBounds(legible ? all : one, { animate: false });
    this.followLayers();
  }

  showAll(): void {
    if (this.product.bounds !== null) this.map.fitBounds(boundsOf(this.product.bounds));
  }

  zoomTo(box: readonly [number, number, number, number]): void {
    this.map.fitBounds(boundsOf(box), { padding: [40, 40], maxZoom: this.product.maxzoom + 1 });
  }

  /** West, south, east, north of what is seen. */
  box(): [number, number, number, number] {
    const seen = this.map.getBounds();
    const [west, east] = [seen.getWest(), seen.getEast()];
    if (east - west >= 360) return [-180, Math.max(seen.getSouth(), -90), 180, Math.min(seen.getNorth(), 90)];
    return [wrapped(west), Math.max(seen.getSouth(), -90), wrapped(east), Math.min(seen.getNorth(), 90)];
  }

  /** The words that the heat map is about; none without any. */
  setPhrase(phrase: string): void {
    this.phrase = phrase;
    this.tiles.get("heatmap")?.remove();
    this.tiles.delete("heatmap");
    this.followLayers();
  }

  /** Outline what was found. */
  outline(shapes: readonly (Outline | null)[]): void {
    this.found.clearLayers();
    for (const shape of shapes) if (shape !== null) this.found.addLayer(outlineOf(shape, "found"));
  }

  /** Outline the one that is looked at. */
  choose(shape: Outline | null): void {
    this.chosen.clearLayers();
    if (shape !== null) this.chosen.addLayer(outlineOf(shape, "chosen"));
  }

  /** Outline one, and go there. */
  visit(shape: Outline): void {
    this.choose(shape);
    this.map.fitBounds(L.geoJSON(shape).getBounds().pad(AROUND), { maxZoom: this.product.maxzoom });
  }

  mark(at: L.LatLng): void {
    this.asked.clearLayers();
    this.asked.addLayer(askedMarker(at));
  }

  private addReadout(host: HTMLElement): void {
    const readout = el("p", { class: "readout", "aria-hidden": "true" });
    host.append(readout, this.told);
    const write = (at: L.LatLng): void => {
      const round = at.wrap();
      readout.textContent = `${place(round.lat, round.lng, 5)}  ·  zoom ${this.map.getZoom()}`;
    };
    this.map.on("mousemove", (event) => write(event.latlng));
    this.map.on("moveend", () => write(this.map.getCenter()));
  }

  private followLayers(): void {
    for (const [order, layer] of this.layers.all.entries()) {
      const shown = this.product.bounds !== null && this.layers.shown(layer.id); // without a place on Earth there are no tiles
      let tiles = this.tiles.get(layer.id);
      if (shown && tiles === undefined) {
        tiles = this.tilesOf(layer.id, layer.title, order);
        this.tiles.set(layer.id, tiles);
      }
      if (tiles === undefined) continue;
      if (shown) tiles.addTo(this.map);
      else tiles.remove();
      tiles.setOpacity(layer.opacity);
    }
    writeLink({ layers: this.layers.toText() });
  }

  private tilesOf(id: string, title: string, order: number): BlobTiles {
    const size = window.devicePixelRatio > 1 ? 512 : 256;
    const params: Params = { product: this.product.id, size, ...layerParams(id, this.phrase) };
    const { bounds, minzoom, maxzoom } = this.product;
    const tiles = new BlobTiles(({ x, y, z }, signal) => picture(`tiles/${id}/${z}/${x}/${y}.png`, params, signal), {
      className: `tiles-${id}`,
      minZoom: minzoom,
      maxNativeZoom: maxzoom,
      maxZoom: maxzoom + CLOSER,
      zIndex: order + 1,
      ...(bounds !== null && bounds[0] < bounds[2] ? { bounds: boundsOf(bounds) } : {}),
    });
    let some = false;
    tiles.on("tileerror", (event) => {
      complain(new Error(`${title}: ${event.error.message}`));
      // a question that cannot be answered for the first tile cannot for the others: off with it, until it is wanted again
      if (!some && event.error instanceof ApiError && event.error.status === 400) this.layers.change(id, { on: false });
    });
    tiles.once("tileload", () => {
      some = true;
      performance.mark(`first-tile-${id}`); // what the tests and the browser's tools tell of loading
    });
    tiles.once("load", () => performance.mark(`tiles-${id}`));
    return tiles;
  }

  private moved(): void {
    if (this.product.bounds === null) return;
    const { lat, lng } = this.map.getCenter().wrap();
    writeLink({ view: `${lat.toFixed(6)},${lng.toFixed(6)},${this.map.getZoom()}` });
    this.asking.abort();
    this.asking = new AbortController();
    const asked = { product: this.product.id, bbox: this.box(), limit: FOOTPRINTS };
    json<Images>("images", asked, this.asking.signal).then((images) => this.drawFootprints(images), complain);
  }

  private drawFootprints(images: Images): void {
    this.footprints.clearLayers();
    for (const image of images.features) this.footprints.addLayer(this.footprint(image));
    const notes = [];
    if (images.total > images.features.length) notes.push(`Outlines of ${images.features.length} of ${images.total} images here.`);
    if (this.map.getZoom() < this.product.minzoom) notes.push("Zoom in to see the layers.");
    this.told.textContent = notes.join(" ");
  }

  private footprint(image: ImageFeature): L.Layer {
    if (image.bbox && this.widthOf(boundsOf(image.bbox)) < SPECK_PX) {
      return L.circleMarker(boundsOf(image.bbox).getCenter(), { className: "footprint speck", radius: 4, interactive: false });
    }
    return L.geoJSON(image as Feature, { style: { className: "footprint", fill: false }, interactive: false });
  }

  private widthOf(bounds: L.LatLngBounds, zoom = this.map.getZoom()): number {
    return this.map.project(bounds.getNorthEast(), zoom).x - this.map.project(bounds.getSouthWest(), zoom).x;
  }
}

/** Leaflet's bounds; an eastern edge west of the western one lies beyond the antimeridian. */
function boundsOf([west, south, east, north]: readonly [number, number, number, number]): L.LatLngBounds {
  return L.latLngBounds([south, west], [north, east < west ? east + 360 : east]);
}

function wrapped(lon: number): number {
  return ((((lon + 180) % 360) + 360) % 360) - 180;
}

function outlineOf(shape: Outline, name: string): L.Layer {
  return outlined((style) => L.geoJSON(shape, { style, interactive: false }), name);
}
