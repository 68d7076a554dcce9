// @ts-check
// What every page loads. Pages work without any of it; this makes them live and saves clicks.
import "./ages.js";
import "./link.js";
import "./chart.js";
import "./ticks.js";
import "./first_run.js";
import "./alarms.js";

document.addEventListener("click", async (event) => {
  const button = /** @type {Element} */ (event.target).closest("button[data-copy]");
  if (!(button instanceof HTMLElement)) return;
  const source = document.getElementById(button.dataset.copy ?? "");
  if (!source) return;
  try {
    await navigator.clipboard.writeText(source.textContent ?? "");
    button.textContent = "Copied";
  } catch {
    getSelection()?.selectAllChildren(source); // no clipboard without TLS: select it, Ctrl+C does the rest
    button.textContent = "Selected";
  }
  setTimeout(() => { button.textContent = "Copy"; }, 2000);
});

// A device had nothing to show when the page was made, and has now.
document.body.addEventListener("reload", () => location.reload());

for (const button of /** @type {NodeListOf<HTMLElement>} */ (document.querySelectorAll("button[data-copy], button[data-print]"))) button.hidden = false;
document.querySelector("button[data-print]")?.addEventListener("click", () => print());

document.addEventListener("change", (event) => {
  const form = /** @type {Element} */ (event.target).closest("form[data-submit-on-change]");
  if (form instanceof HTMLFormElement) form.requestSubmit();
});
