import type { BundleChoice, VerifyRow } from "funasr-webgpu/browser";
import { html, nothing } from "lit-html";
import { beside } from "./engine.js";
import { PageError } from "./problems.js";
import { digits, verifyReport, worstOf } from "./report.js";
import { runApart } from "./run.js";
import { runView } from "./run-view.js";
import { changed, state } from "./state.js";
import type { Texts } from "./texts.js";

interface Listed {
  readonly file: string;
  readonly sha256: string;
}

/** The committed bundles. @throws  they are not beside the page */
async function bundles(): Promise<BundleChoice[]> {
  const answer = await fetch(beside("golden/manifest.json")).catch((error: unknown) => {
    throw new PageError((t) => t.bundlesUnreachable, (error as Error).message);
  });
  if (!answer.ok)
    throw new PageError(
      (t) => t.noBundles,
      `golden/manifest.json: the server answers with status ${answer.status}`,
    );
  const { bundles: listed } = (await answer.json()) as { readonly bundles: readonly Listed[] };
  return listed
    .filter(({ file }) => file.endsWith(".safetensors"))
    .map(({ file, sha256 }) => ({ url: beside(`golden/bundles/${file}`), name: file, sha256 }));
}

const begin = (): Promise<void> =>
  runApart(state.verify, false, async (worker, onRow, signal) => {
    const chosen = await bundles();
    state.verify.total = chosen.length;
    changed();
    return worker.verify(chosen, onRow, { signal });
  });

function row({ bundle, stages, medianRatio, worstRatio, failed, seconds, problem }: VerifyRow, t: Texts) {
  return html`<tr class=${failed > 0 ? "failed" : ""}>
    <th scope="row">${bundle}</th>
    <td>${stages.length}</td>
    <td>${digits(medianRatio)}</td>
    <td>${digits(worstRatio)}</td>
    <td>${seconds.toFixed(1)}</td>
    <td>
      ${failed > 0 ? `${failed} ${t.fail}` : t.pass}${problem === undefined ? nothing : html`: ${problem}`}
    </td>
  </tr>`;
}

/** Golden bundles on the visitor's own graphics card. */
export function verifyView(t: Texts) {
  const run = state.verify;
  const failed = run.rows.reduce((sum, { failed: count }) => sum + count, 0);
  const stages = run.rows.reduce((sum, { stages: all }) => sum + all.length, 0);
  const table = html`<table>
    <caption class="unseen">
      ${t.verify}
    </caption>
    <thead>
      <tr>
        ${[t.bundle, t.stages, t.median, t.worst, t.seconds, t.result].map((name) => html`<th scope="col">${name}</th>`)}
      </tr>
    </thead>
    <tbody>
      ${run.rows.map((one) => row(one, t))}
    </tbody>
    <tfoot>
      <tr>
        <th scope="row">${t.bundleCount(run.rows.length)}</th>
        <td>${stages}</td>
        <td></td>
        <td>${digits(worstOf(run.rows))}</td>
        <td>${run.rows.reduce((sum, { seconds }) => sum + seconds, 0).toFixed(0)}</td>
        <td id="verdict">${failed} ${t.fail}</td>
      </tr>
    </tfoot>
  </table>`;
  return runView(
    {
      run,
      title: t.verify,
      lead: `${t.verifyLead} ${t.verifySize}`,
      start: t.verifyStart,
      begin: () => void begin(),
      table,
      report: verifyReport,
    },
    t,
  );
}
