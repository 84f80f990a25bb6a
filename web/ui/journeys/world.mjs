// What journeys walk through: the recorder itself, built from this tree, with an archive of its own.
import { spawn, spawnSync } from "node:child_process";
import { existsSync, mkdtempSync, rmSync } from "node:fs";
import { createServer } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { createInterface } from "node:readline";
import { fileURLToPath } from "node:url";

const root = fileURLToPath(new URL("../../../", import.meta.url));
const target = process.env.CARGO_TARGET_DIR ?? join(root, "target");
const BINARIES = [process.env.EARWITNESS, join(target, "debug/earwitness"), join(target, "release/earwitness")];
export const binary = BINARIES.find((path) => path && existsSync(path));

const env = { ...process.env, TZ: "UTC", NO_COLOR: "1" };
delete env.EARWITNESS_ARCHIVE;

/** A port that is free at this moment. */
export async function freePort() {
  const server = createServer();
  await new Promise((resolve) => server.listen(0, "127.0.0.1", resolve));
  const { port } = server.address();
  await new Promise((resolve) => server.close(resolve));
  return port;
}

/** Runs a command to its end; gives its output, and throws when it fails. */
export function run(words, { input, log = "warn" } = {}) {
  const done = spawnSync(binary, words, { env: { ...env, EARWITNESS_LOG: log }, input, encoding: "utf8", maxBuffer: 1 << 28 });
  if (done.status !== 0) throw new Error(`earwitness ${words.join(" ")}: ${done.status}\n${done.stderr}`);
  return { out: done.stdout, err: done.stderr };
}

/** Starts one that runs until `stop`, and waits for the link that it prints; `lines` are those before. */
export async function start(words) {
  const child = spawn(binary, words, { env, stdio: ["ignore", "pipe", "pipe"] });
  let err = "";
  child.stderr.on("data", (data) => (err += data));
  const ended = new Promise((resolve) => child.on("exit", resolve));
  const lines = [];
  for await (const line of createInterface({ input: child.stdout })) {
    lines.push(line);
    if (line.includes("/enter/")) break;
  }
  const link = lines.at(-1) ?? "";
  if (!link.includes("/enter/")) throw new Error(`earwitness ${words.join(" ")} gave no link:\n${err}`);
  const stop = async () => {
    child.kill("SIGINT");
    await ended;
  };
  return { lines, link, origin: new URL(link).origin, stop };
}

/** A folder that is gone when the process ends. */
export function folder() {
  const path = mkdtempSync(join(tmpdir(), "earwitness-journeys-"));
  process.on("exit", () => rmSync(path, { recursive: true, force: true }));
  return path;
}

/** Signs in; ends on the page that comes first. */
export async function signIn(page, origin, name, password) {
  await page.goto(`${origin}/sign-in`);
  await page.getByLabel("User name").fill(name);
  await page.getByLabel("Password").fill(password);
  await page.getByRole("button", { name: "Sign in" }).click();
  await page.waitForURL((url) => !url.pathname.startsWith("/sign-in"));
}
