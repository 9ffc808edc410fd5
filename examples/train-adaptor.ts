// Trains an adaptor, on one screen: npx tsx examples/train-adaptor.ts [DATA.jsonl] [MODEL]
// `funasr-webgpu train` adds saved states, resuming, schedules, alarms and the written checkpoint.
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { type Utterance, demoModel, modelDirectory, openDevice, readUtterances } from "funasr-webgpu/node";
import {
  answerLosses,
  defaultOptions,
  makeBatch,
  openSession,
  recordGradients,
  update,
} from "funasr-webgpu/train";

const [file = join(demoModel, "clips/clips.jsonl"), model = demoModel] = process.argv.slice(2);
const steps = 20;
const perStep = 4; // clips

const mean = (values: ArrayLike<number>): number =>
  Array.from(values).reduce((a, b) => a + b, 0) / values.length;

const utterances: Utterance[] = [];
for await (const utterance of readUtterances(file)) utterances.push(utterance);
const out = await mkdtemp(join(tmpdir(), "train-adaptor-")); // holds the encoder's states of each clip
const { gpu } = await openDevice();
try {
  const session = await openSession(gpu, {
    model: modelDirectory(model),
    data: { name: file, utterances },
    tune: ["adaptor"], // the encoder and the LLM are frozen: they have no gradients and no moments
    options: { ...defaultOptions, steps },
    out,
    skipBad: true,
    onBad: console.error,
  });
  const { model: funAsrNano, corpus, clips, optimiser } = session.run;
  for (let step = 1; step <= steps; step++) {
    const first = (step - 1) * perStep;
    const members = Array.from({ length: perStep }, (_, i) => clips[(first + i) % clips.length]);
    const batch = await makeBatch(corpus, members); // packed: the clips' rows one after another
    const denominator = batch.answers.flat().length;
    const [losses, [norm]] = await gpu.step(() => {
      const losses = recordGradients(gpu, funAsrNano, batch, { denominator, labelSmoothing: 0, seed: step });
      const adam = { learningRate: 3e-4, step, beta1: 0.9, beta2: 0.999, eps: 1e-8, decay: 0.01 };
      const { clip } = update(gpu, optimiser, 1, adam); // clips the global norm at 1, steps, clears the gradients
      return [losses, clip];
    });
    console.log(`step ${step}  loss ${mean(losses).toFixed(4)}  gradient norm ${norm.toFixed(3)}`);
  }
  const all = await makeBatch(corpus, clips);
  const [losses] = await gpu.step(() => [answerLosses(gpu, funAsrNano, all)]);
  console.log(`after training: loss ${mean(losses).toFixed(4)} over ${clips.length} clips`);
  session.free();
} finally {
  gpu.destroy();
  await rm(out, { recursive: true });
}
