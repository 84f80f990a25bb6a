//! Plays what comes from the listening socket: waits for 100 ms (more, to 300, on a line that stalls again and again), plays, and
//! never lets a stall leave latency behind. It runs at
//! the stream's own rate; small excess is played off 3 % faster, which nobody hears, large excess is skipped.

interface ProcessorPort { postMessage(message: unknown): void; onmessage: ((event: { data: unknown }) => void) | null }
declare const sampleRate: number;
declare const currentTime: number;
declare class AudioWorkletProcessor { readonly port: ProcessorPort }
declare function registerProcessor(name: string, processor: new () => AudioWorkletProcessor): void;

/** What is waited for before the first sound and after running dry. */
const PRIME_S = 0.1;
/** A line that runs dry again within AGAIN_S gets STEP_S more, to PRIME_MAX_S; what it got goes again as slowly as EASE_S a second. */
const PRIME_MAX_S = 0.3;
const STEP_S = 0.05;
const AGAIN_S = 10;
const EASE_S = 0.005;
/** More than this over the aim is skipped at once. */
const SKIP_S = 0.2;
/** More than this over the aim is played off faster. */
const TRIM_S = 0.03;
const FASTER = 1.03;
/** Room for 4 s; more is never waiting, since it would be skipped. */
const ROOM_S = 4;
const REPORT_S = 0.1;

/** A frame as it comes: interleaved PCM16 and where in the recording it lies. */
interface Frame { pcm: ArrayBuffer; position: number }

class Listen extends AudioWorkletProcessor {
  readonly #room = Math.ceil(ROOM_S * sampleRate);
  readonly #ring = [new Float32Array(this.#room), new Float32Array(this.#room)] as const;
  #written = 0;
  #read = 0;
  #primed = false;
  #aim = PRIME_S;
  #dryAt = -Infinity;
  /** Position in the recording of the sample last written, ms. */
  #position = 0;
  /** The least that waited in this window: what is there even at the worst moment is excess. */
  #least = Infinity;
  #rate = 1;
  #until = 0;
  #peaks = [0, 0];
  #dry = 0;
  #skipped = 0;

  constructor() {
    super();
    this.port.onmessage = ({ data }) => this.#take(data as Frame);
  }

  get #waiting(): number {
    return this.#written - this.#read;
  }

  #take(frame: Frame): void {
    const pcm = new Int16Array(frame.pcm);
    const samples = pcm.length >> 1;
    for (let i = 0; i < samples; i++) {
      const at = (this.#written + i) % this.#room;
      this.#ring[0][at] = (pcm[2 * i] ?? 0) / 32768;
      this.#ring[1][at] = (pcm[2 * i + 1] ?? 0) / 32768;
    }
    this.#written += samples;
    this.#position = frame.position + (samples * 1000) / sampleRate;
    if (this.#waiting > (this.#aim + SKIP_S) * sampleRate) {
      const to = this.#written - Math.round(this.#aim * sampleRate);
      this.#skipped += to - this.#read;
      this.#read = to;
    }
  }

  process(_inputs: unknown, outputs: Float32Array[][]): boolean {
    const out = outputs[0] ?? [];
    const length = out[0]?.length ?? 0;
    if (!this.#primed && this.#waiting >= this.#aim * sampleRate) this.#primed = true;
    if (this.#primed) {
      if (this.#waiting < length * this.#rate + 1) {
        this.#primed = false;
        this.#dry += 1;
        if (currentTime - this.#dryAt < AGAIN_S) this.#aim = Math.min(PRIME_MAX_S, this.#aim + STEP_S);
        this.#dryAt = currentTime;
      } else {
        this.#play(out, length);
      }
    }
    this.#least = Math.min(this.#least, this.#waiting);
    this.#until -= length;
    if (this.#until <= 0) this.#report();
    return true;
  }

  #play(out: Float32Array[], length: number): void {
    for (let i = 0; i < length; i++) {
      const whole = Math.floor(this.#read);
      const part = this.#read - whole;
      for (let side = 0; side < 2; side++) {
        const ring = this.#ring[side as 0 | 1];
        const here = ring[whole % this.#room] ?? 0;
        const value = part ? here + ((ring[(whole + 1) % this.#room] ?? 0) - here) * part : here;
        const channel = out[side];
        if (channel) channel[i] = value;
        this.#peaks[side] = Math.max(this.#peaks[side] ?? 0, Math.abs(value));
      }
      this.#read += this.#rate;
    }
    // Whole samples again once the excess is gone, so that nothing is interpolated without need.
    if (this.#rate === 1) this.#read = Math.round(this.#read);
  }

  #report(): void {
    this.#until = REPORT_S * sampleRate;
    const least = this.#least / sampleRate;
    if (currentTime - this.#dryAt > AGAIN_S) this.#aim = Math.max(PRIME_S, this.#aim - EASE_S * REPORT_S);
    if (least > this.#aim + TRIM_S) this.#rate = FASTER;
    else if (least <= this.#aim) this.#rate = 1;
    const waiting = this.#waiting / sampleRate;
    this.port.postMessage({
      buffered_ms: Math.round(waiting * 1000),
      position_ms: Math.max(0, Math.round(this.#position - waiting * 1000)),
      near: this.#peaks[0],
      far: this.#peaks[1],
      dry: this.#dry,
      skipped_ms: Math.round((this.#skipped / sampleRate) * 1000),
    });
    this.#peaks = [0, 0];
    this.#least = Infinity;
  }
}

registerProcessor("ew-listen", Listen);
