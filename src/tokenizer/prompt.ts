import { reason, show } from "../json.js";
import { PromptError, TokenizerError } from "./errors.js";
import { LANGUAGE_CODES, type Language, languageName } from "./languages.js";
import { CHATML, DEFAULT_AUDIO_TOKEN, INSTRUCTION } from "./prompts.js";
import { countOf, madeToken } from "./reserved.js";
import { type ChatTemplate, TemplateLimitError, parseTemplate } from "./template.js";
import type { Tokenizer } from "./tokenizer.js";

/** What to ask of the model about one clip. */
export interface PromptOptions {
  readonly language?: Language; // the language spoken; absent: the model finds out
  readonly hotwords?: readonly string[];
  readonly context?: string;
  readonly itn?: boolean; // inverse text normalisation, "21" for "twenty-one"; default true
  readonly prompt?: string; // takes the place of the whole instruction, and of the four options above
  readonly emptyThought?: boolean; // append an empty <think> block, for models whose LLM would think; default: as the checkpoint says, else false
}

/** Makes prompts in a checkpoint's own form. */
export interface PromptRenderer {
  readonly source: "template" | "rules";
  /** Why a template that was given is not used. */
  readonly fallback?: string;
  /**
   * @returns the whole prompt up to the assistant's turn, with one audio token in it
   * @throws PromptError  an option of no known value, one that holds a token of the vocabulary such as `<|im_end|>`, one
   *                      that the checkpoint's template has no place for, or `prompt` beside another option
   */
  render(options?: PromptOptions): string;
}

/** From a checkpoint's directory. */
export interface PromptSetup {
  readonly template?: string; // chat_template.jinja, or chat_template of tokenizer_config.json
  readonly templateFile?: string; // its name, for errors
  readonly audioToken?: string; // audio_token of processor_config.json
  readonly reserved: readonly string[]; // Tokenizer.addedTokens: what no option's text may hold
  readonly emptyThought?: boolean; // default of the option of that name: FunASR's do_think false
  readonly systemTurn?: boolean; // false: no system turn where there is no template, FunASR's sys_prompt false
}

type Content = string | Record<string, unknown>[];

/**
 * Prompts by the checkpoint's chat template, or by FunASR's rules where there is no template or one that takes no audio.
 * @throws TokenizerError  the template does not parse, or is too long or runs too long for one
 * @source transformers FunAsrNanoProcessor.apply_transcription_request (items and variables of the template)
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
  const got = show(reason(cause));
  const advice = "take the file of the checkpoint, or remove it to use FunASR's prompts";
  return new TokenizerError(file, "chat template", "one that @huggingface/jinja can run", got, {
    cause,
    advice,
  });
}

/**
 * Token ids of a prompt, the audio token repeated for every row of audio embeddings.
 * @param text         a prompt with one audio token
 * @param audioTokens  rows of audio embeddings that will take the audio tokens' place, 1 or more
 * @returns            ids [S], and the index of the first audio token in them
 * @throws PromptError the text does not encode to exactly one audio token, or there are no rows
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
  return {
    ids: [
      ...ids.slice(0, audioOffset),
      ...new Array<number>(audioTokens).fill(audioTokenId),
      ...ids.slice(audioOffset + 1),
    ],
    audioOffset,
  };
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

/** By the template, refusing an option that it ignores; one that only lacks the ITN switch is completed by FunASR's rules. */
function renderComplete(template: ChatTemplate, options: PromptOptions, audioToken: string): string {
  const draw = (changed: PromptOptions): string => {
    try {
      return renderTemplate(template, changed, audioToken);
    } catch (cause) {
      throw new PromptError("chat template", "one that @huggingface/jinja can render", `"${reason(cause)}"`, {
        cause,
      });
    }
  };
  const text = draw(options);
  for (const option of ["language", "hotwords", "context", "prompt", "itn"] as const) {
    const without = { ...options, [option]: undefined };
    if (!isSet(options, option) || draw(without) !== text) continue;
    if (option === "prompt" && text.includes(options.prompt! + audioToken)) continue; // the template's own words
    if (option === "itn" && draw(without) === renderRules(without, audioToken))
      return renderRules(options, audioToken);
    throw new PromptError(
      option,
      "none: the checkpoint's chat template has no place for it",
      show(options[option]),
    );
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
  const texts: [string, string | undefined][] = [
    ["context", context],
    ["prompt", prompt],
  ];
  hotwords.forEach((word, i) => texts.push([`hotwords[${i}]`, word]));
  for (const [option, text] of texts) {
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

/** The same options with every free text replaced by a letter. */
function harmless(options: PromptOptions): PromptOptions {
  const { hotwords, context, prompt } = options;
  return {
    ...options,
    ...(hotwords && { hotwords: hotwords.map(() => "x") }),
    ...(context !== undefined && { context: "x" }),
    ...(prompt !== undefined && { prompt: "x" }),
  };
}

/** No text of the user's, however the template joins it, may have made a token of the vocabulary. */
function checkTokens(text: string, baseline: string, reserved: readonly string[], audioToken: string): void {
  if (countOf(text, audioToken) !== 1)
    throw new PromptError("text", `one with one ${audioToken}`, countOf(text, audioToken));
  const made = madeToken(text, baseline, reserved);
  if (made !== undefined) throw new PromptError("text", `no ${made} but the template's own`, show(text));
}
