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
    `Allowed choices are ${LANGUAGE_CODES.join(", ")}, their English names, or a name in Chinese characters.`,
  );
}
