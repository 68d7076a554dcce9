// @ts-check
// One chart per metric: a band from the smallest to the largest value of each bucket, and a line through the means.
// History comes from the page's own endpoint; what arrives live goes into the last bucket, or opens the next one.
// Gaps come from the server as nulls and stay gaps. Colours are CSS variables, read again when the scheme changes.
import { serverNow } from "./ages.js";

/** @typedef {{metric: string, unit: string, at_ms: number[], mean: (number|null)[], min: (number|null)[], max: (number|null)[]}} Series */
/** @typedef {{interval_ms: number, range_ms: number, gap_ms: number, series: Series}} History */
/** @typedef {{metric: string, at_ms: number, value: number}} Sample */

const RELOAD_MS = 300_000;
const HEIGHT = 190;
const uPlot = /** @type {any} */ (window).uPlot;
/** @param {string} name */
const css = (name) => getComputedStyle(document.documentElement).getPropertyValue(name).trim();
/** @param {number} v */
const number = (v) => v.toLocaleString("en", { maximumSignificantDigits: 5 }).replaceAll(",", "\u202f").replace("-", "−");
const two = (/** @type {number} */ n) => String(n).padStart(2, "0");
/** @param {number} s */
const clockText = (s) => { const d = new Date(s * 1000); return `${two(d.getHours())}:${two(d.getMinutes())}:${two(d.getSeconds())}`; };

class Chart {
  /** @param {HTMLElement} figure */
  constructor(figure) {
    this.figure = figure;
    this.box = /** @type {HTMLElement} */ (figure.querySelector(".plot"));
    this.readout = /** @type {HTMLElement} */ (figure.querySelector(".readout"));
    this.unit = figure.dataset.unit ?? "";
    this.metric = figure.dataset.metric ?? "";
    /** @type {History | null} */
    this.history = null;
    /** @type {any} */
    this.plot = null;
    this.last = { sum: 0, count: 0 };
  }

  async load() {
    const answer = await fetch(/** @type {string} */ (this.figure.dataset.src), { credentials: "same-origin" }).catch(() => null);
    if (!answer?.ok) { this.readout.textContent = "The history can't be read right now; trying again."; setTimeout(() => this.load(), 5000); return; }
    this.history = /** @type {History} */ (await answer.json());
    this.last = { sum: this.history.series.mean.at(-1) ?? 0, count: 1 };
    this.draw();
  }

  data() {
    const { at_ms, mean, min, max } = /** @type {History} */ (this.history).series;
    return [at_ms.map((t) => t / 1000), max, min, mean];
  }

  draw() {
    if (!this.history) return;
    if (this.plot) { this.plot.setData(this.data(), false); this.rescale(); }
    else { this.plot = new uPlot(this.options(), this.data(), this.box); this.rescale(); }
    this.summary();
  }

  rescale() {
    const end = serverNow() / 1000;
    this.plot.setScale("x", { min: end - /** @type {History} */ (this.history).range_ms / 1000, max: end });
  }

  options() {
    const axis = { stroke: () => css("--hp-muted"), grid: { stroke: () => css("--hp-grid"), width: 1 }, ticks: { stroke: () => css("--hp-grid"), width: 1 }, font: "12px system-ui, sans-serif" };
    const hours = (/** @type {any} */ _u, /** @type {number[]} */ splits, /** @type {number} */ _i, /** @type {number} */ _s, /** @type {number} */ step) => splits.map((s) => {
      const d = new Date(s * 1000);
      if (step >= 86400) return `${two(d.getMonth() + 1)}-${two(d.getDate())}`;
      return step < 60 ? clockText(s) : `${two(d.getHours())}:${two(d.getMinutes())}`;
    });
    const line = { stroke: () => css("--hp-accent"), width: 1.75, points: { size: 4, fill: () => css("--hp-accent") } };
    const edge = { stroke: () => css("--hp-band"), width: 1, points: { show: false } };
    return {
      width: this.box.clientWidth, height: HEIGHT, legend: { show: false }, padding: [10, 12, 0, 0],
      cursor: { y: false, points: { size: 7 } },
      scales: { x: { time: true }, y: { range: (/** @type {any} */ _u, /** @type {number} */ lo, /** @type {number} */ hi) => this.range(lo, hi) } },
      axes: [{ ...axis, values: hours, space: 70, size: 32 }, { ...axis, size: 58, values: (/** @type {any} */ _u, /** @type {number[]} */ v) => v.map(number) }],
      series: [{}, { ...edge, label: "max" }, { ...edge, label: "min" }, { ...line, label: "mean" }],
      bands: [{ series: [1, 2], fill: () => css("--hp-band") }],
      hooks: { setCursor: [(/** @type {any} */ u) => this.point(u.cursor.idx)] },
    };
  }

