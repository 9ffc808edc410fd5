import { reason, show } from "../json.js";
import { PromptError, TokenizerError } from "./errors.js";
import { LANGUAGE_CODES, type Language, languageName } from "./languages.js";
import { CHATML, DEFAULT_AUDIO_TOKEN, INSTRUCTION } from "./prompts.js";
import { countOf, insertedToken } from "./reserved.js";
import { type ChatTemplate, TemplateLimitError, parseTemplate } from "./template.js";
import type { Tokenizer } from "./tokenizer.js";

/** A request about one clip. */
export interface PromptOptions {
  readonly language?: Language; // the spoken language; absent: the model decides
  readonly hotwords?: readonly string[];
  readonly context?: string;
  readonly itn?: boolean; // inverse text normalisation, "21" for "twenty-one"; default true
  readonly prompt?: string; // replaces the instruction and the four options above
  readonly emptyThought?: boolean; // append an empty <think> block; default: as in the checkpoint
}

/** Makes prompts in a checkpoint's form. */
export interface PromptRenderer {
  readonly source: "template" | "rules";
  /** Why the template is not used. */
  readonly fallback?: string;
  /**
   * @returns the prompt up to the assistant's turn, with one audio token
   * @throws PromptError  an option is invalid, contains a token such as `<|im_end|>`, has no place
   *   in the checkpoint's template, or `prompt` is beside another option
   */
  render(options?: PromptOptions): string;
}

/** From a checkpoint's directory. */
export interface PromptSetup {
  readonly template?: string; // chat_template.jinja, or chat_template of tokenizer_config.json
  readonly templateFile?: string; // its name, for errors
  readonly audioToken?: string; // audio_token of processor_config.json
  readonly reserved: readonly string[]; // Tokenizer.addedTokens, which no option may contain
  readonly emptyThought?: boolean; // default of the option; true for FunASR's do_think false
  readonly systemTurn?: boolean; // false: no system turn without a template, as FunASR's sys_prompt false
}

type Content = string | Record<string, unknown>[];

/**
 * Prompts by the checkpoint's chat template, or by FunASR's rules if there is none or it takes no
 * audio.
 * @throws TokenizerError  the template does not parse, is too long, or runs too long
 * @source transformers FunAsrNanoProcessor.apply_transcription_request (items and variables of the
 *   template)
 */
export function createPromptRenderer({
  template,
  templateFile = "chat_template.jinja",
  audioToken = DEFAULT_AUDIO_TOKEN,
  reserved,
  emptyThought = false,
  systemTurn = true,
}: PromptSetup): PromptRenderer {
  const byRules = (options: PromptOptions): string => renderRules(options, audioToken, systemTurn);
  const checked = (
    draw: (options: PromptOptions) => string,
    source: PromptRenderer["source"],
    fallback?: string,
  ): PromptRenderer => ({
    source,
    ...(fallback === undefined ? {} : { fallback }),
    render(options = {}) {
      checkOptions(options, reserved);
      const text = draw(options);
      checkTokens(text, draw(harmless(options)), reserved, audioToken);
      return text + ((options.emptyThought ?? emptyThought) ? CHATML.emptyThought : "");
    },
  });
  if (template === undefined) return checked(byRules, "rules");
  const compiled = compile(template, templateFile);
  try {
    const probe = renderTemplate(compiled, {}, audioToken);
    if (countOf(probe, audioToken) !== 1)
      return checked(byRules, "rules", `the template renders audio as ${show(probe)}`);
  } catch (error) {
    if (error instanceof TemplateLimitError) throw unusable(templateFile, error);
    return checked(byRules, "rules", `the template takes no audio: ${reason(error)}`);
  }
  return checked((options) => renderComplete(compiled, options, audioToken), "template");
}

function compile(template: string, file: string): ChatTemplate {
  try {
    return parseTemplate(template);
  } catch (error) {
    throw unusable(file, error);
  }
}

function unusable(file: string, cause: unknown): TokenizerError {
  const expected = "one that @huggingface/jinja can run";
  const advice = "take the file of the checkpoint, or remove it to use FunASR's prompts";
  return new TokenizerError(file, "chat template", expected, show(reason(cause)), { cause, advice });
}

/**
 * Token ids of a prompt, with an audio token for every row of audio embeddings.
 * @param text         a prompt with one audio token
 * @param audioTokens  rows of audio embeddings, 1 or more
 * @returns            ids [S], and the index of the first audio token
 * @throws PromptError  the text does not have exactly one audio token, or there are no rows
 */
export function promptIds(
  tokenizer: Tokenizer,
  text: string,
  audioTokenId: number,
  audioTokens: number,
): { ids: number[]; audioOffset: number } {
  if (!Number.isInteger(audioTokens) || audioTokens < 1)
    throw new PromptError("audio tokens", "1 or more", audioTokens);
  const ids = tokenizer.encode(text);
  const audioOffset = ids.indexOf(audioTokenId);
  const found = ids.filter((id) => id === audioTokenId).length;
  if (found !== 1) throw new PromptError("text", `one with one audio token (id ${audioTokenId})`, found);
  const audio = new Array<number>(audioTokens).fill(audioTokenId);
  return { ids: ids.flatMap((id) => (id === audioTokenId ? audio : id)), audioOffset };
}

