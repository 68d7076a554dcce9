// @ts-check
// Alarms by keyboard: j and k move from alarm to alarm, a acknowledges the one with the focus and goes on to the next that needs it. The same
// buttons work without this file. Keys can be switched off, for those who speak to their browser; the choice stays in this browser.

const STORED = "homeport.alarm-keys";
const place = document.getElementById("alarms");
const status = document.getElementById("alarm-status");
const help = document.getElementById("alarm-keys");
let isOn = read() !== "off", lastId = "";

function read() { try { return localStorage.getItem(STORED); } catch { return null; } } // a browser may refuse to keep anything
/** @param {string} value */
function keep(value) { try { localStorage.setItem(STORED, value); } catch { /* then it holds until the page is left */ } }
/** @param {string} text */
const say = (text) => { if (status) status.textContent = text; };
/** @returns {HTMLElement[]} those that are not folded away */
const rows = () => /** @type {HTMLElement[]} */ ([...(place?.querySelectorAll("[data-alarm]") ?? [])]).filter((row) => row.offsetParent !== null);
/** @param {Element | null | undefined} row */
const link = (row) => /** @type {HTMLElement | null | undefined} */ (row?.querySelector("[data-alarm-link]"));
/** @param {Element | null | undefined} row */
const acknowledging = (row) => /** @type {HTMLFormElement | null | undefined} */ (row?.querySelector("form[data-acknowledge]"));
const current = () => document.activeElement?.closest("[data-alarm]") ?? (place?.dataset.only ? rows()[0] : null);

/** @param {number} step */
function move(step) {
  const all = rows(), at = all.findIndex((row) => row === current());
  const next = at < 0 ? all[step > 0 ? 0 : all.length - 1] : all[Math.min(Math.max(at + step, 0), all.length - 1)];
  if (next) link(next)?.focus(); else say("There is no alarm here.");
}

async function acknowledge() {
  const row = current(), form = acknowledging(row);
  if (!row) { say("Move to an alarm with j or k first, then press a."); return; }
  if (!form) { say("This one needs no acknowledging."); return; }
  const name = link(row)?.textContent?.trim() ?? "";
  const body = new URLSearchParams();
  for (const [key, value] of new FormData(form)) body.append(key, String(value));
  const answer = await fetch(form.action, { method: "POST", body, credentials: "same-origin", redirect: "manual" }).catch(() => null);
  if (answer?.type !== "opaqueredirect") { say(answer ? "That did not work. Load the page again to see why." : "The box can't be reached; nothing was acknowledged."); return; }
  say(`Acknowledged: ${name}`);
  if (place?.dataset.only) { location.reload(); return; }
  const all = rows(), after = all.slice(all.indexOf(/** @type {HTMLElement} */ (row)) + 1).find(acknowledging);
  (link(after) ?? link(row))?.focus();
}

function show() {
  for (const each of help?.querySelectorAll("[data-keys]") ?? []) /** @type {HTMLElement} */ (each).hidden = (/** @type {HTMLElement} */ (each).dataset.keys === "on") !== isOn;
}

if (place && help) {
  help.hidden = false;
  show();
  help.addEventListener("click", (event) => {
    if (!(/** @type {Element} */ (event.target).closest("button"))) return;
    isOn = !isOn; keep(isOn ? "on" : "off"); show();
  });
  document.addEventListener("keydown", (event) => {
    const target = /** @type {HTMLElement} */ (event.target);
    if (!isOn || event.ctrlKey || event.metaKey || event.altKey || event.repeat && event.key === "a" || target.closest("input:not([type=checkbox]), textarea, select")) return;
    if (event.key === "j") move(1); else if (event.key === "k") move(-1); else if (event.key === "a") acknowledge(); else return;
    event.preventDefault();
  });
  // A row that arrives anew over the stream, or in another place, keeps the focus.
  place.addEventListener("focusin", (event) => { lastId = /** @type {Element} */ (event.target).closest("[data-alarm]")?.id ?? ""; });
  document.addEventListener("pointerdown", () => { lastId = ""; });
  new MutationObserver(() => { if (lastId && document.activeElement === document.body) link(document.getElementById(lastId))?.focus(); }).observe(place, { childList: true, subtree: true });
}
