// Elements from plain values. Text from data becomes text nodes, never markup.

type Handlers = { [K in keyof HTMLElementEventMap]?: (event: HTMLElementEventMap[K]) => void };

export interface Attributes {
  class?: string;
  on?: Handlers;
  [name: string]: string | number | boolean | Handlers | undefined;
}

export type Child = Node | string | null;

/** A new element. `true` writes an attribute without a value, `false` and `undefined` leave it out; `null` children are skipped. */
export function el<K extends keyof HTMLElementTagNameMap>(
  tag: K,
  attributes: Attributes = {},
  ...children: Child[]
): HTMLElementTagNameMap[K] {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (value === undefined || value === false) continue;
    if (typeof value === "object") {
      for (const [event, handler] of Object.entries(value)) element.addEventListener(event, handler as EventListener);
    } else {
      element.setAttribute(name, value === true ? "" : String(value));
    }
  }
  element.append(...children.filter((child): child is Node | string => child !== null));
  return element;
}

/** The element of index.html with this id. */
export function byId(id: string): HTMLElement {
  const found = document.getElementById(id);
  if (found === null) throw new Error(`index.html has no element #${id}`);
  return found;
}

let last = 0;

/** An id that no other element of the page has. */
export function freshId(prefix: string): string {
  last += 1;
  return `${prefix}-${last}`;
}

/** A small square of a class's colour. */
export function swatch(color: readonly [number, number, number] | undefined): HTMLElement {
  const square = el("span", { class: "swatch", "aria-hidden": "true" });
  if (color !== undefined) square.style.backgroundColor = `rgb(${color.join(" ")})`;
  return square;
}

/** Whether the reader asked the system for less motion. */
export function still(): boolean {
  return window.matchMedia("(prefers-reduced-motion: reduce)").matches;
}
