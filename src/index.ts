/// <reference types="@webgpu/types" preserve="true" />
/** The engine without Node: give it a GPUDevice and the bytes of a checkpoint. */
export { ArgumentError } from "./arguments.js";
export { FileError, FunasrError } from "./errors.js";
export { Gpu, type GpuCounts, type GpuOptions, type TensorData } from "./gpu/device.js";
export { GpuError, ShapeError } from "./gpu/errors.js";
export { gpuSizes } from "./kernels/gpu-sizes.js";
export { type RequestGpuOptions, requestGpu } from "./kernels/request-gpu.js";
export { type Kernel, type Sizes, type Tuning, parseKernel } from "./gpu/kernel.js";
export { type SubgroupFacts, subgroupSize } from "./gpu/adapter.js";
export type { DType, Tensor } from "./gpu/tensor.js";
export { CheckpointError, ConfigError } from "./formats/errors.js";
export { type Checkpoint, type TensorEntry, openCheckpoint } from "./checkpoint/checkpoint.js";
export type { GgmlType, Layout, StoredTensor } from "./formats/container.js";
export { type ConvertOptions, transformersFiles } from "./checkpoint/convert.js";
export type { OutputFile, WriteDtype } from "./checkpoint/output-files.js";
export { type MigrateOptions, type Migration, planMigration } from "./checkpoint/migrate/migrate.js";
export type { Assets, NamedJson, PromptAssets } from "./checkpoint/layouts/layout.js";
export { type LlmCheckpoint, openLlm } from "./checkpoint/migrate/open-llm.js";
export { type ByteSource, type ModelFiles, bytesSource, memoryFiles } from "./checkpoint/source.js";
export type {
  AdaptorConfig,
  AudioTokenRule,
  EncoderConfig,
  LlmConfig,
  ModelConfig,
} from "./config/model-config.js";
export type { WeightFormat } from "./weights/loader.js";
export type { Tap } from "./model/taps.js";
export { AudioError, FrontendConfigError } from "./frontend/errors.js";
export type { DecodedAudio } from "./frontend/audio.js";
export type { FrontendConfig } from "./frontend/config.js";
export { pickChannel } from "./frontend/channel.js";
export { decodeAudio } from "./frontend/decode.js";
export { type FileParts, type StreamOptions, type Streamed, streamAudio } from "./frontend/stream-audio.js";
export type { AudioInput } from "./frontend/input.js";
export { extractFeatures, toWaveform } from "./frontend/features.js";
export { PromptError, TokenizerError } from "./tokenizer/errors.js";
export type { ChatOptions } from "./tokenizer/chat.js";
export type { PromptOptions } from "./tokenizer/prompt.js";
export type { Language } from "./tokenizer/languages.js";
export { DecodeError, type Finish } from "./decode/loop.js";
export {
  type GenerateOptions,
  type Generation,
  Generator,
  type GeneratorOptions,
} from "./decode/generator.js";
export { TranscriptionEngine } from "./decode/engine/engine.js";
export { DeadlineError, EngineClosedError, QueueFullError } from "./decode/engine/errors.js";
export type {
  EngineOptions,
  EngineStats,
  EngineTranscription,
  SubmitOptions,
} from "./decode/engine/options.js";
export { runInEngine } from "./decode/engine/run-clips.js";
export { liveParts } from "./decode/live/engine-parts.js";
export type { LiveEvent, LiveOptions, LiveParts } from "./decode/live/options.js";
export { LiveSession } from "./decode/live/session.js";
export {
  DetectedSpeech,
  type GivenSegment,
  GivenSpeech,
  type SilenceStream,
} from "./decode/segments/feed.js";
export { joinTexts } from "./scripts.js";
export { withoutSilenceMarks } from "./decode/segments/silence-marks.js";
export { parseSegments, SegmentFileError } from "./decode/segments/segment-file.js";
export {
  Recording,
  type RecordingOptions,
  type Retry,
  type SegmentDecoder,
  type SpeechFeed,
  type TranscriptSegment,
  silencesOf,
} from "./decode/segments/recording.js";
export {
  type RecordingTranscribeOptions,
  type RecordingTranscription,
  type RunClips,
  transcribeAlone,
  transcribeRecording,
} from "./decode/segments/transcribe-recording.js";
export { Segmenter, type SegmenterOptions, type SpeechSegment, VadError } from "./decode/vad/segmenter.js";
export type { Word } from "./decode/alignment/words.js";
export type { SamplingOptions } from "./decode/sampling.js";
export {
  type PreparedClip,
  type StageSeconds,
  type TranscribeOptions,
  Transcriber,
  type TranscriberOptions,
  type Transcription,
} from "./decode/transcriber.js";
export {
  type FrameProbabilities,
  type VadOptions,
  type VadStream,
  VoiceActivityDetector,
} from "./decode/vad/detector.js";
export { type PageSegment, type TranscriptReport, transcriptPage } from "./decode/transcript-page/page.js";
export { Waveform, levelsOf } from "./decode/transcript-page/waveform.js";
export type { CueOptions } from "./decode/subtitles/cues.js";
export { type SubtitleFormat, type SubtitleOptions, subtitles } from "./decode/subtitles/formats.js";
export type { TimedSegment, TimedWord } from "./decode/subtitles/segment.js";
export { type Bundle, openBundle, readParameter, readStage } from "./verify/bundle.js";
export { type StageResult, medianRatio } from "./verify/compare.js";
export type { RunOptions } from "./verify/run.js";
export { verifyBundle, verifyOutputs } from "./verify/verify.js";
