import { type JsonObject, show } from "../../json.js";
import { AUDIO_TOKEN } from "./audio-token.js";
import type { GgufMetadata } from "../gguf/metadata.js";

const TOKENS = "tokenizer.ggml.tokens";
const MERGES = "tokenizer.ggml.merges";
const TYPES = "tokenizer.ggml.token_type";

/** @source gguf (Python) `constants.py`, TokenType */
const NORMAL = 1;
const CONTROL = 3;
const USER_DEFINED = 4;
const UNUSED = 5;

/** @source Qwen3's tokenizer.json; llama.cpp calls it "qwen2" */
const PATTERN =
  "(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\\r\\n\\p{L}\\p{N}]?\\p{L}+|\\p{N}| ?[^\\s\\p{L}\\p{N}]+[\\r\\n]*|\\s*[\\r\\n]+|\\s+(?!\\S)|\\s+";

export function holdsTokenizer(metadata: GgufMetadata): boolean {
  return metadata.has(TOKENS);
}

/** Id of the audio token. @throws CheckpointError  the vocabulary does not have it */
export function audioTokenId(metadata: GgufMetadata): number {
  const id = metadata.strings(TOKENS).indexOf(AUDIO_TOKEN);
  if (id >= 0) return id;
  throw metadata.refusal(TOKENS, `a vocabulary with ${AUDIO_TOKEN}`, "is this the tokenizer of a Qwen3?");
}

/**
 * tokenizer.json of the vocabulary in a Qwen3 file's metadata. As in llama.cpp, every added token
 * `<|...|>` is special, also those that Qwen3's tokenizer.json does not mark (`<|fim_prefix|>`
 * ...). Unused rows of the embedding are left out.
 * @throws CheckpointError  another kind of vocabulary, or a damaged one
 * @source llama.cpp `convert_hf_to_gguf.py`, get_vocab_base and _set_vocab_gpt2
 */
export function tokenizerJson(metadata: GgufMetadata): JsonObject {
  expectText(metadata, "tokenizer.ggml.model", "gpt2");
  expectText(metadata, "tokenizer.ggml.pre", "qwen2");
  const tokens = metadata.strings(TOKENS);
  const types = metadata.integers(TYPES);
  if (types.length !== tokens.length)
    throw metadata.refusal(TYPES, `a type for each of ${tokens.length} tokens`);
  const vocab: Record<string, number> = Object.create(null) as Record<string, number>;
  const added: JsonObject[] = [];
  tokens.forEach((content, id) => {
    const type = types[id];
    if (type === UNUSED) return;
    if (content === "" || content in vocab)
      throw metadata.refusal(TOKENS, `another token at ${id} than ${show(content)}`);
    if (type === NORMAL) vocab[content] = id;
    else if (type === CONTROL || type === USER_DEFINED) added.push(addedToken(id, content, type === CONTROL));
    else throw metadata.refusal(TYPES, `type 1, 3, 4 or 5 for token ${id}, not ${type}`);
  });
  const level = { type: "ByteLevel", add_prefix_space: false, trim_offsets: false, use_regex: false };
  const split = { type: "Split", pattern: { Regex: PATTERN }, behavior: "Isolated", invert: false };
  return {
    version: "1.0",
    added_tokens: added,
    normalizer: { type: "NFC" },
    pre_tokenizer: { type: "Sequence", pretokenizers: [split, level] },
    post_processor: level,
    decoder: level,
    model: { ...MODEL, vocab, merges: readMerges(metadata, vocab) },
  };
}

/** generation_config.json with the stop id of the metadata. */
export function generationJson(metadata: GgufMetadata): JsonObject {
  const key = "tokenizer.ggml.eos_token_id";
  return metadata.has(key) ? { eos_token_id: metadata.integer(key, 0) } : {};
}

const MODEL = {
  type: "BPE",
  dropout: null,
  unk_token: null,
  continuing_subword_prefix: "",
  end_of_word_suffix: "",
  fuse_unk: false,
  byte_fallback: false,
  ignore_merges: false,
};

function addedToken(id: number, content: string, special: boolean): JsonObject {
  return { id, content, single_word: false, lstrip: false, rstrip: false, normalized: false, special };
}

/** Merges as pairs of tokens, whose concatenation is a token too. */
function readMerges(metadata: GgufMetadata, vocab: Readonly<Record<string, number>>): [string, string][] {
  return metadata.strings(MERGES).map((merge, i) => {
    const parts = merge.split(" ");
    const [left, right] = parts;
    if (parts.length === 2 && left in vocab && right in vocab && left + right in vocab) return [left, right];
    throw metadata.refusal(MERGES, `a merge of two tokens into one at ${i}, not ${show(merge)}`);
  });
}

function expectText(metadata: GgufMetadata, key: string, expected: string): void {
  if (metadata.string(key) !== expected)
    throw metadata.refusal(key, `"${expected}"`, "nothing else is implemented");
}
