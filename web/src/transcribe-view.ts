import { html, nothing } from "lit-html";
import { repeat } from "lit-html/directives/repeat.js";
import { LANGUAGE_CODES, languageCode } from "../../dist/tokenizer/languages.js";
import { itemView } from "./item-view.js";
import { removeAll } from "./items.js";
import { problemView } from "./problem-view.js";
import { addDropped, addExample, addFiles } from "./recordings.js";
import { speak, stopSpeaking } from "./speech.js";
import { changed, state } from "./state.js";
import { statusView } from "./status-view.js";
import type { Texts } from "./texts.js";

function drop(event: DragEvent): void {
  event.preventDefault();
  state.dragging = false;
  void addDropped(event.dataTransfer);
  changed();
}

function drag(event: DragEvent): void {
  event.preventDefault();
  const dragging = event.type === "dragover";
  if (dragging === state.dragging) return;
  state.dragging = dragging;
  changed();
}

function pick({ target }: Event): void {
  const input = target as HTMLInputElement;
  addFiles([...(input.files ?? [])]);
  input.value = "";
}

function toggleSpeech(): void {
  if (state.speaking) stopSpeaking();
  else void speak();
}

function inputs(t: Texts) {
  return html`<div
    class="drop ${state.dragging ? "over" : ""}"
    @dragover=${drag}
    @dragleave=${drag}
    @drop=${drop}
  >
    <p class="note" aria-hidden="true">${t.drop}</p>
    <div class="row">
      <button class="first" @click=${() => document.getElementById("audio-files")!.click()}>
        ${t.choose}
      </button>
      <button class="first" aria-pressed=${state.speaking ? "true" : "false"} @click=${toggleSpeech}>
        ${state.speaking ? t.stop : t.speak}
      </button>
      <input
        id="audio-files"
        type="file"
        accept="audio/*,video/*,.w64,.au,.caf,.mka"
        multiple
        hidden
        @change=${pick}
      />
    </div>
    ${problemView(state.notice, t)}
  </div>`;
}

function examples(t: Texts) {
  const counts = new Map<string, number>();
  const button = (example: (typeof state.examples)[number]) => {
    const { language, text, audio } = example;
    const count = (counts.get(language) ?? 0) + 1;
    counts.set(language, count);
    return html`<button class="chip" title=${audio} lang=${language} @click=${() => void addExample(example)}>
      ${text}
    </button>`;
  };
  if (state.examples.length === 0) return nothing;
  return html`<details class="examples" ?open=${state.items.length === 0}>
    <summary>${t.examples} <span class="note">${t.exampleHint}</span></summary>
    <div class="chips">${state.examples.map(button)}</div>
  </details>`;
}

/** Languages that the checkpoint knows, by their codes, with names in the page's language. */
function languageOptions(): readonly (readonly [string, string])[] {
  const facts = state.engine.phase === "ready" ? state.engine.facts.model : undefined;
  const names = new Intl.DisplayNames([state.page === "zh" ? "zh-CN" : "en"], { type: "language" });
  const codes = facts?.languages?.map((language) => languageCode(language) ?? language) ?? LANGUAGE_CODES;
  return codes.map((code) => [code, names.of(code) ?? code] as const);
}

function options(t: Texts) {
  const facts = state.engine.phase === "ready" ? state.engine.facts.model : undefined;
  const pick =
    (field: "language" | "to" | "hotwords") =>
    ({ target }: Event): void => {
      state[field] = (target as HTMLInputElement).value;
      changed();
    };
  const option = (value: string, name: string, chosen: string) =>
    html`<option value=${value} ?selected=${value === chosen}>${name}</option>`;
  return html`<div class="row options">
    <label
      >${t.language}
      <select id="language" @change=${pick("language")}>
        ${option("", t.anyLanguage, state.language)}
        ${languageOptions().map(([code, name]) => option(code, name, state.language))}
      </select></label
    >
    <label class="wide"
      >${t.hotwords}
      <input id="hotwords" placeholder=${t.hotwordsHint} .value=${state.hotwords} @input=${pick("hotwords")}
    /></label>
    ${
      facts?.canTranslate
        ? html`<label
            >${t.translateTo}
            <select id="to" @change=${pick("to")}>
              ${option("", t.noTranslation, state.to)} ${option("en", "English", state.to)}
              ${option("zh", "中文", state.to)}
            </select></label
          >`
        : nothing
    }
  </div>`;
}

/** Recordings in, text out. */
export function transcribeView(t: Texts) {
  const { items } = state;
  return html`<h1>${t.title}</h1>
    <p class="lead">${t.lead}</p>
    ${inputs(t)} ${examples(t)} ${options(t)} ${statusView(t)}
    ${
      items.length > 1
        ? html`<p class="row all"><button class="small" @click=${removeAll}>${t.removeAll}</button></p>`
        : nothing
    }
    ${repeat(
      items,
      ({ id }) => id, // a player keeps its element
      (item) => itemView(item, t),
    )}`;
}
