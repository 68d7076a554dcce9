// @ts-check
// Small helps while a box is set up or a password is chosen. Each form works without them.
import { serverNow } from "./ages.js";

/** How strong a password is, in words; the server refuses what is too short or too simple whatever is said here.
 * @param {string} text @param {number} lengthMin @returns {[words: string, tone: string]} */
export function strengthOf(text, lengthMin) {
  const length = [...text.normalize("NFKC")].length, different = new Set(text.toLowerCase()).size, words = text.trim().split(/[\s._-]+/).length;
  if (length < lengthMin) return [`${lengthMin - length} more characters are needed.`, "tone-warn"];
  if (different < 5) return ["Too simple: a few characters again and again.", "tone-bad"];
  if (different < 8 || /^(.{1,6})\1+$/.test(text) || /^\D*\d{0,4}$/.test(text) && words === 1 && length < 16) return ["Weak: one word or a pattern is soon guessed. Add words.", "tone-warn"];
  return length >= 20 || words >= 4 ? ["Strong.", "tone-good"] : ["Good. A longer one is better still.", "tone-good"];
}

for (const told of /** @type {NodeListOf<HTMLElement>} */ (document.querySelectorAll("[data-strength-of]"))) {
  const input = /** @type {HTMLInputElement} */ (document.getElementById(told.dataset.strengthOf ?? ""));
  input.addEventListener("input", () => {
    const [words, tone] = strengthOf(input.value, input.minLength);
    Object.assign(told, { hidden: !input.value, textContent: words, className: `small strength ${tone}` });
  });
}

for (const select of /** @type {NodeListOf<HTMLSelectElement>} */ (document.querySelectorAll("select[data-guess-time-zone]"))) {
  const guess = Intl.DateTimeFormat().resolvedOptions().timeZone, said = select.form?.querySelector(".guessed");
  if (guess === select.value || ![...select.options].some((option) => option.value === guess)) continue;
  select.value = guess;
  said?.removeAttribute("hidden");
}

const boxClock = document.querySelector("[data-box-clock]"), compared = /** @type {HTMLElement | null} */ (document.querySelector("[data-clock-compare]"));
if (boxClock && compared) {
  const ahead = serverNow() - Date.now(), s = Math.round(Math.abs(ahead) / 1000), agrees = Math.abs(ahead) <= Number(compared.dataset.toleranceMs);
  const apart = s < 120 ? `${s} seconds` : s < 7200 ? `${Math.round(s / 60)} minutes` : s < 172800 ? `${Math.round(s / 3600)} hours` : `${Math.round(s / 86400)} days`;
  compared.textContent = agrees ? "The clock of the device in your hand agrees." : `The clock of the device in your hand says something else: the box is ${apart} ${ahead > 0 ? "ahead" : "behind"}. If yours is right, set the box's clock before you connect devices.`;
  compared.classList.add(agrees ? "tone-good" : "tone-bad");
  setInterval(() => { boxClock.textContent = new Date(serverNow()).toISOString().slice(0, 19).replace("T", " ") + " UTC"; }, 1000);
}
