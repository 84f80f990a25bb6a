// Debian's Chromium, as a test needs it: no sandbox (tests run as root in containers), nothing that calls home, sound that
// plays without a click and without a sound card.
import { existsSync } from "node:fs";
import { chromium } from "playwright-core";

const PATHS = [process.env.CHROMIUM, "/usr/bin/chromium", "/usr/bin/chromium-browser", "/usr/bin/google-chrome"];

/** The browser, or undefined when none is installed: the caller says so and skips. */
export async function launch() {
  const executablePath = PATHS.find((path) => path && existsSync(path));
  if (!executablePath) return undefined;
  return chromium.launch({
    executablePath,
    args: [
      "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking",
      "--disable-component-update", "--disable-sync", "--autoplay-policy=no-user-gesture-required",
    ],
  });
}
