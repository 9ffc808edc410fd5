import { scanAdts } from "./adts-frames.js";
import type { Budget } from "./budget.js";
import { type Codec, bySize, type StreamReport } from "./decoders.js";
import { AudioError, convertIt } from "./errors.js";
import { withoutTail } from "./flac-end.js";
import { byFlacFrames, flacLength, flacStreams, streamInfo } from "./flac-frames.js";
import { notRead } from "./formats.js";
import type { Heard } from "./hearing.js";
import { scanMp3 } from "./mp3-frames.js";
import { countBoxes, mostBoxes } from "./mp4-boxes.js";
import { checkMp4Tables } from "./mp4-guard.js";
import { mp4Track } from "./mp4-track.js";
import { type OggLink, oggCodec, oggLinks, oggPages, opusSamples } from "./ogg-pages.js";
import { spanBytes } from "./spans.js";
import { decodeStreams, type Stream } from "./streams.js";
import { mostElements, scanWebm } from "./webm-blocks.js";

type Reader = (bytes: Uint8Array, budget: Budget) => Promise<Heard>;

/** Readers of the containers of compressed samples. */
export const READERS = {
  MP3: readMp3,
  FLAC: readFlac,
  M4A: readMp4,
  Ogg: readOgg,
  AAC: readAdts,
  WebM: readWebm,
} satisfies Record<string, Reader>;

/** Streams of a file, each with a decoder of its own. */
const MOST_STREAMS = 500;

async function readMp3(bytes: Uint8Array, budget: Budget): Promise<Heard> {
  const { runs, damage } = scanMp3(bytes);
  claimRuns(runs, budget);
  const streams = runs.map((run): Stream => {
    const kind = { rate: run.rate, channels: run.mono ? 1 : 2 };
    return { codec: "MP3", chunks: bySize(spanBytes(bytes, run.spans), 65_536), kind };
  });
  if (streams.length === 0) {
    const kind = { rate: 0, channels: bytes[3] >> 6 === 3 ? 1 : 2 }; // of a free bit rate
    streams.push({ codec: "MP3", chunks: bySize(bytes, 65_536), kind });
  }
  const { audio, reports } = await decodeStreams(streams, budget);
  return withDamage(audio, damage ?? skipped(reports));
}

async function readAdts(bytes: Uint8Array, budget: Budget): Promise<Heard> {
  const { runs, damage } = scanAdts(bytes);
  claimRuns(runs, budget);
  const streams = runs.map(({ rate, channels, spans }): Stream => ({
    codec: "AAC",
    chunks: bySize(spanBytes(bytes, spans), 4096),
    kind: { rate: rate > 24_000 ? rate : 2 * rate, channels }, // the decoder doubles low rates, as SBR may follow
  }));
  const { audio, reports } = await decodeStreams(streams, budget);
  return withDamage(audio, damage ?? skipped(reports));
}

function claimRuns(
  runs: readonly { readonly samples: number; readonly rate: number }[],
  budget: Budget,
): void {
  checkCount(runs.length, MOST_STREAMS, "streams one after another", budget);
  const rate = runs[0]?.rate ?? 0;
  budget.claim(runs.reduce((sum, run) => sum + run.samples / run.rate, 0) * rate, 1, rate);
}

/** @throws AudioError  a count past a limit that keeps decoding within seconds */
function checkCount(count: number, most: number, field: string, budget: Budget): void {
  if (count > most) throw new AudioError(budget.name, field, `at most ${most}`, count, convertIt);
}

async function readFlac(bytes: Uint8Array, budget: Budget): Promise<Heard> {
  let seconds = 0;
  const found = flacStreams(bytes).map((whole) => {
    const info = streamInfo(whole, 8);
    return { ...info, whole, samples: info.total || flacLength(whole) };
  });
  for (const { samples, channels, rate } of found) {
    budget.claim(samples, channels, rate);
    seconds += rate > 0 ? samples / rate : 0;
    budget.lasts(seconds);
  }
  const streams: Stream[] = [];
  for (const { whole, samples, total, bits, channels, rate } of found) {
    const chunks = byFlacFrames(await withoutTail(whole, samples, found.length, budget));
    streams.push({ codec: "FLAC", chunks, claimed: total, bits, kind: { rate, channels } });
  }
  const { audio, reports } = await decodeStreams(streams, budget);
  const cut = streams.flatMap(({ claimed = 0 }, i) =>
    reports[i].samples > 0 && reports[i].samples < claimed
      ? [`${reports[i].samples} of its ${claimed} samples could be decoded`]
      : [],
  );
  return withDamage(audio, cut[0] ?? goesOn(reports) ?? skipped(reports));
}

