import { expect, test } from "vitest";
import { TurnQueue } from "./queue.js";

// Plan: whom a queue serves: live requests first, owners in turns, one owner's requests in order.
interface Item {
  readonly name: string;
  readonly live: boolean;
  readonly owner: object;
}

const owners = new Map<string, object>();

/** "a1" is owner a's; a capital letter is live. */
function item(name: string): Item {
  const letter = name[0].toLowerCase();
  if (!owners.has(letter)) owners.set(letter, {});
  return { name, live: letter !== name[0], owner: owners.get(letter)! };
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
  ["live ones first", "a1 B1 a2 C1 B2", "B1 C1 B2 a1 a2"],
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
  queue.add(item("B2"));
  expect([queue.length, queue.live]).toEqual([7, 1]);
  const [dropped] = queue.items;
  expect([queue.drop(dropped), queue.drop(dropped)]).toEqual([true, false]);
  expect(dropped.name).toBe("a5");
  expect(served(queue)).toBe("B2 b1 a6 a7 a8 a9");
});
