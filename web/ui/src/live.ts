//! `<ew-live src="/live/events">`: keeps the parts of the page marked `data-live="NAME"` as the server's events of that name say.
//! The data of an event is the part's new content, made by the server. Focus and what is listened to stay.

import htmx from "htmx.org";
import { define, h, icon } from "./dom.js";

const AGAIN_MS = 5000;

class Live extends HTMLElement {
  #source: EventSource | undefined;
  #timer: number | undefined;
  #last = "";
  #banner: HTMLElement | undefined;

  connectedCallback(): void {
    if (!this.#source) this.#open();
    this.addEventListener("click", this.#listen, true);
    this.addEventListener("ew-stopped", this.#mark);
  }

  disconnectedCallback(): void {
    queueMicrotask(() => {
      if (this.isConnected) return;
      clearTimeout(this.#timer);
      this.#source?.close();
      this.#source = undefined;
    });
  }

  #open(): void {
    const url = new URL(this.getAttribute("src") ?? "", location.href);
    // The browser sends Last-Event-ID itself when it connects again; a new source needs to be told.
    if (this.#last) url.searchParams.set("last_event_id", this.#last);
    const source = (this.#source = new EventSource(url));
    source.onopen = () => this.#offline(false);
    source.onerror = () => {
      this.#offline(true);
      if (source.readyState !== EventSource.CLOSED) return;
      clearTimeout(this.#timer);
      this.#timer = setTimeout(() => this.isConnected && this.#open(), AGAIN_MS);
    };
    for (const name of new Set(Array.from(this.querySelectorAll<HTMLElement>("[data-live]"), (part) => part.dataset["live"] ?? ""))) {
      source.addEventListener(name, (event) => {
        this.#last = event.lastEventId || this.#last;
        this.#offline(false);
        this.#put(name, String(event.data));
      });
    }
  }

  #offline(is: boolean): void {
    if (!is) {
      this.#banner?.remove();
      this.#banner = undefined;
    } else if (!this.#banner) {
      const at = new Date().toTimeString().slice(0, 8);
      this.#banner = h("div", { class: "notice bad", role: "alert" }, icon("warning"),
        h("div", {}, h("strong", {}, "Recorder offline."), ` What is shown is of ${at}; trying to connect again.`));
      this.prepend(this.#banner);
    }
  }

  #put(name: string, html: string): void {
    const part = this.querySelector(`[data-live="${CSS.escape(name)}"]`);
    if (!part) return;
    const focus = focused(part);
    part.innerHTML = html;
    htmx.process(part);
    this.#mark();
    focus?.(part);
  }

  /** Listening begins in the page, so that the list stays in sight. */
  #listen = (event: MouseEvent): void => {
    const link = (event.target as Element).closest<HTMLAnchorElement>("a[data-listen]");
    const place = this.querySelector("#listening");
    if (!link || !place || event.ctrlKey || event.metaKey || event.shiftKey || event.button !== 0) return;
    event.preventDefault();
    event.stopImmediatePropagation();
    const title = link.dataset["title"] ?? "";
    place.replaceChildren(h("section", { class: "card listening" },
      h("header", {}, h("h2", {}, icon("ear"), " ", h("bdi", {}, title))),
      h("ew-listen" as "div", { src: link.dataset["listen"], title, autostart: true })));
    this.#mark();
  };

  #mark = (): void => {
    const src = this.querySelector("#listening ew-listen")?.getAttribute("src");
    for (const link of this.querySelectorAll<HTMLElement>("a[data-listen]")) {
      const row = link.closest("tr");
      if (src && link.dataset["listen"] === src) row?.setAttribute("aria-current", "true");
      else row?.removeAttribute("aria-current");
    }
  };
}

/** How to give the focus back after the content of `part` was replaced: by the row's id and the place in the row. */
function focused(part: Element): ((part: Element) => void) | undefined {
  const active = document.activeElement;
  if (!active || !part.contains(active)) return undefined;
  const inside = "a[href], button, input, select, textarea, summary, [tabindex]";
  const row = active.closest("[id]");
  const rowId = row && part.contains(row) ? row.id : "";
  const index = Array.from((rowId ? row : part)?.querySelectorAll(inside) ?? []).indexOf(active);
  const value = active.getAttribute("value") ?? active.getAttribute("href");
  return (fresh) => {
    const home = rowId ? document.getElementById(rowId) : fresh;
    const all = Array.from(home?.querySelectorAll<HTMLElement>(inside) ?? []);
    const same = all.find((one) => value !== null && (one.getAttribute("value") ?? one.getAttribute("href")) === value);
    (same ?? all[index])?.focus({ preventScroll: true });
  };
}

define("ew-live", Live);
