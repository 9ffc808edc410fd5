import { show } from "../json.js";
import { TokenizerError } from "./errors.js";
import { DEFAULT_AUDIO_TOKEN } from "./prompts.js";
import type { Tokenizer } from "./tokenizer.js";

/** Ids that the model's loop needs by name. */
export interface SpecialTokens {
  readonly imStart: number;
  readonly imEnd: number;
  readonly endOfText: number;
  readonly audio: number;
  readonly audioToken: string;
  readonly stop: readonly number[]; // im_end, endoftext and generation_config.eos_token_id, each once
}

/** What a checkpoint's other files say of the tokens. */
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
 * Checks that tokenizer and model agree on the tokens that the prompt and the stop rule are made of.
 * @throws TokenizerError  a token missing from the vocabulary, any id past the embedding's rows, an audio_token_id that is
 *                         not the tokenizer's id of the audio token, an eos_token_id of the wrong type
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
  if (setup.audioTokenId !== ids.audio) {
    throw new TokenizerError(
      configFile,
      "audio_token_id",
      `${ids.audio}, the tokenizer's id of ${audioToken}`,
      setup.audioTokenId,
    );
  }
  checkLargest(tokenizer, tokenizerFile, vocabSize);
  const eos = eosIds(setup.eosTokenId, generationConfigFile, vocabSize);
  return { ...ids, audioToken, stop: [...new Set([ids.imEnd, ids.endOfText, ...eos])] };
}

/**
 * Ids that end an answer of a language model alone: im_end and endoftext where the vocabulary has them, and
 * generation_config.eos_token_id, each once.
 * @throws TokenizerError  none at all, an eos_token_id of the wrong type, an id past the embedding's rows
 */
export function stopTokens(
  tokenizer: Tokenizer,
  { vocabSize = Infinity, eosTokenId, ...setup }: Omit<SpecialTokenSetup, "audioTokenId" | "audioToken">,
): number[] {
  const { tokenizerFile = "tokenizer.json", generationConfigFile = "generation_config.json" } = setup;
  checkLargest(tokenizer, tokenizerFile, vocabSize);
  const usual = ["<|im_end|>", "<|endoftext|>"].map((token) => tokenizer.id(token));
  const known = usual.filter((id) => id !== undefined);
  const stop = [...new Set([...known, ...eosIds(eosTokenId, generationConfigFile, vocabSize)])];
  if (stop.length > 0) return stop;
  const expected = "in the vocabulary, or eos_token_id in generation_config.json";
  throw new TokenizerError(tokenizerFile, "<|im_end|> or <|endoftext|>", expected, "nothing");
}

/** Every token of the vocabulary must have a row of the embedding. */
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
