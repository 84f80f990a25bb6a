// The demonstration as a newcomer walks through it, in a real browser: find, play, listen in, pause, take along; and what one may not do.
import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { after, before, test } from "node:test";
import { inflateRawSync } from "node:zlib";
import { ears, launch, until } from "../tests/browser.mjs";
import { binary, freePort, signIn, start } from "./world.mjs";

const skip = !binary ? "the recorder is not built: cargo build" : false;
let demo, browser;

before(async () => {
  if (skip) return;
  browser = await launch();
  if (browser) demo = await start(["demo", "--listen", `127.0.0.1:${await freePort()}`]);
});

after(async () => {
  await browser?.close();
  await demo?.stop();
});

function password(name) {
  const line = demo.lines.find((line) => line.trim().startsWith(name));
  return line.trim().split(/\s+/)[1];
}

/** A page of somebody's own; it fails on whatever the browser complains of. */
function journey(name, who, body, { width = 1280, colorScheme = "light", expected = [] } = {}) {
  test(name, { skip, timeout: 180_000 }, async (t) => {
    if (!browser) return t.skip("Chromium is not here");
    const context = await browser.newContext({ timezoneId: "Europe/Berlin", viewport: { width, height: 844 }, colorScheme });
    await context.addInitScript(ears);
    const page = await context.newPage();
    page.setDefaultTimeout(30_000);
    const problems = [];
    const note = (text) => expected.some((pattern) => pattern.test(text)) || problems.push(`${page.url()}: ${text}`);
    page.on("console", (message) => message.type() === "error" && note(message.text()));
    page.on("pageerror", (error) => note(String(error)));
    try {
      if (who) await signIn(page, demo.origin, who, password(who));
      await body(page, context);
      assert.deepEqual(problems, []);
    } finally {
      await context.close();
    }
  });
}

const clock = (page) => page.evaluate(() => audio()?.currentTime ?? 0);

journey("a supervisor signs in, finds, plays and seeks", "supervisor", async (page) => {
  assert.match(page.url(), /\/recordings/);
  const all = await page.locator("tr:has(input.pick[name=id])").count();
  assert.ok(all > 0, "the last fifteen minutes have recordings");
  await page.goto(`${demo.origin}/recordings?range=all`);
  await page.getByLabel("Extension", { exact: true }).first().fill("2041");
  await page.keyboard.press("Enter");
  await page.waitForURL(/extension=2041/);
  assert.match(page.url(), /range=all/, "the whole search stands in the address");
  const cells = await page.locator("td[data-label=Extension] > bdi").allInnerTexts();
  assert.ok(cells.length > 0 && cells.every((text) => text === "2041"), cells.join());
  await page.locator("td.lead a").first().click();
  await page.locator("ew-player[ready]").waitFor();
  await page.getByRole("button", { name: "Play", exact: true }).click();
  await until("the audio clock to move", async () => (await clock(page)) > 1);
  await page.getByRole("slider", { name: "Position" }).fill("8");
  await until("the clock at the place", async () => (await clock(page)) >= 8);
  // It goes on while one looks for the next one, and on the way back.
  await page.getByRole("link", { name: "Recordings" }).first().click();
  await page.waitForURL(/\/recordings(\?|$)/);
  const before = await clock(page);
  await until("it to go on", async () => (await clock(page)) > before + 0.5);
  await page.goBack();
  const again = await clock(page);
  await until("it to go on after Back", async () => (await clock(page)) > again + 0.3 || again > 14);
});

journey("a recording is given to another user, and back, without leaving its page", "supervisor", async (page) => {
  await page.goto(`${demo.origin}/recordings?range=all&extension=3052`);
  await page.locator("td.lead a").first().click();
  await page.locator("ew-player[ready]").waitFor();
  await page.getByLabel("User that it counts for").fill("callum");
  await page.getByRole("button", { name: "Give to this user" }).click();
  const hint = (hasText) => page.locator("#user-hint", { hasText }).waitFor();
  await hint(/set by supervisor .*; by the telephone system: owen/);
  await page.locator("ew-player[ready]").waitFor();
  await page.getByRole("button", { name: "As the telephone system says" }).click();
  await hint("As the telephone system says.");
  await page.locator("ew-player[ready]").waitFor();
});

