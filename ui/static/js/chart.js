// @ts-check
// One chart per metric, a line per device: through the means, in a band from the smallest to the largest value of each bucket. Lines
// differ in colour and dash. History comes from the page's own endpoint; what arrives live goes into the last bucket, or opens the next.
// Gaps come as nulls and stay gaps. Colours are CSS variables, read again when the scheme changes. Dragging opens that part of a chart.
import { serverNow } from "./ages.js";
import { brought, listMarks, marksPlugin } from "./marks.js";

/** @typedef {{label: string, at_ms: number[], mean: (number|null)[], min: (number|null)[], max: (number|null)[]}} Series */
/** @typedef {{interval_ms: number | null, range_ms: number, end_ms: number | null, gap_ms: number, note: string, series: Series[], marks?: import("./marks.js").Mark[]}} History */

const RELOAD_MS = 300_000, HEIGHT = 190, ZOOM_PIXELS_MIN = 8, DAY_MS = 86_400_000;
const DASHES = [[], [9, 4], [2, 3], [12, 3, 2, 3], [5, 3], [1, 5], [16, 5], [9, 3, 2, 3, 2, 3]]; // as in app.css
const uPlot = /** @type {any} */ (window).uPlot;
/** @param {string} name */
const css = (name) => getComputedStyle(document.documentElement).getPropertyValue(name).trim();
/** @param {number} v */
const number = (v) => v.toLocaleString("en", { maximumSignificantDigits: 5 }).replaceAll(",", "\u202f").replace("-", "−");
const two = (/** @type {number} */ n) => String(n).padStart(2, "0");
/** @param {number} s @param {boolean} [dated] */
const clockText = (s, dated) => { const d = new Date(s * 1000); return `${dated ? `${two(d.getMonth() + 1)}-${two(d.getDate())} ` : ""}${two(d.getHours())}:${two(d.getMinutes())}:${two(d.getSeconds())}`; };
/** @param {number} ms */
const stepText = (ms) => { const [size, unit] = /** @type {[number, string][]} */ ([[DAY_MS, "d"], [3_600_000, "h"], [60_000, "min"], [1000, "s"], [1, "ms"]]).find(([size]) => ms >= size) ?? [1, "ms"]; return `${number(ms / size)} ${unit}`; };

class Chart {
  /** @param {HTMLElement} figure */
  constructor(figure) {
    this.figure = figure; this.unit = figure.dataset.unit ?? ""; this.metric = figure.dataset.metric ?? "";
    this.box = /** @type {HTMLElement} */ (figure.querySelector(".plot"));
    this.readout = /** @type {HTMLElement} */ (figure.querySelector(".readout"));
    this.history = /** @type {History | null} */ (null);
    this.plot = /** @type {any} */ (null);
    this.last = { sum: 0, count: 0 }; this.again = 0;
    this.brought = { marks: brought(figure, "marks"), limits: /** @type {number[]} */ (brought(figure, "limits")) };
  }

  /** Alarms to draw: those that came with the page (that would have been), else those that come with the history. */
  marks() { return this.figure.dataset.marks ? this.brought.marks : (this.history?.marks ?? []); }

  async load() {
    const answer = await fetch(/** @type {string} */ (this.figure.dataset.src), { credentials: "same-origin" }).catch(() => null);
    if (!answer?.ok) { this.readout.textContent = "The history can't be read right now; trying again."; clearTimeout(this.again); this.again = setTimeout(() => this.load(), 5000); return; }
    this.history = /** @type {History} */ (await answer.json());
    this.last = { sum: this.history.series[0]?.mean.at(-1) ?? 0, count: 1 };
    this.draw();
  }

  data() { return uPlot.join(/** @type {History} */ (this.history).series.map(({ at_ms, mean, min, max }) => [at_ms.map((t) => t / 1000), max, min, mean])); }

  draw() {
    listMarks(this.figure, this.marks());
    if (!this.history?.series.length) { if (this.history) this.summary(); return; }
    if (this.plot) this.plot.setData(this.data(), false); else this.plot = new uPlot(this.options(), this.data(), this.box);
    const { end_ms, range_ms } = this.history, end = (end_ms ?? serverNow()) / 1000;
    this.plot.setScale("x", { min: end - range_ms / 1000, max: end });
    this.summary();
  }

