// The map of one picture in a plane of its own: an image that has no place on Earth (in pixels), or a page (in points).
import * as L from "leaflet";
import { wasAborted } from "../api.js";
import { complain } from "../notices.js";
import type { Layers } from "../layers.js";
import type { Box, Outline } from "../types.js";
import { askedMarker, createMap, mapButton, outlined } from "./base.js";

const LEGIBLE_ZOOM = 0.75; // at which print of common size is read with ease
const SIZES = [1024, 2048, 4096]; // pixels along the longer side that are asked for, as one zooms in

export interface Plane {
  width: number;
  height: number;
  pictures: ReadonlyMap<string, Picture>;
}

export interface Picture {
  /** The picture with about `size` pixels along its longer side; null where there is none. */
  fetch: (size: number, signal: AbortSignal) => Promise<Blob | null>;
  /** Cells with hard edges, of one size only. */
  cells?: boolean;
}

interface Laid {
  overlay: L.ImageOverlay;
  size: number;
}

/** x to the right and y down become Leaflet's longitude and negative latitude. */
export class PlaneMap {
  readonly map: L.Map;
  private plane: Plane | null = null;
  private readonly laid = new Map<string, Laid>();
  private readonly coming = new Map<string, number>();
  private readonly found = L.layerGroup();
  private readonly chosen = L.layerGroup();
  private readonly asked = L.layerGroup();
  private fetching = new AbortController();

  constructor(
    host: HTMLElement,
    label: string,
    private readonly layers: Layers,
    ask: (x: number, y: number) => void,
  ) {
    const options = { crs: L.CRS.Simple, zoomSnap: 0.25, zoomDelta: 0.5, minZoom: -8, maxZoom: 6, center: [0, 0] as L.LatLngTuple, zoom: 0 };
    this.map = createMap(host, label, options, (at) => {
      const [x, y] = [at.lng, -at.lat];
      if (this.plane !== null && x >= 0 && y >= 0 && x < this.plane.width && y < this.plane.height) ask(x, y);
    });
    mapButton(this.map, "Show all of it", "⌂", () => this.showAll());
    for (const group of [this.found, this.chosen, this.asked]) group.addTo(this.map);
    layers.onChange(() => this.follow());
    this.map.on("zoomend", () => this.follow());
  }

  /** Show another picture; what was drawn on the last one goes. */
  open(plane: Plane): void {
    this.fetching.abort();
    this.fetching = new AbortController();
    for (const { overlay } of this.laid.values()) overlay.remove();
    this.laid.clear();
    this.coming.clear();
    for (const group of [this.found, this.chosen, this.asked]) group.clearLayers();
    this.plane = plane;
    this.map.invalidateSize({ pan: false });
    this.map.fitBounds(this.bounds(), { animate: false, padding: [16, 16] });
    this.follow();
  }

  /** Fetch one layer's picture anew: it shows something else now. */
  renew(id: string): void {
    this.laid.get(id)?.overlay.remove();
    this.laid.delete(id);
    this.coming.delete(id);
    this.follow();
  }

  showAll(): void {
    if (this.plane !== null) this.map.fitBounds(this.bounds(), { padding: [16, 16] });
  }

  outlineBoxes(boxes: readonly Box[]): void {
    this.found.clearLayers();
    for (const box of boxes) this.found.addLayer(boxOutline(box, "found"));
  }

  outlineShapes(shapes: readonly Outline[]): void {
    this.found.clearLayers();
    for (const shape of shapes) this.found.addLayer(shapeOutline(shape, "found"));
  }

  chooseBox(box: Box | null): void {
    this.chosen.clearLayers();
    if (box !== null) this.chosen.addLayer(boxOutline(box, "chosen"));
  }

  chooseShape(shape: Outline | null): void {
    this.chosen.clearLayers();
    if (shape !== null) this.chosen.addLayer(shapeOutline(shape, "chosen"));
  }

  /** Go to what is chosen, with what is around it. */
  visitChosen(): void {
    const bounds = L.featureGroup(this.chosen.getLayers()).getBounds();
    const maxZoom = Math.max(LEGIBLE_ZOOM, this.map.getBoundsZoom(this.bounds()) + 1);
    if (bounds.isValid()) this.map.fitBounds(bounds.pad(3), { maxZoom });
  }

  mark(x: number, y: number): void {
    this.asked.clearLayers();
    this.asked.addLayer(askedMarker(L.latLng(-y, x)));
  }

  private bounds(): L.LatLngBounds {
    const { width, height } = this.plane ?? { width: 1, height: 1 };
    return L.latLngBounds([-height, 0], [0, width]);
  }

  private follow(): void {
    if (this.plane === null) return;
    for (const [order, layer] of this.layers.all.entries()) {
      const pictured = this.plane.pictures.get(layer.id);
      if (pictured === undefined) continue;
      const laid = this.laid.get(layer.id);
      if (!this.layers.shown(layer.id)) {
        laid?.overlay.remove();
        continue;
      }
      laid?.overlay.addTo(this.map).setOpacity(layer.opacity).setZIndex(order + 1);
      const size = pictured.cells ? SIZES[0]! : this.sizeNeeded();
      if (size > Math.max(laid?.size ?? 0, this.coming.get(layer.id) ?? 0)) this.fetch(layer.id, pictured, size);
    }
  }

  private sizeNeeded(): number {
    const { width, height } = this.plane!;
    const seen = Math.max(width, height) * 2 ** this.map.getZoom() * window.devicePixelRatio;
    return SIZES.find((size) => size >= seen) ?? SIZES.at(-1)!;
  }

  private fetch(id: string, pictured: Picture, size: number): void {
    const { signal } = this.fetching;
    this.coming.set(id, size);
    pictured
      .fetch(size, signal)
      .then((blob) => {
        if (signal.aborted || blob === null || this.coming.get(id) !== size) return;
        this.lay(id, pictured, size, blob);
      })
      .catch((error: unknown) => {
        if (wasAborted(error)) return;
        this.layers.change(id, { on: false });
        complain(error);
      });
  }

  private lay(id: string, pictured: Picture, size: number, blob: Blob): void {
    const url = URL.createObjectURL(blob);
    const overlay = L.imageOverlay(url, this.bounds(), { className: `picture-${id}${pictured.cells ? " cells" : ""}`, alt: "" });
    const before = this.laid.get(id)?.overlay;
    overlay.on("load", () => {
      URL.revokeObjectURL(url);
      before?.remove();
      performance.mark(`picture-${id}`);
    });
    this.laid.set(id, { overlay, size });
    this.follow();
  }
}

function corners([x0, y0, x1, y1]: Box): L.LatLngBoundsExpression {
  return [
    [-y1, x0],
    [-y0, x1],
  ];
}

function boxOutline(box: Box, name: string): L.Layer {
  return outlined((style) => L.rectangle(corners(box), style), name);
}

function shapeOutline(shape: Outline, name: string): L.Layer {
  const coordsToLatLng = ([x = 0, y = 0]: number[]): L.LatLng => L.latLng(-y, x);
  return outlined((style) => L.geoJSON(shape, { style, coordsToLatLng, interactive: false }), name);
}
