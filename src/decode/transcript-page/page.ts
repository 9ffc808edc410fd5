import { escapeHtml, page } from "../../report/html.js";
import type { TimedSegment } from "../subtitles/segment.js";
import { type Unit, unitsOf } from "../subtitles/units.js";
import { script, style } from "./player.js";

/** A segment with the notes that its row shows. */
export interface PageSegment extends TimedSegment {
  readonly finish?: string;
  /** Of the CTC's own text with the text, from 0 to 1. */
  readonly agreement?: number;
  /** The text that was left out. */
  readonly dropped?: string;
}

/** A transcript as a page shows it. */
export interface TranscriptReport {
  /** Name of the recording. */
  readonly name: string;
  /** Model, device and the like, a line each. */
  readonly about: readonly string[];
  readonly seconds: number;
  /** A data: URI, or the recording's address as seen from the page; absent: the page plays nothing. */
  readonly audio?: string;
  /** [frames of 10 ms] largest level, 255 for full scale. */
  readonly peaks: Uint8Array;
  /** [frames of 10 ms] probability of speech, 255 for 1; absent without voice activity detection. */
  readonly speech?: Uint8Array;
  readonly segments: readonly PageSegment[];
}

/**
 * One HTML page with waveform, probability of speech, segments and words, which light up while the
 * audio plays. It loads nothing from elsewhere but `audio`.
 */
export function transcriptPage(report: TranscriptReport): string {
  const { name, about, seconds, audio, peaks, speech, segments } = report;
  const data = {
    seconds,
    peaks: base64(peaks),
    speech: speech ? base64(speech) : null,
    segments: segments.map(({ start, end }) => [round(start), round(end)]),
  };
  const body = [
    ...about.map((line) => `<p class="note">${escapeHtml(line)}</p>`),
    `<div id="stage">`,
    `<canvas id="whole" aria-label="waveform of the recording"></canvas>`,
    `<canvas id="near" aria-label="waveform around the place that plays"></canvas>`,
    `<p class="note key"><span class="wave">waveform</span>${speech ? ` <span class="speech">probability of speech</span>` : ""} <span class="part">segments</span> <span id="time">${clock(0)}</span> of ${clock(seconds)}</p>`,
    audio === undefined
      ? ""
      : `<audio id="audio" controls preload="metadata" src="${escapeHtml(audio)}"></audio>`,
    audio === undefined
      ? ""
      : `<label class="note"><input id="follow" type="checkbox" checked> follow</label>`,
    `</div>`,
    segments.length === 0
      ? `<p>No speech was found.</p>`
      : `<ol id="text">${segments.map(row).join("\n")}</ol>`,
    `<script type="application/json" id="data">${JSON.stringify(data)}</script>`,
    `<script>${script}</script>`,
  ];
  return page({ title: name, body: body.filter(Boolean).join("\n"), style, policy });
}

/** What the page may load: its own text, and the audio. */
const policy =
  "default-src 'none'; style-src 'unsafe-inline'; script-src 'unsafe-inline'; img-src data:; media-src 'self' data: file:";

function row(segment: PageSegment, index: number): string {
  const { start, end, text: spoken, finish = "stop", agreement, dropped } = segment;
  const text = unitsOf([segment], Infinity).map(wordHtml).join("");
  const notes = [
    ...(finish === "loop" || finish === "length" ? [`ended as ${finish}`] : []),
    ...(spoken === "" ? ["no text"] : []),
    ...(dropped === undefined ? [] : [`left out, as no speech was heard: ${dropped}`]),
    ...(agreement === undefined || spoken === "" ? [] : [`agreement ${agreement.toFixed(2)}`]),
  ];
  const note = notes.length > 0 ? ` <span class="note">${escapeHtml(notes.join(", "))}</span>` : "";
  return `<li id="s${index}"><button type="button" data-at="${round(start)}">${clock(start)}–${clock(end)}</button> <span class="text">${text}</span>${note}</li>`;
}

function wordHtml({ text, joint, start, end, timed }: Unit): string {
  const word = escapeHtml(text);
  return `${timed ? `<span data-at="${round(start)}" data-to="${round(end)}">${word}</span>` : word}${joint}`;
}

/** Minutes, seconds and tenths. */
function clock(seconds: number): string {
  const tenths = Math.round(10 * seconds);
  const [hours, minutes] = [Math.floor(tenths / 36_000), Math.floor(tenths / 600) % 60];
  const rest = ((tenths % 600) / 10).toFixed(1).padStart(4, "0");
  return hours > 0 ? `${hours}:${String(minutes).padStart(2, "0")}:${rest}` : `${minutes}:${rest}`;
}

function round(seconds: number): number {
  return Math.round(1000 * seconds) / 1000;
}

function base64(bytes: Uint8Array): string {
  const part = 0x8000; // arguments of a call at most
  let text = "";
  for (let at = 0; at < bytes.length; at += part)
    text += String.fromCharCode(...bytes.subarray(at, at + part));
  return btoa(text);
}
