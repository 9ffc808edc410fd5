import { expectedTensors } from "../../config/expected-tensors.js";
import type { ModelConfig } from "../../config/model-config.js";
import { unwrappedNames } from "../../config/wrappers.js";
import type { Container } from "../../formats/container.js";
import { checkpointError, tensorField } from "../../formats/errors.js";
import { show } from "../../json.js";
import { type ByteSource, type ModelFiles, closeOnError, readRange } from "../source.js";
import { openTorchFile } from "../torch/torch-file.js";
import { FUNASR_KEY_MAP } from "./key-maps-funasr.js";
import { alternatives, canonicalName } from "./key-maps.js";

const WEIGHTS = "model.pt";
/** The weights in a directory of DeepSpeed's, which has the name that the file would have. */
export const DEEPSPEED_WEIGHTS = "mp_rank_00_model_states.pt";

/** Opens model.pt, a file or a directory of DeepSpeed's. @throws CheckpointError  missing */
export async function openWeights(files: ModelFiles): Promise<ByteSource> {
  const directory = files.directory(WEIGHTS);
  return (await directory.has(DEEPSPEED_WEIGHTS)) ? directory.open(DEEPSPEED_WEIGHTS) : files.open(WEIGHTS);
}

/** The weights of model.pt. @throws CheckpointError  missing or damaged */
export async function openTorchContainer(files: ModelFiles): Promise<Container> {
  const source = await openWeights(files);
  const infos = await closeOnError(source, () => openTorchFile(source));
  const names = unwrappedNames(infos.keys());
  const byName = new Map(
    [...infos.values()].map((info) => {
      const name = names.get(info.name)!;
      return [name, { stored: info, tensor: { ...info, name, file: WEIGHTS } }];
    }),
  );
  return {
    name: files.name,
    layout: "funasr",
    tensors: new Map([...byName].map(([name, { tensor }]) => [name, tensor])),
    metadata: new Map(),
    read: ({ name }, byteOffset, byteLength, into) =>
      readRange(source, byName.get(name)!.stored, byteOffset, byteLength, into),
    close: () => source.close(),
  };
}

/**
 * The weights of model.pt, and those that it lacks from the base, if there is one.
 * @returns  the container, and a sentence about what was taken
 * @throws CheckpointError  the base is not in FunASR's layout, or as openTorchContainer
 */
export async function containerOverBase(
  files: ModelFiles,
): Promise<{ readonly container: Container; readonly taken: readonly string[] }> {
  const own = await openTorchContainer(files);
  const { base } = files;
  if (!base) return { container: own, taken: [] };
  return closeOnError(own, async () => {
    if (!(await base.list()).includes(WEIGHTS)) {
      const advice = "make one of a checkpoint of another layout: convert MODEL OUT --to funasr";
      throw checkpointError(base.name, "base", "FunASR's layout, with model.pt", "none", advice);
    }
    const under = await openTorchContainer(base);
    const lacking = [...under.tensors.keys()].filter((name) => !own.tensors.has(name));
    const container: Container = {
      ...own,
      tensors: new Map([...lacking.map((name) => [name, under.tensors.get(name)!] as const), ...own.tensors]),
      read: (tensor, byteOffset, byteLength, into) =>
        (own.tensors.has(tensor.name) ? own : under).read(tensor, byteOffset, byteLength, into),
      close: async () => {
        await own.close();
        await under.close();
      },
    };
    const note = `${lacking.length} tensors that ${files.name} does not hold are those of ${base.name}`;
    return { container, taken: lacking.length > 0 ? [note] : [] };
  });
}

const PARTS: readonly (readonly [name: string, prefix: string])[] = [
  ["the encoder", "model.audio_tower."],
  ["the adaptor", "model.multi_modal_projector."],
  ["the LLM", "model.language_model."],
  ["the head", "lm_head."],
];

/**
 * Refuses weights of a part of the model: a trainer may leave out frozen tensors, and DeepSpeed's
 * ZeRO 3 keeps all elsewhere.
 * @throws CheckpointError  it counts what is missing of each part, and names the first
 */
export function refusePartial(container: Container, config: ModelConfig, files: ModelFiles): void {
  for (const { name, shape } of container.tensors.values())
    if (shape.length === 1 && shape[0] === 0) {
      const advice =
        "DeepSpeed's ZeRO 3 keeps weights in the files of the optimiser: run its zero_to_fp32.py, and name what it writes";
      throw checkpointError(files.name, tensorField(name), "its values", "an empty tensor", advice);
    }
  if (files.base) return; // checkTensors names what neither has
  const found = new Set(
    [...container.tensors.keys()].flatMap((name) =>
      alternatives(canonicalName(name, FUNASR_KEY_MAP, config)),
    ),
  );
  const expected = [...expectedTensors(config, container.name).keys()];
  const missing = expected.filter((name) => !found.has(name));
  if (missing.length === 0 || [...found].every((name) => !expected.includes(name))) return;
  const advice = "were frozen tensors left out? add --base DIR, the checkpoint that was trained";
  const isWhole = PARTS.some(([, prefix]) => {
    const part = expected.filter((name) => name.startsWith(prefix));
    return part.length > 1 && part.every((name) => !found.has(name));
  });
  if (!isWhole) {
    const got = `none (${missing.length} missing, ${container.tensors.size} in the file)`;
    throw checkpointError(files.name, tensorField(missing[0]), "a tensor of that name", got, advice);
  }
  const counts = PARTS.flatMap(([part, prefix]) => {
    const of = (names: readonly string[]): number => names.filter((name) => name.startsWith(prefix)).length;
    return of(missing) > 0 ? [`${of(missing)} of ${of(expected)} of ${part}`] : [];
  });
  const got = `without ${counts.join(", ")}, the first ${show(missing[0])}`;
  throw checkpointError(files.name, WEIGHTS, "the tensors of a whole model", got, advice);
}
