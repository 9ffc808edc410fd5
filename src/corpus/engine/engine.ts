import { FunasrError } from "../../errors.js";
import type { FailureKind, Heard, Item } from "../item.js";

/** An item that has no text, whoever runs it: its record says why. */
export class ItemFailure extends FunasrError {
  constructor(
    readonly kind: FailureKind,
    message: string,
  ) {
    super(message);
  }
}

/** The engine cannot run anything any more: this worker has to end. */
export class EngineUnavailable extends FunasrError {}

/** What items run on. */
export interface CorpusEngine {
  /** Items that are given to it at once. */
  readonly width: number;
  /** Name of the device, for costs. */
  readonly device: string;
  /**
   * @throws ItemFailure  the item has no text; EngineUnavailable; any other error is one of the moment,
   *                      and the shard is run again
   */
  run(item: Item, signal: AbortSignal): Promise<Heard>;
  /** Seconds that the device was at work so far, and how often its process was started again. */
  usage(): { readonly gpuSeconds: number; readonly restarts: number };
  stop(): Promise<void>;
}