  options() {
    const axis = { stroke: () => css("--hp-muted"), grid: { stroke: () => css("--hp-grid"), width: 1 }, ticks: { stroke: () => css("--hp-grid"), width: 1 }, font: "12px system-ui, sans-serif" };
    const hours = (/** @type {any} */ _u, /** @type {number[]} */ splits, /** @type {number} */ _i, /** @type {number} */ _s, /** @type {number} */ step) => splits.map((s) => (step >= 86400 ? clockText(s, true).slice(0, 5) : step < 60 ? clockText(s) : clockText(s).slice(0, 5)));
    const { series } = /** @type {History} */ (this.history);
    const lines = series.flatMap((_, i) => {
      const edge = { stroke: () => css(`--hp-s${i}`) + "26", width: 1, points: { show: false } };
      return [edge, edge, { stroke: () => css(`--hp-s${i}`), width: 1.75, dash: DASHES[i], points: { size: 4, fill: () => css(`--hp-s${i}`) } }];
    });
    return {
      width: this.box.clientWidth, height: HEIGHT, legend: { show: false }, padding: [10, 12, 0, 0],
      cursor: { y: false, points: { size: 7 }, drag: { x: Boolean(this.figure.dataset.zoom), y: false, setScale: false } },
      scales: { x: { time: true }, y: { range: (/** @type {any} */ _u, /** @type {number} */ lo, /** @type {number} */ hi) => this.range(lo, hi) } },
      axes: [{ ...axis, values: hours, space: 70, size: 32 }, { ...axis, size: 58, values: (/** @type {any} */ _u, /** @type {number[]} */ v) => v.map(number) }],
      series: [{}, ...lines], bands: series.map((_, i) => ({ series: [1 + 3 * i, 2 + 3 * i], fill: () => css(`--hp-s${i}`) + "26" })),
      plugins: [marksPlugin(() => this.marks(), () => this.brought.limits, serverNow)],
      hooks: { setCursor: [(/** @type {any} */ u) => this.point(u.cursor.idx)], setSelect: [(/** @type {any} */ u) => this.zoom(u)] },
    };
  }

  /** @param {any} u */
  zoom(u) {
    if (u.select.width < ZOOM_PIXELS_MIN) return;
    const url = new URL(/** @type {string} */ (this.figure.dataset.zoom), location.href), { left, width } = u.select;
    for (const [name, x] of [["from", left], ["to", left + width]]) url.searchParams.set(name, new Date(Math.round(u.posToVal(x, "x") * 1000)).toISOString());
    location.assign(url);
  }

  /** @param {number | null} lo @param {number | null} hi */
  range(lo, hi) {
    if (lo == null || hi == null) return [0, 1];
    lo = Math.min(lo, ...this.brought.limits); hi = Math.max(hi, ...this.brought.limits);
    const pad = hi > lo ? (hi - lo) * 0.08 : Math.max(Math.abs(hi) * 0.05, 0.5);
    return [lo - pad, hi + pad];
  }

  /** @param {number | null} index */
  point(index) {
    const [at, ...columns] = /** @type {any[]} */ (this.plot?.data ?? []), { series, range_ms } = /** @type {History} */ (this.history);
    const parts = index == null ? [] : series.flatMap(({ label }, i) => {
      const [max, min, mean] = [0, 1, 2].map((n) => columns[3 * i + n][index]);
      return mean == null ? [] : [`${label ? `${label} ` : ""}${number(mean)} ${this.unit}${min == null ? "" : ` (${number(min)} to ${number(max)})`}`];
    });
    if (parts.length) this.readout.textContent = [clockText(at[/** @type {number} */ (index)], range_ms > DAY_MS), ...parts].join(" · "); else this.summary();
  }

  summary() {
    const { series, interval_ms, note } = /** @type {History} */ (this.history);
    const all = series.flatMap(({ mean, min, max }) => [...mean, ...min, ...max]).filter((v) => v != null), newest = series.length === 1 ? series[0].mean.findLast((v) => v != null) : null;
    const least = (/** @type {number} */ sign) => number(sign * all.reduce((a, b) => Math.min(a, sign * /** @type {number} */ (b)), Infinity));
    const parts = all.length ? [`lowest ${least(1)}`, `highest ${least(-1)}${newest == null ? ` ${this.unit}` : ""}`, ...(newest == null ? [] : [`newest ${number(newest)} ${this.unit}`]), ...(interval_ms ? [`one point per ${stepText(interval_ms)}`] : [])] : ["No readings in this range."];
    this.readout.textContent = [...parts, ...(note ? [note] : [])].join(" · ");
    this.box.setAttribute("aria-label", `${this.metric}: ${this.readout.textContent}`);
  }

  /** @param {{metric: string, at_ms: number, value: number}} sample */
  add(sample) {
    if (!this.history?.interval_ms || this.history.series.length !== 1) return;
    const { interval_ms, range_ms, gap_ms } = this.history, s = this.history.series[0];
    const at = Math.floor(sample.at_ms / interval_ms) * interval_ms, i = s.at_ms.length - 1;
    if (i >= 0 && at < s.at_ms[i]) return; // an older reading: the next reload puts it in its place
    if (i >= 0 && at === s.at_ms[i] && s.mean[i] != null) {
      this.last = { sum: this.last.sum + sample.value, count: this.last.count + 1 };
      s.mean[i] = this.last.sum / this.last.count;
      s.min[i] = Math.min(s.min[i] ?? sample.value, sample.value);
      s.max[i] = Math.max(s.max[i] ?? sample.value, sample.value);
    } else {
      if (i >= 0 && at - s.at_ms[i] > gap_ms) { s.at_ms.push(s.at_ms[i] + interval_ms); for (const list of [s.mean, s.min, s.max]) list.push(null); }
      s.at_ms.push(at);
      for (const list of [s.mean, s.min, s.max]) list.push(sample.value);
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
  setInterval(reload, Number(charts[0].figure.dataset.reloadMs ?? RELOAD_MS));
  reload();
}
