import { reason, show } from "../json.js";
import { PromptError } from "./errors.js";
import { CHATML } from "./prompts.js";
import { insertedToken } from "./reserved.js";
import { type ChatTemplate, parseTemplate } from "./template.js";

/** One turn of a conversation. */
export interface ChatOptions {
  readonly prompt: string;
  /** The text of the system turn. */
  readonly system?: string;
  /** False: the answer begins without a thought. Default: as in the checkpoint's template. */
  readonly thinking?: boolean;
}

/** Makes prompts for text in a checkpoint's form. */
export interface ChatRenderer {
  readonly source: "template" | "ChatML";
  /** Why the template is not used. */
  readonly fallback?: string;
  /**
   * @returns the prompt up to the assistant's turn
   * @throws PromptError  a text is empty or contains a token such as `<|im_end|>`, or the template
   *   has no place for the system text
   */
  render(options: ChatOptions): string;
}

export interface ChatSetup {
  readonly template?: string;
  /** Tokens of tokenizer_config.json that a template may name, such as eos_token. */
  readonly variables?: Readonly<Record<string, string>>;
  /** Tokenizer.addedTokens, which no text may contain. */
  readonly reserved: readonly string[];
}

type Draw = (options: ChatOptions) => string;

/**
 * Prompts by the checkpoint's chat template, or ChatML if there is none or it takes no text.
 * @source transformers `apply_chat_template(messages, add_generation_prompt=True,
 *   enable_thinking=...)`
 */
export function createChatRenderer({ template, variables = {}, reserved }: ChatSetup): ChatRenderer {
  if (template === undefined) return renderer(renderChatml, reserved, { source: "ChatML" });
  const chatml = (fallback: string): ChatRenderer =>
    renderer(renderChatml, reserved, { source: "ChatML", fallback });
  try {
    const compiled = parseTemplate(template);
    const draw: Draw = (options) => renderTemplate(compiled, variables, options);
    const probe = draw({ prompt: "probe" });
    if (!probe.includes("probe")) return chatml(`the template renders a text as ${show(probe)}`);
    return renderer(draw, reserved, { source: "template" });
  } catch (error) {
    return chatml(`the template takes no text: ${reason(error)}`);
  }
}

function renderer(
  draw: Draw,
  reserved: readonly string[],
  form: Pick<ChatRenderer, "source" | "fallback">,
): ChatRenderer {
  return {
    ...form,
    render(options) {
      const { prompt, system } = options;
      checkText("prompt", prompt, reserved);
      if (system !== undefined) checkText("system", system, reserved);
      const text = draw(options);
      const harmless = draw({ ...options, prompt: "x", ...(system === undefined ? {} : { system: "x" }) });
      const token = insertedToken(text, harmless, reserved);
      if (token !== undefined)
        throw new PromptError("text", `free of ${token} but for the template's own`, show(prompt));
      const expected = "absent: the checkpoint's chat template has no place for it";
      if (system !== undefined && draw({ ...options, system: undefined }) === text)
        throw new PromptError("system", expected, show(system));
      return text;
    },
  };
}

function checkText(option: string, text: string, reserved: readonly string[]): void {
  if (text.trim() === "") throw new PromptError(option, "more than white space", show(text));
  const token = reserved.find((candidate) => text.includes(candidate));
  if (token !== undefined)
    throw new PromptError(option, `free of the vocabulary's own token ${token}`, show(text));
}

function renderTemplate(
  template: ChatTemplate,
  variables: Readonly<Record<string, string>>,
  { prompt, system, thinking }: ChatOptions,
): string {
  const messages = [{ role: "user", content: prompt }];
  if (system !== undefined) messages.unshift({ role: "system", content: system });
  const choice = thinking === undefined ? {} : { enable_thinking: thinking };
  return template.render({ ...variables, messages, add_generation_prompt: true, ...choice });
}

function renderChatml({ prompt, system, thinking }: ChatOptions): string {
  const before = system === undefined ? "" : `<|im_start|>system\n${system}<|im_end|>\n`;
  const thought = thinking === false ? CHATML.emptyThought : "";
  return before + CHATML.user(prompt) + CHATML.assistant + thought;
}
