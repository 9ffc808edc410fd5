import { type LanguageCode, englishName, knownLanguages, languageName } from "./languages.js";
import { CHATML, DEFAULT_AUDIO_TOKEN, INSTRUCTION } from "./prompts.js";

/** A string of Jinja. */
function text(value: string): string {
  return `'${value.replaceAll("\\", "\\\\").replaceAll("'", "\\'").replaceAll("\n", "\\n")}'`;
}

/** Collects the items of one message in `request`. */
const readItems = (languages: readonly LanguageCode[]): string[] => [
  `{%- set request = namespace(audio=0, context='', keywords='', language='') -%}`,
  `{%- for item in message.content -%}`,
  `{%- if item.type == 'audio' -%}{%- set request.audio = request.audio + 1 -%}`,
  `{%- elif item.type == 'text' -%}{%- set request.context = request.context + item.text -%}`,
  `{%- elif item.type == 'keywords' -%}{%- set request.keywords = item.keywords | join(', ') -%}`,
  `{%- elif item.type == 'language' -%}{%- set request.language = item.language -%}`,
  `{%- endif -%}`,
  `{%- endfor -%}`,
  ...languages.map(
    (code) =>
      `{%- if request.language in ['${code}', '${englishName(code)}'] -%}` +
      `{%- set request.language = ${text(languageName(code)!)} -%}{%- endif -%}`,
  ),
];

const [HOTWORDS_START, HOTWORDS_END] = INSTRUCTION.hotwords(["\0"]).split("\0");

/** The instruction of a message with audio. */
const WRITE_INSTRUCTION = [
  `{%- if request.context or request.keywords -%}{{- ${text(INSTRUCTION.contextHeader)} -}}{%- endif -%}`,
  `{%- if request.context -%}{{- request.context + ${text(INSTRUCTION.context(""))} -}}{%- endif -%}`,
  `{%- if request.keywords -%}{{- ${text(HOTWORDS_START)} + request.keywords + ${text(HOTWORDS_END)} -}}{%- endif -%}`,
  `{{- ${text(INSTRUCTION.transcribe)} -}}`,
  `{%- if request.language -%}{{- ${text(INSTRUCTION.into(""))} + request.language -}}{%- endif -%}`,
  `{%- if not itn -%}{{- ${text(INSTRUCTION.withoutItn)} -}}{%- endif -%}`,
  `{{- ${text(INSTRUCTION.end)} -}}`,
];

const SYSTEM_TURN = [
  `{%- if not messages or messages[0].role != 'system' -%}`,
  `{{- ${text(CHATML.system)} -}}`,
  `{%- endif -%}`,
];

/** Settings of a checkpoint. */
export interface FunasrTemplateOptions {
  readonly audioToken?: string;
  readonly emptyThought?: boolean;
  readonly systemTurn?: boolean;
  /** Decides the languages of the template: see knownLanguages. Default: Fun-ASR-Nano's rule. */
  readonly audioTokenRule?: "all" | "low_frame_rate" | undefined;
}

/**
 * FunASR's rules as a chat template, for written checkpoints without one. It renders the same
 * prompts, and conversations of texts as ChatML.
 * @source FunASR models/fun_asr_nano/model.py get_prompt; variables and items of transformers
 *   FunAsrNanoProcessor
 */
export function funasrTemplate(options: FunasrTemplateOptions): string {
  const { audioToken = DEFAULT_AUDIO_TOKEN, emptyThought = false, systemTurn = true } = options;
  const languages = knownLanguages(undefined, options.audioTokenRule ?? "low_frame_rate") ?? [];
  const lines = [
    `{%- set itn = itn if itn is defined else true -%}`,
    ...(systemTurn ? SYSTEM_TURN : []),
    `{%- for message in messages -%}`,
    `{{- '<|im_start|>' + message.role + '\\n' -}}`,
    `{%- if message.content is string -%}`,
    `{{- message.content -}}`,
    `{%- else -%}`,
    ...readItems(languages),
    `{%- if request.audio == 0 -%}`,
    `{{- request.context -}}`,
    `{%- else -%}`,
    ...WRITE_INSTRUCTION,
    `{%- for index in range(request.audio) -%}{{- ${text(audioToken)} -}}{%- endfor -%}`,
    `{%- endif -%}`,
    `{%- endif -%}`,
    `{{- '<|im_end|>\\n' -}}`,
    `{%- endfor -%}`,
    `{%- if add_generation_prompt -%}`,
    `{{- ${text(CHATML.assistant + (emptyThought ? CHATML.emptyThought : ""))} -}}`,
    `{%- endif -%}`,
  ];
  return lines.join("\n") + "\n";
}
