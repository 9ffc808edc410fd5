import { InvalidArgumentError, Option } from "commander";
import { LANGUAGE_CODES, type Language, languageCode, languageName } from "../tokenizer/languages.js";

/** The option --language. A name of a known language becomes its code. */
export function languageOption(description: string): Option {
  return new Option("--language <code>", `${description}: ${LANGUAGE_CODES.join(", ")}, or a name`).argParser(
    parseLanguage,
  );
}

function parseLanguage(text: string): Language {
  const code = languageCode(text);
  if (code !== undefined) return code;
  if (languageName(text) !== undefined) return text;
  throw new InvalidArgumentError(
    `${nameOf(text)} is not among the ${LANGUAGE_CODES.length} languages of Fun-ASR-MLT-Nano; name one of ${LANGUAGE_CODES.join(", ")}, by its code or English name, or any language in Chinese characters.`,
  );
}

/**
 * English name of another language's code. Other texts, and older codes of known languages, are
 * returned as they are.
 */
function nameOf(text: string): string {
  if (!/^[a-z]{2,3}$/i.test(text)) return text;
  const name = new Intl.DisplayNames("en", { type: "language", fallback: "none" }).of(text);
  return name === undefined || languageCode(name) !== undefined ? text : name;
}
