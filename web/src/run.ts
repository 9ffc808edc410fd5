import type { SpeechWorker } from "funasr-webgpu/browser";
import { lineOf, startApart } from "./engine.js";
import { type Run, announce, changed, texts } from "./state.js";

/** Runs a measurement on an engine of its own, which ends with it. */
export async function runApart<Row>(
  run: Run<Row>,
  withModel: boolean,
  body: (worker: SpeechWorker, onRow: (row: Row) => void, signal: AbortSignal) => Promise<readonly Row[]>,
): Promise<void> {
  const control = new AbortController();
  Object.assign(run, { phase: "running", rows: [], total: undefined, facts: undefined, problem: undefined });
  run.stop = () => control.abort(new Error(texts().cancelled));
  changed();
  let worker: SpeechWorker | undefined;
  try {
    worker = await startApart(withModel, control.signal);
    run.facts = worker.facts;
    const onRow = (row: Row): void => {
      run.rows = [...run.rows, row];
      changed();
    };
    run.rows = await body(worker, onRow, control.signal);
    announce(texts().done);
  } catch (error) {
    run.problem = lineOf(error);
  } finally {
    run.phase = "done";
    run.stop = undefined;
    changed();
    await worker?.close();
  }
}
