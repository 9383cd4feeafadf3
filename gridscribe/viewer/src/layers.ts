// Which layers are shown and how opaque each is: one value that the panel, the search and the map all follow.

export interface Layer {
  readonly id: string;
  readonly title: string;
  readonly about: string;
  on: boolean;
  /** 0 to 1. */
  opacity: number;
  /** Why it cannot be shown now, in words; null where it can. */
  blocked: string | null;
}

/** Metres above ground that have the last colour of the height layer. */
export const HIGH = 30;

/** What a picture of a layer is asked with. */
export function layerParams(id: string, phrase: string): Record<string, string | number> {
  if (id === "heatmap") return { text: phrase };
  return id === "height" ? { high: HIGH } : {};
}

export type Settings = Partial<Pick<Layer, "on" | "opacity" | "blocked">>;

export class Layers {
  private readonly listeners: (() => void)[] = [];

  /** `all` from bottom to top. */
  constructor(readonly all: readonly Layer[]) {}

  get(id: string): Layer {
    const found = this.all.find((layer) => layer.id === id);
    if (found === undefined) throw new Error(`there is no layer ${id}`);
    return found;
  }

  change(id: string, settings: Settings): void {
    Object.assign(this.get(id), settings);
    for (const listener of this.listeners) listener();
  }

  onChange(listener: () => void): void {
    this.listeners.push(listener);
  }

  shown(id: string): boolean {
    return this.all.some((layer) => layer.id === id && layer.on && layer.blocked === null);
  }

  /** As it stands in an address: `source:100,mask:50`. */
  toText(): string {
    return this.all.filter((layer) => layer.on).map((layer) => `${layer.id}:${Math.round(layer.opacity * 100)}`).join(",");
  }

  /** Take on what an address says; names that are no layer, and opacities that are none, are passed over. */
  fromText(text: string): void {
    const wanted = new Map(text.split(",").map((part) => [part.split(":")[0], part.split(":")[1]]));
    for (const layer of this.all) {
      layer.on = wanted.has(layer.id);
      const share = Number(wanted.get(layer.id)) / 100;
      if (layer.on && share >= 0 && share <= 1) layer.opacity = share;
    }
  }
}

export function rasterLayers(): Layers {
  return new Layers([
    { id: "source", title: "Imagery", about: "The picture that the job read", on: true, opacity: 1, blocked: null },
    { id: "height", title: "Height", about: "Metres above ground, as the model saw them", on: false, opacity: 0.8, blocked: null },
    { id: "confidence", title: "Confidence", about: "Probability of the class", on: false, opacity: 0.8, blocked: null },
    { id: "mask", title: "Mask", about: "The class of each pixel", on: true, opacity: 0.5, blocked: null },
    { id: "heatmap", title: "Heat map", about: "How near each place is to the words", on: false, opacity: 0.7, blocked: "Search for words first" },
  ]);
}

export function pageLayers(): Layers {
  return new Layers([
    { id: "picture", title: "Page", about: "The page as it is printed", on: true, opacity: 1, blocked: null },
    { id: "tokens", title: "Kept tokens", about: "Cells of the page whose vectors are stored", on: false, opacity: 0.6, blocked: null },
    { id: "text", title: "Text mask", about: "Pixels that are text", on: false, opacity: 0.4, blocked: null },
  ]);
}
