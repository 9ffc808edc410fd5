import { type LlmCheckpoint, openLlm } from "../checkpoint/migrate/open-llm.js";
import { type ModelFiles, expectModelFiles } from "../checkpoint/source.js";
import type { Gpu } from "../gpu/device.js";
import { expectGpu } from "../gpu/errors.js";
import type { LlmConfig } from "../config/model-config.js";
import type { WeightFormat } from "../weights/loader.js";
import { type LanguageModel, embedTokens, loadLanguageModel } from "../model/qwen3.js";
import { type ChatOptions, type ChatRenderer, createChatRenderer } from "../tokenizer/chat.js";
import { stopTokens } from "../tokenizer/special-tokens.js";
import { type Tokenizer, loadTokenizer } from "../tokenizer/tokenizer.js";
import { generation } from "./clip-work.js";
import { greedyPicker } from "./greedy.js";
import { DecodeError, type Finish, decode } from "./loop.js";
import { isSampled, samplingPicker } from "./sampler.js";
import type { SamplingOptions } from "./sampling.js";

/** How a language model is loaded. */
export interface GeneratorOptions {
  /** Storage of the weights on the GPU. Default: as in the checkpoint. */
  readonly weights?: WeightFormat;
  /** A GGUF file of the directory. Default: see openLlm. */
  readonly gguf?: string;
  /** As of TranscriberOptions. */
  readonly lora?: readonly ModelFiles[];
  /** Called while weights are read, with bytes done and bytes in all. */
  readonly onProgress?: (done: number, total: number) => void;
  /** Ends the loading before its next read, with the signal's reason; what was loaded is freed. */
  readonly signal?: AbortSignal | undefined;
}

export interface GenerateOptions extends ChatOptions {
  /** New tokens at most. Default: 512, or as many as the model's positions leave. */
  readonly maxNewTokens?: number;
  /** Absent: the likeliest token each time, found on the GPU. */
  readonly sampling?: SamplingOptions;
  /** Called with each piece of text as it comes; the pieces joined are the result's text. */
  readonly onText?: (text: string) => void;
  /** Ends the answer before its next token, with the signal's reason. */
  readonly signal?: AbortSignal | undefined;
}

/** An answer to one prompt. */
export interface Generation {
  readonly text: string;
  readonly tokenIds: readonly number[];
  /** Tokens of the prompt. */
  readonly promptTokens: number;
  readonly seconds: { readonly prefill: number; readonly decode: number };
  /** No cycle is cut here: text may repeat itself. */
  readonly finish: Finish;
}

const usualTokens = 512;

interface GeneratorText {
  readonly tokenizer: Tokenizer;
  readonly chat: ChatRenderer;
  readonly stopIds: ReadonlySet<number>;
}

/** A language model that answers text: Qwen3 alone, or the one inside a Fun-ASR checkpoint. */
export class Generator {
  private constructor(
    readonly gpu: Gpu,
    readonly config: LlmConfig,
    private readonly text: GeneratorText,
    private readonly model: LanguageModel,
    /** As Transcriber's. */
    readonly warnings: readonly string[],
  ) {}

  get tokenizer(): Tokenizer {
    return this.text.tokenizer;
  }

  get chat(): ChatRenderer {
    return this.text.chat;
  }

  /**
   * @throws CheckpointError, ConfigError, TokenizerError  a file is missing, damaged, or does not fit the others
   */
  static async load(gpu: Gpu, files: ModelFiles, options: GeneratorOptions = {}): Promise<Generator> {
    expectGpu("Generator.load", gpu);
    expectModelFiles("Generator.load", files);
    const checkpoint = await openLlm(files, options.gguf, options.lora);
    try {
      const { llm } = checkpoint.config;
      const text = await readText(checkpoint);
      const model = await loadLanguageModel(gpu, llm, checkpoint, {
        weights: options.weights,
        signal: options.signal,
        use: generation(llm, checkpoint),
        onProgress: (bytes) => options.onProgress?.(bytes, checkpoint.totalBytes),
      });
      return new Generator(gpu, llm, text, model, checkpoint.warnings);
    } finally {
      await checkpoint.close();
    }
  }

