//! Times as people read them: `<ew-time>`, `<ew-zone>` and `<ew-countdown>`. The server writes UTC; here it becomes the zone of
//! the user's settings (`data-zone` of `<html>`) or of the browser, with the offset.

import { define, h } from "./dom.js";

const browserZone = Intl.DateTimeFormat().resolvedOptions().timeZone || "UTC";

/** The zone that times are shown in. */
export function zone(): string {
  return document.documentElement.dataset["zone"] || browserZone;
}

const formats = new Map<string, Intl.DateTimeFormat>();

function parts(at: Date): Record<string, string> {
  const name = zone();
  let format = formats.get(name);
  if (!format) {
    try {
      format = formatIn(name);
    } catch {
      format = formatIn("UTC");
    }
    formats.set(name, format);
  }
  return Object.fromEntries(format.formatToParts(at).map((part) => [part.type, part.value]));
}

function formatIn(timeZone: string): Intl.DateTimeFormat {
  return new Intl.DateTimeFormat("en-GB", {
    timeZone, hourCycle: "h23", year: "numeric", month: "2-digit", day: "2-digit",
    hour: "2-digit", minute: "2-digit", second: "2-digit", timeZoneName: "longOffset",
  });
}

/** The offset from UTC at a moment, as `+01:00`. */
export function offset(at: Date): string {
  return offsetIn(parts(at));
}

function offsetIn(p: Record<string, string>): string {
  return (p["timeZoneName"] ?? "").replace("GMT", "") || "+00:00";
}

let fresh = { until: 0, zone: "", year: "", offset: "" };

/** Year and offset of now. A list asks for them hundreds of times in a row; a minute old is new enough. */
function today(): { year: string; offset: string } {
  const now = new Date();
  if (now.valueOf() > fresh.until || fresh.zone !== zone()) {
    fresh = { until: now.valueOf() + 60_000, zone: zone(), year: parts(now)["year"] ?? "", offset: offset(now) };
  }
  return fresh;
}

const MONTHS = ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"];

/** A moment in words. `short` leaves out what the reader knows: the year when it is this one, the offset when it is today's. */
export function moment(at: Date, style: string, seconds: boolean): string {
  const p = parts(at);
  const clock = `${p["hour"]}:${p["minute"]}${seconds ? `:${p["second"]}` : ""}`;
  const its = offsetIn(p);
  if (style === "date") return `${p["year"]}-${p["month"]}-${p["day"]}`;
  if (style === "time") return `${clock} ${its}`;
  if (style === "short") {
    const now = today();
    const year = p["year"] === now.year ? "" : ` ${p["year"]}`;
    const month = MONTHS[Number(p["month"]) - 1] ?? "";
    return `${Number(p["day"])} ${month}${year} ${clock}${its === now.offset ? "" : ` ${its}`}`;
  }
  return `${p["year"]}-${p["month"]}-${p["day"]} ${clock} ${its}`;
}

/** A length on a clock's face: `4:12`, `1:00:07`. */
export function clock(seconds: number): string {
  const all = Math.max(0, Math.floor(seconds));
  const [hours, minutes, rest] = [Math.floor(all / 3600), Math.floor(all / 60) % 60, all % 60];
  const two = (n: number) => String(n).padStart(2, "0");
  return hours ? `${hours}:${two(minutes)}:${two(rest)}` : `${minutes}:${two(rest)}`;
}

/** A place in a recording to the tenth, as forms take it: `1:05.4`. */
export function place(seconds: number): string {
  const tenths = Math.max(0, Math.round(seconds * 10));
  return `${clock(Math.floor(tenths / 10))}.${tenths % 10}`;
}

/** A length as it is said: `2 min 10 s`. */
export function spoken(seconds: number): string {
  const all = Math.max(0, Math.floor(seconds));
  const [hours, minutes, rest] = [Math.floor(all / 3600), Math.floor(all / 60) % 60, all % 60];
  return [hours ? `${hours} h` : "", hours || minutes ? `${minutes} min` : "", `${rest} s`].filter(Boolean).join(" ");
}

