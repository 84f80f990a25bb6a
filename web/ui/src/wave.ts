//! The picture of a recording: near above, far below, drawn on a canvas as wide as the window, whatever the length. It is for the
//! eye only; everything in it can be reached without it.

import type { Peaks, Timeline } from "./timeline.js";
import { clock } from "./time.js";

const LANE_PX = 58;
const RULER_PX = 18;
const HEIGHT_PX = RULER_PX + 2 * LANE_PX;
/** Zoom: two points a pixel show all there is; browsers get into trouble with wider elements. */
const PX_PER_SECOND_MAX = 100;
const EXTENT_PX_MAX = 4_000_000;

type Colours = Record<"near" | "far" | "pause" | "edge" | "soft" | "ink" | "bad" | "accent" | "line" | "warn", string>;

export class Wave {
  /** Told of a click or drag, in seconds. */
  onSeek: (seconds: number) => void = () => {};
  readonly #box: HTMLElement;
  readonly #extent: HTMLElement;
  readonly #canvas = document.createElement("canvas");
  readonly #still = document.createElement("canvas");
  readonly #probe = document.createElement("span");
  readonly #resize: ResizeObserver;
  readonly #schemes = ["(prefers-color-scheme: dark)", "(forced-colors: active)"].map((query) => matchMedia(query));
  readonly #repaint = () => this.#soon(true);
  #colours: Colours | undefined;
  #peaks: Peaks | undefined;
  #timeline: Timeline | undefined;
  #seconds = 0;
  /** 1 is the whole recording in the window. */
  #zoom = 1;
  #at = 0;
  #loop: { a?: number; b?: number } = {};
  #dirty = true;
  #frame = 0;

  constructor(box: HTMLElement) {
    this.#box = box;
    this.#extent = document.createElement("div");
    this.#extent.className = "extent";
    this.#canvas.setAttribute("aria-hidden", "true");
    this.#probe.hidden = true;
    box.append(this.#canvas, this.#extent, this.#probe);
    this.#resize = new ResizeObserver(() => this.#soon(true));
    this.#resize.observe(box);
    box.addEventListener("scroll", () => this.#soon(true));
    for (const scheme of this.#schemes) scheme.addEventListener("change", this.#repaint);
    this.#canvas.addEventListener("pointerdown", (event) => {
      if (event.button !== 0) return;
      this.#canvas.setPointerCapture(event.pointerId);
      this.#point(event);
    });
    this.#canvas.addEventListener("pointermove", (event) => {
      if (this.#canvas.hasPointerCapture(event.pointerId)) this.#point(event);
    });
  }

