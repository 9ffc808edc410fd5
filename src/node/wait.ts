const cell = new Int32Array(new SharedArrayBuffer(4));
const pauses = { least: 0.05, most: 0.2 }; // ms
let waiting = 0;
let pumping = false;
let latest = 0; // when the latest wait began

/**
 * Sleeps in each turn of the event loop while a wait is open: a tenth of the time since the latest
 * one began, 0.05 to 0.2 ms.
 */
function pump(): void {
  pumping = waiting > 0;
  if (!pumping) return;
  const tenth = (performance.now() - latest) / 10;
  Atomics.wait(cell, 0, 0, Math.min(Math.max(tenth, pauses.least), pauses.most));
  setImmediate(pump);
}

/**
 * Waits with short sleeps of the main thread. Awaiting a Dawn promise polls without rest; on a
 * software adapter that takes a core from the driver's own workers (a GEMM ran 1.4 to 1.6 times
 * slower). Costs up to 0.2 ms of latency, however many wait at once.
 */
export async function restfulWait<T>(promise: Promise<T>): Promise<T> {
  waiting++;
  latest = performance.now();
  if (!pumping) {
    pumping = true;
    setImmediate(pump);
  }
  try {
    return await promise;
  } finally {
    waiting--;
  }
}
