//! `<ew-player src peaks timeline title>`: a recording with its picture, controls, keys and list of events. What stands in it, an
//! `<audio controls>`, is for browsers without scripts and is replaced.

import { define, h, icon, iconButton, relabel } from "./dom.js";
import { SPEEDS, failure, playback, type Lane } from "./playback.js";
import { clock, place, spoken } from "./time.js";
import { fetchPeaks, fetchTimeline, happenings, stateAt, type Happening, type Timeline } from "./timeline.js";
import { Wave } from "./wave.js";

const KEYS: [string, string][] = [
  ["Space, K", "play or pause"],
  ["← →", "5 s back, on"],
  ["J L", "10 s back, on"],
  ["[ ]", "slower, faster"],
  ["1 2 0", "extension, other side, both"],
  ["A B", "begin, end of the loop"],
  ["E", "next event"],
  ["G", "go to a time"],
  ["N", "note at this time"],
  ["?", "these keys"],
];
const ICONS: Record<Happening["kind"], string> = { pause: "pause", hold: "hold", gap: "gap", key: "keyboard", note: "note" };

/** Seconds of `90`, `1:30` or `1:00:05`. */
export function parseClock(text: string): number | undefined {
  if (!/^\s*\d+(:\d{1,2}){0,2}(\.\d+)?\s*$/.test(text)) return undefined;
  return text.split(":").reduce((sum, part) => sum * 60 + Number(part), 0);
}

class Player extends HTMLElement {
  #abort: AbortController | undefined;
  #wave: Wave | undefined;
  #timeline: Timeline | undefined;
  #events: Happening[] = [];
  /** Where it stands while something else, or nothing, plays. */
  #at = 0;
  #seconds = 0;
  #built: ReturnType<Player["build"]> | undefined;
  #problem = "";
  #gliding = false;

  connectedCallback(): void {
    if (this.#abort) return;
    this.#abort = new AbortController();
    const { signal } = this.#abort;
    this.#built ??= this.build();
    this.replaceChildren(this.#built.root);
    this.#wave = new Wave(this.#built.lanes);
    this.#wave.onSeek = (at) => this.#seek(at);
    playback.addEventListener("change", () => this.#show(), { signal });
    addEventListener("hashchange", () => this.#fromHash(), { signal });
    document.addEventListener("click", (event) => {
      const link = (event.target as Element).closest?.('a[href^="#t="]');
      if (!link) return;
      event.preventDefault();
      history.replaceState(history.state, "", link.getAttribute("href"));
      this.#fromHash();
      this.#play();
    }, { signal });
    this.#fromHash();
    void this.#load(signal);
    playback.dispatchEvent(new Event("change"));
  }

  disconnectedCallback(): void {
    // A move within the page is no farewell.
    queueMicrotask(() => {
      if (this.isConnected) return;
      this.#abort?.abort();
      this.#abort = undefined;
      this.#wave?.stop();
      playback.dispatchEvent(new Event("change"));
    });
  }

  get src(): string {
    return this.getAttribute("src") ?? "";
  }

  get #active(): boolean {
    return playback.is(this.src);
  }

  get #position(): number {
    return this.#active ? playback.audio.currentTime : this.#at;
  }

  async #load(signal: AbortSignal): Promise<void> {
    const get = async <T>(name: string, from: (url: string, signal: AbortSignal) => Promise<T>): Promise<T | undefined> => {
      const url = this.getAttribute(name);
      if (!url) return undefined;
      try {
        return await from(url, signal);
      } catch (error) {
        if (!signal.aborted) this.#problem = `No ${name === "peaks" ? "waveform" : "timeline"}: ${error instanceof Error ? error.message : "it did not come"}.`;
        return undefined;
      }
    };
    const [timeline, peaks] = await Promise.all([get("timeline", fetchTimeline), get("peaks", fetchPeaks)]);
    if (signal.aborted) return;
    this.#timeline = timeline;
    this.#seconds = (timeline?.duration_ms ?? 0) / 1000 || (peaks ? peaks.points / peaks.perSecond : 0);
    this.#wave?.show(peaks, timeline, this.#seconds);
    this.#list();
    this.#show();
    this.toggleAttribute("ready", true);
  }

  #fromHash(): void {
    const at = /^#t=([\d:.]+)$/.exec(location.hash)?.[1];
    const seconds = at === undefined ? undefined : parseClock(at);
    if (seconds !== undefined) this.#seek(seconds);
  }

