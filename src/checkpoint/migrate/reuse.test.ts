import { readFileSync } from "node:fs";
import { describe, expect, test } from "vitest";
import { realConfig, utf8 } from "../../../test/helpers/checkpoint.js";
import { directoryAssets } from "../layouts/assets.js";
import type { Assets } from "../layouts/layout.js";
import { QWEN3, adaptorReuse, compareTokenizers } from "./reuse.js";
import { memoryFiles } from "../source.js";

describe("the adaptor", () => {
  test.each([
    ["Qwen3-0.6B", 12_604_928, 128, 0],
    ["Qwen3-1.7B", 43_033_600, 256, 34],
    ["Qwen3-4B", 65_325_824, 320, 34],
    ["Qwen3-8B", 160_514_048, 512, 34],
  ])(
    "of the released checkpoint behind %s: %d parameters, heads of %d, %d tensors change",
    (name, then, headDim, changed) => {
      const reuse = adaptorReuse(realConfig("0.6B"), QWEN3[name]);
      expect(reuse).toMatchObject({ parametersNow: 12_604_928, parametersThen: then, headDim, tensors: 36 });
      expect(reuse.changed).toHaveLength(changed);
      expect(reuse.changed.some((t) => t.name.includes("linear_1"))).toBe(false);
      expect(reuse.sameShape).toBe(changed === 0 ? then : 512 * 2048 + 2048);
    },
  );

  test("another number of blocks, also at the same width", () => {
    const more = adaptorReuse(realConfig("0.6B"), QWEN3["Qwen3-0.6B"], 3).changed;
    expect(more).toHaveLength(16);
    expect(more.every((t) => t.before === undefined && t.name.includes(".layers.2."))).toBe(true);
    const fewer = adaptorReuse(realConfig("0.6B"), QWEN3["Qwen3-0.6B"], 1).changed;
    expect(fewer.every((t) => t.after === undefined && t.name.includes(".layers.1."))).toBe(true);
  });
});

describe("tokenizers", () => {
  interface Json {
    model: { vocab: Record<string, number>; merges: string[][] };
    added_tokens: { content: string; id: number }[];
  }
  const demo = readFileSync(new URL("../../../models/demo/tokenizer.json", import.meta.url), "utf8");
  const assets = (change: (json: Json) => unknown = () => 0): Assets => {
    const json = JSON.parse(demo) as Json;
    change(json);
    return directoryAssets(memoryFiles("m", new Map([["tokenizer.json", utf8(JSON.stringify(json))]])));
  };
  const same = { same: 1058, otherId: 0, onlyHere: 0, onlyThere: 0, sameMerges: true, added: [] };
  const audio = "<|object_ref_start|>";
  const find = (json: Json): Json["added_tokens"][number] =>
    json.added_tokens.find((t) => t.content === audio)!;

  test("equal, also if merges are written as texts", async () => {
    expect(await compareTokenizers(assets(), assets())).toEqual(same);
    const texts = assets((json) =>
      Object.assign(json.model, { merges: json.model.merges.map((m) => m.join(" ")) }),
    );
    expect(await compareTokenizers(assets(), texts)).toEqual(same);
  });

  test("a moved, a missing and a new added token, other merges, another token", async () => {
    expect(
      await compareTokenizers(
        assets(),
        assets((json) => (find(json).id = 7)),
      ),
    ).toEqual({ ...same, same: 1057, otherId: 1, added: [{ token: audio, here: 1035, there: 7 }] });
    const without = assets((json) => json.added_tokens.splice(json.added_tokens.indexOf(find(json)), 1));
    expect(await compareTokenizers(assets(), without)).toEqual({
      ...same,
      same: 1057,
      onlyHere: 1,
      added: [{ token: audio, here: 1035, there: null }],
    });
    const other = assets((json) => {
      json.model.merges.reverse();
      json.model.vocab["new"] = 2000;
    });
    expect(await compareTokenizers(assets(), other)).toEqual({ ...same, onlyThere: 1, sameMerges: false });
  });
});
