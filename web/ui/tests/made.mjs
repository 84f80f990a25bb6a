// A made-up call: 4 min 12 s, 8 kHz stereo. Left: a 440 Hz tone in bursts of speech's length. Right: 700 Hz in others.
const RATE = 8000;
const SECONDS = 252;
const PAUSE = [171, 190];
const HOLD = [95, 132];
export const LEFT_HZ = 440;
export const RIGHT_HZ = 700;

/** Loudness of a lane at a second, 0 to 1: bursts with a soft edge, silence in pauses and holds. */
function loudness(lane, t) {
  if ((t >= PAUSE[0] && t < PAUSE[1]) || (t >= HOLD[0] && t < HOLD[1])) return 0;
  const turn = Math.sin(t * 0.61 + Math.sin(t * 0.17) * 2) * (lane === 0 ? 1 : -1);
  const syllable = 0.55 + 0.45 * Math.sin(t * 9.7 + lane) * Math.sin(t * 3.1);
  return Math.max(0.012, Math.min(1, turn * 1.6)) * syllable;
}

function once(make) {
  let made;
  return () => (made ??= make());
}

/** The recording as WAV, PCM16. */
export const wav = once(() => {
  const frames = RATE * SECONDS;
  const bytes = Buffer.alloc(44 + frames * 4);
  bytes.write("RIFF", 0);
  bytes.writeUInt32LE(36 + frames * 4, 4);
  bytes.write("WAVEfmt ", 8);
  bytes.writeUInt32LE(16, 16);
  bytes.writeUInt16LE(1, 20);
  bytes.writeUInt16LE(2, 22);
  bytes.writeUInt32LE(RATE, 24);
  bytes.writeUInt32LE(RATE * 4, 28);
  bytes.writeUInt16LE(4, 32);
  bytes.writeUInt16LE(16, 34);
  bytes.write("data", 36);
  bytes.writeUInt32LE(frames * 4, 40);
  for (let i = 0; i < frames; i++) {
    const t = i / RATE;
    bytes.writeInt16LE(Math.round(9000 * loudness(0, t) * Math.sin(2 * Math.PI * LEFT_HZ * t)), 44 + i * 4);
    bytes.writeInt16LE(Math.round(9000 * loudness(1, t) * Math.sin(2 * Math.PI * RIGHT_HZ * t)), 46 + i * 4);
  }
  return bytes;
});

/** Its peaks, in the format that the recorder serves. */
export const peaks = once(() => {
  const points = SECONDS * 50;
  const bytes = Buffer.alloc(12 + points * 4);
  bytes.write("EWPK", 0);
  bytes[4] = 1;
  bytes[5] = 2;
  bytes.writeUInt16LE(50, 6);
  bytes.writeUInt32LE(points, 8);
  for (let lane = 0; lane < 2; lane++) {
    for (let i = 0; i < points; i++) {
      const high = Math.round(100 * loudness(lane, i / 50) * (0.7 + 0.3 * Math.sin(i * 12.9898)));
      bytes.writeInt8(-high, 12 + (lane * points + i) * 2);
      bytes.writeInt8(high, 13 + (lane * points + i) * 2);
    }
  }
  return bytes;
});

/** Its timeline. */
export const timeline = () => ({
  id: "7f31",
  started: "2026-11-30T09:12:41Z",
  duration_ms: SECONDS * 1000,
  running: false,
  lanes: [
    { party: "near", label: "2001 Anna Berg", codec: "PCMA" },
    { party: "far", label: "020 7946 0123", codec: "PCMA" },
  ],
  pauses: [{ start_ms: PAUSE[0] * 1000, end_ms: PAUSE[1] * 1000, by: ["dtmf"] }],
  holds: [{ start_ms: HOLD[0] * 1000, end_ms: HOLD[1] * 1000 }],
  gaps: [{ lane: 1, start_ms: 210000, end_ms: 210260, kind: "network" }],
  dtmf: [
    { at_ms: 12400, lane: 1, digit: "2" },
    { at_ms: 170200, lane: 0, digit: null },
  ],
  notes: [
    { at_ms: 43200, text: "Asks for a call back before noon, promised by Anna.", who: "m.okafor" },
    { at_ms: 171000, text: "Card details: the recording was paused as it should be.", who: "r.adler" },
  ],
  loss: [
    { lane: 1, second: 210, expected: 50, received: 37 },
    { lane: 1, second: 214, expected: 50, received: 49 },
  ],
});

/** One frame of 20 ms as the listening socket sends it. */
export function liveFrame(sequence, rate = RATE) {
  const samples = rate / 50;
  const bytes = Buffer.alloc(8 + samples * 4);
  bytes.writeUInt32LE(sequence, 0);
  bytes.writeUInt32LE(sequence * 20, 4);
  for (let i = 0; i < samples; i++) {
    const t = (sequence * samples + i) / rate;
    bytes.writeInt16LE(Math.round(8000 * Math.sin(2 * Math.PI * LEFT_HZ * t)), 8 + i * 4);
    bytes.writeInt16LE(Math.round(4000 * Math.sin(2 * Math.PI * RIGHT_HZ * t)), 10 + i * 4);
  }
  return bytes;
}

/** A call that goes on: frames at their time, caught up when this process was late. */
export function speak(socket) {
  socket.text({ type: "start", rate: RATE, channels: 2, started: "2026-11-30T09:41:02Z", position_ms: 0 });
  const begun = performance.now();
  let sent = 0;
  const timer = setInterval(() => {
    if (!socket.open) return clearInterval(timer);
    while (sent * 20 < performance.now() - begun) socket.binary(liveFrame(sent++));
    return undefined;
  }, 10);
}
