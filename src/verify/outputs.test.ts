import { fileURLToPath } from "node:url";
import { beforeAll, describe, expect, it } from "vitest";
import { openFile } from "../node/files.js";
import { type Bundle, openBundle, readStage } from "./bundle.js";
import { verifyOutputs } from "./verify.js";

// Plan: PyTorch's own f32 as another program's output agrees; a wrong value, a NaN, another shape
// differ, each in its own words; stages come in the order of the pipeline; a name that the bundle
// lacks is refused.
describe("verifyOutputs", () => {
  const stage = "adaptor.projector";
  const file = fileURLToPath(new URL("../../golden/bundles/adaptor-67.safetensors", import.meta.url));
  let bundle: Bundle;
  let torch: Awaited<ReturnType<typeof readStage>>;
  beforeAll(async () => {
    bundle = await openBundle(await openFile(file));
    torch = await readStage(bundle, stage);
  });
  const judge = async (value: typeof torch): Promise<unknown> => {
    const [{ ok, ratio, problem }] = await verifyOutputs(bundle, new Map([[stage, value]]));
    return { ok, ratio, problem };
  };

  it("agrees with PyTorch's f32", async () => {
    expect(await judge(torch)).toEqual({ ok: true, ratio: 1, problem: undefined });
  });

  it("a wrong value differs", async () => {
    const data = torch.data.slice();
    data[5] += 0.01;
    expect(await judge({ ...torch, data })).toMatchObject({ ok: false, problem: undefined });
  });

  it("a NaN is named", async () => {
    const data = torch.data.slice();
    data[5] = NaN;
    expect(await judge({ ...torch, data })).toMatchObject({ ok: false, problem: "got NaN" });
  });

  it("another shape is named", async () => {
    expect(await judge({ ...torch, shape: [192, 67] })).toMatchObject({
      ok: false,
      problem: "shape: want [67, 192], got [192, 67]",
    });
  });

  it("stages come in the order of the pipeline", async () => {
    const outputs = new Map([
      ["adaptor.blocks.0", await readStage(bundle, "adaptor.blocks.0")],
      [stage, torch],
    ]);
    expect((await verifyOutputs(bundle, outputs)).map((result) => result.stage)).toEqual([
      stage,
      "adaptor.blocks.0",
    ]);
  });

  it("refuses a name that the bundle lacks", async () => {
    await expect(verifyOutputs(bundle, new Map([["adaptor.projection", torch]]))).rejects.toThrow(
      "stage adaptor.projection: expected one of adaptor.blocks.0, adaptor.projector, got none of them",
    );
  });
});
