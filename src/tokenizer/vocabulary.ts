import { type JsonObject, isObject, show } from "../json.js";
import { byteOfCharacter } from "./byte-level.js";
import { TokenizerError } from "./errors.js";

/** An entry of added_tokens. */
export interface AddedToken {
  readonly id: number;
  readonly content: string;
  readonly special: boolean;
}

/** A vocabulary's largest id, with its field and token. */
export interface LargestId {
  readonly id: number;
  readonly field: string;
  readonly token: string;
}

/**
 * Checks a byte-level BPE vocabulary: a token for each of the 256 bytes, unique ids, and merges for
 * longer tokens. The library would encode a damaged one to nonsense without an error.
 * @param model  `model` of tokenizer.json
 * @param added  its added tokens; the vocabulary may have them too, with the same id
 * @returns      the largest id of both
 * @throws TokenizerError
 */
export function checkVocabulary(file: string, model: JsonObject, added: readonly AddedToken[]): LargestId {
  const refuse = (field: string, expected: string, got: string): never => {
    throw new TokenizerError(file, field, expected, got, { advice: "the file is damaged" });
  };
  const { vocab, merges } = model;
  if (!isObject(vocab)) return refuse("model.vocab", "an object of tokens and ids", show(vocab));
  const missing = [...byteOfCharacter.keys()].filter((token) => !Object.hasOwn(vocab, token));
  if (missing.length > 0) {
    const got = `${256 - missing.length}, without ${show(missing[0])}`;
    return refuse("model.vocab", "a token for each of the 256 bytes", got);
  }
  const tokenOf = new Map(added.map(({ id, content }) => [id, content]));
  let largest = largestAdded(added);
  let merged: string | undefined;
  for (const [token, id] of Object.entries(vocab)) {
    if (typeof id !== "number" || !Number.isSafeInteger(id) || id < 0)
      return refuse(`model.vocab ${show(token)}`, "a non-negative integer", show(id));
    const other = tokenOf.get(id);
    if (other !== undefined && other !== token)
      return refuse(`model.vocab ${show(token)}`, "an id of its own", `${id}, the id of ${show(other)}`);
    if (!byteOfCharacter.has(token) && other === undefined) merged ??= token;
    tokenOf.set(id, token);
    if (id > largest.id) largest = { id, field: "model.vocab", token };
  }
  if (!Array.isArray(merges)) return refuse("model.merges", "an array", show(merges));
  if (merges.length === 0 && merged !== undefined)
    return refuse("model.merges", `merges that make ${show(merged)} and the like`, "none");
  return largest;
}

function largestAdded(added: readonly AddedToken[]): LargestId {
  const none = { id: -1, field: "added_tokens", token: "" };
  return added.reduce<LargestId>(
    (most, { id, content }, i) => (id > most.id ? { id, field: `added_tokens[${i}]`, token: content } : most),
    none,
  );
}
