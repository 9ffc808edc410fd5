import type { StepMetrics, ValidationMetrics } from "../../train/metrics.js";
import { note, terminalBar } from "../output.js";

/** How a run is shown on stderr: a bar on a terminal, else a line at each validation. */
export interface TrainDisplay {
  start(done: number, total: number): void;
  step(metrics: StepMetrics): void;
  validation(metrics: ValidationMetrics): void;
  alarm(message: string): void;
  stop(): void;
}

const smoothed = 20; // steps that tokens a second are taken over

export function trainDisplay(): TrainDisplay {
  const bar = terminalBar({
    format: "{stage} {bar} {value}/{total} · loss {loss} · {rate} tokens/s · {eta_formatted} left",
    etaBuffer: smoothed,
  });
  const latest: StepMetrics[] = [];
  let shown = 0;
  let total = 0;
  /** A line above the bar. */
  const line = (text: string): void => {
    bar?.stop();
    note(text);
    bar?.start(total, shown, values(latest));
  };
  return {
    start(done, all) {
      [shown, total] = [done, all];
      if (done > 0) note(`resumed at step ${done} of ${all}`);
      bar?.start(all, done, values(latest));
    },
    step(metrics) {
      if (latest.at(-1)?.aligned !== metrics.aligned) latest.length = 0; // speeds of two kinds
      latest.push(metrics);
      if (latest.length > smoothed) latest.shift();
      shown = metrics.step;
      bar?.update(shown, values(latest));
    },
    validation({ step, validation: { loss, cer, cosine } }) {
      const shownLoss = values(latest);
      const parts = [`step ${step}: ${shownLoss.stage} loss ${shownLoss.loss}`];
      if (loss !== undefined) parts.push(`validation loss ${loss.toFixed(4)}`);
      if (cer !== undefined) parts.push(`CER ${(100 * cer).toFixed(1)} %`);
      line([...parts, `cosine ${cosine.toFixed(3)}`].join(", "));
    },
    alarm: (message) => line(`alarm: ${message}`),
    stop: () => bar?.stop(),
  };
}

function values(latest: readonly StepMetrics[]): { stage: string; loss: string; rate: string } {
  const seconds = latest.reduce((sum, step) => sum + step.seconds, 0);
  const tokens = latest.reduce((sum, step) => sum + step.tokens, 0);
  const last = latest.at(-1);
  const stage = last?.aligned ? "alignment" : "training";
  return {
    stage,
    loss: last ? last.loss.toFixed(4) : "-",
    rate: seconds > 0 ? (tokens / seconds).toFixed(0) : "-",
  };
}
