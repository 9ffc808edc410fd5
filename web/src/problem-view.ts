import { html, nothing } from "lit-html";
import type { Problem } from "./problems.js";
import type { Texts } from "./texts.js";

/** A problem as a line of the page, with the engine's own line below where it says more. */
export function problemView(problem: Problem | undefined, t: Texts) {
  if (!problem) return nothing;
  const { say, detail, isWanted } = problem;
  const line = say(t);
  return html`<p class="problem ${isWanted ? "wanted" : ""}" role=${isWanted ? "status" : "alert"}>${line}</p>
    ${
      detail === undefined || detail === line
        ? nothing
        : html`<details class="detail">
            <summary class="note">${t.details}</summary>
            <p class="note" lang="en">${detail}</p>
          </details>`
    }`;
}
