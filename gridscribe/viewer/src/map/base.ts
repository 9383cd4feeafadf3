// What both maps have in common: how they move, and that a keyboard can ask about the place at their centre.
import * as L from "leaflet";
import { el, freshId, still } from "../dom.js";

/** A Leaflet map in `host`. A click, or Enter while it has the focus (at its centre), calls `ask`. */
export function createMap(host: HTMLElement, label: string, options: L.MapOptions, ask: (at: L.LatLng) => void): L.Map {
  const hint = freshId("hint");
  const frame = el("div", { class: "map", role: "application", "aria-label": label, "aria-describedby": hint });
  host.append(
    frame,
    el("div", { class: "crosshair", "aria-hidden": "true" }),
    el("p", { class: "keys", id: hint }, "Arrow keys move, + and − zoom, Enter asks about the place at the crosshair."),
  );
  const moving = !still();
  const map = L.map(frame, {
    attributionControl: false,
    zoomControl: false,
    zoomAnimation: moving,
    fadeAnimation: moving,
    markerZoomAnimation: moving,
    inertia: moving,
    ...options,
  });
  for (const pane of ["tilePane", "overlayPane", "markerPane"]) map.getPane(pane)?.setAttribute("aria-hidden", "true");
  L.control.zoom({ position: "topright" }).addTo(map);
  map.on("click", (event) => ask(event.latlng));
  // a click gives the focus too, and needs no crosshair
  frame.addEventListener("pointerdown", () => frame.classList.add("pointed"), { capture: true });
  frame.addEventListener("blur", () => frame.classList.remove("pointed"));
  frame.addEventListener("keydown", (event) => {
    frame.classList.remove("pointed");
    if (event.key === "Enter" && event.target === frame) {
      event.preventDefault();
      ask(map.getCenter());
    }
  });
  const fit = (): void => {
    if (frame.clientWidth > 0) map.invalidateSize({ pan: false }); // a map that is hidden keeps its view
  };
  new ResizeObserver(fit).observe(frame);
  return map;
}

/** A button in the map's upper right corner. */
export function mapButton(map: L.Map, label: string, sign: string, press: () => void): void {
  const Button = L.Control.extend({
    onAdd: () => {
      const button = el("button", { type: "button", title: label, "aria-label": label, on: { click: press } }, sign);
      const bar = el("div", { class: "leaflet-bar map-button" }, button);
      L.DomEvent.disableClickPropagation(bar);
      return bar;
    },
  });
  new Button({ position: "topright" }).addTo(map);
}

/** A line with a lighter one around it, so that it stands out on any picture. */
export function outlined(shape: (options: L.PathOptions) => L.Layer, name: string): L.Layer {
  return L.featureGroup([
    shape({ className: `casing ${name}`, interactive: false, fill: false }),
    shape({ className: `line ${name}`, interactive: false, fill: false }),
  ]);
}

/** The marker of the place that was asked about. */
export function askedMarker(at: L.LatLng): L.Layer {
  const icon = L.divIcon({ className: "asked", html: el("span"), iconSize: [22, 22] });
  return L.marker(at, { icon, interactive: false, keyboard: false });
}
