// The page that is open, and the token that was asked about.
import { el } from "../dom.js";
import { count } from "../format.js";
import { say } from "../notices.js";
import type { PageFacts, PageToken } from "../types.js";
import { facts } from "./facts.js";

const STATES: Record<PageToken["state"], string> = {
  kept: "Its vector is stored.",
  merged: "Another token's vector stands for it.",
  dropped: "Pruning left it out: nothing is stored of it.",
};

export class PageAnswer {
  readonly element = el("div", { class: "answer" });
  private readonly token = el("div", {});
  private readonly page = el("div", {});

  constructor() {
    this.token.append(el("p", { class: "hint" }, "Click the page, or move its crosshair with the arrow keys and press Enter, to ask for the token there."));
    this.element.append(el("h2", {}, "Answer"), this.token, el("h3", {}, "Page"), this.page);
  }

  open(page: PageFacts): void {
    const cells = page.grid_h * page.grid_w;
    this.page.replaceChildren(
      facts([
        ["Document", page.document],
        ["Source", page.source],
        ["Page", String(page.page + 1)],
        ["Size", `${page.width.toFixed(0)} × ${page.height.toFixed(0)} pt, read at ${page.dpi.toFixed(0)} dpi`],
        ["Cells", `${page.grid_w} across, ${page.grid_h} down`],
        ["Kept", `${count(page.kept, "token")} of ${cells}`],
        ["Notes", page.flags.join(", ")],
        ["Model", page.model],
      ]),
    );
  }

  show(token: PageToken): void {
    this.token.replaceChildren(
      el("div", { class: "headline" }, el("p", { class: "class" }, el("strong", {}, `Token ${token.state}`)), el("p", { class: "reason" }, STATES[token.state])),
      facts([
        ["Token", String(token.index)],
        ["Cell", `row ${token.row}, column ${token.col}`],
        ["Box", `${token.box.map((value) => value.toFixed(1)).join(", ")} pt`],
      ]),
    );
    say(`Token ${token.index} ${token.state}. ${STATES[token.state]}`);
  }
}
