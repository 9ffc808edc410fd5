const cell = new Int32Array(new SharedArrayBuffer(4));
const pause = 0.2; // ms

/**
 * Waits with short sleeps of the main thread. Awaiting a Dawn promise polls without rest; on a software adapter that
 * takes a core from the driver's own workers (a GEMM ran 1.4 to 1.6 times slower). Costs up to 0.2 ms of latency.
 */
export async function restfulWait<T>(promise: Promise<T>): Promise<T> {
  const state = { settled: false };
  const settle = (): void => void (state.settled = true);
  promise.then(settle, settle);
  await new Promise<void>((resolve) => {
    const poll = (): void => {
      if (state.settled) {
        resolve();
        return;
      }
      Atomics.wait(cell, 0, 0, pause);
      setImmediate(poll);
    };
    setImmediate(poll);
  });
  return promise;
}
