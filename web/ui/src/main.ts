//! The script of every page: htmx within its fence (README), and our elements, each in its file.

import htmx from "htmx.org";
import { h, icon } from "./dom.js";
import "./time.js";
import "./player.js";
import "./dock.js";
import "./listen.js";
import "./live.js";
import "./forms.js";
import "./session.js";

// Pages are of this server alone, scripts come with the first page only, and nothing is evaluated.
htmx.config.includeIndicatorCSS = false;
// What a script has set of an element's style is not carried over into what takes its place: the policy of our pages refuses it.
htmx.config.defaultSettleDelay = 0;

interface Swapping { ctx?: { text?: string; response?: { raw?: Response }; sourceElement?: Element } }

// Who was signed out meanwhile gets that page whole, with its own frame.
document.addEventListener("htmx:before:swap", (event) => {
  const { ctx } = (event as CustomEvent<Swapping>).detail ?? {};
  if (!ctx?.text || !/<body[^>]*class="outside"/.test(ctx.text)) return;
  event.preventDefault();
  // What a form was refused for is said beside the form, which keeps what was written into it.
  const form = ctx.sourceElement?.closest("form");
  const why = form?.method === "post" ? new DOMParser().parseFromString(ctx.text, "text/html").querySelector("[data-refused]") : null;
  if (!why) return location.assign(ctx.response?.raw?.url || location.href);
  document.querySelector("main .notice.refused")?.remove();
  const notice = h("div", { class: "notice bad refused", role: "alert" }, icon("warning"), h("div", {}, why.textContent ?? ""));
  form?.prepend(notice);
  notice.scrollIntoView({ block: "nearest" });
});

// A click that leads nowhere says so.
document.addEventListener("htmx:error", () => {
  const main = document.querySelector("main");
  if (!main || main.querySelector(".notice.offline")) return;
  const place = main.querySelector(".content") ?? main;
  place.prepend(h("div", { class: "notice bad offline", role: "alert" }, icon("warning"),
    h("div", {}, h("strong", {}, "The recorder does not answer."), " Nothing was changed. Try again in a moment.")));
});

/** After another page's content came: the menu shows where one is, and reading begins at the content. */
function arrived(): void {
  const first = `/${location.pathname.split("/")[1] ?? ""}`;
  for (const link of document.querySelectorAll<HTMLAnchorElement>(".bar nav a")) {
    const own = link.getAttribute("href") === first || (link.dataset["section"] ?? "").split(" ").includes(first) || (first === "/" && link.getAttribute("href") === "/recordings");
    if (own) link.setAttribute("aria-current", "page");
    else link.removeAttribute("aria-current");
  }
  for (const open of document.querySelectorAll<HTMLElement>(".bar [popover]:popover-open")) open.hidePopover();
}

document.addEventListener("htmx:after:history:push", () => {
  queueMicrotask(arrived);
  requestAnimationFrame(() => {
    document.querySelector<HTMLElement>("main")?.focus({ preventScroll: true });
    if (!location.hash) scrollTo(0, 0);
  });
});
document.addEventListener("htmx:after:swap", arrived);
