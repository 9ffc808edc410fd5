import { FunasrError } from "../../errors.js";

/** The engine's queue holds as many requests as it may: the request was not taken. */
export class QueueFullError extends FunasrError {
  /**
   * @param waiting            requests that wait
   * @param retryAfterSeconds  when there may be room, a whole number from 1
   */
  constructor(
    readonly waiting: number,
    readonly retryAfterSeconds: number,
  ) {
    super(
      `engine: queue: expected room for one more request, got ${waiting} that wait; try again in ${retryAfterSeconds} s`,
    );
  }
}

/** A request's result was not there within its time. */
export class DeadlineError extends FunasrError {
  constructor(readonly timeoutMs: number) {
    super(`engine: expected the result within ${timeoutMs} ms, got none; allow more time or send less audio`);
  }
}

/** The engine was closed: it takes no request, and ended those that it had. */
export class EngineClosedError extends FunasrError {
  constructor() {
    super("engine: expected one that runs, got one that was closed; make another");
  }
}
