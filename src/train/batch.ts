import type { Corpus, TrainClip } from "./corpus.js";
import type { TrainingBatch } from "./forward.js";
import { concatenated } from "../frontend/audio.js";

/** Clips as one packed batch, their rows read from the cache. */
export async function makeBatch(corpus: Corpus, clips: readonly TrainClip[]): Promise<TrainingBatch> {
  const rows = [];
  for (const clip of clips) rows.push(await corpus.rows(clip));
  const data = concatenated(rows.map((row) => row.data));
  return {
    audio: corpus.holds === "features" ? { features: data } : { states: data },
    frames: rows.map(({ frames }) => frames),
    prompts: clips.map(({ prompt }) => prompt),
    answers: clips.map(({ answer }) => answer),
  };
}
