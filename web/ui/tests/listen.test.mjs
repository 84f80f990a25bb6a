// Listening in, and lists that keep themselves fresh.
import assert from "node:assert/strict";
import { ears, suite, until } from "./browser.mjs";
import { LEFT_HZ, liveFrame, speak } from "./made.mjs";

const hooks = {};
const { it } = suite(hooks);
const options = { init: ears, expected: [/WebSocket connection/] };
const PAGE = "/live/8a01";
const latency = (page) => page.evaluate(() => Number(document.querySelector("ew-listen").dataset.latency ?? -1));
const listen = async (page) => {
  await page.getByRole("button", { name: "Listen", exact: true }).click();
  await page.getByText("Live", { exact: true }).last().waitFor();
  await until("a first report", async () => (await latency(page)) > 0);
};

const within = (ms, low, high) => (ms > low && ms < high ? ms : 0);

/** Frames at their time times `pace`; holds them back while `gate.shut`, and then sends them all at once. */
function paced(gate, pace = 1) {
  return (socket) => {
    gate.socket = socket;
    socket.text({ type: "start", rate: 8000, channels: 2, started: "2026-11-30T09:41:02Z", position_ms: 0 });
    const begun = performance.now();
    let sent = 0;
    const timer = setInterval(() => {
      if (!socket.open) return clearInterval(timer);
      while (!gate.shut && sent * 20 < (performance.now() - begun) * pace) socket.binary(liveFrame(sent++));
      return undefined;
    }, 10);
  };
}

it("a call is heard within a quarter of a second, with levels and words", PAGE, async (page) => {
  hooks.listen = speak;
  await listen(page);
  await until("the tone", async () => (await page.evaluate((hz) => heard(hz, 0), LEFT_HZ)) > -60);
  await page.waitForTimeout(1000);
  const ms = await until("a latency under 400 ms", async () => within(await latency(page), 20, 400));
  console.log(`# ${ms} ms between arrival and sound`);
  await until("the level", async () => /scaleX\(0\.[1-9]/.test(await page.locator(".level.near i").getAttribute("style")));
  await page.getByRole("button", { name: "Stop listening" }).click();
  await page.getByText("Not listening").waitFor();
}, options);

it("a stall leaves no latency behind", PAGE, async (page) => {
  const gate = { shut: false };
  hooks.listen = paced(gate);
  await listen(page);
  await page.waitForTimeout(800);
  for (const stall of [300, 1200]) {
    gate.shut = true;
    await page.waitForTimeout(stall);
    gate.shut = false;
    await page.waitForTimeout(2500);
    const ms = await until(`a latency under 400 ms after a stall of ${stall} ms`, async () => within(await latency(page), 20, 400));
    console.log(`# ${ms} ms, 2.5 s after a stall of ${stall} ms`);
    await until("the tone again", async () => (await page.evaluate((hz) => heard(hz, 0), LEFT_HZ)) > -60);
  }
}, options);

it("a sender whose clock runs 2 % fast does not run away", PAGE, async (page) => {
  hooks.listen = paced({}, 1.02);
  await listen(page);
  await page.waitForTimeout(15_000);
  const ms = await until("a latency under 350 ms, and it would be 300 more", async () => within(await latency(page), 20, 350));
  console.log(`# ${ms} ms after 15 s at 102 %`);
}, options);

it("pause, hold, lag, end and a broken line are told in words", PAGE, async (page) => {
  const gate = {};
  hooks.listen = paced(gate);
  await listen(page);
  const state = page.locator(".listen .state");
  const says = (text) => until(`“${text}”`, async () => (await state.textContent()) === text);
  gate.socket.text({ type: "paused", position_ms: 100 });
  await says("Recording paused");
  assert.equal(await page.locator(".listen .words .soft").textContent(), "Nothing is heard until it is resumed.");
  gate.socket.text({ type: "resumed", position_ms: 200 });
  await says("Live");
  gate.socket.text({ type: "hold", position_ms: 300 });
  await says("On hold");
  gate.socket.text({ type: "retrieve", position_ms: 400 });
  gate.socket.text({ type: "lagged", chunks: 3 });
  await until("the lag", async () => (await page.locator(".listen .words .soft").textContent()).startsWith("3 chunks were skipped"));
  gate.socket.destroy();
  await says("Offline");
  await says("Live");
  gate.socket.text({ type: "ended", reason: "the caller hung up" });
  await says("The call has ended");
  assert.equal(await page.locator(".listen .words .soft").textContent(), "the caller hung up");
  assert.equal(await state.getAttribute("aria-live"), "polite");
}, options);

const row = (id, label) => `<tr id="live-${id}"><td class="lead" data-label="State">${label}</td><td><form class="row-actions" method="post" action="/live/${id}"><a class="button small" href="/live/${id}" data-listen="/live/${id}/listen" data-title="${id}">Listen</a><button class="small" name="do" value="pause">Pause</button></form></td></tr>`;

it("the list follows the recorder; focus and listening stay", "/live", async (page, server) => {
  hooks.listen = speak;
  await page.locator("#live-8a01 a[data-listen]").click();
  await page.getByText("Live", { exact: true }).last().waitFor();
  assert.ok(page.url().endsWith("/live"));
  await page.locator("#live-8a05 button[value=pause]").focus();
  server.tell("calls", row("8a09", "new") + row("8a01", "REC") + row("8a05", "REC"), "17");
  await page.locator("#live-8a09", { hasText: "new" }).waitFor();
  assert.equal(await page.evaluate(() => document.activeElement?.closest("tr")?.id + document.activeElement?.getAttribute("value")), "live-8a05pause");
  assert.equal(await page.locator("#live-8a01").getAttribute("aria-current"), "true");
  await until("still heard", async () => (await page.evaluate((hz) => heard(hz, 0), LEFT_HZ)) > -60);
}, options);

it("a recorder that is gone is told, and what was missed is asked for", "/live", async (page, server) => {
  const asked = [];
  hooks.events = (_, request) => asked.push(request.headers["last-event-id"]);
  await until("the stream", () => asked.length > 0);
  server.tell("calls", row("8a01", "REC"), "23");
  await until("the event", async () => (await page.locator("tbody tr").count()) >= 1 && (await page.locator("#live-8a02").count()) === 0);
  server.cut();
  await page.getByText("Recorder offline.").waitFor();
  await until("it comes again with the last id", () => asked.includes("23"), 8000);
  await until("the banner goes", async () => (await page.getByText("Recorder offline.").count()) === 0);
  hooks.events = undefined;
}, { ...options, expected: [/ERR_|Failed to load/] });
