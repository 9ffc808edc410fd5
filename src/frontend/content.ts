import { isAdtsRun } from "./adts-frames.js";
import { isAiff } from "./aiff.js";
import { isAu } from "./au.js";
import { isFlacHead } from "./flac-frames.js";
import { isLfsPointer, unreadFormat } from "./formats.js";
import { isMp3Frame, isMp3Run } from "./mp3-frames.js";
import { afterTags, hasMark } from "./tags.js";
import { isWav } from "./wav.js";
import { isWave64 } from "./wave64.js";

export type ContainerName =
  "WAV" | "AIFF" | "Wave64" | "AU" | "MP3" | "FLAC" | "Ogg" | "M4A" | "AAC" | "WebM";

/** A file without the tags in front of its audio. */
export interface Content {
  readonly bytes: Uint8Array;
  /** undefined: unknown */
  readonly container: ContainerName | undefined;
}

/** Bytes in front of audio that may be skipped. */
const REACH = 32_768;

/**
 * Finds the audio of a file behind ID3v2 and APE tags. It may also stand behind up to 32 KiB of
 * other bytes, where successive frames or pages, or a whole header, leave no doubt.
 * @param file  the whole file, or its first `headBytes`
 */
export function contentOf(file: Uint8Array): Content {
  const begin = afterTags(file);
  const bytes = file.subarray(begin);
  const container = sniff(bytes);
  if (container) return { bytes, container };
  if (isLfsPointer(bytes) || unreadFormat(bytes) !== undefined) return { bytes, container: undefined };
  return (
    behindOther(bytes) ?? { bytes, container: begin > 0 || hasMark(bytes, 0, "ID3") ? "MP3" : undefined }
  );
}

/** The container by its first bytes. */
function sniff(bytes: Uint8Array): ContainerName | undefined {
  if (isWav(bytes)) return "WAV";
  if (isAiff(bytes)) return "AIFF";
  if (isWave64(bytes)) return "Wave64";
  if (isAu(bytes)) return "AU";
  if (hasMark(bytes, 0, "fLaC")) return "FLAC";
  if (hasMark(bytes, 0, "OggS")) return "Ogg";
  if (hasMark(bytes, 4, "ftyp") || isOldQuickTime(bytes)) return "M4A";
  if (hasMark(bytes, 0, "\x1a\x45\xdf\xa3")) return "WebM";
  if (bytes.length > 6 && bytes[0] === 0xff && (bytes[1] & 0xf6) === 0xf0) return "AAC";
  return isMp3Frame(bytes) ? "MP3" : undefined;
}

/** Whether a file begins with another box than `ftyp`, as QuickTime's did before 2001. */
function isOldQuickTime(bytes: Uint8Array): boolean {
  return (
    bytes[0] === 0 && ["moov", "mdat", "wide", "pnot", "skip", "free"].some((id) => hasMark(bytes, 4, id))
  );
}

function behindOther(bytes: Uint8Array): Content | undefined {
  for (let at = 1; at < Math.min(REACH, bytes.length); at++) {
    const container = startsAt(bytes, at);
    if (container) return { bytes: bytes.subarray(at), container };
  }
  return undefined;
}

/** The container that begins at `at`, by more than its mark. */
function startsAt(bytes: Uint8Array, at: number): ContainerName | undefined {
  switch (bytes[at]) {
    case 0xff:
      return isMp3Run(bytes, at) ? "MP3" : isAdtsRun(bytes, at) ? "AAC" : undefined;
    case 0x4f: // "O"
      return hasMark(bytes, at, "OggS\0") && hasMark(bytes, pageEnd(bytes, at), "OggS\0") ? "Ogg" : undefined;
    case 0x66: // "f"
      return isFlacHead(bytes, at) ? "FLAC" : undefined;
    case 0x52: // "R"
      return isWav(bytes.subarray(at, at + 12)) && hasMark(bytes, at + 8, "WAVE") ? "WAV" : undefined;
    default:
      return undefined;
  }
}

/** Where an Ogg page ends. @source RFC 3533, section 6 */
function pageEnd(bytes: Uint8Array, at: number): number {
  const lacing = bytes.subarray(at + 27, at + 27 + (bytes[at + 26] ?? 0));
  return at + 27 + lacing.length + lacing.reduce((sum, size) => sum + size, 0);
}
