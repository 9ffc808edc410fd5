import { reason, show } from "../json.js";
import { PromptError } from "./errors.js";
import { CHATML } from "./prompts.js";
import { madeToken } from "./reserved.js";
import { type ChatTemplate, parseTemplate } from "./template.js";

/** One turn of a conversation, to be answered. */
export interface ChatOptions {
  readonly prompt: string;
  /** What the model is told before. */
  readonly system?: string;
  /** False: the answer begins at once, without a thought. Default: as the checkpoint's template has it. */
  readonly thinking?: boolean;
}

/** Makes prompts for text in a checkpoint's own form. */
export interface ChatRenderer {
  readonly source: "template" | "ChatML";
  /** Why a template that was given is not used. */
  readonly fallback?: string;
  /**
   * @returns the whole prompt up to the assistant's turn
   * @throws PromptError  a text that is empty or holds a token of the vocabulary such as `<|im_end|>`, a system text that the
   *                      template has no place for
   */
  render(options: ChatOptions): string;
}

export interface ChatSetup {
  readonly template?: string;
  /** Tokens that a template may name, e.g. eos_token: those of tokenizer_config.json. */
  readonly variables?: Readonly<Record<string, string>>;
  /** Tokenizer.addedTokens: what no text may hold. */
  readonly reserved: readonly string[];
}

type Draw = (options: ChatOptions) => string;

/**
 * Prompts by the checkpoint's chat template, or ChatML where there is none or one that takes no text.
 * @source transformers `apply_chat_template(messages, add_generation_prompt=True, enable_thinking=...)`
 */
export function createChatRenderer({ template, variables = {}, reserved }: ChatSetup): ChatRenderer {
  if (template === undefined) return renderer(renderChatml, reserved, { source: "ChatML" });
  const instead = (fallback: string): ChatRenderer =>
    renderer(renderChatml, reserved, { source: "ChatML", fallback });
  try {
    const compiled = parseTemplate(template);
    const draw: Draw = (options) => renderTemplate(compiled, variables, options);
    const probe = draw({ prompt: "probe" });
    if (!probe.includes("probe")) return instead(`the template renders a text as ${show(probe)}`);
    return renderer(draw, reserved, { source: "template" });
  } catch (error) {
    return instead(`the template takes no text: ${reason(error)}`);
  }
}

function renderer(
  draw: Draw,
  reserved: readonly string[],
  what: Pick<ChatRenderer, "source" | "fallback">,
): ChatRenderer {
  return {
    ...what,
    render(options) {
      const { prompt, system } = options;
      checkText("prompt", prompt, reserved);
      if (system !== undefined) checkText("system", system, reserved);
      const text = draw(options);
      const harmless = draw({ ...options, prompt: "x", ...(system === undefined ? {} : { system: "x" }) });
      const made = madeToken(text, harmless, reserved);
      if (made !== undefined)
        throw new PromptError("text", `free of ${made} but for the template's own`, show(prompt));
      if (system !== undefined && draw({ ...options, system: undefined }) === text)
        throw new PromptError(
          "system",
          "absent: the checkpoint's chat template has no place for it",
          show(system),
        );
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
