// Every prototype: fence, policy, accessibility, both schemes, both widths, and without scripts.
import assert from "node:assert/strict";
import { readFileSync, readdirSync } from "node:fs";
import { test } from "node:test";
import axe from "axe-core";
import { suite } from "./browser.mjs";
import { CSP, pages } from "./server.mjs";

const { it } = suite();
/** htmx attributes that pages may use; eight at most (README). */
const FENCE = ["hx-boost", "hx-get", "hx-history-elt", "hx-preserve", "hx-select", "hx-swap", "hx-target"];

test("pages keep to the fence: few hx attributes, no inline script, handler or style", () => {
  const folder = new URL("../prototypes/", import.meta.url);
  for (const name of readdirSync(folder).filter((n) => n.endsWith(".html"))) {
    const text = readFileSync(new URL(name, folder), "utf8");
    for (const [, attribute] of text.matchAll(/\s((?:data-)?hx-[\w-]+)/g)) assert.ok(FENCE.includes(attribute), `${name}: ${attribute}`);
    assert.doesNotMatch(text, /<script(?![^>]*\ssrc=)|\son\w+=|\sstyle=|<style|javascript:/, name);
  }
});

test("a form field has a label, an id is there once", () => {
  for (const page of pages()) {
    const ids = Array.from(page.body.matchAll(/\sid="([^"]+)"/g), (m) => m[1]);
    assert.equal(new Set(ids).size, ids.length, `${page.name} has an id twice`);
  }
});

const audit = async (page) => {
  await page.evaluate(axe.source);
  const { violations } = await page.evaluate(() => window.axe.run(document, { runOnly: ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa", "best-practice"] }));
  return violations.map((v) => `${v.id}: ${v.help}\n${v.nodes.map((n) => `    ${n.html.slice(0, 160)} ${n.any[0]?.message ?? ""}`).join("\n")}`).join("\n");
};

for (const { name, path } of pages()) {
  it(`${name}: axe finds nothing, light and wide, dark and narrow; nothing is wider than the window`, path, async (page) => {
    if (name === "recording") await page.locator("ew-player[ready]").waitFor();
    for (const [colorScheme, width] of [["light", 1280], ["dark", 390]]) {
      await page.emulateMedia({ colorScheme });
      await page.setViewportSize({ width, height: 844 });
      assert.equal(await audit(page), "", `${colorScheme}, ${width} px`);
      assert.ok((await page.evaluate(() => document.documentElement.scrollWidth - innerWidth)) <= 0, `at ${width} px it is wider than the window`);
    }
  });

  it(`${name} without scripts shows its content`, path, async (page) => {
    const heading = page.locator("h1").first();
    await heading.waitFor();
    assert.ok(await heading.isVisible());
    for (const table of await page.locator("main table:not(details:not([open]) *)").all()) assert.ok(await table.locator("tbody tr").first().isVisible());
    for (const audio of await page.locator("main audio").all()) assert.ok(await audio.isVisible(), "the browser's own player is there");
    for (const main of await page.locator("main form button:not([popover] *)").all()) assert.ok(await main.isEnabled(), "buttons work");
  }, { context: { javaScriptEnabled: false } });
}

it("in forced colours every icon and state is still there", "/dashboard", async (page) => {
  await page.emulateMedia({ forcedColors: "active" });
  const colour = await page.evaluate(() => getComputedStyle(document.querySelector(".icon")).backgroundColor);
  assert.notEqual(colour, "rgba(0, 0, 0, 0)");
  assert.equal(await page.getByText("needs attention").count(), 1);
}, {});

it("on paper there is the list, and no controls", "/recordings", async (page) => {
  await page.emulateMedia({ media: "print" });
  assert.ok(await page.locator("#grid tbody tr").first().isVisible());
  for (const gone of [".bar", "#filters", ".presets", ".pick"]) assert.ok(!(await page.locator(gone).first().isVisible()), gone);
}, {});

it("200 rows are painted (the time is printed: it depends on the machine)", "/error", async (page, server) => {
  await page.route("**/recordings", async (route) => {
    const body = await (await route.fetch()).text();
    const calls = body.match(/<tbody class="call"(?! id)[\s\S]*?<\/tbody>/g) ?? [];
    const rows = Array.from({ length: 200 }, (_, i) => calls[i % calls.length]).join("\n");
    await route.fulfill({ body: body.replace('<tbody class="more-row">', () => `${rows}<tbody class="more-row">`), contentType: "text/html; charset=utf-8", headers: { "content-security-policy": CSP } });
  });
  const times = [];
  for (let i = 0; i < 3; i++) {
    await page.goto(`${server.origin}/recordings`);
    times.push(await page.evaluate(() => new Promise((resolve) => {
      const { responseStart } = performance.getEntriesByType("navigation")[0];
      requestAnimationFrame(() => requestAnimationFrame(() => resolve(Math.round(performance.now() - responseStart))));
    })));
  }
  console.log(`# ${await page.locator("#grid tbody tr").count()} rows: painted ${Math.min(...times)} ms after the first byte (best of ${times.join(", ")})`);
  assert.ok((await page.locator("#grid tbody tr").count()) >= 200);
}, { expected: [/404/] });
