import { describe, expect, test } from "vitest";
import { Admission } from "./admission.js";
import { ApiError } from "./api-error.js";

// Plan: places are counted from the audio's end to the result's; visits from the first byte to the
// answer; the time to come back follows the engine's work alone.

function refusal(call: () => unknown): ApiError {
  try {
    call();
  } catch (error) {
    if (error instanceof ApiError) return error;
  }
  throw new Error("expected a refusal");
}

describe("places", () => {
  test("only those whose audio is whole have one", () => {
    const admission = new Admission(1, 1);
    const visits = [admission.arrive(), admission.arrive(), admission.arrive()];
    expect(admission.inside).toBe(0);
    visits[0].enter();
    visits[1].enter();
    expect(admission.inside).toBe(2);
    expect(refusal(() => visits[2].enter())).toMatchObject({ status: 429, code: "server_busy" });
    expect(refusal(() => admission.arrive()).status).toBe(429);
    visits[0].done();
    visits[0].done();
    visits[2].enter();
    expect(admission.inside).toBe(2);
    for (const { leave } of [...visits, ...visits]) leave();
    expect(admission.inside).toBe(0);
  });

  test("a visit that has left takes no place any more", () => {
    const admission = new Admission(1, 0);
    const { leave, enter } = admission.arrive();
    leave();
    enter();
    expect(admission.inside).toBe(0);
  });

  test("five visits for each place at once", () => {
    const admission = new Admission(1, 1);
    const visits = Array.from({ length: 10 }, () => admission.arrive());
    expect(refusal(() => admission.arrive()).message).toContain("10 requests are open");
    visits[0].leave();
    admission.arrive();
  });

  test("it is empty when all visits have left, with a place or without", async () => {
    const admission = new Admission(1, 0);
    await admission.emptied();
    const [comes, reads] = [admission.arrive(), admission.arrive()];
    let empty = false;
    const emptied = admission.emptied().then(() => (empty = true));
    reads.enter();
    reads.done(1);
    reads.leave();
    await Promise.resolve();
    expect(empty).toBe(false);
    comes.leave();
    await emptied;
  });
});

test.each([
  ["no result", [undefined, undefined], 2],
  ["short work", [1, 1, 1], 2],
  ["long work", new Array<number>(100).fill(10), 20],
  ["very long work", new Array<number>(100).fill(1000), 60],
])("the time to come back: %s", (_, works, seconds) => {
  const admission = new Admission(1, 4);
  for (const work of works) {
    const visit = admission.arrive();
    visit.enter();
    visit.done(work);
    visit.leave();
  }
  for (let i = 0; i < 5; i++) admission.arrive().enter();
  expect(refusal(() => admission.arrive()).retryAfterSeconds).toBe(seconds);
});
