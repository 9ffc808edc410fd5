import type { EngineFacts } from "funasr-webgpu/browser";
import { type TemplateResult, html, nothing } from "lit-html";
import { adapterName } from "./engine.js";
import { copy } from "./outputs.js";
import type { Run } from "./state.js";
import type { Texts } from "./texts.js";

const issue = "https://github.com/funasr-webgpu/funasr-webgpu/issues/new?template=device.yml";

/** What stands around a table that fills row by row. */
interface RunParts<Row> {
  readonly run: Run<Row>;
  readonly title: string;
  readonly lead: string;
  readonly start: string;
  readonly begin: () => void;
  readonly table: TemplateResult;
  readonly report: (facts: EngineFacts, rows: readonly Row[]) => Promise<string>;
}

/** A measurement with its button, its table and its report. */
export function runView<Row>(parts: RunParts<Row>, t: Texts) {
  const { run, title, lead, start, begin, table, report } = parts;
  const { phase, rows, total, facts, problem } = run;
  const count = total === undefined ? `${rows.length}` : `${rows.length} / ${total}`;
  const copyReport = async (): Promise<void> => copy(run, await report(facts!, rows));
  return html`<h1>${title}</h1>
    <p class="lead">${lead}</p>
    <p class="row">
      ${
        phase === "running"
          ? html`<button @click=${run.stop}>${t.stop}</button>`
          : html`<button class="first" @click=${begin}>${start}</button>`
      }
      ${phase === "running" ? html`<span role="status" class="pulse">${t.running}… ${count}</span>` : nothing}
    </p>
    ${problem === undefined ? nothing : html`<p class="problem" role="alert">${problem}</p>`}
    ${facts ? html`<p class="note">${t.adapter}: ${adapterName(facts)}, ${facts.backend}</p>` : nothing}
    ${
      rows.length > 0
        ? html`<div class="scroll" role="region" tabindex="0" aria-label=${title}>${table}</div>`
        : nothing
    }
    ${
      phase === "done" && rows.length > 0 && facts
        ? html`<p class="row">
            <button @click=${() => void copyReport()}>${run.copied ?? t.copyReport}</button>
            <span class="note">${t.reportHint} <a href=${issue}>${t.openIssue}</a></span>
          </p>`
        : nothing
    }`;
}
