// What happened, for eyes and screen readers: a polite line of status, and errors that stay until they are read.
import { inWords, wasAborted } from "./api.js";
import { byId, el } from "./dom.js";

const STAYS_MS = 12_000;

/** Say something that is no error; only screen readers notice. */
export function say(text: string): void {
  byId("status").textContent = text;
}

/** Show an error in words; the same words are not shown twice at once. An aborted request is no error. */
export function complain(error: unknown): void {
  if (wasAborted(error)) return;
  const text = inWords(error);
  const errors = byId("errors");
  if ([...errors.children].some((child) => child.firstElementChild?.textContent === text)) return;
  const notice = el("div", { class: "notice" }, el("p", {}, text));
  const close = el("button", { type: "button", "aria-label": "Dismiss", on: { click: () => notice.remove() } }, "×");
  notice.append(close);
  errors.append(notice);
  window.setTimeout(() => notice.remove(), STAYS_MS);
}

/** Run something that asks the service, and show what goes wrong. */
export function attempt(work: () => Promise<void>): void {
  work().catch(complain);
}
