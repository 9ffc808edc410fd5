import type { DirectoryHandle, StartProgress } from "funasr-webgpu/browser";
import { html, nothing } from "lit-html";
import { adapterName, restart } from "./engine.js";
import { problemView } from "./problem-view.js";
import { type Source, changed, state } from "./state.js";
import type { Texts } from "./texts.js";

const megabytes = (bytes: number): string => `${(bytes / 1e6).toFixed(bytes < 1e8 ? 1 : 0)} MB`;

function progressLine(progress: StartProgress | undefined, t: Texts) {
  if (!progress) return html`<p role="status">${t.opening}…</p>`;
  const { stage, done, total } = progress;
  if (stage === "compile") return html`<p role="status">${t.compile}…</p>`;
  const label = stage === "download" ? t.download : t.read;
  return html`<p>
    <label>${label} <progress max=${total} value=${done}></progress></label>
    <span class="note">${megabytes(done)} / ${megabytes(total)}</span>
  </p>`;
}

/** Where the engine stands, and on what it runs. */
function engineLine(t: Texts) {
  const { engine } = state;
  if (engine.phase === "starting") return progressLine(engine.progress, t);
  if (engine.phase === "failed")
    return html`<div class="wide">${problemView(engine.problem, t)}</div>
      <button @click=${() => restart(state.choice)}>${t.tryAgain}</button>`;
  const { model } = engine.facts;
  return html`<p role="status"><span class="ready">${t.ready}</span>: ${model?.name}</p>
    ${(model?.warnings ?? []).map((line) => html`<p class="note">${line}</p>`)}`;
}

function facts(t: Texts) {
  const { engine, memory, items } = state;
  if (engine.phase !== "ready") return nothing;
  const latest = items.find(({ workSeconds, seconds }) => workSeconds !== undefined && seconds);
  const factor = latest ? latest.workSeconds! / latest.seconds! : undefined;
  const { backend, software } = engine.facts;
  const rows: readonly [string, string][] = [
    [t.adapter, `${adapterName(engine.facts)}${software ? ` (${t.softwareAdapter})` : ""}`],
    [t.backend, backend],
    [t.memory, memory ? megabytes(memory.reserved) : "–"],
    [t.factor, factor === undefined ? "–" : `${factor.toFixed(2)} ${t.factorHint(1 / factor)}`],
  ];
  return html`<dl>
    ${rows.map(
      ([name, value]) =>
        html`<div>
          <dt>${name}</dt>
          <dd>${value}</dd>
        </div>`,
    )}
  </dl>`;
}

function pickSource(event: Event): void {
  state.source = (event.target as HTMLSelectElement).value as Source;
  if (state.source === "demo" && state.choice) restart(undefined);
  changed();
}

function loadHub(event: Event): void {
  event.preventDefault();
  const hub = state.hubName.trim();
  if (hub !== "") restart({ hub });
}

type Picker = () => Promise<DirectoryHandle>;

async function pickFolder(): Promise<void> {
  const { showDirectoryPicker } = globalThis as { readonly showDirectoryPicker?: Picker };
  if (!showDirectoryPicker) {
    document.getElementById("folder")!.click();
    return;
  }
  const directory = await showDirectoryPicker().catch(() => undefined); // it was closed
  if (directory) restart({ directory });
}

function pickFiles({ target }: Event): void {
  const input = target as HTMLInputElement;
  const files = [...(input.files ?? [])];
  input.value = "";
  if (files.length > 0) restart({ files });
}

function weightsField(t: Texts) {
  const change = (event: Event): void => void (state.weights = (event.target as HTMLSelectElement).value);
  return html`<label
    >${t.weights}
    <select @change=${change}>
      ${(["", "f16", "q8", "q4"] as const).map(
        (value) =>
          html`<option value=${value} ?selected=${value === state.weights}>
            ${value === "" ? t.asStored : `${value} ${t.weightsHint[value]}`}
          </option>`,
      )}
    </select></label
  >`;
}

function hubFields(t: Texts) {
  return html`<form class="row" @submit=${loadHub}>
    <label class="wide"
      >${t.hubName}
      <input
        list="hub-names"
        autocomplete="off"
        spellcheck="false"
        .value=${state.hubName}
        @input=${(event: Event) => (state.hubName = (event.target as HTMLInputElement).value)}
    /></label>
    <datalist id="hub-names">
      <option value="FunAudioLLM/Fun-ASR-Nano-2512-hf"></option>
      <option value="FunAudioLLM/Fun-ASR-MLT-Nano-2512-hf"></option>
    </datalist>
    ${weightsField(t)}
    <button type="submit">${t.load}</button>
  </form>`;
}

function folderFields(t: Texts) {
  return html`<div class="row">
    ${weightsField(t)}
    <button @click=${pickFolder}>${t.chooseFolder}</button>
    <button @click=${() => document.getElementById("model-files")!.click()}>${t.chooseFiles}</button>
    <input id="folder" type="file" webkitdirectory @change=${pickFiles} hidden />
    <input id="model-files" type="file" multiple @change=${pickFiles} hidden />
  </div>`;
}

function toggle(): void {
  state.choosing = !state.choosing;
  changed();
}

function picker(t: Texts) {
  const options: readonly [Source, string][] = [
    ["demo", t.modelDemo],
    ["hub", t.modelHub],
    ["folder", t.modelFolder],
  ];
  return html`<div id="picker" class="picker">
    <label class="wide"
      >${t.model}
      <select id="model" @change=${pickSource}>
        ${options.map(
          ([value, name]) =>
            html`<option value=${value} ?selected=${value === state.source}>${name}</option>`,
        )}
      </select></label
    >
    ${state.source === "hub" ? hubFields(t) : state.source === "folder" ? folderFields(t) : nothing}
  </div>`;
}

/** The model, the adapter and what is measured on it. */
export function statusView(t: Texts) {
  const { choice, choosing, engine } = state;
  return html`<section aria-label=${t.model} class="card">
    <div class="head">
      ${engineLine(t)}
      <button
        class="small"
        aria-expanded=${choosing ? "true" : "false"}
        aria-controls="picker"
        @click=${toggle}
      >
        ${t.otherModel}
      </button>
    </div>
    ${engine.phase === "ready" && choice === undefined ? html`<p class="note">${t.demoNote}</p>` : nothing}
    ${choosing ? picker(t) : nothing} ${facts(t)}
  </section>`;
}
