// Pictures of the prototypes, light and dark, wide and narrow: node tests/look.mjs FOLDER [NAME…]
import { mkdirSync } from "node:fs";
import { launch } from "./browser.mjs";
import { pages, start } from "./server.mjs";

const [folder, ...names] = process.argv.slice(2);
if (!folder) {
  console.error("node tests/look.mjs FOLDER [NAME…]");
  process.exit(2);
}
mkdirSync(folder, { recursive: true });
const server = await start();
const browser = await launch();
if (!browser) throw new Error("Chromium is not installed: apt-get install chromium");
for (const colorScheme of ["light", "dark"]) {
  for (const width of [1280, 390]) {
    const context = await browser.newContext({ colorScheme, viewport: { width, height: width > 500 ? 800 : 844 }, timezoneId: "Europe/Berlin", locale: "en-GB" });
    const page = await context.newPage();
    page.on("console", (m) => ["error", "warning"].includes(m.type()) && console.log(`${page.url()}: ${m.text()}`));
    page.on("pageerror", (e) => console.log(`${page.url()}: ${e.message}`));
    for (const { name, path } of pages()) {
      if (names.length && !names.includes(name)) continue;
      await page.goto(server.origin + path);
      await page.waitForTimeout(250);
      const wide = await page.evaluate(() => document.documentElement.scrollWidth - innerWidth);
      if (wide > 0) console.log(`${name} ${width}: ${wide} px wider than the window`);
      await page.screenshot({ path: `${folder}/${name}-${colorScheme}-${width}.png`, fullPage: width < 500 });
    }
    await context.close();
  }
}
await browser.close();
server.stop();
