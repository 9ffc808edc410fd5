/** What a process says of its work. */
export interface Sign {
  /** Whether it has something to do. */
  readonly busy: boolean;
  /** Changes with each piece of work that is done; undefined: the process does not answer. */
  readonly progress: number | undefined;
}

const looks = 10; // within the limit

/**
 * Notices a process that has something to do and gets nothing done. It counts looks, not time: a
 * machine that slept is not a process that hangs.
 */
export class Watchdog {
  #timer: NodeJS.Timeout | undefined;
  /** Changes with each start and stop. */
  #watch = 0;

  /**
   * @param limitMs  of no progress; Infinity: never
   * @param look     asks the process, and waits for its answer for so long at most
   * @param hung     called once, after which nothing is watched until the next start
   */
  constructor(
    private readonly limitMs: number,
    private readonly look: (waitMs: number) => Promise<Sign>,
    private readonly hung: () => void,
  ) {}

  start(): void {
    this.stop();
    if (this.limitMs !== Infinity) this.#next(this.limitMs / looks, { idle: 0, progress: undefined });
  }

  stop(): void {
    this.#watch++;
    clearTimeout(this.#timer);
  }

  /** Looks after a pause. A look that waited for its answer makes the next pause shorter. */
  #next(pause: number, before: { readonly idle: number; readonly progress: number | undefined }): void {
    const watch = this.#watch;
    const every = this.limitMs / looks;
    const look = async (): Promise<void> => {
      const began = performance.now();
      const { busy, progress } = await this.look(every);
      if (watch !== this.#watch) return;
      const stands = busy && (progress === undefined || progress === before.progress);
      const idle = stands ? before.idle + 1 : 0;
      const left = Math.max(0, every - (performance.now() - began));
      if (idle < looks) this.#next(left, { idle, progress: progress ?? before.progress });
      else this.hung();
    };
    this.#timer = setTimeout(() => void look(), pause);
    this.#timer.unref();
  }
}
