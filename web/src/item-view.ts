import { html, nothing } from "lit-html";
import { jointOf } from "../../dist/scripts.js";
import { copy, formats, save } from "./outputs.js";
import { removeItem, textOf } from "./items.js";
import { playPart } from "./player.js";
import { problemView } from "./problem-view.js";
import { type Item, changed, state } from "./state.js";
import type { Texts } from "./texts.js";

/** Minutes, seconds and tenths. */
function clock(seconds: number): string {
  const tenths = Math.round(10 * seconds);
  const rest = ((tenths % 600) / 10).toFixed(1).padStart(4, "0");
  return `${Math.floor(tenths / 600)}:${rest}`;
}

const playerOf = (item: Item): HTMLAudioElement | null =>
  document.querySelector<HTMLAudioElement>(`#item-${item.id} audio`);

/** Plays a segment alone. */
function play(item: Item, start: number, end: number): void {
  const audio = playerOf(item);
  if (!audio) return;
  playPart(audio, start, end).catch((error: unknown) => {
    if ((error as Error).name !== "NotSupportedError") return; // another press came first, or autoplay is off
    item.playable = false;
    changed();
  });
}

function segments(item: Item, t: Texts) {
  const playable = item.audio !== undefined && item.playable;
  const rows = item.segments.map(({ start, end, text }) => {
    const time = `${clock(start)}–${clock(end)}`;
    return html`<li>
      ${
        playable
          ? html`<button class="time" aria-label="${t.play} ${time}" @click=${() => play(item, start, end)}>
              ${time}
            </button>`
          : html`<span class="time">${time}</span>`
      }
      <span class="text">${text}</span>
    </li>`;
  });
  const open = item.stable !== "" || item.tentative !== "";
  return html`<ol class="segments">
    ${rows}
    ${
      open
        ? html`<li class="open">
            <span class="text"
              >${item.stable}${jointOf(item.stable, item.tentative)}<span class="tentative"
                >${item.tentative}</span
              ></span
            >
          </li>`
        : nothing
    }
  </ol>`;
}

function progress(item: Item, t: Texts) {
  if (item.phase === "done") return nothing;
  const { level, done, seconds } = item;
  const isReady = state.engine.phase === "ready";
  const waiting = isReady ? t.queued : t.waiting;
  const working = level === undefined ? t.working : t.listening;
  const label = item.phase === "waiting" ? waiting : working;
  const bar =
    level !== undefined
      ? html`<meter min="0" max="1" value=${level} aria-label=${t.level}></meter>`
      : seconds !== undefined && seconds > 60
        ? html`<progress max=${seconds} value=${done} aria-label=${t.working}></progress>`
        : seconds === undefined && item.phase === "working"
          ? html`<progress aria-label=${t.working}></progress>`
          : nothing;
  return html`<p class="work">
    <span class="pulse">${label}…</span> ${bar}
    <button class="small" @click=${item.stop}>${level === undefined ? t.cancel : t.stop}</button>
  </p>`;
}

function outputs(item: Item, t: Texts) {
  if (item.phase !== "done" || item.segments.length === 0) return nothing;
  return html`<div class="row outputs">
    <button class="small" @click=${() => void copy(item, textOf(item))}>${item.copied ?? t.copy}</button>
    <span class="note">${t.save}</span>
    ${formats.map(
      (format) =>
        html`<button
          class="small"
          aria-label="${t.save} ${format.toUpperCase()}: ${item.name}"
          @click=${() => save(item, format)}
        >
          ${format.toUpperCase()}
        </button>`,
    )}
    ${tookLine(item, t)}
  </div>`;
}

/** What the transcription took. */
function tookLine({ seconds, workSeconds }: Item, t: Texts) {
  if (seconds === undefined || workSeconds === undefined) return nothing;
  return html`<span class="note took">${t.took(seconds.toFixed(1), workSeconds.toFixed(1))}</span>`;
}

function isSilent({ phase, problem, segments: found }: Item): boolean {
  return phase === "done" && problem === undefined && found.length === 0;
}

/** Where the engine failed, its own line has the button. */
function retry({ phase, problem, again }: Item, t: Texts) {
  if (phase !== "done" || !problem || !again || state.engine.phase === "failed") return nothing;
  return html`<p><button class="small" @click=${again}>${t.tryAgain}</button></p>`;
}

/** Plays a recording that has text: a browser lends only so many players. */
function player(item: Item, t: Texts) {
  if (item.audio === undefined || item.segments.length === 0) return nothing;
  if (!item.playable) return html`<p class="note">${t.unplayable}</p>`;
  const unplayable = (): void => {
    item.playable = false;
    changed();
  };
  return html`<audio
    controls
    preload="metadata"
    src=${item.audio}
    aria-label=${item.name}
    @error=${unplayable}
  ></audio>`;
}

/** One recording with its text. */
export function itemView(item: Item, t: Texts) {
  return html`<article id="item-${item.id}" class="card" aria-labelledby="name-${item.id}">
    <div class="head">
      <h2 id="name-${item.id}">${item.name}</h2>
      <button class="plain" aria-label="${t.remove}: ${item.name}" @click=${() => removeItem(item)}>×</button>
    </div>
    ${progress(item, t)} ${segments(item, t)}
    ${isSilent(item) ? html`<p class="note">${t.nothing}</p>` : nothing} ${problemView(item.problem, t)}
    ${retry(item, t)} ${item.notes.map((say) => html`<p class="note">${say(t)}</p>`)} ${player(item, t)}
    ${outputs(item, t)}
  </article>`;
}
