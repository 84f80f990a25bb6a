// Debian's Chromium, as a test needs it: no sandbox (tests run as root in containers), nothing that calls home, sound that
// plays without a click and without a sound card.
import { existsSync } from "node:fs";
import { after, before, test } from "node:test";
import { chromium } from "playwright-core";
import { start } from "./server.mjs";

const PATHS = [process.env.CHROMIUM, "/usr/bin/chromium", "/usr/bin/chromium-browser", "/usr/bin/google-chrome"];
const executablePath = PATHS.find((path) => path && existsSync(path));
const skip = executablePath ? false : "Chromium is not here: apt-get install chromium, or name it in CHROMIUM";

/** Starts the browser; undefined when there is none. */
export async function launch() {
  if (!executablePath) return undefined;
  return chromium.launch({
    executablePath,
    args: [
      "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking",
      "--disable-component-update", "--disable-sync", "--autoplay-policy=no-user-gesture-required",
    ],
  });
}

/** One server and one browser for a file of tests. `it(name, path, body, options)` opens a page of its own, and fails on any
    violation of the content security policy, script error or failed load that the page did not expect. */
export function suite(hooks = {}) {
  const shared = {};
  before(async () => {
    if (skip) return;
    shared.server = await start(0, hooks);
    shared.browser = await launch();
  });
  after(async () => {
    await shared.browser?.close();
    shared.server?.stop();
  });
  const it = (name, path, body, { context: options = {}, expected = [], init } = {}) =>
    test(name, { skip, timeout: 120_000 }, async () => {
      const context = await shared.browser.newContext({ timezoneId: "Europe/Berlin", locale: "en-GB", viewport: { width: 1280, height: 800 }, ...options });
      const page = await context.newPage();
      page.setDefaultTimeout(20_000);
      const problems = [];
      const note = (text) => expected.some((pattern) => pattern.test(text)) || problems.push(text);
      page.on("console", (message) => message.type() === "error" && note(message.text()));
      page.on("pageerror", (error) => note(String(error)));
      if (init) await context.addInitScript(init);
      try {
        await page.goto(shared.server.origin + path);
        await body(page, shared.server);
        if (problems.length) throw new Error(`the page complained:\n${problems.join("\n")}`);
      } finally {
        await context.close();
      }
    });
  return { it, shared };
}

/** Waits until `probe` gives something true, and gives it; says `what` did not come otherwise. */
export async function until(what, probe, ms = 15_000) {
  const end = Date.now() + ms;
  for (;;) {
    const got = await probe();
    if (got) return got;
    if (Date.now() > end) throw new Error(`${what} did not come within ${ms} ms`);
    await new Promise((resolve) => setTimeout(resolve, 30));
  }
}

/** For `init`: hears what every audio context plays. `window.heard(hz, channel)` is the level of a tone in dB. */
export function ears() {
  const connect = AudioNode.prototype.connect;
  let analysers;
  AudioNode.prototype.connect = function (to, ...rest) {
    if (to instanceof AudioDestinationNode && !analysers?.own.has(this)) {
      const split = new ChannelSplitterNode(this.context, { numberOfOutputs: 2 });
      const each = [0, 1].map((i) => {
        const analyser = new AnalyserNode(this.context, { fftSize: 8192, smoothingTimeConstant: 0 });
        connect.call(split, analyser, i);
        return analyser;
      });
      analysers = { each, own: new Set([split, ...each]) };
      connect.call(this, split);
    }
    return connect.call(this, to, ...rest);
  };
  window.heard = (hz, channel) => {
    const analyser = analysers?.each[channel];
    if (!analyser) return -Infinity;
    const bins = new Float32Array(analyser.frequencyBinCount);
    analyser.getFloatFrequencyData(bins);
    const bin = Math.round((hz * analyser.fftSize) / analyser.context.sampleRate);
    return Math.max(...bins.slice(bin - 2, bin + 3));
  };
  // The page's own audio elements are in no document.
  const all = [];
  window.Audio = class extends Audio {
    constructor(...rest) {
      super(...rest);
      all.push(this);
    }
  };
  window.audio = () => all[0];
}