  #play(): void {
    if (!this.#active) playback.load({ src: this.src, title: this.title || this.getAttribute("title") || "Recording", page: location.pathname }, this.#at);
    playback.play();
  }

  #toggle(): void {
    if (this.#active && playback.playing) playback.audio.pause();
    else this.#play();
  }

  #seek(at: number): void {
    const to = Math.max(0, Math.min(at, this.#seconds || at));
    this.#at = to;
    if (this.#active) playback.seek(to);
    this.#show();
  }

  #loop(edge: "a" | "b"): void {
    if (!this.#active) playback.load({ src: this.src, title: this.getAttribute("title") ?? "", page: location.pathname }, this.#at);
    const { loop } = playback;
    loop[edge] = this.#position;
    if (edge === "a" && loop.b !== undefined && loop.b <= this.#position) delete loop.b;
    if (edge === "b" && (loop.a ?? 0) >= this.#position) delete loop.a;
    if (edge === "b") loop.a ??= 0;
    this.#part();
    this.#show();
  }

  /** What is repeated is what somebody may want to save: the page's form has its ends. */
  #part(): void {
    for (const edge of ["a", "b"] as const) {
      const [input, at] = [document.querySelector<HTMLInputElement>(`[data-part="${edge}"]`), playback.loop[edge]];
      if (input) input.value = at === undefined ? "" : place(at);
    }
  }

  #next(): void {
    const next = this.#events.find((event) => event.at > this.#position + 0.05);
    if (next) this.#seek(next.at);
  }

  #note(): void {
    const [text, at] = [document.querySelector<HTMLElement>("[data-note]"), document.querySelector<HTMLInputElement>("[data-note-at]")];
    if (at) at.value = clock(this.#position);
    text?.focus();
  }

  build() {
    const lanes = h("div", { class: "player-lanes" });
    const slider = h("input", { type: "range", min: 0, max: 0, step: 0.1, value: 0, "aria-label": "Position" });
    const play = h("button", { type: "button", class: "primary play only-icon", "aria-label": "Play", title: "Play (Space)" }, icon("play"));
    const now = h("span", { class: "clock" });
    const state = h("span", { class: "player-state", role: "status" });
    const step = (name: string, label: string, by: number) => {
      const button = iconButton(name, label);
      button.append(` ${Math.abs(by)}`);
      button.classList.remove("only-icon");
      button.addEventListener("click", () => this.#seek(this.#position + by));
      return button;
    };
    const speed = h("select", { "aria-label": "Speed" }, ...SPEEDS.map((s) => h("option", { value: s }, `${s}×`)));
    const lane = h("div", { class: "segments", role: "group", "aria-label": "Who is heard" },
      ...([["both", "Both"], ["near", "Extension"], ["far", "Other side"]] as [Lane, string][]).map(([name, label]) =>
        h("button", { type: "button", "data-lane": name, "aria-pressed": "false" }, label)));
    const loopA = h("button", { type: "button", class: "small", title: "Loop from here (A)" }, "A");
    const loopB = h("button", { type: "button", class: "small", title: "Loop to here (B)" }, "B");
    const loopOff = iconButton("cross", "No loop");
    const out = h("button", { type: "button", class: "small only-icon", "aria-label": "Zoom out", title: "Zoom out" }, "−");
    const zoomIn = h("button", { type: "button", class: "small only-icon", "aria-label": "Zoom in", title: "Zoom in" }, "+");
    const go = h("input", { class: "go", size: 6, placeholder: "1:30", "aria-label": "Go to (minutes:seconds)", title: "Go to a time (G), Enter" });
    const again = h("button", { type: "button", class: "small", hidden: true }, "Load what came since");
    const keysButton = iconButton("keyboard", "Keys", { "aria-expanded": "false" });
    const keys = h("dl", { class: "player-keys", hidden: true }, ...KEYS.map(([key, what]) => h("div", {}, h("dt", {}, h("kbd", {}, key)), h("dd", {}, what))));
    const rows = h("tbody");
    const count = h("span", { class: "count" });
    const events = h("details", { class: "player-events" },
      h("summary", {}, "Events ", count),
      h("div", { class: "scroll", tabindex: 0, role: "region", "aria-label": "Events" }, h("table", { class: "plain" },
        h("thead", { class: "unseen" }, h("tr", {}, ...["Time", "What", "Who"].map((name) => h("th", { scope: "col" }, name)))), rows)));
    const legend = h("p", { class: "player-legend" });
    const root = h("div", { class: "player", role: "group", "aria-label": `Player: ${this.getAttribute("title") ?? ""}` },
      h("div", { class: "player-top" }, legend, state), lanes, slider,
      h("div", { class: "player-controls" },
        play, step("back", "10 seconds back", -10), step("back", "5 seconds back", -5), step("forward", "5 seconds on", 5), step("forward", "10 seconds on", 10),
        now,
        h("span", { class: "group end" }, speed),
        lane,
        h("span", { class: "group", role: "group", "aria-label": "Loop" }, icon("loop"), loopA, loopB, loopOff),
        h("span", { class: "group", role: "group", "aria-label": "Zoom" }, out, zoomIn),
        go, again, keysButton),
      keys, events);

    play.addEventListener("click", () => this.#toggle());
    slider.addEventListener("input", () => this.#seek(Number(slider.value)));
    speed.addEventListener("change", () => playback.setSpeed(Number(speed.value)));
    lane.addEventListener("click", (event) => {
      const name = (event.target as Element).closest("button")?.dataset["lane"];
      if (name) playback.setLane(name as Lane);
    });
    loopA.addEventListener("click", () => this.#loop("a"));
    loopB.addEventListener("click", () => this.#loop("b"));
    loopOff.addEventListener("click", () => {
      playback.loop = {};
      this.#part();
      this.#show();
    });
    out.addEventListener("click", () => this.#wave?.zoom(0.5));
    zoomIn.addEventListener("click", () => this.#wave?.zoom(2));
    go.addEventListener("keydown", (event) => {
      if (event.key !== "Enter") return;
      event.preventDefault();
      const at = parseClock(go.value);
      go.toggleAttribute("aria-invalid", at === undefined);
      if (at !== undefined) this.#seek(at);
    });
    again.addEventListener("click", () => {
      if (this.#active) playback.reload();
      if (this.#abort) void this.#load(this.#abort.signal);
    });
    const showKeys = () => {
      keys.hidden = !keys.hidden;
      keysButton.setAttribute("aria-expanded", String(!keys.hidden));
    };
    keysButton.addEventListener("click", showKeys);
    rows.addEventListener("click", (event) => {
      const at = (event.target as Element).closest("button")?.dataset["at"];
      if (at !== undefined) this.#seek(Number(at));
    });
    root.addEventListener("keydown", (event) => this.#key(event, { go, showKeys }));
    return { root, lanes, slider, play, now, state, speed, lane, loopA, loopB, loopOff, again, rows, count, events, legend };
  }

  /** Keys count only while the focus is in the player (WCAG 2.1.4), and not where a key has a meaning of its own. */
  #key(event: KeyboardEvent, parts: { go: HTMLInputElement; showKeys: () => void }): void {
    if (event.ctrlKey || event.metaKey || event.altKey || event.defaultPrevented) return;
    const target = event.target as HTMLElement;
    const slider = target === this.#built?.slider;
    if (target.matches("textarea, select") || (target instanceof HTMLInputElement && !slider)) return;
    const act: Record<string, () => void> = {
      k: () => this.#toggle(),
      j: () => this.#seek(this.#position - 10),
      l: () => this.#seek(this.#position + 10),
      ArrowLeft: () => this.#seek(this.#position - 5),
      ArrowRight: () => this.#seek(this.#position + 5),
      "[": () => playback.stepSpeed(-1),
      "]": () => playback.stepSpeed(1),
      "1": () => playback.setLane("near"),
      "2": () => playback.setLane("far"),
      "0": () => playback.setLane("both"),
      a: () => this.#loop("a"),
      b: () => this.#loop("b"),
      e: () => this.#next(),
      n: () => this.#note(),
      g: () => parts.go.focus(),
      "?": parts.showKeys,
    };
    // Space presses a button that has the focus; only elsewhere it plays.
    if (!target.matches("button, summary, a")) act[" "] = () => this.#toggle();
    const does = act[event.key.length === 1 ? event.key.toLowerCase() : event.key];
    if (!does) return;
    event.preventDefault();
    does();
  }

  #list(): void {
    const [built, timeline] = [this.#built, this.#timeline];
    if (!built) return;
    const { events, left } = timeline ? happenings(timeline) : { events: [], left: 0 };
    this.#events = events;
    built.count.textContent = String(events.length + left);
    built.events.hidden = events.length === 0;
    built.rows.replaceChildren(
      ...events.map((event) => h("tr", {},
        h("td", { class: "n" }, h("button", { type: "button", class: "small quiet", "data-at": event.at, "aria-label": `Go to ${spoken(event.at)}` }, clock(event.at))),
        h("td", {}, icon(ICONS[event.kind]), " ", h("bdi", {}, event.what)),
        h("td", { class: "soft" }, h("bdi", {}, event.more)))),
      ...(left ? [h("tr", {}, h("td", { colspan: 3 }, `${left} more are not listed.`))] : []));
    const key = (name: string, text: string) => h("span", { class: `key ${name}` }, h("bdi", {}, text));
    const lanes = timeline?.lanes ?? [];
    built.legend.replaceChildren(
      key("near", lanes[0]?.label ?? "Extension (left)"), key("far", lanes[1]?.label ?? "Other side (right)"),
      ...(timeline?.pauses.length ? [key("pause", "not recorded")] : []),
      ...(timeline?.holds.length ? [key("hold", "on hold")] : []),
      ...(timeline?.loss.length || timeline?.gaps.length ? [key("loss", "packets lost")] : []));
    built.again.hidden = !timeline?.running;
  }

  #show(): void {
    const [built, active] = [this.#built, this.#active];
    if (!built) return;
    const { audio } = playback;
    if (active && Number.isFinite(audio.duration) && audio.duration > this.#seconds) this.#seconds = audio.duration;
    const at = this.#position;
    if (active) this.#at = at;
    const playing = active && playback.playing;
    const moment = stateAt(this.#timeline, at);
    built.slider.max = String(this.#seconds);
    built.slider.value = String(at);
    built.slider.setAttribute("aria-valuetext", [spoken(at), moment].filter(Boolean).join(", "));
    relabel(built.play, playing ? "pause" : "play", playing ? "Pause" : "Play");
    const text = `${clock(at)} / ${clock(this.#seconds)}`;
    if (built.now.textContent !== text) built.now.textContent = text;
    const failed = active && audio.error ? failure(audio.error).long : "";
    const says = failed || moment || this.#problem;
    if (built.state.textContent !== says) built.state.textContent = says;
    built.state.classList.toggle("bad", Boolean(failed));
    built.speed.value = String(audio.playbackRate);
    for (const button of built.lane.querySelectorAll("button")) button.setAttribute("aria-pressed", String(button.dataset["lane"] === playback.lane));
    const loop = active ? playback.loop : {};
    built.loopA.setAttribute("aria-pressed", String(loop.a !== undefined));
    built.loopB.setAttribute("aria-pressed", String(loop.b !== undefined));
    built.loopOff.disabled = loop.a === undefined && loop.b === undefined;
    this.#wave?.move(at, loop, playing);
    if (playing && !this.#gliding) {
      this.#gliding = true;
      requestAnimationFrame(() => this.#glide());
    }
  }

  /** Between the audio's own reports, four a second, the playhead moves with each frame. */
  #glide(): void {
    if (!this.isConnected || !this.#active || !playback.playing) {
      this.#gliding = false;
      return;
    }
    this.#wave?.move(playback.audio.currentTime, playback.loop, true);
    requestAnimationFrame(() => this.#glide());
  }
}

define("ew-player", Player);
