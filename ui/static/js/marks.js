// @ts-check
// Alarms on a chart: the span of each is tinted and has a bar on the time axis with its severity in letters, limits are dashed lines with
// their number; below the chart the same stands as a list, for those who don't see the picture. Colours are CSS variables, read at each drawing.

/** @typedef {{from_ms: number, to_ms: number | null, severity: string, text: string, url: string}} Mark */

const BAR_PX = 6, LABEL_PX = 11, SPAN_PX_MIN = 3, LISTED_COUNT_MAX = 8;
/** @param {string} name */
const css = (name) => getComputedStyle(document.documentElement).getPropertyValue(name).trim();
/** @param {string} severity */
const colour = (severity) => css(`--hp-${severity.toLowerCase()}`) || css("--hp-muted");

/** What a figure brings along as JSON in one of its attributes. @param {HTMLElement} figure @param {string} name @returns {any[]} */
export const brought = (figure, name) => JSON.parse(figure.dataset[name] ?? "[]");

/** A uPlot plugin. @param {() => Mark[]} marks @param {() => number[]} limits @param {() => number} nowMs */
export function marksPlugin(marks, limits, nowMs) {
  /** Where a mark is, in the canvas's pixels; null outside of what is drawn. @param {any} u @param {Mark} mark */
  const place = (u, { from_ms, to_ms }) => {
    const { left, width } = u.bbox, at = (/** @type {number} */ ms) => u.valToPos(ms / 1000, "x", true);
    const x0 = Math.max(left, at(from_ms)), x1 = Math.min(left + width, at(to_ms ?? nowMs()));
    return x1 < left || x0 > left + width ? null : { x: x0, width: Math.max(x1 - x0, SPAN_PX_MIN * devicePixelRatio) };
  };

  /** Behind the lines. @param {any} u */
  const tint = (u) => {
    for (const mark of marks()) {
      const at = place(u, mark);
      if (!at) continue;
      u.ctx.fillStyle = colour(mark.severity) + "1f";
      u.ctx.fillRect(at.x, u.bbox.top, at.width, u.bbox.height);
    }
  };

  /** Above them. @param {any} u */
  const draw = (u) => {
    const { ctx, bbox } = u, ratio = devicePixelRatio, bottom = bbox.top + bbox.height;
    let freeFrom = -Infinity;
    ctx.save();
    ctx.font = `600 ${LABEL_PX * ratio}px system-ui, sans-serif`; ctx.textBaseline = "bottom"; ctx.textAlign = "left";
    for (const mark of marks()) {
      const at = place(u, mark);
      if (!at) continue;
      ctx.fillStyle = colour(mark.severity);
      ctx.fillRect(at.x, bottom - BAR_PX * ratio, at.width, BAR_PX * ratio);
      const x = Math.min(at.x, bbox.left + bbox.width - ctx.measureText(mark.severity).width);
      if (x < freeFrom) continue;
      ctx.fillText(mark.severity, x, bottom - (BAR_PX + 2) * ratio);
      freeFrom = x + ctx.measureText(mark.severity).width + 4 * ratio;
    }
    ctx.strokeStyle = ctx.fillStyle = css("--hp-text"); ctx.lineWidth = 1.25 * ratio; ctx.setLineDash([6 * ratio, 4 * ratio]);
    for (const limit of limits()) {
      const y = u.valToPos(limit, "y", true);
      if (y < bbox.top || y > bottom) continue;
      ctx.beginPath(); ctx.moveTo(bbox.left, y); ctx.lineTo(bbox.left + bbox.width, y); ctx.stroke();
      ctx.fillText(`limit ${String(limit).replace("-", "−")}`, bbox.left + 4 * ratio, y - 2 * ratio);
    }
    ctx.restore();
  };

  return { hooks: { drawClear: [tint], draw: [draw] } };
}

/** The marks in words below a chart; the newest first. @param {HTMLElement} figure @param {Mark[]} marks */
export function listMarks(figure, marks) {
  let list = figure.querySelector("ul.marks");
  if (!list) {
    if (!marks.length) return;
    list = document.createElement("ul"); list.className = "marks small"; list.setAttribute("aria-label", "Alarms in this chart");
    figure.append(list);
  }
  const shown = marks.slice(-LISTED_COUNT_MAX).reverse(), items = shown.map(({ text, url }) => {
    const item = document.createElement("li"), link = document.createElement("a");
    link.href = url; link.textContent = text; item.append(link);
    return item;
  });
  if (marks.length > shown.length) { const more = document.createElement("li"); more.textContent = `and ${marks.length - shown.length} earlier`; items.push(more); }
  list.replaceChildren(...items);
}
