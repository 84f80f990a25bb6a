// The player and the dock.
import assert from "node:assert/strict";
import { ears, suite, until } from "./browser.mjs";
import { LEFT_HZ, RIGHT_HZ } from "./made.mjs";

const { it } = suite();
const ready = (page) => page.locator("ew-player[ready]").waitFor();
const time = (page) => page.evaluate(() => audio().currentTime);
const slider = (page) => page.getByRole("slider", { name: "Position" });
const options = { init: ears };
const RECORDING = "/recordings/7f31";
/** A second, by the loudness in made.mjs, in which the extension begins to speak; the parties speak in turn. */
const NEAR_SPEAKS = 62;

it("a recording plays and the slider says where it is", RECORDING, async (page) => {
  await ready(page);
  await page.getByRole("button", { name: "Play", exact: true }).click();
  await until("sound", async () => (await time(page)) > 0.5);
  await page.getByRole("button", { name: "Pause", exact: true }).click();
  const at = await time(page);
  await page.waitForTimeout(200);
  assert.equal(await time(page), at, "it stands when paused");
  assert.equal(await slider(page).getAttribute("aria-valuetext"), `${Math.floor(at)} s`);
}, options);

it("what cannot be heard says why, and what to do", RECORDING, async (page) => {
  await ready(page);
  await page.getByRole("button", { name: "Play", exact: true }).click();
  await until("sound", async () => (await time(page)) > 0.5);
  for (const [code, says] of [["MEDIA_ERR_DECODE", /Is there a sound device\?/], ["MEDIA_ERR_SRC_NOT_SUPPORTED", /Load the page again\./]]) {
    await page.evaluate((code) => {
      Object.defineProperty(audio(), "error", { value: { code: MediaError[code] }, configurable: true });
      audio().dispatchEvent(new Event("error"));
    }, code);
    await page.getByText(says).waitFor();
  }
}, options);

it("seeking by slider, event, note and address lands where it says, and says what that moment is", RECORDING, async (page, server) => {
  await ready(page);
  await slider(page).evaluate((input) => {
    input.value = "100";
    input.dispatchEvent(new Event("input", { bubbles: true }));
  });
  assert.equal(await slider(page).getAttribute("aria-valuetext"), "1 min 40 s, on hold");
  await page.getByText("Events").click();
  await page.getByRole("button", { name: "Go to 2 min 51 s" }).first().click();
  assert.equal(await slider(page).getAttribute("aria-valuetext"), "2 min 51 s, not recorded");
  await page.locator('a[href="#t=43.2"]').click();
  await until("playing from the note", async () => (await time(page)) > 43.2 && (await time(page)) < 60);
  await page.goto(`${server.origin}${RECORDING}#t=210`);
  await page.reload();
  await ready(page);
  assert.equal(await slider(page).getAttribute("aria-valuetext"), "3 min 30 s, packets lost");
}, options);

it("one party alone is heard in both ears, the other not at all", RECORDING, async (page) => {
  await ready(page);
  await page.evaluate((at) => (location.hash = `#t=${at}`), NEAR_SPEAKS);
  await page.getByRole("button", { name: "Extension", exact: true }).click();
  await page.getByRole("button", { name: "Play", exact: true }).click();
  // Levels of one moment, in dB: the extension's tone left and right, the other side's left and right.
  const levels = () => page.evaluate(([near, far]) => [heard(near, 0), heard(near, 1), heard(far, 0), heard(far, 1)], [LEFT_HZ, RIGHT_HZ]);
  const [LOUD, SILENT] = [-75, -100];
  await until("the extension in both ears and nothing of the other side", async () => {
    const [nearLeft, nearRight, farLeft, farRight] = await levels();
    return nearLeft > LOUD && nearRight > LOUD && farLeft < SILENT && farRight < SILENT;
  });
  await page.getByRole("button", { name: "Other side" }).click();
  await until("the other side in both ears and nothing of the extension", async () => {
    const [nearLeft, nearRight, farLeft, farRight] = await levels();
    return nearLeft < SILENT && nearRight < SILENT && farLeft > LOUD && farRight > LOUD;
  });
  await page.getByRole("button", { name: "Both" }).click();
  await until("each in its own ear", async () => {
    const [nearLeft, nearRight, farLeft, farRight] = await levels();
    return nearLeft > LOUD && nearRight < SILENT && farLeft < SILENT && farRight > LOUD;
  });
}, options);

