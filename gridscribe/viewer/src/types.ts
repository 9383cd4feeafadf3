// What the HTTP API answers with (its OpenAPI description says it all), as far as the viewer reads it.
import type { Feature, Geometry, MultiPolygon, Polygon } from "geojson";

export interface ClassInfo {
  id: number;
  name: string;
  color: [number, number, number];
}

export interface Product {
  id: string;
  kind: "raster" | "documents";
  model: string;
  classes: ClassInfo[];
  /** The model that words are compared with; null where regions are not embedded. */
  alignment: string | null;
  images: number;
  /** West, south, east, north; null where nothing is georeferenced. */
  bounds: [number, number, number, number] | null;
  minzoom: number;
  maxzoom: number;
}

export interface Products {
  output: string;
  products: Product[];
}

export interface ImageFacts {
  source: string;
  width: number;
  height: number;
  crs: string | null;
  gsd: number | null;
  datetime: string | null;
  flags: string[];
  product: string;
}

export interface ImageFeature extends Omit<Feature<Geometry | null, ImageFacts>, "id" | "bbox"> {
  id: string;
  bbox?: [number, number, number, number] | null;
}

export interface Images {
  features: ImageFeature[];
  total: number;
  next: string | null;
}

export interface Label {
  text: string;
  score: number;
}

export interface Pixel {
  status: string;
  coverage: string;
  reason: string | null;
  class_id: number | null;
  class_name: string | null;
  confidence: number | null;
  height: number | null;
  region: string | null;
  labels: Label[] | null;
  product: string;
  model: string;
  image: string | null;
  source: string | null;
  row: number | null;
  col: number | null;
  x: number | null;
  y: number | null;
  crs: string | null;
  lon: number | null;
  lat: number | null;
  gsd: number | null;
  datetime: string | null;
  flags: string[];
}

export type Outline = Polygon | MultiPolygon;

export interface Match {
  score: number;
  region_id: string;
  image: string;
  class_name: string;
  class_id: number;
  area_px: number;
  area_m2: number | null;
  height_mean: number | null;
  geometry: Outline | null;
  geometry_px: Outline;
}

export interface Region {
  region_id: string;
  geometry: Outline | null;
  geometry_px: Outline;
  labels: Label[];
  area_px: number;
  area_m2: number | null;
}

export interface PageInfo {
  page: number;
  width: number;
  height: number;
  kept: number;
  grid_h: number;
  grid_w: number;
  flags: string[];
}

export interface DocumentInfo {
  document: string;
  source: string;
  pages: PageInfo[];
  product: string;
}

export interface Documents {
  documents: DocumentInfo[];
  total: number;
  next: string | null;
}

export type Box = [number, number, number, number];

export interface PageFacts extends PageInfo {
  document: string;
  source: string;
  dpi: number;
  text_mask: string | null;
  model: string;
}

export interface PageToken {
  state: "kept" | "merged" | "dropped";
  index: number;
  row: number;
  col: number;
  box: Box;
  model: string;
}

export interface PageMatch {
  score: number;
  document: string;
  page: number;
  source: string;
  box: Box;
}

export interface Job {
  job: string;
  product: string;
  state: string;
  images: number;
  done: number;
  failed: number;
  left: number;
  skipped: number;
  rate: number | null;
  seconds_left: number | null;
  planned: string | null;
}
