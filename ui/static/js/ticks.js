// @ts-check
// Ticked devices: how many there are stands in the buttons, and a row that arrives anew over the stream stays ticked.
// Without this file the same forms work; the next page says how many and which.

/** @type {Set<string>} ticked, as "form id" + value */
const ticked = new Set();

/** @param {HTMLInputElement} box */
const key = (box) => `${box.form?.id}\n${box.value}`;

/** @param {string} id @returns {HTMLInputElement[]} */
const boxes = (id) => /** @type {HTMLInputElement[]} */ ([...document.querySelectorAll('input[type="checkbox"][name="ids"]')]).filter((box) => box.form?.id === id);

function count() {
  for (const bar of /** @type {NodeListOf<HTMLElement>} */ (document.querySelectorAll("[data-count-for]"))) {
    const all = boxes(bar.dataset.countFor ?? "");
    const number = all.filter((box) => box.checked).length;
    for (const place of bar.querySelectorAll("[data-count]")) if (place.textContent !== ` (${number})`) place.textContent = ` (${number})`;
    for (const button of /** @type {NodeListOf<HTMLButtonElement>} */ (bar.querySelectorAll('button[name="op"]'))) button.disabled = number === 0;
    const tickAll = /** @type {HTMLElement | null} */ (bar.querySelector("[data-tick-all]"));
    if (tickAll) tickAll.hidden = all.length === 0 || number === all.length;
  }
}

function restore() {
  for (const box of /** @type {NodeListOf<HTMLInputElement>} */ (document.querySelectorAll('input[type="checkbox"][name="ids"]'))) box.checked = ticked.has(key(box));
  count();
}

document.addEventListener("change", (event) => {
  const box = event.target;
  if (!(box instanceof HTMLInputElement) || box.name !== "ids") return;
  if (box.checked) ticked.add(key(box)); else ticked.delete(key(box));
  count();
});

document.addEventListener("click", (event) => {
  const button = /** @type {Element} */ (event.target).closest("button[data-tick-all]");
  if (!(button instanceof HTMLElement)) return;
  for (const box of boxes(button.dataset.tickAll ?? "")) { box.checked = true; ticked.add(key(box)); }
  count();
});

if (document.querySelector("[data-count-for], #waiting")) {
  for (const box of /** @type {NodeListOf<HTMLInputElement>} */ (document.querySelectorAll('input[name="ids"]:checked'))) ticked.add(key(box)); // came back with Back
  new MutationObserver(restore).observe(document.getElementById("main") ?? document.body, { childList: true, subtree: true, attributes: true, attributeFilter: ["checked"] });
  restore();
}