/** `<ew-time datetime="RFC 3339" format="full|short|time|date">UTC as fallback</ew-time>` */
class Time extends HTMLElement {
  connectedCallback(): void {
    const at = new Date(this.getAttribute("datetime") ?? "");
    if (Number.isNaN(at.valueOf())) return;
    if (!this.title) this.title = at.toISOString().replace("T", " ").replace(/\.\d+Z$|Z$/, " UTC");
    const seconds = /\d:\d\d:\d\d/.test(this.textContent ?? "");
    this.textContent = moment(at, this.getAttribute("format") ?? "full", seconds);
  }
}

/** `<ew-zone input="zone">`: says which zone is shown; with `input`, a hidden field of that name tells the server. */
class Zone extends HTMLElement {
  connectedCallback(): void {
    const name = this.getAttribute("input");
    this.textContent = `Times are UTC${offset(new Date())} (${zone().replaceAll("_", " ")})`;
    if (name) this.append(h("input", { type: "hidden", name, value: zone() }));
  }
}

/** Two short tones, where the browser lets a page sound. */
function chime(): void {
  const context = new AudioContext();
  for (const [at, hz] of [[0, 660], [0.25, 880]] as const) {
    const [tone, gain] = [context.createOscillator(), context.createGain()];
    tone.frequency.value = hz;
    gain.gain.value = 0.2;
    tone.connect(gain).connect(context.destination);
    tone.start(context.currentTime + at);
    tone.stop(context.currentTime + at + 0.18);
  }
  setTimeout(() => void context.close(), 1500);
}

/** `<ew-countdown until="…">` or `since="…"`; `now`, the server's time when it wrote this, corrects a clock that is wrong here.
    `chime="10"` sounds ten seconds before the end, `reload` loads the page again behind it. */
class Countdown extends HTMLElement {
  #timer: number | undefined;
  #skew = 0;
  /** Whether the chime is still to come: one that begins inside its time is silent. */
  #armed = false;

  connectedCallback(): void {
    const now = Date.parse(this.getAttribute("now") ?? "");
    if (!Number.isNaN(now)) this.#skew = Date.now() - now;
    this.#timer = setInterval(() => this.#show(), 500);
    this.#show();
  }

  disconnectedCallback(): void {
    clearInterval(this.#timer);
  }

  #show(): void {
    const [until, since] = [Date.parse(this.getAttribute("until") ?? ""), Date.parse(this.getAttribute("since") ?? "")];
    const now = Date.now() - this.#skew;
    const left = Number.isNaN(until) ? now - since : until - now;
    if (Number.isNaN(left)) return;
    const text = clock(Number.isNaN(until) ? left / 1000 : Math.ceil(left / 1000));
    if (this.textContent !== text) this.textContent = text;
    const ahead = Number(this.getAttribute("chime")) * 1000;
    if (ahead > 0 && !Number.isNaN(until)) {
      if (left > ahead) this.#armed = true;
      else if (this.#armed) {
        this.#armed = false;
        chime();
      }
    }
    if (!Number.isNaN(until) && left <= 0) {
      clearInterval(this.#timer);
      this.dispatchEvent(new Event("ew-done", { bubbles: true }));
      if (this.hasAttribute("reload")) setTimeout(reload, 1500);
    }
  }
}

/** Loads the page again, unless that would lose what somebody is writing. */
function reload(): void {
  const isWritten = [...document.querySelectorAll("textarea, input")].some((field) => {
    const { value, defaultValue } = field as HTMLInputElement | HTMLTextAreaElement;
    return value !== defaultValue;
  });
  if (!isWritten) location.reload();
}

define("ew-time", Time);
define("ew-zone", Zone);
define("ew-countdown", Countdown);
