import type { Corpus, TrainClip } from "./corpus.js";
import type { TrainingBatch } from "./forward.js";

/** Clips as one packed batch, their rows read from the cache. */
export async function makeBatch(corpus: Corpus, clips: readonly TrainClip[]): Promise<TrainingBatch> {
  const rows = [];
  for (const clip of clips) rows.push(await corpus.rows(clip));
  const data = new Float32Array(rows.reduce((total, row) => total + row.data.length, 0));
  let at = 0;
  for (const row of rows) {
    data.set(row.data, at);
    at += row.data.length;
  }
  return {
    audio: corpus.holds === "features" ? { features: data } : { states: data },
    frames: rows.map(({ frames }) => frames),
    prompts: clips.map(({ prompt }) => prompt),
    answers: clips.map(({ answer }) => answer),
  };
}
