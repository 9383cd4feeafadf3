// Tiles fetched like everything else, with the token and with errors in words; the browser's own <img> loading can do neither.
import * as L from "leaflet";
import { wasAborted } from "../api.js";

export type FetchTile = (coords: L.Coords, signal: AbortSignal) => Promise<Blob | null>;

/** A layer of picture tiles. Fires `tileerror` with the error; a tile that is not there (null) is an empty one. */
export class BlobTiles extends L.GridLayer {
  private readonly running = new Map<HTMLElement, AbortController>();

  constructor(
    private readonly fetchTile: FetchTile,
    options: L.GridLayerOptions,
  ) {
    super(options);
    this.on("tileunload", (event) => this.drop((event as L.TileEvent).tile));
  }

  protected override createTile(coords: L.Coords, done: L.DoneCallback): HTMLElement {
    const tile = document.createElement("img");
    tile.alt = "";
    tile.setAttribute("role", "presentation");
    const controller = new AbortController();
    this.running.set(tile, controller);
    this.fetchTile(coords, controller.signal)
      .then((blob) => {
        if (blob === null) done(undefined, tile);
        else show(tile, blob, done);
      })
      .catch((error: unknown) => {
        if (!wasAborted(error)) done(error instanceof Error ? error : new Error(String(error)), tile);
      });
    return tile;
  }

  private drop(tile: HTMLElement): void {
    this.running.get(tile)?.abort();
    this.running.delete(tile);
  }
}

function show(tile: HTMLImageElement, blob: Blob, done: L.DoneCallback): void {
  const url = URL.createObjectURL(blob);
  tile.onload = () => {
    URL.revokeObjectURL(url);
    done(undefined, tile);
  };
  tile.onerror = () => {
    URL.revokeObjectURL(url);
    done(new Error("The service sent a tile that is no picture"), tile);
  };
  tile.src = url;
}
