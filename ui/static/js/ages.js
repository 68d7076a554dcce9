// @ts-check
// Ages and freshness tick here between two renderings, against the server's clock: a laptop whose clock is wrong,
// or is set while the page is open, changes nothing. The rules are those of ui/pages/format.py and
// appliance/management/freshness.py; a browser test compares them.

/** The server's wall time minus this page's monotonic time, ms. */
let baseMs = Number(document.body.dataset.nowMs) - performance.now();

/** @param {number} nowMs The server's wall time, just heard. */
export const setServerNow = (nowMs) => { baseMs = nowMs - performance.now(); };
export const serverNow = () => baseMs + performance.now();

/** @param {number} ageMs */
export function ageText(ageMs) {
  const s = Math.floor(ageMs / 1000);
  if (s < -2) return "ahead of our clock";
  if (s < 2) return "just now";
  if (s < 60) return `${s} s ago`;
  if (s < 3600) return `${Math.floor(s / 60)} min ago`;
  if (s < 2 * 86400) return `${Math.floor(s / 3600)} h ago`;
  return `${Math.floor(s / 86400)} days ago`;
}

/** @param {number} ageMs @param {number} staleAfterMs */
export function freshnessOf(ageMs, staleAfterMs) {
  if (ageMs * 3 <= staleAfterMs) return "fresh";
  return ageMs <= staleAfterMs ? "late" : "stale";
}

/** @type {Record<string, [tone: string, icon: string]>} */
const LOOK = { fresh: ["tone-good", "#i-fresh"], late: ["tone-warn", "#i-late"], stale: ["tone-bad", "#i-stale"] };

const LOCAL_TIME = new Intl.DateTimeFormat(undefined, { dateStyle: "medium", timeStyle: "long" });

export function tick() {
  const now = serverNow();
  for (const time of /** @type {NodeListOf<HTMLElement>} */ (document.querySelectorAll("time[data-at]"))) {
    const text = ageText(now - Number(time.dataset.at));
    if (time.textContent !== text) time.textContent = text;
  }
  for (const pill of /** @type {NodeListOf<HTMLElement>} */ (document.querySelectorAll("[data-fresh-at]"))) {
    const word = freshnessOf(now - Number(pill.dataset.freshAt), Number(pill.dataset.staleAfterMs));
    const label = /** @type {HTMLElement} */ (pill.querySelector(".word"));
    if (label.textContent === word) continue;
    const [tone, icon] = LOOK[word];
    label.textContent = word;
    pill.querySelector("use")?.setAttribute("href", icon);
    pill.classList.remove("tone-good", "tone-warn", "tone-bad");
    pill.classList.add(tone);
  }
}

/** The exact time in UTC is in the title already; a pointer or the keyboard adds this browser's local time. @param {Event} e */
function addLocalTime(e) {
  const time = /** @type {Element} */ (e.target).closest?.("time[data-at]");
  if (!(time instanceof HTMLElement) || time.title.includes("\n")) return;
  time.title += "\n" + LOCAL_TIME.format(Number(time.dataset.at)) + " (local)";
}

document.addEventListener("pointerover", addLocalTime);
document.addEventListener("focusin", addLocalTime);
setInterval(tick, 1000);
