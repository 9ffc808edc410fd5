/**
 * The wordings in Fun-ASR-Nano's training.
 * @source FunASR models/fun_asr_nano/model.py get_prompt; the chat template of the transformers
 *   checkpoint
 */

/** The audio token of prompts, unless the checkpoint names another. */
export const DEFAULT_AUDIO_TOKEN = "<|object_ref_start|>";

export const INSTRUCTION = {
  /** Opens the user's turn if there is context or a hotword. */
  contextHeader:
    "请结合上下文信息，更加准确地完成语音转写任务。如果没有相关信息，我们会留空。\n\n\n**上下文信息：**\n\n\n",
  context: (text: string) => `${text}\n`,
  hotwords: (words: readonly string[]) => `热词列表：[${words.join(", ")}]\n`,
  transcribe: "语音转写",
  into: (languageName: string) => `成${languageName}`,
  withoutItn: "，不进行文本规整",
  end: "：",
} as const;

/** ChatML with one user turn. */
export const CHATML = {
  system: "<|im_start|>system\nYou are a helpful assistant.<|im_end|>\n",
  user: (content: string) => `<|im_start|>user\n${content}<|im_end|>\n`,
  assistant: "<|im_start|>assistant\n",
  /** Appended by FunASR if do_think is false. */
  emptyThought: "<think>\n\n</think>\n\n",
} as const;