it("the keys work while the focus is in the player, and only then", RECORDING, async (page) => {
  await ready(page);
  const key = async (name) => page.keyboard.press(name);
  const says = () => slider(page).getAttribute("aria-valuetext");
  await page.locator("h1").click();
  await key("l");
  assert.equal(await says(), "0 s", "outside, a letter is only a letter");
  await slider(page).focus();
  await key("l");
  assert.equal(await says(), "10 s");
  await key("ArrowRight");
  await key("j");
  assert.equal(await says(), "5 s");
  await key("ArrowLeft");
  assert.equal(await says(), "0 s");
  await key("e");
  assert.equal(await says(), "12 s", "the next event is a digit at 12.4 s");
  await key("]");
  await key("]");
  await until("speed 1.5", async () => (await page.getByRole("combobox", { name: "Speed" }).inputValue()) === "1.5");
  assert.ok(await page.evaluate(() => audio().preservesPitch && audio().playbackRate === 1.5));
  await key("[");
  await key("2");
  assert.equal(await page.getByRole("button", { name: "Other side" }).getAttribute("aria-pressed"), "true");
  await key("0");
  await key(" ");
  await until("playing", async () => !(await page.evaluate(() => audio().paused)));
  await key("k");
  assert.ok(await page.evaluate(() => audio().paused));
  await page.getByRole("button", { name: "Play", exact: true }).focus();
  await key(" ");
  await until("a button pressed by Space plays once", async () => !(await page.evaluate(() => audio().paused)));
  await key("k");
  await key("?");
  await page.getByText("these keys").waitFor();
  await key("g");
  await page.keyboard.type("3:05");
  await key("Enter");
  assert.equal(await says(), "3 min 5 s, not recorded");
  await page.getByRole("button", { name: "Keys" }).focus();
  await key("n");
  assert.ok(await page.evaluate(() => document.activeElement?.matches("[data-note]")));
  assert.equal(await page.locator("[data-note-at]").inputValue(), "3:05");
}, options);

it("every control of the player is reached by Tab, in order", RECORDING, async (page) => {
  await ready(page);
  await page.getByRole("button", { name: "More" }).focus();
  const names = [];
  for (let i = 0; i < 40; i++) {
    await page.keyboard.press("Tab");
    const name = await page.evaluate(() => document.activeElement?.closest("ew-player") && (document.activeElement.getAttribute("aria-label") || document.activeElement.textContent?.trim()));
    if (!name) break;
    names.push(name);
  }
  for (const wanted of ["Position", "Play", "10 seconds back", "5 seconds back", "5 seconds on", "10 seconds on", "Speed", "Both", "Extension", "Other side", "A", "B", "Zoom out", "Zoom in", "Keys"]) {
    assert.ok(names.includes(wanted), `${wanted} is missing in: ${names.join(", ")}`);
  }
}, options);

it("a loop from A to B turns back", RECORDING, async (page) => {
  await ready(page);
  await page.evaluate(() => (location.hash = "#t=20"));
  await page.getByTitle("Loop from here (A)").click();
  await page.evaluate(() => (location.hash = "#t=21"));
  await page.getByTitle("Loop to here (B)").click();
  await page.evaluate(() => (location.hash = "#t=20.5"));
  await page.getByRole("button", { name: "Play", exact: true }).click();
  await page.waitForTimeout(1600);
  const at = await time(page);
  assert.ok(at >= 19.9 && at < 21.4, `it is at ${at}`);
  const part = () => page.evaluate(() => ["a", "b"].map((edge) => document.querySelector(`[data-part="${edge}"]`).value));
  assert.deepEqual(await part(), ["0:20.0", "0:21.0"], "the part that can be saved is the one that is repeated");
  await page.getByRole("button", { name: "No loop" }).click();
  assert.deepEqual(await part(), ["", ""]);
}, options);

it("zoom is capped, and the canvas stays as wide as the window", RECORDING, async (page) => {
  await ready(page);
  for (let i = 0; i < 25; i++) await page.getByRole("button", { name: "Zoom in" }).click();
  await page.waitForTimeout(50);
  const [canvas, extent] = await page.evaluate(() => [document.querySelector(".player-lanes canvas").clientWidth, document.querySelector(".player-lanes .extent").clientWidth]);
  assert.ok(canvas <= 1100 && extent <= 252 * 100 + 1, `${canvas} and ${extent} px`);
  await page.evaluate(() => (location.hash = "#t=200"));
  await page.getByRole("button", { name: "Zoom out" }).click();
  assert.ok((await page.evaluate(() => document.querySelector(".player-lanes").scrollLeft)) > 1000, "the window is where the playhead is");
}, options);

