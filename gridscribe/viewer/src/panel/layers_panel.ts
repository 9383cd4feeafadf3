// Which layers are shown, and how opaque.
import { el, freshId } from "../dom.js";
import type { Layer, Layers } from "../layers.js";

export function layersPanel(layers: Layers): HTMLElement {
  const rows = [...layers.all].reverse().map((layer) => row(layers, layer));
  return el("div", {}, el("h2", {}, "Layers"), el("p", { class: "hint" }, "The upper ones lie over the lower ones."), el("ul", { class: "layers" }, ...rows));
}

function row(layers: Layers, layer: Layer): HTMLElement {
  const [box, about] = [freshId("layer"), freshId("about")];
  const check = el("input", { type: "checkbox", id: box, "aria-describedby": about, "data-layer": layer.id });
  const slider = el("input", { type: "range", min: 0, max: 100, step: 5, "aria-label": `Opacity of ${layer.title.toLowerCase()}` });
  const share = el("output", { "aria-hidden": "true" });
  const words = el("span", { class: "about", id: about });
  check.addEventListener("change", () => layers.change(layer.id, { on: check.checked }));
  slider.addEventListener("input", () => layers.change(layer.id, { opacity: Number(slider.value) / 100 }));
  const follow = (): void => {
    check.checked = layer.on && layer.blocked === null;
    check.disabled = layer.blocked !== null;
    slider.disabled = !check.checked;
    slider.value = String(Math.round(layer.opacity * 100));
    slider.setAttribute("aria-valuetext", `${slider.value} percent`);
    share.textContent = `${slider.value} %`;
    words.textContent = layer.blocked ?? layer.about;
  };
  layers.onChange(follow);
  follow();
  return el("li", {}, check, el("label", { for: box }, layer.title), words, slider, share);
}
