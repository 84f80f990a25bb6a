// Whatever a stranger writes into a call, a tag or a note is shown as it is, and done by nobody: forty texts in every field that a caller
// or a user fills, through every page, table and log.
import assert from "node:assert/strict";
import { writeFileSync } from "node:fs";
import { join } from "node:path";
import { after, before, test } from "node:test";
import { ears, launch, until } from "../tests/browser.mjs";
import { LEFT_HZ, RIGHT_HZ, capture } from "./capture.mjs";
import { binary, folder, freePort, run, start } from "./world.mjs";

// Each calls `hit` if it is run, and has an element with `data-hit` if it becomes one.
const PAYLOADS = [
  `<script data-hit>hit()</script>`,
  `"><script data-hit>hit()</script>`,
  `'><script data-hit>hit()</script>`,
  `</title><script data-hit>hit()</script>`,
  `</textarea><script data-hit>hit()</script>`,
  `</script><script data-hit>hit()</script>`,
  `</style><style data-hit>*{color:red}</style>`,
  `<img data-hit src=x onerror=hit()>`,
  `"><img data-hit src=x onerror="hit()">`,
  `<svg data-hit onload=hit()>`,
  `<svg><script data-hit>hit()</script></svg>`,
  `<math data-hit><mtext><img src=x onerror=hit()></mtext></math>`,
  `<iframe data-hit srcdoc="<script>parent.hit()</script>"></iframe>`,
  `<iframe data-hit src="javascript:parent.hit()"></iframe>`,
  `<body data-hit onload=hit()>`,
  `<details data-hit open ontoggle=hit()>`,
  `<input data-hit autofocus onfocus=hit()>`,
  `" autofocus onfocus="hit()" data-hit="`,
  `' autofocus onfocus='hit()' data-hit='`,
  `" onmouseover="hit()" data-hit x="`,
  `<a data-hit href="javascript:hit()">x</a>`,
  `javascript:hit()`,
  `<object data-hit data="javascript:hit()"></object>`,
  `<embed data-hit src="javascript:hit()">`,
  `<base data-hit href="https://evil.example/">`,
  `<meta data-hit http-equiv="refresh" content="0;url=javascript:hit()">`,
  `<link data-hit rel=stylesheet href=data:text/css,*{}>`,
  `<form data-hit action="javascript:hit()"><button>x</button></form>`,
  `<ew-player data-hit src="x"></ew-player>`,
  `<div data-hit hx-get="/recordings" hx-trigger="load">x</div>`,
  `<bdi data-hit>\u202e</bdi></bdi></a></td></tr></table><b data-hit>x</b>`,
  `\u202etxet\u202c <b data-hit>x</b>`,
  `&lt;script data-hit&gt;hit()&lt;/script&gt;<b data-hit>`,
  `{{constructor.constructor('hit()')()}}`,
  `\${hit()}\`-hit()-\``,
  `=HYPERLINK("javascript:hit()","x")`,
  `+cmd|' /C calc'!A0`,
  `@SUM(1+1)*cmd|' /C calc'!A0`,
  `-2+3+cmd|' /C calc'!A0`,
  `\u001b]0;hit\u0007\u001b[2J\u001b[31m<b data-hit>`,
];

const skip = !binary ? "the recorder is not built: cargo build" : false;
let world;

before(async () => {
  if (skip) return;
  const dir = folder();
  const archive = join(dir, "archive");
  const calls = PAYLOADS.map((text, i) => ({
    extension: String(2000 + i), caller: text, caller_name: text, callee_name: text, call_id: text, any: text,
  }));
  calls.push({ extension: "2999", caller: "01632960101", caller_name: "Tone", callee_name: "Tone", call_id: "tone", any: "tone" });
  writeFileSync(join(dir, "calls.pcap"), capture(Date.now() - 600_000, 1, calls.slice(0, -1)));
  writeFileSync(join(dir, "tone.pcap"), capture(Date.now() - 300_000, 12, calls.slice(-1)));
  const recorded = run(["record", "-r", join(dir, "calls.pcap"), join(dir, "tone.pcap"), "-a", archive], { log: "debug" });
  const rows = run(["archive", "list", "-a", archive, "--json", "--limit", "100"]).out.trim().split("\n").map(JSON.parse);
  const texts = {};
  for (const words of [["archive", "list"], ["calls"], ["archive", "log"]]) texts[words.join(" ")] = run([...words, "-a", archive]).out;
  const pages = await start(["serve", "-a", archive, "--listen", `127.0.0.1:${await freePort()}`]);
  world = { archive, recorded, rows, texts, pages, browser: await launch(), hits: [] };
  if (!world.browser) return;
  // The link lets one browser in, once.
  world.context = await world.browser.newContext({ timezoneId: "Europe/Berlin", viewport: { width: 1280, height: 800 } });
  await world.context.addInitScript(ears);
  await world.context.exposeFunction("hit", () => world.hits.push("hit"));
  world.page = await world.context.newPage();
  world.page.on("dialog", (dialog) => (world.hits.push(dialog.message()), dialog.dismiss()));
  world.page.on("console", (message) => /Content Security Policy|Refused to/.test(message.text()) && world.hits.push(message.text()));
  await world.page.goto(pages.link);
  const headers = { origin: pages.origin };
  for (const [i, row] of rows.entries()) {
    const text = PAYLOADS[i % PAYLOADS.length];
    const facts = { tags: text.replace(",", ""), tag1: text, stars: "3" };
    for (const [path, form] of [["facts", facts], ["notes", { text }]]) {
      const reply = await world.context.request.post(`${pages.origin}/recordings/${row.id}/${path}`, { form, headers });
      assert.ok(reply.ok() || reply.status() === 422, `${path}: ${reply.status()} ${text}`);
    }
  }
});