function renderRules(
  { language, hotwords = [], context, itn = true, prompt }: PromptOptions,
  audioToken: string,
  systemTurn = true,
): string {
  const hasContext = context !== undefined || hotwords.length > 0;
  const parts = [
    hasContext ? INSTRUCTION.contextHeader : "",
    context === undefined ? "" : INSTRUCTION.context(context),
    hotwords.length > 0 ? INSTRUCTION.hotwords(hotwords) : "",
    INSTRUCTION.transcribe,
    language === undefined ? "" : INSTRUCTION.into(languageName(language)!),
    itn ? "" : INSTRUCTION.withoutItn,
    INSTRUCTION.end,
  ];
  const system = systemTurn ? CHATML.system : "";
  return system + CHATML.user((prompt ?? parts.join("")) + audioToken) + CHATML.assistant;
}

function renderTemplate(template: ChatTemplate, options: PromptOptions, audioToken: string): string {
  const { language, hotwords = [], context, itn = true, prompt } = options;
  const items: Content = [{ type: "audio" }];
  if (context !== undefined) items.push({ type: "text", text: context });
  if (hotwords.length > 0) items.push({ type: "keywords", keywords: [...hotwords] });
  if (language !== undefined) items.push({ type: "language", language: languageName(language)! });
  const content: Content = prompt === undefined ? items : prompt + audioToken;
  return template.render({ messages: [{ role: "user", content }], add_generation_prompt: true, itn });
}

/** Renders the template and refuses ignored options. The rules add a missing ITN switch. */
function renderComplete(template: ChatTemplate, options: PromptOptions, audioToken: string): string {
  const draw = (changed: PromptOptions): string => {
    try {
      return renderTemplate(template, changed, audioToken);
    } catch (cause) {
      const expected = "one that @huggingface/jinja can render";
      throw new PromptError("chat template", expected, `"${reason(cause)}"`, { cause });
    }
  };
  const text = draw(options);
  for (const option of ["language", "hotwords", "context", "prompt", "itn"] as const) {
    const without = { ...options, [option]: undefined };
    if (!isSet(options, option) || draw(without) !== text) continue;
    if (option === "prompt" && text.includes(options.prompt! + audioToken)) continue; // the template has the same words
    if (option === "itn" && draw(without) === renderRules(without, audioToken))
      return renderRules(options, audioToken);
    const expected = "none: the checkpoint's chat template has no place for it";
    throw new PromptError(option, expected, show(options[option]));
  }
  return text;
}

function isSet(options: PromptOptions, option: Exclude<keyof PromptOptions, "emptyThought">): boolean {
  if (option === "itn") return options.itn === false;
  if (option === "hotwords") return (options.hotwords ?? []).length > 0;
  return options[option] !== undefined;
}

function checkOptions(options: PromptOptions, reserved: readonly string[]): void {
  const { language, hotwords = [], context, prompt } = options;
  if (language !== undefined && (typeof language !== "string" || languageName(language) === undefined)) {
    throw new PromptError("language", `one of ${LANGUAGE_CODES.join(", ")}, or a name`, show(language));
  }
  const words = hotwords.map((word, i) => [`hotwords[${i}]`, word] as const);
  for (const [option, text] of [["context", context] as const, ["prompt", prompt] as const, ...words]) {
    if (text === undefined) continue;
    if (text.trim() === "") throw new PromptError(option, "more than white space", show(text));
    const token = reserved.find((candidate) => text.includes(candidate));
    if (token !== undefined)
      throw new PromptError(option, `text without the vocabulary's own token ${token}`, show(text));
  }
  if (prompt === undefined) return;
  const other = (["language", "hotwords", "context", "itn"] as const).find((option) =>
    isSet(options, option),
  );
  if (other) throw new PromptError("prompt", `no ${other} beside it`, show(prompt));
}

/** The options with every free text replaced by a letter. */
function harmless(options: PromptOptions): PromptOptions {
  const { hotwords, context, prompt } = options;
  return {
    ...options,
    ...(hotwords && { hotwords: hotwords.map(() => "x") }),
    ...(context !== undefined && { context: "x" }),
    ...(prompt !== undefined && { prompt: "x" }),
  };
}

/** @throws PromptError  the user's texts, alone or joined, made a token of the vocabulary */
function checkTokens(text: string, baseline: string, reserved: readonly string[], audioToken: string): void {
  if (countOf(text, audioToken) !== 1)
    throw new PromptError("text", `one with one ${audioToken}`, countOf(text, audioToken));
  const token = insertedToken(text, baseline, reserved);
  if (token !== undefined) throw new PromptError("text", `no ${token} but the template's own`, show(text));
}
