import { expect, test } from "vitest";
import { TurnQueue } from "./queue.js";

// Plan: whom a queue serves: owners in turns, one owner's requests in order.
interface Item {
  readonly name: string;
  readonly owner: object;
}

const owners = new Map<string, object>();

/** "a1" is owner a's. */
function item(name: string): Item {
  if (!owners.has(name[0])) owners.set(name[0], {});
  return { name, owner: owners.get(name[0])! };
}

function served(queue: TurnQueue<Item>, count = Infinity): string {
  const names: string[] = [];
  for (let next = queue.first; next && names.length < count; next = queue.first) {
    queue.serve(next);
    names.push(next.name);
  }
  return names.join(" ");
}

test.each([
  ["one owner in order", "a1 a2 a3", "a1 a2 a3"],
  ["owners in turns", "a1 a2 a3 b1 b2", "a1 b1 a2 b2 a3"],
])("%s", (_, added, want) => {
  owners.clear();
  const queue = new TurnQueue<Item>();
  for (const name of added.split(" ")) queue.add(item(name));
  expect(served(queue)).toBe(want);
  expect(queue.length).toBe(0);
});

test("an owner who comes later waits for no more than one turn of another", () => {
  owners.clear();
  const queue = new TurnQueue<Item>();
  for (let i = 1; i <= 9; i++) queue.add(item(`a${i}`));
  expect(served(queue, 4)).toBe("a1 a2 a3 a4");
  queue.add(item("b1"));
  expect(queue.length).toBe(6);
  const [dropped] = queue.items;
  expect([queue.drop(dropped), queue.drop(dropped)]).toEqual([true, false]);
  expect(dropped.name).toBe("a5");
  expect(served(queue)).toBe("b1 a6 a7 a8 a9");
});
