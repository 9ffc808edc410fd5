import { type JsonObject, isObject, show } from "../json.js";
import { type Library, openLibrary } from "./bounded-library.js";
import { byteOfCharacter } from "./byte-level.js";
import { TokenizerError } from "./errors.js";
import { checkPipeline } from "./pipeline-limits.js";
import { type AddedToken, type LargestId, checkVocabulary } from "./vocabulary.js";

/** Text to token ids and back, for a byte-level BPE vocabulary: Qwen3's, complete or pruned. */
export interface Tokenizer {
  /** Contents of all added tokens: `<|im_end|>`, `<think>` ... encode() recognises them. */
  readonly addedTokens: readonly string[];
  readonly largest: LargestId;
  /**
   * @returns  ids of `text`, without additional special tokens
   * @throws TokenizerError  a pattern of the tokenizer takes too many steps
   */
  encode(text: string): number[];
  /**
   * @param ids  token ids; ids outside the vocabulary decode to nothing
   * @returns    their text; bytes that are not UTF-8 become U+FFFD
   */
  decode(ids: readonly number[], options?: DecodeOptions): string;
  /** @returns the id of a token by its vocabulary spelling, e.g. `<|im_end|>` */
  id(token: string): number | undefined;
  /** A decoder for ids as they are generated. */
  stream(options?: DecodeOptions): StreamDecoder;
}

export interface DecodeOptions {
  /** Skip special tokens such as `<|im_end|>`, but not `<think>`. Default: false. */
  readonly skipSpecial?: boolean;
}

/** Decodes id by id. The concatenated pieces equal `decode` of all ids. */
export interface StreamDecoder {
  /** @returns the characters that `id` completes, often "" */
  push(id: number): string;
  /** @returns U+FFFD for an unfinished character, or "" */
  flush(): string;
}

/**
 * @param tokenizerJson    parsed tokenizer.json
 * @param tokenizerConfig  parsed tokenizer_config.json, if there is one
 * @param file             name of tokenizer.json in errors
 * @throws TokenizerError  not a byte-level BPE tokenizer, too expensive steps, a damaged
 *   vocabulary, or one that @huggingface/tokenizers cannot load
 */
export function loadTokenizer(
  tokenizerJson: unknown,
  tokenizerConfig: unknown = {},
  file = "tokenizer.json",
): Tokenizer {
  if (!isObject(tokenizerJson)) throw new TokenizerError(file, "top level", "an object", show(tokenizerJson));
  expectType(file, tokenizerJson, "model", "BPE");
  expectType(file, tokenizerJson, "decoder", "ByteLevel");
  checkPipeline(file, tokenizerJson);
  const added = readAddedTokens(file, tokenizerJson.added_tokens);
  const largest = checkVocabulary(file, tokenizerJson.model as JsonObject, added);
  const library = openLibrary(file, tokenizerJson, isObject(tokenizerConfig) ? tokenizerConfig : {});
  return wrap(library, added, largest);
}

function wrap(library: Library, added: readonly AddedToken[], largest: LargestId): Tokenizer {
  const special = new Set(added.filter((token) => token.special).map((token) => token.id));
  const stream = ({ skipSpecial = false }: DecodeOptions = {}): StreamDecoder => {
    const utf8 = new TextDecoder("utf-8", { ignoreBOM: true });
    return {
      push(id) {
        const token = skipSpecial && special.has(id) ? undefined : library.id_to_token(id);
        return token === undefined ? "" : utf8.decode(tokenBytes(token), { stream: true });
      },
      flush: () => utf8.decode(),
    };
  };
  return {
    addedTokens: added.map((token) => token.content),
    largest,
    encode: (text) => library.encode(text, { add_special_tokens: false }).ids,
    decode(ids, options) {
      const decoder = stream(options);
      return ids.map((id) => decoder.push(id)).join("") + decoder.flush();
    },
    id: (token) => library.token_to_id(token),
    stream,
  };
}

/** Bytes of a token: by the byte alphabet, or its UTF-8 if it has other characters. */
function tokenBytes(token: string): Uint8Array {
  const bytes = Array.from(token, (character) => byteOfCharacter.get(character));
  return bytes.every((byte) => byte !== undefined) ? Uint8Array.from(bytes) : new TextEncoder().encode(token);
}

function expectType(file: string, json: JsonObject, field: string, type: string): void {
  const part = json[field];
  if (!isObject(part)) throw new TokenizerError(file, field, "an object", show(part));
  if (part.type !== type) throw new TokenizerError(file, `${field}.type`, `"${type}"`, show(part.type));
}

function readAddedTokens(file: string, list: unknown): AddedToken[] {
  if (!Array.isArray(list)) throw new TokenizerError(file, "added_tokens", "an array", show(list));
  return list.map((token: unknown, i) => {
    const refuse = (field: string, expected: string, got: unknown): never => {
      throw new TokenizerError(file, `added_tokens[${i}]${field}`, expected, show(got));
    };
    if (!isObject(token)) return refuse("", "an object with id and content", token);
    const { id, content, special } = token;
    if (typeof id !== "number" || !Number.isSafeInteger(id) || id < 0)
      return refuse(".id", "a non-negative integer", id);
    if (typeof content !== "string" || content === "") return refuse(".content", "a text", content);
    return { id, content, special: special === true };
  });
}
