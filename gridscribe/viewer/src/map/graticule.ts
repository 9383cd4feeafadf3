// Lines of longitude and latitude, in place of a basemap: below the tiles, labelled at the edges.
import * as L from "leaflet";
import { el } from "../dom.js";

const STEPS = [90, 45, 30, 15, 10, 5, 2, 1, 0.5, 0.2, 0.1, 0.05, 0.02, 0.01, 0.005, 0.002, 0.001, 0.0005, 0.0002, 0.0001];
const APART_PX = 160;

export function addGraticule(map: L.Map): void {
  const pane = map.createPane("graticule");
  pane.style.zIndex = "150";
  pane.setAttribute("aria-hidden", "true");
  const drawn = L.layerGroup().addTo(map);
  const renderer = L.svg({ pane: "graticule" });
  const draw = (): void => {
    drawn.clearLayers();
    const seen = map.getBounds();
    const step = stepOf(map.getSize().x / Math.max(seen.getEast() - seen.getWest(), 1e-9));
    const digits = Math.max(0, Math.ceil(-Math.log10(step)));
    const line = (from: L.LatLngTuple, to: L.LatLngTuple): void => {
      L.polyline([from, to], { className: "graticule", interactive: false, pane: "graticule", renderer }).addTo(drawn);
    };
    const [south, north] = [Math.max(seen.getSouth(), -85), Math.min(seen.getNorth(), 85)];
    for (const lon of multiples(seen.getWest(), seen.getEast(), step)) {
      line([south, lon], [north, lon]);
      const round = ((lon + 540) % 360) - 180;
      label([seen.getNorth(), lon], `${Math.abs(round).toFixed(digits)}° ${round < 0 ? "W" : "E"}`, "meridian").addTo(drawn);
    }
    for (const lat of multiples(south, north, step)) {
      line([lat, seen.getWest()], [lat, seen.getEast()]);
      label([lat, seen.getWest()], `${Math.abs(lat).toFixed(digits)}° ${lat < 0 ? "S" : "N"}`, "parallel").addTo(drawn);
    }
  };
  map.on("moveend zoomend resize viewreset", draw);
  map.whenReady(draw);
}

function stepOf(pixelsPerDegree: number): number {
  return [...STEPS].reverse().find((step) => step * pixelsPerDegree >= APART_PX) ?? 90;
}

function multiples(low: number, high: number, step: number): number[] {
  const first = Math.ceil(low / step);
  return Array.from({ length: Math.max(0, Math.floor(high / step) - first + 1) }, (_, k) => (first + k) * step);
}

function label(at: L.LatLngTuple, text: string, kind: string): L.Layer {
  const icon = L.divIcon({ className: `graticule-label ${kind}`, html: el("span", {}, text), iconSize: [0, 0] });
  return L.marker(at, { icon, interactive: false, keyboard: false, pane: "overlayPane" });
}