journey("a supervisor listens in, pauses a running call, and hears silence", "supervisor", async (page) => {
  await page.goto(`${demo.origin}/live`);
  const row = page.locator("tr.live-row").first();
  await row.waitFor({ timeout: 60_000 });
  // One that has just begun lasts long enough.
  await until("a call that has just begun", async () => {
    const started = await page.locator("tr.live-row ew-countdown").evaluateAll((all) => all.map((one) => Date.now() - Date.parse(one.getAttribute("since"))));
    return started.some((ms) => ms < 3_000);
  }, 90_000);
  const id = await page.locator("tr.live-row").evaluateAll((all) => {
    const young = all.find((row) => Date.now() - Date.parse(row.querySelector("ew-countdown").getAttribute("since")) < 4_000);
    return young?.id;
  });
  const call = page.locator(`#${id}`);
  await call.getByText("Listen").click();
  await page.getByText("Live", { exact: true }).last().waitFor();
  await until("sound", async () => {
    const bars = await page.locator("ew-listen .level i").evaluateAll((all) => all.map((bar) => Number(/scaleX\(([\d.]+)/.exec(bar.style.transform)?.[1] ?? 0)));
    return bars.some((level) => level > 0.05);
  });
  const ms = await page.evaluate(() => Number(document.querySelector("ew-listen").dataset.latency));
  console.log(`# listening in: ${ms} ms between the browser's receipt and sound`);
  await call.getByRole("button", { name: "Pause" }).click();
  await page.locator(`#${id}`).getByText("PAUSED").waitFor();
  await page.waitForTimeout(1_500);
  await page.locator(`#${id}`).getByRole("button", { name: "Resume" }).click();
  await page.locator(`#${id}`).getByText("REC").waitFor();
  const recording = id.replace("live-", "");
  await until("its end", async () => (await page.locator(`#${id}`).count()) === 0, 60_000);
  await page.goto(`${demo.origin}/recordings/${recording}`);
  await page.locator("ew-player[ready]").waitFor();
  const timeline = await page.evaluate(async (path) => (await fetch(path)).json(), `/recordings/${recording}/timeline.json`);
  const [pause] = timeline.pauses;
  assert.ok(pause, JSON.stringify(timeline));
  const wav = await page.evaluate(async (path) => {
    const bytes = new Uint8Array(await (await fetch(path)).arrayBuffer());
    return Array.from(bytes);
  }, `/recordings/${recording}/audio.wav`);
  const samples = new Int16Array(Uint8Array.from(wav.slice(44)).buffer);
  const at = (ms) => Math.floor(ms * 8) * 2;
  const end = pause.end_ms ?? timeline.duration_ms;
  assert.ok(end - pause.start_ms > 1_000, JSON.stringify(pause));
  assert.ok(samples.slice(at(pause.start_ms + 40), at(end - 20)).every((sample) => sample === 0), "nothing of the paused part is kept");
  assert.ok(samples.some((sample) => Math.abs(sample) > 1_000), "around it, speech");
});

journey("a supervisor takes two recordings along as a ZIP whose index page opens", "supervisor", async (page) => {
  await page.goto(`${demo.origin}/recordings?range=all`);
  for (const i of [0, 1]) await page.locator("input.pick[name=id]").nth(i).check();
  const [download] = await Promise.all([page.waitForEvent("download"), page.locator(".selection button[value=zip]").click()]);
  const files = unzip(readFileSync(await download.path()));
  const names = Object.keys(files);
  assert.ok(names.filter((name) => /\.(wav|flac)$/.test(name)).length >= 2, names.join());
  const index = names.find((name) => name.endsWith("index.html"));
  await page.setContent(files[index].toString("utf8"));
  assert.ok((await page.locator("table tr").count()) >= 2);
}, { expected: [/Content Security Policy|ERR_|Refused|Failed to load/] });

journey("the desk sees its own calls and one big button, and nothing of others", "tess", async (page) => {
  await page.goto(`${demo.origin}/mine`);
  await until("a call of one's own", async () => {
    await page.reload();
    return (await page.getByRole("button", { name: /Pause the recording/ }).count()) > 0;
  }, 90_000);
  await page.getByRole("button", { name: /Pause the recording/ }).first().click();
  await page.getByRole("button", { name: "Go on recording" }).first().click();
  await page.getByRole("button", { name: /Pause the recording/ }).first().waitFor();
  for (const path of ["/users", "/roles", "/audit", "/dashboard", "/calls", "/set-up", "/nothing"]) {
    const reply = await page.goto(demo.origin + path);
    assert.equal(reply.status(), 404, path);
  }
}, { width: 390, colorScheme: "dark", expected: [/404/] });

journey("an administrator sees who did what, and hears nothing", "admin", async (page) => {
  await page.goto(`${demo.origin}/audit`);
  await page.getByText("supervisor").first().waitFor();
  await page.goto(`${demo.origin}/recordings?range=all`);
  const href = await page.locator("td.lead a").first().getAttribute("href");
  assert.equal(await page.locator("[data-play]").count(), 0);
  await page.goto(demo.origin + href);
  assert.equal(await page.locator("ew-player").count(), 0);
  for (const path of ["/audio.wav", "/peaks", "/save?as=wav"]) {
    const reply = await page.request.get(demo.origin + href + path);
    assert.equal(reply.status(), 404, path);
  }
});

journey("who is not signed in gets nothing but the sign-in", undefined, async (page) => {
  for (const path of ["/", "/recordings", "/live", "/audit.csv", "/recordings/01KJPWD9JW8MNN8T7N30ADNE0M/audio.wav"]) {
    await page.goto(demo.origin + path);
    assert.match(page.url(), /\/sign-in/, path);
  }
  await page.getByLabel("User name").fill("supervisor");
  await page.getByLabel("Password").fill("password");
  await page.getByRole("button", { name: "Sign in" }).click();
  await page.getByRole("alert").waitFor();
}, { expected: [/40[13]/] });

/** The files of a ZIP, by its central directory (APPNOTE 4.3.12). */
function unzip(bytes) {
  const files = {};
  let at = bytes.lastIndexOf("PK\u0005\u0006", bytes.length, "latin1");
  const count = bytes.readUInt16LE(at + 10);
  at = bytes.readUInt32LE(at + 16);
  for (let i = 0; i < count; i++) {
    const [method, packed, length] = [bytes.readUInt16LE(at + 10), bytes.readUInt32LE(at + 20), bytes.readUInt16LE(at + 28)];
    const [extra, comment, local] = [bytes.readUInt16LE(at + 30), bytes.readUInt16LE(at + 32), bytes.readUInt32LE(at + 42)];
    const name = bytes.toString("utf8", at + 46, at + 46 + length);
    const from = local + 30 + bytes.readUInt16LE(local + 26) + bytes.readUInt16LE(local + 28);
    const data = bytes.subarray(from, from + packed);
    files[name] = method === 8 ? inflateRawSync(data) : data;
    at += 46 + length + extra + comment;
  }
  return files;
}
