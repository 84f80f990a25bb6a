//! What the recorder tells of a recording beside its sound: peaks and timeline, as read from the wire.

import { clock } from "./time.js";

interface Span { start_ms: number; end_ms: number }

export interface Timeline {
  id: string;
  started: string;
  duration_ms: number;
  running: boolean;
  lanes: { party: string; label: string; codec: string }[];
  pauses: (Span & { by: string[] })[];
  holds: Span[];
  gaps: (Span & { lane: number; kind: string })[];
  dtmf: { at_ms: number; lane: number; digit: string | null }[];
  notes: { at_ms: number; text: string; who: string }[];
  loss: { lane: number; second: number; expected: number; received: number }[];
}

/** Loudness per lane: pairs of smallest and largest value, -128 to 127. */
export interface Peaks {
  perSecond: number;
  points: number;
  lanes: Int8Array[];
}

/** One thing that happened, for the list of events. */
export interface Happening {
  at: number;
  kind: "pause" | "hold" | "gap" | "key" | "note";
  what: string;
  more: string;
}

/** Events in the list; a damaged recording may have very many. */
const EVENTS_MAX = 500;

const list = <T>(value: unknown): T[] => (Array.isArray(value) ? (value as T[]) : []);

/** Fetches the timeline. What is missing in the answer is empty here. */
export async function fetchTimeline(url: string, signal: AbortSignal): Promise<Timeline> {
  const response = await fetch(url, { signal, credentials: "same-origin" });
  if (!response.ok) throw new Error(`the recorder answered ${response.status}`);
  const raw = (await response.json()) as Partial<Timeline>;
  return {
    id: String(raw.id ?? ""),
    started: String(raw.started ?? ""),
    duration_ms: Number(raw.duration_ms) || 0,
    running: raw.running === true,
    lanes: list(raw.lanes),
    pauses: list(raw.pauses),
    holds: list(raw.holds),
    gaps: list(raw.gaps),
    dtmf: list(raw.dtmf),
    notes: list(raw.notes),
    loss: list(raw.loss),
  };
}

/** Fetches peaks: "EWPK", version 1, lanes, points per second, points; then per lane pairs of i8. */
export async function fetchPeaks(url: string, signal: AbortSignal): Promise<Peaks> {
  const response = await fetch(url, { signal, credentials: "same-origin" });
  if (!response.ok) throw new Error(`the recorder answered ${response.status}`);
  return parsePeaks(await response.arrayBuffer());
}

export function parsePeaks(bytes: ArrayBuffer): Peaks {
  const view = new DataView(bytes);
  if (bytes.byteLength < 12 || view.getUint32(0) !== 0x4557504b || view.getUint8(4) !== 1) throw new Error("these are no peaks of version 1");
  const [lanes, perSecond, points] = [view.getUint8(5), view.getUint16(6, true), view.getUint32(8, true)];
  if (!lanes || !perSecond || bytes.byteLength < 12 + lanes * points * 2) throw new Error("the peaks are cut short");
  return { perSecond, points, lanes: Array.from({ length: lanes }, (_, i) => new Int8Array(bytes, 12 + i * points * 2, points * 2)) };
}

/** What the moment is, for those who do not see the waveform: "not recorded", "on hold", or nothing. */
export function stateAt(timeline: Timeline | undefined, seconds: number): string {
  if (!timeline) return "";
  const ms = seconds * 1000;
  const within = (span: Span) => ms >= span.start_ms && ms < span.end_ms;
  if (timeline.pauses.some(within)) return "not recorded";
  if (timeline.holds.some(within)) return "on hold";
  const second = Math.floor(seconds);
  if (timeline.gaps.some(within) || timeline.loss.some((l) => l.second === second && l.received * 10 < l.expected * 9)) return "packets lost";
  return "";
}

/** All events in order, and how many are left out. */
export function happenings(timeline: Timeline): { events: Happening[]; left: number } {
  const who = (lane: number) => timeline.lanes[lane]?.label ?? "";
  const long = (span: Span) => clock((span.end_ms - span.start_ms) / 1000);
  const all: Happening[] = [
    ...timeline.pauses.map((p) => ({ at: p.start_ms / 1000, kind: "pause" as const, what: `Not recorded for ${long(p)}`, more: p.by.length ? `paused by ${p.by.join(", ")}` : "" })),
    ...timeline.holds.map((s) => ({ at: s.start_ms / 1000, kind: "hold" as const, what: `On hold for ${long(s)}`, more: "" })),
    ...timeline.gaps.map((g) => ({ at: g.start_ms / 1000, kind: "gap" as const, what: `${Math.round(g.end_ms - g.start_ms)} ms missing`, more: `${who(g.lane)}${g.kind ? `, ${g.kind}` : ""}` })),
    ...timeline.loss.map((l) => ({ at: l.second, kind: "gap" as const, what: `${l.expected - l.received} of ${l.expected} packets lost`, more: who(l.lane) })),
    ...timeline.dtmf.map((d) => ({ at: d.at_ms / 1000, kind: "key" as const, what: d.digit === null ? "Key, not kept" : `Key ${d.digit}`, more: who(d.lane) })),
    ...timeline.notes.map((n) => ({ at: n.at_ms / 1000, kind: "note" as const, what: n.text, more: n.who })),
  ];
  all.sort((x, y) => x.at - y.at);
  return { events: all.slice(0, EVENTS_MAX), left: Math.max(0, all.length - EVENTS_MAX) };
}