  stop(): void {
    this.#resize.disconnect();
    cancelAnimationFrame(this.#frame);
    for (const scheme of this.#schemes) scheme.removeEventListener("change", this.#repaint);
  }

  show(peaks: Peaks | undefined, timeline: Timeline | undefined, seconds: number): void {
    this.#peaks = peaks;
    this.#timeline = timeline;
    this.#seconds = seconds;
    this.#soon(true);
  }

  /** Moves the playhead, and the window after it when the recording plays. */
  move(at: number, loop: { a?: number; b?: number }, follow: boolean): void {
    const moved = loop.a !== this.#loop.a || loop.b !== this.#loop.b;
    this.#at = at;
    this.#loop = { ...loop };
    const [x, width] = [at * this.#scale() - this.#box.scrollLeft, this.#box.clientWidth];
    if (follow && this.#zoom > 1 && (x < 0 || x > width * 0.9)) this.#box.scrollLeft = at * this.#scale() - width * 0.1;
    this.#soon(moved);
  }

  /** In (factor > 1) or out, around the playhead. */
  zoom(factor: number): void {
    const width = Math.max(1, this.#box.clientWidth);
    const most = Math.max(1, Math.min((PX_PER_SECOND_MAX * this.#seconds) / width, EXTENT_PX_MAX / width));
    this.#zoom = Math.max(1, Math.min(most, this.#zoom * factor));
    this.#layout();
    this.#box.scrollLeft = this.#at * this.#scale() - width / 2;
    this.#soon(true);
  }

  #scale(): number {
    return this.#seconds > 0 ? (this.#box.clientWidth * this.#zoom) / this.#seconds : 0;
  }

  #point(event: PointerEvent): void {
    const x = event.clientX - this.#box.getBoundingClientRect().left + this.#box.scrollLeft;
    const scale = this.#scale();
    if (scale) this.onSeek(Math.max(0, Math.min(this.#seconds, x / scale)));
  }

  #soon(dirty: boolean): void {
    this.#dirty ||= dirty;
    this.#frame ||= requestAnimationFrame(() => {
      this.#frame = 0;
      this.#paint();
    });
  }

  #layout(): void {
    this.#extent.style.width = `${Math.floor(this.#box.clientWidth * this.#zoom)}px`;
  }

  #palette(): Colours {
    const read = (name: string) => {
      this.#probe.style.color = `var(--${name})`;
      return getComputedStyle(this.#probe).color;
    };
    const names = ["near", "far", "pause", "edge", "soft", "ink", "bad", "accent", "line", "warn"] as const;
    return Object.fromEntries(names.map((name) => [name, read(name)])) as Colours;
  }

  #paint(): void {
    const [width, ratio] = [this.#box.clientWidth, Math.min(3, window.devicePixelRatio || 1)];
    if (!width || !this.#box.isConnected) return;
    if (this.#dirty) {
      this.#dirty = false;
      this.#colours = this.#palette();
      this.#layout();
      for (const canvas of [this.#canvas, this.#still]) {
        canvas.width = Math.round(width * ratio);
        canvas.height = Math.round(HEIGHT_PX * ratio);
      }
      this.#canvas.style.width = `${width}px`;
      this.#canvas.style.height = `${HEIGHT_PX}px`;
      const still = this.#still.getContext("2d");
      if (still) {
        still.setTransform(ratio, 0, 0, ratio, 0, 0);
        this.#background(still, width, this.#colours);
      }
    }
    const c = this.#canvas.getContext("2d");
    if (!c || !this.#colours) return;
    c.setTransform(1, 0, 0, 1, 0, 0);
    c.clearRect(0, 0, this.#canvas.width, this.#canvas.height);
    c.drawImage(this.#still, 0, 0);
    c.setTransform(ratio, 0, 0, ratio, 0, 0);
    const x = Math.round(this.#at * this.#scale() - this.#box.scrollLeft);
    c.fillStyle = this.#colours.ink;
    c.fillRect(x - 1, 0, 2, HEIGHT_PX);
    c.beginPath();
    c.arc(x, 5, 5, 0, Math.PI * 2);
    c.fill();
  }

  #background(c: CanvasRenderingContext2D, width: number, colours: Colours): void {
    const [scale, left] = [this.#scale(), this.#box.scrollLeft];
    c.clearRect(0, 0, width, HEIGHT_PX);
    if (!scale) return;
    const x = (seconds: number) => seconds * scale - left;
    this.#ruler(c, width, colours, scale, left);
    c.fillStyle = colours.line;
    c.fillRect(0, RULER_PX + LANE_PX, width, 1);
    const lanes = this.#peaks?.lanes ?? [];
    [0, 1].forEach((lane) => {
      c.fillStyle = lane === 0 ? colours.near : colours.far;
      this.#lane(c, lanes[lane], width, scale, left, RULER_PX + lane * LANE_PX + LANE_PX / 2);
    });
    const t = this.#timeline;
    if (t) {
      for (const hold of t.holds) this.#hatch(c, x(hold.start_ms / 1000), x(hold.end_ms / 1000), width, colours, "hold");
      for (const pause of t.pauses) this.#flat(c, x(pause.start_ms / 1000), x(pause.end_ms / 1000), width, colours);
      c.fillStyle = colours.bad;
      const under = (lane: number) => RULER_PX + lane * LANE_PX + LANE_PX - 5;
      for (const loss of t.loss) c.fillRect(x(loss.second), under(loss.lane), Math.max(2, scale), 4);
      for (const gap of t.gaps) c.fillRect(x(gap.start_ms / 1000), under(gap.lane), Math.max(2, ((gap.end_ms - gap.start_ms) / 1000) * scale), 4);
      c.font = "600 10px system-ui, sans-serif";
      c.textAlign = "center";
      for (const key of t.dtmf) this.#marker(c, x(key.at_ms / 1000), RULER_PX + key.lane * LANE_PX + 8, colours.accent, key.digit ?? "•");
      for (const note of t.notes) this.#marker(c, x(note.at_ms / 1000), HEIGHT_PX - 10, colours.warn, "✎");
    }
    const { a, b } = this.#loop;
    c.fillStyle = colours.accent;
    for (const edge of [a, b]) if (edge !== undefined) c.fillRect(x(edge) - 1, RULER_PX, 2, HEIGHT_PX);
    if (a !== undefined && b !== undefined && b > a) {
      c.globalAlpha = 0.14;
      c.fillRect(x(a), RULER_PX, x(b) - x(a), HEIGHT_PX);
      c.globalAlpha = 1;
    }
  }

  #ruler(c: CanvasRenderingContext2D, width: number, colours: Colours, scale: number, left: number): void {
    const step = [1, 2, 5, 10, 15, 30, 60, 120, 300, 600, 1200, 1800, 3600, 7200, 14400].find((s) => s * scale >= 72) ?? 28800;
    c.font = "11px system-ui, sans-serif";
    c.textAlign = "left";
    c.textBaseline = "middle";
    for (let s = Math.floor(left / scale / step) * step; s * scale - left < width; s += step) {
      const x = Math.round(s * scale - left);
      c.fillStyle = colours.line;
      c.fillRect(x, 0, 1, HEIGHT_PX);
      c.fillStyle = colours.soft;
      c.fillText(clock(s), x + 4, RULER_PX / 2 + 1);
    }
  }

  #lane(c: CanvasRenderingContext2D, points: Int8Array | undefined, width: number, scale: number, left: number, middle: number): void {
    const end = Math.min(width, this.#seconds * scale - left);
    c.fillRect(Math.max(0, -left), middle - 0.5, Math.max(0, end), 1);
    if (!points || !this.#peaks) return;
    const perPixel = this.#peaks.perSecond / scale;
    const half = LANE_PX / 2 - 6;
    for (let x = 0; x < end; x++) {
      const from = Math.floor((x + left) * perPixel);
      const to = Math.min(this.#peaks.points, Math.max(from + 1, Math.floor((x + 1 + left) * perPixel)));
      let [low, high] = [0, 0];
      for (let i = from; i < to; i++) {
        low = Math.min(low, points[2 * i] ?? 0);
        high = Math.max(high, points[2 * i + 1] ?? 0);
      }
      // The root makes quiet speech visible beside loud.
      const [up, down] = [Math.sqrt(high / 127) * half, Math.sqrt(-low / 128) * half];
      if (up + down > 1) c.fillRect(x, middle - up, 1, up + down);
    }
  }

  /** A stretch that was not recorded: flat grey over both lanes, with its name where there is room. */
  #flat(c: CanvasRenderingContext2D, from: number, to: number, width: number, colours: Colours): void {
    if (to < 0 || from > width) return;
    c.fillStyle = colours.pause;
    c.fillRect(from, RULER_PX, Math.max(2, to - from), 2 * LANE_PX);
    this.#name(c, from, to, width, colours, "not recorded");
  }

  #hatch(c: CanvasRenderingContext2D, from: number, to: number, width: number, colours: Colours, name: string): void {
    if (to < 0 || from > width) return;
    c.save();
    c.beginPath();
    c.rect(Math.max(from, -10), RULER_PX, Math.max(2, Math.min(to, width + 10) - Math.max(from, -10)), 2 * LANE_PX);
    c.clip();
    c.strokeStyle = colours.edge;
    c.globalAlpha = 0.55;
    c.beginPath();
    const start = Math.floor(Math.max(from, 0) / 8) * 8 - 2 * LANE_PX;
    for (let x = start; x < Math.min(to, width); x += 8) {
      c.moveTo(x, HEIGHT_PX);
      c.lineTo(x + 2 * LANE_PX, RULER_PX);
    }
    c.stroke();
    c.restore();
    this.#name(c, from, to, width, colours, name);
  }

  #name(c: CanvasRenderingContext2D, from: number, to: number, width: number, colours: Colours, name: string): void {
    c.font = "600 11px system-ui, sans-serif";
    const [start, end] = [Math.max(from, 0), Math.min(to, width)];
    const long = c.measureText(name).width;
    c.textAlign = "center";
    c.textBaseline = "middle";
    const middle = (start + end) / 2;
    if (end - start > long + 10) {
      c.fillStyle = colours.pause;
      c.fillRect(middle - long / 2 - 4, RULER_PX + LANE_PX - 9, long + 8, 18);
      c.fillStyle = colours.ink;
      c.fillText(name, middle, RULER_PX + LANE_PX + 1);
    } else if (end - start > 16) {
      c.save();
      c.translate(middle, RULER_PX + LANE_PX);
      c.rotate(-Math.PI / 2);
      c.fillStyle = colours.ink;
      c.fillText(name, 0, 1);
      c.restore();
    }
  }

  #marker(c: CanvasRenderingContext2D, x: number, y: number, colour: string, text: string): void {
    c.fillStyle = colour;
    c.fillText(text, x, y);
    c.fillRect(x - 0.5, y + 6, 1, 4);
  }
}
