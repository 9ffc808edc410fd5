import { show } from "../json.js";
import { TokenizerError } from "./errors.js";
import { DEFAULT_AUDIO_TOKEN } from "./prompts.js";
import type { Tokenizer } from "./tokenizer.js";

/** The tokens of prompts and of the stop rule. */
export interface SpecialTokens {
  readonly imStart: number;
  readonly imEnd: number;
  readonly endOfText: number;
  readonly audio: number;
  readonly audioToken: string;
  readonly stop: readonly number[]; // im_end, endoftext and generation_config.eos_token_id, each once
}

/** The tokens according to a checkpoint's other files. */
export interface SpecialTokenSetup {
  readonly audioTokenId: number; // audio_token_id of config.json
  readonly vocabSize?: number; // text_config.vocab_size of config.json: rows of the embedding
  readonly audioToken?: string; // audio_token of processor_config.json
  readonly eosTokenId?: unknown; // eos_token_id of generation_config.json: absent, null, a number or an array of numbers
  readonly tokenizerFile?: string; // names, for errors
  readonly configFile?: string;
  readonly generationConfigFile?: string;
}

/**
 * Checks that tokenizer and model agree on the tokens of prompts and of the stop rule.
 * @throws TokenizerError  a token is missing, an id is not below vocab_size, audio_token_id is not
 *   the tokenizer's, or eos_token_id has a wrong type
 */
export function checkSpecialTokens(tokenizer: Tokenizer, setup: SpecialTokenSetup): SpecialTokens {
  const {
    audioToken = DEFAULT_AUDIO_TOKEN,
    tokenizerFile = "tokenizer.json",
    configFile = "config.json",
    generationConfigFile = "generation_config.json",
  } = setup;
  const vocabSize = setup.vocabSize ?? Infinity;
  const idOf = (token: string): number => {
    const id = tokenizer.id(token);
    if (id === undefined)
      throw new TokenizerError(tokenizerFile, token, "a token of the vocabulary", "nothing");
    if (id >= vocabSize)
      throw new TokenizerError(tokenizerFile, `id of ${token}`, `an id below vocab_size ${vocabSize}`, id);
    return id;
  };
  const ids = {
    imStart: idOf("<|im_start|>"),
    imEnd: idOf("<|im_end|>"),
    endOfText: idOf("<|endoftext|>"),
    audio: idOf(audioToken),
  };
  const expected = `${ids.audio}, the tokenizer's id of ${audioToken}`;
  if (setup.audioTokenId !== ids.audio)
    throw new TokenizerError(configFile, "audio_token_id", expected, setup.audioTokenId);
  checkLargest(tokenizer, tokenizerFile, vocabSize);
  const eos = eosIds(setup.eosTokenId, generationConfigFile, vocabSize);
  return { ...ids, audioToken, stop: [...new Set([ids.imEnd, ids.endOfText, ...eos])] };
}

/**
 * Stop ids of a language model: im_end and endoftext of the vocabulary, and
 * generation_config.eos_token_id, each once.
 * @throws TokenizerError  there are none, eos_token_id has a wrong type, or an id is not below
 *   vocab_size
 */
export function stopTokens(
  tokenizer: Tokenizer,
  { vocabSize = Infinity, eosTokenId, ...setup }: Omit<SpecialTokenSetup, "audioTokenId" | "audioToken">,
): number[] {
  const { tokenizerFile = "tokenizer.json", generationConfigFile = "generation_config.json" } = setup;
  checkLargest(tokenizer, tokenizerFile, vocabSize);
  const usual = ["<|im_end|>", "<|endoftext|>"].map((token) => tokenizer.id(token));
  const ids = [
    ...usual.filter((id) => id !== undefined),
    ...eosIds(eosTokenId, generationConfigFile, vocabSize),
  ];
  const stop = [...new Set(ids)];
  if (stop.length > 0) return stop;
  const expected = "in the vocabulary, or eos_token_id in generation_config.json";
  throw new TokenizerError(tokenizerFile, "<|im_end|> or <|endoftext|>", expected, "nothing");
}

/** @throws TokenizerError  a token has no row of the embedding */
function checkLargest({ largest }: Tokenizer, file: string, vocabSize: number): void {
  if (largest.id < vocabSize) return;
  const expected = `ids below the model's vocab_size ${vocabSize}`;
  throw new TokenizerError(file, largest.field, expected, `${largest.id} of ${show(largest.token)}`);
}

function eosIds(value: unknown, file: string, vocabSize: number): number[] {
  const list: unknown[] = value === undefined || value === null ? [] : Array.isArray(value) ? value : [value];
  return list.map((id) => {
    if (typeof id === "number" && Number.isInteger(id) && id >= 0 && id < vocabSize) return id;
    const limit = vocabSize === Infinity ? "" : ` below ${vocabSize}`;
    throw new TokenizerError(file, "eos_token_id", `token ids${limit}`, show(value));
  });
}
