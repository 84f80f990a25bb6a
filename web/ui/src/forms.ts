//! Small things in forms: `<ew-select-all>`, `<ew-confirm>`, and buttons that copy.

import { define, h } from "./dom.js";

/** `<ew-select-all>` in a heading cell: ticks all `.pick` boxes of its table. Shift ticks a range. Counts into `.picked`. */
class SelectAll extends HTMLElement {
  #stop: AbortController | undefined;

  connectedCallback(): void {
    const table = this.closest("table");
    if (!table || this.#stop) return;
    this.#stop = new AbortController();
    const { signal } = this.#stop;
    const all = h("input", { type: "checkbox", class: "pick-all", "aria-label": "Select all that are shown" });
    this.replaceChildren(all);
    const boxes = () => Array.from(table.querySelectorAll<HTMLInputElement>("input.pick"));
    let last: HTMLInputElement | undefined;
    const count = () => {
      const every = boxes();
      const ticked = every.filter((box) => box.checked).length;
      all.checked = ticked > 0 && ticked === every.length;
      all.indeterminate = ticked > 0 && ticked < every.length;
      const out = table.closest("form")?.querySelector(".picked");
      if (out) out.textContent = ticked ? `${ticked} selected` : "";
    };
    all.addEventListener("change", () => {
      for (const box of boxes()) box.checked = all.checked;
      count();
    });
    table.addEventListener("click", (event) => {
      const box = event.target;
      if (!(box instanceof HTMLInputElement) || !box.matches(".pick")) return;
      const every = boxes();
      if (event.shiftKey && last) {
        const [from, to] = [every.indexOf(last), every.indexOf(box)].sort((x, y) => x - y) as [number, number];
        if (from >= 0) for (const between of every.slice(from, to + 1)) between.checked = box.checked;
      }
      last = box;
      count();
    }, { signal });
    table.closest("form")?.addEventListener("reset", () => setTimeout(count), { signal });
    count();
  }

  disconnectedCallback(): void {
    this.#stop?.abort();
    this.#stop = undefined;
  }
}

/** `<ew-confirm expect="NAME">` around a text field and a button: the button works when the field says NAME. The server asks too. */
class Confirm extends HTMLElement {
  connectedCallback(): void {
    const field = this.querySelector<HTMLInputElement>("input:not([type=hidden])");
    const button = this.querySelector<HTMLButtonElement>("button:not([type=button])");
    if (!field || !button) return;
    const check = () => (button.disabled = field.value.trim() !== this.getAttribute("expect"));
    field.addEventListener("input", check);
    check();
  }
}

define("ew-select-all", SelectAll);
define("ew-confirm", Confirm);

document.addEventListener("click", (event) => {
  const button = (event.target as Element).closest?.<HTMLElement>("[data-copy]");
  if (!button) return;
  event.preventDefault();
  const said = button.lastChild;
  const before = said?.textContent ?? "";
  const say = (text: string) => {
    if (said) said.textContent = text;
    setTimeout(() => said && (said.textContent = before), 2000);
  };
  navigator.clipboard.writeText(button.dataset["copy"] ?? "").then(() => say("Copied"), () => say("Not allowed: select and copy it"));
});