it("what plays goes on in the dock over other pages and Back, without a new page", RECORDING, async (page) => {
  await ready(page);
  await page.evaluate(() => (window.mark = 1));
  await page.getByRole("button", { name: "Play", exact: true }).click();
  await until("sound", async () => (await time(page)) > 0.3);
  await page.getByRole("link", { name: "Calls", exact: true }).click();
  await page.getByRole("heading", { name: "Calls", exact: true }).waitFor();
  const dock = page.getByRole("region", { name: "Playing" });
  await dock.getByRole("link", { name: "2001 Anna Berg, 020 7946 0123" }).waitFor();
  assert.equal(await page.title(), "Calls · earwitness");
  assert.equal(await page.locator('.bar nav a[aria-current="page"]').textContent(), "Calls");
  assert.equal(await page.evaluate(() => document.activeElement?.id), "main", "reading begins at the content");
  const at = await time(page);
  await until("it plays on", async () => (await time(page)) > at + 0.3);
  await page.getByRole("link", { name: "Dashboard" }).click();
  await page.getByRole("heading", { name: "Dashboard" }).waitFor();
  await page.goBack();
  await page.getByRole("heading", { name: "Calls", exact: true }).waitFor();
  const later = await time(page);
  assert.ok(later > at, "Back did not reset it");
  await until("it plays on after Back", async () => (await time(page)) > later + 0.3);
  await page.goBack();
  await ready(page);
  await page.getByRole("button", { name: "Pause", exact: true }).waitFor();
  assert.equal(await dock.count(), 0, "on its own page the player shows it");
  assert.equal(await page.evaluate(() => window.mark), 1, "no page was loaded anew");
}, options);

it("saving a note beside it does not stop what plays", RECORDING, async (page) => {
  await ready(page);
  await page.evaluate(() => (window.mark = 1));
  await page.getByRole("button", { name: "Play", exact: true }).click();
  await until("sound", async () => (await time(page)) > 0.3);
  const posted = page.waitForRequest((request) => request.method() === "POST");
  await page.locator("[data-note]").fill("Promised a call back.");
  await page.getByRole("button", { name: "Add note" }).click();
  assert.match((await posted).postData(), /text=Promised/);
  await until("a fresh form", async () => (await page.locator("[data-note]").inputValue()) === "");
  await page.getByRole("button", { name: "Pause", exact: true }).waitFor();
  const at = await time(page);
  await until("it plays on", async () => (await time(page)) > at + 0.2);
  assert.equal(await page.evaluate(() => window.mark), 1);
}, options);

it("the play button of a row plays in the dock, and the dock can be closed", "/recordings", async (page) => {
  await page.locator("a[data-play]").first().click();
  const dock = page.getByRole("region", { name: "Playing" });
  await dock.waitFor();
  await until("sound", async () => (await time(page)) > 0.2);
  assert.ok(page.url().endsWith("/recordings"));
  await dock.getByRole("button", { name: "Close the player" }).click();
  assert.equal(await dock.count(), 0);
  assert.ok(await page.evaluate(() => audio().paused));
}, options);

it("an hour-long recording is drawn (the time is printed: it depends on the machine)", "/error", async (page, server) => {
  const points = 3600 * 50;
  const peaks = Buffer.alloc(12 + points * 4);
  peaks.write("EWPK");
  peaks[4] = 1;
  peaks[5] = 2;
  peaks.writeUInt16LE(50, 6);
  peaks.writeUInt32LE(points, 8);
  for (let i = 12; i < peaks.length; i += 2) {
    peaks.writeInt8(-(i % 90), i);
    peaks.writeInt8(i % 90, i + 1);
  }
  await page.route("**/peaks", (route) => route.fulfill({ body: peaks, contentType: "application/octet-stream" }));
  await page.route("**/timeline.json", (route) => route.fulfill({ json: { duration_ms: 3_600_000, lanes: [] } }));
  await page.goto(`${server.origin}${RECORDING}`);
  await ready(page);
  const ms = await page.evaluate(() => new Promise((resolve) => requestAnimationFrame(() => requestAnimationFrame(() => resolve(performance.now())))));
  console.log(`# ready and drawn ${Math.round(ms)} ms after the navigation began`);
  const lanes = await page.evaluate(() => {
    const canvas = document.querySelector(".player-lanes canvas");
    const middle = canvas.getContext("2d").getImageData(Math.floor(canvas.width / 2), 0, 1, canvas.height).data;
    return new Set(middle).size;
  });
  assert.ok(lanes > 3, "both lanes are on the canvas");
}, { ...options, expected: [/404/] });

it("without a waveform it still plays, and says so", RECORDING, async (page) => {
  await page.route("**/peaks", (route) => route.fulfill({ status: 503, body: "" }));
  await page.reload();
  await page.getByText("No waveform: the recorder answered 503.").waitFor();
  await page.getByRole("button", { name: "Play", exact: true }).click();
  await until("sound", async () => (await time(page)) > 0.3);
}, { ...options, expected: [/503/] });
