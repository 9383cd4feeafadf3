// Numbers and places as people read them.

const whole = new Intl.NumberFormat("en");

export function count(value: number, one: string, many = `${one}s`): string {
  return `${whole.format(value)} ${value === 1 ? one : many}`;
}

export function percent(value: number): string {
  return `${(value * 100).toFixed(1)} %`;
}

export function metres(value: number): string {
  return `${value.toFixed(2)} m`;
}

export function area(squareMetres: number | null, pixels: number): string {
  if (squareMetres === null) return `${whole.format(pixels)} px`;
  if (squareMetres >= 1e6) return `${(squareMetres / 1e6).toFixed(2)} km²`;
  return squareMetres >= 100 ? `${whole.format(Math.round(squareMetres))} m²` : `${squareMetres.toFixed(1)} m²`;
}

export function place(lat: number, lon: number, digits = 6): string {
  const north = `${Math.abs(lat).toFixed(digits)}° ${lat < 0 ? "S" : "N"}`;
  return `${north}, ${Math.abs(lon).toFixed(digits)}° ${lon < 0 ? "W" : "E"}`;
}

export function when(iso: string | null): string | null {
  return iso === null ? null : iso.replace("T", " ").replace(/(:\d\d)(\.\d+)?(\+00:00|Z)$/, "$1 UTC");
}

export function duration(seconds: number): string {
  if (seconds < 90) return `${Math.round(seconds)} s`;
  if (seconds < 5400) return `${Math.round(seconds / 60)} min`;
  return `${(seconds / 3600).toFixed(1)} h`;
}
