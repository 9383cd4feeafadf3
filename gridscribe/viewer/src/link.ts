// What stands in the address after `#`, so that a view can be shared: written while one works, read when the page loads.

const NAMES = ["product", "tab", "view", "layers", "q", "image", "document", "page"] as const;

export type Link = Partial<Record<(typeof NAMES)[number], string>>;

export function readLink(): Link {
  const params = new URLSearchParams(window.location.hash.slice(1));
  const link: Link = {};
  for (const name of NAMES) {
    const value = params.get(name);
    if (value !== null) link[name] = value;
  }
  return link;
}

/** Change some parts of the address; `null` takes one away. The browser's history does not grow. */
export function writeLink(changes: Partial<Record<keyof Link, string | null>>): void {
  const link = { ...readLink(), ...changes };
  const params = new URLSearchParams();
  for (const name of NAMES) {
    const value = link[name];
    if (value !== undefined && value !== null && value !== "") params.set(name, value);
  }
  window.history.replaceState(null, "", `#${params}`);
}
