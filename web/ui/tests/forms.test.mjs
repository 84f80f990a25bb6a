// Selection, confirmation, popovers, times, the end of a session.
import assert from "node:assert/strict";
import { suite, until } from "./browser.mjs";

const seen = [];
const { it } = suite({ seen: (request) => seen.push(`${request.method} ${request.url}`) });

it("rows are ticked one by one, as a range and all; the bar counts them", "/recordings", async (page) => {
  const boxes = page.locator("input.pick");
  const bar = page.getByRole("group", { name: "What is selected" });
  assert.ok(!(await bar.isVisible()));
  await boxes.nth(1).check();
  await boxes.nth(4).click({ modifiers: ["Shift"] });
  assert.equal(await bar.getByRole("status").textContent(), "4 selected");
  assert.ok(await page.locator(".pick-all").evaluate((box) => box.indeterminate));
  await page.locator(".pick-all").check();
  assert.equal(await bar.getByRole("status").textContent(), `${await boxes.count()} selected`);
  await bar.getByRole("button", { name: "Clear" }).click();
  await until("the bar goes", async () => !(await bar.isVisible()));
});

it("older rows come below and leave what is ticked", "/recordings", async (page) => {
  const before = await page.locator("#grid tr").count();
  await page.locator("input.pick").first().check();
  await page.getByRole("link", { name: "Load 200 more" }).click();
  await until("more rows", async () => (await page.locator("#grid tr").count()) > before);
  assert.ok(await page.locator("input.pick").first().isChecked());
  assert.equal(await page.locator(".more-row").count(), 1);
});

it("a search is in the address, and Back undoes it", "/recordings", async (page) => {
  await page.evaluate(() => (window.mark = 1));
  await page.getByRole("textbox", { name: "Outside number" }).fill("0113*");
  await page.getByRole("button", { name: "Search" }).click();
  await until("the address", () => page.url().includes("outside=0113*"));
  assert.match(page.url(), /zone=Europe%2FBerlin/);
  await page.goBack();
  await until("the address before", () => !page.url().includes("outside="));
  assert.equal(await page.evaluate(() => window.mark), 1, "no page was loaded anew");
});

it("columns are chosen by the keyboard alone", "/recordings", async (page) => {
  await page.getByRole("button", { name: "Columns" }).focus();
  await page.keyboard.press("Enter");
  assert.ok(await page.locator("#columns").isVisible());
  await page.keyboard.press("Tab");
  assert.ok(await page.evaluate(() => document.activeElement?.closest("#columns") !== null));
  await page.keyboard.press("Escape");
  assert.ok(!(await page.locator("#columns").isVisible()));
});

it("on a narrow screen menu and filters open and close", "/recordings", async (page) => {
  await page.getByRole("button", { name: "Menu" }).click();
  await page.getByRole("link", { name: "Dashboard" }).click();
  await page.getByRole("heading", { name: "Dashboard" }).waitFor();
  assert.ok(!(await page.locator("#menu").isVisible()), "the menu closed itself");
  await page.goBack();
  await page.getByRole("button", { name: "Filters" }).click();
  assert.ok(await page.getByRole("textbox", { name: "Outside number" }).isVisible());
}, { context: { viewport: { width: 390, height: 844 } } });

it("what deletes wants the name typed", "/retention", async (page) => {
  const button = page.getByRole("button", { name: /^Delete 18,214/ });
  assert.ok(await button.isDisabled());
  await page.locator("#confirm").fill("All other");
  assert.ok(await button.isDisabled());
  await page.locator("#confirm").fill("All others");
  assert.ok(await button.isEnabled());
});

it("times are in the reader's zone, with an offset where it is another one than now", "/retention", async (page) => {
  const texts = await page.locator("ew-time").allTextContents();
  assert.ok(texts.includes("4 Nov 11:00:00"), texts.join("; "));
  assert.ok(texts.some((text) => text.startsWith("12 Oct 11:30:00") && text.endsWith("+02:00")), texts.join("; "));
  assert.equal(await page.locator("ew-zone").first().textContent(), "Times are UTC+01:00 (Europe/Berlin)");
  assert.equal(await page.locator("ew-time").last().getAttribute("title"), "2026-10-12 09:30:00 UTC");
});

it("the zone of the settings wins over the browser's, and searches tell it", "/audit", async (page) => {
  await page.evaluate(() => {
    document.documentElement.dataset.zone = "Asia/Kolkata";
    const fresh = document.createElement("ew-time");
    fresh.setAttribute("datetime", "2026-11-30T09:00:00Z");
    fresh.textContent = "09:00:00";
    document.querySelector("main").append(fresh);
  });
  assert.equal(await page.locator("main > ew-time").last().textContent(), "2026-11-30 14:30:00 +05:30");
  assert.equal(await page.locator('input[name="zone"]').inputValue(), "Europe/Berlin");
});

it("a countdown runs by the recorder's clock", "/mine", async (page) => {
  const clock = page.locator(".clock-big ew-countdown");
  assert.match(await clock.textContent(), /^1:1[012]$/);
  const first = await clock.textContent();
  await until("it runs", async () => (await clock.textContent()) !== first);
});

it("a session that is about to end says so, and can go on", "/recordings", async (page) => {
  await page.evaluate(() => document.querySelector("ew-session").setAttribute("idle", "6"));
  await page.getByText("You will be signed out soon").waitFor({ timeout: 10_000 });
  await page.getByRole("button", { name: "Stay signed in" }).click();
  await until("the warning goes", async () => (await page.getByText("You will be signed out soon").count()) === 0);
  assert.ok(seen.includes("GET /session"));
});

it("hearing something is use: no warning comes while it plays", "/recordings", async (page) => {
  await page.locator("a[data-play]").first().click();
  await page.evaluate(() => document.querySelector("ew-session").setAttribute("idle", "4"));
  const before = seen.filter((line) => line === "GET /session").length;
  await page.waitForTimeout(6000);
  assert.equal(await page.getByText("You will be signed out soon").count(), 0);
  assert.ok(page.url().endsWith("/recordings"));
  assert.ok(seen.filter((line) => line === "GET /session").length > before);
});

it("a recorder that does not answer a click is told", "/recordings", async (page) => {
  await page.route("**/calls", (route) => route.abort());
  await page.getByRole("link", { name: "Calls", exact: true }).click();
  await page.getByRole("alert").getByText("The recorder does not answer.").waitFor();
  assert.ok(page.url().endsWith("/recordings"));
}, { expected: [/ERR_FAILED/, /Failed to fetch/, /htmx/] });

it("one that has ended goes to sign-in, whole", "/recordings", async (page, server) => {
  await page.route("**/calls", (route) => (route.request().isNavigationRequest() ? route.continue() : route.fulfill({ status: 200, contentType: "text/html", body: '<!DOCTYPE html><html lang="en"><body class="outside"><main>sign in</main></body></html>' })));
  await page.route(`${server.origin}/calls`, (route) => (route.request().isNavigationRequest() ? route.fulfill({ status: 302, headers: { location: "/sign-in" } }) : route.fallback()));
  await page.getByRole("link", { name: "Calls", exact: true }).click();
  await page.getByRole("heading", { name: "Sign in" }).waitFor();
  assert.equal(await page.locator("header.bar").count(), 0);
});

it("copying says that it did", "/me", async (page) => {
  await page.context().grantPermissions(["clipboard-read", "clipboard-write"]);
  await page.getByRole("button", { name: "Copy" }).click();
  await page.getByText("Copied").waitFor();
  assert.equal(await page.evaluate(() => navigator.clipboard.readText()), "JBSWY3DPEHPK3PXP");
});
