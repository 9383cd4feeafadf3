// The access token: asked for in a dialog, kept for this tab's session only.
import { el, freshId } from "./dom.js";

const KEY = "gridscribe-token";

export function storedToken(): string | null {
  return sessionStorage.getItem(KEY);
}

/** Ask for the token and keep it; null where the reader closes the dialog without one. `refused` says that the last one was wrong. */
export function askToken(refused: boolean): Promise<string | null> {
  const field = freshId("token");
  const title = freshId("token-title");
  const input = el("input", { id: field, type: "password", required: true, autocomplete: "off", spellcheck: "false" });
  const dialog = el(
    "dialog",
    { class: "token", "aria-labelledby": title },
    el(
      "form",
      { method: "dialog" },
      el("h2", { id: title }, "Access token"),
      el(
        "p",
        refused ? { class: "wrong", role: "alert" } : {},
        refused ? "The service did not accept that token." : "This service answers only with a token. It is kept until this tab is closed.",
      ),
      el("label", { for: field }, "Token"),
      input,
      el("button", { class: "primary", type: "submit" }, "Continue"),
    ),
  );
  document.body.append(dialog);
  return new Promise((resolve) => {
    dialog.addEventListener("close", () => {
      const token = input.value.trim();
      dialog.remove();
      if (token !== "") sessionStorage.setItem(KEY, token);
      resolve(token === "" ? null : token);
    });
    dialog.addEventListener("cancel", () => {
      input.value = "";
    });
    dialog.showModal();
    input.focus();
  });
}
