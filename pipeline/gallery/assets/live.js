
// ---- live: live progress, and photos on their way into the inbox -------------------------
// Only in the page that `pipeline serve` sends: a page opened from a file has no server to ask.

const ASK_SECONDS = 1, PATIENCE = 3, STAY_SECONDS = 10;

const live = { lanes: new Map(), unanswered: 0, taking: null, waiting: [], busy: false };

async function askNow() {
  try {
    const answer = await fetch("./live", { cache: "no-store" });
    if (answer.ok) showNow(await answer.json());
    else say((await answer.text()).trim());
  } catch {
    say("The server does not answer.");
  }
}

async function keepAsking() {
  if (!document.hidden) await askNow();
  setTimeout(keepAsking, ASK_SECONDS * 1000);
}

function say(text) {
  if (part("live-message").textContent !== text) part("live-message").textContent = text;
}

function showNow({ now, upload, tune, bytes, suffixes }) {
  live.taking = upload && { bytes, suffixes };
  allowTuning(tune);
  part("add-field").hidden = !upload;
  part("add").accept = suffixes.join(",");
  live.unanswered = now ? 0 : live.unanswered + 1;
  if (now) say(nowInWords(now));
  else if (live.unanswered >= PATIENCE) say("Neither `pipeline run` nor `watch` is running. Photos wait in the inbox until you start `pipeline watch`.");
  showLanes(now ? now.lanes : []);
  holdPlace(now);
}

// Between two pictures the place of the first is kept for the next: the wall below does not jump.
function holdPlace(now) {
  const lanes = part("lanes");
  if (!now || (!now.lanes.length && !now.queued)) lanes.style.minHeight = "";
  else if (now.lanes.length) lanes.style.minHeight = `${lanes.scrollHeight}px`;
}

// The words of the dashboard and of `status`.
function nowInWords({ message, running, queued, waiting, settling }) {
  const parts = [[queued, "queued"], [running, "running"], [waiting, "waiting for a style"], [settling, "settling"]]
    .filter(([number]) => number).map(([number, word]) => `${number.toLocaleString("en")} ${word}`);
  if (message && message !== "watching") parts.push(visible(message));
  return parts.join(" · ") || "Nothing to paint. Put a photo into the inbox.";
}

function showLanes(lanes) {
  const jobs = new Set(lanes.map((lane) => lane.job));
  for (const [job, row] of live.lanes) {
    if (jobs.has(job)) continue;
    row.remove();
    live.lanes.delete(job);
    setTimeout(lookSoon, 1500); // its entry is about to be written
  }
  for (const lane of lanes) {
    if (!live.lanes.has(lane.job)) live.lanes.set(lane.job, laneRow());
    const row = live.lanes.get(lane.job);
    if (!row.isConnected) part("lanes").append(row);
    fillLane(row, lane);
  }
}

async function lookSoon() {
  await look().catch(() => {});
  if (page.news && !page.pictures.length) take(page.news); // there is nothing on the page yet
}

function laneRow() {
  return element("li", {}, element("canvas", { class: "blank", width: 4, height: 3, role: "img" }),
    element("div", {}, element("p", { class: "name", dir: "auto" }), element("progress", { max: 1 }),
      element("p", { class: "facts quiet" })));
}

function fillLane(row, lane) {
  const name = `${visible(baseName(lane.content))} as ${words(lane.style)}`;
  const [canvas, progress] = [row.querySelector("canvas"), row.querySelector("progress")];
  row.querySelector(".name").textContent = name;
  canvas.setAttribute("aria-label", `${name}, so far`);
  progress.value = lane.fraction;
  progress.setAttribute("aria-label", name);
  const left = lane.left === "-" ? [] : [`${lane.left} left`];
  row.querySelector(".facts").textContent = [...left, ...lane.details].map(visible).join(" · ");
  if (lane.preview) drawPreview(canvas, lane.preview);
}

