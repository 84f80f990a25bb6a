//! `<ew-listen src="/live/ID/listen" title>`: hears a call while it runs. Begins by a click (browsers want one), or at once with
//! `autostart`. What it is doing is told in words.

import { define, h, icon } from "./dom.js";
import { clock } from "./time.js";

/** Waits between attempts to connect again, ms. */
const AGAIN_MS = [500, 1000, 2000, 4000, 8000];
const script = document.currentScript as HTMLScriptElement | null;
const WORKLET = script?.dataset["worklet"] ?? new URL("listen-worklet.js", script?.src ?? location.href).href;

interface Report { buffered_ms: number; position_ms: number; near: number; far: number; dry: number; skipped_ms: number }
type Told =
  | { type: "start"; rate: number; channels: number; started: string; position_ms: number }
  | { type: "paused" | "resumed" | "hold" | "retrieve"; position_ms: number }
  | { type: "lagged"; chunks: number }
  | { type: "ended"; reason?: string };

class Listen extends HTMLElement {
  #socket: WebSocket | undefined;
  #context: AudioContext | undefined;
  #gain: GainNode | undefined;
  #node: AudioWorkletNode | undefined;
  #built: ReturnType<Listen["build"]> | undefined;
  #attempt = 0;
  #timer: number | undefined;
  #wanted = false;
  #paused = false;
  #held = false;
  #last = 0;