  /**
   * Answers one prompt.
   * @throws PromptError  a text that cannot be put into the prompt
   * @throws DecodeError  a sampling option out of range, more tokens than the model has positions
   */
  async generate(options: GenerateOptions): Promise<Generation> {
    const { sampling, onText } = options;
    const ids = this.tokenizer.encode(this.chat.render(options));
    const limit = this.#limit(ids.length, options.maxNewTokens);
    const penalised = (sampling?.repetitionPenalty ?? 1) !== 1;
    const picker =
      sampling && (isSampled(sampling) || penalised)
        ? samplingPicker(this.gpu, [ids], sampling)
        : greedyPicker(this.gpu);
    const stream = this.tokenizer.stream({ skipSpecial: true });
    const start = performance.now();
    let prefilled = start;
    const embed = (): ReturnType<typeof embedTokens> => embedTokens(this.gpu, this.model.llm, ids);
    const [{ tokenIds, finish }] = await decode(
      this.gpu,
      this.model.llm,
      { lengths: [ids.length], embed },
      picker,
      {
        stopIds: this.text.stopIds,
        maxNewTokens: [limit],
        guardLoops: false,
        signal: options.signal,
        onPrefill: () => (prefilled = performance.now()),
        onToken: (_, id) => {
          const text = onText && stream.push(id);
          if (text) onText?.(text);
        },
      },
    );
    const seconds = { prefill: (prefilled - start) / 1000, decode: (performance.now() - prefilled) / 1000 };
    const rest = stream.flush();
    if (rest) onText?.(rest);
    const text = this.tokenizer.decode(tokenIds, { skipSpecial: true });
    return { text, tokenIds, promptTokens: ids.length, seconds, finish };
  }

  /** Gives the weights' GPU memory back. */
  free(): void {
    this.model.free();
  }

  #limit(promptTokens: number, wanted: number | undefined): number {
    const left = this.config.maxPositions - promptTokens;
    const limit = wanted ?? Math.min(usualTokens, left);
    if (limit >= 1 && limit <= left) return limit;
    throw new DecodeError(
      `generate: prompt and answer must fit the model's ${this.config.maxPositions} positions, got ${promptTokens} tokens and ${wanted ?? 1} new ones`,
    );
  }
}

/** Tokenizer, chat template and stop tokens. @throws as Generator.load */
export async function readText({ assets, config }: LlmCheckpoint): Promise<GeneratorText> {
  const { file: tokenizerFile, json } = await assets.tokenizer();
  const { json: tokenizerConfig } = await assets.tokenizerConfig();
  const tokenizer = loadTokenizer(json, tokenizerConfig, tokenizerFile);
  const { file: generationConfigFile, json: generation } = await assets.generation();
  const { vocabSize } = config.llm;
  const eosTokenId = generation.eos_token_id;
  const stop = stopTokens(tokenizer, { vocabSize, eosTokenId, tokenizerFile, generationConfigFile });
  const { template } = await assets.prompt();
  const variables = namedTokens(tokenizerConfig);
  const chat = createChatRenderer({ template, variables, reserved: tokenizer.addedTokens });
  return { tokenizer, chat, stopIds: new Set(stop) };
}

/**
 * bos_token, eos_token and the like, which stand in tokenizer_config.json as text or as an object
 * with it.
 */
function namedTokens(tokenizerConfig: Readonly<Record<string, unknown>>): Record<string, string> {
  const named: Record<string, string> = {};
  for (const [key, value] of Object.entries(tokenizerConfig)) {
    if (!/^[a-z]+_token$/.test(key)) continue;
    const content = typeof value === "object" && value !== null && "content" in value ? value.content : value;
    if (typeof content === "string") named[key] = content;
  }
  return named;
}