after(async () => {
  await world?.browser?.close();
  await world?.pages.stop();
});

const ACTS = "[data-hit], [onerror], [onload], [onfocus], [onmouseover], [srcdoc], [href^='javascript']";

test("forty texts in every field: none is run, and none becomes a part of a page", { skip, timeout: 300_000 }, async (t) => {
  if (!world.browser) return t.skip("Chromium is not here");
  const { page, pages, rows, hits } = world;
  assert.equal(PAYLOADS.length, 40);
  assert.equal(rows.length, 41, "every call was recorded");
  const lists = ["/recordings?range=all", "/recordings?range=all&sort=other_party", "/calls?range=all&outcome=recorded", "/audit", "/users", "/roles"];
  let shown = 0;
  for (const path of [...lists, ...rows.map((row) => `/recordings/${row.id}`)]) {
    await page.goto(pages.origin + path);
    // Some act when they get the focus.
    await page.keyboard.press("Tab");
    assert.equal(await page.locator(ACTS).count(), 0, `${path}: a text became an element`);
    shown += (await page.content()).includes("data-hit") ? 1 : 0;
  }
  assert.ok(shown > 30, `the texts are there to be seen: on ${shown} pages`);
  // What is searched for stands in the address, in a field and on a chip.
  for (const text of PAYLOADS) {
    await page.goto(`${pages.origin}/recordings?range=all&tag=${encodeURIComponent(text)}&other_party=${encodeURIComponent(text)}`);
    assert.equal(await page.locator(ACTS).count(), 0, text);
  }
  assert.deepEqual(hits, []);
});

test("no cell of a table begins a formula, and no list or log has a control character", { skip, timeout: 120_000 }, async (t) => {
  if (!world.browser) return t.skip("Chromium is not here");
  const texts = { ...world.texts, "record's list": world.recorded.out, "record's log": world.recorded.err };
  for (const [what, text] of Object.entries(texts)) {
    const found = /[^\P{Cc}\n]|[\u200e\u200f\u202a-\u202e\u2066-\u2069]/u.exec(text);
    assert.equal(found, null, `${what}: ${JSON.stringify(text.slice(Math.max(0, (found?.index ?? 0) - 60), (found?.index ?? 0) + 60))}`);
  }
  for (const path of ["/calls.csv?range=all&outcome=recorded", "/audit.csv"]) {
    const reply = await world.context.request.get(world.pages.origin + path);
    const text = await reply.text();
    assert.ok(text.includes("hit()"), path);
    // A cell is at the start of a line or behind a comma outside of quotation marks.
    const cells = text.split("\r\n").flatMap((line) => line.match(/("(?:[^"]|"")*"|[^,]*)(?:,|$)/g) ?? []);
    const formulas = cells.filter((cell) => /^"?[=+\-@\t]/.test(cell));
    assert.deepEqual(formulas, [], path);
  }
});

test("a tone is heard as it was: 440 Hz on the left, 1000 Hz on the right, and after a seek", { skip, timeout: 120_000 }, async (t) => {
  if (!world.browser) return t.skip("Chromium is not here");
  const { page, pages, rows } = world;
  const tone = rows.find((row) => row.extension === "2999");
  await page.goto(`${pages.origin}/recordings/${tone.id}`);
  await page.locator("ew-player[ready]").waitFor();
  await page.getByRole("button", { name: "Play", exact: true }).click();
  const at = () => page.evaluate(() => audio()?.currentTime ?? 0);
  await until("the audio clock to move", async () => (await at()) > 1);
  const level = (hz, side) => page.evaluate(([hz, side]) => {
    window.graph ??= (() => {
      const context = new AudioContext();
      context.createMediaElementSource(audio()).connect(context.destination);
      return context;
    })();
    return heard(hz, side);
  }, [hz, side]);
  const isRight = async () => {
    const [own, other] = [await level(LEFT_HZ, 0), await level(RIGHT_HZ, 1)];
    const [strange, foreign] = [await level(RIGHT_HZ, 0), await level(LEFT_HZ, 1)];
    return own > -40 && other > -40 && own - strange > 30 && other - foreign > 30;
  };
  await until("both tones, each on its side", isRight);
  await page.getByRole("slider", { name: /position/i }).first().fill("9");
  await until("the clock at the place", async () => (await at()) >= 9);
  await until("both tones there, too", isRight);
});
