//! Times as people read them: `<ew-time>`, `<ew-zone>` and `<ew-countdown>`. The server writes UTC; here it becomes the zone of
//! the user's settings (`data-zone` of `<html>`) or of the browser, with the offset.

import { define, h } from "./dom.js";

/** The zone that times are shown in. */
export function zone(): string {
  return document.documentElement.dataset["zone"] || Intl.DateTimeFormat().resolvedOptions().timeZone || "UTC";
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
  return (parts(at)["timeZoneName"] ?? "").replace("GMT", "") || "+00:00";
}

const MONTHS = ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"];

/** A moment in words. `short` leaves out what the reader knows: the year when it is this one, the offset when it is today's. */
export function moment(at: Date, style: string, seconds: boolean): string {
  const p = parts(at);
  const clock = `${p["hour"]}:${p["minute"]}${seconds ? `:${p["second"]}` : ""}`;
  const its = offset(at);
  if (style === "date") return `${p["year"]}-${p["month"]}-${p["day"]}`;
  if (style === "time") return `${clock} ${its}`;
  if (style === "short") {
    const now = new Date();
    const year = p["year"] === parts(now)["year"] ? "" : ` ${p["year"]}`;
    const month = MONTHS[Number(p["month"]) - 1] ?? "";
    return `${Number(p["day"])} ${month}${year} ${clock}${its === offset(now) ? "" : ` ${its}`}`;
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

/** `<ew-countdown until="…">` or `since="…"`; `now`, the server's time when it wrote this, corrects a clock that is wrong here. */
class Countdown extends HTMLElement {
  #timer: number | undefined;
  #skew = 0;

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
    if (!Number.isNaN(until) && left <= 0) {
      clearInterval(this.#timer);
      this.dispatchEvent(new Event("ew-done", { bubbles: true }));
    }
  }
}

define("ew-time", Time);
define("ew-zone", Zone);
define("ew-countdown", Countdown);
