import type { Checkpoint } from "../checkpoint/checkpoint.js";
import { ConfigError } from "../formats/errors.js";
import { type FrontendConfig, parseFrontendConfig } from "../frontend/config.js";
import { type ChatRenderer, createChatRenderer } from "../tokenizer/chat.js";
import { type LanguageCode, knownLanguages } from "../tokenizer/languages.js";
import { type PromptRenderer, createPromptRenderer } from "../tokenizer/prompt.js";
import { checkSpecialTokens } from "../tokenizer/special-tokens.js";
import { type Tokenizer, loadTokenizer } from "../tokenizer/tokenizer.js";

export interface TextParts {
  readonly tokenizer: Tokenizer;
  readonly prompts: PromptRenderer;
  readonly chat: ChatRenderer;
  readonly stopIds: ReadonlySet<number>;
  /** Languages that the checkpoint knows; undefined where no file says so. */
  readonly languages?: readonly LanguageCode[];
}

/**
 * Tokenizer, prompts and stop ids of a checkpoint, checked against each other and against its
 * config.
 */
export async function loadText(checkpoint: Checkpoint): Promise<TextParts> {
  const { assets, config, configFile } = checkpoint;
  const { json, file: tokenizerFile } = await assets.tokenizer();
  const tokenizer = loadTokenizer(json, (await assets.tokenizerConfig()).json, tokenizerFile);
  const { audioToken, ...prompt } = await assets.prompt();
  const generation = await assets.generation();
  const special = checkSpecialTokens(tokenizer, {
    audioTokenId: config.audioTokenId,
    vocabSize: config.llm.vocabSize,
    audioToken,
    eosTokenId: generation.json["eos_token_id"],
    tokenizerFile,
    configFile,
    generationConfigFile: generation.file,
  });
  const reserved = tokenizer.addedTokens;
  const prompts = createPromptRenderer({ ...prompt, audioToken: special.audioToken, reserved });
  const chat = createChatRenderer({ template: prompt.template, reserved });
  const template = prompts.source === "template" ? prompt.template : undefined;
  const languages = knownLanguages(
    template,
    checkpoint.layout === "funasr" ? config.audioTokenRule : undefined,
  );
  return { tokenizer, prompts, chat, stopIds: new Set(special.stop), languages };
}

/**
 * The parts of a checkpoint that turn audio into text, without the weights.
 * @throws as Transcriber.load
 */
export async function loadParts(
  checkpoint: Checkpoint,
): Promise<{ frontend: FrontendConfig; text: TextParts }> {
  const { assets, config, configFile } = checkpoint;
  const { json, file } = await assets.frontend();
  const frontend = parseFrontendConfig(json, file);
  checkFeatures(frontend, file, config.encoder.inputSize, configFile);
  return { frontend, text: await loadText(checkpoint) };
}

function checkFeatures(frontend: FrontendConfig, file: string, inputSize: number, configFile: string): void {
  const { melBins, lfrStack } = frontend;
  if (melBins * lfrStack === inputSize) return;
  throw new ConfigError({
    file,
    field: "feature_size",
    expected: `${inputSize} once times num_frames_lfr, which is num_mel_bins × num_stacked_frames of ${configFile}`,
    got: `${melBins} × ${lfrStack}`,
  });
}
