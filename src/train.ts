/** The parts of an adaptor's training, for a loop of one's own: `examples/train-adaptor.ts`. */
export { makeBatch } from "./train/batch.js";
export type { Corpus, TrainClip } from "./train/corpus.js";
export { TrainError } from "./train/errors.js";
export { type TrainingBatch, answerLosses, recordGradients } from "./train/forward.js";
export { type TrainEvents, type TrainRun, train } from "./train/loop.js";
export { type Optimiser, update } from "./train/optimiser.js";
export { type AskedOptions, type TrainOptions, defaultOptions } from "./train/options.js";
export { type DataFile, type Session, type SessionSetup, openSession } from "./train/session.js";
export type { TunablePart } from "./train/tune.js";
