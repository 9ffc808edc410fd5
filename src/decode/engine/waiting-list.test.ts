import { expect, test } from "vitest";
import { Request } from "./request.js";
import { WaitingList } from "./waiting-list.js";
import type { PreparedClip } from "../transcriber.js";
import type { Plan } from "./row.js";

// Plan: requests of each kind that wait, some of which are read again: whom each kind has next.
function request(name: string): Request {
  const clip = { name } as PreparedClip;
  return new Request(clip, {} as Plan, { priority: name === name.toLowerCase() ? "normal" : "live" });
}
const name = (found: Request | undefined): string | undefined => found?.clip.name;

test("one that is read again is the next of its kind, and keeps none of the other back", () => {
  const list = new WaitingList();
  const [a, b, c, L, M] = ["a", "b", "c", "L", "M"].map(request);
  for (const one of [b, L]) list.add(one);
  list.addAgain(a);
  expect([list.next(false), list.next(true)].map(name)).toEqual(["a", "L"]);
  list.addAgain(M);
  list.add(c);
  expect(list.next(true)).toBe(M);
  expect([list.count(false), list.count(true), list.items.length]).toEqual([2, 1, 5]);
  expect([list.drop(a), list.drop(a), list.drop(b)]).toEqual([false, false, true]);
  expect(list.next(false)).toBe(c);
  list.serve(M);
  expect(list.next(true)).toBe(L);
});
