
// ---- tuning: which of two small pictures is better, five times, for the style of a picture ----
// Only in the page that `pipeline serve` sends: a process beside the server paints the pairs.

const TUNE_SECONDS = 0.4;
const ANSWERS = { a: "1", b: "2", 1: "1", 2: "2", arrowleft: "1", arrowright: "2", "=": "=" };

// ``run`` differs for each opening of the dialog: answers to an earlier one are ignored.
const tuning = { name: "", run: 0, round: 0, rounds: 0, open: false, ended: Promise.resolve() };

const tuneButton = element("button", { id: "tune", type: "button", class: "plain tune", hidden: "" }, "Tune this style");

function allowTuning(allowed) {
  tuneButton.hidden = !allowed;
}

async function askTuning(path, method = "PUT") {
  return fetch(`./.tuning/${path}`, { method, cache: "no-store", keepalive: method === "PUT" });
}

// ---- begin and end ----

async function startTuning() {
  const entry = viewer.entry, run = ++tuning.run;
  const { width, height } = entry.pictures[0];
  part("t-title").textContent = `Tune ${words(entry.style)}`;
  part("t-photo").textContent = visible(entry.content);
  part("t-pair").style.setProperty("--ratio", Math.min(3, Math.max(0.3, width / height || 1)));
  part("t-pair").classList.toggle("wide", width > height);
  for (const image of part("t-pair").querySelectorAll("img")) image.removeAttribute("src");
  Object.assign(tuning, { name: "", round: 0, open: false });
  showPart("pair", "Cancel");
  showStatus("The first two pictures are being painted.");
  part("tuning").showModal();
  await beginTuning(run, entry).catch(() => run === tuning.run && fail("The server does not answer."));
}

async function beginTuning(run, entry) {
  await tuning.ended; // or the server would still be busy with it
  const answer = await askTuning(`start/${entry.pictures[0].url.replace(/^\.\//, "")}`);
  const text = await answer.text();
  const name = answer.status === 201 ? JSON.parse(text).name : "";
  if (run !== tuning.run || !part("tuning").open) {
    if (name) tuning.ended = askTuning(`${name}/end`).catch(() => {}); // cancelled before it began
  } else if (name) {
    tuning.name = name;
    keepTuning(run);
  } else {
    fail(sentence(text));
  }
}

async function keepTuning(run) {
  if (run !== tuning.run || !tuning.name) return;
  try {
    const answer = await askTuning(`${tuning.name}/state`, "GET");
    if (run !== tuning.run) return;
    if (answer.ok) showTuning(await answer.json());
    else fail(sentence(await answer.text()));
  } catch {
    if (run === tuning.run && tuning.name) showStatus("The server does not answer.");
  }
  setTimeout(() => keepTuning(run), TUNE_SECONDS * 1000);
}

function endTuning() {
  if (tuning.name) tuning.ended = askTuning(`${tuning.name}/end`).catch(() => {});
  Object.assign(tuning, { name: "", run: tuning.run + 1, open: false });
}

function fail(text) {
  tuning.name = "";
  showPart("", "Close");
  showStatus(text);
}

// ---- what is shown ----

function showPart(which, close) {
  const choosing = which === "pair", chosen = which === "chosen";
  for (const id of ["t-pair", "t-alike", "t-keys", "t-progress"]) part(id).hidden = !choosing;
  for (const id of ["t-chosen", "t-copy", "t-save"]) part(id).hidden = !chosen;
  part("t-stop").hidden = !choosing || tuning.round < 2;
  part("t-close").textContent = close;
  setOpen(false);
}

function setOpen(open) {
  tuning.open = open;
  part("t-pair").setAttribute("aria-busy", String(!open));
  part("t-progress").classList.toggle("off", open);
  // Not `disabled`: a button that has the keyboard focus would lose it.
  for (const button of part("tuning").querySelectorAll("[data-answer]")) {
    button.setAttribute("aria-disabled", String(!open));
  }
}

// A live region: each change is read aloud.
function showStatus(text) {
  if (part("t-status").textContent !== text) part("t-status").textContent = text;
}

