//! `<ew-dock id="dock">`: what plays while its page is not shown. A link with `data-play` (audio) and `data-title` plays here.

import { define, h, icon, iconButton, relabel } from "./dom.js";
import { SPEEDS, failure, playback } from "./playback.js";
import { clock, spoken } from "./time.js";

class Dock extends HTMLElement {
  #stop: AbortController | undefined;
  #built: ReturnType<Dock["build"]> | undefined;

  connectedCallback(): void {
    if (this.#stop) return;
    this.#stop = new AbortController();
    playback.addEventListener("change", () => this.#show(), { signal: this.#stop.signal });
    this.#show();
  }

  disconnectedCallback(): void {
    queueMicrotask(() => {
      if (this.isConnected) return;
      this.#stop?.abort();
      this.#stop = undefined;
    });
  }

  build() {
    const title = h("a");
    const sub = h("span", { class: "soft", role: "status" });
    const play = h("button", { type: "button", class: "primary only-icon", "aria-label": "Play" }, icon("play"));
    const slider = h("input", { type: "range", min: 0, max: 0, step: 0.1, value: 0, "aria-label": "Position" });
    const now = h("span", { class: "clock" });
    const back = iconButton("back", "10 seconds back");
    const on = iconButton("forward", "10 seconds on");
    const speed = h("select", { "aria-label": "Speed", class: "small" }, ...SPEEDS.map((s) => h("option", { value: s }, `${s}×`)));
    const close = iconButton("cross", "Close the player", { class: "small quiet only-icon" });
    const root = h("div", { class: "dock", role: "region", "aria-label": "Playing" },
      play, h("div", { class: "what" }, title, sub), back, on, slider, now, h("span", { class: "inline" }, speed), close);
    play.addEventListener("click", () => playback.toggle());
    back.addEventListener("click", () => playback.seek(playback.audio.currentTime - 10));
    on.addEventListener("click", () => playback.seek(playback.audio.currentTime + 10));
    slider.addEventListener("input", () => playback.seek(Number(slider.value)));
    speed.addEventListener("change", () => playback.setSpeed(Number(speed.value)));
    close.addEventListener("click", () => playback.unload());
    return { root, title, sub, play, slider, now, speed };
  }

  #show(): void {
    const { source, audio } = playback;
    const here = source && document.querySelector(`ew-player[src="${CSS.escape(source.src)}"]`);
    if (!source || here) {
      if (this.firstChild) this.replaceChildren();
      return;
    }
    const built = (this.#built ??= this.build());
    if (!built.root.isConnected) this.replaceChildren(built.root);
    const end = Number.isFinite(audio.duration) ? audio.duration : 0;
    if (built.title.textContent !== source.title) built.title.textContent = source.title;
    if (built.title.getAttribute("href") !== source.page) built.title.setAttribute("href", source.page);
    const says = audio.error ? failure(audio.error).short : playback.playing ? "playing" : "paused";
    if (built.sub.textContent !== says) built.sub.textContent = says;
    relabel(built.play, playback.playing ? "pause" : "play", playback.playing ? "Pause" : "Play");
    built.slider.max = String(end);
    built.slider.value = String(audio.currentTime);
    built.slider.setAttribute("aria-valuetext", spoken(audio.currentTime));
    built.now.textContent = `${clock(audio.currentTime)} / ${clock(end)}`;
    built.speed.value = String(audio.playbackRate);
  }
}

define("ew-dock", Dock);

document.addEventListener("click", (event) => {
  const link = (event.target as Element).closest?.<HTMLAnchorElement>("a[data-play]");
  if (!link?.dataset["play"] || event.ctrlKey || event.metaKey || event.shiftKey || event.button !== 0) return;
  event.preventDefault();
  event.stopImmediatePropagation();
  const src = link.dataset["play"];
  if (playback.is(src)) return playback.toggle();
  playback.load({ src, title: link.dataset["title"] ?? "Recording", page: new URL(link.href).pathname });
  playback.play();
}, true);
