// Builds web/dist from src/ and style/: the same bytes from the same input, so that a check can tell whether the committed
// files are those of these sources. `node build.mjs --check` writes nothing and fails when they differ.
import { build } from "esbuild";
import { mkdir, readFile, readdir, writeFile } from "node:fs/promises";
import { fileURLToPath } from "node:url";

const here = fileURLToPath(new URL(".", import.meta.url));
const dist = fileURLToPath(new URL("../dist/", import.meta.url));
const check = process.argv.includes("--check");

const common = {
  absWorkingDir: here,
  bundle: true,
  minify: true,
  write: false,
  charset: "utf8",
  legalComments: "none",
  target: ["chrome120", "firefox121", "safari17.5"],
  logLevel: "warning",
};

/** What is bundled of others, with the licence that goes with it. */
async function licences() {
  const pack = JSON.parse(await readFile(new URL("package.json", import.meta.url), "utf8"));
  const parts = ["earwitness.js contains the following besides earwitness' own code."];
  for (const name of Object.keys(pack.dependencies).sort()) {
    const folder = new URL(`node_modules/${name}/`, import.meta.url);
    const its = JSON.parse(await readFile(new URL("package.json", folder), "utf8"));
    const file = (await readdir(folder)).find((f) => /^licen[cs]e/i.test(f));
    if (!file) throw new Error(`${name} has no licence file: say by hand what its licence is`);
    const text = await readFile(new URL(file, folder), "utf8");
    parts.push(`${name} ${its.version} (${its.license})\n\n${text.trim()}`);
  }
  return `${parts.join(`\n\n${"-".repeat(72)}\n\n`)}\n`;
}

async function outputs() {
  const script = (entry) => build({ ...common, entryPoints: [entry], format: "iife" });
  const [page, worklet, style] = await Promise.all([
    script("src/main.ts"),
    script("src/listen-worklet.ts"),
    build({ ...common, entryPoints: ["style/index.css"], loader: { ".svg": "dataurl" } }),
  ]);
  return new Map([
    ["earwitness.js", page.outputFiles[0].text],
    ["listen-worklet.js", worklet.outputFiles[0].text],
    ["earwitness.css", style.outputFiles[0].text],
    ["icon.svg", await readFile(here + "style/icon.svg", "utf8")],
    ["LICENSES.txt", await licences()],
  ]);
}

const files = await outputs();
const again = await outputs();
await mkdir(dist, { recursive: true });
let stale = false;
for (const [name, text] of files) {
  if (again.get(name) !== text) throw new Error(`${name} differs from one build to the next`);
  const there = await readFile(dist + name, "utf8").catch(() => "");
  if (there === text) continue;
  if (check) {
    console.error(`web/dist/${name} is not what the sources make: run npm run build in web/ui and commit it`);
    stale = true;
  } else {
    await writeFile(dist + name, text);
  }
}
if (stale) process.exit(1);
