//! The one thing that plays. It belongs to no element, so that it goes on while pages come and go; players and the dock show it.

/** What is heard of a recording's two parties. */
export type Lane = "both" | "near" | "far";

/** A recording to play. */
export interface Source {
  src: string;
  title: string;
  /** The recording's own page. */
  page: string;
}

export const SPEEDS = [0.5, 0.75, 1, 1.25, 1.5, 2, 2.5, 3] as const;

class Playback extends EventTarget {
  readonly audio = new Audio();
  source: Source | undefined;
  loop: { a?: number; b?: number } = {};
  lane: Lane = "both";
  #context: AudioContext | undefined;
  #gains: GainNode[] = [];

  constructor() {
    super();
    this.audio.preload = "auto";
    this.audio.preservesPitch = true;
    for (const name of ["play", "pause", "timeupdate", "seeking", "seeked", "ended", "error", "ratechange", "loadedmetadata", "waiting", "playing"]) {
      this.audio.addEventListener(name, () => this.#tell());
    }
    this.audio.addEventListener("timeupdate", () => this.#turnBack());
  }

  get playing(): boolean {
    return !this.audio.paused && !this.audio.ended;
  }

  is(src: string): boolean {
    return this.source?.src === src;
  }

  /** Makes `source` what is played, from `at` seconds. */
  load(source: Source, at = 0): void {
    if (this.is(source.src)) return this.seek(at);
    const rate = this.audio.playbackRate;
    // What was chosen for one call would leave a party of the next one unheard.
    if (this.source && this.lane !== "both") this.setLane("both");
    this.source = source;
    this.loop = {};
    this.audio.src = source.src;
    this.audio.defaultPlaybackRate = rate;
    this.audio.playbackRate = rate;
    if (at > 0) this.audio.currentTime = at;
    this.#tell();
  }

  /** Loads the same again, for a call that went on meanwhile. */
  reload(): void {
    const { source, audio } = this;
    if (!source) return;
    const [at, playing] = [audio.currentTime, this.playing];
    audio.src = source.src;
    audio.currentTime = at;
    if (playing) this.play();
  }

  unload(): void {
    this.audio.pause();
    this.audio.removeAttribute("src");
    this.audio.load();
    this.source = undefined;
    this.#tell();
  }

  play(): void {
    void this.#context?.resume();
    // A refusal (no gesture yet) or a failed load shows in the element's state, which everybody reads.
    this.audio.play().catch(() => this.#tell());
  }

  toggle(): void {
    if (this.playing) this.audio.pause();
    else this.play();
  }

  seek(at: number): void {
    const end = Number.isFinite(this.audio.duration) ? this.audio.duration : Infinity;
    this.audio.currentTime = Math.max(0, Math.min(at, end));
    this.#tell();
  }

  setSpeed(speed: number): void {
    this.audio.defaultPlaybackRate = speed;
    this.audio.playbackRate = speed;
  }

  /** One step slower (-1) or faster (1). */
  stepSpeed(by: number): void {
    const here = SPEEDS.findIndex((speed) => speed >= this.audio.playbackRate);
    const next = SPEEDS[Math.max(0, Math.min(SPEEDS.length - 1, here + by))];
    if (next) this.setSpeed(next);
  }

  /** One party alone is heard in both ears; both are heard left and right, as recorded. */
  setLane(lane: Lane): void {
    this.lane = lane;
    if (lane !== "both" || this.#context) this.#route();
    this.#tell();
  }

  #route(): void {
    if (!this.#context) {
      // Only when somebody asks for it: from here on the sound comes out of the context alone.
      const context = new AudioContext();
      const [split, merge] = [context.createChannelSplitter(2), context.createChannelMerger(2)];
      context.createMediaElementSource(this.audio).connect(split);
      // near to left, near to right, far to left, far to right
      this.#gains = [0, 1, 2, 3].map((i) => {
        const gain = context.createGain();
        split.connect(gain, i >> 1);
        gain.connect(merge, 0, i & 1);
        return gain;
      });
      merge.connect(context.destination);
      this.#context = context;
    }
    void this.#context.resume();
    const levels = { both: [1, 0, 0, 1], near: [1, 1, 0, 0], far: [0, 0, 1, 1] }[this.lane];
    this.#gains.forEach((gain, i) => (gain.gain.value = levels[i] ?? 0));
  }

  #turnBack(): void {
    const { a, b } = this.loop;
    if (a !== undefined && b !== undefined && b > a && this.audio.currentTime >= b) this.audio.currentTime = a;
  }

  #tell(): void {
    this.dispatchEvent(new Event("change"));
  }
}

/** Why nothing is heard, shortly and with what to do about it. Firefox gives up on a machine without a sound device. */
export function failure(error: MediaError): { short: string; long: string } {
  if (error.code === MediaError.MEDIA_ERR_DECODE) {
    const short = "The browser cannot play the audio.";
    return { short, long: `${short} Is there a sound device? Saving the recording works without one.` };
  }
  return { short: "The audio cannot be loaded.", long: "The audio cannot be loaded: it was deleted or moved, or you were signed out. Load the page again." };
}

export const playback = new Playback();
