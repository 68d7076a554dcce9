// @ts-check
// Is this page still hearing from the box? The stream says something at least every 1.5 s (a beat when nothing
// changed). Silence of 4 s, or an error, means lost: the banner says since when, and app.css takes every state's
// colour away. htmx's extension reconnects by itself; this file only ends a silent stream so that it can.
import { setServerNow } from "./ages.js";

const SILENCE_MAX_MS = 4000;
const body = document.body;
const url = body.getAttribute("hx-sse:connect");
const label = document.getElementById("link");
const banner = document.getElementById("banner");

/** @type {"connecting" | "live" | "lost"} */
let state = "connecting";
let heardAt = performance.now();
let nudgedAt = 0;
let leaving = false;
/** @type {any} htmx's own record of the stream */
let connection = null;

/** @param {"connecting" | "live" | "lost"} next */
function show(next) {
  state = next;
  if (!label || !banner) return;
  label.dataset.state = next;
  label.textContent = { connecting: "Connecting…", live: "Live", lost: "Not connected" }[next];
  body.classList.toggle("is-lost", next === "lost");
  banner.hidden = next !== "lost";
}

function lost() {
  if (state === "lost" || leaving) return;
  show("lost");
  const at = new Date(Date.now() - (performance.now() - heardAt)).toLocaleTimeString();
  const text = banner?.querySelector("p");
  if (text) text.textContent = `Connection to this box lost at ${at}. Everything below is what was last known; trying again…`;
}

/** @param {any} event */
function heard(event) {
  heardAt = performance.now();
  connection = event.detail.connection;
  if (state !== "live") show("live");
}

/** @param {any} event The server's time, with each hello and beat. */
function clock(event) {
  const hello = JSON.parse(event.detail.data);
  setServerNow(hello.now_ms);
  if (hello.version && hello.version !== body.dataset.version) location.reload();
}

/** @param {any} event */
function failed(event) {
  if (event.detail?.status === 401 || event.detail?.status === 403) location.reload(); // signed out meanwhile
  else lost();
}

function watch() {
  const silence = performance.now() - Math.max(heardAt, nudgedAt);
  if (silence < SILENCE_MAX_MS || leaving) return;
  nudgedAt = performance.now();
  lost();
  if (connection) connection.reader?.cancel(); // a silent stream; htmx then opens the next one
  else /** @type {any} */ (window).htmx.ajax("GET", url, { source: body, timeout: SILENCE_MAX_MS });
}

if (url) {
  show("connecting");
  body.addEventListener("htmx:sse:before:message", heard);
  body.addEventListener("htmx:sse:error", failed);
  body.addEventListener("htmx:sse:close", () => { connection = null; });
  body.addEventListener("hello", clock);
  body.addEventListener("beat", clock);
  addEventListener("pagehide", () => { leaving = true; });
  addEventListener("pageshow", (e) => { if (e.persisted) location.reload(); });
  setInterval(watch, 250);
}