function showTuning(state) {
  if (state.phase === "ended") return fail(sentence(state.why));
  if (state.phase === "chosen") return showChosen(state);
  if (state.phase === "waiting") return; // for the next sign of the process
  if (!state.rounds) return showStatus("The first two pictures are being painted.");
  tuning.rounds = state.rounds;
  const pace = state.seconds ? `, about ${duration(Math.max(1, Math.round(state.seconds)))} a pair` : "";
  const round = `Round ${state.round} of ${state.rounds}${pace}`;
  if (state.phase === "question") return showPair(state.round, `${round}: which is better?`);
  part("t-progress").value = state.fraction || 0;
  showStatus(`${round}: the pictures are being painted.`);
}

async function showPair(round, text) {
  if (round === tuning.round) return;
  tuning.round = round;
  const { name, run } = tuning;
  const images = [...part("t-pair").querySelectorAll("img")];
  images.forEach((image, index) => (image.src = `./.tuning/${name}/picture/${round}/${index + 1}`));
  await Promise.allSettled(images.map((image) => image.decode())); // none is judged before both are seen
  if (run !== tuning.run || round !== tuning.round) return;
  const { naturalWidth, naturalHeight } = images[0];
  if (naturalHeight) part("t-pair").style.setProperty("--ratio", naturalWidth / naturalHeight);
  part("t-stop").hidden = round < 2;
  setOpen(true);
  showStatus(text);
}

function showChosen(state) {
  if (part("t-chosen").hidden) {
    showPart("chosen", "Close");
    part("t-lines").textContent = state.lines.trimEnd();
    part("t-place").textContent = `For ${visible(state.place)}:`;
    if (!state.lines) showPart("", "Close");
    else (state.can_save ? part("t-save") : part("t-copy")).focus();
  }
  part("t-note").textContent = noteOn(state);
  if (state.saved && !part("t-save").hidden) part("t-close").focus(); // what has the focus goes
  part("t-save").hidden = !state.lines || !state.can_save || Boolean(state.saved);
  showStatus(!state.lines ? "Nothing was chosen." : state.saved ? `Saved as ${visible(state.saved)}.`
    : state.why && state.can_save ? "Not saved." : "Your choice:");
}

function noteOn({ can_save: possible, saved, why }) {
  if (saved) return "`pipeline watch` paints all photos of this style again with these options.";
  if (why) return sentence(why) + (possible ? "" : " Copy the lines into it.");
  return possible ? "Saving changes the style for all photos: `pipeline watch` paints them again with these options." : "";
}

const sentence = (text) => visible(text.trim()).replace(/^[a-z]/, (first) => first.toUpperCase()).replace(/[^.?!]$/, "$&.");

// ---- what a person does ----

async function answerPair(word) {
  if (!tuning.open || (word === "q" && tuning.round < 2)) return;
  setOpen(false);
  part("t-progress").value = 0;
  const last = word === "q" || tuning.round === tuning.rounds;
  showStatus(last ? "One moment." : "The next two pictures are being painted.");
  await askTuning(`${tuning.name}/answer/${tuning.round}/${encodeURIComponent(word)}`).catch(() => showStatus("The server does not answer."));
}

async function saveTuning() {
  const answer = await askTuning(`${tuning.name}/save`).catch(() => null);
  if (!answer?.ok) showStatus(answer ? sentence(await answer.text()) : "The server does not answer.");
}

async function copyTuning() {
  const done = await copyText(part("t-lines").textContent, part("t-copy"));
  part("t-copy").textContent = done ? "Copied" : "Select and copy by hand";
  setTimeout(() => (part("t-copy").textContent = "Copy the lines"), 2000);
}

// Before the viewer behind, which has keys of its own.
function onTuningKey(event) {
  if (!part("tuning").open) return;
  event.stopImmediatePropagation();
  if (event.ctrlKey || event.metaKey || event.altKey || event.repeat || !tuning.open) return;
  const word = ANSWERS[event.key.toLowerCase()];
  if (!word) return;
  event.preventDefault();
  answerPair(word);
}

part("v-facts").before(tuneButton);
tuneButton.addEventListener("click", startTuning);
for (const button of part("tuning").querySelectorAll("[data-answer]")) {
  button.addEventListener("click", () => answerPair(button.dataset.answer));
}
part("t-save").addEventListener("click", saveTuning);
part("t-copy").addEventListener("click", copyTuning);
part("t-close").addEventListener("click", () => part("tuning").close());
part("tuning").addEventListener("close", endTuning);
addEventListener("keydown", onTuningKey, true);
addEventListener("pagehide", () => {
  endTuning();
  part("tuning").close(); // Back may bring the page again as it was
});
