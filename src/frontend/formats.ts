import { AudioError } from "./errors.js";

/** The supported formats, for messages. */
export const SUPPORTED = "WAV, AIFF, Wave64, AU, MP3, FLAC, Ogg (Vorbis, Opus, FLAC), M4A, AAC or WebM";

/** First bytes of known formats that are not supported. */
const MARKS: readonly (readonly [name: string, at: number, mark: string])[] = [
  ["AMR", 0, "#!AMR"],
  ["WMA (ASF)", 0, "\x30\x26\xb2\x75\x8e\x66\xcf\x11"],
  ["MIDI, which holds no sound", 0, "MThd"],
  ["AC-3", 0, "\x0b\x77"],
  ["Monkey's Audio", 0, "MAC "],
  ["CAF", 0, "caff"],
  ["WavPack", 0, "wvpk"],
  ["True Audio", 0, "TTA1"],
  ["Musepack", 0, "MPCK"],
  ["Musepack", 0, "MP+"],
  ["DSF", 0, "DSD "],
  ["DSDIFF", 0, "FRM8"],
  ["DTS", 0, "\x7f\xfe\x80\x01"],
  ["OptimFROG", 0, "OFR "],
  ["RealMedia", 0, ".RMF"],
  ["Flash video", 0, "FLV"],
  ["MPEG program stream", 0, "\x00\x00\x01\xba"],
];

/** @returns the name of a known format that is not supported, by its first bytes */
export function unreadFormat(bytes: Uint8Array): string | undefined {
  const head = String.fromCharCode(...bytes.subarray(0, 16));
  const found = MARKS.find(([, at, mark]) => head.startsWith(mark, at));
  if (found) return found[0];
  if (bytes[0] === 0xff && (bytes[1] & 0xe0) === 0xe0) {
    const layer = (bytes[1] >> 1) & 3;
    if (layer === 2) return "MPEG audio layer II";
    if (layer === 3) return "MPEG audio layer I";
  }
  if (bytes.length > 376 && bytes[0] === 0x47 && bytes[188] === 0x47 && bytes[376] === 0x47)
    return "MPEG transport stream";
  return undefined;
}

/** Whether the file is what Git LFS leaves in its place. @source git-lfs `docs/spec.md` */
export function isLfsPointer(bytes: Uint8Array): boolean {
  const mark = "version https://git-lfs.github.com/spec/";
  return String.fromCharCode(...bytes.subarray(0, mark.length)) === mark;
}

/** A refusal of a format by its name. */
export function notRead(file: string, format: string): AudioError {
  return new AudioError(file, "format", SUPPORTED, `${format}, which is not supported`, {
    advice: "convert it with ffmpeg -i IN -ac 1 -ar 16000 out.wav",
  });
}
