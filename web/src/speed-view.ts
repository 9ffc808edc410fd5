import { html } from "lit-html";
import { digits, speedReport } from "./report.js";
import { runApart } from "./run.js";
import { runView } from "./run-view.js";
import { state } from "./state.js";
import type { Texts } from "./texts.js";

const begin = (): Promise<void> =>
  runApart(state.speed, true, (worker, onRow, signal) =>
    worker.bench(["ceilings", "gemm", "gemv", "decode"], onRow, { signal }),
  );

/** What the visitor's graphics card does at most, and what the kernels reach. */
export function speedView(t: Texts) {
  const run = state.speed;
  const table = html`<table>
    <caption class="unseen">
      ${t.speed}
    </caption>
    <thead>
      <tr>
        ${[t.measurement, t.least, t.middle, t.most, ""].map((name) => html`<th scope="col">${name}</th>`)}
      </tr>
    </thead>
    <tbody>
      ${run.rows.map(
        ({ section, name, unit, value }) =>
          html`<tr>
            <th scope="row">${section}: ${name}</th>
            <td>${digits(value.min)}</td>
            <td>${digits(value.median)}</td>
            <td>${digits(value.max)}</td>
            <td>${unit}</td>
          </tr>`,
      )}
    </tbody>
  </table>`;
  return runView(
    {
      run,
      title: t.speed,
      lead: t.speedLead,
      start: t.speedStart,
      begin: () => void begin(),
      table,
      report: speedReport,
    },
    t,
  );
}
