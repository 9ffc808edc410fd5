/** Style of a transcript's page, beside that of every page. */
export const style = `
:root { --wave: #7d93aa; --speech: #e08a2c; --part: #2867b222; --now: #ffe08a }
#stage { position: sticky; top: 0; background: Canvas; padding: 8px 0; z-index: 1; border-bottom: 1px solid var(--line) }
canvas { display: block; width: 100%; cursor: pointer; touch-action: manipulation }
#whole { height: 56px } #near { height: 96px; margin-top: 6px }
#stage audio { width: calc(100% - 90px); vertical-align: middle } .key span { margin-right: 12px; white-space: nowrap }
.wave::before, .speech::before, .part::before { content: ""; display: inline-block; width: 14px; height: 10px; margin-right: 5px; background: var(--wave) }
.speech::before { background: none; border-bottom: 2px solid var(--speech) } .part::before { background: var(--part); outline: 1px solid var(--accent) }
#time { color: var(--ink); margin-right: 0 !important; font-variant-numeric: tabular-nums }
ol#text { list-style: none; padding: 0; margin: 16px 0 }
#text li { padding: 7px 10px; border-left: 3px solid transparent; overflow-wrap: anywhere; scroll-margin: 260px 0 40px; content-visibility: auto; contain-intrinsic-size: auto 38px }
#text li.now { border-color: var(--accent); background: var(--part) } #text [data-to] { cursor: pointer; border-radius: 3px }
#text [data-to].now { background: var(--now); color: #1c2733 }
#text button { font: inherit; font-size: 13px; color: var(--accent); background: none; border: 0; padding: 0; margin-right: 8px; cursor: pointer; font-variant-numeric: tabular-nums }
@media (max-width: 640px) { #whole { height: 40px } #near { height: 72px } #text button { display: block } }
@media (prefers-color-scheme: dark) { :root { --wave: #6d8299; --speech: #f0a554; --part: #7fb4f026 } #stage { background: #12181e } }
`;

/** Draws the waveforms, seeks where a reader clicks, and marks what plays. */
export const script = `
"use strict";
const data = JSON.parse(document.getElementById("data").textContent);
const bytes = (text) => Uint8Array.from(atob(text), (c) => c.charCodeAt(0));
const peaks = bytes(data.peaks), speech = data.speech && bytes(data.speech);
const loudest = Math.max(1, peaks.reduce((a, b) => Math.max(a, b), 0));
const audio = document.getElementById("audio"), follow = document.getElementById("follow");
const rows = [...document.querySelectorAll("#text li")];
const words = [...document.querySelectorAll("[data-to]")].map((node) => ({ node, at: Number(node.dataset.at), to: Number(node.dataset.to) }));
let place = 0, row = -1, word = -1;
const span = 20;
const colour = (name) => getComputedStyle(document.documentElement).getPropertyValue(name);
function highest(values, from, to) {
  let most = 0;
  for (let i = Math.max(0, Math.floor(from)); i < Math.min(values.length, Math.max(to, from + 1)); i++) most = Math.max(most, values[i]);
  return most;
}
function draw(canvas, from, to) {
  const ratio = devicePixelRatio || 1, width = Math.round(canvas.clientWidth * ratio), height = Math.round(canvas.clientHeight * ratio);
  canvas.width = width; canvas.height = height;
  const context = canvas.getContext("2d"), x = (time) => ((time - from) / (to - from)) * width;
  context.fillStyle = colour("--part");
  for (const [start, end] of data.segments) if (end > from && start < to) context.fillRect(x(start), 0, Math.max(1, x(end) - x(start)), height);
  const frame = (column) => (from + (column / width) * (to - from)) * 100;
  context.fillStyle = colour("--wave");
  for (let c = 0; c < width; c++) {
    const tall = (highest(peaks, frame(c), frame(c + 1)) / loudest) * height * 0.92;
    context.fillRect(c, (height - tall) / 2, 1, Math.max(1, tall));
  }
  if (speech) {
    context.strokeStyle = colour("--speech"); context.lineWidth = 1.5 * ratio; context.beginPath();
    for (let c = 0; c < width; c++) context.lineTo(c, height - 1 - (highest(speech, frame(c), frame(c + 1)) / 255) * (height - 2));
    context.stroke();
  }
}
function playhead(canvas, from, to) {
  const ratio = devicePixelRatio || 1, context = canvas.getContext("2d");
  context.fillStyle = colour("--accent");
  context.fillRect(((place - from) / (to - from)) * canvas.width - ratio, 0, 2 * ratio, canvas.height);
}
let overview;
/** The whole recording is drawn anew only in another size or other colours. */
function redraw() {
  draw(whole, 0, Math.max(data.seconds, 0.01));
  overview = document.createElement("canvas");
  overview.width = Math.max(1, whole.width); overview.height = Math.max(1, whole.height);
  if (whole.width > 0) overview.getContext("2d").drawImage(whole, 0, 0);
  show();
}
const whole = document.getElementById("whole"), near = document.getElementById("near");
const near_ = () => { const from = Math.max(0, Math.min(place - span / 2, data.seconds - span)); return [from, Math.min(from + span, Math.max(data.seconds, 0.01))]; };
const clock = (time) => Math.floor(time / 60) + ":" + (time % 60).toFixed(1).padStart(4, "0");
/** The last of sorted things that begins at or before a time. */
function latest(list, begin, time) {
  let low = 0, high = list.length;
  while (low < high) { const middle = (low + high) >> 1; if (begin(list[middle]) <= time) low = middle + 1; else high = middle; }
  return low - 1;
}
function mark(old, next, node) {
  if (old === next) return;
  if (old >= 0) node(old).classList.remove("now");
  if (next >= 0) node(next).classList.add("now");
}
function show() {
  whole.getContext("2d").clearRect(0, 0, whole.width, whole.height);
  whole.getContext("2d").drawImage(overview, 0, 0);
  playhead(whole, 0, Math.max(data.seconds, 0.01));
  draw(near, ...near_()); playhead(near, ...near_());
  document.getElementById("time").textContent = clock(place);
  let r = latest(data.segments, (part) => part[0], place), w = latest(words, (part) => part.at, place);
  if (r >= 0 && place >= data.segments[r][1]) r = -1;
  if (w >= 0 && place >= words[w].to) w = -1;
  mark(row, r, (i) => rows[i]); mark(word, w, (i) => words[i].node);
  if (r !== row && r >= 0 && audio && !audio.paused && follow.checked) rows[r].scrollIntoView({ block: "nearest", behavior: "smooth" });
  row = r; word = w;
}
function seek(time) {
  place = Math.min(Math.max(0, time), data.seconds);
  if (audio) audio.currentTime = place;
  show();
}
whole.addEventListener("click", (event) => seek((event.offsetX / whole.clientWidth) * data.seconds));
near.addEventListener("click", (event) => { const [from, to] = near_(); seek(from + (event.offsetX / near.clientWidth) * (to - from)); });
document.addEventListener("click", (event) => { const node = event.target.closest("[data-at]"); if (node) seek(Number(node.dataset.at)); });
if (audio) {
  const update = () => { place = audio.currentTime; show(); };
  const tick = () => { update(); if (!audio.paused) requestAnimationFrame(tick); };
  audio.addEventListener("play", tick);
  audio.addEventListener("seeked", update);
}
addEventListener("resize", redraw);
matchMedia("(prefers-color-scheme: dark)").addEventListener("change", redraw);
redraw();
`;
