import { type JsonObject, isObject, show } from "../../json.js";
import { checkpointError } from "../../formats/errors.js";
import { readFirst } from "./assets.js";
import type { NamedJson } from "./layout.js";
import type { ModelFiles } from "../source.js";

/** The audio token of transformers' prompts. FunASR's marks are in no vocabulary. */
export const AUDIO_TOKEN = "<|object_ref_start|>";

/**
 * Finds the audio token by its text, for layouts whose config does not name it.
 * @param files  the tokenizer's directory
 * @throws CheckpointError  the tokenizer does not have it, or its id is not below vocabSize
 */
export async function findAudioToken(
  files: ModelFiles,
  vocabSize: number,
): Promise<{ token: string; id: number }> {
  const config = await readFirst(files, "tokenizer_config.json");
  const tokenizer = (): Promise<NamedJson> => readFirst(files, "tokenizer.json");
  return { token: AUDIO_TOKEN, id: await addedTokenId(AUDIO_TOKEN, config, tokenizer, vocabSize) };
}

/**
 * Id of an added token by its text, from tokenizer_config.json or else tokenizer.json.
 * @throws CheckpointError  there is no such token, or its id is not below vocabSize
 */
export async function addedTokenId(
  token: string,
  config: NamedJson,
  tokenizer: () => Promise<NamedJson>,
  vocabSize: number,
): Promise<number> {
  let id = inDecoder(config.json, token);
  let { file } = config;
  if (id === undefined) {
    const found = await tokenizer();
    id = inAddedTokens(found.json, token);
    file = found.file;
  }
  if (id !== undefined && id < vocabSize) return id;
  const expected = `an added token of that name with an id below ${vocabSize}`;
  const advice = "is this the tokenizer of a Qwen3?";
  throw checkpointError(file, token, expected, show(id), advice);
}

/** tokenizer_config.json: added_tokens_decoder {id: {content}}. */
function inDecoder({ added_tokens_decoder: decoder }: JsonObject, text: string): number | undefined {
  const found = isObject(decoder)
    ? Object.entries(decoder).find(([, token]) => isObject(token) && token["content"] === text)
    : undefined;
  return found && /^\d{1,9}$/.test(found[0]) ? Number(found[0]) : undefined;
}

/** tokenizer.json: added_tokens [{id, content}]. */
function inAddedTokens({ added_tokens: added }: JsonObject, text: string): number | undefined {
  const list: unknown[] = Array.isArray(added) ? added : [];
  const found = list.find((token) => isObject(token) && token["content"] === text);
  const id = isObject(found) ? found["id"] : undefined;
  return typeof id === "number" && Number.isSafeInteger(id) && id >= 0 ? id : undefined;
}
