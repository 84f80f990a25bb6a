// A small server for tests and for looking at the prototypes: puts each page into its frame, serves web/dist, made-up audio
// with byte ranges, peaks, a timeline, server-sent events and the listening socket. It is not the recorder.
import { createServer } from "node:http";
import { createHash } from "node:crypto";
import { readFileSync, readdirSync } from "node:fs";
import * as made from "./made.mjs";

const prototypes = new URL("../prototypes/", import.meta.url);
const dist = new URL("../../dist/", import.meta.url);
const TYPES = { svg: "image/svg+xml", css: "text/css; charset=utf-8", js: "text/javascript; charset=utf-8", txt: "text/plain; charset=utf-8" };

/** The policy that the recorder sends, to the letter. */
export const CSP =
  "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; media-src 'self'; connect-src 'self'; " +
  "worker-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'";

/** Every prototype: its file, title, frame, path and markup. */
export function pages() {
  return readdirSync(prototypes)
    .filter((name) => name.endsWith(".html") && !name.startsWith("_"))
    .map((name) => {
      const text = readFileSync(new URL(name, prototypes), "utf8");
      const head = /^<!-- frame: (\w+); title: (.+?); path: (\S+) -->\n/.exec(text);
      if (!head) throw new Error(`${name} must begin with <!-- frame: …; title: …; path: … -->`);
      return { name: name.slice(0, -5), frame: head[1], title: head[2], path: head[3], body: text.slice(head[0].length) };
    });
}

function render(page) {
  const frame = readFileSync(new URL(`_${page.frame}.html`, prototypes), "utf8");
  const first = `/${page.path.split("/")[1]}`;
  return frame
    .replace("{{title}}", () => page.title)
    .replace("{{body}}", () => page.body)
    .replace(/<a href="([^"]+)"( data-section="([^"]+)")?>/g, (tag, href, _, section) => {
      const here = href === first || (section ?? "").split(" ").includes(first);
      return here && /^\/(recordings|live|calls|mine|dashboard|rules)$/.test(href) ? tag.replace(">", ' aria-current="page">') : tag;
    });
}

/** Starts it on 127.0.0.1. `hooks.listen(socket)` takes over a listening socket. */
export async function start(port = 0, hooks = {}) {
  const streams = new Set();
  const server = createServer((request, response) => {
    const url = new URL(request.url, "http://localhost");
    const send = (status, type, body, more = {}) => {
      response.writeHead(status, { "content-type": type, "content-security-policy": CSP, "cache-control": "no-store", "x-content-type-options": "nosniff", "referrer-policy": "same-origin", ...more });
      response.end(request.method === "HEAD" ? undefined : body);
    };
    const html = (page, status = 200) => send(status, "text/html; charset=utf-8", render(page));
    hooks.seen?.(request);
    if (request.method === "POST") {
      request.resume();
      return send(303, "text/plain", "", { location: request.headers.referer ?? "/recordings" });
    }
    const asset = /^\/assets\/([\w.-]+)$/.exec(url.pathname);
    if (asset) {
      try {
        return send(200, TYPES[asset[1].split(".").pop()] ?? "application/octet-stream", readFileSync(new URL(asset[1], dist)));
      } catch {
        return send(404, "text/plain", "no such asset");
      }
    }
    if (url.pathname.endsWith("/audio.wav")) return ranged(request, response, made.wav());
    if (url.pathname.endsWith("/peaks")) return send(200, "application/octet-stream", made.peaks());
    if (url.pathname.endsWith("/timeline.json")) return send(200, "application/json", JSON.stringify(made.timeline()));
    if (url.pathname.endsWith("/events")) {
      response.writeHead(200, { "content-type": "text/event-stream", "cache-control": "no-store" });
      response.write(": here\n\n");
      streams.add(response);
      response.on("close", () => streams.delete(response));
      hooks.events?.(response, request);
      return undefined;
    }
    if (url.pathname === "/session") return send(204, "text/plain", "");
    const all = pages();
    const page = all.find((p) => p.path === (url.pathname === "/" ? "/recordings" : url.pathname))
      ?? (/^\/recordings\/\w+$/.test(url.pathname) ? all.find((p) => p.name === "recording") : undefined);
    if (page) return html(page);
    const missing = all.find((p) => p.name === "error");
    return missing ? html(missing, 404) : send(404, "text/plain", "nothing here");
  });
  const sockets = new Set();
  server.on("upgrade", (request, socket) => {
    const key = createHash("sha1").update(`${request.headers["sec-websocket-key"]}258EAFA5-E914-47DA-95CA-C5AB0DC85B11`).digest("base64");
    socket.write(`HTTP/1.1 101 Switching Protocols\r\nupgrade: websocket\r\nconnection: Upgrade\r\nsec-websocket-accept: ${key}\r\n\r\n`);
    sockets.add(socket);
    socket.on("close", () => sockets.delete(socket));
    socket.on("error", () => {});
    socket.on("data", () => {});
    socket.setNoDelay(true);
    (hooks.listen ?? made.speak)({
      text: (value) => socket.write(frame(1, Buffer.from(JSON.stringify(value)))),
      binary: (bytes) => socket.write(frame(2, bytes)),
      close: () => socket.end(frame(8, Buffer.alloc(0))),
      destroy: () => socket.destroy(),
      get open() { return !socket.destroyed && socket.writable; },
    });
  });
  await new Promise((resolve) => server.listen(port, "127.0.0.1", resolve));
  return {
    origin: `http://127.0.0.1:${server.address().port}`,
    /** Sends an event to every open stream. */
    tell: (event, data, id) => {
      for (const stream of streams) stream.write(`${id ? `id: ${id}\n` : ""}event: ${event}\n${data.split("\n").map((l) => `data: ${l}`).join("\n")}\n\n`);
    },
    /** Ends every open stream, as a recorder that stops. */
    cut: () => { for (const stream of streams) stream.destroy(); },
    stop: () => {
      for (const socket of sockets) socket.destroy();
      server.closeAllConnections();
      server.close();
    },
  };
}

function frame(opcode, payload) {
  const short = payload.length < 126;
  const head = Buffer.alloc(short ? 2 : 4);
  head[0] = 0x80 | opcode;
  if (short) head[1] = payload.length;
  else {
    head[1] = 126;
    head.writeUInt16BE(payload.length, 2);
  }
  return Buffer.concat([head, payload]);
}

function ranged(request, response, bytes) {
  const range = /^bytes=(\d+)-(\d*)$/.exec(request.headers.range ?? "");
  const from = range ? Number(range[1]) : 0;
  const to = range?.[2] ? Math.min(Number(range[2]), bytes.length - 1) : bytes.length - 1;
  const head = { "content-type": "audio/wav", "accept-ranges": "bytes", "cache-control": "no-store", "content-length": to - from + 1 };
  if (range) head["content-range"] = `bytes ${from}-${to}/${bytes.length}`;
  response.writeHead(range ? 206 : 200, head);
  response.end(bytes.subarray(from, to + 1));
}
