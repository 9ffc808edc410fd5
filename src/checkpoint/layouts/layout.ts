import { type JsonObject } from "../../json.js";
import type { ModelConfig, ModelParts } from "../../config/model-config.js";
import type { Container } from "../../formats/container.js";

import type { KeyMap } from "./key-maps.js";
import type { Lora } from "../lora/tensors.js";
import type { ModelFiles } from "../source.js";

/** A JSON object with the name that errors call its file by. */
export interface NamedJson {
  readonly file: string;
  readonly json: JsonObject;
}

/** What a checkpoint says of its prompts. */
export interface PromptAssets {
  /** Chat template. Absent: FunASR's rules. */
  readonly template?: string;
  /** The file that it is in, for errors. */
  readonly templateFile?: string;
  /** Stands for the audio in the prompt. Absent: the one of the released checkpoints. */
  readonly audioToken?: string;
  /** The prompt ends with an empty thought: FunASR's `do_think: false`. */
  readonly emptyThought?: boolean;
  /** False: the prompt has no system turn, FunASR's `sys_prompt: false`. */
  readonly systemTurn?: boolean;
}

/** What a checkpoint has beside its weights, in the words of the transformers layout. Each is read when asked for. */
export interface Assets {
  /** Fields of processor_config.json; an object without any where the checkpoint says nothing. */
  frontend(): Promise<NamedJson>;
  /** tokenizer.json. @throws CheckpointError if there is none */
  tokenizer(): Promise<NamedJson>;
  /** tokenizer_config.json, or an empty object. */
  tokenizerConfig(): Promise<NamedJson>;
  /** generation_config.json, or an empty object. */
  generation(): Promise<NamedJson>;
  /** What the prompt is built of. */
  prompt(): Promise<PromptAssets>;
  /** The directory that the tokenizer's files lie in. Absent where they are part of another file. */
  readonly tokenizerFiles?: ModelFiles;
}

/** A checkpoint whose layout is known: its weights open, its configuration read, the two not yet compared. */
export interface OpenedLayout<Config extends ModelParts = ModelConfig> {
  readonly container: Container;
  readonly config: Config;
  /** Where the config was read, for errors. */
  readonly configFile: string;
  readonly keyMaps: readonly KeyMap[];
  readonly assets: Assets;
  /** What the files do not say and was taken for granted, one sentence each. */
  readonly notes: readonly string[];
  /** A LoRA in the weights' own file, whose tensors the container leaves out. */
  readonly lora?: Lora;
}
