// @ts-check
// An image goes up in pieces, with progress, and goes on after a cut: the same file under the same name later, too. The form works without it.

const PIECE_BYTES = 8 * 1024 * 1024, PATIENCE_MS = 120_000, PAUSE_MS = 1500, API = "/api/v1/artifact-uploads";

/** @param {number} ms */
const pause = (ms) => new Promise((done) => setTimeout(done, ms));

/** What the box says is wrong; `code` is stable. */
class Refused extends Error {
  /** @param {{detail?: string, hint?: string, code?: string}} problem @param {number} status @param {number} waitMs */
  constructor(problem, status, waitMs) {
    super(`${problem.detail ?? "That did not work."} ${problem.hint ?? ""}`.trim());
    this.code = problem.code ?? ""; this.status = status; this.waitMs = waitMs;
  }
}

class Upload {
  /** @param {HTMLFormElement} form */
  constructor(form) {
    this.form = form;
    this.box = /** @type {HTMLElement} */ (form.querySelector("[data-upload-progress]"));
    this.bar = /** @type {HTMLProgressElement} */ (form.querySelector("progress"));
    this.words = /** @type {HTMLElement} */ (form.querySelector("[data-upload-words]"));
    this.problem = /** @type {HTMLElement} */ (document.getElementById("upload-problem"));
    this.token = /** @type {HTMLInputElement} */ (form.elements.namedItem("csrf_token")).value;
  }

  /** @param {string} path @param {RequestInit & {headers?: Record<string, string>}} [init] */
  async ask(path, init = {}) {
    const answer = await fetch(`${API}${path}`, { credentials: "same-origin", ...init, headers: { "X-CSRF-Token": this.token, ...init.headers } });
    const text = await answer.text(), body = text ? JSON.parse(text) : {};
    if (!answer.ok) throw new Refused(body, answer.status, 1000 * Number(answer.headers.get("retry-after") ?? 0));
    return body;
  }

  /** @param {File} file */
  wish(file) {
    const data = new FormData(this.form), text = (/** @type {string} */ name) => String(data.get(name) ?? "").trim(), hw = text("hw").split(",").map((each) => each.trim()).filter(Boolean);
    /** @type {Record<string, any>} */
    const wish = { name: text("name"), size_bytes: file.size, filename: file.name, note: text("note"), is_rollback_image: data.get("is_rollback_image") === "1" };
    for (const name of ["version", "min_version", "max_version"]) if (text(name)) wish[name] = text(name);
    if (text("format") !== "auto") wish.format = text("format");
    if (hw.length) wish.hw = hw;
    if (text("epoch")) wish.epoch = Number(text("epoch"));
    return wish;
  }

  /** The upload that was begun for this file, or a new one. @param {Record<string, any>} wish @returns {Promise<string>} */
  async begin(wish) {
    const { uploads } = await this.ask("");
    const same = uploads.find((/** @type {any} */ each) => each.name === wish.name && each.version === (wish.version ?? "") && each.filename === wish.filename && each.size_bytes === wish.size_bytes);
    if (same) return same.upload_id;
    return (await this.ask("", { method: "POST", headers: { "Content-Type": "application/json" }, body: JSON.stringify(wish) })).upload_id;
  }

  /** @param {File} file @param {string} id */
  async send(file, id) {
    let offset = -1, goodAt = performance.now();
    while (offset < file.size) {
      try {
        if (offset < 0) offset = (await this.ask(`/${id}`)).offset;
        this.show(offset, file.size);
        if (offset >= file.size) break;
        const sent = await this.ask(`/${id}?offset=${offset}`, { method: "PATCH", headers: { "Content-Type": "application/octet-stream" }, body: file.slice(offset, offset + PIECE_BYTES) });
        offset = sent.offset; goodAt = performance.now();
      } catch (error) {
        // A cut, a box that starts anew, or too many requests: ask how far it is, and go on.
        const passes = !(error instanceof Refused) || error.code === "upload_offset" || error.status === 429 || error.status === 503;
        if (!passes || performance.now() - goodAt > PATIENCE_MS) throw error;
        this.words.textContent = "The connection is gone; going on as soon as it is back …";
        await pause(Math.max(PAUSE_MS, error instanceof Refused ? error.waitMs : 0));
        offset = -1;
      }
    }
  }

  /** @param {number} done @param {number} total */
  show(done, total) {
    const percent = Math.floor((100 * done) / total);
    this.bar.value = percent;
    this.words.textContent = done >= total ? "Looking at the image …" : `${percent} % of ${(total / 1048576).toFixed(1)} MiB`;
  }

  async run() {
    const file = /** @type {HTMLInputElement} */ (this.form.elements.namedItem("file")).files?.[0];
    if (!file) return;
    const button = /** @type {HTMLButtonElement} */ (this.form.querySelector("button"));
    button.disabled = true; this.box.hidden = false; this.problem.replaceChildren(); this.show(0, file.size || 1);
    let id = "";
    try {
      id = await this.begin(this.wish(file));
      await this.send(file, id);
      const made = await this.ask(`/${id}/finish`, { method: "POST" });
      location.assign(`/firmware/artifacts/${made.artifact_id}?done=added`);
    } catch (error) {
      this.tell(error instanceof Refused ? error.message : "The box can't be reached. Press Upload again: what has arrived is kept.");
      // What was refused as a whole is of no use; what was cut is gone on with.
      if (id && error instanceof Refused && error.status === 422) await this.ask(`/${id}`, { method: "DELETE" }).catch(() => null);
      button.disabled = false; this.box.hidden = true;
    }
  }

  /** @param {string} text */
  tell(text) {
    const list = document.createElement("ul"), item = document.createElement("li");
    list.className = "notes"; item.className = "note tone-bad"; item.textContent = text;
    list.append(item); this.problem.replaceChildren(list); this.problem.scrollIntoView({ block: "nearest" });
  }
}

for (const form of /** @type {NodeListOf<HTMLFormElement>} */ (document.querySelectorAll("form[data-upload]"))) {
  form.addEventListener("submit", (event) => { event.preventDefault(); new Upload(form).run(); });
}
