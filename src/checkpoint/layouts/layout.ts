import { type JsonObject } from "../../json.js";
import type { CtcSettings } from "../../config/ctc-config.js";
import type { ModelConfig, ModelParts } from "../../config/model-config.js";
import type { Container } from "../../formats/container.js";
import type { KeyMap } from "./key-maps.js";
import type { Lora } from "../lora/tensors.js";
import type { ModelFiles } from "../source.js";

/** A JSON object with the name of its file, for errors. */
export interface NamedJson {
  readonly file: string;
  readonly json: JsonObject;
}

/** A checkpoint's settings of the prompt. */
export interface PromptAssets {
  /** Chat template. Absent: FunASR's rules. */
  readonly template?: string;
  /** The template's file, for errors. */
  readonly templateFile?: string;
  /** The token that audio replaces. Absent: that of the released checkpoints. */
  readonly audioToken?: string;
  /** The prompt ends with an empty thought: FunASR's `do_think: false`. */
  readonly emptyThought?: boolean;
  /** False: the prompt has no system turn, FunASR's `sys_prompt: false`. */
  readonly systemTurn?: boolean;
}

/** The files beside the weights, in the form of the transformers layout. Each is read on demand. */
export interface Assets {
  /** Fields of processor_config.json, or an empty object. */
  frontend(): Promise<NamedJson>;
  /** tokenizer.json. @throws CheckpointError  missing */
  tokenizer(): Promise<NamedJson>;
  /** tokenizer_config.json, or an empty object. */
  tokenizerConfig(): Promise<NamedJson>;
  /** generation_config.json, or an empty object. */
  generation(): Promise<NamedJson>;
  /** Settings of the prompt. */
  prompt(): Promise<PromptAssets>;
  /** The directory of the tokenizer's files. Absent: they are part of another file. */
  readonly tokenizerFiles?: ModelFiles;
}

/** An opened checkpoint, whose config and tensors are not yet compared. */
export interface OpenedLayout<Config extends ModelParts = ModelConfig> {
  readonly container: Container;
  readonly config: Config;
  /** The config's file, for errors. */
  readonly configFile: string;
  readonly keyMaps: readonly KeyMap[];
  readonly assets: Assets;
  /** Defaults for settings that the files do not have, one sentence each. */
  readonly notes: readonly string[];
  /** As Checkpoint has them; absent: none. */
  readonly warnings?: readonly string[];
  /** Settings of the CTC head. Absent: FunASR's defaults. */
  readonly ctc?: CtcSettings;
  /** A LoRA in the weights' file. The container does not list its tensors. */
  readonly lora?: Lora;
}
