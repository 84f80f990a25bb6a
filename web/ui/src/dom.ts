//! Small helpers for building elements: text is always set as text, so nothing that a stranger wrote becomes markup.

type Attributes = Record<string, string | number | boolean | undefined>;

/** Makes an element. `true` sets a bare attribute, `false` and `undefined` leave it out; strings among the children are text. */
export function h<K extends keyof HTMLElementTagNameMap>(
  tag: K,
  attributes: Attributes = {},
  ...children: (Node | string)[]
): HTMLElementTagNameMap[K] {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (value === undefined || value === false) continue;
    element.setAttribute(name, value === true ? "" : String(value));
  }
  element.append(...children);
  return element;
}

/** An icon of style/icons. */
export function icon(name: string): HTMLElement {
  return h("i", { class: `icon i-${name}`, "aria-hidden": "true" });
}

/** A button with an icon, and a name for those who do not see it. */
export function iconButton(name: string, label: string, more: Attributes = {}): HTMLButtonElement {
  return h("button", { type: "button", class: "small only-icon", "aria-label": label, title: label, ...more }, icon(name));
}

/** Changes the icon and name of such a button. */
export function relabel(button: HTMLButtonElement, name: string, label: string): void {
  if (button.ariaLabel === label) return;
  button.setAttribute("aria-label", label);
  button.title = label;
  button.firstElementChild?.setAttribute("class", `icon i-${name}`);
}

/** Defines an element once; a second script on the page must not break the first. */
export function define(name: string, element: CustomElementConstructor): void {
  if (!customElements.get(name)) customElements.define(name, element);
}
