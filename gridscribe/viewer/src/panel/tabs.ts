// Tabs after the ARIA pattern: one stop for Tab, arrow keys between them.
import { el, freshId } from "../dom.js";
import { readLink, writeLink } from "../link.js";

export interface Tab {
  id: string;
  title: string;
  content: HTMLElement;
  /** Called each time that the tab is shown, and when it is left. */
  shown?: () => void;
  hidden?: () => void;
}

export class Tabs {
  private readonly buttons = new Map<string, HTMLButtonElement>();
  private current: string | null = null;

  constructor(
    host: HTMLElement,
    private readonly tabs: readonly Tab[],
  ) {
    const list = el("div", { class: "tabs", role: "tablist", "aria-label": "Panel" });
    for (const tab of tabs) {
      const id = freshId("tab");
      const panel = freshId("panel");
      const button = el("button", { type: "button", role: "tab", id, "aria-controls": panel, "data-tab": tab.id }, tab.title);
      button.addEventListener("click", () => this.show(tab.id));
      this.buttons.set(tab.id, button);
      list.append(button);
      for (const [name, value] of Object.entries({ role: "tabpanel", id: panel, "aria-labelledby": id })) tab.content.setAttribute(name, value);
      tab.content.classList.add("tab");
      tab.content.tabIndex = 0; // it scrolls, and some have nothing else that takes the focus
    }
    list.addEventListener("keydown", (event) => this.move(event));
    host.replaceChildren(list, ...tabs.map((tab) => tab.content));
    const wanted = readLink().tab;
    this.show(tabs.find((tab) => tab.id === wanted)?.id ?? tabs[0]!.id);
  }

  show(id: string): void {
    if (this.current !== id) this.tabs.find((tab) => tab.id === this.current)?.hidden?.();
    const arrived = this.current !== id;
    this.current = id;
    for (const tab of this.tabs) {
      const button = this.buttons.get(tab.id)!;
      const chosen = tab.id === id;
      button.setAttribute("aria-selected", String(chosen));
      button.tabIndex = chosen ? 0 : -1;
      tab.content.hidden = !chosen;
      if (chosen && arrived) tab.shown?.();
    }
    writeLink({ tab: id });
  }

  private move(event: KeyboardEvent): void {
    const ids = this.tabs.map((tab) => tab.id);
    const at = ids.indexOf(this.current ?? "");
    const steps: Record<string, number> = { ArrowRight: at + 1, ArrowLeft: at - 1, Home: 0, End: ids.length - 1 };
    const step = steps[event.key];
    if (step === undefined) return;
    event.preventDefault();
    const next = ids[(step + ids.length) % ids.length]!;
    this.show(next);
    this.buttons.get(next)?.focus();
  }
}