async function readOgg(bytes: Uint8Array, budget: Budget): Promise<Heard> {
  const { links, cut } = oggLinks(bytes);
  checkCount(links.length, MOST_STREAMS, "streams one after another", budget);
  let seconds = 0;
  const streams = links.map((link) => {
    const { length, stream } = linkStream(bytes, link, budget);
    seconds += length;
    budget.lasts(seconds);
    return stream;
  });
  const ended = links.every((link) => link.ended);
  const { audio, reports } = await decodeStreams(streams, budget);
  const early = cut ? "cut short: its last page ends early" : undefined;
  const open = ended ? undefined : "cut short: its last page has no end-of-stream mark";
  return withDamage(audio, early ?? open ?? goesOn(reports) ?? skipped(reports));
}

/** @throws AudioError  a codec that is not read; more than 8 channels; longer than the budget */
function linkStream(
  bytes: Uint8Array,
  link: OggLink,
  budget: Budget,
): { readonly length: number; readonly stream: Stream } {
  const { mark, head, granule, begin } = link;
  const codec = oggCodec(mark);
  if (codec === "Speex") throw notRead(budget.name, "Speex in Ogg");
  if (codec === undefined) throw notRead(budget.name, "Ogg without Vorbis, Opus or FLAC");
  const packet = 27 + head[26];
  let [channels, rate, total] = [head[packet + (codec === "Opus" ? 9 : 11)] ?? 0, 48_000, 0];
  let bits: number | undefined;
  if (codec === "FLAC") ({ channels, rate, bits, total } = streamInfo(head, packet + 17));
  else if (codec === "Vorbis")
    rate = head[packet + 12] | (head[packet + 13] << 8) | (head[packet + 14] << 16);
  checkChannels(channels, budget);
  const counted = codec === "Opus" && granule === 0 ? opusSamples(bytes, link) : 0;
  const length = Math.max(total, granule - begin, counted); // a recording of a live stream does not begin at 0
  budget.claim(length, Math.max(channels, 1), rate);
  const claimed = Math.max(total, granule, counted);
  const kind = { rate: Math.max(1, rate), channels };
  const stream = { codec: codec as Codec, chunks: oggPages(bytes, link), claimed, bits, kind };
  return { length: length / kind.rate, stream };
}

/** @throws AudioError  more than 8: a codec can make 255 of one */
function checkChannels(channels: number, budget: Budget): void {
  if (channels > 8) throw new AudioError(budget.name, "channels", "1..8", channels, convertIt);
}

const shortest = 0.025; // missing seconds without a report: less than most frames
const edited = 1800; // seconds of media that may be decoded outside the edit list's part
const mostLookUps = 2 ** 31;

async function readMp4(file: Uint8Array, budget: Budget): Promise<Heard> {
  checkCount(countBoxes(file), mostBoxes, "boxes", budget);
  const { end, damage: cut } = checkMp4Tables(file, budget.name);
  const bytes = file.subarray(0, end);
  const track = mp4Track(bytes);
  checkChannels(track.channels, budget);
  const { claimed, media } = track;
  budget.lasts(claimed);
  budget.lasts(track.edited ? media - edited : media);
  if (track.lookUps > mostLookUps) {
    const expected = `stco times stsc of at most ${mostLookUps} entries`;
    throw new AudioError(budget.name, "sample tables", expected, track.lookUps, convertIt);
  }
  const kind = { rate: 0, channels: track.coded };
  const stream: Stream = { codec: "M4A", chunks: track.chunks, bits: track.bits, kind };
  const { audio, reports } = await decodeStreams([stream], budget);
  const seconds = reports[0].samples / reports[0].rate;
  const short = `${seconds.toFixed(2)} s could be decoded of the ${claimed.toFixed(2)} s in the header`;
  return withDamage(audio, claimed - seconds > shortest ? short : (skipped(reports) ?? cut));
}

async function readWebm(bytes: Uint8Array, budget: Budget): Promise<Heard> {
  const { seconds, channels, coded, bits, elements, damage, chunks } = scanWebm(bytes);
  checkCount(elements, mostElements, "elements", budget);
  checkChannels(channels, budget);
  budget.lasts(seconds);
  const kind = { rate: 0, channels: coded };
  const { audio, reports } = await decodeStreams([{ codec: "WebM", chunks, bits, kind }], budget);
  return withDamage(audio, damage ?? skipped(reports));
}

function withDamage(audio: Heard, damage: string | undefined): Heard {
  return damage === undefined ? audio : { ...audio, damage };
}

function goesOn(reports: readonly StreamReport[]): string | undefined {
  if (!reports.some(({ more }) => more)) return undefined;
  return "it goes on where its header says that it ends; the rest was left out";
}

function skipped(reports: readonly StreamReport[]): string | undefined {
  const frames = reports.reduce((sum, { errors }) => sum + errors, 0);
  if (frames === 0) return undefined;
  return `${frames} damaged ${frames === 1 ? "frame was" : "frames were"} skipped`;
}
