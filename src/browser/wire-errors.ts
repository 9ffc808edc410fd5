import { ArgumentError } from "../arguments.js";
import { DeadlineError, EngineClosedError, QueueFullError } from "../decode/engine/errors.js";
import { DecodeError } from "../decode/loop.js";
import { VadError } from "../decode/vad/segmenter.js";
import { CheckpointError, ConfigError } from "../formats/errors.js";
import { AudioError, FrontendConfigError } from "../frontend/errors.js";
import { DeviceMemoryError, GpuError, ShapeError } from "../gpu/errors.js";
import { HubError, HubUnreachableError } from "../hub/errors.js";
import { PromptError, TokenizerError } from "../tokenizer/errors.js";
import { OutOfMemoryError } from "../weights/memory.js";
import { BrowserError, type WireError } from "./errors.js";

/** Errors of the library by their names, which a bundler may shorten in the classes. */
const named = Object.entries({
  ArgumentError,
  AudioError,
  CheckpointError,
  ConfigError,
  DeadlineError,
  DecodeError,
  DeviceMemoryError,
  EngineClosedError,
  FrontendConfigError,
  GpuError,
  HubError,
  HubUnreachableError,
  OutOfMemoryError,
  PromptError,
  QueueFullError,
  ShapeError,
  TokenizerError,
  VadError,
});

function nameOf(error: Error): string {
  return named.find(([, kind]) => error.constructor === kind)?.[0] ?? error.name;
}

/** An error for a message to the page. */
export function toWire(error: unknown): WireError {
  if (error instanceof BrowserError) return { name: error.name, message: error.message, code: error.code };
  if (error instanceof Error) return { name: nameOf(error), message: error.message };
  return { name: "Error", message: String(error) };
}
