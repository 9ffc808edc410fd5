import { expect, test } from "vitest";
import { placeOf } from "./place.js";

// Plan: a worker's number by the options, by a Slurm array with any first number and step, by an
// indexed Job; an array with gaps would leave shards out and is refused.
const array = (task: string, min: string, max: string, step: string, count: string) => ({
  SLURM_ARRAY_TASK_ID: task,
  SLURM_ARRAY_TASK_MIN: min,
  SLURM_ARRAY_TASK_MAX: max,
  SLURM_ARRAY_TASK_STEP: step,
  SLURM_ARRAY_TASK_COUNT: count,
});

test.each([
  [{ shard: 2, of: 5 }, {}, { index: 2, of: 5 }],
  [{}, array("0", "0", "3", "1", "4"), { index: 0, of: 4 }],
  [{}, array("5", "1", "9", "2", "5"), { index: 2, of: 5 }],
  [{}, array("3", "3", "7", "1", "2"), "a Slurm array with gaps: pass --shard K --of N, or --claims"],
  [{ of: 10 }, array("7", "0", "9", "1", "2"), { index: 7, of: 10 }],
  [{ claims: true }, array("3", "3", "7", "1", "2"), undefined],
  [{}, { JOB_COMPLETION_INDEX: "4" }, { index: 4 }],
  [{}, {}, undefined],
])("%j, %j", (asked, variables, place) => expect(placeOf(asked, variables)).toEqual(place));