  /** @param {number | null} lo @param {number | null} hi */
  range(lo, hi) {
    if (lo == null || hi == null) return [0, 1];
    const pad = hi > lo ? (hi - lo) * 0.08 : Math.max(Math.abs(hi) * 0.05, 0.5);
    return [lo - pad, hi + pad];
  }

  /** @param {number | null} index */
  point(index) {
    const [at, max, min, mean] = /** @type {any[]} */ (this.plot?.data ?? []);
    if (index == null || mean?.[index] == null) { this.summary(); return; }
    this.readout.textContent = `${clockText(at[index])} · mean ${number(mean[index])} ${this.unit} · min ${number(min[index])} · max ${number(max[index])}`;
  }

  summary() {
    const { series, interval_ms } = /** @type {History} */ (this.history);
    const lows = series.min.filter((v) => v != null), highs = series.max.filter((v) => v != null);
    if (!highs.length) { this.readout.textContent = "No readings in this range."; this.box.setAttribute("aria-label", `${this.metric}: no readings in this range`); return; }
    const low = lows.reduce((a, b) => Math.min(/** @type {number} */ (a), /** @type {number} */ (b))), high = highs.reduce((a, b) => Math.max(/** @type {number} */ (a), /** @type {number} */ (b)));
    const newest = series.mean.findLast((v) => v != null);
    const step = interval_ms >= 60_000 ? `${interval_ms / 60_000} min` : `${interval_ms / 1000} s`;
    const text = `lowest ${number(/** @type {number} */ (low))} · highest ${number(/** @type {number} */ (high))} · newest ${number(/** @type {number} */ (newest))} ${this.unit} · one point per ${step}`;
    this.readout.textContent = text;
    this.box.setAttribute("aria-label", `${this.metric}: ${text}`);
  }

  /** @param {Sample} sample */
  add(sample) {
    if (!this.history) return;
    const { series: s, interval_ms, range_ms, gap_ms } = this.history;
    const at = Math.floor(sample.at_ms / interval_ms) * interval_ms, i = s.at_ms.length - 1;
    if (i >= 0 && at < s.at_ms[i]) return; // an older reading: the next reload puts it in its place
    if (i >= 0 && at === s.at_ms[i] && s.mean[i] != null) {
      this.last = { sum: this.last.sum + sample.value, count: this.last.count + 1 };
      s.mean[i] = this.last.sum / this.last.count;
      s.min[i] = Math.min(s.min[i] ?? sample.value, sample.value);
      s.max[i] = Math.max(s.max[i] ?? sample.value, sample.value);
    } else {
      if (i >= 0 && at - s.at_ms[i] > gap_ms) { s.at_ms.push(s.at_ms[i] + interval_ms); s.mean.push(null); s.min.push(null); s.max.push(null); }
      s.at_ms.push(at); s.mean.push(sample.value); s.min.push(sample.value); s.max.push(sample.value);
      this.last = { sum: sample.value, count: 1 };
    }
    while (s.at_ms.length && s.at_ms[0] < serverNow() - range_ms - interval_ms) for (const list of [s.at_ms, s.mean, s.min, s.max]) list.shift();
    this.draw();
  }
}

const charts = [.../** @type {NodeListOf<HTMLElement>} */ (document.querySelectorAll("figure.chart[data-src]"))].map((f) => new Chart(f));
const reload = () => { for (const chart of charts) chart.load(); };
if (charts.length) {
  let greeted = false;
  document.body.addEventListener("hello", () => { if (greeted) reload(); greeted = true; }); // back after a gap: fill it
  document.body.addEventListener("sample", (e) => {
    for (const sample of JSON.parse(/** @type {any} */ (e).detail.data)) for (const chart of charts) if (chart.metric === sample.metric) chart.add(sample);
  });
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => { for (const c of charts) c.plot?.redraw(false); });
  new ResizeObserver(() => { for (const c of charts) if (c.plot && c.box.clientWidth !== c.plot.width) c.plot.setSize({ width: c.box.clientWidth, height: HEIGHT }); }).observe(charts[0].box);
  setInterval(reload, RELOAD_MS);
  reload();
}
