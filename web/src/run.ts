import type { SpeechWorker } from "funasr-webgpu/browser";
import { startApart } from "./engine.js";
import { Cancelled, problemOf } from "./problems.js";
import { type Run, announce, changed, texts } from "./state.js";

/** Runs a measurement on an engine of its own, which ends with it. */
export async function runApart<Row>(
  run: Run<Row>,
  withModel: boolean,
  body: (worker: SpeechWorker, onRow: (row: Row) => void, signal: AbortSignal) => Promise<readonly Row[]>,
): Promise<void> {
  const control = new AbortController();
  Object.assign(run, {
    phase: "running",
    isWhole: false,
    rows: [],
    total: undefined,
    facts: undefined,
    problem: undefined,
  });
  run.stop = () => control.abort(new Cancelled());
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
    run.isWhole = true;
    announce(texts().done);
  } catch (error) {
    run.problem = problemOf(error);
    announce(run.problem.say(texts()));
  } finally {
    run.phase = "done";
    run.stop = undefined;
    changed();
    await worker?.close();
  }
}