  connectedCallback(): void {
    this.#built ??= this.build();
    this.replaceChildren(this.#built.root);
    if (!window.isSecureContext || !("audioWorklet" in AudioContext.prototype)) {
      this.#say("bad", "Listening in needs this page over HTTPS, in a browser of these years.");
      this.#built.toggle.disabled = true;
    } else if (this.hasAttribute("autostart")) {
      this.#start();
    } else {
      this.#say("", "Not listening");
    }
  }

  disconnectedCallback(): void {
    queueMicrotask(() => {
      if (!this.isConnected) this.#stop("Not listening");
    });
  }

  build() {
    const toggle = h("button", { type: "button", class: "primary" }, icon("ear"), "Listen");
    const state = h("span", { class: "state", role: "status", "aria-live": "polite" });
    const note = h("span", { class: "soft", role: "status", "aria-live": "polite" });
    const where = h("span", { class: "where" });
    const latency = h("span", { class: "latency" });
    const bar = () => h("i");
    const [near, far] = [bar(), bar()];
    const volume = h("input", { type: "range", min: 0, max: 1.5, step: 0.05, value: 1, "aria-label": "Loudness" });
    const levels = h("div", { class: "levels", "aria-hidden": "true" },
      h("span", {}, "Extension"), h("div", { class: "level near" }, near), h("span", {}, "Other side"), h("div", { class: "level far" }, far));
    const root = h("div", { class: "listen", role: "group", "aria-label": `Listen in: ${this.getAttribute("title") ?? ""}` },
      toggle, h("div", { class: "stack tight words" }, state, note), levels, h("label", { class: "inline" }, "Loudness", volume), where, latency);
    toggle.addEventListener("click", () => (this.#wanted ? this.#stop("Not listening") : this.#start()));
    volume.addEventListener("input", () => {
      if (this.#gain) this.#gain.gain.value = Number(volume.value);
    });
    return { root, toggle, state, note, where, latency, near, far, volume };
  }

  #say(kind: "" | "good" | "warn" | "bad", text: string, note = ""): void {
    const built = this.#built;
    if (!built) return;
    built.state.className = `state ${kind}`;
    if (built.state.textContent !== text) built.state.textContent = text;
    if (built.note.textContent !== note) built.note.textContent = note;
  }

  #start(): void {
    this.#wanted = true;
    this.toggleAttribute("listening", true);
    this.#attempt = 0;
    this.#built?.toggle.replaceChildren(icon("stop"), "Stop listening");
    this.#connect();
  }

  #stop(why: string, kind: "" | "bad" = "", note = ""): void {
    this.#wanted = false;
    this.toggleAttribute("listening", false);
    clearTimeout(this.#timer);
    this.#socket?.close();
    this.#silence();
    this.#built?.toggle.replaceChildren(icon("ear"), "Listen");
    this.#say(kind, why, note);
    this.dispatchEvent(new Event("ew-stopped", { bubbles: true }));
  }

  #silence(): void {
    this.#node?.disconnect();
    if (this.#context) {
      this.#context.onstatechange = null;
      void this.#context.close();
    }
    this.#node = this.#context = this.#gain = undefined;
    for (const bar of [this.#built?.near, this.#built?.far]) if (bar) bar.style.transform = "scaleX(0)";
    if (this.#built) this.#built.latency.textContent = "";
  }

  #connect(): void {
    this.#say("", this.#attempt ? "Connecting again…" : "Connecting…");
    const url = new URL(this.getAttribute("src") ?? "", location.href);
    url.protocol = url.protocol === "https:" ? "wss:" : "ws:";
    const socket = (this.#socket = new WebSocket(url));
    socket.binaryType = "arraybuffer";
    let ended = false;
    socket.onmessage = ({ data }) => {
      if (socket !== this.#socket) return;
      if (data instanceof ArrayBuffer) return this.#hear(data);
      let told: Told;
      try {
        told = JSON.parse(String(data)) as Told;
      } catch {
        return;
      }
      if (told.type === "ended") {
        ended = true;
        // What is still waiting is heard to its end.
        setTimeout(() => socket === this.#socket && this.#stop("The call has ended", "", told.type === "ended" ? (told.reason ?? "") : ""), 400);
      } else {
        void this.#told(told);
      }
    };
    socket.onclose = () => {
      if (socket !== this.#socket || !this.#wanted || ended) return;
      this.#silence();
      const wait = AGAIN_MS[this.#attempt++];
      if (wait === undefined) return this.#stop("Offline", "bad", "The recorder does not answer, the call is over, or you may no longer listen.");
      this.#say("bad", "Offline", "Trying to connect again.");
      this.#timer = setTimeout(() => this.#connect(), wait);
    };
  }

  async #told(told: Exclude<Told, { type: "ended" }>): Promise<void> {
    switch (told.type) {
      case "start":
        this.#attempt = 0;
        this.#paused = this.#held = false;
        this.#last = 0;
        await this.#open(told.rate);
        this.#live();
        break;
      case "paused":
      case "resumed":
        this.#paused = told.type === "paused";
        this.#live();
        break;
      case "hold":
      case "retrieve":
        this.#held = told.type === "hold";
        this.#live();
        break;
      case "lagged":
        this.#live(`${told.chunks} chunks were skipped: this browser or the network was too slow.`);
        break;
    }
  }

  #live(note = ""): void {
    if (this.#context?.state === "suspended") this.#say("warn", "Silent", "The browser wants a click: press Stop listening, then Listen. Or there is no sound device.");
    else if (this.#paused) this.#say("warn", "Recording paused", note || "Nothing is heard until it is resumed.");
    else if (this.#held) this.#say("warn", "On hold", note);
    else this.#say("good", "Live", note);
  }

  async #open(rate: number): Promise<void> {
    if (this.#context?.sampleRate === rate) return;
    this.#silence();
    const context = (this.#context = new AudioContext({ sampleRate: rate, latencyHint: "interactive" }));
    await context.audioWorklet.addModule(WORKLET);
    if (context !== this.#context) return;
    const node = (this.#node = new AudioWorkletNode(context, "ew-listen", { numberOfInputs: 0, outputChannelCount: [2] }));
    const gain = (this.#gain = context.createGain());
    gain.gain.value = Number(this.#built?.volume.value ?? 1);
    node.connect(gain).connect(context.destination);
    node.port.onmessage = ({ data }) => this.#report(data as Report);
    context.onstatechange = () => this.#wanted && this.#live();
    await Promise.race([context.resume(), new Promise((resolve) => setTimeout(resolve, 300))]);
  }

  /** u32 LE sequence, u32 LE position in ms, interleaved PCM16. */
  #hear(data: ArrayBuffer): void {
    if (data.byteLength < 12 || !this.#node) return;
    const view = new DataView(data);
    const [sequence, position] = [view.getUint32(0, true), view.getUint32(4, true)];
    if (sequence < this.#last) return;
    this.#last = sequence;
    const pcm = data.slice(8, 8 + ((data.byteLength - 8) & ~3));
    this.#node.port.postMessage({ pcm, position }, [pcm]);
  }

  #report(report: Report): void {
    const built = this.#built;
    if (!built || !this.#context) return;
    const delay = report.buffered_ms + Math.round((this.#context.outputLatency || this.#context.baseLatency || 0) * 1000);
    built.latency.textContent = `${delay} ms behind the recorder's sending`;
    this.dataset["latency"] = String(delay);
    this.dataset["skipped"] = String(report.skipped_ms);
    built.where.textContent = clock(report.position_ms / 1000);
    // The root shows quiet speech.
    built.near.style.transform = `scaleX(${Math.sqrt(Math.min(1, report.near)).toFixed(3)})`;
    built.far.style.transform = `scaleX(${Math.sqrt(Math.min(1, report.far)).toFixed(3)})`;
  }
}

define("ew-listen", Listen);