// Width, height, three bytes a pixel.
function drawPreview(canvas, [width, height, text]) {
  const bytes = atob(text);
  if (bytes.length !== width * height * 3) return;
  const pixels = new ImageData(width, height);
  for (let from = 0, to = 0; from < bytes.length; from += 3, to += 4) {
    for (let i = 0; i < 3; i++) pixels.data[to + i] = bytes.charCodeAt(from + i);
    pixels.data[to + 3] = 255;
  }
  Object.assign(canvas, { width, height });
  canvas.classList.remove("blank");
  canvas.getContext("2d").putImageData(pixels, 0, 0);
}

// ---- uploads --------------------------------------------------------------------------------

function addFiles(files) {
  for (const file of files) {
    const row = element("li", {}, element("span", { class: "name", dir: "auto" }, visible(file.name)),
      element("progress", { max: 1, value: 0, "aria-label": `${visible(file.name)}, sent so far` }),
      element("span", { class: "said quiet" }, "waits"));
    part("uploads").append(row);
    live.waiting.push({ file, row });
  }
  sendNext();
}

// One after the other: they share one line and one disk anyway.
async function sendNext() {
  if (live.busy || !live.waiting.length) return;
  live.busy = true;
  const { file, row } = live.waiting.shift();
  const refused = whyNot(file);
  const [done, said] = refused ? [false, refused] : await send(file, row);
  ended(row, done, said);
  live.busy = false;
  sendNext();
}

function whyNot(file) {
  if (!live.taking) return "Photos cannot be added here.";
  const suffix = /\.[^.]*$/.exec(file.name)?.[0].toLowerCase();
  if (!live.taking.suffixes.includes(suffix)) return `Its name is not that of a picture; accepted: ${live.taking.suffixes.join(" ")}`;
  if (file.size > live.taking.bytes) return `Larger than the ${Math.round(live.taking.bytes / 1e6)} MB allowed`;
  return "";
}

function send(file, row) {
  const asked = new XMLHttpRequest(); // fetch does not report upload progress
  return new Promise((resolve) => {
    asked.upload.onprogress = (event) => {
      if (event.lengthComputable) row.querySelector("progress").value = event.loaded / event.total;
      const said = row.querySelector(".said"); // a live region: each change is read aloud
      if (said.textContent !== "on its way") said.textContent = "on its way";
    };
    asked.onload = () => resolve(asked.status === 201 ? [true, JSON.parse(asked.responseText).name]
      : [false, asked.responseText.trim() || `The server answered ${asked.status}`]);
    asked.onerror = asked.onabort = () => resolve([false, "The connection was lost."]);
    asked.open("PUT", `./inbox/${encodeURIComponent(file.name.toWellFormed?.() ?? file.name)}`);
    asked.setRequestHeader("Content-Type", "application/octet-stream");
    asked.send(file);
  });
}

function ended(row, done, said) {
  row.querySelector("progress").remove();
  row.querySelector(".said").textContent = done ? `is in the inbox as ${visible(said)}` : visible(said);
  if (done) {
    setTimeout(() => row.remove(), STAY_SECONDS * 1000);
    return;
  }
  const dismiss = element("button", { type: "button", class: "plain" }, "Dismiss");
  dismiss.addEventListener("click", () => row.remove());
  row.append(dismiss);
}

function takeDrops() {
  const ours = (event) => event.dataTransfer?.types.includes("Files") && live.taking;
  addEventListener("dragenter", (event) => {
    if (ours(event)) part("drop").hidden = false;
  });
  addEventListener("dragleave", (event) => {
    if (!event.relatedTarget) part("drop").hidden = true;
  });
  addEventListener("dragover", (event) => event.preventDefault());
  addEventListener("drop", (event) => {
    event.preventDefault(); // or the browser leaves the page for the file
    part("drop").hidden = true;
    if (ours(event)) addFiles(event.dataTransfer.files);
  });
  part("add").addEventListener("change", (event) => {
    addFiles(event.target.files);
    event.target.value = "";
  });
}

takeDrops();
keepAsking();
