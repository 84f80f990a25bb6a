//! `<ew-session idle="SECONDS" touch="/session">`: says that the session is about to end, and lets it go on. Every page and part that
//! is loaded begins the time again, in all tabs; so does hearing a recording or a call.

import { define, h, icon } from "./dom.js";
import { playback } from "./playback.js";
import { clock } from "./time.js";

/** When the warning comes before the end, s: WCAG 2.2.1 wants 20 at least. */
const WARN_S = 90;
/** How often hearing counts as use. */
const HEARS_MS = 60_000;

class Session extends HTMLElement {
  #timer: number | undefined;
  #channel: BroadcastChannel | undefined;
  #last = Date.now();
  #left: HTMLElement | undefined;

  connectedCallback(): void {
    if (this.#timer !== undefined) return;
    this.#channel = new BroadcastChannel("earwitness-session");
    this.#channel.onmessage = () => this.#begin();
    document.addEventListener("htmx:after:request", this.#used);
    this.#timer = setInterval(() => this.#check(), 1000);
    this.#used();
  }

  disconnectedCallback(): void {
    queueMicrotask(() => {
      if (this.isConnected) return;
      clearInterval(this.#timer);
      this.#timer = undefined;
      this.#channel?.close();
      document.removeEventListener("htmx:after:request", this.#used);
    });
  }

  #used = (): void => {
    this.#begin();
    this.#channel?.postMessage("used");
  };

  #begin(): void {
    this.#last = Date.now();
    this.#left = undefined;
    this.replaceChildren();
  }

  #check(): void {
    const idle = Number(this.getAttribute("idle")) || 900;
    const hears = playback.playing || document.querySelector("ew-listen[listening]") !== null;
    if (hears && Date.now() - this.#last > Math.min(HEARS_MS, idle * 300)) return void this.#stay();
    const left = idle - (Date.now() - this.#last) / 1000;
    if (left <= 0) return location.assign("/sign-in?ended=idle");
    if (left > Math.min(WARN_S, idle / 2)) return;
    if (!this.#left) {
      this.#left = h("strong");
      const stay = h("button", { type: "button", class: "primary small" }, "Stay signed in");
      stay.addEventListener("click", () => void this.#stay());
      this.replaceChildren(h("div", { class: "notice warn", role: "alert" }, icon("clock"),
        h("div", {}, "You will be signed out soon, because nothing was done for a while.", h("div", { class: "actions" }, stay, this.#left))));
    }
    this.#left.textContent = clock(Math.ceil(left));
  }

  async #stay(): Promise<void> {
    const response = await fetch(this.getAttribute("touch") ?? "/session", { credentials: "same-origin" }).catch(() => undefined);
    if (response?.ok) this.#used();
    // A recorder that does not answer is not the end of the session.
    else if (response) location.assign("/sign-in?ended=idle");
  }
}

define("ew-session", Session);
