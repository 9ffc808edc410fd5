// A model of a queue of 10,000 hours on 64 workers with failures: tsx experiments/corpus/simulation.ts.
// No worker and no Redis runs.
// Shards have about an hour, which takes a worker 36 s, more or less 20 %. Workers die at random, and
// the shard of a dead one is taken over after its lease; 1 of 100 tries fails, and is tried again after
// a pause. A worker that finds no shard looks again after 5 s, as claim files do. The bound is all work,
// lost work and the time of dead workers included, spread over the workers.
import { uniformNumbers } from "../../src/random.js";

const WORKERS = 64;
const HOURS = 10_000;
const SHARD = 36; // s
const LEASE = 60; // s
const BACKOFF = 10; // s
const POLL = 5; // s
const DEATHS = 1 / 7200; // a second of work: a worker dies every 2 h
const REBORN = 120; // s until another takes its place
const FAILS = 0.01;

interface Outcome {
  /** s */
  readonly makespan: number;
  readonly bound: number;
  /** The longest time that a worker waited while a shard could be taken, s. */
  readonly idle: number;
  readonly deaths: number;
}

function simulate(seed: number): Outcome {
  const random = uniformNumbers(seed);
  const waiting = Array.from({ length: HOURS }, () => ({
    seconds: SHARD * (0.8 + 0.4 * random()),
    notBefore: 0,
  }));
  const free = new Float64Array(WORKERS); // when each looks for a shard next
  const since = new Float64Array(WORKERS); // since when each has none
  let [done, work, idle, deaths, makespan] = [0, 0, 0, 0, 0];
  while (done < HOURS) {
    const worker = free.indexOf(Math.min(...free));
    const now = free[worker];
    const at = waiting.findIndex(({ notBefore }) => notBefore <= now);
    if (at < 0) {
      free[worker] = now + POLL;
      continue;
    }
    const [{ seconds, notBefore }] = waiting.splice(at, 1);
    idle = Math.max(idle, now - Math.max(since[worker], notBefore));
    const death = -Math.log(1 - random()) / DEATHS;
    if (death < seconds) {
      deaths++;
      work += death + REBORN;
      free[worker] = now + death + REBORN;
      waiting.push({ seconds, notBefore: now + death + LEASE });
    } else {
      work += seconds;
      free[worker] = now + seconds;
      if (random() < FAILS) waiting.push({ seconds, notBefore: free[worker] + BACKOFF });
      else {
        done++;
        makespan = Math.max(makespan, free[worker]);
      }
    }
    since[worker] = free[worker];
  }
  return { makespan, bound: work / WORKERS, idle, deaths };
}

let fine = true;
for (const seed of [1, 2, 3, 4, 5]) {
  const { makespan, bound, idle, deaths } = simulate(seed);
  const over = makespan / bound - 1;
  fine &&= over <= 0.05 && idle <= POLL;
  const times = `makespan ${(makespan / 3600).toFixed(3)} h, ${(100 * over).toFixed(2)} % above the bound`;
  process.stdout.write(
    `seed ${seed}: ${deaths} deaths, ${times}; longest wait while a shard could be taken: ${idle.toFixed(1)} s\n`,
  );
}
process.exit(fine ? 0 : 1);
