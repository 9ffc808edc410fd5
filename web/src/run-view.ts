import type { EngineFacts } from "funasr-webgpu/browser";
import { type TemplateResult, html, nothing } from "lit-html";
import { adapterName } from "./engine.js";
import { copy } from "./outputs.js";
import { problemView } from "./problem-view.js";
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
  readonly report: (facts: EngineFacts, run: Run<Row>) => Promise<string>;
}

/** A measurement with its button, its table and its report. */
export function runView<Row>(parts: RunParts<Row>, t: Texts) {
  const { run, title, lead, start, begin, table, report } = parts;
  const { phase, rows, total, facts, problem, isWhole } = run;
  const count = total === undefined ? `${rows.length}` : `${rows.length} / ${total}`;
  const copyReport = async (): Promise<void> => copy(run, await report(facts!, run));
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
    ${problemView(problem, t)}
    ${phase === "done" && !isWhole && rows.length > 0 ? html`<p class="note">${t.incomplete(count)}</p>` : nothing}
    ${facts ? html`<p class="note">${t.adapter}: ${adapterName(facts)}, ${facts.backend}</p>` : nothing}
    ${
      rows.length > 0
        ? html`<div class="scroll" role="region" tabindex="0" aria-label=${title}>${table}</div>`
        : nothing
    }
    ${
      phase === "done" && rows.length > 0 && facts
        ? html`<p class="row">
            <button @click=${() => void copyReport()}>
              ${run.copied ?? (isWhole ? t.copyReport : t.copyIncomplete)}
            </button>
            ${
              isWhole
                ? html`<span class="note">${t.reportHint} <a href=${issue}>${t.openIssue}</a></span>`
                : nothing
            }
          </p>`
        : nothing
    }`;
}
